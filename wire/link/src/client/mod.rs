//! The client's end: `quinn` on tokio.
//!
//! ```no_run
//! # use wire_link::*;
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ClientConfig::new(Trust::Ca("certs/ca.pem".into()), b"echo/1");
//! let mut link = Connector::new(config)?.connect("127.0.0.1:4321".parse()?, "localhost").await?;
//! let mut hello = Vec::new();
//! wire_protocol::frame::push(&mut hello, 1, |out| out.extend_from_slice(b"hello"));
//! link.sender.send(&hello).await?;
//! let on_frame = |kind: u8, payload: &[u8]| {
//!     println!("{kind}: {payload:?}");
//!     Ok::<(), LinkError>(())
//! };
//! link.receiver.recv(on_frame).await?;
//! link.control.close(code::DONE, "");
//! # Ok(()) }
//! ```

mod errors;
mod link;

pub use errors::{ConfigError, ConnectError, LinkError};
pub use link::{Control, Link, Receiver, Sender};

use crate::certs::{Fingerprint, read_certificates};
use crate::clients::ClientIdentity;
use crate::transport::Common;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use rustls::RootCertStore;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Whom a client believes to be the server.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Certificates under the CAs of this PEM file, for the name that is asked for.
    Ca(PathBuf),
    /// One certificate, whatever its name.
    Fingerprint(Fingerprint),
}

/// How a client connects.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Whom to believe.
    pub trust: Trust,
    /// The protocol and version that is spoken.
    pub alpn: Vec<u8>,
    /// The certificate that it shows, to a server that takes any. Default `None`: none.
    pub identity: Option<ClientIdentity>,
    /// Sends a sign of life after this long without traffic. Default 20 s, so that two thirds of the
    /// idle timeout pass in peace and the rest is there for repeating it; `None` leaves it to the
    /// server, which by default does not.
    pub keep_alive: Option<Duration>,
    /// A link from which nothing comes for this long is lost. Default 30 s; the smaller of the two
    /// ends' counts.
    pub idle_timeout: Duration,
    /// Time for connecting, the first stream included. Default 10 s.
    pub connect_timeout: Duration,
    /// Largest UDP payload that is sent or accepted, from 1200 to 65 527. Default 1452; see
    /// `ServerConfig::mtu_max`.
    pub mtu_max: u16,
    /// Bytes that the server may have under way to this end. Default 2 MiB.
    pub receive_window: u32,
    /// Bytes sent and not acknowledged. Default 4 MiB.
    pub send_window: u64,
}

impl ClientConfig {
    /// The defaults.
    #[must_use]
    pub fn new(trust: Trust, alpn: &[u8]) -> Self {
        Self {
            trust,
            alpn: alpn.to_vec(),
            identity: None,
            keep_alive: Some(Duration::from_secs(20)),
            idle_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            mtu_max: 1452,
            receive_window: 2 << 20,
            send_window: 4 << 20,
        }
    }
}

/// What a client's TLS needs to believe `trust` and to speak one of `alpn`: for links, and for whoever else speaks to the
/// pool.
///
/// # Errors
/// The CA file, or TLS does not take it.
pub fn tls_config(trust: &Trust, alpn: &[&[u8]]) -> Result<rustls::ClientConfig, ConfigError> {
    client_tls(trust, alpn, None)
}

/// As [`tls_config`], showing a certificate to servers that ask for one.
fn client_tls(
    trust: &Trust,
    alpn: &[&[u8]],
    identity: Option<&ClientIdentity>,
) -> Result<rustls::ClientConfig, ConfigError> {
    let alpn = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    match trust {
        Trust::Ca(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in read_certificates(path).map_err(ConfigError::Ca)? {
                roots.add(certificate).map_err(|source| ConfigError::NoCa {
                    path: path.clone(),
                    source,
                })?;
            }
            crate::tls::client_by_roots(roots, alpn, identity).map_err(ConfigError::Tls)
        }
        Trust::Fingerprint(pinned) => {
            crate::tls::client_by_fingerprint(*pinned, alpn, identity).map_err(ConfigError::Tls)
        }
    }
}

/// The same for who believes certificates under `roots`: for the web.
///
/// # Errors
/// TLS does not take it.
pub fn tls_config_of_roots(
    roots: RootCertStore,
    alpn: &[&[u8]],
) -> Result<rustls::ClientConfig, ConfigError> {
    let alpn = alpn.iter().map(|alpn| alpn.to_vec()).collect();
    crate::tls::client_by_roots(roots, alpn, None).map_err(ConfigError::Tls)
}

/// Opens links. One serves for all links of a process: they share a UDP socket per address family,
/// which is opened with the first link and belongs to the tokio runtime of that moment.
pub struct Connector {
    config: ClientConfig,
    quic: quinn::ClientConfig,
    endpoint: EndpointConfig,
    sockets: Mutex<Sockets>,
}

#[derive(Default)]
struct Sockets {
    v4: Option<Endpoint>,
    v6: Option<Endpoint>,
}

/// Packets up to this size may be given to the kernel in batches. `quinn` gives it ten at once, whatever
/// their size, and the kernel takes at most 64 KiB: it would refuse every batch of larger packets, which
/// to QUIC are then lost.
const SEGMENT_BYTES_MAX: u16 = 6_400;

/// Asked of the kernel for both directions; it may give less.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

impl Connector {
    /// Checks the configuration and reads the CA file.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let tls = client_tls(&config.trust, &[&config.alpn], config.identity.as_ref())?;
        let tls =
            QuicClientConfig::try_from(tls).expect("ring has AES-128-GCM, which QUIC's first packets need");
        let common = Common {
            idle_timeout: config.idle_timeout,
            keep_alive: config.keep_alive,
            mtu_max: config.mtu_max,
            send_window: config.send_window,
            stream_window: config.receive_window,
        };
        let mut quic = quinn::ClientConfig::new(Arc::new(tls));
        let mut transport = common.transport(&Arc::default());
        transport.enable_segmentation_offload(config.mtu_max <= SEGMENT_BYTES_MAX);
        quic.transport_config(Arc::new(transport));
        let mut endpoint = EndpointConfig::default();
        endpoint
            .max_udp_payload_size(config.mtu_max.max(1472))
            .map_err(|_| ConfigError::Mtu(config.mtu_max))?;
        if config.mtu_max < 1200 {
            return Err(ConfigError::Mtu(config.mtu_max));
        }
        Ok(Self {
            config,
            quic,
            endpoint,
            sockets: Mutex::default(),
        })
    }

    /// Connects to a server, which must prove to be `server_name` (with [`Trust::Fingerprint`] any name
    /// does). The server learns of the link with the first frame that is sent on it.
    ///
    /// # Errors
    /// See [`ConnectError`]; nothing is retried here.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(&self, addr: SocketAddr, server_name: &str) -> Result<Link, ConnectError> {
        let endpoint = self.endpoint_for(addr).map_err(ConnectError::Socket)?;
        let connecting = endpoint
            .connect_with(self.quic.clone(), addr, server_name)
            .map_err(|source| ConnectError::Target {
                addr,
                server_name: server_name.to_owned(),
                source,
            })?;
        let open = async {
            let connection = connecting.await?;
            let (send, receive) = connection.open_bi().await?;
            Ok((connection, send, receive))
        };
        match tokio::time::timeout(self.config.connect_timeout, open).await {
            Ok(Ok((connection, send, receive))) => Ok(Link::new(endpoint, connection, send, receive)),
            Ok(Err(error)) => Err(ConnectError::from_quic(error, addr, server_name, &self.config)),
            Err(_) => Err(ConnectError::Silent { addr }),
        }
    }

    fn endpoint_for(&self, addr: SocketAddr) -> io::Result<Endpoint> {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        let local: SocketAddr = match addr {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let known = if addr.is_ipv4() {
            &mut sockets.v4
        } else {
            &mut sockets.v6
        };
        if let Some(endpoint) = known {
            return Ok(endpoint.clone());
        }
        let socket = open(local)?;
        let endpoint = Endpoint::new(self.endpoint.clone(), None, socket, Arc::new(TokioRuntime))?;
        *known = Some(endpoint.clone());
        Ok(endpoint)
    }
}

fn open(local: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM, Some(Protocol::UDP))?;
    // The kernel caps both silently; a refusal leaves its default, which works.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&local.into())?;
    Ok(socket.into())
}
