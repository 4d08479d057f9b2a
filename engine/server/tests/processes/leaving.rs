//! Workers that leave by a deadline, and workers that say why they idle.

use std::fs;
use std::time::{Duration, Instant};

use client::protocol::ids::WorkerId;
use client::protocol::outcome::Outcome as Ended;
use client::protocol::units::Millis;
use client::{Client, SubmitOptions};

use crate::kit::{Engine, Outcome, Worker, all_outcomes, command, until};

/// A work whose first attempt takes for ever, and any other no time.
async fn first_takes_for_ever(engine: &Engine, client: &Client) -> tokio::task::JoinHandle<Vec<Outcome>> {
    let mut template = command(&[
        "/bin/sh",
        "-c",
        &format!(
            "mkdir {}/begun 2>/dev/null && sleep 600; echo done",
            engine.folder().display()
        ),
    ]);
    template.retry.attempts_max = 1;
    let (upload, follow) = client
        .submit_followed(template, 1, SubmitOptions::default())
        .expect("a valid template");
    upload.send(["x"]).await.expect("accepted");
    until("it runs", async || engine.folder().join("begun").exists()).await;
    tokio::spawn(all_outcomes(follow))
}

async fn why(client: &Client, worker: u32) -> String {
    let told = client.explain_worker(WorkerId(worker)).await.expect("a worker");
    told.summary
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_deadline_gives_back_what_runs_and_another_worker_does_it() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    let mut ant = Worker::start(&engine, "ant", 1, "/bin/sh");
    let outcomes = first_takes_for_ever(&engine, &client).await;
    assert_eq!(
        client
            .drain_within(WorkerId(1), Millis::from_secs(3))
            .await
            .expect("drained"),
        1
    );
    let told = why(&client, 1).await;
    assert!(
        told.starts_with("it is draining, 1 work left, deadline in "),
        "{told}"
    );
    // The deadline is the worker's: a restart of the engine does not change it.
    engine.kill();
    engine.start_again();
    let began = Instant::now();
    assert_eq!(ant.wait().code(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    let _bee = Worker::start(&engine, "bee", 1, "/bin/sh");
    let outcomes = outcomes.await.expect("no panic");
    assert_eq!(
        outcomes[0].outcome,
        Ended::Succeeded,
        "its one attempt was not used up"
    );
    assert_eq!(outcomes[0].stdout(), "done\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_told_to_stop_keeps_its_own_deadline() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let deadline = [("POOL_DRAIN_DEADLINE", "1s".as_ref())];
    let mut ant = Worker::start_with(&engine, "ant", 1, "/bin/sh", &deadline);
    let outcomes = first_takes_for_ever(&engine, &client).await;
    ant.terminate();
    until("the engine knows", async || {
        why(&client, 1).await.contains("deadline in ")
    })
    .await;
    assert_eq!(ant.wait().code(), Some(0));
    let log = ant.said();
    assert!(log.contains("what still runs is stopped and given back"), "{log}");
    let _bee = Worker::start(&engine, "bee", 1, "/bin/sh");
    assert_eq!(outcomes.await.expect("no panic")[0].outcome, Ended::Succeeded);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_worker_says_why_in_its_log_and_its_status() {
    let engine = Engine::start(&[]);
    let ant = Worker::start(&engine, "ant", 1, "/bin/sh");
    let status = engine.folder().join("ant/status.json");
    until("it is told", async || {
        fs::read_to_string(&status).is_ok_and(|text| text.contains("nothing is queued"))
    })
    .await;
    let log = ant.said();
    assert_eq!(log.matches("has nothing to do").count(), 1, "{log}");
    assert!(log.contains("nothing is queued"), "{log}");
}
