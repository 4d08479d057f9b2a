//! Why there is no chain, or it does not do what it was asked for.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;
use wire_chain::{Sent, Why};
use wire_hub::Hash;

/// Why.
#[derive(Debug, Error)]
pub enum DevnetError {
    /// npm is not there, or has no network.
    #[error(
        "{package} of npm is needed and cannot be had: {problem}. `./dev test` installs npm and gets it; without a network, \
         set {} to a folder that has it",
        crate::FOLDER_VARIABLE
    )]
    Package {
        /// Its name and version.
        package: String,
        /// What happened.
        problem: String,
    },
    /// What was fetched is something else, or damaged.
    #[error("{package} of npm has the hash {found}, and {expected} is known: do not use it, and look why")]
    Hash {
        /// Its name and version.
        package: String,
        /// What it should have.
        expected: &'static str,
        /// What it has.
        found: String,
    },
    /// There is no anvil for this kind of machine.
    #[error(
        "anvil comes for Linux on x86_64 and aarch64, and this is {system}: put one into the folder that {} names",
        crate::FOLDER_VARIABLE
    )]
    Platform {
        /// What it is.
        system: String,
    },
    /// A file cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// An artifact does not have what it should.
    #[error("{path} is no artifact of a contract: {problem}")]
    Artifact {
        /// Which.
        path: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// The process ended, or does not say where it listens.
    #[error("anvil does not start: {0}")]
    Anvil(String),
    /// HTTP cannot be set up.
    #[error("this machine cannot speak HTTP: {0}")]
    Http(String),
    /// The chain does not answer.
    #[error("the chain does not answer")]
    Chain(#[from] Why),
    /// It does not take a transaction.
    #[error("the chain does not take the transaction: {0:?}")]
    NotTaken(Sent),
    /// No block has it in time.
    #[error("transaction {transaction} is in no block after {within:?}")]
    NotMined {
        /// Which.
        transaction: Hash,
        /// How long it was waited for.
        within: Duration,
    },
    /// The contract did not do it.
    #[error("{what} failed in transaction {transaction}")]
    Failed {
        /// What was to be done.
        what: String,
        /// The transaction.
        transaction: Hash,
    },
    /// It was done, and left no trace where one was to be.
    #[error("{0} left no trace")]
    NoTrace(&'static str),
}

impl DevnetError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
