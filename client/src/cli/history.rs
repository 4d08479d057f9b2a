//! `pool db works`: works as the tables have them, also those that the engine has forgotten.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidecars_tables::{Order, PAGE_WORKS_MAX, Reader, WorkCounts, WorkFilter, WorkQuery, WorkRow};
use tokio::runtime::Runtime;
use wire_protocol::ids::WorkId;
use wire_protocol::units::Instant;

use super::args::History;
use super::db::Place;
use super::exit::{Exit, Failure};
use super::output::{Output, Show, fields};
use super::quantity::{micros, timestamp};
use super::refs::{BagRef, WorkRef, WorkerRef};
use super::views::reason;

pub(super) fn run(runtime: &Runtime, data: &Path, asked: History, output: &Output) -> Result<Exit, Failure> {
    let after = asked.after.map(id_of_work).transpose()?;
    let (order, count) = (order(&asked), asked.count);
    let mut left = if asked.all { u64::MAX } else { asked.limit };
    let mut filter = filter(&asked)?;
    let place = Place::of(data, asked.place)?;
    place.must_exist()?;
    let failed = |error| place.failed(&error);
    let mut reader = runtime.block_on(Reader::open(&place.target)).map_err(failed)?;
    if let Some(name) = asked.user {
        let user = runtime.block_on(reader.user(&name)).map_err(failed)?;
        let nobody = || Failure::new(Exit::NotFound, format!("{} has no user `{name}`", place.target));
        filter.user = Some(user.ok_or_else(nobody)?);
    }
    if count {
        let counts = runtime.block_on(reader.counts(&filter)).map_err(failed)?;
        output.one(&Counted(counts))?;
        return Ok(Exit::Ok);
    }
    let mut query = WorkQuery {
        filter,
        order,
        after,
        limit: 0,
    };
    let mut list = output.list();
    loop {
        query.limit = usize::try_from(left).unwrap_or(usize::MAX).min(PAGE_WORKS_MAX);
        let page = runtime.block_on(reader.list(&query)).map_err(failed)?;
        list.page(&page.works)?;
        left -= page.works.len() as u64;
        query.after = page.next;
        if left == 0 || page.next.is_none() {
            break;
        }
    }
    list.end()?;
    runtime.block_on(reader.close());
    Ok(Exit::Ok)
}

fn order(asked: &History) -> Order {
    if asked.oldest_first {
        Order::OldestFirst
    } else {
        Order::NewestFirst
    }
}

/// All but the user, whose number the tables know.
fn filter(asked: &History) -> Result<WorkFilter, Failure> {
    let bag = |bag| match bag {
        BagRef::Id(bag) => Ok(bag),
        BagRef::Last => Err(engine_only("last", "3 or b3")),
    };
    let worker = |worker: &WorkerRef| match worker {
        WorkerRef::Id(worker) => Ok(*worker),
        WorkerRef::Name(name) => Err(engine_only(name, "2 or k2")),
    };
    let since = |ago| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Instant(u64::try_from(now.saturating_sub(ago).as_nanos()).unwrap_or(u64::MAX))
    };
    Ok(WorkFilter {
        states: asked.state.iter().copied().map(super::work::state).collect(),
        user: None,
        app: asked.app.clone(),
        batch: asked.bag.map(bag).transpose()?,
        worker: asked.worker.as_ref().map(worker).transpose()?,
        accepted_from: asked.within.map(since),
        accepted_until: None,
        label: asked.label.clone(),
    })
}

fn id_of_work(work: WorkRef) -> Result<WorkId, Failure> {
    match work {
        WorkRef::Id(work) => Ok(work),
        WorkRef::Last => Err(engine_only("last", "12 or w12")),
    }
}

/// Names that only the engine resolves: another one may have them by now.
fn engine_only(name: &str, written: &str) -> Failure {
    Failure::usage(format!(
        "`{name}` is known to the engine, not to the tables; write {written}"
    ))
}

impl Show for WorkRow {
    const KIND: &'static str = "db-work";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &[
        "work", "bag", "state", "attempt", "worker", "label", "app", "accepted", "changed", "reason",
    ];

    fn json(&self) -> Value {
        json!({
            "work": self.work,
            "bag": self.batch,
            "user": self.user,
            "state": self.state.to_string(),
            "attempt": self.attempt,
            "worker": self.worker,
            "reason": reason(self.reason),
            "label": self.label,
            "app": self.app,
            "exit_code": self.exit_code,
            "elapsed_us": self.elapsed_us,
            "accepted": timestamp(self.accepted_at),
            "changed": self.changed_at.map(timestamp),
            "lsn": self.lsn,
        })
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.work.to_string(),
            self.batch.to_string(),
            self.state.to_string(),
            self.attempt.0.to_string(),
            self.worker.map(|worker| worker.to_string()).unwrap_or_default(),
            self.label.clone(),
            self.app.clone(),
            timestamp(self.accepted_at),
            self.changed_at.map(timestamp).unwrap_or_default(),
            reason(self.reason)
                .map(|reason| reason.to_string())
                .unwrap_or_default(),
        ]
    }

    fn text(&self) -> String {
        fields(&[
            ("work", format!("{} of {}", self.work, self.batch)),
            ("state", self.state.to_string()),
            ("ran for", self.elapsed_us.map(micros).unwrap_or_default()),
            ("accepted", timestamp(self.accepted_at)),
        ])
    }
}

struct Counted(WorkCounts);

impl Show for Counted {
    const KIND: &'static str = "db-counts";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["works"];

    fn json(&self) -> Value {
        let states = self
            .0
            .iter()
            .map(|(state, works)| (state.to_string(), json!(works)));
        json!({ "works": self.0.values().sum::<u64>(), "states": states.collect::<Value>() })
    }

    fn cells(&self) -> Vec<String> {
        vec![self.0.values().sum::<u64>().to_string()]
    }

    fn text(&self) -> String {
        let states: Vec<_> = self
            .0
            .iter()
            .map(|(state, works)| format!("{works:>12} {state}"))
            .collect();
        fields(&[("works", self.cells().concat()), ("by state", states.join("\n"))])
    }
}
