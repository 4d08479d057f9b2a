//! What the pool offers on the marketplace, and on which terms.
//!
//! As with orders, what to do is the difference between the offers that are there and the one that is wanted. An offer cannot
//! be changed: one that differs is taken back, which frees its stake, and when that is seen another is made. So there is
//! never more bound than one offer's stake, and a price that moves a little moves nothing.

mod publisher;
mod terms;

pub use publisher::{Market, Offer, OfferStep, Price, Publishing, publish};
pub use terms::{Terms, TermsChange};
