//! Verdicts as a script sees them: by exit code and JSON. The samples are made up.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/samples")
        .join(name)
}

fn bench(arguments: &[&str], files: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pool-bench"))
        .args(arguments)
        .args(files)
        .output()
        .expect("the bench starts")
}

fn compare(a: &str, b: &str, options: &[&str]) -> Output {
    let arguments = [&["compare"], options].concat();
    bench(&arguments, &[&sample(a), &sample(b)])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)))
}

#[test]
fn the_same_but_for_noise_is_no_regression() {
    let output = compare("before.jsonl", "same.jsonl", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Nothing is shown to be worse"));
    assert_eq!(
        compare("before.jsonl", "before.jsonl", &["--threshold", "0"])
            .status
            .code(),
        Some(0)
    );
}

#[test]
fn a_tenth_slower_is_a_regression() {
    let output = compare("before.jsonl", "slower.jsonl", &["-o", "json"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let report = json(&output);
    assert_eq!(report["schema"], "workerpool/v1/bench-comparison");
    let throughput = &report["pairs"]
        .as_array()
        .expect("pairs")
        .iter()
        .find(|pair| pair["scenario"] == "throughput");
    let metrics = throughput.expect("throughput")["metrics"]
        .as_array()
        .expect("metrics");
    let rate = metrics
        .iter()
        .find(|metric| metric["metric"] == "works_per_second")
        .expect("a rate");
    assert_eq!(rate["verdict"], "worse");
    let number = |value: &serde_json::Value| value.as_f64().expect("a number");
    let (low, high) = (number(&rate["interval"][0]), number(&rate["interval"][1]));
    assert!(
        low < number(&rate["ratio"]) && number(&rate["ratio"]) < high && high < 0.97,
        "{rate}"
    );
    assert!(
        metrics.iter().all(|metric| metric["metric"] != "fsyncs"),
        "what has no direction is not compared"
    );
    assert!(said(&output).contains("changed files"), "{}", said(&output));
}

#[test]
fn the_other_way_round_it_is_none_and_a_wide_threshold_forgives() {
    assert_eq!(
        compare("slower.jsonl", "before.jsonl", &[]).status.code(),
        Some(0)
    );
    let forgiving = compare("before.jsonl", "slower.jsonl", &["--threshold", "0.9"]);
    assert_eq!(forgiving.status.code(), Some(0), "{}", said(&forgiving));
}

#[test]
fn a_single_metric_can_be_asked_for() {
    let one = compare("before.jsonl", "slower.jsonl", &["--metric=link_bytes_per_work"]);
    assert_eq!(one.status.code(), Some(0), "{}", said(&one));
    let misspelt = compare("before.jsonl", "slower.jsonl", &["--metric=work_per_second"]);
    assert_eq!(misspelt.status.code(), Some(2));
    assert!(
        said(&misspelt).contains("\"work_per_second\""),
        "{}",
        said(&misspelt)
    );
}

#[test]
fn one_run_gives_no_verdict_and_says_so() {
    let output = compare("before.jsonl", "once.jsonl", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("5 and 1 runs"), "{}", said(&output));
}

#[test]
fn lines_of_one_thing_can_be_pooled() {
    let folder = tempfile::tempdir().expect("a folder");
    let thrice = folder.path().join("thrice.jsonl");
    let once = std::fs::read_to_string(sample("once.jsonl")).expect("a sample");
    std::fs::write(&thrice, once.repeat(3)).expect("written");
    let all = ["compare", "--all", "-o", "json"];
    let output = bench(&all, &[&sample("before.jsonl"), &thrice]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_eq!(json(&output)["pairs"][0]["metrics"][0]["b"]["runs"], 3);
    assert_eq!(
        bench(&["compare"], &[&sample("before.jsonl"), &thrice])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn what_cannot_be_read_or_compared_ends_with_two() {
    let missing = compare("before.jsonl", "missing.jsonl", &[]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(said(&missing).contains("missing.jsonl"), "{}", said(&missing));
    let foreign = compare("before.jsonl", "README.md", &[]);
    assert_eq!(foreign.status.code(), Some(2));
    assert!(
        said(&foreign).contains("README.md, line 1: this is not JSON"),
        "{}",
        said(&foreign)
    );
    let strangers = compare("before.jsonl", "peers.jsonl", &[]);
    assert_eq!(strangers.status.code(), Some(2));
    assert!(
        said(&strangers).contains("only in A: throughput"),
        "{}",
        said(&strangers)
    );
    assert_eq!(
        compare("before.jsonl", "same.jsonl", &["--confidence", "95"])
            .status
            .code(),
        Some(2)
    );
}

#[test]
fn a_page_is_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("report.html");
    let page_name = page.to_str().expect("a name");
    let output = bench(
        &["page", "-o", page_name],
        &[&sample("before.jsonl"), &sample("peers.jsonl")],
    );
    assert!(output.status.success(), "{}", said(&output));
    let html = std::fs::read_to_string(&page).expect("the page");
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    assert!(
        !html.contains(env!("CARGO_MANIFEST_DIR")),
        "a path of this machine is in the page"
    );
    let nothing = folder.path().join("empty.jsonl");
    std::fs::write(&nothing, "").expect("written");
    let output = bench(&["page", "-o", page_name], &[&nothing]);
    assert!(
        !output.status.success() && said(&output).contains("no measurement"),
        "{}",
        said(&output)
    );
}
