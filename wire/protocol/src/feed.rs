//! The feed: durable journal records for sidecars, over a unix socket.
//!
//! A subscriber says who it is and after which position it wants records; it gets durable ones only, in order,
//! and acknowledges what it has made its own. The engine keeps on disk what a known subscriber has not
//! acknowledged; a slow one falls behind there and slows nobody.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, Reader};
use crate::frame;
use crate::ids::{Epoch, Lsn, Shard};

/// Version of the feed; the first message of each side names it.
pub const VERSION: u16 = 1;

/// Kind bytes of the feed.
pub mod kind {
    #![expect(missing_docs, reason = "each is documented at the message that it announces")]
    pub const SUBSCRIBE: u8 = 0x21;
    pub const ACKNOWLEDGE: u8 = 0x22;
    pub const FEEDING: u8 = 0x31;
    pub const RECORDS: u8 = 0x32;
    pub const FEED_REFUSED: u8 = 0x33;
}

/// First message of a subscriber.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subscribe {
    /// [`VERSION`].
    pub version: u16,
    /// Its name; the engine remembers its position under it.
    pub name: String,
    /// It wants the records behind this one; 0: all that the journal has.
    pub after: Lsn,
}

/// The engine's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Feeding {
    /// [`VERSION`].
    pub version: u16,
    /// The shard whose records come.
    pub shard: Shard,
    /// The last durable record at this moment.
    pub durable: Lsn,
}

/// Why a subscription is refused.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FeedRefused {
    /// What is wrong and what to do.
    pub reason: String,
    /// The first record that the journal still has.
    pub first: Lsn,
}

/// One record as the feed carries it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FeedRecord<'a> {
    /// Its position.
    pub lsn: Lsn,
    /// The engine's epoch when it was written.
    pub epoch: Epoch,
    /// Wall clock when its batch was committed, microseconds since 1970.
    pub wall_us: u64,
    /// Its kind, see [`crate::record::kind`].
    pub kind: u8,
    /// Its payload, see [`crate::record::Record::parse`].
    pub payload: &'a [u8],
}

impl FeedRecord<'_> {
    /// Bytes before the record's own payload.
    pub const HEADER_BYTES: usize = 8 + 4 + 8 + 1;

    /// Appends a `RECORDS` frame with this one record.
    ///
    /// # Panics
    /// If its payload is longer than [`crate::limits::RECORD_BYTES_MAX`]: whoever writes records bounds them.
    pub fn push(&self, out: &mut Vec<u8>) {
        frame::push(out, kind::RECORDS, |out| {
            out.extend_from_slice(&self.lsn.0.to_le_bytes());
            out.extend_from_slice(&self.epoch.0.to_le_bytes());
            out.extend_from_slice(&self.wall_us.to_le_bytes());
            out.push(self.kind);
            out.extend_from_slice(self.payload);
        });
    }
}

/// What the engine says to a subscriber.
#[derive(Clone, Debug)]
pub enum ToSubscriber<'a> {
    /// Records will come.
    Feeding(Feeding),
    /// They will not.
    Refused(FeedRefused),
    /// A record.
    Record(FeedRecord<'a>),
}

impl<'a> ToSubscriber<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of another kind.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::FEEDING => Self::Feeding(codec::read_control("feeding", payload)?),
            kind::FEED_REFUSED => Self::Refused(codec::read_control("feed refused", payload)?),
            kind::RECORDS => {
                let mut reader = Reader::new(payload);
                Self::Record(FeedRecord {
                    lsn: Lsn(reader.u64("lsn")?),
                    epoch: Epoch(reader.u32("epoch")?),
                    wall_us: reader.u64("wall")?,
                    kind: reader.u8("kind")?,
                    payload: reader.rest(),
                })
            }
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}

/// What a subscriber says to the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FromSubscriber {
    /// First of all.
    Subscribe(Subscribe),
    /// All records up to this one are its own.
    Acknowledge(Lsn),
}

impl FromSubscriber {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of another kind.
    pub fn parse(kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::SUBSCRIBE => Self::Subscribe(codec::read_control("subscribe", payload)?),
            kind::ACKNOWLEDGE => Self::Acknowledge(codec::read_control("acknowledge", payload)?),
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}
