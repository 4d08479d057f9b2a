//! The scenarios run and say what they measured. How fast they are is not asked here.

use std::process::Command;

/// Runs a scenario and returns the JSON line that it prints.
fn run(arguments: &[&str]) -> serde_json::Value {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new(env!("CARGO_BIN_EXE_pool-bench"))
        .args(arguments)
        .arg("--data")
        .arg(folder.path())
        .output()
        .expect("the bench starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}:\n{said}",
        output.status
    );
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

#[test]
fn throughput_counts_every_work_of_every_run() {
    let report = run(&[
        "throughput",
        "--works",
        "20000",
        "--array",
        "5000",
        "--runs",
        "2",
        "--workers",
        "2",
    ]);
    assert_eq!(report["schema"], "workerpool/v1/bench-throughput");
    assert_eq!(report["works"], 20_000);
    assert!(
        report["works_per_second"]["median"]
            .as_f64()
            .is_some_and(|rate| rate > 0.0),
        "{report}"
    );
}

#[test]
fn latency_measures_every_work_that_was_due() {
    let report = run(&["latency", "--rate", "200", "--seconds", "1", "--workers", "2"]);
    assert_eq!(report["schema"], "workerpool/v1/bench-latency");
    assert_eq!(report["works"], 200);
    let p50 = |field: &str| report[field]["p50"].as_u64().expect("microseconds");
    assert!(p50("accepted_us") > 0 && p50("outcome_us") > 0, "{report}");
}
