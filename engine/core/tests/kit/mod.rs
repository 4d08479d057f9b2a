//! A pool for tests: the scheduler between fake workers, fake clients and a fake journal, on a fake clock.
//!
//! Everything crosses in real frames, so that what the scheduler writes is what a peer would read. After every
//! event the invariants are checked, and so is the promise of the journal: a fresh scheduler that replays the
//! records has the same snapshot, byte for byte. A test that ends accounts for all that was said: a message that
//! nobody took fails it.

mod heard;
mod shorthand;

use std::collections::{BTreeMap, VecDeque};

use engine_core::{Certify, Config, Effect, Effects, Event, Fetch, Scheduler};
use wire_protocol::client_link::{FromClient, ToClient};
use wire_protocol::frame;
use wire_protocol::ids::{LinkId, Lsn};
use wire_protocol::joining::Certified;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{
    FromWorker, GrantAnswer, Granted, ToWorker, kind as worker_kind, push_control,
};

pub(crate) use heard::{ClientHeard, Lease, Told, WorkerHeard};
pub(crate) use shorthand::{join, null, rows, tokens};

/// A pool under test.
pub(crate) struct Pool {
    pub(crate) scheduler: Scheduler,
    pub(crate) config: Config,
    pub(crate) now: Instant,
    /// All records since the beginning, durable or not: record `n` is at index `n - 1`.
    pub(crate) journal: Vec<(u8, Vec<u8>)>,
    pub(crate) workers: BTreeMap<LinkId, FakeWorker>,
    pub(crate) clients: BTreeMap<LinkId, FakeClient>,
    /// Links that the scheduler closed, with its reasons.
    pub(crate) closed: Vec<(LinkId, String)>,
    /// Links have room for what may be dropped.
    pub(crate) has_room: bool,
    /// Snapshots that it asked for.
    pub(crate) snapshots_asked: u32,
    /// All effects so far, as bytes.
    pub(crate) transcript: Option<Vec<u8>>,
    effects: Effects,
    durable: Lsn,
    manual: bool,
    waiting: VecDeque<(Lsn, Waiting)>,
    links: u64,
    requests: u32,
    mirror: Option<Box<Scheduler>>,
    checked: bool,
}

enum Waiting {
    Frames(LinkId, Vec<u8>),
    Fetch(Fetch),
}

/// A certificate as this pool's CA signs it: its number, in eight bytes.
fn certified(certify: &Certify) -> Certified {
    Certified {
        certificate: certify.serial.to_le_bytes().to_vec(),
        not_before: certify.not_before,
        not_after: certify.not_after,
    }
}

/// A worker's end of a link.
pub(crate) struct FakeWorker {
    pub(crate) templates: BTreeMap<u32, WorkTemplate>,
    pub(crate) heard: Vec<WorkerHeard>,
    pub(crate) reports: u64,
}

/// A client's end of a link.
#[derive(Default)]
pub(crate) struct FakeClient {
    pub(crate) heard: Vec<ClientHeard>,
}

impl Pool {
    pub(crate) fn new() -> Self {
        Self::with(Config::default())
    }

    pub(crate) fn with(config: Config) -> Self {
        let scheduler = Scheduler::new(config.clone());
        let mirror = Some(Box::new(Scheduler::new(config.clone())));
        let mut pool = Self {
            scheduler,
            config,
            now: Instant(1_000_000_000),
            journal: Vec::new(),
            workers: BTreeMap::new(),
            clients: BTreeMap::new(),
            closed: Vec::new(),
            has_room: true,
            snapshots_asked: 0,
            transcript: None,
            effects: Effects::default(),
            durable: Lsn(0),
            manual: false,
            waiting: VecDeque::new(),
            links: 0,
            requests: 1_000,
            mirror,
            checked: true,
        };
        pool.start();
        pool
    }

    /// Without the checks that look at everything: for pools of a million works.
    pub(crate) fn unchecked(mut self) -> Self {
        self.mirror = None;
        self.checked = false;
        self
    }

    /// Records stay volatile until [`Self::durable`] says otherwise.
    pub(crate) fn hold_durability(&mut self) {
        self.manual = true;
    }

    /// All records up to this one are durable; what waited for them goes out.
    pub(crate) fn durable(&mut self, lsn: Lsn) {
        assert!(lsn >= self.durable && lsn <= self.scheduler.last_lsn(), "{lsn}");
        self.durable = lsn;
        while let Some((after, _)) = self.waiting.front()
            && *after <= self.durable
        {
            let (_, waiting) = self.waiting.pop_front().expect("just seen");
            self.deliver(waiting);
        }
    }

    pub(crate) fn all_durable(&mut self) {
        self.durable(self.scheduler.last_lsn());
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.scheduler.last_lsn()
    }

    pub(crate) fn durable_lsn(&self) -> Lsn {
        self.durable
    }

    pub(crate) fn new_link(&mut self) -> LinkId {
        self.links += 1;
        LinkId(self.links)
    }

    pub(crate) fn new_request(&mut self) -> u32 {
        self.requests += 1;
        self.requests
    }

    /// Gives the scheduler an event, does what it wants, and checks everything.
    pub(crate) fn handle(&mut self, event: Event<'_>) {
        let mut effects = std::mem::take(&mut self.effects);
        effects.clear();
        self.scheduler.handle(self.now, event, &mut effects);
        self.perform(&mut effects);
        self.effects = effects;
        self.check();
    }

    fn start(&mut self) {
        let mut effects = Effects::default();
        self.scheduler.start(self.now, &mut effects);
        self.perform(&mut effects);
        self.check();
    }

    fn perform(&mut self, effects: &mut Effects) {
        for (kind, payload) in effects.records() {
            self.journal.push((kind, payload.to_vec()));
            if let Some(mirror) = &mut self.mirror {
                mirror
                    .replay(Lsn(self.journal.len() as u64), kind, payload)
                    .expect("what was just recorded can be replayed");
            }
        }
        assert_eq!(
            Lsn(self.journal.len() as u64),
            self.scheduler.last_lsn(),
            "positions have no gap and no repeat"
        );
        if let Some(transcript) = &mut self.transcript {
            for (kind, payload) in effects.records() {
                transcript.push(kind);
                transcript.extend_from_slice(payload);
            }
            transcript.extend_from_slice(format!("{:?}", effects.list).as_bytes());
            transcript.extend_from_slice(&effects.frames);
        }
        if !self.manual {
            self.durable = self.scheduler.last_lsn();
        }
        for effect in std::mem::take(&mut effects.list) {
            match effect {
                Effect::Send { link, after, frames } => {
                    assert!(after <= self.scheduler.last_lsn(), "nothing waits for the future");
                    let frames = Waiting::Frames(link, effects.frames[frames].to_vec());
                    self.deliver_after(after, frames);
                }
                Effect::Spare { link, frames } => {
                    if self.has_room {
                        self.deliver(Waiting::Frames(link, effects.frames[frames].to_vec()));
                    }
                }
                Effect::Close { link, reason } => self.closed.push((link, reason)),
                Effect::Fetch(fetch) => self.deliver_after(fetch.after, Waiting::Fetch(*fetch)),
                Effect::Grant { link, after, claims } => {
                    let granted = Granted {
                        token: claims.token,
                        // As it would be signed, but to be read.
                        answer: GrantAnswer::Granted {
                            url: "https://files".to_owned(),
                            grant: format!("{claims:?}"),
                        },
                    };
                    let mut frame = Vec::new();
                    push_control(&mut frame, worker_kind::GRANTED, &granted);
                    self.deliver_after(after, Waiting::Frames(link, frame));
                }
                Effect::Certify(certify) => {
                    let mut frame = Vec::new();
                    push_control(&mut frame, worker_kind::CERTIFICATE, &certified(&certify));
                    self.deliver_after(certify.after, Waiting::Frames(certify.link, frame));
                }
                Effect::Snapshot => self.snapshots_asked += 1,
            }
        }
    }

    fn deliver_after(&mut self, after: Lsn, waiting: Waiting) {
        if after <= self.durable {
            self.deliver(waiting);
        } else {
            self.waiting.push_back((after, waiting));
        }
    }

    fn deliver(&mut self, waiting: Waiting) {
        let (link, bytes) = match waiting {
            Waiting::Frames(link, bytes) => (link, bytes),
            Waiting::Fetch(fetch) => {
                let link = fetch.link;
                let mut bytes = Vec::new();
                let journal = &self.journal;
                let durable = self.durable;
                let mut read = |lsn: Lsn, payload: &mut Vec<u8>| {
                    assert!(lsn <= durable, "only durable records are read");
                    let (kind, bytes) = journal.get(lsn.index().checked_sub(1)?)?;
                    payload.clear();
                    payload.extend_from_slice(bytes);
                    Some(*kind)
                };
                fetch.complete(&mut read, &mut bytes);
                (link, bytes)
            }
        };
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (kind, payload, used) = frame::split_first(rest)
                .expect("the scheduler keeps the bound of frames")
                .expect("the scheduler sends whole frames");
            if let Some(worker) = self.workers.get_mut(&link) {
                worker.hear(ToWorker::parse(kind, payload).expect("a worker can read what it is sent"));
            } else if let Some(client) = self.clients.get_mut(&link) {
                client.hear(ToClient::parse(kind, payload).expect("a client can read what it is sent"));
            }
            rest = &rest[used..];
        }
    }

    /// Every invariant, and the promise of the journal.
    pub(crate) fn check(&mut self) {
        if !self.checked {
            return;
        }
        self.scheduler.check();
        if let Some(mirror) = &self.mirror {
            mirror.check();
            assert!(
                snapshot(&self.scheduler) == snapshot(mirror),
                "a replay of the records leads to another state"
            );
        }
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        snapshot(&self.scheduler)
    }

    /// The engine dies; records up to `kept` were written, at least all durable ones. All links are gone.
    /// It starts again `after` a while, from a snapshot if there is one, and records are durable at once again.
    pub(crate) fn crash(&mut self, kept: Lsn, after: Millis, from: Option<&[u8]>) {
        let kept = kept.max(self.durable).min(self.scheduler.last_lsn());
        self.journal.truncate(kept.index());
        self.durable = kept;
        self.waiting.clear();
        self.manual = false;
        self.workers.clear();
        self.clients.clear();
        self.now = self.now + after;
        self.scheduler = Scheduler::new(self.config.clone());
        if let Some(snapshot) = from {
            self.scheduler
                .restore(snapshot)
                .expect("a snapshot can be restored");
        }
        let replayed = self.scheduler.last_lsn().index();
        for (index, (kind, payload)) in self.journal.iter().enumerate().skip(replayed) {
            self.scheduler
                .replay(Lsn(index as u64 + 1), *kind, payload)
                .expect("the journal can be replayed");
        }
        if self.mirror.is_some() {
            let mut mirror = Box::new(Scheduler::new(self.config.clone()));
            for (index, (kind, payload)) in self.journal.iter().enumerate() {
                mirror
                    .replay(Lsn(index as u64 + 1), *kind, payload)
                    .expect("the journal can be replayed");
            }
            assert!(
                snapshot(&self.scheduler) == snapshot(&mirror),
                "a snapshot and the records behind it lead to another state than all records"
            );
            self.mirror = Some(mirror);
        }
        assert!(
            self.scheduler.clock_floor() <= self.now,
            "records come from the past"
        );
        self.start();
    }

    /// A crash that loses nothing.
    pub(crate) fn restart(&mut self) {
        self.crash(self.lsn(), Millis(100), None);
    }

    /// Time passes and every worker gives signs of life.
    pub(crate) fn advance(&mut self, time: Millis) {
        let end = self.now + time;
        while self.now < end {
            let step = (self.now + Millis(500)).min(end);
            self.run_until(step);
            let links: Vec<LinkId> = self.workers.keys().copied().collect();
            for link in links {
                self.handle(Event::LinkAlive { link });
            }
        }
    }

    /// Time passes and nobody says anything.
    pub(crate) fn silence(&mut self, time: Millis) {
        self.run_until(self.now + time);
    }

    /// Time passes and the engine notices nothing of it.
    pub(crate) fn stall(&mut self, time: Millis) {
        self.now = self.now + time;
    }

    fn run_until(&mut self, end: Instant) {
        while let Some(due) = self.scheduler.next_deadline()
            && due <= end
        {
            self.now = self.now.max(due);
            self.handle(Event::Tick);
        }
        self.now = end;
        self.handle(Event::Tick);
    }

    pub(crate) fn worker_says(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let (kind, payload, used) = frame::split_first(&bytes).expect("short").expect("whole");
        assert_eq!(used, bytes.len(), "one frame at a time");
        let message = FromWorker::parse(kind, payload).expect("tests speak the protocol");
        self.handle(Event::WorkerSaid { link, message });
    }

    pub(crate) fn client_says(&mut self, link: LinkId, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        let (kind, payload, used) = frame::split_first(&bytes).expect("short").expect("whole");
        assert_eq!(used, bytes.len(), "one frame at a time");
        let message = FromClient::parse(kind, payload).expect("tests speak the protocol");
        self.handle(Event::ClientSaid { link, message });
    }

    /// The peer's link goes. What it had not read is lost.
    pub(crate) fn close(&mut self, link: LinkId) {
        self.workers.remove(&link);
        self.clients.remove(&link);
        self.handle(Event::LinkClosed { link });
    }

    /// Asserts that the scheduler closed this link and forgets about it.
    pub(crate) fn was_closed(&mut self, link: LinkId, why: &str) {
        let at = self.closed.iter().position(|(closed, _)| *closed == link);
        let (_, reason) = self
            .closed
            .remove(at.unwrap_or_else(|| panic!("{link} was not closed")));
        assert!(reason.contains(why), "{link} was closed because {reason:?}");
        self.close(link);
    }

    /// Forgets what this peer heard.
    pub(crate) fn ignore(&mut self, link: LinkId) {
        if let Some(worker) = self.workers.get_mut(&link) {
            worker.heard.clear();
        }
        if let Some(client) = self.clients.get_mut(&link) {
            client.heard.clear();
        }
    }

    pub(crate) fn ignore_all(&mut self) {
        let links: Vec<LinkId> = self.workers.keys().chain(self.clients.keys()).copied().collect();
        links.into_iter().for_each(|link| self.ignore(link));
        self.closed.clear();
        self.snapshots_asked = 0;
    }
}

/// Asserts that all that was said has been looked at.
impl Drop for Pool {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (link, worker) in &self.workers {
            assert!(
                worker.heard.is_empty(),
                "the worker on {link} also heard {:?}",
                worker.heard
            );
        }
        for (link, client) in &self.clients {
            assert!(
                client.heard.is_empty(),
                "the client on {link} also heard {:?}",
                client.heard
            );
        }
        assert!(self.closed.is_empty(), "links were closed: {:?}", self.closed);
        assert_eq!(self.snapshots_asked, 0, "snapshots were asked for");
    }
}

pub(crate) fn snapshot(scheduler: &Scheduler) -> Vec<u8> {
    let mut bytes = Vec::new();
    scheduler.snapshot(&mut bytes);
    bytes
}
