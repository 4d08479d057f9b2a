//! However the records are cut into batches, the tables end as a model has them that takes one record after the other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use testkit::story::{BAG, FIRST, Happening, TENANT, feed_record, happening, tell, tell_of, woven};
use wire_protocol::outcome::Outcome;

use super::*;

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
        let engines: Vec<_> = engine.states().collect();
        prop_assert_eq!(states, engines);
        // Rows and history agree: the last event of a work is where it is.
        for (work, (_, now)) in &expected.works {
            let last = expected.events.values().rfind(|event| event.work == *work).expect("it was accepted");
            prop_assert_eq!((last.lsn, last.state, last.reason), (now.lsn, now.state, now.reason));
        }
    }

    #[test]
    fn a_journal_that_begins_late_gives_all_of_the_bags_that_it_opens_and_nothing_of_others(
        old in prop::collection::vec(happening(), 0..60),
        young in prop::collection::vec(happening(), 0..60),
        parts in prop::collection::vec(0_usize..4, 1..60),
        late in 0_usize..60,
    ) {
        let (old, _) = tell_of(BagId(BAG.0 - 1), WorkId(FIRST.0 - 50), &old);
        let (young, _) = tell(&young);
        let records = woven(&old, &young, &[&[1], &parts[..]].concat());
        let opened = records.iter().position(|record| *record == young.records[0]).expect("it is woven in");
        // Records before this one are gone, among them the one that opened the old bag.
        let first = late.clamp(1, opened);
        let mut coalescer = Coalescer::new(Lsn(first as u64), []).beginning_with(Beginning::OPEN);
        for (index, record) in records.iter().enumerate().skip(first) {
            coalescer.take(&feed_record(index, record)).expect("the engine wrote it");
        }
        prop_assert_eq!(coalescer.beginning(), Beginning { bag: BAG, work: FIRST });
        let batch = coalescer.batch();
        let of_the_old = |change: &Bookkeeping| matches!(change, Bookkeeping::BagClosed { bag, .. } if *bag != BAG);
        prop_assert!(!batch.bookkeeping.iter().any(of_the_old));
        let mut found = Tables::default();
        found.apply(batch);
        let mut whole = tables(&records, &[]);
        whole.works.retain(|work, _| *work >= FIRST);
        whole.attempts.retain(|(work, _), _| *work >= FIRST);
        whole.events.retain(|(_, work), _| *work >= FIRST);
        prop_assert_eq!(found, whole);
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
