//! The file holds, row by row, what the coalescer's model of the tables holds.

use std::fmt::Display;

use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};
use wire_protocol::ids::{Epoch, Shard};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{EpochStarted, WorkerChanged, WorkerJoined, kind};
use wire_protocol::template::Offer;
use wire_protocol::view::WorkerState;

use super::*;
use crate::Coalescer;
use crate::coalescer::tests::{Engine, Happening, Tables, feed_record, happening, tables, tell};

fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread")
}

/// Every row of works, attempts and events as text, in the order of their keys.
async fn rows(database: &mut SqliteDatabase) -> Vec<String> {
    let mut all = Vec::new();
    for query in [
        "SELECT concat_ws(' ', quote(work_id), quote(batch_id), quote(user_id), quote(parameters), quote(accepted_us), \
         quote(state), quote(reason), quote(attempt), quote(worker_id), quote(exit_code), quote(elapsed_us), \
         quote(result), quote(changed_us), quote(lsn)) FROM works ORDER BY work_id",
        "SELECT concat_ws(' ', quote(work_id), quote(attempt), quote(worker_id), quote(epoch), quote(leased_us), \
         quote(started_us), quote(ended_us), quote(outcome), quote(reason)) FROM attempts ORDER BY work_id, attempt",
        "SELECT concat_ws(' ', quote(lsn), quote(work_id), quote(at_us), quote(state), quote(reason), quote(attempt), \
         quote(worker_id)) FROM events ORDER BY lsn, work_id",
    ] {
        let rows: Vec<String> = sqlx::query_scalar(query)
            .fetch_all(&mut database.connection)
            .await
            .expect("the tables are there");
        all.extend(rows);
    }
    all
}

fn null(value: Option<impl Display>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

fn text(value: impl Display) -> String {
    format!("'{value}'")
}

fn blob(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("X'{hex}'")
}

/// The same of the model.
fn model_rows(tables: &Tables) -> Vec<String> {
    let works = tables.works.iter().map(|(work, (new, now))| {
        let decided = now.decided.as_ref();
        [
            work.0.to_string(),
            new.bag.0.to_string(),
            new.tenant.0.to_string(),
            blob(&new.parameters),
            micros(new.accepted_at).to_string(),
            text(now.state),
            (now.reason as u8).to_string(),
            now.attempt.0.to_string(),
            null(number(now.worker)),
            null(decided.map(|decided| decided.exit_code)),
            null(decided.map(|decided| decided.elapsed_us)),
            null(decided.map(|decided| blob(&decided.result))),
            micros(now.changed_at).to_string(),
            now.lsn.0.to_string(),
        ]
        .join(" ")
    });
    let attempts = tables.attempts.values().map(|row| {
        let (epoch, leased_at) = row.leased.expect("an attempt begins with its lease");
        [
            row.work.0.to_string(),
            row.attempt.0.to_string(),
            row.worker.0.to_string(),
            epoch.0.to_string(),
            micros(leased_at).to_string(),
            null(row.started_at.map(micros)),
            null(row.ended.map(|ended| micros(ended.at))),
            null(row.ended.and_then(|ended| ended.outcome).map(text)),
            null(row.ended.map(|ended| ended.reason as u8)),
        ]
        .join(" ")
    });
    let events = tables.events.values().map(|event| {
        [
            event.lsn.0.to_string(),
            event.work.0.to_string(),
            micros(event.at).to_string(),
            text(event.state),
            (event.reason as u8).to_string(),
            event.attempt.0.to_string(),
            null(number(event.worker)),
        ]
        .join(" ")
    });
    works.chain(attempts).chain(events).collect()
}

/// Writes the records with a batch at each cut. At each cut it also forgets all it knows and goes on from the file, as
/// a sidecar that was killed.
async fn follow(file: &Path, engine: &Engine, cuts: &[usize]) -> SqliteDatabase {
    let mut database = SqliteDatabase::open(file).await.expect("a new file");
    let mut coalescer = resumed(&mut database).await;
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
        if cuts.contains(&(index + 1)) {
            database.apply(&coalescer.batch()).await.expect("it follows");
            database = SqliteDatabase::open(file).await.expect("the same file");
            coalescer = resumed(&mut database).await;
        }
    }
    database.apply(&coalescer.batch()).await.expect("it follows");
    database
}

async fn resumed(database: &mut SqliteDatabase) -> Coalescer {
    let Resume { after, bags } = database.resume().await.expect("it has a position");
    Coalescer::new(after, bags)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_file_holds_what_the_records_say_however_often_the_sidecar_starts(
        story in prop::collection::vec(happening(), 0..120),
    ) {
        let folder = tempfile::tempdir().expect("a folder");
        let (engine, cuts) = tell(&story);
        let found = runtime().block_on(async {
            let mut database = follow(&folder.path().join("pool.sqlite"), &engine, &cuts).await;
            let resume = database.resume().await.expect("it has a position");
            assert_eq!(resume.after, Lsn(engine.records.len() as u64));
            rows(&mut database).await
        });
        prop_assert_eq!(found, model_rows(&tables(&engine.records, &[])));
    }
}

#[test]
fn a_cordon_outlasts_links_and_engines_as_it_does_in_the_engine() {
    let joined = || {
        let joined = WorkerJoined {
            worker: WorkerId(1),
            uid: "ant".to_owned(),
            name: "ant's \u{1f980}".to_owned(),
            version: "1".to_owned(),
            offer: Offer::default(),
            at: Instant(5_000),
        };
        (kind::WORKER_JOINED, control(&joined))
    };
    let changed = |state, reason| {
        let (worker, at) = (WorkerId(1), Instant(7_000));
        let changed = WorkerChanged {
            worker,
            state,
            reason,
            at,
        };
        (kind::WORKER_CHANGED, control(&changed))
    };
    let restarted = || {
        let started = EpochStarted {
            shard: Shard(0),
            epoch: Epoch(2),
            at: Instant(9_000),
            version: "1".to_owned(),
        };
        (kind::EPOCH_STARTED, control(&started))
    };
    let told = [
        (joined(), "ready 0"),
        (changed(WorkerState::Lost, Reason::WorkerLost), "lost 0"),
        (changed(WorkerState::Cordoned, Reason::ByOperator), "lost 1"),
        (joined(), "cordoned 1"),
        (changed(WorkerState::Ready, Reason::ByOperator), "ready 0"),
        (changed(WorkerState::Cordoned, Reason::ByOperator), "cordoned 1"),
        (restarted(), "lost 1"),
        (joined(), "cordoned 1"),
        (changed(WorkerState::Draining, Reason::ByOperator), "draining 1"),
        (changed(WorkerState::Gone, Reason::WorkerDraining), "gone 1"),
        (changed(WorkerState::Gone, Reason::ByOperator), "gone 0"),
        (joined(), "ready 0"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    runtime().block_on(async {
        let mut database = SqliteDatabase::open(&folder.path().join("pool.sqlite"))
            .await
            .expect("a new file");
        let mut coalescer = Coalescer::new(Lsn(0), []);
        for (index, (record, wanted)) in told.iter().enumerate() {
            coalescer
                .take(&feed_record(index, record))
                .expect("the engine wrote it");
            database.apply(&coalescer.batch()).await.expect("it follows");
            let row: String = sqlx::query_scalar("SELECT state || ' ' || cordoned FROM workers")
                .fetch_one(&mut database.connection)
                .await
                .expect("one worker");
            assert_eq!(&row, wanted, "after record {}", index + 1);
        }
    });
}

fn control(message: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = Vec::new();
    codec::put_control(&mut payload, message);
    payload
}

/// A file, and a batch for it that makes one work.
fn one_batch() -> (tempfile::TempDir, Batch) {
    let (engine, _) = tell(&[Happening::Rows(1)]);
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
    }
    (tempfile::tempdir().expect("a folder"), coalescer.batch())
}

#[test]
fn a_writer_that_is_behind_another_stops_and_writes_nothing() {
    let (folder, batch) = one_batch();
    let file = folder.path().join("pool.sqlite");
    runtime().block_on(async {
        let mut slow = SqliteDatabase::open(&file).await.expect("a new file");
        let mut fast = SqliteDatabase::open(&file).await.expect("the same file");
        fast.apply(&batch).await.expect("it is the first");
        let before = rows(&mut fast).await;
        let refused = slow.apply(&batch).await.expect_err("the other was ahead");
        assert!(
            matches!(
                refused,
                DatabaseError::Elsewhere {
                    expected: Lsn(0),
                    found: Lsn(2)
                }
            ),
            "{refused}"
        );
        assert_eq!(rows(&mut slow).await, before);
    });
}

#[test]
fn a_batch_that_changes_what_is_not_there_changes_nothing_and_names_it() {
    let (folder, mut batch) = one_batch();
    let Some(Step::Rows { works, .. }) = batch.steps.first_mut() else {
        panic!("{:?}", batch.steps)
    };
    let mut stranger = works[0].clone();
    (stranger.work, stranger.new) = (WorkId(9_000), None);
    works.push(stranger);
    runtime().block_on(async {
        let file = folder.path().join("pool.sqlite");
        let mut database = SqliteDatabase::open(&file).await.expect("a new file");
        let refused = database
            .apply(&batch)
            .await
            .expect_err("w9000 was never accepted");
        assert!(
            refused.to_string().starts_with("w9000 is not in the database"),
            "{refused}"
        );
        assert_eq!(database.resume().await.expect("it has a position").after, Lsn(0));
        assert_eq!(rows(&mut database).await, Vec::<String>::new());
    });
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    let (folder, _) = one_batch();
    runtime().block_on(async {
        let file = folder.path().join("pool.sqlite");
        let mut database = SqliteDatabase::open(&file).await.expect("a new file");
        sqlx::query("INSERT INTO schema_versions (version) VALUES (99)")
            .execute(&mut database.connection)
            .await
            .expect("the table is there");
        let refused = SqliteDatabase::open(&file).await.expect_err("99 is unknown");
        assert!(
            matches!(refused, DatabaseError::NewerSchema { found: 99, .. }),
            "{refused}"
        );
    });
}

#[test]
fn two_that_open_a_new_file_at_once_make_one_schema() {
    let (folder, _) = one_batch();
    let file = folder.path().join("pool.sqlite");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let resume = runtime().block_on(async {
                    let mut database = SqliteDatabase::open(&file)
                        .await
                        .expect("one waits for the other");
                    database.resume().await.expect("it has a position")
                });
                assert_eq!(resume.after, Lsn(0));
            });
        }
    });
}
