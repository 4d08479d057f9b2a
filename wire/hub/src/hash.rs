//! The chain's hash: keccak, before it became SHA-3.

use crate::Hash;
use sha3::{Digest, Keccak256};

/// Hashes values one after the other; whoever gives texts gives their length too.
#[derive(Clone, Default)]
pub struct Hasher(Keccak256);

impl Hasher {
    /// Adds these bytes.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    /// Adds a number, in eight bytes, highest first.
    #[must_use]
    pub fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds a text and its length before it, so that two texts are never taken for two others.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        self.number(text.len() as u64).bytes(text.as_bytes())
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> Hash {
        Hash(self.0.finalize().into())
    }
}

/// The hash of these bytes.
#[must_use]
pub fn keccak(bytes: &[u8]) -> Hash {
    Hasher::default().bytes(bytes).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_not_taken_for_others() {
        let hash = |a: &str, b: &str| Hasher::default().text(a).text(b).finish();
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
    }
}
