//! What a worker is told is recorded is durable, or was stale: then the worker may forget it.

use wire_protocol::ids::{LeaseToken, Lsn};
use wire_protocol::worker_link::Reports;

use super::ledger::Ledger;
use super::{Violation, check};

const NAME: &str = "recorded";

/// What a worker has reported on one link.
pub(super) struct Said {
    uid: String,
    /// By number; `None`: it was no lease of this worker when it came, so it changed nothing.
    tokens: Vec<Option<LeaseToken>>,
}

impl Said {
    pub(super) fn new(uid: &str) -> Self {
        Self {
            uid: uid.to_owned(),
            tokens: Vec::new(),
        }
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    pub(super) fn reported(&mut self, ledger: &Ledger, reports: &Reports<'_>) {
        // A frame that does not count on is refused as a whole.
        if reports.first() == self.tokens.len() as u64 + 1 {
            let own = |token: &LeaseToken| {
                let lease = ledger.leases.get(token);
                lease.is_some_and(|lease| lease.uid == self.uid)
            };
            let tokens = reports.iter().map(|report| Some(report.token).filter(own));
            self.tokens.extend(tokens);
        }
    }

    /// `Recorded` is about to be sent.
    pub(super) fn check_recorded(&self, ledger: &Ledger, upto: u64, durable: Lsn) -> Result<(), Violation> {
        let uid = &self.uid;
        check(NAME, None, upto <= self.tokens.len() as u64, || {
            format!(
                "{upto} reports of {uid} are acknowledged, {} were made",
                self.tokens.len()
            )
        })?;
        for token in self.tokens[..upto as usize].iter().flatten() {
            let lease = &ledger.leases[token];
            let over = lease.over.is_some_and(|lsn| lsn <= durable);
            check(NAME, token.work, over, || {
                format!(
                    "the report of {token} by {uid} is acknowledged; it ends at {:?} and durable is {durable}",
                    lease.over
                )
            })?;
        }
        Ok(())
    }
}
