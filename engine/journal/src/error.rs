//! What can go wrong, one variant per different reaction of the caller.

use std::io;
use std::sync::Arc;
use wire_protocol::ids::Lsn;

/// A failure of the journal. Cheap to clone, because a poisoned journal repeats its first failure.
#[derive(Clone, Debug, thiserror::Error)]
pub enum JournalError {
    /// Storage refused a step that no acknowledged record depends on. Cure: look at the cause; the
    /// step may be tried again.
    #[error("{step} {file}")]
    Io {
        /// What was attempted, as a gerund: `opening`, `zeroing`.
        step: &'static str,
        /// The file it was attempted on.
        file: String,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// A write or sync of the live segment failed. Nobody knows what the disk holds now (a failed
    /// `fsync` may have dropped the pages and will not fail twice), so every later append returns
    /// this same error. Cure: stop the process; the next start re-reads and re-writes the tail.
    #[error("{step} {file}; the journal takes no more records, this process must stop")]
    Poisoned {
        /// What was attempted, as a gerund.
        step: &'static str,
        /// The file it was attempted on.
        file: String,
        /// The operating system's answer.
        source: Arc<io::Error>,
    },
    /// The disk (or the configured bound) has no room, and nothing was written. Cure: free space or
    /// raise the bound, then try again; completions still have the reserve until this is returned
    /// for them.
    #[error("no room for {what}: the disk is full or the journal has reached its bound")]
    DiskFull {
        /// What needed the room.
        what: &'static str,
    },
    /// A file does not hold what was written to it, or is missing. Nothing was changed.
    #[error(
        "{file} is damaged at byte {offset}: {what}. Nothing was changed. See the extent with `pool journal \
         verify`; then restore the file from a copy, or cut the journal there with `pool journal repair`, \
         which keeps the damaged files as *.damaged"
    )]
    Damaged {
        /// The segment or snapshot.
        file: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The folder holds something that this program must not touch: another format version, another
    /// shard. Cure: the right program, or the right folder.
    #[error("{file} cannot be used: {what}")]
    Foreign {
        /// The file.
        file: String,
        /// Why not.
        what: String,
    },
    /// Another process has the folder open. Cure: stop it, or use another folder.
    #[error("{folder} is in use by another engine")]
    Locked {
        /// The folder.
        folder: String,
    },
    /// The record was deleted by retention. Cure: start over from a snapshot or at `first`.
    #[error("record {wanted} is no longer kept, the journal starts at {first}")]
    Trimmed {
        /// The record asked for.
        wanted: Lsn,
        /// The oldest record that is still there.
        first: Lsn,
    },
}

impl JournalError {
    /// A failed step on a file, full disks told apart.
    pub(crate) fn io(step: &'static str, file: &str, source: io::Error) -> Self {
        if is_full(&source) {
            return Self::DiskFull { what: step };
        }
        Self::Io {
            step,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }

    pub(crate) fn poison(step: &'static str, file: &str, source: io::Error) -> Self {
        Self::Poisoned {
            step,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// Whether the error says that there is no space: ENOSPC, or EDQUOT of a user's quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
