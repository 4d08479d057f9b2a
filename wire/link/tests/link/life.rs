//! How links begin, move, and end.

use crate::support::*;
use std::collections::HashSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;
use tokio::sync::Semaphore;
use wire_link::*;

#[test]
fn a_link_survives_the_move_of_its_client_to_another_socket() {
    run(async {
        let server = TestServer::start();
        let connector = server.connector();
        let mut link = connector.connect(server.addr, "localhost").await.unwrap();
        ask(&mut link, HELLO, b"hi").await;
        let before = ask(&mut link, WHERE_AM_I, b"").await;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let moved_to = socket.local_addr().unwrap().to_string().into_bytes();
        link.control.rebind(socket).unwrap();
        assert_eq!(ask(&mut link, ECHO, b"still here").await, b"still here");
        let after = ask(&mut link, WHERE_AM_I, b"").await;
        assert_ne!(before, after);
        assert_eq!(after, moved_to);
        assert_eq!(server.counts.live.load(SeqCst), 1);
    });
}

#[test]
fn the_owners_reason_reaches_the_client() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        link.sender.send(&frame(REFUSE_ME, b"")).await.unwrap();
        let error = next(&mut link).await.unwrap_err();
        assert_eq!(
            error,
            LinkError::Closed {
                code: 0x123,
                reason: "you asked for it".to_owned()
            }
        );
        let opened = server.expect_opened();
        assert_eq!(server.expect_closed(), (opened, "you asked for it".to_owned()));
    });
}

#[test]
fn what_was_sent_before_a_close_arrives_before_it() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        link.sender.send(&frame(CLOSE_ME, b"")).await.unwrap();
        let (kind, payload) = next(&mut link).await.unwrap().expect("the last frame");
        assert_eq!((kind, payload.len()), (CLOSE_ME, 300_000));
        let error = next(&mut link).await.unwrap_err();
        assert_eq!(
            error,
            LinkError::Closed {
                code: 0x124,
                reason: "as you wish".to_owned()
            }
        );
        let opened = server.expect_opened();
        assert_eq!(server.expect_closed(), (opened, "as you wish".to_owned()));
    });
}

#[test]
fn a_client_that_finishes_is_served_to_the_end_and_leaves_in_good_order() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        link.sender.send(&frame(ECHO, b"last words")).await.unwrap();
        let Link {
            sender,
            receiver,
            control,
        } = link;
        let mut rest = Link {
            sender,
            receiver,
            control,
        };
        let (kind, payload) = next(&mut rest).await.unwrap().expect("the answer");
        assert_eq!((kind, &payload[..]), (ECHO, &b"last words"[..]));
        rest.sender.finish().await.unwrap();
        let end: Result<bool, LinkError> = rest.receiver.recv(|_, _| panic!("nothing more comes")).await;
        assert_eq!(end, Ok(false));
        let opened = server.expect_opened();
        assert_eq!(
            server.expect_closed(),
            (opened, "the peer has finished".to_owned())
        );
        server.until("the link is forgotten", |counts| {
            counts.connections.load(SeqCst) == 0
        });
    });
}

#[test]
fn a_client_that_closes_is_reported_with_its_reason() {
    run(async {
        let server = TestServer::start();
        let link = server.link().await;
        link.control.close(5, "going home");
        let opened = server.expect_opened();
        assert_eq!(
            server.expect_closed(),
            (opened, "closed by the peer: going home".to_owned())
        );
    });
}

#[test]
fn a_client_that_vanishes_is_reported_after_the_idle_timeout() {
    let server = TestServer::with(|config| config.idle_timeout = Duration::from_secs(1));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let link = runtime.block_on(server.link());
    runtime.shutdown_background();
    let opened = server.expect_opened();
    let (closed, reason) = server.expect_closed();
    assert_eq!(closed, opened);
    assert!(reason.contains("idle timeout"), "{reason}");
    server.until("the link is forgotten", |counts| {
        counts.connections.load(SeqCst) == 0
    });
    drop(link);
}

#[test]
fn keep_alive_is_a_sign_of_life_that_holds_an_idle_link() {
    run(async {
        let server = TestServer::with(|config| config.idle_timeout = Duration::from_millis(1_500));
        let connector = server.connector_with(|config| config.keep_alive = Some(Duration::from_millis(50)));
        let mut link = connector.connect(server.addr, "localhost").await.unwrap();
        ask(&mut link, HELLO, b"hi").await;
        let before = server.counts.received.load(SeqCst);
        server.until("signs of life for longer than the idle timeout", |counts| {
            counts.received.load(SeqCst) >= before + 40
        });
        assert_eq!(ask(&mut link, ECHO, b"still here").await, b"still here");
    });
}

#[test]
fn a_restarted_server_is_recognised_at_once() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        let (addr, folder) = server.kill();
        let server = TestServer::at(addr, folder, |_| {});
        link.sender.send(&frame(ECHO, b"are you there?")).await.unwrap();
        assert_eq!(next(&mut link).await, Err(LinkError::Restarted));
        server.link().await;
    });
}

#[test]
fn whoever_was_connected_to_a_killed_server_is_called_back_by_the_next() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let roster = folder.path().join("roster");
        let server = TestServer::with(|config| config.roster = Some(roster.clone()));
        let (mut resting, mut gone) = (server.link().await, server.link().await);
        ask(&mut resting, HELLO, b"here").await;
        ask(&mut gone, HELLO, b"here too").await;
        gone.control.close(0, "of its own will");
        server.until("it has left", |counts| counts.connections.load(SeqCst) == 1);
        let (addr, certificates) = server.kill();
        let server = TestServer::at(addr, certificates, |config| config.roster = Some(roster.clone()));
        assert_eq!(next(&mut resting).await, Err(LinkError::Restarted));
        let mut again = server.link().await;
        ask(&mut again, HELLO, b"here again").await;
        assert_eq!(next(&mut gone).await, Err(LinkError::Done));
    });
}

#[test]
fn a_server_that_goes_down_tells_every_client_and_refuses_new_ones() {
    run(async {
        let server = TestServer::start();
        let (mut one, mut other) = (server.link().await, server.link().await);
        server.order(|server| server.close_all(0x77, "maintenance"));
        for link in [&mut one, &mut other] {
            let error = next(link).await.unwrap_err();
            assert_eq!(
                error,
                LinkError::Closed {
                    code: 0x77,
                    reason: "maintenance".to_owned()
                }
            );
        }
        let error = server
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Busy { .. }), "{error:?}");
        server.until("all is quiet", |counts| counts.connections.load(SeqCst) == 0);
        let (quiet, is_quiet) = std::sync::mpsc::channel();
        server.order(move |server| quiet.send(server.is_quiet()).unwrap());
        assert!(is_quiet.recv_timeout(PATIENCE).unwrap());
    });
}

#[test]
fn links_that_come_and_go_leave_nothing_behind_and_share_no_id() {
    run(async {
        let server = TestServer::start();
        let connector = server.connector();
        let mut ids = HashSet::new();
        for round in 0..60_u8 {
            let mut link = connector.connect(server.addr, "localhost").await.unwrap();
            ask(&mut link, HELLO, &[round]).await;
            link.control.close(0, "next");
            let opened = server.expect_opened();
            assert_eq!(server.expect_closed().0, opened);
            assert!(ids.insert(opened), "{opened} was used before");
        }
        server.until("nothing is left", |counts| {
            (
                counts.live.load(SeqCst),
                counts.connections.load(SeqCst),
                counts.buffered.load(SeqCst),
            ) == (0, 0, 0)
        });
        let slots: HashSet<usize> = ids.iter().map(|&id| slot(id)).collect();
        let _link = server.link().await;
        let again = server.expect_opened();
        assert!(
            slots.contains(&slot(again)),
            "a slot that is free is used before a new one"
        );
        assert!(!ids.contains(&again), "{again} was used before");
    });
}

#[test]
fn a_thousand_links_are_open_at_once() {
    run(async {
        let server = TestServer::start();
        let (connector, turnstile) = (Arc::new(server.connector()), Arc::new(Semaphore::new(50)));
        let addr = server.addr;
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..1_000_u32 {
            let (connector, turnstile) = (Arc::clone(&connector), Arc::clone(&turnstile));
            tasks.spawn(async move {
                let _turn = turnstile.acquire().await.unwrap();
                let mut link = connector.connect(addr, "localhost").await.unwrap();
                assert_eq!(
                    ask(&mut link, HELLO, &number.to_le_bytes()).await,
                    number.to_le_bytes()
                );
                link
            });
        }
        let mut links = tasks.join_all().await;
        assert_eq!(links.len(), 1_000);
        assert_eq!(server.counts.live.load(SeqCst), 1_000);
        for link in &mut links {
            assert_eq!(ask(link, ECHO, b"all together").await, b"all together");
        }
        drop(links);
        server.until("all have left", |counts| counts.live.load(SeqCst) == 0);
    });
}
