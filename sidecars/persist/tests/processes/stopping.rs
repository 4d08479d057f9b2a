//! How the process ends, and what it says.

use std::path::Path;
use std::process::{Command, Output};

use sidecars_tables::{MySqlTarget, Target, Tls};
use testkit::sql::{SqlKind, SqlServer};

use crate::kit::{Engine, Sidecar, client_of, position, until};

/// Where it is unless one says otherwise.
fn beside(engine: &Engine) -> Target {
    Target::Sqlite(engine.data().join("pool.sqlite"))
}

#[test]
fn it_waits_for_an_engine_that_is_not_there_and_stops_in_good_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(
        folder.path(),
        folder.path(),
        &Target::Sqlite(folder.path().join("pool.sqlite")),
    );
    sidecar.start();
    until("it has tried twice", || {
        sidecar.metric("pool_persist_failures_total") >= Some(2.0)
    });
    let said = sidecar.get("/readyz").expect("it serves");
    assert!(
        said.starts_with("HTTP/1.1 503") && said.contains("feed.sock cannot be followed"),
        "{said}"
    );
    sidecar.stop();
    assert!(sidecar.log().contains("begins again"), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn it_follows_an_engine_that_comes_later_and_one_that_comes_back() {
    let mut engine = Engine::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &beside(&engine));
    engine.stop();
    sidecar.start();
    until("it has tried", || {
        sidecar.metric("pool_persist_failures_total") >= Some(1.0)
    });
    engine.start_again();
    let last = client_of(&engine).await.status().await.expect("an answer").lsn.0;
    sidecar.wait_for_lsn(last);
    let ready = sidecar.get("/readyz").expect("it serves");
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let health = sidecar.get("/healthz").expect("it serves");
    assert!(health.contains("\"lag_records\":0"), "{health}");
    engine.kill();
    engine.start_again();
    let again = client_of(&engine).await.status().await.expect("an answer").lsn.0;
    assert!(again > last, "a start is a record");
    sidecar.wait_for_lsn(again);
    sidecar.stop();
    assert!(position(&beside(&engine)).await >= again);
}

#[test]
fn two_sidecars_take_the_feed_from_each_other_and_the_one_that_is_left_goes_on() {
    let engine = Engine::start(&[]);
    let (one, two) = (
        tempfile::tempdir().expect("a folder"),
        tempfile::tempdir().expect("a folder"),
    );
    let mut first = Sidecar::new(&engine.data(), one.path(), &beside(&engine));
    first.start();
    until("it follows", || {
        first.metric("pool_persist_following") == Some(1.0)
    });
    let mut second = Sidecar::new(&engine.data(), two.path(), &beside(&engine));
    second.start();
    // They take the feed from each other; neither writes anything twice, and that is all that is promised.
    until("both were in turn", || {
        first.metric("pool_persist_sessions_total") >= Some(2.0)
            && second.metric("pool_persist_sessions_total") >= Some(2.0)
    });
    second.kill();
    until("the first goes on", || {
        first.metric("pool_persist_following") == Some(1.0)
    });
    first.stop();
}

#[test]
fn a_journal_that_is_not_the_databases_ends_it_with_its_exit_code() {
    let engine = Engine::start(&[]);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &beside(&engine));
    sidecar.start();
    until("it follows", || sidecar.metric("pool_persist_lsn") >= Some(1.0));
    sidecar.stop();
    let file = engine.data().join("pool.sqlite");
    sqlite(&file, "UPDATE pool_positions SET lsn = 1000000");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &beside(&engine));
    sidecar.start();
    let status = sidecar.wait();
    assert_eq!(status.code(), Some(6), "{}", sidecar.log());
    assert!(
        sidecar
            .log()
            .contains("it is not the journal that `persist` followed"),
        "{}",
        sidecar.log()
    );
    sqlite(&file, "UPDATE pool_positions SET lsn = 0");
    sidecar.start();
    let status = sidecar.wait();
    assert_eq!(
        status.code(),
        Some(5),
        "the rows are there already: {}",
        sidecar.log()
    );
    sqlite(&file, "INSERT INTO pool_schema_versions (version) VALUES (99)");
    sidecar.start();
    let status = sidecar.wait();
    assert_eq!(status.code(), Some(5), "{}", sidecar.log());
    assert!(
        sidecar.log().contains("use the version that made it"),
        "{}",
        sidecar.log()
    );
}

fn sqlite(file: &Path, statement: &'static str) {
    testkit::runtime().block_on(crate::kit::sqlite(file, statement));
}

testkit::on_every_server!(the_password_is_in_no_log_and_in_no_list_of_processes);

/// A server that knows no such account says so with what it was told; what was told in secret must not be in it.
fn the_password_is_in_no_log_and_in_no_list_of_processes(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::MySql(Box::new(MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: "nobody".to_owned(),
        password: "open sesame".to_owned(),
        database: "none".to_owned(),
        tls: Tls::Prefer,
        ca: None,
    }));
    let mut sidecar = Sidecar::new(folder.path(), folder.path(), &target);
    sidecar.start();
    until("it was refused", || {
        sidecar.metric("pool_persist_failures_total") >= Some(1.0)
    });
    let words = std::fs::read(format!("/proc/{}/cmdline", sidecar.pid())).expect("it runs");
    assert!(!String::from_utf8_lossy(&words).contains("sesame"));
    let health = sidecar.get("/healthz").expect("it serves");
    sidecar.stop();
    for said in [sidecar.log(), health] {
        assert!(said.contains("Access denied for user"), "{said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-persist"));
    command.env_clear().args(arguments).output().expect("it starts")
}

#[test]
fn help_teaches_and_wrong_usage_is_told_apart_from_wrong_configuration() {
    let help = run(&["--help"]);
    let text = String::from_utf8_lossy(&help.stdout).into_owned();
    for word in ["Exit codes:", "DBHOST", "SIGTERM", "feed.sock", "LOGGERLEVEL"] {
        assert!(text.contains(word), "{word} is not in\n{text}");
    }
    assert_eq!(run(&["--no-such-flag"]).status.code(), Some(2));
    assert_eq!(run(&["--listen-health", "nowhere"]).status.code(), Some(3));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("it is bound").to_string();
    assert_eq!(run(&["--listen-health", &address]).status.code(), Some(4));
}
