//! The thread: waits for results, answers and the clock, tells the core, and does what the core asks for.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant as TokioInstant, MissedTickBehavior};
use wire_chain::{Contracts, Nodes, NodesOptions};
use wire_hub::Ticket;
use wire_lane::Alert;
use wire_protocol::units::Instant;

use super::chain::{Config, Request};
use super::node;
use super::notebook::Notebook;
use super::status::{Ended, OrderStatus, Status};
use crate::core::{Contributor, Effect, Event, Now, Refusal, Restored, State, order_note};

/// Questions that are asked beside each other.
const ASKING_MAX: usize = 16;
/// Until a node that does not answer at the start is asked again, and a note is written again.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// Between two changes of what is told.
const TELL_EVERY: Duration = Duration::from_millis(500);
/// Ends that are remembered.
const ENDED_MAX: usize = 8;

/// What came of asking.
enum Said {
    Looked(Vec<Event>, Option<String>),
    Answered(Option<Event>),
}

type Asking = Pin<Box<dyn Future<Output = Said> + Send>>;

/// The thread's own.
pub(super) struct Life {
    config: Config,
    notebook: Notebook,
    requests: mpsc::Receiver<Request>,
    say: watch::Sender<Status>,
    status: Status,
    clock: Clock,
    /// Whom to tell that a result is durable.
    replies: Vec<(Ticket, oneshot::Sender<Result<(), Refusal>>)>,
    /// Notes that the disk did not take yet, in order.
    unwritten: VecDeque<(u64, String, Option<Vec<u8>>)>,
    write_again_at: Option<TokioInstant>,
    /// Questions that wait for their turn: first those on which transactions wait, which are of the newest block alone.
    urgent: VecDeque<Effect>,
    waiting: VecDeque<Effect>,
    events: VecDeque<Event>,
}

impl Life {
    pub(super) fn new(
        config: Config,
        notebook: Notebook,
        requests: mpsc::Receiver<Request>,
        say: watch::Sender<Status>,
    ) -> Self {
        let status = say.borrow().clone();
        Self {
            status,
            config,
            notebook,
            requests,
            say,
            clock: Clock::new(),
            replies: Vec::new(),
            unwritten: VecDeque::new(),
            write_again_at: None,
            urgent: VecDeque::new(),
            waiting: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    pub(super) async fn run(mut self, contracts: Option<Contracts>) {
        let contracts = match contracts {
            Some(contracts) => contracts,
            None => match self.until_connected().await {
                Some(contracts) => contracts,
                None => return,
            },
        };
        let settings = self.config.settings(contracts.chain_id);
        self.status.chain_id = contracts.chain_id;
        let restored = Restored::read(&settings, self.notebook.notes()).map_err(|error| error.to_string());
        let nodes = Nodes::new(self.config.endpoints.clone(), contracts, NodesOptions::default());
        match (restored, nodes) {
            (Ok(restored), Ok(nodes)) => {
                let core = Contributor::restore(settings, restored, self.clock.now().instant);
                tracing::info!(
                    chain = contracts.chain_id,
                    pool = %settings.pool,
                    wallet = %settings.worker,
                    orders = core.orders().count(),
                    "contributes results to orders of this chain"
                );
                self.live(core, Arc::new(nodes)).await;
            }
            (Err(problem), _) | (_, Err(problem)) => self.refuse_all(problem).await,
        }
    }

    /// Notes results until a node has answered. `None`: the worker leaves.
    async fn until_connected(&mut self) -> Option<Contracts> {
        loop {
            let config = self.config.clone();
            let mut check = Box::pin(config.check());
            let again = loop {
                tokio::select! {
                    checked = &mut check => match checked {
                        Ok(contracts) => return Some(contracts),
                        Err(error) => break error.to_string(),
                    },
                    request = self.requests.recv() => self.note_unconnected(request?),
                }
            };
            self.tell_problem(Some(again));
            self.publish();
            let mut pause = Box::pin(tokio::time::sleep(AGAIN_AFTER));
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    request = self.requests.recv() => self.note_unconnected(request?),
                }
            }
        }
    }

    fn note_unconnected(&mut self, request: Request) {
        let Request {
            ticket,
            result,
            reply,
        } = request;
        let (hub, pool) = (self.config.hub.value, self.config.pool.value);
        if let Some(refusal) = Refusal::of_contracts(&ticket, hub, pool) {
            drop(reply.send(Err(refusal)));
            return;
        }
        let (key, value) = order_note(&ticket, result);
        // The first result stays.
        let is_there = self.notebook.notes().any(|(there, _)| there == key);
        match if is_there {
            Ok(())
        } else {
            self.notebook.put(&key, Some(value))
        } {
            Ok(()) => drop(reply.send(Ok(()))),
            // Without an answer the agent says so.
            Err(error) => tracing::error!(%error, "a result for an order cannot be noted"),
        }
    }

    /// Nothing can be done; everybody is told why.
    async fn refuse_all(&mut self, problem: String) {
        tracing::error!(problem, "nothing is contributed");
        self.tell_problem(Some(problem));
        self.publish();
        while let Some(request) = self.requests.recv().await {
            // Dropped, it is told that nobody is here.
            drop(request.reply);
        }
    }

    async fn live(&mut self, mut core: Contributor, nodes: Arc<Nodes>) {
        let mut asking: FuturesUnordered<Asking> = FuturesUnordered::new();
        let mut poll = tokio::time::interval(self.config.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tell = tokio::time::interval(TELL_EVERY);
        tell.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.turn(&mut core);
            while asking.len() < ASKING_MAX
                && let Some(effect) = self.urgent.pop_front().or_else(|| self.waiting.pop_front())
            {
                let (nodes, wallet) = (Arc::clone(&nodes), Arc::clone(&self.config.wallet));
                asking.push(Box::pin(async move {
                    Said::Answered(node::perform(&*nodes, &wallet, &effect).await)
                }));
            }
            let deadline = core
                .next_deadline(self.clock.now())
                .map(|at| self.clock.to_tokio(at));
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(Request { ticket, result, reply }) => {
                        self.replies.retain(|(_, reply)| !reply.is_closed());
                        self.replies.push((ticket, reply));
                        self.events.push_back(Event::Computed { ticket, result });
                    }
                    None => break,
                },
                Some(said) = asking.next() => match said {
                    Said::Answered(event) => self.events.extend(event),
                    Said::Looked(events, problem) => {
                        self.events.extend(events);
                        self.turn(&mut core);
                        let problem = problem.or_else(|| self.is_old(&core));
                        self.tell_problem(problem);
                    }
                },
                // A node that is slow is not asked for more than it answers.
                _ = poll.tick(), if asking.is_empty() => {
                    let nodes = Arc::clone(&nodes);
                    asking.push(Box::pin(async move {
                        let (events, problem) = node::look(&*nodes).await;
                        Said::Looked(events, problem)
                    }));
                }
                _ = tell.tick() => {
                    self.describe(&core);
                    self.publish();
                }
                () = until(deadline) => self.events.push_back(Event::Tick),
                () = until(self.write_again_at) => self.write_again(),
            }
        }
        self.leave(&core);
    }

    /// Tells the core all that has happened, and does what needs no node.
    fn turn(&mut self, core: &mut Contributor) {
        while let Some(event) = self.events.pop_front() {
            let mut effects = Vec::new();
            core.handle(self.clock.now(), event, &mut effects);
            for effect in effects {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Note { number, key, value } => {
                self.unwritten.push_back((number, key, value));
                if self.write_again_at.is_none() {
                    self.write_again();
                }
            }
            Effect::Taken(ticket) => self.reply(&ticket, &Ok(())),
            Effect::Refused { ticket, why } => {
                self.remember(&ticket, format!("refused: {why}"));
                tracing::error!(woid = %ticket.woid, "a result is not contributed: {why}");
                self.reply(&ticket, &Err(why));
            }
            Effect::Told { ticket, state } => {
                let (woid, state_name) = (ticket.woid, state.name());
                if state.is_bad() {
                    tracing::warn!(event = "order", %woid, state = state_name, "{state}");
                } else {
                    tracing::info!(event = "order", %woid, state = state_name, "{state}");
                }
            }
            Effect::Over { ticket, state } => self.on_over(&ticket, &state),
            Effect::Report { intent, progress } => {
                tracing::debug!(call = ?intent.call, ?progress, "a transaction");
            }
            Effect::Alert(alert) => {
                tracing::warn!("{alert}");
                self.status.alert = (alert != Alert::Over).then(|| alert.to_string());
            }
            urgent @ Effect::Lane(_) => self.urgent.push_back(urgent),
            other => self.waiting.push_back(other),
        }
    }

    /// Writes what is to be noted, in order, until the disk takes no more.
    fn write_again(&mut self) {
        self.write_again_at = None;
        while let Some((number, key, value)) = self.unwritten.front() {
            if let Err(error) = self.notebook.put(key, value.clone()) {
                tracing::error!(%error, "a note of the chain cannot be written: nothing is sent until it can");
                self.status.alert = Some(format!("notes cannot be written: {error}"));
                self.write_again_at = Some(TokioInstant::now() + AGAIN_AFTER);
                return;
            }
            self.events.push_back(Event::Noted(*number));
            self.unwritten.pop_front();
        }
    }

    fn reply(&mut self, ticket: &Ticket, answer: &Result<(), Refusal>) {
        for (_, reply) in self.replies.extract_if(.., |(of, _)| of == ticket) {
            // An agent that has waited too long has gone on.
            let _ = reply.send(answer.clone());
        }
    }

    fn on_over(&mut self, ticket: &Ticket, state: &State) {
        match state {
            State::Won { reward } => {
                self.status.won += 1;
                self.status.earned += reward.map_or(0, |reward| reward.0);
            }
            State::Lost { .. } => self.status.lost += 1,
            _ => {}
        }
        self.remember(ticket, state.to_string());
        tracing::info!(event = "order-over", woid = %ticket.woid, state = state.name(), "{state}; that is final");
    }

    fn remember(&mut self, ticket: &Ticket, says: String) {
        let ended = &mut self.status.ended;
        if ended.len() >= ENDED_MAX {
            ended.remove(0);
        }
        ended.push(Ended {
            at_s: self.clock.now().unix_s,
            woid: ticket.woid.to_string(),
            says,
        });
    }

    /// Why nothing is sent on the word of the node, although it answers.
    fn is_old(&self, core: &Contributor) -> Option<String> {
        let now = self.clock.now();
        let head = core.head().filter(|_| !core.is_fresh(now))?;
        let age_s = now.unix_s.saturating_sub(head.timestamp.0);
        Some(format!(
            "the node's last block is {age_s} s old: nothing is sent on its word; on a chain that makes blocks only when \
             somebody sends something, set POOL_CHAIN_BLOCK_AGE_MAX=0"
        ))
    }

    fn tell_problem(&mut self, problem: Option<String>) {
        // An age grows; what is told of it once is enough for a log.
        let (was, is) = (self.status.problem.is_some(), problem.is_some());
        match &problem {
            Some(problem) if !was => tracing::warn!("the chain: {problem}"),
            None if was => tracing::info!("the chain is followed again"),
            _ => {}
        }
        if was != is || problem.is_some() {
            self.status.problem = problem;
        }
    }

    /// Writes down how things are.
    fn describe(&mut self, core: &Contributor) {
        let status = &mut self.status;
        status.block = core.head().map_or(0, |head| head.at.number);
        status.membership = core.membership().to_string();
        let balance = core.person().map(|person| person.balance);
        status.stake = balance.map(|balance| (balance.stake.0, balance.locked.0));
        let membership = core.membership();
        status.obstacle = if membership.is_problem() {
            Some(membership.to_string())
        } else {
            core.stake_missing().map(|state| state.to_string())
        };
        if self.unwritten.is_empty()
            && status
                .alert
                .as_ref()
                .is_some_and(|alert| alert.starts_with("notes"))
        {
            status.alert = None;
        }
        status.in_flight = core.lane().in_flight();
        let order = |(ticket, state): (&Ticket, &State)| OrderStatus {
            woid: ticket.woid.to_string(),
            state: state.name().to_owned(),
            says: state.to_string(),
        };
        status.orders = core.orders().map(order).collect();
    }

    fn publish(&self) {
        self.say.send_if_modified(|told| {
            let is_new = *told != self.status;
            if is_new {
                told.clone_from(&self.status);
            }
            is_new
        });
    }

    /// The worker ends, and its orders do not.
    fn leave(&mut self, core: &Contributor) {
        for (ticket, state) in core.orders() {
            if matches!(state, State::Contributing | State::Contributed | State::Revealing) {
                tracing::warn!(
                    woid = %ticket.woid,
                    "this worker leaves with an order under way ({state}): start it again in time, or its stake is lost"
                );
            }
        }
        self.describe(core);
        self.publish();
    }
}

async fn until(deadline: Option<TokioInstant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// The core's time: the wall clock at the start, and the monotonic clock from there; and the wall clock.
struct Clock {
    started: TokioInstant,
    origin: u64,
}

impl Clock {
    fn new() -> Self {
        Self {
            started: TokioInstant::now(),
            origin: u64::try_from(since_1970().as_nanos()).unwrap_or(0),
        }
    }

    fn now(&self) -> Now {
        let passed = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now {
            instant: Instant(self.origin.saturating_add(passed)),
            unix_s: since_1970().as_secs(),
        }
    }

    fn to_tokio(&self, instant: Instant) -> TokioInstant {
        let ahead = Duration::from_nanos(instant.0.saturating_sub(self.origin));
        self.started + ahead.min(Duration::from_secs(365 * 86_400))
    }
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
