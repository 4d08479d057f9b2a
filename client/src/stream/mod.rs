//! Works one by one: a stream of single submissions, at the price of a row each.
//!
//! Underneath, a stream is one open bag after the other. Each announces [`StreamOptions::bag_rows`] rows, which come
//! as callers have them; when it is full the next is opened, and the last is *sealed*: it takes no more. Callers
//! append their row to a buffer, and one task, the stream's driver, takes what has gathered since it looked last and
//! sends it as one chunk. So rows travel alone when few come, and thousands together when many do, without a timer:
//! nobody waits for company.
//!
//! ```text
//!  callers ── rows ──► pending chunks ──► driver ──► ROWS ──► engine
//!     ▲                                                          │
//!     └── tickets ◄── watermark: durable up to row n ◄─ ACCEPTED ┘
//! ```
//!
//! A row has a number in its stream, and what is durable is a watermark over those numbers. A ticket is such a number
//! with a place in the queue of those who wait for the watermark; it costs no task and no channel.

mod driver;
mod outcomes;
mod shared;
mod ticket;

use std::fmt;
use std::sync::Arc;

use wire_protocol::ids::WorkId;
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::template::{Invalid, WorkTemplate};

use crate::connection::Client;
use crate::error::ClientError;
use crate::sending::{UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_ROWS_MAX};

use driver::drive;
use shared::Shared;

pub use outcomes::StreamOutcomes;
pub use ticket::Ticket;

/// Eight streams with 65 536 works in a bag held the engine up for 30 ms a snapshot (`perf/notes/latency.md`); with
/// this many the rate of single works was no lower.
const BAG_ROWS: u32 = 8_192;

/// What a caller may choose about a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Works of one bag: 1 to 1 000 000, default 8 192. A bag that is open counts with all of them against the
    /// engine's limit of open works, and holds the engine up while a snapshot goes through them; each bag costs the
    /// engine some hundred bytes and a round trip.
    pub bag_rows: u32,
    /// Rows that may wait for their acknowledgement before callers wait. Default [`UNACKNOWLEDGED_ROWS_MAX`].
    pub unacknowledged_rows_max: u32,
    /// Bytes that may, but for the last row. Default [`UNACKNOWLEDGED_BYTES_MAX`].
    pub unacknowledged_bytes_max: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            bag_rows: BAG_ROWS,
            unacknowledged_rows_max: UNACKNOWLEDGED_ROWS_MAX,
            unacknowledged_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
        }
    }
}

/// A stream that has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamSummary {
    /// Works that were accepted, all of them durable.
    pub works: u64,
}

impl Client {
    /// Opens a stream of works that share a template, and the stream of their outcomes. Nothing is sent before the
    /// first row. Drop the outcomes at once if nobody wants them: then they are not sent.
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: a field of the template or an option is out of range. A time to live is one: it
    /// counts from when a bag is opened, and a stream's works come later than that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn stream(
        &self,
        template: WorkTemplate,
        options: StreamOptions,
    ) -> Result<(Stream, StreamOutcomes), ClientError> {
        template.validate().map_err(ClientError::Rejected)?;
        check(&template, &options).map_err(ClientError::Rejected)?;
        let shared = Shared::new(template.columns.len(), options);
        tokio::spawn(drive(Arc::clone(&shared), self.clone(), template));
        let stream = Stream(Arc::new(Handle(Arc::clone(&shared))));
        Ok((stream, StreamOutcomes::new(shared)))
    }
}

fn check(template: &WorkTemplate, options: &StreamOptions) -> Result<(), Invalid> {
    let invalid = |field: &str, problem: String| {
        Err(Invalid {
            field: field.to_owned(),
            problem,
        })
    };
    if template.time_to_live.is_some() {
        let problem = "counts from when a bag is opened; works of a stream come later".to_owned();
        return invalid("time_to_live", problem);
    }
    let max = options.unacknowledged_rows_max;
    if !(1..=BAG_ROWS_MAX).contains(&options.bag_rows) {
        let problem = format!("is {}; 1 to {BAG_ROWS_MAX} are allowed", options.bag_rows);
        return invalid("bag_rows", problem);
    }
    if !(1..=UNACKNOWLEDGED_ROWS_MAX).contains(&max) {
        let problem = format!("is {max}; 1 to {UNACKNOWLEDGED_ROWS_MAX} are allowed");
        return invalid("unacknowledged_rows_max", problem);
    }
    Ok(())
}

/// Takes works one by one, from any number of tasks: clones are one stream.
///
/// When the last clone is dropped without [`finish`](Self::finish), rows that were taken still go out and the
/// stream is sealed behind them, by its driver, for as long as the runtime lives; nobody is told how that ends.
/// A process that dies first leaves its last bag unsealed: its works are done and it waits for rows.
#[derive(Clone)]
pub struct Stream(Arc<Handle>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What all clones hold together.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Stream {
    /// Submits one work, and returns when it is durable.
    ///
    /// # Errors
    /// Those of [`push`](Self::push) and of its [`Ticket`].
    pub async fn submit(&self, row: impl AsRef<[u8]>) -> Result<WorkId, ClientError> {
        self.push(row).await?.await
    }

    /// Hands one work over; the ticket says when it is durable. Waits only while too much is under way. Cancelled,
    /// it has taken nothing.
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: this row cannot be; the stream goes on. [`ClientError::StreamFinished`], or what
    /// ended the stream: it takes no more.
    pub async fn push(&self, row: impl AsRef<[u8]>) -> Result<Ticket, ClientError> {
        let row = self.send(row).await?;
        Ok(Ticket::new(row, Arc::clone(&self.0.0)))
    }

    /// As [`push`](Self::push), for those who only watch outcomes: returns the row's number in the stream, from 0,
    /// which [`StreamOutcomes::row_of`] finds again.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub async fn send(&self, row: impl AsRef<[u8]>) -> Result<u64, ClientError> {
        // Whoever pushes in a tight loop on a runtime of one thread must let the driver have its turn.
        tokio::task::coop::consume_budget().await;
        let shared = &*self.0.0;
        let row = row.as_ref();
        shared.check(row)?;
        if let Some(taken) = shared.take(row) {
            return taken;
        }
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(taken) = shared.take(row) {
                return taken;
            }
            changed.await;
        }
    }

    /// Waits until more than `known` rows are durable, and returns how many are, counted from the stream's first.
    /// `None`: all that it took are, and it takes no more. For those who want to know of each work when it was
    /// acknowledged, without a ticket for each.
    ///
    /// # Errors
    /// What ended the stream before.
    pub async fn durable_beyond(&self, known: u64) -> Result<Option<u64>, ClientError> {
        let shared = &*self.0.0;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = shared.lock();
                if state.durable > known {
                    return Ok(Some(state.durable));
                }
                if let Some(ended) = &state.ended {
                    return ended.clone().map(|()| None);
                }
                state.watched = true;
            }
            changed.await;
        }
    }

    /// Seals the stream: it takes no more works. Returns when all that it took are durable and the last bag is
    /// sealed. Outcomes go on coming.
    ///
    /// # Errors
    /// What ended the stream before. Where it is [`ClientError::Away`] or [`ClientError::Timeout`], the last bag may
    /// be left unsealed.
    pub async fn finish(&self) -> Result<StreamSummary, ClientError> {
        let shared = &*self.0.0;
        shared.finish();
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (ended, works) = {
                let state = shared.lock();
                (state.ended.clone(), state.durable)
            };
            if let Some(ended) = ended {
                return ended.map(|()| StreamSummary { works });
            }
            changed.await;
        }
    }
}
