//! Works per second, closed loop.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use client::protocol::outcome::Outcome;
use client::protocol::template::WorkTemplate;
use client::{Client, SubmitOptions};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cpu;
use crate::engine::{Engine, EngineArguments};
use crate::report::{Machine, Spread, grouped};
use crate::workers::Workers;

/// A run in which nothing happens for this long has failed.
const STALLED_AFTER: Duration = Duration::from_secs(10);

#[derive(Args, Clone, Debug)]
pub(crate) struct Throughput {
    /// Works per run
    #[arg(long, default_value_t = 3_000_000, value_name = "N")]
    works: u32,
    /// Works per submission (an array); 1 to 1 000 000
    #[arg(long, default_value_t = 250_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    array: u32,
    /// Submissions under way at once
    #[arg(long, default_value_t = 4, value_name = "N")]
    under_way: u32,
    /// Bytes of each work's parameters
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    row_bytes: usize,
    /// Bytes of each work's result
    #[arg(long, default_value_t = 0, value_name = "BYTES")]
    result_bytes: usize,
    /// Workers
    #[arg(long, default_value_t = 8, value_name = "N")]
    workers: u32,
    /// Slots of each worker
    #[arg(long, default_value_t = 64, value_name = "N")]
    slots: u32,
    /// Works that each worker takes ahead of time
    #[arg(long, default_value_t = 1024, value_name = "N")]
    prefill: u32,
    /// Threads for the workers
    #[arg(long, default_value_t = 1, value_name = "N")]
    worker_threads: u32,
    /// Runs; the first is preceded by a warm-up of a tenth of the works
    #[arg(long, default_value_t = 3, value_name = "N")]
    runs: u32,
    /// Fail (exit code 1) if the median is below this many works per second
    #[arg(long, value_name = "RATE")]
    at_least: Option<f64>,
    #[command(flatten)]
    engine: EngineArguments,
}

#[derive(Serialize)]
struct Report {
    schema: &'static str,
    machine: Machine,
    durability: &'static str,
    works: u32,
    array: u32,
    row_bytes: usize,
    result_bytes: usize,
    workers: u32,
    slots: u32,
    works_per_second: Spread,
    engine_cpu_us_per_work: Spread,
    bench_cpu_us_per_work: Spread,
    engine_memory_bytes_max: u64,
    journal_bytes: u64,
}

struct Run {
    rate: f64,
    engine_us: f64,
    bench_us: f64,
}

pub(crate) fn run(arguments: &Throughput) -> Result<()> {
    let engine = Engine::start(&arguments.engine)?;
    let workers = Workers::start(
        &engine,
        arguments.workers,
        arguments.slots,
        arguments.prefill,
        arguments.worker_threads,
    )?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let runs = runtime.block_on(async {
        let client = engine.connect().await?;
        all_connected(&client, arguments.workers).await?;
        let bar = bar(u64::from(arguments.works) * u64::from(arguments.runs));
        measure(
            &client,
            &engine,
            arguments,
            (arguments.works / 10).max(1),
            &ProgressBar::hidden(),
        )
        .await?;
        let mut runs = Vec::new();
        for _ in 0..arguments.runs {
            let run = measure(&client, &engine, arguments, arguments.works, &bar).await?;
            bar.suspend(|| eprintln!("  {:>12} works/s", grouped(run.rate)));
            runs.push(run);
        }
        bar.finish_and_clear();
        anyhow::Ok(runs)
    })?;
    let report = Report {
        schema: "workerpool/v1/bench-throughput",
        machine: Machine::here(),
        durability: "fdatasync before every acknowledgement",
        works: arguments.works,
        array: arguments.array,
        row_bytes: arguments.row_bytes,
        result_bytes: arguments.result_bytes,
        workers: arguments.workers,
        slots: arguments.slots,
        works_per_second: Spread::of(runs.iter().map(|run| run.rate)),
        engine_cpu_us_per_work: Spread::of(runs.iter().map(|run| run.engine_us)),
        bench_cpu_us_per_work: Spread::of(runs.iter().map(|run| run.bench_us)),
        engine_memory_bytes_max: cpu::memory(engine.pid()).1,
        journal_bytes: engine.disk_bytes(),
    };
    drop(workers);
    println!("{}", serde_json::to_string(&report)?);
    let rate = report.works_per_second;
    eprintln!(
        "{} works/s (median of {}; {} to {}), durable; engine {:.2} µs and workers + client {:.2} µs of CPU a work",
        grouped(rate.median),
        runs.len(),
        grouped(rate.least),
        grouped(rate.greatest),
        report.engine_cpu_us_per_work.median,
        report.bench_cpu_us_per_work.median,
    );
    match arguments.at_least {
        Some(floor) if rate.median < floor => bail!("the median is below {}", grouped(floor)),
        _ => Ok(()),
    }
}

fn bar(works: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {human_pos}/{human_len} works  {per_sec}  {eta} left");
    ProgressBar::new(works).with_style(style.expect("a valid template"))
}

pub(crate) async fn all_connected(client: &Client, workers: u32) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let status = client.status().await?;
        if status.workers_connected >= workers && status.rejoin_wait.0 == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "only {} of {workers} workers connected within 30 s",
                status.workers_connected
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn measure(
    client: &Client,
    engine: &Engine,
    arguments: &Throughput,
    works: u32,
    bar: &ProgressBar,
) -> Result<Run> {
    let (cpu_engine, cpu_bench) = (cpu::used(engine.pid()), cpu::used(std::process::id()));
    let started = Instant::now();
    let mut left = works;
    let mut under_way = tokio::task::JoinSet::new();
    while left > 0 || !under_way.is_empty() {
        while left > 0 && under_way.len() < arguments.under_way as usize {
            let rows = left.min(arguments.array);
            left -= rows;
            under_way.spawn(submit(client.clone(), arguments.clone(), rows, bar.clone()));
        }
        under_way
            .join_next()
            .await
            .context("something is under way")???;
    }
    let seconds = started.elapsed().as_secs_f64();
    let micros = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / f64::from(works);
    Ok(Run {
        rate: f64::from(works) / seconds,
        engine_us: micros(cpu_engine, cpu::used(engine.pid())),
        bench_us: micros(cpu_bench, cpu::used(std::process::id())),
    })
}

/// Submits an array and waits for all of its outcomes.
async fn submit(client: Client, arguments: Throughput, rows: u32, bar: ProgressBar) -> Result<()> {
    let template = WorkTemplate {
        app: if arguments.result_bytes == 0 {
            "null".to_owned()
        } else {
            format!("null:{}", arguments.result_bytes)
        },
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    let (upload, mut follow) = client.submit_followed(template, rows, SubmitOptions::default())?;
    let bytes = arguments.row_bytes;
    let send = async {
        let rows = (0..rows).map(|row| format!("{row:0bytes$}"));
        upload.send(rows).await.context("the submission failed").map(drop)
    };
    let outcomes = async {
        let mut succeeded = 0;
        loop {
            let recv = follow.recv(|item| succeeded += u32::from(item.outcome == Outcome::Succeeded));
            let Ok(count) = tokio::time::timeout(STALLED_AFTER, recv).await else {
                bail!(
                    "a bag stalled with {} of {} outcomes",
                    follow.done(),
                    follow.total()
                );
            };
            let count = count?;
            if count == 0 {
                break;
            }
            bar.inc(count as u64);
        }
        if succeeded != rows {
            bail!("{succeeded} of {rows} works succeeded");
        }
        Ok(())
    };
    tokio::try_join!(send, outcomes).map(drop)
}
