//! Followers: each outcome once, to everyone who asked; who does not read is told so and left out.

use engine_core::Event;
use wire_protocol::client_link::{Command, Open, Selector};
use wire_protocol::view::Reply;

use crate::kit::{ClientHeard, Pool, null, rows, tokens};

#[test]
fn several_followers_each_hear_every_outcome_once() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let worker = pool.worker("ant", 2, 0);
    let bag = pool.submit(alice, null(), 4);
    let first = tokens(&pool.leases(worker));
    pool.finish(worker, &first);
    assert_eq!(pool.told(alice).len(), 2);
    let operator = pool.operator();
    match pool.follow(operator, bag.bag) {
        Reply::Following(tally) => assert_eq!((tally.succeeded, tally.leased), (2, 2)),
        other => panic!("{other:?}"),
    }
    let second = tokens(&pool.leases(worker));
    pool.finish(worker, &second);
    for client in [alice, operator] {
        let told = pool.told(client);
        let works: Vec<_> = told.iter().map(|told| told.work).collect();
        assert_eq!(works, second.iter().map(|token| token.work).collect::<Vec<_>>());
        assert_eq!(told[0].result, told[0].work.0.to_le_bytes());
    }
}

#[test]
fn following_twice_on_one_link_is_following_once_under_the_newer_request() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(alice, null(), 1);
    assert!(matches!(pool.follow(alice, bag.bag), Reply::Following(_)));
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    let told = pool.told(alice);
    assert_eq!(told.len(), 1);
    assert_ne!(told[0].request, bag.request);
}

#[test]
fn a_follower_that_does_not_read_is_told_and_may_follow_again() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(alice, null(), 3);
    pool.handle(Event::LinkFull { link: alice });
    match &pool.client_heard(alice)[..] {
        [ClientHeard::Lagging(lagging)] => assert_eq!((lagging.request, lagging.bag), (bag.request, bag.bag)),
        other => panic!("{other:?}"),
    }
    pool.handle(Event::LinkFull { link: alice });
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    assert_eq!(pool.told(alice), [], "it asks for what it missed");
    pool.follow(alice, bag.bag);
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    assert_eq!(pool.told(alice).len(), 1);
    pool.leased(worker);
}

#[test]
fn a_full_link_is_told_of_open_bags_only() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    for _ in 0..10 {
        pool.submit(alice, null(), 1);
        let leases = tokens(&pool.leases(worker));
        pool.finish(worker, &leases);
    }
    let open = pool.submit(alice, null(), 1);
    assert_eq!(pool.told(alice).len(), 10);
    pool.handle(Event::LinkFull { link: alice });
    match &pool.client_heard(alice)[..] {
        [ClientHeard::Lagging(lagging)] => assert_eq!(lagging.bag, open.bag),
        other => panic!("{other:?}"),
    }
    pool.leased(worker);
}

#[test]
fn a_link_that_is_gone_hears_nothing_and_costs_nothing() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    pool.submit(alice, null(), 1);
    pool.close(alice);
    pool.handle(Event::LinkClosed { link: alice });
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
}

#[test]
fn a_submission_that_is_reopened_after_outcomes_is_told_to_ask_for_them() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let open = Open {
        request: 1,
        key: [3; 16],
        rows_total: 2,
        follow: true,
        template: null(),
    };
    let alice = pool.client("alice");
    pool.open(alice, &open);
    pool.rows(alice, 1, 0, &rows(0..2));
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    pool.ignore(alice);
    pool.close(alice);
    let alice = pool.client("alice");
    pool.open(alice, &Open { request: 8, ..open });
    pool.accepted(alice).expect("the key is known");
    assert!(matches!(&pool.client_heard(alice)[..], [ClientHeard::Lagging(lagging)] if lagging.request == 8));
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    assert_eq!(pool.told(alice).len(), 1, "and hears of those to come");
}

#[test]
fn outcomes_of_works_that_ended_together_reach_every_follower() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let operator = pool.operator();
    let bag = pool.submit(alice, null(), 3);
    pool.follow(operator, bag.bag);
    pool.command(operator, Command::Cancel(Selector::Bag(bag.bag)));
    assert_eq!(pool.told(alice).len(), 3);
    assert_eq!(pool.told(operator).len(), 3);
}
