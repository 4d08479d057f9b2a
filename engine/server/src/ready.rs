//! The ready file: where the engine listens, for whoever started it.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// What the file says, as JSON.
#[derive(Serialize)]
pub(crate) struct Ready {
    pub(crate) workers: SocketAddr,
    pub(crate) clients: SocketAddr,
    pub(crate) health: SocketAddr,
    pub(crate) feed: PathBuf,
    pub(crate) pid: u32,
    pub(crate) epoch: u32,
}

/// The file while it exists; dropping removes it.
pub(crate) struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes it as a whole or not at all.
    pub(crate) fn write(path: &Path, ready: &Ready) -> io::Result<Self> {
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, serde_json::to_vec(ready)?)?;
        fs::rename(&temporary, path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for ReadyFile {
    fn drop(&mut self) {
        // Whoever reads it looks at the process too.
        drop(fs::remove_file(&self.0));
    }
}
