//! Exit codes, as `--help` documents them.

/// It stopped in good order.
pub const OK: u8 = 0;
/// It failed for another reason than those below.
pub const FAILED: u8 = 1;
/// The configuration is wrong; all problems were printed.
pub const CONFIGURATION: u8 = 3;
/// An address is taken.
pub const ADDRESS: u8 = 4;
/// Another process has taken over.
pub const REPLACED: u8 = 5;
/// What an earlier process has left in the engine is of another pool, or cannot be read.
pub const NOTES: u8 = 6;
