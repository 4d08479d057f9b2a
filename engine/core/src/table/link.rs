//! Links: which peer is at the other end, and what it has under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use wire_protocol::client_link::RequestId;
use wire_protocol::ids::{BagId, LinkId, TenantId, WorkerId};

#[derive(Debug)]
pub(crate) enum Peer {
    Worker(WorkerId),
    Client(Client),
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) tenant: TenantId,
    pub(crate) operator: bool,
    /// Submissions whose rows may still come.
    pub(crate) submissions: BTreeMap<RequestId, BagId>,
    /// Bags that it follows.
    pub(crate) followed: BTreeSet<BagId>,
}

/// Every event begins with a look at its link, so among 100 000 links a tree's depth of cache misses would show.
/// The numbers of links are the shell's own: nobody outside can choose them to collide.
#[derive(Default)]
struct LinkHasher(u64);

impl Hasher for LinkHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing (Knuth, The Art of Computer Programming, vol. 3, section 6.4): 2^64 over the golden ratio.
        self.0 = (self.0 ^ number)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_right(32);
    }
}

/// All links with a peer that joined or logged in.
#[derive(Default)]
pub(crate) struct Links {
    /// Only ever asked for one link: no order comes out of it.
    peers: HashMap<LinkId, Peer, BuildHasherDefault<LinkHasher>>,
}

impl Links {
    pub(crate) fn insert(&mut self, link: LinkId, peer: Peer) {
        self.peers.insert(link, peer);
    }

    pub(crate) fn remove(&mut self, link: LinkId) -> Option<Peer> {
        self.peers.remove(&link)
    }

    /// The link has a peer.
    pub(crate) fn contains(&self, link: LinkId) -> bool {
        self.peers.contains_key(&link)
    }

    pub(crate) fn worker(&self, link: LinkId) -> Option<WorkerId> {
        match self.peers.get(&link)? {
            Peer::Worker(worker) => Some(*worker),
            Peer::Client(_) => None,
        }
    }

    pub(crate) fn client(&self, link: LinkId) -> Option<&Client> {
        match self.peers.get(&link)? {
            Peer::Client(client) => Some(client),
            Peer::Worker(_) => None,
        }
    }

    pub(crate) fn client_mut(&mut self, link: LinkId) -> Option<&mut Client> {
        match self.peers.get_mut(&link)? {
            Peer::Client(client) => Some(client),
            Peer::Worker(_) => None,
        }
    }
}
