//! Cordon and drain: who gets nothing more, for how long, and how a worker leaves.

use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{LinkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkerState};
use wire_protocol::worker_link::Notice;

use crate::kit::{Pool, WorkerHeard, join, null, tokens};

const ANT: WorkerId = WorkerId(1);

fn worker_state(pool: &mut Pool, client: LinkId) -> WorkerState {
    match pool.query(client, Query::Worker(ANT)) {
        Reply::Worker(view) => view.state,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_drained_worker_gives_back_what_has_not_started_and_leaves_when_it_is_done() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 2);
    let bag = pool.submit(operator, null(), 6);
    let held = tokens(&pool.leases(ant));
    assert!(held.len() > 1, "some are ahead of time");
    pool.started(ant, &held[..1]);
    assert_eq!(pool.command(operator, Command::Drain(ANT)), Reply::Changed(1));
    assert!(matches!(
        &pool.worker_heard(ant)[..],
        [WorkerHeard::Notice(Notice::Drain { .. })]
    ));
    assert_eq!(
        pool.command(operator, Command::Drain(ANT)),
        Reply::Changed(0),
        "a repeat finds nothing to do"
    );
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Draining);
    let bee = pool.worker("bee", 1, 0);
    pool.ignore(bee);
    pool.retracted(ant, &held[1..], Reason::WorkerDraining);
    assert_eq!(pool.leased(ant), [], "nothing more comes");
    assert_eq!(pool.status(operator).works_leased, 2);
    pool.finish(ant, &held[..1]);
    pool.told(operator);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    pool.close(ant);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    assert_eq!(pool.view(operator, bag.first.offset(1)).attempt.0, 1);
}

#[test]
fn a_worker_that_wants_to_leave_is_let_go() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 2, 0);
    pool.draining(ant);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    pool.submit(operator, null(), 1);
    assert_eq!(pool.leased(ant), []);
    pool.close(ant);
    let back = pool.worker("ant", 2, 0);
    assert_eq!(pool.leased(back).len(), 1, "it may come back");
    pool.draining(back);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Draining);
    pool.draining(back);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Draining);
}

#[test]
fn a_draining_worker_whose_last_work_is_cancelled_is_gone() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 1);
    pool.leased(ant);
    pool.draining(ant);
    let selector = wire_protocol::client_link::Selector::Bag(bag.bag);
    pool.command(operator, Command::Cancel(selector));
    assert!(matches!(&pool.worker_heard(ant)[..], [WorkerHeard::Cancel(..)]));
    pool.told(operator);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
}

#[test]
fn a_cordoned_worker_gets_nothing_more_until_it_is_uncordoned() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 2, 0);
    pool.submit(operator, null(), 3);
    let held = tokens(&pool.leases(ant));
    assert_eq!(pool.command(operator, Command::Cordon(ANT)), Reply::Changed(1));
    assert_eq!(pool.command(operator, Command::Cordon(ANT)), Reply::Changed(0));
    pool.finish(ant, &held);
    pool.told(operator);
    let heard = pool.worker_heard(ant);
    assert!(
        matches!(&heard[..], [WorkerHeard::Notice(Notice::Cordoned { .. })]),
        "{heard:?}"
    );
    assert_eq!(pool.command(operator, Command::Uncordon(ANT)), Reply::Changed(1));
    assert_eq!(pool.leased(ant).len(), 1);
    assert!(matches!(
        &pool.worker_heard(ant)[..],
        [WorkerHeard::Notice(Notice::Uncordoned)]
    ));
    assert_eq!(pool.command(operator, Command::Uncordon(ANT)), Reply::Changed(0));
}

#[test]
fn a_cordon_survives_reconnection_and_restart_from_journal_and_snapshot() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    pool.command(operator, Command::Cordon(ANT));
    pool.ignore(ant);
    pool.close(ant);
    let ant = pool.worker("ant", 1, 0);
    assert!(matches!(
        &pool.worker_heard(ant)[..],
        [WorkerHeard::Notice(Notice::Cordoned { .. })]
    ));
    for from_snapshot in [false, true] {
        let snapshot = from_snapshot.then(|| pool.snapshot());
        pool.crash(pool.lsn(), Millis(1), snapshot.as_deref());
        let operator = pool.operator();
        let ant = pool.worker("ant", 1, 0);
        assert!(matches!(
            &pool.worker_heard(ant)[..],
            [WorkerHeard::Notice(Notice::Cordoned { .. })]
        ));
        assert_eq!(worker_state(&mut pool, operator), WorkerState::Cordoned);
    }
}

#[test]
fn a_worker_that_is_away_can_be_cordoned_and_uncordoned() {
    for gone in [false, true] {
        let mut pool = Pool::new();
        let operator = pool.operator();
        let ant = pool.worker("ant", 1, 0);
        if gone {
            pool.draining(ant);
        }
        pool.close(ant);
        assert_eq!(pool.command(operator, Command::Cordon(ANT)), Reply::Changed(1));
        assert_eq!(pool.command(operator, Command::Uncordon(ANT)), Reply::Changed(1));
        assert_eq!(pool.command(operator, Command::Cordon(ANT)), Reply::Changed(1));
        let ant = pool.worker("ant", 1, 0);
        assert_eq!(worker_state(&mut pool, operator), WorkerState::Cordoned);
        pool.ignore(ant);
    }
}

#[test]
fn a_worker_that_is_leaving_is_neither_cordoned_nor_uncordoned() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    pool.submit(operator, null(), 1);
    pool.command(operator, Command::Cordon(ANT));
    pool.command(operator, Command::Drain(ANT));
    for command in [Command::Uncordon(ANT), Command::Cordon(ANT)] {
        assert!(matches!(pool.command(operator, command), Reply::Conflict(_)));
    }
    pool.ignore(ant);
}

#[test]
fn only_operators_change_workers_and_ask_for_snapshots() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let ant = pool.worker("ant", 1, 0);
    for command in [
        Command::Cordon(ANT),
        Command::Uncordon(ANT),
        Command::Drain(ANT),
        Command::Snapshot,
    ] {
        let before = pool.snapshot();
        assert!(matches!(pool.command(alice, command), Reply::Conflict(_)));
        assert_eq!(pool.snapshot(), before);
    }
    assert_eq!(pool.worker_heard(ant), []);
    let operator = pool.operator();
    assert!(matches!(
        pool.command(operator, Command::Drain(WorkerId(77))),
        Reply::NotFound { .. }
    ));
}

#[test]
fn a_worker_that_was_long_away_is_forgotten_unless_it_is_cordoned() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bee = pool.worker("bee", 1, 0);
    pool.command(operator, Command::Cordon(ANT));
    pool.ignore(ant);
    pool.close(ant);
    pool.close(bee);
    pool.silence(Millis::from_secs(3_601));
    assert!(matches!(
        pool.query(operator, Query::Worker(WorkerId(2))),
        Reply::NotFound { .. }
    ));
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Lost);
    pool.command(operator, Command::Uncordon(ANT));
    pool.silence(Millis::from_secs(3_601));
    assert!(matches!(
        pool.query(operator, Query::Worker(ANT)),
        Reply::NotFound { .. }
    ));
    // Numbers are not given twice.
    let cat = pool.join(join("cat", 1, 0));
    assert_eq!(pool.welcome(cat).0, WorkerId(3));
}

#[test]
fn a_worker_that_never_came_back_after_a_restart_is_forgotten_too() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let ant = pool.worker("ant", 1, 0);
    pool.submit(client, null(), 1);
    pool.leased(ant);
    pool.restart();
    pool.silence(Millis::from_secs(3_700));
    let operator = pool.operator();
    assert!(matches!(
        pool.query(operator, Query::Worker(ANT)),
        Reply::NotFound { .. }
    ));
}
