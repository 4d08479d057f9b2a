//! What the core asks its shell to do.

use core::fmt;
use core::ops::Range;
use std::sync::Arc;

use wire_protocol::codec::DecodeError;
use wire_protocol::ids::{Epoch, LeaseToken, Shard, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Invalid, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Granted, Idle, Refused};

/// One thing to do.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect<'a> {
    /// Connect, then say `Connected`; or say `Disconnected` if it does not succeed.
    Connect,
    /// Close the link or give up connecting; say nothing more of it, not even `Disconnected`.
    Disconnect {
        /// Why, for people and for the close frame.
        reason: Disconnect,
    },
    /// Write these bytes, whole frames all of them.
    Send(&'a [u8]),
    /// Run this attempt, then say `Ended`.
    Start {
        /// Its lease.
        token: LeaseToken,
        /// What it is.
        template: Arc<WorkTemplate>,
        /// Its parameters.
        row: Box<[u8]>,
    },
    /// Stop this attempt, then say `Ended` (nothing of it is reported).
    Kill {
        /// Its lease.
        token: LeaseToken,
        /// Why, for people.
        reason: Reason,
    },
    /// The answer to [`crate::Event::GrantAsked`].
    Granted(Granted),
    /// Keep this certificate (DER), and show it from the next connection on.
    Keep {
        /// It is under the key of [`crate::Identity::request`].
        certificate: Vec<u8>,
    },
    /// Hand over all that this attempt has printed so far, as [`crate::Event::Log`], then say `LogTold`, then hand over what
    /// it prints from now on. A repeat begins again.
    FollowLog(LeaseToken),
    /// Hand over no more of it.
    UnfollowLog(LeaseToken),
    /// Something for the log.
    Note(Note),
    /// Leave: kill whatever still runs, close the link. The core does nothing more.
    Exit(Exit),
}

/// Why a worker leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It was asked to, and everything that it ran is recorded, or given back.
    Drained,
    /// It was asked to by a time that has passed, and the engine did not answer.
    Late {
        /// Reports that are not known to be recorded.
        unrecorded: usize,
    },
    /// The engine does not accept its login, token or certificate; trying again would not help.
    CredentialsRefused {
        /// What the engine says.
        reason: String,
    },
    /// The engine does not accept what it says of itself; trying again would not help.
    JoinRefused {
        /// What the engine says.
        reason: String,
    },
}

/// Why the core closes a link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Disconnect {
    /// A frame that cannot be read.
    Malformed(DecodeError),
    /// A frame that has no place at this point of the conversation.
    OutOfPlace {
        /// Its kind byte.
        kind: u8,
    },
    /// Assignments of a template that this connection has not defined.
    UndefinedTemplate(u32),
    /// A template with a field out of range.
    InvalidTemplate(Invalid),
    /// More than [`crate::TEMPLATES_MAX`] templates: a new connection starts with none.
    TooManyTemplates,
    /// An acknowledgement of reports that were not said.
    RecordedTooMuch {
        /// What the engine says is recorded.
        upto: u64,
        /// What was said.
        said: u64,
    },
    /// An engine of the past: its shard has been taken over since.
    Deposed {
        /// The shard.
        shard: Shard,
        /// Its highest epoch that this worker has seen.
        seen: Epoch,
        /// What this engine claims.
        claimed: Epoch,
    },
    /// A lease timeout or a heartbeat of zero.
    BadTimes,
    /// Nothing came for the lease timeout.
    Silence(Millis),
    /// No `Welcome` came in [`crate::JOIN_TIMEOUT`].
    NoWelcome,
    /// The engine said no.
    Refused(Refused),
}

impl fmt::Display for Disconnect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(error) => write!(f, "malformed frame: {error}"),
            Self::OutOfPlace { kind } => {
                write!(f, "a frame of kind {kind:#04x} has no place here")
            }
            Self::UndefinedTemplate(number) => {
                write!(f, "works of template {number}, which is not defined")
            }
            Self::InvalidTemplate(invalid) => write!(f, "invalid template: {invalid}"),
            Self::TooManyTemplates => f.write_str("too many templates, starting over"),
            Self::RecordedTooMuch { upto, said } => {
                write!(f, "report {upto} acknowledged, but only {said} have been said")
            }
            Self::Deposed { shard, seen, claimed } => write!(
                f,
                "deposed engine: shard {shard} is at epoch {seen}, not {claimed}"
            ),
            Self::BadTimes => f.write_str("a lease timeout or heartbeat of zero"),
            Self::Silence(time) => write!(f, "nothing heard for {time}"),
            Self::NoWelcome => f.write_str("no answer to the join"),
            Self::Refused(refused) => write!(f, "refused: {}", refused.reason),
        }
    }
}

/// Something for the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// The engine welcomed this worker.
    Joined {
        /// The number it goes by there.
        worker: WorkerId,
        /// The shard it serves.
        shard: Shard,
        /// The engine's epoch.
        epoch: Epoch,
        /// Leases from earlier that go on.
        adopted: usize,
        /// Leases from earlier that are stale.
        dropped: usize,
    },
    /// The engine gave it a certificate.
    Certified {
        /// Until when it is good.
        until: Instant,
    },
    /// The link is gone; the next attempt to connect comes after this time.
    Reconnecting {
        /// The wait.
        after: Millis,
        /// Why the link is gone.
        reason: String,
    },
    /// No further work will come until [`Note::Uncordoned`].
    Cordoned {
        /// Why.
        reason: String,
    },
    /// Work will come again.
    Uncordoned,
    /// The worker finishes what runs and leaves.
    Draining {
        /// Who wants it: the engine's reason, or that of the process.
        reason: String,
        /// What still runs after this time is given back; `None`: it is waited for.
        within: Option<Millis>,
    },
    /// The deadline of the drain has come.
    DrainOver {
        /// Works that still ran.
        running: usize,
    },
    /// The worker has had nothing to do for a while, for a reason that is new.
    Idle(Idle),
    /// The worker takes no work until [`Note::Welcoming`].
    Holding {
        /// What keeps it from it.
        problem: String,
    },
    /// The worker takes work again.
    Welcoming,
    /// A report of this worker had been superseded.
    Stale {
        /// Its token.
        token: LeaseToken,
        /// What is recorded instead.
        recorded: String,
    },
    /// The engine shuts down; the worker keeps what it holds.
    EngineShuttingDown,
    /// The engine sent more works than it may; they went back.
    OverAssigned {
        /// How many.
        works: usize,
    },
}

/// The effects of one `handle`, or of several in a row, in order. Reused: it keeps its memory.
#[derive(Default, Debug)]
pub struct Effects {
    list: Vec<Stored>,
    bytes: Vec<u8>,
}

#[derive(Debug)]
enum Stored {
    Send(Range<usize>),
    Other(Effect<'static>),
}

impl Effects {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// There is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Takes all of them out, in order. Frames that were said one after the other are one [`Effect::Send`].
    pub fn drain(&mut self) -> impl Iterator<Item = Effect<'_>> {
        let bytes = &self.bytes;
        self.list.drain(..).map(move |stored| match stored {
            Stored::Send(range) => Effect::Send(&bytes[range]),
            Stored::Other(effect) => effect,
        })
    }

    pub(crate) fn push(&mut self, effect: Effect<'static>) {
        self.list.push(Stored::Other(effect));
    }

    pub(crate) fn note(&mut self, note: Note) {
        self.push(Effect::Note(note));
    }

    /// Appends the frames that `write` writes.
    pub(crate) fn send(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.list.is_empty() {
            self.bytes.clear();
        }
        let start = self.bytes.len();
        write(&mut self.bytes);
        let end = self.bytes.len();
        match self.list.last_mut() {
            Some(Stored::Send(range)) if range.end == start => range.end = end,
            _ => self.list.push(Stored::Send(start..end)),
        }
    }
}
