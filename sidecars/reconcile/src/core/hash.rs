//! The chain's hash (keccak, before it became SHA-3), and what contributions make of a result.

use sha3::{Digest, Keccak256};
use wire_hub::{Address, Hash};

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

/// What a worker contributes of a result: keccak256(result).
#[must_use]
pub fn result_hash(result: Hash) -> Hash {
    keccak(&result.0)
}

/// What binds it to the worker: keccak256(result XOR keccak256(worker)).
#[must_use]
pub fn result_sign(result: Hash, worker: Address) -> Hash {
    let mut bytes = keccak(&worker.0).0;
    for (byte, of_result) in bytes.iter_mut().zip(result.0) {
        *byte ^= of_result;
    }
    keccak(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// npm `iexec-poco` 1.1.17, `test/000_0_testsha.js`: accepted by the contract.
    #[test]
    fn contributions_are_hashed_as_the_contract_does() {
        let result = keccak(b"tagazok");
        assert_eq!(
            result.to_string(),
            "0x797a680cd83bbc83f5ab2b4560d206a96e5a8e6b5025e54e3471d18996c2854a"
        );
        assert_eq!(
            result_hash(result).to_string(),
            "0xca27f1c6a82d0e2d5a2393071a6528b5f5bde9cefadcb36ba69c287581904a29"
        );
        let worker = Address([
            0x70, 0x99, 0x79, 0x70, 0xc5, 0x18, 0x12, 0xdc, 0x3a, 0x01, 0x0c, 0x7d, 0x01, 0xb5, 0x0e, 0x0d,
            0x17, 0xdc, 0x79, 0xc8,
        ]);
        assert_eq!(
            result_sign(result, worker).to_string(),
            "0x44547f522d60cd4d42e664adedfdeccd00bd2fb7f516409fa3b079a9cd25084a"
        );
    }

    #[test]
    fn texts_are_not_taken_for_others() {
        let hash = |a: &str, b: &str| Hasher::default().text(a).text(b).finish();
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
    }
}
