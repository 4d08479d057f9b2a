//! `pool-bench`: how fast a real pool is, measured from outside, over the real wire.
//!
//! It starts a `pool-engine` of its own on a folder of its own, connects workers and a client, and reports what
//! they saw. Engine, workers and generator share the machine; the report says what each of them used.

mod cpu;
mod engine;
mod latency;
mod machine;
mod measurement;
mod report;
mod throughput;
mod workers;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures a pool from outside.
///
/// Build everything first: `cargo build --release`. The engine is the `pool-engine` beside this program.
#[derive(Parser)]
#[command(name = "pool-bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Subcommand)]
enum Scenario {
    /// Works per second, closed loop: a client keeps the queue full of null works, and workers empty it
    ///
    /// A work counts when its outcome has reached the client: its submission was made durable and acknowledged,
    /// it was assigned over QUIC, its result came back, was made durable, and was acknowledged to the worker.
    Throughput(throughput::Throughput),
    /// Latency of single works, open loop: one submission per work at a fixed rate, timed from when it was due
    Latency(latency::Latency),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().scenario {
        Scenario::Throughput(scenario) => throughput::run(&scenario),
        Scenario::Latency(scenario) => latency::run(&scenario),
    }
}
