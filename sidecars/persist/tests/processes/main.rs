//! The sidecar as a process, with a real engine, real workers and a real client.

mod following;
mod importing;
#[path = "../kit/mod.rs"]
mod kit;
mod stopping;
mod strange;
mod verifying;
