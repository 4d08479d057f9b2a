//! Reading and writing of fixed and variable-length fields.
//!
//! Hot messages (assignments, reports, rows, outcomes) are laid out by hand, because a hand-written codec
//! costs a tenth of a derived one; control messages are `postcard`, because there a change must be easy to
//! make and to review.

use serde::{Serialize, de::DeserializeOwned};
use thiserror::Error;

/// What is wrong with a message. The connection that sent it is closed, nothing else changes.
#[derive(Debug, Error, PartialEq, Eq, Clone)]
pub enum DecodeError {
    /// The message ends in the middle of a field.
    #[error("the message ends inside `{field}`")]
    Truncated {
        /// The field that is cut.
        field: &'static str,
    },
    /// Bytes are left after the last field.
    #[error("{bytes} bytes follow the end of the message")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// A field's value is outside of its range.
    #[error("`{field}` is {value}, which is not allowed")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The kind byte names no message of this link and direction.
    #[error("no message of kind {kind:#04x} is expected here")]
    UnknownKind {
        /// The kind byte.
        kind: u8,
    },
    /// A control message that `postcard` cannot read.
    #[error("malformed {message}: {problem}")]
    Malformed {
        /// Which message.
        message: &'static str,
        /// What the codec says.
        problem: String,
    },
}

/// A cursor over the bytes of one message.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Nothing is left.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What is left.
    #[inline]
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left; so for all the methods below.
    #[inline]
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<&'a [u8; N], DecodeError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// One byte.
    ///
    /// # Errors
    /// Truncated input.
    #[inline]
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        Ok(self.array::<1>(field)?[0])
    }

    /// Two bytes, little endian.
    ///
    /// # Errors
    /// Truncated input.
    #[inline]
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(*self.array(field)?))
    }

    /// Four bytes, little endian.
    ///
    /// # Errors
    /// Truncated input.
    #[inline]
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(*self.array(field)?))
    }

    /// Four bytes, little endian, two's complement.
    ///
    /// # Errors
    /// Truncated input.
    #[inline]
    pub fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        Ok(i32::from_le_bytes(*self.array(field)?))
    }

    /// Eight bytes, little endian.
    ///
    /// # Errors
    /// Truncated input.
    #[inline]
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(*self.array(field)?))
    }

    /// A length or count: LEB128, at most 4 bytes of it (28 bits), shortest form only.
    ///
    /// # Errors
    /// Truncated input, or a number that is longer than it needs to be or than 28 bits.
    #[inline]
    pub fn varint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        // Most lengths are short.
        match self.rest.split_first() {
            Some((byte, rest)) if byte & 0x80 == 0 => {
                self.rest = rest;
                Ok(u32::from(*byte))
            }
            _ => self.long_varint(field),
        }
    }

    #[cold]
    #[inline(never)]
    fn long_varint(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8(field)?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 {
                    Err(DecodeError::OutOfRange {
                        field,
                        value: u64::from(value),
                    })
                } else {
                    Ok(value)
                };
            }
        }
        Err(DecodeError::OutOfRange {
            field,
            value: u64::from(value),
        })
    }

    /// A length (see [`Self::varint`]) of at most `bytes_max`, and that many bytes.
    ///
    /// # Errors
    /// Truncated input, or a longer length.
    #[inline]
    pub fn bytes(&mut self, field: &'static str, bytes_max: usize) -> Result<&'a [u8], DecodeError> {
        let length = self.varint(field)? as usize;
        if length > bytes_max {
            return Err(DecodeError::OutOfRange {
                field,
                value: length as u64,
            });
        }
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated { field })?;
        self.rest = rest;
        Ok(head)
    }

    /// Asserts that the message is over.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if it is not.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

/// Appends a length or count as [`Reader::varint`] reads it.
///
/// # Panics
/// If `value` does not fit 28 bits: a writer bounds what it sends.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: usize) {
    match value {
        0..0x80 => out.push(value as u8),
        _ => put_long_varint(out, value),
    }
}

#[cold]
#[inline(never)]
fn put_long_varint(out: &mut Vec<u8>, value: usize) {
    assert!(value < 1 << 28, "{value} does not fit a wire length");
    let mut value = value;
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `bytes` with their length before them, as [`Reader::bytes`] reads them.
#[inline]
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a control message.
///
/// # Panics
/// Never: our messages contain nothing that `postcard` refuses.
pub fn put_control<T: Serialize>(out: &mut Vec<u8>, message: &T) {
    postcard::to_io(message, out).expect("a vector takes all that is written to it");
}

/// Reads a control message that must fill `payload`.
///
/// # Errors
/// [`DecodeError::Malformed`] or [`DecodeError::Trailing`].
pub fn read_control<T: DeserializeOwned>(message: &'static str, payload: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(payload).map_err(|error| DecodeError::Malformed {
        message,
        problem: error.to_string(),
    })?;
    match rest.len() {
        0 => Ok(value),
        bytes => Err(DecodeError::Trailing { bytes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_form_only() {
        for value in [0, 1, 127, 128, 16_383, 16_384, (1 << 28) - 1] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint("length"), Ok(value as u32));
            assert!(reader.is_empty());
        }
        let padded = [0x81, 0x00];
        assert!(matches!(
            Reader::new(&padded).varint("length"),
            Err(DecodeError::OutOfRange { .. })
        ));
        let endless = [0xff; 8];
        assert!(matches!(
            Reader::new(&endless).varint("length"),
            Err(DecodeError::OutOfRange { .. })
        ));
    }

    #[test]
    fn control_messages_must_fill_their_frame() {
        let mut out = Vec::new();
        put_control(&mut out, &(7_u32, "seven"));
        assert_eq!(
            read_control::<(u32, String)>("pair", &out),
            Ok((7, "seven".to_owned()))
        );
        out.push(0);
        assert_eq!(
            read_control::<(u32, String)>("pair", &out),
            Err(DecodeError::Trailing { bytes: 1 })
        );
        assert!(matches!(
            read_control::<(u32, String)>("pair", &[]),
            Err(DecodeError::Malformed { .. })
        ));
    }
}
