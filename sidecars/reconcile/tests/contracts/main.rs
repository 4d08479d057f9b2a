//! Orders on the real contracts: the reconciler with a real node, and workers that contribute with their own wallets.
//!
//! Scenarios of acceptance and rules of the contracts have their numbers in the names of their tests; `table` prints which
//! test has which, and fails if one has none.

mod chaos;
mod differential;
mod kit;
mod rules;
mod scenarios;
mod table;
