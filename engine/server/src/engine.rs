//! The engine's life: recover, bind, serve, stop.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use daemon::ReadyFile;
use engine_journal::JournalError;
use engine_queue::doorbell::Doorbell;
use engine_queue::exchange::exchange;
use engine_queue::mailbox::mailbox;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use thiserror::Error;
use wire_link::{
    BindError, CertsError, ClientCa, Limits, ListenerId, Server, ServerConfig, ServerIdentity, code,
    default_names,
};
use wire_protocol::{client_link, worker_link};

use crate::auth::Auth;
use crate::clock::Clock;
use crate::commit::{self, Commit};
use crate::config::{Config, Durability, STOP_DEADLINE};
use crate::feed::{self, Feed};
use crate::grants::{Grants, KeyError};
use crate::http::{self, Health};
use crate::metrics::{Histogram, metrics};
use crate::recovery::recover;
use crate::shared::{Mail, Shared};
use crate::shell::{CLIENTS, Channels, Shell};
use crate::upkeep::{self, Tools};
use crate::{exit, fetcher};

/// What the ready file says.
#[derive(Serialize)]
struct Ready {
    workers: SocketAddr,
    clients: SocketAddr,
    health: SocketAddr,
    feed: PathBuf,
    pid: u32,
    epoch: u32,
}

/// Why the engine ended, and the exit code that says so.
#[derive(Debug)]
pub struct Failure {
    /// One of [`exit`].
    pub exit: u8,
    /// The chain of causes.
    pub error: EngineError,
}

/// What can keep an engine from starting or going on.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The folder or its journal cannot be used.
    #[error("the journal in {folder} cannot be used")]
    Journal {
        /// The folder.
        folder: String,
        /// Why.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The certificate cannot be used.
    #[error("no certificate")]
    Certificate(#[from] CertsError),
    /// An address cannot be listened on.
    #[error("cannot listen")]
    Bind(#[from] BindError),
    /// The feed's socket cannot be made.
    #[error("no feed")]
    Feed(#[from] wire_feed::BindError),
    /// Health and metrics cannot be served.
    #[error("cannot serve health and metrics on {address} (--listen-health)")]
    Health {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The key of grants cannot be used.
    #[error("no grants of files")]
    Grants(#[from] KeyError),
    /// The link loop failed.
    #[error("the link loop failed")]
    Loop(#[source] std::io::Error),
    /// Another step failed.
    #[error("{step}")]
    Io {
        /// What was attempted.
        step: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The disk failed while the engine ran.
    #[error("the disk failed; what was acknowledged is safe, and the next start reads it back")]
    Disk(#[source] JournalError),
}

/// Shortest time between two commits under load; see [`commit`].
const COMMIT_FLOOR: Duration = Duration::from_micros(250);

/// Batches on their way to the journal thread.
const BATCHES: usize = 2;

/// Letters for the main thread.
const MAIL: usize = 1_024;

/// Payload that a worker's join may have: it lists the leases that the worker holds.
const GREETING_BYTES: usize = 512 << 10;

/// Outcomes that wait for one client before it is told to ask for results instead: a burst of works that ended
/// together goes through, a client that does not read does not hold memory for long.
const OUT_BYTES_SOFT: usize = 8 << 20;

/// What may wait on one link at most. Beyond the soft bound only what the journal released at once is added.
const OUT_BYTES_HARD: usize = 128 << 20;

/// What may wait on all links together.
const OUT_BYTES_TOTAL: usize = 512 << 20;

/// Runs an engine until it is asked to stop (SIGTERM, SIGINT) or cannot go on.
///
/// # Errors
/// What it could not do, with the exit code for it.
pub fn run(config: &Config) -> Result<(), Failure> {
    Engine::start(config).and_then(Engine::serve).map_err(|error| {
        let exit = match &error {
            EngineError::Journal { .. } => exit::JOURNAL,
            EngineError::Grants(_) => exit::CONFIGURATION,
            EngineError::Certificate(_) | EngineError::Bind(_) | EngineError::Health { .. } => exit::ADDRESS,
            EngineError::Disk(_) => exit::DISK,
            EngineError::Feed(_) | EngineError::Loop(_) | EngineError::Io { .. } => exit::FAILED,
        };
        Failure { exit, error }
    })
}

struct Engine {
    server: Server,
    shell: Shell,
    shared: Arc<Shared>,
    /// The journal thread, upkeep, the feed: joined at the end.
    journal: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    feed: JoinHandle<()>,
    _ready: Option<ReadyFile>,
}

impl Engine {
    fn start(config: &Config) -> Result<Self, EngineError> {
        let started = Instant::now();
        let (mut journal, core, recovered) = recover(config)?;
        let identity = ServerIdentity::load_or_create(&config.certs, &names(config))?;
        let fingerprint = identity.fingerprint();
        let ca = ClientCa::load_or_create(&config.data)?;
        let server = bind(config, identity, &ca)?;
        let feed = Feed::bind(&config.data, config.scheduler.shard)?;

        let waker = server.waker();
        let bell = Doorbell::new(move || {
            // It fails only if the poll is gone, and then nobody sleeps.
            drop(waker.wake());
        });
        let shared = Arc::new(Shared::new(journal.durable_lsn(), bell.clone()));
        let (mail_in, mail) = mailbox::<Mail>(MAIL, bell);
        let (batches, taker) = exchange::<Commit>(BATCHES);
        let commits = Arc::new(Histogram::default());
        let (publisher, metrics) = metrics(Arc::clone(&commits), recovered);
        journal.begin_epoch();
        let reader = journal.reader();
        let tools = Tools {
            janitor: journal.janitor(),
            reader: reader.clone(),
            snapshots: journal.snapshot_writer(),
        };
        let (snapshots, upkeep) = upkeep::spawn(tools, mail_in.clone(), Arc::clone(&shared));
        let fetches = fetcher::spawn(reader.clone(), mail_in.clone(), Arc::clone(&shared));
        let batch_bytes_max = journal.batch_bytes_max();
        let journal = commit::spawn(
            journal,
            taker,
            Arc::clone(&shared),
            feed.waker(),
            commits,
            COMMIT_FLOOR,
        );
        let feed = feed.spawn(reader, mail_in, Arc::clone(&shared));
        let channels = Channels {
            batches,
            batch_bytes_max,
            durability: config.durability,
            mail,
            fetches,
            snapshots,
            publisher,
        };
        let clock = Clock::start(core.clock_floor());
        let auth = Auth::new(config.worker.as_ref(), &config.admin);
        if config.worker.is_none() {
            tracing::info!(
                "WORKERPASSWORD is not set: workers come in by enrolment tokens and certificates alone"
            );
        }
        let grants = Grants::new(config.files_url.as_deref(), &config.grant_key)?;
        if config.durability == Durability::Memory {
            tracing::warn!(
                "acknowledges before the disk has it (POOL_DURABILITY=memory): a crash may lose what was acknowledged"
            );
        }
        let mut shell = Shell::new(core, clock, Arc::clone(&shared), auth, grants, ca, channels);
        shell.start();

        let health = Health {
            shared: Arc::clone(&shared),
            metrics,
            started: shell.started,
        };
        let address = config.listen_health;
        let health =
            http::spawn(address, health).map_err(|source| EngineError::Health { address, source })?;
        listen_to_signals(&shared)?;
        shared.ready.store(true, Ordering::Relaxed);
        let ready = Ready {
            workers: server.local_addr(ListenerId(1)),
            clients: server.local_addr(CLIENTS),
            health,
            feed: config.data.join(feed::SOCKET),
            pid: std::process::id(),
            epoch: shell.core.epoch().0,
        };
        tracing::info!(
            workers = %ready.workers, clients = %ready.clients, health = %ready.health, epoch = ready.epoch,
            %fingerprint, lsn = shell.core.last_lsn().0, after_ms = started.elapsed().as_millis() as u64, "ready",
        );
        let ready = match &config.ready_file {
            None => None,
            Some(path) => Some(ReadyFile::write(path, &ready).map_err(|source| EngineError::Io {
                step: format!("cannot write {} (--ready-file)", path.display()),
                source,
            })?),
        };
        Ok(Self {
            server,
            shell,
            shared,
            journal,
            upkeep,
            feed,
            _ready: ready,
        })
    }

    fn serve(mut self) -> Result<(), EngineError> {
        while !self.shared.is_stopping() {
            self.turn()?;
        }
        self.stop()
    }

    fn turn(&mut self) -> Result<(), EngineError> {
        if let Some(error) = self.shared.failed.get() {
            return Err(EngineError::Disk(error.clone()));
        }
        let shell = &mut self.shell;
        let timeout = shell.timeout();
        let idle = self.shared.bell.may_sleep(|| shell.nothing_waits());
        let turn = self
            .server
            .turn(Some(if idle { timeout } else { Duration::ZERO }), shell);
        self.shared.bell.wake_up();
        let turn = turn.map_err(EngineError::Loop)?;
        self.shell.note_turn(&turn);
        Ok(())
    }

    /// Refuses what is new, makes durable and tells what was taken, snapshots, and closes. Workers go on reporting
    /// until their links are closed, so only what was there at the beginning is waited for before that.
    fn stop(mut self) -> Result<(), EngineError> {
        tracing::info!("stopping: finishing what was taken");
        let taken = self.shell.core.last_lsn();
        self.shell.announce_stop(self.server.links_mut());
        while !self.shell.has_told(taken) {
            self.turn()?;
        }
        self.server.close_all(code::DONE, "the engine is shutting down");
        while !self.server.is_quiet() || !self.shell.is_settled() {
            self.turn()?;
        }
        self.shell.finish();
        drop(self.shell);
        for thread in [self.upkeep, self.journal, self.feed] {
            // A thread that panicked has said so; the rest still have to end.
            drop(thread.join());
        }
        match self.shared.failed.get() {
            Some(error) => Err(EngineError::Disk(error.clone())),
            None => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }
}

fn names(config: &Config) -> Vec<String> {
    let mut names = default_names();
    names.extend(config.cert_names.iter().cloned());
    names
}

/// Who is connected, in the data folder.
const ROSTER: &str = "links.roster";

fn bind(config: &Config, identity: ServerIdentity, ca: &ClientCa) -> Result<Server, BindError> {
    let mut server = ServerConfig::new(identity);
    server.listen(CLIENTS, config.listen_clients, &[client_link::ALPN]);
    for (index, address) in config.listen_workers.iter().enumerate() {
        let listener = ListenerId(u8::try_from(index + 1).expect("checked with the configuration"));
        server.listen(listener, *address, &[worker_link::ALPN]);
    }
    for workers in server.listeners.iter_mut().filter(|one| one.listener != CLIENTS) {
        workers.client_ca = Some(ca.certificate().to_vec());
    }
    server.mtu_max = config.mtu_max;
    server.roster = Some(config.data.join(ROSTER));
    server.limits = Limits {
        links_per_address_max: config.links_per_address_max,
        greeting_payload_bytes_max: GREETING_BYTES,
        greeting_window_bytes: GREETING_BYTES as u32 + 1024,
        out_bytes_soft: OUT_BYTES_SOFT,
        out_bytes_hard: OUT_BYTES_HARD,
        buffered_bytes_max: OUT_BYTES_TOTAL,
        ..Limits::default()
    };
    Server::bind(server)
}

/// The first signal stops in good order, the second, or too long a wait for the disk or a peer, at once: the
/// journal has everything that was promised.
fn listen_to_signals(shared: &Arc<Shared>) -> Result<(), EngineError> {
    let failed = |source| EngineError::Io {
        step: "cannot listen to signals".to_owned(),
        source,
    };
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let shared = Arc::clone(shared);
    let work = move || {
        for _ in signals.forever() {
            if shared.is_stopping() {
                std::process::exit(i32::from(exit::FAILED));
            }
            shared.stop();
            std::thread::spawn(give_up_in_time);
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(work)
        .map_err(failed)?;
    Ok(())
}

fn give_up_in_time() {
    std::thread::sleep(STOP_DEADLINE);
    tracing::error!("what was taken could not be finished in time; it was not acknowledged, and is given up");
    std::process::exit(i32::from(exit::FAILED));
}
