//! Whether this worker is one of the pool's, and how it becomes one.
//!
//! A worker subscribes by itself only where its operator said so, once, and never again after the pool has ended that: the
//! contract lets it come back at once, and the two would pay gas to each other's miners for ever.

use std::fmt;

use wire_hub::{Address, Answer, Call, Gas, Hasher, NOBODY, Person, Policy, Rlc};
use wire_lane::{self as lane, Intent, IntentId};
use wire_protocol::units::Instant;

use super::contributor::Contributor;
use super::event::Effect;
use super::judge::FAILURES_MAX;
use super::order::stake_low;

/// 137 000 were measured on the contracts.
const SUBSCRIBE_GAS: Gas = Gas(185_000);

/// Where this worker stands with the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Membership {
    #[default]
    Unread,
    Subscribed,
    Subscribing,
    Outside,
    Elsewhere(Address),
    Ended,
    StakeLow {
        free: Rlc,
        needs: Rlc,
    },
    ScoreLow {
        has: u64,
        needs: u64,
    },
    InVain,
}

impl fmt::Display for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("the node has not said yet whether this worker is subscribed"),
            Self::Subscribed => f.write_str("subscribed to the pool"),
            Self::Subscribing => f.write_str("subscribes to the pool"),
            Self::Outside => f.write_str(
                "not subscribed to the pool, which allows none but its workers to contribute: set POOL_CHAIN_SUBSCRIBE=true, \
                 or subscribe by another program",
            ),
            Self::Elsewhere(pool) => write!(
                f,
                "subscribed to another pool, {pool}; a worker is with one at a time: unsubscribe it there first"
            ),
            Self::Ended => f.write_str(
                "the subscription has ended, and this worker does not come back by itself: start it again to subscribe anew",
            ),
            Self::StakeLow { free, needs } => {
                f.write_str("cannot subscribe, ")?;
                stake_low(f, *free, *needs)
            }
            Self::ScoreLow { has, needs } => {
                write!(f, "cannot subscribe: its score is {has}, and the pool asks for {needs}")
            }
            Self::InVain => f.write_str("cannot subscribe: it was tried in vain, and nothing that the contracts show explains it"),
        }
    }
}

impl Membership {
    /// No order will come to this worker as long as that is so.
    #[must_use]
    pub const fn is_problem(&self) -> bool {
        !matches!(self, Self::Unread | Self::Subscribed | Self::Subscribing)
    }
}

/// What is remembered of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub(super) is: Membership,
    /// It was seen to be subscribed.
    was: bool,
    /// Times that it was mined in vain, or refused.
    pub(super) failures: u32,
    /// What the pool asks, at the last block that it was asked at.
    pub(super) policy: Option<Policy>,
}

impl Contributor {
    /// Looks where it stands, and subscribes if it is to.
    pub(super) fn see_membership(&mut self, now: Instant, person: &Person, effects: &mut Vec<Effect>) {
        let is = self.membership_by(person);
        self.member.was |= is == Membership::Subscribed;
        self.member.is = is;
        if is == Membership::Subscribing && !self.is_subscribing() {
            let id = IntentId(
                Hasher::default()
                    .text("subscribe")
                    .bytes(&self.settings.pool.0)
                    .number(u64::from(self.member.failures))
                    .finish(),
            );
            if !self.lane.has(id) {
                let intent = Intent {
                    id,
                    call: Call::SubscribeToPool,
                    gas_limit: SUBSCRIBE_GAS,
                    deadline: None,
                    about: None,
                };
                self.tell(now, lane::Event::Intend(intent), effects);
            }
        }
    }

    /// A subscription is under way, or in a block that is not final.
    fn is_subscribing(&self) -> bool {
        let mut unmined = self.lane.under_way().chain(self.lane.queued());
        unmined.any(|intent| intent.call == Call::SubscribeToPool)
    }

    fn membership_by(&self, person: &Person) -> Membership {
        let Person { affiliation, balance } = person;
        if affiliation.pool == self.settings.pool {
            return Membership::Subscribed;
        }
        if affiliation.pool != NOBODY {
            return Membership::Elsewhere(affiliation.pool);
        }
        let is_intended = self
            .lane
            .intents()
            .any(|intent| intent.call == Call::SubscribeToPool);
        if !self.settings.subscribes {
            return Membership::Outside;
        }
        if self.member.was && !is_intended {
            return Membership::Ended;
        }
        if self.member.failures >= FAILURES_MAX {
            return Membership::InVain;
        }
        let Some(policy) = &self.member.policy else {
            return Membership::Unread;
        };
        // What a subscription locks is taken first; the least that the pool asks for is looked for in what is left.
        let needs = policy
            .subscription_lock_stake
            .plus(policy.subscription_minimum_stake);
        if balance.stake < needs {
            let free = balance.stake;
            return Membership::StakeLow { free, needs };
        }
        let (has, needs) = (affiliation.score, policy.subscription_minimum_score);
        if has < needs {
            return Membership::ScoreLow { has, needs };
        }
        Membership::Subscribing
    }

    /// Whether subscribing would take effect now.
    pub(super) fn may_subscribe(&self) -> Answer<bool> {
        match self.member.is {
            Membership::Subscribing => Answer::Known(true),
            Membership::Unread | Membership::StakeLow { .. } => Answer::Unknown,
            _ => Answer::Known(false),
        }
    }
}
