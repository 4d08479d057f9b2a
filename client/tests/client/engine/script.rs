//! What the engine is told to do, and what it has seen.

use super::*;

/// What goes wrong with one request of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The link is closed before the request is looked at.
    LoseBefore,
    /// The link is closed after it was done and before it is answered.
    LoseAfter,
    /// It is answered `Busy`.
    Busy,
}

/// What the engine is to do wrong, and what it has seen. Tests set and read it while it runs.
#[derive(Default)]
pub(crate) struct Script {
    /// For `Open`s in order; `None` from there on. So for the others.
    pub(crate) open_faults: Vec<Fault>,
    pub(crate) rows_faults: Vec<Fault>,
    pub(crate) command_faults: Vec<Fault>,
    /// Outcomes that come live before the engine says `Lagging`, once per follow; `None`: all come.
    pub(crate) lag_after: Option<usize>,
    /// Outcomes that are sent live before the link is closed, once.
    pub(crate) lose_after_outcomes: Option<usize>,
    /// Works (by row) whose result is no longer there when it is asked for.
    pub(crate) forgotten: Vec<u32>,
    /// Works do not end before this is set.
    pub(crate) hold: bool,
    pub(crate) results_per_page: usize,
    /// What is said to those who follow a work, one request after the other; then that it has succeeded.
    pub(crate) logs: VecDeque<Vec<Printed>>,
    pub(crate) bags: Vec<Bag>,
    /// By name.
    pub(crate) notebooks: BTreeMap<String, Notebook>,
    /// One word per request.
    pub(crate) seen: Vec<&'static str>,
}

/// As the real engine keeps one.
#[derive(Clone, Default, Debug)]
pub(crate) struct Notebook {
    pub(crate) holder: u64,
    pub(crate) notes: BTreeMap<String, Vec<u8>>,
}

/// What is said to somebody who follows a work.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Printed {
    /// Attempt, stream, offset, text.
    Piece(u16, LogStream, u64, &'static str),
    AttemptEnded(u16),
    Busy,
    /// The link is closed.
    Lost,
    Ended(u16, WorkState),
}

pub(crate) struct Bag {
    pub(super) key: IdempotencyKey,
    pub(super) rows_total: u32,
    pub(super) template: WorkTemplate,
    pub(crate) rows: Vec<Vec<u8>>,
    /// It takes no more rows.
    pub(crate) sealed: bool,
    /// How many of them ended, from the first on.
    pub(super) ended: usize,
    pub(super) follower: Option<(LinkId, RequestId)>,
    pub(super) followed_from: usize,
}

/// The next fault of a list.
pub(super) fn next(faults: &mut Vec<Fault>) -> Fault {
    if faults.is_empty() {
        Fault::None
    } else {
        faults.remove(0)
    }
}
