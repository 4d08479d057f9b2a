//! Differences between databases are found and named.

use std::collections::BTreeSet;

use testkit::story::{BAG, FIRST, TENANT, tell_of, woven};
use wire_protocol::codec;
use wire_protocol::ids::{BagId, Epoch, Shard, WorkId, WorkerId};
use wire_protocol::outcome::Outcome;
use wire_protocol::record::{EpochStarted, TenantAdded, WorkerJoined, kind};
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;

use super::*;
use crate::beginning::{Base, KnownWorker};
use crate::database::schema::TABLES;

/// Applies a story as one batch.
async fn told(target: &Target, story: &[Happening]) -> Database {
    of_records(target, &tell(story).0.records).await
}

async fn run(database: &mut Database, statement: &str) {
    let done = database.session.run(session::made(statement.into())).await;
    done.expect("it is valid");
}

/// Applies records as one batch.
async fn of_records(target: &Target, records: &[(u8, Vec<u8>)]) -> Database {
    let mut database = open(target).await;
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in records.iter().enumerate() {
        let taken = coalescer.take(&feed_record(index, record));
        taken.expect("the engine wrote it");
    }
    database.apply(&coalescer.batch()).await.expect("it follows");
    database
}

fn story() -> Vec<Happening> {
    use Happening::{End, Lease, Rows, Settle, Start};
    vec![
        Rows(5),
        Lease(0, 1),
        Start(0),
        Settle(0, Outcome::Succeeded),
        Lease(1, 2),
        End(2, 2),
    ]
}

async fn differences(one: &mut Database, other: &mut Database) -> Vec<String> {
    let mut all = Vec::new();
    let frozen = one.freeze().await.expect("it can be read");
    let compared = frozen
        .compare(other, |difference| all.push(difference.to_string()))
        .await;
    let compared = compared.expect("both can be read");
    assert_eq!(compared.differences, all.len() as u64);
    all
}

#[test]
fn each_difference_is_named_by_its_table_its_key_and_what_is_wrong() {
    let databases = Databases::start();
    for target in &databases.fresh() {
        let [right, ..] = databases.fresh();
        runtime().block_on(async {
            let mut right = told(&right, &story()).await;
            let mut database = told(target, &story()).await;
            assert_eq!(differences(&mut database, &mut right).await, [""; 0], "{target}");
            for wrong in [
                "UPDATE pool_works SET state = 'failed', result = NULL WHERE work_id = 100",
                "DELETE FROM pool_works WHERE work_id = 102",
                "UPDATE pool_attempts SET attempt = 2 WHERE work_id = 101",
                "UPDATE pool_batches SET label = 'x' WHERE batch_id = 3",
            ] {
                database.session.run(fixed(wrong)).await.expect("it is valid");
            }
            let expected = [
                "pool_batches (3): label is \"x\", should be \"\"",
                "pool_works (100): state is \"failed\", should be \"succeeded\"",
                "pool_works (102): missing",
                "pool_attempts (101, 1): missing",
                "pool_attempts (101, 2): should not be there",
            ];
            assert_eq!(differences(&mut database, &mut right).await, expected, "{target}");
            let text = fixed("UPDATE pool_positions SET lsn = lsn + 1");
            database.session.run(text).await.expect("it is valid");
            let ahead = database.freeze().await.expect("it can be read");
            let elsewhere = ahead.compare(&mut right, |_| {}).await.expect_err("it is ahead");
            assert!(
                matches!(elsewhere, DatabaseError::Elsewhere { .. }),
                "{elsewhere}"
            );
        });
    }
}

/// A journal in which two bags are told, the old one opened first; and before them an epoch, a tenant and two workers, the
/// second of which was forgotten.
fn two_bags() -> Vec<(u8, Vec<u8>)> {
    use Happening::{Lease, Rows, Settle, Start};
    let control = |kind, message: &dyn Fn(&mut Vec<u8>)| {
        let mut payload = Vec::new();
        message(&mut payload);
        (kind, payload)
    };
    let joined = |number: u32| {
        let joined = WorkerJoined {
            worker: WorkerId(number),
            uid: format!("uid-{number}"),
            name: format!("worker {number}"),
            version: "1".to_owned(),
            offer: Offer::default(),
            at: Instant(1_000),
        };
        control(kind::WORKER_JOINED, &|out| codec::put_control(out, &joined))
    };
    let started = EpochStarted {
        shard: Shard(0),
        epoch: Epoch(1),
        at: Instant(1_000),
        version: "1".to_owned(),
    };
    let mut records = vec![
        control(kind::EPOCH_STARTED, &|out| codec::put_control(out, &started)),
        control(kind::TENANT_ADDED, &|out| codec::put_control(out, &tenant())),
        joined(1),
        joined(2),
        control(kind::WORKER_FORGOTTEN, &|out| {
            codec::put_control(out, &WorkerId(2))
        }),
    ];
    let (old, _) = tell_of(
        BagId(BAG.0 - 1),
        WorkId(FIRST.0 - 3),
        &[
            Rows(3),
            Lease(2, 1),
            Start(2),
            Lease(0, 1),
            Settle(2, Outcome::Succeeded),
        ],
    );
    let (young, _) = tell(&story());
    records.extend(woven(&old, &young, &[3, 0, 1, 1, 0, 1]));
    records
}

fn tenant() -> TenantAdded {
    TenantAdded {
        tenant: TENANT,
        name: "anna".to_owned(),
        weight: 1,
    }
}

/// The tables of a journal from which the first records went.
async fn begun_late(target: &Target, records: &[(u8, Vec<u8>)], gone: usize) -> Database {
    let mut database = open(target).await;
    let known = KnownWorker {
        joined: WorkerJoined {
            worker: WorkerId(1),
            uid: "uid-1".to_owned(),
            name: "worker 1".to_owned(),
            version: "1".to_owned(),
            offer: Offer::default(),
            at: Instant(7),
        },
        standing: None,
        enrolled: None,
        cordoned: false,
        gone: false,
    };
    let base = Base {
        tenants: vec![tenant()],
        workers: vec![known],
    };
    let batch = base.batch(Lsn(gone as u64 + 1));
    database.apply(&batch).await.expect("it is empty");
    // One that stops after each record goes on as one that does not.
    for (index, record) in records.iter().enumerate().skip(gone) {
        let resumed = database.resume().await.expect("it has a position");
        let mut coalescer = resumed.coalescer();
        let taken = coalescer.take(&feed_record(index, record));
        taken.expect("the engine wrote it");
        database.apply(&coalescer.batch()).await.expect("it follows");
    }
    database
}

#[test]
fn tables_that_begin_late_are_compared_from_where_they_begin() {
    let databases = Databases::start();
    let records = two_bags();
    let opened = 8;
    assert_eq!(records[opened].0, kind::BAG_OPENED, "the young bag");
    for target in &databases.fresh() {
        let [whole, ..] = databases.fresh();
        runtime().block_on(async {
            let mut whole = of_records(&whole, &records).await;
            let mut late = begun_late(target, &records, opened - 1).await;
            assert_eq!(differences(&mut late, &mut whole).await, [""; 0], "{target}");
            assert_eq!(differences(&mut whole, &mut late).await, [""; 0], "{target}");
            for before in [
                "UPDATE pool_works SET state = 'failed' WHERE work_id = 98",
                "DELETE FROM pool_attempts WHERE work_id = 99",
                "UPDATE pool_batches SET label = 'x' WHERE batch_id = 2",
                "DELETE FROM pool_events WHERE work_id < 100",
                "UPDATE pool_workers SET name = 'x' WHERE worker_id = 2",
            ] {
                run(&mut whole, before).await;
            }
            assert_eq!(differences(&mut whole, &mut late).await, [""; 0], "{target}");
            for behind in [
                "UPDATE pool_users SET name = 'x' WHERE user_id = 2",
                "UPDATE pool_workers SET cores = 7 WHERE worker_id = 1",
                "UPDATE pool_works SET state = 'failed' WHERE work_id = 100",
                "DELETE FROM pool_attempts WHERE work_id = 101",
            ] {
                run(&mut whole, behind).await;
            }
            let expected = [
                "pool_users (2): name is \"x\", should be \"anna\"",
                "pool_workers (1): cores is 7, should be 0",
                "pool_works (100): state is \"failed\", should be \"succeeded\"",
                "pool_attempts (101, 1): missing",
            ];
            assert_eq!(differences(&mut whole, &mut late).await, expected, "{target}");
        });
    }
}

/// Leases of works on both sides of the beginning share a row of events.
#[test]
fn a_row_of_events_is_cut_where_the_tables_begin() {
    let databases = Databases::start();
    let [one, two, _] = databases.fresh();
    runtime().block_on(async {
        let (mut whole, mut late) = (open(&one).await, open(&two).await);
        run(
            &mut late,
            "UPDATE pool_positions SET first_batch_id = 3, first_work_id = 100",
        )
        .await;
        let event = |first: u32, works: u32| {
            format!("INSERT INTO pool_events VALUES (7, {first}, {works}, 0, 'leased', 0, 1, 1)")
        };
        run(&mut whole, &event(90, 5)).await;
        run(&mut whole, &event(96, 7)).await;
        run(&mut late, &event(100, 3)).await;
        assert_eq!(differences(&mut whole, &mut late).await, [""; 0]);
        run(&mut late, "UPDATE pool_events SET works = 4").await;
        assert_eq!(
            differences(&mut whole, &mut late).await,
            ["pool_events (7, 100): works is 3, should be 4"]
        );
    });
}

#[test]
fn tables_of_more_than_a_page_are_compared_to_their_ends() {
    let databases = Databases::start();
    for target in databases.fresh() {
        let [right, ..] = databases.fresh();
        runtime().block_on(async {
            let (mut database, mut right) = (open(&target).await, open(&right).await);
            for one in [&mut database, &mut right] {
                for from in (0..3_000).step_by(500) {
                    let rows: Vec<_> = (from..from + 500)
                        .map(|id| format!("({id}, 'user {id}', 1)"))
                        .collect();
                    let text = format!(
                        "INSERT INTO pool_users (user_id, name, weight) VALUES {}",
                        rows.join(", ")
                    );
                    one.session
                        .run(session::made(text.into()))
                        .await
                        .expect("it is valid");
                    let rows: Vec<_> = (from..from + 500)
                        .map(|id| format!("({}, {}, 1, 0, 'queued', 0, 0, NULL)", id / 7, id % 7))
                        .collect();
                    let text = format!("INSERT INTO pool_events VALUES {}", rows.join(", "));
                    one.session
                        .run(session::made(text.into()))
                        .await
                        .expect("it is valid");
                }
            }
            let text = fixed("UPDATE pool_users SET name = 'else' WHERE user_id = 2999");
            database.session.run(text).await.expect("it is valid");
            let text = fixed("DELETE FROM pool_events WHERE lsn = 428 AND work_id = 3");
            database.session.run(text).await.expect("it is valid");
            let expected = [
                "pool_users (2999): name is \"else\", should be \"user 2999\"",
                "pool_events (428, 3): missing",
            ];
            assert_eq!(differences(&mut database, &mut right).await, expected, "{target}");
        });
    }
}

#[test]
fn every_column_of_the_tables_that_the_journal_fills_is_compared() {
    let databases = Databases::start();
    let [target, ..] = databases.fresh();
    runtime().block_on(async {
        let mut database = open(&target).await;
        for table in &TABLES {
            let mut arguments = database.session.arguments();
            arguments.text(table.name);
            let text = fixed("SELECT name FROM pragma_table_info(?)");
            let there = database
                .session
                .texts(text, arguments)
                .await
                .expect("it is there");
            let known = [table.key, table.columns].concat();
            let known: BTreeSet<_> = known.into_iter().map(str::to_owned).collect();
            assert_eq!(
                there.into_iter().collect::<BTreeSet<_>>(),
                known,
                "{}",
                table.name
            );
        }
    });
}
