//! Replay and snapshots: the same records lead to the same state, and damage is loud.

use engine_core::{Config, Event, ReplayError, RestoreError, Scheduler};
use wire_protocol::client_link::{Command, Query, Selector};
use wire_protocol::ids::{Lsn, Shard, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::NotNext;
use wire_protocol::template::Priority;
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{Filter, Reply};

use crate::kit::{Pool, null, rows, snapshot, tokens};

/// A pool with a bit of everything in its journal.
fn eventful() -> Pool {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 3, 1);
    let bag = pool.submit(operator, null(), 8);
    let held = tokens(&pool.leases(ant));
    pool.started(ant, &held[..1]);
    pool.report(ant, &held[1..2], Reason::ExitCode);
    pool.finish(ant, &held[2..3]);
    let bee = pool.worker("bee", 1, 0);
    pool.command(operator, Command::Cordon(wire_protocol::ids::WorkerId(2)));
    pool.command(operator, Command::Prioritise(bag.bag, Priority(7)));
    pool.command(operator, Command::Cancel(Selector::Work(bag.first.offset(7))));
    pool.command(operator, Command::Retry(Selector::Work(bag.first.offset(7))));
    pool.close(bee);
    pool.advance(Millis(50));
    pool.ignore_all();
    pool
}

#[test]
fn a_restored_snapshot_is_the_same_snapshot() {
    let pool = eventful();
    let bytes = pool.snapshot();
    assert_eq!(bytes, pool.snapshot(), "the same state gives the same bytes");
    let mut restored = Scheduler::new(pool.config.clone());
    restored.restore(&bytes).expect("a good snapshot");
    restored.check();
    assert_eq!(snapshot(&restored), bytes);
    assert_eq!(restored.last_lsn(), pool.lsn());
    assert_eq!(restored.epoch(), pool.scheduler.epoch());
}

#[test]
fn a_snapshot_is_appended_and_a_buffer_that_was_used_serves_again() {
    let pool = eventful();
    let bytes = pool.snapshot();
    let mut used = bytes.clone();
    used.truncate(3);
    pool.scheduler.snapshot(&mut used);
    assert_eq!((&used[..3], &used[3..]), (&bytes[..3], &bytes[..]));
    for room in [1, used.capacity(), 1 << 20] {
        let mut again = Vec::with_capacity(room);
        pool.scheduler.snapshot(&mut again);
        assert_eq!(again, bytes, "into a buffer of {room} bytes");
        assert!(again.capacity() < 1 << 20, "what is much too large is let go");
        let memory = again.as_ptr();
        again.clear();
        pool.scheduler.snapshot(&mut again);
        assert_eq!(
            (again.as_ptr(), again),
            (memory, bytes.clone()),
            "the same memory"
        );
    }
}

#[test]
fn every_prefix_of_the_journal_can_be_started_from() {
    let pool = eventful();
    for kept in 0..=pool.journal.len() {
        let mut scheduler = Scheduler::new(pool.config.clone());
        for (index, (kind, payload)) in pool.journal.iter().take(kept).enumerate() {
            scheduler
                .replay(Lsn(index as u64 + 1), *kind, payload)
                .expect("a good record");
        }
        scheduler.check();
        let mut effects = engine_core::Effects::default();
        scheduler.start(pool.now, &mut effects);
        scheduler.check();
        scheduler.handle(pool.now, Event::Tick, &mut effects);
        scheduler.check();
    }
}

#[test]
fn a_record_that_is_missing_repeated_or_strange_stops_the_replay() {
    let pool = eventful();
    let (kind, payload) = &pool.journal[0];
    let mut scheduler = Scheduler::new(pool.config.clone());
    assert!(matches!(
        scheduler.replay(Lsn(2), *kind, payload),
        Err(ReplayError::NotNext(NotNext::Gap { .. }))
    ));
    scheduler
        .replay(Lsn(1), *kind, payload)
        .expect("the first record");
    assert!(matches!(
        scheduler.replay(Lsn(1), *kind, payload),
        Err(ReplayError::NotNext(NotNext::Gap { .. }))
    ));
    assert!(matches!(
        scheduler.replay(Lsn(2), 200, payload),
        Err(ReplayError::NotNext(NotNext::Malformed { .. }))
    ));
    assert!(matches!(
        scheduler.replay(Lsn(2), *kind, payload),
        Err(ReplayError::Contradiction { .. })
    ));
}

#[test]
fn no_record_that_is_out_of_place_brings_the_replay_down() {
    // Each record at the place of each other: refused or harmless, never a panic.
    let pool = eventful();
    for at in 0..pool.journal.len() {
        for (kind, payload) in &pool.journal {
            let mut scheduler = Scheduler::new(pool.config.clone());
            for (index, (kind, payload)) in pool.journal.iter().take(at).enumerate() {
                scheduler
                    .replay(Lsn(index as u64 + 1), *kind, payload)
                    .expect("a good record");
            }
            if scheduler.replay(Lsn(at as u64 + 1), *kind, payload).is_ok() {
                scheduler.check();
            }
        }
    }
}

#[test]
fn a_damaged_snapshot_is_refused_or_at_least_consistent() {
    let pool = eventful();
    let bytes = pool.snapshot();
    for cut in 0..bytes.len() {
        let mut scheduler = Scheduler::new(pool.config.clone());
        assert!(scheduler.restore(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let mut other = Scheduler::new(Config {
        shard: Shard(3),
        ..Config::default()
    });
    assert!(matches!(other.restore(&bytes), Err(RestoreError::Shard { .. })));
    let mut later = bytes.clone();
    later[4] = 9;
    let mut scheduler = Scheduler::new(pool.config.clone());
    assert!(matches!(
        scheduler.restore(&later),
        Err(RestoreError::Format { found: 9 })
    ));
}

#[test]
fn a_snapshot_is_asked_for_after_enough_records_and_once_at_a_time() {
    let config = Config {
        snapshot_every: Bytes(20_000),
        records_per_snapshot: 0,
        ..Config::default()
    };
    let mut pool = Pool::with(config);
    let operator = pool.operator();
    while pool.snapshots_asked == 0 {
        pool.submit(operator, null(), 100);
    }
    for _ in 0..100 {
        pool.submit(operator, null(), 100);
    }
    assert_eq!(pool.snapshots_asked, 1);
    pool.handle(Event::SnapshotDone);
    pool.submit(operator, null(), 1);
    assert_eq!(std::mem::take(&mut pool.snapshots_asked), 2);
    pool.command(operator, Command::Snapshot);
    assert_eq!(pool.snapshots_asked, 0, "one is under way");
    pool.handle(Event::SnapshotDone);
    pool.command(operator, Command::Snapshot);
    assert_eq!(std::mem::take(&mut pool.snapshots_asked), 1);
}

#[test]
fn a_large_state_is_not_written_again_for_a_few_records() {
    let config = Config {
        snapshot_every: Bytes(1),
        records_per_snapshot: 3,
        ..Config::default()
    };
    let mut pool = Pool::with(config);
    let operator = pool.operator();
    let worker = pool.worker("w", 100, 0);
    pool.snapshots_asked = 0;
    pool.handle(Event::SnapshotDone);
    pool.submit(operator, null(), 100);
    assert_eq!(
        pool.snapshots_asked, 0,
        "what waits is as long in a snapshot as in records"
    );
    // Long rows of works that end are recorded, and no longer part of the state.
    let mut recorded = 0;
    loop {
        let leases = pool.leases(worker);
        pool.finish(worker, &tokens(&leases));
        if pool.snapshots_asked > 0 {
            break;
        }
        let bag = pool.open_bag(operator, null(), 100);
        pool.rows(operator, bag.request, 0, &vec![vec![7; 1_000]; 100]);
        assert_eq!(pool.snapshots_asked, 0, "the state has just grown as much");
        recorded += 100_000;
    }
    assert!(recorded > 3 * pool.snapshot().len(), "{recorded} bytes of rows");
    pool.ignore_all();
}

/// Works of a bag: two have succeeded, four are with a worker, and two more may come.
fn pool_of_the_golden_snapshot() -> Pool {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = pool.worker("w", 6, 0);
    let bag = pool.open_bag(operator, null(), 8);
    pool.rows(operator, bag.request, 0, &rows(0..6));
    let leases = pool.leases(worker);
    pool.report(worker, &tokens(&leases)[..2], Reason::None);
    pool.ignore_all();
    pool
}

/// What is laid out anew needs a new number: with it comes a new file, written with `GOLDEN=write`, and not one of old.
#[test]
fn a_snapshot_has_the_layout_that_its_number_says() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/formats/snapshot-5.bin");
    let written = pool_of_the_golden_snapshot().snapshot();
    if std::env::var("GOLDEN").is_ok_and(|value| value == "write") && !std::path::Path::new(FILE).exists() {
        std::fs::write(FILE, &written).expect("own folder");
    }
    let golden = std::fs::read(FILE).expect("GOLDEN=write makes it");
    assert_eq!(written, golden, "the layout has changed, and its number has not");
    let mut scheduler = Scheduler::new(Config::default());
    scheduler.restore(&golden).expect("a good snapshot");
    scheduler.check();
    let mut effects = engine_core::Effects::default();
    scheduler.start(Instant(2_000_000), &mut effects);
    scheduler.check();
    let counters = scheduler.counters();
    assert_eq!(
        (counters.works_queued, counters.works_leased, counters.works_done),
        (0, 4, 2)
    );
}

#[test]
fn a_snapshot_of_another_format_is_refused_by_its_number() {
    let good = pool_of_the_golden_snapshot().snapshot();
    // Behind the length of the header.
    let own = good[4];
    for format in (0..=own + 1).filter(|format| *format != own) {
        let mut other = good.clone();
        other[4] = format;
        let refused = Scheduler::new(Config::default()).restore(&other);
        let said = refused.expect_err("another layout").to_string();
        assert!(
            said.contains(&format!("has format {format}; this program reads {own}")),
            "{said}"
        );
    }
}

#[test]
fn rows_of_works_that_succeeded_leave_memory_and_snapshot_and_are_still_shown() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = pool.worker("w", 4, 0);
    let bag = pool.open_bag(operator, null(), 4);
    pool.rows(operator, bag.request, 0, &rows(0..2));
    pool.rows(operator, bag.request, 2, &[vec![7; 60_000], vec![8; 60_000]]);
    let leases = pool.leases(worker);
    let before = pool.snapshot().len();
    pool.report(worker, &tokens(&leases)[2..], Reason::None);
    assert!(
        pool.snapshot().len() < before - 100_000,
        "the long rows have gone"
    );
    assert!(pool.scheduler.counters().rows_bytes < 1_000);
    let shown = |pool: &mut Pool, work| pool.view(operator, work).parameters[0].1.clone();
    assert!(
        shown(&mut pool, leases[3].token.work).starts_with("\u{8}\u{8}"),
        "read from the journal"
    );
    let all = pool.query(
        operator,
        Query::Works {
            filter: Filter::default(),
            after: WorkId(0),
            limit: 10,
        },
    );
    let Reply::Works { works, .. } = all else {
        panic!("asked for works");
    };
    let firsts: Vec<char> = works
        .iter()
        .filter_map(|work| work.parameters[0].1.chars().next())
        .collect();
    assert_eq!(firsts.len(), 4, "each has its parameters: {works:?}");
    assert_eq!(firsts[2..], ['\u{7}', '\u{8}']);
    pool.restart();
    let operator = pool.operator();
    let view = pool.view(operator, leases[2].token.work);
    assert!(view.parameters[0].1.starts_with('\u{7}'), "also after a restart");
}

#[test]
fn a_bag_that_succeeded_looks_the_same_in_every_snapshot() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = pool.worker("w", 3, 0);
    pool.submit(operator, null(), 3);
    let leases = pool.leases(worker);
    // The kit compares each snapshot with that of a mirror that replays: also the one before the last work ends.
    pool.report(worker, &tokens(&leases)[..2], Reason::None);
    let before = pool.snapshot();
    pool.report_from(worker, 3, &tokens(&leases)[2..], Reason::None);
    let after = pool.snapshot();
    assert_ne!(before, after, "the last work's end is in it");
    assert_eq!(pool.snapshot(), after, "and is remembered");
    let mut restored = Scheduler::new(pool.config.clone());
    restored.restore(&after).expect("a good snapshot");
    assert_eq!(snapshot(&restored), after);
    pool.ignore_all();
}

#[test]
fn the_clock_never_goes_back_across_a_restart() {
    let pool = eventful();
    let mut scheduler = Scheduler::new(pool.config.clone());
    for (index, (kind, payload)) in pool.journal.iter().enumerate() {
        scheduler
            .replay(Lsn(index as u64 + 1), *kind, payload)
            .expect("a good record");
    }
    let floor = scheduler.clock_floor();
    assert!(floor > Instant(0) && floor <= pool.now);
    let mut restored = Scheduler::new(pool.config.clone());
    restored.restore(&pool.snapshot()).expect("a good snapshot");
    assert_eq!(restored.clock_floor(), floor);
    let mut effects = engine_core::Effects::default();
    scheduler.start(Instant(1), &mut effects);
    scheduler.handle(Instant(1), Event::Tick, &mut effects);
    assert!(scheduler.clock_floor() >= floor);
}

#[test]
fn what_the_settings_say_may_change_between_two_starts() {
    let mut pool = eventful();
    pool.config.kills_max = 1;
    pool.config.limits.classes_max = 1;
    pool.config.limits.workers_max = 1;
    pool.restart();
    pool.silence(Millis::from_secs(20));
}
