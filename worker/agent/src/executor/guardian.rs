//! A process beside the worker that kills what the worker leaves when it is killed itself.
//!
//! ```text
//!  pool-worker ──spawn──► pool-worker exec-guardian FOLDER WORKS      waits, for as long as its standard input is open
//!       │ ends, with or without a word
//!       └─ the pipe closes ─► takes the folder's lock ─► kills processes whose HOME is below WORKS, and recorded groups
//! ```
//!
//! A signal at the parent's death (`PR_SET_PDEATHSIG`) would have to be asked for in each child, between `fork` and `exec`,
//! or by a program in between, which takes as long as a short command does; this costs nothing per command. The lock tells
//! whose the processes are: a worker that has started again in the same folder holds it, and has looked for itself.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::folder;

/// How long the folder may stay locked before it counts as that of a worker that lives, or has started again.
const DYING_FOR: Duration = Duration::from_secs(5);

/// First argument of a guardian.
const NAME: &str = "exec-guardian";

/// The worker's end. Dropped, it closes the pipe and no more: a worker that ends in haste may leave something, too, and the
/// guardian ends once it has looked. To whoever lives on, as tests do, it is a dead child.
#[derive(Debug)]
pub(super) struct Guardian {
    program: PathBuf,
    folder: PathBuf,
    works: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Guardian {
    /// `program` is this program.
    pub(super) fn new(program: PathBuf, folder: &Path, works: &Path) -> Self {
        Self {
            program,
            folder: folder.to_owned(),
            works: works.to_owned(),
            child: Mutex::default(),
        }
    }

    /// One watches: started now, if there is none or somebody has killed it.
    pub(super) fn is_there(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let lives = |child: &mut Child| matches!(child.try_wait(), Ok(None));
        if child.as_mut().is_some_and(lives) {
            return true;
        }
        match self.start() {
            Ok(started) => {
                *child = Some(started);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "no process can be started that looks after works if this one is killed");
                false
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        Command::new(&self.program)
            .arg(NAME)
            .arg(&self.folder)
            .arg(&self.works)
            .env_clear()
            .current_dir("/")
            // What a terminal sends to the worker is not meant for it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

/// Runs as a guardian if the arguments of this process (without its name) say so. `None`: they do not.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Option<ExitCode> {
    if arguments.next()? != NAME {
        return None;
    }
    let (Some(worker), Some(works)) = (arguments.next(), arguments.next()) else {
        return Some(ExitCode::FAILURE);
    };
    let mut nothing = [0; 64];
    while io::stdin().read(&mut nothing).is_ok_and(|bytes| bytes > 0) {}
    // A process that dies may close this pipe before it lets go of the lock.
    let deadline = Instant::now() + DYING_FOR;
    loop {
        match folder::guard(Path::new(&worker)) {
            Ok(Some(_lock)) => {
                // Nobody is there to be told of what fails; the next worker looks again.
                let _ = folder::kill_all(Path::new(&works));
                return Some(ExitCode::SUCCESS);
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
            _ => return Some(ExitCode::FAILURE),
        }
    }
}
