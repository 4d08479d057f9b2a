//! The program itself: what it prints and how it ends.

use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};

use crate::engine::{Engine, LOGIN, PASSWORD, Script};

/// Runs `pool` against the engine, with nothing of the caller's environment that could change it.
pub(crate) fn pool(engine: &Engine, folder: &Path, words: &[&str]) -> Output {
    let mut command = bare(folder);
    command
        .env("POOL_ENGINE_CLIENT", engine.addr.to_string())
        .env("POOL_CA", &engine.ca)
        .env("ADMINLOGIN", LOGIN)
        .env("ADMINPASSWORD", PASSWORD)
        .args(words);
    command.output().unwrap()
}

fn bare(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool"));
    command.env_clear().current_dir(folder);
    command
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().expect("it ends by itself")
}

#[test]
fn exit_codes_are_those_of_the_help() {
    let (engine, folder) = (Engine::start(Script::default()), tempfile::tempdir().unwrap());
    let run = |words: &[&str]| pool(&engine, folder.path(), words);
    let free = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let cases: [(i32, &[&str], &str); 14] = [
        (0, &["status"], ""),
        (
            0,
            &["work", "submit", "--sweep", "n=1..3", "--wait", "--", "echo"],
            "",
        ),
        (
            1,
            &["work", "submit", "--sweep", "n=ok,fail", "--wait", "--", "echo"],
            "",
        ),
        (1, &["work", "wait", "--bag", "last"], ""),
        (2, &["work", "submit", "--sweep", "n", "--", "echo"], "has no `=`"),
        (2, &["work", "submit"], "write the command behind `--`"),
        (
            2,
            &["work", "submit", "--label", "refused", "--", "echo"],
            "label: is not liked here",
        ),
        (3, &["status", "--ca", "missing.pem"], "missing.pem"),
        (
            3,
            &["work", "submit", "--from", "missing.csv", "--", "echo"],
            "missing.csv",
        ),
        (4, &["status", "--password", "wrong"], "refuses the login `admin`"),
        (5, &["work", "get", "999"], "w999 does not exist"),
        (6, &["work", "cancel", "409"], "w409: is of another kind"),
        (7, &["status", "--engine", &free], "start one with `pool dev`"),
        (8, &["work", "cancel", "1", "404", "2"], "w404 does not exist"),
    ];
    for (expected, words, told) in cases {
        let output = run(words);
        assert_eq!(code(&output), expected, "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{words:?}: {}", stderr(&output));
        if expected == 0 {
            assert_eq!(stderr(&output), "", "{words:?}");
        }
    }
}

#[test]
fn machine_output_alone_is_on_standard_output() {
    let (engine, folder) = (Engine::start(Script::default()), tempfile::tempdir().unwrap());
    let run = |words: &[&str]| {
        let output = pool(&engine, folder.path(), words);
        format!("$ pool {}\n{}", words.join(" "), stdout(&output))
    };
    let commands: [&[&str]; 16] = [
        &[
            "work",
            "submit",
            "--sweep",
            "n=1,fail,3",
            "-o",
            "json",
            "--",
            "echo",
            "{n}",
        ],
        &["work", "submit", "--quiet", "--", "true"],
        &["work", "list", "-o", "jsonl"],
        &["work", "list", "-o", "json", "--limit", "2"],
        &["work", "list", "--all"],
        &["work", "get", "w2", "-o", "json"],
        &["work", "logs", "3"],
        &["work", "logs", "3", "--stderr"],
        &["work", "wait", "1", "2", "-o", "jsonl"],
        &["bag", "get", "last", "-o", "json"],
        &["worker", "get", "worker-1", "-o", "json"],
        &["work", "logs", "-f", "3"],
        &["work", "logs", "-f", "3", "-o", "jsonl"],
        &["worker", "drain", "k1"],
        &["worker", "drain", "k1", "--deadline", "10m"],
        &["queue", "list", "-o", "json"],
    ];
    let told: Vec<String> = commands.into_iter().map(run).collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn results_are_written_to_files_named_by_their_parameters() {
    let (engine, folder) = (Engine::start(Script::default()), tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("rows.csv"), "n\nalpha\nfail\n").unwrap();
    let words = [
        "work",
        "submit",
        "--from",
        "rows.csv",
        "--results",
        "out",
        "--quiet",
        "--",
        "echo",
    ];
    let output = pool(&engine, folder.path(), &words);
    assert_eq!(
        (code(&output), stdout(&output).as_str()),
        (1, ""),
        "{}",
        stderr(&output)
    );
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    assert_eq!((read("alpha").as_str(), read("fail").as_str()), ("alpha", "fail"));
}

#[test]
fn without_any_setting_the_cure_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let output = bare(folder.path()).arg("status").output().unwrap();
    assert_eq!(code(&output), 3);
    assert!(
        stderr(&output).contains("start a pool with `pool dev`"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (engine, folder) = (Engine::start(Script::default()), tempfile::tempdir().unwrap());
    pool(
        &engine,
        folder.path(),
        &["work", "submit", "--sweep", "n=1..5000", "--", "echo"],
    );
    let mut list = bare(folder.path())
        .env("POOL_ENGINE_CLIENT", engine.addr.to_string())
        .env("POOL_CA", &engine.ca)
        .env("ADMINPASSWORD", PASSWORD)
        .args(["work", "list", "--all", "-o", "jsonl"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(list.stdout.take());
    let output = list.wait_with_output().unwrap();
    assert_eq!((code(&output), stderr(&output).as_str()), (0, ""));
}

#[test]
fn completions_are_printed_for_every_shell() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let output = bare(folder.path()).args(["completion", shell]).output().unwrap();
        assert_eq!(code(&output), 0);
        assert!(stdout(&output).contains("prioritise"), "{shell}");
    }
}

#[test]
fn a_journal_that_is_not_there_is_not_found() {
    let folder = tempfile::tempdir().unwrap();
    let output = bare(folder.path()).args(["journal", "verify"]).output().unwrap();
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(
        stderr(&output).contains("data/pool/engine"),
        "{}",
        stderr(&output)
    );
}
