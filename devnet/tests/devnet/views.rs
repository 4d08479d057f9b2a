//! What the contracts keep, asked of them.

use wire_chain::{Answer, App, At, Chain, Seen, View, Why, Wiring};

use wire_hub::{
    Address, Affiliation, BlockRef, Call, Category, Consensus, Contribution, ContributionStatus, Hash,
    MarketOrder, MarketStatus, NOBODY, OrderStatus, Policy, Rlc, Trust, WorkOrder,
};

use crate::support::*;

const STRANGER: Address = Address([0xab; 20]);

/// Every view, of what is there and of what is not.
#[tokio::test]
async fn each_view_is_answered() {
    let (devnet, app) = pool(2).await;
    let contracts = *devnet.contracts();
    let [owner, scheduler, requester] =
        [devnet.owner(), devnet.scheduler(), devnet.requester()].map(|w| w.address());
    let [first, second] = [0, 1].map(|at| devnet.workers()[at].address());
    let offer = devnet.sell(2, 5, Rlc(1_000), 3).await.expect("an offer");
    // Not all parameters are text.
    let woid = devnet
        .buy(offer, app, "p \u{1f600} \"x\"", STRANGER)
        .await
        .expect("an order");
    allow(&devnet, woid, &devnet.workers()[..2]).await;
    let receipt = contribute(&devnet, woid, &devnet.workers()[0], RESULT).await;
    let bought = known(devnet.node().look(View::Consensus { woid }, At::Latest).await);
    let Seen::Consensus(Consensus {
        consensus_timeout, ..
    }) = bought
    else {
        panic!("{bought:?}");
    };
    let policy = Policy {
        stake_ratio: 30,
        scheduler_reward_ratio: 1,
        subscription_minimum_stake: Rlc(10),
        subscription_minimum_score: 0,
        subscription_lock_stake: Rlc(10),
    };
    let commitment = wire_hub::Commitment::of(RESULT, first);
    let order = WorkOrder {
        woid,
        market_order: offer,
        workerpool: contracts.pool,
        app,
        dataset: NOBODY,
        requester,
        params: "p \u{1f600} \"x\"".to_owned(),
        callback: STRANGER,
        beneficiary: requester,
        emitcost: Rlc(7),
        status: OrderStatus::Active,
    };
    let there = [
        (
            View::Wiring,
            Seen::Wiring(Wiring {
                rlc: contracts.rlc,
                marketplace: contracts.marketplace,
                pools: contracts.pools,
                apps: contracts.apps,
                datasets: contracts.datasets,
            }),
        ),
        (View::CategoriesCount, Seen::Count(5)),
        (
            View::Category { id: 2 },
            Seen::Category(Category {
                id: 2,
                name: "category 2".to_owned(),
                period_s: 120,
            }),
        ),
        (View::Balance { who: first }, Seen::Balance(has(999_690, 310))),
        (View::Balance { who: STRANGER }, Seen::Balance(has(0, 0))),
        (
            View::Affiliation { worker: first },
            Seen::Affiliation(Affiliation {
                pool: contracts.pool,
                score: 0,
            }),
        ),
        (
            View::Affiliation { worker: STRANGER },
            Seen::Affiliation(Affiliation {
                pool: NOBODY,
                score: 0,
            }),
        ),
        (View::OrderRegistered { woid }, Seen::Yes(true)),
        (View::OrderRegistered { woid: STRANGER }, Seen::Yes(false)),
        (View::PoolRegistered { pool: contracts.pool }, Seen::Yes(true)),
        (View::PoolRegistered { pool: contracts.hub }, Seen::Yes(false)),
        (View::PoolsCount { owner: scheduler }, Seen::Count(1)),
        (
            View::PoolOf {
                owner: scheduler,
                index: 1,
            },
            Seen::Address(contracts.pool),
        ),
        (View::AppsCount { owner }, Seen::Count(1)),
        (View::AppOf { owner, index: 1 }, Seen::Address(app)),
        (
            View::App { app },
            Seen::App(App {
                name: "an app".to_owned(),
                price: Rlc(7),
                params: r#"{"type":"DOCKER","envvars":"XWDOCKERIMAGE=busybox"}"#.to_owned(),
                owner,
            }),
        ),
        (View::Rlc { who: first }, Seen::Amount(Rlc(0))),
        (View::Allowance { who: first }, Seen::Amount(Rlc(0))),
        (View::MarketOrdersCount, Seen::Count(offer)),
        (
            View::MarketOrder { id: offer },
            Seen::MarketOrder(MarketOrder {
                id: offer,
                status: MarketStatus::Ask,
                category: 2,
                trust: Trust(5),
                value: Rlc(1_000),
                volume: 3,
                remaining: 2,
                workerpool: contracts.pool,
                workerpool_owner: scheduler,
            }),
        ),
        (View::CallbackDone { woid }, Seen::Yes(false)),
        (View::PoolOwner, Seen::Address(scheduler)),
        (View::Policy, Seen::Policy(policy)),
        (View::WorkersCount, Seen::Count(2)),
        (View::Worker { index: 1 }, Seen::Address(second)),
        (
            View::Consensus { woid },
            Seen::Consensus(Consensus {
                pool_reward: Rlc(1_000),
                stake_amount: Rlc(300),
                consensus_timeout,
                scheduler_reward_ratio: 1,
                ..Consensus::default()
            }),
        ),
        (
            View::Contribution { woid, worker: first },
            Seen::Contribution(Contribution {
                status: ContributionStatus::Contributed,
                result_hash: commitment.hash,
                result_sign: commitment.sign,
                score: 0,
                weight: 0,
            }),
        ),
        (
            View::Contribution {
                woid,
                worker: STRANGER,
            },
            Seen::Contribution(Contribution::default()),
        ),
        (View::ContributorsCount { woid }, Seen::Count(1)),
        (View::Contributor { woid, index: 0 }, Seen::Address(first)),
        (View::WorkOrder { woid }, Seen::WorkOrder(Box::new(order))),
        (View::OrderStatus { woid }, Seen::Status(OrderStatus::Active)),
    ];
    let views = there.each_ref().map(|(view, _)| *view);
    for at in [At::Latest, At::Block(receipt.block)] {
        for ((view, expected), answer) in there.iter().zip(devnet.node().see(&views, at).await) {
            assert_eq!(known(answer), *expected, "{view:?}");
        }
    }
    let absent = [
        View::Category { id: 6 },
        View::PoolOf {
            owner: scheduler,
            index: 2,
        },
        View::App { app: STRANGER },
        View::MarketOrder { id: offer + 1 },
        View::Consensus { woid: STRANGER },
        View::WorkOrder { woid: STRANGER },
        View::OrderStatus { woid: STRANGER },
    ];
    for (view, answer) in absent.iter().zip(devnet.node().see(&absent, At::Latest).await) {
        assert_eq!(answer, Answer::Absent, "{view:?}");
    }
    let beyond = devnet
        .node()
        .look(View::Contributor { woid, index: 1 }, At::Latest)
        .await;
    assert!(matches!(beyond, Answer::Unknown(Why::Reverted(_))), "{beyond:?}");
    assert_eq!(known(devnet.node().workers(receipt.block).await), [first, second]);
    assert_eq!(
        known(devnet.node().contributors(woid, receipt.block).await),
        [first]
    );
}

/// Each block keeps its own state.
#[tokio::test]
async fn a_view_is_of_the_block_that_was_asked_about() {
    let (devnet, app) = pool(1).await;
    let before = known(devnet.node().head().await);
    let woid = order(&devnet, app).await;
    let bought = known(devnet.node().head().await);
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, &devnet.workers()[0], RESULT).await;
    consensus(&devnet, woid, RESULT).await;
    let node = devnet.node();
    let status = View::OrderStatus { woid };
    assert_eq!(node.look(status, At::Block(before.at)).await, Answer::Absent);
    assert_eq!(
        known(node.look(status, At::Block(bought.at)).await),
        Seen::Status(OrderStatus::Active)
    );
    assert_eq!(
        known(node.look(status, At::Latest).await),
        Seen::Status(OrderStatus::Revealing)
    );
    let who = devnet.scheduler().address();
    let coins = known(node.ether(who, At::Block(bought.at)).await);
    assert!(
        known(node.ether(who, At::Latest).await) < coins,
        "gas was paid since"
    );
    assert_eq!(node.code(woid, At::Block(before.at)).await, Answer::Absent);
    assert_eq!(known(node.code(woid, At::Latest).await).len(), 2_671);
    // One that nobody has made.
    let nowhere = At::Block(BlockRef {
        hash: Hash([3; 32]),
        ..bought.at
    });
    for answer in [
        node.look(status, nowhere).await,
        node.look(View::PoolOwner, nowhere).await,
    ] {
        assert!(matches!(answer, Answer::Unknown(Why::Gone(_))), "{answer:?}");
    }
    assert_eq!(node.block(1_000_000).await, Answer::Absent);
    assert_eq!(node.block_of(Hash([3; 32])).await, Answer::Absent);
    assert_eq!(node.receipt(Hash([3; 32])).await, Answer::Absent);
    assert_eq!(node.transaction(Hash([3; 32])).await, Answer::Absent);
}

#[tokio::test]
async fn fees_follow_the_chain() {
    let devnet = chain().await;
    let base = wire_hub::Wei(77_000_000_000);
    devnet.set_next_block_base_fee(base).await.expect("set");
    devnet.mine(1).await.expect("mined");
    assert_eq!(known(devnet.node().head().await).base_fee, Some(base));
    let fees = known(devnet.node().fees().await);
    // An empty block lowers the next base fee by an eighth.
    let expected = wire_hub::Wei(base.0 - base.0 / 8);
    assert!(
        matches!(fees, wire_chain::Fees::Market { base_fee, .. } if base_fee == expected),
        "{fees:?}"
    );
    devnet
        .done(&Call::Approve { amount: Rlc(1) }, devnet.scheduler())
        .await
        .expect("mined");
}
