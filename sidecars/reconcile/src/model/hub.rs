//! Money, subscriptions and offers.

use std::collections::BTreeMap;

use wire_hub::{
    ASK_STAKE_PERCENT, Address, Balance, Call, Category, Event, MarketOrder, MarketStatus, NOBODY, Policy,
    Rlc, Timestamp,
};

use super::orders::OrderEntry;

/// All contracts of a marketplace with one pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hub {
    /// The hub's address; the kitty is what it has locked.
    pub address: Address,
    /// The pool's contract.
    pub pool: Address,
    /// Whose it is.
    pub pool_owner: Address,
    /// What it asks and gives.
    pub policy: Policy,
    pub(super) categories: BTreeMap<u64, Category>,
    pub(super) apps: BTreeMap<Address, App>,
    pub(super) datasets: BTreeMap<Address, App>,
    /// RLC that nobody has staked.
    pub(super) tokens: BTreeMap<Address, Rlc>,
    /// What the hub may take of it.
    allowances: BTreeMap<Address, Rlc>,
    pub(super) accounts: BTreeMap<Address, Balance>,
    /// RLC of the hub itself.
    pub(super) held: Rlc,
    pub(super) scores: BTreeMap<Address, u64>,
    pub(super) subscribed: Vec<Address>,
    /// Contributions that were right and wrong, ever.
    pub(super) history: (u64, u64),
    /// From number 1.
    pub(super) offers: Vec<MarketOrder>,
    pub(super) orders: BTreeMap<Address, OrderEntry>,
    /// Contracts that the hub has made.
    pub(super) created: u64,
}

/// An app, or a dataset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct App {
    /// Who is paid.
    pub owner: Address,
    /// How much each time.
    pub price: Rlc,
}

/// Why a call does not take effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revert {
    /// A `require`: costs what it took up to there.
    Require(&'static str),
    /// An `assert`: burns nearly all of the gas limit. Too little stake.
    Assert(&'static str),
}

pub(super) type Done = Result<(), Revert>;

impl Hub {
    /// The hub's own address.
    pub const ADDRESS: Address = Address([0xdd; 20]);

    /// The pool's.
    pub const POOL: Address = Address([0xaa; 20]);

    /// A marketplace with a pool, categories with these periods, and apps.
    #[must_use]
    pub fn new(pool_owner: Address, policy: Policy, periods_s: &[u64], apps: &[(Address, App)]) -> Self {
        let category = |(id, period_s): (u64, &u64)| {
            let name = format!("category {id}");
            let period_s = *period_s;
            (id, Category { id, name, period_s })
        };
        Self {
            address: Self::ADDRESS,
            pool: Self::POOL,
            pool_owner,
            policy,
            categories: (1..).zip(periods_s).map(category).collect(),
            apps: apps.iter().copied().collect(),
            datasets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            allowances: BTreeMap::new(),
            accounts: BTreeMap::new(),
            held: Rlc(0),
            scores: BTreeMap::new(),
            subscribed: Vec::new(),
            history: (0, 0),
            offers: Vec::new(),
            orders: BTreeMap::new(),
            created: 0,
        }
    }

    /// Registers a dataset. No app is one.
    pub fn add_dataset(&mut self, address: Address, dataset: App) {
        self.datasets.insert(address, dataset);
    }

    /// Gives somebody RLC out of nowhere.
    pub fn mint(&mut self, to: Address, amount: Rlc) {
        let tokens = self.tokens.entry(to).or_default();
        *tokens = tokens.plus(amount);
    }

    /// Calls a contract, in a block of this time. What does not take effect changes nothing.
    ///
    /// # Errors
    /// The first requirement that is not met.
    pub fn call(&mut self, sender: Address, call: &Call, now: Timestamp) -> Result<Vec<Event>, Revert> {
        let mut next = self.clone();
        let mut events = Vec::new();
        next.apply(sender, call, now, &mut events)?;
        *self = next;
        Ok(events)
    }

    fn apply(&mut self, sender: Address, call: &Call, now: Timestamp, events: &mut Vec<Event>) -> Done {
        match call {
            Call::Approve { amount } => {
                self.allowances.insert(sender, *amount);
                Ok(())
            }
            Call::Deposit { amount } => self.deposit(sender, *amount),
            Call::Withdraw { amount } => self.withdraw(sender, *amount),
            Call::CreateWorkerPool { .. } => Err(Revert::Require("the model has one pool")),
            Call::ChangeWorkerPoolPolicy { policy } => {
                self.only_owner(sender)?;
                require(policy.scheduler_reward_ratio <= 100, "the pool keeps at most all")?;
                let subscription_lock_stake = self.policy.subscription_lock_stake;
                self.policy = Policy {
                    subscription_lock_stake,
                    ..*policy
                };
                events.push(Event::WorkerPoolPolicyUpdate);
                Ok(())
            }
            Call::CreateMarketOrder {
                category,
                trust,
                value,
                volume,
            } => {
                require(self.categories.contains_key(category), "the category exists")?;
                require(*volume > 0, "the volume is positive")?;
                self.only_owner(sender)?;
                self.lock(
                    sender,
                    value.percent(ASK_STAKE_PERCENT).times(u128::from(*volume)),
                )?;
                let id = self.offers.len() as u64 + 1;
                self.offers.push(MarketOrder {
                    id,
                    status: MarketStatus::Ask,
                    category: *category,
                    trust: *trust,
                    value: *value,
                    volume: *volume,
                    remaining: *volume,
                    workerpool: self.pool,
                    workerpool_owner: sender,
                });
                events.push(Event::MarketOrderCreated { market_order: id });
                Ok(())
            }
            Call::CloseMarketOrder { market_order } => self.close_offer(sender, *market_order, events),
            Call::SubscribeToPool => self.subscribe(sender, events),
            Call::UnsubscribeFromPool => {
                self.leave(sender)?;
                events.push(Event::WorkerUnsubscribe { worker: sender });
                Ok(())
            }
            Call::EvictWorker { worker } => {
                self.only_owner(sender)?;
                self.leave(*worker)?;
                events.push(Event::WorkerEviction { worker: *worker });
                Ok(())
            }
            of_order => self.apply_to_order(sender, of_order, now, events),
        }
    }

    fn deposit(&mut self, who: Address, amount: Rlc) -> Done {
        let allowed = self.allowances.entry(who).or_default();
        require(*allowed >= amount, "the hub may take it")?;
        *allowed = allowed.less(amount);
        let tokens = self.tokens.entry(who).or_default();
        require(*tokens >= amount, "it is there")?;
        *tokens = tokens.less(amount);
        self.held = self.held.plus(amount);
        let account = self.accounts.entry(who).or_default();
        account.stake = account.stake.plus(amount);
        Ok(())
    }

    fn withdraw(&mut self, who: Address, amount: Rlc) -> Done {
        let account = self.accounts.entry(who).or_default();
        assert_that(account.stake >= amount, "it is free")?;
        account.stake = account.stake.less(amount);
        self.held = self.held.less(amount);
        self.mint(who, amount);
        Ok(())
    }

    fn close_offer(&mut self, sender: Address, id: u64, events: &mut Vec<Event>) -> Done {
        let offer = self.offer(id).ok_or(Revert::Require("the offer exists"))?;
        require(offer.status == MarketStatus::Ask, "the offer is open")?;
        require(offer.workerpool_owner == sender, "the sender has made it")?;
        let stake = offer
            .value
            .percent(ASK_STAKE_PERCENT)
            .times(u128::from(offer.remaining));
        self.unlock(sender, stake)?;
        self.offers[id as usize - 1].status = MarketStatus::Closed;
        events.push(Event::MarketOrderClosed { market_order: id });
        Ok(())
    }

    fn subscribe(&mut self, worker: Address, events: &mut Vec<Event>) -> Done {
        self.lock(worker, self.policy.subscription_lock_stake)?;
        let stake = self.accounts.get(&worker).copied().unwrap_or_default().stake;
        require(
            stake >= self.policy.subscription_minimum_stake,
            "the stake is enough",
        )?;
        let score = self.scores.get(&worker).copied().unwrap_or(0);
        require(
            score >= self.policy.subscription_minimum_score,
            "the score is enough",
        )?;
        require(!self.subscribed.contains(&worker), "the worker has no pool")?;
        self.subscribed.push(worker);
        events.push(Event::WorkerSubscribe { worker });
        Ok(())
    }

    fn leave(&mut self, worker: Address) -> Done {
        self.unlock(worker, self.policy.subscription_lock_stake)?;
        require(self.subscribed.contains(&worker), "the worker is of the pool")?;
        self.subscribed.retain(|subscribed| *subscribed != worker);
        Ok(())
    }

    pub(super) fn only_owner(&self, sender: Address) -> Done {
        require(sender == self.pool_owner, "the sender owns the pool")
    }

    pub(super) fn offer(&self, id: u64) -> Option<MarketOrder> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.offers.get(index).copied()
    }

    pub(super) fn lock(&mut self, who: Address, amount: Rlc) -> Done {
        let account = self.accounts.entry(who).or_default();
        assert_that(account.stake >= amount, "the stake is free")?;
        account.stake = account.stake.less(amount);
        account.locked = account.locked.plus(amount);
        Ok(())
    }

    pub(super) fn unlock(&mut self, who: Address, amount: Rlc) -> Done {
        let account = self.accounts.entry(who).or_default();
        assert_that(account.locked >= amount, "it is locked")?;
        account.locked = account.locked.less(amount);
        account.stake = account.stake.plus(amount);
        Ok(())
    }

    pub(super) fn reward(&mut self, user: Address, amount: Rlc, events: &mut Vec<Event>) {
        let account = self.accounts.entry(user).or_default();
        account.stake = account.stake.plus(amount);
        events.push(Event::Reward { user, amount });
    }

    pub(super) fn seize(&mut self, user: Address, amount: Rlc, events: &mut Vec<Event>) -> Done {
        let account = self.accounts.entry(user).or_default();
        assert_that(account.locked >= amount, "it is locked")?;
        account.locked = account.locked.less(amount);
        events.push(Event::Seize { user, amount });
        Ok(())
    }

    /// The next contract's address: by how many there were, and not by what it is. So it is another's after a
    /// reorganisation.
    pub(super) fn create(&mut self) -> Address {
        self.created += 1;
        let hash = wire_hub::Hasher::default()
            .bytes(&self.address.0)
            .number(self.created)
            .finish();
        let mut address = NOBODY;
        address.0.copy_from_slice(&hash.0[12..]);
        address
    }
}

pub(super) fn require(is_met: bool, what: &'static str) -> Done {
    if is_met {
        Ok(())
    } else {
        Err(Revert::Require(what))
    }
}

pub(super) fn assert_that(is_met: bool, what: &'static str) -> Done {
    if is_met { Ok(()) } else { Err(Revert::Assert(what)) }
}
