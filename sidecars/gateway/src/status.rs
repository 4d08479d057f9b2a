//! How the gateway is, for load balancers, metrics and people.
//!
//! | path | 200 when |
//! | --- | --- |
//! | `/livez` | always: while the process runs, it serves or stops |
//! | `/readyz` | it serves; not before the files are read, and not while it stops |
//! | `/healthz` | always; a JSON object with what is stored |
//! | `/metrics` | always; Prometheus' text format |

use std::fmt::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use axum::http::StatusCode;
use daemon::http::Answer;
use sidecars_files::Store;

/// Numbers that connections change and anybody reads. Relaxed everywhere: each stands for itself.
#[derive(Debug, Default)]
pub(crate) struct Status {
    store: OnceLock<Store>,
    stopping: AtomicBool,
    pub(crate) connections: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) idle_closed: AtomicU64,
    /// Requests by the first digit of their answer, 2 to 5.
    answers: [AtomicU64; 4],
    unauthorized: AtomicU64,
}

impl Status {
    /// It serves from now on.
    pub(crate) fn serves(&self, store: Store) {
        // It is set once, by the process's start.
        drop(self.store.set(store));
    }

    pub(crate) fn stops(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: StatusCode) {
        let class = (status.as_u16() / 100).clamp(2, 5) - 2;
        self.answers[usize::from(class)].fetch_add(1, Ordering::Relaxed);
        if status == StatusCode::UNAUTHORIZED {
            self.unauthorized.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn unready(&self) -> Option<&'static str> {
        if self.stopping.load(Ordering::Relaxed) {
            Some("stopping")
        } else if self.store.get().is_none() {
            Some("starting")
        } else {
            None
        }
    }

    pub(crate) fn answer(&self, path: &str) -> Answer {
        match path {
            "/livez" => Answer::verdict(true, "alive"),
            "/readyz" => {
                let unready = self.unready();
                Answer::verdict(unready.is_none(), unready.unwrap_or("serves"))
            }
            "/healthz" => Answer::json(self.describe()),
            "/metrics" => Answer::metrics(self.render()),
            _ => Answer::not_found("try /livez, /readyz, /healthz or /metrics"),
        }
    }

    fn describe(&self) -> String {
        let numbers = self.store.get().map(Store::numbers).unwrap_or_default();
        serde_json::json!({
            "schema": "workerpool/v1/gateway",
            "ready": self.unready().is_none(),
            "files": numbers.files,
            "contents": numbers.contents,
            "bytes": numbers.bytes,
            "uploads": numbers.uploads,
            "connections": self.connections.load(Ordering::Relaxed),
        })
        .to_string()
    }

    fn render(&self) -> String {
        let numbers = self.store.get().map(Store::numbers).unwrap_or_default();
        let number = |atomic: &AtomicU64| atomic.load(Ordering::Relaxed);
        let ready = u64::from(self.unready().is_none());
        let table = [
            ("pool_gateway_ready", "gauge", "1 while it serves.", ready),
            ("pool_gateway_files", "gauge", "Files.", numbers.files),
            (
                "pool_gateway_contents",
                "gauge",
                "Contents that files have.",
                numbers.contents,
            ),
            (
                "pool_gateway_content_bytes",
                "gauge",
                "Bytes of these, each content once.",
                numbers.bytes,
            ),
            (
                "pool_gateway_uploads",
                "gauge",
                "Unfinished uploads.",
                numbers.uploads,
            ),
            (
                "pool_gateway_files_stored_total",
                "counter",
                "Files made since the start.",
                numbers.stored,
            ),
            (
                "pool_gateway_received_bytes_total",
                "counter",
                "Bytes uploaded since the start.",
                numbers.bytes_received,
            ),
            (
                "pool_gateway_sent_bytes_total",
                "counter",
                "Bytes of files read since the start.",
                numbers.bytes_sent,
            ),
            (
                "pool_gateway_expired_total",
                "counter",
                "Files and uploads whose time was over.",
                numbers.expired,
            ),
            (
                "pool_gateway_collected_total",
                "counter",
                "Contents removed because no file had them.",
                numbers.collected,
            ),
            (
                "pool_gateway_connections",
                "gauge",
                "Connections.",
                number(&self.connections),
            ),
            (
                "pool_gateway_handshakes_failed_total",
                "counter",
                "Connections that never spoke TLS.",
                number(&self.handshakes_failed),
            ),
            (
                "pool_gateway_idle_closed_total",
                "counter",
                "Connections closed because nothing moved.",
                number(&self.idle_closed),
            ),
            (
                "pool_gateway_unauthorized_total",
                "counter",
                "Requests of nobody who is known.",
                number(&self.unauthorized),
            ),
        ];
        let mut out = String::new();
        for (name, kind, help, value) in table {
            writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}")
                .expect("a string takes all");
        }
        out.push_str("# HELP pool_gateway_requests_total Requests answered, by class of the answer.\n");
        out.push_str("# TYPE pool_gateway_requests_total counter\n");
        for (class, count) in (2..).zip(&self.answers) {
            let count = number(count);
            writeln!(out, "pool_gateway_requests_total{{status=\"{class}xx\"}} {count}")
                .expect("a string takes all");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_not_ready_before_its_files_are_read_nor_while_it_stops() {
        let status = Status::default();
        assert_eq!(status.answer("/readyz"), Answer::verdict(false, "starting"));
        status.stops();
        assert_eq!(status.answer("/readyz"), Answer::verdict(false, "stopping"));
        assert_eq!(status.answer("/livez"), Answer::verdict(true, "alive"));
    }

    #[test]
    fn requests_are_counted_by_class() {
        let status = Status::default();
        for code in [200, 204, 308, 401, 404, 507] {
            status.answered(StatusCode::from_u16(code).expect("a status"));
        }
        let text = status.render();
        for line in [
            "{status=\"2xx\"} 2",
            "{status=\"3xx\"} 1",
            "{status=\"4xx\"} 2",
            "{status=\"5xx\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
        assert!(text.contains("\npool_gateway_unauthorized_total 1\n"), "{text}");
    }
}
