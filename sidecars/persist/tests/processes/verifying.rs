//! `pool db` beside a real engine and a real sidecar.

use std::path::Path;

use client::protocol::template::WorkTemplate;
use client::{Client, SubmitOptions};
use serde_json::Value;
use sidecars_tables::Target;

use crate::kit::{Engine, Sidecar, client_of, pool_db, sqlite};

/// `pool db <verb>` on this journal and this file.
fn on_file(verb: &[&str], journal: &Path, database: &Path) -> (i32, Value, String) {
    pool_db(verb, journal, &Target::Sqlite(database.to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_sidecar_wrote_is_verified_and_a_changed_row_is_named() {
    let mut engine = Engine::start(&[]);
    engine.add_worker("ant", 8);
    let file = engine.data().join("pool.sqlite");
    let (code, _, problem) = on_file(&["status"], &engine.data(), &file);
    assert_eq!(code, 5, "there is none yet: {problem}");
    assert!(!file.exists(), "looking makes none");

    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &Target::Sqlite(file.clone()));
    sidecar.start();
    let client = client_of(&engine).await;
    for round in 0..2 {
        let rows: Vec<_> = (0..2_000).map(|row| format!("{round} {row}")).collect();
        let submission = client.submit(null(), rows, SubmitOptions::default());
        let submission = submission.await.expect("accepted");
        let mut follow = client.follow(submission.bag).await.expect("the bag is there");
        while follow.recv(|_| {}).await.expect("outcomes come") > 0 {}
        sidecar.kill();
        sidecar.start();
    }
    let last = client.status().await.expect("an answer").lsn.0;
    sidecar.wait_for_lsn(last);

    // Engine and sidecar go on meanwhile.
    let (code, said, problem) = on_file(&["verify"], &engine.data(), &file);
    assert_eq!(
        (code, &said["equal"]),
        (0, &Value::Bool(true)),
        "{said} {problem}"
    );
    assert_eq!(said["rows"]["pool_works"], 4_000, "{said}");
    let (code, said, _) = on_file(&["status"], &engine.data(), &file);
    assert_eq!(
        (code, said["schema"] == said["schema_known"]),
        (0, true),
        "{said}"
    );
    assert!(said["lsn"].as_u64() >= Some(last), "{said}");

    let works = |args: &[&str]| on_file(&[&["works"], args].concat(), &engine.data(), &file);
    let (code, said, problem) = works(&["--state", "succeeded", "--within", "1d", "--count"]);
    assert_eq!(
        (code, &said["states"]["succeeded"]),
        (0, &Value::from(4_000)),
        "{said} {problem}"
    );
    let (code, all, problem) = works(&["--oldest-first", "--all"]);
    let all = all.as_array().expect("a list");
    let ids: Vec<_> = all.iter().map(|row| row["work"].as_u64()).collect();
    assert_eq!((code, ids.len(), ids.is_sorted()), (0, 4_000, true), "{problem}");
    let (code, some, problem) = works(&["--limit", "3"]);
    let newest: Vec<_> = all.iter().rev().take(3).cloned().collect();
    assert_eq!((code, some), (0, Value::Array(newest)), "{problem}");
    let (code, _, problem) = works(&["--user", "nobody"]);
    assert_eq!(code, 5, "{problem}");
    assert!(problem.contains("has no user `nobody`"), "{problem}");
    let (code, _, problem) = works(&["--bag", "last"]);
    assert_eq!(code, 2, "{problem}");

    sidecar.stop();
    let spoilt = "UPDATE pool_works SET exit_code = 7 WHERE work_id = (SELECT MIN(work_id) FROM pool_works)";
    sqlite(&file, spoilt).await;
    let (code, said, _) = on_file(&["verify"], &engine.data(), &file);
    assert_eq!((code, &said["differences"]), (1, &Value::from(1)), "{said}");
    let named = said["shown"][0].as_str().expect("it is named");
    assert!(named.ends_with("exit_code is 7, should be 0"), "{named}");

    let archive = folder.path().join("archive");
    let into = archive.to_str().expect("it is UTF-8");
    let verb = ["archive", "--older-than", "0", "--into", into];
    let dry = [verb.as_slice(), &["--dry-run"]].concat();
    let (code, would, problem) = on_file(&dry, &engine.data(), &file);
    assert_eq!(code, 0, "{problem}");
    assert!(!archive.exists(), "looking makes none");
    let (code, said, problem) = on_file(&verb, &engine.data(), &file);
    assert_eq!((code, &said["rows"]), (0, &would["rows"]), "{said} {problem}");
    assert!(said["rows"].as_u64() > Some(0), "{said}");
    let name = said["files"][0]["file"].as_str().expect("it is named");
    let bytes = std::fs::metadata(archive.join(name)).expect("it is there").len();
    assert_eq!(said["bytes"], bytes, "{said}");
    let (code, again, _) = on_file(&verb, &engine.data(), &file);
    assert_eq!((code, &again["rows"]), (0, &Value::from(0)), "{again}");
    let (_, status, _) = on_file(&["status"], &engine.data(), &file);
    let rows = (&status["rows"]["pool_events"], &status["rows"]["pool_archives"]);
    assert_eq!(rows, (&Value::from(0), &Value::from(1)), "{status}");
    // The row that was spoilt is still the only one.
    let (code, verified, _) = on_file(&["verify"], &engine.data(), &file);
    assert_eq!(
        (code, &verified["differences"]),
        (1, &Value::from(1)),
        "{verified}"
    );
    assert_eq!(
        verified["events_archived_upto_lsn"], said["upto_lsn"],
        "{verified}"
    );

    let fresh = folder.path().join("fresh.sqlite");
    let (code, said, problem) = on_file(&["rebuild"], &engine.data(), &fresh);
    assert_eq!(code, 0, "{problem}");
    assert!(said["lsn"].as_u64() >= Some(last), "{said}");
    let (code, said, _) = on_file(&["verify"], &engine.data(), &fresh);
    assert_eq!((code, &said["differences"]), (0, &Value::from(0)), "{said}");
    let (code, _, problem) = on_file(&["rebuild"], &engine.data(), &fresh);
    assert_eq!(code, 6, "it is not empty any more: {problem}");
}

/// An engine that forgets works as soon as they are done, whose journal has lost its first records.
async fn engine_of_few_records(sidecar: &mut Option<Sidecar>, folder: &Path) -> Engine {
    let mut engine = Engine::start(&["--retention-hours", "0"]);
    engine.add_worker("ant", 8);
    let file = engine.data().join("pool.sqlite");
    let sidecar = sidecar.insert(Sidecar::new(&engine.data(), folder, &Target::Sqlite(file)));
    sidecar.start();
    let client = client_of(&engine).await;
    let first = engine.data().join("journal-00000000000000000001.seg");
    for round in 0.. {
        assert!(round < 40, "its records go");
        run(&client, 40, 60_000).await;
        sidecar.wait_for_lsn(client.status().await.expect("an answer").lsn.0);
        if !first.exists() {
            break;
        }
    }
    // Nobody runs these, so the engine keeps their records.
    let mut waits = null();
    waits.requirements.tags = vec!["nowhere".to_owned()];
    let waiting = client.submit(waits, ["one", "two"], SubmitOptions::default());
    waiting.await.expect("accepted");
    sidecar.wait_for_lsn(client.status().await.expect("an answer").lsn.0);
    engine
}

/// Works that take no time.
fn null() -> WorkTemplate {
    WorkTemplate {
        app: "null".to_owned(),
        ..WorkTemplate::default()
    }
}

/// Works with so many bytes of parameters, run to their ends.
async fn run(client: &Client, rows: usize, bytes: usize) {
    let rows = vec!["x".repeat(bytes); rows];
    let (upload, mut follow) = client
        .submit_followed(null(), rows.len() as u32, SubmitOptions::default())
        .expect("valid");
    upload.send(rows).await.expect("accepted");
    while follow.recv(|_| {}).await.expect("outcomes come") > 0 {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_journal_that_begins_late_verifies_and_fills_what_it_still_knows() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = None;
    let engine = engine_of_few_records(&mut sidecar, folder.path()).await;
    let mut sidecar = sidecar.expect("it was started");
    let (file, again) = (
        engine.data().join("pool.sqlite"),
        folder.path().join("again.sqlite"),
    );

    let (code, said, problem) = on_file(&["verify"], &engine.data(), &file);
    assert_eq!(
        (code, &said["equal"]),
        (0, &Value::Bool(true)),
        "{said} {problem}"
    );
    let first_bag = said["first_bag"].as_u64().expect("it begins late");
    assert!(first_bag > 1, "{said}");

    // The engine serves meanwhile, and may let more of its records go.
    let (code, said, problem) = on_file(&["rebuild"], &engine.data(), &again);
    assert_eq!(code, 0, "{said} {problem}");
    assert!(said["first_bag"].as_u64() >= Some(first_bag), "{said}");
    let (code, said, problem) = on_file(&["verify"], &engine.data(), &again);
    assert_eq!(
        (code, &said["equal"]),
        (0, &Value::Bool(true)),
        "{said} {problem}"
    );

    // The sidecar goes on with the new tables.
    sidecar.stop();
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &Target::Sqlite(again.clone()));
    sidecar.start();
    let client = client_of(&engine).await;
    run(&client, 100, 10).await;
    sidecar.wait_for_lsn(client.status().await.expect("an answer").lsn.0);
    let (code, said, problem) = on_file(&["verify"], &engine.data(), &again);
    assert_eq!(
        (code, &said["equal"]),
        (0, &Value::Bool(true)),
        "{said} {problem}"
    );
    sidecar.stop();

    sqlite(
        &again,
        "UPDATE pool_works SET attempt = 9 WHERE work_id = (SELECT MAX(work_id) FROM pool_works)",
    )
    .await;
    let (code, said, _) = on_file(&["verify"], &engine.data(), &again);
    assert_eq!((code, &said["differences"]), (1, &Value::from(1)), "{said}");
}
