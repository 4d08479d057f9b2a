//! What a null work costs the worker, from its assignment to the acknowledgement of its report: parse, start,
//! end, report, forget. Sketch: two hash operations (20 ns), two checked parses of 220 bytes (10 ns), one encode
//! and one copy of 90 bytes (15 ns). The goal is 150 ns.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId, WorkerId};
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Assignments, TemplateDefined, Welcome, kind, push_control, push_recorded};
use worker_core::{Agent, Effects, Event, Settings};

fn joined(app: &str) -> (Agent, Effects) {
    let settings = Settings {
        login: "vworker".to_owned(),
        password: String::new(),
        identity: None,
        uid: "bench".to_owned(),
        name: String::new(),
        version: String::new(),
        offer: Offer {
            executors: vec!["null".to_owned()],
            slots: 64,
            prefill: 512,
            ..Offer::default()
        },
        warm: Vec::new(),
    };
    let mut agent = Agent::new(settings, 1);
    let mut effects = Effects::new();
    agent.handle(Instant(1), Event::Tick, &mut effects);
    agent.handle(Instant(1), Event::Connected { wallet: None }, &mut effects);
    let mut bytes = Vec::new();
    let welcome = Welcome {
        worker: WorkerId(1),
        shard: Shard(0),
        epoch: Epoch(1),
        lease_timeout: Millis::from_secs(30),
        heartbeat: Millis::from_secs(5),
        adopted: Vec::new(),
    };
    push_control(&mut bytes, kind::WELCOME, &welcome);
    let template = TemplateDefined {
        template: 1,
        definition: WorkTemplate {
            app: app.to_owned(),
            ..WorkTemplate::default()
        },
    };
    push_control(&mut bytes, kind::TEMPLATE, &template);
    feed(&mut agent, &bytes, &mut effects);
    effects.drain().for_each(drop);
    (agent, effects)
}

fn feed(agent: &mut Agent, mut bytes: &[u8], effects: &mut Effects) {
    while let Some((kind, payload, used)) = frame::split_first(bytes).expect("our own frames") {
        agent.handle(Instant(1), Event::Frame { kind, payload }, effects);
        bytes = &bytes[used..];
    }
}

fn assignments(works: u64, row: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::push(&mut bytes, kind::ASSIGN, |out| {
        out.extend_from_slice(&1_u32.to_le_bytes());
        for work in 1..=works {
            let token = LeaseToken {
                work: WorkId(work),
                epoch: Epoch(1),
                attempt: Attempt(1),
                shard: Shard(0),
            };
            Assignments::put(out, token, row);
        }
    });
    bytes
}

fn null_path(criterion: &mut Criterion) {
    for batch in [1, 16, 256] {
        let mut group = criterion.benchmark_group("null work, 200 B row, 64 B result");
        group.throughput(Throughput::Elements(batch));
        group.bench_function(format!("{batch} a frame"), |bencher| {
            let (mut agent, mut effects) = joined("null:64");
            let assign = assignments(batch, &[7; 200]);
            let mut recorded = Vec::new();
            let mut upto = 0;
            bencher.iter(|| {
                feed(&mut agent, black_box(&assign), &mut effects);
                agent.handle(Instant(1), Event::Flush, &mut effects);
                effects.drain().for_each(|effect| drop(black_box(effect)));
                upto += batch;
                recorded.clear();
                push_recorded(&mut recorded, upto);
                feed(&mut agent, black_box(&recorded), &mut effects);
            });
            assert_eq!(agent.status().unacknowledged, 0);
        });
        group.finish();
    }
}

criterion_group!(benches, null_path);
criterion_main!(benches);
