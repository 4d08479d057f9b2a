//! When each link wants to be looked at next.
//!
//! Almost every packet moves a link's deadline, mostly to later, so a timer is moved only when its new
//! time is *earlier*; one that turns out to be too early when it fires is then put where it belongs.
//! A busy link thus touches the tree a few times per round trip instead of once per packet.

use std::collections::BTreeSet;
use std::time::Instant;

#[derive(Default, Debug)]
pub(crate) struct Timers {
    due: BTreeSet<(Instant, u32)>,
}

impl Timers {
    /// The earliest of all.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// Sees to it that `slot` fires at `wanted` at the latest. `armed` is where its timer stands; its
    /// owner keeps it and gives it back here.
    pub(crate) fn arm(&mut self, slot: u32, armed: &mut Option<Instant>, wanted: Option<Instant>) {
        let Some(wanted) = wanted else { return };
        match *armed {
            Some(at) if at <= wanted => return,
            Some(at) => {
                self.due.remove(&(at, slot));
            }
            None => {}
        }
        self.due.insert((wanted, slot));
        *armed = Some(wanted);
    }

    /// Forgets the timer of a slot.
    pub(crate) fn disarm(&mut self, slot: u32, armed: Option<Instant>) {
        if let Some(at) = armed {
            self.due.remove(&(at, slot));
        }
    }

    /// Takes one slot whose timer has fired; its owner must forget `armed`.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<u32> {
        let &(at, slot) = self.due.first().filter(|(at, _)| *at <= now)?;
        self.due.remove(&(at, slot));
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_timer_moves_to_earlier_only_and_fires_once() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let (mut timers, mut first, mut second) = (Timers::default(), None, None);
        timers.arm(1, &mut first, Some(at(50)));
        timers.arm(2, &mut second, Some(at(20)));
        timers.arm(1, &mut first, Some(at(90)));
        assert_eq!(first, Some(at(50)), "a later wish leaves the timer alone");
        timers.arm(1, &mut first, Some(at(10)));
        assert_eq!(timers.next(), Some(at(10)));
        timers.disarm(2, second);
        assert_eq!(timers.pop(at(9)), None);
        assert_eq!(timers.pop(at(60)), Some(1));
        assert_eq!(timers.pop(at(60)), None);
        assert_eq!(timers.next(), None);
    }
}
