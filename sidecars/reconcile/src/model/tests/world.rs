//! A chain of model hubs, workers and requesters that act on what they see, and the pool: follower, book, planner, lane.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{
    Address, Block, BlockRef, Call, Event as Said, Hash, Log, NOBODY, Nonce, Policy, Receipt, Rlc, Timestamp,
    Trust, Wei, keccak,
};
use wire_protocol::units::{Instant, Millis};

use super::super::{App, Hub};
use crate::core::observe;
use crate::core::order::{Identity, State};
use crate::core::plan;
use crate::core::reconciler::{self, Event, Reconciler};
use wire_lane as lane;
use wire_lane::{FeePolicy, Payload};

pub(crate) const OWNER: Address = Address([0xcc; 20]);
pub(super) const APP: Address = Address([0xa0; 20]);
pub(super) const BLOCK_S: u64 = 12;
pub(super) const FINAL_AFTER: u64 = 8;
/// Less than what is final, so that no order is over and then not.
pub(crate) const REORG_MAX: usize = 5;

pub(crate) fn requester(number: usize) -> Address {
    Address([0xb0 + number as u8; 20])
}

pub(crate) fn worker(number: usize) -> Address {
    Address([number as u8; 20])
}

pub(crate) fn result(letter: char) -> Hash {
    keccak(letter.to_string().as_bytes())
}

/// Over the works of every bag.
pub(crate) const ROOT: Hash = Hash([0x42; 32]);

/// What a worker does.
#[derive(Clone, Copy)]
pub(crate) struct Agent {
    /// Its result.
    pub(crate) letter: char,
    /// It never reveals.
    pub(crate) is_silent: bool,
    /// Blocks until it has a result.
    pub(crate) blocks: u64,
}

/// What a requester does: it buys in the first blocks.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    pub(crate) trust: u128,
    /// Takes its money back when it may.
    pub(crate) claims: bool,
}

/// What goes wrong.
#[derive(Clone, Copy, Default)]
pub(crate) struct Faults {
    /// Transactions that are lost, in percent.
    pub(crate) lost_percent: u8,
    /// Blocks that are followed by a reorganisation, in percent.
    pub(crate) reorg_percent: u8,
    /// Blocks at which the pool's process is killed, in percent.
    pub(crate) kill_percent: u8,
    /// Blocks at which the operator has the chain followed again, in percent.
    pub(crate) replay_percent: u8,
    /// The node has the state of its last block alone, and knows no older one.
    pub(crate) forgets: bool,
    /// Questions that the node does not answer, in percent.
    pub(crate) away_percent: u8,
    /// Questions about orders whose answers take some blocks, in percent.
    pub(crate) slow_percent: u8,
}

pub(super) struct Mined {
    pub(super) block: Block,
    /// After it.
    pub(super) hub: Hub,
    pub(super) logs: Vec<Log>,
    pub(super) receipts: Vec<Receipt>,
}

/// A work of the engine.
pub(super) struct Work {
    pub(super) order: Identity,
    pub(super) worker: Address,
    pub(super) at: u64,
    pub(super) is_cancelled: bool,
    /// This process of the pool has asked for it, and hears how it ends.
    pub(super) is_followed: bool,
}

#[derive(Clone)]
pub(super) struct Signed {
    pub(super) nonce: Nonce,
    pub(super) payload: Payload,
    pub(super) price: Wei,
}

pub(crate) struct World {
    pub(crate) rng: fastrand::Rng,
    pub(crate) settings: plan::Settings,
    pub(crate) agents: Vec<Agent>,
    pub(crate) requests: Vec<Request>,
    pub(crate) faults: Faults,
    pub(super) blocks: Vec<Mined>,
    /// All that ever were: a node knows orphans too.
    pub(super) orphans: BTreeMap<Hash, Vec<Log>>,
    pub(super) made: u64,
    pub(super) signed: BTreeMap<Hash, Signed>,
    pub(super) pool: BTreeSet<Hash>,
    /// `None` before the first block, until when its settings may change.
    pub(super) brain: Option<Reconciler>,
    pub(super) final_: Option<u64>,
    pub(super) notes: BTreeMap<String, Vec<u8>>,
    /// What the engine was asked for, by key.
    pub(super) works: BTreeMap<Hash, Work>,
    pub(super) clock: Instant,
    pub(super) states: BTreeMap<Identity, State>,
    pub(crate) reorganised: bool,
    /// Answers on their way, with the number of the block at which they come.
    pub(super) delayed: Vec<(u64, Event)>,
    /// Reasons of failed transactions.
    pub(crate) failures: Vec<String>,
    /// Requests of the operator, so far.
    pub(crate) requests_made: u64,
    /// The block from which the first process follows the chain.
    pub(crate) from: u64,
    /// All gas is in the books.
    pub(crate) is_gas_known: bool,
    /// Orders stand for many works.
    pub(crate) are_bags: bool,
    /// What workers were told to contribute.
    pub(crate) roots: BTreeSet<(Identity, Hash)>,
    pub(crate) steps: BTreeMap<&'static str, usize>,
    pub(super) longest: usize,
}

impl World {
    pub(crate) fn new(seed: u64, letters: &str, requests: &[Request]) -> Self {
        let policy = Policy {
            stake_ratio: 30,
            scheduler_reward_ratio: 1,
            subscription_minimum_stake: Rlc(0),
            subscription_minimum_score: 0,
            subscription_lock_stake: Rlc(10),
        };
        let app = App {
            owner: NOBODY,
            price: Rlc(0),
        };
        let mut hub = Hub::new(OWNER, policy, &[300], &[(APP, app)]);
        let now = Timestamp(1_000_000);
        let agents: Vec<Agent> = letters.chars().map(agent).collect();
        let rich = [OWNER].into_iter().chain((0..requests.len()).map(requester));
        for (who, amount) in rich
            .map(|who| (who, 10_000))
            .chain((1..=agents.len()).map(|number| (worker(number), 1_010)))
        {
            hub.mint(who, Rlc(amount));
            hub.call(who, &Call::Approve { amount: Rlc(amount) }, now)
                .expect("allowed");
            hub.call(who, &Call::Deposit { amount: Rlc(amount) }, now)
                .expect("deposited");
        }
        for number in 1..=agents.len() {
            hub.call(worker(number), &Call::SubscribeToPool, now)
                .expect("subscribed");
        }
        for request in requests {
            let offer = Call::CreateMarketOrder {
                category: 1,
                trust: Trust(request.trust),
                value: Rlc(1_000),
                volume: 1,
            };
            hub.call(OWNER, &offer, now).expect("offered");
        }
        let block = Block {
            at: BlockRef {
                number: 0,
                hash: keccak(b"genesis"),
            },
            parent: Hash::ZERO,
            timestamp: now,
            base_fee: Some(Wei(10)),
        };
        let genesis = Mined {
            block,
            hub,
            logs: Vec::new(),
            receipts: Vec::new(),
        };
        Self {
            rng: fastrand::Rng::with_seed(seed),
            settings: settings(),
            agents,
            requests: requests.to_vec(),
            faults: Faults::default(),
            blocks: vec![genesis],
            orphans: BTreeMap::new(),
            made: 0,
            signed: BTreeMap::new(),
            pool: BTreeSet::new(),
            brain: None,
            final_: None,
            works: BTreeMap::new(),
            notes: BTreeMap::new(),
            clock: Instant(0),
            states: BTreeMap::new(),
            reorganised: false,
            delayed: Vec::new(),
            failures: Vec::new(),
            requests_made: 0,
            from: 0,
            is_gas_known: true,
            are_bags: false,
            roots: BTreeSet::new(),
            steps: BTreeMap::new(),
            longest: 1,
        }
    }

    pub(super) fn brain(&self) -> &Reconciler {
        self.brain.as_ref().expect("it has started")
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.blocks.last().expect("never empty").hub
    }

    pub(super) fn head(&self) -> Block {
        self.blocks.last().expect("never empty").block
    }

    /// What is time for the pool: it never goes back, as blocks may.
    pub(super) fn now(&mut self) -> Instant {
        let head = Instant(0) + Millis::from_secs(self.head().timestamp.0);
        self.clock = self.clock.max(head);
        self.clock
    }

    /// A block, and all that follows from it.
    pub(crate) fn round(&mut self) {
        if self.brain.is_none() {
            self.start();
        }
        if self.rng.u8(..100) < self.faults.reorg_percent {
            self.reorganise(None);
        }
        if self.rng.u8(..100) < self.faults.kill_percent {
            self.start();
        }
        if self.rng.u8(..100) < self.faults.replay_percent {
            self.replay();
        }
        self.mine();
        self.deliver();
        self.follow();
        self.work();
    }

    /// Until nothing more can happen.
    pub(crate) fn run(&mut self) {
        for _ in 0..2_000 {
            self.round();
            self.assert_the_ledger_is_right();
            if self.is_over() && self.brain().ledger().is_complete() {
                self.assert_the_books_are_closed();
                return;
            }
        }
        panic!(
            "it never ends: {:?} {:?} {:?}",
            self.states.values(),
            self.brain().ledger(),
            self.brain().lane()
        );
    }

    pub(super) fn is_over(&self) -> bool {
        let bought = self.hub().orders().count();
        let is_done = |(identity, state): (&Identity, &State)| {
            let claims = self.hub().views(identity.woid);
            let claims = claims
                .known()
                .is_some_and(|views| self.is_claiming(views.order.requester));
            match state {
                State::Expired | State::Stranded => *state == State::Stranded && !claims,
                state => state.is_over() && *state != State::Completed,
            }
        };
        // None is over as long as it was not seen.
        bought == self.requests.len()
            && self.states.len() >= bought
            && self.brain().lane().is_idle()
            && self.states.iter().all(is_done)
    }

    pub(super) fn is_claiming(&self, who: Address) -> bool {
        let index = usize::from(who.0[0] - 0xb0);
        self.requests[index].claims
    }

    /// Takes off so many blocks, or a few; what the pool had in them may come back into the node's own pool.
    pub(crate) fn reorganise(&mut self, depth: Option<usize>) {
        let bound = (self.blocks.len() + REORG_MAX).saturating_sub(self.longest);
        let bound = bound.min(self.blocks.len() - 1);
        let depth = depth.unwrap_or_else(|| self.rng.usize(..=bound)).min(bound);
        for _ in 0..depth {
            let orphan = self.blocks.pop().expect("more than one");
            self.orphans.insert(orphan.block.at.hash, orphan.logs);
            for receipt in orphan.receipts {
                if self.signed.contains_key(&receipt.transaction) && self.rng.bool() {
                    self.pool.insert(receipt.transaction);
                }
            }
            self.reorganised = true;
        }
    }

    pub(crate) fn state(&self) -> Vec<State> {
        self.states.values().copied().collect()
    }

    /// What somebody has, free and locked.
    pub(crate) fn money(&self, who: Address) -> (u128, u128) {
        let balance = self.hub().balance(who);
        (balance.stake.0, balance.locked.0)
    }

    /// The pool's transactions in the chain, and how many of them took effect.
    pub(crate) fn transactions(&self) -> (usize, usize) {
        let receipts = self.blocks.iter().flat_map(|mined| &mined.receipts);
        let all: Vec<bool> = receipts.map(|receipt| receipt.succeeded).collect();
        (all.len(), all.iter().filter(|succeeded| **succeeded).count())
    }

    /// Runs until an event of this kind is in the last block.
    pub(crate) fn until(&mut self, is_it: impl Fn(&Said) -> bool) {
        for _ in 0..300 {
            self.round();
            if self
                .blocks
                .last()
                .expect("never empty")
                .logs
                .iter()
                .any(|log| is_it(&log.event))
            {
                return;
            }
        }
        panic!("it never happens");
    }
}

pub(crate) fn agent(letter: char) -> Agent {
    Agent {
        letter: letter.to_ascii_lowercase(),
        is_silent: letter.is_ascii_uppercase(),
        blocks: 2,
    }
}

pub(super) fn settings() -> plan::Settings {
    plan::Settings {
        consensus: crate::core::policy::ConsensusPolicy::Poco,
        best_effort: false,
        confirmations: 2,
        block_s: BLOCK_S,
        inclusion_s: BLOCK_S,
        margin_blocks: 3,
        patience_s: None,
        callback_gas_max: None,
        evict_after: None,
    }
}

pub(super) fn brain_settings(plan: plan::Settings) -> reconciler::Settings {
    reconciler::Settings {
        chain_id: 1,
        hub: Hub::ADDRESS,
        pool: Hub::POOL,
        owner: OWNER,
        observe: follower_settings(),
        lane: lane_settings(),
        plan,
        offer: None,
        pause: Millis(100),
    }
}

pub(super) fn follower_settings() -> observe::Settings {
    observe::Settings {
        ring_len: 64,
        confirmations: 2,
        final_after: Some(FINAL_AFTER),
        range_len: 100,
        patience: Millis(1_000),
        pause: Millis(100),
    }
}

pub(super) fn lane_settings() -> lane::Settings {
    lane::Settings {
        in_flight_max: 2,
        fees: FeePolicy {
            multiplier_percent: 200,
            tip: Wei(1),
            cap: Wei(1_000),
            bump_percent: 12,
        },
        spend_per_hour_max: None,
        resend_after: Millis::from_secs(2 * BLOCK_S),
        replace_after: Millis::from_secs(3 * BLOCK_S),
        urgent_s: 60,
        poll: Millis(5_000),
    }
}
