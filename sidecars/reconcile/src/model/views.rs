//! What the views answer, and what must always hold.

use std::collections::BTreeMap;

use wire_hub::{
    ASK_STAKE_PERCENT, Address, Affiliation, Answer, Balance, ContributionStatus, MarketOrder, MarketStatus,
    NOBODY, OrderStatus, Person, Rlc, Views,
};

use super::hub::Hub;

impl Hub {
    /// What there is of an order.
    #[must_use]
    pub fn views(&self, woid: Address) -> Answer<Views> {
        let Some(entry) = self.orders.get(&woid) else {
            return Answer::Absent;
        };
        let market = self.offer(entry.order.market_order).expect("it was bought of it");
        let contributed = entry.contributors.iter().copied();
        let others = entry.contributions.keys().copied();
        let others = others.filter(|worker| !entry.contributors.contains(worker));
        let part = |worker: Address| (worker, entry.contributions[&worker]);
        Answer::Known(Views {
            order: entry.order.clone(),
            market,
            category: self.categories[&market.category].clone(),
            consensus: entry.consensus,
            contributions: contributed.chain(others).map(part).collect(),
            is_callback_done: entry.is_callback_done,
        })
    }

    /// What there is of somebody.
    #[must_use]
    pub fn person(&self, address: Address) -> Person {
        let pool = if self.subscribed.contains(&address) {
            self.pool
        } else {
            NOBODY
        };
        Person {
            affiliation: Affiliation {
                pool,
                score: self.scores.get(&address).copied().unwrap_or(0),
            },
            balance: self.balance(address),
        }
    }

    /// What somebody has at the hub.
    #[must_use]
    pub fn balance(&self, address: Address) -> Balance {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// RLC of somebody that is no stake.
    #[must_use]
    pub fn rlc(&self, of: Address) -> Rlc {
        self.tokens.get(&of).copied().unwrap_or_default()
    }

    /// All offers ever made.
    #[must_use]
    pub fn offers(&self) -> &[MarketOrder] {
        &self.offers
    }

    /// All orders ever bought.
    pub fn orders(&self) -> impl Iterator<Item = Address> {
        self.orders.keys().copied()
    }

    /// Contributions that were right and wrong, ever.
    #[must_use]
    pub fn history(&self) -> (u64, u64) {
        self.history
    }

    /// What is locked by what there is: offers, orders, subscriptions; and the kitty.
    #[must_use]
    pub fn explained(&self) -> BTreeMap<Address, Rlc> {
        let mut locked: BTreeMap<Address, Rlc> = BTreeMap::new();
        let mut add = |who: Address, amount: Rlc| {
            let sum = locked.entry(who).or_default();
            *sum = sum.plus(amount);
        };
        for offer in self
            .offers
            .iter()
            .filter(|offer| offer.status == MarketStatus::Ask)
        {
            let stake = offer.value.percent(ASK_STAKE_PERCENT);
            add(offer.workerpool_owner, stake.times(u128::from(offer.remaining)));
        }
        let mut kitty = Rlc(0);
        for entry in self.orders.values() {
            let value = entry.consensus.pool_reward;
            match entry.order.status {
                OrderStatus::Active | OrderStatus::Revealing => {
                    add(self.pool_owner, value.percent(ASK_STAKE_PERCENT));
                    add(entry.order.requester, value.plus(entry.order.emitcost));
                    let has_locked = |status| status > ContributionStatus::Authorized;
                    for (worker, contribution) in &entry.contributions {
                        if has_locked(contribution.status) {
                            add(*worker, entry.consensus.stake_amount);
                        }
                    }
                }
                OrderStatus::Claimed => kitty = kitty.plus(value.percent(ASK_STAKE_PERCENT)),
                OrderStatus::Unset | OrderStatus::Completed => {}
            }
        }
        for worker in &self.subscribed {
            add(*worker, self.policy.subscription_lock_stake);
        }
        // What was paid out of the kitty is gone from it; that it never grows otherwise is all that can be said.
        let has = self.balance(self.address).locked;
        assert!(has <= kitty, "the kitty has {has} of {kitty}");
        add(self.address, has);
        locked
    }

    /// Asserts I1 and I2 of the acceptance scenarios.
    ///
    /// # Panics
    /// If a coin was made or lost, or is locked for nothing.
    pub fn sanity_check(&self) {
        let sum = self.accounts.values().fold(Rlc(0), |sum, account| {
            sum.plus(account.stake).plus(account.locked)
        });
        assert_eq!(sum, self.held, "I1: what accounts have is what the hub holds");
        let explained = self.explained();
        for (who, account) in &self.accounts {
            let expected = explained.get(who).copied().unwrap_or_default();
            assert_eq!(account.locked, expected, "I2: what {who} has locked is explained");
        }
    }
}
