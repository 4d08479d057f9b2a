//! One UDP socket with its QUIC endpoint: datagrams in batches, both ways.

use super::ids::{ID_BYTES, LastId};
use super::{BindError, ListenerId, Turn};
use crate::congestion::Gate;
use mio::net::UdpSocket;
use mio::{Interest, Registry, Token};
use quinn_proto::{ConnectionHandle, EcnCodepoint, Endpoint, EndpointConfig, Transmit};
use quinn_udp::{BATCH_SIZE, RecvMeta, UdpSockRef, UdpSocketState};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, IoSliceMut};
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

/// Asked of the kernel for both directions of a socket; it may give less. A burst of a thousand
/// workers' results, or of handshakes, should wait here rather than be lost.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// The largest buffer that the kernel fills by coalescing datagrams (GRO).
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

pub(crate) struct Listener {
    pub(crate) id: ListenerId,
    pub(crate) address: SocketAddr,
    pub(crate) endpoint: Endpoint,
    /// Past the congestion windows of the endpoint's connections.
    pub(crate) gate: Arc<Gate>,
    /// Which slot of the links each of the endpoint's connections has.
    pub(crate) slots: Vec<Option<u32>>,
    /// The socket may hold more: it was not read until it was empty.
    pub(crate) readable: bool,
    /// The connection id that the endpoint has made last.
    last_id: Arc<LastId>,
    socket: UdpSocket,
    state: UdpSocketState,
    token: Token,
    /// What the socket did not take. Nothing else is sent until it does.
    blocked: Option<(Transmit, Vec<u8>)>,
}

/// What an endpoint is made of, and what is shared with it.
pub(crate) struct Quic {
    pub(crate) endpoint: EndpointConfig,
    pub(crate) server: quinn_proto::ServerConfig,
    pub(crate) gate: Arc<Gate>,
    /// See [`Listener::last_id`].
    pub(crate) last_id: Arc<LastId>,
}

impl Listener {
    pub(crate) fn bind(
        registry: &Registry,
        token: Token,
        id: ListenerId,
        address: SocketAddr,
        quic: Quic,
    ) -> Result<Self, BindError> {
        let bind_error = |source| BindError::Socket { address, source };
        let mut socket = UdpSocket::from_std(open(address).map_err(bind_error)?);
        let state = UdpSocketState::new(UdpSockRef::from(&socket)).map_err(bind_error)?;
        let address = socket.local_addr().map_err(bind_error)?;
        registry
            .register(&mut socket, token, Interest::READABLE)
            .map_err(bind_error)?;
        let endpoint = Endpoint::new(
            Arc::new(quic.endpoint),
            Some(Arc::new(quic.server)),
            !state.may_fragment(),
            None,
        );
        Ok(Self {
            id,
            address,
            endpoint,
            gate: quic.gate,
            slots: Vec::new(),
            readable: true,
            last_id: quic.last_id,
            socket,
            state,
            token,
            blocked: None,
        })
    }

    /// The connection id that a peer uses whose handshake was begun just now.
    pub(crate) fn last_id(&self) -> [u8; ID_BYTES] {
        self.last_id.get()
    }

    pub(crate) fn slot_of(&self, handle: ConnectionHandle) -> Option<u32> {
        self.slots.get(handle.0).copied().flatten()
    }

    pub(crate) fn set_slot(&mut self, handle: ConnectionHandle, slot: Option<u32>) {
        if self.slots.len() <= handle.0 {
            self.slots.resize(handle.0 + 1, None);
        }
        self.slots[handle.0] = slot;
    }

    /// One `recvmmsg`: how many buffers of `batch` were filled; zero when the socket is empty.
    ///
    /// # Errors
    /// Those of the socket; an answer to something that was sent earlier (ICMP) is not one of them.
    pub(crate) fn receive(&mut self, batch: &mut ReceiveBatch, turn: &mut Turn) -> io::Result<usize> {
        turn.syscalls += 1;
        let ReceiveBatch { buffer, metas } = batch;
        let mut chunks = buffer.chunks_exact_mut(RECEIVE_BUFFER_BYTES).map(IoSliceMut::new);
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| chunks.next().expect("the buffer has BATCH_SIZE chunks"));
        match self
            .state
            .recv(UdpSockRef::from(&self.socket), &mut slices, metas)
        {
            Ok(filled) => Ok(filled),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Gives datagrams to the kernel. `false`: it has no room, the datagrams are kept until it does.
    ///
    /// # Panics
    /// If something is already kept.
    pub(crate) fn send(&mut self, transmit: Transmit, contents: &mut Vec<u8>, turn: &mut Turn) -> bool {
        assert!(self.blocked.is_none(), "nothing is sent past a blocked datagram");
        if self.try_send(&transmit, contents, turn) {
            return true;
        }
        self.blocked = Some((transmit, std::mem::take(contents)));
        false
    }

    /// Gives an answer of the endpoint itself to the kernel; a peer repeats what was not answered, so
    /// nothing is kept.
    pub(crate) fn respond(&mut self, transmit: &Transmit, contents: &[u8], turn: &mut Turn) {
        if self.blocked.is_none() {
            self.try_send(transmit, contents, turn);
        }
    }

    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Asks to be woken when the socket has room again. Only then: an interest in writability that is
    /// always there wakes the loop after every datagram that leaves.
    pub(crate) fn await_room(&mut self, registry: &Registry) -> io::Result<()> {
        registry.reregister(
            &mut self.socket,
            self.token,
            Interest::READABLE | Interest::WRITABLE,
        )
    }

    /// The socket may have room again: sends what was kept.
    pub(crate) fn unblock(&mut self, registry: &Registry, turn: &mut Turn) -> io::Result<()> {
        let Some((transmit, contents)) = self.blocked.take() else {
            return Ok(());
        };
        if self.try_send(&transmit, &contents, turn) {
            return registry.reregister(&mut self.socket, self.token, Interest::READABLE);
        }
        self.blocked = Some((transmit, contents));
        Ok(())
    }

    pub(crate) fn segments_max(&self) -> usize {
        self.state.max_gso_segments()
    }

    fn try_send(&self, transmit: &Transmit, contents: &[u8], turn: &mut Turn) -> bool {
        turn.syscalls += 1;
        let datagram = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.map(|ecn| match ecn {
                EcnCodepoint::Ect0 => quinn_udp::EcnCodepoint::Ect0,
                EcnCodepoint::Ect1 => quinn_udp::EcnCodepoint::Ect1,
                EcnCodepoint::Ce => quinn_udp::EcnCodepoint::Ce,
            }),
            contents: &contents[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        // Every error but "no room" is logged there and is a lost datagram to QUIC.
        if self
            .state
            .send(UdpSockRef::from(&self.socket), &datagram)
            .is_err()
        {
            return false;
        }
        turn.datagrams_out += transmit
            .segment_size
            .map_or(1, |segment| transmit.size.div_ceil(segment) as u64);
        turn.bytes_out += transmit.size as u64;
        true
    }
}

/// Room for what one `recvmmsg` returns. Untouched parts of it cost no memory.
pub(crate) struct ReceiveBatch {
    buffer: Box<[u8]>,
    metas: [RecvMeta; BATCH_SIZE],
}

impl ReceiveBatch {
    pub(crate) fn new() -> Self {
        let buffer = vec![0; RECEIVE_BUFFER_BYTES * BATCH_SIZE].into_boxed_slice();
        Self {
            buffer,
            metas: [RecvMeta::default(); BATCH_SIZE],
        }
    }

    /// The buffers that the last receive filled, with where they came from.
    pub(crate) fn filled(&self, count: usize) -> impl Iterator<Item = (&RecvMeta, &[u8])> {
        let chunks = self.buffer.chunks_exact(RECEIVE_BUFFER_BYTES);
        self.metas
            .iter()
            .zip(chunks)
            .take(count)
            .map(|(meta, chunk)| (meta, &chunk[..meta.len]))
    }
}

pub(crate) fn proto_ecn(ecn: quinn_udp::EcnCodepoint) -> EcnCodepoint {
    match ecn {
        quinn_udp::EcnCodepoint::Ect0 => EcnCodepoint::Ect0,
        quinn_udp::EcnCodepoint::Ect1 => EcnCodepoint::Ect1,
        quinn_udp::EcnCodepoint::Ce => EcnCodepoint::Ce,
    }
}

fn open(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.ip() == Ipv6Addr::UNSPECIFIED {
        socket.set_only_v6(false)?;
    }
    // The kernel caps both silently; a refusal leaves its default, which works.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
