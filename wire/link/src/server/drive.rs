//! One turn of the server, step by step.
//!
//! ```text
//! wait ─► receive ─► accept ─► timers ─► events and frames of touched links ─► on_close
//!          (UDP)                          (on_open, on_frame, on_received)
//!      ─► after_turn ─► on_close ─► write, transmit ─► on_eased
//! ```

use super::admission::Verdict;
use super::backlog::{Backlog, Served};
use super::conn::{Conn, State};
use super::input::{handle_events, on_sending_ended, read, sign_of_life};
use super::listener::{Listener, proto_ecn};
use super::roster::reset;
use super::{Handler, Links, Server, Turn, WAKER};
use crate::close::{Close, code};
use crate::limits::{
    ACCEPTS_PER_TURN, ACCEPTS_WHILE_READING, ACK_DELAY_MAX, ACK_DELAY_MIN, FIRST_PACKET_BYTES_MAX, GSO_BYTES,
    GSO_SEGMENTS, RECEIVE_CALLS_PER_TURN, TRANSMIT_BYTES_PER_TURN,
};
use bytes::{Bytes, BytesMut};
use quinn_proto::{ConnectionHandle, DatagramEvent, EndpointEvent, Incoming, Transmit, VarInt};
use std::io;
use std::time::{Duration, Instant};

impl Server {
    /// Waits for input, a timer, the waker or `timeout` (`None`: for as long as it takes), handles what
    /// there is, calls `handler` back, and sends. Returns early for signals.
    ///
    /// # Errors
    /// Those of polling and of the sockets themselves; a peer cannot cause one. The server is unusable
    /// afterwards.
    pub fn turn<H: Handler>(&mut self, timeout: Option<Duration>, handler: &mut H) -> io::Result<Turn> {
        let mut turn = Turn::default();
        self.wait(timeout, &mut turn)?;
        self.again = false;
        for index in 0..self.listeners.len() {
            self.receive(index, &mut turn)?;
        }
        self.accept(&mut turn);
        self.recall(&mut turn);
        self.expire();
        self.examine(handler, &mut turn);
        report_ended(&mut self.links, handler);
        handler.after_turn(&mut self.links);
        report_ended(&mut self.links, handler);
        self.flush(&mut turn)?;
        while let Some(link) = self.links.eased.pop_front() {
            handler.on_eased(&mut self.links, link);
            self.again = true;
        }
        self.again |= !self.links.ended.is_empty();
        Ok(turn)
    }

    fn wait(&mut self, timeout: Option<Duration>, turn: &mut Turn) -> io::Result<()> {
        let now = Instant::now();
        let timer = self
            .links
            .timers
            .next()
            .map(|at| at.saturating_duration_since(now));
        let wait = if self.must_go_on() {
            Some(Duration::ZERO)
        } else {
            min_some(timeout, min_some(timer, self.links.roster.wait(now)))
        };
        turn.syscalls += 1;
        match self.poll.poll(&mut self.events, wait) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        self.links.now = Instant::now();
        for event in &self.events {
            if event.token() == WAKER {
                turn.woken = true;
                continue;
            }
            let listener = &mut self.listeners[event.token().0];
            listener.readable |= event.is_readable();
            if event.is_writable() {
                listener.unblock(self.poll.registry(), turn)?;
            }
        }
        Ok(())
    }

    /// There is work that needs no input.
    fn must_go_on(&self) -> bool {
        let sendable = || {
            let blocked = self.listeners.iter().any(Listener::is_blocked);
            !blocked && !self.links.flush.is_empty()
        };
        self.again
            || self.backlog.is_moving(&self.links.admission)
            || !self.links.touched.is_empty()
            || self.listeners.iter().any(|listener| listener.readable)
            || sendable()
    }

    fn receive(&mut self, index: usize, turn: &mut Turn) -> io::Result<()> {
        for _ in 0..RECEIVE_CALLS_PER_TURN {
            let listener = &mut self.listeners[index];
            if !listener.readable {
                return Ok(());
            }
            let filled = listener.receive(&mut self.batch, turn)?;
            for (meta, bytes) in self.batch.filled(filled) {
                turn.bytes_in += bytes.len() as u64;
                // The one copy of what comes in: packets are decrypted in it, frames are slices of it.
                let mut rest = BytesMut::from(bytes);
                while !rest.is_empty() {
                    turn.datagrams_in += 1;
                    let datagram = rest.split_to(meta.stride.clamp(1, rest.len()));
                    // A first packet may wait: alone, not with all that arrived beside it.
                    let datagram = match is_long(&datagram) {
                        true if datagram.len() > FIRST_PACKET_BYTES_MAX => continue,
                        true => BytesMut::from(&datagram[..]),
                        false => datagram,
                    };
                    let ecn = meta.ecn.map(proto_ecn);
                    self.transmit.clear();
                    let now = self.links.now;
                    let event = listener.endpoint.handle(
                        now,
                        meta.addr,
                        meta.dst_ip,
                        ecn,
                        datagram,
                        &mut self.transmit,
                    );
                    match event {
                        Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                            let Some(slot) = listener.slot_of(handle) else {
                                continue;
                            };
                            let Some(conn) = self.links.conn(slot) else {
                                continue;
                            };
                            conn.quic.handle_event(event);
                            conn.seen = true;
                            self.links.touch(slot);
                        }
                        Some(DatagramEvent::NewConnection(incoming)) => {
                            judge(
                                listener,
                                index,
                                &mut self.links,
                                &mut self.backlog,
                                &mut self.transmit,
                                incoming,
                                turn,
                            );
                        }
                        Some(DatagramEvent::Response(transmit)) => {
                            listener.respond(&transmit, &self.transmit, turn)
                        }
                        None => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// Begins handshakes of peers that were let in, as far as there is room.
    fn accept(&mut self, turn: &mut Turn) {
        let now = self.links.now;
        let share = match self.listeners.iter().any(|listener| listener.readable) {
            true => ACCEPTS_WHILE_READING,
            false => ACCEPTS_PER_TURN,
        };
        for _ in 0..share {
            let (admission, limits) = (&mut self.links.admission, &self.links.limits);
            let Some(served) = self.backlog.next(admission, limits, now) else {
                return;
            };
            self.transmit.clear();
            let (index, answer) = match served {
                Served::Begin((index, incoming)) => (index, self.begin(index, incoming)),
                Served::Refuse((index, incoming)) => {
                    turn.refused += 1;
                    let endpoint = &mut self.listeners[index].endpoint;
                    (index, Some(endpoint.refuse(incoming, &mut self.transmit)))
                }
            };
            if let Some(transmit) = answer {
                self.listeners[index].respond(&transmit, &self.transmit, turn);
            }
        }
    }

    /// Ends the connections that peers of the server before still take for alive.
    fn recall(&mut self, turn: &mut Turn) {
        while let Some(entry) = self.links.roster.recall(self.links.now) {
            let Some(listener) = self.listeners.iter_mut().find(|one| one.id == entry.listener) else {
                continue;
            };
            let packet = reset(&self.reset_key, &entry.id);
            let transmit = Transmit {
                destination: entry.addr,
                ecn: None,
                size: packet.len(),
                segment_size: None,
                src_ip: None,
            };
            listener.respond(&transmit, &packet, turn);
        }
    }

    /// Begins one handshake. If it cannot be begun, returns what the peer is to be told.
    fn begin(&mut self, index: usize, incoming: Incoming) -> Option<Transmit> {
        let listener = &mut self.listeners[index];
        let address = incoming.remote_address().ip().to_canonical();
        let now = self.links.now;
        match listener.endpoint.accept(incoming, now, &mut self.transmit, None) {
            Ok((handle, quic)) => {
                let conn = Conn::new(quic, handle, index, listener.id, listener.last_id());
                let slot = self.links.insert(conn);
                listener.set_slot(handle, Some(slot));
                self.links.touch(slot);
                None
            }
            Err(error) => {
                tracing::debug!(%address, cause = %error.cause, "handshake not begun");
                self.links.admission.leave(address, true);
                error.response
            }
        }
    }

    /// Handles timers that have fired: QUIC's, and the deadlines of states.
    fn expire(&mut self) {
        let now = self.links.now;
        while let Some(slot) = self.links.timers.pop(now) {
            let Some(conn) = self.links.conn(slot) else {
                continue;
            };
            conn.armed = None;
            if conn.deadline.is_some_and(|at| at <= now) {
                conn.deadline = None;
                self.on_deadline(slot);
            } else if conn.quic.poll_timeout().is_some_and(|at| at <= now) {
                conn.quic.handle_timeout(now);
                self.links.touch(slot);
            } else {
                self.links.queue_flush(slot);
            }
        }
    }

    /// A state has lasted too long.
    fn on_deadline(&mut self, slot: u32) {
        let now = self.links.now;
        let Some(conn) = self.links.conn(slot) else { return };
        match &conn.state {
            State::Handshaking => {
                // Most likely nobody is there: no farewell, no draining.
                let (listener, handle) = (conn.listener, conn.handle);
                forget(
                    &mut self.listeners[listener],
                    &mut self.links,
                    slot,
                    handle,
                    EndpointEvent::drained(),
                );
            }
            State::Greeting => {
                let link = conn.id;
                self.links.abort(
                    link,
                    Close::new(code::SILENT, "the peer did not authenticate itself in time"),
                );
            }
            State::Delivering(close) => {
                let (code, reason) = (
                    VarInt::from_u32(close.code),
                    Bytes::from(close.reason.to_string()),
                );
                conn.quic.close(now, code, reason);
                self.links.closed(slot);
            }
            State::Open | State::Closed => self.links.queue_flush(slot),
        }
    }

    /// Handles events and input of every link that something came for.
    fn examine<H: Handler>(&mut self, handler: &mut H, turn: &mut Turn) {
        let mut touched = std::mem::take(&mut self.links.touched);
        for slot in touched.drain(..) {
            let Some(conn) = self.links.conn(slot) else {
                continue;
            };
            conn.in_touched = false;
            let readable = std::mem::take(&mut conn.unread);
            if handle_events(&mut self.links, slot, handler) | readable {
                read(&mut self.links, slot, &mut self.chunks, handler, turn);
            }
            sign_of_life(&mut self.links, slot, handler);
        }
        // Callbacks touch nothing; what was read in part is looked at again in the next turn.
        touched.append(&mut self.links.touched);
        self.links.touched = touched;
    }

    /// Writes and transmits what every link has to send, each its share.
    fn flush(&mut self, turn: &mut Turn) -> io::Result<()> {
        let now = Instant::now();
        self.links.now = now;
        for _ in 0..self.links.flush.len() {
            let Some(slot) = self.links.flush.pop_front() else {
                break;
            };
            let Some(conn) = self.links.conn(slot) else {
                continue;
            };
            conn.in_flush = false;
            let (index, handle) = (conn.listener, conn.handle);
            write(&mut self.links, slot);
            let listener = &mut self.listeners[index];
            let outcome = transmit(&mut self.links, slot, listener, &mut self.transmit, turn);
            acknowledge(&mut self.links, slot, listener, &mut self.transmit, outcome, turn);
            let drained = forward_events(&mut self.links, slot, listener);
            if let Some(event) = drained {
                forget(listener, &mut self.links, slot, handle, event);
                continue;
            }
            if outcome == Transmitted::Share {
                self.links.queue_flush(slot);
            }
            let Some((conn, _, timers)) = self.links.conn_to_flush(slot) else {
                continue;
            };
            let wanted = min_some(conn.quic.poll_timeout(), min_some(conn.deadline, conn.ack_by));
            timers.arm(slot, &mut conn.armed, wanted);
        }
        for listener in self.listeners.iter_mut().filter(|listener| listener.is_blocked()) {
            listener.await_room(self.poll.registry())?;
        }
        Ok(())
    }
}

/// It has the long header of packets before the end of a handshake (RFC 9000 §17.2).
fn is_long(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 != 0)
}

/// Decides about a first packet.
fn judge(
    listener: &mut Listener,
    index: usize,
    links: &mut Links,
    backlog: &mut Backlog<(usize, Incoming)>,
    buffer: &mut Vec<u8>,
    incoming: Incoming,
    turn: &mut Turn,
) {
    let address = incoming.remote_address().ip().to_canonical();
    let proven = incoming.remote_address_validated();
    buffer.clear();
    let transmit = match links.admission.verdict(&links.limits, address, proven) {
        Verdict::Accept => {
            links.admission.enter(address);
            backlog.push(address, (index, incoming), links.now);
            return;
        }
        Verdict::Retry => match listener.endpoint.retry(incoming, buffer) {
            Ok(transmit) => {
                turn.retries += 1;
                transmit
            }
            // It has been asked already, and answered with a token that proves nothing.
            Err(refused) => listener.endpoint.refuse(refused.into_incoming(), buffer),
        },
        Verdict::Refuse => {
            turn.refused += 1;
            listener.endpoint.refuse(incoming, buffer)
        }
    };
    listener.respond(&transmit, buffer, turn);
}

fn report_ended<H: Handler>(links: &mut Links, handler: &mut H) {
    while let Some((link, reason)) = links.ended.pop_front() {
        handler.on_close(links, link, &reason);
    }
}

/// Gives the stream what it takes of what waits.
fn write(links: &mut Links, slot: u32) {
    let soft = links.limits.out_bytes_soft;
    let Some((conn, spare, _)) = links.conn_to_flush(slot) else {
        return;
    };
    let written = conn.write(spare);
    let (link, eased) = (conn.id, conn.full && conn.backlog() <= soft / 2);
    if eased {
        conn.full = false;
    }
    if matches!(conn.state, State::Delivering(_)) && conn.backlog() == 0 && !conn.finished {
        conn.finished = true;
        if let Some(stream) = conn.stream
            && conn.quic.send_stream(stream).finish().is_err()
        {
            on_sending_ended(links, slot); // stopped by the peer
        }
    }
    links.wrote(written);
    if eased && links.payload_max(link).is_some() {
        links.eased.push_back(link);
    }
}

/// Why transmitting ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transmitted {
    /// There is nothing more to send.
    All,
    /// What is left waits for the congestion window or the pace.
    Window,
    /// What is left waits for the next turn, or for the socket.
    Share,
}

/// Sends a link's packets.
fn transmit(
    links: &mut Links,
    slot: u32,
    listener: &mut Listener,
    buffer: &mut Vec<u8>,
    turn: &mut Turn,
) -> Transmitted {
    let now = links.now;
    let Some(conn) = links.conn(slot) else {
        return Transmitted::All;
    };
    let mut share = TRANSMIT_BYTES_PER_TURN;
    loop {
        if listener.is_blocked() || share == 0 {
            return Transmitted::Share;
        }
        let mtu = usize::from(conn.quic.current_mtu());
        let segments = listener
            .segments_max()
            .min(GSO_SEGMENTS)
            .min(GSO_BYTES / mtu)
            .max(1);
        buffer.clear();
        let built = listener
            .gate
            .watch(|| conn.quic.poll_transmit(now, segments, buffer));
        match built {
            (Some(transmit), _) => {
                share = share.saturating_sub(transmit.size);
                listener.send(transmit, buffer, turn);
            }
            (None, true) => return Transmitted::Window,
            (None, false) => return Transmitted::All,
        }
    }
}

/// Sends an acknowledgement that the congestion window has held back for a round trip, or for
/// [`ACK_DELAY_MAX`]; see `congestion` for what else would happen. It takes data along, a packet full, so
/// a link exceeds its window by one packet in that time at most.
fn acknowledge(
    links: &mut Links,
    slot: u32,
    listener: &mut Listener,
    buffer: &mut Vec<u8>,
    outcome: Transmitted,
    turn: &mut Turn,
) {
    let now = links.now;
    let Some(conn) = links.conn(slot) else { return };
    if !conn.owes_ack() || outcome != Transmitted::Window {
        conn.ack_by = None;
        return;
    }
    let delay = conn.quic.rtt().clamp(ACK_DELAY_MIN, ACK_DELAY_MAX);
    if *conn.ack_by.get_or_insert(now + delay) > now || listener.is_blocked() {
        return;
    }
    conn.ack_by = None;
    buffer.clear();
    if let Some(transmit) = listener.gate.pass(|| conn.quic.poll_transmit(now, 1, buffer)) {
        listener.send(transmit, buffer, turn);
    }
    conn.owes_ack();
}

/// Carries events between a connection and its endpoint. `Some`: the connection has drained.
fn forward_events(links: &mut Links, slot: u32, listener: &mut Listener) -> Option<EndpointEvent> {
    let conn = links.conn(slot)?;
    while let Some(event) = conn.quic.poll_endpoint_events() {
        if event.is_drained() {
            return Some(event);
        }
        if let Some(answer) = listener.endpoint.handle_event(conn.handle, event) {
            conn.quic.handle_event(answer);
        }
    }
    None
}

fn forget(
    listener: &mut Listener,
    links: &mut Links,
    slot: u32,
    handle: ConnectionHandle,
    drained: EndpointEvent,
) {
    listener.endpoint.handle_event(handle, drained);
    listener.set_slot(handle, None);
    links.remove(slot);
}

fn min_some<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
