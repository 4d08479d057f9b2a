//! How far the sidecar is, for metrics and for people.
//!
//! | path | 200 when |
//! | --- | --- |
//! | `/livez` | always: while the process runs, it tries |
//! | `/readyz` | it follows: engine and database are both there |
//! | `/healthz` | always; a JSON object with position and lag |
//! | `/metrics` | always; Prometheus' text format |
//!
//! **Lag** is what the engine has made durable and the database does not have. In records it counts up to the last one
//! that the engine was heard of having; what is behind that is the engine's to tell. In bytes it counts the records that
//! were received and are not stored. In seconds it is the age of the oldest record that is not stored.

use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use daemon::http::Answer;
use sidecars_tables::Batch;
use wire_protocol::ids::Lsn;

/// How often its progress is logged while it catches up.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Less than this is following, not catching up.
const LAG_SAID_FROM: Duration = Duration::from_secs(2);

/// Numbers that the two threads of the follower set and anybody reads. Relaxed everywhere: each stands for itself.
#[derive(Debug, Default)]
pub struct Status {
    following: AtomicBool,
    stored: AtomicU64,
    /// The last record that the engine is known to have.
    durable: AtomicU64,
    bytes_received: AtomicU64,
    bytes_stored: AtomicU64,
    /// When the oldest record that is not stored was committed; 0: all that came is stored.
    oldest_us: AtomicU64,
    batches: AtomicU64,
    works_done: AtomicU64,
    changes: AtomicU64,
    /// Rows of the chain's books that were left out.
    unreadable: AtomicU64,
    writing_us: AtomicU64,
    sessions: AtomicU64,
    failures: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// Why it does not follow.
    error: Option<String>,
    /// When progress was last logged, and how far it was.
    said: Option<(Instant, u64)>,
}

/// What the database does not have yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lag {
    records: u64,
    bytes: u64,
    age: Duration,
}

impl Status {
    /// The last record in the database.
    #[must_use]
    pub fn stored(&self) -> Lsn {
        Lsn(self.stored.load(Ordering::Acquire))
    }

    /// The database was asked, and is here.
    pub(crate) fn stored_upto(&self, upto: Lsn) {
        self.stored.store(upto.0, Ordering::Relaxed);
        let received = self.bytes_received.load(Ordering::Relaxed);
        self.bytes_stored.store(received, Ordering::Relaxed);
        self.oldest_us.store(0, Ordering::Relaxed);
    }

    /// A subscription stands; the engine has records up to `durable`.
    pub(crate) fn following(&self, durable: Lsn) {
        self.durable.store(durable.0, Ordering::Relaxed);
        self.sessions.fetch_add(1, Ordering::Relaxed);
        self.following.store(true, Ordering::Relaxed);
        self.told().error = None;
    }

    /// A session ended.
    pub(crate) fn interrupted(&self) {
        self.following.store(false, Ordering::Relaxed);
    }

    /// It ended for this.
    pub(crate) fn failed(&self, error: &dyn std::error::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            write!(text, ": {cause}").expect("a string takes all");
            source = cause.source();
        }
        self.told().error = Some(text);
    }

    /// Records came, up to this one; the oldest of those that were gathered is of `oldest_us`.
    pub(crate) fn received(&self, upto: Lsn, bytes: u64, oldest_us: u64) {
        self.durable.fetch_max(upto.0, Ordering::Relaxed);
        self.bytes_received.fetch_add(bytes, Ordering::Relaxed);
        if bytes > 0 {
            // One that waits already is older: then this changes nothing.
            let _ = self
                .oldest_us
                .compare_exchange(0, oldest_us, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// A batch is about to be written whose oldest record is of `oldest_us`.
    pub(crate) fn writes(&self, oldest_us: u64) {
        self.oldest_us.store(oldest_us, Ordering::Relaxed);
    }

    /// It is written.
    pub(crate) fn wrote(&self, batch: &Batch, bytes: u64, took: Duration) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.works_done.fetch_add(batch.works_done(), Ordering::Relaxed);
        self.changes.fetch_add(batch.changes() as u64, Ordering::Relaxed);
        if let Some(problem) = &batch.chain.problem {
            let rows = batch.chain.unreadable;
            self.unreadable.fetch_add(rows, Ordering::Relaxed);
            tracing::warn!(rows, %problem, "rows of the chain's books are left out");
        }
        self.writing_us
            .fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.bytes_stored.fetch_add(bytes, Ordering::Relaxed);
        // Last: who sees this position sees what was counted up to it.
        self.stored.store(batch.upto.0, Ordering::Release);
        let lag = self.lag();
        if lag.records == 0 {
            self.oldest_us.store(0, Ordering::Relaxed);
        }
        self.say(lag);
    }

    fn say(&self, lag: Lag) {
        let now = Instant::now();
        let stored = self.stored().0;
        let mut told = self.told();
        let (at, before) = *told.said.get_or_insert((now, stored));
        let since = now.duration_since(at);
        if since < SAY_EVERY {
            return;
        }
        told.said = Some((now, stored));
        drop(told);
        if lag.age >= LAG_SAID_FROM {
            tracing::info!(
                lsn = stored,
                lag_records = lag.records,
                lag_bytes = lag.bytes,
                lag_s = lag.age.as_secs(),
                records_per_s = (stored.saturating_sub(before) as f64 / since.as_secs_f64()) as u64,
                "catches up"
            );
        }
    }

    fn lag(&self) -> Lag {
        let [stored, durable, received, written, oldest_us] = [
            &self.stored,
            &self.durable,
            &self.bytes_received,
            &self.bytes_stored,
            &self.oldest_us,
        ]
        .map(|number| number.load(Ordering::Relaxed));
        let now_us = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        let age_us = if oldest_us == 0 {
            0
        } else {
            now_us.saturating_sub(oldest_us)
        };
        Lag {
            records: durable.saturating_sub(stored),
            bytes: received.saturating_sub(written),
            age: Duration::from_micros(age_us),
        }
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is served over HTTP.
    pub(crate) fn answer(&self, path: &str) -> Answer {
        match path {
            "/livez" => Answer::verdict(true, "alive"),
            "/readyz" if self.following.load(Ordering::Relaxed) => Answer::verdict(true, "follows"),
            "/readyz" => Answer::verdict(false, self.told().error.as_deref().unwrap_or("starting")),
            "/healthz" => Answer::json(self.describe()),
            "/metrics" => Answer::metrics(self.render()),
            _ => Answer::not_found("try /livez, /readyz, /healthz or /metrics"),
        }
    }

    fn describe(&self) -> String {
        let lag = self.lag();
        serde_json::json!({
            "schema": "workerpool/v1/persist",
            "following": self.following.load(Ordering::Relaxed),
            "lsn": self.stored().0,
            "lag_records": lag.records,
            "lag_bytes": lag.bytes,
            "lag_seconds": lag.age.as_secs_f64(),
            "error": self.told().error,
        })
        .to_string()
    }

    fn render(&self) -> String {
        let lag = self.lag();
        let number = |atomic: &AtomicU64| atomic.load(Ordering::Acquire) as f64;
        let seconds = number(&self.writing_us) / 1e6;
        let following = f64::from(u8::from(self.following.load(Ordering::Relaxed)));
        let table = [
            (
                "pool_persist_following",
                "gauge",
                "1 while engine and database are both there.",
                following,
            ),
            (
                "pool_persist_lsn",
                "gauge",
                "Position of the last record in the database.",
                number(&self.stored),
            ),
            (
                "pool_persist_lag_records",
                "gauge",
                "Records that the database does not have.",
                lag.records as f64,
            ),
            (
                "pool_persist_lag_bytes",
                "gauge",
                "Bytes of records received and not stored.",
                lag.bytes as f64,
            ),
            (
                "pool_persist_lag_seconds",
                "gauge",
                "Age of the oldest record that is not stored.",
                lag.age.as_secs_f64(),
            ),
            (
                "pool_persist_batches_total",
                "counter",
                "Transactions since the start.",
                number(&self.batches),
            ),
            (
                "pool_persist_changes_total",
                "counter",
                "State changes written since the start.",
                number(&self.changes),
            ),
            (
                "pool_persist_chain_rows_unreadable_total",
                "counter",
                "Rows of the chain's books that could not be read and were left out.",
                number(&self.unreadable),
            ),
            (
                "pool_persist_works_done_total",
                "counter",
                "Works whose end was written since the start, those of runs not counted.",
                number(&self.works_done),
            ),
            (
                "pool_persist_bytes_total",
                "counter",
                "Bytes of records stored since the start.",
                number(&self.bytes_stored),
            ),
            (
                "pool_persist_writing_seconds_total",
                "counter",
                "Time spent in transactions since the start.",
                seconds,
            ),
            (
                "pool_persist_sessions_total",
                "counter",
                "Subscriptions since the start.",
                number(&self.sessions),
            ),
            (
                "pool_persist_failures_total",
                "counter",
                "Sessions that ended with an error.",
                number(&self.failures),
            ),
        ];
        let mut out = String::new();
        for (name, kind, help, value) in table {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a string takes all");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sidecars_tables::ChainChange;

    fn batch(after: u64, upto: u64) -> Batch {
        Batch {
            after: Lsn(after),
            upto: Lsn(upto),
            bookkeeping: Vec::new(),
            steps: Vec::new(),
            events: Vec::new(),
            chain: ChainChange::default(),
        }
    }

    #[test]
    fn lag_is_what_the_engine_has_and_the_database_has_not() {
        let status = Status::default();
        status.stored_upto(Lsn(10));
        status.following(Lsn(100));
        assert_eq!(status.lag().records, 90);
        status.received(Lsn(110), 5_000, 1);
        let lag = status.lag();
        assert_eq!((lag.records, lag.bytes), (100, 5_000));
        assert!(lag.age > Duration::from_secs(1_000_000), "1970 is long ago");
        status.writes(1);
        status.wrote(&batch(10, 110), 5_000, Duration::from_millis(3));
        let none = Lag {
            records: 0,
            bytes: 0,
            age: Duration::ZERO,
        };
        assert_eq!(status.lag(), none);
        let text = status.render();
        assert!(text.contains("\npool_persist_lsn 110\n"), "{text}");
        assert!(text.contains("\npool_persist_lag_records 0\n"), "{text}");
    }

    #[test]
    fn it_is_ready_while_it_follows_and_says_why_not_otherwise() {
        let status = Status::default();
        assert_eq!(status.answer("/readyz"), Answer::verdict(false, "starting"));
        status.following(Lsn(0));
        assert_eq!(status.answer("/readyz"), Answer::verdict(true, "follows"));
        status.interrupted();
        let error = std::io::Error::other("gone");
        status.failed(&error);
        assert_eq!(status.answer("/readyz"), Answer::verdict(false, "gone"));
        assert!(
            status.describe().contains("\"error\":\"gone\""),
            "{}",
            status.describe()
        );
    }
}
