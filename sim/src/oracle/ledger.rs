//! What the records say, kept in the most obvious way. The ledger judges nothing; the oracles do, before a
//! record is applied.

use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::client_link::IdempotencyKey;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::Record;
use wire_protocol::template::{Offer, WorkTemplate};

#[derive(Default)]
pub(crate) struct Ledger {
    pub(super) epoch: Epoch,
    pub(super) bags: BTreeMap<BagId, Bag>,
    pub(super) works: BTreeMap<WorkId, Work>,
    pub(super) leases: BTreeMap<LeaseToken, Lease>,
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    pub(super) tenants: BTreeMap<TenantId, String>,
    /// Works of remembered bags, by state.
    pub(super) counts: Counts,
    /// Works that were queued again by command, ever.
    pub(super) revived: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) waiting: u64,
    pub(super) held: u64,
    pub(super) done: u64,
    pub(super) bags: u64,
}

pub(super) struct Bag {
    pub(super) lsn: Lsn,
    pub(super) first: WorkId,
    pub(super) rows_total: u32,
    pub(super) accepted: u32,
    pub(super) tenant: TenantId,
    pub(super) key: IdempotencyKey,
    pub(super) template: WorkTemplate,
    pub(super) closed: bool,
    pub(super) forgotten: bool,
}

pub(super) struct Work {
    pub(super) bag: BagId,
    pub(super) row: Vec<u8>,
    /// The record that brought the row.
    pub(super) lsn: Lsn,
    pub(super) state: State,
    pub(super) last_attempt: Attempt,
    /// More than one only where it was queued again by command in between.
    pub(super) outcomes: Vec<Ending>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Waiting,
    Held(LeaseToken, WorkerId),
    Done,
}

/// How a work ended, and the record that says so.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Ending {
    pub(super) lsn: Lsn,
    pub(super) outcome: Outcome,
    pub(super) reason: Reason,
    pub(super) attempt: Attempt,
    pub(super) worker: WorkerId,
    pub(super) exit_code: i32,
    pub(super) elapsed_us: u32,
    pub(super) result: Vec<u8>,
}

pub(super) struct Lease {
    /// Whose it is, by name: a worker may be forgotten in the very event in which it lost its lease.
    pub(super) uid: String,
    /// The record that ended it.
    pub(super) over: Option<Lsn>,
}

pub(super) struct Worker {
    pub(super) uid: String,
    pub(super) offer: Offer,
    pub(super) held: BTreeSet<WorkId>,
}

impl Ledger {
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.works.len()).expect("few works")
    }

    /// A lease that an earlier engine might have given for a work that waits.
    pub(crate) fn claimable(&self) -> Option<LeaseToken> {
        let waiting = self.open().find(|(_, work)| work.state == State::Waiting);
        waiting.map(|(id, work)| LeaseToken {
            work: id,
            epoch: Epoch(self.epoch.0 - 1),
            attempt: Attempt(work.last_attempt.0 + 1),
            shard: Shard(0),
        })
    }

    pub(super) fn uid(&self, worker: WorkerId) -> &str {
        self.workers.get(&worker).map_or("", |worker| &worker.uid)
    }

    /// The work, if its bag is remembered.
    pub(super) fn remembered(&self, work: WorkId) -> Option<&Work> {
        self.works
            .get(&work)
            .filter(|work| !self.bags[&work.bag].forgotten)
    }

    /// Works that have not ended, with what they are.
    pub(super) fn open(&self) -> impl Iterator<Item = (WorkId, &Work)> {
        self.works
            .iter()
            .filter(|(_, work)| work.state != State::Done)
            .map(|(id, work)| (*id, work))
    }

    pub(super) fn works_of(&self, bag: &Bag) -> impl Iterator<Item = (WorkId, &Work)> {
        self.works
            .range(bag.first..bag.first.offset(bag.rows_total))
            .map(|(id, work)| (*id, work))
    }

    pub(super) fn apply(&mut self, lsn: Lsn, record: &Record<'_>) {
        match record {
            Record::EpochStarted(started) => self.epoch = started.epoch,
            Record::TenantAdded(added) => {
                self.tenants.insert(added.tenant, added.name.clone());
            }
            Record::BagOpened(opened) => {
                let bag = Bag {
                    lsn,
                    first: opened.first,
                    rows_total: opened.rows_total,
                    accepted: 0,
                    tenant: opened.tenant,
                    key: opened.key,
                    template: opened.template.clone(),
                    closed: false,
                    forgotten: false,
                };
                self.bags.insert(opened.bag, bag);
                self.counts.bags += 1;
            }
            Record::RowsAdded(added) => {
                let bag = self.bags.get_mut(&added.bag).expect("accepted looks before");
                for row in added.rows.iter() {
                    let work = Work {
                        bag: added.bag,
                        row: row.to_vec(),
                        lsn,
                        state: State::Waiting,
                        last_attempt: Attempt(0),
                        outcomes: Vec::new(),
                    };
                    self.works.insert(bag.first.offset(bag.accepted), work);
                    bag.accepted += 1;
                    self.counts.waiting += 1;
                }
            }
            Record::BagPrioritised(_) | Record::Started(_) | Record::WorkerChanged(_) => {}
            Record::TokenCreated(_)
            | Record::TokenRevoked(_)
            | Record::WorkerEnrolled(_)
            | Record::WorkerStanding(_)
            | Record::NotebookTaken(_)
            | Record::NotesWritten(_) => {}
            Record::BagForgotten(id) => {
                let bag = self.bags.get_mut(id).expect("accepted looks before");
                bag.forgotten = true;
                self.counts.bags -= 1;
                self.counts.done -= u64::from(bag.accepted);
            }
            Record::WorkerJoined(joined) => {
                let held = self
                    .workers
                    .remove(&joined.worker)
                    .map(|worker| worker.held)
                    .unwrap_or_default();
                let worker = Worker {
                    uid: joined.uid.clone(),
                    offer: joined.offer.clone(),
                    held,
                };
                self.workers.insert(joined.worker, worker);
            }
            Record::WorkerForgotten(worker) => {
                self.workers.remove(worker);
            }
            Record::Leased(attempts) => {
                for token in attempts.iter() {
                    let work = self.works.get_mut(&token.work).expect("lease looks before");
                    work.state = State::Held(token, attempts.worker);
                    work.last_attempt = token.attempt;
                    self.counts.waiting -= 1;
                    self.counts.held += 1;
                    let worker = self
                        .workers
                        .get_mut(&attempts.worker)
                        .expect("lease looks before");
                    worker.held.insert(token.work);
                    let lease = Lease {
                        uid: worker.uid.clone(),
                        over: None,
                    };
                    self.leases.insert(token, lease);
                }
            }
            Record::Released(attempts) => {
                for token in attempts.iter() {
                    self.leave(lsn, token.work, State::Waiting);
                }
            }
            Record::Settled(settled) => {
                for item in settled.iter() {
                    let ending = Ending {
                        lsn,
                        outcome: item.outcome,
                        reason: item.reason,
                        attempt: item.attempt,
                        worker: settled.worker,
                        exit_code: item.exit_code,
                        elapsed_us: item.elapsed_us,
                        result: item.result.to_vec(),
                    };
                    self.end(item.work, ending);
                }
            }
            Record::Ended(ended) => {
                for row in 0..ended.count {
                    let id = ended.first.offset(row);
                    if self.works.get(&id).is_none_or(|work| work.state == State::Done) {
                        continue;
                    }
                    let ending = Ending {
                        lsn,
                        outcome: ended.outcome,
                        reason: ended.reason,
                        attempt: Attempt(0),
                        worker: WorkerId(0),
                        exit_code: 0,
                        elapsed_us: 0,
                        result: Vec::new(),
                    };
                    self.end(id, ending);
                }
                if let Some(bag) = ended.closes.and_then(|bag| self.bags.get_mut(&bag)) {
                    bag.closed = true;
                }
            }
            Record::BagSealed(sealed) => {
                self.bags
                    .get_mut(&sealed.bag)
                    .expect("accepted looks before")
                    .closed = true;
            }
            Record::Revived(revived) => {
                for row in 0..revived.count {
                    let id = revived.first.offset(row);
                    let ended_badly = self.works.get(&id).is_some_and(|work| {
                        let last = work.outcomes.last();
                        work.state == State::Done
                            && last.is_some_and(|ending| ending.outcome != Outcome::Succeeded)
                    });
                    if ended_badly {
                        self.leave(lsn, id, State::Waiting);
                        self.revived += 1;
                    }
                }
            }
        }
    }

    fn end(&mut self, id: WorkId, ending: Ending) {
        self.leave(ending.lsn, id, State::Done);
        let work = self.works.get_mut(&id).expect("outcome looks before");
        work.outcomes.push(ending);
    }

    /// The work leaves the state it is in.
    fn leave(&mut self, lsn: Lsn, id: WorkId, to: State) {
        let work = self.works.get_mut(&id).expect("the oracles look before");
        match std::mem::replace(&mut work.state, to) {
            State::Waiting => self.counts.waiting -= 1,
            State::Done => self.counts.done -= 1,
            State::Held(token, worker) => {
                self.counts.held -= 1;
                self.leases.get_mut(&token).expect("it was given").over = Some(lsn);
                if let Some(worker) = self.workers.get_mut(&worker) {
                    worker.held.remove(&id);
                }
            }
        }
        match to {
            State::Waiting => self.counts.waiting += 1,
            State::Done => self.counts.done += 1,
            State::Held(..) => unreachable!("leases are given in one place"),
        }
    }

    /// The token of the live lease of a work in the words of a `Settled` record.
    pub(super) fn settling(&self, work: WorkId, attempt: Attempt, worker: WorkerId) -> Option<LeaseToken> {
        match self.works.get(&work)?.state {
            State::Held(token, holder)
                if holder == worker && token.attempt == attempt && token.shard == Shard(0) =>
            {
                Some(token)
            }
            _ => None,
        }
    }
}
