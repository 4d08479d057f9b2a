//! Workers that leave by a deadline, and workers that say why they idle.

use std::fs;

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
    let drain = async |within| client.drain_within(WorkerId(1), within).await.expect("known");
    assert_eq!(drain(Millis::from_secs(600)).await, 1);
    let far = "it is draining, 1 work left, deadline in 9 min";
    until("the worker has a deadline", async || why(&client, 1).await == far).await;
    // Another, which has left for the worker when the answer is there.
    drain(Millis::from_secs(3)).await;
    until("the deadline is near", async || why(&client, 1).await != far).await;
    // The deadline is the worker's: a restart of the engine does not change it.
    engine.kill();
    engine.start_again();
    assert_eq!(ant.wait().code(), Some(0), "long before the first deadline");
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
    // It says what it was told as long as the worker is there, which may be over before anybody asks.
    until("the engine knows", async || {
        ant.has_ended().is_some() || why(&client, 1).await.contains("deadline in ")
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
