//! The entrance: what happens to an event, and when the next one is due.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::row::TransactionState;
use wire_hub::{Address, Balance, Block, BlockRef, Hash, Log, Nonce, Timestamp};
use wire_protocol::units::Instant;

use super::books::Receipts;
use super::event::{Effect, Event, Settings, Worker};
use super::explaining::Explaining;
use super::notes::{self, Restored};
use super::offers::Shop;
use super::reading::Reading;
use super::rows::{self, Rows};
use crate::core::ledger::Ledger;
use crate::core::observe::{self, Follower};
use crate::core::order::{Bag, Book, Identity, Intended, Job, Outcome, Texts};
use crate::core::plan::Step;
use wire_lane as lane;
use wire_lane::{Intent, IntentId, Lane};

/// What alerts are about.
pub(super) const CHAIN: &str = "chain";
pub(super) const OFFERS: &str = "offers";
pub(super) const TRANSACTIONS: &str = "transactions";

/// Follows the chain, plans and carries out.
#[derive(Clone, Debug)]
pub struct Reconciler {
    pub(super) settings: Settings,
    pub(super) follower: Follower,
    pub(super) book: Book,
    pub(super) lane: Lane,
    /// The last block that a node said it has.
    pub(super) head: Option<Block>,
    /// Times of blocks that were followed, from the last final one on.
    pub(super) times: BTreeMap<u64, Timestamp>,
    pub(super) final_: Option<(u64, Timestamp)>,
    /// Orders that were bought and whose content is not known yet.
    pub(super) unread: BTreeMap<Address, Unread>,
    pub(super) reading: Option<Reading>,
    /// The last block in which something happened to an order, by its address.
    pub(super) touched: BTreeMap<Address, u64>,
    /// Something has changed that a plan is made from, since the last.
    pub(super) is_due: bool,
    /// When what nobody knew is asked for again.
    pub(super) ask_again_at: Option<Instant>,
    pub(super) workers: Vec<Worker>,
    pub(super) shop: Shop,
    /// What the operator wants sent.
    pub(super) wishes: BTreeSet<IntentId>,
    /// Percentage of the pool's slots that are taken.
    pub(super) load_percent: u64,
    /// What works have for the requesters.
    pub(super) texts: BTreeMap<(Identity, Address), Texts>,
    /// Orders whose works this process has asked for.
    pub(super) resumed: BTreeSet<Identity>,
    /// Intents that wait for views to be checked.
    pub(super) checks: Vec<Intent>,
    /// Entries that are to be noted.
    pub(super) changed: BTreeSet<Identity>,
    pub(super) is_followed: bool,
    /// What is being done, as it was last said.
    pub(super) said: BTreeMap<Option<Identity>, Vec<Step>>,
    /// Whose money went where.
    pub(super) ledger: Ledger,
    pub(super) receipts: Receipts,
    pub(super) rows: Rows,
    /// The pool's row is to be noted with all that is noted now.
    pub(super) must_write_pool: bool,
    /// The number of the last request of the operator that was done.
    pub(super) handled: u64,
    /// What the operator should know, by what it is about.
    pub(super) alerts: BTreeMap<&'static str, String>,
    /// What the owner has at the hub.
    pub(super) balance: Option<Balance>,
    /// Failures that are looked into.
    pub(super) explaining: BTreeMap<Nonce, Explaining>,
    /// Orders that a reorganisation took back, with the last block when that was seen.
    pub(super) gone: BTreeMap<Identity, u64>,
}

/// An order that was bought in this block, with what the chain has said of it since.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub(super) at: BlockRef,
    /// The block of which it is asked.
    pub(super) asked: BlockRef,
    pub(super) logs: Vec<Log>,
    /// When it is asked for again.
    pub(super) ask_again_at: Option<Instant>,
}

impl Reconciler {
    /// Goes on with what an earlier process has left; without any, from the block of number `from`.
    #[must_use]
    pub fn restore(settings: Settings, restored: Restored, from: u64, now: Instant) -> Self {
        let is_new = restored.is_new();
        let follower = match restored.cursor {
            Some(cursor) => Follower::restore(settings.observe, cursor),
            None => Follower::new(settings.observe, from),
        };
        let mut book = Book::default();
        for (identity, entry) in restored.orders {
            book.insert(identity, entry);
        }
        let mut rows = Rows::default();
        restored.rows.into_iter().for_each(|row| rows.restore(row));
        rows.restored();
        let since = rows.pool().map(|row| row.since);
        let mut ledger = Ledger::new(since.unwrap_or(follower.begun()));
        for (account, sum) in rows.sums() {
            ledger.restore_sum(account, sum);
        }
        restored
            .parts
            .into_iter()
            .for_each(|part| ledger.restore_part(part));
        ledger.undo_unless(|block| follower.has(block));
        for kept in &restored.nonces {
            rows.change_transaction(kept.nonce, Timestamp(0), |row| {
                rows::keep(row, kept);
                if row.state == TransactionState::Signing {
                    row.state = TransactionState::Sent;
                }
            });
        }
        for row in rows.transactions() {
            if let Some(mined) = &row.mined {
                ledger.burn(row.nonce, mined, settings.owner, row.about);
            }
        }
        let handled = rows.pool().map_or(0, |row| row.handled);
        let mut brain = Self {
            settings,
            follower,
            book,
            lane: Lane::restore(settings.lane, restored.nonces, now),
            head: None,
            times: BTreeMap::new(),
            final_: None,
            unread: BTreeMap::new(),
            reading: None,
            touched: BTreeMap::new(),
            is_due: false,
            ask_again_at: None,
            workers: Vec::new(),
            shop: Shop::default(),
            wishes: BTreeSet::new(),
            load_percent: 0,
            texts: BTreeMap::new(),
            resumed: BTreeSet::new(),
            checks: Vec::new(),
            changed: BTreeSet::new(),
            is_followed: false,
            said: BTreeMap::new(),
            ledger,
            receipts: Receipts::default(),
            rows,
            must_write_pool: false,
            handled,
            alerts: BTreeMap::new(),
            balance: None,
            explaining: BTreeMap::new(),
            gone: BTreeMap::new(),
        };
        if !is_new && since.is_none() {
            // Who has written this kept no books.
            let from = brain.follower.begun();
            brain.replay(now, from, &mut Vec::new());
        }
        brain
    }

    /// The content of all orders that were followed is known.
    #[must_use]
    pub fn is_all_read(&self) -> bool {
        self.unread.is_empty()
    }

    /// The books.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The number of the last request of the operator that was done.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.handled
    }

    /// The orders that are known.
    #[must_use]
    pub fn book(&self) -> &Book {
        &self.book
    }

    /// The transactions.
    #[must_use]
    pub fn lane(&self) -> &Lane {
        &self.lane
    }

    /// The last block that a node said it has.
    #[must_use]
    pub fn head(&self) -> Option<&Block> {
        self.head.as_ref()
    }

    /// The last block that was followed.
    #[must_use]
    pub fn tip(&self) -> Option<&Block> {
        self.follower.tip()
    }

    /// When to say [`Event::Tick`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let unread = self.unread.values().filter_map(|unread| unread.ask_again_at);
        [
            self.follower.next_deadline(),
            self.lane.next_deadline(),
            self.ask_again_at,
        ]
        .into_iter()
        .flatten()
        .chain(unread)
        .min()
    }

    /// Takes an event. What comes twice, late, or of a block that is not the last changes nothing.
    pub fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Head(block) => {
                self.head = Some(block);
                self.follow(now, observe::Event::Head(block), effects);
            }
            Event::Finalized(block) => self.follow(now, observe::Event::Finalized(block), effects),
            Event::Answered { ask, reply } => {
                self.follow(now, observe::Event::Answered { ask, reply }, effects);
            }
            Event::Bought { woid, at, order } => self.on_content(now, woid, at, *order),
            Event::Seen { at, woid, views } => {
                for reading in self.explained_at(at) {
                    reading.seen(woid, (*views).clone());
                }
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at() == at) {
                    reading.seen(woid, *views);
                    self.is_due = true;
                }
            }
            Event::Met { at, who, person } => {
                for reading in self.explained_at(at) {
                    reading.met(who, person.clone());
                }
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at() == at) {
                    reading.met(who, person);
                    self.is_due = true;
                }
            }
            Event::ReceiptSeen { at, hash, answer } => {
                self.receipts.seen(at, hash, *answer);
                self.is_due = true;
            }
            Event::Requested { number, asked } => self.on_requested(now, number, &asked, effects),
            Event::Wished(call) => self.on_wish(now, call, effects),
            Event::Offers { at, offers } => self.on_offers(at, offers),
            Event::Lane(event) => self.tell(now, event.for_lane(), effects),
            Event::Workers {
                workers,
                load_percent,
            } => {
                self.workers = workers;
                self.load_percent = load_percent;
                self.is_due = true;
            }
            Event::Ended {
                order,
                worker,
                outcome,
                texts,
            } => self.on_ended(order, worker, outcome, texts),
            Event::Understood { order, job } => self.on_understood(order, job),
            Event::BagEnded { order, root, texts } => self.on_bag_ended(order, root, texts),
            Event::Noted(number) => self.tell(now, lane::Event::Noted(number), effects),
            Event::Tick => self.on_tick(now, effects),
        }
        self.explain(effects);
        self.proceed(now, effects);
        self.read(effects);
        self.note(effects);
        self.keep_books(now, effects);
    }

    /// Readings at this block of those who look into failures.
    fn explained_at(&mut self, at: BlockRef) -> impl Iterator<Item = &mut Reading> {
        let explaining = self.explaining.values_mut();
        let both = explaining.flat_map(|explaining| [&mut explaining.after, &mut explaining.before]);
        both.filter(move |reading| reading.at() == at)
    }

    fn on_tick(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.follower.next_deadline().is_some_and(|at| at <= now) {
            self.follow(now, observe::Event::Tick, effects);
        }
        if self.lane.next_deadline().is_some_and(|at| at <= now) {
            self.tell(now, lane::Event::Tick, effects);
        }
        if self.ask_again_at.is_some_and(|at| at <= now) {
            self.ask_again_at = None;
            if let Some(reading) = &mut self.reading {
                reading.ask_again(effects);
            }
            self.receipts.ask_again(effects);
        }
        self.read_bought(now, effects);
    }

    /// What is under way for an order, to be changed.
    pub(super) fn intended(&mut self, order: &Identity) -> Option<&mut Intended> {
        self.is_due = true;
        self.changed.insert(*order);
        self.book.intended_mut(order)
    }

    fn on_ended(&mut self, order: Identity, worker: Address, outcome: Outcome, texts: Option<Texts>) {
        let Some(asked) = self
            .intended(&order)
            .and_then(|intended| intended.asked.get_mut(&worker))
        else {
            return;
        };
        // One that was cancelled stays so, whatever came of it.
        asked.outcome.get_or_insert(outcome);
        if let Some(texts) = texts {
            self.texts.insert((order, worker), texts);
        }
    }

    /// What is known of a job stays, unless it turns out that it cannot be run.
    fn on_understood(&mut self, order: Identity, job: Job) {
        if let Some(intended) = self.intended(&order)
            && (intended.job == Job::Unread || matches!(job, Job::Unrunnable(_)))
        {
            intended.job = job;
        }
    }

    fn on_bag_ended(&mut self, order: Identity, root: Option<Hash>, texts: Texts) {
        if let Some(intended) = self.intended(&order)
            && intended.job == Job::Bag(Bag::Asked)
        {
            intended.job = Job::Bag(root.map_or(Bag::Failed, Bag::Done));
            intended.result = root.map(|_| texts);
        }
    }

    /// Notes what has changed. While an order's content is not known the cursor stays where it was, so that another process
    /// would read of it again.
    fn note(&mut self, effects: &mut Vec<Effect>) {
        let changed = std::mem::take(&mut self.changed);
        let entries = self
            .book
            .iter()
            .filter(|(identity, _)| changed.contains(identity));
        let mut said: Vec<(String, Vec<u8>)> = entries
            .map(|(identity, entry)| notes::order(identity, entry))
            .collect();
        if self.unread.is_empty() && std::mem::take(&mut self.is_followed) {
            said.push(notes::cursor(self.follower.cursor()));
        }
        effects.extend(said.into_iter().map(|(key, value)| Effect::Note {
            number: 0,
            key,
            value: Some(value),
        }));
    }
}
