//! The orders that are known, by what the chain has said and taken back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire_hub::{Address, Block, BlockRef, Event, Hash, Log, Timestamp, WorkOrder};

use super::{Identity, Intended, Observed, Texts, Views, fingerprint};
use crate::core::answer::Answer;

/// All orders that are not forgotten.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Book {
    entries: BTreeMap<Identity, Entry>,
}

/// An order, and where the chain has said what of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Entry {
    /// What is under way for it.
    pub intended: Intended,
    /// Where it was bought. `None`: that block is orphaned.
    bought: Option<BlockRef>,
    /// Where it was finalized or claimed.
    ended: Option<BlockRef>,
    result: Option<Texts>,
}

impl Book {
    /// An order was bought in this block. The same order (all of it but the block) that a reorganisation had taken back
    /// goes on with its works; anything else at its address is another order.
    pub fn on_bought(&mut self, chain_id: u64, hub: Address, at: BlockRef, order: &WorkOrder) {
        let fingerprint = fingerprint(order);
        let is_it = |identity: &Identity| identity.woid == order.woid && identity.fingerprint == fingerprint;
        let known = self.entries.iter_mut().find(|(identity, _)| is_it(identity));
        if let Some((_, entry)) = known {
            entry.bought = Some(at);
            return;
        }
        let identity = Identity {
            chain_id,
            hub,
            woid: order.woid,
            block: at.hash,
            fingerprint,
        };
        let entry = Entry {
            bought: Some(at),
            ..Entry::default()
        };
        self.entries.insert(identity, entry);
    }

    /// What else the chain has said. What is said of an order that was taken back, or that nobody knows, changes nothing.
    pub fn on_log(&mut self, log: &Log) {
        let Some(woid) = log.event.woid() else { return };
        let current = self
            .entries
            .iter_mut()
            .filter(|(_, entry)| entry.bought.is_some());
        for (_, entry) in current.filter(|(identity, _)| identity.woid == woid) {
            match &log.event {
                Event::FinalizeWork {
                    stdout, stderr, uri, ..
                } => {
                    entry.ended = Some(log.place.block);
                    entry.result = Some(Texts {
                        stdout: stdout.clone(),
                        stderr: stderr.clone(),
                        uri: uri.clone(),
                    });
                }
                Event::WorkOrderClaimed { .. } => entry.ended = Some(log.place.block),
                // A name of an intent may differ more often than it has to.
                Event::Reopen { .. } => entry.intended.rounds += 1,
                _ => {}
            }
        }
    }

    /// This block is orphaned.
    pub fn on_undone(&mut self, block: BlockRef) {
        for entry in self.entries.values_mut() {
            if entry.bought == Some(block) {
                entry.bought = None;
            }
            if entry.ended == Some(block) {
                entry.ended = None;
                entry.result = None;
            }
        }
    }

    /// What is seen of an order at this block, with what the contracts have of its address there.
    #[must_use]
    pub fn observe(
        &self,
        identity: &Identity,
        at: Block,
        views: Answer<Views>,
        final_: Option<(u64, Timestamp)>,
    ) -> Option<Observed> {
        let entry = self.entries.get(identity)?;
        let is_another = |views: &Views| fingerprint(&views.order) != identity.fingerprint;
        let views = match views {
            Answer::Known(views) if entry.bought.is_none() && !is_another(&views) => Answer::Absent,
            views => views,
        };
        Some(Observed {
            at,
            views,
            bought: entry.bought.map_or(0, |block| block.number),
            ended: entry.ended.map(|block| block.number),
            final_,
            result: entry.result.clone(),
        })
    }

    /// Whether the order stands in the chain as it was followed. What is sent for one that does not is sent for nothing, or
    /// for another order.
    #[must_use]
    pub fn is_current(&self, identity: &Identity) -> bool {
        self.entries
            .get(identity)
            .is_some_and(|entry| entry.bought.is_some())
    }

    /// All orders, by identity.
    pub fn iter(&self) -> impl Iterator<Item = (&Identity, &Entry)> {
        self.entries.iter()
    }

    /// The order with this key.
    #[must_use]
    pub fn by_key(&self, key: Hash) -> Option<Identity> {
        self.entries
            .keys()
            .copied()
            .find(|identity| identity.key() == key)
    }

    /// What is under way for an order.
    pub fn intended_mut(&mut self, identity: &Identity) -> Option<&mut Intended> {
        self.entries.get_mut(identity).map(|entry| &mut entry.intended)
    }

    /// It is over for good.
    pub fn forget(&mut self, identity: &Identity) {
        self.entries.remove(identity);
    }
}
