//! No coin is made, lost, or locked for nothing; no transaction is sent before its note is durable; and nothing that the
//! pool wants once is mined twice.

use std::collections::{BTreeMap, BTreeSet};

use sidecars_reconcile::model::{Chain, Mined};
use wire_hub::{Hash, Nonce};
use wire_lane::IntentId;
use wire_protocol::record::kind;

use super::{Oracles, Violation, check};

const NAME: &str = "market";

/// What the pool's transactions are for, by their hashes.
pub(crate) type Intents = BTreeMap<Hash, IntentId>;

impl Oracles {
    /// The pool is about to send this.
    pub(crate) fn sends(&self, nonce: Nonce, raw: &[u8]) -> Result<(), Violation> {
        let has_it = |payload: &[u8]| payload.windows(raw.len()).any(|bytes| bytes == raw);
        let mut durable = self.history.records_durable();
        let is_noted = durable.any(|(kind, payload)| kind == kind::NOTES_WRITTEN && has_it(payload));
        check(NAME, None, is_noted, || {
            format!("transaction {} is sent before its note is durable", nonce.0)
        })
    }
}

/// A block was made.
pub(crate) fn check_block(mined: &Mined) {
    mined.hub.sanity_check();
}

/// All blocks that there are in the end.
pub(crate) fn check_chain(chain: &Chain, intents: &Intents) -> Result<(), Violation> {
    let mut seen = BTreeSet::new();
    let receipts = chain.blocks().flat_map(|mined| &mined.receipts);
    let mut ours = receipts.filter_map(|receipt| intents.get(&receipt.transaction));
    let twice = ours.find(|intent| !seen.insert(**intent));
    check(NAME, None, twice.is_none(), || {
        let calls = chain
            .blocks()
            .flat_map(|mined| &mined.receipts)
            .filter(|receipt| intents.get(&receipt.transaction) == twice)
            .map(|receipt| format!("{:?}", chain.signed(receipt.transaction)));
        format!(
            "an intent is mined twice: {}",
            calls.collect::<Vec<_>>().join(", ")
        )
    })
}
