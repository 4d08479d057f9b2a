//! What came of works: how each ended, and what the requester gets of it.

use serde::{Deserialize, Serialize};

use crate::Hash;

/// How the work that a worker did for an order has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Outcome {
    /// There is a result; its digest, if the engine was told of one.
    Done(Option<Hash>),
    /// There is none, and this worker will not contribute.
    Failed,
}

impl Outcome {
    /// Its name for tables and JSON: never changed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed => "failed",
        }
    }

    /// The digest of its result, if there is one.
    #[must_use]
    pub const fn digest(self) -> Option<Hash> {
        match self {
            Self::Done(digest) => digest,
            Self::Failed => None,
        }
    }
}

/// What a finalized order gives its requester. The contract stores it and says it in an event: 310 bytes cost 270000 gas.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Texts {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Where the result is.
    pub uri: String,
}

impl Texts {
    /// Characters of a text on chain, as the predecessor cut it.
    const CHARS_MAX: usize = 250;

    /// What of it goes on chain: the place of the result, and the output only if a contract waits for it.
    #[must_use]
    pub fn on_chain(&self, has_callback: bool) -> Self {
        let cut = |text: &str| text.chars().take(Self::CHARS_MAX).collect::<String>();
        Self {
            stdout: if has_callback {
                cut(&self.stdout)
            } else {
                String::new()
            },
            stderr: String::new(),
            uri: cut(&self.uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_goes_on_chain_only_for_a_contract_that_waits_for_it_and_is_cut() {
        let texts = Texts {
            stdout: "ä".repeat(300),
            stderr: "warning".into(),
            uri: "xw://pool/1".into(),
        };
        let quiet = texts.on_chain(false);
        assert_eq!(
            (quiet.stdout.as_str(), quiet.stderr.as_str(), quiet.uri.as_str()),
            ("", "", "xw://pool/1")
        );
        assert_eq!(texts.on_chain(true).stdout, "ä".repeat(250));
    }
}
