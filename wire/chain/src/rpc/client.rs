//! The client.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};
use rustls::RootCertStore;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::MESSAGE_CHARS_MAX;
use super::{Endpoint, NodeError, NodeErrorKind, RpcError};

/// How a node is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RpcOptions {
    /// A request, or a batch of them, that has no answer after this is given up. Default 20 s.
    pub deadline: Duration,
    /// What may be asked again is, for this long; zero asks once. Default 20 s.
    pub patience: Duration,
    /// Requests in a batch, at most; a node that refuses that gets fewer. Default 100.
    pub batch_max: usize,
    /// Bytes of an answer that are read. Default 64 MiB, some hundred thousand logs.
    pub response_bytes_max: usize,
}

impl Default for RpcOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(20),
            patience: Duration::from_secs(20),
            batch_max: 100,
            response_bytes_max: 64 << 20,
        }
    }
}

/// Between two tries.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// The method.
    pub method: &'static str,
    /// Its arguments: a list.
    pub params: Value,
}

impl Request {
    /// This.
    ///
    /// # Panics
    /// The arguments are no list.
    #[must_use]
    pub fn new(method: &'static str, params: Value) -> Self {
        assert!(params.is_array(), "arguments of {method} are a list: {params}");
        Self { method, params }
    }

    /// Asking twice is as good as asking once.
    fn is_idempotent(&self) -> bool {
        let changes = ["eth_sendRawTransaction", "evm_", "anvil_"];
        !changes.iter().any(|method| self.method.starts_with(method))
    }
}

/// A node that answers JSON-RPC. It keeps its connections; many may ask at once. Cheap to clone; clones share all of it.
#[derive(Clone, Debug)]
pub struct Rpc {
    http: Client,
    endpoint: Endpoint,
    options: RpcOptions,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Requests in a batch that this node has not refused.
    batch_max: AtomicUsize,
    next_id: AtomicU64,
}

type Outcome = Result<Value, RpcError>;

impl Rpc {
    /// The node at this address; nothing is asked yet. Certificates are believed that this machine believes.
    ///
    /// # Errors
    /// The text says why TLS or HTTP cannot be set up on this machine.
    pub fn new(endpoint: Endpoint, options: RpcOptions) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        // One that cannot be read leaves the others; a machine without any fails at the first https.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self::believing(roots, endpoint, options)
    }

    /// The same, whose certificate one of these has signed.
    pub(super) fn believing(
        roots: RootCertStore,
        endpoint: Endpoint,
        options: RpcOptions,
    ) -> Result<Self, String> {
        let http = Client::builder()
            .tls_backend_preconfigured(tls(roots)?)
            .connect_timeout(CONNECT_WITHIN)
            .timeout(options.deadline)
            // Credentials are not for somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .build()
            .map_err(|error| chain_of(&error.without_url()))?;
        Ok(Self {
            http,
            endpoint,
            options,
            shared: Arc::new(Shared {
                batch_max: AtomicUsize::new(options.batch_max.max(1)),
                next_id: AtomicU64::new(1),
            }),
        })
    }

    /// Where it is.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// The node cannot be reached, or says no.
    pub async fn ask(&self, method: &'static str, params: Value) -> Outcome {
        let mut outcomes = self.ask_all(&[Request::new(method, params)]).await;
        outcomes.pop().expect("an outcome for each request")
    }

    /// Asks much at once; the outcomes stand in the order of the requests. What fails in passing is tried again, unless
    /// it changes something.
    pub async fn ask_all(&self, requests: &[Request]) -> Vec<Outcome> {
        let start = Instant::now();
        let mut backoff = backoff();
        let mut outcomes: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
        let mut left: Vec<usize> = (0..requests.len()).collect();
        loop {
            self.ask_once(requests, &left, &mut outcomes).await;
            let failure = |at: &usize| outcomes[*at].as_ref().and_then(|outcome| outcome.as_ref().err());
            left.retain(|at| requests[*at].is_idempotent() && failure(at).is_some_and(RpcError::is_passing));
            let Some(error) = left.first().and_then(failure) else {
                break;
            };
            let wait = backoff.next().unwrap_or(BACKOFF_MAX);
            let wait = wait.max(
                left.iter()
                    .filter_map(failure)
                    .filter_map(RpcError::retry_after)
                    .max()
                    .unwrap_or_default(),
            );
            if start.elapsed() + wait > self.options.patience {
                break;
            }
            tracing::debug!(%error, requests = left.len(), wait_ms = wait.as_millis(), "asks the node again");
            tokio::time::sleep(wait).await;
        }
        let all = outcomes.into_iter();
        all.map(|outcome| outcome.expect("each was asked")).collect()
    }

    /// Asks those of `left`, in batches as large as the node takes them.
    async fn ask_once(&self, requests: &[Request], left: &[usize], outcomes: &mut [Option<Outcome>]) {
        let mut left = left;
        while !left.is_empty() {
            let most = self.shared.batch_max.load(Ordering::Relaxed).min(left.len());
            let (now, later) = left.split_at(most);
            let batch: Vec<&Request> = now.iter().map(|at| &requests[*at]).collect();
            match self.post(&batch).await {
                Ok(answers) => {
                    for (at, outcome) in now.iter().zip(answers) {
                        outcomes[*at] = Some(outcome);
                    }
                }
                Err(error) if now.len() > 1 && error.refuses_the_batch() => {
                    let fewer = now.len() / 2;
                    tracing::debug!(%error, requests = now.len(), fewer, "the node refuses a batch");
                    self.shared.batch_max.fetch_min(fewer, Ordering::Relaxed);
                    continue;
                }
                Err(error) => {
                    for at in now {
                        outcomes[*at] = Some(Err(error.clone()));
                    }
                }
            }
            left = later;
        }
    }

    /// One batch. An error is of all of it.
    async fn post(&self, requests: &[&Request]) -> Result<Vec<Outcome>, RpcError> {
        let count = u64::try_from(requests.len()).expect("a few");
        let first = self.shared.next_id.fetch_add(count, Ordering::Relaxed);
        let one = |(id, request): (u64, &&Request)| json!({ "jsonrpc": "2.0", "id": id, "method": request.method, "params": request.params });
        let mut bodies: Vec<Value> = (first..).zip(requests).map(one).collect();
        // Not all nodes take batches, and all take what is none.
        let body = if bodies.len() == 1 {
            bodies.remove(0)
        } else {
            Value::Array(bodies)
        };
        let answer = self.exchange(body.to_string()).await?;
        let answers = match answer {
            Value::Array(answers) => answers,
            // One answer to a batch is an error of all of it; its id, if it has one, is nobody's.
            answer if requests.len() > 1 => {
                let error = outcome_of(self, answer).err();
                return Err(error.unwrap_or_else(|| self.malformed("one answer to a batch")));
            }
            answer => vec![answer],
        };
        let mut outcomes: Vec<Option<Outcome>> = requests.iter().map(|_| None).collect();
        for answer in answers {
            let id = answer.get("id").and_then(Value::as_u64);
            let at = id.and_then(|id| usize::try_from(id.checked_sub(first)?).ok());
            // The answer to what cannot be read has no id; of one request it is clear which it is.
            let at = if requests.len() == 1 { Some(0) } else { at };
            match at.and_then(|at| outcomes.get_mut(at)) {
                Some(slot) => *slot = Some(outcome_of(self, answer)),
                None => tracing::debug!(endpoint = %self.endpoint, ?id, "an answer to nothing"),
            }
        }
        let left_out = |outcome: Option<Outcome>| {
            outcome.unwrap_or_else(|| Err(self.malformed("a request of a batch has no answer")))
        };
        Ok(outcomes.into_iter().map(left_out).collect())
    }

    async fn exchange(&self, body: String) -> Result<Value, RpcError> {
        let request = self
            .http
            .post(self.endpoint.url().clone())
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let mut response = request.send().await.map_err(|error| self.failed(error))?;
        let status = response.status();
        if status == StatusCode::TOO_MANY_REQUESTS {
            let seconds = response.headers().get(RETRY_AFTER);
            let seconds = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
            return Err(RpcError::RateLimited {
                endpoint: self.endpoint.to_string(),
                retry_after: seconds.map(Duration::from_secs),
            });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(error))? {
            if bytes.len() + chunk.len() > self.options.response_bytes_max {
                return Err(RpcError::TooLong {
                    endpoint: self.endpoint.to_string(),
                    bytes_max: self.options.response_bytes_max,
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        match serde_json::from_slice(&bytes) {
            // Some nodes say what is wrong in JSON-RPC and by the status too.
            Ok(answer) if status.is_success() || has_error(&answer) => Ok(answer),
            Ok(_) => Err(self.http_status(status)),
            Err(_) if !status.is_success() => Err(self.http_status(status)),
            Err(error) => Err(self.malformed(&error.to_string())),
        }
    }

    fn http_status(&self, status: StatusCode) -> RpcError {
        RpcError::Http {
            endpoint: self.endpoint.to_string(),
            status: status.as_u16(),
        }
    }

    fn malformed(&self, problem: &str) -> RpcError {
        RpcError::Malformed {
            endpoint: self.endpoint.to_string(),
            problem: problem.to_owned(),
        }
    }

    fn failed(&self, error: reqwest::Error) -> RpcError {
        let endpoint = self.endpoint.to_string();
        if error.is_timeout() {
            let within = self.options.deadline;
            return RpcError::TimedOut { endpoint, within };
        }
        RpcError::Unreachable {
            endpoint,
            problem: chain_of(&error.without_url()),
        }
    }
}

fn has_error(answer: &Value) -> bool {
    match answer {
        Value::Array(answers) => !answers.is_empty(),
        answer => answer.get("error").is_some_and(|error| !error.is_null()),
    }
}

fn outcome_of(rpc: &Rpc, mut answer: Value) -> Outcome {
    match answer.get("error") {
        None | Some(Value::Null) => match answer.get_mut("result") {
            // It may be null: that is what is not there.
            Some(result) => Ok(result.take()),
            None => Err(rpc.malformed("neither a result nor an error")),
        },
        Some(error) => {
            let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            // Some nodes have the text that matters beside the message.
            let data = error
                .get("data")
                .and_then(Value::as_str)
                .filter(|data| !data.starts_with("0x"));
            let message = match data {
                Some(data) => format!("{message}: {data}"),
                None => message.to_owned(),
            };
            Err(RpcError::Node(NodeError {
                endpoint: rpc.endpoint.to_string(),
                kind: NodeErrorKind::of(code, &message),
                code,
                message: message.chars().take(MESSAGE_CHARS_MAX).collect(),
            }))
        }
    }
}

fn tls(roots: RootCertStore) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = builder
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The innermost cause is what tells a wrong certificate from a closed port.
fn chain_of(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF_MIN)
        .with_max_delay(BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}
