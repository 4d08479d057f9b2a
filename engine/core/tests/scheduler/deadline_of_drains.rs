//! Drains with a deadline.

use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{LinkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState, WorkerState};
use wire_protocol::worker_link::Drain;

use crate::kit::{Pool, WorkerHeard, null, tokens};

const ANT: WorkerId = WorkerId(1);
const TEN: Millis = Millis::from_secs(600);

fn worker_state(pool: &mut Pool, client: LinkId) -> WorkerState {
    match pool.query(client, Query::Worker(ANT)) {
        Reply::Worker(view) => view.state,
        other => panic!("{other:?}"),
    }
}

fn drain(pool: &mut Pool, operator: LinkId, within: Millis) -> Reply {
    pool.command(operator, Command::DrainWithin(ANT, within))
}

#[test]
fn a_worker_hears_its_deadline_and_an_operator_when_it_comes() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 4, 0);
    pool.submit(operator, null(), 4);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held);
    assert_eq!(drain(&mut pool, operator, TEN), Reply::Changed(1));
    let heard = pool.worker_heard(ant);
    let within = match &heard[..] {
        [WorkerHeard::Drain(Drain { within, .. })] => *within,
        other => panic!("{other:?}"),
    };
    assert_eq!(within, Some(TEN));
    pool.advance(Millis::from_secs(419));
    let why = pool.explain(operator, Query::ExplainWorker(ANT));
    assert!(
        why.starts_with("it is draining, 4 works left, deadline in 3 min"),
        "{why}"
    );
    pool.finish(ant, &held[..3]);
    pool.told(operator);
    let why = pool.explain(operator, Query::ExplainWorker(ANT));
    assert!(
        why.starts_with("it is draining, 1 work left, deadline in 3 min"),
        "{why}"
    );
    pool.finish(ant, &held[3..]);
    pool.told(operator);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    pool.advance(TEN);
    assert_eq!(pool.worker_heard(ant), [], "the deadline means nothing any more");
}

#[test]
fn what_a_worker_gives_back_at_the_deadline_costs_its_works_nothing() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 2, 0);
    let mut template = null();
    template.retry.attempts_max = 1;
    let bag = pool.submit(operator, template, 2);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held);
    drain(&mut pool, operator, TEN);
    pool.ignore(ant);
    pool.advance(TEN);
    pool.retracted(ant, &held, Reason::WorkerDraining);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    assert_eq!(pool.state(operator, bag.first), WorkState::Queued);
    let bee = pool.worker("bee", 2, 0);
    pool.advance(Millis::from_secs(60));
    let again = tokens(&pool.leases(bee));
    assert_eq!(again.len(), 2, "their only attempt is still to be made");
    pool.finish(bee, &again);
    let outcomes = pool.outcomes(operator);
    assert!(
        outcomes.iter().all(|(_, _, reason)| *reason == Reason::None),
        "{outcomes:?}"
    );
    pool.finish(ant, &[]);
}

#[test]
fn what_a_worker_does_not_give_back_is_taken_from_it_a_heartbeat_later() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 2, 1);
    pool.submit(operator, null(), 3);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held[..2]);
    drain(&mut pool, operator, TEN);
    pool.ignore(ant);
    pool.advance(TEN);
    assert_eq!(pool.worker_heard(ant), [], "it is its own to do at first");
    pool.advance(pool.config.heartbeat);
    let heard = pool.worker_heard(ant);
    let [WorkerHeard::Cancel(Reason::WorkerDraining, cancelled)] = &heard[..] else {
        panic!("{heard:?}");
    };
    let mut cancelled = cancelled.clone();
    cancelled.sort_unstable();
    assert_eq!(cancelled, held);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    let bee = pool.worker("bee", 3, 0);
    pool.advance(Millis::from_secs(60));
    assert_eq!(pool.leased(bee).len(), 3);
}

#[test]
fn whatever_a_worker_says_of_its_drain_an_operators_deadline_stays() {
    for said in [Some(TEN), None, Some(Millis(u64::MAX / 2_000_000))] {
        let mut pool = Pool::new();
        let operator = pool.operator();
        let ant = pool.worker("ant", 2, 0);
        pool.submit(operator, null(), 2);
        let held = tokens(&pool.leases(ant));
        pool.started(ant, &held);
        drain(&mut pool, operator, TEN);
        pool.ignore(ant);
        // It answers after a round trip, and again.
        for _ in 0..3 {
            pool.advance(Millis(50));
            pool.draining_within(ant, said);
        }
        pool.advance(Millis(TEN.0 + pool.config.heartbeat.0));
        let heard = pool.worker_heard(ant);
        let [WorkerHeard::Cancel(Reason::WorkerDraining, cancelled)] = &heard[..] else {
            panic!("{said:?}: {heard:?}");
        };
        assert_eq!(cancelled.len(), held.len());
        assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
        pool.ignore_all();
    }
}

#[test]
fn a_later_deadline_counts_and_the_same_drain_again_changes_nothing() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    pool.submit(operator, null(), 1);
    pool.leases(ant);
    assert_eq!(pool.command(operator, Command::Drain(ANT)), Reply::Changed(1));
    assert_eq!(
        drain(&mut pool, operator, Millis::from_secs(30)),
        Reply::Changed(1)
    );
    assert_eq!(drain(&mut pool, operator, TEN), Reply::Changed(1));
    assert_eq!(drain(&mut pool, operator, TEN), Reply::Changed(0));
    assert_eq!(pool.command(operator, Command::Drain(ANT)), Reply::Changed(0));
    pool.ignore(ant);
    pool.advance(Millis::from_secs(60));
    assert_eq!(pool.worker_heard(ant), [], "the earlier one is over");
    assert_eq!(pool.status(operator).works_leased, 1);
}

#[test]
fn a_worker_brings_its_deadline_along_to_another_connection_and_another_engine() {
    for restarts in [false, true] {
        let mut pool = Pool::new();
        let operator = pool.operator();
        let ant = pool.worker("ant", 1, 0);
        pool.submit(operator, null(), 1);
        let held = tokens(&pool.leases(ant));
        pool.started(ant, &held);
        drain(&mut pool, operator, TEN);
        pool.ignore(ant);
        if restarts {
            pool.restart();
        } else {
            pool.close(ant);
        }
        let operator = if restarts { pool.operator() } else { operator };
        let mut join = crate::kit::join("ant", 1, 0);
        join.held = held.clone();
        join.running = held.clone();
        let ant = pool.join(join);
        assert_eq!(pool.welcome(ant).1, held);
        pool.draining_within(ant, Some(Millis::from_secs(300)));
        let why = pool.explain(operator, Query::ExplainWorker(ANT));
        assert!(
            why.starts_with("it is draining, 1 work left, deadline in 5 min"),
            "{why}"
        );
        pool.advance(Millis::from_secs(310));
        let why = pool.explain(operator, Query::ExplainWorker(ANT));
        assert!(
            why.starts_with("it is draining, 1 work left, the deadline has passed"),
            "{why}"
        );
        pool.retracted(ant, &held, Reason::WorkerDraining);
        assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    }
}
