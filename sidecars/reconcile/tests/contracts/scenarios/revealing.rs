//! Who reveals, who does not, and who comes too late.

use sidecars_reconcile::core::policy::ConsensusPolicy;
use sidecars_reconcile::core::reconciler::Settings;
use wire_hub::{Address, ContributionStatus, OrderStatus, Wei};
use worker_chain::core::State;

use super::USUAL;
use crate::kit::{CLUMSY, Ending, HONEST, Habits, Pool, SILENT, Way, has};

/// Who does not reveal pays who does, once their time is over; before that nothing is sent.
#[tokio::test]
async fn r1_who_does_not_reveal_pays_who_does() {
    let mut pool = Pool::new(3, &[HONEST, SILENT]).await;
    let woid = pool.order(5).await;
    pool.until_part(woid, 0, ContributionStatus::Proved).await;
    pool.rounds(8).await;
    assert_eq!(pool.steps().await, USUAL[..3], "nothing in vain");
    pool.warp(61).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(999_990 + 1_584, 10));
    assert_eq!(pool.has(1).await, has(999_690, 10));
    assert_eq!(pool.has(2).await, has(999_690, 10));
    assert_eq!(pool.pool_has().await, has(1_000_016, 0));
    assert_eq!(pool.steps().await, USUAL);
}

/// Nobody reveals: others do it, and those who did not pay them.
#[tokio::test]
async fn r2_if_nobody_reveals_others_get_their_turn() {
    let mut pool = Pool::new(6, &[SILENT, SILENT, SILENT, HONEST]).await;
    let woid = pool.order(5).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    pool.warp(61).await;
    pool.until_part(woid, 3, ContributionStatus::Contributed).await;
    for index in 0..3 {
        assert_eq!(pool.part(woid, index).await, ContributionStatus::Rejected);
    }
    pool.end(&[Ending::Completed]).await;
    for index in 0..6 {
        let stake = if index < 3 { 999_690 } else { 999_990 + 627 };
        assert_eq!(pool.has(index).await, has(stake, 10), "{index}");
    }
    assert_eq!(pool.pool_has().await, has(1_000_019, 0));
    let [create, allow, decide, finalize] = USUAL;
    let expected = [create, allow, decide, "Reopen", allow, decide, finalize];
    assert_eq!(pool.steps().await, expected);
}

/// Two of at most three have agreed, and the first, who was slow, has its result in the very round in which that is
/// decided.
async fn neck_and_neck(change: fn(&mut Settings)) -> (Pool, Address) {
    let slow = Habits {
        blocks: 1_000,
        ..HONEST
    };
    let mut pool = Pool::of(Way::of(3, &[slow, HONEST, HONEST]).with(change)).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 1, ContributionStatus::Contributed).await;
    pool.until("sent by the third", async |pool| !pool.members[2].sent.is_empty())
        .await;
    let slow = pool.members[0].address();
    pool.members[0].habits.blocks = pool.engine.blocks_of(slow);
    pool.round().await;
    assert_eq!(pool.part(woid, 2).await, ContributionStatus::Contributed);
    assert_eq!(pool.members[0].sent.len(), 1, "with the decision");
    pool.round().await;
    assert_eq!(pool.status(woid).await, OrderStatus::Revealing);
    (pool, woid)
}

fn majority(settings: &mut Settings) {
    settings.plan.consensus = ConsensusPolicy::Majority { agreeing: 2, of: 3 };
    settings.plan.patience_s = Some(4);
}

/// A contribution just behind the decision is mined in vain: too late, which costs its gas and nothing else.
#[tokio::test]
async fn r5_a_contribution_behind_the_decision_is_too_late_and_no_fault() {
    let (mut pool, woid) = neck_and_neck(|settings| {
        majority(settings);
        // Workers give a fifth of it, so the pool's transactions come first in a block.
        settings.lane.fees.tip = Wei(5_000_000_000);
    })
    .await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Authorized);
    assert_eq!(pool.consensus(woid).await.winner_count, 2);
    pool.end(&[Ending::Completed]).await;
    let [receipt] = &pool.members[0].mined[..] else {
        panic!("once")
    };
    assert!(!receipt.succeeded);
    assert!((35_000..45_000).contains(&receipt.gas_used.0), "{receipt:?}");
    assert!(pool.members[0].told.contains(&State::Late));
    assert_eq!(pool.has(0).await, has(999_990, 10));
    assert_eq!((pool.score(0).await, pool.history().await), (0, (2, 0)));
    assert_eq!(pool.has(1).await, has(999_990 + 495, 10));
}

/// The same contribution just before it counts: who sent it has to reveal, and is asked to by the chain.
#[tokio::test]
async fn rule_1_a_contribution_before_the_decision_in_its_block_has_to_be_revealed() {
    let (mut pool, woid) = neck_and_neck(majority).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    assert_eq!(pool.consensus(woid).await.winner_count, 3);
    pool.end(&[Ending::Completed]).await;
    for index in 0..3 {
        assert_eq!(pool.has(index).await, has(999_990 + 330, 10));
    }
    assert_eq!(
        pool.steps().await.last().map(String::as_str),
        Some("FinalizeWork")
    );
}

/// Who reveals something else fails, and counts as one who does not reveal.
#[tokio::test]
async fn r6_a_bad_reveal_is_mined_in_vain_and_seized() {
    let mut pool = Pool::new(3, &[CLUMSY, HONEST]).await;
    let woid = pool.order(5).await;
    pool.until_part(woid, 2, ContributionStatus::Proved).await;
    pool.rounds(8).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    assert!(pool.members[0].mined.iter().any(|receipt| !receipt.succeeded));
    assert_eq!(pool.steps().await, USUAL[..3]);
    pool.warp(61).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(999_690, 10));
    assert_eq!(pool.has(1).await, has(999_990 + 643, 10));
    assert_eq!(pool.pool_has().await, has(1_000_014, 0));
}
