//! `pool-persist`: the process of the persist sidecar. See the library for what it is made of.

use std::process::ExitCode;

use clap::Parser;
use sidecars_persist::{Options, exit, run};

fn main() -> ExitCode {
    let config = match Options::parse().into_config() {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("pool-persist: {problem}");
            }
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    daemon::log::init(&config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit();
            eprintln!("pool-persist: {:#}", anyhow::Error::from(failure));
            ExitCode::from(exit)
        }
    }
}
