//! However the records are cut into batches, the tables end as a model has them that takes one record after the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use wire_protocol::codec;
use wire_protocol::ids::{Epoch, LeaseToken, Shard};
use wire_protocol::outcome::Outcome;
use wire_protocol::record::{self, BagOpened, BagSealed, Ended, Revived, SettledItem, kind};
use wire_protocol::template::{Rows, WorkTemplate};

use super::*;

const BAG: BagId = BagId(3);
const FIRST: WorkId = WorkId(100);
const ROWS: u32 = 24;
const TENANT: TenantId = TenantId(2);

/// What the tables hold; each batch as a database would apply it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) works: BTreeMap<WorkId, (NewWork, WorkNow)>,
    pub(crate) attempts: BTreeMap<(WorkId, Attempt), AttemptChange>,
    pub(crate) events: BTreeMap<(Lsn, WorkId), Event>,
}

impl Tables {
    fn apply(&mut self, batch: Batch) {
        for step in batch.steps {
            match step {
                Step::Rows { works, attempts } => self.apply_rows(works, attempts),
                Step::Run(run) => self.apply_run(run),
            }
        }
        for event in batch.events {
            self.add_event(event);
        }
    }

    fn add_event(&mut self, event: Event) {
        let before = self.events.insert((event.lsn, event.work), event);
        assert_eq!(before, None, "a record changes a work once at most");
    }

    fn apply_rows(&mut self, works: Vec<WorkChange>, attempts: Vec<AttemptChange>) {
        for WorkChange { work, new, now } in works {
            match new {
                Some(new) => assert_eq!(
                    self.works.insert(work, (new, now)),
                    None,
                    "{work} is accepted once"
                ),
                None => self.works.get_mut(&work).expect("accepted before").1 = now,
            }
        }
        for change in attempts {
            let key = (change.work, change.attempt);
            match self.attempts.get_mut(&key) {
                None => {
                    assert!(change.leased.is_some(), "an attempt begins with its lease");
                    self.attempts.insert(key, change);
                }
                Some(row) => {
                    row.started_at = change.started_at.or(row.started_at);
                    row.ended = change.ended.or(row.ended);
                }
            }
        }
    }

    fn apply_run(&mut self, run: RunChange) {
        let last = run.first.offset(run.count);
        let concerned: Vec<_> = self
            .works
            .range(run.first..last)
            .filter(|(_, (_, now))| run.concerns(now.state, now.attempt))
            .map(|(work, _)| *work)
            .collect();
        for work in concerned {
            let now = &mut self.works.get_mut(&work).expect("just found").1;
            let event = Event {
                lsn: run.lsn,
                work,
                at: run.at,
                state: run.becomes(),
                reason: run.reason,
                attempt: now.attempt,
                worker: None,
            };
            *now = WorkNow {
                state: event.state,
                reason: run.reason,
                attempt: now.attempt,
                worker: None,
                decided: None,
                changed_at: run.at,
                lsn: run.lsn,
            };
            if let Some(row) = self
                .attempts
                .get_mut(&(work, now.attempt))
                .filter(|row| row.ended.is_none())
            {
                row.ended = Some(AttemptEnd {
                    at: run.at,
                    outcome: None,
                    reason: run.reason,
                });
            }
            self.add_event(event);
        }
    }
}

/// What may happen next; works are meant by their row, where they can take it.
#[derive(Clone, Debug)]
pub(crate) enum Happening {
    Rows(u32),
    Lease(u32, u32),
    Start(u32),
    Release(u32),
    Settle(u32, Outcome),
    End(u32, u32),
    Revive(u32, u32),
    Seal,
    Cut,
}

pub(crate) fn happening() -> impl Strategy<Value = Happening> {
    let row = 0..ROWS;
    prop_oneof![
        2 => (1..6_u32).prop_map(Happening::Rows),
        8 => (row.clone(), 1..4_u32).prop_map(|(row, worker)| Happening::Lease(row, worker)),
        6 => row.clone().prop_map(Happening::Start),
        3 => row.clone().prop_map(Happening::Release),
        5 => (row.clone(), prop_oneof![Just(Outcome::Succeeded), Just(Outcome::Failed)])
            .prop_map(|(row, outcome)| Happening::Settle(row, outcome)),
        1 => (row.clone(), 1..ROWS).prop_map(|(row, count)| Happening::End(row, count)),
        1 => (row, 1..ROWS).prop_map(|(row, count)| Happening::Revive(row, count)),
        1 => Just(Happening::Seal),
        3 => Just(Happening::Cut),
    ]
}

/// Writes the records of what happens, as the engine would: only what the states allow.
#[derive(Default)]
pub(crate) struct Engine {
    pub(crate) records: Vec<(u8, Vec<u8>)>,
    states: Vec<(WorkState, u16, u32)>,
}

impl Engine {
    fn now(&self) -> Instant {
        Instant(1_000 * (self.records.len() as u64 + 1))
    }

    fn push(&mut self, kind: u8, payload: Vec<u8>) -> bool {
        self.records.push((kind, payload));
        true
    }

    fn control(&mut self, kind: u8, message: &impl serde::Serialize) -> bool {
        let mut payload = Vec::new();
        codec::put_control(&mut payload, message);
        self.push(kind, payload)
    }

    fn open(&mut self) {
        let opened = BagOpened {
            bag: BAG,
            first: FIRST,
            rows_total: ROWS,
            tenant: TENANT,
            key: Default::default(),
            at: self.now(),
            template: WorkTemplate::default(),
        };
        self.control(kind::BAG_OPENED, &opened);
    }

    /// `true`: a record was written.
    fn happen(&mut self, happening: &Happening) -> bool {
        match *happening {
            Happening::Rows(count) => self.rows(count),
            Happening::Lease(row, worker) => match self.states.get_mut(row as usize) {
                Some((state @ WorkState::Queued, attempt, of)) => {
                    (*state, *of) = (WorkState::Leased, worker);
                    *attempt += 1;
                    self.attempts(kind::LEASED, row, Reason::None)
                }
                _ => false,
            },
            Happening::Start(row) => match self.states.get_mut(row as usize) {
                Some((state @ WorkState::Leased, ..)) => {
                    *state = WorkState::Running;
                    self.attempts(kind::STARTED, row, Reason::None)
                }
                _ => false,
            },
            Happening::Release(row) => match self.states.get_mut(row as usize) {
                Some((state @ (WorkState::Leased | WorkState::Running), ..)) => {
                    *state = WorkState::Queued;
                    self.attempts(kind::RELEASED, row, Reason::WorkerLost)
                }
                _ => false,
            },
            Happening::Settle(row, outcome) => self.settle(row, outcome),
            Happening::End(row, count) => {
                for (state, ..) in self.states.iter_mut().skip(row as usize).take(count as usize) {
                    if !matches!(state, WorkState::Done(_)) {
                        *state = WorkState::Done(Outcome::Cancelled);
                    }
                }
                let ended = Ended {
                    at: self.now(),
                    first: FIRST.offset(row),
                    count,
                    outcome: Outcome::Cancelled,
                    reason: Reason::ByUser,
                    closes: None,
                };
                self.control(kind::ENDED, &ended)
            }
            Happening::Revive(row, count) => {
                for (state, ..) in self.states.iter_mut().skip(row as usize).take(count as usize) {
                    if matches!(state, WorkState::Done(outcome) if *outcome != Outcome::Succeeded) {
                        *state = WorkState::Queued;
                    }
                }
                let (at, first) = (self.now(), FIRST.offset(row));
                self.control(kind::REVIVED, &Revived { at, first, count })
            }
            Happening::Seal => {
                let at = self.now();
                self.control(kind::BAG_SEALED, &BagSealed { bag: BAG, at })
            }
            Happening::Cut => false,
        }
    }

    fn rows(&mut self, count: u32) -> bool {
        let has = self.states.len() as u32;
        let count = count.min(ROWS - has);
        let mut encoded = Vec::new();
        for row in has..has + count {
            codec::put_bytes(&mut encoded, format!("row {row} \0'\u{1f980}").as_bytes());
            self.states.push((WorkState::Queued, 0, 0));
        }
        let mut payload = Vec::new();
        RowsAdded {
            at: self.now(),
            bag: BAG,
            first_row: has,
            rows: Rows::parse(count, &encoded).expect("just encoded"),
        }
        .put(&mut payload);
        self.push(kind::ROWS_ADDED, payload)
    }

    fn attempts(&mut self, kind: u8, row: u32, reason: Reason) -> bool {
        let (_, attempt, worker) = self.states[row as usize];
        let token = LeaseToken {
            work: FIRST.offset(row),
            epoch: Epoch(1),
            attempt: Attempt(attempt),
            shard: Shard(0),
        };
        let mut payload = Vec::new();
        record::begin_attempts(&mut payload, self.now(), WorkerId(worker), reason);
        payload.extend_from_slice(&token.to_bytes());
        self.push(kind, payload)
    }

    fn settle(&mut self, row: u32, outcome: Outcome) -> bool {
        let now = self.now();
        let Some((state @ (WorkState::Leased | WorkState::Running), attempt, worker)) =
            self.states.get_mut(row as usize)
        else {
            return false;
        };
        *state = WorkState::Done(outcome);
        let mut payload = Vec::new();
        record::begin_settled(&mut payload, now, WorkerId(*worker));
        SettledItem {
            work: FIRST.offset(row),
            attempt: Attempt(*attempt),
            outcome,
            reason: Reason::None,
            exit_code: -9,
            elapsed_us: 7,
            result: b"out\0put",
        }
        .put(&mut payload);
        self.push(kind::SETTLED, payload)
    }
}

/// The records of a story, and where its batches end.
pub(crate) fn tell(story: &[Happening]) -> (Engine, Vec<usize>) {
    let (mut engine, mut cuts) = (Engine::default(), Vec::new());
    engine.open();
    for happening in story {
        if !engine.happen(happening) && matches!(happening, Happening::Cut) {
            cuts.push(engine.records.len());
        }
    }
    (engine, cuts)
}

pub(crate) fn feed_record(index: usize, (kind, payload): &(u8, Vec<u8>)) -> FeedRecord<'_> {
    FeedRecord {
        lsn: Lsn(index as u64 + 1),
        epoch: Epoch(1),
        wall_us: 0,
        kind: *kind,
        payload,
    }
}

/// The tables after all records, with a batch at each cut.
pub(crate) fn tables(records: &[(u8, Vec<u8>)], cuts: &[usize]) -> Tables {
    let (mut tables, mut coalescer) = (Tables::default(), Coalescer::new(Lsn(0), []));
    for (index, record) in records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
        if cuts.contains(&(index + 1)) {
            let batch = coalescer.batch();
            assert_eq!(batch.upto, Lsn(index as u64 + 1));
            tables.apply(batch);
        }
    }
    tables.apply(coalescer.batch());
    assert_eq!(coalescer.batch().steps, [], "everything was given out");
    tables
}

proptest! {
    #[test]
    fn batches_give_the_rows_that_single_records_give(story in prop::collection::vec(happening(), 0..200)) {
        let (engine, cuts) = tell(&story);
        let each: Vec<_> = (1..=engine.records.len()).collect();
        let expected = tables(&engine.records, &each);
        prop_assert_eq!(&tables(&engine.records, &cuts), &expected);
        prop_assert_eq!(&tables(&engine.records, &[]), &expected);
        // The engine's own view of it, which never saw a coalescer.
        let states: Vec<_> = expected.works.values().map(|(_, now)| (now.state, now.attempt.0)).collect();
        let engines: Vec<_> = engine.states.iter().map(|(state, attempt, _)| (*state, *attempt)).collect();
        prop_assert_eq!(states, engines);
        // Rows and history agree: the last event of a work is where it is.
        for (work, (_, now)) in &expected.works {
            let last = expected.events.values().rfind(|event| event.work == *work).expect("it was accepted");
            prop_assert_eq!((last.lsn, last.state, last.reason), (now.lsn, now.state, now.reason));
        }
    }

    #[test]
    fn a_batch_holds_each_work_once_between_two_runs(story in prop::collection::vec(happening(), 0..200)) {
        let (engine, _) = tell(&story);
        let mut coalescer = Coalescer::new(Lsn(0), []);
        for (index, record) in engine.records.iter().enumerate() {
            coalescer.take(&feed_record(index, record)).expect("the engine wrote it");
        }
        for step in coalescer.batch().steps {
            if let Step::Rows { works, attempts } = step {
                prop_assert!(works.is_sorted_by_key(|change| change.work));
                prop_assert!(works.windows(2).all(|two| two[0].work != two[1].work));
                prop_assert!(attempts.windows(2).all(|two| (two[0].work, two[0].attempt) < (two[1].work, two[1].attempt)));
            }
        }
    }

    #[test]
    fn a_coalescer_that_starts_at_a_batch_goes_on_as_one_that_never_stopped(
        story in prop::collection::vec(happening(), 0..100),
        at in 0_usize..100,
    ) {
        let (engine, _) = tell(&story);
        let at = at.clamp(1, engine.records.len());
        let mut second = Coalescer::new(Lsn(at as u64), [(BAG, (FIRST, TENANT))]);
        let mut whole = Coalescer::new(Lsn(0), []);
        for (index, record) in engine.records.iter().enumerate() {
            if index == at {
                whole.batch();
            }
            whole.take(&feed_record(index, record)).expect("the engine wrote it");
            if index >= at {
                second.take(&feed_record(index, record)).expect("the engine wrote it");
            }
        }
        if at < engine.records.len() {
            prop_assert_eq!(second.batch(), whole.batch());
        }
    }
}

#[test]
fn a_whole_life_in_one_batch_is_one_row_and_four_events() {
    let story = [
        Happening::Rows(1),
        Happening::Lease(0, 1),
        Happening::Start(0),
        Happening::Settle(0, Outcome::Succeeded),
    ];
    let (engine, _) = tell(&story);
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
    }
    let batch = coalescer.batch();
    assert_eq!((batch.after, batch.upto, batch.events.len()), (Lsn(0), Lsn(5), 4));
    let [Step::Rows { works, attempts }] = &batch.steps[..] else {
        panic!("{:?}", batch.steps)
    };
    let ([work], [attempt]) = (&works[..], &attempts[..]) else {
        panic!("{works:?} {attempts:?}")
    };
    assert!(work.new.is_some());
    assert_eq!(work.now.state, WorkState::Done(Outcome::Succeeded));
    assert!(attempt.leased.is_some() && attempt.started_at.is_some() && attempt.ended.is_some());
}

#[test]
fn records_that_do_not_follow_are_told_by_their_position_and_change_nothing() {
    let (engine, _) = tell(&[Happening::Rows(2)]);
    let mut coalescer = Coalescer::new(Lsn(0), []);
    let skipped = coalescer.take(&feed_record(1, &engine.records[1]));
    assert!(matches!(
        skipped,
        Err(RecordError::NotNext(NotNext::Gap {
            last: Lsn(0),
            found: Lsn(2)
        }))
    ));
    let later = coalescer.take(&feed_record(0, &(250, Vec::new())));
    assert!(matches!(
        later,
        Err(RecordError::NotNext(NotNext::Malformed { lsn: Lsn(1), .. }))
    ));
    let foreign = coalescer.take(&feed_record(0, &engine.records[1]));
    assert!(matches!(
        foreign,
        Err(RecordError::UnknownBag {
            lsn: Lsn(1),
            bag: BAG
        })
    ));
    assert_eq!(coalescer.records(), 0);
    let batch = coalescer.batch();
    assert!(batch.steps.is_empty() && batch.events.is_empty());
    coalescer
        .take(&feed_record(0, &engine.records[0]))
        .expect("the first comes first");
}
