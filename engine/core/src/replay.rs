//! Coming back: a snapshot, the records after it, and then [`Scheduler::start`].
//!
//! Replay applies facts; it decides nothing and emits nothing. What is not recorded, because it can be derived
//! (queues, timers, which worker has room), is built once at the start. Backoffs do not survive a restart: a
//! work that waited for one may be leased at once.

use thiserror::Error;

use wire_protocol::codec;
use wire_protocol::ids::{Epoch, LeaseToken, Lsn, WorkId, WorkerId};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{
    self, Attempts, Ended, EpochStarted, NotNext, Record, SettledItem, WorkerChanged,
};
use wire_protocol::template::Priority;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::WorkerState;

use crate::effect::Effects;
use crate::ready::{End, Run};
use crate::scheduler::{Counters, Scheduler};
use crate::state::{Phase, WorkEvent};
use crate::table::bag::Bag;
use crate::timers::Timer;

/// Why a record cannot be replayed. The journal or this program is damaged; nothing may be started on it.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The record is not the next one, or not of this version.
    #[error(transparent)]
    NotNext(#[from] NotNext),
    /// The record says something that cannot follow what was before.
    #[error("record {lsn} contradicts those before it: {what}")]
    Contradiction {
        /// Its position.
        lsn: Lsn,
        /// What cannot be.
        what: String,
    },
}

impl Scheduler {
    /// Applies one record of the journal. Records are given in order, after the snapshot if there is one.
    ///
    /// # Errors
    /// See [`ReplayError`]; the scheduler is of no use afterwards.
    pub fn replay(&mut self, lsn: Lsn, kind: u8, payload: &[u8]) -> Result<(), ReplayError> {
        let record = Record::parse_next(self.last_lsn, lsn, kind, payload)?;
        self.last_lsn = lsn;
        self.apply(lsn, record)
            .map_err(|what| ReplayError::Contradiction { lsn, what })?;
        self.scratch.bags.clear();
        Ok(())
    }

    /// The latest instant that replayed records mention; the clock must not start before it.
    #[must_use]
    pub fn clock_floor(&self) -> Instant {
        self.recorded
    }

    fn apply(&mut self, lsn: Lsn, record: Record<'_>) -> Result<(), String> {
        match record {
            Record::EpochStarted(started) => {
                self.saw_instant(started.at);
                if started.epoch <= self.epoch || started.shard != self.config.shard {
                    let EpochStarted { shard, epoch, .. } = started;
                    return Err(format!(
                        "{epoch} of shard {shard} starts after {} of {}",
                        self.epoch, self.config.shard
                    ));
                }
                self.epoch = started.epoch;
            }
            Record::TenantAdded(added) => {
                let id = self.tenants.insert(&added.name, added.weight);
                check(id == added.tenant, || {
                    format!("tenant {} is given number {}", added.name, added.tenant)
                })?;
            }
            Record::BagOpened(opened) => {
                self.saw_instant(opened.at);
                check(opened.bag >= self.next_bag, || {
                    format!("{} is opened again", opened.bag)
                })?;
                check((1..=self.tenants.len()).contains(&opened.tenant.index()), || {
                    format!("{} is unknown", opened.tenant)
                })?;
                check(opened.first >= self.next_work, || {
                    format!("{} begins at {}, which is taken", opened.bag, opened.first)
                })?;
                check_priority(opened.template.priority)?;
                self.insert_bag(lsn, *opened);
            }
            Record::RowsAdded(added) => {
                self.saw_instant(added.at);
                let bag = self
                    .bags
                    .get(added.bag)
                    .ok_or_else(|| format!("{} is unknown", added.bag))?;
                let fits =
                    bag.accepted() == added.first_row && added.rows.len() <= bag.rows_total - bag.accepted();
                check(fits && !bag.closed, || {
                    format!(
                        "{} has {} rows, these begin at {}",
                        bag.id,
                        bag.accepted(),
                        added.first_row
                    )
                })?;
                self.insert_rows(added.bag, added.rows, lsn);
            }
            Record::BagPrioritised(prioritised) => {
                self.saw_instant(prioritised.at);
                check_priority(prioritised.priority)?;
                let bag = self.bags.get_mut(prioritised.bag);
                bag.ok_or_else(|| format!("{} is unknown", prioritised.bag))?
                    .priority = prioritised.priority;
            }
            Record::BagForgotten(bag) => {
                check(self.bags.get(bag).is_some_and(Bag::is_done), || {
                    format!("{bag} is unknown or not done")
                })?;
                self.remove_bag(bag);
            }
            Record::WorkerJoined(joined) => {
                self.saw_instant(joined.at);
                let id = joined.worker;
                let expected = self.workers.by_uid(&joined.uid);
                check(id == expected.unwrap_or_else(|| self.workers.next_id()), || {
                    format!("{} is given number {id}", joined.uid)
                })?;
                self.insert_worker(*joined);
                let worker = self.workers.get_mut(id).expect("just inserted");
                worker.state = WorkerState::Lost;
            }
            Record::WorkerChanged(changed) => self.apply_worker_changed(changed)?,
            Record::WorkerForgotten(worker) => {
                let idle = self
                    .workers
                    .get(worker)
                    .is_some_and(|worker| worker.held.is_empty());
                check(idle, || format!("{worker} is unknown or has works"))?;
                self.remove_worker(worker);
            }
            Record::Leased(attempts) => self.apply_leased(attempts)?,
            Record::Started(attempts) => {
                self.saw_instant(attempts.at);
                for token in attempts.iter() {
                    self.held_by(attempts.worker, token)?;
                    self.advance(token.work, WorkEvent::Started);
                }
            }
            Record::Released(attempts) => {
                self.saw_instant(attempts.at);
                for token in attempts.iter() {
                    self.held_by(attempts.worker, token)?;
                    self.charge(token.work, attempts.reason);
                    self.take_from_worker(token.work);
                    self.advance(token.work, WorkEvent::Released);
                }
            }
            Record::Settled(settled) => {
                self.saw_instant(settled.at);
                for item in settled.iter() {
                    self.apply_settled(lsn, settled.worker, &item)?;
                }
            }
            Record::Ended(ended) => self.apply_ended(lsn, ended),
            Record::Revived(revived) => {
                self.saw_instant(revived.at);
                self.revive(Run {
                    first: revived.first,
                    len: revived.count,
                });
            }
            Record::TokenCreated(created) => {
                self.saw_instant(created.at);
                check(created.token == self.tokens.next_id(), || {
                    format!("a token is given number {}", created.token)
                })?;
                self.tokens.create(*created);
            }
            Record::TokenRevoked(revoked) => {
                self.saw_instant(revoked.at);
                let token = self.tokens.get_mut(revoked.token);
                token
                    .ok_or_else(|| format!("token {} is unknown", revoked.token))?
                    .revoked = true;
            }
            Record::WorkerEnrolled(enrolled) => {
                self.saw_instant(enrolled.at);
                self.apply_enrolled(&enrolled)?;
            }
            Record::WorkerStanding(said) => {
                self.saw_instant(said.at);
                let worker = self.workers.get_mut(said.worker);
                let worker = worker.ok_or_else(|| format!("{} is unknown", said.worker))?;
                worker.about.standing.approve(said.approval);
                self.hold_wallet(said.worker, said.wallet);
            }
            Record::NotebookTaken(taken) => {
                self.saw_instant(taken.at);
                self.notebooks.take(taken);
            }
            Record::NotesWritten(written) => {
                self.saw_instant(written.at);
                self.notebooks.write(*written)?;
            }
            Record::BagSealed(sealed) => {
                self.saw_instant(sealed.at);
                let bag = self.bags.get_mut(sealed.bag);
                bag.ok_or_else(|| format!("{} is unknown", sealed.bag))?.closed = true;
            }
        }
        Ok(())
    }

    fn saw_instant(&mut self, at: Instant) {
        self.now = self.now.max(at);
        self.recorded = self.recorded.max(at);
    }

    fn apply_worker_changed(&mut self, changed: WorkerChanged) -> Result<(), String> {
        self.saw_instant(changed.at);
        let worker = self
            .workers
            .get_mut(changed.worker)
            .ok_or_else(|| format!("{} is unknown", changed.worker))?;
        if changed.reason == Reason::ByOperator && changed.state != WorkerState::Draining {
            worker.cordoned = changed.state == WorkerState::Cordoned;
        }
        // Who is gone stays so until it joins, whatever an operator says of it meanwhile.
        if changed.state == WorkerState::Gone {
            worker.state = WorkerState::Gone;
        }
        Ok(())
    }

    fn apply_leased(&mut self, attempts: Attempts<'_>) -> Result<(), String> {
        self.saw_instant(attempts.at);
        let worker = attempts.worker;
        check(self.workers.get(worker).is_some(), || {
            format!("{worker} is unknown")
        })?;
        for token in attempts.iter() {
            let leased = self.advance(token.work, WorkEvent::Leased);
            check(leased, || {
                format!("{token} is leased, but the work does not wait")
            })?;
            self.give_to_worker(token.work, worker);
            let work = self.works.get_mut(token.work).expect("just leased");
            work.epoch = token.epoch;
            work.attempt = token.attempt;
        }
        Ok(())
    }

    fn held_by(&mut self, worker: WorkerId, token: LeaseToken) -> Result<(), String> {
        check(self.leased(worker, token).is_some(), || {
            format!("{token} is not a lease of {worker}")
        })
    }

    fn apply_settled(&mut self, lsn: Lsn, worker: WorkerId, item: &SettledItem<'_>) -> Result<(), String> {
        let held = self.works.get(item.work).is_some_and(|work| {
            work.phase.is_held() && work.worker == worker && work.attempt == item.attempt
        });
        check(held, || {
            format!("{} attempt {} is not with {worker}", item.work, item.attempt)
        })?;
        if item.outcome == Outcome::Failed {
            self.charge(item.work, item.reason);
        }
        self.take_from_worker(item.work);
        self.advance(item.work, WorkEvent::Settled(item.outcome));
        let work = self.works.get_mut(item.work).expect("looked up above");
        work.lsn = lsn;
        work.reason = item.reason;
        Ok(())
    }

    fn apply_ended(&mut self, lsn: Lsn, ended: Ended) {
        self.saw_instant(ended.at);
        for row in 0..ended.count.min(BAG_ROWS_MAX) {
            let id = ended.first.offset(row);
            if self.works.get(id).is_some_and(|work| work.phase.is_held()) {
                self.take_from_worker(id);
            }
            if self.advance(id, WorkEvent::Ended(ended.outcome)) {
                let work = self.works.get_mut(id).expect("just advanced");
                work.lsn = lsn;
                work.reason = ended.reason;
            }
        }
        if let Some(bag) = ended.closes.and_then(|bag| self.bags.get_mut(bag)) {
            bag.closed = true;
        }
    }

    /// Takes up the shard: a new epoch begins, works wait or are held as the records say, and workers that held
    /// leases have [`crate::Config::rejoin_window`] to come back before their turn goes to others.
    ///
    /// # Panics
    /// If it is called twice.
    pub fn start(&mut self, now: Instant, effects: &mut Effects) {
        assert!(self.started == Instant(0), "a scheduler is started once");
        self.now = now.max(self.now).max(Instant(1));
        self.started = self.now;
        self.lease_floor = self.now;
        self.epoch = Epoch(self.epoch.0 + 1);
        self.counters = Counters {
            works_leased: self.counters.works_leased,
            works_done: self.counters.works_done,
            rows_bytes: self.counters.rows_bytes,
            ..Counters::default()
        };
        let started = EpochStarted {
            shard: self.config.shard,
            epoch: self.epoch,
            at: self.now,
            version: self.config.version.clone(),
        };
        self.record(effects, record::kind::EPOCH_STARTED, |out| {
            codec::put_control(out, &started)
        });
        self.queue_what_waits();
        self.await_workers();
        self.arm_pulse();
    }

    fn queue_what_waits(&mut self) {
        let retention = self.config.retention;
        let spans: Vec<_> = self
            .bags
            .iter()
            .map(|bag| (bag.id, Self::key_of(bag), bag.is_done()))
            .collect();
        for (id, key, done) in spans {
            let bag = self.bags.get(id).expect("just listed");
            let span = Run {
                first: bag.first,
                len: bag.accepted(),
            };
            // Also of a bag that is done: it may be revived before its time is over.
            if let Some(at) = bag.expires.filter(|at| !done || *at > self.now) {
                let ttl = Millis(at.since(bag.opened).0 / 10);
                self.timers.at(at - ttl, Timer::Urgent(id));
                self.timers.at(at, Timer::Expire(id));
            }
            if done {
                self.bags.get_mut(id).expect("just listed").forget_at = self.now + retention;
                self.done_bags.push_back(id);
                self.timers.at(self.now + retention, Timer::ForgetBag(id));
                continue;
            }
            for run in self.waiting_runs(span) {
                self.ready.push(key, run, End::Back);
            }
        }
    }

    fn await_workers(&mut self) {
        let (now, config) = (self.now, &self.config);
        for worker in self.workers.iter_mut() {
            worker.last_seen = now;
            worker.forget_armed = true;
            self.timers
                .at(now + config.worker_retention, Timer::ForgetWorker(worker.id));
            if !worker.held.is_empty() {
                worker.lease_armed = true;
                self.timers
                    .at(now + config.lease_timeout, Timer::Lease(worker.id));
            }
        }
        // Workers whose leases a crash had forgotten cannot be told from others, so all that were there are waited for.
        let known = self
            .workers
            .iter()
            .any(|worker| worker.state == WorkerState::Lost);
        if known && self.ready.len() + self.counters.works_leased > 0 && config.rejoin_window > Millis(0) {
            self.rejoining.extend(
                self.workers
                    .iter()
                    .filter(|worker| worker.state == WorkerState::Lost)
                    .map(|worker| worker.id),
            );
            self.rejoin_until = Some(now + config.rejoin_window);
            self.timers.at(now + config.rejoin_window, Timer::Rejoin);
        }
    }
}

impl Scheduler {
    /// The phase of a work, for the snapshot and for checks.
    pub(crate) fn phase_of(&self, work: WorkId) -> Phase {
        self.works.get(work).map_or(Phase::Void, |work| work.phase)
    }
}

fn check_priority(priority: Priority) -> Result<(), String> {
    check(priority <= Priority::MAX, || {
        format!("there is no priority {}", priority.0)
    })
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}
