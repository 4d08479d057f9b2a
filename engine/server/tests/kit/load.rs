//! Works that keep coming, and what the engine promised of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::protocol::template::WorkTemplate;
use client::{Client, Submission, SubmitOptions};

use super::{Outcome, all_outcomes};

/// Submits bag after bag, follows each, and remembers all that it was promised.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Vec<Promise>>,
}

/// What the engine acknowledged: the rows, and the outcomes as they came.
pub(crate) struct Promise {
    pub(crate) rows: Vec<String>,
    pub(crate) submission: Submission,
    pub(crate) outcomes: tokio::task::JoinHandle<Vec<Outcome>>,
}

/// Bags of one load that may be open, so that the pool has enough to do and can finish in the end.
const BAGS_AT_ONCE: usize = 6;

fn unfinished(promises: &[Promise]) -> usize {
    promises
        .iter()
        .filter(|promise| !promise.outcomes.is_finished())
        .count()
}

impl Load {
    /// With bags of so many rows, and a pause behind each.
    pub(crate) fn start(
        client: Client,
        template: WorkTemplate,
        rows: usize,
        pause: Duration,
        seed: u64,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut promises = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let mut key = [0; 16];
                random.fill(&mut key);
                let names: Vec<String> = (0..rows).map(|row| format!("{}-{row}", promises.len())).collect();
                let options = SubmitOptions { key: Some(key) };
                let sent = client
                    .submit(template.clone(), names.clone(), options)
                    .await
                    .expect("accepted");
                // The same again, as a program would that was killed before it heard of it: nothing is taken twice.
                let again = client
                    .submit(template.clone(), names.clone(), options)
                    .await
                    .expect("accepted");
                assert_eq!(again, sent);
                let follow = client.follow(sent.bag).await.expect("the bag is there");
                promises.push(Promise {
                    rows: names,
                    submission: sent,
                    outcomes: tokio::spawn(all_outcomes(follow)),
                });
                tokio::time::sleep(pause).await;
                // Asking again and again is also how this client notices that the engine has died.
                while unfinished(&promises) >= BAGS_AT_ONCE && !stopped.load(Ordering::Relaxed) {
                    client.status().await.expect("an answer");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            promises
        });
        Self { stop, task }
    }

    /// Submits no more, and gives what was promised.
    pub(crate) async fn finish(self) -> Vec<Promise> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("the load goes on to the end")
    }
}
