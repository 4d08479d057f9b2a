//! What a worker that is killed has to tell the next one about a container that runs.
//!
//! Beside the work's folder, `w7-a1-e3-s0.container`: written before the container starts, once more when its input is
//! written, and removed with the folder. A container whose input was not written to its end is not taken up again: it
//! read the end of its input too early, and would succeed with a wrong result.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde::{Deserialize, Serialize};
use wire_protocol::codec;
use wire_protocol::ids::LeaseToken;
use wire_protocol::template::WorkTemplate;

use crate::executor::{Attempt, Printed};
use crate::status::now_ms;

/// The bounds that hold for a container are those of the worker that takes it up; its own limits are the template's.
#[derive(Serialize, Deserialize, Debug)]
pub(super) struct Note {
    pub(super) token: LeaseToken,
    template: WorkTemplate,
    row: Vec<u8>,
    /// Docker's name for it.
    pub(super) container: String,
    /// Milliseconds since 1970.
    started_ms: u64,
    /// Its input is written, or it has none.
    pub(super) has_input: bool,
    /// GPUs that it has.
    pub(super) gpus: Vec<String>,
}

impl Note {
    /// Of a container that starts now.
    pub(super) fn new(attempt: &Attempt, container: &str, has_input: bool, gpus: Vec<String>) -> Self {
        Self {
            token: attempt.token,
            template: (*attempt.template).clone(),
            row: attempt.row.to_vec(),
            container: container.to_owned(),
            started_ms: now_ms(),
            has_input,
            gpus,
        }
    }

    /// Writes it to its place. Renamed, so that nobody meets half of one.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes = Vec::new();
        codec::put_control(&mut bytes, self);
        let new: PathBuf = path.with_extension("container-new");
        fs::write(&new, bytes)?;
        fs::rename(&new, path)
    }

    pub(super) fn read(path: &Path) -> io::Result<Self> {
        let bytes = fs::read(path)?;
        codec::read_control("note", &bytes).map_err(io::Error::other)
    }

    /// How long it has been running; nothing if the clock was set back.
    pub(super) fn age(&self) -> Duration {
        Duration::from_millis(now_ms().saturating_sub(self.started_ms))
    }

    /// Whose it is, with nothing printed yet.
    pub(super) fn attempt(&self) -> Attempt {
        Attempt {
            token: self.token,
            template: self.template.clone().into(),
            row: self.row.clone().into(),
            printed: Printed::default(),
        }
    }
}
