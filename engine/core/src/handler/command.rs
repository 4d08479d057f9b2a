//! Commands: cancel, retry, prioritise, seal, cordon, drain. Those about who may join are in [`super::joining`]. All may be repeated; the second finds nothing to do.

use wire_protocol::client_link::{Command, CommandRequest, Selector};
use wire_protocol::codec;
use wire_protocol::ids::{Attempt, BagId, LeaseToken, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::joining::Approval;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, BagPrioritised, BagSealed, Ended, Revived};
use wire_protocol::template::{Invalid, Priority};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkerState};
use wire_protocol::worker_link::{Notice, Tokens, kind, push_control};

use crate::effect::Effects;
use crate::handler::joining::{conflict, waits_for_approval};
use crate::ready::{End, Run};
use crate::scheduler::Scheduler;
use crate::state::{Phase, WorkEvent, WorkerEvent};
use crate::table::bag::Bag;
use crate::table::work::Work;

impl Scheduler {
    pub(crate) fn on_command(&mut self, link: LinkId, request: CommandRequest, effects: &mut Effects) {
        let reply = match request.command {
            Command::Cancel(selector) => self.cancel(link, &selector, effects),
            Command::Retry(selector) => self.retry(link, &selector, effects),
            Command::Prioritise(bag, priority) => self.on_prioritise(link, bag, priority, effects),
            Command::Cordon(worker) => self.on_cordon(link, worker, true, effects),
            Command::Uncordon(worker) => self.on_cordon(link, worker, false, effects),
            Command::Drain(worker) => self.on_drain(link, worker, None, effects),
            Command::DrainWithin(worker, within) => self.on_drain(link, worker, Some(within), effects),
            Command::Snapshot => self.on_snapshot_wanted(link, effects),
            Command::Seal(bag) => self.on_seal(link, bag, effects),
            Command::CreateToken(new) => self.create_token(link, new, effects),
            Command::RevokeToken(token) => self.revoke_token(link, token, effects),
            Command::Approve(worker) => self.approve_worker(link, worker, effects),
            Command::Revoke(worker) => self.revoke_worker(link, worker, effects),
            Command::TakeNotebook(notebook) => self.take_notebook(link, notebook, effects),
            Command::WriteNotes(written) => {
                let Some(reply) = self.write_notes(link, request.request, written, effects) else {
                    return;
                };
                reply
            }
        };
        self.reply(link, request.request, reply, effects);
        self.note_done_bags();
    }

    fn on_snapshot_wanted(&mut self, link: LinkId, effects: &mut Effects) -> Reply {
        if !self.links.client(link).expect("routed by role").operator {
            let problem = "only an operator may ask for one".to_owned();
            return Reply::Conflict(Invalid {
                field: "snapshot".to_owned(),
                problem,
            });
        }
        Reply::Changed(u32::from(self.want_snapshot(effects)))
    }

    /// The bag, if it is there and the client may see it: operators see all, others their own.
    pub(crate) fn visible_bag(&self, link: LinkId, bag: BagId) -> Option<&Bag> {
        let client = self.links.client(link).expect("routed by role");
        self.bags
            .get(bag)
            .filter(|bag| client.operator || bag.tenant == client.tenant)
    }

    /// The bag and the run of works that a selector names, if they are there and the client may see them.
    fn select(&self, link: LinkId, selector: &Selector) -> Option<(BagId, Run)> {
        match selector {
            Selector::Bag(bag) => self.visible_bag(link, *bag).map(|bag| {
                let run = Run {
                    first: bag.first,
                    len: bag.rows_total,
                };
                (bag.id, run)
            }),
            Selector::Work(work) => {
                let bag = self.bags.id_of(self.works.get(*work)?.bag);
                let run = Run { first: *work, len: 1 };
                self.visible_bag(link, bag).map(|bag| (bag.id, run))
            }
        }
    }

    fn cancel(&mut self, link: LinkId, selector: &Selector, effects: &mut Effects) -> Reply {
        let Some((bag, run)) = self.select(link, selector) else {
            return not_found(selector);
        };
        let changed = match selector {
            Selector::Bag(_) => self.end_bag(bag, Outcome::Cancelled, Reason::ByUser, effects),
            Selector::Work(_) => self.end_work(run.first, Outcome::Cancelled, Reason::ByUser, effects),
        };
        Reply::Changed(changed)
    }

    /// Ends all works of a bag that are not done, and takes no more rows for it.
    pub(crate) fn end_bag(
        &mut self,
        id: BagId,
        outcome: Outcome,
        reason: Reason,
        effects: &mut Effects,
    ) -> u32 {
        let bag = self.bags.get_mut(id).expect("the caller looked it up");
        if bag.is_done() {
            return 0;
        }
        bag.closed = true;
        let (first, rows_total) = (bag.first, bag.rows_total);
        let ended = Ended {
            at: self.now,
            first,
            count: rows_total,
            outcome,
            reason,
            closes: Some(id),
        };
        let changed = self.end_works(ended, effects);
        if changed == 0 && self.bags.get(id).is_some_and(Bag::is_done) {
            // Nothing was open, but rows were still to come: that it is done now is due to the closing alone.
            self.scratch.bags.push(id);
        }
        changed
    }

    /// Ends one work, if it is not done, and returns how many that were.
    pub(crate) fn end_work(
        &mut self,
        work: WorkId,
        outcome: Outcome,
        reason: Reason,
        effects: &mut Effects,
    ) -> u32 {
        let open = |work: &Work| work.phase.next(WorkEvent::Ended(outcome)).is_some();
        if !self.works.get(work).is_some_and(open) {
            return 0;
        }
        self.end_works(
            Ended {
                at: self.now,
                first: work,
                count: 1,
                outcome,
                reason,
                closes: None,
            },
            effects,
        )
    }

    /// Ends those works of a run that are not done, and returns how many there were. Leases end with them; their
    /// workers are told.
    fn end_works(&mut self, ended: Ended, effects: &mut Effects) -> u32 {
        let Ended {
            first,
            count,
            outcome,
            reason,
            ..
        } = ended;
        let lsn = self.record(effects, record::kind::ENDED, |out| {
            codec::put_control(out, &ended)
        });
        let mut changed = Vec::new();
        let mut waited = 0;
        let mut stopped: Vec<(WorkerId, LeaseToken)> = Vec::new();
        let mut bag = None;
        for row in 0..count {
            let id = first.offset(row);
            let Some(work) = self.works.get(id).copied() else {
                continue;
            };
            if work.phase.next(WorkEvent::Ended(outcome)).is_none() {
                continue;
            }
            bag = Some(self.bags.id_of(work.bag));
            if work.phase.is_held() {
                stopped.push((work.worker, self.token(id, work.epoch, work.attempt)));
                self.take_from_worker(id);
            }
            waited += u64::from(work.phase == Phase::Queued);
            assert!(self.advance(id, WorkEvent::Ended(outcome)), "looked at above");
            let work = self.works.get_mut(id).expect("looked at above");
            work.lsn = lsn;
            work.reason = reason;
            changed.push(id);
        }
        if let Some(bag) = bag {
            let key = Self::key_of(self.bags.get(bag).expect("a known work has a known bag"));
            self.ready.removed(key, waited);
            self.tell_ended(bag, &changed, outcome, reason, effects);
        }
        self.stop_attempts(&mut stopped, reason, effects);
        u32::try_from(changed.len()).expect("a bag's works")
    }

    /// Tells workers to stop attempts whose works ended otherwise, and gives them others.
    fn stop_attempts(
        &mut self,
        stopped: &mut [(WorkerId, LeaseToken)],
        reason: Reason,
        effects: &mut Effects,
    ) {
        stopped.sort_unstable();
        for group in stopped.chunk_by(|(a, _), (b, _)| a == b) {
            let id = group[0].0;
            if let Some(link) = self.workers.get(id).and_then(|worker| worker.link) {
                let tokens = group.iter().map(|(_, token)| *token);
                effects.send(link, Lsn(0), |out| {
                    Tokens::push(out, kind::CANCEL, reason, tokens)
                });
            }
            self.fill(id, effects);
            self.leave_if_drained(id, effects);
        }
    }

    fn retry(&mut self, link: LinkId, selector: &Selector, effects: &mut Effects) -> Reply {
        let Some((bag, run)) = self.select(link, selector) else {
            return not_found(selector);
        };
        let past_deadline = self
            .bags
            .get(bag)
            .and_then(|bag| bag.expires)
            .is_some_and(|at| at <= self.now);
        if past_deadline {
            let problem = "its time to live is over; submit it anew".to_owned();
            return Reply::Conflict(Invalid {
                field: bag.to_string(),
                problem,
            });
        }
        let runs = self.revive(run);
        if runs.is_empty() {
            return Reply::Changed(0);
        }
        let revived = Revived {
            at: self.now,
            first: run.first,
            count: run.len,
        };
        self.record(effects, record::kind::REVIVED, |out| {
            codec::put_control(out, &revived)
        });
        let changed = runs.iter().map(|run| run.len).sum();
        let key = Self::key_of(self.bags.get(bag).expect("selected above"));
        for run in runs {
            self.ready.push(key, run, End::Back);
        }
        self.dispatch_ready(bag, effects);
        Reply::Changed(changed)
    }

    /// Makes works that ended without success wait again, with a fresh budget; returns them as runs. Also in replay.
    pub(crate) fn revive(&mut self, run: Run) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for row in 0..run.len {
            let id = run.first.offset(row);
            // One whose attempts cannot be counted any further stays as it is.
            let exhausted = |work: &Work| work.attempt == Attempt(u16::MAX);
            if self.works.get(id).is_none_or(exhausted) || !self.advance(id, WorkEvent::Revived) {
                continue;
            }
            let work = self.works.get_mut(id).expect("just advanced");
            work.spent = 0;
            work.kills = 0;
            work.lsn = Lsn(0);
            match runs.last_mut() {
                Some(last) if last.first.offset(last.len) == id => last.len += 1,
                _ => runs.push(Run { first: id, len: 1 }),
            }
        }
        runs
    }

    fn on_prioritise(
        &mut self,
        link: LinkId,
        bag: BagId,
        priority: Priority,
        effects: &mut Effects,
    ) -> Reply {
        let Some(found) = self.visible_bag(link, bag) else {
            return Reply::NotFound {
                what: bag.to_string(),
            };
        };
        if priority > Priority::MAX {
            let problem = format!("is {}; 0 to {} are allowed", priority.0, Priority::MAX.0);
            return Reply::Conflict(Invalid {
                field: "priority".to_owned(),
                problem,
            });
        }
        let open = found.open_works();
        if found.priority == priority {
            return Reply::Changed(0);
        }
        self.prioritise(bag, priority, effects);
        Reply::Changed(open)
    }

    /// Moves the waiting works of a bag to another priority; those to come go there too.
    pub(crate) fn prioritise(&mut self, id: BagId, priority: Priority, effects: &mut Effects) {
        let at = self.now;
        let prioritised = BagPrioritised {
            bag: id,
            priority,
            at,
        };
        self.record(effects, record::kind::BAG_PRIORITISED, |out| {
            codec::put_control(out, &prioritised)
        });
        let bag = self.bags.get_mut(id).expect("the caller looked it up");
        let old = Self::key_of(bag);
        bag.priority = priority;
        let new = Self::key_of(bag);
        let span = Run {
            first: bag.first,
            len: bag.accepted(),
        };
        let runs = self.waiting_runs(span);
        self.ready
            .remove_span(old, span, runs.iter().map(|run| u64::from(run.len)).sum());
        for run in runs {
            self.ready.push(new, run, End::Back);
        }
        self.dispatch_ready(id, effects);
    }

    /// The works of a span that are in phase `Queued`, as runs.
    pub(crate) fn waiting_runs(&self, span: Run) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for row in 0..span.len {
            let id = span.first.offset(row);
            if self.works.get(id).is_none_or(|work| work.phase != Phase::Queued) {
                continue;
            }
            match runs.last_mut() {
                Some(last) if last.first.offset(last.len) == id => last.len += 1,
                _ => runs.push(Run { first: id, len: 1 }),
            }
        }
        runs
    }

    /// The bag takes no more rows; what it has goes on. One that takes none anyway stays as it is.
    fn on_seal(&mut self, link: LinkId, id: BagId, effects: &mut Effects) -> Reply {
        let Some(bag) = self.visible_bag(link, id) else {
            return Reply::NotFound { what: id.to_string() };
        };
        if bag.closed || bag.accepted() == bag.rows_total {
            return Reply::Changed(0);
        }
        let sealed = BagSealed {
            bag: id,
            at: self.now,
        };
        self.record(effects, record::kind::BAG_SEALED, |out| {
            codec::put_control(out, &sealed)
        });
        let bag = self.bags.get_mut(id).expect("visible");
        bag.closed = true;
        if bag.is_done() {
            // All its works have ended before: that it is done now is due to the seal alone.
            self.scratch.bags.push(id);
        }
        Reply::Changed(1)
    }

    /// What to say to whoever may not change this worker, or asks for one that is not there.
    pub(crate) fn refusal(&self, link: LinkId, id: WorkerId) -> Option<Reply> {
        if let Some(problem) = self.refuse_others(link, &id.to_string()) {
            return Some(problem);
        }
        let unknown = || Reply::NotFound { what: id.to_string() };
        self.workers.get(id).is_none().then(unknown)
    }

    fn on_drain(
        &mut self,
        link: LinkId,
        id: WorkerId,
        within: Option<Millis>,
        effects: &mut Effects,
    ) -> Reply {
        match self.refusal(link, id) {
            None => Reply::Changed(u32::from(self.drain_worker(id, within, effects))),
            Some(refusal) => refusal,
        }
    }

    /// Cordons or uncordons.
    fn on_cordon(&mut self, link: LinkId, id: WorkerId, cordon: bool, effects: &mut Effects) -> Reply {
        if let Some(refusal) = self.refusal(link, id) {
            return refusal;
        }
        let worker = self.workers.get_mut(id).expect("looked up above");
        if worker.state == WorkerState::Draining {
            let problem = "is leaving; wait until it is gone or has come back".to_owned();
            return conflict(&id.to_string(), problem);
        }
        if worker.about.standing.approval == Approval::Waiting && !cordon {
            return waits_for_approval(id);
        }
        let cordon_changed = std::mem::replace(&mut worker.cordoned, cordon) != cordon;
        let (event, notice) = if cordon {
            let reason = "an operator cordoned this worker".to_owned();
            (WorkerEvent::Cordoned, Notice::Cordoned { reason })
        } else {
            (WorkerEvent::Uncordoned, Notice::Uncordoned)
        };
        let worker_link = worker.link;
        let changed = self.change_worker(id, event, Reason::ByOperator, effects);
        if changed && let Some(link) = worker_link {
            effects.send(link, Lsn(0), |out| push_control(out, kind::NOTICE, &notice));
        }
        if !changed && cordon_changed {
            // It is away; the cordon waits for it.
            let worker = self.workers.get(id).expect("looked up above");
            let state = if worker.cordoned {
                WorkerState::Cordoned
            } else {
                worker.state
            };
            let changed = record::WorkerChanged {
                worker: id,
                state,
                reason: Reason::ByOperator,
                at: self.now,
            };
            self.record(effects, record::kind::WORKER_CHANGED, |out| {
                codec::put_control(out, &changed)
            });
        }
        if changed {
            self.fill(id, effects);
        }
        if !cordon && worker_link.is_none() {
            self.arm_forgetting(id);
        }
        Reply::Changed(u32::from(changed || cordon_changed))
    }
}

fn not_found(selector: &Selector) -> Reply {
    Reply::NotFound {
        what: match selector {
            Selector::Bag(bag) => bag.to_string(),
            Selector::Work(work) => work.to_string(),
        },
    }
}
