//! What is locked, stranded, rewarded, seized and burned as gas: of each order, each party, each day.
//!
//! ```text
//!   log ──► Deed ── views of the order, receipt ──► Entry ── its block is final ──► sums of order, party, day
//!             └──────── by block, noted ──────────────┘
//!   receipt of ours ──► Entry, by nonce, in its row ── final, and all before it known ──► the same sums
//! ```
//!
//! An entry stands under the block that it was mined in, so a reorganisation takes back exactly what it orphaned. When a
//! block is final its entries are added into the sums and let go. Not before all that comes earlier was added: a sum knows
//! up to which block it has everything ([`MoneyRow::upto`]), so that what is read again after a restart, or was noted in
//! pieces of which some arrived, counts once.
//!
//! Gas is kept apart: the lane says where its transactions are, takes it back, and knows what is still to come.

mod entries;
mod page;
mod reward;

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::row::MinedRow;
use wire_hub::{Address, BlockRef, Hash, Log, Nonce, Receipt, Timestamp, Views};

pub use page::{Account, Entry, Page, Part};
pub use reward::{Split, kitty_bonus, split, weight};
pub use wire_hub::row::{MoneyRow, Movement, Stranded, Totals};

use page::{Deed, ENTRIES_PER_LOG, Kind};

/// The books.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The first block whose movements are in the books.
    since: u64,
    /// Movements of stake that are not in the sums. Bounded by the blocks that are not final.
    pages: BTreeMap<BlockRef, Page>,
    /// Gas that is not in the sums.
    gas: BTreeMap<Nonce, (BlockRef, Entry)>,
    sums: BTreeMap<Account, MoneyRow>,
    changed: Changed,
}

/// What has changed, to be noted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Changed {
    /// Whose sums, or open movements.
    pub accounts: BTreeSet<Account>,
    /// Which parts of which blocks.
    pub parts: BTreeSet<(BlockRef, u32)>,
}

impl Ledger {
    /// Empty books, from this block on.
    #[must_use]
    pub fn new(since: u64) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }

    /// Takes up a sum that was noted.
    pub fn restore_sum(&mut self, account: Account, sum: MoneyRow) {
        let open = Totals::default();
        self.sums.insert(account, MoneyRow { open, ..sum });
    }

    /// Takes up a part that was noted.
    pub fn restore_part(&mut self, part: Part) {
        let page = self.pages.entry(part.block).or_default();
        page.entries.extend(part.page.entries);
        page.deeds.extend(part.page.deeds);
    }

    /// The first block whose movements are in the books.
    #[must_use]
    pub fn since(&self) -> u64 {
        self.since
    }

    /// The chain has said something at this time of an order. Events that move nothing are passed over.
    pub fn on_log(&mut self, log: &Log, at: Timestamp) {
        let Some(deed) = Deed::of(log, at) else { return };
        let block = log.place.block;
        let index = log.place.log_index.saturating_mul(ENTRIES_PER_LOG);
        let page = self.pages.entry(block).or_default();
        if !page.entries.contains_key(&index) {
            page.deeds.insert(index, deed);
            self.changed.parts.insert((block, Page::part_of(index)));
        }
    }

    /// Orders whose views are needed, each with the block of which or a later one.
    #[must_use]
    pub fn unpriced(&self) -> BTreeMap<Address, u64> {
        let mut orders = BTreeMap::new();
        for (block, page) in &self.pages {
            orders.extend(page.deeds.values().map(|deed| (deed.woid, block.number)));
        }
        orders
    }

    /// Orders of which something is not in the sums yet, by the keys of their identities. Whoever forgets one of them could not
    /// read it again.
    #[must_use]
    pub fn open_orders(&self) -> BTreeSet<Hash> {
        let entries = self.pages.values().flat_map(|page| page.entries.values());
        entries.filter_map(|entry| entry.order).collect()
    }

    /// Receipts that are needed, besides views.
    #[must_use]
    pub fn unseen(&self) -> BTreeSet<(BlockRef, Hash)> {
        let of_page = |(block, page): (&BlockRef, &Page)| {
            let block = *block;
            let deeds = page.deeds.values().filter(|deed| deed.kind == Kind::Finalized);
            deeds
                .map(move |deed| (block, deed.transaction))
                .collect::<Vec<_>>()
        };
        self.pages.iter().flat_map(of_page).collect()
    }

    /// What the contracts have of an order at the block of this number, and receipts that were read: what was waiting for
    /// them becomes entries. `key`: of the order's identity.
    pub fn price(
        &mut self,
        key: Hash,
        views: &Views,
        read_at: u64,
        receipts: &BTreeMap<(BlockRef, Hash), Receipt>,
        pool_owner: Address,
    ) {
        let woid = views.order.woid;
        for (block, page) in self.pages.iter_mut().filter(|(block, _)| block.number <= read_at) {
            let deeds: Vec<(u32, Deed)> = page.deeds.iter().map(|(index, deed)| (*index, *deed)).collect();
            for (index, deed) in deeds.into_iter().filter(|(_, deed)| deed.woid == woid) {
                let receipt = receipts.get(&(*block, deed.transaction));
                let Some(entries) = deed.entries(key, views, receipt, pool_owner) else {
                    continue;
                };
                self.changed
                    .accounts
                    .extend(entries.iter().flat_map(Entry::accounts));
                self.changed.parts.insert((*block, Page::part_of(index)));
                page.replace(index, entries);
            }
        }
    }

    /// A transaction of `sender` was mined, whether or not it took effect. Another place of the same one is forgotten.
    pub fn burn(&mut self, nonce: Nonce, mined: &MinedRow, sender: Address, order: Option<Hash>) {
        self.unburn(nonce);
        let entry = Entry {
            at: mined.at,
            order,
            party: sender,
            movement: Movement::Burned {
                gas: mined.gas,
                price: mined.price,
            },
        };
        self.changed.accounts.extend(entry.accounts());
        self.gas.insert(nonce, (mined.block, entry));
    }

    /// It was not, after all. What is in the sums stays there.
    pub fn unburn(&mut self, nonce: Nonce) {
        if let Some((_, entry)) = self.gas.remove(&nonce) {
            self.changed.accounts.extend(entry.accounts());
        }
    }

    /// Takes back what an orphaned block did, but for gas. Of an unknown block it takes back nothing.
    pub fn undo(&mut self, block: BlockRef) {
        if let Some(page) = self.pages.remove(&block) {
            let entries = page.entries.values();
            self.changed.accounts.extend(entries.flat_map(Entry::accounts));
            self.changed.parts.extend(page.parts().map(|part| (block, part)));
        }
    }

    /// Takes back what blocks did of which this does not hold.
    pub fn undo_unless(&mut self, holds: impl Fn(BlockRef) -> bool) {
        let gone: Vec<BlockRef> = self
            .pages
            .keys()
            .copied()
            .filter(|block| !holds(*block))
            .collect();
        for block in gone {
            self.undo(block);
        }
    }

    /// Blocks up to `upto` are final, and gas up to `gas_upto` is known: what has its views becomes sums. Earlier numbers than
    /// before change nothing.
    pub fn settle(&mut self, upto: u64, gas_upto: u64) {
        let waits = self.pages.iter().find(|(_, page)| !page.deeds.is_empty());
        let stake_upto = match waits {
            Some((block, _)) => block.number.checked_sub(1).map(|before| before.min(upto)),
            None => Some(upto),
        };
        let Self {
            pages,
            gas,
            sums,
            changed,
            ..
        } = self;
        if let Some(upto) = stake_upto {
            let later = pages.split_off(&first_of(upto.saturating_add(1)));
            let settled = std::mem::replace(pages, later);
            for (block, page) in &settled {
                changed.parts.extend(page.parts().map(|part| (*block, part)));
            }
            let entries = settled
                .iter()
                .flat_map(|(block, page)| page.entries.values().map(|entry| (*block, *entry)));
            let reached = add(sums, entries, |sum| &mut sum.upto);
            for account in &reached {
                let sum = sums.get_mut(account).expect("just added to");
                sum.upto = sum.upto.max(Some(upto));
            }
            changed.accounts.extend(reached);
        }
        let is_known = |block: &BlockRef| block.number <= upto.min(gas_upto);
        let (known, open) = std::mem::take(gas)
            .into_iter()
            .partition(|(_, (block, _))| is_known(block));
        *gas = open;
        let known: BTreeMap<Nonce, (BlockRef, Entry)> = known;
        let reached = add(sums, known.into_values(), |sum| &mut sum.gas_upto);
        for account in &reached {
            let sum = sums.get_mut(account).expect("just added to");
            sum.gas_upto = sum.gas_upto.max(Some(upto.min(gas_upto)));
        }
        changed.accounts.extend(reached);
    }

    /// The chain is followed again from this block, or from where the books begin if that is earlier. All is forgotten but gas.
    /// Returns from where.
    pub fn begin_again(&mut self, from: u64) -> u64 {
        self.since = self.since.min(from);
        self.undo_unless(|_| false);
        for (account, sum) in &mut self.sums {
            let Totals { gas, burned, .. } = sum.settled;
            sum.settled = Totals {
                gas,
                burned,
                ..Totals::default()
            };
            sum.upto = None;
            self.changed.accounts.insert(*account);
        }
        self.since
    }

    /// Sums of an order are not kept any longer; what it did stays in the sums of parties and days.
    pub fn forget(&mut self, order: Hash) {
        self.sums.remove(&Account::Order(order));
    }

    /// Sums of an account, with what is not final.
    #[must_use]
    pub fn money(&self, account: Account) -> MoneyRow {
        let mut row = self.sums.get(&account).copied().unwrap_or_default();
        let is_of = |entry: &Entry| entry.accounts().any(|of| of == account);
        for (block, page) in &self.pages {
            let is_open = row.upto.is_none_or(|upto| block.number > upto);
            for entry in page.entries.values().filter(|entry| is_open && is_of(entry)) {
                row.open.add(entry.movement);
            }
        }
        for (block, entry) in self.gas.values() {
            if row.gas_upto.is_none_or(|upto| block.number > upto) && is_of(entry) {
                row.open.add(entry.movement);
            }
        }
        row
    }

    /// Whether gas of this transaction is not in the sums yet.
    #[must_use]
    pub fn has_open_gas(&self, nonce: Nonce) -> bool {
        self.gas.contains_key(&nonce)
    }

    /// How often a worker was wrong or did not reveal, in blocks that are final: nobody is put out for what may be taken
    /// back.
    #[must_use]
    pub fn faults(&self, worker: Address) -> u32 {
        let sum = self.sums.get(&Account::Party(worker));
        sum.map_or(0, |sum| sum.settled.faults)
    }

    /// Nothing waits for views or receipts: the books have all that was followed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.pages.values().all(|page| page.deeds.is_empty())
    }

    /// What has changed since it was last asked.
    pub fn take_changed(&mut self) -> Changed {
        std::mem::take(&mut self.changed)
    }

    /// A part of a block as it is to be noted; `None`: there is nothing of it any more.
    #[must_use]
    pub fn part(&self, block: BlockRef, number: u32) -> Option<Part> {
        let page = self.pages.get(&block)?.part(number);
        (!page.is_empty()).then_some(Part { block, number, page })
    }
}

/// Adds entries to the sums that do not have them yet. Returns which have more now.
fn add(
    sums: &mut BTreeMap<Account, MoneyRow>,
    entries: impl Iterator<Item = (BlockRef, Entry)>,
    upto: impl Fn(&mut MoneyRow) -> &mut Option<u64>,
) -> BTreeSet<Account> {
    let mut reached = BTreeSet::new();
    for (block, entry) in entries {
        for account in entry.accounts() {
            let sum = sums.entry(account).or_default();
            if upto(sum).is_none_or(|upto| block.number > upto) {
                sum.settled.add(entry.movement);
                reached.insert(account);
            }
        }
    }
    reached
}

/// Before all blocks of this number.
fn first_of(number: u64) -> BlockRef {
    BlockRef {
        number,
        hash: Hash::ZERO,
    }
}

#[cfg(test)]
mod tests;
