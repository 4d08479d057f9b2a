//! The tables follow the engine, whoever dies meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::protocol::client_link::Selector;
use client::protocol::ids::WorkId;
use client::protocol::template::{Retry, WorkTemplate};
use client::protocol::units::Millis;
use client::{Client, Follow, SubmitOptions};
use sidecars_tables::{Database, MySqlTarget, Target, Tls};
use testkit::sql::{self, SqlKind, SqlServer};

use crate::kit::{Engine, Sidecar, client_of, dump, pool_db, position, texts, undisturbed};

/// Works that take no time.
fn null() -> WorkTemplate {
    WorkTemplate {
        app: "null".to_owned(),
        label: "null's \u{1f980}".to_owned(),
        ..WorkTemplate::default()
    }
}

/// Works that run `sh` with one column `x` in it.
fn script(text: &str) -> WorkTemplate {
    WorkTemplate {
        command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
        columns: vec!["x".to_owned()],
        retry: Retry {
            attempts_max: 2,
            backoff_min: Millis(20),
            backoff_max: Millis(20),
        },
        ..WorkTemplate::default()
    }
}

/// What a client heard of each work: its outcome, exit code and result.
type Heard = BTreeMap<WorkId, (String, i32, Vec<u8>)>;

async fn listen(mut follow: Follow, heard: &mut Heard) {
    loop {
        let more = follow.recv(|item| {
            let said = (item.outcome.to_string(), item.exit_code, item.result.to_vec());
            assert_eq!(heard.insert(item.work, said), None, "{} ends once", item.work);
        });
        if more.await.expect("outcomes come") == 0 {
            break;
        }
    }
    assert_eq!(follow.missing(), 0, "all results are in the journal");
}

/// One submission, followed to its end.
async fn submit(client: Client, template: WorkTemplate, rows: Vec<String>) -> Heard {
    let count = rows.len() as u32;
    let (upload, follow) = client
        .submit_followed(template, count, SubmitOptions::default())
        .expect("valid");
    let mut heard = Heard::new();
    let (accepted, ()) = tokio::join!(upload.send(rows), listen(follow, &mut heard));
    assert_eq!(accepted.expect("accepted").rows, count);
    assert_eq!(heard.len() as u32, count);
    heard
}

/// A submission that nobody runs, cancelled when it is accepted; half of it once more after a second life.
async fn submit_and_cancel(client: Client, rows: u32) -> Heard {
    let mut template = null();
    template.requirements.tags = vec!["nowhere".to_owned()];
    let accepted = client
        .submit(
            template,
            (0..rows).map(|row| row.to_string()).collect::<Vec<_>>(),
            SubmitOptions::default(),
        )
        .await
        .expect("accepted");
    let bag = || Selector::Bag(accepted.bag);
    assert_eq!(client.cancel(bag()).await.expect("it is there"), rows);
    client
        .retry(Selector::Work(accepted.first))
        .await
        .expect("it is there");
    client.cancel(bag()).await.expect("it is there");
    let of = |row| WorkId(accepted.first.0 + u64::from(row));
    (0..rows)
        .map(|row| (of(row), ("cancelled".to_owned(), 0, Vec::new())))
        .collect()
}

/// The load: arrays and single works, some that fail, some that are cancelled.
async fn load(client: &Client) -> Heard {
    let numbers = |count: u32| (0..count).map(|row| row.to_string()).collect::<Vec<_>>();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        tasks.spawn(submit(client.clone(), null(), numbers(2_000)));
    }
    tasks.spawn(submit(
        client.clone(),
        script("echo \"did {x}\"; exit $(({x} % 3))"),
        numbers(60),
    ));
    tasks.spawn(submit_and_cancel(client.clone(), 500));
    let singles = client.clone();
    tasks.spawn(async move {
        let mut heard = Heard::new();
        for row in 0..150 {
            heard.extend(submit(singles.clone(), null(), vec![row.to_string()]).await);
        }
        heard
    });
    let mut heard = Heard::new();
    while let Some(some) = tasks.join_next().await {
        heard.extend(some.expect("a load runs to its end"));
    }
    heard
}

/// Kills and starts the sidecar again and again until it is told to stop; it is running then.
fn torment(
    mut sidecar: Sidecar,
    seed: u64,
    stop: Arc<AtomicBool>,
) -> std::thread::JoinHandle<(Sidecar, u32)> {
    std::thread::spawn(move || {
        let (mut chance, mut kills) = (fastrand::Rng::with_seed(seed), 0);
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(chance.u64(5..120)));
            sidecar.kill();
            sidecar.start();
            kills += 1;
        }
        (sidecar, kills)
    })
}

/// The tables say of each work what its client heard, and of its past a beginning and that end.
async fn check_works(target: &Target, heard: &Heard) {
    let rows = texts(
        target,
        "SELECT CONCAT(work_id, ' ', state, ' ', COALESCE(CAST(exit_code AS CHAR), '0'), ' ', COALESCE(HEX(result), '')) \
         FROM pool_works ORDER BY work_id",
    )
    .await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let wanted: Vec<_> = heard
        .iter()
        .map(|(work, (outcome, exit_code, result))| {
            format!("{} {outcome} {exit_code} {}", work.0, hex(result))
        })
        .collect();
    assert_eq!(rows.len(), wanted.len(), "each work once");
    assert_eq!(rows, wanted);
    let without_history = texts(
        target,
        "SELECT CONCAT(work_id) FROM pool_works AS works WHERE NOT EXISTS \
         (SELECT 1 FROM pool_history AS history WHERE history.work_id = works.work_id AND history.state = 'queued') \
         OR NOT EXISTS (SELECT 1 FROM pool_history AS history WHERE history.work_id = works.work_id \
         AND history.lsn = works.lsn AND history.state = works.state)",
    )
    .await;
    assert_eq!(without_history, [""; 0], "every work has a beginning and an end");
}

/// A database of this server for a sidecar.
pub(crate) async fn of_server(server: &SqlServer) -> Target {
    Target::MySql(Box::new(MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: sql::USER.to_owned(),
        password: sql::PASSWORD.to_owned(),
        database: server.database().await,
        tls: Tls::Prefer,
        ca: None,
    }))
}

/// The sidecar and the engine are killed under load; then every row is as if nobody had been.
async fn whoever_is_killed(target: &Target, mut engine: Engine, seed: u64) {
    engine.add_worker("ant", 16);
    engine.add_worker("bee", 4);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), target);
    sidecar.start();
    let stop = Arc::new(AtomicBool::new(false));
    let tormented = torment(sidecar, seed, Arc::clone(&stop));

    let client = client_of(&engine).await;
    let mut heard = load(&client).await;
    // The engine too, with works under way.
    let second = tokio::spawn({
        let client = client.clone();
        async move { load(&client).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    engine.kill();
    engine.start_again();
    heard.extend(second.await.expect("a load runs to its end"));

    stop.store(true, Ordering::Relaxed);
    let (sidecar, kills) = tormented.join().expect("no panic");
    assert!(kills >= 5, "{kills} kills");
    compare(target, engine, sidecar, &heard).await;
}

/// Stops everybody, and compares the tables with what was heard and with an undisturbed run.
async fn compare(target: &Target, mut engine: Engine, mut sidecar: Sidecar, heard: &Heard) {
    engine.stop_workers();
    let wanted = loop {
        let last = client_of(&engine).await.status().await.expect("an answer").lsn.0;
        sidecar.wait_for_lsn(last);
        engine.stop();
        let (wanted, last) = undisturbed(&engine.data()).await;
        if position(target).await == last {
            break wanted;
        }
        // It noted something after it was asked, as that a worker is lost, and was gone before that was fed.
        engine.start_again();
    };
    sidecar.stop();
    check_works(target, heard).await;
    let (code, said, problem) = pool_db(&["verify"], &engine.data(), target);
    assert_eq!(code, 0, "{said} {problem}");
    let found = dump(target).await;
    assert_eq!(found.len(), wanted.len());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert_eq!(found, wanted);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_work_is_in_the_tables_once_in_its_last_state_whoever_was_killed() {
    let engine = Engine::start(&[]);
    let target = Target::Sqlite(engine.data().join("pool.sqlite"));
    whoever_is_killed(&target, engine, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_mariadb() {
    let server = SqlServer::start(SqlKind::MariaDb);
    whoever_is_killed(&of_server(&server).await, Engine::start(&[]), 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_in_mysql() {
    let server = SqlServer::start(SqlKind::MySql);
    whoever_is_killed(&of_server(&server).await, Engine::start(&[]), 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mariadb_may_be_killed_whenever_rows_are_written() {
    the_server_is_killed(SqlServer::start(SqlKind::MariaDb), 9).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql_may_be_killed_at_any_point() {
    the_server_is_killed(SqlServer::start(SqlKind::MySql), 11).await;
}

/// kill -9 of the server, at random points, while batches are written one after the other.
async fn the_server_is_killed(mut server: SqlServer, seed: u64) {
    let target = of_server(&server).await;
    if server.kind() == SqlKind::MariaDb || server.version().await.starts_with("5.7") {
        // Killed while it makes a table, MariaDB 10.11.14 may not start again ("Missing FILE_CREATE, FILE_DELETE or
        // FILE_MODIFY before FILE_CHECKPOINT for tablespace 23"), and MySQL 5.7 makes no table atomically either. From 8.0
        // on MySQL does; so it is killed then as well.
        Database::open(&target).await.expect("the tables are made");
    }
    let mut engine = Engine::start(&[]);
    engine.add_worker("ant", 16);
    let folder = tempfile::tempdir().expect("a folder");
    let mut sidecar = Sidecar::new(&engine.data(), folder.path(), &target);
    sidecar.start();
    let client = client_of(&engine).await;
    let under_way = tokio::spawn(async move { load(&client).await });
    let mut chance = fastrand::Rng::with_seed(seed);
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(chance.u64(20..300))).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(chance.u64(0..100))).await;
        server.start_again();
    }
    let heard = under_way.await.expect("a load runs to its end");
    compare(&target, engine, sidecar, &heard).await;
}
