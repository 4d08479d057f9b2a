//! What is left of what the worker counts beside its slots: GPUs, custom counters, and cores, memory and disk if it packs.
//!
//! Twice, because two questions are asked. *May this work be here?* is a matter between engine and worker: what waits or runs
//! and was not told to stop. *May it start?* is one of the machine: what runs, also what was told to stop and has not yet.

use std::sync::Arc;

use wire_protocol::resources::{Demand, Meter, Room};
use wire_protocol::template::{Offer, WorkTemplate};

/// What a work takes; `None` where nothing is counted.
pub(crate) type Taken = Option<Arc<Demand>>;

/// See the module. Of a worker that counts slots alone it has nothing to say.
#[derive(Debug)]
pub(crate) struct Ledger(Option<Counted>);

#[derive(Debug)]
struct Counted {
    meter: Meter,
    held: Room,
    running: Room,
}

impl Ledger {
    pub(crate) fn new(offer: &Offer) -> Self {
        Self(Meter::of(offer).map(|meter| Counted {
            held: meter.all(),
            running: meter.all(),
            meter,
        }))
    }

    /// What each work of this template takes.
    pub(crate) fn demand(&self, template: &WorkTemplate) -> Taken {
        self.0.as_ref().map(|_| Arc::new(Demand::of(template)))
    }

    /// One more such work may be here.
    pub(crate) fn may_hold(&self, taken: &Taken) -> bool {
        self.ask(taken, |counted| &counted.held)
    }

    /// One more such work may run.
    pub(crate) fn may_run(&self, taken: &Taken) -> bool {
        self.ask(taken, |counted| &counted.running)
    }

    fn ask(&self, taken: &Taken, room: impl Fn(&Counted) -> &Room) -> bool {
        match (&self.0, taken) {
            (Some(counted), Some(demand)) => counted.meter.fits(room(counted), demand),
            _ => true,
        }
    }

    pub(crate) fn hold(&mut self, taken: &Taken) {
        self.change(taken, |counted, demand| {
            counted.meter.take(&mut counted.held, demand);
        });
    }

    pub(crate) fn let_go(&mut self, taken: &Taken) {
        self.change(taken, |counted, demand| {
            counted.meter.give_back(&mut counted.held, demand);
        });
    }

    pub(crate) fn start(&mut self, taken: &Taken) {
        self.change(taken, |counted, demand| {
            counted.meter.take(&mut counted.running, demand);
        });
    }

    pub(crate) fn end(&mut self, taken: &Taken) {
        self.change(taken, |counted, demand| {
            counted.meter.give_back(&mut counted.running, demand);
        });
    }

    fn change(&mut self, taken: &Taken, change: impl FnOnce(&mut Counted, &Demand)) {
        if let (Some(counted), Some(demand)) = (&mut self.0, taken) {
            change(counted, demand);
        }
    }

    /// Asserts that it is what is left by works that are here, and by works that run.
    pub(crate) fn check<'a>(
        &self,
        here: impl Iterator<Item = &'a Taken>,
        running: impl Iterator<Item = &'a Taken>,
    ) {
        let Some(counted) = &self.0 else { return };
        let left = |works: &mut dyn Iterator<Item = &'a Taken>| {
            let mut room = counted.meter.all();
            works
                .flatten()
                .for_each(|demand| counted.meter.take(&mut room, demand));
            room
        };
        assert_eq!(left(&mut { here }), counted.held, "works are counted");
        assert_eq!(
            left(&mut { running }),
            counted.running,
            "running works are counted"
        );
    }
}
