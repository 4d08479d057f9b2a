//! Stories: what happens to the works of one bag, and the records that an engine writes of it.
//!
//! A story is made by chance ([`happening`]) or written down in a test. [`Engine`] keeps of each work no more than it
//! takes to write only records that could be: what a work's state does not allow is passed over, so that any
//! list of happenings is a story.

use proptest::prelude::*;
use wire_protocol::codec;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::{self, BagOpened, BagSealed, Ended, Revived, RowsAdded, SettledItem, kind};
use wire_protocol::template::{Rows, WorkTemplate};
use wire_protocol::units::Instant;
use wire_protocol::view::WorkState;

/// The bag of every story.
pub const BAG: BagId = BagId(3);
/// Its first work.
pub const FIRST: WorkId = WorkId(100);
/// Rows that it has room for.
pub const ROWS: u32 = 24;
/// Whose it is.
pub const TENANT: TenantId = TenantId(2);

/// What may happen next; works are meant by their row, where they can take it.
#[derive(Clone, Debug)]
pub enum Happening {
    /// So many more rows come, as far as the bag has room.
    Rows(u32),
    /// A work goes to a worker.
    Lease(u32, u32),
    /// Its worker begins to run it.
    Start(u32),
    /// Its worker loses it.
    Release(u32),
    /// Its worker ends it.
    Settle(u32, Outcome),
    /// So many from a row on are cancelled.
    End(u32, u32),
    /// So many from a row on, of those that ended without success, are queued again.
    Revive(u32, u32),
    /// The bag takes no more rows.
    Seal,
    /// A batch ends here. It writes no record.
    Cut,
}

/// Anything that may happen, the usual more often.
pub fn happening() -> impl Strategy<Value = Happening> {
    let row = 0..ROWS;
    prop_oneof![
        2 => (1..6_u32).prop_map(Happening::Rows),
        8 => (row.clone(), 1..4_u32).prop_map(|(row, worker)| Happening::Lease(row, worker)),
        6 => row.clone().prop_map(Happening::Start),
        3 => row.clone().prop_map(Happening::Release),
        5 => (row.clone(), prop_oneof![Just(Outcome::Succeeded), Just(Outcome::Failed)])
            .prop_map(|(row, outcome)| Happening::Settle(row, outcome)),
        1 => (row.clone(), 1..ROWS).prop_map(|(row, count)| Happening::End(row, count)),
        1 => (row, 1..ROWS).prop_map(|(row, count)| Happening::Revive(row, count)),
        1 => Just(Happening::Seal),
        3 => Just(Happening::Cut),
    ]
}

/// Writes the records of what happens, as the engine would: only what the states allow.
#[derive(Clone, Debug)]
pub struct Engine {
    bag: BagId,
    first: WorkId,
    /// Kind and payload of each; the first is number 1.
    pub records: Vec<(u8, Vec<u8>)>,
    /// Of each row: its state, its attempts, its last worker.
    states: Vec<(WorkState, u16, u32)>,
}

impl Engine {
    fn of(bag: BagId, first: WorkId) -> Self {
        Self {
            bag,
            first,
            records: Vec::new(),
            states: Vec::new(),
        }
    }

    /// State and attempts of each work that came, in their order.
    pub fn states(&self) -> impl Iterator<Item = (WorkState, u16)> {
        self.states.iter().map(|(state, attempt, _)| (*state, *attempt))
    }

    fn now(&self) -> Instant {
        Instant(1_000 * (self.records.len() as u64 + 1))
    }

    fn push(&mut self, kind: u8, payload: Vec<u8>) -> bool {
        self.records.push((kind, payload));
        true
    }

    fn control(&mut self, kind: u8, message: &impl serde::Serialize) -> bool {
        let mut payload = Vec::new();
        codec::put_control(&mut payload, message);
        self.push(kind, payload)
    }

    fn open(&mut self) {
        let opened = BagOpened {
            bag: self.bag,
            first: self.first,
            rows_total: ROWS,
            tenant: TENANT,
            key: Default::default(),
            at: self.now(),
            template: WorkTemplate::default(),
        };
        self.control(kind::BAG_OPENED, &opened);
    }

    /// `true`: a record was written.
    fn happen(&mut self, happening: &Happening) -> bool {
        match *happening {
            Happening::Rows(count) => self.rows(count),
            Happening::Lease(row, worker) => match self.states.get_mut(row as usize) {
                Some((state @ WorkState::Queued, attempt, of)) => {
                    (*state, *of) = (WorkState::Leased, worker);
                    *attempt += 1;
                    self.attempts(kind::LEASED, row, Reason::None)
                }
                _ => false,
            },
            Happening::Start(row) => match self.states.get_mut(row as usize) {
                Some((state @ WorkState::Leased, ..)) => {
                    *state = WorkState::Running;
                    self.attempts(kind::STARTED, row, Reason::None)
                }
                _ => false,
            },
            Happening::Release(row) => match self.states.get_mut(row as usize) {
                Some((state @ (WorkState::Leased | WorkState::Running), ..)) => {
                    *state = WorkState::Queued;
                    self.attempts(kind::RELEASED, row, Reason::WorkerLost)
                }
                _ => false,
            },
            Happening::Settle(row, outcome) => self.settle(row, outcome),
            Happening::End(row, count) => {
                for (state, ..) in self.states.iter_mut().skip(row as usize).take(count as usize) {
                    if !matches!(state, WorkState::Done(_)) {
                        *state = WorkState::Done(Outcome::Cancelled);
                    }
                }
                let ended = Ended {
                    at: self.now(),
                    first: self.first.offset(row),
                    count,
                    outcome: Outcome::Cancelled,
                    reason: Reason::ByUser,
                    closes: None,
                };
                self.control(kind::ENDED, &ended)
            }
            Happening::Revive(row, count) => {
                for (state, ..) in self.states.iter_mut().skip(row as usize).take(count as usize) {
                    if matches!(state, WorkState::Done(outcome) if *outcome != Outcome::Succeeded) {
                        *state = WorkState::Queued;
                    }
                }
                let (at, first) = (self.now(), self.first.offset(row));
                self.control(kind::REVIVED, &Revived { at, first, count })
            }
            Happening::Seal => {
                let at = self.now();
                self.control(kind::BAG_SEALED, &BagSealed { bag: self.bag, at })
            }
            Happening::Cut => false,
        }
    }

    fn rows(&mut self, count: u32) -> bool {
        let has = self.states.len() as u32;
        let count = count.min(ROWS - has);
        let mut encoded = Vec::new();
        for row in has..has + count {
            codec::put_bytes(&mut encoded, format!("row {row} \0'\u{1f980}").as_bytes());
            self.states.push((WorkState::Queued, 0, 0));
        }
        let mut payload = Vec::new();
        RowsAdded {
            at: self.now(),
            bag: self.bag,
            first_row: has,
            rows: Rows::parse(count, &encoded).expect("just encoded"),
        }
        .put(&mut payload);
        self.push(kind::ROWS_ADDED, payload)
    }

    fn attempts(&mut self, kind: u8, row: u32, reason: Reason) -> bool {
        let (_, attempt, worker) = self.states[row as usize];
        let token = LeaseToken {
            work: self.first.offset(row),
            epoch: Epoch(1),
            attempt: Attempt(attempt),
            shard: Shard(0),
        };
        let mut payload = Vec::new();
        record::begin_attempts(&mut payload, self.now(), WorkerId(worker), reason);
        payload.extend_from_slice(&token.to_bytes());
        self.push(kind, payload)
    }

    fn settle(&mut self, row: u32, outcome: Outcome) -> bool {
        let now = self.now();
        let Some((state @ (WorkState::Leased | WorkState::Running), attempt, worker)) =
            self.states.get_mut(row as usize)
        else {
            return false;
        };
        *state = WorkState::Done(outcome);
        let mut payload = Vec::new();
        record::begin_settled(&mut payload, now, WorkerId(*worker));
        SettledItem {
            work: self.first.offset(row),
            attempt: Attempt(*attempt),
            outcome,
            reason: Reason::None,
            exit_code: -9,
            elapsed_us: 7,
            result: b"out\0put",
        }
        .put(&mut payload);
        self.push(kind::SETTLED, payload)
    }
}

/// The records of a story, and where its batches end: after so many records each.
#[must_use]
pub fn tell(story: &[Happening]) -> (Engine, Vec<usize>) {
    tell_of(BAG, FIRST, story)
}

/// The same of another bag, which begins with another work.
#[must_use]
pub fn tell_of(bag: BagId, first: WorkId, story: &[Happening]) -> (Engine, Vec<usize>) {
    let (mut engine, mut cuts) = (Engine::of(bag, first), Vec::new());
    engine.open();
    for happening in story {
        if !engine.happen(happening) && matches!(happening, Happening::Cut) {
            cuts.push(engine.records.len());
        }
    }
    (engine, cuts)
}

/// The records of two stories in one journal: one of them is told in parts of as many records as it says, and the other one
/// between them, a record each time.
#[must_use]
pub fn woven(one: &Engine, other: &Engine, parts: &[usize]) -> Vec<(u8, Vec<u8>)> {
    let (mut one, mut other) = (one.records.iter(), other.records.iter());
    let mut all = Vec::new();
    for part in parts {
        all.extend(one.by_ref().take(*part).cloned());
        all.extend(other.next().cloned());
    }
    all.extend(one.chain(other).cloned());
    all
}

/// A record of a story as the feed gives it; `index` counts from 0.
#[must_use]
pub fn feed_record(index: usize, (kind, payload): &(u8, Vec<u8>)) -> FeedRecord<'_> {
    FeedRecord {
        lsn: Lsn(index as u64 + 1),
        epoch: Epoch(1),
        wall_us: 0,
        kind: *kind,
        payload,
    }
}
