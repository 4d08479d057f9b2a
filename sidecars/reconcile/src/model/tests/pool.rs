//! The pool: the reconciler, with a node that answers at once and an engine in a few lines.

use std::collections::{BTreeSet, VecDeque};

use wire_hub::{Address, Answer, BlockRef, Call, Receipt, Timestamp, Wei, keccak};

use super::super::Hub;
use super::chain::{receipt, scene, views_of};
use super::world::*;
use crate::core::observe::{Question, Reply};
use crate::core::order::{Bag, Identity, Job, Outcome, Texts, state_of};
use crate::core::plan::{Order, Step};
use crate::core::reconciler::{Effect, Event, LaneEvent, Reconciler, Restored, Share, Worker};
use wire_lane as lane;
use wire_lane::{Intent, Progress, Sending};

impl World {
    /// The reconciler hears of the last block, and all that follows from it happens.
    pub(super) fn follow(&mut self) {
        self.tell(Event::Head(self.head()));
        while let Some(deadline) = self.brain().next_deadline()
            && deadline <= self.now()
        {
            self.tell(Event::Tick);
        }
        let orders = self.orders();
        self.check_states(&orders);
    }

    pub(super) fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        for _ in 0..100_000 {
            let Some(event) = events.pop_front() else { return };
            let (now, mut effects) = (self.now(), Vec::new());
            let brain = self.brain.as_mut().expect("it has started");
            brain.handle(now, event, &mut effects);
            // Notes of one event are written in one piece, and are durable before anything else happens.
            for effect in &effects {
                if let Effect::Note { key, value, .. } = effect {
                    match value {
                        Some(value) => drop(self.notes.insert(key.clone(), value.clone())),
                        None => drop(self.notes.remove(key)),
                    }
                }
            }
            for effect in effects {
                events.extend(self.perform(effect));
            }
        }
        panic!("it never comes to rest");
    }

    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Ask { ask, question } => Some(Event::Answered {
                ask,
                reply: self.reply(question),
            }),
            Effect::SeeBought { woid, at } => {
                let is_kept = !self.faults.forgets || at == self.head().at;
                let views = self.unless_away(|world| {
                    let mined = world.blocks.iter().find(|mined| mined.block.at == at);
                    match mined {
                        Some(mined) if is_kept => mined.hub.views(woid),
                        Some(_) => Answer::Unknown,
                        None => Answer::Absent,
                    }
                });
                let order = Box::new(match views {
                    Answer::Known(views) => Answer::Known(views.order),
                    Answer::Absent => Answer::Absent,
                    Answer::Unknown => Answer::Unknown,
                });
                Some(Event::Bought { woid, at, order })
            }
            Effect::See { at, woid, .. } => {
                let views = Box::new(self.unless_away(|world| match world.hub_at(at) {
                    Some(hub) => hub.views(woid),
                    None => Answer::Unknown,
                }));
                self.unless_slow(Event::Seen { at, woid, views })
            }
            Effect::Meet { at, who } => {
                let person = self.unless_away(|world| match world.hub_at(at) {
                    Some(hub) => Answer::Known(hub.person(who)),
                    None => Answer::Unknown,
                });
                Some(Event::Met { at, who, person })
            }
            Effect::AskAccount(at) => {
                let index = at.number as usize;
                let is_there = self.blocks.get(index).is_some_and(|mined| mined.block.at == at);
                is_there.then(|| {
                    let nonce = self.nonce_at(index);
                    let balance = Wei(0);
                    Event::Lane(LaneEvent::Account(lane::Account { at, nonce, balance }))
                })
            }
            Effect::AskGasPrice => panic!("blocks say what gas costs"),
            Effect::AskReceipt { round, hash } => {
                let mut receipts = self.blocks.iter().flat_map(|mined| &mined.receipts);
                let found = receipts.find(|receipt| receipt.transaction == hash).cloned();
                let answer = found.map_or(Answer::Absent, Answer::Known);
                Some(Event::Lane(LaneEvent::Receipt { round, hash, answer }))
            }
            Effect::Sign { nonce, payload, fees } => {
                let price = fees.price_max();
                let hash = keccak(format!("{nonce:?} {} {price}", self.signed.len()).as_bytes());
                self.signed.insert(
                    hash,
                    Signed {
                        nonce,
                        payload,
                        price,
                    },
                );
                let raw = hash.0.to_vec();
                Some(Event::Lane(LaneEvent::Signed { nonce, hash, raw }))
            }
            Effect::Note { number, .. } => (number > 0).then_some(Event::Noted(number)),
            Effect::Send { hash, .. } => {
                if self.rng.u8(..100) >= self.faults.lost_percent {
                    self.pool.insert(hash);
                }
                let sending = Sending::Taken;
                Some(Event::Lane(LaneEvent::Sent { hash, sending }))
            }
            Effect::Understand { order, content } => {
                let job = match content.params.as_str() {
                    "bag" => Job::Bag(Bag::Wanted),
                    _ => Job::Work,
                };
                Some(Event::Understood { order, job })
            }
            Effect::Submit {
                order,
                share: Share::Bag,
                ..
            } => Some(Event::BagEnded {
                order,
                root: Some(ROOT),
                texts: Texts::default(),
            }),
            Effect::Submit {
                key, order, share, ..
            } => {
                let Share::Worker {
                    wallet: worker,
                    result,
                } = share
                else {
                    unreachable!("bags are above");
                };
                self.roots.extend(result.map(|root| (order, root)));
                let at = self.head().timestamp.0;
                let work = self.works.entry(key).or_insert(Work {
                    order,
                    worker,
                    at,
                    is_cancelled: false,
                    is_followed: true,
                });
                assert_eq!((work.order, work.worker), (order, worker), "a key is of one work");
                work.is_followed = true;
                None
            }
            Effect::Cancel {
                share: Share::Bag, ..
            } => None,
            Effect::Cancel {
                order,
                share: Share::Worker { wallet: worker, .. },
            } => {
                for work in self
                    .works
                    .values_mut()
                    .filter(|work| (work.order, work.worker) == (order, worker))
                {
                    work.is_cancelled = true;
                }
                None
            }
            Effect::Say(step) => {
                self.on_step(&step);
                None
            }
            Effect::Report { intent, progress } => {
                self.on_report(&intent, &progress);
                None
            }
            Effect::Over { order, state } => {
                self.states.insert(order, state);
                None
            }
            Effect::Alert(_) => None,
            Effect::SeeReceipt { at, hash } => {
                let answer = Box::new(self.unless_away(|world| world.receipt_of(at, hash)));
                self.unless_slow(Event::ReceiptSeen { at, hash, answer })
            }
            Effect::Followed { .. }
            | Effect::Undone(_)
            | Effect::Requested { .. }
            | Effect::Explained { .. } => None,
            Effect::Final(number) => {
                self.final_ = Some(number);
                None
            }
            Effect::SeeOffers { .. } | Effect::SayOffer(_) => panic!("nothing is offered here"),
            Effect::TooDeep(too_deep) => panic!("{too_deep}"),
        }
    }

    /// The receipt of a transaction that has finalized an order: the events of the model's hub.
    fn receipt_of(&self, at: BlockRef, hash: wire_hub::Hash) -> Answer<Receipt> {
        let Some(mined) = self.blocks.iter().find(|mined| mined.block.at == at) else {
            return Answer::Absent;
        };
        let of_it = mined.logs.iter().filter(|log| log.place.transaction == hash);
        Answer::Known(Receipt {
            logs: of_it.cloned().collect(),
            ..receipt(hash, mined, true)
        })
    }

    fn hub_at(&self, at: BlockRef) -> Option<&Hub> {
        let mined = self.blocks.iter().find(|mined| mined.block.at == at);
        mined.map(|mined| &mined.hub)
    }

    /// An answer takes some blocks now and then.
    fn unless_slow(&mut self, event: Event) -> Option<Event> {
        if self.rng.u8(..100) >= self.faults.slow_percent {
            return Some(event);
        }
        let blocks = self.rng.u64(1..=2 * FINAL_AFTER);
        self.delayed.push((self.made + blocks, event));
        None
    }

    /// Answers that have taken their time.
    pub(super) fn deliver(&mut self) {
        let made = self.made;
        let (due, later) = std::mem::take(&mut self.delayed)
            .into_iter()
            .partition(|(at, _)| *at <= made);
        self.delayed = later;
        let due: Vec<(u64, Event)> = due;
        for (_, event) in due {
            self.tell(event);
        }
    }

    /// A node does not answer now and then.
    fn unless_away<T>(&mut self, answer: impl FnOnce(&Self) -> Answer<T>) -> Answer<T> {
        if self.rng.u8(..100) < self.faults.away_percent {
            Answer::Unknown
        } else {
            answer(self)
        }
    }

    pub(super) fn reply(&self, question: Question) -> Reply {
        match question {
            Question::Block(number) => {
                let mined = self.blocks.get(number as usize);
                Reply::Block(mined.map_or(Answer::Absent, |mined| Answer::Known(mined.block)))
            }
            Question::LogsOf(at) => {
                let mined = self.blocks.iter().find(|mined| mined.block.at == at);
                let logs = mined
                    .map(|mined| &mined.logs)
                    .or_else(|| self.orphans.get(&at.hash));
                Reply::Logs(logs.map_or(Answer::Absent, |logs| Answer::Known(logs.clone())))
            }
            Question::LogsIn { from, to } => {
                let blocks = self
                    .blocks
                    .iter()
                    .filter(|mined| (from..=to).contains(&mined.block.at.number));
                Reply::Logs(Answer::Known(
                    blocks.flat_map(|mined| mined.logs.clone()).collect(),
                ))
            }
        }
    }

    /// What the pool does makes sense.
    fn on_step(&mut self, step: &Step) {
        let name = format!("{:?}", step.action);
        let name = name.split(['(', ' ']).next().expect("a word").to_owned();
        *self.steps.entry(name.leak()).or_default() += 1;
        if let Some(intent) = step.intent()
            && !self.brain().lane().has(intent.id)
        {
            let next = Timestamp(self.head().timestamp.0 + BLOCK_S);
            let blocked = self.obstacle(self.hub(), OWNER, &intent.call, next);
            assert_eq!(blocked, None, "{step}");
        }
    }

    fn on_report(&mut self, intent: &Intent, progress: &Progress) {
        let Progress::Mined(receipt) = progress else {
            return;
        };
        if receipt.succeeded {
            return;
        }
        let call = &intent.call;
        let index = receipt.block.number as usize;
        let at = self.blocks[index].block.timestamp;
        let seen = [index, index - 1].map(|index| {
            let hub = &self.blocks[index].hub;
            (hub, views_of(hub, call), self.people(hub))
        });
        let [after, before] = seen
            .each_ref()
            .map(|(hub, views, people)| scene(hub, OWNER, views, people, at));
        let why = wire_hub::explain(call, &after, &before);
        self.failures.push(why);
    }

    pub(super) fn orders(&self) -> Vec<Order> {
        let at = self.head();
        let final_ = self
            .final_
            .map(|number| (number, self.blocks[number as usize].block.timestamp));
        let order = |(identity, entry): (&Identity, &crate::core::order::Entry)| {
            let views = self.hub().views(identity.woid);
            let mut intended = entry.intended.clone();
            intended.allowing = self.allowing(identity);
            let observed = self.brain().book().observe(identity, at, views, final_);
            Order {
                identity: *identity,
                observed: observed.expect("it is in the book"),
                intended,
            }
        };
        self.brain().book().iter().map(order).collect()
    }

    fn allowing(&self, of: &Identity) -> BTreeSet<Address> {
        let key = Some(of.key());
        let of_order = self
            .brain()
            .lane()
            .under_way()
            .filter(|intent| intent.about == key);
        let workers = of_order.filter_map(|intent| match &intent.call {
            Call::AllowWorkersToContribute { workers, .. } => Some(workers.clone()),
            _ => None,
        });
        workers.flatten().collect()
    }

    fn check_states(&mut self, orders: &[Order]) {
        // What is followed again is not known again at once.
        if !self.brain().is_all_read() {
            return;
        }
        for order in orders {
            let settings = self.settings;
            let state = state_of(
                &order.identity,
                &order.observed,
                &order.intended,
                settings.consensus,
                settings.patience_s,
            );
            let before = self.states.insert(order.identity, state);
            if let (Some(before), false) = (before, self.reorganised) {
                assert!(state.may_follow(before), "{state:?} after {before:?}");
            }
        }
    }

    /// A process that takes up what is durable.
    pub(super) fn start(&mut self) {
        self.works.values_mut().for_each(|work| work.is_followed = false);
        self.delayed.clear();
        let notes = self
            .notes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(notes).expect("notes of its own");
        let brain = Reconciler::restore(brain_settings(self.settings), restored, self.from, self.now());
        self.brain = Some(brain);
        let workers = (1..=self.agents.len()).map(|number| Worker {
            wallet: worker(number),
            owner: format!("owner {number}"),
            is_free: true,
        });
        let workers = workers.collect();
        self.tell(Event::Workers {
            workers,
            load_percent: 0,
        });
    }

    /// The engine: who was asked has a result after a while.
    pub(super) fn work(&mut self) {
        let followed = self.works.values().filter(|work| work.is_followed);
        let works: Vec<(Identity, Address)> = followed.map(|work| (work.order, work.worker)).collect();
        for (order, worker) in works {
            if let Some(ended) = self.end_of(order, worker) {
                self.tell(ended);
            }
        }
    }

    /// How a work has ended, if it has.
    fn end_of(&self, order: Identity, worker: Address) -> Option<Event> {
        let mut works = self.works.values();
        let work = works.find(|work| (work.order, work.worker) == (order, worker))?;
        let agent = self.agents[usize::from(worker.0[0]) - 1];
        let is_done = self.head().timestamp.0 >= work.at + agent.blocks * BLOCK_S;
        (is_done && !work.is_cancelled).then(|| Event::Ended {
            order,
            worker,
            outcome: Outcome::Done(Some(result(agent.letter))),
            texts: Some(Texts {
                uri: "xw://pool/1".into(),
                ..Texts::default()
            }),
        })
    }
}
