//! `pool-bench peers` where no peer is installed: what CI has. The clients' protocols have their tests beside them;
//! whether the numbers are right only a run with the peers can show.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Runs the command on a machine that has no program at all beside it.
fn peers(programs: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pool-bench"))
        .arg("peers")
        .args(arguments)
        .arg("--programs")
        .arg(programs)
        .arg("--data")
        .arg(programs.join("data"))
        .env("PATH", programs.join("nothing"))
        .output()
        .expect("the bench starts")
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("one JSON object a line"))
        .collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_peer_that_is_not_here_is_absent_and_its_cure_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = peers(folder.path(), &["--only", "hyperqueue,nats"]);
    assert!(output.status.success(), "{}", said(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), 2, "{lines:?}");
    for (line, name) in lines.iter().zip(["hyperqueue", "nats"]) {
        assert_eq!(
            (&line["scenario"], &line["system"]),
            (&"peers".into(), &name.into())
        );
        assert_eq!(line["metrics"], serde_json::json!({}), "no numbers");
        let why = line["absent"].as_str().expect("a reason");
        assert!(why.contains("no "), "what is missing: {why}");
        assert!(why.contains(&format!("--install --only {name}")), "{why}");
    }
}

#[test]
fn the_list_names_every_peer_and_what_its_variants_wait_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = peers(folder.path(), &["--list"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for name in [
        "redis",
        "nats",
        "beanstalkd",
        "rabbitmq",
        "bullmq",
        "hyperqueue-0.23",
    ] {
        assert!(text.contains(name), "{name} is missing:\n{text}");
    }
    assert!(
        text.contains("fdatasync of the binlog for every command"),
        "{text}"
    );
}

#[test]
fn a_server_that_cannot_start_fails_alone_and_with_its_last_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("nats/bin/nats-server");
    std::fs::create_dir_all(program.parent().expect("a folder")).expect("room");
    std::fs::write(&program, "#!/bin/sh\necho wrong licence; exit 3\n").expect("room");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, executable).expect("ours");
    let output = peers(folder.path(), &["--only", "nats,redis", "--durability", "memory"]);
    assert!(!output.status.success(), "a failure is told by the exit code");
    let lines = lines(&output);
    assert_eq!(lines.len(), 2, "the other peer is still listed: {lines:?}");
    let why = lines[0]["absent"].as_str().expect("a reason");
    assert!(why.contains("wrong licence"), "{why}");
    assert_eq!(lines[0]["variant"], "memory");
}

#[test]
fn an_installation_that_fails_names_the_peer() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = peers(folder.path(), &["--install", "--only", "hyperqueue"]);
    assert!(!output.status.success());
    let said = said(&output);
    assert!(said.contains("not installed: hyperqueue"), "{said}");
}

#[test]
fn works_too_short_for_their_number_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = peers(folder.path(), &["--payload-bytes", "9"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("--payload-bytes"), "{}", said(&output));
}
