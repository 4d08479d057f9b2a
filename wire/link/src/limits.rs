//! What peers may make a server hold or do.
//!
//! The worst that all peers together can cause, with the defaults:
//!
//! | what | bound | bytes |
//! | --- | --- | --- |
//! | connections, with their TLS state or the first packet that waits | `links_max` × about 20 KiB | 320 MiB |
//! | unauthenticated peers' unread bytes | `links_max` × `greeting_window_bytes` | 512 MiB |
//! | authenticated peers' unread bytes | two listeners' `window_bytes_total` + `links_max` × 64 KiB | 1.3 GiB |
//! | frames half received, frames that wait to be sent | `buffered_bytes_max` | 256 MiB |
//! | bytes sent and not acknowledged | as many as unread bytes, for the same links | 1.3 GiB |
//!
//! The rows exclude each other for the most part: reaching one takes thousands of authenticated
//! accomplices; an unauthenticated peer, wherever it claims to come from, is confined to the first
//! two, and the last row needs peers that ask for bulk and acknowledge nothing within the idle timeout.

use std::time::Duration;
use thiserror::Error;
use wire_protocol::frame::{HEADER_BYTES, PAYLOAD_BYTES_MAX};

/// Bounds of a server, all of them.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections in any state. Beyond it a peer is refused. Default 16 384, at most 2²⁰.
    pub links_max: usize,
    /// Connections from one IP address. Workers behind one NAT share it. Default 4 096.
    pub links_per_address_max: usize,
    /// Connections whose handshake is under way. Beyond it a peer waits for its turn. Default 1 024.
    pub handshakes_max: usize,
    /// Handshakes under way from one IP address. Default 512, more than `retry_above`, so that forged
    /// addresses alone cannot shut out their true owner.
    pub handshakes_per_address_max: usize,
    /// With this many handshakes under way or waiting, a peer must first prove its address by a Retry, which
    /// costs the server no memory. Default 128; 0 asks for it always.
    pub retry_above: usize,
    /// Time to wait for a handshake, then the peer is refused and tries again; and time for the handshake, then
    /// the connection is forgotten. Default 5 s.
    pub handshake_deadline: Duration,
    /// Time from the end of the handshake until the owner calls `Links::authenticated`. Default 5 s.
    pub authentication_deadline: Duration,
    /// Time for the frames sent before a close to arrive. Default 2 s.
    pub close_deadline: Duration,
    /// Largest payload of a peer that is not authenticated. Default 16 KiB.
    pub greeting_payload_bytes_max: usize,
    /// Bytes that may be under way, either way, before a peer is authenticated. Default 32 KiB.
    pub greeting_window_bytes: u32,
    /// Bytes that an authenticated peer may have under way. Default 512 KiB: full speed of a gigabit line at 4 ms round
    /// trip. Links get less when `window_bytes_total` runs out. What several peers may send at once should fit a socket's
    /// buffer: where 8 clients had 2 MiB each, thousands of packets a second were dropped on loopback.
    pub window_bytes_max: u32,
    /// Sum of the windows of all authenticated links of one listener; an eighth of what is left is the most
    /// that the next link gets, 64 KiB the least. Default 128 MiB.
    pub window_bytes_total: u64,
    /// Bytes sent and not acknowledged, per link; never more than the link's own window. Default 1 MiB.
    pub send_window_bytes: u64,
    /// Bytes waiting to be sent on one link from which `Links::send` answers `Full`. Default 1 MiB.
    pub out_bytes_soft: usize,
    /// Bytes waiting to be sent on one link, beyond which it is closed. Default 4 MiB.
    pub out_bytes_hard: usize,
    /// Bytes waiting to be sent, and of frames half received, over all links; beyond it the link that
    /// holds the most is closed. Default 256 MiB.
    pub buffered_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            links_max: 16_384,
            links_per_address_max: 4_096,
            handshakes_max: 1_024,
            handshakes_per_address_max: 512,
            retry_above: 128,
            handshake_deadline: Duration::from_secs(5),
            authentication_deadline: Duration::from_secs(5),
            close_deadline: Duration::from_secs(2),
            greeting_payload_bytes_max: 16 << 10,
            greeting_window_bytes: 32 << 10,
            window_bytes_max: 512 << 10,
            window_bytes_total: 128 << 20,
            send_window_bytes: 1 << 20,
            out_bytes_soft: 1 << 20,
            out_bytes_hard: 4 << 20,
            buffered_bytes_max: 256 << 20,
        }
    }
}

/// Limits that contradict each other.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
#[error("link limits: {rule}")]
pub struct LimitsError {
    /// The rule that is broken.
    pub rule: &'static str,
}

impl Limits {
    /// Checks the limits against each other.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), LimitsError> {
        let rules = [
            (
                self.links_max >= 1 && self.links_max <= LINKS_CEILING,
                "links_max must be from 1 to 1048576",
            ),
            (
                self.links_per_address_max >= 1,
                "links_per_address_max must be at least 1",
            ),
            (self.handshakes_max >= 1, "handshakes_max must be at least 1"),
            (
                self.handshakes_per_address_max > self.retry_above.min(self.handshakes_max - 1),
                "handshakes_per_address_max must be more than retry_above",
            ),
            (
                self.greeting_payload_bytes_max <= PAYLOAD_BYTES_MAX,
                "greeting_payload_bytes_max must not exceed the largest frame",
            ),
            (
                self.greeting_window_bytes as usize >= HEADER_BYTES + 1024,
                "greeting_window_bytes must be at least 1029",
            ),
            (
                self.window_bytes_max >= WINDOW_BYTES_MIN,
                "window_bytes_max must be at least 65536",
            ),
            (
                self.send_window_bytes >= 16 << 10,
                "send_window_bytes must be at least 16384",
            ),
            (
                self.out_bytes_soft <= self.out_bytes_hard,
                "out_bytes_soft must not exceed out_bytes_hard",
            ),
            (
                self.out_bytes_hard <= self.buffered_bytes_max,
                "out_bytes_hard must not exceed buffered_bytes_max",
            ),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(LimitsError { rule }),
            None => Ok(()),
        }
    }
}

/// A link id has 20 bits for its slot.
pub(crate) const LINKS_CEILING: usize = 1 << 20;
/// The window that an authenticated link gets when the total is used up.
pub(crate) const WINDOW_BYTES_MIN: u32 = 64 << 10;

// One turn of the loop. A turn does a bounded amount of each kind of work, so that no peer, however
// busy, delays the others or the owner's timers by more than a few milliseconds.

/// Calls of `recvmmsg` per listener, each of which returns up to 32 buffers of up to 64 KiB.
pub(crate) const RECEIVE_CALLS_PER_TURN: usize = 8;
/// Handshakes begun; one costs about 150 µs, most of it the signature.
pub(crate) const ACCEPTS_PER_TURN: usize = 16;
/// Handshakes begun while a socket still holds packets: what is not read in time is lost, and comes again.
pub(crate) const ACCEPTS_WHILE_READING: usize = 4;
/// First packets of the backlog looked at to find one whose address has room.
pub(crate) const BACKLOG_LOOKS_MAX: usize = 64;
/// Bytes read from one link.
pub(crate) const READ_BYTES_PER_TURN: usize = 256 << 10;
/// Bytes transmitted for one link.
pub(crate) const TRANSMIT_BYTES_PER_TURN: usize = 256 << 10;
/// Largest datagram with a packet of a handshake; peers send 1 200 bytes, and no more before they know the path.
pub(crate) const FIRST_PACKET_BYTES_MAX: usize = 4_096;
/// Time between two peers of the server before that are called back: ten thousand come within four seconds, about
/// as fast as two cores shake hands with them.
pub(crate) const RECALL_INTERVAL: Duration = Duration::from_micros(330);
/// Bytes given to one `sendmsg`: the kernel segments at most one 64 KiB datagram, headers included.
pub(crate) const GSO_BYTES: usize = 64_000;
/// Datagrams given to one `sendmsg`; the kernel takes at most 64.
pub(crate) const GSO_SEGMENTS: usize = 44;

/// Time for which a full congestion window holds back an acknowledgement: a round trip, within these
/// bounds. The upper one is what QUIC promises the peer, which takes it out of the round trip times that
/// it measures; what is longer, it would take for distance.
pub(crate) const ACK_DELAY_MAX: Duration = Duration::from_millis(25);
/// See [`ACK_DELAY_MAX`]. On loopback a round trip is shorter than a turn.
pub(crate) const ACK_DELAY_MIN: Duration = Duration::from_millis(1);

const _: () = assert!(RECEIVE_CALLS_PER_TURN > 0 && ACCEPTS_PER_TURN > 0);
const _: () = assert!(GSO_BYTES + 1452 <= 65_535 + 1452 && GSO_SEGMENTS <= 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn a_broken_rule_is_named() {
        let limits = Limits {
            out_bytes_soft: 2,
            out_bytes_hard: 1,
            ..Limits::default()
        };
        assert_eq!(
            limits.check().unwrap_err().rule,
            "out_bytes_soft must not exceed out_bytes_hard"
        );
        let limits = Limits {
            links_max: LINKS_CEILING + 1,
            ..Limits::default()
        };
        assert_eq!(
            limits.check().unwrap_err().rule,
            "links_max must be from 1 to 1048576"
        );
    }
}
