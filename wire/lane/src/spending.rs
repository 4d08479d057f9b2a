//! What a wallet burns in an hour.

use std::collections::BTreeMap;

use wire_hub::{Nonce, Wei};
use wire_protocol::units::{Instant, Millis};

/// Spending is counted over so long.
const WINDOW: Millis = Millis::from_secs(3_600);

/// What each transaction may cost, from when it is first sent until an hour later; what it has cost once that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spending(BTreeMap<Nonce, (Instant, Wei)>);

impl Spending {
    /// Counts `cost` for a nonce, instead of what was counted for it before.
    pub(crate) fn count(&mut self, now: Instant, nonce: Nonce, cost: Wei) {
        self.0.entry(nonce).or_insert((now, cost)).1 = cost;
    }

    /// What `cost` for this nonce would make of the last hour.
    pub(crate) fn with(&mut self, now: Instant, nonce: Nonce, cost: Wei) -> Wei {
        self.0.retain(|_, (since, _)| now.since(*since) < WINDOW);
        let others = self.0.iter().filter(|(counted, _)| **counted != nonce);
        Wei(others.fold(cost.0, |sum, (_, (_, cost))| sum.saturating_add(cost.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_later_it_counts_no_more() {
        let mut spending = Spending::default();
        spending.count(Instant(0), Nonce(1), Wei(70));
        spending.count(Instant(0), Nonce(1), Wei(50));
        let later = |seconds| Instant(0) + Millis::from_secs(seconds);
        assert_eq!(spending.with(later(3_599), Nonce(2), Wei(5)), Wei(55));
        assert_eq!(
            spending.with(later(3_599), Nonce(1), Wei(5)),
            Wei(5),
            "a replacement"
        );
        assert_eq!(spending.with(later(3_600), Nonce(2), Wei(5)), Wei(5));
    }
}
