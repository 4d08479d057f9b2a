//! Health and metrics over HTTP, on a thread of its own.
//!
//! It answers `GET` with what its owner says to a path, bounded in connections and in time, so that a slow or broken
//! reader costs nobody else anything.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// A request's head has to be there within this time.
const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// A connection ends after this time, whatever it does.
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
/// Connections at once; more wait to be accepted.
const CONNECTIONS_MAX: usize = 64;

/// What is said to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// The content.
    pub body: String,
}

impl Answer {
    /// A line of text, good (200) or not (503): what a load balancer asks for.
    #[must_use]
    pub fn verdict(good: bool, body: &str) -> Self {
        Self {
            status: if good { 200 } else { 503 },
            kind: "text/plain",
            body: format!("{body}\n"),
        }
    }

    /// A JSON object.
    #[must_use]
    pub fn json(body: String) -> Self {
        Self {
            status: 200,
            kind: "application/json",
            body,
        }
    }

    /// Metrics in Prometheus' text format.
    #[must_use]
    pub fn metrics(body: String) -> Self {
        Self {
            status: 200,
            kind: "text/plain; version=0.0.4",
            body,
        }
    }

    /// There is nothing at this path; `instead` says where there is.
    #[must_use]
    pub fn not_found(instead: &str) -> Self {
        Self {
            status: 404,
            kind: "text/plain",
            body: format!("{instead}\n"),
        }
    }

    fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response
            .headers_mut()
            .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(self.kind));
        response
    }
}

/// Where to serve, as an operator says it: an address and a port, or `none`. The error names the variable and the cure.
///
/// # Errors
/// It is neither.
pub fn address(variable: &str, told: &str) -> Result<Option<SocketAddr>, String> {
    if told == "none" {
        return Ok(None);
    }
    told.parse().map(Some).map_err(|_| {
        format!("{variable} is `{told}`; it must be an address and a port, as [::]:4324 or 127.0.0.1:4324, or none")
    })
}

/// Binds and serves until the process ends; `answer` gets the path of each `GET`. Returns where it listens.
///
/// # Errors
/// The address cannot be bound.
pub fn spawn(
    address: SocketAddr,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let work = move || {
        if let Err(error) = runtime.block_on(serve(listener, Arc::new(answer))) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "health and metrics are not served any more"
            );
        }
    };
    thread::Builder::new().name("http".to_owned()).spawn(work)?;
    Ok(address)
}

async fn serve(
    listener: std::net::TcpListener,
    answer: Arc<impl Fn(&str) -> Answer + Send + Sync + 'static>,
) -> io::Result<()> {
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
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let response = respond(&request, &*answer);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_WITHIN)
                .serve_connection(TokioIo::new(stream), service);
            // What goes wrong on one connection concerns nobody else.
            drop(tokio::time::timeout(CONNECTION_WITHIN, connection).await);
            drop(place);
        });
    }
}

fn respond(request: &Request<Incoming>, answer: &impl Fn(&str) -> Answer) -> Response<Full<Bytes>> {
    let answer = if request.method() == Method::GET {
        answer(request.uri().path())
    } else {
        Answer {
            status: 405,
            kind: "text/plain",
            body: "only GET is served here\n".to_owned(),
        }
    };
    answer.into_response()
}
