//! What is in the tables, and what should be.

use std::path::Path;

use engine_journal::{OsStorage, export};
use sidecars_persist::{Coalescer, Database, Target};
use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};
use sqlx::sqlite::SqliteConnection;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::Lsn;

use crate::dump::QUERIES;

/// Every row of every table as text, in the order of their keys.
pub(crate) async fn dump(target: &Target) -> Vec<String> {
    let mut all = Vec::new();
    for query in QUERIES {
        all.extend(texts(target, query).await);
    }
    all
}

/// What a query says that gives one text a row.
pub(crate) async fn texts(target: &Target, query: &'static str) -> Vec<String> {
    match target {
        Target::Sqlite(file) => {
            let url = format!("sqlite:{}", file.display());
            let mut connection = SqliteConnection::connect(&url).await.expect("the file is there");
            let found = sqlx::query_scalar(query).fetch_all(&mut connection).await;
            found.expect("the tables are there")
        }
        Target::MySql(target) => {
            let options = MySqlConnectOptions::new()
                .host(&target.host)
                .port(target.port)
                .username(&target.user)
                .password(&target.password)
                .database(&target.database)
                .ssl_mode(MySqlSslMode::Disabled);
            let connection = MySqlConnection::connect_with(&options).await;
            let mut connection = connection.expect("the server is there");
            let found = sqlx::query_scalar(query).fetch_all(&mut connection).await;
            found.expect("the tables are there")
        }
    }
}

/// The last record that is in the tables.
pub(crate) async fn position(target: &Target) -> u64 {
    let found = texts(target, "SELECT CONCAT(lsn) FROM positions WHERE shard = 0").await;
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
