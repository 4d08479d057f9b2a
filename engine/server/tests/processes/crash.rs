//! Engines and workers that die without a word.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use client::SubmitOptions;
use client::protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use client::protocol::outcome::Outcome as Ended;
use client::protocol::template::WorkTemplate;

use crate::kit::{
    Audit, Engine, History, Load, NullWorkers, Outcome, Promise, Worker, all_outcomes, command, null, until,
};

/// What commands write about themselves: a line when one starts and one when it ends, with the lease it runs under.
struct Diary(PathBuf);

impl Diary {
    fn of(engine: &Engine) -> Self {
        Self(engine.folder().join("diary"))
    }

    /// A command that writes what it does, takes `seconds`, and prints its row. A work's folder has its lease's name.
    fn command(&self, seconds: &str) -> WorkTemplate {
        let script = format!(
            "echo \"start $HOME\" >>{0}; sleep {seconds}; echo \"end $HOME\" >>{0}; echo \"did {{x}}\"",
            self.0.display()
        );
        command(&["/bin/sh", "-c", &script])
    }

    /// The leases under which commands have started, in that order.
    fn started(&self) -> Vec<LeaseToken> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.strip_prefix("start "))
            .map(token_of)
            .collect()
    }
}

/// The lease that a work's folder is named by: `w7-a1-e3-s0`.
fn token_of(folder: &str) -> LeaseToken {
    let name = folder.rsplit('/').next().expect("a name");
    let numbers: Vec<u64> = name
        .split('-')
        .map(|part| part[1..].parse().expect("a number"))
        .collect();
    let [work, attempt, epoch, shard] = numbers[..] else {
        panic!("{name} names no lease");
    };
    LeaseToken {
        work: WorkId(work),
        attempt: Attempt(attempt as u16),
        epoch: Epoch(epoch as u32),
        shard: Shard(shard as u16),
    }
}

/// No lease was run twice, and of those under which a work ran the journal knows each as given after the one before
/// was over ([`History`] has checked that), or not at all: a crash has forgotten it, and it was never told.
fn check_runs(started: &[LeaseToken], history: &History) {
    let mut seen = BTreeSet::new();
    for token in started {
        assert!(seen.insert(*token), "{token} was run twice");
        let life = &history.works[&token.work];
        let recorded = life.leases.iter().any(|(lease, _)| lease == token);
        // Whatever the last engine gave is recorded: it was not killed.
        assert!(
            recorded || token.epoch < history.epoch,
            "{token} ran, but {life:?}"
        );
    }
    for (work, life) in &history.works {
        let Some((Ended::Succeeded, attempt, result)) = &life.end else {
            continue;
        };
        let (deciding, _) = life
            .leases
            .iter()
            .find(|(lease, _)| lease.attempt.0 == *attempt)
            .expect("it was given");
        let is_command = result.windows(4).any(|word| word == b"did ");
        assert!(
            !is_command || seen.contains(deciding),
            "{work}: {deciding} counts, but was never run"
        );
    }
}

const KILLS: u32 = 50;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_under_load_lose_nothing_and_repeat_nothing() {
    let seed = std::env::var("POOL_TEST_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(seed_of_the_day);
    println!("POOL_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut engine = Engine::start(&["--lease-timeout-ms", "1500", "--rejoin-window-ms", "400"]);
    let audit = Audit::start(&engine.ready().feed);
    let diary = Diary::of(&engine);
    let _workers: Vec<Worker> = ["one", "two", "three"]
        .map(|name| Worker::start(&engine, name, 2, "/bin/sh"))
        .into();
    let _null = NullWorkers::start(&engine, &["null"], 16);
    let client = engine.client().await;
    let commands = Load::start(
        client.clone(),
        diary.command("0.05"),
        10,
        Duration::ZERO,
        random.u64(..),
    );
    let nulls = Load::start(
        engine.client().await,
        null_with_result(),
        200,
        Duration::ZERO,
        random.u64(..),
    );

    let began = Instant::now();
    for _ in 0..KILLS {
        // Now and then it does not even get ready.
        let early = random.u32(..5) == 0;
        let pause = Duration::from_millis(if early {
            random.u64(..150)
        } else {
            random.u64(300..1100)
        });
        tokio::time::sleep(pause).await;
        tokio::task::block_in_place(|| {
            engine.kill();
            if random.u32(..5) == 0 {
                engine.spawn();
                std::thread::sleep(Duration::from_millis(random.u64(..60)));
                engine.kill();
            }
            engine.start_again();
        });
    }
    let killing = began.elapsed();

    let (commands, nulls) = tokio::join!(commands.finish(), nulls.finish());
    let mut promised = 0;
    let mut heard: HashMap<WorkId, Outcome> = HashMap::new();
    for promise in commands
        .into_iter()
        .map(|promise| (true, promise))
        .chain(nulls.into_iter().map(|promise| (false, promise)))
    {
        let (
            is_command,
            Promise {
                rows,
                submission,
                outcomes,
            },
        ) = promise;
        let outcomes = outcomes.await.expect("outcomes come");
        let asked = all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;
        assert_eq!(outcomes, asked, "what was told is what is recorded");
        assert_eq!(outcomes.len(), rows.len());
        promised += rows.len();
        for (outcome, row) in outcomes.into_iter().zip(&rows) {
            assert_eq!(outcome.outcome, Ended::Succeeded, "{outcome:?}");
            if is_command {
                assert_eq!(outcome.stdout(), format!("did {row}\n"));
            }
            heard.insert(outcome.work, outcome);
        }
    }
    let finished = began.elapsed();
    let status = client.status().await.expect("an answer");
    assert_eq!(
        (status.works_queued, status.works_leased),
        (0, 0),
        "nothing is left over"
    );
    assert!(engine.stop().success());

    let history = History::read(&engine.data());
    assert_eq!(history.works.len(), promised, "every accepted row is there once");
    for (work, life) in &history.works {
        let told = &heard[work];
        let (outcome, attempt, result) = life.end.as_ref().expect("everything reaches an outcome");
        assert_eq!(
            (*outcome, *attempt, result),
            (told.outcome, told.attempt, &told.result)
        );
        assert!(life.row.is_empty() || !life.leases.is_empty());
    }
    let started = diary.started();
    check_runs(&started, &history);
    let fed = audit.finish();
    assert!(fed.len() <= history.records.len());
    for (fed, kept) in fed.iter().zip(&history.records) {
        assert_eq!(
            fed, kept,
            "the feed tells what the journal keeps, and nothing else"
        );
    }
    let stats = &history.report;
    println!(
        "{KILLS} kills in {:.1} s, all done after {:.1} s: {promised} works, {} commands run for {} of them, {} records \
         ({} fed) in {} segments",
        killing.as_secs_f64(),
        finished.as_secs_f64(),
        started.len(),
        started
            .iter()
            .map(|token| token.work)
            .collect::<BTreeSet<_>>()
            .len(),
        history.records.len(),
        fed.len(),
        stats.segments.len(),
    );
    assert!(
        stats.segments.len() > 1 && !stats.snapshots.is_empty(),
        "roll-overs and snapshots were part of it"
    );
}

/// Results that fill segments.
fn null_with_result() -> WorkTemplate {
    WorkTemplate {
        app: "null:500".to_owned(),
        columns: vec!["x".to_owned()],
        ..null()
    }
}

/// Another one for every run.
fn seed_of_the_day() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_rests_is_back_long_before_its_next_sign_of_life() {
    // Its heartbeat is half a minute, QUIC's sign of life 20 s.
    let mut engine = Engine::start(&["--lease-timeout-ms", "120000"]);
    let _worker = Worker::start(&engine, "resting", 1, "/bin/true");
    let client = engine.client().await;
    let is_there = async || {
        client
            .status()
            .await
            .is_ok_and(|status| status.workers_connected == 1)
    };
    until("the worker joins", is_there).await;
    tokio::task::block_in_place(|| {
        engine.kill();
        engine.start_again();
    });
    let ready = Instant::now();
    until("the worker is back", is_there).await;
    assert!(ready.elapsed() < Duration::from_secs(10), "{:?}", ready.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_runs_while_the_engine_is_killed_finishes_and_counts() {
    let mut engine = Engine::start(&["--lease-timeout-ms", "2000"]);
    let diary = Diary::of(&engine);
    let _worker = Worker::start(&engine, "steady", 1, "/bin/sh");
    let client = engine.client().await;
    let submission = client
        .submit(diary.command("2"), ["it"], SubmitOptions::default())
        .await
        .expect("accepted");
    until("it starts", async || diary.started().len() == 1).await;
    tokio::task::block_in_place(|| {
        engine.kill();
        std::thread::sleep(Duration::from_millis(500));
        engine.start_again();
    });
    let detail = client.wait_work(submission.first).await.expect("it ends");
    assert_eq!(detail.work.attempt.0, 1, "its result counts");
    let outcomes = all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;
    assert_eq!(
        (outcomes[0].outcome, outcomes[0].stdout()),
        (Ended::Succeeded, "did it\n".to_owned())
    );
    assert_eq!(diary.started().len(), 1, "it ran once");
    engine.stop();
    let history = History::read(&engine.data());
    assert_eq!(history.works[&submission.first].leases.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn works_of_a_killed_worker_run_again_elsewhere_and_leave_no_process_behind() {
    let engine = Engine::start(&["--lease-timeout-ms", "1000"]);
    let diary = Diary::of(&engine);
    let mut first = Worker::start(&engine, "first", 2, "/bin/sh");
    let client = engine.client().await;
    // What it sleeps is found among the processes of the machine.
    let seconds = format!("7.{}", std::process::id());
    let mut template = diary.command(&seconds);
    template.columns.clear();
    template.command[2] = template.command[2].replace("did {x}", "done");
    let submission = client
        .submit(template, ["", ""], SubmitOptions::default())
        .await
        .expect("accepted");
    until("both run", async || {
        diary.started().len() == 2 && sleepers(&seconds) == 2
    })
    .await;
    first.kill();
    until("the commands die with their worker", async || {
        sleepers(&seconds) == 0
    })
    .await;
    let second = Worker::start(&engine, "second", 2, "/bin/sh");
    let outcomes = all_outcomes(client.follow(submission.bag).await.expect("the bag is there")).await;
    assert_eq!(outcomes.len(), 2);
    for outcome in outcomes {
        assert_eq!(
            (outcome.outcome, outcome.attempt, outcome.stdout()),
            (Ended::Succeeded, 2, "done\n".to_owned())
        );
    }
    drop(second);
}

/// Processes that sleep for this long.
fn sleepers(seconds: &str) -> usize {
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let commands = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    commands
        .filter(|command| *command == format!("sleep\0{seconds}\0").into_bytes())
        .count()
}
