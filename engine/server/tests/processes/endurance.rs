//! A worker that is left alone for long, while everything around it breaks again and again: the engine restarts, the
//! network is cut and gives it another address, the disk fills.
//!
//! The test run has a few short rounds. `POOL_ENDURANCE_MINUTES=60` makes it as many of a minute each, and the table that
//! it prints is what one wants to look at then:
//!
//! ```sh
//! POOL_ENDURANCE_MINUTES=60 cargo test -p engine-server --test processes endurance -- --nocapture
//! ```

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use client::protocol::ids::WorkerId;
use client::protocol::outcome::Outcome as Ended;
use client::protocol::template::WorkTemplate;
use client::protocol::view::WorkerView;
use testkit::disk::SmallDisk;
use testkit::docker::DockerEngine;
use testkit::net::Namespace;

use crate::kit::{Engine, History, Load, Worker, command, until};

/// What a worker takes of its machine.
#[derive(Clone, Copy)]
struct Sample {
    at: Duration,
    memory_kib: u64,
    files: usize,
    threads: usize,
    containers: usize,
    finished: u64,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            memory_kib,
            files,
            threads,
            containers,
            finished,
        } = self;
        write!(
            f,
            "{:>6} s {memory_kib:>8} KiB {files:>4} files {threads:>3} threads {containers:>3} containers {finished:>8} works",
            at.as_secs()
        )
    }
}

impl Sample {
    fn take(began: Instant, worker: &Worker, docker: &DockerEngine, finished: u64) -> Self {
        let process = Path::new("/proc").join(worker.pid().to_string());
        let status = fs::read_to_string(process.join("status")).expect("it runs");
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
        let count = |of: &str| fs::read_dir(process.join(of)).expect("it runs").count();
        Self {
            at: began.elapsed(),
            memory_kib: memory.expect("a number"),
            files: count("fd"),
            threads: count("task"),
            containers: docker.containers().len(),
            finished,
        }
    }
}

/// How many rounds, and how long each takes.
fn rounds() -> (u32, Duration) {
    let minutes = std::env::var("POOL_ENDURANCE_MINUTES").ok();
    match minutes.and_then(|minutes| minutes.parse().ok()) {
        Some(minutes) => (minutes, Duration::from_secs(60)),
        None => (6, Duration::from_secs(5)),
    }
}

fn free_port(on: &Namespace) -> SocketAddr {
    let socket = UdpSocket::bind((on.outside(), 0)).expect("a port is free");
    socket.local_addr().expect("it is bound")
}

/// Commands and containers that take a moment and say their row.
fn works() -> [WorkTemplate; 2] {
    let mut command = command(&["/bin/sh", "-c", "sleep 0.1; echo did {x}"]);
    // How often a lease is lost is the network's business here.
    command.retry.attempts_max = 1_000;
    let mut container = command.clone();
    container.app = "docker:box:test".to_owned();
    container.command[0] = "sh".to_owned();
    [command, container]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_outlasts_its_engines_its_network_and_its_disk() {
    let (rounds, round) = rounds();
    let mut random = fastrand::Rng::with_seed(7);
    let mut network = Namespace::new();
    let at = free_port(&network);
    let lease = (round / 6).as_millis().to_string();
    let mut engine = Engine::start(&[
        "--listen-workers",
        &at.to_string(),
        "--lease-timeout-ms",
        &lease,
        "--rejoin-window-ms",
        "1000",
    ]);
    let disk = SmallDisk::new(240);
    let (data, folder) = (disk.path().join("docker"), disk.path().join("worker"));
    fs::create_dir(&data).expect("a folder");
    let docker = DockerEngine::start_in(&data);
    let variables: [(&str, OsString); 6] = [
        ("POOL_DOCKER_ALLOW", "*".into()),
        ("POOL_DOCKER_SOCKET", docker.socket().into()),
        ("POOL_DOCKER_KEEP", "box".into()),
        ("POOL_DISK_FULL", "92".into()),
        ("POOL_DISK_LOOK_S", "1".into()),
        ("POOL_WORKER_FOLDER", folder.clone().into()),
    ];
    let variables: Vec<(&str, &OsStr)> = variables
        .iter()
        .map(|(name, value)| (*name, value.as_os_str()))
        .collect();
    let mut worker = Worker::start_inside(&network, at, &engine, "steady", 4, &variables);
    let client = engine.client().await;
    let mut loads = Vec::new();
    for template in works() {
        let pause = Duration::from_millis(500);
        loads.push(Load::start(
            engine.client().await,
            template,
            5,
            pause,
            random.u64(..),
        ));
    }

    let view = async || -> Option<WorkerView> { client.worker(WorkerId(1)).await.ok() };
    let began = Instant::now();
    let mut samples = Vec::new();
    for number in 0..rounds {
        let before = random.u32(10..40);
        tokio::time::sleep(round * before / 100).await;
        tokio::task::block_in_place(|| network.cut());
        // Some of these are longer than a lease.
        let cut = random.u32(5..25);
        tokio::time::sleep(round * cut / 100).await;
        tokio::task::block_in_place(|| {
            network.mend();
            if number % 3 == 1 {
                network.move_inside();
            }
        });
        if number == rounds / 2 {
            disk.fill("filler", 95);
            until("the worker says that its disk is full", async || {
                view().await.is_some_and(|view| view.problem.is_some())
            })
            .await;
        }
        tokio::time::sleep(round.saturating_sub(round * (before + cut) / 100)).await;
        if number == rounds / 2 {
            fs::remove_file(disk.path().join("filler")).expect("it is there");
        }
        let finished = view().await.map_or(0, |view| view.finished);
        let sample = Sample::take(began, &worker, &docker, finished);
        println!("{sample}");
        samples.push(sample);
        tokio::task::block_in_place(|| {
            if number % 2 == 0 {
                engine.kill();
            } else {
                assert!(engine.stop().success());
            }
            engine.start_again();
        });
    }

    let mut promised = 0;
    for load in loads {
        for promise in load.finish().await {
            let outcomes = promise.outcomes.await.expect("outcomes come");
            assert_eq!(outcomes.len(), promise.rows.len());
            promised += promise.rows.len();
            for (outcome, row) in outcomes.iter().zip(&promise.rows) {
                assert_eq!(outcome.outcome, Ended::Succeeded, "{outcome:?}");
                assert_eq!(outcome.stdout(), format!("did {row}\n"));
            }
        }
    }
    let status = client.status().await.expect("an answer");
    assert_eq!(
        (status.works_queued, status.works_leased, status.works_done),
        (0, 0, promised as u64)
    );
    until("nothing of a work is left", async || {
        let works = fs::read_dir(folder.join("works")).map_or(0, Iterator::count);
        works == 0 && docker.containers().is_empty()
    })
    .await;
    let last = Sample::take(began, &worker, &docker, promised as u64);
    println!("{last}");
    assert_eq!(worker.has_ended(), None, "it is the same process still");
    does_not_grow(&samples, &last);
    assert!(engine.stop().success());
    // It checks on its way that no work was given twice at once, and none has a second outcome.
    let history = History::read(&engine.data());
    assert_eq!(history.works.len(), promised);
    let attempts: usize = history.works.values().map(|life| life.leases.len()).sum();
    println!("{promised} works, {attempts} leases, {} engines", history.epoch.0);
}

/// What it takes at the end is what it took when it had warmed up, but for a little.
fn does_not_grow(samples: &[Sample], last: &Sample) {
    let warm = &samples[samples.len() / 6..samples.len() / 2];
    let most = |of: fn(&Sample) -> u64| warm.iter().map(of).max().expect("there are rounds");
    let memory = most(|sample| sample.memory_kib);
    assert!(
        last.memory_kib <= memory + memory / 4 + (8 << 10),
        "{} KiB, and {memory} KiB in the first half",
        last.memory_kib
    );
    let files = most(|sample| sample.files as u64);
    assert!(
        last.files as u64 <= files,
        "{} files, and {files} in the first half",
        last.files
    );
    let threads = most(|sample| sample.threads as u64);
    assert!(
        last.threads as u64 <= threads + 2,
        "{} threads, and {threads} in the first half",
        last.threads
    );
}
