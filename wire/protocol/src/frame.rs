//! Frames: how messages stand one after the other in a QUIC stream or a unix socket.
//!
//! ```text
//!  0       4      5                    5 + length
//!  ┌───────┬──────┬─────────────────────┐
//!  │length │ kind │ payload             │   length: u32 little endian, of the payload alone
//!  └───────┴──────┴─────────────────────┘
//! ```
//!
//! A reader never allocates by what a length field claims: a length over the bound is an error, a
//! shorter one waits for its bytes in a buffer that the reader owns.

use thiserror::Error;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 5;

/// The largest payload on any link. Large enough for the largest inline result with its token, and for
/// a batch that fills a QUIC flow-control window; small enough that a connection's buffer stays small.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// What is wrong with a stream of frames; the connection cannot continue.
#[derive(Debug, Error, PartialEq, Eq, Clone, Copy)]
pub enum FrameError {
    /// The peer announced a payload over the bound.
    #[error("frame of kind {kind:#04x} announces {length} bytes; the limit is {PAYLOAD_BYTES_MAX}")]
    TooLong {
        /// Kind of the frame.
        kind: u8,
        /// What its header claims.
        length: usize,
    },
}

/// Appends one frame whose payload `write` appends.
///
/// # Panics
/// If `write` appends more than [`PAYLOAD_BYTES_MAX`] bytes: a writer bounds what it sends.
pub fn push(out: &mut Vec<u8>, kind: u8, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, kind]);
    write(out);
    let length = out.len() - start - HEADER_BYTES;
    assert!(
        length <= PAYLOAD_BYTES_MAX,
        "frame of kind {kind:#04x} is {length} bytes long"
    );
    let length = u32::try_from(length).expect("bounded above");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends the header of a frame whose payload of `length` bytes the caller sends behind it.
///
/// # Panics
/// If `length` is more than [`PAYLOAD_BYTES_MAX`].
pub fn push_header(out: &mut Vec<u8>, kind: u8, length: usize) {
    assert!(
        length <= PAYLOAD_BYTES_MAX,
        "frame of kind {kind:#04x} is {length} bytes long"
    );
    let length = u32::try_from(length).expect("bounded above");
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind);
}

/// A frame's kind, its payload, and the bytes that it occupies with its header.
pub type FirstFrame<'a> = (u8, &'a [u8], usize);

/// Takes the first whole frame off `input`: its kind, its payload, and the bytes it occupied.
/// `None`: more bytes are needed.
///
/// # Errors
/// [`FrameError::TooLong`]: close the connection.
pub fn split_first(input: &[u8]) -> Result<Option<FirstFrame<'_>>, FrameError> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let [l0, l1, l2, l3, kind] = *header;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if length > PAYLOAD_BYTES_MAX {
        return Err(FrameError::TooLong { kind, length });
    }
    Ok(rest
        .get(..length)
        .map(|payload| (kind, payload, HEADER_BYTES + length)))
}
