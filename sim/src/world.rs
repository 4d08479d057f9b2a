//! The world: one engine, its workers and clients, the network between them, and the order of events.

use engine_core::Fetch;
use engine_journal::{Fault as DiskFault, Loss};
use wire_protocol::ids::{LeaseToken, LinkId, Lsn};

use crate::client::Client;
use crate::clock::{Clock, MS, SEC, Time};
use crate::engine::Engine;
use crate::faults::{Fault, Mode, Options};
use crate::hostile::Hostile;
use crate::market::{self, Market, Pool, Post, Settler};
use crate::net::{End, IDLE_TIMEOUT, Net};
use crate::oracle::{self, Oracles, Violation};
use crate::story;
use crate::trace::Trace;
use crate::worker::Worker;

/// Virtual time in which everything has to settle once the faults are over.
const SETTLES_WITHIN: Time = 900 * SEC;

/// A peer of the engine, by its place in the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct PeerId(pub(crate) usize);

/// Something that is planned to happen.
pub(crate) enum Event {
    /// The handshake of a connection is over.
    Opened {
        link: LinkId,
    },
    /// Frames arrive at one side.
    Arrived {
        link: LinkId,
        to: End,
        number: u64,
        bytes: Vec<u8>,
    },
    /// One side notices that the connection is over.
    Closed {
        link: LinkId,
        end: End,
    },
    /// A partition has lasted for so long that the side that hears nothing gives up.
    Silence {
        peer: PeerId,
        to: End,
        since: Time,
    },
    EngineStart,
    EngineTick {
        life: u64,
    },
    /// The journal thread is done with the batch that begins here.
    Commit {
        life: u64,
        first: Lsn,
    },
    Fetch {
        life: u64,
        fetch: Box<Fetch>,
    },
    Snapshot {
        life: u64,
    },
    Upkeep {
        life: u64,
    },
    WorkerStart {
        peer: PeerId,
    },
    PeerTick {
        peer: PeerId,
        life: u64,
    },
    /// An executor of a worker is done.
    Ended {
        peer: PeerId,
        life: u64,
        token: LeaseToken,
    },
    /// Nothing keeps a worker from taking work any more.
    Welcoming {
        peer: PeerId,
        life: u64,
    },
    PoolStart {
        peer: PeerId,
    },
    /// Something has happened to the pool's reconciler.
    PoolTold {
        peer: PeerId,
        life: u64,
        event: Box<sidecars_reconcile::core::reconciler::Event>,
    },
    /// Something is for the chain side of a worker.
    Posted {
        peer: PeerId,
        life: u64,
        post: Box<Post>,
    },
    /// The chain's next block is due.
    Block,
    /// It is time for the next fault.
    Fault,
    /// What was wrong with a path, or with the disk, is over.
    Heal {
        peer: Option<PeerId>,
    },
    /// The faults are over.
    CalmDown,
    /// Is everything settled?
    Settled,
}

/// What all actors share.
pub(crate) struct Ctx {
    pub(crate) clock: Clock<Event>,
    pub(crate) net: Net,
    pub(crate) trace: Trace,
    pub(crate) oracles: Oracles,
    pub(crate) market: Option<Box<Market>>,
}

enum Peer {
    Worker(Box<Worker>),
    Client(Box<Client>),
    Hostile(Box<Hostile>),
    Pool(Box<Pool>),
}

pub(crate) struct World {
    pub(crate) ctx: Ctx,
    options: Options,
    engine: Engine,
    peers: Vec<Peer>,
    rng: fastrand::Rng,
    stage: Stage,
    /// Works that had been queued again by command when clients began to read everything.
    revived: Option<u64>,
}

/// ```text
///  Faulty ── CalmDown ─► Calm ── all settled ─► Reading (each client reads all outcomes once more) ─► Over
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Faulty,
    Calm,
    Reading,
    Over,
}

impl Peer {
    fn name(&self) -> String {
        match self {
            Self::Worker(worker) => worker.uid().to_owned(),
            Self::Client(client) => client.login.clone(),
            Self::Hostile(hostile) => format!("hostile-{}", hostile.id.0),
            Self::Pool(_) => market::LOGIN.to_owned(),
        }
    }
}

impl World {
    pub(crate) fn new(options: Options, trace: Trace) -> Self {
        let mut rng = fastrand::Rng::with_seed(options.seed ^ 0x5eed);
        let mut peers = Vec::new();
        for index in 0..options.workers {
            let id = PeerId(peers.len());
            let settler = options.market.as_ref().map(|market| {
                let lies = market.liar_one_in > 0 && index % usize::from(market.liar_one_in) == 1;
                Settler::new(id, market::wallet(index), lies)
            });
            let worker = Worker::new(id, index, &options, settler, rng.u64(..));
            peers.push(Peer::Worker(Box::new(worker)));
        }
        for index in 0..options.clients {
            let client = Client::new(PeerId(peers.len()), index, &options, rng.u64(..));
            peers.push(Peer::Client(Box::new(client)));
        }
        for (wanted, worker) in [(options.hostile_worker, true), (options.hostile_client, false)] {
            if wanted {
                let hostile = Hostile::new(PeerId(peers.len()), worker, rng.u64(..));
                peers.push(Peer::Hostile(Box::new(hostile)));
            }
        }
        let engine = Engine::new(&options, rng.u64(..));
        let net_seed = rng.u64(..);
        let chain = options.market.as_ref().map(|market| {
            let pool = Pool::new(PeerId(peers.len()), &options, market, rng.u64(..));
            peers.push(Peer::Pool(Box::new(pool)));
            Box::new(Market::new(&options, market, rng.u64(..)))
        });
        let mut oracles = Oracles::new(&options, engine.open_works_max());
        for (index, peer) in peers.iter().enumerate() {
            match peer {
                Peer::Client(_) | Peer::Pool(_) => oracles.trust(PeerId(index)),
                Peer::Worker(worker) => oracles.honest(worker.uid(), worker.offer()),
                Peer::Hostile(_) => {}
            }
        }
        let ctx = Ctx {
            clock: Clock::new(),
            net: Net::new(peers.len(), net_seed),
            trace,
            oracles,
            market: chain,
        };
        Self {
            ctx,
            options,
            engine,
            peers,
            rng,
            stage: Stage::Faulty,
            revived: None,
        }
    }

    /// Runs to the end.
    pub(crate) fn run(&mut self) -> Result<(), Violation> {
        self.ctx.clock.at(0, Event::EngineStart);
        for index in 0..self.peers.len() {
            match &self.peers[index] {
                Peer::Worker(_) => {
                    let peer = PeerId(index);
                    self.ctx
                        .clock
                        .after(self.rng.u64(0..300 * MS), Event::WorkerStart { peer });
                }
                Peer::Client(client) => client.start(&mut self.ctx),
                Peer::Hostile(hostile) => hostile.start(&mut self.ctx),
                Peer::Pool(pool) => self.ctx.clock.at(0, Event::PoolStart { peer: pool.id }),
            }
        }
        if self.ctx.market.is_some() {
            self.ctx.clock.at(0, Event::Block);
        }
        if !self.options.faults.is_empty() {
            self.plan_fault();
        }
        let calm = if self.options.mode == Mode::Liveness {
            0
        } else {
            self.options.faults_for
        };
        self.ctx.clock.after(calm, Event::CalmDown);
        while self.stage != Stage::Over {
            let event = self.ctx.clock.next().expect("clients look around for ever");
            self.on_event(event)?;
        }
        self.final_restart()
    }

    /// What the disk holds in the end is everything that was promised.
    fn final_restart(&mut self) -> Result<(), Violation> {
        self.engine.crash(&mut self.ctx, Some(Loss::All));
        self.engine.start(&mut self.ctx)
    }

    fn on_event(&mut self, event: Event) -> Result<(), Violation> {
        if let Some(until) = self.waits_for(&event) {
            self.ctx.clock.at(until, event);
            return Ok(());
        }
        let engine_life = self.engine.life.as_ref().map(|_| self.engine.lives);
        match event {
            Event::Opened { link } => self.on_opened(link),
            Event::Arrived {
                link,
                to,
                number,
                bytes,
            } if !self.ctx.net.is_next(link, to, number) => {
                let again = Event::Arrived {
                    link,
                    to,
                    number,
                    bytes,
                };
                self.ctx.clock.after(MS, again);
                Ok(())
            }
            Event::Arrived { link, to, bytes, .. } => self.on_arrived(link, to, &bytes),
            Event::Closed { link, end } => self.on_closed(link, end),
            Event::Silence { peer, to, since } => {
                self.ctx.net.silence(&mut self.ctx.clock, peer, to, since);
                Ok(())
            }
            Event::EngineStart => self.engine.start(&mut self.ctx),
            Event::EngineTick { life } if engine_life == Some(life) => self.engine.on_tick(&mut self.ctx),
            Event::Commit { life, first } if engine_life == Some(life) => {
                self.engine.on_commit(&mut self.ctx, first)
            }
            Event::Fetch { life, fetch } if engine_life == Some(life) => {
                self.engine.on_fetch(&mut self.ctx, *fetch)
            }
            Event::Snapshot { life } if engine_life == Some(life) => self.engine.on_snapshot(&mut self.ctx),
            Event::Upkeep { life } if engine_life == Some(life) => self.engine.on_upkeep(&mut self.ctx),
            Event::EngineTick { .. }
            | Event::Commit { .. }
            | Event::Fetch { .. }
            | Event::Snapshot { .. }
            | Event::Upkeep { .. } => Ok(()), // of a process that is gone
            Event::WorkerStart { peer } => match &mut self.peers[peer.0] {
                Peer::Worker(worker) => worker.start(&mut self.ctx),
                _ => Ok(()),
            },
            Event::PeerTick { peer, life } => match &mut self.peers[peer.0] {
                Peer::Worker(worker) if worker.lives == life => worker.on_tick(&mut self.ctx),
                Peer::Worker(_) => Ok(()),
                Peer::Client(client) => {
                    client.on_tick(&mut self.ctx);
                    Ok(())
                }
                Peer::Hostile(hostile) => {
                    hostile.on_tick(&mut self.ctx);
                    Ok(())
                }
                Peer::Pool(pool) => {
                    if pool.lives == life {
                        return pool.on_tick(&mut self.ctx);
                    }
                    Ok(())
                }
            },
            Event::Ended { peer, life, token } => match &mut self.peers[peer.0] {
                Peer::Worker(worker) if worker.lives == life => worker.on_ended(&mut self.ctx, token),
                _ => Ok(()),
            },
            Event::Welcoming { peer, life } => match &mut self.peers[peer.0] {
                Peer::Worker(worker) if worker.lives == life => worker.hold(&mut self.ctx, None),
                _ => Ok(()),
            },
            Event::PoolStart { peer } => {
                if let Peer::Pool(pool) = &mut self.peers[peer.0] {
                    pool.start(&mut self.ctx);
                }
                Ok(())
            }
            Event::PoolTold { peer, life, event } => {
                if let Peer::Pool(pool) = &mut self.peers[peer.0]
                    && pool.lives == life
                {
                    return pool.tell(&mut self.ctx, *event);
                }
                Ok(())
            }
            Event::Posted { peer, life, post } => match &mut self.peers[peer.0] {
                Peer::Worker(worker) if worker.lives == life => worker.on_post(&mut self.ctx, *post),
                _ => Ok(()),
            },
            Event::Block => {
                let market = self.ctx.market.as_mut().expect("blocks are of a market");
                self.ctx.clock.after(market::BLOCK, Event::Block);
                market.mine(self.ctx.clock.now());
                Ok(())
            }
            Event::Fault => self.on_fault(),
            Event::Heal { peer } => {
                self.heal(peer);
                Ok(())
            }
            Event::CalmDown => self.calm_down(),
            Event::Settled => self.look_around(),
        }
    }

    /// Until when an actor that does nothing for a while lets the event wait.
    fn waits_for(&self, event: &Event) -> Option<Time> {
        let until = match event {
            Event::Arrived { to: End::Engine, .. }
            | Event::Closed { end: End::Engine, .. }
            | Event::EngineTick { .. }
                if self.engine.waits_for_disk() =>
            {
                self.ctx.clock.now() + 20 * MS
            }
            Event::Arrived { to: End::Engine, .. }
            | Event::Closed { end: End::Engine, .. }
            | Event::EngineTick { .. }
            | Event::Commit { .. }
            | Event::Upkeep { .. } => self.engine.stalled_until,
            Event::Arrived { link, .. } | Event::Closed { link, .. } => {
                self.stalled(self.ctx.net.peer(*link)?)?
            }
            Event::PeerTick { peer, .. } | Event::Ended { peer, .. } | Event::Posted { peer, .. } => {
                self.stalled(*peer)?
            }
            _ => return None,
        };
        (until > self.ctx.clock.now()).then_some(until)
    }

    fn stalled(&self, peer: PeerId) -> Option<Time> {
        match &self.peers[peer.0] {
            Peer::Worker(worker) => Some(worker.stalled_until),
            _ => None,
        }
    }

    fn on_opened(&mut self, link: LinkId) -> Result<(), Violation> {
        let Some(peer) = self.ctx.net.peer(link) else {
            return Ok(());
        };
        let now = self.ctx.clock.now();
        if !self.engine.serves() || !self.ctx.net.passes(peer) {
            self.ctx.net.forget(link);
            // The peer notices: at once, or after it has waited for an answer.
            return self.tell_closed(peer, link, "the engine does not answer");
        }
        self.ctx.trace.note(now, &[30, link.0], || {
            format!("{link} opens: {}", self.peers[peer.0].name())
        });
        self.ctx.net.open(link);
        self.engine.on_opened(link, self.is_worker(peer));
        match &mut self.peers[peer.0] {
            Peer::Worker(worker) => worker.on_connected(&mut self.ctx, link),
            Peer::Client(client) => {
                client.on_connected(&mut self.ctx, link);
                Ok(())
            }
            Peer::Hostile(hostile) => {
                hostile.on_connected(&mut self.ctx, link);
                Ok(())
            }
            Peer::Pool(pool) => {
                pool.on_connected(&mut self.ctx, link);
                Ok(())
            }
        }
    }

    fn on_arrived(&mut self, link: LinkId, to: End, bytes: &[u8]) -> Result<(), Violation> {
        let Some(peer) = self.ctx.net.peer(link) else {
            return Ok(());
        };
        if !self.ctx.net.arrived(link, to, bytes.len()) {
            return Ok(());
        }
        let now = self.ctx.clock.now();
        self.ctx.trace.bytes(bytes);
        if self.ctx.trace.is_telling() {
            let name = self.peers[peer.0].name();
            let words = story::frames(to, self.is_worker(peer), bytes);
            let text = match to {
                End::Engine => format!("{name} ─► engine ({link}) {words}"),
                End::Peer => format!("engine ─► {name} ({link}) {words}"),
            };
            self.ctx.trace.tell(now, &text);
        }
        self.ctx.trace.note(now, &[31, link.0, to as u64], String::new);
        match (to, &mut self.peers[peer.0]) {
            (End::Engine, _) if self.engine.life.is_none() => Ok(()),
            (End::Engine, _) => self.engine.on_arrived(&mut self.ctx, link, bytes),
            (End::Peer, Peer::Worker(worker)) => worker.on_arrived(&mut self.ctx, link, bytes),
            (End::Peer, Peer::Client(client)) => client.on_arrived(&mut self.ctx, link, bytes),
            (End::Peer, Peer::Pool(pool)) => pool.on_arrived(&mut self.ctx, link, bytes),
            (End::Peer, Peer::Hostile(hostile)) => {
                hostile.on_arrived(link, bytes);
                Ok(())
            }
        }
    }

    fn on_closed(&mut self, link: LinkId, end: End) -> Result<(), Violation> {
        let Some(peer) = self.ctx.net.peer(link) else {
            return Ok(());
        };
        if !self.ctx.net.closed(link, end) {
            return Ok(());
        }
        let now = self.ctx.clock.now();
        self.ctx.trace.note(now, &[32, link.0, end as u64], || {
            format!("{link} of {} is over for {end:?}", self.peers[peer.0].name())
        });
        match end {
            End::Engine if self.engine.life.is_none() => Ok(()),
            End::Engine => self.engine.on_closed(&mut self.ctx, link),
            End::Peer => self.tell_closed(peer, link, "the connection was lost"),
        }
    }

    fn tell_closed(&mut self, peer: PeerId, link: LinkId, reason: &str) -> Result<(), Violation> {
        match &mut self.peers[peer.0] {
            Peer::Worker(worker) => worker.on_closed(&mut self.ctx, link, reason),
            Peer::Client(client) => {
                client.on_closed(&mut self.ctx, link);
                Ok(())
            }
            Peer::Hostile(hostile) => {
                hostile.on_closed(&mut self.ctx, link);
                Ok(())
            }
            Peer::Pool(pool) => {
                pool.on_closed(&mut self.ctx, link);
                Ok(())
            }
        }
    }

    fn is_worker(&self, peer: PeerId) -> bool {
        match &self.peers[peer.0] {
            Peer::Worker(_) => true,
            Peer::Client(_) | Peer::Pool(_) => false,
            Peer::Hostile(hostile) => hostile.worker,
        }
    }

    fn plan_fault(&mut self) {
        let every = self.options.fault_every;
        self.ctx.clock.after(self.rng.u64(0..2 * every), Event::Fault);
    }

    fn on_fault(&mut self) -> Result<(), Violation> {
        if self.stage != Stage::Faulty {
            return Ok(());
        }
        self.plan_fault();
        let fault = self.options.faults[self.rng.usize(0..self.options.faults.len())];
        let peer = PeerId(self.rng.usize(0..self.peers.len()));
        let lasts = self.rng.u64(10 * MS..3 * SEC) << self.rng.u32(0..3);
        let now = self.ctx.clock.now();
        self.ctx.trace.note(now, &[33, fault as u64, peer.0 as u64], || {
            format!("!! {fault:?} ({}, {} ms)", self.peers[peer.0].name(), lasts / MS)
        });
        let Ctx { clock, net, .. } = &mut self.ctx;
        match fault {
            Fault::ConnectionLoss => {
                let links = net.links();
                if !links.is_empty() {
                    net.cut(clock, links[self.rng.usize(0..links.len())]);
                }
            }
            Fault::Partition => {
                net.block(clock, peer, End::Engine);
                net.block(clock, peer, End::Peer);
                clock.after(lasts + IDLE_TIMEOUT / 2, Event::Heal { peer: Some(peer) });
            }
            Fault::HalfPartition => {
                let to = if self.rng.bool() { End::Engine } else { End::Peer };
                net.block(clock, peer, to);
                clock.after(lasts + IDLE_TIMEOUT / 2, Event::Heal { peer: Some(peer) });
            }
            Fault::SlowLink => {
                net.path_mut(peer).per_byte = self.rng.u64(1_000..1_000_000);
                clock.after(lasts, Event::Heal { peer: Some(peer) });
            }
            Fault::EngineCrash => {
                let loss = [Loss::All, Loss::Random, Loss::Random, Loss::Nothing][self.rng.usize(0..4)];
                self.crash_engine(Some(loss));
            }
            Fault::EngineKill => self.crash_engine(None),
            Fault::EngineStall => self.engine.stalled_until = now + lasts,
            Fault::FsyncError => self.engine.disk.fail_call(self.rng.u64(1..=2), DiskFault::Io),
            Fault::DiskError => {
                let kind = if self.rng.bool() {
                    DiskFault::Io
                } else {
                    DiskFault::Full
                };
                self.engine.disk.fail_call(self.rng.u64(1..=60), kind);
            }
            Fault::DiskFull => {
                let used = self.engine.disk.used_bytes();
                let room = self.rng.u64(0..self.options.segment_bytes * 2);
                self.engine.disk.set_capacity(Some(used + room));
                clock.after(lasts, Event::Heal { peer: None });
            }
            Fault::SlowDisk => self.engine.slow_disk = (now + lasts, self.rng.u64(MS..500 * MS)),
            Fault::WorkerCrash => {
                let chosen = self.rng.usize(..);
                if let Some(worker) = Self::worker_at(&mut self.peers, chosen, self.options.workers) {
                    worker.crash(&mut self.ctx);
                }
            }
            Fault::WorkerStall => {
                let chosen = self.rng.usize(..);
                if let Some(worker) = Self::worker_at(&mut self.peers, chosen, self.options.workers) {
                    worker.stalled_until = now + lasts;
                }
            }
            Fault::WorkerDrain => {
                let chosen = self.rng.usize(..);
                if let Some(worker) = Self::worker_at(&mut self.peers, chosen, self.options.workers) {
                    worker.drain(&mut self.ctx)?;
                }
            }
            Fault::WorkerHold => {
                let chosen = self.rng.usize(..);
                if let Some(worker) = Self::worker_at(&mut self.peers, chosen, self.options.workers) {
                    let (peer, life) = (worker.id, worker.lives);
                    worker.hold(&mut self.ctx, Some("its disk is full"))?;
                    self.ctx.clock.after(lasts, Event::Welcoming { peer, life });
                }
            }
            Fault::Snapshot => self.engine.ask_for_snapshot(&mut self.ctx)?,
            Fault::ClockJump => {
                let hour = 3_600 * SEC as i64;
                self.engine.wall_off += self.rng.i64(-hour..hour);
            }
            Fault::Reorganisation => {
                if let Some(market) = &mut self.ctx.market {
                    market.reorganise();
                }
            }
            Fault::NodeAway => {
                if let Some(market) = &mut self.ctx.market {
                    market.away_until = now + lasts;
                }
            }
            Fault::PoolCrash => {
                for peer in &mut self.peers {
                    if let Peer::Pool(pool) = peer {
                        pool.crash(&mut self.ctx);
                    }
                }
            }
        }
        Ok(())
    }

    fn worker_at(peers: &mut [Peer], index: usize, workers: usize) -> Option<&mut Worker> {
        match &mut peers[index % workers] {
            Peer::Worker(worker) => Some(worker),
            _ => None,
        }
    }

    fn crash_engine(&mut self, power: Option<Loss>) {
        if self.engine.life.is_none() {
            return;
        }
        self.engine.crash(&mut self.ctx, power);
        let away = self.rng.u64(MS..500 * MS) << self.rng.u32(0..5);
        self.ctx.clock.after(away, Event::EngineStart);
    }

    fn heal(&mut self, peer: Option<PeerId>) {
        match peer {
            Some(peer) => self.ctx.net.heal(&mut self.ctx.clock, peer),
            None => self.engine.disk.set_capacity(None),
        }
    }

    fn calm_down(&mut self) -> Result<(), Violation> {
        let now = self.ctx.clock.now();
        self.ctx
            .trace
            .note(now, &[34], || "!! the faults are over".to_owned());
        if self.options.mode == Mode::Safety {
            self.stage = Stage::Over;
            return Ok(());
        }
        self.stage = Stage::Calm;
        self.heal(None);
        self.engine.stalled_until = 0;
        self.engine.slow_disk = (0, 0);
        for index in 0..self.peers.len() {
            self.heal(Some(PeerId(index)));
            match &mut self.peers[index] {
                Peer::Worker(worker) => {
                    worker.stalled_until = 0;
                    worker.start(&mut self.ctx)?;
                    worker.hold(&mut self.ctx, None)?;
                }
                Peer::Client(client) => client.calm_down(),
                Peer::Hostile(hostile) => hostile.retire(&mut self.ctx),
                Peer::Pool(pool) => pool.start(&mut self.ctx),
            }
        }
        if let Some(market) = &mut self.ctx.market {
            market.calm_down();
        }
        self.ctx.clock.after(SEC, Event::EngineStart);
        self.ctx.clock.after(2 * SEC, Event::Settled);
        Ok(())
    }

    /// Is everything settled? If so, each client reads everything once more; then it is over.
    fn look_around(&mut self) -> Result<(), Violation> {
        let quiet = self.ctx.oracles.is_settled()
            && self.peers.iter().all(|peer| match peer {
                Peer::Worker(worker) => worker.is_quiet(),
                Peer::Client(client) => client.is_done(),
                Peer::Hostile(_) => true,
                Peer::Pool(pool) => self
                    .ctx
                    .market
                    .as_ref()
                    .is_some_and(|market| pool.is_quiet(market)),
            })
            && self.ctx.market.as_ref().is_none_or(|market| market.is_settled());
        match (quiet, self.stage) {
            // A command of a connection long gone may have arrived while they read.
            (true, Stage::Calm | Stage::Reading) if self.revived != Some(self.ctx.oracles.revived()) => {
                self.stage = Stage::Reading;
                self.revived = Some(self.ctx.oracles.revived());
                for peer in &mut self.peers {
                    if let Peer::Client(client) = peer {
                        client.read_again();
                    }
                }
            }
            (true, _) => {
                self.stage = Stage::Over;
                return self.compare_notes();
            }
            (false, _) => {}
        }
        let calm_since = self.options.faults_for;
        if self.ctx.clock.now() > calm_since + SETTLES_WITHIN {
            let who: Vec<String> = self
                .peers
                .iter()
                .filter_map(|peer| match peer {
                    Peer::Worker(worker) => Some(worker.describe()),
                    Peer::Client(client) => Some(client.describe()),
                    Peer::Pool(pool) => Some(pool.describe()),
                    Peer::Hostile(_) => None,
                })
                .chain(self.ctx.market.as_ref().map(|market| market.describe()))
                .collect();
            return Err(oracle::stuck(&self.ctx.oracles, &who));
        }
        self.ctx.clock.after(SEC, Event::Settled);
        Ok(())
    }

    fn compare_notes(&self) -> Result<(), Violation> {
        for peer in &self.peers {
            if let Peer::Client(client) = peer {
                for (work, outcome) in client.learned() {
                    oracle::learned(&self.ctx.oracles, &client.login, work, outcome)?;
                }
            }
        }
        self.ctx
            .market
            .as_ref()
            .map_or(Ok(()), |market| market.compare_notes())
    }
}
