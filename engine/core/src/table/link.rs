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
///
/// Every event begins with a look at its link, and among 100 000 of them that look is the first cache miss of the event.
/// The shell numbers links so that the low bits are a place in its own table and the high bits tell one user of the place
/// from the next. So a worker's link has a seat by its low bits, 16 bytes in a row of seats. Nothing depends on that
/// numbering but speed: who finds the seat taken, or far behind the others, stands in the map with the clients.
#[derive(Default)]
pub(crate) struct Links {
    seats: Vec<Seat>,
    seated: usize,
    /// Only ever asked for one link.
    standing: BTreeMap<LinkId, Peer>,
}

/// A worker and its link; worker 0: the seat is free.
#[derive(Clone, Copy, Default)]
struct Seat {
    link: LinkId,
    worker: WorkerId,
}

/// Bits of a link's number that say where it sits.
const SEAT_BITS: u32 = 20;

/// Seats in a row for each that is taken, at most, beyond a few hundred: so much memory strange numbers may cost.
const SEATS_PER_LINK: usize = 4;

impl Links {
    pub(crate) fn insert(&mut self, link: LinkId, peer: Peer) {
        if let Peer::Worker(worker) = peer
            && let Some(seat) = self.free_seat(link)
        {
            *seat = Seat { link, worker };
            self.seated += 1;
            return;
        }
        self.standing.insert(link, peer);
    }

    fn free_seat(&mut self, link: LinkId) -> Option<&mut Seat> {
        let index = seat_of(link);
        if self.seats.len() <= index && index < SEATS_PER_LINK * (self.seated + self.standing.len() + 256) {
            self.seats.resize(index + 1, Seat::default());
        }
        self.seats
            .get_mut(index)
            .filter(|seat| seat.worker == WorkerId(0))
    }

    pub(crate) fn remove(&mut self, link: LinkId) -> Option<Peer> {
        if let Some(seat) = self.seats.get_mut(seat_of(link)).filter(|seat| seat.is_of(link)) {
            self.seated -= 1;
            return Some(Peer::Worker(std::mem::take(seat).worker));
        }
        self.standing.remove(&link)
    }

    /// The link has a peer.
    pub(crate) fn contains(&self, link: LinkId) -> bool {
        self.worker(link).is_some() || self.standing.contains_key(&link)
    }

    #[inline]
    pub(crate) fn worker(&self, link: LinkId) -> Option<WorkerId> {
        if let Some(seat) = self.seats.get(seat_of(link)).filter(|seat| seat.is_of(link)) {
            return Some(seat.worker);
        }
        match self.standing.get(&link)? {
            Peer::Worker(worker) => Some(*worker),
            Peer::Client(_) => None,
        }
    }

    pub(crate) fn client(&self, link: LinkId) -> Option<&Client> {
        match self.standing.get(&link)? {
            Peer::Client(client) => Some(client),
            Peer::Worker(_) => None,
        }
    }

    pub(crate) fn client_mut(&mut self, link: LinkId) -> Option<&mut Client> {
        match self.standing.get_mut(&link)? {
            Peer::Client(client) => Some(client),
            Peer::Worker(_) => None,
        }
    }
}

impl Seat {
    fn is_of(&self, link: LinkId) -> bool {
        self.link == link && self.worker != WorkerId(0)
    }
}

fn seat_of(link: LinkId) -> usize {
    (link.0 & ((1 << SEAT_BITS) - 1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_apart_whether_they_sit_or_stand() {
        let mut links = Links::default();
        // The same place used again, a place far behind, and one that another link left.
        let numbers = [3, 3 + (1 << SEAT_BITS), u64::MAX, 0, 5, 4_000, 1 << SEAT_BITS];
        for (number, worker) in numbers.into_iter().zip(1..) {
            assert!(!links.contains(LinkId(number)));
            links.insert(LinkId(number), Peer::Worker(WorkerId(worker)));
        }
        for (number, worker) in numbers.into_iter().zip(1..) {
            assert_eq!(links.worker(LinkId(number)), Some(WorkerId(worker)));
            assert!(links.client(LinkId(number)).is_none());
        }
        assert!(links.seats.len() < 1_000, "{} seats", links.seats.len());
        for number in numbers {
            assert!(links.remove(LinkId(number)).is_some());
            assert!(links.remove(LinkId(number)).is_none());
        }
        assert_eq!((links.seated, links.standing.len()), (0, 0));
    }
}
