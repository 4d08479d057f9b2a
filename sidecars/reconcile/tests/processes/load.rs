//! Works that have nothing to do with a chain, beside those that have: how long each takes from its submission to its
//! outcome.

use std::time::Duration;

use client::{Client, ConnectOptions, SubmitOptions, Trust};
use testkit::processes::{Engine, PASSWORD};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};
use wire_protocol::template::WorkTemplate;

/// One is submitted every so often, whether or not those before are done.
const EVERY: Duration = Duration::from_millis(5);

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    running: JoinHandle<Vec<Duration>>,
}

impl Load {
    pub(crate) async fn start(engine: &Engine) -> Self {
        let trust = Trust::Ca(engine.ca());
        let mut options = ConnectOptions::new(engine.clients(), trust, "admin", PASSWORD);
        "localhost".clone_into(&mut options.server_name);
        let client = Client::connect(options).await.expect("the engine is there");
        let (stop, stopped) = watch::channel(false);
        Self {
            stop,
            running: tokio::spawn(submit(client, stopped)),
        }
    }

    /// How long each work took, the shortest first.
    pub(crate) async fn stop(self) -> Vec<Duration> {
        self.stop.send_replace(true);
        let mut took = self.running.await.expect("no work fails");
        took.sort_unstable();
        took
    }
}

async fn submit(client: Client, stopped: watch::Receiver<bool>) -> Vec<Duration> {
    let template = WorkTemplate {
        app: "null:8".to_owned(),
        ..WorkTemplate::default()
    };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut works = JoinSet::new();
    while !*stopped.borrow() {
        let due = ticks.tick().await;
        let (client, template) = (client.clone(), template.clone());
        works.spawn(async move {
            let rows: [&[u8]; 1] = [&[]];
            let submitted = client.submit(template, rows, SubmitOptions::default()).await;
            let work = submitted.expect("accepted").first;
            client.wait_work(work).await.expect("done");
            Instant::now() - due
        });
    }
    works.join_all().await
}

/// The value that so many of a hundred do not exceed.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}
