//! Messages as they are read, walked to their last item.

use super::*;

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
            Record::NotebookTaken(it) => Self::NotebookTaken(it),
            Record::NotesWritten(it) => Self::NotesWritten(it),
            Record::TokenCreated(it) => Self::TokenCreated(it),
            Record::TokenRevoked(it) => Self::TokenRevoked(it),
            Record::WorkerEnrolled(it) => Self::WorkerEnrolled(it),
            Record::WorkerStanding(it) => Self::WorkerStanding(it),
        }
    }
}

fn decode_rows(rows: Rows<'_>) -> Vec<Blob> {
    assert_eq!(rows.len() as usize, rows.iter().count());
    assert_eq!(rows.skip(rows.len()).encoded(), b"");
    rows.iter().map(Blob::from).collect()
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
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

impl AnOutcome {
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

impl From<log::LogChunk<'_>> for AChunk {
    fn from(it: log::LogChunk<'_>) -> Self {
        Self {
            stream: it.stream,
            offset: it.offset,
            bytes: it.bytes.into(),
        }
    }
}
