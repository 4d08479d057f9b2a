//! The scenarios run, small, and say what they measured. How fast they are is not asked here.

use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_pool-bench"));
    command.args(arguments);
    if !matches!(arguments[0], "list" | "show") {
        command.arg("--data").arg(folder.path());
    }
    command.output().expect("the bench starts")
}

/// Runs a scenario and returns the JSON lines that it prints, one per variant.
fn run(scenario: &str, set: &[&str]) -> Vec<serde_json::Value> {
    let mut arguments = vec![scenario];
    set.iter().for_each(|field| arguments.extend(["--set", field]));
    let output = bench(&arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}:\n{said}",
        output.status
    );
    let lines = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<serde_json::Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON object a line"))
        .collect();
    for line in &lines {
        assert_eq!(line["schema"], "workerpool/v2/bench");
        assert_eq!(line["scenario"], scenario);
    }
    lines
}

/// The values of a number, one per run.
fn values(measurement: &serde_json::Value, name: &str) -> Vec<f64> {
    let runs = measurement["metrics"][name]["runs"].as_array();
    let runs = runs.unwrap_or_else(|| panic!("{name} is measured: {measurement}"));
    runs.iter().map(|run| run.as_f64().expect("a number")).collect()
}

fn count(measurement: &serde_json::Value, latency: &str) -> u64 {
    measurement["latencies"][latency]["count"].as_u64().unwrap_or(0)
}

/// Works of one run that were due and could not be handed over in time, on a machine that is busy with other tests.
fn left_out(measurement: &serde_json::Value) -> u64 {
    let works = values(measurement, "works_left_out")[0];
    assert!(works < 300.0, "most works are handed over: {works} were not");
    works as u64
}

const SMALL: [&str; 6] = [
    "pool.workers=2",
    "pool.worker_processes=1",
    "load.works=20000",
    "load.array=5000",
    "load.clients=2",
    "runs.count=2",
];

#[test]
fn throughput_measures_every_variant_and_counts_every_run() {
    let variants = run("throughput", &SMALL);
    assert!(variants.len() >= 4);
    for variant in &variants {
        for name in [
            "works_per_second",
            "engine_cpu_us_per_work",
            "link_bytes_per_work",
        ] {
            let values = values(variant, name);
            assert_eq!(values.len(), 2, "{name} of each run");
            assert!(values.iter().all(|value| *value > 0.0), "{name}: {values:?}");
        }
        assert!(variant["series"]["columns"]["done_per_second"].is_object());
        assert!(variant["machine"]["cores"].as_u64() > Some(0));
        assert_eq!(variant["settings"]["load"]["works"], 20_000);
    }
}

#[test]
fn an_open_loop_times_every_work_that_was_due() {
    let set = [
        "pool.workers=2",
        "load.clients=2",
        "load.works=5000",
        "load.rate=500.0",
        "load.rate_of_max=0.0",
        "load.seconds=1.0",
        "runs.count=1",
        "runs.warm_up=0.0",
    ];
    for variant in run("latency", &set) {
        let handed_over = 500 - left_out(&variant);
        for latency in ["accepted", "assigned", "outcome"] {
            assert_eq!(count(&variant, latency), handed_over, "{latency} of every work");
        }
        assert!(values(&variant, "accepted_p50_us")[0] > 0.0);
    }
}

#[test]
fn calls_and_kinds_run() {
    let calls = run(
        "submit-single",
        &["load.works=400", "load.clients=4", "runs.count=1"],
    );
    assert!(count(&calls[0], "accepted") >= 400, "each call is timed");
    let mixed = run(
        "mixed",
        &[
            "load.works=20000",
            "load.array=100",
            "pool.workers=2",
            "runs.count=1",
        ],
    );
    assert!(values(&mixed[0], "works_per_second")[0] > 0.0);
}

#[test]
fn a_sidecar_beside_the_load_is_behind_and_one_whose_database_was_away_catches_up() {
    let set = [
        "load.works=20000",
        "load.array=5000",
        "pool.workers=2",
        "runs.count=1",
    ];
    let [none, beside, away] = run("sidecar-lag", &set).try_into().expect("three variants");
    assert!(none["metrics"]["sidecar_lag_records"].is_null(), "{none}");
    assert!(values(&beside, "sidecar_lag_records")[0] >= 0.0);
    assert!(values(&away, "sidecar_lag_records")[0] > 0.0, "{away}");
    assert!(values(&away, "catch_up_s")[0] > 0.0, "{away}");
}

#[test]
fn faults_are_done_marked_and_survived() {
    let set = [
        "pool.workers=4",
        "load.clients=2",
        "load.rate=300.0",
        "load.rate_of_max=0.0",
        "load.seconds=12.0",
    ];
    let faults = run("faults", &set);
    let told: Vec<&str> = faults[0]["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| fault["what"].as_str().expect("words"))
        .collect();
    for what in [
        "kill -9 of a process of workers",
        "the disk stands still",
        "kill -9 of the engine",
        "all workers are back",
    ] {
        assert!(told.contains(&what), "{told:?}");
    }
    let handed_over = 3_600 - left_out(&faults[0]);
    assert_eq!(count(&faults[0], "outcome"), handed_over, "no work is lost");
    assert!(values(&faults[0], "engine_ready_s")[0] > 0.0);
}

#[test]
fn a_fan_out_rests_and_a_reconnect_times_what_is_due_meanwhile() {
    let fan_out = run(
        "fan-out",
        &[
            "pool.workers=50",
            "load.works=5000",
            "load.idle_s=1.0",
            "runs.count=1",
        ],
    );
    assert!(values(&fan_out[0], "engine_memory_bytes_per_connection")[0] > 0.0);
    assert_eq!(values(&fan_out[0], "engine_cpu_idle_percent").len(), 1);
    let reconnect = run(
        "reconnect",
        &[
            "pool.workers=50",
            "load.rate=300.0",
            "load.seconds=5.0",
            "runs.count=1",
        ],
    );
    assert!(values(&reconnect[0], "workers_reconnected_s")[0] >= 0.0);
}

#[test]
fn a_recovery_reads_back_what_was_recorded_and_left_open() {
    let set = [
        "load.works=5000",
        "load.clients=2",
        "pool.workers=2",
        "recover.records=200",
        "recover.open_works=3000",
        "runs.count=2",
    ];
    for variant in run("recover", &set) {
        let records = values(&variant, "recovered_records");
        assert!(
            records.len() == 2 && records.iter().all(|records| *records > 0.0),
            "{records:?}"
        );
        assert!(values(&variant, "replayed_records_per_second")[0] > 0.0);
    }
}

#[test]
fn a_sidecar_catches_up_with_either_database() {
    let set = [
        "pool.workers=2",
        "load.clients=2",
        "load.works=20000",
        "runs.count=1",
    ];
    for variant in run("sidecar", &set) {
        assert!(values(&variant, "works_per_second")[0] > 0.0);
        assert!(values(&variant, "changes_per_second")[0] > values(&variant, "works_per_second")[0]);
    }
}

#[test]
fn an_overload_says_what_was_left_out() {
    let set = [
        "pool.workers=2",
        "load.clients=2",
        "load.works=20000",
        "load.seconds=1.0",
        "runs.count=1",
        "runs.warm_up=0.0",
    ];
    let overload = run("overload", &set);
    assert!(values(&overload[0], "works_per_second_max")[0] > 0.0);
    assert!(values(&overload[0], "goodput_of_max")[0] > 0.0);
}

#[test]
fn scenarios_are_listed_and_shown_and_can_be_begun_from() {
    let list = String::from_utf8(bench(&["list"]).stdout).expect("text");
    for name in ["throughput", "latency", "overload", "singles of 200 B"] {
        assert!(list.contains(name), "{name} in {list}");
    }
    let shown = bench(&["show", "mixed"]);
    assert!(shown.status.success());
    let folder = tempfile::tempdir().expect("a folder");
    let mine = folder.path().join("mine.toml");
    std::fs::write(&mine, &shown.stdout).expect("a file");
    let mine = mine.to_str().expect("a name");
    let output = bench(&["run", mine, "--set", "load.wroks=1"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("wroks"), "{said}");
}
