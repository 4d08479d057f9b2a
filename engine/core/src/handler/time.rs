//! What comes with time: retries, deadlines, leases, forgetting.

use wire_protocol::codec;
use wire_protocol::ids::{Attempt, BagId, WorkId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::template::Priority;

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::state::WorkEvent;
use crate::timers::Timer;

impl Scheduler {
    pub(crate) fn run_due_timers(&mut self, effects: &mut Effects) {
        while let Some(timer) = self.timers.pop_due(self.now) {
            match timer {
                Timer::Retry(work, attempt) => self.retry_due(work, attempt, effects),
                Timer::Urgent(bag) => self.make_urgent(bag, effects),
                Timer::Expire(bag) => self.expire_bag(bag, effects),
                Timer::Lease(worker) => self.check_lease(worker, effects),
                Timer::ForgetWorker(worker) => self.forget_worker(worker, effects),
                Timer::ForgetBag(bag) => self.forget_bag(bag, effects),
                Timer::Rebalance => self.rebalance(effects),
                Timer::Reserve => self.look_who_waits(effects),
                Timer::Rejoin => self.end_rejoin(effects),
                Timer::Pulse => self.pulse(),
                Timer::DrainOver(worker) => self.end_drain(worker, effects),
                Timer::Logs => self.look_at_logs(effects),
            }
        }
    }

    /// Keeps a deadline every heartbeat while there are leases or workers that may get some.
    pub(crate) fn arm_pulse(&mut self) {
        if !self.pulse_armed {
            self.pulse_armed = true;
            self.timers.at(self.now + self.config.heartbeat, Timer::Pulse);
        }
    }

    fn pulse(&mut self) {
        self.pulse_armed = false;
        if self.counters.workers_connected + self.counters.works_leased > 0 {
            self.arm_pulse();
        }
    }

    fn retry_due(&mut self, id: WorkId, attempt: Attempt, effects: &mut Effects) {
        let Some(work) = self.works.get(id).filter(|work| work.attempt == attempt) else {
            return;
        };
        let low = work.bag;
        if self.advance(id, WorkEvent::Due) {
            self.enqueue(id);
            self.dispatch_ready(self.bags.id_of(low), effects);
        }
    }

    fn make_urgent(&mut self, bag: BagId, effects: &mut Effects) {
        if self
            .bags
            .get(bag)
            .is_some_and(|bag| bag.priority < Priority::MAX && bag.open_works() > 0)
        {
            self.prioritise(bag, Priority::MAX, effects);
        }
    }

    fn expire_bag(&mut self, bag: BagId, effects: &mut Effects) {
        if self.bags.get(bag).is_some_and(|bag| !bag.is_done()) {
            self.end_bag(bag, Outcome::Expired, Reason::TimeToLive, effects);
            self.note_done_bags();
        }
    }

    /// Bags whose last work ended in this event are remembered for a while, then forgotten.
    pub(crate) fn note_done_bags(&mut self) {
        let mut bags = std::mem::take(&mut self.scratch.bags);
        for id in bags.drain(..) {
            let Some(bag) = self.bags.get_mut(id) else {
                continue;
            };
            let forget_at = self.now + self.config.retention;
            bag.forget_at = forget_at;
            self.done_bags.push_back(id);
            // Here, bag by bag, because a snapshot that has to do it for all holds everybody up.
            if let Some(bag) = self.bags.get(id).filter(|bag| bag.has_succeeded()) {
                self.image_of(bag);
            }
            self.timers.at(forget_at, Timer::ForgetBag(id));
        }
        self.scratch.bags = bags;
        // Over the bound, those that have been done longest go before their time.
        while self.counters.works_done > self.config.limits.works_done_max
            && let Some(id) = self.done_bags.pop_front()
        {
            let Some(bag) = self.bags.get_mut(id).filter(|bag| bag.is_done()) else {
                continue;
            };
            bag.forget_at = self.now;
            self.timers.at(self.now, Timer::ForgetBag(id));
            if bag.accepted() > 0 {
                break;
            }
        }
    }

    fn forget_bag(&mut self, bag: BagId, effects: &mut Effects) {
        // A bag that was revived meanwhile is noted again when it is done again, for another time.
        let due = |bag: &crate::table::bag::Bag| bag.is_done() && bag.forget_at <= self.now;
        if !self.bags.get(bag).is_some_and(due) {
            return;
        }
        self.record(effects, record::kind::BAG_FORGOTTEN, |out| {
            codec::put_control(out, &bag)
        });
        self.remove_bag(bag);
    }

    /// Also in replay.
    pub(crate) fn remove_bag(&mut self, id: BagId) {
        let Some(bag) = self.bags.remove(id) else { return };
        self.works.forget(bag.first, bag.rows_total);
        self.templates.release(bag.template);
        self.classes.release(bag.class);
        self.sync_wallet(bag.class);
        self.counters.rows_bytes -= bag.rows.total_bytes();
        self.counters.works_done -= u64::from(bag.tally.done());
        for follower in &bag.followers {
            if let Some(client) = self.links.client_mut(follower.link) {
                client.followed.remove(&id);
            }
        }
    }
}
