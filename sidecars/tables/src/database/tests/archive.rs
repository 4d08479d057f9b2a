//! Old events go to files: all of them, once, wherever a run was interrupted.

use std::path::Path;

use super::*;
use crate::archive::ArchiveFile;
use crate::archive::tests::read;

/// Records of these tests have times in steps of 10, from record 1 at 10 on, and three events each.
const RECORDS: u64 = 40;

/// A database at record 40 with the events of all of them.
async fn filled(target: &Target) -> Database {
    let mut database = open(target).await;
    let rows: Vec<_> = (1..=RECORDS)
        .flat_map(|lsn| (0..3).map(move |work| (lsn, 100 + 7 * work)))
        .map(|(lsn, work)| format!("({lsn}, {work}, 7, {}, 'failed', 1, 1, NULL)", lsn * 10))
        .collect();
    let insert = format!("INSERT INTO pool_events VALUES {}", rows.join(", "));
    run(&mut database, insert).await;
    run(
        &mut database,
        format!("UPDATE pool_positions SET lsn = {RECORDS}"),
    )
    .await;
    database
}

async fn run(database: &mut Database, text: String) {
    let done = database.session.run(session::made(text.into())).await;
    done.expect("it is valid");
}

fn before(folder: &Path, before_us: i64) -> Archiving<'_> {
    Archiving {
        folder,
        before_us,
        now_us: 1_000_000,
        // Four records with three rows each fit, and a fifth does not.
        file_rows_max: 14,
    }
}

/// Events in the tables: first and last record, and how many rows.
async fn left(database: &mut Database) -> [i64; 3] {
    let text = fixed("SELECT COALESCE(MIN(lsn), 0), COALESCE(MAX(lsn), 0), COUNT(*) FROM pool_events");
    let arguments = database.session.arguments();
    let rows = database.session.integers(text, arguments).await;
    let rows = rows.expect("the table is there");
    <[i64; 3]>::try_from(rows.concat()).expect("three columns")
}

fn names(files: &[ArchiveFile]) -> Vec<&str> {
    files.iter().map(|file| file.name.as_str()).collect()
}

/// The files hold the events of records 1 to `upto`, each once, as they were.
fn holds(folder: &Path, files: &[&str], upto: u64) {
    let found: Vec<_> = files.iter().flat_map(|name| read(&folder.join(name))).collect();
    let keys: Vec<_> = found.iter().map(|event| (event.lsn, event.work)).collect();
    let expected: Vec<_> = (1..=upto)
        .flat_map(|lsn| (0..3).map(move |work| (lsn, 100 + 7 * work)))
        .collect();
    assert_eq!(keys, expected);
    for event in found {
        assert_eq!(event.at_us, event.lsn * 10);
        assert_eq!((event.works, event.state.as_str()), (7, "failed"));
        assert_eq!((event.reason, event.attempt, event.worker), (1, 1, None));
        let reason = "the command ended with a non-zero exit code";
        assert_eq!(event.reason_text.as_deref(), Some(reason));
    }
    let there = std::fs::read_dir(folder).expect("it was made").count();
    assert_eq!(there, files.len(), "no other files");
}

#[test]
fn old_events_are_in_files_and_gone_and_a_second_run_does_nothing() {
    let databases = Databases::start();
    for target in &databases.fresh() {
        let [right, ..] = databases.fresh();
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("archive");
        runtime().block_on(async {
            let (mut database, mut right) = (filled(target).await, filled(&right).await);
            // Record 10 is of this time exactly, and stays.
            let old = database.archivable(100).await.expect("it can be read");
            assert_eq!((old.after, old.upto, old.rows), (Lsn(0), Lsn(9), 27), "{target}");
            assert!(!folder.exists(), "looking makes none");
            let mut told = 0;
            let files = database.archive(&before(&folder, 100), |rows| told += rows).await;
            let files = files.expect("there is room");
            let expected = [
                "events-1-4.jsonl.gz",
                "events-5-8.jsonl.gz",
                "events-9-9.jsonl.gz",
            ];
            assert_eq!((names(&files), told), (expected.to_vec(), 27), "{target}");
            holds(&folder, &expected, 9);
            assert_eq!(left(&mut database).await, [10, 40, 93], "{target}");
            let remembered = texts(
                &mut database,
                "SELECT CONCAT(first_lsn, ' ', last_lsn, ' ', row_count, ' ', file, ' ', sha256, ' ', archived_us) \
                 FROM pool_archives ORDER BY first_lsn",
            )
            .await;
            let line = |file: &ArchiveFile| {
                let (first, last) = (file.first.0, file.last.0);
                format!("{first} {last} {} {} {} 1000000", file.rows, file.name, file.sha256)
            };
            assert_eq!(remembered, files.iter().map(line).collect::<Vec<_>>());

            let again = database.archive(&before(&folder, 100), |_| {}).await;
            assert_eq!(again.expect("there is nothing to do"), [], "{target}");
            assert_eq!(left(&mut database).await, [10, 40, 93], "{target}");

            // Neither side misses what is archived, and what is not is still compared.
            run(&mut right, "DELETE FROM pool_events WHERE lsn = 11".to_owned()).await;
            let mut wrong = Vec::new();
            let frozen = database.freeze().await.expect("it can be read");
            let compared = frozen
                .compare(&mut right, |difference| wrong.push(difference.to_string()))
                .await
                .expect("both can be read");
            assert_eq!(compared.archived, Lsn(9));
            let extra = [100, 107, 114].map(|work| format!("pool_events (11, {work}): should not be there"));
            assert_eq!(wrong, extra, "{target}");

            let all = database.archive(&before(&folder, i64::MAX), |_| {}).await;
            assert_eq!(names(&all.expect("there is room")).len(), 8, "{target}");
            assert_eq!(left(&mut database).await, [0, 0, 0], "{target}");
        });
    }
}

#[test]
fn a_run_that_died_anywhere_is_finished_by_the_next_with_the_same_files() {
    for target in &Databases::start().fresh() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        runtime().block_on(async {
            let mut database = filled(target).await;
            // It died behind a file: records 1 and 2 are in it, in the tables, and nowhere else.
            let old = before(folder, 30);
            let file = database
                .write_file(&old, &mut |_| {})
                .await
                .expect("there is room");
            let file = file.expect("some are old");
            assert_eq!(file.name, "events-1-2.jsonl.gz", "{target}");
            // By the next run more is old; the file is made again nevertheless, and is as it was.
            let later = before(folder, 100);
            let again = database
                .write_file(&later, &mut |_| {})
                .await
                .expect("there is room");
            assert_eq!(again.as_ref(), Some(&file), "{target}");
            // That one died when the file was known, and some of its events were deleted.
            database.remember(&file, 5).await.expect("it is not known yet");
            run(&mut database, "DELETE FROM pool_events WHERE lsn = 1".to_owned()).await;
            let rest = database.archive(&later, |_| {}).await.expect("there is room");
            assert_eq!(
                names(&rest),
                ["events-3-6.jsonl.gz", "events-7-9.jsonl.gz"],
                "{target}"
            );
            let files = [
                "events-1-2.jsonl.gz",
                "events-3-6.jsonl.gz",
                "events-7-9.jsonl.gz",
            ];
            holds(folder, &files, 9);
            assert_eq!(left(&mut database).await, [10, 40, 93], "{target}");
            // Somebody else archived the same range meanwhile.
            let refused = database.remember(&file, 6).await.expect_err("it is known");
            assert!(!refused.is_passing(), "{refused:?}");
        });
    }
}

#[test]
fn files_end_with_whole_records_and_never_beyond_the_position_or_a_young_event() {
    let databases = Databases::start();
    for target in &databases.fresh() {
        let folder = tempfile::tempdir().expect("a folder");
        runtime().block_on(async {
            let mut database = filled(target).await;
            // One record has more rows than a file, another has one young event, though those behind it are old.
            run(&mut database, "UPDATE pool_positions SET lsn = 30".to_owned()).await;
            let rows: Vec<_> = (0..20)
                .map(|n| format!("(2, {}, 1, 20, 'queued', 0, 0, 5)", 200 + n))
                .collect();
            run(
                &mut database,
                format!("INSERT INTO pool_events VALUES {}", rows.join(", ")),
            )
            .await;
            let all = database.archivable(i64::MAX).await.expect("it can be read");
            assert_eq!(all.upto, Lsn(30), "{target}");
            let young = "UPDATE pool_events SET at_us = 5000 WHERE lsn = 4 AND work_id = 107".to_owned();
            run(&mut database, young).await;
            let files = database.archive(&before(folder.path(), 1_000), |_| {}).await;
            let files = files.expect("there is room");
            let expected = [
                "events-1-1.jsonl.gz",
                "events-2-2.jsonl.gz",
                "events-3-3.jsonl.gz",
            ];
            assert_eq!(names(&files), expected, "{target}");
            assert_eq!(files[1].rows, 23, "{target}");
            assert_eq!(left(&mut database).await, [4, 40, 111], "{target}");
        });
    }
}
