//! The scheduler as one would explain it: lists of works and workers, looked at from end to end each time.
//!
//! It does not schedule. It is told what happens, says what must follow (outcomes, states) and judges what the
//! scheduler chose to do where it had a choice (leases): may this worker have this work, now, before others?

use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::ids::{BagId, LeaseToken, LinkId, TenantId, WorkId, WorkerId};
use wire_protocol::joining::Address;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::resources::Packing;
use wire_protocol::template::{Offer, Priority, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::WorkState;

use crate::kit::Lease;

/// Where a work is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    /// It may be leased from some instant between these on: the scheduler draws it.
    Waiting {
        earliest: Instant,
        latest: Instant,
    },
    Held {
        worker: WorkerId,
        token: LeaseToken,
        runs: bool,
    },
    Done(Outcome),
}

#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) bag: BagId,
    pub(crate) row: Vec<u8>,
    pub(crate) state: State,
    pub(crate) attempt: u16,
    spent: u16,
    kills: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Bag {
    pub(crate) tenant: TenantId,
    pub(crate) template: WorkTemplate,
    pub(crate) first: WorkId,
    pub(crate) rows_total: u32,
    pub(crate) priority: Priority,
    opened: Instant,
    pub(crate) closed: bool,
    /// Its deadline has come near, once since the engine started.
    bumped: bool,
    followers: BTreeMap<LinkId, u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) offer: Offer,
    pub(crate) wallet: Option<Address>,
    /// It is connected, and neither cordoned nor leaving.
    pub(crate) takes: bool,
    /// It said that it takes no work, on this connection.
    pub(crate) holding: bool,
    pub(crate) connected: bool,
    pub(crate) last_seen: Instant,
    /// Until then it may hold its room for works that waited for it, and stand idle.
    holds_until: Instant,
}

/// Outcome of a work as a follower hears of it: link, request, work, outcome, reason.
pub(crate) type Expected = (LinkId, u32, WorkId, Outcome, Reason);

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) now: Instant,
    pub(crate) works: BTreeMap<WorkId, Work>,
    pub(crate) bags: BTreeMap<BagId, Bag>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// What followers must be told for what has happened since this was last looked at.
    pub(crate) to_tell: BTreeSet<Expected>,
    /// Works that each ended once more than they were revived.
    ended: BTreeMap<WorkId, u32>,
    /// Nobody is to be given anything: leases would take the room that is kept for outcomes.
    pub(crate) disk_full: bool,
    /// Works that could have been leased when the event at hand came, with their priority.
    ready_before: BTreeMap<WorkId, Priority>,
    /// Leases that were given while a work of a higher priority fitted: to whom, which, and the other.
    overtaken: Vec<(WorkerId, WorkId, WorkId)>,
}

const LEASE: Millis = Millis::from_secs(10);

/// A work that has found no room for so long may have a worker that holds it, and a moment longer than it waits.
const RESERVE_AFTER: Millis = Millis::from_secs(30);
const HOLD_ENDS: Millis = Millis(1_001);

impl Model {
    pub(crate) fn opened(&mut self, id: BagId, bag: Bag, follower: Option<(LinkId, u32)>) {
        let bag = Bag {
            opened: self.now,
            followers: follower.into_iter().collect(),
            ..bag
        };
        self.bags.insert(id, bag);
    }

    pub(crate) fn bag(tenant: TenantId, template: WorkTemplate, first: WorkId, rows_total: u32) -> Bag {
        Bag {
            tenant,
            priority: template.priority,
            template,
            first,
            rows_total,
            opened: Instant(0),
            closed: false,
            bumped: false,
            followers: BTreeMap::new(),
        }
    }

    pub(crate) fn rows(&mut self, id: BagId, rows: &[Vec<u8>]) {
        let first = self.bags[&id].first;
        let accepted = self.works.values().filter(|work| work.bag == id).count() as u32;
        for (index, row) in rows.iter().enumerate() {
            let work = Work {
                bag: id,
                row: row.clone(),
                state: State::Waiting {
                    earliest: self.now,
                    latest: self.now,
                },
                attempt: 0,
                spent: 0,
                kills: 0,
            };
            self.works.insert(first.offset(accepted + index as u32), work);
        }
    }

    /// Something is about to happen: remembers which works wait.
    pub(crate) fn before(&mut self, now: Instant) {
        self.now = now;
        self.overtaken.clear();
        self.ready_before = self
            .works
            .iter()
            .filter(|(_, work)| matches!(work.state, State::Waiting { latest, .. } if latest < now))
            .map(|(id, work)| (*id, self.bags[&work.bag].priority))
            .collect();
    }

    /// Time has come: leases and times to live that are over end, deadlines that are near bump.
    pub(crate) fn time(&mut self) {
        for id in self.bags.keys().copied().collect::<Vec<_>>() {
            let bag = self.bags.get_mut(&id).expect("listed");
            let Some(ttl) = bag.template.time_to_live else {
                continue;
            };
            if self.is_done(id) {
                continue;
            }
            let bag = self.bags.get_mut(&id).expect("listed");
            let end = bag.opened + ttl;
            if self.now >= end - Millis(ttl.0 / 10) && !bag.bumped {
                bag.bumped = true;
                if self.open_works(id) > 0 {
                    self.bags.get_mut(&id).expect("listed").priority = Priority::MAX;
                }
            }
            if self.now >= end {
                self.end_bag(id, Outcome::Expired, Reason::TimeToLive);
            }
        }
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            let worker = self.workers.get_mut(&id).expect("listed");
            if self.now >= worker.last_seen + LEASE {
                worker.connected = false;
                worker.takes = false;
                for token in self.held_by(id) {
                    self.attempt_ended(token.work, Reason::WorkerLost);
                }
            }
        }
    }

    /// A worker was given a work. Panics if that was not to be.
    pub(crate) fn leased(&mut self, id: WorkerId, lease: &Lease) {
        let token = lease.token;
        let work = self
            .works
            .get(&token.work)
            .expect("only accepted works are leased");
        let worker = &self.workers[&id];
        let bag = &self.bags[&work.bag];
        let State::Waiting { earliest, .. } = work.state else {
            panic!("{token} was leased to {id} while the work was {:?}", work.state);
        };
        assert!(earliest <= self.now, "{token} was leased during its backoff");
        assert!(!self.disk_full, "{token} was leased to {id} on a full disk");
        assert!(
            worker.takes && !worker.holding,
            "{id} takes no works and got {token}"
        );
        assert_eq!(token.attempt.0, work.attempt + 1, "attempts are counted");
        assert_eq!((&lease.row, &lease.template), (&work.row, &bag.template));
        assert!(self.can_run(worker, bag), "{id} cannot run {token}");
        assert!(self.fits(id, bag), "{id} has no room for {token}");
        let held_for_it = self.waited_long(work.state);
        let holds = held_for_it || worker.holds_until >= self.now;
        let held = self.held_by(id).len() as u32;
        assert!(
            held < worker.offer.slots + worker.offer.prefill,
            "{id} has {held} works and got {token}"
        );
        if !holds {
            self.note_overtaken(id, token.work);
        }
        let work = self.works.get_mut(&token.work).expect("just seen");
        work.attempt += 1;
        work.state = State::Held {
            worker: id,
            token,
            runs: false,
        };
    }

    /// What must hold when an event is over, given the leases that it led to.
    pub(crate) fn after(&mut self, dispatching: bool) {
        for (worker, work, other) in &self.overtaken {
            let waits = matches!(self.works[other].state, State::Waiting { latest, .. } if latest < self.now);
            assert!(
                !waits,
                "{worker} got {work} while {other} of a higher priority waits"
            );
        }
        self.note_holding();
        if !dispatching || self.disk_full {
            return;
        }
        for (id, worker) in self
            .workers
            .iter()
            .filter(|(_, worker)| worker.takes && !worker.holding)
        {
            let held = self.held_by(*id).len() as u32;
            if held >= worker.offer.slots || worker.holds_until >= self.now {
                continue;
            }
            for (work, waiting) in &self.works {
                let ready = matches!(waiting.state, State::Waiting { latest, .. } if latest <= self.now);
                assert!(
                    !(ready
                        && self.can_run(worker, &self.bags[&waiting.bag])
                        && self.fits(*id, &self.bags[&waiting.bag])),
                    "{id} has a free slot and room, and {work} waits"
                );
            }
        }
    }

    /// The lease that is about to be noted was given before works of a higher priority that fit as well.
    fn note_overtaken(&mut self, id: WorkerId, given: WorkId) {
        let priority_given = self.bags[&self.works[&given].bag].priority;
        let mut overtaken = Vec::new();
        for (other, priority) in &self.ready_before {
            let work = &self.works[other];
            let bag = &self.bags[&work.bag];
            let waits = matches!(work.state, State::Waiting { latest, .. } if latest < self.now);
            let able = self.can_run(&self.workers[&id], bag) && self.fits(id, bag);
            if waits && able && (*priority).min(bag.priority) > priority_given {
                overtaken.push((id, given, *other));
            }
        }
        self.overtaken.extend(overtaken);
    }

    fn waited_long(&self, state: State) -> bool {
        matches!(state, State::Waiting { earliest, .. } if earliest + RESERVE_AFTER <= self.now)
    }

    /// Who may hold room, because a work that it could run has found none for long.
    fn note_holding(&mut self) {
        for id in self.workers.keys().copied().collect::<Vec<_>>() {
            let lacks_room = |work: &Work| {
                let bag = &self.bags[&work.bag];
                self.waited_long(work.state) && self.can_run(&self.workers[&id], bag) && !self.fits(id, bag)
            };
            if self.works.values().any(lacks_room) {
                self.workers.get_mut(&id).expect("listed").holds_until = self.now + HOLD_ENDS;
            }
        }
    }

    /// The worker could run works of the bag with nothing else to do.
    pub(crate) fn can_run(&self, worker: &Worker, bag: &Bag) -> bool {
        let template = &bag.template;
        let unmet = template.requirements.unmet(template.executor(), &worker.offer);
        let packs = worker.offer.packing == Packing::Resources;
        let wallet = template.requirements.wallet;
        unmet.is_none()
            && (wallet.is_none() || wallet == worker.wallet)
            && (!packs || memory_of(template) <= worker.offer.memory.0)
    }

    /// All that the worker has and one more of the bag do not take more than it offers.
    fn fits(&self, id: WorkerId, bag: &Bag) -> bool {
        let offer = &self.workers[&id].offer;
        let held = self.held_by(id);
        let held = held
            .iter()
            .map(|token| &self.bags[&self.works[&token.work].bag].template);
        let templates: Vec<&WorkTemplate> = held.chain([&bag.template]).collect();
        let sum = |amount: &dyn Fn(&WorkTemplate) -> u64| -> u64 {
            // A counter that the work does not take of may be overdrawn.
            if amount(&bag.template) == 0 {
                return 0;
            }
            templates.iter().map(|template| amount(template)).sum()
        };
        let asked = |template: &WorkTemplate, name: &str| {
            let custom = template.requirements.custom.iter();
            custom
                .filter(|(asked, _)| asked == name)
                .map(|(_, amount)| *amount)
                .sum()
        };
        let custom = offer
            .custom
            .iter()
            .all(|(name, all)| sum(&|template| asked(template, name)) <= *all);
        let gpus = sum(&|template| template.requirements.gpus.into()) <= offer.gpus.into();
        let packed = offer.packing == Packing::Slots
            || sum(&|template| template.requirements.cores.max(1).into()) <= offer.cores.into()
                && sum(&memory_of) <= offer.memory.0;
        custom && gpus && packed
    }

    pub(crate) fn held_by(&self, id: WorkerId) -> Vec<LeaseToken> {
        let held = self.works.values().filter_map(|work| match work.state {
            State::Held { worker, token, .. } if worker == id => Some(token),
            _ => None,
        });
        held.collect()
    }

    /// The work of a lease that is live and this worker's.
    fn live(&self, id: WorkerId, token: LeaseToken) -> bool {
        let state = self.works.get(&token.work).map(|work| work.state);
        matches!(state, Some(State::Held { worker, token: held, .. }) if worker == id && held == token)
    }

    pub(crate) fn reported(&mut self, id: WorkerId, tokens: &[LeaseToken], reason: Reason) {
        for token in tokens {
            if !self.live(id, *token) {
                continue;
            }
            if reason == Reason::None {
                self.done(token.work, Outcome::Succeeded, Reason::None);
            } else {
                self.attempt_ended(token.work, reason);
            }
        }
    }

    pub(crate) fn started(&mut self, id: WorkerId, tokens: &[LeaseToken]) {
        for token in tokens {
            if self.live(id, *token)
                && let State::Held { runs, .. } = &mut self.works.get_mut(&token.work).expect("live").state
            {
                *runs = true;
            }
        }
    }

    pub(crate) fn returned(&mut self, id: WorkerId, tokens: &[LeaseToken], reason: Reason) {
        let reason = if reason.is_workers_fault() {
            reason
        } else {
            Reason::Retracted
        };
        for token in tokens {
            if self.live(id, *token) {
                self.attempt_ended(token.work, reason);
            }
        }
    }

    /// A worker joined with these leases; returns those that go on.
    pub(crate) fn joined(
        &mut self,
        id: WorkerId,
        (offer, wallet): (Offer, Option<Address>),
        presented: &[LeaseToken],
        takes: bool,
    ) -> Vec<LeaseToken> {
        let last_seen = self.now;
        self.workers.insert(
            id,
            Worker {
                offer,
                wallet,
                takes,
                holding: false,
                connected: true,
                last_seen,
                holds_until: Instant(0),
            },
        );
        for token in self.held_by(id) {
            if !presented.contains(&token) {
                self.attempt_ended(token.work, Reason::LeaseAbandoned);
            }
        }
        self.held_by(id)
    }

    pub(crate) fn left(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.connected = false;
            worker.takes = false;
        }
    }

    /// The engine came back at `now` and has forgotten nothing but links and backoffs.
    pub(crate) fn restarted(&mut self, now: Instant) {
        self.now = now;
        for worker in self.workers.values_mut() {
            *worker = Worker {
                connected: false,
                takes: false,
                holding: false,
                last_seen: now,
                offer: worker.offer.clone(),
                wallet: worker.wallet,
                holds_until: Instant(0),
            };
        }
        for bag in self.bags.values_mut() {
            bag.bumped = false;
            bag.followers.clear();
        }
        for work in self.works.values_mut() {
            if let State::Waiting { earliest, latest } = &mut work.state {
                (*earliest, *latest) = (now.min(*earliest), now);
            }
        }
    }

    /// An attempt ended without success: the work waits again, or has failed.
    fn attempt_ended(&mut self, id: WorkId, reason: Reason) {
        let now = self.now;
        let work = self.works.get_mut(&id).expect("a known work");
        let retry = self.bags[&work.bag].template.retry;
        let State::Held { runs, .. } = work.state else {
            panic!("{id} is held")
        };
        let lost = matches!(reason, Reason::WorkerLost | Reason::LeaseAbandoned);
        work.kills += u8::from(lost && runs);
        work.spent += u16::from(!reason.is_workers_fault() && (runs || !lost));
        if work.kills >= 3 {
            return self.done(id, Outcome::Failed, Reason::Quarantined);
        }
        if work.spent >= retry.attempts_max {
            return self.done(id, Outcome::Failed, reason);
        }
        let at_once = (reason.is_workers_fault() && reason != Reason::NoRoom) || (lost && !runs);
        let full = if at_once {
            0
        } else {
            let doubled = retry.backoff_min.0 << work.spent.saturating_sub(1).min(32);
            doubled.min(retry.backoff_max.0)
        };
        work.state = State::Waiting {
            earliest: now + Millis(full - full / 2),
            latest: now + Millis(full),
        };
    }

    fn done(&mut self, id: WorkId, outcome: Outcome, reason: Reason) {
        let work = self.works.get_mut(&id).expect("a known work");
        work.state = State::Done(outcome);
        let ended = self.ended.entry(id).or_default();
        *ended += 1;
        assert_eq!(*ended, 1, "{id} has one outcome");
        for (link, request) in &self.bags[&work.bag].followers {
            let new = self.to_tell.insert((*link, *request, id, outcome, reason));
            assert!(new, "{id} ends once an event");
        }
    }

    pub(crate) fn cancelled(&mut self, id: WorkId) -> u32 {
        let open = !matches!(
            self.works.get(&id).map(|work| work.state),
            None | Some(State::Done(_))
        );
        if open {
            self.done(id, Outcome::Cancelled, Reason::ByUser);
        }
        u32::from(open)
    }

    pub(crate) fn end_bag(&mut self, id: BagId, outcome: Outcome, reason: Reason) -> u32 {
        if self.is_done(id) {
            return 0;
        }
        self.bags.get_mut(&id).expect("a known bag").closed = true;
        let open = |work: &Work| work.bag == id && !matches!(work.state, State::Done(_));
        let works: Vec<WorkId> = self
            .works
            .iter()
            .filter(|(_, work)| open(work))
            .map(|(id, _)| *id)
            .collect();
        works.iter().for_each(|work| self.done(*work, outcome, reason));
        works.len() as u32
    }

    /// The bag takes no more rows.
    pub(crate) fn sealed(&mut self, id: BagId) -> u32 {
        let accepted = self.works.values().filter(|work| work.bag == id).count() as u32;
        let bag = self.bags.get_mut(&id).expect("a known bag");
        let takes_rows = !bag.closed && accepted < bag.rows_total;
        bag.closed |= takes_rows;
        u32::from(takes_rows)
    }

    /// Works of a span that ended without success wait again.
    pub(crate) fn revived(&mut self, works: impl Iterator<Item = WorkId>) -> u32 {
        let mut revived = 0;
        for id in works {
            let Some(work) = self.works.get_mut(&id) else {
                continue;
            };
            let State::Done(outcome) = work.state else {
                continue;
            };
            if outcome == Outcome::Succeeded {
                continue;
            }
            (work.spent, work.kills) = (0, 0);
            work.state = State::Waiting {
                earliest: self.now,
                latest: self.now,
            };
            self.ended.insert(id, 0);
            revived += 1;
        }
        revived
    }

    pub(crate) fn followed(&mut self, id: BagId, link: LinkId, request: u32) {
        self.bags
            .get_mut(&id)
            .expect("a known bag")
            .followers
            .insert(link, request);
    }

    pub(crate) fn unfollowed(&mut self, link: LinkId) {
        self.bags
            .values_mut()
            .for_each(|bag| bag.followers.retain(|follower, _| *follower != link));
    }

    pub(crate) fn open_works(&self, id: BagId) -> u32 {
        let open = |work: &&Work| work.bag == id && !matches!(work.state, State::Done(_));
        self.works.values().filter(open).count() as u32
    }

    pub(crate) fn past_deadline(&self, id: BagId) -> bool {
        let bag = &self.bags[&id];
        bag.template
            .time_to_live
            .is_some_and(|ttl| bag.opened + ttl <= self.now)
    }

    fn is_done(&self, id: BagId) -> bool {
        let bag = &self.bags[&id];
        let accepted = self.works.values().filter(|work| work.bag == id).count() as u32;
        self.open_works(id) == 0 && (bag.closed || accepted == bag.rows_total)
    }

    /// All works as a listing shows them.
    pub(crate) fn listing(&self) -> Vec<(WorkId, WorkState, u16)> {
        let state = |state: State| match state {
            State::Waiting { .. } => WorkState::Queued,
            State::Held { runs: false, .. } => WorkState::Leased,
            State::Held { runs: true, .. } => WorkState::Running,
            State::Done(outcome) => WorkState::Done(outcome),
        };
        let works = self.works.iter();
        works
            .map(|(id, work)| (*id, state(work.state), work.attempt))
            .collect()
    }
}

/// Memory that a work takes where that is counted.
fn memory_of(template: &WorkTemplate) -> u64 {
    match template.requirements.memory.0 {
        0 => template.limits.memory.0,
        asked => asked,
    }
}
