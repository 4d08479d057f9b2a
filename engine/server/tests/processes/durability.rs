//! What an acknowledgement waits for.

use std::time::Duration;

use client::SubmitOptions;

use crate::kit::{Engine, Held, NullWorkers, PATIENCE, all_outcomes, null};

/// Long enough that an acknowledgement that waits for nothing would have come.
const A_WHILE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn nothing_is_acknowledged_while_the_disk_does_not_answer() {
    let engine = Engine::start(&[]);
    let _workers = NullWorkers::start(&engine, &["null"], 8);
    let client = engine.client().await;
    let held = Held::journal_of(engine.pid());
    let submit = client.submit(null(), ["a", "b"], SubmitOptions::default());
    tokio::pin!(submit);
    let early = tokio::time::timeout(A_WHILE, &mut submit).await;
    assert!(early.is_err(), "acknowledged without the disk: {early:?}");
    drop(held);
    let submission = tokio::time::timeout(PATIENCE, submit)
        .await
        .expect("the disk answers again")
        .expect("accepted");
    let follow = client.follow(submission.bag).await.expect("it is there");
    assert_eq!(all_outcomes(follow).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_durability_memory_works_are_accepted_and_done_without_the_disk() {
    let engine = Engine::start(&["--durability", "memory"]);
    let _workers = NullWorkers::start(&engine, &["null"], 8);
    let client = engine.client().await;
    let held = Held::journal_of(engine.pid());
    let run = async {
        let (upload, follow) = client
            .submit_followed(null(), 2, SubmitOptions::default())
            .expect("valid");
        let send = async { upload.send(["a", "b"]).await.expect("accepted") };
        tokio::join!(send, all_outcomes(follow)).1
    };
    let outcomes = tokio::time::timeout(PATIENCE, run).await;
    assert_eq!(outcomes.expect("nothing waits for the disk").len(), 2);
    assert!(
        engine.log().contains("POOL_DURABILITY"),
        "it warns of what may be lost"
    );
    drop(held);
}
