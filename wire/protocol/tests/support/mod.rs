//! Every message as a plain value that owns what it carries, with both directions of the codec.
//!
//! The crate's own types borrow from the bytes they were read from and are walked lazily. Tests want to
//! compare and to print: so here is one value per message, written with the crate's writers and read with its
//! readers, walked to the last item. The golden files, the properties and the fuzz target all go through here.

use std::fmt;

use wire_protocol::client_link::{self, FromClient, Outcomes, RowsChunk, ToClient};
use wire_protocol::codec::{self, DecodeError};
use wire_protocol::feed::{self, FeedRecord, FromSubscriber, ToSubscriber};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, WorkId, WorkerId};
use wire_protocol::joining;
use wire_protocol::log;
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

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
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

impl AChunk {
    fn borrow(&self) -> log::LogChunk<'_> {
        log::LogChunk {
            stream: self.stream,
            offset: self.offset,
            bytes: &self.bytes.0,
        }
    }
}

impl From<log::LogChunk<'_>> for AChunk {
    fn from(it: log::LogChunk<'_>) -> Self {
        Self {
            stream: it.stream,
            offset: it.offset,
            bytes: it.bytes.into(),
        }
    }
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
    TokenCreated(Box<record::TokenCreated>),
    TokenRevoked(record::TokenRevoked),
    WorkerEnrolled(record::WorkerEnrolled),
    WorkerStanding(record::WorkerStanding),
}

/// Rows as they stand in a message, and how many.
fn encode_rows(rows: &[Blob]) -> (u32, Vec<u8>) {
    let mut out = Vec::new();
    for row in rows {
        codec::put_bytes(&mut out, &row.0);
    }
    (u32::try_from(rows.len()).expect("few rows"), out)
}

fn decode_rows(rows: Rows<'_>) -> Vec<Blob> {
    assert_eq!(rows.len() as usize, rows.iter().count());
    assert_eq!(rows.skip(rows.len()).encoded(), b"");
    rows.iter().map(Blob::from).collect()
}

impl Message {
    /// Reads a message and walks it to its last item.
    pub(crate) fn decode(link: Link, kind: u8, payload: &[u8]) -> Result<Self, DecodeError> {
        Ok(match link {
            Link::WorkerToEngine => Self::from_worker(FromWorker::parse(kind, payload)?),
            Link::EngineToWorker => Self::to_worker(ToWorker::parse(kind, payload)?),
            Link::ClientToEngine => Self::from_client(FromClient::parse(kind, payload)?),
            Link::EngineToClient => Self::to_client(ToClient::parse(kind, payload)?),
            Link::SubscriberToEngine => match FromSubscriber::parse(kind, payload)? {
                FromSubscriber::Subscribe(it) => Self::Subscribe(it),
                FromSubscriber::Acknowledge(it) => Self::Acknowledge(it),
            },
            Link::EngineToSubscriber => match ToSubscriber::parse(kind, payload)? {
                ToSubscriber::Feeding(it) => Self::Feeding(it),
                ToSubscriber::Refused(it) => Self::FeedRefused(it),
                ToSubscriber::Record(it) => Self::FedRecord {
                    lsn: it.lsn,
                    epoch: it.epoch,
                    wall_us: it.wall_us,
                    kind: it.kind,
                    payload: it.payload.into(),
                },
            },
            Link::Record => Self::record(Record::parse(kind, payload)?),
        })
    }

    fn from_worker(message: FromWorker<'_>) -> Self {
        match message {
            FromWorker::Join(it) => Self::Join(it),
            FromWorker::Finished(it) => Self::Finished {
                first: it.first(),
                reports: it.iter().map(AReport::from).collect(),
            },
            FromWorker::Started(it) => Self::Started {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            FromWorker::Retracted(it) => Self::Retracted {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            FromWorker::Ping => Self::Ping,
            FromWorker::Draining(it) => Self::Draining(it),
            FromWorker::GrantAsked(it) => Self::GrantAsked {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            FromWorker::Holding(it) => Self::Holding(it),
            FromWorker::Renew(it) => Self::Renew(it),
            FromWorker::Log(it) => Self::Log {
                token: it.token,
                chunk: it.chunk.into(),
            },
            FromWorker::LogTold(it) => Self::LogTold {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            FromWorker::WhyIdle => Self::WhyIdle,
        }
    }

    fn to_worker(message: ToWorker<'_>) -> Self {
        match message {
            ToWorker::Welcome(it) => Self::WorkerWelcome(it),
            ToWorker::Refused(it) => Self::WorkerRefused(it),
            ToWorker::Template(it) => Self::Template(it),
            ToWorker::Assign(it) => Self::Assign {
                template: it.template(),
                works: it.iter().map(|item| (item.token, item.row.into())).collect(),
            },
            ToWorker::Recorded(upto) => Self::Recorded { upto },
            ToWorker::Retract(it) => Self::Retract {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            ToWorker::Cancel(it) => Self::Cancel {
                reason: it.reason(),
                tokens: it.iter().collect(),
            },
            ToWorker::Notice(it) => Self::Notice(it),
            ToWorker::Pong => Self::Pong,
            ToWorker::Granted(it) => Self::Granted(it),
            ToWorker::Certificate(it) => Self::Certificate(it),
            ToWorker::Drain(it) => Self::Drain(it),
            ToWorker::FollowLog(it) => Self::FollowLog(it),
            ToWorker::Idle(it) => Self::Idle(it),
        }
    }

    fn from_client(message: FromClient<'_>) -> Self {
        match message {
            FromClient::Login(it) => Self::Login(it),
            FromClient::Open(it) => Self::Open(it),
            FromClient::Rows(it) => Self::Rows {
                request: it.request,
                first_row: it.first_row,
                rows: decode_rows(it.rows),
            },
            FromClient::Command(it) => Self::Command(it),
            FromClient::Query(it) => Self::Query(it),
            FromClient::Follow(it) => Self::Follow(it),
            FromClient::FollowLogs(it) => Self::FollowLogs(it),
            FromClient::StopLogs(it) => Self::StopLogs(it),
        }
    }

    fn to_client(message: ToClient<'_>) -> Self {
        match message {
            ToClient::Welcome(it) => Self::ClientWelcome(it),
            ToClient::Refused(it) => Self::ClientRefused(it),
            ToClient::Accepted(it) => Self::Accepted(it),
            ToClient::Busy(it) => Self::Busy(it),
            ToClient::Rejected(it) => Self::Rejected(it),
            ToClient::Outcomes(it) => Self::Outcomes {
                request: it.request,
                bag: it.bag,
                items: it.iter().map(AnOutcome::from).collect(),
            },
            ToClient::Reply(it) => Self::Reply(it),
            ToClient::Lagging(it) => Self::Lagging(it),
            ToClient::Log(it) => Self::ClientLog {
                request: it.request,
                attempt: it.attempt,
                worker: it.worker,
                chunk: it.chunk.into(),
            },
            ToClient::LogEnd(it) => Self::LogEnd(it),
        }
    }

    fn record(record: Record<'_>) -> Self {
        let attempts = |it: record::Attempts<'_>| {
            assert_eq!(it.len(), it.iter().count());
            assert_eq!(it.is_empty(), it.iter().next().is_none());
            SomeAttempts {
                at: it.at,
                worker: it.worker,
                reason: it.reason,
                tokens: it.iter().collect(),
            }
        };
        match record {
            Record::EpochStarted(it) => Self::EpochStarted(it),
            Record::TenantAdded(it) => Self::TenantAdded(it),
            Record::BagOpened(it) => Self::BagOpened(it),
            Record::RowsAdded(it) => Self::RowsAdded {
                at: it.at,
                bag: it.bag,
                first_row: it.first_row,
                rows: decode_rows(it.rows),
            },
            Record::BagPrioritised(it) => Self::BagPrioritised(it),
            Record::BagForgotten(it) => Self::BagForgotten(it),
            Record::WorkerJoined(it) => Self::WorkerJoined(it),
            Record::WorkerChanged(it) => Self::WorkerChanged(it),
            Record::WorkerForgotten(it) => Self::WorkerForgotten(it),
            Record::Leased(it) => Self::LeasedRecord(attempts(it)),
            Record::Started(it) => Self::StartedRecord(attempts(it)),
            Record::Released(it) => Self::ReleasedRecord(attempts(it)),
            Record::Settled(it) => Self::Settled {
                at: it.at,
                worker: it.worker,
                items: it
                    .iter()
                    .map(|item| AnOutcome::settled(it.worker, item))
                    .collect(),
            },
            Record::Ended(it) => Self::Ended(it),
            Record::Revived(it) => Self::Revived(it),
            Record::BagSealed(it) => Self::BagSealed(it),
            Record::TokenCreated(it) => Self::TokenCreated(it),
            Record::TokenRevoked(it) => Self::TokenRevoked(it),
            Record::WorkerEnrolled(it) => Self::WorkerEnrolled(it),
            Record::WorkerStanding(it) => Self::WorkerStanding(it),
        }
    }

    /// Appends the message as a frame. A record gets a frame too, so that all have one shape here.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        use client_link::kind as client;
        use feed::kind as fed;
        use record::kind as recorded;
        use worker_link::kind as worker;
        use worker_link::{push_control, push_empty};
        match self {
            Self::Join(it) => push_control(out, worker::JOIN, it),
            Self::Finished { first, reports } => frame::push(out, worker::FINISHED, |out| {
                out.extend_from_slice(&first.to_le_bytes());
                reports.iter().for_each(|it| it.put(out));
            }),
            Self::Started { reason, tokens } => push_tokens(out, worker::STARTED, *reason, tokens),
            Self::Retracted { reason, tokens } => push_tokens(out, worker::RETRACTED, *reason, tokens),
            Self::Ping => push_empty(out, worker::PING),
            Self::Draining(it) => push_control(out, worker::DRAINING, it),
            Self::GrantAsked { reason, tokens } => push_tokens(out, worker::GRANT_ASKED, *reason, tokens),
            Self::Holding(it) => push_control(out, worker::HOLDING, it),
            Self::Renew(it) => push_control(out, worker::RENEW, it),
            Self::Log { token, chunk } => {
                let (token, chunk) = (*token, chunk.borrow());
                log::WorkerLog { token, chunk }.push(out, worker::LOG);
            }
            Self::LogTold { reason, tokens } => push_tokens(out, worker::LOG_TOLD, *reason, tokens),
            Self::WhyIdle => push_empty(out, worker::WHY_IDLE),
            Self::WorkerWelcome(it) => push_control(out, worker::WELCOME, it),
            Self::WorkerRefused(it) => push_control(out, worker::REFUSED, it),
            Self::Template(it) => push_control(out, worker::TEMPLATE, it),
            Self::Assign { template, works } => frame::push(out, worker::ASSIGN, |out| {
                out.extend_from_slice(&template.to_le_bytes());
                works
                    .iter()
                    .for_each(|(token, row)| Assignments::put(out, *token, &row.0));
            }),
            Self::Recorded { upto } => worker_link::push_recorded(out, *upto),
            Self::Retract { reason, tokens } => push_tokens(out, worker::RETRACT, *reason, tokens),
            Self::Cancel { reason, tokens } => push_tokens(out, worker::CANCEL, *reason, tokens),
            Self::Notice(it) => push_control(out, worker::NOTICE, it),
            Self::Pong => push_empty(out, worker::PONG),
            Self::Granted(it) => push_control(out, worker::GRANTED, it),
            Self::Certificate(it) => push_control(out, worker::CERTIFICATE, it),
            Self::Drain(it) => push_control(out, worker::DRAIN, it),
            Self::FollowLog(it) => push_control(out, worker::FOLLOW_LOG, it),
            Self::Idle(it) => push_control(out, worker::IDLE, it),
            Self::Login(it) => push_control(out, client::LOGIN, it),
            Self::Open(it) => push_control(out, client::OPEN, it),
            Self::Rows {
                request,
                first_row,
                rows,
            } => {
                let (count, encoded) = encode_rows(rows);
                let rows = Rows::parse(count, &encoded).expect("rows that were just encoded");
                RowsChunk::push(out, *request, *first_row, rows);
            }
            Self::Command(it) => push_control(out, client::COMMAND, it),
            Self::Query(it) => push_control(out, client::QUERY, it),
            Self::Follow(it) => push_control(out, client::FOLLOW, it),
            Self::FollowLogs(it) => push_control(out, client::FOLLOW_LOGS, it),
            Self::StopLogs(it) => push_control(out, client::STOP_LOGS, it),
            Self::ClientWelcome(it) => push_control(out, client::WELCOME, it),
            Self::ClientRefused(it) => push_control(out, client::REFUSED, it),
            Self::Accepted(it) => push_control(out, client::ACCEPTED, it),
            Self::Busy(it) => push_control(out, client::BUSY, it),
            Self::Rejected(it) => push_control(out, client::REJECTED, it),
            Self::Outcomes { request, bag, items } => frame::push(out, client::OUTCOMES, |out| {
                Outcomes::begin(out, *request, *bag);
                items.iter().for_each(|it| it.put(out));
            }),
            Self::Reply(it) => push_control(out, client::REPLY, it),
            Self::Lagging(it) => push_control(out, client::LAGGING, it),
            Self::ClientLog {
                request,
                attempt,
                worker,
                chunk,
            } => {
                let (request, attempt, worker) = (*request, *attempt, *worker);
                let chunk = chunk.borrow();
                log::ClientLog {
                    request,
                    attempt,
                    worker,
                    chunk,
                }
                .push(out, client::LOG);
            }
            Self::LogEnd(it) => push_control(out, client::LOG_END, it),
            Self::Subscribe(it) => push_control(out, fed::SUBSCRIBE, it),
            Self::Acknowledge(it) => push_control(out, fed::ACKNOWLEDGE, it),
            Self::Feeding(it) => push_control(out, fed::FEEDING, it),
            Self::FeedRefused(it) => push_control(out, fed::FEED_REFUSED, it),
            Self::FedRecord {
                lsn,
                epoch,
                wall_us,
                kind,
                payload,
            } => {
                let (lsn, epoch, wall_us, kind) = (*lsn, *epoch, *wall_us, *kind);
                FeedRecord {
                    lsn,
                    epoch,
                    wall_us,
                    kind,
                    payload: &payload.0,
                }
                .push(out);
            }
            Self::EpochStarted(it) => push_control(out, recorded::EPOCH_STARTED, it),
            Self::TenantAdded(it) => push_control(out, recorded::TENANT_ADDED, it),
            Self::BagOpened(it) => push_control(out, recorded::BAG_OPENED, it),
            Self::RowsAdded {
                at,
                bag,
                first_row,
                rows,
            } => frame::push(out, recorded::ROWS_ADDED, |out| {
                let (count, encoded) = encode_rows(rows);
                let rows = Rows::parse(count, &encoded).expect("rows that were just encoded");
                record::RowsAdded {
                    at: *at,
                    bag: *bag,
                    first_row: *first_row,
                    rows,
                }
                .put(out);
            }),
            Self::BagPrioritised(it) => push_control(out, recorded::BAG_PRIORITISED, it),
            Self::BagForgotten(it) => push_control(out, recorded::BAG_FORGOTTEN, it),
            Self::WorkerJoined(it) => push_control(out, recorded::WORKER_JOINED, it),
            Self::WorkerChanged(it) => push_control(out, recorded::WORKER_CHANGED, it),
            Self::WorkerForgotten(it) => push_control(out, recorded::WORKER_FORGOTTEN, it),
            Self::LeasedRecord(it) => it.push(out, recorded::LEASED),
            Self::StartedRecord(it) => it.push(out, recorded::STARTED),
            Self::ReleasedRecord(it) => it.push(out, recorded::RELEASED),
            Self::Settled { at, worker, items } => frame::push(out, recorded::SETTLED, |out| {
                record::begin_settled(out, *at, *worker);
                items.iter().for_each(|it| it.put_settled(out));
            }),
            Self::Ended(it) => push_control(out, recorded::ENDED, it),
            Self::Revived(it) => push_control(out, recorded::REVIVED, it),
            Self::BagSealed(it) => push_control(out, recorded::BAG_SEALED, it),
            Self::TokenCreated(it) => push_control(out, recorded::TOKEN_CREATED, it),
            Self::TokenRevoked(it) => push_control(out, recorded::TOKEN_REVOKED, it),
            Self::WorkerEnrolled(it) => push_control(out, recorded::WORKER_ENROLLED, it),
            Self::WorkerStanding(it) => push_control(out, recorded::WORKER_STANDING, it),
        }
    }

    /// Kind byte and payload.
    pub(crate) fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        self.push(&mut out);
        let (kind, payload, bytes) = frame::split_first(&out)
            .expect("within bounds")
            .expect("a whole frame");
        assert_eq!(bytes, out.len(), "one frame and nothing else");
        (kind, payload.to_vec())
    }
}

fn push_tokens(out: &mut Vec<u8>, kind: u8, reason: Reason, tokens: &[LeaseToken]) {
    Tokens::push(out, kind, reason, tokens.iter().copied());
}

impl AReport {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            token,
            reason,
            exit_code,
            elapsed_us,
            ref result,
        } = *self;
        Report {
            token,
            reason,
            exit_code,
            elapsed_us,
            result: &result.0,
        }
        .put(out);
    }
}

impl From<Report<'_>> for AReport {
    fn from(it: Report<'_>) -> Self {
        Self {
            token: it.token,
            reason: it.reason,
            exit_code: it.exit_code,
            elapsed_us: it.elapsed_us,
            result: it.result.into(),
        }
    }
}

impl AnOutcome {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            work,
            outcome,
            reason,
            attempt,
            exit_code,
            elapsed_us,
            worker,
            ref result,
        } = *self;
        let result = &result.0;
        client_link::OutcomeItem {
            work,
            outcome,
            reason,
            attempt,
            exit_code,
            elapsed_us,
            worker,
            result,
        }
        .put(out);
    }

    fn put_settled(&self, out: &mut Vec<u8>) {
        let Self {
            work,
            outcome,
            reason,
            attempt,
            exit_code,
            elapsed_us,
            ref result,
            ..
        } = *self;
        let result = &result.0;
        record::SettledItem {
            work,
            attempt,
            outcome,
            reason,
            exit_code,
            elapsed_us,
            result,
        }
        .put(out);
    }

    fn settled(worker: WorkerId, it: record::SettledItem<'_>) -> Self {
        Self {
            work: it.work,
            outcome: it.outcome,
            reason: it.reason,
            attempt: it.attempt,
            exit_code: it.exit_code,
            elapsed_us: it.elapsed_us,
            worker,
            result: it.result.into(),
        }
    }
}

impl From<client_link::OutcomeItem<'_>> for AnOutcome {
    fn from(it: client_link::OutcomeItem<'_>) -> Self {
        Self {
            work: it.work,
            outcome: it.outcome,
            reason: it.reason,
            attempt: it.attempt,
            exit_code: it.exit_code,
            elapsed_us: it.elapsed_us,
            worker: it.worker,
            result: it.result.into(),
        }
    }
}

impl SomeAttempts {
    fn push(&self, out: &mut Vec<u8>, kind: u8) {
        frame::push(out, kind, |out| {
            record::begin_attempts(out, self.at, self.worker, self.reason);
            for token in &self.tokens {
                out.extend_from_slice(&token.to_bytes());
            }
        });
    }
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
