//! Rules of the contracts that bite, and what follows for the pool and its workers: those that no scenario has.

use devnet::Callback;
use sidecars_reconcile::core::order::Texts;
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{ALLOWED_AT_ONCE_MAX, Call, ContributionStatus, OrderStatus, Rlc, Timestamp};
use worker_chain::core::State;
use worker_chain::faults::Faults;

use crate::kit::{Ending, HONEST, Habits, Pool, SILENT, Way, has, liar};
use crate::scenarios::USUAL;

fn late(late_s: u64) -> Habits {
    let faults = Faults {
        late_s,
        ..HONEST.faults
    };
    Habits { faults, ..HONEST }
}

/// Who was allowed before an order is opened again, and who contributed something else, are still in it; who won and did
/// not reveal is out for good.
#[tokio::test]
async fn rule_3_who_was_allowed_before_an_order_is_reopened_may_still_contribute() {
    let way = Way::of(2, &[late(40), SILENT]).with(|settings| settings.plan.patience_s = Some(4));
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Authorized);
    pool.warp(61).await;
    pool.until_part(woid, 0, ContributionStatus::Contributed).await;
    assert_eq!(pool.part(woid, 1).await, ContributionStatus::Rejected);
    pool.end(&[Ending::Completed]).await;
    let [create, allow, decide, finalize] = USUAL;
    let expected = [create, allow, allow, decide, "Reopen", decide, finalize];
    assert_eq!(pool.steps().await, expected, "nobody is allowed twice");
    assert_eq!(pool.has(0).await, has(999_990 + 1_287, 10));
}

#[tokio::test]
async fn rule_3_another_contribution_stays_when_an_order_is_reopened() {
    let way = Way::of(4, &[liar(2), SILENT, SILENT, liar(2)]).with(|settings| {
        settings.plan.consensus =
            sidecars_reconcile::core::policy::ConsensusPolicy::Majority { agreeing: 2, of: 4 };
    });
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_status(woid, OrderStatus::Revealing).await;
    pool.warp(61).await;
    // What the first had contributed counts, and one more like it is enough.
    pool.end(&[Ending::Completed]).await;
    for index in [0, 3] {
        assert_eq!(pool.part(woid, index).await, ContributionStatus::Proved);
        assert_eq!(pool.has(index).await, has(999_990 + 792, 10));
    }
    assert_eq!(pool.pool_has().await, has(1_000_016, 0));
}

/// Evicted between `allow` and `contribute`: it contributes, and is paid.
#[tokio::test]
async fn rule_4_who_was_evicted_after_it_was_allowed_is_paid() {
    let slow = Habits { blocks: 8, ..HONEST };
    let mut pool = Pool::new(1, &[slow]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    let worker = pool.members[0].address();
    pool.wish(Call::EvictWorker { worker }).await;
    pool.until("evicted", async |pool| pool.has(0).await == has(1_000_000, 0))
        .await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Authorized);
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_990, 0));
    assert_eq!(pool.score(0).await, 1);
}

/// One of two who were asked leaves the pool before they are allowed: the other is, and nothing is mined in vain.
#[tokio::test]
async fn rule_5_who_left_the_pool_is_not_in_the_batch() {
    let way = Way::of(3, &[HONEST]).with(|settings| {
        settings.plan.confirmations = 6;
        settings.plan.consensus =
            sidecars_reconcile::core::policy::ConsensusPolicy::Unanimity { workers: Some(2) };
    });
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until("asked", async |pool| pool.engine.works() == 2).await;
    let leaves = &pool.devnet.workers()[0];
    pool.devnet
        .post(&Call::UnsubscribeFromPool, leaves)
        .await
        .expect("taken");
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Unset);
    let steps = pool.steps().await;
    assert!(steps.iter().all(|step| !step.ends_with('!')), "{steps:?}");
    assert_eq!(pool.has(1).await, has(999_990 + 495, 10));
}

async fn withdraw(pool: &Pool, index: usize, amount: u128) {
    let call = Call::Withdraw { amount: Rlc(amount) };
    let worker = &pool.devnet.workers()[index];
    pool.devnet.post(&call, worker).await.expect("taken");
}

/// Stake that is gone between `allow` and `contribute`: nothing is sent, which would burn all of its gas, until there is
/// enough.
#[tokio::test]
async fn rule_6_a_worker_without_the_stake_sends_nothing() {
    let slow = Habits { blocks: 6, ..HONEST };
    let mut pool = Pool::new(1, &[slow]).await;
    let woid = pool.order(0).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    withdraw(&pool, 0, 999_890).await;
    pool.rounds(10).await;
    let low = State::StakeLow {
        free: Rlc(100),
        needs: Rlc(300),
    };
    assert_eq!(pool.members[0].told.last(), Some(&low));
    assert_eq!(pool.members[0].sent.len(), 0);
    pool.devnet.set_automine(true).await.expect("anvil");
    pool.devnet
        .deposit(&pool.devnet.workers()[0], Rlc(200))
        .await
        .expect("stake");
    pool.devnet.set_automine(false).await.expect("anvil");
    pool.remember_deposits().await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(300 + 990, 10));
    assert!(pool.members[0].mined.iter().all(|receipt| receipt.succeeded));
}

/// Stake that is gone before `allow`: another is asked instead.
#[tokio::test]
async fn rule_6_a_worker_without_the_stake_is_not_allowed() {
    let way = Way::of(2, &[HONEST]).with(|settings| settings.plan.confirmations = 6);
    let mut pool = Pool::of(way).await;
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy(offer, "").await;
    pool.until("asked", async |pool| pool.engine.works() == 1).await;
    withdraw(&pool, 0, 999_890).await;
    pool.round().await;
    pool.remember_deposits().await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.part(woid, 0).await, ContributionStatus::Unset);
    assert_eq!(pool.has(1).await, has(1_000_980, 10));
    assert_eq!(pool.steps().await, USUAL);
}

/// What agrees after seven periods and well before eight is decided; later there would be no time to reveal and finalize
/// (scenario T3).
#[tokio::test]
async fn rule_7_what_agrees_before_eight_periods_is_decided() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    let woid = pool.order(0).await;
    pool.until("sent", async |pool| !pool.members[0].sent.is_empty())
        .await;
    let begun = pool.timeout(woid).await.0 - 300;
    pool.warp_to(Timestamp(begun + 225)).await;
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// The pool's clock is far ahead of the chain's: an order that would be over by it is not.
#[tokio::test]
async fn rule_8_deadlines_are_those_of_blocks() {
    let slow = Habits {
        blocks: 170,
        ..HONEST
    };
    let way = Way::of(1, &[slow]).with(|settings| settings.plan.patience_s = Some(200));
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.rounds(160).await;
    let ms = pool.now().instant.0 / 1_000_000;
    assert!(ms > 310_000, "{ms}: by the clock of the pool its time has passed");
    assert_eq!(pool.status(woid).await, OrderStatus::Active);
    pool.end(&[Ending::Completed]).await;
    assert_eq!(pool.has(0).await, has(1_000_980, 10));
}

/// Output is on chain only where a contract waits for it, and no text is longer than 250 characters.
#[tokio::test]
async fn rule_10_texts_on_chain_are_few_and_short() {
    let mut pool = Pool::new(1, &[HONEST]).await;
    pool.engine.texts = Texts {
        stdout: "a".repeat(1_000),
        stderr: "b".repeat(1_000),
        uri: "c".repeat(1_000),
    };
    let offer = pool.sell(0, 2).await;
    let quiet = pool.buy(offer, "quiet").await;
    pool.devnet.set_automine(true).await.expect("anvil");
    let contract = pool
        .devnet
        .create_callback(Callback::Takes)
        .await
        .expect("a contract");
    pool.devnet.set_automine(false).await.expect("anvil");
    let told = pool.buy_for(offer, "told", contract).await;
    pool.end(&[Ending::Completed; 2]).await;
    let lengths = |texts: &Texts| [&texts.stdout, &texts.stderr, &texts.uri].map(String::len);
    assert_eq!(lengths(&pool.texts_of(quiet).await), [0, 0, 250]);
    assert_eq!(lengths(&pool.texts_of(told).await), [250, 0, 250]);
}

/// However sure somebody wants to be: no more than sixty work on an order, and fifty are allowed at once.
#[tokio::test]
async fn rule_12_an_order_has_at_most_sixty_workers_in_batches_of_fifty() {
    let mut way = Way::of(
        62,
        &[Habits {
            blocks: 1_000,
            ..HONEST
        }],
    );
    way.options.accounts = 70;
    let mut pool = Pool::of(way).await;
    let woid = pool.order(1 << 90).await;
    pool.until("all allowed", async |pool| pool.steps().await.len() == 3)
        .await;
    let [create, allow, ..] = USUAL;
    assert_eq!(pool.steps().await, [create, allow, allow]);
    assert_eq!(pool.engine.works(), 60);
    assert_eq!(ALLOWED_AT_ONCE_MAX, 50);
    let mut allowed = 0;
    for index in 0..62 {
        allowed += usize::from(pool.part(woid, index).await == ContributionStatus::Authorized);
    }
    assert_eq!(allowed, 60);
    pool.check().await;
}

/// Works begin with the block that bought an order; nobody is allowed before it has its confirmations.
#[tokio::test]
async fn depth_works_begin_at_once_and_permissions_wait_for_confirmations() {
    let way = Way::of(1, &[HONEST]).with(|settings| settings.plan.confirmations = 8);
    let mut pool = Pool::of(way).await;
    let offer = pool.sell(0, 1).await;
    let woid = pool.buy(offer, "").await;
    pool.round().await;
    assert_eq!(pool.engine.works(), 1);
    let bought = pool.bought_in(woid).await;
    pool.until_part(woid, 0, ContributionStatus::Authorized).await;
    let allowed = pool
        .event_in(|event| matches!(event, wire_hub::Event::AllowWorkerToContribute { .. }))
        .await;
    assert!(allowed > bought + 8, "bought in {bought}, allowed in {allowed}");
    pool.end(&[Ending::Completed]).await;
}

/// What the chain calls final is, and not what has so many blocks behind it.
#[tokio::test]
async fn finality_is_the_chains_where_it_says_so() {
    let mut way = Way::of(1, &[HONEST]).with(|settings| settings.observe.final_after = None);
    way.options.slots_in_an_epoch = 4;
    let mut pool = Pool::of(way).await;
    let woid = pool.order(0).await;
    pool.until_status(woid, OrderStatus::Completed).await;
    let completed = pool
        .event_in(|event| matches!(event, wire_hub::Event::FinalizeWork { .. }))
        .await;
    pool.until("final", async |pool| !pool.over.is_empty()).await;
    let head = pool
        .devnet
        .node()
        .finalized()
        .await
        .found()
        .expect("an answer")
        .expect("a block");
    assert!(
        head.at.number >= completed,
        "{completed} is not final at {head:?}"
    );
    let seen = pool
        .devnet
        .node()
        .look(View::OrderStatus { woid }, At::Latest)
        .await;
    assert_eq!(seen.found(), Ok(Some(Seen::Status(OrderStatus::Completed))));
}
