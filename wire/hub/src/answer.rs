//! What somebody else says when asked.

use serde::{Deserialize, Serialize};

/// An answer that may be missing. Unknown never means absent: the predecessor took a node that was away for a worker
/// that had not contributed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Answer<T> {
    /// It is so.
    Known(T),
    /// There is no such thing, says the node.
    Absent,
    /// There was no answer, or none that makes sense.
    #[default]
    Unknown,
}

impl<T> Answer<T> {
    /// What is known.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent | Self::Unknown => None,
        }
    }
}
