//! Orders on the real contracts: the reconciler with a real node, and workers that contribute with their own wallets.

mod chaos;
mod differential;
mod kit;
mod rules;
mod scenarios;
