//! What besides the program differs between two measurements.

use std::collections::BTreeSet;

use crate::measurement::Measurement;

/// A memory that differs by less is the same machine after another boot.
const MEMORY_TOLERANCE: f64 = 0.02;

/// What differs between two measurements besides the program, so that a verdict may be about that.
///
/// Each measurement comes with what it is called, such as A and B.
pub(crate) fn warnings((name_a, a): (&str, &Measurement), (name_b, b): (&str, &Measurement)) -> Vec<String> {
    let mut warnings = Vec::new();
    let machines = different_machines(a, b);
    if !machines.is_empty() {
        warnings.push(format!("measured on different machines: {}", machines.join(", ")));
    }
    let settings = different_settings(&a.settings, &b.settings);
    if !settings.is_empty() {
        warnings.push(format!("not the same load: {}", settings.join(", ")));
    }
    for (name, side) in [(name_a, a), (name_b, b)] {
        if side.is_dirty() {
            warnings.push(format!(
                "{name} was measured with changed files ({}): nobody can build it again",
                side.machine.commit
            ));
        }
    }
    warnings
}

fn different_machines(a: &Measurement, b: &Measurement) -> Vec<String> {
    let (a, b) = (&a.machine, &b.machine);
    let mut different = Vec::new();
    let mut note = |what: &str, a: &str, b: &str| {
        if a != b {
            different.push(format!("{what} {a} and {b}"));
        }
    };
    note("processor", &a.processor, &b.processor);
    note("cores", &a.cores.to_string(), &b.cores.to_string());
    note("kernel", &a.kernel, &b.kernel);
    let (memory_a, memory_b) = (a.memory_bytes as f64, b.memory_bytes as f64);
    if (memory_a - memory_b).abs() > MEMORY_TOLERANCE * memory_a.max(memory_b) {
        let shown = |bytes| crate::numbers::with_unit(bytes, "bytes");
        note("memory", &shown(memory_a), &shown(memory_b));
    }
    different
}

/// Names and values of settings that are not equal.
fn different_settings(a: &serde_json::Value, b: &serde_json::Value) -> Vec<String> {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else {
        return if a == b {
            Vec::new()
        } else {
            vec![format!("{a} and {b}")]
        };
    };
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let shown = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
    names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name))
        .map(|name| format!("{name} {} and {}", shown(a.get(name)), shown(b.get(name))))
        .collect()
}
