//! Orders, with the money that they leave behind.

use sidecars_reconcile::core::order::State;
use wire_hub::{Call, Hash, OrderStatus};

use crate::pool::{HONEST, Habits, Pool, has};

const SILENT: Habits = Habits {
    reveals: false,
    ..HONEST
};

/// H1: three transactions of the pool, and the worker gets all but its percentage.
#[tokio::test]
async fn one_worker_does_an_order() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.order(0).await;
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    assert_eq!(pool.balance(&pool.devnet.workers()[0]).await, has(1_000_980, 10));
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_010, 0));
    assert_eq!(pool.mined.values().filter(|took_effect| **took_effect).count(), 3);
    assert_eq!(pool.mined.len(), 3);
}

/// C1: two against one.
#[tokio::test]
async fn a_contradiction_is_decided_and_costs_the_loser() {
    let liar = Habits {
        result: Hash([0x22; 32]),
        ..HONEST
    };
    let mut pool = Pool::new(6, &[liar, HONEST]).await;
    pool.order(5).await;
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    assert_eq!(pool.balance(&pool.devnet.workers()[0]).await, has(999_690, 10));
}

/// K: whenever it is killed, another takes up the notes, and the end is the same.
#[tokio::test]
async fn a_pool_that_is_killed_at_every_block_ends_an_order_all_the_same() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.order(0).await;
    for _ in 0..40 {
        pool.round().await;
        pool.restart().await;
    }
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    assert_eq!(pool.balance(&pool.devnet.workers()[0]).await, has(1_000_980, 10));
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_010, 0));
    assert!(
        pool.mined.values().all(|took_effect| *took_effect),
        "{:?}",
        pool.mined
    );
    assert_eq!(pool.mined.len(), 3);
}

/// X4: a reorganisation takes back the end, and it comes again.
#[tokio::test]
async fn a_finalized_order_that_is_taken_back_is_finalized_again() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.order(0).await;
    while pool.mined.len() < 3 {
        pool.round().await;
    }
    pool.devnet.reorg(2, &[]).await.expect("a reorganisation");
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    assert_eq!(pool.balance(&pool.devnet.workers()[0]).await, has(1_000_980, 10));
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_010, 0));
}

/// R1: who does not reveal pays who does, once their time is over; before that nothing is sent.
#[tokio::test]
async fn who_does_not_reveal_pays_who_does() {
    let mut pool = Pool::new(3, &[HONEST, SILENT]).await;
    let woid = pool.order(5).await;
    pool.until(woid, OrderStatus::Revealing).await;
    for _ in 0..8 {
        pool.round().await;
    }
    assert_eq!(pool.mined.len(), 2, "allowed and decided");
    pool.devnet.warp(61).await.expect("time");
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    let [winner, loser, other] = [0, 1, 2].map(|index| pool.devnet.workers()[index].address());
    assert_eq!(pool.balance_of(winner).await, has(999_990 + 1_584, 10));
    assert_eq!(pool.balance_of(loser).await, has(999_690, 10));
    assert_eq!(pool.balance_of(other).await, has(999_690, 10));
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_016, 0));
    assert!(pool.mined.values().all(|took_effect| *took_effect));
}

/// R2: nobody reveals, others do it, and those who did not pay them.
#[tokio::test]
async fn if_nobody_reveals_others_get_their_turn() {
    let mut pool = Pool::new(6, &[SILENT, SILENT, SILENT, HONEST]).await;
    let woid = pool.order(5).await;
    pool.until(woid, OrderStatus::Revealing).await;
    pool.devnet.warp(61).await.expect("time");
    pool.run(1).await;
    assert_eq!(pool.over, [State::Final]);
    for (index, wallet) in pool.devnet.workers()[..6].iter().enumerate() {
        let stake = if index < 3 { 999_690 } else { 999_990 + 627 };
        assert_eq!(pool.balance(wallet).await, has(stake, 10), "{index}");
    }
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_019, 0));
    assert!(pool.mined.values().all(|took_effect| *took_effect));
}

/// T1: no agreement, no transaction after the time, and the requester takes its money back.
#[tokio::test]
async fn an_order_without_agreement_is_left_to_its_requester() {
    let liars = [1, 2, 3].map(|byte| Habits {
        result: Hash([byte; 32]),
        ..HONEST
    });
    let mut pool = Pool::new(3, &liars).await;
    let woid = pool.order(100).await;
    for _ in 0..10 {
        pool.round().await;
    }
    let sent = pool.mined.len();
    pool.devnet.warp(301).await.expect("time");
    for _ in 0..5 {
        pool.round().await;
    }
    assert_eq!(pool.mined.len(), sent, "nothing is sent for what has expired");
    let claim = Call::ClaimFailedConsensus { woid };
    pool.devnet
        .post(&claim, pool.devnet.requester())
        .await
        .expect("sent");
    pool.run(1).await;
    assert_eq!(pool.over, [State::Claimed]);
    for wallet in &pool.devnet.workers()[..3] {
        assert_eq!(pool.balance(wallet).await, has(999_990, 10));
    }
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(999_700, 0));
}

/// N1: what a node has lost is sent again, as it was.
#[tokio::test]
async fn lost_transactions_are_sent_again() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.lose = 3;
    pool.order(0).await;
    pool.run(1).await;
    assert_eq!((pool.over.as_slice(), pool.lose), ([State::Final].as_slice(), 0));
    assert_eq!(pool.balance(&pool.devnet.workers()[0]).await, has(1_000_980, 10));
    assert_eq!(pool.mined.len(), 3);
}

/// S3: orders beside each other.
#[tokio::test]
async fn three_orders_at_once_are_each_done_and_paid() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    for _ in 0..3 {
        pool.order(0).await;
    }
    pool.run(3).await;
    assert_eq!(pool.over, [State::Final; 3]);
    let mut all = 0;
    for wallet in &pool.devnet.workers()[..3] {
        all += pool.balance(wallet).await.stake.0;
    }
    assert_eq!(all, 3 * 999_990 + 3 * 990);
    assert_eq!(pool.balance(pool.devnet.scheduler()).await, has(1_000_030, 0));
    assert!(pool.mined.values().all(|took_effect| *took_effect));
}
