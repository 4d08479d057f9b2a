//! A sidecar's side of the feed.
//!
//! It blocks, because what a sidecar does with records (a transaction, a file) is a matter of milliseconds and of
//! one thread; a tokio program gives it a `spawn_blocking`. A consumer that writes in batches takes what has
//! arrived and acknowledges once:
//!
//! ```no_run
//! # use std::{path::Path, time::Duration};
//! # use wire_feed::{Subscription, SubscriptionError};
//! # use wire_protocol::{feed::FeedRecord, ids::Lsn};
//! # fn apply(_: &FeedRecord<'_>) {}
//! # fn commit_with(_: Lsn) {}
//! # fn consume(stored: Lsn) -> Result<(), SubscriptionError> {
//! let mut feed = Subscription::connect(Path::new("feed.sock"), "persist", stored)?;
//! loop {
//!     apply(&feed.next()?);
//!     while let Some(record) = feed.next_within(Duration::ZERO)? {
//!         apply(&record);
//!     }
//!     let upto = feed.last();
//!     commit_with(upto); // rows and position in one transaction
//!     feed.acknowledge(upto)?;
//! }
//! # }
//! ```

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use wire_protocol::codec::{self, DecodeError};
use wire_protocol::feed::{FeedRecord, FeedRefused, Feeding, Subscribe, ToSubscriber, VERSION, kind};
use wire_protocol::frame::{self, PAYLOAD_BYTES_MAX};
use wire_protocol::ids::Lsn;

use crate::frame_buffer::{FrameBuffer, FrameTooLong};

/// An open feed. Dropping it leaves; the engine keeps the position.
#[derive(Debug)]
pub struct Subscription {
    stream: UnixStream,
    frames: FrameBuffer,
    feeding: Feeding,
    last: Lsn,
    /// What the socket's read timeout is set to.
    read_timeout: Option<Duration>,
}

/// Why there are no more records on this subscription. Only [`Refused`](Self::Refused) may need a person; after
/// the others connect again behind what was stored, with a growing wait.
#[derive(Debug, Error)]
pub enum SubscriptionError {
    /// The engine cannot be reached, or the connection broke.
    #[error("cannot {step} the feed")]
    Io {
        /// What was tried.
        step: &'static str,
        /// What the operating system says.
        source: io::Error,
    },
    /// The engine has ended the connection without a word, as it does when it dies.
    #[error("the engine closed the feed")]
    Closed,
    /// The engine says why not.
    #[error("the engine refuses the feed: {}", .0.reason)]
    Refused(FeedRefused),
    /// The engine speaks another version of the feed.
    #[error("the engine speaks version {0} of the feed, this program {VERSION}")]
    Version(u16),
    /// A message that cannot be read.
    #[error("the feed sent a malformed message")]
    Malformed(#[from] DecodeError),
    /// A message over the bound.
    #[error("the feed sent a malformed message")]
    TooLong(#[from] FrameTooLong),
    /// A record is missing or came twice; nothing behind it can be trusted.
    #[error("the feed sent {got} where {expected} comes next")]
    Gap {
        /// The position that follows the last record.
        expected: Lsn,
        /// The one that came.
        got: Lsn,
    },
    /// A message that has no place where it came.
    #[error("the feed sent a message out of order")]
    Unexpected,
}

impl Subscription {
    /// Connects to the engine's socket as `name` and asks for the records behind `after`, the last one that is
    /// stored (0: all that the journal has). Blocks until the engine answers.
    ///
    /// A second connection of the same name ends the first.
    ///
    /// # Errors
    /// No engine listens there, or it refuses: [`FeedRefused::first`] then says where it could begin.
    pub fn connect(path: &Path, name: &str, after: Lsn) -> Result<Self, SubscriptionError> {
        let io = |step| move |source| SubscriptionError::Io { step, source };
        let stream = UnixStream::connect(path).map_err(io("connect to"))?;
        let subscribe = Subscribe {
            version: VERSION,
            name: name.to_owned(),
            after,
        };
        let mut greeting = Vec::new();
        frame::push(&mut greeting, kind::SUBSCRIBE, |out| {
            codec::put_control(out, &subscribe)
        });
        (&stream).write_all(&greeting).map_err(io("greet"))?;
        let mut subscription = Self {
            stream,
            frames: FrameBuffer::new(PAYLOAD_BYTES_MAX),
            feeding: Feeding {
                version: VERSION,
                shard: Default::default(),
                durable: Lsn(0),
            },
            last: after,
            read_timeout: None,
        };
        subscription.wait_for_frame(None)?;
        subscription.feeding = match subscription.take_message()? {
            ToSubscriber::Feeding(feeding) if feeding.version == VERSION => feeding,
            ToSubscriber::Feeding(feeding) => return Err(SubscriptionError::Version(feeding.version)),
            ToSubscriber::Refused(refused) => return Err(SubscriptionError::Refused(refused)),
            ToSubscriber::Record(_) => return Err(SubscriptionError::Unexpected),
        };
        Ok(subscription)
    }

    /// What the engine said when it took the subscription: its shard, and how far its journal was.
    #[must_use]
    pub fn feeding(&self) -> Feeding {
        self.feeding
    }

    /// The last record that was handed out; before the first, the one that was asked to go on behind.
    #[must_use]
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// The next record; blocks until it is there.
    ///
    /// # Errors
    /// There will be no more on this subscription.
    #[expect(
        clippy::should_implement_trait,
        reason = "an Iterator cannot lend what it has received, and a copy of each record is what this avoids"
    )]
    pub fn next(&mut self) -> Result<FeedRecord<'_>, SubscriptionError> {
        self.wait_for_frame(None)?;
        self.take_record()
    }

    /// The next record if it comes within `wait`, else `None`. With no wait at all: if it has been received
    /// already, together with an earlier one.
    ///
    /// # Errors
    /// There will be no more on this subscription.
    pub fn next_within(&mut self, wait: Duration) -> Result<Option<FeedRecord<'_>>, SubscriptionError> {
        if !self.wait_for_frame(Some(wait))? {
            return Ok(None);
        }
        self.take_record().map(Some)
    }

    /// Tells the engine that all records up to `upto` are stored, so that it need not keep them. It may be said of
    /// any record that was handed out; saying it again, or of an earlier one, changes nothing.
    ///
    /// # Errors
    /// The connection is broken. The engine learns the position from the next subscription.
    ///
    /// # Panics
    /// If `upto` was never handed out: a promise about records that nobody has seen.
    pub fn acknowledge(&mut self, upto: Lsn) -> Result<(), SubscriptionError> {
        assert!(
            upto <= self.last,
            "{upto} is acknowledged, {} was the last to be handed out",
            self.last
        );
        let mut message = Vec::new();
        frame::push(&mut message, kind::ACKNOWLEDGE, |out| {
            codec::put_control(out, &upto)
        });
        match (&self.stream).write_all(&message) {
            Ok(()) => Ok(()),
            Err(source) => Err(self.last_words().unwrap_or(SubscriptionError::Io {
                step: "acknowledge to",
                source,
            })),
        }
    }

    /// A handle with which another thread ends a [`Self::next`] that waits.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn stopper(&self) -> io::Result<Stopper> {
        self.stream.try_clone().map(Stopper)
    }

    fn take_record(&mut self) -> Result<FeedRecord<'_>, SubscriptionError> {
        let expected = self.last.next();
        // Split borrow: the record keeps the frames, the position is ours.
        let Self { frames, last, .. } = self;
        let (kind, payload) = frames.take_frame().ok_or(SubscriptionError::Closed)?;
        match ToSubscriber::parse(kind, payload)? {
            ToSubscriber::Record(record) if record.lsn == expected => {
                *last = expected;
                Ok(record)
            }
            ToSubscriber::Record(record) => Err(SubscriptionError::Gap {
                expected,
                got: record.lsn,
            }),
            ToSubscriber::Refused(refused) => Err(SubscriptionError::Refused(refused)),
            ToSubscriber::Feeding(_) => Err(SubscriptionError::Unexpected),
        }
    }

    fn take_message(&mut self) -> Result<ToSubscriber<'_>, SubscriptionError> {
        let (kind, payload) = self.frames.take_frame().ok_or(SubscriptionError::Closed)?;
        Ok(ToSubscriber::parse(kind, payload)?)
    }

    /// Reads until a whole frame is here. `false`: `wait` is over.
    fn wait_for_frame(&mut self, wait: Option<Duration>) -> Result<bool, SubscriptionError> {
        let io = |step| move |source| SubscriptionError::Io { step, source };
        while !self.frames.has_frame()? {
            if wait == Some(Duration::ZERO) {
                return Ok(false);
            }
            if self.read_timeout != wait {
                self.stream
                    .set_read_timeout(wait)
                    .map_err(io("set the timeout of"))?;
                self.read_timeout = wait;
            }
            match self.frames.read_from(&mut self.stream) {
                Ok(0) => return Err(SubscriptionError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It closed with something of ours unread.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(SubscriptionError::Closed);
                }
                Err(source) => {
                    return Err(SubscriptionError::Io {
                        step: "read from",
                        source,
                    });
                }
            }
        }
        Ok(true)
    }

    /// What the engine said before it closed, behind the records that nobody will ask for any more.
    fn last_words(&mut self) -> Option<SubscriptionError> {
        while let Ok(true) = self.wait_for_frame(Some(Duration::from_millis(100))) {
            if let Ok(ToSubscriber::Refused(refused)) = self.take_message() {
                return Some(SubscriptionError::Refused(refused));
            }
        }
        None
    }
}

/// Ends a subscription from another thread.
#[derive(Debug)]
pub struct Stopper(UnixStream);

impl Stopper {
    /// Whoever waits for a record gets [`SubscriptionError::Closed`], after those that have arrived.
    pub fn stop(&self) {
        // An error means that the connection has ended already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
