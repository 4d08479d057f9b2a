//! HyperQueue: tasks on clusters. Two releases, since 0.23 and later ones schedule differently.
//!
//! The package for Python holds server and worker but not HyperQueue's zero worker, which pretends to run tasks and
//! is a choice at its compilation. So each task here is a process (`true`), and the figure says how fast this machine
//! starts processes under HyperQueue more than how fast HyperQueue hands out tasks. A task has neither payload nor
//! result. It is done when the client has been told that its job has ended. Server and workers share a process, whose
//! processor time and memory are the server's here; those of the processes `true` are counted nowhere.

use std::fs;

use anyhow::{Context, Result};
use tokio::process::Command;

use super::server::Script;
use super::setup::{Durability, Measured, Setup, Variant};

pub(super) const VARIANTS: &[Variant] = &[Variant {
    name: "real processes, no zero worker",
    waits_for: "memory only (no journal); each task is a process `true`",
    durability: Durability::Memory,
}];

/// Processors that each worker believes it has: how many tasks it runs at once.
const PROCESSORS: u32 = 4;

const SCRIPT: &str = include_str!("hyperqueue.py");

pub(super) async fn measure(setup: &Setup<'_>, packages: &str) -> Result<Measured> {
    let folder = setup.folder()?;
    let script = folder.path().join("drive.py");
    fs::write(&script, SCRIPT)?;
    let python = |role: &str| -> Result<Command> {
        let mut command = Command::new(setup.programs.find("python3").context("it was found before")?);
        command
            .arg(&script)
            .arg(role)
            .arg(folder.path().join("server"))
            .env("PYTHONPATH", setup.programs.folder(packages))
            .current_dir(folder.path());
        Ok(command)
    };
    fs::create_dir(folder.path().join("server"))?;
    let mut serve = python("serve")?;
    serve.args([setup.load.consumers.to_string(), PROCESSORS.to_string()]);
    let mut server = Script::start(serve, &folder.path().join("server.log"))?;
    let version = server.expect("ready").await?;
    let mut client = Script::start(python("submit")?, &folder.path().join("client.log"))?;
    client.expect("ready").await?;
    let runs = setup
        .repeat(server.pid(), client.pid(), async |load| {
            client.ask(&format!("run {}", load.works)).await
        })
        .await?;
    Ok(Measured {
        system: format!("hyperqueue {version}"),
        runs,
    })
}
