//! One connection of the server: what has come, what is to go, and how far it is.

use std::io::{self, Write};
use std::ops::ControlFlow;

use mio::net::UnixStream;
use wire_protocol::codec;
use wire_protocol::feed::{FeedRefused, Feeding, FromSubscriber, kind};
use wire_protocol::frame;
use wire_protocol::ids::Lsn;

use crate::frame_buffer::FrameBuffer;
use crate::limits::{BUFFER_BYTES, BUFFERS_PER_TURN, READS_PER_TURN, REQUEST_BYTES_MAX};
use crate::source::{ReadError, RecordSource};

/// Where a connection is.
///
/// ```text
///  accept ─► Greeting ──Subscribe──► Feeding ──the peer leaves──► (closed)
///                │                      │
///                └──── wrong or unwelcome ────► Closing ──reason written──► (closed)
/// ```
///
/// In any stage the end of the peer's stream, or an error of it, closes the connection at once.
#[derive(Debug)]
pub(crate) enum Stage {
    /// It has not said who it is.
    Greeting,
    /// It gets records.
    Feeding {
        /// The subscriber.
        name: String,
        /// The last record that was put into its buffer.
        sent: Lsn,
    },
    /// It gets to know why it is closed, and is.
    Closing,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The peer is gone; there is nobody to tell.
    Gone(String),
    /// The peer does not keep to the protocol.
    Violation(String),
    /// The records cannot be had.
    Read(ReadError),
}

impl From<io::Error> for Ended {
    fn from(error: io::Error) -> Self {
        Self::Gone(error.to_string())
    }
}

/// Frames that wait to be written. It begins with a whole frame: it is filled only when it is empty.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Drops the frames of which nothing is written yet.
    fn keep_begun_frame(&mut self) {
        let mut end = 0;
        while end < self.written {
            let (_, _, bytes) = frame::split_first(&self.bytes[end..])
                .ok()
                .flatten()
                .expect("whole frames stand here");
            end += bytes;
        }
        self.bytes.truncate(end);
    }
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
    pub(crate) stage: Stage,
    /// Rises with each connection: tells the one that waits the longest.
    pub(crate) number: u64,
    /// The socket may have bytes for us.
    readable: bool,
    /// The socket may take bytes of ours.
    writable: bool,
    incoming: FrameBuffer,
    outgoing: Outgoing,
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, number: u64) -> Self {
        Self {
            stream,
            stage: Stage::Greeting,
            number,
            readable: true,
            writable: true,
            incoming: FrameBuffer::new(REQUEST_BYTES_MAX),
            outgoing: Outgoing::default(),
        }
    }

    /// The poll has something to say about the socket.
    pub(crate) fn on_event(&mut self, event: &mio::event::Event) {
        let broken = event.is_error();
        self.readable |= event.is_readable() || event.is_read_closed() || broken;
        self.writable |= event.is_writable() || event.is_write_closed() || broken;
    }

    pub(crate) fn name(&self) -> Option<&str> {
        match &self.stage {
            Stage::Feeding { name, .. } => Some(name),
            Stage::Greeting | Stage::Closing => None,
        }
    }

    /// It could go on at once, without waiting for the socket.
    pub(crate) fn has_more_to_do(&self, durable: Lsn) -> bool {
        let to_read = self.readable && !matches!(self.stage, Stage::Closing);
        let to_send = match self.stage {
            Stage::Feeding { sent, .. } => sent < durable || !self.outgoing.is_empty(),
            Stage::Greeting | Stage::Closing => !self.outgoing.is_empty(),
        };
        to_read || (self.writable && to_send)
    }

    /// Everything that came and may be read in this turn.
    pub(crate) fn receive(&mut self, requests: &mut Vec<FromSubscriber>) -> Result<(), Ended> {
        for _ in 0..READS_PER_TURN {
            if !self.readable || matches!(self.stage, Stage::Closing) {
                return Ok(());
            }
            match self.incoming.read_from(&mut self.stream) {
                Ok(0) => return Err(Ended::Gone("the subscriber left".to_owned())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
            while self
                .incoming
                .has_frame()
                .map_err(|error| Ended::Violation(error.to_string()))?
            {
                let (kind, payload) = self.incoming.take_frame().expect("has one");
                let request = FromSubscriber::parse(kind, payload)
                    .map_err(|error| Ended::Violation(error.to_string()))?;
                requests.push(request);
            }
        }
        Ok(())
    }

    /// Begins to feed.
    pub(crate) fn feed(&mut self, name: String, after: Lsn, feeding: &Feeding) {
        self.stage = Stage::Feeding { name, sent: after };
        frame::push(&mut self.outgoing.bytes, kind::FEEDING, |out| {
            codec::put_control(out, feeding)
        });
    }

    /// Says why, instead of what was to be sent.
    pub(crate) fn refuse(&mut self, refused: &FeedRefused) {
        self.stage = Stage::Closing;
        self.outgoing.keep_begun_frame();
        frame::push(&mut self.outgoing.bytes, kind::FEED_REFUSED, |out| {
            codec::put_control(out, refused)
        });
    }

    /// Writes what waits and fetches what comes next, until the socket is full, nothing is left or the turn is
    /// over. `Ok(true)`: the reason is written, the connection is done.
    pub(crate) fn send(&mut self, source: &impl RecordSource) -> Result<bool, Ended> {
        for _ in 0..BUFFERS_PER_TURN {
            if self.outgoing.is_empty() && !self.refill(source)? {
                return Ok(matches!(self.stage, Stage::Closing));
            }
            if !self.flush()? {
                return Ok(false);
            }
        }
        Ok(self.outgoing.is_empty() && matches!(self.stage, Stage::Closing))
    }

    /// Writes what waits. `false`: the socket is full.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while self.writable && !self.outgoing.is_empty() {
            match self.stream.write(&self.outgoing.bytes[self.outgoing.written..]) {
                Ok(count) => self.outgoing.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.outgoing.is_empty())
    }

    /// Fetches the next records. `false`: there are none.
    fn refill(&mut self, source: &impl RecordSource) -> Result<bool, Ended> {
        let Stage::Feeding { sent, .. } = &mut self.stage else {
            return Ok(false);
        };
        let out = &mut self.outgoing;
        out.bytes.clear();
        out.written = 0;
        // One large record must not cost its room for ever.
        out.bytes.shrink_to(2 * BUFFER_BYTES);
        if *sent >= source.durable() {
            return Ok(false);
        }
        let read = source.read_after(*sent, &mut |record| {
            assert_eq!(
                record.lsn,
                sent.next(),
                "a source gives its records in order and without a gap"
            );
            *sent = record.lsn;
            record.push(&mut out.bytes);
            if out.bytes.len() < BUFFER_BYTES {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
        let durable = source.durable();
        assert!(
            *sent <= durable,
            "{sent} was given and {durable} is the last durable record"
        );
        match read {
            // Those before the error are good; it comes again when they are written.
            Err(error) if out.is_empty() => Err(Ended::Read(error)),
            Ok(()) | Err(_) => Ok(!out.is_empty()),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::feed::FeedRecord;
    use wire_protocol::frame::PAYLOAD_BYTES_MAX;
    use wire_protocol::ids::{Epoch, Shard};
    use wire_protocol::limits::RECORD_BYTES_MAX;

    use super::*;

    #[test]
    fn a_refusal_never_cuts_a_frame_that_is_begun() {
        let mut whole = Vec::new();
        let frames: Vec<_> = (1..=3)
            .map(|kind| {
                frame::push(&mut whole, kind, |out| out.resize(out.len() + 10, kind));
                whole.len()
            })
            .collect();
        for written in 0..=whole.len() {
            let mut outgoing = Outgoing {
                bytes: whole.clone(),
                written,
            };
            outgoing.keep_begun_frame();
            let kept = frames
                .iter()
                .copied()
                .find(|end| *end >= written)
                .expect("it ends there");
            let expected = if written == 0 { 0 } else { kept };
            assert_eq!(outgoing.bytes.len(), expected, "after {written} bytes");
        }
    }
    /// A journal without end, of records of one size.
    struct Endless(usize);

    impl RecordSource for Endless {
        fn read_after(
            &self,
            after: Lsn,
            give: &mut dyn FnMut(FeedRecord<'_>) -> ControlFlow<()>,
        ) -> Result<(), ReadError> {
            let payload = vec![1; self.0];
            let mut lsn = after;
            loop {
                lsn = lsn.next();
                let record = FeedRecord {
                    lsn,
                    epoch: Epoch(1),
                    wall_us: 0,
                    kind: 1,
                    payload: &payload,
                };
                if give(record).is_break() {
                    return Ok(());
                }
            }
        }

        fn durable(&self) -> Lsn {
            Lsn(u64::MAX)
        }

        fn first(&self) -> Lsn {
            Lsn(1)
        }
    }

    #[test]
    fn a_subscriber_that_does_not_read_costs_one_buffer() {
        for (record_bytes, bound) in [
            (0, 2 * BUFFER_BYTES),
            (200, 2 * BUFFER_BYTES),
            (RECORD_BYTES_MAX, 2 * PAYLOAD_BYTES_MAX),
        ] {
            let (ours, _theirs) = UnixStream::pair().expect("two ends");
            let mut connection = Connection::new(ours, 1);
            let feeding = Feeding {
                version: 1,
                shard: Shard(0),
                durable: Lsn(0),
            };
            connection.feed("persist".to_owned(), Lsn(0), &feeding);
            connection
                .receive(&mut Vec::new())
                .expect("the peer is there and says nothing");
            while connection.writable {
                assert!(
                    !connection
                        .send(&Endless(record_bytes))
                        .expect("the peer is there")
                );
                assert!(
                    connection.outgoing.bytes.capacity() <= bound,
                    "records of {record_bytes} bytes"
                );
            }
            assert!(
                !connection.has_more_to_do(Lsn(u64::MAX)),
                "it waits for the socket"
            );
            let Stage::Feeding { sent, .. } = connection.stage else {
                panic!("it is fed")
            };
            assert!(
                !connection
                    .send(&Endless(record_bytes))
                    .expect("the peer is there")
            );
            assert!(matches!(connection.stage, Stage::Feeding { sent: now, .. } if now == sent));
        }
    }
}
