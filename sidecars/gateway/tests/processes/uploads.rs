//! Uploads: tus as any client speaks it, and with the pool's own client, cut anywhere, also by a kill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wire_files::{Files, FilesError, Place, Wanted};

use crate::kit::{Gateway, PATIENCE, bytes, content, digest, large, local, login, problem};

fn tus(gateway: &Gateway, client: &Client, method: Method, place: &str) -> RequestBuilder {
    gateway
        .request(client, method, place)
        .header("tus-resumable", "1.0.0")
}

async fn begin(gateway: &Gateway, client: &Client, bytes: usize, metadata: &str) -> Response {
    let begin = tus(gateway, client, Method::POST, "/api/v1/uploads")
        .header("upload-length", bytes)
        .header("upload-metadata", metadata);
    begin.send().await.expect("it answers")
}

async fn patch(gateway: &Gateway, client: &Client, place: &str, offset: usize, part: &[u8]) -> Response {
    let patch = tus(gateway, client, Method::PATCH, place)
        .header("upload-offset", offset)
        .header("content-type", "application/offset+octet-stream")
        .body(part.to_vec());
    patch.send().await.expect("it answers")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers()[name].to_str().expect("a text")
}

#[tokio::test]
async fn any_client_of_tus_can_upload() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let options = client
        .request(Method::OPTIONS, gateway.url("/api/v1/uploads"))
        .send()
        .await
        .expect("it answers");
    assert_eq!(header(&options, "tus-version"), "1.0.0");
    assert_eq!(
        header(&options, "tus-extension"),
        "creation,expiration,termination"
    );
    assert_eq!(header(&options, "tus-max-size"), "524288000");
    // Most clients say `filename`, and more that is theirs.
    let begun = begin(&gateway, &client, 11, "filename YS9i,filetype dGV4dA==").await;
    assert_eq!(
        (begun.status(), header(&begun, "upload-offset")),
        (StatusCode::CREATED, "0")
    );
    let place = header(&begun, "location").to_owned();
    assert!(begun.headers().contains_key("upload-expires"));
    let part = patch(&gateway, &client, &place, 0, b"hello").await;
    assert_eq!(
        (part.status(), header(&part, "upload-offset")),
        (StatusCode::NO_CONTENT, "5")
    );
    let head = tus(&gateway, &client, Method::HEAD, &place)
        .send()
        .await
        .expect("it answers");
    assert_eq!(
        (header(&head, "upload-offset"), header(&head, "upload-length")),
        ("5", "11")
    );
    assert_eq!(
        (header(&head, "cache-control"), header(&head, "upload-metadata")),
        ("no-store", "name YS9i")
    );
    let wrong = patch(&gateway, &client, &place, 3, b"lo").await;
    assert_eq!(header(&wrong, "upload-offset"), "5");
    assert_eq!(problem(wrong, StatusCode::CONFLICT).await.0, "other-offset");
    let override_ = tus(&gateway, &client, Method::POST, &place)
        .header("x-http-method-override", "PATCH")
        .header("upload-offset", 5)
        .header("content-type", "application/offset+octet-stream")
        .body(" world");
    let done = override_.send().await.expect("it answers");
    assert_eq!(
        (done.status(), header(&done, "upload-offset")),
        (StatusCode::NO_CONTENT, "11")
    );
    assert_eq!(header(&done, "upload-sha256"), digest(b"hello world").hex());
    assert_eq!(header(&done, "upload-name"), "a/b");
    let again = patch(&gateway, &client, &place, 11, b"").await;
    assert_eq!(
        again.status(),
        StatusCode::NO_CONTENT,
        "whose last answer was lost asks again"
    );
    let read = gateway
        .request(&client, Method::GET, "/api/v1/files/a/b")
        .send()
        .await
        .expect("it answers");
    assert_eq!(read.text().await.expect("a text"), "hello world");
}

#[tokio::test]
async fn an_upload_that_is_given_up_is_gone_and_what_is_wrong_is_named() {
    let gateway = Gateway::with(&["--file-bytes-max", "100"]);
    let client = gateway.client();
    let begun = begin(&gateway, &client, 11, "name eA==").await;
    let place = header(&begun, "location").to_owned();
    let gone = tus(&gateway, &client, Method::DELETE, &place)
        .send()
        .await
        .expect("it answers");
    assert_eq!(gone.status(), StatusCode::NO_CONTENT);
    let late = patch(&gateway, &client, &place, 0, b"x").await;
    assert_eq!(problem(late, StatusCode::NOT_FOUND).await.0, "no-such-upload");
    let long = begin(&gateway, &client, 101, "name eA==").await;
    assert_eq!(problem(long, StatusCode::PAYLOAD_TOO_LARGE).await.0, "too-long");
    for metadata in ["", "name", "name !", "name Li4v", "name eA==,sha256 eA=="] {
        let said = begin(&gateway, &client, 1, metadata).await;
        assert_eq!(said.status(), StatusCode::BAD_REQUEST, "{metadata}");
    }
    let begun = begin(&gateway, &client, 3, "name eA==").await;
    let place = header(&begun, "location").to_owned();
    let kind = tus(&gateway, &client, Method::PATCH, &place)
        .header("upload-offset", 0)
        .body("abc");
    let said = kind.send().await.expect("it answers");
    assert_eq!(
        problem(said, StatusCode::UNSUPPORTED_MEDIA_TYPE).await.0,
        "bad-content-type"
    );
    let long = patch(&gateway, &client, &place, 0, b"abcd").await;
    assert_eq!(problem(long, StatusCode::PAYLOAD_TOO_LARGE).await.0, "too-long");
    assert_eq!(gateway.metric("pool_gateway_uploads"), 1);
}

#[tokio::test]
async fn the_pools_client_uploads_what_is_new_and_not_what_is_known() {
    let gateway = Gateway::start();
    let files = gateway.files();
    let data = bytes(3_000_000);
    let path = local(gateway.folder.path(), "data", &data);
    for name in ["one", "two"] {
        files
            .upload(name, &path, content(&data), &login(), &mut |_| {})
            .await
            .expect("it is uploaded");
    }
    assert_eq!(
        gateway.metric("pool_gateway_received_bytes_total"),
        3_000_000,
        "once"
    );
    let empty = local(gateway.folder.path(), "empty", b"");
    for _ in 0..2 {
        files
            .upload("empty", &empty, content(b""), &login(), &mut |_| {})
            .await
            .expect("it is uploaded");
    }
    let wanted = Wanted {
        place: Place::Store("two"),
        digest: None,
        bytes_max: u64::MAX,
        goes_on: false,
    };
    let to = gateway.folder.path().join("got");
    let got = files
        .download(wanted, &to, &login(), &mut |_, _| {})
        .await
        .expect("it is downloaded");
    assert_eq!(got, content(&data));
    // Another content than was announced.
    let announced = content(b"else");
    let short = local(gateway.folder.path(), "short", b"this");
    let refused = files
        .upload("wrong", &short, announced, &login(), &mut |_| {})
        .await;
    let refused = refused.expect_err("it differs");
    assert!(
        matches!(
            &refused,
            FilesError::Refused {
                status: StatusCode::UNPROCESSABLE_ENTITY,
                ..
            }
        ),
        "{refused}"
    );
}

/// Passes on what comes, and cuts each connection after so many bytes from the client, until it is told to stop cutting.
async fn cutting_proxy(
    to: std::net::SocketAddr,
    after: Vec<usize>,
    cuts: Arc<AtomicBool>,
) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("a port");
    tokio::spawn(async move {
        for at in 0.. {
            let Ok((mut client, _)) = listener.accept().await else {
                return;
            };
            let mut left = after[at % after.len()];
            let cuts = Arc::clone(&cuts);
            tokio::spawn(async move {
                let Ok(mut server) = TcpStream::connect(to).await else {
                    return;
                };
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let up = async {
                    let mut buffer = vec![0; 16_384];
                    while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                        if to_server.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                        left = left.saturating_sub(read);
                        if left == 0 && cuts.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = up => {}
                    _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_at_any_place_an_upload_arrives_as_it_was() {
    let gateway = Gateway::start();
    let data = bytes(6_000_000);
    let path = local(gateway.folder.path(), "data", &data);
    let cuts = Arc::new(AtomicBool::new(true));
    let after = vec![900_000, 20_000, 1_500_000, 65_536, 1_000_000, 400_000];
    let proxy = cutting_proxy(gateway.address(), after, Arc::clone(&cuts)).await;
    let url = format!("https://localhost:{}", proxy.port());
    let files = Files::new(&url, &gateway.trust())
        .expect("a client")
        .patience(PATIENCE);
    let mut seen = Vec::new();
    let mut progress = |at| {
        seen.push(at);
        if at > 5_000_000 {
            cuts.store(false, Ordering::Relaxed);
        }
    };
    let by = login();
    let upload = files.upload("data", &path, content(&data), &by, &mut progress);
    upload.await.expect("it arrives");
    assert!(seen.len() > 4, "it was cut: {seen:?}");
    let wanted = Wanted {
        place: Place::Store("data"),
        digest: Some(digest(&data)),
        bytes_max: u64::MAX,
        goes_on: false,
    };
    let to = gateway.folder.path().join("got");
    gateway
        .files()
        .download(wanted, &to, &login(), &mut |_, _| {})
        .await
        .expect("it is there");
    let received = gateway.metric("pool_gateway_received_bytes_total");
    assert!(received < 9_000_000, "little was sent twice: {received} bytes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_during_an_upload_it_goes_on_where_it_was() {
    let mut gateway = Gateway::start();
    let path = gateway.folder.path().join("large");
    let content = large(&path, 300);
    let files = gateway.files();
    let upload = {
        let (files, path) = (files.clone(), path.clone());
        tokio::spawn(async move { files.upload("large", &path, content, &login(), &mut |_| {}).await })
    };
    for kill in 1..=3 {
        // The first one is behind a piece that was acknowledged.
        let enough = if kill == 1 { 80 << 20 } else { 8 << 20 };
        while gateway.metric("pool_gateway_received_bytes_total") < enough && !upload.is_finished() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        gateway.kill();
        gateway.start_again();
    }
    upload.await.expect("it does not panic").expect("it arrives");
    let wanted = Wanted {
        place: Place::Store("large"),
        digest: Some(content.digest),
        bytes_max: u64::MAX,
        goes_on: false,
    };
    let to = gateway.folder.path().join("got");
    let got = files
        .download(wanted, &to, &login(), &mut |_, _| {})
        .await
        .expect("it is there");
    assert_eq!(got, content);
    let left = std::fs::read_dir(gateway.folder.path().join("engine/files/uploads")).expect("a folder");
    assert_eq!(left.count(), 1, "the lock alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_does_not_grow_with_a_file() {
    let gateway = Gateway::start();
    let path = gateway.folder.path().join("large");
    let content = large(&path, 400);
    let files = gateway.files();
    files
        .upload("large", &path, content, &login(), &mut |_| {})
        .await
        .expect("it is uploaded");
    let wanted = Wanted {
        place: Place::Store("large"),
        digest: Some(content.digest),
        bytes_max: u64::MAX,
        goes_on: false,
    };
    let to = gateway.folder.path().join("got");
    files
        .download(wanted, &to, &login(), &mut |_, _| {})
        .await
        .expect("it is there");
    let peak = gateway.memory_peak_kib();
    assert!(peak < 64 << 10, "{peak} KiB for a file of 400 MiB");
}
