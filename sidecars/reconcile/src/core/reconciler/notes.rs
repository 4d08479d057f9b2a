//! What outlives the process, and how it is written.
//!
//! | key | value (postcard) |
//! | --- | --- |
//! | `place` | which chain, pool and wallet all of it is of |
//! | `cursor` | where the follower is |
//! | `order/<key of its identity>` | the identity, and its entry in the book |
//! | `nonce/<number, 20 digits>` | what the lane keeps of it |
//! | `open/<number of a block, 20 digits>/<its hash>/<part>` | movements of money that are not in the sums |
//! | `row/…` | what others read too: [`wire_hub::row`] |

use std::fmt;

use wire_hub::row::Row;
use wire_hub::{BlockRef, Nonce};
use wire_protocol::codec::{put_control, read_control};

use crate::core::ledger::Part;
use crate::core::observe::Cursor;
use crate::core::order::{Entry, Identity};
use wire_lane::Kept;

pub use wire_hub::row::{NOTEBOOK, Place};

/// Where the follower is: written last, where notes cannot be written at once.
pub const CURSOR: &str = "cursor";
const PLACE: &str = "place";
const ORDER: &str = "order/";
const NONCE: &str = "nonce/";
const OPEN: &str = "open/";

/// The note that says of which chain, pool and wallet all notes are.
#[must_use]
pub fn place(place: &Place) -> (String, Vec<u8>) {
    (PLACE.to_owned(), bytes(place))
}

/// What an earlier process has left.
#[derive(Clone, Default, Debug)]
pub struct Restored {
    /// Where; `None`: it has left nothing.
    pub place: Option<Place>,
    pub(super) cursor: Option<Cursor>,
    pub(super) orders: Vec<(Identity, Entry)>,
    pub(super) nonces: Vec<Kept>,
    pub(super) parts: Vec<Part>,
    pub(super) rows: Vec<Row>,
}

/// A note that makes no sense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotesError {
    key: String,
    problem: String,
}

impl fmt::Display for NotesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the note `{}` cannot be read ({}): was it written by a later version?",
            self.key, self.problem
        )
    }
}

impl std::error::Error for NotesError {}

impl Restored {
    /// Nothing was followed yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.cursor.is_none()
    }

    /// How many orders are under way.
    #[must_use]
    pub fn orders(&self) -> usize {
        self.orders.len()
    }

    /// Reads all notes of the notebook.
    ///
    /// # Errors
    /// One of them makes no sense; nothing is to be done then.
    pub fn read<'a>(notes: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, NotesError> {
        let mut restored = Self::default();
        for (key, value) in notes {
            restored.take(key, value).map_err(|problem| NotesError {
                key: key.to_owned(),
                problem,
            })?;
        }
        Ok(restored)
    }

    fn take(&mut self, key: &str, value: &[u8]) -> Result<(), String> {
        let malformed = |error: wire_protocol::codec::DecodeError| error.to_string();
        if key == PLACE {
            self.place = Some(read_control("place", value).map_err(malformed)?);
        } else if key == CURSOR {
            self.cursor = Some(read_control("cursor", value).map_err(malformed)?);
        } else if key.starts_with(ORDER) {
            self.orders.push(read_control("order", value).map_err(malformed)?);
        } else if key.starts_with(NONCE) {
            self.nonces.push(read_control("nonce", value).map_err(malformed)?);
        } else if key.starts_with(OPEN) {
            self.parts.push(read_control("part", value).map_err(malformed)?);
        } else if Row::is_key(key) {
            let row = Row::read(key, value).map_err(|error| error.to_string())?;
            self.rows.push(row);
        } else {
            return Err("no such key".to_owned());
        }
        Ok(())
    }
}

pub(super) fn cursor(cursor: &Cursor) -> (String, Vec<u8>) {
    (CURSOR.to_owned(), bytes(cursor))
}

pub(super) fn order_key(identity: &Identity) -> String {
    format!("{ORDER}{}", identity.key())
}

pub(super) fn order(identity: &Identity, entry: &Entry) -> (String, Vec<u8>) {
    (order_key(identity), bytes(&(identity, entry)))
}

pub(super) fn nonce_key(nonce: Nonce) -> String {
    format!("{NONCE}{:020}", nonce.0)
}

pub(super) fn nonce(kept: &Kept) -> Vec<u8> {
    bytes(kept)
}

pub(super) fn part_key(block: BlockRef, number: u32) -> String {
    format!("{OPEN}{:020}/{}/{number}", block.number, block.hash)
}

pub(super) fn part(part: &Part) -> Vec<u8> {
    bytes(part)
}

fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_control(&mut bytes, value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_that_makes_no_sense_is_named() {
        let refused = |key: &str, value: &[u8]| {
            let error = Restored::read([(key, value)]).expect_err("no such note");
            error.to_string()
        };
        assert!(refused("cursor", b"").contains("`cursor`"));
        assert!(refused("order/0x00", &[1, 2]).contains("`order/0x00`"));
        assert!(refused("nonce/1", &[0xff; 3]).contains("`nonce/1`"));
        assert!(refused("open/1", &[0xff; 3]).contains("`open/1`"));
        assert!(refused("row/pool", &[9]).contains("version 9"));
        assert!(refused("mood", b"fine").contains("no such key"));
        assert!(Restored::read([]).is_ok_and(|restored| restored.cursor.is_none()));
    }
}
