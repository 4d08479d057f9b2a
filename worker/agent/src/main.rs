//! `pool-worker`: runs works for a pool. Everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    worker_agent::main()
}
