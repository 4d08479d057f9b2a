//! A worker: the real agent, with executors that only take time.
//!
//! What a work does follows from its row and the attempt: it takes a while, it fails, or it takes the worker's
//! process with it. Its result holds the token and the row, so that whoever reads it can tell whether it is the
//! right one.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire_hub::{Ticket, result_of};
use wire_protocol::frame;
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::joining::WalletProof;
use wire_protocol::log::{LogChunk, LogStream};
use wire_protocol::outcome::{Output, Reason};
use wire_protocol::resources::Packing;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{GrantAnswer, Report, ToWorker};
use worker_core::{Agent, Effect, Effects, Event as AgentEvent, Note, Settings};

use crate::clock::{MS, SEC, Time};
use crate::faults::Options;
use crate::market::{Post, Settler};
use crate::net::End;
use crate::oracle::Violation;
use crate::world::{Ctx, Event, PeerId};

/// First byte of a row whose work ends its worker's process.
pub(crate) const POISON: u8 = b'P';

pub(crate) struct Worker {
    pub(crate) id: PeerId,
    settings: Settings,
    process: Option<Process>,
    /// Counts processes: what was planned for an earlier one is void.
    pub(crate) lives: u64,
    pub(crate) stalled_until: Time,
    run_max: Time,
    fail_percent: u8,
    result_bytes_max: usize,
    /// Its chain side, where there is a marketplace.
    settler: Option<Settler>,
    rng: fastrand::Rng,
}

struct Process {
    agent: Agent,
    effects: Effects,
    link: Option<LinkId>,
    /// What runs, and how it will end.
    jobs: BTreeMap<LeaseToken, Job>,
    tick_at: Option<Time>,
    /// Attempts whose executors are about to ask what they may do with files.
    asks: Vec<LeaseToken>,
    /// Attempts of which somebody wants to know what they have printed.
    prints: Vec<LeaseToken>,
}

struct Job {
    template: Arc<WorkTemplate>,
    reason: Reason,
    elapsed_us: u32,
    result: Vec<u8>,
    kills: bool,
    /// It has ended, and its result is on its way to the chain side.
    is_handing: bool,
}

impl Worker {
    pub(crate) fn new(
        id: PeerId,
        index: usize,
        options: &Options,
        settler: Option<Settler>,
        seed: u64,
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut tags = Vec::new();
        if index == 0 || rng.bool() {
            tags.push("big".to_owned());
        }
        // Of their own, so that everything else follows from the seed whatever is counted.
        let mut counted = fastrand::Rng::with_seed(!seed);
        let settings = Settings {
            login: "vworker".to_owned(),
            password: "secret".to_owned(),
            identity: None,
            uid: format!("worker-{index}"),
            name: format!("worker {index}"),
            version: "sim".to_owned(),
            offer: Offer {
                executors: vec!["sim".to_owned(), "null".to_owned()],
                os: "linux".to_owned(),
                tags,
                slots: rng.u32(1..=4),
                prefill: [0, 2, 8][rng.usize(0..3)],
                // The first can run everything.
                custom: (index == 0 || counted.bool())
                    .then(|| ("licence".to_owned(), counted.u64(2..4)))
                    .into_iter()
                    .collect(),
                cores: 3,
                packing: [Packing::Slots, Packing::Slots, Packing::Resources][counted.usize(0..3)],
                ..Offer::default()
            },
            warm: Vec::new(),
        };
        Self {
            id,
            settings,
            process: None,
            lives: 0,
            stalled_until: 0,
            run_max: options.run_max,
            fail_percent: options.fail_percent,
            result_bytes_max: options.result_bytes_max,
            settler,
            rng,
        }
    }

    pub(crate) fn offer(&self) -> &Offer {
        &self.settings.offer
    }

    pub(crate) fn uid(&self) -> &str {
        &self.settings.uid
    }

    pub(crate) fn start(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        if self.process.is_some() {
            return Ok(());
        }
        self.lives += 1;
        let now = ctx.clock.now();
        ctx.trace.note(now, &[20, self.id.0 as u64], || {
            format!("!! {} starts, life {}", self.settings.uid, self.lives)
        });
        self.process = Some(Process {
            agent: Agent::new(self.settings.clone(), self.rng.u64(..)),
            effects: Effects::new(),
            link: None,
            jobs: BTreeMap::new(),
            tick_at: None,
            asks: Vec::new(),
            prints: Vec::new(),
        });
        if let Some(settler) = &mut self.settler {
            settler.start(ctx, self.lives);
        }
        self.handle(ctx, AgentEvent::Tick)
    }

    /// The process dies and everything that it held and ran with it. It is started again after a while.
    pub(crate) fn crash(&mut self, ctx: &mut Ctx) {
        let Some(process) = self.process.take() else {
            return;
        };
        let now = ctx.clock.now();
        ctx.trace.note(now, &[21, self.id.0 as u64], || {
            format!("!! {} dies", self.settings.uid)
        });
        if let Some(link) = process.link {
            ctx.net.vanish(&mut ctx.clock, link, End::Peer);
        }
        self.settler.iter_mut().for_each(Settler::crash);
        self.stalled_until = 0;
        let away = self.rng.u64(10 * MS..4 * SEC);
        ctx.clock.after(away, Event::WorkerStart { peer: self.id });
    }

    pub(crate) fn drain(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let within = self.rng.bool().then(|| Millis(self.rng.u64(0..4_000)));
        self.handle(ctx, AgentEvent::Drain { within })
    }

    pub(crate) fn hold(&mut self, ctx: &mut Ctx, problem: Option<&str>) -> Result<(), Violation> {
        self.handle(ctx, AgentEvent::Hold(problem))
    }

    pub(crate) fn on_connected(&mut self, ctx: &mut Ctx, link: LinkId) -> Result<(), Violation> {
        if self.link() == Some(link) {
            // The engine's shell is the one to look at signatures.
            let proof = |settler: &Settler| WalletProof {
                address: settler.wallet(),
                r: [0; 32],
                s: [0; 32],
                parity: 0,
            };
            let wallet = self.settler.as_ref().map(proof);
            self.handle(ctx, AgentEvent::Connected { wallet })?;
        }
        Ok(())
    }

    pub(crate) fn on_closed(&mut self, ctx: &mut Ctx, link: LinkId, reason: &str) -> Result<(), Violation> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if process.link != Some(link) {
            return Ok(());
        }
        process.link = None;
        self.handle(ctx, AgentEvent::Disconnected { reason })
    }

    pub(crate) fn on_arrived(
        &mut self,
        ctx: &mut Ctx,
        link: LinkId,
        mut bytes: &[u8],
    ) -> Result<(), Violation> {
        while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
            bytes = &bytes[used..];
            if self.link() != Some(link) {
                return Ok(());
            }
            if let Ok(ToWorker::Welcome(welcome)) = ToWorker::parse(kind, payload) {
                ctx.oracles.welcomed(&welcome)?;
            }
            self.handle(ctx, AgentEvent::Frame { kind, payload })?;
        }
        self.handle(ctx, AgentEvent::Flush)
    }

    pub(crate) fn on_tick(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let now = ctx.clock.now();
        match &mut self.process {
            Some(process) if process.tick_at.is_some_and(|at| at <= now) => {
                process.tick_at = None;
                self.handle(ctx, AgentEvent::Tick)
            }
            _ => Ok(()),
        }
    }

    /// An attempt ends.
    pub(crate) fn on_ended(&mut self, ctx: &mut Ctx, token: LeaseToken) -> Result<(), Violation> {
        let Some(job) = self
            .process
            .as_mut()
            .and_then(|process| process.jobs.get_mut(&token))
        else {
            return Ok(());
        };
        if job.kills {
            self.crash(ctx);
            return Ok(());
        }
        if job.is_handing {
            return Ok(());
        }
        if let Some(settler) = &mut self.settler
            && let Ok(ticket) = Ticket::parse(&job.template.ticket)
            && job.reason == Reason::None
        {
            job.is_handing = true;
            let output = Output::parse(&job.result).expect("the settler has made it");
            let result = result_of(&output);
            let handed = settler.computed(ctx, self.lives, token, ticket, result);
            return self.report_all(ctx, handed);
        }
        self.report(ctx, token)
    }

    /// Something has come for the chain side.
    pub(crate) fn on_post(&mut self, ctx: &mut Ctx, post: Post) -> Result<(), Violation> {
        let Some(settler) = &mut self.settler else {
            return Ok(());
        };
        let handed = settler.on_post(ctx, self.lives, post);
        self.report_all(ctx, handed)
    }

    fn report_all(&mut self, ctx: &mut Ctx, tokens: Vec<LeaseToken>) -> Result<(), Violation> {
        tokens.into_iter().try_for_each(|token| self.report(ctx, token))
    }

    fn report(&mut self, ctx: &mut Ctx, token: LeaseToken) -> Result<(), Violation> {
        let process = self.process.as_mut();
        let Some(job) = process.and_then(|process| process.jobs.remove(&token)) else {
            return Ok(());
        };
        let report = Report {
            token,
            reason: job.reason,
            exit_code: i32::from(job.reason != Reason::None),
            elapsed_us: job.elapsed_us,
            result: &job.result,
        };
        ctx.oracles.produced(&self.settings.uid, &report);
        self.handle(ctx, AgentEvent::Ended(report))?;
        self.handle(ctx, AgentEvent::Flush)
    }

    /// Nothing is left to do or to tell.
    pub(crate) fn is_quiet(&self) -> bool {
        self.process.as_ref().is_some_and(|process| {
            let status = process.agent.status();
            status.waiting + status.running + status.unacknowledged == 0
        }) && self.settler.as_ref().is_none_or(Settler::is_quiet)
    }

    pub(crate) fn describe(&self) -> String {
        let status = self.process.as_ref().map(|process| process.agent.status());
        let settler = self.settler.as_ref().map(Settler::describe);
        format!(
            "{}: {status:?} {}",
            self.settings.uid,
            settler.unwrap_or_default()
        )
    }

    fn link(&self) -> Option<LinkId> {
        self.process.as_ref()?.link
    }

    fn handle(&mut self, ctx: &mut Ctx, event: AgentEvent<'_>) -> Result<(), Violation> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let now = ctx.clock.now();
        process.agent.handle(Instant(now), event, &mut process.effects);
        self.perform(ctx)?;
        while let Some(process) = &mut self.process
            && let Some(token) = process.asks.pop()
        {
            let event = AgentEvent::GrantAsked(token);
            process.agent.handle(Instant(now), event, &mut process.effects);
            self.perform(ctx)?;
        }
        while let Some(process) = &mut self.process
            && let Some(token) = process.prints.pop()
        {
            // What a work prints is its lease, so that whoever reads it can tell whether it is the right one.
            let chunk = LogChunk {
                stream: LogStream::Stdout,
                offset: 0,
                bytes: &token.to_bytes(),
            };
            let said = [AgentEvent::Log { token, chunk }, AgentEvent::LogTold(token)];
            for event in said {
                process.agent.handle(Instant(now), event, &mut process.effects);
            }
            self.perform(ctx)?;
        }
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.agent.check();
        let running = process.jobs.values().map(|job| &*job.template);
        ctx.oracles
            .worker_state(&self.settings, &running, &process.agent.status())?;
        if let Some(due) = process.agent.next_deadline() {
            let at = due.0.max(now);
            if process.tick_at.is_none_or(|planned| planned > at) {
                process.tick_at = Some(at);
                let (peer, life) = (self.id, self.lives);
                ctx.clock.at(at, Event::PeerTick { peer, life });
            }
        }
        Ok(())
    }

    fn perform(&mut self, ctx: &mut Ctx) -> Result<(), Violation> {
        let process = self.process.as_mut().expect("only a process has effects");
        let mut effects = std::mem::take(&mut process.effects);
        for effect in effects.drain() {
            let Some(process) = &mut self.process else { break };
            match effect {
                Effect::Connect => process.link = Some(ctx.net.connect(&mut ctx.clock, self.id)),
                Effect::Disconnect { reason } => {
                    let uid = &self.settings.uid;
                    ctx.trace
                        .tell(ctx.clock.now(), &format!("{uid} closes: {reason}"));
                    ctx.oracles.disconnected(uid, &reason)?;
                    if let Some(link) = process.link.take() {
                        ctx.net.close(&mut ctx.clock, link, End::Peer);
                    }
                }
                Effect::Send(frames) => {
                    if let Some(link) = process.link {
                        ctx.net.send(&mut ctx.clock, link, End::Engine, frames);
                    }
                }
                Effect::Start { token, template, row } => self.run(ctx, token, &template, &row)?,
                Effect::Kill { token, .. } => {
                    ctx.trace.reach("an attempt killed");
                    let delay = self.rng.u64(0..30 * MS);
                    let (peer, life) = (self.id, self.lives);
                    if let Some(job) = process.jobs.get_mut(&token) {
                        job.kills = false;
                    }
                    ctx.clock.after(delay, Event::Ended { peer, life, token });
                }
                Effect::Granted(granted) => {
                    assert!(
                        process.jobs.contains_key(&granted.token),
                        "{} does not run",
                        granted.token
                    );
                    ctx.trace.reach(match granted.answer {
                        GrantAnswer::Granted { .. } => "a grant given",
                        GrantAnswer::Refused { .. } => "a grant refused",
                    });
                }
                Effect::Keep { .. } => unreachable!("no engine of the simulation gives certificates"),
                Effect::FollowLog(token) => {
                    assert!(process.jobs.contains_key(&token), "{token} does not run");
                    process.prints.push(token);
                }
                Effect::UnfollowLog(_) => {}
                Effect::Note(note) => {
                    if matches!(note, Note::DrainOver { .. }) {
                        ctx.trace.reach("a drain over");
                    }
                    if matches!(note, Note::Idle(_)) {
                        ctx.trace.reach("a worker that is told why it idles");
                    }
                    if matches!(note, Note::Holding { .. }) {
                        ctx.trace.reach("a worker that takes no work");
                    }
                    let uid = &self.settings.uid;
                    if !matches!(note, Note::Reconnecting { .. }) && ctx.trace.is_telling() {
                        ctx.trace.tell(ctx.clock.now(), &format!("{uid}: {note:?}"));
                    }
                    ctx.oracles.noted(uid, &note)?;
                }
                Effect::Exit(exit) => {
                    let now = ctx.clock.now();
                    let uid = &self.settings.uid;
                    ctx.trace.note(now, &[22, self.id.0 as u64], || {
                        format!("!! {uid} leaves: {exit:?}")
                    });
                    if let Some(link) = process.link.take() {
                        ctx.net.close(&mut ctx.clock, link, End::Peer);
                    }
                    self.process = None;
                    self.settler.iter_mut().for_each(Settler::crash);
                    let away = self.rng.u64(10 * MS..6 * SEC);
                    ctx.clock.after(away, Event::WorkerStart { peer: self.id });
                }
            }
        }
        if let Some(process) = &mut self.process {
            process.effects = effects;
        }
        Ok(())
    }

    fn run(
        &mut self,
        ctx: &mut Ctx,
        token: LeaseToken,
        template: &Arc<WorkTemplate>,
        row: &[u8],
    ) -> Result<(), Violation> {
        ctx.oracles.ran(&self.settings.uid, token, row)?;
        if self.rng.u8(0..4) == 0
            && let Some(process) = &mut self.process
        {
            process.asks.push(token);
        }
        let takes = self.rng.u64(0..=self.run_max) >> self.rng.u32(0..4);
        let kills = row.first() == Some(&POISON);
        let fails = self.rng.u8(0..100) < self.fail_percent;
        let mut result = Vec::new();
        if !fails {
            result.extend_from_slice(&token.to_bytes());
            result.extend_from_slice(row);
            let filler = self.rng.usize(0..=self.result_bytes_max);
            result.resize(result.len() + filler, token.work.0 as u8);
        }
        if let (false, Some(settler), Ok(ticket)) = (fails, &self.settler, Ticket::parse(&template.ticket)) {
            result = settler.result(&ticket);
        }
        let reason = match (fails, self.rng.u8(0..4)) {
            (false, _) => Reason::None,
            (true, 0) => Reason::NoRoom,
            (true, 1) => Reason::ExecutorFailed,
            (true, _) => Reason::ExitCode,
        };
        let job = Job {
            template: Arc::clone(template),
            reason,
            elapsed_us: (takes / 1_000) as u32,
            result,
            kills,
            is_handing: false,
        };
        let takes = if kills {
            60 * MS + takes
        } else {
            takes.min(template.limits.wall_clock.0 * MS)
        };
        let process = self.process.as_mut().expect("it runs works");
        process.jobs.insert(token, job);
        let (peer, life) = (self.id, self.lives);
        ctx.clock.after(takes, Event::Ended { peer, life, token });
        Ok(())
    }
}
