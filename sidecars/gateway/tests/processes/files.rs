//! Files over HTTP: put, read, listed, removed, refused.

use reqwest::header::{CONTENT_RANGE, ETAG, IF_NONE_MATCH, IF_RANGE, RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Body, Method, StatusCode};
use serde_json::Value;

use crate::kit::{Gateway, PASSWORD, bytes, digest, problem};

#[tokio::test]
async fn a_file_is_put_read_listed_and_removed() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let content = bytes(1_000_000);
    let put = |name: &str, content: &[u8]| {
        let request = gateway.request(&client, Method::PUT, &format!("/api/v1/files/{name}"));
        request.body(content.to_vec()).send()
    };
    let stored = put("data/a", &content).await.expect("it answers");
    assert_eq!(stored.status(), StatusCode::CREATED);
    let told: Value = serde_json::from_slice(&stored.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(
        (&told["name"], &told["bytes"]),
        (&"data/a".into(), &1_000_000.into())
    );
    assert_eq!(told["sha256"], digest(&content).hex());
    assert_eq!(
        put("data/a", &content).await.expect("it answers").status(),
        StatusCode::OK
    );
    for name in ["data/b", "data/c", "other"] {
        put(name, name.as_bytes()).await.expect("it answers");
    }
    for source in ["data/a".to_owned(), digest(&content).to_string()] {
        let path = format!("/api/v1/files/{source}");
        let read = gateway
            .request(&client, Method::GET, &path)
            .send()
            .await
            .expect("it answers");
        assert_eq!(read.headers()["x-content-type-options"], "nosniff");
        assert!(read.bytes().await.expect("a body") == content, "{source}");
        let head = gateway
            .request(&client, Method::HEAD, &path)
            .send()
            .await
            .expect("it answers");
        assert_eq!(head.headers()["content-length"], "1000000");
        assert_eq!(head.headers()[ETAG], format!("\"{}\"", digest(&content).hex()));
    }
    let list = async |query: &str| {
        let path = format!("/api/v1/files?{query}");
        let page = gateway
            .request(&client, Method::GET, &path)
            .send()
            .await
            .expect("it answers");
        let page: Value = serde_json::from_slice(&page.bytes().await.expect("a body")).expect("JSON");
        let files = page["files"].as_array().expect("files").iter();
        let names: Vec<String> = files
            .map(|file| file["name"].as_str().expect("a name").to_owned())
            .collect();
        (names, page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(list("").await.0, ["data/a", "data/b", "data/c", "other"]);
    let (names, next) = list("prefix=data/&limit=2").await;
    assert_eq!(
        (names, next.as_deref()),
        (vec!["data/a".to_owned(), "data/b".to_owned()], Some("data/b"))
    );
    assert_eq!(
        list("prefix=data/&limit=2&after=data/b").await,
        (vec!["data/c".to_owned()], None)
    );
    assert_eq!(
        list("owner=somebody").await.0,
        [""; 0],
        "an administrator may look at others' files"
    );
    let remove = |name| gateway.request(&client, Method::DELETE, name).send();
    let removed = remove("/api/v1/files/data/a").await.expect("it answers");
    assert_eq!(removed.status(), StatusCode::NO_CONTENT);
    let gone = remove("/api/v1/files/data/a").await.expect("it answers");
    assert_eq!(problem(gone, StatusCode::NOT_FOUND).await.0, "no-such-file");
    let path = format!("/api/v1/files/{}", digest(&content));
    let gone = gateway
        .request(&client, Method::GET, &path)
        .send()
        .await
        .expect("it answers");
    assert_eq!(problem(gone, StatusCode::NOT_FOUND).await.0, "no-such-file");
}

#[tokio::test]
async fn a_range_is_those_bytes_and_what_is_known_is_not_sent() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let content = bytes(100_000);
    let put = gateway
        .request(&client, Method::PUT, "/api/v1/files/x")
        .body(content.clone());
    put.send().await.expect("it answers");
    let tag = format!("\"{}\"", digest(&content).hex());
    let get = || gateway.request(&client, Method::GET, "/api/v1/files/x");
    let part = get()
        .header(RANGE, "bytes=1000-1999")
        .send()
        .await
        .expect("it answers");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[CONTENT_RANGE], "bytes 1000-1999/100000");
    assert!(part.bytes().await.expect("a body") == content[1000..2000]);
    let same = get()
        .header(RANGE, "bytes=99999-")
        .header(IF_RANGE, &tag)
        .send()
        .await
        .expect("it answers");
    assert_eq!(same.bytes().await.expect("a body").as_ref(), &content[99_999..]);
    let other = get()
        .header(RANGE, "bytes=99999-")
        .header(IF_RANGE, "\"x\"")
        .send()
        .await
        .expect("it answers");
    assert_eq!(
        (other.status(), other.content_length()),
        (StatusCode::OK, Some(100_000))
    );
    let beyond = get()
        .header(RANGE, "bytes=100000-")
        .send()
        .await
        .expect("it answers");
    assert_eq!(beyond.headers()[CONTENT_RANGE], "bytes */100000");
    assert_eq!(
        problem(beyond, StatusCode::RANGE_NOT_SATISFIABLE).await.0,
        "no-such-range"
    );
    for known in [&*tag, "*", &format!("\"a\", W/{tag}")] {
        let known = get()
            .header(IF_NONE_MATCH, known)
            .send()
            .await
            .expect("it answers");
        assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    }
    let other = get()
        .header(IF_NONE_MATCH, "\"a\"")
        .send()
        .await
        .expect("it answers");
    assert_eq!(other.status(), StatusCode::OK);
}

#[tokio::test]
async fn too_long_a_file_is_refused_and_the_connection_lives() {
    let gateway = Gateway::with(&["--file-bytes-max", "1000000"]);
    // One connection at most, and it is seen whether another one was made.
    let client = gateway.client();
    let put = |body: Body| {
        gateway
            .request(&client, Method::PUT, "/api/v1/files/x")
            .body(body)
            .send()
    };
    let told = put(bytes(1_000_001).into()).await.expect("it answers");
    let (kind, said) = problem(told, StatusCode::PAYLOAD_TOO_LARGE).await;
    assert_eq!(kind, "too-long");
    assert!(
        said["detail"].as_str().expect("a text").contains("1000000"),
        "{said}"
    );
    assert!(
        said["cure"].as_str().expect("a text").contains("MAXFILESIZE"),
        "{said}"
    );
    // Of unknown length: it is noticed when it has come.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> = (0..11).map(|_| Ok(bytes(100_000))).collect();
    let streamed = Body::wrap_stream(futures_util::stream::iter(pieces));
    let told = put(streamed).await.expect("it answers");
    assert_eq!(problem(told, StatusCode::PAYLOAD_TOO_LARGE).await.0, "too-long");
    let fits = put(bytes(1_000_000).into()).await.expect("it answers");
    assert_eq!(fits.status(), StatusCode::CREATED);
    assert_eq!(
        gateway.metric("pool_gateway_connections"),
        1,
        "it is still the first one"
    );
}

#[tokio::test]
async fn over_the_quota_there_is_no_room() {
    let gateway = Gateway::with(&["--files-quota", "1000"]);
    let client = gateway.client();
    let put = |name: &str, count| {
        let request = gateway.request(&client, Method::PUT, &format!("/api/v1/files/{name}"));
        request.body(bytes(count)).send()
    };
    assert_eq!(
        put("a", 600).await.expect("it answers").status(),
        StatusCode::CREATED
    );
    let told = put("b", 401).await.expect("it answers");
    let (kind, said) = problem(told, StatusCode::INSUFFICIENT_STORAGE).await;
    assert_eq!(kind, "no-room");
    assert!(
        said["detail"].as_str().expect("a text").contains("600 of 1000"),
        "{said}"
    );
    assert_eq!(
        put("b", 400).await.expect("it answers").status(),
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let ask = |method, path: &str| gateway.request(&client, method, path).send();
    let cases = [
        (
            Method::GET,
            "/api/v1/files/a%20b",
            StatusCode::BAD_REQUEST,
            "bad-name",
        ),
        (
            Method::PUT,
            "/api/v1/files/a%2f..%2fb",
            StatusCode::BAD_REQUEST,
            "bad-name",
        ),
        (
            Method::PUT,
            "/api/v1/files/sha256:00",
            StatusCode::BAD_REQUEST,
            "bad-name",
        ),
        (
            Method::GET,
            "/api/v1/files/sha256:00",
            StatusCode::BAD_REQUEST,
            "bad-name",
        ),
        (
            Method::GET,
            "/api/v1/files/nobody",
            StatusCode::NOT_FOUND,
            "no-such-file",
        ),
        (
            Method::GET,
            "/api/v1/files?limit=0",
            StatusCode::BAD_REQUEST,
            "bad-request",
        ),
        (
            Method::GET,
            "/api/v1/files?limit=1001",
            StatusCode::BAD_REQUEST,
            "bad-request",
        ),
        (
            Method::GET,
            "/api/v2/files",
            StatusCode::NOT_FOUND,
            "no-such-path",
        ),
        (
            Method::POST,
            "/api/v1/files",
            StatusCode::METHOD_NOT_ALLOWED,
            "no-such-method",
        ),
        (
            Method::POST,
            "/api/v1/uploads",
            StatusCode::PRECONDITION_FAILED,
            "other-version",
        ),
    ];
    for (method, path, status, kind) in cases {
        let said = ask(method.clone(), path).await.expect("it answers");
        let (found, said) = problem(said, status).await;
        assert_eq!(found, kind, "{method} {path}");
        assert!(
            said["cure"].as_str().is_some_and(|cure| !cure.is_empty()),
            "{said}"
        );
    }
    let path = format!("/api/v1/files/{}", "x".repeat(257));
    let said = ask(Method::GET, &path).await.expect("it answers");
    assert_eq!(problem(said, StatusCode::BAD_REQUEST).await.0, "bad-name");
    let wrong = gateway
        .request(&client, Method::PUT, "/api/v1/files/x")
        .header("repr-digest", format!("sha-256=:{}:", "A".repeat(43) + "="))
        .body("abc");
    let said = wrong.send().await.expect("it answers");
    assert_eq!(
        problem(said, StatusCode::UNPROCESSABLE_ENTITY).await.0,
        "content-differs"
    );
}

#[tokio::test]
async fn nobody_unknown_is_told_anything_and_who_guesses_waits() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let get = |path: &str| client.get(gateway.url(path));
    for path in ["/api/v1/files", "/api/v1/files/x", "/api/v1/uploads/x"] {
        let said = get(path).send().await.expect("it answers");
        assert!(
            said.status() == StatusCode::UNAUTHORIZED || path.ends_with("uploads/x"),
            "{said:?}"
        );
    }
    let said = get("/api/v1/files").send().await.expect("it answers");
    assert!(said.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(problem(said, StatusCode::UNAUTHORIZED).await.0, "who-are-you");
    for _ in 0..10 {
        let said = get("/api/v1/files")
            .basic_auth("admin", Some("guess"))
            .send()
            .await
            .expect("it answers");
        assert_eq!(said.status(), StatusCode::UNAUTHORIZED);
    }
    let right = get("/api/v1/files").basic_auth("admin", Some(PASSWORD));
    let said = right.send().await.expect("it answers");
    if said.status() == StatusCode::TOO_MANY_REQUESTS {
        assert_eq!(said.headers()[RETRY_AFTER], "1");
        assert_eq!(problem(said, StatusCode::TOO_MANY_REQUESTS).await.0, "guesses");
    } else {
        // On a machine so slow that a second has passed since the tenth guess.
        assert_eq!(said.status(), StatusCode::OK);
    }
}
