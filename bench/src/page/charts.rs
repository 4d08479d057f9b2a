//! Charts: what `page.js` draws with uPlot, and the same numbers as a table for those who do not see it.
//!
//! Rust decides what is in a chart, the script only how it looks. Colour tells lines of one run apart, dashes tell
//! runs apart; if there is one run, each line has both of its own.

use serde::Serialize;

use crate::measurement::{Column, Fault, Latency, Series};
use crate::numbers::{percent, short, with_unit};
use crate::page::Take;
use crate::page::html::{self, Markup, Table, details, text};

/// More lines than this nobody tells apart.
const LINES_MAX: usize = 8;

/// Quantiles that people ask for.
const ASKED: [f64; 7] = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 1.0];

/// One chart, as the script reads it.
#[derive(Serialize, Debug)]
pub(crate) struct Chart {
    pub(crate) kind: Kind,
    pub(crate) title: String,
    /// Of the vertical axis.
    pub(crate) unit: String,
    pub(crate) lines: Vec<ChartLine>,
    pub(crate) faults: Vec<Mark>,
}

#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// x is a quantile in nines, y a time on a logarithmic axis.
    Quantiles,
    /// x is seconds.
    Time,
}

#[derive(Serialize, Debug)]
pub(crate) struct ChartLine {
    pub(crate) label: String,
    /// Which colour of the palette.
    pub(crate) colour: usize,
    /// Which pattern of dashes.
    pub(crate) dash: usize,
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<Option<f64>>,
}

/// A fault: a vertical line with a number, which a list beside the charts explains.
#[derive(Serialize, Clone, Debug)]
pub(crate) struct Mark {
    pub(crate) at_s: f64,
    pub(crate) what: String,
}

/// All charts of a page; their order is their number.
#[derive(Default)]
pub(crate) struct Charts {
    charts: Vec<Chart>,
}

impl Charts {
    /// What the script reads.
    pub(crate) fn json(&self) -> Markup {
        html::json(&self.charts)
    }

    /// Takes a chart in and returns the place where it will be drawn, with its table.
    fn figure(&mut self, chart: Chart, said: &str, table: &Markup) -> Markup {
        let number = self.charts.len();
        let title = text(&chart.title);
        let html = format!(
            "<figure aria-labelledby=\"c{number}\"><figcaption id=\"c{number}\">{title}</figcaption>\
             <div class=\"keys\"></div>\
             <div class=\"chart\" data-chart=\"{number}\" role=\"img\" aria-label=\"{title}: {}\"></div>\
             {}</figure>\n",
            text(said),
            details("The same as a table", table),
        );
        self.charts.push(chart);
        Markup::trusted(html)
    }

    /// Percentile curves of all latencies of these takes.
    pub(crate) fn latencies(&mut self, takes: &[Take<'_>]) -> Markup {
        let curves: Vec<Curve<'_>> = takes
            .iter()
            .enumerate()
            .flat_map(|(index, take)| {
                let latencies = take.measurement.latencies.iter().enumerate();
                latencies.map(move |(colour, (name, latency))| Curve {
                    label: take.tag(name),
                    colour,
                    dash: if take.label.is_empty() { colour } else { index },
                    latency,
                })
            })
            .collect();
        self.quantiles("Latency by quantile", &curves)
    }

    /// Percentile curves under a title; nothing for no curves.
    pub(crate) fn quantiles(&mut self, title: &str, curves: &[Curve<'_>]) -> Markup {
        let curves: Vec<&Curve<'_>> = curves
            .iter()
            .filter(|curve| !curve.latency.curve_us.is_empty())
            .collect();
        if curves.is_empty() {
            return Markup::default();
        }
        let said: Vec<String> = curves.iter().map(|curve| curve.said()).collect();
        let chart = Chart {
            kind: Kind::Quantiles,
            title: title.to_owned(),
            unit: "µs".to_owned(),
            lines: curves.iter().take(LINES_MAX).map(|curve| curve.line()).collect(),
            faults: Vec::new(),
        };
        let table = quantile_table(title, &curves);
        self.figure(chart, &said.join("; "), &table)
    }

    /// How runs went: a chart for throughput, processors, memory, and for whatever else was written down.
    pub(crate) fn over_time(&mut self, takes: &[Take<'_>]) -> Markup {
        let mut out = Markup::default();
        let mut topics: Vec<Topic> = takes
            .iter()
            .filter_map(|take| take.measurement.series.as_ref())
            .flat_map(|series| {
                series
                    .columns
                    .iter()
                    .map(|(name, column)| Topic::of(name, column))
            })
            .collect();
        topics.sort();
        topics.dedup();
        for topic in topics {
            out.push(&self.topic(&topic, takes));
        }
        out.push(&listed(&marks(takes)));
        out
    }

    fn topic(&mut self, topic: &Topic, takes: &[Take<'_>]) -> Markup {
        let mut lines = Vec::new();
        for (index, take) in takes.iter().enumerate() {
            let one = take.label.is_empty();
            if let Some(series) = &take.measurement.series {
                let columns = series
                    .columns
                    .iter()
                    .filter(|(name, column)| Topic::of(name, column) == *topic);
                for (colour, (name, column)) in columns.enumerate() {
                    let dash = if one { colour } else { index };
                    lines.push(time_line(take.tag(name), colour, dash, series, column));
                }
            }
        }
        lines.truncate(LINES_MAX);
        let said: Vec<String> = lines.iter().map(|line| said_of_line(line, &topic.unit)).collect();
        let title = format!("{} over time", topic.title());
        let table = time_table(&title, &topic.unit, &lines);
        let chart = Chart {
            kind: Kind::Time,
            title,
            unit: topic.unit.clone(),
            lines,
            faults: marks(takes),
        };
        self.figure(chart, &said.join("; "), &table)
    }
}

/// One latency of one take or system.
pub(crate) struct Curve<'a> {
    pub(crate) label: String,
    pub(crate) colour: usize,
    pub(crate) dash: usize,
    pub(crate) latency: &'a Latency,
}

impl Curve<'_> {
    fn line(&self) -> ChartLine {
        let nines_max = (self.latency.count.max(2) as f64).log10();
        let (x, y) = self
            .latency
            .curve_us
            .iter()
            // A logarithm has no zero; below a microsecond nothing is known anyway.
            .map(|(quantile, us)| (nines(*quantile, nines_max), Some(*us.max(&1) as f64)))
            .unzip();
        ChartLine {
            label: self.label.clone(),
            colour: self.colour,
            dash: self.dash,
            x,
            y,
        }
    }

    fn at(&self, quantile: f64) -> Option<u64> {
        at(&self.latency.curve_us, quantile)
    }

    fn said(&self) -> String {
        let shown = |quantile| {
            self.at(quantile)
                .map_or("unknown".to_owned(), |us| with_unit(us as f64, "µs"))
        };
        format!(
            "{}: median {}, {} {}",
            self.label,
            shown(0.5),
            percent(0.99),
            shown(0.99)
        )
    }
}

/// How many nines a quantile has: 0.9 is 1, 0.999 is 3, one half is 0.3. The longest of n stands at log10 n, which
/// is where the quantile that n measurements can tell from it ends.
fn nines(quantile: f64, at_most: f64) -> f64 {
    (-(1.0 - quantile).log10()).min(at_most).max(0.0)
}

/// The time below which this part lies: that of the first point at or beyond it. `None`: beyond the curve.
fn at(curve_us: &[(f64, u64)], quantile: f64) -> Option<u64> {
    curve_us
        .iter()
        .find(|(of_point, _)| *of_point >= quantile - 1e-9)
        .map(|(_, us)| *us)
}

fn quantile_table(title: &str, curves: &[&Curve<'_>]) -> Markup {
    let mut table = Table::new(title).words("quantile");
    for curve in curves {
        table = table.numbers(curve.label.clone());
    }
    for quantile in ASKED {
        let name = if quantile < 1.0 {
            percent(quantile)
        } else {
            "longest".to_owned()
        };
        let mut cells = vec![text(&name)];
        // Of a thousand, nobody can say what 99.99 % of them stayed below.
        let known =
            |curve: &&Curve<'_>| quantile == 1.0 || (1.0 - quantile) * curve.latency.count as f64 >= 1.0;
        if !curves.iter().any(known) {
            continue;
        }
        cells.extend(curves.iter().map(|curve| {
            let value = curve.at(quantile).filter(|_| known(curve));
            text(&value.map_or("–".to_owned(), |us| with_unit(us as f64, "µs")))
        }));
        table.row(cells);
    }
    let mut counts = vec![text("measured")];
    counts.extend(
        curves
            .iter()
            .map(|curve| text(&short(curve.latency.count as f64))),
    );
    table.row(counts);
    table.markup()
}

/// What a chart over time is about: columns of one topic and unit share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Topic {
    kind: TopicKind,
    unit: String,
    /// Of the column, where it has a chart of its own.
    name: String,
}

/// In the order of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum TopicKind {
    Throughput,
    Processors,
    Memory,
    Other,
}

impl Topic {
    fn of(name: &str, column: &Column) -> Self {
        let kind = if name.ends_with("_per_second") {
            TopicKind::Throughput
        } else if name.contains("cpu") {
            TopicKind::Processors
        } else if name.contains("memory") {
            TopicKind::Memory
        } else {
            TopicKind::Other
        };
        Self {
            kind,
            unit: column.unit.clone(),
            name: if kind == TopicKind::Other {
                name.to_owned()
            } else {
                String::new()
            },
        }
    }

    fn title(&self) -> String {
        match self.kind {
            TopicKind::Throughput => "Throughput".to_owned(),
            TopicKind::Processors => "Processors in use".to_owned(),
            TopicKind::Memory => "Memory".to_owned(),
            TopicKind::Other => {
                let words = self.name.replace('_', " ");
                let mut letters = words.chars();
                letters
                    .next()
                    .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
            }
        }
    }
}

fn time_line(label: String, colour: usize, dash: usize, series: &Series, column: &Column) -> ChartLine {
    let every_s = f64::from(series.every_ms) / 1000.0;
    ChartLine {
        label,
        colour,
        dash,
        // A value is for a span; its point stands in the middle.
        x: (0..column.values.len())
            .map(|index| milli((index as f64 + 0.5) * every_s))
            .collect(),
        y: column.values.clone(),
    }
}

/// To milliseconds, so that 0.1 + 0.2 does not make a longer file.
fn milli(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// What was done to the pool in any of the takes, in order: its place is its number.
fn marks(takes: &[Take<'_>]) -> Vec<Mark> {
    let faults = |take: &'_ Take<'_>| -> Vec<Mark> {
        let mark = |fault: &Fault| Mark {
            at_s: milli(fault.at_s),
            what: take.tag(&fault.what),
        };
        take.measurement.faults.iter().map(mark).collect()
    };
    let mut marks: Vec<Mark> = takes.iter().flat_map(faults).collect();
    marks.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
    marks
}

/// Words for the numbers in the charts, once for all charts of a group.
fn listed(marks: &[Mark]) -> Markup {
    let words =
        |mark: &Mark| Markup::trusted(format!("{} – {}", with_unit(mark.at_s, "s"), text(&mark.what)));
    let list = html::list("ol", "faults", marks.iter().map(words));
    if list.is_empty() {
        return list;
    }
    Markup::trusted(format!(
        "<div><p class=\"caption\">Faults, as numbered in the charts over time</p>{list}</div>"
    ))
}

fn said_of_line(line: &ChartLine, unit: &str) -> String {
    let known: Vec<f64> = line.y.iter().copied().flatten().collect();
    match crate::statistics::ends(&known) {
        Some((least, greatest)) => {
            format!(
                "{} from {} to {}",
                line.label,
                with_unit(least, unit),
                with_unit(greatest, unit)
            )
        }
        None => format!("{} unknown", line.label),
    }
}

fn time_table(title: &str, unit: &str, lines: &[ChartLine]) -> Markup {
    let mut table = Table::new(format!("{title}, by the middle of each span")).numbers("s");
    for line in lines {
        table = table.numbers(line.label.clone());
    }
    // Takes may have spans of different lengths; then each instant has values of some.
    let mut instants: Vec<f64> = lines.iter().flat_map(|line| line.x.iter().copied()).collect();
    instants.sort_by(f64::total_cmp);
    instants.dedup();
    for instant in instants {
        let mut cells = vec![text(&format!("{instant}"))];
        cells.extend(lines.iter().map(|line| {
            let index = line.x.binary_search_by(|x| x.total_cmp(&instant)).ok();
            let value = index.and_then(|index| line.y[index]);
            text(&value.map_or("–".to_owned(), |value| with_unit(value, unit)))
        }));
        table.row(cells);
    }
    table.markup()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nines_count_the_nines() {
        for (quantile, expected) in [(0.0, 0.0), (0.5, 0.301), (0.9, 1.0), (0.999, 3.0), (1.0, 5.0)] {
            let found = nines(quantile, 5.0);
            assert!((found - expected).abs() < 1e-3, "{quantile} gives {found}");
        }
    }

    #[test]
    fn a_quantile_is_read_at_the_first_point_that_reaches_it() {
        let curve = [(0.0, 1), (0.5, 10), (0.9, 20), (1.0, 30)];
        assert_eq!(at(&curve, 0.5), Some(10));
        assert_eq!(at(&curve, 0.6), Some(20));
        assert_eq!(at(&curve, 1.0), Some(30));
        assert_eq!(at(&[], 0.5), None);
    }

    #[test]
    fn columns_of_one_topic_share_a_chart() {
        let column = |unit: &str| Column {
            unit: unit.to_owned(),
            values: Vec::new(),
        };
        assert_eq!(
            Topic::of("engine_cpu", &column("cores")),
            Topic::of("workers_cpu", &column("cores"))
        );
        assert_ne!(
            Topic::of("engine_cpu", &column("cores")),
            Topic::of("workers_cpu", &column("%"))
        );
        assert_ne!(
            Topic::of("queued", &column("works")),
            Topic::of("running", &column("works"))
        );
        assert!(Topic::of("done_per_second", &column("works/s")) < Topic::of("engine_cpu", &column("cores")));
        assert_eq!(
            Topic::of("running_works", &column("works")).title(),
            "Running works"
        );
    }
}
