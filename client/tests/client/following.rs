//! Outcomes, each once, whatever happens on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ClientError, Follow, SubmitOptions};
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::outcome::{Outcome, Output};
use wire_protocol::template::WorkTemplate;
use wire_protocol::view::WorkState;

use crate::engine::{Engine, Fault, Script, first_of};
use crate::submitting::{rows, template};

/// Follows to the end; how often each row came.
async fn collect(follow: &mut Follow) -> Result<BTreeMap<u64, u32>, ClientError> {
    let mut times = BTreeMap::new();
    loop {
        let received = follow.recv(|item| {
            let row = item.work.0 - first_of(0).0;
            if item.result.len() < 1000 {
                assert_eq!(
                    Output::parse(item.result).unwrap().stdout,
                    row.to_string().as_bytes()
                );
            }
            *times.entry(row).or_default() += 1;
        });
        // A test that has failed should end.
        if tokio::time::timeout(Duration::from_secs(30), received)
            .await
            .expect("outcomes come")?
            == 0
        {
            return Ok(times);
        }
    }
}

/// Submits and follows; every outcome must come exactly once.
async fn submit_and_follow(engine: &Engine, count: u32, options: SubmitOptions) {
    let client = engine.client().await;
    let (upload, mut follow) = client.submit_followed(template(), count, options).unwrap();
    let (submission, times) = tokio::try_join!(upload.send(rows(count)), collect(&mut follow)).unwrap();
    assert_eq!(submission.rows, count);
    assert_eq!(times.len(), count as usize, "every outcome came");
    assert!(times.values().all(|times| *times == 1), "each once");
    assert_eq!(
        (follow.done(), follow.total(), follow.missing()),
        (count, count, 0)
    );
}

#[tokio::test]
async fn outcomes_come_live() {
    let engine = Engine::start(Script::default());
    submit_and_follow(&engine, 30_000, SubmitOptions::default()).await;
    assert!(
        !engine.script().seen.contains(&"results"),
        "nothing had to be asked for"
    );
}

#[tokio::test]
async fn outcomes_that_were_left_out_are_asked_for() {
    let engine = Engine::start(Script {
        lag_after: Some(700),
        results_per_page: 1000,
        ..Script::default()
    });
    submit_and_follow(&engine, 20_000, SubmitOptions::default()).await;
    assert!(engine.script().seen.contains(&"follow"));
}

#[tokio::test]
async fn outcomes_survive_the_loss_of_the_link() {
    let engine = Engine::start(Script {
        lose_after_outcomes: Some(10_000),
        rows_faults: vec![Fault::None, Fault::LoseAfter],
        ..Script::default()
    });
    submit_and_follow(&engine, 30_000, SubmitOptions::default()).await;
}

#[tokio::test]
async fn outcomes_come_although_the_first_open_failed() {
    let engine = Engine::start(Script {
        open_faults: vec![Fault::Busy, Fault::LoseAfter, Fault::LoseBefore],
        ..Script::default()
    });
    submit_and_follow(&engine, 1_000, SubmitOptions::default()).await;
}

#[tokio::test]
async fn a_repeated_submission_brings_the_outcomes_of_the_first() {
    let engine = Engine::start(Script::default());
    let options = SubmitOptions { key: Some([9; 16]) };
    submit_and_follow(&engine, 5_000, options).await;
    submit_and_follow(&engine, 5_000, options).await;
    assert_eq!(engine.script().bags.len(), 1);
}

#[tokio::test]
async fn a_bag_that_is_done_is_followed_from_its_results() {
    let engine = Engine::start(Script {
        results_per_page: 300,
        ..Script::default()
    });
    let client = engine.client().await;
    client
        .submit(template(), rows(1_000), SubmitOptions::default())
        .await
        .unwrap();
    let times = collect(&mut client.follow(BagId(1)).await.unwrap())
        .await
        .unwrap();
    assert_eq!(times.len(), 1_000);
    let error = client.follow(BagId(77)).await.unwrap_err();
    assert!(matches!(error, ClientError::NotFound { what } if what == "b77"));
}

#[tokio::test]
async fn results_that_the_journal_has_lost_are_counted_as_missing() {
    let engine = Engine::start(Script {
        forgotten: vec![3, 5, 8],
        ..Script::default()
    });
    let client = engine.client().await;
    client
        .submit(template(), rows(10), SubmitOptions::default())
        .await
        .unwrap();
    let mut follow = client.follow(BagId(1)).await.unwrap();
    assert_eq!(collect(&mut follow).await.unwrap().len(), 7);
    assert_eq!((follow.done(), follow.missing()), (7, 3));
}

#[tokio::test]
async fn a_follower_that_sleeps_is_bounded_and_still_gets_everything() {
    // 30 MB of outcomes before the follower looks once: more than may wait for it.
    let engine = Engine::start(Script {
        results_per_page: 10,
        ..Script::default()
    });
    let client = engine.client().await;
    let large: Vec<Vec<u8>> = (0..500).map(|_| vec![b'x'; 60_000]).collect();
    let (upload, mut follow) = client
        .submit_followed(template(), 500, SubmitOptions::default())
        .unwrap();
    upload.send(large).await.unwrap();
    // Answers come in order: when this one is there, all outcomes before it were received.
    client.status().await.unwrap();
    let times = collect(&mut follow).await.unwrap();
    assert_eq!((times.len(), times.values().max()), (500, Some(&1)));
    assert!(
        engine.script().seen.contains(&"results"),
        "what did not fit was asked for"
    );
}

#[tokio::test]
async fn a_follower_of_a_refused_submission_is_told() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let refused = WorkTemplate {
        label: "refused".into(),
        ..template()
    };
    let (upload, mut follow) = client
        .submit_followed(refused, 3, SubmitOptions::default())
        .unwrap();
    let (upload, follow) = tokio::join!(upload.send(rows(3)), follow.recv(|_| {}));
    assert!(matches!(upload, Err(ClientError::Rejected(_))));
    assert!(matches!(follow, Err(ClientError::SubmissionEnded)));
}

#[tokio::test]
async fn one_work_is_waited_for() {
    let engine = Engine::start(Script {
        hold: true,
        ..Script::default()
    });
    let client = engine.client().await;
    client
        .submit(template(), rows(10), SubmitOptions::default())
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.wait_work(WorkId(4)).await }
    });
    // Asked, followed, asked again: from here on the outcome must come by itself.
    while !engine.script().seen.ends_with(&["work", "follow", "work"]) {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished());
    engine.script().hold = false;
    let detail = tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect("it is told")
        .unwrap()
        .unwrap();
    assert_eq!(detail.work.state, WorkState::Done(Outcome::Succeeded));
    let error = client.wait_work(WorkId(11)).await.unwrap_err();
    assert!(matches!(error, ClientError::NotFound { .. }));
}
