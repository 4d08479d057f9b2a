//! What this machine has.

use std::fs;
use std::path::Path;

use wire_protocol::template::Offer;
use wire_protocol::units::Bytes;

/// An offer of this machine, with nothing yet of what its operator decides. `folder` is where works write.
pub(crate) fn detect(folder: &Path) -> Offer {
    Offer {
        os: std::env::consts::OS.to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX)),
        memory: memory(),
        disk: free_disk(folder),
        ..Offer::default()
    }
}

/// That of the machine, or of the container if it has less.
fn memory() -> Bytes {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text));
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    Bytes(machine.into_iter().chain(container).min().unwrap_or(0))
}

/// Bytes of `MemTotal` in the text of `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

fn free_disk(folder: &Path) -> Bytes {
    rustix::fs::statvfs(folder).map_or(Bytes(0), |stat| {
        Bytes(stat.f_bavail.saturating_mul(stat.f_frsize))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        let text = "MemFree:  1 kB\nMemTotal:       16384000 kB\nBuffers: 2 kB\n";
        assert_eq!(total(text), Some(16_384_000 * 1024));
        assert_eq!(total("MemTotal: much"), None);
    }

    #[test]
    fn this_machine_has_something_of_everything() {
        let offer = detect(Path::new("/"));
        assert!(
            offer.cores > 0 && offer.memory.0 > 0 && offer.disk.0 > 0,
            "{offer:?}"
        );
        assert_eq!((offer.os.as_str(), offer.gpus), (std::env::consts::OS, 0));
    }
}
