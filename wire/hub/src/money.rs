//! Amounts, each in a type of its own: nobody adds gas to stake.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount of RLC, in its smallest unit (10⁻⁹ RLC, nRLC).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rlc(pub u128);

impl Rlc {
    /// `percent` of it, rounded down, as the contracts compute.
    #[must_use]
    pub const fn percent(self, percent: u64) -> Self {
        Self(self.0.saturating_mul(percent as u128) / 100)
    }

    /// The sum; beyond 2¹²⁸ it stays there.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; below zero it is zero.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many times it.
    #[must_use]
    pub const fn times(self, count: u128) -> Self {
        Self(self.0.saturating_mul(count))
    }
}

impl fmt::Display for Rlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} nRLC", self.0)
    }
}

/// An amount of the chain's own coin, in wei (10⁻¹⁸).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wei(pub u128);

impl fmt::Display for Wei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} wei", self.0)
    }
}

/// Units of work of the chain's machine.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gas(pub u64);

/// Number of a wallet's transaction: each is used once, in order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nonce(pub u64);

/// How sure a requester wants to be: of `trust` results one may be wrong. 0 and 1 ask for nothing. The contract does not
/// bound it; what is beyond 2¹²⁸ is taken as that.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Trust(pub u128);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_rounded_down_and_never_overflows() {
        assert_eq!(Rlc(1_000).percent(30), Rlc(300));
        assert_eq!(Rlc(33).percent(1), Rlc(0));
        assert_eq!(Rlc(u128::MAX).percent(100), Rlc(u128::MAX / 100));
    }
}
