//! The disk is full: what workers have goes on to its end, nobody gets anything new, and all of it goes on when there
//! is room.

use engine_core::{Event, Pressure};
use wire_protocol::client_link::Query;
use wire_protocol::ids::WorkerId;
use wire_protocol::outcome::Reason;
use wire_protocol::record::kind;
use wire_protocol::units::Millis;

use crate::kit::{Pool, WorkerHeard, join, null, rows, tokens};

fn press(pool: &mut Pool, pressure: Pressure) {
    pool.handle(Event::JournalPressure(pressure));
}

#[test]
fn on_a_full_disk_no_work_is_leased_and_what_is_under_way_goes_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let ant = pool.worker("ant", 1, 1);
    pool.submit(client, null(), 6);
    let held = tokens(&pool.leases(ant));
    assert_eq!(held.len(), 2, "one for its slot and one ahead of time");
    press(&mut pool, Pressure::DiskFull);
    // Room by a report, by a new worker, by an attempt that failed, by a lease that was given back.
    pool.started(ant, &held[..1]);
    pool.finish(ant, &held[..1]);
    assert_eq!(pool.told(client).len(), 1);
    let bee = pool.worker("bee", 2, 0);
    pool.report(ant, &held[1..], Reason::NoRoom);
    assert!(pool.recorded(ant).is_some());
    pool.advance(Millis::from_secs(60));
    assert_eq!(pool.leased(ant), []);
    assert_eq!(pool.leased(bee), []);
    assert_eq!(pool.status(client).works_queued, 5);
    press(&mut pool, Pressure::None);
    assert_eq!((pool.leased(ant).len(), pool.leased(bee).len()), (1, 2));
}

#[test]
fn a_journal_that_is_only_behind_again_lets_dispatch_go_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    pool.submit(client, null(), 1);
    press(&mut pool, Pressure::DiskFull);
    let ant = pool.worker("ant", 1, 0);
    assert_eq!(pool.leased(ant), []);
    press(&mut pool, Pressure::Behind);
    assert_eq!(pool.leased(ant).len(), 1);
}

#[test]
fn nothing_is_taken_back_from_a_worker_while_nobody_could_get_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let hoarder = pool.worker("hoarder", 1, 8);
    pool.submit(client, null(), 9);
    assert!(pool.leased(hoarder).len() > 2);
    let recorded = |pool: &Pool| {
        pool.journal
            .iter()
            .filter(|(kind, _)| *kind == kind::RELEASED)
            .count()
    };
    let before = recorded(&pool);
    press(&mut pool, Pressure::DiskFull);
    let _starving = pool.worker("starving", 4, 0);
    pool.advance(Millis::from_secs(2));
    assert_eq!(pool.worker_heard(hoarder), []);
    assert_eq!(recorded(&pool), before);
    press(&mut pool, Pressure::None);
    pool.ignore(_starving);
    pool.advance(Millis(100));
    // The works that waited went to the starving worker; had they not been enough, it would be given more.
    let retracted = pool.worker_heard(hoarder);
    assert!(
        retracted
            .iter()
            .all(|heard| matches!(heard, WorkerHeard::Retract(..))),
        "{retracted:?}"
    );
}

#[test]
fn a_worker_that_comes_back_on_a_full_disk_keeps_its_leases_and_gets_no_more() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let ant = pool.worker("ant", 2, 0);
    let bag = pool.submit(client, null(), 5);
    let held = tokens(&pool.leases(ant));
    pool.restart();
    press(&mut pool, Pressure::DiskFull);
    let back = pool.join(wire_protocol::worker_link::Join {
        held: held.clone(),
        ..join("ant", 4, 0)
    });
    assert_eq!(pool.welcome(back).1, held);
    let client = pool.client("alice");
    pool.finish(back, &held);
    pool.advance(Millis::from_secs(10));
    assert_eq!(
        pool.leased(back),
        [],
        "neither now nor when the wait after the start is over"
    );
    assert_eq!(pool.status(client).works_queued, 3);
    press(&mut pool, Pressure::None);
    assert_eq!(pool.leased(back).len(), 3);
    assert_eq!(
        pool.state(client, bag.first),
        wire_protocol::view::WorkState::Done(wire_protocol::outcome::Outcome::Succeeded)
    );
}

#[test]
fn room_on_the_disk_does_not_end_the_wait_after_a_start() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let ant = pool.worker("ant", 1, 0);
    pool.submit(client, null(), 2);
    pool.ignore(ant);
    pool.restart();
    press(&mut pool, Pressure::DiskFull);
    let bee = pool.worker("bee", 1, 0);
    press(&mut pool, Pressure::None);
    assert_eq!(pool.leased(bee), []);
    pool.advance(Millis::from_secs(4));
    assert_eq!(pool.leased(bee).len(), 1);
}

#[test]
fn a_full_disk_is_named_to_whoever_asks_why_a_work_waits_or_a_worker_idles() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let bag = pool.open_bag(operator, null(), 2);
    pool.rows(operator, bag.request, 0, &rows(0..2));
    pool.accepted(operator).expect("there is room");
    press(&mut pool, Pressure::DiskFull);
    let ant = pool.worker("ant", 1, 0);
    let work = pool.explain(operator, Query::ExplainWork(bag.first));
    let worker = pool.explain(operator, Query::ExplainWorker(WorkerId(1)));
    for why in [work, worker] {
        assert!(why.starts_with("the disk is full"), "{why}");
    }
    press(&mut pool, Pressure::None);
    assert_eq!(pool.leased(ant).len(), 1);
    let why = pool.explain(operator, Query::ExplainWork(bag.first.offset(1)));
    assert!(why.starts_with("all 1 slots"), "{why}");
}
