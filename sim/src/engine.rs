//! The engine: the real scheduler and the real journal in a shell like that of `engine-server`, on a disk that
//! forgets.
//!
//! Records that the scheduler emits fill a batch while the one before is being committed; a commit takes a
//! virtual while. Frames and fetches wait in an outbox until what they depend on is durable. The disk's threads
//! are in [`disk`]; how the process ends and starts again, in [`life`].

mod disk;
mod life;

use std::collections::{BTreeMap, VecDeque};

use engine_core::{Config, Effect, Effects, Event as CoreEvent, Fetch, Limits, Pressure, Proof, Scheduler};
use engine_journal::{FaultStorage, Janitor, Journal, JournalReader, RecordBatch, SnapshotWriter};
use wire_protocol::client_link::FromClient;
use wire_protocol::frame;
use wire_protocol::ids::{LinkId, Lsn};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::worker_link::{FromWorker, GrantAnswer, Granted, kind, push_control};

use crate::clock::{MS, SEC, Time};
use crate::faults::{Options, Sabotage};
use crate::net::End;
use crate::oracle::Violation;
use crate::sabotage;
use crate::world::{Ctx, Event};

/// 2026-01-01, in nanoseconds since 1970: the wall clock when the simulation begins.
const WALL_START: u64 = 1_767_225_600 * SEC;

/// How often the journal is looked after when nothing happens.
const UPKEEP_EVERY: Time = 500 * MS;

pub(crate) struct Engine {
    pub(crate) disk: FaultStorage,
    pub(crate) life: Option<Box<Life>>,
    pub(crate) lives: u64,
    pub(crate) stalled_until: Time,
    /// By how much the wall clock is off.
    pub(crate) wall_off: i64,
    /// Commits take this much longer until then.
    pub(crate) slow_disk: (Time, Time),
    config: Config,
    journal: engine_journal::Config,
    fsync: Time,
    pub(crate) sabotage: Option<Sabotage>,
    /// What a disk that lies about its syncs really holds.
    synced: Option<FaultStorage>,
    rng: fastrand::Rng,
}

/// One process, from start to end.
pub(crate) struct Life {
    pub(crate) core: Scheduler,
    journal: Journal,
    reader: JournalReader,
    janitor: Janitor,
    snapshots: SnapshotWriter,
    /// Pool time when it started, and virtual time then.
    started: (Instant, Time),
    effects: Effects,
    filling: Batch,
    committing: Option<Batch>,
    pub(crate) durable: Lsn,
    /// The record of its epoch. Nobody may hear of an epoch that a crash could forget, so it serves when that is
    /// durable.
    epoch_lsn: Lsn,
    outbox: VecDeque<(Lsn, Waiting)>,
    outbox_bytes: usize,
    speakers: BTreeMap<LinkId, Speaker>,
    full: Vec<LinkId>,
    pressure: Pressure,
    disk_full: bool,
    tick_at: Option<Time>,
    snapshot: Option<Snapshot>,
    since_check: u32,
}

#[derive(Default)]
struct Batch {
    records: RecordBatch,
    first: Lsn,
}

/// A snapshot on its way to the disk.
struct Snapshot {
    lsn: Lsn,
    bytes: Vec<u8>,
    /// The oldest record that was needed then. Records may go by this, and not by what is needed later: of that a
    /// crash could take the reason.
    needed: Lsn,
}

enum Waiting {
    Frames(LinkId, Vec<u8>),
    Fetch(Box<Fetch>),
}

/// Who is at the other end, as far as the shell knows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// It has not said its first message; whether it came to the listener of workers.
    Unknown {
        worker: bool,
    },
    Worker,
    Client,
    Closed,
}

impl Engine {
    pub(crate) fn new(options: &Options, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let config = Config {
            version: "sim".to_owned(),
            lease_timeout: Millis(options.lease_timeout_ms),
            heartbeat: Millis(options.lease_timeout_ms / 5),
            rejoin_window: Millis(options.rejoin_window_ms),
            retention: Millis(options.retention_ms),
            worker_retention: Millis(if rng.bool() { 20_000 } else { 3_600_000 }),
            snapshot_every: Bytes(options.snapshot_every),
            records_per_snapshot: 0,
            limits: Limits {
                works_open_max: options.works_open_max,
                works_done_max: if rng.u8(0..8) == 0 { 40 } else { 4_000_000 },
                submissions_per_link_max: 8,
                ..Limits::default()
            },
            ..Config::default()
        };
        let journal = engine_journal::Config {
            segment_bytes: options.segment_bytes,
            intake_margin_bytes: options.segment_bytes / 4,
            ..engine_journal::Config::default()
        };
        Self {
            disk: FaultStorage::new(rng.u64(..)),
            life: None,
            lives: 0,
            stalled_until: 0,
            wall_off: 0,
            slow_disk: (0, 0),
            config,
            journal,
            fsync: options.fsync,
            sabotage: options.sabotage,
            synced: None,
            rng,
        }
    }

    /// It is there and answers.
    pub(crate) fn serves(&self) -> bool {
        let early = self.sabotage == Some(Sabotage::ServesEarly);
        self.life
            .as_ref()
            .is_some_and(|life| life.durable >= life.epoch_lsn || early)
    }

    /// The disk is full and as much waits for it as may: the process looks at nothing else until there is room.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.life.as_ref().is_some_and(|life| {
            let max = life.journal.batch_bytes_max() / 2;
            life.committing.is_some() && life.filling.records.bytes() > max
        })
    }

    pub(crate) fn open_works_max(&self) -> u64 {
        self.config.limits.works_open_max
    }

    fn life_mut(&mut self) -> &mut Life {
        self.life.as_mut().expect("the process is there")
    }

    fn pool_now(&self, now: Time) -> Instant {
        let (pool, at) = self.life.as_ref().expect("the process is there").started;
        Instant(pool.0 + (now - at))
    }

    pub(crate) fn on_opened(&mut self, link: LinkId, worker: bool) {
        self.life_mut().speakers.insert(link, Speaker::Unknown { worker });
    }

    pub(crate) fn on_closed(&mut self, ctx: &mut Ctx, link: LinkId) -> Result<(), Violation> {
        if self.life_mut().speakers.remove(&link).is_none() {
            return Ok(());
        }
        self.handle(ctx, CoreEvent::LinkClosed { link })?;
        self.after_turn(ctx)
    }

    /// Bytes came: whole frames, or what a hostile peer takes for them.
    pub(crate) fn on_arrived(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        mut bytes: &[u8],
    ) -> Result<(), Violation> {
        if self.life_mut().speakers.get(&link) == Some(&Speaker::Worker) {
            self.handle(ctx, CoreEvent::LinkAlive { link })?;
        }
        while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
            bytes = &bytes[used..];
            if let Err(reason) = self.on_frame(ctx, link, kind, payload)? {
                self.close(ctx, link, &reason);
                self.handle(ctx, CoreEvent::LinkClosed { link })?;
            }
            if self.life.is_none() {
                break;
            }
        }
        self.after_turn(ctx)
    }

    fn on_frame(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        kind: u8,
        payload: &[u8],
    ) -> Result<Result<(), String>, Violation> {
        let speaker = self.life_mut().speakers.get(&link).cloned();
        let mut forged = Vec::new();
        match speaker.unwrap_or(Speaker::Closed) {
            Speaker::Closed => {}
            Speaker::Worker => {
                let payload = match self.sabotage {
                    Some(Sabotage::MixesReports) => sabotage::mix_reports(kind, payload, &mut forged),
                    _ => payload,
                };
                let message = match FromWorker::parse(kind, payload) {
                    Ok(message) => message,
                    Err(error) => return Ok(Err(error.to_string())),
                };
                if let FromWorker::Finished(reports) = &message {
                    ctx.oracles.reported(link, reports);
                }
                self.handle(ctx, CoreEvent::WorkerSaid { link, message })?;
            }
            Speaker::Client => match FromClient::parse(kind, payload) {
                Ok(message) => {
                    let peer = ctx.net.peer(link);
                    ctx.oracles.client_said(peer, &message);
                    self.handle(ctx, CoreEvent::ClientSaid { link, message })?;
                }
                Err(error) => return Ok(Err(error.to_string())),
            },
            Speaker::Unknown { worker: true } => match FromWorker::parse(kind, payload) {
                Ok(FromWorker::Join(mut join)) => {
                    sabotage::on_join(self.sabotage, &ctx.oracles, &mut join);
                    self.life_mut().speakers.insert(link, Speaker::Worker);
                    ctx.oracles.joined(link, &join);
                    self.handle(
                        ctx,
                        CoreEvent::WorkerJoined {
                            link,
                            join: &join,
                            proof: Proof::Password,
                        },
                    )?;
                }
                Ok(_) => return Ok(Err("a worker joins before it says anything else".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            },
            Speaker::Unknown { worker: false } => match FromClient::parse(kind, payload) {
                Ok(FromClient::Login(login)) => {
                    self.life_mut().speakers.insert(link, Speaker::Client);
                    let event = CoreEvent::ClientJoined {
                        link,
                        tenant: &login.login,
                        operator: [crate::client::OPERATOR, crate::market::LOGIN]
                            .contains(&login.login.as_str()),
                    };
                    self.handle(ctx, event)?;
                }
                Ok(_) => return Ok(Err("a client logs in before it says anything else".to_owned())),
                Err(error) => return Ok(Err(error.to_string())),
            },
        }
        Ok(Ok(()))
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let now = ctx.clock.now();
        let life = self.life_mut();
        if life.tick_at.is_none_or(|at| at > now) || self.sabotage == Some(Sabotage::StopsTicking) {
            return Ok(());
        }
        let life = self.life_mut();
        life.tick_at = None;
        self.handle(ctx, CoreEvent::Tick)?;
        self.after_turn(ctx)
    }

    fn handle(&mut self, ctx: &mut Ctx, event: CoreEvent<'_>) -> Result<(), Violation> {
        let now = match self.sabotage {
            Some(Sabotage::StopsTicking) => self.life_mut().started.0,
            _ => self.pool_now(ctx.clock.now()),
        };
        let life = self.life_mut();
        life.core.handle(now, event, &mut life.effects);
        self.perform(ctx)?;
        // A commit that could not wait may have ended the process.
        let Some(life) = &mut self.life else { return Ok(()) };
        ctx.oracles.compare(&life.core.counters())?;
        // The scheduler's own check looks at everything, so the more there is, the rarer.
        life.since_check += 1;
        if life.since_check > ctx.oracles.works() / 48 {
            life.since_check = 0;
            life.core.check();
        }
        Ok(())
    }

    fn perform(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        self.keep_records(ctx)?;
        let Some(life) = &mut self.life else { return Ok(()) };
        let mut effects = std::mem::take(&mut life.effects);
        for effect in std::mem::take(&mut effects.list) {
            match effect {
                Effect::Certify(_) => unreachable!("workers of the simulation log in with a password"),
                Effect::Send { link, after, frames } => {
                    let frames = &effects.frames[frames];
                    let tells_early = self.sabotage == Some(Sabotage::TellsBeforeDurable);
                    let life = self.life_mut();
                    if after <= life.durable || tells_early {
                        self.send(ctx, link, frames)?;
                    } else {
                        life.outbox_bytes += frames.len();
                        life.outbox
                            .push_back((after, Waiting::Frames(link, frames.to_vec())));
                    }
                }
                Effect::Spare { link, frames } => {
                    // Now and then there is no room.
                    if self.rng.u8(0..8) > 0 {
                        self.send(ctx, link, &effects.frames[frames])?;
                    }
                }
                Effect::Close { link, reason } => self.close(ctx, link, &reason),
                Effect::Grant { link, after, claims } => {
                    let granted = Granted {
                        token: claims.token,
                        answer: GrantAnswer::Granted {
                            url: "https://files".to_owned(),
                            grant: "signed".to_owned(),
                        },
                    };
                    let mut frame = Vec::new();
                    push_control(&mut frame, kind::GRANTED, &granted);
                    let life = self.life_mut();
                    if after <= life.durable {
                        self.send(ctx, link, &frame)?;
                    } else {
                        life.outbox_bytes += frame.len();
                        life.outbox.push_back((after, Waiting::Frames(link, frame)));
                    }
                }
                Effect::Fetch(fetch) => {
                    let after = fetch.after;
                    self.life_mut().outbox.push_back((after, Waiting::Fetch(fetch)));
                }
                Effect::Snapshot => self.take_snapshot(ctx),
            }
        }
        effects.clear();
        self.life_mut().effects = effects;
        Ok(())
    }

    fn keep_records(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let sabotage = self.sabotage;
        let now = ctx.clock.now();
        let life = self.life.as_mut().expect("the process is there");
        let count = life.effects.records_len() as u64;
        if count == 0 {
            return Ok(());
        }
        let mut lsn = Lsn(life.core.last_lsn().0 - count);
        if life.filling.records.is_empty() {
            life.filling.first = lsn.next();
        }
        for (kind, payload) in life.effects.records() {
            lsn = lsn.next();
            sabotage::on_record(sabotage, lsn, kind, payload, &mut life.filling.records);
            ctx.trace.bytes(payload);
            if let Some(what) = crate::story::rarity(life.core.epoch(), kind, payload) {
                ctx.trace.reach(what);
            }
            ctx.trace.note(now, &[4, lsn.0, kind.into()], || {
                format!("{lsn} {}", crate::story::record(kind, payload))
            });
            ctx.oracles.emitted(lsn, kind, payload)?;
        }
        // A batch has to fit a segment. A shell waits for the disk here; if that is full, see `waits_for_disk`.
        let life = self.life_mut();
        let max = life.journal.batch_bytes_max();
        if life.filling.records.bytes() > max / 2 {
            if life.committing.is_some() {
                self.commit_done(ctx)?;
            }
            if self.life.is_some() {
                self.commit(ctx);
            }
        }
        Ok(())
    }

    fn send(&mut self, ctx: &mut Ctx, link: LinkId, frames: &[u8]) -> Result<(), Violation> {
        let durable = self.life_mut().durable;
        let mut spoiled = Vec::new();
        let frames = sabotage::on_send(self.sabotage, frames, &mut spoiled);
        let peer = ctx.net.peer(link);
        let mut rest = frames;
        while let Ok(Some((kind, payload, used))) = frame::split_first(rest) {
            rest = &rest[used..];
            ctx.oracles.told(peer, link, kind, payload, durable)?;
        }
        ctx.net.send(&mut ctx.clock, link, End::Peer, frames);
        if ctx.net.is_full(link, End::Peer) {
            self.life_mut().full.push(link);
        }
        Ok(())
    }

    fn close(&mut self, ctx: &mut Ctx, link: LinkId, reason: &str) {
        let now = ctx.clock.now();
        ctx.trace.note(now, &[5, link.0], || {
            format!("the engine closes {link}: {reason}")
        });
        self.life_mut().speakers.insert(link, Speaker::Closed);
        ctx.net.close(&mut ctx.clock, link, End::Engine);
    }

    /// What a shell does when it has handled everything that was there.
    fn after_turn(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        if self.life.is_none() {
            return Ok(());
        }
        self.release(ctx)?;
        while let Some(link) = self.life.as_mut().and_then(|life| life.full.pop()) {
            if self.life_mut().speakers.get(&link) == Some(&Speaker::Client) {
                ctx.trace.reach("a full link");
                self.handle(ctx, CoreEvent::LinkFull { link })?;
            }
        }
        if self.life.is_none() {
            return Ok(());
        }
        self.commit(ctx);
        let life = self.life_mut();
        let behind = life.filling.records.bytes() > life.journal.batch_bytes_max() / 4;
        let pressure = match (life.disk_full, behind) {
            (true, _) => Pressure::DiskFull,
            (_, true) => Pressure::Behind,
            _ => Pressure::None,
        };
        if pressure != life.pressure {
            ctx.trace.reach(match pressure {
                Pressure::None => "pressure ends",
                Pressure::Behind => "the journal is behind",
                Pressure::DiskFull => "intake finds the disk full",
            });
            life.pressure = pressure;
            self.handle(ctx, CoreEvent::JournalPressure(pressure))?;
        }
        let Some(life) = &mut self.life else { return Ok(()) };
        ctx.oracles
            .sizes(life.outbox_bytes, life.filling.records.bytes())?;
        if let Some(due) = life.core.next_deadline() {
            let at = (life.started.1 + due.0.saturating_sub(life.started.0.0)).max(ctx.clock.now());
            if life.tick_at.is_none_or(|planned| planned > at) {
                life.tick_at = Some(at);
                let life = self.lives;
                ctx.clock.at(at, Event::EngineTick { life });
            }
        }
        Ok(())
    }
}
