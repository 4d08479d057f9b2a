//! What a worker contributes: its result, hidden until it is revealed.
//!
//! ```text
//!   result      32 bytes: digest of what the work gave
//!   resultHash  keccak256(result)                            the same for all who have the same result
//!   resultSign  keccak256(result XOR keccak256(worker))      of this worker alone: nobody can copy it from another
//! ```
//!
//! `WorkerPool.sol`, `reveal`, compares both with the result that is shown. Neither names the order: the contracts of this
//! version do not ask for more.

use crate::{Address, Call, Hash, keccak};

/// A result as a worker commits itself to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Commitment {
    /// `resultHash`.
    pub hash: Hash,
    /// `resultSign`.
    pub sign: Hash,
}

impl Commitment {
    /// Of this result by this worker. The contract refuses a zero hash or sign, which nobody can find a result for.
    #[must_use]
    pub fn of(result: Hash, worker: Address) -> Self {
        let mut mixed = keccak(&worker.0).0;
        mixed
            .iter_mut()
            .zip(result.0)
            .for_each(|(byte, of_result)| *byte ^= of_result);
        Self {
            hash: result_hash(result),
            sign: keccak(&mixed),
        }
    }

    /// What the worker sends.
    #[must_use]
    pub const fn call(self, woid: Address) -> Call {
        Call::Contribute {
            woid,
            result_hash: self.hash,
            result_sign: self.sign,
        }
    }
}

/// What all who have this result contribute.
#[must_use]
pub fn result_hash(result: Hash) -> Hash {
    keccak(&result.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(digits: &str) -> [u8; N] {
        let bytes = data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes());
        bytes.expect("digits").try_into().expect("so many")
    }

    /// `iexec-poco-1.1.17:test/000_0_testsha.js:90`; the contract took them.
    #[test]
    fn commitments_are_those_that_the_contract_takes() {
        let result = keccak(b"tagazok");
        let shown = bytes("797a680cd83bbc83f5ab2b4560d206a96e5a8e6b5025e54e3471d18996c2854a");
        assert_eq!(result, Hash(shown));
        let hash = Hash(bytes(
            "ca27f1c6a82d0e2d5a2393071a6528b5f5bde9cefadcb36ba69c287581904a29",
        ));
        for (worker, sign) in [
            (
                "70997970C51812dc3A010C7d01b50e0d17dc79C8",
                "44547f522d60cd4d42e664adedfdeccd00bd2fb7f516409fa3b079a9cd25084a",
            ),
            (
                "15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
                "3166ef13d3d892872bb2f22631868eff2efffb18199eaa02dc5758c5b4ee219c",
            ),
        ] {
            let commitment = Commitment::of(result, Address(bytes(worker)));
            let sign = Hash(bytes(sign));
            assert_eq!(commitment, Commitment { hash, sign }, "{worker}");
        }
    }
}
