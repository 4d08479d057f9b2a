//! Why something of the chain is not known.

use std::fmt;

use thiserror::Error;

use crate::rpc::RpcError;

/// What a node or a contract said and cannot be right. It names what and where.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{place}{what}: {problem}")]
pub struct BadData {
    /// Where, with a colon, or nothing.
    place: String,
    /// Which value.
    what: &'static str,
    /// What is wrong with it.
    problem: String,
}

impl BadData {
    pub(crate) fn new(what: &'static str, problem: impl Into<String>) -> Self {
        Self {
            place: String::new(),
            what,
            problem: problem.into(),
        }
    }

    /// The same, said more exactly.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = format!("{place}: {}", self.place);
        self
    }
}

/// Why an answer is not known. It says nothing of the chain: whoever asked asks again, or somebody else.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum Why {
    /// The block is not, or no longer, of the chain that the node knows: after a reorganisation, or before the node has
    /// it; or the node has the block and not its state any more. Whoever follows the chain compares its blocks.
    #[error("the node does not know the block: {0}")]
    Gone(String),
    /// More logs, or blocks, than the node gives at once; fewer may do.
    #[error("the node does not give so much at once: {0}")]
    TooMuch(String),
    /// The contract refuses the question.
    #[error("the contract reverted: {0}")]
    Reverted(String),
    /// The node is behind a block that was already seen.
    #[error("no node has block {wanted}, which was already seen; the best has {best:?}")]
    Behind {
        /// The block that is known to be there.
        wanted: u64,
        /// The highest head among those that answer.
        best: Option<u64>,
    },
    /// Nodes say different things and none is believed.
    #[error("the nodes disagree: {0}")]
    Disagreement(String),
    /// The node, or the way to it, failed.
    #[error(transparent)]
    Rpc(RpcError),
    /// The node answered what cannot be right.
    #[error(transparent)]
    BadData(#[from] BadData),
}

impl From<RpcError> for Why {
    fn from(error: RpcError) -> Self {
        use crate::rpc::NodeErrorKind as Kind;
        if let RpcError::TooLong { .. } = error {
            return Self::TooMuch(error.to_string());
        }
        match error.node().map(|node| node.kind) {
            Some(Kind::UnknownBlock) => Self::Gone(error.to_string()),
            Some(Kind::TooMuch) => Self::TooMuch(error.to_string()),
            Some(Kind::Reverted) => Self::Reverted(error.to_string()),
            _ => Self::Rpc(error),
        }
    }
}
