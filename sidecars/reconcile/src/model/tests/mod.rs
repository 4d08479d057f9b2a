//! Orders from the first event to the last, by the scenarios of acceptance: the pool against a model hub, with workers and
//! requesters that act by chance.

mod books;
mod chain;
mod pool;
mod world;

use proptest::prelude::*;
use wire_hub::{Address, Call, Commitment, Event as Said, Policy, Rlc, Timestamp};

use super::*;
use crate::core::order::State;
use crate::core::policy::ConsensusPolicy;
use world::{Agent, Faults, OWNER, ROOT, Request, World, requester, worker};

const KEEPS: bool = false;

fn request(trust: u128, claims: bool) -> Request {
    Request { trust, claims }
}

fn run(seed: u64, letters: &str, requests: &[Request]) -> World {
    let mut world = World::new(seed, letters, requests);
    world.run();
    world
}

/// H1: one worker, trust 0, value 1000. The pool sends three transactions.
#[test]
fn one_worker_does_an_order() {
    for seed in 0..20 {
        let world = run(seed, "a", &[request(0, KEEPS)]);
        assert_eq!(world.state(), [State::Final]);
        assert_eq!(world.money(worker(1)), (1_000 + 990, 10));
        assert_eq!(world.money(OWNER), (10_010, 0));
        assert_eq!(world.money(requester(0)), (9_000, 0));
        assert_eq!(world.transactions(), (3, 3));
        assert_eq!(
            (
                world.hub().history(),
                world.hub().person(worker(1)).affiliation.score
            ),
            ((1, 0), 1)
        );
    }
}

/// H3, H5, H10: all are paid alike, and rounding is the pool's.
#[test]
fn a_quorum_that_agrees_shares_the_reward() {
    for (trust, count, each) in [(5, 3, 330), (30, 5, 198), (1_000, 10, 99)] {
        let world = run(trust, &"a".repeat(count), &[request(u128::from(trust), KEEPS)]);
        assert_eq!(world.state(), [State::Final], "{count}");
        for number in 1..=count {
            assert_eq!(world.money(worker(number)), (1_000 + each, 10), "{count}");
        }
        assert_eq!(world.money(OWNER), (10_010, 0));
        assert_eq!(world.transactions(), (3, 3));
    }
}

/// C1 and C2: a tie asks one more, who decides; whoever was wrong loses its stake.
#[test]
fn a_contradiction_is_decided_by_one_more() {
    for seed in 0..20 {
        let world = run(seed, "baaaa", &[request(3, KEEPS)]);
        assert_eq!(world.state(), [State::Final]);
        let (free, _) = world.money(worker(1));
        let paid: u128 = (2..=5).map(|number| world.money(worker(number)).0 - 1_000).sum();
        assert_eq!(free, 700, "seed {seed}");
        assert_eq!(
            (paid, world.hub().history().1),
            (1_300 * 99 / 100, 1),
            "seed {seed}"
        );
    }
}

/// C3 and T1: nobody agrees; nothing more is sent, the requester takes its money back, the stakes go back.
#[test]
fn an_order_without_agreement_is_left_to_its_requester() {
    let world = run(3, "abc", &[request(100, true)]);
    assert_eq!(world.state(), [State::Claimed]);
    for number in 1..=3 {
        assert_eq!(world.money(worker(number)), (1_000, 10));
    }
    assert_eq!(
        (world.money(OWNER), world.money(requester(0))),
        ((9_700, 0), (10_000, 0))
    );
    assert_eq!(world.money(world.hub().address), (0, 300), "the kitty");
    assert_eq!(world.transactions(), (1, 1), "allowed, and no more");
}

/// C3 with best effort.
#[test]
fn best_effort_takes_the_heaviest_at_the_latest_time() {
    let mut world = World::new(5, "aab", &[request(100, KEEPS)]);
    world.settings.best_effort = true;
    world.run();
    assert_eq!(world.state(), [State::Final]);
    assert_eq!(world.money(worker(3)), (700, 10));
}

/// T2: nobody claims.
#[test]
fn money_that_nobody_claims_is_stranded() {
    let world = run(4, "abc", &[request(100, KEEPS)]);
    assert_eq!(world.state(), [State::Stranded]);
    assert_eq!(
        (world.money(OWNER), world.money(requester(0))),
        ((9_700, 300), (9_000, 1_000))
    );
    assert_eq!(world.money(worker(1)), (700, 310));
    let woid = world.hub().orders().next().expect("one");
    let views = world.hub().views(woid);
    let views = views.known().expect("an order");
    let stranded = crate::core::ledger::Stranded::of(&views.consensus, &views.contributions, Rlc(0));
    assert_eq!(
        (stranded.pool, stranded.requester, stranded.workers.len()),
        (Rlc(300), Rlc(1_000), 3)
    );
}

/// R1: who does not reveal is seized, and nothing is sent before the time to reveal is over.
#[test]
fn a_winner_that_does_not_reveal_pays_the_one_that_does() {
    for seed in 0..10 {
        // Trust 5 takes three of those who agree; two of them are silent.
        let world = run(seed, "aAA", &[request(5, KEEPS)]);
        assert_eq!(world.state(), [State::Final]);
        assert_eq!(world.money(worker(1)), (1_000 + 1_584, 10));
        assert_eq!(
            (world.money(worker(2)), world.money(worker(3))),
            ((700, 10), (700, 10))
        );
        assert_eq!(world.money(OWNER), (10_016, 0));
        assert_eq!(world.transactions(), (3, 3));
    }
}

/// R2: nobody reveals; others do it, and those who did not are seized in the end.
#[test]
fn if_nobody_reveals_others_get_their_turn() {
    for seed in 0..10 {
        let world = run(seed, "Aa", &[request(0, KEEPS)]);
        assert_eq!(world.state(), [State::Final], "seed {seed}");
        if world.steps.contains_key("Reopen") {
            assert_eq!(world.money(worker(1)), (700, 10));
            assert_eq!(world.money(worker(2)), (1_000 + 1_287, 10));
            assert_eq!(world.money(OWNER), (10_013, 0));
            // allow, revealConsensus, reopen, allow, revealConsensus, finalize
            assert_eq!(world.transactions(), (6, 6));
        }
    }
}

/// Many works in one order: first they are done, then workers are asked to contribute the root.
#[test]
fn an_order_of_many_works_has_their_root_contributed() {
    for kill_percent in [0, 20] {
        let mut world = World::new(7, "aaa", &[request(3, KEEPS), request(0, KEEPS)]);
        world.are_bags = true;
        world.faults.kill_percent = kill_percent;
        world.run();
        assert_eq!(world.state(), [State::Final; 2]);
        assert_eq!(world.roots.len(), 2);
        assert!(world.roots.iter().all(|(_, root)| *root == ROOT));
    }
}

/// What is read may be older than what was done: nothing is sent twice for it.
#[test]
fn answers_that_take_many_blocks_make_nothing_be_sent_twice() {
    for seed in 0..60 {
        let mut world = World::new(seed, "aaa", &[request(3, KEEPS), request(0, KEEPS)]);
        world.faults.slow_percent = 80;
        world.run();
        assert_eq!(world.state(), [State::Final; 2], "seed {seed}");
        // Each has its allow, revealConsensus and finalizeWork; workers may be allowed one after the other.
        let (all, succeeded) = world.transactions();
        assert_eq!(all, succeeded, "seed {seed}: {:?}", world.failures);
        assert_eq!(all, 6, "seed {seed}");
    }
}

/// R5: too late is no fault.
#[test]
fn whoever_is_too_late_loses_nothing() {
    let mut world = World::new(1, "aab", &[request(2, KEEPS)]);
    world.settings.consensus = ConsensusPolicy::Majority { agreeing: 2, of: 3 };
    world.agents[2].blocks = 20;
    world.settings.patience_s = Some(24);
    world.run();
    assert_eq!(world.state(), [State::Final]);
    assert_eq!(world.money(worker(3)), (1_000, 10));
}

/// S3: a worker's stake is enough for three orders, and is never promised to a fourth.
#[test]
fn parallel_orders_never_promise_more_stake_than_there_is() {
    for seed in 0..10 {
        let requests = vec![request(0, KEEPS); 8];
        let world = run(seed, "aa", &requests);
        assert_eq!(world.state(), [State::Final; 8]);
        assert!(world.failures.is_empty(), "{:?}", world.failures);
        let paid = world.money(worker(1)).0 + world.money(worker(2)).0;
        assert_eq!(paid, 2_000 + 8 * 990);
    }
}

/// S2: what would burn all of its gas is refused by the model as by the contract.
#[test]
fn an_offer_without_the_stake_fails_an_assertion() {
    let world = World::new(0, "a", &[]);
    let mut hub = world.hub().clone();
    let offer = Call::CreateMarketOrder {
        category: 1,
        trust: wire_hub::Trust(0),
        value: Rlc(1_000),
        volume: 34,
    };
    let before = hub.clone();
    assert_eq!(
        hub.call(OWNER, &offer, Timestamp(0)),
        Err(Revert::Assert("the stake is free"))
    );
    assert_eq!(hub, before);
}

/// X2: a reorganisation drops the permission.
#[test]
fn a_dropped_permission_is_given_again() {
    for seed in 0..10 {
        let mut world = World::new(seed, "a", &[request(0, KEEPS)]);
        world.until(|event| matches!(event, Said::AllowWorkerToContribute { .. }));
        world.reorganise(Some(1));
        world.run();
        assert_eq!(world.state(), [State::Final]);
        assert_eq!(world.money(worker(1)), (1_990, 10));
    }
}

/// X3, X4: reorganisations drop contributions, reveals, and the end.
#[test]
fn dropped_contributions_and_ends_come_again_with_the_same_balances() {
    for seed in 0..10 {
        let mut world = World::new(seed, "aaa", &[request(5, KEEPS)]);
        world.until(|event| matches!(event, Said::Contribute { .. }));
        world.reorganise(Some(2));
        world.until(|event| matches!(event, Said::Reveal { .. }));
        world.reorganise(Some(1));
        world.until(|event| matches!(event, Said::FinalizeWork { .. }));
        world.reorganise(Some(2));
        world.run();
        assert_eq!(world.state(), [State::Final]);
        for number in 1..=3 {
            assert_eq!(world.money(worker(number)), (1_330, 10));
        }
        assert_eq!(world.money(OWNER), (10_010, 0));
    }
}

/// A reorganisation that swaps two purchases: the same address is another requester's order.
#[test]
fn an_order_whose_address_is_anothers_now_is_replaced() {
    let mut seen = 0;
    for seed in 0..40 {
        let mut world = World::new(seed, "aaaa", &[request(0, KEEPS), request(0, KEEPS)]);
        world.until(|event| matches!(event, Said::WorkOrderActive { .. }));
        world.round();
        world.reorganise(Some(3));
        world.run();
        let states = world.state();
        let ended = states.iter().filter(|state| **state == State::Final).count();
        assert_eq!(ended, 2, "{states:?}");
        seen += states.iter().filter(|state| **state == State::Replaced).count();
        for _ in 0..2 * world::FINAL_AFTER {
            world.round();
        }
        assert_eq!(world.orders().len(), 0, "what is gone for good is forgotten");
        assert_eq!(
            (world.money(requester(0)), world.money(requester(1))),
            ((9_000, 0), (9_000, 0))
        );
    }
    assert!(seen > 0, "no seed swaps two purchases");
}

/// H-K, with the contracts' own calls: first a claimed order (kitty 300), then one that is finalized.
#[test]
fn whoever_finalizes_next_gets_the_kitty() {
    let world = run(3, "abc", &[request(100, true)]);
    let mut hub = world.hub().clone();
    assert_eq!(hub.balance(hub.address).locked, Rlc(300));
    let (before, now) = (hub.balance(OWNER).stake, Timestamp(2_000_000));
    let mut call = |sender, call: Call| {
        let events = hub.call(sender, &call, now).expect("it takes effect");
        hub.sanity_check();
        events
    };
    call(
        OWNER,
        Call::CreateMarketOrder {
            category: 1,
            trust: wire_hub::Trust(0),
            value: Rlc(1_000),
            volume: 1,
        },
    );
    let bought = call(requester(0), world.purchase(1));
    let woid = bought.iter().find_map(Said::woid).expect("an order");
    let workers = vec![worker(1)];
    call(OWNER, Call::AllowWorkersToContribute { woid, workers });
    let result = world::result('a');
    let Commitment { hash, sign } = Commitment::of(result, worker(1));
    call(
        worker(1),
        Call::Contribute {
            woid,
            result_hash: hash,
            result_sign: sign,
        },
    );
    call(
        OWNER,
        Call::RevealConsensus {
            woid,
            consensus: hash,
        },
    );
    call(worker(1), Call::Reveal { woid, result });
    call(
        OWNER,
        Call::FinalizeWork {
            woid,
            stdout: String::new(),
            stderr: String::new(),
            uri: String::new(),
        },
    );
    assert_eq!(hub.balance(OWNER).stake, before.plus(Rlc(310)));
    assert_eq!(
        (hub.balance(OWNER).locked, hub.balance(hub.address).locked),
        (Rlc(0), Rlc(0))
    );
}

#[test]
fn a_call_of_the_pool_is_for_its_owner_alone() {
    let world = World::new(0, "a", &[]);
    let mut hub = world.hub().clone();
    let policy = Policy { ..hub.policy };
    let refused = Err(Revert::Require("the sender owns the pool"));
    assert_eq!(
        hub.call(worker(1), &Call::ChangeWorkerPoolPolicy { policy }, Timestamp(0)),
        refused
    );
    let evict = Call::EvictWorker { worker: worker(1) };
    assert_eq!(hub.call(worker(1), &evict, Timestamp(0)), refused);
    assert!(hub.call(OWNER, &evict, Timestamp(0)).is_ok());
    assert_eq!(hub.balance(worker(1)).locked, Rlc(0));
    assert!(hub.call(OWNER, &evict, Timestamp(0)).is_err(), "it has left");
    assert!(
        hub.call(worker(1), &Call::SubscribeToPool, Timestamp(0)).is_ok(),
        "there is no ban"
    );
}

/// Nodes keep the state of a hundred blocks or so: an order that was bought before is read where it is final.
#[test]
fn an_order_of_a_block_whose_state_is_gone_is_read_later_and_keeps_no_other_waiting() {
    let mut world = World::new(7, "a", &[request(0, KEEPS), request(0, KEEPS)]);
    world.faults.forgets = true;
    world.start();
    // Both are bought before anybody looks.
    for _ in 0..4 {
        world.mine();
    }
    world.run();
    assert_eq!(world.state(), [State::Final, State::Final]);
    assert_eq!(world.money(worker(1)), (1_000 + 2 * 990, 10));
}

fn letters() -> impl Strategy<Value = String> {
    "[aaaabcA]{1,7}"
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// I1, I2, I4, I6, whatever workers answer, requesters want, networks lose and chains forget: every block is checked, and
    /// every order ends.
    #[test]
    fn every_order_ends_and_no_coin_is_lost(
        seed: u64,
        letters in letters(),
        trusts in proptest::collection::vec((prop_oneof![Just(0_u128), Just(2), Just(5), Just(50)], any::<bool>()), 1..4),
        policy in 0_usize..4,
        best_effort: bool,
        lost_percent in 0_u8..40,
        reorg_percent in 0_u8..12,
        kill_percent in 0_u8..8,
        replay_percent in prop_oneof![Just(0_u8), 1_u8..10],
        away_percent in 0_u8..20,
        slow_percent in prop_oneof![Just(0_u8), 1_u8..60],
    ) {
        let requests: Vec<Request> = trusts.iter().map(|(trust, claims)| request(*trust, *claims)).collect();
        let mut world = World::new(seed, &letters, &requests);
        world.settings.best_effort = best_effort;
        world.settings.consensus = [
            ConsensusPolicy::Poco,
            ConsensusPolicy::Sarmenta,
            ConsensusPolicy::Unanimity { workers: Some(2) },
            ConsensusPolicy::Majority { agreeing: 2, of: 3 },
        ][policy];
        world.faults = Faults { lost_percent, reorg_percent, kill_percent, away_percent, slow_percent, replay_percent, forgets: false };
        for agent in &mut world.agents {
            *agent = Agent { blocks: 1 + u64::from(seed as u8 % 5), ..*agent };
        }
        world.run();
        for state in world.state() {
            prop_assert!(state.is_over() && state != State::Completed, "{state:?}");
        }
        let others = world.failures.iter().filter(|failure| failure.contains("unexplained")).count();
        prop_assert_eq!(others, 0, "{:?}", world.failures);
        prop_assert!(world.hub().balance(Address([0; 20])).stake == Rlc(0));
    }
}
