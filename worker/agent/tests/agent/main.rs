//! The worker with real processes, and with an engine that the test plays.

mod chain;
mod docker;
mod engine;
mod pool;
mod process;
mod program;
mod seccomp;
