//! What goes wrong between the sidecar and its database. Afterwards the rows are those of an undisturbed run.

mod feed;
mod proxy;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sidecars_tables::{Coalescer, Database, MySqlTarget, Target, Tls};
use testkit::dump::Source;
use testkit::runtime;
use testkit::sql::{self, SqlKind, SqlServer};
use testkit::story::{Engine, Happening, feed_record, tell};
use wire_protocol::ids::Lsn;
use wire_protocol::outcome::Outcome;

use super::{FollowError, Follower};
use crate::status::Status;
use feed::Feed;
use proxy::{Cut, Proxy};

/// Far more than any of this takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// A story with everything in it that changes rows in its own way, in four batches.
fn story() -> Vec<Happening> {
    use Happening::{Cut, End, Lease, Release, Revive, Rows, Seal, Settle, Start};
    vec![
        Rows(5),
        Lease(0, 1),
        Lease(1, 2),
        Start(0),
        Cut,
        Rows(3),
        Settle(0, Outcome::Succeeded),
        Release(1),
        Lease(1, 3),
        Lease(2, 1),
        Cut,
        End(1, 4),
        Revive(3, 2),
        Lease(3, 1),
        Settle(3, Outcome::Failed),
        Cut,
        Lease(5, 2),
        Start(5),
        Settle(5, Outcome::Succeeded),
        Lease(6, 2),
        Seal,
    ]
}

testkit::on_every_server!(
    a_connection_that_is_cut_at_any_message_costs_nothing_and_repeats_nothing,
    a_migration_that_is_cut_is_finished_by_the_next,
    a_deadlock_is_tried_again,
    a_slow_commit_is_waited_for,
    a_database_that_was_restored_from_an_older_copy_is_brought_up_to_date,
);

/// An empty database of this server.
fn mysql_target(server: &SqlServer) -> MySqlTarget {
    MySqlTarget {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        user: sql::USER.to_owned(),
        password: sql::PASSWORD.to_owned(),
        database: runtime().block_on(server.database()),
        tls: if server.kind().wants_tls() {
            Tls::Require
        } else {
            Tls::Off
        },
        ca: None,
    }
}

/// Every row of a run that nobody disturbs: all records as one batch, in a file of its own.
fn undisturbed(engine: &Engine) -> Vec<String> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("undisturbed.sqlite");
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in engine.records.iter().enumerate() {
        let taken = coalescer.take(&feed_record(index, record));
        taken.expect("the engine wrote it");
    }
    runtime().block_on(async {
        let opened = Database::open(&Target::Sqlite(file.clone())).await;
        let mut database = opened.expect("a new file");
        database.apply(&coalescer.batch()).await.expect("it follows");
        database.close().await;
        Source::File(&file).rows().await
    })
}

/// A follower on a thread of its own, and the feed that it follows.
struct Run {
    feed: Feed,
    batches: Vec<Lsn>,
    status: Arc<Status>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Result<(), FollowError>>,
    wanted: Vec<String>,
}

impl Run {
    fn start(target: Target) -> Self {
        let (engine, mut cuts) = tell(&story());
        cuts.push(engine.records.len());
        let wanted = undisturbed(&engine);
        let feed = Feed::start(engine.records);
        let (status, stop) = (Arc::new(Status::default()), Arc::new(AtomicBool::new(false)));
        let follower = Follower {
            feed: feed.socket(),
            target,
            stop: Arc::clone(&stop),
            status: Arc::clone(&status),
        };
        Self {
            feed,
            batches: cuts.into_iter().map(|cut| Lsn(cut as u64)).collect(),
            status,
            stop,
            thread: std::thread::spawn(move || follower.run()),
            wanted,
        }
    }

    /// Lets the database come to this batch.
    fn reach(&self, batch: usize) {
        let upto = self.batches[batch];
        self.feed.let_be_durable(upto);
        let deadline = Instant::now() + PATIENCE;
        while self.status.stored() < upto {
            assert!(!self.thread.is_finished(), "it gave up before {upto}");
            assert!(
                Instant::now() < deadline,
                "{upto} is never stored: {:?}",
                self.status
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn reach_all(&self) {
        for batch in 0..self.batches.len() {
            self.reach(batch);
        }
        assert_eq!(self.status.stored(), self.feed.last());
    }

    /// Ends it, and compares every row.
    fn check(self, what: &str, target: &MySqlTarget) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.thread.join().expect("no panic");
        ended.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let source = Source::Server {
            port: target.port,
            database: &target.database,
        };
        let found = runtime().block_on(source.rows());
        assert_eq!(found, self.wanted, "{what}");
    }
}

/// The same database through a proxy.
fn through(proxy: &Proxy, target: &MySqlTarget) -> Target {
    Target::MySql(Box::new(MySqlTarget {
        port: proxy.port(),
        ..target.clone()
    }))
}

/// Makes the tables as they are at the beginning.
fn empty(server: &SqlServer, target: &MySqlTarget) {
    let tables = [
        "pool_works",
        "pool_attempts",
        "pool_events",
        "pool_batches",
        "pool_workers",
        "pool_users",
        "pool_epochs",
    ];
    let name = &target.database;
    let mut statements: String = tables
        .map(|table| format!("DELETE FROM {name}.{table}; "))
        .concat();
    statements += &format!("UPDATE {name}.pool_positions SET lsn = 0");
    runtime().block_on(server.run(&statements));
}

/// Messages of a run that nobody disturbs.
fn messages_of_a_run(server: &SqlServer, target: &MySqlTarget) -> u64 {
    let proxy = Proxy::start(server, Cut::Never);
    let run = Run::start(through(&proxy, target));
    run.reach_all();
    let counted = proxy.counted();
    run.check("undisturbed", target);
    counted
}

fn a_connection_that_is_cut_at_any_message_costs_nothing_and_repeats_nothing(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let made = runtime().block_on(Database::open(&Target::MySql(Box::new(target.clone()))));
    drop(made.expect("the tables are made"));
    let messages = messages_of_a_run(&server, &target);
    assert!(messages > 50, "{messages} messages");
    // A message that comes in half is lost as well; not each is cut both ways.
    let cuts = (0..messages)
        .map(Cut::Before)
        .chain((0..messages).step_by(4).map(Cut::Within));
    side_by_side(cuts, |cuts| {
        let target = mysql_target(&server);
        let made = runtime().block_on(Database::open(&Target::MySql(Box::new(target.clone()))));
        drop(made.expect("the tables are made"));
        for cut in cuts {
            empty(&server, &target);
            let proxy = Proxy::start(&server, cut);
            let run = Run::start(through(&proxy, &target));
            run.reach_all();
            run.check(&format!("{cut:?} of {messages}"), &target);
        }
    });
}

/// Does these on several threads; most of each is waiting.
fn side_by_side<T: Send + Clone>(all: impl Iterator<Item = T>, work: impl Fn(Vec<T>) + Sync) {
    const THREADS: usize = 12;
    let all: Vec<T> = all.collect();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let share = all.iter().skip(thread).step_by(THREADS).cloned().collect();
            let work = &work;
            scope.spawn(move || work(share));
        }
    });
}

fn a_migration_that_is_cut_is_finished_by_the_next(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let proxy = Proxy::start(&server, Cut::Never);
    let opened = runtime().block_on(Database::open(&through(&proxy, &target)));
    drop(opened.expect("undisturbed"));
    // A statement is a message and its answer another, so that an odd step meets both.
    side_by_side((0..proxy.counted()).step_by(5), |cuts| {
        for at in cuts {
            let target = mysql_target(&server);
            let proxy = Proxy::start(&server, Cut::Before(at));
            let run = Run::start(through(&proxy, &target));
            run.reach_all();
            run.check(&format!("cut at {at}"), &target);
        }
    });
}

fn a_deadlock_is_tried_again(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let run = Run::start(Target::MySql(Box::new(target.clone())));
    run.reach(0);
    let name = &target.database;
    runtime().block_on(async {
        use sqlx::{Executor, Row};
        let text = |text: String| sqlx::AssertSqlSafe(text);
        server
            .run(&format!(
                "CREATE TABLE {name}.ballast AS SELECT 0 AS seq \
                 FROM information_schema.columns AS one, information_schema.columns AS other LIMIT 5000"
            ))
            .await;
        let mut root = server.root().await;
        // It has changed more than the sidecar will have, so that it is not the one to give up; then it holds a work that
        // the sidecar wants, and wants the position that the sidecar holds.
        let holds = format!(
            "BEGIN; UPDATE {name}.ballast SET seq = seq + 1; UPDATE {name}.pool_works SET reason = 99 WHERE work_id = 101"
        );
        root.execute(sqlx::raw_sql(text(holds))).await.expect("nobody is in its way");
        run.feed.let_be_durable(run.batches[1]);
        // The list of transactions shows their statements, of which MySQL cannot show all that may be in them.
        let waits = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'";
        let deadline = Instant::now() + PATIENCE;
        let mut other = server.root().await;
        loop {
            let row = sqlx::query(waits).fetch_one(&mut other).await.expect("it has one");
            if row.get::<String, _>(1) != "0" {
                break;
            }
            assert!(Instant::now() < deadline, "the sidecar never waits");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let wants = format!("UPDATE {name}.pool_positions SET shard = shard");
        root.execute(sqlx::raw_sql(text(wants))).await.expect("the other gives up");
        root.execute(sqlx::raw_sql("ROLLBACK")).await.expect("it is open");
    });
    run.reach_all();
    let failures = run.status.answer("/metrics").body;
    assert!(
        !failures.contains("\npool_persist_failures_total 0\n"),
        "{failures}"
    );
    run.check("after a deadlock", &target);
}

fn a_slow_commit_is_waited_for(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let run = Run::start(Target::MySql(Box::new(target.clone())));
    run.reach(0);
    runtime().block_on(async {
        use sqlx::Executor;
        let mut root = server.root().await;
        root.execute("FLUSH TABLES WITH READ LOCK").await.expect("it may");
        run.feed.let_be_durable(run.batches[1]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(run.status.stored(), run.batches[0], "nobody can write");
        root.execute("UNLOCK TABLES").await.expect("it may");
    });
    run.reach_all();
    let failures = run.status.answer("/metrics").body;
    assert!(
        failures.contains("\npool_persist_failures_total 0\n"),
        "{failures}"
    );
    run.check("after a slow commit", &target);
}

fn a_database_that_was_restored_from_an_older_copy_is_brought_up_to_date(kind: SqlKind) {
    let server = SqlServer::start(kind);
    let target = mysql_target(&server);
    let run = Run::start(Target::MySql(Box::new(target.clone())));
    run.reach(1);
    let tables = [
        "pool_works",
        "pool_attempts",
        "pool_events",
        "pool_batches",
        "pool_workers",
        "pool_users",
        "pool_epochs",
        "pool_positions",
    ];
    let name = &target.database;
    let copy =
        tables.map(|table| format!("CREATE TABLE {name}.old_{table} AS SELECT * FROM {name}.{table}; "));
    let back = tables.map(|table| {
        format!("DELETE FROM {name}.{table}; INSERT INTO {name}.{table} SELECT * FROM {name}.old_{table}; ")
    });
    runtime().block_on(server.run(&copy.concat()));
    run.reach(2);
    runtime().block_on(server.run(&format!("BEGIN; {} COMMIT", back.concat())));
    run.reach_all();
    run.check("after an older copy", &target);
}
