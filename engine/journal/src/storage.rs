//! The one door to files: everything that the journal does to a disk goes through [`Storage`] and [`File`].
//!
//! One storage is one folder. [`OsStorage`] is the real thing; [`FaultStorage`] keeps the folder in
//! memory and does to it what disks and power cuts do, from a seed.

mod fault;
mod os;

pub use fault::{Fault, FaultStorage, Loss};
pub use os::OsStorage;

use std::io;
use std::sync::Arc;

use crate::format::ZEROS;

/// A folder of files with plain names. Calls are blocking and may come from several threads.
pub trait Storage: Send + Sync + 'static {
    /// Opens an existing file for reading and, if the storage allows it, writing.
    ///
    /// # Errors
    /// `NotFound`, or what the system answers.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Makes a new, empty file. Durable only after [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// `AlreadyExists`, or what the system answers.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Gives a file another name, atomically, replacing what had it. Durable only after
    /// [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// What the system answers.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a name; who has the file open can go on reading it. Durable only after
    /// [`sync_dir`](Self::sync_dir).
    ///
    /// # Errors
    /// What the system answers.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// All names, in no order.
    ///
    /// # Errors
    /// What the system answers.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes all creations, renames and removals so far survive a power cut.
    ///
    /// # Errors
    /// What the system answers.
    fn sync_dir(&self) -> io::Result<()>;

    /// Takes the folder for this process until the value is dropped.
    ///
    /// # Errors
    /// `WouldBlock` if somebody else has it.
    fn lock(&self) -> io::Result<Box<dyn Send + Sync>>;

    /// What to call the folder in a message.
    fn describe(&self) -> String;
}

/// An open file. Positions are explicit, so several threads may share it.
pub trait File: Send + Sync {
    /// Fills `buffer` from `offset` on; returns how much there was, less than asked only at the end.
    ///
    /// # Errors
    /// What the system answers.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`, growing the file if need be. After an error any part may
    /// have been written. A storage may write whole sectors that lie at a sector's multiple, in the file and in memory,
    /// past the page cache.
    ///
    /// # Errors
    /// What the system answers.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes zeros from `from` up to `upto`, as [`write_at`](Self::write_at) does.
    ///
    /// # Errors
    /// What the system answers.
    fn write_zeros(&self, mut from: u64, upto: u64) -> io::Result<()> {
        while from < upto {
            let left = usize::try_from(upto - from).unwrap_or(usize::MAX);
            let len = left.min(ZEROS.len());
            self.write_at(from, &ZEROS[..len])?;
            from += len as u64;
        }
        Ok(())
    }

    /// Makes the contents so far survive a power cut (`fdatasync`). After an error nobody knows
    /// which of them do, and a second call proves nothing.
    ///
    /// # Errors
    /// What the system answers.
    fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    ///
    /// # Errors
    /// What the system answers.
    fn size(&self) -> io::Result<u64>;
}

/// Reads exactly `buffer.len()` bytes.
pub(crate) fn read_exact_at(file: &dyn File, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
    if file.read_at(offset, buffer)? == buffer.len() {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the file became shorter while it was read",
    ))
}
