//! The tables: what the engine's journal says, in SQL, for whoever writes or reads them.
//!
//! ```text
//!  records ──► Coalescer ──Batch──► Database: rows, events and position in one transaction
//!              (pure)
//! ```
//!
//! [`Coalescer`] is the core: no clock, no socket, no SQL. A work that was queued, leased, started and settled
//! within one batch becomes one row; each of those changes is still an [`Event`]. What it cannot know, because it
//! does not hold the works, is which works of a cancelled or revived run it concerns; that is left to the tables as a
//! [`RunChange`], in its place among the others.
//!
//! [`Database`] is the tables in a file of SQLite or in a MySQL or MariaDB server, with one schema, `migrations/`, for all.
//! [`DatabaseOptions`] are the options of a command line that say which.
//!
//! [`Reader`] answers questions about works from them and changes nothing; [`merge`] joins its answer to what the engine
//! has in memory.
//!
//! [`plan`] decides what of a database of XtremWeb-HEP ([`Predecessor`]) comes over into them.
//!
//! Where the records come from, and what is done when something fails, is not known here: that is the sidecar's.

mod account;
mod archive;
mod beginning;
mod chain;
mod change;
mod coalescer;
mod database;
mod import;
mod options;
mod query;

pub use account::{NO_PASSWORD, Role, hash_password, verify_password};
pub use archive::{ArchiveFile, ArchivedEvent, FileError};
pub use beginning::{Base, Beginning, KnownWorker};
pub use chain::{ChainChange, PoolChange};
pub use change::{
    AttemptChange, AttemptEnd, Batch, Bookkeeping, Decided, Event, NewWork, RunChange, Step, WorkChange,
    WorkNow,
};
pub use coalescer::{Coalescer, RecordError};
pub use database::{
    Archivable, ArchiveError, Archiving, Comparison, Database, DatabaseError, Difference, Frozen,
    MySqlTarget, PredecessorError, Reader, Resume, SCHEMA, Target, Tls, Wrong,
};
pub use import::{
    Category, Conflict, Fate, Import, ImportItem, ImportKind, NewAccount, NewApp, NewGroup, OldApp, OldGroup,
    OldUser, Predecessor, Present, Secret, Skipped, plan,
};
pub use options::{DatabaseOptions, PredecessorOptions};
pub use query::{
    AttemptRow, Live, LiveWork, Merged, Order, PAGE_WORKS_MAX, WorkCounts, WorkFilter, WorkHistory, WorkPage,
    WorkQuery, WorkRow, merge,
};
