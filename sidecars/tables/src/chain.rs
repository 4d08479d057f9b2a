//! The books of `pool-reconcile`, as they stand in its notebook: of each row the last that was written.
//!
//! The keys of rows say nothing of the pool that they are of; the row of the pool does. So where that changes to another
//! pool, what comes after it is kept apart from what came before.

use std::collections::BTreeMap;

use wire_hub::row::{NOTEBOOK, NoRow, Place, Row};
use wire_protocol::note::WriteNotes;

/// What a batch of records says of the books.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChainChange {
    /// Rows, each once, of one pool after the other. Only the first may be without the row of its pool: it goes on with
    /// the one before.
    pub pools: Vec<PoolChange>,
    /// Rows that could not be read, and are left out.
    pub unreadable: u64,
    /// The first of them.
    pub problem: Option<NoRow>,
}

/// Rows of one pool, by their keys.
pub type PoolChange = BTreeMap<String, Row>;

/// Collects rows and gives them out.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChainRows {
    change: ChainChange,
    /// Whose row of the pool came last.
    place: Option<Place>,
}

impl ChainRows {
    /// Takes rows among what was written. A row that was removed says nothing: tables keep it.
    pub(crate) fn take(&mut self, written: &WriteNotes) {
        if written.notebook != NOTEBOOK {
            return;
        }
        let rows = written.changes.iter().filter(|change| Row::is_key(&change.key));
        for change in rows {
            let Some(value) = &change.value else { continue };
            match Row::read(&change.key, value) {
                Ok(row) => self.put(change.key.clone(), row),
                Err(problem) => {
                    self.change.unreadable += 1;
                    self.change.problem.get_or_insert(problem);
                }
            }
        }
    }

    fn put(&mut self, key: String, row: Row) {
        let place = match &row {
            Row::Pool(pool) => Some(pool.place),
            _ => self.place,
        };
        let pools = &mut self.change.pools;
        if pools.is_empty() || place != self.place {
            pools.push(PoolChange::new());
        }
        self.place = place;
        pools.last_mut().expect("just made").insert(key, row);
    }

    /// What was taken since the last time.
    pub(crate) fn give(&mut self) -> ChainChange {
        std::mem::take(&mut self.change)
    }
}

#[cfg(test)]
pub(crate) mod tests;
