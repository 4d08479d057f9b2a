//! Whatever call fails and whatever a power cut takes: what was acknowledged is there, and nothing else.

use crate::common::{Oracle, config, open, payloads, retain, tidy};
use engine_journal::{Fault, FaultStorage, Journal, JournalError, Loss};
use std::sync::Arc;
use wire_protocol::ids::Lsn;

/// One life of an engine that does everything a journal can do; ends with the first failure.
fn life(storage: &FaultStorage, oracle: &mut Oracle, salt: u64) -> Result<(), JournalError> {
    let (mut journal, recovery) = open(storage)?;
    oracle.try_check(&journal, &recovery)?;
    journal.begin_epoch();
    for nth in 0..14 {
        oracle.append(&mut journal, payloads(salt + nth, 1 + nth as usize % 3, 700))?;
        match nth {
            2 | 7 => {
                tidy(&journal)?;
            }
            5 | 10 => {
                oracle.snapshot(&journal, Lsn(oracle.len() - 1))?;
                retain(&journal, Lsn(oracle.len()))?;
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn whichever_call_fails_all_that_was_acknowledged_is_there_after_a_crash() {
    let calls = {
        let storage = FaultStorage::new(0);
        life(&storage, &mut Oracle::default(), 0).expect("no faults");
        storage.calls()
    };
    assert!(calls > 150, "{calls} calls");
    for n in 1..=calls {
        for fault in [Fault::Io, Fault::Full] {
            for loss in [Loss::All, Loss::Nothing, Loss::Random] {
                let storage = FaultStorage::new(n);
                let mut oracle = Oracle::default();
                storage.fail_call(n, fault);
                let first = life(&storage, &mut oracle, 0);
                storage.crash(loss);
                // A second life finds everything, and a second crash takes nothing from it.
                life(&storage, &mut oracle, 1_000)
                    .unwrap_or_else(|error| panic!("call {n} {fault:?} {loss:?} ({first:?}): {error}"));
                storage.crash(Loss::All);
                let (journal, recovery) = open(&storage).expect("opens");
                oracle.check(&journal, &recovery);
            }
        }
    }
}

#[test]
fn whichever_call_of_a_start_fails_the_next_start_finds_everything() {
    let folder = FaultStorage::new(3);
    let mut promised = Oracle::default();
    life(&folder, &mut promised, 0).expect("no faults");
    // Stop at a sync, so that the start has a tail to mend.
    let (mut journal, _) = open(&folder).expect("opens");
    journal.begin_epoch();
    folder.fail_call(2, Fault::Io);
    promised
        .append(&mut journal, payloads(77, 3, 900))
        .expect_err("the sync fails");
    folder.crash(Loss::Random);
    for n in 1.. {
        let (storage, mut oracle) = (folder.fork(), promised.clone());
        storage.fail_call(n, Fault::Io);
        let failed = open(&storage).is_err();
        storage.crash(Loss::Random);
        let (journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
        if !failed {
            assert!(n > 10, "a start makes more than {n} calls");
            break;
        }
    }
}

#[test]
fn ten_thousand_power_cuts_lose_nothing_that_was_acknowledged() {
    for seed in 0..10_000 {
        let mut coin = fastrand::Rng::with_seed(seed);
        let storage = FaultStorage::new(seed);
        let mut oracle = Oracle::default();
        for _ in 0..3 {
            storage.fail_call(coin.u64(1..90), Fault::Io);
            let ended = random_life(&storage, &mut oracle, &mut coin);
            assert!(
                !matches!(ended, Err(JournalError::Damaged { .. })),
                "seed {seed}: {ended:?}"
            );
            storage.crash(Loss::Random);
        }
        let (journal, recovery) = open(&storage).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        oracle.check(&journal, &recovery);
    }
}

fn random_life(
    storage: &FaultStorage,
    oracle: &mut Oracle,
    coin: &mut fastrand::Rng,
) -> Result<(), JournalError> {
    let (mut journal, recovery) = open(storage)?;
    oracle.try_check(&journal, &recovery)?;
    journal.begin_epoch();
    for _ in 0..coin.u32(1..20) {
        match coin.u32(0..8) {
            0 if oracle.len() > 0 => {
                oracle.snapshot(
                    &journal,
                    Lsn(coin.u64(1..=oracle.len()).max(journal.reader().first_lsn().0)),
                )?;
                retain(&journal, Lsn(coin.u64(1..=oracle.len())))?;
            }
            1 => {
                tidy(&journal)?;
            }
            _ => oracle.append(&mut journal, payloads(coin.u64(..), coin.usize(1..4), 800))?,
        }
    }
    Ok(())
}

#[test]
fn a_failed_sync_stops_the_journal_for_good() {
    let storage = FaultStorage::new(5);
    let mut oracle = Oracle::default();
    let mut journal = crate::common::start(&storage);
    oracle
        .append(&mut journal, payloads(1, 1, 100))
        .expect("appended");
    storage.fail_call(2, Fault::Io);
    let first = oracle
        .append(&mut journal, payloads(2, 3, 300))
        .expect_err("the sync fails")
        .to_string();
    assert!(first.starts_with("syncing journal-"), "{first}");
    for _ in 0..3 {
        let again = crate::common::append(&mut journal, &payloads(3, 1, 10)).expect_err("poisoned");
        assert!(matches!(again, JournalError::Poisoned { .. }));
        assert_eq!(again.to_string(), first);
    }
    assert_eq!(journal.durable_lsn(), Lsn(1));
    assert_eq!(
        journal.reader().read(Lsn(2)).expect("readable"),
        None,
        "what is not durable is not shown"
    );
}

#[test]
fn a_batch_that_only_the_page_cache_has_is_written_again_at_the_next_start() {
    for seed in 0..64 {
        let storage = FaultStorage::new(seed);
        let mut oracle = Oracle::default();
        let mut journal = crate::common::start(&storage);
        storage.fail_call(2, Fault::Io);
        oracle
            .append(&mut journal, payloads(2, 3, 300))
            .expect_err("the sync fails");
        // Only the process stops: the next one reads the batch from the cache and counts on it …
        storage.crash_process();
        let (journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
        assert_eq!(journal.durable_lsn(), Lsn(3));
        drop(journal);
        // … so that it has to survive the power cut after.
        storage.crash(Loss::All);
        let (journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
    }
}

#[test]
fn the_first_segment_is_made_again_if_the_first_start_was_cut_short() {
    for n in 1.. {
        let storage = FaultStorage::new(n);
        storage.fail_call(n, Fault::Io);
        let failed = open(&storage).is_err();
        storage.crash(Loss::Random);
        let (journal, recovery) = Journal::open(Arc::new(storage), config()).expect("opens");
        assert_eq!((journal.next_lsn(), recovery.last_lsn), (Lsn(1), Lsn(0)));
        if !failed {
            assert!(n > 5);
            break;
        }
    }
}

#[test]
fn a_name_that_only_the_page_cache_has_is_synced_by_the_next_start() {
    // The process stops in the middle of a roll-over, at each of its calls.
    for n in 1..8 {
        let storage = FaultStorage::new(n);
        let mut oracle = Oracle::default();
        let mut journal = crate::common::start(&storage);
        tidy(&journal).expect("prepared");
        oracle
            .append(&mut journal, payloads(1, 1, 2_800))
            .expect("appended");
        oracle
            .append(&mut journal, payloads(2, 1, 1_000))
            .expect("appended");
        storage.fail_call(n, Fault::Io);
        oracle
            .append(&mut journal, payloads(3, 1, 2_800))
            .expect_err("a call fails");
        storage.crash_process();
        let (mut journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
        journal.begin_epoch();
        oracle
            .append(&mut journal, payloads(4, 1, 1_000))
            .expect("appended");
        drop(journal);
        storage.crash(Loss::All);
        let (journal, recovery) = open(&storage).expect("opens");
        oracle.check(&journal, &recovery);
    }
}
