//! Bytes on their way to a disk: one piece is filled while another one is written.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::task::JoinHandle;

use super::staged::Staged;
use super::{Shared, StoreError};
use crate::backend::{Steps, blocking};
use crate::limits::PIECE_BYTES;

impl Shared {
    /// Writes what comes, up to `max` bytes in all, until `stop`: one piece is filled while another one is written. Returns
    /// what it has written to, with all that came before the end, and how it ended.
    pub(super) async fn receive(
        &self,
        staged: Staged,
        max: u64,
        mut body: impl Stream<Item = Result<Bytes, StoreError>> + Unpin,
        stop: impl Future<Output = ()>,
        mut reserve: impl FnMut(u64, u64) -> Result<(), StoreError>,
    ) -> (Staged, Result<(), StoreError>) {
        let steps = self.backend.steps();
        let mut stop = std::pin::pin!(stop);
        let mut total = staged.bytes;
        let mut writer = Writer::Idle(staged, Vec::new());
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut ended = loop {
            let next = tokio::select! {
                biased;
                () = &mut stop => break Err(StoreError::TakenOver),
                next = body.next() => next,
            };
            let mut chunk = match next {
                None => break Ok(()),
                Some(Err(error)) => break Err(error),
                Some(Ok(chunk)) => chunk,
            };
            let too_long = chunk.len() as u64 > max - total;
            chunk.truncate((max - total).min(chunk.len() as u64) as usize);
            total += chunk.len() as u64;
            if let Err(error) = reserve(chunk.len() as u64, total) {
                break Err(error);
            }
            self.counters
                .received
                .fetch_add(chunk.len() as u64, Ordering::Relaxed);
            while !chunk.is_empty() {
                let take = chunk.len().min(PIECE_BYTES - piece.len());
                piece.extend_from_slice(&chunk.split_to(take));
                if piece.len() == PIECE_BYTES {
                    let (idle, empty, written) = writer.idle().await;
                    if let Err(error) = written {
                        return (idle, Err(error));
                    }
                    writer = Writer::begin(idle, std::mem::replace(&mut piece, empty), steps.clone());
                }
            }
            if too_long {
                break Err(StoreError::TooLong { max });
            }
        };
        let (idle, _, written) = writer.idle().await;
        if written.is_err() {
            return (idle, written);
        }
        let (staged, _, written) = Writer::begin(idle, piece, steps).idle().await;
        if written.is_err() {
            ended = written;
        }
        (staged, ended)
    }

    pub(super) async fn sync(&self, staged: Staged) -> Result<Staged, StoreError> {
        let steps = self.backend.steps();
        let synced = blocking(move || {
            steps.step()?;
            staged.sync()?;
            Ok(staged)
        });
        synced.await.map_err(StoreError::io("make an upload durable"))
    }
}

/// Where pieces are written.
enum Writer {
    Idle(Staged, Vec<u8>),
    Writing(JoinHandle<(Staged, Vec<u8>, io::Result<()>)>),
}

impl Writer {
    fn begin(mut staged: Staged, mut piece: Vec<u8>, steps: Steps) -> Self {
        Self::Writing(tokio::task::spawn_blocking(move || {
            let written = steps.step().and_then(|()| staged.append(&piece));
            piece.clear();
            (staged, piece, written)
        }))
    }

    /// Waits for what is being written. Returns an empty piece too.
    async fn idle(self) -> (Staged, Vec<u8>, Result<(), StoreError>) {
        match self {
            Self::Idle(staged, empty) => (staged, empty, Ok(())),
            Self::Writing(writing) => {
                let (staged, empty, written) =
                    writing.await.expect("it writes to its end, and does not panic");
                (staged, empty, written.map_err(StoreError::io("write an upload")))
            }
        }
    }
}
