//! Sums and times of the chain, for people and programs.
//!
//! In JSON amounts are decimal texts: they may be beyond what a program's numbers hold.

use serde::Serialize;
use wire_hub::row::Totals;
use wire_hub::{Address, NOBODY, Rlc, Timestamp};
use wire_protocol::units::Instant;

use crate::cli::quantity::timestamp;

/// Sums in JSON.
#[derive(Serialize)]
pub(super) struct TotalsJson {
    locked_nrlc: String,
    unlocked_nrlc: String,
    bound_nrlc: String,
    rewarded_nrlc: String,
    seized_nrlc: String,
    gas: u64,
    burned_wei: String,
    faults: u32,
}

impl From<Totals> for TotalsJson {
    fn from(totals: Totals) -> Self {
        Self {
            locked_nrlc: nrlc(totals.locked),
            unlocked_nrlc: nrlc(totals.unlocked),
            bound_nrlc: nrlc(totals.bound()),
            rewarded_nrlc: nrlc(totals.rewarded),
            seized_nrlc: nrlc(totals.seized),
            gas: totals.gas.0,
            burned_wei: totals.burned.0.to_string(),
            faults: totals.faults,
        }
    }
}

/// Digits alone.
pub(super) fn nrlc(amount: Rlc) -> String {
    amount.0.to_string()
}

/// What moved, in words; empty where nothing has.
pub(super) fn sentence(totals: &Totals) -> String {
    let amounts = [
        (totals.locked, "locked"),
        (totals.bound(), "of it still bound"),
        (totals.rewarded, "rewarded"),
        (totals.seized, "seized"),
    ];
    let amounts = amounts.iter().filter(|(amount, _)| *amount > Rlc(0));
    let mut parts: Vec<String> = amounts.map(|(amount, what)| format!("{amount} {what}")).collect();
    if totals.gas.0 > 0 {
        parts.push(format!("{} gas for {}", totals.gas.0, totals.burned));
    }
    parts.extend((totals.faults > 0).then(|| format!("{} faults", totals.faults)));
    parts.join(", ")
}

/// A time of the chain; empty where there is none.
pub(super) fn time(at: Timestamp) -> String {
    time_or_none(at).unwrap_or_default()
}

/// A time of the chain; `None` where there is none.
pub(super) fn time_or_none(at: Timestamp) -> Option<String> {
    let at = (at > Timestamp(0)).then_some(at)?;
    Some(timestamp(Instant(at.0.saturating_mul(1_000_000_000))))
}

/// Somebody; `None` where the contracts keep that it is nobody.
pub(super) fn somebody(address: Address) -> Option<String> {
    (address != NOBODY).then(|| address.to_string())
}
