//! A worker that has nothing to do asks why.

use wire_protocol::units::Millis;
use wire_protocol::view::Explanation;
use wire_protocol::worker_link::{Idle, IdleCause, kind};
use worker_core::{ASK_AGAIN_MAX, Event, IDLE_AFTER, Note};

use crate::world::{Did, PROCESS, World};

fn because(cause: IdleCause, summary: &str) -> Idle {
    Idle {
        cause,
        explanation: Explanation {
            summary: summary.to_owned(),
            facts: Vec::new(),
        },
    }
}

/// How often it asks in this time.
fn asks(world: &mut World, time: Millis) -> usize {
    let end = world.now + time;
    while world.now < end {
        world.pong();
        world.run_for(Millis::from_secs(1));
    }
    let acted = world.acted();
    acted.iter().filter(|did| **did == Did::WhyIdle).count()
}

#[test]
fn it_asks_after_a_while_and_tells_each_new_reason_once() {
    let mut world = World::joined(1, 0);
    assert_eq!(asks(&mut world, Millis(IDLE_AFTER.0 - 1_000)), 0);
    assert_eq!(asks(&mut world, Millis(1_000)), 1);
    let nothing = because(IdleCause::NothingQueued, "nothing is queued");
    world.control(kind::IDLE, &nothing);
    assert_eq!(world.did(), [Did::Note(Note::Idle(nothing.clone()))]);
    assert_eq!(world.agent.idle(), Some(&nothing));
    world.control(kind::IDLE, &nothing);
    assert_eq!(world.did(), [], "it is told already");
    let other = because(IdleCause::NoMatch, "3 works are queued, and it meets none");
    world.control(kind::IDLE, &other);
    assert_eq!(world.did(), [Did::Note(Note::Idle(other))]);
    let more = because(IdleCause::NoMatch, "4 works are queued, and it meets none");
    world.control(kind::IDLE, &more);
    assert_eq!(world.did(), [], "a number is no reason");
    assert_eq!(world.agent.idle(), Some(&more));
}

#[test]
fn it_asks_more_seldom_the_longer_nothing_changes() {
    let mut world = World::joined(1, 0);
    // After 10, 20, 40, 80 seconds, then every minute.
    assert_eq!(asks(&mut world, Millis::from_secs(100)), 4);
    assert_eq!(asks(&mut world, Millis(10 * ASK_AGAIN_MAX.0)), 10);
}

#[test]
fn a_worker_that_works_is_cordoned_by_itself_or_leaves_asks_nothing() {
    let mut world = World::joined(1, 0);
    world.run_for(Millis(9_000));
    world.assign(PROCESS, &[1]);
    assert_eq!(asks(&mut world, Millis::from_secs(30)), 0);
    let late = because(IdleCause::NothingQueued, "nothing is queued");
    world.control(kind::IDLE, &late);
    assert_eq!(
        (world.did(), world.agent.idle()),
        (vec![], None),
        "it is out of date"
    );
    world.ended(1);
    world.flush();
    world.recorded(1);
    assert_eq!(asks(&mut world, Millis(9_000)), 0, "the time begins anew");
    world.event(Event::Hold(Some("no disk")));
    assert_eq!(asks(&mut world, Millis::from_secs(60)), 0, "it knows why");
    world.event(Event::Hold(None));
    world.lose_link();
    assert_eq!(world.agent.idle(), None);
}
