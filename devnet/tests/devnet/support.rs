//! What the tests share: a chain with a pool, and steps of an order.

use devnet::{Devnet, Options};
use wire_chain::{Answer, At, Chain};
use wire_hub::{
    Address, Balance, Call, Commitment, Event, Hash, NOBODY, Receipt, Rlc, WorkOrder, result_hash,
};
use wire_wallet::Wallet;

/// Periods of the category that tests use are of half a minute.
pub(crate) const CATEGORY: u64 = 1;

pub(crate) const RESULT: Hash = Hash([0x11; 32]);
pub(crate) const WRONG: Hash = Hash([0x22; 32]);

pub(crate) async fn chain() -> Devnet {
    Devnet::start(Options::default()).await.expect("a chain")
}

/// A chain with a pool of so many workers, and its app.
pub(crate) async fn pool(workers: usize) -> (Devnet, Address) {
    let mut devnet = chain().await;
    let app = devnet.populate(workers).await.expect("a pool");
    (devnet, app)
}

pub(crate) fn known<T: std::fmt::Debug>(answer: Answer<T>) -> T {
    match answer {
        Answer::Known(known) => known,
        other => panic!("this should be known: {other:?}"),
    }
}

/// One order of a value of 1000 nRLC, bought of an offer of its own.
pub(crate) async fn order(devnet: &Devnet, app: Address) -> Address {
    let offer = devnet.sell(CATEGORY, 0, Rlc(1_000), 1).await.expect("an offer");
    devnet.buy(offer, app, "params", NOBODY).await.expect("an order")
}

pub(crate) async fn allow(devnet: &Devnet, woid: Address, workers: &[Wallet]) -> Receipt {
    let workers = workers.iter().map(Wallet::address).collect();
    let allow = Call::AllowWorkersToContribute { woid, workers };
    devnet.done(&allow, devnet.scheduler()).await.expect("allowed")
}

pub(crate) async fn contribute(devnet: &Devnet, woid: Address, worker: &Wallet, result: Hash) -> Receipt {
    let call = Commitment::of(result, worker.address()).call(woid);
    devnet.done(&call, worker).await.expect("contributed")
}

pub(crate) async fn consensus(devnet: &Devnet, woid: Address, result: Hash) -> Receipt {
    let consensus = result_hash(result);
    let call = Call::RevealConsensus { woid, consensus };
    devnet.done(&call, devnet.scheduler()).await.expect("consensus")
}

pub(crate) async fn reveal(devnet: &Devnet, woid: Address, worker: &Wallet, result: Hash) -> Receipt {
    let call = Call::Reveal { woid, result };
    devnet.done(&call, worker).await.expect("revealed")
}

pub(crate) fn finalize(woid: Address) -> Call {
    Call::FinalizeWork {
        woid,
        stdout: "out".to_owned(),
        stderr: "err".to_owned(),
        uri: "ipfs:x".to_owned(),
    }
}

pub(crate) async fn finalized(devnet: &Devnet, woid: Address) -> Receipt {
    devnet
        .done(&finalize(woid), devnet.scheduler())
        .await
        .expect("finalized")
}

pub(crate) async fn balance(devnet: &Devnet, who: &Wallet) -> Balance {
    let mut balances = devnet.node().balances(&[who.address()], At::Latest).await;
    known(balances.remove(0))
}

pub(crate) const fn has(stake: u128, locked: u128) -> Balance {
    Balance {
        stake: Rlc(stake),
        locked: Rlc(locked),
    }
}

pub(crate) async fn work_order(devnet: &Devnet, woid: Address) -> WorkOrder {
    known(devnet.node().work_orders(&[woid], At::Latest).await.remove(0))
}

pub(crate) fn events(receipt: &Receipt) -> Vec<Event> {
    receipt.logs.iter().map(|log| log.event.clone()).collect()
}
