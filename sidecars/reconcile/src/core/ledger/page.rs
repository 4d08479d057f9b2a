//! What one block has moved, until it is in the sums.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire_hub::row::{DAY_S, Movement};
use wire_hub::{Address, BlockRef, Event, Hash, Log, Timestamp};

/// Logs of a block whose movements are one note, which has 64 KiB: an order of 60 workers moves the money of each twice.
const LOGS_PER_PART: u32 = 4;

/// Entries that one log may make: 60 workers, paid or seized and set free, a requester, a pool, and two that sell.
pub(super) const ENTRIES_PER_LOG: u32 = 256;

/// One movement.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The block's time.
    pub at: Timestamp,
    /// The order that it is of, by the key of its identity; `None` for subscriptions, deposits and offers.
    pub order: Option<Hash>,
    /// Whose.
    pub party: Address,
    /// What happened.
    pub movement: Movement,
}

/// What sums are kept of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Account {
    /// An order, by the key of its identity.
    Order(Hash),
    /// The pool's owner, a worker or a requester.
    Party(Address),
    /// A day, counted from 1970.
    Day(u64),
}

/// Something that moves money, where only the views of the order say whose and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Deed {
    pub(super) at: Timestamp,
    pub(super) woid: Address,
    pub(super) transaction: Hash,
    pub(super) kind: Kind,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Kind {
    Bought,
    Contributed(Address),
    Finalized,
    Claimed,
}

/// A block. What of it is in the sums stays until all of it is, and all before.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Page {
    /// By the number of the log, times [`ENTRIES_PER_LOG`].
    pub(super) entries: BTreeMap<u32, Entry>,
    pub(super) deeds: BTreeMap<u32, Deed>,
}

/// A part of a page, which is one note.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Part {
    /// The block.
    pub block: BlockRef,
    /// Which part.
    pub number: u32,
    /// What is in it.
    pub page: Page,
}

impl Entry {
    pub(super) fn accounts(&self) -> impl Iterator<Item = Account> {
        let order = self.order.map(Account::Order);
        let day = Account::Day(self.at.0 / DAY_S);
        order.into_iter().chain([Account::Party(self.party), day])
    }
}

impl Deed {
    /// What a log tells; `None`: nothing that moves money.
    pub(super) fn of(log: &Log, at: Timestamp) -> Option<Self> {
        let kind = match log.event {
            Event::WorkOrderActive { .. } => Kind::Bought,
            Event::Contribute { worker, .. } => Kind::Contributed(worker),
            Event::FinalizeWork { .. } => Kind::Finalized,
            Event::WorkOrderClaimed { .. } => Kind::Claimed,
            _ => return None,
        };
        let transaction = log.place.transaction;
        log.event.woid().map(|woid| Self {
            at,
            woid,
            transaction,
            kind,
        })
    }
}

impl Page {
    /// The number of the part that has this index.
    pub(super) const fn part_of(index: u32) -> u32 {
        index / (ENTRIES_PER_LOG * LOGS_PER_PART)
    }

    /// The numbers of all parts that have anything.
    pub(super) fn parts(&self) -> impl Iterator<Item = u32> {
        let indices = self.entries.keys().chain(self.deeds.keys());
        indices.map(|index| Self::part_of(*index))
    }

    /// What a part has.
    pub(super) fn part(&self, number: u32) -> Self {
        let is_in = |index: &u32| Self::part_of(*index) == number;
        let entries = self.entries.iter().filter(|(index, _)| is_in(index));
        let deeds = self.deeds.iter().filter(|(index, _)| is_in(index));
        Self {
            entries: entries.map(|(index, entry)| (*index, *entry)).collect(),
            deeds: deeds.map(|(index, deed)| (*index, *deed)).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.deeds.is_empty()
    }

    /// Puts the entries of a log into the place of its deed.
    pub(super) fn replace(&mut self, index: u32, entries: impl IntoIterator<Item = Entry>) {
        self.deeds.remove(&index);
        let places = index..index.saturating_add(ENTRIES_PER_LOG);
        self.entries.extend(places.zip(entries));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::Rlc;
    use wire_protocol::limits::NOTE_BYTES_MAX;

    /// Four orders of 60 workers, each of whom is set free, and paid or seized, and was wrong.
    #[test]
    fn the_largest_part_fits_a_note() {
        let entry = Entry {
            at: Timestamp(u64::MAX),
            order: Some(Hash([0xff; 32])),
            party: Address([0xff; 20]),
            movement: Movement::Rewarded(Rlc(u128::MAX)),
        };
        let mut page = Page::default();
        for log in 0..LOGS_PER_PART {
            let index = (u32::MAX / ENTRIES_PER_LOG - LOGS_PER_PART + 1 + log) * ENTRIES_PER_LOG;
            page.replace(index, vec![entry; 60 * 2 + 5]);
        }
        let numbers: Vec<u32> = page.parts().collect();
        assert!(numbers.iter().all(|number| *number == numbers[0]));
        let part = Part {
            block: BlockRef {
                number: u64::MAX,
                hash: Hash([0xff; 32]),
            },
            number: numbers[0],
            page: page.part(numbers[0]),
        };
        let bytes = postcard::to_allocvec(&part).expect("a note");
        assert!(bytes.len() < NOTE_BYTES_MAX, "{} bytes", bytes.len());
        assert_eq!(part.page, page);
    }
}
