//! One connection: its state, and what it holds.

use super::ids::ID_BYTES;
use super::roster::Entry;
use super::{ListenerId, Peer};
use crate::close::Close;
use crate::frames::FrameReader;
use quinn_proto::{Connection, ConnectionHandle, FrameStats, StreamId};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use wire_protocol::ids::LinkId;

/// Where a connection stands.
///
/// ```text
///             connected            authenticated()
/// Handshaking ─────────► Greeting ───────────────► Open
///      │                    │  │                    │ │
///      │ deadline, lost     │  └──── close() ───────┘ │     (something was sent, so that
///      │                    │        or peer's end    │      its delivery is worth a wait)
///      │                    │ lost, abort     │       │
///      ▼                    ▼                 ▼       ▼
///   forgotten            Closed ◄────────── Delivering
///                           │     delivered, deadline, lost
///                           ▼ drained (3 PTO)
///                       forgotten
/// ```
///
/// The owner knows a link from `on_open` (entering Greeting) to `on_close` (leaving Greeting or Open),
/// each exactly once; states before and after are the server's own business.
#[derive(Debug)]
pub(crate) enum State {
    Handshaking,
    Greeting,
    Open,
    Delivering(Close),
    Closed,
}

impl State {
    /// The owner knows this link.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self, Self::Greeting | Self::Open)
    }
}

/// A connection and everything that is held for it; boxed, because most of it is QUIC's state.
pub(crate) struct Conn {
    pub(crate) id: LinkId,
    pub(crate) quic: Connection,
    pub(crate) handle: ConnectionHandle,
    /// Index of the listener in the server's table.
    pub(crate) listener: usize,
    pub(crate) peer: Peer,
    /// The connection id that the peer was given first.
    id_given: [u8; ID_BYTES],
    /// The address that admission counts, even after a migration.
    pub(crate) counted: IpAddr,
    pub(crate) state: State,
    /// The one stream, once the peer has opened it.
    pub(crate) stream: Option<StreamId>,
    pub(crate) reader: FrameReader,
    out: Vec<u8>,
    /// How much of `out` the stream has taken.
    taken: usize,
    /// The stream has taken something: there is something to wait for before a close.
    pub(crate) wrote: bool,
    /// The end of the stream was written.
    pub(crate) finished: bool,
    /// `send` answered `Full`; the owner is to be told when there is room.
    pub(crate) full: bool,
    /// When this state must have ended.
    pub(crate) deadline: Option<Instant>,
    /// Where the timer stands.
    pub(crate) armed: Option<Instant>,
    /// Acknowledgements as last looked at.
    acks: Acks,
    /// When what the peer has sent is to be acknowledged, window or not.
    pub(crate) ack_by: Option<Instant>,
    /// Receive window given beyond that of a greeting.
    pub(crate) window: u64,
    /// The handshake was completed.
    pub(crate) established: bool,
    /// QUIC frames received, as last seen: proof that a datagram was the peer's and not a forgery.
    pub(crate) life: u64,
    /// Datagrams came for it in this turn.
    pub(crate) seen: bool,
    pub(crate) in_touched: bool,
    pub(crate) in_flush: bool,
    /// It was not read to the end in the turn before.
    pub(crate) unread: bool,
}

impl Conn {
    pub(crate) fn new(
        quic: Connection,
        handle: ConnectionHandle,
        listener: usize,
        id: ListenerId,
        id_given: [u8; ID_BYTES],
    ) -> Self {
        let address = quic.remote_address();
        Self {
            id: LinkId(0),
            quic,
            handle,
            listener,
            peer: Peer {
                addr: address,
                listener: id,
                alpn: Arc::from([]),
                certificate: None,
            },
            id_given,
            counted: address.ip().to_canonical(),
            state: State::Handshaking,
            stream: None,
            reader: FrameReader::default(),
            out: Vec::new(),
            taken: 0,
            wrote: false,
            finished: false,
            full: false,
            deadline: None,
            armed: None,
            acks: Acks::default(),
            ack_by: None,
            window: 0,
            established: false,
            life: 0,
            seen: false,
            in_touched: false,
            in_flush: false,
            unread: false,
        }
    }

    /// Where a later server finds the peer.
    pub(crate) fn entry(&self) -> Entry {
        Entry {
            listener: self.peer.listener,
            addr: self.quic.remote_address(),
            id: self.id_given,
        }
    }

    /// Bytes that wait to be taken by the stream.
    pub(crate) fn backlog(&self) -> usize {
        self.out.len() - self.taken
    }

    /// Bytes that count towards the bound of all links.
    pub(crate) fn held(&self) -> usize {
        self.backlog() + self.reader.held()
    }

    /// Appends to what waits; `spare` lends a buffer to a link that has none.
    pub(crate) fn push(&mut self, frames: &[u8], spare: &mut Vec<Vec<u8>>) {
        if self.out.capacity() == 0 {
            self.out = spare.pop().unwrap_or_default();
        }
        self.out.extend_from_slice(frames);
    }

    /// Gives the stream what it takes; how many bytes that were.
    pub(crate) fn write(&mut self, spare: &mut Vec<Vec<u8>>) -> usize {
        let Some(stream) = self.stream.filter(|_| self.backlog() > 0) else {
            return 0;
        };
        let before = self.taken;
        let mut stream = self.quic.send_stream(stream);
        while self.taken < self.out.len() {
            match stream.write(&self.out[self.taken..]) {
                Ok(bytes) => self.taken += bytes,
                Err(_) => break, // blocked: Writable follows; stopped or closed: that event does
            }
        }
        let written = self.taken - before;
        self.wrote |= written > 0;
        if self.taken == self.out.len() {
            self.give_back(spare);
        } else if self.taken > self.out.len() / 2 {
            self.out.drain(..self.taken);
            self.taken = 0;
        }
        written
    }

    /// Drops what waits to be sent and what was half received.
    pub(crate) fn discard(&mut self, spare: &mut Vec<Vec<u8>>) {
        self.give_back(spare);
        self.reader = FrameReader::default();
    }

    /// QUIC frames received so far, all kinds that a living peer sends.
    pub(crate) fn frames_received(&self) -> u64 {
        let rx = self.quic.stats().frame_rx;
        rx.acks + eliciting(&rx)
    }

    /// Looks whether the peer has sent something since the last acknowledgement left. To be asked
    /// whenever packets were sent, before others are received.
    pub(crate) fn owes_ack(&mut self) -> bool {
        let stats = self.quic.stats();
        let eliciting = eliciting(&stats.frame_rx);
        if std::mem::replace(&mut self.acks.sent, stats.frame_tx.acks) != stats.frame_tx.acks {
            self.acks.eliciting = eliciting;
        }
        self.acks.eliciting != eliciting
    }

    fn give_back(&mut self, spare: &mut Vec<Vec<u8>>) {
        let mut out = std::mem::take(&mut self.out);
        self.taken = 0;
        out.clear();
        if spare.len() < SPARE_BUFFERS && (1..=SPARE_BUFFER_BYTES).contains(&out.capacity()) {
            spare.push(out);
        }
    }
}

/// Acknowledgements, of which QUIC tells only how many frames it has seen.
#[derive(Default)]
struct Acks {
    /// Acknowledgements sent.
    sent: u64,
    /// Frames received, up to the last acknowledgement, that have to be acknowledged.
    eliciting: u64,
}

/// Frames that a living peer sends and that have to be acknowledged.
fn eliciting(rx: &FrameStats) -> u64 {
    rx.ping
        + rx.immediate_ack
        + rx.stream
        + rx.max_data
        + rx.max_stream_data
        + rx.path_response
        + rx.path_challenge
}

/// Buffers kept for the next link that sends: as many as are in use in one turn of a busy server, so
/// that links at rest hold none and busy ones do not allocate. At most 4 MiB.
const SPARE_BUFFERS: usize = 64;
/// A larger buffer is given back to the allocator.
const SPARE_BUFFER_BYTES: usize = 64 << 10;
