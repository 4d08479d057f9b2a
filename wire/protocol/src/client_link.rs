//! The client link: what submitters and operators say to the engine, in frames of one QUIC stream or of
//! the intake's unix socket.
//!
//! A client opens with `Login`. Requests carry a number that the answer repeats; any number of them may be
//! under way. A submission is an `Open` (the template) and any number of `Rows`; it is acknowledged as its
//! rows become durable. Whoever lost the connection in the middle opens again with the same key, is told
//! how many rows were accepted, and goes on from there: nothing is taken twice.

use serde::{Deserialize, Serialize};

use crate::codec::{self, DecodeError, Reader};
use crate::frame;
use crate::ids::{Attempt, BagId, Epoch, Lsn, Shard, TokenId, WorkId, WorkerId};
use crate::joining::NewToken;
use crate::limits::{RESULT_BYTES_MAX, ROWS_BYTES_MAX};
use crate::log::{ClientLog, FollowLogs, LogEnd, StopLogs};
use crate::note::WriteNotes;
use crate::outcome::{Outcome, Reason};
use crate::template::{Invalid, Priority, Rows, WorkTemplate};
use crate::units::Millis;
use crate::view::{Filter, Reply};
use crate::worker_link::Refused;

/// Names this version of the link in the TLS handshake.
pub const ALPN: &[u8] = b"pool-client/1";

/// Kind bytes. 0x81–0xbf: client to engine; 0xc1–0xff: engine to client.
pub mod kind {
    #![expect(missing_docs, reason = "each is documented at the message that it announces")]
    pub const LOGIN: u8 = 0x81;
    pub const OPEN: u8 = 0x82;
    pub const ROWS: u8 = 0x83;
    pub const COMMAND: u8 = 0x84;
    pub const QUERY: u8 = 0x85;
    pub const FOLLOW: u8 = 0x86;
    pub const FOLLOW_LOGS: u8 = 0x87;
    pub const STOP_LOGS: u8 = 0x88;
    pub const WELCOME: u8 = 0xc1;
    pub const REFUSED: u8 = 0xc2;
    pub const ACCEPTED: u8 = 0xc3;
    pub const BUSY: u8 = 0xc4;
    pub const REJECTED: u8 = 0xc5;
    pub const OUTCOMES: u8 = 0xc6;
    pub const REPLY: u8 = 0xc7;
    pub const LAGGING: u8 = 0xc8;
    pub const LOG: u8 = 0xc9;
    pub const LOG_END: u8 = 0xca;
}

/// Number that a client gives a request and finds again in the answer; its own choice, unique while under way.
pub type RequestId = u32;

/// Chosen by the client so that a repeated request is recognised; all zeros: none, a repeat is a new request.
pub type IdempotencyKey = [u8; 16];

/// First message of a client.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Login {
    /// Account (`ADMINLOGIN`, or a user's).
    pub login: String,
    /// Its password.
    pub password: String,
    /// Name and version of the client's program, for logs.
    pub agent: String,
}

/// The engine's answer to a client that may speak.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Welcome {
    /// The engine's shard.
    pub shard: Shard,
    /// Its epoch.
    pub epoch: Epoch,
    /// Its version.
    pub version: String,
}

/// Opens a submission.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Open {
    /// Number of this request; rows name it.
    pub request: RequestId,
    /// Recognises a repetition.
    pub key: IdempotencyKey,
    /// How many rows follow: at least 1, at most [`crate::limits::BAG_ROWS_MAX`].
    pub rows_total: u32,
    /// Send the outcomes of its works as they become durable.
    pub follow: bool,
    /// What the works have in common.
    pub template: WorkTemplate,
}

/// Rows of an open submission: `request: u32`, `first_row: u32`, `count: u32`, then the rows with their lengths.
#[derive(Clone, Copy, Debug)]
pub struct RowsChunk<'a> {
    /// The submission.
    pub request: RequestId,
    /// Index of the first row in the submission. Rows that were accepted before are skipped; a gap is refused.
    pub first_row: u32,
    /// The rows.
    pub rows: Rows<'a>,
}

impl<'a> RowsChunk<'a> {
    /// Appends a frame with rows that are already encoded (lengths and bytes), at most [`ROWS_BYTES_MAX`] of them.
    pub fn push(out: &mut Vec<u8>, request: RequestId, first_row: u32, rows: Rows<'_>) {
        let encoded = rows.encoded();
        Self::push_head(out, request, first_row, rows.len(), encoded.len());
        out.extend_from_slice(encoded);
    }

    /// Appends all of such a frame that stands before its rows: `count` of them, encoded `bytes` long. Whoever keeps
    /// rows in the form in which they are sent sends them behind it without copying them.
    pub fn push_head(out: &mut Vec<u8>, request: RequestId, first_row: u32, count: u32, bytes: usize) {
        frame::push_header(out, kind::ROWS, 12 + bytes);
        for field in [request, first_row, count] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let request = reader.u32("request")?;
        let first_row = reader.u32("first row")?;
        let count = reader.u32("count")?;
        let rows = reader.rest();
        if rows.len() > ROWS_BYTES_MAX {
            return Err(DecodeError::OutOfRange {
                field: "rows",
                value: rows.len() as u64,
            });
        }
        Ok(Self {
            request,
            first_row,
            rows: Rows::parse(count, rows)?,
        })
    }
}

/// Which works a command is for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Selector {
    /// One work.
    Work(WorkId),
    /// All works of a bag.
    Bag(BagId),
}

/// Something to change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Works that are not done become `Cancelled`; those that run are stopped.
    Cancel(Selector),
    /// Works that failed, were cancelled or expired are queued again with a fresh budget of attempts.
    Retry(Selector),
    /// Works of the bag that wait or come go with another priority.
    Prioritise(BagId, Priority),
    /// The worker gets no further work.
    Cordon(WorkerId),
    /// The worker gets work again.
    Uncordon(WorkerId),
    /// The worker finishes what runs, gives back the rest and leaves.
    Drain(WorkerId),
    /// Takes a snapshot now.
    Snapshot,
    /// The bag takes no more rows than it has: its submitter has no more. Works that were accepted go on.
    Seal(BagId),
    /// Makes an enrolment token. One with the same digest is the same token.
    CreateToken(NewToken),
    /// The token enrols nobody any more; workers that it has enrolled go on.
    RevokeToken(TokenId),
    /// A worker that waits for approval gets work; one that was revoked may join again.
    Approve(WorkerId),
    /// The worker's links end, its certificate is no longer good, its works go to others, and it is refused until it
    /// is approved again.
    Revoke(WorkerId),
    /// As [`Command::Drain`]; after this time it stops what still runs and gives that back, too. A later one changes the
    /// deadline.
    DrainWithin(WorkerId, Millis),
    /// Takes a notebook, for this client to write into; nobody who has taken it before writes any more.
    TakeNotebook(String),
    /// Writes notes.
    WriteNotes(WriteNotes),
}

/// A command with its number and key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CommandRequest {
    /// Number of this request.
    pub request: RequestId,
    /// What to change. All commands may be repeated without harm: the second finds nothing left to do.
    pub command: Command,
}

/// Something to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Query {
    /// The pool as a whole.
    Status,
    /// One work, with its result where it has one.
    Work(WorkId),
    /// Works after this one that pass the filter, in order of their ids, at most `limit`.
    Works {
        /// Which ones.
        filter: Filter,
        /// Start behind this one; 0: from the first.
        after: WorkId,
        /// At most this many, 1 to [`crate::limits::PAGE_LEN_MAX`].
        limit: u32,
    },
    /// One bag.
    Bag(BagId),
    /// Bags after this one, in order of their ids.
    Bags {
        /// Start behind this one; 0: from the first.
        after: BagId,
        /// At most this many.
        limit: u32,
    },
    /// Outcomes and results of a bag's works from this row on, in order of their rows, as many as fit a frame.
    Results {
        /// The bag.
        bag: BagId,
        /// First row.
        from_row: u32,
    },
    /// One worker.
    Worker(WorkerId),
    /// Workers after this one, in order of their numbers.
    Workers {
        /// Start behind this one; 0: from the first.
        after: WorkerId,
        /// At most this many.
        limit: u32,
    },
    /// All queues that have works.
    Queues,
    /// Why a work is where it is.
    ExplainWork(WorkId),
    /// Why a worker does what it does.
    ExplainWorker(WorkerId),
    /// Enrolment tokens after this one, in order of their numbers.
    Tokens {
        /// Start behind this one; 0: from the first.
        after: TokenId,
        /// At most this many, 1 to [`crate::limits::TOKENS_PAGE_LEN_MAX`].
        limit: u32,
    },
    /// The categories that works may name.
    Categories,
    /// Notes of a notebook behind this key, in order of their keys, as many as fit a frame.
    Notes {
        /// The notebook.
        notebook: String,
        /// Start behind this one; empty: from the first.
        after: String,
    },
}

/// A query with its number.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueryRequest {
    /// Number of this request.
    pub request: RequestId,
    /// What to know.
    pub query: Query,
}

/// Asks for the outcomes of a bag as they become durable, from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Follow {
    /// Number of this request.
    pub request: RequestId,
    /// The bag.
    pub bag: BagId,
}

/// Rows of a submission are durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Accepted {
    /// Number of the `Open`.
    pub request: RequestId,
    /// The bag that holds the works.
    pub bag: BagId,
    /// Id of the work of row 0; row n is n later.
    pub first: WorkId,
    /// Rows accepted so far, counted from row 0.
    pub rows: u32,
    /// Rows that the submission announced.
    pub rows_total: u32,
    /// Position in the journal of what was accepted.
    pub lsn: Lsn,
}

/// The request was not taken; try again later. Rows before `rows` were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Busy {
    /// Number of the request.
    pub request: RequestId,
    /// Which limit is reached (`works`, `disk`, `memory`, `journal` …).
    pub limit: String,
    /// Wait at least this long.
    pub retry_after: Millis,
    /// Rows of the submission accepted so far.
    pub rows: u32,
}

/// The request is wrong; repeating it does not help.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Rejected {
    /// Number of the request.
    pub request: RequestId,
    /// What is wrong with what.
    pub invalid: Invalid,
}

/// The outcome of one work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutcomeItem<'a> {
    /// The work.
    pub work: WorkId,
    /// How it ended.
    pub outcome: Outcome,
    /// Why.
    pub reason: Reason,
    /// The attempt that decided it; 0: none was made.
    pub attempt: Attempt,
    /// Exit code of the command, or minus the signal.
    pub exit_code: i32,
    /// Time the attempt ran, in microseconds.
    pub elapsed_us: u32,
    /// The worker that ran it; 0: none.
    pub worker: WorkerId,
    /// The result.
    pub result: &'a [u8],
}

impl OutcomeItem<'_> {
    /// Appends the item to an `OUTCOMES` frame that was begun with the request's number and the bag.
    #[inline]
    pub fn put(&self, out: &mut Vec<u8>) {
        // One append instead of seven: the vector checks its room once.
        let mut fixed = [0; 24];
        fixed[0..8].copy_from_slice(&self.work.0.to_le_bytes());
        fixed[8] = self.outcome as u8;
        fixed[9] = self.reason as u8;
        fixed[10..12].copy_from_slice(&self.attempt.0.to_le_bytes());
        fixed[12..16].copy_from_slice(&self.exit_code.to_le_bytes());
        fixed[16..20].copy_from_slice(&self.elapsed_us.to_le_bytes());
        fixed[20..24].copy_from_slice(&self.worker.0.to_le_bytes());
        out.extend_from_slice(&fixed);
        codec::put_bytes(out, self.result);
    }
}

/// Durable outcomes of works of one bag: `request: u32`, `bag: u64`, then the items.
#[derive(Clone, Copy, Debug)]
pub struct Outcomes<'a> {
    /// The request that asked for them (`Open`, `Follow` or a query for results).
    pub request: RequestId,
    /// The bag.
    pub bag: BagId,
    items: &'a [u8],
}

impl<'a> Outcomes<'a> {
    /// Bytes of an item without its result.
    pub const ITEM_BYTES: usize = 24 + 4;

    /// Appends the fields that stand before the items.
    pub fn begin(out: &mut Vec<u8>, request: RequestId, bag: BagId) {
        out.extend_from_slice(&request.to_le_bytes());
        out.extend_from_slice(&bag.0.to_le_bytes());
    }

    fn parse(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(payload);
        let request = reader.u32("request")?;
        let bag = BagId(reader.u64("bag")?);
        let items = reader.rest();
        while !reader.is_empty() {
            Self::next(&mut reader)?;
        }
        Ok(Self { request, bag, items })
    }

    #[inline]
    fn next(reader: &mut Reader<'a>) -> Result<OutcomeItem<'a>, DecodeError> {
        Ok(OutcomeItem {
            work: WorkId(reader.u64("work")?),
            outcome: Outcome::from_wire(reader.u8("outcome")?)?,
            reason: Reason::from_wire(reader.u8("reason")?)?,
            attempt: Attempt(reader.u16("attempt")?),
            exit_code: reader.i32("exit code")?,
            elapsed_us: reader.u32("elapsed")?,
            worker: WorkerId(reader.u32("worker")?),
            result: reader.bytes("result", RESULT_BYTES_MAX)?,
        })
    }

    /// The outcomes in the order in which they were recorded.
    pub fn iter(&self) -> impl Iterator<Item = OutcomeItem<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        core::iter::from_fn(move || {
            (!reader.is_empty()).then(|| Self::next(&mut reader).expect("checked by parse"))
        })
    }
}

/// The client did not read fast enough: outcomes of this bag were not sent from here on. Ask for `Results`, then
/// follow again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Lagging {
    /// The request that asked for outcomes.
    pub request: RequestId,
    /// The bag.
    pub bag: BagId,
}

/// An answer to a query or a command.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Number of the request.
    pub request: RequestId,
    /// What was asked.
    pub reply: Reply,
}

/// What a client says to the engine.
#[derive(Clone, Debug)]
pub enum FromClient<'a> {
    /// First of all.
    Login(Login),
    /// Begins a submission.
    Open(Box<Open>),
    /// Continues it.
    Rows(RowsChunk<'a>),
    /// Changes something.
    Command(CommandRequest),
    /// Asks something.
    Query(QueryRequest),
    /// Asks for outcomes.
    Follow(Follow),
    /// Asks for what a work prints.
    FollowLogs(FollowLogs),
    /// No longer.
    StopLogs(StopLogs),
}

impl<'a> FromClient<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of a kind that a client does not say.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::LOGIN => Self::Login(codec::read_control("login", payload)?),
            kind::OPEN => Self::Open(Box::new(codec::read_control("open", payload)?)),
            kind::ROWS => Self::Rows(RowsChunk::parse(payload)?),
            kind::COMMAND => Self::Command(codec::read_control("command", payload)?),
            kind::QUERY => Self::Query(codec::read_control("query", payload)?),
            kind::FOLLOW => Self::Follow(codec::read_control("follow", payload)?),
            kind::FOLLOW_LOGS => Self::FollowLogs(codec::read_control("follow logs", payload)?),
            kind::STOP_LOGS => Self::StopLogs(codec::read_control("stop logs", payload)?),
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}

/// What the engine says to a client.
#[derive(Clone, Debug)]
pub enum ToClient<'a> {
    /// It may speak.
    Welcome(Welcome),
    /// It may not.
    Refused(Refused),
    /// Rows are durable.
    Accepted(Accepted),
    /// Not now.
    Busy(Busy),
    /// Not so.
    Rejected(Rejected),
    /// Works that ended.
    Outcomes(Outcomes<'a>),
    /// What was asked.
    Reply(Box<Answer>),
    /// Outcomes were left out.
    Lagging(Lagging),
    /// A piece of what a work prints. What the client has no room for is left out.
    Log(ClientLog<'a>),
    /// There will be no more of that.
    LogEnd(LogEnd),
}

impl<'a> ToClient<'a> {
    /// Reads one message.
    ///
    /// # Errors
    /// The message is malformed or of a kind that the engine does not say.
    pub fn parse(kind: u8, payload: &'a [u8]) -> Result<Self, DecodeError> {
        Ok(match kind {
            kind::WELCOME => Self::Welcome(codec::read_control("welcome", payload)?),
            kind::REFUSED => Self::Refused(codec::read_control("refused", payload)?),
            kind::ACCEPTED => Self::Accepted(codec::read_control("accepted", payload)?),
            kind::BUSY => Self::Busy(codec::read_control("busy", payload)?),
            kind::REJECTED => Self::Rejected(codec::read_control("rejected", payload)?),
            kind::OUTCOMES => Self::Outcomes(Outcomes::parse(payload)?),
            kind::REPLY => Self::Reply(Box::new(codec::read_control("reply", payload)?)),
            kind::LAGGING => Self::Lagging(codec::read_control("lagging", payload)?),
            kind::LOG => Self::Log(ClientLog::parse(payload)?),
            kind::LOG_END => Self::LogEnd(codec::read_control("log end", payload)?),
            _ => return Err(DecodeError::UnknownKind { kind }),
        })
    }
}
