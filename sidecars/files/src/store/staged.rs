//! Bytes that are on their way to become content: a file, and the hash of what is in it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use ring::digest::{Context, SHA256};
use wire_protocol::file::Digest;

use crate::limits::PIECE_BYTES;

/// A file of an upload that is open.
pub(super) struct Staged {
    file: File,
    /// In a box, because it is most of this and moves with every piece.
    hash: Box<Context>,
    pub(super) bytes: u64,
}

impl std::fmt::Debug for Staged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Staged")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Staged {
    /// A new one.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Self {
            file,
            hash: Box::new(Context::new(&SHA256)),
            bytes: 0,
        })
    }

    /// One of an earlier start: what is there is hashed again, which takes a second per GiB or so.
    pub(super) fn reopen(path: &Path, bytes_max: u64) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut staged = Self {
            bytes: file.metadata()?.len().min(bytes_max),
            file,
            hash: Box::new(Context::new(&SHA256)),
        };
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = 0;
        while at < staged.bytes {
            let bytes = (staged.bytes - at).min(PIECE_BYTES as u64) as usize;
            staged.file.read_exact_at(&mut piece[..bytes], at)?;
            staged.hash.update(&piece[..bytes]);
            at += bytes as u64;
        }
        Ok(staged)
    }

    /// Appends. After an error it is as before: what was written in part is written over by what comes next.
    pub(super) fn append(&mut self, piece: &[u8]) -> io::Result<()> {
        self.file.write_all_at(piece, self.bytes)?;
        self.hash.update(piece);
        self.bytes += piece.len() as u64;
        Ok(())
    }

    /// Makes what was written durable, and cuts off what was not counted.
    pub(super) fn sync(&self) -> io::Result<()> {
        if self.file.metadata()?.len() > self.bytes {
            self.file.set_len(self.bytes)?;
        }
        self.file.sync_data()
    }

    /// The hash of all that was written.
    pub(super) fn digest(&self) -> Digest {
        let hash = (*self.hash).clone().finish();
        Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}
