//! Oracles: what must never happen, one file each.
//!
//! They see every record that the scheduler emits, every frame that the engine sends and every report that it is
//! given, and remember every promise. From the records they keep a [`ledger`] of their own, obvious rather than
//! fast, to which the scheduler's tables, its words and the disk are compared. A crash takes from the ledger what
//! the disk has lost, and from the promises nothing.

mod accepted;
mod bounds;
mod credit;
mod lease;
mod ledger;
mod liveness;
mod lsn;
pub(crate) mod market;
mod offer;
mod outcome;
mod recorded;
mod result;
mod states;

use std::collections::BTreeMap;

use engine_core::Counters;
use engine_journal::Records;
use serde::Serialize;
use wire_protocol::client_link::{Accepted as AcceptedMessage, FromClient, IdempotencyKey, ToClient};
use wire_protocol::ids::{Epoch, LeaseToken, LinkId, Lsn, WorkId};
use wire_protocol::record::Record;
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::units::Bytes;
use wire_protocol::worker_link::{Join, Report, Reports, ToWorker, Welcome};
use worker_core::{Disconnect, Note, Settings, Status};

use crate::faults::Options;
use crate::world::PeerId;
use ledger::Ledger;

pub(crate) use liveness::{learned, stuck};

/// Something that must not happen has happened.
#[derive(Clone, Debug, Serialize)]
pub struct Violation {
    /// The oracle that objects: the name of its file, or `panic`.
    pub oracle: &'static str,
    /// The work that it is about.
    pub work: Option<u64>,
    /// What happened.
    pub what: String,
}

impl Violation {
    pub(crate) fn new(oracle: &'static str, work: Option<WorkId>, what: impl Into<String>) -> Self {
        Self {
            oracle,
            work: work.map(|work| work.0),
            what: what.into(),
        }
    }
}

/// Objects unless `holds`.
fn check(
    oracle: &'static str,
    work: impl Into<Option<WorkId>>,
    holds: bool,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation::new(oracle, work.into(), what()))
    }
}

pub(crate) struct Oracles {
    pub(crate) ledger: Ledger,
    history: lsn::History,
    accepted: accepted::Promises,
    asked: outcome::Asked,
    produced: result::Produced,
    given: lease::Given,
    links: BTreeMap<LinkId, recorded::Said>,
    bounds: bounds::Bounds,
    offers: offer::Offers,
}

impl Oracles {
    pub(crate) fn new(options: &Options, open_works_max: u64) -> Self {
        Self {
            ledger: Ledger::default(),
            history: lsn::History::default(),
            accepted: accepted::Promises::default(),
            asked: outcome::Asked::default(),
            produced: result::Produced::default(),
            given: lease::Given::default(),
            links: BTreeMap::new(),
            bounds: bounds::Bounds::new(options, open_works_max),
            offers: offer::Offers::default(),
        }
    }

    /// Works that the ledger knows.
    pub(crate) fn works(&self) -> u32 {
        self.ledger.len()
    }

    /// An engine takes up the shard.
    pub(crate) fn started(&mut self, epoch: Epoch) -> Result<(), Violation> {
        self.links.clear();
        self.history.started(epoch)
    }

    /// The scheduler emitted a record.
    pub(crate) fn emitted(&mut self, lsn: Lsn, kind: u8, payload: &[u8]) -> Result<(), Violation> {
        self.history.emitted(lsn, kind, payload)?;
        let record = states::parse(lsn, kind, payload)?;
        lease::check_record(&self.ledger, &mut self.given, &record)?;
        outcome::check_record(&self.ledger, &self.asked, &record)?;
        result::check_record(&self.ledger, &self.produced, &record)?;
        accepted::check_record(&self.ledger, &record)?;
        states::check_record(&self.ledger, &record)?;
        self.ledger.apply(lsn, &record);
        if let Record::Leased(attempts) = &record {
            self.offers.check_engine(&self.ledger, attempts)?;
            credit::check_engine(&self.ledger, attempts)?;
        }
        Ok(())
    }

    /// The scheduler's numbers after an event.
    pub(crate) fn compare(&self, counters: &Counters) -> Result<(), Violation> {
        states::compare(&self.ledger, self.history.len(), counters)?;
        self.bounds.check_open(&self.ledger)
    }

    pub(crate) fn sizes(&self, outbox_bytes: usize, batch_bytes: u64) -> Result<(), Violation> {
        self.bounds
            .check_sizes(Bytes(outbox_bytes as u64), Bytes(batch_bytes))
    }

    /// The journal says that everything up to here is durable.
    pub(crate) fn durable(&mut self, durable: Lsn) -> Result<(), Violation> {
        self.history.durable(durable)
    }

    pub(crate) fn crashed(&mut self) {
        self.links.clear();
    }

    /// The journal was read back: `records` from `first` to `last`.
    pub(crate) fn recovered(&mut self, last: Lsn, first: Lsn, records: &Records) -> Result<(), Violation> {
        self.history.recovered(last, first, records)?;
        self.ledger = Ledger::default();
        for (lsn, kind, payload) in self.history.records() {
            self.ledger.apply(lsn, &states::parse(lsn, kind, payload)?);
        }
        result::check_kept(&self.ledger, first)?;
        self.accepted.check_all(&self.ledger)
    }

    /// Records that the last crash took; none of them was durable.
    pub(crate) fn lost(&self) -> u64 {
        self.history.lost
    }

    pub(crate) fn joined(&mut self, link: LinkId, join: &Join) {
        self.links.insert(link, recorded::Said::new(&join.uid));
    }

    /// A worker's reports reached the scheduler.
    pub(crate) fn reported(&mut self, link: LinkId, reports: &Reports<'_>) {
        if let Some(said) = self.links.get_mut(&link) {
            said.reported(&self.ledger, reports);
        }
    }

    pub(crate) fn client_said(&mut self, peer: Option<PeerId>, message: &FromClient<'_>) {
        self.asked.client_said(peer, message);
    }

    /// The engine sends a frame, while everything up to `durable` is.
    pub(crate) fn told(
        &mut self,
        peer: Option<PeerId>,
        link: LinkId,
        kind: u8,
        payload: &[u8],
        durable: Lsn,
    ) -> Result<(), Violation> {
        if kind < 0x40 {
            match ToWorker::parse(kind, payload) {
                Ok(ToWorker::Recorded(upto)) => match self.links.get(&link) {
                    Some(said) => said.check_recorded(&self.ledger, upto, durable),
                    None => Ok(()),
                },
                Ok(ToWorker::Assign(assignments)) => {
                    let uid = self.links.get(&link).map(recorded::Said::uid);
                    lease::check_assigned(&self.ledger, uid, &assignments)
                }
                Ok(ToWorker::Welcome(welcome)) => self.history.told_epoch(welcome.epoch),
                Ok(_) => Ok(()),
                Err(error) => Err(states::nonsense(&error)),
            }
        } else {
            match ToClient::parse(kind, payload) {
                Ok(ToClient::Accepted(accepted)) => accepted::check_told(&self.ledger, &accepted, durable),
                Ok(ToClient::Outcomes(outcomes)) => {
                    outcome::check_told(&self.ledger, &self.asked, peer, &outcomes, durable)
                }
                Ok(ToClient::Reply(answer)) => result::check_reply(&self.ledger, &answer.reply, durable),
                Ok(_) => Ok(()),
                Err(error) => Err(states::nonsense(&error)),
            }
        }
    }

    /// A client read that its rows are accepted.
    pub(crate) fn promised(
        &mut self,
        login: &str,
        key: IdempotencyKey,
        accepted: &AcceptedMessage,
        rows: &[Vec<u8>],
    ) -> Result<(), Violation> {
        self.accepted.promised(&self.ledger, login, key, accepted, rows)
    }

    pub(crate) fn trust(&mut self, peer: PeerId) {
        self.asked.trust(peer);
    }

    /// A worker reads which epoch it is.
    pub(crate) fn welcomed(&mut self, welcome: &Welcome) -> Result<(), Violation> {
        self.history.told_epoch(welcome.epoch)
    }

    /// A worker begins to run an attempt.
    pub(crate) fn ran(&self, uid: &str, token: LeaseToken, row: &[u8]) -> Result<(), Violation> {
        lease::check_ran(&self.ledger, uid, token, row)
    }

    /// An executor is done with an attempt.
    pub(crate) fn produced(&mut self, uid: &str, report: &Report<'_>) {
        self.produced.add(uid, report);
    }

    /// What a worker really has, whatever is said of it.
    pub(crate) fn honest(&mut self, uid: &str, offer: &Offer) {
        self.offers.honest(uid, offer);
    }

    pub(crate) fn worker_state<'a>(
        &self,
        settings: &Settings,
        running: &(impl Iterator<Item = &'a WorkTemplate> + Clone),
        status: &Status,
    ) -> Result<(), Violation> {
        let (uid, offer) = (&settings.uid, &settings.offer);
        credit::check_worker(uid, offer.slots, running.clone().count())?;
        offer::check_worker(uid, offer, running)?;
        bounds::check_worker(uid, status)
    }

    pub(crate) fn noted(&self, uid: &str, note: &Note) -> Result<(), Violation> {
        credit::check_note(uid, note)
    }

    /// A worker closed its link for this reason.
    pub(crate) fn disconnected(&self, uid: &str, reason: &Disconnect) -> Result<(), Violation> {
        states::check_conversation(uid, reason)
    }
}
