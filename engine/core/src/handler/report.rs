//! What workers report of attempts.
//!
//! A report may come late, twice, or from a worker that has lost its lease meanwhile: the token decides. A stale
//! one changes nothing; it is answered with what is recorded, and acknowledged, so that the worker forgets it.

use wire_protocol::client_link::{OutcomeItem, Outcomes, kind as client_kind};
use wire_protocol::ids::{LeaseToken, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, SettledItem};
use wire_protocol::worker_link::{Notice, Report, Reports, Tokens, kind, push_control, push_recorded};

use crate::effect::Effects;
use crate::ready::Run;
use crate::scheduler::{Scheduler, Verdict};
use crate::state::{Phase, WorkEvent};

/// Bytes after which a frame of outcomes is ended and another begun: an outcome is longer than its report.
const FRAME_BYTES: usize = 512 * 1024;

/// Notices of stale reports per frame; the rest are only counted.
const STALE_NOTICES_MAX: usize = 4;

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
        let mut stale = std::mem::take(&mut self.scratch.stale);
        let mut streak = Streak::default();
        let mut count = 0;
        for mut report in reports.iter() {
            count += 1;
            if !may_be_reported(report.reason) {
                report.reason = Reason::BadReport;
            }
            match self.judge(id, &report, settled) {
                Judgement::Settled(bag, outcome, reason) => {
                    settled_item(&report, outcome, reason).put(effects.record_bytes());
                    self.turn_to(id, &mut streak, bag, settled, effects);
                    if outcome == Outcome::Succeeded {
                        self.count_success(&mut streak, report.token.work);
                    }
                    if streak.outcomes.is_some() {
                        outcome_item(&report, outcome, reason, id).put(&mut effects.frames);
                    }
                }
                Judgement::Released => released.push((report.reason, report.token)),
                Judgement::Stale => stale.push(report.token),
            }
        }
        self.end_streak(id, &mut streak, settled, effects);
        for token in stale.iter().take(STALE_NOTICES_MAX) {
            self.tell_stale(link, *token, effects);
        }
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        worker.reports += count;
        worker.last_report = self.now;
        let upto = worker.reports;
        self.counters.stale_total += stale.len() as u64;
        stale.clear();
        self.scratch.stale = stale;
        if effects.record_bytes().len() > empty {
            self.end_record(effects, record::kind::SETTLED, start);
        } else {
            effects.cancel_record(start);
        }
        self.record_released(id, &mut released, effects);
        effects.send(link, self.last_lsn, |out| push_recorded(out, upto));
        self.note_done_bags();
        self.dispatch_leased(released.drain(..).map(|(_, token)| token), effects);
        self.scratch.released = released;
        self.fill(id, effects);
        self.leave_if_drained(id, effects);
    }

    /// Applies one report to its work. Of a work that succeeded the counts are left to [`Self::end_streak`].
    #[inline]
    fn judge(&mut self, id: WorkerId, report: &Report<'_>, settled: Lsn) -> Judgement {
        let token = report.token;
        let Some(work) = self.leased(id, token) else {
            return Judgement::Stale;
        };
        let (bag, at) = (work.bag, work.held_at as usize);
        if report.reason == Reason::None {
            let outcome = Outcome::Succeeded;
            assert!(
                work.advance(WorkEvent::Settled(outcome)),
                "{} was held",
                token.work
            );
            work.lsn = settled;
            work.reason = Reason::None;
            self.unlist(token.work, id, at);
            return Judgement::Settled(bag, outcome, Reason::None);
        }
        let verdict = self.charge(token.work, report.reason);
        self.take_from_worker(token.work);
        let Verdict::Fail(reason) = verdict else {
            self.requeue(token.work, verdict);
            return Judgement::Released;
        };
        let outcome = Outcome::Failed;
        assert!(
            self.advance(token.work, WorkEvent::Settled(outcome)),
            "{} was held",
            token.work
        );
        let work = self.works.get_mut(token.work).expect("just settled");
        work.lsn = settled;
        work.reason = reason;
        Judgement::Settled(bag, outcome, reason)
    }

    /// The next outcome is of a work of this bag: begins another streak where it is another bag, or its frame is long.
    #[inline]
    fn turn_to(&mut self, id: WorkerId, streak: &mut Streak, bag: u32, settled: Lsn, effects: &mut Effects) {
        let long = |start: usize| effects.frames.len() - start > FRAME_BYTES;
        if streak.bag == Some(bag) && !streak.outcomes.is_some_and(long) {
            return;
        }
        self.end_streak(id, streak, settled, effects);
        *streak = Streak {
            bag: Some(bag),
            ..Streak::default()
        };
        let bag = self.bags.of_work(bag);
        if let Some(follower) = bag.followers.first() {
            streak.outcomes = Some(effects.begin_frame(client_kind::OUTCOMES));
            Outcomes::begin(&mut effects.frames, follower.request, bag.id);
        }
    }

    /// One more success in the streak.
    #[inline]
    fn count_success(&mut self, streak: &mut Streak, work: WorkId) {
        streak.succeeded += 1;
        match &mut streak.run {
            Some(run) if run.first.offset(run.len) == work => run.len += 1,
            _ => {
                self.let_go_of_rows(streak);
                streak.run = Some(Run { first: work, len: 1 });
            }
        }
    }

    /// Nobody will be given the rows of the streak's run any more.
    fn let_go_of_rows(&mut self, streak: &mut Streak) {
        if let (Some(low), Some(run)) = (streak.bag, streak.run.take()) {
            let bag = self.bags.of_work_mut(low);
            let row = bag.row_of(run.first);
            self.counters.rows_bytes -= bag.rows.succeeded(row, run.len);
        }
    }

    /// Counts what succeeded in the streak, and tells its bag's followers.
    fn end_streak(&mut self, id: WorkerId, streak: &mut Streak, settled: Lsn, effects: &mut Effects) {
        self.let_go_of_rows(streak);
        let Some(low) = streak.bag else { return };
        let bag = self.bags.of_work_mut(low);
        if streak.succeeded > 0 {
            bag.tally.leased -= streak.succeeded;
            bag.tally.succeeded += streak.succeeded;
            self.counters.succeeded(streak.succeeded.into());
            if bag.is_done() {
                self.scratch.bags.push(bag.id);
            }
            if !bag.keys.is_empty() {
                self.used(id, low);
            }
        }
        if let Some(start) = streak.outcomes {
            self.end_outcomes(low, start, settled, effects);
        }
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
        worker.about.ask_again_at = self.now;
        // A worker may say why it gives works back, but only with a reason that does not blame the work.
        let reason = if tokens.reason().is_workers_fault() {
            tokens.reason()
        } else {
            Reason::Retracted
        };
        let tokens: Vec<LeaseToken> = tokens.iter().collect();
        self.release(id, &tokens, reason, effects);
        self.note_done_bags();
        self.dispatch_leased(tokens.into_iter(), effects);
        self.fill(id, effects);
        self.leave_if_drained(id, effects);
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

fn outcome_item<'a>(
    report: &Report<'a>,
    outcome: Outcome,
    reason: Reason,
    worker: WorkerId,
) -> OutcomeItem<'a> {
    OutcomeItem {
        work: report.token.work,
        outcome,
        reason,
        attempt: report.token.attempt,
        exit_code: report.exit_code,
        elapsed_us: report.elapsed_us,
        worker,
        result: report.result,
    }
}

/// Works of one bag that a frame of reports settles one after the other. Their bag is looked up, their counts are
/// moved and their outcomes are framed once for all of them: in most frames, once for the frame.
#[derive(Default)]
struct Streak {
    /// The low half of the bag's id.
    bag: Option<u32>,
    /// How many succeeded, not counted yet.
    succeeded: u32,
    /// Where the frame of outcomes begins, if anybody follows the bag.
    outcomes: Option<usize>,
    /// The last of them, as long as they are consecutive: works that were leased together mostly end together, in their
    /// order, so that rows are let go of in runs.
    run: Option<Run>,
}

/// What a report did.
enum Judgement {
    /// It ended a work of this bag (the low half of its id).
    Settled(u32, Outcome, Reason),
    /// The work will be tried again.
    Released,
    /// Nothing: its lease is not the recorded one.
    Stale,
}
