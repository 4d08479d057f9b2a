//! What is read for one plan: the views of orders and of people, all at one block.
//!
//! Reading may take longer than a block. It is gone through with all the same, or a pool with many orders on a fast chain would
//! never plan; what has happened since to an order that was read keeps that one out of the plan
//! ([`crate::core::plan::World::stale`]).

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Answer, Block, BlockRef, Person, Views};

use super::event::Effect;

/// Views at one block, as they come in.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    /// The block.
    pub(super) block: Block,
    orders: BTreeMap<Address, Order>,
    people: BTreeMap<Address, Option<Answer<Person>>>,
}

/// An order that is read.
#[derive(Clone, Debug)]
struct Order {
    workers: Vec<Address>,
    views: Option<Answer<Views>>,
}

impl Reading {
    pub(super) fn of(block: Block) -> Self {
        Self {
            block,
            orders: BTreeMap::new(),
            people: BTreeMap::new(),
        }
    }

    pub(super) fn at(&self) -> BlockRef {
        self.block.at
    }

    /// Whether this order is read, so that anything can be said of it.
    pub(super) fn has(&self, woid: Address) -> bool {
        self.orders.contains_key(&woid)
    }

    /// Asks for what is not there and was not asked for yet.
    pub(super) fn want(
        &mut self,
        orders: BTreeMap<Address, BTreeSet<Address>>,
        people: impl IntoIterator<Item = Address>,
        effects: &mut Vec<Effect>,
    ) {
        let at = self.at();
        for (woid, workers) in orders {
            self.orders.entry(woid).or_insert_with(|| {
                let workers: Vec<Address> = workers.into_iter().collect();
                effects.push(Effect::See {
                    at,
                    woid,
                    workers: workers.clone(),
                });
                Order { workers, views: None }
            });
        }
        for who in people {
            self.people.entry(who).or_insert_with(|| {
                effects.push(Effect::Meet { at, who });
                None
            });
        }
    }

    /// Asks again where nobody knew.
    pub(super) fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        let at = self.at();
        for (woid, order) in &self.orders {
            if matches!(order.views, Some(Answer::Unknown)) {
                let (woid, workers) = (*woid, order.workers.clone());
                effects.push(Effect::See { at, woid, workers });
            }
        }
        for (who, answer) in &self.people {
            if matches!(answer, Some(Answer::Unknown)) {
                effects.push(Effect::Meet { at, who: *who });
            }
        }
    }

    pub(super) fn seen(&mut self, woid: Address, views: Answer<Views>) {
        if let Some(order) = self.orders.get_mut(&woid) {
            order.views = Some(views);
        }
    }

    pub(super) fn met(&mut self, who: Address, person: Answer<Person>) {
        if let Some(answer) = self.people.get_mut(&who) {
            *answer = Some(person);
        }
    }

    /// All was answered, be it that nobody knows.
    pub(super) fn is_complete(&self) -> bool {
        self.orders.values().all(|order| order.views.is_some()) && self.people.values().all(Option::is_some)
    }

    pub(super) fn has_unknown(&self) -> bool {
        let order = |order: &Order| matches!(order.views, Some(Answer::Unknown));
        let person = |answer: &Option<Answer<Person>>| matches!(answer, Some(Answer::Unknown));
        self.orders.values().any(order) || self.people.values().any(person)
    }

    pub(super) fn views(&self, woid: Address) -> Answer<Views> {
        let order = self.orders.get(&woid);
        order.and_then(|order| order.views.clone()).unwrap_or_default()
    }

    pub(super) fn person(&self, who: Address) -> Answer<Person> {
        self.people.get(&who).cloned().flatten().unwrap_or_default()
    }

    pub(super) fn people(&self) -> BTreeMap<Address, Person> {
        let known = self.people.iter();
        known
            .filter_map(|(who, answer)| Some((*who, *answer.as_ref()?.known()?)))
            .collect()
    }
}
