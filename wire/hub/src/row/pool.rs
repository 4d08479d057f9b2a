//! The row of the pool.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cut;
use crate::{Address, Balance, Timestamp, Wei};

/// Alerts that a row has, and bytes of each.
const ALERTS_MAX: usize = 16;
const ALERT_BYTES_MAX: usize = 512;

/// Which chain, pool and wallet notes are of: those of another mean nothing, and are another's money.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The chain's number.
    pub chain_id: u64,
    /// The marketplace's hub.
    pub hub: Address,
    /// The pool's contract.
    pub pool: Address,
    /// The wallet that sends.
    pub owner: Address,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the pool {} of the wallet {} on chain {} (hub {})",
            self.pool, self.owner, self.chain_id, self.hub
        )
    }
}

/// Where the pool is. It is written every few seconds at most, so numbers may be some blocks old.
///
/// What the pool has earned and spent on gas is the row of the party [`Place::owner`]; faults of workers are in theirs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PoolRow {
    /// Where.
    pub place: Place,
    /// The number of the last block that nodes have; 0 before the first.
    pub head: u64,
    /// The number of the last block that was followed.
    pub followed: u64,
    /// Its time.
    pub followed_at: Timestamp,
    /// The number of the last final block.
    pub final_: u64,
    /// The block from which on the books are kept.
    pub since: u64,
    /// What the owner has at the hub. `None`: nobody has asked yet.
    pub balance: Option<Balance>,
    /// What the wallet has for gas, in wei. `None`: nobody has asked yet.
    pub coins: Option<Wei>,
    /// The number of the last [`Request`](crate::request::Request) that was done; 0: none ever.
    pub handled: u64,
    /// What an operator should look at, for people.
    pub alerts: Vec<String>,
}

impl PoolRow {
    pub(super) fn bounded(&self) -> Self {
        let alerts = self.alerts.iter().take(ALERTS_MAX);
        Self {
            alerts: alerts.map(|alert| cut(alert, ALERT_BYTES_MAX)).collect(),
            ..self.clone()
        }
    }
}
