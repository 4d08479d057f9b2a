//! Transactions that are refused, by the contracts or by the node, and chains that take others.

use devnet::Devnet;
use wire_chain::{Answer, At, Chain, Counted, Sent, Simulated};
use wire_hub::{Call, Commitment, Hash, NOBODY, Rlc, Timestamp};
use wire_wallet::Wallet;

use crate::support::*;

/// Of a transaction that the contract refuses there is a receipt, and nothing else. What would be refused is told before.
#[tokio::test]
async fn refused_transactions_are_told_before_and_after() {
    let (devnet, app) = pool(1).await;
    let (worker, stranger) = (&devnet.workers()[0], &devnet.workers()[1]);
    let woid = order(&devnet, app).await;
    let allow_one = |who: &Wallet| Call::AllowWorkersToContribute {
        woid,
        workers: vec![who.address()],
    };
    let contribute = |who: &Wallet| Commitment::of(RESULT, who.address()).call(woid);
    let refused: [(Call, &Wallet); 6] = [
        (allow_one(worker), worker),               // it is not the owner
        (allow_one(stranger), devnet.scheduler()), // it is not subscribed
        (contribute(worker), worker),              // it was not allowed
        (
            Call::RevealConsensus {
                woid,
                consensus: Hash([1; 32]),
            },
            devnet.scheduler(),
        ), // nobody said so
        (Call::Deposit { amount: Rlc(1) }, stranger), // it has none
        (finalize(woid), devnet.scheduler()),      // there is nothing
    ];
    for (call, from) in &refused {
        let simulated = known(devnet.node().simulate(call, from.address()).await);
        assert!(
            matches!(simulated, Simulated::Reverts(_)),
            "{call:?}: {simulated:?}"
        );
        let receipt = devnet.send(call, from).await.expect("mined");
        assert!(
            !receipt.succeeded && receipt.logs.is_empty(),
            "{call:?}: {receipt:?}"
        );
        assert!(
            receipt.gas_used.0 > 21_000 && receipt.gas_price.0 > 0,
            "{receipt:?}"
        );
    }
    let fine = known(
        devnet
            .node()
            .simulate(&allow_one(worker), devnet.scheduler().address())
            .await,
    );
    let Simulated::Succeeds(gas) = fine else {
        panic!("{fine:?}");
    };
    let receipt = devnet
        .done(&allow_one(worker), devnet.scheduler())
        .await
        .expect("allowed");
    assert!(gas >= receipt.gas_used, "{gas:?} was estimated of {receipt:?}");
}

/// What a node says of a transaction follows from its nonce and its fee.
#[tokio::test]
async fn a_node_says_why_it_does_not_take_a_transaction() {
    let devnet = chain().await;
    let (node, wallet) = (devnet.node(), devnet.scheduler());
    devnet.set_automine(false).await.expect("waits");
    let call = Call::Approve { amount: Rlc(1) };
    let first = devnet.post(&call, wallet).await.expect("taken");
    assert_eq!(known(node.send(&first).await), Sent::AlreadyKnown);
    assert_eq!(node.receipt(first.hash).await, Answer::Absent);
    let waits = known(node.transaction(first.hash).await);
    assert_eq!(
        (waits.block, waits.from, waits.nonce),
        (None, wallet.address(), first.nonce)
    );
    let mined = known(node.nonce(wallet.address(), Counted::Mined).await);
    let pending = known(node.nonce(wallet.address(), Counted::Pending).await);
    assert_eq!((mined.0, pending.0), (first.nonce.0, first.nonce.0 + 1));
    devnet.drop_transaction(first.hash).await.expect("dropped");
    assert_eq!(node.transaction(first.hash).await, Answer::Absent);
    let second = devnet
        .post(&Call::Approve { amount: Rlc(2) }, wallet)
        .await
        .expect("taken");
    assert_eq!(second.nonce, first.nonce);
    assert_eq!(known(node.send(&first).await), Sent::ReplacementUnderpriced);
    devnet.mine(1).await.expect("mined");
    assert!(devnet.mined(second.hash).await.expect("mined").succeeded);
    assert_eq!(known(node.send(&first).await), Sent::NonceTooLow);
    let poor = Wallet::of(&[9; 32]).expect("a key");
    let refused = devnet
        .post(&call, &poor)
        .await
        .expect_err("it has nothing")
        .to_string();
    assert!(refused.contains("InsufficientFunds"), "{refused}");
}

/// The same contracts under the oldest rules that they were made for: no EIP-1559, no price in receipts.
#[tokio::test]
async fn chains_from_before_london_take_legacy_transactions() {
    let options = devnet::Options {
        hardfork: Some("byzantium".to_owned()),
        ..devnet::Options::default()
    };
    let mut devnet = Devnet::start(options).await.expect("a chain");
    let app = devnet.populate(1).await.expect("a pool");
    let worker = &devnet.workers()[0];
    let woid = order(&devnet, app).await;
    allow(&devnet, woid, &devnet.workers()[..1]).await;
    contribute(&devnet, woid, worker, RESULT).await;
    consensus(&devnet, woid, RESULT).await;
    let receipt = reveal(&devnet, woid, worker, RESULT).await;
    assert!(receipt.gas_price.0 > 0, "{receipt:?}");
    finalized(&devnet, woid).await;
    assert_eq!(balance(&devnet, worker).await, has(1_000_980, 10));
}

/// Blocks come by the clock.
#[tokio::test]
async fn a_chain_may_make_its_blocks_by_the_clock() {
    let block_time = Some(std::time::Duration::from_millis(200));
    let options = devnet::Options {
        block_time,
        categories_s: vec![30],
        ..devnet::Options::default()
    };
    let devnet = Devnet::start(options).await.expect("a chain");
    let before: Timestamp = known(devnet.node().head().await).timestamp;
    devnet
        .fund(devnet.scheduler().address(), Rlc(5))
        .await
        .expect("mined");
    let has = known(devnet.node().rlc(devnet.scheduler().address(), At::Latest).await);
    assert_eq!(has, Rlc(5));
    assert!(known(devnet.node().head().await).timestamp >= before);
    assert_eq!(devnet.contracts().pool, NOBODY);
}
