//! What a work prints while it runs.
//!
//! Pieces of its output come as they are printed, with gaps where somebody on the way had no room; at the end of an attempt
//! comes a word about that. When the link is lost the work is followed again on the next one, where its worker begins
//! from the beginning: what was given before is left out here.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wire_protocol::client_link::kind;
use wire_protocol::ids::{Attempt, WorkId, WorkerId};
use wire_protocol::log::{ClientLog, FollowLogs, LogEnd, LogStream, StopLogs};
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::push_control;

use crate::connection::{Client, Connection};
use crate::error::ClientError;
use crate::follow::name_of;
use crate::routes::{Entry, Route, Setback};

/// Bytes that output takes which waits for whoever reads it; what comes beyond that is left out, and seen to be missing.
const WAITING_BYTES_MAX: usize = 1 << 20;

/// What to hear of a work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOptions {
    /// Go on as it prints, attempt after attempt, until it has ended. Otherwise: what there is.
    pub follow: bool,
    /// Its standard output.
    pub stdout: bool,
    /// Its standard error.
    pub stderr: bool,
}

impl Default for LogOptions {
    /// Follows both streams.
    fn default() -> Self {
        Self {
            follow: true,
            stdout: true,
            stderr: true,
        }
    }
}

/// Something that is heard of a work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LogEvent {
    /// It has printed something.
    Output {
        /// The attempt.
        attempt: Attempt,
        /// The worker that runs it.
        worker: WorkerId,
        /// Where to.
        stream: LogStream,
        /// Bytes of the stream that were left out before this.
        missing: u64,
        /// What it has printed; empty where only something is missing.
        bytes: Vec<u8>,
    },
    /// An attempt ended, and there may be another.
    AttemptEnded {
        /// Which.
        attempt: Attempt,
    },
    /// There will be no more.
    Ended {
        /// The last attempt; 0: none was made.
        attempt: Attempt,
        /// Where the work is. Of one that is done, what it printed stands in its result: see [`Logs::position`].
        state: WorkState,
    },
}

/// A work whose output is heard.
#[derive(Debug)]
pub struct Logs {
    client: Client,
    work: WorkId,
    options: LogOptions,
    /// The connection on which it is followed.
    on: Option<(Connection, Entry, Arc<LogQueue>)>,
    /// The attempt that is heard, and bytes of each stream that were given or are known to be missing.
    attempt: Attempt,
    positions: [u64; 2],
    ended: bool,
}

impl Client {
    /// Hears what a work prints. Nothing is asked before the first [`Logs::next`].
    #[must_use]
    pub fn logs(&self, work: WorkId, options: LogOptions) -> Logs {
        Logs {
            client: self.clone(),
            work,
            options,
            on: None,
            attempt: Attempt(0),
            positions: [0; 2],
            ended: false,
        }
    }
}

impl Logs {
    /// The next thing; `None` after [`LogEvent::Ended`]. Cancelled, nothing is lost.
    ///
    /// # Errors
    /// [`ClientError::NotFound`]; [`ClientError::Busy`] where the engine has as many followers as it may;
    /// [`ClientError::Away`] when there is no link for longer than its patience. Called again, it asks again.
    pub async fn next(&mut self) -> Result<Option<LogEvent>, ClientError> {
        while !self.ended {
            let (connection, entry, queue) = match self.on.take() {
                Some(on) => on,
                None => self.ask().await?,
            };
            let heard = queue.pop();
            // After what ends a request nothing comes on it.
            if heard.as_ref().is_none_or(Heard::goes_on) {
                self.on = Some((connection, entry, Arc::clone(&queue)));
            }
            match heard {
                Some(heard) => {
                    if let Some(event) = self.hear(heard)? {
                        return Ok(Some(event));
                    }
                }
                None => queue.arrived.notified().await,
            }
        }
        Ok(None)
    }

    /// Bytes of a stream of this attempt that were given, or are known to be missing: what a result holds behind them is
    /// still to be read. 0 of any other attempt than the last that was heard.
    #[must_use]
    pub fn position(&self, attempt: Attempt, stream: LogStream) -> u64 {
        if attempt == self.attempt {
            self.positions[index(stream)]
        } else {
            0
        }
    }

    async fn ask(&self) -> Result<(Connection, Entry, Arc<LogQueue>), ClientError> {
        loop {
            let connection = self.client.up(self.client.patience()).await?;
            let queue = Arc::new(LogQueue::default());
            let Some(entry) = self.client.enter(&connection, Route::Logs(Arc::clone(&queue))) else {
                continue;
            };
            let LogOptions {
                follow,
                stdout,
                stderr,
            } = self.options;
            let asked = FollowLogs {
                request: entry.request,
                work: self.work,
                follow,
                stdout,
                stderr,
            };
            let mut frames = Vec::new();
            push_control(&mut frames, kind::FOLLOW_LOGS, &asked);
            if connection.send(frames).await {
                return Ok((connection, entry, queue));
            }
        }
    }

    fn hear(&mut self, heard: Heard) -> Result<Option<LogEvent>, ClientError> {
        match heard {
            Heard::Piece(piece) => Ok(self.place(piece)),
            Heard::End(LogEnd {
                attempt,
                goes_on: true,
                ..
            }) => Ok(Some(LogEvent::AttemptEnded { attempt })),
            Heard::End(LogEnd { attempt, state, .. }) => {
                self.ended = true;
                Ok(Some(LogEvent::Ended { attempt, state }))
            }
            Heard::Answer(reply) => Err(match *reply {
                Reply::NotFound { what } => ClientError::NotFound { what },
                other => self
                    .client
                    .broken(format!("it answered a request for logs with {}", name_of(&other))),
            }),
            Heard::SetBack(Setback::Busy(busy)) => Err(ClientError::Busy {
                limit: busy.limit,
                retry_after: busy.retry_after,
            }),
            Heard::SetBack(Setback::Rejected(invalid)) => Err(ClientError::Rejected(invalid)),
            Heard::SetBack(Setback::Lost) | Heard::Lost => Ok(None),
        }
    }

    /// What of a piece is new, if anything.
    fn place(&mut self, piece: Piece) -> Option<LogEvent> {
        let Piece {
            attempt,
            worker,
            stream,
            offset,
            mut bytes,
        } = piece;
        if attempt != self.attempt {
            (self.attempt, self.positions) = (attempt, [0; 2]);
        }
        let position = &mut self.positions[index(stream)];
        let missing = offset.saturating_sub(*position);
        let known = usize::try_from(position.saturating_sub(offset)).unwrap_or(usize::MAX);
        bytes.drain(..known.min(bytes.len()));
        *position = (*position).max(offset) + bytes.len() as u64;
        (missing > 0 || !bytes.is_empty()).then_some(LogEvent::Output {
            attempt,
            worker,
            stream,
            missing,
            bytes,
        })
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        let Some((connection, entry, _)) = self.on.take() else {
            return;
        };
        let mut frames = Vec::new();
        let request = entry.request;
        push_control(&mut frames, kind::STOP_LOGS, &StopLogs { request });
        connection.try_send(frames);
    }
}

fn index(stream: LogStream) -> usize {
    match stream {
        LogStream::Stdout => 0,
        LogStream::Stderr => 1,
    }
}

/// A piece of output.
#[derive(Debug)]
struct Piece {
    attempt: Attempt,
    worker: WorkerId,
    stream: LogStream,
    offset: u64,
    bytes: Vec<u8>,
}

/// What the reader of the link heard.
#[derive(Debug)]
enum Heard {
    Piece(Piece),
    End(LogEnd),
    Answer(Box<Reply>),
    SetBack(Setback),
    Lost,
}

impl Heard {
    /// More comes behind it.
    fn goes_on(&self) -> bool {
        matches!(self, Self::Piece(_) | Self::End(LogEnd { goes_on: true, .. }))
    }
}

/// What was heard of one request and waits for its reader. Output beyond the bound is dropped, an end never.
#[derive(Debug, Default)]
pub(crate) struct LogQueue {
    heard: Mutex<(VecDeque<Heard>, usize)>,
    arrived: Notify,
}

impl LogQueue {
    pub(crate) fn log(&self, log: &ClientLog<'_>) {
        let mut heard = self.lock();
        let bytes = taken(log.chunk.bytes.len());
        if heard.1 + bytes > WAITING_BYTES_MAX {
            return;
        }
        heard.1 += bytes;
        let piece = Piece {
            attempt: log.attempt,
            worker: log.worker,
            stream: log.chunk.stream,
            offset: log.chunk.offset,
            bytes: log.chunk.bytes.to_vec(),
        };
        heard.0.push_back(Heard::Piece(piece));
        drop(heard);
        self.arrived.notify_one();
    }

    pub(crate) fn end(&self, end: LogEnd) {
        self.push(Heard::End(end));
    }

    pub(crate) fn answer(&self, answer: Result<Reply, Setback>) {
        self.push(match answer {
            Ok(reply) => Heard::Answer(Box::new(reply)),
            Err(setback) => Heard::SetBack(setback),
        });
    }

    pub(crate) fn lose(&self) {
        self.push(Heard::Lost);
    }

    fn push(&self, what: Heard) {
        self.lock().0.push_back(what);
        self.arrived.notify_one();
    }

    fn pop(&self) -> Option<Heard> {
        let mut heard = self.lock();
        let next = heard.0.pop_front()?;
        if let Heard::Piece(piece) = &next {
            heard.1 -= taken(piece.bytes.len());
        }
        Some(next)
    }

    fn lock(&self) -> MutexGuard<'_, (VecDeque<Heard>, usize)> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a piece of so many bytes takes: of very short ones the place in the queue is the most.
fn taken(bytes: usize) -> usize {
    size_of::<Heard>() + bytes
}

#[cfg(test)]
mod tests {
    use wire_protocol::log::LogChunk;

    use super::*;

    #[test]
    fn pieces_of_nothing_do_not_wait_without_a_bound() {
        let queue = LogQueue::default();
        let log = |offset| ClientLog {
            request: 0,
            attempt: Attempt(1),
            worker: WorkerId(1),
            chunk: LogChunk {
                stream: LogStream::Stdout,
                offset,
                bytes: b"",
            },
        };
        for offset in 0..2 * WAITING_BYTES_MAX / size_of::<Heard>() {
            queue.log(&log(offset as u64));
        }
        let waiting = queue.lock().0.len();
        assert_eq!(waiting, WAITING_BYTES_MAX / size_of::<Heard>());
        while queue.pop().is_some() {}
        assert_eq!(queue.lock().1, 0);
    }
}
