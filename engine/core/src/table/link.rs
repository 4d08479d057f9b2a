//! Links: which peer is at the other end, and what it has under way.

use std::collections::{BTreeMap, BTreeSet};

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

/// All links with a peer that joined or logged in.
#[derive(Default)]
pub(crate) struct Links {
    peers: BTreeMap<LinkId, Peer>,
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
