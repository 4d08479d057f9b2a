//! The scheduler: its state, its entrance, and the few moves that all handlers share.

use std::collections::BTreeMap;

use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::joining::Address;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::resources::Meter;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::SubscriberView;

use crate::config::Config;
use crate::effect::{Effect, Effects};
use crate::event::{Event, Pressure};
use crate::handler::Reserving;
use crate::ready::{QueueKey, Ready};
use crate::state::{Phase, WorkEvent};
use crate::table::bag::{Bag, Bags, Templates};
use crate::table::class::Classes;
use crate::table::joining::Tokens;
use crate::table::link::Links;
use crate::table::log::Logs;
use crate::table::note::Notebooks;
use crate::table::tenant::Tenants;
use crate::table::work::{Work, Works};
use crate::table::worker::{WorkerSet, Workers};
use crate::timers::{Timer, Timers};

/// The scheduler of one shard. See the crate's documentation.
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) epoch: Epoch,
    pub(crate) now: Instant,
    /// The latest instant that a record mentions: as far as a replay knows the time.
    pub(crate) recorded: Instant,
    pub(crate) started: Instant,
    pub(crate) rng: fastrand::Rng,

    pub(crate) works: Works,
    pub(crate) bags: Bags,
    pub(crate) templates: Templates,
    pub(crate) classes: Classes,
    pub(crate) tenants: Tenants,
    pub(crate) workers: Workers,
    pub(crate) tokens: Tokens,
    pub(crate) notebooks: Notebooks,
    pub(crate) links: Links,
    pub(crate) logs: Logs,
    pub(crate) ready: Ready,
    pub(crate) timers: Timers,

    pub(crate) next_work: WorkId,
    pub(crate) next_bag: BagId,
    /// Number of the next certificate of a worker.
    pub(crate) next_serial: u64,
    pub(crate) next_generation: u32,
    /// Position of the last record that it emitted or replayed.
    pub(crate) last_lsn: Lsn,

    /// Until then dispatch waits for workers that held leases before the start. `None`: it does not.
    pub(crate) rejoin_until: Option<Instant>,
    /// Workers that are waited for.
    pub(crate) rejoining: WorkerSet,
    /// Workers that hold more than their slots.
    pub(crate) overfull: WorkerSet,
    pub(crate) rebalance_armed: bool,
    /// Works that wait for room, and who holds it for them.
    pub(crate) reserving: Reserving,
    /// Workers by the keys of what they have of images and files.
    pub(crate) warm: BTreeMap<u64, WorkerSet>,
    /// Workers by the wallets that they have proved to hold.
    pub(crate) wallets: BTreeMap<Address, WorkerSet>,
    pub(crate) pulse_armed: bool,
    /// No lease is older than this, whatever its worker's last sign of life: the scheduler itself was stalled
    /// before.
    pub(crate) lease_floor: Instant,
    pub(crate) pressure: Pressure,
    pub(crate) subscribers: Vec<SubscriberView>,
    pub(crate) snapshot_wanted: bool,
    pub(crate) record_bytes_since_snapshot: u64,
    /// Bags whose works are all done, oldest first.
    pub(crate) done_bags: std::collections::VecDeque<BagId>,
    pub(crate) counters: Counters,
    pub(crate) scratch: Scratch,
}

/// Buffers that keep their capacity from event to event.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Attempts that ended without an outcome, with the reason.
    pub(crate) released: Vec<(Reason, LeaseToken)>,
    /// Reports that named no live lease.
    pub(crate) stale: Vec<LeaseToken>,
    pub(crate) bags: Vec<BagId>,
}

/// Numbers that only rise (totals) or that are as of now.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counters {
    /// Works accepted since the start.
    pub accepted_total: u64,
    /// Leases given since the start.
    pub leased_total: u64,
    /// Works that succeeded since the start.
    pub succeeded_total: u64,
    /// Works that ended in another way since the start.
    pub unsuccessful_total: u64,
    /// Attempts that ended without deciding their work, since the start.
    pub released_total: u64,
    /// Reports under a superseded lease, since the start.
    pub stale_total: u64,
    /// Requests answered `Busy`, since the start.
    pub busy_total: u64,
    /// Leases that ended because their worker was lost, since the start.
    pub lost_total: u64,
    /// Works waiting now.
    pub works_queued: u64,
    /// Works waiting for their backoff now.
    pub works_delayed: u64,
    /// Works with workers now.
    pub works_leased: u64,
    /// Works done and remembered now.
    pub works_done: u64,
    /// Bags remembered now.
    pub bags: u64,
    /// Bytes of rows now.
    pub rows_bytes: u64,
    /// Workers connected now.
    pub workers_connected: u64,
    /// Slots of connected workers now.
    pub slots: u64,
    /// Position of the last record.
    pub lsn: u64,
}

impl Scheduler {
    /// A scheduler that knows nothing. Give it a snapshot and records to replay, if there are, and then
    /// [`Scheduler::start`].
    #[must_use]
    pub fn new(config: Config) -> Self {
        let rng = fastrand::Rng::with_seed(config.seed);
        Self {
            config,
            epoch: Epoch(0),
            now: Instant(0),
            recorded: Instant(0),
            started: Instant(0),
            rng,
            works: Works::default(),
            bags: Bags::default(),
            templates: Templates::default(),
            classes: Classes::default(),
            tenants: Tenants::default(),
            workers: Workers::default(),
            tokens: Tokens::default(),
            notebooks: Notebooks::default(),
            links: Links::default(),
            logs: Logs::default(),
            ready: Ready::default(),
            timers: Timers::default(),
            next_work: WorkId(1),
            next_bag: BagId(1),
            next_serial: 1,
            next_generation: 0,
            last_lsn: Lsn(0),
            rejoin_until: None,
            rejoining: WorkerSet::default(),
            overfull: WorkerSet::default(),
            rebalance_armed: false,
            reserving: Reserving::default(),
            warm: BTreeMap::new(),
            wallets: BTreeMap::new(),
            pulse_armed: false,
            lease_floor: Instant(0),
            pressure: Pressure::None,
            subscribers: Vec::new(),
            snapshot_wanted: false,
            record_bytes_since_snapshot: 0,
            done_bags: std::collections::VecDeque::new(),
            counters: Counters::default(),
            scratch: Scratch::default(),
        }
    }

    /// The one entrance: an event happened at `now`. Appends to `effects` what is to be done; the shell does all
    /// of it, in order, before the next call. Does not fail: what is wrong with an event is answered in effects.
    ///
    /// # Panics
    /// If [`Self::start`] was not called, or an invariant is broken.
    pub fn handle(&mut self, now: Instant, event: Event<'_>, effects: &mut Effects) {
        assert!(self.epoch > Epoch(0), "start comes before the first event");
        self.observe_clock(now);
        let bytes_before = effects.records_bytes();
        let records_before = effects.records_len();
        match event {
            Event::WorkerJoined { link, join, proof } => self.on_worker_joined(link, join, &proof, effects),
            Event::WorkerRenews { link, key, request } => self.on_renew(link, &key, request, effects),
            Event::WorkerSaid { link, message } => self.on_worker_said(link, &message, effects),
            Event::ClientJoined {
                link,
                tenant,
                operator,
            } => self.on_client_joined(link, tenant, operator, effects),
            Event::ClientSaid { link, message } => self.on_client_said(link, message, effects),
            Event::LinkAlive { link } => self.on_link_alive(link),
            Event::LinkFull { link } => self.on_link_full(link, effects),
            Event::LinkClosed { link } => self.on_link_closed(link, effects),
            Event::JournalPressure(pressure) => self.on_journal_pressure(pressure, effects),
            Event::SnapshotDone => self.on_snapshot_done(),
            Event::Subscribers(now) => {
                self.subscribers.clear();
                self.subscribers.extend_from_slice(now);
            }
            Event::Tick => {}
        }
        self.run_due_timers(effects);
        let records = (effects.records_len() - records_before) as u64;
        let bytes = (effects.records_bytes() - bytes_before) as u64;
        self.ask_for_snapshot(bytes + records * RECORD_OVERHEAD_BYTES, effects);
    }

    /// When [`Event::Tick`] is due, if nothing else happens before. `None`: nothing is waited for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Position of the last record that it emitted.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        self.last_lsn
    }

    /// Its epoch; 0 before [`Self::start`].
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The oldest record that may still be asked for (results of remembered works). Older ones may go, as far as
    /// a snapshot and the sidecars allow, and only once [`Self::last_lsn`] of this moment is durable: a crash could
    /// forget that a bag was forgotten, and then its results are asked for again.
    #[must_use]
    pub fn oldest_needed(&self) -> Lsn {
        self.bags
            .iter()
            .next()
            .map_or(self.last_lsn.next(), |bag| bag.lsn)
    }

    /// Totals and levels, for metrics.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters {
            works_queued: self.ready.len(),
            bags: self.bags.len() as u64,
            lsn: self.last_lsn.0,
            ..self.counters
        }
    }

    /// Takes note of the time, and of time for which it was itself stalled: nobody's lease runs out because of
    /// that.
    fn observe_clock(&mut self, now: Instant) {
        let now = now.max(self.now);
        if let Some(due) = self.timers.next_deadline() {
            // A deadline that is noticed late by more than a heartbeat means that frames could not be noticed either.
            // While workers are there, there is a deadline every heartbeat (`Timer::Pulse`), so no stall that could
            // matter to a lease passes unnoticed.
            if now.since(due) > self.config.heartbeat {
                self.lease_floor = now;
            }
        }
        self.now = now;
    }

    fn ask_for_snapshot(&mut self, recorded_bytes: u64, effects: &mut Effects) {
        self.record_bytes_since_snapshot += recorded_bytes;
        if self.record_bytes_since_snapshot >= self.config.snapshot_every.0
            && self.record_bytes_since_snapshot >= self.config.records_per_snapshot * self.snapshot_bytes()
        {
            self.want_snapshot(effects);
        }
    }

    /// Asks for a snapshot. `false`: one is being taken already.
    pub(crate) fn want_snapshot(&mut self, effects: &mut Effects) -> bool {
        if self.snapshot_wanted {
            return false;
        }
        self.snapshot_wanted = true;
        self.record_bytes_since_snapshot = 0;
        effects.list.push(Effect::Snapshot);
        true
    }

    /// Emits a record and returns its position.
    pub(crate) fn record(
        &mut self,
        effects: &mut Effects,
        kind: u8,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Lsn {
        effects.record(kind, write);
        self.recorded_now(kind)
    }

    /// Ends a record that was begun with [`Effects::begin_record`] and returns its position.
    pub(crate) fn end_record(&mut self, effects: &mut Effects, kind: u8, start: usize) -> Lsn {
        effects.end_record(kind, start);
        self.recorded_now(kind)
    }

    fn recorded_now(&mut self, kind: u8) -> Lsn {
        use wire_protocol::record::kind::{BAG_FORGOTTEN, TENANT_ADDED, WORKER_FORGOTTEN};
        if !matches!(kind, TENANT_ADDED | BAG_FORGOTTEN | WORKER_FORGOTTEN) {
            // The others say when they happened.
            self.recorded = self.now;
        }
        self.last_lsn = self.last_lsn.next();
        self.last_lsn
    }

    pub(crate) fn token(&self, work: WorkId, epoch: Epoch, attempt: Attempt) -> LeaseToken {
        LeaseToken {
            work,
            epoch,
            attempt,
            shard: self.config.shard,
        }
    }

    /// The work of a lease that is live and this worker's; `None`: the token is stale.
    pub(crate) fn leased(&mut self, worker: WorkerId, token: LeaseToken) -> Option<&mut Work> {
        let shard = self.config.shard;
        self.works.get_mut(token.work).filter(|work| {
            work.phase.is_held()
                && work.worker == worker
                && work.epoch == token.epoch
                && work.attempt == token.attempt
                && shard == token.shard
        })
    }

    pub(crate) fn key_of(bag: &Bag) -> QueueKey {
        QueueKey {
            priority: bag.priority,
            tenant: bag.tenant,
            class: bag.class,
        }
    }

    /// Makes a work's transition and keeps the counts with it. `false`: the event means nothing now.
    pub(crate) fn advance(&mut self, id: WorkId, event: WorkEvent) -> bool {
        let Some(work) = self.works.get_mut(id) else {
            return false;
        };
        let before = work.phase;
        if !work.advance(event) {
            return false;
        }
        let (after, bag) = (work.phase, work.bag);
        let bag = self.bags.of_work_mut(bag);
        bag.count(before, after);
        if after == Phase::Succeeded {
            self.counters.rows_bytes -= bag.rows.succeeded(bag.row_of(id), 1);
        }
        self.counters.moved(before, after);
        if after.outcome().is_some() && bag.is_done() {
            self.scratch.bags.push(bag.id);
        }
        true
    }

    /// Takes a work off its worker's list. Its phase is the caller's to change.
    pub(crate) fn take_from_worker(&mut self, id: WorkId) {
        let work = self.works.get(id).expect("only known works are held");
        let (holder, at) = (work.worker, work.held_at as usize);
        self.unlist(id, holder, at);
    }

    #[inline]
    pub(crate) fn unlist(&mut self, id: WorkId, holder: WorkerId, at: usize) {
        let worker = self
            .workers
            .get_mut(holder)
            .expect("whoever holds works is remembered");
        let taken = worker.held.swap_remove(at);
        assert_eq!(taken, id, "the list of {holder} and its works disagree");
        let metered = worker.metered;
        if let Some(moved) = worker.held.get(at).copied() {
            self.works.get_mut(moved).expect("held works are known").held_at =
                u32::try_from(at).expect("short list");
        }
        if metered {
            self.meter_work(holder, id, Meter::give_back);
        }
    }

    /// Puts a work on a worker's list. Its phase is the caller's to change.
    pub(crate) fn give_to_worker(&mut self, id: WorkId, worker: WorkerId) {
        let holder = self.workers.get_mut(worker).expect("a known worker");
        let at = u32::try_from(holder.held.len()).expect("short list");
        holder.held.push(id);
        let metered = holder.metered;
        let work = self.works.get_mut(id).expect("a known work");
        work.worker = worker;
        work.held_at = at;
        if metered {
            self.meter_work(worker, id, Meter::take);
        }
    }

    /// What becomes of a work whose attempt ended for this reason; counts the attempt.
    pub(crate) fn charge(&mut self, id: WorkId, reason: Reason) -> Verdict {
        let work = self.works.get_mut(id).expect("a held work is known");
        let bag = self.bags.of_work(work.bag);
        let retry = self.templates.get(bag.template).definition.retry;
        let lost = matches!(reason, Reason::WorkerLost | Reason::LeaseAbandoned);
        let ran = work.phase == Phase::Running;
        if lost && ran {
            work.kills = work.kills.saturating_add(1);
        }
        if !reason.is_workers_fault() && (ran || !lost) {
            work.spent = work.spent.saturating_add(1);
        }
        work.reason = reason;
        // A work that ends its workers before they can say that it started is caught by the number of its leases.
        let leases_max = retry.attempts_max.saturating_add(LEASES_WITHOUT_START_MAX);
        if work.kills >= self.config.kills_max
            || (lost && work.attempt.0 >= leases_max)
            || work.attempt.0 == u16::MAX
        {
            work.reason = Reason::Quarantined;
            return Verdict::Fail(Reason::Quarantined);
        }
        if work.spent >= retry.attempts_max {
            return Verdict::Fail(reason);
        }
        if reason.is_workers_fault() && reason != Reason::NoRoom || lost && !ran {
            return Verdict::Again;
        }
        let doublings = u32::from(work.spent.saturating_sub(1)).min(32);
        let full = retry
            .backoff_min
            .0
            .saturating_mul(1 << doublings)
            .min(retry.backoff_max.0);
        if full == 0 {
            return Verdict::Again;
        }
        Verdict::After(Millis(full - self.rng.u64(0..=full / 2)))
    }

    /// Ends leases of a worker without a report: their works are queued again, or fail if that was their last
    /// chance. Tokens that are not live are left out. The worker's room is the caller's to look at.
    pub(crate) fn release(
        &mut self,
        worker: WorkerId,
        tokens: &[LeaseToken],
        reason: Reason,
        effects: &mut Effects,
    ) {
        let start = effects.begin_record();
        wire_protocol::record::begin_attempts(effects.record_bytes(), self.now, worker, reason);
        let mut failed = Vec::new();
        let mut released = 0;
        for token in tokens {
            if self.leased(worker, *token).is_none() {
                continue;
            }
            effects.record_bytes().extend_from_slice(&token.to_bytes());
            released += 1;
            let verdict = self.charge(token.work, reason);
            self.take_from_worker(token.work);
            match verdict {
                Verdict::Fail(reason) => {
                    // Between this record and the one that ends it the work waits, as it will in a replay.
                    failed.push((token.work, reason));
                    self.requeue(token.work, Verdict::Again);
                }
                verdict => self.requeue(token.work, verdict),
            }
        }
        if released == 0 {
            effects.cancel_record(start);
            return;
        }
        self.counters.released_total += released;
        if reason == Reason::WorkerLost {
            self.counters.lost_total += released;
        }
        self.end_record(effects, wire_protocol::record::kind::RELEASED, start);
        for (work, reason) in failed {
            self.end_work(work, Outcome::Failed, reason, effects);
        }
    }

    /// Puts a work that was held, and is on no worker's list any more, back where it waits.
    pub(crate) fn requeue(&mut self, id: WorkId, verdict: Verdict) {
        match verdict {
            Verdict::Again => {
                assert!(self.advance(id, WorkEvent::Released), "{id} was held");
                self.enqueue(id);
            }
            Verdict::After(backoff) => {
                assert!(self.advance(id, WorkEvent::Delayed), "{id} was held");
                let attempt = self.works.get(id).expect("a known work").attempt;
                self.timers.at(self.now + backoff, Timer::Retry(id, attempt));
            }
            Verdict::Fail(_) => unreachable!("a failed work is settled, not queued"),
        }
    }

    /// Puts a work in phase `Queued` in front of its queue.
    pub(crate) fn enqueue(&mut self, id: WorkId) {
        let bag = self.bags.of_work(self.works.get(id).expect("a known work").bag);
        self.ready.push(
            Self::key_of(bag),
            crate::ready::Run { first: id, len: 1 },
            crate::ready::End::Front,
        );
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: &str, effects: &mut Effects) {
        effects.close(link, reason);
        self.on_link_closed(link, effects);
    }
}

/// What the journal adds to each record, about: counted when it is time for a snapshot.
const RECORD_OVERHEAD_BYTES: u64 = 32;

/// Leases beyond its attempts after which a work that no worker could even start is given up.
const LEASES_WITHOUT_START_MAX: u16 = 64;

/// What becomes of a work whose attempt ended without success.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// It may be leased again at once.
    Again,
    /// It may be leased again after this time.
    After(Millis),
    /// It has failed, for this reason.
    Fail(Reason),
}

impl Counters {
    /// So many works that were held have succeeded.
    pub(crate) fn succeeded(&mut self, works: u64) {
        self.works_leased -= works;
        self.works_done += works;
        self.succeeded_total += works;
    }

    pub(crate) fn moved(&mut self, before: Phase, after: Phase) {
        for (phase, step) in [(before, u64::MAX), (after, 1)] {
            let column = match phase {
                Phase::Void | Phase::Queued => continue,
                Phase::Delayed => &mut self.works_delayed,
                Phase::Leased | Phase::Running => &mut self.works_leased,
                _ => &mut self.works_done,
            };
            *column = column.wrapping_add(step);
        }
        match after {
            Phase::Succeeded => self.succeeded_total += 1,
            Phase::Failed | Phase::Cancelled | Phase::Expired => self.unsuccessful_total += 1,
            _ => {}
        }
    }
}
