//! The server's end: a loop over UDP sockets that its owner turns.
//!
//! [`Server::turn`] polls once, handles everything that came in, calls the owner back, and then sends
//! everything that is to go out. It does a bounded amount of each, so a flood delays the owner by
//! milliseconds, not for as long as the flood lasts; what is left makes the next turn start at once.
//!
//! The owner's callbacks get [`Links`], never the sockets: sending appends to a buffer, and the
//! syscalls happen together at the end of the turn, so that a turn's worth of small frames leaves in a
//! few large packets.
//!
//! ```no_run
//! # use wire_link::*;
//! # use std::time::Duration;
//! # struct Echo;
//! impl Handler for Echo {
//!     fn on_open(&mut self, links: &mut Links, link: wire_protocol::ids::LinkId, _peer: Peer) {
//!         links.authenticated(link);
//!     }
//!     fn on_frame(
//!         &mut self,
//!         links: &mut Links,
//!         link: wire_protocol::ids::LinkId,
//!         _listener: ListenerId,
//!         kind: u8,
//!         payload: &[u8],
//!     ) -> Result<(), Close> {
//!         let mut frame = Vec::new();
//!         wire_protocol::frame::push(&mut frame, kind, |out| out.extend_from_slice(payload));
//!         links.send(link, &frame);
//!         Ok(())
//!     }
//!     fn on_close(&mut self, _links: &mut Links, _link: wire_protocol::ids::LinkId, _reason: &str) {}
//! }
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = ServerIdentity::load_or_create("certs".as_ref(), &default_names())?;
//! let mut config = ServerConfig::new(identity);
//! config.listen(ListenerId(0), "0.0.0.0:4321".parse()?, &[b"echo/1"]);
//! let mut server = Server::bind(config)?;
//! loop {
//!     server.turn(None, &mut Echo)?;
//! }
//! # }
//! ```

mod admission;
mod backlog;
mod conn;
mod drive;
mod ids;
mod input;
mod links;
mod listener;
mod roster;
mod timers;
mod windows;

pub use links::{Links, slot};

use crate::certs::ServerIdentity;
use crate::clients::PeerCertificate;
use crate::close::Close;
use crate::congestion::Gate;
use crate::limits::{Limits, LimitsError};
use crate::transport::Common;
use backlog::Backlog;
use bytes::Bytes;
use ids::{Ids, LastId};
use listener::{Listener, Quic, ReceiveBatch};
use mio::{Events, Poll, Token, Waker};
use quinn_proto::{EndpointConfig, Incoming, VarInt};
use ring::hmac;
use roster::Roster;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use wire_protocol::ids::LinkId;

/// Names one of a server's listeners; chosen by the owner, unique within a server.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ListenerId(pub u8);

/// An address to listen on and what is spoken there.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// What its links are told apart by.
    pub listener: ListenerId,
    /// Port 0 lets the system choose; see [`Server::local_addr`]. `[::]` listens on IPv4 as well.
    pub address: SocketAddr,
    /// ALPN names that are understood here, the preferred first; at least one.
    pub alpn: Vec<Vec<u8>>,
    /// Peers may show certificates of this CA ([`ClientCa::certificate`](crate::ClientCa::certificate)); they need not.
    /// `None`: they are not asked.
    pub client_ca: Option<Vec<u8>>,
}

/// What a server is made of.
#[derive(Debug)]
pub struct ServerConfig {
    /// Certificate and key.
    pub identity: ServerIdentity,
    /// Where to listen; at least one.
    pub listeners: Vec<ListenerConfig>,
    /// What peers may make the server hold or do.
    pub limits: Limits,
    /// A link from which nothing comes for this long is lost. Default 30 s; the smaller of the two
    /// ends' counts.
    pub idle_timeout: Duration,
    /// Sends a sign of life after this long without traffic. Default `None`: clients do that.
    pub keep_alive: Option<Duration>,
    /// Largest UDP payload that path discovery tries, from 1200 to 65 527. Default 1452, which fits
    /// Ethernet with IPv6. On loopback or jumbo frames a larger one sends more per packet; either end
    /// limits what it receives by its own setting. A path that does not carry packets of this size gets
    /// those of 1200, nothing between.
    pub mtu_max: u16,
    /// A file that this server keeps for the next with the same identity: who is connected. After a kill the next
    /// server ends their connections at once, and they connect again instead of noticing with their next sign of
    /// life. Default `None`.
    pub roster: Option<PathBuf>,
}

impl ServerConfig {
    /// The defaults, with no listener yet.
    #[must_use]
    pub fn new(identity: ServerIdentity) -> Self {
        Self {
            identity,
            listeners: Vec::new(),
            limits: Limits::default(),
            idle_timeout: Duration::from_secs(30),
            keep_alive: None,
            mtu_max: 1452,
            roster: None,
        }
    }

    /// Adds a listener.
    pub fn listen(&mut self, listener: ListenerId, address: SocketAddr, alpn: &[&[u8]]) -> &mut Self {
        let alpn = alpn.iter().map(|name| name.to_vec()).collect();
        self.listeners.push(ListenerConfig {
            listener,
            address,
            alpn,
            client_ca: None,
        });
        self
    }
}

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum BindError {
    /// The address is taken, not this machine's, or not allowed.
    #[error("cannot listen on {address}/udp: is another engine running, or is the port below 1024?")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What the operating system says.
        source: io::Error,
    },
    /// The readiness queue of the operating system cannot be had.
    #[error("cannot set up polling: the limit on open files may be reached (ulimit -n)")]
    Poll(#[source] io::Error),
    /// TLS does not take the certificate.
    #[error("the certificate cannot be used for TLS 1.3")]
    Tls(#[source] rustls::Error),
    /// The roster cannot be opened.
    #[error("{path} cannot be used to note who is connected")]
    Roster {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Limits contradict each other.
    #[error(transparent)]
    Limits(#[from] LimitsError),
    /// A listener is named twice, speaks nothing, or there is none.
    #[error("listeners: each needs a name of its own and at least one ALPN name, and there must be one")]
    Listeners,
    /// `mtu_max` is outside what QUIC allows.
    #[error("mtu_max is {0}; it must be from 1200 to 65527")]
    Mtu(u16),
}

/// Who is at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it came from; after a migration, where it is.
    pub addr: SocketAddr,
    /// Where it came in.
    pub listener: ListenerId,
    /// The protocol and version that were agreed on.
    pub alpn: Arc<[u8]>,
    /// The certificate that it showed, of the listener's CA; it may have ended. `None`: it showed none.
    pub certificate: Option<Arc<PeerCertificate>>,
}

/// What became of frames given to [`Links::send`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "frames for a link that is gone or full need a decision"]
pub enum SendStatus {
    /// They will be sent.
    Taken,
    /// They will be sent, but more than `Limits::out_bytes_soft` waits: send no more until `on_eased`.
    /// Whoever goes on beyond `Limits::out_bytes_hard` loses the link.
    Full,
    /// The link is gone, by this very call perhaps; `on_close` comes or has come.
    Gone,
}

/// The owner's side of a server. For one link the calls come in this order:
///
/// ```text
/// on_open ( on_frame | on_received | on_eased )* on_close
/// ```
pub trait Handler {
    /// A peer has completed the handshake. Until [`Links::authenticated`] it may send small frames only.
    fn on_open(&mut self, links: &mut Links, link: LinkId, peer: Peer);

    /// A whole frame.
    ///
    /// # Errors
    /// The link is closed at once, with this code and reason.
    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close>;

    /// The link is no more: the peer ended it, it was lost, or the owner closed it. Exactly once.
    fn on_close(&mut self, links: &mut Links, link: LinkId, reason: &str);

    /// The peer gave some sign of life in this turn, a frame or less; after its frames, once a turn.
    fn on_received(&mut self, links: &mut Links, link: LinkId) {
        let _ = (links, link);
    }

    /// A link that was [`SendStatus::Full`] is down to half of the soft limit.
    fn on_eased(&mut self, links: &mut Links, link: LinkId) {
        let _ = (links, link);
    }

    /// All input of this turn was handled; what is sent here still leaves in this turn.
    fn after_turn(&mut self, links: &mut Links) {
        let _ = links;
    }
}

/// What one turn did.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Turn {
    /// UDP datagrams received.
    pub datagrams_in: u64,
    /// UDP datagrams sent, each segment of a batch counted.
    pub datagrams_out: u64,
    /// UDP payload bytes received.
    pub bytes_in: u64,
    /// UDP payload bytes sent.
    pub bytes_out: u64,
    /// Calls of poll, recvmmsg and sendmsg.
    pub syscalls: u64,
    /// Frames given to the owner.
    pub frames_in: u64,
    /// First packets answered with a request to prove the address.
    pub retries: u64,
    /// First packets refused for want of room.
    pub refused: u64,
    /// Another thread used the waker.
    pub woken: bool,
}

/// A set of listeners and their links, turned by its owner.
pub struct Server {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    listeners: Vec<Listener>,
    links: Links,
    batch: ReceiveBatch,
    /// First packets that wait, with the index of their listener.
    backlog: Backlog<(usize, Incoming)>,
    reset_key: hmac::Key,
    transmit: Vec<u8>,
    chunks: Vec<Bytes>,
    /// Something was left over: do not wait in the next turn.
    again: bool,
}

/// The waker's token; listeners have their index.
const WAKER: Token = Token(usize::MAX);
/// Readiness events taken per poll: one per listener and the waker.
const EVENTS: usize = 16;
impl Server {
    /// Binds the sockets. Nothing is answered before the first [`turn`](Self::turn).
    ///
    /// # Errors
    /// See [`BindError`].
    pub fn bind(config: ServerConfig) -> Result<Self, BindError> {
        config.limits.check()?;
        check_listeners(&config.listeners)?;
        let poll = Poll::new().map_err(BindError::Poll)?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER).map_err(BindError::Poll)?);
        let mut listeners = Vec::with_capacity(config.listeners.len());
        for (index, listener) in config.listeners.iter().enumerate() {
            let (gate, last_id) = (Arc::default(), Arc::default());
            let quic = Quic {
                server: quic_server(&config, listener, &gate)?,
                endpoint: quic_endpoint(&config, &last_id)?,
                gate,
                last_id,
            };
            let (id, address) = (listener.listener, listener.address);
            listeners.push(Listener::bind(poll.registry(), Token(index), id, address, quic)?);
        }
        let roster = match config.roster {
            None => Roster::default(),
            Some(path) => Roster::open(&path).map_err(|source| BindError::Roster { path, source })?,
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            listeners,
            links: Links::new(config.limits, roster),
            reset_key: reset_key(&config.identity),
            batch: ReceiveBatch::new(),
            backlog: Backlog::default(),
            transmit: Vec::new(),
            chunks: Vec::new(),
            again: false,
        })
    }

    /// Where a listener really listens.
    ///
    /// # Panics
    /// If the server has no such listener.
    #[must_use]
    pub fn local_addr(&self, listener: ListenerId) -> SocketAddr {
        let found = self.listeners.iter().find(|one| one.id == listener);
        found
            .unwrap_or_else(|| panic!("no {listener:?} was configured"))
            .address
    }

    /// Wakes a turn that waits, from any thread; one that does not wait is followed by one that will
    /// not.
    #[must_use]
    pub fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The links, between turns.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The links, between turns; what is sent leaves in the next.
    pub fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }

    /// Refuses new peers from now on and closes every link after what was sent on it has arrived. Go
    /// on turning until [`is_quiet`](Self::is_quiet) or a deadline of your own.
    pub fn close_all(&mut self, code: u32, reason: &str) {
        self.links.now = std::time::Instant::now();
        self.links.close_all(code, reason);
        self.again = true;
    }

    /// No connection is left, not even one that is being closed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.links.connections() == 0
    }
}

fn check_listeners(listeners: &[ListenerConfig]) -> Result<(), BindError> {
    let mut ids: Vec<ListenerId> = listeners.iter().map(|one| one.listener).collect();
    ids.sort_unstable();
    ids.dedup();
    let speak = listeners
        .iter()
        .all(|one| !one.alpn.is_empty() && one.alpn.iter().all(|name| !name.is_empty()));
    if listeners.is_empty() || ids.len() != listeners.len() || !speak {
        return Err(BindError::Listeners);
    }
    Ok(())
}

fn quic_server(
    config: &ServerConfig,
    listener: &ListenerConfig,
    gate: &Arc<Gate>,
) -> Result<quinn_proto::ServerConfig, BindError> {
    let limits = &config.limits;
    let common = Common {
        idle_timeout: config.idle_timeout,
        keep_alive: config.keep_alive,
        mtu_max: config.mtu_max,
        send_window: u64::from(limits.greeting_window_bytes),
        stream_window: limits.window_bytes_max,
    };
    let mut transport = common.transport(gate);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .receive_window(VarInt::from_u32(limits.greeting_window_bytes));
    let tls = crate::tls::server(
        &config.identity,
        listener.alpn.clone(),
        listener.client_ca.as_deref(),
    )
    .map_err(BindError::Tls)?;
    let mut server = quinn_proto::ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::new(transport))
        .migration(true)
        .max_incoming(limits.links_max)
        .incoming_buffer_size(16 << 10)
        .incoming_buffer_size_total(4 << 20);
    Ok(server)
}

fn reset_key(identity: &ServerIdentity) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &identity.derive("quic stateless reset"))
}

/// The endpoint's secrets come from the server's key, so that after a restart it recognises the
/// connections of the engine before it and answers with a stateless reset: workers then connect again
/// at once instead of waiting for their idle timeout.
fn quic_endpoint(config: &ServerConfig, last_id: &Arc<LastId>) -> Result<EndpointConfig, BindError> {
    let id_key = hmac::Key::new(hmac::HMAC_SHA256, &config.identity.derive("quic connection ids"));
    let mut endpoint = EndpointConfig::new(Arc::new(reset_key(&config.identity)));
    let last_id = Arc::clone(last_id);
    endpoint
        .cid_generator(move || Box::new(Ids::new(id_key.clone(), Arc::clone(&last_id))))
        // Each is smaller than the packet that it answers, and only ids with our hash are answered: there is nothing
        // to gain by asking, and a thousand workers that ask at once are all to be told.
        .min_reset_interval(Duration::ZERO)
        .max_udp_payload_size(config.mtu_max.max(1472))
        .map_err(|_| BindError::Mtu(config.mtu_max))?;
    if config.mtu_max < 1200 {
        return Err(BindError::Mtu(config.mtu_max));
    }
    Ok(endpoint)
}
