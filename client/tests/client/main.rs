//! The client against a played engine on the real link.

mod chain;
mod cli;
mod engine;
mod following;
mod logs;
mod requests;
mod streaming;
mod submitting;
