//! The task that sends what callers push: one open bag after the other, as many rows a chunk as have gathered.

use std::sync::Arc;

use wire_protocol::ids::BagId;
use wire_protocol::template::WorkTemplate;

use super::shared::Shared;
use crate::connection::Client;
use crate::error::ClientError;
use crate::routes::UploadNews;
use crate::sending::{Chunk, Sending, Source};

/// Sends what callers push, bag by bag, until the stream is finished or has failed.
pub(super) async fn drive(shared: Arc<Shared>, client: Client, template: WorkTemplate) {
    let driving = Driving(shared);
    let shared = &driving.0;
    let mut base = 0;
    while shared.rows_wait().await {
        let mut sending = bag(shared, &client, &template, base);
        let mut rows = BagRows {
            shared,
            base,
            given: 0,
        };
        let sent = sending.run(&mut rows).await;
        let sealed = match &sent {
            Ok(submission) if submission.rows == shared.options.bag_rows => Ok(()),
            Ok(submission) => {
                sending.target.send_modify(|target| {
                    if let Some(target) = target {
                        target.rows_total = submission.rows;
                    }
                });
                shared.consumer.wake();
                seal(&client, submission.bag).await
            }
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = sealed {
            shared.end(Err(error));
            let bag = sending.target.borrow().as_ref().map(|target| target.bag);
            if let (Err(ClientError::Rejected(_)), Some(bag)) = (sent, bag) {
                // Callers know already; whether it can be sealed changes nothing for them.
                let _ = client.seal(bag).await;
            }
            return;
        }
        base += u64::from(shared.options.bag_rows);
    }
    shared.end(Ok(()));
}

/// Ends the stream when its driver is dropped, together with its runtime, say.
struct Driving(Arc<Shared>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.end(Err(ClientError::SubmissionEnded));
    }
}

async fn seal(client: &Client, bag: BagId) -> Result<(), ClientError> {
    match client.seal(bag).await {
        // Somebody else has ended it, and it is forgotten: nothing is left to seal.
        Ok(_) | Err(ClientError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Prepares the bag that begins at row `base`, and tells the outcomes of it.
fn bag(shared: &Arc<Shared>, client: &Client, template: &WorkTemplate, base: u64) -> Sending {
    let hears = Arc::clone(shared);
    let news = UploadNews::with(
        Arc::clone(&shared.arrived),
        Box::new(move |accepted| hears.accepted(base, accepted)),
    );
    let mut sending = Sending::new(client.clone(), template.clone(), shared.options.bag_rows, news);
    if !shared.consumer.is_gone() {
        let follow = sending.follow(&shared.consumer);
        shared.lock().follows.push(follow);
    }
    sending
}

/// The rows of one bag, as they come.
struct BagRows<'a> {
    shared: &'a Shared,
    base: u64,
    /// How many of them were given to be sent.
    given: u32,
}

impl Source for BagRows<'_> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, ClientError> {
        if self.given == self.shared.options.bag_rows {
            // What waits is the next bag's.
            return Ok(None);
        }
        let mut state = self.shared.lock();
        let chunk = state.pending.pop_front();
        state.idle = chunk.is_none();
        self.given += chunk.as_ref().map_or(0, |chunk| chunk.count);
        Ok(chunk)
    }

    fn total(&self) -> u32 {
        let state = self.shared.lock();
        let bag_rows = self.shared.options.bag_rows;
        if state.finishing {
            u32::try_from(state.pushed - self.base)
                .unwrap_or(u32::MAX)
                .min(bag_rows)
        } else {
            bag_rows
        }
    }

    fn released(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.shared.lock();
        state.bytes -= bytes;
        let crowded = std::mem::take(&mut state.crowded);
        drop(state);
        if crowded {
            self.shared.changed.notify_waiters();
        }
    }
}
