//! A worker is told why it has nothing to do.

use engine_core::{Event, Pressure};
use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{LinkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{Idle, IdleCause};

use crate::kit::{Pool, WorkerHeard, null, tokens};

fn why(pool: &mut Pool, link: LinkId) -> Option<Idle> {
    pool.ignore(link);
    pool.asks_why_idle(link);
    match &pool.worker_heard(link)[..] {
        [] => None,
        [WorkerHeard::Idle(idle)] => Some(idle.clone()),
        other => panic!("{other:?}"),
    }
}

fn cause(pool: &mut Pool, link: LinkId) -> IdleCause {
    pool.advance(Millis::from_secs(2));
    why(pool, link).expect("it has not asked for two seconds").cause
}

#[test]
fn a_worker_is_told_what_an_operator_is_told() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    assert_eq!(cause(&mut pool, ant), IdleCause::NothingQueued);
    let mut gpu = null();
    gpu.requirements.gpus = 1;
    pool.submit(operator, gpu, 3);
    pool.advance(Millis::from_secs(2));
    let idle = why(&mut pool, ant).expect("an answer");
    assert_eq!(idle.cause, IdleCause::NoMatch);
    assert!(idle.explanation.facts[0].contains("3 works of class"), "{idle:?}");
    let told = pool.explain(operator, Query::ExplainWorker(WorkerId(1)));
    assert!(told.starts_with(&idle.explanation.summary), "{told}");
    pool.holding(ant, Some("the disk is full"));
    assert_eq!(cause(&mut pool, ant), IdleCause::Holding);
    pool.holding(ant, None);
    pool.command(operator, Command::Cordon(WorkerId(1)));
    assert_eq!(cause(&mut pool, ant), IdleCause::Cordoned);
    pool.command(operator, Command::Uncordon(WorkerId(1)));
    pool.handle(Event::JournalPressure(Pressure::DiskFull));
    assert_eq!(cause(&mut pool, ant), IdleCause::Paused);
    pool.handle(Event::JournalPressure(Pressure::None));
    pool.draining(ant);
    assert_eq!(cause(&mut pool, ant), IdleCause::Draining);
}

#[test]
fn works_that_wait_for_a_backoff_are_a_reason_of_their_own() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let ant = pool.worker("ant", 1, 0);
    let mut template = null();
    template.retry.backoff_min = Millis::from_secs(60);
    template.retry.backoff_max = Millis::from_secs(60);
    pool.submit(operator, template, 1);
    let held = tokens(&pool.leases(ant));
    pool.report(ant, &held, Reason::ExitCode);
    assert_eq!(cause(&mut pool, ant), IdleCause::Backoff);
    pool.told(operator);
}

#[test]
fn whoever_asks_again_at_once_is_not_answered() {
    let mut pool = Pool::new();
    let ant = pool.worker("ant", 1, 0);
    assert!(why(&mut pool, ant).is_some());
    assert_eq!(why(&mut pool, ant), None);
    pool.advance(Millis(1_999));
    assert_eq!(why(&mut pool, ant), None);
    pool.advance(Millis(1));
    assert!(why(&mut pool, ant).is_some());
    pool.close(ant);
    let ant = pool.worker("ant", 1, 0);
    assert!(why(&mut pool, ant).is_some(), "each connection asks for itself");
}
