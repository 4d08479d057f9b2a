//! Messages as they are written.

use super::*;

impl Message {
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
            Self::NotebookTaken(it) => push_control(out, recorded::NOTEBOOK_TAKEN, it),
            Self::NotesWritten(it) => push_control(out, recorded::NOTES_WRITTEN, it),
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

/// Rows as they stand in a message, and how many.
fn encode_rows(rows: &[Blob]) -> (u32, Vec<u8>) {
    let mut out = Vec::new();
    for row in rows {
        codec::put_bytes(&mut out, &row.0);
    }
    (u32::try_from(rows.len()).expect("few rows"), out)
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
