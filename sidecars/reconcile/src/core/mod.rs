//! What the sidecar decides. No clock, no sockets, no chance: see `xtask/src/purity.rs`.

pub mod bag;
pub mod ledger;
pub mod market;
pub mod observe;
pub mod order;
pub mod plan;
pub mod policy;
pub mod reconciler;
