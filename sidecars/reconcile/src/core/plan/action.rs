//! What can be done.

use std::fmt;

use wire_hub::{Address, Call, Gas, Hash, Hasher, Timestamp};

use crate::core::order::{Identity, Texts};
use wire_lane::{Intent, IntentId};

/// Something to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Submit a bag to the engine: a row for each worker, pinned to its wallet. Repeated under the same key it is the same
    /// bag.
    Submit {
        /// Its idempotency key.
        key: Hash,
        /// Whose rows.
        workers: Vec<Address>,
    },
    /// Submit all works that an order stands for, for whoever does them.
    SubmitBag {
        /// Their idempotency key.
        key: Hash,
    },
    /// Cancel rows that are not done.
    Cancel(Vec<Address>),
    /// Cancel the works that an order stands for.
    CancelBag,
    /// Send `allowWorkersToContribute`.
    Allow(Vec<Address>),
    /// Send `revealConsensus`.
    RevealConsensus(Hash),
    /// Send `reopen`.
    Reopen,
    /// Send `finalizeWork`.
    Finalize(Texts),
    /// Send `workOrderCallback` with at most so much gas.
    CallBack {
        /// What was finalized.
        texts: Texts,
        /// What the requester's contract may take.
        gas_max: Gas,
    },
    /// Send `evictWorker`.
    Evict(Address),
    /// Nothing, until something happens or this time of the chain has come.
    Wait(Option<Timestamp>),
}

/// Something to do, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Step {
    /// For which order; `None`: for none.
    pub order: Option<Identity>,
    /// Times that the order was reopened or something was done in vain.
    pub round: u32,
    /// What.
    pub action: Action,
    /// Why, for people.
    pub reason: String,
    /// The last block time at which it makes sense.
    pub deadline: Option<Timestamp>,
}

impl Step {
    /// The transaction, if it is one.
    #[must_use]
    pub fn call(&self) -> Option<Call> {
        let woid = self.order.map(|order| order.woid).unwrap_or(wire_hub::NOBODY);
        Some(match &self.action {
            Action::Allow(workers) => Call::AllowWorkersToContribute {
                woid,
                workers: workers.clone(),
            },
            Action::RevealConsensus(consensus) => Call::RevealConsensus {
                woid,
                consensus: *consensus,
            },
            Action::Reopen => Call::Reopen { woid },
            Action::Finalize(Texts { stdout, stderr, uri }) => Call::FinalizeWork {
                woid,
                stdout: stdout.clone(),
                stderr: stderr.clone(),
                uri: uri.clone(),
            },
            Action::CallBack { texts, .. } => Call::WorkOrderCallback {
                woid,
                stdout: texts.stdout.clone(),
                stderr: texts.stderr.clone(),
                uri: texts.uri.clone(),
            },
            Action::Evict(worker) => Call::EvictWorker { worker: *worker },
            Action::Submit { .. }
            | Action::SubmitBag { .. }
            | Action::CancelBag
            | Action::Cancel(_)
            | Action::Wait(_) => return None,
        })
    }

    /// What the lane is to be asked for. The same step of the same order in the same round has the same name.
    #[must_use]
    pub fn intent(&self) -> Option<Intent> {
        let call = self.call()?;
        let named = Hasher::default().text("intent").number(u64::from(self.round));
        let of_order = match &self.order {
            Some(order) => named.bytes(&order.key().0),
            None => named,
        };
        let name = match &call {
            Call::AllowWorkersToContribute { workers, .. } => workers
                .iter()
                .fold(of_order.text("allow"), |named, worker| named.bytes(&worker.0)),
            Call::RevealConsensus { consensus, .. } => of_order.text("revealConsensus").bytes(&consensus.0),
            Call::Reopen { .. } => of_order.text("reopen"),
            Call::FinalizeWork { .. } => of_order.text("finalizeWork"),
            Call::WorkOrderCallback { .. } => of_order.text("callback"),
            Call::EvictWorker { worker } => of_order.text("evict").bytes(&worker.0),
            other => panic!("no plan has {other:?}"),
        };
        let gas_limit = match self.action {
            Action::CallBack { gas_max, .. } => gas_max,
            _ => gas_limit(&call),
        };
        Some(Intent {
            id: IntentId(name.finish()),
            call,
            gas_limit,
            deadline: self.deadline,
            about: self.order.map(|order| order.key()),
        })
    }
}

/// Gas that a call of the pool may take: what was measured on the contracts and a third more. A failed assertion burns
/// nearly all of a limit, so it is no round number; `finalizeWork` grows with its contributors, of whom 60 are allowed for.
#[must_use]
pub fn gas_limit(call: &Call) -> Gas {
    let measured = match call {
        Call::AllowWorkersToContribute { workers, .. } => 42_500 + 38_200 * workers.len() as u64,
        Call::RevealConsensus { .. } => 132_800 + 7_500 * 60,
        Call::Reopen { .. } => 68_000 + 10_000 * 60,
        Call::FinalizeWork {
            stdout, stderr, uri, ..
        } => 232_000 + 60_000 * 60 + 900 * (stdout.len() + stderr.len() + uri.len()) as u64,
        Call::EvictWorker { .. } => 74_000,
        Call::CreateMarketOrder { .. } => 233_000,
        Call::CloseMarketOrder { .. } => 54_000,
        Call::CreateWorkerPool { .. } => 2_900_000,
        _ => 150_000,
    };
    Gas(measured + measured / 3)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |workers: &[Address]| {
            let short: Vec<String> = workers.iter().map(short).collect();
            short.join(" ")
        };
        match &self.order {
            Some(order) => write!(f, "{} ", short(&order.woid))?,
            None => f.write_str("pool ")?,
        }
        match &self.action {
            Action::Submit { workers, .. } => write!(f, "submit works for {}", list(workers)),
            Action::SubmitBag { .. } => f.write_str("submit its works"),
            Action::CancelBag => f.write_str("cancel its works"),
            Action::Cancel(workers) => write!(f, "cancel works of {}", list(workers)),
            Action::Allow(workers) => write!(f, "allow {}", list(workers)),
            Action::RevealConsensus(hash) => write!(f, "reveal consensus {}", &hash.to_string()[..10]),
            Action::Reopen => f.write_str("reopen"),
            Action::Finalize(texts) => write!(f, "finalize stdout={:?} uri={:?}", texts.stdout, texts.uri),
            Action::CallBack { gas_max, .. } => write!(f, "call back with {} gas", gas_max.0),
            Action::Evict(worker) => write!(f, "evict {}", short(worker)),
            Action::Wait(Some(until)) => write!(f, "wait until {}", until.0),
            Action::Wait(None) => f.write_str("wait"),
        }?;
        if let Some(deadline) = self.deadline {
            write!(f, " (by {})", deadline.0)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The beginning of an address.
fn short(address: &Address) -> String {
    address.to_string()[..8].to_owned()
}
