//! What is sent arrives: all sizes, both ways, in order.

use crate::support::*;
use wire_link::{LinkError, SendStatus};
use wire_protocol::frame::{PAYLOAD_BYTES_MAX, push};

fn payload(seed: usize, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| u8::try_from((at * 31 + seed * 7) % 251).expect("below 251"))
        .collect()
}

#[test]
fn frames_of_every_size_come_back_as_they_were() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        let mut sizes = vec![
            0, 1, 2, 63, 64, 1_199, 1_200, 1_452, 4_096, 65_535, 65_536, 300_000,
        ];
        sizes.extend([PAYLOAD_BYTES_MAX - 1, PAYLOAD_BYTES_MAX]);
        for (seed, size) in sizes.into_iter().enumerate() {
            let sent = payload(seed, size);
            assert!(ask(&mut link, ECHO, &sent).await == sent, "{size} bytes");
        }
    });
}

#[test]
fn many_frames_in_flight_come_back_in_order() {
    run(async {
        let server = TestServer::start();
        let link = server.link().await;
        let total = 20_000_usize;
        let (mut sender, mut receiver) = (link.sender, link.receiver);
        let sending = tokio::spawn(async move {
            let mut batch = Vec::new();
            for number in 0..total {
                push(&mut batch, ECHO, |out| {
                    out.extend_from_slice(&number.to_le_bytes());
                    out.extend_from_slice(&payload(number, number % 700));
                });
                if batch.len() > 50_000 || number + 1 == total {
                    sender.send(&batch).await.unwrap();
                    batch.clear();
                }
            }
            sender
        });
        let mut expected = 0;
        while expected < total {
            let more = receiver.recv(|kind, got| {
                assert_eq!(kind, ECHO);
                assert_eq!(got[..8], expected.to_le_bytes());
                assert!(got[8..] == payload(expected, expected % 700));
                expected += 1;
                Ok::<(), LinkError>(())
            });
            assert!(
                tokio::time::timeout(PATIENCE, more)
                    .await
                    .expect("in time")
                    .unwrap()
            );
        }
        link.control.close(0, "done");
        drop(sending.await.unwrap());
    });
}

#[test]
fn a_frame_sent_byte_by_byte_arrives_whole() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        let sent = frame(ECHO, b"in small pieces");
        for byte in sent.chunks(1) {
            link.sender.send(byte).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(
            next(&mut link).await.unwrap(),
            Some((ECHO, b"in small pieces".to_vec()))
        );
    });
}

#[test]
fn what_the_owner_sends_between_turns_leaves_after_a_wake() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        let id = server.expect_opened();
        server.order(move |server| {
            assert_eq!(
                server.links_mut().send(id, &frame(ECHO, b"from outside")),
                SendStatus::Taken
            );
        });
        assert_eq!(
            next(&mut link).await.unwrap(),
            Some((ECHO, b"from outside".to_vec()))
        );
    });
}

#[test]
fn both_ends_derive_the_same_keying_material_and_no_other_link_does() {
    run(async {
        let server = TestServer::start();
        let (mut one, mut other) = (server.link().await, server.link().await);
        let keys = one.control.export_keying_material(b"test", b"context");
        assert_eq!(ask(&mut one, KEYS, b"context").await, keys);
        assert_ne!(ask(&mut one, KEYS, b"another").await, keys);
        assert_ne!(ask(&mut other, KEYS, b"context").await, keys);
    });
}

#[test]
fn large_packets_are_used_where_both_ends_allow_them() {
    run(async {
        let server = TestServer::with(|config| config.mtu_max = 16_000);
        let connector = server.connector_with(|config| config.mtu_max = 16_000);
        let mut link = connector.connect(server.addr, "localhost").await.unwrap();
        ask(&mut link, HELLO, b"hi").await;
        for round in 0..20 {
            let sent = payload(round, 200_000);
            assert!(ask(&mut link, ECHO, &sent).await == sent);
        }
    });
}
