//! A clock that ticks in tenths of milliseconds: tokio's own timers are good to a millisecond, which would be most of
//! the latency that is measured. So a thread sleeps instead, and wakes the generator.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Ticks at even distances from when it was made. Dropped, its thread ends.
pub(super) struct Pace {
    notify: Arc<Notify>,
    /// The thread lives as long as somebody else holds `notify`.
    _thread: JoinHandle<()>,
}

impl Pace {
    pub(super) fn every(interval: Duration) -> io::Result<Self> {
        let notify = Arc::new(Notify::new());
        let theirs = Arc::clone(&notify);
        let thread = thread::Builder::new().name("pace".to_owned()).spawn(move || {
            let mut next = Instant::now();
            while Arc::strong_count(&theirs) > 1 {
                next += interval;
                thread::sleep(next.saturating_duration_since(Instant::now()));
                theirs.notify_one();
            }
        })?;
        Ok(Self {
            notify,
            _thread: thread,
        })
    }

    /// Waits for the next tick; several that were missed count as one.
    pub(super) async fn tick(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ticks_come_no_faster_than_asked() {
        let began = Instant::now();
        let pace = Pace::every(Duration::from_millis(2)).expect("a thread");
        for _ in 0..5 {
            pace.tick().await;
        }
        assert!(began.elapsed() >= Duration::from_millis(10));
    }
}
