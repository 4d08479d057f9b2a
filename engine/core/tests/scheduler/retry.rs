//! Attempts that fail: backoff, budget, quarantine.

use engine_core::Config;
use wire_protocol::client_link::Query;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::{Retry, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::view::WorkState;

use crate::kit::{Pool, null, tokens};

fn retried(attempts_max: u16, backoff_min: u64, backoff_max: u64) -> WorkTemplate {
    let retry = Retry {
        attempts_max,
        backoff_min: Millis(backoff_min),
        backoff_max: Millis(backoff_max),
    };
    WorkTemplate { retry, ..null() }
}

#[test]
fn backoff_doubles_with_jitter_of_at_most_half_up_to_its_bound() {
    for seed in 0..20 {
        let mut pool = Pool::with(Config {
            seed,
            ..Config::default()
        });
        let worker = pool.worker("ant", 1, 0);
        let client = pool.client("alice");
        let bag = pool.submit(client, retried(6, 1_000, 5_000), 1);
        for full in [1_000, 2_000, 4_000, 5_000, 5_000] {
            let leases = tokens(&pool.leases(worker));
            assert_eq!(leases.len(), 1);
            pool.report(worker, &leases, Reason::ExitCode);
            pool.recorded(worker);
            pool.advance(Millis(full / 2 - 1));
            assert_eq!(pool.leased(worker), [], "at least half of {full} ms");
            assert_eq!(pool.state(client, bag.first), WorkState::Queued);
            let why = pool.explain(client, Query::ExplainWork(bag.first));
            assert!(why.contains("backoff"), "{why}");
            pool.advance(Millis(full / 2 + 1));
        }
        let leases = tokens(&pool.leases(worker));
        assert_eq!(leases[0].attempt.0, 6);
        pool.report(worker, &leases, Reason::Signal);
        pool.recorded(worker);
        assert_eq!(
            pool.outcomes(client),
            [(bag.first, Outcome::Failed, Reason::Signal)]
        );
    }
}

#[test]
fn backoffs_are_jittered() {
    let mut waits = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let mut pool = Pool::with(Config {
            seed,
            ..Config::default()
        });
        let worker = pool.worker("ant", 1, 0);
        let client = pool.client("alice");
        pool.submit(client, retried(2, 1_000, 1_000), 1);
        let leases = tokens(&pool.leases(worker));
        pool.report(worker, &leases, Reason::ExitCode);
        pool.recorded(worker);
        let began = pool.now;
        while pool.leases(worker).is_empty() {
            pool.advance(Millis(1));
        }
        waits.insert(pool.now.since(began));
    }
    assert!(waits.len() > 10, "{waits:?}");
}

#[test]
fn an_attempt_that_failed_by_the_workers_fault_costs_nothing() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, retried(1, 100, 100), 1);
    for _ in 0..5 {
        let leases = tokens(&pool.leases(worker));
        pool.report(worker, &leases, Reason::NoRoom);
        pool.recorded(worker);
        assert_eq!(pool.leased(worker), [], "room does not come at once");
        pool.advance(Millis(100));
    }
    let leases = tokens(&pool.leases(worker));
    assert_eq!(leases[0].attempt.0, 6);
    pool.finish(worker, &leases);
    assert_eq!(
        pool.outcomes(client),
        [(bag.first, Outcome::Succeeded, Reason::None)]
    );
}

#[test]
fn a_work_that_kills_its_workers_is_quarantined() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, retried(100, 0, 0), 1);
    for kill in 1..=3 {
        let worker = pool.worker(&format!("victim {kill}"), 1, 0);
        let leases = tokens(&pool.leases(worker));
        pool.started(worker, &leases);
        pool.close(worker);
        pool.silence(Millis::from_secs(11));
    }
    assert_eq!(
        pool.outcomes(client),
        [(bag.first, Outcome::Failed, Reason::Quarantined)]
    );
}

#[test]
fn a_worker_that_is_lost_before_the_work_ran_costs_it_nothing() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, retried(1, 0, 0), 1);
    for lost in 1..=5 {
        let worker = pool.worker(&format!("ant {lost}"), 1, 0);
        assert_eq!(pool.leased(worker).len(), 1);
        pool.close(worker);
        pool.silence(Millis::from_secs(11));
        assert_eq!(pool.state(client, bag.first), WorkState::Queued);
    }
    let worker = pool.worker("last", 1, 0);
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    assert_eq!(
        pool.outcomes(client),
        [(bag.first, Outcome::Succeeded, Reason::None)]
    );
}

#[test]
fn several_works_that_fail_with_one_lost_worker_all_fail_once() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, retried(1, 0, 0), 6);
    let worker = pool.worker("ant", 4, 1);
    let leases = tokens(&pool.leases(worker));
    pool.started(worker, &leases[..3]);
    pool.close(worker);
    pool.silence(Millis::from_secs(11));
    let mut outcomes = pool.outcomes(client);
    outcomes.sort();
    let lost = |row| (bag.first.offset(row), Outcome::Failed, Reason::WorkerLost);
    assert_eq!(outcomes, [lost(0), lost(1), lost(2)]);
    assert_eq!(pool.status(client).works_queued, 3);
    assert_eq!(pool.status(client).works_leased, 0);
}
