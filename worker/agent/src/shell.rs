//! The shell around the worker's core: one task that waits for the link, the executors, the clock and the wish
//! to leave, tells the core, and does what the core asks for. It decides nothing.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{mpsc, watch};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior};
use wire_protocol::ids::LeaseToken;
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::{Instant, Millis};
use wire_wallet::Wallet;
use worker_chain::shell::Chain;
use worker_core::{Agent, Effect, Effects, Event, Exit, Note};

use crate::Certified;
use crate::contributing;
use crate::executor::capture::Piece;
use crate::executor::{Attempt, Ended, Executor, Folder, Kill, Killer, Printed, Resumable};
use crate::files::Clerk;
use crate::notes;
use crate::status::{Board, WRITE_EVERY, Work, now_ms, phase_name};
use crate::watch::{DiskWatch, Seen};
use crate::wire::{Connector, Turn, Wire, chain};

pub(crate) struct Shell {
    agent: Agent,
    effects: Effects,
    clock: Clock,
    wire: Wire,
    connector: Arc<Connector>,
    certified: Option<Certified>,
    wallet: Option<Arc<Wallet>>,
    /// Where results for orders go before they are reported.
    chain: Option<Chain>,
    /// Attempts that have ended and whose results are handed over there.
    handing: JoinSet<Handed>,
    uid: String,
    engine: String,
    server_name: String,
    executors: Vec<Arc<dyn Executor>>,
    clerk: Option<Clerk>,
    tasks: JoinSet<Ended>,
    running: HashMap<task::Id, Started>,
    /// By token, so that a kill finds its task.
    ids: HashMap<LeaseToken, task::Id>,
    /// Reports until they are recorded, for the next process of this worker.
    folder: Option<Arc<Folder>>,
    /// What is seen of the disks.
    seen: Option<watch::Receiver<Seen>>,
    board: Option<Board>,
    /// What looks for that; it ends with the shell.
    watching: JoinSet<()>,
    /// What works print that somebody follows, from their executors.
    pieces: (mpsc::Sender<Piece>, mpsc::Receiver<Piece>),
    /// Attempts of which somebody wants to hear what they have printed.
    followed: Vec<LeaseToken>,
    /// What still runs so long after the wish to leave is given back.
    drain_within: Option<Millis>,
}

/// Pieces of output, of 16 KiB at most for commands, that wait for the shell; more are dropped.
const PIECES_MAX: usize = 64;

/// Bytes that may wait for the link before output is left out: behind more of it, on a slow line, reports and signs of life
/// would wait for longer than they may. What the link itself has taken counts no more; that is a window of the engine's at
/// most.
const BACKLOG_BYTES_MAX: usize = 256 << 10;

/// An attempt that has ended, and why its result will not be contributed, if it will not.
type Handed = (LeaseToken, Ended, Option<String>);

/// An attempt that an executor runs.
struct Started {
    token: LeaseToken,
    template: Arc<WorkTemplate>,
    /// When it began, in milliseconds since 1970.
    since_ms: u64,
    killer: Option<Killer>,
    printed: Printed,
}

impl Shell {
    pub(crate) fn new(
        agent: Agent,
        connector: Arc<Connector>,
        engine: String,
        server_name: String,
        executors: Vec<Arc<dyn Executor>>,
        clerk: Option<Clerk>,
    ) -> Self {
        let uid = agent.uid().to_owned();
        Self {
            agent,
            effects: Effects::new(),
            clock: Clock::new(),
            wire: Wire::Closed,
            connector,
            certified: None,
            wallet: None,
            chain: None,
            handing: JoinSet::new(),
            uid,
            engine,
            server_name,
            executors,
            clerk,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            ids: HashMap::new(),
            folder: None,
            seen: None,
            board: None,
            watching: JoinSet::new(),
            pieces: mpsc::channel(PIECES_MAX),
            followed: Vec::new(),
            drain_within: None,
        }
    }

    /// The same with what proves who it is, instead of a password, and whose wallet it works for.
    pub(crate) fn proving(self, certified: Option<Certified>, wallet: Option<Arc<Wallet>>) -> Self {
        Self {
            certified,
            wallet,
            ..self
        }
    }

    /// The same with what an earlier process of this worker left: attempts that executors can take up, and reports.
    pub(crate) fn resuming(
        mut self,
        folder: Option<Arc<Folder>>,
        attempts: Vec<(Arc<dyn Executor>, Resumable)>,
    ) -> Self {
        let mut reports = 0_usize;
        if let Some(folder) = &folder {
            folder
                .kept()
                .each(|report| reports += usize::from(self.agent.resume_report(report)));
        }
        let (mut resumed, mut given_up) = (0_usize, 0_usize);
        for (executor, Resumable { attempt, age }) in attempts {
            let Attempt {
                token,
                template,
                printed,
                ..
            } = attempt;
            let (killer, kill) = Kill::pair();
            let id = self.tasks.spawn(executor.resume(token, kill)).id();
            if self.agent.resume(token, &template) {
                resumed += 1;
                self.ids.insert(token, id);
                let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
                let started = Started {
                    token,
                    template,
                    since_ms: now_ms().saturating_sub(age_ms),
                    killer: Some(killer),
                    printed,
                };
                self.running.insert(id, started);
            } else {
                // Without its killer it stops.
                given_up += 1;
            }
        }
        if resumed + given_up + reports > 0 {
            tracing::info!(
                event = "resumed",
                works = resumed,
                reports,
                given_up,
                "takes up what this worker ran before it was started again"
            );
        }
        self.folder = folder;
        self
    }

    /// The same with an eye on the disks.
    pub(crate) fn watching(mut self, disk: Option<DiskWatch>) -> Self {
        if let Some(disk) = disk {
            let (say, seen) = watch::channel(Seen::default());
            self.watching.spawn(disk.run(say));
            self.seen = Some(seen);
        }
        self
    }

    /// The same with a chain to which results are contributed.
    pub(crate) fn contributing(mut self, chain: Option<Chain>) -> Self {
        self.chain = chain;
        self
    }

    /// The same with a deadline for leaving.
    pub(crate) fn draining(mut self, within: Option<Millis>) -> Self {
        self.drain_within = within;
        self
    }

    /// The same with a place to tell what it does.
    pub(crate) fn telling(mut self, board: Option<Board>) -> Self {
        self.board = board;
        self
    }

    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Exit {
        let mut shutdown = pin!(shutdown);
        let mut is_asked_to_stop = false;
        let mut write = tokio::time::interval(WRITE_EVERY);
        write.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let exit = loop {
            if let Some(exit) = self.perform_all() {
                break exit;
            }
            self.wire.is_turning();
            let deadline = self.agent.next_deadline().map(|due| self.clock.to_tokio(due));
            let Self {
                agent,
                effects,
                clock,
                wire,
                clerk,
                tasks,
                handing,
                seen,
                board,
                pieces,
                ..
            } = &mut self;
            tokio::select! {
                turn = wire.turn(|kind, payload| agent.handle(clock.now(), Event::Frame { kind, payload }, effects)) => {
                    self.on_turn(&turn);
                }
                Some(ended) = tasks.join_next_with_id() => self.on_ended(ended),
                Some(handed) = handing.join_next() => self.on_handed(handed),
                Some(piece) = pieces.1.recv() => self.on_pieces(&piece),
                token = asked(clerk) => self.handle(Event::GrantAsked(token)),
                seen = next_seen(seen) => self.on_seen(seen),
                _ = write.tick(), if board.is_some() => self.tell(),
                () = until(deadline) => self.on_deadline(),
                () = &mut shutdown, if !is_asked_to_stop => {
                    is_asked_to_stop = true;
                    self.handle(Event::Drain { within: self.drain_within });
                }
            }
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.on_ended(ended);
            }
            self.handle(Event::Flush);
            self.let_go();
        };
        // Dropping an attempt stops it.
        self.tasks.shutdown().await;
        self.tell();
        self.wire.finish().await;
        exit
    }

    fn handle(&mut self, event: Event<'_>) {
        self.agent.handle(self.clock.now(), event, &mut self.effects);
    }

    fn on_seen(&mut self, seen: Seen) {
        self.handle(Event::Hold(seen.problem.as_deref()));
        if let Some(board) = &mut self.board {
            board.status.disks = seen.disks;
            board.status.images = seen.images;
        }
    }

    /// Writes down what is going on.
    fn tell(&mut self) {
        let Some(board) = &mut self.board else { return };
        let now = self.agent.status();
        let status = &mut board.status;
        phase_name(now.phase).clone_into(&mut status.phase);
        (status.waiting, status.unrecorded) = (now.waiting, now.unacknowledged);
        status.idle = self.agent.idle().map(|idle| idle.explanation.summary.clone());
        status.chain = self.chain.as_ref().map(|chain| chain.status().borrow().clone());
        if let Some(chain) = &status.chain {
            status.idle = contributing::idle(status.idle.take(), chain);
        }
        let work = |started: &Started| Work {
            lease: started.token.to_string(),
            app: started.template.app.clone(),
            since_ms: started.since_ms,
        };
        status.running = self.running.values().map(work).collect();
        status.running.sort();
        board.write();
    }

    /// Keeps no report longer than the engine needs it.
    fn let_go(&self) {
        if let Some(folder) = &self.folder {
            let runs = |token| self.ids.contains_key(&token);
            folder
                .kept()
                .retain(|token| runs(token) || self.agent.has_report(token));
        }
    }

    fn on_turn(&mut self, turn: &Turn) {
        match turn {
            Turn::Frames => {}
            Turn::Connected { channel } => {
                let wallet = self.wallet.as_ref();
                let wallet = wallet.map(|wallet| wallet.prove(&self.uid, channel));
                self.handle(Event::Connected { wallet });
            }
            Turn::Lost(reason) => self.handle(Event::Disconnected { reason }),
        }
    }

    /// What has arrived meanwhile comes first: to a shell that was busy, an engine that has spoken all the time is not
    /// silent.
    fn on_deadline(&mut self) {
        loop {
            let Self {
                agent,
                effects,
                clock,
                wire,
                ..
            } = self;
            let on_frame =
                |kind, payload: &[u8]| agent.handle(clock.now(), Event::Frame { kind, payload }, effects);
            match wire.try_turn(on_frame) {
                Some(turn) => self.on_turn(&turn),
                None => break,
            }
        }
        self.handle(Event::Tick);
    }

    fn on_ended(&mut self, ended: Result<(task::Id, Ended), JoinError>) {
        let (id, ended) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let text = format!("the executor failed: {error}");
                tracing::error!("{text}");
                (error.id(), Ended::without_running(Reason::ExecutorFailed, &text))
            }
        };
        let Some(Started {
            token,
            printed,
            template,
            ..
        }) = self.running.remove(&id)
        else {
            return;
        };
        // What it printed comes before its end.
        while let Ok(piece) = self.pieces.1.try_recv() {
            self.on_piece(&piece);
        }
        printed.ends().iter().for_each(|piece| self.on_piece(piece));
        self.ids.remove(&token);
        if let Some(clerk) = &mut self.clerk {
            clerk.forget(token);
        }
        match contributing::result(&template, &ended) {
            None => self.report(token, &ended),
            Some(result) => {
                let handing = self
                    .chain
                    .as_ref()
                    .map(|chain| chain.hand_over(&template.ticket, result));
                self.handing.spawn(async move {
                    let problem = contributing::handed(handing).await.err();
                    (token, ended, problem)
                });
            }
        }
    }

    /// What there is to contribute is durable, or will not be contributed: now the engine may know how it ended.
    fn on_handed(&mut self, handed: Result<Handed, JoinError>) {
        let Ok((token, ended, problem)) = handed else {
            // It only waits for an answer.
            return;
        };
        if let Some(problem) = problem {
            tracing::error!(%token, problem, "the result is for an order of a chain, and is not contributed");
            if let Some(board) = &mut self.board {
                board.error(format!(
                    "the result of {token} is not contributed to its order: {problem}"
                ));
            }
        }
        self.report(token, &ended);
    }

    fn report(&mut self, token: LeaseToken, ended: &Ended) {
        self.handle(Event::Ended(ended.report(token)));
        if let Some(folder) = &self.folder
            && self.agent.has_report(token)
        {
            folder.kept().keep(token, ended);
        }
    }

    /// A piece of output has come: it, and as many as may wait.
    fn on_pieces(&mut self, first: &Piece) {
        self.on_piece(first);
        for _ in 0..PIECES_MAX {
            match self.pieces.1.try_recv() {
                Ok(piece) => self.on_piece(&piece),
                Err(_) => break,
            }
        }
    }

    /// How long a stream is, in a piece without bytes, goes out whatever waits: by it the reader sees what was left out.
    fn on_piece(&mut self, piece: &Piece) {
        if !piece.chunk().bytes.is_empty() && self.wire.backlog() > BACKLOG_BYTES_MAX {
            return;
        }
        self.handle(Event::Log {
            token: piece.token,
            chunk: piece.chunk(),
        });
    }

    /// Tells what attempts have printed until now, which others want to follow.
    fn tell_printed(&mut self) {
        for token in mem::take(&mut self.followed) {
            let started = self.ids.get(&token).and_then(|id| self.running.get(id));
            let Some(started) = started else { continue };
            let kept = started.printed.follow(token, self.pieces.0.clone());
            kept.iter().for_each(|piece| self.on_piece(piece));
            self.handle(Event::LogTold(token));
        }
    }

    fn unfollow(&mut self, token: LeaseToken) {
        // Asked for in the same turn, and not begun yet.
        self.followed.retain(|followed| *followed != token);
        if let Some(started) = self.ids.get(&token).and_then(|id| self.running.get(id)) {
            started.printed.unfollow();
        }
    }

    /// Performs effects until there are none.
    fn perform_all(&mut self) -> Option<Exit> {
        loop {
            let exit = self.perform();
            if exit.is_some() || self.followed.is_empty() {
                return exit;
            }
            self.tell_printed();
        }
    }

    /// Performs the effects of all events so far, in order.
    fn perform(&mut self) -> Option<Exit> {
        let mut effects = mem::take(&mut self.effects);
        let mut exit = None;
        for effect in effects.drain() {
            match effect {
                Effect::Send(frames) => self.wire.send(frames),
                Effect::Connect => {
                    self.wire = Wire::connect(&self.connector, self.engine.clone(), self.server_name.clone());
                }
                Effect::Disconnect { reason } => self.wire.close(&reason.to_string()),
                Effect::Start { token, template, row } => self.start(token, template, row),
                Effect::Kill { token, reason } => self.kill(token, reason),
                Effect::Granted(granted) => {
                    if let Some(clerk) = &mut self.clerk {
                        clerk.answer(&granted);
                    }
                }
                Effect::FollowLog(token) => self.followed.push(token),
                Effect::UnfollowLog(token) => self.unfollow(token),
                Effect::Note(note) => {
                    if let (Note::Joined { .. }, Some(every)) = (&note, self.agent.heartbeat()) {
                        self.wire.beat(every.to_duration());
                    }
                    notes::log(&note);
                    if let Some(board) = &mut self.board {
                        board.note(&note);
                    }
                }
                Effect::Keep { certificate } => self.keep(certificate),
                Effect::Exit(reason) => exit = Some(reason),
            }
        }
        drop(mem::replace(&mut self.effects, effects));
        exit
    }

    fn start(&mut self, token: LeaseToken, template: Arc<WorkTemplate>, row: Box<[u8]>) {
        tracing::debug!(%token, app = template.app, "starts");
        let name = template.executor();
        let Some(executor) = self.executors.iter().find(|executor| executor.name() == name) else {
            // The core refuses what was not offered.
            unreachable!("the executor {name} is offered but not there");
        };
        let (killer, kill) = Kill::pair();
        let printed = Printed::default();
        let attempt = Attempt {
            token,
            template: Arc::clone(&template),
            row,
            printed: printed.clone(),
        };
        let task = if contributing::is_given(&template) {
            self.tasks
                .spawn(async { Ended::without_running(Reason::None, "") })
        } else {
            self.tasks.spawn(Arc::clone(executor).run(attempt, kill))
        };
        let id = task.id();
        self.ids.insert(token, id);
        let started = Started {
            token,
            template,
            since_ms: now_ms(),
            killer: Some(killer),
            printed,
        };
        self.running.insert(id, started);
    }

    /// Shows this certificate from the next connection on, also if it cannot be kept.
    fn keep(&mut self, certificate: Vec<u8>) {
        let Some(certified) = &mut self.certified else {
            return;
        };
        if let Err(error) = certified.identity.keep(certificate) {
            tracing::error!(
                error = format!("{error:#}"),
                "the certificate cannot be kept: after a restart this worker enrols anew"
            );
        }
        match certified.quic() {
            Ok(quic) => self.connector = Arc::new(self.connector.with(quic)),
            Err(error) => tracing::error!(error = chain(&error), "the certificate cannot be shown"),
        }
    }

    fn kill(&mut self, token: LeaseToken, reason: Reason) {
        tracing::debug!(%token, %reason, "stops");
        let started = self.ids.get(&token).and_then(|id| self.running.get_mut(id));
        if let Some(killer) = started.and_then(|started| started.killer.take()) {
            killer.kill();
        }
    }
}

/// The next attempt whose executor asks what it may do with files.
async fn asked(clerk: &mut Option<Clerk>) -> LeaseToken {
    match clerk {
        Some(clerk) => clerk.asked().await,
        None => std::future::pending().await,
    }
}

/// What is to be seen of the disks, once that has changed.
async fn next_seen(seen: &mut Option<watch::Receiver<Seen>>) -> Seen {
    if let Some(receiver) = seen
        && receiver.changed().await.is_ok()
    {
        return receiver.borrow_and_update().clone();
    }
    std::future::pending().await
}

async fn until(deadline: Option<TokioInstant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The core's time: the wall clock at the start, and the monotonic clock from there.
struct Clock {
    started: TokioInstant,
    origin: u64,
}

impl Clock {
    fn new() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            started: TokioInstant::now(),
            origin: u64::try_from(since_1970.as_nanos()).unwrap_or(0),
        }
    }

    fn now(&self) -> Instant {
        let passed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant(self.origin.saturating_add(passed))
    }

    fn to_tokio(&self, instant: Instant) -> TokioInstant {
        // Bounded, because a deadline far beyond any uptime overflows the system's clock.
        let ahead = Duration::from_nanos(instant.0.saturating_sub(self.origin));
        self.started + ahead.min(Duration::from_secs(100 * 365 * 86_400))
    }
}
