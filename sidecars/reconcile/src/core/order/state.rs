//! The state of an order.

use std::fmt;

use wire_hub::{Answer, ContributionStatus, OrderStatus, Views};

use super::{Identity, Intended, Observed};
use crate::core::policy::{ConsensusPolicy, Pending, Question, Verdict, ballots};

/// Where an order is.
///
/// ```text
///         works asked          allowed on chain      a contribution       enough of them        revealConsensus
///   Seen ────────────► Asked ─────────────► Allowed ──────────────► Contributed ─────► Agreed ─────────────► Revealing
///                                                                        ▲               │                      │ │
///                                                                        │ contradicted  │                      │ │ nobody in time
///                                                                        └───────────────┘     all, or some in  │ ▼
///                      Seen · Asked · Allowed · Contributed · Agreed ◄──── reopen ── Unrevealed      time       │
///                                                                                                               ▼
///                                                  Final ◄─ is final ── Completed ◄─ finalizeWork ── Finalizing
///
///   any before Completed, too late:   Expired ─ that is final ─► Stranded ─ the requester claims ─► Claimed ◄─ Expired
///   any, by a reorganisation:         any other;  Cancelled (nobody bought it);  Replaced (its address is another order's)
///   any, without an answer:           Unread, until there is one
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum State {
    /// The node has not answered.
    Unread,
    /// It was bought.
    Seen,
    /// The engine was asked for works.
    Asked,
    /// Workers may contribute.
    Allowed,
    /// Some have.
    Contributed,
    /// A result is believed.
    Agreed,
    /// Who contributed it reveals.
    Revealing,
    /// Nobody did in time.
    Unrevealed,
    /// It can be finalized.
    Finalizing,
    /// Everybody was paid.
    Completed,
    /// For good.
    Final,
    /// Its time has passed.
    Expired,
    /// For good, and its money is locked until the requester claims.
    Stranded,
    /// The requester has its money back.
    Claimed,
    /// A reorganisation took it back.
    Cancelled,
    /// A reorganisation gave its address to another order.
    Replaced,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Unread,
        Self::Seen,
        Self::Asked,
        Self::Allowed,
        Self::Contributed,
        Self::Agreed,
        Self::Revealing,
        Self::Unrevealed,
        Self::Finalizing,
        Self::Completed,
        Self::Final,
        Self::Expired,
        Self::Stranded,
        Self::Claimed,
        Self::Cancelled,
        Self::Replaced,
    ];

    /// The state that follows from these facts.
    #[must_use]
    pub fn of(
        identity: &Identity,
        observed: &Observed,
        intended: &Intended,
        policy: ConsensusPolicy,
        patience_s: Option<u64>,
    ) -> Self {
        let views = match &observed.views {
            Answer::Known(views) => views,
            Answer::Absent => return Self::Cancelled,
            Answer::Unknown => return Self::Unread,
        };
        if views.order.fingerprint() != identity.fingerprint {
            return Self::Replaced;
        }
        match views.order.status {
            OrderStatus::Unset => Self::Cancelled,
            OrderStatus::Claimed => Self::Claimed,
            OrderStatus::Completed => {
                let is_final = |ended| observed.final_.is_some_and(|(number, _)| number >= ended);
                if observed.ended.is_some_and(is_final) {
                    Self::Final
                } else {
                    Self::Completed
                }
            }
            _ if observed.at.timestamp > views.consensus.consensus_timeout => {
                let is_late = |(_, time)| time > views.consensus.consensus_timeout;
                if observed.final_.is_some_and(is_late) {
                    Self::Stranded
                } else {
                    Self::Expired
                }
            }
            OrderStatus::Revealing => Self::of_revealing(observed, views),
            OrderStatus::Active => {
                let verdict = verdict(observed, views, intended, policy, patience_s);
                Self::of_active(views, intended, verdict)
            }
        }
    }

    fn of_revealing(observed: &Observed, views: &Views) -> Self {
        let consensus = &views.consensus;
        let is_over = consensus.reveal_date <= observed.at.timestamp;
        if consensus.reveal_counter == consensus.winner_count || (is_over && consensus.reveal_counter > 0) {
            Self::Finalizing
        } else if is_over {
            Self::Unrevealed
        } else {
            Self::Revealing
        }
    }

    fn of_active(views: &Views, intended: &Intended, verdict: Verdict) -> Self {
        let has = |status| views.with(status).next().is_some();
        if has(ContributionStatus::Contributed) {
            match verdict {
                Verdict::Reached { .. } => Self::Agreed,
                _ => Self::Contributed,
            }
        } else if has(ContributionStatus::Authorized) {
            Self::Allowed
        } else if intended.asked.is_empty() {
            Self::Seen
        } else {
            Self::Asked
        }
    }

    /// Nothing is ever sent for it any more, but for a callback.
    #[must_use]
    pub fn is_over(self) -> bool {
        self >= Self::Completed
    }

    /// Whether this state may be seen next after `before`, on a chain that is not reorganised. Views may be far apart, so
    /// any later state may be; what is over stays so.
    #[must_use]
    pub fn may_follow(self, before: Self) -> bool {
        use State as S;
        if self == before || self == S::Unread || before == S::Unread {
            return true;
        }
        match (before, self) {
            (_, S::Cancelled | S::Replaced | S::Seen) => false,
            (S::Final | S::Claimed | S::Cancelled | S::Replaced, _) => false,
            (S::Completed, next) => next == S::Final,
            (S::Stranded, next) => next == S::Claimed,
            (S::Expired, next) => matches!(next, S::Stranded | S::Claimed),
            // A work that has failed leaves nobody asked only if it is forgotten, which it is not; reopened orders go back.
            (_, S::Asked | S::Allowed) => before < self || before >= S::Revealing,
            _ => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unread => "unread",
            Self::Seen => "seen",
            Self::Asked => "asked",
            Self::Allowed => "allowed",
            Self::Contributed => "contributed",
            Self::Agreed => "agreed",
            Self::Revealing => "revealing",
            Self::Unrevealed => "unrevealed",
            Self::Finalizing => "finalizing",
            Self::Completed => "completed",
            Self::Final => "final",
            Self::Expired => "expired",
            Self::Stranded => "stranded",
            Self::Claimed => "claimed",
            Self::Cancelled => "cancelled by a reorganisation",
            Self::Replaced => "replaced by a reorganisation",
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_orders_is_as_printed() {
        let row = |before: State| {
            let next = State::ALL
                .into_iter()
                .filter(|next| *next != before && next.may_follow(before));
            let next: Vec<String> = next.map(|next| format!("{next:?}")).collect();
            format!("{:<12} {}\n", format!("{before:?}"), next.join(" "))
        };
        let table: String = State::ALL.into_iter().map(row).collect();
        insta::assert_snapshot!("orders", table);
    }

    #[test]
    fn what_is_over_stays_over() {
        for before in State::ALL.into_iter().filter(|state| state.is_over()) {
            for next in State::ALL.into_iter().filter(|next| next.may_follow(before)) {
                assert!(next.is_over() || next == State::Unread, "{before:?} {next:?}");
            }
        }
    }
}
