//! A `pool-persist` process and the database that it writes into.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::mariadb::{MariaDb, NAME};
use super::program::sibling;
use super::{Metrics, Pool, Usage, used};
use crate::scenario::Into;

/// How often it is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A sidecar that stands still for so long has failed. It begins a session anew 120 s after its database fell silent.
const STALLED_AFTER: Duration = Duration::from_secs(150);

/// The sidecar, with an empty database of its own. Dropping it kills it and removes its files.
pub(crate) struct Persist {
    child: Child,
    health: SocketAddr,
    server: Option<MariaDb>,
    folder: tempfile::TempDir,
}

/// What it says when it serves its numbers.
#[derive(Deserialize)]
struct Ready {
    health: SocketAddr,
}

impl Persist {
    /// Starts it on a pool's feed, in a folder of its own under `data`, and returns when it follows.
    pub(crate) fn start(into: Into, pool: &Pool, data: &Path) -> Result<Self> {
        let folder = tempfile::tempdir_in(data)?;
        let server = match into {
            Into::Sqlite => None,
            Into::Mariadb => Some(MariaDb::start(folder.path())?),
        };
        let ready_file = folder.path().join("ready.json");
        let mut command = Command::new(sibling("pool-persist", "sidecars-persist")?);
        command
            .arg("--data")
            .arg(pool.engine().data())
            .arg("--database")
            .arg(folder.path().join("pool.sqlite"))
            .arg("--ready-file")
            .arg(&ready_file)
            .args(["--listen-health", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stderr(fs::File::create(log_file(folder.path()))?);
        if let Some(server) = &server {
            command
                .env("DBHOST", format!("127.0.0.1:{}", server.port()))
                .env("MYSQL_DB_NAME", NAME)
                .env("MYSQL_USER_LOGIN", NAME)
                .env("MYSQL_USER_PASSWORD", NAME);
        }
        let mut child = command.spawn().context("cannot start pool-persist")?;
        let deadline = Instant::now() + STALLED_AFTER;
        let health = loop {
            if let Ok(text) = fs::read(&ready_file) {
                let Ready { health } = serde_json::from_slice(&text)?;
                break health;
            }
            if child.try_wait()?.is_some() || Instant::now() > deadline {
                bail!("pool-persist does not start:\n{}", log(folder.path()));
            }
            std::thread::sleep(LOOK_EVERY);
        };
        let persist = Self {
            child,
            health,
            server,
            folder,
        };
        persist.wait("follow the feed", |metrics| {
            (metrics.get("pool_persist_sessions_total"), 1.0)
        })?;
        Ok(persist)
    }

    /// Its numbers.
    pub(crate) fn metrics(&self) -> Result<Metrics> {
        Metrics::fetch(self.health)
    }

    /// What it has used.
    pub(crate) fn usage(&self) -> Usage {
        used(self.child.id())
    }

    /// The server that it writes into, if it is one.
    pub(crate) fn server(&self) -> Option<&MariaDb> {
        self.server.as_ref()
    }

    /// Waits until it has stored this record.
    pub(crate) fn catch_up(&self, last: f64) -> Result<()> {
        self.wait("store a record", |metrics| {
            (metrics.get("pool_persist_lsn"), last)
        })
    }

    /// Waits until the first number has reached the second.
    fn wait(&self, what: &str, look: impl Fn(&Metrics) -> (f64, f64)) -> Result<()> {
        let (mut moved, mut at) = (Instant::now(), 0.0);
        loop {
            let (now, wanted) = look(&self.metrics()?);
            if now >= wanted {
                return Ok(());
            }
            if now > at {
                (at, moved) = (now, Instant::now());
            }
            if moved.elapsed() > STALLED_AFTER {
                let log = log(self.folder.path());
                bail!("pool-persist should {what}; it stands still at {at} of {wanted}:\n{log}");
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }
}

impl Drop for Persist {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("persist.log")
}

fn log(folder: &Path) -> String {
    fs::read_to_string(log_file(folder)).unwrap_or_default()
}
