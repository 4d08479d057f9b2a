//! Workers, by number.

use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::ids::{LinkId, WorkId, WorkerId};
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use super::bag::TemplateRef;
use super::class::ProfileId;

/// A set of workers, lowest number first: one worker is filled before the next, so that more works share a packet.
pub(crate) type WorkerSet = BTreeSet<WorkerId>;

/// Templates that an engine keeps defined on one link; numbers are given in turn.
pub(crate) const TEMPLATES_PER_LINK: usize = 64;

/// What the scheduler knows of one worker.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) offer: Offer,
    pub(crate) profile: ProfileId,
    pub(crate) state: WorkerState,
    /// An operator's cordon, which outlasts its connections.
    pub(crate) cordoned: bool,
    /// Its link, while it is connected.
    pub(crate) link: Option<LinkId>,
    /// Works it has, in no order.
    pub(crate) held: Vec<WorkId>,
    /// Reports of this connection so far.
    pub(crate) reports: u64,
    /// When it was last heard of.
    pub(crate) last_seen: Instant,
    /// When it last reported an attempt.
    pub(crate) last_report: Instant,
    /// Attempts that it reported since the engine started.
    pub(crate) finished: u64,
    /// It was asked to give works back, and is not asked again before this: what has started meanwhile it keeps,
    /// and says nothing of.
    pub(crate) ask_again_at: Instant,
    /// Whether its profile lists it as starving and as roomy.
    pub(crate) listed: (bool, bool),
    /// It holds more than its slots, and is listed for that.
    pub(crate) overfull: bool,
    /// A timer looks at its leases.
    pub(crate) lease_armed: bool,
    /// A timer looks whether it is to be forgotten.
    pub(crate) forget_armed: bool,
    /// What this connection has defined: template and the generation of its slot.
    pub(crate) templates: Vec<(TemplateRef, u32)>,
    pub(crate) template_turn: usize,
}

impl Worker {
    /// Works that it may hold in all.
    pub(crate) fn credit(&self) -> u32 {
        self.offer.slots.saturating_add(self.offer.prefill)
    }

    pub(crate) fn held_len(&self) -> u32 {
        u32::try_from(self.held.len()).expect("bounded by credit and by what one join presents")
    }

    /// It may be given works.
    pub(crate) fn takes_work(&self) -> bool {
        self.state == WorkerState::Ready && self.link.is_some()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }
}

/// All workers that are remembered.
#[derive(Default)]
pub(crate) struct Workers {
    /// Index: number less one.
    slots: Vec<Option<Box<Worker>>>,
    by_uid: BTreeMap<String, WorkerId>,
}

impl Workers {
    pub(crate) fn len(&self) -> usize {
        self.by_uid.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.slots.get(id.index().checked_sub(1)?)?.as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots.get_mut(id.index().checked_sub(1)?)?.as_deref_mut()
    }

    pub(crate) fn by_uid(&self, uid: &str) -> Option<WorkerId> {
        self.by_uid.get(uid).copied()
    }

    /// The number that the next new worker gets; numbers are not given twice.
    pub(crate) fn next_id(&self) -> WorkerId {
        WorkerId(u32::try_from(self.slots.len()).expect("bounded by use") + 1)
    }

    pub(crate) fn insert(&mut self, worker: Worker) {
        let index = worker.id.index() - 1;
        while self.slots.len() <= index {
            self.slots.push(None);
        }
        self.by_uid.insert(worker.uid.clone(), worker.id);
        self.slots[index] = Some(Box::new(worker));
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Box<Worker>> {
        let worker = self.slots.get_mut(id.index().checked_sub(1)?)?.take()?;
        self.by_uid.remove(&worker.uid);
        Some(worker)
    }

    /// Numbers up to this one were given.
    pub(crate) fn reserve(&mut self, ids: u32) {
        while self.slots.len() < ids as usize {
            self.slots.push(None);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flatten().map(|worker| &**worker)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().flatten().map(|worker| &mut **worker)
    }
}
