//! The program itself: arguments, signals, exit codes.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use wire_protocol::outcome::Reason;
use wire_protocol::worker_link::RefusedCode;

use crate::engine::{Engine, Said};
use crate::pool::{done, waits_for};
use crate::process::{assert_dies, shell};

/// The program with an environment of its own.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-worker"));
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("tests have a PATH"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// A worker for this engine, in this folder.
pub(crate) fn worker(engine: &Engine, folder: &Path) -> Command {
    let mut command = program();
    command
        .env("POOL_ENGINE", engine.address.to_string())
        .env("SCHEDULER_DOMAIN", "localhost")
        .env("POOL_CA", &engine.ca)
        .env("WORKERPASSWORD", "hunter2")
        .env("POOL_WORKER_FOLDER", folder.join("worker"))
        .env("POOL_PROCESS_ALLOW", "sh")
        // Works of these tests tell by files of the test's folder how far they are.
        .env("POOL_PROCESS_WRITE", folder)
        .args(["--slots", "1", "--log-format", "json", "--log-level", "FINEST"]);
    command
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a pid");
    kill_process(pid, signal).expect("our own child");
}

pub(crate) fn output(mut command: Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().expect("it starts");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Waits for its end; its log, too.
pub(crate) fn end(mut child: Child) -> (Option<i32>, String) {
    let mut log = String::new();
    let mut stderr = child.stderr.take().expect("it is piped");
    stderr.read_to_string(&mut log).expect("text");
    (child.wait().expect("our own child").code(), log)
}

#[test]
fn help_explains_and_wrong_usage_is_refused() {
    let mut help = program();
    help.arg("--help");
    let Output { status, stdout, .. } = help.output().expect("it starts");
    let text = String::from_utf8_lossy(&stdout);
    assert_eq!(status.code(), Some(0));
    for word in [
        "POOL_PROCESS_ALLOW",
        "WORKERPASSWORD_FILE",
        "Exit codes:",
        "Examples:",
    ] {
        assert!(text.contains(word), "{word} is not in the help");
    }
    let mut wrong = program();
    wrong.arg("--no-such-flag");
    assert_eq!(output(wrong).0, Some(2));
    let mut wrong = program();
    wrong.args(["--slots", "0"]);
    assert_eq!(output(wrong).0, Some(2));
}

#[test]
fn a_configuration_that_cannot_be_used_says_what_is_missing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let with = |variables: &[(&str, &str)]| {
        let mut command = program();
        command.current_dir(folder.path()).envs(variables.iter().copied());
        output(command)
    };
    let password = ("WORKERPASSWORD", "hunter2");
    for (variables, text) in [
        (&[][..], "no password is given"),
        (
            &[password, ("WORKERPASSWORD_FILE", "secret")],
            "--password and --password-file, or their variables, are both given",
        ),
        (
            &[
                password,
                ("POOL_ENROL_TOKEN", "hunter2"),
                ("POOL_ENROL_TOKEN_FILE", "token"),
            ],
            "--enrol-token and --enrol-token-file",
        ),
        (
            &[
                password,
                ("WALLETPATH", "wallet.json"),
                ("WALLETPASSWORD", "hunter2"),
                ("WALLETPASSWORD_FILE", "secret"),
            ],
            "--wallet-password and --wallet-password-file",
        ),
        (&[password], "--fingerprint"),
        (&[password, ("POOL_CA", "none.pem")], "none.pem"),
        (
            &[
                password,
                ("POOL_CA", "x"),
                ("POOL_PROCESS_ALLOW", "no-such-command"),
            ],
            "no-such-command",
        ),
        (
            &[password, ("POOL_CA", "x"), ("POOL_ENGINE", "host:port")],
            "no port",
        ),
        (
            &[
                password,
                ("POOL_CA", "x"),
                ("POOL_PROCESS_ALLOW", "sh"),
                ("POOL_PROCESS_READ", "/nowhere/at-all"),
            ],
            "/nowhere/at-all cannot be had",
        ),
        (
            &[
                password,
                ("POOL_CA", "x"),
                ("POOL_PROCESS_ALLOW", "sh"),
                ("POOL_PROCESS_NETWORK", "no-such-command"),
            ],
            "--process-network (POOL_PROCESS_NETWORK): `no-such-command` may run",
        ),
        (
            &[password, ("POOL_CA", "x"), ("POOL_DOCKER_ALLOW", "Alpine!")],
            "`Alpine!` is no image",
        ),
        (
            &[
                password,
                ("POOL_CA", "x"),
                ("POOL_DOCKER_ALLOW", "alpine"),
                ("POOL_DOCKER_SOCKET", "/nowhere/docker.sock"),
            ],
            "no Docker Engine is at /nowhere/docker.sock",
        ),
    ] {
        let (code, log) = with(variables);
        assert_eq!(code, Some(3), "{log}");
        assert!(log.contains(text), "{text} is not in: {log}");
        assert!(!log.contains("hunter2"), "{log}");
    }
}

#[test]
fn refused_credentials_end_with_their_own_code_and_never_show_the_password() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let child = worker(&engine, folder.path()).spawn().expect("it starts");
    assert_eq!(engine.join().password, "hunter2");
    engine.refuse(RefusedCode::Credentials, "no such account");
    let (code, log) = end(child);
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains("no such account"));
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn the_variables_of_the_predecessors_worker_start_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let docker = testkit::docker::DockerEngine::start();
    let mut command = program();
    command
        .env("SCHEDULER_DOMAIN", "localhost")
        .env("SCHEDULER_IP", engine.address.to_string())
        .env("LOGIN", "oldworker")
        .env("PASSWORD", "hunter2")
        .env("SHAREDAPPS", "docker")
        .env("LOGGERLEVEL", "INFO")
        // What compose passes for a variable that is not set.
        .env("WORKERLOGIN", "")
        .env("POOL_ENGINE", "")
        .env("WORKERPASSWORD", "")
        .env("WORKERPASSWORD_FILE", "")
        .env("POOL_ENROL_TOKEN", "")
        .env("POOL_ENROL_TOKEN_FILE", "")
        .env("WALLETPATH", "")
        .env("WALLETPASSWORD", "")
        .env("WALLETPASSWORD_FILE", "")
        .env("POOL_DOCKER_SOCKET", docker.socket())
        .env("POOL_CA", &engine.ca)
        .env("POOL_WORKER_FOLDER", folder.path().join("worker"));
    let child = command.spawn().expect("it starts");
    let join = engine.join();
    assert_eq!(
        (join.login.as_str(), join.password.as_str()),
        ("oldworker", "hunter2")
    );
    assert!(
        join.offer.executors.contains(&"docker".to_owned()),
        "{:?}",
        join.offer
    );
    engine.refuse(RefusedCode::Credentials, "no such account");
    let (code, log) = end(child);
    assert_eq!(code, Some(4), "{log}");
    assert!(log.contains("all images may run"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn the_status_says_what_a_worker_does_and_what_is_left_of_one_that_was_killed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let status = |json: bool| {
        let mut command = program();
        command
            .env("POOL_WORKER_FOLDER", folder.path().join("worker"))
            .arg("status");
        if json {
            command.arg("--json");
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("it starts");
        let text = [stdout, stderr].concat();
        (status.code(), String::from_utf8(text).expect("text"))
    };
    let (code, says) = status(false);
    assert_eq!(code, Some(1));
    assert!(says.contains("no worker has run in"), "{says}");
    let mut child = worker(&engine, folder.path()).spawn().expect("it starts");
    engine.join();
    engine.welcome(&[]);
    engine.define(1, waits_for(&folder.path().join("never")));
    engine.assign(1, &[7]);
    let deadline = Instant::now() + Duration::from_secs(20);
    let says = loop {
        let (code, says) = status(false);
        if code == Some(0) && says.contains("w7") {
            break says;
        }
        assert!(Instant::now() < deadline, "{says}");
        std::thread::sleep(Duration::from_millis(50));
    };
    for line in [
        "takes     work",
        "1 of 1 in use",
        "process for ",
        "(its folder) is ",
    ] {
        assert!(says.contains(line), "{line} is not in: {says}");
    }
    let (_, json) = status(true);
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&value["runs"], &value["phase"]),
        (&true.into(), &"joined".into())
    );
    assert_eq!(value["running"][0]["app"], "process");
    child.kill().and_then(|()| child.wait()).expect("our own child");
    let (code, says) = status(false);
    assert_eq!(code, Some(1));
    assert!(
        says.contains("no: this is the last that is known") && says.contains("w7"),
        "{says}"
    );
}

#[test]
fn the_doctor_says_what_is_wrong_and_joins_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let docker = testkit::docker::DockerEngine::start();
    let doctor = |change: &dyn Fn(&mut Command)| {
        let mut command = worker(&engine, folder.path());
        command
            .env("POOL_DOCKER_ALLOW", "box")
            .env("WALLETPASSWORD", "hunter2")
            .env("POOL_DOCKER_SOCKET", docker.socket());
        change(&mut command);
        let Output { status, stdout, .. } = command.args(["doctor", "--json"]).output().expect("it starts");
        let said: serde_json::Value = serde_json::from_slice(&stdout).expect("one JSON object");
        let findings = said["findings"].as_array().expect("a list").clone();
        let broken = findings.iter().filter(|finding| finding["verdict"] == "broken");
        let broken: Vec<_> = broken
            .map(|finding| finding["check"].as_str().expect("text").to_owned())
            .collect();
        assert_eq!(status.code(), Some(i32::from(!broken.is_empty())), "{said}");
        assert!(!said.to_string().contains("hunter2"), "{said}");
        (broken, said.to_string())
    };
    let (broken, said) = doctor(&|_| {});
    assert_eq!(broken, [""; 0], "{said}");
    assert!(said.contains("is localhost, by its certificate"), "{said}");
    assert!(said.contains("Docker Engine "), "{said}");
    assert!(said.contains("commands in a sandbox, containers"), "{said}");
    assert!(!folder.path().join("worker").exists(), "it makes nothing");

    let other =
        wire_link::ServerIdentity::load_or_create(&folder.path().join("other"), &wire_link::default_names());
    let other = other
        .expect("a CA")
        .ca_file()
        .expect("it was made here")
        .to_owned();
    let no_keystore = folder.path().join("wallet.json");
    fs::write(&no_keystore, "{}").expect("own folder");
    for (name, value, wanted, says) in [
        ("WORKERPASSWORD", "", "login", "no password is given"),
        (
            "WALLETPATH",
            "/nowhere/wallet.json",
            "wallet",
            "/nowhere/wallet.json",
        ),
        (
            "WALLETPATH",
            no_keystore.to_str().expect("UTF-8"),
            "wallet",
            "wallet.json",
        ),
        (
            "POOL_CA",
            other.to_str().expect("UTF-8"),
            "engine",
            "look at --engine",
        ),
        ("SCHEDULER_DOMAIN", "elsewhere.example.org", "engine", "127.0.0.1"),
        ("POOL_ENGINE", "127.0.0.1:1", "engine", "UDP"),
        (
            "POOL_WORKER_FOLDER",
            "/proc/nowhere",
            "folder",
            "cannot be written to",
        ),
        (
            "POOL_DOCKER_SOCKET",
            "/nowhere/docker.sock",
            "docker",
            "--docker-socket",
        ),
        ("POOL_DOCKER_RUNTIME", "runsc", "runtime", "no runtime `runsc`"),
        ("POOL_DOCKER_ALLOW", "Alpine!", "runs", "is no image"),
        ("POOL_PROCESS_WRITE", "nowhere", "runs", "nowhere cannot be had"),
    ] {
        let (broken, said) = doctor(&|command| {
            command.env(name, value);
        });
        assert_eq!(broken, [wanted], "{name}={value}: {said}");
        assert!(said.contains(says), "{name}={value}: {said}");
    }
}

#[test]
fn sigterm_drains_and_a_second_one_stops_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let flag = folder.path().join("flag");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let child = worker(&engine, folder.path()).spawn().expect("it starts");
    engine.join();
    engine.welcome(&[]);
    engine.define(1, waits_for(&flag));
    engine.assign(1, &[1, 2]);
    assert_eq!(engine.next(), Said::Started(vec![1]));
    signal(&child, Signal::TERM);
    assert_eq!(engine.next(), Said::Draining(None));
    assert_eq!(engine.next(), Said::Retracted(Reason::WorkerDraining, vec![2]));
    fs::write(&flag, "").expect("own folder");
    assert_eq!(engine.finished(), (1, vec![(1, Reason::None, done())]));
    engine.recorded(1);
    let (code, log) = end(child);
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(r#""event":"joined""#), "a line for programs: {log}");

    fs::remove_file(&flag).expect("own folder");
    let child = worker(&engine, folder.path()).spawn().expect("it starts");
    engine.join();
    engine.welcome(&[]);
    let pid = folder.path().join("pid");
    let mut template = waits_for(&flag);
    template.command[2] = format!(
        "setsid sleep 600 & echo $! > {0}.new; mv {0}.new {0}; {1}",
        pid.display(),
        template.command[2]
    );
    engine.define(1, template);
    engine.assign(1, &[1]);
    assert_eq!(
        engine.wait(|said| matches!(said, Said::Started(_)).then_some(said)),
        Said::Started(vec![1])
    );
    signal(&child, Signal::TERM);
    engine.wait(|said| (said == Said::Draining(None)).then_some(()));
    until_exists(&pid);
    signal(&child, Signal::INT);
    assert_eq!(end_without_log(child), Some(1));
    // Also what has left its group and session: the guardian looks once more.
    assert_dies(&fs::read_to_string(&pid).expect("it wrote it"));
}

#[test]
fn works_run_where_the_operator_wants_them_and_die_with_their_worker() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    for variable in ["TMPDIR", "POOL_WORKS_FOLDER"] {
        let scratch = folder.path().join(variable);
        let note = folder.path().join("note");
        let mut command = worker(&engine, folder.path());
        command.env(variable, &scratch);
        let child = command.spawn().expect("it starts");
        engine.join();
        engine.welcome(&[]);
        let script = format!(
            "setsid sleep 600 & echo $$ $! $PWD >{0}.new; mv {0}.new {0}; wait",
            note.display()
        );
        engine.define(1, shell(&script));
        engine.assign(1, &[1]);
        until_exists(&note);
        let text = fs::read_to_string(&note).expect("own folder");
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(Path::new(words[2]).starts_with(&scratch), "{text}");
        signal(&child, Signal::KILL);
        end(child);
        // No worker has started again: the guardian has done it, also with what left its group and session.
        for pid in &words[..2] {
            assert_dies(pid);
        }
        fs::remove_file(&note).expect("own folder");
    }
}

#[test]
fn a_folder_takes_one_worker_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let first = worker(&engine, folder.path()).spawn().expect("it starts");
    let uid = engine.join().uid;
    let (code, log) = output(worker(&engine, folder.path()));
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("in use by another worker"), "{log}");
    signal(&first, Signal::KILL);
    end(first);
    let second = worker(&engine, folder.path()).spawn().expect("it starts");
    assert_eq!(engine.join().uid, uid, "it is the same worker after its restart");
    signal(&second, Signal::KILL);
    end(second);
}

#[test]
fn a_killed_worker_leaves_no_work_running() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pids = folder.path().join("pids");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let child = worker(&engine, folder.path()).spawn().expect("it starts");
    engine.join();
    engine.welcome(&[]);
    let mut template = waits_for(&pids.with_extension("never"));
    template.command[2] = format!(
        "sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; {1}",
        pids.display(),
        template.command[2]
    );
    engine.define(1, template);
    engine.assign(1, &[1]);
    assert_eq!(engine.next(), Said::Started(vec![1]));
    until_exists(&pids);
    let text = fs::read_to_string(&pids).expect("it wrote them");
    let (leader, descendant) = text.trim().split_once(' ').expect("two of them");
    signal(&child, Signal::KILL);
    end_without_log(child);
    assert_dies(leader);
    // What the command had started is found by the worker that comes next.
    let next = worker(&engine, folder.path()).spawn().expect("it starts");
    let join = engine.join();
    assert!(join.held.is_empty());
    assert_dies(descendant);
    assert_eq!(
        fs::read_dir(folder.path().join("worker/works"))
            .expect("it is there")
            .count(),
        0
    );
    signal(&next, Signal::KILL);
    end(next);
}

/// What it started may hold its log open.
fn end_without_log(mut child: Child) -> Option<i32> {
    child.wait().expect("our own child").code()
}

fn until_exists(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !path.exists() {
        assert!(Instant::now() < deadline, "{} does not appear", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
