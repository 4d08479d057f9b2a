//! What can go wrong at the client's end, told so that a person knows what to do next.

use super::{ClientConfig, Trust};
use crate::certs::CertsError;
use quinn::{ConnectionError, ReadError, TransportErrorCode, WriteError};
use rustls::AlertDescription;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;
use wire_protocol::frame::FrameError;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The CA file cannot be read.
    #[error("the CA file cannot be used")]
    Ca(#[source] CertsError),
    /// A certificate in the CA file is no CA.
    #[error("{path} holds a certificate that cannot be trusted as a CA: give the pool's ca.pem")]
    NoCa {
        /// The file.
        path: PathBuf,
        /// What TLS says.
        source: rustls::Error,
    },
    /// TLS does not take the configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// `mtu_max` is outside what QUIC allows.
    #[error("mtu_max is {0}; it must be from 1200 to 65527")]
    Mtu(u16),
}

/// Why there is no link.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// This machine gives no UDP socket.
    #[error("cannot open a UDP socket")]
    Socket(#[source] io::Error),
    /// The address or the name cannot be connected to.
    #[error(
        "cannot connect to {addr} as {server_name:?}: the address needs a port, the name must be a DNS name or an IP address"
    )]
    Target {
        /// The address.
        addr: SocketAddr,
        /// The name.
        server_name: String,
        /// What QUIC says.
        source: quinn::ConnectError,
    },
    /// Nothing came back.
    #[error(
        "no answer from {addr}: is the engine running, and does the network let UDP through to that port?"
    )]
    Silent {
        /// The address.
        addr: SocketAddr,
    },
    /// The server has no room now.
    #[error("{addr} has no room for another connection now: try again in a moment")]
    Busy {
        /// The address.
        addr: SocketAddr,
    },
    /// No protocol in common.
    #[error(
        "{addr} speaks another protocol version than {alpn:?}: upgrade the older of the two, or check the port"
    )]
    Protocol {
        /// The address.
        addr: SocketAddr,
        /// What this end speaks.
        alpn: String,
    },
    /// The certificate is not under the CA that is trusted.
    #[error("the certificate of {addr} is not signed by {ca}: give the pool's ca.pem with --ca")]
    UnknownCa {
        /// The address.
        addr: SocketAddr,
        /// The CA file.
        ca: PathBuf,
    },
    /// The certificate is not the pinned one.
    #[error(
        "the certificate of {addr} is not the pinned one: ask the pool's operator for the fingerprint that the engine prints at start"
    )]
    OtherFingerprint {
        /// The address.
        addr: SocketAddr,
    },
    /// The certificate is wrong in another way: another name, expired, not yet valid.
    #[error("the certificate of {addr} cannot be accepted for {server_name:?}: {reason}")]
    Certificate {
        /// The address.
        addr: SocketAddr,
        /// The name that was asked for.
        server_name: String,
        /// What TLS says.
        reason: String,
    },
    /// The server does not take the certificate that this end shows.
    #[error("{addr} does not accept the certificate of this end: was it given by another pool?")]
    OwnCertificate {
        /// The address.
        addr: SocketAddr,
    },
    /// The server closed the link at once.
    #[error("{addr} closed the connection: {reason} (code {code})")]
    Closed {
        /// The address.
        addr: SocketAddr,
        /// The server's code.
        code: u64,
        /// The server's reason.
        reason: String,
    },
    /// Anything else.
    #[error("the connection to {addr} failed")]
    Quic {
        /// The address.
        addr: SocketAddr,
        /// What QUIC says.
        source: ConnectionError,
    },
}

impl ConnectError {
    pub(super) fn from_quic(
        error: ConnectionError,
        addr: SocketAddr,
        name: &str,
        config: &ClientConfig,
    ) -> Self {
        let (from_peer, code, reason) = match &error {
            ConnectionError::TimedOut => return Self::Silent { addr },
            ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                return Self::Closed {
                    addr,
                    code: close.error_code.into_inner(),
                    reason,
                };
            }
            ConnectionError::ConnectionClosed(close) => (true, close.error_code, String::new()),
            ConnectionError::TransportError(error) => (false, error.code, error.reason.clone()),
            _ => return Self::Quic { addr, source: error },
        };
        if from_peer && code == TransportErrorCode::CONNECTION_REFUSED {
            return Self::Busy { addr };
        }
        let is = |alert: AlertDescription| code == TransportErrorCode::crypto(alert.into());
        if is(AlertDescription::NoApplicationProtocol) {
            return Self::Protocol {
                addr,
                alpn: String::from_utf8_lossy(&config.alpn).into_owned(),
            };
        }
        if from_peer && CERTIFICATE_ALERTS.into_iter().any(is) {
            return Self::OwnCertificate { addr };
        }
        if from_peer {
            return Self::Quic { addr, source: error };
        }
        match &config.trust {
            // A CA of the same name with another key, as after making a new one, is a wrong signature.
            Trust::Ca(ca) if is(AlertDescription::UnknownCA) || is(AlertDescription::DecryptError) => {
                Self::UnknownCa { addr, ca: ca.clone() }
            }
            Trust::Fingerprint(_) if is(AlertDescription::AccessDenied) => Self::OtherFingerprint { addr },
            _ if CERTIFICATE_ALERTS.into_iter().any(is) => Self::Certificate {
                addr,
                server_name: name.to_owned(),
                reason,
            },
            _ => Self::Quic { addr, source: error },
        }
    }
}

/// Alerts by which TLS turns a certificate down.
const CERTIFICATE_ALERTS: [AlertDescription; 7] = [
    AlertDescription::BadCertificate,
    AlertDescription::UnsupportedCertificate,
    AlertDescription::CertificateRevoked,
    AlertDescription::CertificateExpired,
    AlertDescription::CertificateUnknown,
    AlertDescription::DecryptError,
    AlertDescription::UnknownCA,
];

/// Why a link is no more.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum LinkError {
    /// The server closed it, and says why.
    #[error("closed by the server: {reason} (code {code})")]
    Closed {
        /// The server's code; below `code::OWNER_FIRST` one of [`code`](crate::code).
        code: u64,
        /// The server's reason.
        reason: String,
    },
    /// Nothing was heard for the idle timeout.
    #[error("nothing was heard from the server for the idle timeout: connect again")]
    Silent,
    /// The server does not take the certificate that this end shows. A handshake is over for this end before the server
    /// has looked at it.
    #[error("the server does not accept the certificate of this end: was it given by another pool?")]
    OwnCertificate,
    /// The server does not know the link: it has restarted.
    #[error("the server has restarted: connect again")]
    Restarted,
    /// The server sent something that is no frame.
    #[error("the server sent something that is no frame")]
    Frame(#[from] FrameError),
    /// This end has closed the link, or its stream.
    #[error("closed by this end")]
    Done,
    /// Anything else.
    #[error("the connection failed")]
    Quic(#[source] ConnectionError),
}

impl From<ConnectionError> for LinkError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Closed {
                code: close.error_code.into_inner(),
                reason: String::from_utf8_lossy(&close.reason).into_owned(),
            },
            ConnectionError::ConnectionClosed(close)
                if CERTIFICATE_ALERTS
                    .into_iter()
                    .any(|alert| close.error_code == TransportErrorCode::crypto(alert.into())) =>
            {
                Self::OwnCertificate
            }
            ConnectionError::TimedOut => Self::Silent,
            ConnectionError::Reset => Self::Restarted,
            ConnectionError::LocallyClosed => Self::Done,
            other => Self::Quic(other),
        }
    }
}

impl From<WriteError> for LinkError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => Self::Done,
        }
    }
}

impl From<ReadError> for LinkError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            _ => Self::Done,
        }
    }
}
