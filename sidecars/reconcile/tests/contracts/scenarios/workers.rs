//! Workers that are lost.

use wire_hub::{ContributionStatus, OrderStatus};

use super::USUAL;
use crate::kit::{Ending, HONEST, Habits, Pool, Way, has};

/// Allowed and gone: another is allowed after a while, and the order is completed. (How soon the engine notices is tried
/// with its own workers.)
#[tokio::test]
async fn w1_another_is_allowed_for_one_that_is_lost() {
    let slow = Habits {
        blocks: 100,
        ..HONEST
    };
    let way = Way::of(2, &[slow, HONEST]).with(|settings| settings.plan.patience_s = Some(10));
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    pool.lose_worker(0).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Authorized);
    assert_eq!(
        pool.has(0).await,
        has(999_990, 10),
        "who was lost has lost nothing"
    );
    assert_eq!(pool.has(1).await, has(1_000_980, 10));
    let [create, allow, decide, finalize] = USUAL;
    assert_eq!(pool.steps().await, [create, allow, allow, decide, finalize]);
}

/// Contributed and gone, and back before the time to reveal is over: it reveals and is paid.
#[tokio::test]
async fn w2_who_comes_back_in_time_reveals_and_is_paid() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Contributed).await;
    pool.lose_worker(0).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    pool.warp(50).await;
    pool.rounds(4).await;
    assert_eq!(pool.steps().await, USUAL[..3], "the pool waits");
    pool.start_worker(0).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
    assert_eq!(pool.steps().await, USUAL);
}

/// Contributed and gone for good: its order is opened again, and another gets its stake.
#[tokio::test]
async fn w2_who_does_not_come_back_pays_who_takes_its_place() {
    let mut pool = Pool::new(2, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until("contributed", async |pool| {
        let mut any = false;
        for index in 0..2 {
            any |= pool.part(woid, index).await == ContributionStatus::Contributed;
        }
        any
    })
    .await;
    let mut gone = 0;
    if pool.part(woid, 1).await == ContributionStatus::Contributed {
        gone = 1;
    }
    pool.lose_worker(gone).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    pool.warp(61).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(gone).await, has(999_690, 10));
    assert_eq!(pool.has(1 - gone).await, has(999_990 + 1_287, 10));
    let [create, allow, decide, finalize] = USUAL;
    let expected = [create, allow, decide, "Reopen", allow, decide, finalize];
    assert_eq!(pool.steps().await, expected);
}
