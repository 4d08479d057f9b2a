//! Metrics: declared in one table, with unit and meaning, and rendered in Prometheus' text format.
//!
//! Totals only rise, levels are as of now; there are no rates, those are the reader's to take.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_queue::counters::{Counters, Tally};
use wire_protocol::view::SubscriberView;

use crate::recovery::Recovered;

/// What kind of number it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Total,
    Level,
}

macro_rules! metrics {
    ($($field:ident: $kind:ident $name:literal $help:literal;)*) => {
        /// Numbers that the main thread publishes.
        #[derive(Clone, Copy, Default)]
        pub(crate) struct Numbers { $(pub(crate) $field: u64,)* }

        const TABLE: &[(Kind, &str, &str)] = &[$((Kind::$kind, $name, $help),)*];

        impl Numbers {
            fn all(&self) -> [u64; COUNT] { [$(self.$field,)*] }
        }
    };
}

metrics! {
    works_accepted: Total "pool_works_accepted_total" "Works accepted since the engine started.";
    works_leased_total: Total "pool_leases_total" "Leases given to workers since the engine started.";
    works_succeeded: Total "pool_works_succeeded_total" "Works that succeeded since the engine started.";
    works_unsuccessful: Total "pool_works_unsuccessful_total" "Works that failed, were cancelled or expired since the engine started.";
    released: Total "pool_leases_released_total" "Leases that ended without an outcome since the engine started.";
    lost: Total "pool_leases_lost_total" "Leases that ended because their worker was lost since the engine started.";
    stale: Total "pool_reports_stale_total" "Reports under a superseded lease since the engine started.";
    busy: Total "pool_busy_total" "Requests answered busy since the engine started.";
    works_queued: Level "pool_works_queued" "Works that wait for a worker.";
    works_delayed: Level "pool_works_delayed" "Works that wait for a backoff to pass.";
    works_leased: Level "pool_works_leased" "Works with workers.";
    works_done: Level "pool_works_done" "Works that ended and are remembered.";
    bags: Level "pool_bags" "Bags that are remembered.";
    rows_bytes: Level "pool_rows_bytes" "Bytes of parameters in memory.";
    workers_connected: Level "pool_workers_connected" "Workers connected.";
    slots: Level "pool_slots" "Slots of connected workers.";
    links: Level "pool_links" "Connections of workers and clients.";
    lsn: Level "pool_journal_lsn" "Position of the last record.";
    durable_lsn: Level "pool_journal_durable_lsn" "Position of the last durable record.";
    batch_bytes: Level "pool_journal_batch_bytes" "Bytes of records that wait for the journal thread.";
    outbox_bytes: Level "pool_outbox_bytes" "Bytes of frames that wait for durability.";
    epoch: Level "pool_epoch" "Epoch of the engine.";
    datagrams_in: Total "pool_link_datagrams_received_total" "UDP datagrams received.";
    datagrams_out: Total "pool_link_datagrams_sent_total" "UDP datagrams sent.";
    bytes_in: Total "pool_link_received_bytes_total" "UDP payload bytes received.";
    bytes_out: Total "pool_link_sent_bytes_total" "UDP payload bytes sent.";
    syscalls: Total "pool_link_syscalls_total" "System calls of the link loop.";
    frames_in: Total "pool_link_frames_received_total" "Frames received.";
    turns: Total "pool_link_turns_total" "Turns of the link loop.";
    refused_logins: Total "pool_logins_refused_total" "Joins and logins refused.";
    protocol_errors: Total "pool_protocol_errors_total" "Links closed for what they sent.";
}

const COUNT: usize = TABLE.len();

/// The main thread's end.
pub(crate) struct Publisher(Tally<COUNT>);

impl Publisher {
    pub(crate) fn publish(&mut self, numbers: &Numbers) {
        for (index, value) in numbers.all().into_iter().enumerate() {
            self.0.set(index, value);
        }
    }
}

/// The reader's end, with the histograms.
pub(crate) struct Metrics {
    numbers: Counters<COUNT>,
    commits: Arc<Histogram>,
    recovered: Recovered,
}

/// Both ends; `commits` is the journal thread's.
pub(crate) fn metrics(commits: Arc<Histogram>, recovered: Recovered) -> (Publisher, Metrics) {
    let (tally, numbers) = engine_queue::counters::counters();
    let metrics = Metrics {
        numbers,
        commits,
        recovered,
    };
    (Publisher(tally), metrics)
}

impl Metrics {
    /// All metrics in Prometheus' text format, version 0.0.4.
    pub(crate) fn render(&self, subscribers: &[SubscriberView]) -> String {
        let mut out = String::new();
        for ((kind, name, help), value) in TABLE.iter().zip(self.numbers.all()) {
            let kind = if *kind == Kind::Total { "counter" } else { "gauge" };
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a string takes all");
        }
        for (name, help, value) in [
            (
                "pool_recovery_records",
                "Records that the start read back behind its snapshot.",
                self.recovered.records as f64,
            ),
            (
                "pool_recovery_seconds",
                "Time that reading them back took.",
                self.recovered.took.as_secs_f64(),
            ),
        ] {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}")
                .expect("a string takes all");
        }
        self.commits.render(
            "pool_journal_commit_seconds",
            "Time of a commit: write and fdatasync.",
            &mut out,
        );
        render_feed(subscribers, &mut out);
        out
    }
}

/// How far each subscriber of the feed is.
fn render_feed(subscribers: &[SubscriberView], out: &mut String) {
    type Measure = fn(&SubscriberView) -> f64;
    let table: [(&str, &str, Measure); 4] = [
        (
            "pool_feed_connected",
            "1 while the subscriber is connected.",
            |it| f64::from(u8::from(it.connected)),
        ),
        (
            "pool_feed_lag_records",
            "Durable records that the subscriber has not acknowledged.",
            |it| it.lag_records as f64,
        ),
        (
            "pool_feed_lag_bytes",
            "What those take on the disk, in steps of 64 KiB.",
            |it| it.lag_bytes.0 as f64,
        ),
        ("pool_feed_lag_seconds", "Age of the oldest of them.", |it| {
            it.lag.0 as f64 / 1e3
        }),
    ];
    for (name, help, measure) in table {
        if subscribers.is_empty() {
            break;
        }
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge").expect("a string takes all");
        for subscriber in subscribers {
            // A backslash, a quote and a line feed are escaped as the format asks for.
            let label = format!("{:?}", subscriber.name);
            writeln!(out, "{name}{{subscriber={label}}} {}", measure(subscriber))
                .expect("a string takes all");
        }
    }
}

/// Upper bounds of the buckets, microseconds.
const BOUNDS_US: [u64; 14] = [
    50, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000,
];

/// Durations by size. One thread records, any may read; a reader may see a count before its sum.
#[derive(Default)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    /// Relaxed: each number stands for itself.
    pub(crate) fn record(&self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    fn render(&self, name: &str, help: &str, out: &mut String) {
        let seconds = |us: u64| us as f64 / 1e6;
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram").expect("a string takes all");
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS_US) {
            count += bucket.load(Ordering::Relaxed);
            writeln!(out, "{name}_bucket{{le=\"{}\"}} {count}", seconds(bound)).expect("a string takes all");
        }
        count += self.buckets[BOUNDS_US.len()].load(Ordering::Relaxed);
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        writeln!(
            out,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}"
        )
        .expect("a string takes all");
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::units::Millis;

    use super::*;

    #[test]
    fn every_metric_is_rendered_once_with_help_and_type() {
        let commits = Arc::new(Histogram::default());
        let recovered = Recovered {
            records: 12,
            took: Duration::from_millis(1_500),
        };
        let (mut publisher, metrics) = metrics(Arc::clone(&commits), recovered);
        publisher.publish(&Numbers {
            works_queued: 7,
            ..Numbers::default()
        });
        commits.record(Duration::from_micros(120));
        let text = metrics.render(&[SubscriberView {
            name: "per\"sist".to_owned(),
            lag_records: 7,
            lag: Millis(1_500),
            ..SubscriberView::default()
        }]);
        for line in [
            "pool_feed_connected{subscriber=\"per\\\"sist\"} 0\n",
            "pool_feed_lag_records{subscriber=\"per\\\"sist\"} 7\n",
            "pool_feed_lag_seconds{subscriber=\"per\\\"sist\"} 1.5\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
        assert!(text.contains("\npool_works_queued 7\n"), "{text}");
        assert!(text.contains("\npool_recovery_records 12\n"), "{text}");
        assert!(text.contains("\npool_recovery_seconds 1.5\n"), "{text}");
        assert!(
            text.contains("pool_journal_commit_seconds_bucket{le=\"0.00015\"} 1\n"),
            "{text}"
        );
        for (_, name, _) in TABLE {
            assert_eq!(text.matches(&format!("# TYPE {name} ")).count(), 1, "{name}");
        }
    }
}
