//! Which result the pool believes: the contract leaves that to the scheduler.
//!
//! `revealConsensus` of PoCo V2 accepts any hash that somebody has contributed, so this is the one place where the trust
//! of an offer means something. A worker with score s gets a weight; a result's weight is the product of the weights of
//! those who contributed it. With P(r) the weight of result r, the credibility of r is
//!
//! ```text
//!             P(r)                                        1
//!   Cr = ─────────────     and r is believed if Cr > 1 − ─────     ⇔    P(r)·trust > (1 + Σ P)·(trust − 1)
//!         1 + Σ_h P(h)                                   trust
//! ```
//!
//! (iExec, "PoCo and trust management", technical report, 2018; L. Sarmenta, "Sabotage-tolerance mechanisms for volunteer
//! computing systems", 2002.) The right form is in natural numbers, and ours have no bound (`wide.rs`): predecessors
//! overflowed here.
//!
//! A worker that was asked counts as if it agreed with the heaviest result for as long as a work may take, then no more. A
//! further one is asked only if that would not be enough: the fewest that can do, then one after the other.
//!
//! Deliberately absent: who may be asked, and until when ([`crate::core::plan`]).

mod wide;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use wire_hub::{Address, Contribution, ContributionStatus, Hash, Timestamp, Trust, Views};

use wide::Wide;

/// How results are weighed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConsensusPolicy {
    /// The weights that the third version of the contracts has on chain: max(score / 3, 3) − 1. New workers weigh 2.
    #[default]
    Poco,
    /// Sarmenta's formula as the technical report has it, with a fifth of workers presumed faulty: 5·max(score, 1) − 1.
    /// Generous here: V2 gives a point of score also for a work that nobody else did.
    Sarmenta,
    /// So many workers, all with the same result; `None`: trust / 10 of them, at least 1 and at most 10, as the
    /// predecessor did. A single other result rules it out.
    Unanimity {
        /// How many; at least 1.
        workers: Option<u32>,
    },
    /// `agreeing` of at most `of` workers.
    Majority {
        /// How many have to agree; at least 1.
        agreeing: u32,
        /// How many are asked at most.
        of: u32,
    },
}

impl FromStr for ConsensusPolicy {
    type Err = String;

    /// Reads `poco`, `sarmenta`, `unanimity`, `unanimity:3`, `majority:2/3`.
    fn from_str(text: &str) -> Result<Self, String> {
        let count = |digits: &str| digits.parse::<u32>().ok().filter(|count| *count > 0);
        let read = match text.split_once(':') {
            None => match text {
                "poco" => Some(Self::Poco),
                "sarmenta" => Some(Self::Sarmenta),
                "unanimity" => Some(Self::Unanimity { workers: None }),
                _ => None,
            },
            Some(("unanimity", workers)) => count(workers).map(|workers| Self::Unanimity {
                workers: Some(workers),
            }),
            Some(("majority", of)) => of.split_once('/').and_then(|(agreeing, of)| {
                let (agreeing, of) = (count(agreeing)?, count(of)?);
                (agreeing <= of).then_some(Self::Majority { agreeing, of })
            }),
            Some(_) => None,
        };
        read.ok_or_else(|| {
            "write poco, sarmenta, unanimity, unanimity:N or majority:K/N with K up to N".to_owned()
        })
    }
}

/// A contribution that counts: on chain as CONTRIBUTED, neither revealed nor rejected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ballot {
    /// What it contributed.
    pub hash: Hash,
    /// Its worker's score when it contributed.
    pub score: u64,
}

/// The contributions that count, in the order of the chain.
#[must_use]
pub fn ballots(views: &Views) -> Vec<Ballot> {
    let ballot = |(_, part): (Address, Contribution)| Ballot {
        hash: part.result_hash,
        score: part.score,
    };
    views.with(ContributionStatus::Contributed).map(ballot).collect()
}

/// A worker that was asked and has not contributed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Its score.
    pub score: u64,
    /// When it was asked.
    pub since: Timestamp,
}

/// All that a verdict depends on.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// How sure the requester wants to be.
    pub trust: Trust,
    /// What was contributed, in the order of the chain.
    pub ballots: &'a [Ballot],
    /// Who may still contribute.
    pub pending: &'a [Pending],
    /// So long somebody who was asked is waited for, in seconds.
    pub patience_s: u64,
    /// The time of the block that all of this was read at.
    pub now: Timestamp,
}

/// What follows from the contributions so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// This result is believed.
    Reached {
        /// The result.
        hash: Hash,
        /// How many contributed it.
        agreeing: u32,
    },
    /// Those who were asked are enough, should they agree. From `until` on one of them is no longer waited for.
    Waiting {
        /// When to ask anew.
        until: Timestamp,
    },
    /// One further worker has to be asked.
    OneMore,
    /// No further contribution can bring a consensus under this policy.
    Contradicted,
}

/// Contributions of one result.
#[derive(Clone, Debug)]
struct Group {
    hash: Hash,
    agreeing: u32,
    weight: Wide,
}

impl ConsensusPolicy {
    /// What follows. Costs a multiplication for each contribution.
    #[must_use]
    pub fn verdict(&self, question: &Question<'_>) -> Verdict {
        let groups = self.groups(question.ballots);
        let waited_for: Vec<&Pending> = question
            .pending
            .iter()
            .filter(|pending| question.lapse(pending) > question.now)
            .collect();
        if let Some(best) = groups.first()
            && self.believes(best, &groups, question.trust)
        {
            return Verdict::Reached {
                hash: best.hash,
                agreeing: best.agreeing,
            };
        }
        let open = u32::try_from(waited_for.len()).unwrap_or(u32::MAX);
        if self.is_ruled_out(&groups, question.trust) {
            return Verdict::Contradicted;
        }
        let predicted = self.predict(&groups, &waited_for);
        if self.believes(&predicted[0], &predicted, question.trust) {
            let until = waited_for.iter().map(|pending| question.lapse(pending)).min();
            return Verdict::Waiting {
                until: until.expect("without anybody to wait for nothing would have changed"),
            };
        }
        if self.is_full(&groups, open) {
            let until = waited_for.iter().map(|pending| question.lapse(pending)).min();
            return until.map_or(Verdict::Contradicted, |until| Verdict::Waiting { until });
        }
        Verdict::OneMore
    }

    /// The heaviest result, whether or not it is believed; of equal ones what more contributed, then what came first.
    #[must_use]
    pub fn best(&self, ballots: &[Ballot]) -> Option<(Hash, u32)> {
        let groups = self.groups(ballots);
        groups.first().map(|group| (group.hash, group.agreeing))
    }

    /// What a worker with this score weighs; 1 where all are equal.
    #[must_use]
    pub fn weight(&self, score: u64) -> u128 {
        let score = u128::from(score);
        match self {
            Self::Poco => (score / 3).max(3) - 1,
            Self::Sarmenta => 5 * score.max(1) - 1,
            Self::Unanimity { .. } | Self::Majority { .. } => 1,
        }
    }

    /// Results, the heaviest first.
    fn groups(&self, ballots: &[Ballot]) -> Vec<Group> {
        let mut groups: BTreeMap<Hash, (usize, Group)> = BTreeMap::new();
        for (index, ballot) in ballots.iter().enumerate() {
            let (_, group) = groups.entry(ballot.hash).or_insert_with(|| {
                let empty = Group {
                    hash: ballot.hash,
                    agreeing: 0,
                    weight: Wide::one(),
                };
                (index, empty)
            });
            group.agreeing += 1;
            group.weight = group.weight.times(self.weight(ballot.score));
        }
        let mut groups: Vec<(usize, Group)> = groups.into_values().collect();
        groups.sort_by(|(first, a), (second, b)| {
            let by_weight = b.weight.cmp(&a.weight).then(b.agreeing.cmp(&a.agreeing));
            by_weight.then(first.cmp(second))
        });
        groups.into_iter().map(|(_, group)| group).collect()
    }

    fn believes(&self, group: &Group, all: &[Group], trust: Trust) -> bool {
        match self {
            Self::Poco | Self::Sarmenta => {
                let sum = all.iter().fold(Wide::one(), |sum, group| sum.plus(&group.weight));
                let believed = group.weight.times(trust.0.max(1));
                group.agreeing > 0 && believed > sum.times(trust.0.max(1) - 1)
            }
            Self::Unanimity { .. } => all.len() == 1 && group.agreeing >= self.agreeing_min(trust),
            Self::Majority { .. } => group.agreeing >= self.agreeing_min(trust),
        }
    }

    /// How many have to agree, where they are counted rather than weighed.
    fn agreeing_min(&self, trust: Trust) -> u32 {
        match self {
            Self::Unanimity { workers: None } => (trust.0.clamp(10, 100) / 10) as u32,
            Self::Unanimity { workers: Some(count) } | Self::Majority { agreeing: count, .. } => {
                *count.max(&1)
            }
            Self::Poco | Self::Sarmenta => 1,
        }
    }

    /// Whether no further contribution can help.
    fn is_ruled_out(&self, groups: &[Group], trust: Trust) -> bool {
        match self {
            Self::Poco | Self::Sarmenta => false,
            Self::Unanimity { .. } => groups.len() > 1,
            Self::Majority { of, .. } => {
                let cast: u32 = groups.iter().map(|group| group.agreeing).sum();
                let best = groups.iter().map(|group| group.agreeing).max().unwrap_or(0);
                best.saturating_add(of.saturating_sub(cast)) < self.agreeing_min(trust)
            }
        }
    }

    /// Whether as many are asked as the policy asks at most.
    fn is_full(&self, groups: &[Group], open: u32) -> bool {
        let cast: u32 = groups.iter().map(|group| group.agreeing).sum();
        matches!(self, Self::Majority { of, .. } if cast.saturating_add(open) >= *of)
    }

    /// As if all who are waited for agreed with the heaviest result. Never empty.
    fn predict(&self, groups: &[Group], waited_for: &[&Pending]) -> Vec<Group> {
        let mut predicted = groups.to_vec();
        if predicted.is_empty() {
            predicted.push(Group {
                hash: Hash::ZERO,
                agreeing: 0,
                weight: Wide::one(),
            });
        }
        for pending in waited_for {
            predicted[0].agreeing += 1;
            predicted[0].weight = predicted[0].weight.times(self.weight(pending.score));
        }
        predicted
    }
}

impl Question<'_> {
    /// From when on somebody is no longer waited for.
    fn lapse(&self, pending: &Pending) -> Timestamp {
        Timestamp(pending.since.0.saturating_add(self.patience_s))
    }
}

#[cfg(test)]
mod tests;
