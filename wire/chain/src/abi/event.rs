//! What contracts have said.

use ethers_contract::EthEvent;
use wire_hub::{Event, Hash};

use super::bindings::{iexec_hub, marketplace, worker_pool};
use super::convert::{address, number, rlc, said};
use crate::{BadData, Contracts, RawLog};

/// The event of one of these contracts; `None` for what others say, and for what nobody here listens to.
pub(crate) fn decode(contracts: &Contracts, log: &RawLog) -> Result<Option<Event>, BadData> {
    let event = if log.address == contracts.pool {
        of_pool(log)
    } else if log.address == contracts.hub {
        of_hub(log)
    } else if log.address == contracts.marketplace {
        of_marketplace(log)
    } else {
        Ok(None)
    };
    event.map_err(|bad| {
        bad.at(format_args!(
            "log {} of block {}",
            log.place.log_index, log.place.block.number
        ))
    })
}

/// Reads the event whose topic the log has.
macro_rules! read {
    ($log:expr; $($filter:path as $what:literal => |$event:pat_param| $made:expr),+ $(,)?) => {{
        let log: &RawLog = $log;
        let is = |topic: [u8; 32]| log.topics.first() == Some(&Hash(topic));
        $(if is(<$filter>::signature().0) {
            let $event: $filter = said(&log.topics, &log.data, $what)?;
            return Ok(Some($made));
        })+
        Ok(None)
    }};
}

fn of_pool(log: &RawLog) -> Result<Option<Event>, BadData> {
    use worker_pool::{
        AllowWorkerToContributeFilter, ContributeFilter, FinalizeWorkFilter, ReopenFilter,
        RevealConsensusFilter, RevealFilter, WorkOrderActiveFilter, WorkOrderClaimedFilter,
        WorkerEvictionFilter, WorkerPoolPolicyUpdateFilter, WorkerSubscribeFilter, WorkerUnsubscribeFilter,
    };
    read! { log;
        WorkOrderActiveFilter as "WorkOrderActive" => |it| Event::WorkOrderActive { woid: address(it.woid) },
        WorkOrderClaimedFilter as "WorkOrderClaimed" => |it| Event::WorkOrderClaimed { woid: address(it.woid) },
        AllowWorkerToContributeFilter as "AllowWorkerToContribute" => |it| Event::AllowWorkerToContribute {
            woid: address(it.woid),
            worker: address(it.worker),
            score: number(it.worker_score, "workerScore of AllowWorkerToContribute")?,
        },
        ContributeFilter as "Contribute" => |it| Event::Contribute {
            woid: address(it.woid),
            worker: address(it.worker),
            result_hash: Hash(it.result_hash),
        },
        RevealConsensusFilter as "RevealConsensus" => |it| Event::RevealConsensus {
            woid: address(it.woid),
            consensus: Hash(it.consensus),
        },
        RevealFilter as "Reveal" => |it| Event::Reveal {
            woid: address(it.woid),
            worker: address(it.worker),
            result: Hash(it.result),
        },
        ReopenFilter as "Reopen" => |it| Event::Reopen { woid: address(it.woid) },
        FinalizeWorkFilter as "FinalizeWork" => |it| Event::FinalizeWork {
            woid: address(it.woid),
            stdout: it.stdout,
            stderr: it.stderr,
            uri: it.uri,
        },
        WorkerSubscribeFilter as "WorkerSubscribe" => |it| Event::WorkerSubscribe { worker: address(it.worker) },
        WorkerUnsubscribeFilter as "WorkerUnsubscribe" => |it| Event::WorkerUnsubscribe {
            worker: address(it.worker),
        },
        WorkerEvictionFilter as "WorkerEviction" => |it| Event::WorkerEviction { worker: address(it.worker) },
        WorkerPoolPolicyUpdateFilter as "WorkerPoolPolicyUpdate" => |_| Event::WorkerPoolPolicyUpdate,
    }
}

fn of_hub(log: &RawLog) -> Result<Option<Event>, BadData> {
    use iexec_hub::{
        AccurateContributionFilter, CreateWorkerPoolFilter, FaultyContributionFilter, RewardFilter,
        SeizeFilter,
    };
    read! { log;
        CreateWorkerPoolFilter as "CreateWorkerPool" => |it| Event::CreateWorkerPool {
            owner: address(it.owner),
            pool: address(it.pool),
        },
        RewardFilter as "Reward" => |it| Event::Reward {
            user: address(it.user),
            amount: rlc(it.amount, "amount of Reward")?,
        },
        SeizeFilter as "Seize" => |it| Event::Seize {
            user: address(it.user),
            amount: rlc(it.amount, "amount of Seize")?,
        },
        AccurateContributionFilter as "AccurateContribution" => |it| Event::AccurateContribution {
            woid: address(it.woid),
            worker: address(it.worker),
        },
        FaultyContributionFilter as "FaultyContribution" => |it| Event::FaultyContribution {
            woid: address(it.woid),
            worker: address(it.worker),
        },
    }
}

fn of_marketplace(log: &RawLog) -> Result<Option<Event>, BadData> {
    use marketplace::{
        MarketOrderAskConsumeFilter, MarketOrderClosedFilter, MarketOrderCreatedFilter,
        WorkOrderCallbackProofFilter,
    };
    read! { log;
        MarketOrderCreatedFilter as "MarketOrderCreated" => |it| Event::MarketOrderCreated {
            market_order: number(it.id, "marketorderIdx of MarketOrderCreated")?,
        },
        MarketOrderClosedFilter as "MarketOrderClosed" => |it| Event::MarketOrderClosed {
            market_order: number(it.id, "marketorderIdx of MarketOrderClosed")?,
        },
        MarketOrderAskConsumeFilter as "MarketOrderAskConsume" => |it| Event::MarketOrderAskConsume {
            market_order: number(it.id, "marketorderIdx of MarketOrderAskConsume")?,
            requester: address(it.requester),
        },
        WorkOrderCallbackProofFilter as "WorkOrderCallbackProof" => |it| Event::WorkOrderCallbackProof {
            woid: address(it.woid),
        },
    }
}

#[cfg(test)]
#[path = "event/tests.rs"]
mod tests;
