//! Cancelling, retrying and prioritising what is queued, leased, running or done.

use wire_protocol::client_link::{Command, Query, Selector};
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::Join;

use crate::kit::{ClientHeard, Pool, WorkerHeard, join, null, rows, tokens};

#[test]
fn cancelling_a_bag_ends_what_waits_and_stops_what_runs() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 3, 0);
    let bag = pool.submit(client, null(), 5);
    let held = tokens(&pool.leases(worker));
    pool.started(worker, &held[..1]);
    pool.finish(worker, &held[2..]);
    let prefilled = tokens(&pool.leases(worker));
    pool.told(client);
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Bag(bag.bag))),
        Reply::Changed(4)
    );
    let mut stopped = vec![held[0], held[1], prefilled[0]];
    stopped.sort_unstable();
    assert_eq!(
        pool.worker_heard(worker),
        [WorkerHeard::Cancel(Reason::ByUser, stopped)]
    );
    let told = pool.outcomes(client);
    assert_eq!(told.len(), 4);
    assert!(
        told.iter()
            .all(|(_, outcome, reason)| (*outcome, *reason) == (Outcome::Cancelled, Reason::ByUser))
    );
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Bag(bag.bag))),
        Reply::Changed(0)
    );
    // What was stopped reports all the same: too late.
    let before = pool.snapshot();
    pool.report(worker, &held[..1], Reason::None);
    assert_eq!(pool.snapshot(), before);
    pool.ignore(worker);
    assert_eq!(
        pool.state(client, bag.first.offset(2)),
        WorkState::Done(Outcome::Succeeded)
    );
}

#[test]
fn cancelling_one_work_makes_room_for_the_next() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 3);
    assert_eq!(pool.leased(worker), [bag.first]);
    let second = bag.first.offset(1);
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Work(second))),
        Reply::Changed(1)
    );
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Work(bag.first))),
        Reply::Changed(1)
    );
    assert_eq!(
        pool.leased(worker),
        [bag.first.offset(2)],
        "the second is skipped"
    );
    assert!(matches!(
        &pool.worker_heard(worker)[..],
        [WorkerHeard::Cancel(..)]
    ));
    assert_eq!(pool.told(client).len(), 2);
    let lsn = pool.lsn();
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Work(second))),
        Reply::Changed(0)
    );
    assert_eq!(pool.lsn(), lsn, "a repeat records nothing");
}

#[test]
fn a_cancelled_submission_takes_no_more_rows() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 4);
    pool.rows(client, bag.request, 0, &rows(0..1));
    pool.accepted(client);
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    assert_eq!(pool.told(client).len(), 1);
    pool.rows(client, bag.request, 1, &rows(1..2));
    assert!(matches!(
        &pool.client_heard(client)[..],
        [ClientHeard::Rejected(_)]
    ));
    match pool.query(
        client,
        Query::Results {
            bag: bag.bag,
            from_row: 0,
        },
    ) {
        Reply::ResultsEnd { next_row, open } => {
            assert_eq!((next_row, open), (4, 0), "nothing is left to wait for")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(pool.told(client).len(), 1);
    // A submission without any row is done by its cancellation alone, and forgotten in time.
    let empty = pool.open_bag(client, null(), 4);
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Bag(empty.bag))),
        Reply::Changed(0)
    );
    pool.silence(Millis::from_secs(24 * 3_600 + 1));
    assert_eq!(pool.status(client).bags, 0);
}

#[test]
fn a_sealed_bag_takes_no_more_rows_and_is_done_with_those_it_has() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 2, 0);
    let bag = pool.open_bag(client, null(), 1_000);
    pool.rows(client, bag.request, 0, &rows(0..2));
    pool.accepted(client).expect("there is room");
    let held = tokens(&pool.leases(worker));
    pool.finish(worker, &held[..1]);

    assert_eq!(pool.command(client, Command::Seal(bag.bag)), Reply::Changed(1));
    assert_eq!(pool.command(client, Command::Seal(bag.bag)), Reply::Changed(0));
    pool.rows(client, bag.request, 2, &rows(2..3));
    let heard = pool.client_heard(client);
    assert!(
        matches!(&heard[..], [.., ClientHeard::Rejected(rejected)] if rejected.invalid.field == "rows"),
        "{heard:?}"
    );
    pool.restart();

    let client = pool.client("alice");
    let Reply::Bag(view) = pool.query(client, Query::Bag(bag.bag)) else {
        panic!("it is not done yet")
    };
    assert_eq!(
        (view.rows_total, view.tally.done()),
        (2, 1),
        "what did not come does not count"
    );
    let worker = pool.join(Join {
        held: held[1..].to_vec(),
        ..join("ant", 2, 0)
    });
    pool.welcome(worker);
    pool.finish(worker, &held[1..]);
    pool.close(worker);
    pool.silence(Millis::from_secs(24 * 3_600 + 1));
    assert_eq!(pool.status(client).bags, 0, "done, and forgotten in time");
}

#[test]
fn a_bag_whose_works_have_all_ended_is_done_when_it_is_sealed() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let empty = pool.open_bag(client, null(), 4);
    let full = pool.submit(client, null(), 1);
    assert_eq!(pool.command(client, Command::Seal(empty.bag)), Reply::Changed(1));
    assert_eq!(
        pool.command(client, Command::Seal(full.bag)),
        Reply::Changed(0),
        "it takes none anyway"
    );
    pool.silence(Millis::from_secs(24 * 3_600 + 1));
    let bags = pool.query(
        client,
        Query::Bags {
            after: BagId(0),
            limit: 10,
        },
    );
    assert!(matches!(bags, Reply::Bags(bags) if bags.len() == 1 && bags[0].bag == full.bag));
}

#[test]
fn of_a_very_large_cancellation_followers_are_told_to_ask() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 5_000);
    assert_eq!(
        pool.command(client, Command::Cancel(Selector::Bag(bag.bag))),
        Reply::Changed(5_000)
    );
    assert!(matches!(
        &pool.client_heard(client)[..],
        [ClientHeard::Lagging(_)]
    ));
    let mut from_row = 0;
    let mut works = 0;
    while from_row < 5_000 {
        match pool.query(
            client,
            Query::Results {
                bag: bag.bag,
                from_row,
            },
        ) {
            Reply::ResultsEnd { next_row, .. } => from_row = next_row,
            other => panic!("{other:?}"),
        }
        works += pool.told(client).len();
    }
    assert_eq!(works, 5_000);
}

#[test]
fn works_that_failed_are_retried_with_a_fresh_budget() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 3, 0);
    let mut template = null();
    template.retry.attempts_max = 1;
    let bag = pool.submit(client, template, 3);
    let held = tokens(&pool.leases(worker));
    pool.finish(worker, &held[..1]);
    pool.report(worker, &held[1..], Reason::ExitCode);
    pool.recorded(worker);
    pool.told(client);
    assert_eq!(
        pool.command(client, Command::Retry(Selector::Bag(bag.bag))),
        Reply::Changed(2)
    );
    let again = tokens(&pool.leases(worker));
    assert_eq!(
        again.iter().map(|token| token.attempt.0).collect::<Vec<_>>(),
        [2, 2]
    );
    pool.finish(worker, &again);
    assert_eq!(
        pool.outcomes(client).len(),
        2,
        "a retried work has a new outcome, a succeeded one does not"
    );
    let lsn = pool.lsn();
    assert_eq!(
        pool.command(client, Command::Retry(Selector::Bag(bag.bag))),
        Reply::Changed(0)
    );
    assert_eq!(pool.lsn(), lsn, "a repeat records nothing");
}

#[test]
fn a_cancelled_work_can_be_retried_while_its_old_place_in_the_queue_is_still_there() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 4);
    let work = bag.first.offset(1);
    for _ in 0..3 {
        assert_eq!(
            pool.command(client, Command::Cancel(Selector::Work(work))),
            Reply::Changed(1)
        );
        assert_eq!(
            pool.command(client, Command::Retry(Selector::Work(work))),
            Reply::Changed(1)
        );
    }
    assert_eq!(pool.told(client).len(), 3);
    let worker = pool.worker("ant", 10, 0);
    let mut leased = pool.leased(worker);
    leased.sort_unstable();
    assert_eq!(
        leased,
        (0..4).map(|row| bag.first.offset(row)).collect::<Vec<_>>()
    );
}

#[test]
fn another_tenants_works_are_not_there() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let bag = pool.submit(alice, null(), 1);
    let mallory = pool.client("mallory");
    let before = pool.snapshot();
    for command in [
        Command::Cancel(Selector::Bag(bag.bag)),
        Command::Cancel(Selector::Work(bag.first)),
        Command::Retry(Selector::Bag(bag.bag)),
        Command::Prioritise(bag.bag, Priority(9)),
        Command::Seal(bag.bag),
        Command::Seal(BagId(u64::MAX)),
        Command::Cancel(Selector::Bag(BagId(u64::MAX))),
        Command::Retry(Selector::Work(WorkId(u64::MAX))),
    ] {
        assert!(matches!(pool.command(mallory, command), Reply::NotFound { .. }));
    }
    for query in [
        Query::Work(bag.first),
        Query::Bag(bag.bag),
        Query::Results {
            bag: bag.bag,
            from_row: 0,
        },
        Query::ExplainWork(bag.first),
    ] {
        assert!(matches!(pool.query(mallory, query), Reply::NotFound { .. }));
    }
    assert!(matches!(pool.follow(mallory, bag.bag), Reply::NotFound { .. }));
    assert_eq!(pool.snapshot(), before);
    let operator = pool.operator();
    assert_eq!(
        pool.command(operator, Command::Cancel(Selector::Bag(bag.bag))),
        Reply::Changed(1)
    );
    assert_eq!(pool.told(alice).len(), 1);
}

#[test]
fn a_higher_priority_goes_first_and_works_move_between_them() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let low = pool.submit(
        client,
        WorkTemplate {
            priority: Priority(1),
            ..null()
        },
        2,
    );
    let high = pool.submit(
        client,
        WorkTemplate {
            priority: Priority(8),
            ..null()
        },
        2,
    );
    let later = pool.submit(
        client,
        WorkTemplate {
            priority: Priority(0),
            ..null()
        },
        2,
    );
    assert_eq!(
        pool.command(client, Command::Prioritise(later.bag, Priority(9))),
        Reply::Changed(2)
    );
    assert_eq!(
        pool.command(client, Command::Prioritise(later.bag, Priority(9))),
        Reply::Changed(0)
    );
    assert!(matches!(
        pool.command(client, Command::Prioritise(later.bag, Priority(10))),
        Reply::Conflict(_)
    ));
    let mut order = Vec::new();
    let worker = pool.worker("ant", 1, 0);
    loop {
        let leases = pool.leases(worker);
        let Some(lease) = leases.first() else { break };
        order.push(lease.token.work);
        pool.finish(worker, &[lease.token]);
    }
    pool.told(client);
    let works = [later, high, low].map(|bag| [bag.first, bag.first.offset(1)]);
    assert_eq!(order, works.concat());
}

#[test]
fn rows_that_come_after_a_change_of_priority_go_with_the_new_one() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 4);
    pool.rows(client, bag.request, 0, &rows(0..2));
    pool.command(client, Command::Cancel(Selector::Work(bag.first)));
    pool.command(client, Command::Prioritise(bag.bag, Priority(7)));
    pool.rows(client, bag.request, 2, &rows(2..4));
    pool.ignore(client);
    match pool.query(client, Query::Queues) {
        Reply::Queues(queues) => {
            assert_eq!(queues.len(), 1);
            assert_eq!((queues[0].priority, queues[0].queued), (Priority(7), 3));
        }
        other => panic!("{other:?}"),
    }
}
