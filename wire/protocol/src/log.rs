//! What works print while they run: pieces of their two output streams on their way from a worker to whoever follows.
//!
//! A piece says where in its stream it stands. Whoever has no room for one drops it and says nothing: the next piece
//! tells by its place how much is missing. So no counter has to be kept or sent anywhere on the way, and a piece that
//! comes twice is recognised.

use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, Reader};
use crate::frame;
use crate::ids::{Attempt, LeaseToken, WorkId, WorkerId};
use crate::view::WorkState;

/// Bytes of output in one piece.
pub const LOG_CHUNK_BYTES_MAX: usize = 16 * 1024;

/// One of the two streams that a command writes to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum LogStream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
}

impl LogStream {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    fn from_wire(value: u8) -> Result<Self, DecodeError> {
        let found = Self::ALL.into_iter().find(|stream| *stream as u8 == value);
        found.ok_or(DecodeError::OutOfRange {
            field: "log stream",
            value: u64::from(value),
        })
    }
}

/// A piece of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogChunk<'a> {
    /// Which stream.
    pub stream: LogStream,
    /// Where it stands in it: bytes before it.
    pub offset: u64,
    /// At most [`LOG_CHUNK_BYTES_MAX`]; empty: so long the stream is, or was until now.
    pub bytes: &'a [u8],
}

impl<'a> LogChunk<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        out.push(self.stream as u8);
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(self.bytes);
    }

    fn read(mut reader: Reader<'a>) -> Result<Self, DecodeError> {
        let stream = LogStream::from_wire(reader.u8("log stream")?)?;
        let offset = reader.u64("log offset")?;
        let bytes = reader.rest();
        if bytes.len() > LOG_CHUNK_BYTES_MAX {
            return Err(DecodeError::OutOfRange {
                field: "log bytes",
                value: bytes.len() as u64,
            });
        }
        Ok(Self {
            stream,
            offset,
            bytes,
        })
    }
}

/// What an engine wants of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LogWish {
    /// What the attempt has printed until now, as far as it is kept.
    Once,
    /// The same, and what it prints from now on. Said again, the worker begins again.
    Follow,
    /// Nothing more.
    Stop,
}

/// Asks a worker for what an attempt prints. Of one that it does not have it says at once that this was all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FollowLog {
    /// The lease.
    pub token: LeaseToken,
    /// What is wanted of it.
    pub wish: LogWish,
}

/// What an attempt printed, as a worker says it: `token`, stream `u8`, offset `u64`, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerLog<'a> {
    /// The lease under which it runs.
    pub token: LeaseToken,
    /// A piece of what it printed.
    pub chunk: LogChunk<'a>,
}

impl<'a> WorkerLog<'a> {
    /// Appends a frame of this kind.
    pub fn push(&self, out: &mut Vec<u8>, kind: u8) {
        frame::push(out, kind, |out| {
            out.extend_from_slice(&self.token.to_bytes());
            self.chunk.put(out);
        });
    }

    /// Reads it.
    ///
    /// # Errors
    /// It is cut, names no stream, or is longer than [`LOG_CHUNK_BYTES_MAX`].
    pub fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            token: LeaseToken::from_bytes(reader.array("token")?),
            chunk: LogChunk::read(reader)?,
        })
    }
}

/// Asks the engine for what a work prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FollowLogs {
    /// Number of this request.
    pub request: u32,
    /// The work.
    pub work: WorkId,
    /// Also what it prints from now on, attempt after attempt, until it has ended.
    pub follow: bool,
    /// Its standard output.
    pub stdout: bool,
    /// Its standard error.
    pub stderr: bool,
}

/// No more of [`FollowLogs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StopLogs {
    /// Number of the request to forget.
    pub request: u32,
}

/// What a work printed, as the engine says it to a client: request `u32`, attempt `u16`, worker `u32`, stream `u8`,
/// offset `u64`, bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ClientLog<'a> {
    /// Number of the [`FollowLogs`].
    pub request: u32,
    /// The attempt that printed it.
    pub attempt: Attempt,
    /// The worker on which that runs.
    pub worker: WorkerId,
    /// A piece of what it printed.
    pub chunk: LogChunk<'a>,
}

impl<'a> ClientLog<'a> {
    /// Appends a frame of this kind.
    pub fn push(&self, out: &mut Vec<u8>, kind: u8) {
        frame::push(out, kind, |out| {
            out.extend_from_slice(&self.request.to_le_bytes());
            out.extend_from_slice(&self.attempt.0.to_le_bytes());
            out.extend_from_slice(&self.worker.0.to_le_bytes());
            self.chunk.put(out);
        });
    }

    pub(crate) fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        Ok(Self {
            request: reader.u32("request")?,
            attempt: Attempt(reader.u16("attempt")?),
            worker: WorkerId(reader.u32("worker")?),
            chunk: LogChunk::read(reader)?,
        })
    }
}

/// An attempt prints no more, or all that it had printed was sent to somebody who did not want to follow.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LogEnd {
    /// Number of the [`FollowLogs`].
    pub request: u32,
    /// The attempt; 0: none was made.
    pub attempt: Attempt,
    /// Where the work is now. What a work printed that is done stands in its result.
    pub state: WorkState,
    /// The next attempt is followed when there is one; otherwise this request is answered.
    pub goes_on: bool,
}
