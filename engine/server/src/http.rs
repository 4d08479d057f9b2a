//! Health and metrics over HTTP.
//!
//! | path | 200 when |
//! | --- | --- |
//! | `/livez` | the main loop turned within the last 5 s |
//! | `/readyz` | it is recovered, bound, not stopping, and the disk has not failed |
//! | `/healthz` | always; a JSON object with the details of both |
//! | `/metrics` | always; Prometheus' text format |

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::metrics::Metrics;
use crate::shared::{DiskState, Shared};

/// The main loop turns at least once a second; after this long without it something is wrong.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// A request's head has to be there within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

pub(crate) struct Health {
    pub(crate) shared: Arc<Shared>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Instant,
}

/// Binds and serves on a thread of its own, until the process ends. Returns where it listens.
pub(crate) fn spawn(address: SocketAddr, health: Health) -> std::io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = move || {
        if let Err(error) = runtime.block_on(serve(listener, Arc::new(health))) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "health and metrics are not served any more"
            );
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(work)?;
    Ok(address)
}

async fn serve(listener: std::net::TcpListener, health: Arc<Health>) -> std::io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&room)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely: others may close some.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = answer(&request, &health);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // What goes wrong on one connection concerns nobody else.
            drop(tokio::time::timeout(Duration::from_secs(60), connection).await);
            drop(place);
        });
    }
}

fn answer(request: &Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    if request.method() != Method::GET {
        return response(
            StatusCode::METHOD_NOT_ALLOWED,
            "text/plain",
            "only GET is served here\n".to_owned(),
        );
    }
    let verdict = |good: bool, body: &str| {
        let status = if good {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        response(status, "text/plain", format!("{body}\n"))
    };
    match request.uri().path() {
        "/livez" => verdict(
            health.alive(),
            if health.alive() {
                "alive"
            } else {
                "the main loop is stuck"
            },
        ),
        "/readyz" => match health.unready() {
            None => verdict(true, "ready"),
            Some(why) => verdict(false, why),
        },
        "/healthz" => response(StatusCode::OK, "application/json", health.describe()),
        "/metrics" => response(
            StatusCode::OK,
            "text/plain; version=0.0.4",
            health.metrics.render(),
        ),
        _ => {
            let body = "try /livez, /readyz, /healthz or /metrics\n";
            response(StatusCode::NOT_FOUND, "text/plain", body.to_owned())
        }
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
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
