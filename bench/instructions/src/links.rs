//! What a work passes between threads and on the wire.

use engine_queue::spsc;
use std::hint::black_box;
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::worker_link::{Assignments, FromWorker, Report, ToWorker, kind};

/// Items of a frame and of a batch.
const ITEMS: u64 = 64;
/// Room in the ring, as the engine's have.
const CAPACITY: usize = 1_024;

fn token(work: u64) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(3),
        attempt: Attempt(1),
        shard: Shard(0),
    }
}

/// Writes and reads frames of assignments with rows of 16 bytes.
pub(crate) fn assign(works: u64) {
    let mut out = Vec::with_capacity(64 * 1_024);
    for _ in 0..works / ITEMS {
        out.clear();
        frame::push(&mut out, kind::ASSIGN, |out| {
            out.extend_from_slice(&1_u32.to_le_bytes());
            (0..ITEMS).for_each(|work| Assignments::put(out, token(work), black_box(&[0x5A; 16])));
        });
        let (kind, payload, _) = frame::split_first(black_box(&out))
            .expect("bounded")
            .expect("whole");
        let Ok(ToWorker::Assign(works)) = ToWorker::parse(kind, payload) else {
            unreachable!("it was just written")
        };
        works.iter().for_each(|work| _ = black_box(work));
    }
}

/// Writes and reads frames of reports with results of 8 bytes.
pub(crate) fn report(works: u64) {
    let mut out = Vec::with_capacity(64 * 1_024);
    for _ in 0..works / ITEMS {
        out.clear();
        frame::push(&mut out, kind::FINISHED, |out| {
            out.extend_from_slice(&1_u64.to_le_bytes());
            for work in 0..ITEMS {
                Report {
                    token: token(work),
                    reason: Reason::None,
                    exit_code: 0,
                    elapsed_us: 1_000,
                    result: black_box(&[0xA5; 8]),
                }
                .put(out);
            }
        });
        let (kind, payload, _) = frame::split_first(black_box(&out))
            .expect("bounded")
            .expect("whole");
        let Ok(FromWorker::Finished(reports)) = FromWorker::parse(kind, payload) else {
            unreachable!("it was just written")
        };
        reports.iter().for_each(|report| _ = black_box(report));
    }
}

pub(crate) fn ring(items: u64) {
    let (mut producer, mut consumer) = spsc::ring(CAPACITY);
    for item in 0..items {
        producer.push(black_box(item)).expect("there is room");
        black_box(consumer.pop());
    }
}

pub(crate) fn ring_in_batches(items: u64) {
    let (mut producer, mut consumer) = spsc::ring(CAPACITY);
    for _ in 0..items / ITEMS {
        producer.push_many(&mut (0..ITEMS).map(black_box));
        consumer.pop_many(ITEMS as usize, |item| _ = black_box(item));
    }
}
