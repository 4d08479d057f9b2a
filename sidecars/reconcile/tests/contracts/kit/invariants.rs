//! What holds after each scenario, whatever it did.

use std::collections::{BTreeMap, BTreeSet};

use sidecars_reconcile::core::ledger::split;
use sidecars_reconcile::core::order::State;
use wire_chain::reading::{self, Parts};
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{
    ASK_STAKE_PERCENT, Address, Consensus, Contribution, ContributionStatus, Hash, MarketStatus, NOBODY,
    OrderStatus, Rlc, Views,
};

use super::member::Member;
use super::pool::Pool;

/// I6: how an order ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Ending {
    Completed,
    Claimed,
    /// Its time has passed, and nobody has claimed.
    Unclaimed,
    /// By a reorganisation.
    Cancelled,
}

impl Pool {
    /// Runs until nothing more happens, and checks how orders ended, in whatever order, and all invariants.
    pub(crate) async fn end(&mut self, expected: &[Ending]) {
        self.until("all bought", async |pool| pool.orders.len() >= expected.len())
            .await;
        let mut endings = self.settle(160).await;
        let mut expected = expected.to_vec();
        endings.sort();
        expected.sort();
        assert_eq!(endings, expected);
    }

    /// Runs until nothing more happens, for so many blocks at most; checks all invariants, and tells how orders ended.
    pub(crate) async fn settle(&mut self, blocks: usize) -> Vec<Ending> {
        let mut quiet = 0;
        for _ in 0..blocks {
            if !self.is_running() {
                self.start().await;
            }
            let is_quiet = self.brain().lane().is_idle() && self.are_over().await;
            quiet = if is_quiet { quiet + 1 } else { 0 };
            if quiet > 2 {
                break;
            }
            self.round().await;
        }
        let lane = self.brain().lane();
        assert!(
            quiet > 2,
            "it never ends: {:?} {:?} {lane:?}",
            self.over,
            self.said.last()
        );
        self.check().await;
        self.check_arithmetic().await;
        self.endings().await
    }

    async fn are_over(&self) -> bool {
        let head = self.head_time().await;
        let final_s = self.settings.observe.final_after.unwrap_or(4);
        for order in &self.orders {
            let is_over = match self.over.get(order) {
                Some(_) => true,
                None => {
                    let consensus = self.consensus(order.woid).await;
                    let is_late = consensus.consensus_timeout.0 + final_s < head;
                    let is_another = !self.is_in_the_chain(order.woid, order.fingerprint).await;
                    is_another || (is_late && self.status(order.woid).await != OrderStatus::Claimed)
                }
            };
            if !is_over {
                return false;
            }
        }
        true
    }

    async fn head_time(&self) -> u64 {
        let head = self.devnet.node().head().await.found();
        head.expect("an answer").expect("a block").timestamp.0
    }

    async fn is_in_the_chain(&self, woid: Address, fingerprint: Hash) -> bool {
        let mut orders = self.devnet.node().work_orders(&[woid], At::Latest).await;
        let order = orders.remove(0).found().expect("an answer");
        order.is_some_and(|order| order.fingerprint() == fingerprint)
    }

    /// I6: every order ended in one of four ways.
    async fn endings(&self) -> Vec<Ending> {
        let mut endings = Vec::new();
        for order in &self.orders {
            let status = self.status(order.woid).await;
            let is_here = self.is_in_the_chain(order.woid, order.fingerprint).await;
            endings.push(match (self.over.get(order), is_here) {
                (Some(State::Final), true) => {
                    assert_eq!(status, OrderStatus::Completed);
                    Ending::Completed
                }
                (Some(State::Claimed), true) => {
                    assert_eq!(status, OrderStatus::Claimed);
                    Ending::Claimed
                }
                (Some(State::Cancelled | State::Replaced) | None, false) => Ending::Cancelled,
                (None, true) => Ending::Unclaimed,
                other => panic!("I6: {order:?} ended as {other:?}"),
            });
        }
        endings
    }

    /// I1, I2, I4.
    pub(crate) async fn check(&mut self) {
        self.journal.read(&self.devnet).await;
        let transactions = self.journal.mined_now();
        let mut effective = BTreeSet::new();
        for receipt in self.devnet.node().receipts(&transactions).await {
            let receipt = receipt.found().expect("an answer").expect("it is mined");
            if receipt.succeeded {
                effective.insert(receipt.transaction);
            }
        }
        self.journal.check(&effective);
        self.check_money().await;
    }

    /// I1: what all accounts have is what the hub holds. I2: everything that is locked is explained.
    async fn check_money(&self) {
        let contracts = self.devnet.contracts();
        let accounts = self.accounts();
        let balances = self.devnet.node().balances(&accounts, At::Latest).await;
        let balances: BTreeMap<Address, (Rlc, Rlc)> = accounts
            .iter()
            .zip(balances)
            .map(|(who, balance)| {
                let balance = balance.found().expect("an answer").expect("a balance");
                (*who, (balance.stake, balance.locked))
            })
            .collect();
        let sum = balances
            .values()
            .fold(Rlc(0), |sum, (stake, locked)| sum.plus(*stake).plus(*locked));
        let held = self.devnet.node().rlc(contracts.hub, At::Latest).await;
        assert_eq!(
            held.found(),
            Ok(Some(sum)),
            "I1: the hub holds what accounts have"
        );
        let explained = self.explained().await;
        for (who, (_, locked)) in &balances {
            let expected = explained.get(who).copied().unwrap_or_default();
            if *who == contracts.hub {
                assert!(*locked <= expected, "I2: the kitty has {locked} of {expected}");
            } else {
                assert_eq!(*locked, expected, "I2: what {who} has locked is explained");
            }
        }
    }

    /// What everybody has at the hub from now on counts as deposited.
    pub(crate) async fn remember_deposits(&mut self) {
        self.deposits.clear();
        for who in self.accounts() {
            let balance = self.balance_of(who).await;
            self.deposits.insert(who, balance.stake.plus(balance.locked));
        }
    }

    fn accounts(&self) -> Vec<Address> {
        let wallets = self.devnet.wallets().iter().map(|wallet| wallet.address());
        let hub = self.devnet.contracts().hub;
        wallets
            .chain([hub])
            .chain(self.requesters.iter().copied())
            .collect()
    }

    /// What everybody has is what was deposited, and what the contracts' arithmetic makes of the orders that ended. The
    /// kitty goes to whoever finalizes, and there is one pool: both are taken together.
    async fn check_arithmetic(&self) {
        let pool_owner = self.devnet.scheduler().address();
        let hub = self.devnet.contracts().hub;
        let mut expected: BTreeMap<Address, i128> = BTreeMap::new();
        for (who, amount) in &self.deposits {
            *expected.entry(*who).or_default() += signed(*amount);
        }
        for woid in self.woids() {
            let Some(views) = self.views(woid).await else {
                continue;
            };
            if views.order.status != OrderStatus::Completed {
                continue;
            }
            let Consensus {
                pool_reward,
                stake_amount,
                scheduler_reward_ratio,
                ..
            } = views.consensus;
            let has_contributed =
                |part: &&(Address, Contribution)| part.1.status > ContributionStatus::Authorized;
            let contributors: Vec<_> = views
                .contributions
                .iter()
                .filter(has_contributed)
                .copied()
                .collect();
            let split = split(pool_reward, stake_amount, scheduler_reward_ratio, &contributors);
            let split = split.expect("it is completed, so somebody has revealed");
            let mut add = |who: Address, amount: i128| *expected.entry(who).or_default() += amount;
            for (worker, reward) in split.rewards {
                add(worker, signed(reward));
            }
            for worker in split.seized {
                add(worker, -signed(stake_amount));
            }
            add(pool_owner, signed(split.pool));
            add(self.devnet.owner().address(), signed(views.order.emitcost));
            add(
                views.order.requester,
                -signed(pool_reward.plus(views.order.emitcost)),
            );
        }
        let kitty = expected.remove(&hub).unwrap_or_default();
        *expected.entry(pool_owner).or_default() += kitty;
        for (who, expected) in expected {
            let mut balance = self.balance_of(who).await;
            if who == pool_owner {
                let kitty = self.balance_of(hub).await;
                balance.locked = balance.locked.plus(kitty.stake).plus(kitty.locked);
            }
            let has = signed(balance.stake.plus(balance.locked));
            assert_eq!(has, expected, "what {who} has follows from what was done");
        }
    }

    fn woids(&self) -> BTreeSet<Address> {
        self.orders.iter().map(|order| order.woid).collect()
    }

    async fn views(&self, woid: Address) -> Option<Views> {
        let head = self.devnet.node().head().await.found();
        let at = head.expect("an answer").expect("a block").at;
        let workers: Vec<Address> = self.members.iter().map(Member::address).collect();
        let views = reading::views(self.devnet.node(), at, woid, Parts::AllAnd(&workers)).await;
        views.known().cloned()
    }

    /// Locked by open offers, orders that were not ended, and subscriptions; what claims ever brought the kitty.
    async fn explained(&self) -> BTreeMap<Address, Rlc> {
        let mut locked: BTreeMap<Address, Rlc> = BTreeMap::new();
        let mut add = |who: Address, amount: Rlc| {
            let sum = locked.entry(who).or_default();
            *sum = sum.plus(amount);
        };
        let node = self.devnet.node();
        let pool_owner = self.devnet.scheduler().address();
        let mut offer = 1;
        while let Ok(Some(Seen::MarketOrder(offered))) = node
            .look(View::MarketOrder { id: offer }, At::Latest)
            .await
            .found()
        {
            if offered.status == MarketStatus::Ask {
                let stake = offered.value.percent(ASK_STAKE_PERCENT);
                add(
                    offered.workerpool_owner,
                    stake.times(u128::from(offered.remaining)),
                );
            }
            offer += 1;
        }
        for woid in self.woids() {
            let Some(views) = self.views(woid).await else {
                continue;
            };
            let value = views.consensus.pool_reward;
            match views.order.status {
                OrderStatus::Active | OrderStatus::Revealing => {
                    add(pool_owner, value.percent(ASK_STAKE_PERCENT));
                    add(views.order.requester, value.plus(views.order.emitcost));
                    for (worker, part) in &views.contributions {
                        if part.status > ContributionStatus::Authorized {
                            add(*worker, views.consensus.stake_amount);
                        }
                    }
                }
                OrderStatus::Claimed => add(self.devnet.contracts().hub, value.percent(ASK_STAKE_PERCENT)),
                OrderStatus::Unset | OrderStatus::Completed => {}
            }
        }
        for member in &self.members {
            let mut all = node.affiliations(&[member.address()], At::Latest).await;
            let affiliation = all.remove(0).found().expect("an answer").expect("a worker");
            if affiliation.pool != NOBODY {
                add(member.address(), Rlc(10));
            }
        }
        locked
    }

    /// The pool's transactions that took effect, in their order.
    pub(crate) async fn effects(&self) -> Vec<String> {
        let mut steps = self.steps().await;
        steps.retain(|step| !step.ends_with('!') && step != "Nothing");
        steps
    }

    /// The pool's transactions in the chain, in their order, by the names of their functions; those in vain with a `!`.
    pub(crate) async fn steps(&self) -> Vec<String> {
        let transactions = self.journal.mined_now();
        let receipts = self.devnet.node().receipts(&transactions).await;
        let step = |(hash, receipt): (&Hash, wire_chain::Answer<wire_hub::Receipt>)| {
            let receipt = receipt.found().expect("an answer").expect("it is mined");
            let name = self.journal.name(*hash);
            if receipt.succeeded {
                name
            } else {
                format!("{name}!")
            }
        };
        transactions.iter().zip(receipts).map(step).collect()
    }
}

fn signed(amount: Rlc) -> i128 {
    i128::try_from(amount.0).expect("there are so few")
}
