//! How far each known subscriber is.

use std::collections::BTreeMap;

use wire_protocol::ids::Lsn;

use crate::limits::SUBSCRIBERS_MAX;

/// How far a known subscriber is, for metrics and for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriberStatus<'a> {
    /// Its name.
    pub name: &'a str,
    /// All records up to this one are its own.
    pub acknowledged: Lsn,
    /// The last record that was sent to it; `None`: it is not connected.
    pub sent: Option<Lsn>,
}

impl SubscriberStatus<'_> {
    /// Records up to `durable` that it has not acknowledged.
    #[must_use]
    pub fn lag(&self, durable: Lsn) -> u64 {
        durable.0.saturating_sub(self.acknowledged.0)
    }
}

/// The acknowledged position of each known subscriber.
#[derive(Debug, Default)]
pub(crate) struct Positions {
    acknowledged: BTreeMap<String, Lsn>,
    changed: bool,
}

impl Positions {
    pub(crate) fn new(known: impl IntoIterator<Item = (String, Lsn)>) -> Self {
        Self {
            acknowledged: known.into_iter().collect(),
            changed: false,
        }
    }

    /// There is room for this name.
    pub(crate) fn admits(&self, name: &str) -> bool {
        self.acknowledged.contains_key(name) || self.acknowledged.len() < SUBSCRIBERS_MAX
    }

    /// A subscriber said where it stands. It may have gone back: it lost its store and starts over.
    pub(crate) fn set(&mut self, name: &str, acknowledged: Lsn) {
        if self.acknowledged.get(name) != Some(&acknowledged) {
            self.acknowledged.insert(name.to_owned(), acknowledged);
            self.changed = true;
        }
    }

    /// A subscriber acknowledged; a repeat or a late one changes nothing.
    pub(crate) fn advance(&mut self, name: &str, acknowledged: Lsn) {
        if self
            .acknowledged
            .get(name)
            .is_some_and(|known| *known < acknowledged)
        {
            self.set(name, acknowledged);
        }
    }

    pub(crate) fn forget(&mut self, name: &str) -> bool {
        let known = self.acknowledged.remove(name).is_some();
        self.changed |= known;
        known
    }

    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn floor(&self) -> Option<Lsn> {
        self.acknowledged.values().min().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, Lsn)> {
        self.acknowledged.iter().map(|(name, lsn)| (name.as_str(), *lsn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_the_lowest_position_of_all_that_are_known() {
        let mut positions = Positions::new([("persist".to_owned(), Lsn(7))]);
        assert_eq!(positions.floor(), Some(Lsn(7)));
        assert!(!positions.take_changed(), "what was persisted is no change");
        positions.set("reconcile", Lsn(3));
        assert_eq!(positions.floor(), Some(Lsn(3)));
        positions.advance("reconcile", Lsn(9));
        assert_eq!(positions.floor(), Some(Lsn(7)));
        assert!(positions.take_changed());
        assert!(positions.forget("persist"));
        assert!(!positions.forget("persist"));
        assert_eq!(positions.floor(), Some(Lsn(9)));
        assert!(positions.forget("reconcile"));
        assert_eq!(positions.floor(), None);
    }

    #[test]
    fn a_late_or_repeated_acknowledgement_changes_nothing() {
        let mut positions = Positions::new([("persist".to_owned(), Lsn(7))]);
        positions.advance("persist", Lsn(7));
        positions.advance("persist", Lsn(2));
        positions.advance("nobody", Lsn(2));
        assert!(!positions.take_changed());
        assert_eq!(positions.iter().collect::<Vec<_>>(), [("persist", Lsn(7))]);
    }

    #[test]
    fn lag_counts_records_and_never_goes_below_zero() {
        let status = SubscriberStatus {
            name: "persist",
            acknowledged: Lsn(7),
            sent: None,
        };
        assert_eq!(status.lag(Lsn(10)), 3);
        assert_eq!(status.lag(Lsn(5)), 0);
    }
}
