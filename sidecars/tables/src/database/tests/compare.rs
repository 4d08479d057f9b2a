//! Differences between databases are found and named.

use std::collections::BTreeSet;

use wire_protocol::outcome::Outcome;

use super::*;
use crate::database::schema::TABLES;

/// Applies a story as one batch.
async fn told(target: &Target, story: &[Happening]) -> Database {
    let mut database = open(target).await;
    let (engine, _) = tell(story);
    let mut coalescer = Coalescer::new(Lsn(0), []);
    for (index, record) in engine.records.iter().enumerate() {
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
