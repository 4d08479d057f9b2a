//! What a reorganisation does, as whoever follows the chain sees it; and much of a chain at once.

use std::time::Instant;

use devnet::{Devnet, Options};
use wire_chain::{Answer, At, Chain, LogReader, View, Why};
use wire_hub::{Call, Event, NOBODY, OrderStatus, Rlc};

use crate::support::*;

#[tokio::test]
async fn a_reorganisation_replaces_blocks_and_takes_back_what_they_did() {
    let (devnet, app) = pool(1).await;
    let worker = &devnet.workers()[0];
    let woid = order(&devnet, app).await;
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, worker, RESULT).await;
    let decided = consensus(&devnet, woid, RESULT).await;
    let revealed = reveal(&devnet, woid, worker, RESULT).await;
    let paid = finalized(&devnet, woid).await;
    devnet.reorg(2, &[]).await.expect("another branch");
    let node = devnet.node();
    let head = known(node.head().await);
    assert_eq!(head.at.number, paid.block.number);
    assert_ne!(head.at.hash, paid.block.hash);
    let of_before = known(node.block(revealed.block.number).await);
    assert_ne!(of_before.at.hash, revealed.block.hash);
    assert_eq!(of_before.parent, decided.block.hash, "the branches part there");
    assert_eq!(
        node.receipts(&[revealed.transaction, paid.transaction]).await,
        [Answer::Absent, Answer::Absent]
    );
    assert_eq!(
        node.transaction(paid.transaction).await,
        Answer::Absent,
        "it does not wait either"
    );
    assert_eq!(work_order(&devnet, woid).await.status, OrderStatus::Revealing);
    assert_eq!(balance(&devnet, worker).await, has(999_690, 310));
    // What is asked about a block that is gone is not known: it is not another block's.
    let gone = At::Block(paid.block);
    for answer in [
        node.look(View::OrderStatus { woid }, gone).await.map(drop),
        node.ether(worker.address(), gone).await.map(drop),
        node.code(woid, gone).await.map(drop),
        node.logs_of(paid.block).await.map(drop),
        node.contributors(woid, paid.block).await.map(drop),
    ] {
        assert!(matches!(answer, Answer::Unknown(Why::Gone(_))), "{answer:?}");
    }
    reveal(&devnet, woid, worker, RESULT).await;
    finalized(&devnet, woid).await;
    assert_eq!(balance(&devnet, worker).await, has(1_000_980, 10));
}

/// The address of an order follows from the number of orders before it.
#[tokio::test]
async fn an_orders_address_may_be_another_orders_after_a_reorganisation() {
    let (devnet, app) = pool(0).await;
    let offer = devnet.sell(CATEGORY, 0, Rlc(1_000), 2).await.expect("an offer");
    let first = devnet.buy(offer, app, "first", NOBODY).await.expect("an order");
    devnet.reorg(1, &[]).await.expect("another branch");
    let second = devnet.buy(offer, app, "second", NOBODY).await.expect("an order");
    assert_eq!(first, second);
    assert_eq!(work_order(&devnet, first).await.params, "second");
}

/// A transaction that was signed once may be put into the new branch as it is.
#[tokio::test]
async fn a_signed_transaction_is_good_on_the_new_branch_too() {
    let (devnet, app) = pool(1).await;
    let woid = order(&devnet, app).await;
    let workers = vec![devnet.workers()[0].address()];
    let allow = Call::AllowWorkersToContribute { woid, workers };
    let signed = devnet.post(&allow, devnet.scheduler()).await.expect("taken");
    let before = devnet.mined(signed.hash).await.expect("mined");
    devnet
        .reorg(1, &[(&signed.raw, 0)])
        .await
        .expect("another branch");
    let after = devnet.mined(signed.hash).await.expect("mined");
    assert!(after.succeeded);
    assert_eq!(after.block.number, before.block.number);
    assert_ne!(after.block.hash, before.block.hash);
}

#[tokio::test]
async fn a_chain_may_be_taken_back_and_come_again() {
    let (devnet, app) = pool(0).await;
    let snapshot = devnet.snapshot().await.expect("remembered");
    let before = known(devnet.node().head().await);
    let woid = order(&devnet, app).await;
    devnet.revert(snapshot).await.expect("back");
    assert_eq!(known(devnet.node().head().await), before);
    let there = devnet.node().look(View::OrderStatus { woid }, At::Latest).await;
    assert_eq!(there, Answer::Absent);
    order(&devnet, app).await;
    devnet.rollback(2).await.expect("back");
    assert_eq!(known(devnet.node().head().await).at.number, before.at.number);
}

#[tokio::test]
async fn blocks_of_old_epochs_are_final() {
    let devnet = chain().await;
    devnet.mine(10).await.expect("mined");
    let head = known(devnet.node().head().await);
    let finalized = known(devnet.node().finalized().await);
    assert_eq!(finalized.at.number, head.at.number - 2);
}

/// Events in 5 000 blocks, with orders here and there.
#[tokio::test]
async fn events_of_thousands_of_blocks_are_read_in_seconds() {
    let states = Some(64);
    let options = Options {
        states,
        ..Options::default()
    };
    let mut devnet = Devnet::start(options).await.expect("a chain");
    let app = devnet.populate(1).await.expect("a pool");
    let mut orders = Vec::new();
    for _ in 0..5 {
        devnet.mine(1_000).await.expect("mined");
        orders.push(order(&devnet, app).await);
    }
    let head = known(devnet.node().head().await).at.number;
    assert!(head > 5_000);
    let start = Instant::now();
    let (stretches, told) = read_all(&devnet, head).await;
    let took = start.elapsed();
    let active: Vec<_> = orders
        .into_iter()
        .map(|woid| Event::WorkOrderActive { woid })
        .collect();
    let found: Vec<_> = told
        .into_iter()
        .filter(|event| matches!(event, Event::WorkOrderActive { .. }))
        .collect();
    assert_eq!(found, active);
    assert!(stretches >= 2);
    println!("{head} blocks in {took:?}");
    assert!(took.as_secs() < 20, "{took:?}");
    // Such a node has blocks and events of long ago, and no state: that is not known, and nothing else.
    let old = known(devnet.node().block(1_000).await);
    let seen = devnet.node().look(View::WorkersCount, At::Block(old.at)).await;
    assert!(matches!(seen, Answer::Unknown(Why::Gone(_))), "{seen:?}");
}

async fn read_all(devnet: &Devnet, last: u64) -> (usize, Vec<Event>) {
    let (mut reader, mut events, mut stretches) = (LogReader::from(0), Vec::new(), 0);
    while let Some((blocks, logs)) = reader.read(devnet.node(), last).await.found().expect("logs") {
        stretches += 1;
        assert_eq!(reader.next_block(), blocks.end() + 1);
        events.extend(logs.into_iter().map(|log| log.event));
    }
    assert_eq!(reader.next_block(), last + 1);
    (stretches, events)
}
