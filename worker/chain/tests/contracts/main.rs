//! Whole orders on the real contracts: workers' cores with a real node, and a pool that the test plays.

mod faults;
mod orders;
mod reorganised;
mod subscribing;
mod world;
