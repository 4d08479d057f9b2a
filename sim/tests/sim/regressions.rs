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
