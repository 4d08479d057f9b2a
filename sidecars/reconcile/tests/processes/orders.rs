//! Whole orders: bought on the chain, done by workers, paid.

use std::time::{Duration, Instant};

use devnet::Options;
use testkit::processes::until;
use wire_hub::{OrderStatus, result_hash};

use crate::load::{self, Load};
use crate::market::{Market, PRICE, STAKE};

/// Of an order's price the workers get 99 %, the pool the rest.
const REWARD: u128 = PRICE * 99 / 100;

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_done_by_its_workers_and_paid() {
    let mut market = Market::open(3, 2, Options::default()).await;
    market.sidecar.start();
    market.sidecar.ready();
    let offer = market.sell(5, 1).await;
    let woid = market.buy(offer, "hello").await;
    market.until(woid, OrderStatus::Completed).await;
    // Trust 5 takes three workers, whose parts are rounded down; what is left is the pool's.
    let part = REWARD / 3;
    assert_eq!(market.of_workers().await, 3 * (STAKE + part));
    let pool = market.balance(market.devnet.scheduler()).await;
    assert_eq!((pool.stake.0, pool.locked.0), (STAKE + PRICE - 3 * part, 0));
    let market_sidecar = &mut market.sidecar;
    until("the order is final", || {
        market_sidecar.metric("pool_chain_orders") == Some(0.0)
    });
    assert!(market.sidecar.stop().success(), "{}", market.sidecar.log());
}

/// The works of a sweep are done by the whole pool, and the order's result is the root over theirs.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_many_works_ends_with_their_root() {
    use wire_chain::{At, Chain};
    use wire_hub::keccak;
    use wire_hub::merkle::Tree;

    let mut market = Market::open(2, 2, Options::default()).await;
    market.sidecar.start();
    market.sidecar.ready();
    let offer = market.sell(0, 1).await;
    let woid = market
        .buy(offer, r#"{"cmdline":"tile {n}","sweep":"n=1..20"}"#)
        .await;
    market.until(woid, OrderStatus::Completed).await;
    let digests: Vec<_> = (1..=20)
        .map(|n| keccak(format!("tile {n}\n").as_bytes()))
        .collect();
    let root = Tree::new(&digests).root();
    let consensus = market
        .devnet
        .node()
        .consensuses(&[woid], At::Latest)
        .await
        .remove(0);
    let consensus = consensus.found().expect("an answer").expect("a consensus");
    assert_eq!(consensus.consensus, result_hash(root));
    assert_eq!(market.of_workers().await, 2 * STAKE + REWARD);
}

/// kill -9 of the reconciler, of the engine and of all workers, one after the other, while orders are under way.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_killed_every_order_is_completed_and_paid_once() {
    let mut market = Market::open(3, 2, Options::default()).await;
    market.sidecar.start();
    market.sidecar.ready();
    let offer = market.sell(5, 3).await;
    let first = market.buy(offer, "first").await;
    market.sidecar.kill();
    market.sidecar.start();
    let second = market.buy(offer, "second").await;
    market.engine.kill();
    market.engine.start_again();
    market.until(first, OrderStatus::Revealing).await;
    market.sidecar.kill();
    let third = market.buy(offer, "third").await;
    market.engine.stop_workers();
    market.sidecar.start();
    for index in 0..3 {
        market.add_worker(index, 2);
    }
    for order in [first, second, third] {
        market.until(order, OrderStatus::Completed).await;
    }
    let part = REWARD / 3;
    assert_eq!(market.of_workers().await, 3 * (STAKE + 3 * part));
    let pool = market.balance(market.devnet.scheduler()).await;
    assert_eq!((pool.stake.0, pool.locked.0), (STAKE + 3 * (PRICE - 3 * part), 0));
}

/// Many orders at once are all completed before their time, and other works go on meanwhile. `POOL_TEST_ORDERS` says how many
/// orders; the output, how fast they were, and what other works take without them and beside them.
#[tokio::test(flavor = "multi_thread")]
async fn many_orders_at_once_are_all_completed() {
    let orders = std::env::var("POOL_TEST_ORDERS").map_or(12, |count| count.parse().expect("a number"));
    let options = Options {
        gas_limit: 300_000_000,
        ..Options::default()
    };
    let mut market = Market::open(3, 8, options).await;
    let others = Load::start(&market.engine).await;
    tokio::time::sleep(Duration::from_secs(2 + orders / 20)).await;
    let without = others.stop().await;
    market.sidecar.start();
    market.sidecar.ready();
    let offer = market.sell(5, orders).await;
    let others = Load::start(&market.engine).await;
    let began = Instant::now();
    let mut bought = Vec::new();
    for number in 0..orders {
        bought.push(market.post(offer, &format!("number {number}")).await);
    }
    let woids = market.bought(bought).await;
    let all_bought = began.elapsed();
    for woid in &woids {
        market.until(*woid, OrderStatus::Completed).await;
    }
    let took = began.elapsed();
    let beside = others.stop().await;
    assert!(without.len() > 100 && beside.len() > 100);
    let part = u128::from(orders) * (REWARD / 3);
    assert_eq!(market.of_workers().await, 3 * (STAKE + part));
    let pool = market.balance(market.devnet.scheduler()).await;
    assert_eq!(
        (pool.stake.0, pool.locked.0),
        (STAKE + u128::from(orders) * PRICE - 3 * part, 0)
    );
    assert_eq!(
        market.sidecar.metric("pool_chain_transactions_failed_total"),
        Some(0.0)
    );
    println!(
        "{orders} orders of 3 workers: bought within {:.1} s, completed within {:.1} s, {:.2} orders/s",
        all_bought.as_secs_f64(),
        took.as_secs_f64(),
        orders as f64 / took.as_secs_f64()
    );
    let ms = |sorted: &[Duration], percent| load::percentile(sorted, percent).as_secs_f64() * 1e3;
    for percent in [50, 90, 99] {
        let (alone, together) = (ms(&without, percent), ms(&beside, percent));
        println!(
            "other works, p{percent}: {alone:.2} ms without orders, {together:.2} ms beside them, {:.2} x",
            together / alone
        );
    }
}
