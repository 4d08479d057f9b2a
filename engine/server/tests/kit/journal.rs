//! What the journal says afterwards: the life of every work, checked against the rules while it is read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use client::protocol::ids::{Epoch, LeaseToken, Lsn, WorkId, WorkerId};
use client::protocol::outcome::Outcome;
use client::protocol::record::{Attempts, Ended, Record, Settled};
use engine_journal::{OsStorage, OwnedRecord, Report, export};
use wire_feed::Subscription;

/// All that a journal tells.
pub(crate) struct History {
    pub(crate) records: Vec<OwnedRecord>,
    pub(crate) report: Report,
    pub(crate) works: BTreeMap<WorkId, Life>,
    first_of_bag: BTreeMap<u64, WorkId>,
    /// Of the last engine.
    pub(crate) epoch: Epoch,
}

/// What became of one work.
#[derive(Default, Debug)]
pub(crate) struct Life {
    pub(crate) row: Vec<u8>,
    /// Every lease that was given, with whom it was given to.
    pub(crate) leases: Vec<(LeaseToken, WorkerId)>,
    live: bool,
    /// Its final outcome, the attempt that decided it, and the result.
    pub(crate) end: Option<(Outcome, u16, Vec<u8>)>,
}

impl History {
    /// Reads a journal from its first record on.
    ///
    /// # Panics
    /// If it is damaged, does not begin at the beginning, or breaks a rule: a lease is given for a work that has
    /// one or has ended, an attempt is repeated, a report is recorded without its lease, a second outcome.
    pub(crate) fn read(folder: &Path) -> Self {
        let storage = OsStorage::open_read_only(folder).expect("the engine's folder");
        let mut records = Vec::new();
        let last = Lsn(u64::MAX - 1);
        let report = export(&storage, Lsn(1), last, |record| {
            records.push(OwnedRecord::from(record))
        });
        let report = report.expect("a readable journal");
        assert_eq!(report.damage, None);
        let mut history = Self {
            records: Vec::new(),
            report,
            works: BTreeMap::new(),
            first_of_bag: BTreeMap::new(),
            epoch: Epoch(0),
        };
        for (index, record) in records.iter().enumerate() {
            assert_eq!(record.lsn.0, index as u64 + 1, "no record is missing");
            let parsed = Record::parse(record.kind, &record.payload).expect("a known record");
            history.apply(record.lsn, &parsed);
        }
        history.records = records;
        history
    }

    fn apply(&mut self, lsn: Lsn, record: &Record<'_>) {
        match record {
            Record::EpochStarted(started) => {
                assert!(started.epoch > self.epoch, "{lsn}: epochs rise");
                self.epoch = started.epoch;
            }
            Record::BagOpened(bag) => {
                assert_eq!(self.first_of_bag.insert(bag.bag.0, bag.first), None, "{lsn}");
            }
            Record::RowsAdded(added) => {
                let first = self.first_of_bag[&added.bag.0].offset(added.first_row);
                for (index, row) in added.rows.iter().enumerate() {
                    let life = Life {
                        row: row.to_vec(),
                        ..Life::default()
                    };
                    let known = self.works.insert(WorkId(first.0 + index as u64), life);
                    assert!(known.is_none(), "{lsn}: a row is accepted once");
                }
            }
            Record::Leased(attempts) => self.leased(lsn, attempts),
            Record::Started(attempts) => {
                attempts
                    .iter()
                    .for_each(|token| self.holds(lsn, token.work, token.attempt.0, attempts.worker));
            }
            Record::Released(attempts) => {
                for token in attempts.iter() {
                    self.holds(lsn, token.work, token.attempt.0, attempts.worker);
                    self.life(lsn, token.work).live = false;
                }
            }
            Record::Settled(settled) => self.settled(lsn, settled),
            Record::Ended(ended) => self.ended(ended),
            Record::Revived(revived) => {
                for life in self.run(revived.first, revived.count) {
                    life.end = life
                        .end
                        .take()
                        .filter(|(outcome, ..)| *outcome == Outcome::Succeeded);
                }
            }
            Record::TenantAdded(_)
            | Record::BagPrioritised(_)
            | Record::BagForgotten(_)
            | Record::BagSealed(_)
            | Record::TokenCreated(_)
            | Record::TokenRevoked(_)
            | Record::WorkerEnrolled(_)
            | Record::WorkerStanding(_)
            | Record::NotebookTaken(_)
            | Record::NotesWritten(_)
            | Record::WorkerJoined(_)
            | Record::WorkerChanged(_)
            | Record::WorkerForgotten(_) => {}
        }
    }

    fn leased(&mut self, lsn: Lsn, attempts: &Attempts<'_>) {
        for token in attempts.iter() {
            let life = self.life(lsn, token.work);
            assert!(
                !life.live,
                "{lsn}: {token} is given, {:?} is live",
                life.leases.last()
            );
            assert!(
                life.end.is_none(),
                "{lsn}: {token} is given for a work that has ended"
            );
            let before = life.leases.last().map_or(0, |(token, _)| token.attempt.0);
            assert!(
                token.attempt.0 > before,
                "{lsn}: {token} comes after attempt {before}"
            );
            life.leases.push((token, attempts.worker));
            life.live = true;
        }
    }

    fn settled(&mut self, lsn: Lsn, settled: &Settled<'_>) {
        for item in settled.iter() {
            self.holds(lsn, item.work, item.attempt.0, settled.worker);
            let life = self.life(lsn, item.work);
            assert!(life.end.is_none(), "{lsn}: {} ends twice", item.work);
            life.end = Some((item.outcome, item.attempt.0, item.result.to_vec()));
            life.live = false;
        }
    }

    fn ended(&mut self, ended: &Ended) {
        for life in self.run(ended.first, ended.count) {
            if life.end.is_none() {
                life.end = Some((ended.outcome, 0, Vec::new()));
                life.live = false;
            }
        }
    }

    /// The lease is live and this worker's.
    fn holds(&mut self, lsn: Lsn, work: WorkId, attempt: u16, worker: WorkerId) {
        let life = self.life(lsn, work);
        let last = life
            .leases
            .last()
            .map(|(token, worker)| (token.attempt.0, *worker));
        assert!(
            life.live && last == Some((attempt, worker)),
            "{lsn}: {work}/a{attempt} of {worker}, but {life:?}"
        );
    }

    fn life(&mut self, lsn: Lsn, work: WorkId) -> &mut Life {
        self.works
            .get_mut(&work)
            .unwrap_or_else(|| panic!("{lsn}: {work} was never accepted"))
    }

    fn run(&mut self, first: WorkId, count: u32) -> impl Iterator<Item = &mut Life> {
        self.works
            .range_mut(first..first.offset(count))
            .map(|(_, life)| life)
    }
}

/// A sidecar that subscribes to the feed, over all restarts of the engine, and acknowledges nothing: so the engine
/// keeps every record.
pub(crate) struct Audit {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<OwnedRecord>>,
}

impl Audit {
    pub(crate) fn start(feed: &Path) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (feed, stopped) = (feed.to_owned(), Arc::clone(&stop));
        // From here on the engine knows of it.
        drop(Subscription::connect(&feed, "audit", Lsn(0)).expect("the engine feeds"));
        let thread = std::thread::spawn(move || {
            let mut records: Vec<OwnedRecord> = Vec::new();
            while !stopped.load(Ordering::Relaxed) {
                let after = records.last().map_or(Lsn(0), |record| record.lsn);
                match Subscription::connect(&feed, "audit", after) {
                    Ok(subscription) => listen(subscription, &stopped, &mut records),
                    // The engine is away.
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
            records
        });
        Self { stop, thread }
    }

    /// Everything that was heard, in order.
    pub(crate) fn finish(self) -> Vec<OwnedRecord> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the audit goes on to the end")
    }
}

fn listen(mut subscription: Subscription, stopped: &AtomicBool, records: &mut Vec<OwnedRecord>) {
    while !stopped.load(Ordering::Relaxed) {
        match subscription.next_within(Duration::from_millis(50)) {
            Ok(Some(record)) => records.push(OwnedRecord {
                lsn: record.lsn,
                epoch: record.epoch,
                kind: record.kind,
                wall_us: record.wall_us,
                payload: record.payload.to_vec(),
            }),
            Ok(None) => {}
            Err(_) => return,
        }
    }
}
