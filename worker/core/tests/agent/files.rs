//! What an executor wants to know of the files of its attempt: asked once, asked again on the next link, answered once.

use wire_protocol::units::Millis;
use worker_core::Event;

use crate::world::{Did, PROCESS, World, token};

#[test]
fn an_executor_that_asks_is_answered_once() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.event(Event::GrantAsked(token(1)));
    world.event(Event::GrantAsked(token(1)));
    assert_eq!(world.acted(), [Did::Start(1), Did::GrantAsked(vec![1])]);
    let granted = world.granted(1);
    assert_eq!(world.acted(), [Did::Granted(granted)]);
    world.granted(1);
    assert_eq!(world.acted(), [], "nobody waits for it any more");
    world.event(Event::GrantAsked(token(1)));
    assert_eq!(world.acted(), [Did::GrantAsked(vec![1])], "a grant may run out");
}

#[test]
fn what_waits_for_an_answer_asks_again_on_the_next_link() {
    let mut world = World::joined(2, 0);
    world.assign(PROCESS, &[1, 2]);
    world.event(Event::GrantAsked(token(1)));
    world.lose_link();
    world.event(Event::GrantAsked(token(2)));
    world.did();
    world.join(&[1, 2]);
    let asked = world
        .acted()
        .into_iter()
        .filter(|did| matches!(did, Did::GrantAsked(_)))
        .collect::<Vec<_>>();
    assert_eq!(asked, [Did::GrantAsked(vec![1, 2])]);
    let granted = world.granted(2);
    assert_eq!(world.acted(), [Did::Granted(granted)]);
}

#[test]
fn nothing_is_asked_for_what_does_not_run_or_was_stopped() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.event(Event::GrantAsked(token(1)));
    world.did();
    world.event(Event::GrantAsked(token(2)));
    world.event(Event::GrantAsked(token(7)));
    assert_eq!(world.acted(), [], "one waits, one is unknown");
    world.cancel(&[1]);
    world.did();
    world.granted(1);
    assert_eq!(world.acted(), [], "it was told to stop meanwhile");
    world.ended(1);
    world.lose_link();
    world.pass(Millis(1));
    world.did();
    world.join(&[2]);
    let asked = world
        .acted()
        .into_iter()
        .any(|did| matches!(did, Did::GrantAsked(_)));
    assert!(!asked, "nobody waits");
}
