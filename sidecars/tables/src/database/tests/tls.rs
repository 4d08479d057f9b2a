//! TLS to a server: whose certificate is believed, and that a statement costs no more than it does without.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use testkit::on_every_server;
use testkit::sql::SqlKind;
use wire_protocol::ids::WorkId;

use super::*;
use crate::change::Step;

on_every_server!(
    a_certificate_is_believed_under_its_ca_and_for_its_host,
    a_statement_ends_with_its_record,
);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn write(file: PathBuf, text: &str) -> PathBuf {
    std::fs::write(&file, text).expect("a file");
    file
}

/// A server with a certificate under `ca` for the name `localhost`.
fn start(kind: SqlKind, ca: &Ca, folder: &Path) -> SqlServer {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, ca).expect("a certificate");
    let [ca, certificate, key] = [
        ("ca", ca.pem()),
        ("cert", certificate.pem()),
        ("key", key.serialize_pem()),
    ]
    .map(|(name, pem)| format!("--ssl-{name}={}", write(folder.join(name), &pem).display()));
    SqlServer::start_with(kind, &[ca, certificate, key])
}

fn a_certificate_is_believed_under_its_ca_and_for_its_host(kind: SqlKind) {
    let folder = tempfile::tempdir().expect("a folder");
    let ours = ca();
    let server = start(kind, &ours, folder.path());
    let [right, wrong] = [("right.pem", &ours), ("wrong.pem", &ca())]
        .map(|(name, ca)| Some(write(folder.path().join(name), &ca.pem())));
    let plain = mysql_target(&server);
    let at = |host: &str, tls, ca: &Option<PathBuf>| {
        let target = MySqlTarget {
            host: host.to_owned(),
            tls,
            ca: ca.clone(),
            ..plain.clone()
        };
        Target::MySql(Box::new(target))
    };
    runtime().block_on(async {
        for (host, tls, ca) in [
            ("localhost", Tls::VerifyFull, &right),
            ("127.0.0.1", Tls::VerifyCa, &right),
            ("127.0.0.1", Tls::Require, &None),
            ("127.0.0.1", Tls::Prefer, &None),
        ] {
            let mut database = open(&at(host, tls, ca)).await;
            let protected = database.session.is_protected().await;
            assert!(protected.expect("it answers"), "{host} {tls:?}");
            database.close().await;
        }
        for (host, tls, ca) in [
            ("localhost", Tls::VerifyFull, &wrong),
            ("localhost", Tls::VerifyCa, &wrong),
            ("127.0.0.1", Tls::VerifyFull, &right),
        ] {
            let error = Database::open(&at(host, tls, ca)).await.expect_err("another's");
            let DatabaseError::Sql { source, .. } = &error else {
                panic!("{error:?}");
            };
            assert!(source.to_string().contains("certificate"), "{source}");
            assert!(
                error.cure().is_some_and(|cure| cure.contains("POOL_DB_CA")),
                "{error:?}"
            );
        }
    });
}

fn a_statement_ends_with_its_record(kind: SqlKind) {
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(kind, &ca(), folder.path());
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let target = MySqlTarget {
        port: proxy.local_addr().expect("it is bound").port(),
        tls: Tls::Require,
        ..mysql_target(&server)
    };
    let longest = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| relay(&proxy, server.port(), &longest));
        runtime().block_on(async {
            let mut database = open(&Target::MySql(Box::new(target))).await;
            // Migrations are sent whole, and are few.
            longest.store(0, Ordering::Relaxed);
            database.apply(&many_works(2_000)).await.expect("it is written");
            database.close().await;
        });
    });
    let longest = longest.load(Ordering::Relaxed);
    assert!((8 * 1024..16 * 1024).contains(&longest), "{longest} bytes");
}

/// So many works, in an empty database, whose parameters are of different lengths.
fn many_works(count: usize) -> Batch {
    let mut batch = one_batch();
    let [Step::Rows { works, .. }] = &mut batch.steps[..] else {
        panic!("one work is one step: {batch:?}");
    };
    let one = works[0].clone();
    *works = (0..count)
        .map(|index| {
            let mut work = one.clone();
            work.work = WorkId(one.work.0 + index as u64);
            work.new.as_mut().expect("it is new").parameters = vec![7; index % 300];
            work
        })
        .collect();
    batch
}

/// Takes one connection to the server, and keeps how long the longest record of TLS is that the client sends.
fn relay(proxy: &TcpListener, port: u16, longest: &AtomicUsize) {
    let (client, _) = proxy.accept().expect("a client");
    let server = TcpStream::connect(("127.0.0.1", port)).expect("the server");
    for stream in [&client, &server] {
        stream.set_nodelay(true).expect("a socket");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut from, mut to) = (&server, &client);
            let mut bytes = [0; 4_096];
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                if to.write_all(&bytes[..count]).is_err() {
                    break;
                }
            }
            drop(client.shutdown(Shutdown::Write));
        });
        let (mut from, mut to) = (&client, &server);
        // What asks for TLS is the only message without it.
        let mut hello = [0; 36];
        from.read_exact(&mut hello).expect("it asks for TLS");
        to.write_all(&hello).expect("the server is there");
        let mut header = [0; 5];
        while from.read_exact(&mut header).is_ok() {
            let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            from.read_exact(&mut record).expect("a whole record");
            longest.fetch_max(record.len(), Ordering::Relaxed);
            to.write_all(&[&header[..], &record].concat())
                .expect("the server is there");
        }
        drop(server.shutdown(Shutdown::Write));
    });
}
