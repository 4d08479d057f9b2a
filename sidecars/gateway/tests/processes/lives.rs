//! The life of the process: ready, stopped, in each other's way, and connections that do nothing.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use reqwest::{Body, Method, StatusCode};
use rustix::process::Signal;

use crate::kit::{Gateway, bytes};

#[tokio::test]
async fn it_says_how_it_is_and_stops_in_good_order() {
    let mut gateway = Gateway::start();
    assert!(gateway.health("/readyz").starts_with("HTTP/1.1 200"));
    assert!(gateway.health("/livez").starts_with("HTTP/1.1 200"));
    assert!(
        gateway
            .health("/healthz")
            .contains("\"schema\":\"workerpool/v1/gateway\"")
    );
    let client = gateway.client();
    gateway
        .request(&client, Method::PUT, "/api/v1/files/x")
        .body("abc")
        .send()
        .await
        .expect("it answers");
    assert_eq!(gateway.metric("pool_gateway_files"), 1);
    let began = Instant::now();
    gateway.signal(Signal::TERM);
    let ended = gateway.wait();
    assert!(ended.success(), "{ended}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "an idle connection is not waited for"
    );
    assert!(!gateway.folder.path().join("gateway.json").exists());
    gateway.start_again();
    assert_eq!(gateway.metric("pool_gateway_files"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_in_progress_ends_before_it_stops() {
    let mut gateway = Gateway::start();
    let client = gateway.client();
    let (send, pieces) = tokio::sync::mpsc::channel::<Result<Vec<u8>, std::io::Error>>(1);
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async {
        Some((pieces.recv().await?, pieces))
    });
    let put = gateway
        .request(&client, Method::PUT, "/api/v1/files/x")
        .body(Body::wrap_stream(Box::pin(pieces)));
    let put = tokio::spawn(put.send());
    send.send(Ok(bytes(100_000))).await.expect("it is sent");
    while gateway.metric("pool_gateway_received_bytes_total") < 100_000 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    gateway.signal(Signal::TERM);
    while !gateway.health("/readyz").contains("stopping") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    send.send(Ok(bytes(100_000))).await.expect("it is sent");
    drop(send);
    let stored = put.await.expect("it does not panic").expect("it answers");
    assert_eq!(stored.status(), StatusCode::CREATED);
    assert!(gateway.wait().success());
}

#[test]
fn a_second_one_leaves_the_first_ones_files_alone() {
    let gateway = Gateway::start();
    let second = Gateway::command(gateway.folder.path(), None)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(5), "{said}");
    assert!(said.contains("another process uses"), "{said}");
    let third = Gateway::command(gateway.folder.path(), Some(gateway.address()))
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&third.stderr);
    assert_eq!(third.status.code(), Some(4), "{said}");
    assert!(said.contains("POOL_LISTEN_HTTPS"), "{said}");
}

#[test]
fn who_never_speaks_is_cut_off_and_in_nobodys_way() {
    let gateway = Gateway::with(&["--connections-max", "3"]);
    let began = Instant::now();
    let mut silent: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(gateway.address()).expect("it listens"))
        .collect();
    for stream in &mut silent {
        stream.write_all(&[0x16]).expect("it reads");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
    }
    // All places are taken; health is served elsewhere.
    assert!(gateway.health("/readyz").starts_with("HTTP/1.1 200"));
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "it is closed");
    }
    assert!(began.elapsed() < Duration::from_secs(25), "after 10 s");
    assert_eq!(gateway.metric("pool_gateway_handshakes_failed_total"), 3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let listed = runtime.block_on(
        gateway
            .request(&gateway.client(), Method::GET, "/api/v1/files")
            .send(),
    );
    assert_eq!(listed.expect("it answers").status(), StatusCode::OK);
}
