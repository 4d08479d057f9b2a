//! What the sidecar decides. No clock, no sockets, no chance: see `xtask/src/purity.rs`.

pub mod answer;
pub mod lane;
pub mod ledger;
pub mod observe;
pub mod policy;
