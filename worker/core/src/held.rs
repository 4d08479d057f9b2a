//! What a worker holds: where each lease is, which works wait, which run, and what they take.
//!
//! The index is a hash table, because each work is looked up when it is assigned and when it ends; nothing ever
//! iterates over it, so the order of everything comes from the queue and the slots.

use core::hash::{BuildHasherDefault, Hasher};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use wire_protocol::ids::LeaseToken;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::Instant;

use crate::ledger::{Ledger, Taken};
use crate::runner::Known;
use crate::{STARTED_AFTER, reports::Reports};

#[derive(Debug)]
pub(crate) struct Held {
    places: HashMap<LeaseToken, Place, BuildHasherDefault<TokenHasher>>,
    waiting: VecDeque<Waiting>,
    slots: Vec<Option<Running>>,
    free: Vec<u32>,
    /// Running and not told to stop.
    live: usize,
    /// Started and not yet announced, in the order of their start; those that ended meanwhile are skipped.
    unannounced: VecDeque<(Instant, LeaseToken)>,
    ledger: Ledger,
}

/// Where a lease is. Each is in one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Waiting,
    Running { slot: u32 },
    Reported,
}

#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) token: LeaseToken,
    pub(crate) known: Known,
    pub(crate) row: Box<[u8]>,
}

#[derive(Debug)]
struct Running {
    token: LeaseToken,
    template: Arc<WorkTemplate>,
    taken: Taken,
    announced: bool,
    /// It was told to stop; nothing of it is reported.
    stopping: bool,
}

impl Held {
    pub(crate) fn new(offer: &Offer) -> Self {
        let slots = offer.slots;
        Self {
            places: HashMap::default(),
            waiting: VecDeque::new(),
            slots: (0..slots).map(|_| None).collect(),
            free: (0..slots).rev().collect(),
            live: 0,
            unannounced: VecDeque::new(),
            ledger: Ledger::new(offer),
        }
    }

    /// Works that wait or run, for the engine as well as for us.
    pub(crate) fn live(&self) -> usize {
        self.waiting.len() + self.live
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Slots in use, also by works that were told to stop.
    pub(crate) fn running(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// What is left of what is counted beside slots.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(crate) fn has_free_slot(&self) -> bool {
        !self.free.is_empty()
    }

    pub(crate) fn knows(&self, token: LeaseToken) -> bool {
        self.places.contains_key(&token)
    }

    /// It runs and was not told to stop.
    pub(crate) fn runs(&self, token: LeaseToken) -> bool {
        match self.places.get(&token) {
            Some(Place::Running { slot }) => self.slots[*slot as usize]
                .as_ref()
                .is_some_and(|running| !running.stopping),
            _ => false,
        }
    }

    pub(crate) fn has_report(&self, token: LeaseToken) -> bool {
        self.places.get(&token) == Some(&Place::Reported)
    }

    pub(crate) fn waiting_tokens(&self) -> impl Iterator<Item = LeaseToken> {
        self.waiting.iter().map(|waiting| waiting.token)
    }

    /// Those that run and were not told to stop.
    pub(crate) fn running_tokens(&self) -> impl Iterator<Item = LeaseToken> {
        self.slots
            .iter()
            .flatten()
            .filter(|running| !running.stopping)
            .map(|running| running.token)
    }

    pub(crate) fn enqueue(&mut self, waiting: Waiting) {
        let before = self.places.insert(waiting.token, Place::Waiting);
        assert_eq!(before, None, "{} is held twice", waiting.token);
        self.ledger.hold(&waiting.known.taken);
        self.waiting.push_back(waiting);
    }

    /// The one that has waited longest; it is nowhere then.
    pub(crate) fn dequeue(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        Some(self.taken_out(waiting))
    }

    /// Of those that may run now, the one that has waited longest; it is nowhere then.
    pub(crate) fn dequeue_fitting(&mut self) -> Option<Waiting> {
        let at = self.first_fitting()?;
        let waiting = self.waiting.remove(at).expect("just found");
        Some(self.taken_out(waiting))
    }

    fn first_fitting(&self) -> Option<usize> {
        let fits = |waiting: &Waiting| self.ledger.may_run(&waiting.known.taken);
        self.waiting.iter().position(fits)
    }

    fn taken_out(&mut self, waiting: Waiting) -> Waiting {
        self.places.remove(&waiting.token);
        self.ledger.let_go(&waiting.known.taken);
        waiting
    }

    /// Some work that waits may run now.
    pub(crate) fn has_fitting(&self) -> bool {
        self.first_fitting().is_some()
    }

    /// Puts it into a free slot.
    pub(crate) fn start(
        &mut self,
        now: Instant,
        token: LeaseToken,
        template: Arc<WorkTemplate>,
        taken: Taken,
    ) {
        let slot = self.free.pop().expect("a free slot was asked for");
        let before = self.places.insert(token, Place::Running { slot });
        assert_eq!(before, None, "{token} starts twice");
        self.ledger.hold(&taken);
        self.ledger.start(&taken);
        self.slots[slot as usize] = Some(Running {
            token,
            template,
            taken,
            announced: false,
            stopping: false,
        });
        self.live += 1;
        self.unannounced.push_back((now, token));
    }

    /// Says that it is among the reports. `false`: it is known already, and nothing changes.
    #[inline]
    pub(crate) fn report_at_once(&mut self, token: LeaseToken) -> bool {
        match self.places.entry(token) {
            Entry::Occupied(_) => false,
            Entry::Vacant(vacant) => {
                vacant.insert(Place::Reported);
                true
            }
        }
    }

    /// Frees the slot of an attempt that ended. `None`: there is nothing to report, it was told to stop, or does not run
    /// here.
    pub(crate) fn end(&mut self, token: LeaseToken) -> Option<Arc<WorkTemplate>> {
        let Some(&Place::Running { slot }) = self.places.get(&token) else {
            return None;
        };
        let running = self.slots[slot as usize]
            .take()
            .expect("its place says that it runs there");
        self.free.push(slot);
        self.ledger.end(&running.taken);
        if running.stopping {
            self.places.remove(&token);
        } else {
            self.live -= 1;
            self.ledger.let_go(&running.taken);
            self.places.insert(token, Place::Reported);
        }
        self.forget_ended_announcements();
        (!running.stopping).then_some(running.template)
    }

    #[inline]
    pub(crate) fn forget_reported(&mut self, token: LeaseToken) {
        let place = self.places.remove(&token);
        debug_assert_eq!(place, Some(Place::Reported));
    }

    /// Takes those of `tokens` that wait out of the queue and gives them to `taken`, in their order.
    pub(crate) fn take_waiting(
        &mut self,
        tokens: impl Iterator<Item = LeaseToken>,
        mut taken: impl FnMut(LeaseToken),
    ) {
        let before = self.waiting.len();
        let mut count = 0;
        for token in tokens {
            if self.places.get(&token) == Some(&Place::Waiting) {
                self.places.remove(&token);
                taken(token);
                count += 1;
            }
        }
        if count > 0 {
            let Self {
                waiting,
                places,
                ledger,
                ..
            } = self;
            waiting.retain(|waiting| {
                let stays = places.contains_key(&waiting.token);
                if !stays {
                    ledger.let_go(&waiting.known.taken);
                }
                stays
            });
            assert_eq!(self.waiting.len(), before - count);
        }
    }

    /// Marks it as told to stop. `true`: it runs and was not told before.
    pub(crate) fn stop(&mut self, token: LeaseToken) -> bool {
        let Some(running) = self.running_mut(token).filter(|running| !running.stopping) else {
            return false;
        };
        running.stopping = true;
        let taken = running.taken.clone();
        self.ledger.let_go(&taken);
        self.live -= 1;
        self.forget_ended_announcements();
        true
    }

    /// Marks it as announced. `true`: it runs and was not announced before.
    pub(crate) fn announce(&mut self, token: LeaseToken) -> bool {
        self.running_mut(token)
            .filter(|running| !running.announced && !running.stopping)
            .map(|running| running.announced = true)
            .is_some()
    }

    /// Marks all as announced, because a `Join` lists them.
    pub(crate) fn announce_all(&mut self) {
        self.unannounced.clear();
        for running in self.slots.iter_mut().flatten() {
            running.announced = true;
        }
    }

    /// When the next one has run long enough to be announced.
    pub(crate) fn announcement_due(&self) -> Option<Instant> {
        self.unannounced
            .front()
            .map(|(started, _)| *started + STARTED_AFTER)
    }

    /// Takes the next one that has run long enough at `now`, and marks it as announced.
    pub(crate) fn announce_due(&mut self, now: Instant) -> Option<LeaseToken> {
        while self.announcement_due().is_some_and(|due| due <= now) {
            let (_, token) = self.unannounced.pop_front().expect("one is due");
            if self.announce(token) {
                self.forget_ended_announcements();
                return Some(token);
            }
        }
        self.forget_ended_announcements();
        None
    }

    fn forget_ended_announcements(&mut self) {
        while let Some(&(_, token)) = self.unannounced.front() {
            if self
                .running_mut(token)
                .is_some_and(|running| !running.announced && !running.stopping)
            {
                break;
            }
            self.unannounced.pop_front();
        }
    }

    fn running_mut(&mut self, token: LeaseToken) -> Option<&mut Running> {
        match self.places.get(&token) {
            Some(Place::Running { slot }) => self.slots[*slot as usize].as_mut(),
            _ => None,
        }
    }

    /// Asserts what must always hold.
    pub(crate) fn check(&self, reports: &Reports) {
        for token in self.waiting_tokens() {
            assert_eq!(self.places.get(&token), Some(&Place::Waiting), "{token}");
        }
        for (slot, running) in self.slots.iter().enumerate() {
            if let Some(Running { token, .. }) = running {
                let slot = u32::try_from(slot).expect("slots are counted in 32 bits");
                assert_eq!(self.places.get(token), Some(&Place::Running { slot }), "{token}");
            }
        }
        for token in reports.tokens() {
            assert_eq!(self.places.get(&token), Some(&Place::Reported), "{token}");
        }
        assert_eq!(
            self.places.len(),
            self.waiting.len() + self.running() + reports.len(),
            "every lease is in one place"
        );
        assert_eq!(self.running_tokens().count(), self.live, "live works");
        assert_eq!(
            self.slots.iter().filter(|slot| slot.is_none()).count(),
            self.free.len(),
            "free slots"
        );
        let waiting = self.waiting.iter().map(|waiting| &waiting.known.taken);
        let running = || self.slots.iter().flatten();
        let live = running().filter(|running| !running.stopping);
        let live = live.map(|running| &running.taken);
        self.ledger
            .check(waiting.chain(live), running().map(|running| &running.taken));
        for running in self.slots.iter().flatten() {
            let queued = self.unannounced.iter().any(|(_, t)| *t == running.token);
            assert!(
                queued || running.announced || running.stopping,
                "{} would never be announced",
                running.token
            );
        }
    }
}

/// Multiplies and rotates. Keys come from an engine that the worker trusts, and are bounded in number, so the
/// table needs speed (2 ns against 15 of the standard hasher) and no defence against chosen keys.
#[derive(Default)]
pub(crate) struct TokenHasher(u64);

impl TokenHasher {
    #[inline]
    fn add(&mut self, value: u64) {
        // The multiplier of rustc's own hasher: odd, with bits spread evenly.
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0xf135_7aea_2e62_a9c5);
    }
}

impl Hasher for TokenHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u16(&mut self, value: u16) {
        self.add(u64::from(value));
    }

    #[inline]
    fn write_u32(&mut self, value: u32) {
        self.add(u64::from(value));
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.rotate_left(26)
    }
}
