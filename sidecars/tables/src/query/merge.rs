//! One page of what the engine has in memory and what the tables have.
//!
//! The engine knows where a work is, until it forgets the work's bag, some time after its last work ended. The tables
//! know every work, some time after it happened. The engine does not wait for the tables before it forgets. A work must
//! be missing from neither answer at once, and may not be told to be where it was before the question. So the order is:
//!
//! ```text
//!   1. since    the engine's last record            StatusView::lsn
//!   2. works    all pages of the engine             Reply::Works
//!   3. horizon  the engine's last record again      StatusView::lsn
//!   4. stored   a page of the tables                Reader::list
//! ```
//!
//! A work that is not in `works` was forgotten before it was asked for, so that no record behind `horizon` concerns it.
//! Tables that are at `horizon` or behind it have all of its records: it is there, in its last state. Tables that are
//! not yet there may lack it, and [`Merged::behind`] says by how many records: ask them again, or say so.
//!
//! The other order, tables first, is wrong however short the time between: a work that the tables do not have yet can
//! end and be forgotten before the engine is asked, and is in neither. No wait cures that, as the tables were
//! asked already. `query/tests.rs` shows it.
//!
//! A work that both have: the engine's answer is of `since` or later. A row whose record is not behind `since` is
//! therefore no newer. One whose record is behind it is also of after the question began, and whichever got further is
//! taken: a work that ended for the tables does not run again because the engine was asked before.
//!
//! The engine must be asked for states and workers of all kinds, and only be narrowed by what never changes of a work
//! (its bag): what it leaves out counts as forgotten, and an old row would stand in for it.

use std::collections::BTreeMap;

use wire_protocol::ids::{Attempt, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::Outcome;
use wire_protocol::view::{WorkState, WorkView};

use super::{WorkPage, WorkQuery, WorkRow};

/// A work as the engine has it, and what its answer leaves to whoever knows its users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveWork {
    /// The work.
    pub view: WorkView,
    /// Whose it is.
    pub user: TenantId,
}

/// What the engine answered, in the order in which it was asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Live {
    /// Its last record before it was asked for works.
    pub since: Lsn,
    /// Its works, in any order, narrowed by nothing that changes.
    pub works: Vec<LiveWork>,
    /// It was not asked for works behind this one, in the order of the query; `None`: it was asked for all.
    pub next: Option<WorkId>,
    /// No record behind this one concerns a work that it had forgotten: its last record afterwards, or a better bound.
    pub horizon: Lsn,
}

/// A page of both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Merged {
    /// The page.
    pub page: WorkPage,
    /// Records that the tables lack to vouch for what the engine has forgotten. 0: the page is complete. Otherwise
    /// works that ended a short time ago may be missing, or in an older state: ask the tables again.
    pub behind: u64,
}

/// Makes one page of what the engine answered and what the tables answered to `query` afterwards.
///
/// It has [`WorkQuery::works_max`] works at most, each once; [`WorkPage::next`] goes on for both.
#[must_use]
pub fn merge(query: &WorkQuery, live: &Live, stored: WorkPage) -> Merged {
    let behind = live.horizon.0.saturating_sub(stored.at.0);
    // Behind the nearer end, one of them has not looked.
    let end = nearer(query, live.next, stored.next);
    let is_within = |work: WorkId| {
        query.after.is_none_or(|after| query.order.is_behind(work, after))
            && end.is_none_or(|end| !query.order.is_behind(work, end))
    };
    let mut works: BTreeMap<WorkId, WorkRow> = stored.works.into_iter().map(|row| (row.work, row)).collect();
    for work in &live.works {
        let row = match works.remove(&work.view.work) {
            Some(row) => newer(row, work, live.since),
            None => row(work),
        };
        works.insert(row.work, row);
    }
    let mut works: Vec<_> = works
        .into_values()
        .filter(|row| is_within(row.work) && query.filter.passes(row))
        .collect();
    query.order.sort(&mut works);
    let next = cut(&mut works, query.works_max()).or(end);
    let at = stored.at;
    Merged {
        page: WorkPage { works, next, at },
        behind,
    }
}

/// Leaves `count` of them; the last of those, if others went.
pub(crate) fn cut(works: &mut Vec<WorkRow>, count: usize) -> Option<WorkId> {
    if works.len() <= count {
        return None;
    }
    works.truncate(count);
    works.last().map(|row| row.work)
}

fn nearer(query: &WorkQuery, one: Option<WorkId>, other: Option<WorkId>) -> Option<WorkId> {
    match (one, other) {
        (Some(one), Some(other)) if query.order.is_behind(one, other) => Some(other),
        (one, other) => one.or(other),
    }
}

/// The same work as both have it.
fn newer(stored: WorkRow, live: &LiveWork, since: Lsn) -> WorkRow {
    let LiveWork { view, .. } = live;
    let [there, here] = [(stored.attempt, stored.state), (view.attempt, view.state)];
    let is_of_before = stored.lsn.is_none_or(|lsn| lsn <= since);
    // Where both say the same, the tables know more of it.
    if there == here || !is_of_before && progress(there) >= progress(here) {
        stored
    } else {
        row(live)
    }
}

/// How far a work got. What is given back waits with the number of the attempt that it had, and so comes behind it.
fn progress((attempt, state): (Attempt, WorkState)) -> (Attempt, u8) {
    let state = match state {
        WorkState::Leased => 0,
        WorkState::Running => 1,
        WorkState::Queued => 2,
        WorkState::Done(_) => 3,
    };
    (attempt, state)
}

/// The engine remembers who had a work last; the tables say who has it, or decided it.
fn holder(view: &WorkView) -> Option<WorkerId> {
    match view.state {
        WorkState::Queued | WorkState::Done(Outcome::Cancelled | Outcome::Expired) => None,
        WorkState::Leased | WorkState::Running | WorkState::Done(_) => view.worker,
    }
}

/// A work that only the engine has.
fn row(live: &LiveWork) -> WorkRow {
    let view = &live.view;
    WorkRow {
        work: view.work,
        batch: view.bag,
        user: live.user,
        app: view.app.clone(),
        label: view.label.clone(),
        state: view.state,
        reason: view.reason,
        attempt: view.attempt,
        worker: holder(view),
        exit_code: None,
        elapsed_us: None,
        accepted_at: view.submitted,
        changed_at: None,
        lsn: None,
    }
}
