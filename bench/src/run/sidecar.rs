//! A sidecar with a slow database: it reads the engine's feed, takes its time, and acknowledges.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use wire_feed::Subscription;
use wire_protocol::ids::Lsn;

use super::collect::Collected;
use crate::pool::Metrics;
use crate::scenario::SidecarPlan;

/// How long it waits for a record before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// Name of the feed's socket in the engine's folder.
const SOCKET: &str = "feed.sock";

/// A running subscriber.
pub(super) struct Sidecar {
    thread: JoinHandle<Result<()>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

impl Sidecar {
    pub(super) fn attach(plan: &SidecarPlan, engine: &Path) -> Result<Self> {
        let subscription = Subscription::connect(&engine.join(SOCKET), "bench", Lsn(0))
            .context("cannot read the engine's feed")?;
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::<AtomicU64>::default());
        let (seen, upto) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let rate = plan.records_per_second;
        let thread = std::thread::Builder::new()
            .name("sidecar".to_owned())
            .spawn(move || follow(subscription, rate, &seen, &upto))?;
        Ok(Self {
            thread,
            stop,
            acknowledged,
        })
    }

    /// Ends it, and tells how far behind it is.
    pub(super) fn detach(self, metrics: &Metrics, collected: &mut Collected) {
        self.stop.store(true, Ordering::Relaxed);
        match self.thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => eprintln!("the sidecar ended: {error:#}"),
            Err(_) => eprintln!("the sidecar failed"),
        }
        let lag = metrics.get("pool_journal_durable_lsn") - self.acknowledged.load(Ordering::Relaxed) as f64;
        collected.add("sidecar_lag_records", "records", lag);
    }
}

fn follow(mut subscription: Subscription, rate: u32, stop: &AtomicBool, upto: &AtomicU64) -> Result<()> {
    let began = Instant::now();
    let mut records: u64 = 0;
    while !stop.load(Ordering::Relaxed) {
        if subscription.next_within(PATIENCE)?.is_none() {
            continue;
        }
        records += 1;
        // It is as far as its database lets it be: whoever is ahead of that waits.
        let due = began + Duration::from_secs_f64(records as f64 / f64::from(rate));
        if let Some(ahead) = due
            .checked_duration_since(Instant::now())
            .filter(|ahead| *ahead > PATIENCE / 10)
        {
            let last = subscription.last();
            subscription.acknowledge(last)?;
            upto.store(last.0, Ordering::Relaxed);
            std::thread::sleep(ahead);
        }
    }
    Ok(())
}
