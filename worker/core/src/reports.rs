//! Reports that the engine has not yet said to have recorded, oldest first.
//!
//! They are kept as they stand in a `Finished` frame, one after the other, so that saying them, for the first
//! time or again after a reconnection, is one copy and no allocation:
//!
//! ```text
//!  items  ░░░░░░░│ report │ report │ report │ report │ report │
//!         recorded   ▲ head (number `first`)      ▲ said of them: up to here
//! ```

use std::collections::VecDeque;

use wire_protocol::frame;
use wire_protocol::ids::LeaseToken;
use wire_protocol::worker_link::{Report, kind};

use crate::FINISHED_BYTES_MAX;

#[derive(Debug)]
pub(crate) struct Reports {
    items: Vec<u8>,
    head: usize,
    kept: VecDeque<Kept>,
    /// Number of the first kept report in this connection.
    first: u64,
    /// How many of the kept ones were said in this connection, and their bytes.
    said: usize,
    said_bytes: usize,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    token: LeaseToken,
    bytes: u32,
}

impl Reports {
    pub(crate) fn new() -> Self {
        Self {
            items: Vec::new(),
            head: 0,
            kept: VecDeque::new(),
            first: 1,
            said: 0,
            said_bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.items.len() - self.head
    }

    pub(crate) fn has_unsaid(&self) -> bool {
        self.said < self.kept.len()
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = LeaseToken> {
        self.kept.iter().map(|kept| kept.token)
    }

    pub(crate) fn push(&mut self, report: &Report<'_>) {
        // Recorded bytes are moved out of the way when they are at least as many as the others: on average each
        // byte is copied once.
        if self.head > 4_096 && self.head >= self.items.len() - self.head {
            self.items.drain(..self.head);
            self.head = 0;
        }
        let start = self.items.len();
        report.put(&mut self.items);
        let bytes = u32::try_from(self.items.len() - start).expect("results are bounded");
        self.kept.push_back(Kept {
            token: report.token,
            bytes,
        });
    }

    /// Appends frames with everything that was not said in this connection.
    pub(crate) fn flush(&mut self, out: &mut Vec<u8>) {
        while self.has_unsaid() {
            let first = self.first + self.said as u64;
            let start = self.head + self.said_bytes;
            let mut end = start;
            let mut count = 0;
            for kept in self.kept.range(self.said..) {
                let bytes = kept.bytes as usize;
                if count > 0 && end - start + bytes > FINISHED_BYTES_MAX {
                    break;
                }
                end += bytes;
                count += 1;
            }
            frame::push(out, kind::FINISHED, |out| {
                out.extend_from_slice(&first.to_le_bytes());
                out.extend_from_slice(&self.items[start..end]);
            });
            self.said += count;
            self.said_bytes += end - start;
        }
    }

    /// Forgets those up to number `upto` of this connection; a number from before changes nothing.
    ///
    /// # Errors
    /// So many were not said; the error is the number of the last that was. Nothing changes.
    pub(crate) fn recorded(&mut self, upto: u64, mut forget: impl FnMut(LeaseToken)) -> Result<(), u64> {
        let said = self.first + self.said as u64 - 1;
        if upto > said {
            return Err(said);
        }
        while self.first <= upto {
            let kept = self.kept.pop_front().expect("said, so it is kept");
            self.head += kept.bytes as usize;
            self.said_bytes -= kept.bytes as usize;
            self.said -= 1;
            self.first += 1;
            forget(kept.token);
        }
        if self.kept.is_empty() {
            self.items.clear();
            self.head = 0;
        }
        Ok(())
    }

    /// Begins a new connection: nothing was said in it, and numbers count from 1.
    pub(crate) fn unsay(&mut self) {
        self.first = 1;
        self.said = 0;
        self.said_bytes = 0;
    }

    /// Keeps those that `adopted` names, before anything was said in this connection.
    pub(crate) fn retain(&mut self, mut adopted: impl FnMut(LeaseToken) -> bool) {
        assert_eq!(self.said, 0, "numbers that were said cannot change");
        let mut items = Vec::new();
        let mut start = self.head;
        self.kept.retain(|kept| {
            let end = start + kept.bytes as usize;
            let keep = adopted(kept.token);
            if keep {
                items.extend_from_slice(&self.items[start..end]);
            }
            start = end;
            keep
        });
        self.items = items;
        self.head = 0;
    }

    /// Asserts what must always hold.
    pub(crate) fn check(&self) {
        let sum = |kept: &mut dyn Iterator<Item = &Kept>| kept.map(|kept| kept.bytes as usize).sum::<usize>();
        assert_eq!(sum(&mut self.kept.iter()), self.bytes(), "bytes of reports");
        assert_eq!(
            sum(&mut self.kept.iter().take(self.said)),
            self.said_bytes,
            "bytes said"
        );
        assert!(self.said <= self.kept.len() && self.first >= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::ids::{Attempt, Epoch, Shard, WorkId};
    use wire_protocol::outcome::Reason;
    use wire_protocol::worker_link::FromWorker;

    fn report(work: u64, result: &[u8]) -> Report<'_> {
        Report {
            token: LeaseToken {
                work: WorkId(work),
                epoch: Epoch(1),
                attempt: Attempt(1),
                shard: Shard(0),
            },
            reason: Reason::None,
            exit_code: 0,
            elapsed_us: 3,
            result,
        }
    }

    /// What the frames say: (number, work) of each report, and the largest payload.
    fn said(bytes: &[u8]) -> (Vec<(u64, u64)>, usize) {
        let mut rest = bytes;
        let (mut said, mut largest) = (Vec::new(), 0);
        while let Some((kind, payload, used)) = frame::split_first(rest).expect("whole frames") {
            let FromWorker::Finished(reports) = FromWorker::parse(kind, payload).expect("valid") else {
                panic!("only reports are said here");
            };
            said.extend((reports.first()..).zip(reports.iter().map(|r| r.token.work.0)));
            largest = largest.max(payload.len());
            rest = &rest[used..];
        }
        (said, largest)
    }

    #[test]
    fn numbers_go_on_within_a_connection_and_start_over_in_the_next() {
        let mut reports = Reports::new();
        let mut out = Vec::new();
        for work in 1..=3 {
            reports.push(&report(work, b"result"));
        }
        reports.flush(&mut out);
        reports.recorded(2, |_| {}).expect("both of them were said");
        reports.push(&report(4, b""));
        reports.flush(&mut out);
        reports.check();
        assert_eq!(said(&out).0, [(1, 1), (2, 2), (3, 3), (4, 4)]);
        out.clear();
        reports.unsay();
        reports.retain(|token| token.work.0 != 3);
        reports.flush(&mut out);
        reports.check();
        assert_eq!(said(&out).0, [(1, 4)]);
    }

    #[test]
    fn what_was_not_said_cannot_be_recorded() {
        let mut reports = Reports::new();
        reports.push(&report(1, b""));
        assert_eq!(reports.recorded(1, |_| unreachable!()), Err(0));
        reports.flush(&mut Vec::new());
        assert_eq!(reports.recorded(2, |_| unreachable!()), Err(1));
        assert_eq!(reports.recorded(1, |_| {}), Ok(()));
        assert_eq!(
            reports.recorded(1, |_| unreachable!()),
            Ok(()),
            "a repeat changes nothing"
        );
        assert_eq!(reports.bytes(), 0);
    }

    #[test]
    fn large_reports_are_spread_over_frames() {
        let result = vec![7; 60_000];
        let mut reports = Reports::new();
        for work in 1..=40 {
            reports.push(&report(work, &result));
        }
        let mut out = Vec::new();
        reports.flush(&mut out);
        let (said, largest) = said(&out);
        assert_eq!(said.len(), 40);
        assert!(largest <= FINISHED_BYTES_MAX + 8);
        assert!(!reports.has_unsaid());
    }

    #[test]
    fn memory_of_recorded_reports_is_used_again() {
        let mut reports = Reports::new();
        let mut out = Vec::new();
        let mut recorded = 0;
        for work in 1..=20_000 {
            reports.push(&report(work, &[1; 100]));
            out.clear();
            reports.flush(&mut out);
            if work > 10 {
                recorded += 1;
                reports.recorded(recorded, |_| {}).expect("said before");
            }
        }
        reports.check();
        assert!(
            reports.items.len() < 64 << 10,
            "{} bytes for 10 reports",
            reports.items.len()
        );
    }
}
