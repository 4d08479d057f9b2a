//! The engine as its users meet it: real processes, real sockets, a real disk.

#[path = "../kit/mod.rs"]
mod kit;

mod busy;
mod containers;
mod crash;
mod durability;
mod endurance;
mod enrolling;
mod feed;
mod flood;
mod health;
mod hostile;
mod jobs;
mod leaving;
mod limits;
mod logs;
mod matching;
mod stop;
mod streaming;
