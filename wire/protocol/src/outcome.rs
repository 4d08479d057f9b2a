//! How works and attempts end, and why.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, Reader};
use crate::file::Digest;
use crate::limits::RESULT_BYTES_MAX;

/// The one final outcome of a work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Outcome {
    /// An attempt succeeded and its result is recorded.
    Succeeded = 1,
    /// No attempt succeeded and none is left.
    Failed = 2,
    /// Somebody cancelled it.
    Cancelled = 3,
    /// Its time to live ran out.
    Expired = 4,
}

impl Outcome {
    /// All of them, in wire order.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Cancelled, Self::Expired];

    /// The outcome with this number on the wire.
    ///
    /// # Errors
    /// No outcome has it.
    pub fn from_wire(value: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|outcome| *outcome as u8 == value)
            .ok_or(DecodeError::OutOfRange {
                field: "outcome",
                value: u64::from(value),
            })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        })
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $value:literal, $text:literal;)*) => {
        /// Why an attempt or a work ended as it did, or went back to the queue.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $name = $value,)* }

        impl Reason {
            /// All of them, in wire order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason with this number on the wire.
            ///
            /// # Errors
            /// No reason has it.
            pub fn from_wire(value: u8) -> Result<Self, DecodeError> {
                match value {
                    $($value => Ok(Self::$name),)*
                    _ => Err(DecodeError::OutOfRange { field: "reason", value: u64::from(value) }),
                }
            }
        }

        impl fmt::Display for Reason {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$name => $text,)* })
            }
        }
    };
}

reasons! {
    /// Nothing went wrong.
    None = 0, "none";
    /// The command ended with an exit code other than zero.
    ExitCode = 1, "the command ended with a non-zero exit code";
    /// The command was ended by a signal.
    Signal = 2, "the command was ended by a signal";
    /// The worker killed it at its wall-clock limit.
    WallClock = 3, "it ran longer than its wall-clock limit";
    /// The operator of the worker does not allow the command.
    NotAllowed = 4, "the worker's operator does not allow this command";
    /// The command could not be started.
    CannotStart = 5, "the command could not be started";
    /// The worker has no such executor.
    NoExecutor = 6, "the worker has no such executor";
    /// The row does not fit the template.
    BadParameters = 7, "the row of parameters does not fit the template";
    /// An input could not be had or had the wrong content.
    InputMissing = 8, "an input could not be fetched";
    /// The worker has no room (disk, memory) for it now.
    NoRoom = 9, "the worker has no room for it now";
    /// The worker was asked to stop, or stopped its works to shut down.
    WorkerDraining = 10, "the worker is draining";
    /// The worker was not heard of for longer than its lease.
    WorkerLost = 11, "the worker was lost";
    /// The worker reconnected without this lease: it no longer runs it.
    LeaseAbandoned = 12, "the worker came back without this lease";
    /// Taken back before it started, for a worker that had nothing to do.
    Retracted = 13, "taken back before it started, for an idle worker";
    /// It ended several workers and is not tried again.
    Quarantined = 14, "quarantined: its attempts ended several workers";
    /// Its time to live ran out.
    TimeToLive = 15, "its time to live ran out";
    /// A user asked for it.
    ByUser = 16, "cancelled by a user";
    /// An operator asked for it.
    ByOperator = 17, "by an operator";
    /// The worker reported something that the pool could not accept.
    BadReport = 18, "the worker's report could not be accepted";
    /// The executor failed for a reason of its own.
    ExecutorFailed = 19, "the executor failed";
    /// The token is not the one that the engine has recorded.
    Stale = 20, "the lease was superseded";
    /// It used more memory than it may, and the kernel ended it.
    OutOfMemory = 21, "it used more memory than its limit";
    /// It wrote more to its folder than it may, and was killed.
    DiskLimit = 22, "it wrote more than its limit";
    /// What it should have left in its folder is not there, is no file, or could not be stored.
    OutputMissing = 23, "an output could not be collected";
}

impl Reason {
    /// The attempt ended because of the worker, not the work: another worker may fare better, and it does not
    /// use up an attempt.
    #[must_use]
    pub fn is_workers_fault(self) -> bool {
        matches!(self, Self::NoRoom | Self::WorkerDraining | Self::Retracted)
    }
}

/// What a command printed and left behind, as it stands in a result.
///
/// Encoded: one byte of flags (1: standard output is cut, 2: standard error is cut, 4: there is an archive, 8: there is
/// a consensus digest); the archive's SHA-256 and its bytes as a `u64`; the consensus digest; the length of standard
/// output, standard output, and the rest is standard error.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Output<'a> {
    /// What it wrote to standard output, from the beginning.
    pub stdout: &'a [u8],
    /// What it wrote to standard error, from the beginning.
    pub stderr: &'a [u8],
    /// More was written to standard output than is kept.
    pub stdout_cut: bool,
    /// More was written to standard error than is kept.
    pub stderr_cut: bool,
    /// The archive of its outputs, in the pool's file store.
    pub archive: Option<Archive>,
    /// The SHA-256 of what counts when results are compared.
    pub consensus: Option<Digest>,
}

/// The outputs of a work, in the pool's file store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Archive {
    /// SHA-256 of the archive.
    pub digest: Digest,
    /// Its bytes.
    pub bytes: u64,
}

const STDOUT_CUT: u8 = 1;
const STDERR_CUT: u8 = 2;
const ARCHIVE: u8 = 4;
const CONSENSUS: u8 = 8;

impl<'a> Output<'a> {
    /// Appends the encoded form; an output with nothing in it is empty.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if *self == Self::default() {
            return;
        }
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(
            flag(self.stdout_cut, STDOUT_CUT)
                | flag(self.stderr_cut, STDERR_CUT)
                | flag(self.archive.is_some(), ARCHIVE)
                | flag(self.consensus.is_some(), CONSENSUS),
        );
        if let Some(archive) = self.archive {
            out.extend_from_slice(&archive.digest.0);
            out.extend_from_slice(&archive.bytes.to_le_bytes());
        }
        if let Some(consensus) = self.consensus {
            out.extend_from_slice(&consensus.0);
        }
        codec::put_bytes(out, self.stdout);
        out.extend_from_slice(self.stderr);
    }

    /// Reads the encoded form.
    ///
    /// # Errors
    /// The bytes are not an output.
    pub fn parse(result: &'a [u8]) -> Result<Self, DecodeError> {
        if result.is_empty() {
            return Ok(Self::default());
        }
        let mut reader = Reader::new(result);
        let flags = reader.u8("output flags")?;
        if flags > (STDOUT_CUT | STDERR_CUT | ARCHIVE | CONSENSUS) {
            return Err(DecodeError::OutOfRange {
                field: "output flags",
                value: u64::from(flags),
            });
        }
        let archive = match flags & ARCHIVE {
            0 => None,
            _ => Some(Archive {
                digest: Digest(*reader.array("archive digest")?),
                bytes: reader.u64("archive bytes")?,
            }),
        };
        let consensus = match flags & CONSENSUS {
            0 => None,
            _ => Some(Digest(*reader.array("consensus digest")?)),
        };
        let stdout = reader.bytes("stdout", RESULT_BYTES_MAX)?;
        Ok(Self {
            stdout,
            stderr: reader.rest(),
            stdout_cut: flags & STDOUT_CUT != 0,
            stderr_cut: flags & STDERR_CUT != 0,
            archive,
            consensus,
        })
    }
}
