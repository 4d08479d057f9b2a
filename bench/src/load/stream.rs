//! Works one by one, closed loop: pipelined, or each after the acknowledgement of the one before.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use client::protocol::outcome::Outcome;
use client::{Client, Stream, StreamOptions, StreamOutcomes};
use futures_util::future::try_join_all;
use tokio::sync::Notify;

use super::{LoadPlan, Progress, Times, record, row, soon, template};

/// Opens a stream on a client.
pub(super) fn open(client: &Client, plan: &LoadPlan) -> Result<(Stream, StreamOutcomes)> {
    Ok(client.stream(template(plan, 0), StreamOptions::default())?)
}

/// The share of the `index`-th of `count` in `works`.
fn share(works: u64, index: usize, count: usize) -> u64 {
    let (index, count) = (index as u64, count as u64);
    works * (index + 1) / count - works * index / count
}

/// Every client keeps [`LoadPlan::open_per_client`] works under way.
pub(super) async fn pipelined(
    clients: &[Client],
    plan: &LoadPlan,
    works: u64,
    progress: &Arc<Progress>,
) -> Result<()> {
    let each = clients.iter().enumerate();
    let each =
        each.map(|(index, client)| pipeline(client, plan, share(works, index, clients.len()), progress));
    try_join_all(each).await.map(drop)
}

async fn pipeline(client: &Client, plan: &LoadPlan, works: u64, progress: &Progress) -> Result<()> {
    let (stream, mut outcomes) = open(client, plan)?;
    let (done, ended) = (Cell::new(0_u64), Notify::new());
    let row = row(plan);
    let send = async {
        let mut sent = 0;
        while sent < works {
            let room = (done.get() + u64::from(plan.open_per_client)).min(works) - sent;
            if room == 0 {
                ended.notified().await;
                continue;
            }
            for _ in 0..room {
                stream.send(&row).await?;
            }
            sent += room;
            progress.add_submitted(room);
        }
        stream.finish().await?;
        anyhow::Ok(())
    };
    let watch = watch(&mut outcomes, works, progress, |count| {
        done.set(done.get() + count);
        ended.notify_one();
    });
    tokio::try_join!(send, watch).map(drop)
}

/// Every client waits for the acknowledgement of each work before it hands over the next.
pub(super) async fn calls(
    clients: &[Client],
    plan: &LoadPlan,
    works: u64,
    progress: &Arc<Progress>,
) -> Result<Times> {
    let times = RefCell::new(Times::new());
    let each = clients.iter().enumerate();
    let each =
        each.map(|(index, client)| call(client, plan, share(works, index, clients.len()), progress, &times));
    try_join_all(each).await?;
    Ok(times.into_inner())
}

async fn call(
    client: &Client,
    plan: &LoadPlan,
    works: u64,
    progress: &Progress,
    times: &RefCell<Times>,
) -> Result<()> {
    let (stream, mut outcomes) = open(client, plan)?;
    let row = row(plan);
    let send = async {
        for _ in 0..works {
            progress.add_submitted(1);
            let began = Instant::now();
            soon("a call was under way", stream.submit(&row)).await??;
            let took = began.elapsed().as_nanos() as u64;
            record(&mut times.borrow_mut().accepted, took);
        }
        stream.finish().await?;
        anyhow::Ok(())
    };
    let watch = watch(&mut outcomes, works, progress, |_| {});
    tokio::try_join!(send, watch).map(drop)
}

/// Waits for all outcomes of a stream.
async fn watch(
    outcomes: &mut StreamOutcomes,
    works: u64,
    progress: &Progress,
    mut on_done: impl FnMut(u64),
) -> Result<()> {
    let mut succeeded = 0;
    loop {
        let recv = outcomes.recv(|item| succeeded += u64::from(item.outcome == Outcome::Succeeded));
        let count = soon("a stream ran", recv).await?? as u64;
        if count == 0 {
            break;
        }
        progress.add_done(count);
        on_done(count);
    }
    ensure!(succeeded == works, "{succeeded} of {works} works succeeded");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_nearly_alike_and_together_all() {
        let shares: Vec<u64> = (0..3).map(|index| share(10, index, 3)).collect();
        assert_eq!(shares.iter().sum::<u64>(), 10);
        assert!(shares.iter().all(|share| (3..=4).contains(share)), "{shares:?}");
    }
}
