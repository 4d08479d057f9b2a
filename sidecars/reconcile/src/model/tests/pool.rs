//! The pool: follower, book, planner and lane, and the engine in a few lines.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Call, Event as Said, Log, Receipt, Timestamp, Wei};

use super::chain::{receipt, scene, views_of};
use super::world::*;
use crate::core::answer::Answer;
use crate::core::hash::keccak;
use crate::core::lane::{self, Intent, IntentId, Progress, Sending};
use crate::core::observe::{self, Question, Reply};
use crate::core::obstacle::holds;
use crate::core::order::{Asked, Identity, Outcome, State, Texts};
use crate::core::plan::{self, Action, Candidate, Order, Step, plan};

impl World {
    /// The follower reads what is new; book and lane hear of it.
    pub(super) fn follow(&mut self) {
        let mut events = vec![observe::Event::Head(self.head())];
        for _ in 0..10_000 {
            let Some(event) = events.pop() else {
                let Some(deadline) = self.follower.next_deadline() else {
                    return;
                };
                let mut effects = Vec::new();
                self.follower.handle(deadline, observe::Event::Tick, &mut effects);
                self.hear(effects, &mut events);
                continue;
            };
            let (now, mut effects) = (self.now(), Vec::new());
            self.follower.handle(now, event, &mut effects);
            self.hear(effects, &mut events);
        }
        panic!("it never catches up");
    }

    pub(super) fn hear(&mut self, effects: Vec<observe::Effect>, events: &mut Vec<observe::Event>) {
        for effect in effects {
            match effect {
                observe::Effect::Ask { ask, question } => {
                    let reply = self.reply(question);
                    events.push(observe::Event::Answered { ask, reply });
                }
                observe::Effect::Append { upto, logs } => {
                    for log in &logs {
                        self.on_log(log);
                    }
                    self.keep_books(&logs);
                    self.tell(lane::Event::Head(upto));
                }
                observe::Effect::Undo { block, .. } => {
                    self.book.on_undone(block);
                    self.ledger.undo(block);
                    self.tell(lane::Event::Orphaned {
                        beyond: block.number - 1,
                    });
                }
                observe::Effect::Final(number) => {
                    self.final_ = Some(number);
                    self.ledger.settle(number);
                    self.tell(lane::Event::Final(number));
                }
                observe::Effect::Safe(_) => {}
                observe::Effect::TooDeep(too_deep) => panic!("{too_deep}"),
            }
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
            Question::LogsIn { .. } => panic!("it is never far behind"),
        }
    }

    pub(super) fn on_log(&mut self, log: &Log) {
        let at = log.place.block;
        if let Said::WorkOrderActive { woid } = log.event {
            let hub = &self.blocks[at.number as usize].hub;
            let views = hub.views(woid);
            let order = &views.known().expect("just bought").order;
            self.book.on_bought(1, hub.address, at, order);
        }
        self.book.on_log(log);
    }

    /// The money of a block: by its logs, and by the receipts of those that finalize.
    fn keep_books(&mut self, logs: &[Log]) {
        for log in logs {
            let Some(woid) = log.event.woid() else { continue };
            let mined = &self.blocks[log.place.block.number as usize];
            let views = mined.hub.views(woid);
            let at = mined.block.timestamp;
            let views = views.known().expect("it says something");
            self.ledger.on_log(log, at, views, OWNER);
            if matches!(log.event, Said::FinalizeWork { .. }) {
                let of_it = logs
                    .iter()
                    .filter(|other| other.place.transaction == log.place.transaction);
                let receipt = Receipt {
                    logs: of_it.cloned().collect(),
                    ..receipt(log.place.transaction, log.place.block, true)
                };
                self.ledger.on_receipt(&receipt, at, OWNER, Some(woid));
            }
        }
    }

    pub(super) fn tell(&mut self, event: lane::Event) {
        let (now, mut effects) = (self.now(), Vec::new());
        self.lane.handle(now, event, &mut effects);
        for effect in effects {
            self.perform(effect);
        }
    }

    pub(super) fn perform(&mut self, effect: lane::Effect) {
        match effect {
            lane::Effect::AskAccount(at) => {
                let index = at.number as usize;
                if self.blocks.get(index).is_some_and(|mined| mined.block.at == at) {
                    let nonce = self.nonce_at(index);
                    let balance = Wei(0);
                    self.tell(lane::Event::Account(lane::Account { at, nonce, balance }));
                }
            }
            lane::Effect::AskGasPrice => panic!("blocks say what gas costs"),
            lane::Effect::AskReceipt { round, hash } => {
                let mut receipts = self.blocks.iter().flat_map(|mined| &mined.receipts);
                let found = receipts.find(|receipt| receipt.transaction == hash).cloned();
                let answer = found.map_or(Answer::Absent, Answer::Known);
                self.tell(lane::Event::Receipt { round, hash, answer });
            }
            lane::Effect::Check(intent) => {
                let of_order = |key| self.book.by_key(key).is_some_and(|it| self.book.is_current(&it));
                let is_current = intent.about.is_none_or(of_order);
                let hub = self.hub();
                let (views, people) = (views_of(hub, &intent.call), self.people(hub));
                let next = Timestamp(self.head().timestamp.0 + BLOCK_S);
                let would = holds(&intent.call, &scene(hub, OWNER, &views, &people, next));
                let holds = if is_current { would } else { Answer::Known(false) };
                self.tell(lane::Event::Checked {
                    intent: intent.id,
                    holds,
                });
            }
            lane::Effect::Sign { nonce, payload, fees } => {
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
                self.tell(lane::Event::Signed {
                    nonce,
                    hash,
                    raw: hash.0.to_vec(),
                });
            }
            lane::Effect::Note { note, nonce, kept } => {
                match kept {
                    Some(kept) => drop(self.notes.insert(nonce, kept)),
                    None => drop(self.notes.remove(&nonce)),
                }
                self.tell(lane::Event::Noted(note));
            }
            lane::Effect::Send { hash, .. } => {
                if self.rng.u8(..100) >= self.faults.lost_percent {
                    self.pool.insert(hash);
                }
                let sending = Sending::Taken;
                self.tell(lane::Event::Sent { hash, sending });
            }
            lane::Effect::Report { intent, progress } => self.on_report(intent, &progress),
            lane::Effect::Alert(_) => {}
        }
    }

    pub(super) fn on_report(&mut self, intent: Intent, progress: &Progress) {
        let Progress::Mined(receipt) = progress else {
            return;
        };
        if receipt.succeeded {
            return;
        }
        let call = intent.call;
        let index = receipt.block.number as usize;
        let at = self.blocks[index].block.timestamp;
        let seen = [index, index - 1].map(|index| {
            let hub = &self.blocks[index].hub;
            (hub, views_of(hub, &call), self.people(hub))
        });
        let [after, before] = seen
            .each_ref()
            .map(|(hub, views, people)| scene(hub, OWNER, views, people, at));
        let why = crate::core::obstacle::explain(&call, &after, &before);
        self.failures.push(why);
        let order = intent.about.and_then(|key| self.book.by_key(key));
        if let Some(intended) = order.and_then(|order| self.book.intended_mut(&order)) {
            intended.rounds += 1;
        }
    }

    /// A plan from what is there now, and what it asks for.
    pub(super) fn execute(&mut self) {
        let orders = self.orders();
        self.check_states(&orders);
        let candidates: Vec<Candidate> = (1..=self.agents.len())
            .map(|number| self.candidate(number))
            .collect();
        let hub = self.hub();
        let steps = plan(&plan::World {
            settings: &self.settings,
            pool: hub.pool,
            orders: &orders,
            candidates: &candidates,
            faults: &BTreeMap::new(),
        });
        let wanted: Vec<IntentId> = steps
            .iter()
            .filter_map(Step::intent)
            .map(|intent| intent.id)
            .collect();
        let queued: Vec<IntentId> = self.lane.queued().iter().map(|intent| intent.id).collect();
        for id in queued.into_iter().filter(|id| !wanted.contains(id)) {
            self.tell(lane::Event::Withdraw(id));
        }
        for step in steps {
            self.carry_out(&step);
        }
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
            Order {
                identity: *identity,
                observed: self
                    .book
                    .observe(identity, at, views, final_)
                    .expect("it is in the book"),
                intended,
            }
        };
        self.book.iter().map(order).collect()
    }

    pub(super) fn allowing(&self, of: &Identity) -> BTreeSet<Address> {
        let key = Some(of.key());
        let of_order = self.lane.under_way().filter(|intent| intent.about == key);
        let workers = of_order.filter_map(|intent| match &intent.call {
            Call::AllowWorkersToContribute { workers, .. } => Some(workers.clone()),
            _ => None,
        });
        workers.flatten().collect()
    }

    pub(super) fn candidate(&self, number: usize) -> Candidate {
        Candidate {
            wallet: worker(number),
            owner: format!("owner {number}"),
            is_free: true,
            person: Answer::Known(self.hub().person(worker(number))),
        }
    }

    pub(super) fn check_states(&mut self, orders: &[Order]) {
        for order in orders {
            let settings = self.settings;
            let state = State::of(
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

    pub(super) fn carry_out(&mut self, step: &Step) {
        let name = format!("{:?}", step.action);
        let name = name.split(['(', ' ']).next().expect("a word").to_owned();
        *self.steps.entry(name.leak()).or_default() += 1;
        let now = self.head().timestamp;
        let intended = step.order.and_then(|identity| self.book.intended_mut(&identity));
        match (&step.action, intended) {
            (Action::Submit { workers, .. }, Some(intended)) => {
                let asked = Asked {
                    at: now,
                    outcome: None,
                };
                intended
                    .asked
                    .extend(workers.iter().map(|worker| (*worker, asked)));
                intended.bags += 1;
            }
            (Action::Cancel(workers), Some(intended)) => {
                for worker in workers {
                    let asked = intended.asked.get_mut(worker).expect("it was asked");
                    asked.outcome = Some(Outcome::Failed);
                }
            }
            (Action::TellTooLate(workers), _) => self.told_late.extend(workers),
            _ => {}
        }
        if let Some(intent) = step.intent() {
            if !self.lane.has(intent.id) {
                let next = Timestamp(now.0 + BLOCK_S);
                let blocked = self.obstacle(self.hub(), OWNER, &intent.call, next);
                assert_eq!(blocked, None, "{step}");
            }
            self.tell(lane::Event::Intend(intent));
        }
    }

    pub(super) fn drain(&mut self) {
        self.tell(lane::Event::Tick);
    }

    /// The engine: who was asked has a result after a while.
    pub(super) fn work(&mut self) {
        let now = self.head().timestamp.0;
        let agents = self.agents.clone();
        let identities: Vec<Identity> = self.book.iter().map(|(identity, _)| *identity).collect();
        for identity in identities {
            let intended = self.book.intended_mut(&identity).expect("it is in the book");
            for (who, asked) in &mut intended.asked {
                let agent = agents[usize::from(who.0[0]) - 1];
                if asked.outcome.is_none() && now >= asked.at.0 + agent.blocks * BLOCK_S {
                    asked.outcome = Some(Outcome::Done(Some(result(agent.letter))));
                    intended.result = Some(Texts {
                        uri: "xw://pool/1".into(),
                        ..Texts::default()
                    });
                }
            }
        }
    }
}
