//! Submissions, whatever happens on the way.

use std::sync::{Arc, Mutex};

use client::{ClientError, SubmitEvent, SubmitOptions};
use wire_protocol::ids::BagId;
use wire_protocol::template::WorkTemplate;

use crate::engine::{Engine, Fault, Script, first_of};

pub(crate) fn template() -> WorkTemplate {
    WorkTemplate {
        app: "null".into(),
        columns: vec!["n".into()],
        ..WorkTemplate::default()
    }
}

pub(crate) fn rows(count: u32) -> Vec<Vec<u8>> {
    (0..count).map(|row| row.to_string().into_bytes()).collect()
}

/// Submits and returns what was told on the way; the engine must hold exactly the rows.
async fn submit(engine: &Engine, count: u32) -> Vec<SubmitEvent> {
    let client = engine.client().await;
    let events = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&events);
    let upload = client
        .upload(template(), count, SubmitOptions::default())
        .unwrap()
        .on_event(move |event| told.lock().unwrap().push(event));
    let submission = upload.send(rows(count)).await.unwrap();
    assert_eq!(
        (submission.bag, submission.first, submission.rows),
        (BagId(1), first_of(0), count)
    );
    let script = engine.script();
    assert_eq!(script.bags.len(), 1, "one submission is one bag");
    assert_eq!(
        script.bags[0].rows,
        rows(count),
        "no row is lost, none comes twice"
    );
    drop(script);
    std::mem::take(&mut *events.lock().unwrap())
}

#[tokio::test]
async fn rows_arrive_in_order_and_are_acknowledged() {
    let engine = Engine::start(Script::default());
    let events = submit(&engine, 100_000).await;
    let accepted: Vec<u32> = events
        .iter()
        .map(|event| match event {
            SubmitEvent::Accepted {
                rows,
                rows_total: 100_000,
                ..
            } => *rows,
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(
        accepted.is_sorted() && accepted.last() == Some(&100_000),
        "{accepted:?}"
    );
}

#[tokio::test]
async fn a_submission_resumes_after_the_link_is_lost() {
    use Fault::{LoseAfter, LoseBefore, None};
    let engine = Engine::start(Script {
        open_faults: vec![LoseBefore, LoseAfter, None],
        rows_faults: vec![None, LoseAfter, None, LoseBefore, LoseAfter, None, LoseAfter],
        ..Script::default()
    });
    let events = submit(&engine, 50_000).await;
    assert!(events.contains(&SubmitEvent::Interrupted), "{events:?}");
    assert!(
        engine
            .script()
            .seen
            .iter()
            .filter(|word| **word == "open")
            .count()
            >= 5
    );
}

#[tokio::test]
async fn rows_that_were_durable_before_the_answer_was_lost_are_not_refused() {
    // The last chunk is taken, then the link is lost: the submission is complete when it is opened again, and a
    // complete one takes no rows.
    let engine = Engine::start(Script {
        rows_faults: vec![Fault::LoseAfter],
        ..Script::default()
    });
    submit(&engine, 10).await;
    assert_eq!(engine.script().seen, ["open", "rows", "open"]);
}

#[tokio::test]
async fn a_busy_engine_is_waited_for() {
    use Fault::{Busy, LoseAfter, None};
    let engine = Engine::start(Script {
        open_faults: vec![Busy, Busy, None, Busy],
        rows_faults: vec![None, Busy, Busy, LoseAfter, None, Busy],
        ..Script::default()
    });
    let events = submit(&engine, 60_000).await;
    let busy = events
        .iter()
        .filter(|event| matches!(event, SubmitEvent::Busy { limit, .. } if limit == "works"));
    // Twice when it opens; refusals of rows that come together are waited for once.
    assert!(busy.count() >= 3, "{events:?}");
}

#[tokio::test]
async fn a_refused_field_is_named() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let refused = WorkTemplate {
        label: "refused".into(),
        ..template()
    };
    let error = client
        .submit(refused, rows(3), SubmitOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "label: is not liked here");
    assert!(matches!(error, ClientError::Rejected(invalid) if invalid.field == "label"));

    let wrong = WorkTemplate {
        app: String::new(),
        ..template()
    };
    let error = client
        .submit(wrong, rows(3), SubmitOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Rejected(invalid) if invalid.field == "app"));
    let error = client
        .submit(template(), rows(0), SubmitOptions::default())
        .await
        .unwrap_err();
    assert!(matches!(error, ClientError::Rejected(invalid) if invalid.field == "rows"));
    let opened = engine
        .script()
        .seen
        .iter()
        .filter(|word| **word == "open")
        .count();
    assert_eq!(opened, 1, "what is known to be wrong is not sent");
}

#[tokio::test]
async fn a_key_makes_two_submissions_one() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let options = SubmitOptions { key: Some([7; 16]) };
    let once = client.submit(template(), rows(20_000), options).await.unwrap();
    let twice = client.submit(template(), rows(20_000), options).await.unwrap();
    assert_eq!(once, twice);
    assert_eq!(engine.script().bags.len(), 1);
    let other = client
        .submit(template(), rows(1), SubmitOptions::default())
        .await
        .unwrap();
    assert_eq!(other.bag, BagId(2), "without a key every submission is its own");
}

#[tokio::test]
async fn many_submissions_go_side_by_side() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let submit = |count: u32| {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .submit(template(), rows(count), SubmitOptions::default())
                .await
        })
    };
    let submissions: Vec<_> = (1..=50).map(submit).collect();
    let mut total = 0;
    for submission in submissions {
        total += submission.await.unwrap().unwrap().rows;
    }
    assert_eq!(total, 1275);
    assert_eq!(
        engine
            .script()
            .bags
            .iter()
            .map(|bag| bag.rows.len())
            .sum::<usize>(),
        1275
    );
}
