//! Any sequence of events, sensible or not, keeps the invariants; and when sense returns, everything ends.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Did, ELSEWHERE, LICENSED, NULL, PROCESS, World, licensed, taking, token, welcome};
use proptest::prelude::*;
use wire_protocol::log::{FollowLog, LogChunk, LogStream, LogWish};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{RefusedCode, kind};
use worker_core::{Disconnect, Event, Exit, Phase};

#[derive(Clone, Debug)]
enum Step {
    Connected,
    Disconnected,
    Welcome { adopted: u64 },
    Templates,
    Assign { template: u32, works: Vec<u64> },
    Recorded { back: u64 },
    Retract(Vec<u64>),
    Cancel(Vec<u64>),
    Ended(u64),
    GrantAsked(u64),
    Granted(u64),
    Flush,
    Drain(Option<u64>),
    FollowLog(u64, LogWish),
    Print(u64, usize),
    Hold(bool),
    Pass(u64),
    Deadline,
    Busy,
    Garbage { kind: u8, payload: Vec<u8> },
}

fn step() -> impl Strategy<Value = Step> {
    let works = || prop::collection::vec(1..24_u64, 1..6);
    prop_oneof![
        3 => Just(Step::Connected),
        1 => Just(Step::Disconnected),
        3 => any::<u64>().prop_map(|adopted| Step::Welcome { adopted }),
        2 => Just(Step::Templates),
        8 => (prop::sample::select(vec![PROCESS, PROCESS, NULL, ELSEWHERE, LICENSED, LICENSED]), works())
            .prop_map(|(template, works)| Step::Assign { template, works }),
        4 => (0..4_u64).prop_map(|back| Step::Recorded { back }),
        2 => works().prop_map(Step::Retract),
        2 => works().prop_map(Step::Cancel),
        6 => (1..24_u64).prop_map(Step::Ended),
        2 => (1..24_u64).prop_map(Step::GrantAsked),
        2 => (1..24_u64).prop_map(Step::Granted),
        4 => Just(Step::Flush),
        (1) => (prop::bool::weighted(0.05), prop::option::of(0..60_000_u64))
            .prop_map(|(drain, within)| if drain { Step::Drain(within) } else { Step::Flush }),
        2 => (1..24_u64, prop::sample::select(vec![LogWish::Once, LogWish::Follow, LogWish::Stop]))
            .prop_map(|(work, wish)| Step::FollowLog(work, wish)),
        2 => (1..24_u64, 0..40_000_usize).prop_map(|(work, bytes)| Step::Print(work, bytes)),
        1 => any::<bool>().prop_map(Step::Hold),
        2 => (0..40_000_u64).prop_map(Step::Pass),
        4 => Just(Step::Deadline),
        1 => prop::bool::weighted(0.2).prop_map(|busy| if busy { Step::Busy } else { Step::Deadline }),
        1 => (prop::bool::weighted(0.2), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(
            |(garbage, kind, payload)| if garbage { Step::Garbage { kind, payload } } else { Step::Deadline }
        ),
    ]
}

/// What an outsider knows of the worker, from its effects alone.
#[derive(Default)]
struct Outsider {
    /// Started and not ended; whether it was told to stop.
    running: BTreeMap<u64, bool>,
    /// Reports said in this connection.
    said: u64,
    recorded: u64,
    /// What the engine heard in this connection: it takes no work.
    holding: bool,
    left: bool,
    late: bool,
}

impl Outsider {
    /// What runs, also what was told to stop, never takes more licences than there are.
    fn count(&self, world: &World) -> Result<(), TestCaseError> {
        let licences = |work: &u64| {
            let template = world.templates.get(work)?;
            Some(template.requirements.custom.first()?.1)
        };
        let taken: u64 = self.running.keys().filter_map(licences).sum();
        prop_assert!(taken <= 2, "{taken} licences are taken");
        Ok(())
    }

    fn see(&mut self, did: Vec<Did>, slots: usize) -> Result<(), TestCaseError> {
        for did in did {
            prop_assert!(!self.left, "{did:?} after the end");
            match did {
                Did::Start(work) => {
                    prop_assert!(!self.holding, "{work} starts while it takes no work");
                    let before = self.running.insert(work, false);
                    prop_assert_eq!(before, None, "{} runs twice", work);
                    prop_assert!(self.running.len() <= slots, "more than its slots");
                }
                Did::Kill(work, _) => {
                    prop_assert_eq!(
                        self.running.insert(work, true),
                        Some(false),
                        "kills {} that does not run",
                        work
                    );
                }
                Did::Renew(_) | Did::Keep(_) => prop_assert!(false, "it has no certificate"),
                Did::Finished(first, reports) => {
                    prop_assert_eq!(first, self.said + 1, "a gap in the numbers");
                    self.said += reports.len() as u64;
                    for (work, ..) in reports {
                        prop_assert!(!self.running.contains_key(&work), "{work} still runs");
                    }
                }
                Did::Retracted(_, works) => {
                    for work in works {
                        prop_assert_ne!(
                            self.running.get(&work),
                            Some(&false),
                            "{} is returned but runs",
                            work
                        );
                    }
                }
                Did::Started(works) => {
                    for work in works {
                        prop_assert_eq!(self.running.get(&work), Some(&false), "announces {}", work);
                    }
                }
                Did::GrantAsked(works) => {
                    for work in works {
                        prop_assert_eq!(self.running.get(&work), Some(&false), "asks for {}", work);
                    }
                }
                Did::Granted(granted) => {
                    let work = granted.token.work.0;
                    prop_assert_eq!(self.running.get(&work), Some(&false), "tells {}", work);
                }
                Did::Holding(problem) => self.holding = problem.is_some(),
                Did::Join(join) => {
                    self.holding = false;
                    (self.said, self.recorded) = (0, 0);
                    let all: Vec<_> = join.held.iter().chain(&join.unacknowledged).collect();
                    let distinct: BTreeSet<_> = all.iter().collect();
                    prop_assert_eq!(all.len(), distinct.len(), "presents a lease twice");
                }
                Did::Exit(exit) => {
                    let is_late = matches!(exit, Exit::Late { .. });
                    self.late = is_late;
                    prop_assert!(is_late || exit == Exit::Drained, "{:?}", exit);
                    prop_assert!(is_late || self.running.is_empty(), "leaves while something runs");
                    self.left = true;
                }
                Did::Disconnect(reason) => {
                    // The generator breaks rules of the engine, never those of a report's number.
                    let counted = !matches!(reason, Disconnect::RecordedTooMuch { .. });
                    prop_assert!(counted, "{}", reason);
                }
                Did::FollowLog(work) | Did::UnfollowLog(work) => {
                    prop_assert_eq!(self.running.get(&work), Some(&false), "follows {}", work);
                }
                Did::Log(work, ..) => {
                    prop_assert_eq!(self.running.get(&work), Some(&false), "tells of {}", work);
                }
                Did::LogTold(_) => {}
                Did::Connect | Did::Note(_) | Did::Ping | Did::Draining(_) | Did::WhyIdle => {}
            }
        }
        Ok(())
    }
}

fn apply(world: &mut World, outsider: &mut Outsider, step: &Step) {
    match step {
        Step::Connected => world.event(Event::Connected { wallet: None }),
        Step::Disconnected => world.lose_link(),
        Step::Welcome { adopted } => {
            let adopted: Vec<u64> = (1..24).filter(|w| adopted >> w & 1 == 1).collect();
            world.welcome(&welcome(&adopted));
        }
        Step::Templates => world.define_all(),
        Step::Assign { template, works } => world.assign(*template, works),
        Step::Recorded { back } => {
            outsider.recorded = outsider.recorded.max(outsider.said.saturating_sub(*back));
            world.recorded(outsider.recorded);
        }
        Step::Retract(works) => world.retract(works),
        Step::Cancel(works) => world.cancel(works),
        Step::Ended(work) => {
            outsider.running.remove(work);
            world.ended(*work);
        }
        Step::GrantAsked(work) => world.event(Event::GrantAsked(token(*work))),
        Step::Granted(work) => {
            world.granted(*work);
        }
        Step::Flush => world.flush(),
        Step::Drain(within) => world.event(Event::Drain {
            within: within.map(Millis),
        }),
        Step::FollowLog(work, wish) => {
            let (token, wish) = (token(*work), *wish);
            world.control(kind::FOLLOW_LOG, &FollowLog { token, wish });
        }
        Step::Print(work, bytes) => {
            let token = token(*work);
            let chunk = LogChunk {
                stream: LogStream::Stderr,
                offset: 0,
                bytes: &vec![b'x'; *bytes],
            };
            world.event(Event::Log { token, chunk });
            world.event(Event::LogTold(token));
        }
        Step::Hold(holds) => world.event(Event::Hold(holds.then_some("the disk is full"))),
        Step::Pass(time) => world.pass(Millis(*time)),
        Step::Deadline => {
            if world.agent.next_deadline().is_some() {
                world.tick_at_deadline();
            }
        }
        Step::Busy => world.refuse(RefusedCode::Busy, Millis(300)),
        Step::Garbage { kind: byte, payload } => {
            // These two would be credible: an acknowledgement out of thin air, and a final refusal.
            if *byte != kind::RECORDED && *byte != kind::REFUSED {
                world.event(Event::Frame { kind: *byte, payload });
            }
        }
    }
}

/// A sensible engine and executors that finish: the worker ends with nothing in hand.
fn settle(world: &mut World, outsider: &mut Outsider, slots: usize) -> Result<(), TestCaseError> {
    world.event(Event::Hold(None));
    for round in 0..200 {
        let status = world.agent.status();
        let all: Vec<u64> = (1..24).collect();
        match status.phase {
            Phase::Waiting => world.tick_at_deadline(),
            Phase::Connecting => world.event(Event::Connected { wallet: None }),
            Phase::Joining => world.welcome(&welcome(&all)),
            Phase::Joined | Phase::Left => {}
        }
        outsider.see(world.did(), slots)?;
        if let Some((&work, _)) = outsider.running.first_key_value() {
            outsider.running.remove(&work);
            world.ended(work);
        }
        world.flush();
        outsider.see(world.did(), slots)?;
        if world.agent.status().phase == Phase::Joined {
            world.recorded(outsider.said);
            outsider.see(world.did(), slots)?;
        }
        if round == 150 {
            let status = world.agent.status();
            // One whose drain was over before the engine came back has left all.
            let in_hand = (status.running, status.unacknowledged);
            let is_late = outsider.late && status.phase == Phase::Left;
            prop_assert!(
                is_late || in_hand == (0, 0),
                "does not come to rest: {:?}",
                in_hand
            );
            // One that drained while the engine was away has left what waited to its leases.
            prop_assert!(
                status.waiting == 0 || status.phase == Phase::Left,
                "{} wait for nothing",
                status.waiting
            );
            world.event(Event::Drain { within: None });
        }
    }
    outsider.see(world.did(), slots)?;
    prop_assert_eq!(world.agent.status().phase, Phase::Left);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_keeps_the_invariants_and_comes_to_rest(
        slots in 1..4_u32,
        prefill in 0..5_u32,
        resumed in prop::collection::vec(1..24_u64, 0..4),
        adopted in prop::collection::vec(1..24_u64, 0..24),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut world = World::of(licensed(slots, prefill));
        let mut outsider = Outsider::default();
        for work in resumed {
            // Of all that take nothing, so that the licences are those of what starts here.
            if world.agent.resume(token(work), &taking(0).into()) {
                outsider.running.insert(work, false);
            }
        }
        world.connect();
        world.welcome(&welcome(&adopted));
        world.define_all();
        outsider.see(world.did(), slots as usize)?;
        for step in &steps {
            apply(&mut world, &mut outsider, step);
            outsider.see(world.did(), slots as usize)?;
            outsider.count(&world)?;
        }
        settle(&mut world, &mut outsider, slots as usize)?;
    }
}
