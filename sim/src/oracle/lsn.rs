//! Positions have no gap and no repeat; what was durable once is durable for good, with the same bytes; and an
//! epoch that was told to anybody belongs to one start of the engine.

use std::collections::BTreeMap;

use engine_journal::Records;
use wire_protocol::ids::{Epoch, Lsn};

use super::{Violation, check};

const NAME: &str = "lsn";

/// All records that were emitted and not lost.
#[derive(Default)]
pub(super) struct History {
    records: Vec<(u8, Vec<u8>)>,
    durable: Lsn,
    starts: u64,
    /// Records that the last crash took.
    pub(super) lost: u64,
    /// Which start told an epoch.
    told: BTreeMap<Epoch, u64>,
}

impl History {
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (Lsn, u8, &[u8])> {
        let numbered = (1..).zip(&self.records);
        numbered.map(|(lsn, (kind, payload))| (Lsn(lsn), *kind, &payload[..]))
    }

    /// Kinds and payloads of those that nothing takes any more.
    pub(super) fn records_durable(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let durable = &self.records[..self.durable.index()];
        durable.iter().map(|(kind, payload)| (*kind, &payload[..]))
    }

    pub(super) fn emitted(&mut self, lsn: Lsn, kind: u8, payload: &[u8]) -> Result<(), Violation> {
        let next = Lsn(self.len() + 1);
        check(NAME, None, lsn == next, || {
            format!("{lsn} is emitted where {next} is next")
        })?;
        self.records.push((kind, payload.to_vec()));
        Ok(())
    }

    pub(super) fn durable(&mut self, durable: Lsn) -> Result<(), Violation> {
        let len = self.len();
        check(NAME, None, self.durable < durable && durable.0 <= len, || {
            format!(
                "{durable} becomes durable after {}; {len} were emitted",
                self.durable
            )
        })?;
        self.durable = durable;
        Ok(())
    }

    pub(super) fn recovered(&mut self, last: Lsn, first: Lsn, records: &Records) -> Result<(), Violation> {
        let (durable, len) = (self.durable, self.len());
        check(NAME, None, durable <= last && last.0 <= len, || {
            format!("the journal ends at {last}; {durable} was durable and {len} were emitted")
        })?;
        let mut next = first;
        for record in records.iter() {
            check(NAME, None, record.lsn == next, || {
                format!("{} is read where {next} is next", record.lsn)
            })?;
            let (kind, payload) = &self.records[record.lsn.index() - 1];
            check(
                NAME,
                None,
                *kind == record.kind && payload == record.payload,
                || format!("{} has other bytes than were written", record.lsn),
            )?;
            next = next.next();
        }
        check(NAME, None, next == last.next(), || {
            format!("the journal ends at {last}, but could be read only up to {next}")
        })?;
        self.lost = self.len() - last.0;
        self.records.truncate(last.index());
        self.durable = last;
        Ok(())
    }

    pub(super) fn started(&mut self, epoch: Epoch) -> Result<(), Violation> {
        self.starts += 1;
        match self.told.get(&epoch) {
            Some(start) => Err(Violation::new(
                NAME,
                None,
                format!(
                    "start {} is {epoch}, which start {start} told already",
                    self.starts
                ),
            )),
            None => Ok(()),
        }
    }

    pub(super) fn told_epoch(&mut self, epoch: Epoch) -> Result<(), Violation> {
        let start = self.starts;
        let told = *self.told.entry(epoch).or_insert(start);
        check(NAME, None, told <= start, || {
            format!("{epoch} is of a start to come")
        })
    }
}
