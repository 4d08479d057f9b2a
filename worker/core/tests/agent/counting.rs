//! Works that take of what the worker counts.

use std::sync::Arc;

use wire_protocol::outcome::Reason;
use wire_protocol::resources::Packing;
use wire_protocol::template::{InputFile, WorkTemplate};
use wire_protocol::units::Bytes;
use worker_core::Note;

use crate::world::{Did, LICENSED, PROCESS, World, licensed, settings, taking, token, welcome};

fn joined(slots: u32, prefill: u32) -> World {
    let mut world = World::of(licensed(slots, prefill));
    world.join(&[]);
    world.did();
    world
}

#[test]
fn a_work_waits_as_long_as_one_that_was_told_to_stop_has_what_it_takes() {
    let mut world = joined(4, 4);
    world.assign(LICENSED, &[1, 2]);
    world.cancel(&[1]);
    world.assign(LICENSED, &[3]);
    world.assign(PROCESS, &[4]);
    assert_eq!(
        world.acted(),
        [
            Did::Start(1),
            Did::Start(2),
            Did::Kill(1, Reason::ByUser),
            Did::Start(4)
        ],
        "3 is welcome and waits, 4 takes nothing and overtakes it"
    );
    world.ended(4);
    assert_eq!(world.acted(), [], "a slot is not what it waits for");
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(3)]);
}

#[test]
fn a_work_that_is_more_than_there_is_goes_back() {
    let mut world = joined(4, 4);
    world.assign(LICENSED, &[1, 2, 3]);
    assert_eq!(
        world.did(),
        [
            Did::Start(1),
            Did::Start(2),
            Did::Note(Note::OverAssigned { works: 1 }),
            Did::Retracted(Reason::NoRoom, vec![3])
        ]
    );
    world.ended(1);
    world.assign(LICENSED, &[3]);
    assert_eq!(world.acted(), [Did::Start(3)]);
}

#[test]
fn works_that_wait_and_go_back_give_back_what_they_would_have_taken() {
    let mut world = joined(1, 4);
    world.assign(LICENSED, &[1, 2]);
    world.retract(&[2]);
    world.assign(LICENSED, &[3]);
    world.cancel(&[3]);
    world.assign(LICENSED, &[4]);
    assert_eq!(
        world.acted(),
        [Did::Start(1), Did::Retracted(Reason::Retracted, vec![2])],
        "each of them was welcome"
    );
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(4)]);
}

#[test]
fn what_an_earlier_process_left_keeps_what_it_takes() {
    let mut world = World::of(licensed(4, 4));
    assert!(world.agent.resume(token(1), &Arc::new(taking(2))));
    world.connect();
    world.welcome(&welcome(&[1]));
    world.define_all();
    world.did();
    world.assign(LICENSED, &[2]);
    assert_eq!(world.acted(), [Did::Retracted(Reason::NoRoom, vec![2])]);
    world.ended(1);
    world.assign(LICENSED, &[3, 4]);
    assert_eq!(world.acted(), [Did::Start(3), Did::Start(4)]);
}

#[test]
fn a_worker_that_packs_runs_what_its_cores_and_memory_are_enough_for() {
    let mut settings = settings(16, 0);
    settings.offer.packing = Packing::Resources;
    settings.offer.cores = 4;
    settings.offer.memory = Bytes::from_mib(1_000);
    let mut world = World::of(settings);
    world.join(&[]);
    let mut wide = taking(0);
    wide.requirements.cores = 3;
    world.define_as(7, wide);
    let mut large = taking(0);
    large.limits.memory = Bytes::from_mib(600);
    world.define_as(8, large);
    world.did();
    world.assign(7, &[1]);
    world.assign(8, &[2]);
    assert_eq!(
        world.acted(),
        [Did::Start(1), Did::Start(2)],
        "four cores, 600 MiB"
    );
    world.ended(1);
    world.assign(8, &[3]);
    assert_eq!(
        world.acted(),
        [Did::Retracted(Reason::NoRoom, vec![3])],
        "a limit counts as memory"
    );
    world.assign(7, &[4]);
    assert_eq!(world.acted(), [Did::Start(4)]);
}

#[test]
fn what_works_succeeded_with_is_presented_at_the_next_join() {
    let mut settings = settings(4, 0);
    settings.warm = vec![7];
    let mut world = World::of(settings);
    world.join(&[]);
    let source = "https://example.org/scene".to_owned();
    let template = WorkTemplate {
        files: vec![InputFile {
            path: "scene".to_owned(),
            source,
            unpack: false,
        }],
        ..taking(0)
    };
    let key = wire_protocol::warm::keys(&template, None)[0];
    world.define_as(9, template);
    world.assign(9, &[1, 2]);
    world.did();
    let presented = |world: &mut World| {
        world.lose_link();
        world.connect();
        let join = world.did().into_iter().find_map(|did| match did {
            Did::Join(join) => Some(join.warm),
            _ => None,
        });
        world.welcome(&welcome(&[1, 2]));
        join.expect("it joins")
    };
    assert_eq!(presented(&mut world), [7], "nothing has ended");
    world.ended(1);
    world.ended(2);
    assert_eq!(presented(&mut world), [key, 7]);
}
