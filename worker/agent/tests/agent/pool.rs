//! An agent inside the test, and an engine that the test plays.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use wire_protocol::log::{LogStream, LogWish};
use wire_protocol::outcome::{Output, Reason};
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::RefusedCode;
use worker_agent::executor::{
    Allow, Attempt, Ended, Executor, Folder, Kill, Process, ProcessConfig, Running, Sleep,
};
use worker_agent::{AgentConfig, AgentError, Exit, Settings, Trust};

use crate::engine::{Engine, Said, token};

struct Pool {
    folder: tempfile::TempDir,
    engine: Engine,
}

impl Pool {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let engine = Engine::start(&folder.path().join("certs"), 0, 1);
        Self { folder, engine }
    }

    fn config(&self, slots: u32, prefill: u32) -> AgentConfig {
        let path = std::env::var_os("PATH").expect("tests have a PATH");
        let process = Process::new(ProcessConfig {
            folder: Arc::new(Folder::open(&self.folder.path().join("worker")).expect("it is free")),
            allow: Allow::new(["sh"], &path).expect("every system has it"),
            shim: PathBuf::from(env!("CARGO_BIN_EXE_pool-worker")),
            sandbox: None,
            seccomp: None,
            files: None,
            gpus: worker_agent::executor::Gpus::new(Vec::new()),
        });
        AgentConfig {
            engine: self.engine.address.to_string(),
            server_name: "localhost".to_owned(),
            connector: worker_agent::connector(Trust::Ca(self.engine.ca.clone())).expect("a CA"),
            certified: None,
            wallet: None,
            chain: None,
            settings: Settings {
                login: "vworker".to_owned(),
                password: "secret".to_owned(),
                identity: None,
                uid: "uid".to_owned(),
                name: "test".to_owned(),
                version: "0".to_owned(),
                offer: Offer {
                    executors: vec!["null".to_owned()],
                    slots,
                    prefill,
                    ..Offer::default()
                },
                warm: Vec::new(),
            },
            executors: vec![Arc::new(Sleep), Arc::new(process)],
            clerk: None,
            folder: None,
            drain_within: None,
            disk: None,
        }
    }

    /// The engine is killed, and another takes its place.
    fn restart_engine(self) -> Self {
        let Self { folder, engine } = self;
        let port = engine.address.port();
        engine.vanish();
        let engine = Engine::start(&folder.path().join("certs"), port, 2);
        Self { folder, engine }
    }

    fn flag(&self) -> PathBuf {
        self.folder.path().join("flag")
    }
}

/// An agent on its own thread.
struct Worker {
    thread: JoinHandle<Result<Exit, AgentError>>,
    shutdown: oneshot::Sender<()>,
}

impl Worker {
    fn start(config: AgentConfig) -> Self {
        let (shutdown, asked) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime
                .expect("a runtime")
                .block_on(worker_agent::run(config, async {
                    // A test that drops its end leaves the worker alone.
                    if asked.await.is_err() {
                        std::future::pending().await
                    }
                }))
        });
        Self { thread, shutdown }
    }

    fn drain(self) -> Exit {
        self.shutdown.send(()).expect("it runs");
        self.thread
            .join()
            .expect("no panic")
            .expect("a good configuration")
    }
}

/// Prints `done` once the file is there.
pub(crate) fn waits_for(flag: &Path) -> WorkTemplate {
    let script = format!(
        "while [ ! -e '{}' ]; do sleep 0.02; done; printf done",
        flag.display()
    );
    WorkTemplate {
        command: vec!["sh".to_owned(), "-c".to_owned(), script],
        ..WorkTemplate::default()
    }
}

fn app(app: &str) -> WorkTemplate {
    WorkTemplate {
        app: app.to_owned(),
        ..WorkTemplate::default()
    }
}

pub(crate) fn done() -> Vec<u8> {
    let mut result = Vec::new();
    let output = Output {
        stdout: b"done",
        ..Output::default()
    };
    output.encode(&mut result);
    result
}

#[test]
fn a_worker_joins_runs_what_it_is_given_and_leaves_when_it_is_recorded() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(2, 8));
    let join = pool.engine.join();
    assert_eq!(
        (join.login.as_str(), join.password.as_str()),
        ("vworker", "secret")
    );
    assert_eq!(join.offer.executors, ["null", "sleep", "process"]);
    pool.engine.welcome(&[]);
    pool.engine.define(1, app("null:2"));
    pool.engine.define(2, app("sleep:1"));
    pool.engine.define(3, waits_for(&pool.flag()));
    pool.engine.assign(1, &[1, 2]);
    assert_eq!(
        pool.engine.finished(),
        (
            1,
            vec![(1, Reason::None, vec![0, 0]), (2, Reason::None, vec![0, 0])]
        )
    );
    pool.engine.assign(2, &[3]);
    assert_eq!(pool.engine.finished(), (3, vec![(3, Reason::None, vec![])]));
    pool.engine.assign(3, &[4]);
    assert_eq!(
        pool.engine.next(),
        Said::Started(vec![4]),
        "it lasts, so it is announced"
    );
    fs::write(pool.flag(), "").expect("own folder");
    assert_eq!(pool.engine.finished(), (4, vec![(4, Reason::None, done())]));
    pool.engine.recorded(4);
    assert_eq!(worker.drain(), Exit::Drained);
    assert_eq!(pool.engine.next(), Said::Draining(None));
    assert_eq!(pool.engine.next(), Said::Closed);
}

#[test]
fn a_running_work_survives_a_restart_of_the_engine() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(1, 1));
    pool.engine.join();
    pool.engine.welcome(&[]);
    pool.engine.define(1, waits_for(&pool.flag()));
    pool.engine.define(2, app("null"));
    pool.engine.assign(2, &[1]);
    pool.engine.finished();
    pool.engine.assign(1, &[2, 3]);
    assert_eq!(pool.engine.next(), Said::Started(vec![2]));
    let pool = pool.restart_engine();
    let join = pool.engine.join();
    assert_eq!(join.held, [token(3), token(2)]);
    assert_eq!(join.running, [token(2)]);
    assert_eq!(join.unacknowledged, [token(1)]);
    pool.engine.welcome(&[1, 2]);
    assert_eq!(pool.engine.finished(), (1, vec![(1, Reason::None, vec![])]));
    fs::write(pool.flag(), "").expect("own folder");
    assert_eq!(pool.engine.finished(), (2, vec![(2, Reason::None, done())]));
    pool.engine.recorded(2);
    assert_eq!(worker.drain(), Exit::Drained);
}

#[test]
fn a_worker_waits_for_an_engine_that_is_not_there_yet() {
    let pool = Pool::new();
    let config = pool.config(1, 1);
    let port = pool.engine.address.port();
    let Pool { folder, engine } = pool;
    engine.vanish();
    let worker = Worker::start(config);
    std::thread::yield_now();
    let engine = Engine::start(&folder.path().join("certs"), port, 1);
    engine.join();
    engine.welcome(&[]);
    assert_eq!(worker.drain(), Exit::Drained);
}

#[test]
fn a_worker_that_drains_returns_what_waits_and_finishes_what_runs() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(1, 4));
    pool.engine.join();
    pool.engine.welcome(&[]);
    pool.engine.define(1, waits_for(&pool.flag()));
    pool.engine.assign(1, &[1, 2, 3]);
    assert_eq!(pool.engine.next(), Said::Started(vec![1]));
    worker.shutdown.send(()).expect("it runs");
    assert_eq!(pool.engine.next(), Said::Draining(None));
    assert_eq!(
        pool.engine.next(),
        Said::Retracted(Reason::WorkerDraining, vec![2, 3])
    );
    fs::write(pool.flag(), "").expect("own folder");
    assert_eq!(pool.engine.finished(), (1, vec![(1, Reason::None, done())]));
    assert!(!worker.thread.is_finished(), "it is not recorded yet");
    pool.engine.recorded(1);
    assert_eq!(
        worker.thread.join().expect("no panic").expect("good"),
        Exit::Drained
    );
}

#[test]
fn refused_credentials_come_back_with_the_engines_words() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(1, 1));
    pool.engine.join();
    pool.engine.refuse(RefusedCode::Credentials, "no such account");
    let exit = worker
        .thread
        .join()
        .expect("no panic")
        .expect("a good configuration");
    let reason = "no such account".to_owned();
    assert_eq!(exit, Exit::CredentialsRefused { reason });
}

#[test]
fn the_engine_is_answered_while_commands_print_without_end() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(3, 20));
    pool.engine.join();
    pool.engine.welcome(&[]);
    let mut template = waits_for(&pool.flag());
    template.command[2] = format!("yes & {}", template.command[2]);
    pool.engine.define(1, template);
    pool.engine.define(2, app("null"));
    pool.engine.assign(1, &[1, 2]);
    assert_eq!(pool.engine.next(), Said::Started(vec![1, 2]));
    for work in 10..20 {
        pool.engine.assign(2, &[work]);
        let (_, reports) = pool.engine.finished();
        assert_eq!(reports, [(work, Reason::None, vec![])]);
    }
    fs::write(pool.flag(), "").expect("own folder");
    let (first, reports) = pool.engine.finished();
    assert_eq!(first, 11);
    let (work, reason, result) = &reports[0];
    assert!([1, 2].contains(work) && *reason == Reason::None);
    assert!(Output::parse(result).is_ok_and(|output| output.stdout_cut));
    pool.engine.recorded(first);
    drop(worker);
}

/// What no executor should do: it keeps the worker's thread to itself, until the test lets go.
struct Blocking {
    begun: mpsc::Sender<()>,
    let_go: Mutex<mpsc::Receiver<()>>,
}

impl Executor for Blocking {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn run(self: Arc<Self>, _attempt: Attempt, _kill: Kill) -> Running {
        Box::pin(async move {
            self.begun.send(()).expect("the test waits for it");
            let let_go = self.let_go.lock().expect("one at a time");
            let_go.recv().expect("the test lets go");
            Ended {
                reason: Reason::None,
                exit_code: 0,
                elapsed: Duration::ZERO,
                result: Vec::new(),
            }
        })
    }
}

#[test]
fn the_engine_hears_of_a_worker_whose_thread_is_blocked() {
    let pool = Pool::new();
    let mut config = pool.config(1, 1);
    let (begun, has_begun) = mpsc::channel();
    let (release, let_go) = mpsc::channel();
    let let_go = Mutex::new(let_go);
    config.executors.push(Arc::new(Blocking { begun, let_go }));
    let worker = Worker::start(config);
    pool.engine.join();
    pool.engine.welcome(&[]);
    pool.engine.define(1, app("blocking"));
    pool.engine.assign(1, &[1]);
    has_begun.recv().expect("it begins");
    let (began, before) = (Instant::now(), pool.engine.pings());
    let pings = || pool.engine.pings() - before;
    while pings() < 6 {
        assert!(began.elapsed() < Duration::from_secs(40), "{} pings", pings());
        std::thread::sleep(Duration::from_millis(10));
    }
    // One every 250 ms, a quarter more than the heartbeat, and one that was on its way; however slow this machine is.
    let (pings, took) = (u128::from(pings()), began.elapsed());
    assert!(pings <= took.as_millis() / 200 + 2, "{pings} pings in {took:?}");
    release.send(()).expect("it waits");
    assert_eq!(pool.engine.finished(), (1, vec![(1, Reason::None, vec![])]));
    pool.engine.recorded(1);
    assert_eq!(worker.drain(), Exit::Drained);
}

#[test]
fn what_runs_at_the_deadline_is_stopped_and_given_back_and_the_worker_leaves() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(1, 1));
    pool.engine.join();
    pool.engine.welcome(&[]);
    pool.engine.define(1, waits_for(&pool.flag()));
    pool.engine.assign(1, &[1]);
    assert_eq!(pool.engine.next(), Said::Started(vec![1]));
    let within = Some(Millis(300));
    pool.engine.drain(within);
    assert_eq!(pool.engine.next(), Said::Draining(within));
    assert_eq!(
        pool.engine.next(),
        Said::Retracted(Reason::WorkerDraining, vec![1])
    );
    assert_eq!(
        worker.thread.join().expect("no panic").expect("good"),
        Exit::Drained
    );
}

/// What is said of a stream, in one piece; pieces come in order and without gaps.
fn printed(pool: &Pool, stream: LogStream, upto: usize) -> String {
    let mut text = Vec::new();
    while text.len() < upto {
        match pool.engine.next() {
            Said::Log(1, of, offset, bytes) if of == stream => {
                assert_eq!(offset as usize, text.len());
                text.extend_from_slice(&bytes);
            }
            Said::Log(..) | Said::LogTold(_) | Said::Started(_) => {}
            other => panic!("{other:?}"),
        }
    }
    String::from_utf8(text).expect("text")
}

#[test]
fn what_a_command_prints_can_be_followed_from_its_beginning_to_its_end() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(1, 1));
    pool.engine.join();
    pool.engine.welcome(&[]);
    let mut template = waits_for(&pool.flag());
    template.command[2] = format!("echo early; {}; echo >&2 bad", template.command[2]);
    pool.engine.define(1, template);
    pool.engine.assign(1, &[1]);
    assert_eq!(pool.engine.next(), Said::Started(vec![1]));
    pool.engine.follow_log(1, LogWish::Follow);
    assert_eq!(printed(&pool, LogStream::Stdout, 6), "early\n");
    assert_eq!(pool.engine.next(), Said::LogTold(vec![1]));
    fs::write(pool.flag(), "").expect("own folder");
    let (mut said, mut finished) = (Vec::new(), None);
    while finished.is_none() {
        match pool.engine.next() {
            Said::Log(work, stream, offset, bytes) => said.push((work, stream, offset, bytes)),
            Said::Finished(first, reports) => finished = Some((first, reports)),
            other => panic!("{other:?}"),
        }
    }
    said.sort();
    assert_eq!(
        said,
        [
            (1, LogStream::Stdout, 6, b"done".to_vec()),
            (1, LogStream::Stdout, 10, Vec::new()),
            (1, LogStream::Stderr, 0, b"bad\n".to_vec()),
            (1, LogStream::Stderr, 4, Vec::new()),
        ],
        "all of it, and how long it is, before the report"
    );
    pool.engine.recorded(1);
    assert_eq!(worker.drain(), Exit::Drained);
}

#[test]
fn whoever_follows_a_flood_gets_a_share_of_it_and_sees_what_is_missing() {
    let pool = Pool::new();
    let worker = Worker::start(pool.config(2, 1));
    pool.engine.join();
    pool.engine.welcome(&[]);
    let mut template = waits_for(&pool.flag());
    template.command[2] = format!("yes & {}", template.command[2]);
    pool.engine.define(1, template);
    pool.engine.define(2, app("null"));
    pool.engine.assign(1, &[1]);
    pool.engine.follow_log(1, LogWish::Follow);
    let began = Instant::now();
    let (mut bytes, mut reached, mut gaps) = (0, 0, 0);
    while began.elapsed() < Duration::from_secs(2) {
        if let Said::Log(1, LogStream::Stdout, offset, piece) = pool.engine.next() {
            gaps += u32::from(offset != reached);
            reached = offset + piece.len() as u64;
            bytes += piece.len() as u64;
        }
    }
    assert!(gaps > 0, "`yes` prints more than anybody reads");
    // A second's worth at once, and two seconds' share.
    assert!(bytes <= 4 * (256 << 10), "{bytes} bytes in two seconds");
    pool.engine.assign(2, &[9]);
    let (_, reports) = pool.engine.finished();
    assert_eq!(reports, [(9, Reason::None, vec![])], "reports go out beside it");
    drop(worker);
}

#[test]
fn a_report_waits_behind_little_of_a_flood_for_an_engine_that_is_slow() {
    const PAUSE: Duration = Duration::from_secs(4);
    let pool = Pool::new();
    let worker = Worker::start(pool.config(5, 0));
    pool.engine.join();
    pool.engine.welcome(&[]);
    let mut flood = waits_for(&pool.flag());
    flood.command[2] = format!("yes & {}", flood.command[2]);
    pool.engine.define(1, flood);
    pool.engine.define(2, app("sleep:3000"));
    pool.engine.assign(1, &[1, 2, 3, 4]);
    pool.engine.assign(2, &[9]);
    for work in 1..=4 {
        pool.engine.follow_log(work, LogWish::Follow);
    }
    // Once all of it is under way.
    pool.engine
        .wait(|said| matches!(said, Said::Log(4, ..)).then_some(()));
    pool.engine.pause(PAUSE);
    let mut bytes = 0;
    loop {
        match pool.engine.next() {
            Said::Log(_, _, _, piece) => bytes += piece.len(),
            Said::Finished(_, reports) => {
                assert_eq!(reports, [(9, Reason::None, vec![])]);
                break;
            }
            _ => {}
        }
    }
    // Of what four floods may say in a second at once, what a link has room for, and what may wait for that; without a
    // bound they say as much again in each second.
    assert!(bytes < 2_300_000, "{bytes} bytes come before the report");
    drop(worker);
}

#[test]
fn settings_that_no_engine_accepts_are_an_error_at_once() {
    let pool = Pool::new();
    let mut config = pool.config(1, 1);
    config.settings.uid = String::new();
    let worker = Worker::start(config);
    assert!(matches!(
        worker.thread.join().expect("no panic"),
        Err(AgentError::Settings(_))
    ));
    let no_ca = Trust::Ca(pool.folder.path().join("none"));
    assert!(matches!(worker_agent::connector(no_ca), Err(AgentError::Link(_))));
}
