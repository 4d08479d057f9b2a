//! The command line of a pool.
//!
//! `args` says what can be said, one module per noun does it, `output` prints what came of it, `exit` says how
//! the program ends. Results go to standard output, everything else to standard error.

mod args;
mod bag;
mod chain;
mod connect;
mod db;
mod dev;
mod exit;
mod file;
mod import;
mod journal;
mod logs;
mod output;
mod progress;
mod quantity;
mod queue;
mod refs;
mod rows;
mod submit_args;
mod supervise;
mod token;
mod views;
mod work;
mod worker;

use std::cell::OnceCell;
use std::io;
use std::process::ExitCode;

use clap::FromArgMatches;
use client::Client;

use args::{Cli, Command, Global};
use exit::{Exit, Failure};
use output::Output;

/// What every command needs.
struct Context {
    global: Global,
    output: Output,
    /// The client that was connected, to be closed at the end.
    client: OnceCell<Client>,
}

impl Context {
    async fn connect(&self) -> Result<Client, Failure> {
        let client = connect::connect(&self.global).await?;
        Ok(self.client.get_or_init(|| client).clone())
    }
}

/// Runs the program with the arguments of the process.
pub(crate) fn run() -> ExitCode {
    let matches = args::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let exit = match execute(cli) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.tell();
            failure.exit
        }
    };
    ExitCode::from(exit as u8)
}

fn execute(cli: Cli) -> Result<Exit, Failure> {
    let output = Output::new(cli.global.output);
    let context = Context {
        global: cli.global,
        output,
        client: OnceCell::new(),
    };
    match cli.command {
        Command::Completion { shell } => {
            let mut command = args::command();
            clap_complete::generate(shell, &mut command, "pool", &mut io::stdout());
            Ok(Exit::Ok)
        }
        Command::Journal(command) => journal::run(&context.global.data, &context.output, &command),
        Command::Db(command) => db::run(&context.global.data, &context.output, command),
        Command::Import(command) => import::run(&context.global, &context.output, command),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .map_err(|error| Failure::caused(Exit::Failed, "cannot start", &error))?
                .block_on(async {
                    let ended = match command {
                        Command::Work(command) => work::run(&context, command).await,
                        Command::Bag(command) => bag::run(&context, command).await,
                        Command::Worker(command) => worker::run(&context, command).await,
                        Command::Category(command) => queue::categories(&context, command).await,
                        Command::Queue(command) => queue::run(&context, command).await,
                        Command::Chain(command) => chain::run(&context, command).await,
                        Command::File(command) => file::run(&context, command).await,
                        Command::Status => queue::status(&context).await,
                        Command::Snapshot => queue::snapshot(&context).await,
                        Command::Dev(command) => dev::run(&context, command).await,
                        Command::Journal(_)
                        | Command::Db(_)
                        | Command::Import(_)
                        | Command::Completion { .. } => {
                            unreachable!("done above")
                        }
                    };
                    if let Some(client) = context.client.get() {
                        client.clone().close().await;
                    }
                    ended
                })
        }
    }
}
