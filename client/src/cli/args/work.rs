//! What is said of works.

use clap::{Args, Subcommand, ValueEnum};
use client::LogOptions;

use crate::cli::refs::{BagRef, WorkRef, WorkerRef};
use crate::cli::submit_args::Submit;

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
    /// Print what a work has printed, byte for byte: while it runs, or out of its result
    #[command(after_help = "\
Of a work that runs this prints what there is; -f goes on with what it prints, attempt after attempt, until it has
ended, and comes back after a loss of the connection. What is printed faster than the pool tells (256 KiB a second) is left
out, and how much is said on standard error. With -o json or jsonl each piece is one line of JSON.

Examples:
  pool work logs w12
  pool work logs w12 --stderr
  pool work logs -f last
  pool work logs -f w12 --stdout -o jsonl
  pool work logs last > picture.png
")]
    Logs(LogArgs),
}

/// Whose output, and which.
#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// The work: 12, w12, or `last`
    #[arg(value_name = "WORK")]
    pub(crate) work: WorkRef,
    /// Go on until the work has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Print its standard output [default; with --follow both]
    #[arg(long)]
    pub(crate) stdout: bool,
    /// Print its standard error instead; with --stdout both, each to its own
    #[arg(long)]
    pub(crate) stderr: bool,
}

impl LogArgs {
    pub(crate) fn options(&self) -> LogOptions {
        let unsaid = !self.stdout && !self.stderr;
        LogOptions {
            follow: self.follow,
            stdout: self.stdout || unsaid,
            stderr: self.stderr || (unsaid && self.follow),
        }
    }
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
    #[command(flatten)]
    pub(crate) pages: Pages,
}

/// How much of a list of works is printed.
#[derive(Args, Debug)]
pub(crate) struct Pages {
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

impl Pages {
    /// Works that are printed at most.
    pub(crate) fn works_max(&self) -> u64 {
        if self.all { u64::MAX } else { self.limit }
    }
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
