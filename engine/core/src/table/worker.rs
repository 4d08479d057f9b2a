//! Workers, by number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use wire_protocol::ids::{LinkId, WorkId, WorkerId};
use wire_protocol::resources::Room;
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use super::bag::TemplateRef;
use super::class::ClassId;
use super::joining::Standing;
use super::profile::ProfileId;

/// A set of workers, lowest number first: one worker is filled before the next, so that more works share a packet.
pub(crate) type WorkerSet = BTreeSet<WorkerId>;

/// Templates that an engine keeps defined on one link; numbers are given in turn.
pub(crate) const TEMPLATES_PER_LINK: usize = 64;

/// What the scheduler knows of one worker.
///
/// Among 100 000 workers each frame finds its worker's memory cold, and most of what such a frame costs is waiting for
/// it. So what a frame of reports needs lies together here, two cache lines that are fetched as a pair, and the rest
/// is put away in [`About`].
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) profile: ProfileId,
    /// Its offer's, once more.
    pub(crate) slots: u32,
    /// Its offer's, once more.
    pub(crate) prefill: u32,
    /// Its link, while it is connected.
    pub(crate) link: Option<LinkId>,
    /// Works it has, in no order.
    pub(crate) held: Held,
    /// Reports of this connection so far.
    pub(crate) reports: u64,
    /// When it was last heard of.
    pub(crate) last_seen: Instant,
    /// When it last reported an attempt.
    pub(crate) last_report: Instant,
    /// The template that it was last given works of.
    pub(crate) recent: Known,
    pub(crate) state: WorkerState,
    /// An operator's cordon, which outlasts its connections.
    pub(crate) cordoned: bool,
    /// It said that it takes no work; [`About::problem`] says why. Ends with its connection.
    pub(crate) holding: bool,
    /// Whether its profile lists it as starving and as roomy.
    pub(crate) listed: (bool, bool),
    /// More than its slots is counted: [`About::room`] says what is left.
    pub(crate) metered: bool,
    /// It holds more than its slots, and is listed for that.
    pub(crate) overfull: bool,
    /// A timer looks at its leases.
    pub(crate) lease_armed: bool,
    /// A timer looks whether it is to be forgotten.
    pub(crate) forget_armed: bool,
    pub(crate) about: Box<About>,
}

const _: () = assert!(
    size_of::<Option<Worker>>() == 128,
    "a frame of reports waits for two cache lines"
);

/// What is seldom asked of a worker.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) uid: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) offer: Offer,
    /// Attempts that it reported since the engine started, on connections before this one.
    pub(crate) finished_before: u64,
    /// It was asked to give works back, and is not asked again before this: what has started meanwhile it keeps,
    /// and says nothing of.
    pub(crate) ask_again_at: Instant,
    /// What this connection has defined, by number.
    pub(crate) templates: Vec<TemplateName>,
    pub(crate) template_turn: usize,
    /// Why it takes no work for now, in its own words.
    pub(crate) problem: Option<String>,
    pub(crate) standing: Standing,
    /// What is left of what is counted, over all works that it has: they run, or may at any moment.
    pub(crate) room: Room,
    /// The class whose works it holds its room for.
    pub(crate) reserved: Option<ClassId>,
    /// Keys of what it has of images and files, what was used last at the end; at most
    /// [`wire_protocol::limits::WARM_KEYS_MAX`].
    pub(crate) warm: Vec<u64>,
    /// When its drain is over, if that has a deadline, as last heard from whoever it was.
    pub(crate) drain_by: Option<Instant>,
    /// The deadline that an operator set last.
    pub(crate) drain_watch: Option<Instant>,
    /// When it was last told why it has nothing to do, on this connection.
    pub(crate) told_idle_at: Option<Instant>,
    /// When it was last given a certificate because it asked for another, on this connection.
    pub(crate) renewed_at: Option<Instant>,
}

/// A template and the generation of its slot; no generation is 0.
pub(crate) type TemplateName = (TemplateRef, u32);

/// A template that was defined on a link, and its number there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) name: TemplateName,
    pub(crate) number: u8,
}

impl Known {
    pub(crate) const NONE: Self = Self {
        name: (TemplateRef(0), 0),
        number: 0,
    };
}

/// Works that a worker may have before they need memory of their own: a slot and its prefill.
const FEW: usize = 4;

/// Works that a worker has. A list that once was long keeps its memory: most workers fill up again at once.
#[derive(Debug)]
pub(crate) enum Held {
    Few { len: u8, works: [WorkId; FEW] },
    Many(Vec<WorkId>),
}

impl Held {
    pub(crate) const NONE: Self = Self::Few {
        len: 0,
        works: [WorkId(0); FEW],
    };

    /// Makes room for so many more.
    #[inline]
    pub(crate) fn reserve(&mut self, more: usize) {
        match self {
            Self::Few { len, .. } if usize::from(*len) + more <= FEW => {}
            Self::Few { .. } => {
                let mut many = Vec::with_capacity((self.len() + more).next_power_of_two());
                many.extend_from_slice(self);
                *self = Self::Many(many);
            }
            Self::Many(works) => works.reserve(more),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, work: WorkId) {
        self.reserve(1);
        match self {
            Self::Few { len, works } => {
                works[usize::from(*len)] = work;
                *len += 1;
            }
            Self::Many(works) => works.push(work),
        }
    }

    /// Takes one out; the last takes its place.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub(crate) fn swap_remove(&mut self, at: usize) -> WorkId {
        match self {
            Self::Few { len, works } => {
                let last = usize::from(*len) - 1;
                assert!(at <= last, "place {at} is behind the last, {last}");
                works.swap(at, last);
                *len -= 1;
                works[last]
            }
            Self::Many(works) => works.swap_remove(at),
        }
    }
}

impl Deref for Held {
    type Target = [WorkId];

    #[inline]
    fn deref(&self) -> &[WorkId] {
        match self {
            Self::Few { len, works } => &works[..usize::from(*len)],
            Self::Many(works) => works,
        }
    }
}

impl Worker {
    /// Works that it may hold in all.
    pub(crate) fn credit(&self) -> u32 {
        self.slots.saturating_add(self.prefill)
    }

    pub(crate) fn held_len(&self) -> u32 {
        u32::try_from(self.held.len()).expect("bounded by credit and by what one join presents")
    }

    /// It may be given works.
    pub(crate) fn takes_work(&self) -> bool {
        self.state == WorkerState::Ready && self.link.is_some() && !self.holding
    }

    /// Why it is given nothing, for people; `None`: it is given works.
    pub(crate) fn closed_because(&self) -> Option<String> {
        match &self.about.problem {
            Some(problem) if self.is_connected() => Some(format!("takes no work: {problem}")),
            _ if self.takes_work() => None,
            _ => Some(format!("is {}", self.state)),
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.link.is_some()
    }
}

/// All workers that are remembered.
#[derive(Default)]
pub(crate) struct Workers {
    /// Index: number less one.
    slots: Vec<Option<Worker>>,
    by_uid: BTreeMap<String, WorkerId>,
}

impl Workers {
    pub(crate) fn len(&self) -> usize {
        self.by_uid.len()
    }

    #[inline]
    pub(crate) fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.slots.get(id.index().checked_sub(1)?)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots.get_mut(id.index().checked_sub(1)?)?.as_mut()
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
        self.by_uid.insert(worker.about.uid.clone(), worker.id);
        self.slots[index] = Some(worker);
    }

    pub(crate) fn remove(&mut self, id: WorkerId) -> Option<Worker> {
        let worker = self.slots.get_mut(id.index().checked_sub(1)?)?.take()?;
        self.by_uid.remove(&worker.about.uid);
        Some(worker)
    }

    /// Numbers up to this one were given.
    pub(crate) fn reserve(&mut self, ids: u32) {
        while self.slots.len() < ids as usize {
            self.slots.push(None);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flatten()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Works come and go as in a vector, whether they are few, become many, or were many.
    #[test]
    fn a_list_of_held_works_is_a_vector() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..100 {
            let (mut held, mut vector) = (Held::NONE, Vec::new());
            for step in 0..200 {
                let few = if step % 50 < 25 { FEW } else { 3 * FEW };
                if vector.len() < few && rng.bool() {
                    let work = WorkId(round * 1_000 + step);
                    held.reserve(rng.usize(0..3));
                    held.push(work);
                    vector.push(work);
                } else if !vector.is_empty() {
                    let at = rng.usize(0..vector.len());
                    assert_eq!(held.swap_remove(at), vector.swap_remove(at));
                }
                assert_eq!(*held, *vector);
            }
        }
    }

    #[test]
    #[should_panic(expected = "place 1 is behind the last, 0")]
    fn nothing_can_be_taken_from_behind_the_end() {
        let mut held = Held::NONE;
        held.push(WorkId(1));
        held.swap_remove(1);
    }
}
