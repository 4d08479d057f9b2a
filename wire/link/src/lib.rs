//! The QUIC link, both ends.
//!
//! A link is one QUIC connection (TLS 1.3 alone, *ring* as the one crypto provider, no early data)
//! with one long-lived bidirectional stream, which the client opens and which carries the frames of
//! [`wire_protocol::frame`] both ways. The application protocol and its version are the ALPN name, so
//! that two builds that cannot understand each other never get as far as a frame.
//!
//! ```text
//!   client (tokio + quinn)                         server (mio + quinn-proto, the caller's thread)
//!   Connector ─► Link ─┬─ Sender   ──── frames ───► Server::turn ─► Handler::on_frame
//!                      └─ Receiver ◄─── frames ──── Links::send  ◄── (the engine's core)
//! ```
//!
//! The two ends differ on purpose. The server is a loop that its owner turns: one poll, everything
//! that came in, the owner's callbacks, then everything that goes out, batched per link and per
//! syscall. So the engine's core runs on the thread that reads the socket, without a hop (a wake-up
//! across cores costs more than forty times the work of a message). A worker or a client has a handful of links and
//! other things to wait for, so its end is ordinary async.
//!
//! What a peer can make the server hold is bounded in one place, [`Limits`]; what is deliberately
//! absent: unreliable datagrams, several streams, 0-RTT, session resumption.

mod certs;
mod client;
mod clients;
mod close;
mod congestion;
mod frames;
mod limits;
mod server;
mod tls;
mod transport;

pub use certs::{CertsError, Fingerprint, FingerprintError, ServerIdentity, default_names};
pub use client::{
    ClientConfig, ConfigError, ConnectError, Connector, Control, Link, LinkError, Receiver, Sender, Trust,
    tls_config, tls_config_of_roots,
};
pub use clients::{ClientCa, ClientIdentity, ClientRequest, PeerCertificate, RequestError};
pub use close::{Close, code};
pub use limits::{Limits, LimitsError};
pub use server::{
    BindError, Handler, Links, ListenerConfig, ListenerId, Peer, SendStatus, Server, ServerConfig, Turn, slot,
};
pub use tls::https_config;
