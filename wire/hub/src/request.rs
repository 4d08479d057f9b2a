//! What an operator asks the running process for: notes of the notebook [`NOTEBOOK`], which `pool` writes and
//! `pool-reconcile` reads every few seconds.
//!
//! Requests are numbered, each one higher than all before. The process does them in that order and says in
//! [`PoolRow::handled`](crate::row::PoolRow::handled) which was the last; so each is done once, also where it was written
//! while the process was down, and one that was done is not done again by the next process. Who writes one takes the
//! notebook first, so that two never write the same number, and removes what was done.
//!
//! | key | value |
//! | --- | --- |
//! | `request/<number, 20 digits>` | the format's version, a byte, and [`Asked`] in postcard |

use std::fmt;

use serde::{Deserialize, Serialize};
use wire_protocol::codec::{put_control, read_control};

use crate::Nonce;
use crate::row::Place;

/// The notebook that has them.
pub const NOTEBOOK: &str = "chain.requests";
const REQUEST: &str = "request/";
const VERSION: u8 = 1;

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// Offer a transaction at the cap on gas prices, as soon as the next block; what was mined already stays as it is.
    Unstick {
        /// Which; `None`: all that are in no block.
        nonce: Option<Nonce>,
        /// Take the nonce with a transaction that does nothing, instead of what it was for. That is sent again under another
        /// nonce, if a plan still asks for it then.
        as_nothing: bool,
    },
    /// Follow the chain again from this block on, or from where the books begin if that is earlier: orders that were missed are
    /// found, and the books are made anew, but for gas. Nothing is sent before the last block is reached.
    Replay {
        /// The block's number.
        from: u64,
    },
}

/// A request, and for whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Asked {
    /// For which pool; one for another is passed over, and counts as done.
    pub place: Place,
    /// What.
    pub request: Request,
}

/// A note that is no request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NoRequest {
    key: String,
    problem: String,
}

impl fmt::Display for NoRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the request `{}` cannot be read: {}", self.key, self.problem)
    }
}

impl std::error::Error for NoRequest {}

impl Asked {
    /// The key of the request with this number.
    #[must_use]
    pub fn key(number: u64) -> String {
        format!("{REQUEST}{number:020}")
    }

    /// The number that a key has.
    ///
    /// # Errors
    /// It is no key of a request.
    pub fn number(key: &str) -> Result<u64, NoRequest> {
        let digits = key.strip_prefix(REQUEST);
        let number = digits.and_then(|digits| digits.parse().ok());
        number
            .filter(|number| Self::key(*number) == key)
            .ok_or_else(|| NoRequest {
                key: key.to_owned(),
                problem: "no such key".to_owned(),
            })
    }

    /// The note of this request under this number.
    #[must_use]
    pub fn note(&self, number: u64) -> (String, Vec<u8>) {
        let mut value = vec![VERSION];
        put_control(&mut value, self);
        (Self::key(number), value)
    }

    /// Reads a note: its number, and what is asked.
    ///
    /// # Errors
    /// It is no request, or was written by another version.
    pub fn read(key: &str, value: &[u8]) -> Result<(u64, Self), NoRequest> {
        let number = Self::number(key)?;
        let error = |problem: String| NoRequest {
            key: key.to_owned(),
            problem,
        };
        match value.split_first() {
            Some((&VERSION, value)) => {
                let asked = read_control("request", value).map_err(|problem| error(problem.to_string()))?;
                Ok((number, asked))
            }
            Some((version, _)) => Err(error(format!(
                "it is of version {version}, and this reads {VERSION}"
            ))),
            None => Err(error("it is empty".to_owned())),
        }
    }

    /// The number for the next request: beyond all that are there, and that was done last.
    #[must_use]
    pub fn next<'a>(keys: impl IntoIterator<Item = &'a str>, handled: u64) -> u64 {
        let numbers = keys.into_iter().filter_map(|key| Self::number(key).ok());
        numbers.max().unwrap_or(0).max(handled).saturating_add(1)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unstick {
                nonce: None,
                as_nothing,
            } => {
                write!(f, "offer all transactions that are in no block at the cap")?;
                f.write_str(if *as_nothing { ", as nothing" } else { "" })
            }
            Self::Unstick {
                nonce: Some(nonce),
                as_nothing,
            } => {
                write!(f, "offer transaction {} at the cap", nonce.0)?;
                f.write_str(if *as_nothing { ", as nothing" } else { "" })
            }
            Self::Replay { from } => write!(f, "follow the chain again from block {from}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Address;
    use proptest::prelude::*;

    fn asked(request: Request) -> Asked {
        let place = Place {
            chain_id: 1,
            hub: Address([1; 20]),
            pool: Address([2; 20]),
            owner: Address([3; 20]),
        };
        Asked { place, request }
    }

    #[test]
    fn a_request_comes_back_with_its_number() {
        let all = [
            Request::Unstick {
                nonce: Some(Nonce(u64::MAX)),
                as_nothing: true,
            },
            Request::Unstick {
                nonce: None,
                as_nothing: false,
            },
            Request::Replay { from: 17 },
        ];
        for request in all {
            for number in [1, u64::MAX] {
                let (key, value) = asked(request).note(number);
                assert_eq!(Asked::read(&key, &value), Ok((number, asked(request))));
                for cut in 0..value.len() {
                    assert!(Asked::read(&key, &value[..cut]).is_err(), "{cut}");
                }
            }
        }
    }

    #[test]
    fn the_next_number_is_beyond_what_is_there_and_what_was_done() {
        let keys = [Asked::key(3), Asked::key(12), "mood".to_owned()];
        let keys = || keys.iter().map(String::as_str);
        assert_eq!(Asked::next(keys(), 5), 13);
        assert_eq!(Asked::next(keys(), 20), 21);
        assert_eq!(Asked::next([], 0), 1);
    }

    #[test]
    fn one_of_a_later_version_says_so() {
        let (key, mut value) = asked(Request::Replay { from: 1 }).note(1);
        value[0] = 9;
        let error = Asked::read(&key, &value).expect_err("another version");
        assert!(error.to_string().contains("version 9"), "{error}");
    }

    proptest! {
        #[test]
        fn junk_is_an_error_and_never_a_panic(key in "(request/)?[0-9a-z/]{0,24}", value in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(Asked::read(&key, &value));
            drop(Asked::read(&Asked::key(7), &[&[VERSION], &value[..]].concat()));
        }
    }
}
