//! Properties of the codec that hold for all values: what is written is read back, and no bytes make a reader
//! panic. The fuzz target looks further; these run with every test run.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

use support::{Blob, Link, Message};
use wire_protocol::codec::DecodeError;
use wire_protocol::file::Digest;
use wire_protocol::frame::{self, FrameError, HEADER_BYTES, PAYLOAD_BYTES_MAX};
use wire_protocol::ids::{BagId, Epoch, Lsn};
use wire_protocol::limits::{
    LEASES_PER_WORKER_MAX, RECORD_BYTES_MAX, RESULT_BYTES_MAX, ROW_BYTES_MAX, ROWS_BYTES_MAX,
};
use wire_protocol::outcome::{Archive, Outcome, Output, Reason};
use wire_protocol::template::{Offer, Requirements, Rows, row};
use wire_protocol::units::{Bytes, Instant};

#[path = "support/arbitrary/mod.rs"]
mod arbitrary;
#[path = "support/samples/mod.rs"]
mod samples;
mod support;

proptest! {
    #[test]
    fn what_is_written_is_read_back((link, message) in arbitrary::message()) {
        let (kind, payload) = message.encode();
        prop_assert_eq!(support::decode_twice(link, kind, &payload), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_of_any_kind_never_panic_a_reader(payload in vec(any::<u8>(), 0..200)) {
        for link in Link::ALL {
            for kind in 0..=u8::MAX {
                // It is an error or a message; which of the two, the fuzz target cares about as little.
                let _ = support::decode_twice(link, kind, &payload);
            }
        }
    }

    #[test]
    fn damaged_messages_never_panic_a_reader(
        sample in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
    ) {
        let samples = samples::all();
        let sample = sample.get(&samples);
        let (kind, mut payload) = sample.message.encode();
        if !payload.is_empty() {
            for (place, value) in damage {
                let place = place.index(payload.len());
                payload[place] = value;
            }
        }
        let _ = support::decode_twice(sample.link, kind, &payload);
        payload.truncate(cut.index(payload.len() + 1));
        let _ = support::decode_twice(sample.link, kind, &payload);
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut(messages in vec(arbitrary::message(), 1..4)) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (_, message) in &messages {
            message.push(&mut stream);
            expected.push(message.encode());
        }
        // Large streams are cut near their frames' edges only, small ones everywhere.
        let step = (stream.len() / 500).max(1);
        for end in (0..=stream.len()).step_by(step) {
            let mut rest = &stream[..end];
            let mut found = Vec::new();
            while let Some((kind, payload, bytes)) = frame::split_first(rest).expect("within bounds") {
                found.push((kind, payload.to_vec()));
                rest = &rest[bytes..];
            }
            prop_assert_eq!(&found[..], &expected[..found.len()]);
            let taken: usize = found.iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
            prop_assert_eq!(taken + rest.len(), end);
        }
    }

    #[test]
    fn a_row_is_split_into_the_values_it_was_joined_of(values in vec(vec(any::<u8>(), 0..20), 1..6)) {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let joined = row::join(&values);
        prop_assert_eq!(row::split(values.len(), &joined), Ok(values.clone()));
        if values.len() > 1 {
            prop_assert!(row::split(values.len() + 1, &joined).is_err());
        }
    }

    #[test]
    fn skipping_rows_leaves_the_others(rows in vec(vec(any::<u8>(), 0..20), 0..20), skip in 0..30_u32) {
        let mut encoded = Vec::new();
        for row in &rows {
            wire_protocol::codec::put_bytes(&mut encoded, row);
        }
        let parsed = Rows::parse(rows.len() as u32, &encoded).expect("just written");
        let left: Vec<_> = parsed.skip(skip).iter().collect();
        let expected: Vec<_> = rows.iter().skip(skip as usize).map(Vec::as_slice).collect();
        prop_assert_eq!(parsed.skip(skip).len() as usize, expected.len());
        prop_assert_eq!(left, expected);
    }

    #[test]
    fn an_output_is_read_back(
        stdout in vec(any::<u8>(), 0..200), stderr in vec(any::<u8>(), 0..200),
        stdout_cut in any::<bool>(), stderr_cut in any::<bool>(),
        archive in proptest::option::of(any::<([u8; 32], u64)>()), consensus in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let archive = archive.map(|(digest, bytes)| Archive { digest: Digest(digest), bytes });
        let consensus = consensus.map(Digest);
        let output = Output { stdout: &stdout, stderr: &stderr, stdout_cut, stderr_cut, archive, consensus };
        let mut encoded = Vec::new();
        output.encode(&mut encoded);
        prop_assert_eq!(Output::parse(&encoded), Ok(output));
    }

    #[test]
    fn an_offer_meets_what_is_asked_of_it_and_no_more(offer in arbitrary::offer(), asked in arbitrary::requirements()) {
        let offer = Offer { executors: vec!["null".to_owned()], ..offer };
        let all = everything_of(&offer);
        prop_assert_eq!(all.unmet("null", &offer), None);
        prop_assert_eq!(Requirements::default().unmet("null", &offer), None);
        prop_assert_eq!(all.unmet("process", &offer).expect("it has no such executor").what, "executor");

        // More of anything never makes a worker unable.
        if asked.unmet("null", &offer).is_none() {
            let more = Offer {
                cores: offer.cores.saturating_add(1),
                memory: Bytes(offer.memory.0.saturating_add(1)),
                disk: Bytes(offer.disk.0.saturating_add(1)),
                gpus: offer.gpus.saturating_add(1),
                tags: offer.tags.iter().cloned().chain(["more".to_owned()]).collect(),
                groups: offer.groups.iter().cloned().chain(["more".to_owned()]).collect(),
                executors: vec!["more".to_owned(), "null".to_owned()],
                ..offer
            };
            prop_assert_eq!(asked.unmet("null", &more), None);
        }
    }

    #[test]
    fn whatever_is_asked_beyond_an_offer_is_named(offer in arbitrary::offer()) {
        let offer = Offer { executors: vec!["null".to_owned()], cores: offer.cores / 2, gpus: offer.gpus / 2, ..offer };
        let all = everything_of(&offer);
        let beyond = [
            ("os", Requirements { os: Some(offer.os.clone() + "x"), ..all.clone() }),
            ("arch", Requirements { arch: Some(offer.arch.clone() + "x"), ..all.clone() }),
            ("cores", Requirements { cores: offer.cores + 1, ..all.clone() }),
            ("gpus", Requirements { gpus: offer.gpus + 1, ..all.clone() }),
            ("tag", Requirements { tags: vec!["no such tag, it is too long".to_owned()], ..all.clone() }),
            ("group", Requirements { group: Some("no such group, it is too long".to_owned()), ..all.clone() }),
            ("a custom thing of which it has none", Requirements {
                custom: vec![("a custom thing of which it has none".to_owned(), 1)],
                ..all.clone()
            }),
        ];
        for (what, asked) in beyond {
            prop_assert_eq!(asked.unmet("null", &offer).expect("it asks too much").what, what);
        }
        if let Some(more) = offer.memory.0.checked_add(1) {
            let asked = Requirements { memory: Bytes(more), ..all.clone() };
            prop_assert_eq!(asked.unmet("null", &offer).expect("it asks too much").what, "memory");
        }
        if let Some(more) = offer.disk.0.checked_add(1) {
            let asked = Requirements { disk: Bytes(more), ..all };
            prop_assert_eq!(asked.unmet("null", &offer).expect("it asks too much").what, "disk");
        }
    }

    #[test]
    fn every_number_of_bytes_has_a_short_text(bytes in any::<u64>()) {
        prop_assert!(Bytes(bytes).to_string().len() <= 14);
    }
}

/// All that an offer has, asked for. Of a custom resource that is named twice the first counts.
fn everything_of(offer: &Offer) -> Requirements {
    let mut custom: Vec<(String, u64)> = Vec::new();
    for (name, amount) in &offer.custom {
        if custom.iter().all(|(has, _)| has != name) {
            custom.push((name.clone(), *amount));
        }
    }
    Requirements {
        os: Some(offer.os.clone()),
        arch: Some(offer.arch.clone()),
        cores: offer.cores,
        memory: offer.memory,
        disk: offer.disk,
        gpus: offer.gpus,
        tags: offer.tags.clone(),
        group: offer.groups.first().cloned(),
        custom,
        wallet: None,
    }
}

#[test]
fn golden_bytes_cut_anywhere_never_panic_a_reader() {
    for sample in samples::all() {
        let (kind, payload) = sample.message.encode();
        for end in 0..payload.len() {
            let _ = support::decode_twice(sample.link, kind, &payload[..end]);
        }
    }
}

#[test]
fn a_kind_of_another_direction_is_unknown() {
    for sample in samples::all() {
        let (kind, payload) = sample.message.encode();
        let others: &[Link] = match sample.link {
            Link::WorkerToEngine => &[Link::EngineToWorker, Link::ClientToEngine],
            Link::EngineToWorker => &[Link::WorkerToEngine, Link::EngineToClient],
            Link::ClientToEngine => &[Link::EngineToClient, Link::WorkerToEngine],
            Link::EngineToClient => &[Link::ClientToEngine, Link::EngineToWorker],
            Link::SubscriberToEngine => &[Link::EngineToSubscriber, Link::Record],
            Link::EngineToSubscriber => &[Link::SubscriberToEngine, Link::Record],
            Link::Record => &[Link::ClientToEngine, Link::EngineToClient],
        };
        for other in others {
            assert_eq!(
                Message::decode(*other, kind, &payload),
                Err(DecodeError::UnknownKind { kind }),
                "{} on {other:?}",
                sample.name
            );
        }
    }
}

#[test]
fn a_length_over_the_bound_is_refused_before_its_bytes_come() {
    let length = PAYLOAD_BYTES_MAX + 1;
    for length in [length, u32::MAX as usize] {
        let mut header = (length as u32).to_le_bytes().to_vec();
        header.push(7);
        assert_eq!(
            frame::split_first(&header),
            Err(FrameError::TooLong { kind: 7, length })
        );
    }
    let mut longest = Vec::new();
    frame::push(&mut longest, 7, |out| {
        out.resize(out.len() + PAYLOAD_BYTES_MAX, 1)
    });
    let (kind, payload, bytes) = frame::split_first(&longest)
        .expect("within bounds")
        .expect("whole");
    assert_eq!(
        (kind, payload.len(), bytes),
        (7, PAYLOAD_BYTES_MAX, longest.len())
    );
}

/// `before`, a length over `max` and as many bytes: refused for the length, also when the bytes are there.
fn assert_too_long(link: Link, kind: u8, before: &[u8], max: usize) {
    let mut payload = before.to_vec();
    wire_protocol::codec::put_bytes(&mut payload, &vec![0; max + 1]);
    let refused = Message::decode(link, kind, &payload);
    assert!(
        matches!(refused, Err(DecodeError::OutOfRange { value, .. }) if value == max as u64 + 1),
        "{kind:#04x}"
    );
    let mut payload = before.to_vec();
    wire_protocol::codec::put_bytes(&mut payload, &vec![0; max]);
    assert!(support::decode_twice(link, kind, &payload).is_ok(), "{kind:#04x}");
}

#[test]
fn oversized_rows_and_results_are_refused() {
    use wire_protocol::{client_link::kind as client, record::kind as record, worker_link::kind as worker};
    assert_too_long(Link::EngineToWorker, worker::ASSIGN, &[0; 4 + 16], ROW_BYTES_MAX);
    assert_too_long(
        Link::WorkerToEngine,
        worker::FINISHED,
        &[0; 8 + 25],
        RESULT_BYTES_MAX,
    );
    let mut rows = vec![0; 8];
    rows.extend_from_slice(&1_u32.to_le_bytes());
    assert_too_long(Link::ClientToEngine, client::ROWS, &rows, ROW_BYTES_MAX);
    let mut rows_added = vec![0; 20];
    rows_added.extend_from_slice(&1_u32.to_le_bytes());
    assert_too_long(Link::Record, record::ROWS_ADDED, &rows_added, ROW_BYTES_MAX);
    let mut outcomes = vec![0; 12 + 24];
    outcomes[12 + 8] = Outcome::Failed as u8;
    assert_too_long(
        Link::EngineToClient,
        client::OUTCOMES,
        &outcomes,
        RESULT_BYTES_MAX,
    );
    let mut settled = vec![0; 12 + 20];
    settled[12 + 10] = Outcome::Failed as u8;
    assert_too_long(Link::Record, record::SETTLED, &settled, RESULT_BYTES_MAX);
}

#[test]
fn rows_that_would_not_fit_a_record_are_refused() {
    use wire_protocol::client_link::kind::ROWS;
    let payload = |rows: usize| {
        let mut payload = vec![0; 12];
        payload[8..].copy_from_slice(&(rows as u32).to_le_bytes());
        payload.resize(12 + rows, 0);
        payload
    };
    let full = support::decode_twice(Link::ClientToEngine, ROWS, &payload(ROWS_BYTES_MAX));
    let Ok(Message::Rows { rows, .. }) = full else {
        panic!("the bound itself is allowed")
    };
    let record = Message::RowsAdded {
        at: Instant(0),
        bag: BagId(1),
        first_row: 0,
        rows,
    };
    let (kind, payload_of_record) = record.encode();
    assert!(payload_of_record.len() <= RECORD_BYTES_MAX);
    let (lsn, epoch) = (Lsn(1), Epoch(1));
    let fed = Message::FedRecord {
        lsn,
        epoch,
        wall_us: 0,
        kind,
        payload: Blob(payload_of_record),
    };
    assert!(fed.encode().1.len() <= PAYLOAD_BYTES_MAX);

    let over = Message::decode(Link::ClientToEngine, ROWS, &payload(ROWS_BYTES_MAX + 1));
    assert!(matches!(over, Err(DecodeError::OutOfRange { field: "rows", .. })));
}

#[test]
fn more_tokens_than_a_worker_may_hold_are_refused() {
    let payload = |tokens: usize| vec![0; 1 + 16 * tokens];
    for kind in [0x06, 0x07] {
        let full = payload(LEASES_PER_WORKER_MAX);
        assert!(support::decode_twice(Link::EngineToWorker, kind, &full).is_ok());
        let over = Message::decode(Link::EngineToWorker, kind, &payload(LEASES_PER_WORKER_MAX + 1));
        assert!(matches!(
            over,
            Err(DecodeError::OutOfRange { field: "tokens", .. })
        ));
    }
}

#[test]
fn numbers_without_a_meaning_are_refused() {
    for value in 0..=u8::MAX {
        let reason = Reason::from_wire(value);
        assert_eq!(reason.is_ok(), usize::from(value) < Reason::ALL.len());
        assert!(reason.is_ok_and(|reason| reason as u8 == value) || usize::from(value) >= Reason::ALL.len());
        let outcome = Outcome::from_wire(value);
        assert_eq!(outcome.is_ok(), (1..=4).contains(&value));
        assert!(outcome.is_ok_and(|outcome| outcome as u8 == value) || !(1..=4).contains(&value));
    }
    assert!(matches!(
        Output::parse(&[16, 0]),
        Err(DecodeError::OutOfRange {
            field: "output flags",
            value: 16
        })
    ));
}
