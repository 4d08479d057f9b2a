//! Connection ids.
//!
//! `quinn`'s own that can be recognised have a nonce of three bytes. Those of a Retry are not compared with those in
//! use, so with ten thousand connections one in a thousand peers was given the id of another, and heard nothing until
//! it gave up. Ours have five, and three of a keyed hash.

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Bytes of a connection id.
pub(crate) const ID_BYTES: usize = 8;
/// Bytes of it that are random; the others say that a server with our key has made it.
const NONCE_BYTES: usize = 5;

/// Makes ids that every server with the same key recognises, and tells the last: QUIC does not tell what it has told a
/// peer.
pub(crate) struct Ids {
    key: hmac::Key,
    random: SystemRandom,
    last: Arc<LastId>,
}

/// The id that was made last.
#[derive(Default)]
pub(crate) struct LastId(AtomicU64);

impl LastId {
    pub(crate) fn get(&self) -> [u8; ID_BYTES] {
        self.0.load(Ordering::Relaxed).to_ne_bytes()
    }
}

impl Ids {
    pub(crate) fn new(key: hmac::Key, last: Arc<LastId>) -> Self {
        Self {
            key,
            random: SystemRandom::new(),
            last,
        }
    }

    fn complete(&self, nonce: [u8; NONCE_BYTES]) -> [u8; ID_BYTES] {
        let mut id = [0; ID_BYTES];
        let (begin, end) = id.split_at_mut(NONCE_BYTES);
        begin.copy_from_slice(&nonce);
        end.copy_from_slice(&hmac::sign(&self.key, &nonce).as_ref()[..ID_BYTES - NONCE_BYTES]);
        id
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce = [0; NONCE_BYTES];
        self.random
            .fill(&mut nonce)
            .expect("the operating system has randomness, or TLS could not have begun");
        let id = self.complete(nonce);
        self.last.0.store(u64::from_ne_bytes(id), Ordering::Relaxed);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        match id.first_chunk() {
            Some(&nonce) if id[..] == self.complete(nonce) => Ok(()),
            _ => Err(InvalidCid),
        }
    }

    fn cid_len(&self) -> usize {
        ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn ids(key: &[u8]) -> Ids {
        Ids::new(hmac::Key::new(hmac::HMAC_SHA256, key), Arc::default())
    }

    #[test]
    fn an_id_is_recognised_by_whoever_has_the_key() {
        let (mut one, same, other) = (ids(b"key"), ids(b"key"), ids(b"another key"));
        let id = one.generate_cid();
        assert_eq!(id[..], one.last.get());
        assert!(same.validate(&id).is_ok());
        assert!(other.validate(&id).is_err());
        assert!(same.validate(&ConnectionId::new(&id[..7])).is_err());
    }

    #[test]
    fn no_id_comes_twice_among_as_many_as_a_full_server_has() {
        let mut ids = ids(b"key");
        let made: HashSet<ConnectionId> = (0..50_000).map(|_| ids.generate_cid()).collect();
        assert_eq!(made.len(), 50_000);
    }
}
