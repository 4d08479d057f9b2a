//! The entrance: what happens to an event, and when the next one is due.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Block, BlockRef, Hash, Log, Timestamp};
use wire_protocol::units::Instant;

use super::event::{Effect, Event, Settings, Worker};
use super::notes::{self, Restored};
use super::offers::Shop;
use super::reading::Reading;
use crate::core::observe::{self, Follower};
use crate::core::order::{Bag, Book, Identity, Intended, Job, Outcome, Texts};
use crate::core::plan::Step;
use wire_lane as lane;
use wire_lane::{Intent, IntentId, Lane};

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
        let follower = match restored.cursor {
            Some(cursor) => Follower::restore(settings.observe, cursor),
            None => Follower::new(settings.observe, from),
        };
        let mut book = Book::default();
        for (identity, entry) in restored.orders {
            book.insert(identity, entry);
        }
        Self {
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
        }
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
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at() == at) {
                    reading.seen(woid, *views);
                    self.is_due = true;
                }
            }
            Event::Met { at, who, person } => {
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at() == at) {
                    reading.met(who, person);
                    self.is_due = true;
                }
            }
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
        self.proceed(now, effects);
        self.read(effects);
        self.note(effects);
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
