//! Of an order that is not decided: whom to ask, whom to allow, and when to give up.

use wire_hub::{ALLOWED_AT_ONCE_MAX, Answer, ContributionStatus, Hasher, Views};

use super::action::Action;
use super::planner::{AIM_PERIODS, Planner, QUORUM_MAX, REVEAL_PERIODS_MAX};
use super::workers::{Candidate, may_be_allowed, owners, unfit};
use crate::core::order::{Bag, Job, pending};
use crate::core::policy::{Pending, Question, Verdict, ballots};

impl Planner<'_, '_> {
    /// Not believed yet: ask, allow, wait; or, at the latest time, decide.
    pub(super) fn gather(&mut self, views: &Views) {
        if let Job::Unrunnable(why) = &self.order.intended.job {
            return self.wait(None, &format!("its parameters make no works: {why}"));
        }
        if self.expected() >= views.after(AIM_PERIODS) {
            return self.give_up(views);
        }
        match self.order.intended.job {
            Job::Unread => return self.wait(None, "its parameters are not read yet"),
            Job::Bag(Bag::Wanted) => {
                let key = self.order.identity.key();
                let reason =
                    "the whole pool does its works; what is contributed is the root over their results";
                return self.step(Action::SubmitBag { key }, reason.to_owned(), None);
            }
            Job::Bag(Bag::Asked) => {
                let until = Some(views.after(AIM_PERIODS));
                return self.wait(until, "its works are under way");
            }
            Job::Bag(Bag::Failed) => {
                return self.wait(None, "its works were cancelled, so that there is no root");
            }
            Job::Work | Job::Bag(Bag::Done(_)) | Job::Unrunnable(_) => {}
        }
        let (verdict, open) = self.recruit(views);
        self.allow(views);
        match verdict {
            Verdict::Waiting { until } => {
                let count = ballots(views).len();
                let text = format!("{count} have contributed and {open} still may, which would be enough");
                self.wait(Some(until), &text);
            }
            Verdict::OneMore => self.wait(None, "nobody is left to ask"),
            Verdict::Contradicted => {
                let until = Some(views.after(AIM_PERIODS));
                self.wait(until, "the contributions contradict each other for good");
            }
            Verdict::Reached { .. } => {}
        }
    }

    /// Asks for works of workers, one after the other, until they would be enough. What then follows, and how many may
    /// still contribute.
    fn recruit(&mut self, views: &Views) -> (Verdict, usize) {
        let Self { world, order, .. } = *self;
        let score = |worker| {
            let candidate = world
                .candidates
                .iter()
                .find(|candidate| candidate.wallet == worker);
            let person = candidate.and_then(|candidate| candidate.person.known());
            person.map_or(0, |person| person.affiliation.score)
        };
        let now = order.observed.at.timestamp;
        let mut pending = pending(views, &order.intended, score);
        let mut taken = owners(world, order, views);
        let mut chosen = Vec::new();
        let verdict = loop {
            let verdict = self.verdict(views, &pending);
            let count = order.intended.asked.len() + chosen.len();
            if verdict != Verdict::OneMore || count >= QUORUM_MAX {
                break verdict;
            }
            let fit = world.candidates.iter().filter(|candidate| {
                !taken.contains(candidate.owner.as_str())
                    && unfit(world, order, views, self.reservations, candidate).is_none()
            });
            // Of those that weigh the same the first.
            let weigh = |candidate: &&Candidate| world.settings.consensus.weight(score(candidate.wallet));
            let Some(best) = fit.rev().max_by_key(weigh) else {
                break verdict;
            };
            taken.insert(&best.owner);
            self.reservations.add(best.wallet, views.consensus.stake_amount);
            chosen.push(best.wallet);
            pending.push(Pending {
                score: score(best.wallet),
                since: now,
            });
        };
        if !chosen.is_empty() {
            let reason = format!(
                "trust {} by {:?} needs {} more",
                views.market.trust.0,
                world.settings.consensus,
                chosen.len()
            );
            let key = Hasher::default()
                .bytes(&order.identity.key().0)
                .number(u64::from(order.intended.bags))
                .finish();
            self.step(Action::Submit { key, workers: chosen }, reason, None);
        }
        (verdict, pending.len())
    }

    pub(super) fn verdict(&self, views: &Views, pending: &[Pending]) -> Verdict {
        let settings = self.world.settings;
        settings.consensus.verdict(&Question {
            trust: views.market.trust,
            ballots: &ballots(views),
            pending,
            patience_s: settings.patience_s.unwrap_or(views.category.period_s),
            now: self.order.observed.at.timestamp,
        })
    }

    /// Allows whom the engine was asked for, once the order has its confirmations. All or none of a batch take effect, so
    /// each is looked at in the state of now.
    fn allow(&mut self, views: &Views) {
        let intended = &self.order.intended;
        let mut fit = Vec::new();
        let mut lost = Vec::new();
        for (worker, _) in intended.open() {
            let is_unset = views.status(worker) == ContributionStatus::Unset;
            if !is_unset || intended.allowing.contains(&worker) {
                continue;
            }
            match may_be_allowed(self.world, views, worker) {
                Answer::Known(true) => fit.push(worker),
                Answer::Known(false) => lost.push(worker),
                Answer::Absent | Answer::Unknown => {}
            }
        }
        if !lost.is_empty() {
            let reason = "it left the pool, or its stake is too small now; others are asked instead";
            self.step(Action::Cancel(lost), reason.into(), None);
        }
        let confirmations = self.order.observed.confirmations();
        if fit.is_empty() {
            return;
        }
        if confirmations < self.world.settings.confirmations {
            let of = self.world.settings.confirmations;
            return self.wait(
                None,
                &format!("{confirmations} of {of} confirmations; works have begun"),
            );
        }
        for batch in fit.chunks(ALLOWED_AT_ONCE_MAX) {
            let reason = "they were asked, belong to the pool and have the stake".to_owned();
            self.step(
                Action::Allow(batch.to_vec()),
                reason,
                Some(views.after(AIM_PERIODS)),
            );
        }
    }

    /// It is the latest time, and no result is believed.
    fn give_up(&mut self, views: &Views) {
        let settings = self.world.settings;
        match settings.consensus.best(&ballots(views)) {
            Some((hash, agreeing))
                if settings.best_effort && self.is_in_time(views.after(REVEAL_PERIODS_MAX)) =>
            {
                let reason = format!("best effort at the latest time: {agreeing} contributed it");
                self.step(
                    Action::RevealConsensus(hash),
                    reason,
                    Some(self.reveal_last(views)),
                );
            }
            _ => {
                self.cancel_all("no result is believed at the latest time");
                self.wait(None, "nothing more is sent; the order will expire");
            }
        }
    }
}
