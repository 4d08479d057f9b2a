//! The feed of the real engine: every record, in order, across restarts.

use std::time::{Duration, Instant};

use client::protocol::ids::Lsn;
use client::protocol::view::SubscriberView;
use client::{Client, SubmitOptions};
use engine_journal::OwnedRecord;
use wire_feed::{Subscription, SubscriptionError};

use crate::kit::{Audit, Engine, History, NullWorkers, all_outcomes, null};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_subscriber_gets_every_record_in_order_also_across_restarts() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    client
        .submit(null(), vec!["before"; 500], SubmitOptions::default())
        .await
        .expect("accepted");
    let audit = Audit::start(&engine.ready().feed);
    let _workers = NullWorkers::start(&engine, &["null"], 8);
    client
        .submit(null(), vec!["while"; 500], SubmitOptions::default())
        .await
        .expect("accepted");
    engine.kill();
    engine.start_again();
    let submission = client
        .submit(null(), vec!["after"; 500], SubmitOptions::default())
        .await
        .expect("accepted");
    all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;

    let last = client.status().await.expect("an answer").lsn;
    // All that was durable at that moment comes; a second subscriber sees when.
    let mut end = Subscription::connect(&engine.ready().feed, "end", Lsn(0)).expect("the engine feeds");
    while end.last() < last {
        end.next().expect("records come");
    }
    engine.stop();
    let heard = audit.finish();
    let history = History::read(&engine.data());
    assert!(
        heard.len() as u64 >= last.0 / 2,
        "the audit kept up: {} of {last}",
        heard.len()
    );
    same(&heard, &history.records);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_engine_says_how_far_each_subscriber_is_behind() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let mut feed = Subscription::connect(&engine.ready().feed, "persist", Lsn(0)).expect("the engine feeds");
    client
        .submit(null(), vec!["a row of some bytes"; 500], SubmitOptions::default())
        .await
        .expect("accepted");
    feed.next().expect("records come");
    let behind = lag_of(&client, |lag| lag.connected && lag.lag_records > 0).await;
    assert_eq!(behind.name, "persist");
    assert!(behind.lag_bytes.0 > 0, "{behind:?}");
    let older = lag_of(&client, |lag| lag.lag > behind.lag).await;
    assert_eq!(older.acknowledged, Lsn(0), "{older:?}");
    let last = client.status().await.expect("an answer").lsn;
    while feed.last() < last {
        feed.next().expect("records come");
    }
    feed.acknowledge(last).expect("the engine listens");
    let caught_up = lag_of(&client, |lag| lag.lag_records == 0).await;
    assert_eq!((caught_up.lag_bytes.0, caught_up.lag.0), (0, 0), "{caught_up:?}");
    drop(feed);
    lag_of(&client, |lag| !lag.connected).await;
}

/// How far the only subscriber is, once that is so.
async fn lag_of(client: &Client, is_so: impl Fn(&SubscriberView) -> bool) -> SubscriberView {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = client.status().await.expect("an answer");
        if let [lag] = &status.subscribers[..]
            && is_so(lag)
        {
            return lag.clone();
        }
        assert!(Instant::now() < deadline, "{:?}", status.subscribers);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What was fed is what the journal has.
fn same(heard: &[OwnedRecord], journal: &[OwnedRecord]) {
    for (heard, kept) in heard.iter().zip(journal) {
        assert_eq!(heard, kept);
    }
    assert!(
        heard.len() <= journal.len(),
        "nothing was fed that the journal does not have"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_subscriber_has_not_acknowledged_is_kept_across_restarts() {
    // Nothing is remembered of works that have ended, so that only the subscriber holds on to old segments.
    let mut engine = Engine::start(&["--retention-hours", "0"]);
    let client = engine.client().await;
    let _workers = NullWorkers::start(&engine, &["null"], 32);
    let mut feed = Subscription::connect(&engine.ready().feed, "persist", Lsn(0)).expect("the engine feeds");
    feed.next().expect("a record");
    feed.acknowledge(Lsn(1)).expect("it listens");
    let template = client::protocol::template::WorkTemplate {
        app: "null:4000".to_owned(),
        ..null()
    };
    let fill = async |client: &client::Client| {
        let (upload, follow) = client
            .submit_followed(template.clone(), 1_000, SubmitOptions::default())
            .expect("valid");
        let (accepted, outcomes) = tokio::join!(upload.send(vec![""; 1_000]), all_outcomes(follow));
        assert_eq!(outcomes.len(), accepted.expect("accepted").rows as usize);
    };
    let first_kept = |engine: &Engine| {
        let probe = Subscription::connect(&engine.ready().feed, "probe", Lsn(1));
        match probe {
            Ok(_) => Lsn(2),
            Err(SubscriptionError::Refused(refused)) => refused.first,
            Err(error) => panic!("{error}"),
        }
    };
    fill(&client).await;
    fill(&client).await;
    engine.stop();
    engine.start_again();
    fill(&client).await;
    client.snapshot().await.expect("an answer");

    // It was away, and nothing is gone: it goes on where it was.
    let mut feed =
        Subscription::connect(&engine.ready().feed, "persist", Lsn(1)).expect("its records are kept");
    let last = client.status().await.expect("an answer").lsn;
    while feed.last() < last {
        feed.next().expect("records come");
    }
    // Once it has acknowledged them they may go, with the next snapshots (two are kept).
    let upto = feed.last();
    feed.acknowledge(upto).expect("it listens");
    let mut rounds = 0;
    while engine.log().matches("old segments went").count() == 0 {
        assert!(rounds < 20, "acknowledged segments are kept for ever");
        rounds += 1;
        fill(&client).await;
        while feed
            .next_within(Duration::from_millis(50))
            .expect("records come")
            .is_some()
        {}
        let upto = feed.last();
        feed.acknowledge(upto).expect("it listens");
        engine.stop();
        engine.start_again();
        feed = Subscription::connect(&engine.ready().feed, "persist", upto).expect("its records are kept");
    }
    assert!(first_kept(&engine) > Lsn(2), "the beginning is gone");
}
