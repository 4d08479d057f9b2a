//! The sidecar as a process, with a real engine, on a chain with the real contracts.

mod kit;
mod starting;
