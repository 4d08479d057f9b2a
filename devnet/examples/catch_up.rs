//! How fast the events of many blocks are read: `cargo run --release -p devnet --example catch_up [blocks] [orders]`.
//!
//! A chain is made that has the blocks, with the orders spread over them, each bought, allowed, contributed to, revealed
//! and finalized; then all of it is read, three times, and once more asking for each block's header too, as whoever compares
//! hashes does.

use std::error::Error;
use std::time::Instant;

use devnet::{Devnet, Options};
use wire_chain::{Chain, LogReader};
use wire_hub::{Call, Commitment, Hash, NOBODY, Rlc, result_hash};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse());
    let blocks: u64 = arguments.next().transpose()?.unwrap_or(5_000);
    let orders: u64 = arguments.next().transpose()?.unwrap_or(50);
    let mut devnet = Devnet::start(Options {
        states: Some(64),
        ..Options::default()
    })
    .await?;
    let app = devnet.populate(1).await?;
    let offer = devnet.sell(1, 0, Rlc(1_000), orders).await?;
    let start = Instant::now();
    for _ in 0..orders {
        devnet.mine(blocks / orders - 5).await?;
        do_one(&devnet, devnet.buy(offer, app, "params", NOBODY).await?).await?;
    }
    let Some(head) = devnet.node().head().await.found()? else {
        return Err("no head".into());
    };
    let last = head.at.number;
    println!(
        "made {last} blocks with {orders} orders in {:.1} s",
        start.elapsed().as_secs_f64()
    );
    for _ in 0..3 {
        let start = Instant::now();
        let events = read(&devnet, last).await?;
        tell("events", last, events, start);
    }
    let start = Instant::now();
    let events = read(&devnet, last).await?;
    let numbers: Vec<u64> = (0..=last).collect();
    for stretch in numbers.chunks(1_000) {
        for block in devnet.node().blocks(stretch).await {
            block.found()?;
        }
    }
    tell("events and headers", last, events, start);
    Ok(())
}

async fn do_one(devnet: &Devnet, woid: wire_hub::Address) -> Result<(), Box<dyn Error>> {
    let (scheduler, worker, result) = (devnet.scheduler(), &devnet.workers()[0], Hash([1; 32]));
    let workers = vec![worker.address()];
    devnet
        .done(&Call::AllowWorkersToContribute { woid, workers }, scheduler)
        .await?;
    devnet
        .done(&Commitment::of(result, worker.address()).call(woid), worker)
        .await?;
    let consensus = result_hash(result);
    devnet
        .done(&Call::RevealConsensus { woid, consensus }, scheduler)
        .await?;
    devnet.done(&Call::Reveal { woid, result }, worker).await?;
    let (stdout, stderr, uri) = Default::default();
    devnet
        .done(
            &Call::FinalizeWork {
                woid,
                stdout,
                stderr,
                uri,
            },
            scheduler,
        )
        .await?;
    Ok(())
}

async fn read(devnet: &Devnet, last: u64) -> Result<usize, Box<dyn Error>> {
    let (mut reader, mut events) = (LogReader::from(0), 0);
    while let Some((_, logs)) = reader.read(devnet.node(), last).await.found()? {
        events += logs.len();
    }
    Ok(events)
}

fn tell(what: &str, blocks: u64, events: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let rate = blocks as f64 / seconds;
    println!("{what}: {events} events of {blocks} blocks in {seconds:.3} s, {rate:.0} blocks/s");
}
