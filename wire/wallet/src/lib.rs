//! Wallets of Ethereum: the files that keep their keys ([`keystore`]), what they sign, and that whoever joins holds one,
//! said on one connection and good on no other.
//!
//! The worker signs a text that names itself and the TLS session of this very connection; the engine makes the same text
//! from what it sees and recovers who has signed it. What was signed for another connection, by a server in between
//! say, is a signature of another text, which recovers to another address than the one that is claimed.
//!
//! ```text
//!   worker: text(uid, exporter of its end) ── EIP-191 ──► sign ──► JOIN wallet
//!   engine: text(uid, exporter of its end) ── EIP-191 ──► recover == wallet.address
//! ```
//!
//! Deliberately absent: transactions, any chain.

pub mod keystore;

use k256::ecdsa::{self, RecoveryId, SigningKey, VerifyingKey};
use sha3::{Digest, Keccak256};
use thiserror::Error;
use wire_protocol::joining::{Address, WalletProof};

/// Label of the keying material that names a connection (RFC 8446, section 7.5), without a context.
pub const LABEL: &[u8] = b"EXPORTER-workerpool-wallet";

/// A wallet's private key. Printed nowhere, and overwritten in memory when it is dropped.
pub struct Wallet(SigningKey);

impl std::fmt::Debug for Wallet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Wallet").field(&self.address()).finish()
    }
}

/// A signature of a hash, from which everybody recovers who has made it: of the two that there are, the one with the lower
/// `s`, as the chain wants it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Its first number, big-endian.
    pub r: [u8; 32],
    /// Its second.
    pub s: [u8; 32],
    /// 0 or 1: which of the two points with this `r`.
    pub parity: u8,
}

/// Why a wallet, or a proof of one, is not good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum WalletError {
    /// The bytes are no private key.
    #[error("this is no private key of a wallet")]
    NoKey,
    /// The proof is of another connection, another worker or another wallet.
    #[error("the wallet's signature is not of this connection and this worker")]
    Foreign,
}

impl Wallet {
    /// The wallet of this private key.
    ///
    /// # Errors
    /// [`WalletError::NoKey`]: zero, or beyond the order of the curve.
    pub fn of(key: &[u8; 32]) -> Result<Self, WalletError> {
        SigningKey::from_slice(key)
            .map(Self)
            .map_err(|_| WalletError::NoKey)
    }

    /// Its address.
    #[must_use]
    pub fn address(&self) -> Address {
        address_of(self.0.verifying_key())
    }

    /// Proves that this worker holds it, on the connection with this keying material.
    #[must_use]
    pub fn prove(&self, uid: &str, channel: &[u8; 32]) -> WalletProof {
        let Signature { r, s, parity } = self.sign_hash(&personal_hash(&text(uid, channel)));
        WalletProof {
            address: self.address(),
            r,
            s,
            parity,
        }
    }

    /// Signs a hash, of a transaction say. The same hash gives the same signature (RFC 6979). Costs about 100 µs.
    #[must_use]
    pub fn sign_hash(&self, hash: &[u8; 32]) -> Signature {
        let (signature, recovery) = self.0.sign_prehash_recoverable(hash);
        let (r, s) = signature.split_bytes();
        Signature {
            r: r.into(),
            s: s.into(),
            parity: recovery.to_byte(),
        }
    }
}

/// Whether the proof is of this worker on the connection with this keying material. Costs about 100 µs.
///
/// # Errors
/// [`WalletError::Foreign`], also for what is no signature at all.
pub fn verify(proof: &WalletProof, uid: &str, channel: &[u8; 32]) -> Result<(), WalletError> {
    let hash = personal_hash(&text(uid, channel));
    let signed_by = || {
        let signature = ecdsa::Signature::from_scalars(proof.r, proof.s).ok()?;
        // Of the two signatures that everybody can make of one, only the lower counts, as on the chain.
        if signature.normalize_s() != signature || proof.parity > 1 {
            return None;
        }
        let recovery = RecoveryId::from_byte(proof.parity)?;
        VerifyingKey::recover_from_prehash(&hash, &signature, recovery).ok()
    };
    match signed_by() {
        Some(key) if address_of(&key) == proof.address => Ok(()),
        _ => Err(WalletError::Foreign),
    }
}

/// What is signed. The last line is always the connection, whatever a uid contains.
fn text(uid: &str, channel: &[u8; 32]) -> String {
    let digits: String = channel.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("workerpool: this wallet works here\nworker: {uid}\nconnection: {digits}")
}

/// Hash of an Ethereum personal message: <https://eips.ethereum.org/EIPS/eip-191>, version 0x45.
fn personal_hash(text: &str) -> [u8; 32] {
    let mut hasher = Keccak256::new();
    hasher.update(b"\x19Ethereum Signed Message:\n");
    hasher.update(text.len().to_string());
    hasher.update(text);
    hasher.finalize().into()
}

/// The last 20 bytes of the hash of the public key's coordinates.
fn address_of(key: &VerifyingKey) -> Address {
    let point = key.to_sec1_point(false);
    let hash = Keccak256::digest(&point.as_bytes()[1..]);
    Address(hash[12..].try_into().expect("20 of 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet(last: u8) -> Wallet {
        let mut key = [0; 32];
        key[31] = last;
        Wallet::of(&key).expect("a key")
    }

    /// The well-known address of private key 1.
    #[test]
    fn addresses_are_those_of_ethereum() {
        let address = wallet(1).address().to_string();
        assert_eq!(address, "0x7e5f4552091a69125d5dfcb7b8c2659029395bdf");
    }

    /// From the tests of ethers-rs: <https://web3js.readthedocs.io/en/v1.2.0/web3-eth-accounts.html#sign>.
    #[test]
    fn personal_messages_are_hashed_as_wallets_do() {
        let hash = personal_hash("Some data");
        let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            digits,
            "1da44b586eb0729ff70a73c326926f6ed5a25f5b056e7f47fbc6e58d86871655"
        );
    }

    #[test]
    fn a_proof_is_good_for_its_worker_connection_and_wallet_alone() {
        let (uid, channel) = ("ant", [7; 32]);
        let proof = wallet(5).prove(uid, &channel);
        assert_eq!(proof.address, wallet(5).address());
        assert_eq!(verify(&proof, uid, &channel), Ok(()));
        assert_eq!(verify(&proof, uid, &[8; 32]), Err(WalletError::Foreign));
        assert_eq!(verify(&proof, "bee", &channel), Err(WalletError::Foreign));
        let address = wallet(6).address();
        let claimed = WalletProof { address, ..proof };
        assert_eq!(verify(&claimed, uid, &channel), Err(WalletError::Foreign));
    }

    #[test]
    fn what_is_no_signature_is_foreign() {
        let (uid, channel) = ("ant", [7; 32]);
        let proof = wallet(5).prove(uid, &channel);
        for wrong in [
            WalletProof {
                parity: proof.parity ^ 1,
                ..proof
            },
            WalletProof { parity: 2, ..proof },
            WalletProof { parity: 255, ..proof },
            WalletProof { r: [0; 32], ..proof },
            WalletProof {
                s: [0xff; 32],
                ..proof
            },
        ] {
            assert_eq!(
                verify(&wrong, uid, &channel),
                Err(WalletError::Foreign),
                "{wrong:?}"
            );
        }
        assert_eq!(Wallet::of(&[0; 32]).err(), Some(WalletError::NoKey));
        assert_eq!(Wallet::of(&[0xff; 32]).err(), Some(WalletError::NoKey));
    }
}
