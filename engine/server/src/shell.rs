//! The main thread's hands: frames in, events to the core, effects out.

mod admission;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError};

use engine_core::{Effect, Effects, Event, Fetch, Pressure, Scheduler};
use engine_queue::exchange::{Filler, Published};
use engine_queue::mailbox::Receiver;
use wire_link::{ClientCa, ClientRequest, Close, Handler, Links, ListenerId, Peer, SendStatus, Turn, slot};
use wire_protocol::client_link::FromClient;
use wire_protocol::codec::DecodeError;
use wire_protocol::file::Claims;
use wire_protocol::ids::{LinkId, Lsn};
use wire_protocol::units::Instant;
use wire_protocol::worker_link::{self, FromWorker, Granted, push_control};

use crate::auth::Auth;
use crate::clock::Clock;
use crate::commit::Commit;
use crate::config::Durability;
use crate::grants::Grants;
use crate::metrics::{Numbers, Publisher};
use crate::outbox::{Outbox, Released};
use crate::shared::{DiskState, Mail, Shared};
use crate::upkeep::Snapshot;

/// The listener of clients; all others are for workers.
pub(crate) const CLIENTS: ListenerId = ListenerId(0);

/// Close codes of the engine, beside those of the link.
mod close {
    use wire_link::code::OWNER_FIRST;
    /// The login or password is wrong, or too many were.
    pub(super) const CREDENTIALS: u32 = OWNER_FIRST;
    /// A message is malformed or out of place.
    pub(super) const PROTOCOL: u32 = OWNER_FIRST + 1;
    /// The core closed the link; the reason says why.
    pub(super) const CORE: u32 = OWNER_FIRST + 2;
}

/// Bytes of records that may be on their way to the disk before submissions are refused: so many, or a share of a
/// segment if that is less. When the disk turns out to be full they are accepted already and go into the reserve, which
/// is a segment and still has to hold the ends of what runs.
const BEHIND_BYTES: u64 = 16 << 20;
const BEHIND_SHARE: u64 = 4;
/// Submissions are taken again when no more than this share of it is left.
const CAUGHT_UP_SHARE: u64 = 16;

/// Bytes that may wait for a link before what can be spared (output of works that somebody follows) is dropped: a second's
/// worth of one work, and far below what makes a link full.
const SPARE_BYTES: usize = 256 << 10;

/// How often numbers are published, in nanoseconds of pool time.
const PUBLISH_EVERY_NS: u64 = 10_000_000;

/// What a record may add to a batch beside its payload: its own header, and the padding to a whole sector.
const RECORD_OVERHEAD_BYTES: u64 = 1024;

/// How often a start looks whether its first record is durable.
const START_PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

/// Letters taken from the mailbox per turn.
const MAIL_PER_TURN: usize = 256;

/// What a link may say.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// Its first message decides.
    Unknown(SocketAddr),
    Worker,
    Client,
    /// It was refused or closed; what it still says is not heard.
    Closed,
}

pub(crate) struct Shell {
    pub(crate) core: Scheduler,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) started: std::time::Instant,
    effects: Effects,
    outbox: Outbox,
    batch: Commit,
    batches: Option<Filler<Commit>>,
    /// Bytes that a batch may have at most.
    batch_bytes_max: u64,
    /// Batches that the journal thread has and that are not known to be durable: the last record and the bytes of each.
    written: VecDeque<(Lsn, u64)>,
    durability: Durability,
    mail: Receiver<Mail>,
    fetches: SyncSender<Box<Fetch>>,
    /// Fetches for which the fetch thread had no room.
    waiting_fetches: VecDeque<Box<Fetch>>,
    snapshots: SyncSender<Snapshot>,
    /// That of the snapshot before: memory that was touched already costs no page faults, which on a virtual machine
    /// are most of the time that a snapshot takes.
    snapshot_buffer: Vec<u8>,
    auth: Auth,
    grants: Grants,
    /// Signs the certificates of workers.
    ca: ClientCa,
    speakers: Vec<Speaker>,
    /// Links that took frames and have more waiting than they should.
    full: Vec<LinkId>,
    pressure: Pressure,
    durable: Lsn,
    now: Instant,
    /// The clock was read in this turn.
    now_fresh: bool,
    numbers: Numbers,
    publisher: Publisher,
    published_at: Instant,
}

/// The ends of the channels that the shell holds.
pub(crate) struct Channels {
    pub(crate) batches: Filler<Commit>,
    pub(crate) batch_bytes_max: u64,
    pub(crate) durability: Durability,
    pub(crate) mail: Receiver<Mail>,
    pub(crate) fetches: SyncSender<Box<Fetch>>,
    pub(crate) snapshots: SyncSender<Snapshot>,
    pub(crate) publisher: Publisher,
}

impl Shell {
    pub(crate) fn new(
        core: Scheduler,
        clock: Clock,
        shared: Arc<Shared>,
        auth: Auth,
        grants: Grants,
        ca: ClientCa,
        channels: Channels,
    ) -> Self {
        let now = clock.now();
        Self {
            durable: shared.durable(),
            core,
            clock,
            shared,
            started: std::time::Instant::now(),
            effects: Effects::default(),
            outbox: Outbox::default(),
            batch: Commit::default(),
            batches: Some(channels.batches),
            batch_bytes_max: channels.batch_bytes_max,
            written: VecDeque::new(),
            durability: channels.durability,
            mail: channels.mail,
            fetches: channels.fetches,
            waiting_fetches: VecDeque::new(),
            snapshots: channels.snapshots,
            snapshot_buffer: Vec::new(),
            auth,
            grants,
            ca,
            speakers: Vec::new(),
            full: Vec::new(),
            pressure: Pressure::None,
            now,
            now_fresh: false,
            numbers: Numbers::default(),
            publisher: channels.publisher,
            published_at: Instant(0),
        }
    }

    /// Takes up the shard.
    pub(crate) fn start(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        self.core.start(self.clock.now(), &mut effects);
        self.effects = effects;
        self.keep_records();
        assert!(self.effects.list.is_empty(), "nobody is connected yet");
        self.effects.clear();
        self.commit();
        // Nobody may hear of an epoch that a crash could forget: the next start would use its number again, and
        // the leases of both would look alike.
        while self.shared.durable() < self.core.last_lsn() && self.shared.failed.get().is_none() {
            std::thread::sleep(START_PAUSE);
        }
    }

    /// How long a turn may wait. The main loop shows itself alive at least once a second.
    pub(crate) fn timeout(&self) -> std::time::Duration {
        let idle = std::time::Duration::from_secs(1);
        let due = self.core.next_deadline().map_or(idle, |due| {
            std::time::Duration::from_nanos(due.0.saturating_sub(self.clock.now().0))
        });
        due.min(idle)
    }

    /// Nothing waits that came from another thread.
    pub(crate) fn nothing_waits(&self) -> bool {
        self.mail.is_empty()
            && self.shared.durable() == self.durable
            && self.wanted_pressure() == self.pressure
            && !self.shared.is_stopping()
            && self.shared.failed.get().is_none()
    }

    /// Everything up to this record is durable, and whatever waited for it is told.
    pub(crate) fn has_told(&self, upto: Lsn) -> bool {
        self.durable >= upto
    }

    /// Everything that was handled is durable and told.
    pub(crate) fn is_settled(&self) -> bool {
        self.batch.records.is_empty()
            && self.outbox.is_empty()
            && self.shared.durable() == self.core.last_lsn()
    }

    /// Asks for the last snapshot, then lets go of the journal thread.
    pub(crate) fn finish(&mut self) {
        self.take_snapshot(true);
        self.batches = None;
    }

    /// Time of this turn; read once, because a turn is short and reading costs as much as a work.
    fn now(&mut self) -> Instant {
        if !self.now_fresh {
            self.now = self.clock.now();
            self.now_fresh = true;
        }
        self.now
    }

    fn handle(&mut self, links: &mut Links, event: Event<'_>) {
        let now = self.now();
        self.core.handle(now, event, &mut self.effects);
        self.perform(links);
    }

    /// Performs all effects of an event, in order, records first.
    fn perform(&mut self, links: &mut Links) {
        self.keep_records();
        let mut list = std::mem::take(&mut self.effects.list);
        for effect in list.drain(..) {
            match effect {
                Effect::Send { link, after, frames } => {
                    let effects = std::mem::take(&mut self.effects.frames);
                    self.tell(links, link, after, &effects[frames]);
                    self.effects.frames = effects;
                }
                Effect::Certify(certify) => self.certify(links, &certify),
                Effect::Spare { link, frames } => {
                    let frames = &self.effects.frames[frames];
                    if links.backlog(link) + frames.len() <= SPARE_BYTES {
                        Self::send(&mut self.full, links, link, frames);
                    }
                }
                Effect::Close { link, reason } => {
                    self.set_speaker(link, Speaker::Closed);
                    tracing::info!(%link, reason, "closing a link");
                    links.close(link, close::CORE, &reason);
                }
                Effect::Fetch(fetch) => self.outbox.push_fetch(fetch),
                Effect::Grant { link, after, claims } => self.grant(links, link, after, &claims),
                Effect::Snapshot => self.take_snapshot(false),
            }
        }
        self.effects.list = list;
        self.effects.clear();
    }

    fn grant(&mut self, links: &mut Links, link: LinkId, after: Lsn, claims: &Claims) {
        let granted = Granted {
            token: claims.token,
            answer: self.grants.answer(claims),
        };
        let mut frame = Vec::new();
        push_control(&mut frame, worker_link::kind::GRANTED, &granted);
        self.tell(links, link, after, &frame);
    }

    /// Sends frames once everything up to `after` is durable.
    #[inline]
    fn tell(&mut self, links: &mut Links, link: LinkId, after: Lsn, frames: &[u8]) {
        if after <= self.durable || self.durability == Durability::Memory {
            Self::send(&mut self.full, links, link, frames);
        } else {
            self.outbox.push_frames(after, link, frames);
        }
    }

    fn send(full: &mut Vec<LinkId>, links: &mut Links, link: LinkId, frames: &[u8]) {
        if links.send(link, frames) == SendStatus::Full {
            full.push(link);
        }
    }

    /// Puts the records of the effects into the batch, and into the next one where they do not fit.
    fn keep_records(&mut self) {
        let count = self.effects.records_len() as u64;
        if count == 0 {
            return;
        }
        let mut lsn = Lsn(self.core.last_lsn().0 - count + 1);
        let effects = std::mem::take(&mut self.effects);
        for (kind, payload) in effects.records() {
            self.make_room(payload.len() as u64 + RECORD_OVERHEAD_BYTES);
            if self.batch.records.is_empty() {
                self.batch.first = lsn;
            }
            self.batch.records.push(kind, payload);
            lsn = lsn.next();
        }
        self.effects = effects;
    }

    /// A batch has to fit a segment. Submissions are refused long before it gets so far; if all workers report at
    /// once and the disk stands still, the only way left is to wait for it.
    fn make_room(&mut self, bytes: u64) {
        while !self.batch.records.is_empty() && self.batch.records.bytes() + bytes > self.batch_bytes_max {
            if self.shared.failed.get().is_some() {
                // Nothing is written any more, and the main loop ends with its next turn.
                return self.batch.records.clear();
            }
            self.commit();
            std::thread::yield_now();
        }
    }

    /// Hands the batch to the journal thread, if that has room; otherwise it goes on filling.
    fn commit(&mut self) {
        if self.batch.records.is_empty() {
            return;
        }
        let records = &self.batch.records;
        let last = Lsn(self.batch.first.0 + u64::from(records.len()) - 1);
        let bytes = records.bytes();
        if let Some(batches) = &mut self.batches {
            match batches.publish(&mut self.batch) {
                Published::Sent => self.written.push_back((last, bytes)),
                // Closed: the thread has ended on a failure, which the main loop sees.
                Published::Full | Published::Closed => {}
            }
        }
    }

    fn take_snapshot(&mut self, last: bool) {
        let began = std::time::Instant::now();
        let mut bytes = std::mem::take(&mut self.snapshot_buffer);
        bytes.clear();
        self.core.snapshot(&mut bytes);
        tracing::info!(
            bytes = bytes.len(),
            after_us = began.elapsed().as_micros() as u64,
            "a snapshot is taken"
        );
        let snapshot = Snapshot {
            lsn: self.core.last_lsn(),
            bytes,
        };
        let sent = if last {
            self.snapshots.send(snapshot).map_err(drop)
        } else {
            self.snapshots.try_send(snapshot).map_err(drop)
        };
        if sent.is_err() {
            tracing::warn!("no snapshot was made: the one before is still being written");
        }
    }

    fn speaker(&self, link: LinkId) -> Speaker {
        self.speakers.get(slot(link)).copied().unwrap_or(Speaker::Closed)
    }

    fn set_speaker(&mut self, link: LinkId, speaker: Speaker) {
        let slot = slot(link);
        if self.speakers.len() <= slot {
            self.speakers.resize(slot + 1, Speaker::Closed);
        }
        self.speakers[slot] = speaker;
    }

    fn parsed<T>(&mut self, message: Result<T, DecodeError>) -> Result<T, Close> {
        message.map_err(|error| {
            self.numbers.protocol_errors += 1;
            Close::new(close::PROTOCOL, error.to_string())
        })
    }

    fn out_of_place(&mut self, reason: &'static str) -> Close {
        self.numbers.protocol_errors += 1;
        Close::new(close::PROTOCOL, reason)
    }

    /// Lets go what waited for durability.
    fn release(&mut self, links: &mut Links) {
        self.durable = self.shared.durable();
        while self
            .written
            .pop_front_if(|(last, _)| *last <= self.durable)
            .is_some()
        {}
        let Self {
            outbox,
            full,
            waiting_fetches,
            ..
        } = self;
        outbox.release(self.durable, |released| match released {
            Released::Frames { link, frames } => Self::send(full, links, link, frames),
            Released::Fetch(fetch) => waiting_fetches.push_back(fetch),
        });
        while let Some(fetch) = self.waiting_fetches.pop_front() {
            if let Err(TrySendError::Full(fetch) | TrySendError::Disconnected(fetch)) =
                self.fetches.try_send(fetch)
            {
                self.waiting_fetches.push_front(fetch);
                break;
            }
        }
    }

    fn read_mail(&mut self, links: &mut Links) {
        for _ in 0..MAIL_PER_TURN {
            match self.mail.take() {
                None => break,
                Some(Mail::Fetched { link, frames }) => Self::send(&mut self.full, links, link, &frames),
                Some(Mail::Subscribers) => {
                    let now = self.shared.subscribers().clone();
                    self.handle(links, Event::Subscribers(&now));
                }
                Some(Mail::SnapshotDone { buffer }) => {
                    self.snapshot_buffer = buffer;
                    self.handle(links, Event::SnapshotDone);
                }
            }
        }
    }

    /// What the journal can take, as the core should see it.
    fn wanted_pressure(&self) -> Pressure {
        let written: u64 = self.written.iter().map(|(_, bytes)| bytes).sum();
        let waiting = self.batch.records.bytes() + written;
        let behind = BEHIND_BYTES.min(self.batch_bytes_max / BEHIND_SHARE);
        if self.shared.disk() == DiskState::Full {
            Pressure::DiskFull
        } else if waiting > behind
            || (self.pressure == Pressure::Behind && waiting > behind / CAUGHT_UP_SHARE)
        {
            Pressure::Behind
        } else {
            Pressure::None
        }
    }

    /// Tells the core what the journal can take, if that has changed.
    fn see_pressure(&mut self, links: &mut Links) {
        let pressure = self.wanted_pressure();
        if pressure != self.pressure {
            tracing::warn!(?pressure, "what the journal can take has changed");
            self.pressure = pressure;
            self.handle(links, Event::JournalPressure(pressure));
        }
    }

    fn publish_numbers(&mut self, links: &Links) {
        self.published_at = self.now;
        let counters = self.core.counters();
        let numbers = Numbers {
            works_accepted: counters.accepted_total,
            works_leased_total: counters.leased_total,
            works_succeeded: counters.succeeded_total,
            works_unsuccessful: counters.unsuccessful_total,
            released: counters.released_total,
            lost: counters.lost_total,
            stale: counters.stale_total,
            busy: counters.busy_total,
            works_queued: counters.works_queued,
            works_delayed: counters.works_delayed,
            works_leased: counters.works_leased,
            works_done: counters.works_done,
            bags: counters.bags,
            rows_bytes: counters.rows_bytes,
            workers_connected: counters.workers_connected,
            slots: counters.slots,
            links: links.len() as u64,
            lsn: counters.lsn,
            durable_lsn: self.durable.0,
            batch_bytes: self.batch.records.bytes(),
            outbox_bytes: self.outbox.bytes() as u64,
            epoch: u64::from(self.core.epoch().0),
            ..self.numbers
        };
        self.publisher.publish(&numbers);
        // What the core has forgotten may be deleted only once the record that says so is durable: a power cut before
        // would bring back works whose results were gone.
        if self.shared.durable() == self.core.last_lsn() {
            self.shared.needed.raise(self.core.oldest_needed().0);
        }
        let beat = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.shared.heartbeat_ms.store(beat, Ordering::Relaxed);
    }

    /// Adds up what the link loop did.
    pub(crate) fn note_turn(&mut self, turn: &Turn) {
        self.now_fresh = false;
        let numbers = &mut self.numbers;
        numbers.turns += 1;
        numbers.datagrams_in += turn.datagrams_in;
        numbers.datagrams_out += turn.datagrams_out;
        numbers.bytes_in += turn.bytes_in;
        numbers.bytes_out += turn.bytes_out;
        numbers.syscalls += turn.syscalls;
        numbers.frames_in += turn.frames_in;
    }

    /// Tells everybody that the engine is going away.
    pub(crate) fn announce_stop(&mut self, links: &mut Links) {
        let mut frame = Vec::new();
        push_control(
            &mut frame,
            worker_link::kind::NOTICE,
            &worker_link::Notice::ShuttingDown,
        );
        for link in links.ids() {
            if self.speaker(link) == Speaker::Worker {
                Self::send(&mut self.full, links, link, &frame);
            }
        }
    }
}

impl Handler for Shell {
    fn on_open(&mut self, _links: &mut Links, link: LinkId, peer: Peer) {
        self.set_speaker(link, Speaker::Unknown(peer.addr));
    }

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        match self.speaker(link) {
            Speaker::Worker => {
                let message = self.parsed(FromWorker::parse(kind, payload))?;
                let FromWorker::Renew(renew) = message else {
                    self.handle(links, Event::WorkerSaid { link, message });
                    return Ok(());
                };
                let Ok(asked) = ClientRequest::parse(&renew.request) else {
                    return Err(self.out_of_place("a renewal asks for a certificate"));
                };
                let (key, request) = (asked.key(), &renew.request);
                self.handle(links, Event::WorkerRenews { link, key, request });
            }
            Speaker::Client if self.shared.is_stopping() => {}
            Speaker::Client => {
                // Before each, because what comes in one turn may be more than the journal has room for.
                self.see_pressure(links);
                let message = self.parsed(FromClient::parse(kind, payload))?;
                self.handle(links, Event::ClientSaid { link, message });
            }
            Speaker::Unknown(from) => {
                let greeted = self.greet(links, link, from, listener, kind, payload);
                if greeted.is_err() {
                    self.set_speaker(link, Speaker::Closed);
                }
                return greeted;
            }
            Speaker::Closed => {}
        }
        Ok(())
    }

    fn on_close(&mut self, links: &mut Links, link: LinkId, reason: &str) {
        match self.speaker(link) {
            Speaker::Worker => tracing::info!(%link, reason, "a worker's link ended"),
            Speaker::Client => tracing::info!(%link, reason, "a client's link ended"),
            Speaker::Unknown(_) | Speaker::Closed => {}
        }
        self.set_speaker(link, Speaker::Closed);
        self.handle(links, Event::LinkClosed { link });
    }

    fn on_received(&mut self, links: &mut Links, link: LinkId) {
        if self.speaker(link) == Speaker::Worker {
            self.handle(links, Event::LinkAlive { link });
        }
    }

    fn after_turn(&mut self, links: &mut Links) {
        self.now_fresh = false;
        let now = self.now();
        self.read_mail(links);
        if self.core.next_deadline().is_some_and(|due| due <= now) {
            self.handle(links, Event::Tick);
        }
        self.release(links);
        while let Some(link) = self.full.pop() {
            // Workers are bounded by their credit and clients' other answers by their requests.
            if self.speaker(link) == Speaker::Client {
                self.handle(links, Event::LinkFull { link });
            }
        }
        self.commit();
        self.see_pressure(links);
        if now.0 >= self.published_at.0 + PUBLISH_EVERY_NS {
            self.publish_numbers(links);
        }
    }
}
