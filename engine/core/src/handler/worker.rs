//! The life of a worker: joining with the leases it still has, being lost, leaving.

use wire_protocol::codec;
use wire_protocol::ids::{LeaseToken, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{self, WorkerChanged, WorkerJoined};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::WorkerState;
use wire_protocol::worker_link::{Join, Notice, Refused, RefusedCode, Welcome, kind, push_control};

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::state::{WorkEvent, WorkerEvent, next_worker_state};
use crate::table::link::Peer;
use crate::table::worker::Worker;
use crate::timers::Timer;

impl Scheduler {
    pub(crate) fn on_worker_joined(&mut self, link: LinkId, join: &Join, effects: &mut Effects) {
        let known = self.workers.by_uid(&join.uid);
        if known.is_none() && self.workers.len() >= self.config.limits.workers_max {
            let refused = Refused {
                code: RefusedCode::Busy,
                reason: format!("the pool knows {} workers and takes no more", self.workers.len()),
                retry_after: Millis::from_secs(30),
            };
            effects.send(link, Lsn(0), |out| push_control(out, kind::REFUSED, &refused));
            return effects.close(link, refused.reason.clone());
        }
        if let Some(old) = known.and_then(|id| self.workers.get(id)?.link) {
            // Either the same worker, faster than the old link's timeout, or two with one identity: the newer wins.
            effects.close(old, "another connection joined with this worker's uid");
            self.on_link_closed(old, effects);
        }
        let id = known.unwrap_or_else(|| self.workers.next_id());
        let joined = WorkerJoined {
            worker: id,
            uid: join.uid.clone(),
            name: join.name.clone(),
            version: join.version.clone(),
            offer: join.offer.clone(),
            at: self.now,
        };
        self.record(effects, record::kind::WORKER_JOINED, |out| {
            codec::put_control(out, &joined)
        });
        self.insert_worker(joined);
        let worker = self.workers.get_mut(id).expect("just inserted");
        worker.link = Some(link);
        worker.reports = 0;
        worker.retracting = false;
        worker.templates.clear();
        worker.template_turn = 0;
        worker.last_seen = self.now;
        worker.last_report = self.now;
        let event = if worker.cordoned {
            WorkerEvent::JoinedCordoned
        } else {
            WorkerEvent::Joined
        };
        worker.state = next_worker_state(worker.state, event).expect("any worker may join");
        let cordoned = worker.cordoned;
        self.counters.workers_connected += 1;
        self.counters.slots += u64::from(join.offer.slots);
        self.links.insert(link, Peer::Worker(id));
        let adopted = self.resume_leases(id, join, effects);
        let welcome = Welcome {
            worker: id,
            shard: self.config.shard,
            epoch: self.epoch,
            lease_timeout: self.config.lease_timeout,
            heartbeat: self.config.heartbeat,
            adopted,
        };
        effects.send(link, Lsn(0), |out| push_control(out, kind::WELCOME, &welcome));
        if cordoned {
            let notice = Notice::Cordoned {
                reason: "an operator cordoned this worker".to_owned(),
            };
            effects.send(link, Lsn(0), |out| push_control(out, kind::NOTICE, &notice));
        }
        self.timers
            .at(self.now + self.config.lease_timeout, Timer::Lease(id));
        self.rejoining.remove(&id);
        self.list_room(id);
        if self.rejoin_until.is_some() && self.rejoining.is_empty() {
            self.end_rejoin(effects);
        }
        self.note_done_bags();
        self.fill(id, effects);
    }

    /// Makes the worker known with this offer, or known by it; also in replay.
    pub(crate) fn insert_worker(&mut self, joined: WorkerJoined) {
        let profile = self.classes.join_profile(&joined.offer);
        if let Some(worker) = self.workers.get_mut(joined.worker) {
            let listed = std::mem::take(&mut worker.listed);
            let old = std::mem::replace(&mut worker.profile, profile);
            worker.name = joined.name;
            worker.version = joined.version;
            worker.offer = joined.offer;
            if listed != (false, false) {
                let old = self.classes.profile_mut(old);
                old.starving.remove(&joined.worker);
                old.roomy.remove(&joined.worker);
            }
            return self.classes.leave_profile(old);
        }
        self.workers.insert(Worker {
            id: joined.worker,
            uid: joined.uid,
            name: joined.name,
            version: joined.version,
            offer: joined.offer,
            profile,
            state: WorkerState::Lost,
            cordoned: false,
            link: None,
            held: Vec::new(),
            reports: 0,
            last_seen: joined.at,
            last_report: joined.at,
            finished: 0,
            retracting: false,
            listed: (false, false),
            templates: Vec::new(),
            template_turn: 0,
        });
    }

    /// Compares the leases that the worker presents with those that are recorded: what both know goes on; what
    /// only the engine knows is over; what only the worker knows goes on if a crash can have forgotten it.
    fn resume_leases(&mut self, id: WorkerId, join: &Join, effects: &mut Effects) -> Vec<LeaseToken> {
        let presented = || join.held.iter().chain(&join.unacknowledged).copied();
        let mut forgotten: Vec<LeaseToken> = presented().filter(|token| self.was_forgotten(*token)).collect();
        forgotten.sort_unstable();
        forgotten.dedup_by_key(|token| token.work);
        self.adopt(id, &forgotten, effects);
        let adopted: Vec<LeaseToken> = presented()
            .filter(|token| self.leased(id, *token).is_some())
            .collect();
        let started: Vec<LeaseToken> = join
            .running
            .iter()
            .copied()
            .filter(|token| adopted.contains(token))
            .collect();
        for token in &started {
            self.advance(token.work, WorkEvent::Started);
        }
        let mut kept: Vec<WorkId> = adopted.iter().map(|token| token.work).collect();
        kept.sort_unstable();
        let worker = self.workers.get(id).expect("just inserted");
        let abandoned: Vec<LeaseToken> = worker
            .held
            .iter()
            .filter(|work| kept.binary_search(work).is_err())
            .filter_map(|work| Some((*work, self.works.get(*work)?)))
            .map(|(id, work)| self.token(id, work.epoch, work.attempt))
            .collect();
        if !started.is_empty() {
            let now = self.now;
            self.record(effects, record::kind::STARTED, |out| {
                record::begin_attempts(out, now, id, Reason::None);
                started
                    .iter()
                    .for_each(|token| out.extend_from_slice(&token.to_bytes()));
            });
        }
        self.release(id, &abandoned, Reason::LeaseAbandoned, effects);
        for token in abandoned {
            self.dispatch_work(token, effects);
        }
        adopted
    }

    /// A lease of an earlier epoch that this engine has no record of, for a work that waits: the engine sent it
    /// and crashed before the record of it was durable. The bag's epoch tells its works from others that had
    /// the same ids in a past that was never durable either.
    fn was_forgotten(&self, token: LeaseToken) -> bool {
        self.works.get(token.work).is_some_and(|work| {
            let bag = self.bags.of_work(work.bag);
            work.phase.next(WorkEvent::Adopted).is_some()
                && token.shard == self.config.shard
                && token.epoch < self.epoch
                && token.epoch >= bag.epoch
                && token.attempt > work.attempt
        })
    }

    fn adopt(&mut self, id: WorkerId, tokens: &[LeaseToken], effects: &mut Effects) {
        if tokens.is_empty() {
            return;
        }
        for token in tokens {
            let work = self.works.get(token.work).expect("found a moment ago");
            if work.phase == crate::state::Phase::Queued {
                let key = Self::key_of(self.bags.of_work(work.bag));
                self.ready.removed(key, 1);
            }
            assert!(
                self.advance(token.work, WorkEvent::Adopted),
                "waiting works can be adopted"
            );
            self.give_to_worker(token.work, id);
            let work = self.works.get_mut(token.work).expect("found a moment ago");
            work.epoch = token.epoch;
            work.attempt = token.attempt;
        }
        let now = self.now;
        self.record(effects, record::kind::LEASED, |out| {
            record::begin_attempts(out, now, id, Reason::None);
            tokens
                .iter()
                .for_each(|token| out.extend_from_slice(&token.to_bytes()));
        });
    }

    pub(crate) fn saw(&mut self, id: WorkerId) {
        self.workers
            .get_mut(id)
            .expect("linked workers are known")
            .last_seen = self.now;
    }

    pub(crate) fn on_worker_link_closed(&mut self, id: WorkerId, effects: &mut Effects) {
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        worker.link = None;
        worker.retracting = false;
        self.counters.workers_connected -= 1;
        self.counters.slots -= u64::from(worker.offer.slots);
        self.change_worker(id, WorkerEvent::LinkClosed, Reason::WorkerLost, effects);
        self.overfull.remove(&id);
        self.list_room(id);
        let worker = self.workers.get(id).expect("still known");
        self.timers.at(
            worker.last_seen.max(self.lease_floor) + self.config.lease_timeout,
            Timer::Lease(id),
        );
        self.timers
            .at(self.now + self.config.worker_retention, Timer::ForgetWorker(id));
    }

    /// Makes a worker's transition and records it. `false`: the event means nothing now.
    pub(crate) fn change_worker(
        &mut self,
        id: WorkerId,
        event: WorkerEvent,
        reason: Reason,
        effects: &mut Effects,
    ) -> bool {
        let worker = self.workers.get_mut(id).expect("a known worker");
        let Some(state) = next_worker_state(worker.state, event) else {
            return false;
        };
        worker.state = state;
        let changed = WorkerChanged {
            worker: id,
            state,
            reason,
            at: self.now,
        };
        self.record(effects, record::kind::WORKER_CHANGED, |out| {
            codec::put_control(out, &changed)
        });
        self.list_room(id);
        true
    }

    /// The worker wants to leave: nothing more is sent to it.
    pub(crate) fn on_draining(&mut self, id: WorkerId, effects: &mut Effects) {
        self.change_worker(id, WorkerEvent::Drained, Reason::WorkerDraining, effects);
        self.leave_if_drained(id, effects);
    }

    pub(crate) fn leave_if_drained(&mut self, id: WorkerId, effects: &mut Effects) {
        let worker = self.workers.get(id).expect("a known worker");
        if worker.state == WorkerState::Draining && worker.held.is_empty() {
            self.change_worker(id, WorkerEvent::Emptied, Reason::WorkerDraining, effects);
        }
    }

    /// The worker's lease may be over.
    pub(crate) fn check_lease(&mut self, id: WorkerId, effects: &mut Effects) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let over = worker.last_seen.max(self.lease_floor) + self.config.lease_timeout;
        if over > self.now {
            if worker.is_connected() || !worker.held.is_empty() {
                self.timers.at(over, Timer::Lease(id));
            }
            return;
        }
        if let Some(link) = worker.link {
            self.close(
                link,
                "nothing was heard of this worker for longer than its lease",
                effects,
            );
        }
        self.release_all(id, Reason::WorkerLost, effects);
    }

    fn release_all(&mut self, id: WorkerId, reason: Reason, effects: &mut Effects) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let tokens: Vec<LeaseToken> = worker
            .held
            .iter()
            .filter_map(|work| Some((*work, self.works.get(*work)?)))
            .map(|(id, work)| self.token(id, work.epoch, work.attempt))
            .collect();
        self.release(id, &tokens, reason, effects);
        self.note_done_bags();
        for token in tokens {
            self.dispatch_work(token, effects);
        }
    }

    /// The worker has been away for long: it is forgotten, unless it is back or still holds leases.
    pub(crate) fn forget_worker(&mut self, id: WorkerId, effects: &mut Effects) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        if worker.is_connected() || !worker.held.is_empty() || worker.cordoned {
            return;
        }
        let due: Instant = worker.last_seen + self.config.worker_retention;
        if due > self.now {
            return self.timers.at(due, Timer::ForgetWorker(id));
        }
        self.record(effects, record::kind::WORKER_FORGOTTEN, |out| {
            codec::put_control(out, &id)
        });
        self.remove_worker(id);
    }

    /// Also in replay.
    pub(crate) fn remove_worker(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.remove(id) {
            self.classes.leave_profile(worker.profile);
        }
    }

    /// Workers that held leases before the start are back, or have had their time.
    pub(crate) fn end_rejoin(&mut self, effects: &mut Effects) {
        if self.rejoin_until.take().is_some() {
            self.rejoining.clear();
            self.dispatch_all(effects);
        }
    }
}
