//! A worker core between a scripted engine and scripted executors. Every effect is looked at: an effect that a
//! scenario does not expect fails it.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId, WorkerId};
use wire_protocol::log::LogStream;
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{
    Assignments, Draining, FromWorker, GrantAnswer, Granted, Join, Notice, Refused, RefusedCode, Report,
    TemplateDefined, Tokens, Welcome, kind, push_control, push_empty, push_recorded,
};
use worker_core::{Agent, Disconnect, Effect, Effects, Event, Exit, Note, Settings};

pub(crate) const LEASE: Millis = Millis::from_secs(30);
pub(crate) const HEARTBEAT: Millis = Millis::from_secs(5);
pub(crate) const PROCESS: u32 = 1;
pub(crate) const NULL: u32 = 2;
pub(crate) const ELSEWHERE: u32 = 3;
/// Its works take a licence each.
pub(crate) const LICENSED: u32 = 4;

/// What the worker did, in the words of a scenario.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Did {
    Connect,
    Disconnect(Disconnect),
    Start(u64),
    Kill(u64, Reason),
    Note(Note),
    Exit(Exit),
    Keep(Vec<u8>),
    /// Frames.
    Join(Box<Join>),
    /// Number of the first report; works, reasons and lengths of results.
    Finished(u64, Vec<(u64, Reason, usize)>),
    Started(Vec<u64>),
    Retracted(Reason, Vec<u64>),
    Ping,
    Draining(Option<Millis>),
    GrantAsked(Vec<u64>),
    /// The executor hears.
    Granted(Granted),
    Holding(Option<String>),
    Renew(Vec<u8>),
    WhyIdle,
    /// Work, stream, offset and bytes.
    Log(u64, LogStream, u64, Vec<u8>),
    LogTold(Vec<u64>),
    FollowLog(u64),
    UnfollowLog(u64),
}

pub(crate) struct World {
    pub(crate) agent: Agent,
    pub(crate) now: Instant,
    pub(crate) effects: Effects,
    did: Vec<Did>,
    /// Rows of started works, by work.
    pub(crate) rows: BTreeMap<u64, Box<[u8]>>,
    /// Templates of started works, by work.
    pub(crate) templates: BTreeMap<u64, Arc<WorkTemplate>>,
}

/// First attempt at this work.
pub(crate) fn token(work: u64) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(1),
        attempt: Attempt(1),
        shard: Shard(0),
    }
}

pub(crate) fn settings(slots: u32, prefill: u32) -> Settings {
    Settings {
        login: "vworker".to_owned(),
        password: "vworkerp".to_owned(),
        identity: None,
        uid: "uid".to_owned(),
        name: "name".to_owned(),
        version: "0".to_owned(),
        offer: Offer {
            executors: vec!["null".to_owned(), "process".to_owned()],
            slots,
            prefill,
            ..Offer::default()
        },
        warm: Vec::new(),
    }
}

/// Counts two licences.
pub(crate) fn licensed(slots: u32, prefill: u32) -> Settings {
    let mut settings = settings(slots, prefill);
    settings.offer.custom = vec![("licence".to_owned(), 2)];
    settings
}

/// A template of the executor `process` whose works take so many licences.
pub(crate) fn taking(licences: u64) -> WorkTemplate {
    let mut template = WorkTemplate {
        command: vec!["true".to_owned()],
        ..WorkTemplate::default()
    };
    template.requirements.custom = vec![("licence".to_owned(), licences)];
    template
}

pub(crate) fn welcome(adopted: &[u64]) -> Welcome {
    Welcome {
        worker: WorkerId(9),
        shard: Shard(0),
        epoch: Epoch(1),
        lease_timeout: LEASE,
        heartbeat: HEARTBEAT,
        adopted: adopted.iter().copied().map(token).collect(),
    }
}

fn works(tokens: impl Iterator<Item = LeaseToken>) -> Vec<u64> {
    tokens.map(|token| token.work.0).collect()
}

impl World {
    pub(crate) fn new(slots: u32, prefill: u32) -> Self {
        Self::of(settings(slots, prefill))
    }

    pub(crate) fn of(settings: Settings) -> Self {
        Self {
            agent: Agent::new(settings, 7),
            now: Instant(1_000_000_000),
            effects: Effects::new(),
            did: Vec::new(),
            rows: BTreeMap::new(),
            templates: BTreeMap::new(),
        }
    }

    /// A worker that has joined, with the templates [`PROCESS`], [`NULL`] and [`ELSEWHERE`] defined.
    pub(crate) fn joined(slots: u32, prefill: u32) -> Self {
        let mut world = Self::new(slots, prefill);
        world.join(&[]);
        world.did.clear();
        world
    }

    /// Connects when it is time, and is welcomed with these adopted. The effects stay to be looked at.
    pub(crate) fn join(&mut self, adopted: &[u64]) {
        self.connect();
        self.welcome(&welcome(adopted));
        self.define_all();
    }

    pub(crate) fn connect(&mut self) {
        self.tick_at_deadline();
        self.event(Event::Connected { wallet: None });
    }

    pub(crate) fn welcome(&mut self, welcome: &Welcome) {
        self.control(kind::WELCOME, welcome);
    }

    pub(crate) fn define_all(&mut self) {
        for (number, app) in [
            (PROCESS, "process"),
            (NULL, "null:3"),
            (ELSEWHERE, "docker:alpine"),
        ] {
            self.define(number, app);
        }
        self.define_as(LICENSED, taking(1));
    }

    pub(crate) fn define(&mut self, template: u32, app: &str) {
        let definition = WorkTemplate {
            app: app.to_owned(),
            command: vec!["true".to_owned()],
            ..WorkTemplate::default()
        };
        self.define_as(template, definition);
    }

    pub(crate) fn define_as(&mut self, template: u32, definition: WorkTemplate) {
        self.control(kind::TEMPLATE, &TemplateDefined { template, definition });
    }

    pub(crate) fn event(&mut self, event: Event<'_>) {
        self.agent.handle(self.now, event, &mut self.effects);
        self.agent.check();
        for effect in self.effects.drain() {
            match effect {
                Effect::Connect => self.did.push(Did::Connect),
                Effect::Disconnect { reason } => self.did.push(Did::Disconnect(reason)),
                Effect::Send(bytes) => Self::read(bytes, &mut self.did),
                Effect::Start { token, row, template } => {
                    self.templates.insert(token.work.0, template);
                    self.rows.insert(token.work.0, row);
                    self.did.push(Did::Start(token.work.0));
                }
                Effect::Kill { token, reason } => self.did.push(Did::Kill(token.work.0, reason)),
                Effect::Granted(granted) => self.did.push(Did::Granted(granted)),
                Effect::FollowLog(token) => self.did.push(Did::FollowLog(token.work.0)),
                Effect::UnfollowLog(token) => self.did.push(Did::UnfollowLog(token.work.0)),
                Effect::Note(note) => self.did.push(Did::Note(note)),
                Effect::Exit(exit) => self.did.push(Did::Exit(exit)),
                Effect::Keep { certificate } => self.did.push(Did::Keep(certificate)),
            }
        }
    }

    fn read(mut bytes: &[u8], did: &mut Vec<Did>) {
        while let Some((kind, payload, used)) = frame::split_first(bytes).expect("frames within bounds") {
            did.push(
                match FromWorker::parse(kind, payload).expect("the engine can read it") {
                    FromWorker::Join(join) => Did::Join(join),
                    FromWorker::Finished(reports) => Did::Finished(
                        reports.first(),
                        reports
                            .iter()
                            .map(|r| (r.token.work.0, r.reason, r.result.len()))
                            .collect(),
                    ),
                    FromWorker::Started(tokens) => Did::Started(works(tokens.iter())),
                    FromWorker::Retracted(tokens) => Did::Retracted(tokens.reason(), works(tokens.iter())),
                    FromWorker::Ping => Did::Ping,
                    FromWorker::Draining(Draining { within }) => Did::Draining(within),
                    FromWorker::GrantAsked(tokens) => Did::GrantAsked(works(tokens.iter())),
                    FromWorker::Holding(holding) => Did::Holding(holding.problem),
                    FromWorker::Renew(renew) => Did::Renew(renew.request),
                    FromWorker::Log(log) => Did::Log(
                        log.token.work.0,
                        log.chunk.stream,
                        log.chunk.offset,
                        log.chunk.bytes.to_vec(),
                    ),
                    FromWorker::LogTold(tokens) => Did::LogTold(works(tokens.iter())),
                    FromWorker::WhyIdle => Did::WhyIdle,
                },
            );
            bytes = &bytes[used..];
        }
        assert!(bytes.is_empty(), "half a frame was sent");
    }

    /// What it did since it was last asked.
    pub(crate) fn did(&mut self) -> Vec<Did> {
        std::mem::take(&mut self.did)
    }

    /// The same without notes for people.
    pub(crate) fn acted(&mut self) -> Vec<Did> {
        let mut did = self.did();
        did.retain(|did| !matches!(did, Did::Note(_)));
        did
    }

    pub(crate) fn frames(&mut self, mut bytes: &[u8]) {
        while let Some((kind, payload, used)) = frame::split_first(bytes).expect("whole frames") {
            self.event(Event::Frame { kind, payload });
            bytes = &bytes[used..];
        }
    }

    pub(crate) fn control<T: serde::Serialize>(&mut self, kind: u8, message: &T) {
        let mut bytes = Vec::new();
        push_control(&mut bytes, kind, message);
        self.frames(&bytes);
    }

    pub(crate) fn assign(&mut self, template: u32, works: &[u64]) {
        self.assign_rows(
            template,
            &works.iter().map(|w| (*w, &b"row"[..])).collect::<Vec<_>>(),
        );
    }

    pub(crate) fn assign_rows(&mut self, template: u32, works: &[(u64, &[u8])]) {
        let mut bytes = Vec::new();
        frame::push(&mut bytes, kind::ASSIGN, |out| {
            out.extend_from_slice(&template.to_le_bytes());
            for (work, row) in works {
                Assignments::put(out, token(*work), row);
            }
        });
        self.frames(&bytes);
    }

    pub(crate) fn tokens(&mut self, kind: u8, reason: Reason, works: &[u64]) {
        let mut bytes = Vec::new();
        Tokens::push(&mut bytes, kind, reason, works.iter().copied().map(token));
        self.frames(&bytes);
    }

    pub(crate) fn retract(&mut self, works: &[u64]) {
        self.tokens(kind::RETRACT, Reason::Retracted, works);
    }

    pub(crate) fn cancel(&mut self, works: &[u64]) {
        self.tokens(kind::CANCEL, Reason::ByUser, works);
    }

    pub(crate) fn recorded(&mut self, upto: u64) {
        let mut bytes = Vec::new();
        push_recorded(&mut bytes, upto);
        self.frames(&bytes);
    }

    pub(crate) fn notice(&mut self, notice: &Notice) {
        self.control(kind::NOTICE, notice);
    }

    pub(crate) fn refuse(&mut self, code: RefusedCode, retry_after: Millis) {
        let refused = Refused {
            code,
            reason: "because".to_owned(),
            retry_after,
        };
        self.control(kind::REFUSED, &refused);
    }

    pub(crate) fn pong(&mut self) {
        let mut bytes = Vec::new();
        push_empty(&mut bytes, kind::PONG);
        self.frames(&bytes);
    }

    /// The executor is done with it, successfully.
    pub(crate) fn ended(&mut self, work: u64) {
        self.ended_with(work, b"result");
    }

    pub(crate) fn ended_with(&mut self, work: u64, result: &[u8]) {
        self.event(Event::Ended(Report {
            token: token(work),
            reason: Reason::None,
            exit_code: 0,
            elapsed_us: 1,
            result,
        }));
    }

    pub(crate) fn granted(&mut self, work: u64) -> Granted {
        let granted = Granted {
            token: token(work),
            answer: GrantAnswer::Granted {
                url: "https://pool".to_owned(),
                grant: "grant".to_owned(),
            },
        };
        self.control(kind::GRANTED, &granted);
        granted
    }

    pub(crate) fn flush(&mut self) {
        self.event(Event::Flush);
    }

    pub(crate) fn lose_link(&mut self) {
        self.event(Event::Disconnected { reason: "gone" });
    }

    pub(crate) fn pass(&mut self, time: Millis) {
        self.now = self.now + time;
    }

    pub(crate) fn tick(&mut self) {
        self.event(Event::Tick);
    }

    /// Goes to the next deadline and says that it has come.
    pub(crate) fn tick_at_deadline(&mut self) {
        let due = self
            .agent
            .next_deadline()
            .expect("there is something to wait for");
        self.now = self.now.max(due);
        self.tick();
    }

    /// Lets time pass, with every deadline on its way.
    pub(crate) fn run_for(&mut self, time: Millis) {
        let end = self.now + time;
        while let Some(due) = self.agent.next_deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.tick();
        }
        self.now = end;
    }
}
