//! What goes wrong on the way to a node and in it.
//!
//! JSON-RPC has few codes and nodes use them as they like; what they mean stands in their texts, which are in `texts.rs`.

use std::time::Duration;

use thiserror::Error;

use super::texts::TEXTS;

/// Why a request has no result.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RpcError {
    /// No connection, or it was cut.
    #[error("{endpoint} cannot be reached: {problem}")]
    Unreachable {
        /// Which node, without credentials.
        endpoint: String,
        /// What happened.
        problem: String,
    },
    /// No answer within the deadline of a request.
    #[error("{endpoint} has not answered within {within:?}")]
    TimedOut {
        /// Which node.
        endpoint: String,
        /// The deadline.
        within: Duration,
    },
    /// It is asked too often.
    #[error("{endpoint} wants to be asked less often")]
    RateLimited {
        /// Which node.
        endpoint: String,
        /// When to come back, if it says so.
        retry_after: Option<Duration>,
    },
    /// The answer is longer than is read.
    #[error("{endpoint} answers with more than {bytes_max} bytes")]
    TooLong {
        /// Which node.
        endpoint: String,
        /// The bound.
        bytes_max: usize,
    },
    /// HTTP says no.
    #[error("{endpoint} answers with HTTP status {status}")]
    Http {
        /// Which node.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// This is no JSON-RPC, or a request of a batch is left out of the answer.
    #[error("{endpoint} answers with what is no JSON-RPC: {problem}")]
    Malformed {
        /// Which node.
        endpoint: String,
        /// What is wrong.
        problem: String,
    },
    /// The node says why not.
    #[error(transparent)]
    Node(NodeError),
}

/// What a node says when it does not do what it was asked for.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{endpoint} says: {message} ({code})")]
pub struct NodeError {
    /// Which node.
    pub endpoint: String,
    /// What that means.
    pub kind: NodeErrorKind,
    /// Its code.
    pub code: i64,
    /// Its text, as it is, up to [`MESSAGE_CHARS_MAX`] characters.
    pub message: String,
}

/// What a node's error means, as far as it matters what is done about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NodeErrorKind {
    /// More logs or blocks than it gives at once, or it takes too long to find them.
    TooMuch,
    /// It does not know this block, or has no state of it.
    UnknownBlock,
    /// A transaction with this nonce is in a block.
    NonceTooLow,
    /// It has this very transaction.
    AlreadyKnown,
    /// It has another one with this nonce, and this one does not pay enough more.
    ReplacementUnderpriced,
    /// This does not pay enough to be taken at all.
    FeeTooLow,
    /// The wallet cannot pay for it.
    InsufficientFunds,
    /// It has no room for more transactions, of this wallet or at all.
    PoolFull,
    /// It is asked too often.
    RateLimited,
    /// The contract did not do it.
    Reverted,
    /// It does not know the method, or does not offer it.
    UnknownMethod,
    /// It does not understand the arguments.
    InvalidArguments,
    /// Something else: its text is all there is.
    Other,
}

/// Characters of a node's text that are kept.
pub const MESSAGE_CHARS_MAX: usize = 500;

impl NodeErrorKind {
    /// What this code and text mean.
    #[must_use]
    pub fn of(code: i64, message: &str) -> Self {
        let text = message.to_lowercase();
        let found = TEXTS
            .iter()
            .find(|(_, texts)| texts.iter().any(|known| text.contains(known)));
        match (found, code) {
            (Some((kind, _)), _) => *kind,
            // <https://eips.ethereum.org/EIPS/eip-1474#error-codes>, and 3 as geth has it.
            (None, 3) => Self::Reverted,
            (None, -32601 | -32004) => Self::UnknownMethod,
            (None, -32602) => Self::InvalidArguments,
            (None, -32001) => Self::UnknownBlock,
            (None, 429 | -32005) => Self::RateLimited,
            (None, _) => Self::Other,
        }
    }
}

impl RpcError {
    /// What the node says, if it is the node.
    #[must_use]
    pub const fn node(&self) -> Option<&NodeError> {
        match self {
            Self::Node(node) => Some(node),
            _ => None,
        }
    }

    /// Another try, later, may have an answer: it says nothing of the request.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::RateLimited { .. } => true,
            Self::Malformed { .. } => true,
            Self::Http { status, .. } => *status >= 500,
            Self::TooLong { .. } => false,
            Self::Node(node) => node.kind == NodeErrorKind::RateLimited,
        }
    }

    /// A smaller batch may be taken.
    pub(crate) fn refuses_the_batch(&self) -> bool {
        match self {
            Self::TooLong { .. } => true,
            Self::Http { status, .. } => matches!(status, 400 | 413 | 414 | 422),
            Self::Node(node) => node.kind != NodeErrorKind::RateLimited,
            _ => false,
        }
    }

    /// When the node wants to be asked again.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
