//! What a reorganisation takes comes again, once.

use wire_chain::{At, Chain, Counted};
use wire_hub::{Call, ContributionStatus, NOBODY, OrderStatus, Rlc};

use super::USUAL;
use crate::kit::{Ending, HONEST, Habits, Pool, has};

/// Its works are still under way when something happens.
const SLOW: Habits = Habits { blocks: 8, ..HONEST };

async fn nonce(pool: &Pool) -> u64 {
    let owner = pool.devnet.scheduler().address();
    let nonce = pool.devnet.node().nonce(owner, Counted::Mined).await.found();
    nonce.expect("an answer").expect("a nonce").0
}

#[tokio::test]
async fn x2_a_permission_that_is_taken_back_is_given_again_once() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    let before = nonce(&pool).await;
    pool.devnet.reorg(1, &[]).await.expect("a reorganisation");
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Unset);
    assert_eq!(nonce(&pool).await, before - 1, "the nonce is free again");
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.steps().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

#[tokio::test]
async fn x3_a_contribution_that_is_taken_back_is_sent_again_as_it_was() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    let woid = pool.order(5).await;
    pool.until_part(woid, 2, ContributionStatus::Contributed).await;
    pool.devnet.reorg(1, &[]).await.expect("a reorganisation");
    assert_eq!(pool.part(woid, 2).await, ContributionStatus::Authorized);
    pool.end(&[Ending::Completed]).await;
    for (index, member) in pool.members.iter().enumerate() {
        let mut different = member.sent.clone();
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 2, "a contribution and a reveal");
        assert_eq!(pool.has(index).await, has(999_990 + 330, 10));
    }
    assert_eq!(pool.effects().await, USUAL);
}

#[tokio::test]
async fn x3_a_reveal_that_is_taken_back_is_sent_again_as_it_was() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    let woid = pool.order(5).await;
    pool.until_part(woid, 0, ContributionStatus::Proved).await;
    pool.devnet.reorg(1, &[]).await.expect("a reorganisation");
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    pool.end(&[Ending::Completed]).await;
    for index in 0..3 {
        assert_eq!(pool.has(index).await, has(999_990 + 330, 10));
    }
    assert_eq!(pool.effects().await, USUAL);
    assert_eq!(pool.journal.sent_twice(), [""; 0]);
}

/// The end and the reveal are gone, the result is still there: both come again, with the money of an undisturbed run.
#[tokio::test]
async fn x4_an_end_that_is_taken_back_comes_again_with_the_same_balances() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until_status(woid, OrderStatus::Completed).await;
    pool.devnet.reorg(2, &[]).await.expect("a reorganisation");
    assert_eq!(pool.status(woid).await, OrderStatus::Revealing);
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Contributed);
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
    assert_eq!(pool.pool_has().await, has(1_000_010, 0));
    assert_eq!(pool.effects().await, USUAL);
    assert!(pool.members[0].was_paid(990));
}

/// Two purchases change their places: an address is another order's now, and what was done for the first is not for it.
#[tokio::test]
async fn x5_an_order_whose_address_is_anothers_now_is_replaced() {
    let mut pool = Pool::new(2, &[SLOW]).await;
    let offer = pool.sell(0, 2).await;
    pool.round().await;
    let other = &pool.devnet.wallets()[20];
    pool.devnet.set_automine(true).await.expect("anvil");
    pool.devnet.deposit(other, Rlc(1_007)).await.expect("stake");
    pool.devnet.set_automine(false).await.expect("anvil");
    pool.remember_deposits().await;
    let requester = pool.devnet.requester();
    let other = &pool.devnet.wallets()[20];
    let buy = |params: &str| Call::BuyForWorkOrder {
        market_order: offer,
        app: pool.app,
        dataset: NOBODY,
        params: params.to_owned(),
        callback: NOBODY,
        beneficiary: requester.address(),
    };
    let first = pool.devnet.post(&buy("first"), requester).await.expect("taken");
    pool.devnet.mine(1).await.expect("a block");
    let second = pool.devnet.post(&buy("second"), other).await.expect("taken");
    pool.round().await;
    let woids = [pool.bought(first.hash).await, pool.bought(second.hash).await];
    pool.round().await;
    let swapped = [(second.raw.as_slice(), 0), (first.raw.as_slice(), 1)];
    pool.devnet.reorg(3, &swapped).await.expect("a reorganisation");
    pool.look().await;
    let now = [pool.bought(first.hash).await, pool.bought(second.hash).await];
    assert_eq!([woids[1], woids[0]], now, "the addresses have changed places");
    let woid = woids[0].expect("an order");
    let order = pool
        .devnet
        .node()
        .work_orders(&[woid], At::Latest)
        .await
        .remove(0);
    assert!(matches!(order.found(), Ok(Some(order)) if order.params == "second"));
    let expected = [
        Ending::Completed,
        Ending::Completed,
        Ending::Cancelled,
        Ending::Cancelled,
    ];
    pool.end(&expected).await;
    assert!(pool.has_said("a reorganisation gave its address to another order"));
    assert_eq!(pool.engine.works(), 4, "works of before are not for the others");
    let all = pool.has(0).await.stake.0 + pool.has(1).await.stake.0;
    assert_eq!(all, 2 * 999_990 + 2 * 990);
}

/// A purchase that is gone and does not come again is cancelled, and its works are not wanted any more.
#[tokio::test]
async fn x6_an_order_that_is_taken_back_for_good_is_cancelled() {
    let mut pool = Pool::new(1, &[SLOW]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    // The purchase, the permission, and nothing before.
    let depth = pool
        .devnet
        .node()
        .head()
        .await
        .found()
        .expect("an answer")
        .expect("a block")
        .at
        .number
        - pool.bought_in(woid).await
        + 1;
    pool.devnet.reorg(depth, &[]).await.expect("a reorganisation");
    assert_eq!(pool.status(woid).await, OrderStatus::Unset);
    pool.end(&[Ending::Cancelled]).await;
    assert!(pool.has_said("a reorganisation took the order back"));
    assert_eq!(
        pool.steps().await,
        [USUAL[0], "Nothing"],
        "the nonce of what makes no sense any more is taken"
    );
    assert_eq!(
        pool.pool_has().await,
        has(999_700, 300),
        "the offer is open again"
    );
    assert_eq!(pool.has(0).await, has(999_990, 10));
}
