//! `pool-reconcile`: the process of the reconcile sidecar. See the library for what it is made of.

use std::process::ExitCode;

use clap::Parser;
use sidecars_reconcile::{Options, exit, run};

fn main() -> ExitCode {
    let config = match Options::parse().into_config() {
        Ok(config) => config,
        Err(problems) => {
            for problem in &problems {
                eprintln!("pool-reconcile: {problem}");
            }
            return ExitCode::from(exit::CONFIGURATION);
        }
    };
    daemon::log::init(&config.log);
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit();
            eprintln!("pool-reconcile: {:#}", anyhow::Error::from(failure));
            ExitCode::from(exit)
        }
    }
}
