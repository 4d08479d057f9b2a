//! Works one by one: a stream of single submissions, at the price of a row each.
//!
//! Underneath, a stream is one open bag after the other. Each announces [`StreamOptions::bag_rows`] rows, which come
//! as callers have them; when it is full the next is opened, and the last is *sealed*: it takes no more. Callers
//! append their row to a buffer, and one task, the stream's driver, takes what has gathered since it looked last and
//! sends it as one chunk. So rows travel alone when few come, and thousands together when many do, without a timer:
//! nobody waits for company.
//!
//! ```text
//!  callers ── rows ──► pending chunks ──► driver ──► ROWS ──► engine
//!     ▲                                                          │
//!     └── tickets ◄── watermark: durable up to row n ◄─ ACCEPTED ┘
//! ```
//!
//! A row has a number in its stream, and what is durable is a watermark over those numbers. A ticket is such a number
//! with a place in the queue of those who wait for the watermark; it costs no task and no channel.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;
use wire_protocol::client_link::{Accepted, OutcomeItem};
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::template::{Invalid, WorkTemplate, row};

use crate::connection::Client;
use crate::error::ClientError;
use crate::follow::{Follow, OUTCOMES_BYTES_MAX, Ready};
use crate::routes::{Consumer, UploadNews};
use crate::sending::{Chunk, Sending, Source, UNACKNOWLEDGED_BYTES_MAX, UNACKNOWLEDGED_ROWS_MAX, too_long};

/// Bytes that are durable and still kept before the driver is woken only to let go of them. It looks at them
/// anyway whenever there are rows to send.
const KEPT_BYTES_WORTH_WAKING: usize = 64 << 10;

/// What a caller may choose about a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamOptions {
    /// Works of one bag: 1 to 1 000 000, default 8 192. A bag that is open counts with all of them against the
    /// engine's limit of open works; each bag costs the engine some hundred bytes and a round trip.
    pub bag_rows: u32,
    /// Rows that may wait for their acknowledgement before callers wait. Default [`UNACKNOWLEDGED_ROWS_MAX`].
    pub unacknowledged_rows_max: u32,
    /// Bytes that may, but for the last row. Default [`UNACKNOWLEDGED_BYTES_MAX`].
    pub unacknowledged_bytes_max: usize,
}

impl Default for StreamOptions {
    fn default() -> Self {
        Self {
            bag_rows: 8_192,
            unacknowledged_rows_max: UNACKNOWLEDGED_ROWS_MAX,
            unacknowledged_bytes_max: UNACKNOWLEDGED_BYTES_MAX,
        }
    }
}

/// A stream that has come to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamSummary {
    /// Works that were accepted, all of them durable.
    pub works: u64,
}

impl Client {
    /// Opens a stream of works that share a template, and the stream of their outcomes. Nothing is sent before the
    /// first row. Drop the outcomes at once if nobody wants them: then they are not sent.
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: a field of the template or an option is out of range. A time to live is one: it
    /// counts from when a bag is opened, and a stream's works come later than that.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn stream(
        &self,
        template: WorkTemplate,
        options: StreamOptions,
    ) -> Result<(Stream, StreamOutcomes), ClientError> {
        template.validate().map_err(ClientError::Rejected)?;
        check(&template, &options).map_err(ClientError::Rejected)?;
        let consumer = Consumer::new(OUTCOMES_BYTES_MAX);
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            arrived: Arc::default(),
            changed: Notify::new(),
            consumer: Arc::clone(&consumer),
            columns: template.columns.len(),
            options,
        });
        tokio::spawn(drive(Arc::clone(&shared), self.clone(), template));
        let stream = Stream(Arc::new(Handle(Arc::clone(&shared))));
        let outcomes = StreamOutcomes {
            shared,
            consumer,
            follows: Vec::new(),
            missing: 0,
        };
        Ok((stream, outcomes))
    }
}

fn check(template: &WorkTemplate, options: &StreamOptions) -> Result<(), Invalid> {
    let invalid = |field: &str, problem: String| {
        Err(Invalid {
            field: field.to_owned(),
            problem,
        })
    };
    if template.time_to_live.is_some() {
        let problem = "counts from when a bag is opened; works of a stream come later".to_owned();
        return invalid("time_to_live", problem);
    }
    let max = options.unacknowledged_rows_max;
    if !(1..=BAG_ROWS_MAX).contains(&options.bag_rows) {
        let problem = format!("is {}; 1 to {BAG_ROWS_MAX} are allowed", options.bag_rows);
        return invalid("bag_rows", problem);
    }
    if !(1..=UNACKNOWLEDGED_ROWS_MAX).contains(&max) {
        let problem = format!("is {max}; 1 to {UNACKNOWLEDGED_ROWS_MAX} are allowed");
        return invalid("unacknowledged_rows_max", problem);
    }
    Ok(())
}

/// Takes works one by one, from any number of tasks: clones are one stream.
///
/// When the last clone is dropped without [`finish`](Self::finish), rows that were taken still go out and the
/// stream is sealed behind them, by its driver, for as long as the runtime lives; nobody is told how that ends.
/// A process that dies first leaves its last bag unsealed: its works are done and it waits for rows.
#[derive(Clone)]
pub struct Stream(Arc<Handle>);

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

/// What all clones hold together.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.finish();
    }
}

impl Stream {
    /// Submits one work, and returns when it is durable.
    ///
    /// # Errors
    /// Those of [`push`](Self::push) and of its [`Ticket`].
    pub async fn submit(&self, row: impl AsRef<[u8]>) -> Result<WorkId, ClientError> {
        self.push(row).await?.await
    }

    /// Hands one work over; the ticket says when it is durable. Waits only while too much is under way. Cancelled,
    /// it has taken nothing.
    ///
    /// # Errors
    /// [`ClientError::Rejected`]: this row cannot be; the stream goes on. [`ClientError::StreamFinished`], or what
    /// ended the stream: it takes no more.
    pub async fn push(&self, row: impl AsRef<[u8]>) -> Result<Ticket, ClientError> {
        Ok(Ticket {
            row: self.send(row).await?,
            shared: Arc::clone(&self.0.0),
            waits: false,
        })
    }

    /// As [`push`](Self::push), for those who only watch outcomes: returns the row's number in the stream, from 0,
    /// which [`StreamOutcomes::row_of`] finds again.
    ///
    /// # Errors
    /// Those of [`push`](Self::push).
    pub async fn send(&self, row: impl AsRef<[u8]>) -> Result<u64, ClientError> {
        // Whoever pushes in a tight loop on a runtime of one thread must let the driver have its turn.
        tokio::task::coop::consume_budget().await;
        let shared = &*self.0.0;
        let row = row.as_ref();
        shared.check(row)?;
        if let Some(taken) = shared.take(row) {
            return taken;
        }
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(taken) = shared.take(row) {
                return taken;
            }
            changed.await;
        }
    }

    /// Waits until more than `known` rows are durable, and returns how many are, counted from the stream's first.
    /// `None`: all that it took are, and it takes no more. For those who want to know of each work when it was
    /// acknowledged, without a ticket for each.
    ///
    /// # Errors
    /// What ended the stream before.
    pub async fn durable_beyond(&self, known: u64) -> Result<Option<u64>, ClientError> {
        let shared = &*self.0.0;
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            {
                let mut state = shared.lock();
                if state.durable > known {
                    return Ok(Some(state.durable));
                }
                if let Some(ended) = &state.ended {
                    return ended.clone().map(|()| None);
                }
                state.watched = true;
            }
            changed.await;
        }
    }

    /// Seals the stream: it takes no more works. Returns when all that it took are durable and the last bag is
    /// sealed. Outcomes go on coming.
    ///
    /// # Errors
    /// What ended the stream before. Where it is [`ClientError::Away`] or [`ClientError::Timeout`], the last bag may
    /// be left unsealed.
    pub async fn finish(&self) -> Result<StreamSummary, ClientError> {
        let shared = &*self.0.0;
        shared.finish();
        loop {
            let changed = shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let (ended, works) = {
                let state = shared.lock();
                (state.ended.clone(), state.durable)
            };
            if let Some(ended) = ended {
                return ended.map(|()| StreamSummary { works });
            }
            changed.await;
        }
    }
}

/// Becomes the id of its work when that is durable. Dropped, it takes nothing back.
///
/// # Errors
/// What ended the stream before the work was known to be durable: [`ClientError::Rejected`],
/// [`ClientError::Away`] (the work may be accepted all the same), [`ClientError::SubmissionEnded`] if the runtime
/// was shut down.
#[must_use = "a ticket says when its work is durable; `Stream::send` does without"]
pub struct Ticket {
    row: u64,
    shared: Arc<Shared>,
    /// It stands in the queue.
    waits: bool,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Ticket {
    /// The row's number in the stream, from 0.
    #[must_use]
    pub fn row(&self) -> u64 {
        self.row
    }
}

impl Future for Ticket {
    type Output = Result<WorkId, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ticket = &mut *self;
        let mut state = ticket.shared.lock();
        let resolved = if ticket.row < state.durable {
            Ok(ticket.shared.work_of(&state, ticket.row))
        } else if let Some(ended) = &state.ended {
            Err(ended.clone().err().unwrap_or(ClientError::SubmissionEnded))
        } else {
            state
                .waiting
                .entry(ticket.row)
                .and_modify(|waker| waker.clone_from(cx.waker()))
                .or_insert_with(|| cx.waker().clone());
            drop(state);
            ticket.waits = true;
            return Poll::Pending;
        };
        drop(state);
        ticket.waits = false;
        Poll::Ready(resolved)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.waits {
            self.shared.lock().waiting.remove(&self.row);
        }
    }
}

/// What the stream's callers, its driver and the reader of the link have in common.
struct Shared {
    state: Mutex<State>,
    /// For the driver: rows, news of the submission, the end.
    arrived: Arc<Notify>,
    /// For callers: there is room, or the stream has ended.
    changed: Notify,
    consumer: Arc<Consumer>,
    columns: usize,
    options: StreamOptions,
}

#[derive(Default)]
struct State {
    /// Rows that the driver has not taken yet, each chunk within one bag.
    pending: VecDeque<Chunk>,
    /// Rows that were taken over from callers, and those that are durable.
    pushed: u64,
    durable: u64,
    /// Bytes of rows that are kept, here and by the driver.
    bytes: usize,
    /// The driver has nothing to send and is to be told of the next row.
    idle: bool,
    /// Callers wait for room.
    crowded: bool,
    /// Callers wait for the watermark to rise.
    watched: bool,
    waiting: BTreeMap<u64, Waker>,
    /// The first work of each bag.
    bags: Vec<WorkId>,
    /// Followers on their way to the outcomes.
    follows: Vec<Follow>,
    finishing: bool,
    ended: Option<Result<(), ClientError>>,
}

impl Shared {
    fn check(&self, row: &[u8]) -> Result<(), ClientError> {
        let name = || "row".to_owned();
        let problem = |columns| Invalid {
            field: name(),
            problem: format!("does not hold exactly {columns} values"),
        };
        let invalid =
            too_long(name, row).or_else(|| (!row::fits(self.columns, row)).then(|| problem(self.columns)));
        invalid.map_or(Ok(()), |invalid| Err(ClientError::Rejected(invalid)))
    }

    /// Takes a row over and returns its number. `None`: there is no room for it now.
    fn take(&self, row: &[u8]) -> Option<Result<u64, ClientError>> {
        let mut state = self.lock();
        if let Some(Err(error)) = &state.ended {
            return Some(Err(error.clone()));
        }
        if state.finishing || state.ended.is_some() {
            return Some(Err(ClientError::StreamFinished));
        }
        let under_way = state.pushed - state.durable;
        let full = under_way >= u64::from(self.options.unacknowledged_rows_max)
            || state.bytes > 0 && state.bytes + row.len() > self.options.unacknowledged_bytes_max;
        if full {
            state.crowded = true;
            let idle = std::mem::take(&mut state.idle);
            drop(state);
            if idle {
                // It has let go of nothing lately, and may.
                self.arrived.notify_one();
            }
            return None;
        }
        let number = state.pushed;
        state.pushed += 1;
        let in_bag = self.in_bag(number);
        if in_bag == 0 || !state.pending.back().is_some_and(Chunk::has_room) {
            state.pending.push_back(Chunk::at(in_bag));
        }
        let chunk = state.pending.back_mut().expect("pushed if it was not there");
        let before = chunk.bytes.len();
        chunk.push(row);
        let bytes = chunk.bytes.len() - before;
        state.bytes += bytes;
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        if idle {
            self.arrived.notify_one();
        }
        Some(Ok(number))
    }

    /// No more rows come.
    fn finish(&self) {
        self.lock().finishing = true;
        self.arrived.notify_one();
    }

    /// Rows of the bag that begins at row `base` are durable. Says whether the driver must know.
    fn accepted(&self, base: u64, accepted: &Accepted) -> bool {
        let mut state = self.lock();
        if state.bags.len() as u64 == base / u64::from(self.options.bag_rows) {
            state.bags.push(accepted.first);
        }
        // No more than was pushed, whatever the engine says: a bag is the driver's alone.
        let durable = (base + u64::from(accepted.rows)).min(state.pushed);
        state.durable = state.durable.max(durable);
        let durable = state.durable;
        let mut woken = Vec::new();
        while let Some(first) = state.waiting.first_entry()
            && *first.key() < durable
        {
            woken.push(first.remove());
        }
        let crowded = std::mem::take(&mut state.crowded);
        let watched = std::mem::take(&mut state.watched);
        let matters = crowded
            || state.finishing
            || accepted.rows >= self.options.bag_rows
            || state.bytes > KEPT_BYTES_WORTH_WAKING;
        drop(state);
        woken.into_iter().for_each(Waker::wake);
        if crowded || watched {
            self.changed.notify_waiters();
        }
        matters
    }

    /// It has ended; what is not durable by now will not be known to be.
    fn end(&self, ended: Result<(), ClientError>) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.ended = Some(ended);
        state.pending.clear();
        let woken = std::mem::take(&mut state.waiting);
        drop(state);
        woken.into_values().for_each(Waker::wake);
        self.changed.notify_waiters();
        self.consumer.wake();
    }

    fn in_bag(&self, number: u64) -> u32 {
        u32::try_from(number % u64::from(self.options.bag_rows)).expect("less than a bag's rows")
    }

    /// The work of a row that is durable.
    fn work_of(&self, state: &State, number: u64) -> WorkId {
        let bag = number / u64::from(self.options.bag_rows);
        state.bags[usize::try_from(bag).expect("few bags")].offset(self.in_bag(number))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the stream when its driver is dropped, together with its runtime, say.
struct Driving(Arc<Shared>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.end(Err(ClientError::SubmissionEnded));
    }
}

/// Sends what callers push, bag by bag, until the stream is finished or has failed.
async fn drive(shared: Arc<Shared>, client: Client, template: WorkTemplate) {
    let driving = Driving(shared);
    let shared = &driving.0;
    let mut base = 0;
    while shared.rows_wait().await {
        let mut sending = bag(shared, &client, &template, base);
        let mut rows = BagRows {
            shared,
            base,
            given: 0,
        };
        let sent = sending.run(&mut rows).await;
        let sealed = match &sent {
            Ok(submission) if submission.rows == shared.options.bag_rows => Ok(()),
            Ok(submission) => {
                sending.target.send_modify(|target| {
                    if let Some(target) = target {
                        target.rows_total = submission.rows;
                    }
                });
                shared.consumer.wake();
                seal(&client, submission.bag).await
            }
            Err(error) => Err(error.clone()),
        };
        if let Err(error) = sealed {
            shared.end(Err(error));
            let bag = sending.target.borrow().as_ref().map(|target| target.bag);
            if let (Err(ClientError::Rejected(_)), Some(bag)) = (sent, bag) {
                // Callers know already; whether it can be sealed changes nothing for them.
                let _ = client.seal(bag).await;
            }
            return;
        }
        base += u64::from(shared.options.bag_rows);
    }
    shared.end(Ok(()));
}

async fn seal(client: &Client, bag: BagId) -> Result<(), ClientError> {
    match client.seal(bag).await {
        // Somebody else has ended it, and it is forgotten: nothing is left to seal.
        Ok(_) | Err(ClientError::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Prepares the bag that begins at row `base`, and tells the outcomes of it.
fn bag(shared: &Arc<Shared>, client: &Client, template: &WorkTemplate, base: u64) -> Sending {
    let hears = Arc::clone(shared);
    let news = UploadNews::with(
        Arc::clone(&shared.arrived),
        Box::new(move |accepted| hears.accepted(base, accepted)),
    );
    let mut sending = Sending::new(client.clone(), template.clone(), shared.options.bag_rows, news);
    if !shared.consumer.is_gone() {
        let follow = sending.follow(&shared.consumer);
        shared.lock().follows.push(follow);
    }
    sending
}

impl Shared {
    /// Waits for the first row of a bag. `false`: the stream is finished.
    async fn rows_wait(&self) -> bool {
        loop {
            {
                let mut state = self.lock();
                if !state.pending.is_empty() || state.finishing {
                    return !state.pending.is_empty();
                }
                state.idle = true;
            }
            self.arrived.notified().await;
        }
    }
}

/// The rows of one bag, as they come.
struct BagRows<'a> {
    shared: &'a Shared,
    base: u64,
    /// How many of them were given to be sent.
    given: u32,
}

impl Source for BagRows<'_> {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, ClientError> {
        if self.given == self.shared.options.bag_rows {
            // What waits is the next bag's.
            return Ok(None);
        }
        let mut state = self.shared.lock();
        let chunk = state.pending.pop_front();
        state.idle = chunk.is_none();
        self.given += chunk.as_ref().map_or(0, |chunk| chunk.count);
        Ok(chunk)
    }

    fn total(&self) -> u32 {
        let state = self.shared.lock();
        let bag_rows = self.shared.options.bag_rows;
        if state.finishing {
            u32::try_from(state.pushed - self.base)
                .unwrap_or(u32::MAX)
                .min(bag_rows)
        } else {
            bag_rows
        }
    }

    fn released(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let mut state = self.shared.lock();
        state.bytes -= bytes;
        let crowded = std::mem::take(&mut state.crowded);
        drop(state);
        if crowded {
            self.shared.changed.notify_waiters();
        }
    }
}

/// The outcomes of a stream's works, each work's once, as they become durable.
///
/// Dropped, it has outcomes no longer sent for bags that are opened from then on.
pub struct StreamOutcomes {
    shared: Arc<Shared>,
    consumer: Arc<Consumer>,
    /// Bags whose works are not all done.
    follows: Vec<Follow>,
    missing: u64,
}

impl fmt::Debug for StreamOutcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamOutcomes")
            .field("follows", &self.follows)
            .finish_non_exhaustive()
    }
}

impl StreamOutcomes {
    /// Waits for outcomes and calls `on_outcome` with each; how many they were. Zero: the stream is finished, every
    /// work of it is done, and its outcome was delivered (but for [`missing`](Self::missing) ones). Cancelled, it
    /// has lost nothing.
    ///
    /// # Errors
    /// What ended the stream, when the outcomes that were there are delivered; [`ClientError::Away`] when the
    /// engine is away for longer than the client's patience.
    pub async fn recv(&mut self, mut on_outcome: impl FnMut(&OutcomeItem<'_>)) -> Result<usize, ClientError> {
        loop {
            let ended = {
                let mut state = self.shared.lock();
                self.follows.append(&mut state.follows);
                state.ended.clone()
            };
            let mut delivered = 0;
            let mut behind = None;
            for (index, follow) in self.follows.iter_mut().enumerate() {
                match follow.ready(&mut on_outcome)? {
                    Ready::Delivered(count) => delivered += count,
                    Ready::Behind => behind = Some(index),
                    Ready::Nothing | Ready::Complete => {}
                }
            }
            if delivered == 0
                && let Some(index) = behind
            {
                delivered = self.follows[index].catch_up(&mut on_outcome).await?;
                if delivered == 0 {
                    continue;
                }
            }
            let missing = &mut self.missing;
            self.follows.retain(|follow| {
                let complete = follow.is_complete();
                *missing += if complete { u64::from(follow.missing()) } else { 0 };
                !complete
            });
            if delivered > 0 {
                return Ok(delivered);
            }
            match ended {
                Some(Err(error)) => return Err(error),
                Some(Ok(())) if self.follows.is_empty() => return Ok(0),
                _ => self.consumer.arrived().await,
            }
        }
    }

    /// The number of the row that a work was made of, as [`Stream::send`] returned it. `None`: it is not of this
    /// stream.
    #[must_use]
    pub fn row_of(&self, work: WorkId) -> Option<u64> {
        let state = self.shared.lock();
        let bag_rows = u64::from(self.shared.options.bag_rows);
        let bag = state
            .bags
            .partition_point(|first| *first <= work)
            .checked_sub(1)?;
        let row = bag as u64 * bag_rows
            + work
                .0
                .checked_sub(state.bags[bag].0)
                .filter(|row| *row < bag_rows)?;
        (row < state.pushed).then_some(row)
    }

    /// Works whose outcome will not be told, because the journal no longer holds it. Zero before the end.
    #[must_use]
    pub fn missing(&self) -> u64 {
        self.missing
    }
}

impl Drop for StreamOutcomes {
    fn drop(&mut self) {
        self.consumer.leave();
        // They let go of their entries in the reader's table, whose lock the reader holds when it takes this one.
        let follows = std::mem::take(&mut self.shared.lock().follows);
        drop(follows);
    }
}
