//! Connections: how many, how long, and their end.
//!
//! | what | bound |
//! | --- | --- |
//! | connections | `--connections-max`; more wait to be accepted |
//! | TLS handshake | [`HANDSHAKE_WITHIN`] |
//! | head of a request, and the wait for it (HTTP/1.1) | [`HEAD_WITHIN`] |
//! | a body that says nothing | 30 s, in `sidecars_files::http` |
//! | nothing moves, and no request is being worked on | [`IDLE_MAX`]: idle ones, and readers that do not read |
//! | the end | requests in progress may end within [`STOP_WITHIN`] |

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use sidecars_files::http::Peer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::status::Status;
use crate::stream::{Moved, Watched};

const HANDSHAKE_WITHIN: Duration = Duration::from_secs(10);
const HEAD_WITHIN: Duration = Duration::from_secs(15);
const IDLE_MAX: Duration = Duration::from_secs(60);
const STOP_WITHIN: Duration = Duration::from_secs(8);

/// How often it is looked whether anything moves.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Bytes of a request's head, and of what is read ahead of a body; a grant fits several times.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Requests at once on one HTTP/2 connection, and how far a sender may be ahead of us on each and on all of them.
const STREAMS_MAX: u32 = 16;
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Serves until told to stop, and then until all requests have ended or take too long.
pub(crate) async fn serve(
    listener: TcpListener,
    connections_max: u32,
    server: Arc<Server>,
    mut stop: watch::Receiver<bool>,
) {
    let room = Arc::new(Semaphore::new(connections_max as usize));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &room) => accepted,
            Some(_) = connections.join_next() => continue,
            _ = stop.changed() => break,
        };
        let (stream, from, place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: others may close some.
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot accept a connection"
                );
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (server, stop) = (Arc::clone(&server), stop.clone());
        connections.spawn(async move {
            server.status.connections.fetch_add(1, Ordering::Relaxed);
            server.connection(stream, from, stop).await;
            server.status.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
    drop(listener);
    let ended = timeout(STOP_WITHIN, async {
        while connections.join_next().await.is_some() {}
    })
    .await;
    if ended.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "requests are cut that did not end in time"
        );
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await;
    let place = place.expect("the semaphore is never closed");
    let (stream, from) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, from.ip().to_canonical(), place))
}

/// What connections share.
pub(crate) struct Server {
    pub(crate) tls: TlsAcceptor,
    pub(crate) app: Router,
    pub(crate) status: Arc<Status>,
}

impl Server {
    async fn connection(&self, stream: TcpStream, from: IpAddr, mut stop: watch::Receiver<bool>) {
        let moved = Moved::new();
        let handshake = self.tls.accept(Watched::new(stream, moved.clone()));
        let Ok(Ok(stream)) = timeout(HANDSHAKE_WITHIN, handshake).await else {
            self.status.handshakes_failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let worked_on = Arc::new(AtomicU64::new(0));
        let service = {
            let app = TowerToHyperService::new(self.app.clone());
            let (status, worked_on) = (Arc::clone(&self.status), Arc::clone(&worked_on));
            let moved = moved.clone();
            service_fn(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(Peer(from));
                let answer = hyper::service::Service::call(&app, request.map(Body::new));
                let (status, work, moved) = (Arc::clone(&status), Work::begin(&worked_on), moved.clone());
                async move {
                    let response: Response<Body> = answer.await?;
                    status.answered(response.status());
                    moved.now();
                    drop(work);
                    Ok::<_, Infallible>(response)
                }
            })
        };
        let mut http = Builder::new(TokioExecutor::new());
        http.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WITHIN)
            .max_buf_size(HEAD_BYTES_MAX);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_send_buf_size(STREAM_WINDOW_BYTES as usize)
            .max_header_list_size(HEAD_BYTES_MAX as u32);
        let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
        let mut look = interval(LOOK_EVERY);
        if *stop.borrow() {
            return;
        }
        let mut stopping = false;
        loop {
            tokio::select! {
                // What goes wrong on one connection concerns nobody else.
                _ = &mut connection => return,
                _ = look.tick() => {
                    if worked_on.load(Ordering::Relaxed) == 0 && moved.since() > IDLE_MAX {
                        self.status.idle_closed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                }
                _ = stop.changed(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

/// A request that is being worked on: until its answer begins, nothing has to move.
struct Work(Arc<AtomicU64>);

impl Work {
    fn begin(worked_on: &Arc<AtomicU64>) -> Self {
        worked_on.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worked_on))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
