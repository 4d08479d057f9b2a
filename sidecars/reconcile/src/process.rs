//! The process's life: serve health, look at the chain, take the notebook, work, stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientError, ConnectOptions};
use daemon::ReadyFile;
use serde::Serialize;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;
use wire_chain::rpc::{Rpc, RpcOptions};
use wire_chain::start::{self, StartError};
use wire_chain::{Answer, At, Chain, Contracts, Nodes, NodesOptions, Seen, View};
use wire_hub::Call;
use wire_lane as lane;
use wire_protocol::units::Millis;

use crate::config::{ChainConfig, Config, OrdersConfig, PolicyChange, WorkConfig};
use crate::core::market::{Terms, TermsChange};
use crate::core::reconciler::{Place, Settings};
use crate::core::{observe, plan};
use crate::exit;
use crate::shell::{Driver, DriverError, Engine, NodeShell, WorkSettings};
use crate::status::Status;

/// Between two looks at a node or an engine that is not there.
const AGAIN: Duration = Duration::from_secs(2);

/// Why the sidecar ended.
#[derive(Debug, Error)]
pub enum Failure {
    /// Health and metrics cannot be served there.
    #[error("cannot serve health and metrics on {address}")]
    Health {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The ready file cannot be written.
    #[error("cannot write {} (--ready-file)", file.display())]
    ReadyFile {
        /// The file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Threads or signals cannot be had.
    #[error("cannot {step}")]
    System {
        /// What was tried.
        step: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// This machine cannot speak to nodes.
    #[error("cannot ask Ethereum nodes: {0}")]
    Http(String),
    /// The settings do not lead to the contracts of a pool.
    #[error(transparent)]
    Start(Box<StartError>),
    /// The engine does not take it.
    #[error("cannot work with the engine (POOL_ENGINE_CLIENT, POOL_CA, ADMINLOGIN, ADMINPASSWORD)")]
    Engine(#[source] ClientError),
    /// It could not go on.
    #[error(transparent)]
    Driver(#[from] DriverError),
}

impl Failure {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Health { .. } => exit::ADDRESS,
            Self::Start(_) | Self::Engine(_) => exit::CONFIGURATION,
            Self::Driver(DriverError::Replaced(_)) => exit::REPLACED,
            Self::Driver(DriverError::Notes(_) | DriverError::OtherPlace { .. }) => exit::NOTES,
            Self::Driver(DriverError::Engine(_))
            | Self::ReadyFile { .. }
            | Self::System { .. }
            | Self::Http(_) => exit::FAILED,
        }
    }
}

/// What the ready file says.
#[derive(Serialize)]
struct Ready {
    health: SocketAddr,
    pid: u32,
}

/// Works until a signal, or until something that no waiting cures.
///
/// # Errors
/// See [`Failure`].
pub fn run(config: Config) -> Result<(), Failure> {
    let status = Arc::new(Status::default());
    let served = match config.listen_health {
        None => None,
        Some(address) => {
            let status = Arc::clone(&status);
            let served = daemon::http::spawn(address, move |path| status.answer(path));
            Some(served.map_err(|source| Failure::Health { address, source })?)
        }
    };
    let _ready = match (served, config.ready_file) {
        (Some(health), Some(file)) => {
            let pid = std::process::id();
            let written = ReadyFile::write(&file, &Ready { health, pid });
            Some(written.map_err(|source| Failure::ReadyFile { file, source })?)
        }
        _ => None,
    };
    let system = |step| move |source| Failure::System { step, source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(system("start a runtime"))?.block_on(async {
        let mut stop = stop_signals().map_err(system("take signals"))?;
        let Some(work) = config.work else {
            tracing::info!("BLOCKCHAINETHENABLED is false: nothing is done");
            status.off();
            stopped(&mut stop).await;
            return Ok(());
        };
        work_until(work, status, stop).await
    })
}

async fn work_until(
    work: WorkConfig,
    status: Arc<Status>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let WorkConfig {
        chain,
        engine,
        orders,
    } = work;
    let Some(contracts) = unless_stopped(&mut stop, look_at_chain(&chain, &status)).await else {
        return Ok(());
    };
    let contracts = contracts?;
    let nodes = Nodes::new(chain.nodes.clone(), contracts, NodesOptions::default());
    let nodes = nodes.map_err(Failure::Http)?;
    let Some(client) = unless_stopped(&mut stop, connect(engine.connect, &status)).await else {
        return Ok(());
    };
    let place = Place {
        chain_id: contracts.chain_id,
        hub: contracts.hub,
        pool: contracts.pool,
        owner: chain.wallet.address(),
    };
    let Some(engine) = unless_stopped(&mut stop, Engine::take(client?, place, chain.may_forget)).await else {
        return Ok(());
    };
    let engine = engine?;
    let from = match chain.start_block {
        Some(from) => from,
        None if engine.is_new() => match unless_stopped(&mut stop, head_of(&nodes)).await {
            Some(head) => head,
            None => return Ok(()),
        },
        None => 0,
    };
    tracing::info!(
        chain = contracts.chain_id,
        hub = %contracts.hub,
        pool = %contracts.pool,
        wallet = %chain.wallet.address(),
        "follows the pool's contract"
    );
    let wishes = terms(&nodes, &orders).await;
    let works = WorkSettings {
        priority: orders.priority,
        result_uri: orders.result_uri.clone(),
        pool: contracts.pool,
    };
    let settings = settings(&chain, &orders, &contracts);
    let poll = chain.poll;
    let node = NodeShell::new(nodes, chain.wallet);
    let driver = Driver::new(settings, engine, node, works, (from, poll), status);
    Ok(driver.run(wishes, stop).await?)
}

fn settings(chain: &ChainConfig, orders: &OrdersConfig, contracts: &Contracts) -> Settings {
    let block_ms = chain.block_s * 1_000;
    Settings {
        chain_id: contracts.chain_id,
        hub: contracts.hub,
        pool: contracts.pool,
        owner: chain.wallet.address(),
        observe: observe::Settings {
            ring_len: 128,
            confirmations: chain.confirmations,
            final_after: chain.final_after,
            range_len: 1_000,
            patience: Millis(30_000),
            pause: Millis(1_000),
        },
        lane: lane::Settings {
            in_flight_max: 16,
            fees: chain.fees,
            spend_per_hour_max: chain.spend_per_hour_max,
            resend_after: Millis(block_ms * 3),
            replace_after: Millis(block_ms * 3),
            urgent_s: chain.block_s * 5,
            poll: Millis(5_000),
        },
        plan: plan::Settings {
            consensus: orders.consensus,
            best_effort: orders.best_effort,
            confirmations: chain.confirmations,
            block_s: chain.block_s,
            inclusion_s: chain.block_s,
            margin_blocks: 3,
            patience_s: orders.patience_s,
            callback_gas_max: orders.callback_gas_max,
            evict_after: orders.evict_after,
        },
        offer: orders.offer,
        pause: Millis(1_000),
    }
}

/// Whether the settings lead to a pool; a node that does not answer is waited for.
async fn look_at_chain(chain: &ChainConfig, status: &Status) -> Result<Contracts, Failure> {
    let rpcs = chain
        .nodes
        .iter()
        .map(|node| Rpc::new(node.clone(), RpcOptions::default()));
    let rpcs: Vec<Rpc> = rpcs.collect::<Result<_, _>>().map_err(Failure::Http)?;
    loop {
        match start::check(&rpcs, &chain.start).await {
            Ok(contracts) => return Ok(contracts),
            Err(error @ StartError::Node { .. }) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "waits for the node");
                status.node_answers(false);
                sleep(AGAIN).await;
            }
            Err(error) => return Err(Failure::Start(Box::new(error))),
        }
    }
}

/// How the operator's terms differ from those of the pool's contract is told; the transaction that changes these, if the
/// operator wants it.
async fn terms(nodes: &Nodes, orders: &OrdersConfig) -> Option<Call> {
    if orders.terms == Terms::default() {
        return None;
    }
    let now = loop {
        match nodes.look(View::Policy, At::Latest).await {
            Answer::Known(Seen::Policy(policy)) => break policy,
            _ => sleep(AGAIN).await,
        }
    };
    let TermsChange { lines, call } = orders.terms.change(&now);
    for line in &lines {
        tracing::warn!("{line}");
    }
    match (orders.policy, call) {
        (PolicyChange::Apply, Some(call)) => Some(call),
        (PolicyChange::Show, Some(_)) => {
            tracing::warn!("this is not sent; set POOL_POLICY=apply to have it sent");
            None
        }
        (_, None) => None,
    }
}

/// The engine; one that is away is waited for.
async fn connect(options: ConnectOptions, status: &Status) -> Result<Client, Failure> {
    loop {
        match Client::connect(options.clone()).await {
            Ok(client) => {
                status.engine_answers(Ok(()));
                return Ok(client);
            }
            Err(error) if error.is_transient() => {
                status.engine_answers(Err(&error));
                sleep(AGAIN).await;
            }
            Err(error) => return Err(Failure::Engine(error)),
        }
    }
}

async fn head_of(nodes: &Nodes) -> u64 {
    loop {
        if let Answer::Known(head) = nodes.head().await {
            return head.at.number;
        }
        sleep(AGAIN).await;
    }
}

/// What comes of it, unless it is to stop before.
async fn unless_stopped<T>(stop: &mut watch::Receiver<bool>, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = stopped(stop) => None,
        done = work => Some(done),
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that nobody can say so any more.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Whether it is to stop: at the first signal. At the second it ends at once.
fn stop_signals() -> io::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (say, stop) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if say.send_replace(true) {
                std::process::exit(exit::FAILED.into());
            }
        }
    });
    Ok(stop)
}
