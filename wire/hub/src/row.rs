//! Rows: what the pool says of itself to people and tables.
//!
//! `pool-reconcile` keeps them as notes in the engine's notebook [`NOTEBOOK`], beside what it needs for itself. Whoever may
//! read the notebook reads them, also while the process or the node is away.
//!
//! | key | row |
//! | --- | --- |
//! | `row/pool` | [`PoolRow`]: where it is, and what an operator should look at |
//! | `row/order/<key of its identity>` | [`OrderRow`]: an order, with its money and why things were done for it |
//! | `row/transaction/<nonce, 20 digits>` | [`TransactionRow`]: a transaction of the pool's wallet |
//! | `row/party/<address>` | [`MoneyRow`] of the pool's owner, a worker or a requester |
//! | `row/day/<days since 1970, 10 digits>` | [`MoneyRow`] of a day that begins at midnight UTC |
//!
//! A value is the format's version, a byte, and the row in postcard. Rows of another version are an error.
//!
//! Of what is over the last [`ORDERS_OVER_MAX`] orders and [`TRANSACTIONS_FINAL_MAX`] transactions are kept.

mod money;
mod order;
mod outcome;
mod pool;
mod state;
mod stranded;
mod transaction;

use std::fmt;

use wire_protocol::codec::{put_control, read_control};

use crate::{Address, Hash, Nonce};

pub use money::{DAY_S, MoneyRow, Movement, Totals};
pub use order::{Content, OrderRow, Reason, WorkerRow};
pub use outcome::{Outcome, Texts};
pub use pool::{Place, PoolRow};
pub use state::OrderState;
pub use stranded::Stranded;
pub use transaction::{AttemptRow, MinedRow, TransactionRow, TransactionState};

/// The notebook that has them.
pub const NOTEBOOK: &str = "chain";
/// How the keys of all rows begin.
pub const ROWS: &str = "row/";
/// The key of the only row of its kind.
pub const POOL: &str = "row/pool";
/// Rows of orders that are over; beyond it the one that was over first goes.
pub const ORDERS_OVER_MAX: usize = 1_000;
/// Rows of transactions that are final; beyond it those with the lowest nonces go.
pub const TRANSACTIONS_FINAL_MAX: usize = 1_000;

const ORDER: &str = "row/order/";
const TRANSACTION: &str = "row/transaction/";
const PARTY: &str = "row/party/";
const DAY: &str = "row/day/";
const VERSION: u8 = 1;

/// A row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Row {
    /// Of the pool.
    Pool(PoolRow),
    /// Of an order.
    Order(Box<OrderRow>),
    /// Of a transaction.
    Transaction(Box<TransactionRow>),
    /// The money of somebody.
    Party(Address, MoneyRow),
    /// The money of a day, by its number since 1970.
    Day(u64, MoneyRow),
}

/// A note that is no row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoRow {
    key: String,
    problem: String,
}

impl fmt::Display for NoRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the row `{}` cannot be read: {}", self.key, self.problem)
    }
}

impl std::error::Error for NoRow {}

impl Row {
    /// Whether a note with this key is a row.
    #[must_use]
    pub fn is_key(key: &str) -> bool {
        key.starts_with(ROWS)
    }

    /// Reads a note.
    ///
    /// # Errors
    /// It is no row, is another's than its key says, or was written by another version.
    pub fn read(key: &str, value: &[u8]) -> Result<Self, NoRow> {
        let error = |problem: String| NoRow {
            key: key.to_owned(),
            problem,
        };
        let row = Self::parse(key, value).map_err(error)?;
        if row.key() == key {
            Ok(row)
        } else {
            Err(error(format!("it is the row `{}`", row.key())))
        }
    }

    fn parse(key: &str, value: &[u8]) -> Result<Self, String> {
        let (version, value) = value.split_first().ok_or("it is empty")?;
        if *version != VERSION {
            return Err(format!("it is of version {version}, and this reads {VERSION}"));
        }
        let malformed = |error: wire_protocol::codec::DecodeError| error.to_string();
        let money = || read_control::<MoneyRow>("money", value).map_err(malformed);
        if key == POOL {
            return Ok(Self::Pool(read_control("pool", value).map_err(malformed)?));
        }
        if key.starts_with(ORDER) {
            return Ok(Self::Order(read_control("order", value).map_err(malformed)?));
        }
        if key.starts_with(TRANSACTION) {
            let row = read_control("transaction", value).map_err(malformed)?;
            return Ok(Self::Transaction(row));
        }
        if let Some(party) = key.strip_prefix(PARTY) {
            let party: Address = party.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self::Party(party, money()?));
        }
        if let Some(day) = key.strip_prefix(DAY) {
            let day: u64 = day.parse().map_err(|error| format!("{error}"))?;
            return Ok(Self::Day(day, money()?));
        }
        Err("no such key".to_owned())
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Pool(_) => POOL.to_owned(),
            Self::Order(order) => Self::order_key(order.identity.key()),
            Self::Transaction(transaction) => Self::transaction_key(transaction.nonce),
            Self::Party(party, _) => format!("{PARTY}{party}"),
            Self::Day(day, _) => format!("{DAY}{day:010}"),
        }
    }

    /// The key of the row of an order, by [`Identity::key`](crate::Identity::key).
    #[must_use]
    pub fn order_key(key: Hash) -> String {
        format!("{ORDER}{key}")
    }

    /// The key of the row of a transaction.
    #[must_use]
    pub fn transaction_key(nonce: Nonce) -> String {
        format!("{TRANSACTION}{:020}", nonce.0)
    }

    /// Its key, and its value: what is too long in it is cut, so that it fits a note.
    #[must_use]
    pub fn note(&self) -> (String, Vec<u8>) {
        let mut value = vec![VERSION];
        match self {
            Self::Pool(row) => put_control(&mut value, &row.bounded()),
            Self::Order(row) => put_control(&mut value, &row.bounded()),
            Self::Transaction(row) => put_control(&mut value, &row.bounded()),
            Self::Party(_, row) | Self::Day(_, row) => put_control(&mut value, row),
        }
        (self.key(), value)
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

#[cfg(test)]
mod tests;
