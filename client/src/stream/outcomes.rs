//! What became of a stream's works, over all of its bags.

use std::fmt;
use std::sync::Arc;

use wire_protocol::client_link::OutcomeItem;
use wire_protocol::ids::WorkId;

use super::shared::Shared;
use crate::error::ClientError;
use crate::follow::{Follow, Ready};
use crate::routes::Consumer;

/// The outcomes of a stream's works, each work's once, as they become durable.
///
/// Dropped, it has outcomes no longer sent for bags that are opened from then on.
pub struct StreamOutcomes {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    /// Bags whose works are not all done.
    follows: Vec<Follow>,
    missing: u64,
}

impl fmt::Debug for StreamOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOutcomes")
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

impl StreamOutcomes {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            consumer: Arc::clone(&shared.consumer),
            shared,
            follows: Vec::new(),
            missing: 0,
        }
    }

    /// Waits for outcomes and calls `on_outcome` with each; how many they were. Zero: the stream is finished, every
    /// work of it is done, and its outcome was delivered (but for [`missing`](Self::missing) ones). Cancelled, it
    /// has lost nothing.
    ///
    /// # Errors
    /// What ended the stream, when the outcomes that were there are delivered; [`ClientError::Away`] when the
    /// engine is away for longer than the client's patience.
    pub async fn recv(&mut self, mut on_outcome: impl FnMut(&OutcomeItem<'_>)) -> Result<usize, ClientError> {
        loop {
            let ended = {
                let mut state = self.shared.lock();
                self.follows.append(&mut state.follows);
                state.ended.clone()
            };
            let mut delivered = 0;
            let mut behind = None;
            for (index, follow) in self.follows.iter_mut().enumerate() {
                match follow.ready(&mut on_outcome)? {
                    Ready::Delivered(count) => delivered += count,
                    Ready::Behind => behind = Some(index),
                    Ready::Nothing | Ready::Complete => {}
                }
            }
            if delivered == 0
                && let Some(index) = behind
            {
                delivered = self.follows[index].catch_up(&mut on_outcome).await?;
                if delivered == 0 {
                    continue;
                }
            }
            let missing = &mut self.missing;
            self.follows.retain(|follow| {
                let complete = follow.is_complete();
                *missing += if complete { u64::from(follow.missing()) } else { 0 };
                !complete
            });
            if delivered > 0 {
                return Ok(delivered);
            }
            match ended {
                Some(Err(error)) => return Err(error),
                Some(Ok(())) if self.follows.is_empty() => return Ok(0),
                _ => self.consumer.arrived().await,
            }
        }
    }

    /// The number of the row that a work was made of, as [`Stream::send`](super::Stream::send) returned it. `None`: it
    /// is not of this stream.
    #[must_use]
    pub fn row_of(&self, work: WorkId) -> Option<u64> {
        let state = self.shared.lock();
        let bag_rows = u64::from(self.shared.options.bag_rows);
        let bag = state
            .bags
            .partition_point(|first| *first <= work)
            .checked_sub(1)?;
        let row = bag as u64 * bag_rows
            + work
                .0
                .checked_sub(state.bags[bag].0)
                .filter(|row| *row < bag_rows)?;
        (row < state.pushed).then_some(row)
    }

    /// Works whose outcome will not be told, because the journal no longer holds it. Zero before the end.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

impl Drop for StreamOutcomes {
    fn drop(&mut self) {
        self.consumer.leave();
        // They let go of their entries in the reader's table, whose lock the reader holds when it takes this one.
        let follows = std::mem::take(&mut self.shared.lock().follows);
        drop(follows);
    }
}
