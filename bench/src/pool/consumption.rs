//! What processes used: processor time from their clocks, memory and calls for files from `/proc`.

use std::fs;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// What a process has used since it started.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Processor time of all threads, user and system. `/proc` has it in steps of 10 ms only, in which an engine does
    /// tens of thousands of works.
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
        cpu: cpu(pid).unwrap_or_default(),
        memory_bytes: field(&status, "VmRSS:") * 1024,
        memory_bytes_max: field(&status, "VmHWM:") * 1024,
        file_calls: field(&io, "syscr:") + field(&io, "syscw:"),
    }
}

fn cpu(pid: u32) -> Option<Duration> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?);
    let clock = clock_getcpuclockid(pid).ok()?;
    clock_gettime(clock).ok().map(Duration::from)
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
    fn processor_time_of_a_process_is_counted_finer_than_ticks() {
        let cpu = used(std::process::id()).cpu;
        assert!(cpu > Duration::ZERO);
        assert_ne!(cpu.as_nanos() % 10_000_000, 0, "{cpu:?}");
    }

    #[test]
    fn this_process_uses_something() {
        let usage = used(std::process::id());
        assert!(usage.memory_bytes > 0 && usage.memory_bytes_max >= usage.memory_bytes);
        assert!(usage.file_calls > 0, "reading /proc counts");
        assert_eq!(used(u32::MAX), Usage::default(), "nobody uses nothing");
    }
}
