//! Drains with a deadline.

use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{Drain, kind};
use worker_core::{Event, Exit, LEAVE_TIMEOUT, Note, Phase};

use crate::world::{Did, NULL, PROCESS, World, welcome};

const TIME: Millis = Millis::from_secs(20);

fn drains(world: &mut World, within: Option<Millis>) {
    world.event(Event::Drain { within });
}

fn given_back(works: &[u64]) -> Did {
    Did::Retracted(Reason::WorkerDraining, works.to_vec())
}

#[test]
fn what_still_runs_at_the_deadline_is_stopped_and_given_back_at_once() {
    let mut world = World::joined(2, 1);
    world.assign(PROCESS, &[1, 2, 3]);
    world.acted();
    drains(&mut world, Some(TIME));
    assert_eq!(world.acted(), [Did::Draining(Some(TIME)), given_back(&[3])]);
    world.ended(1);
    world.flush();
    world.recorded(1);
    world.run_for(Millis(TIME.0 - 1));
    world.acted();
    world.run_for(Millis(1));
    assert_eq!(
        world.did(),
        [
            Did::Note(Note::DrainOver { running: 1 }),
            Did::Kill(2, Reason::WorkerDraining),
            given_back(&[2]),
        ]
    );
    world.ended(2);
    assert_eq!(
        world.did(),
        [Did::Exit(Exit::Drained)],
        "nothing of it is reported"
    );
}

#[test]
fn a_worker_whose_works_end_in_time_leaves_before_the_deadline() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    drains(&mut world, Some(TIME));
    world.ended(1);
    world.flush();
    world.acted();
    world.recorded(1);
    assert_eq!(world.did(), [Did::Exit(Exit::Drained)]);
}

#[test]
fn a_later_deadline_counts_and_none_changes_nothing() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    drains(&mut world, None);
    world.did();
    let drain = |within| Drain {
        reason: "upgrade".to_owned(),
        within,
    };
    world.control(kind::DRAIN, &drain(Some(TIME)));
    assert_eq!(world.acted(), [Did::Draining(Some(TIME))]);
    world.control(kind::DRAIN, &drain(None));
    assert_eq!(world.did(), []);
    world.control(kind::DRAIN, &drain(Some(Millis(10))));
    assert_eq!(world.acted(), [Did::Draining(Some(Millis(10)))]);
    world.run_for(Millis(10));
    assert_eq!(
        world.acted(),
        [Did::Kill(1, Reason::WorkerDraining), given_back(&[1])]
    );
    world.control(kind::DRAIN, &drain(Some(TIME)));
    assert_eq!(world.did(), [], "it is too late for that");
}

#[test]
fn a_deadline_of_zero_gives_back_at_the_next_moment() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.acted();
    drains(&mut world, Some(Millis(0)));
    world.tick_at_deadline();
    assert_eq!(
        world.acted(),
        [
            Did::Draining(Some(Millis(0))),
            Did::Kill(1, Reason::WorkerDraining),
            given_back(&[1])
        ]
    );
}

#[test]
fn the_deadline_outlives_the_connection_and_what_is_left_of_it_is_said_again() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    drains(&mut world, Some(TIME));
    world.run_for(Millis::from_secs(5));
    world.lose_link();
    world.acted();
    world.connect();
    world.acted();
    world.welcome(&welcome(&[1]));
    let left = world.acted();
    let [Did::Draining(Some(left))] = left[..] else {
        panic!("{left:?}");
    };
    assert!((14_000..=15_000).contains(&left.0), "{left}");
}

#[test]
fn without_a_link_at_the_deadline_works_run_on_for_an_engine_that_may_come_back() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    drains(&mut world, Some(Millis(50)));
    world.lose_link();
    world.acted();
    world.pass(Millis(60));
    world.tick();
    assert_eq!(world.agent.status().running, 1);
    world.acted();
    world.connect();
    world.acted();
    world.welcome(&welcome(&[1]));
    assert_eq!(
        world.acted(),
        [
            Did::Draining(Some(Millis(0))),
            Did::Kill(1, Reason::WorkerDraining),
            given_back(&[1])
        ]
    );
}

#[test]
fn an_engine_that_stays_away_is_not_waited_for_long_after_the_deadline() {
    let mut world = World::joined(1, 1);
    world.assign(NULL, &[7]);
    world.assign(PROCESS, &[1]);
    world.lose_link();
    drains(&mut world, Some(Millis(50)));
    world.acted();
    world.pass(Millis(50));
    world.tick();
    assert_ne!(world.agent.status().phase, Phase::Left);
    world.pass(LEAVE_TIMEOUT);
    world.tick();
    let did = world.did();
    assert_eq!(
        did.last(),
        Some(&Did::Exit(Exit::Late { unrecorded: 1 })),
        "{did:?}"
    );
}
