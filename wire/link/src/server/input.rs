//! What came in on one link: QUIC's events, frames, signs of life.

use super::conn::{Conn, State};
use super::{Handler, Links, Turn};
use crate::clients::PeerCertificate;
use crate::close::{Close, code};
use crate::limits::READ_BYTES_PER_TURN;
use bytes::Bytes;
use quinn_proto::crypto::rustls::HandshakeData;
use quinn_proto::{ConnectionError, Dir, Event, ReadError, StreamEvent, VarInt};
use rustls_pki_types::CertificateDer;

/// Handles QUIC's events of one link; whether its stream has something to read.
pub(super) fn handle_events<H: Handler>(links: &mut Links, slot: u32, handler: &mut H) -> bool {
    let mut readable = false;
    loop {
        let Some(conn) = links.conn(slot) else {
            return false;
        };
        let Some(event) = conn.quic.poll() else {
            return readable;
        };
        match event {
            Event::Connected => {
                let data = conn.quic.crypto_session().handshake_data();
                let data = data.and_then(|data| data.downcast::<HandshakeData>().ok());
                let alpn = data.and_then(|data| data.protocol).unwrap_or_default();
                let shown = conn.quic.crypto_session().peer_identity();
                let shown = shown.and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
                let certificate = shown.and_then(|chain| PeerCertificate::parse(chain.first()?));
                if let Some((link, peer)) = links.connected(slot, &alpn, certificate) {
                    handler.on_open(links, link, peer);
                }
            }
            Event::ConnectionLost { reason } => links.lost(slot, describe(&reason)),
            Event::Stream(StreamEvent::Opened { dir: Dir::Bi }) => {
                let opened = conn.quic.streams().accept(Dir::Bi);
                if conn.stream.is_none() {
                    conn.stream = opened;
                }
                readable = true;
            }
            Event::Stream(StreamEvent::Readable { .. }) => readable = true,
            Event::Stream(StreamEvent::Writable { .. }) => links.queue_flush(slot),
            Event::Stream(StreamEvent::Finished { .. } | StreamEvent::Stopped { .. }) => {
                on_sending_ended(links, slot)
            }
            _ => {}
        }
    }
}

/// The peer has received everything, or wants no more.
pub(super) fn on_sending_ended(links: &mut Links, slot: u32) {
    let now = links.now;
    let Some(conn) = links.conn(slot) else { return };
    if let State::Delivering(close) = &conn.state {
        conn.quic.close(
            now,
            VarInt::from_u32(close.code),
            Bytes::from(close.reason.to_string()),
        );
        links.closed(slot);
    } else {
        let link = conn.id;
        links.abort(link, Close::new(code::DONE, "the peer wants to receive no more"));
    }
}

/// Reads a link's share and gives its frames to the owner.
pub(super) fn read<H: Handler>(
    links: &mut Links,
    slot: u32,
    chunks: &mut Vec<Bytes>,
    handler: &mut H,
    turn: &mut Turn,
) {
    let Some(conn) = links.conn(slot).filter(|conn| conn.state.is_live()) else {
        return;
    };
    let (link, listener) = (conn.id, conn.peer.listener);
    let Some(stop) = take_chunks(conn, chunks) else {
        return;
    };
    // What was read makes room for more, and the peer has to hear of it: also when this was the rest of an
    // earlier turn's input, and nothing else is to be sent.
    links.queue_flush(slot);
    let mut reader = links.take_reader(slot);
    'chunks: for chunk in chunks.iter() {
        let mut input = &chunk[..];
        // Asked anew for every frame: the owner's answer to one may authenticate or end the link.
        while let Some(payload_max) = links.payload_max(link) {
            match reader.next(&mut input, payload_max) {
                Ok(Some((kind, payload))) => {
                    turn.frames_in += 1;
                    if let Err(close) = handler.on_frame(links, link, listener, kind, payload) {
                        links.abort(link, close);
                    }
                }
                Ok(None) => continue 'chunks,
                Err(error) => links.abort(link, Close::new(code::FRAME, error.to_string())),
            }
        }
        break;
    }
    chunks.clear();
    links.put_reader(link, reader);
    match stop {
        Stop::Empty => {}
        Stop::Share => {
            if let Some(conn) = links
                .conn(slot)
                .filter(|conn| conn.id == link && conn.state.is_live())
            {
                conn.unread = true;
                links.touch(slot);
            }
        }
        Stop::End => links.close(link, code::DONE, "the peer has finished"),
        Stop::Reset => links.abort(link, Close::new(code::DONE, "the peer has given up its stream")),
    }
}

/// Why reading stopped.
enum Stop {
    Empty,
    Share,
    End,
    Reset,
}

/// Takes what the stream has, up to a turn's share. `None`: there is no stream to read.
fn take_chunks(conn: &mut Conn, chunks: &mut Vec<Bytes>) -> Option<Stop> {
    let mut stream = conn.quic.recv_stream(conn.stream?);
    let mut source = stream.read(true).ok()?;
    let mut share = READ_BYTES_PER_TURN;
    let stop = loop {
        match source.next(share) {
            Ok(Some(chunk)) => {
                share -= chunk.bytes.len();
                chunks.push(chunk.bytes);
                if share == 0 {
                    break Stop::Share;
                }
            }
            Ok(None) => break Stop::End,
            Err(ReadError::Blocked) => break Stop::Empty,
            Err(ReadError::Reset(_)) => break Stop::Reset,
        }
    };
    // New flow-control credit leaves with the flush, which every link gets that was read.
    let _ = source.finalize();
    Some(stop)
}

/// Tells the owner that the peer lives, if something of it was really received.
pub(super) fn sign_of_life<H: Handler>(links: &mut Links, slot: u32, handler: &mut H) {
    let Some(conn) = links.conn(slot) else { return };
    if !std::mem::take(&mut conn.seen) || !conn.state.is_live() {
        return;
    }
    // A datagram may be forged; what decrypts to frames is the peer's.
    let life = conn.frames_received();
    if life == std::mem::replace(&mut conn.life, life) {
        return;
    }
    conn.peer.addr = conn.quic.remote_address();
    let link = conn.id;
    handler.on_received(links, link);
}

/// For the owner, and for its log.
fn describe(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(close) if close.reason.is_empty() => {
            format!("closed by the peer, code {}", close.error_code)
        }
        ConnectionError::ApplicationClosed(close) => {
            format!("closed by the peer: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::TimedOut => "nothing was heard from the peer for the idle timeout".to_owned(),
        ConnectionError::Reset => "the peer does not know this connection: it has restarted".to_owned(),
        other => other.to_string(),
    }
}
