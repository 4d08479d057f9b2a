//! Whole stories: the tables hold, row by row, what the coalescer's model of them holds.

use std::fmt::Display;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use testkit::story::{Engine, feed_record, happening, tell};

use super::*;
use crate::coalescer::tests::{Tables, tables};
use crate::database::schema::{TABLES, Table};
use crate::database::session::made;
use crate::database::writer::{micros, number};

/// Writes the records with a batch at each cut. At each cut it also forgets all it knows and goes on from the tables,
/// as a sidecar that was killed.
async fn follow(target: &Target, engine: &Engine, cuts: &[usize]) -> Database {
    let mut database = open(target).await;
    let mut coalescer = resumed(&mut database).await;
    for (index, record) in engine.records.iter().enumerate() {
        coalescer
            .take(&feed_record(index, record))
            .expect("the engine wrote it");
        if cuts.contains(&(index + 1)) {
            database.apply(&coalescer.batch()).await.expect("it follows");
            database = open(target).await;
            coalescer = resumed(&mut database).await;
        }
    }
    database.apply(&coalescer.batch()).await.expect("it follows");
    database
}

pub(super) async fn empty(database: &mut Database) {
    let delete = |table: &Table| format!("DELETE FROM {}", table.name);
    let back = "UPDATE pool_positions SET lsn = 0".to_owned();
    for statement in TABLES.iter().map(delete).chain([back]) {
        let done = database.session.run(made(statement.into())).await;
        done.expect("it is valid");
    }
}

async fn resumed(database: &mut Database) -> Coalescer {
    database.resume().await.expect("it has a position").coalescer()
}

#[test]
fn the_tables_hold_what_the_records_say_however_often_the_sidecar_starts() {
    let databases = Databases::start();
    // Emptied for each story: to make the tables takes a server longer than to follow it.
    let targets = databases.fresh();
    let stories = prop::collection::vec(happening(), 0..120);
    let checked = TestRunner::new(ProptestConfig::with_cases(32)).run(&stories, |story| {
        let (engine, cuts) = tell(&story);
        let wanted = model_rows(&tables(&engine.records, &[]));
        for target in &targets {
            let found = runtime().block_on(async {
                empty(&mut open(target).await).await;
                let mut database = follow(target, &engine, &cuts).await;
                let resume = database.resume().await.expect("it has a position");
                assert_eq!(resume.after, Lsn(engine.records.len() as u64));
                rows(&mut database).await
            });
            prop_assert_eq!(&found, &wanted, "in {}", target);
        }
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

/// What [`rows`] should be, of the model.
fn model_rows(tables: &Tables) -> Vec<String> {
    let works = tables.works.iter().map(|(work, (new, now))| {
        let decided = now.decided.as_ref();
        [
            work.0.to_string(),
            new.bag.0.to_string(),
            new.tenant.0.to_string(),
            blob(&new.parameters),
            micros(new.accepted_at).to_string(),
            now.state.to_string(),
            (now.reason as u8).to_string(),
            now.attempt.0.to_string(),
            null(number(now.worker)),
            null(decided.map(|decided| decided.exit_code)),
            null(decided.map(|decided| decided.elapsed_us)),
            null(decided.map(|decided| blob(&decided.result))),
            micros(now.changed_at).to_string(),
            now.lsn.0.to_string(),
        ]
        .join(" ")
    });
    let attempts = tables.attempts.values().map(|row| {
        let (epoch, leased_at) = row.leased.expect("an attempt begins with its lease");
        [
            row.work.0.to_string(),
            row.attempt.0.to_string(),
            row.worker.0.to_string(),
            epoch.0.to_string(),
            micros(leased_at).to_string(),
            null(row.started_at.map(micros)),
            null(row.ended.map(|ended| micros(ended.at))),
            null(row.ended.and_then(|ended| ended.outcome)),
            null(row.ended.map(|ended| ended.reason as u8)),
        ]
        .join(" ")
    });
    let events = tables.events.values().map(|event| {
        [
            event.lsn.0.to_string(),
            event.work.0.to_string(),
            micros(event.at).to_string(),
            event.state.to_string(),
            (event.reason as u8).to_string(),
            event.attempt.0.to_string(),
            null(number(event.worker)),
        ]
        .join(" ")
    });
    works.chain(attempts).chain(events).collect()
}

/// As the queries have it.
fn null(value: Option<impl Display>) -> String {
    value.map_or_else(|| "NULL".to_owned(), |value| value.to_string())
}
