//! What processes used: processor time and memory, from `/proc`.

use std::fs;
use std::time::Duration;

/// Ticks per second of `/proc/<pid>/stat`; Linux has shown 100 to programs since 2.6, whatever the kernel's own is.
const TICKS_PER_SECOND: u64 = 100;

/// Processor time that a process has used so far, all threads, user and system.
pub(crate) fn used(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces: fields are counted from behind it.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields
        .iter()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

/// Memory that a process holds now (VmRSS) and held at most (VmHWM), in bytes.
pub(crate) fn memory(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    (
        field("VmRSS:").unwrap_or(0) * 1024,
        field("VmHWM:").unwrap_or(0) * 1024,
    )
}
