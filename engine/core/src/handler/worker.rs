//! The life of a worker: joining with the leases it still has, being lost, leaving.

use wire_protocol::codec;
use wire_protocol::ids::{LeaseToken, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::joining::Approval;
use wire_protocol::outcome::Reason;
use wire_protocol::record::{self, WorkerChanged, WorkerJoined};
use wire_protocol::resources::Room;
use wire_protocol::template::Offer;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::WorkerState;
use wire_protocol::worker_link::{Join, Notice, Refused, RefusedCode, Welcome, kind, push_control};

use crate::config::ApprovalPolicy;
use crate::effect::Effects;
use crate::event::Proof;
use crate::scheduler::Scheduler;
use crate::state::{Phase, WorkEvent, WorkerEvent, next_worker_state};
use crate::table::joining::Standing;
use crate::table::link::Peer;
use crate::table::worker::{About, Held, Known, Worker};
use crate::timers::Timer;

/// Attempts at one work whose records a crash may lose: it loses milliseconds. More are a lie.
const ATTEMPTS_FORGOTTEN_MAX: u16 = 64;

impl Scheduler {
    pub(crate) fn on_worker_joined(
        &mut self,
        link: LinkId,
        join: &Join,
        proof: &Proof<'_>,
        effects: &mut Effects,
    ) {
        if self.links.contains(link) {
            return self.close(link, "a worker joins once per connection", effects);
        }
        let admission = match self.admit(join, proof) {
            Ok(admission) => admission,
            Err(refused) => {
                effects.send(link, Lsn(0), |out| push_control(out, kind::REFUSED, &refused));
                return effects.close(link, refused.reason);
            }
        };
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
            offer: Offer {
                groups: self.groups_of(join, &admission),
                ..join.offer.clone()
            },
            at: self.now,
        };
        self.record(effects, record::kind::WORKER_JOINED, |out| {
            codec::put_control(out, &joined)
        });
        self.insert_worker(joined);
        self.settle_standing(id, known.is_none(), join, &admission, effects);
        let worker = self.workers.get_mut(id).expect("just inserted");
        worker.link = Some(link);
        worker.about.finished_before += std::mem::take(&mut worker.reports);
        worker.recent = Known::NONE;
        worker.about.ask_again_at = self.now;
        worker.about.templates.clear();
        worker.about.template_turn = 0;
        (worker.holding, worker.about.problem) = (false, None);
        (worker.about.drain_by, worker.about.told_idle_at) = (None, None);
        worker.about.renewed_at = None;
        worker.last_seen = self.now;
        worker.last_report = self.now;
        worker.about.reserved = None;
        let metered = worker.metered;
        let waits = worker.about.standing.approval == Approval::Waiting;
        let event = if worker.cordoned || waits {
            WorkerEvent::JoinedCordoned
        } else {
            WorkerEvent::Joined
        };
        worker.state = next_worker_state(worker.state, event).expect("any worker may join");
        self.counters.workers_connected += 1;
        self.reserving.workers += u32::from(metered);
        self.add_warm(id, &join.warm);
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
        if let Some(reason) = self.cordon_reason(id) {
            let notice = Notice::Cordoned { reason };
            effects.send(link, Lsn(0), |out| push_control(out, kind::NOTICE, &notice));
        }
        self.certify_admitted(id, link, &admission, proof, effects);
        self.arm_lease(id);
        self.arm_pulse();
        self.rejoining.remove(&id);
        self.list_room(id);
        if self.rejoin_until.is_some() && self.rejoining.is_empty() {
            self.end_rejoin(effects);
        }
        self.note_done_bags();
        self.fill(id, effects);
        // Works may have waited before anybody counted anything.
        self.arm_reserving(None);
    }

    /// Makes the worker known with this offer, or known by it; also in replay.
    pub(crate) fn insert_worker(&mut self, joined: WorkerJoined) {
        let profile = self.classes.join_profile(&joined.offer);
        if let Some(worker) = self.workers.get_mut(joined.worker) {
            let listed = std::mem::take(&mut worker.listed);
            let old = std::mem::replace(&mut worker.profile, profile);
            worker.about.name = joined.name;
            worker.about.version = joined.version;
            (worker.slots, worker.prefill) = (joined.offer.slots, joined.offer.prefill);
            worker.about.offer = joined.offer;
            if listed != (false, false) {
                self.classes.list(old, joined.worker, (false, false));
            }
            self.classes.leave_profile(old);
            self.count_room(joined.worker);
            return self.sync_profile(joined.worker);
        }
        self.workers.insert(Worker {
            id: joined.worker,
            profile,
            slots: joined.offer.slots,
            prefill: joined.offer.prefill,
            link: None,
            held: Held::NONE,
            reports: 0,
            last_seen: joined.at,
            last_report: joined.at,
            recent: Known::NONE,
            state: WorkerState::Lost,
            cordoned: false,
            holding: false,
            listed: (false, false),
            metered: false,
            overfull: false,
            lease_armed: false,
            forget_armed: false,
            about: Box::new(About {
                uid: joined.uid,
                name: joined.name,
                version: joined.version,
                offer: joined.offer,
                finished_before: 0,
                ask_again_at: Instant(0),
                templates: Vec::new(),
                template_turn: 0,
                problem: None,
                standing: Standing::NEW.clone(),
                room: Room::default(),
                reserved: None,
                warm: Vec::new(),
                drain_by: None,
                drain_watch: None,
                told_idle_at: None,
                renewed_at: None,
            }),
        });
        self.count_room(joined.worker);
    }

    /// Compares the leases that the worker presents with those that are recorded: what both know goes on; what
    /// only the engine knows is over; what only the worker knows goes on if a crash can have forgotten it. Of
    /// those that it still holds it gets no more than it may hold; those that it has finished come on top.
    fn resume_leases(&mut self, id: WorkerId, join: &Join, effects: &mut Effects) -> Vec<LeaseToken> {
        let presented = || join.held.iter().chain(&join.unacknowledged).copied();
        let mut forgotten: Vec<LeaseToken> = presented().filter(|token| self.was_forgotten(*token)).collect();
        // Of two forgotten attempts at one work the newer replaced the other.
        forgotten.sort_unstable_by(|a, b| b.cmp(a));
        forgotten.dedup_by_key(|token| token.work);
        forgotten.reverse();
        let mut finished = join.unacknowledged.clone();
        finished.sort_unstable();
        let worker = self.workers.get(id).expect("just inserted");
        let mut room = worker.credit().saturating_sub(worker.held_len());
        forgotten.retain(|token| {
            let fits = room > 0 || finished.binary_search(token).is_ok();
            room = room.saturating_sub(1);
            fits
        });
        self.adopt(id, &forgotten, effects);
        let mut adopted: Vec<LeaseToken> = presented()
            .filter(|token| self.leased(id, *token).is_some())
            .collect();
        adopted.sort_unstable();
        adopted.dedup();
        let mut started = join.running.clone();
        started.sort_unstable();
        started.dedup();
        started.retain(|token| {
            adopted.binary_search(token).is_ok() && self.phase_of(token.work) == Phase::Leased
        });
        for token in &started {
            self.advance(token.work, WorkEvent::Started);
        }
        let kept: Vec<WorkId> = adopted.iter().map(|token| token.work).collect();
        let worker = self.workers.get(id).expect("just inserted");
        let abandoned: Vec<LeaseToken> = self
            .held_tokens(worker)
            .filter(|token| kept.binary_search(&token.work).is_err())
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
        self.dispatch_leased(abandoned.into_iter(), effects);
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
                && token.attempt.0 <= work.attempt.0.saturating_add(ATTEMPTS_FORGOTTEN_MAX)
        })
    }

    fn adopt(&mut self, id: WorkerId, tokens: &[LeaseToken], effects: &mut Effects) {
        if tokens.is_empty() {
            return;
        }
        for token in tokens {
            let work = self.works.get(token.work).expect("found a moment ago");
            if work.phase == Phase::Queued {
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
        (worker.holding, worker.about.problem) = (false, None);
        worker.about.ask_again_at = self.now;
        self.counters.workers_connected -= 1;
        self.reserving.workers -= u32::from(worker.metered);
        worker.about.reserved = None;
        self.counters.slots -= u64::from(worker.slots);
        self.change_worker(id, WorkerEvent::LinkClosed, Reason::WorkerLost, effects);
        self.list_room(id);
        self.arm_lease(id);
        self.arm_forgetting(id);
    }

    /// When the worker's leases end, if nothing more is heard of it.
    fn lease_over(&self, worker: &Worker) -> Instant {
        worker.last_seen.max(self.lease_floor) + self.config.lease_timeout
    }

    /// Sees to it that the worker's leases are looked at in time. One timer a worker, however often it reconnects.
    pub(crate) fn arm_lease(&mut self, id: WorkerId) {
        let over = self.lease_over(self.workers.get(id).expect("a known worker"));
        let worker = self.workers.get_mut(id).expect("a known worker");
        if !std::mem::replace(&mut worker.lease_armed, true) {
            self.timers.at(over, Timer::Lease(id));
        }
    }

    /// Sees to it that a worker that is away is forgotten in time. One timer a worker.
    pub(crate) fn arm_forgetting(&mut self, id: WorkerId) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        if !std::mem::replace(&mut worker.forget_armed, true) {
            let due = worker.last_seen + self.config.worker_retention;
            let ends = worker.about.standing.certificate.map(|it| it.not_after);
            self.timers
                .at(ends.map_or(due, |ends| due.max(ends)), Timer::ForgetWorker(id));
        }
    }

    /// Decisions of an operator outlast a worker's absence: who was revoked, and who was approved where that is asked.
    fn must_be_remembered(&self, worker: &Worker) -> bool {
        match worker.about.standing.approval {
            Approval::Revoked => true,
            Approval::Approved => self.config.approval == ApprovalPolicy::Manual,
            Approval::Waiting => false,
        }
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

    /// The worker takes no work, or takes work again. What it holds it keeps or gives back itself. Nothing is recorded:
    /// it is true of this connection alone, and a worker of which it is still true says so again after it has joined.
    pub(crate) fn on_holding(&mut self, id: WorkerId, problem: Option<&str>, effects: &mut Effects) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        worker.holding = problem.is_some();
        worker.about.problem = problem.map(str::to_owned);
        self.list_room(id);
        self.fill(id, effects);
    }

    /// The worker's lease may be over.
    pub(crate) fn check_lease(&mut self, id: WorkerId, effects: &mut Effects) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.lease_armed = false;
        let watched = worker.is_connected() || !worker.held.is_empty();
        let worker = self.workers.get(id).expect("just seen");
        if self.lease_over(worker) > self.now {
            if watched {
                self.arm_lease(id);
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
        self.arm_forgetting(id);
    }

    /// The leases of what a worker has.
    pub(crate) fn held_tokens(&self, worker: &Worker) -> impl Iterator<Item = LeaseToken> {
        worker.held.iter().filter_map(|id| {
            let work = self.works.get(*id)?;
            Some(self.token(*id, work.epoch, work.attempt))
        })
    }

    pub(crate) fn release_all(&mut self, id: WorkerId, reason: Reason, effects: &mut Effects) {
        let Some(worker) = self.workers.get(id) else {
            return;
        };
        let tokens: Vec<LeaseToken> = self.held_tokens(worker).collect();
        self.release(id, &tokens, reason, effects);
        self.note_done_bags();
        self.dispatch_leased(tokens.into_iter(), effects);
    }

    /// The worker has been away for long: it is forgotten, unless it is back or still holds leases.
    pub(crate) fn forget_worker(&mut self, id: WorkerId, effects: &mut Effects) {
        let Some(worker) = self.workers.get_mut(id) else {
            return;
        };
        worker.forget_armed = false;
        // The end of its connection, of its leases and of its cordon each set the timer anew.
        let worker = self.workers.get(id).expect("just seen");
        let stays = worker.is_connected() || !worker.held.is_empty() || worker.cordoned;
        if stays || self.must_be_remembered(worker) {
            return;
        }
        let has_certificate = worker.about.standing.certificate_at(self.now).is_some();
        if has_certificate || worker.last_seen + self.config.worker_retention > self.now {
            return self.arm_forgetting(id);
        }
        self.record(effects, record::kind::WORKER_FORGOTTEN, |out| {
            codec::put_control(out, &id)
        });
        self.remove_worker(id);
    }

    /// Also in replay.
    pub(crate) fn remove_worker(&mut self, id: WorkerId) {
        self.hold_wallet(id, None);
        if let Some(worker) = self.workers.remove(id) {
            self.forget_warm(id, &worker.about.warm);
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
