//! Who follows a work hears what it prints.

use wire_protocol::client_link::{Busy, Command, Selector, kind};
use wire_protocol::ids::{Attempt, LeaseToken, LinkId};
use wire_protocol::log::{FollowLog, LogEnd, LogStream, LogWish, StopLogs};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::push_control;

use crate::kit::{ClientHeard, Pool, WorkerHeard, join, null, tokens};

const LOOK: Millis = Millis(100);

/// What the worker was asked to tell, and not what else it heard.
fn asked(pool: &mut Pool, link: LinkId) -> Vec<(LeaseToken, LogWish)> {
    let heard = pool.worker_heard(link);
    let asked = heard.into_iter().filter_map(|heard| match heard {
        WorkerHeard::FollowLog(FollowLog { token, wish }) => Some((token, wish)),
        _ => None,
    });
    asked.collect()
}

fn said(request: u32, attempt: u16, offset: u64, bytes: &[u8]) -> ClientHeard {
    ClientHeard::Log(request, attempt, LogStream::Stdout, offset, bytes.to_vec())
}

fn ended(request: u32, attempt: u16, state: WorkState, goes_on: bool) -> ClientHeard {
    ClientHeard::LogEnd(LogEnd {
        request,
        attempt: Attempt(attempt),
        state,
        goes_on,
    })
}

#[test]
fn a_follower_hears_a_running_work_to_its_end() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 1);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held);
    let before = pool.lsn();
    let request = pool.follow_logs(operator, bag.first, true);
    assert_eq!(asked(&mut pool, ant), [(held[0], LogWish::Follow)]);
    pool.prints(ant, held[0], 0, b"step 1\n");
    pool.log_told(ant, held[0]);
    pool.prints(ant, held[0], 7, b"step 2\n");
    assert_eq!(
        pool.client_heard(operator),
        [said(request, 1, 0, b"step 1\n"), said(request, 1, 7, b"step 2\n")]
    );
    assert_eq!(pool.lsn(), before, "nothing of it is recorded");
    pool.finish(ant, &held);
    pool.told(operator);
    pool.advance(LOOK);
    let done = WorkState::Done(Outcome::Succeeded);
    assert_eq!(pool.client_heard(operator), [ended(request, 1, done, false)]);
    pool.prints(ant, held[0], 14, b"late");
    pool.advance(Millis::from_secs(1));
    assert_eq!(pool.client_heard(operator), []);
    assert_eq!(asked(&mut pool, ant), []);
}

#[test]
fn following_goes_on_from_attempt_to_attempt_and_from_worker_to_worker() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let bag = pool.submit(operator, null(), 1);
    let request = pool.follow_logs(operator, bag.first, true);
    assert_eq!(pool.client_heard(operator), [], "it waits for a worker");
    let ant = pool.worker("ant", 1, 0);
    let first = tokens(&pool.leases(ant));
    pool.advance(LOOK);
    assert_eq!(asked(&mut pool, ant), [(first[0], LogWish::Follow)]);
    pool.prints(ant, first[0], 0, b"oh no");
    pool.report(ant, &first, Reason::ExitCode);
    pool.ignore(ant);
    pool.advance(LOOK);
    assert_eq!(
        pool.client_heard(operator),
        [
            said(request, 1, 0, b"oh no"),
            ended(request, 1, WorkState::Queued, true)
        ]
    );
    pool.close(ant);
    let bee = pool.worker("bee", 1, 0);
    pool.advance(Millis::from_secs(10));
    let second = tokens(&pool.leases(bee));
    assert_eq!(asked(&mut pool, bee), [(second[0], LogWish::Follow)]);
    pool.prints(bee, second[0], 0, b"better");
    pool.prints(bee, first[0], 0, b"of a lease that is over");
    assert_eq!(pool.client_heard(operator), [said(request, 2, 0, b"better")]);
    pool.command(operator, Command::Cancel(Selector::Work(bag.first)));
    pool.told(operator);
    pool.ignore(bee);
    pool.advance(LOOK);
    let cancelled = WorkState::Done(Outcome::Cancelled);
    assert_eq!(pool.client_heard(operator), [ended(request, 2, cancelled, false)]);
}

#[test]
fn whoever_only_looks_hears_what_there_is_and_that_this_was_all() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 2);
    let held = tokens(&pool.leases(ant));
    let request = pool.follow_logs(operator, bag.first, false);
    assert_eq!(asked(&mut pool, ant), [(held[0], LogWish::Once)]);
    pool.prints(ant, held[0], 0, b"so far");
    pool.log_told(ant, held[0]);
    assert_eq!(
        pool.client_heard(operator),
        [
            said(request, 1, 0, b"so far"),
            ended(request, 1, WorkState::Leased, false)
        ]
    );
    assert_eq!(asked(&mut pool, ant), [(held[0], LogWish::Stop)]);
    let waits = pool.follow_logs(operator, bag.first.offset(1), false);
    assert_eq!(
        pool.client_heard(operator),
        [ended(waits, 0, WorkState::Queued, false)]
    );
    pool.finish(ant, &held);
    pool.told(operator);
    pool.ignore(ant);
    let done = pool.follow_logs(operator, bag.first, true);
    let state = WorkState::Done(Outcome::Succeeded);
    assert_eq!(pool.client_heard(operator), [ended(done, 1, state, false)]);
    let unknown = pool.follow_logs(operator, bag.first.offset(77), true);
    assert!(matches!(pool.reply(operator, unknown), Reply::NotFound { .. }));
}

#[test]
fn a_second_follower_makes_the_worker_begin_again_and_the_last_to_go_ends_it() {
    let mut pool = Pool::new();
    let (one, two) = (pool.operator(), pool.operator());
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(one, null(), 1);
    let held = tokens(&pool.leases(ant));
    let first = pool.follow_logs(one, bag.first, true);
    let second = pool.follow_logs(two, bag.first, true);
    let follow = (held[0], LogWish::Follow);
    assert_eq!(asked(&mut pool, ant), [follow, follow]);
    pool.prints(ant, held[0], 0, b"for both");
    assert_eq!(pool.client_heard(one), [said(first, 1, 0, b"for both")]);
    assert_eq!(pool.client_heard(two), [said(second, 1, 0, b"for both")]);
    pool.close(two);
    assert_eq!(asked(&mut pool, ant), []);
    pool.client_says(one, |out| {
        push_control(out, kind::STOP_LOGS, &StopLogs { request: first });
    });
    assert_eq!(asked(&mut pool, ant), [(held[0], LogWish::Stop)]);
    pool.prints(ant, held[0], 8, b"for nobody");
    assert_eq!(pool.client_heard(one), []);
}

#[test]
fn a_worker_that_comes_back_is_asked_again() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 1);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held);
    let request = pool.follow_logs(operator, bag.first, true);
    asked(&mut pool, ant);
    pool.close(ant);
    pool.advance(LOOK);
    let once = pool.follow_logs(operator, bag.first, false);
    assert_eq!(
        pool.client_heard(operator),
        [ended(once, 1, WorkState::Running, false)],
        "who only looks does not wait for it"
    );
    let mut back = join("ant", 1, 0);
    back.held = held.clone();
    back.running = held.clone();
    let ant = pool.join(back);
    pool.welcome(ant);
    pool.advance(LOOK);
    assert_eq!(asked(&mut pool, ant), [(held[0], LogWish::Follow)]);
    pool.prints(ant, held[0], 0, b"still here");
    assert_eq!(pool.client_heard(operator), [said(request, 1, 0, b"still here")]);
}

#[test]
fn output_is_dropped_where_there_is_no_room_and_its_end_is_not() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 1);
    let held = tokens(&pool.leases(ant));
    let request = pool.follow_logs(operator, bag.first, true);
    pool.has_room = false;
    pool.prints(ant, held[0], 0, b"lost");
    pool.finish(ant, &held);
    pool.told(operator);
    pool.ignore(ant);
    pool.advance(LOOK);
    let done = WorkState::Done(Outcome::Succeeded);
    assert_eq!(pool.client_heard(operator), [ended(request, 1, done, false)]);
}

#[test]
fn followers_are_bounded_on_a_link_in_the_engine_and_for_a_worker() {
    let mut config = engine_core::Config::default();
    config.limits.log_followers_max = 40;
    let mut pool = Pool::with(config);
    let clients: Vec<LinkId> = (0..3).map(|_| pool.operator()).collect();
    let ant = pool.worker("ant", 49, 0);
    let bag = pool.submit(clients[0], null(), 49);
    pool.leases(ant);
    let mut busy = 0;
    for (nth, client) in clients.iter().enumerate() {
        for row in 0..17 {
            pool.follow_logs(*client, bag.first.offset(nth as u32 * 16 + row), true);
        }
        let is_busy = |heard: &ClientHeard| matches!(heard, ClientHeard::Busy(Busy { limit, .. }) if limit == "log followers");
        busy += pool
            .client_heard(*client)
            .iter()
            .filter(|heard| is_busy(heard))
            .count();
    }
    assert_eq!(busy, 1 + 1 + 9, "16 a link, 40 in all");
    assert_eq!(asked(&mut pool, ant).len(), 32, "a worker tells of 32");
}

#[test]
fn nobody_follows_what_is_not_his() {
    let mut pool = Pool::new();
    let (alice, bob) = (pool.client("alice"), pool.client("bob"));
    let ant = pool.worker("ant", 1, 0);
    let bag = pool.submit(alice, null(), 1);
    pool.leases(ant);
    let request = pool.follow_logs(bob, bag.first, true);
    assert!(matches!(pool.reply(bob, request), Reply::NotFound { .. }));
    assert_eq!(asked(&mut pool, ant), []);
}
