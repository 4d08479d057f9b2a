//! Blocks, and what they say of transactions.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Gas, Log, Wei};

/// 32 bytes: of a block, of a transaction, of a result. Written as `0x` and 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// All zeros: what a contract keeps where no hash was given.
    pub const ZERO: Self = Self([0; 32]);
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A time of the chain: seconds since 1970, as the header of a block has it. Deadlines of contracts are in it, not in
/// anybody's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Which block. A number alone names another block after a reorganisation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BlockRef {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: Hash,
}

/// A block's header, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Block {
    /// Which it is.
    pub at: BlockRef,
    /// The hash of the one before.
    pub parent: Hash,
    /// When it was made.
    pub timestamp: Timestamp,
    /// Price of a unit of gas that is burned; `None` on chains from before EIP-1559.
    pub base_fee: Option<Wei>,
}

/// What became of a transaction that a block has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction.
    pub transaction: Hash,
    /// The block that has it.
    pub block: BlockRef,
    /// Its place in the block.
    pub index: u32,
    /// Whether it took effect. These contracts give no reason where it did not.
    pub succeeded: bool,
    /// Gas that it took.
    pub gas_used: Gas,
    /// What a unit of gas has cost.
    pub gas_price: Wei,
    /// The events of our contracts in it, in order.
    pub logs: Vec<Log>,
}
