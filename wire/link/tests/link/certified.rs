//! Certificates of clients: none, the right one, one that has ended, one of another CA.

use crate::support::*;
use std::os::unix::fs::PermissionsExt;
use std::time::{SystemTime, UNIX_EPOCH};
use wire_link::*;

const DAY: u64 = 86_400;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A server that takes certificates of this CA.
fn server_of(ca: &ClientCa) -> TestServer {
    let ca = ca.certificate().to_vec();
    TestServer::with(|config| config.listeners[0].client_ca = Some(ca))
}

fn ca() -> (tempfile::TempDir, ClientCa) {
    let folder = tempfile::tempdir().unwrap();
    let ca = ClientCa::load_or_create(folder.path()).unwrap();
    (folder, ca)
}

fn enrolled(ca: &ClientCa, name: &str, not_before: u64, not_after: u64) -> ClientIdentity {
    let identity = ClientIdentity::generate().unwrap();
    let request = ClientRequest::parse(&identity.request().unwrap()).unwrap();
    let signed = ca.sign(&request, name, 7, not_before, not_after).unwrap();
    identity.with_certificate(signed)
}

/// What the server is shown by a client that connects and says hello.
async fn shown(server: &TestServer, identity: Option<ClientIdentity>) -> Option<PeerCertificate> {
    let connector = server.connector_with(|config| config.identity = identity);
    let mut link = connector.connect(server.addr, "localhost").await.unwrap();
    assert_eq!(ask(&mut link, HELLO, b"hi").await, b"hi");
    let opened = server.expect_opened();
    let (say, hear) = std::sync::mpsc::channel();
    server.order(move |server| {
        let peer = server.links().peer(opened).unwrap();
        say.send(peer.certificate.as_deref().cloned()).unwrap();
    });
    hear.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn a_client_may_show_no_certificate() {
    run(async {
        let (_folder, ca) = ca();
        let key_alone = ClientIdentity::generate().unwrap();
        for identity in [None, Some(key_alone)] {
            assert_eq!(shown(&server_of(&ca), identity).await, None);
        }
    });
}

#[test]
fn the_owner_learns_whose_certificate_a_client_shows() {
    run(async {
        let (_folder, ca) = ca();
        let server = server_of(&ca);
        let ends = now() + DAY;
        let identity = enrolled(&ca, "ant", now(), ends);
        let request = ClientRequest::parse(&identity.request().unwrap()).unwrap();
        let expected = PeerCertificate {
            name: "ant".to_owned(),
            key: request.key(),
            not_after: ends,
        };
        assert_eq!(identity.certificate_says().as_ref(), Some(&expected));
        assert_eq!(shown(&server, Some(identity)).await, Some(expected));
    });
}

#[test]
fn a_certificate_that_has_ended_is_left_to_the_owner() {
    run(async {
        let (_folder, ca) = ca();
        let server = server_of(&ca);
        let ended = now() - DAY;
        let identity = enrolled(&ca, "ant", ended - DAY, ended);
        let peer = shown(&server, Some(identity)).await.unwrap();
        assert_eq!((peer.name.as_str(), peer.not_after), ("ant", ended));
    });
}

#[test]
fn a_certificate_of_another_ca_never_becomes_a_link() {
    run(async {
        let ((_folder, ours), (_other_folder, other)) = (ca(), ca());
        let server = server_of(&ours);
        for (begins, ends) in [(now(), now() + DAY), (now() - 2 * DAY, now() - DAY)] {
            let identity = enrolled(&other, "ant", begins, ends);
            let connector = server.connector_with(|config| config.identity = Some(identity));
            // For the client the handshake is over before the server has looked at its certificate.
            let refused = match connector.connect(server.addr, "localhost").await {
                Ok(link) => link.control.closed().await.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(
                refused.contains("does not accept the certificate of this end"),
                "{refused}"
            );
        }
        server.until("the attempts are forgotten", |counts| {
            counts.connections.load(std::sync::atomic::Ordering::SeqCst) == 0
        });
        assert!(server.seen.try_recv().is_err(), "the owner saw nothing of it");
    });
}

#[test]
fn a_server_that_asks_for_none_is_shown_none() {
    run(async {
        let (_folder, ca) = ca();
        let server = TestServer::start();
        let identity = enrolled(&ca, "ant", now(), now() + DAY);
        assert_eq!(shown(&server, Some(identity)).await, None);
    });
}

#[test]
fn the_ca_is_made_once_and_kept_with_its_key_to_itself() {
    let (folder, ca) = ca();
    let mode = |name: &str| {
        let data = std::fs::metadata(folder.path().join(name)).unwrap();
        data.permissions().mode() & 0o777
    };
    assert_eq!(mode("workers-ca.key"), 0o600);
    let again = ClientCa::load_or_create(folder.path()).unwrap();
    assert_eq!(again.certificate(), ca.certificate());
    std::fs::remove_file(folder.path().join("workers-ca.key")).unwrap();
    let error = ClientCa::load_or_create(folder.path()).unwrap_err();
    assert!(matches!(error, CertsError::Half { .. }), "{error:?}");
}

#[test]
fn an_identity_is_kept_with_its_key_to_itself() {
    let (folder, ca) = ca();
    let path = folder.path().join("identity.pem");
    assert!(ClientIdentity::load(&path).unwrap().is_none());
    let ends = now() + DAY;
    let identity = enrolled(&ca, "ant", now(), ends);
    identity.save(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    let loaded = ClientIdentity::load(&path).unwrap().unwrap();
    assert_eq!(loaded.certificate_says(), identity.certificate_says());
    assert_eq!(loaded.validity().map(|(_, ends)| ends), Some(ends));
    std::fs::write(&path, "nothing").unwrap();
    let error = ClientIdentity::load(&path).unwrap_err();
    assert!(matches!(error, CertsError::Pem { .. }), "{error:?}");
}

#[test]
fn what_is_no_request_or_is_signed_with_another_key_is_refused() {
    let request = ClientIdentity::generate().unwrap().request().unwrap();
    assert!(ClientRequest::parse(&request).is_ok());
    for at in [0, request.len() / 2, request.len() - 1] {
        let mut wrong = request.clone();
        wrong[at] ^= 1;
        assert!(ClientRequest::parse(&wrong).is_err(), "byte {at}");
    }
    assert!(ClientRequest::parse(&[]).is_err());
}
