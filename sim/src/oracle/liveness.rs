//! After the faults have stopped, everything settles or fails with a reason within a bounded time, workers have
//! nothing left to say, and every client learns the final outcome of each of its works.

use wire_protocol::ids::WorkId;
use wire_protocol::outcome::Outcome;

use super::{Oracles, Violation, check};

const NAME: &str = "liveness";

impl Oracles {
    /// All works have ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.ledger.counts.waiting + self.ledger.counts.held == 0
    }

    /// Works that were queued again by command, ever.
    pub(crate) fn revived(&self) -> u64 {
        self.ledger.revived
    }
}

/// The time is up.
pub(crate) fn stuck(oracles: &Oracles, who: &[String]) -> Violation {
    let open: Vec<_> = oracles.ledger.open().take(5).collect();
    let works: Vec<String> = open
        .iter()
        .map(|(id, work)| format!("{id} is {:?}", work.state))
        .collect();
    let work = open.first().map(|(id, _)| *id);
    let what = format!(
        "not everything has settled: {}\n  {}",
        works.join(", "),
        who.join("\n  ")
    );
    Violation::new(NAME, work, what)
}

/// What a client has learned in the end is what the ledger says.
pub(crate) fn learned(
    oracles: &Oracles,
    login: &str,
    work: WorkId,
    outcome: Outcome,
) -> Result<(), Violation> {
    let last = oracles
        .ledger
        .works
        .get(&work)
        .and_then(|work| work.outcomes.last())
        .map(|ending| ending.outcome);
    check(NAME, work, last == Some(outcome), || {
        format!("{login} has learned that {work} is {outcome}; it is {last:?}")
    })
}
