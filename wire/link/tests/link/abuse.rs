//! Peers that break the rules are closed with a reason, and others do not notice.

use crate::support::*;
use quinn::crypto::rustls::QuicClientConfig;
use quinn_proto::{Endpoint, EndpointConfig};
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use wire_link::*;
use wire_protocol::frame::PAYLOAD_BYTES_MAX;

/// Sends bytes on a new link and returns the code and reason it is closed with.
async fn closed_after(server: &TestServer, hello: bool, bytes: &[u8]) -> (u64, String) {
    let mut link = if hello {
        server.link().await
    } else {
        server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap()
    };
    // The server may close before it has read everything.
    let _ = link.sender.send(bytes).await;
    match tokio::time::timeout(PATIENCE, link.control.closed())
        .await
        .expect("in time")
    {
        LinkError::Closed { code, reason } => (code, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_over_the_bound_closes_the_link() {
    run(async {
        let server = TestServer::start();
        let mut header = u32::try_from(PAYLOAD_BYTES_MAX + 1)
            .unwrap()
            .to_le_bytes()
            .to_vec();
        header.push(ECHO);
        let (code, reason) = closed_after(&server, true, &header).await;
        assert_eq!(code, u64::from(code::FRAME));
        assert!(reason.contains("1048577 bytes"), "{reason}");
    });
}

#[test]
fn a_stranger_may_send_small_frames_only() {
    run(async {
        let server = TestServer::start();
        let (code, reason) = closed_after(&server, false, &frame(ECHO, &[0; (16 << 10) + 1])).await;
        assert_eq!(code, u64::from(code::FRAME), "{reason}");
        let mut link = server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap();
        assert_eq!(ask(&mut link, ECHO, &[7; 16 << 10]).await, [7; 16 << 10]);
    });
}

#[test]
fn garbage_closes_the_link_and_harms_no_other() {
    run(async {
        let server = TestServer::start();
        let mut good = server.link().await;
        for seed in 0..20_u8 {
            let garbage: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8 ^ seed | 0x80).collect();
            let (code, _) = closed_after(&server, seed % 2 == 0, &garbage).await;
            assert_eq!(code, u64::from(code::FRAME));
        }
        assert_eq!(ask(&mut good, ECHO, b"undisturbed").await, b"undisturbed");
        server.until("only the good one is left", |counts| {
            counts.live.load(SeqCst) == 1
        });
        assert_eq!(server.counts.buffered.load(SeqCst), 0);
    });
}

#[test]
fn datagrams_that_are_not_quic_are_ignored() {
    run(async {
        let server = TestServer::start();
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for length in [0, 1, 20, 60, 1_200, 1_400, 9_000] {
            for first in [0x00, 0x40, 0x80, 0xc0, 0xff] {
                socket.send_to(&vec![first; length], server.addr).unwrap();
            }
        }
        assert_eq!(server.link().await.control.remote_address(), server.addr);
        assert_eq!(server.counts.connections_peak.load(SeqCst), 1);
    });
}

#[test]
fn a_peer_that_says_nothing_is_closed_after_the_deadline() {
    run(async {
        let server =
            TestServer::with(|config| config.limits.authentication_deadline = Duration::from_millis(700));
        let mut known = server.link().await;
        let link = server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap();
        let error = tokio::time::timeout(PATIENCE, link.control.closed())
            .await
            .expect("in time");
        assert!(
            matches!(error, LinkError::Closed { code, .. } if code == u64::from(code::SILENT)),
            "{error:?}"
        );
        let mut chatty = server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap();
        ask(&mut chatty, ECHO, b"anything but a login").await;
        let error = tokio::time::timeout(PATIENCE, chatty.control.closed())
            .await
            .expect("in time");
        assert!(
            matches!(error, LinkError::Closed { code, .. } if code == u64::from(code::SILENT)),
            "{error:?}"
        );
        assert_eq!(ask(&mut known, ECHO, b"still here").await, b"still here");
    });
}

#[test]
fn a_peer_gets_one_stream_and_no_more() {
    run(async {
        let server = TestServer::start();
        let mut config = quinn::ClientConfig::new(Arc::new(tls(&server)));
        config.transport_config(Arc::new(quinn::TransportConfig::default()));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connection = endpoint
            .connect_with(config, server.addr, "localhost")
            .unwrap()
            .await
            .unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        let patience = Duration::from_millis(100);
        assert!(
            tokio::time::timeout(patience, connection.open_bi())
                .await
                .is_err(),
            "a second stream"
        );
        assert!(
            tokio::time::timeout(patience, connection.open_uni())
                .await
                .is_err(),
            "a stream one way"
        );
        assert!(connection.send_datagram(vec![1].into()).is_err(), "a datagram");
        send.write_all(&frame(ECHO, b"the one stream")).await.unwrap();
        let mut answer = vec![0; 5 + 14];
        tokio::time::timeout(PATIENCE, receive.read_exact(&mut answer))
            .await
            .expect("in time")
            .unwrap();
        assert_eq!(answer, frame(ECHO, b"the one stream"));
    });
}

fn tls(server: &TestServer) -> QuicClientConfig {
    use rustls_pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    let ca = server.folder.path().join("ca.pem");
    roots
        .add(rustls_pki_types::CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    QuicClientConfig::try_from(config).unwrap()
}

/// The first packets of handshakes that nobody goes on with.
fn first_packets(server: &TestServer, count: usize) -> Vec<Vec<u8>> {
    let config = quinn_proto::ClientConfig::new(Arc::new(tls(server)));
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
    let now = Instant::now();
    let packet = |_| {
        let (_, mut connection) = endpoint
            .connect(now, config.clone(), server.addr, "localhost")
            .unwrap();
        let mut packet = Vec::new();
        let transmit = connection
            .poll_transmit(now, 1, &mut packet)
            .expect("a first packet");
        packet.truncate(transmit.size);
        packet
    };
    (0..count).map(packet).collect()
}

#[test]
fn a_flood_of_half_open_handshakes_is_bounded_met_with_retry_and_forgotten() {
    let server = TestServer::with(|config| {
        config.limits.retry_above = 8;
        config.limits.handshakes_max = 32;
        config.limits.handshakes_per_address_max = 16;
        config.limits.handshake_deadline = Duration::from_millis(1_500);
    });
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let packets = first_packets(&server, 300);
    let (mut retried, mut buffer) = (0, [0; 2_048]);
    for packet in &packets {
        socket.send_to(packet, server.addr).unwrap();
    }
    // Long header, type Retry (RFC 9000 §17.2.5).
    while retried < 200 {
        let length = socket.recv(&mut buffer).expect("the server answers with Retry");
        retried += usize::from(length > 0 && buffer[0] & 0xf0 == 0xf0);
    }
    server.until("the answers are counted", |counts| {
        counts.retries.load(SeqCst) >= 200
    });
    assert!(
        server.counts.connections_peak.load(SeqCst) <= 8,
        "a forged address gets no memory under load"
    );
    run(async {
        let mut honest = server.link().await;
        assert_eq!(ask(&mut honest, ECHO, b"let me in").await, b"let me in");
        drop(honest);
        server.until("the flood is forgotten", |counts| {
            counts.connections.load(SeqCst) == 0
        });
    });
}

#[test]
fn a_server_that_goes_down_waits_for_no_handshake() {
    let server = TestServer::with(|config| config.limits.handshake_deadline = 10 * PATIENCE);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .send_to(&first_packets(&server, 1)[0], server.addr)
        .unwrap();
    server.until("a handshake is under way", |counts| {
        counts.connections.load(SeqCst) == 1
    });
    server.order(|server| server.close_all(0x77, "maintenance"));
    server.until("all is quiet", |counts| counts.connections.load(SeqCst) == 0);
}

#[test]
fn a_server_that_always_asks_for_proof_is_reached_all_the_same() {
    run(async {
        let server = TestServer::with(|config| config.limits.retry_above = 0);
        let mut link = server.link().await;
        assert_eq!(ask(&mut link, ECHO, b"proven").await, b"proven");
        assert_eq!(server.counts.retries.load(SeqCst), 1);
    });
}
