//! Orders of which everybody does what it should.

use devnet::Callback;
use sidecars_reconcile::core::order::Texts;
use wire_chain::{At, Chain, Seen, Simulated, View};
use wire_hub::{Address, Call, MarketStatus, NOBODY, OrderStatus, Rlc};

use super::USUAL;
use crate::kit::{Ending, HONEST, Pool, has, liar};

/// The worker gets all but the pool's percentage, and a point.
#[tokio::test]
async fn h1_one_worker_does_an_order() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.order(0).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
    assert_eq!(pool.pool_has().await, has(1_000_010, 0));
    assert_eq!(pool.requester_has().await, has(998_993, 0));
    assert_eq!((pool.score(0).await, pool.history().await), (1, (1, 0)));
    assert_eq!(pool.steps().await, USUAL);
    assert!(pool.members[0].was_paid(990));
}

/// A worker's first point takes a slot of storage; those whose gas is in the reference had some.
const FIRST_POINT_GAS: u64 = 22_100;

/// So many agree and reveal; what rounding leaves is the pool's. Gas is that of the reference.
async fn quorum(workers: usize, trust: u128, each: u128, gas: u64) {
    let mut pool = Pool::new(workers, &[HONEST]).await;
    // Texts are stored and said, which costs gas.
    pool.engine.texts = Texts::default();
    pool.order(trust).await;
    pool.end(&[Ending::Completed]).await;
    for index in 0..workers {
        assert_eq!(pool.has(index).await, has(999_990 + each, 10));
        assert!(pool.members[index].was_paid(each));
    }
    let rest = 1_000 - each * workers as u128;
    assert_eq!(pool.pool_has().await, has(1_000_000 + rest, 0));
    assert_eq!(pool.history().await, (workers as u64, 0));
    assert_eq!(pool.steps().await, USUAL);
    let used = pool.gas("FinalizeWork").await;
    let known = gas..=gas + FIRST_POINT_GAS * workers as u64;
    assert!(
        known.contains(&used),
        "finalizeWork took {used}, {known:?} is known"
    );
}

#[tokio::test]
async fn h3_three_that_agree_share() {
    quorum(3, 5, 330, 394_000).await;
}

#[tokio::test]
async fn h5_five_that_agree_share() {
    quorum(5, 30, 198, 501_000).await;
}

#[tokio::test]
async fn h10_ten_that_agree_share() {
    quorum(10, 1_000, 99, 821_000).await;
}

/// An offer of three is sold in one block, closes by itself, and its stakes come free one by one.
#[tokio::test]
async fn h_v_three_works_of_one_offer_are_bought_in_one_block() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    let offer = pool.sell(0, 3).await;
    assert_eq!(pool.pool_has().await, has(999_100, 900));
    let mut purchases = Vec::new();
    for number in 0..3 {
        purchases.push(
            pool.post_purchase(offer, &format!("number {number}"), NOBODY)
                .await,
        );
    }
    pool.round().await;
    let mut woids = Vec::new();
    for purchase in purchases {
        woids.push(pool.bought(purchase).await.expect("all in this block"));
    }
    woids.dedup();
    assert_eq!(woids.len(), 3);
    let seen = pool
        .devnet
        .node()
        .look(View::MarketOrder { id: offer }, At::Latest)
        .await;
    let Ok(Some(Seen::MarketOrder(sold))) = seen.found() else {
        panic!("an offer")
    };
    assert_eq!((sold.status, sold.remaining), (MarketStatus::Closed, 0));
    let mut locked = vec![pool.pool_has().await.locked];
    while locked.last() != Some(&Rlc(0)) {
        pool.round().await;
        let now = pool.pool_has().await.locked;
        assert!(locked.last() >= Some(&now));
        locked.push(now);
    }
    assert_eq!(locked.first(), Some(&Rlc(900)));
    assert!(locked.iter().all(|locked| locked.0 % 300 == 0));
    pool.end(&[Ending::Completed; 3]).await;
    assert_eq!(pool.pool_has().await, has(1_000_030, 0));
}

fn told(woid: Address, uri: &str) -> Call {
    Call::WorkOrderCallback {
        woid,
        stdout: "out".into(),
        stderr: String::new(),
        uri: uri.into(),
    }
}

fn texts() -> Texts {
    Texts {
        stdout: "out".into(),
        stderr: "a warning".into(),
        uri: "xw://s/1".into(),
    }
}

/// The requester's contract bought the work, and is given the result once.
#[tokio::test]
async fn h_c_the_requesters_contract_is_called_back_once() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.engine.texts = texts();
    let offer = pool.sell(0, 1).await;
    pool.devnet.set_automine(true).await.expect("anvil");
    let api = pool.devnet.create_api(Rlc(10_000)).await.expect("a contract");
    let app = pool.app;
    let woid = pool
        .devnet
        .buy_by_api(api, offer, app, "", true)
        .await
        .expect("an order");
    pool.devnet.set_automine(false).await.expect("anvil");
    pool.requesters.push(api);
    pool.remember_deposits().await;
    let requester = pool.devnet.requester().address();
    pool.until_status(woid, OrderStatus::Completed).await;
    // Before it is told: nobody else's words are taken.
    let simulated = pool
        .devnet
        .node()
        .simulate(&told(woid, "xw://s/2"), requester)
        .await;
    assert!(matches!(simulated.found(), Ok(Some(Simulated::Reverts(_)))));
    pool.end(&[Ending::Completed]).await;
    let done = pool
        .devnet
        .node()
        .look(View::CallbackDone { woid }, At::Latest)
        .await;
    assert_eq!(done.found(), Ok(Some(Seen::Yes(true))));
    let steps = pool.steps().await;
    assert_eq!(steps[..4], USUAL);
    assert_eq!(steps[4..], ["WorkOrderCallback"]);
    let gas = pool.gas("WorkOrderCallback").await;
    assert!(gas < 150_000, "{gas}");
    let again = pool
        .devnet
        .node()
        .simulate(&told(woid, "xw://s/1"), requester)
        .await;
    assert!(matches!(again.found(), Ok(Some(Simulated::Reverts(_)))));
    assert_eq!(pool.balance_of(api).await, has(10_000 - 1_007, 0));
}

/// A contract that refuses, or takes all gas that it is given, is told twice, and the order stays completed.
async fn refused(callback: Callback) {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.engine.texts = texts();
    pool.devnet.set_automine(true).await.expect("anvil");
    let contract = pool.devnet.create_callback(callback).await.expect("a contract");
    pool.devnet.set_automine(false).await.expect("anvil");
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy_for(offer, "", contract).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.status(woid).await, OrderStatus::Completed);
    let steps = pool.steps().await;
    assert_eq!(steps[..4], USUAL);
    assert_eq!(steps[4..], ["WorkOrderCallback!"; 2]);
    let gas = pool.gas("WorkOrderCallback").await;
    assert!(gas <= 300_000, "{gas} are more than it may take");
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

#[tokio::test]
async fn h_c_a_contract_that_refuses_changes_nothing() {
    refused(Callback::Reverts).await;
}

#[tokio::test]
async fn h_c_a_contract_that_burns_gas_burns_what_it_may() {
    refused(Callback::Burns).await;
}

/// What a claimed order has cost the pool is in the kitty, and the next that is finalized brings it back.
#[tokio::test]
async fn h_k_the_next_order_that_is_finalized_gets_the_kitty() {
    let mut pool = Pool::new(4, &[liar(1), liar(2), liar(3), HONEST]).await;
    let woid = pool.order(100).await;
    let timeout = pool.timeout(woid).await;
    pool.rounds(12).await;
    pool.warp_to(timeout).await;
    pool.round().await;
    assert!(pool.claim(woid).await.succeeded);
    let hub = pool.devnet.contracts().hub;
    assert_eq!(pool.balance_of(hub).await, has(0, 300));
    assert_eq!(pool.pool_has().await, has(999_700, 0));
    pool.order(0).await;
    pool.end(&[Ending::Claimed, Ending::Completed]).await;
    // 300, and one percent of the second.
    assert_eq!(pool.pool_has().await, has(1_000_010, 0));
    assert_eq!(pool.balance_of(hub).await, has(0, 0));
}
