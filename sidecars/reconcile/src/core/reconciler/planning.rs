//! What is read for a plan, the plan, and what it asks for.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Answer, Call, Hasher, Views, result_hash};
use wire_protocol::units::Instant;

use super::brain::Reconciler;
use super::event::{Effect, Share, Worker};
use super::notes;
use super::reading::Reading;
use crate::core::order::{Asked, Bag, Identity, Intended, Job, Outcome, State, Texts, state_of};
use crate::core::plan::{self, Action, Candidate, Order, Step, plan};
use wire_lane as lane;

impl Reconciler {
    /// Asks for what a plan needs, once the chain was followed up to its head; of a later block only when all was answered.
    pub(super) fn read(&mut self, effects: &mut Vec<Effect>) {
        let Some(tip) = self.follower.tip().copied() else {
            return;
        };
        if self.head.is_none_or(|head| head.at != tip.at) {
            return;
        }
        let is_older = |reading: &mut Reading| reading.at() != tip.at;
        self.reading
            .take_if(|reading| is_older(reading) && reading.is_complete());
        let reading = self.reading.get_or_insert_with(|| Reading::of(tip));
        if is_older(reading) {
            return;
        }
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
        self.see_offers(tip.at, effects);
    }

    /// Plans, once all was answered and something has changed.
    pub(super) fn proceed(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if !self.is_due {
            return;
        }
        let Some(reading) = self.reading.take_if(|reading| reading.is_complete()) else {
            return;
        };
        // What carrying out changes is for the next plan.
        self.is_due = false;
        self.check(now, &reading, effects);
        self.price(&reading, effects);
        if let Answer::Known(owner) = reading.person(self.settings.owner) {
            self.balance = Some(owner.balance);
        }
        let orders = self.orders(&reading);
        let stale = self.stale(&reading);
        for order in &orders {
            self.resume(order, effects);
        }
        let candidates: Vec<Candidate> = self
            .workers
            .iter()
            .map(|worker| candidate(worker, &reading))
            .collect();
        let faults = candidates
            .iter()
            .map(|candidate| (candidate.wallet, self.ledger.faults(candidate.wallet)))
            .collect();
        let steps = plan(&plan::World {
            settings: &self.settings.plan,
            pool: self.settings.pool,
            orders: &orders,
            candidates: &candidates,
            faults: &faults,
            stale: &stale,
        });
        let (fresh, _): (Vec<Order>, Vec<Order>) = orders
            .into_iter()
            .partition(|order| !stale.contains(&order.identity));
        self.show(&fresh);
        let offered = self.offer(now, &reading, effects);
        self.withdraw(now, &steps, &offered, &stale, effects);
        let mut said: BTreeMap<Option<Identity>, Vec<Step>> = BTreeMap::new();
        let before = self
            .said
            .iter()
            .filter(|(of, _)| of.is_some_and(|of| stale.contains(&of)));
        said.extend(before.map(|(of, steps)| (*of, steps.clone())));
        for step in steps {
            said.entry(step.order).or_default().push(step);
        }
        for (of, steps) in said
            .iter()
            .filter(|(of, _)| of.is_none_or(|of| !stale.contains(&of)))
        {
            let before = self.said.get(of);
            for step in steps
                .iter()
                .filter(|step| before.is_none_or(|before| !before.contains(step)))
            {
                if let Some(order) = of {
                    let at = self.last_time();
                    let text = step.to_string();
                    self.rows.order(*order, at, |row| row.say(at, &text));
                }
                effects.push(Effect::Say(step.clone()));
            }
            for step in steps {
                self.carry_out(now, step, &reading, effects);
            }
        }
        self.said = said;
        self.forget(fresh.iter(), effects);
        let has_unknown = reading.has_unknown() || self.has_unknown_receipts();
        // Not later than was meant: receipts, other than views, are not asked for again at each block.
        let at = self.ask_again_at.unwrap_or(now + self.settings.pause);
        self.ask_again_at = has_unknown.then_some(at);
        self.reading = Some(reading);
    }

    /// Orders that have changed since they were read, or were not read.
    fn stale(&self, reading: &Reading) -> BTreeSet<Identity> {
        let read = reading.at().number;
        let is_stale = |identity: &Identity| {
            let touched = self.touched.get(&identity.woid);
            // Who is being read again was not taken back.
            let is_unread = self.unread.contains_key(&identity.woid);
            is_unread || !reading.has(identity.woid) || touched.is_some_and(|touched| *touched > read)
        };
        let identities = self.book.iter().map(|(identity, _)| *identity);
        identities.filter(is_stale).collect()
    }

    /// What was read, at the time of the last block: deadlines come on while there is reading.
    fn orders(&self, reading: &Reading) -> Vec<Order> {
        let at = self.follower.tip().copied().unwrap_or(reading.block);
        let entries = self.book.iter();
        entries
            .filter_map(|(identity, entry)| {
                let views = reading.views(identity.woid);
                let mut intended = entry.intended.clone();
                intended.allowing = self.allowing(identity);
                intended.result = self
                    .result_of(identity, &entry.intended, &views)
                    .or(intended.result);
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
    fn result_of(&self, identity: &Identity, intended: &Intended, views: &Answer<Views>) -> Option<Texts> {
        let views = views.known()?;
        let all = self
            .texts
            .range((*identity, Address([0; 20]))..=(*identity, Address([0xff; 20])));
        let mut all = all.map(|((_, worker), texts)| (*worker, texts));
        let consensus = views.consensus.consensus;
        let believed = |worker: Address| match intended.asked.get(&worker)?.outcome? {
            Outcome::Done(Some(digest)) => Some(result_hash(digest) == consensus),
            _ => Some(views.contribution(worker).result_hash == consensus),
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
        match order.intended.job {
            Job::Unread => {
                let (order, content) = (order.identity, Box::new(views.order.clone()));
                effects.push(Effect::Understand { order, content });
            }
            Job::Bag(Bag::Asked) => effects.push(submit(&order.identity, views, Share::Bag)),
            _ => {}
        }
        let result = order.intended.job.root();
        for (worker, asked) in &order.intended.asked {
            if asked.outcome != Some(Outcome::Failed) {
                let wallet = *worker;
                effects.push(submit(&order.identity, views, Share::Worker { wallet, result }));
            }
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
                let at = self.follower.tip().unwrap_or(&reading.block).timestamp;
                let Some(intended) = self.intended(&order) else {
                    return;
                };
                intended.bags += 1;
                let result = intended.job.root();
                for worker in workers {
                    intended.asked.insert(*worker, Asked { at, outcome: None });
                    let wallet = *worker;
                    effects.push(submit(&order, &views, Share::Worker { wallet, result }));
                }
            }
            Action::SubmitBag { .. } => {
                let Answer::Known(views) = reading.views(order.woid) else {
                    return;
                };
                if let Some(intended) = self.intended(&order) {
                    intended.job = Job::Bag(Bag::Asked);
                    effects.push(submit(&order, &views, Share::Bag));
                }
            }
            Action::CancelBag => {
                if let Some(intended) = self.intended(&order) {
                    intended.job = Job::Bag(Bag::Failed);
                    let share = Share::Bag;
                    effects.push(Effect::Cancel { order, share });
                }
            }
            Action::Cancel(workers) => {
                let Some(intended) = self.intended(&order) else {
                    return;
                };
                let root = intended.job.root();
                for worker in workers {
                    if let Some(asked) = intended.asked.get_mut(worker) {
                        asked.outcome = Some(Outcome::Failed);
                        let (wallet, result) = (*worker, root);
                        let share = Share::Worker { wallet, result };
                        effects.push(Effect::Cancel { order, share });
                    }
                }
            }
            _ => {}
        }
    }

    /// Whether a reorganisation has taken an order back for good: a block is final that was made since.
    fn is_gone(&mut self, order: &Identity, state: State) -> bool {
        if !matches!(state, State::Cancelled | State::Replaced) || self.book.is_current(order) {
            self.gone.remove(order);
            return false;
        }
        let tip = self.follower.tip().map_or(0, |tip| tip.at.number);
        let since = *self.gone.entry(*order).or_insert(tip);
        self.final_.is_some_and(|(number, _)| number >= since)
    }

    /// What is over for good is kept no longer.
    fn forget<'a>(&mut self, orders: impl Iterator<Item = &'a Order>, effects: &mut Vec<Effect>) {
        let (unpriced, open) = (self.ledger.unpriced(), self.ledger.open_orders());
        for order in orders {
            let settings = &self.settings.plan;
            let state = state_of(
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
            let final_ = self.final_;
            let is_final = |number| final_.is_some_and(|(final_, _)| final_ >= number);
            let is_claimed = state == State::Claimed && order.observed.ended.is_some_and(is_final);
            let is_gone = self.is_gone(&order.identity, state);
            let is_over = state == State::Final || is_claimed || is_gone;
            let is_booked =
                !unpriced.contains_key(&order.identity.woid) && !open.contains(&order.identity.key());
            if !is_over || is_pending || !(is_booked || is_gone) {
                continue;
            }
            self.book.forget(&order.identity);
            self.changed.remove(&order.identity);
            self.texts.retain(|(of, _), _| *of != order.identity);
            self.resumed.remove(&order.identity);
            self.touched.remove(&order.identity.woid);
            self.gone.remove(&order.identity);
            for gone in self.rows.end(order.identity, self.last_time(), state) {
                self.ledger.forget(gone);
            }
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
}

fn candidate(worker: &Worker, reading: &Reading) -> Candidate {
    Candidate {
        wallet: worker.wallet,
        owner: worker.owner.clone(),
        is_free: worker.is_free,
        person: reading.person(worker.wallet),
    }
}

fn submit(order: &Identity, views: &Views, share: Share) -> Effect {
    let key = match share {
        Share::Bag => order.key(),
        Share::Worker { wallet, .. } => Hasher::default()
            .text("work")
            .bytes(&order.key().0)
            .bytes(&wallet.0)
            .finish(),
    };
    Effect::Submit {
        key,
        order: *order,
        content: Box::new(views.order.clone()),
        period_s: views.category.period_s,
        share,
    }
}

/// Those whose stake or place in the pool a call depends on.
pub(super) fn named(call: &Call) -> Vec<Address> {
    match call {
        Call::AllowWorkersToContribute { workers, .. } => workers.clone(),
        Call::EvictWorker { worker } => vec![*worker],
        _ => Vec::new(),
    }
}
