//! A body that comes in: how long it may say nothing, and what becomes of it when nobody wants it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, timeout_at};

use crate::store::StoreError;

/// Nothing may come for this long. The clients that we know send something all the time.
const SILENCE: Duration = Duration::from_secs(30);

/// Of a body that nobody wants this much is read and thrown away, so that the connection can go on; a longer one closes it.
/// It is a little more than what is sent to a store with the predecessor's usual bound, 25 MiB, by somebody who exceeds it.
const THROWN_AWAY_BYTES_MAX: u64 = 32 << 20;

/// And for this long.
const THROWN_AWAY_WITHIN: Duration = Duration::from_secs(10);

/// What comes. Dropped before its end, the rest is thrown away in the background, within bounds: see [`Rest`].
pub(super) struct Incoming {
    /// `None`: it has ended.
    body: Option<BodyDataStream>,
    silence: Pin<Box<Sleep>>,
    /// Nothing is sent before we ask for it, and of what was refused we do not.
    waits_for_us: bool,
    gone: Option<oneshot::Sender<()>>,
}

/// The end of a body. Who refuses it answers only then: many clients send all before they read an answer, and some close a
/// connection on which they are refused while they send.
pub(super) struct Rest(oneshot::Receiver<()>);

impl Rest {
    /// Waits until the body has ended or was thrown away.
    pub(super) async fn thrown_away(self) {
        // Nothing is sent: the other end goes when the body does.
        let _ = self.0.await;
    }
}

impl Incoming {
    pub(super) fn new(headers: &HeaderMap, body: Body) -> (Self, Rest) {
        let (gone, rest) = oneshot::channel();
        let incoming = Self {
            body: Some(body.into_data_stream()),
            silence: Box::pin(sleep(SILENCE)),
            waits_for_us: headers.contains_key(header::EXPECT),
            gone: Some(gone),
        };
        (incoming, Rest(rest))
    }
}

impl Stream for Incoming {
    type Item = Result<Bytes, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        this.waits_for_us = false;
        match body.poll_next_unpin(context) {
            Poll::Ready(Some(Ok(chunk))) => {
                this.silence.as_mut().reset(Instant::now() + SILENCE);
                Poll::Ready(Some(Ok(chunk)))
            }
            Poll::Ready(Some(Err(error))) => {
                this.body = None;
                Poll::Ready(Some(Err(StoreError::Cut(error.to_string()))))
            }
            Poll::Ready(None) => {
                this.body = None;
                Poll::Ready(None)
            }
            Poll::Pending => {
                std::task::ready!(this.silence.as_mut().poll(context));
                this.body = None;
                Poll::Ready(Some(Err(StoreError::Stalled)))
            }
        }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(body) = self.body.take()
            && !self.waits_for_us
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(throw_away(body, self.gone.take()));
        }
    }
}

async fn throw_away(mut body: BodyDataStream, _gone: Option<oneshot::Sender<()>>) {
    let deadline = Instant::now() + THROWN_AWAY_WITHIN;
    let mut left = THROWN_AWAY_BYTES_MAX;
    while let Ok(Some(Ok(chunk))) = timeout_at(deadline, body.next()).await {
        match left.checked_sub(chunk.len() as u64) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
