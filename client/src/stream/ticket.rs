//! Waiting for one work of a stream.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use wire_protocol::ids::WorkId;

use super::shared::Shared;
use crate::error::ClientError;

/// Becomes the id of its work when that is durable. Dropped, it takes nothing back.
///
/// # Errors
/// What ended the stream before the work was known to be durable: [`ClientError::Rejected`],
/// [`ClientError::Away`] (the work may be accepted all the same), [`ClientError::SubmissionEnded`] if the runtime
/// was shut down.
#[must_use = "a ticket says when its work is durable; `Stream::send` does without"]
pub struct Ticket {
    row: u64,
    shared: Arc<Shared>,
    /// It stands in the queue.
    waits: bool,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    pub(super) fn new(row: u64, shared: Arc<Shared>) -> Self {
        Self {
            row,
            shared,
            waits: false,
        }
    }

    /// The row's number in the stream, from 0.
    #[must_use]
    pub fn row(&self) -> u64 {
        self.row
    }
}

impl Future for Ticket {
    type Output = Result<WorkId, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &mut *self;
        let mut state = ticket.shared.lock();
        let resolved = if ticket.row < state.durable {
            Ok(ticket.shared.work_of(&state, ticket.row))
        } else if let Some(ended) = &state.ended {
            Err(ended.clone().err().unwrap_or(ClientError::SubmissionEnded))
        } else {
            state
                .waiting
                .entry(ticket.row)
                .and_modify(|waker| waker.clone_from(cx.waker()))
                .or_insert_with(|| cx.waker().clone());
            drop(state);
            ticket.waits = true;
            return Poll::Pending;
        };
        drop(state);
        ticket.waits = false;
        Poll::Ready(resolved)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.waits {
            self.shared.lock().waiting.remove(&self.row);
        }
    }
}
