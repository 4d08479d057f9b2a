//! What the pool has set under way for an order.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use wire_hub::row::{Outcome, Texts};
use wire_hub::{Address, Hash, Timestamp};

/// Works of an order and what is on its way to the chain: what the engine's feed and the lane know.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Intended {
    /// Workers that the engine was asked to have work on it: a row each, pinned to the worker's wallet.
    pub asked: BTreeMap<Address, Asked>,
    /// Bags that were submitted for it; also the number of the next one.
    pub bags: u32,
    /// Workers that a transaction allows which is under way.
    pub allowing: BTreeSet<Address>,
    /// What is to stand on chain, once a result is there.
    pub result: Option<Texts>,
    /// Times that it was reopened, and that each kind of call was mined in vain: names of intents differ by them.
    pub rounds: u32,
    /// Times that the requester's contract did not take the result.
    pub refusals: u32,
    /// What its parameters ask for.
    pub job: Job,
}

/// What an order's parameters ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Job {
    /// Nobody has looked yet.
    #[default]
    Unread,
    /// A work, which each of its workers does.
    Work,
    /// Many works, which the whole pool does once; the order's workers contribute the root over their results.
    Bag(Bag),
    /// Nothing that can be run, for this reason.
    Unrunnable(String),
}

/// How far a bag is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Bag {
    /// It is to be asked for.
    Wanted,
    /// The engine was asked for it.
    Asked,
    /// This is the root.
    Done(Hash),
    /// It has no root: it was cancelled.
    Failed,
}

impl Job {
    /// What workers contribute, where it is not what they computed themselves.
    #[must_use]
    pub fn root(&self) -> Option<Hash> {
        match self {
            Self::Bag(Bag::Done(root)) => Some(*root),
            _ => None,
        }
    }
}

/// A worker's row of an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Time of the block at which it was chosen.
    pub at: Timestamp,
    /// How it ended.
    pub outcome: Option<Outcome>,
}

impl Intended {
    /// Workers that may still contribute, as far as the engine knows.
    pub fn open(&self) -> impl Iterator<Item = (Address, Asked)> {
        let is_open = |(_, asked): &(&Address, &Asked)| asked.outcome != Some(Outcome::Failed);
        self.asked
            .iter()
            .filter(is_open)
            .map(|(worker, asked)| (*worker, *asked))
    }

    /// Rows that are not done.
    #[must_use]
    pub fn running(&self) -> Vec<Address> {
        let is_running = |(_, asked): &(&Address, &Asked)| asked.outcome.is_none();
        self.asked
            .iter()
            .filter(is_running)
            .map(|(worker, _)| *worker)
            .collect()
    }
}
