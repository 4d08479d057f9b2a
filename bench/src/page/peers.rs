//! Systems beside each other: bars by durability, as only systems that promise the same can be compared.

use std::collections::BTreeMap;

use crate::measurement::{Better, Measurement};
use crate::numbers::{ratio, scale, short};
use crate::page::charts::{Charts, Curve};
use crate::page::html::{Markup, Table, text};
use crate::page::{Group, Take};
use crate::statistics::{ends, median};

/// The scenario whose groups come here.
pub(crate) const SCENARIO: &str = "peers";

/// Our own program.
const OURS: &str = "workerpool";

/// Bars, by variant and durability, for every metric with a direction; below them the curves of all systems.
pub(crate) fn section(groups: &[&Group<'_>], charts: &mut Charts) -> Markup {
    let mut by_load: BTreeMap<(&str, &str), Vec<&Take<'_>>> = BTreeMap::new();
    for group in groups {
        let load = (group.key.variant.as_str(), group.key.durability.as_str());
        by_load.entry(load).or_default().extend(&group.takes);
    }
    let mut out = Markup::default();
    for ((variant, durability), takes) in by_load {
        let variant = if variant.is_empty() {
            String::new()
        } else {
            format!(" · {variant}")
        };
        out.push(&Markup::trusted(format!(
            "<article><h3>{}<span class=\"of\">{}</span></h3>\n",
            text(durability),
            text(&variant)
        )));
        let bars = metric_names(&takes).into_iter().map(|name| bars(name, &takes));
        out.push(&Markup::trusted("<div class=\"bars\">"));
        bars.for_each(|bars| out.push(&bars));
        out.push(&Markup::trusted("</div>"));
        out.push(&absent(&takes));
        out.push(&curves(&takes, charts));
        out.push(&Markup::trusted("</article>\n"));
    }
    out
}

/// Names of metrics with a direction: rates first, as they are asked for first.
fn metric_names<'a>(takes: &[&Take<'a>]) -> Vec<&'a str> {
    let metrics = takes.iter().flat_map(|take| &take.measurement.metrics);
    let mut names: Vec<(bool, &str)> = metrics
        .filter(|(_, metric)| metric.better != Better::Neither)
        .map(|(name, metric)| (metric.better == Better::Lower, name.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|(_, name)| name).collect()
}

struct Bar<'a> {
    take: &'a Take<'a>,
    median: f64,
    least: f64,
    greatest: f64,
}

/// A table whose numbers have bars, the best on top; it needs no other table beside it.
fn bars(name: &str, takes: &[&Take<'_>]) -> Markup {
    let Some(metric) = takes.iter().find_map(|take| take.measurement.metrics.get(name)) else {
        return Markup::default();
    };
    let mut bars: Vec<Bar<'_>> = takes.iter().filter_map(|take| bar(name, take)).collect();
    bars.sort_by(|one, other| one.median.total_cmp(&other.median));
    if metric.better == Better::Higher {
        bars.reverse();
    }
    let longest = bars.iter().map(|bar| bar.greatest).fold(0.0, f64::max);
    let ours = bars
        .iter()
        .find(|bar| is_ours(bar.take.measurement))
        .map(|bar| bar.median);
    let (size, unit) = scale(&metric.unit, longest);
    let better = if metric.better == Better::Higher {
        "more is better"
    } else {
        "less is better"
    };
    let mut table = Table::new(format!("{name}, {unit}: {better}"))
        .words("system")
        .words("median, least to greatest")
        .numbers(unit)
        .numbers("to ours");
    for bar in &bars {
        let to_ours = ours
            .filter(|ours| *ours > 0.0)
            .map_or("–".to_owned(), |ours| ratio(bar.median / ours));
        table.row(vec![
            system(bar.take),
            drawn(bar, longest),
            text(&short(bar.median / size)),
            text(&to_ours),
        ]);
    }
    table.markup()
}

fn bar<'a>(name: &str, take: &'a Take<'a>) -> Option<Bar<'a>> {
    let runs = &take.measurement.metrics.get(name)?.runs;
    let (least, greatest) = ends(runs)?;
    Some(Bar {
        take,
        median: median(runs)?,
        least,
        greatest,
    })
}

/// Whether it is our own program.
pub(crate) fn is_ours(measurement: &Measurement) -> bool {
    measurement.key().program.starts_with(OURS)
}

fn system(take: &Take<'_>) -> Markup {
    let name = text(&take.tag(&take.measurement.system));
    Markup::trusted(if is_ours(take.measurement) {
        format!("<strong>{name}</strong>")
    } else {
        name.to_string()
    })
}

/// A bar as long as the median, with a thin line from the least to the greatest.
fn drawn(bar: &Bar<'_>, longest: f64) -> Markup {
    let percent = |value: f64| {
        if longest > 0.0 {
            (value / longest * 100.0).clamp(0.0, 100.0)
        } else {
            0.0
        }
    };
    let class = if is_ours(bar.take.measurement) {
        "bar ours"
    } else {
        "bar"
    };
    Markup::trusted(format!(
        "<div class=\"track\" aria-hidden=\"true\"><i class=\"{class}\" style=\"width:{:.2}%\"></i>\
         <i class=\"spread\" style=\"left:{:.2}%;width:{:.2}%\"></i></div>",
        percent(bar.median),
        percent(bar.least),
        percent(bar.greatest) - percent(bar.least),
    ))
}

/// Systems that could not be measured stay visible, with the reason.
fn absent(takes: &[&Take<'_>]) -> Markup {
    let absent = takes.iter().filter_map(|take| {
        let why = take.measurement.absent.as_ref()?;
        Some(Markup::trusted(format!(
            "{} was not measured: {}",
            system(take),
            text(why)
        )))
    });
    crate::page::html::list("ul", "notes", absent)
}

/// For each latency a chart with a curve for each system.
fn curves(takes: &[&Take<'_>], charts: &mut Charts) -> Markup {
    let mut by_name: BTreeMap<&str, Vec<Curve<'_>>> = BTreeMap::new();
    for (index, take) in takes.iter().enumerate() {
        for (name, latency) in &take.measurement.latencies {
            by_name.entry(name).or_default().push(Curve {
                label: take.tag(&take.measurement.system),
                colour: index,
                dash: index,
                latency,
            });
        }
    }
    let mut out = Markup::default();
    for (name, curves) in by_name {
        out.push(&charts.quantiles(&format!("Latency by quantile: {name}"), &curves));
    }
    out
}
