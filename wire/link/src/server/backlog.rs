//! First packets that were let in and wait until there is room for their handshakes.

use super::admission::Admission;
use crate::limits::{BACKLOG_LOOKS_MAX, Limits};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Instant;

/// A queue, the longest waiting first. Whose address has its share of the handshakes goes to the end of it.
pub(crate) struct Backlog<T> {
    waiting: VecDeque<Waiting<T>>,
    /// The handshakes that were under way when nobody could be served, unless somebody came since.
    full_at: Option<usize>,
}

struct Waiting<T> {
    address: IpAddr,
    since: Instant,
    what: T,
}

/// What becomes of one that has waited.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Served<T> {
    /// Its handshake begins; admission counts it.
    Begin(T),
    /// It has waited for longer than a handshake may take, or the server is going down; admission has forgotten it.
    Refuse(T),
}

impl<T> Default for Backlog<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            full_at: None,
        }
    }
}

impl<T> Backlog<T> {
    /// Puts one at the end; admission counts it already.
    pub(crate) fn push(&mut self, address: IpAddr, what: T, now: Instant) {
        self.waiting.push_back(Waiting {
            address,
            since: now,
            what,
        });
        self.full_at = None;
    }

    /// There may be somebody to serve: somebody came, or a handshake has ended.
    pub(crate) fn is_moving(&self, admission: &Admission) -> bool {
        !self.waiting.is_empty() && self.full_at.is_none_or(|then| admission.handshakes() < then)
    }

    /// The next for whom there is room, or for whom there will be none.
    pub(crate) fn next(
        &mut self,
        admission: &mut Admission,
        limits: &Limits,
        now: Instant,
    ) -> Option<Served<T>> {
        self.full_at = None;
        for _ in 0..BACKLOG_LOOKS_MAX.min(self.waiting.len()) {
            let first = self.waiting.front()?;
            let late = now.duration_since(first.since) > limits.handshake_deadline;
            let refuse = late || admission.closing;
            if !refuse && admission.handshakes() >= limits.handshakes_max {
                break;
            }
            let first = self.waiting.pop_front()?;
            if refuse {
                admission.give_up(first.address);
                return Some(Served::Refuse(first.what));
            }
            if admission.may_begin(limits, first.address) {
                admission.begin(first.address);
                return Some(Served::Begin(first.what));
            }
            self.waiting.push_back(first);
        }
        self.full_at = Some(admission.handshakes());
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    struct House {
        backlog: Backlog<u32>,
        admission: Admission,
        limits: Limits,
        now: Instant,
    }

    impl House {
        /// Three handshakes at once, two for an address.
        fn new() -> Self {
            Self {
                backlog: Backlog::default(),
                admission: Admission::default(),
                limits: Limits {
                    handshakes_max: 3,
                    handshakes_per_address_max: 2,
                    handshake_deadline: Duration::from_secs(5),
                    ..Limits::default()
                },
                now: Instant::now(),
            }
        }

        fn come(&mut self, last: u8, who: u32) {
            self.admission.enter(address(last));
            self.backlog.push(address(last), who, self.now);
        }

        /// All that can be served now.
        fn serve(&mut self) -> Vec<Served<u32>> {
            let next = || self.backlog.next(&mut self.admission, &self.limits, self.now);
            std::iter::from_fn(next).collect()
        }

        fn is_moving(&self) -> bool {
            self.backlog.is_moving(&self.admission)
        }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn they_are_served_in_order_as_far_as_there_is_room() {
        let mut house = House::new();
        assert!(!house.is_moving());
        for (last, who) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 5)] {
            house.come(last, who);
        }
        assert!(house.is_moving());
        assert_eq!(house.serve(), [1, 2, 3].map(Served::Begin));
        assert!(!house.is_moving(), "all handshakes are taken");
        house.admission.establish(address(1));
        assert!(house.is_moving(), "without anybody coming");
        assert_eq!(house.serve(), [Served::Begin(4)]);
        assert!(!house.is_moving());
        house.admission.leave(address(2), true);
        assert_eq!(house.serve(), [Served::Begin(5)]);
        assert!(!house.is_moving(), "nobody waits");
    }

    #[test]
    fn an_address_with_its_share_lets_others_pass() {
        let mut house = House::new();
        for (last, who) in [(1, 1), (1, 2), (1, 3), (1, 4), (2, 5)] {
            house.come(last, who);
        }
        assert_eq!(house.serve(), [1, 2, 5].map(Served::Begin));
        house.admission.establish(address(2));
        assert_eq!(house.serve(), [], "the share of 1 is used up");
        house.admission.establish(address(1));
        assert_eq!(house.serve(), [Served::Begin(3)]);
    }

    #[test]
    fn who_has_waited_too_long_is_refused_room_or_not() {
        let mut house = House::new();
        for (last, who) in [(1, 1), (2, 2), (3, 3), (4, 4)] {
            house.come(last, who);
        }
        assert_eq!(house.serve(), [1, 2, 3].map(Served::Begin));
        house.now += Duration::from_secs(6);
        house.come(5, 5);
        assert_eq!(house.serve(), [Served::Refuse(4)]);
        assert_eq!(house.admission.links(), 4, "the refused is forgotten");
    }

    #[test]
    fn a_server_that_goes_down_refuses_all_who_wait() {
        let mut house = House::new();
        (0..5).for_each(|who| house.come(1, who));
        house.admission.closing = true;
        assert_eq!(house.serve(), [0, 1, 2, 3, 4].map(Served::Refuse));
        assert_eq!(house.admission.links(), 0);
    }
}
