//! Orders from the offer to the money.

use devnet::Devnet;
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{
    Address, Call, ContributionStatus, Event, MarketStatus, NOBODY, OrderStatus, Policy, Rlc, result_hash,
};
use wire_wallet::Wallet;

use crate::support::*;

#[tokio::test]
async fn a_worker_alone_gets_all_but_the_pools_percentage() {
    let (devnet, app) = pool(1).await;
    let worker = &devnet.workers()[0];
    let woid = order(&devnet, app).await;
    assert_eq!(balance(&devnet, devnet.scheduler()).await, has(999_700, 300));
    assert_eq!(balance(&devnet, devnet.requester()).await, has(998_993, 1_007));
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, worker, RESULT).await;
    assert_eq!(balance(&devnet, worker).await, has(999_690, 310));
    consensus(&devnet, woid, RESULT).await;
    assert_eq!(work_order(&devnet, woid).await.status, OrderStatus::Revealing);
    reveal(&devnet, woid, worker, RESULT).await;
    let receipt = finalized(&devnet, woid).await;
    let (scheduler, whose) = (devnet.scheduler().address(), worker.address());
    let told = events(&receipt);
    for event in [
        Event::AccurateContribution { woid, worker: whose },
        Event::Reward {
            user: whose,
            amount: Rlc(990),
        },
        Event::Reward {
            user: scheduler,
            amount: Rlc(10),
        },
        Event::FinalizeWork {
            woid,
            stdout: "out".into(),
            stderr: "err".into(),
            uri: "ipfs:x".into(),
        },
    ] {
        assert!(told.contains(&event), "{event:?} is not among {told:?}");
    }
    assert_eq!(balance(&devnet, worker).await, has(1_000_980, 10));
    assert_eq!(balance(&devnet, devnet.scheduler()).await, has(1_000_010, 0));
    assert_eq!(balance(&devnet, devnet.requester()).await, has(998_993, 0));
    assert_eq!(work_order(&devnet, woid).await.status, OrderStatus::Completed);
}

/// The example of the reference: three contribute the same, and one shows it.
#[tokio::test]
async fn who_does_not_show_its_result_pays_who_does() {
    let (devnet, app) = pool(3).await;
    let workers = &devnet.workers()[..3];
    let woid = decided(&devnet, app, workers).await;
    reveal(&devnet, woid, &workers[0], RESULT).await;
    // Not all have revealed, and their time is not over.
    let early = devnet
        .send(&finalize(woid), devnet.scheduler())
        .await
        .expect("mined");
    assert!(!early.succeeded);
    devnet.warp(61).await.expect("time");
    let told = events(&finalized(&devnet, woid).await);
    for loser in &workers[1..] {
        let worker = loser.address();
        assert!(
            told.contains(&Event::FaultyContribution { woid, worker }),
            "{told:?}"
        );
        assert!(
            told.contains(&Event::Seize {
                user: worker,
                amount: Rlc(300)
            }),
            "{told:?}"
        );
        assert_eq!(balance(&devnet, loser).await, has(999_690, 10));
    }
    assert_eq!(balance(&devnet, &workers[0]).await, has(1_001_574, 10));
    assert_eq!(balance(&devnet, devnet.scheduler()).await, has(1_000_016, 0));
}

#[tokio::test]
async fn three_that_agree_share() {
    let (devnet, app) = pool(3).await;
    let workers = &devnet.workers()[..3];
    let woid = decided(&devnet, app, workers).await;
    for worker in workers {
        reveal(&devnet, woid, worker, RESULT).await;
    }
    finalized(&devnet, woid).await;
    for worker in workers {
        assert_eq!(balance(&devnet, worker).await, has(1_000_320, 10));
    }
    assert_eq!(balance(&devnet, devnet.scheduler()).await, has(1_000_010, 0));
}

#[tokio::test]
async fn an_order_that_nobody_revealed_is_opened_again_for_others() {
    let (devnet, app) = pool(2).await;
    let [first, second] = [0, 1].map(|at| &devnet.workers()[at]);
    let woid = order(&devnet, app).await;
    allow(&devnet, woid, &devnet.workers()[..2]).await;
    contribute(&devnet, woid, first, WRONG).await;
    consensus(&devnet, woid, WRONG).await;
    devnet.warp(61).await.expect("time");
    let reopened = devnet
        .done(&Call::Reopen { woid }, devnet.scheduler())
        .await
        .expect("reopened");
    assert_eq!(events(&reopened), [Event::Reopen { woid }]);
    assert_eq!(status(&devnet, woid, first).await, ContributionStatus::Rejected);
    assert_eq!(
        status(&devnet, woid, second).await,
        ContributionStatus::Authorized
    );
    contribute(&devnet, woid, second, RESULT).await;
    consensus(&devnet, woid, RESULT).await;
    reveal(&devnet, woid, second, RESULT).await;
    assert_eq!(status(&devnet, woid, second).await, ContributionStatus::Proved);
    finalized(&devnet, woid).await;
    // 99 % of the value and of what the first has lost.
    assert_eq!(balance(&devnet, second).await, has(1_001_277, 10));
    assert_eq!(balance(&devnet, first).await, has(999_690, 10));
    let contributors = devnet.node().contributors(woid, reopened.block).await;
    assert_eq!(known(contributors), [first.address()]);
}

#[tokio::test]
async fn an_order_that_is_too_late_is_claimed_by_its_requester_and_the_pool_pays() {
    let (devnet, app) = pool(1).await;
    let worker = &devnet.workers()[0];
    let woid = order(&devnet, app).await;
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, worker, RESULT).await;
    let claim = Call::ClaimFailedConsensus { woid };
    let early = devnet.send(&claim, devnet.requester()).await.expect("mined");
    assert!(!early.succeeded);
    devnet.warp(301).await.expect("time");
    let receipt = devnet.done(&claim, devnet.requester()).await.expect("claimed");
    assert!(events(&receipt).contains(&Event::WorkOrderClaimed { woid }));
    assert_eq!(work_order(&devnet, woid).await.status, OrderStatus::Claimed);
    assert_eq!(balance(&devnet, worker).await, has(999_990, 10));
    assert_eq!(balance(&devnet, devnet.requester()).await, has(1_000_000, 0));
    assert_eq!(balance(&devnet, devnet.scheduler()).await, has(999_700, 0));
}

#[tokio::test]
async fn a_requester_that_wants_it_is_called_back_once() {
    let (devnet, app) = pool(1).await;
    let worker = &devnet.workers()[0];
    let callback = devnet
        .create_callback(devnet::Callback::Takes)
        .await
        .expect("a contract");
    let offer = devnet.sell(CATEGORY, 0, Rlc(1_000), 1).await.expect("an offer");
    let woid = devnet.buy(offer, app, "", callback).await.expect("an order");
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, worker, RESULT).await;
    consensus(&devnet, woid, RESULT).await;
    reveal(&devnet, woid, worker, RESULT).await;
    finalized(&devnet, woid).await;
    let call = |uri: &str| Call::WorkOrderCallback {
        woid,
        stdout: "out".into(),
        stderr: "err".into(),
        uri: uri.into(),
    };
    assert!(
        !devnet
            .send(&call("another"), worker)
            .await
            .expect("mined")
            .succeeded
    );
    let done = devnet.done(&call("ipfs:x"), worker).await.expect("called back");
    assert_eq!(events(&done), [Event::WorkOrderCallbackProof { woid }]);
    let seen = devnet.node().look(View::CallbackDone { woid }, At::Latest).await;
    assert_eq!(known(seen), Seen::Yes(true));
    assert!(
        !devnet
            .send(&call("ipfs:x"), worker)
            .await
            .expect("mined")
            .succeeded
    );
}

/// Every event of the pool's contract, in the order of the chain and by its address alone.
#[tokio::test]
async fn a_filter_on_the_pool_alone_tells_an_orders_life() {
    let (devnet, app) = pool(2).await;
    let (scheduler, [first, second]) = (
        devnet.scheduler(),
        [0, 1].map(|at| devnet.workers()[at].address()),
    );
    let woid = order(&devnet, app).await;
    allow(&devnet, woid, &devnet.workers()[..2]).await;
    contribute(&devnet, woid, &devnet.workers()[0], RESULT).await;
    consensus(&devnet, woid, RESULT).await;
    reveal(&devnet, woid, &devnet.workers()[0], RESULT).await;
    finalized(&devnet, woid).await;
    let policy = Policy {
        stake_ratio: 20,
        scheduler_reward_ratio: 5,
        subscription_minimum_stake: Rlc(10),
        subscription_minimum_score: 0,
        subscription_lock_stake: Rlc(10),
    };
    devnet
        .done(&Call::ChangeWorkerPoolPolicy { policy }, scheduler)
        .await
        .expect("changed");
    devnet
        .done(&Call::EvictWorker { worker: first }, scheduler)
        .await
        .expect("evicted");
    devnet
        .done(&Call::UnsubscribeFromPool, &devnet.workers()[1])
        .await
        .expect("left");
    let head = known(devnet.node().head().await);
    let logs = known(devnet.node().logs(0..=head.at.number).await);
    let told: Vec<Event> = logs.iter().map(|log| log.event.clone()).collect();
    let hash = result_hash(RESULT);
    assert_eq!(
        told,
        [
            Event::WorkerSubscribe { worker: first },
            Event::WorkerSubscribe { worker: second },
            Event::WorkOrderActive { woid },
            Event::AllowWorkerToContribute {
                woid,
                worker: first,
                score: 0
            },
            Event::AllowWorkerToContribute {
                woid,
                worker: second,
                score: 0
            },
            Event::Contribute {
                woid,
                worker: first,
                result_hash: hash
            },
            Event::RevealConsensus {
                woid,
                consensus: hash
            },
            Event::Reveal {
                woid,
                worker: first,
                result: RESULT
            },
            Event::FinalizeWork {
                woid,
                stdout: "out".into(),
                stderr: "err".into(),
                uri: "ipfs:x".into()
            },
            Event::WorkerPoolPolicyUpdate,
            Event::WorkerEviction { worker: first },
            Event::WorkerUnsubscribe { worker: second },
        ]
    );
    // The same by the block alone.
    for log in &logs {
        let of_block = known(devnet.node().logs_of(log.place.block).await);
        assert!(of_block.contains(log), "{log:?}");
    }
    assert_eq!(
        known(devnet.node().look(View::Policy, At::Latest).await),
        Seen::Policy(policy)
    );
}

/// An order of which these have contributed the same, that is to be revealed.
async fn decided(devnet: &Devnet, app: Address, workers: &[Wallet]) -> Address {
    let woid = order(devnet, app).await;
    allow(devnet, woid, workers).await;
    for worker in workers {
        contribute(devnet, woid, worker, RESULT).await;
    }
    consensus(devnet, woid, RESULT).await;
    woid
}

async fn status(devnet: &Devnet, woid: Address, worker: &Wallet) -> ContributionStatus {
    let mut all = devnet
        .node()
        .contributions(woid, &[worker.address()], At::Latest)
        .await;
    known(all.remove(0)).status
}

/// What is offered, bought, taken back and drawn out leaves its trace in the receipts.
#[tokio::test]
async fn offers_and_stake_are_taken_back() {
    let (devnet, app) = pool(0).await;
    let (scheduler, requester) = (devnet.scheduler(), devnet.requester());
    let offer = devnet.sell(CATEGORY, 3, Rlc(1_000), 4).await.expect("an offer");
    assert_eq!(balance(&devnet, scheduler).await, has(998_800, 1_200));
    let buy = Call::BuyForWorkOrder {
        market_order: offer,
        app,
        dataset: NOBODY,
        params: "params".to_owned(),
        callback: NOBODY,
        beneficiary: scheduler.address(),
    };
    let told = events(&devnet.done(&buy, requester).await.expect("bought"));
    let consumed = Event::MarketOrderAskConsume {
        market_order: offer,
        requester: requester.address(),
    };
    assert!(
        matches!(told[..], [ref first, Event::WorkOrderActive { .. }] if *first == consumed),
        "{told:?}"
    );
    let close = Call::CloseMarketOrder { market_order: offer };
    let told = events(&devnet.done(&close, scheduler).await.expect("closed"));
    assert_eq!(told, [Event::MarketOrderClosed { market_order: offer }]);
    let Seen::MarketOrder(closed) = known(
        devnet
            .node()
            .look(View::MarketOrder { id: offer }, At::Latest)
            .await,
    ) else {
        panic!("an offer");
    };
    assert_eq!((closed.status, closed.remaining), (MarketStatus::Closed, 3));
    // What was bought stays locked.
    assert_eq!(balance(&devnet, scheduler).await, has(999_700, 300));
    assert!(!devnet.send(&buy, requester).await.expect("mined").succeeded);
    let amount = Rlc(999_700);
    devnet
        .done(&Call::Withdraw { amount }, scheduler)
        .await
        .expect("drawn out");
    assert_eq!(balance(&devnet, scheduler).await, has(0, 300));
    assert_eq!(
        known(devnet.node().rlc(scheduler.address(), At::Latest).await),
        amount
    );
}
