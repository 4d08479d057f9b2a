//! The orders that are known, by what the chain has said and taken back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire_hub::{Address, Answer, Block, BlockRef, Event, Hash, Log, Timestamp, Views, WorkOrder};

use super::{Identity, Intended, Observed, Texts};

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
        let fingerprint = order.fingerprint();
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

    /// This block is orphaned. Returns the orders of which it took something back.
    pub fn on_undone(&mut self, block: BlockRef) -> Vec<Identity> {
        let mut changed = Vec::new();
        for (identity, entry) in &mut self.entries {
            let (bought, ended) = (entry.bought == Some(block), entry.ended == Some(block));
            if bought {
                entry.bought = None;
            }
            if ended {
                entry.ended = None;
                entry.result = None;
            }
            if bought || ended {
                changed.push(*identity);
            }
        }
        changed
    }

    /// Blocks from this number on are followed again: what they said is forgotten until then.
    pub fn undo_from(&mut self, number: u64) {
        for entry in self.entries.values_mut() {
            entry.bought.take_if(|block| block.number >= number);
            if entry.ended.take_if(|block| block.number >= number).is_some() {
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
        let is_another = |views: &Views| views.order.fingerprint() != identity.fingerprint;
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

    /// As another process has noted it.
    pub fn insert(&mut self, identity: Identity, entry: Entry) {
        self.entries.insert(identity, entry);
    }

    /// It is over for good.
    pub fn forget(&mut self, identity: &Identity) {
        self.entries.remove(identity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::{Hash, NOBODY, OrderStatus, Place, Rlc};

    const WOID: Address = Address([7; 20]);

    fn block(number: u64, fork: u8) -> BlockRef {
        BlockRef {
            number,
            hash: Hash([fork; 32]),
        }
    }

    fn order(params: &str) -> WorkOrder {
        WorkOrder {
            woid: WOID,
            market_order: 1,
            workerpool: NOBODY,
            app: NOBODY,
            dataset: NOBODY,
            requester: NOBODY,
            params: params.into(),
            callback: NOBODY,
            beneficiary: NOBODY,
            emitcost: Rlc(0),
            status: OrderStatus::Active,
        }
    }

    fn log(block: BlockRef, event: Event) -> Log {
        let place = Place {
            block,
            log_index: 0,
            transaction: Hash::ZERO,
        };
        Log { place, event }
    }

    fn current(book: &Book) -> Vec<Identity> {
        let identities = book.iter().map(|(identity, _)| *identity);
        identities.filter(|identity| book.is_current(identity)).collect()
    }

    #[test]
    fn an_order_that_is_bought_again_after_a_reorganisation_goes_on() {
        let mut book = Book::default();
        book.on_bought(1, NOBODY, block(5, 1), &order("a"));
        let [first] = current(&book)[..] else {
            panic!("one")
        };
        book.intended_mut(&first).expect("known").bags = 3;
        assert_eq!(book.on_undone(block(5, 2)), []);
        assert!(book.is_current(&first), "another block");
        assert_eq!(book.on_undone(block(5, 1)), [first]);
        assert!(!book.is_current(&first));
        book.on_bought(1, NOBODY, block(6, 2), &order("a"));
        assert_eq!(current(&book), [first]);
        assert_eq!(book.intended_mut(&first).expect("known").bags, 3);
        assert_eq!(
            (book.by_key(first.key()), book.by_key(Hash::ZERO)),
            (Some(first), None)
        );
    }

    #[test]
    fn another_order_at_the_same_address_is_another() {
        let mut book = Book::default();
        book.on_bought(1, NOBODY, block(5, 1), &order("a"));
        let [first] = current(&book)[..] else {
            panic!("one")
        };
        book.on_undone(block(5, 1));
        book.on_bought(1, NOBODY, block(5, 2), &order("b"));
        let [second] = current(&book)[..] else {
            panic!("one")
        };
        assert_ne!(first.fingerprint, second.fingerprint);
        assert_eq!(book.iter().count(), 2, "the first is still to be cancelled");
        book.forget(&first);
        assert_eq!(book.iter().count(), 1);
    }

    #[test]
    fn what_is_said_of_an_end_is_taken_back_with_its_block() {
        let mut book = Book::default();
        book.on_bought(1, NOBODY, block(5, 1), &order("a"));
        let [identity] = current(&book)[..] else {
            panic!("one")
        };
        let finalized = Event::FinalizeWork {
            woid: WOID,
            stdout: String::new(),
            stderr: String::new(),
            uri: "xw://1".into(),
        };
        let at = Block {
            at: block(9, 1),
            parent: Hash::ZERO,
            timestamp: Timestamp(0),
            base_fee: None,
        };
        let observed = |book: &Book| book.observe(&identity, at, Answer::Unknown, None).expect("known");
        book.on_log(&log(block(8, 1), finalized));
        let with_end = observed(&book);
        assert_eq!(
            (with_end.bought, with_end.ended, with_end.confirmations()),
            (5, Some(8), 4)
        );
        assert_eq!(with_end.result.expect("a result").uri, "xw://1");
        book.on_undone(block(8, 1));
        assert_eq!((observed(&book).ended, observed(&book).result), (None, None));
        let elsewhere = Event::WorkOrderClaimed {
            woid: Address([8; 20]),
        };
        book.on_log(&log(block(8, 2), elsewhere));
        assert_eq!(observed(&book).ended, None);
    }
}
