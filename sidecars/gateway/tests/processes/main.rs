//! The gateway as a process, over TLS: what it serves, to whom, and what a kill does to it.

#[path = "../kit/mod.rs"]
mod kit;

mod command;
mod files;
mod grants;
mod lives;
mod uploads;
mod works;
