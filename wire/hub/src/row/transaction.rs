//! The row of a transaction.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cut;
use crate::{Address, BlockRef, Call, Gas, Hash, Nonce, Timestamp, Wei};

/// Bytes of a text that a row has.
const TEXT_BYTES_MAX: usize = 512;
/// Attempts at one nonce that a row has: the last ones.
const ATTEMPTS_MAX: usize = 32;
/// Workers of a call that a row has.
const WORKERS_MAX: usize = crate::ALLOWED_AT_ONCE_MAX;

/// A transaction of the pool's wallet, by its nonce.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransactionRow {
    /// Its nonce.
    pub nonce: Nonce,
    /// What it is for, its texts cut; `None`: it only takes the nonce.
    pub call: Option<Call>,
    /// The order that it is about, as [`Identity::key`](crate::Identity::key).
    pub about: Option<Hash>,
    /// How far it is.
    pub state: TransactionState,
    /// Nothing of it changes any more.
    pub is_final: bool,
    /// All that was signed with this nonce, of which one can be mined; the newest last.
    pub attempts: Vec<AttemptRow>,
    /// Where it was mined.
    pub mined: Option<MinedRow>,
    /// Why it failed, or was given up, for people.
    pub why: Option<String>,
    /// The time of the last block when this was written.
    pub at: Timestamp,
}

/// How far a transaction is.
///
/// ```text
///   Signing ─► Sent ─► Mined | Failed | Nothing        and back, where that block is orphaned
///                 └──► Displaced                        then what it was for gets another nonce, if it is still wanted
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum TransactionState {
    /// It was not sent yet.
    Signing,
    /// A node was given it.
    Sent,
    /// It took effect.
    Mined,
    /// It was mined in vain.
    Failed,
    /// A transaction that does nothing has taken its nonce.
    Nothing,
    /// Somebody else's transaction has its nonce.
    Displaced,
}

/// Something that was signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Its hash.
    pub hash: Hash,
    /// What it offers at most for a unit of gas.
    pub price_max: Wei,
    /// It does nothing but take the nonce.
    pub is_nothing: bool,
}

/// What a block has of a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MinedRow {
    /// Which attempt.
    pub hash: Hash,
    /// The block.
    pub block: BlockRef,
    /// Its time, where it was followed; else that of one near it.
    pub at: Timestamp,
    /// Gas that it took.
    pub gas: Gas,
    /// What a unit has cost.
    pub price: Wei,
}

impl TransactionState {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Signing,
        Self::Sent,
        Self::Mined,
        Self::Failed,
        Self::Nothing,
        Self::Displaced,
    ];

    /// Its name for tables and JSON: never changed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Signing => "signing",
            Self::Sent => "sent",
            Self::Mined => "mined",
            Self::Failed => "failed",
            Self::Nothing => "nothing",
            Self::Displaced => "displaced",
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Signing => "being signed",
            Self::Sent => "sent",
            Self::Mined => "mined",
            Self::Failed => "mined in vain",
            Self::Nothing => "replaced by one that does nothing",
            Self::Displaced => "its nonce was taken by somebody else",
        })
    }
}

impl TransactionRow {
    /// A transaction that is being signed.
    #[must_use]
    pub const fn new(nonce: Nonce, call: Option<Call>, about: Option<Hash>) -> Self {
        Self {
            nonce,
            call,
            about,
            state: TransactionState::Signing,
            is_final: false,
            attempts: Vec::new(),
            mined: None,
            why: None,
            at: Timestamp(0),
        }
    }

    /// The attempt that was mined, else the one that was signed last.
    #[must_use]
    pub fn hash(&self) -> Option<Hash> {
        let last = self.attempts.last().map(|attempt| attempt.hash);
        self.mined.map(|mined| mined.hash).or(last)
    }

    /// The order's address, if it is about one.
    #[must_use]
    pub fn woid(&self) -> Option<Address> {
        self.call.as_ref().and_then(Call::woid)
    }

    pub(super) fn bounded(&self) -> Self {
        let mut row = self.clone();
        row.why = row.why.map(|why| cut(&why, TEXT_BYTES_MAX));
        let surplus = row.attempts.len().saturating_sub(ATTEMPTS_MAX);
        row.attempts.drain(..surplus);
        match &mut row.call {
            Some(
                Call::FinalizeWork {
                    stdout, stderr, uri, ..
                }
                | Call::WorkOrderCallback {
                    stdout, stderr, uri, ..
                },
            ) => {
                for text in [stdout, stderr, uri] {
                    *text = cut(text, TEXT_BYTES_MAX);
                }
            }
            Some(Call::CreateWorkerPool { description, .. }) => {
                *description = cut(description, TEXT_BYTES_MAX)
            }
            Some(Call::BuyForWorkOrder { params, .. }) => *params = cut(params, TEXT_BYTES_MAX),
            Some(Call::AllowWorkersToContribute { workers, .. }) => workers.truncate(WORKERS_MAX),
            _ => {}
        }
        row
    }
}
