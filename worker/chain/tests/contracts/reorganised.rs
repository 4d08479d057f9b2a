//! X3: what a reorganisation takes is sent again, byte for byte.

use wire_hub::{Call, ContributionStatus, NOBODY, Rlc};
use worker_chain::core::State;

use crate::world::{RESULT, World, has};

#[tokio::test]
async fn a_contribution_that_is_orphaned_is_sent_again_as_it_was() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.round().await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    world.devnet.reorg(1, &[]).await.expect("a reorganisation");
    assert_eq!(world.part(woid).await.status, ContributionStatus::Authorized);
    world.rounds(3).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    assert!(world.sent.len() > 1);
    assert!(world.sent.iter().all(|raw| *raw == world.sent[0]));
}

#[tokio::test]
async fn a_reveal_that_is_orphaned_is_sent_again_as_it_was() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.round().await;
    world.reveal_consensus(woid, RESULT).await;
    world.round().await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Proved);
    let sent = world.sent.len();
    world.devnet.reorg(1, &[]).await.expect("a reorganisation");
    world.rounds(3).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Proved);
    assert!(world.sent.len() > sent);
    assert!(world.sent[sent..].iter().all(|raw| *raw == world.sent[sent - 1]));
    world.finalize(woid).await;
    world.until_over().await;
    assert_eq!(world.balance().await, has(1_000_980, 10));
}

/// The pool's `allow` is taken along, and comes again later.
#[tokio::test]
async fn a_contribution_waits_until_it_is_allowed_again() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.round().await;
    world.devnet.reorg(2, &[]).await.expect("a reorganisation");
    world.rounds(4).await;
    let sent = world.sent.len();
    assert_eq!(world.part(woid).await.status, ContributionStatus::Unset);
    assert_eq!(world.told.last(), Some(&State::Unallowed));
    world.rounds(3).await;
    assert_eq!(world.sent.len(), sent, "what would fail is not sent");
    world.allow(woid, &[0]).await;
    world.rounds(3).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    assert!(world.sent.iter().all(|raw| *raw == world.sent[0]));
}

/// The order itself is gone, and another has its address.
#[tokio::test]
async fn an_order_that_another_has_replaced_is_left_alone() {
    let mut world = World::new(1).await;
    world.devnet.set_automine(true).await.expect("anvil");
    let app = world.app();
    let offer = world.devnet.sell(1, 0, Rlc(1_000), 2).await.expect("an offer");
    let woid = world
        .devnet
        .buy(offer, app, "one", NOBODY)
        .await
        .expect("an order");
    world.devnet.set_automine(false).await.expect("anvil");
    world.computed(woid, RESULT).await;
    world.look().await;
    assert_eq!(world.told, [State::Unallowed]);
    world.devnet.reorg(1, &[]).await.expect("a reorganisation");
    world.look().await;
    assert_eq!(world.told.last(), Some(&State::Missing { was_there: true }));
    world.devnet.set_automine(true).await.expect("anvil");
    let again = world
        .devnet
        .buy(offer, app, "two", NOBODY)
        .await
        .expect("an order");
    world.devnet.set_automine(false).await.expect("anvil");
    assert_eq!(again, woid, "the same address");
    let workers = vec![world.wallet.address()];
    world
        .post(&Call::AllowWorkersToContribute { woid, workers })
        .await;
    assert_eq!(world.until_over().await, State::Replaced);
    assert_eq!(world.sent.len(), 0);
}

/// X4: an end that is taken back is no end.
#[tokio::test]
async fn an_end_that_is_taken_back_is_told_again_when_it_comes() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.round().await;
    world.reveal_consensus(woid, RESULT).await;
    world.round().await;
    world.finalize(woid).await;
    assert!(matches!(world.told.last(), Some(State::Won { .. })));
    world.devnet.reorg(2, &[]).await.expect("a reorganisation");
    world.rounds(8).await;
    assert_eq!(world.told.last(), Some(&State::Revealed));
    assert_eq!(world.over.len(), 0);
    world.finalize(woid).await;
    assert_eq!(
        world.until_over().await,
        State::Won {
            reward: Some(Rlc(990))
        }
    );
    assert_eq!(world.balance().await, has(1_000_980, 10));
}
