//! What is true of the tables in every database.

mod archive;
mod chain;
mod compare;
mod denied;
mod import;
mod listing;
mod predecessor;
mod schema;
mod stories;
mod tls;
mod writing;

use testkit::sql::{self, SqlServer};
use testkit::story::{Happening, feed_record, tell};
use testkit::{dump, runtime};

use super::session::Value;
use super::*;
use crate::Coalescer;

/// One database of each kind, as often as one likes.
struct Databases {
    folder: tempfile::TempDir,
    files: std::cell::Cell<u32>,
    servers: [SqlServer; 2],
}

impl Databases {
    fn start() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            files: std::cell::Cell::new(0),
            servers: SqlServer::start_each(),
        }
    }

    /// Empty ones.
    fn fresh(&self) -> [Target; 3] {
        let number = self.files.replace(self.files.get() + 1);
        let file = self.folder.path().join(format!("pool-{number}.sqlite"));
        let [mariadb, mysql] = self.servers.each_ref().map(mysql_target).map(Box::new);
        [Target::Sqlite(file), Target::MySql(mariadb), Target::MySql(mysql)]
    }
}

/// An empty database of this server.
fn mysql_target(server: &SqlServer) -> MySqlTarget {
    at(server, runtime().block_on(server.database()))
}

/// This database of this server.
fn at(server: &SqlServer, database: String) -> MySqlTarget {
    MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: sql::USER.to_owned(),
        password: sql::PASSWORD.to_owned(),
        database,
        tls: if server.kind().wants_tls() {
            Tls::Require
        } else {
            Tls::Off
        },
        ca: None,
    }
}

async fn open(target: &Target) -> Database {
    Database::open(target).await.expect("it opens")
}

/// What a query that gives one text a row says.
async fn texts(database: &mut Database, query: &'static str) -> Vec<String> {
    let arguments = database.session.arguments();
    let found = database.session.values(fixed(query), arguments).await;
    let found = found.expect("the tables are there").concat();
    let text = |value| match value {
        Value::Text(text) => text,
        // A long one.
        Value::Bytes(bytes) => String::from_utf8(bytes).expect("text"),
        other => panic!("{query}: {other} should be a text"),
    };
    found.into_iter().map(text).collect()
}

/// Every row of works, attempts and events as text, in the order of their keys.
async fn rows(database: &mut Database) -> Vec<String> {
    let mut all = Vec::new();
    for query in &dump::QUERIES[..3] {
        all.extend(texts(database, query).await);
    }
    all
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

fn blob(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
