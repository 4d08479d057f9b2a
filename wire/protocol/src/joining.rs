//! How a worker becomes one of the pool and proves that it is: enrolment tokens, certificates, approval, wallets.
//!
//! A worker says who it is in one of three ways: with the password of all workers, with a certificate that the engine
//! gave it, or, the first time, with an enrolment token, for which it gets that certificate. The engine keeps the
//! SHA-256 of a token and never the token; a certificate's key never leaves its worker.

use core::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::DecodeError;
use crate::ids::TokenId;
use crate::limits::{CERTIFICATE_BYTES_MAX, NAME_BYTES_MAX};
use crate::units::{Instant, Millis};

/// SHA-256 of a token's text, or of a public key in DER form (SubjectPublicKeyInfo).
pub type Digest = [u8; 32];

/// Asks for a certificate: part of a `JOIN`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Enrol {
    /// The token's text, as `pool worker token create` printed it.
    pub token: String,
    /// A certificate request (PKCS #10, DER) under the key that the worker keeps.
    pub request: Vec<u8>,
}

impl Enrol {
    /// Checks the lengths.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn validate(&self) -> Result<(), DecodeError> {
        bound("enrol: token", self.token.len(), NAME_BYTES_MAX)?;
        bound("enrol: request", self.request.len(), CERTIFICATE_BYTES_MAX)
    }
}

/// Asks for a certificate that lasts longer, on a link of a worker that has one: `RENEW`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Renew {
    /// A certificate request (PKCS #10, DER) under the key of the certificate that it has.
    pub request: Vec<u8>,
}

impl Renew {
    /// Checks the length.
    ///
    /// # Errors
    /// It is too long.
    pub fn validate(&self) -> Result<(), DecodeError> {
        bound("renew: request", self.request.len(), CERTIFICATE_BYTES_MAX)
    }
}

/// What a worker shows from its next connection on: `CERTIFICATE`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Certified {
    /// The certificate, in DER form.
    pub certificate: Vec<u8>,
    /// When it begins.
    pub not_before: Instant,
    /// When it ends. A worker asks for another when a third of the time between is left.
    pub not_after: Instant,
}

/// An Ethereum address. Written as `0x` and 40 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Address(pub [u8; 20]);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is no address.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("`{0}` is no Ethereum address: 0x and 40 hexadecimal digits")]
pub struct NoAddress(pub String);

impl FromStr for Address {
    type Err = NoAddress;

    /// Reads `0x` and 40 hexadecimal digits of either case; a checksum in their case is not looked at.
    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let read = || {
            let digits = text.strip_prefix("0x")?.as_bytes();
            let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
            let mut address = [0; 20];
            if digits.len() != 2 * address.len() {
                return None;
            }
            for (byte, pair) in address.iter_mut().zip(digits.chunks_exact(2)) {
                *byte = digit(pair[0])? << 4 | digit(pair[1])?;
            }
            Some(Self(address))
        };
        read().ok_or_else(|| NoAddress(text.to_owned()))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Proves that whoever joins holds the key of a wallet: its signature over a text that names the worker and the TLS
/// session of this very connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WalletProof {
    /// Whose signature it is said to be.
    pub address: Address,
    /// The signature's `r`, big endian.
    pub r: [u8; 32],
    /// Its `s`, the lower of the two.
    pub s: [u8; 32],
    /// Which of the points with this `r` it is: 0 or 1.
    pub parity: u8,
}

/// Whether a worker may work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// By an operator, or because the engine approves whoever proves who it is.
    Approved,
    /// It is cordoned until an operator approves it.
    Waiting,
    /// It is refused until an operator approves it again.
    Revoked,
}

impl fmt::Display for Approval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Approved => "approved",
            Self::Waiting => "waiting",
            Self::Revoked => "revoked",
        })
    }
}

/// A token to be made. Whoever asks has drawn its text and says only the digest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewToken {
    /// SHA-256 of its text.
    pub digest: Digest,
    /// It is good for this long from now; at least a second.
    pub expires_in: Millis,
    /// Workers that it enrols, at least 1.
    pub uses: u32,
    /// What it is for, for people.
    pub label: String,
    /// Groups that its workers are in, beside those that they name themselves; at most
    /// [`TOKEN_GROUPS_MAX`](crate::limits::TOKEN_GROUPS_MAX).
    pub groups: Vec<String>,
}

/// What has become of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenState {
    /// It enrols workers.
    Open,
    /// All its uses are spent.
    Spent,
    /// Its time is over.
    Expired,
    /// An operator revoked it.
    Revoked,
}

impl fmt::Display for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Spent => "spent",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        })
    }
}

/// A token, as an operator sees it: without its text, which the engine does not have.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TokenView {
    /// Its number.
    pub token: TokenId,
    /// What has become of it.
    pub state: TokenState,
    /// Workers that it enrols.
    pub uses: u32,
    /// Workers that it has enrolled.
    pub used: u32,
    /// When it was made.
    pub created: Instant,
    /// Until when it is good.
    pub expires: Instant,
    /// What it is for.
    pub label: String,
    /// Groups that its workers are in.
    pub groups: Vec<String>,
}

/// The certificate of a worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CertificateView {
    /// Its number; none is given twice.
    pub serial: u64,
    /// When it ends.
    pub not_after: Instant,
}

fn bound(field: &'static str, len: usize, max: usize) -> Result<(), DecodeError> {
    if len > max {
        let value = len as u64;
        return Err(DecodeError::OutOfRange { field, value });
    }
    Ok(())
}
