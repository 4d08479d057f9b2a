//! What the engine answers to queries: works, bags, workers, queues and explanations as a person or a program
//! wants to see them.

use serde::{Deserialize, Serialize};

use crate::category::Category;
use crate::ids::{Attempt, BagId, Epoch, Lsn, Shard, WorkId, WorkerId};
use crate::joining::{Address, Approval, CertificateView, TokenView};
use crate::note::Note;
use crate::outcome::{Outcome, Reason};
use crate::template::{Invalid, Offer, Priority, WorkTemplate};
use crate::units::{Bytes, Instant, Millis};

/// State of a work, as the engine's state machine has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkState {
    /// Waits for a worker, or for its next attempt.
    Queued,
    /// A worker has it and has not said that it started.
    Leased,
    /// A worker runs it.
    Running,
    /// It ended.
    Done(Outcome),
}

impl core::fmt::Display for WorkState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Queued => f.write_str("queued"),
            Self::Leased => f.write_str("leased"),
            Self::Running => f.write_str("running"),
            Self::Done(outcome) => outcome.fmt(f),
        }
    }
}

/// State of a worker, as the engine's state machine has it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerState {
    /// Connected and given work.
    Ready,
    /// Connected and given no further work.
    Cordoned,
    /// Finishes what it runs, then leaves.
    Draining,
    /// Not connected; its leases run on until they expire.
    Lost,
    /// Left in good order.
    Gone,
}

impl core::fmt::Display for WorkerState {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Lost => "lost",
            Self::Gone => "gone",
        })
    }
}

/// Which works to list. An empty filter passes all.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Filter {
    /// Only these states; empty: all.
    pub states: Vec<WorkState>,
    /// Only of this bag.
    pub bag: Option<BagId>,
    /// Only those on this worker.
    pub worker: Option<WorkerId>,
    /// Only of bags whose label contains this.
    pub label: Option<String>,
}

/// One work.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkView {
    /// Its id.
    pub work: WorkId,
    /// Its bag.
    pub bag: BagId,
    /// Its row in the bag.
    pub row: u32,
    /// Where it is.
    pub state: WorkState,
    /// Attempts made so far.
    pub attempt: Attempt,
    /// The worker that has or had it.
    pub worker: Option<WorkerId>,
    /// Why its last attempt ended, or why it did.
    pub reason: Reason,
    /// Label of its bag.
    pub label: String,
    /// App of its bag.
    pub app: String,
    /// Values of its row, by column; bytes that are not UTF-8 are replaced.
    pub parameters: Vec<(String, String)>,
    /// When its rows were accepted.
    pub submitted: Instant,
}

/// One work with all that is known of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkDetail {
    /// The work.
    pub work: WorkView,
    /// What its bag's works have in common.
    pub template: WorkTemplate,
    /// Exit code of the deciding attempt, or minus the signal.
    pub exit_code: i32,
    /// Time that the deciding attempt ran, in microseconds.
    pub elapsed_us: u32,
    /// Its result, for commands an [`crate::outcome::Output`].
    pub result: Vec<u8>,
}

/// How many works of a bag are where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Waiting.
    pub queued: u32,
    /// With a worker, or running there.
    pub leased: u32,
    /// Ended well.
    pub succeeded: u32,
    /// Ended badly.
    pub failed: u32,
    /// Cancelled.
    pub cancelled: u32,
    /// Expired.
    pub expired: u32,
}

impl Tally {
    /// Works that ended, in whatever way.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.succeeded + self.failed + self.cancelled + self.expired
    }

    /// Works that were accepted.
    #[must_use]
    pub fn accepted(&self) -> u32 {
        self.queued + self.leased + self.done()
    }
}

/// One bag.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BagView {
    /// Its id.
    pub bag: BagId,
    /// Id of its first work.
    pub first: WorkId,
    /// Works that it has or will have: the rows that its submission announced, or those that came, if it takes no
    /// more.
    pub rows_total: u32,
    /// Where its works are.
    pub tally: Tally,
    /// Its priority now.
    pub priority: Priority,
    /// Whose it is.
    pub tenant: String,
    /// Its label.
    pub label: String,
    /// Its app.
    pub app: String,
    /// When it was opened.
    pub submitted: Instant,
}

/// One worker.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerView {
    /// Its number.
    pub worker: WorkerId,
    /// Its identity across restarts.
    pub uid: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub state: WorkerState,
    /// Why it takes no work for now, in its own words; `None`: nothing keeps it from working.
    pub problem: Option<String>,
    /// Works it has, running or waiting there.
    pub held: u32,
    /// Works that ended there since the engine started.
    pub finished: u64,
    /// What it has.
    pub offer: Offer,
    /// Time since its last sign of life.
    pub silent_for: Millis,
    /// Version of its program.
    pub version: String,
    /// Whether it may work.
    pub approval: Approval,
    /// Its certificate, if it was enrolled.
    pub certificate: Option<CertificateView>,
    /// The wallet that it proved to hold when it last joined.
    pub wallet: Option<Address>,
}

/// One queue: works of one tenant, class and priority.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct QueueView {
    /// Whose works.
    pub tenant: String,
    /// How urgent.
    pub priority: Priority,
    /// What they ask of a worker, in words.
    pub class: String,
    /// Works waiting.
    pub queued: u64,
    /// Connected workers that could run them.
    pub workers_eligible: u32,
}

/// The pool as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StatusView {
    /// The shard.
    pub shard: Shard,
    /// Its epoch.
    pub epoch: Epoch,
    /// Version of the engine.
    pub version: String,
    /// Time since it started.
    pub uptime: Millis,
    /// Works waiting.
    pub works_queued: u64,
    /// Works with workers.
    pub works_leased: u64,
    /// Works that ended and are still remembered.
    pub works_done: u64,
    /// Works that ended since the engine started.
    pub finished_total: u64,
    /// Works accepted since the engine started.
    pub accepted_total: u64,
    /// Bags remembered.
    pub bags: u64,
    /// Workers connected.
    pub workers_connected: u32,
    /// Slots of those.
    pub slots: u64,
    /// The last record.
    pub lsn: Lsn,
    /// Works that may be open at once.
    pub works_max: u64,
    /// Bytes of rows held in memory.
    pub rows_bytes: Bytes,
    /// Time for which dispatch waits for known workers to come back; zero once it does not.
    pub rejoin_wait: Millis,
    /// Who follows the feed, in order of their names; a second old at most.
    pub subscribers: Vec<SubscriberView>,
}

/// How far a subscriber of the feed is behind the engine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct SubscriberView {
    /// Its name.
    pub name: String,
    /// It is connected.
    pub connected: bool,
    /// All records up to this one are its own.
    pub acknowledged: Lsn,
    /// Durable records behind that one.
    pub lag_records: u64,
    /// What those take on the engine's disk, in steps of 64 KiB.
    pub lag_bytes: Bytes,
    /// Age of the oldest of them.
    pub lag: Millis,
}

/// Why a work or a worker is where it is: the facts that dispatch went by, most telling first.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// The answer in one sentence.
    pub summary: String,
    /// The facts behind it.
    pub facts: Vec<String>,
}

/// Answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// To [`crate::client_link::Query::Status`].
    Status(StatusView),
    /// One work.
    Work(Box<WorkDetail>),
    /// A page of works. The engine looks at a bounded number of works per query, so a page may be short, even
    /// empty, and not be the last.
    Works {
        /// The works that passed the filter.
        works: Vec<WorkView>,
        /// Ask again behind this work; `None`: that was all.
        next: Option<WorkId>,
    },
    /// One bag.
    Bag(BagView),
    /// A page of bags.
    Bags(Vec<BagView>),
    /// Results follow as `OUTCOMES` frames; this closes them. `next_row` is where to go on; equal to the bag's
    /// rows: that was all.
    ResultsEnd {
        /// Where to go on.
        next_row: u32,
        /// How many of the bag's works are not done yet.
        open: u32,
    },
    /// One worker.
    Worker(WorkerView),
    /// A page of workers.
    Workers(Vec<WorkerView>),
    /// All queues.
    Queues(Vec<QueueView>),
    /// An explanation.
    Explanation(Explanation),
    /// A command is durable; this many works or workers were changed by it.
    Changed(u32),
    /// Outcomes are followed from here on; `tally` is the bag as of now.
    Following(Tally),
    /// There is no such work, bag or worker.
    NotFound {
        /// What was looked for.
        what: String,
    },
    /// The command does not fit what it is for.
    Conflict(Invalid),
    /// An enrolment token was made, durably.
    Token(TokenView),
    /// A page of tokens.
    Tokens(Vec<TokenView>),
    /// All categories, in the order in which the engine's operator has them.
    Categories(Vec<Category>),
    /// A notebook was taken, durably; write under this number.
    Notebook {
        /// The number.
        holder: u64,
    },
    /// A page of notes.
    Notes {
        /// The notes.
        notes: Vec<Note>,
        /// There are more behind the last one.
        more: bool,
    },
}
