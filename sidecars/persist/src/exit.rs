//! Exit codes, as `--help` documents them.

/// It stopped in good order.
pub const OK: u8 = 0;
/// It failed for another reason than those below.
pub const FAILED: u8 = 1;
/// The configuration is wrong; all problems were printed.
pub const CONFIGURATION: u8 = 3;
/// An address is taken.
pub const ADDRESS: u8 = 4;
/// The database is not this journal's, not this version's, or somebody else writes to it; it was left as it was.
pub const DATABASE: u8 = 5;
/// The engine does not have the records that come next, or they are of another version.
pub const FEED: u8 = 6;
