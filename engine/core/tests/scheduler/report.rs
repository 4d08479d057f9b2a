//! Reports: the token decides. Late, repeated, forged and disordered ones change nothing.

use wire_protocol::client_link::Query;
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::units::Millis;
use wire_protocol::view::{Reply, WorkState};
use wire_protocol::worker_link::{Notice, Report, kind};

use crate::kit::{Pool, WorkerHeard, null, tokens};

/// The stale notices among what the worker heard, which must be all there is beside acknowledgements.
fn stale(pool: &mut Pool, worker: wire_protocol::ids::LinkId) -> Vec<(LeaseToken, String)> {
    let heard = pool.worker_heard(worker);
    let notices = heard
        .into_iter()
        .filter(|heard| !matches!(heard, WorkerHeard::Recorded(_)));
    notices
        .map(|heard| match heard {
            WorkerHeard::Notice(Notice::Stale { token, recorded }) => (token, recorded),
            other => panic!("expected notices of stale reports, got {other:?}"),
        })
        .collect()
}

#[test]
fn forged_reports_change_nothing_and_are_answered_with_what_is_recorded() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let other = pool.worker("bee", 1, 0);
    let client = pool.client("alice");
    pool.submit(client, null(), 1);
    let token = pool.leases(worker)[0].token;
    let forgeries = [
        LeaseToken {
            attempt: Attempt(2),
            ..token
        },
        LeaseToken {
            epoch: Epoch(2),
            ..token
        },
        LeaseToken {
            shard: Shard(9),
            ..token
        },
        LeaseToken {
            work: WorkId(u64::MAX),
            ..token
        },
        LeaseToken {
            work: WorkId(0),
            ..token
        },
        LeaseToken {
            work: WorkId(token.work.0 + 1),
            ..token
        },
    ];
    for forged in forgeries {
        let (before, lsn) = (pool.snapshot(), pool.lsn());
        pool.report(worker, &[forged], Reason::None);
        assert_eq!(pool.snapshot(), before);
        assert_eq!(pool.lsn(), lsn);
        let answers = stale(&mut pool, worker);
        assert_eq!(answers.len(), 1);
        assert_eq!(answers[0].0, forged);
    }
    // The right token from the wrong worker.
    let before = pool.snapshot();
    pool.report(other, &[token], Reason::None);
    assert_eq!(pool.snapshot(), before);
    assert!(
        stale(&mut pool, other)[0].1.contains("Leased"),
        "it is told who has it"
    );
    // The forger was acknowledged all the same, so that it forgets its reports, and the lease is still good.
    pool.finish(worker, &[token]);
    assert_eq!(pool.outcomes(client).len(), 1);
}

#[test]
fn a_repeated_report_settles_once_also_within_one_frame() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 2, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 2);
    let leases = tokens(&pool.leases(worker));
    pool.report(
        worker,
        &[leases[0], leases[0], leases[1], leases[0]],
        Reason::None,
    );
    assert_eq!(pool.recorded(worker), Some(4));
    assert_eq!(stale(&mut pool, worker).len(), 2);
    let expected: Vec<_> = [bag.first, bag.first.offset(1)]
        .map(|work| (work, Outcome::Succeeded, Reason::None))
        .into();
    assert_eq!(pool.outcomes(client), expected, "each outcome once");
    let before = pool.snapshot();
    pool.report(worker, &leases, Reason::ExitCode);
    assert_eq!(pool.snapshot(), before, "a late failure does not undo a success");
    assert!(stale(&mut pool, worker)[0].1.contains("Succeeded"));
}

#[test]
fn of_many_stale_reports_only_some_are_answered_one_by_one() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let forged = LeaseToken {
        work: WorkId(77),
        epoch: Epoch(1),
        attempt: Attempt(1),
        shard: Shard(0),
    };
    pool.report(worker, &[forged; 100], Reason::None);
    assert_eq!(pool.recorded(worker), Some(100));
    assert_eq!(stale(&mut pool, worker).len(), 4);
    assert_eq!(pool.scheduler.counters().stale_total, 100);
}

#[test]
fn reports_count_up_and_a_gap_or_a_repeat_closes_the_link() {
    for first in [0, 1, 3, u64::MAX] {
        let mut pool = Pool::new();
        let worker = pool.worker("ant", 2, 0);
        let client = pool.client("alice");
        pool.submit(client, null(), 2);
        let leases = tokens(&pool.leases(worker));
        pool.finish(worker, &leases[..1]);
        assert_eq!(pool.told(client).len(), 1);
        pool.report_from(worker, first, &leases[1..], Reason::None);
        pool.was_closed(worker, "count up");
        assert_eq!(pool.status(client).works_leased, 1, "its report was not taken");
    }
}

#[test]
fn a_worker_cannot_say_what_only_the_engine_can_know() {
    for reason in [
        Reason::WorkerLost,
        Reason::LeaseAbandoned,
        Reason::Quarantined,
        Reason::TimeToLive,
        Reason::ByUser,
        Reason::ByOperator,
        Reason::Stale,
    ] {
        let mut pool = Pool::new();
        let worker = pool.worker("ant", 1, 0);
        let client = pool.client("alice");
        let mut template = null();
        template.retry.attempts_max = 1;
        let bag = pool.submit(client, template, 1);
        let leases = tokens(&pool.leases(worker));
        pool.report(worker, &leases, reason);
        assert_eq!(pool.recorded(worker), Some(1));
        let expected = vec![(bag.first, Outcome::Failed, Reason::BadReport)];
        assert_eq!(pool.outcomes(client), expected, "{reason:?}");
    }
}

#[test]
fn settled_and_failed_attempts_of_one_frame_are_told_apart() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 3, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 3);
    let leases = tokens(&pool.leases(worker));
    pool.worker_says(worker, |out| {
        frame::push(out, kind::FINISHED, |out| {
            out.extend_from_slice(&1_u64.to_le_bytes());
            for (token, reason) in leases.iter().zip([Reason::None, Reason::ExitCode, Reason::None]) {
                Report {
                    token: *token,
                    reason,
                    exit_code: 0,
                    elapsed_us: 0,
                    result: b"r",
                }
                .put(out);
            }
        });
    });
    assert_eq!(pool.recorded(worker), Some(3));
    let told: Vec<WorkId> = pool.told(client).iter().map(|told| told.work).collect();
    assert_eq!(told, [bag.first, bag.first.offset(2)]);
    assert_eq!(pool.state(client, bag.first.offset(1)), WorkState::Queued);
}

#[test]
fn outcomes_of_one_frame_reach_the_followers_of_each_bag() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 6, 0);
    let alice = pool.client("alice");
    let bob = pool.client("bob");
    let hers = pool.submit(alice, null(), 3);
    let his = pool.submit(bob, null(), 3);
    let mut leases = tokens(&pool.leases(worker));
    leases.swap(1, 4);
    pool.finish(worker, &leases);
    let told = pool.told(alice);
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|told| told.bag == hers.bag && told.result == told.work.0.to_le_bytes())
    );
    let told = pool.told(bob);
    assert_eq!(told.len(), 3);
    assert!(
        told.iter()
            .all(|told| told.bag == his.bag && told.request == his.request)
    );
}

#[test]
fn a_full_frame_of_reports_makes_frames_of_outcomes_within_the_bound() {
    // An outcome is longer than its report, so outcomes of one full frame need more than one.
    let mut pool = Pool::new().unchecked();
    let worker = pool.worker("ant", 8_192, 0);
    let client = pool.client("alice");
    pool.submit(client, null(), 8_192);
    let leases = tokens(&pool.leases(worker));
    let result = vec![7; (frame::PAYLOAD_BYTES_MAX - 8) / 8_192 - 26];
    pool.worker_says(worker, |out| {
        frame::push(out, kind::FINISHED, |out| {
            out.extend_from_slice(&1_u64.to_le_bytes());
            for token in &leases {
                Report {
                    token: *token,
                    reason: Reason::None,
                    exit_code: 0,
                    elapsed_us: 0,
                    result: &result,
                }
                .put(out);
            }
        });
    });
    assert_eq!(pool.recorded(worker), Some(8_192));
    assert_eq!(pool.told(client).len(), 8_192);
}

#[test]
fn results_are_read_from_the_journal() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 2, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 3);
    let leases = tokens(&pool.leases(worker));
    pool.finish(worker, &leases);
    pool.ignore(client);
    match pool.query(client, Query::Work(bag.first)) {
        Reply::Work(detail) => {
            assert_eq!(detail.work.state, WorkState::Done(Outcome::Succeeded));
            assert_eq!(detail.result, bag.first.0.to_le_bytes());
            assert_eq!(detail.elapsed_us, 7);
        }
        other => panic!("{other:?}"),
    }
    match pool.query(
        client,
        Query::Results {
            bag: bag.bag,
            from_row: 0,
        },
    ) {
        Reply::ResultsEnd { next_row, open } => assert_eq!((next_row, open), (3, 1)),
        other => panic!("{other:?}"),
    }
    let told = pool.told(client);
    assert_eq!(
        told.iter().map(|told| told.work).collect::<Vec<_>>(),
        [bag.first, bag.first.offset(1)]
    );
    pool.query(
        client,
        Query::Results {
            bag: bag.bag,
            from_row: 1,
        },
    );
    assert_eq!(pool.told(client).len(), 1);
    let third = tokens(&pool.leases(worker));
    pool.started(worker, &third);
    match pool.query(client, Query::Work(third[0].work)) {
        Reply::Work(detail) => assert_eq!(detail.work.state, WorkState::Running),
        other => panic!("{other:?}"),
    }
    pool.advance(Millis(10));
}

#[test]
fn results_that_fill_more_than_one_answer_are_paged_without_gap_or_repeat() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 40, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 40);
    let leases = tokens(&pool.leases(worker));
    let result = vec![1; 60_000];
    for (index, chunk) in leases.chunks(10).enumerate() {
        pool.worker_says(worker, |out| {
            frame::push(out, kind::FINISHED, |out| {
                out.extend_from_slice(&(index as u64 * 10 + 1).to_le_bytes());
                for token in chunk {
                    Report {
                        token: *token,
                        reason: Reason::None,
                        exit_code: 0,
                        elapsed_us: 0,
                        result: &result,
                    }
                    .put(out);
                }
            });
        });
    }
    assert_eq!(pool.recorded(worker), Some(40));
    pool.told(client);
    let (mut from_row, mut works, mut answers) = (0, Vec::new(), 0);
    while from_row < 40 {
        match pool.query(
            client,
            Query::Results {
                bag: bag.bag,
                from_row,
            },
        ) {
            Reply::ResultsEnd { next_row, open } => {
                assert!(next_row > from_row && open == 0);
                from_row = next_row;
            }
            other => panic!("{other:?}"),
        }
        works.extend(pool.told(client).iter().map(|told| told.work));
        answers += 1;
    }
    assert!(answers > 1);
    assert_eq!(
        works,
        (0..40).map(|row| bag.first.offset(row)).collect::<Vec<_>>()
    );
}
