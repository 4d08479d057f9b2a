//! Names of things: every id is its own type, so that a work is never mistaken for a worker.
//!
//! All of them are plain numbers on the wire, little endian. An id is given out by the engine and
//! means nothing outside the shard that gave it.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $raw);

        impl $name {
            /// The number as an index into a table that its giver owns.
            #[must_use]
            pub fn index(self) -> usize {
                usize::try_from(self.0).expect("ids index tables in memory")
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id!(
    /// One engine's share of a pool's works. A single machine runs shard 0.
    Shard(u16), "s"
);
id!(
    /// Rises by one with each start or takeover of a shard, so that whatever an earlier engine said
    /// can be told from what this one says. The first is 1; 0 means *none*.
    Epoch(u32), "e"
);
id!(
    /// A unit of work with requirements and an outcome. Given out in sequence, starting at 1; the
    /// rows of one bag have consecutive ids.
    WorkId(u64), "w"
);
id!(
    /// A group of works that were submitted together and share a template. Starts at 1.
    BagId(u64), "b"
);
id!(
    /// Which try at a work this is: the first is 1, 0 means that none was made.
    Attempt(u16), "a"
);
id!(
    /// A worker that the engine knows, for as long as its journal remembers it. Starts at 1.
    WorkerId(u32), "k"
);
id!(
    /// A token that enrols workers. Starts at 1.
    TokenId(u32), "j"
);
id!(
    /// Whoever submits works and is served its fair share of the pool. Starts at 1.
    TenantId(u32), "t"
);
id!(
    /// A connection, for as long as it lasts; never reused within a run of the process.
    LinkId(u64), "l"
);
id!(
    /// Log sequence number: the position of a record in a shard's journal. The first is 1, there is
    /// no gap and no repeat; 0 means *before everything*.
    Lsn(u64), "#"
);

impl Lsn {
    /// The position that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl WorkId {
    /// The work `rows` places after this one in the same bag.
    #[must_use]
    pub fn offset(self, rows: u32) -> Self {
        Self(self.0 + u64::from(rows))
    }
}

/// The right to work on one attempt, carried by every assignment and every report.
///
/// A report whose token differs in any field from what the engine has recorded is *stale*: it changes
/// nothing and is answered with what is already recorded.
///
/// On the wire 16 bytes, little endian: work (8), epoch (4), attempt (2), shard (2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseToken {
    /// The work that may be worked on.
    pub work: WorkId,
    /// The engine's epoch when the lease was given.
    pub epoch: Epoch,
    /// The try that the lease is for.
    pub attempt: Attempt,
    /// The shard that gave the lease.
    pub shard: Shard,
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.shard, self.epoch, self.work, self.attempt)
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LeaseToken {
    /// Bytes of a token on the wire.
    pub const ENCODED_BYTES: usize = 16;

    /// The wire form.
    #[inline]
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::ENCODED_BYTES] {
        let mut bytes = [0; Self::ENCODED_BYTES];
        bytes[0..8].copy_from_slice(&self.work.0.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.attempt.0.to_le_bytes());
        bytes[14..16].copy_from_slice(&self.shard.0.to_le_bytes());
        bytes
    }

    /// Reads the wire form; any 16 bytes are some token.
    #[inline]
    #[must_use]
    pub fn from_bytes(bytes: &[u8; Self::ENCODED_BYTES]) -> Self {
        let [w0, w1, w2, w3, w4, w5, w6, w7, e0, e1, e2, e3, a0, a1, s0, s1] = *bytes;
        Self {
            work: WorkId(u64::from_le_bytes([w0, w1, w2, w3, w4, w5, w6, w7])),
            epoch: Epoch(u32::from_le_bytes([e0, e1, e2, e3])),
            attempt: Attempt(u16::from_le_bytes([a0, a1])),
            shard: Shard(u16::from_le_bytes([s0, s1])),
        }
    }
}
