//! `pool-engine`: the process of one shard. See the library for what it is made of.

use std::process::ExitCode;

use clap::Parser;
use engine_server::{Options, exit, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let config = match options.into_config() {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("pool-engine: {problem}");
            }
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    daemon::log::init(&config.log);
    match run(&config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("pool-engine: {:#}", anyhow::Error::from(failure.error));
            ExitCode::from(failure.exit)
        }
    }
}
