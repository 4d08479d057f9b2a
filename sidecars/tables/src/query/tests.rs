//! An engine that forgets, tables that lag, and a question to both.

use proptest::prelude::*;
use wire_protocol::ids::{Attempt, BagId, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Instant;
use wire_protocol::view::{WorkState, WorkView};

use super::*;

/// What a pool did, record by record: each work with all states that it ever had.
#[derive(Clone, Debug, Default)]
struct Pool {
    records: u64,
    works: Vec<Past>,
}

#[derive(Clone, Debug)]
struct Past {
    work: WorkId,
    /// From which record on it is where, with which attempt.
    states: Vec<(u64, WorkState, u16)>,
    /// From which record on the engine does not know it.
    forgotten: Option<u64>,
}

/// What may happen next, to a work by its place among those that are there.
#[derive(Clone, Debug)]
enum Happening {
    Accept,
    Move(usize, u8),
    Forget(usize),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        2 => Just(Happening::Accept),
        8 => (0..12_usize, 0..4_u8).prop_map(|(work, to)| Happening::Move(work, to)),
        2 => (0..12_usize).prop_map(Happening::Forget),
    ]
}

fn pool(story: &[Happening]) -> Pool {
    let mut pool = Pool::default();
    for happening in story {
        pool.records += 1;
        let lsn = pool.records;
        match *happening {
            Happening::Accept => pool.works.push(Past {
                work: WorkId(pool.works.len() as u64 + 1),
                states: vec![(lsn, WorkState::Queued, 0)],
                forgotten: None,
            }),
            Happening::Move(work, to) => {
                if let Some(work) = pool.works.get_mut(work).filter(|work| work.forgotten.is_none()) {
                    work.go(lsn, to);
                }
            }
            Happening::Forget(work) => {
                if let Some(work) = pool.works.get_mut(work) {
                    let is_done = matches!(work.last().1, WorkState::Done(_));
                    work.forgotten = work.forgotten.or(is_done.then_some(lsn));
                }
            }
        }
    }
    pool
}

impl Past {
    fn last(&self) -> (u64, WorkState, u16) {
        *self.states.last().expect("it was accepted")
    }

    fn go(&mut self, lsn: u64, to: u8) {
        use WorkState::{Done, Leased, Queued, Running};
        let (_, state, attempt) = self.last();
        let next = match (state, to) {
            (Queued, 0..=2) => (Leased, attempt + 1),
            (Queued, _) => (Done(Outcome::Cancelled), attempt),
            (Leased, 0..=1) => (Running, attempt),
            (Leased | Running, 2) => (Done(Outcome::Succeeded), attempt),
            (Running, 0..=1) => (Done(Outcome::Failed), attempt),
            // Given back, or revived.
            (Leased | Running | Done(Outcome::Failed | Outcome::Cancelled), _) => (Queued, attempt),
            (Done(_), _) => return,
        };
        self.states.push((lsn, next.0, next.1));
    }

    /// As of this record; `None`: not accepted yet.
    fn at(&self, lsn: u64) -> Option<(u64, WorkState, u16)> {
        self.states.iter().rfind(|(since, ..)| *since <= lsn).copied()
    }

    fn row(&self, lsn: u64) -> Option<WorkRow> {
        let (lsn, state, attempt) = self.at(lsn)?;
        Some(WorkRow {
            work: self.work,
            batch: BagId(1),
            user: TenantId(1),
            app: "app".to_owned(),
            label: "label".to_owned(),
            state,
            reason: Reason::None,
            attempt: Attempt(attempt),
            worker: None,
            exit_code: None,
            elapsed_us: None,
            accepted_at: Instant(0),
            changed_at: Some(Instant(lsn)),
            lsn: Some(Lsn(lsn)),
        })
    }

    /// What the engine says of it when it is at this record.
    fn live(&self, lsn: u64) -> Option<LiveWork> {
        let row = self.row(lsn)?;
        if self.forgotten.is_some_and(|forgotten| forgotten <= lsn) {
            return None;
        }
        let view = WorkView {
            work: row.work,
            bag: row.batch,
            row: 0,
            state: row.state,
            attempt: row.attempt,
            worker: Some(WorkerId(1)),
            reason: row.reason,
            label: row.label,
            app: row.app,
            parameters: Vec::new(),
            submitted: row.accepted_at,
        };
        Some(LiveWork { view, user: row.user })
    }
}

impl Pool {
    /// As the tables answer when they are at this record.
    fn stored(&self, query: &WorkQuery, at: u64) -> WorkPage {
        let is_behind = |work| query.after.is_none_or(|after| query.order.is_behind(work, after));
        let rows = self.works.iter().filter_map(|work| work.row(at));
        let mut works: Vec<_> = rows
            .filter(|row| is_behind(row.work) && query.filter.passes(row))
            .collect();
        query.order.sort(&mut works);
        let next = cut(&mut works, query.works_max());
        let at = Lsn(at);
        WorkPage { works, next, at }
    }
}

/// When what was asked: records of the engine, in this order, and where the tables were.
#[derive(Clone, Debug)]
struct Asking {
    since: u64,
    /// The engine's answer is of several moments, one page after the other.
    pages: Vec<u64>,
    horizon: u64,
    tables: u64,
    /// The engine says how far back the last work is that it forgot, instead of where it is.
    exact: bool,
}

fn asking() -> impl Strategy<Value = Asking> {
    let percent = || 0..=100_u64;
    let pages = prop::collection::vec(percent(), 1..4);
    (percent(), pages, percent(), percent(), any::<bool>()).prop_map(
        |(since, pages, horizon, tables, exact)| Asking {
            since,
            pages,
            horizon,
            tables,
            exact,
        },
    )
}

impl Asking {
    /// Percent as records of this pool.
    fn of(&self, pool: &Pool) -> Self {
        let between = |from: u64, percent: u64| from + (pool.records - from) * percent / 100;
        let since = between(0, self.since);
        let mut pages: Vec<_> = self.pages.iter().map(|page| between(since, *page)).collect();
        pages.sort_unstable();
        let last = *pages.last().expect("one at least");
        let mut horizon = between(last, self.horizon);
        if self.exact {
            let forgotten = pool
                .works
                .iter()
                .filter(|work| work.forgotten.is_some_and(|at| at <= last));
            horizon = forgotten.map(|work| work.last().0).max().unwrap_or(0);
        }
        let tables = pool.records * self.tables / 100;
        Self {
            since,
            pages,
            horizon,
            tables,
            exact: self.exact,
        }
    }

    fn live(&self, pool: &Pool) -> Live {
        let pages = self.pages.iter().cycle();
        let works = pool.works.iter().zip(pages);
        Live {
            since: Lsn(self.since),
            works: works.filter_map(|(work, at)| work.live(*at)).collect(),
            next: None,
            horizon: Lsn(self.horizon),
        }
    }
}

fn query(states: Vec<WorkState>, oldest: bool, limit: usize) -> WorkQuery {
    let filter = WorkFilter {
        states,
        ..WorkFilter::default()
    };
    let order = if oldest {
        Order::OldestFirst
    } else {
        Order::NewestFirst
    };
    WorkQuery {
        order,
        limit,
        ..WorkQuery::new(filter)
    }
}

fn states() -> impl Strategy<Value = Vec<WorkState>> {
    let state = prop_oneof![
        Just(WorkState::Queued),
        Just(WorkState::Leased),
        Just(WorkState::Running),
        Just(WorkState::Done(Outcome::Succeeded)),
        Just(WorkState::Done(Outcome::Failed)),
    ];
    prop::collection::vec(state, 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]
    #[test]
    fn no_work_is_missing_or_older_than_the_question(
        story in prop::collection::vec(happening(), 1..80),
        asking in asking(),
        states in states(),
        oldest in any::<bool>(),
        limit in 1..8_usize,
    ) {
        let pool = pool(&story);
        let asking = asking.of(&pool);
        let live = asking.live(&pool);
        let (mut query, mut found) = (query(states, oldest, limit), Vec::new());
        loop {
            let merged = merge(&query, &live, pool.stored(&query, asking.tables));
            prop_assert_eq!(merged.behind, asking.horizon.saturating_sub(asking.tables));
            prop_assert!(merged.page.works.len() <= limit);
            found.extend(merged.page.works);
            query.after = merged.page.next;
            if query.after.is_none() {
                break;
            }
        }
        let order = |pair: &[WorkRow]| query.order.is_behind(pair[1].work, pair[0].work);
        prop_assert!(found.windows(2).all(order), "each once, in order");
        prop_assert!(found.iter().all(|row| query.filter.passes(row)));
        // Tables that are not there yet vouch for nothing, and it was said.
        if asking.tables < asking.horizon {
            return Ok(());
        }
        for past in &pool.works {
            let mut since = (asking.since..=pool.records).filter_map(|at| past.row(at));
            match found.iter().find(|row| row.work == past.work) {
                Some(row) => {
                    let is_it = |of: WorkRow| (of.state, of.attempt) == (row.state, row.attempt);
                    prop_assert!(since.any(is_it), "{:?} was not so since {:?}: {:?}", row, asking, past);
                }
                None => {
                    let always = past.at(asking.since).is_some() && since.all(|row| query.filter.passes(&row));
                    prop_assert!(!always, "{:?} is missing: {:?}", past, asking);
                }
            }
        }
    }
}

/// A work that is accepted, runs, ends and is forgotten.
fn brief() -> Pool {
    let moves = [0, 0, 2].map(|to| Happening::Move(0, to));
    let story = [&[Happening::Accept], &moves[..], &[Happening::Forget(0)]].concat();
    pool(&story)
}

fn ask(since: u64, page: u64, horizon: u64, tables: u64) -> Merged {
    let asking = Asking {
        since,
        pages: vec![page],
        horizon,
        tables,
        exact: false,
    };
    let (pool, query) = (brief(), query(Vec::new(), false, 10));
    merge(&query, &asking.live(&pool), pool.stored(&query, tables))
}

#[test]
fn tables_that_were_asked_first_lack_a_work_that_was_forgotten_meanwhile() {
    // The work was there when the question began, at record 1: not yet in the tables, no longer in the engine.
    let wrong = ask(1, 5, 5, 0);
    assert_eq!(wrong.page.works, []);
    assert_eq!(
        wrong.behind, 5,
        "and to wait for these tables is in vain: they have been asked"
    );
    let right = ask(1, 5, 5, 5);
    assert_eq!(right.page.works[0].state, WorkState::Done(Outcome::Succeeded));
    assert_eq!(right.behind, 0);
}

#[test]
fn a_work_that_ended_for_the_tables_does_not_run_again_because_the_engine_was_asked_before() {
    let merged = ask(3, 3, 4, 4);
    assert_eq!(merged.page.works[0].state, WorkState::Done(Outcome::Succeeded));
    assert_eq!(merged.page.works[0].lsn, Some(Lsn(4)));
}

#[test]
fn the_engine_knows_better_than_tables_that_lag() {
    let merged = ask(4, 4, 4, 1);
    let row = &merged.page.works[0];
    assert_eq!((row.state, row.lsn), (WorkState::Done(Outcome::Succeeded), None));
}
