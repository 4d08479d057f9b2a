//! What a worker may do under a grant, and what not.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, StatusCode};
use wire_grant::Key;

use crate::kit::{Gateway, bytes, digest, grant, problem};

const HOUR: Duration = Duration::from_secs(3_600);

async fn kind_of(request: RequestBuilder, status: StatusCode) -> String {
    problem(request.send().await.expect("it answers"), status).await.0
}

#[tokio::test]
async fn it_reads_what_it_lists_and_nothing_else() {
    let gateway = Gateway::start();
    let client = gateway.client();
    for name in ["in/a", "in/b", "secret"] {
        let put = gateway.request(&client, Method::PUT, &format!("/api/v1/files/{name}"));
        put.body(name).send().await.expect("it answers");
    }
    let [a, b, secret] = ["in/a", "in/b", "secret"].map(|name| digest(name.as_bytes()).to_string());
    let nobodys = digest(b"nobody has it").to_string();
    let granted = grant(&gateway.key(), 1, &["in/a", &b, &nobodys], 0, HOUR);
    let get = |source: &str| {
        client
            .get(gateway.url(&format!("/api/v1/files/{source}")))
            .bearer_auth(&granted)
    };
    for (source, text) in [("in/a", "in/a"), (&*b, "in/b")] {
        let read = get(source).send().await.expect("it answers");
        assert_eq!(read.text().await.expect("a text"), text);
    }
    // By name is not by hash, nor the other way round: what a name is may change.
    for source in ["in/b", &*a, "secret", &*secret, "works/17/1/x"] {
        assert_eq!(
            kind_of(get(source), StatusCode::FORBIDDEN).await,
            "forbidden",
            "{source}"
        );
    }
    assert_eq!(
        kind_of(get(&nobodys), StatusCode::NOT_FOUND).await,
        "no-such-file"
    );
    assert_eq!(
        kind_of(get("in/a?owner=bert"), StatusCode::FORBIDDEN).await,
        "forbidden"
    );
    let list = client.get(gateway.url("/api/v1/files")).bearer_auth(&granted);
    assert_eq!(kind_of(list, StatusCode::FORBIDDEN).await, "forbidden");
    let remove = client
        .delete(gateway.url("/api/v1/files/in/a"))
        .bearer_auth(&granted);
    assert_eq!(kind_of(remove, StatusCode::FORBIDDEN).await, "forbidden");
    let put = client
        .put(gateway.url("/api/v1/files/out"))
        .bearer_auth(&granted)
        .body("x");
    assert_eq!(
        kind_of(put, StatusCode::FORBIDDEN).await,
        "forbidden",
        "it may write nothing"
    );
}

#[tokio::test]
async fn it_writes_beside_its_attempt_alone_and_no_more_than_it_may() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let [first, second] = [1, 2].map(|attempt| grant(&gateway.key(), attempt, &[], 1_000, HOUR));
    let put = |granted: &str, name: &str, count| {
        let request = client.put(gateway.url(&format!("/api/v1/files/{name}")));
        request.bearer_auth(granted).body(bytes(count))
    };
    for (granted, count) in [(&first, 500), (&second, 1_000)] {
        let stored = put(granted, "output.tar", count)
            .send()
            .await
            .expect("it answers");
        assert_eq!(stored.status(), StatusCode::CREATED);
    }
    for (attempt, count) in [(1, 500), (2, 1_000)] {
        let path = format!("/api/v1/files/works/17/{attempt}/output.tar");
        let read = gateway
            .request(&client, Method::GET, &path)
            .send()
            .await
            .expect("it answers");
        assert!(
            read.bytes().await.expect("a body") == bytes(count),
            "its owner reads what attempt {attempt} left"
        );
    }
    assert_eq!(
        kind_of(put(&first, "x", 1_001), StatusCode::PAYLOAD_TOO_LARGE).await,
        "too-long"
    );
    // Escapes stay where they are put, or are none.
    let name = "works/17/2/output.tar";
    put(&first, name, 1).send().await.expect("it answers");
    let path = format!("/api/v1/files/works/17/1/{name}");
    let read = gateway
        .request(&client, Method::HEAD, &path)
        .send()
        .await
        .expect("it answers");
    assert_eq!(read.status(), StatusCode::OK);
    assert_eq!(
        kind_of(put(&first, "x%2f..%2f2", 1), StatusCode::BAD_REQUEST).await,
        "bad-name"
    );
}

#[tokio::test]
async fn an_upload_is_its_attempts_own() {
    let gateway = Gateway::start();
    let client = gateway.client();
    let [first, again, second] = [(1, 1_000), (1, 2_000), (2, 1_000)]
        .map(|(attempt, max)| grant(&gateway.key(), attempt, &[], max, HOUR));
    let begun = client
        .post(gateway.url("/api/v1/uploads"))
        .bearer_auth(&first)
        .header("tus-resumable", "1.0.0")
        .header("upload-length", 3)
        .header("upload-metadata", "name b3V0")
        .send()
        .await
        .expect("it answers");
    assert_eq!(begun.status(), StatusCode::CREATED);
    let place = gateway.url(begun.headers()["location"].to_str().expect("a text"));
    let patch = |request: RequestBuilder| {
        request
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", 0)
            .header("content-type", "application/offset+octet-stream")
            .body("abc")
    };
    let other = patch(client.patch(&place).bearer_auth(&second));
    assert_eq!(kind_of(other, StatusCode::NOT_FOUND).await, "no-such-upload");
    let owner = patch(
        client
            .patch(&place)
            .basic_auth("admin", Some(crate::kit::PASSWORD)),
    );
    assert_eq!(kind_of(owner, StatusCode::NOT_FOUND).await, "no-such-upload");
    let done = patch(client.patch(&place).bearer_auth(&again))
        .send()
        .await
        .expect("it answers");
    assert_eq!(
        done.status(),
        StatusCode::NO_CONTENT,
        "another grant of the same attempt goes on"
    );
    assert_eq!(done.headers()["upload-name"], "works/17/1/out");
    assert_eq!(done.headers()["upload-sha256"], digest(b"abc").hex());
}

#[tokio::test]
async fn what_was_forged_or_is_over_is_no_grant() {
    let gateway = Gateway::start();
    let client = gateway.client();
    gateway
        .request(&client, Method::PUT, "/api/v1/files/x")
        .body("x")
        .send()
        .await
        .expect("it answers");
    let get = |granted: &str| client.get(gateway.url("/api/v1/files/x")).bearer_auth(granted);
    let forged = grant(&Key::new(&[7; 32]), 1, &["x"], 0, HOUR);
    let mut changed = grant(&gateway.key(), 1, &["x"], 0, HOUR);
    changed.replace_range(5..6, if &changed[5..6] == "A" { "B" } else { "A" });
    let over = grant(&gateway.key(), 1, &["x"], 0, Duration::ZERO);
    for wrong in [&*forged, &*changed, &*over, "", "x"] {
        assert_eq!(kind_of(get(wrong), StatusCode::UNAUTHORIZED).await, "who-are-you");
    }
    let good = get(&grant(&gateway.key(), 1, &["x"], 0, HOUR))
        .send()
        .await
        .expect("it answers");
    assert_eq!(
        good.status(),
        StatusCode::OK,
        "and none of these was a guess that counts"
    );
}
