//! What can go wrong with a file, told so that a person knows what to do next.

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use thiserror::Error;
use wire_link::ConfigError;
use wire_protocol::file::Digest;

/// Why a file cannot be had or given.
#[derive(Debug, Error)]
pub enum FilesError {
    /// Not the address of a store.
    #[error("`{0}` is no address of a file store: it is like https://pool.example.org")]
    Url(String),
    /// TLS cannot be set up.
    #[error("the connection to the file store cannot be set up")]
    Tls(#[source] Box<ConfigError>),
    /// Nobody says who asks.
    #[error("the file store cannot be asked: {0}")]
    Credentials(String),
    /// A host that this machine does not fetch from.
    #[error("{0}")]
    Host(String),
    /// The store cannot be reached, or the connection was cut.
    #[error("the file store does not answer: {0}")]
    Unreachable(String),
    /// The store says no.
    #[error("{problem} ({status})")]
    Refused {
        /// What a program does about it.
        status: StatusCode,
        /// What a person reads.
        problem: String,
    },
    /// The content is not what it should be.
    #[error("the content has the hash {found} and should have {expected}")]
    Differs {
        /// The hash that was asked for or announced.
        expected: Digest,
        /// The hash of what came.
        found: Digest,
    },
    /// It is longer than whoever asks takes.
    #[error("the file has {bytes} bytes; at most {max} are taken")]
    TooLong {
        /// Its bytes, as far as known.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The store says something that it should not.
    #[error("this is no answer of a file store: {0}")]
    Protocol(String),
    /// This machine's file.
    #[error("the file here cannot be used")]
    Io(#[from] std::io::Error),
}

/// RFC 9457, as much of it as a person reads.
#[derive(Deserialize)]
struct Problem {
    title: Option<String>,
    detail: Option<String>,
}

/// Bytes that are read of a body that says what is wrong.
const PROBLEM_BYTES_MAX: usize = 16 * 1024;

impl FilesError {
    pub(crate) fn from_http(error: reqwest::Error) -> Self {
        // The innermost cause is what tells a wrong certificate from a closed port.
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        Self::Unreachable(text)
    }

    /// What an answer that is no success says.
    pub(crate) async fn of(mut response: Response) -> Self {
        let status = response.status();
        let mut body = Vec::new();
        while let Ok(Some(chunk)) = response.chunk().await {
            body.extend_from_slice(&chunk);
            if body.len() > PROBLEM_BYTES_MAX {
                break;
            }
        }
        let told = serde_json::from_slice::<Problem>(&body)
            .ok()
            .and_then(|problem| problem.detail.or(problem.title));
        Self::Refused {
            status,
            problem: told.unwrap_or_else(|| "the file store says no".to_owned()),
        }
    }
}
