//! What a batch does, and what it leaves when it cannot be written.

use wire_protocol::codec;
use wire_protocol::ids::{Epoch, Shard, TokenId, WorkerId};
use wire_protocol::joining::{Address, Approval};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{
    EpochStarted, WorkerChanged, WorkerEnrolled, WorkerJoined, WorkerStanding, kind,
};
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;
use wire_protocol::view::WorkerState;

use super::*;
use crate::change::{Bookkeeping, Decided, Step};

#[test]
fn a_writer_that_is_behind_another_stops_and_writes_nothing() {
    let batch = one_batch();
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let (mut slow, mut fast) = (open(target).await, open(target).await);
            fast.apply(&batch).await.expect("it is the first");
            let before = rows(&mut fast).await;
            let refused = slow.apply(&batch).await.expect_err("the other was ahead");
            assert!(
                matches!(
                    refused,
                    DatabaseError::Elsewhere {
                        expected: Lsn(0),
                        found: Lsn(2)
                    }
                ),
                "{refused}"
            );
            assert_eq!(rows(&mut slow).await, before);
        });
    }
}

#[test]
fn a_batch_that_changes_what_is_not_there_changes_nothing_and_names_it() {
    let mut batch = one_batch();
    let Some(Step::Rows { works, .. }) = batch.steps.first_mut() else {
        panic!("{:?}", batch.steps)
    };
    let mut stranger = works[0].clone();
    (stranger.work, stranger.new) = (WorkId(9_000), None);
    works.push(stranger);
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let refused = database
                .apply(&batch)
                .await
                .expect_err("w9000 was never accepted");
            assert!(
                refused.to_string().starts_with("w9000 is not in the database"),
                "{refused}"
            );
            assert_eq!(database.resume().await.expect("it has a position").after, Lsn(0));
            assert_eq!(rows(&mut database).await, Vec::<String>::new());
        });
    }
}

#[test]
fn a_row_that_is_there_already_is_an_error_that_no_waiting_cures() {
    let batch = one_batch();
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            database.apply(&batch).await.expect("it is the first");
            let again = Batch {
                after: batch.upto,
                upto: batch.upto.next(),
                ..batch.clone()
            };
            let refused = database.apply(&again).await.expect_err("the bag is there");
            assert!(!refused.is_passing(), "{refused:?}");
        });
    }
}

#[test]
fn a_cordon_outlasts_links_and_engines_as_it_does_in_the_engine() {
    let joined = || {
        let joined = WorkerJoined {
            worker: WorkerId(1),
            uid: "ant".to_owned(),
            name: "ant's \u{1f980}".to_owned(),
            version: "1".to_owned(),
            offer: Offer::default(),
            at: Instant(5_000),
        };
        (kind::WORKER_JOINED, control(&joined))
    };
    let changed = |state, reason| {
        let (worker, at) = (WorkerId(1), Instant(7_000));
        let changed = WorkerChanged {
            worker,
            state,
            reason,
            at,
        };
        (kind::WORKER_CHANGED, control(&changed))
    };
    let restarted = || {
        let started = EpochStarted {
            shard: Shard(0),
            epoch: Epoch(2),
            at: Instant(9_000),
            version: "1".to_owned(),
        };
        (kind::EPOCH_STARTED, control(&started))
    };
    let told = [
        (joined(), "ready 0"),
        (changed(WorkerState::Lost, Reason::WorkerLost), "lost 0"),
        (changed(WorkerState::Cordoned, Reason::ByOperator), "lost 1"),
        (joined(), "cordoned 1"),
        (changed(WorkerState::Ready, Reason::ByOperator), "ready 0"),
        (changed(WorkerState::Cordoned, Reason::ByOperator), "cordoned 1"),
        (restarted(), "lost 1"),
        (joined(), "cordoned 1"),
        (changed(WorkerState::Draining, Reason::ByOperator), "draining 1"),
        (changed(WorkerState::Gone, Reason::WorkerDraining), "gone 1"),
        (changed(WorkerState::Gone, Reason::ByOperator), "gone 0"),
        (joined(), "ready 0"),
    ];
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let mut coalescer = Coalescer::new(Lsn(0), []);
            for (index, (record, wanted)) in told.iter().enumerate() {
                coalescer
                    .take(&feed_record(index, record))
                    .expect("the engine wrote it");
                database.apply(&coalescer.batch()).await.expect("it follows");
                let found = texts(
                    &mut database,
                    "SELECT CONCAT(state, ' ', cordoned) FROM pool_workers",
                )
                .await;
                assert_eq!(found, [*wanted], "after record {} in {}", index + 1, target);
            }
            let names = texts(&mut database, "SELECT name FROM pool_workers").await;
            assert_eq!(names, ["ant's \u{1f980}"], "in {}", target);
        });
    }
}

#[test]
fn a_row_of_a_worker_says_by_what_it_is_known() {
    let (worker, at) = (WorkerId(1), Instant(9_000));
    let wallet = Address([0xab; 20]);
    let joined = || {
        let joined = WorkerJoined {
            worker,
            uid: "ant".to_owned(),
            name: "ant".to_owned(),
            version: "1".to_owned(),
            offer: Offer::default(),
            at,
        };
        (kind::WORKER_JOINED, control(&joined))
    };
    let standing = |approval, wallet| {
        let standing = WorkerStanding {
            worker,
            approval,
            wallet,
            at,
        };
        (kind::WORKER_STANDING, control(&standing))
    };
    let enrolled = || {
        let enrolled = WorkerEnrolled {
            worker,
            token: Some(TokenId(1)),
            serial: 7,
            key: [1; 32],
            not_after: Instant(5_000_000_000),
            at,
        };
        (kind::WORKER_ENROLLED, control(&enrolled))
    };
    let approved = || {
        let changed = WorkerChanged {
            worker,
            state: WorkerState::Ready,
            reason: Reason::ByOperator,
            at,
        };
        (kind::WORKER_CHANGED, control(&changed))
    };
    let shown = format!("{wallet}");
    let told = [
        (joined(), "ready approved - - -".to_owned()),
        (
            standing(Approval::Waiting, None),
            "cordoned waiting - - -".to_owned(),
        ),
        (enrolled(), "cordoned waiting 7 5000000 -".to_owned()),
        (joined(), "cordoned waiting 7 5000000 -".to_owned()),
        (
            standing(Approval::Approved, Some(wallet)),
            format!("cordoned approved 7 5000000 {shown}"),
        ),
        (approved(), format!("ready approved 7 5000000 {shown}")),
        (
            standing(Approval::Revoked, Some(wallet)),
            format!("ready revoked - - {shown}"),
        ),
    ];
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let mut coalescer = Coalescer::new(Lsn(0), []);
            for (index, (record, wanted)) in told.iter().enumerate() {
                coalescer
                    .take(&feed_record(index, record))
                    .expect("the engine wrote it");
                database.apply(&coalescer.batch()).await.expect("it follows");
                let found = texts(
                    &mut database,
                    "SELECT CONCAT(state, ' ', approval, ' ', COALESCE(CAST(certificate_serial AS CHAR), '-'), ' ', \
                     COALESCE(CAST(certificate_until_us AS CHAR), '-'), ' ', COALESCE(wallet, '-')) FROM pool_workers",
                )
                .await;
                assert_eq!(
                    found,
                    std::slice::from_ref(wanted),
                    "after record {} in {}",
                    index + 1,
                    target
                );
            }
        });
    }
}

fn control(message: &impl serde::Serialize) -> Vec<u8> {
    let mut payload = Vec::new();
    codec::put_control(&mut payload, message);
    payload
}

#[test]
fn texts_and_bytes_at_their_bounds_come_back_as_they_went() {
    use wire_protocol::limits::{NAME_BYTES_MAX, RESULT_BYTES_MAX, ROW_BYTES_MAX};
    let mut batch = one_batch();
    let names = [
        "\u{1f980}".repeat(NAME_BYTES_MAX / 4),
        "x".repeat(NAME_BYTES_MAX),
        "it's \"so\" \\ \0 \n \u{7f} \u{fffd}; -- %_?".to_owned(),
        String::new(),
    ];
    for (name, change) in names.iter().zip(1..) {
        batch
            .bookkeeping
            .push(Bookkeeping::WorkerJoined(Box::new(WorkerJoined {
                worker: WorkerId(change),
                uid: name.clone(),
                name: name.clone(),
                version: "1".to_owned(),
                offer: Offer::default(),
                at: Instant(i64::MAX as u64),
            })));
    }
    let Some(Step::Rows { works, .. }) = batch.steps.first_mut() else {
        panic!("{:?}", batch.steps)
    };
    let every = |length: usize| (0..length).map(|at| (at % 256) as u8).collect::<Vec<_>>();
    works[0].new.as_mut().expect("it is new").parameters = every(ROW_BYTES_MAX);
    works[0].now.decided = Some(Decided {
        exit_code: i32::MIN,
        elapsed_us: u32::MAX,
        result: every(RESULT_BYTES_MAX),
    });
    works[0].now.changed_at = Instant(u64::MAX / 4);
    let wanted = format!(
        "{} {} {} {} {}",
        blob(&every(ROW_BYTES_MAX)),
        blob(&every(RESULT_BYTES_MAX)),
        i32::MIN,
        u32::MAX,
        u64::MAX / 4_000
    );
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            database.apply(&batch).await.expect("all is within bounds");
            let found = texts(&mut database, "SELECT name FROM pool_workers ORDER BY worker_id").await;
            assert_eq!(found, names, "in {target}");
            let query = "SELECT CONCAT(HEX(parameters), ' ', HEX(result), ' ', exit_code, ' ', elapsed_us, ' ', \
                         changed_us) FROM pool_works";
            assert_eq!(texts(&mut database, query).await, [&wanted[..]], "in {target}");
        });
    }
}
