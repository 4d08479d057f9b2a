//! What a work of the process executor costs beside the start of its command.
//!
//! `cargo run --release -p worker-agent --example process_overhead -- [WORKS] [SLOTS] [ROUNDS]`. All ways run `true`, in
//! turns, so that the ratio says something also where the machine is noisy; `alone` is `fork`, `exec`, two pipes and `wait`,
//! and a work with a limit of memory goes by way of the shim.
//! Works per second of processor time, that of the commands included, are what one core can do. Defaults: 4000 works, 8
//! slots, 3 rounds.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::task::JoinSet;
use wire_protocol::ids::{Attempt as AttemptId, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Bytes;
use worker_agent::executor::{
    Allow, Attempt, Executor, Folder, Gpus, Kill, Printed, Process, ProcessConfig, Sandbox, Seccomp,
};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let mut number = |default| numbers.next().map_or(default, |number| number.expect("a number"));
    let (works, slots, rounds) = (number(4_000), number(8), number(3));
    let folder = tempfile::tempdir().expect("a folder");
    let none = Allow::new([], "".as_ref()).expect("an empty list");
    let process = Arc::new(Process::new(ProcessConfig {
        folder: Arc::new(Folder::open(folder.path()).expect("it is ours")),
        allow: Allow::new(["true"], "/usr/bin:/bin".as_ref()).expect("a list"),
        shim: shim(),
        sandbox: Sandbox::is_supported().then(Sandbox::default),
        seccomp: Seccomp::new(none).ok(),
        gpus: Gpus::new(Vec::new()),
        files: None,
    }));
    let template = Arc::new(WorkTemplate {
        app: "process".to_owned(),
        command: vec!["true".to_owned()],
        ..WorkTemplate::default()
    });
    let mut limited = (*template).clone();
    limited.limits.memory = Bytes::from_mib(1_024);
    let limited = Arc::new(limited);
    for round in 1..=rounds {
        let alone = each(works, slots, |_| alone()).await;
        let executor = each(works, slots, |work| {
            by_the_executor(Arc::clone(&process), Arc::clone(&template), work)
        })
        .await;
        let by_the_shim = each(works, slots, |work| {
            by_the_executor(Arc::clone(&process), Arc::clone(&limited), work)
        })
        .await;
        println!(
            "round {round}: {works} works on {slots} slots: alone {alone}; the executor {executor}; \
             with a limit of memory {by_the_shim}"
        );
    }
}

struct Took {
    works: u64,
    time: Duration,
    processor: Duration,
}

impl std::fmt::Display for Took {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let per_second = |time: Duration| self.works as f64 / time.as_secs_f64();
        let (rate, core) = (per_second(self.time), per_second(self.processor));
        let micros = self.processor.as_micros() as u64 / self.works;
        write!(f, "{rate:.0}/s, {core:.0}/s a core ({micros} us of it each)")
    }
}

/// Runs so many, so many at once.
async fn each<F: Future<Output = ()> + Send + 'static>(
    works: u64,
    slots: u64,
    run: impl Fn(u64) -> F,
) -> Took {
    let (began, used) = (Instant::now(), processor());
    let mut running = JoinSet::new();
    for work in 0..works {
        if running.len() as u64 == slots {
            running.join_next().await.expect("some run").expect("no panic");
        }
        running.spawn(run(work));
    }
    while let Some(done) = running.join_next().await {
        done.expect("no panic");
    }
    Took {
        works,
        time: began.elapsed(),
        processor: processor() - used,
    }
}

/// What this process and its children have used, to ten milliseconds.
fn processor() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("always there");
    let (_, rest) = stat.rsplit_once(") ").expect("a name in parentheses");
    // Fields 14 to 17, counted from behind the name, in hundredths of a second (proc_pid_stat(5)).
    let ticks = rest.split(' ').skip(11).take(4);
    let ticks = ticks.map(|field| field.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

async fn alone() {
    let child = Command::new("true")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = child.expect("every system has it").wait_with_output().await;
    assert!(output.expect("our child").status.success());
}

async fn by_the_executor(process: Arc<Process>, template: Arc<WorkTemplate>, work: u64) {
    let (_killer, kill) = Kill::pair();
    let attempt = Attempt {
        token: LeaseToken {
            work: WorkId(work),
            epoch: Epoch(1),
            attempt: AttemptId(1),
            shard: Shard(0),
        },
        template,
        row: Box::default(),
        printed: Printed::default(),
    };
    let ended = process.run(attempt, kill).await;
    assert_eq!(ended.reason, Reason::None, "{ended:?}");
}

/// The `pool-worker` of the same build.
fn shim() -> std::path::PathBuf {
    let here = std::env::current_exe().expect("this program");
    let shim = here
        .parent()
        .and_then(Path::parent)
        .expect("a folder")
        .join("pool-worker");
    assert!(shim.exists(), "{} is built first", shim.display());
    shim
}
