//! A pool at full load without a wire: what the criterion bench times and `bench/instructions` counts.
//!
//! One round: a client sends a frame of rows, a worker reports all that it holds and gets as much again. A backlog
//! waits all the time, so the queue is never empty. Frames are written and parsed as on a link; durability is instant.
//! Workers report in an order that is not that of their numbers, as they would: the next worker's memory is nowhere
//! near the last one's.
//!
//! The peers' part is in the number too, and is kept small: what workers hold lies in one block as tokens on the wire,
//! and a report is made by copying one.

#[path = "../peers/mod.rs"]
mod peers;

use engine_core::{Config, Effect, Effects, Event, Proof, Scheduler};
use wire_protocol::client_link::{self, FromClient, RowsChunk, ToClient};
use wire_protocol::frame;
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::resources::Packing;
use wire_protocol::template::Rows;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{FromWorker, ToWorker, kind};

/// Works that one frame of rows carries, at most; fewer where little is to wait.
const CHUNK: u32 = 4_096;
const CLIENT: LinkId = LinkId(1);
const TOKEN_BYTES: usize = LeaseToken::ENCODED_BYTES;
/// Bytes of a report's fields behind the token: success, exit code 0, one microsecond, a result of eight bytes.
const REPORT_TAIL: [u8; 18] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 8, 7, 7, 7, 7, 7, 7, 7, 7];

/// A pool that runs at full load.
pub(crate) struct Pool {
    scheduler: Scheduler,
    effects: Effects,
    now: Instant,
    /// What each worker holds: so many places for tokens a worker.
    held: Vec<[u8; TOKEN_BYTES]>,
    credit: usize,
    /// Per worker: how many it holds, and how many reports it has made.
    workers: Vec<(u32, u64)>,
    turn: usize,
    stride: usize,
    /// Messages are read as peers read them, and not just walked through.
    strict: bool,
    classes: u32,
    chunk: u32,
    /// Rows of a bag: so many that opening one costs next to nothing, so few that they are done and forgotten.
    bag_rows: u32,
    /// The submission that rows go to: its request, and the rows sent.
    open: Vec<(u32, u32)>,
    class_turn: usize,
    requests: u32,
    frame: Vec<u8>,
    rows: Vec<u8>,
}

impl Pool {
    /// A pool of this size, with as many works queued.
    pub(crate) fn new(grid: &Grid) -> Self {
        let Grid {
            workers,
            slots,
            prefill,
            classes,
            backlog,
            packing,
        } = *grid;
        let mut config = Config {
            retention: Millis(1),
            ..Config::default()
        };
        config.limits.works_done_max = 2_000_000;
        let chunk = (backlog / 4).next_power_of_two().min(CHUNK);
        let mut pool = Self {
            scheduler: Scheduler::new(config),
            effects: Effects::default(),
            now: Instant(1),
            held: vec![[0; TOKEN_BYTES]; workers * (slots + prefill) as usize],
            credit: (slots + prefill) as usize,
            workers: vec![(0, 0); workers],
            turn: 0,
            stride: stride(workers),
            strict: true,
            classes,
            bag_rows: CHUNK * (64 / classes).max(2),
            chunk,
            open: Vec::new(),
            class_turn: 0,
            requests: 0,
            frame: Vec::new(),
            rows: peers::encoded_rows(chunk),
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
        for _ in 0..(backlog / chunk).max(2 * classes) {
            pool.accept();
        }
        for worker in 0..workers {
            let mut join = peers::join(worker, classes, slots, prefill);
            if packing == Packing::Resources {
                join.offer.cores = slots + prefill;
                join.offer.packing = packing;
            }
            pool.handle(Event::WorkerJoined {
                link: Pool::link(worker),
                join: &join,
                proof: Proof::Password,
            });
        }
        pool.strict = false;
        pool
    }

    fn link(worker: usize) -> LinkId {
        LinkId(worker as u64 + 10)
    }

    fn open_bag(&mut self, class: u32) -> u32 {
        self.requests += 1;
        let open = peers::open(self.requests, class, self.bag_rows);
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
        let rows = Rows::parse(self.chunk, &self.rows).expect("well-formed");
        RowsChunk::push(&mut frame, request, sent, rows);
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromClient::parse(kind, payload).expect("well-formed");
        self.handle(Event::ClientSaid {
            link: CLIENT,
            message,
        });
        self.frame = frame;
        self.open[class].1 = sent + self.chunk;
    }

    /// The next worker reports all that it holds; returns how much that was.
    fn report(&mut self) -> u64 {
        let worker = self.turn;
        self.turn = (worker + self.stride) % self.workers.len();
        let (count, reported) = self.workers[worker];
        self.workers[worker] = (0, reported + u64::from(count));
        let start = worker * self.credit;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        frame::push(&mut frame, kind::FINISHED, |out| {
            out.extend_from_slice(&(reported + 1).to_le_bytes());
            for token in &self.held[start..start + count as usize] {
                let mut report = [0; TOKEN_BYTES + REPORT_TAIL.len()];
                report[..TOKEN_BYTES].copy_from_slice(token);
                report[TOKEN_BYTES..].copy_from_slice(&REPORT_TAIL);
                out.extend_from_slice(&report);
            }
        });
        let (kind, payload, _) = frame::split_first(&frame).expect("short").expect("whole");
        let message = FromWorker::parse(kind, payload).expect("well-formed");
        self.handle(Event::WorkerSaid {
            link: Self::link(worker),
            message,
        });
        self.frame = frame;
        u64::from(count)
    }

    fn handle(&mut self, event: Event<'_>) {
        self.now = Instant(self.now.0 + 1_000);
        self.effects.clear();
        self.scheduler.handle(self.now, event, &mut self.effects);
        let effects = std::mem::take(&mut self.effects);
        for effect in &effects.list {
            if let Effect::Send { link, frames, .. } = effect {
                self.hear(*link, &effects.frames[frames.clone()]);
            }
        }
        self.effects = effects;
    }

    fn hear(&mut self, link: LinkId, mut frames: &[u8]) {
        while let Some((kind, payload, used)) = frame::split_first(frames).expect("bounded") {
            if link != CLIENT && kind == kind::ASSIGN {
                if self.strict {
                    ToWorker::parse(kind, payload).expect("well-formed");
                }
                self.assigned((link.0 - 10) as usize, &payload[size_of::<u32>()..]);
            }
            if link == CLIENT && kind == client_link::kind::BUSY {
                let Ok(ToClient::Busy(busy)) = ToClient::parse(kind, payload) else {
                    unreachable!("a busy frame");
                };
                panic!("the pool is full: {}", busy.limit);
            }
            frames = &frames[used..];
        }
    }

    fn assigned(&mut self, worker: usize, mut items: &[u8]) {
        let held = &mut self.workers[worker].0;
        while let Some((token, rest)) = items.split_first_chunk::<TOKEN_BYTES>() {
            self.held[worker * self.credit + *held as usize] = *token;
            *held += 1;
            // Rows are shorter than 128 bytes here, so their length is one byte.
            items = &rest[1 + usize::from(rest[0])..];
        }
    }

    /// Runs `works` works through and as many more in.
    pub(crate) fn run(&mut self, works: u64) {
        let (mut done, mut accepted) = (0, 0);
        while done < works {
            done += self.report();
            if accepted < done {
                self.accept();
                accepted += u64::from(self.chunk);
            }
        }
    }
}

/// From one worker to the next: about the golden section of their number, and through all of them.
fn stride(workers: usize) -> usize {
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let golden = workers * 618 / 1_000;
    (golden..)
        .find(|stride| gcd(*stride, workers) == 1)
        .expect("one comes soon")
}

/// A pool's size.
#[derive(Clone, Copy)]
pub(crate) struct Grid {
    pub(crate) workers: usize,
    pub(crate) slots: u32,
    /// Works that a worker takes ahead of time.
    pub(crate) prefill: u32,
    pub(crate) classes: u32,
    /// Works that wait.
    pub(crate) backlog: u32,
    /// What limits a worker: its slots, or cores, of which it has as many as it may hold works.
    pub(crate) packing: Packing,
}

/// A size, in the order of its fields.
pub(crate) const fn grid(workers: usize, slots: u32, prefill: u32, classes: u32, backlog: u32) -> Grid {
    Grid {
        workers,
        slots,
        prefill,
        classes,
        backlog,
        packing: Packing::Slots,
    }
}
