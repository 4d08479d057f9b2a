//! Works by what people ask for, without reading all of them.
//!
//! Every change of a work is a write to `pool_works`, and each index makes it dearer; so there are three: the primary
//! key, states and users. All else takes a way around:
//!
//! ```text
//!  batch, label, app ──► pool_batches ──► from its first work to its last, by primary key or state
//!  worker            ──► pool_attempts (worker_id, work_id) ──► works whose last attempt that is
//!  user              ──► pool_works (user_id, work_id)
//!  states            ──► pool_works (state, work_id), once for each, then merged
//!  nothing           ──► pool_works by primary key
//! ```
//!
//! The first of these that is asked for is the way; each gives works in the order of their numbers, and a page ends it.
//! What else is asked for is looked at row by row. So are times: works are accepted in the order of their numbers only
//! within a batch. A sign before a column, `+w.state`, tells SQLite that it is no way.

mod select;

use super::DatabaseError;
use super::decode::{self, Columns};
use super::session::{Session, Value};
use super::writer::micros;
use crate::query::{Order, WorkCounts, WorkFilter, WorkHistory, WorkQuery, WorkRow, cut};
pub(super) use select::Select;
use select::text;
use wire_protocol::ids::WorkId;

/// Batches looked at for a page. Thousands of them may have the same label and one work each, none of which passes:
/// the page is then short, and says where to go on.
const BATCHES_MAX: usize = 256;

/// Some of the works, in their order, and where to go on.
type Page = (Vec<WorkRow>, Option<WorkId>);

/// A page of works.
pub(super) async fn list(session: &mut Session, query: &WorkQuery) -> Result<Page, DatabaseError> {
    let Some(way) = way(&query.filter) else {
        return list_batches(session, query).await;
    };
    // One more than asked for says whether there are more.
    let mut works = list_works(session, query, way, query.works_max() + 1).await?;
    let next = cut(&mut works, query.works_max());
    Ok((works, next))
}

/// How many are in each state.
pub(super) async fn counts(session: &mut Session, filter: &WorkFilter) -> Result<WorkCounts, DatabaseError> {
    let select = count(filter);
    let mut counts = WorkCounts::new();
    for row in select.rows(session).await? {
        let mut row = Columns::new("works by state".to_owned(), "state, works", &row);
        counts.insert(row.state()?, row.number()?);
    }
    Ok(counts)
}

/// A work and its attempts.
pub(super) async fn history(
    session: &mut Session,
    work: WorkId,
) -> Result<Option<WorkHistory>, DatabaseError> {
    let mut select = Select::new(format!("SELECT {} FROM {WORKS}", decode::WORK));
    select.and("w.work_id = ?", number(work));
    let rows = select.rows(session).await?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let mut select = Select::new(format!("SELECT {} FROM pool_attempts", decode::ATTEMPT));
    select.and("work_id = ?", number(work));
    select.text.push_str(" ORDER BY attempt");
    let attempts = select.rows(session).await?;
    Ok(Some(WorkHistory {
        work: decode::work(row)?,
        attempts: attempts
            .iter()
            .map(|row| decode::attempt(work, row))
            .collect::<Result<_, _>>()?,
    }))
}

/// Works with their batches. A work without one is a row that makes no sense, and not one that is not there.
const WORKS: &str = "pool_works w LEFT JOIN pool_batches b ON b.batch_id = w.batch_id";

/// The same, by who has or had them. A work's last attempt is one row, so that each is there once.
const WORKS_OF_WORKER: &str = "pool_attempts a CROSS JOIN pool_works w ON w.work_id = a.work_id \
                               LEFT JOIN pool_batches b ON b.batch_id = w.batch_id";

/// The same, by their batches.
const WORKS_OF_BATCHES: &str = "pool_batches b CROSS JOIN pool_works w \
                                ON w.work_id >= b.first_work_id AND w.work_id < b.first_work_id + b.works_total";

/// What leads to works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Their worker or user.
    Holder,
    /// Their state, or their number.
    Works,
    /// The same, from the first to before the last.
    Between(i64, i64),
}

/// `None`: by batches.
pub(super) fn way(filter: &WorkFilter) -> Option<Way> {
    if by_batches(filter) {
        None
    } else if filter.worker.is_some() || filter.user.is_some() {
        Some(Way::Holder)
    } else {
        Some(Way::Works)
    }
}

fn by_batches(filter: &WorkFilter) -> bool {
    filter.batch.is_some() || filter.label.is_some() || filter.app.is_some()
}

/// Works of batches, one batch after the other.
async fn list_batches(session: &mut Session, query: &WorkQuery) -> Result<Page, DatabaseError> {
    let batches = batches(session, query).await?;
    let (mut works, works_max) = (Vec::new(), query.works_max());
    for (first, behind) in &batches {
        let missing = works_max + 1 - works.len();
        works.extend(list_works(session, query, Way::Between(*first, *behind), missing).await?);
        if let Some(next) = cut(&mut works, works_max) {
            return Ok((works, Some(next)));
        }
    }
    let last = batches.last().filter(|_| batches.len() == BATCHES_MAX);
    let next = last.map(|(first, behind)| match query.order {
        Order::NewestFirst => WorkId(*first as u64),
        Order::OldestFirst => WorkId(*behind as u64 - 1),
    });
    Ok((works, next))
}

/// From which work to before which one each of the next batches goes, in the order of the query.
async fn batches(session: &mut Session, query: &WorkQuery) -> Result<Vec<(i64, i64)>, DatabaseError> {
    let mut batches = Vec::new();
    for row in select_batches(query).rows(session).await? {
        let mut row = Columns::new("a batch".to_owned(), "first_work_id, works_total", &row);
        let (first, works): (u64, u32) = (row.number()?, row.number()?);
        batches.push((first as i64, (first as i64).saturating_add(works.into())));
    }
    Ok(batches)
}

/// Works, in the order of the query, of one way.
async fn list_works(
    session: &mut Session,
    query: &WorkQuery,
    way: Way,
    limit: usize,
) -> Result<Vec<WorkRow>, DatabaseError> {
    let mut works = Vec::new();
    let selects = select_works(query, way, limit);
    for select in &selects {
        for row in select.rows(session).await? {
            works.push(decode::work(&row)?);
        }
    }
    if selects.len() > 1 {
        query.order.sort(&mut works);
        works.truncate(limit);
    }
    Ok(works)
}

/// What asks for the next batches.
pub(super) fn select_batches(query: &WorkQuery) -> Select {
    let mut select = Select::new("SELECT first_work_id, works_total FROM pool_batches b".to_owned());
    narrow_batches(&mut select, &query.filter);
    match (query.after, query.order) {
        (None, _) => {}
        (Some(after), Order::NewestFirst) => select.and("b.first_work_id < ?", number(after)),
        // Works of the batch that `after` is in come behind it too.
        (Some(after), Order::OldestFirst) => {
            let mut before = Select::new("SELECT MAX(b.first_work_id) FROM pool_batches b".to_owned());
            narrow_batches(&mut before, &query.filter);
            before.and("b.first_work_id <= ?", number(after));
            let text = format!("b.first_work_id >= COALESCE(({}), 0)", before.text);
            select.and_all(&text, before.values);
        }
    }
    select.order("b.first_work_id", query.order, BATCHES_MAX);
    select
}

/// What asks for works: one statement, or one for each state where states lead to them.
pub(super) fn select_works(query: &WorkQuery, way: Way, limit: usize) -> Vec<Select> {
    let filter = &query.filter;
    let (from, id) = match (way, filter.worker) {
        (Way::Holder, Some(_)) => (WORKS_OF_WORKER, "a.work_id"),
        _ => (WORKS, "w.work_id"),
    };
    let mut select = Select::new(format!("SELECT {} FROM {from}", decode::WORK));
    match way {
        Way::Holder => {
            narrow_holder(&mut select, filter);
            narrow_states(&mut select, "+w.state", filter);
        }
        Way::Works => {}
        Way::Between(first, behind) => {
            select.and("w.work_id >= ?", Value::Int(first));
            select.and("w.work_id < ?", Value::Int(behind));
            if let Some(worker) = filter.worker {
                select.and("w.worker_id = ?", Value::Int(worker.0.into()));
            }
        }
    }
    narrow_times(&mut select, filter);
    if let Some(after) = query.after {
        let sign = match query.order {
            Order::NewestFirst => "<",
            Order::OldestFirst => ">",
        };
        select.and(&format!("{id} {sign} ?"), number(after));
    }
    let mut selects = match way {
        Way::Holder => vec![select],
        Way::Works | Way::Between(..) => select.for_each_state(filter),
    };
    for select in &mut selects {
        select.order(id, query.order, limit);
    }
    selects
}

/// What counts works by state.
pub(super) fn count(filter: &WorkFilter) -> Select {
    let by_batches = by_batches(filter);
    let from = match filter.worker {
        _ if by_batches => WORKS_OF_BATCHES,
        Some(_) => WORKS_OF_WORKER,
        None => "pool_works w",
    };
    let mut select = Select::new(format!("SELECT w.state, COUNT(*) FROM {from}"));
    if by_batches {
        narrow_batches(&mut select, filter);
        if let Some(worker) = filter.worker {
            select.and("w.worker_id = ?", Value::Int(worker.0.into()));
        }
    } else {
        narrow_holder(&mut select, filter);
    }
    let leads = !by_batches && filter.worker.is_none() && filter.user.is_none();
    narrow_states(&mut select, if leads { "w.state" } else { "+w.state" }, filter);
    narrow_times(&mut select, filter);
    select.text.push_str(" GROUP BY w.state");
    select
}

/// Only batches of this filter; by the first thing that it says of them.
fn narrow_batches(select: &mut Select, filter: &WorkFilter) {
    let int = |value: i64| vec![Value::Int(value)];
    // A server takes spaces at the end for nothing.
    let text = |text: &String| vec![Value::Text(text.clone()), Value::Int(text.len() as i64)];
    let conditions = [
        ("b.batch_id = ?", filter.batch.map(|batch| int(batch.0 as i64))),
        (
            "b.label = ? AND OCTET_LENGTH(b.label) = ?",
            filter.label.as_ref().map(text),
        ),
        (
            "b.app = ? AND OCTET_LENGTH(b.app) = ?",
            filter.app.as_ref().map(text),
        ),
        ("b.user_id = ?", filter.user.map(|user| int(user.0.into()))),
    ];
    let asked = conditions
        .into_iter()
        .filter_map(|(text, values)| Some((text, values?)));
    for (index, (text, values)) in asked.enumerate() {
        let sign = if index == 0 { "" } else { "+" };
        select.and_all(&format!("{sign}{text}"), values);
    }
}

/// Only works of this worker and user.
fn narrow_holder(select: &mut Select, filter: &WorkFilter) {
    if let Some(worker) = filter.worker {
        let worker = Value::Int(worker.0.into());
        select.and("a.worker_id = ?", worker.clone());
        select.and("a.attempt = w.attempt AND w.worker_id = ?", worker);
    }
    if let Some(user) = filter.user {
        let sign = if filter.worker.is_some() { "+" } else { "" };
        select.and(&format!("{sign}w.user_id = ?"), Value::Int(user.0.into()));
    }
}

fn narrow_states(select: &mut Select, column: &str, filter: &WorkFilter) {
    if !filter.states.is_empty() {
        let marks = vec!["?"; filter.states.len()].join(", ");
        let states = filter.states.iter().map(|state| text(*state)).collect();
        select.and_all(&format!("{column} IN ({marks})"), states);
    }
}

fn narrow_times(select: &mut Select, filter: &WorkFilter) {
    if let Some(from) = filter.accepted_from {
        select.and("w.accepted_us >= ?", Value::Int(micros(from)));
    }
    if let Some(until) = filter.accepted_until {
        select.and("w.accepted_us < ?", Value::Int(micros(until)));
    }
}

/// Ids are no greater than what SQL can hold; a greater one is behind all.
fn number(work: WorkId) -> Value {
    Value::Int(i64::try_from(work.0).unwrap_or(i64::MAX))
}
