//! The link as the shell's loop sees it: closed, being made, or open; one thing to wait for in each case.

use std::error::Error;
use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use wire_link::{Connector, Control, Link, LinkError, Receiver, Sender, code};

/// Longest wait for the last frames to arrive when the worker leaves.
const FAREWELL: Duration = Duration::from_secs(2);

/// Capacity of a send buffer that is kept for the next time.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The code with which a worker closes a link because of what the engine said or did not say.
pub(crate) const BROKEN_RULE: u32 = code::OWNER_FIRST;

pub(crate) enum Wire {
    Closed,
    Connecting(Pin<Box<dyn Future<Output = Result<Link, String>> + Send>>),
    Open(Box<Open>),
}

pub(crate) struct Open {
    receiver: Receiver,
    control: Control,
    writer: Writer,
}

/// What came of waiting.
pub(crate) enum Turn {
    Connected,
    /// Frames were handed over.
    Frames,
    /// The link is gone, or could not be made.
    Lost(String),
}

impl Wire {
    /// Begins to connect.
    pub(crate) fn connect(connector: Arc<Connector>, engine: String, server_name: String) -> Self {
        Self::Connecting(Box::pin(async move {
            let addresses = tokio::net::lookup_host(&engine)
                .await
                .map_err(|error| format!("{engine} cannot be looked up: {error}"))?;
            let mut problem = format!("{engine} has no address");
            for address in addresses {
                match connector.connect(address, &server_name).await {
                    Ok(link) => return Ok(link),
                    Err(error) => problem = chain(&error),
                }
            }
            Err(problem)
        }))
    }

    /// Waits for the next thing to happen, and keeps sending meanwhile. Dropped halfway, nothing is lost.
    pub(crate) async fn turn(&mut self, on_frame: impl FnMut(u8, &[u8])) -> Turn {
        match self {
            Self::Closed => std::future::pending().await,
            Self::Connecting(connecting) => match connecting.await {
                Ok(link) => {
                    *self = Self::Open(Box::new(Open {
                        receiver: link.receiver,
                        control: link.control,
                        writer: Writer::new(link.sender),
                    }));
                    Turn::Connected
                }
                Err(problem) => {
                    *self = Self::Closed;
                    Turn::Lost(problem)
                }
            },
            Self::Open(open) => match open.turn(on_frame).await {
                Ok(()) => Turn::Frames,
                Err(lost) => {
                    *self = Self::Closed;
                    Turn::Lost(lost)
                }
            },
        }
    }

    /// Queues frames.
    pub(crate) fn send(&mut self, frames: &[u8]) {
        if let Self::Open(open) = self {
            open.writer.queued.extend_from_slice(frames);
        }
    }

    /// Keying material of the link that is open, under this label.
    pub(crate) fn keying_material(&self, label: &[u8]) -> Option<[u8; 32]> {
        match self {
            Self::Open(open) => Some(open.control.export_keying_material(label, b"")),
            Self::Closed | Self::Connecting(_) => None,
        }
    }

    /// Closes at once; what is queued is lost.
    pub(crate) fn close(&mut self, reason: &str) {
        if let Self::Open(open) = mem::replace(self, Self::Closed) {
            open.control.close(BROKEN_RULE, reason);
        }
    }

    /// Sends what is queued, waits until the engine has it, and closes.
    pub(crate) async fn finish(self) {
        let Self::Open(open) = self else { return };
        let control = open.control;
        // An engine that does not take it in time finds out by the lease.
        let _ = tokio::time::timeout(FAREWELL, open.writer.finish()).await;
        control.close(code::DONE, "the worker leaves");
    }
}

impl Open {
    /// Waits for frames, and keeps sending meanwhile. The error says why the link is gone.
    async fn turn(&mut self, mut on_frame: impl FnMut(u8, &[u8])) -> Result<(), String> {
        let received = self.receiver.recv(|kind, payload| {
            on_frame(kind, payload);
            Ok::<(), LinkError>(())
        });
        let mut writing = pin!(self.writer.write());
        // First of all, so that an engine that never stops talking is still answered.
        let is_broken = poke(writing.as_mut()).await.is_some();
        tokio::select! {
            // What the engine said before it closed the link counts more than that it is closed.
            biased;
            received = received => match received {
                Ok(true) => Ok(()),
                Ok(false) => Err("the engine closed the link".to_owned()),
                Err(error) => Err(chain(&error)),
            },
            error = writing, if !is_broken => Err(chain(&error)),
        }
    }
}

/// Sends what is queued, one buffer at a time, so that waiting for the network holds up nothing else.
struct Writer {
    queued: Vec<u8>,
    state: Writing,
}

type Sent = (Sender, Vec<u8>, Result<(), LinkError>);

enum Writing {
    Idle(Sender),
    Busy(Pin<Box<dyn Future<Output = Sent> + Send>>),
    Broken,
}

impl Writer {
    fn new(sender: Sender) -> Self {
        Self {
            queued: Vec::new(),
            state: Writing::Idle(sender),
        }
    }

    /// Sends for ever; returns only when the link is broken.
    async fn write(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.step().await {
                return error;
            }
            if matches!(self.state, Writing::Idle(_)) && self.queued.is_empty() {
                // The loop that queues more drops this wait and comes again.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Begins to send what is queued, or waits until what was begun is sent.
    async fn step(&mut self) -> Result<(), LinkError> {
        if let Writing::Busy(sending) = &mut self.state {
            let (sender, mut bytes, result) = sending.await;
            if self.queued.is_empty() && bytes.capacity() <= KEPT_BYTES_MAX {
                bytes.clear();
                self.queued = bytes;
            }
            self.state = match result {
                Ok(()) => Writing::Idle(sender),
                Err(_) => Writing::Broken,
            };
            return result;
        }
        if self.queued.is_empty() {
            return Ok(());
        }
        match mem::replace(&mut self.state, Writing::Broken) {
            Writing::Idle(mut sender) => {
                let bytes = mem::take(&mut self.queued);
                self.state = Writing::Busy(Box::pin(async move {
                    let result = sender.send(&bytes).await;
                    (sender, bytes, result)
                }));
                Ok(())
            }
            Writing::Busy(_) => unreachable!("looked at above"),
            Writing::Broken => Err(LinkError::Done),
        }
    }

    async fn finish(mut self) -> Result<(), LinkError> {
        loop {
            self.step().await?;
            match self.state {
                Writing::Idle(sender) if self.queued.is_empty() => return sender.finish().await,
                _ => {}
            }
        }
    }
}

/// Polls it once.
async fn poke<F: Future>(mut future: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
