//! What two databases can be compared in: archives and late beginnings leave things out of one of them.

use super::Wrong;
use crate::beginning::Beginning;
use crate::database::archive::horizon;
use crate::database::schema::Table;
use crate::database::session::{Session, Value, fixed};
use crate::database::{DatabaseError, extent, sql};
use wire_protocol::ids::Lsn;

/// What two databases can be compared in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// Events up to this record are not in the tables any more.
    pub(super) archived: Lsn,
    /// Bags and works before this have no rows.
    pub(super) beginning: Beginning,
    /// Epochs before this have none.
    epoch: i64,
}

impl Scope {
    pub(super) async fn of(session: &mut Session) -> Result<Self, DatabaseError> {
        let archived = horizon(session).await?;
        let (_, beginning) = extent(session).await?;
        let text = fixed("SELECT COALESCE(MIN(epoch), 9223372036854775807) FROM pool_epochs");
        let epochs = session.integers(text, session.arguments()).await;
        let epoch = epochs.map_err(sql("read"))?.first().map_or(0, |row| row[0]);
        Ok(Self {
            archived,
            beginning,
            epoch: if beginning == Beginning::WHOLE { 0 } else { epoch },
        })
    }

    pub(super) fn narrow(&mut self, other: Self) {
        self.archived = self.archived.max(other.archived);
        self.epoch = self.epoch.max(other.epoch);
        if other.beginning.work > self.beginning.work {
            self.beginning = other.beginning;
        }
    }

    /// The key behind which the rows of a table begin that can be compared.
    pub(super) fn behind(&self, table: &Table) -> Option<Vec<i64>> {
        let first = |number: i64| (number > 0).then(|| vec![number - 1]);
        match table.name {
            "pool_epochs" => first(self.epoch),
            "pool_batches" => first(self.beginning.bag.0 as i64),
            "pool_works" => first(self.beginning.work.0 as i64),
            "pool_attempts" => first(self.beginning.work.0 as i64).map(|key| vec![key[0], i64::MAX]),
            "pool_events" if self.archived > Lsn(0) => Some(vec![self.archived.0 as i64, i64::MAX]),
            _ => None,
        }
    }

    /// A row as far as it can be compared: works that went the same way share a row of events, also with some before the
    /// beginning.
    pub(super) fn cut(&self, table: &Table, mut row: Vec<Value>) -> Option<Vec<Value>> {
        if table.name != "pool_events" {
            return Some(row);
        }
        let before = self.beginning.work.0 as i64 - row[1].number();
        if before > 0 {
            let works = row[2].number() - before;
            if works <= 0 {
                return None;
            }
            (row[1], row[2]) = (Value::Int(self.beginning.work.0 as i64), Value::Int(works));
        }
        Some(row)
    }

    /// Columns of which one of the two does not know what they should say: a snapshot does not say since when a worker
    /// is there.
    pub(super) fn unknown(
        &self,
        table: &Table,
        found: &[Value],
        expected: &[Value],
    ) -> &'static [&'static str] {
        let of_a_snapshot = |row: &[Value]| *table.column(row, "joined_us") == Value::Int(0);
        match table.name {
            "pool_workers" if of_a_snapshot(found) || of_a_snapshot(expected) => {
                &["state", "reason", "joined_us", "changed_us", "forgotten"]
            }
            _ => &[],
        }
    }

    /// A snapshot has no workers that were forgotten, the tables keep them.
    pub(super) fn may_lack(&self, table: &Table, row: &[Value], what: &Wrong) -> bool {
        self.beginning != Beginning::WHOLE
            && matches!(what, Wrong::Extra | Wrong::Missing)
            && table.name == "pool_workers"
            && *table.column(row, "forgotten") == Value::Int(1)
    }
}
