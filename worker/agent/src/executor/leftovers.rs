//! Process groups of works, recorded so that a worker that starts after a crash finds what the last one left.
//!
//! What a worker that is killed leaves running is killed by its guardian, if that is left (see there), or by the next worker. A recorded group is
//! ours if the machine has not been booted since and either its leader still has the recorded start time, or a
//! member still has the work's folder as its `HOME`: numbers of processes are used again, these are not. A
//! process that leaves its group *and* changes its environment escapes; only a container holds that one.

use core::fmt;
use core::str::FromStr;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// Longest wait for all killed processes to be gone, before their folders are removed.
pub(super) const GONE_WITHIN: Duration = Duration::from_secs(2);

/// A process group by what cannot repeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Group {
    leader: i32,
    /// Clock ticks from boot to the leader's start.
    started: u64,
    boot: String,
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group {} {} {}", self.leader, self.started, self.boot)
    }
}

impl FromStr for Group {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.split_ascii_whitespace();
        let group = (|| {
            (words.next()? == "group").then_some(())?;
            Some(Self {
                leader: words.next()?.parse().ok()?,
                started: words.next()?.parse().ok()?,
                boot: words.next()?.to_owned(),
            })
        })();
        group.filter(|group| group.leader > 1).ok_or(())
    }
}

/// A process as `/proc` shows it.
struct Process {
    pid: i32,
    group: i32,
    started: u64,
    is_dead: bool,
}

impl Process {
    fn look(pid: i32) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name is in parentheses and may hold anything; fields count from what follows it (proc(5)).
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map(|(_, rest)| rest.split_ascii_whitespace().collect())
            .unwrap_or_default();
        let field = |number: usize| fields.get(number - 3).copied().unwrap_or("");
        let invalid = |_| io::Error::from(io::ErrorKind::InvalidData);
        Ok(Self {
            pid,
            group: field(5).parse().map_err(invalid)?,
            started: field(22).parse().map_err(invalid)?,
            is_dead: matches!(field(3), "Z" | "X"),
        })
    }

    /// What its environment says when it begins; `None`: nothing, or it is another user's.
    fn home(&self) -> Option<PathBuf> {
        let environ = fs::read(format!("/proc/{}/environ", self.pid)).ok()?;
        let home = environ
            .split(|byte| *byte == 0)
            .find_map(|variable| variable.strip_prefix(b"HOME="))?;
        Some(PathBuf::from(OsStr::from_bytes(home)))
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

impl Group {
    /// The group that this process leads.
    pub(super) fn own() -> io::Result<Self> {
        Self::of(rustix::process::getpid().as_raw_nonzero().get())
    }

    /// The group that a process leads.
    pub(super) fn of(leader: i32) -> io::Result<Self> {
        Ok(Self {
            leader,
            started: Process::look(leader)?.started,
            boot: boot()?,
        })
    }

    /// Kills what is left of it, and waits until it is gone or the deadline over. `folder` is the work's own folder. Gives
    /// the number of processes found.
    pub(super) fn kill_leftovers(&self, folder: &Path, deadline: Instant) -> io::Result<usize> {
        if self.boot != boot()? {
            return Ok(0);
        }
        let members = self.members()?;
        let is_ours = |process: &Process| {
            process.started >= self.started
                && (process.pid == self.leader && process.started == self.started
                    || process.home().as_deref() == Some(folder))
        };
        if !members.iter().any(is_ours) {
            return Ok(0);
        }
        let group = Pid::from_raw(self.leader).ok_or(io::ErrorKind::InvalidData)?;
        match rustix::process::kill_process_group(group, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(error.into()),
        }
        while !self.members()?.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        Ok(members.len())
    }

    /// Living processes of the group.
    fn members(&self) -> io::Result<Vec<Process>> {
        let mut members = all()?;
        members.retain(|process| process.group == self.leader && !process.is_dead);
        Ok(members)
    }
}

/// Kills all processes whose `HOME` is a folder below this one, until there are none or the deadline is over; how many there
/// were.
pub(super) fn kill_at_home_below(works: &Path, deadline: Instant) -> io::Result<usize> {
    let mut killed = 0;
    loop {
        let mut found = 0;
        for process in all()? {
            if !process.is_dead
                && process
                    .home()
                    .is_some_and(|home| home != works && home.starts_with(works))
            {
                found += 1;
                if let Some(pid) = Pid::from_raw(process.pid) {
                    // It may have ended by itself.
                    let _ = rustix::process::kill_process(pid, Signal::KILL);
                }
            }
        }
        killed = found.max(killed);
        if found == 0 || Instant::now() > deadline {
            return Ok(killed);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// Processes that there are.
fn all() -> io::Result<Vec<Process>> {
    let entries = fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    let pids = entries
        .iter()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // One may end while we look.
    Ok(pids.filter_map(|pid| Process::look(pid).ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    /// A process that leads its own group and would run for long, with this `HOME`.
    fn sleeper(home: &Path) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600").env("HOME", home).process_group(0);
        let child = command.spawn().expect("every system can sleep");
        // The kernel lets the parent go on a moment before the new program's environment can be read.
        let environment = format!("/proc/{}/environ", child.id());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while std::fs::read(&environment).expect("it runs").is_empty() {
            assert!(std::time::Instant::now() < deadline, "{environment} stays empty");
            std::thread::yield_now();
        }
        child
    }

    fn soon() -> Instant {
        Instant::now() + GONE_WITHIN
    }

    fn group_of(child: &Child) -> Group {
        let pid = i32::try_from(child.id()).expect("pids are small");
        Group {
            leader: pid,
            started: Process::look(pid).expect("it runs").started,
            boot: boot().expect("Linux tells"),
        }
    }

    #[test]
    fn records_read_back_and_nonsense_does_not() {
        let group = Group {
            leader: 4711,
            started: 99,
            boot: "b".to_owned(),
        };
        assert_eq!(group.to_string().parse(), Ok(group));
        for nonsense in [
            "",
            "group 1 2 b",
            "group 0 2 b",
            "group -5 2 b",
            "group 7 2",
            "failed x y z",
        ] {
            assert_eq!(nonsense.parse::<Group>(), Err(()), "{nonsense}");
        }
    }

    #[test]
    fn a_group_that_is_still_ours_is_killed() {
        let home = Path::new("/nonexistent/one");
        let mut child = sleeper(home);
        let found = group_of(&child).kill_leftovers(Path::new("/elsewhere"), soon());
        assert_eq!(found.ok(), Some(1), "the leader's start time is proof enough");
        assert_eq!(child.wait().ok().and_then(|status| status.signal()), Some(9));

        let mut child = sleeper(home);
        let mut group = group_of(&child);
        group.started -= 1;
        assert_eq!(
            group.kill_leftovers(home, soon()).ok(),
            Some(1),
            "so is the folder"
        );
        assert_eq!(child.wait().ok().and_then(|status| status.signal()), Some(9));
    }

    #[test]
    fn a_group_that_is_no_longer_ours_is_left_alone() {
        let mut child = sleeper(Path::new("/nonexistent/one"));
        let group = group_of(&child);
        let other_folder = Path::new("/nonexistent/two");
        let earlier = Group {
            started: group.started - 1,
            ..group.clone()
        };
        let later = Group {
            started: group.started + 1,
            ..group.clone()
        };
        let other_boot = Group {
            boot: "other".to_owned(),
            ..group
        };
        for foreign in [earlier, later, other_boot] {
            assert_eq!(
                foreign.kill_leftovers(other_folder, soon()).ok(),
                Some(0),
                "{foreign}"
            );
        }
        assert!(matches!(child.try_wait(), Ok(None)), "it still runs");
        child.kill().and_then(|()| child.wait()).expect("our own child");
    }
}
