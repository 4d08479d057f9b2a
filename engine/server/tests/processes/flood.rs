//! Guessing as fast as the machine shakes hands: what it costs, and whom it disturbs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::protocol::{client_link, worker_link};
use client::{Client, SubmitOptions};

use crate::hostile::{CREDENTIALS, FRAME, garbage};
use crate::kit::{self, Engine, NullWorkers, Peer, all_outcomes, null};

/// Submits and gets all outcomes; how long it took.
async fn round(client: &Client) -> Duration {
    let began = Instant::now();
    let (upload, follow) = client
        .submit_followed(null(), 50, SubmitOptions::default())
        .expect("valid");
    let (accepted, outcomes) = tokio::join!(upload.send(vec![""; 50]), all_outcomes(follow));
    accepted.expect("accepted");
    assert_eq!(outcomes.len(), 50);
    began.elapsed()
}

/// Wrong passwords that are tried, and how many at a time: as fast as this machine shakes hands.
const GUESSES: usize = 3_000;
const AT_ONCE: usize = 32;
/// What all that may cost in memory, for good.
const GROWTH_BYTES_MAX: u64 = 16 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn thousands_of_wrong_passwords_and_malformed_frames_cost_no_memory_and_hold_up_nobody() {
    let engine = Engine::start(&[]);
    let _workers = NullWorkers::start(&engine, &["null"], 4);
    let client = engine.client().await;
    round(&client).await;
    guess(&engine, 200).await;
    let before = engine.memory();
    let began = Instant::now();
    let served = async {
        let mut rounds = Vec::new();
        while rounds.len() < 5 || began.elapsed() < Duration::from_secs(3) {
            rounds.push(round(&client).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        rounds
    };
    let ((), rounds) = tokio::join!(guess(&engine, GUESSES), served);
    let elapsed = began.elapsed();
    let growth = engine.memory().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "memory has grown by {growth} bytes");
    assert!(rounds.iter().max() < Some(&Duration::from_secs(10)), "{rounds:?}");
    println!(
        "{:.0} wrong passwords a second for {:.1} s; others were served in {:?} at most; memory grew by {} KiB",
        GUESSES as f64 / elapsed.as_secs_f64(),
        elapsed.as_secs_f64(),
        rounds.iter().max().expect("some"),
        growth >> 10,
    );
    // Whoever knows the password gets in again, also from the address of the guesser.
    engine.client().await.status().await.expect("an answer");
}

/// Tries wrong passwords at both doors, with a malformed greeting now and then.
async fn guess(engine: &Engine, count: usize) {
    let connectors = [
        Arc::new(kit::connector(engine, client_link::ALPN)),
        Arc::new(kit::connector(engine, worker_link::ALPN)),
    ];
    let addresses = [engine.ready().clients, engine.ready().workers];
    let mut guesses = tokio::task::JoinSet::new();
    for number in 0..count {
        if guesses.len() >= AT_ONCE {
            guesses.join_next().await.expect("some run").expect("no panic");
        }
        let door = number % 2;
        let (connector, address) = (Arc::clone(&connectors[door]), addresses[door]);
        guesses.spawn(async move {
            let mut peer = Peer::connect_by(&connector, address)
                .await
                .expect("anybody may connect");
            let greeting = match (number % 10, door) {
                (0, _) => garbage(number as u64),
                (_, 0) => kit::login("guess"),
                _ => kit::join("guesser", "guess", &[]),
            };
            peer.say(&greeting).await;
            let heard = peer.hear_the_end().await;
            let expected = if number % 10 == 0 { FRAME } else { CREDENTIALS };
            assert_eq!(heard.code, expected, "{heard:?}");
        });
    }
    while let Some(guess) = guesses.join_next().await {
        guess.expect("no panic");
    }
}
