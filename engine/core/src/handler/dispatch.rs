//! Dispatch: which works go to which worker, and when.
//!
//! Two occasions: works became ready ([`Scheduler::dispatch_ready`]) or a worker got room
//! ([`Scheduler::fill`]). In between one thing always holds: *a worker with a free slot has no waiting work
//! that it may run*. Beyond its slots a worker gets works ahead of time (prefill), so that a slot that becomes
//! free never waits for a round trip; but only as many as are its share of what waits, so that the end of a bag
//! does not lie with one worker while others have nothing to do. Where it does all the same, because works take
//! longer than expected, [`Scheduler::rebalance`] takes some back.
//!
//! A worker that counts more than its slots (`handler/metering.rs`) gets what fits, also ahead of time; what it may run is
//! what fits now, so that the sentence above holds of it too.
//!
//! Twice nobody gets anything, and everything is looked at anew afterwards: see [`Pause`].

use std::collections::BTreeSet;
use std::fmt;

use wire_protocol::ids::{BagId, LeaseToken, LinkId, Lsn, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::record;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{TemplateDefined, Tokens, kind, push_control};

use crate::effect::Effects;
use crate::event::Pressure;
use crate::scheduler::Scheduler;
use crate::state::{Phase, WorkEvent};
use crate::table::bag::{TemplateRef, Templates};
use crate::table::class::ClassId;
use crate::table::profile::ProfileId;
use crate::table::worker::{About, Known, TEMPLATES_PER_LINK, TemplateName, Worker};
use crate::timers::Timer;

/// Bytes after which a frame of assignments is ended and another begun.
const FRAME_BYTES: usize = 128 * 1024;

/// Workers in a row that are found to have their share of works ahead of time before the rest are left alone.
const PREFILL_IN_VAIN_MAX: usize = 16;

/// How long works may lie with a worker that cannot run them yet while another starves.
const REBALANCE_AFTER: Millis = Millis(20);

/// How long a worker has to give works back before it is asked for others.
const ASK_AGAIN_AFTER: Millis = Millis(200);

/// Workers looked at per round of rebalancing, on either side.
const REBALANCE_WORKERS_MAX: usize = 64;

impl Scheduler {
    /// Works of the bag became ready: gives them, and others of their class, to workers with free slots, then ahead of time.
    pub(crate) fn dispatch_ready(&mut self, bag: BagId, effects: &mut Effects) {
        self.dispatch_warm(bag, effects);
        let class = self.bags.get(bag).expect("the caller looked it up").class;
        self.dispatch(Some(class), effects);
    }

    /// The same for works whose leases have ended, those that wait now.
    pub(crate) fn dispatch_leased(
        &mut self,
        leases: impl Iterator<Item = LeaseToken>,
        effects: &mut Effects,
    ) {
        let ready = leases.filter_map(|token| {
            let work = self.works.get(token.work)?;
            (work.phase == Phase::Queued).then(|| self.bags.id_of(work.bag))
        });
        let bags: BTreeSet<BagId> = ready.collect();
        for bag in bags {
            self.dispatch_ready(bag, effects);
        }
    }

    /// Everything is looked at anew: a pause is over.
    pub(crate) fn dispatch_all(&mut self, effects: &mut Effects) {
        self.dispatch(None, effects);
    }

    /// Gives works of a class, or of all, to workers with free slots, then ahead of time.
    fn dispatch(&mut self, class: Option<ClassId>, effects: &mut Effects) {
        if self.pause().is_some() {
            return;
        }
        let mut from = ProfileId(0);
        while self.ready.waits(class)
            && let Some(profile) = self.classes.starving_from(from, class)
        {
            while let Some(worker) = self.classes.profile(profile).starving.first().copied()
                && self.fill_slots(worker, effects)
            {}
            from = ProfileId(profile.0 + 1);
        }
        self.prefill(class, effects);
        self.arm_reserving(class);
    }

    /// Why nobody gets works now, whatever waits and whoever has room.
    #[inline]
    pub(crate) fn pause(&self) -> Option<Pause> {
        if self.pressure == Pressure::DiskFull {
            return Some(Pause::DiskFull);
        }
        self.rejoin_until
            .map(|until| Pause::Rejoin(until.since(self.now)))
    }

    /// Gives works ahead of time to workers whose slots are all taken. Those who have their share already are
    /// passed over, and when many in a row have it, the others are taken to have it too: they ask for more
    /// whenever they report.
    fn prefill(&mut self, class: Option<ClassId>, effects: &mut Effects) {
        let mut in_vain = 0;
        let mut from = ProfileId(0);
        while self.ready.waits(class)
            && let Some(profile) = self.classes.roomy_from(from, class)
        {
            let mut after = WorkerId(0);
            while self.prefill_share() > 0
                && in_vain < PREFILL_IN_VAIN_MAX
                && let Some(worker) = self.classes.profile(profile).roomy_behind(after)
            {
                after = worker;
                match self.fill(worker, effects) {
                    Filled::Given => in_vain = 0,
                    Filled::Nothing => in_vain += 1,
                    Filled::NothingLeft => break,
                }
            }
            from = ProfileId(profile.0 + 1);
        }
    }

    /// Works that each worker may get ahead of time: half of what waits, divided among all.
    fn prefill_share(&self) -> u32 {
        let share = self.ready.len() / (2 * self.counters.workers_connected.max(1));
        u32::try_from(share).unwrap_or(u32::MAX)
    }

    /// Gives a worker what it may have now: for its slots, and its share ahead of time.
    pub(crate) fn fill(&mut self, id: WorkerId, effects: &mut Effects) -> Filled {
        let worker = self.workers.get(id).expect("a known worker");
        let (slots, prefill) = (worker.slots, worker.prefill);
        // While much waits the share is not in the way, and dividing would cost more than the rest of this.
        let plenty = u64::from(prefill) * 2 * self.counters.workers_connected.max(1) <= self.ready.len();
        let ahead = if plenty {
            prefill
        } else {
            prefill.min(self.prefill_share())
        };
        self.fill_upto(id, slots.saturating_add(ahead), effects)
    }

    /// Gives a starving worker what its slots can take. `false`: nothing is left that it may run.
    pub(crate) fn fill_slots(&mut self, id: WorkerId, effects: &mut Effects) -> bool {
        let slots = self.workers.get(id).expect("a known worker").slots;
        self.fill_upto(id, slots, effects) == Filled::Given
    }

    fn fill_upto(&mut self, id: WorkerId, target: u32, effects: &mut Effects) -> Filled {
        let worker = self.workers.get(id).expect("a known worker");
        let mut filled = Filled::Nothing;
        if worker.takes_work() && self.pause().is_none() && worker.held_len() < target {
            filled = if worker.metered {
                self.lease_metered(id, target, effects)
            } else {
                self.lease_upto(id, target, effects)
            };
        }
        self.list_room(id);
        filled
    }

    /// As [`Self::lease_upto`], for a worker whose works are counted: what fits is looked at anew after each run. Given
    /// anything, it has left the profile that it was found in, whose other workers may have room.
    fn lease_metered(&mut self, id: WorkerId, target: u32, effects: &mut Effects) -> Filled {
        let mut filled = Filled::NothingLeft;
        loop {
            self.sync_profile(id);
            if self.workers.get(id).expect("a known worker").held_len() >= target {
                return Filled::Given;
            }
            if self.lease_upto(id, target, effects) == Filled::NothingLeft {
                return filled;
            }
            filled = Filled::Given;
        }
    }

    /// Leases works to the worker until it holds `target`; to one whose works are counted, one run that fits.
    fn lease_upto(&mut self, id: WorkerId, target: u32, effects: &mut Effects) -> Filled {
        let Self {
            workers,
            works,
            bags,
            templates,
            classes,
            tenants,
            ready,
            counters,
            ..
        } = self;
        let worker = workers.get_mut(id).expect("a known worker");
        let link = worker.link.expect("a worker that takes work is connected");
        let eligible = &classes.profile(worker.profile).eligible;
        let meter = if worker.metered {
            classes.terms(worker.profile).meter.as_ref()
        } else {
            None
        };
        let (epoch, shard) = (self.epoch, self.config.shard);
        let record_start = effects.begin_record();
        record::begin_attempts(effects.record_bytes(), self.now, id, Reason::None);
        let mut frame = Frame::None;
        let mut given = 0;
        let mut left = true;
        while worker.held_len() < target {
            let max = target - worker.held_len();
            let run = match meter {
                None => ready.take(eligible, max, |_| u32::MAX, works, tenants),
                Some(meter) => {
                    let fit = |class| meter.fit(&worker.about.room, &classes.get(class).demand);
                    ready.take(eligible, max, fit, works, tenants)
                }
            };
            let Some(run) = run else {
                left = false;
                break;
            };
            let span = works.run_mut(run.first, run.len);
            let bag = bags.of_work_mut(span[0].bag);
            bag.tally.queued -= run.len;
            bag.tally.leased += run.len;
            frame.turn_to(bag.template, link, worker, templates, effects);
            let mut rows = bag.rows.encoded_from(bag.row_of(run.first));
            worker.held.reserve(span.len());
            for (index, work) in span.iter_mut().enumerate() {
                if frame.is_long(effects) {
                    frame.end(link, effects);
                    frame.turn_to(bag.template, link, worker, templates, effects);
                }
                assert!(work.advance(WorkEvent::Leased), "ready works are queued");
                work.attempt.0 += 1;
                work.epoch = epoch;
                work.worker = id;
                work.held_at = worker.held_len();
                let work_id = run.first.offset(index as u32);
                worker.held.push(work_id);
                let token = LeaseToken {
                    work: work_id,
                    epoch,
                    attempt: work.attempt,
                    shard,
                };
                let token = token.to_bytes();
                effects.record_bytes().extend_from_slice(&token);
                // What `Assignments::put` would write: rows are kept in the very form in which they are assigned.
                effects.frames.extend_from_slice(&token);
                let row = rows.next().expect("accepted works have rows");
                effects.frames.extend_from_slice(row);
            }
            given += u64::from(run.len);
            if let Some(meter) = meter {
                let class = bag.class;
                let demand = &classes.get(class).demand;
                (0..run.len).for_each(|_| meter.take(&mut worker.about.room, demand));
                // It has what its room was held for.
                worker.about.reserved = worker.about.reserved.filter(|reserved| *reserved != class);
                break;
            }
        }
        frame.end(link, effects);
        if given == 0 {
            effects.cancel_record(record_start);
        } else {
            counters.leased_total += given;
            counters.works_leased += given;
            self.end_record(effects, record::kind::LEASED, record_start);
        }
        if left { Filled::Given } else { Filled::NothingLeft }
    }

    /// Keeps the lists of workers with room true after a worker's load or state changed.
    pub(crate) fn list_room(&mut self, id: WorkerId) {
        let mut worker = self.workers.get_mut(id).expect("a known worker");
        if worker.metered {
            self.sync_profile(id);
            worker = self.workers.get_mut(id).expect("a known worker");
        }
        let takes = worker.takes_work();
        let held = worker.held_len();
        let starving = takes && held < worker.slots;
        let roomy = takes && held < worker.credit();
        let overfull = held > worker.slots && worker.is_connected();
        if worker.overfull != overfull {
            worker.overfull = overfull;
            if overfull {
                self.overfull.insert(id);
            } else {
                self.overfull.remove(&id);
            }
        }
        if worker.listed != (starving, roomy) {
            worker.listed = (starving, roomy);
            self.classes.list(worker.profile, id, (starving, roomy));
        }
        if starving && !self.overfull.is_empty() && !self.rebalance_armed {
            self.rebalance_armed = true;
            self.timers.at(self.now + REBALANCE_AFTER, Timer::Rebalance);
        }
    }

    /// Asks workers that hold more than they can run for works that starving ones could run at once.
    pub(crate) fn rebalance(&mut self, effects: &mut Effects) {
        self.rebalance_armed = false;
        let starving: Vec<WorkerId> = self.classes.all_starving().take(REBALANCE_WORKERS_MAX).collect();
        if self.pressure != Pressure::DiskFull {
            // Otherwise what comes back could be given to nobody, and would be recorded as given back.
            for worker in &starving {
                self.retract_for(*worker, effects);
            }
        }
        if !starving.is_empty() && !self.overfull.is_empty() {
            self.rebalance_armed = true;
            self.timers.at(self.now + REBALANCE_AFTER, Timer::Rebalance);
        }
    }

    fn retract_for(&mut self, starving: WorkerId, effects: &mut Effects) {
        let worker = self.workers.get(starving).expect("listed workers are known");
        let wanted = (worker.slots - worker.held_len()) as usize;
        let eligible = &self.classes.profile(worker.profile).eligible;
        // Whoever reported a moment ago is about to run what it has.
        let patient = |victim: &&Worker| {
            self.now >= victim.about.ask_again_at && self.now.since(victim.last_report) >= Millis(5)
        };
        let victims = self.overfull.iter().take(REBALANCE_WORKERS_MAX);
        let victim = victims
            .filter_map(|id| self.workers.get(*id))
            .filter(patient)
            .max_by_key(|victim| (victim.held_len() - victim.slots, std::cmp::Reverse(victim.id)));
        let Some(victim) = victim else { return };
        let spare = victim.held.len() - victim.slots as usize;
        let meter = self.classes.terms(worker.profile).meter.as_ref();
        let mut room = worker.about.room.clone();
        // All of them are to fit there together.
        let mut fits = |class: ClassId| {
            let Some(meter) = meter else { return true };
            let demand = &self.classes.get(class).demand;
            let fits = meter.fits(&room, demand);
            if fits {
                meter.take(&mut room, demand);
            }
            fits
        };
        let tokens: Vec<LeaseToken> = victim
            .held
            .iter()
            .rev()
            .filter_map(|id| Some((*id, self.works.get(*id)?)))
            .filter(|(_, work)| {
                let class = self.bags.of_work(work.bag).class;
                work.phase == Phase::Leased && eligible.contains(class) && fits(class)
            })
            .take(wanted.min(spare))
            .map(|(id, work)| self.token(id, work.epoch, work.attempt))
            .collect();
        if tokens.is_empty() {
            return;
        }
        let victim = victim.id;
        let victim = self.workers.get_mut(victim).expect("just seen");
        victim.about.ask_again_at = self.now + ASK_AGAIN_AFTER;
        let link = victim.link.expect("overfull workers are connected");
        effects.send(link, Lsn(0), |out| {
            Tokens::push(out, kind::RETRACT, Reason::Retracted, tokens)
        });
    }
}

/// Why nobody gets works for now. Works under way go on, and what is reported of them counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    /// Leases are recorded, and what is left of the disk is kept for recording how works under way end.
    DiskFull,
    /// After a start workers that held leases have this long to come back, so that nobody else is given what they
    /// run.
    Rejoin(Millis),
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DiskFull => f.write_str(
                "the disk is full and the engine gives out no works until there is room; what workers have goes on",
            ),
            Self::Rejoin(wait) => write!(
                f,
                "the engine has just started and waits {wait} for workers that held leases to come back"
            ),
        }
    }
}

/// What came of an attempt to give a worker more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filled {
    /// It has all that it may have now.
    Given,
    /// It had that before, or takes nothing.
    Nothing,
    /// It could take more, and nothing is left that it may run.
    NothingLeft,
}

/// The frame of assignments that is being written.
enum Frame {
    None,
    Open { template: TemplateRef, start: usize },
}

impl Frame {
    /// Makes the open frame one of this template, after its definition where the link has not heard of it.
    fn turn_to(
        &mut self,
        template: TemplateRef,
        link: LinkId,
        worker: &mut Worker,
        templates: &Templates,
        effects: &mut Effects,
    ) {
        if let Self::Open { template: open, .. } = self
            && *open == template
        {
            return;
        }
        self.end(link, effects);
        let name = (template, templates.get(template).generation);
        if worker.recent.name != name {
            let number = Self::define(name, link, &mut worker.about, templates, effects);
            worker.recent = Known { name, number };
        }
        let start = effects.begin_frame(kind::ASSIGN);
        let number = u32::from(worker.recent.number);
        effects.frames.extend_from_slice(&number.to_le_bytes());
        *self = Self::Open { template, start };
    }

    /// The template's number on the link, which hears its definition first if it has not.
    fn define(
        name: TemplateName,
        link: LinkId,
        about: &mut About,
        templates: &Templates,
        effects: &mut Effects,
    ) -> u8 {
        let known = about.templates.iter().position(|known| *known == name);
        let number = known.unwrap_or_else(|| {
            let number = about.template_turn;
            about.template_turn = (number + 1) % TEMPLATES_PER_LINK;
            match about.templates.get_mut(number) {
                Some(slot) => *slot = name,
                None => about.templates.push(name),
            }
            let defined = TemplateDefined {
                template: u32::try_from(number).expect("few templates a link"),
                definition: (*templates.get(name.0).definition).clone(),
            };
            effects.send(link, Lsn(0), |out| push_control(out, kind::TEMPLATE, &defined));
            number
        });
        u8::try_from(number).expect("few templates a link")
    }

    fn is_long(&self, effects: &Effects) -> bool {
        matches!(self, Self::Open { start, .. } if effects.frames.len() - start > FRAME_BYTES)
    }

    fn end(&mut self, link: LinkId, effects: &mut Effects) {
        if let Self::Open { start, .. } = std::mem::replace(self, Self::None) {
            effects.end_frame(link, Lsn(0), start);
        }
    }
}
