//! The process's life: open the files, serve, look after them, stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use daemon::ReadyFile;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::Serialize;
use sidecars_files::{Backend, Store, StoreError};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use wire_grant::Key;
use wire_link::{CertsError, ServerIdentity, default_names, https_config};
use wire_protocol::units::Instant;

use crate::config::Config;
use crate::exit;
use crate::gatekeeper::Gatekeeper;
use crate::serve::{Server, serve};
use crate::status::Status;

/// Between two looks at what has expired.
const UPKEEP_EVERY: Duration = Duration::from_secs(60);

/// Threads that wait for the disk. More do not make it faster.
const DISK_THREADS_MAX: usize = 32;

/// Why the gateway ended.
#[derive(Debug, Error)]
pub enum Failure {
    /// An address is taken.
    #[error("cannot listen on {address} ({option})")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Which option gives it.
        option: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The certificate cannot be used.
    #[error("no certificate")]
    Certs(#[from] CertsError),
    /// TLS does not take the certificate.
    #[error("the certificate cannot be used")]
    Tls(#[source] tokio_rustls::rustls::Error),
    /// The key of grants cannot be read or made.
    #[error("cannot read or make the grant key {} (POOL_GRANT_KEY)", file.display())]
    Key {
        /// Its file.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The files cannot be used.
    #[error("cannot use the files in {} (POOL_FILES)", folder.display())]
    Files {
        /// Their folder.
        folder: PathBuf,
        /// Why.
        source: StoreError,
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
}

impl Failure {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Listen { .. } | Self::Certs(_) | Self::Tls(_) => exit::ADDRESS,
            Self::Files { .. } => exit::FILES,
            Self::Key { .. } => exit::CONFIGURATION,
            Self::ReadyFile { .. } | Self::System { .. } => exit::FAILED,
        }
    }
}

/// What the ready file says.
#[derive(Serialize)]
struct Ready {
    https: SocketAddr,
    health: Option<SocketAddr>,
    pid: u32,
}

/// Serves until a signal.
///
/// # Errors
/// See [`Failure`].
pub fn run(config: Config) -> Result<(), Failure> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(DISK_THREADS_MAX)
        .build();
    let system = |step| move |source| Failure::System { step, source };
    runtime.map_err(system("start threads"))?.block_on(live(config))
}

async fn live(config: Config) -> Result<(), Failure> {
    let system = |step| move |source| Failure::System { step, source };
    let mut signals = Signals::new().map_err(system("take signals"))?;
    let status = Arc::new(Status::default());
    let health = match config.listen_health {
        None => None,
        Some(address) => {
            let status = Arc::clone(&status);
            let served = daemon::http::spawn(address, move |path| status.answer(path));
            Some(served.map_err(|source| Failure::Listen {
                address,
                option: "POOL_GATEWAY_LISTEN_HEALTH",
                source,
            })?)
        }
    };
    let address = config.listen_https;
    let listen = |source| Failure::Listen {
        address,
        option: "POOL_LISTEN_HTTPS",
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let https = listener.local_addr().map_err(listen)?;
    let mut names = default_names();
    names.extend(config.cert_names);
    let identity = ServerIdentity::load_or_create(&config.certs, &names)?;
    let tls = https_config(&identity, &[b"h2", b"http/1.1"]).map_err(Failure::Tls)?;
    let staging = config.files.join("uploads");
    let store = Store::open(Backend::folder(&config.files), &staging, config.limits);
    let store = store.await.map_err(|source| Failure::Files {
        folder: config.files.clone(),
        source,
    })?;
    // Only now: the data folder, in which it is, may be one that the files have made.
    let key = Key::read_or_make(&config.grant_key).map_err(|source| Failure::Key {
        file: config.grant_key,
        source,
    })?;
    let gatekeeper = Gatekeeper::new(&config.admin_login, &config.admin_password, key);
    let server = Server {
        tls: TlsAcceptor::from(Arc::new(tls)),
        app: sidecars_files::http::router(store.clone(), Arc::new(gatekeeper)),
        status: Arc::clone(&status),
    };
    let (stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, config.connections_max, Arc::new(server), stopped));
    status.serves(store.clone());
    let numbers = store.numbers();
    tracing::info!(%https, files = numbers.files, bytes = numbers.bytes, uploads = numbers.uploads,
        folder = %config.files.display(), fingerprint = %identity.fingerprint(), "ready");
    let pid = std::process::id();
    let _ready = match config.ready_file {
        None => None,
        Some(file) => {
            let written = ReadyFile::write(&file, &Ready { https, health, pid });
            Some(written.map_err(|source| Failure::ReadyFile { file, source })?)
        }
    };
    let upkeep = tokio::spawn(look_after(store));
    signals.next().await;
    tracing::info!("stopping: requests in progress may end");
    status.stops();
    stop.send_replace(true);
    tokio::select! {
        ended = serving => drop(ended),
        () = signals.next() => {
            tracing::warn!("stops at once");
            std::process::exit(exit::FAILED.into());
        }
    }
    upkeep.abort();
    tracing::info!("stopped");
    Ok(())
}

/// Removes what has expired, and what nobody uses.
async fn look_after(store: Store) {
    let mut tick = tokio::time::interval(UPKEEP_EVERY);
    loop {
        tick.tick().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = Instant(now.map_or(0, |now| now.as_nanos() as u64));
        if let Err(error) = store.upkeep(now).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "what has expired cannot be removed; the next try is in a minute"
            );
        }
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Each connection is a file descriptor, and what it reads or writes another one: as many as the system lets us have.
fn raise_open_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(error = &error as &dyn std::error::Error, "open files stay few");
    }
}
