//! Starting and stopping: signals, snapshots, exit codes and what is said with them.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use client::SubmitOptions;
use engine_journal::{OsStorage, stats};

use crate::kit::{Engine, NullWorkers, all_outcomes, bare_command, null, until};

/// Runs it to its end; its exit code and what it said.
fn output(mut command: Command) -> (Option<i32>, String) {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it starts");
    (
        status.code(),
        String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn sigterm_under_load_ends_with_a_snapshot_from_which_everything_comes_back() {
    let mut engine = Engine::start(&[]);
    let workers = NullWorkers::start(&engine, &["null"], 64);
    let client = engine.client().await;
    let template = client::protocol::template::WorkTemplate {
        app: "null:200".to_owned(),
        ..null()
    };
    let upload = client
        .upload(template.clone(), 200_000, SubmitOptions::default())
        .expect("valid");
    let rows = std::iter::repeat_n("", 200_000);
    let sending = tokio::spawn(upload.send(rows));
    until("thousands have run", async || {
        client
            .status()
            .await
            .is_ok_and(|status| status.works_done > 2_000)
    })
    .await;

    let began = Instant::now();
    engine.terminate();
    let status = tokio::task::block_in_place(|| engine.wait());
    assert!(status.success(), "{status}\n{}", engine.log());
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "it took {:?}",
        began.elapsed()
    );
    assert!(
        !engine.folder().join("ready.json").exists(),
        "the ready file went with it"
    );
    let storage = OsStorage::open_read_only(engine.data()).expect("the folder");
    let numbers = stats(&storage).expect("a sound journal");
    assert_eq!(
        numbers.snapshots.last(),
        Some(&numbers.last_lsn),
        "the snapshot includes the last record"
    );

    engine.start_again();
    let log = engine.log();
    let recovered = log
        .lines()
        .rfind(|line| line.contains("recovered"))
        .expect("it says so");
    assert!(
        recovered.contains(&format!("snapshot={}", numbers.last_lsn.0)),
        "{recovered}"
    );
    // The upload and the worker find it again and go on.
    let submission = sending.await.expect("no panic").expect("all rows are accepted");
    assert_eq!(submission.rows, 200_000);
    let outcomes = all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;
    assert_eq!(outcomes.len(), 200_000);
    assert!(outcomes.iter().all(|outcome| outcome.result.len() == 200));
    drop(workers);
}

#[test]
fn a_second_engine_on_the_same_folder_says_who_has_it() {
    let engine = Engine::start(&[]);
    let (code, text) = output(engine.command());
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("is in use by another engine"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_damaged_journal_is_refused_by_segment_and_offset() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    for _ in 0..50 {
        client
            .submit(null(), ["a row"; 10], SubmitOptions::default())
            .await
            .expect("accepted");
    }
    engine.kill();
    let segment = fs::read_dir(engine.data())
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| {
            path.extension().is_some_and(|extension| extension == "seg")
                && path.to_string_lossy().contains("journal-")
        })
        .expect("a segment");
    let file = fs::File::options()
        .read(true)
        .write(true)
        .open(&segment)
        .expect("a file");
    let mut byte = [0];
    let offset = 10_000;
    file.read_exact_at(&mut byte, offset).expect("it is that long");
    file.write_all_at(&[byte[0] ^ 1], offset).expect("a byte");

    let (code, text) = output(engine.command());
    assert_eq!(code, Some(5), "{text}");
    let name = segment.file_name().expect("a name").to_string_lossy();
    assert!(text.contains(&format!("{name} is damaged at byte ")), "{text}");
    assert!(text.contains("pool journal verify"), "{text}");

    file.write_all_at(&byte, offset).expect("a byte");
    engine.start_again();
    let status = engine.client().await.status().await.expect("an answer");
    assert_eq!(status.works_queued, 500, "a refused start changed nothing");
}

#[test]
fn a_taken_address_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let engine = Engine::prepare(&[]);
    let (code, text) = output(with_clients(&engine, &address));
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains(&address), "{text}");
    assert!(
        !text.contains("hunter2") && !text.contains("sesame"),
        "no secret is printed: {text}"
    );

    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("bound").to_string();
    let mut command = with_clients(&engine, "127.0.0.1:0");
    command.env("POOL_LISTEN_HEALTH", &address);
    let (code, text) = output(command);
    assert_eq!(code, Some(4), "{text}");
    assert!(
        text.contains(&address) && text.contains("--listen-health"),
        "{text}"
    );
}

/// An engine configured by its environment.
fn with_clients(engine: &Engine, clients: &str) -> Command {
    let mut command = bare_command();
    command
        .env("SCHEDULER_PERSISTING_FOLDER", engine.data())
        .env("CERTIFICATE_AND_PRIVATE_KEYS_REPO", engine.folder().join("certs"))
        .env("POOL_LISTEN_WORKERS", "127.0.0.1:0")
        .env("POOL_LISTEN_CLIENTS", clients)
        .env("POOL_LISTEN_HEALTH", "127.0.0.1:0")
        .env("POOL_SEGMENT_MIB", "2")
        .env("ADMINPASSWORD", "open sesame")
        .env("WORKERPASSWORD", "hunter2");
    command
}

#[test]
fn missing_secrets_are_all_named_at_once() {
    let mut command = bare_command();
    command.env("WORKERPASSWORD", "");
    let (code, text) = output(command);
    assert_eq!(code, Some(3), "{text}");
    assert!(
        text.contains("ADMINPASSWORD is not set") && text.contains("WORKERPASSWORD is empty"),
        "{text}"
    );
    assert!(text.contains("ADMINPASSWORD_FILE"), "{text}");
}

#[test]
fn help_teaches_and_wrong_usage_is_told_apart() {
    let mut help = bare_command();
    help.arg("--help");
    let (code, text) = output(help);
    assert_eq!(code, Some(0));
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in [
        "Example:",
        "SIGTERM",
        "Exit codes:",
        "SCHEDULER_PERSISTING_FOLDER",
        "WORKERPASSWORD_FILE",
        "pool dev",
    ] {
        assert!(text.contains(word), "{word} is not in the help:\n{text}");
    }
    for wrong in [
        &["--no-such-flag"][..],
        &["--segment-mib", "1"],
        &["--lease-timeout-ms", "0"],
    ] {
        let mut command = bare_command();
        command.args(wrong);
        assert_eq!(output(command).0, Some(2), "{wrong:?}");
    }
}
