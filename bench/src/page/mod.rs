//! Measurements as one HTML file: to be read on a phone, sent by mail, kept for years. It holds all it needs,
//! loads nothing, and its tables say everything where no script runs.
//!
//! Lines with the same key ([`crate::measurement::Key`]) are **takes** of one thing and share their charts: of several files the
//! last line of each, of one file its last two. They are called A, B and so on, and each is compared with A.
//!
//! Rust writes the text, the tables and the numbers of the charts; `page.js` draws them with uPlot 1.6.32
//! (<https://github.com/leeoniya/uPlot>, MIT, see `uplot/`): small, without dependencies, and it has logarithmic axes.

mod charts;
mod html;
mod peers;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::compare::{self, Judgement, Rules, Verdict, judge};
use crate::measurement::{self, Better, Key, Lines, Measurement, Metric};
use crate::numbers::{THIN, date, percent, ratio, scale, short, with_unit};
use crate::statistics::{ends, median};
use charts::Charts;
use html::{Markup, Table, details, text};

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");
const UPLOT_SCRIPT: &str = include_str!("uplot/uPlot.iife.min.js");
const UPLOT_STYLE: &str = include_str!("uplot/uPlot.min.css");
const UPLOT_LICENCE: &str = include_str!("uplot/LICENSE");

/// More files make charts that nobody reads.
const FILES_MAX: usize = 4;

#[derive(Args, Clone, Debug)]
#[command(after_help = "\
Of one file, the last two lines of a scenario, variant, system and durability are drawn over each other; of several
files, the last line of each. They are called A, B and so on, and each is compared with A as `pool-bench compare` does.")]
pub(crate) struct Page {
    /// Measurements, one JSON line each; up to four files
    #[arg(value_name = "FILE.jsonl", required = true, num_args = 1..=FILES_MAX)]
    files: Vec<PathBuf>,
    /// Where to write the page
    #[arg(short, long, default_value = "report.html", value_name = "FILE")]
    output: PathBuf,
}

/// Reads, writes the page, and says where it is.
pub(crate) fn run(arguments: &Page) -> Result<()> {
    let mut files = Vec::new();
    for path in &arguments.files {
        let Lines { measurements, notes } = measurement::read(path)?;
        for note in notes {
            eprintln!("note: {note}");
        }
        // Names only: where the file lay on somebody's disk is nobody's business.
        let name = path.file_name().unwrap_or(path.as_os_str());
        files.push((name.to_string_lossy().into_owned(), measurements));
    }
    if files.iter().all(|(_, measurements)| measurements.is_empty()) {
        bail!("there is no measurement to show");
    }
    let page = render(&files);
    std::fs::write(&arguments.output, page)
        .with_context(|| format!("cannot write {}", arguments.output.display()))?;
    eprintln!("{}", arguments.output.display());
    Ok(())
}

/// One measurement and what it is called here.
pub(crate) struct Take<'a> {
    /// `A`, `B`; empty: there is no other.
    pub(crate) label: String,
    pub(crate) measurement: &'a Measurement,
}

impl Take<'_> {
    /// A name with this take's label behind it, where there are others.
    pub(crate) fn tag(&self, name: &str) -> String {
        if self.label.is_empty() {
            name.to_owned()
        } else {
            format!("{name} · {}", self.label)
        }
    }
}

/// Takes of the same thing.
pub(crate) struct Group<'a> {
    pub(crate) key: Key,
    pub(crate) takes: Vec<Take<'a>>,
}

type Files = [(String, Vec<Measurement>)];

/// In the order in which keys first occur.
fn groups(files: &Files) -> Vec<Group<'_>> {
    let mut keys: Vec<Key> = Vec::new();
    for line in files.iter().flat_map(|(_, lines)| lines) {
        let key = line.key();
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.into_iter().map(|key| group(key, files)).collect()
}

fn group(key: Key, files: &Files) -> Group<'_> {
    let of_file = |lines: &'_ [Measurement]| -> Vec<usize> {
        (0..lines.len())
            .filter(|index| lines[*index].key() == key)
            .collect()
    };
    let mut takes = Vec::new();
    if let [(_, lines)] = files {
        let found = of_file(lines);
        let last = &found[found.len().saturating_sub(2)..];
        for (index, line) in last.iter().enumerate() {
            takes.push(Take {
                label: if last.len() > 1 {
                    letter(index)
                } else {
                    String::new()
                },
                measurement: &lines[*line],
            });
        }
    } else {
        for (index, (_, lines)) in files.iter().enumerate() {
            if let Some(line) = of_file(lines).last() {
                takes.push(Take {
                    label: letter(index),
                    measurement: &lines[*line],
                });
            }
        }
    }
    Group { key, takes }
}

fn letter(index: usize) -> String {
    ["A", "B", "C", "D"][index].to_owned()
}

/// The whole page.
fn render(files: &Files) -> String {
    let groups = groups(files);
    let mut charts = Charts::default();
    let mut body = header(files, &groups);
    for (number, scenario) in scenarios(&groups).into_iter().enumerate() {
        body.push(&section(number, scenario, &groups, &mut charts));
    }
    // The policy makes the browser refuse what the page never asks for: anything from elsewhere.
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>{UPLOT_STYLE}</style>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         {body}</main>\n<footer>{footer}</footer>\n\
         <script type=\"application/json\" id=\"charts\">{data}</script>\n\
         <script>{UPLOT_SCRIPT}</script>\n<script>{SCRIPT}</script>\n</body>\n</html>\n",
        title = text(&title(&groups)),
        footer = footer(),
        data = charts.json(),
    )
}

fn title(groups: &[Group<'_>]) -> String {
    format!("pool-bench: {}", scenarios(groups).join(", "))
}

fn footer() -> Markup {
    let licence = Markup::trusted(format!("<pre>{}</pre>", text(UPLOT_LICENCE)));
    let mut out = Markup::trusted("<p>Written by <code>pool-bench page</code>. ");
    out.push(&Markup::trusted("Charts are drawn by uPlot 1.6.32.</p>"));
    out.push(&details("Licence of uPlot", &licence));
    out
}

/// Names of scenarios in the order of the page.
fn scenarios<'a>(groups: &'a [Group<'_>]) -> Vec<&'a str> {
    let mut names: Vec<&str> = Vec::new();
    for group in groups {
        if !names.contains(&group.key.scenario.as_str()) {
            names.push(&group.key.scenario);
        }
    }
    names
}

/// What was measured, where, of which commit, by which command.
fn header(files: &Files, groups: &[Group<'_>]) -> Markup {
    let takes = || groups.iter().flat_map(|group| &group.takes);
    // Ours stands first; a set has the rest in order.
    let systems: BTreeSet<(bool, &str)> = takes()
        .map(|take| {
            (
                !peers::is_ours(take.measurement),
                take.measurement.system.as_str(),
            )
        })
        .collect();
    let systems: Vec<&str> = systems.into_iter().map(|(_, name)| name).collect();
    let mut out = Markup::trusted(format!(
        "<header><h1>{}</h1><p>{}</p>\n",
        text(&systems.join(", ")),
        text(
            "Measured by pool-bench, from outside and over the real wire. Medians over runs unless said otherwise."
        )
    ));
    for part in [sources(files, groups), overview(groups)] {
        out.push(&Markup::trusted(format!("<div class=\"card\">{part}</div>\n")));
    }
    out.push(&Markup::trusted("</header>\n"));
    out
}

/// Each file with the machine and commit it is from; a file of several has a row for each.
fn sources(files: &Files, groups: &[Group<'_>]) -> Markup {
    let several = files.len() > 1;
    let mut table = Table::new("Where the numbers are from")
        .words("file")
        .words("commit")
        .words("machine")
        .words("from (UTC)")
        .words("commands");
    for (index, (name, lines)) in files.iter().enumerate() {
        let shown = |line: &&Measurement| {
            groups
                .iter()
                .flat_map(|group| &group.takes)
                .any(|take| std::ptr::eq(take.measurement, *line))
        };
        let lines: Vec<&Measurement> = lines.iter().filter(shown).collect();
        let places: BTreeSet<(String, String)> = lines.iter().map(|line| place(line)).collect();
        let name = if several {
            format!("{}: {name}", letter(index))
        } else {
            name.clone()
        };
        for shown in places {
            let here: Vec<&Measurement> = lines
                .iter()
                .copied()
                .filter(|line| place(line) == shown)
                .collect();
            table.row(source(&name, &shown, &here));
        }
    }
    table.markup()
}

/// A row about the measurements of one file that were made at one place.
fn source(name: &str, (commit, machine): &(String, String), lines: &[&Measurement]) -> Vec<Markup> {
    let begun = lines.iter().map(|line| line.at_unix_s).min().unwrap_or(0);
    let commands: BTreeSet<&str> = lines.iter().map(|line| line.machine.command.as_str()).collect();
    let number = commands.len();
    let shown = |command: &str| Markup::trusted(format!("<code>{}</code>", text(command)));
    let commands = html::list("ul", "bare", commands.into_iter().map(shown));
    vec![
        text(name),
        commit_shown(commit),
        text(machine),
        text(date(begun).trim_end_matches(" UTC")),
        if number > 1 {
            details(&format!("{number} commands"), &commands)
        } else {
            commands
        },
    ]
}

/// Commit and machine of a measurement, in words.
fn place(line: &Measurement) -> (String, String) {
    let machine = &line.machine;
    let words = format!(
        "{}, {}{THIN}cores, {}, Linux {}",
        machine.processor,
        machine.cores,
        with_unit(machine.memory_bytes as f64, "bytes"),
        machine.kernel
    );
    (machine.commit.clone(), words)
}

fn commit_shown(commit: &str) -> Markup {
    match commit.strip_suffix("-dirty") {
        Some(clean) => Markup::trusted(format!(
            "<code>{}</code> <span class=\"badge\">changed files</span>",
            text(clean)
        )),
        None => Markup::trusted(format!("<code>{}</code>", text(commit))),
    }
}

/// The first thing to look at: one number for each group, with a link to the rest. Of peers only ours is here: they
/// have bars below.
fn overview(groups: &[Group<'_>]) -> Markup {
    let names = scenarios(groups);
    let mut table = Table::new("At a glance")
        .words("scenario")
        .words("system")
        .words("metric")
        .numbers("median");
    for group in groups {
        let Some(take) = group.takes.last() else { continue };
        let key = &group.key;
        let is_peers = key.scenario == peers::SCENARIO;
        if is_peers && !peers::is_ours(take.measurement) {
            continue;
        }
        let number = names.iter().position(|name| *name == key.scenario).unwrap_or(0);
        let name = [
            key.scenario.as_str(),
            &key.variant,
            if is_peers { key.durability.as_str() } else { "" },
        ];
        let name: Vec<&str> = name.into_iter().filter(|part| !part.is_empty()).collect();
        let link = Markup::trusted(format!("<a href=\"#s{number}\">{}</a>", text(&name.join(" · "))));
        let (metric, value) = headline(take.measurement);
        table.row(vec![
            link,
            text(&take.tag(&take.measurement.system)),
            text(&metric),
            text(&value),
        ]);
    }
    if table.is_empty() {
        Markup::default()
    } else {
        table.markup()
    }
}

/// The metric that says most: a rate if there is one, else the longest latency that was noted.
fn headline(measurement: &Measurement) -> (String, String) {
    let metrics = &measurement.metrics;
    let rate = metrics.iter().find(|(_, metric)| metric.better == Better::Higher);
    let tail = metrics.iter().rfind(|(name, _)| name.ends_with("_p99_us"));
    let found = rate.or(tail).or_else(|| metrics.iter().next());
    found.map_or_else(
        || ("–".to_owned(), "not measured".to_owned()),
        |(name, metric)| {
            let middle = median(&metric.runs);
            (
                name.clone(),
                middle.map_or("–".to_owned(), |middle| with_unit(middle, &metric.unit)),
            )
        },
    )
}

fn section(number: usize, scenario: &str, groups: &[Group<'_>], charts: &mut Charts) -> Markup {
    let of_scenario: Vec<&Group<'_>> = groups
        .iter()
        .filter(|group| group.key.scenario == scenario)
        .collect();
    let mut out = Markup::trusted(format!("<section id=\"s{number}\"><h2>{}</h2>\n", text(scenario)));
    if scenario == peers::SCENARIO {
        out.push(&peers::section(&of_scenario, charts));
    } else {
        for group in of_scenario {
            out.push(&article(group, charts));
        }
    }
    out.push(&Markup::trusted("</section>\n"));
    out
}

/// One group: what it is, its numbers, its charts.
fn article(group: &Group<'_>, charts: &mut Charts) -> Markup {
    let heading = if group.key.variant.is_empty() {
        &group.key.program
    } else {
        &group.key.variant
    };
    let of = if group.key.variant.is_empty() {
        ""
    } else {
        &group.key.program
    };
    let mut out = Markup::trusted(format!(
        "<article><h3>{}<span class=\"of\">{}{}</span></h3>\n<p class=\"durability\">Durability: {}</p>\n",
        text(heading),
        if of.is_empty() { "" } else { " · " },
        text(of),
        text(&group.key.durability),
    ));
    out.push(&notes(group));
    match group.takes.as_slice() {
        [only] => out.push(&summary(only.measurement)),
        [first, others @ ..] => others
            .iter()
            .for_each(|other| out.push(&comparison(first, other))),
        [] => {}
    }
    let mut figures = charts.latencies(&group.takes);
    figures.push(&charts.over_time(&group.takes));
    if !figures.is_empty() {
        out.push(&Markup::trusted(format!(
            "<div class=\"figures\">{figures}</div>"
        )));
    }
    out.push(&load(group));
    out.push(&Markup::trusted("</article>\n"));
    out
}

/// What to know before believing the numbers.
fn notes(group: &Group<'_>) -> Markup {
    let mut notes: Vec<String> = Vec::new();
    for take in &group.takes {
        if let Some(why) = &take.measurement.absent {
            notes.push(format!(
                "{} was not measured: {why}",
                take.tag(&take.measurement.system)
            ));
        }
    }
    if let [first, others @ ..] = group.takes.as_slice() {
        for other in others {
            let warnings = compare::warnings(
                (&first.label, first.measurement),
                (&other.label, other.measurement),
            );
            notes.extend(warnings);
        }
        if others.is_empty() && first.measurement.is_dirty() {
            notes.push("Measured with changed files: nobody can build it again.".to_owned());
        }
    }
    notes.dedup();
    html::list("ul", "notes", notes.iter().map(|note| text(note)))
}

/// The metrics of one measurement.
fn summary(measurement: &Measurement) -> Markup {
    let mut table = Table::new("Metrics")
        .words("metric")
        .numbers("median")
        .numbers("least")
        .numbers("greatest")
        .words("unit")
        .words("better")
        .numbers("runs");
    for (name, metric) in &measurement.metrics {
        let row = Row::of(metric);
        table.row(vec![
            text(name),
            text(&row.median),
            text(&row.least),
            text(&row.greatest),
            text(&row.unit),
            text(direction(metric.better)),
            text(&metric.runs.len().to_string()),
        ]);
    }
    if table.is_empty() {
        Markup::default()
    } else {
        table.markup()
    }
}

fn direction(better: Better) -> &'static str {
    match better {
        Better::Higher => "↑ more",
        Better::Lower => "↓ less",
        Better::Neither => "–",
    }
}

/// The numbers of a metric in a unit that fits all three.
struct Row {
    median: String,
    least: String,
    greatest: String,
    unit: String,
}

impl Row {
    fn of(metric: &Metric) -> Self {
        let (size, unit) = Self::scale(metric);
        Self::scaled(metric, size, &unit)
    }

    /// The unit that fits the median.
    fn scale(metric: &Metric) -> (f64, String) {
        scale(&metric.unit, median(&metric.runs).unwrap_or(0.0))
    }

    fn scaled(metric: &Metric, size: f64, unit: &str) -> Self {
        let (least, greatest) = ends(&metric.runs).unzip();
        let shown = |value: Option<f64>| value.map_or("–".to_owned(), |value| short(value / size));
        Self {
            median: shown(median(&metric.runs)),
            least: shown(least),
            greatest: shown(greatest),
            unit: unit.to_owned(),
        }
    }

    fn markup(&self) -> Markup {
        Markup::trusted(format!(
            "{} <small>{} – {}</small>",
            text(&self.median),
            text(&self.least),
            text(&self.greatest)
        ))
    }
}

/// The metrics of two takes, with what can be said of their ratio.
fn comparison(a: &Take<'_>, b: &Take<'_>) -> Markup {
    let rules = Rules::default();
    let (one, other) = (&a.label, &b.label);
    let mut table = Table::new(format!(
        "{other} compared with {one}: medians (least – greatest), ratio of means"
    ))
    .words("metric")
    // What it comes to stands first: on a phone the rest has to be scrolled to.
    .words("verdict")
    .numbers(format!("{other}/{one}"))
    .numbers(format!("{} interval", percent(rules.confidence)))
    .numbers(one.clone())
    .numbers(other.clone())
    .words("unit");
    let names: BTreeSet<&String> = a
        .measurement
        .metrics
        .keys()
        .chain(b.measurement.metrics.keys())
        .collect();
    for name in names {
        let (metric_a, metric_b) = (a.measurement.metrics.get(name), b.measurement.metrics.get(name));
        let Some(metric) = metric_a.or(metric_b) else {
            continue;
        };
        let judged = metric_a
            .zip(metric_b)
            .filter(|(a, b)| a.unit == b.unit && a.better != Better::Neither);
        let judged = judged.map(|(a, b)| judge(&a.runs, &b.runs, a.better, rules));
        let (size, unit) = Row::scale(metric);
        let side = |side: Option<&Metric>| match side {
            None => text("–"),
            Some(side) if side.unit != metric.unit => text(&format!("in {}", side.unit)),
            // Both in one unit, whatever their size: 999 KiB beside 1.2 MiB would mislead.
            Some(side) => Row::scaled(side, size, &unit).markup(),
        };
        let mut cells = vec![text(name)];
        cells.extend(judged_cells(judged.as_ref()));
        cells.extend([side(metric_a), side(metric_b), text(&unit)]);
        table.row(cells);
    }
    if table.is_empty() {
        Markup::default()
    } else {
        table.markup()
    }
}

/// Verdict, ratio, interval.
fn judged_cells(judged: Option<&Judgement>) -> [Markup; 3] {
    let Some(judged) = judged else {
        return ["–", "–", "–"].map(text);
    };
    let interval = judged
        .interval
        .map(|(low, high)| format!("{} – {}", ratio(low), ratio(high)));
    let reason = judged.reason.as_ref().map_or_else(String::new, |reason| {
        format!(" <small class=\"hint\">{}</small>", text(reason))
    });
    let sign = match judged.verdict {
        Verdict::Better => "✓",
        Verdict::Worse => "✗",
        Verdict::Same => "=",
        Verdict::Unknown => "?",
    };
    let word = judged.verdict.word();
    [
        Markup::trusted(format!(
            "<span class=\"verdict {word}\">{sign} {word}</span>{reason}"
        )),
        text(&judged.ratio.map_or("–".to_owned(), ratio)),
        text(&interval.unwrap_or_else(|| "–".to_owned())),
    ]
}

/// The load, setting by setting, and the command.
fn load(group: &Group<'_>) -> Markup {
    let mut table = Table::new("Load").words("setting");
    for take in &group.takes {
        table = table.words(if take.label.is_empty() {
            "value"
        } else {
            &take.label
        });
    }
    let objects = group
        .takes
        .iter()
        .filter_map(|take| take.measurement.settings.as_object());
    let names: BTreeSet<&String> = objects.flat_map(serde_json::Map::keys).collect();
    for name in names {
        let mut cells = vec![text(name)];
        cells.extend(
            group
                .takes
                .iter()
                .map(|take| setting(take.measurement.settings.get(name))),
        );
        table.row(cells);
    }
    let mut commands = vec![text("command")];
    commands.extend(group.takes.iter().map(|take| {
        Markup::trusted(format!(
            "<code>{}</code>",
            text(&take.measurement.machine.command)
        ))
    }));
    table.row(commands);
    details("Load and command", &table.markup())
}

fn setting(value: Option<&serde_json::Value>) -> Markup {
    match value {
        None => text("–"),
        Some(serde_json::Value::String(words)) => text(words),
        Some(value) => text(&value.as_f64().map_or_else(|| value.to_string(), short)),
    }
}

#[cfg(test)]
mod tests;
