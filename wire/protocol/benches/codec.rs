//! What a hot message costs per item: written into a buffer, found as a frame, checked, and walked.
//!
//! ```text
//! cargo bench -p wire-protocol --bench codec
//! ```
//!
//! Throughput is in items, so criterion prints items per second beside the time of a batch of 64; the target is
//! 10 ns to read an item (`parse` and one walk) with the small results and rows that most works have.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::outcome::Reason;
use wire_protocol::worker_link::{Assignments, FromWorker, Report, ToWorker, kind};

const ITEMS: u64 = 64;

fn token(work: u64) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(3),
        attempt: Attempt(1),
        shard: Shard(0),
    }
}

fn write_reports(out: &mut Vec<u8>, result: &[u8]) {
    frame::push(out, kind::FINISHED, |out| {
        out.extend_from_slice(&1_u64.to_le_bytes());
        for work in 0..ITEMS {
            let (token, reason) = (token(work), Reason::None);
            Report {
                token,
                reason,
                exit_code: 0,
                elapsed_us: 1_000,
                result,
            }
            .put(out);
        }
    });
}

fn read_reports(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    let Ok(FromWorker::Finished(reports)) = FromWorker::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    reports
        .iter()
        .map(|report| report.token.work.0 ^ report.reason as u64 ^ report.result.len() as u64)
        .fold(0, u64::wrapping_add)
}

fn write_assignments(out: &mut Vec<u8>, row: &[u8]) {
    frame::push(out, kind::ASSIGN, |out| {
        out.extend_from_slice(&1_u32.to_le_bytes());
        for work in 0..ITEMS {
            Assignments::put(out, token(work), row);
        }
    });
}

fn read_assignments(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    let Ok(ToWorker::Assign(works)) = ToWorker::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    works
        .iter()
        .map(|work| work.token.work.0 ^ work.row.len() as u64)
        .fold(0, u64::wrapping_add)
}

type Write = fn(&mut Vec<u8>, &[u8]);
type Read = fn(&[u8]) -> u64;

fn codec(criterion: &mut Criterion) {
    let cases: [(&str, Write, Read, usize); 4] = [
        ("reports_64B", write_reports, read_reports, 64),
        ("reports_200B", write_reports, read_reports, 200),
        ("assignments_16B", write_assignments, read_assignments, 16),
        ("assignments_200B", write_assignments, read_assignments, 200),
    ];
    for (name, write, read, bytes) in cases {
        let content = vec![0x5a; bytes];
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Elements(ITEMS));
        // A connection keeps its buffer, so a batch is written where the one before it was.
        let mut out = Vec::new();
        group.bench_function("write", |bench| {
            bench.iter(|| {
                out.clear();
                write(&mut out, black_box(&content));
                black_box(&out);
            });
        });
        let mut encoded = Vec::new();
        write(&mut encoded, &content);
        group.bench_function("read", |bench| bench.iter(|| read(black_box(&encoded))));
        group.finish();
    }
}

criterion_group!(benches, codec);
criterion_main!(benches);
