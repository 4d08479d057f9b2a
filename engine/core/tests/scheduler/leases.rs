//! Leases: silence ends them, signs of life and stalls of the engine do not.

use engine_core::Event;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Millis;
use wire_protocol::view::WorkState;
use wire_protocol::worker_link::{Notice, kind, push_empty};

use crate::kit::{Pool, WorkerHeard, null, tokens};

#[test]
fn lease_expiry_requeues_work_with_next_attempt() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let silent = pool.worker("silent", 1, 0);
    let bag = pool.submit(client, null(), 1);
    let lost = tokens(&pool.leases(silent));
    pool.silence(Millis(9_999));
    assert_eq!(pool.state(client, bag.first), WorkState::Leased);
    pool.silence(Millis(2));
    assert_eq!(pool.state(client, bag.first), WorkState::Queued);
    pool.was_closed(silent, "longer than its lease");
    let other = pool.worker("other", 1, 0);
    let leases = tokens(&pool.leases(other));
    assert_eq!(leases[0].attempt.0, lost[0].attempt.0 + 1);
    // The lost worker comes back and reports under its old lease.
    let late = pool.worker("silent", 1, 0);
    pool.report(late, &lost, Reason::None);
    assert_eq!(pool.recorded(late), Some(1));
    assert!(matches!(
        &pool.worker_heard(late)[..],
        [WorkerHeard::Notice(Notice::Stale { .. })]
    ));
    assert_eq!(pool.outcomes(client), []);
    pool.finish(other, &leases);
    assert_eq!(
        pool.outcomes(client),
        [(bag.first, Outcome::Succeeded, Reason::None)]
    );
}

#[test]
fn any_sign_of_life_renews_the_lease() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 1);
    let leases = tokens(&pool.leases(worker));
    for round in 0..10 {
        pool.silence(Millis::from_secs(6));
        match round % 3 {
            0 => pool.worker_says(worker, |out| push_empty(out, kind::PING)),
            1 => pool.started(worker, &leases),
            _ => pool.handle(Event::LinkAlive { link: worker }),
        }
    }
    assert_eq!(pool.state(client, bag.first), WorkState::Running);
    let heard = pool.worker_heard(worker);
    assert!(heard.iter().all(|heard| *heard == WorkerHeard::Pong), "{heard:?}");
    pool.finish(worker, &leases);
    pool.told(client);
}

#[test]
fn a_closed_link_keeps_its_leases_until_they_expire() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 1);
    assert_eq!(pool.leased(worker).len(), 1);
    pool.silence(Millis::from_secs(4));
    pool.close(worker);
    pool.silence(Millis(5_900));
    assert_eq!(pool.state(client, bag.first), WorkState::Leased);
    pool.silence(Millis(200));
    assert_eq!(pool.state(client, bag.first), WorkState::Queued);
}

#[test]
fn a_stall_of_the_engine_ends_no_lease_whenever_it_happens() {
    for offset in [0, 500, 1_300, 1_999, 3_000, 7_000, 7_900] {
        for stall in [4_000, 8_500, 9_900, 60_000] {
            let mut pool = Pool::new();
            let client = pool.client("alice");
            let worker = pool.worker("ant", 1, 0);
            let bag = pool.submit(client, null(), 1);
            pool.leased(worker);
            // A healthy worker that says something every two seconds, which the engine hears until it stalls.
            for _ in 0..offset / 2_000 {
                pool.silence(Millis(2_000));
                pool.handle(Event::LinkAlive { link: worker });
            }
            pool.silence(Millis(offset % 2_000));
            pool.stall(Millis(stall));
            pool.handle(Event::Tick);
            assert_eq!(
                pool.state(client, bag.first),
                WorkState::Leased,
                "stalled for {stall} ms after {offset} ms"
            );
            pool.silence(Millis(1));
            pool.handle(Event::LinkAlive { link: worker });
            assert_eq!(pool.closed, []);
        }
    }
}

#[test]
fn a_stall_is_forgiven_once_and_not_for_ever() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 1);
    pool.leased(worker);
    pool.stall(Millis(60_000));
    pool.handle(Event::Tick);
    pool.silence(Millis(9_900));
    assert_eq!(pool.state(client, bag.first), WorkState::Leased);
    pool.silence(Millis(200));
    assert_eq!(pool.state(client, bag.first), WorkState::Queued);
    pool.was_closed(worker, "lease");
}

#[test]
fn a_worker_that_flaps_leaves_no_timers_behind() {
    let mut pool = Pool::new();
    for _ in 0..200 {
        let worker = pool.worker("moth", 1, 0);
        pool.close(worker);
    }
    let _worker = pool.worker("moth", 1, 0);
    let mut ticks = 0;
    let end = pool.now + Millis::from_secs(30);
    while let Some(due) = pool.scheduler.next_deadline()
        && due <= end
    {
        pool.now = pool.now.max(due);
        pool.handle(Event::Tick);
        let link = *pool.workers.keys().next().expect("it is connected");
        pool.handle(Event::LinkAlive { link });
        ticks += 1;
    }
    assert!(ticks < 60, "{ticks} wake-ups in 30 s for one idle worker");
}

#[test]
fn an_early_tick_changes_nothing() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    pool.submit(client, null(), 1);
    pool.leased(worker);
    let (before, lsn) = (pool.snapshot(), pool.lsn());
    for _ in 0..10 {
        pool.handle(Event::Tick);
    }
    assert_eq!((pool.snapshot(), pool.lsn()), (before, lsn));
}
