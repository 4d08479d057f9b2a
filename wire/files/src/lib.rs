//! The files of a pool, from outside the file store: uploads that go on where they were cut, downloads that do too, and
//! content that is checked against its hash at both ends.
//!
//! ```text
//!  upload     POST /api/v1/uploads ─► PATCH … PATCH (64 MiB each) ─► the store compares the hash ─► a file
//!                    a cut: HEAD says how much came ─► PATCH from there
//!  download   GET /api/v1/files/SOURCE ─► … a cut: GET with a range from there ─► compared with the hash
//! ```
//!
//! What fails for want of a connection, or because the store is busy or starting, is tried again until nothing has moved
//! for [`PATIENCE`]; what the store refuses is not. Memory is a few hundred KiB, however long the file.
//!
//! The protocol is [tus 1.0](https://tus.io/protocols/resumable-upload) for uploads and plain HTTP for the rest.

mod download;
mod error;
mod upload;
mod web;

pub use download::{Place, Wanted};
pub use error::FilesError;
pub use upload::Upload;
pub use web::Hosts;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use wire_link::Trust;
use wire_protocol::file::Digest;

/// How long nothing may move before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// A connection on which nothing comes for this long is cut.
const SILENCE: Duration = Duration::from_secs(30);

const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Bytes that are read, sent and hashed at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a file is: its hash and its size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    /// SHA-256.
    pub digest: Digest,
    /// Bytes.
    pub bytes: u64,
}

/// What says who asks.
pub trait Credentials: Send + Sync {
    /// The value of `Authorization`; `None` where none is needed. `fresh`: the last one was refused, get another.
    ///
    /// # Errors
    /// There is none to be had; the text says why.
    fn authorization(
        &self,
        fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + '_>>;
}

/// Login and password.
pub struct Login(String);

impl Login {
    /// These.
    #[must_use]
    pub fn new(login: &str, password: &str) -> Self {
        let pair = format!("{login}:{password}");
        Self(format!("Basic {}", data_encoding::BASE64.encode(pair.as_bytes())))
    }
}

impl Credentials for Login {
    fn authorization(
        &self,
        _fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + '_>> {
        Box::pin(async { Ok(Some(self.0.clone())) })
    }
}

/// For files that anybody may read.
pub struct Nobody;

impl Credentials for Nobody {
    fn authorization(
        &self,
        _fresh: bool,
    ) -> Pin<Box<dyn Future<Output = Result<Option<String>, String>> + Send + '_>> {
        Box::pin(async { Ok(None) })
    }
}

/// A file store, by its address. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Files {
    http: Client,
    base: Url,
    patience: Duration,
    hosts: Hosts,
}

impl Files {
    /// The store at `url` (`https://pool.example.org`), whose certificate `trust` believes.
    ///
    /// # Errors
    /// The URL is none, or TLS cannot be set up.
    pub fn new(url: &str, trust: &Trust) -> Result<Self, FilesError> {
        let tls =
            wire_link::tls_config(trust, &[b"http/1.1"]).map_err(|error| FilesError::Tls(Box::new(error)))?;
        let http = Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_WITHIN)
            .read_timeout(SILENCE)
            // A store does not move, and credentials are not for somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(FilesError::from_http)?;
        let base = Url::parse(url).ok().filter(|url| url.has_host());
        let base = base.ok_or_else(|| FilesError::Url(url.to_owned()))?;
        Ok(Self {
            http,
            base,
            patience: PATIENCE,
            // The operator says where it is.
            hosts: Hosts::All,
        })
    }

    /// Gives up when nothing has moved for this long, instead of [`PATIENCE`].
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The address of something below `/api/v1`.
    fn at(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend(["api", "v1"])
                .extend(path.iter().flat_map(|part| part.split('/')));
        }
        url
    }

    /// Asks once. An answer that is an error is one here.
    async fn ask(
        &self,
        request: RequestBuilder,
        credentials: &dyn Credentials,
        fresh: bool,
    ) -> Result<Response, Tried> {
        let mut request = request;
        match credentials.authorization(fresh).await {
            Ok(None) => {}
            Ok(Some(value)) => {
                let mut value = HeaderValue::try_from(value)
                    .map_err(|_| Tried::Refused(FilesError::Credentials("they fit no header".to_owned())))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            Err(problem) => return Err(Tried::Refused(FilesError::Credentials(problem))),
        }
        let response =
            request
                .send()
                .await
                .map_err(|error| match error.is_redirect() || error.is_builder() {
                    true => Tried::Refused(FilesError::from_http(error)),
                    false => Tried::Failed(FilesError::from_http(error), None),
                })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let wait = retry_after(response.headers());
        let error = FilesError::of(response).await;
        Err(match status {
            StatusCode::UNAUTHORIZED => Tried::Unauthorized(error),
            StatusCode::CONFLICT | StatusCode::RANGE_NOT_SATISFIABLE => Tried::Elsewhere(error),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Tried::Failed(error, wait),
            StatusCode::INSUFFICIENT_STORAGE => Tried::Refused(error),
            status if status.is_server_error() => Tried::Failed(error, wait),
            _ => Tried::Refused(error),
        })
    }

    /// Something small, tried again like the rest.
    ///
    /// # Errors
    /// What the store says, or why it cannot be asked.
    pub async fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        credentials: &dyn Credentials,
    ) -> Result<Vec<u8>, FilesError> {
        let mut url = self.at(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut effort = Effort::new(self.patience);
        loop {
            let request = self.http.request(method.clone(), url.clone());
            let tried = match self.ask(request, credentials, effort.fresh()).await {
                Ok(response) => response
                    .bytes()
                    .await
                    .map_err(|error| Tried::Failed(FilesError::from_http(error), None)),
                Err(tried) => Err(tried),
            };
            match tried {
                Ok(body) => return Ok(body.to_vec()),
                Err(tried) => effort.again(tried).await?,
            }
        }
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How a try failed.
enum Tried {
    /// Another may do better, perhaps after this time.
    Failed(FilesError, Option<Duration>),
    /// Other credentials may do better.
    Unauthorized(FilesError),
    /// The other end is at another place of the file than this one.
    Elsewhere(FilesError),
    /// It would be the same each time.
    Refused(FilesError),
}

/// Tries, and the waits between them, until nothing has moved for too long.
struct Effort {
    patience: Duration,
    moved: tokio::time::Instant,
    backoff: ExponentialBackoff,
    fresh: bool,
    renewed: bool,
}

impl Effort {
    fn new(patience: Duration) -> Self {
        Self {
            patience,
            moved: tokio::time::Instant::now(),
            backoff: backoff(),
            fresh: false,
            renewed: false,
        }
    }

    /// Whether the next try needs other credentials than the last.
    fn fresh(&mut self) -> bool {
        std::mem::take(&mut self.fresh)
    }

    /// Something has moved.
    fn moved(&mut self) {
        self.moved = tokio::time::Instant::now();
        self.backoff = backoff();
        self.renewed = false;
    }

    /// Waits for the next try, or says that there is none.
    async fn again(&mut self, tried: Tried) -> Result<(), FilesError> {
        let (error, wait) = match tried {
            Tried::Refused(error) => return Err(error),
            Tried::Unauthorized(error) if self.renewed => return Err(error),
            Tried::Unauthorized(_) => {
                (self.fresh, self.renewed) = (true, true);
                return Ok(());
            }
            Tried::Failed(error, wait) => (error, wait),
            Tried::Elsewhere(error) => (error, None),
        };
        let next = self.backoff.next().unwrap_or(BACKOFF_MAX);
        // Longer than that is not waited anyway, whatever the store says.
        let wait = wait.unwrap_or(next).min(self.patience);
        if self.moved.elapsed() + wait > self.patience {
            return Err(error);
        }
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            wait_ms = wait.as_millis(),
            "tries again"
        );
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

const BACKOFF_MAX: Duration = Duration::from_secs(10);

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}
