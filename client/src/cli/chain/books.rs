//! The books of the pool, as the engine keeps them: all rows, read at once.
//!
//! A row that cannot be read is told of and left out: it is of a later version, and the others are as good without it.

use std::cmp::Reverse;
use std::io::{self, Write};

use client::{Client, ClientError};
use wire_hub::Address;
use wire_hub::row::{MoneyRow, NOTEBOOK, OrderRow, POOL, PoolRow, ROWS, Row, TransactionRow};
use wire_protocol::note::Note;

use crate::cli::exit::{Exit, Failure};

/// All rows.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) pool: PoolRow,
    /// Those that were bought last first; at the end those of which nobody knows when.
    pub(super) orders: Vec<OrderRow>,
    /// The highest nonce first.
    pub(super) transactions: Vec<TransactionRow>,
    pub(super) parties: Vec<(Address, MoneyRow)>,
    /// By their numbers since 1970, the last first.
    pub(super) days: Vec<(u64, MoneyRow)>,
}

impl Books {
    /// Reads them.
    ///
    /// # Errors
    /// Nobody keeps any: [`Exit::NotFound`]. The engine does not answer.
    pub(super) async fn read(client: &Client) -> Result<Self, Failure> {
        let notes = client.notes_under(NOTEBOOK, ROWS).await;
        let (books, problems) = Self::of(&notes.map_err(unkept)?);
        if let Some(first) = problems.first() {
            let left_out = match problems.len() {
                1 => "1 row is".to_owned(),
                rows => format!("{rows} rows are"),
            };
            writeln!(io::stderr(), "{left_out} left out: {first}")?;
        }
        books.ok_or_else(|| nobody("pool-reconcile has kept no books here yet"))
    }

    /// Of these notes, and what is wrong with some of them; none without a row of the pool.
    pub(super) fn of(notes: &[Note]) -> (Option<Self>, Vec<String>) {
        let (mut pool, mut problems) = (None, Vec::new());
        let (mut orders, mut transactions) = (Vec::new(), Vec::new());
        let (mut parties, mut days) = (Vec::new(), Vec::new());
        for note in notes {
            match Row::read(&note.key, &note.value) {
                Ok(Row::Pool(row)) => pool = Some(row),
                Ok(Row::Order(row)) => orders.push(*row),
                Ok(Row::Transaction(row)) => transactions.push(*row),
                Ok(Row::Party(party, money)) => parties.push((party, money)),
                Ok(Row::Day(day, money)) => days.push((day, money)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        orders.sort_by_key(|order: &OrderRow| {
            let at = order.content.as_ref().map(|content| content.at);
            Reverse((at, order.bought, order.identity))
        });
        transactions.sort_by_key(|row: &TransactionRow| Reverse(row.nonce));
        days.sort_by_key(|(day, _)| Reverse(*day));
        let books = pool.map(|pool| Self {
            pool,
            orders,
            transactions,
            parties,
            days,
        });
        (books, problems)
    }
}

/// The row of the pool alone.
///
/// # Errors
/// As [`Books::read`].
pub(super) async fn pool(client: &Client) -> Result<PoolRow, Failure> {
    // Notes are read from behind a key on.
    let before = &POOL[..POOL.len() - 1];
    let notes = client.notes_under(NOTEBOOK, before).await.map_err(unkept)?;
    let note = notes.iter().find(|note| note.key == POOL);
    match note.map(|note| Row::read(&note.key, &note.value)) {
        Some(Ok(Row::Pool(row))) => Ok(row),
        Some(Err(error)) => Err(Failure::caused(Exit::Failed, "the pool's row", &error)),
        _ => Err(nobody("pool-reconcile has kept no books here yet")),
    }
}

/// That nobody has ever taken the notebook has a cure of its own.
fn unkept(error: ClientError) -> Failure {
    match error {
        ClientError::NotFound { .. } => nobody("no pool-reconcile has ever worked with this engine"),
        other => other.into(),
    }
}

fn nobody(problem: &str) -> Failure {
    Failure::new(Exit::NotFound, problem).cure(
        "start pool-reconcile and give it a block's time (docs/chain.md), or name the engine that it works with by --engine",
    )
}
