//! The agent: routes events, and keeps the conversation with the engine.

use core::fmt;
use core::mem;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wire_protocol::codec::DecodeError;
use wire_protocol::ids::{Epoch, LeaseToken, Shard};
use wire_protocol::joining::{Enrol, Renew, WalletProof};
use wire_protocol::limits::{LEASES_PER_WORKER_MAX, RESULT_BYTES_MAX};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Join, Report, Tokens, Welcome, kind, push_control, push_empty};

use crate::backoff::Backoff;
use crate::effect::{Disconnect, Effect, Effects, Exit, Note};
use crate::event::Event;
use crate::held::{Held, Waiting};
use crate::reports::Reports;
use crate::runner::{Known, Runner};
use crate::warm::Warm;
use crate::{
    BACKOFF_MAX, JOIN_TIMEOUT, RENEWALS_APART_MAX, REPORT_BYTES_MAX, RETRY_AFTER_MAX, STARTED_APART,
};
use idle::Idle;
use intake::Leaving;
use logs::Logs;

mod frames;
mod idle;
mod intake;
mod logs;

/// Who a worker is and what it offers.
#[derive(Clone)]
pub struct Settings {
    /// Account of the pool's operator for workers.
    pub login: String,
    /// Its password. Shown by nothing here.
    pub password: String,
    /// What proves who it is instead of login and password, if anything does.
    pub identity: Option<Identity>,
    /// Identity of the worker, the same across its restarts. Not empty.
    pub uid: String,
    /// Name for people.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// What it has. At least one slot; slots and prefill together at most
    /// [`LEASES_PER_WORKER_MAX`]. `executors` decides what is run at all: works of another one end with
    /// [`Reason::NoExecutor`]. What of it is counted ([`wire_protocol::resources`]) is never taken by more works than it is
    /// enough for.
    pub offer: Offer,
    /// Keys of what it has at its start of images and files ([`wire_protocol::warm`]), what was used last first; of more
    /// than [`wire_protocol::limits::WARM_KEYS_MAX`] the rest is left out.
    pub warm: Vec<u64>,
}

impl Settings {
    /// Checks them as an engine does.
    ///
    /// # Errors
    /// The first name, list or number that is out of its bounds.
    pub fn validate(&self) -> Result<(), DecodeError> {
        self.join(Vec::new(), Vec::new(), Vec::new()).validate()
    }

    fn join(&self, held: Vec<LeaseToken>, running: Vec<LeaseToken>, unacknowledged: Vec<LeaseToken>) -> Join {
        let by_password = self.identity.is_none();
        let text = |text: &String| if by_password { text.clone() } else { String::new() };
        Join {
            login: text(&self.login),
            password: text(&self.password),
            enrol: self.identity.as_ref().and_then(Identity::enrol),
            wallet: None,
            uid: self.uid.clone(),
            name: self.name.clone(),
            version: self.version.clone(),
            offer: self.offer.clone(),
            held,
            running,
            unacknowledged,
            warm: Vec::new(),
        }
    }
}

/// A key of its own, and the certificate or the token that makes it good.
#[derive(Clone)]
pub struct Identity {
    /// Asks for a certificate under the key, in PKCS #10.
    pub request: Vec<u8>,
    /// Good for a certificate, as long as there is none. Shown by nothing here.
    pub token: Option<String>,
    /// When the certificate begins and ends that the shell's links show; `None`: there is none yet.
    pub validity: Option<(Instant, Instant)>,
}

impl Identity {
    fn enrol(&self) -> Option<Enrol> {
        if self.validity.is_some() {
            return None;
        }
        Some(Enrol {
            token: self.token.clone()?,
            request: self.request.clone(),
        })
    }

    /// When to ask for a certificate that lasts longer, and how long to wait before asking again.
    fn renewal(&self) -> Option<(Instant, Millis)> {
        let (begins, ends) = self.validity?;
        let lasts = ends.since(begins);
        let due = Instant(ends.0.saturating_sub(lasts.0 / 3 * 1_000_000));
        Some((due, Millis(lasts.0 / 30).min(RENEWALS_APART_MAX)))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("login", &self.login)
            .field("uid", &self.uid)
            .field("name", &self.name)
            .field("version", &self.version)
            .field("offer", &self.offer)
            .field("warm", &self.warm.len())
            .finish_non_exhaustive()
    }
}

/// One worker's brain. See the crate's documentation for what it does, [`Agent::handle`] for how to drive it.
#[derive(Debug)]
pub struct Agent {
    settings: Settings,
    link: Link,
    held: Held,
    reports: Reports,
    warm: Warm,
    /// Templates of this connection.
    templates: BTreeMap<u32, Known>,
    /// The highest epoch seen of each shard.
    epochs: Vec<(Shard, Epoch)>,
    /// Attempts whose executor waits to hear what it may do with their files.
    asking: BTreeSet<LeaseToken>,
    /// Until when the leases that it holds are its own, as far as it can know.
    leases_until: Instant,
    leaving: Leaving,
    /// Why it takes no work.
    problem: Option<String>,
    idle: Idle,
    logs: Logs,
    backoff: Backoff,
    now: Instant,
    /// Tokens of an answer that is being made; kept for its memory.
    tokens: Vec<LeaseToken>,
}

/// ```text
///               Tick at `at`           Connected             Welcome
///   ┌► Waiting ─────────────► Connecting ────────► Joining ──────────► Joined
///   │                             │                    │                 │
///   └─────────────────────────────┴────────────────────┴─────────────────┘
///       Disconnected · no Welcome in time · silence · a broken rule · Refused{Busy, ShuttingDown}
///
///   any of them ──── Refused{Credentials, Invalid} · drained and everything recorded ────► Left
/// ```
#[derive(Clone, Copy, Debug)]
enum Link {
    Waiting { at: Instant },
    Connecting { until: Instant },
    Joining { until: Instant },
    Joined(Joined),
    Left,
}

/// A conversation under way.
#[derive(Clone, Copy, Debug)]
struct Joined {
    since: Instant,
    /// When something was last said, and last heard.
    said: Instant,
    heard: Instant,
    started_said: Instant,
    /// It does not ask for another certificate before this.
    renew_not_before: Instant,
    lease_timeout: Millis,
    heartbeat: Millis,
}

/// Where a worker is in its conversation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Phase {
    /// Without a link, until a deadline.
    Waiting,
    /// The shell is making a link.
    Connecting,
    /// It has said `Join`.
    Joining,
    /// The engine has said `Welcome`.
    Joined,
    /// It has left; nothing happens any more.
    Left,
}

/// Numbers for a person or a test.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Status {
    /// Where it is in its conversation.
    pub phase: Phase,
    /// It takes no further work.
    pub draining: bool,
    /// It takes no work for now, see [`Event::Hold`].
    pub holding: bool,
    /// Works that wait for a slot.
    pub waiting: usize,
    /// Slots in use, also by works that were told to stop.
    pub running: usize,
    /// Reports that are not known to be recorded.
    pub unacknowledged: usize,
}

impl Agent {
    /// A worker that wants to connect at once. The seed decides its jitter.
    ///
    /// # Panics
    /// If the settings are out of their documented bounds, or too long for a `Join`.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        if let Err(error) = settings.validate() {
            panic!("these settings cannot be said to an engine: {error}");
        }
        let held = Held::new(&settings.offer);
        let warm = Warm::new(settings.warm.clone());
        Self {
            link: Link::Waiting { at: Instant(0) },
            held,
            reports: Reports::new(),
            warm,
            templates: BTreeMap::new(),
            epochs: Vec::new(),
            asking: BTreeSet::new(),
            leases_until: Instant(0),
            leaving: Leaving::No,
            problem: None,
            idle: Idle::default(),
            logs: Logs::default(),
            backoff: Backoff::new(seed),
            now: Instant(0),
            tokens: Vec::new(),
            settings,
        }
    }

    /// Takes up an attempt that an earlier process of this worker started and that still runs, or has ended meanwhile: it
    /// is presented with the first `Join`, and goes on if the engine adopts it. Nothing is started; its end is said by
    /// [`Event::Ended`]. It takes what its template says also where that is more than the worker has left. `false`: there
    /// is no slot for it, or it is known; it has to be stopped, and its lease is given up.
    ///
    /// # Panics
    /// After the first event.
    #[must_use]
    pub fn resume(&mut self, token: LeaseToken, template: &Arc<WorkTemplate>) -> bool {
        self.assert_new();
        let free =
            self.held.has_free_slot() && self.reports.len() + self.held.running() < LEASES_PER_WORKER_MAX;
        let resumes = free && !self.held.knows(token);
        if resumes {
            let taken = self.held.ledger().demand(template);
            self.held.start(self.now, token, Arc::clone(template), taken);
        }
        resumes
    }

    /// Takes up a report that an earlier process of this worker could not make, or of which it did not hear that it is
    /// recorded. `false`: there is no room for it, or the attempt is known; it is given up.
    ///
    /// # Panics
    /// After the first event, or if the result is longer than [`RESULT_BYTES_MAX`].
    #[must_use]
    pub fn resume_report(&mut self, report: &Report<'_>) -> bool {
        self.assert_new();
        let bytes = report.result.len();
        assert!(bytes <= RESULT_BYTES_MAX, "a result of {bytes} bytes");
        let has_room = self.reports.len() + self.held.running() < LEASES_PER_WORKER_MAX
            && self.reports.bytes() < REPORT_BYTES_MAX;
        let resumes = has_room && self.held.report_at_once(report.token);
        if resumes {
            self.reports.push(report);
        }
        resumes
    }

    fn assert_new(&self) {
        let is_new = matches!(self.link, Link::Waiting { at: Instant(0) }) && self.now == Instant(0);
        assert!(is_new, "what is resumed is known before anything happens");
    }

    /// The attempt has ended, and its report is not known to be recorded.
    #[must_use]
    pub fn has_report(&self, token: LeaseToken) -> bool {
        self.held.has_report(token)
    }

    /// Takes one event in, and appends what is to be done.
    ///
    /// `now` should not go backwards; an earlier one counts as the latest seen. After an [`Effect::Exit`]
    /// every event is ignored.
    ///
    /// # Panics
    /// If the result of an [`Event::Ended`] is longer than [`RESULT_BYTES_MAX`]: executors bound what they keep.
    pub fn handle(&mut self, now: Instant, event: Event<'_>, effects: &mut Effects) {
        if matches!(self.link, Link::Left) {
            return;
        }
        self.now = self.now.max(now);
        match event {
            Event::Connected { wallet } => self.on_connected(wallet, effects),
            Event::Frame { kind, payload } => self.on_frame(kind, payload, effects),
            Event::Disconnected { reason } => self.on_disconnected(reason, effects),
            Event::Ended(report) => self.on_ended(&report),
            Event::GrantAsked(token) => self.on_grant_asked(token, effects),
            Event::Drain { within } => self.drain("the worker was asked to stop", within, effects),
            Event::Hold(problem) => self.hold(problem, effects),
            Event::Log { token, chunk } => self.on_log(token, chunk, effects),
            Event::LogTold(token) => self.on_log_told(token, effects),
            Event::Flush => self.flush(effects),
            Event::Tick => self.on_tick(effects),
        }
        self.fill_slots(effects);
        self.leave_when_drained(effects);
        self.see_idle();
    }

    /// When the next [`Event::Tick`] is due. `None`: never, it has left or waits for the shell alone.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let due = match self.link {
            Link::Waiting { at } => Some(at),
            Link::Connecting { until } | Link::Joining { until } => Some(until),
            Link::Joined(joined) => {
                let ping = joined.said + joined.heartbeat;
                let silence = joined.heard + joined.lease_timeout;
                let started = self
                    .held
                    .announcement_due()
                    .map(|due| due.max(joined.started_said + STARTED_APART));
                let finished = self.reports.has_unsaid().then_some(self.now);
                let renewal = self.renewal_due(&joined).map(|(due, _)| due);
                [
                    Some(ping),
                    Some(silence),
                    started,
                    finished,
                    renewal,
                    self.idle.asks_at(),
                ]
                .into_iter()
                .flatten()
                .min()
            }
            Link::Left => return None,
        };
        due.into_iter().chain(self.leaving.due()).min()
    }

    /// The identity that it joins with.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.settings.uid
    }

    /// Numbers of this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            phase: match self.link {
                Link::Waiting { .. } => Phase::Waiting,
                Link::Connecting { .. } => Phase::Connecting,
                Link::Joining { .. } => Phase::Joining,
                Link::Joined(_) => Phase::Joined,
                Link::Left => Phase::Left,
            },
            draining: self.leaving.is_draining(),
            holding: self.problem.is_some(),
            waiting: self.held.waiting(),
            running: self.held.running(),
            unacknowledged: self.reports.len(),
        }
    }

    /// How often the engine wants to hear something on this link; `None`: there is none, or it has not said so yet.
    ///
    /// [`Self::next_deadline`] sees to it. A shell that may be late can say `Ping` in its place meanwhile.
    #[must_use]
    pub fn heartbeat(&self) -> Option<Millis> {
        match self.link {
            Link::Joined(joined) => Some(joined.heartbeat),
            _ => None,
        }
    }

    /// Leases under which something runs that was not told to stop, by slot.
    pub fn running(&self) -> impl Iterator<Item = LeaseToken> {
        self.held.running_tokens()
    }

    /// Asserts what must hold between any two events; for tests and simulations.
    ///
    /// # Panics
    /// If it does not.
    pub fn check(&self) {
        let offer = &self.settings.offer;
        self.held.check(&self.reports);
        self.reports.check();
        assert!(self.held.running() <= offer.slots as usize, "slots");
        assert!(self.held.live() <= self.room(), "holds more than it offered");
        assert!(
            self.reports.len() + self.held.running() <= LEASES_PER_WORKER_MAX,
            "more reports than a join can present"
        );
        assert!(
            self.asking.iter().all(|token| self.held.runs(*token)),
            "asks for what does not run"
        );
        assert!(
            !self.held.has_fitting() || !self.may_start(),
            "a work waits for nothing"
        );
        self.logs.check();
        let joined = matches!(self.link, Link::Joined(_));
        assert!(
            !(joined && self.closed_because().is_some() && self.held.waiting() > 0),
            "waiting works go back"
        );
    }

    fn on_connected(&mut self, wallet: Option<WalletProof>, effects: &mut Effects) {
        let Link::Connecting { until } = self.link else {
            return;
        };
        self.link = Link::Joining { until };
        let join = Join {
            wallet,
            ..self.join()
        };
        self.held.announce_all();
        effects.send(|out| push_control(out, kind::JOIN, &join));
    }

    fn on_grant_asked(&mut self, token: LeaseToken, effects: &mut Effects) {
        if self.held.runs(token) && self.asking.insert(token) {
            self.say_tokens(kind::GRANT_ASKED, Reason::None, &[token], effects);
        }
    }

    fn join(&self) -> Join {
        let running: Vec<_> = self.held.running_tokens().collect();
        let held = self
            .held
            .waiting_tokens()
            .chain(running.iter().copied())
            .collect();
        Join {
            warm: self.warm.keys().to_vec(),
            ..self.settings.join(held, running, self.reports.tokens().collect())
        }
    }

    fn on_disconnected(&mut self, reason: &str, effects: &mut Effects) {
        if !matches!(self.link, Link::Waiting { .. }) {
            self.reconnect_later(Millis(0), reason.to_owned(), effects);
        }
    }

    /// Closes the link because of something that the engine did or did not do.
    fn disconnect(&mut self, reason: Disconnect, effects: &mut Effects) {
        let text = reason.to_string();
        let at_least = match &reason {
            Disconnect::Refused(refused) => refused.retry_after.min(RETRY_AFTER_MAX),
            _ => Millis(0),
        };
        effects.push(Effect::Disconnect { reason });
        self.reconnect_later(at_least, text, effects);
    }

    fn reconnect_later(&mut self, at_least: Millis, reason: String, effects: &mut Effects) {
        if let Link::Joined(joined) = self.link
            && self.now.since(joined.since) > BACKOFF_MAX
        {
            self.backoff.start_over();
        }
        let after = self.backoff.wait(at_least);
        self.link = Link::Waiting { at: self.now + after };
        self.templates.clear();
        self.reports.unsay();
        self.stop_logs(effects);
        effects.note(Note::Reconnecting { after, reason });
    }

    fn on_ended(&mut self, report: &Report<'_>) {
        let bytes = report.result.len();
        assert!(bytes <= RESULT_BYTES_MAX, "a result of {bytes} bytes");
        self.asking.remove(&report.token);
        self.logs.forget(report.token);
        if let Some(template) = self.held.end(report.token) {
            if report.reason == Reason::None {
                self.warm.used(&template);
            }
            self.reports.push(report);
        }
    }

    fn flush(&mut self, effects: &mut Effects) {
        if let Link::Joined(joined) = &mut self.link
            && self.reports.has_unsaid()
        {
            joined.said = self.now;
            effects.send(|out| self.reports.flush(out));
        }
    }

    fn on_tick(&mut self, effects: &mut Effects) {
        self.look_at_deadline(effects);
        match self.link {
            Link::Waiting { at } if at <= self.now => {
                self.link = Link::Connecting {
                    until: self.now + JOIN_TIMEOUT,
                };
                effects.push(Effect::Connect);
            }
            Link::Connecting { until } | Link::Joining { until } if until <= self.now => {
                self.disconnect(Disconnect::NoWelcome, effects);
            }
            Link::Joined(joined) if joined.heard + joined.lease_timeout <= self.now => {
                self.disconnect(Disconnect::Silence(joined.lease_timeout), effects);
            }
            Link::Joined(joined) => {
                self.flush(effects);
                if joined.started_said + STARTED_APART <= self.now {
                    self.say_started(effects);
                }
                self.ask_for_renewal(effects);
                self.ask_why_idle(effects);
                self.say_ping(effects);
            }
            _ => {}
        }
    }

    fn renewal_due(&self, joined: &Joined) -> Option<(Instant, Millis)> {
        let (due, apart) = self.settings.identity.as_ref()?.renewal()?;
        Some((due.max(joined.renew_not_before), apart))
    }

    fn ask_for_renewal(&mut self, effects: &mut Effects) {
        let Link::Joined(joined) = self.link else { return };
        let Some((due, apart)) = self.renewal_due(&joined) else {
            return;
        };
        if due > self.now {
            return;
        }
        let Link::Joined(joined) = &mut self.link else {
            return;
        };
        joined.renew_not_before = self.now + apart;
        joined.said = self.now;
        let identity = self.settings.identity.as_ref().expect("it has a renewal");
        let request = identity.request.clone();
        effects.send(|out| push_control(out, kind::RENEW, &Renew { request }));
    }

    fn say_started(&mut self, effects: &mut Effects) {
        let mut tokens = mem::take(&mut self.tokens);
        while let Some(token) = self.held.announce_due(self.now) {
            tokens.push(token);
        }
        if !tokens.is_empty()
            && let Link::Joined(joined) = &mut self.link
        {
            joined.started_said = self.now;
        }
        self.say_tokens(kind::STARTED, Reason::None, &tokens, effects);
        self.put_back(tokens);
    }

    fn say_ping(&mut self, effects: &mut Effects) {
        if let Link::Joined(joined) = &mut self.link
            && joined.said + joined.heartbeat <= self.now
        {
            joined.said = self.now;
            effects.send(|out| push_empty(out, kind::PING));
        }
    }

    /// Says a list of tokens, in as many frames as their bound asks for; nothing if there are none.
    fn say_tokens(&mut self, kind: u8, reason: Reason, tokens: &[LeaseToken], effects: &mut Effects) {
        let Link::Joined(joined) = &mut self.link else {
            return;
        };
        for tokens in tokens.chunks(LEASES_PER_WORKER_MAX) {
            joined.said = self.now;
            effects.send(|out| Tokens::push(out, kind, reason, tokens.iter().copied()));
        }
    }

    fn put_back(&mut self, mut tokens: Vec<LeaseToken>) {
        tokens.clear();
        self.tokens = tokens;
    }

    /// Works that may wait or run here at once.
    fn room(&self) -> usize {
        self.settings.offer.slots as usize + self.settings.offer.prefill as usize
    }

    /// A further work may start: there is a slot, room for its report, and its lease has not run out.
    fn may_start(&self) -> bool {
        self.held.has_free_slot()
            && self.closed_because().is_none()
            && self.reports.len() + self.held.running() < LEASES_PER_WORKER_MAX
            && self.reports.bytes() < REPORT_BYTES_MAX
            && self.now < self.leases_until
    }

    fn fill_slots(&mut self, effects: &mut Effects) {
        while self.held.waiting() > 0
            && self.may_start()
            && let Some(Waiting { token, known, row }) = self.held.dequeue_fitting()
        {
            self.start(token, &known, row, effects);
        }
    }

    fn start(&mut self, token: LeaseToken, known: &Known, row: impl Into<Box<[u8]>>, effects: &mut Effects) {
        match known.runner {
            Runner::Null(immediate) => {
                if self.held.report_at_once(token) {
                    immediate.answer(self.now, |result| {
                        self.reports.push(&Report {
                            token,
                            reason: immediate.reason,
                            exit_code: 0,
                            elapsed_us: 0,
                            result,
                        });
                    });
                }
            }
            Runner::Shell => {
                let template = Arc::clone(&known.definition);
                self.held.start(self.now, token, template, known.taken.clone());
                effects.push(Effect::Start {
                    token,
                    template: Arc::clone(&known.definition),
                    row: row.into(),
                });
                if self.logs.is_wanted(token) {
                    effects.push(Effect::FollowLog(token));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_do_not_show_the_password() {
        let settings = Settings {
            login: "vworker".to_owned(),
            password: "hunter2".to_owned(),
            identity: None,
            uid: "1".to_owned(),
            name: String::new(),
            version: String::new(),
            offer: Offer::default(),
            warm: Vec::new(),
        };
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
