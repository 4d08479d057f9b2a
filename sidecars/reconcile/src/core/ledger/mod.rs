//! What is locked, stranded, rewarded, seized and burned as gas: of each order, each party, each day.
//!
//! An entry stands under the block that it was mined in, so a reorganisation takes back exactly what it orphaned. When a
//! block is final its entries are added into the sums and let go; what is asked for is the sums and the entries that are
//! not final yet. The same entry twice counts once.

mod entries;
mod reward;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire_hub::row::DAY_S;
use wire_hub::{Address, BlockRef, Timestamp};

pub use reward::{Split, kitty_bonus, split, weight};
pub use wire_hub::row::{Movement, Stranded, Totals};

/// The books.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// By block and place in it. Bounded by the blocks that are not final.
    open: BTreeMap<(BlockRef, u32), Entry>,
    /// Up to which number blocks are in the sums.
    settled: Option<u64>,
    by_order: BTreeMap<Address, Totals>,
    by_party: BTreeMap<Address, Totals>,
    by_day: BTreeMap<u64, Totals>,
}

/// One movement of money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// The block's time.
    pub at: Timestamp,
    /// The order that it is of; `None` for subscriptions, deposits and offers.
    pub order: Option<Address>,
    /// Whose money.
    pub party: Address,
    /// What happened to it.
    pub movement: Movement,
}

impl Ledger {
    /// Notes a movement in its place: the block, and a number that is its own there (of the log, or for gas one of the
    /// transaction beyond all logs). A repeat changes nothing, nor does what comes
    /// after its block was settled.
    pub fn post(&mut self, block: BlockRef, index: u32, entry: Entry) {
        if self.settled.is_some_and(|settled| block.number <= settled) {
            return;
        }
        self.open.insert((block, index), entry);
    }

    /// Takes back what an orphaned block did. Of an unknown block it takes back nothing.
    pub fn undo(&mut self, block: BlockRef) {
        self.open.retain(|(at, _), _| *at != block);
    }

    /// Takes back what blocks beyond this one did: after a restart they are followed again, or others in their place.
    pub fn undo_beyond(&mut self, number: u64) {
        self.open.retain(|(at, _), _| at.number <= number);
    }

    /// Blocks up to this number are final: their entries become sums.
    pub fn settle(&mut self, upto: u64) {
        self.settled = self.settled.max(Some(upto));
        let beyond = BlockRef {
            number: upto.saturating_add(1),
            hash: wire_hub::Hash::ZERO,
        };
        let later = self.open.split_off(&(beyond, 0));
        for entry in std::mem::replace(&mut self.open, later).into_values() {
            if let Some(order) = entry.order {
                self.by_order.entry(order).or_default().add(entry.movement);
            }
            self.by_party.entry(entry.party).or_default().add(entry.movement);
            self.by_day.entry(entry.day()).or_default().add(entry.movement);
        }
    }

    /// Sums of an order are not kept any longer; what it did stays in the sums of parties and days.
    pub fn forget(&mut self, order: Address) {
        self.by_order.remove(&order);
    }

    /// Sums of an order.
    #[must_use]
    pub fn order(&self, order: Address) -> Totals {
        self.totals(self.by_order.get(&order), |entry| entry.order == Some(order))
    }

    /// Sums of the pool, a worker or a requester.
    #[must_use]
    pub fn party(&self, party: Address) -> Totals {
        self.totals(self.by_party.get(&party), |entry| entry.party == party)
    }

    /// Sums of a day, counted from 1970.
    #[must_use]
    pub fn day(&self, day: u64) -> Totals {
        self.totals(self.by_day.get(&day), |entry| entry.day() == day)
    }

    fn totals(&self, settled: Option<&Totals>, is_of: impl Fn(&Entry) -> bool) -> Totals {
        let mut totals = settled.copied().unwrap_or_default();
        for entry in self.open.values().filter(|entry| is_of(entry)) {
            totals.add(entry.movement);
        }
        totals
    }
}

impl Entry {
    fn day(&self) -> u64 {
        self.at.0 / DAY_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::{Gas, Hash, Rlc, Wei};

    const WOID: Address = Address([0xaa; 20]);
    const WORKER: Address = Address([1; 20]);

    fn block(number: u64, fork: u8) -> BlockRef {
        BlockRef {
            number,
            hash: Hash([fork; 32]),
        }
    }

    fn entry(movement: Movement) -> Entry {
        Entry {
            at: Timestamp(3 * DAY_S + 5),
            order: Some(WOID),
            party: WORKER,
            movement,
        }
    }

    #[test]
    fn a_reorganisation_takes_back_what_it_orphaned_and_a_repeat_counts_once() {
        let mut ledger = Ledger::default();
        for _ in 0..2 {
            ledger.post(block(7, 1), 0, entry(Movement::Locked(Rlc(300))));
            ledger.post(block(8, 1), 0, entry(Movement::Seized(Rlc(300))));
        }
        assert_eq!(ledger.order(WOID).bound(), Rlc(0));
        ledger.undo(block(8, 1));
        ledger.undo(block(8, 2));
        assert_eq!(ledger.order(WOID).bound(), Rlc(300));
        ledger.post(block(8, 2), 0, entry(Movement::Unlocked(Rlc(300))));
        ledger.post(block(8, 2), 1, entry(Movement::Rewarded(Rlc(990))));
        let totals = ledger.party(WORKER);
        assert_eq!(
            (totals.bound(), totals.rewarded, totals.seized),
            (Rlc(0), Rlc(990), Rlc(0))
        );
    }

    #[test]
    fn sums_are_the_same_before_and_after_blocks_become_final() {
        let mut ledger = Ledger::default();
        ledger.post(block(7, 1), 0, entry(Movement::Locked(Rlc(300))));
        let burned = Movement::Burned {
            gas: Gas(40_000),
            price: Wei(5),
        };
        ledger.post(block(8, 1), 9, entry(burned));
        let sums = |ledger: &Ledger| (ledger.order(WOID), ledger.party(WORKER), ledger.day(3));
        let before = sums(&ledger);
        assert_eq!(before.0.burned, Wei(200_000));
        for upto in [7, 8, 8, 100] {
            ledger.settle(upto);
            ledger.post(block(7, 1), 0, entry(Movement::Locked(Rlc(300))));
            assert_eq!(sums(&ledger), before, "{upto}");
        }
        assert!(ledger.open.is_empty());
        ledger.forget(WOID);
        assert_eq!(
            (ledger.order(WOID), ledger.party(WORKER)),
            (Totals::default(), before.1)
        );
    }
}
