//! The page is looked at by people; here is what a machine can see of it.

use super::*;

fn sample(text: &str) -> Vec<Measurement> {
    let line = |line| serde_json::from_str(line).expect("a measurement");
    text.lines().map(line).collect()
}

fn before() -> Vec<Measurement> {
    sample(include_str!("../../tests/samples/before.jsonl"))
}

fn slower() -> Vec<Measurement> {
    sample(include_str!("../../tests/samples/slower.jsonl"))
}

fn peers() -> Vec<Measurement> {
    sample(include_str!("../../tests/samples/peers.jsonl"))
}

fn files(measurements: Vec<Vec<Measurement>>) -> Vec<(String, Vec<Measurement>)> {
    let name = |(index, lines)| (format!("file{index}.jsonl"), lines);
    measurements.into_iter().enumerate().map(name).collect()
}

/// What the script will read.
fn charts(page: &str) -> serde_json::Value {
    let begin = page.find("id=\"charts\">").expect("the data") + "id=\"charts\">".len();
    let end = begin + page[begin..].find("</script>").expect("its end");
    serde_json::from_str(&page[begin..end]).expect("JSON")
}

#[test]
fn the_data_in_the_page_is_that_of_the_measurements() {
    let page = render(&files(vec![before()]));
    let charts = charts(&page);
    let charts = charts.as_array().expect("charts");
    let titles: Vec<&str> = charts
        .iter()
        .map(|chart| chart["title"].as_str().expect("a title"))
        .collect();
    let over_time = [
        "Throughput over time",
        "Processors in use over time",
        "Memory over time",
        "Queued over time",
    ];
    assert_eq!(titles[..4], over_time);
    assert_eq!(titles[4], "Latency by quantile");
    let measured = before();
    let throughput = &measured[0].series.as_ref().expect("a series").columns["done_per_second"];
    assert_eq!(charts[0]["lines"][0]["y"], serde_json::json!(throughput.values));
    assert_eq!(charts[0]["lines"][0]["x"][1], 0.15);
    let faults = charts
        .iter()
        .rev()
        .find(|chart| chart["kind"] == "time")
        .expect("a chart over time");
    assert_eq!(faults["faults"][0]["what"], "kill -9 of the engine");
}

#[test]
fn every_chart_has_a_place_a_name_and_a_table() {
    let page = render(&files(vec![before(), slower(), peers()]));
    let number = charts(&page).as_array().expect("charts").len();
    assert!(number > 10, "{number}");
    for chart in 0..number {
        assert_eq!(
            page.matches(&format!("data-chart=\"{chart}\" role=\"img\" aria-label=\""))
                .count(),
            1
        );
    }
    assert_eq!(page.matches("<figcaption").count(), number);
    assert_eq!(
        page.matches("<summary>The same as a table</summary>").count(),
        number
    );
}

#[test]
fn nothing_is_loaded_from_anywhere() {
    let page = render(&files(vec![before(), slower(), peers()]));
    // The one address is in the comment in which uPlot names itself; it stays, as its licence wants.
    let page = page.replace("/*! https://github.com/leeoniya/uPlot (v1.6.32) */", "");
    for outside in [
        "http://", "https://", "src=", "url(", "@import", "<link", "<base", "<iframe", "fetch(", "import(",
    ] {
        assert!(!page.contains(outside), "{outside} is in the page");
    }
    let links = page.matches("href=\"").count();
    assert_eq!(links, page.matches("href=\"#s").count(), "a link leaves the page");
    assert!(page.contains("default-src 'none'"));
    assert!(page.contains("The MIT License (MIT)") && page.contains("Leon Sorokin"));
}

#[test]
fn foreign_text_stays_text_wherever_it_stands() {
    const EVIL: &str = "</script><script>alert(1)</script><img onerror='x' title=\"&";
    let mut line = before().remove(3);
    for field in [
        &mut line.scenario,
        &mut line.variant,
        &mut line.system,
        &mut line.durability,
        &mut line.machine.commit,
        &mut line.machine.command,
        &mut line.machine.processor,
        &mut line.machine.kernel,
        &mut line.faults[0].what,
    ] {
        EVIL.clone_into(field);
    }
    line.absent = Some(EVIL.to_owned());
    line.settings = serde_json::json!({ EVIL: EVIL });
    let metric = line.metrics["works_per_second"].clone();
    line.metrics.insert(
        EVIL.to_owned(),
        Metric {
            unit: EVIL.to_owned(),
            ..metric
        },
    );
    let latency = line.latencies["accepted"].clone();
    line.latencies.insert(EVIL.to_owned(), latency);
    let columns = &mut line.series.as_mut().expect("a series").columns;
    let mut column = columns["queued"].clone();
    EVIL.clone_into(&mut column.unit);
    columns.insert(EVIL.to_owned(), column);
    let mut peer = line.clone();
    peers::SCENARIO.clone_into(&mut peer.scenario);
    let once = vec![line.clone(), peer.clone()];
    let page = render(&[(EVIL.to_owned(), once.clone()), (EVIL.to_owned(), once)]);
    assert!(!page.contains("<script>alert") && !page.contains("<img"));
    // Ours: data, uPlot, ours.
    assert_eq!(page.matches("</script>").count(), 3);
    assert!(
        charts(&page).to_string().contains("alert(1)"),
        "it is there, as text"
    );
}

#[test]
fn two_files_are_overlaid_and_compared() {
    let page = render(&files(vec![before(), slower()]));
    assert!(page.contains("B compared with A"));
    assert!(page.contains("<span class=\"verdict worse\">✗ worse</span>"));
    assert!(page.contains("B was measured with changed files"));
    let charts = charts(&page);
    let labels: Vec<&serde_json::Value> = charts[0]["lines"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["label"])
        .collect();
    assert_eq!(labels, ["done_per_second · A", "done_per_second · B"]);
    let dash = |line: usize| charts[0]["lines"][line]["dash"].as_u64();
    assert_ne!(dash(0), dash(1), "colour alone does not tell them apart");
}

#[test]
fn both_sides_of_a_comparison_are_in_one_unit() {
    let with = |bytes: f64| {
        let mut line = before().remove(0);
        let memory = line.metrics.get_mut("engine_memory_bytes_max").expect("memory");
        memory.runs = vec![bytes; 3];
        vec![line]
    };
    let page = render(&files(vec![with(1_047_552.0), with(1_258_291.2)]));
    let row = page
        .lines()
        .find(|line| line.contains(">engine_memory_bytes_max<"))
        .expect("a row");
    let kib = |value: &str| format!("{} <small>", value.replace(' ', "\u{202f}"));
    assert!(
        row.contains(&kib("1 023")) && row.contains(&kib("1 229")) && row.contains(">KiB<"),
        "{row}"
    );
}

#[test]
fn of_one_file_the_last_two_lines_of_a_thing_are_compared() {
    let lines = [before(), before(), slower()].concat();
    let page = files(vec![lines]);
    let groups = groups(&page);
    assert_eq!(groups.len(), 4);
    let commits: Vec<&str> = groups[0]
        .takes
        .iter()
        .map(|take| take.measurement.machine.commit.as_str())
        .collect();
    assert_eq!(commits, ["608d6b736661", "a94a8fe5ccb1-dirty"]);
}

#[test]
fn peers_stand_beside_ours_by_durability() {
    let page = render(&files(vec![peers()]));
    assert!(page.contains("<strong>workerpool 0.1.0</strong>"));
    assert!(page.contains("broker-three 3.13 was not measured: its package is not installed"));
    assert_eq!(
        page.matches("works_per_second, works/s: more is better</p>")
            .count(),
        3
    );
    let first = page.find("broker-two 2.11.3</th>").expect("the second best");
    assert!(
        page[first..].contains("table-queue 15.6</th>"),
        "the best stands on top"
    );
}

#[test]
fn a_measurement_without_numbers_makes_a_page_too() {
    let mut line = before().remove(0);
    line.metrics.clear();
    line.series = None;
    let page = render(&files(vec![vec![line.clone()]]));
    assert_eq!(charts(&page), serde_json::json!([]));
    line.metrics.insert(
        "nothing".to_owned(),
        Metric {
            unit: String::new(),
            better: Better::Higher,
            runs: Vec::new(),
        },
    );
    assert!(render(&files(vec![vec![line]])).contains("nothing"));
}
