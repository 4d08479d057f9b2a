//! The one state of a stream, under one lock: rows on their way, the watermark, and who waits for what.
//!
//! Nobody is woken while the lock is held.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use tokio::sync::Notify;
use wire_protocol::client_link::Accepted;
use wire_protocol::ids::WorkId;
use wire_protocol::template::{Invalid, row};

use super::StreamOptions;
use crate::error::ClientError;
use crate::follow::{Follow, OUTCOMES_BYTES_MAX};
use crate::routes::Consumer;
use crate::sending::{Chunk, too_long};

/// Bytes that are durable and still kept before the driver is woken only to let go of them. It looks at them
/// anyway whenever there are rows to send.
const KEPT_BYTES_WORTH_WAKING: usize = 64 << 10;

/// What the stream's callers, its driver and the reader of the link have in common.
pub(super) struct Shared {
    state: Mutex<State>,
    /// For the driver: rows, news of the submission, the end.
    pub(super) arrived: Arc<Notify>,
    /// For callers: there is room, or the stream has ended.
    pub(super) changed: Notify,
    pub(super) consumer: Arc<Consumer>,
    columns: usize,
    pub(super) options: StreamOptions,
}

/// What the lock guards.
#[derive(Default)]
pub(super) struct State {
    /// Rows that the driver has not taken yet, each chunk within one bag.
    pub(super) pending: VecDeque<Chunk>,
    /// Rows that were taken over from callers, and those that are durable.
    pub(super) pushed: u64,
    pub(super) durable: u64,
    /// Bytes of rows that are kept, here and by the driver.
    pub(super) bytes: usize,
    /// The driver has nothing to send and is to be told of the next row.
    pub(super) idle: bool,
    /// Callers wait for room.
    pub(super) crowded: bool,
    /// Callers wait for the watermark to rise.
    pub(super) watched: bool,
    pub(super) waiting: BTreeMap<u64, Waker>,
    /// The first work of each bag.
    pub(super) bags: Vec<WorkId>,
    /// Followers on their way to the outcomes.
    pub(super) follows: Vec<Follow>,
    pub(super) finishing: bool,
    pub(super) ended: Option<Result<(), ClientError>>,
}

impl Shared {
    pub(super) fn new(columns: usize, options: StreamOptions) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            arrived: Arc::default(),
            changed: Notify::new(),
            consumer: Consumer::new(OUTCOMES_BYTES_MAX),
            columns,
            options,
        })
    }

    pub(super) fn check(&self, row: &[u8]) -> Result<(), ClientError> {
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
    pub(super) fn take(&self, row: &[u8]) -> Option<Result<u64, ClientError>> {
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
    pub(super) fn finish(&self) {
        self.lock().finishing = true;
        self.arrived.notify_one();
    }

    /// Rows of the bag that begins at row `base` are durable. Says whether the driver must know.
    pub(super) fn accepted(&self, base: u64, accepted: &Accepted) -> bool {
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
    pub(super) fn end(&self, ended: Result<(), ClientError>) {
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

    /// Waits for the first row of a bag. `false`: the stream is finished.
    pub(super) async fn rows_wait(&self) -> bool {
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

    fn in_bag(&self, number: u64) -> u32 {
        u32::try_from(number % u64::from(self.options.bag_rows)).expect("less than a bag's rows")
    }

    /// The work of a row that is durable.
    pub(super) fn work_of(&self, state: &State, number: u64) -> WorkId {
        let bag = number / u64::from(self.options.bag_rows);
        state.bags[usize::try_from(bag).expect("few bags")].offset(self.in_bag(number))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
