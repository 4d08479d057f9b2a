//! A small disk of a test's own, to be filled: an ext4 file system in a file. It needs root.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// A disk. Dropped, it is gone with all that is on it.
#[derive(Debug)]
pub struct SmallDisk {
    folder: tempfile::TempDir,
}

impl SmallDisk {
    /// Of so many mebibytes.
    ///
    /// # Panics
    /// It cannot be made: no root, no loop device, no `mkfs.ext4` (e2fsprogs).
    #[must_use]
    pub fn new(mib: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = folder.path().join("disk.ext4");
        let file = File::create(&image).expect("a file");
        file.set_len(mib << 20).expect("sparse");
        let disk = Self { folder };
        fs::create_dir(disk.path()).expect("a folder");
        // Nothing is kept for root, so that percents are those of an ordinary account.
        run(Command::new("mkfs.ext4").args(["-q", "-m", "0"]).arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(disk.path()));
        disk
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mount")
    }

    /// Percent of it in use, as `df` says.
    ///
    /// # Panics
    /// `df` does not run.
    #[must_use]
    pub fn percent(&self) -> u8 {
        let asked = Command::new("df")
            .args(["--output=pcent"])
            .arg(self.path())
            .output();
        let text = String::from_utf8(asked.expect("df runs").stdout).expect("text");
        let last = text.lines().last().unwrap_or_default();
        last.trim().trim_end_matches('%').parse().expect("a percentage")
    }

    /// A file in `name` that takes it to this percentage, or a little above.
    ///
    /// # Panics
    /// There is no room.
    pub fn fill(&self, name: &str, percent: u8) {
        let path = self.path().join(name);
        let mut file = File::create(&path).expect("a file");
        while self.percent() < percent {
            file.write_all(&[7; 1 << 20])
                .and_then(|()| file.sync_data())
                .expect("there is room");
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: an engine that is stopping may still hold on to it.
        drop(Command::new("umount").arg("--lazy").arg(self.path()).status());
    }
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "{command:?}: {status:?}"
    );
}
