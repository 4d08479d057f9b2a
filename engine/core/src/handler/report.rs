//! What workers report of attempts.
//!
//! A report may come late, twice, or from a worker that has lost its lease meanwhile: the token decides. A stale
//! one changes nothing; it is answered with what is recorded, and acknowledged, so that the worker forgets it.

use wire_protocol::client_link::{OutcomeItem, Outcomes, kind as client_kind};
use wire_protocol::ids::{LeaseToken, LinkId, Lsn, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, SettledItem};
use wire_protocol::worker_link::{Notice, Report, Reports, Tokens, kind, push_control, push_recorded};

use crate::effect::Effects;
use crate::scheduler::{Scheduler, Verdict};
use crate::state::{Phase, WorkEvent};

/// Bytes after which a frame of outcomes is ended and another begun: an outcome is longer than its report.
const FRAME_BYTES: usize = 512 * 1024;

/// Notices of stale reports per frame; the rest are only counted.
const STALE_NOTICES_MAX: u32 = 4;

impl Scheduler {
    pub(crate) fn on_finished(
        &mut self,
        link: LinkId,
        id: WorkerId,
        reports: Reports<'_>,
        effects: &mut Effects,
    ) {
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        if reports.first() != worker.reports + 1 {
            let reason = format!(
                "reports of a connection count up: {} came after {}",
                reports.first(),
                worker.reports
            );
            return self.close(link, &reason, effects);
        }
        let settled = self.last_lsn.next();
        let start = effects.begin_record();
        record::begin_settled(effects.record_bytes(), self.now, id);
        let empty = effects.record_bytes().len();
        let mut released = std::mem::take(&mut self.scratch.released);
        let (mut count, mut stale) = (0, 0);
        let mut decided = std::mem::take(&mut self.scratch.settled);
        decided.clear();
        for mut report in reports.iter() {
            count += 1;
            if !may_be_reported(report.reason) {
                report.reason = Reason::BadReport;
            }
            let judgement = self.judge(id, &report, settled);
            decided.push(matches!(judgement, Judgement::Settled(..)));
            match judgement {
                Judgement::Settled(outcome, reason) => {
                    settled_item(&report, outcome, reason).put(effects.record_bytes())
                }
                Judgement::Released => released.push((report.reason, report.token)),
                Judgement::Stale => {
                    stale += 1;
                    if stale <= STALE_NOTICES_MAX {
                        self.tell_stale(link, report.token, effects);
                    }
                }
            }
        }
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        worker.reports += count;
        worker.finished += count;
        worker.last_report = self.now;
        let upto = worker.reports;
        self.counters.stale_total += u64::from(stale);
        let any_settled = effects.record_bytes().len() > empty;
        if any_settled {
            self.end_record(effects, record::kind::SETTLED, start);
        } else {
            effects.cancel_record(start);
        }
        self.record_released(id, &mut released, effects);
        effects.send(link, self.last_lsn, |out| push_recorded(out, upto));
        if any_settled {
            let reports = reports.iter().zip(&decided).filter(|(_, settled)| **settled);
            self.tell_followers(id, reports.map(|(report, _)| report), settled, effects);
        }
        self.scratch.settled = decided;
        self.note_done_bags();
        for (_, token) in released.drain(..) {
            self.dispatch_work(token, effects);
        }
        self.scratch.released = released;
        self.fill(id, effects);
        self.leave_if_drained(id, effects);
    }

    /// Applies one report to its work.
    #[inline]
    fn judge(&mut self, id: WorkerId, report: &Report<'_>, settled: Lsn) -> Judgement {
        if self.leased(id, report.token).is_none() {
            return Judgement::Stale;
        }
        let (outcome, reason) = if report.reason == Reason::None {
            (Outcome::Succeeded, Reason::None)
        } else {
            match self.charge(report.token.work, report.reason) {
                Verdict::Fail(reason) => (Outcome::Failed, reason),
                verdict => {
                    self.take_from_worker(report.token.work);
                    self.requeue(report.token.work, verdict);
                    return Judgement::Released;
                }
            }
        };
        self.settle(report.token.work, outcome, reason, settled);
        Judgement::Settled(outcome, reason)
    }

    /// Records attempts that ended without an outcome, one record per reason.
    fn record_released(
        &mut self,
        id: WorkerId,
        released: &mut [(Reason, LeaseToken)],
        effects: &mut Effects,
    ) {
        released.sort_by_key(|(reason, _)| *reason);
        self.counters.released_total += released.len() as u64;
        let now = self.now;
        for group in released.chunk_by(|(a, _), (b, _)| a == b) {
            self.record(effects, record::kind::RELEASED, |out| {
                record::begin_attempts(out, now, id, group[0].0);
                for (_, token) in group {
                    out.extend_from_slice(&token.to_bytes());
                }
            });
        }
    }

    /// Tells followers of what this frame of reports settled.
    fn tell_followers<'a>(
        &mut self,
        id: WorkerId,
        reports: impl Iterator<Item = Report<'a>>,
        settled: Lsn,
        effects: &mut Effects,
    ) {
        let mut open: Option<(u32, usize)> = None;
        for report in reports {
            let work = self.works.get(report.token.work).expect("just settled");
            let outcome = work.phase.outcome().expect("just settled");
            if let Some((bag, start)) = open
                && (bag != work.bag || effects.frames.len() - start > FRAME_BYTES)
            {
                self.end_outcomes(bag, start, settled, effects);
                open = None;
            }
            if open.is_none() {
                let bag = self.bags.of_work(work.bag);
                let Some(follower) = bag.followers.first() else {
                    continue;
                };
                let start = effects.begin_frame(client_kind::OUTCOMES);
                Outcomes::begin(&mut effects.frames, follower.request, bag.id);
                open = Some((work.bag, start));
            }
            let item = OutcomeItem {
                work: report.token.work,
                outcome,
                reason: work.reason,
                attempt: report.token.attempt,
                exit_code: report.exit_code,
                elapsed_us: report.elapsed_us,
                worker: id,
                result: report.result,
            };
            item.put(&mut effects.frames);
        }
        if let Some((bag, start)) = open {
            self.end_outcomes(bag, start, settled, effects);
        }
    }

    /// Sends a frame of outcomes to all followers of the bag; it was begun for the first of them.
    fn end_outcomes(&self, bag: u32, start: usize, after: Lsn, effects: &mut Effects) {
        let bag = self.bags.of_work(bag);
        let (first, others) = bag
            .followers
            .split_first()
            .expect("a frame is begun for a follower");
        let items = start + wire_protocol::frame::HEADER_BYTES + size_of::<u32>() + size_of::<u64>()
            ..effects.frames.len();
        effects.end_frame(first.link, after, start);
        for follower in others {
            let start = effects.begin_frame(client_kind::OUTCOMES);
            Outcomes::begin(&mut effects.frames, follower.request, bag.id);
            effects.frames.extend_from_within(items.clone());
            effects.end_frame(follower.link, after, start);
        }
    }

    fn tell_stale(&self, link: LinkId, token: LeaseToken, effects: &mut Effects) {
        let recorded = match self.works.get(token.work) {
            None => "no such work is known".to_owned(),
            Some(work) => match work.phase {
                phase if phase.is_held() => {
                    format!(
                        "it is {:?} under {}",
                        phase,
                        self.token(token.work, work.epoch, work.attempt)
                    )
                }
                phase => format!(
                    "it is {phase:?} after attempt {} ({})",
                    work.attempt.0, work.reason
                ),
            },
        };
        let notice = Notice::Stale { token, recorded };
        effects.send(link, Lsn(0), |out| push_control(out, kind::NOTICE, &notice));
    }

    /// Attempts that run. Of stale ones nothing is taken.
    pub(crate) fn on_started(&mut self, id: WorkerId, tokens: Tokens<'_>, effects: &mut Effects) {
        let start = effects.begin_record();
        record::begin_attempts(effects.record_bytes(), self.now, id, Reason::None);
        let empty = effects.record_bytes().len();
        for token in tokens.iter() {
            if let Some(work) = self.leased(id, token)
                && work.phase == Phase::Leased
            {
                assert!(
                    self.advance(token.work, WorkEvent::Started),
                    "a leased work can start"
                );
                effects.record_bytes().extend_from_slice(&token.to_bytes());
            }
        }
        if effects.record_bytes().len() > empty {
            self.end_record(effects, record::kind::STARTED, start);
        } else {
            effects.cancel_record(start);
        }
    }

    /// Attempts that the worker gives back. Of stale ones nothing is taken.
    pub(crate) fn on_retracted(&mut self, id: WorkerId, tokens: Tokens<'_>, effects: &mut Effects) {
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        worker.ask_again_at = self.now;
        // A worker may say why it gives works back, but only with a reason that does not blame the work.
        let reason = if tokens.reason().is_workers_fault() {
            tokens.reason()
        } else {
            Reason::Retracted
        };
        let tokens: Vec<LeaseToken> = tokens.iter().collect();
        self.release(id, &tokens, reason, effects);
        self.note_done_bags();
        for token in tokens {
            self.dispatch_work(token, effects);
        }
        self.fill(id, effects);
        self.leave_if_drained(id, effects);
    }

    /// Dispatches the work of a lease that ended, if it waits now.
    pub(crate) fn dispatch_work(&mut self, token: LeaseToken, effects: &mut Effects) {
        if let Some(work) = self.works.get(token.work)
            && work.phase == Phase::Queued
        {
            let class = self.bags.of_work(work.bag).class;
            self.dispatch_class(class, effects);
        }
    }
}

/// A worker may say so of an attempt. Other reasons are the engine's to find.
fn may_be_reported(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::WorkerLost
            | Reason::LeaseAbandoned
            | Reason::Quarantined
            | Reason::TimeToLive
            | Reason::ByUser
            | Reason::ByOperator
            | Reason::Stale
    )
}

fn settled_item<'a>(report: &Report<'a>, outcome: Outcome, reason: Reason) -> SettledItem<'a> {
    SettledItem {
        work: report.token.work,
        attempt: report.token.attempt,
        outcome,
        reason,
        exit_code: report.exit_code,
        elapsed_us: report.elapsed_us,
        result: report.result,
    }
}

/// What a report did.
enum Judgement {
    Settled(Outcome, Reason),
    /// The work will be tried again.
    Released,
    /// Nothing: its lease is not the recorded one.
    Stale,
}
