//! The tables hold, row by row, what the coalescer's model of them holds; in every database.

use std::fmt::Display;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::sql::{self, MariaDb};
use testkit::story::{Engine, Happening, feed_record, happening, tell};
use testkit::{dump, runtime};
use wire_protocol::codec;
use wire_protocol::ids::{Epoch, Shard, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{EpochStarted, WorkerChanged, WorkerJoined, kind};
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use super::*;
use crate::Coalescer;
use crate::change::{Bookkeeping, Decided, Step};
use crate::coalescer::tests::{Tables, tables};
use writer::{micros, number};

/// One database of each kind, as often as one likes.
struct Databases {
    folder: tempfile::TempDir,
    files: std::cell::Cell<u32>,
    server: MariaDb,
}

impl Databases {
    fn start() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            files: std::cell::Cell::new(0),
            server: MariaDb::start(),
        }
    }

    /// Empty ones.
    fn fresh(&self) -> [Target; 2] {
        let number = self.files.replace(self.files.get() + 1);
        let file = self.folder.path().join(format!("pool-{number}.sqlite"));
        let target = mysql_target(&self.server);
        [Target::Sqlite(file), Target::MySql(Box::new(target))]
    }
}

/// An empty database of this server.
pub(crate) fn mysql_target(server: &MariaDb) -> MySqlTarget {
    MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: sql::USER.to_owned(),
        password: sql::PASSWORD.to_owned(),
        database: runtime().block_on(server.database()),
        tls: Tls::Off,
        ca: None,
    }
}

async fn open(target: &Target) -> Database {
    Database::open(target).await.expect("it opens")
}

/// What a query that gives one text a row says.
async fn texts(database: &mut Database, query: &'static str) -> Vec<String> {
    let found = match &mut database.session {
        Session::Sqlite(connection) => sqlx::query_scalar(query).fetch_all(connection).await,
        Session::MySql(connection) => sqlx::query_scalar(query).fetch_all(connection).await,
    };
    found.expect("the tables are there")
}

/// Every row of works, attempts and events as text, in the order of their keys.
pub(crate) async fn rows(database: &mut Database) -> Vec<String> {
    let mut all = Vec::new();
    for query in &dump::QUERIES[..3] {
        all.extend(texts(database, query).await);
    }
    all
}

fn null(value: Option<impl Display>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}

fn blob(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The same of the model.
pub(crate) fn model_rows(tables: &Tables) -> Vec<String> {
    let works = tables.works.iter().map(|(work, (new, now))| {
        let decided = now.decided.as_ref();
        [
            work.0.to_string(),
            new.bag.0.to_string(),
            new.tenant.0.to_string(),
            blob(&new.parameters),
            micros(new.accepted_at).to_string(),
            now.state.to_string(),
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
            null(row.ended.and_then(|ended| ended.outcome)),
            null(row.ended.map(|ended| ended.reason as u8)),
        ]
        .join(" ")
    });
    let events = tables.events.values().map(|event| {
        [
            event.lsn.0.to_string(),
            event.work.0.to_string(),
            micros(event.at).to_string(),
            event.state.to_string(),
            (event.reason as u8).to_string(),
            event.attempt.0.to_string(),
            null(number(event.worker)),
        ]
        .join(" ")
    });
    works.chain(attempts).chain(events).collect()
}

/// Writes the records with a batch at each cut. At each cut it also forgets all it knows and goes on from the tables,
/// as a sidecar that was killed.
async fn follow(target: &Target, engine: &Engine, cuts: &[usize]) -> Database {
    let mut database = open(target).await;
    let mut coalescer = resumed(&mut database).await;
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
        if cuts.contains(&(index + 1)) {
            database.apply(&coalescer.batch()).await.expect("it follows");
            database = open(target).await;
            coalescer = resumed(&mut database).await;
        }
    }
    database.apply(&coalescer.batch()).await.expect("it follows");
    database
}

async fn resumed(database: &mut Database) -> Coalescer {
    let Resume { after, bags } = database.resume().await.expect("it has a position");
    Coalescer::new(after, bags)
}

#[test]
fn the_tables_hold_what_the_records_say_however_often_the_sidecar_starts() {
    let databases = Databases::start();
    let stories = prop::collection::vec(happening(), 0..120);
    let checked = TestRunner::new(ProptestConfig::with_cases(32)).run(&stories, |story| {
        let (engine, cuts) = tell(&story);
        let wanted = model_rows(&tables(&engine.records, &[]));
        for target in databases.fresh() {
            let found = runtime().block_on(async {
                let mut database = follow(&target, &engine, &cuts).await;
                let resume = database.resume().await.expect("it has a position");
                assert_eq!(resume.after, Lsn(engine.records.len() as u64));
                rows(&mut database).await
            });
            prop_assert_eq!(&found, &wanted, "in {}", target);
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
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
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let mut coalescer = Coalescer::new(Lsn(0), []);
            for (index, (record, wanted)) in told.iter().enumerate() {
                coalescer
                    .take(&feed_record(index, record))
                    .expect("the engine wrote it");
                database.apply(&coalescer.batch()).await.expect("it follows");
                let found = texts(&mut database, "SELECT CONCAT(state, ' ', cordoned) FROM workers").await;
                assert_eq!(found, [*wanted], "after record {} in {}", index + 1, target);
            }
            let names = texts(&mut database, "SELECT name FROM workers").await;
            assert_eq!(names, ["ant's \u{1f980}"], "in {}", target);
        });
    }
}

fn control(message: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = Vec::new();
    codec::put_control(&mut payload, message);
    payload
}

/// A batch that makes one work in an empty database.
fn one_batch() -> Batch {
    let (engine, _) = tell(&[Happening::Rows(1)]);
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
    }
    coalescer.batch()
}

#[test]
fn a_writer_that_is_behind_another_stops_and_writes_nothing() {
    let batch = one_batch();
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let (mut slow, mut fast) = (open(target).await, open(target).await);
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
}

#[test]
fn a_batch_that_changes_what_is_not_there_changes_nothing_and_names_it() {
    let mut batch = one_batch();
    let Some(Step::Rows { works, .. }) = batch.steps.first_mut() else {
        panic!("{:?}", batch.steps)
    };
    let mut stranger = works[0].clone();
    (stranger.work, stranger.new) = (WorkId(9_000), None);
    works.push(stranger);
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
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
}

#[test]
fn a_row_that_is_there_already_is_an_error_that_no_waiting_cures() {
    let batch = one_batch();
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            database.apply(&batch).await.expect("it is the first");
            let again = Batch {
                after: batch.upto,
                upto: batch.upto.next(),
                ..batch.clone()
            };
            let refused = database.apply(&again).await.expect_err("the bag is there");
            assert!(!refused.is_passing(), "{refused:?}");
        });
    }
}

#[test]
fn a_database_of_a_later_version_is_refused() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let text = fixed("INSERT INTO schema_versions (version) VALUES (99)");
            database.session.run(text).await.expect("the table is there");
            let refused = Database::open(target).await.expect_err("99 is unknown");
            assert!(
                matches!(refused, DatabaseError::NewerSchema { found: 99, .. }),
                "{refused}"
            );
        });
    }
}

#[test]
fn a_database_with_tables_of_another_program_is_refused_and_left_alone() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let text = fixed("DROP TABLE schema_versions");
            database.session.run(text).await.expect("the table is there");
            let refused = Database::open(target).await.expect_err("not ours");
            assert!(matches!(refused, DatabaseError::Foreign), "{refused}");
            let text = fixed("SELECT version FROM schema_versions");
            let made = database.session.run(text).await;
            made.expect_err("what is not ours gets no table of ours");
        });
    }
}

#[test]
fn those_that_open_a_new_database_at_once_make_one_schema() {
    for target in &Databases::start().fresh() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let resume = runtime().block_on(async { open(target).await.resume().await });
                    assert_eq!(resume.expect("it has a position").after, Lsn(0));
                });
            }
        });
    }
}

#[test]
fn after_the_migration_an_account_that_may_only_change_rows_is_enough() {
    let databases = Databases::start();
    let target = Box::new(mysql_target(&databases.server));
    runtime().block_on(async {
        open(&Target::MySql(target.clone())).await;
        let (name, user) = (&target.database, &target.user);
        databases
            .server
            .run(&format!(
                "REVOKE ALL ON {name}.* FROM {user}@'%'; \
                 GRANT SELECT, INSERT, UPDATE, DELETE ON {name}.* TO {user}@'%'"
            ))
            .await;
        let mut database = open(&Target::MySql(target.clone())).await;
        database.apply(&one_batch()).await.expect("it may");
    });
}

#[test]
fn a_migration_that_died_anywhere_is_finished_by_the_next() {
    let databases = Databases::start();
    let statements = migrations::first_file();
    for done in 1..=statements.len() {
        let target = Target::MySql(Box::new(mysql_target(&databases.server)));
        let Target::MySql(server) = &target else {
            unreachable!()
        };
        runtime().block_on(async {
            let mut half = Session::MySql(mysql::open(server).await.expect("it is there"));
            for statement in &statements[..done] {
                half.run(fixed(statement)).await.expect("it is valid");
            }
            half.close().await;
            let mut database = open(&target).await;
            database
                .apply(&one_batch())
                .await
                .expect("the tables are all there");
            let resume = database.resume().await.expect("it has a position");
            assert_eq!(resume.after, Lsn(2), "after {done} statements");
        });
    }
}

#[test]
fn texts_and_bytes_at_their_bounds_come_back_as_they_went() {
    use wire_protocol::limits::{NAME_BYTES_MAX, RESULT_BYTES_MAX, ROW_BYTES_MAX};
    let mut batch = one_batch();
    let names = [
        "\u{1f980}".repeat(NAME_BYTES_MAX / 4),
        "x".repeat(NAME_BYTES_MAX),
        "it's \"so\" \\ \0 \n \u{7f} \u{fffd}; -- %_?".to_owned(),
        String::new(),
    ];
    for (name, change) in names.iter().zip(1..) {
        batch
            .bookkeeping
            .push(Bookkeeping::WorkerJoined(Box::new(WorkerJoined {
                worker: WorkerId(change),
                uid: name.clone(),
                name: name.clone(),
                version: "1".to_owned(),
                offer: Offer::default(),
                at: Instant(i64::MAX as u64),
            })));
    }
    let Some(Step::Rows { works, .. }) = batch.steps.first_mut() else {
        panic!("{:?}", batch.steps)
    };
    let every = |length: usize| (0..length).map(|at| (at % 256) as u8).collect::<Vec<_>>();
    works[0].new.as_mut().expect("it is new").parameters = every(ROW_BYTES_MAX);
    works[0].now.decided = Some(Decided {
        exit_code: i32::MIN,
        elapsed_us: u32::MAX,
        result: every(RESULT_BYTES_MAX),
    });
    works[0].now.changed_at = Instant(u64::MAX / 4);
    let wanted = format!(
        "{} {} {} {} {}",
        blob(&every(ROW_BYTES_MAX)),
        blob(&every(RESULT_BYTES_MAX)),
        i32::MIN,
        u32::MAX,
        u64::MAX / 4_000
    );
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            database.apply(&batch).await.expect("all is within bounds");
            let found = texts(&mut database, "SELECT name FROM workers ORDER BY worker_id").await;
            assert_eq!(found, names, "in {target}");
            let query = "SELECT CONCAT(HEX(parameters), ' ', HEX(result), ' ', exit_code, ' ', elapsed_us, ' ', \
                         changed_us) FROM works";
            assert_eq!(texts(&mut database, query).await, [&wanted[..]], "in {target}");
        });
    }
}
