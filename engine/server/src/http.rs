//! Health and metrics over HTTP.
//!
//! | path | 200 when |
//! | --- | --- |
//! | `/livez` | the main loop turned within the last 5 s |
//! | `/readyz` | it is recovered, bound, not stopping, and the disk has not failed |
//! | `/healthz` | always; a JSON object with the details of both |
//! | `/metrics` | always; Prometheus' text format |

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use daemon::http::{self, Answer};

use crate::metrics::Metrics;
use crate::shared::{DiskState, Shared};

/// The main loop turns at least once a second; after this long without it something is wrong.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Health {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
}

/// Binds and serves on a thread of its own, until the process ends. Returns where it listens.
pub(crate) fn spawn(address: SocketAddr, health: Health) -> std::io::Result<SocketAddr> {
    http::spawn(address, move |path| answer(path, &health))
}

fn answer(path: &str, health: &Health) -> Answer {
    match path {
        "/livez" if health.alive() => Answer::verdict(true, "alive"),
        "/livez" => Answer::verdict(false, "the main loop is stuck"),
        "/readyz" => match health.unready() {
            None => Answer::verdict(true, "ready"),
            Some(why) => Answer::verdict(false, why),
        },
        "/healthz" => Answer::json(health.describe()),
        "/metrics" => Answer::metrics(health.metrics.render(&health.shared.subscribers())),
        _ => Answer::not_found("try /livez, /readyz, /healthz or /metrics"),
    }
}

impl Health {
    fn alive(&self) -> bool {
        let beat = Duration::from_millis(self.shared.heartbeat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat) < ALIVE_WITHIN
    }

    fn unready(&self) -> Option<&'static str> {
        if self.shared.is_stopping() {
            Some("stopping")
        } else if self.shared.failed.get().is_some() {
            Some("the disk failed")
        } else if !self.shared.ready.load(Ordering::Relaxed) {
            Some("starting")
        } else if !self.alive() {
            Some("the main loop is stuck")
        } else {
            None
        }
    }

    fn describe(&self) -> String {
        serde_json::json!({
            "schema": "workerpool/v1/health",
            "alive": self.alive(),
            "ready": self.unready().is_none(),
            "reason": self.unready(),
            "degraded": (self.shared.disk() == DiskState::Full).then_some("the disk is full: submissions are refused"),
            "durable_lsn": self.shared.durable().0,
            "uptime_s": self.started.elapsed().as_secs(),
        })
        .to_string()
    }
}
