//! The links of a server, as its owner sees them: send, close, ask. No syscall happens here; what is
//! sent or closed takes effect when the turn ends.

use super::admission::Admission;
use super::conn::{Conn, State};
use super::roster::Roster;
use super::timers::Timers;
use super::windows::Windows;
use super::{Peer, SendStatus};
use crate::clients::PeerCertificate;
use crate::close::{Close, code};
use crate::limits::Limits;
use bytes::Bytes;
use quinn_proto::VarInt;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;
use wire_protocol::ids::LinkId;

/// Bits of a link id that are its slot; the rest counts how often the slot was used.
const SLOT_BITS: u32 = 20;

/// The place of a link in a dense table: below `Limits::links_max`, used again by another link after
/// `on_close`. For owners that keep something per link in a `Vec`.
#[must_use]
pub fn slot(link: LinkId) -> usize {
    usize::try_from(link.0 & ((1 << SLOT_BITS) - 1)).expect("20 bits")
}

/// All links of a server.
pub struct Links {
    pub(crate) limits: Limits,
    /// The time of this turn.
    pub(crate) now: Instant,
    pub(crate) admission: Admission,
    pub(crate) timers: Timers,
    /// Links with events to look at in this turn.
    pub(crate) touched: Vec<u32>,
    /// Links with something to send, in turn.
    pub(crate) flush: VecDeque<u32>,
    /// Links whose end the owner is to be told.
    pub(crate) ended: VecDeque<(LinkId, String)>,
    /// Links that were full and have room again.
    pub(crate) eased: VecDeque<LinkId>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    live: usize,
    buffered: usize,
    windows: Windows,
    spare: Vec<Vec<u8>>,
    pub(crate) roster: Roster,
}

#[derive(Default)]
struct Slot {
    uses: u64,
    conn: Option<Box<Conn>>,
}

impl Links {
    pub(crate) fn new(limits: Limits, roster: Roster) -> Self {
        Self {
            limits,
            now: Instant::now(),
            admission: Admission::default(),
            timers: Timers::default(),
            touched: Vec::new(),
            flush: VecDeque::new(),
            ended: VecDeque::new(),
            eased: VecDeque::new(),
            slots: Vec::new(),
            free: Vec::new(),
            live: 0,
            buffered: 0,
            windows: Windows::default(),
            spare: Vec::new(),
            roster,
        }
    }

    /// Appends whole frames to what waits to be sent on `link`. Cheap: a copy into a buffer.
    pub fn send(&mut self, link: LinkId, frames: &[u8]) -> SendStatus {
        let (soft, hard) = (self.limits.out_bytes_soft, self.limits.out_bytes_hard);
        let Some(conn) = live(&mut self.slots, link) else {
            return SendStatus::Gone;
        };
        let backlog = conn.backlog() + frames.len();
        if backlog > hard {
            let reason =
                format!("{backlog} bytes wait for this peer, which reads too slowly; the limit is {hard}");
            self.abort(link, Close::new(code::SLOW, reason));
            return SendStatus::Gone;
        }
        conn.push(frames, &mut self.spare);
        conn.full |= backlog > soft;
        queue_flush(&mut self.flush, link, conn);
        let status = if conn.full {
            SendStatus::Full
        } else {
            SendStatus::Taken
        };
        self.buffered += frames.len();
        if self.buffered <= self.limits.buffered_bytes_max {
            return status;
        }
        self.shed();
        if live(&mut self.slots, link).is_some() {
            status
        } else {
            SendStatus::Gone
        }
    }

    /// Bytes that wait to be sent on `link`, beyond those QUIC has taken; 0 if it is gone.
    #[must_use]
    pub fn backlog(&self, link: LinkId) -> usize {
        self.live(link).map_or(0, Conn::backlog)
    }

    /// The peer of `link`; `None` if it is gone.
    #[must_use]
    pub fn peer(&self, link: LinkId) -> Option<&Peer> {
        self.live(link).map(|conn| &conn.peer)
    }

    /// Links that the owner knows: opened and not closed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live
    }

    /// The owner knows no link.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Connections in any state, those that wait for a handshake and those that are being closed included.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.admission.links()
    }

    /// Connections whose handshake is under way or was given up and has not yet drained.
    #[must_use]
    pub fn handshakes(&self) -> usize {
        self.admission.handshakes()
    }

    /// Bytes that wait to be sent and bytes of frames half received, over all links.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// The owner knows who the peer is: frames up to the protocol's bound are accepted from now on, and
    /// the link no longer has to hurry. A repeat, or a link that is gone, changes nothing.
    pub fn authenticated(&mut self, link: LinkId) {
        let Some(conn) = live(&mut self.slots, link).filter(|conn| matches!(conn.state, State::Greeting))
        else {
            return;
        };
        let window = self.windows.grant(conn.listener, &self.limits);
        conn.state = State::Open;
        conn.deadline = None;
        self.roster.enter(slot(link), conn.entry());
        conn.window = window;
        conn.quic
            .set_receive_window(VarInt::try_from(window).expect("at most 32 bits"));
        conn.quic
            .set_send_window(window.min(self.limits.send_window_bytes));
        queue_flush(&mut self.flush, link, conn);
    }

    /// Closes `link` after what was sent on it has arrived, within `Limits::close_deadline`. The owner
    /// hears of it by `on_close`, and nothing else of this link any more. A link that is gone stays so.
    pub fn close(&mut self, link: LinkId, code: u32, reason: &str) {
        let deadline = self.now + self.limits.close_deadline;
        let Some(conn) = live(&mut self.slots, link) else {
            return;
        };
        let close = Close::new(code, reason.to_owned());
        if conn.stream.is_none() || (!conn.wrote && conn.backlog() == 0) {
            return self.abort(link, close);
        }
        conn.state = State::Delivering(close);
        conn.deadline = Some(deadline);
        queue_flush(&mut self.flush, link, conn);
        self.buffered -= conn.reader.held();
        conn.reader = crate::frames::FrameReader::default();
        self.end(link, reason.to_owned());
    }

    /// Closes every link, and every connection whose handshake is under way: it would become a link otherwise.
    pub(crate) fn close_all(&mut self, code: u32, reason: &str) {
        self.admission.closing = true;
        for link in self.ids() {
            self.close(link, code, reason);
        }
        let now = self.now;
        for index in 0..self.slots.len() as u32 {
            let Some(conn) = self
                .conn(index)
                .filter(|conn| matches!(conn.state, State::Handshaking))
            else {
                continue;
            };
            let reason = Bytes::copy_from_slice(reason.as_bytes());
            conn.quic.close(now, VarInt::from_u32(code), reason);
            self.closed(index);
        }
    }

    /// Keying material of the TLS session (RFC 8446 §7.5), equal at both ends and known to nobody else:
    /// what a login is bound to. `None` if the link is gone.
    #[must_use]
    pub fn export_keying_material(&self, link: LinkId, label: &[u8], context: &[u8]) -> Option<[u8; 32]> {
        let mut output = [0; 32];
        let session = self.live(link)?.quic.crypto_session();
        session
            .export_keying_material(&mut output, label, context)
            .ok()
            .map(|()| output)
    }

    /// Closes `link` at once; what was not delivered is lost. For peers that break the rules.
    pub(crate) fn abort(&mut self, link: LinkId, close: Close) {
        let now = self.now;
        let Some(conn) = live(&mut self.slots, link) else {
            return;
        };
        conn.quic.close(
            now,
            VarInt::from_u32(close.code),
            Bytes::from(close.reason.to_string()),
        );
        let reason = close.reason.into_owned();
        self.closed(index(link));
        self.end(link, reason);
    }

    /// QUIC has closed this connection, or was told to: nothing is held for it any more but QUIC's own
    /// state, until that has drained.
    pub(crate) fn closed(&mut self, index: u32) {
        let Some(conn) = self.slots[index as usize].conn.as_deref_mut() else {
            return;
        };
        self.buffered -= conn.held();
        self.windows
            .give_back(conn.listener, std::mem::take(&mut conn.window));
        conn.discard(&mut self.spare);
        conn.state = State::Closed;
        conn.deadline = None;
        conn.unread = false;
        queue_flush(&mut self.flush, conn.id, conn);
    }

    /// The connection was lost, by the peer's will or by time.
    pub(crate) fn lost(&mut self, index: u32, reason: String) {
        let Some(conn) = self.conn(index) else { return };
        let (id, live) = (conn.id, conn.state.is_live());
        self.closed(index);
        if live {
            self.end(id, reason);
        }
    }

    /// The owner must be told that this link, which it knows, is no more.
    fn end(&mut self, link: LinkId, reason: String) {
        self.live -= 1;
        self.ended.push_back((link, reason));
    }

    /// Closes the link that holds the most, until the bound is kept.
    pub(crate) fn shed(&mut self) {
        while self.buffered > self.limits.buffered_bytes_max {
            let conns = self.slots.iter().filter_map(|slot| slot.conn.as_deref());
            let largest = conns
                .filter(|conn| conn.held() > 0)
                .max_by_key(|conn| conn.held());
            let Some(largest) = largest else { return };
            let (id, at, live) = (largest.id, index(largest.id), largest.state.is_live());
            if live {
                self.abort(
                    id,
                    Close::new(
                        code::BUSY,
                        "the server holds as much as it may, and most for this peer",
                    ),
                );
            } else {
                self.closed(at);
            }
        }
    }

    /// The handshake is complete: the owner is about to learn of the link.
    pub(crate) fn connected(
        &mut self,
        index: u32,
        alpn: &[u8],
        certificate: Option<PeerCertificate>,
    ) -> Option<(LinkId, Peer)> {
        let deadline = self.now + self.limits.authentication_deadline;
        let conn = self.slots[index as usize].conn.as_deref_mut()?;
        if !matches!(conn.state, State::Handshaking) {
            return None; // closed meanwhile
        }
        conn.state = State::Greeting;
        conn.deadline = Some(deadline);
        conn.peer.alpn = alpn.into();
        conn.peer.certificate = certificate.map(Arc::new);
        conn.established = true;
        self.live += 1;
        self.admission.establish(conn.counted);
        Some((conn.id, conn.peer.clone()))
    }

    pub(crate) fn insert(&mut self, mut conn: Conn) -> u32 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("fewer links than a slot has bits")
        });
        let slot = &mut self.slots[index as usize];
        slot.uses += 1;
        conn.id = LinkId(slot.uses << SLOT_BITS | u64::from(index));
        conn.deadline = Some(self.now + self.limits.handshake_deadline);
        slot.conn = Some(Box::new(conn));
        index
    }

    /// Frees the slot of a connection that QUIC has forgotten.
    pub(crate) fn remove(&mut self, index: u32) {
        self.lost(index, "forgotten".to_owned());
        let Some(conn) = self.slots[index as usize].conn.take() else {
            return;
        };
        self.timers.disarm(index, conn.armed);
        if conn.established {
            self.roster.leave(index as usize);
        }
        self.admission.leave(conn.counted, !conn.established);
        self.free.push(index);
    }

    pub(crate) fn conn(&mut self, index: u32) -> Option<&mut Conn> {
        self.slots.get_mut(index as usize)?.conn.as_deref_mut()
    }

    /// The connection with the two things that writing to it needs.
    pub(crate) fn conn_to_flush(
        &mut self,
        index: u32,
    ) -> Option<(&mut Conn, &mut Vec<Vec<u8>>, &mut Timers)> {
        let conn = self.slots.get_mut(index as usize)?.conn.as_deref_mut()?;
        Some((conn, &mut self.spare, &mut self.timers))
    }

    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.buffered -= bytes;
    }

    /// Takes the reader out of a link, so that frames can be given to the owner beside the links.
    pub(crate) fn take_reader(&mut self, index: u32) -> crate::frames::FrameReader {
        let Some(conn) = self.conn(index) else {
            return Default::default();
        };
        let reader = std::mem::take(&mut conn.reader);
        self.buffered -= reader.held();
        reader
    }

    /// Puts a reader back, unless the link has ended meanwhile.
    pub(crate) fn put_reader(&mut self, link: LinkId, reader: crate::frames::FrameReader) {
        let Some(conn) = live(&mut self.slots, link) else {
            return;
        };
        self.buffered += reader.held();
        conn.reader = reader;
        if self.buffered > self.limits.buffered_bytes_max {
            self.shed();
        }
    }

    /// The largest payload that `link` may send now; `None` if it is gone.
    pub(crate) fn payload_max(&self, link: LinkId) -> Option<usize> {
        self.live(link).map(|conn| match conn.state {
            State::Open => wire_protocol::frame::PAYLOAD_BYTES_MAX,
            _ => self.limits.greeting_payload_bytes_max,
        })
    }

    pub(crate) fn touch(&mut self, index: u32) {
        let Some(conn) = self.slots[index as usize].conn.as_deref_mut() else {
            return;
        };
        if !conn.in_touched {
            conn.in_touched = true;
            self.touched.push(index);
        }
        queue_flush(&mut self.flush, conn.id, conn);
    }

    pub(crate) fn queue_flush(&mut self, index: u32) {
        if let Some(conn) = self.slots[index as usize].conn.as_deref_mut() {
            queue_flush(&mut self.flush, conn.id, conn);
        }
    }

    /// The links that the owner knows, in no order.
    #[must_use]
    pub fn ids(&self) -> Vec<LinkId> {
        let conns = self.slots.iter().filter_map(|slot| slot.conn.as_deref());
        conns
            .filter(|conn| conn.state.is_live())
            .map(|conn| conn.id)
            .collect()
    }

    fn live(&self, link: LinkId) -> Option<&Conn> {
        let conn = self.slots.get(slot(link))?.conn.as_deref()?;
        (conn.id == link && conn.state.is_live()).then_some(conn)
    }
}

pub(crate) fn index(link: LinkId) -> u32 {
    u32::try_from(slot(link)).expect("20 bits")
}

fn live(slots: &mut [Slot], link: LinkId) -> Option<&mut Conn> {
    let conn = slots.get_mut(slot(link))?.conn.as_deref_mut()?;
    (conn.id == link && conn.state.is_live()).then_some(conn)
}

fn queue_flush(flush: &mut VecDeque<u32>, link: LinkId, conn: &mut Conn) {
    if !conn.in_flush {
        conn.in_flush = true;
        flush.push_back(index(link));
    }
}
