//! What a worker's machine is enough for, with real commands on it.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::Duration;

use client::protocol::outcome::Reason;
use client::protocol::template::WorkTemplate;
use client::protocol::units::{Bytes, Millis};
use client::{Client, ClientError, SubmitOptions};

use crate::kit::{Engine, Worker, all_outcomes, command, null, until};

/// A command that writes down when it begins and when it ends.
fn logged(log: &Path, seconds: &str) -> WorkTemplate {
    let log = log.display();
    let script = format!("echo begins >> {log}; sleep {seconds}; echo ends >> {log}");
    command(&["/bin/sh", "-c", &script])
}

/// The most of them that ran at once.
fn at_once(log: &Path) -> usize {
    let text = fs::read_to_string(log).expect("works have run");
    let (mut running, mut most) = (0_usize, 0);
    for line in text.lines() {
        if line == "begins" {
            running += 1;
            most = most.max(running);
        } else {
            running = running.saturating_sub(1);
        }
    }
    most
}

fn worker(engine: &Engine, slots: u32, variables: &[(&str, &str)]) -> Worker {
    let variables: Vec<(&str, &OsStr)> = variables
        .iter()
        .map(|(name, value)| (*name, OsStr::new(value)))
        .collect();
    Worker::start_with(engine, "counting", slots, "/bin/sh", &variables)
}

/// Submits so many and waits until all have succeeded.
async fn run(client: &Client, template: WorkTemplate, works: usize) {
    let (upload, follow) = client
        .submit_followed(template, works as u32, SubmitOptions::default())
        .expect("a valid template");
    let (submission, outcomes) = tokio::join!(upload.send(vec![""; works]), all_outcomes(follow));
    submission.expect("accepted");
    assert_eq!(outcomes.len(), works);
    for outcome in outcomes {
        assert_eq!(outcome.exit_code, 0, "{outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_licences_are_never_in_three_works_also_when_the_engine_is_killed() {
    let mut engine = Engine::start(&[]);
    let _worker = worker(&engine, 6, &[("POOL_WORKER_CUSTOM", "licence=2")]);
    let log = engine.folder().join("licences");
    let mut template = logged(&log, "0.4");
    template.requirements.custom = vec![("licence".to_owned(), 1)];
    let client = engine.client().await;
    let submission = client
        .submit(template, vec![""; 10], SubmitOptions::default())
        .await
        .expect("accepted");
    until("two works run", async || {
        client.status().await.is_ok_and(|status| status.works_leased == 2)
    })
    .await;
    let last = submission.first.offset(9);
    let why = client.explain_work(last).await.expect("an answer");
    assert_eq!(
        why.summary,
        "none of the 1 workers that could run it has room for it now"
    );
    let fact = "counting has no room for it now: free 0 of 2 licence, needs 1";
    assert!(why.facts.iter().any(|text| text == fact), "{:?}", why.facts);

    // What takes no licence goes on beside them.
    run(&client, command(&["/bin/sh", "-c", "true"]), 4).await;
    engine.kill();
    engine.start_again();
    let bag = submission.bag;
    let outcomes = all_outcomes(client.follow(bag).await.expect("the bag is there")).await;
    assert_eq!(outcomes.len(), 10);
    assert_eq!(at_once(&log), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_packs_runs_what_its_memory_and_cores_are_enough_for() {
    let engine = Engine::start(&[]);
    let _worker = worker(&engine, 12, &[("POOL_PACKING", "resources")]);
    let client = engine.client().await;
    until("the worker has joined", async || {
        client
            .status()
            .await
            .is_ok_and(|status| status.workers_connected == 1)
    })
    .await;
    let workers = client.workers(Default::default(), 10).await.expect("an answer");
    let offer = workers[0].offer.clone();

    let log = engine.folder().join("large");
    let mut large = logged(&log, "0.2");
    large.requirements.memory = Bytes(offer.memory.0 / 2 + 1);
    run(&client, large, 3).await;
    assert_eq!(at_once(&log), 1, "more than half of the memory each");

    let log = engine.folder().join("narrow");
    run(&client, logged(&log, "0.4"), offer.cores as usize * 2 + 2).await;
    let most = at_once(&log);
    assert!(
        most <= offer.cores as usize,
        "{most} works of a core each on {} cores",
        offer.cores
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_category_gives_works_the_limits_that_they_do_not_name_and_bounds_the_others() {
    let engine = Engine::start(&["--categories", "short=1s,-,-,-;long=1h,1GiB,-,-"]);
    let _worker = worker(&engine, 2, &[]);
    let client = engine.client().await;
    let categories = client.categories().await.expect("an answer");
    let names: Vec<&str> = categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["short", "long"]);

    let mut endless = command(&["/bin/sh", "-c", "sleep 60"]);
    endless.category = Some("short".to_owned());
    endless.limits.wall_clock = Millis(0);
    endless.retry.attempts_max = 1;
    let (upload, follow) = client
        .submit_followed(endless, 1, SubmitOptions::default())
        .expect("a valid template");
    let began = std::time::Instant::now();
    let (_, outcomes) = tokio::join!(upload.send(vec![""]), all_outcomes(follow));
    let detail = client.work(outcomes[0].work).await.expect("it is remembered");
    assert_eq!(detail.work.reason, Reason::WallClock);
    assert!(began.elapsed() < Duration::from_secs(30));

    let mut greedy = null();
    greedy.category = Some("long".to_owned());
    greedy.limits.memory = Bytes::from_mib(2_048);
    let refused = client.submit(greedy, vec![""], SubmitOptions::default()).await;
    let Err(ClientError::Rejected(invalid)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(
        invalid.to_string(),
        "limits.memory: is 2.0 GiB; works of category long may have at most 1.0 GiB"
    );
}
