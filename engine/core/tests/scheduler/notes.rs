//! Notebooks of sidecars.

use engine_core::Config;
use wire_protocol::client_link::{Command, CommandRequest, Query, kind};
use wire_protocol::ids::LinkId;
use wire_protocol::limits::NOTE_BYTES_MAX;
use wire_protocol::note::{Note, NoteChange, WriteNotes};
use wire_protocol::units::Bytes;
use wire_protocol::view::Reply;
use wire_protocol::worker_link::push_control;

use crate::kit::{ClientHeard, Pool};

fn take(pool: &mut Pool, link: LinkId) -> u64 {
    match pool.command(link, Command::TakeNotebook("chain".to_owned())) {
        Reply::Notebook { holder } => holder,
        other => panic!("{other:?}"),
    }
}

fn change(key: &str, value: Option<&[u8]>) -> NoteChange {
    NoteChange {
        key: key.to_owned(),
        value: value.map(<[u8]>::to_vec),
    }
}

fn written(holder: u64, changes: &[(&str, Option<&[u8]>)]) -> Command {
    Command::WriteNotes(WriteNotes {
        notebook: "chain".to_owned(),
        holder,
        changes: changes.iter().map(|(key, value)| change(key, *value)).collect(),
    })
}

fn page(pool: &mut Pool, link: LinkId, after: &str) -> (Vec<(String, Vec<u8>)>, bool) {
    let query = Query::Notes {
        notebook: "chain".to_owned(),
        after: after.to_owned(),
    };
    match pool.query(link, query) {
        Reply::Notes { notes, more } => {
            let notes = notes.into_iter().map(|Note { key, value }| (key, value));
            (notes.collect(), more)
        }
        other => panic!("{other:?}"),
    }
}

fn notes(pool: &mut Pool, link: LinkId) -> Vec<(String, Vec<u8>)> {
    page(pool, link, "").0
}

#[test]
fn the_last_note_under_a_key_counts_and_outlives_crashes_and_snapshots() {
    let mut pool = Pool::new();
    let sidecar = pool.operator();
    let holder = take(&mut pool, sidecar);
    let first = written(holder, &[("a", Some(b"1")), ("b", Some(b"2")), ("c", Some(b"3"))]);
    assert_eq!(pool.command(sidecar, first), Reply::Changed(3));
    let second = written(holder, &[("b", None), ("c", Some(b"4")), ("d", None)]);
    assert_eq!(pool.command(sidecar, second), Reply::Changed(3));
    let kept = [("a".to_owned(), b"1".to_vec()), ("c".to_owned(), b"4".to_vec())];
    assert_eq!(notes(&mut pool, sidecar), kept);
    pool.restart();
    let sidecar = pool.operator();
    assert_eq!(notes(&mut pool, sidecar), kept, "replayed");
    let image = pool.snapshot();
    let lsn = pool.lsn();
    pool.crash(lsn, wire_protocol::units::Millis(100), Some(&image));
    let sidecar = pool.operator();
    assert_eq!(notes(&mut pool, sidecar), kept, "from the snapshot");
    assert_eq!(take(&mut pool, sidecar), holder + 1);
}

#[test]
fn whoever_takes_a_notebook_is_the_only_one_who_writes_it() {
    let mut pool = Pool::new();
    let (old, new) = (pool.operator(), pool.operator());
    let first = take(&mut pool, old);
    let second = take(&mut pool, new);
    assert!(second > first);
    let Reply::Conflict(invalid) = pool.command(old, written(first, &[("a", Some(b"1"))])) else {
        panic!("it was deposed");
    };
    assert!(
        invalid.problem.contains("another process writes it now"),
        "{invalid:?}"
    );
    assert_eq!(notes(&mut pool, new), []);
    assert_eq!(
        pool.command(new, written(second, &[("a", Some(b"2"))])),
        Reply::Changed(1)
    );
}

#[test]
fn a_notebook_that_nobody_took_is_not_there_and_a_user_sees_none() {
    let mut pool = Pool::new();
    let (operator, alice) = (pool.operator(), pool.client("alice"));
    let nothing = pool.command(operator, written(1, &[("a", None)]));
    assert!(matches!(nothing, Reply::NotFound { .. }), "{nothing:?}");
    let holder = take(&mut pool, operator);
    let query = Query::Notes {
        notebook: "chain".to_owned(),
        after: String::new(),
    };
    let refused = [
        pool.command(alice, Command::TakeNotebook("chain".to_owned())),
        pool.command(alice, written(holder, &[("a", None)])),
        pool.query(alice, query),
    ];
    for reply in refused {
        let Reply::Conflict(invalid) = reply else {
            panic!("{reply:?}");
        };
        assert!(invalid.problem.contains("only an operator"), "{invalid:?}");
    }
}

#[test]
fn a_long_notebook_is_read_page_by_page() {
    let mut pool = Pool::new();
    let sidecar = pool.operator();
    let holder = take(&mut pool, sidecar);
    let long = vec![7; NOTE_BYTES_MAX];
    let keys: Vec<String> = (0..40).map(|n| format!("{n:02}")).collect();
    for keys in keys.chunks(10) {
        let changes: Vec<(&str, Option<&[u8]>)> =
            keys.iter().map(|key| (key.as_str(), Some(&long[..]))).collect();
        assert_eq!(
            pool.command(sidecar, written(holder, &changes)),
            Reply::Changed(10)
        );
    }
    let (mut read, mut more): (Vec<String>, bool) = (Vec::new(), true);
    while more {
        let after = read.last().cloned().unwrap_or_default();
        let (notes, goes_on) = page(&mut pool, sidecar, &after);
        assert!(!notes.is_empty());
        read.extend(notes.into_iter().map(|(key, _)| key));
        more = goes_on;
    }
    assert_eq!(read, keys);
}

#[test]
fn what_is_too_long_or_too_much_changes_nothing() {
    let mut config = Config::default();
    config.limits.notes_bytes_max = Bytes(1_000);
    let mut pool = Pool::with(config);
    let sidecar = pool.operator();
    let holder = take(&mut pool, sidecar);
    let long = vec![7; NOTE_BYTES_MAX + 1];
    let Reply::Conflict(invalid) =
        pool.command(sidecar, written(holder, &[("a", Some(b"1")), ("b", Some(&long))]))
    else {
        panic!("it is too long");
    };
    assert_eq!(invalid.field, "b");
    assert_eq!(notes(&mut pool, sidecar), []);
    assert_eq!(
        pool.command(sidecar, written(holder, &[("a", Some(&long[..700]))])),
        Reply::Changed(1)
    );
    let more = written(holder, &[("b", Some(&long[..700]))]);
    let request = CommandRequest {
        request: 1_000,
        command: more,
    };
    pool.client_says(sidecar, |out| push_control(out, kind::COMMAND, &request));
    let heard = pool.client_heard(sidecar);
    assert!(
        matches!(&heard[..], [ClientHeard::Busy(busy)] if busy.limit == "notes"),
        "{heard:?}"
    );
    let less = written(holder, &[("a", None)]);
    assert_eq!(
        pool.command(sidecar, less),
        Reply::Changed(1),
        "there is always room for less"
    );
    assert_eq!(
        pool.command(sidecar, written(holder, &[("b", Some(&long[..700]))])),
        Reply::Changed(1)
    );
}
