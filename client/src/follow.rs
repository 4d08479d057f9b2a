//! Outcomes of a bag, each work's once.
//!
//! Outcomes come live for as long as the link holds and the follower keeps up. When that ends, some are
//! missing; then the follower follows anew *first* and afterwards pages through the results from the first row
//! that it has not seen. What comes twice that way is recognised by a bitmap of rows, what came in between is
//! not lost.
//!
//! ```text
//!            ┌──────────── live ────────────┐
//!            │  lagging · lost · too slow   │
//!            ▼                              │
//!      follow again ──► page results ───────┘ ──► all rows seen: the end
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use wire_protocol::client_link::{Follow as FollowRequest, OutcomeItem, Query, QueryRequest, ToClient, kind};
use wire_protocol::ids::{BagId, WorkId};
use wire_protocol::limits::BAG_ROWS_MAX;
use wire_protocol::view::{Reply, Tally, WorkDetail, WorkState};
use wire_protocol::worker_link::push_control;

use crate::connection::Client;
use crate::error::ClientError;
use crate::routes::{Consumer, Entry, OutcomeQueue, Popped, Route};

/// Bytes of outcomes that wait for one follower. Beyond it, the follower pages through results instead.
pub const OUTCOMES_BYTES_MAX: usize = 16 << 20;

/// A bag and the works that it will have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    pub(crate) bag: BagId,
    pub(crate) first: WorkId,
    pub(crate) rows_total: u32,
}

impl Client {
    /// Follows a bag from its first row: outcomes that are there already come first.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], or those of any query.
    pub async fn follow(&self, bag: BagId) -> Result<Follow, ClientError> {
        let view = self.bag(bag).await?;
        let target = Target {
            bag,
            first: view.first,
            rows_total: view.rows_total.min(BAG_ROWS_MAX),
        };
        Ok(Follow {
            client: self.clone(),
            target: Some(target),
            announced: watch::channel(None).1,
            live: None,
            consumer: Consumer::new(OUTCOMES_BYTES_MAX),
            paging: None,
            seen: Seen::new(target.rows_total),
            missing: 0,
        })
    }

    /// Waits until a work is done, and returns it with its result.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], or those of any query.
    pub async fn wait_work(&self, work: WorkId) -> Result<WorkDetail, ClientError> {
        let consumer = Consumer::new(OUTCOMES_BYTES_MAX);
        let mut live: Option<Live> = None;
        loop {
            let detail = self.work(work).await?;
            if matches!(detail.work.state, WorkState::Done(_)) {
                return Ok(detail);
            }
            match &live {
                // Asked once more now that its outcome cannot be missed.
                None => live = Some(self.follow_live(detail.work.bag, &consumer).await?.0),
                Some(outcomes) => {
                    if !outcomes.wait_for(self, work).await? {
                        live = None;
                    }
                }
            }
        }
    }

    /// Asks for the outcomes of a bag from now on.
    async fn follow_live(&self, bag: BagId, consumer: &Arc<Consumer>) -> Result<(Live, Tally), ClientError> {
        let live = Mutex::new(Live::new(consumer));
        let ask = self.ask(
            "follow",
            |request, out| push_control(out, kind::FOLLOW, &FollowRequest { request, bag }),
            |answer| {
                // What came before a loss of the link has a gap behind it.
                let fresh = Live::new(consumer);
                let queue = Arc::clone(&fresh.queue);
                *live.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                Route::Outcomes {
                    answer: Some(answer),
                    queue,
                }
            },
        );
        match ask.await? {
            (Reply::Following(tally), entry) => {
                let live = live.into_inner().unwrap_or_else(PoisonError::into_inner);
                live.keep(entry);
                Ok((live, tally))
            }
            (other, _) => Err(self.broken(format!("it answered a follow with {}", name_of(&other)))),
        }
    }

    /// One page of results: its frames, where to go on, and how many works are open.
    async fn results(&self, bag: BagId, from_row: u32) -> Result<(Arc<OutcomeQueue>, u32, u32), ClientError> {
        // A page is a frame or two; the bound of a frame keeps it.
        let query = Query::Results { bag, from_row };
        let last = Mutex::new(OutcomeQueue::new(OUTCOMES_BYTES_MAX));
        let ask = self.ask(
            "results",
            |request, out| {
                push_control(
                    out,
                    kind::QUERY,
                    &QueryRequest {
                        request,
                        query: query.clone(),
                    },
                )
            },
            |answer| {
                // Half a page from a connection that was lost is not mixed with the whole one from the next.
                let queue = OutcomeQueue::new(OUTCOMES_BYTES_MAX);
                *last.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&queue);
                Route::Outcomes {
                    answer: Some(answer),
                    queue,
                }
            },
        );
        let reply = ask.await?.0;
        match reply {
            Reply::ResultsEnd { next_row, open } => {
                let queue = last.into_inner().unwrap_or_else(PoisonError::into_inner);
                Ok((queue, next_row, open))
            }
            other => Err(self.broken(format!(
                "it answered a query for results with {}",
                name_of(&other)
            ))),
        }
    }
}

pub(crate) fn name_of(reply: &Reply) -> String {
    let text = format!("{reply:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

/// Outcomes that come by themselves.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) queue: Arc<OutcomeQueue>,
    /// Taken out of the table when the last who cares has gone.
    entry: Arc<Mutex<Option<Entry>>>,
}

impl Live {
    pub(crate) fn new(consumer: &Arc<Consumer>) -> Self {
        Self {
            queue: OutcomeQueue::of(consumer),
            entry: Arc::default(),
        }
    }

    /// Outcomes go on coming under this request for as long as somebody holds on to them.
    pub(crate) fn keep(&self, entry: Entry) {
        entry.outcomes_only();
        *self.entry.lock().unwrap_or_else(PoisonError::into_inner) = Some(entry);
    }

    /// Waits for the outcome of `work`. `false`: outcomes are missing, follow again.
    async fn wait_for(&self, client: &Client, work: WorkId) -> Result<bool, ClientError> {
        loop {
            match self.queue.pop() {
                Popped::Frame(payload) => {
                    if parse(client, &payload)?.iter().any(|item| item.work == work) {
                        return Ok(true);
                    }
                }
                Popped::Empty => self.queue.arrived().await,
                Popped::Ended => return Ok(false),
            }
        }
    }
}

fn parse<'a>(
    client: &Client,
    payload: &'a [u8],
) -> Result<wire_protocol::client_link::Outcomes<'a>, ClientError> {
    match ToClient::parse(kind::OUTCOMES, payload) {
        Ok(ToClient::Outcomes(outcomes)) => Ok(outcomes),
        Ok(_) => unreachable!("the kind says what it is"),
        Err(error) => Err(client.broken(error.to_string())),
    }
}

/// The outcomes of one bag. Stops when it is dropped.
///
/// The engine tells each link of a bag's outcomes once: a second follower of the same bag on the same client, and
/// [`Client::wait_work`] for one of its works, take them away from the first.
#[derive(Debug)]
pub struct Follow {
    client: Client,
    target: Option<Target>,
    /// Says which bag it is, when that is known.
    announced: watch::Receiver<Option<Target>>,
    live: Option<Live>,
    consumer: Arc<Consumer>,
    /// Results are paged through from here on.
    paging: Option<Paging>,
    seen: Seen,
    missing: u32,
}

/// What a follower could do without waiting.
pub(crate) enum Ready {
    /// It delivered this many outcomes.
    Delivered(usize),
    /// Nothing is there yet.
    Nothing,
    /// Outcomes are missing: catch up.
    Behind,
    /// There is nothing left to come.
    Complete,
}

#[derive(Clone, Copy, Debug)]
struct Paging {
    next_row: u32,
    /// All works were done when it began: what it does not bring is not to be had.
    complete: bool,
}

impl Follow {
    pub(crate) fn of_sending(
        client: Client,
        rows_total: u32,
        live: Option<Live>,
        announced: watch::Receiver<Option<Target>>,
        consumer: Arc<Consumer>,
    ) -> Self {
        Self {
            client,
            target: None,
            announced,
            live,
            consumer,
            paging: None,
            seen: Seen::new(rows_total),
            missing: 0,
        }
    }

    /// Works whose outcome was delivered.
    #[must_use]
    pub fn done(&self) -> u32 {
        self.seen.count
    }

    /// Works that the bag will have.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.seen.rows_total
    }

    /// Works whose outcome will not be told: the journal no longer holds it, or their rows never came because the
    /// bag was cancelled before. Zero before the end.
    #[must_use]
    pub fn missing(&self) -> u32 {
        self.missing
    }

    /// Waits until it is known which bag this is, and returns it with its first work; those of further rows follow
    /// in order.
    ///
    /// # Errors
    /// [`ClientError::SubmissionEnded`] when there will be no bag.
    pub async fn opened(&mut self) -> Result<(BagId, WorkId), ClientError> {
        let target = self.target().await?;
        Ok((target.bag, target.first))
    }

    /// Waits for outcomes and calls `on_outcome` with each; how many they were. Zero: every work is done, and
    /// its outcome was delivered (but for [`missing`](Self::missing) ones).
    ///
    /// A work that is retried after its outcome was delivered is not delivered again. Cancelled, it has lost
    /// nothing.
    ///
    /// # Errors
    /// [`ClientError::Away`] when the engine is away for longer than the client's patience;
    /// [`ClientError::SubmissionEnded`] when there will be no bag.
    pub async fn recv(&mut self, mut on_outcome: impl FnMut(&OutcomeItem<'_>)) -> Result<usize, ClientError> {
        self.target().await?;
        loop {
            match self.ready(&mut on_outcome)? {
                Ready::Delivered(delivered) => return Ok(delivered),
                Ready::Complete => return Ok(0),
                Ready::Nothing => self.consumer.arrived().await,
                Ready::Behind => {
                    let delivered = self.catch_up(&mut on_outcome).await?;
                    if delivered > 0 {
                        return Ok(delivered);
                    }
                }
            }
        }
    }

    /// Delivers what is there without waiting.
    pub(crate) fn ready(
        &mut self,
        on_outcome: &mut impl FnMut(&OutcomeItem<'_>),
    ) -> Result<Ready, ClientError> {
        let Some(target) = self.announced_target() else {
            return Ok(Ready::Nothing);
        };
        loop {
            if self.is_complete() {
                return Ok(Ready::Complete);
            }
            if self.paging.is_some() {
                return Ok(Ready::Behind);
            }
            match self.live.as_ref().map_or(Popped::Ended, |live| live.queue.pop()) {
                Popped::Frame(payload) => {
                    let delivered = self.deliver(target, &payload, on_outcome)?;
                    if delivered > 0 {
                        return Ok(Ready::Delivered(delivered));
                    }
                }
                Popped::Empty => return Ok(Ready::Nothing),
                Popped::Ended => return Ok(Ready::Behind),
            }
        }
    }

    /// Makes a step towards what was missed, and delivers what that brings.
    pub(crate) async fn catch_up(
        &mut self,
        on_outcome: &mut impl FnMut(&OutcomeItem<'_>),
    ) -> Result<usize, ClientError> {
        let target = self.target().await?;
        match self.paging {
            Some(paging) => self.page(target, paging, on_outcome).await,
            None => self.follow_again(target).await.map(|()| 0),
        }
    }

    /// Every work is done and was delivered, as far as it ever will be.
    pub(crate) fn is_complete(&self) -> bool {
        self.target.is_some() && (self.seen.is_complete() || self.missing > 0)
    }

    /// Which bag it is, if that is known by now, and how many works it has, which falls when it is sealed.
    fn announced_target(&mut self) -> Option<Target> {
        if let Some(latest) = *self.announced.borrow_and_update() {
            self.target = Some(latest);
            self.seen.rows_total = latest.rows_total.min(self.seen.rows_total);
        }
        self.target
    }

    async fn target(&mut self) -> Result<Target, ClientError> {
        if self.target.is_none() {
            let known = self.announced.wait_for(Option::is_some).await;
            known.map_err(|_| ClientError::SubmissionEnded)?;
        }
        Ok(self.announced_target().expect("waited for"))
    }

    async fn follow_again(&mut self, target: Target) -> Result<(), ClientError> {
        self.live = None;
        self.client.up(self.client.patience()).await?;
        let (live, tally) = self.client.follow_live(target.bag, &self.consumer).await?;
        self.live = Some(live);
        self.paging = Some(Paging {
            next_row: self.seen.first_unseen(),
            complete: tally.done() >= target.rows_total,
        });
        Ok(())
    }

    async fn page(
        &mut self,
        target: Target,
        paging: Paging,
        on_outcome: &mut impl FnMut(&OutcomeItem<'_>),
    ) -> Result<usize, ClientError> {
        self.client.up(self.client.patience()).await?;
        let (frames, next_row, open) = self.client.results(target.bag, paging.next_row).await?;
        let mut delivered = 0;
        while let Popped::Frame(payload) = frames.pop() {
            delivered += self.deliver(target, &payload, on_outcome)?;
        }
        if next_row < target.rows_total && next_row > paging.next_row {
            self.paging = Some(Paging { next_row, ..paging });
            return Ok(delivered);
        }
        self.paging = None;
        if self.seen.is_complete() {
            return Ok(delivered);
        }
        if paging.complete {
            self.missing = self.seen.rows_total - self.seen.count;
        } else if open == 0 {
            // The rest ended while the pages came. What of it does not come live comes with another round.
            self.paging = Some(Paging {
                next_row: self.seen.first_unseen(),
                complete: true,
            });
        }
        Ok(delivered)
    }

    fn deliver(
        &mut self,
        target: Target,
        payload: &[u8],
        on_outcome: &mut impl FnMut(&OutcomeItem<'_>),
    ) -> Result<usize, ClientError> {
        let mut delivered = 0;
        for item in parse(&self.client, payload)?.iter() {
            let row = item.work.0.wrapping_sub(target.first.0);
            match self.seen.insert(row) {
                Some(true) => {
                    delivered += 1;
                    on_outcome(&item);
                }
                Some(false) => {}
                None => {
                    let problem = format!("{} is not of {}", item.work, target.bag);
                    return Err(self.client.broken(problem));
                }
            }
        }
        Ok(delivered)
    }
}

/// Which rows were seen: a bit each.
#[derive(Debug)]
struct Seen {
    bits: Vec<u64>,
    rows_total: u32,
    count: u32,
}

impl Seen {
    fn new(rows_total: u32) -> Self {
        Self {
            bits: vec![0; (rows_total as usize).div_ceil(64)],
            rows_total,
            count: 0,
        }
    }

    /// `Some(true)`: it is new. `None`: there is no such row.
    fn insert(&mut self, row: u64) -> Option<bool> {
        if row >= u64::from(self.rows_total) {
            return None;
        }
        let word = &mut self.bits[row as usize / 64];
        let bit = 1 << (row % 64);
        let new = *word & bit == 0;
        *word |= bit;
        self.count += u32::from(new);
        Some(new)
    }

    fn is_complete(&self) -> bool {
        self.count == self.rows_total
    }

    /// The first row that was not seen; the number of rows, if all were.
    fn first_unseen(&self) -> u32 {
        let word = self
            .bits
            .iter()
            .position(|word| *word != u64::MAX)
            .unwrap_or(self.bits.len());
        let within = self.bits.get(word).map_or(0, |bits| bits.trailing_ones());
        (word as u32 * 64 + within).min(self.rows_total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_new_once_and_the_first_gap_is_found() {
        let mut seen = Seen::new(130);
        assert_eq!(seen.first_unseen(), 0);
        for row in (0..130).filter(|row| *row != 70) {
            assert_eq!(seen.insert(row), Some(true));
            assert_eq!(seen.insert(row), Some(false));
        }
        assert_eq!((seen.first_unseen(), seen.is_complete()), (70, false));
        assert_eq!(seen.insert(70), Some(true));
        assert_eq!((seen.first_unseen(), seen.is_complete()), (130, true));
        assert_eq!(seen.insert(130), None);
        assert_eq!(seen.insert(u64::MAX), None);
    }
}
