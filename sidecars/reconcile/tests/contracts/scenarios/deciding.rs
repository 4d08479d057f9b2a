//! Which result is believed.

use sidecars_reconcile::core::policy::ConsensusPolicy;
use wire_hub::{ContributionStatus, OrderStatus, result_hash};

use super::USUAL;
use crate::kit::{Ending, HONEST, Habits, Pool, Way, has, liar};

const TWO_OF_THREE: ConsensusPolicy = ConsensusPolicy::Majority { agreeing: 2, of: 3 };

/// Two against one, all three there before anything is decided.
#[tokio::test]
async fn c1_a_contradiction_is_decided_and_costs_the_loser() {
    let slow = Habits { blocks: 9, ..HONEST };
    let way = Way::of(3, &[slow, liar(2), HONEST]).with(|settings| {
        settings.plan.consensus = TWO_OF_THREE;
        settings.plan.patience_s = Some(4);
    });
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    let consensus = pool.consensus(woid).await;
    assert_eq!(
        (consensus.winner_count, consensus.consensus),
        (2, result_hash(HONEST.result))
    );
    pool.end(&[Ending::Completed]).await;
    // 99 % of 1300, halved; what is left is the pool's.
    assert_eq!(pool.has(0).await, has(999_990 + 643, 10));
    assert_eq!(pool.has(1).await, has(999_690, 10));
    assert_eq!(pool.has(2).await, has(999_990 + 643, 10));
    assert_eq!(pool.pool_has().await, has(1_000_014, 0));
    assert_eq!(
        [pool.score(0).await, pool.score(1).await, pool.score(2).await],
        [1, 0, 1]
    );
    assert_eq!(pool.history().await, (2, 1));
}

/// One against one: a third is allowed while the order is open, and decides.
#[tokio::test]
async fn c2_a_tie_is_decided_by_a_third() {
    let way = Way::of(3, &[HONEST, liar(2), HONEST]).with(|settings| settings.plan.consensus = TWO_OF_THREE);
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 1, ContributionStatus::Contributed).await;
    assert_eq!(pool.part(woid, 2).await, ContributionStatus::Unset);
    assert_eq!(pool.status(woid).await, OrderStatus::Active);
    pool.end(&[Ending::Completed]).await;
    let [create, allow, decide, finalize] = USUAL;
    assert_eq!(pool.steps().await, [create, allow, allow, decide, finalize]);
    assert_eq!(pool.has(1).await, has(999_690, 10));
    assert_eq!(pool.has(2).await, has(999_990 + 643, 10));
    assert_eq!(pool.pool_has().await, has(1_000_014, 0));
}

/// All different until the latest time: nothing more is sent, and the pool loses its stake once the requester claims.
#[tokio::test]
async fn c3_without_agreement_no_gas_is_spent_any_more() {
    let mut pool = Pool::new(3, &[liar(1), liar(2), liar(3)]).await;
    let woid = pool.order(100).await;
    pool.until_part(woid, 2, ContributionStatus::Contributed).await;
    pool.rounds(3).await;
    let sent = pool.steps().await;
    assert!(sent.iter().skip(1).all(|step| step == USUAL[1]), "{sent:?}");
    pool.warp(7 * 30).await;
    pool.rounds(3).await;
    assert!(pool.has_said("nothing more is sent; the order will expire"));
    assert_eq!(pool.steps().await, sent);
    pool.warp(3 * 30).await;
    pool.end(&[Ending::Unclaimed]).await;
    assert_eq!(pool.steps().await, sent);
    assert_eq!(pool.pool_has().await, has(999_700, 300));
}

/// The same, where the operator wants the heaviest result all the same.
#[tokio::test]
async fn c3_best_effort_takes_the_heaviest_at_the_latest_time() {
    let way = Way::of(3, &[HONEST, HONEST, liar(3)]).with(|settings| settings.plan.best_effort = true);
    let mut pool = Pool::of(way).await;
    let woid = pool.order(100).await;
    pool.until_part(woid, 2, ContributionStatus::Contributed).await;
    pool.warp(7 * 30).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(2).await, has(999_690, 10));
    assert_eq!(pool.has(0).await, has(999_990 + 643, 10));
}
