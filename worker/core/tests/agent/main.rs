//! The agent seen from outside: events in, effects out.

mod certified;
mod link;
mod random;
mod works;
mod world;
