//! The command line: what can be said, with examples.
//!
//! Every example in a help text is parsed by a test, so none goes stale.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use sidecars_tables::DatabaseOptions;

use super::exit::EXIT_CODES;
use super::quantity;
use super::refs::{BagRef, WorkRef, WorkerRef};
use super::submit_args::Submit;

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
    /// Workers: look at, cordon, drain
    #[command(subcommand, arg_required_else_help = true)]
    Worker(Worker),
    /// Queues of works that wait
    #[command(subcommand, arg_required_else_help = true)]
    Queue(Queue),
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
pub(crate) enum Work {
    /// Submit works: one, or one per row of parameters
    Submit(Box<Submit>),
    /// List works, oldest first
    #[command(after_help = "\
Examples:
  pool work list
  pool work list --bag last --state failed
  pool work list --state queued,running --worker k2 --limit 20
  pool work list --label nightly --all -o jsonl
")]
    List(WorkList),
    /// Show one work with its result
    #[command(after_help = "\
Examples:
  pool work get w12
  pool work get last -o json
")]
    Get {
        /// The work: 12, w12, or `last`
        #[arg(value_name = "WORK")]
        work: WorkRef,
    },
    /// Wait until works, or all works of a bag, are done
    #[command(after_help = "\
Exit code 0: all succeeded; 1: some did not.

Examples:
  pool work wait w12
  pool work wait 12 13 14
  pool work wait --bag last
")]
    Wait {
        #[command(flatten)]
        works: Works,
        /// Print nothing
        #[arg(short, long)]
        quiet: bool,
    },
    /// Cancel works that are not done; those that run are stopped
    #[command(after_help = "\
Examples:
  pool work cancel w12 w13
  pool work cancel --bag b3
")]
    Cancel(Works),
    /// Queue works again that failed, were cancelled or expired
    #[command(after_help = "\
Examples:
  pool work retry w12
  pool work retry --bag last
")]
    Retry(Works),
    /// Say why a work is where it is
    #[command(after_help = "\
Examples:
  pool work explain w12
")]
    Explain {
        /// The work: 12, w12, or `last`
        #[arg(value_name = "WORK")]
        work: WorkRef,
    },
    /// Print what a work wrote to its standard output, byte for byte
    #[command(after_help = "\
Examples:
  pool work logs w12
  pool work logs w12 --stderr
  pool work logs last > picture.png
")]
    Logs {
        /// The work: 12, w12, or `last`
        #[arg(value_name = "WORK")]
        work: WorkRef,
        /// Print its standard error instead
        #[arg(long)]
        stderr: bool,
    },
}

/// Works by name, or all of a bag.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(crate) struct Works {
    /// Works: 12, w12, or `last`
    #[arg(value_name = "WORK")]
    pub(crate) works: Vec<WorkRef>,
    /// All works of this bag: 3, b3, or `last`
    #[arg(long, value_name = "BAG")]
    pub(crate) bag: Option<BagRef>,
}

#[derive(Args, Debug)]
pub(crate) struct WorkList {
    /// Only works in these states
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    pub(crate) state: Vec<StateArg>,
    /// Only works of this bag: 3, b3, or `last`
    #[arg(long, value_name = "BAG")]
    pub(crate) bag: Option<BagRef>,
    /// Only works on this worker: 2, k2, or its name
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker: Option<WorkerRef>,
    /// Only works of bags whose label contains this
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Start behind this work
    #[arg(long, value_name = "WORK")]
    pub(crate) after: Option<WorkRef>,
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Print all
    #[arg(long)]
    pub(crate) all: bool,
}

/// A state to filter by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum StateArg {
    Queued,
    Leased,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Expired,
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
Examples:
  pool worker drain worker-2
")]
    Drain(WorkerArg),
    /// Say why a worker does what it does
    #[command(after_help = "\
Examples:
  pool worker explain k2
")]
    Explain(WorkerArg),
}

#[derive(Args, Debug)]
pub(crate) struct WorkerArg {
    /// The worker: 2, k2, or its name
    pub(crate) worker: WorkerRef,
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
pub(crate) enum Db {
    /// Print how far it is and what it holds
    #[command(after_help = "\
Examples:
  pool db status
  DBHOST=db MYSQL_USER_PASSWORD_FILE=secrets/db pool db status -o json
")]
    Status(DbPlace),
    /// Make the tables, or bring them up to date; pool-persist does so by itself if its account may
    #[command(after_help = "\
The account needs to create tables, indexes and views, once. To select, insert, update and delete
is enough for pool-persist afterwards.

Examples:
  DBHOST=db MYSQL_USER_LOGIN=root MYSQL_USER_PASSWORD_FILE=secrets/root pool db migrate
")]
    Migrate(DbPlace),
    /// Compare it, row by row, with a replay of the journal; what differs is named
    #[command(after_help = "\
It may run beside the engine and pool-persist: the database is read as it is at one record, and
the journal is replayed up to that one, into a file in the folder for temporary files (TMPDIR),
which takes about as much room as the database.

The journal has to go back to its first record. An engine keeps the records of works that it
remembers (--retention-hours) and those that its sidecars do not have; of older ones keep copies.

Exit code 0: equal; 1: it differs.

Examples:
  pool db verify
  pool db verify --journal backup/engine --show 1000 -o json
")]
    Verify {
        #[command(flatten)]
        place: DbPlace,
        /// Differences that are printed; all are counted
        #[arg(long, value_name = "N", default_value_t = 20)]
        show: usize,
    },
    /// Fill an empty database from the journal, which has to go back to its first record
    #[command(after_help = "\
The engine may go on meanwhile. pool-persist, started afterwards, goes on where this ended, also
where it was interrupted.

Examples:
  pool db rebuild --database new.sqlite
  DBHOST=db MYSQL_USER_PASSWORD_FILE=secrets/db pool db rebuild
")]
    Rebuild(DbPlace),
    /// List works, also those that the engine has forgotten
    #[command(after_help = "\
The tables have every work that was ever accepted, a little later than the engine (`pool db status`
says how much); the engine has those that it still remembers, see `pool work list`. The database is
only read.

Examples:
  pool db works --user anna --state failed --within 7d
  pool db works --label nightly --all -o jsonl
  pool db works --app docker:alpine --count
")]
    Works(Box<History>),
    /// Move old events to compressed files, so that their table does not grow for ever
    #[command(after_help = "\
Events are the changes of works' states (pool_events, pool_history). Works, attempts and all else stay.

A file events-<first record>-<last record>.jsonl.gz has one JSON object a row: lsn, work, works, at_us,
at, state, reason, reason_text, attempt, worker. It has a million rows at most, and is safe on disk
before they are deleted. The table pool_archives has its name and SHA-256; keep the files as long as
you may be asked.

It may run beside pool-persist, and again at any time: what an interrupted run left is finished. Give
the same folder each time. `pool db verify` does not miss events that are archived.

Examples:
  pool db archive --older-than 30d --dry-run
  pool db archive --older-than 90d --into /backup/events
  DBHOST=db MYSQL_USER_PASSWORD_FILE=secrets/db pool db archive --older-than 30d -o json
")]
    Archive(Archive),
}

#[derive(Args, Debug)]
pub(crate) struct History {
    #[command(flatten)]
    pub(crate) place: DbPlace,
    /// Only works in these states
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    pub(crate) state: Vec<StateArg>,
    /// Only works of this user, by name
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only works for this app, the whole of its name
    #[arg(long, value_name = "APP")]
    pub(crate) app: Option<String>,
    /// Only works of this bag: 3 or b3
    #[arg(long, value_name = "BAG")]
    pub(crate) bag: Option<BagRef>,
    /// Only works that this worker had last: 2 or k2
    #[arg(long, value_name = "WORKER")]
    pub(crate) worker: Option<WorkerRef>,
    /// Only works of bags with this label, the whole of it
    #[arg(long, value_name = "TEXT")]
    pub(crate) label: Option<String>,
    /// Only works that were accepted this long ago or later
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub(crate) within: Option<Duration>,
    /// The oldest first, not the newest
    #[arg(long)]
    pub(crate) oldest_first: bool,
    /// Start behind this work: 12 or w12
    #[arg(long, value_name = "WORK")]
    pub(crate) after: Option<WorkRef>,
    /// Print at most this many
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "all", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Print all
    #[arg(long)]
    pub(crate) all: bool,
    /// Count them by state, and list none
    #[arg(long, conflicts_with_all = ["after", "limit", "all", "oldest_first"])]
    pub(crate) count: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Archive {
    #[command(flatten)]
    pub(crate) place: DbPlace,
    /// Events of at least this age go, as whole records, oldest first
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub(crate) older_than: Duration,
    /// Folder of the files; it is made [default: `archive` in the folder of --data]
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    /// Say what would go, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DbPlace {
    /// Folder of the engine's journal [default: `engine` in the folder of --data]
    #[arg(long, value_name = "DIR")]
    pub(crate) journal: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) database: DatabaseOptions,
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
/// Starts an engine and workers in the folder --data, with passwords that are made there once and kept. After
/// that every other command finds the pool by that folder.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pool dev
  pool dev --workers 4 --slots 2
  pool dev --allow convert --allow /usr/bin/ffmpeg
  pool dev --ports 0 --data /tmp/my-pool
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
    /// First of three ports: workers, clients, health; 0: any that are free
    #[arg(long, value_name = "PORT", default_value_t = 4321, value_parser = clap::value_parser!(u16).range(..=65533))]
    pub(crate) ports: u16,
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
        ] {
            assert!(Cli::try_parse_from(words(line)).is_err(), "{line}");
        }
    }
}
