//! BullMQ: jobs on Redis for Node, driven by a script for Node that is part of this program.
//!
//! The script adds jobs in bulk and runs eight `Worker`s of 64 jobs at once each, all in one process; see
//! `bullmq.mjs`. A work is done when its `Worker` was answered that job and result are stored; the submitter is
//! the same process. The server's share is Redis.

use std::fs;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::redis::Redis;
use super::server::Script;
use super::setup::{Durability, Measured, Setup, Variant};

pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        name: "memory",
        waits_for: "memory only",
        durability: Durability::Memory,
    },
    Variant {
        name: "fsync always",
        waits_for: "fdatasync of Redis' append-only file before every reply",
        durability: Durability::Fsync,
    },
];

/// Folder of the Node packages.
pub(super) const FOLDER: &str = "bullmq";

const SCRIPT: &str = include_str!("bullmq.mjs");

pub(super) async fn measure(setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
    let redis = Redis::start(setup, variant.durability).await?;
    let folder = setup.folder()?;
    let script = folder.path().join("bullmq.mjs");
    fs::write(&script, SCRIPT)?;
    let mut command = Command::new(setup.programs.find("node").context("it was found before")?);
    command
        .arg(&script)
        .arg(redis.port.to_string())
        .current_dir(setup.programs.folder(FOLDER));
    let mut node = Script::start(command, &folder.path().join("log"))?;
    let version = node.expect("ready").await?;
    let runs = setup
        .repeat(redis.server.pid(), node.pid(), async |load| {
            let line = format!(
                "run {} {} {} {}",
                load.works, load.payload_bytes, load.result_bytes, load.consumers
            );
            node.ask(&line).await
        })
        .await?;
    Ok(Measured {
        system: format!("bullmq {version} on redis {}", redis.version),
        runs,
    })
}
