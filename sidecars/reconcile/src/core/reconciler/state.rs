//! The reconciler itself: see the module's documentation.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Block, BlockRef, Call, Event as Said, Hash, Log, Timestamp, WorkOrder};
use wire_protocol::units::Instant;

use super::event::{Effect, Event, LaneEvent, Letter, Settings, Worker};
use super::notes::{self, Restored};
use super::reading::Reading;
use crate::core::answer::Answer;
use crate::core::hash::{Hasher, result_hash};
use crate::core::lane::{self, Intent, IntentId, Lane, Progress};
use crate::core::observe::{self, Follower};
use crate::core::obstacle::{Scene, holds};
use crate::core::order::{Asked, Book, Identity, Outcome, State, Texts};
use crate::core::plan::{self, Action, Candidate, Order, Step, plan};

/// Follows the chain, plans and carries out.
#[derive(Clone, Debug)]
pub struct Reconciler {
    settings: Settings,
    follower: Follower,
    book: Book,
    lane: Lane,
    /// The last block that a node said it has.
    head: Option<Block>,
    /// Times of blocks that were followed, from the last final one on.
    times: BTreeMap<u64, Timestamp>,
    final_: Option<(u64, Timestamp)>,
    /// Orders that were bought and whose content is not known yet.
    unread: BTreeMap<Address, Unread>,
    reading: Option<Reading>,
    /// When what nobody knew is asked for again.
    ask_again_at: Option<Instant>,
    workers: Vec<Worker>,
    /// What works have for the requesters.
    texts: BTreeMap<(Identity, Address), Texts>,
    /// Orders whose works this process has asked for.
    resumed: BTreeSet<Identity>,
    /// Intents that wait for views to be checked.
    checks: Vec<Intent>,
    /// Entries that are to be noted.
    changed: BTreeSet<Identity>,
    is_followed: bool,
    /// What is being done, as it was last said.
    said: BTreeMap<Option<Identity>, Vec<Step>>,
}

/// An order that was bought in this block, with what the chain has said of it since.
#[derive(Clone, Debug)]
struct Unread {
    at: BlockRef,
    logs: Vec<Log>,
    /// When it is asked for again.
    ask_again_at: Option<Instant>,
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
            ask_again_at: None,
            workers: Vec::new(),
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
            Event::Finalized(number) => self.follow(now, observe::Event::Finalized(number), effects),
            Event::Answered { ask, reply } => {
                self.follow(now, observe::Event::Answered { ask, reply }, effects);
            }
            Event::Bought { woid, at, order } => self.on_content(now, woid, at, *order),
            Event::Seen { at, woid, views } => {
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at == at) {
                    reading.seen(woid, *views);
                }
            }
            Event::Met { at, who, person } => {
                if let Some(reading) = self.reading.as_mut().filter(|reading| reading.at == at) {
                    reading.met(who, person);
                }
            }
            Event::Lane(event) => self.tell(now, of_lane(event), effects),
            Event::Workers(workers) => self.workers = workers,
            Event::Ended {
                order,
                worker,
                outcome,
                texts,
            } => self.on_ended(order, worker, outcome, texts),
            Event::Unrunnable { order, why } => {
                if let Some(intended) = self.intended(&order) {
                    intended.unrunnable = Some(why);
                }
            }
            Event::Noted(number) => self.tell(now, lane::Event::Noted(number), effects),
            Event::Tick => self.on_tick(now, effects),
        }
        self.read(effects);
        self.proceed(now, effects);
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
        for (woid, unread) in &mut self.unread {
            if unread.ask_again_at.is_some_and(|at| at <= now) {
                unread.ask_again_at = None;
                let at = unread.at;
                effects.push(Effect::SeeBought { woid: *woid, at });
            }
        }
    }

    // What the chain says.

    fn follow(&mut self, now: Instant, event: observe::Event, effects: &mut Vec<Effect>) {
        let mut followed = Vec::new();
        self.follower.handle(now, event, &mut followed);
        for effect in followed {
            match effect {
                observe::Effect::Ask { ask, question } => effects.push(Effect::Ask { ask, question }),
                observe::Effect::Append { upto, logs } => self.on_append(now, upto, logs, effects),
                observe::Effect::Undo(block) => self.on_undo(now, block, effects),
                observe::Effect::Safe(_) => {}
                observe::Effect::Final(number) => self.on_final(now, number, effects),
                observe::Effect::TooDeep(too_deep) => effects.push(Effect::TooDeep(too_deep)),
            }
        }
    }

    fn on_append(&mut self, now: Instant, upto: Block, logs: Vec<Log>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Followed {
            upto,
            logs: logs.clone(),
        });
        self.is_followed = true;
        self.times.insert(upto.at.number, upto.timestamp);
        for log in logs {
            let at = log.place.block;
            match log.event.woid() {
                Some(woid) if matches!(log.event, Said::WorkOrderActive { .. }) => {
                    effects.push(Effect::SeeBought { woid, at });
                    let unread = Unread {
                        at,
                        logs: Vec::new(),
                        ask_again_at: None,
                    };
                    self.unread.insert(woid, unread);
                }
                Some(woid) => match self.unread.get_mut(&woid) {
                    Some(unread) => unread.logs.push(log),
                    None => self.on_log(&log),
                },
                None => {}
            }
        }
        self.reading = None;
        self.tell(now, lane::Event::Head(upto), effects);
    }

    fn on_log(&mut self, log: &Log) {
        self.book.on_log(log);
        let woid = log.event.woid();
        let of_order = self.book.iter().map(|(identity, _)| *identity);
        self.changed
            .extend(of_order.filter(|identity| Some(identity.woid) == woid));
    }

    fn on_undo(&mut self, now: Instant, block: BlockRef, effects: &mut Vec<Effect>) {
        effects.push(Effect::Undone(block));
        self.is_followed = true;
        self.reading = None;
        self.times.remove(&block.number);
        self.unread.retain(|_, unread| unread.at != block);
        for unread in self.unread.values_mut() {
            unread.logs.retain(|log| log.place.block != block);
        }
        self.book.on_undone(block);
        self.changed
            .extend(self.book.iter().map(|(identity, _)| *identity));
        let beyond = block.number - 1;
        self.tell(now, lane::Event::Orphaned { beyond }, effects);
    }

    fn on_final(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        effects.push(Effect::Final(number));
        if let Some((number, time)) = self.times.range(..=number).next_back() {
            self.final_ = Some((*number, *time));
            self.times = self.times.split_off(&number.clone());
        }
        self.tell(now, lane::Event::Final(number), effects);
    }

    /// What an order is that was bought.
    fn on_content(&mut self, now: Instant, woid: Address, at: BlockRef, order: Answer<WorkOrder>) {
        let Some(unread) = self.unread.get_mut(&woid).filter(|unread| unread.at == at) else {
            return;
        };
        let Answer::Known(order) = order else {
            // Also where the node does not know the block: if that was orphaned, the follower takes the order back.
            unread.ask_again_at = Some(now + self.settings.pause);
            return;
        };
        let unread = self.unread.remove(&woid).expect("just seen");
        self.book
            .on_bought(self.settings.chain_id, self.settings.hub, at, &order);
        for log in &unread.logs {
            self.on_log(log);
        }
        let of_order = self.book.iter().map(|(identity, _)| *identity);
        self.changed
            .extend(of_order.filter(|identity| identity.woid == woid));
        self.reading = None;
    }

    // What the engine says.

    fn intended(&mut self, order: &Identity) -> Option<&mut crate::core::order::Intended> {
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

    // Transactions.

    fn tell(&mut self, now: Instant, event: lane::Event, effects: &mut Vec<Effect>) {
        let mut said = Vec::new();
        self.lane.handle(now, event, &mut said);
        for effect in said {
            effects.push(match effect {
                lane::Effect::AskAccount(at) => Effect::AskAccount(at),
                lane::Effect::AskGasPrice => Effect::AskGasPrice,
                lane::Effect::AskReceipt { round, hash } => Effect::AskReceipt { round, hash },
                lane::Effect::Check(intent) => {
                    self.checks.push(intent);
                    continue;
                }
                lane::Effect::Sign { nonce, payload, fees } => Effect::Sign { nonce, payload, fees },
                lane::Effect::Note { note, nonce, kept } => Effect::Note {
                    number: note,
                    key: notes::nonce_key(nonce),
                    value: kept.as_ref().map(notes::nonce),
                },
                lane::Effect::Send { nonce, hash, raw } => Effect::Send { nonce, hash, raw },
                lane::Effect::Report { intent, progress } => {
                    self.on_report(&intent, &progress);
                    Effect::Report { intent, progress }
                }
                lane::Effect::Alert(alert) => Effect::Alert(alert),
            });
        }
    }

    /// A call that was mined in vain is another one the next time.
    fn on_report(&mut self, intent: &Intent, progress: &Progress) {
        let Progress::Mined(receipt) = progress else {
            return;
        };
        let order = intent.about.and_then(|key| self.book.by_key(key));
        if let (false, Some(order)) = (receipt.succeeded, order)
            && let Some(intended) = self.intended(&order)
        {
            intended.rounds += 1;
        }
    }

    // Plans.

    /// Asks for what a plan needs, once the chain was followed up to its head.
    fn read(&mut self, effects: &mut Vec<Effect>) {
        let Some(tip) = self.follower.tip().copied() else {
            return;
        };
        if self.head.is_none_or(|head| head.at != tip.at) || !self.unread.is_empty() {
            return;
        }
        let reading = self.reading.get_or_insert_with(|| Reading::of(tip.at));
        let asked = self
            .book
            .iter()
            .flat_map(|(_, entry)| entry.intended.asked.keys().copied());
        let of_checks = self.checks.iter().flat_map(|intent| named(&intent.call));
        let wallets = self.workers.iter().map(|worker| worker.wallet);
        let people: BTreeSet<Address> = wallets
            .chain(asked)
            .chain(of_checks)
            .chain([self.settings.owner])
            .collect();
        let mut orders: BTreeMap<Address, BTreeSet<Address>> = BTreeMap::new();
        for (identity, entry) in self.book.iter() {
            let workers = orders.entry(identity.woid).or_default();
            workers.extend(entry.intended.asked.keys().copied());
        }
        reading.want(orders, people, effects);
    }

    /// Plans, once all was answered.
    fn proceed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        // Carrying out may ask for more people, which the next plan waits for.
        let Some(reading) = self.reading.take_if(|reading| reading.is_complete()) else {
            return;
        };
        self.check(now, &reading, effects);
        let orders = self.orders(&reading);
        for order in &orders {
            self.resume(order, effects);
        }
        let candidates: Vec<Candidate> = self
            .workers
            .iter()
            .map(|worker| candidate(worker, &reading))
            .collect();
        let steps = plan(&plan::World {
            settings: &self.settings.plan,
            pool: self.settings.pool,
            orders: &orders,
            candidates: &candidates,
            faults: &BTreeMap::new(),
        });
        self.withdraw(now, &steps, effects);
        let mut said: BTreeMap<Option<Identity>, Vec<Step>> = BTreeMap::new();
        for step in steps {
            said.entry(step.order).or_default().push(step);
        }
        for (of, steps) in &said {
            let before = self.said.get(of);
            for step in steps
                .iter()
                .filter(|step| before.is_none_or(|before| !before.contains(step)))
            {
                effects.push(Effect::Say(step.clone()));
            }
            for step in steps {
                self.carry_out(now, step, &reading, effects);
            }
        }
        self.said = said;
        self.forget(&orders, effects);
        self.ask_again_at = reading.has_unknown().then(|| now + self.settings.pause);
        self.reading = Some(reading);
    }

    /// Answers the lane's questions whether calls would take effect.
    fn check(&mut self, now: Instant, reading: &Reading, effects: &mut Vec<Effect>) {
        let at = self.follower.tip().map_or(Timestamp(0), |tip| tip.timestamp);
        let people = reading.people();
        for intent in std::mem::take(&mut self.checks) {
            let of_order = |key| {
                self.book
                    .by_key(key)
                    .is_some_and(|order| self.book.is_current(&order))
            };
            let answer = if intent.about.is_none_or(of_order) {
                let views = woid_of(&intent.call).map_or(Answer::Absent, |woid| reading.views(woid));
                let scene = Scene {
                    sender: self.settings.owner,
                    pool: self.settings.pool,
                    pool_owner: self.settings.owner,
                    views: &views,
                    people: &people,
                    at: Timestamp(at.0.saturating_add(self.settings.plan.inclusion_s)),
                };
                holds(&intent.call, &scene)
            } else {
                Answer::Known(false)
            };
            let checked = lane::Event::Checked {
                intent: intent.id,
                holds: answer,
            };
            self.tell(now, checked, effects);
        }
    }

    fn orders(&self, reading: &Reading) -> Vec<Order> {
        let Some(at) = self.follower.tip().copied() else {
            return Vec::new();
        };
        let entries = self.book.iter();
        entries
            .filter_map(|(identity, entry)| {
                let views = reading.views(identity.woid);
                let mut intended = entry.intended.clone();
                intended.allowing = self.allowing(identity);
                intended.result = self.result_of(identity, &views).or(intended.result);
                let observed = self.book.observe(identity, at, views, self.final_)?;
                Some(Order {
                    identity: *identity,
                    observed,
                    intended,
                })
            })
            .collect()
    }

    /// What the work of a worker has for the requester that has contributed the result which is believed.
    fn result_of(&self, identity: &Identity, views: &Answer<crate::core::order::Views>) -> Option<Texts> {
        let views = views.known()?;
        let all = self
            .texts
            .range((*identity, Address([0; 20]))..=(*identity, Address([0xff; 20])));
        let mut all = all.map(|((_, worker), texts)| (*worker, texts));
        let consensus = views.consensus.consensus;
        let believed = |worker: Address| {
            let intended = self.book.iter().find(|(known, _)| *known == identity)?.1;
            match intended.intended.asked.get(&worker)?.outcome? {
                Outcome::Done(Some(digest)) => Some(result_hash(digest) == consensus),
                _ => Some(views.contribution(worker).result_hash == consensus),
            }
        };
        all.find(|(worker, _)| believed(*worker) == Some(true))
            .map(|(_, texts)| texts.clone())
    }

    fn allowing(&self, of: &Identity) -> BTreeSet<Address> {
        let key = Some(of.key());
        let of_order = self.lane.under_way().filter(|intent| intent.about == key);
        let workers = of_order.filter_map(|intent| match &intent.call {
            Call::AllowWorkersToContribute { workers, .. } => Some(workers.clone()),
            _ => None,
        });
        workers.flatten().collect()
    }

    /// After a restart the engine is asked again for the works of an order: it answers with how they ended, or will.
    fn resume(&mut self, order: &Order, effects: &mut Vec<Effect>) {
        let Answer::Known(views) = &order.observed.views else {
            return;
        };
        if !self.resumed.insert(order.identity) {
            return;
        }
        for (worker, asked) in &order.intended.asked {
            if asked.outcome != Some(Outcome::Failed) {
                effects.push(submit(&order.identity, &views.order, *worker));
            }
        }
    }

    /// What waits for a nonce and is not wanted any more.
    fn withdraw(&mut self, now: Instant, steps: &[Step], effects: &mut Vec<Effect>) {
        let wanted: Vec<IntentId> = steps
            .iter()
            .filter_map(Step::intent)
            .map(|intent| intent.id)
            .collect();
        let queued: Vec<IntentId> = self.lane.queued().iter().map(|intent| intent.id).collect();
        for id in queued.into_iter().filter(|id| !wanted.contains(id)) {
            self.tell(now, lane::Event::Withdraw(id), effects);
        }
    }

    fn carry_out(&mut self, now: Instant, step: &Step, reading: &Reading, effects: &mut Vec<Effect>) {
        if let Some(intent) = step.intent() {
            if !self.lane.has(intent.id) {
                self.tell(now, lane::Event::Intend(intent), effects);
            }
            return;
        }
        let Some(order) = step.order else { return };
        match &step.action {
            Action::Submit { workers, .. } => {
                let Answer::Known(views) = reading.views(order.woid) else {
                    return;
                };
                let at = self.follower.tip().map_or(Timestamp(0), |tip| tip.timestamp);
                let Some(intended) = self.intended(&order) else {
                    return;
                };
                intended.bags += 1;
                for worker in workers {
                    intended.asked.insert(*worker, Asked { at, outcome: None });
                    effects.push(submit(&order, &views.order, *worker));
                }
            }
            Action::Cancel(workers) => {
                let Some(intended) = self.intended(&order) else {
                    return;
                };
                for worker in workers {
                    if let Some(asked) = intended.asked.get_mut(worker) {
                        asked.outcome = Some(Outcome::Failed);
                        effects.push(Effect::Cancel {
                            order,
                            worker: *worker,
                        });
                    }
                }
            }
            Action::TellToReveal(workers) => self.post(order, workers, Letter::Reveal, step, effects),
            Action::TellTooLate(workers) => self.post(order, workers, Letter::TooLate, step, effects),
            _ => {}
        }
    }

    /// Tells workers, unless just this was told.
    fn post(
        &self,
        order: Identity,
        workers: &[Address],
        letter: Letter,
        step: &Step,
        effects: &mut Vec<Effect>,
    ) {
        let before = self.said.get(&Some(order));
        if before.is_none_or(|before| !before.contains(step)) {
            effects.push(Effect::Tell {
                order,
                workers: workers.to_vec(),
                letter,
            });
        }
    }

    /// What is over for good is kept no longer.
    fn forget(&mut self, orders: &[Order], effects: &mut Vec<Effect>) {
        for order in orders {
            let settings = &self.settings.plan;
            let state = State::of(
                &order.identity,
                &order.observed,
                &order.intended,
                settings.consensus,
                settings.patience_s,
            );
            let is_pending = self
                .lane
                .intents()
                .any(|intent| intent.about == Some(order.identity.key()));
            let is_final = |number| self.final_.is_some_and(|(final_, _)| final_ >= number);
            let is_claimed = state == State::Claimed && order.observed.ended.is_some_and(is_final);
            if (state != State::Final && !is_claimed) || is_pending {
                continue;
            }
            self.book.forget(&order.identity);
            self.changed.remove(&order.identity);
            self.texts.retain(|(of, _), _| *of != order.identity);
            self.resumed.remove(&order.identity);
            effects.push(Effect::Over {
                order: order.identity,
                state,
            });
            let key = notes::order_key(&order.identity);
            effects.push(Effect::Note {
                number: 0,
                key,
                value: None,
            });
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

fn of_lane(event: LaneEvent) -> lane::Event {
    match event {
        LaneEvent::GasPrice(price) => lane::Event::GasPrice(price),
        LaneEvent::Account(account) => lane::Event::Account(account),
        LaneEvent::Signed { nonce, hash, raw } => lane::Event::Signed { nonce, hash, raw },
        LaneEvent::Sent { hash, sending } => lane::Event::Sent { hash, sending },
        LaneEvent::Receipt { round, hash, answer } => lane::Event::Receipt { round, hash, answer },
    }
}

fn candidate(worker: &Worker, reading: &Reading) -> Candidate {
    Candidate {
        wallet: worker.wallet,
        owner: worker.owner.clone(),
        is_free: worker.is_free,
        person: reading.person(worker.wallet),
    }
}

fn submit(order: &Identity, content: &WorkOrder, worker: Address) -> Effect {
    let key: Hash = Hasher::default()
        .text("work")
        .bytes(&order.key().0)
        .bytes(&worker.0)
        .finish();
    Effect::Submit {
        key,
        order: *order,
        content: Box::new(content.clone()),
        worker,
    }
}

/// Those whose stake or place in the pool a call depends on.
fn named(call: &Call) -> Vec<Address> {
    match call {
        Call::AllowWorkersToContribute { workers, .. } => workers.clone(),
        Call::EvictWorker { worker } => vec![*worker],
        _ => Vec::new(),
    }
}

fn woid_of(call: &Call) -> Option<Address> {
    match call {
        Call::AllowWorkersToContribute { woid, .. }
        | Call::RevealConsensus { woid, .. }
        | Call::Reopen { woid }
        | Call::FinalizeWork { woid, .. }
        | Call::WorkOrderCallback { woid, .. } => Some(*woid),
        _ => None,
    }
}
