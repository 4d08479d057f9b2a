//! Profiles: workers that may run the same works now.
//!
//! ```text
//!  Offer ──► Terms: offer, what is counted of it, classes whose works it can run
//!              │
//!              ├─► Profile: all of it left         ─► classes that fit
//!              ├─► Profile: 1 of 2 licences left   ─► classes that fit
//!              └─► …
//! ```
//!
//! Workers that count nothing but slots have one profile for each offer, and keep it. Of workers that count more there are as
//! many profiles as there are different remainders among them, at most one a worker; queues, lists and bits need not know
//! that anything is counted. A worker whose wallet works ask for has a profile of its own as long as there are such works.

use wire_protocol::ids::WorkerId;
use wire_protocol::joining::Address;
use wire_protocol::resources::{Meter, Room};
use wire_protocol::template::{Offer, Unmet};

use super::class::{Class, ClassId, ClassSet};
use super::worker::WorkerSet;

/// Number of a profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ProfileId(pub(crate) u32);

/// Number of terms.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TermsId(pub(crate) u32);

/// What workers offer alike, but for slots.
#[derive(Debug)]
pub(crate) struct Terms {
    /// Slots and prefill are zero here.
    pub(crate) offer: Offer,
    /// Classes whose works they can run when they have nothing else to do.
    pub(crate) able: ClassSet,
    /// What is counted of the offer.
    pub(crate) meter: Option<Meter>,
    pub(super) profiles: u32,
}

impl Terms {
    /// Why these workers can never run a work of the class, not even with nothing else to do. `None`: they can.
    pub(crate) fn unmet(&self, class: &Class) -> Option<Unmet> {
        let required = class.requirements.unmet(&class.executor, &self.offer);
        required.or_else(|| self.meter.as_ref()?.unmet(&class.demand))
    }
}

/// Workers that offer the same and are in the same condition.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) terms: TermsId,
    pub(crate) condition: Condition,
    /// Classes whose works they may run now.
    pub(crate) eligible: ClassSet,
    /// Those with a free slot.
    pub(crate) starving: WorkerSet,
    /// Those with room beyond their slots, or a free slot.
    pub(crate) roomy: WorkerSet,
    pub(super) workers: u32,
}

/// What workers of the same terms may differ in.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Condition {
    /// What they have left; empty where nothing is counted.
    pub(crate) room: Room,
    /// The class whose works their room is held for.
    pub(crate) reserved: Option<ClassId>,
    /// Their wallet, if works ask for it.
    pub(crate) wallet: Option<Address>,
}

impl Profile {
    /// The next roomy worker.
    pub(crate) fn roomy_behind(&self, worker: WorkerId) -> Option<WorkerId> {
        self.roomy.range(WorkerId(worker.0 + 1)..).next().copied()
    }
}
