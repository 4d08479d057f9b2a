//! The terms that a pool gives its workers, and what a change of them would do.

use std::fmt;

use wire_hub::{Call, Policy, Rlc};

/// What an operator wants. `None`: as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Terms {
    /// Percentage of an order's value that each worker stakes (`STAKE_RATIO_POLICY`).
    pub stake_ratio: Option<u64>,
    /// Percentage of rewards that the pool keeps, at most 100 (`SCHEDULER_REWARD_RATIO_POLICY`).
    pub scheduler_reward_ratio: Option<u64>,
    /// What a worker must have staked to subscribe (`SUBSCRIPTION_MINIMUM_STAKE_POLICY`).
    pub subscription_minimum_stake: Option<Rlc>,
    /// The score that it must have.
    pub subscription_minimum_score: Option<u64>,
    /// What a subscription locks. Only a new pool can have another.
    pub subscription_lock_stake: Option<Rlc>,
}

/// A change, to be read before it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TermsChange {
    /// A line for each term that changes, and for each that cannot.
    pub lines: Vec<String>,
    /// The transaction. `None`: nothing changes, or it would be refused.
    pub call: Option<Call>,
}

impl Terms {
    /// What would change.
    #[must_use]
    pub fn change(&self, now: &Policy) -> TermsChange {
        let wanted = Policy {
            stake_ratio: self.stake_ratio.unwrap_or(now.stake_ratio),
            scheduler_reward_ratio: self.scheduler_reward_ratio.unwrap_or(now.scheduler_reward_ratio),
            subscription_minimum_stake: self
                .subscription_minimum_stake
                .unwrap_or(now.subscription_minimum_stake),
            subscription_minimum_score: self
                .subscription_minimum_score
                .unwrap_or(now.subscription_minimum_score),
            ..*now
        };
        let mut lines = Vec::new();
        let mut compare = |name: &str, now: &dyn fmt::Display, wanted: &dyn fmt::Display, what: &str| {
            let (now, wanted) = (now.to_string(), wanted.to_string());
            if now != wanted {
                lines.push(format!("{name}: {now} → {wanted} {what}"));
            }
        };
        compare(
            "STAKE_RATIO_POLICY",
            &now.stake_ratio,
            &wanted.stake_ratio,
            "percent of an order's value that each of its workers stakes; orders that are there keep theirs",
        );
        compare(
            "SCHEDULER_REWARD_RATIO_POLICY",
            &now.scheduler_reward_ratio,
            &wanted.scheduler_reward_ratio,
            "percent of the rewards that the pool keeps; orders that are there keep theirs",
        );
        compare(
            "SUBSCRIPTION_MINIMUM_STAKE_POLICY",
            &now.subscription_minimum_stake,
            &wanted.subscription_minimum_stake,
            "free stake that a worker needs to subscribe; who is subscribed stays",
        );
        compare(
            "SUBSCRIPTION_MINIMUM_SCORE_POLICY",
            &now.subscription_minimum_score,
            &wanted.subscription_minimum_score,
            "score that a worker needs to subscribe; who is subscribed stays",
        );
        let is_refused = wanted.scheduler_reward_ratio > 100;
        let is_a_change = wanted != *now;
        if is_refused {
            lines.push(
                "SCHEDULER_REWARD_RATIO_POLICY: the contract takes at most 100; nothing is sent".into(),
            );
        }
        if let Some(lock) = self
            .subscription_lock_stake
            .filter(|lock| *lock != now.subscription_lock_stake)
        {
            let is = now.subscription_lock_stake;
            lines.push(format!(
                "SUBSCRIPTION_LOCK_STAKE_POLICY: stays {is}; {lock} would take a new pool, with new workers"
            ));
        }
        let call = (is_a_change && !is_refused).then_some(Call::ChangeWorkerPoolPolicy { policy: wanted });
        TermsChange { lines, call }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Policy = Policy {
        stake_ratio: 30,
        scheduler_reward_ratio: 1,
        subscription_minimum_stake: Rlc(10),
        subscription_minimum_score: 0,
        subscription_lock_stake: Rlc(5),
    };

    #[test]
    fn a_change_is_told_before_it_is_sent() {
        let terms = Terms {
            stake_ratio: Some(50),
            scheduler_reward_ratio: Some(1),
            subscription_minimum_stake: Some(Rlc(20)),
            subscription_lock_stake: Some(Rlc(9)),
            ..Terms::default()
        };
        let change = terms.change(&NOW);
        insta::assert_snapshot!(change.lines.join("\n"), @r"
        STAKE_RATIO_POLICY: 30 → 50 percent of an order's value that each of its workers stakes; orders that are there keep theirs
        SUBSCRIPTION_MINIMUM_STAKE_POLICY: 10 nRLC → 20 nRLC free stake that a worker needs to subscribe; who is subscribed stays
        SUBSCRIPTION_LOCK_STAKE_POLICY: stays 5 nRLC; 9 nRLC would take a new pool, with new workers
        ");
        let policy = Policy {
            stake_ratio: 50,
            subscription_minimum_stake: Rlc(20),
            ..NOW
        };
        assert_eq!(change.call, Some(Call::ChangeWorkerPoolPolicy { policy }));
    }

    #[test]
    fn nothing_is_sent_where_nothing_changes_or_the_contract_would_refuse() {
        assert_eq!(
            Terms::default().change(&NOW),
            TermsChange {
                lines: Vec::new(),
                call: None
            }
        );
        let terms = Terms {
            scheduler_reward_ratio: Some(101),
            ..Terms::default()
        };
        let change = terms.change(&NOW);
        assert_eq!(change.call, None);
        assert!(change.lines[1].contains("at most 100"), "{:?}", change.lines);
    }
}
