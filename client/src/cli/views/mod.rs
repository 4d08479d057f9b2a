//! How works, bags, workers and the rest look in JSON and in tables.

mod pool;
mod token;
mod told;
mod work;

#[cfg(test)]
mod tests;

pub(crate) use token::TokenMade;
pub(crate) use told::{Changed, Explained, Submitted, Summary};
pub(crate) use work::{output_of, reason};
