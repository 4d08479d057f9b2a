//! The shell around the worker's core: one task that waits for the link, the executors, the clock and the wish
//! to leave, tells the core, and does what the core asks for. It decides nothing.

use std::collections::HashMap;
use std::future::Future;
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant as TokioInstant;
use wire_link::Connector;
use wire_protocol::ids::LeaseToken;
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Instant;
use wire_protocol::worker_link::Report;
use wire_wallet::Wallet;
use worker_core::{Agent, Effect, Effects, Event, Exit, Note};

use crate::Certified;
use crate::executor::{Attempt, Ended, Executor, Kill, Killer};
use crate::wire::{Turn, Wire, chain};

pub(crate) struct Shell {
    agent: Agent,
    effects: Effects,
    clock: Clock,
    wire: Wire,
    connector: Arc<Connector>,
    certified: Option<Certified>,
    wallet: Option<Wallet>,
    uid: String,
    engine: String,
    server_name: String,
    executors: Vec<Arc<dyn Executor>>,
    tasks: JoinSet<Ended>,
    running: HashMap<task::Id, Started>,
    /// By token, so that a kill finds its task.
    ids: HashMap<LeaseToken, task::Id>,
}

/// An attempt that an executor runs.
struct Started {
    token: LeaseToken,
    killer: Option<Killer>,
}

impl Shell {
    pub(crate) fn new(
        agent: Agent,
        connector: Arc<Connector>,
        certified: Option<Certified>,
        wallet: Option<Wallet>,
        engine: String,
        server_name: String,
        executors: Vec<Arc<dyn Executor>>,
    ) -> Self {
        let uid = agent.uid().to_owned();
        Self {
            agent,
            effects: Effects::new(),
            clock: Clock::new(),
            wire: Wire::Closed,
            connector,
            certified,
            wallet,
            uid,
            engine,
            server_name,
            executors,
            tasks: JoinSet::new(),
            running: HashMap::new(),
            ids: HashMap::new(),
        }
    }

    pub(crate) async fn run(mut self, shutdown: impl Future<Output = ()>) -> Exit {
        let mut shutdown = pin!(shutdown);
        let mut is_asked_to_stop = false;
        let exit = loop {
            if let Some(exit) = self.perform() {
                break exit;
            }
            let deadline = self.agent.next_deadline().map(|due| self.clock.to_tokio(due));
            let Self {
                agent,
                effects,
                clock,
                wire,
                tasks,
                ..
            } = &mut self;
            tokio::select! {
                turn = wire.turn(|kind, payload| agent.handle(clock.now(), Event::Frame { kind, payload }, effects)) => {
                    self.on_turn(&turn);
                }
                Some(ended) = tasks.join_next_with_id() => self.on_ended(ended),
                () = until(deadline) => self.handle(Event::Tick),
                () = &mut shutdown, if !is_asked_to_stop => {
                    is_asked_to_stop = true;
                    self.handle(Event::Drain);
                }
            }
            while let Some(ended) = self.tasks.try_join_next_with_id() {
                self.on_ended(ended);
            }
            self.handle(Event::Flush);
        };
        // Dropping an attempt stops it.
        self.tasks.shutdown().await;
        self.wire.finish().await;
        exit
    }

    fn handle(&mut self, event: Event<'_>) {
        self.agent.handle(self.clock.now(), event, &mut self.effects);
    }

    fn on_turn(&mut self, turn: &Turn) {
        match turn {
            Turn::Frames => {}
            Turn::Connected => {
                let channel = self.wire.keying_material(wire_wallet::LABEL);
                let wallet = self.wallet.as_ref().zip(channel);
                let wallet = wallet.map(|(wallet, channel)| wallet.prove(&self.uid, &channel));
                self.handle(Event::Connected { wallet });
            }
            Turn::Lost(reason) => self.handle(Event::Disconnected { reason }),
        }
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
        let Some(Started { token, .. }) = self.running.remove(&id) else {
            return;
        };
        self.ids.remove(&token);
        self.report(token, &ended);
    }

    fn report(&mut self, token: LeaseToken, ended: &Ended) {
        self.handle(Event::Ended(Report {
            token,
            reason: ended.reason,
            exit_code: ended.exit_code,
            elapsed_us: u32::try_from(ended.elapsed.as_micros()).unwrap_or(u32::MAX),
            result: &ended.result,
        }));
    }

    /// Performs the effects of all events so far, in order.
    fn perform(&mut self) -> Option<Exit> {
        let mut effects = mem::take(&mut self.effects);
        let mut exit = None;
        for effect in effects.drain() {
            match effect {
                Effect::Send(frames) => self.wire.send(frames),
                Effect::Connect => {
                    let connector = Arc::clone(&self.connector);
                    self.wire = Wire::connect(connector, self.engine.clone(), self.server_name.clone());
                }
                Effect::Disconnect { reason } => self.wire.close(&reason.to_string()),
                Effect::Start { token, template, row } => self.start(token, template, row),
                Effect::Kill { token, reason } => self.kill(token, reason),
                Effect::Keep { certificate } => self.keep(certificate),
                Effect::Note(note) => log(&note),
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
        let attempt = Attempt { token, template, row };
        let id = self.tasks.spawn(Arc::clone(executor).run(attempt, kill)).id();
        self.ids.insert(token, id);
        let killer = Some(killer);
        self.running.insert(id, Started { token, killer });
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
        match certified.connector() {
            Ok(connector) => self.connector = connector,
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

fn log(note: &Note) {
    match note {
        Note::Joined {
            worker,
            shard,
            epoch,
            adopted,
            dropped,
        } => {
            tracing::info!(
                event = "joined",
                worker = worker.0,
                shard = shard.0,
                epoch = epoch.0,
                adopted,
                dropped,
                "joined the pool"
            );
        }
        Note::Certified { until } => tracing::info!(
            event = "certified",
            days = until.0.saturating_sub(Clock::new().origin) / (86_400 * 1_000_000_000),
            "the pool gave this worker a certificate"
        ),
        Note::Reconnecting { after, reason } => {
            tracing::warn!(
                event = "reconnecting",
                after_ms = after.0,
                reason,
                "no link to the engine"
            );
        }
        Note::Cordoned { reason } => tracing::info!(event = "cordoned", reason, "no further work will come"),
        Note::Uncordoned => tracing::info!(event = "uncordoned", "work will come again"),
        Note::Draining { reason } => {
            tracing::info!(event = "draining", reason, "finishes what runs, then leaves")
        }
        Note::Stale { token, recorded } => {
            tracing::info!(event = "stale", %token, recorded, "a report was superseded");
        }
        Note::EngineShuttingDown => tracing::info!(event = "engine-stops", "the engine is shutting down"),
        Note::OverAssigned { works } => {
            tracing::warn!(
                event = "over-assigned",
                works,
                "the engine sent more than it may; returned"
            );
        }
    }
}
