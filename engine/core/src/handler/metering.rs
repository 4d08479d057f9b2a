//! Metering: what workers have left of what they count beside slots, and who holds it for whom.
//!
//! A worker's room ([`crate::table::worker::About::room`]) is what it offers less what all works take that it has, whether
//! they run or wait there: so no two works that it has are ever in each other's way. It changes with its list of works, in
//! the same places; its profile follows when the worker is next looked at ([`Scheduler::sync_profile`]).
//!
//! Small works could keep a large one waiting for ever: whenever one of them ends, the next takes its place. So a work that
//! has been the first of its class for [`RESERVE_AFTER`] without fitting anywhere gets a worker that holds its room: what ends
//! there is not replaced by works that take of the same, until the work fits. One worker for each class, the one with the
//! fewest works, and among classes the oldest work first; none while works of a higher priority wait for that worker.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::ids::{WorkId, WorkerId};
use wire_protocol::resources::{Demand, Meter, Room};
use wire_protocol::template::Priority;
use wire_protocol::units::{Instant, Millis};

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::table::class::ClassId;
use crate::table::profile::Condition;
use crate::table::worker::Worker;
use crate::timers::Timer;

/// How long the first work of a class finds no room before a worker holds some for it. Works of seconds are not worth a
/// worker that stands idle in part; after half a minute somebody looks why nothing happens.
pub(crate) const RESERVE_AFTER: Millis = Millis::from_secs(30);

/// How often it is looked at who waits.
const LOOK_EVERY: Millis = Millis::from_secs(1);

/// Classes that a worker is looked for at a time, each among all workers.
const CLASSES_PER_LOOK_MAX: usize = 16;

/// Works that wait for room.
#[derive(Default)]
pub(crate) struct Reserving {
    /// Connected workers that count more than slots; without any, nothing here costs anything.
    pub(crate) workers: u32,
    armed: bool,
    /// The first work of each class that waits, and since when it is that.
    firsts: BTreeMap<ClassId, (WorkId, Instant)>,
    /// Who holds room for a class.
    reservers: BTreeMap<ClassId, WorkerId>,
    /// Classes for which nobody was found since all were last looked at: the others have their turn before these.
    vain: BTreeSet<ClassId>,
}

impl Scheduler {
    /// Counts what the worker has left, from its offer and all works that it has.
    pub(crate) fn count_room(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        let meter = self.classes.terms(worker.profile).meter.as_ref();
        worker.metered = meter.is_some();
        worker.about.room = meter.map_or_else(Room::default, Meter::all);
        if let Some(meter) = meter {
            for work in worker.held.iter() {
                let work = self.works.get(*work).expect("held works are known");
                let class = self.classes.get(self.bags.of_work(work.bag).class);
                meter.take(&mut worker.about.room, &class.demand);
            }
        }
    }

    /// A work that the worker counts comes or goes.
    pub(crate) fn meter_work(
        &mut self,
        worker: WorkerId,
        work: WorkId,
        change: fn(&Meter, &mut Room, &Demand),
    ) {
        let bag = self.works.get(work).expect("a known work").bag;
        let class = self.classes.get(self.bags.of_work(bag).class);
        let worker = self.workers.get_mut(worker).expect("a known worker");
        let meter = self.classes.terms(worker.profile).meter.as_ref();
        change(
            meter.expect("of a metered worker"),
            &mut worker.about.room,
            &class.demand,
        );
    }

    /// Makes the worker one of the profile that says what it may run now, with what it has left.
    pub(crate) fn sync_profile(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        let before = &self.classes.profile(worker.profile).condition;
        let about = &worker.about;
        let wallet = about.standing.wallet.filter(|wallet| self.classes.wants(*wallet));
        if before.room == about.room && before.reserved == about.reserved && before.wallet == wallet {
            return;
        }
        let condition = Condition {
            room: about.room.clone(),
            reserved: about.reserved,
            wallet,
        };
        let (old, listed) = (worker.profile, worker.listed);
        if listed != (false, false) {
            self.classes.list(old, id, (false, false));
        }
        worker.profile = self.classes.change_profile(old, condition);
        if listed != (false, false) {
            self.classes.list(worker.profile, id, listed);
        }
    }

    /// Sees to it that somebody looks after works of the class that are left waiting.
    pub(crate) fn arm_reserving(&mut self, class: Option<ClassId>) {
        if self.reserving.workers > 0 && !self.reserving.armed && self.ready.waits(class) {
            self.reserving.armed = true;
            self.timers.at(self.now + LOOK_EVERY, Timer::Reserve);
        }
    }

    /// Works that have waited long for room get a worker that holds it for them; those that do not wait any more lose it.
    pub(crate) fn look_who_waits(&mut self, effects: &mut Effects) {
        self.reserving.armed = false;
        let waiting = if self.reserving.workers > 0 {
            self.ready.firsts(&self.works)
        } else {
            BTreeMap::new()
        };
        self.end_reserving(&waiting, effects);
        let now = self.now;
        let before = std::mem::take(&mut self.reserving.firsts);
        self.reserving.firsts = waiting
            .iter()
            .map(|(class, (_, work))| {
                let known = before.get(class).filter(|(first, _)| first == work);
                (*class, known.copied().unwrap_or((*work, now)))
            })
            .collect();
        let long = |class: &ClassId| now.since(self.reserving.firsts[class].1) >= RESERVE_AFTER;
        let without = |class: &ClassId| !self.reserving.reservers.contains_key(class);
        let mut classes: Vec<ClassId> = waiting
            .keys()
            .copied()
            .filter(|class| long(class) && without(class))
            .collect();
        if classes.iter().all(|class| self.reserving.vain.contains(class)) {
            self.reserving.vain.clear();
        }
        classes.retain(|class| !self.reserving.vain.contains(class));
        classes.sort_by_key(|class| (Reverse(waiting[class].0), waiting[class].1));
        for class in classes.into_iter().take(CLASSES_PER_LOOK_MAX) {
            if let Some(id) = self.reserver_for(class, &waiting) {
                self.reserving.reservers.insert(class, id);
                self.reserve(id, Some(class));
            } else {
                self.reserving.vain.insert(class);
            }
        }
        self.arm_reserving(None);
    }

    /// Workers hold room no longer for what does not wait any more, or what others go before.
    fn end_reserving(&mut self, waiting: &BTreeMap<ClassId, (Priority, WorkId)>, effects: &mut Effects) {
        let reservers = std::mem::take(&mut self.reserving.reservers);
        for (class, id) in reservers {
            let Some(worker) = self.workers.get(id) else {
                continue;
            };
            if worker.about.reserved != Some(class) {
                continue;
            }
            if worker.takes_work() && self.goes_first(class, worker, waiting) {
                self.reserving.reservers.insert(class, id);
            } else {
                self.reserve(id, None);
                self.fill(id, effects);
            }
        }
    }

    fn reserve(&mut self, id: WorkerId, class: Option<ClassId>) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        worker.about.reserved = class;
        self.list_room(id);
    }

    /// Works of the class wait, the worker could run them, and nothing of a higher priority waits for it.
    fn goes_first(
        &self,
        class: ClassId,
        worker: &Worker,
        waiting: &BTreeMap<ClassId, (Priority, WorkId)>,
    ) -> bool {
        let suits = |class| self.classes.suits(worker.profile, class);
        waiting.get(&class).is_some_and(|(priority, _)| {
            let mut others = waiting.iter().filter(|(other, _)| suits(**other));
            suits(class) && others.all(|(_, (other, _))| other <= priority)
        })
    }

    /// The worker that is to hold room for works of the class. `None`: one of those who could run them has room, and they
    /// only wait for a slot there; or there is nobody.
    fn reserver_for(
        &self,
        class: ClassId,
        waiting: &BTreeMap<ClassId, (Priority, WorkId)>,
    ) -> Option<WorkerId> {
        let mut best: Option<&Worker> = None;
        // The same for all workers that offer the same and have no wallet that is asked for; and it looks at all classes.
        let mut first_there = BTreeMap::new();
        for worker in self.eligible(class).filter(|worker| worker.takes_work()) {
            // Whoever has room needs to hold none.
            self.short_for(worker, class)?;
            let fewer = best.is_none_or(|best| worker.held_len() < best.held_len());
            if !fewer || worker.about.reserved.is_some() {
                continue;
            }
            let profile = self.classes.profile(worker.profile);
            let goes_first = first_there
                .entry((profile.terms, profile.condition.wallet))
                .or_insert_with(|| self.goes_first(class, worker, waiting));
            if *goes_first {
                best = Some(worker);
            }
        }
        best.map(|worker| worker.id)
    }

    /// What a work of the class lacks at the worker, of what is counted there.
    pub(crate) fn short_for(
        &self,
        worker: &Worker,
        class: ClassId,
    ) -> Option<wire_protocol::resources::Short> {
        let meter = self.classes.terms(worker.profile).meter.as_ref()?;
        meter.short(&worker.about.room, &self.classes.get(class).demand)
    }

    /// Since when the first work of the class waits for room, as far as anybody has looked.
    pub(crate) fn short_since(&self, class: ClassId) -> Option<Instant> {
        self.reserving.firsts.get(&class).map(|(_, since)| *since)
    }
}
