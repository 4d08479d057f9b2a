//! What can go wrong between a client and its engine, one variant per reaction.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use wire_link::{ConfigError, ConnectError};
use wire_protocol::template::Invalid;
use wire_protocol::units::Millis;

/// Why a request has no answer that its caller can use. Cheap to clone, because all who wait on a lost link
/// are told the same.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The trust that was configured cannot be used. Correct the setting.
    #[error("the link cannot be set up")]
    Config(#[source] Arc<ConfigError>),
    /// The machine at the address says that nobody listens on the port. Start an engine, or correct the
    /// address.
    #[error("no engine answers at {addr}: nobody listens on that port")]
    NobodyListens {
        /// The address.
        addr: SocketAddr,
    },
    /// There is no link. The source says whether waiting helps.
    #[error("cannot connect to the engine at {addr}")]
    Connect {
        /// The address.
        addr: SocketAddr,
        /// What the link says.
        #[source]
        source: Arc<ConnectError>,
    },
    /// Login or password are wrong. Do not repeat it unchanged.
    #[error("the engine at {addr} refuses the login `{login}`: {reason}")]
    Credentials {
        /// The engine.
        addr: SocketAddr,
        /// The login that was tried.
        login: String,
        /// The engine's reason.
        reason: String,
    },
    /// The engine refuses this client for another reason than its credentials.
    #[error("the engine at {addr} refuses this client: {reason}")]
    Refused {
        /// The engine.
        addr: SocketAddr,
        /// The engine's reason.
        reason: String,
        /// Waiting and trying again helps.
        transient: bool,
    },
    /// The link was lost and did not come back in time. Try again later; submissions with the same key.
    #[error("the engine at {addr} was away for more than {:.1} s", .after.as_secs_f64())]
    Away {
        /// The engine.
        addr: SocketAddr,
        /// How long was waited.
        after: Duration,
        /// Why the last attempt to connect failed.
        #[source]
        last: Option<Arc<ClientError>>,
    },
    /// The link is there, but no answer came in time.
    #[error("no answer to `{what}` within {:.1} s", .after.as_secs_f64())]
    Timeout {
        /// What was asked.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// The engine takes no such request now, and did not for the whole timeout.
    #[error("the engine is busy: its limit on {limit} is reached, try again in {retry_after}")]
    Busy {
        /// Which limit.
        limit: String,
        /// The engine's advice.
        retry_after: Millis,
    },
    /// A field of the request is wrong; repeating it does not help.
    #[error("{0}")]
    Rejected(Invalid),
    /// What the request names does not exist, or is no longer remembered.
    #[error("{what} does not exist, or is no longer remembered")]
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The request does not fit the state of what it names.
    #[error("{0}")]
    Conflict(Invalid),
    /// The caller announced another number of rows than it gave.
    #[error("{announced} rows were announced, but {given} were given")]
    RowsMismatch {
        /// Rows that the engine was told to expect.
        announced: u32,
        /// Rows that there were; when there were too many, one more than announced.
        given: u32,
    },
    /// The submission whose outcomes are followed has ended without being accepted.
    #[error("the submission was given up before the engine accepted it")]
    SubmissionEnded,
    /// The stream was finished, and a work was to be submitted to it afterwards.
    #[error("the stream is finished and takes no more works")]
    StreamFinished,
    /// The engine said something that makes no sense. One of the two programs is wrong.
    #[error("the engine at {addr} broke the protocol: {problem}")]
    Protocol {
        /// The engine.
        addr: SocketAddr,
        /// What it did.
        problem: String,
    },
}

impl ClientError {
    /// Trying the same again later can succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::NobodyListens { .. } | Self::Away { .. } | Self::Timeout { .. } | Self::Busy { .. } => true,
            Self::Refused { transient, .. } => *transient,
            Self::Connect { source, .. } => matches!(
                **source,
                ConnectError::Silent { .. }
                    | ConnectError::Busy { .. }
                    | ConnectError::Closed { .. }
                    | ConnectError::Socket(_)
                    | ConnectError::Quic { .. }
            ),
            _ => false,
        }
    }
}
