//! Coming back: after a lost link, after a restart of the worker, after a crash of the engine.

use wire_protocol::ids::{Attempt, Epoch, LeaseToken};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Millis;
use wire_protocol::view::WorkState;
use wire_protocol::worker_link::{Join, Notice};

use crate::kit::{Pool, WorkerHeard, join, null, tokens};

fn holding(uid: &str, slots: u32, held: &[LeaseToken], running: &[LeaseToken]) -> Join {
    Join {
        held: held.to_vec(),
        running: running.to_vec(),
        ..join(uid, slots, 0)
    }
}

#[test]
fn a_worker_that_reconnects_goes_on_with_its_leases() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 3, 0);
    let bag = pool.submit(client, null(), 3);
    let held = tokens(&pool.leases(worker));
    pool.close(worker);
    let back = pool.join(holding("ant", 3, &held, &held[1..2]));
    let (_, adopted) = pool.welcome(back);
    assert_eq!(adopted, held);
    assert_eq!(pool.state(client, bag.first), WorkState::Leased);
    assert_eq!(pool.state(client, bag.first.offset(1)), WorkState::Running);
    pool.finish(back, &held);
    assert_eq!(pool.outcomes(client).len(), 3);
}

#[test]
fn a_worker_that_restarted_without_its_leases_gives_them_up_at_once() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 2, 0);
    let bag = pool.submit(client, null(), 2);
    let held = tokens(&pool.leases(worker));
    pool.started(worker, &held[..1]);
    pool.close(worker);
    let back = pool.join(join("ant", 2, 0));
    assert_eq!(pool.welcome(back).1, []);
    // The one that had not started is leased again at once, the other one after its backoff.
    assert_eq!(pool.leased(back), [bag.first.offset(1)]);
    pool.advance(Millis(200));
    let again = pool.leases(back);
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].token.attempt, Attempt(2));
    let view = pool.view(client, bag.first);
    assert_eq!(view.reason, Reason::LeaseAbandoned);
}

#[test]
fn the_second_connection_with_one_uid_wins() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let first = pool.worker("ant", 1, 0);
    pool.submit(client, null(), 1);
    let held = tokens(&pool.leases(first));
    let second = pool.join(holding("ant", 1, &held, &[]));
    assert_eq!(pool.welcome(second).1, held);
    pool.was_closed(first, "another connection");
    assert_eq!(pool.status(client).workers_connected, 1);
    assert_eq!(pool.status(client).slots, 1);
    pool.finish(second, &held);
    pool.told(client);
}

#[test]
fn a_worker_that_joins_again_with_another_offer_is_known_by_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let mut template = null();
    template.requirements.gpus = 1;
    let bag = pool.submit(client, template, 2);
    assert_eq!(pool.leased(worker), []);
    pool.close(worker);
    let mut better = join("ant", 2, 0);
    better.offer.gpus = 2;
    let worker = pool.join(better);
    pool.welcome(worker);
    assert_eq!(pool.leased(worker), [bag.first, bag.first.offset(1)]);
    assert_eq!(pool.status(client).slots, 2);
}

#[test]
fn durable_leases_survive_a_crash_of_the_engine() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 1);
    let bag = pool.submit(client, null(), 5);
    let held = tokens(&pool.leases(worker));
    pool.restart();
    let other = pool.worker("bee", 5, 0);
    assert_eq!(
        pool.leased(other),
        [],
        "dispatch waits for the worker that held leases"
    );
    let back = pool.join(holding("ant", 1, &held, &held));
    assert_eq!(pool.welcome(back).1, held);
    assert_eq!(pool.leased(other).len(), 3, "all are back, and the wait is over");
    assert_eq!(held[0].epoch, Epoch(1));
    pool.finish(back, &held);
    let client = pool.client("alice");
    assert_eq!(pool.state(client, bag.first), WorkState::Done(Outcome::Succeeded));
}

#[test]
fn the_wait_for_workers_ends_by_time_and_their_leases_go_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 2);
    pool.leases(worker);
    pool.restart();
    let other = pool.worker("bee", 2, 0);
    pool.advance(Millis(2_999));
    assert_eq!(pool.leased(other), []);
    pool.advance(Millis(1));
    assert_eq!(
        pool.leased(other),
        [bag.first.offset(1)],
        "what is leased stays leased"
    );
    pool.advance(Millis::from_secs(8));
    let expired = pool.leases(other);
    assert_eq!(expired[0].token.work, bag.first);
    assert_eq!(expired[0].token.attempt, Attempt(2));
    assert_eq!(expired[0].token.epoch, Epoch(2));
}

#[test]
fn leases_that_a_crash_forgot_are_adopted() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 2, 0);
    pool.hold_durability();
    let bag = pool.open_and_keep(client, null(), 2);
    let held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 2, "the leases were given, and nobody knows");
    pool.crash(pool.durable_lsn(), Millis(50), None);
    let client = pool.client("alice");
    assert_eq!(pool.state(client, bag.first), WorkState::Queued);
    let back = pool.join(Join {
        unacknowledged: held[1..].to_vec(),
        ..holding("ant", 2, &held[..1], &held[..1])
    });
    let (_, mut adopted) = pool.welcome(back);
    adopted.sort_unstable();
    assert_eq!(adopted, held);
    assert_eq!(pool.state(client, bag.first), WorkState::Running);
    pool.report(back, &held, Reason::None);
    pool.all_durable();
    assert_eq!(pool.recorded(back), Some(2));
    for work in [bag.first, bag.first.offset(1)] {
        assert_eq!(pool.state(client, work), WorkState::Done(Outcome::Succeeded));
    }
}

#[test]
fn leases_for_works_of_a_past_that_was_never_durable_are_refused() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    pool.hold_durability();
    pool.all_durable();
    let kept = pool.durable_lsn();
    pool.open(
        client,
        &wire_protocol::client_link::Open {
            request: 1,
            key: [0; 16],
            rows_total: 1,
            follow: false,
            template: null(),
        },
    );
    pool.rows(client, 1, 0, &[b"old".to_vec()]);
    let old = pool.leases(worker);
    assert_eq!(old[0].row, b"old");
    pool.crash(kept, Millis(50), None);
    // After the crash another submission gets the same ids.
    let client = pool.client("alice");
    pool.hold_durability();
    pool.open(
        client,
        &wire_protocol::client_link::Open {
            request: 1,
            key: [0; 16],
            rows_total: 1,
            follow: false,
            template: null(),
        },
    );
    pool.rows(client, 1, 0, &[b"new".to_vec()]);
    let back = pool.join(holding("ant", 1, &tokens(&old), &tokens(&old)));
    assert_eq!(pool.welcome(back).1, [], "its token is of a work that never was");
    let new = pool.leases(back);
    assert_eq!(new[0].token.work, old[0].token.work);
    assert_eq!(new[0].row, b"new");
    pool.report(back, &tokens(&old), Reason::None);
    pool.all_durable();
    assert_eq!(pool.recorded(back), Some(1));
    assert!(matches!(
        &pool.worker_heard(back)[..],
        [WorkerHeard::Notice(Notice::Stale { .. })]
    ));
    pool.ignore(client);
    assert_eq!(pool.state(client, new[0].token.work), WorkState::Leased);
}

#[test]
fn a_lease_that_a_newer_one_replaced_is_refused() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(client, null(), 1);
    let old = tokens(&pool.leases(worker));
    pool.close(worker);
    pool.silence(Millis::from_secs(11));
    let other = pool.worker("bee", 1, 0);
    let new = tokens(&pool.leases(other));
    let back = pool.join(holding("ant", 1, &old, &old));
    assert_eq!(pool.welcome(back).1, []);
    // Also after a restart, when the newer one is a record only.
    pool.restart();
    let back = pool.join(holding("ant", 1, &old, &old));
    assert_eq!(pool.welcome(back).1, []);
    let other = pool.join(holding("bee", 1, &new, &new));
    assert_eq!(pool.welcome(other).1, new);
    pool.finish(other, &new);
    let client = pool.client("alice");
    assert_eq!(pool.state(client, bag.first), WorkState::Done(Outcome::Succeeded));
}

#[test]
fn of_two_forgotten_attempts_at_one_work_the_newer_goes_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    pool.hold_durability();
    let mut template = null();
    template.retry.backoff_min = Millis(0);
    let bag = pool.open_and_keep(client, template, 1);
    // The first attempt fails, the second one runs; nothing of it was durable when the engine died.
    let first = tokens(&pool.leases(worker));
    pool.report(worker, &first, Reason::ExitCode);
    let second = tokens(&pool.leases(worker));
    assert_eq!(second[0].attempt, Attempt(2));
    pool.crash(pool.durable_lsn(), Millis(50), None);
    let back = pool.join(Join {
        unacknowledged: first,
        ..holding("ant", 1, &second, &second)
    });
    assert_eq!(pool.welcome(back).1, second);
    pool.report(back, &second, Reason::None);
    pool.all_durable();
    assert_eq!(pool.recorded(back), Some(1));
    let client = pool.client("alice");
    pool.all_durable();
    assert_eq!(pool.state(client, bag.first), WorkState::Done(Outcome::Succeeded));
}

#[test]
fn a_worker_cannot_exhaust_the_attempts_of_a_work_by_lying() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 1);
    pool.restart();
    let forged = LeaseToken {
        work: bag.first,
        epoch: Epoch(1),
        attempt: Attempt(u16::MAX),
        shard: wire_protocol::ids::Shard(0),
    };
    let liar = pool.join(holding("liar", 1, &[forged], &[forged]));
    let (_, adopted) = pool.welcome(liar);
    assert_eq!(adopted, [], "no crash forgets that many attempts");
    assert_eq!(pool.leased(liar), [bag.first]);
}

#[test]
fn workers_beyond_the_bound_are_refused() {
    let mut config = engine_core::Config::default();
    config.limits.workers_max = 1;
    let mut pool = Pool::with(config);
    let _ant = pool.worker("ant", 1, 0);
    let bee = pool.join(join("bee", 1, 0));
    assert!(matches!(&pool.worker_heard(bee)[..], [WorkerHeard::Refused(_)]));
    pool.was_closed(bee, "takes no more");
}
