//! What is stuck, and an operator who wants it to move.

use wire_hub::{Nonce, Wei};
use wire_protocol::units::Millis;

use super::super::*;
use super::mined;
use super::world::{SETTINGS, World, id};

/// Blocks ask for far more than it offers, and nobody would offer more for a while.
fn stuck(settings: Settings, intents: u8) -> World {
    let patient = Settings {
        replace_after: Millis(1_000_000),
        ..settings
    };
    let mut world = World::new(patient, intents);
    world.follow();
    world.drain();
    world.chain.base_fee = 900;
    for _ in 0..5 {
        world.round();
    }
    assert_eq!(world.chain.nonce(), Nonce(0));
    world
}

#[test]
fn what_is_stuck_is_offered_at_the_cap_when_the_operator_says_so() {
    let mut world = stuck(SETTINGS, 3);
    let only = Some(Nonce(0));
    world.handle(Event::Unstick {
        nonce: only,
        as_nothing: false,
    });
    world.drain();
    let at_the_cap = |world: &World| {
        let at = world.signed.values().filter(|signed| signed.price == Wei(1_000));
        at.map(|signed| signed.nonce).collect::<Vec<_>>()
    };
    assert_eq!(at_the_cap(&world), [Nonce(0)]);
    world.round();
    assert_eq!(world.chain.nonce(), Nonce(1), "the others wait as before");
    // Said twice it is no dearer, and what was mined stays.
    for _ in 0..2 {
        world.handle(Event::Unstick {
            nonce: None,
            as_nothing: false,
        });
        world.drain();
    }
    assert_eq!(at_the_cap(&world), [Nonce(0), Nonce(1), Nonce(2)]);
    world.settle();
    assert!((0..3).all(|number| mined(&world, number) == 1));
}

#[test]
fn what_is_stuck_gives_its_nonce_to_a_no_op_when_the_operator_says_so() {
    let mut world = stuck(SETTINGS, 2);
    world.handle(Event::Unstick {
        nonce: Some(Nonce(0)),
        as_nothing: true,
    });
    let kept = world.local.iter().find_map(|effect| match effect {
        Effect::Note { kept, .. } => kept.clone(),
        _ => None,
    });
    let withdrawn = kept.expect("a restart must know").withdrawn;
    assert_eq!(withdrawn, Some(Withdrawal::Unwanted));
    world.wanted.insert(id(0), false);
    world.drain();
    world.round();
    let first = world.chain.blocks.last().expect("a block").1.first().copied();
    let first = first.expect("a transaction");
    assert_eq!(
        (world.signed[&first].intent, world.signed[&first].price),
        (None, Wei(1_000))
    );
    assert_eq!(
        world.mined.get(&Nonce(0)).map(|(hash, _)| *hash),
        Some(first),
        "it is told"
    );
    world.settle();
    assert_eq!((mined(&world, 0), mined(&world, 1)), (0, 1));
}

#[test]
fn what_nobody_asks_to_unstick_stays_as_it_is() {
    let mut world = World::new(SETTINGS, 1);
    world.handle(Event::Unstick {
        nonce: None,
        as_nothing: true,
    });
    world.handle(Event::Unstick {
        nonce: Some(Nonce(7)),
        as_nothing: false,
    });
    assert!(world.local.is_empty() && world.tasks.is_empty());
    world.round();
    world.round();
    let before = world.signed.len();
    world.handle(Event::Unstick {
        nonce: None,
        as_nothing: true,
    });
    world.settle();
    assert_eq!(
        (mined(&world, 0), world.signed.len()),
        (1, before),
        "it was mined"
    );
}
