//! What is in the tables, and what should be.

use std::path::Path;

use engine_journal::{OsStorage, export};
use sidecars_tables::{Coalescer, Database, Target};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use testkit::dump::Source;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::Lsn;

/// Every row of every table as text, in the order of their keys.
pub(crate) async fn dump(target: &Target) -> Vec<String> {
    source(target).rows().await
}

/// Changes a file of SQLite by hand.
pub(crate) async fn sqlite(file: &Path, statement: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
        .await
        .expect("the file is there");
    let done = sqlx::raw_sql(statement).execute(&mut connection).await;
    done.expect("it is valid");
}

/// What a query says that gives one text a row.
pub(crate) async fn texts(target: &Target, query: &'static str) -> Vec<String> {
    source(target).texts(query).await
}

fn source(target: &Target) -> Source<'_> {
    match target {
        Target::Sqlite(file) => Source::File(file),
        Target::MySql(target) => Source::Server {
            port: target.port,
            database: &target.database,
        },
    }
}

/// The last record that is in the tables.
pub(crate) async fn position(target: &Target) -> u64 {
    let found = texts(target, "SELECT CONCAT(lsn) FROM pool_positions WHERE shard = 0").await;
    found[0].parse().expect("a number")
}

/// The tables as a sidecar would have written them that was never disturbed: the engine's whole journal as one batch
/// in a database of its own. Returns its rows and the last record.
pub(crate) async fn undisturbed(engine: &Path) -> (Vec<String>, u64) {
    let storage = OsStorage::open_read_only(engine).expect("the engine's folder");
    let mut coalescer = Coalescer::new(Lsn(0), []);
    let report = export(&storage, Lsn(1), Lsn(u64::MAX - 1), |record| {
        let record = FeedRecord {
            lsn: record.lsn,
            epoch: record.epoch,
            wall_us: record.wall_us,
            kind: record.kind,
            payload: record.payload,
        };
        coalescer.take(&record).expect("the engine wrote it");
    });
    assert_eq!(report.expect("a readable journal").damage, None);
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::Sqlite(folder.path().join("undisturbed.sqlite"));
    let last = coalescer.upto();
    let mut database = Database::open(&target).await.expect("a new file");
    database.apply(&coalescer.batch()).await.expect("it follows");
    database.close().await;
    (dump(&target).await, last.0)
}
