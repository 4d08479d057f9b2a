//! Which state of an order follows from what is seen of it and what is under way for it.

use wire_hub::{Answer, ContributionStatus, OrderStatus, Views};

use super::{Identity, Intended, Observed, State};
use crate::core::policy::{ConsensusPolicy, Pending, Question, Verdict, ballots};

/// The state that follows from these facts.
#[must_use]
pub fn state_of(
    identity: &Identity,
    observed: &Observed,
    intended: &Intended,
    policy: ConsensusPolicy,
    patience_s: Option<u64>,
) -> State {
    let views = match &observed.views {
        Answer::Known(views) => views,
        Answer::Absent => return State::Cancelled,
        Answer::Unknown => return State::Unread,
    };
    if views.order.fingerprint() != identity.fingerprint {
        return State::Replaced;
    }
    match views.order.status {
        OrderStatus::Unset => State::Cancelled,
        OrderStatus::Claimed => State::Claimed,
        OrderStatus::Completed => {
            let is_final = |ended| observed.final_.is_some_and(|(number, _)| number >= ended);
            if observed.ended.is_some_and(is_final) {
                State::Final
            } else {
                State::Completed
            }
        }
        _ if observed.at.timestamp > views.consensus.consensus_timeout => {
            let is_late = |(_, time)| time > views.consensus.consensus_timeout;
            if observed.final_.is_some_and(is_late) {
                State::Stranded
            } else {
                State::Expired
            }
        }
        OrderStatus::Revealing => of_revealing(observed, views),
        OrderStatus::Active => {
            let verdict = verdict(observed, views, intended, policy, patience_s);
            of_active(views, intended, verdict)
        }
    }
}

fn of_revealing(observed: &Observed, views: &Views) -> State {
    let consensus = &views.consensus;
    let is_over = consensus.reveal_date <= observed.at.timestamp;
    if consensus.reveal_counter == consensus.winner_count || (is_over && consensus.reveal_counter > 0) {
        State::Finalizing
    } else if is_over {
        State::Unrevealed
    } else {
        State::Revealing
    }
}

fn of_active(views: &Views, intended: &Intended, verdict: Verdict) -> State {
    let has = |status| views.with(status).next().is_some();
    if has(ContributionStatus::Contributed) {
        match verdict {
            Verdict::Reached { .. } => State::Agreed,
            _ => State::Contributed,
        }
    } else if has(ContributionStatus::Authorized) {
        State::Allowed
    } else if intended.asked.is_empty() {
        State::Seen
    } else {
        State::Asked
    }
}

/// Who may still contribute: was asked, has not, and is not kept from it. Whoever was allowed and is not known to have been
/// asked is not waited for.
pub(crate) fn pending(
    views: &Views,
    intended: &Intended,
    score: impl Fn(wire_hub::Address) -> u64,
) -> Vec<Pending> {
    let may = |status| matches!(status, ContributionStatus::Unset | ContributionStatus::Authorized);
    intended
        .open()
        .filter(|(worker, _)| may(views.status(*worker)))
        .map(|(worker, asked)| Pending {
            score: score(worker),
            since: asked.at,
        })
        .collect()
}

fn verdict(
    observed: &Observed,
    views: &Views,
    intended: &Intended,
    policy: ConsensusPolicy,
    patience_s: Option<u64>,
) -> Verdict {
    let pending = pending(views, intended, |_| 0);
    policy.verdict(&Question {
        trust: views.market.trust,
        ballots: &ballots(views),
        pending: &pending,
        patience_s: patience_s.unwrap_or(views.category.period_s),
        now: observed.at.timestamp,
    })
}
