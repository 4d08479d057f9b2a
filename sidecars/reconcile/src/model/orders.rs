//! The life of an order.

use std::collections::BTreeMap;

use wire_hub::{
    ASK_STAKE_PERCENT, Address, CONSENSUS_PERIODS, Call, Commitment, Consensus, Contribution,
    ContributionStatus, Event, Hash, MarketStatus, NOBODY, OrderStatus, REVEAL_PERIODS, Rlc, SCORE_SLASHED,
    Timestamp, WorkOrder, result_hash,
};

use super::hub::{Done, Hub, Revert, require};
use crate::core::ledger::{kitty_bonus, split, weight};
use crate::core::order::Texts;

/// An order, and what the pool keeps of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OrderEntry {
    pub(super) order: WorkOrder,
    pub(super) consensus: Consensus,
    /// In the order of the chain.
    pub(super) contributors: Vec<Address>,
    pub(super) contributions: BTreeMap<Address, Contribution>,
    pub(super) texts: Texts,
    pub(super) is_callback_done: bool,
}

impl Hub {
    pub(super) fn apply_to_order(
        &mut self,
        sender: Address,
        call: &Call,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Done {
        match call {
            Call::BuyForWorkOrder { market_order, .. } => self.buy(sender, *market_order, call, now, events),
            Call::AllowWorkersToContribute { woid, workers } => {
                self.only_owner(sender)?;
                let mut each = workers.iter();
                each.try_for_each(|worker| self.allow(*woid, *worker, now, events))
            }
            Call::Contribute {
                woid,
                result_hash,
                result_sign,
            } => self.contribute(sender, *woid, *result_hash, *result_sign, now, events),
            Call::RevealConsensus { woid, consensus } => {
                self.only_owner(sender)?;
                self.reveal_consensus(*woid, *consensus, now, events)
            }
            Call::Reveal { woid, result } => self.reveal(sender, *woid, *result, now, events),
            Call::Reopen { woid } => {
                self.only_owner(sender)?;
                self.reopen(*woid, now, events)
            }
            Call::FinalizeWork {
                woid,
                stdout,
                stderr,
                uri,
            } => {
                self.only_owner(sender)?;
                let texts = Texts {
                    stdout: stdout.clone(),
                    stderr: stderr.clone(),
                    uri: uri.clone(),
                };
                self.finalize(*woid, texts, now, events)
            }
            Call::ClaimFailedConsensus { woid } => self.claim(sender, *woid, now, events),
            Call::WorkOrderCallback {
                woid,
                stdout,
                stderr,
                uri,
            } => {
                let entry = self.entry(*woid)?;
                let is_said =
                    (&entry.texts.stdout, &entry.texts.stderr, &entry.texts.uri) == (stdout, stderr, uri);
                require(!entry.is_callback_done, "it was not told")?;
                require(
                    entry.order.status == OrderStatus::Completed,
                    "the order is completed",
                )?;
                require(is_said, "it is what was said")?;
                require(entry.order.callback != NOBODY, "somebody is to be told")?;
                entry.is_callback_done = true;
                events.push(Event::WorkOrderCallbackProof { woid: *woid });
                Ok(())
            }
            other => unreachable!("{other:?} is not about an order"),
        }
    }

    fn buy(
        &mut self,
        requester: Address,
        id: u64,
        call: &Call,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Done {
        let Call::BuyForWorkOrder {
            app,
            dataset,
            params,
            callback,
            beneficiary,
            ..
        } = call
        else {
            unreachable!("asked for by its kind")
        };
        let offer = self.offer(id).ok_or(Revert::Require("the offer exists"))?;
        require(offer.status == MarketStatus::Ask, "the offer is open")?;
        require(offer.remaining > 0, "one is left")?;
        let sold = &mut self.offers[id as usize - 1];
        sold.remaining -= 1;
        if sold.remaining == 0 {
            sold.status = MarketStatus::Closed;
        }
        self.lock(requester, offer.value)?;
        events.push(Event::MarketOrderAskConsume {
            market_order: id,
            requester,
        });
        let price = self.apps.get(app).ok_or(Revert::Require("the app exists"))?.price;
        let of_data = match *dataset {
            NOBODY => Rlc(0),
            dataset => {
                self.datasets
                    .get(&dataset)
                    .ok_or(Revert::Require("the dataset exists"))?
                    .price
            }
        };
        let emitcost = price.plus(of_data);
        self.lock(requester, emitcost)?;
        let woid = self.create();
        let period_s = self.categories[&offer.category].period_s;
        let order = WorkOrder {
            woid,
            market_order: id,
            workerpool: self.pool,
            app: *app,
            dataset: *dataset,
            requester,
            params: params.clone(),
            callback: *callback,
            beneficiary: *beneficiary,
            emitcost,
            status: OrderStatus::Active,
        };
        let consensus = Consensus {
            pool_reward: offer.value,
            stake_amount: offer.value.percent(self.policy.stake_ratio),
            consensus_timeout: Timestamp(now.0 + period_s * CONSENSUS_PERIODS),
            scheduler_reward_ratio: self.policy.scheduler_reward_ratio,
            ..Consensus::default()
        };
        let entry = OrderEntry {
            order,
            consensus,
            contributors: Vec::new(),
            contributions: BTreeMap::new(),
            texts: Texts::default(),
            is_callback_done: false,
        };
        self.orders.insert(woid, entry);
        events.push(Event::WorkOrderActive { woid });
        Ok(())
    }

    fn allow(&mut self, woid: Address, worker: Address, now: Timestamp, events: &mut Vec<Event>) -> Done {
        let is_subscribed = self.subscribed.contains(&worker);
        let score = self.scores.get(&worker).copied().unwrap_or(0);
        let entry = self.entry(woid)?;
        require(entry.order.status == OrderStatus::Active, "the order is active")?;
        require(now <= entry.consensus.consensus_timeout, "there is time")?;
        require(is_subscribed, "the worker is of the pool")?;
        let contribution = entry.contributions.entry(worker).or_default();
        require(
            contribution.status == ContributionStatus::Unset,
            "the worker has no part yet",
        )?;
        contribution.status = ContributionStatus::Authorized;
        events.push(Event::AllowWorkerToContribute { woid, worker, score });
        Ok(())
    }

    fn contribute(
        &mut self,
        worker: Address,
        woid: Address,
        result_hash: Hash,
        result_sign: Hash,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Done {
        let score = self.scores.get(&worker).copied().unwrap_or(0);
        let entry = self.entry(woid)?;
        require(now <= entry.consensus.consensus_timeout, "there is time")?;
        require(entry.order.status == OrderStatus::Active, "the order is active")?;
        require(
            result_hash != Hash::ZERO && result_sign != Hash::ZERO,
            "there is a result",
        )?;
        let contribution = entry.contributions.entry(worker).or_default();
        require(
            contribution.status == ContributionStatus::Authorized,
            "the worker is allowed",
        )?;
        *contribution = Contribution {
            status: ContributionStatus::Contributed,
            result_hash,
            result_sign,
            score,
            weight: 0,
        };
        entry.contributors.push(worker);
        let stake = entry.consensus.stake_amount;
        self.lock(worker, stake)?;
        events.push(Event::Contribute {
            woid,
            worker,
            result_hash,
        });
        Ok(())
    }

    fn reveal_consensus(
        &mut self,
        woid: Address,
        consensus: Hash,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Done {
        let period_s = self.period_s(woid)?;
        let entry = self.entry(woid)?;
        require(now <= entry.consensus.consensus_timeout, "there is time")?;
        require(entry.order.status == OrderStatus::Active, "the order is active")?;
        let contributions = entry.contributions.values();
        let has_won = |contribution: &&Contribution| {
            contribution.result_hash == consensus && contribution.status == ContributionStatus::Contributed
        };
        let winners = contributions.filter(has_won).count() as u64;
        require(winners > 0, "somebody has contributed it")?;
        entry.order.status = OrderStatus::Revealing;
        entry.consensus.winner_count = winners;
        entry.consensus.consensus = consensus;
        entry.consensus.reveal_date = Timestamp(now.0 + period_s * REVEAL_PERIODS);
        events.push(Event::RevealConsensus { woid, consensus });
        Ok(())
    }

    fn reveal(
        &mut self,
        worker: Address,
        woid: Address,
        result: Hash,
        now: Timestamp,
        events: &mut Vec<Event>,
    ) -> Done {
        let entry = self.entry(woid)?;
        require(now <= entry.consensus.consensus_timeout, "there is time")?;
        require(
            entry.order.status == OrderStatus::Revealing,
            "it is time to reveal",
        )?;
        require(entry.consensus.reveal_date > now, "there is time to reveal")?;
        let contribution = entry.contributions.entry(worker).or_default();
        require(
            contribution.status == ContributionStatus::Contributed,
            "the worker has contributed",
        )?;
        require(
            contribution.result_hash == entry.consensus.consensus,
            "it has won",
        )?;
        require(
            contribution.result_hash == result_hash(result),
            "it is the result",
        )?;
        require(
            contribution.result_sign == Commitment::of(result, worker).sign,
            "it is the worker's",
        )?;
        contribution.status = ContributionStatus::Proved;
        entry.consensus.reveal_counter += 1;
        events.push(Event::Reveal { woid, worker, result });
        Ok(())
    }

    fn reopen(&mut self, woid: Address, now: Timestamp, events: &mut Vec<Event>) -> Done {
        let entry = self.entry(woid)?;
        let consensus = &mut entry.consensus;
        require(now <= consensus.consensus_timeout, "there is time")?;
        require(
            consensus.reveal_date <= now && consensus.reveal_counter == 0,
            "nobody has revealed",
        )?;
        require(
            entry.order.status == OrderStatus::Revealing,
            "it was time to reveal",
        )?;
        entry.order.status = OrderStatus::Active;
        for worker in &entry.contributors {
            let contribution = entry.contributions.entry(*worker).or_default();
            if contribution.result_hash == consensus.consensus {
                contribution.status = ContributionStatus::Rejected;
            }
        }
        consensus.winner_count = 0;
        consensus.consensus = Hash::ZERO;
        consensus.reveal_date = Timestamp(0);
        events.push(Event::Reopen { woid });
        Ok(())
    }

    fn finalize(&mut self, woid: Address, texts: Texts, now: Timestamp, events: &mut Vec<Event>) -> Done {
        let entry = self.entry(woid)?.clone();
        let consensus = &entry.consensus;
        require(now <= consensus.consensus_timeout, "there is time")?;
        let is_partial = consensus.reveal_date <= now && consensus.reveal_counter > 0;
        require(
            is_partial || consensus.reveal_counter == consensus.winner_count,
            "enough have revealed",
        )?;
        let contributors: Vec<(Address, Contribution)> = entry
            .contributors
            .iter()
            .map(|worker| (*worker, entry.contributions[worker]))
            .collect();
        let split = split(
            consensus.pool_reward,
            consensus.stake_amount,
            consensus.scheduler_reward_ratio,
            &contributors,
        );
        let split = split.ok_or(Revert::Require("somebody has revealed"))?;
        // In the order in which they came, be they right or wrong: so the contract goes through them.
        let rewards: BTreeMap<Address, Rlc> = split.rewards.into_iter().collect();
        for (worker, contribution) in contributors {
            match rewards.get(&worker) {
                Some(reward) => {
                    self.unlock(worker, consensus.stake_amount)?;
                    self.reward(worker, *reward, events);
                    self.history.0 += 1;
                    *self.scores.entry(worker).or_default() += 1;
                    let paid = self.entry(woid)?.contributions.entry(worker).or_default();
                    paid.weight = weight(contribution.score, false);
                    events.push(Event::AccurateContribution { woid, worker });
                }
                None => {
                    self.seize(worker, consensus.stake_amount, events)?;
                    self.history.1 += 1;
                    let score = self.scores.entry(worker).or_default();
                    *score = score.saturating_sub(SCORE_SLASHED);
                    events.push(Event::FaultyContribution { woid, worker });
                }
            }
        }
        self.reward(self.pool_owner, split.pool, events);
        require(
            entry.order.status == OrderStatus::Revealing,
            "it was time to reveal",
        )?;
        let app = self.apps.get(&entry.order.app).copied();
        let dataset = self.datasets.get(&entry.order.dataset).copied();
        for paid in app.into_iter().chain(dataset).filter(|paid| paid.price > Rlc(0)) {
            self.reward(paid.owner, paid.price, events);
        }
        let value = consensus.pool_reward;
        self.seize(entry.order.requester, value.plus(entry.order.emitcost), events)?;
        self.unlock(self.pool_owner, value.percent(ASK_STAKE_PERCENT))?;
        let kitty = self
            .accounts
            .get(&self.address)
            .copied()
            .unwrap_or_default()
            .locked;
        if kitty > Rlc(0) {
            let bonus = kitty_bonus(kitty);
            self.seize(self.address, bonus, events)?;
            self.reward(self.pool_owner, bonus, events);
        }
        let entry = self.entry(woid)?;
        entry.order.status = OrderStatus::Completed;
        entry.texts = texts.clone();
        let Texts { stdout, stderr, uri } = texts;
        events.push(Event::FinalizeWork {
            woid,
            stdout,
            stderr,
            uri,
        });
        Ok(())
    }

    fn claim(&mut self, sender: Address, woid: Address, now: Timestamp, events: &mut Vec<Event>) -> Done {
        let entry = self.entry(woid)?.clone();
        require(entry.order.requester == sender, "the sender has bought it")?;
        let is_open = matches!(entry.order.status, OrderStatus::Active | OrderStatus::Revealing);
        require(is_open, "the order is open")?;
        require(now > entry.consensus.consensus_timeout, "its time has passed")?;
        for worker in &entry.contributors {
            self.unlock(*worker, entry.consensus.stake_amount)?;
        }
        events.push(Event::WorkOrderClaimed { woid });
        let value = entry.consensus.pool_reward;
        let stake = value.percent(ASK_STAKE_PERCENT);
        self.unlock(sender, value.plus(entry.order.emitcost))?;
        self.seize(self.pool_owner, stake, events)?;
        self.reward(self.address, stake, events);
        self.lock(self.address, stake)?;
        self.entry(woid)?.order.status = OrderStatus::Claimed;
        Ok(())
    }

    fn entry(&mut self, woid: Address) -> Result<&mut OrderEntry, Revert> {
        self.orders
            .get_mut(&woid)
            .ok_or(Revert::Require("the order exists"))
    }

    fn period_s(&self, woid: Address) -> Result<u64, Revert> {
        let entry = self
            .orders
            .get(&woid)
            .ok_or(Revert::Require("the order exists"))?;
        let offer = self.offer(entry.order.market_order).expect("it was bought of it");
        Ok(self.categories[&offer.category].period_s)
    }
}
