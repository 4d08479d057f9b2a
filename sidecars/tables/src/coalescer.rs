//! Records in, row changes out.
//!
//! A work is told of many times in its life and its row needs only the last of that. Records about single works say
//! all that changes of them, so a later one replaces an earlier one of the same batch. Records about runs (a bag is
//! cancelled, works expire or are revived) concern some of a run's works, depending on their state, which may stand in
//! the tables only. Such a record closes the step: what came before it is in the tables when the run is looked at,
//! what comes after it goes into the next step.

use std::collections::BTreeMap;

use thiserror::Error;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::{Attempt, BagId, Lsn, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::record::{Attempts, NotNext, Record, RowsAdded, Settled};
use wire_protocol::units::Instant;
use wire_protocol::view::{WorkState, WorkerState};

use crate::beginning::Beginning;
use crate::chain::ChainRows;
use crate::change::{
    AttemptChange, AttemptEnd, Batch, Bookkeeping, Decided, Event, NewWork, RunChange, Step, WorkChange,
    WorkNow,
};

/// Collects records and gives them out as batches.
#[derive(Clone, Debug)]
pub struct Coalescer {
    after: Lsn,
    upto: Lsn,
    beginning: Beginning,
    /// Bags that may still get rows: their first work and their owner.
    bags: BTreeMap<BagId, (WorkId, TenantId)>,
    bookkeeping: Vec<Bookkeeping>,
    steps: Vec<Step>,
    works: BTreeMap<WorkId, WorkChange>,
    attempts: BTreeMap<(WorkId, Attempt), AttemptChange>,
    events: Vec<Event>,
    chain: ChainRows,
}

/// Why a record cannot be turned into rows. Nothing behind it can.
#[derive(Debug, Error)]
pub enum RecordError {
    /// It is not the next one, or not of this version.
    #[error(transparent)]
    NotNext(#[from] NotNext),
    /// It gives rows to a bag that was not opened.
    #[error("record {lsn} adds rows to {bag}, which is unknown; does the database belong to this journal?")]
    UnknownBag {
        /// Its position.
        lsn: Lsn,
        /// The bag.
        bag: BagId,
    },
}

impl Coalescer {
    /// Goes on behind `after`, where these bags were open: each with its first work and its owner.
    #[must_use]
    pub fn new(after: Lsn, bags: impl IntoIterator<Item = (BagId, (WorkId, TenantId))>) -> Self {
        Self {
            after,
            upto: after,
            beginning: Beginning::WHOLE,
            bags: bags.into_iter().collect(),
            bookkeeping: Vec::new(),
            steps: Vec::new(),
            works: BTreeMap::new(),
            attempts: BTreeMap::new(),
            events: Vec::new(),
            chain: ChainRows::default(),
        }
    }

    /// The same where tables begin later; what is said of works before it makes no rows.
    #[must_use]
    pub fn beginning_with(self, beginning: Beginning) -> Self {
        Self { beginning, ..self }
    }

    /// Where the tables begin.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        self.beginning
    }

    /// The last record taken.
    #[must_use]
    pub fn upto(&self) -> Lsn {
        self.upto
    }

    /// Records taken since the last batch.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.upto.0 - self.after.0
    }

    /// State changes of works since the last batch: what a batch costs is about proportional to them.
    #[must_use]
    pub fn changes(&self) -> usize {
        self.events.len()
    }

    /// Takes the next record.
    ///
    /// # Errors
    /// See [`RecordError`]; the record has changed nothing, and what was taken before it may still be given out.
    pub fn take(&mut self, record: &FeedRecord<'_>) -> Result<(), RecordError> {
        let lsn = record.lsn;
        let parsed = Record::parse_next(self.upto, lsn, record.kind, record.payload)?;
        self.apply(lsn, parsed)?;
        self.upto = lsn;
        Ok(())
    }

    /// All that was taken since the last batch; empty batches have `after == upto`.
    pub fn batch(&mut self) -> Batch {
        self.close_step();
        let after = std::mem::replace(&mut self.after, self.upto);
        Batch {
            after,
            upto: self.upto,
            bookkeeping: std::mem::take(&mut self.bookkeeping),
            steps: std::mem::take(&mut self.steps),
            events: std::mem::take(&mut self.events),
            chain: self.chain.give(),
        }
    }

    fn apply(&mut self, lsn: Lsn, record: Record<'_>) -> Result<(), RecordError> {
        match record {
            record if self.is_before(&record) => {}
            Record::EpochStarted(started) => self.bookkeeping.push(Bookkeeping::EpochStarted(started)),
            Record::TenantAdded(added) => self.bookkeeping.push(Bookkeeping::TenantAdded(added)),
            Record::BagOpened(opened) => {
                if self.beginning == Beginning::OPEN {
                    self.beginning = Beginning {
                        bag: opened.bag,
                        work: opened.first,
                    };
                    self.bookkeeping.push(Bookkeeping::Begins(self.beginning));
                }
                self.bags.insert(opened.bag, (opened.first, opened.tenant));
                self.bookkeeping.push(Bookkeeping::BagOpened(opened));
            }
            Record::RowsAdded(added) => self.on_rows_added(lsn, &added)?,
            Record::BagPrioritised(prioritised) => self.bookkeeping.push(Bookkeeping::BagPrioritised {
                bag: prioritised.bag,
                priority: prioritised.priority,
            }),
            Record::BagSealed(sealed) => self.on_bag_closed(sealed.bag, sealed.at),
            Record::BagForgotten(bag) => {
                self.bags.remove(&bag);
                self.bookkeeping.push(Bookkeeping::BagForgotten(bag));
            }
            Record::WorkerJoined(joined) => self.bookkeeping.push(Bookkeeping::WorkerJoined(joined)),
            Record::WorkerChanged(changed) => {
                let by_operator =
                    changed.reason == Reason::ByOperator && changed.state != WorkerState::Draining;
                let cordons = by_operator.then_some(changed.state == WorkerState::Cordoned);
                self.bookkeeping
                    .push(Bookkeeping::WorkerChanged { changed, cordons });
            }
            Record::WorkerForgotten(worker) => self.bookkeeping.push(Bookkeeping::WorkerForgotten(worker)),
            Record::Leased(attempts) => self.on_leased(lsn, attempts),
            Record::Started(attempts) => self.on_started(lsn, attempts),
            Record::Released(attempts) => self.on_released(lsn, attempts),
            Record::Settled(settled) => self.on_settled(lsn, settled),
            Record::Ended(ended) => {
                self.on_run(RunChange {
                    lsn,
                    at: ended.at,
                    first: ended.first,
                    count: ended.count,
                    outcome: Some(ended.outcome),
                    reason: ended.reason,
                });
                if let Some(bag) = ended.closes {
                    self.on_bag_closed(bag, ended.at);
                }
            }
            Record::WorkerEnrolled(enrolled) => self.bookkeeping.push(Bookkeeping::WorkerEnrolled(enrolled)),
            Record::WorkerStanding(said) => self.bookkeeping.push(Bookkeeping::WorkerStanding(said)),
            // What sidecars note is theirs to read, but for what the chain's keeps for people and tables.
            Record::NotesWritten(notes) => self.chain.take(&notes.written),
            // By whom workers may be enrolled is the engine's alone to know.
            Record::TokenCreated(_) | Record::TokenRevoked(_) | Record::NotebookTaken(_) => {}
            Record::Revived(revived) => self.on_run(RunChange {
                lsn,
                at: revived.at,
                first: revived.first,
                count: revived.count,
                outcome: None,
                reason: Reason::None,
            }),
        }
        Ok(())
    }

    /// It is about a bag that has no rows; of several works, each is looked at.
    fn is_before(&self, record: &Record<'_>) -> bool {
        let has_bag = match record {
            Record::RowsAdded(added) => self.beginning.has_bag(added.bag),
            Record::BagPrioritised(prioritised) => self.beginning.has_bag(prioritised.bag),
            Record::BagSealed(sealed) => self.beginning.has_bag(sealed.bag),
            Record::BagForgotten(bag) => self.beginning.has_bag(*bag),
            Record::Ended(ended) => self.beginning.has_work(ended.first),
            Record::Revived(revived) => self.beginning.has_work(revived.first),
            _ => true,
        };
        !has_bag
    }

    fn on_rows_added(&mut self, lsn: Lsn, added: &RowsAdded<'_>) -> Result<(), RecordError> {
        let unknown = RecordError::UnknownBag { lsn, bag: added.bag };
        let (first, tenant) = *self.bags.get(&added.bag).ok_or(unknown)?;
        for (row, parameters) in (added.first_row..).zip(added.rows.iter()) {
            let new = NewWork {
                bag: added.bag,
                tenant,
                accepted_at: added.at,
                parameters: parameters.to_vec(),
            };
            self.change(
                first.offset(row),
                Some(new),
                queued(lsn, added.at, Reason::None, Attempt(0)),
            );
        }
        Ok(())
    }

    fn on_bag_closed(&mut self, bag: BagId, at: Instant) {
        self.bookkeeping.push(Bookkeeping::BagClosed { bag, at });
    }

    fn on_leased(&mut self, lsn: Lsn, attempts: Attempts<'_>) {
        let beginning = self.beginning;
        for token in attempts.iter().filter(|token| beginning.has_work(token.work)) {
            let now = held(lsn, attempts, token.attempt, WorkState::Leased);
            self.change(token.work, None, now);
            self.attempt(token.work, token.attempt, attempts).leased = Some((token.epoch, attempts.at));
        }
    }

    fn on_started(&mut self, lsn: Lsn, attempts: Attempts<'_>) {
        let beginning = self.beginning;
        for token in attempts.iter().filter(|token| beginning.has_work(token.work)) {
            let now = held(lsn, attempts, token.attempt, WorkState::Running);
            self.change(token.work, None, now);
            self.attempt(token.work, token.attempt, attempts).started_at = Some(attempts.at);
        }
    }

    fn on_released(&mut self, lsn: Lsn, attempts: Attempts<'_>) {
        let beginning = self.beginning;
        for token in attempts.iter().filter(|token| beginning.has_work(token.work)) {
            let now = queued(lsn, attempts.at, attempts.reason, token.attempt);
            self.change(token.work, None, now);
            self.attempt(token.work, token.attempt, attempts).ended = Some(AttemptEnd {
                at: attempts.at,
                outcome: None,
                reason: attempts.reason,
            });
        }
    }

    fn on_settled(&mut self, lsn: Lsn, settled: Settled<'_>) {
        let beginning = self.beginning;
        for item in settled.iter().filter(|item| beginning.has_work(item.work)) {
            let now = WorkNow {
                state: WorkState::Done(item.outcome),
                reason: item.reason,
                attempt: item.attempt,
                worker: Some(settled.worker),
                decided: Some(Decided {
                    exit_code: item.exit_code,
                    elapsed_us: item.elapsed_us,
                    result: item.result.to_vec(),
                }),
                changed_at: settled.at,
                lsn,
            };
            self.change(item.work, None, now);
            let attempt = self.attempts.entry((item.work, item.attempt));
            attempt
                .or_insert_with(|| untouched(item.work, item.attempt, settled.worker))
                .ended = Some(AttemptEnd {
                at: settled.at,
                outcome: Some(item.outcome),
                reason: item.reason,
            });
        }
    }

    fn on_run(&mut self, run: RunChange) {
        self.close_step();
        self.steps.push(Step::Run(run));
    }

    fn change(&mut self, work: WorkId, new: Option<NewWork>, now: WorkNow) {
        self.events.push(Event {
            lsn: now.lsn,
            work,
            at: now.changed_at,
            state: now.state,
            reason: now.reason,
            attempt: now.attempt,
            worker: now.worker,
        });
        match self.works.get_mut(&work) {
            Some(change) => change.now = now,
            None => {
                self.works.insert(work, WorkChange { work, new, now });
            }
        }
    }

    fn attempt(&mut self, work: WorkId, attempt: Attempt, of: Attempts<'_>) -> &mut AttemptChange {
        self.attempts
            .entry((work, attempt))
            .or_insert_with(|| untouched(work, attempt, of.worker))
    }

    fn close_step(&mut self) {
        if self.works.is_empty() {
            assert!(
                self.attempts.is_empty(),
                "an attempt never changes without its work"
            );
            return;
        }
        self.steps.push(Step::Rows {
            works: std::mem::take(&mut self.works).into_values().collect(),
            attempts: std::mem::take(&mut self.attempts).into_values().collect(),
        });
    }
}

fn queued(lsn: Lsn, at: Instant, reason: Reason, attempt: Attempt) -> WorkNow {
    WorkNow {
        state: WorkState::Queued,
        reason,
        attempt,
        worker: None,
        decided: None,
        changed_at: at,
        lsn,
    }
}

fn held(lsn: Lsn, attempts: Attempts<'_>, attempt: Attempt, state: WorkState) -> WorkNow {
    WorkNow {
        state,
        worker: Some(attempts.worker),
        ..queued(lsn, attempts.at, Reason::None, attempt)
    }
}

fn untouched(work: WorkId, attempt: Attempt, worker: WorkerId) -> AttemptChange {
    AttemptChange {
        work,
        attempt,
        worker,
        leased: None,
        started_at: None,
        ended: None,
    }
}

#[cfg(test)]
pub(crate) mod tests;
