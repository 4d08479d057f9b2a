//! The engine in a few lines: works under keys, each done by its worker after some blocks.

use std::collections::BTreeMap;

use sidecars_reconcile::core::order::{Identity, Outcome, Texts};
use sidecars_reconcile::core::reconciler::Event;
use wire_hub::{Address, Hash, Ticket};
use worker_chain::core::Now;

use super::member::Member;

/// A work of an order that one worker does.
struct Work {
    order: Identity,
    worker: Address,
    ticket: Ticket,
    /// Blocks that its worker was at it.
    blocks: u64,
    is_cancelled: bool,
    /// Whoever asked for it last hears how it ends.
    is_followed: bool,
}

pub(crate) struct Engine {
    works: BTreeMap<Hash, Work>,
    /// What works have for the requesters.
    pub(crate) texts: Texts,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            works: BTreeMap::new(),
            texts: Texts {
                uri: "pool://result".into(),
                ..Texts::default()
            },
        }
    }
}

impl Engine {
    pub(crate) fn submit(&mut self, key: Hash, order: Identity, worker: Address, ticket: Ticket) {
        let work = self.works.entry(key).or_insert(Work {
            order,
            worker,
            ticket,
            blocks: 0,
            is_cancelled: false,
            is_followed: true,
        });
        assert_eq!((work.order, work.worker), (order, worker), "a key is of one work");
        work.is_followed = true;
    }

    pub(crate) fn cancel(&mut self, order: Identity, worker: Address) {
        let of_it = |work: &&mut Work| (work.order, work.worker) == (order, worker);
        self.works
            .values_mut()
            .filter(of_it)
            .for_each(|work| work.is_cancelled = true);
    }

    /// Who listened is gone.
    pub(crate) fn forget_listener(&mut self) {
        self.works.values_mut().for_each(|work| work.is_followed = false);
    }

    /// How many works were ever asked for.
    pub(crate) fn works(&self) -> usize {
        self.works.len()
    }

    /// Blocks that a worker was at its first work.
    pub(crate) fn blocks_of(&self, worker: Address) -> u64 {
        let mut works = self.works.values();
        let work = works.find(|work| work.worker == worker);
        work.map_or(0, |work| work.blocks)
    }

    /// A block's time of work. A worker hands a result to its own side of the chain before the engine hears of it.
    pub(crate) async fn work(&mut self, now: Now, members: &mut [Member]) -> Vec<Event> {
        let mut ended = Vec::new();
        for work in self.works.values_mut().filter(|work| !work.is_cancelled) {
            let Some(member) = members.iter_mut().find(|member| member.address() == work.worker) else {
                continue;
            };
            if !member.is_here {
                continue;
            }
            if work.blocks == member.habits.blocks {
                member.compute(now, work.ticket).await;
            }
            work.blocks += 1;
            let is_reported = work.blocks > member.habits.blocks + member.habits.reports_after;
            if is_reported && work.is_followed {
                work.is_followed = false;
                ended.push(Event::Ended {
                    order: work.order,
                    worker: work.worker,
                    outcome: Outcome::Done(Some(member.habits.result)),
                    texts: Some(self.texts.clone()),
                });
            }
        }
        ended
    }
}
