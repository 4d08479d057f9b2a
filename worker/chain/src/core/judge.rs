//! Where an order stands by what the contracts have of it at one block, and what that asks for.

use std::collections::BTreeMap;

use wire_hub::{
    Address, Answer, Block, Call, Commitment, ContributionStatus, NOBODY, Obstacle, OrderStatus, Person,
    Scene, Timestamp, Views, obstacle,
};

use super::event::Settings;
use super::order::{Order, State};

/// So many transactions of an order may be mined in vain: what fails for no reason that shows is not tried for ever.
pub(super) const FAILURES_MAX: u32 = 3;

/// What a block says of an order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    pub(super) state: State,
    /// What to send, and the last block time at which it makes sense.
    pub(super) wants: Option<(Call, Timestamp)>,
    /// Nothing more comes of it, unless the chain is reorganised.
    pub(super) is_over: bool,
    /// What would take no effect any more, as far as this block goes.
    pub(super) done: Done,
}

/// How much of a worker's part has been done, or has become pointless.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Done {
    Nothing,
    Contribution,
    All,
}

impl Verdict {
    const fn waits(state: State, done: Done) -> Self {
        Self {
            state,
            wants: None,
            is_over: false,
            done,
        }
    }

    const fn over(state: State) -> Self {
        Self {
            state,
            wants: None,
            is_over: true,
            done: Done::All,
        }
    }

    /// Whether this call, as far as it is of the order, would never take effect again.
    pub(super) fn is_pointless(&self, call: &Call) -> bool {
        match call {
            Call::Contribute { .. } => self.done >= Done::Contribution,
            _ => self.done == Done::All,
        }
    }

    fn sends(state: State, call: Call, deadline: Timestamp) -> Self {
        Self {
            wants: Some((call, deadline)),
            ..Self::waits(state, Done::Nothing)
        }
    }
}

/// An order before its judge.
pub(super) struct Case<'a> {
    pub(super) settings: &'a Settings,
    pub(super) order: &'a Order,
    /// What the contracts have; never [`Answer::Unknown`].
    pub(super) views: &'a Answer<Views>,
    /// This worker, its stake without what is under way for other orders.
    pub(super) person: Option<Person>,
    pub(super) head: &'a Block,
}

impl Case<'_> {
    pub(super) fn judge(&self) -> Verdict {
        // Before finality the node may only be behind: whoever was sent the work had seen the order.
        let Some(views) = self.views.known() else {
            return Verdict {
                done: Done::Nothing,
                ..Verdict::over(State::Missing {
                    was_there: self.order.was_there,
                })
            };
        };
        let ticket = &self.order.kept.ticket;
        let is_it = views.order.fingerprint() == ticket.fingerprint && views.order.workerpool == ticket.pool;
        if !is_it {
            return Verdict::over(State::Replaced);
        }
        let status = views.status(self.settings.worker);
        let stake = views.consensus.stake_amount;
        let has_contributed = status >= ContributionStatus::Contributed;
        let staked = has_contributed.then_some(stake);
        match views.order.status {
            OrderStatus::Unset => Verdict::over(State::Missing { was_there: true }),
            OrderStatus::Completed => Verdict::over(match status {
                ContributionStatus::Proved => State::Won {
                    reward: self.order.paid.map(|paid| paid.reward),
                },
                ContributionStatus::Contributed | ContributionStatus::Rejected => State::Lost {
                    seized: self.order.paid.map_or(stake, |paid| paid.seized),
                },
                ContributionStatus::Unset | ContributionStatus::Authorized => State::Late,
            }),
            OrderStatus::Claimed => Verdict::over(State::Claimed { freed: staked }),
            _ if self.head.timestamp > views.consensus.consensus_timeout => {
                Verdict::over(State::Expired { locked: staked })
            }
            OrderStatus::Active => self.while_active(views),
            OrderStatus::Revealing => self.while_revealing(views),
        }
    }

    fn commitment(&self) -> Commitment {
        Commitment::of(self.order.kept.result, self.settings.worker)
    }

    fn is_mine(&self, views: &Views) -> bool {
        let part = views.contribution(self.settings.worker);
        let Commitment { hash, sign } = self.commitment();
        (part.result_hash, part.result_sign) == (hash, sign)
    }

    /// When a transaction that is sent now may be in a block.
    const fn soon(&self) -> Timestamp {
        Timestamp(self.head.timestamp.0.saturating_add(self.settings.inclusion_s))
    }

    fn in_the_way(&self, call: &Call) -> Option<Obstacle> {
        let people: BTreeMap<Address, Person> = self
            .person
            .map(|person| (self.settings.worker, person))
            .into_iter()
            .collect();
        let scene = Scene {
            sender: self.settings.worker,
            pool: self.settings.pool,
            pool_owner: NOBODY,
            views: self.views,
            people: &people,
            at: self.soon(),
        };
        obstacle(call, &scene)
    }

    fn while_active(&self, views: &Views) -> Verdict {
        let stake = views.consensus.stake_amount;
        match views.status(self.settings.worker) {
            ContributionStatus::Unset => return Verdict::waits(State::Unallowed, Done::Nothing),
            ContributionStatus::Authorized => {}
            ContributionStatus::Rejected => {
                return Verdict::waits(State::Rejected { stake }, Done::All);
            }
            _ if self.is_mine(views) => return Verdict::waits(State::Contributed, Done::Contribution),
            _ => return Verdict::waits(State::Foreign { stake }, Done::Contribution),
        }
        let call = self.commitment().call(views.order.woid);
        match self.in_the_way(&call) {
            None if self.order.kept.failures >= FAILURES_MAX => self.in_vain(),
            None if self.is_delayed() => Verdict::waits(State::Contributing, Done::Nothing),
            None => Verdict::sends(State::Contributing, call, views.consensus.consensus_timeout),
            Some(Obstacle::Stake { free, needs, .. }) => {
                Verdict::waits(State::StakeLow { free, needs }, Done::Nothing)
            }
            Some(Obstacle::Timeout { .. }) => Verdict::waits(State::NoTime, Done::Contribution),
            // What the hub has of this worker is not known yet, and may be as it was.
            Some(_) => Verdict::waits(self.allowed_state(), Done::Nothing),
        }
    }

    const fn allowed_state(&self) -> State {
        match self.order.state {
            state @ State::StakeLow { .. } => state,
            _ => State::Contributing,
        }
    }

    fn while_revealing(&self, views: &Views) -> Verdict {
        let stake = views.consensus.stake_amount;
        let part = views.contribution(self.settings.worker);
        match part.status {
            ContributionStatus::Unset | ContributionStatus::Authorized => {
                return Verdict::waits(State::Late, Done::Contribution);
            }
            ContributionStatus::Proved => return Verdict::waits(State::Revealed, Done::All),
            ContributionStatus::Rejected => return Verdict::waits(State::Rejected { stake }, Done::All),
            _ if part.result_hash != views.consensus.consensus => {
                return Verdict::waits(State::Outvoted { stake }, Done::All);
            }
            _ if !self.is_mine(views) => return Verdict::waits(State::Foreign { stake }, Done::All),
            ContributionStatus::Contributed => {}
        }
        let (woid, result) = (views.order.woid, self.order.kept.result);
        let call = Call::Reveal { woid, result };
        let in_time = Timestamp(views.consensus.reveal_date.0.saturating_sub(1));
        let deadline = in_time.min(views.consensus.consensus_timeout);
        match self.in_the_way(&call) {
            None if self.order.kept.failures >= FAILURES_MAX => self.in_vain(),
            None => self.reveal(call, deadline),
            Some(_) => Verdict::waits(State::Unrevealed { stake }, Done::All),
        }
    }

    const fn in_vain(&self) -> Verdict {
        let times = self.order.kept.failures;
        Verdict::waits(State::InVain { times }, Done::All)
    }

    #[cfg(not(debug_assertions))]
    fn reveal(&self, call: Call, deadline: Timestamp) -> Verdict {
        Verdict::sends(State::Revealing, call, deadline)
    }

    #[cfg(debug_assertions)]
    fn reveal(&self, call: Call, deadline: Timestamp) -> Verdict {
        let faults = self.settings.faults;
        if faults.no_reveal {
            return Verdict::waits(State::Revealing, Done::Contribution);
        }
        let call = match call {
            Call::Reveal { woid, result } if faults.bad_reveal => Call::Reveal {
                woid,
                result: wire_hub::keccak(&result.0),
            },
            call => call,
        };
        Verdict::sends(State::Revealing, call, deadline)
    }

    #[cfg(not(debug_assertions))]
    const fn is_delayed(&self) -> bool {
        false
    }

    #[cfg(debug_assertions)]
    fn is_delayed(&self) -> bool {
        let late_s = self.settings.faults.late_s;
        let allowed_at = self.order.allowed_at.unwrap_or(self.head.timestamp);
        self.head.timestamp.0 < allowed_at.0.saturating_add(late_s)
    }
}
