//! What comes of orders, with the money that they leave.

use wire_hub::{Address, Call, ContributionStatus, OrderStatus, Rlc};
use worker_chain::core::{Event, Refusal, State};

use crate::world::{OTHER, RESULT, World, has};

/// H1: two transactions of the worker, and it is told what it was paid.
#[tokio::test]
async fn a_worker_contributes_reveals_and_is_paid() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    assert_eq!(world.taken, [woid]);
    world.rounds(2).await;
    assert_eq!(world.sent.len(), 0, "nothing before it is allowed");
    world.allow(woid, &[0]).await;
    world.rounds(2).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    world.reveal_consensus(woid, RESULT).await;
    world.rounds(2).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Proved);
    world.finalize(woid).await;
    let won = State::Won {
        reward: Some(Rlc(990)),
    };
    assert_eq!(world.until_over().await, won);
    let seen = [
        State::Unallowed,
        State::Contributing,
        State::Contributed,
        State::Revealing,
        State::Revealed,
        won,
    ];
    assert_eq!(world.told, seen);
    assert_eq!(world.balance().await, has(1_000_980, 10));
    assert_eq!((world.sent.len(), world.mined.len()), (2, 2));
    assert!(world.mined.iter().all(|receipt| receipt.succeeded));
    assert_eq!(world.notes.len(), 0, "nothing is kept of what is over");
}

/// C1: the pool believes another.
#[tokio::test]
async fn who_is_outvoted_is_told_what_it_costs_and_reveals_nothing() {
    let mut world = World::new(3).await;
    let woid = world.order().await;
    world.computed(woid, OTHER).await;
    world.allow(woid, &[0, 1, 2]).await;
    world.contribute(1, woid, RESULT).await;
    world.contribute(2, woid, RESULT).await;
    world.rounds(2).await;
    world.reveal_consensus(woid, RESULT).await;
    world.reveal(1, woid, RESULT).await;
    world.reveal(2, woid, RESULT).await;
    world.round().await;
    assert_eq!(world.told.last(), Some(&State::Outvoted { stake: Rlc(300) }));
    world.finalize(woid).await;
    assert_eq!(world.until_over().await, State::Lost { seized: Rlc(300) });
    assert_eq!(world.over[0].to_string(), "lost: stake 300 nRLC seized");
    assert_eq!(world.sent.len(), 1, "its contribution");
    assert_eq!(world.balance().await, has(999_690, 10));
}

/// R5: a contribution that is mined just behind `revealConsensus` costs nothing but gas, and nothing more is tried.
#[tokio::test]
async fn a_contribution_behind_the_consensus_is_too_late_and_costs_no_stake() {
    let mut world = World::new(2).await;
    let woid = world.order().await;
    world.allow(woid, &[0, 1]).await;
    world.contribute(1, woid, RESULT).await;
    world.round().await;
    // It is sent, and the pool's transaction pays more, so the same block has it before.
    world.computed(woid, RESULT).await;
    world.look().await;
    assert_eq!(world.sent.len(), 1, "{:?}", world.core.lane());
    let consensus = wire_hub::result_hash(RESULT);
    let hurried = Call::RevealConsensus { woid, consensus };
    world.hurry(&hurried).await;
    world.round().await;
    assert_eq!(world.status(woid).await, OrderStatus::Revealing);
    assert_eq!(world.mined.len(), 1);
    assert!(!world.mined[0].succeeded, "it came too late");
    assert_eq!(world.told.last(), Some(&State::Late));
    world.reveal(1, woid, RESULT).await;
    world.round().await;
    world.finalize(woid).await;
    assert_eq!(world.until_over().await, State::Late);
    assert_eq!(world.sent.len(), 1, "nothing more is tried");
    assert_eq!(world.balance().await, has(999_990, 10));
}

/// Rule 6: what is not there is not tried to be locked, and it goes on once it is.
#[tokio::test]
async fn a_contribution_without_stake_is_not_sent_until_there_is_some() {
    let mut world = World::new(1).await;
    let amount = Rlc(999_870);
    let worker = &world.devnet.workers()[0];
    let withdrawn = world.devnet.done(&Call::Withdraw { amount }, worker).await;
    withdrawn.expect("free stake");
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0]).await;
    world.rounds(5).await;
    let low = State::StakeLow {
        free: Rlc(120),
        needs: Rlc(300),
    };
    assert_eq!(world.told.last(), Some(&low));
    assert_eq!(
        low.to_string(),
        "stake too low: 120 nRLC free and 300 needed; deposit 180 more at the hub"
    );
    assert_eq!(world.sent.len(), 0);
    assert_eq!(world.core.stake_missing(), Some(low));
    world.devnet.set_automine(true).await.expect("anvil");
    let worker = &world.devnet.workers()[0];
    world.devnet.deposit(worker, Rlc(180)).await.expect("stake");
    world.devnet.set_automine(false).await.expect("anvil");
    world.rounds(3).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    assert_eq!(world.balance().await, has(0, 310));
}

/// S3: stake is not promised twice.
#[tokio::test]
async fn orders_beside_each_other_do_not_share_a_stake() {
    let mut world = World::new(1).await;
    let amount = Rlc(999_490);
    let worker = &world.devnet.workers()[0];
    let withdrawn = world.devnet.done(&Call::Withdraw { amount }, worker).await;
    withdrawn.expect("free stake");
    let (first, second) = (world.order().await, world.order().await);
    world.computed(first, RESULT).await;
    world.computed(second, RESULT).await;
    let worker = world.devnet.workers()[0].address();
    for woid in [first, second] {
        let workers = vec![worker];
        world
            .post(&Call::AllowWorkersToContribute { woid, workers })
            .await;
    }
    world.rounds(5).await;
    assert_eq!(world.sent.len(), 1, "500 are enough for one of two");
    assert!(world.mined.iter().all(|receipt| receipt.succeeded));
    assert_eq!(world.balance().await, has(200, 310));
}

/// K: whenever it is killed, another takes up the notes, and the end is the same.
#[tokio::test]
async fn a_worker_that_is_killed_at_every_block_is_paid_all_the_same() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.restart();
    world.allow(woid, &[0]).await;
    for _ in 0..4 {
        world.restart();
        world.round().await;
    }
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
    world.reveal_consensus(woid, RESULT).await;
    for _ in 0..4 {
        world.restart();
        world.round().await;
    }
    assert_eq!(world.part(woid).await.status, ContributionStatus::Proved);
    world.finalize(woid).await;
    for _ in 0..4 {
        world.restart();
        world.round().await;
    }
    let State::Won { .. } = world.until_over().await else {
        panic!("{:?}", world.over)
    };
    assert_eq!(world.balance().await, has(1_000_980, 10));
    let mut different = world.sent.clone();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), 2, "what is sent again is the same");
}

/// R2: who has not revealed in time waits for the end, and is told that its stake is gone.
#[tokio::test]
async fn a_reopened_order_is_lost_for_who_did_not_reveal() {
    let mut world = World::new(2)
        .await
        .with(|settings| settings.faults.no_reveal = true);
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.allow(woid, &[0, 1]).await;
    world.rounds(2).await;
    world.reveal_consensus(woid, RESULT).await;
    world.devnet.warp(61).await.expect("time");
    world.look().await;
    assert_eq!(world.told.last(), Some(&State::Unrevealed { stake: Rlc(300) }));
    world.post(&Call::Reopen { woid }).await;
    world.round().await;
    assert_eq!(world.told.last(), Some(&State::Rejected { stake: Rlc(300) }));
    world.contribute(1, woid, RESULT).await;
    world.round().await;
    world.reveal_consensus(woid, RESULT).await;
    world.reveal(1, woid, RESULT).await;
    world.round().await;
    world.finalize(woid).await;
    assert_eq!(world.until_over().await, State::Lost { seized: Rlc(300) });
    assert_eq!(world.balance().await, has(999_690, 10));
}

/// T1, T3: nothing is sent after its time, and who claims sets the stake free.
#[tokio::test]
async fn an_order_that_expires_is_told_with_what_it_binds() {
    let mut world = World::new(1).await;
    let (woid, unused) = (world.order().await, world.order().await);
    world.computed(woid, RESULT).await;
    world.computed(unused, RESULT).await;
    world.allow(woid, &[0]).await;
    world.rounds(2).await;
    world.devnet.warp(301).await.expect("time");
    // Too late, and it would fail.
    world.look().await;
    let locked = Some(Rlc(300));
    assert!(world.told.contains(&State::Expired { locked }));
    assert!(world.told.contains(&State::Expired { locked: None }));
    let claim = Call::ClaimFailedConsensus { woid };
    let requester = world.devnet.requester();
    world.devnet.post(&claim, requester).await.expect("sent");
    world.rounds(8).await;
    assert_eq!(world.sent.len(), 1);
    assert!(
        world.over.contains(&State::Claimed { freed: locked }),
        "{:?}",
        world.over
    );
    assert!(world.over.contains(&State::Expired { locked: None }));
    assert_eq!(world.balance().await, has(999_990, 10));
}

/// P4: a ticket for others is refused, with the reason.
#[tokio::test]
async fn a_ticket_of_another_chain_hub_or_pool_is_refused() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    let ticket = world.ticket(woid).await;
    let other = Address([9; 20]);
    for wrong in [
        wire_hub::Ticket {
            chain_id: 1,
            ..ticket
        },
        wire_hub::Ticket { hub: other, ..ticket },
        wire_hub::Ticket {
            pool: other,
            ..ticket
        },
    ] {
        let result = RESULT;
        world
            .tell(Event::Computed {
                ticket: wrong,
                result,
            })
            .await;
    }
    let contracts = *world.devnet.contracts();
    let (hub, pool) = (contracts.hub, contracts.pool);
    let refused = [
        Refusal::OtherChain { is: 1, here: 31_337 },
        Refusal::OtherHub { is: other, here: hub },
        Refusal::OtherPool {
            is: other,
            here: pool,
        },
    ];
    assert_eq!(world.refused, refused);
    assert_eq!((world.taken.len(), world.notes.len()), (0, 0));
}

/// P3: what a node says that has stood still is no reason to send.
#[tokio::test]
async fn nothing_is_sent_on_the_word_of_a_node_that_stands_still() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    world.computed(woid, RESULT).await;
    world.ahead_s = 301;
    world.allow(woid, &[0]).await;
    world.rounds(3).await;
    assert_eq!(world.sent.len(), 0);
    assert_eq!(world.told.last(), Some(&State::Contributing));
    world.ahead_s = 0;
    world.rounds(2).await;
    assert_eq!(world.part(woid).await.status, ContributionStatus::Contributed);
}

/// The result of many works is contributed as the ticket says.
#[tokio::test]
async fn a_ticket_that_has_a_result_says_what_is_contributed() {
    let mut world = World::new(1).await;
    let woid = world.order().await;
    let ticket = wire_hub::Ticket {
        result: Some(OTHER),
        ..world.ticket(woid).await
    };
    let result = RESULT;
    world.tell(Event::Computed { ticket, result }).await;
    world.allow(woid, &[0]).await;
    world.rounds(2).await;
    assert_eq!(world.part(woid).await.result_hash, wire_hub::result_hash(OTHER));
}
