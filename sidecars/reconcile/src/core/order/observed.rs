//! What was seen of an order.

use serde::{Deserialize, Serialize};
use wire_hub::{Answer, Block, Timestamp, Views};

/// What was seen of an order, all of it at one block.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Observed {
    /// The block.
    pub at: Block,
    /// What the contracts have of it there; absent where they know no such order.
    pub views: Answer<Views>,
    /// The number of the block that bought it, and of the one that ended it.
    pub bought: u64,
    /// See `bought`; `None` where nothing has.
    pub ended: Option<u64>,
    /// Number and time of the last final block.
    pub final_: Option<(u64, Timestamp)>,
    /// What `finalizeWork` gave the requester.
    pub result: Option<super::Texts>,
}

impl Observed {
    /// Blocks on top of the one that bought it.
    #[must_use]
    pub fn confirmations(&self) -> u64 {
        self.at.at.number.saturating_sub(self.bought)
    }
}
