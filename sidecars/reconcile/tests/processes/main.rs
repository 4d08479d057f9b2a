//! The sidecar as a process, with a real engine, on a chain with the real contracts.

mod books;
mod creating;
mod kit;
mod load;
mod market;
mod orders;
mod starting;
