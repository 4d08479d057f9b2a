//! What seeds have found, each with its cause, in the smallest world that shows it.

use sim::{Fault, Mode, Options, Sabotage};

/// A small quiet world: one worker, one client, one bag.
fn small(seed: u64) -> Options {
    Options {
        workers: 1,
        clients: 1,
        bags: 1,
        hostile_worker: false,
        hostile_client: false,
        faults: Vec::new(),
        fail_percent: 0,
        poison_one_in: 0,
        ..Options::from_seed(seed)
    }
}

#[track_caller]
fn is_fine(options: &Options) {
    let report = sim::run(options);
    assert!(report.violation.is_none(), "{report:#?}");
}

/// A bag of more rows than may be open at once was answered `Busy`, and its client came again for ever. It is
/// wrong, not early: now it is rejected.
#[test]
fn a_bag_that_never_fits_does_not_keep_its_client_waiting() {
    for seed in 0..20 {
        is_fine(&Options {
            works_open_max: 2,
            rows_max: 20,
            ..small(seed).with_mode(Mode::Liveness)
        });
    }
}

/// An engine that lets peers in before the record of its epoch is durable can die and forget the epoch that
/// it told them. The next start then takes the same number, and leases of the two cannot be told apart. So a
/// shell waits for that record first.
#[test]
fn nobody_hears_of_an_epoch_that_a_crash_could_forget() {
    let crashes = |seed| Options {
        faults: vec![Fault::EngineCrash],
        fault_every: 100_000_000,
        fsync: 30_000_000,
        ..small(seed)
    };
    for seed in 0..20 {
        is_fine(&crashes(seed));
    }
    let noticed = (0..20).any(|seed| {
        let early = Options {
            sabotage: Some(Sabotage::ServesEarly),
            ..crashes(seed)
        };
        sim::run(&early).violation.is_some()
    });
    assert!(noticed, "the scenario no longer shows the cause");
}

/// The scheduler forgets a bag, a snapshot of before is written, and records are deleted by what is needed *now*.
/// Then a crash takes the record of the forgetting: the bag is remembered again, and its results are gone. So
/// records go by what was needed when the snapshot was taken.
#[test]
fn results_outlive_a_forgetting_that_a_crash_can_forget() {
    let forgetful = |seed| Options {
        workers: 4,
        clients: 4,
        bags: 6,
        rows_max: 100,
        result_bytes_max: 2_000,
        run_max: 20_000_000,
        faults: vec![Fault::EngineCrash, Fault::SlowDisk, Fault::SlowDisk],
        fault_every: 1_000_000_000,
        faults_for: 20_000_000_000,
        fsync: 30_000_000,
        segment_bytes: 128 << 10,
        snapshot_every: 8 << 10,
        rejoin_window_ms: 0,
        retention_ms: 1_000,
        ..small(seed)
    };
    let noticed = (0..40).any(|seed| {
        let early = Options {
            sabotage: Some(Sabotage::DeletesEarly),
            ..forgetful(seed)
        };
        let violation = sim::run(&early).violation;
        let gone = violation.is_some_and(|violation| violation.oracle == "result");
        if gone {
            is_fine(&forgetful(seed));
        }
        gone
    });
    assert!(noticed, "the scenario no longer shows the cause");
}

/// A client that was told `Busy` opens its submission again on the same link, and again. Each time used to take
/// another of the submissions that the link may have, until the client was locked out of its own.
#[test]
fn opening_a_submission_again_does_not_use_up_the_link() {
    is_fine(&Options::from_seed(114_531));
}

/// What a slow node says of offers may be older than the pool's last transaction about them, which was final and forgotten by
/// then: the offer was made a second time. So what was seen before that transaction's block counts no more.
#[test]
fn an_offer_that_was_mined_is_not_made_again_because_of_an_older_answer() {
    is_fine(&Options::from_seed(68));
    is_fine(&Options::from_seed(349));
}

/// A pool that was away while its last blocks were orphaned heard first which number was final, and took its own block of that
/// number for it. So a node says which block is final.
#[test]
fn a_block_that_is_final_elsewhere_makes_no_orphan_final() {
    is_fine(&Options::from_seed(1_421));
}

/// An order that a reorganisation took back was kept for ever.
#[test]
fn an_order_that_is_gone_for_good_is_forgotten() {
    is_fine(&Options::from_seed(39));
}
