//! A disk that does not answer: the engine's journal thread is held still, as it is in an `fdatasync` that does not
//! return, while all others go on.

use std::fs;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

/// Dropped, the thread goes on.
pub(crate) struct Held {
    let_go: Option<Sender<()>>,
    tracer: Option<JoinHandle<()>>,
}

impl Held {
    /// Returns when the journal thread of the engine stands.
    pub(crate) fn journal_of(engine: u32) -> Self {
        let thread = thread_named(engine, "journal");
        let (stands, standing) = channel();
        let (let_go, going) = channel::<()>();
        // Only the thread that seized another may let it go.
        let tracer = std::thread::spawn(move || {
            ptrace::seize(thread, ptrace::Options::empty()).expect("a child's thread can be traced");
            ptrace::interrupt(thread).expect("it is traced");
            waitpid(thread, Some(WaitPidFlag::__WALL)).expect("it stops");
            stands.send(()).expect("somebody waits");
            // Told so or not: it is over when the other end is gone.
            let _ = going.recv();
            ptrace::detach(thread, None).expect("it stands");
        });
        standing.recv().expect("the tracer has said so or panicked");
        Self {
            let_go: Some(let_go),
            tracer: Some(tracer),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.let_go.take());
        if let Some(tracer) = self.tracer.take() {
            drop(tracer.join());
        }
    }
}

fn thread_named(pid: u32, name: &str) -> Pid {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
    let named = threads.flatten().find(|thread| {
        let found = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        found.trim() == name
    });
    let number = named
        .unwrap_or_else(|| panic!("{pid} has no thread {name}"))
        .file_name();
    let number = number.to_str().and_then(|number| number.parse().ok());
    Pid::from_raw(number.expect("threads are numbered"))
}
