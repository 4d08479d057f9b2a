//! Batches that take effect together or not at all, and stake that there is not.

use sidecars_reconcile::core::market::{Offer, Price};
use wire_hub::{Call, ContributionStatus, Rlc, Trust};

use super::USUAL;
use crate::kit::{Ending, HONEST, Pool, Way, has};

/// A pool that has lost its notes meets an order whose worker is allowed: to name it again would fail for all.
#[tokio::test]
async fn e3_who_is_allowed_already_is_not_named_again() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    pool.kill();
    pool.notes.clear();
    pool.start().await;
    pool.until_part(woid, 0, ContributionStatus::Proved).await;
    // What its work has for the requester is not known any more, so that it is finalized at last without.
    pool.warp(240).await;
    pool.end(&[Ending::Completed]).await;
    let steps = pool.steps().await;
    assert!(steps.iter().all(|step| !step.ends_with('!')), "{steps:?}");
}

/// The stake is too small for what is to be offered: nothing is sent, the reason is said, and a deposit is enough.
#[tokio::test]
async fn s2_without_the_stake_nothing_is_offered_until_there_is_a_deposit() {
    let way = Way::of(1, &[HONEST]).with(|settings| {
        settings.offer = Some(Offer {
            category: 1,
            trust: Trust(0),
            price: Price::Fixed(Rlc(1_000)),
            volume: 4_000,
        });
    });
    let mut pool = Pool::of(way).await;
    pool.rounds(6).await;
    assert!(pool.steps().await.is_empty());
    let said = pool.offers_said.join("\n");
    assert!(said.contains("deposit the rest, or offer fewer"), "{said}");
    let owner = pool.devnet.scheduler().address();
    let amount = Rlc(200_000);
    pool.devnet.set_automine(true).await.expect("anvil");
    pool.devnet.fund(owner, amount).await.expect("RLC");
    pool.devnet.set_automine(false).await.expect("anvil");
    pool.wish(Call::Approve { amount }).await;
    pool.rounds(3).await;
    pool.wish(Call::Deposit { amount }).await;
    pool.until("offered", async |pool| {
        pool.pool_has().await.locked == Rlc(1_200_000)
    })
    .await;
    pool.rounds(3).await;
    assert_eq!(pool.steps().await, ["Approve", "Deposit", "CreateMarketOrder"]);
    pool.check().await;
}

/// A worker whose stake is enough for two orders is never promised to a third.
#[tokio::test]
async fn s3_parallel_orders_never_promise_more_stake_than_there_is() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let amount = Rlc(999_990 - 700);
    let withdraw = Call::Withdraw { amount };
    let worker = &pool.devnet.workers()[0];
    pool.devnet.post(&withdraw, worker).await.expect("taken");
    pool.round().await;
    pool.remember_deposits().await;
    let offer = pool.sell(0, 4).await;
    for number in 0..4 {
        pool.buy(offer, &format!("number {number}")).await;
    }
    pool.end(&[Ending::Completed; 4]).await;
    let steps = pool.steps().await;
    assert!(steps.iter().all(|step| !step.ends_with('!')), "{steps:?}");
    assert!(pool.members[0].mined.iter().all(|receipt| receipt.succeeded));
    assert_eq!(pool.has(0).await, has(700 + 4 * 990, 10));
}

/// The same with as many workers as orders: each is done beside the others.
#[tokio::test]
async fn s3_three_orders_at_once_are_each_done_and_paid() {
    let mut pool = Pool::new(3, &[HONEST]).await;
    let offer = pool.sell(0, 3).await;
    for number in 0..3 {
        pool.buy(offer, &format!("number {number}")).await;
    }
    pool.end(&[Ending::Completed; 3]).await;
    let mut all = 0;
    for index in 0..3 {
        all += pool.has(index).await.stake.0;
    }
    assert_eq!(all, 3 * 999_990 + 3 * 990);
    assert_eq!(pool.pool_has().await, has(1_000_030, 0));
    let steps = pool.steps().await;
    assert_eq!(steps.len(), 1 + 3 * 3, "{steps:?}");
    assert_eq!(steps[0], USUAL[0]);
}
