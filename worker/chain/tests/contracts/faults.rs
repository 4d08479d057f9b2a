//! What a worker does wrong on purpose, and what that costs it.

use wire_hub::{ContributionStatus, OrderStatus, Rlc};
use worker_chain::core::State;

use crate::world::{RESULT, World, has};

/// R6: a reveal of something else is mined in vain, and not for ever.
#[tokio::test]
async fn a_bad_reveal_reverts_and_is_never_paid() {
    let mut world = World::new(2)
        .await
        .with(|settings| settings.faults.bad_reveal = true);
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0, 1]).await;
    world.contribute(1, woid, RESULT).await;
    world.rounds(2).await;
    world.reveal_consensus(woid, RESULT).await;
    world.reveal(1, woid, RESULT).await;
    world.rounds(12).await;
    let failed = world.mined.iter().filter(|receipt| !receipt.succeeded).count();
    assert_eq!(failed, 3);
    assert_eq!(world.told.last(), Some(&State::InVain { times: 3 }));
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    world.devnet.warp(61).await.expect("time");
    world.finalize(woid).await;
    assert_eq!(world.until_over().await, State::Lost { seized: Rlc(300) });
    assert_eq!(world.balance().await, has(999_690, 10));
}

#[tokio::test]
async fn a_wrong_result_is_outvoted() {
    let mut world = World::new(2)
        .await
        .with(|settings| settings.faults.wrong_result = true);
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0, 1]).await;
    world.contribute(1, woid, RESULT).await;
    world.rounds(2).await;
    world.reveal_consensus(woid, RESULT).await;
    assert_eq!(world.told.last(), Some(&State::Outvoted { stake: Rlc(300) }));
}

#[tokio::test]
async fn a_late_worker_contributes_after_its_seconds() {
    let mut world = World::new(1).await.with(|settings| settings.faults.late_s = 20);
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.rounds(5).await;
    assert_eq!(world.sent.len(), 0);
    world.devnet.warp(20).await.expect("time");
    world.rounds(2).await;
    assert_eq!(world.status(woid).await, OrderStatus::Active);
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
}
