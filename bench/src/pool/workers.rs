//! Workers of the bench's own: processes with many real agents each, which run null works.

use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use client::Trust;
use wire_protocol::template::Offer;
use worker_agent::{AgentConfig, Connector, Settings};

use super::consumption::{Usage, used};
use super::engine::{Engine, PASSWORD};
use crate::scenario::PoolPlan;

/// Processes of workers; dropping them ends them.
pub(crate) struct Workers {
    processes: Vec<Process>,
}

struct Process {
    arguments: Vec<String>,
    child: Option<Child>,
}

/// What a process of workers is told.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArguments {
    #[arg(long)]
    engine: String,
    #[arg(long)]
    ca: PathBuf,
    /// Number of its first worker
    #[arg(long)]
    first: u32,
    #[arg(long)]
    count: u32,
    #[arg(long)]
    slots: u32,
    #[arg(long)]
    prefill: u32,
    /// Cores that each offers
    #[arg(long)]
    cores: u32,
}

impl Workers {
    /// Prepares workers that offer `cores` cores each. None is started.
    pub(crate) fn new(plan: &PoolPlan, cores: u32, engine: &Engine) -> Result<Self> {
        let processes = plan.worker_processes;
        let share = |index: u32| {
            let upto = |index: u32| u64::from(plan.workers) * u64::from(index) / u64::from(processes);
            (upto(index) as u32, (upto(index + 1) - upto(index)) as u32)
        };
        let ca = engine.ca();
        let ca = ca.to_str().context("the folder's name is not UTF-8 (--data)")?;
        let process = |index| {
            let (first, count) = share(index);
            let numbers = [
                ("--first", first),
                ("--count", count),
                ("--slots", plan.slots),
                ("--prefill", plan.prefill),
                ("--cores", cores),
            ];
            let mut arguments = vec!["workers".to_owned(), "--engine".to_owned()];
            arguments.extend([
                engine.workers_addr().to_string(),
                "--ca".to_owned(),
                ca.to_owned(),
            ]);
            arguments.extend(
                numbers
                    .into_iter()
                    .flat_map(|(name, number)| [name.to_owned(), number.to_string()]),
            );
            Process {
                arguments,
                child: None,
            }
        };
        Ok(Self {
            processes: (0..processes).map(process).collect(),
        })
    }

    /// Starts those that do not run.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.processes.iter_mut().try_for_each(Process::start)
    }

    /// Ends all, at once.
    pub(crate) fn stop(&mut self) {
        self.processes.iter_mut().for_each(Process::kill);
    }

    /// `kill -9` of one process.
    pub(crate) fn kill_one(&mut self) {
        if let Some(process) = self.processes.iter_mut().find(|process| process.child.is_some()) {
            process.kill();
        }
    }

    /// What those that run used, together.
    pub(crate) fn used(&self) -> Usage {
        let children = self.processes.iter().filter_map(|process| process.child.as_ref());
        children
            .map(|child| used(child.id()))
            .fold(Usage::default(), Usage::plus)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Process {
    fn start(&mut self) -> Result<()> {
        if self.child.is_none() {
            let child = Command::new(std::env::current_exe()?)
                .args(&self.arguments)
                // Held open: when the bench ends, however it does, its workers read the end and go.
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .context("cannot start a process of workers")?;
            self.child = Some(child);
        }
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Either fails only if it is gone.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Runs workers until standard input ends.
pub(crate) fn serve(arguments: &ServeArguments) -> Result<()> {
    std::thread::spawn(|| {
        drop(std::io::stdin().read_to_end(&mut Vec::new()));
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut agents = tokio::task::JoinSet::new();
        // One socket for all: quinn's buffers for one take two mebibytes.
        let connector = worker_agent::connector(Trust::Ca(arguments.ca.clone()))?;
        for index in arguments.first..arguments.first + arguments.count {
            let config = config(arguments, Arc::clone(&connector), index);
            agents.spawn_local(worker_agent::run(config, std::future::pending()));
        }
        while let Some(ended) = agents.join_next().await {
            let exit = ended
                .context("a worker failed")?
                .context("a worker cannot begin")?;
            eprintln!("a worker of the bench left: {exit:?}");
        }
        Ok(())
    })
}

fn config(arguments: &ServeArguments, connector: Arc<Connector>, index: u32) -> AgentConfig {
    let offer = Offer {
        executors: vec!["null".to_owned()],
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cores: arguments.cores,
        slots: arguments.slots,
        prefill: arguments.prefill,
        ..Offer::default()
    };
    AgentConfig {
        engine: arguments.engine.clone(),
        server_name: "localhost".to_owned(),
        connector,
        certified: None,
        wallet: None,
        chain: None,
        settings: Settings {
            login: "vworker".to_owned(),
            password: PASSWORD.to_owned(),
            identity: None,
            uid: format!("bench-{index}"),
            name: format!("bench-{index}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            offer,
            warm: Vec::new(),
        },
        executors: Vec::new(),
        clerk: None,
        folder: None,
        drain_within: None,
        disk: None,
    }
}
