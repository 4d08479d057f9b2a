//! Cordon, hold and drain: who gets nothing more, for how long, and how a worker leaves.

use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{LinkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkerState};
use wire_protocol::worker_link::{Drain, Notice};

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
        [WorkerHeard::Drain(Drain { within: None, .. })]
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

fn problem(pool: &mut Pool, client: LinkId) -> Option<String> {
    match pool.query(client, Query::Worker(ANT)) {
        Reply::Worker(view) => view.problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_worker_that_holds_gets_nothing_until_work_is_welcome_again() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 2);
    let bag = pool.submit(operator, null(), 6);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held[..1]);
    pool.holding(ant, Some("the disk is 96 % full"));
    pool.retracted(ant, &held[1..], Reason::NoRoom);
    assert_eq!(pool.leased(ant), [], "what it gave back does not come again");
    pool.finish(ant, &held[..1]);
    pool.told(operator);
    assert_eq!(pool.leased(ant), [], "a free slot is no reason");
    pool.advance(Millis::from_secs(60));
    pool.ignore(ant);
    assert_eq!(pool.status(operator).works_leased, 0);
    assert_eq!(
        worker_state(&mut pool, operator),
        WorkerState::Ready,
        "nobody cordoned it"
    );
    assert_eq!(
        problem(&mut pool, operator).as_deref(),
        Some("the disk is 96 % full")
    );
    let why = pool.explain(operator, Query::ExplainWorker(ANT));
    assert!(
        why.starts_with("the worker takes no work: the disk is 96 % full"),
        "{why}"
    );
    let why = pool.explain(operator, Query::ExplainWork(bag.first.offset(5)));
    assert!(
        why.contains("ant could run it but takes no work: the disk is 96 % full"),
        "{why}"
    );
    assert_eq!(pool.command(operator, Command::Uncordon(ANT)), Reply::Changed(0));
    assert_eq!(pool.leased(ant), [], "an operator cannot talk it into work");
    pool.holding(ant, None);
    assert!(!pool.leased(ant).is_empty());
    assert_eq!(problem(&mut pool, operator), None);
    assert_eq!(pool.view(operator, bag.first.offset(1)).attempt.0, 2);
}

#[test]
fn what_a_worker_gives_back_because_it_holds_goes_to_another_and_uses_up_no_attempt() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 2);
    let mut template = null();
    template.retry.attempts_max = 1;
    pool.submit(operator, template, 6);
    let held = tokens(&pool.leases(ant));
    assert!(held.len() > 1, "some are ahead of time");
    pool.holding(ant, Some("no disk"));
    pool.retracted(ant, &held, Reason::NoRoom);
    let bee = pool.worker("bee", 6, 0);
    pool.advance(Millis::from_secs(10));
    let all = tokens(&pool.leases(bee));
    assert_eq!(all.len(), 6, "also those that waited for their backoff");
    pool.finish(bee, &all);
    let told = pool.told(operator);
    assert!(
        told.len() == 6 && told.iter().all(|told| told.outcome == Outcome::Succeeded),
        "{told:?}"
    );
}

#[test]
fn holding_ends_with_the_connection_and_is_in_no_record() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let before = pool.lsn();
    pool.holding(ant, Some("no disk"));
    pool.holding(ant, Some("still no disk"));
    assert_eq!(pool.lsn(), before);
    assert_eq!(problem(&mut pool, operator).as_deref(), Some("still no disk"));
    pool.close(ant);
    assert_eq!(problem(&mut pool, operator), None);
    let ant = pool.worker("ant", 1, 0);
    pool.submit(operator, null(), 2);
    assert_eq!(
        pool.leased(ant).len(),
        1,
        "a new connection takes work until it says otherwise"
    );
    pool.holding(ant, Some("no disk"));
    let newer = pool.worker("ant", 1, 1);
    pool.was_closed(ant, "another connection");
    pool.ignore(newer);
    assert_eq!(problem(&mut pool, operator), None, "also if it took over");
}

#[test]
fn a_worker_that_holds_may_be_cordoned_drained_and_lost_like_any_other() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    pool.holding(ant, Some("no disk"));
    assert_eq!(pool.command(operator, Command::Cordon(ANT)), Reply::Changed(1));
    pool.holding(ant, None);
    pool.submit(operator, null(), 1);
    let heard = pool.worker_heard(ant);
    assert!(
        matches!(&heard[..], [WorkerHeard::Notice(Notice::Cordoned { .. })]),
        "the cordon is the operator's: {heard:?}"
    );
    pool.holding(ant, Some("no disk"));
    pool.draining(ant);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
    pool.holding(ant, None);
    assert_eq!(worker_state(&mut pool, operator), WorkerState::Gone);
}
