//! The loop around the core: events in, effects out.
//!
//! Questions to the node are asked beside each other, up to a bound; their answers come back as events, in whatever order. What
//! must not be done before notes are durable goes through the [`Keeper`] with them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Client, ClientError};
use thiserror::Error;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant as Clock, sleep, sleep_until};
use wire_chain::Chain;
use wire_hub::Call;
use wire_protocol::note::Note;
use wire_protocol::units::{Instant, Millis};

use super::backoff::Backoff;
use super::inbox;
use super::keeper::{Keeper, Kept};
use super::node::NodeShell;
use super::roster;
use super::works::{Request, WorkSettings, Works};
use crate::core::reconciler::{
    Effect, Event, NOTEBOOK, NotesError, Place, Reconciler, Restored, Settings, place_note,
};
use crate::status::Status;

/// Questions that a node is asked at once.
const ASKED_MAX: usize = 32;
/// Events that wait for the core; more make their senders wait.
const EVENTS_MAX: usize = 1_024;
/// How often the engine is asked for its workers.
const ROSTER_EVERY: Duration = Duration::from_secs(2);
/// So long what is still to be noted may take when it stops.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// Why it cannot go on.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The engine refuses what is asked of it, for a reason that waiting does not cure.
    #[error("the engine refuses this sidecar")]
    Engine(#[source] ClientError),
    /// Another process has taken the notebook.
    #[error("another pool-reconcile works for this engine, or has")]
    Replaced(#[source] ClientError),
    /// What is in the notebook is of another pool.
    #[error(
        "the engine keeps {orders} orders of {place}: set ETHNODE, WORKERPOOLADDRESS and WALLETPATH back to it until they are \
         over, or let go of them with --forget"
    )]
    OtherPlace {
        /// Which.
        place: Place,
        /// How many orders are under way there.
        orders: usize,
    },
    /// What is in the notebook makes no sense.
    #[error("what an earlier pool-reconcile has left in the engine cannot be used")]
    Notes(#[source] NotesError),
}

/// The engine, with its notebook in hand.
#[derive(Debug)]
pub struct Engine {
    client: Client,
    holder: u64,
    restored: Restored,
}

impl Engine {
    /// Takes the notebook, from which on no other process can write to it, and reads what it has of this place. What it has of
    /// another is let go if it `may_forget`.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub async fn take(client: Client, place: Place, may_forget: bool) -> Result<Self, DriverError> {
        let mut backoff = Backoff::default();
        loop {
            match Self::try_take(&client).await {
                Ok((holder, notes)) => return Self::settle(client, holder, notes, place, may_forget).await,
                Err(error) if error.is_transient() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the notebook waits for the engine"
                    );
                    backoff.wait().await;
                }
                Err(error) => return Err(DriverError::Engine(error)),
            }
        }
    }

    /// The notebook is of this place from now on.
    async fn settle(
        client: Client,
        holder: u64,
        notes: Vec<Note>,
        place: Place,
        may_forget: bool,
    ) -> Result<Self, DriverError> {
        let texts = notes
            .iter()
            .map(|note| (note.key.as_str(), note.value.as_slice()));
        let mut restored = Restored::read(texts).map_err(DriverError::Notes)?;
        let mut changes: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        if let Some(other) = restored.place.filter(|other| *other != place) {
            let orders = restored.orders();
            if !may_forget {
                return Err(DriverError::OtherPlace { place: other, orders });
            }
            tracing::warn!("lets go of {orders} orders of {other}");
            changes.extend(notes.into_iter().map(|note| (note.key, None)));
            restored = Restored::default();
        }
        let (key, value) = place_note(&place);
        changes.insert(key, Some(value));
        let keeper = Keeper::new(client.clone(), holder);
        keeper.write_all(changes).await.map_err(DriverError::Engine)?;
        Ok(Self {
            client,
            holder,
            restored,
        })
    }

    async fn try_take(client: &Client) -> Result<(u64, Vec<Note>), ClientError> {
        let holder = client.take_notebook(NOTEBOOK).await?;
        Ok((holder, client.notes(NOTEBOOK).await?))
    }

    /// Nothing was followed yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.restored.is_new()
    }
}

/// The core with all that performs its effects.
pub struct Driver<C> {
    brain: Reconciler,
    began: Clock,
    node: Arc<NodeShell<C>>,
    client: Client,
    keeper: Arc<Keeper>,
    works: Works<C>,
    poll: Duration,
    asking: Arc<Semaphore>,
    events: mpsc::Sender<Event>,
    waiting: mpsc::Receiver<Event>,
    status: Arc<Status>,
}

impl<C: Chain + 'static> Driver<C> {
    /// Goes on with what the notebook says; without any, from the block of number `from`. A node is asked for a new block
    /// every `poll`.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(
        settings: Settings,
        engine: Engine,
        node: NodeShell<C>,
        works: WorkSettings,
        (from, poll): (u64, Millis),
        status: Arc<Status>,
    ) -> Self {
        let (events, waiting) = mpsc::channel(EVENTS_MAX);
        let node = Arc::new(node);
        let Engine {
            client,
            holder,
            restored,
        } = engine;
        Self {
            brain: Reconciler::restore(settings, restored, from, Instant(0)),
            began: Clock::now(),
            keeper: Arc::new(Keeper::new(client.clone(), holder)),
            works: Works::new(client.clone(), Arc::clone(&node), works, events.clone()),
            node,
            client,
            poll: poll.to_duration(),
            asking: Arc::new(Semaphore::new(ASKED_MAX)),
            events,
            waiting,
            status,
        }
    }

    /// Works until it is told to stop. `wish`: what the operator wants sent.
    ///
    /// # Errors
    /// See [`DriverError`].
    pub async fn run(
        mut self,
        wish: Option<Call>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), DriverError> {
        if let Some(call) = wish {
            self.handle(Event::Wished(call));
        }
        let watching = tokio::spawn(watch_chain(
            Arc::clone(&self.node),
            self.poll,
            self.events.clone(),
            Arc::clone(&self.status),
        ));
        let calling = tokio::spawn(call_roll(
            self.client.clone(),
            self.events.clone(),
            Arc::clone(&self.status),
        ));
        let asking = tokio::spawn(inbox::watch(self.client.clone(), self.events.clone()));
        let keeper = Arc::clone(&self.keeper);
        let (kept, mut durable) = mpsc::channel(1);
        let keeping = tokio::spawn(async move {
            loop {
                let done = keeper.keep().await;
                let failed = done.is_err();
                if kept.send(done).await.is_err() || failed {
                    return;
                }
            }
        });
        let ended = loop {
            let due = self
                .brain
                .next_deadline()
                .map(|at| self.began + Duration::from_nanos(at.0));
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break Ok(()),
                done = durable.recv() => match done {
                    Some(Ok(kept)) => self.on_kept(kept),
                    Some(Err(error @ ClientError::Conflict(_))) => break Err(DriverError::Replaced(error)),
                    Some(Err(error)) => break Err(DriverError::Engine(error)),
                    None => unreachable!("it ends with an error that was said"),
                },
                event = self.waiting.recv() => self.handle(event.expect("a sender is kept")),
                () = sleep_until(due.unwrap_or_else(Clock::now)), if due.is_some() => self.handle(Event::Tick),
            }
        };
        watching.abort();
        calling.abort();
        asking.abort();
        if ended.is_ok() {
            // What is on its way to the notebook may arrive; what does not is found again on the chain.
            drop(tokio::time::timeout(STOPS_WITHIN, durable.recv()).await);
        }
        keeping.abort();
        ended
    }

    fn now(&self) -> Instant {
        Instant(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    fn on_kept(&mut self, Kept { numbers, after }: Kept) {
        for effect in after {
            self.ask_engine(effect);
        }
        for number in numbers {
            self.handle(Event::Noted(number));
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.brain.handle(self.now(), event, &mut effects);
        let mut notes = Vec::new();
        let mut after = Vec::new();
        for effect in effects {
            match effect {
                Effect::Note { .. } => notes.push(effect),
                Effect::Submit { .. } | Effect::Cancel { .. } => after.push(effect),
                Effect::Understand { order, content } => self.works.understand(order, *content),
                Effect::Ask { .. }
                | Effect::SeeBought { .. }
                | Effect::See { .. }
                | Effect::Meet { .. }
                | Effect::SeeReceipt { .. }
                | Effect::SeeOffers { .. }
                | Effect::AskAccount(_)
                | Effect::AskGasPrice
                | Effect::AskReceipt { .. }
                | Effect::Sign { .. }
                | Effect::Send { .. } => self.ask_node(effect),
                said => self.status.said(&said),
            }
        }
        self.keeper.add(notes, after);
        self.status.stands(&self.brain);
    }

    fn ask_node(&self, effect: Effect) {
        let node = Arc::clone(&self.node);
        let asking = Arc::clone(&self.asking);
        let events = self.events.clone();
        tokio::spawn(async move {
            let _turn = asking.acquire().await.expect("the semaphore is never closed");
            let answer = node.perform(&effect).await;
            tracing::trace!(?effect, ?answer, "asked a node");
            if let Some(event) = answer {
                // Nobody listens any more: the process stops.
                drop(events.send(event).await);
            }
        });
    }

    fn ask_engine(&mut self, effect: Effect) {
        match effect {
            Effect::Submit {
                key,
                order,
                content,
                period_s,
                share,
            } => self.works.submit(Request {
                key,
                order,
                content: *content,
                period_s,
                share,
            }),
            Effect::Cancel { order, share } => self.works.cancel(order, share),
            other => unreachable!("nothing else waits for notes: {other:?}"),
        }
    }
}

/// Asks for a new block, again and again.
async fn watch_chain<C: Chain>(
    node: Arc<NodeShell<C>>,
    every: Duration,
    events: mpsc::Sender<Event>,
    status: Arc<Status>,
) {
    loop {
        let seen = node.look().await;
        status.node_answers(seen.iter().any(|event| matches!(event, Event::Head(_))));
        for event in seen {
            if events.send(event).await.is_err() {
                return;
            }
        }
        sleep(every).await;
    }
}

/// Asks for the engine's workers, again and again.
async fn call_roll(client: Client, events: mpsc::Sender<Event>, status: Arc<Status>) {
    loop {
        match roster::look(&client).await {
            Ok(event) => {
                status.engine_answers(Ok(()));
                if events.send(event).await.is_err() {
                    return;
                }
            }
            Err(error) => status.engine_answers(Err(&error)),
        }
        sleep(ROSTER_EVERY).await;
    }
}
