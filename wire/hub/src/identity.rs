//! Which order it is. Its address is not enough: after a reorganisation another requester's order may have it.

use serde::{Deserialize, Serialize};

use crate::{Address, Hash, Hasher};

/// What an order is known by.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Identity {
    /// The chain's number.
    pub chain_id: u64,
    /// The marketplace's hub.
    pub hub: Address,
    /// The order's address.
    pub woid: Address,
    /// The hash of the block that bought it.
    pub block: Hash,
    /// The hash of all that makes it what it is.
    pub fingerprint: Hash,
}

impl Identity {
    /// The idempotency key of its works.
    #[must_use]
    pub fn key(&self) -> Hash {
        Hasher::default()
            .number(self.chain_id)
            .bytes(&self.hub.0)
            .bytes(&self.woid.0)
            .bytes(&self.block.0)
            .bytes(&self.fingerprint.0)
            .finish()
    }
}
