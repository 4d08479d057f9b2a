//! Shells that are broken on purpose: for each way of breaking one, the oracle that is there for it objects.
//! An oracle that never objects would prove nothing.

use sim::{Fault, Options, Sabotage, Violation};

/// Seeds that are tried until an oracle objects.
const SEEDS: u64 = 240;

/// The first objection to a shell that is broken in this way.
fn objection(sabotage: Sabotage) -> Violation {
    for seed in 0..SEEDS {
        let mut options = Options::from_seed(seed);
        options.sabotage = Some(sabotage);
        if options.faults.is_empty() {
            options.faults.push(Fault::EngineCrash);
        }
        if let Some(violation) = sim::run(&options).violation {
            return violation;
        }
    }
    panic!("{SEEDS} seeds found nothing wrong with a shell that {sabotage:?}");
}

#[track_caller]
fn objects(sabotage: Sabotage, oracle: &str, what: &str) {
    let violation = objection(sabotage);
    assert_eq!(violation.oracle, oracle, "{violation:?}");
    assert!(violation.what.contains(what), "{violation:?}");
}

#[test]
fn telling_before_it_is_durable_is_noticed() {
    objects(Sabotage::TellsBeforeDurable, "accepted", "durable");
}

#[test]
fn a_disk_that_forgets_what_it_synced_is_noticed() {
    objects(Sabotage::ForgetsSynced, "lsn", "was durable");
}

#[test]
fn a_record_that_is_written_twice_is_noticed() {
    // The journal itself refuses it.
    objects(Sabotage::RepeatsRecord, "panic", "a gap or a repeat");
}

#[test]
fn a_record_with_another_bit_is_noticed() {
    objects(Sabotage::AltersRecord, "lsn", "other bytes");
}

#[test]
fn the_result_of_another_lease_is_noticed() {
    objects(Sabotage::MixesReports, "result", "never made this result");
}

#[test]
fn a_lease_that_was_never_given_is_noticed() {
    objects(Sabotage::ForgesLeases, "lease", "never got it");
}

#[test]
fn an_assignment_without_a_lease_is_noticed() {
    objects(Sabotage::AssignsTwice, "lease", "is sent to");
}

#[test]
fn works_beyond_the_credit_of_a_worker_are_noticed() {
    objects(Sabotage::FlattersWorkers, "credit", "more than it may hold");
}

#[test]
fn a_worker_that_is_given_more_than_it_offers_of_what_is_counted_is_noticed() {
    objects(Sabotage::FlattersCounters, "offer", "has works that take");
}

#[test]
fn a_result_that_is_read_back_with_another_bit_is_noticed() {
    objects(Sabotage::SpoilsResults, "outcome", "is told as");
}

#[test]
fn a_request_that_is_never_answered_is_noticed() {
    objects(
        Sabotage::SwallowsFetches,
        "liveness",
        "not everything has settled",
    );
}

#[test]
fn a_scheduler_whose_clock_stands_still_is_noticed() {
    objects(Sabotage::StopsTicking, "liveness", "not everything has settled");
}

#[test]
fn an_epoch_that_two_starts_announce_is_noticed() {
    objects(Sabotage::ServesEarly, "lsn", "told already");
}

#[test]
fn an_acknowledgement_of_a_report_that_was_not_made_is_noticed() {
    objects(Sabotage::RecordsTooMuch, "recorded", "are acknowledged");
}

#[test]
fn transactions_that_nobody_will_remember_are_noticed() {
    objects(Sabotage::SendsBeforeNoted, "market", "before its note is durable");
}

#[test]
fn a_run_that_depends_on_other_runs_is_noticed() {
    let differs = (0..SEEDS).any(|seed| {
        let mut options = Options::from_seed(seed);
        options.sabotage = Some(Sabotage::RemembersOtherRuns);
        sim::run_twice(&options).is_err_and(|violation| violation.oracle == "determinism")
    });
    assert!(differs);
}
