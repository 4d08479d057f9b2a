//! Rows of the tables as what they mean. Whoever can write to the tables may have written anything.

use std::collections::BTreeMap;

use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

use super::DatabaseError;
use super::session::Value;
use crate::archive::ArchivedEvent;
use crate::query::{AttemptRow, WorkRow};

/// Columns of [`work`], in its order; `w` is the work's row and `b` its batch's.
pub(super) const WORK: &str = "w.work_id, w.batch_id, w.user_id, b.app, b.label, w.state, w.reason, w.attempt, \
                               w.worker_id, w.exit_code, w.elapsed_us, w.accepted_us, w.changed_us, w.lsn";

/// Columns of [`attempt`], in its order.
pub(super) const ATTEMPT: &str =
    "attempt, worker_id, epoch, leased_us, started_us, ended_us, outcome, reason";

/// Columns of [`event`], in its order.
pub(super) const EVENT: &str = "lsn, work_id, works, at_us, state, reason, attempt, worker_id";

/// A row whose columns are taken one after the other.
pub(super) struct Columns<'a> {
    /// What it is, for people.
    of: String,
    names: std::str::Split<'static, &'static str>,
    values: std::slice::Iter<'a, Value>,
}

impl<'a> Columns<'a> {
    /// `names` are those of the values, with commas between.
    pub(super) fn new(of: String, names: &'static str, values: &'a [Value]) -> Self {
        Self {
            of,
            names: names.split(", "),
            values: values.iter(),
        }
    }

    /// The next value as what `read` makes of it.
    fn next<T>(&mut self, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, DatabaseError> {
        let name = self.names.next().unwrap_or_default();
        let value = self.values.next().unwrap_or(&Value::Null);
        read(value).ok_or_else(|| DatabaseError::Malformed {
            what: format!("{}: {name} {value}", self.of),
        })
    }

    pub(super) fn number<T: TryFrom<i64>>(&mut self) -> Result<T, DatabaseError> {
        self.next(number)
    }

    pub(super) fn number_or_null<T: TryFrom<i64>>(&mut self) -> Result<Option<T>, DatabaseError> {
        self.next(or_null(number))
    }

    pub(super) fn text(&mut self) -> Result<String, DatabaseError> {
        self.next(|value| text(value).map(str::to_owned))
    }

    pub(super) fn text_or_null(&mut self) -> Result<Option<String>, DatabaseError> {
        self.next(or_null(|value| text(value).map(str::to_owned)))
    }

    pub(super) fn state(&mut self) -> Result<WorkState, DatabaseError> {
        self.next(|value| state(text(value)?))
    }
}

/// The row of a work.
pub(super) fn work(values: &[Value]) -> Result<WorkRow, DatabaseError> {
    let of = values.first().unwrap_or(&Value::Null);
    let mut row = Columns::new(format!("work {of}"), WORK, values);
    Ok(WorkRow {
        work: WorkId(row.number()?),
        batch: BagId(row.number()?),
        user: TenantId(row.number()?),
        app: row.text()?,
        label: row.text()?,
        state: row.state()?,
        reason: row.next(reason)?,
        attempt: Attempt(row.number()?),
        worker: row.number_or_null()?.map(WorkerId),
        exit_code: row.number_or_null()?,
        elapsed_us: row.number_or_null()?,
        accepted_at: row.next(instant)?,
        changed_at: Some(row.next(instant)?),
        lsn: Some(Lsn(row.number()?)),
    })
}

/// The row of an attempt at this work.
pub(super) fn attempt(of: WorkId, values: &[Value]) -> Result<AttemptRow, DatabaseError> {
    let mut row = Columns::new(format!("an attempt at {of}"), ATTEMPT, values);
    Ok(AttemptRow {
        attempt: Attempt(row.number()?),
        worker: WorkerId(row.number()?),
        epoch: Epoch(row.number()?),
        leased_at: row.next(instant)?,
        started_at: row.next(or_null(instant))?,
        ended_at: row.next(or_null(instant))?,
        outcome: row.next(or_null(|value| outcome(text(value)?)))?,
        reason: row.next(or_null(reason))?,
    })
}

/// The row of an event, with its reason in the words that this database has for it.
pub(super) fn event(
    values: &[Value],
    reasons: &BTreeMap<u16, String>,
) -> Result<ArchivedEvent, DatabaseError> {
    let of = values.first().unwrap_or(&Value::Null);
    let mut row = Columns::new(format!("an event of record {of}"), EVENT, values);
    let (lsn, work, works) = (row.number()?, row.number()?, row.number()?);
    let at = row.next(instant)?;
    let state = row.state()?.to_string();
    let reason = row.number()?;
    Ok(ArchivedEvent {
        lsn,
        work,
        works,
        at_us: at.0 / 1_000,
        at: at.rfc3339(6),
        state,
        reason,
        reason_text: reasons.get(&reason).cloned(),
        attempt: row.number()?,
        worker: row.number_or_null()?,
    })
}

/// A row of `pool_reasons`.
pub(super) fn reason_in_words(values: &[Value]) -> Result<(u16, String), DatabaseError> {
    let mut row = Columns::new("a reason".to_owned(), "reason, meaning", values);
    Ok((row.number()?, row.text()?))
}

/// NULL is `None`, and no mistake.
fn or_null<T>(read: impl FnOnce(&Value) -> Option<T>) -> impl FnOnce(&Value) -> Option<Option<T>> {
    move |value| match value {
        Value::Null => Some(None),
        value => read(value).map(Some),
    }
}

fn number<T: TryFrom<i64>>(value: &Value) -> Option<T> {
    match value {
        Value::Int(number) => T::try_from(*number).ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<Instant> {
    number::<u64>(value)?.checked_mul(1_000).map(Instant)
}

fn reason(value: &Value) -> Option<Reason> {
    Reason::from_wire(number(value)?).ok()
}

fn outcome(text: &str) -> Option<Outcome> {
    Outcome::ALL
        .into_iter()
        .find(|outcome| outcome.to_string() == text)
}

fn state(text: &str) -> Option<WorkState> {
    [WorkState::Queued, WorkState::Leased, WorkState::Running]
        .into_iter()
        .find(|state| state.to_string() == text)
        .or_else(|| outcome(text).map(WorkState::Done))
}
