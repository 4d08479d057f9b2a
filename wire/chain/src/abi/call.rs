//! What contracts are told.

use ethers_core::abi::AbiEncode;
use ethers_core::types::{H160, U256};
use wire_hub::{Address, Call, Policy};

use super::bindings::{iexec_hub, marketplace, registry, rlc, worker_pool};
use super::convert::{h160, u256};
use crate::{Contracts, Input, Setup};

/// `MarketOrderDirectionEnum.ASK`; there is no other that can be created.
const ASK: u8 = 2;

/// Orders that want an enclave are not ours to do.
const NO_ENCLAVE: H160 = H160([0; 20]);

pub(crate) fn encode(contracts: &Contracts, call: &Call) -> Input {
    let data = match call.clone() {
        Call::Approve { amount } => rlc::ApproveCall {
            spender: h160(contracts.hub),
            value: u256(amount),
        }
        .encode(),
        Call::Deposit { amount } => iexec_hub::DepositCall { amount: u256(amount) }.encode(),
        Call::Withdraw { amount } => iexec_hub::WithdrawCall { amount: u256(amount) }.encode(),
        Call::CreateWorkerPool {
            description,
            subscription_lock_stake,
            subscription_minimum_stake,
            subscription_minimum_score,
        } => iexec_hub::CreateWorkerPoolCall {
            description,
            subscription_lock_stake: u256(subscription_lock_stake),
            subscription_minimum_stake: u256(subscription_minimum_stake),
            subscription_minimum_score: subscription_minimum_score.into(),
        }
        .encode(),
        Call::BuyForWorkOrder {
            market_order,
            app,
            dataset,
            params,
            callback,
            beneficiary,
        } => iexec_hub::BuyForWorkOrderCall {
            marketorder_idx: market_order.into(),
            workerpool: h160(contracts.pool),
            app: h160(app),
            dataset: h160(dataset),
            params,
            callback: h160(callback),
            beneficiary: h160(beneficiary),
        }
        .encode(),
        Call::ClaimFailedConsensus { woid } => {
            iexec_hub::ClaimFailedConsensusCall { woid: h160(woid) }.encode()
        }
        Call::CreateMarketOrder {
            category,
            trust,
            value,
            volume,
        } => marketplace::CreateMarketOrderCall {
            direction: ASK,
            category: category.into(),
            trust: trust.0.into(),
            value: u256(value),
            workerpool: h160(contracts.pool),
            volume: volume.into(),
        }
        .encode(),
        Call::CloseMarketOrder { market_order } => marketplace::CloseMarketOrderCall {
            id: market_order.into(),
        }
        .encode(),
        Call::WorkOrderCallback {
            woid,
            stdout,
            stderr,
            uri,
        } => marketplace::WorkOrderCallbackCall {
            woid: h160(woid),
            stdout,
            stderr,
            uri,
        }
        .encode(),
        other => encode_for_pool(other),
    };
    Input {
        to: receiver(contracts, call),
        data,
    }
}

/// The calls to the pool's own contract.
fn encode_for_pool(call: Call) -> Vec<u8> {
    match call {
        Call::ChangeWorkerPoolPolicy { policy } => {
            let Policy {
                stake_ratio,
                scheduler_reward_ratio,
                subscription_minimum_stake,
                subscription_minimum_score,
                subscription_lock_stake: _,
            } = policy;
            worker_pool::ChangeWorkerPoolPolicyCall {
                stake_ratio: stake_ratio.into(),
                scheduler_reward_ratio: scheduler_reward_ratio.into(),
                subscription_minimum_stake: u256(subscription_minimum_stake),
                subscription_minimum_score: subscription_minimum_score.into(),
            }
            .encode()
        }
        Call::AllowWorkersToContribute { woid, workers } => worker_pool::AllowWorkersToContributeCall {
            woid: h160(woid),
            workers: workers.into_iter().map(h160).collect(),
            enclave_challenge: NO_ENCLAVE,
        }
        .encode(),
        Call::RevealConsensus { woid, consensus } => worker_pool::RevealConsensusCall {
            woid: h160(woid),
            consensus: consensus.0,
        }
        .encode(),
        Call::Reopen { woid } => worker_pool::ReopenCall { woid: h160(woid) }.encode(),
        Call::FinalizeWork {
            woid,
            stdout,
            stderr,
            uri,
        } => worker_pool::FinalizeWorkCall {
            woid: h160(woid),
            stdout,
            stderr,
            uri,
        }
        .encode(),
        Call::EvictWorker { worker } => worker_pool::EvictWorkerCall { worker: h160(worker) }.encode(),
        Call::SubscribeToPool => worker_pool::SubscribeToPoolCall.encode(),
        Call::UnsubscribeFromPool => worker_pool::UnsubscribeFromPoolCall.encode(),
        Call::Contribute {
            woid,
            result_hash,
            result_sign,
        } => worker_pool::ContributeCall {
            woid: h160(woid),
            result_hash: result_hash.0,
            result_sign: result_sign.0,
            v: 0,
            r: [0; 32],
            s: [0; 32],
        }
        .encode(),
        Call::Reveal { woid, result } => worker_pool::RevealCall {
            woid: h160(woid),
            result: result.0,
        }
        .encode(),
        other => unreachable!("{other:?} is not for the pool"),
    }
}

fn receiver(contracts: &Contracts, call: &Call) -> Address {
    match call {
        Call::Approve { .. } => contracts.rlc,
        Call::Deposit { .. }
        | Call::Withdraw { .. }
        | Call::CreateWorkerPool { .. }
        | Call::BuyForWorkOrder { .. }
        | Call::ClaimFailedConsensus { .. } => contracts.hub,
        Call::CreateMarketOrder { .. } | Call::CloseMarketOrder { .. } | Call::WorkOrderCallback { .. } => {
            contracts.marketplace
        }
        Call::ChangeWorkerPoolPolicy { .. }
        | Call::AllowWorkersToContribute { .. }
        | Call::RevealConsensus { .. }
        | Call::Reopen { .. }
        | Call::FinalizeWork { .. }
        | Call::EvictWorker { .. }
        | Call::SubscribeToPool
        | Call::UnsubscribeFromPool
        | Call::Contribute { .. }
        | Call::Reveal { .. } => contracts.pool,
    }
}

pub(crate) fn encode_setup(contracts: &Contracts, setup: &Setup) -> Input {
    let hub = contracts.hub;
    let (to, data) = match setup.clone() {
        Setup::SetImmutableOwnership { of, owner } => {
            let owner = h160(owner);
            (of, registry::SetImmutableOwnershipCall { owner }.encode())
        }
        Setup::AttachContracts => (
            hub,
            iexec_hub::AttachContractsCall {
                token: h160(contracts.rlc),
                marketplace: h160(contracts.marketplace),
                worker_pool_hub: h160(contracts.pools),
                app_hub: h160(contracts.apps),
                dataset_hub: h160(contracts.datasets),
            }
            .encode(),
        ),
        Setup::SetCategoriesCreator { creator } => {
            let creator = h160(creator);
            (hub, iexec_hub::SetCategoriesCreatorCall { creator }.encode())
        }
        Setup::CreateCategory {
            name,
            description,
            period_s,
        } => (
            hub,
            iexec_hub::CreateCategoryCall {
                name,
                description,
                work_clock_time_ref: period_s.into(),
            }
            .encode(),
        ),
        Setup::CreateApp { name, price, params } => {
            let price = U256::from(price);
            (hub, iexec_hub::CreateAppCall { name, price, params }.encode())
        }
        Setup::CreateDataset { name, price, params } => {
            let price = U256::from(price);
            (hub, iexec_hub::CreateDatasetCall { name, price, params }.encode())
        }
        Setup::Transfer { to, amount } => {
            let (to, value) = (h160(to), amount.into());
            (contracts.rlc, rlc::TransferCall { to, value }.encode())
        }
    };
    Input { to, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_hub::{Hash, NOBODY, Rlc, Trust};

    /// Each call, whom it goes to, and the selector that deployed contracts know it by.
    #[test]
    fn calls_have_the_selectors_of_the_deployed_contracts() {
        let (woid, worker) = (Address([8; 20]), Address([9; 20]));
        let (amount, hash) = (Rlc(5), Hash([10; 32]));
        let text = || "x".to_owned();
        let policy = Policy {
            stake_ratio: 30,
            scheduler_reward_ratio: 1,
            subscription_minimum_stake: amount,
            subscription_minimum_score: 0,
            subscription_lock_stake: amount,
        };
        let finalize = Call::FinalizeWork {
            woid,
            stdout: text(),
            stderr: text(),
            uri: text(),
        };
        let callback = Call::WorkOrderCallback {
            woid,
            stdout: text(),
            stderr: text(),
            uri: text(),
        };
        let create_pool = Call::CreateWorkerPool {
            description: text(),
            subscription_lock_stake: amount,
            subscription_minimum_stake: amount,
            subscription_minimum_score: 0,
        };
        let sell = Call::CreateMarketOrder {
            category: 1,
            trust: Trust(2),
            value: amount,
            volume: 3,
        };
        let buy = Call::BuyForWorkOrder {
            market_order: 1,
            app: woid,
            dataset: NOBODY,
            params: text(),
            callback: NOBODY,
            beneficiary: worker,
        };
        let contribute = Call::Contribute {
            woid,
            result_hash: hash,
            result_sign: hash,
        };
        let allow = Call::AllowWorkersToContribute {
            woid,
            workers: vec![worker],
        };
        for (call, to, selector) in [
            (Call::Approve { amount }, 1, 0x095e_a7b3_u32),
            (Call::Deposit { amount }, 2, 0xb6b5_5f25),
            (Call::Withdraw { amount }, 2, 0x2e1a_7d4d),
            (create_pool, 2, 0x66de_5a4f),
            (buy, 2, 0x536e_2800),
            (Call::ClaimFailedConsensus { woid }, 2, 0x8986_9163),
            (sell, 3, 0xea0b_2590),
            (Call::CloseMarketOrder { market_order: 1 }, 3, 0x60f7_5f3b),
            (callback, 3, 0x514d_7067),
            (Call::ChangeWorkerPoolPolicy { policy }, 7, 0xef9c_b474),
            (Call::SubscribeToPool, 7, 0x0c6e_29e3),
            (Call::UnsubscribeFromPool, 7, 0xe653_ec6a),
            (Call::EvictWorker { worker }, 7, 0x8354_36b4),
            (allow, 7, 0x7c60_9885),
            (contribute, 7, 0x031e_e1c8),
            (
                Call::RevealConsensus {
                    woid,
                    consensus: hash,
                },
                7,
                0x16eb_f77d,
            ),
            (Call::Reveal { woid, result: hash }, 7, 0x5a62_8525),
            (Call::Reopen { woid }, 7, 0xff26_6d26),
            (finalize, 7, 0x0602_1e7e),
        ] {
            let Input { to: receiver, data } = Contracts::numbered().encode(&call);
            assert_eq!(receiver, Address([to; 20]), "{call:?}");
            assert_eq!(data[..4], selector.to_be_bytes(), "{call:?}");
            assert_eq!(data.len() % 32, 4, "{call:?}");
        }
    }

    #[test]
    fn amounts_stand_at_the_end_of_their_word() {
        let amount = Rlc(u128::MAX);
        let data = encode(&Contracts::numbered(), &Call::Deposit { amount }).data;
        assert_eq!(data[4..20], [0; 16]);
        assert_eq!(data[20..], [0xff; 16]);
    }
}
