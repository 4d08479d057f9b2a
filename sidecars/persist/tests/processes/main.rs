//! The sidecar as a process, with a real engine, real workers and a real client.

#[path = "../tables/dump.rs"]
mod dump;
#[path = "../kit/mod.rs"]
mod kit;
mod stopping;
