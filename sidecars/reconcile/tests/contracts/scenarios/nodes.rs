//! Nodes that lose, lag, and go away; gas that gets dear; a pool that was away itself.

use std::time::Instant;

use wire_chain::Chain;
use wire_hub::{ContributionStatus, OrderStatus, Wei};
use wire_lane::Alert;

use super::USUAL;
use crate::kit::{Ending, HONEST, Pool, Way, has};

/// What a node says it has and loses is sent again, as it was.
#[tokio::test]
async fn n1_lost_transactions_are_sent_again() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let offer = pool.sell(0, 1).await;
    pool.sky.weather().loses = 3;
    pool.buy(offer, "").await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.sky.weather().loses, 0);
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// Transaction n is lost, n + 1 waits behind it: both are mined once n is sent again.
#[tokio::test]
async fn n1_a_gap_of_nonces_is_filled() {
    let mut pool = Pool::new(2, &[HONEST]).await;
    let offer = pool.sell(0, 2).await;
    let purchases = [
        pool.post_purchase(offer, "first", wire_hub::NOBODY).await,
        pool.post_purchase(offer, "second", wire_hub::NOBODY).await,
    ];
    pool.sky.weather().loses = 1;
    pool.until("all allowed", async |pool| {
        let mut all = true;
        for purchase in purchases {
            let Some(woid) = pool.bought(purchase).await else {
                return false;
            };
            let mut is_allowed = false;
            for index in 0..2 {
                is_allowed |= pool.part(woid, index).await != ContributionStatus::Unset;
            }
            all &= is_allowed;
        }
        all
    })
    .await;
    assert_eq!(pool.sky.weather().loses, 0, "one was lost");
    pool.end(&[Ending::Completed; 2]).await;
    let steps = pool.steps().await;
    assert!(steps.iter().all(|step| !step.ends_with('!')), "{steps:?}");
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
}

const GWEI: u128 = 1_000_000_000;

/// Blocks ask for ten times as much, and then for more than the cap: what waits is offered dearer, up to the cap, and then
/// held until it is cheaper, of which the operator hears.
#[tokio::test]
async fn n2_what_is_too_cheap_is_offered_dearer_up_to_the_cap_and_then_held() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy(offer, "").await;
    pool.until("sent", async |pool| pool.brain().lane().in_flight() > 0)
        .await;
    pool.base_fee = Some(Wei(30 * GWEI));
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    // Above the pool's cap and the worker's, which are 1000 gwei.
    pool.base_fee = Some(Wei(2_000 * GWEI));
    pool.rounds(12).await;
    assert_eq!(
        pool.part(woid, 0).await,
        ContributionStatus::Authorized,
        "the worker holds too"
    );
    pool.base_fee = Some(Wei(30 * GWEI));
    pool.until_part(woid, 0, ContributionStatus::Contributed).await;
    pool.base_fee = Some(Wei(2_000 * GWEI));
    pool.rounds(12).await;
    assert_eq!(pool.status(woid).await, OrderStatus::Active);
    let is_too_dear = |alert: &Alert| matches!(alert, Alert::TooDear { .. });
    assert!(pool.alerts.iter().any(is_too_dear), "{:?}", pool.alerts);
    pool.base_fee = None;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// The node is away for half a period in each phase: nothing is assumed of what cannot be asked.
#[tokio::test]
async fn p1_a_node_that_is_away_in_each_phase_costs_time_and_nothing_else() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy(offer, "").await;
    let phases = [
        ContributionStatus::Authorized,
        ContributionStatus::Contributed,
        ContributionStatus::Proved,
    ];
    let mut before = pool.steps().await.len();
    for phase in phases {
        pool.sky.weather().is_away = true;
        pool.rounds(30).await;
        let sent = pool.steps().await.len();
        assert!(sent <= before + 1, "what was on its way may be mined");
        pool.sky.weather().is_away = false;
        pool.until_part(woid, 0, phase).await;
        before = pool.steps().await.len();
    }
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// A node that is suddenly 20 blocks behind is not believed until it has what was seen; nothing is sent on its word.
#[tokio::test]
async fn p3_a_node_that_falls_behind_is_waited_for() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy(offer, "").await;
    pool.until_part(woid, 0, ContributionStatus::Contributed).await;
    let tip = pool.brain().tip().expect("followed").at;
    pool.sky.weather().behind = 20;
    pool.rounds(15).await;
    assert_eq!(pool.brain().tip().expect("followed").at, tip, "nothing is undone");
    let behind = pool.steps().await;
    assert!(behind.len() <= 3, "{behind:?}");
    pool.rounds(10).await;
    pool.sky.weather().behind = 0;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
}

/// 5 000 blocks while the pool is away: an order of before has expired and takes no transaction, one of just now is done.
#[tokio::test]
async fn v2_thousands_of_blocks_are_caught_up_with_and_no_order_is_missed() {
    let mut way = Way::of(1, &[HONEST]);
    way.options.states = Some(64);
    let mut pool = Pool::of(way).await;
    let offer = pool.sell(0, 2).await;
    pool.rounds(6).await;
    pool.kill();
    let missed = pool.buy(offer, "missed").await;
    for _ in 0..10 {
        pool.devnet.mine(500).await.expect("blocks");
    }
    pool.devnet.warp(301).await.expect("time");
    let fresh = pool.buy(offer, "fresh").await;
    let head = pool
        .devnet
        .node()
        .head()
        .await
        .found()
        .expect("an answer")
        .expect("a block")
        .at;
    let began = Instant::now();
    pool.start().await;
    pool.until("caught up", async |pool| {
        pool.brain().tip().is_some_and(|tip| tip.at.number >= head.number)
    })
    .await;
    let took = began.elapsed();
    println!("5000 blocks are followed within {took:?}");
    assert!(took.as_secs() < 20, "{took:?}");
    pool.end(&[Ending::Completed, Ending::Unclaimed]).await;
    assert_eq!(pool.status(missed).await, OrderStatus::Active);
    assert_eq!(pool.status(fresh).await, OrderStatus::Completed);
    assert_eq!(pool.steps().await, USUAL);
}
