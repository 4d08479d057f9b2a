//! Cuts a stream of chunks into frames, without copying those that lie whole in a chunk.
//!
//! A chunk is what one packet brought. Most frames are whole in one; the one that straddles two is
//! assembled in the *carry*, which therefore holds at most one frame and is empty most of the time.
//!
//! ```text
//!   chunk 1                 chunk 2
//!   ┌────┬────┬────┬──┐     ┌─┬────┬────┐
//!   │ a  │ b  │ c  │ d·····  ·d│ e  │ f  │      a b c e f: slices of their chunk; d: via the carry
//!   └────┴────┴────┴──┘     └─┴────┴────┘
//! ```

use wire_protocol::frame::{FrameError, HEADER_BYTES};

/// Carry capacity that an idle reader keeps; a straddling frame of ordinary size fits in it.
const CARRY_KEPT_BYTES: usize = 2048;

/// The state between two chunks.
#[derive(Default, Debug)]
pub(crate) struct FrameReader {
    carry: Vec<u8>,
    /// The carry holds a frame that was given out; it is emptied at the next call.
    given: bool,
}

impl FrameReader {
    /// The next whole frame of carry and `input`; what it used is taken off `input`. `None`: all of
    /// `input` was used, give the next chunk.
    ///
    /// # Errors
    /// A payload over `payload_max`, found as soon as its header is there.
    pub(crate) fn next<'frame, 'input: 'frame>(
        &'frame mut self,
        input: &mut &'input [u8],
        payload_max: usize,
    ) -> Result<Option<(u8, &'frame [u8])>, FrameError> {
        self.release();
        if self.carry.is_empty() {
            let whole =
                header(input, payload_max)?.filter(|&(_, length)| input.len() >= HEADER_BYTES + length);
            if let Some((kind, length)) = whole {
                let (frame, rest) = input.split_at(HEADER_BYTES + length);
                *input = rest;
                return Ok(Some((kind, &frame[HEADER_BYTES..])));
            }
            self.carry.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        self.fill(input, HEADER_BYTES);
        let Some((kind, length)) = header(&self.carry, payload_max)? else {
            return Ok(None);
        };
        self.fill(input, HEADER_BYTES + length);
        if self.carry.len() < HEADER_BYTES + length {
            return Ok(None);
        }
        self.given = true;
        Ok(Some((kind, &self.carry[HEADER_BYTES..])))
    }

    /// Bytes of an unfinished frame that are held.
    pub(crate) fn held(&self) -> usize {
        if self.given { 0 } else { self.carry.len() }
    }

    /// Takes from `input` until the carry is `upto` bytes long.
    fn fill(&mut self, input: &mut &[u8], upto: usize) {
        let take = upto.saturating_sub(self.carry.len()).min(input.len());
        let (now, rest) = input.split_at(take);
        self.carry.extend_from_slice(now);
        *input = rest;
    }

    fn release(&mut self) {
        if !self.given {
            return;
        }
        self.given = false;
        self.carry.clear();
        if self.carry.capacity() > CARRY_KEPT_BYTES {
            self.carry = Vec::new();
        }
    }
}

/// Kind and payload length, once the header is whole.
fn header(input: &[u8], payload_max: usize) -> Result<Option<(u8, usize)>, FrameError> {
    let Some(&[l0, l1, l2, l3, kind]) = input.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > payload_max {
        return Err(FrameError::TooLong { kind, length });
    }
    Ok(Some((kind, length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::frame::{PAYLOAD_BYTES_MAX, push};

    /// What a reader makes of a stream that arrives in these chunks.
    fn read(chunks: &[&[u8]]) -> Result<Vec<(u8, Vec<u8>)>, FrameError> {
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            let mut input = *chunk;
            while let Some((kind, payload)) = reader.next(&mut input, PAYLOAD_BYTES_MAX)? {
                frames.push((kind, payload.to_vec()));
            }
            assert!(input.is_empty(), "a reader uses the whole chunk");
        }
        Ok(frames)
    }

    fn stream() -> (Vec<u8>, Vec<(u8, Vec<u8>)>) {
        let frames = vec![
            (1, vec![]),
            (2, vec![7; 1]),
            (3, (0..40).collect()),
            (4, vec![]),
            (5, vec![9; 17]),
        ];
        let mut bytes = Vec::new();
        for (kind, payload) in &frames {
            push(&mut bytes, *kind, |out| out.extend_from_slice(payload));
        }
        (bytes, frames)
    }

    #[test]
    fn frames_split_at_every_pair_of_boundaries_are_read_whole() {
        let (bytes, frames) = stream();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(read(&chunks).unwrap(), frames, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn frames_that_arrive_byte_by_byte_are_read_whole() {
        let (bytes, frames) = stream();
        let chunks: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&chunks).unwrap(), frames);
    }

    #[test]
    fn a_length_over_the_bound_is_refused_by_its_header_alone() {
        let mut reader = FrameReader::default();
        let mut input: &[u8] = &[0, 0, 1, 0, 9];
        let error = reader.next(&mut input, 0xffff).unwrap_err();
        assert_eq!(
            error,
            FrameError::TooLong {
                kind: 9,
                length: 0x1_0000
            }
        );
        let mut reader = FrameReader::default();
        let mut start: &[u8] = &[0, 0, 1];
        assert_eq!(reader.next(&mut start, 0xffff), Ok(None));
        let mut rest: &[u8] = &[0, 9];
        assert_eq!(
            reader.next(&mut rest, 0xffff),
            Err(FrameError::TooLong {
                kind: 9,
                length: 0x1_0000
            })
        );
    }

    #[test]
    fn a_large_straddling_frame_leaves_no_large_buffer_behind() {
        let mut bytes = Vec::new();
        push(&mut bytes, 1, |out| out.resize(out.len() + 100_000, 5));
        let mut reader = FrameReader::default();
        let (mut first, mut second) = bytes.split_at(50_000);
        assert_eq!(reader.next(&mut first, PAYLOAD_BYTES_MAX), Ok(None));
        assert_eq!(reader.held(), 50_000);
        assert!(reader.next(&mut second, PAYLOAD_BYTES_MAX).unwrap().is_some());
        assert_eq!(reader.next(&mut second, PAYLOAD_BYTES_MAX), Ok(None));
        assert_eq!((reader.held(), reader.carry.capacity()), (0, 0));
    }
}
