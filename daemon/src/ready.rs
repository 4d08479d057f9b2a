//! The ready file: where a process listens, for whoever started it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// The file while it exists; dropping removes it.
#[derive(Debug)]
pub struct ReadyFile(PathBuf);

impl ReadyFile {
    /// Writes `ready` as JSON, as a whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written there.
    pub fn write(path: &Path, ready: &impl Serialize) -> io::Result<Self> {
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
