//! Times to live: first they bump, then they end; and what is done is forgotten.

use engine_core::{Config, Event};
use wire_protocol::client_link::{Command, Open, Query, Selector};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState};

use crate::kit::{ClientHeard, Pool, WorkerHeard, null, rows, tokens};

fn living(seconds: u64) -> WorkTemplate {
    WorkTemplate {
        time_to_live: Some(Millis::from_secs(seconds)),
        ..null()
    }
}

#[test]
fn a_bag_near_its_deadline_goes_first_and_then_expires() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, living(100), 3);
    let worker = pool.worker("ant", 1, 0);
    let held = tokens(&pool.leases(worker));
    let priority = |pool: &mut Pool| match pool.query(client, Query::Bag(bag.bag)) {
        Reply::Bag(view) => view.priority,
        other => panic!("{other:?}"),
    };
    pool.advance(Millis(89_000));
    assert_eq!(priority(&mut pool), Priority::default());
    pool.advance(Millis(1_500));
    assert_eq!(priority(&mut pool), Priority::MAX);
    pool.advance(Millis(9_000));
    assert_eq!(pool.state(client, bag.first), WorkState::Leased);
    pool.advance(Millis(600));
    let told = pool.outcomes(client);
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|(_, outcome, reason)| (*outcome, *reason) == (Outcome::Expired, Reason::TimeToLive))
    );
    assert_eq!(
        pool.worker_heard(worker),
        [WorkerHeard::Cancel(Reason::TimeToLive, held)]
    );
    assert!(matches!(
        pool.command(client, Command::Retry(Selector::Bag(bag.bag))),
        Reply::Conflict(_)
    ));
}

#[test]
fn a_deadline_survives_a_restart_and_passes_while_the_engine_is_away() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, living(100), 1);
    pool.crash(pool.lsn(), Millis(200_000), None);
    pool.silence(Millis(1));
    let client = pool.client("alice");
    assert_eq!(pool.state(client, bag.first), WorkState::Done(Outcome::Expired));
}

#[test]
fn a_bag_that_is_retried_after_a_restart_still_has_its_deadline() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, living(100), 1);
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    pool.told(client);
    pool.restart();
    let client = pool.client("alice");
    assert_eq!(
        pool.command(client, Command::Retry(Selector::Bag(bag.bag))),
        Reply::Changed(1)
    );
    pool.silence(Millis::from_secs(101));
    assert_eq!(pool.state(client, bag.first), WorkState::Done(Outcome::Expired));
}

#[test]
fn a_bag_that_was_done_before_a_restart_is_forgotten_after_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 1);
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    pool.told(client);
    pool.restart();
    pool.silence(Millis::from_secs(24 * 3_600 + 1));
    let client = pool.client("alice");
    assert_eq!(pool.status(client).bags, 0);
}

#[test]
fn a_submission_whose_rows_did_not_come_in_time_takes_no_more() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, living(1), 2);
    pool.advance(Millis(1_100));
    pool.rows(client, bag.request, 0, &rows(0..2));
    assert!(matches!(
        &pool.client_heard(client)[..],
        [ClientHeard::Rejected(_)]
    ));
}

#[test]
fn an_endless_time_to_live_is_no_deadline_in_the_past() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(
        client,
        WorkTemplate {
            time_to_live: Some(Millis(u64::MAX)),
            ..null()
        },
        1,
    );
    pool.advance(Millis::from_secs(100));
    assert_eq!(pool.state(client, bag.first), WorkState::Queued);
}

fn finish_all(pool: &mut Pool, client: wire_protocol::ids::LinkId, worker: wire_protocol::ids::LinkId) {
    loop {
        let leases = tokens(&pool.leases(worker));
        if leases.is_empty() {
            break;
        }
        pool.finish(worker, &leases);
        pool.told(client);
    }
}

#[test]
fn a_bag_is_forgotten_with_its_key_some_time_after_it_was_done() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 4, 0);
    let open = Open {
        request: 1,
        key: [1; 16],
        rows_total: 4,
        follow: false,
        template: null(),
    };
    pool.open(client, &open);
    pool.rows(client, 1, 0, &rows(0..4));
    let bag = pool.accepted(client).expect("accepted").bag;
    let needed = pool.scheduler.oldest_needed();
    finish_all(&mut pool, client, worker);
    pool.advance(Millis::from_secs(60));
    pool.open(client, &open);
    assert_eq!(pool.accepted(client).expect("still known").bag, bag);
    pool.close(worker);
    pool.silence(Millis::from_secs(24 * 3_600));
    assert!(matches!(
        pool.query(client, Query::Bag(bag)),
        Reply::NotFound { .. }
    ));
    let status = pool.status(client);
    assert_eq!((status.bags, status.works_done, status.rows_bytes.0), (0, 0, 0));
    assert!(pool.scheduler.oldest_needed() > needed);
    assert_eq!(pool.scheduler.oldest_needed(), pool.lsn().next());
    pool.open(client, &open);
    assert_ne!(pool.accepted(client).expect("a new submission").bag, bag);
}

#[test]
fn a_bag_that_was_retried_is_remembered_from_its_second_end() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 1);
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    pool.silence(Millis::from_secs(20 * 3_600));
    pool.command(client, Command::Retry(Selector::Bag(bag.bag)));
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    assert_eq!(pool.told(client).len(), 2);
    pool.silence(Millis::from_secs(20 * 3_600));
    assert_eq!(pool.status(client).bags, 1);
    pool.silence(Millis::from_secs(4 * 3_600 + 1));
    assert_eq!(pool.status(client).bags, 0);
}

#[test]
fn over_the_bound_what_was_done_longest_is_forgotten_first() {
    let mut config = Config::default();
    config.limits.works_done_max = 10;
    let mut pool = Pool::with(config);
    let client = pool.client("alice");
    let worker = pool.worker("ant", 4, 0);
    let bags: Vec<_> = (0..5)
        .map(|_| {
            let bag = pool.submit(client, null(), 4);
            finish_all(&mut pool, client, worker);
            bag
        })
        .collect();
    pool.handle(Event::Tick);
    let known: Vec<bool> = bags
        .iter()
        .map(|bag| matches!(pool.query(client, Query::Bag(bag.bag)), Reply::Bag(_)))
        .collect();
    assert_eq!(known, [false, false, false, true, true]);
    assert!(pool.status(client).works_done <= 10);
}

#[test]
fn a_forgotten_bag_stays_forgotten_after_a_restart() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 3);
    finish_all(&mut pool, client, worker);
    pool.close(worker);
    let kept = pool.submit(client, null(), 1);
    pool.silence(Millis::from_secs(24 * 3_600 + 1));
    pool.restart();
    let client = pool.client("alice");
    assert!(matches!(
        pool.query(client, Query::Bag(bag.bag)),
        Reply::NotFound { .. }
    ));
    assert_eq!(pool.state(client, kept.first), WorkState::Queued);
}
