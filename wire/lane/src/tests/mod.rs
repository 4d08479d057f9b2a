//! A lane in a world whose nodes lose, delay, repeat and forget: see [`world`].

mod unstick;
mod world;

use proptest::prelude::*;
use wire_hub::{Answer, Nonce, Timestamp, Wei};
use wire_protocol::units::Millis;

use super::*;
use world::{REORG_MAX, SETTINGS, Task, Transaction, World, id};

fn mined(world: &World, number: u8) -> usize {
    let hashes = world.chain.blocks.iter().flat_map(|(_, hashes)| hashes);
    hashes
        .filter(|hash| world.signed[*hash].intent == Some(id(number)))
        .count()
}

fn progress(world: &World, number: u8) -> Vec<&Progress> {
    let of_it = world.reports.iter().filter(|(intent, _)| *intent == id(number));
    of_it.map(|(_, progress)| progress).collect()
}

#[test]
fn an_intent_is_signed_noted_sent_mined_and_final() {
    let mut world = World::new(SETTINGS, 1);
    world.follow();
    let account = world.tasks.pop().expect("asks for the account");
    assert!(
        world.local.is_empty(),
        "nothing is signed before the nonce is known"
    );
    world.tasks.push(account);
    let mut order = Vec::new();
    while let Some(task) = world.tasks.pop() {
        if let Task::Do(effect) = task {
            order.push(
                format!("{effect:?}")
                    .split([' ', '('])
                    .next()
                    .expect("a word")
                    .to_owned(),
            );
            if let Some(event) = world.answer(effect) {
                world.handle(event);
            }
        }
        while let Some(effect) = world.local.front() {
            order.push(
                format!("{effect:?}")
                    .split(' ')
                    .next()
                    .expect("a word")
                    .to_owned(),
            );
            world.local();
        }
    }
    assert_eq!(order, ["AskAccount", "Sign", "Note", "Send"]);
    world.settle();
    assert!(matches!(
        progress(&world, 0)[..],
        [
            Progress::Sent(_),
            Progress::Mined(_),
            Progress::Final { succeeded: true }
        ]
    ));
    assert_eq!((world.sends, mined(&world, 0)), (1, 1));
    assert!(world.alerts.is_empty());
}

#[test]
fn at_most_so_many_are_without_a_receipt() {
    let mut world = World::new(SETTINGS, 9);
    world.follow();
    world.drain();
    assert_eq!((world.lane.in_flight(), world.chain.pool.len()), (4, 4));
    world.settle();
    assert!((0..9).all(|number| mined(&world, number) == 1));
}

#[test]
fn a_dropped_transaction_is_sent_again_with_the_same_bytes() {
    let mut world = World::new(SETTINGS, 2);
    world.follow();
    world.drain();
    // The first of two is lost: the second waits behind it.
    let lost = *world
        .chain
        .pool
        .iter()
        .min_by_key(|hash| world.signed[*hash].nonce)
        .expect("two");
    world.chain.pool.remove(&lost);
    for _ in 0..3 {
        world.round();
        assert!(mined(&world, 0) <= 1);
    }
    assert_eq!(mined(&world, 0) + mined(&world, 1), 0);
    world.settle();
    assert_eq!((mined(&world, 0), mined(&world, 1), world.sends), (1, 1, 3));
    assert_eq!(world.signed.len(), 2, "nothing was signed anew");
}

#[test]
fn a_transaction_that_blocks_do_not_take_is_offered_dearer_up_to_the_cap_and_then_held() {
    let mut world = World::new(SETTINGS, 1);
    world.follow();
    world.drain();
    world.chain.base_fee = 400;
    for _ in 0..20 {
        world.round();
    }
    assert_eq!((mined(&world, 0), world.signed.len()), (1, 2), "21 wei, then 801");
    world.wanted.insert(id(1), true);
    world.chain.base_fee = 2_000;
    for _ in 0..20 {
        world.round();
    }
    assert_eq!(mined(&world, 1), 0);
    assert!(
        matches!(world.alerts[..], [Alert::TooDear { .. }]),
        "said once: {:?}",
        world.alerts
    );
    world.settle();
    assert_eq!(mined(&world, 1), 1);
    assert_eq!(world.alerts.last(), Some(&Alert::Over));
}

#[test]
fn near_its_deadline_the_cap_is_offered_and_beyond_it_the_nonce_is_freed() {
    let mut world = World::new(SETTINGS, 1);
    world.deadline = Some(Timestamp(1_020));
    world.follow();
    world.drain();
    world.chain.base_fee = 400;
    for _ in 0..6 {
        world.round();
    }
    let is_at_the_cap = |signed: &Transaction| signed.price == Wei(1_000);
    assert!(mined(&world, 0) == 1 && world.signed.values().any(is_at_the_cap));
    let mut world = World::new(SETTINGS, 1);
    world.deadline = Some(Timestamp(1_005));
    world.follow();
    world.drain();
    world.chain.base_fee = 5_000;
    for _ in 0..10 {
        world.round();
    }
    world.wanted.insert(id(0), false);
    world.chain.base_fee = 30;
    for _ in 0..4 {
        world.round();
    }
    world.settle();
    assert_eq!(
        (mined(&world, 0), world.chain.nonce()),
        (0, Nonce(1)),
        "a no-op took the nonce"
    );
    assert!(matches!(
        progress(&world, 0).last(),
        Some(Progress::Withdrawn(Withdrawal::Late))
    ));
}

#[test]
fn after_a_reorganisation_it_is_sent_again_if_it_is_still_right_and_else_a_no_op() {
    let mut world = World::new(SETTINGS, 2);
    world.round();
    world.round();
    assert_eq!((mined(&world, 0), mined(&world, 1)), (1, 1));
    world.chain.roll_back(2, |_| false);
    world.wanted.insert(id(1), false);
    world.mine();
    world.settle();
    assert_eq!((mined(&world, 0), mined(&world, 1)), (1, 0));
    assert_eq!(world.chain.nonce(), Nonce(2));
    let last = progress(&world, 1);
    assert!(
        matches!(
            last[last.len() - 2..],
            [Progress::Orphaned, Progress::Withdrawn(_)]
        ),
        "{last:?}"
    );
}

/// `evm_revert`: the chain forgets, and nobody is told of a reorganisation.
#[test]
fn nonces_that_go_back_are_used_again() {
    let mut world = World::new(SETTINGS, 3);
    for _ in 0..15 {
        world.round();
    }
    assert!(world.lane.is_idle());
    let all = world.chain.blocks.len();
    world.chain.roll_back(all - 1, |_| false);
    world.wanted = [(id(7), true)].into();
    world.settle();
    assert_eq!((mined(&world, 7), world.chain.nonce()), (1, Nonce(1)));
}

#[test]
fn somebody_else_who_uses_our_nonce_is_noticed_and_the_intent_gets_another() {
    let mut world = World::new(SETTINGS, 1);
    world.follow();
    world.drain();
    world.chain.pool.clear();
    let foreign = world.sign(Transaction {
        nonce: Nonce(0),
        intent: None,
        price: Wei(900),
    });
    world.chain.pool.insert(foreign);
    world.settle();
    assert_eq!(mined(&world, 0), 1);
    assert!(
        world.alerts.contains(&Alert::Foreign(Nonce(0))),
        "{:?}",
        world.alerts
    );
    assert!(progress(&world, 0).contains(&&Progress::Displaced));
}

#[test]
fn more_than_may_be_spent_in_an_hour_waits_for_the_next() {
    // One costs 100000 gas at 21 wei before it is mined, and 50000 at 10 after.
    let settings = Settings {
        spend_per_hour_max: Some(Wei(2_600_000)),
        ..SETTINGS
    };
    let mut world = World::new(settings, 4);
    for _ in 0..20 {
        world.round();
    }
    assert_eq!((0..4).filter(|number| mined(&world, *number) == 1).count(), 2);
    assert!(
        matches!(world.alerts[..], [Alert::Spent { .. }]),
        "{:?}",
        world.alerts
    );
    world.now = world.now + Millis::from_secs(3_600);
    world.settle();
    assert_eq!(world.alerts.len(), 2);
}

#[test]
fn a_transaction_that_no_node_takes_gives_its_nonce_to_a_no_op() {
    let mut world = World::new(SETTINGS, 2);
    world.follow();
    while world.local.is_empty() {
        let Some(Task::Do(effect)) = world.tasks.pop() else {
            panic!("an account")
        };
        let event = world.answer(effect).expect("an answer");
        world.handle(event);
    }
    while world.local() {}
    let refused = world.tasks.iter().find_map(|task| match task {
        Task::Do(Effect::Send { hash, .. }) if world.signed[hash].nonce == Nonce(0) => Some(*hash),
        _ => None,
    });
    let hash = refused.expect("the first");
    world
        .tasks
        .retain(|task| !matches!(task, Task::Do(Effect::Send { hash: sent, .. }) if *sent == hash));
    let sending = Sending::Refused("exceeds block gas limit".into());
    world.handle(Event::Sent { hash, sending });
    world
        .wanted
        .insert(world.signed[&hash].intent.expect("an intent"), false);
    world.settle();
    assert_eq!(mined(&world, 0) + mined(&world, 1), 1);
}

#[test]
fn what_a_node_does_not_say_changes_nothing() {
    let mut world = World::new(SETTINGS, 1);
    world.round();
    let before = format!("{:?}", world.lane);
    let hash = *world.signed.keys().next().expect("one");
    for event in [
        Event::Receipt {
            round: 99,
            hash,
            answer: Answer::Unknown,
        },
        Event::Sent {
            hash,
            sending: Sending::Unknown,
        },
        Event::Noted(1),
        Event::Signed {
            nonce: Nonce(0),
            hash,
            raw: Vec::new(),
        },
    ] {
        world.handle(event.clone());
        assert_eq!(format!("{:?}", world.lane), before, "{event:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever node, network and disk do, no intent stands twice in the chain, nothing is sent that is not kept, and
    /// everything ends when the faults stop.
    #[test]
    fn no_intent_is_mined_twice_and_everything_ends(seed: u64) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut world = World::new(SETTINGS, rng.u8(1..12));
        let mut longest = 0;
        for _ in 0..rng.usize(0..400) {
            match rng.u32(0..30) {
                0..4 => {
                    world.now = world.now + Millis(rng.u64(1..2_000));
                    world.mine();
                }
                4..7 => world.follow(),
                7 if rng.u8(..3) > 0 => world.handle(Event::Tick),
                7 => world.handle(Event::Unstick {
                    nonce: rng.bool().then(|| Nonce(rng.u64(..4))),
                    as_nothing: rng.bool(),
                }),
                8 => {
                    // Not beyond what was final for anybody who saw the longest chain.
                    longest = longest.max(world.chain.blocks.len());
                    let deepest = (world.chain.blocks.len() + REORG_MAX as usize).saturating_sub(longest);
                    if deepest > 0 {
                        let (depth, luck) = (rng.usize(..=deepest), rng.u8(..));
                        world.chain.roll_back(depth, |hash| hash.0[7] ^ luck & 1 == 0);
                        world.mine();
                    }
                }
                9 => {
                    let lost = world.chain.pool.iter().nth(rng.usize(..4)).copied();
                    lost.map(|hash| world.chain.pool.remove(&hash));
                }
                10 => world.chain.base_fee = *rng.choice(&[5, 10, 30, 300, 3_000]).expect("some"),
                11 if rng.u8(..6) == 0 => {
                    let foreign = Transaction { nonce: world.chain.nonce(), intent: None, price: Wei(5_000) };
                    let hash = world.sign(foreign);
                    world.chain.pool.insert(hash);
                }
                12 if rng.u8(..4) == 0 => {
                    // Of what was being written, a part is there.
                    for _ in 0..rng.usize(..3) {
                        if let Some(Effect::Note { nonce, kept, .. }) = world.local.pop_front() {
                            world.keep(nonce, kept);
                        }
                    }
                    world.kill(SETTINGS);
                }
                13 => {
                    let number = rng.u8(..world.wanted.len() as u8);
                    world.wanted.insert(id(number), rng.bool());
                }
                14..20 => drop(world.local()),
                _ if !world.tasks.is_empty() => {
                    let index = rng.usize(..world.tasks.len());
                    let task = if rng.u8(..10) == 0 { world.tasks[index].clone() } else { world.tasks.swap_remove(index) };
                    match task {
                        Task::Do(_) if rng.u8(..10) == 0 => {}
                        Task::Do(effect) => {
                            let answer = world.answer(effect).map(Task::Tell);
                            if rng.u8(..8) != 0 {
                                world.tasks.extend(answer);
                            }
                        }
                        Task::Tell(event) => world.handle(event),
                    }
                }
                _ => {}
            }
            world.assert_once();
        }
        world.settle();
        for (id, wanted) in world.wanted.clone() {
            prop_assert!(!wanted || world.is_visible(id));
        }
    }
}

/// Found by the orders of the model hub: the attempt was at the cap, so nothing could outbid it, and no node had it.
#[test]
fn a_no_op_takes_the_nonce_of_what_was_lost_at_the_cap() {
    let mut world = World::new(SETTINGS, 1);
    world.deadline = Some(Timestamp(1_020));
    world.follow();
    world.drain();
    world.chain.base_fee = 400;
    for _ in 0..3 {
        world.round();
        world.chain.pool.clear();
    }
    assert!(world.signed.values().any(|signed| signed.price == Wei(1_000)));
    assert_eq!(mined(&world, 0), 0);
    world.wanted.insert(id(0), false);
    world.settle();
    assert_eq!((mined(&world, 0), world.chain.nonce()), (0, Nonce(1)));
}

/// A chain from before EIP-1559.
#[test]
fn where_blocks_do_not_say_what_gas_costs_the_node_is_asked() {
    let mut world = World::new(SETTINGS, 1);
    world.chain.blocks[0].0.base_fee = None;
    let mut effects = Vec::new();
    let head = world.chain.blocks[0].0;
    let mut handle = |event| {
        effects.clear();
        world.lane.handle(world.now, event, &mut effects);
        effects.clone()
    };
    handle(Event::Intend(Intent {
        id: id(0),
        call: wire_hub::Call::SubscribeToPool,
        gas_limit: wire_hub::Gas(1),
        deadline: None,
        about: None,
    }));
    assert!(handle(Event::Head(head)).contains(&Effect::AskGasPrice));
    let account = Account {
        at: head.at,
        nonce: Nonce(0),
        balance: Wei(0),
    };
    assert_eq!(handle(Event::Account(account)), [], "it waits for the price");
    handle(Event::GasPrice(Wei(30)));
    let effects = handle(Event::Account(account));
    let fees = Fees::Legacy { gas_price: Wei(60) };
    assert!(
        matches!(effects[..], [Effect::Sign { fees: offered, .. }] if offered == fees),
        "{effects:?}"
    );
}
