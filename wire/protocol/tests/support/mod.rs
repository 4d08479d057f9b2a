//! Every message as a plain value that owns what it carries, with both directions of the codec.
//!
//! The crate's own types borrow from the bytes they were read from and are walked lazily. Tests want to
//! compare and to print: so here is one value per message, written with the crate's writers and read with its
//! readers, walked to the last item. The golden files, the properties and the fuzz target all go through here.

mod decode;
mod encode;

use std::fmt;

use wire_protocol::client_link::{self, FromClient, Outcomes, RowsChunk, ToClient};
use wire_protocol::codec::{self, DecodeError};
use wire_protocol::feed::{self, FeedRecord, FromSubscriber, ToSubscriber};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, WorkId, WorkerId};
use wire_protocol::joining;
use wire_protocol::log;
use wire_protocol::note;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, Record};
use wire_protocol::template::Rows;
use wire_protocol::units::Instant;
use wire_protocol::worker_link::{self, Assignments, FromWorker, Report, ToWorker, Tokens};

/// Who says something to whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Link {
    WorkerToEngine,
    EngineToWorker,
    ClientToEngine,
    EngineToClient,
    SubscriberToEngine,
    EngineToSubscriber,
    Record,
}

impl Link {
    pub(crate) const ALL: [Self; 7] = [
        Self::WorkerToEngine,
        Self::EngineToWorker,
        Self::ClientToEngine,
        Self::EngineToClient,
        Self::SubscriberToEngine,
        Self::EngineToSubscriber,
        Self::Record,
    ];
}

/// Bytes that print as text.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Blob(pub(crate) Vec<u8>);

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes \"{}\"", self.0.len(), self.0.escape_ascii())
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AReport {
    pub(crate) token: LeaseToken,
    pub(crate) reason: Reason,
    pub(crate) exit_code: i32,
    pub(crate) elapsed_us: u32,
    pub(crate) result: Blob,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AnOutcome {
    pub(crate) work: WorkId,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
    pub(crate) attempt: Attempt,
    pub(crate) exit_code: i32,
    pub(crate) elapsed_us: u32,
    pub(crate) worker: WorkerId,
    pub(crate) result: Blob,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AChunk {
    pub(crate) stream: log::LogStream,
    pub(crate) offset: u64,
    pub(crate) bytes: Blob,
}

/// The attempts of a `Leased`, `Started` or `Released` record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SomeAttempts {
    pub(crate) at: Instant,
    pub(crate) worker: WorkerId,
    pub(crate) reason: Reason,
    pub(crate) tokens: Vec<LeaseToken>,
}

/// One message of any link.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Message {
    Join(Box<worker_link::Join>),
    Finished {
        first: u64,
        reports: Vec<AReport>,
    },
    Started {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    Retracted {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    Ping,
    Draining(worker_link::Draining),
    GrantAsked {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    Holding(worker_link::Holding),
    Renew(Box<joining::Renew>),
    Log {
        token: LeaseToken,
        chunk: AChunk,
    },
    LogTold {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    WhyIdle,

    WorkerWelcome(worker_link::Welcome),
    WorkerRefused(worker_link::Refused),
    Template(Box<worker_link::TemplateDefined>),
    Assign {
        template: u32,
        works: Vec<(LeaseToken, Blob)>,
    },
    Recorded {
        upto: u64,
    },
    Retract {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    Cancel {
        reason: Reason,
        tokens: Vec<LeaseToken>,
    },
    Notice(worker_link::Notice),
    Pong,
    Granted(worker_link::Granted),
    Certificate(Box<joining::Certified>),
    Drain(worker_link::Drain),
    FollowLog(log::FollowLog),
    Idle(worker_link::Idle),

    Login(client_link::Login),
    Open(Box<client_link::Open>),
    Rows {
        request: u32,
        first_row: u32,
        rows: Vec<Blob>,
    },
    Command(client_link::CommandRequest),
    Query(client_link::QueryRequest),
    Follow(client_link::Follow),
    FollowLogs(log::FollowLogs),
    StopLogs(log::StopLogs),

    ClientWelcome(client_link::Welcome),
    ClientRefused(worker_link::Refused),
    Accepted(client_link::Accepted),
    Busy(client_link::Busy),
    Rejected(client_link::Rejected),
    Outcomes {
        request: u32,
        bag: BagId,
        items: Vec<AnOutcome>,
    },
    Reply(Box<client_link::Answer>),
    Lagging(client_link::Lagging),
    ClientLog {
        request: u32,
        attempt: Attempt,
        worker: WorkerId,
        chunk: AChunk,
    },
    LogEnd(log::LogEnd),

    Subscribe(feed::Subscribe),
    Acknowledge(Lsn),
    Feeding(feed::Feeding),
    FeedRefused(feed::FeedRefused),
    FedRecord {
        lsn: Lsn,
        epoch: Epoch,
        wall_us: u64,
        kind: u8,
        payload: Blob,
    },

    EpochStarted(record::EpochStarted),
    TenantAdded(record::TenantAdded),
    BagOpened(Box<record::BagOpened>),
    RowsAdded {
        at: Instant,
        bag: BagId,
        first_row: u32,
        rows: Vec<Blob>,
    },
    BagPrioritised(record::BagPrioritised),
    BagForgotten(BagId),
    WorkerJoined(Box<record::WorkerJoined>),
    WorkerChanged(record::WorkerChanged),
    WorkerForgotten(WorkerId),
    LeasedRecord(SomeAttempts),
    StartedRecord(SomeAttempts),
    ReleasedRecord(SomeAttempts),
    Settled {
        at: Instant,
        worker: WorkerId,
        items: Vec<AnOutcome>,
    },
    Ended(record::Ended),
    Revived(record::Revived),
    BagSealed(record::BagSealed),
    NotebookTaken(note::NotebookTaken),
    NotesWritten(Box<note::NotesWritten>),
    TokenCreated(Box<record::TokenCreated>),
    TokenRevoked(record::TokenRevoked),
    WorkerEnrolled(record::WorkerEnrolled),
    WorkerStanding(record::WorkerStanding),
}

/// Reads `payload`; if it is a message, writing it and reading it again gives the same message.
pub(crate) fn decode_twice(link: Link, kind: u8, payload: &[u8]) -> Result<Message, DecodeError> {
    let message = Message::decode(link, kind, payload)?;
    let (kind_again, payload_again) = message.encode();
    assert_eq!(kind, kind_again, "{message:?} changed its kind");
    assert_eq!(
        Message::decode(link, kind_again, &payload_again).as_ref(),
        Ok(&message),
        "a message that was read can be written and read again"
    );
    Ok(message)
}
