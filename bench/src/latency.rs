//! Latency of single works, open loop.
//!
//! Works are due at fixed instants, and each is timed from when it was due, not from when it could be sent: a
//! pool that stalls is charged for everything that had to wait meanwhile (no coordinated omission).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;
use client::protocol::template::WorkTemplate;
use client::{Client, SubmitOptions};
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::engine::{Engine, EngineArguments};
use crate::report::{Machine, grouped};
use crate::throughput::all_connected;
use crate::workers::Workers;

#[derive(Args, Clone, Debug)]
pub(crate) struct Latency {
    /// Works per second
    #[arg(long, default_value_t = 1_000, value_name = "RATE")]
    rate: u32,
    /// Seconds to measure, after a tenth as much of warm-up
    #[arg(long, default_value_t = 10, value_name = "S")]
    seconds: u32,
    /// Bytes of each work's parameters
    #[arg(long, default_value_t = 200, value_name = "BYTES")]
    row_bytes: usize,
    /// Workers
    #[arg(long, default_value_t = 8, value_name = "N")]
    workers: u32,
    /// Slots of each worker
    #[arg(long, default_value_t = 64, value_name = "N")]
    slots: u32,
    #[command(flatten)]
    engine: EngineArguments,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    machine: Machine,
    rate: u32,
    seconds: u32,
    works: u64,
    accepted_us: Percentiles,
    outcome_us: Percentiles,
}

#[derive(Serialize)]
struct Percentiles {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

/// Times in microseconds.
struct Times {
    accepted: Histogram<u64>,
    outcome: Histogram<u64>,
}

pub(crate) fn run(arguments: &Latency) -> Result<()> {
    let engine = Engine::start(&arguments.engine)?;
    let workers = Workers::start(&engine, arguments.workers, arguments.slots, arguments.slots, 1)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let times = runtime.block_on(async {
        let client = engine.connect().await?;
        all_connected(&client, arguments.workers).await?;
        let warm_up = Duration::from_secs(u64::from(arguments.seconds)) / 10;
        offer(&client, arguments, warm_up).await?;
        offer(
            &client,
            arguments,
            Duration::from_secs(u64::from(arguments.seconds)),
        )
        .await
    })?;
    drop(workers);
    let report = Report {
        schema: "workerpool/v1/bench-latency",
        machine: Machine::here(),
        rate: arguments.rate,
        seconds: arguments.seconds,
        works: times.outcome.len(),
        accepted_us: percentiles(&times.accepted),
        outcome_us: percentiles(&times.outcome),
    };
    println!("{}", serde_json::to_string(&report)?);
    eprintln!(
        "{} works at {}/s: accepted p50 {} µs, p99 {} µs; outcome p50 {} µs, p99 {} µs",
        grouped(report.works as f64),
        grouped(f64::from(report.rate)),
        report.accepted_us.p50,
        report.accepted_us.p99,
        report.outcome_us.p50,
        report.outcome_us.p99,
    );
    Ok(())
}

async fn offer(client: &Client, arguments: &Latency, span: Duration) -> Result<Times> {
    let times = Arc::new(Mutex::new(Times {
        accepted: Histogram::new(3)?,
        outcome: Histogram::new(3)?,
    }));
    let template = WorkTemplate {
        app: "null".to_owned(),
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    let row = "x".repeat(arguments.row_bytes);
    let step = Duration::from_secs(1) / arguments.rate;
    let count = (span.as_nanos() / step.as_nanos().max(1)) as u32;
    let started = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for index in 0..count {
        let due = started + step * index;
        tokio::time::sleep_until(due.into()).await;
        let (client, template, row, times) =
            (client.clone(), template.clone(), row.clone(), Arc::clone(&times));
        under_way.spawn(async move {
            let (upload, mut follow) = client.submit_followed(template, 1, SubmitOptions::default())?;
            let accepted = async {
                upload.send([row]).await?;
                anyhow::Ok(due.elapsed())
            };
            let outcome = async {
                while follow.recv(|_| ()).await? > 0 {}
                anyhow::Ok(due.elapsed())
            };
            let (accepted, outcome) = tokio::try_join!(accepted, outcome)?;
            let mut times = times.lock().expect("nobody panics while it is held");
            times.accepted.record(micros(accepted))?;
            times.outcome.record(micros(outcome))?;
            anyhow::Ok(())
        });
        while let Some(done) = under_way.try_join_next() {
            done??;
        }
    }
    while let Some(done) = under_way.join_next().await {
        done??;
    }
    match Arc::try_unwrap(times) {
        Ok(times) => Ok(times.into_inner().expect("nobody panicked while it was held")),
        Err(_) => bail!("a work is still under way"),
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn percentiles(histogram: &Histogram<u64>) -> Percentiles {
    Percentiles {
        p50: histogram.value_at_quantile(0.5),
        p90: histogram.value_at_quantile(0.9),
        p99: histogram.value_at_quantile(0.99),
        p999: histogram.value_at_quantile(0.999),
        max: histogram.max(),
    }
}
