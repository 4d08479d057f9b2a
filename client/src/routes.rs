//! Who waits for which answer.
//!
//! The table belongs to one connection at a time (its *generation*): a request is entered only for the
//! connection on which it will be sent, and when that is lost all entries are told and forgotten. So nobody
//! waits for an answer that cannot come.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use wire_protocol::client_link::{Accepted, Busy, RequestId, ToClient, kind};
use wire_protocol::codec::{DecodeError, Reader};
use wire_protocol::template::Invalid;
use wire_protocol::view::Reply;

use crate::logs::LogQueue;

/// What came instead of an answer.
#[derive(Debug)]
pub(crate) enum Setback {
    /// The link was lost; it is unknown what became of the request.
    Lost,
    /// Not now.
    Busy(Busy),
    /// Not so.
    Rejected(Invalid),
}

pub(crate) type AnswerSender = oneshot::Sender<Result<Reply, Setback>>;

/// Where the answers to one request go.
#[derive(Debug)]
pub(crate) enum Route {
    /// One answer.
    Answer(AnswerSender),
    /// Outcomes, and one answer before or after them.
    Outcomes {
        answer: Option<AnswerSender>,
        queue: Arc<OutcomeQueue>,
    },
    /// What a work prints.
    Logs(Arc<LogQueue>),
    /// News of a submission, and outcomes if they were asked for.
    Upload {
        news: Arc<UploadNews>,
        queue: Option<Arc<OutcomeQueue>>,
    },
}

#[derive(Debug, Default)]
struct Table {
    /// The connection that the entries are for; `None` while there is none.
    generation: Option<u64>,
    last: RequestId,
    routes: HashMap<RequestId, Route>,
}

#[derive(Debug, Default)]
pub(crate) struct Routes(Mutex<Table>);

/// An entry that is taken out when its owner loses interest.
#[derive(Debug)]
pub(crate) struct Entry {
    routes: Arc<Routes>,
    pub(crate) generation: u64,
    pub(crate) request: RequestId,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.routes.lock();
        if table.generation == Some(self.generation) {
            table.routes.remove(&self.request);
        }
    }
}

impl Entry {
    /// From here on nobody cares for the news of this submission, only for its outcomes.
    pub(crate) fn outcomes_only(&self) {
        let mut table = self.routes.lock();
        if table.generation != Some(self.generation) {
            return;
        }
        if let Some(route) = table.routes.get_mut(&self.request)
            && let Route::Upload {
                queue: Some(queue), ..
            } = route
        {
            *route = Route::Outcomes {
                answer: None,
                queue: Arc::clone(queue),
            };
        }
    }
}

impl Routes {
    /// A new connection takes the table.
    pub(crate) fn open(&self, generation: u64) {
        self.lock().generation = Some(generation);
    }

    /// The connection is lost: all who wait are told.
    pub(crate) fn lose(&self) {
        let routes = {
            let mut table = self.lock();
            table.generation = None;
            std::mem::take(&mut table.routes)
        };
        for route in routes.into_values() {
            route.lose();
        }
    }

    /// Enters a request. `None`: the connection is not there any more.
    pub(crate) fn enter(self: &Arc<Self>, generation: u64, route: Route) -> Option<Entry> {
        let mut table = self.lock();
        if table.generation != Some(generation) {
            return None;
        }
        let mut request = table.last.wrapping_add(1).max(1);
        while table.routes.contains_key(&request) {
            request = request.wrapping_add(1).max(1);
        }
        table.last = request;
        table.routes.insert(request, route);
        Some(Entry {
            routes: Arc::clone(self),
            generation,
            request,
        })
    }

    /// Hands one message of the engine to whoever waits for it; answers that nobody waits for any more are
    /// dropped. `true`: outcomes pile up, the reader should let their consumer run.
    ///
    /// # Errors
    /// The message is malformed, or not one that an answer can be.
    pub(crate) fn dispatch(&self, kind: u8, payload: &[u8]) -> Result<bool, DecodeError> {
        if kind == kind::OUTCOMES {
            let request = Reader::new(payload).u32("request")?;
            return Ok(match self.lock().routes.get(&request) {
                Some(
                    Route::Outcomes { queue, .. }
                    | Route::Upload {
                        queue: Some(queue), ..
                    },
                ) => queue.push(payload),
                _ => false,
            });
        }
        match ToClient::parse(kind, payload)? {
            ToClient::Accepted(accepted) => self.tell(accepted.request, |news| news.accepted(accepted)),
            ToClient::Busy(busy) => self.set_back(busy.request, Setback::Busy(busy)),
            ToClient::Rejected(rejected) => {
                self.set_back(rejected.request, Setback::Rejected(rejected.invalid))
            }
            ToClient::Reply(answer) => self.answer(answer.request, Ok(answer.reply)),
            ToClient::Lagging(lagging) => {
                if let Some(
                    Route::Outcomes { queue, .. }
                    | Route::Upload {
                        queue: Some(queue), ..
                    },
                ) = self.lock().routes.get(&lagging.request)
                {
                    queue.end();
                }
            }
            ToClient::Log(log) => {
                if let Some(Route::Logs(queue)) = self.lock().routes.get(&log.request) {
                    queue.log(&log);
                }
            }
            ToClient::LogEnd(end) => {
                if let Some(Route::Logs(queue)) = self.lock().routes.get(&end.request) {
                    queue.end(end);
                }
            }
            ToClient::Welcome(_) | ToClient::Refused(_) | ToClient::Outcomes(_) => {
                return Err(DecodeError::UnknownKind { kind });
            }
        }
        Ok(false)
    }

    fn tell(&self, request: RequestId, tell: impl FnOnce(&UploadNews)) {
        if let Some(Route::Upload { news, .. }) = self.lock().routes.get(&request) {
            tell(news);
        }
    }

    fn answer(&self, request: RequestId, answer: Result<Reply, Setback>) {
        let mut table = self.lock();
        let sender = match table.routes.get_mut(&request) {
            Some(Route::Outcomes { answer, .. }) => answer.take(),
            Some(Route::Logs(queue)) => return queue.answer(answer),
            Some(Route::Answer(_)) => match table.routes.remove(&request) {
                Some(Route::Answer(sender)) => Some(sender),
                _ => None,
            },
            _ => None,
        };
        if let Some(sender) = sender {
            // Whoever asked may have given up meanwhile.
            let _ = sender.send(answer);
        }
    }

    fn set_back(&self, request: RequestId, setback: Setback) {
        {
            let table = self.lock();
            if let Some(Route::Upload { news, .. }) = table.routes.get(&request) {
                return news.set_back(setback);
            }
        }
        self.answer(request, Err(setback));
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Route {
    fn lose(self) {
        match self {
            Self::Answer(sender) => {
                let _ = sender.send(Err(Setback::Lost));
            }
            Self::Logs(queue) => queue.lose(),
            Self::Outcomes { answer, queue } => {
                queue.end();
                if let Some(sender) = answer {
                    let _ = sender.send(Err(Setback::Lost));
                }
            }
            Self::Upload { news, queue } => {
                news.set_back(Setback::Lost);
                if let Some(queue) = queue {
                    queue.end();
                }
            }
        }
    }
}

/// What the engine last said of a submission. Bounded by what it is: a later word replaces an earlier one.
#[derive(Default)]
pub(crate) struct UploadNews {
    latest: Mutex<(Option<Accepted>, Option<Setback>)>,
    arrived: Arc<Notify>,
    /// Hears of rows that are durable at once, in the task that reads. Says whether whoever waits for news must
    /// hear of it too.
    on_accepted: Option<OnAccepted>,
    /// Whoever waits must hear of the next word in any case.
    wanted: AtomicBool,
}

pub(crate) type OnAccepted = Box<dyn Fn(&Accepted) -> bool + Send + Sync>;

impl fmt::Debug for UploadNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadNews")
            .field("latest", &self.latest)
            .finish_non_exhaustive()
    }
}

impl UploadNews {
    /// News that whoever waits for `arrived` hears of together with other things.
    pub(crate) fn with(arrived: Arc<Notify>, on_accepted: OnAccepted) -> Self {
        Self {
            arrived,
            on_accepted: Some(on_accepted),
            ..Self::default()
        }
    }

    fn accepted(&self, accepted: Accepted) {
        let mut latest = self.lock();
        if latest.0.is_none_or(|known| known.rows <= accepted.rows) {
            latest.0 = Some(accepted);
        }
        drop(latest);
        let matters = self.on_accepted.as_ref().is_none_or(|hears| hears(&accepted));
        if self.wanted.swap(false, Ordering::Relaxed) || matters {
            self.arrived.notify_one();
        }
    }

    fn set_back(&self, setback: Setback) {
        let mut latest = self.lock();
        // The first says what happened, and what follows on this connection follows from it: rows that were
        // under way to a submission that the engine was too busy to open are rejected, for want of it.
        if latest.1.is_none() {
            latest.1 = Some(setback);
        }
        drop(latest);
        self.arrived.notify_one();
    }

    /// The next word is waited for, whatever it is.
    pub(crate) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// What was said since the last call.
    pub(crate) fn take(&self) -> (Option<Accepted>, Option<Setback>) {
        std::mem::take(&mut *self.lock())
    }

    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, (Option<Accepted>, Option<Setback>)> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who takes outcomes out of one queue, or out of several: what they have in common.
#[derive(Debug)]
pub(crate) struct Consumer {
    arrived: Notify,
    /// Bytes that wait in all of its queues, and at most.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// It takes nothing any more.
    gone: AtomicBool,
}

impl Consumer {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            arrived: Notify::new(),
            bytes: AtomicUsize::new(0),
            bytes_max,
            gone: AtomicBool::new(false),
        })
    }

    /// Waits for something in any of its queues, or for another sign.
    pub(crate) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// There is something to look at.
    pub(crate) fn wake(&self) {
        self.arrived.notify_one();
    }

    /// What comes from here on is dropped.
    pub(crate) fn leave(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// Frames of outcomes between the reader and their consumer.
///
/// When the consumer is too slow the queue *ends*, just as when the engine says `Lagging` or the link is
/// lost: all three mean that outcomes are missing from here on, and the consumer makes up for all of them in
/// the same way, by asking for results at its own pace. So a slow consumer holds up nobody else.
#[derive(Debug)]
pub(crate) struct OutcomeQueue {
    inbox: Mutex<Inbox>,
    consumer: Arc<Consumer>,
}

#[derive(Debug, Default)]
struct Inbox {
    frames: VecDeque<Vec<u8>>,
    ended: bool,
}

/// What a queue holds for its consumer.
#[derive(Debug)]
pub(crate) enum Popped {
    /// The payload of an `OUTCOMES` frame.
    Frame(Vec<u8>),
    /// Nothing yet.
    Empty,
    /// Nothing any more: outcomes are missing from here on.
    Ended,
}

impl OutcomeQueue {
    /// A queue whose consumer has no other.
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Self::of(&Consumer::new(bytes_max))
    }

    pub(crate) fn of(consumer: &Arc<Consumer>) -> Arc<Self> {
        Arc::new(Self {
            inbox: Mutex::default(),
            consumer: Arc::clone(consumer),
        })
    }

    /// `true`: its consumer has more than a quarter of what it may.
    fn push(&self, payload: &[u8]) -> bool {
        let Consumer { bytes, bytes_max, .. } = &*self.consumer;
        let mut inbox = self.lock();
        if inbox.ended || self.consumer.is_gone() {
            return false;
        }
        let waiting = bytes.fetch_add(payload.len(), Ordering::Relaxed) + payload.len();
        if waiting > *bytes_max {
            bytes.fetch_sub(payload.len(), Ordering::Relaxed);
            inbox.ended = true;
        } else {
            inbox.frames.push_back(payload.to_vec());
        }
        drop(inbox);
        self.consumer.wake();
        waiting > bytes_max / 4
    }

    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.consumer.wake();
    }

    pub(crate) fn pop(&self) -> Popped {
        let mut inbox = self.lock();
        match inbox.frames.pop_front() {
            Some(frame) => {
                self.consumer.bytes.fetch_sub(frame.len(), Ordering::Relaxed);
                Popped::Frame(frame)
            }
            None if inbox.ended => Popped::Ended,
            None => Popped::Empty,
        }
    }

    pub(crate) async fn arrived(&self) {
        self.consumer.arrived().await;
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OutcomeQueue {
    fn drop(&mut self) {
        let left = self.lock().frames.iter().map(Vec::len).sum();
        self.consumer.bytes.fetch_sub(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_over_its_bound_ends_after_what_it_holds() {
        let queue = OutcomeQueue::new(100);
        assert!(!queue.push(&[1; 20]), "a fifth full");
        assert!(queue.push(&[2; 40]), "more than a quarter full");
        queue.push(&[3; 41]);
        queue.push(&[4; 1]);
        assert!(matches!(queue.pop(), Popped::Frame(frame) if frame == [1; 20]));
        assert!(matches!(queue.pop(), Popped::Frame(frame) if frame == [2; 40]));
        assert!(
            matches!(queue.pop(), Popped::Ended),
            "what came after the gap is not delivered"
        );
    }

    #[test]
    fn requests_of_a_lost_connection_are_told_and_those_of_the_next_are_not() {
        let routes = Arc::new(Routes::default());
        routes.open(1);
        let (sender, mut lost) = oneshot::channel();
        let first = routes
            .enter(1, Route::Answer(sender))
            .expect("the connection is there");
        routes.lose();
        assert!(matches!(lost.try_recv(), Ok(Err(Setback::Lost))));
        let (sender, _) = oneshot::channel();
        assert!(
            routes.enter(1, Route::Answer(sender)).is_none(),
            "no entry for a connection that is gone"
        );

        routes.open(2);
        let (sender, mut waits) = oneshot::channel();
        let second = routes
            .enter(2, Route::Answer(sender))
            .expect("the connection is there");
        assert_ne!(first.request, second.request);
        drop(first);
        assert!(waits.try_recv().is_err(), "the second waits on");
        routes.answer(second.request, Ok(Reply::Changed(1)));
        assert!(matches!(waits.try_recv(), Ok(Ok(Reply::Changed(1)))));
    }

    #[test]
    fn the_first_setback_counts() {
        let news = UploadNews::default();
        news.set_back(Setback::Rejected(Invalid {
            field: "app".into(),
            problem: "is empty".into(),
        }));
        news.set_back(Setback::Lost);
        assert!(matches!(news.take().1, Some(Setback::Rejected(_))));
        assert!(news.take().1.is_none(), "told once");
    }
}
