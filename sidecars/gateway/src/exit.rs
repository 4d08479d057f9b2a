//! Exit codes, as `--help` documents them.

/// It stopped in good order.
pub const OK: u8 = 0;
/// It failed for another reason than those below.
pub const FAILED: u8 = 1;
/// The configuration is wrong; all problems were printed.
pub const CONFIGURATION: u8 = 3;
/// An address is taken, or the certificate cannot be used.
pub const ADDRESS: u8 = 4;
/// The folder of the files is used by another process, or cannot be read or written.
pub const FILES: u8 = 5;
