//! Rows of parameters: what sets the works of one bag apart.

use crate::codec::{DecodeError, Reader};
use crate::limits::ROW_BYTES_MAX;

/// Rows of parameters as they stand in a message: for each its length and its bytes.
///
/// Checked once by [`Rows::parse`]; iteration afterwards cannot fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rows<'a> {
    count: u32,
    bytes: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Checks that `bytes` are exactly `count` rows within bounds.
    ///
    /// # Errors
    /// Whatever is wrong with the first bad row.
    pub fn parse(count: u32, bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        for _ in 0..count {
            reader.bytes("row", ROW_BYTES_MAX)?;
        }
        reader.finish()?;
        Ok(Self { count, bytes })
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u32 {
        self.count
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The rows with their lengths, as they were parsed.
    #[must_use]
    pub fn encoded(&self) -> &'a [u8] {
        self.bytes
    }

    /// Without the first `count` rows (all of them, if there are fewer).
    #[must_use]
    pub fn skip(self, count: u32) -> Self {
        let mut reader = Reader::new(self.bytes);
        let skipped = count.min(self.count);
        for _ in 0..skipped {
            reader.bytes("row", ROW_BYTES_MAX).expect("checked by parse");
        }
        Self {
            count: self.count - skipped,
            bytes: reader.rest(),
        }
    }

    /// The rows in order.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map(move |_| reader.bytes("row", ROW_BYTES_MAX).expect("checked by parse"))
    }
}

/// One row's values by column, and their encoding.
///
/// A row of a template with at most one column is the bare value; with more, each value has its length before it.
pub mod row {
    use crate::codec::{self, DecodeError, Reader};
    use crate::limits::ROW_BYTES_MAX;

    /// Joins the values of a row.
    #[must_use]
    pub fn join(values: &[&[u8]]) -> Vec<u8> {
        if let [value] = values {
            return value.to_vec();
        }
        let mut out = Vec::new();
        for value in values {
            codec::put_bytes(&mut out, value);
        }
        out
    }

    /// The row holds exactly as many values as there are columns.
    #[must_use]
    pub fn fits(columns: usize, row: &[u8]) -> bool {
        if columns < 2 {
            return true;
        }
        let mut reader = Reader::new(row);
        (0..columns).all(|_| reader.bytes("value", ROW_BYTES_MAX).is_ok()) && reader.is_empty()
    }

    /// Splits a row into `columns` values; one empty value is left out where a template has no column.
    ///
    /// # Errors
    /// The row has fewer or more values, or is malformed.
    pub fn split(columns: usize, row: &[u8]) -> Result<Vec<&[u8]>, DecodeError> {
        match columns {
            0 => Ok(Vec::new()),
            1 => Ok(vec![row]),
            _ => {
                let mut reader = Reader::new(row);
                let values = (0..columns)
                    .map(|_| reader.bytes("value", ROW_BYTES_MAX))
                    .collect::<Result<_, _>>()?;
                reader.finish()?;
                Ok(values)
            }
        }
    }
}
