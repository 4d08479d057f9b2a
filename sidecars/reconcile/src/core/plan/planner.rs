//! The plan of all orders, one by one.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Answer, ContributionStatus, Gas, NOBODY, Timestamp, Views};

use super::action::{Action, Step};
use super::workers::{Candidate, Reservations};
use crate::core::order::{Bag, Identity, Intended, Job, Observed, State, Texts, state_of};
use crate::core::policy::{ConsensusPolicy, Verdict};

/// Periods after which a result should be believed at the latest: what the third version of the contracts enforces.
pub(super) const AIM_PERIODS: u64 = 7;

/// Periods after which revealing may end too late to finalize what only some have revealed.
pub(super) const REVEAL_PERIODS_MAX: u64 = 8;

/// Workers of one order: beyond about 120 `finalizeWork` does not fit into a block of 8 million gas.
pub(super) const QUORUM_MAX: usize = 60;

/// Times that a requester's contract is told. It decides itself whether it refuses and burns what gas it is given; a second
/// time because the first may have been mined before the order was completed again, after a reorganisation.
const CALLBACKS_MAX: u32 = 2;

/// Blocks that a deadline of a contract is never approached by less than.
const MARGIN_BLOCKS_MIN: u64 = 3;

/// What an operator decides.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Which result is believed.
    pub consensus: ConsensusPolicy,
    /// At the latest time the heaviest result is taken although it is not believed; else the order is left to expire.
    pub best_effort: bool,
    /// Blocks on top of the one that bought an order before anything is sent for it. Works begin at once.
    pub confirmations: u64,
    /// Seconds between blocks, as far as is known; at least 1.
    pub block_s: u64,
    /// Seconds until a transaction is in a block.
    pub inclusion_s: u64,
    /// Blocks of margin before a deadline; at least 3.
    pub margin_blocks: u64,
    /// So long somebody who was asked is waited for. `None`: one period of the order's category.
    pub patience_s: Option<u64>,
    /// Gas for telling the requester's contract. `None`: it is not told.
    pub callback_gas_max: Option<Gas>,
    /// Evicts a worker that was wrong, or did not reveal, so many times. `None`: nobody is evicted.
    pub evict_after: Option<u32>,
}

/// An order, as it is seen and as it is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Which.
    pub identity: Identity,
    /// What the chain has.
    pub observed: Observed,
    /// What is under way.
    pub intended: Intended,
}

/// All that a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct World<'a> {
    /// What the operator decided.
    pub settings: &'a Settings,
    /// The pool's contract.
    pub pool: Address,
    /// All orders that are not forgotten.
    pub orders: &'a [Order],
    /// All workers that could be asked, in the order in which they should be if they weigh the same.
    pub candidates: &'a [Candidate],
    /// How often each was wrong or did not reveal.
    pub faults: &'a BTreeMap<Address, u32>,
    /// Orders to which something has happened since the plan's block: nothing is done for them, and the stake that they were
    /// promised stays promised.
    pub stale: &'a BTreeSet<Identity>,
}

/// What to do now. One order never keeps another from its steps; stake that one has been promised is not promised to the
/// next, and those that end first are served first.
#[must_use]
pub fn plan(world: &World<'_>) -> Vec<Step> {
    let mut orders: Vec<&Order> = world.orders.iter().collect();
    let timeout = |order: &Order| {
        let views = order.observed.views.known();
        views.map_or(u64::MAX, |views| views.consensus.consensus_timeout.0)
    };
    orders.sort_by_key(|order| (timeout(order), order.identity));
    let mut reservations = Reservations::of(world.orders);
    let mut steps = Vec::new();
    for order in orders
        .into_iter()
        .filter(|order| !world.stale.contains(&order.identity))
    {
        let mut planner = Planner {
            world,
            order,
            reservations: &mut reservations,
            steps: &mut steps,
        };
        planner.plan();
    }
    evict(world, &mut steps);
    steps
}

fn evict(world: &World<'_>, steps: &mut Vec<Step>) {
    let Some(limit) = world.settings.evict_after else {
        return;
    };
    for candidate in world.candidates {
        let faults = world.faults.get(&candidate.wallet).copied().unwrap_or(0);
        let is_ours = |person: &wire_hub::Person| person.affiliation.pool == world.pool;
        if faults >= limit && candidate.person.known().is_some_and(is_ours) {
            steps.push(Step {
                order: None,
                round: faults,
                action: Action::Evict(candidate.wallet),
                reason: format!("it was wrong or did not reveal {faults} times; {limit} are too many"),
                deadline: None,
            });
        }
    }
}

pub(super) struct Planner<'a, 'w> {
    pub(super) world: &'a World<'w>,
    pub(super) order: &'a Order,
    pub(super) reservations: &'a mut Reservations,
    pub(super) steps: &'a mut Vec<Step>,
}

impl Planner<'_, '_> {
    fn plan(&mut self) {
        let Order {
            identity,
            observed,
            intended,
        } = self.order;
        let settings = self.world.settings;
        let state = state_of(
            identity,
            observed,
            intended,
            settings.consensus,
            settings.patience_s,
        );
        let Answer::Known(views) = &observed.views else {
            return match state {
                State::Cancelled => self.cancel_all("a reorganisation took the order back"),
                _ => self.wait(None, "the node has not answered"),
            };
        };
        match state {
            State::Unread => self.wait(None, "the node has not answered"),
            State::Seen | State::Asked | State::Allowed | State::Contributed => self.gather(views),
            State::Agreed => self.agree(views),
            State::Revealing => self.reveal(views),
            State::Unrevealed => self.reopen(views),
            State::Finalizing => self.finalize(views),
            State::Completed | State::Final => self.complete(views),
            State::Expired | State::Stranded => self.cancel_all("the order's time has passed"),
            State::Claimed => self.cancel_all("the requester took its money back"),
            State::Cancelled => self.cancel_all("a reorganisation took the order back"),
            State::Replaced => self.cancel_all("a reorganisation gave its address to another order"),
        }
    }

    /// A result is believed.
    fn agree(&mut self, views: &Views) {
        let Verdict::Reached { hash, agreeing } = self.verdict(views, &[]) else {
            return self.wait(None, "the contributions have changed");
        };
        if !self.is_in_time(views.after(REVEAL_PERIODS_MAX)) {
            self.cancel_all("a result came too late to be revealed and finalized");
            return self.wait(None, "nothing more is sent; the order will expire");
        }
        let reason = format!(
            "{agreeing} contributed it, enough for trust {}",
            views.market.trust.0
        );
        self.step(
            Action::RevealConsensus(hash),
            reason,
            Some(self.reveal_last(views)),
        );
    }

    /// The chain knows the result; who contributed it is read from there and not from memory, as some may have done so
    /// just before it was decided.
    fn reveal(&mut self, views: &Views) {
        self.cancel_late(views);
        let text = format!(
            "{} of {} winners have not revealed; who has not by then loses its stake",
            views.to_reveal().len(),
            views.consensus.winner_count
        );
        self.wait(Some(views.consensus.reveal_date), &text);
    }

    /// The contract takes no contribution any more.
    fn cancel_late(&mut self, views: &Views) {
        let intended = &self.order.intended;
        let may = |status| matches!(status, ContributionStatus::Unset | ContributionStatus::Authorized);
        let asked = intended.open().map(|(worker, _)| worker);
        let late: Vec<Address> = asked.filter(|worker| may(views.status(*worker))).collect();
        let mut running = intended.running();
        running.retain(|worker| late.contains(worker));
        if !running.is_empty() {
            self.step(
                Action::Cancel(running),
                "the order is decided without them, which costs them nothing".into(),
                None,
            );
        }
    }

    fn reopen(&mut self, views: &Views) {
        if !self.is_in_time(views.after(REVEAL_PERIODS_MAX)) {
            return self.wait(
                None,
                "nobody revealed, and no time is left for others; the order will expire",
            );
        }
        let reason = "nobody revealed in time; others may, and whoever did not is out".to_owned();
        self.step(Action::Reopen, reason, Some(self.reveal_last(views)));
    }

    fn finalize(&mut self, views: &Views) {
        self.cancel_late(views);
        let consensus = &views.consensus;
        let timeout = consensus.consensus_timeout;
        if !self.is_in_time(timeout) {
            return self.wait(None, "no time is left to finalize");
        }
        let has_callback = views.order.callback != NOBODY;
        let result = self.order.intended.result.as_ref();
        // Without a result it still pays: everybody would lose more otherwise.
        let is_last_call = !self.is_in_time(self.before(timeout, views.category.period_s));
        if result.is_none() && !is_last_call {
            let until = self.before(timeout, views.category.period_s);
            return self.wait(Some(until), "it is revealed, and its result is not here yet");
        }
        let texts = result.map_or_else(Texts::default, |result| result.on_chain(has_callback));
        let reason = format!(
            "{} of {} winners have revealed",
            consensus.reveal_counter, consensus.winner_count
        );
        self.step(
            Action::Finalize(texts),
            reason,
            Some(self.before(timeout, self.margin_s())),
        );
    }

    fn complete(&mut self, views: &Views) {
        self.cancel_all("the order is completed");
        let refusals = self.order.intended.refusals;
        let has_callback =
            views.order.callback != NOBODY && !views.is_callback_done && refusals < CALLBACKS_MAX;
        if let (true, Some(gas_max), Some(texts)) = (
            has_callback,
            self.world.settings.callback_gas_max,
            &self.order.observed.result,
        ) {
            let texts = texts.clone();
            let reason = "the requester named a contract that waits for the result".to_owned();
            self.steps.push(Step {
                order: Some(self.order.identity),
                round: refusals,
                action: Action::CallBack { texts, gas_max },
                reason,
                deadline: None,
            });
        }
    }

    pub(super) fn cancel_all(&mut self, why: &str) {
        let running = self.order.intended.running();
        if !running.is_empty() {
            self.step(Action::Cancel(running), why.to_owned(), None);
        }
        if self.order.intended.job == Job::Bag(Bag::Asked) {
            self.step(Action::CancelBag, why.to_owned(), None);
        }
    }

    /// The block time at which a transaction would be mined that is sent now.
    pub(super) fn expected(&self) -> Timestamp {
        let at = self.order.observed.at.timestamp.0;
        Timestamp(at.saturating_add(self.world.settings.inclusion_s))
    }

    fn margin_s(&self) -> u64 {
        let settings = self.world.settings;
        settings.margin_blocks.max(MARGIN_BLOCKS_MIN) * settings.block_s.max(1)
    }

    /// Whether a transaction that is sent now would be mined by `last`, with margin where it has none in it.
    pub(super) fn is_in_time(&self, last: Timestamp) -> bool {
        Timestamp(self.expected().0.saturating_add(self.margin_s())) <= last
    }

    /// The last time at which revealing may begin.
    pub(super) fn reveal_last(&self, views: &Views) -> Timestamp {
        self.before(views.after(REVEAL_PERIODS_MAX), self.margin_s())
    }

    fn before(&self, time: Timestamp, seconds: u64) -> Timestamp {
        Timestamp(time.0.saturating_sub(seconds))
    }

    pub(super) fn wait(&mut self, until: Option<Timestamp>, why: &str) {
        self.step(Action::Wait(until), why.to_owned(), None);
    }

    pub(super) fn step(&mut self, action: Action, reason: String, deadline: Option<Timestamp>) {
        self.steps.push(Step {
            order: Some(self.order.identity),
            round: self.order.intended.rounds,
            action,
            reason,
            deadline,
        });
    }
}
