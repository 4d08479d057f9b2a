//! Why a call does not take effect. The contracts give no reasons, so they are worked out from their views: before
//! sending, from those of the last block; after a failure, from those of the block that has it.
//!
//! The order is that of likelihood and consequence: an order that is not there (a reorganisation), its status, its
//! deadline, the time to reveal, contributions, subscriptions, stakes, ownership. What none of it explains is unexplained
//! and worth an alert.

use std::collections::BTreeMap;
use std::fmt;

use crate::{
    ASK_STAKE_PERCENT, Address, Answer, Call, Commitment, Contribution, ContributionStatus, Hash, NOBODY,
    OrderStatus, Person, Rlc, Timestamp, Views,
};

/// All that a call's fate depends on.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// Who sends.
    pub sender: Address,
    /// The pool's contract.
    pub pool: Address,
    /// Whose it is.
    pub pool_owner: Address,
    /// What there is of the order that the call is about.
    pub views: &'a Answer<Views>,
    /// What there is of those whom it names, and of the sender.
    pub people: &'a BTreeMap<Address, Person>,
    /// The time of the block that has it, or that may.
    pub at: Timestamp,
}

/// Why a call does not take effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// The node has not answered; nothing follows.
    Unread,
    /// There is no such order: the chain was reorganised.
    NoOrder,
    /// The order is not where the call needs it.
    Status {
        /// Where it is.
        is: OrderStatus,
        /// Where it would have to be.
        needs: OrderStatus,
    },
    /// Its time has passed.
    Timeout {
        /// The last time.
        last: Timestamp,
    },
    /// The time to reveal has passed.
    RevealOver,
    /// The time to reveal has not passed, and not all have revealed.
    RevealOpen {
        /// Who have not.
        missing: u64,
    },
    /// Somebody has revealed, so it can be finalized.
    Revealed,
    /// Nobody has contributed this result, or who has was rejected.
    NobodyContributed,
    /// A worker's contribution is not where the call needs it.
    Contribution {
        /// Whose.
        worker: Address,
        /// Where it is.
        is: ContributionStatus,
        /// Where it would have to be.
        needs: ContributionStatus,
    },
    /// A worker is named twice.
    Twice(Address),
    /// What is revealed is not what was contributed, or not what is believed.
    OtherResult,
    /// It does not belong to the pool.
    NotSubscribed(Address),
    /// Too little stake is free.
    Stake {
        /// Whose.
        whose: Address,
        /// What is free.
        free: Rlc,
        /// What is needed.
        needs: Rlc,
    },
    /// The sender is not the pool's owner.
    NotOwner,
    /// The requester's contract was told already, or there is none.
    NoCallback,
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("the node has not answered"),
            Self::NoOrder => f.write_str("there is no such order; the chain was reorganised"),
            Self::Status { is, needs } => write!(f, "the order is {is:?}, not {needs:?}"),
            Self::Timeout { last } => write!(f, "the order's time has passed at {}", last.0),
            Self::RevealOver => f.write_str("the time to reveal has passed"),
            Self::RevealOpen { missing } => {
                write!(
                    f,
                    "the time to reveal has not passed, and {missing} winners have not revealed"
                )
            }
            Self::Revealed => f.write_str("a winner has revealed"),
            Self::NobodyContributed => f.write_str("no contribution that counts has this result"),
            Self::Contribution { worker, is, needs } => {
                write!(f, "the contribution of {worker} is {is:?}, not {needs:?}")
            }
            Self::Twice(worker) => write!(f, "{worker} is named twice"),
            Self::OtherResult => {
                f.write_str("the result is not the one that was contributed and is believed")
            }
            Self::NotSubscribed(worker) => write!(f, "{worker} does not belong to the pool"),
            Self::Stake { whose, free, needs } => {
                write!(f, "{whose} has {free} free and needs {needs}")
            }
            Self::NotOwner => f.write_str("the sender does not own the pool"),
            Self::NoCallback => f.write_str("no contract waits for the result"),
        }
    }
}

/// Whether a call would take effect.
#[must_use]
pub fn holds(call: &Call, scene: &Scene<'_>) -> Answer<bool> {
    match obstacle(call, scene) {
        None => Answer::Known(true),
        Some(Obstacle::Unread) => Answer::Unknown,
        Some(_) => Answer::Known(false),
    }
}

/// Why a call was mined in vain, for people. `after` has the views of the block that has it, `before` those of the block
/// before: what stood in its way may have gone later in the same block, where a contribution came behind the transaction
/// that needed it, say.
#[must_use]
pub fn explain(call: &Call, after: &Scene<'_>, before: &Scene<'_>) -> String {
    match (obstacle(call, after), obstacle(call, before)) {
        (Some(obstacle), _) => obstacle.to_string(),
        (None, Some(obstacle)) => format!("earlier in its block: {obstacle}"),
        (None, None) => "unexplained by anything the contracts show".to_owned(),
    }
}

/// The first thing in a call's way. `None`: nothing, or nothing that is known here: only the pool's calls about orders and
/// offers and the workers' about contributions are.
#[must_use]
pub fn obstacle(call: &Call, scene: &Scene<'_>) -> Option<Obstacle> {
    match call {
        Call::CreateMarketOrder { value, volume, .. } => {
            let needs = value.percent(ASK_STAKE_PERCENT).times(u128::from(*volume));
            scene
                .lacks_stake(scene.sender, needs)
                .or_else(|| scene.not_owner())
        }
        Call::EvictWorker { worker } => scene.not_subscribed(*worker).or_else(|| scene.not_owner()),
        Call::AllowWorkersToContribute { workers, .. } => scene
            .of_order(OrderStatus::Active, |_| scene.cannot_allow(workers))
            .or_else(|| scene.not_owner()),
        Call::Contribute { .. } => scene.of_order(OrderStatus::Active, |views| {
            scene
                .is_not(views, scene.sender, ContributionStatus::Authorized)
                .or_else(|| scene.lacks_stake(scene.sender, views.consensus.stake_amount))
        }),
        Call::RevealConsensus { consensus, .. } => scene
            .of_order(OrderStatus::Active, |views| {
                let mut counting = views.with(ContributionStatus::Contributed);
                let has = |(_, part): (Address, Contribution)| part.result_hash == *consensus;
                (!counting.any(has)).then_some(Obstacle::NobodyContributed)
            })
            .or_else(|| scene.not_owner()),
        Call::Reveal { result, .. } => scene.of_order(OrderStatus::Revealing, |views| {
            scene.cannot_reveal(views, *result)
        }),
        Call::Reopen { .. } => scene
            .of_order(OrderStatus::Revealing, |views| {
                let consensus = &views.consensus;
                if consensus.reveal_counter > 0 {
                    return Some(Obstacle::Revealed);
                }
                let missing = consensus.winner_count;
                (consensus.reveal_date > scene.at).then_some(Obstacle::RevealOpen { missing })
            })
            .or_else(|| scene.not_owner()),
        Call::FinalizeWork { .. } => scene
            .of_order(OrderStatus::Revealing, |views| scene.cannot_finalize(views))
            .or_else(|| scene.not_owner()),
        Call::WorkOrderCallback { .. } => scene.cannot_call_back(),
        _ => None,
    }
}

impl Scene<'_> {
    fn of_order(
        &self,
        needs: OrderStatus,
        rest: impl FnOnce(&Views) -> Option<Obstacle>,
    ) -> Option<Obstacle> {
        let views = match self.views {
            Answer::Known(views) => views,
            Answer::Absent => return Some(Obstacle::NoOrder),
            Answer::Unknown => return Some(Obstacle::Unread),
        };
        let is = views.order.status;
        if is != needs {
            return Some(match is {
                OrderStatus::Unset => Obstacle::NoOrder,
                is => Obstacle::Status { is, needs },
            });
        }
        let last = views.consensus.consensus_timeout;
        if self.at > last {
            return Some(Obstacle::Timeout { last });
        }
        rest(views)
    }

    fn cannot_allow(&self, workers: &[Address]) -> Option<Obstacle> {
        let views = self.views.known()?;
        let twice = |(index, worker): (usize, &Address)| {
            workers[..index]
                .contains(worker)
                .then_some(Obstacle::Twice(*worker))
        };
        let each = |worker: &Address| {
            self.is_not(views, *worker, ContributionStatus::Unset)
                .or_else(|| self.not_subscribed(*worker))
        };
        let repeated = workers.iter().enumerate().find_map(twice);
        repeated.or_else(|| workers.iter().find_map(each))
    }

    fn cannot_reveal(&self, views: &Views, result: Hash) -> Option<Obstacle> {
        if views.consensus.reveal_date <= self.at {
            return Some(Obstacle::RevealOver);
        }
        let contribution = views.contribution(self.sender);
        self.is_not(views, self.sender, ContributionStatus::Contributed)
            .or_else(|| {
                let Commitment { hash, sign } = Commitment::of(result, self.sender);
                let is_it = hash == views.consensus.consensus
                    && (contribution.result_hash, contribution.result_sign) == (hash, sign);
                (!is_it).then_some(Obstacle::OtherResult)
            })
    }

    fn cannot_finalize(&self, views: &Views) -> Option<Obstacle> {
        let consensus = &views.consensus;
        let missing = consensus.winner_count - consensus.reveal_counter.min(consensus.winner_count);
        if missing == 0 {
            return None;
        }
        let is_over = consensus.reveal_date <= self.at;
        match (is_over, consensus.reveal_counter) {
            (false, _) => Some(Obstacle::RevealOpen { missing }),
            (true, 0) => Some(Obstacle::RevealOver),
            (true, _) => None,
        }
    }

    fn cannot_call_back(&self) -> Option<Obstacle> {
        let views = match self.views {
            Answer::Known(views) => views,
            Answer::Absent => return Some(Obstacle::NoOrder),
            Answer::Unknown => return Some(Obstacle::Unread),
        };
        let (is, needs) = (views.order.status, OrderStatus::Completed);
        if is != needs {
            return Some(Obstacle::Status { is, needs });
        }
        let is_waited_for = views.order.callback != NOBODY && !views.is_callback_done;
        (!is_waited_for).then_some(Obstacle::NoCallback)
    }

    fn is_not(&self, views: &Views, worker: Address, needs: ContributionStatus) -> Option<Obstacle> {
        let is = views.status(worker);
        (is != needs).then_some(Obstacle::Contribution { worker, is, needs })
    }

    fn not_subscribed(&self, worker: Address) -> Option<Obstacle> {
        match self.people.get(&worker) {
            None => Some(Obstacle::Unread),
            Some(person) => (person.affiliation.pool != self.pool).then_some(Obstacle::NotSubscribed(worker)),
        }
    }

    fn lacks_stake(&self, whose: Address, needs: Rlc) -> Option<Obstacle> {
        let Some(person) = self.people.get(&whose) else {
            return Some(Obstacle::Unread);
        };
        let free = person.balance.stake;
        (free < needs).then_some(Obstacle::Stake { whose, free, needs })
    }

    fn not_owner(&self) -> Option<Obstacle> {
        (self.sender != self.pool_owner).then_some(Obstacle::NotOwner)
    }
}
