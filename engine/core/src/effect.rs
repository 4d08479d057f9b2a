//! What the scheduler wants done: records to append, frames to send, links to close.
//!
//! One `Effects` is reused for event after event, so that a work costs no allocation: frames and records are
//! written into two byte buffers that keep their capacity, in the form in which they go out.

use std::ops::Range;

use wire_protocol::file::Claims;
use wire_protocol::frame::HEADER_BYTES;
use wire_protocol::ids::{LinkId, Lsn};
use wire_protocol::limits::RECORD_BYTES_MAX;
use wire_protocol::units::Instant;

use crate::fetch::Fetch;

/// Effects of one or more events, in order. The shell first appends all records, then performs the list.
#[derive(Default, Debug)]
pub struct Effects {
    /// What to do, in order.
    pub list: Vec<Effect>,
    /// The bytes that [`Effect::Send`] points into.
    pub frames: Vec<u8>,
    records: Vec<(u8, Range<usize>)>,
    record_bytes: Vec<u8>,
}

/// One thing to do.
#[derive(Debug)]
pub enum Effect {
    /// Send frames as soon as the record at `after` is durable; `Lsn(0)`: at once. Frames that wait keep their
    /// order among themselves; those that do not wait may overtake them.
    Send {
        /// Where to. A link that is gone swallows them.
        link: LinkId,
        /// What has to be durable first.
        after: Lsn,
        /// Whole frames, as a range of [`Effects::frames`].
        frames: Range<usize>,
    },
    /// Send frames at once if the link has room to spare; otherwise drop them, and say nothing. What comes after them does
    /// not depend on them.
    Spare {
        /// Where to. A link that is gone swallows them.
        link: LinkId,
        /// Whole frames, as a range of [`Effects::frames`].
        frames: Range<usize>,
    },
    /// Close the link after what was sent before.
    Close {
        /// Which.
        link: LinkId,
        /// Why, for the peer and the log.
        reason: String,
    },
    /// Read results from the journal and send them; see [`Fetch::complete`].
    Fetch(Box<Fetch>),
    /// Sign these claims and send them as `Granted`, once the record at `after` is durable.
    Grant {
        /// Where to. A link that is gone swallows it.
        link: LinkId,
        /// What has to be durable first.
        after: Lsn,
        /// What is granted.
        claims: Box<Claims>,
    },
    /// Sign a certificate and send it to its worker; see [`Certify`].
    Certify(Box<Certify>),
    /// Take a snapshot ([`crate::Scheduler::snapshot`]) now, make it durable, and say so by
    /// [`crate::Event::SnapshotDone`].
    Snapshot,
}

/// A certificate to be signed by the engine's CA for workers, and sent as `CERTIFICATE` once the record at `after` is
/// durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Certify {
    /// Where to.
    pub link: LinkId,
    /// What has to be durable first.
    pub after: Lsn,
    /// The common name of its subject.
    pub uid: String,
    /// Its number.
    pub serial: u64,
    /// When it begins.
    pub not_before: Instant,
    /// When it ends, at a full second.
    pub not_after: Instant,
    /// The request that says the public key.
    pub request: Vec<u8>,
}

impl Effects {
    /// Forgets everything and keeps the buffers.
    pub fn clear(&mut self) {
        self.list.clear();
        self.frames.clear();
        self.records.clear();
        self.record_bytes.clear();
    }

    /// Nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && self.records.is_empty()
    }

    /// The records to append, kind and payload, in order of their positions.
    pub fn records(&self) -> impl Iterator<Item = (u8, &[u8])> {
        self.records
            .iter()
            .map(|(kind, span)| (*kind, &self.record_bytes[span.clone()]))
    }

    /// How many records there are.
    #[must_use]
    pub fn records_len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of the records so far.
    pub(crate) fn records_bytes(&self) -> usize {
        self.record_bytes.len()
    }

    pub(crate) fn record(&mut self, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.record_bytes.len();
        write(&mut self.record_bytes);
        self.end_record(kind, start);
    }

    /// Begins a record whose items are written one by one through [`Self::record_bytes`].
    pub(crate) fn begin_record(&mut self) -> usize {
        self.record_bytes.len()
    }

    pub(crate) fn record_bytes(&mut self) -> &mut Vec<u8> {
        &mut self.record_bytes
    }

    pub(crate) fn end_record(&mut self, kind: u8, start: usize) {
        let span = start..self.record_bytes.len();
        assert!(
            span.len() <= RECORD_BYTES_MAX,
            "a record of kind {kind} has {} bytes: no feed carries it",
            span.len()
        );
        self.records.push((kind, span));
    }

    /// Drops what was written since [`Self::begin_record`].
    pub(crate) fn cancel_record(&mut self, start: usize) {
        self.record_bytes.truncate(start);
    }

    /// Begins a frame whose payload is written to [`Self::frames`].
    pub(crate) fn begin_frame(&mut self, kind: u8) -> usize {
        let start = self.frames.len();
        self.frames.extend_from_slice(&[0, 0, 0, 0, kind]);
        start
    }

    /// Ends the frame and sends it.
    pub(crate) fn end_frame(&mut self, link: LinkId, after: Lsn, start: usize) {
        let length = self.frames.len() - start - HEADER_BYTES;
        let length = u32::try_from(length).expect("the scheduler bounds its frames");
        self.frames[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self.send_span(link, after, start..self.frames.len());
    }

    /// Sends what `write` appends, which must be whole frames.
    pub(crate) fn send(&mut self, link: LinkId, after: Lsn, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.frames.len();
        write(&mut self.frames);
        self.send_span(link, after, start..self.frames.len());
    }

    /// Sends what `write` appends, which must be whole frames, if there is room.
    pub(crate) fn spare(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.frames.len();
        write(&mut self.frames);
        let frames = start..self.frames.len();
        self.list.push(Effect::Spare { link, frames });
    }

    /// Sends frames that were written before once more, to another link.
    pub(crate) fn send_span(&mut self, link: LinkId, after: Lsn, span: Range<usize>) {
        if let Some(Effect::Send {
            link: last,
            after: last_after,
            frames,
        }) = self.list.last_mut()
            && *last == link
            && *last_after == after
            && frames.end == span.start
        {
            frames.end = span.end;
            return;
        }
        self.list.push(Effect::Send {
            link,
            after,
            frames: span,
        });
    }

    pub(crate) fn close(&mut self, link: LinkId, reason: impl Into<String>) {
        self.list.push(Effect::Close {
            link,
            reason: reason.into(),
        });
    }
}
