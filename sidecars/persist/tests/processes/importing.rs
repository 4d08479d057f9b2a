//! `pool import xwhep` from a real server.

use std::path::Path;

use serde_json::{Value, json};
use testkit::sql::{self, SqlKind, SqlServer, predecessor};

use crate::kit::{pool, sqlite};

/// `pool import xwhep` from this address into this file.
fn import(from: &str, password: &str, into: &Path, more: &[&str]) -> (i32, Value, String) {
    let into = into.to_str().expect("it is UTF-8");
    let arguments = ["import", "xwhep", "--from", from, "--database", into];
    pool(
        &[&arguments, more].concat(),
        &[("POOL_IMPORT_PASSWORD", password)],
    )
}

/// How many items of each fate.
fn fates(said: &Value) -> [usize; 4] {
    let items = said["items"].as_array().expect("a list");
    ["added", "known", "skipped", "conflict"]
        .map(|fate| items.iter().filter(|item| item["fate"] == fate).count())
}

#[tokio::test]
async fn a_pool_takes_over_the_predecessors_accounts_and_says_what_it_leaves() {
    let server = SqlServer::start(SqlKind::MariaDb);
    let database = predecessor::database(&server).await;
    let from = format!("mysql://{}@127.0.0.1:{}/{database}", sql::USER, server.port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pool.sqlite");

    let (code, said, problem) = import(&from, sql::PASSWORD, &file, &["--dry-run"]);
    assert_eq!((code, &said["imported"]), (0, &Value::Bool(false)), "{problem}");
    assert_eq!(fates(&said), [12, 0, 4, 0], "{said}");
    assert!(!file.exists(), "a dry run makes nothing");

    let (code, said, problem) = import(&from, sql::PASSWORD, &file, &[]);
    assert_eq!((code, &said["imported"]), (0, &Value::Bool(true)), "{problem}");
    assert_eq!(said["schema"], "workerpool/v1/import");
    assert_eq!(
        said["counts"]["user"],
        json!({ "added": 4, "skipped": 2 }),
        "{said}"
    );
    assert!(!said.to_string().contains("toor"), "{said}");

    for more in [&["--dry-run"][..], &[]] {
        let (code, said, problem) = import(&from, sql::PASSWORD, &file, more);
        assert_eq!((code, fates(&said)), (0, [0, 12, 4, 0]), "{said} {problem}");
    }
}

#[tokio::test]
async fn a_conflict_stops_an_import_unless_it_is_left_out() {
    let server = SqlServer::start(SqlKind::MySql);
    let database = predecessor::database(&server).await;
    let from = format!("mysql://{}@127.0.0.1:{}/{database}", sql::USER, server.port());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pool.sqlite");
    let path = file.to_str().expect("it is UTF-8");
    let (code, _, problem) = pool(&["db", "migrate", "--database", path], &[]);
    assert_eq!(code, 0, "{problem}");
    sqlite(
        &file,
        "INSERT INTO pool_accounts (login, role, password_hash, created_us) VALUES ('root', 'viewer', '!', 0)",
    )
    .await;

    for more in [&["--dry-run"][..], &[]] {
        let (code, said, problem) = import(&from, sql::PASSWORD, &file, more);
        assert_eq!(
            (code, &said["imported"]),
            (6, &Value::Bool(false)),
            "{said} {problem}"
        );
        assert_eq!(fates(&said), [11, 0, 4, 1], "{said}");
        assert!(problem.contains("--skip-conflicts"), "{problem}");
    }
    let (code, said, problem) = import(&from, sql::PASSWORD, &file, &["--skip-conflicts"]);
    assert_eq!(
        (code, &said["imported"]),
        (8, &Value::Bool(true)),
        "{said} {problem}"
    );
    assert!(problem.contains("1 rows are left out"), "{problem}");
    let (code, said, _) = import(&from, sql::PASSWORD, &file, &["--skip-conflicts"]);
    assert_eq!((code, fates(&said)), (8, [0, 11, 4, 1]), "{said}");
}

#[test]
fn an_import_from_nowhere_says_why() {
    let server = SqlServer::start(SqlKind::MariaDb);
    let runtime = testkit::runtime();
    let empty = runtime.block_on(server.database());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pool.sqlite");
    let at = |database: &str| format!("mysql://{}@127.0.0.1:{}/{database}", sql::USER, server.port());
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = format!(
        "mysql://a@127.0.0.1:{}/x",
        nobody.local_addr().expect("it is bound").port()
    );
    for (from, password, more, wanted, says) in [
        (
            at(&empty),
            sql::PASSWORD,
            &[][..],
            6,
            "no database of XtremWeb-HEP",
        ),
        (
            at(&empty),
            "swordfish",
            &[],
            4,
            "look at the account's name and password",
        ),
        (
            at("elsewhere"),
            sql::PASSWORD,
            &[],
            4,
            "look at the name of the database",
        ),
        (
            "mysql://a:swordfish@127.0.0.1/x".to_owned(),
            "x",
            &[],
            3,
            "the password given apart",
        ),
        (
            "mysql://a@127.0.0.1/x".to_owned(),
            "",
            &[],
            3,
            "POOL_IMPORT_PASSWORD is empty",
        ),
        (silent, "x", &["--timeout", "200ms"], 7, "--timeout"),
    ] {
        let (code, _, problem) = import(&from, password, &file, more);
        assert_eq!(code, wanted, "{from}: {problem}");
        assert!(problem.contains(says), "{from}: {problem}");
        assert!(!problem.contains("swordfish"), "{problem}");
        assert!(!file.exists(), "{from}: nothing is made");
    }
}
