//! How a worker leaves: it finishes what it has, or gives it back when its deadline comes.
//!
//! The deadline is the worker's to keep, as it is the worker that the drain belongs to: it outlives connections and this
//! engine, which hears of it again (`DRAINING`) after each `WELCOME`, and so nothing of it is recorded but the state. For a
//! deadline that an operator set, the engine has an eye on it besides, whatever the worker says of it: what a worker has not
//! given back a heartbeat after it is taken from it.

use wire_protocol::ids::{LeaseToken, Lsn, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::view::WorkerState;
use wire_protocol::worker_link::{Drain, Tokens, kind, push_control};

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::state::WorkerEvent;
use crate::table::worker::Worker;
use crate::timers::Timer;

impl Scheduler {
    /// The worker wants to leave: nothing more is sent to it.
    pub(crate) fn on_draining(&mut self, id: WorkerId, within: Option<Millis>, effects: &mut Effects) {
        let by = within.map(|within| self.now + within);
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        worker.about.drain_by = by;
        self.change_worker(id, WorkerEvent::Drained, Reason::WorkerDraining, effects);
        self.leave_if_drained(id, effects);
    }

    /// An operator drains a worker that is connected; `true`: it, or its deadline, is new.
    pub(crate) fn drain_worker(
        &mut self,
        id: WorkerId,
        within: Option<Millis>,
        effects: &mut Effects,
    ) -> bool {
        let changed = self.change_worker(id, WorkerEvent::Drained, Reason::ByOperator, effects);
        let grace = self.config.heartbeat;
        let by = within.map(|within| self.now + within);
        let worker = self.workers.get_mut(id).expect("the caller looked it up");
        let (Some(link), WorkerState::Draining) = (worker.link, worker.state) else {
            return changed;
        };
        let is_new = by.is_some() && by != worker.about.drain_watch;
        if changed || is_new {
            worker.about.drain_watch = by;
        }
        if let Some(by) = by.filter(|_| is_new) {
            worker.about.drain_by = Some(by);
            self.timers.at(by + grace, Timer::DrainOver(id));
        }
        if changed || is_new {
            let drain = Drain {
                reason: "an operator drains this worker".to_owned(),
                within,
            };
            effects.send(link, Lsn(0), |out| push_control(out, kind::DRAIN, &drain));
        }
        self.leave_if_drained(id, effects);
        changed || is_new
    }

    /// The worker should have given back everything.
    pub(crate) fn end_drain(&mut self, id: WorkerId, effects: &mut Effects) {
        let late = self.now - self.config.heartbeat;
        let is_over = |worker: &&Worker| {
            worker.state == WorkerState::Draining && worker.about.drain_watch.is_some_and(|by| by <= late)
        };
        let Some(worker) = self.workers.get(id).filter(is_over) else {
            return;
        };
        let tokens: Vec<LeaseToken> = self.held_tokens(worker).collect();
        if let Some(link) = worker.link {
            effects.send(link, Lsn(0), |out| {
                Tokens::push(out, kind::CANCEL, Reason::WorkerDraining, tokens);
            });
        }
        self.release_all(id, Reason::WorkerDraining, effects);
        self.list_room(id);
        self.leave_if_drained(id, effects);
    }

    /// In one sentence.
    pub(crate) fn explain_drain(&self, worker: &Worker) -> String {
        let left = match worker.held_len() {
            1 => "1 work left".to_owned(),
            works => format!("{works} works left"),
        };
        match worker.about.drain_by {
            None => format!("it is draining, {left}, without a deadline; it gets nothing more"),
            Some(by) if by <= self.now => format!("it is draining, {left}, the deadline has passed"),
            Some(by) => format!("it is draining, {left}, deadline in {}", by.since(self.now)),
        }
    }

    pub(crate) fn leave_if_drained(&mut self, id: WorkerId, effects: &mut Effects) {
        let worker = self.workers.get(id).expect("a known worker");
        if worker.state == WorkerState::Draining && worker.held.is_empty() {
            self.change_worker(id, WorkerEvent::Emptied, Reason::WorkerDraining, effects);
        }
    }
}
