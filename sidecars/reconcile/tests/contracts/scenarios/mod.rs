//! The scenarios of acceptance, each under its number, with the balances that the contracts' own arithmetic gives.

mod deciding;
mod happy;
mod killed;
mod late;
mod nodes;
mod reorganised;
mod revealing;
mod stakes;
mod workers;

/// The pool's transactions of an order that nothing happens to.
pub(crate) const USUAL: [&str; 4] = [
    "CreateMarketOrder",
    "AllowWorkersToContribute",
    "RevealConsensus",
    "FinalizeWork",
];
