//! The worker's process: executors, the link, and a shell around the core that decides.
//!
//! `pool-worker` is [`main`]; tests and the bench run the same agent inside their own process with [`run`],
//! also many of them.
//!
//! ```text
//!   engine ◄── QUIC ──► wire ◄──► shell ◄──► worker-core (decides)
//!                                   │
//!                                   ├─► process   commands that the operator allows
//!                                   ├─► docker    commands in containers of images that the operator allows
//!                                   ├─► sleep     works that take time and nothing else
//!                                   ├─► files     inputs and outputs of works ◄── HTTPS ──► file store, web
//!                                   ├─► watch     disks: images that go, and why no work is taken
//!                                   └─► worker-chain  results of works that are for orders ──► Ethereum node
//! ```
//!
//! The shell decides and waits for all executors on one thread; folders and files are the runtime's pool's, and a command is
//! started from a thread of its own. The link has another, so that whatever keeps the first one busy, the engine hears that
//! the worker lives; works come after all of them, because they run with a lower priority ([`executor::WORK_NICE`],
//! [`executor::WORK_CPU_SHARES`]).
//! Deliberately absent: what an order is, and when to send what for it (`worker-chain`).

mod config;
mod contributing;
mod disk;
mod doctor;
pub mod executor;
pub mod files;
mod identity;
mod notes;
mod resources;
mod shell;
mod status;
mod watch;
mod wire;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::DumpableBehavior;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use wire_link::{ClientConfig, ConfigError};
use wire_protocol::codec::DecodeError;
use wire_protocol::limits::WARM_KEYS_MAX;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::ALPN;
use worker_chain::shell::Chain;
use worker_core::Agent;

pub use crate::disk::Marks;
pub use crate::identity::Identity;
pub use crate::watch::DiskWatch;
pub use crate::wire::Connector;
pub use wire_link::{Fingerprint, Trust};
pub use wire_wallet::Wallet;
pub use worker_core::{Exit, Settings};

use crate::config::{Code, Start};
use crate::executor::{Executor, Folder, guardian, shim};
use crate::files::Clerk;
use crate::shell::Shell;
use crate::status::{Board, Status};

/// What a worker is made of.
pub struct AgentConfig {
    /// Where the engine listens for workers, `host:port`. Looked up again for each connection.
    pub engine: String,
    /// The name that the engine's certificate must have.
    pub server_name: String,
    /// What makes links, see [`connector`]. Agents of one process may share one, and with it a UDP socket and a thread. An
    /// agent with a certificate has one of its own: see [`Certified`].
    pub connector: Arc<Connector>,
    /// What proves who it is instead of a password, and whom to believe. Default `None`: the password does.
    pub certified: Option<Certified>,
    /// Whose wallet it works for, which it proves on every connection. Default `None`: nobody's.
    pub wallet: Option<Arc<Wallet>>,
    /// Where results of works that are for orders are contributed. Default `None`: nowhere; such works are run and reported as
    /// any other, and the log says that nothing comes of it.
    pub chain: Option<worker_chain::shell::Config>,
    /// Login, identity and offer. The names of `executors` are added to the offer; `null` is offered if the
    /// offer lists it, and needs no executor.
    pub settings: Settings,
    /// What runs works.
    pub executors: Vec<Arc<dyn Executor>>,
    /// Where executors ask what they may do with files; `None`: they have none.
    pub clerk: Option<Clerk>,
    /// Where reports are kept until they are recorded. `None`: nowhere; a worker that is killed makes none of them.
    pub folder: Option<Arc<Folder>>,
    /// What still runs so long after the wish to leave is stopped and given back. `None`: it is waited for.
    pub drain_within: Option<Millis>,
    /// Which disks to look at. `None`: none; then the worker never holds because of one, and removes no images.
    pub disk: Option<DiskWatch>,
}

/// A worker that proves who it is by a certificate, or by a token for which it gets one.
pub struct Certified {
    /// Its key and certificate.
    pub identity: Identity,
    /// Whom it believes to be the engine.
    pub trust: Trust,
}

impl Certified {
    /// What makes links that show the certificate.
    ///
    /// # Errors
    /// [`ConfigError`]: the CA file or the TLS settings.
    pub(crate) fn quic(&self) -> Result<wire_link::Connector, ConfigError> {
        let mut config = ClientConfig::new(self.trust.clone(), ALPN);
        config.identity = self.identity.shown();
        wire_link::Connector::new(config)
    }
}

/// Why an agent cannot begin.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The CA file or the TLS settings.
    #[error("the link to the engine cannot be set up")]
    Link(#[from] ConfigError),
    /// The key of the worker is of no use.
    #[error("this worker cannot prove who it is")]
    Identity(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The system gives the links no thread.
    #[error("the links to the engine have no thread")]
    Thread(#[from] std::io::Error),
    /// A setting of the chain leads nowhere, or notes of before cannot be had.
    #[error("results cannot be contributed")]
    Chain(#[source] Box<worker_chain::shell::ConfigError>),
    /// A name, a list or a number of the settings is out of range.
    #[error("the engine would not accept what this worker says of itself")]
    Settings(#[from] DecodeError),
}

/// What makes links to an engine that `trust` believes, with the thread that they live on.
///
/// # Errors
/// [`AgentError::Link`]: the CA file or the TLS settings. [`AgentError::Thread`]: the system has none to give.
pub fn connector(trust: Trust) -> Result<Arc<Connector>, AgentError> {
    Ok(Arc::new(Connector::new(quic(trust)?)?))
}

/// The same without a thread.
fn quic(trust: Trust) -> Result<wire_link::Connector, AgentError> {
    Ok(wire_link::Connector::new(ClientConfig::new(trust, ALPN))?)
}

/// Runs a worker until it leaves. When `shutdown` is ready, it drains: it takes no further work, finishes what
/// runs (within [`AgentConfig::drain_within`]), waits until the results are recorded, and leaves. Dropped, it stops at
/// once.
///
/// An engine that cannot be reached is no error: the worker tries again for as long as it lives.
///
/// # Errors
/// See [`AgentError`]; nothing was tried yet then.
///
/// # Panics
/// Outside a tokio runtime with time and I/O.
pub async fn run(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<Exit, AgentError> {
    let AgentConfig {
        engine,
        server_name,
        mut connector,
        certified,
        wallet,
        chain,
        mut settings,
        executors,
        clerk,
        folder,
        drain_within,
        disk,
    } = config;
    if let Some(certified) = &certified {
        let identity = certified.identity.settings();
        settings.identity = Some(identity.map_err(|error| AgentError::Identity(error.into()))?);
        connector = Arc::new(connector.with(certified.quic()?));
    }
    for executor in &executors {
        settings.offer.executors.push(executor.name().to_owned());
    }
    settings.validate()?;
    let chain = match chain {
        Some(chain) => Some(
            Chain::start(chain)
                .await
                .map_err(|error| AgentError::Chain(error.into()))?,
        ),
        None => None,
    };
    let mut attempts = Vec::new();
    for executor in &executors {
        let begun = Arc::clone(executor).begin().await;
        attempts.extend(
            begun
                .into_iter()
                .map(|resumable| (Arc::clone(executor), resumable)),
        );
    }
    let mut warm = Vec::new();
    for executor in &executors {
        warm.extend(Arc::clone(executor).warm().await);
    }
    // Images are the larger, but not all of what there is.
    warm.truncate(WARM_KEYS_MAX / 2);
    warm.append(&mut settings.warm);
    settings.warm = warm;
    // The standard library's hasher is seeded by the system; a worker's jitter needs no better.
    let seed = RandomState::new().hash_one(&settings.uid);
    let about = Status {
        version: settings.version.clone(),
        name: settings.name.clone(),
        uid: settings.uid.clone(),
        engine: engine.clone(),
        slots: settings.offer.slots,
        ..Status::default()
    };
    let board = folder.as_ref().map(|folder| Board::new(folder.path(), about));
    let agent = Agent::new(settings, seed);
    Ok(
        Shell::new(agent, connector, engine, server_name, executors, clerk)
            .proving(certified, wallet)
            .resuming(folder, attempts)
            .watching(disk)
            .contributing(chain)
            .draining(drain_within)
            .telling(board)
            .run(shutdown)
            .await,
    )
}

/// The program `pool-worker`, from its arguments to its exit code.
#[must_use]
pub fn main() -> ExitCode {
    // First of all, and before any thread: it may be another program.
    let arguments = || std::env::args_os().skip(1);
    if let Some(code) = shim::run(arguments()).or_else(|| guardian::run(arguments())) {
        return code;
    }
    // No core dump of it, with its secrets, nor of what it starts. To lower one's own limit is never refused.
    let _ = executor::forbid_core_dumps();
    // Works run as the same user: without this they could read the password in /proc, or attach a debugger.
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let start = match config::from_environment() {
        Ok(start) => start,
        Err(problem) => return problem.report(),
    };
    if let Err(error) = hidden {
        tracing::warn!(%error, "works of this user may be able to read this process's memory");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no runtime");
            return Code::Failed.into();
        }
    };
    match start {
        Start::Worker(config) => runtime.block_on(run_until_signalled(*config)).into(),
        Start::Status { folder, json } => status::print(&folder, json),
        Start::Doctor { around, json } => runtime.block_on(doctor::run(*around, json)),
    }
}

async fn run_until_signalled(config: AgentConfig) -> Code {
    let (mut terminate, mut interrupt) =
        match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
            (Ok(terminate), Ok(interrupt)) => (terminate, interrupt),
            (Err(error), _) | (_, Err(error)) => {
                tracing::error!(%error, "signals cannot be had");
                return Code::Failed;
            }
        };
    let (drain, asked_to_drain) = tokio::sync::oneshot::channel::<()>();
    let mut drain = Some(drain);
    let mut agent = std::pin::pin!(run(config, async {
        let _ = asked_to_drain.await;
    }));
    loop {
        tokio::select! {
            exit = &mut agent => return Code::of(exit),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if drain.take().is_none_or(|drain| drain.send(()).is_err()) {
            tracing::warn!("told twice to stop: stops now, with its works");
            return Code::Failed;
        }
    }
}
