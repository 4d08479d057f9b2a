//! Generators of load: clients that hand over works and watch their outcomes.
//!
//! A *closed* loop gives new works when old ones end: it finds out how much a pool can do, and says nothing about
//! latency, because a pool that stalls is given nothing meanwhile. An *open* loop gives works when they are due,
//! whatever became of those before, and times each from when it was due, not from when it could be sent: a pool
//! that stalls is charged for everything that had to wait (no coordinated omission; Gil Tene, "How NOT to Measure
//! Latency", 2015).

mod arrays;
mod open;
mod pace;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use client::Client;
use client::protocol::template::WorkTemplate;
use hdrhistogram::Histogram;

use crate::scenario::{LoadPlan, Shape};

pub(crate) use open::{Recorded, run as open};

/// A run in which nothing happens for this long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(60);

/// What a run has come to, for whoever watches it.
#[derive(Default)]
pub(crate) struct Progress {
    submitted: AtomicU64,
    done: AtomicU64,
}

impl Progress {
    /// Works handed over so far.
    pub(crate) fn submitted(&self) -> u64 {
        self.submitted.load(Ordering::Relaxed)
    }

    /// Works whose outcome is known.
    pub(crate) fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn add_submitted(&self, works: u64) {
        self.submitted.fetch_add(works, Ordering::Relaxed);
    }

    fn add_done(&self, works: u64) {
        self.done.fetch_add(works, Ordering::Relaxed);
    }
}

/// Times in microseconds. In an open loop from when a work was due; in calls from when it was handed over.
#[derive(Clone)]
pub(crate) struct Times {
    /// Until its acknowledgement.
    pub(crate) accepted: Histogram<u64>,
    /// Until a worker had it.
    pub(crate) assigned: Histogram<u64>,
    /// Until its outcome was known.
    pub(crate) outcome: Histogram<u64>,
}

impl Times {
    pub(crate) fn new() -> Self {
        // Two digits: 1 % of a value is less than two runs differ by.
        let histogram = || Histogram::new(2).expect("two digits are allowed");
        Self {
            accepted: histogram(),
            assigned: histogram(),
            outcome: histogram(),
        }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, others) in [
            (&mut self.accepted, &other.accepted),
            (&mut self.assigned, &other.assigned),
            (&mut self.outcome, &other.outcome),
        ] {
            mine.add(others)
                .expect("a histogram that grows takes every value");
        }
    }
}

fn record(histogram: &mut Histogram<u64>, nanos: u64) {
    histogram
        .record(nanos / 1_000)
        .expect("a histogram that grows takes every value");
}

/// What a run of load found out itself.
pub(crate) struct Offered {
    /// Works that were handed over; all of them have an outcome.
    pub(crate) works: u64,
    /// Works that were due and could not be handed over in time.
    pub(crate) left_out: u64,
    /// From the first work to the last outcome.
    pub(crate) span: Duration,
    /// Works that ended per second, as long as works were due.
    pub(crate) goodput: f64,
    /// From the end of the load to the last outcome.
    pub(crate) drain: Duration,
    pub(crate) times: Times,
}

/// Gives `works` works in a closed loop.
pub(crate) async fn closed(
    clients: &[Client],
    plan: &LoadPlan,
    works: u64,
    progress: &Arc<Progress>,
) -> Result<Offered> {
    let began = Instant::now();
    let mut times = Times::new();
    match plan.shape {
        Shape::Arrays => arrays::run(clients, plan, works, progress).await?,
        Shape::Stream => stream::pipelined(clients, plan, works, progress).await?,
        Shape::Calls => times = stream::calls(clients, plan, works, progress).await?,
    }
    let span = began.elapsed();
    Ok(Offered {
        works,
        left_out: 0,
        span,
        goodput: works as f64 / span.as_secs_f64(),
        drain: Duration::ZERO,
        times,
    })
}

fn template(plan: &LoadPlan, class: u32) -> WorkTemplate {
    let app = match plan.result_bytes {
        _ if plan.is_open_loop() => "null:arrival".to_owned(),
        0 => "null".to_owned(),
        bytes => format!("null:{bytes}"),
    };
    let mut template = WorkTemplate {
        app,
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    template.requirements.cores = class;
    template
}

/// A row of the wanted size; all are alike, because making them is not what is measured.
fn row(plan: &LoadPlan) -> Vec<u8> {
    vec![b'x'; plan.row_bytes as usize]
}

/// Waits for something that a pool that works does soon.
async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> Result<T> {
    match tokio::time::timeout(STALLED_AFTER, happens).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => bail!("nothing happened for {} s while {what}", STALLED_AFTER.as_secs()),
    }
}
