//! The rows of [`wire_hub::row`], as they were last noted, and what of them is to be noted.
//!
//! A row is written when something in it changes, and not with each block. The pool's, in which the number of the last block
//! stands, is written every few seconds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire_hub::row::{
    MinedRow, MoneyRow, ORDERS_OVER_MAX, OrderRow, OrderState, PoolRow, Row, TRANSACTIONS_FINAL_MAX,
    TransactionRow, TransactionState,
};
use wire_hub::{Hash, Identity, Nonce, Timestamp};
use wire_lane::{Kept, Purpose};
use wire_protocol::units::{Instant, Millis};

use crate::core::ledger::Account;

/// The pool's row is written so often, if anything but numbers of blocks has changed it is not waited for long.
const POOL_EVERY: Millis = Millis(5_000);
/// It is written after so many blocks in any case, on chains whose blocks come fast.
const POOL_BLOCKS: u64 = 16;

/// All rows that are kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    orders: BTreeMap<Hash, OrderRow>,
    /// Orders that are over, the one that was first in front.
    over: VecDeque<Hash>,
    transactions: BTreeMap<Nonce, TransactionRow>,
    money: BTreeMap<Account, MoneyRow>,
    pool: Option<PoolRow>,
    pool_at: Option<Instant>,
    changed_orders: BTreeSet<Hash>,
    changed_transactions: BTreeSet<Nonce>,
    /// Keys of rows that are to be removed.
    gone: Vec<String>,
}

impl Rows {
    /// Takes up a row that was noted.
    pub(super) fn restore(&mut self, row: Row) {
        match row {
            Row::Pool(row) => self.pool = Some(row),
            Row::Order(row) => drop(self.orders.insert(row.identity.key(), *row)),
            Row::Transaction(row) => drop(self.transactions.insert(row.nonce, *row)),
            Row::Party(party, row) => drop(self.money.insert(Account::Party(party), row)),
            Row::Day(day, row) => drop(self.money.insert(Account::Day(day), row)),
        }
    }

    /// All rows were taken up: which orders were over first.
    pub(super) fn restored(&mut self) {
        let mut over: Vec<(Timestamp, Hash)> = self
            .orders
            .iter()
            .filter(|(_, row)| row.is_over)
            .map(|(key, row)| (row.at, *key))
            .collect();
        over.sort_unstable();
        self.over = over.into_iter().map(|(_, key)| key).collect();
    }

    pub(super) fn pool(&self) -> Option<&PoolRow> {
        self.pool.as_ref()
    }

    /// Sums as they were noted.
    pub(super) fn sums(&self) -> impl Iterator<Item = (Account, MoneyRow)> {
        let orders = self.orders.iter();
        let of_orders = orders.map(|(key, row)| (Account::Order(*key), row.money));
        self.money
            .iter()
            .map(|(account, row)| (*account, *row))
            .chain(of_orders)
    }

    pub(super) fn transactions(&self) -> impl Iterator<Item = &TransactionRow> {
        self.transactions.values()
    }

    pub(super) fn transaction(&self, nonce: Nonce) -> Option<&TransactionRow> {
        self.transactions.get(&nonce)
    }

    /// Changes the row of an order, which is made if there is none. `at`: the time of the last block.
    pub(super) fn order(&mut self, identity: Identity, at: Timestamp, change: impl FnOnce(&mut OrderRow)) {
        let key = identity.key();
        let is_new = !self.orders.contains_key(&key);
        let row = self.orders.entry(key).or_insert_with(|| OrderRow::new(identity));
        let mut next = row.clone();
        change(&mut next);
        if is_new || next != *row {
            next.at = at;
            *row = next;
            self.changed_orders.insert(key);
        }
    }

    /// An order is over. Returns those whose rows go, to make room.
    pub(super) fn end(&mut self, identity: Identity, at: Timestamp, state: OrderState) -> Vec<Hash> {
        self.order(identity, at, |row| {
            row.is_over = true;
            row.state = state;
        });
        let key = identity.key();
        self.over.retain(|over| *over != key);
        self.over.push_back(key);
        let surplus = self.over.len().saturating_sub(ORDERS_OVER_MAX);
        let gone: Vec<Hash> = self.over.drain(..surplus).collect();
        for key in &gone {
            self.orders.remove(key);
            self.changed_orders.remove(key);
            self.gone.push(Row::order_key(*key));
        }
        gone
    }

    /// Changes the row of a transaction, which is made if there is none.
    pub(super) fn change_transaction(
        &mut self,
        nonce: Nonce,
        at: Timestamp,
        change: impl FnOnce(&mut TransactionRow),
    ) {
        let is_new = !self.transactions.contains_key(&nonce);
        let row = self
            .transactions
            .entry(nonce)
            .or_insert_with(|| TransactionRow::new(nonce, None, None));
        let mut next = row.clone();
        change(&mut next);
        if is_new || next != *row {
            next.at = at;
            *row = next;
            self.changed_transactions.insert(nonce);
        }
    }

    /// Rows of transactions that are final go, but for the last ones and those that are `needed`.
    pub(super) fn let_go(&mut self, needed: impl Fn(Nonce) -> bool) {
        let surplus = self.transactions.len().saturating_sub(TRANSACTIONS_FINAL_MAX);
        let mut gone: Vec<Nonce> = Vec::new();
        for row in self
            .transactions
            .values()
            .filter(|row| row.is_final)
            .take(surplus)
        {
            if !needed(row.nonce) {
                gone.push(row.nonce);
            }
        }
        for nonce in gone {
            self.transactions.remove(&nonce);
            self.changed_transactions.remove(&nonce);
            self.gone.push(Row::transaction_key(nonce));
        }
    }

    /// An account has this now.
    pub(super) fn money(&mut self, account: Account, now: MoneyRow, at: Timestamp) -> Option<Row> {
        if let Account::Order(key) = account {
            if let Some(identity) = self.orders.get(&key).map(|row| row.identity) {
                self.order(identity, at, |row| row.money = now);
            }
            return None;
        }
        let before = self.money.insert(account, now);
        (before != Some(now)).then_some(match account {
            Account::Party(party) => Row::Party(party, now),
            Account::Day(day) => Row::Day(day, now),
            Account::Order(_) => unreachable!("orders are above"),
        })
    }

    /// Whether the pool's row is to be written now. It `must`, where something stands in it that other notes rely on.
    pub(super) fn is_pool_due(&self, row: &PoolRow, now: Instant, must: bool) -> bool {
        let Some(before) = &self.pool else { return true };
        let is_time = self.pool_at.is_none_or(|at| now.since(at) >= POOL_EVERY);
        let is_far = row.followed.abs_diff(before.followed) >= POOL_BLOCKS;
        must || (before != row && (is_time || is_far))
    }

    pub(super) fn write_pool(&mut self, row: PoolRow, now: Instant) -> Row {
        self.pool = Some(row.clone());
        self.pool_at = Some(now);
        Row::Pool(row)
    }

    /// What is to be noted since it was last asked: rows, and keys of those that go.
    pub(super) fn take_changed(&mut self) -> (Vec<Row>, Vec<String>) {
        let orders = std::mem::take(&mut self.changed_orders).into_iter();
        let orders = orders.filter_map(|key| self.orders.get(&key).cloned().map(Box::new));
        let mut rows: Vec<Row> = orders.map(Row::Order).collect();
        let transactions = std::mem::take(&mut self.changed_transactions).into_iter();
        let transactions =
            transactions.filter_map(|nonce| self.transactions.get(&nonce).cloned().map(Box::new));
        rows.extend(transactions.map(Row::Transaction));
        (rows, std::mem::take(&mut self.gone))
    }
}

/// What the lane keeps of a nonce, in its row.
pub(super) fn keep(row: &mut TransactionRow, kept: &Kept) {
    if let Some(intent) = &kept.intent {
        row.call = Some(intent.call.clone());
        row.about = intent.about;
    }
    let attempts = kept.attempts.iter();
    row.attempts = attempts
        .map(|attempt| wire_hub::row::AttemptRow {
            hash: attempt.hash,
            price_max: attempt.fees.price_max(),
            is_nothing: attempt.purpose == Purpose::Nothing,
        })
        .collect();
    if row.state != TransactionState::Nothing {
        row.why = kept
            .withdrawn
            .as_ref()
            .map(ToString::to_string)
            .or(row.why.take());
    }
}

/// A block has a transaction.
pub(super) fn mine(row: &mut TransactionRow, mined: MinedRow, succeeded: bool) {
    let mut attempts = row.attempts.iter();
    let is_nothing = attempts.any(|attempt| attempt.hash == mined.hash && attempt.is_nothing);
    row.state = match (is_nothing, succeeded) {
        (true, _) => TransactionState::Nothing,
        (false, true) => TransactionState::Mined,
        (false, false) => TransactionState::Failed,
    };
    if row.state == TransactionState::Mined {
        row.why = None;
    }
    row.mined = Some(mined);
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::{Address, BlockRef, Gas, Wei};

    fn identity(number: u16) -> Identity {
        let mut woid = Address([0; 20]);
        woid.0[..2].copy_from_slice(&number.to_be_bytes());
        Identity {
            chain_id: 1,
            hub: Address([1; 20]),
            woid,
            block: Hash::ZERO,
            fingerprint: Hash::ZERO,
        }
    }

    fn pool(followed: u64, handled: u64) -> PoolRow {
        let nobody = Address([0; 20]);
        PoolRow {
            place: wire_hub::row::Place {
                chain_id: 1,
                hub: nobody,
                pool: nobody,
                owner: nobody,
            },
            head: followed,
            followed,
            followed_at: Timestamp(followed),
            final_: 0,
            since: 0,
            balance: None,
            coins: None,
            handled,
            alerts: Vec::new(),
        }
    }

    #[test]
    fn a_row_is_written_when_something_in_it_changes() {
        let mut rows = Rows::default();
        let see = |rows: &mut Rows, at| {
            rows.order(identity(1), Timestamp(at), |row| row.state = OrderState::Seen);
        };
        see(&mut rows, 5);
        assert_eq!(rows.take_changed().0.len(), 1);
        see(&mut rows, 6);
        assert_eq!(rows.take_changed(), (Vec::new(), Vec::new()));
        rows.order(identity(1), Timestamp(7), |row| row.say(Timestamp(7), "why"));
        let (changed, _) = rows.take_changed();
        assert!(
            matches!(&changed[..], [Row::Order(row)] if row.at == Timestamp(7)),
            "{changed:?}"
        );
    }

    #[test]
    fn of_what_is_over_the_last_is_kept() {
        let mut rows = Rows::default();
        for number in 0..ORDERS_OVER_MAX as u16 + 3 {
            let gone = rows.end(identity(number), Timestamp(number.into()), OrderState::Final);
            let oldest = (usize::from(number)).checked_sub(ORDERS_OVER_MAX);
            let expected: Vec<Hash> = oldest
                .map(|oldest| identity(oldest as u16).key())
                .into_iter()
                .collect();
            assert_eq!(gone, expected, "{number}");
        }
        let (written, gone) = rows.take_changed();
        assert_eq!((written.len(), gone.len()), (ORDERS_OVER_MAX, 3));
        let mut again = Rows::default();
        written.into_iter().for_each(|row| again.restore(row));
        again.restored();
        assert_eq!(again.over, rows.over, "a restart lets go of the same next");
        for nonce in 0..TRANSACTIONS_FINAL_MAX as u64 + 3 {
            rows.change_transaction(Nonce(nonce), Timestamp(0), |row| row.is_final = nonce != 1);
        }
        rows.let_go(|nonce| nonce == Nonce(2));
        let (_, gone) = rows.take_changed();
        assert_eq!(gone, [0, 3].map(|nonce| Row::transaction_key(Nonce(nonce))));
    }

    #[test]
    fn the_row_of_the_pool_is_written_every_few_seconds_or_blocks() {
        let mut rows = Rows::default();
        assert!(rows.is_pool_due(&pool(1, 0), Instant(0), false));
        rows.write_pool(pool(1, 0), Instant(0));
        let later = |ms| Instant(0) + Millis(ms);
        assert!(!rows.is_pool_due(&pool(2, 0), later(4_999), false));
        assert!(rows.is_pool_due(&pool(2, 0), later(5_000), false));
        assert!(
            !rows.is_pool_due(&pool(1, 0), later(5_000), false),
            "nothing is new"
        );
        assert!(rows.is_pool_due(&pool(17, 0), later(1), false));
        assert!(rows.is_pool_due(&pool(1, 1), later(1), true));
    }

    #[test]
    fn what_takes_a_nonce_says_what_became_of_it() {
        let attempt = |hash, is_nothing| wire_hub::row::AttemptRow {
            hash: Hash([hash; 32]),
            price_max: Wei(1),
            is_nothing,
        };
        let mined = |hash| MinedRow {
            hash: Hash([hash; 32]),
            block: BlockRef {
                number: 1,
                hash: Hash::ZERO,
            },
            at: Timestamp(0),
            gas: Gas(1),
            price: Wei(1),
        };
        let mut row = TransactionRow::new(Nonce(1), None, None);
        row.attempts = vec![attempt(1, false), attempt(2, true)];
        for (hash, succeeded, state) in [
            (1, true, TransactionState::Mined),
            (1, false, TransactionState::Failed),
            (2, true, TransactionState::Nothing),
        ] {
            mine(&mut row, mined(hash), succeeded);
            assert_eq!(row.state, state);
        }
    }
}
