//! A comparison for people, as a table, and for programs.

use std::collections::BTreeSet;

use super::pairs::{Compared, Pair};
use super::{Comparison, Output};
use crate::numbers::{percent, ratio, short};

/// Notes and warnings go to standard error, the comparison to standard output.
pub(super) fn print(comparison: &Comparison, output: Output) {
    for note in &comparison.notes {
        eprintln!("note: {note}");
    }
    print_warnings(&comparison.pairs);
    match output {
        Output::Json => {
            let json = serde_json::to_string(comparison).expect("numbers and text become JSON");
            println!("{json}");
        }
        Output::Table => {
            for pair in &comparison.pairs {
                println!("{}\n{}", pair.heading(), table(pair, comparison.confidence));
            }
            println!("{}", conclusion(comparison));
        }
    }
}

/// What holds for all pairs, such as another machine, is said once.
fn print_warnings(pairs: &[Pair]) {
    let all: BTreeSet<&String> = pairs.iter().flat_map(|pair| &pair.warnings).collect();
    for warning in all {
        let warned: Vec<&Pair> = pairs
            .iter()
            .filter(|pair| pair.warnings.contains(warning))
            .collect();
        if warned.len() == pairs.len() {
            eprintln!("warning: {warning}");
        } else {
            warned
                .iter()
                .for_each(|pair| eprintln!("warning: {}: {warning}", pair.heading()));
        }
    }
}

fn conclusion(comparison: &Comparison) -> String {
    let beyond = percent(comparison.threshold);
    match comparison.regressions {
        0 => format!("Nothing is shown to be worse by more than {beyond}."),
        1 => format!("1 metric is worse by more than {beyond}."),
        more => format!("{more} metrics are worse by more than {beyond}."),
    }
}

fn table(pair: &Pair, confidence: f64) -> String {
    let head = ["metric", "A median", "B median", "unit", "mean B/A"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    rows[0].extend([format!("{} interval", percent(confidence)), "verdict".to_owned()]);
    rows.extend(pair.metrics.iter().map(row));
    let columns = rows[0].len();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        let cells = row
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(column, (cell, width))| {
                // Numbers to the right, words to the left.
                if matches!(column, 1 | 2 | 4) {
                    format!("{cell:>width$}")
                } else {
                    format!("{cell:<width$}")
                }
            });
        let line: Vec<String> = cells.collect();
        out.push_str(&format!("  {}\n", line.join("  ").trim_end()));
    }
    out
}

fn row(metric: &Compared) -> Vec<String> {
    let judgement = &metric.judgement;
    let number = |value: Option<f64>| value.map_or("–".to_owned(), short);
    let verdict = judgement.verdict.word();
    vec![
        metric.metric.clone(),
        number(metric.a.median),
        number(metric.b.median),
        metric.unit.clone(),
        judgement.ratio.map_or("–".to_owned(), ratio),
        judgement.interval.map_or("–".to_owned(), |(low, high)| {
            format!("{} – {}", ratio(low), ratio(high))
        }),
        judgement
            .reason
            .as_ref()
            .map_or(verdict.to_owned(), |reason| format!("{verdict} ({reason})")),
    ]
}
