//! An order in a sentence: who was asked, allowed, has contributed what, has revealed.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{
    Address, Affiliation, Answer, Balance, Block, BlockRef, Category, Consensus, Contribution,
    ContributionStatus, Hash, MarketOrder, MarketStatus, NOBODY, OrderStatus, Person, Rlc, Timestamp, Trust,
    Views, WorkOrder,
};

use super::super::*;
use crate::core::order::{Asked, Identity, Intended, Job, Observed, Outcome, Texts};
use crate::core::policy::ConsensusPolicy;

pub(crate) const POOL: Address = Address([0xaa; 20]);
pub(crate) const T0: u64 = 10_000;
pub(crate) const PERIOD_S: u64 = 300;

pub(crate) const SETTINGS: Settings = Settings {
    consensus: ConsensusPolicy::Poco,
    best_effort: false,
    confirmations: 2,
    block_s: 12,
    inclusion_s: 12,
    margin_blocks: 3,
    patience_s: None,
    callback_gas_max: None,
    evict_after: None,
};

pub(crate) fn worker(number: u8) -> Address {
    Address([number; 20])
}

pub(crate) fn result(letter: char) -> Hash {
    Hash([letter as u8; 32])
}

/// Everything that a plan is made from, of one order.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) settings: Settings,
    pub(crate) orders: Vec<Order>,
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) faults: BTreeMap<Address, u32>,
    pub(crate) stale: BTreeSet<Identity>,
}

impl Scene {
    /// One order for this trust, seen three blocks ago, and five workers with nothing to do.
    pub(crate) fn new(trust: u128) -> Self {
        Self {
            settings: SETTINGS,
            orders: vec![order(0xee, trust)],
            candidates: (1..=5).map(candidate).collect(),
            faults: BTreeMap::new(),
            stale: BTreeSet::new(),
        }
    }

    pub(crate) fn views(&mut self) -> &mut Views {
        match &mut self.orders[0].observed.views {
            Answer::Known(views) => views,
            other => panic!("{other:?} has no views"),
        }
    }

    pub(crate) fn intended(&mut self) -> &mut Intended {
        &mut self.orders[0].intended
    }

    /// So many seconds after it was bought.
    pub(crate) fn at(mut self, seconds: u64) -> Self {
        for order in &mut self.orders {
            order.observed.at.timestamp = Timestamp(T0 + seconds);
        }
        self
    }

    /// These workers were asked when it was bought.
    pub(crate) fn asked(mut self, workers: &[u8]) -> Self {
        let asked = Asked {
            at: Timestamp(T0),
            outcome: None,
        };
        let asked = workers.iter().map(|number| (worker(*number), asked));
        self.intended().asked.extend(asked);
        self.intended().bags += 1;
        self
    }

    /// These are allowed on chain.
    pub(crate) fn allowed(mut self, workers: &[u8]) -> Self {
        for number in workers {
            self.part(*number, ContributionStatus::Authorized, None);
        }
        self
    }

    /// These have contributed: `1a 2b`.
    pub(crate) fn contributed(mut self, parts: &str) -> Self {
        for part in parts.split(' ') {
            let (number, letter) = part.split_at(1);
            let number = number.parse().expect("a worker's number");
            let hash = result(letter.chars().next().expect("a result"));
            self.part(number, ContributionStatus::Contributed, Some(hash));
            let asked = self.intended().asked.get_mut(&worker(number));
            if let Some(asked) = asked {
                asked.outcome = Some(Outcome::Done(Some(hash)));
            }
        }
        self
    }

    /// This is the consensus since so many seconds after it was bought.
    pub(crate) fn revealing(mut self, letter: char, seconds: u64) -> Self {
        let views = self.views();
        views.order.status = OrderStatus::Revealing;
        views.consensus.consensus = result(letter);
        views.consensus.reveal_date = Timestamp(T0 + seconds + 2 * PERIOD_S);
        views.consensus.winner_count = views.to_reveal().len() as u64;
        self
    }

    /// These have revealed.
    pub(crate) fn revealed(mut self, workers: &[u8]) -> Self {
        for number in workers {
            let contribution = self.views().contribution(worker(*number));
            self.part(
                *number,
                ContributionStatus::Proved,
                Some(contribution.result_hash),
            );
            self.views().consensus.reveal_counter += 1;
        }
        self
    }

    pub(crate) fn with_status(mut self, status: OrderStatus) -> Self {
        self.views().order.status = status;
        self
    }

    pub(crate) fn with_result(mut self) -> Self {
        self.intended().result = Some(Texts {
            stdout: "42".into(),
            stderr: String::new(),
            uri: "xw://pool/1".into(),
        });
        self
    }

    pub(crate) fn part(&mut self, number: u8, status: ContributionStatus, hash: Option<Hash>) {
        let contribution = Contribution {
            status,
            result_hash: hash.unwrap_or_default(),
            ..Contribution::default()
        };
        let contributions = &mut self.views().contributions;
        match contributions.iter_mut().find(|(of, _)| *of == worker(number)) {
            Some((_, old)) => *old = contribution,
            None => contributions.push((worker(number), contribution)),
        }
    }

    pub(crate) fn person(&mut self, number: u8) -> &mut Person {
        let candidate = &mut self.candidates[usize::from(number) - 1];
        match &mut candidate.person {
            Answer::Known(person) => person,
            other => panic!("{other:?} is nobody"),
        }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        plan(&World {
            settings: &self.settings,
            pool: POOL,
            orders: &self.orders,
            candidates: &self.candidates,
            faults: &self.faults,
            stale: &self.stale,
        })
    }

    pub(crate) fn text(&self) -> String {
        let lines: Vec<String> = self.steps().iter().map(ToString::to_string).collect();
        lines.join("\n")
    }

    /// What would be sent.
    pub(crate) fn calls(&self) -> usize {
        self.steps().iter().filter(|step| step.call().is_some()).count()
    }
}

pub(crate) fn candidate(number: u8) -> Candidate {
    let affiliation = Affiliation { pool: POOL, score: 0 };
    let balance = Balance {
        stake: Rlc(1_000),
        locked: Rlc(0),
    };
    Candidate {
        wallet: worker(number),
        owner: format!("owner {number}"),
        is_free: true,
        person: Answer::Known(Person { affiliation, balance }),
    }
}

pub(crate) fn order(number: u8, trust: u128) -> Order {
    let woid = Address([number; 20]);
    let order = WorkOrder {
        woid,
        market_order: 1,
        workerpool: POOL,
        app: Address([0xa0; 20]),
        dataset: NOBODY,
        requester: Address([0xb0; 20]),
        params: "echo 42".into(),
        callback: NOBODY,
        beneficiary: NOBODY,
        emitcost: Rlc(0),
        status: OrderStatus::Active,
    };
    let market = MarketOrder {
        id: 1,
        status: MarketStatus::Ask,
        category: 1,
        trust: Trust(trust),
        value: Rlc(1_000),
        volume: 1,
        remaining: 0,
        workerpool: POOL,
        workerpool_owner: Address([0xcc; 20]),
    };
    let at = BlockRef {
        number: 103,
        hash: Hash([3; 32]),
    };
    let identity = Identity {
        chain_id: 1,
        hub: Address([0xdd; 20]),
        woid,
        block: Hash([1; 32]),
        fingerprint: order.fingerprint(),
    };
    let views = Views {
        order,
        market,
        category: Category {
            id: 1,
            name: "S".into(),
            period_s: PERIOD_S,
        },
        consensus: Consensus {
            pool_reward: Rlc(1_000),
            stake_amount: Rlc(300),
            consensus_timeout: Timestamp(T0 + 10 * PERIOD_S),
            scheduler_reward_ratio: 1,
            ..Consensus::default()
        },
        contributions: Vec::new(),
        is_callback_done: false,
    };
    let at = Block {
        at,
        parent: Hash([2; 32]),
        timestamp: Timestamp(T0 + 36),
        base_fee: None,
    };
    let observed = Observed {
        at,
        views: Answer::Known(views),
        bought: 100,
        ended: None,
        final_: None,
        result: None,
    };
    Order {
        identity,
        observed,
        intended: Intended {
            job: Job::Work,
            ..Intended::default()
        },
    }
}
