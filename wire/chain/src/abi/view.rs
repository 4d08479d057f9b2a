//! What contracts keep: questions, and their answers.

use ethers_core::abi::AbiEncode;
use ethers_core::types::{H160, U256};
use wire_hub::{
    Address, Affiliation, Balance, Category, Consensus, Contribution, ContributionStatus, Hash, MarketOrder,
    MarketStatus, OrderStatus, Policy, WorkOrder,
};

use super::bindings::{app, iexec_hub, marketplace, registry, rlc, work_order, worker_pool};
use super::convert::{address, h160, number, returned, rlc as money, time, trust};
use crate::{App, BadData, Contracts, Input, Seen, View, Wiring};

/// What is to be asked for a view: one call, or one for each field.
pub(crate) fn questions(contracts: &Contracts, view: &View) -> Vec<Input> {
    let Contracts {
        rlc: token,
        hub,
        marketplace: market,
        pools,
        apps,
        pool,
        ..
    } = *contracts;
    let to = |to: Address, data: Vec<u8>| vec![Input { to, data }];
    match *view {
        View::Wiring => [
            iexec_hub::RlcCall.encode(),
            iexec_hub::MarketplaceCall.encode(),
            iexec_hub::WorkerPoolHubCall.encode(),
            iexec_hub::AppHubCall.encode(),
            iexec_hub::DatasetHubCall.encode(),
        ]
        .map(|data| Input { to: hub, data })
        .into(),
        View::CategoriesCount => to(hub, iexec_hub::MCategoriesCountCall.encode()),
        View::Category { id } => to(hub, iexec_hub::MCategoriesCall { id: id.into() }.encode()),
        View::Balance { who } => to(hub, iexec_hub::CheckBalanceCall { owner: h160(who) }.encode()),
        View::Affiliation { worker } => {
            let worker = h160(worker);
            to(hub, iexec_hub::GetWorkerStatusCall { worker }.encode())
        }
        View::OrderRegistered { woid } => {
            to(hub, iexec_hub::IsWoidRegistredCall { woid: h160(woid) }.encode())
        }
        View::PoolRegistered { pool } => {
            let pool = h160(pool);
            to(pools, registry::IsWorkerPoolRegisteredCall { pool }.encode())
        }
        View::PoolsCount { owner } => {
            let owner = h160(owner);
            to(pools, registry::GetWorkerPoolsCountCall { owner }.encode())
        }
        View::PoolOf { owner, index } => {
            let (owner, index) = (h160(owner), index.into());
            to(pools, registry::GetWorkerPoolCall { owner, index }.encode())
        }
        View::AppsCount { owner } => to(apps, registry::GetAppsCountCall { owner: h160(owner) }.encode()),
        View::AppOf { owner, index } => {
            let (owner, index) = (h160(owner), index.into());
            to(apps, registry::GetAppCall { owner, index }.encode())
        }
        View::App { app: at } => [
            app::MAppNameCall.encode(),
            app::MAppPriceCall.encode(),
            app::MAppParamsCall.encode(),
            app::MOwnerCall.encode(),
        ]
        .map(|data| Input { to: at, data })
        .into(),
        View::Rlc { who } => to(token, rlc::BalanceOfCall { owner: h160(who) }.encode()),
        View::Allowance { who } => {
            let (owner, spender) = (h160(who), h160(hub));
            to(token, rlc::AllowanceCall { owner, spender }.encode())
        }
        View::MarketOrdersCount => to(market, marketplace::MOrderCountCall.encode()),
        View::MarketOrder { id } => to(market, marketplace::MOrderBookCall { id: id.into() }.encode()),
        View::CallbackDone { woid } => to(
            market,
            marketplace::IsCallbackDoneCall { woid: h160(woid) }.encode(),
        ),
        View::PoolOwner => to(pool, worker_pool::MOwnerCall.encode()),
        View::Policy => [
            worker_pool::MStakeRatioPolicyCall.encode(),
            worker_pool::MSchedulerRewardRatioPolicyCall.encode(),
            worker_pool::MSubscriptionMinimumStakePolicyCall.encode(),
            worker_pool::MSubscriptionMinimumScorePolicyCall.encode(),
            worker_pool::MSubscriptionLockStakePolicyCall.encode(),
        ]
        .map(|data| Input { to: pool, data })
        .into(),
        View::WorkersCount => to(pool, worker_pool::GetWorkersCountCall.encode()),
        View::Worker { index } => {
            let index = index.into();
            to(pool, worker_pool::GetWorkerAddressCall { index }.encode())
        }
        View::Consensus { woid } => to(pool, worker_pool::MConsensusCall { woid: h160(woid) }.encode()),
        View::Contribution { woid, worker } => {
            let (woid, worker) = (h160(woid), h160(worker));
            to(pool, worker_pool::MContributionsCall { woid, worker }.encode())
        }
        View::ContributorsCount { woid } => {
            let woid = h160(woid);
            to(pool, worker_pool::GetContributorsCountCall { woid }.encode())
        }
        View::Contributor { woid, index } => {
            let (woid, index) = (h160(woid), index.into());
            to(pool, worker_pool::GetContributorCall { woid, index }.encode())
        }
        View::WorkOrder { woid } => [
            work_order::MStatusCall.encode(),
            work_order::MMarketorderIdxCall.encode(),
            work_order::MWorkerpoolCall.encode(),
            work_order::MAppCall.encode(),
            work_order::MDatasetCall.encode(),
            work_order::MRequesterCall.encode(),
            work_order::MParamsCall.encode(),
            work_order::MCallbackCall.encode(),
            work_order::MBeneficiaryCall.encode(),
            work_order::MEmitcostCall.encode(),
        ]
        .map(|data| Input { to: woid, data })
        .into(),
        View::OrderStatus { woid } => to(woid, work_order::MStatusCall.encode()),
    }
}

/// What the answers to these questions say; `None` for what is not there.
pub(crate) fn answer(view: &View, answers: &[Vec<u8>]) -> Result<Option<Seen>, BadData> {
    // An address without a contract answers nothing at all. Of one that is there no answer is empty.
    if answers.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    decode(view, answers).map_err(|bad| bad.at(format_args!("{view:?}")))
}

fn decode(view: &View, answers: &[Vec<u8>]) -> Result<Option<Seen>, BadData> {
    let first = answers[0].as_slice();
    let seen = match *view {
        View::Wiring => Seen::Wiring(Wiring {
            rlc: whom(first, "rlc")?,
            marketplace: whom(&answers[1], "marketplace")?,
            pools: whom(&answers[2], "workerPoolHub")?,
            apps: whom(&answers[3], "appHub")?,
            datasets: whom(&answers[4], "datasetHub")?,
        }),
        View::CategoriesCount
        | View::PoolsCount { .. }
        | View::AppsCount { .. }
        | View::MarketOrdersCount
        | View::WorkersCount
        | View::ContributorsCount { .. } => Seen::Count(count(first, "the count")?),
        View::OrderRegistered { .. } | View::PoolRegistered { .. } | View::CallbackDone { .. } => {
            Seen::Yes(truth(first)?)
        }
        View::PoolOf { .. }
        | View::AppOf { .. }
        | View::PoolOwner
        | View::Worker { .. }
        | View::Contributor { .. } => match whom(first, "the address")? {
            wire_hub::NOBODY => return Ok(None),
            address => Seen::Address(address),
        },
        View::Rlc { .. } | View::Allowance { .. } => {
            Seen::Amount(money(returned(first, "the amount")?, "the amount")?)
        }
        View::Category { .. } => return category(first),
        View::Balance { .. } => {
            let it: iexec_hub::CheckBalanceReturn = returned(first, "checkBalance")?;
            Seen::Balance(Balance {
                stake: money(it.stake, "stake")?,
                locked: money(it.locked, "locked")?,
            })
        }
        View::Affiliation { .. } => {
            let it: iexec_hub::GetWorkerStatusReturn = returned(first, "getWorkerStatus")?;
            Seen::Affiliation(Affiliation {
                pool: address(it.worker_pool),
                score: number(it.worker_score, "workerScore")?,
            })
        }
        View::App { .. } => Seen::App(App {
            name: returned(first, "m_appName")?,
            price: money(returned(&answers[1], "m_appPrice")?, "m_appPrice")?,
            params: returned(&answers[2], "m_appParams")?,
            owner: whom(&answers[3], "m_owner")?,
        }),
        View::MarketOrder { id } => return market_order(id, first),
        View::Policy => Seen::Policy(Policy {
            stake_ratio: count(first, "m_stakeRatioPolicy")?,
            scheduler_reward_ratio: count(&answers[1], "m_schedulerRewardRatioPolicy")?,
            subscription_minimum_stake: money(
                returned(&answers[2], "m_subscriptionMinimumStakePolicy")?,
                "m_subscriptionMinimumStakePolicy",
            )?,
            subscription_minimum_score: count(&answers[3], "m_subscriptionMinimumScorePolicy")?,
            subscription_lock_stake: money(
                returned(&answers[4], "m_subscriptionLockStakePolicy")?,
                "m_subscriptionLockStakePolicy",
            )?,
        }),
        View::Consensus { .. } => return consensus(first),
        View::Contribution { .. } => {
            let it: worker_pool::MContributionsReturn = returned(first, "m_contributions")?;
            Seen::Contribution(Contribution {
                status: contribution_status(number(it.status, "status")?)?,
                result_hash: Hash(it.result_hash),
                result_sign: Hash(it.result_sign),
                score: number(it.score, "score")?,
                weight: number(it.weight, "weight")?,
            })
        }
        View::WorkOrder { woid } => Seen::WorkOrder(Box::new(work_order(woid, answers)?)),
        View::OrderStatus { .. } => Seen::Status(order_status(first)?),
    };
    Ok(Some(seen))
}

fn category(bytes: &[u8]) -> Result<Option<Seen>, BadData> {
    let it: iexec_hub::MCategoriesReturn = returned(bytes, "m_categories")?;
    if it.catid.is_zero() {
        return Ok(None);
    }
    Ok(Some(Seen::Category(Category {
        id: number(it.catid, "catid")?,
        name: it.name,
        period_s: number(it.work_clock_time_ref, "workClockTimeRef")?,
    })))
}

fn market_order(id: u64, bytes: &[u8]) -> Result<Option<Seen>, BadData> {
    let it: marketplace::MOrderBookReturn = returned(bytes, "m_orderBook")?;
    let status = match number(it.direction, "direction")? {
        0 => return Ok(None),
        2 => MarketStatus::Ask,
        3 => MarketStatus::Closed,
        other => {
            return Err(BadData::new(
                "direction",
                format!("{other} is no direction of an offer"),
            ));
        }
    };
    Ok(Some(Seen::MarketOrder(MarketOrder {
        id,
        status,
        category: number(it.category, "category")?,
        trust: trust(it.trust),
        value: money(it.value, "value")?,
        volume: number(it.volume, "volume")?,
        remaining: number(it.remaining, "remaining")?,
        workerpool: address(it.workerpool),
        workerpool_owner: address(it.workerpool_owner),
    })))
}

fn consensus(bytes: &[u8]) -> Result<Option<Seen>, BadData> {
    let it: worker_pool::MConsensusReturn = returned(bytes, "m_consensus")?;
    // The pool's contract gives each of its orders one, in the block that buys it.
    if it.consensus_timeout.is_zero() {
        return Ok(None);
    }
    Ok(Some(Seen::Consensus(Consensus {
        pool_reward: money(it.pool_reward, "poolReward")?,
        stake_amount: money(it.stake_amount, "stakeAmount")?,
        consensus: Hash(it.consensus),
        reveal_date: time(it.reveal_date, "revealDate")?,
        reveal_counter: number(it.reveal_counter, "revealCounter")?,
        consensus_timeout: time(it.consensus_timeout, "consensusTimeout")?,
        winner_count: number(it.winner_count, "winnerCount")?,
        scheduler_reward_ratio: number(it.scheduler_reward_ratio, "schedulerRewardRatio")?,
    })))
}

/// In the order of [`questions`].
fn work_order(woid: Address, answers: &[Vec<u8>]) -> Result<WorkOrder, BadData> {
    Ok(WorkOrder {
        woid,
        status: order_status(&answers[0])?,
        market_order: count(&answers[1], "m_marketorderIdx")?,
        workerpool: whom(&answers[2], "m_workerpool")?,
        app: whom(&answers[3], "m_app")?,
        dataset: whom(&answers[4], "m_dataset")?,
        requester: whom(&answers[5], "m_requester")?,
        params: returned(&answers[6], "m_params")?,
        callback: whom(&answers[7], "m_callback")?,
        beneficiary: whom(&answers[8], "m_beneficiary")?,
        emitcost: money(returned(&answers[9], "m_emitcost")?, "m_emitcost")?,
    })
}

fn order_status(bytes: &[u8]) -> Result<OrderStatus, BadData> {
    Ok(match count(bytes, "m_status")? {
        0 => OrderStatus::Unset,
        1 => OrderStatus::Active,
        2 => OrderStatus::Revealing,
        3 => OrderStatus::Claimed,
        4 => OrderStatus::Completed,
        other => {
            return Err(BadData::new(
                "m_status",
                format!("{other} is no status of an order"),
            ));
        }
    })
}

fn contribution_status(number: u64) -> Result<ContributionStatus, BadData> {
    Ok(match number {
        0 => ContributionStatus::Unset,
        1 => ContributionStatus::Authorized,
        2 => ContributionStatus::Contributed,
        3 => ContributionStatus::Proved,
        4 => ContributionStatus::Rejected,
        other => {
            let problem = format!("{other} is no status of a contribution");
            return Err(BadData::new("status", problem));
        }
    })
}

fn truth(bytes: &[u8]) -> Result<bool, BadData> {
    let what = "the truth value";
    match count(bytes, what)? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(BadData::new(what, format!("{other} is neither 0 nor 1"))),
    }
}

fn whom(bytes: &[u8], what: &'static str) -> Result<Address, BadData> {
    returned::<H160>(bytes, what).map(address)
}

fn count(bytes: &[u8], what: &'static str) -> Result<u64, BadData> {
    number(returned::<U256>(bytes, what)?, what)
}

#[cfg(test)]
#[path = "view/tests.rs"]
mod tests;
