//! Bytes in, frames out: the receiving end of any stream of frames.

use std::io::{self, Read};

use thiserror::Error;
use wire_protocol::frame::{self, HEADER_BYTES};

/// Read from the socket at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A frame whose length is over the bound; the stream cannot continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("a frame of kind {kind:#04x} announces {length} bytes; at most {payload_bytes_max} are allowed here")]
pub struct FrameTooLong {
    /// Kind of the frame.
    pub kind: u8,
    /// What its header claims.
    pub length: usize,
    /// The bound.
    pub payload_bytes_max: usize,
}

/// Collects bytes of a stream and hands out its frames.
///
/// It holds at most one frame of the bound and what came with its end, 64 KiB; it grows to that only when such a
/// frame really arrives, and never by what a header claims.
///
/// ```
/// # use wire_feed::FrameBuffer;
/// let mut stream: &[u8] = &[3, 0, 0, 0, 7, b'a', b'b', b'c'];
/// let mut frames = FrameBuffer::new(1024);
/// frames.read_from(&mut stream)?;
/// while frames.has_frame()? {
///     assert_eq!(frames.take_frame(), Some((7, &b"abc"[..])));
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FrameBuffer {
    /// Filled up to `end`; the rest is zeros or old bytes.
    bytes: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    end: usize,
    payload_bytes_max: usize,
}

impl FrameBuffer {
    /// An empty buffer that refuses frames with a longer payload than this.
    #[must_use]
    pub fn new(payload_bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            end: 0,
            payload_bytes_max,
        }
    }

    /// Reads once. Returns how many bytes came; 0: the stream has ended.
    ///
    /// # Errors
    /// Whatever `stream` says, `WouldBlock` included.
    ///
    /// # Panics
    /// If frames are waiting to be taken: a reader takes them all before it asks for more, that is what bounds
    /// the buffer.
    pub fn read_from(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        let frame_bytes_max = HEADER_BYTES + self.payload_bytes_max;
        assert!(
            self.end - self.start < frame_bytes_max,
            "{} bytes are waiting to be taken",
            self.end - self.start
        );
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.bytes.len() - self.end < CHUNK_BYTES.min(frame_bytes_max) {
            let room = (2 * self.bytes.len()).clamp(4 * 1024, frame_bytes_max + CHUNK_BYTES);
            self.bytes.resize(room, 0);
        }
        let count = stream.read(&mut self.bytes[self.end..])?;
        self.end += count;
        Ok(count)
    }

    /// A whole frame waits.
    ///
    /// # Errors
    /// The frame that comes next is over the bound; it is said as soon as its header is here.
    pub fn has_frame(&self) -> Result<bool, FrameTooLong> {
        let waiting = &self.bytes[self.start..self.end];
        let Some(&[l0, l1, l2, l3, kind]) = waiting.first_chunk::<HEADER_BYTES>() else {
            return Ok(false);
        };
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > self.payload_bytes_max {
            return Err(FrameTooLong {
                kind,
                length,
                payload_bytes_max: self.payload_bytes_max,
            });
        }
        Ok(waiting.len() >= HEADER_BYTES + length)
    }

    /// The next frame's kind and payload; `None` if there is no whole one or it is over the bound
    /// (see [`Self::has_frame`]).
    pub fn take_frame(&mut self) -> Option<(u8, &[u8])> {
        if !self.has_frame().is_ok_and(|has| has) {
            return None;
        }
        let (kind, payload, bytes) = frame::split_first(&self.bytes[self.start..self.end]).ok()??;
        self.start += bytes;
        Some((kind, payload))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in small pieces, as a socket may.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            self.0.read(&mut out[..count])
        }
    }

    fn read_all(stream: &[u8], piece: usize, bound: usize) -> Result<Vec<(u8, Vec<u8>)>, FrameTooLong> {
        let mut stream = Trickle(stream, piece);
        let mut frames = FrameBuffer::new(bound);
        let mut found = Vec::new();
        loop {
            while frames.has_frame()? {
                let (kind, payload) = frames.take_frame().expect("has one");
                found.push((kind, payload.to_vec()));
            }
            if frames.read_from(&mut stream).expect("memory does not fail") == 0 {
                assert_eq!(frames.take_frame(), None);
                return Ok(found);
            }
        }
    }

    #[test]
    fn frames_come_out_whole_however_they_came_in() {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (kind, len) in [(1, 0), (2, 1), (3, 300_000), (4, 65_535), (5, 0), (6, 1_000_000)] {
            let payload = vec![kind; len];
            frame::push(&mut stream, kind, |out| out.extend_from_slice(&payload));
            expected.push((kind, payload));
        }
        for piece in [1_021, 65_536, usize::MAX] {
            assert_eq!(read_all(&stream, piece, 1_000_000), Ok(expected.clone()));
        }
        assert_eq!(read_all(&stream[..400], 1, 1_000_000), Ok(expected[..2].to_vec()));
    }

    #[test]
    fn a_frame_over_the_bound_is_refused_at_its_header() {
        let mut stream = Vec::new();
        frame::push(&mut stream, 1, |out| out.push(1));
        stream.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 9]);
        let too_long = FrameTooLong {
            kind: 9,
            length: u32::MAX as usize,
            payload_bytes_max: 16,
        };
        assert_eq!(read_all(&stream, 1, 16), Err(too_long));
    }

    #[test]
    fn memory_follows_what_arrives_and_not_what_is_announced() {
        let mut frames = FrameBuffer::new(1 << 20);
        frames
            .read_from(&mut &[0, 0, 8, 0, 1, 1][..])
            .expect("memory does not fail");
        assert!(frames.bytes.len() <= 4 * 1024);
        let mut endless = io::repeat(1);
        while frames.end < HEADER_BYTES + (8 << 16) {
            frames.read_from(&mut endless).expect("memory does not fail");
        }
        assert!(frames.has_frame().expect("within bounds"));
        assert!(frames.bytes.len() <= HEADER_BYTES + (1 << 20) + CHUNK_BYTES);
    }
}
