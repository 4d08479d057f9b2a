//! What a run says: for people on standard error, for programs as JSON lines on standard output.

use serde::Serialize;

/// The machine and the program that were measured.
#[derive(Serialize, Clone)]
pub(crate) struct Machine {
    cores: usize,
    kernel: String,
    processor: String,
    commit: String,
    command: String,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| {
                line.strip_prefix("model name")?
                    .split_once(": ")
                    .map(|(_, name)| name.to_owned())
            })
            .unwrap_or_default();
        let commit = std::process::Command::new("git")
            .args(["describe", "--always", "--dirty", "--abbrev=12"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor,
            commit,
            command: format!("pool-bench {}", arguments.join(" ")),
        }
    }
}

/// Median, least and greatest of several runs.
#[derive(Serialize, Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) greatest: f64,
}

impl Spread {
    /// # Panics
    /// If there is no value.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Self {
            median,
            least: values[0],
            greatest: values[values.len() - 1],
        }
    }
}

/// A number with thousands apart.
pub(crate) fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && digit.is_ascii_digit() {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_its_median_between_its_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((odd.least, odd.median, odd.greatest), (1.0, 2.0, 3.0));
        assert!((Spread::of([1.0, 2.0]).median - 1.5).abs() < 1e-9);
    }

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(grouped(1_234_567.4), "1 234 567");
        assert_eq!(grouped(999.0), "999");
    }
}
