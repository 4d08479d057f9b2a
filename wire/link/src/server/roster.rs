//! Who is connected, kept in a file, so that the next server can call them back.
//!
//! A server that was killed has said goodbye to nobody. Its peers would notice with their next sign of life, which is
//! seconds away for a worker that rests. So a server notes of every authenticated link where its peer is and the
//! connection id that the peer uses, and the next server sends each a stateless reset (RFC 9000 §10.3): to the peer the
//! end of that connection at once, to anybody else 40 bytes that mean nothing.
//!
//! The file is a hint. It is not synced, a peer that has moved since is not found, and whatever stands in it is tried
//! and forgotten; a peer that is not reached this way notices by itself. Each slot of the links has one entry of
//! [`ENTRY_BYTES`]:
//!
//! | bytes | |
//! | --- | --- |
//! | 1 | 4 or 6, the IP version of the address; 0: nobody |
//! | 1 | the [`ListenerId`] |
//! | 2 | port, little-endian |
//! | 16 | address, an IPv4 address in the first four |
//! | 8 | connection id |
//! | 4 | zero |

use super::ListenerId;
use super::ids::ID_BYTES;
use crate::limits::{LINKS_CEILING, RECALL_INTERVAL};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one entry.
const ENTRY_BYTES: usize = 32;
/// Bytes of a stateless reset: what cannot be told from a small packet, and the token.
const RESET_BYTES: usize = 24 + TOKEN_BYTES;
const TOKEN_BYTES: usize = 16;

/// A peer, by what a later server needs to call it back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) listener: ListenerId,
    pub(crate) addr: SocketAddr,
    /// The connection id that the peer sends to.
    pub(crate) id: [u8; ID_BYTES],
}

/// The file, and those of the server before who were not called back yet.
#[derive(Default)]
pub(crate) struct Roster {
    file: Option<File>,
    before: VecDeque<Entry>,
    next_at: Option<Instant>,
}

impl Roster {
    /// Reads who was connected, and begins anew.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut bytes = Vec::new();
        (&mut file)
            .take((LINKS_CEILING * ENTRY_BYTES) as u64)
            .read_to_end(&mut bytes)?;
        file.set_len(0)?;
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        Ok(Self {
            before: entries.iter().filter_map(decode).collect(),
            file: Some(file),
            next_at: None,
        })
    }

    /// A link was authenticated.
    pub(crate) fn enter(&self, slot: usize, entry: Entry) {
        self.write(slot, &encode(entry));
    }

    /// A link is no more.
    pub(crate) fn leave(&self, slot: usize) {
        self.write(slot, &[0; ENTRY_BYTES]);
    }

    fn write(&self, slot: usize, entry: &[u8; ENTRY_BYTES]) {
        let Some(file) = &self.file else { return };
        if let Err(error) = file.write_all_at(entry, (slot * ENTRY_BYTES) as u64) {
            tracing::debug!(%error, "a link is not in the roster");
        }
    }

    /// Time until somebody is to be called back.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        let next_at = self.next_at.unwrap_or(now);
        (!self.before.is_empty()).then(|| next_at.saturating_duration_since(now))
    }

    /// The next who is to be called back by now. One in [`RECALL_INTERVAL`]: they all come at once.
    pub(crate) fn recall(&mut self, now: Instant) -> Option<Entry> {
        let next_at = self.next_at.get_or_insert(now);
        if *next_at > now {
            return None;
        }
        *next_at += RECALL_INTERVAL;
        self.before.pop_front()
    }
}

fn encode(entry: Entry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    match entry.addr.ip() {
        IpAddr::V4(ip) => {
            bytes[0] = 4;
            bytes[4..8].copy_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            bytes[0] = 6;
            bytes[4..20].copy_from_slice(&ip.octets());
        }
    }
    bytes[1] = entry.listener.0;
    bytes[2..4].copy_from_slice(&entry.addr.port().to_le_bytes());
    bytes[20..28].copy_from_slice(&entry.id);
    bytes
}

fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Entry> {
    let ip: IpAddr = match bytes[0] {
        4 => Ipv4Addr::from(*bytes[4..].first_chunk::<4>()?).into(),
        6 => Ipv6Addr::from(*bytes[4..].first_chunk::<16>()?).into(),
        _ => return None,
    };
    Some(Entry {
        listener: ListenerId(bytes[1]),
        addr: (ip, u16::from_le_bytes([bytes[2], bytes[3]])).into(),
        id: *bytes[20..].first_chunk()?,
    })
}

/// What a peer takes for the end of its connection.
pub(crate) fn reset(key: &hmac::Key, id: &[u8; ID_BYTES]) -> [u8; RESET_BYTES] {
    let mut packet = [0; RESET_BYTES];
    // Were there no randomness, the packet would only be easier to recognise.
    let _ = SystemRandom::new().fill(&mut packet);
    packet[0] = 0b0100_0000 | (packet[0] >> 2);
    let token = hmac::sign(key, id);
    packet[RESET_BYTES - TOKEN_BYTES..].copy_from_slice(&token.as_ref()[..TOKEN_BYTES]);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(addr: &str) -> Entry {
        Entry {
            listener: ListenerId(3),
            addr: addr.parse().expect("an address"),
            id: [1, 2, 3, 4, 5, 6, 7, 8],
        }
    }

    fn before(path: &Path) -> Vec<Entry> {
        let mut roster = Roster::open(path).expect("a roster");
        let now = Instant::now();
        (0..100)
            .filter_map(|step| roster.recall(now + RECALL_INTERVAL * step))
            .collect()
    }

    #[test]
    fn who_was_connected_is_called_back_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roster");
        let (v4, v6) = (entry("10.1.2.3:4567"), entry("[2001:db8::7]:65535"));
        let roster = Roster::open(&path).expect("a roster");
        roster.enter(0, v4);
        roster.enter(7, entry("10.9.9.9:1"));
        roster.enter(9, v6);
        roster.leave(7);
        drop(roster);
        assert_eq!(before(&path), [v4, v6]);
        assert_eq!(before(&path), [], "it was forgotten");
    }

    #[test]
    fn they_are_called_one_by_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roster");
        let roster = Roster::open(&path).expect("a roster");
        (0..3).for_each(|slot| roster.enter(slot, entry("10.1.2.3:4567")));
        let mut roster = Roster::open(&path).expect("a roster");
        let now = Instant::now();
        assert_eq!(roster.wait(now), Some(Duration::ZERO));
        assert!(roster.recall(now).is_some());
        assert!(roster.recall(now).is_none());
        assert_eq!(roster.wait(now), Some(RECALL_INTERVAL));
        assert!(roster.recall(now + RECALL_INTERVAL * 2).is_some());
        assert!(
            roster.recall(now + RECALL_INTERVAL * 2).is_some(),
            "what was late is made up for"
        );
        assert_eq!(roster.wait(now + RECALL_INTERVAL * 2), None);
    }

    #[test]
    fn what_is_no_entry_is_skipped() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("roster");
        std::fs::write(&path, [0xff; 100]).expect("written");
        assert_eq!(before(&path), []);
    }
}
