//! What is said of the tables.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use sidecars_tables::DatabaseOptions;

use super::{Pages, StateArg};
use crate::cli::quantity;
use crate::cli::refs::{BagRef, WorkerRef};

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

An engine keeps the records of works that it remembers (--retention-hours) and those that its
sidecars do not have, and lets go of older ones. Of a journal that begins late everything is
compared from the first bag on of which it has all records; the answer names that bag. A copy of
the journal that goes further back compares more.

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
    /// Fill an empty database from the journal, and its snapshot where the journal begins late
    #[command(after_help = "\
Of a journal from which the engine has let old records go, the tables get everything from the
first bag on of which it has all records, and the users and workers that a snapshot knows; what was
before is only in the old tables, or in a copy of the journal. Since when such a worker is there is
not known and stands as 1970.

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
    #[command(flatten)]
    pub(crate) pages: Pages,
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
