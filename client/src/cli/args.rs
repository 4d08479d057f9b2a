//! The command line: what can be said, with examples.
//!
//! Every example in a help text is parsed by a test, so none goes stale.

mod chain;
mod db;
mod file;
mod import;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use wire_protocol::ids::TokenId;
use wire_protocol::units::Millis;

use super::exit::EXIT_CODES;
use super::quantity;
use super::refs::{BagRef, WorkerRef};
pub(crate) use chain::{By, Chain, CreatePool, OrderVerb, Orders, Transactions};
pub(crate) use db::{Archive, Db, DbPlace, History};
pub(crate) use file::{File, FileVerb};
pub(crate) use import::{Import, Xwhep};
pub(crate) use work::{LogArgs, Pages, StateArg, Work, WorkList, Works};

/// Submit works to a worker pool, watch them, and look after its workers.
#[derive(Parser, Debug)]
#[command(
    name = "pool",
    version,
    propagate_version = true,
    max_term_width = 110,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = concat!("\
Examples:
  pool dev
  pool work submit --sweep 'tile=0..1023' --wait -- echo {tile}
  pool status
  pool work list --state failed -o jsonl
  pool worker list
")
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command has.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Where the engine listens for clients [default: that of --data, else 127.0.0.1:4322]
    #[arg(
        long,
        global = true,
        env = "POOL_ENGINE_CLIENT",
        value_name = "HOST:PORT",
        hide_env_values = true
    )]
    pub(crate) engine: Option<String>,
    /// CA that the engine's certificate is signed by, in PEM form [default: that of --data]
    #[arg(
        long,
        global = true,
        env = "POOL_CA",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) ca: Option<PathBuf>,
    /// Name that the engine's certificate carries [default: the host of --engine]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) server_name: Option<String>,
    /// Account to log in with [default: that of --data, else admin]
    #[arg(
        long,
        global = true,
        env = "ADMINLOGIN",
        value_name = "NAME",
        hide_env_values = true
    )]
    pub(crate) login: Option<String>,
    /// Its password; other users of this machine can see command lines, so prefer the variable or a file
    #[arg(
        long,
        global = true,
        env = "ADMINPASSWORD",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub(crate) password: Option<String>,
    /// File that holds the password in its first line
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "password")]
    pub(crate) password_file: Option<PathBuf>,
    /// How results are printed on standard output
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// Folder of a pool that `pool dev` runs; what it wrote there says how to connect
    #[arg(
        long,
        global = true,
        env = "POOL_DATA",
        value_name = "DIR",
        default_value = "./data/pool",
        hide_env_values = true
    )]
    pub(crate) data: PathBuf,
    /// How long to wait for an answer; commands that wait for works wait this long for an engine that is away
    #[arg(long, global = true, value_name = "TIME", default_value = "30s", value_parser = quantity::duration)]
    pub(crate) timeout: Duration,
}

/// The form of what is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Table,
    /// One JSON value: an object, or an array of objects
    Json,
    /// One JSON object a line
    Jsonl,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Works: submit, look at, wait for, cancel
    #[command(subcommand, arg_required_else_help = true)]
    Work(Work),
    /// Bags: the works of one submission together
    #[command(subcommand, arg_required_else_help = true)]
    Bag(Bag),
    /// Workers: enrol, approve, look at, cordon, drain, revoke
    #[command(subcommand, arg_required_else_help = true)]
    Worker(Worker),
    /// Categories: how large works may be, by name
    #[command(subcommand, arg_required_else_help = true)]
    Category(Category),
    /// Queues of works that wait
    #[command(subcommand, arg_required_else_help = true)]
    Queue(Queue),
    /// Files: upload, download, list, remove, check
    #[command(arg_required_else_help = true)]
    File(File),
    /// The marketplace on Ethereum: look at orders, money and transactions, create a pool, prove results
    #[command(subcommand, arg_required_else_help = true)]
    Chain(Chain),
    /// The pool at a glance
    #[command(after_help = "\
Examples:
  pool status
  pool status -o json
")]
    Status,
    /// The engine's journal on disk: check, export, measure, repair; works without an engine
    #[command(subcommand, arg_required_else_help = true)]
    Journal(Journal),
    /// The database that pool-persist fills: look, bring up to date, check, fill, archive; works without an engine
    #[command(subcommand, arg_required_else_help = true)]
    Db(Db),
    /// Take over what another scheduler has; works without an engine
    #[command(subcommand, arg_required_else_help = true)]
    Import(Import),
    /// Make the engine take a snapshot now, so that its next start is quick
    #[command(after_help = "\
Examples:
  pool snapshot
")]
    Snapshot,
    /// Run a whole pool on this machine until Ctrl-C
    Dev(Dev),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  pool completion bash > ~/.local/share/bash-completion/completions/pool
  pool completion zsh > ~/.zfunc/_pool
  pool completion fish > ~/.config/fish/completions/pool.fish
")]
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: Shell,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Bag {
    /// List bags, oldest first
    #[command(after_help = "\
Examples:
  pool bag list
  pool bag list -o json
")]
    List,
    /// Show one bag
    #[command(after_help = "\
Examples:
  pool bag get b3
  pool bag get last
")]
    Get {
        /// The bag: 3, b3, or `last`
        bag: BagRef,
    },
    /// Cancel all works of a bag that are not done
    #[command(after_help = "\
Examples:
  pool bag cancel b3
")]
    Cancel {
        /// The bag: 3, b3, or `last`
        bag: BagRef,
    },
    /// Change the priority of a bag's works
    #[command(after_help = "\
Examples:
  pool bag prioritise b3 9
")]
    Prioritise {
        /// The bag: 3, b3, or `last`
        bag: BagRef,
        /// 0 (last) to 9 (first)
        #[arg(value_parser = clap::value_parser!(u8).range(0..=9))]
        priority: u8,
    },
}

#[derive(Subcommand, Debug)]
pub(crate) enum Worker {
    /// List workers
    #[command(after_help = "\
Examples:
  pool worker list
  pool worker list -o jsonl
")]
    List,
    /// Show one worker
    #[command(after_help = "\
Examples:
  pool worker get k2
  pool worker get worker-1 -o json
")]
    Get(WorkerArg),
    /// Give a worker no further work; what it has goes on
    #[command(after_help = "\
Examples:
  pool worker cordon k2
")]
    Cordon(WorkerArg),
    /// Give a worker work again
    #[command(after_help = "\
Examples:
  pool worker uncordon k2
")]
    Uncordon(WorkerArg),
    /// Let a worker finish what it runs, give back the rest and leave
    #[command(after_help = "\
With --deadline, what still runs after that time is stopped and given back, too. That uses up none of its attempts. Said
again with another time, it changes the deadline. `pool worker explain` tells how far it is.

Examples:
  pool worker drain worker-2
  pool worker drain worker-2 --deadline 10m
")]
    Drain {
        #[command(flatten)]
        worker: WorkerArg,
        /// How long it may take, like 90s, 10m or 1h30m [default: for as long as the works take]
        #[arg(long, value_name = "TIME", value_parser = quantity::millis)]
        deadline: Option<Millis>,
    },
    /// Tokens by which workers enrol for a certificate
    #[command(subcommand, arg_required_else_help = true)]
    Token(Token),
    /// Let a worker work that waits for approval, or that was revoked
    #[command(after_help = "\
Examples:
  pool worker approve k2
")]
    Approve(WorkerArg),
    /// Put a worker out at once: its certificate is no longer good, its works go to others, and it is refused until it is
    /// approved again
    #[command(after_help = "\
Examples:
  pool worker revoke k2
")]
    Revoke(WorkerArg),
    /// Say why a worker does what it does
    #[command(after_help = "\
Examples:
  pool worker explain k2
")]
    Explain(WorkerArg),
}

#[derive(Subcommand, Debug)]
pub(crate) enum Token {
    /// Make a token and print it, this once
    #[command(after_help = "\
Examples:
  pool worker token create --expires 1h
  pool worker token create --expires 7d --uses 20 --label 'rack 3' --group blue
  pool worker token create -o json
")]
    Create(TokenCreate),
    /// List tokens and what has become of them; those that expired a week ago are forgotten
    #[command(after_help = "\
Examples:
  pool worker token list
")]
    List,
    /// Let a token enrol nobody any more; workers that it has enrolled go on
    #[command(after_help = "\
Examples:
  pool worker token revoke j3
")]
    Revoke {
        /// The token: 3 or j3
        #[arg(value_parser = token_id)]
        token: TokenId,
    },
}

#[derive(Args, Debug)]
pub(crate) struct TokenCreate {
    /// How long it is good: 1 second to a year
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = quantity::duration)]
    pub(crate) expires: Duration,
    /// How many workers it enrols
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: u32,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) label: String,
    /// Group that its workers are in, beside those that they name; may be given several times
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
}

fn token_id(text: &str) -> Result<TokenId, String> {
    let number = text.strip_prefix('j').unwrap_or(text).parse();
    number
        .map(TokenId)
        .map_err(|_| format!("`{text}` is no token; write 3 or j3, as `pool worker token list` does"))
}

#[derive(Args, Debug)]
pub(crate) struct WorkerArg {
    /// The worker: 2, k2, or its name
    pub(crate) worker: WorkerRef,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Category {
    /// List categories with their ceilings, which `pool work submit --category` takes
    #[command(after_help = "\
Examples:
  pool category list
  pool category list -o json
")]
    List,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Queue {
    /// List queues: works of one tenant, priority and set of requirements
    #[command(after_help = "\
Examples:
  pool queue list
")]
    List,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Journal {
    /// Check every byte; damage is told with its place
    #[command(after_help = "\
Exit code 0: sound; 1: damaged.

Examples:
  pool journal verify
  pool journal verify data/pool/engine -o json
")]
    Verify(JournalFolder),
    /// Print the records, one JSON object a line
    #[command(after_help = "\
Examples:
  pool journal export > records.jsonl
  pool journal export --from 1000 --to 1999
")]
    Export {
        #[command(flatten)]
        folder: JournalFolder,
        /// First record
        #[arg(long, value_name = "LSN", default_value_t = 1)]
        from: u64,
        /// Last record [default: the newest]
        #[arg(long, value_name = "LSN")]
        to: Option<u64>,
    },
    /// Print sizes and positions
    #[command(after_help = "\
Examples:
  pool journal stats
")]
    Stats(JournalFolder),
    /// Cut a damaged journal at its first damage; damaged files are kept as *.damaged
    #[command(after_help = "\
Records behind the damage are lost to the engine, accepted works and results among them. Make a copy of the
folder first, and stop the engine.

Examples:
  pool journal repair --give-up-records data/pool/engine
")]
    Repair {
        #[command(flatten)]
        folder: JournalFolder,
        /// Says that you know what is lost
        #[arg(long, required = true)]
        give_up_records: bool,
    },
}

#[derive(Args, Debug)]
pub(crate) struct JournalFolder {
    /// Folder of the segments [default: engine in --data]
    pub(crate) folder: Option<PathBuf>,
}

/// Run a whole pool on this machine until Ctrl-C.
///
/// Starts an engine, workers, a database in a file (pool-persist) and a file store (pool-gateway) in the folder --data, with
/// passwords that are made there once and kept. After that every other command finds the pool by that folder.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pool dev
  pool dev --workers 4 --slots 2
  pool dev --allow convert --allow /usr/bin/ffmpeg
  pool dev --ports 0 --data /tmp/my-pool
  pool dev --chain
")]
pub(crate) struct Dev {
    /// How many workers
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=256))]
    pub(crate) workers: u32,
    /// Works that each worker runs at once [default: the machine's cores, shared out]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) slots: Option<u32>,
    /// Command that works may run, a name or a path; may be given several times [default: any]
    #[arg(long, value_name = "CMD")]
    pub(crate) allow: Vec<String>,
    /// First of seven ports: workers, clients, health of the engine and of the tables, files, their health, health of the
    /// reconciler; 0: any that are free
    #[arg(long, value_name = "PORT", default_value_t = 4321, value_parser = clap::value_parser!(u16).range(..=65529))]
    pub(crate) ports: u16,
    /// Also a chain of Ethereum with the real contracts of the marketplace: the pool offers works there, a requester buys one,
    /// a worker does it, and all are paid. npm fetches what it takes, once; all money is play money
    #[arg(long)]
    pub(crate) chain: bool,
}

/// The whole help ends with the exit codes, whichever command it is for.
pub(crate) fn command() -> clap::Command {
    fn with_exit_codes(command: clap::Command) -> clap::Command {
        let examples = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let after = if examples.is_empty() {
            EXIT_CODES.to_owned()
        } else {
            format!("{}\n\n{EXIT_CODES}", examples.trim_end())
        };
        let names: Vec<String> = command
            .get_subcommands()
            .map(|sub| sub.get_name().to_owned())
            .collect();
        let command = names.into_iter().fold(command, |command, name| {
            command.mut_subcommand(name, with_exit_codes)
        });
        command.after_long_help(after)
    }
    with_exit_codes(<Cli as clap::CommandFactory>::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words as a shell makes them of a line, up to a redirection or a pipe.
    fn words(line: &str) -> Vec<String> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        let mut quote = None;
        for c in line.chars() {
            match (quote, c) {
                (Some(open), c) if c == open => quote = None,
                (None, '\'' | '"') => {
                    quote = Some(c);
                    word.get_or_insert_default();
                }
                (None, '>' | '|') => break,
                (None, c) if c.is_whitespace() => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        assert!(quote.is_none(), "an open quote in: {line}");
        words.extend(word);
        words
    }

    fn examples(command: &clap::Command, found: &mut Vec<String>, without: &mut Vec<String>) {
        let help = command
            .get_after_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        let lines: Vec<String> = help
            .lines()
            .filter_map(|line| {
                line.strip_prefix("  ")?
                    .find("pool ")
                    .map(|at| line[at + 2..].to_owned())
            })
            .collect();
        if lines.is_empty() && command.get_subcommands().next().is_none() {
            without.push(command.get_name().to_owned());
        }
        found.extend(lines);
        command
            .get_subcommands()
            .for_each(|sub| examples(sub, found, without));
    }

    #[test]
    fn every_command_has_examples_and_every_example_parses() {
        let (mut found, mut without) = (Vec::new(), Vec::new());
        examples(
            &<Cli as clap::CommandFactory>::command(),
            &mut found,
            &mut without,
        );
        assert_eq!(without, Vec::<String>::new(), "commands without an example");
        assert!(found.len() > 40, "examples were found: {}", found.len());
        for example in found {
            if let Err(error) = Cli::try_parse_from(words(&example)) {
                panic!("{example}\n{error}");
            }
        }
    }

    #[test]
    fn the_definition_of_the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_long_help_ends_with_the_exit_codes() {
        fn check(command: &clap::Command) {
            let help = command
                .get_after_long_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(help.ends_with(EXIT_CODES), "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        for line in [
            "pool work submit --sweep tile -- echo",
            "pool work submit --sweep a=1 --from rows.csv -- echo",
            "pool work submit --priority 10 -- echo",
            "pool work submit --memory 2XB -- echo",
            "pool work wait",
            "pool work wait 12 --bag 3",
            "pool work get x12",
            "pool bag prioritise 3 10",
            "pool journal repair",
            "pool work list --state done",
            "pool work list --all --limit 5",
            "pool chain orders --state done",
            "pool chain order 0x12",
            "pool chain txs --nonce 1 --order 0x00000000000000000000000000000000000000a1",
            "pool chain replay",
        ] {
            assert!(Cli::try_parse_from(words(line)).is_err(), "{line}");
        }
    }
}
