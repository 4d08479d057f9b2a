//! The machine and the program that were measured.

use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// Processors that programs may use.
    pub(crate) cores: usize,
    /// Memory in all.
    pub(crate) memory_bytes: u64,
    /// Release of the kernel.
    pub(crate) kernel: String,
    /// Name of the processor.
    pub(crate) processor: String,
    /// The commit that was checked out; ends in `-dirty` where files were changed.
    pub(crate) commit: String,
    /// The command that measured.
    pub(crate) command: String,
}

impl Machine {
    /// This machine and this command.
    pub(crate) fn here() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = read(path);
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_once(':').map(|(_, value)| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
        let memory_kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or(0);
        let commit = std::process::Command::new("git")
            .args(["describe", "--always", "--dirty", "--abbrev=12"])
            .output()
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default();
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_kib * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            processor: field("/proc/cpuinfo", "model name").unwrap_or_default(),
            commit,
            command: format!("pool-bench {}", arguments.join(" ")),
        }
    }
}
