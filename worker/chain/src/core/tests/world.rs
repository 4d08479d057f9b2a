//! A chain in memory with orders, a pool that acts on what it sees, and one worker's core, whose node loses, delays and stands
//! still, and whose process is killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire_hub::{
    Address, Affiliation, Answer, Balance, Block, BlockRef, Call, Category, Commitment, Consensus,
    Contribution, ContributionStatus, Gas, Hash, MarketOrder, MarketStatus, NOBODY, Nonce, OrderStatus,
    Person, Receipt, Rlc, Ticket, Timestamp, Trust, Views, Wei, WorkOrder, keccak, result_hash,
};
use wire_lane::{self as lane, Payload};
use wire_protocol::units::{Instant, Millis};

use super::super::*;

pub(super) const WORKER: Address = Address([1; 20]);
const HUB: Address = Address([2; 20]);
const POOL: Address = Address([3; 20]);
const STAKE: Rlc = Rlc(300);
const BLOCK_S: u64 = 10;
const PERIOD_S: u64 = 60;
const AGE_MAX_S: u64 = 60;
const FINAL_AFTER: u64 = 8;
/// Less than what is final.
const REORG_MAX: usize = 4;
const OTHER: Hash = Hash([0xee; 32]);

/// What goes wrong, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Transactions that a node loses.
    pub(super) lost: u8,
    /// Blocks that are followed by a reorganisation.
    pub(super) reorg: u8,
    /// Blocks at which the worker is killed.
    pub(super) kill: u8,
    /// Questions without an answer.
    pub(super) away: u8,
    /// Blocks at which the node begins to stand still for a while.
    pub(super) still: u8,
    /// The pool believes others.
    pub(super) outvoted: u8,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    status: OrderStatus,
    part: Contribution,
    consensus: Consensus,
}

/// What the contracts have after a block.
#[derive(Clone, Debug, Default)]
struct State {
    nonce: u64,
    free: Rlc,
    locked: Rlc,
    orders: BTreeMap<Address, Entry>,
}

struct Mined {
    block: Block,
    state: State,
    /// Transactions of the worker, and whether they took effect.
    transactions: Vec<(Hash, bool)>,
}

#[derive(Clone, Debug)]
struct Transaction {
    nonce: u64,
    payload: Payload,
    price: Wei,
}

pub(super) struct World {
    rng: fastrand::Rng,
    pub(super) faults: Faults,
    settings: Settings,
    blocks: Vec<Mined>,
    made: u64,
    rounds: u64,
    signed: BTreeMap<Hash, Transaction>,
    pool: BTreeSet<Hash>,
    core: Contributor,
    notes: BTreeMap<String, Vec<u8>>,
    events: VecDeque<Event>,
    /// Until when the node stands still, and at which block.
    still: Option<(u64, Block)>,
    orders: u8,
}

fn woid(order: u8) -> Address {
    Address([0x40 + order; 20])
}

pub(super) fn result(order: u8) -> Hash {
    keccak(&[order])
}

fn bought(order: u8) -> WorkOrder {
    WorkOrder {
        woid: woid(order),
        market_order: 1,
        workerpool: POOL,
        app: NOBODY,
        dataset: NOBODY,
        requester: Address([9; 20]),
        params: format!("order {order}"),
        callback: NOBODY,
        beneficiary: NOBODY,
        emitcost: Rlc(0),
        status: OrderStatus::Active,
    }
}

fn ticket(order: u8) -> Ticket {
    Ticket {
        chain_id: 1,
        hub: HUB,
        pool: POOL,
        woid: woid(order),
        fingerprint: bought(order).fingerprint(),
        result: None,
    }
}

impl World {
    /// So many orders, and stake for so many of them at once.
    pub(super) fn new(seed: u64, orders: u8, stakes: u128, faults: Faults) -> Self {
        let mut settings = Settings::new(1, HUB, POOL, WORKER);
        settings.block_age_s_max = AGE_MAX_S;
        settings.final_after = FINAL_AFTER;
        settings.inclusion_s = BLOCK_S;
        settings.lane.resend_after = Millis(30_000);
        settings.lane.replace_after = Millis(30_000);
        settings.patience = Millis(60_000);
        let state = State {
            free: STAKE.times(stakes),
            ..State::default()
        };
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            faults,
            settings,
            blocks: Vec::new(),
            made: 0,
            rounds: 0,
            signed: BTreeMap::new(),
            pool: BTreeSet::new(),
            core: Contributor::restore(settings, Restored::default(), Instant(0)),
            notes: BTreeMap::new(),
            events: VecDeque::new(),
            still: None,
            orders,
        };
        world.push(state, Vec::new());
        world
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.rng.u8(0..100) < percent
    }

    fn push(&mut self, state: State, transactions: Vec<(Hash, bool)>) {
        self.made += 1;
        let number = self.blocks.len() as u64;
        let block = Block {
            at: BlockRef {
                number,
                hash: keccak(&self.made.to_be_bytes()),
            },
            parent: self.blocks.last().map_or(Hash::ZERO, |last| last.block.at.hash),
            timestamp: self.time(),
            base_fee: Some(Wei(10)),
        };
        self.blocks.push(Mined {
            block,
            state,
            transactions,
        });
    }

    /// The time of the next block, and the worker's clock.
    fn time(&self) -> Timestamp {
        Timestamp(1_000_000 + self.rounds * BLOCK_S)
    }

    fn now(&self) -> Now {
        Now {
            instant: Instant(0) + Millis(self.rounds * BLOCK_S * 1_000),
            unix_s: self.time().0,
        }
    }

    fn tip(&self) -> &Mined {
        self.blocks.last().expect("the first is never taken")
    }

    /// A block, what the worker sees of it, and what goes wrong.
    pub(super) fn round(&mut self) {
        self.rounds += 1;
        self.mine();
        if self.chance(self.faults.reorg) {
            self.reorganise();
        }
        if self.chance(self.faults.kill) {
            self.restart();
        }
        for order in 0..self.orders {
            let at = 3 + 2 * u64::from(order);
            if self.rounds == at {
                let (ticket, result) = (ticket(order), result(order));
                self.events.push_back(Event::Computed { ticket, result });
            }
        }
        let head = match self.still {
            Some((until, head)) if self.rounds < until => head,
            _ => self.tip().block,
        };
        self.still = self.still.filter(|(until, _)| self.rounds < *until);
        if self.still.is_none() && self.chance(self.faults.still) {
            self.still = Some((self.rounds + self.rng.u64(2..12), head));
        }
        self.events.push_back(Event::Head(head));
        self.settle();
        self.events.push_back(Event::Tick);
        self.settle();
    }

    /// The worker is killed; what was not durable is gone.
    fn restart(&mut self) {
        self.events.clear();
        let notes = self.notes.iter();
        let notes = notes.map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(&self.settings, notes).expect("notes of its own");
        self.core = Contributor::restore(self.settings, restored, self.now().instant);
        for order in 0..self.orders {
            // The engine gives works out again whose results it has not heard of.
            let is_noted = self.notes.contains_key(&order_note(&ticket(order), Hash::ZERO).0);
            let is_computed = self.rounds > 3 + 2 * u64::from(order);
            let is_open = self.tip().state.orders.get(&woid(order));
            let is_open = is_open.is_some_and(|entry| entry.status == OrderStatus::Active);
            if is_computed && is_open && !is_noted {
                let (ticket, result) = (ticket(order), result(order));
                self.events.push_back(Event::Computed { ticket, result });
            }
        }
    }

    fn reorganise(&mut self) {
        let depth = self.rng.usize(1..=REORG_MAX).min(self.blocks.len() - 1);
        for _ in 0..depth {
            let gone = self.blocks.pop().expect("more than one");
            for (hash, _) in gone.transactions {
                if self.chance(50) {
                    self.pool.insert(hash);
                }
            }
        }
        for _ in 0..depth {
            self.mine();
        }
    }

    fn mine(&mut self) {
        let mut state = self.tip().state.clone();
        let is_pool_first = self.chance(50);
        if is_pool_first {
            self.act(&mut state);
        }
        let mut transactions = Vec::new();
        while transactions.len() < 8 {
            let of_next = self
                .pool
                .iter()
                .filter(|hash| self.signed[*hash].nonce == state.nonce);
            let Some(best) = of_next.max_by_key(|hash| self.signed[*hash].price).copied() else {
                break;
            };
            state.nonce += 1;
            let payload = self.signed[&best].payload.clone();
            let took_effect = self.apply(&mut state, &payload);
            transactions.push((best, took_effect));
        }
        self.pool.retain(|hash| self.signed[hash].nonce >= state.nonce);
        if !is_pool_first {
            self.act(&mut state);
        }
        self.push(state, transactions);
    }

    fn apply(&self, state: &mut State, payload: &Payload) -> bool {
        let now = self.time();
        let Payload::Call { call, .. } = payload else {
            return true;
        };
        let of = match call {
            Call::Contribute { woid, .. } | Call::Reveal { woid, .. } => woid,
            other => panic!("{other:?} is not for an order"),
        };
        let Some(entry) = state.orders.get_mut(of) else {
            return false;
        };
        if now > entry.consensus.consensus_timeout {
            return false;
        }
        match call {
            Call::Contribute {
                result_hash,
                result_sign,
                ..
            } => {
                let may = entry.status == OrderStatus::Active
                    && entry.part.status == ContributionStatus::Authorized
                    && state.free >= STAKE;
                if may {
                    entry.part.status = ContributionStatus::Contributed;
                    (entry.part.result_hash, entry.part.result_sign) = (*result_hash, *result_sign);
                    state.free = state.free.less(STAKE);
                    state.locked = state.locked.plus(STAKE);
                }
                may
            }
            Call::Reveal { result, .. } => {
                let may = entry.status == OrderStatus::Revealing
                    && now < entry.consensus.reveal_date
                    && entry.part.status == ContributionStatus::Contributed
                    && Commitment::of(*result, WORKER).sign == entry.part.result_sign
                    && result_hash(*result) == entry.consensus.consensus;
                if may {
                    entry.part.status = ContributionStatus::Proved;
                }
                may
            }
            _ => false,
        }
    }

    /// What requester and pool do in a block.
    fn act(&mut self, state: &mut State) {
        let now = self.time();
        for order in 0..self.orders {
            if self.rounds > 2 * u64::from(order) {
                state.orders.entry(woid(order)).or_insert_with(|| Entry {
                    status: OrderStatus::Active,
                    consensus: Consensus {
                        stake_amount: STAKE,
                        consensus_timeout: Timestamp(now.0 + 10 * PERIOD_S),
                        ..Consensus::default()
                    },
                    ..Entry::default()
                });
            }
        }
        let mut freed = 0;
        let mut seized = 0;
        let dice: Vec<(u8, bool)> = (0..self.orders)
            .map(|_| (self.rng.u8(0..100), self.chance(self.faults.outvoted)))
            .collect();
        for ((entry, (die, is_outvoted)), order) in state.orders.values_mut().zip(dice).zip(0..) {
            if now > entry.consensus.consensus_timeout {
                continue;
            }
            let mine = result_hash(result(order));
            match (entry.status, entry.part.status) {
                (OrderStatus::Active, ContributionStatus::Unset) if die < 50 => {
                    entry.part.status = ContributionStatus::Authorized;
                }
                (OrderStatus::Active, ContributionStatus::Contributed) if die < 40 => {
                    entry.status = OrderStatus::Revealing;
                    entry.consensus.consensus = if is_outvoted { OTHER } else { mine };
                    entry.consensus.reveal_date = Timestamp(now.0 + 2 * PERIOD_S);
                }
                (OrderStatus::Active, ContributionStatus::Authorized) if die < 30 && is_outvoted => {
                    entry.status = OrderStatus::Revealing;
                    entry.consensus.consensus = OTHER;
                    entry.consensus.reveal_date = Timestamp(now.0 + 2 * PERIOD_S);
                }
                (OrderStatus::Revealing, ContributionStatus::Proved) if die < 40 => {
                    entry.status = OrderStatus::Completed;
                    freed += 1;
                }
                (OrderStatus::Revealing, part) if die < 40 && entry.consensus.consensus != mine => {
                    entry.status = OrderStatus::Completed;
                    seized += u128::from(part == ContributionStatus::Contributed);
                }
                _ => {}
            }
        }
        state.free = state.free.plus(STAKE.times(freed));
        state.locked = state.locked.less(STAKE.times(freed + seized));
    }

    fn settle(&mut self) {
        while let Some(event) = self.events.pop_front() {
            let mut effects = Vec::new();
            self.core.handle(self.now(), event, &mut effects);
            for effect in effects {
                if let Some(event) = self.perform(effect) {
                    self.events.push_back(event);
                }
            }
        }
    }

    fn at(&self, at: BlockRef) -> Option<&Mined> {
        let there = self.blocks.get(usize::try_from(at.number).expect("few"))?;
        (there.block.at == at).then_some(there)
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        let is_away = self.chance(self.faults.away);
        Some(match effect {
            Effect::See { at, woid } => {
                let views = match self.at(at).filter(|_| !is_away) {
                    None => Answer::Unknown,
                    Some(mined) => mined
                        .state
                        .orders
                        .get(&woid)
                        .map_or(Answer::Absent, |entry| Answer::Known(views(woid, entry))),
                };
                let views = Box::new(views);
                Event::Seen { at, woid, views }
            }
            Effect::Meet { at } => Event::Met {
                at,
                person: match self.at(at).filter(|_| !is_away) {
                    None => Answer::Unknown,
                    Some(mined) => Answer::Known(Person {
                        affiliation: Affiliation { pool: POOL, score: 0 },
                        balance: Balance {
                            stake: mined.state.free,
                            locked: mined.state.locked,
                        },
                    }),
                },
            },
            Effect::AskPaid { woid, upto, .. } => Event::Paid {
                woid,
                upto,
                paid: Answer::Known(Paid::default()),
            },
            Effect::AskPlace(block) => Event::Placed {
                block,
                is_there: match is_away {
                    true => Answer::Unknown,
                    false => Answer::Known(self.at(block).is_some()),
                },
            },
            Effect::Note { number, key, value } => {
                match value {
                    Some(value) => drop(self.notes.insert(key, value)),
                    None => drop(self.notes.remove(&key)),
                }
                Event::Noted(number)
            }
            Effect::Lane(effect) => Event::Lane(self.perform_lane(effect, is_away)?),
            _ => return None,
        })
    }

    fn perform_lane(&mut self, effect: lane::Effect, is_away: bool) -> Option<lane::Event> {
        Some(match effect {
            lane::Effect::AskAccount(at) => {
                let tip = self.tip();
                if is_away || tip.block.at != at {
                    return None;
                }
                lane::Event::Account(lane::Account {
                    at,
                    nonce: Nonce(tip.state.nonce),
                    balance: Wei(1 << 80),
                })
            }
            lane::Effect::AskReceipt { round, hash } => {
                let answer = if is_away {
                    Answer::Unknown
                } else {
                    self.receipt(hash)
                };
                lane::Event::Receipt { round, hash, answer }
            }
            lane::Effect::Sign { nonce, payload, fees } => {
                let text = format!("{nonce:?} {payload:?} {fees:?}");
                let hash = keccak(text.as_bytes());
                let transaction = Transaction {
                    nonce: nonce.0,
                    payload,
                    price: fees.price_max(),
                };
                self.signed.insert(hash, transaction);
                let raw = hash.0.to_vec();
                lane::Event::Signed { nonce, hash, raw }
            }
            lane::Effect::Send { nonce, hash, .. } => {
                self.check_send(nonce, hash);
                let is_lost = self.chance(self.faults.lost);
                if !is_lost && self.signed[&hash].nonce >= self.tip().state.nonce {
                    self.pool.insert(hash);
                }
                let sending = if is_away {
                    lane::Sending::Unknown
                } else {
                    lane::Sending::Taken
                };
                lane::Event::Sent { hash, sending }
            }
            _ => return None,
        })
    }

    fn receipt(&self, hash: Hash) -> Answer<Receipt> {
        let found = self.blocks.iter().find_map(|mined| {
            let (_, succeeded) = mined.transactions.iter().find(|(mined, _)| *mined == hash)?;
            Some((mined.block.at, *succeeded))
        });
        found.map_or(Answer::Absent, |(block, succeeded)| {
            Answer::Known(Receipt {
                transaction: hash,
                block,
                index: 0,
                succeeded,
                gas_used: Gas(50_000),
                gas_price: Wei(10),
                logs: Vec::new(),
            })
        })
    }

    /// What is sent is durable; and what is for an order is in time, by a block that is new, and of a result that is durable.
    fn check_send(&self, nonce: Nonce, hash: Hash) {
        let key = super::super::notes::nonce_key(&self.settings, nonce);
        let kept: lane::Kept = postcard::from_bytes(&self.notes[&key]).expect("a note");
        assert!(
            kept.attempts.iter().any(|attempt| attempt.hash == hash),
            "not durable"
        );
        let Payload::Call { call, .. } = &self.signed[&hash].payload else {
            return;
        };
        let head = self.core.head().expect("it acts on one");
        let age_s = self.now().unix_s - head.timestamp.0;
        assert!(
            age_s <= AGE_MAX_S,
            "{call:?} on the word of a block that is {age_s} s old"
        );
        let (Call::Contribute { woid, .. } | Call::Reveal { woid, .. }) = call else {
            panic!("{call:?}");
        };
        let ticket = (0..self.orders).map(ticket).find(|ticket| ticket.woid == *woid);
        let (key, _) = order_note(&ticket.expect("one of ours"), Hash::ZERO);
        assert!(self.notes.contains_key(&key), "its result is not durable");
        if let Some(entry) = self.at(head.at).and_then(|mined| mined.state.orders.get(woid)) {
            let last = entry.consensus.consensus_timeout;
            assert!(head.timestamp <= last, "{call:?} after its time");
            let is_reveal = matches!(call, Call::Reveal { .. });
            let is_over =
                entry.status == OrderStatus::Revealing && head.timestamp >= entry.consensus.reveal_date;
            assert!(!(is_reveal && is_over), "a reveal after its time");
        }
    }

    /// Rounds until all is over, when nothing goes wrong any more.
    pub(super) fn finish(&mut self) {
        self.faults = Faults {
            outvoted: self.faults.outvoted,
            ..Faults::default()
        };
        self.still = None;
        for _ in 0..220 {
            self.round();
        }
    }

    /// No contribution or reveal took effect twice, few were mined in vain, and nothing is left of what is over.
    pub(super) fn check(&self) {
        let mut mined: BTreeMap<(Address, bool), (usize, usize)> = BTreeMap::new();
        for (hash, took_effect) in self.blocks.iter().flat_map(|mined| &mined.transactions) {
            let key = match &self.signed[hash].payload {
                Payload::Call {
                    call: Call::Contribute { woid, .. },
                    ..
                } => (*woid, false),
                Payload::Call {
                    call: Call::Reveal { woid, .. },
                    ..
                } => (*woid, true),
                _ => continue,
            };
            let counts = mined.entry(key).or_default();
            counts.0 += usize::from(*took_effect);
            counts.1 += 1;
        }
        for (of, (took_effect, all)) in mined {
            assert!(took_effect <= 1, "{of:?} took effect {took_effect} times");
            assert!(
                all <= 1 + super::super::judge::FAILURES_MAX as usize,
                "{of:?} was mined {all} times"
            );
        }
        assert_eq!(
            self.core.orders().count(),
            0,
            "{:?}",
            self.core.orders().collect::<Vec<_>>()
        );
        assert_eq!(self.notes.len(), 0, "{:?}", self.notes.keys());
    }

    /// How orders ended for the worker: completed, and its part.
    pub(super) fn ends(&self) -> Vec<(OrderStatus, ContributionStatus)> {
        let orders = self.tip().state.orders.values();
        orders.map(|entry| (entry.status, entry.part.status)).collect()
    }
}

fn views(woid: Address, entry: &Entry) -> Views {
    let order = bought(woid.0[0] - 0x40);
    Views {
        market: MarketOrder {
            id: 1,
            status: MarketStatus::Closed,
            category: 1,
            trust: Trust(0),
            value: Rlc(1_000),
            volume: 1,
            remaining: 0,
            workerpool: POOL,
            workerpool_owner: NOBODY,
        },
        category: Category {
            id: 1,
            name: String::new(),
            period_s: PERIOD_S,
        },
        order: WorkOrder {
            status: entry.status,
            ..order
        },
        consensus: entry.consensus,
        contributions: vec![(WORKER, entry.part)],
        is_callback_done: false,
    }
}
