//! What works print, on its way to whoever follows.

use wire_protocol::log::{FollowLog, LOG_CHUNK_BYTES_MAX, LogChunk, LogStream, LogWish};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::kind;
use worker_core::{Event, LOG_BYTES_PER_SECOND, LOG_BYTES_PER_SECOND_ALL, LOGS_MAX};

use crate::world::{Did, PROCESS, World, token};

fn follow(world: &mut World, work: u64, wish: LogWish) {
    let token = token(work);
    world.control(kind::FOLLOW_LOG, &FollowLog { token, wish });
}

fn prints(world: &mut World, work: u64, offset: u64, bytes: &[u8]) {
    world.event(Event::Log {
        token: token(work),
        chunk: LogChunk {
            stream: LogStream::Stdout,
            offset,
            bytes,
        },
    });
}

fn said(work: u64, offset: u64, bytes: &[u8]) -> Did {
    Did::Log(work, LogStream::Stdout, offset, bytes.to_vec())
}

/// Bytes of output that were said.
fn bytes(acted: &[Did]) -> u64 {
    let bytes = acted.iter().map(|did| match did {
        Did::Log(_, _, _, bytes) => bytes.len() as u64,
        _ => 0,
    });
    bytes.sum()
}

#[test]
fn what_is_followed_is_said_and_nothing_else() {
    let mut world = World::joined(2, 0);
    world.assign(PROCESS, &[1, 2]);
    world.acted();
    prints(&mut world, 1, 0, b"early");
    assert_eq!(world.did(), [], "nobody follows");
    follow(&mut world, 1, LogWish::Follow);
    assert_eq!(world.did(), [Did::FollowLog(1)]);
    prints(&mut world, 1, 0, b"early");
    world.event(Event::LogTold(token(1)));
    prints(&mut world, 1, 5, b" and late");
    prints(&mut world, 2, 0, b"of no interest");
    prints(&mut world, 1, 14, b"");
    assert_eq!(
        world.did(),
        [
            said(1, 0, b"early"),
            Did::LogTold(vec![1]),
            said(1, 5, b" and late"),
            said(1, 14, b""),
        ]
    );
    follow(&mut world, 1, LogWish::Stop);
    assert_eq!(world.did(), [Did::UnfollowLog(1)]);
    prints(&mut world, 1, 14, b"more");
    follow(&mut world, 1, LogWish::Stop);
    assert_eq!(world.did(), []);
}

#[test]
fn whoever_wants_it_once_hears_what_there_is_and_no_more() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.acted();
    follow(&mut world, 1, LogWish::Once);
    prints(&mut world, 1, 0, b"so far");
    world.event(Event::LogTold(token(1)));
    prints(&mut world, 1, 6, b"later");
    assert_eq!(
        world.did(),
        [
            Did::FollowLog(1),
            said(1, 0, b"so far"),
            Did::UnfollowLog(1),
            Did::LogTold(vec![1]),
        ]
    );
    follow(&mut world, 2, LogWish::Once);
    follow(&mut world, 3, LogWish::Follow);
    let nothing = [Did::LogTold(vec![2]), Did::LogTold(vec![3])];
    assert_eq!(world.did(), nothing, "one waits, the other is not here");
}

#[test]
fn a_work_that_waits_is_followed_when_it_starts() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.acted();
    follow(&mut world, 2, LogWish::Follow);
    assert_eq!(world.did(), []);
    world.ended(1);
    assert_eq!(world.did(), [Did::Start(2), Did::FollowLog(2)]);
    world.ended(2);
    prints(&mut world, 2, 0, b"too late");
    world.flush();
    world.recorded(2);
    assert!(!world.acted().iter().any(|did| matches!(did, Did::Log(..))));
}

#[test]
fn an_attempt_gets_its_share_and_what_is_beyond_it_is_left_out() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    follow(&mut world, 1, LogWish::Follow);
    world.acted();
    let chunk = vec![b'x'; LOG_CHUNK_BYTES_MAX];
    let mut offset = 0;
    for _ in 0..100 {
        prints(&mut world, 1, offset, &chunk);
        offset += chunk.len() as u64;
    }
    assert_eq!(bytes(&world.acted()), LOG_BYTES_PER_SECOND);
    world.run_for(Millis(500));
    world.acted();
    for _ in 0..100 {
        prints(&mut world, 1, offset, &chunk);
        offset += chunk.len() as u64;
    }
    let acted = world.acted();
    assert_eq!(bytes(&acted), LOG_BYTES_PER_SECOND / 2);
    let first = acted.iter().find_map(|did| match did {
        Did::Log(_, _, offset, _) => Some(*offset),
        _ => None,
    });
    assert_eq!(
        first,
        Some(100 * LOG_CHUNK_BYTES_MAX as u64),
        "the gap can be seen"
    );
    world.run_for(Millis(1_000));
    world.acted();
    prints(&mut world, 1, offset, &vec![b'y'; 3 * LOG_CHUNK_BYTES_MAX + 1]);
    let pieces = world.acted();
    assert_eq!(pieces.len(), 4, "a piece fits a frame");
    assert_eq!(bytes(&pieces), 3 * LOG_CHUNK_BYTES_MAX as u64 + 1);
}

#[test]
fn all_attempts_together_have_a_share_too() {
    let mut world = World::joined(8, 0);
    let works: Vec<u64> = (1..=8).collect();
    world.assign(PROCESS, &works);
    works
        .iter()
        .for_each(|work| follow(&mut world, *work, LogWish::Follow));
    world.acted();
    let chunk = vec![b'x'; LOG_CHUNK_BYTES_MAX];
    for _ in 0..16 {
        works.iter().for_each(|work| prints(&mut world, *work, 0, &chunk));
    }
    assert_eq!(bytes(&world.acted()), LOG_BYTES_PER_SECOND_ALL);
}

#[test]
fn no_more_attempts_are_followed_than_may_be() {
    let mut world = World::joined(40, 0);
    let works: Vec<u64> = (1..=40).collect();
    world.assign(PROCESS, &works);
    world.acted();
    works
        .iter()
        .for_each(|work| follow(&mut world, *work, LogWish::Follow));
    let acted = world.acted();
    let followed = acted
        .iter()
        .filter(|did| matches!(did, Did::FollowLog(_)))
        .count();
    assert_eq!(followed, LOGS_MAX);
    assert_eq!(acted.last(), Some(&Did::LogTold(vec![40])));
}

#[test]
fn following_ends_with_the_connection_and_with_the_attempt() {
    let mut world = World::joined(3, 0);
    world.assign(PROCESS, &[1, 2, 3]);
    for work in 1..=3 {
        follow(&mut world, work, LogWish::Follow);
    }
    world.cancel(&[2]);
    world.acted();
    prints(&mut world, 2, 0, b"its last words");
    world.ended(3);
    assert_eq!(world.acted(), []);
    world.lose_link();
    assert_eq!(world.acted(), [Did::UnfollowLog(1)]);
    world.join(&[1, 3]);
    world.acted();
    prints(&mut world, 1, 0, b"nobody asked again");
    assert_eq!(world.acted(), []);
    assert_eq!(
        world.agent.status().running,
        2,
        "the stopped one is still on its way"
    );
    world.ended_with(1, b"");
    world.flush();
    assert!(world.acted().contains(&Did::Finished(
        1,
        vec![(3, Reason::None, 6), (1, Reason::None, 0)]
    )));
}
