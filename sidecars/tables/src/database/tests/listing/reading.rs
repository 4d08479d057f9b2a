//! Single works, long ways, and what a reader refuses.

use super::*;
use crate::database::session::made;

fn all(order: Order, filter: WorkFilter) -> WorkQuery {
    WorkQuery {
        order,
        ..WorkQuery::new(filter)
    }
}

#[test]
fn a_page_over_more_batches_than_are_looked_at_says_where_to_go_on() {
    // Of 600 batches with the same label only the works of the first and the last one are asked for.
    let bag = |index: usize| {
        let state = if [0, 599].contains(&index) { 0 } else { 3 };
        Bag(1, 0, 1, 2, vec![(state, 1, 1, 1)])
    };
    let bags: Vec<_> = (0..600).map(bag).collect();
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut pool = Pool::default();
            let mut database = open(target).await;
            database.apply(&pool.batch(&bags)).await.expect("it is valid");
            let mut reader = Reader::open(target).await.expect("it opens");
            let filter = WorkFilter {
                states: vec![WorkState::Queued],
                label: Some("a".to_owned()),
                ..WorkFilter::default()
            };
            for order in [Order::NewestFirst, Order::OldestFirst] {
                let (found, count) = pages(&mut reader, all(order, filter.clone())).await;
                assert_eq!(found, pool.answer(&filter, order));
                assert_eq!((found.len(), count), (2, 3), "600 are 256, 256 and the rest");
            }
        });
    }
}

#[test]
fn a_work_is_told_with_all_attempts_at_it() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut pool = Pool::default();
            let bags = [Bag(2, 1, 3, 5, vec![(4, 3, 1, 1), (0, 1, 1, 1)])];
            open(target)
                .await
                .apply(&pool.batch(&bags))
                .await
                .expect("it is valid");
            let mut reader = Reader::open(target).await.expect("it opens");
            let told = reader.work(WorkId(1)).await.expect("it can be read");
            let told = told.expect("it is there");
            assert_eq!(told.work, pool.works[0]);
            let attempts = told.attempts.iter();
            let attempts: Vec<_> = attempts
                .map(|at| (at.attempt.0, at.worker.0, at.reason))
                .collect();
            let lost = Some(Reason::WorkerLost);
            assert_eq!(attempts, [(1, 1, lost), (2, 2, lost), (3, 1, None)]);
            assert_eq!(reader.work(WorkId(9)).await.expect("it can be read"), None);
            assert_eq!(reader.position().await.expect("it has one"), pool.at);
        });
    }
}

#[test]
fn rows_that_make_no_sense_are_named_and_end_nothing() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut pool = Pool::default();
            let mut database = open(target).await;
            let bags = [Bag(1, 1, 1, 2, vec![(4, 1, 1, 1)])];
            for (wrong, named) in [
                (
                    "UPDATE pool_works SET state = 'asleep'",
                    "work 1: w.state \"asleep\"",
                ),
                ("UPDATE pool_works SET lsn = -1", "work 1: w.lsn -1"),
                ("UPDATE pool_works SET reason = 99", "work 1: w.reason 99"),
                (
                    "UPDATE pool_works SET changed_us = 9223372036854775807",
                    "work 1: w.changed_us 9223372036854775807",
                ),
                ("UPDATE pool_works SET batch_id = 77", "work 1: b.app NULL"),
            ] {
                pool = Pool::default();
                empty(&mut database).await;
                database.apply(&pool.batch(&bags)).await.expect("it is valid");
                database.session.run(fixed(wrong)).await.expect("it is valid");
                let mut reader = Reader::open(target).await.expect("it opens");
                let query = all(Order::NewestFirst, WorkFilter::default());
                let error = reader.list(&query).await.expect_err("it makes no sense");
                assert!(error.to_string().starts_with(named), "{error}");
                assert!(!error.is_passing());
                reader.position().await.expect("it goes on");
            }
            drop(pool);
        });
    }
}

#[test]
fn a_reader_can_change_nothing() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            open(target).await;
            let Reader { mut session } = Reader::open(target).await.expect("it opens");
            let text = fixed("INSERT INTO pool_users (user_id, name, weight) VALUES (1, 'x', 1)");
            session.run(text).await.expect_err("it is read only");
        });
    }
}

#[test]
fn users_are_found_by_their_whole_names() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let anna = fixed("INSERT INTO pool_users (user_id, name, weight) VALUES (2, 'anna', 1)");
            database.session.run(anna).await.expect("it is valid");
            let mut reader = Reader::open(target).await.expect("it is there");
            for (name, found) in [
                ("anna", Some(TenantId(2))),
                ("Anna", None),
                ("anna ", None),
                ("ann", None),
            ] {
                assert_eq!(
                    reader.user(name).await.expect("it answers"),
                    found,
                    "{target}: {name:?}"
                );
            }
        });
    }
}

#[test]
fn a_reader_makes_nothing_and_takes_only_its_schema() {
    let databases = Databases::start();
    for target in &databases.fresh() {
        runtime().block_on(async {
            let refused = Reader::open(target).await.expect_err("there is nothing");
            match target {
                Target::Sqlite(file) => assert!(!file.exists(), "{refused}"),
                Target::MySql(_) => assert!(refused.to_string().contains("is 0 (0: none)"), "{refused}"),
            }
            let mut database = open(target).await;
            let back = format!("DELETE FROM pool_schema_versions WHERE version = {SCHEMA}");
            database
                .session
                .run(made(back.into()))
                .await
                .expect("it is valid");
            let refused = Reader::open(target).await.expect_err("it is older");
            let DatabaseError::OlderSchema { found, known } = refused else {
                panic!("{refused}");
            };
            assert_eq!((found, known), (SCHEMA - 1, SCHEMA));
            let later = fixed("INSERT INTO pool_schema_versions (version) VALUES (99)");
            database.session.run(later).await.expect("it is valid");
            let refused = Reader::open(target).await.expect_err("it is newer");
            assert!(
                matches!(refused, DatabaseError::NewerSchema { found: 99, .. }),
                "{refused}"
            );
        });
    }
}
