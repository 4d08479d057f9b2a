//! Stories about works: how they are started, ended, reported, returned and stopped.

use std::sync::Arc;

use crate::world::{Did, ELSEWHERE, NULL, PROCESS, World, token, welcome};
use wire_protocol::limits::{LEASES_PER_WORKER_MAX, RESULT_BYTES_MAX};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{Report, kind};
use worker_core::{Note, REPORT_BYTES_MAX, STARTED_AFTER};

fn finished(first: u64, works: &[u64]) -> Did {
    Did::Finished(first, works.iter().map(|w| (*w, Reason::None, 6)).collect())
}

#[test]
fn works_start_in_order_as_slots_become_free() {
    let mut world = World::joined(2, 2);
    world.assign(PROCESS, &[1, 2, 3, 4]);
    assert_eq!(world.acted(), [Did::Start(1), Did::Start(2)]);
    assert_eq!(*world.rows[&1], *b"row");
    world.ended(2);
    assert_eq!(world.acted(), [Did::Start(3)]);
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(4)]);
}

#[test]
fn reports_that_end_together_share_a_frame() {
    let mut world = World::joined(3, 0);
    world.assign(PROCESS, &[1, 2, 3]);
    world.acted();
    world.ended(3);
    world.ended(1);
    assert_eq!(world.acted(), [], "nothing is said before the flush");
    world.flush();
    assert_eq!(world.acted(), [finished(1, &[3, 1])]);
    world.flush();
    assert_eq!(world.acted(), [], "a report is said once");
    world.ended(2);
    world.flush();
    assert_eq!(world.acted(), [finished(3, &[2])]);
}

#[test]
fn a_shell_that_forgets_to_flush_gets_it_from_the_next_tick() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.ended(1);
    world.acted();
    assert!(world.agent.next_deadline() <= Some(world.now));
    world.tick();
    assert_eq!(world.acted(), [finished(1, &[1])]);
}

#[test]
fn reports_are_kept_until_they_are_recorded() {
    let mut world = World::joined(4, 0);
    world.assign(PROCESS, &[1, 2, 3]);
    for work in [1, 2, 3] {
        world.ended(work);
    }
    world.flush();
    world.recorded(2);
    assert_eq!(world.agent.status().unacknowledged, 1);
    world.recorded(1);
    assert_eq!(world.agent.status().unacknowledged, 1, "a repeat changes nothing");
    world.recorded(3);
    assert_eq!(world.agent.status().unacknowledged, 0);
}

#[test]
fn null_works_end_inside_the_core() {
    let mut world = World::joined(1, 0);
    world.assign(NULL, &[1, 2, 3, 4]);
    assert_eq!(world.acted(), []);
    world.flush();
    assert_eq!(
        world.acted(),
        [Did::Finished(1, (1..=4).map(|w| (w, Reason::None, 3)).collect())]
    );
    assert_eq!(world.agent.status().running, 0);
}

#[test]
fn null_works_wait_their_turn_behind_others() {
    let mut world = World::joined(1, 3);
    world.assign(PROCESS, &[1]);
    world.assign(NULL, &[2]);
    world.assign(PROCESS, &[3]);
    world.flush();
    assert_eq!(world.acted(), [Did::Start(1)]);
    world.ended(1);
    world.flush();
    assert_eq!(
        world.acted(),
        [
            Did::Start(3),
            Did::Finished(1, vec![(1, Reason::None, 6), (2, Reason::None, 3)])
        ]
    );
}

#[test]
fn works_of_an_executor_that_is_not_offered_fail_with_that_reason() {
    let mut world = World::joined(1, 0);
    world.assign(ELSEWHERE, &[1]);
    world.flush();
    assert_eq!(
        world.acted(),
        [Did::Finished(1, vec![(1, Reason::NoExecutor, 0)])]
    );
}

#[test]
fn works_beyond_the_credit_go_back() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2, 3, 4]);
    assert_eq!(
        world.did(),
        [
            Did::Start(1),
            Did::Note(Note::OverAssigned { works: 2 }),
            Did::Retracted(Reason::NoRoom, vec![3, 4])
        ]
    );
}

#[test]
fn a_frame_with_more_works_than_a_list_may_hold_goes_back_in_several() {
    let mut world = World::joined(1, 0);
    let works: Vec<u64> = (1..=20_001).collect();
    world.assign(PROCESS, &works);
    let acted = world.acted();
    assert_eq!(acted[0], Did::Start(1));
    let returned: Vec<u64> = acted[1..]
        .iter()
        .flat_map(|did| {
            let Did::Retracted(Reason::NoRoom, works) = did else {
                panic!("{did:?}");
            };
            assert!(works.len() <= LEASES_PER_WORKER_MAX);
            works.clone()
        })
        .collect();
    assert_eq!(returned, (2..=20_001).collect::<Vec<_>>());
}

#[test]
fn an_assignment_that_comes_twice_is_ignored_wherever_the_work_is() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.acted();
    world.assign(PROCESS, &[1, 2]);
    assert_eq!(world.acted(), [], "one runs, one waits");
    world.ended(1);
    world.ended(2);
    world.acted();
    world.assign(PROCESS, &[1, 2]);
    world.assign(NULL, &[1, 2]);
    world.flush();
    assert_eq!(world.acted(), [finished(1, &[1, 2])], "both are reported");
}

#[test]
fn an_end_that_comes_twice_or_of_nothing_is_ignored() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.acted();
    world.ended(1);
    world.ended(1);
    world.ended(77);
    world.flush();
    assert_eq!(world.acted(), [Did::Start(2), finished(1, &[1])]);
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), []);
}

#[test]
fn short_works_are_never_announced() {
    let mut world = World::joined(1, 1);
    world.assign(PROCESS, &[1, 2]);
    world.run_for(Millis(STARTED_AFTER.0 - 1));
    world.ended(1);
    world.flush();
    world.run_for(Millis(STARTED_AFTER.0 - 1));
    world.ended(2);
    world.flush();
    world.run_for(Millis(1_000));
    let announced = world.acted().iter().any(|did| matches!(did, Did::Started(_)));
    assert!(!announced);
}

#[test]
fn works_that_last_are_announced_once_and_together() {
    let mut world = World::joined(3, 0);
    for work in [1, 2, 3] {
        world.assign(PROCESS, &[work]);
        world.pass(Millis(10));
    }
    world.acted();
    world.run_for(Millis(1_000));
    assert_eq!(world.acted(), [Did::Started(vec![1]), Did::Started(vec![2, 3])]);
}

#[test]
fn retracted_works_are_those_that_have_not_started() {
    let mut world = World::joined(1, 3);
    world.assign(PROCESS, &[1, 2, 3, 4]);
    world.acted();
    world.retract(&[4, 1, 2, 99]);
    assert_eq!(
        world.acted(),
        [
            Did::Retracted(Reason::Retracted, vec![4, 2]),
            Did::Started(vec![1])
        ]
    );
    world.retract(&[1, 2]);
    assert_eq!(world.acted(), [], "a repeat has nothing to give");
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(3)]);
}

#[test]
fn cancelled_works_are_stopped_and_not_reported() {
    let mut world = World::joined(1, 2);
    world.assign(PROCESS, &[1, 2, 3]);
    world.acted();
    world.cancel(&[1, 2, 99]);
    assert_eq!(
        world.acted(),
        [Did::Kill(1, Reason::ByUser)],
        "its slot is not free yet"
    );
    world.cancel(&[1, 2]);
    assert_eq!(world.acted(), [], "a repeat stops nothing more");
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), [Did::Start(3)]);
}

#[test]
fn a_cancelled_work_no_longer_counts_against_the_credit() {
    let mut world = World::joined(1, 0);
    world.assign(PROCESS, &[1]);
    world.cancel(&[1]);
    world.assign(PROCESS, &[2]);
    assert_eq!(world.acted(), [Did::Start(1), Did::Kill(1, Reason::ByUser)]);
    world.ended(1);
    assert_eq!(world.acted(), [Did::Start(2)]);
}

#[test]
fn no_work_starts_while_too_many_result_bytes_are_unrecorded() {
    let result = vec![0; RESULT_BYTES_MAX];
    let works = (REPORT_BYTES_MAX / RESULT_BYTES_MAX + 10) as u64;
    let mut world = World::joined(1, 7_000);
    world.assign(PROCESS, &(1..=works).collect::<Vec<_>>());
    let mut ended = 0;
    while world.acted().contains(&Did::Start(ended + 1)) {
        ended += 1;
        world.ended_with(ended, &result);
    }
    assert_eq!(ended as usize, REPORT_BYTES_MAX / RESULT_BYTES_MAX);
    world.flush();
    world.acted();
    world.recorded(1);
    assert_eq!(world.acted(), [Did::Start(ended + 1)]);
}

#[test]
fn unrecorded_reports_never_exceed_what_a_join_can_present() {
    let mut world = World::joined(4, 8_000);
    let all = LEASES_PER_WORKER_MAX as u64;
    world.assign(NULL, &(1..=all + 500).collect::<Vec<_>>());
    assert_eq!(world.agent.status().unacknowledged, LEASES_PER_WORKER_MAX);
    assert_eq!(world.agent.status().waiting, 500);
    world.flush();
    world.recorded(100);
    assert_eq!(world.agent.status().unacknowledged, LEASES_PER_WORKER_MAX);
    assert_eq!(world.agent.status().waiting, 400);
}

#[test]
fn returned_works_carry_the_reason_of_the_request() {
    for reason in Reason::ALL {
        let mut world = World::joined(1, 1);
        world.assign(PROCESS, &[1, 2]);
        world.acted();
        world.tokens(kind::RETRACT, *reason, &[2]);
        assert_eq!(world.acted(), [Did::Retracted(*reason, vec![2])]);
    }
}

fn plain() -> Arc<WorkTemplate> {
    Arc::new(WorkTemplate::default())
}

/// A worker whose predecessor ran 1 and 2 and could not report 3.
fn resumed(slots: u32) -> World {
    let mut world = World::new(slots, 2);
    assert!(world.agent.resume(token(1), &plain()));
    assert_eq!(
        world.agent.resume(token(2), &plain()),
        slots > 1,
        "if there is a slot"
    );
    assert!(!world.agent.resume(token(1), &plain()), "it is known");
    let report = Report {
        token: token(3),
        reason: Reason::None,
        exit_code: 0,
        elapsed_us: 5,
        result: b"three",
    };
    assert!(world.agent.resume_report(&report));
    assert!(!world.agent.resume_report(&report), "it is known");
    world.agent.check();
    world
}

#[test]
fn what_an_earlier_process_left_is_presented_and_goes_on_as_if_it_were_ones_own() {
    let mut world = resumed(2);
    world.connect();
    let acted = world.acted();
    let [Did::Connect, Did::Join(join)] = &acted[..] else {
        panic!("{acted:?}");
    };
    assert_eq!(join.held, [token(1), token(2)]);
    assert_eq!(join.running, [token(1), token(2)]);
    assert_eq!(join.unacknowledged, [token(3)]);
    world.welcome(&welcome(&[1, 2, 3]));
    world.define_all();
    world.flush();
    assert_eq!(world.acted(), [Did::Finished(1, vec![(3, Reason::None, 5)])]);
    world.assign(PROCESS, &[1, 4]);
    assert_eq!(world.acted(), [], "1 runs, 4 waits for a slot");
    world.ended(1);
    world.flush();
    assert_eq!(
        world.acted(),
        [Did::Start(4), Did::Finished(2, vec![(1, Reason::None, 6)])]
    );
    assert!(world.agent.has_report(token(1)) && !world.agent.has_report(token(2)));
    world.recorded(2);
    assert!(!world.agent.has_report(token(1)));
}

#[test]
fn what_the_engine_does_not_adopt_of_an_earlier_process_is_stopped_and_forgotten() {
    let mut world = resumed(1);
    world.connect();
    world.acted();
    world.welcome(&welcome(&[]));
    world.flush();
    assert_eq!(world.acted(), [Did::Kill(1, Reason::Stale)]);
    world.ended(1);
    world.flush();
    assert_eq!(world.acted(), [], "nothing of it is reported");
    assert_eq!(world.agent.status().unacknowledged, 0);
}

#[test]
fn what_has_ended_before_the_engine_answers_is_presented_as_ended() {
    let mut world = resumed(1);
    world.ended(1);
    world.connect();
    let acted = world.acted();
    let Some(Did::Join(join)) = acted.last() else {
        panic!("{acted:?}");
    };
    assert_eq!(
        (&join.held[..], &join.unacknowledged[..]),
        (&[][..], &[token(3), token(1)][..])
    );
}

#[test]
#[should_panic(expected = "before anything happens")]
fn nothing_is_resumed_once_something_has_happened() {
    let mut world = World::new(1, 0);
    world.tick();
    let _ = world.agent.resume(token(1), &plain());
}
