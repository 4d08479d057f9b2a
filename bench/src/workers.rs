//! Workers of the bench's own: real agents, many in one thread, with the null executor.

use std::thread::JoinHandle;

use anyhow::{Context, Result};
use tokio::sync::watch;
use wire_protocol::template::Offer;
use worker_agent::{AgentConfig, Settings};

use crate::engine::Engine;

/// Running agents; dropping them ends their thread.
pub(crate) struct Workers {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts `count` agents with `slots` slots and `prefill` works beyond them, on `threads` threads.
    pub(crate) fn start(engine: &Engine, count: u32, slots: u32, prefill: u32, threads: u32) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut handles = Vec::new();
        for thread in 0..threads {
            let configs: Vec<AgentConfig> = (0..count)
                .filter(|index| index % threads == thread)
                .map(|index| config(engine, index, slots, prefill))
                .collect();
            let stopped = stopped.clone();
            let work = move || serve(configs, &stopped);
            handles.push(
                std::thread::Builder::new()
                    .name(format!("workers-{thread}"))
                    .spawn(work)?,
            );
        }
        Ok(Self {
            stop,
            threads: handles,
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why.
            drop(thread.join());
        }
    }
}

fn serve(configs: Vec<AgentConfig>, stopped: &watch::Receiver<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let mut agents = tokio::task::JoinSet::new();
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                for config in configs {
                    agents.spawn_local(async move {
                        let outcome = worker_agent::run(config, std::future::pending()).await;
                        outcome.context("an agent ended").map(drop)
                    });
                }
                let mut stopped = stopped.clone();
                tokio::select! {
                    ended = agents.join_next() => eprintln!("a worker of the bench ended: {ended:?}"),
                    _ = stopped.wait_for(|stop| *stop) => {}
                }
            })
            .await;
    });
}

fn config(engine: &Engine, index: u32, slots: u32, prefill: u32) -> AgentConfig {
    let offer = Offer {
        executors: vec!["null".to_owned()],
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        slots,
        prefill,
        ..Offer::default()
    };
    AgentConfig {
        engine: engine.workers_addr(),
        server_name: "localhost".to_owned(),
        trust: engine.trust(),
        settings: Settings {
            login: "vworker".to_owned(),
            password: engine.password().to_owned(),
            uid: format!("bench-{index}"),
            name: format!("bench-{index}"),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            offer,
        },
        executors: Vec::new(),
    }
}
