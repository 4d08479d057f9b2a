//! The pool's process is killed: before what it decided is durable, before it is done, and just after.
//!
//! Whoever takes up its notes ends the order with the same balances, and sends no intent with a second nonce. Processes
//! that are really killed, with the engine and the workers, are in `tests/processes/orders.rs`.

use wire_hub::{ContributionStatus, OrderStatus};

use super::USUAL;
use crate::kit::{Death, Ending, HONEST, Habits, Moment, Pool, has};

/// Dies there, at each of its moments in turn, and is started again three blocks later each time.
async fn killed_at(at: &'static str) -> Pool {
    // What was heard and noted is heard once.
    let moments: &[Moment] = match at.ends_with("heard") {
        true => &[Moment::Decided, Moment::Noted],
        false => &[Moment::Decided, Moment::Noted, Moment::Done],
    };
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.sell(0, 1).await;
    pool.rounds(6).await;
    pool.fate.deaths = moments
        .iter()
        .map(|moment| Death { at, moment: *moment })
        .collect();
    pool.buy(1, "--level 3").await;
    for _ in 0..60 {
        if !pool.is_running() {
            pool.rounds(3).await;
            pool.start().await;
        }
        pool.round().await;
    }
    assert_eq!(
        pool.fate.deaths.len(),
        0,
        "it is not killed {:?}",
        pool.fate.deaths.front()
    );
    pool
}

async fn ends_as_usual(pool: &mut Pool) {
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
    assert_eq!(pool.pool_has().await, has(1_000_010, 0));
    assert_eq!(
        pool.engine.works(),
        1,
        "a work that is asked for again is the same"
    );
}

#[tokio::test]
async fn k1_killed_when_an_order_is_seen() {
    ends_as_usual(&mut killed_at("seen").await).await;
}

#[tokio::test]
async fn k2_killed_when_allow_is_sent() {
    ends_as_usual(&mut killed_at("AllowWorkersToContribute sent").await).await;
}

#[tokio::test]
async fn k2_killed_when_allow_is_signed() {
    ends_as_usual(&mut killed_at("AllowWorkersToContribute signed").await).await;
}

/// Workers go on while nobody is there to hear of it.
#[tokio::test]
async fn k3_killed_while_works_are_done() {
    let slow = Habits { blocks: 8, ..HONEST };
    let mut pool = Pool::new(1, &[slow]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    pool.kill();
    pool.rounds(12).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    assert_eq!(pool.steps().await, USUAL[..2]);
    pool.start().await;
    ends_as_usual(&mut pool).await;
}

#[tokio::test]
async fn k4_killed_when_a_result_is_contributed() {
    ends_as_usual(&mut killed_at("Contribute heard").await).await;
}

#[tokio::test]
async fn k5_killed_when_a_result_is_believed_and_that_is_not_sent() {
    ends_as_usual(&mut killed_at("RevealConsensus signed").await).await;
}

#[tokio::test]
async fn k6_killed_when_the_decision_is_sent() {
    ends_as_usual(&mut killed_at("RevealConsensus sent").await).await;
}

#[tokio::test]
async fn k7_killed_when_a_result_is_revealed() {
    ends_as_usual(&mut killed_at("Reveal heard").await).await;
}

/// It is revealed, and what it is has not arrived: that comes when nobody is there.
#[tokio::test]
async fn k8_killed_while_the_result_is_on_its_way() {
    let late = Habits {
        reports_after: 20,
        ..HONEST
    };
    let mut pool = Pool::new(1, &[late]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Proved).await;
    pool.rounds(2).await;
    assert!(pool.has_said("it is revealed, and its result is not here yet"));
    pool.kill();
    pool.rounds(20).await;
    assert_eq!(pool.status(woid).await, OrderStatus::Revealing);
    pool.start().await;
    ends_as_usual(&mut pool).await;
    assert_eq!(pool.texts_of(woid).await.uri, "pool://result");
}

#[tokio::test]
async fn k9_killed_when_the_end_is_sent() {
    ends_as_usual(&mut killed_at("FinalizeWork sent").await).await;
}

#[tokio::test]
async fn k9_killed_when_the_end_is_signed() {
    ends_as_usual(&mut killed_at("FinalizeWork signed").await).await;
}

/// Whenever it is killed.
#[tokio::test]
async fn k_killed_at_every_block() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.order(0).await;
    for _ in 0..40 {
        pool.round().await;
        pool.start().await;
    }
    ends_as_usual(&mut pool).await;
}
