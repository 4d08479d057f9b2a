//! The client against nodes that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::node::{FakeNode, Said};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{NodeErrorKind, Request, Rpc, RpcError, RpcOptions};

fn options() -> RpcOptions {
    RpcOptions {
        deadline: Duration::from_millis(500),
        patience: Duration::from_secs(2),
        batch_max: 10,
        response_bytes_max: 4_096,
    }
}

fn client(url: &str, options: RpcOptions) -> Rpc {
    Rpc::new(url.parse().expect(url), options).expect("HTTP")
}

/// Requests whose result is their only argument.
fn numbers(count: u64) -> Vec<Request> {
    (0..count)
        .map(|number| Request::new("echo", json!([number])))
        .collect()
}

fn echo(request: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": request["id"], "result": request["params"][0] })
}

fn echo_all(request: &Value) -> Value {
    match request {
        Value::Array(requests) => requests.iter().map(echo).collect(),
        request => echo(request),
    }
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

fn expected(count: u64) -> Vec<Result<Value, RpcError>> {
    (0..count).map(|number| Ok(json!(number))).collect()
}

fn batch_sizes(node: &FakeNode) -> Vec<usize> {
    node.heard()
        .iter()
        .map(|request| request.as_array().map_or(1, Vec::len))
        .collect()
}

#[tokio::test]
async fn answers_of_a_batch_may_come_in_any_order() {
    let node = FakeNode::start(|request| {
        let mut answers = echo_all(request);
        if let Value::Array(answers) = &mut answers {
            answers.reverse();
            answers.push(json!({ "jsonrpc": "2.0", "id": 999_999, "result": "to nobody" }));
        }
        Said::Json(answers)
    })
    .await;
    let outcomes = client(&node.url(), options()).ask_all(&numbers(25)).await;
    assert_eq!(outcomes, expected(25));
    assert_eq!(batch_sizes(&node), [10, 10, 5]);
}

#[tokio::test]
async fn a_batch_that_is_refused_is_split_until_it_is_taken_and_the_size_is_kept() {
    for how in ["one error for all", "413", "too long an answer"] {
        let node = FakeNode::start(move |request| match (request, how) {
            (Value::Array(all), "one error for all") if all.len() > 3 => {
                Said::Json(error(&Value::Null, -32_600, "batch too large"))
            }
            (Value::Array(all), "413") if all.len() > 3 => Said::Http(413, "", String::new()),
            (Value::Array(all), "too long an answer") if all.len() > 3 => {
                Said::Http(200, "", " ".repeat(5_000))
            }
            (request, _) => Said::Json(echo_all(request)),
        })
        .await;
        let client = client(&node.url(), options());
        assert_eq!(client.ask_all(&numbers(10)).await, expected(10), "{how}");
        assert_eq!(batch_sizes(&node), [10, 5, 2, 2, 2, 2, 2], "{how}");
        assert_eq!(client.ask_all(&numbers(4)).await, expected(4), "{how}");
        assert_eq!(batch_sizes(&node)[7..], [2, 2], "{how}");
    }
}

#[tokio::test]
async fn nodes_without_batches_are_asked_one_by_one() {
    let node = FakeNode::start(|request| match request {
        Value::Array(_) => Said::Json(error(&Value::Null, -32_600, "batches are not supported")),
        request => Said::Json(echo(request)),
    })
    .await;
    assert_eq!(
        client(&node.url(), options()).ask_all(&numbers(3)).await,
        expected(3)
    );
}

#[tokio::test]
async fn what_fails_in_passing_is_asked_again_and_nothing_else() {
    let (times, tries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let node = FakeNode::start(move |request| {
        // One of three fails twice by itself, the next time all of them.
        match times.fetch_add(1, Ordering::Relaxed) {
            0 => {
                let mut answers = echo_all(request);
                answers[1] = error(&request[1]["id"], -32_005, "too many requests");
                answers[2] = error(&request[2]["id"], -32_000, "execution reverted");
                Said::Json(answers)
            }
            1 => Said::Http(503, "", String::new()),
            2 => Said::Cut,
            _ => {
                tries.fetch_add(1, Ordering::Relaxed);
                Said::Json(echo_all(request))
            }
        }
    })
    .await;
    let outcomes = client(&node.url(), options()).ask_all(&numbers(3)).await;
    assert_eq!((&outcomes[0], &outcomes[1]), (&Ok(json!(0)), &Ok(json!(1))));
    let reverted = outcomes[2].as_ref().expect_err("the node says no").node();
    assert_eq!(reverted.map(|node| node.kind), Some(NodeErrorKind::Reverted));
    assert_eq!(batch_sizes(&node), [3, 1, 1, 1]);
}

#[tokio::test]
async fn a_request_that_is_left_out_of_a_batch_is_asked_again() {
    let node = FakeNode::start(|request| {
        let mut answers = echo_all(request);
        if let Value::Array(answers) = &mut answers {
            answers.remove(0);
        }
        Said::Json(answers)
    })
    .await;
    assert_eq!(
        client(&node.url(), options()).ask_all(&numbers(2)).await,
        expected(2)
    );
    assert_eq!(batch_sizes(&node), [2, 1]);
}

#[tokio::test]
async fn what_changes_something_is_sent_once() {
    let node = FakeNode::start(|_| Said::Http(503, "", String::new())).await;
    let client = client(&node.url(), options());
    let sent = client.ask("eth_sendRawTransaction", json!(["0x"])).await;
    assert!(
        matches!(sent, Err(RpcError::Http { status: 503, .. })),
        "{sent:?}"
    );
    assert_eq!(node.heard().len(), 1);
}

#[tokio::test]
async fn a_node_that_says_when_is_asked_then() {
    let times = AtomicUsize::new(0);
    let node = FakeNode::start(move |request| match times.fetch_add(1, Ordering::Relaxed) {
        0 => Said::Http(429, "retry-after: 1", String::new()),
        _ => Said::Json(echo(request)),
    })
    .await;
    let start = Instant::now();
    let asked = client(&node.url(), options()).ask("echo", json!([7])).await;
    assert_eq!(asked, Ok(json!(7)));
    assert!(start.elapsed() >= Duration::from_secs(1));
    // Longer than anybody waits, it is an error at once.
    let node = FakeNode::start(|_| Said::Http(429, "retry-after: 60", String::new())).await;
    let asked = client(&node.url(), options()).ask("echo", json!([7])).await;
    let retry_after = Some(Duration::from_secs(60));
    assert!(matches!(asked, Err(RpcError::RateLimited { retry_after: after, .. }) if after == retry_after));
    assert_eq!(node.heard().len(), 1);
}

#[tokio::test]
async fn each_request_has_a_deadline_and_all_of_them_an_end() {
    let node = FakeNode::start(|_| Said::Nothing).await;
    let start = Instant::now();
    let asked = client(&node.url(), options()).ask("echo", json!([7])).await;
    assert!(matches!(asked, Err(RpcError::TimedOut { .. })), "{asked:?}");
    assert!(node.heard().len() > 1, "asked again");
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test]
async fn nonsense_is_named_and_credentials_are_not() {
    for (said, problem) in [
        ("<html>", "no JSON-RPC"),
        ("{}", "neither a result nor an error"),
        ("[]", "has no answer"),
        ("", "no JSON-RPC"),
    ] {
        let node = FakeNode::start(move |_| Said::Http(200, "", said.to_owned())).await;
        let url = node.url().replace("http://", "http://user:secret@") + "/secret";
        let patience = Duration::ZERO;
        let asked = client(
            &url,
            RpcOptions {
                patience,
                ..options()
            },
        )
        .ask("echo", json!([7]))
        .await;
        let error = asked.expect_err(said).to_string();
        assert!(
            error.contains(problem) && !error.contains("secret"),
            "{said}: {error}"
        );
    }
    let closed = "http://user:secret@127.0.0.1:1/secret";
    let patience = Duration::ZERO;
    let asked = client(
        closed,
        RpcOptions {
            patience,
            ..options()
        },
    )
    .ask("echo", json!([7]))
    .await;
    let error = format!("{:?}", asked.expect_err("nobody is there"));
    assert!(
        error.contains("Unreachable") && !error.contains("secret"),
        "{error}"
    );
}

#[tokio::test]
async fn long_texts_of_nodes_are_cut() {
    let node = FakeNode::start(|request| Said::Json(error(&request["id"], -1, &"é".repeat(2_000)))).await;
    let asked = client(&node.url(), options()).ask("echo", json!([7])).await;
    let error = asked.expect_err("the node says no");
    assert_eq!(
        error.node().expect("the node").message.chars().count(),
        super::MESSAGE_CHARS_MAX
    );
}

/// A node behind TLS that answers one request, and a root that signed its certificate.
async fn node_behind_tls() -> (String, rustls::RootCertStore) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate.der().clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = builder.expect("versions").with_no_client_auth();
    let config = config
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("TLS");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its own").port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = vec![0; 4_096];
            // One read has all of so short a request.
            let _ = stream.read(&mut request).await;
            let body = r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#;
            let length = body.len();
            let answer =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    (format!("https://localhost:{port}"), roots)
}

#[tokio::test]
async fn a_node_behind_tls_is_asked_if_its_certificate_is_believed() {
    let (url, roots) = node_behind_tls().await;
    let endpoint = || url.parse().expect("an address");
    let believing = Rpc::believing(roots, endpoint(), options()).expect("TLS");
    assert_eq!(believing.ask("eth_chainId", json!([])).await, Ok(json!("0x1")));
    let patience = Duration::ZERO;
    let stranger = Rpc::new(
        endpoint(),
        RpcOptions {
            patience,
            ..options()
        },
    )
    .expect("TLS");
    let error = stranger
        .ask("eth_chainId", json!([]))
        .await
        .expect_err("a stranger")
        .to_string();
    assert!(error.contains("certificate"), "{error}");
}
