//! What it writes: frames, and what they carry.

use super::*;

pub(super) fn push_outcome(frame: &mut Vec<u8>, request: RequestId, bag: usize, row: usize, content: &[u8]) {
    frame::push(frame, kind::OUTCOMES, |out| {
        Outcomes::begin(out, request, BagId(bag as u64 + 1));
        put_outcome(out, bag, row, content);
    });
}

/// A row that says `fail` does.
pub(super) fn put_outcome(out: &mut Vec<u8>, bag: usize, row: usize, content: &[u8]) {
    let failed = content == b"fail";
    let mut result = Vec::new();
    if content.len() < 1000 {
        Output {
            stdout: content,
            ..Output::default()
        }
        .encode(&mut result);
    } else {
        result = content[..content.len().min(60_000)].to_vec();
    }
    let item = OutcomeItem {
        work: first_of(bag).offset(row as u32),
        outcome: if failed {
            Outcome::Failed
        } else {
            Outcome::Succeeded
        },
        reason: if failed { Reason::ExitCode } else { Reason::None },
        attempt: Attempt(1),
        exit_code: i32::from(failed),
        elapsed_us: 10,
        worker: WorkerId(1),
        result: &result,
    };
    item.put(out);
}

pub(super) struct Say<'a> {
    pub(super) links: &'a mut Links,
    pub(super) link: LinkId,
    pub(super) lost: bool,
}

impl Say<'_> {
    pub(super) fn control<T: serde::Serialize>(&mut self, kind: u8, message: &T) {
        let mut frame = Vec::new();
        push_control(&mut frame, kind, message);
        self.frame(&frame);
    }

    pub(super) fn frame(&mut self, frame: &[u8]) {
        let _ = self.links.send(self.link, frame);
    }

    pub(super) fn reply(&mut self, request: RequestId, reply: Reply) {
        self.control(kind::REPLY, &Answer { request, reply });
    }

    pub(super) fn reject(&mut self, request: RequestId, field: &str, problem: &str) {
        let invalid = Invalid {
            field: field.to_owned(),
            problem: problem.to_owned(),
        };
        self.control(kind::REJECTED, &Rejected { request, invalid });
    }

    pub(super) fn busy(&mut self, request: RequestId, rows: usize) {
        let busy = Busy {
            request,
            limit: "works".into(),
            retry_after: Millis(5),
            rows: rows as u32,
        };
        self.control(kind::BUSY, &busy);
    }

    pub(super) fn accepted(&mut self, request: RequestId, index: usize, bag: &Bag) {
        let accepted = Accepted {
            request,
            bag: BagId(index as u64 + 1),
            first: first_of(index),
            rows: bag.rows.len() as u32,
            rows_total: bag.rows_total,
            lsn: Lsn(1),
        };
        self.control(kind::ACCEPTED, &accepted);
    }
}

/// Says what was written for the next who follows a work.
pub(super) fn print(script: &mut Script, say: &mut Say<'_>, asked: FollowLogs) {
    script.seen.push("follow-logs");
    let request = asked.request;
    let end = |attempt, state, goes_on| LogEnd {
        request,
        attempt: Attempt(attempt),
        state,
        goes_on,
    };
    let done = Printed::Ended(1, WorkState::Done(Outcome::Succeeded));
    for printed in script.logs.pop_front().unwrap_or_else(|| vec![done]) {
        match printed {
            Printed::Piece(attempt, stream, offset, text) => {
                let log = ClientLog {
                    request,
                    attempt: Attempt(attempt),
                    worker: WorkerId(1),
                    chunk: LogChunk {
                        stream,
                        offset,
                        bytes: text.as_bytes(),
                    },
                };
                let mut out = Vec::new();
                log.push(&mut out, kind::LOG);
                let _ = say.links.send(say.link, &out);
            }
            Printed::AttemptEnded(attempt) => {
                say.control(kind::LOG_END, &end(attempt, WorkState::Queued, true))
            }
            Printed::Ended(attempt, state) => say.control(kind::LOG_END, &end(attempt, state, false)),
            Printed::Busy => say.busy(request, 0),
            Printed::Lost => say.lost = true,
        }
    }
}
