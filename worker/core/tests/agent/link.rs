//! Stories about the link: joining, losing it, coming back, leaving.

use crate::world::{Did, HEARTBEAT, LEASE, NULL, PROCESS, World, token, welcome};
use wire_protocol::ids::{Epoch, Shard};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{Drain, Notice, RefusedCode, Welcome, kind};
use worker_core::{
    BACKOFF_MAX, Disconnect, Event, Exit, JOIN_TIMEOUT, Note, Phase, STARTED_AFTER, TEMPLATES_MAX,
};

fn finished(first: u64, works: &[u64]) -> Did {
    Did::Finished(first, works.iter().map(|w| (*w, Reason::None, 6)).collect())
}

/// Something that comes to a worker.
type Happening = fn(&mut World);

/// The one disconnection among what it did.
fn reason(did: Vec<Did>) -> Disconnect {
    let mut reasons: Vec<_> = did
        .into_iter()
        .filter_map(|did| match did {
            Did::Disconnect(reason) => Some(reason),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    reasons.remove(0)
}

#[test]
fn a_new_worker_connects_at_once_and_introduces_itself() {
    let mut world = World::new(2, 4);
    world.tick();
    assert_eq!(world.did(), [Did::Connect]);
    world.event(Event::Connected { wallet: None });
    let [Did::Join(join)] = &world.did()[..] else {
        panic!("it says one thing");
    };
    assert_eq!(
        (join.login.as_str(), join.password.as_str()),
        ("vworker", "vworkerp")
    );
    assert_eq!((join.offer.slots, join.offer.prefill), (2, 4));
    assert!(join.held.is_empty() && join.running.is_empty() && join.unacknowledged.is_empty());
    world.welcome(&welcome(&[]));
    let [Did::Note(Note::Joined { worker, .. })] = &world.did()[..] else {
        panic!("it notes that it joined");
    };
    assert_eq!(worker.0, 9);
}

/// Phase before, what comes, phase after and what is done about it.
#[test]
fn the_table_of_phases_is_this() {
    let phases: [(Phase, fn() -> World); 5] = [
        (Phase::Waiting, || World::new(1, 1)),
        (Phase::Connecting, || {
            let mut world = World::new(1, 1);
            world.tick();
            world
        }),
        (Phase::Joining, || {
            let mut world = World::new(1, 1);
            world.connect();
            world
        }),
        (Phase::Joined, || World::joined(1, 1)),
        (Phase::Left, || {
            let mut world = World::joined(1, 1);
            world.event(Event::Drain { within: None });
            world
        }),
    ];
    let events: [(&str, Happening); 10] = [
        ("tick when due", |world| {
            if world.agent.next_deadline().is_some() {
                world.tick_at_deadline();
            }
        }),
        ("connected", |world| {
            world.event(Event::Connected { wallet: None })
        }),
        ("disconnected", World::lose_link),
        ("welcome", |world| world.welcome(&welcome(&[]))),
        ("refused: busy", |world| {
            world.refuse(RefusedCode::Busy, Millis(0));
        }),
        ("refused: credentials", |world| {
            world.refuse(RefusedCode::Credentials, Millis(0));
        }),
        ("pong", World::pong),
        ("malformed frame", |world| {
            world.event(Event::Frame {
                kind: 0xff,
                payload: b"?",
            });
        }),
        ("drain", |world| world.event(Event::Drain { within: None })),
        ("hold", |world| world.event(Event::Hold(Some("full")))),
    ];
    let mut table = String::new();
    for (phase, make) in phases {
        for (name, send) in events {
            let mut world = make();
            assert_eq!(world.agent.status().phase, phase);
            world.did();
            send(&mut world);
            let did = world
                .acted()
                .iter()
                .map(|did| {
                    let text = format!("{did:?}");
                    text.split(['(', ' ']).next().unwrap_or("").to_owned()
                })
                .collect::<Vec<_>>()
                .join(" ");
            let after = world.agent.status().phase;
            if after != phase || !did.is_empty() {
                let line = format!("{phase:?} + {name} -> {after:?} {did}");
                table.push_str(line.trim_end());
                table.push('\n');
            }
        }
    }
    let expected = "\
Waiting + tick when due -> Connecting Connect
Waiting + drain -> Left Exit
Connecting + tick when due -> Waiting Disconnect
Connecting + connected -> Joining Join
Connecting + disconnected -> Waiting
Connecting + drain -> Left Exit
Joining + tick when due -> Waiting Disconnect
Joining + disconnected -> Waiting
Joining + welcome -> Joined
Joining + refused: busy -> Waiting Disconnect
Joining + refused: credentials -> Left Exit
Joining + pong -> Waiting Disconnect
Joining + malformed frame -> Waiting Disconnect
Joining + drain -> Left Exit
Joined + tick when due -> Joined Ping
Joined + disconnected -> Waiting
Joined + welcome -> Waiting Disconnect
Joined + refused: busy -> Waiting Disconnect
Joined + refused: credentials -> Left Exit
Joined + malformed frame -> Waiting Disconnect
Joined + drain -> Left Draining Exit
Joined + hold -> Joined Holding
";
    assert_eq!(table, expected, "the table is now:\n{table}");
}

#[test]
fn what_it_holds_is_presented_and_goes_on_when_it_comes_back() {
    let mut world = World::joined(2, 2);
    world.assign(PROCESS, &[1, 2, 3, 4]);
    world.ended(1);
    world.flush();
    world.lose_link();
    world.acted();
    world.connect();
    let acted = world.acted();
    let [Did::Connect, Did::Join(join)] = &acted[..] else {
        panic!("{acted:?}");
    };
    assert_eq!(join.held, [token(4), token(3), token(2)]);
    assert_eq!(join.running, [token(3), token(2)]);
    assert_eq!(join.unacknowledged, [token(1)]);
    world.welcome(&welcome(&[1, 2, 3, 4]));
    world.flush();
    assert_eq!(
        world.acted(),
        [finished(1, &[1])],
        "reported again, with a new number"
    );
    world.recorded(1);
    world.ended(2);
    world.flush();
    assert_eq!(world.acted(), [Did::Start(4), finished(2, &[2])]);
}

#[test]
fn what_the_engine_does_not_adopt_is_dropped_without_a_word() {
    let mut world = World::joined(2, 2);
    world.assign(PROCESS, &[1, 2, 3, 4, 5]);
    world.ended(1);
    world.lose_link();
    world.connect();
    world.did();
    world.welcome(&welcome(&[3]));
    world.flush();
    assert_eq!(
        world.did(),
        [
            Did::Kill(2, Reason::Stale),
            Did::Note(Note::Joined {
                worker: welcome(&[]).worker,
                shard: Shard(0),
                epoch: Epoch(1),
                adopted: 1,
                dropped: 3,
            })
        ]
    );
    world.ended(2);
    world.flush();
    assert_eq!(world.acted(), []);
    assert_eq!(world.agent.running().collect::<Vec<_>>(), [token(3)]);
}

#[test]
fn works_that_end_without_a_link_are_reported_after_the_next_welcome() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.lose_link();
    world.ended(1);
    world.flush();
    world.connect();
    world.ended(2);
    world.flush();
    let said_too_early = world.acted().iter().any(|did| matches!(did, Did::Finished(..)));
    assert!(!said_too_early);
    world.welcome(&welcome(&[1, 2]));
    world.flush();
    assert_eq!(world.acted(), [finished(1, &[1, 2])]);
}

#[test]
fn waiting_works_start_without_a_link_only_while_their_lease_lasts() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2, 3]);
    world.lose_link();
    world.acted();
    world.pass(Millis(LEASE.0 - 1));
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(2)]);
    world.pass(Millis(1));
    world.ended(2);
    assert_eq!(world.acted(), [], "another worker may have it by now");
    world.connect();
    world.acted();
    world.welcome(&welcome(&[3]));
    assert_eq!(world.acted(), [Did::Start(3)]);
}

#[test]
fn running_works_outlive_any_silence() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.lose_link();
    world.pass(Millis(10 * LEASE.0));
    world.tick();
    assert_eq!(world.agent.running().collect::<Vec<_>>(), [token(1)]);
    let killed = world.acted().iter().any(|did| matches!(did, Did::Kill(..)));
    assert!(!killed);
}

#[test]
fn it_pings_only_when_it_has_said_nothing_else() {
    let mut world = World::joined(1, 0);
    world.pass(Millis(HEARTBEAT.0 - 1));
    world.tick();
    assert_eq!(world.acted(), []);
    world.assign(NULL, &[1]);
    world.flush();
    world.acted();
    assert_eq!(world.agent.next_deadline(), Some(world.now + HEARTBEAT));
    world.tick_at_deadline();
    assert_eq!(world.acted(), [Did::Ping]);
}

#[test]
fn an_engine_that_is_silent_for_the_lease_timeout_is_left() {
    let mut world = World::joined(1, 0);
    world.run_for(Millis(LEASE.0 - 1));
    let signs = [Did::Ping, Did::WhyIdle];
    assert!(world.acted().iter().all(|did| signs.contains(did)));
    world.pong();
    world.run_for(Millis(LEASE.0 - 1));
    let signs = [Did::Ping, Did::WhyIdle];
    assert!(world.acted().iter().all(|did| signs.contains(did)));
    world.pass(Millis(1));
    world.tick();
    assert_eq!(reason(world.did()), Disconnect::Silence(LEASE));
}

#[test]
fn a_join_that_is_not_answered_is_tried_anew() {
    let mut world = World::new(1, 0);
    world.connect();
    world.did();
    world.pass(JOIN_TIMEOUT);
    world.tick();
    assert_eq!(reason(world.did()), Disconnect::NoWelcome);
    assert_eq!(world.agent.status().phase, Phase::Waiting);
}

#[test]
fn waits_grow_while_the_engine_is_away_and_start_over_after_a_good_link() {
    let mut world = World::new(1, 0);
    let wait = |world: &mut World| {
        let before = world.now;
        let due = world.agent.next_deadline().expect("it wants to connect");
        due.since(before)
    };
    world.tick();
    for _ in 0..10 {
        world.lose_link();
        assert!(wait(&mut world) <= BACKOFF_MAX);
        world.tick_at_deadline();
    }
    world.lose_link();
    assert!(wait(&mut world) >= Millis(BACKOFF_MAX.0 / 2));
    world.join(&[]);
    world.lose_link();
    assert!(
        wait(&mut world) >= Millis(BACKOFF_MAX.0 / 2),
        "a short link is not a good one"
    );
    world.join(&[]);
    world.pass(Millis(BACKOFF_MAX.0 + 1));
    world.lose_link();
    assert!(wait(&mut world) <= Millis(100));
}

#[test]
fn a_busy_engine_is_given_the_time_that_it_asks_for() {
    let mut world = World::new(1, 0);
    world.connect();
    world.refuse(RefusedCode::Busy, Millis(20_000));
    let due = world.agent.next_deadline().expect("it comes back");
    assert!(due >= world.now + Millis(20_000));
    assert!(due <= world.now + Millis(30_000));
    world.connect();
    world.refuse(RefusedCode::ShuttingDown, Millis(u64::MAX));
    let due = world.agent.next_deadline().expect("it comes back");
    assert!(due <= world.now + Millis(90_000), "but not for ever");
}

#[test]
fn refused_credentials_end_the_worker_with_the_engines_words() {
    for (code, exit) in [
        (
            RefusedCode::Credentials,
            Exit::CredentialsRefused {
                reason: "because".to_owned(),
            },
        ),
        (
            RefusedCode::Invalid,
            Exit::JoinRefused {
                reason: "because".to_owned(),
            },
        ),
    ] {
        let mut world = World::new(1, 0);
        world.connect();
        world.did();
        world.refuse(code, Millis(0));
        assert_eq!(world.did(), [Did::Exit(exit)]);
        assert_eq!(world.agent.next_deadline(), None);
        world.tick();
        world.event(Event::Connected { wallet: None });
        assert_eq!(world.did(), [], "nothing happens after the end");
    }
}

#[test]
fn an_engine_of_the_past_is_left_before_anything_changes() {
    let at = |epoch, shard| Welcome {
        epoch: Epoch(epoch),
        shard: Shard(shard),
        ..welcome(&[])
    };
    let mut world = World::new(1, 0);
    world.connect();
    world.welcome(&at(5, 0));
    world.define_all();
    world.assign(PROCESS, &[1]);
    world.lose_link();
    world.connect();
    world.did();
    world.welcome(&at(4, 0));
    assert_eq!(
        reason(world.did()),
        Disconnect::Deposed {
            shard: Shard(0),
            seen: Epoch(5),
            claimed: Epoch(4)
        }
    );
    assert_eq!(world.agent.running().count(), 1, "its work goes on");
    world.connect();
    world.welcome(&at(1, 1));
    assert_eq!(
        world.agent.status().phase,
        Phase::Joined,
        "another shard counts for itself"
    );
}

#[test]
fn a_broken_rule_closes_the_link_and_changes_nothing() {
    let rules: [(&str, Happening); 8] = [
        ("unknown kind", |world| {
            world.event(Event::Frame {
                kind: 0x3f,
                payload: &[],
            });
        }),
        ("half an assignment", |world| {
            world.event(Event::Frame {
                kind: kind::ASSIGN,
                payload: &[1, 0, 0, 0, 7],
            });
        }),
        ("undefined template", |world| {
            world.assign(4_711, &[10, 11]);
        }),
        ("second welcome", |world| world.welcome(&welcome(&[]))),
        ("recorded before it was said", |world| world.recorded(1)),
        ("half a token", |world| {
            world.event(Event::Frame {
                kind: kind::CANCEL,
                payload: &[16, 1, 0, 0, 0, 0, 0, 0, 0],
            });
        }),
        ("invalid template", |world| world.define(9, "")),
        ("too many templates", |world| {
            for number in 0..=TEMPLATES_MAX {
                world.define(number as u32 + 100, "null");
            }
        }),
    ];
    for (rule, break_it) in rules {
        let mut world = World::joined(1, 2);
        world.assign(PROCESS, &[1, 2]);
        world.did();
        let before = world.agent.status();
        break_it(&mut world);
        let did = world.acted();
        assert!(matches!(did[..], [Did::Disconnect(_)]), "{rule}: {did:?}");
        let after = world.agent.status();
        assert_eq!(after.phase, Phase::Waiting, "{rule}");
        assert_eq!(
            (before.waiting, before.running, before.unacknowledged),
            (after.waiting, after.running, after.unacknowledged),
            "{rule}"
        );
    }
}

#[test]
fn a_welcome_without_time_is_not_believed() {
    for (lease_timeout, heartbeat) in [(Millis(0), HEARTBEAT), (LEASE, Millis(0))] {
        let mut world = World::new(1, 0);
        world.connect();
        world.did();
        world.welcome(&Welcome {
            lease_timeout,
            heartbeat,
            ..welcome(&[])
        });
        assert_eq!(reason(world.did()), Disconnect::BadTimes);
    }
}

#[test]
fn templates_belong_to_their_connection() {
    let mut world = World::joined(1, 0);
    world.lose_link();
    world.connect();
    world.welcome(&welcome(&[]));
    world.did();
    world.assign(PROCESS, &[1]);
    assert_eq!(reason(world.did()), Disconnect::UndefinedTemplate(PROCESS));
}

#[test]
fn a_new_definition_counts_for_later_assignments_only() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2]);
    world.define(PROCESS, "null");
    world.assign(PROCESS, &[3]);
    world.acted();
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), [Did::Start(2), finished(1, &[1])]);
    world.ended(2);
    world.flush();
    assert_eq!(
        world.acted(),
        [Did::Finished(2, vec![(2, Reason::None, 6), (3, Reason::None, 0)])]
    );
}

#[test]
fn a_drain_returns_what_waits_finishes_what_runs_and_leaves_when_it_is_recorded() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2, 3]);
    world.acted();
    world.event(Event::Drain { within: None });
    let returned = Did::Retracted(Reason::WorkerDraining, vec![2, 3]);
    assert_eq!(world.acted(), [Did::Draining(None), returned]);
    world.event(Event::Drain { within: None });
    assert_eq!(world.acted(), [], "a repeat changes nothing");
    world.assign(PROCESS, &[4]);
    assert_eq!(world.acted(), [Did::Retracted(Reason::WorkerDraining, vec![4])]);
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), [finished(1, &[1])]);
    world.recorded(1);
    assert_eq!(world.did(), [Did::Exit(Exit::Drained)]);
}

#[test]
fn a_worker_that_holds_returns_what_waits_finishes_what_runs_and_takes_work_again() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2, 3]);
    world.acted();
    world.event(Event::Hold(Some("the disk is full")));
    let said = Did::Holding(Some("the disk is full".to_owned()));
    let returned = Did::Retracted(Reason::NoRoom, vec![2, 3]);
    assert_eq!(world.acted(), [said, returned]);
    world.event(Event::Hold(Some("the disk is full")));
    assert_eq!(world.did(), [], "a repeat changes nothing");
    world.assign(PROCESS, &[4]);
    assert_eq!(
        world.did(),
        [Did::Retracted(Reason::NoRoom, vec![4])],
        "what was on its way goes back"
    );
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), [finished(1, &[1])]);
    world.event(Event::Hold(None));
    assert_eq!(world.did(), [Did::Note(Note::Welcoming), Did::Holding(None)]);
    world.assign(PROCESS, &[5]);
    assert_eq!(world.acted(), [Did::Start(5)]);
}

#[test]
fn a_worker_that_holds_says_so_on_each_connection_and_starts_nothing_between_them() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2]);
    world.lose_link();
    world.event(Event::Hold(Some("the disk is full")));
    world.ended(1);
    world.acted();
    assert!(world.agent.status().holding);
    assert_eq!(world.agent.status().waiting, 1, "what waits is still ours");
    world.connect();
    world.acted();
    world.welcome(&welcome(&[1, 2]));
    world.flush();
    let said = Did::Holding(Some("the disk is full".to_owned()));
    let returned = Did::Retracted(Reason::NoRoom, vec![2]);
    assert_eq!(world.acted(), [said, returned, finished(1, &[1])]);
    world.lose_link();
    world.event(Event::Hold(None));
    world.acted();
    world.join(&[1]);
    let acted = world.acted();
    assert!(
        !acted.iter().any(|did| matches!(did, Did::Holding(_))),
        "{acted:?}"
    );
}

#[test]
fn a_sentence_that_is_too_long_is_cut_between_two_letters() {
    let mut world = World::joined(1, 0);
    let long = format!("{}é", "a".repeat(1_023));
    world.event(Event::Hold(Some(&long)));
    assert_eq!(world.acted(), [Did::Holding(Some("a".repeat(1_023)))]);
}

#[test]
fn the_engine_may_ask_for_the_drain() {
    let mut world = World::joined(1, 0);
    let drain = Drain {
        reason: "upgrade".to_owned(),
        within: None,
    };
    world.control(kind::DRAIN, &drain);
    assert_eq!(
        world.did(),
        [
            Did::Note(Note::Draining {
                reason: "upgrade".to_owned(),
                within: None,
            }),
            Did::Draining(None),
            Did::Exit(Exit::Drained)
        ]
    );
}

#[test]
fn a_drain_without_a_link_still_delivers_what_ran() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.lose_link();
    world.event(Event::Drain { within: None });
    world.ended(1);
    world.acted();
    world.connect();
    world.acted();
    world.welcome(&welcome(&[1, 2]));
    world.flush();
    assert_eq!(
        world.acted(),
        [
            Did::Draining(None),
            Did::Retracted(Reason::WorkerDraining, vec![2]),
            finished(1, &[1])
        ]
    );
    world.recorded(1);
    assert_eq!(world.did(), [Did::Exit(Exit::Drained)]);
}

#[test]
fn a_drain_waits_for_stopped_works_to_be_gone() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.cancel(&[1]);
    world.event(Event::Drain { within: None });
    world.acted();
    assert_eq!(world.agent.status().phase, Phase::Joined);
    world.ended(1);
    assert_eq!(world.did(), [Did::Exit(Exit::Drained)]);
}

#[test]
fn notices_are_passed_on_to_people() {
    let mut world = World::joined(1, 0);
    let stale = Notice::Stale {
        token: token(1),
        recorded: "succeeded by another".to_owned(),
    };
    let cordoned = Notice::Cordoned {
        reason: "disk".to_owned(),
    };
    for notice in [stale, cordoned, Notice::Uncordoned, Notice::ShuttingDown] {
        world.notice(&notice);
    }
    assert_eq!(
        world.did(),
        [
            Did::Note(Note::Stale {
                token: token(1),
                recorded: "succeeded by another".to_owned()
            }),
            Did::Note(Note::Cordoned {
                reason: "disk".to_owned()
            }),
            Did::Note(Note::Uncordoned),
            Did::Note(Note::EngineShuttingDown)
        ]
    );
}

#[test]
fn a_join_that_lists_a_running_work_has_announced_it() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.lose_link();
    world.join(&[1]);
    world.acted();
    world.run_for(Millis(2 * STARTED_AFTER.0));
    assert_eq!(world.acted(), []);
}

#[test]
fn the_same_events_give_the_same_bytes() {
    let story = || {
        let mut world = World::joined(2, 2);
        world.assign(PROCESS, &[1, 2, 3]);
        world.lose_link();
        world.join(&[1, 2]);
        world.assign(NULL, &[7, 8]);
        world.flush();
        world.run_for(Millis(10_000));
        (world.did(), world.agent.next_deadline())
    };
    assert_eq!(story(), story());
}
