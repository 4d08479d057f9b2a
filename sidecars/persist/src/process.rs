//! The process's life: serve health, follow, stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use daemon::ReadyFile;
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use thiserror::Error;

use crate::config::Config;
use crate::exit;
use crate::follow::{FollowError, Follower};
use crate::status::Status;

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
    /// Signals cannot be taken.
    #[error("cannot take signals")]
    Signals(#[source] io::Error),
    /// Something that no waiting cures.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl Failure {
    /// The exit code that says so.
    #[must_use]
    pub fn exit(&self) -> u8 {
        match self {
            Self::Health { .. } => exit::ADDRESS,
            Self::Follow(FollowError::Database { .. } | FollowError::OtherWriter { .. }) => exit::DATABASE,
            Self::Follow(FollowError::Feed { .. } | FollowError::Refused { .. } | FollowError::Record(_)) => {
                exit::FEED
            }
            Self::Follow(FollowError::Silent { .. } | FollowError::Runtime(_))
            | Self::ReadyFile { .. }
            | Self::Signals(_) => exit::FAILED,
        }
    }
}

/// What the ready file says.
#[derive(Serialize)]
struct Ready {
    health: SocketAddr,
    pid: u32,
}

/// Follows until a signal, or until something that no waiting cures.
///
/// # Errors
/// See [`Failure`].
pub fn run(config: Config) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: the second signal finds the flag that the first one set.
        flag::register_conditional_shutdown(signal, exit::FAILED.into(), Arc::clone(&stop))
            .and_then(|_| flag::register(signal, Arc::clone(&stop)))
            .map_err(Failure::Signals)?;
    }
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
    let follower = Follower {
        feed: config.feed,
        target: config.target,
        stop,
        status,
    };
    Ok(follower.run()?)
}
