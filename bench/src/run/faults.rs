//! What is done to a pool while it has load.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::unistd::Pid;
use tokio::task::JoinHandle;

use super::Shared;
use super::collect::Collected;
use crate::measurement::Fault;
use crate::pool::Pool;
use crate::scenario::{FaultKind, FaultPlan};

/// Faults of a run, each a task that waits for its time.
pub(super) struct Faults {
    began: Instant,
    tasks: Vec<JoinHandle<Result<()>>>,
    told: Rc<RefCell<Told>>,
    window: Window,
}

/// What the tasks say.
#[derive(Default)]
struct Told {
    faults: Vec<Fault>,
    numbers: Vec<(&'static str, &'static str, f64)>,
}

/// The time from when a killed engine is ready again until all its workers are back.
#[derive(Clone, Default)]
pub(super) struct Window {
    /// In nanoseconds of the run; `None`: not yet.
    from_ns: Shared<Option<u64>>,
    upto_ns: Shared<Option<u64>>,
}

impl Window {
    /// A work that is due at this time is due in the window.
    pub(super) fn holds(&self, due_ns: u64) -> bool {
        let from = self.from_ns.get().is_some_and(|from| due_ns >= from);
        from && self.upto_ns.get().is_none_or(|upto| due_ns <= upto)
    }
}

impl Faults {
    pub(super) fn start(plans: &[FaultPlan], pool: &Arc<Pool>) -> Self {
        let mut faults = Self {
            began: Instant::now(),
            tasks: Vec::new(),
            told: Rc::default(),
            window: Window::default(),
        };
        for plan in plans {
            let doer = Doer {
                began: faults.began,
                plan: plan.clone(),
                pool: Arc::clone(pool),
                told: Rc::clone(&faults.told),
                window: faults.window.clone(),
            };
            faults.tasks.push(tokio::task::spawn_local(doer.act()));
        }
        faults
    }

    /// The time in which workers come back to an engine that was killed.
    pub(super) fn window(&self) -> Window {
        self.window.clone()
    }

    /// Waits until all are done and over.
    pub(super) async fn finish(self, collected: &mut Collected) -> Result<Vec<Fault>> {
        for task in self.tasks {
            task.await??;
        }
        let told = self.told.take();
        for (name, unit, value) in told.numbers {
            collected.add(name, unit, value);
        }
        Ok(told.faults)
    }
}

/// Does one fault.
struct Doer {
    began: Instant,
    plan: FaultPlan,
    pool: Arc<Pool>,
    told: Rc<RefCell<Told>>,
    window: Window,
}

impl Doer {
    async fn act(self) -> Result<()> {
        let at = self.began + Duration::from_secs_f64(self.plan.at_s);
        tokio::time::sleep_until(at.into()).await;
        let lasts = Duration::from_secs_f64(self.plan.for_s);
        match self.plan.what {
            FaultKind::KillWorker => {
                self.tell("kill -9 of a process of workers");
                self.pool.workers().kill_one();
                tokio::time::sleep(lasts).await;
                self.pool.workers().start()?;
                self.tell("it starts again");
            }
            FaultKind::KillEngine => self.kill_engine(lasts).await?,
            FaultKind::StallDisk => {
                self.tell("the disk stands still");
                let engine = self.pool.engine().pid();
                tokio::task::spawn_blocking(move || hold_journal(engine, lasts)).await??;
                self.tell("the disk answers again");
            }
        }
        Ok(())
    }

    async fn kill_engine(&self, lasts: Duration) -> Result<()> {
        self.tell("kill -9 of the engine");
        self.pool.engine().kill();
        tokio::time::sleep(lasts).await;
        let pool = Arc::clone(&self.pool);
        let took = tokio::task::spawn_blocking(move || pool.engine().launch()).await??;
        self.tell("the engine is ready");
        self.window.from_ns.set(Some(self.now_ns()));
        let connected = self.pool.all_connected().await?;
        self.window.upto_ns.set(Some(self.now_ns()));
        self.tell("all workers are back");
        let mut told = self.told.borrow_mut();
        told.numbers.push(("engine_ready_s", "s", took.as_secs_f64()));
        told.numbers
            .push(("workers_reconnected_s", "s", connected.as_secs_f64()));
        Ok(())
    }

    fn now_ns(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    fn tell(&self, what: &str) {
        self.told.borrow_mut().faults.push(Fault {
            at_s: self.began.elapsed().as_secs_f64(),
            what: what.to_owned(),
        });
    }
}

/// Holds the engine's journal thread, and no other, still: to the engine it looks like an `fdatasync` that does not
/// return.
fn hold_journal(engine: u32, lasts: Duration) -> Result<()> {
    let thread = thread_named(engine, "journal").context("the engine has no journal thread")?;
    let thread = Pid::from_raw(i32::try_from(thread).context("a thread's number")?);
    ptrace::seize(thread, ptrace::Options::empty()).context("cannot hold the engine's journal thread")?;
    ptrace::interrupt(thread)?;
    std::thread::sleep(lasts);
    // A thread can be let go of only once it stands.
    nix::sys::wait::waitpid(thread, Some(nix::sys::wait::WaitPidFlag::__WALL))?;
    ptrace::detach(thread, None)?;
    Ok(())
}

fn thread_named(pid: u32, name: &str) -> Option<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().find_map(|thread| {
        let found = std::fs::read_to_string(thread.path().join("comm")).ok()?;
        (found.trim() == name).then(|| thread.file_name().to_str()?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_what_is_due_between_its_ends() {
        let window = Window::default();
        assert!(!window.holds(5), "it has not begun");
        window.from_ns.set(Some(5));
        assert!(!window.holds(4) && window.holds(5) && window.holds(1_000));
        window.upto_ns.set(Some(10));
        assert!(window.holds(10) && !window.holds(11));
    }

    #[test]
    fn a_thread_is_found_by_its_name() {
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let named = std::thread::Builder::new().name("held".to_owned());
        let (began, begun) = std::sync::mpsc::channel();
        let held = move || {
            began.send(()).expect("somebody waits");
            wait.recv()
        };
        let handle = named.spawn(held).expect("a thread");
        // It gives itself its name before it does anything else.
        begun.recv().expect("it begins");
        assert!(thread_named(std::process::id(), "held").is_some());
        assert_eq!(thread_named(std::process::id(), "nobody"), None);
        drop(go);
        drop(handle.join());
    }
}
