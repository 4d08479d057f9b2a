//! Works that are submitted one by one to an engine that dies again and again.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use client::protocol::ids::WorkId;
use client::protocol::outcome::Outcome;
use client::protocol::template::WorkTemplate;
use client::{ClientError, Stream, StreamOptions, StreamOutcomes};

use crate::kit::{Engine, History, NullWorkers, PATIENCE, null};

const KILLS: u32 = 6;
/// Works that must become durable between two kills, so that each kill is in the middle.
const WORKS_BETWEEN: u64 = 4_000;
const TASKS: u32 = 4;
/// A few bags come and go between two kills.
const BAG_ROWS: u32 = 1_500;

/// Pushes rows of its own, some at a time, until it is told to stop; the row of each work.
async fn push(
    stream: Stream,
    task: u32,
    stop: Arc<AtomicBool>,
    durable: Arc<AtomicU64>,
) -> HashMap<WorkId, Vec<u8>> {
    let mut works = HashMap::new();
    let mut nth = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut tickets = Vec::new();
        // One waits for each of its works, the others for many together.
        for _ in 0..if task == 0 { 1 } else { 50 } {
            let row = format!("{task}.{nth}").into_bytes();
            tickets.push((stream.push(&row).await.expect("taken"), row));
            nth += 1;
        }
        for (ticket, row) in tickets {
            let before = works.insert(ticket.await.expect("durable"), row);
            assert_eq!(before, None, "each ticket has a work of its own");
            durable.fetch_add(1, Ordering::Relaxed);
        }
    }
    works
}

async fn collect(mut outcomes: StreamOutcomes) -> Result<BTreeMap<WorkId, u32>, ClientError> {
    let mut times = BTreeMap::new();
    let count = |work: WorkId, times: &mut BTreeMap<WorkId, u32>| *times.entry(work).or_default() += 1;
    while outcomes
        .recv(|item| {
            assert_eq!(item.outcome, Outcome::Succeeded);
            count(item.work, &mut times);
        })
        .await?
        > 0
    {}
    assert_eq!(outcomes.missing(), 0, "all results are in the journal");
    Ok(times)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ticket_of_a_stream_has_one_outcome_although_the_engine_dies_again_and_again() {
    let mut engine = Engine::start(&["--lease-timeout-ms", "1500", "--rejoin-window-ms", "400"]);
    let _workers = NullWorkers::start(&engine, &["null"], 64);
    let client = engine.client().await;
    let template = WorkTemplate {
        app: "null:64".to_owned(),
        columns: vec!["x".to_owned()],
        ..null()
    };
    let options = StreamOptions {
        bag_rows: BAG_ROWS,
        ..StreamOptions::default()
    };
    let (stream, outcomes) = client.stream(template, options).expect("a good template");
    let (stop, durable) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let outcomes = tokio::spawn(collect(outcomes));
    let pushing: Vec<_> = (0..TASKS)
        .map(|task| {
            tokio::spawn(push(
                stream.clone(),
                task,
                Arc::clone(&stop),
                Arc::clone(&durable),
            ))
        })
        .collect();
    for kill in 1..=KILLS {
        let enough = async {
            while durable.load(Ordering::Relaxed) < u64::from(kill) * WORKS_BETWEEN {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, enough)
            .await
            .expect("works become durable");
        tokio::task::block_in_place(|| {
            engine.kill();
            engine.start_again();
        });
    }
    stop.store(true, Ordering::Relaxed);
    let mut works = HashMap::new();
    for task in pushing {
        works.extend(
            tokio::time::timeout(PATIENCE, task)
                .await
                .expect("an end")
                .expect("no panic"),
        );
    }
    let summary = stream.finish().await.expect("all is durable");
    assert_eq!(summary.works, works.len() as u64);
    let times = tokio::time::timeout(PATIENCE, outcomes)
        .await
        .expect("an end")
        .expect("no panic");
    let times = times.expect("outcomes come");
    assert_eq!(
        times.len(),
        works.len(),
        "what has a ticket has an outcome, and nothing else"
    );
    assert!(
        times
            .iter()
            .all(|(work, times)| *times == 1 && works.contains_key(work))
    );

    let bags = client.bags(Default::default(), 1_000).await.expect("an answer");
    let in_bags: u64 = bags.iter().map(|bag| u64::from(bag.rows_total)).sum();
    assert_eq!(in_bags, summary.works, "no bag waits for rows that will not come");
    assert!(engine.stop().success());
    let history = History::read(&engine.data());
    assert_eq!(history.works.len(), works.len(), "nothing was taken twice");
    for (work, life) in &history.works {
        assert_eq!(&life.row, &works[work]);
        assert!(life.end.is_some(), "{work} has no outcome");
    }
}
