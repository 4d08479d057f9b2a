//! What peers heard, in an owned form that a test can keep and compare.

use wire_protocol::client_link::{self, Accepted, Answer, Busy, Lagging, Rejected, ToClient};
use wire_protocol::ids::{Attempt, BagId, LeaseToken, WorkId, WorkerId};
use wire_protocol::joining::Certified;
use wire_protocol::log::{FollowLog, LogEnd, LogStream};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::template::WorkTemplate;
use wire_protocol::worker_link::{Drain, Granted, Idle, Notice, Refused, ToWorker, Welcome};

use super::{FakeClient, FakeWorker};

/// A work that a worker was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lease {
    pub(crate) token: LeaseToken,
    pub(crate) row: Vec<u8>,
    pub(crate) template: WorkTemplate,
}

/// What a worker heard.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum WorkerHeard {
    Welcome(Welcome),
    Refused(Refused),
    Assigned(Box<Lease>),
    Recorded(u64),
    Retract(Reason, Vec<LeaseToken>),
    Cancel(Reason, Vec<LeaseToken>),
    Notice(Notice),
    Pong,
    Granted(Granted),
    Certificate(Certified),
    Drain(Drain),
    FollowLog(FollowLog),
    Idle(Idle),
}

/// An outcome that a client was told of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Told {
    pub(crate) request: u32,
    pub(crate) bag: BagId,
    pub(crate) work: WorkId,
    pub(crate) outcome: Outcome,
    pub(crate) reason: Reason,
    pub(crate) attempt: Attempt,
    pub(crate) worker: WorkerId,
    pub(crate) result: Vec<u8>,
}

/// What a client heard.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum ClientHeard {
    Welcome(client_link::Welcome),
    Refused(Refused),
    Accepted(Accepted),
    Busy(Busy),
    Rejected(Rejected),
    Outcome(Told),
    Reply(Box<Answer>),
    Lagging(Lagging),
    /// Request, attempt, stream, offset, bytes.
    Log(u32, u16, LogStream, u64, Vec<u8>),
    LogEnd(LogEnd),
}

impl FakeWorker {
    pub(super) fn hear(&mut self, message: ToWorker<'_>) {
        let heard = match message {
            ToWorker::Welcome(welcome) => WorkerHeard::Welcome(welcome),
            ToWorker::Refused(refused) => WorkerHeard::Refused(refused),
            ToWorker::Template(defined) => {
                self.templates.insert(defined.template, defined.definition);
                return;
            }
            ToWorker::Assign(assignments) => {
                let template = self
                    .templates
                    .get(&assignments.template())
                    .expect("templates are defined before they are used");
                self.heard.extend(assignments.iter().map(|assignment| {
                    WorkerHeard::Assigned(Box::new(Lease {
                        token: assignment.token,
                        row: assignment.row.to_vec(),
                        template: template.clone(),
                    }))
                }));
                return;
            }
            ToWorker::Recorded(upto) => WorkerHeard::Recorded(upto),
            ToWorker::Retract(tokens) => WorkerHeard::Retract(tokens.reason(), tokens.iter().collect()),
            ToWorker::Cancel(tokens) => WorkerHeard::Cancel(tokens.reason(), tokens.iter().collect()),
            ToWorker::Notice(notice) => WorkerHeard::Notice(notice),
            ToWorker::Pong => WorkerHeard::Pong,
            ToWorker::Granted(granted) => WorkerHeard::Granted(granted),
            ToWorker::Certificate(certified) => WorkerHeard::Certificate(*certified),
            ToWorker::Drain(drain) => WorkerHeard::Drain(drain),
            ToWorker::FollowLog(asked) => WorkerHeard::FollowLog(asked),
            ToWorker::Idle(idle) => WorkerHeard::Idle(idle),
        };
        self.heard.push(heard);
    }
}

impl FakeClient {
    pub(super) fn hear(&mut self, message: ToClient<'_>) {
        let heard = match message {
            ToClient::Welcome(welcome) => ClientHeard::Welcome(welcome),
            ToClient::Refused(refused) => ClientHeard::Refused(refused),
            ToClient::Accepted(accepted) => ClientHeard::Accepted(accepted),
            ToClient::Busy(busy) => ClientHeard::Busy(busy),
            ToClient::Rejected(rejected) => ClientHeard::Rejected(rejected),
            ToClient::Outcomes(outcomes) => {
                self.heard.extend(outcomes.iter().map(|item| {
                    ClientHeard::Outcome(Told {
                        request: outcomes.request,
                        bag: outcomes.bag,
                        work: item.work,
                        outcome: item.outcome,
                        reason: item.reason,
                        attempt: item.attempt,
                        worker: item.worker,
                        result: item.result.to_vec(),
                    })
                }));
                return;
            }
            ToClient::Reply(answer) => ClientHeard::Reply(answer),
            ToClient::Lagging(lagging) => ClientHeard::Lagging(lagging),
            ToClient::Log(log) => ClientHeard::Log(
                log.request,
                log.attempt.0,
                log.chunk.stream,
                log.chunk.offset,
                log.chunk.bytes.to_vec(),
            ),
            ToClient::LogEnd(end) => ClientHeard::LogEnd(end),
        };
        self.heard.push(heard);
    }
}
