//! Who may begin a connection.
//!
//! The first packet of a handshake costs a peer nothing and may carry any source address. So a server
//! that is under load asks for proof of the address first (Retry, RFC 9000 §8.1.2), which it answers
//! without remembering anything; and whoever has proved an address gets only so much for it.

use crate::limits::Limits;
use std::collections::HashMap;
use std::net::IpAddr;

/// What to do with a first packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Begin the handshake.
    Accept,
    /// Ask for proof of the address.
    Retry,
    /// There is no room; the peer is told and may come back.
    Refuse,
}

/// Counts of connections in every state, from the first packet until their memory is free again.
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
    handshakes: usize,
}

impl Admission {
    pub(crate) fn verdict(&self, limits: &Limits, address: IpAddr, proven: bool) -> Verdict {
        let here = self.addresses.get(&address).copied().unwrap_or_default();
        if self.closing || self.total.links >= limits.links_max || here.links >= limits.links_per_address_max
        {
            return Verdict::Refuse;
        }
        if !proven && self.total.handshakes >= limits.retry_above {
            return Verdict::Retry;
        }
        if self.total.handshakes >= limits.handshakes_max
            || here.handshakes >= limits.handshakes_per_address_max
        {
            return Verdict::Refuse;
        }
        Verdict::Accept
    }

    /// A handshake begins.
    pub(crate) fn enter(&mut self, address: IpAddr) {
        for count in [&mut self.total, self.addresses.entry(address).or_default()] {
            count.links += 1;
            count.handshakes += 1;
        }
    }

    /// A handshake is complete.
    pub(crate) fn establish(&mut self, address: IpAddr) {
        self.total.handshakes -= 1;
        if let Some(count) = self.addresses.get_mut(&address) {
            count.handshakes -= 1;
        }
    }

    /// A connection's memory is free again.
    pub(crate) fn leave(&mut self, address: IpAddr, handshaking: bool) {
        let gone = usize::from(handshaking);
        self.total.links -= 1;
        self.total.handshakes -= gone;
        let Some(count) = self.addresses.get_mut(&address) else {
            return;
        };
        count.links -= 1;
        count.handshakes -= gone;
        if count.links == 0 {
            self.addresses.remove(&address);
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
    fn under_load_an_address_must_be_proven_and_then_gets_only_its_share() {
        let (limits, mut admission) = (limits(), Admission::default());
        admission.enter(address(1));
        assert_eq!(admission.verdict(&limits, address(1), false), Verdict::Accept);
        admission.enter(address(1));
        assert_eq!(admission.verdict(&limits, address(2), false), Verdict::Retry);
        assert_eq!(admission.verdict(&limits, address(1), true), Verdict::Accept);
        admission.enter(address(1));
        assert_eq!(
            admission.verdict(&limits, address(1), true),
            Verdict::Refuse,
            "its share of handshakes"
        );
        assert_eq!(admission.verdict(&limits, address(2), true), Verdict::Accept);
        admission.enter(address(2));
        assert_eq!(
            admission.verdict(&limits, address(3), true),
            Verdict::Refuse,
            "all handshakes"
        );
        admission.establish(address(1));
        assert_eq!(admission.verdict(&limits, address(3), true), Verdict::Accept);
    }

    #[test]
    fn what_enters_and_leaves_is_not_remembered() {
        let mut admission = Admission::default();
        admission.enter(address(1));
        admission.enter(address(2));
        admission.establish(address(1));
        admission.leave(address(1), false);
        admission.leave(address(2), true);
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
