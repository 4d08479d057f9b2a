//! `pool-demo`: a real bag of works on a real pool, with a worker and the engine killed in the middle.
//!
//! It starts `pool dev` (an engine and workers, as processes), submits a picture as tiles, each of which a worker
//! computes by running the ordinary program `fractal-tile`, and puts the tiles together as their outcomes come.
//! On the way it kills one worker and then the engine, as `kill -9` does: the picture comes out whole all the same.

mod picture;
mod pool;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use client::protocol::outcome::{Outcome, Output};
use client::protocol::template::{Retry, WorkTemplate};
use client::protocol::units::Millis;
use client::{Client, SubmitOptions};
use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};

use crate::picture::Picture;
use crate::pool::Pool;

/// Renders a fractal on a pool of your own, kills a worker and the engine in the middle, and loses nothing
#[derive(Parser, Debug)]
#[command(name = "pool-demo", version, max_term_width = 110)]
struct Arguments {
    /// Pixels in a row of the picture, and rows
    #[arg(long, default_value_t = 4096)]
    size: u32,
    /// Tiles in a row, and rows of tiles: their square is the number of works
    #[arg(long, default_value_t = 32)]
    tiles: u32,
    /// Workers
    #[arg(long, default_value_t = 4)]
    workers: u32,
    /// The picture
    #[arg(long, default_value = "out/fractal.png", value_name = "FILE")]
    out: PathBuf,
    /// Folder for the pool, emptied first if an earlier demo made it
    #[arg(long, default_value = "data/demo", value_name = "DIR")]
    data: PathBuf,
    /// Kill nobody
    #[arg(long)]
    peaceful: bool,
}

/// What happened to the works.
struct Tally {
    run_us: Histogram<u64>,
    attempts: u64,
    repeated: u64,
    failed: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.tiles == 0 || !arguments.size.is_multiple_of(arguments.tiles) {
        bail!(
            "--size {} is not a multiple of --tiles {}",
            arguments.size,
            arguments.tiles
        );
    }
    let side = arguments.size / arguments.tiles;
    if side * side * 3 > 64 * 1024 - 64 {
        bail!("tiles of {side} × {side} pixels do not fit an inline result of 64 KiB; raise --tiles");
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(run(&arguments))
}

async fn run(arguments: &Arguments) -> Result<()> {
    let program = pool::sibling("fractal-tile")?;
    let pool = Pool::start(&arguments.data, arguments.workers, &program)?;
    eprintln!(
        "A pool of 1 engine and {} workers is ready after {} ms in {}",
        arguments.workers,
        pool.ready_ms(),
        arguments.data.display(),
    );
    let client = pool.connect().await?;
    let works = arguments.tiles * arguments.tiles;
    let command = [
        &program.display().to_string(),
        "--tile",
        "{tile}",
        "--tiles",
        &arguments.tiles.to_string(),
        "--size",
        &arguments.size.to_string(),
    ];
    let template = WorkTemplate {
        command: command.map(str::to_owned).to_vec(),
        columns: vec!["tile".to_owned()],
        label: "demo: a fractal".to_owned(),
        retry: Retry {
            attempts_max: 10,
            backoff_min: Millis(50),
            ..Retry::default()
        },
        ..WorkTemplate::default()
    };
    let started = Instant::now();
    let mut picture = Picture::new(arguments.size, arguments.tiles);
    let tally = render(&client, template, works, &pool, arguments, &mut picture).await?;
    let took = started.elapsed();
    if tally.failed > 0 || !picture.is_whole() {
        bail!(
            "{} works failed and {} tiles are missing",
            tally.failed,
            picture.missing()
        );
    }
    picture.save(&arguments.out)?;
    let stored = pool.check_tables(works)?;
    summarise(arguments, &client, works, &tally, took, stored).await?;
    client.close().await;
    pool.stop()
}

/// Submits the picture and puts it together; kills on the way.
async fn render(
    client: &Client,
    template: WorkTemplate,
    works: u32,
    pool: &Pool,
    arguments: &Arguments,
    picture: &mut Picture,
) -> Result<Tally> {
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} tiles  {per_sec}  {eta} left  {msg}");
    let bar = ProgressBar::new(u64::from(works)).with_style(style.context("the bar's template")?);
    let (upload, mut follow) = client.submit_followed(template, works, SubmitOptions::default())?;
    let send = async {
        let submission = upload.send((0..works).map(|tile| tile.to_string())).await?;
        bar.suspend(|| {
            eprintln!(
                "{works} works are accepted and durable, as bag {}",
                submission.bag
            )
        });
        anyhow::Ok(submission)
    };
    let mut tally = Tally {
        run_us: Histogram::new(3)?,
        attempts: 0,
        repeated: 0,
        failed: 0,
    };
    let collect = async {
        let mut first = None;
        let (mut worker_killed, mut engine_killed) = (arguments.peaceful, arguments.peaceful);
        loop {
            let mut arrived = Vec::new();
            let count = follow
                .recv(|item| {
                    tally.attempts += u64::from(item.attempt.0);
                    tally.repeated += u64::from(item.attempt.0 > 1);
                    tally.failed += u64::from(item.outcome != Outcome::Succeeded);
                    tally
                        .run_us
                        .record(u64::from(item.elapsed_us))
                        .expect("the histogram grows");
                    arrived.push((
                        item.work,
                        Output::parse(item.result).map(|output| output.stdout.to_vec()),
                    ));
                })
                .await?;
            if count == 0 {
                return anyhow::Ok(());
            }
            for (work, output) in arrived {
                // Rows of a bag have consecutive works; the first is known once the submission is accepted.
                let first = *first.get_or_insert(pool::first_of(client, work).await?);
                picture.place(
                    (work.0 - first.0) as u32,
                    &output.context("a result is not an output")?,
                )?;
            }
            bar.set_position(u64::from(follow.done()));
            let share = f64::from(follow.done()) / f64::from(works);
            if share > 0.3 && !worker_killed {
                worker_killed = true;
                let pid = pool.kill_worker()?;
                bar.suspend(|| eprintln!("killed a worker (kill -9 {pid}): its works go to others"));
            }
            if share > 0.6 && !engine_killed {
                engine_killed = true;
                let pid = pool.kill_engine()?;
                bar.suspend(|| eprintln!("killed the engine (kill -9 {pid}): workers go on, it comes back"));
            }
        }
    };
    tokio::try_join!(send, collect)?;
    bar.finish_and_clear();
    Ok(tally)
}

async fn summarise(
    arguments: &Arguments,
    client: &Client,
    works: u32,
    tally: &Tally,
    took: Duration,
    stored: u64,
) -> Result<()> {
    let status = client.status().await?;
    let ms = |quantile: f64| tally.run_us.value_at_quantile(quantile) as f64 / 1e3;
    let seconds = took.as_secs_f64();
    let data = arguments.data.display();
    println!(
        "{} is whole: {works} tiles, each exactly once, in {seconds:.1} s",
        arguments.out.display()
    );
    println!(
        "  throughput  {:.0} works/s (each a process of its own)",
        f64::from(works) / seconds
    );
    println!(
        "  run time    p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms",
        ms(0.5),
        ms(0.9),
        ms(0.99)
    );
    println!(
        "  attempts    {} for {works} works; {} works needed more than one",
        tally.attempts, tally.repeated
    );
    println!(
        "  engine      epoch {} (it rises with each start), {} records",
        status.epoch.0, status.lsn.0
    );
    println!("  tables      equal to the journal, row by row, up to record {stored}");
    println!("\nWhere to look next:");
    println!("  target/release/pool journal verify {data}/engine    what the engine wrote down, checked");
    println!("  target/release/pool --data {data} db works          its works, from the tables");
    println!(
        "  target/release/pool --data {data} dev               the same pool again, with all its results"
    );
    println!("  target/release/pool --help                             everything else");
    Ok(())
}
