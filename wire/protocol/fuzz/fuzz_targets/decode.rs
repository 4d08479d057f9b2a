//! Whatever bytes arrive: no decoder panics, and what is read as a message can be written and read again.
//!
//! The first byte chooses who speaks, the rest is a stream of frames as a connection would deliver it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wire_protocol::frame;
use wire_protocol::outcome::Output;
use wire_protocol::template::row;

use support::{Link, Message};

#[path = "../../tests/support/mod.rs"]
mod support;

fuzz_target!(|input: &[u8]| {
    let Some((first, mut stream)) = input.split_first() else {
        return;
    };
    let link = Link::ALL[usize::from(*first) % Link::ALL.len()];
    while let Ok(Some((kind, payload, bytes))) = frame::split_first(stream) {
        stream = &stream[bytes..];
        if let Ok(message) = support::decode_twice(link, kind, payload) {
            walk(&message);
        }
    }
});

/// What a receiver does next with data that came from outside.
fn walk(message: &Message) {
    match message {
        Message::Finished { reports, .. } => {
            for report in reports {
                let _ = Output::parse(&report.result.0);
            }
        }
        Message::Assign { works, .. } => {
            for (_, values) in works {
                for columns in [0, 1, 2, 3] {
                    let _ = row::split(columns, &values.0);
                }
            }
        }
        Message::Join(join) => {
            let _ = format!("{} {}", join.offer.memory, join.offer.disk);
        }
        Message::Open(open) => {
            let _ = open.template.validate();
            let _ = format!(
                "{} {}",
                open.template.limits.wall_clock, open.template.limits.output
            );
        }
        Message::Template(defined) => {
            let _ = defined.definition.validate();
        }
        Message::FedRecord { kind, payload, .. } => {
            let _ = support::decode_twice(Link::Record, *kind, &payload.0);
        }
        _ => {}
    }
}
