//! `pool db works`: works as the tables have them, also those that the engine has forgotten.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sidecars_tables::{Order, PAGE_WORKS_MAX, Reader, WorkCounts, WorkFilter, WorkQuery, WorkRow};
use tokio::runtime::Runtime;
use wire_protocol::units::Instant;

use super::Place;
use crate::cli::args::History;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Show, fields};
use crate::cli::quantity::{micros, timestamp};
use crate::cli::refs::{BagRef, WorkRef, WorkerRef};
use crate::cli::views::reason;

pub(super) fn run(runtime: &Runtime, data: &Path, asked: History, output: &Output) -> Result<Exit, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut query = query(&asked, now)?;
    let mut left = asked.pages.works_max();
    let place = Place::of(data, asked.place)?;
    place.must_exist()?;
    let failed = |error| place.failed(&error);
    let mut reader = runtime.block_on(Reader::open(&place.target)).map_err(failed)?;
    if let Some(name) = asked.user {
        let user = runtime.block_on(reader.user(&name)).map_err(failed)?;
        let nobody = || Failure::new(Exit::NotFound, format!("{} has no user `{name}`", place.target));
        query.filter.user = Some(user.ok_or_else(nobody)?);
    }
    if asked.count {
        let counts = runtime.block_on(reader.counts(&query.filter)).map_err(failed)?;
        output.one(&Counted(counts))?;
        return Ok(Exit::Ok);
    }
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
    output.more(query.after)?;
    runtime.block_on(reader.close());
    Ok(Exit::Ok)
}

/// All but the user, whose number the tables know; `now` is the time since 1970.
fn query(asked: &History, now: Duration) -> Result<WorkQuery, Failure> {
    let bag = |bag| match bag {
        BagRef::Id(bag) => Ok(bag),
        BagRef::Last => Err(engine_only("last", "3 or b3")),
    };
    let worker = |worker: &WorkerRef| match worker {
        WorkerRef::Id(worker) => Ok(*worker),
        WorkerRef::Name(name) => Err(engine_only(name, "2 or k2")),
    };
    let work = |work| match work {
        WorkRef::Id(work) => Ok(work),
        WorkRef::Last => Err(engine_only("last", "12 or w12")),
    };
    let since = |ago| {
        let since = now.saturating_sub(ago).as_nanos();
        Instant(u64::try_from(since).unwrap_or(u64::MAX))
    };
    let filter = WorkFilter {
        states: asked.state.iter().copied().map(crate::cli::work::state).collect(),
        user: None,
        app: asked.app.clone(),
        batch: asked.bag.map(bag).transpose()?,
        worker: asked.worker.as_ref().map(worker).transpose()?,
        accepted_from: asked.within.map(since),
        accepted_until: None,
        label: asked.label.clone(),
    };
    Ok(WorkQuery {
        order: if asked.oldest_first {
            Order::OldestFirst
        } else {
            Order::NewestFirst
        },
        after: asked.pages.after.map(work).transpose()?,
        ..WorkQuery::new(filter)
    })
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

#[cfg(test)]
mod tests {
    use clap::Parser;
    use wire_protocol::ids::{BagId, WorkId, WorkerId};
    use wire_protocol::outcome::Outcome;
    use wire_protocol::view::WorkState;

    use super::*;
    use crate::cli::args::{Cli, Command, Db};

    fn asked(args: &str) -> Result<WorkQuery, Failure> {
        let words = ["pool", "db", "works"].into_iter().chain(args.split_whitespace());
        let cli = Cli::try_parse_from(words).expect("well-formed flags");
        let Command::Db(Db::Works(asked)) = cli.command else {
            panic!("{args}");
        };
        query(&asked, Duration::from_secs(1_000))
    }

    #[test]
    fn each_flag_narrows_what_it_says() {
        let all = WorkQuery::new(WorkFilter::default());
        assert_eq!(asked("").expect("it is complete"), all);
        let one = asked(
            "--state failed,queued --app a --bag b3 --worker k2 --label l --within 1m --oldest-first --after w12",
        );
        let filter = WorkFilter {
            states: vec![WorkState::Done(Outcome::Failed), WorkState::Queued],
            user: None,
            app: Some("a".to_owned()),
            batch: Some(BagId(3)),
            worker: Some(WorkerId(2)),
            accepted_from: Some(Instant(940_000_000_000)),
            accepted_until: None,
            label: Some("l".to_owned()),
        };
        let expected = WorkQuery {
            order: Order::OldestFirst,
            after: Some(WorkId(12)),
            ..WorkQuery::new(filter)
        };
        assert_eq!(one.expect("it is complete"), expected);
    }

    #[test]
    fn names_that_only_the_engine_knows_are_refused() {
        for args in ["--bag last", "--worker anna", "--after last"] {
            asked(args).expect_err(args);
        }
    }
}
