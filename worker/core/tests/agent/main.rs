//! The agent seen from outside: events in, effects out.

mod certified;
mod counting;
mod files;
mod link;
mod random;
mod works;
mod world;
