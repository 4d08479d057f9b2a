//! Questions about works, in every database, beside a model of their answers.

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wire_protocol::ids::{Attempt, Epoch, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::BagOpened;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

use super::stories::empty;
use super::*;
use crate::chain::ChainChange;
use crate::change::{AttemptChange, AttemptEnd, Bookkeeping, Decided, NewWork, Step, WorkChange, WorkNow};
use crate::query::{Order, WorkFilter, WorkQuery, WorkRow};

mod plans;
mod reading;

const STATES: [WorkState; 7] = [
    WorkState::Queued,
    WorkState::Leased,
    WorkState::Running,
    WorkState::Done(Outcome::Succeeded),
    WorkState::Done(Outcome::Failed),
    WorkState::Done(Outcome::Cancelled),
    WorkState::Done(Outcome::Expired),
];
/// Two of them differ in what a careless collation or a pattern takes for nothing.
const LABELS: [&str; 4] = ["", "a", "A", "a%"];

/// A batch: number of its label, of its app, its user, rows that it has room for, and its works.
#[derive(Clone, Debug)]
struct Bag(usize, usize, u32, u32, Vec<Work>);

/// A work: number of its state, its attempts, its last worker, when it was accepted.
type Work = (usize, u16, u32, u64);

fn bag() -> impl Strategy<Value = Bag> {
    let work = (0..STATES.len(), 1..4_u16, 1..4_u32, 0..9_u64);
    let works = prop::collection::vec(work, 0..12);
    (0..LABELS.len(), 0..3_usize, 1..4_u32, 1..4_u32, works)
        .prop_map(|(label, app, user, room, works)| Bag(label, app, user, works.len() as u32 + room, works))
}

/// Bags one after the other, and what a list says of their works.
#[derive(Default)]
struct Pool {
    bags: u64,
    next: u64,
    at: Lsn,
    works: Vec<WorkRow>,
}

impl Pool {
    /// What writes these bags behind those that are there.
    fn batch(&mut self, bags: &[Bag]) -> Batch {
        let (mut bookkeeping, mut works, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        let after = self.at;
        for Bag(label, app, user, room, of) in bags {
            self.bags += 1;
            let (bag, first, user) = (BagId(self.bags), WorkId(self.next + 1), TenantId(*user));
            self.next += u64::from(*room);
            let (label, app) = (LABELS[*label].to_owned(), format!("app {app}"));
            let template = WorkTemplate {
                label: label.clone(),
                app: app.clone(),
                ..WorkTemplate::default()
            };
            bookkeeping.push(Bookkeeping::BagOpened(Box::new(BagOpened {
                bag,
                first,
                rows_total: *room,
                tenant: user,
                key: Default::default(),
                at: Instant(1_000),
                template,
            })));
            for (row, (state, attempt, worker, at)) in (0..).zip(of) {
                self.at.0 += 1;
                let row = work_row(
                    first.offset(row),
                    bag,
                    user,
                    STATES[*state],
                    *attempt,
                    *worker,
                    *at,
                    self.at,
                );
                let row = WorkRow {
                    app: app.clone(),
                    label: label.clone(),
                    ..row
                };
                attempts.extend((1..=row.attempt.0).map(|attempt| self::attempt(&row, attempt, *worker)));
                works.push(change(&row));
                self.works.push(row);
            }
        }
        self.at.0 += 1;
        Batch {
            after,
            upto: self.at,
            bookkeeping,
            steps: vec![Step::Rows { works, attempts }],
            events: Vec::new(),
            chain: ChainChange::default(),
        }
    }

    fn answer(&self, filter: &WorkFilter, order: Order) -> Vec<WorkRow> {
        let mut works: Vec<_> = self
            .works
            .iter()
            .filter(|row| filter.passes(row))
            .cloned()
            .collect();
        order.sort(&mut works);
        works
    }
}

#[expect(clippy::too_many_arguments, reason = "they are the columns")]
fn work_row(
    work: WorkId,
    batch: BagId,
    user: TenantId,
    state: WorkState,
    attempt: u16,
    worker: u32,
    at: u64,
    lsn: Lsn,
) -> WorkRow {
    let decided = matches!(state, WorkState::Done(Outcome::Succeeded | Outcome::Failed));
    let held = decided || matches!(state, WorkState::Leased | WorkState::Running);
    WorkRow {
        work,
        batch,
        user,
        app: String::new(),
        label: String::new(),
        state,
        reason: Reason::None,
        attempt: Attempt(attempt),
        worker: held.then_some(WorkerId(worker)),
        exit_code: decided.then_some(-9),
        elapsed_us: decided.then_some(7),
        accepted_at: Instant(1_000 * at),
        changed_at: Some(Instant(2_000_000)),
        lsn: Some(lsn),
    }
}

fn change(row: &WorkRow) -> WorkChange {
    WorkChange {
        work: row.work,
        new: Some(NewWork {
            bag: row.batch,
            tenant: row.user,
            accepted_at: row.accepted_at,
            parameters: b"row".to_vec(),
        }),
        now: WorkNow {
            state: row.state,
            reason: row.reason,
            attempt: row.attempt,
            worker: row.worker,
            decided: row
                .exit_code
                .zip(row.elapsed_us)
                .map(|(exit_code, elapsed_us)| Decided {
                    exit_code,
                    elapsed_us,
                    result: b"result".to_vec(),
                }),
            changed_at: row.changed_at.expect("made above"),
            lsn: row.lsn.expect("made above"),
        },
    }
}

/// All attempts but the last were lost, each by this worker or the one before.
fn attempt(row: &WorkRow, attempt: u16, worker: u32) -> AttemptChange {
    let is_last = attempt == row.attempt.0;
    AttemptChange {
        work: row.work,
        attempt: Attempt(attempt),
        worker: WorkerId(if is_last || attempt == 1 {
            worker
        } else {
            worker + 1
        }),
        leased: Some((Epoch(1), Instant(1_000))),
        started_at: Some(Instant(2_000)),
        ended: (!is_last).then_some(AttemptEnd {
            at: Instant(3_000),
            outcome: None,
            reason: Reason::WorkerLost,
        }),
    }
}

fn filter() -> impl Strategy<Value = WorkFilter> {
    let state = prop::sample::select(STATES.to_vec());
    let states = prop_oneof![2 => Just(Vec::new()), 3 => prop::collection::vec(state, 1..4)];
    // Each is asked for now and then, also what nothing has.
    fn maybe<T: std::fmt::Debug + Clone + 'static>(
        of: impl Strategy<Value = T> + 'static,
    ) -> impl Strategy<Value = Option<T>> {
        prop::option::weighted(0.3, of)
    }
    let label = prop::sample::select(vec!["", "a", "A", "a%", "%", "a "]).prop_map(str::to_owned);
    (
        states,
        maybe((1..5_u32).prop_map(TenantId)),
        maybe((0..4_u32).prop_map(|app| format!("app {app}"))),
        maybe((1..6_u64).prop_map(BagId)),
        maybe((1..6_u32).prop_map(WorkerId)),
        maybe((0..9_000_u64).prop_map(Instant)),
        maybe((0..9_000_u64).prop_map(Instant)),
        maybe(label),
    )
        .prop_map(
            |(states, user, app, batch, worker, accepted_from, accepted_until, label)| WorkFilter {
                states,
                user,
                app,
                batch,
                worker,
                accepted_from,
                accepted_until,
                label,
            },
        )
}

fn order() -> impl Strategy<Value = Order> {
    prop::sample::select(vec![Order::NewestFirst, Order::OldestFirst])
}

/// All pages, and how many there were.
async fn pages(reader: &mut Reader, mut query: WorkQuery) -> (Vec<WorkRow>, usize) {
    let (mut works, mut pages) = (Vec::new(), 0);
    loop {
        let page = reader.list(&query).await.expect("it can be read");
        assert!(page.works.len() <= query.works_max());
        pages += 1;
        works.extend(page.works);
        query.after = page.next;
        if query.after.is_none() {
            return (works, pages);
        }
    }
}

#[test]
fn lists_and_counts_are_those_of_a_model_whatever_is_asked() {
    let databases = Databases::start();
    let targets = databases.fresh();
    let bags = prop::collection::vec(bag(), 0..8);
    let asked = prop::collection::vec((filter(), order(), 1..9_usize), 12);
    let checked = TestRunner::new(ProptestConfig::with_cases(24)).run(&(bags, asked), |(bags, asked)| {
        let mut pool = Pool::default();
        let batch = pool.batch(&bags);
        for target in &targets {
            runtime().block_on(async {
                let mut database = open(target).await;
                empty(&mut database).await;
                database.apply(&batch).await.expect("it is valid");
                let mut reader = Reader::open(target).await.expect("it opens");
                for (filter, order, limit) in &asked {
                    let wanted = pool.answer(filter, *order);
                    let query = WorkQuery {
                        order: *order,
                        limit: *limit,
                        ..WorkQuery::new(filter.clone())
                    };
                    let (found, _) = pages(&mut reader, query).await;
                    prop_assert_eq!(&found, &wanted, "{:?} in {}", filter, target);
                    let mut counts = crate::WorkCounts::new();
                    wanted
                        .iter()
                        .for_each(|row| *counts.entry(row.state).or_default() += 1);
                    let found = reader.counts(filter).await.expect("it can be read");
                    prop_assert_eq!(found, counts, "{:?} in {}", filter, target);
                }
                Ok(())
            })?;
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn pages_have_every_work_once_while_others_come() {
    let databases = Databases::start();
    let targets = databases.fresh();
    let bags = || prop::collection::vec(bag(), 1..4);
    let stories = (prop::collection::vec(bags(), 1..6), filter(), order(), 1..5_usize);
    let checked =
        TestRunner::new(ProptestConfig::with_cases(16)).run(&stories, |(story, filter, order, limit)| {
            for target in &targets {
                runtime().block_on(async {
                    let mut database = open(target).await;
                    empty(&mut database).await;
                    let (mut pool, mut story) = (Pool::default(), story.iter());
                    let first = pool.batch(story.next().expect("there is one"));
                    database.apply(&first).await.expect("it is valid");
                    let there = pool.answer(&filter, order);
                    let mut reader = Reader::open(target).await.expect("it opens");
                    let mut query = WorkQuery {
                        order,
                        limit,
                        ..WorkQuery::new(filter.clone())
                    };
                    let mut found = Vec::new();
                    loop {
                        let page = reader.list(&query).await.expect("it can be read");
                        prop_assert_eq!(page.at, pool.at);
                        found.extend(page.works);
                        query.after = page.next;
                        if query.after.is_none() {
                            break;
                        }
                        if let Some(bags) = story.next() {
                            database.apply(&pool.batch(bags)).await.expect("it is valid");
                        }
                    }
                    let wanted = match order {
                        // What came later comes before what was seen.
                        Order::NewestFirst => there,
                        Order::OldestFirst => pool.answer(&filter, order),
                    };
                    prop_assert_eq!(found, wanted, "in {}", target);
                    Ok(())
                })?;
            }
            Ok(())
        });
    checked.unwrap_or_else(|error| panic!("{error}"));
}
