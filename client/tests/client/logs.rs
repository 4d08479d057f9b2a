//! Following what a work prints.

use client::{ClientError, LogEvent, LogOptions};
use wire_protocol::ids::{Attempt, WorkId, WorkerId};
use wire_protocol::log::LogStream::{self, Stderr, Stdout};
use wire_protocol::outcome::Outcome;
use wire_protocol::view::WorkState;

use crate::engine::{Engine, Printed, Script};

const DONE: WorkState = WorkState::Done(Outcome::Succeeded);

fn output(attempt: u16, stream: LogStream, missing: u64, text: &str) -> LogEvent {
    LogEvent::Output {
        attempt: Attempt(attempt),
        worker: WorkerId(1),
        stream,
        missing,
        bytes: text.as_bytes().to_vec(),
    }
}

/// All that is heard, and how far both streams of this attempt have been.
async fn heard(plays: Vec<Vec<Printed>>, attempt: u16) -> (Vec<LogEvent>, [u64; 2]) {
    let engine = Engine::start(Script {
        logs: plays.into(),
        ..Script::default()
    });
    let client = engine.client().await;
    let mut logs = client.logs(WorkId(1), LogOptions::default());
    let mut events = Vec::new();
    while let Some(event) = logs.next().await.unwrap() {
        events.push(event);
    }
    assert_eq!(logs.next().await.unwrap(), None, "also when it is asked again");
    let attempt = Attempt(attempt);
    (
        events,
        [Stdout, Stderr].map(|stream| logs.position(attempt, stream)),
    )
}

#[tokio::test]
async fn pieces_come_once_with_what_is_missing_before_them_and_after_the_last() {
    let (events, positions) = heard(
        vec![vec![
            Printed::Piece(1, Stdout, 0, "one "),
            Printed::Piece(1, Stderr, 0, "oh"),
            // Somebody else began to follow.
            Printed::Piece(1, Stdout, 0, "one two "),
            Printed::Piece(1, Stdout, 4, "two "),
            Printed::Piece(1, Stdout, 20, "late"),
            Printed::Piece(1, Stdout, 30, ""),
            Printed::Ended(1, DONE),
        ]],
        1,
    )
    .await;
    assert_eq!(
        events,
        [
            output(1, Stdout, 0, "one "),
            output(1, Stderr, 0, "oh"),
            output(1, Stdout, 0, "two "),
            output(1, Stdout, 12, "late"),
            output(1, Stdout, 6, ""),
            LogEvent::Ended {
                attempt: Attempt(1),
                state: DONE
            },
        ]
    );
    assert_eq!(positions, [30, 2]);
}

#[tokio::test]
async fn following_goes_on_over_a_lost_link_and_from_attempt_to_attempt() {
    let (events, positions) = heard(
        vec![
            vec![Printed::Piece(1, Stdout, 0, "begun"), Printed::Lost],
            vec![
                Printed::Piece(1, Stdout, 0, "begun, and gone on"),
                Printed::AttemptEnded(1),
                Printed::Piece(2, Stdout, 0, "again"),
                Printed::Ended(2, DONE),
            ],
        ],
        2,
    )
    .await;
    // What was on its way when the link was lost may have come or not.
    let (first, rest) = events.split_at(events.len() - 3);
    let mut text = Vec::new();
    for event in first {
        let LogEvent::Output {
            missing: 0, bytes, ..
        } = event
        else {
            panic!("{event:?}");
        };
        text.extend_from_slice(bytes);
    }
    assert_eq!(text, b"begun, and gone on");
    assert_eq!(
        rest,
        [
            LogEvent::AttemptEnded { attempt: Attempt(1) },
            output(2, Stdout, 0, "again"),
            LogEvent::Ended {
                attempt: Attempt(2),
                state: DONE
            },
        ]
    );
    assert_eq!(positions, [5, 0]);
}

#[tokio::test]
async fn an_engine_with_too_many_followers_says_so_and_whoever_goes_tells() {
    let engine = Engine::start(Script {
        logs: vec![vec![Printed::Busy], vec![Printed::Piece(1, Stdout, 0, "x")]].into(),
        ..Script::default()
    });
    let client = engine.client().await;
    let mut logs = client.logs(WorkId(1), LogOptions::default());
    let busy = logs.next().await.unwrap_err();
    assert!(matches!(busy, ClientError::Busy { .. }), "{busy}");
    let asked_again = logs.next().await.unwrap();
    assert_eq!(asked_again, Some(output(1, Stdout, 0, "x")));
    drop(logs);
    client.status().await.unwrap();
    let seen = engine.script().seen.clone();
    assert_eq!(
        seen.iter().filter(|seen| **seen == "stop-logs").count(),
        1,
        "what the engine refused needs no end: {seen:?}"
    );
}
