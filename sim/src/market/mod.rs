//! The marketplace: a model chain, requesters that buy, the pool's reconciler, and the chain side of workers.
//!
//! ```text
//!   requesters ── buy, claim ──► chain: a model hub in each block ◄── contribute, reveal ── settler of each worker
//!                                  ▲ │ answers, late or never                                  ▲ results with tickets
//!                    transactions  │ ▼                                                         │
//!   engine ⇄ notebook, works, roster ⇄ pool (the reconciler)                       worker (the agent) ⇄ engine
//! ```
//!
//! Cores and contracts' rules are the real ones; what is between them here stands for the shells of `pool-reconcile` and of
//! the worker.

mod errand;
mod keeper;
mod pool;
mod settler;

use std::collections::BTreeMap;

use sidecars_reconcile::core::market::{Offer, Price};
use sidecars_reconcile::core::policy::ConsensusPolicy;
use sidecars_reconcile::core::{observe, plan, reconciler};
use sidecars_reconcile::model::{App, Chain, Hub, Node};
use wire_hub::{
    Address, Answer, Call, MarketOrder, MarketStatus, NOBODY, OrderStatus, Policy, Rlc, Timestamp, Trust,
    Views, Wei,
};
use wire_lane::{self as lane, FeePolicy};
use wire_protocol::units::Millis;

use crate::clock::{MS, SEC, Time};
use crate::faults::{MarketOptions, Options};
use crate::oracle::{self, Violation};

pub(crate) use pool::{LOGIN, Pool};
pub(crate) use settler::{Post, Settler};

/// Between two blocks.
pub(crate) const BLOCK: Time = 2 * SEC;
/// Blocks behind the last from which on one is final: no reorganisation is deeper.
pub(crate) const FINAL_AFTER: u64 = 8;
/// What the chain's clock says when the simulation begins.
const BEGINS: u64 = 1_767_225_600;
/// Seconds that a work of the category may take.
const PERIOD_S: u64 = 20;
const CHAIN_ID: u64 = 17;
const OWNER: Address = Address([0xcc; 20]);
const APP: Address = Address([0xa0; 20]);
/// What a work costs.
const VALUE: Rlc = Rlc(1_000);
/// What everybody has at the hub in the beginning.
const DEPOSIT: Rlc = Rlc(100_000);

/// Parameters of an order that stands for several works.
const SWEEP: &str = "sweep";
/// Works that such an order stands for.
const SWEEP_ROWS: u32 = 5;

/// Somebody who wants a work.
#[derive(Clone, Copy, Debug)]
struct Request {
    who: Address,
    begins: Time,
    /// Takes its money back when it may.
    claims: bool,
    is_sweep: bool,
}

/// The chain, and those who use it.
pub(crate) struct Market {
    pub(crate) chain: Chain,
    options: MarketOptions,
    requests: Vec<Request>,
    /// What the pool has sent, in all its lives.
    intents: oracle::market::Intents,
    /// No node answers until then.
    pub(crate) away_until: Time,
    /// Nothing is lost or late any more.
    is_calm: bool,
    rng: fastrand::Rng,
}

/// The wallet of the worker with this place in the world.
pub(crate) fn wallet(index: usize) -> Address {
    Address([index as u8 + 1; 20])
}

fn requester(index: usize) -> Address {
    Address([0x80 + index as u8; 20])
}

impl Market {
    pub(crate) fn new(options: &Options, market: &MarketOptions, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let requests: Vec<Request> = (0..market.orders)
            .map(|index| Request {
                who: requester(index),
                begins: rng.u64(0..=options.faults_for / 2),
                claims: rng.bool(),
                is_sweep: rng.u8(0..4) == 0,
            })
            .collect();
        let hub = hub(options.workers, &requests);
        Self {
            chain: Chain::new(hub, Timestamp(BEGINS)),
            options: market.clone(),
            requests,
            intents: BTreeMap::new(),
            away_until: 0,
            is_calm: false,
            rng,
        }
    }

    /// A node, as it is for the next question.
    pub(crate) fn node(&mut self, now: Time) -> Node<'_> {
        let is_silent = !self.is_calm && self.rng.u8(0..100) < self.options.silent_percent;
        let loses = !self.is_calm && self.rng.u8(0..100) < self.options.lost_percent;
        Node {
            chain: &mut self.chain,
            answers: now >= self.away_until && !is_silent,
            loses,
        }
    }

    /// How long an answer takes.
    pub(crate) fn delay(&mut self) -> Time {
        if !self.is_calm && self.rng.u8(0..100) < self.options.slow_percent {
            self.rng.u64(0..4 * BLOCK)
        } else {
            self.rng.u64(MS..50 * MS)
        }
    }

    /// Makes a block.
    pub(crate) fn mine(&mut self, now: Time) {
        let at = Timestamp(BEGINS + now / SEC);
        let others = self.others(now, at);
        let rng = &mut self.rng;
        let mined = self.chain.mine(others, at, &mut |bound| rng.usize(0..bound));
        oracle::market::check_block(mined);
    }

    /// What stands in the chain in the end makes sense.
    pub(crate) fn compare_notes(&self) -> Result<(), Violation> {
        oracle::market::check_chain(&self.chain, &self.intents)
    }

    /// Takes back some of the last blocks. Returns how many.
    pub(crate) fn reorganise(&mut self) -> usize {
        let deepest = FINAL_AFTER as usize - 1;
        let depth = self.rng.usize(1..=deepest);
        let rng = &mut self.rng;
        self.chain
            .reorganise(depth, deepest, &mut |bound| rng.usize(0..bound))
    }

    pub(crate) fn calm_down(&mut self) {
        self.is_calm = true;
        self.away_until = 0;
    }

    /// What requesters send, from what they see in the last block.
    fn others(&mut self, now: Time, at: Timestamp) -> Vec<(Address, Call)> {
        let hub = &self.chain.last().hub;
        let orders: Vec<Views> = hub
            .orders()
            .filter_map(|woid| hub.views(woid).known().cloned())
            .collect();
        let mut calls = Vec::new();
        for request in &self.requests {
            let mine = orders.iter().find(|views| views.order.requester == request.who);
            match mine {
                None if now < request.begins || self.rng.bool() => {}
                None => {
                    let is_open =
                        |offer: &&MarketOrder| offer.status == MarketStatus::Ask && offer.remaining > 0;
                    let open = hub.offers().iter().find(is_open);
                    calls.extend(open.map(|offer| (request.who, buy(request, offer.id))));
                }
                Some(views) => {
                    let is_late = at > views.consensus.consensus_timeout;
                    if is_late && request.claims && is_open(views) {
                        let woid = views.order.woid;
                        calls.push((request.who, Call::ClaimFailedConsensus { woid }));
                    }
                }
            }
        }
        calls
    }

    /// Everybody has bought, and every order has ended, for good.
    pub(crate) fn is_settled(&self) -> bool {
        let last = self.chain.last();
        let final_ = last.block.at.number.saturating_sub(FINAL_AFTER);
        let Some(final_) = self.chain.block(final_) else {
            return false;
        };
        let mut orders = last.hub.orders();
        final_.hub.orders().count() >= self.requests.len()
            && orders.all(|woid| match final_.hub.views(woid) {
                Answer::Known(views) => !is_open(&views) || self.is_stranded(woid),
                Answer::Absent | Answer::Unknown => false,
            })
    }

    /// The time of an order has passed, for good, and its requester does not take its money back.
    pub(crate) fn is_stranded(&self, woid: Address) -> bool {
        let last = self.chain.last().block.at.number;
        let final_ = self.chain.block(last.saturating_sub(FINAL_AFTER));
        final_.is_some_and(|mined| match mined.hub.views(woid) {
            Answer::Known(views) => {
                let is_late = mined.block.timestamp > views.consensus.consensus_timeout;
                let is_it = |request: &&Request| request.who == views.order.requester;
                let claims = self
                    .requests
                    .iter()
                    .find(is_it)
                    .is_some_and(|request| request.claims);
                is_open(&views) && is_late && !claims
            }
            Answer::Absent | Answer::Unknown => false,
        })
    }

    /// What stands in the way of that.
    pub(crate) fn describe(&self) -> String {
        let hub = &self.chain.last().hub;
        let state = |woid| match hub.views(woid) {
            Answer::Known(views) => format!("{woid} {:?}", views.order.status),
            _ => format!("{woid} unknown"),
        };
        let orders: Vec<String> = hub.orders().map(state).collect();
        format!(
            "the market has {} of {} orders at block {}: {}",
            orders.len(),
            self.requests.len(),
            self.chain.last().block.at.number,
            orders.join(", ")
        )
    }
}

fn is_open(views: &Views) -> bool {
    matches!(views.order.status, OrderStatus::Active | OrderStatus::Revealing)
}

fn buy(request: &Request, market_order: u64) -> Call {
    let params = if request.is_sweep { SWEEP } else { "echo" };
    Call::BuyForWorkOrder {
        market_order,
        app: APP,
        dataset: NOBODY,
        params: params.to_owned(),
        callback: NOBODY,
        beneficiary: NOBODY,
    }
}

/// A pool whose workers are subscribed, and requesters with money.
fn hub(workers: usize, requests: &[Request]) -> Hub {
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
    let mut hub = Hub::new(OWNER, policy, &[PERIOD_S], &[(APP, app)]);
    let at = Timestamp(BEGINS);
    let requesters = requests.iter().map(|request| request.who);
    let workers: Vec<Address> = (0..workers).map(wallet).collect();
    for who in requesters.chain([OWNER]).chain(workers.iter().copied()) {
        hub.mint(who, DEPOSIT);
        let amount = DEPOSIT;
        for call in [Call::Approve { amount }, Call::Deposit { amount }] {
            hub.call(who, &call, at).expect("it has as much");
        }
    }
    for who in workers {
        hub.call(who, &Call::SubscribeToPool, at)
            .expect("it has the stake");
    }
    hub
}

fn lane_settings() -> lane::Settings {
    lane::Settings {
        in_flight_max: 4,
        fees: FeePolicy {
            multiplier_percent: 200,
            tip: Wei(1),
            cap: Wei(1_000),
            bump_percent: 12,
        },
        spend_per_hour_max: None,
        resend_after: Millis(4_000),
        replace_after: Millis(6_000),
        urgent_s: 20,
        poll: Millis(2_000),
    }
}

fn pool_settings(market: &MarketOptions) -> reconciler::Settings {
    reconciler::Settings {
        chain_id: CHAIN_ID,
        hub: Hub::ADDRESS,
        pool: Hub::POOL,
        owner: OWNER,
        observe: observe::Settings {
            ring_len: 64,
            confirmations: 2,
            final_after: Some(FINAL_AFTER),
            range_len: 100,
            patience: Millis(4_000),
            pause: Millis(500),
        },
        lane: lane_settings(),
        plan: plan::Settings {
            consensus: ConsensusPolicy::Poco,
            best_effort: market.best_effort,
            confirmations: 2,
            block_s: BLOCK / SEC,
            inclusion_s: BLOCK / SEC,
            margin_blocks: 3,
            patience_s: None,
            callback_gas_max: None,
            evict_after: None,
        },
        offer: Some(Offer {
            category: 1,
            trust: Trust(market.trust),
            price: Price::Fixed(VALUE),
            volume: 3,
        }),
        pause: Millis(500),
    }
}

fn worker_settings(worker: Address) -> worker_chain::core::Settings {
    let mut settings = worker_chain::core::Settings::new(CHAIN_ID, Hub::ADDRESS, Hub::POOL, worker);
    settings.lane = lane_settings();
    settings.final_after = FINAL_AFTER;
    settings.inclusion_s = BLOCK / SEC;
    settings.patience = Millis(20_000);
    settings.pause = Millis(500);
    settings
}
