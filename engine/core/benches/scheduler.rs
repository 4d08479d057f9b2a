//! What a work costs the scheduler, all of its events together: its row accepted, leased, reported, settled.
//!
//! One iteration is a round of a running pool: a client sends a frame of rows, workers report what they hold and
//! get as much again. A backlog waits all the time, so the queue is never empty. Frames are written and parsed as
//! on a link; durability is instant. `cargo bench -p engine-core`; the last number of a line is works per second,
//! its inverse is the cost of a work.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine_core::{Config, Effect, Effects, Event, Scheduler};
use wire_protocol::client_link::{FromClient, Open, RowsChunk, ToClient};
use wire_protocol::codec::put_bytes;
use wire_protocol::frame;
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Offer, Rows, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{FromWorker, Join, Report, ToWorker, kind};

/// Works that one frame of rows carries.
const CHUNK: u32 = 4_096;
const CLIENT: LinkId = LinkId(1);

/// A pool that runs at full load.
struct Pool {
    scheduler: Scheduler,
    effects: Effects,
    now: Instant,
    /// Per worker: what it holds, and how many reports it has made.
    held: Vec<(Vec<LeaseToken>, u64)>,
    turn: usize,
    classes: u32,
    /// Rows of a bag: so many that opening one costs next to nothing, so few that they are done and forgotten.
    bag_rows: u32,
    /// The submission that rows go to: its request, and the rows sent.
    open: Vec<(u32, u32)>,
    class_turn: usize,
    requests: u32,
    frame: Vec<u8>,
    rows: Vec<u8>,
    spare: Vec<LeaseToken>,
}

impl Pool {
    fn new(workers: usize, slots: u32, classes: u32, backlog: u32) -> Self {
        let mut config = Config {
            retention: Millis(1),
            ..Config::default()
        };
        config.limits.works_done_max = 2_000_000;
        let mut rows = Vec::new();
        (0..CHUNK).for_each(|row| put_bytes(&mut rows, &u64::from(row).to_le_bytes()));
        let mut pool = Self {
            scheduler: Scheduler::new(config),
            effects: Effects::default(),
            now: Instant(1),
            held: vec![(Vec::new(), 0); workers],
            turn: 0,
            classes,
            bag_rows: CHUNK * (64 / classes).max(2),
            open: Vec::new(),
            class_turn: 0,
            requests: 0,
            frame: Vec::new(),
            rows,
            spare: Vec::new(),
        };
        pool.scheduler.start(pool.now, &mut pool.effects);
        pool.handle(Event::ClientJoined {
            link: CLIENT,
            tenant: "bench",
            operator: false,
        });
        for class in 0..classes {
            let request = pool.open_bag(class);
            pool.open.push((request, 0));
        }
        for _ in 0..(backlog / CHUNK).max(2 * classes) {
            pool.accept();
        }
        for worker in 0..workers {
            let join = Join {
                login: String::new(),
                password: String::new(),
                uid: format!("{worker}"),
                name: String::new(),
                version: String::new(),
                offer: Offer {
                    executors: vec!["null".to_owned()],
                    cores: classes,
                    slots,
                    prefill: slots * 2,
                    ..Offer::default()
                },
                held: Vec::new(),
                running: Vec::new(),
                unacknowledged: Vec::new(),
            };
            pool.handle(Event::WorkerJoined {
                link: Pool::link(worker),
                join: &join,
            });
        }
        pool
    }

    fn link(worker: usize) -> LinkId {
        LinkId(worker as u64 + 10)
    }

    fn open_bag(&mut self, class: u32) -> u32 {
        self.requests += 1;
        let mut template = WorkTemplate {
            app: "null".to_owned(),
            columns: vec!["n".to_owned()],
            ..WorkTemplate::default()
        };
        template.requirements.cores = class;
        let open = Open {
            request: self.requests,
            key: [0; 16],
            rows_total: self.bag_rows,
            follow: true,
            template,
        };
        self.handle(Event::ClientSaid {
            link: CLIENT,
            message: FromClient::Open(Box::new(open)),
        });
        self.requests
    }

    /// One more frame of rows is accepted.
    fn accept(&mut self) {
        let class = self.class_turn % self.open.len();
        self.class_turn += 1;
        let (request, sent) = self.open[class];
        if sent == self.bag_rows {
            self.open[class] = (self.open_bag(class as u32 % self.classes), 0);
            return self.accept();
        }
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        let rows = Rows::parse(CHUNK, &self.rows).expect("well-formed");
        RowsChunk::push(&mut frame, request, sent, rows);
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromClient::parse(kind, payload).expect("well-formed");
        self.handle(Event::ClientSaid {
            link: CLIENT,
            message,
        });
        self.frame = frame;
        self.open[class].1 = sent + CHUNK;
    }

    /// The next worker reports all that it holds; returns how much that was.
    fn report(&mut self) -> u64 {
        let worker = self.turn;
        self.turn = (worker + 1) % self.held.len();
        let mut tokens = std::mem::replace(&mut self.held[worker].0, std::mem::take(&mut self.spare));
        let first = self.held[worker].1 + 1;
        self.held[worker].1 += tokens.len() as u64;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame::push(&mut frame, kind::FINISHED, |out| {
            out.extend_from_slice(&first.to_le_bytes());
            for token in &tokens {
                Report {
                    token: *token,
                    reason: Reason::None,
                    exit_code: 0,
                    elapsed_us: 1,
                    result: &[7; 8],
                }
                .put(out);
            }
        });
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromWorker::parse(kind, payload).expect("well-formed");
        self.handle(Event::WorkerSaid {
            link: Self::link(worker),
            message,
        });
        self.frame = frame;
        let count = tokens.len() as u64;
        tokens.clear();
        self.spare = tokens;
        count
    }

    fn handle(&mut self, event: Event<'_>) {
        self.now = Instant(self.now.0 + 1_000);
        self.effects.clear();
        self.scheduler.handle(self.now, event, &mut self.effects);
        for effect in &self.effects.list {
            let Effect::Send { link, frames, .. } = effect else {
                continue;
            };
            let mut rest = &self.effects.frames[frames.clone()];
            while let Some((kind, payload, used)) = frame::split_first(rest).expect("bounded") {
                if *link != CLIENT
                    && let ToWorker::Assign(works) = ToWorker::parse(kind, payload).expect("well-formed")
                {
                    let held = &mut self.held[(link.0 - 10) as usize].0;
                    held.extend(works.iter().map(|work| work.token));
                }
                if kind == wire_protocol::client_link::kind::BUSY {
                    let Ok(ToClient::Busy(busy)) = ToClient::parse(kind, payload) else {
                        unreachable!("a busy frame");
                    };
                    panic!("the pool is full: {}", busy.limit);
                }
                rest = &rest[used..];
            }
        }
    }

    /// Runs `works` works through and as many more in.
    fn run(&mut self, works: u64) {
        let (mut done, mut accepted) = (0, 0);
        while done < works {
            done += self.report();
            if accepted < done {
                self.accept();
                accepted += u64::from(CHUNK);
            }
        }
    }
}

/// Works per measured iteration.
const WORKS: u64 = 100_000;

fn cycle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("work");
    group.throughput(Throughput::Elements(WORKS));
    group.sample_size(10);
    for (workers, slots, classes, backlog) in [
        (8, 64, 1, 100_000),
        (8, 64, 10, 100_000),
        (8, 64, 1_000, 100_000),
        (1_000, 1, 1, 100_000),
        (10_000, 1, 1, 100_000),
        (100_000, 1, 1, 1_000_000),
        (8, 64, 1, 1_000_000),
        (8, 64, 1, 10_000_000),
    ] {
        let name = format!("{workers} workers × {slots}, {classes} classes, {backlog} queued");
        let mut pool = Pool::new(workers, slots, classes, backlog);
        pool.run(WORKS);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| pool.run(WORKS));
        });
    }
    group.finish();
}

criterion_group!(benches, cycle);
criterion_main!(benches);
