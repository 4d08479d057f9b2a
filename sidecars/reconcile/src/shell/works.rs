//! Works of orders: asked for at the engine, waited for, cancelled.
//!
//! Each share of an order is an errand of its own that goes on until the engine has answered, however long it is away. Asked
//! for again under the same key, after a restart, it is the same works.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Client, ClientError, Submission, SubmitOptions};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wire_chain::Chain;
use wire_hub::merkle::{NO_RESULT, Tree, digest_of};
use wire_hub::{Address, Answer, Hash, Ticket, WorkOrder, result_of};
use wire_protocol::client_link::{IdempotencyKey, OutcomeItem, Selector};
use wire_protocol::ids::WorkId;
use wire_protocol::outcome::{Outcome as Ended, Output};
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::Millis;

use super::backoff::Backoff;
use super::node::NodeShell;
use crate::core::bag;
use crate::core::order::{Bag, Identity, Job, Outcome, Texts};
use crate::core::reconciler::{Event, Share};

/// Periods of its category after which an order can have no result any more.
const PERIODS: u64 = 10;

/// How works of orders are asked for.
#[derive(Clone, Debug)]
pub struct WorkSettings {
    /// Their priority.
    pub priority: Priority,
    /// Where results are: `{digest}` stands for the SHA-256 of the outputs, `{work}` for the number of the work or, of many,
    /// of the first.
    pub result_uri: String,
    /// The pool's contract.
    pub pool: Address,
}

/// All errands.
#[derive(Debug)]
pub(super) struct Works<C> {
    desk: Arc<Desk<C>>,
    errands: BTreeMap<(Identity, Share), Errand>,
}

#[derive(Debug)]
struct Errand {
    cancel: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What every errand needs.
#[derive(Debug)]
struct Desk<C> {
    client: Client,
    node: Arc<NodeShell<C>>,
    settings: WorkSettings,
    events: mpsc::Sender<Event>,
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) key: Hash,
    pub(super) order: Identity,
    pub(super) content: WorkOrder,
    pub(super) period_s: u64,
    pub(super) share: Share,
}

impl<C: Chain + 'static> Works<C> {
    pub(super) fn new(
        client: Client,
        node: Arc<NodeShell<C>>,
        settings: WorkSettings,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Self {
            desk: Arc::new(Desk {
                client,
                node,
                settings,
                events,
            }),
            errands: BTreeMap::new(),
        }
    }

    /// Finds out what an order asks for, and says it.
    pub(super) fn understand(&self, order: Identity, content: WorkOrder) {
        let desk = Arc::clone(&self.desk);
        tokio::spawn(async move {
            let job = match desk.job(&content).await {
                Ok(job) if job.is_bag() => Job::Bag(Bag::Wanted),
                Ok(job) => {
                    if !job.ignored.is_empty() {
                        tracing::warn!(order = %order.woid, keys = ?job.ignored, "keys of its parameters are passed over");
                    }
                    Job::Work
                }
                Err(why) => Job::Unrunnable(why),
            };
            desk.say(Event::Understood { order, job }).await;
        });
    }

    /// Asks for works, unless that is done already.
    pub(super) fn submit(&mut self, request: Request) {
        self.errands.retain(|_, errand| !errand.task.is_finished());
        let key = (request.order, request.share);
        if self.errands.contains_key(&key) {
            return;
        }
        let (cancel, cancelled) = watch::channel(false);
        let task = tokio::spawn(Arc::clone(&self.desk).run(request, cancelled));
        self.errands.insert(key, Errand { cancel, task });
    }

    /// They are not wanted any more; that is gone on with until the engine has heard it.
    pub(super) fn cancel(&self, order: Identity, share: Share) {
        if let Some(errand) = self.errands.get(&(order, share)) {
            errand.cancel.send_replace(true);
        }
    }
}

impl<C: Chain + 'static> Desk<C> {
    async fn say(&self, event: Event) {
        // Nobody listens any more: the process stops.
        drop(self.events.send(event).await);
    }

    async fn run(self: Arc<Self>, request: Request, mut cancelled: watch::Receiver<bool>) {
        let order = request.order;
        match self.errand(&request, &mut cancelled).await {
            Ok(Some(event)) => self.say(event).await,
            Ok(None) => {}
            Err(why) => {
                let job = Job::Unrunnable(why);
                self.say(Event::Understood { order, job }).await;
            }
        }
    }

    /// How it ended; nothing if it was cancelled. The error says why there can be no such work.
    async fn errand(
        &self,
        request: &Request,
        cancelled: &mut watch::Receiver<bool>,
    ) -> Result<Option<Event>, String> {
        let job = self.job(&request.content).await?;
        if *cancelled.borrow() {
            return Ok(None);
        }
        let template = self.template(&job, request);
        let rows: Vec<Vec<u8>> = match request.share {
            Share::Bag => (0..job.rows.count()).map(|row| job.row(row)).collect(),
            Share::Worker { .. } => vec![Vec::new()],
        };
        let mut key = IdempotencyKey::default();
        key.copy_from_slice(&request.key.0[..16]);
        let options = SubmitOptions { key: Some(key) };
        let mut backoff = Backoff::default();
        let submission = loop {
            match self.client.submit(template.clone(), rows.iter(), options).await {
                Ok(submission) => break submission,
                Err(ClientError::Rejected(invalid)) => return Err(invalid.to_string()),
                Err(error) => {
                    self.later("works wait for the engine", &error, &mut backoff)
                        .await
                }
            }
        };
        tokio::select! {
            event = self.ended(request, submission) => Ok(Some(event)),
            () = until_cancelled(cancelled) => {
                self.cancel(submission).await;
                Ok(None)
            }
        }
    }

    /// What an order's parameters ask for, with those of its app.
    async fn job(&self, content: &WorkOrder) -> Result<bag::Job, String> {
        let mut backoff = Backoff::default();
        loop {
            match self.node.app(content.app).await {
                Answer::Known(app) => {
                    return bag::parse(&app.params, &content.params).map_err(|error| error.to_string());
                }
                Answer::Absent => return Err(format!("there is no app at {}", content.app)),
                Answer::Unknown => backoff.wait().await,
            }
        }
    }

    fn template(&self, job: &bag::Job, request: &Request) -> WorkTemplate {
        let Request {
            order,
            period_s,
            share,
            ..
        } = request;
        let mut template = job.template.clone();
        template.label = format!("order {}", order.woid);
        template.priority = self.settings.priority;
        template.limits.wall_clock = Millis(period_s.saturating_mul(1_000));
        template.time_to_live = Some(Millis(period_s.saturating_mul(PERIODS * 1_000)));
        if let Share::Worker { wallet, result } = *share {
            template.requirements.wallet = Some(wallet);
            template.ticket = Ticket {
                chain_id: order.chain_id,
                hub: order.hub,
                pool: self.settings.pool,
                woid: order.woid,
                fingerprint: order.fingerprint,
                result,
            }
            .encode();
            if result.is_some() {
                // There is nothing to compute: what is contributed is in the ticket.
                template.command = vec!["true".to_owned()];
                template.env.clear();
                template.files.clear();
                template.columns.clear();
                template.input = Default::default();
                template.outputs = Default::default();
            }
        }
        template
    }

    async fn ended(&self, request: &Request, submission: Submission) -> Event {
        let mut backoff = Backoff::default();
        loop {
            let ended = match request.share {
                Share::Bag => self.bag_ended(request.order, submission).await,
                Share::Worker { wallet, result } => {
                    self.work_ended(request.order, wallet, result, submission.first)
                        .await
                }
            };
            match ended {
                Ok(event) => return event,
                Err(error) => {
                    self.later("outcomes wait for the engine", &error, &mut backoff)
                        .await
                }
            }
        }
    }

    async fn work_ended(
        &self,
        order: Identity,
        worker: Address,
        root: Option<Hash>,
        work: WorkId,
    ) -> Result<Event, ClientError> {
        let failed = Event::Ended {
            order,
            worker,
            outcome: Outcome::Failed,
            texts: None,
        };
        let detail = match self.client.wait_work(work).await {
            Ok(detail) => detail,
            Err(ClientError::NotFound { .. }) => return Ok(failed),
            Err(error) => return Err(error),
        };
        let is_done = detail.work.state == wire_protocol::view::WorkState::Done(Ended::Succeeded);
        let Some(output) = Output::parse(&detail.result).ok().filter(|_| is_done) else {
            return Ok(failed);
        };
        let result = result_of(&output);
        let texts = root.is_none().then(|| Texts {
            stdout: String::from_utf8_lossy(output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(output.stderr).into_owned(),
            uri: self.uri(work, result),
        });
        Ok(Event::Ended {
            order,
            worker,
            outcome: Outcome::Done(Some(root.unwrap_or(result))),
            texts,
        })
    }

    /// A work without a result has its place in the tree like any other, unless somebody has cancelled works.
    async fn bag_ended(&self, order: Identity, submission: Submission) -> Result<Event, ClientError> {
        let Submission { bag, first, rows } = submission;
        let mut digests = vec![NO_RESULT; rows as usize];
        let mut is_cancelled = false;
        let mut follow = self.client.follow(bag).await?;
        let mut take = |item: &OutcomeItem<'_>| {
            is_cancelled |= item.outcome == Ended::Cancelled;
            let row = usize::try_from(item.work.0 - first.0).ok();
            if let Some(digest) = row.and_then(|row| digests.get_mut(row)) {
                *digest = digest_of(item.outcome, item.result);
            }
        };
        while follow.recv(&mut take).await? > 0 {}
        if is_cancelled || follow.missing() > 0 {
            let (root, texts) = (None, Texts::default());
            return Ok(Event::BagEnded { order, root, texts });
        }
        let root = Tree::new(&digests).root();
        Ok(Event::BagEnded {
            order,
            root: Some(root),
            texts: Texts {
                uri: self.uri(first, root),
                ..Texts::default()
            },
        })
    }

    fn uri(&self, work: WorkId, digest: Hash) -> String {
        let digest = digest.to_string();
        let uri = self.settings.result_uri.replace("{work}", &work.to_string());
        uri.replace("{digest}", digest.trim_start_matches("0x"))
    }

    async fn cancel(&self, submission: Submission) {
        let mut backoff = Backoff::default();
        loop {
            match self.client.cancel(Selector::Bag(submission.bag)).await {
                Ok(_) | Err(ClientError::NotFound { .. }) => return,
                Err(error) => {
                    self.later("a cancellation waits for the engine", &error, &mut backoff)
                        .await
                }
            }
        }
    }

    async fn later(&self, what: &'static str, error: &ClientError, backoff: &mut Backoff) {
        tracing::warn!(error = error as &dyn std::error::Error, "{what}");
        backoff.wait().await;
    }
}

async fn until_cancelled(cancelled: &mut watch::Receiver<bool>) {
    if cancelled.wait_for(|cancelled| *cancelled).await.is_err() {
        // Nobody can cancel it any more.
        std::future::pending().await
    }
}
