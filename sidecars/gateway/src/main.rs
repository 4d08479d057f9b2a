//! `pool-gateway`: the process of the gateway. See the library for what it is made of.

use std::process::ExitCode;

use clap::Parser;
use sidecars_gateway::{Options, exit, run};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let config = match Options::parse().into_config() {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("pool-gateway: {problem}");
            }
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    daemon::log::init(&config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit();
            eprintln!("pool-gateway: {:#}", anyhow::Error::from(failure));
            ExitCode::from(exit)
        }
    }
}
