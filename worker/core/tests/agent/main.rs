//! The agent seen from outside: events in, effects out.

mod certified;
mod counting;
mod files;
mod idle;
mod leaving;
mod link;
mod logs;
mod random;
mod works;
mod world;
