//! What happens at an order's last second, and after it.

use sidecars_reconcile::core::ledger::Stranded;
use wire_chain::reading::{self, Parts};
use wire_chain::{At, Chain};
use wire_hub::{ContributionStatus, OrderStatus, Rlc, Timestamp};

use super::USUAL;
use crate::kit::{Ending, HONEST, Pool, has, liar};

/// Who may claim is the requester alone; the pool never tries.
#[tokio::test]
async fn t1_an_order_without_agreement_is_claimed_by_its_requester() {
    let mut pool = Pool::new(3, &[liar(1), liar(2), liar(3)]).await;
    let woid = pool.order(100).await;
    pool.until_part(woid, 2, ContributionStatus::Contributed).await;
    let sent = pool.steps().await;
    pool.warp(301).await;
    pool.rounds(5).await;
    let receipt = pool.claim(woid).await;
    assert!(receipt.succeeded && receipt.gas_used.0 < 250_000, "{receipt:?}");
    pool.end(&[Ending::Claimed]).await;
    assert_eq!(pool.steps().await, sent, "nothing is sent for what has expired");
    for index in 0..3 {
        assert_eq!(pool.has(index).await, has(999_990, 10));
    }
    assert_eq!(pool.pool_has().await, has(999_700, 0));
    assert_eq!(pool.requester_has().await, has(1_000_000, 0));
    let hub = pool.devnet.contracts().hub;
    assert_eq!(pool.balance_of(hub).await, has(0, 300), "the kitty");
}

/// Nobody claims: the money of all three is stranded, and named so.
#[tokio::test]
async fn t2_money_that_nobody_claims_is_stranded() {
    let mut pool = Pool::new(3, &[liar(1), liar(2), liar(3)]).await;
    let woid = pool.order(100).await;
    pool.until_part(woid, 2, ContributionStatus::Contributed).await;
    pool.warp(301).await;
    pool.end(&[Ending::Unclaimed]).await;
    assert_eq!(pool.pool_has().await, has(999_700, 300));
    assert_eq!(pool.requester_has().await, has(998_993, 1_007));
    let node = pool.devnet.node();
    let head = node.head().await.found().expect("an answer").expect("a block");
    let views = reading::views(node, head.at, woid, Parts::AllAnd(&[])).await;
    let views = views.known().expect("an order");
    let stranded = Stranded::of(&views.consensus, &views.contributions, views.order.emitcost);
    assert_eq!((stranded.pool, stranded.requester), (Rlc(300), Rlc(1_007)));
    let workers: Vec<_> = pool
        .members
        .iter()
        .map(|member| (member.address(), Rlc(300)))
        .collect();
    assert_eq!(stranded.workers, workers);
    for index in 0..3 {
        assert_eq!(pool.has(index).await, has(999_690, 310));
    }
}

fn after(time: Timestamp, seconds: u64) -> Timestamp {
    Timestamp(time.0 + seconds)
}

/// Rounds, until the pool has sent what this function does and no block has it.
async fn until_sent(pool: &mut Pool, name: &str) {
    let is_sent = async |pool: &Pool| {
        let lane = pool.brain().lane();
        let mut all = lane.under_way();
        all.any(|intent| format!("{:?}", intent.call).starts_with(name))
    };
    pool.until(name, is_sent).await;
}

/// `finalizeWork` in the last second of the order.
#[tokio::test]
async fn t3_a_finalize_in_the_last_second_pays() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    until_sent(&mut pool, "FinalizeWork").await;
    let timeout = pool.timeout(woid).await;
    pool.warp_to(timeout).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// The same a second later: it is mined in vain, accounted for, and not tried again.
#[tokio::test]
async fn t3_a_finalize_behind_the_last_second_fails_once() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    until_sent(&mut pool, "FinalizeWork").await;
    let late = after(pool.timeout(woid).await, 1);
    pool.warp_to(late).await;
    pool.end(&[Ending::Unclaimed]).await;
    let [create, allow, decide, _] = USUAL;
    assert_eq!(pool.steps().await, [create, allow, decide, "FinalizeWork!"]);
    assert_eq!(pool.has(0).await, has(999_690, 310), "stranded");
}

#[tokio::test]
async fn t3_a_decision_behind_the_last_second_fails_once() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    until_sent(&mut pool, "RevealConsensus").await;
    let late = after(pool.timeout(woid).await, 1);
    pool.warp_to(late).await;
    pool.end(&[Ending::Unclaimed]).await;
    let [create, allow, ..] = USUAL;
    assert_eq!(pool.steps().await, [create, allow, "RevealConsensus!"]);
}

#[tokio::test]
async fn t3_a_decision_in_the_last_second_comes_too_late_to_be_finalized() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    until_sent(&mut pool, "RevealConsensus").await;
    let timeout = pool.timeout(woid).await;
    pool.warp_to(timeout).await;
    assert_eq!(pool.status(woid).await, OrderStatus::Revealing);
    pool.end(&[Ending::Unclaimed]).await;
    assert_eq!(pool.steps().await, USUAL[..3]);
}

/// A contribution that is sent in time and mined too late is in vain, and the worker does not try again.
#[tokio::test]
async fn t3_a_contribution_behind_the_last_second_costs_no_stake() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until("sent", async |pool| !pool.members[0].sent.is_empty())
        .await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Authorized);
    let late = after(pool.timeout(woid).await, 1);
    pool.warp_to(late).await;
    pool.end(&[Ending::Unclaimed]).await;
    assert_eq!(pool.members[0].mined.len(), 1);
    assert!(!pool.members[0].mined[0].succeeded);
    assert_eq!(pool.has(0).await, has(999_990, 10));
    assert_eq!(pool.steps().await, USUAL[..2]);
}

/// In its last second it is taken, and nothing follows: the pool is past its own last time to decide.
#[tokio::test]
async fn t3_a_contribution_in_the_last_second_is_taken_and_decides_nothing() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until("sent", async |pool| !pool.members[0].sent.is_empty())
        .await;
    let timeout = pool.timeout(woid).await;
    pool.warp_to(timeout).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    pool.end(&[Ending::Unclaimed]).await;
    assert_eq!(pool.steps().await, USUAL[..2]);
    let at = At::Latest;
    let status = pool.devnet.node().work_orders(&[woid], at).await.remove(0);
    assert!(matches!(status.found(), Ok(Some(order)) if order.status == OrderStatus::Active));
}
