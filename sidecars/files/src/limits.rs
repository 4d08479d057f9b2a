//! What bounds the store.

use wire_protocol::units::Millis;

/// Bounds, each with what happens at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one file. A longer one is refused as soon as that is known. Default: 500 MiB, what the predecessor had
    /// compiled in.
    pub file_bytes_max: u64,
    /// Bytes of all files of one owner together, those counted that are being uploaded; content that two of its files share
    /// counts twice. `None`, the default: as many as the disk has.
    pub owner_bytes_max: Option<u64>,
    /// How long outputs of works (files called `works/…`) are kept. `None`: until somebody removes them. Default: 7 days.
    pub works_kept: Option<Millis>,
    /// How long an upload is kept on which nothing moves. Default: 24 h.
    pub uploads_kept: Millis,
    /// Unfinished uploads of all owners. Each is two files on disk and, while it is written to, two pieces of
    /// `PIECE_BYTES` in memory. One more is refused. Default: 4096.
    pub uploads_max: usize,
    /// Unfinished uploads of one owner. One more is refused. Default: 1024.
    pub owner_uploads_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 500 << 20,
            owner_bytes_max: None,
            works_kept: Some(Millis::from_secs(7 * 24 * 3600)),
            uploads_kept: Millis::from_secs(24 * 3600),
            uploads_max: 4096,
            owner_uploads_max: 1024,
        }
    }
}

/// Bytes that are read, written and hashed at once. A request in progress has up to two of these in memory, the one that is
/// being filled and the one that is being written, so two hundred uploads at once cost 100 MiB.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// Finished uploads that are remembered, so that somebody whose last answer was lost learns that all came. Whoever comes
/// later finds the file itself.
pub(crate) const FINISHED_MAX: usize = 4096;

/// For how long.
pub(crate) const FINISHED_KEPT: Millis = Millis(3_600_000);

/// Bytes of disk that an upload leaves free, for references and for whoever else writes there.
pub(crate) const DISK_BYTES_SPARED: u64 = 64 << 20;

/// Bytes of an owner's login.
pub(crate) const OWNER_BYTES_MAX: usize = 256;

/// Files in one page of a list.
pub const PAGE_FILES_MAX: usize = 1000;
