//! A worker that becomes one of the pool's.

use devnet::{Devnet, Options};
use wire_hub::{Call, Rlc};
use worker_chain::core::Membership;

use crate::world::World;

/// A pool without workers, that locks 10 and asks for 10 more.
async fn pool() -> World {
    let options = Options {
        slots_in_an_epoch: 32,
        ..Options::default()
    };
    let mut devnet = Devnet::start(options).await.expect("a chain");
    let app = devnet.populate(0).await.expect("a pool");
    World::of(devnet, app)
}

#[tokio::test]
async fn a_worker_subscribes_once_it_has_the_stake_and_only_if_it_is_told_to() {
    let mut world = pool().await;
    world.round().await;
    assert_eq!(world.core.membership(), Membership::Outside);
    let mut world = world.with(|settings| settings.subscribes = true);
    world.rounds(3).await;
    let low = Membership::StakeLow {
        free: Rlc(0),
        needs: Rlc(20),
    };
    assert_eq!(world.core.membership(), low);
    assert_eq!(
        low.to_string(),
        "cannot subscribe, stake too low: 0 nRLC free and 20 needed; deposit 20 more at the hub"
    );
    assert_eq!(world.sent.len(), 0);
    let worker = &world.devnet.workers()[0];
    world.devnet.deposit(worker, Rlc(20)).await.expect("stake");
    world.devnet.set_automine(false).await.expect("anvil");
    world.rounds(3).await;
    assert_eq!(world.core.membership(), Membership::Subscribed);
    assert_eq!(world.sent.len(), 1);
    assert!(world.mined[0].succeeded);
    // The pool does not want it, and it does not come back.
    world.rounds(6).await;
    let worker = world.wallet.address();
    world.post(&Call::EvictWorker { worker }).await;
    world.rounds(3).await;
    assert_eq!(world.core.membership(), Membership::Ended);
    assert_eq!(world.sent.len(), 1);
}

#[tokio::test]
async fn a_worker_of_another_pool_is_told_to_leave_it() {
    let mut world = World::new(1).await.with(|settings| settings.subscribes = true);
    let first = world.devnet.contracts().pool;
    world
        .devnet
        .create_pool(Rlc(10), Rlc(10))
        .await
        .expect("another pool");
    let World { devnet, .. } = world;
    let mut world = World::of(devnet, first).with(|settings| settings.subscribes = true);
    world.rounds(2).await;
    assert_eq!(world.core.membership(), Membership::Elsewhere(first));
    assert!(world.core.membership().is_problem());
    assert_eq!(world.sent.len(), 0);
}
