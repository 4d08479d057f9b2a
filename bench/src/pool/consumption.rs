//! What processes used: processor time, memory, calls for files, from `/proc`.

use std::fs;
use std::time::Duration;

/// Ticks per second of `/proc/<pid>/stat`; Linux has shown 100 to programs since 2.6, whatever the kernel's own is.
const TICKS_PER_SECOND: u64 = 100;

/// What a process has used since it started.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all threads, user and system; in steps of 10 ms.
    pub(crate) cpu: Duration,
    /// Memory that it holds now.
    pub(crate) memory_bytes: u64,
    /// Memory that it held at most.
    pub(crate) memory_bytes_max: u64,
    /// System calls that read or wrote files.
    pub(crate) file_calls: u64,
}

impl Usage {
    /// Of two processes together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            memory_bytes: self.memory_bytes + other.memory_bytes,
            memory_bytes_max: self.memory_bytes_max + other.memory_bytes_max,
            file_calls: self.file_calls + other.file_calls,
        }
    }
}

/// What a process has used; nothing if it is gone.
pub(crate) fn used(pid: u32) -> Usage {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let status = read("status");
    let io = read("io");
    Usage {
        cpu: cpu(&read("stat")),
        memory_bytes: field(&status, "VmRSS:") * 1024,
        memory_bytes_max: field(&status, "VmHWM:") * 1024,
        file_calls: field(&io, "syscr:") + field(&io, "syscw:"),
    }
}

fn cpu(stat: &str) -> Duration {
    // The name in parentheses may hold spaces: fields are counted from behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 1_000 / TICKS_PER_SECOND)
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "7 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1";
        assert_eq!(cpu(stat), Duration::from_secs(2));
    }

    #[test]
    fn this_process_uses_something() {
        let usage = used(std::process::id());
        assert!(usage.memory_bytes > 0 && usage.memory_bytes_max >= usage.memory_bytes);
        assert!(usage.file_calls > 0, "reading /proc counts");
        assert_eq!(used(u32::MAX), Usage::default(), "nobody uses nothing");
    }
}
