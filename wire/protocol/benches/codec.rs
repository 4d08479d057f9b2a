//! What a hot message costs per item: written into a buffer, found as a frame, checked, and walked.
//!
//! ```text
//! cargo bench -p wire-protocol --bench codec
//! ```
//!
//! Throughput is in items, so criterion prints items per second beside the time of a batch of 64; the target is
//! 10 ns to read an item (`parse` and one walk) with the small results and rows that most works have. Messages of which
//! a work in an array needs none (`opens`, `accepted`) are control messages, and cost a single work what they cost.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire_protocol::client_link::{
    self, Accepted, FromClient, Open, OutcomeItem, Outcomes, RowsChunk, ToClient,
};
use wire_protocol::codec::put_bytes;
use wire_protocol::feed::{self, FeedRecord, ToSubscriber};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, Record, SettledItem};
use wire_protocol::template::{Rows, WorkTemplate};
use wire_protocol::units::Instant;
use wire_protocol::worker_link::{
    Assignments, FromWorker, Report, ToWorker, Tokens, kind, push_control, push_recorded,
};

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

fn write_started(out: &mut Vec<u8>, _: &[u8]) {
    Tokens::push(out, kind::STARTED, Reason::None, (0..ITEMS).map(token));
}

fn read_started(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    let Ok(FromWorker::Started(tokens)) = FromWorker::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    tokens.iter().map(|token| token.work.0).fold(0, u64::wrapping_add)
}

fn write_rows(out: &mut Vec<u8>, row: &[u8]) {
    let mut rows = Vec::new();
    (0..ITEMS).for_each(|_| put_bytes(&mut rows, row));
    let rows = Rows::parse(ITEMS as u32, &rows).expect("well-formed");
    RowsChunk::push(out, 1, 0, rows);
}

fn read_rows(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    let Ok(FromClient::Rows(chunk)) = FromClient::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    chunk.rows.iter().map(|row| row.len() as u64).sum()
}

fn write_outcomes(out: &mut Vec<u8>, result: &[u8]) {
    frame::push(out, client_link::kind::OUTCOMES, |out| {
        Outcomes::begin(out, 1, BagId(1));
        for work in 0..ITEMS {
            OutcomeItem {
                work: WorkId(work),
                outcome: Outcome::Succeeded,
                reason: Reason::None,
                attempt: Attempt(1),
                exit_code: 0,
                elapsed_us: 1_000,
                worker: WorkerId(1),
                result,
            }
            .put(out);
        }
    });
}

fn read_outcomes(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    let Ok(ToClient::Outcomes(outcomes)) = ToClient::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    outcomes
        .iter()
        .map(|item| item.work.0 ^ item.result.len() as u64)
        .fold(0, u64::wrapping_add)
}

/// Acknowledgements and submissions of single works: a frame each, 64 of them.
fn write_recorded(out: &mut Vec<u8>, _: &[u8]) {
    (0..ITEMS).for_each(|upto| push_recorded(out, upto));
}

fn read_recorded(bytes: &[u8]) -> u64 {
    each_frame(bytes, |kind, payload| match ToWorker::parse(kind, payload) {
        Ok(ToWorker::Recorded(upto)) => upto,
        _ => unreachable!("it was just written"),
    })
}

fn write_opens(out: &mut Vec<u8>, _: &[u8]) {
    let mut open = Open {
        request: 0,
        key: [0x5A; 16],
        rows_total: 1,
        follow: true,
        template: WorkTemplate {
            app: "null".to_owned(),
            columns: vec!["n".to_owned()],
            ..WorkTemplate::default()
        },
    };
    for request in 0..ITEMS as u32 {
        open.request = request;
        push_control(out, client_link::kind::OPEN, &open);
    }
}

fn read_opens(bytes: &[u8]) -> u64 {
    each_frame(bytes, |kind, payload| match FromClient::parse(kind, payload) {
        Ok(FromClient::Open(open)) => u64::from(open.request),
        _ => unreachable!("it was just written"),
    })
}

fn write_accepted(out: &mut Vec<u8>, _: &[u8]) {
    for request in 0..ITEMS as u32 {
        let accepted = Accepted {
            request,
            bag: BagId(1_000_000),
            first: WorkId(1_000_000),
            rows: 1,
            rows_total: 1,
            lsn: Lsn(1_000_000),
        };
        push_control(out, client_link::kind::ACCEPTED, &accepted);
    }
}

fn read_accepted(bytes: &[u8]) -> u64 {
    each_frame(bytes, |kind, payload| match ToClient::parse(kind, payload) {
        Ok(ToClient::Accepted(accepted)) => accepted.lsn.0,
        _ => unreachable!("it was just written"),
    })
}

fn each_frame(mut bytes: &[u8], read: impl Fn(u8, &[u8]) -> u64) -> u64 {
    let mut sum = 0_u64;
    while let Some((kind, payload, used)) = frame::split_first(bytes).expect("within bounds") {
        sum = sum.wrapping_add(read(kind, payload));
        bytes = &bytes[used..];
    }
    sum
}

/// What the feed carries: a record of outcomes in a frame of its own.
fn write_fed_record(out: &mut Vec<u8>, result: &[u8]) {
    let mut payload = Vec::new();
    record::begin_settled(&mut payload, Instant(1), WorkerId(1));
    for work in 0..ITEMS {
        SettledItem {
            work: WorkId(work),
            attempt: Attempt(1),
            outcome: Outcome::Succeeded,
            reason: Reason::None,
            exit_code: 0,
            elapsed_us: 1_000,
            result,
        }
        .put(&mut payload);
    }
    let fed = FeedRecord {
        lsn: Lsn(1),
        epoch: Epoch(1),
        wall_us: 0,
        kind: record::kind::SETTLED,
        payload: &payload,
    };
    fed.push(out);
}

fn read_fed_record(bytes: &[u8]) -> u64 {
    let (kind, payload, _) = frame::split_first(bytes).expect("within bounds").expect("whole");
    assert_eq!(kind, feed::kind::RECORDS);
    let Ok(ToSubscriber::Record(fed)) = ToSubscriber::parse(kind, payload) else {
        unreachable!("it was just written")
    };
    let Ok(Record::Settled(settled)) = Record::parse(fed.kind, fed.payload) else {
        unreachable!("it was just written")
    };
    settled
        .iter()
        .map(|item| item.work.0 ^ item.result.len() as u64)
        .fold(0, u64::wrapping_add)
}

type Write = fn(&mut Vec<u8>, &[u8]);
type Read = fn(&[u8]) -> u64;

fn codec(criterion: &mut Criterion) {
    let cases: [(&str, Write, Read, usize); 11] = [
        ("reports_64B", write_reports, read_reports, 64),
        ("reports_200B", write_reports, read_reports, 200),
        ("assignments_16B", write_assignments, read_assignments, 16),
        ("assignments_200B", write_assignments, read_assignments, 200),
        ("started", write_started, read_started, 0),
        ("recorded", write_recorded, read_recorded, 0),
        ("rows_16B", write_rows, read_rows, 16),
        ("outcomes_64B", write_outcomes, read_outcomes, 64),
        ("opens", write_opens, read_opens, 0),
        ("accepted", write_accepted, read_accepted, 0),
        ("fed_record_64B", write_fed_record, read_fed_record, 64),
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
