//! Exit codes, as `--help` documents them.

/// The engine stopped in good order.
pub const OK: u8 = 0;
/// It failed for another reason than those below.
pub const FAILED: u8 = 1;
/// The configuration is wrong; all problems were printed.
pub const CONFIGURATION: u8 = 3;
/// An address is taken or a certificate cannot be used.
pub const ADDRESS: u8 = 4;
/// The journal is damaged, locked, or of another pool; nothing was changed.
pub const JOURNAL: u8 = 5;
/// The disk failed while the engine ran; the next start re-reads what it holds.
pub const DISK: u8 = 6;
