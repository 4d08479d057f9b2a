//! Workers that prove by a certificate who they are.

use wire_protocol::joining::Certified;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::kind;
use worker_core::{Identity, Note, Settings};

use crate::world::{Did, World, settings, welcome};

const HOUR: Millis = Millis::from_secs(3_600);

fn with(token: Option<&str>, validity: Option<(Instant, Instant)>) -> World {
    World::of(Settings {
        identity: Some(Identity {
            request: b"request".to_vec(),
            token: token.map(str::to_owned),
            validity,
        }),
        ..settings(1, 0)
    })
}

fn certified(world: &World) -> Certified {
    Certified {
        certificate: b"certificate".to_vec(),
        not_before: world.now,
        not_after: world.now + HOUR,
    }
}

/// What it does at its next deadline, questions why it idles aside.
fn next_deed(world: &mut World) -> Vec<Did> {
    loop {
        world.tick_at_deadline();
        let mut acted = world.acted();
        acted.retain(|did| *did != Did::WhyIdle);
        if !acted.is_empty() {
            return acted;
        }
    }
}

#[test]
fn a_worker_with_a_token_enrols_and_says_neither_login_nor_password() {
    let mut world = with(Some("token"), None);
    world.connect();
    let did = world.did();
    let [Did::Connect, Did::Join(join)] = &did[..] else {
        panic!("{did:?}");
    };
    assert_eq!((join.login.as_str(), join.password.as_str()), ("", ""));
    let enrol = join.enrol.as_ref().expect("it enrols");
    assert_eq!(
        (enrol.token.as_str(), &enrol.request[..]),
        ("token", &b"request"[..])
    );
    world.welcome(&welcome(&[]));
    world.did();
    let certificate = certified(&world);
    world.control(kind::CERTIFICATE, &certificate);
    let until = certificate.not_after;
    let expected = [
        Did::Keep(b"certificate".to_vec()),
        Did::Note(Note::Certified { until }),
    ];
    assert_eq!(world.did(), expected);
}

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_time_is_left_and_asked_for_again_later() {
    let begins = Instant(1_000_000_000);
    let mut world = with(None, Some((begins, begins + HOUR)));
    world.connect();
    let did = world.did();
    assert!(
        matches!(&did[..], [Did::Connect, Did::Join(join)] if join.enrol.is_none()),
        "{did:?}"
    );
    let mut long = welcome(&[]);
    long.lease_timeout = Millis(3 * HOUR.0);
    long.heartbeat = Millis(2 * HOUR.0);
    world.welcome(&long);
    world.did();
    assert_eq!(next_deed(&mut world), [Did::Renew(b"request".to_vec())]);
    assert_eq!(world.now.since(begins), Millis(40 * 60 * 1_000));
    assert_eq!(next_deed(&mut world), [Did::Renew(b"request".to_vec())]);
    assert_eq!(
        world.now.since(begins),
        Millis(42 * 60 * 1_000),
        "a thirtieth later"
    );
    let certificate = certified(&world);
    world.control(kind::CERTIFICATE, &certificate);
    assert_eq!(world.acted(), [Did::Keep(b"certificate".to_vec())]);
    assert_eq!(next_deed(&mut world), [Did::Renew(b"request".to_vec())]);
    assert_eq!(world.now.since(certificate.not_before), Millis(40 * 60 * 1_000));
}

#[test]
fn a_certificate_for_a_worker_that_has_no_key_has_no_place() {
    let mut world = World::joined(1, 0);
    let certificate = certified(&world);
    world.control(kind::CERTIFICATE, &certificate);
    let did = world.did();
    assert!(matches!(&did[..], [Did::Disconnect(_), ..]), "{did:?}");
}
