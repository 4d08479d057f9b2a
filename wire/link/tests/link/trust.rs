//! Who talks to whom, and what a person is told when that does not work out.

use crate::support::*;
use std::net::UdpSocket;
use std::time::Duration;
use wire_link::*;

#[test]
fn a_pinned_certificate_is_trusted_under_any_name_and_no_other_is() {
    run(async {
        let server = TestServer::start();
        let print = ServerIdentity::load(server.folder.path())
            .unwrap()
            .unwrap()
            .fingerprint();
        let connector = server.connector_with(|config| config.trust = Trust::Fingerprint(print));
        let mut link = connector.connect(server.addr, "whatever").await.unwrap();
        assert_eq!(ask(&mut link, HELLO, b"hi").await, b"hi");
        let wrong = Fingerprint([7; 32]);
        let connector = server.connector_with(|config| config.trust = Trust::Fingerprint(wrong));
        let error = connector.connect(server.addr, "localhost").await.unwrap_err();
        assert!(
            matches!(error, ConnectError::OtherFingerprint { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_server_under_another_ca_is_not_trusted_and_the_error_names_the_file() {
    run(async {
        let (server, other) = (TestServer::start(), TestServer::start());
        let error = other
            .connector()
            .connect(server.addr, "localhost")
            .await
            .unwrap_err();
        let ca = other.folder.path().join("ca.pem");
        assert!(
            matches!(&error, ConnectError::UnknownCa { ca: named, .. } if *named == ca),
            "{error:?}"
        );
    });
}

#[test]
fn a_server_of_another_name_is_not_trusted() {
    run(async {
        let server = TestServer::start();
        let error = server
            .connector()
            .connect(server.addr, "elsewhere.example")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Certificate { .. }), "{error:?}");
        assert!(error.to_string().contains("elsewhere.example"), "{error}");
        let mut link = server
            .connector()
            .connect(server.addr, "127.0.0.1")
            .await
            .unwrap();
        assert_eq!(ask(&mut link, HELLO, b"by address").await, b"by address");
    });
}

#[test]
fn an_unknown_protocol_version_is_told_as_such() {
    run(async {
        let server = TestServer::start();
        let connector = server.connector_with(|config| config.alpn = b"test/2".to_vec());
        let error = connector.connect(server.addr, "localhost").await.unwrap_err();
        assert!(matches!(error, ConnectError::Protocol { .. }), "{error:?}");
        assert!(
            error
                .to_string()
                .contains("another protocol version than \"test/2\""),
            "{error}"
        );
        server.until("the attempt is forgotten", |counts| {
            counts.connections.load(SEQ) == 0
        });
    });
}

#[test]
fn a_listener_offers_what_it_speaks_and_the_owner_learns_what_was_agreed() {
    run(async {
        let server = TestServer::with(|config| {
            config.listeners[0].alpn = vec![b"test/2".to_vec(), b"test/1".to_vec()]
        });
        let _link = server.link().await;
        assert!(matches!(server.expect_seen(), Seen::Opened(_, alpn) if alpn == b"test/1"));
    });
}

#[test]
fn each_listener_of_a_server_speaks_its_own_protocol() {
    run(async {
        let second = ListenerId(8);
        let server = TestServer::with(|config| {
            config.listen(second, ([127, 0, 0, 1], 0).into(), &[b"other/1"]);
        });
        let (addr, second_addr) = std::sync::mpsc::channel();
        server.order(move |server| addr.send(server.local_addr(second)).unwrap());
        let second_addr = second_addr.recv_timeout(PATIENCE).unwrap();
        let error = server
            .connector()
            .connect(second_addr, "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Protocol { .. }), "{error:?}");
        let connector = server.connector_with(|config| config.alpn = b"other/1".to_vec());
        let (mut one, mut other) = (
            server.link().await,
            connector.connect(second_addr, "localhost").await.unwrap(),
        );
        for round in 0..20_u8 {
            assert_eq!(ask(&mut one, ECHO, &[round]).await, [round]);
            assert_eq!(ask(&mut other, HELLO, &[round, round]).await, [round, round]);
        }
    });
}

#[test]
fn where_nobody_answers_the_error_says_so() {
    run(async {
        let server = TestServer::start();
        let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
        let connector = server.connector_with(|config| config.connect_timeout = Duration::from_millis(200));
        let error = connector
            .connect(deaf.local_addr().unwrap(), "localhost")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
    });
}

#[test]
fn a_server_does_not_start_on_a_port_that_is_taken() {
    let server = TestServer::start();
    let identity = ServerIdentity::load(server.folder.path()).unwrap().unwrap();
    let mut config = ServerConfig::new(identity);
    config.listen(LISTENER, server.addr, &[ALPN]);
    let error = Server::bind(config).err().expect("the port is taken");
    assert!(
        matches!(error, BindError::Socket { address, .. } if address == server.addr),
        "{error:?}"
    );
}

#[test]
fn a_server_without_listeners_or_with_two_of_one_name_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["localhost".to_owned()];
    let any = "127.0.0.1:0".parse().unwrap();
    let configure = |listeners: &[(u8, &[&[u8]])]| {
        let mut config = ServerConfig::new(ServerIdentity::load_or_create(folder.path(), &names).unwrap());
        for &(id, alpn) in listeners {
            config.listen(ListenerId(id), any, alpn);
        }
        Server::bind(config).err()
    };
    assert!(matches!(configure(&[]), Some(BindError::Listeners)));
    assert!(matches!(
        configure(&[(1, &[b"a"]), (1, &[b"b"])]),
        Some(BindError::Listeners)
    ));
    assert!(matches!(configure(&[(1, &[])]), Some(BindError::Listeners)));
    assert!(configure(&[(1, &[b"a"]), (2, &[b"b"])]).is_none());
}

const SEQ: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;
