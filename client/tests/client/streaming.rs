//! Works one by one, whatever happens on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use client::{ClientError, Stream, StreamOptions, StreamOutcomes, StreamSummary};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use wire_protocol::ids::WorkId;
use wire_protocol::outcome::Output;
use wire_protocol::template::{WorkTemplate, row};
use wire_protocol::units::Millis;

use crate::engine::{Engine, Fault, Script, first_of};
use crate::submitting::{rows, template};

/// A test that has failed should end.
const PATIENCE: Duration = Duration::from_secs(30);

fn small(bag_rows: u32) -> StreamOptions {
    StreamOptions {
        bag_rows,
        ..StreamOptions::default()
    }
}

async fn open(engine: &Engine, options: StreamOptions) -> (Stream, StreamOutcomes) {
    engine.client().await.stream(template(), options).unwrap()
}

/// What came for each work, to the end of the stream.
fn collect(mut outcomes: StreamOutcomes) -> JoinHandle<BTreeMap<WorkId, Vec<Vec<u8>>>> {
    tokio::spawn(async move {
        let mut came: BTreeMap<WorkId, Vec<Vec<u8>>> = BTreeMap::new();
        loop {
            let received = outcomes.recv(|item| {
                let result = Output::parse(item.result).unwrap().stdout.to_vec();
                came.entry(item.work).or_default().push(result);
            });
            if timeout(PATIENCE, received).await.expect("outcomes come").unwrap() == 0 {
                assert_eq!(outcomes.missing(), 0);
                return came;
            }
        }
    })
}

/// Pushes rows in order, some at a time, and awaits their tickets; the work of each row.
async fn push_all(stream: &Stream, count: u32) -> BTreeMap<WorkId, Vec<u8>> {
    let mut works = BTreeMap::new();
    let mut tickets = Vec::new();
    for row in rows(count) {
        tickets.push((stream.push(&row).await.unwrap(), row));
        if tickets.len() == 50 {
            for (ticket, row) in tickets.drain(..) {
                works.insert(timeout(PATIENCE, ticket).await.expect("durable").unwrap(), row);
            }
        }
    }
    for (ticket, row) in tickets {
        works.insert(timeout(PATIENCE, ticket).await.expect("durable").unwrap(), row);
    }
    works
}

/// Streams this many works; every ticket's work must be there, and have one outcome, that of its row.
async fn stream_works(engine: &Engine, count: u32, options: StreamOptions) {
    let (stream, outcomes) = open(engine, options).await;
    let collected = collect(outcomes);
    let works = push_all(&stream, count).await;
    let summary = timeout(PATIENCE, stream.finish()).await.expect("an end").unwrap();
    assert_eq!(
        summary,
        StreamSummary {
            works: u64::from(count)
        }
    );
    assert_eq!(works.len(), count as usize, "each ticket has a work of its own");
    let came = collected.await.unwrap();
    assert!(came.values().all(|results| results.len() == 1), "each once");
    let came: BTreeMap<WorkId, Vec<u8>> = came
        .into_iter()
        .map(|(work, results)| (work, results.concat()))
        .collect();
    assert!(came == works, "each work has the outcome of its row");
    let script = engine.script();
    let taken: Vec<Vec<u8>> = script.bags.iter().flat_map(|bag| bag.rows.clone()).collect();
    assert_eq!(taken, rows(count), "no row is lost, none comes twice");
    let bag_rows = options.bag_rows as usize;
    assert_eq!(script.bags.len(), (count as usize).div_ceil(bag_rows));
    for bag in &script.bags {
        assert_eq!(
            bag.sealed,
            bag.rows.len() < bag_rows,
            "what is not full is sealed"
        );
    }
}

#[tokio::test]
async fn works_are_acknowledged_one_by_one() {
    let engine = Engine::start(Script::default());
    let (stream, outcomes) = open(&engine, StreamOptions::default()).await;
    drop(outcomes);
    for nth in 0..20_u32 {
        assert_eq!(stream.submit("row").await.unwrap(), first_of(0).offset(nth));
    }
    assert_eq!(stream.finish().await.unwrap().works, 20);
    assert!(engine.script().bags[0].sealed);
}

#[tokio::test]
async fn the_watermark_rises_to_all_that_was_taken_and_ends_there() {
    let engine = Engine::start(Script::default());
    let (stream, outcomes) = open(&engine, small(7)).await;
    drop(outcomes);
    let watch = async {
        let mut known = 0;
        while let Some(upto) = stream.durable_beyond(known).await.unwrap() {
            assert!(upto > known, "{upto} after {known}");
            known = upto;
        }
        known
    };
    let push = async {
        for row in rows(30) {
            stream.send(&row).await.unwrap();
        }
        stream.finish().await.unwrap().works
    };
    let (known, works) = timeout(PATIENCE, async { tokio::join!(watch, push) })
        .await
        .expect("it ends");
    assert_eq!((known, works), (30, 30));
}

#[tokio::test]
async fn a_further_connection_stands_on_its_own() {
    let engine = Engine::start(Script::default());
    let first = engine.client().await;
    let (one, _outcomes) = first.stream(template(), StreamOptions::default()).unwrap();
    let second = first.another().await.unwrap();
    let (other, _others) = second.stream(template(), StreamOptions::default()).unwrap();
    let work = one.submit("row").await.unwrap();
    drop((one, first));
    let other_work = timeout(PATIENCE, other.submit("row"))
        .await
        .expect("its link lives")
        .unwrap();
    assert_ne!(work, other_work, "each has a bag of its own");
}

#[tokio::test]
async fn many_tasks_share_a_stream() {
    let engine = Engine::start(Script::default());
    let (stream, outcomes) = open(&engine, small(100)).await;
    let collected = collect(outcomes);
    let submit = |task: u32| {
        let stream = stream.clone();
        tokio::spawn(async move {
            let mut works = Vec::new();
            for nth in 0..40 {
                let row = format!("{task}.{nth}").into_bytes();
                works.push((stream.submit(&row).await.unwrap(), row));
            }
            works
        })
    };
    let tasks: Vec<_> = (0..64).map(submit).collect();
    let mut works = BTreeMap::new();
    for task in tasks {
        works.extend(task.await.unwrap());
    }
    assert_eq!(
        (works.len(), stream.finish().await.unwrap().works),
        (2_560, 2_560)
    );
    let came = collected.await.unwrap();
    assert_eq!(came.len(), 2_560);
    assert!(
        came.iter()
            .all(|(work, results)| results == &[works[work].clone()])
    );
}

#[tokio::test]
async fn rows_that_gather_go_out_together() {
    let engine = Engine::start(Script::default());
    stream_works(&engine, 10_000, StreamOptions::default()).await;
    let script = engine.script();
    let chunks = script.seen.iter().filter(|word| **word == "rows").count();
    assert!(
        chunks <= 10_000 / 20,
        "{chunks} chunks for 10 000 rows, 50 at a time"
    );
}

#[tokio::test]
async fn a_full_bag_is_followed_by_the_next() {
    let engine = Engine::start(Script::default());
    stream_works(&engine, 1_000, small(64)).await;
    let engine = Engine::start(Script::default());
    stream_works(&engine, 128, small(64)).await;
    let engine = Engine::start(Script::default());
    stream_works(&engine, 30, small(1)).await;
}

#[tokio::test]
async fn a_stream_goes_on_after_the_link_is_lost() {
    use Fault::{LoseAfter, LoseBefore, None};
    let engine = Engine::start(Script {
        open_faults: vec![LoseBefore, LoseAfter, None, None, LoseAfter],
        rows_faults: vec![
            None, LoseAfter, None, LoseBefore, LoseAfter, None, None, None, LoseAfter,
        ],
        command_faults: vec![LoseBefore],
        lose_after_outcomes: Some(30),
        ..Script::default()
    });
    stream_works(&engine, 2_000, small(300)).await;
}

#[tokio::test]
async fn a_busy_engine_is_waited_for_by_streams_too() {
    use Fault::{Busy, LoseAfter, None};
    let engine = Engine::start(Script {
        open_faults: vec![Busy, Busy, None, Busy, None, Busy],
        rows_faults: vec![None, Busy, Busy, LoseAfter, None, Busy],
        ..Script::default()
    });
    stream_works(&engine, 2_000, small(300)).await;
}

#[tokio::test]
async fn outcomes_of_a_stream_that_were_left_out_are_asked_for() {
    let engine = Engine::start(Script {
        lag_after: Some(20),
        ..Script::default()
    });
    stream_works(&engine, 2_000, small(300)).await;
    assert!(engine.script().seen.contains(&"follow"));
}

#[tokio::test]
async fn a_stream_without_works_opens_nothing() {
    let engine = Engine::start(Script::default());
    let (stream, mut outcomes) = open(&engine, StreamOptions::default()).await;
    assert_eq!(stream.finish().await.unwrap(), StreamSummary { works: 0 });
    assert_eq!(outcomes.recv(|_| panic!("nothing to tell")).await.unwrap(), 0);
    assert_eq!(engine.script().seen, [""; 0]);
    let late = stream.push("late").await.unwrap_err();
    assert!(matches!(late, ClientError::StreamFinished), "{late}");
    assert_eq!(
        stream.finish().await.unwrap(),
        StreamSummary { works: 0 },
        "twice is once"
    );
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_sealed_behind_its_last_row() {
    let engine = Engine::start(Script::default());
    let (stream, outcomes) = open(&engine, StreamOptions::default()).await;
    let other = stream.clone();
    for row in rows(100) {
        stream.send(row).await.unwrap();
    }
    drop(stream);
    other.send("last").await.unwrap();
    drop(other);
    assert_eq!(
        collect(outcomes).await.unwrap().len(),
        101,
        "the outcomes come to their end"
    );
    let sealed = async {
        while !engine.script().bags[0].sealed {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, sealed).await.expect("sealed");
}

#[test]
fn a_stream_may_be_dropped_after_its_runtime() {
    let engine = Engine::start(Script::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    engine.script().hold = true;
    let (stream, outcomes, ticket) = runtime.block_on(async {
        let (stream, outcomes) = open(&engine, StreamOptions::default()).await;
        stream.submit("durable").await.unwrap();
        // No answer comes any more.
        engine.script().rows_faults = vec![Fault::Busy; 1_000];
        let ticket = stream.push("on its way").await.unwrap();
        (stream, outcomes, ticket)
    });
    drop(runtime);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ended = runtime.block_on(ticket).unwrap_err();
    assert!(matches!(ended, ClientError::SubmissionEnded), "{ended}");
    let ended = runtime.block_on(stream.finish()).unwrap_err();
    assert!(matches!(ended, ClientError::SubmissionEnded), "{ended}");
    drop(runtime);
    drop((stream, outcomes));
}

#[tokio::test]
async fn callers_wait_when_too_much_is_under_way() {
    let engine = Engine::start(Script {
        open_faults: vec![Fault::Busy; 3],
        ..Script::default()
    });
    let options = StreamOptions {
        unacknowledged_rows_max: 2,
        unacknowledged_bytes_max: 100,
        ..StreamOptions::default()
    };
    let (stream, outcomes) = open(&engine, options).await;
    drop(outcomes);
    let first = stream.push("1").await.unwrap();
    let second = stream.push("2").await.unwrap();
    let third = tokio::spawn({
        let stream = stream.clone();
        async move { stream.push([b'x'; 10_000]).await }
    });
    assert_eq!(second.row(), 1);
    let third = timeout(PATIENCE, third)
        .await
        .expect("room comes")
        .unwrap()
        .unwrap();
    // There was room for the third only when one before it was durable.
    let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::pin!(first).poll(cx).is_ready());
    assert_eq!(third.await.unwrap(), first_of(0).offset(2));
    for nth in 3..100_u32 {
        // Each is longer than what may be under way, and goes out alone.
        assert_eq!(stream.submit([b'y'; 200]).await.unwrap(), first_of(0).offset(nth));
    }
    stream.finish().await.unwrap();
}

#[tokio::test]
async fn a_row_that_cannot_be_is_refused_to_its_caller_alone() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let two = WorkTemplate {
        columns: vec!["a".into(), "b".into()],
        ..template()
    };
    let (stream, outcomes) = client.stream(two, StreamOptions::default()).unwrap();
    drop(outcomes);
    let long = stream.push(vec![0; (64 << 10) + 1]).await.unwrap_err();
    assert_eq!(
        long.to_string(),
        "row: is 65537 bytes long; at most 65536 are allowed"
    );
    let short = stream.submit("only one").await.unwrap_err();
    assert_eq!(short.to_string(), "row: does not hold exactly 2 values");
    let work = stream.submit(row::join(&[b"1", b"2"])).await.unwrap();
    assert_eq!(work, first_of(0));
    assert_eq!(stream.finish().await.unwrap().works, 1);
}

#[tokio::test]
async fn a_refused_template_ends_the_stream_for_all() {
    let engine = Engine::start(Script::default());
    let client = engine.client().await;
    let refused = WorkTemplate {
        label: "refused".into(),
        ..template()
    };
    let (stream, mut outcomes) = client.stream(refused, StreamOptions::default()).unwrap();
    let error = stream.submit("1").await.unwrap_err();
    assert_eq!(error.to_string(), "label: is not liked here");
    for error in [
        stream.push("2").await.unwrap_err(),
        stream.finish().await.unwrap_err(),
        outcomes.recv(|_| panic!("nothing to tell")).await.unwrap_err(),
    ] {
        assert_eq!(error.to_string(), "label: is not liked here");
    }
    let wrong = [
        (
            WorkTemplate {
                time_to_live: Some(Millis(5)),
                ..template()
            },
            small(1),
            "time_to_live",
        ),
        (template(), small(0), "bag_rows"),
        (template(), small(1_000_001), "bag_rows"),
        (
            WorkTemplate {
                app: String::new(),
                ..template()
            },
            small(1),
            "app",
        ),
    ];
    for (template, options, field) in wrong {
        match client.stream(template, options) {
            Err(ClientError::Rejected(invalid)) => assert_eq!(invalid.field, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn rows_are_found_again_by_their_works() {
    let engine = Engine::start(Script::default());
    let (stream, mut outcomes) = open(&engine, small(10)).await;
    let mut expected = BTreeMap::new();
    for row in rows(35) {
        expected.insert(stream.send(&row).await.unwrap(), row);
    }
    stream.finish().await.unwrap();
    let mut came = Vec::new();
    while outcomes
        .recv(|item| came.push((item.work, Output::parse(item.result).unwrap().stdout.to_vec())))
        .await
        .unwrap()
        > 0
    {}
    assert_eq!(came.len(), 35);
    for (work, result) in came {
        let row = outcomes.row_of(work).expect("of this stream");
        assert_eq!(expected[&row], result);
    }
    assert_eq!(outcomes.row_of(WorkId(0)), None);
    assert_eq!(outcomes.row_of(first_of(0).offset(10)), None);
    assert_eq!(outcomes.row_of(first_of(3).offset(5)), None);
}
