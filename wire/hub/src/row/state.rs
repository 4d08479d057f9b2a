//! The state of an order, as the pool sees it.

use std::fmt;

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OrderState {
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

impl OrderState {
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

    /// Nothing is ever sent for it any more, but for a callback.
    #[must_use]
    pub fn is_over(self) -> bool {
        self >= Self::Completed
    }

    /// Whether this state may be seen next after `before`, on a chain that is not reorganised. Views may be far apart, so
    /// any later state may be; what is over stays so.
    #[must_use]
    pub fn may_follow(self, before: Self) -> bool {
        use OrderState as S;
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

impl OrderState {
    /// Its name for tables and JSON: never changed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
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
            Self::Cancelled => "cancelled",
            Self::Replaced => "replaced",
        }
    }
}

impl fmt::Display for OrderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cancelled => "cancelled by a reorganisation",
            Self::Replaced => "replaced by a reorganisation",
            other => other.name(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_orders_is_as_printed() {
        let row = |before: OrderState| {
            let next = OrderState::ALL
                .into_iter()
                .filter(|next| *next != before && next.may_follow(before));
            let next: Vec<String> = next.map(|next| format!("{next:?}")).collect();
            format!("{:<12} {}\n", format!("{before:?}"), next.join(" "))
        };
        let table: String = OrderState::ALL.into_iter().map(row).collect();
        insta::assert_snapshot!("orders", table);
    }

    #[test]
    fn what_is_over_stays_over() {
        for before in OrderState::ALL.into_iter().filter(|state| state.is_over()) {
            for next in OrderState::ALL.into_iter().filter(|next| next.may_follow(before)) {
                assert!(
                    next.is_over() || next == OrderState::Unread,
                    "{before:?} {next:?}"
                );
            }
        }
    }
}
