//! Peers with a valid login that lie: they repeat, reorder, forge and garble frames, also across connections.
//!
//! A hostile worker takes assignments, settles some with a result of its own, reports leases that are not its
//! own, and presents leases that it made up. A hostile client commands works that are not its own. Nothing of
//! it may change what belongs to others.

use wire_protocol::client_link::{
    Command, CommandRequest, Follow, Login, Open, Query, QueryRequest, Selector, kind as client_kind,
};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, LinkId, Shard, WorkId, WorkerId};
use wire_protocol::log::{LogChunk, LogStream, WorkerLog};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{
    Draining, Holding, Join, Report, ToWorker, Tokens, kind, push_control, push_empty,
};

use crate::clock::{MS, SEC, Time};
use crate::net::End;
use crate::world::{Ctx, Event, PeerId};

/// How the uid of a worker begins that is not to be trusted.
pub(crate) const HOSTILE: &str = "hostile";

/// What it says that works print.
pub(crate) const LIES: &[u8] = b"lies";

/// Frames remembered for later.
const REMEMBERED: usize = 64;

pub(crate) struct Hostile {
    pub(crate) id: PeerId,
    pub(crate) worker: bool,
    link: Option<LinkId>,
    dial_at: Time,
    retired: bool,
    /// Tokens that it was given, or heard of.
    tokens: Vec<LeaseToken>,
    /// Frames that it said before.
    said: Vec<Vec<u8>>,
    reports: u64,
    epoch: Epoch,
    rng: fastrand::Rng,
}

impl Hostile {
    pub(crate) fn new(id: PeerId, worker: bool, seed: u64) -> Self {
        Self {
            id,
            worker,
            link: None,
            dial_at: 0,
            retired: false,
            tokens: Vec::new(),
            said: Vec::new(),
            reports: 0,
            epoch: Epoch(0),
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    pub(crate) fn start(&self, ctx: &mut Ctx) {
        let peer = self.id;
        ctx.clock.after(0, Event::PeerTick { peer, life: 0 });
    }

    /// It goes away for good.
    pub(crate) fn retire(&mut self, ctx: &mut Ctx) {
        self.retired = true;
        if let Some(link) = self.link.take() {
            ctx.net.close(&mut ctx.clock, link, End::Peer);
        }
    }

    pub(crate) fn on_connected(&mut self, ctx: &mut Ctx, link: LinkId) {
        if self.link != Some(link) {
            return;
        }
        let mut out = Vec::new();
        if self.worker {
            let mut rng = self.rng.fork();
            let some = |rng: &mut fastrand::Rng| -> Vec<LeaseToken> {
                (0..rng.usize(0..6)).map(|_| self.forged(rng)).collect()
            };
            let join = Join {
                login: "vworker".to_owned(),
                password: "secret".to_owned(),
                enrol: None,
                wallet: None,
                uid: HOSTILE.to_owned(),
                name: String::new(),
                version: String::new(),
                offer: Offer {
                    executors: vec!["sim".to_owned()],
                    slots: 2,
                    prefill: 2,
                    ..Offer::default()
                },
                held: some(&mut rng),
                running: some(&mut rng),
                unacknowledged: some(&mut rng),
                warm: Vec::new(),
            };
            push_control(&mut out, kind::JOIN, &join);
            self.reports = 0;
        } else {
            let login = Login {
                login: "mallory".to_owned(),
                password: "secret".to_owned(),
                agent: String::new(),
            };
            push_control(&mut out, client_kind::LOGIN, &login);
        }
        ctx.net.send(&mut ctx.clock, link, End::Engine, &out);
    }

    pub(crate) fn on_closed(&mut self, ctx: &mut Ctx, link: LinkId) {
        if self.link == Some(link) {
            self.link = None;
            self.dial_at = ctx.clock.now() + self.rng.u64(0..SEC);
        }
    }

    pub(crate) fn on_arrived(&mut self, link: LinkId, mut bytes: &[u8]) {
        while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
            bytes = &bytes[used..];
            if self.link != Some(link) || !self.worker {
                continue;
            }
            match ToWorker::parse(kind, payload) {
                Ok(ToWorker::Assign(assignments)) => {
                    self.tokens
                        .extend(assignments.iter().map(|assignment| assignment.token));
                }
                Ok(ToWorker::Welcome(welcome)) => self.epoch = welcome.epoch,
                _ => {}
            }
        }
        let excess = self.tokens.len().saturating_sub(REMEMBERED);
        self.tokens.drain(..excess);
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) {
        let now = ctx.clock.now();
        if self.retired {
            return;
        }
        let peer = self.id;
        ctx.clock
            .after(self.rng.u64(MS..200 * MS), Event::PeerTick { peer, life: 0 });
        let Some(link) = self.link else {
            if now >= self.dial_at {
                self.link = Some(ctx.net.connect(&mut ctx.clock, peer));
            }
            return;
        };
        let mut out = Vec::new();
        match self.rng.u8(0..12) {
            // Something that was said before, on this connection or another.
            0 if !self.said.is_empty() => {
                let nth = self.rng.usize(0..self.said.len());
                out.clone_from(&self.said[nth]);
            }
            1 if self.rng.u8(0..4) == 0 => {
                let kind = self.rng.u8(..);
                let len = self.rng.usize(0..60);
                let mut noise = vec![0; len];
                self.rng.fill(&mut noise);
                frame::push(&mut out, kind, |out| out.extend_from_slice(&noise));
            }
            2 if self.rng.u8(0..8) == 0 => {
                ctx.net.close(&mut ctx.clock, link, End::Peer);
                self.link = None;
                return;
            }
            _ if self.worker => self.lie_as_worker(&mut out),
            _ => self.lie_as_client(&mut out),
        }
        if self.said.len() < REMEMBERED && !out.is_empty() {
            self.said.push(out.clone());
        }
        ctx.net.send(&mut ctx.clock, link, End::Engine, &out);
    }

    fn lie_as_worker(&mut self, out: &mut Vec<u8>) {
        let mut rng = self.rng.fork();
        let tokens: Vec<LeaseToken> = (0..rng.usize(1..4))
            .map(|_| {
                let own = !self.tokens.is_empty() && rng.bool();
                if own {
                    self.tokens[rng.usize(0..self.tokens.len())]
                } else {
                    self.forged(&mut rng)
                }
            })
            .collect();
        match rng.u8(0..8) {
            0 => push_empty(out, kind::PING),
            1 => Tokens::push(out, kind::STARTED, Reason::None, tokens),
            2 => Tokens::push(out, kind::RETRACTED, Reason::WorkerDraining, tokens),
            3 if rng.u8(0..6) == 0 => {
                let within = rng.bool().then(|| Millis(rng.u64(..)));
                push_control(out, kind::DRAINING, &Draining { within });
            }
            3 => push_empty(out, kind::WHY_IDLE),
            4 if rng.u8(0..4) == 0 => {
                for token in tokens.clone() {
                    let chunk = LogChunk {
                        stream: LogStream::Stdout,
                        offset: rng.u64(..),
                        bytes: LIES,
                    };
                    WorkerLog { token, chunk }.push(out, kind::LOG);
                }
                Tokens::push(out, kind::LOG_TOLD, Reason::None, tokens);
            }
            4 if rng.bool() => {
                let problem = rng.bool().then(|| "tired".to_owned());
                push_control(out, kind::HOLDING, &Holding { problem });
            }
            _ => {
                let first = if rng.u8(0..8) == 0 {
                    rng.u64(0..5)
                } else {
                    self.reports + 1
                };
                self.reports += tokens.len() as u64;
                frame::push(out, kind::FINISHED, |out| {
                    out.extend_from_slice(&first.to_le_bytes());
                    for token in tokens {
                        let report = Report {
                            token,
                            reason: Reason::ALL[rng.usize(0..Reason::ALL.len())],
                            exit_code: 0,
                            elapsed_us: 1,
                            result: b"a lie",
                        };
                        report.put(out);
                    }
                });
            }
        }
    }

    fn lie_as_client(&mut self, out: &mut Vec<u8>) {
        let rng = &mut self.rng;
        let request = rng.u32(0..100);
        let bag = BagId(rng.u64(0..8));
        let work = WorkId(rng.u64(0..100));
        let selector = if rng.bool() {
            Selector::Bag(bag)
        } else {
            Selector::Work(work)
        };
        match rng.u8(0..8) {
            0 => push_control(out, client_kind::FOLLOW, &Follow { request, bag }),
            1 => {
                let query = if rng.bool() {
                    Query::Results { bag, from_row: 0 }
                } else {
                    Query::Work(work)
                };
                push_control(out, client_kind::QUERY, &QueryRequest { request, query });
            }
            2 => {
                let open = Open {
                    request,
                    key: [rng.u8(0..3); 16],
                    rows_total: rng.u32(0..4),
                    follow: true,
                    template: WorkTemplate {
                        // No worker runs it, so it waits until it expires.
                        app: "nonsense".to_owned(),
                        time_to_live: Some(wire_protocol::units::Millis(1_000)),
                        ..WorkTemplate::default()
                    },
                };
                push_control(out, client_kind::OPEN, &open);
            }
            3 => frame::push(out, client_kind::ROWS, |out| {
                out.extend_from_slice(&request.to_le_bytes());
                out.extend_from_slice(&rng.u32(0..3).to_le_bytes());
                out.extend_from_slice(&1_u32.to_le_bytes());
                out.extend_from_slice(&[1, b'x']);
            }),
            _ => {
                let command = match rng.u8(0..4) {
                    0 => Command::Cancel(selector),
                    1 => Command::Retry(selector),
                    2 if rng.bool() => {
                        Command::DrainWithin(WorkerId(rng.u32(0..4)), Millis(rng.u64(0..5_000)))
                    }
                    2 => Command::Drain(WorkerId(rng.u32(0..4))),
                    _ => Command::Cordon(WorkerId(rng.u32(0..4))),
                };
                push_control(out, client_kind::COMMAND, &CommandRequest { request, command });
            }
        }
    }

    /// A lease that may or may not exist.
    fn forged(&self, rng: &mut fastrand::Rng) -> LeaseToken {
        let like = |rng: &mut fastrand::Rng| match self.tokens.len() {
            0 => None,
            len => Some(self.tokens[rng.usize(0..len)]),
        };
        let base = like(rng).unwrap_or(LeaseToken {
            work: WorkId(rng.u64(1..60)),
            epoch: self.epoch,
            attempt: Attempt(rng.u16(0..4)),
            shard: Shard(0),
        });
        LeaseToken {
            work: WorkId(base.work.0.saturating_add(rng.u64(0..3))),
            epoch: Epoch(base.epoch.0.saturating_sub(rng.u32(0..2))),
            attempt: Attempt(base.attempt.0.saturating_add(rng.u16(0..3))),
            shard: Shard(u16::from(rng.u8(0..10) == 0)),
        }
    }
}
