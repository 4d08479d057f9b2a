//! What is held for peers has bounds.

use crate::support::*;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use wire_link::*;

fn narrow(config: &mut ServerConfig) {
    config.limits.send_window_bytes = 64 << 10;
    config.limits.out_bytes_soft = 64 << 10;
    config.limits.out_bytes_hard = 256 << 10;
}

/// A client that has said hello and reads nothing of its own accord.
async fn lazy(server: &TestServer) -> Link {
    let connector = server.connector_with(|config| config.receive_window = 32 << 10);
    let mut link = connector.connect(server.addr, "localhost").await.unwrap();
    ask(&mut link, HELLO, b"hi").await;
    link
}

#[test]
fn a_peer_that_does_not_read_is_closed_at_the_hard_bound() {
    run(async {
        let server = TestServer::with(narrow);
        let mut link = lazy(&server).await;
        let id = server.expect_opened();
        link.sender.send(&frame(FLOOD_ME, b"")).await.unwrap();
        assert_eq!(server.expect_seen(), Seen::Gone(id));
        let (closed, reason) = server.expect_closed();
        assert_eq!(closed, id);
        assert!(reason.contains("reads too slowly"), "{reason}");
        let error = tokio::time::timeout(PATIENCE, link.control.closed())
            .await
            .expect("in time");
        assert!(
            matches!(error, LinkError::Closed { code, .. } if code == u64::from(code::SLOW)),
            "{error:?}"
        );
        server.until("nothing is held for it", |counts| {
            counts.buffered.load(SeqCst) == 0
        });
    });
}

#[test]
fn a_full_link_loses_nothing_and_its_owner_is_told_when_it_has_room() {
    run(async {
        let server = TestServer::with(narrow);
        let mut link = lazy(&server).await;
        let id = server.expect_opened();
        link.sender.send(&frame(FILL_ONCE, b"")).await.unwrap();
        assert_eq!(server.expect_seen(), Seen::Full(id));
        let mut frames = 0;
        while frames < 7 {
            let more = link.receiver.recv(|kind, payload| {
                assert_eq!((kind, payload.len()), (FILL_ONCE, 10_000));
                frames += 1;
                Ok::<(), LinkError>(())
            });
            assert!(
                tokio::time::timeout(PATIENCE, more)
                    .await
                    .expect("in time")
                    .unwrap()
            );
        }
        assert_eq!(
            frames, 7,
            "six fit below the bound of 65536 bytes, the seventh is over it"
        );
        assert_eq!(server.expect_seen(), Seen::Eased(id));
    });
}

#[test]
fn when_all_is_full_the_link_that_holds_most_is_closed() {
    run(async {
        let server = TestServer::with(|config| {
            narrow(config);
            config.limits.out_bytes_soft = 1 << 20;
            config.limits.out_bytes_hard = 1 << 20;
            config.limits.buffered_bytes_max = 1 << 20;
        });
        let (mut greedy, mut modest) = (lazy(&server).await, lazy(&server).await);
        let (greedy_id, modest_id) = (server.expect_opened(), server.expect_opened());
        let fill = |id, bytes: usize| {
            move |server: &mut Server| {
                let frame = frame(ECHO, &vec![0; bytes - 5]);
                assert_eq!(server.links_mut().send(id, &frame), SendStatus::Taken);
            }
        };
        server.order(fill(greedy_id, 1 << 20));
        server.order(fill(modest_id, 300_000));
        let (closed, reason) = server.expect_closed();
        assert_eq!(closed, greedy_id);
        assert!(reason.contains("holds as much as it may"), "{reason}");
        let error = tokio::time::timeout(PATIENCE, greedy.control.closed())
            .await
            .expect("in time");
        assert!(
            matches!(error, LinkError::Closed { code, .. } if code == u64::from(code::BUSY)),
            "{error:?}"
        );
        assert_eq!(
            next(&mut modest).await.unwrap().map(|(_, payload)| payload.len()),
            Some(300_000 - 5)
        );
        let _ = greedy.sender.send(b"").await;
    });
}

#[test]
fn beyond_its_bounds_a_server_refuses_and_later_has_room_again() {
    run(async {
        let server = TestServer::with(|config| config.limits.links_per_address_max = 2);
        let (one, _other) = (server.link().await, server.link().await);
        let error = server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Busy { .. }), "{error:?}");
        assert_eq!(server.counts.refused.load(SeqCst), 1);
        one.control.close(0, "making room");
        server.until("it has left", |counts| counts.connections.load(SeqCst) == 1);
        server.link().await;
    });
}

#[test]
fn whoever_comes_while_all_handshakes_are_taken_waits_and_is_not_refused() {
    run(async {
        let server = TestServer::with(|config| {
            config.limits.handshakes_max = 2;
            config.limits.handshakes_per_address_max = 1;
            config.limits.retry_above = 0;
        });
        let connector = Arc::new(server.connector());
        let mut connecting = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let (connector, addr) = (Arc::clone(&connector), server.addr);
            connecting.spawn(async move { connector.connect(addr, "localhost").await });
        }
        let links = connecting.join_all().await;
        for link in &links {
            assert!(link.is_ok(), "{link:?}");
        }
        assert_eq!(server.counts.refused.load(SeqCst), 0);
    });
}

#[test]
fn a_close_that_cannot_be_delivered_is_given_up_after_its_deadline() {
    run(async {
        let server = TestServer::with(|config| {
            config.limits.send_window_bytes = 64 << 10;
            config.limits.close_deadline = Duration::from_millis(200);
        });
        let mut link = lazy(&server).await;
        let id = server.expect_opened();
        link.sender.send(&frame(CLOSE_ME, b"")).await.unwrap();
        assert_eq!(server.expect_closed(), (id, "as you wish".to_owned()));
        let error = tokio::time::timeout(PATIENCE, link.control.closed())
            .await
            .expect("in time");
        assert_eq!(
            error,
            LinkError::Closed {
                code: 0x124,
                reason: "as you wish".to_owned()
            }
        );
        server.until("nothing is held for it", |counts| {
            counts.buffered.load(SeqCst) == 0
        });
    });
}

#[test]
fn limits_that_contradict_each_other_do_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let identity = ServerIdentity::load_or_create(folder.path(), &["localhost".to_owned()]).unwrap();
    let mut config = ServerConfig::new(identity);
    config.listen(LISTENER, "127.0.0.1:0".parse().unwrap(), &[ALPN]);
    config.limits.out_bytes_hard = 1;
    assert!(matches!(Server::bind(config), Err(BindError::Limits(_))));
}

#[test]
fn frames_that_are_never_completed_are_bounded_over_all_links() {
    run(async {
        let server = TestServer::with(|config| {
            config.limits.out_bytes_soft = 64 << 10;
            config.limits.out_bytes_hard = 1 << 20;
            config.limits.buffered_bytes_max = 1 << 20;
        });
        let (mut one, mut other) = (server.link().await, server.link().await);
        let (one_id, _) = (server.expect_opened(), server.expect_opened());
        let whole = frame(ECHO, &vec![3; 900_000]);
        one.sender.send(&whole[..700_000]).await.unwrap();
        server.until("the half frame is held", |counts| {
            counts.buffered.load(SeqCst) == 700_000
        });
        other.sender.send(&whole[..600_000]).await.unwrap();
        let (closed, reason) = server.expect_closed();
        assert_eq!(closed, one_id, "{reason}");
        other.sender.send(&whole[600_000..]).await.unwrap();
        assert_eq!(
            next(&mut other).await.unwrap().map(|(_, payload)| payload.len()),
            Some(900_000)
        );
        server.until("nothing is held", |counts| counts.buffered.load(SeqCst) == 0);
    });
}

#[test]
fn when_the_windows_are_given_away_a_link_still_carries_the_largest_frame() {
    run(async {
        let server = TestServer::with(|config| config.limits.window_bytes_total = 0);
        let mut link = server.link().await;
        let sent = vec![5; wire_protocol::frame::PAYLOAD_BYTES_MAX];
        assert!(ask(&mut link, ECHO, &sent).await == sent);
    });
}
