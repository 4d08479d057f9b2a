//! Counts the instructions of hot paths under valgrind.
//!
//! Instructions do not depend on what else the machine does, so a change of a few per cent shows even in CI. They are
//! a figure to look at and no threshold: a cache miss costs as much as a hundred of them. Each path of
//! `bench/instructions` runs twice, the second time with twice as many operations, and the difference is divided by
//! their number; what a path sets up cancels out.
//!
//! valgrind knows no AVX-512: hashes and checksums run as on a processor with AVX2.

use crate::cargo::{cargo, program, run, target, works};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Builds the paths, counts each, and prints the table.
pub(crate) fn callgrind() -> Result<()> {
    ensure!(
        works(&mut program("valgrind", "--version")),
        "valgrind is not installed: `apt-get install valgrind`, or `./dev test` does it"
    );
    run(&mut cargo("build --release -p bench-instructions --locked"))?;
    let binary = target().join("release/bench-instructions");
    let listed = output(&mut Command::new(&binary))?;
    let mut table = vec![("hot path".to_owned(), "instructions per operation".to_owned())];
    for line in listed.lines() {
        let (count, name) = line.split_once('\t').context("a count and a name")?;
        let count: u64 = count.parse().with_context(|| line.to_owned())?;
        let (once, twice) = (
            instructions(&binary, name, count)?,
            instructions(&binary, name, 2 * count)?,
        );
        table.push((name.to_owned(), per_operation(once, twice, count)?));
    }
    println!("{}", aligned(&table));
    Ok(())
}

/// Instructions of the whole process while it runs the path `count` times.
fn instructions(binary: &Path, name: &str, count: u64) -> Result<u64> {
    let out = target().join("callgrind.out");
    let mut command = program("valgrind", "--quiet --tool=callgrind");
    command
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(binary)
        .args([name, &count.to_string()]);
    output(&mut command)?;
    let profile = fs::read_to_string(&out).with_context(|| out.display().to_string())?;
    total(&profile).with_context(|| format!("no total in {}", out.display()))
}

/// What callgrind says about a run as a whole: the line `totals: 123`.
fn total(profile: &str) -> Option<u64> {
    let totals = profile
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("totals:"))?;
    totals.trim().parse().ok()
}

fn per_operation(once: u64, twice: u64, count: u64) -> Result<String> {
    ensure!(
        twice > once,
        "twice the operations took {twice} instructions, once {once}"
    );
    let tenths = (twice - once) * 10 / count;
    Ok(format!("{}.{}", tenths / 10, tenths % 10))
}

/// Two columns, the second to the right.
fn aligned(table: &[(String, String)]) -> String {
    let width = |column: fn(&(String, String)) -> &String| {
        table
            .iter()
            .map(|row| column(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let (left, right) = (width(|row| &row.0), width(|row| &row.1));
    let lines = table
        .iter()
        .map(|(name, figure)| format!("  {name:<left$}  {figure:>right$}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Standard output of a command that must succeed.
fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).context("not text")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_a_profile_is_its_last_line() {
        let profile = "version: 1\nevents: Ir\nsummary: 5\n\nfn=(1) main\n1 5\n\ntotals: 123456\n";
        assert_eq!(total(profile), Some(123_456));
        assert_eq!(total("events: Ir\n"), None);
    }

    #[test]
    fn what_a_path_sets_up_cancels_out() {
        assert_eq!(
            per_operation(1_000 + 64 * 25, 1_000 + 128 * 25, 64).expect("more"),
            "25.0"
        );
        assert_eq!(per_operation(1_000, 1_099, 10).expect("more"), "9.9");
        assert!(per_operation(1_000, 1_000, 10).is_err());
    }

    #[test]
    fn the_columns_of_the_table_line_up() {
        let table = [("a × b", "1.5"), ("long name", "1000.0")]
            .map(|(name, figure)| (name.to_owned(), figure.to_owned()));
        assert_eq!(aligned(&table), "  a × b         1.5\n  long name  1000.0");
    }
}
