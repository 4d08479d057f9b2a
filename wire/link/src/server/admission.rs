//! Who may begin a connection.
//!
//! The first packet of a handshake costs a peer nothing and may carry any source address. So a server
//! that is under load asks for proof of the address first (Retry, RFC 9000 §8.1.2), which it answers
//! without remembering anything; and whoever has proved an address gets only so much for it.
//!
//! Whoever is let in waits in the [backlog](super::backlog) until there is room for one more handshake: ten
//! thousand workers that come at once are served in order, and none has to come again.

use crate::limits::Limits;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;

/// What to do with a first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Let it in: its handshake begins when there is room.
    Accept,
    /// Ask for proof of the address.
    Retry,
    /// There is no room; the peer is told and may come back.
    Refuse,
}

/// Counts of connections in every state, from the first packet until their memory is free again:
///
/// ```text
/// enter ─► (waiting) ─► begin ─► (handshaking) ─► establish ─► (established) ─► leave
///              └─► give_up             └─► leave
/// ```
#[derive(Default, Debug)]
pub(crate) struct Admission {
    total: Count,
    addresses: HashMap<IpAddr, Count>,
    /// The server is going down: refuse whoever comes.
    pub(crate) closing: bool,
}

#[derive(Default, Debug, Clone, Copy)]
struct Count {
    links: usize,
    /// Of them, those whose handshake has not begun.
    waiting: usize,
    /// Of them, those whose handshake is under way.
    handshakes: usize,
}

impl Admission {
    pub(crate) fn verdict(&self, limits: &Limits, address: IpAddr, proven: bool) -> Verdict {
        let here = self.addresses.get(&address).copied().unwrap_or_default();
        if self.closing || self.total.links >= limits.links_max || here.links >= limits.links_per_address_max
        {
            return Verdict::Refuse;
        }
        if !proven && self.total.handshakes + self.total.waiting >= limits.retry_above {
            return Verdict::Retry;
        }
        Verdict::Accept
    }

    /// A first packet is let in.
    pub(crate) fn enter(&mut self, address: IpAddr) {
        for count in [&mut self.total, self.addresses.entry(address).or_default()] {
            count.links += 1;
            count.waiting += 1;
        }
    }

    /// There is room for a handshake of this address.
    pub(crate) fn may_begin(&self, limits: &Limits, address: IpAddr) -> bool {
        let here = self.addresses.get(&address).copied().unwrap_or_default();
        self.total.handshakes < limits.handshakes_max && here.handshakes < limits.handshakes_per_address_max
    }

    /// A handshake begins.
    pub(crate) fn begin(&mut self, address: IpAddr) {
        self.change(address, |count| {
            count.waiting -= 1;
            count.handshakes += 1;
        });
    }

    /// A first packet's handshake will not begin.
    pub(crate) fn give_up(&mut self, address: IpAddr) {
        self.change(address, |count| {
            count.waiting -= 1;
            count.links -= 1;
        });
    }

    /// A handshake is complete.
    pub(crate) fn establish(&mut self, address: IpAddr) {
        self.change(address, |count| count.handshakes -= 1);
    }

    /// A connection's memory is free again.
    pub(crate) fn leave(&mut self, address: IpAddr, handshaking: bool) {
        self.change(address, |count| {
            count.links -= 1;
            count.handshakes -= usize::from(handshaking);
        });
    }

    fn change(&mut self, address: IpAddr, change: impl Fn(&mut Count)) {
        change(&mut self.total);
        if let Entry::Occupied(mut count) = self.addresses.entry(address) {
            change(count.get_mut());
            if count.get().links == 0 {
                count.remove();
            }
        }
    }

    pub(crate) fn handshakes(&self) -> usize {
        self.total.handshakes
    }

    pub(crate) fn links(&self) -> usize {
        self.total.links
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            links_max: 6,
            links_per_address_max: 5,
            handshakes_max: 4,
            handshakes_per_address_max: 3,
            retry_above: 2,
            ..Limits::default()
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn under_load_an_address_must_be_proven() {
        let (limits, mut admission) = (limits(), Admission::default());
        admission.enter(address(1));
        assert_eq!(admission.verdict(&limits, address(1), false), Verdict::Accept);
        admission.enter(address(1));
        admission.begin(address(1));
        assert_eq!(admission.verdict(&limits, address(2), false), Verdict::Retry);
        assert_eq!(admission.verdict(&limits, address(1), true), Verdict::Accept);
        admission.establish(address(1));
        assert_eq!(admission.verdict(&limits, address(2), false), Verdict::Accept);
    }

    #[test]
    fn no_more_are_let_in_than_there_may_be_links() {
        let (limits, mut admission) = (limits(), Admission::default());
        (0..5).for_each(|_| admission.enter(address(1)));
        assert_eq!(admission.verdict(&limits, address(1), true), Verdict::Refuse);
        assert_eq!(admission.verdict(&limits, address(2), true), Verdict::Accept);
        admission.enter(address(2));
        assert_eq!(admission.verdict(&limits, address(3), true), Verdict::Refuse);
        admission.give_up(address(1));
        assert_eq!(admission.verdict(&limits, address(1), true), Verdict::Accept);
    }

    #[test]
    fn an_address_gets_only_its_share_of_the_handshakes() {
        let (limits, mut admission) = (limits(), Admission::default());
        for last in [1, 1, 1, 1, 2, 2] {
            admission.enter(address(last));
        }
        (0..3).for_each(|_| admission.begin(address(1)));
        assert!(!admission.may_begin(&limits, address(1)), "its share");
        assert!(admission.may_begin(&limits, address(2)));
        admission.begin(address(2));
        assert!(!admission.may_begin(&limits, address(2)), "all handshakes");
        admission.leave(address(1), true);
        assert!(admission.may_begin(&limits, address(2)));
    }

    #[test]
    fn what_enters_and_leaves_is_not_remembered() {
        let mut admission = Admission::default();
        for last in [1, 2, 3] {
            admission.enter(address(last));
        }
        admission.begin(address(1));
        admission.begin(address(2));
        admission.establish(address(1));
        admission.leave(address(1), false);
        admission.leave(address(2), true);
        admission.give_up(address(3));
        assert_eq!(
            (
                admission.links(),
                admission.handshakes(),
                admission.addresses.len()
            ),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_closing_server_refuses_whoever_comes() {
        let admission = Admission {
            closing: true,
            ..Admission::default()
        };
        assert_eq!(admission.verdict(&limits(), address(1), true), Verdict::Refuse);
    }
}
