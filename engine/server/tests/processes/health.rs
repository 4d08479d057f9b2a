//! Health and metrics over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use client::SubmitOptions;

use crate::kit::{Engine, NullWorkers, all_outcomes, null, until};

/// Sends a request as it stands; the answer.
fn ask(engine: &Engine, request: &str) -> String {
    let mut stream = TcpStream::connect(engine.ready().health).expect("it listens");
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    answer
}

/// Status and body.
fn get(engine: &Engine, path: &str) -> (u16, String) {
    let answer = ask(
        engine,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    );
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> f64 {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}"))
        .parse()
        .expect("a number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_running_engine_is_live_and_ready_and_says_so_to_programs() {
    let engine = Engine::start(&[]);
    assert_eq!(get(&engine, "/livez"), (200, "alive\n".to_owned()));
    assert_eq!(get(&engine, "/readyz"), (200, "ready\n".to_owned()));
    let (status, body) = get(&engine, "/healthz");
    let health: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status, 200);
    assert_eq!(
        (&health["schema"], &health["alive"], &health["ready"]),
        (&"workerpool/v1/health".into(), &true.into(), &true.into())
    );
    assert_eq!(health["degraded"], serde_json::Value::Null);
    assert_eq!(get(&engine, "/").0, 404);
    assert_eq!(get(&engine, "/metrics/x").0, 404);
    for method in ["POST", "HEAD", "DELETE"] {
        let answer = ask(
            &engine,
            &format!("{method} /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
        );
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
    assert!(ask(&engine, "no HTTP at all\r\n\r\n").starts_with("HTTP/1.1 400"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn metrics_tell_what_has_happened() {
    let engine = Engine::start(&[]);
    let _workers = NullWorkers::start(&engine, &["null"], 4);
    let client = engine.client().await;
    let submission = client
        .submit(null(), vec!["row"; 300], SubmitOptions::default())
        .await
        .expect("accepted");
    all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;
    until("the numbers are published", async || {
        value(&get(&engine, "/metrics").1, "pool_works_done") == 300.0
    })
    .await;

    let (status, text) = get(&engine, "/metrics");
    assert_eq!(status, 200);
    for (name, expected) in [
        ("pool_works_accepted_total", 300.0),
        ("pool_works_succeeded_total", 300.0),
        ("pool_works_unsuccessful_total", 0.0),
        ("pool_works_queued", 0.0),
        ("pool_works_leased", 0.0),
        ("pool_bags", 1.0),
        ("pool_workers_connected", 1.0),
        ("pool_slots", 4.0),
        ("pool_links", 2.0),
        ("pool_epoch", 1.0),
        ("pool_reports_stale_total", 0.0),
        ("pool_protocol_errors_total", 0.0),
    ] {
        assert_eq!(value(&text, name), expected, "{name}");
    }
    assert!(value(&text, "pool_leases_total") >= 300.0);
    assert!(value(&text, "pool_journal_durable_lsn") <= value(&text, "pool_journal_lsn"));
    // Every metric of the source has its help, its type and a value.
    let source = include_str!("../../src/metrics.rs");
    let declared: Vec<&str> = source
        .split('"')
        .filter(|word| word.starts_with("pool_") && !word.contains(['{', '\\']))
        // Nobody follows the feed here.
        .filter(|word| !word.starts_with("pool_feed_"))
        .collect();
    assert!(declared.len() > 30, "{declared:?}");
    for name in declared {
        assert!(
            text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")),
            "{name}"
        );
        assert!(
            text.contains(&format!("\n{name} ")) || text.contains(&format!("\n{name}_count ")),
            "{name}"
        );
    }
    // The histogram counts upwards to its count, and commits took some time.
    let buckets: Vec<u64> = text
        .lines()
        .filter(|line| line.starts_with("pool_journal_commit_seconds_bucket"))
        .map(|line| {
            line.rsplit(' ')
                .next()
                .expect("a value")
                .parse()
                .expect("a count")
        })
        .collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    assert_eq!(
        buckets.last().copied(),
        Some(value(&text, "pool_journal_commit_seconds_count") as u64)
    );
    assert!(
        buckets.last().is_some_and(|count| *count >= 2)
            && value(&text, "pool_journal_commit_seconds_sum") > 0.0
    );
}

#[test]
fn a_peer_that_sends_its_request_too_slowly_is_closed_and_holds_up_nobody() {
    let engine = Engine::start(&[]);
    let mut slow: Vec<TcpStream> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(engine.ready().health).expect("it listens");
            stream
                .write_all(b"GET /livez HTTP/1.1\r\nHost:")
                .expect("it reads");
            stream
                .set_read_timeout(Some(Duration::from_secs(30)))
                .expect("a timeout");
            stream
        })
        .collect();
    let began = Instant::now();
    assert_eq!(get(&engine, "/livez").0, 200);
    for stream in &mut slow {
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "it took {:?}",
        began.elapsed()
    );
}
