//! What outlives the process, and how it is written.
//!
//! | key | value (postcard) |
//! | --- | --- |
//! | `order/<its key>` | ticket, result, the block when the result was there, transactions that were mined in vain |
//! | `nonce/<chain>/<wallet>/<number, 20 digits>` | what the lane keeps of it |
//!
//! A nonce is of one wallet on one chain: those of others are left alone, for when the worker comes back to them.

use std::fmt;

use wire_hub::{Address, Hash, Nonce, Ticket};
use wire_lane::{self as lane};
use wire_protocol::codec::{DecodeError, put_control, read_control};

use super::event::Settings;
use super::order::{self, Kept};

const ORDER: &str = "order/";
const NONCE: &str = "nonce/";

/// What an earlier process has left.
#[derive(Clone, Default, Debug)]
pub struct Restored {
    pub(super) orders: Vec<Kept>,
    pub(super) nonces: Vec<lane::Kept>,
    /// Tickets of another chain, hub or pool, with their keys: nothing can be done for them.
    pub(super) foreign: Vec<(String, Ticket)>,
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
    /// Reads all notes, as far as they are of this chain and wallet.
    ///
    /// # Errors
    /// One of them makes no sense; nothing is to be done then.
    pub fn read<'a>(
        settings: &Settings,
        notes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<Self, NotesError> {
        let mut restored = Self::default();
        for (key, value) in notes {
            restored
                .take(settings, key, value)
                .map_err(|problem| NotesError {
                    key: key.to_owned(),
                    problem,
                })?;
        }
        Ok(restored)
    }

    fn take(&mut self, settings: &Settings, key: &str, value: &[u8]) -> Result<(), String> {
        let malformed = |error: DecodeError| error.to_string();
        if key.starts_with(ORDER) {
            let kept: Kept = read_control("order", value).map_err(malformed)?;
            match settings.refusal(&kept.ticket) {
                None => self.orders.push(kept),
                Some(_) => self.foreign.push((key.to_owned(), kept.ticket)),
            }
        } else if key.starts_with(&nonces_of(settings.chain_id, settings.worker)) {
            self.nonces.push(read_control("nonce", value).map_err(malformed)?);
        } else if !key.starts_with(NONCE) {
            return Err("no such key".to_owned());
        }
        Ok(())
    }
}

/// The note of a result that is there before anything is known of the chain.
#[must_use]
pub fn order_note(ticket: &Ticket, result: Hash) -> (String, Vec<u8>) {
    let kept = Kept {
        ticket: *ticket,
        result: ticket.result.unwrap_or(result),
        from: 0,
        failures: 0,
    };
    (order_key(&order::key(ticket)), order(&kept))
}

pub(super) fn order_key(key: &Hash) -> String {
    format!("{ORDER}{key}")
}

pub(super) fn order(kept: &Kept) -> Vec<u8> {
    bytes(kept)
}

fn nonces_of(chain_id: u64, wallet: Address) -> String {
    format!("{NONCE}{chain_id}/{wallet}/")
}

pub(super) fn nonce_key(settings: &Settings, nonce: Nonce) -> String {
    let of = nonces_of(settings.chain_id, settings.worker);
    format!("{of}{:020}", nonce.0)
}

pub(super) fn nonce(kept: &lane::Kept) -> Vec<u8> {
    bytes(kept)
}

fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_control(&mut bytes, value);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new(1, Address([1; 20]), Address([2; 20]), Address([3; 20]))
    }

    fn ticket(chain_id: u64) -> Ticket {
        Ticket {
            chain_id,
            hub: Address([1; 20]),
            pool: Address([2; 20]),
            woid: Address([4; 20]),
            fingerprint: Hash([5; 32]),
            result: None,
        }
    }

    #[test]
    fn a_note_that_makes_no_sense_is_named() {
        let refused = |key: &str, value: &[u8]| {
            let error = Restored::read(&settings(), [(key, value)]).expect_err("no such note");
            error.to_string()
        };
        assert!(refused("order/0x00", &[1, 2]).contains("`order/0x00`"));
        let ours = nonce_key(&settings(), Nonce(1));
        assert!(refused(&ours, &[0xff; 3]).contains(&ours));
        assert!(refused("mood", b"fine").contains("no such key"));
    }

    #[test]
    fn notes_of_another_chain_or_wallet_are_not_taken_for_ones_own() {
        let notes = [ticket(1), ticket(5)].map(|ticket| order_note(&ticket, Hash([6; 32])));
        let other = Settings {
            worker: Address([9; 20]),
            ..settings()
        };
        let nonce = nonce_key(&other, Nonce(1));
        let all = notes.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        let all = all.chain([(nonce.as_str(), &b"of another"[..])]);
        let restored = Restored::read(&settings(), all).expect("notes of its own");
        assert_eq!(restored.orders.len(), 1);
        assert_eq!(restored.orders[0].result, Hash([6; 32]));
        assert_eq!(restored.foreign.len(), 1);
        assert_eq!(restored.nonces.len(), 0);
    }
}
