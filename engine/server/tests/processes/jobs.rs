//! Works from submission to outcome, and what can be asked and changed on the way.

use client::protocol::client_link::Selector;
use client::protocol::ids::{BagId, WorkId};
use client::protocol::outcome::Outcome;
use client::protocol::template::Priority;
use client::protocol::view::{Filter, WorkState, WorkerState};
use client::{Client, SubmitOptions};

use crate::kit::{Engine, NullWorkers, Worker, all_outcomes, command, null, until};

async fn submit(client: &Client, rows: usize) -> (BagId, WorkId) {
    let submission = client
        .submit(null(), vec![""; rows], SubmitOptions::default())
        .await
        .expect("accepted");
    (submission.bag, submission.first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_command_runs_and_its_output_comes_back_exactly() {
    let engine = Engine::start(&[]);
    let _worker = Worker::start(&engine, "echo", 2, "/bin/echo");
    let client = engine.client().await;
    let rows = ["plain", "with a space", "grün & \"quoted\" $HOME", ""];
    let (upload, follow) = client
        .submit_followed(command(&["/bin/echo", "<{x}>"]), 4, SubmitOptions::default())
        .expect("a valid template");
    let (submission, outcomes) = tokio::join!(upload.send(rows), all_outcomes(follow));
    let submission = submission.expect("accepted");
    for (index, row) in rows.iter().enumerate() {
        let outcome = &outcomes[index];
        assert_eq!(outcome.work, submission.first.offset(index as u32));
        assert_eq!(
            (outcome.outcome, outcome.attempt, outcome.exit_code),
            (Outcome::Succeeded, 1, 0)
        );
        assert_eq!(outcome.stdout(), format!("<{row}>\n"));
        let detail = client.work(outcome.work).await.expect("it is remembered");
        assert_eq!(detail.result, outcome.result, "a query tells the same");
        assert_eq!(detail.work.state, WorkState::Done(Outcome::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn two_thousand_works_end_and_another_client_asks_for_their_results_afterwards() {
    let engine = Engine::start(&[]);
    let _workers = NullWorkers::start(&engine, &["null-1", "null-2"], 8);
    let template = client::protocol::template::WorkTemplate {
        app: "null:100".to_owned(),
        ..null()
    };
    let client = engine.client().await;
    let (upload, follow) = client
        .submit_followed(template, 2_000, SubmitOptions::default())
        .expect("valid");
    let (submission, live) = tokio::join!(upload.send(vec![""; 2_000]), all_outcomes(follow));
    let bag = submission.expect("accepted").bag;
    assert_eq!(live.len(), 2_000);
    assert!(
        live.iter()
            .all(|outcome| outcome.outcome == Outcome::Succeeded && outcome.result.len() == 100)
    );

    let other = engine.client().await;
    let asked = all_outcomes(other.follow(bag).await.expect("the bag is there")).await;
    assert_eq!(asked, live);
    let view = other.bag(bag).await.expect("the bag is there");
    assert_eq!((view.tally.succeeded, view.tally.accepted()), (2_000, 2_000));
    let page = other
        .works(
            Filter {
                bag: Some(bag),
                ..Filter::default()
            },
            WorkId(0),
            1_000,
        )
        .await
        .expect("a page");
    assert_eq!(page.works.len(), 1_000);
    let status = other.status().await.expect("an answer");
    assert_eq!(
        (status.works_done, status.works_queued, status.workers_connected),
        (2_000, 0, 2)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn works_are_explained_cancelled_retried_and_prioritised() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let (bag, first) = submit(&client, 10).await;
    let explanation = client.explain_work(first).await.expect("an answer");
    assert_eq!(explanation.summary, "no worker is connected");
    let queues = client.queues().await.expect("an answer");
    assert_eq!(
        (queues.len(), queues[0].queued, queues[0].priority),
        (1, 10, Priority::default())
    );

    assert_eq!(
        client.prioritise(bag, Priority::MAX).await.expect("an answer"),
        10
    );
    assert_eq!(
        client.prioritise(bag, Priority::MAX).await.expect("an answer"),
        0,
        "a repeat changes nothing"
    );
    assert_eq!(
        client.queues().await.expect("an answer")[0].priority,
        Priority::MAX
    );

    assert_eq!(client.cancel(Selector::Work(first)).await.expect("an answer"), 1);
    assert_eq!(
        client.cancel(Selector::Work(first)).await.expect("an answer"),
        0,
        "a repeat changes nothing"
    );
    assert_eq!(client.bag(bag).await.expect("an answer").tally.cancelled, 1);
    assert_eq!(client.retry(Selector::Bag(bag)).await.expect("an answer"), 1);
    assert_eq!(client.bag(bag).await.expect("an answer").tally.queued, 10);

    let _workers = NullWorkers::start(&engine, &["null"], 1);
    assert_eq!(
        client.wait_work(first).await.expect("it ends").work.state,
        WorkState::Done(Outcome::Succeeded)
    );
    let outcomes = all_outcomes(client.follow(bag).await.expect("the bag is there")).await;
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.outcome == Outcome::Succeeded)
    );
    let missing = client
        .work(WorkId(4711))
        .await
        .expect_err("there is no such work");
    assert!(
        matches!(missing, client::ClientError::NotFound { .. }),
        "{missing}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_is_cordoned_uncordoned_and_drained() {
    let engine = Engine::start(&[]);
    let mut process = Worker::start(&engine, "steady", 1, "/bin/true");
    let client = engine.client().await;
    until("the worker joins", async || {
        client
            .status()
            .await
            .is_ok_and(|status| status.workers_connected == 1)
    })
    .await;
    let worker = client.workers(Default::default(), 10).await.expect("an answer")[0].worker;

    assert_eq!(client.cordon(worker).await.expect("an answer"), 1);
    assert_eq!(
        client.worker(worker).await.expect("an answer").state,
        WorkerState::Cordoned
    );
    let (bag, first) = submit(&client, 3).await;
    let explanation = client.explain_work(first).await.expect("an answer");
    assert!(
        explanation
            .facts
            .iter()
            .any(|fact| fact.contains("steady could run it but is cordoned")),
        "{explanation:?}"
    );

    assert_eq!(client.uncordon(worker).await.expect("an answer"), 1);
    assert_eq!(
        all_outcomes(client.follow(bag).await.expect("the bag is there"))
            .await
            .len(),
        3
    );

    assert_eq!(client.drain(worker).await.expect("an answer"), 1);
    assert_eq!(process.wait().code(), Some(0), "a drained worker leaves");
    let view = client.worker(worker).await.expect("it is remembered");
    assert!(
        matches!(view.state, WorkerState::Gone | WorkerState::Lost),
        "{view:?}"
    );
}
