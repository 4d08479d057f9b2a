//! Records and frames in words, for the story of a failure.

use std::fmt::Display;

use wire_protocol::client_link::{FromClient, ToClient};
use wire_protocol::frame;
use wire_protocol::ids::Epoch;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record::Record;
use wire_protocol::worker_link::{FromWorker, ToWorker};

use crate::net::End;

/// One record.
pub(crate) fn record(kind: u8, payload: &[u8]) -> String {
    match Record::parse(kind, payload) {
        Ok(Record::Leased(a)) => list("leased", &a.worker, a.iter()),
        Ok(Record::Started(a)) => list("started", &a.worker, a.iter()),
        Ok(Record::Released(a)) => list(&format!("released ({})", a.reason), &a.worker, a.iter()),
        Ok(Record::Settled(s)) => list(
            "settled",
            &s.worker,
            s.iter()
                .map(|i| format!("{}/{} {} ({})", i.work, i.attempt, i.outcome, i.reason)),
        ),
        Ok(Record::RowsAdded(r)) => {
            format!("rows {}+{} of {}", r.first_row, r.rows.len(), r.bag)
        }
        Ok(Record::BagOpened(o)) => {
            format!(
                "{} opened: {} rows from {} for {}",
                o.bag, o.rows_total, o.first, o.tenant
            )
        }
        Ok(Record::WorkerJoined(j)) => format!("{} joined as {}", j.worker, j.uid),
        Ok(other) => format!("{other:?}"),
        Err(error) => format!("unreadable: {error}"),
    }
}

/// What makes a record worth counting.
pub(crate) fn rarity(epoch: Epoch, kind: u8, payload: &[u8]) -> Option<&'static str> {
    Some(match Record::parse(kind, payload).ok()? {
        Record::Leased(attempts) if attempts.iter().any(|token| token.epoch < epoch) => {
            "a forgotten lease adopted"
        }
        Record::Settled(settled) if settled.iter().any(|item| item.reason == Reason::Quarantined) => {
            "a work quarantined by report"
        }
        Record::Released(attempts) => match attempts.reason {
            Reason::WorkerLost => "a lease expired",
            Reason::LeaseAbandoned => "a lease abandoned",
            Reason::Retracted => "a lease retracted",
            Reason::WorkerDraining => "a lease returned by a draining worker",
            _ => "an attempt failed",
        },
        Record::Ended(ended) => match (ended.outcome, ended.reason) {
            (Outcome::Cancelled, _) => "works cancelled",
            (Outcome::Expired, _) => "works expired",
            (_, Reason::Quarantined) => "a work quarantined",
            _ => "a work failed with its lease",
        },
        Record::Settled(_) => "works settled",
        Record::EpochStarted(_) => "the engine started",
        Record::Revived(_) => "works revived",
        Record::BagForgotten(_) => "a bag forgotten",
        Record::BagSealed(_) => "a bag sealed",
        Record::WorkerForgotten(_) => "a worker forgotten",
        Record::WorkerChanged(_) => "a worker changed",
        _ => return None,
    })
}

/// Whole frames that arrive at one side.
pub(crate) fn frames(to: End, worker: bool, mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while let Ok(Some((kind, payload, used))) = frame::split_first(bytes) {
        bytes = &bytes[used..];
        let one = match (to, worker) {
            (End::Engine, true) => words(FromWorker::parse(kind, payload), |message| match message {
                FromWorker::Join(j) => format!(
                    "Join held {:?} running {:?} unacknowledged {:?}",
                    j.held, j.running, j.unacknowledged
                ),
                FromWorker::Finished(r) => list(
                    "Finished",
                    &r.first(),
                    r.iter().map(|r| format!("{} ({})", r.token, r.reason)),
                ),
                FromWorker::Started(t) => list("Started", &t.reason(), t.iter()),
                FromWorker::Retracted(t) => list("Retracted", &t.reason(), t.iter()),
                other => format!("{other:?}"),
            }),
            (End::Peer, true) => words(ToWorker::parse(kind, payload), |message| match message {
                ToWorker::Assign(a) => list("Assign", &a.template(), a.iter().map(|a| a.token)),
                ToWorker::Retract(t) => list("Retract", &t.reason(), t.iter()),
                ToWorker::Cancel(t) => list("Cancel", &t.reason(), t.iter()),
                ToWorker::Template(t) => format!("Template {}", t.template),
                other => format!("{other:?}"),
            }),
            (End::Engine, false) => words(FromClient::parse(kind, payload), |message| match message {
                FromClient::Open(o) => format!("Open {} with {} rows", o.request, o.rows_total),
                FromClient::Rows(r) => {
                    format!("Rows of {}: {}+{}", r.request, r.first_row, r.rows.len())
                }
                other => format!("{other:?}"),
            }),
            (End::Peer, false) => words(ToClient::parse(kind, payload), |message| match message {
                ToClient::Outcomes(o) => list(
                    "Outcomes",
                    &o.bag,
                    o.iter().map(|i| format!("{} {}", i.work, i.outcome)),
                ),
                other => {
                    let mut text = format!("{other:?}");
                    text.truncate(text.floor_char_boundary(300));
                    text
                }
            }),
        };
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&one);
    }
    text
}

pub(crate) fn outcome<T, E: Display>(result: &Result<T, E>) -> String {
    match result {
        Ok(_) => "done".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn words<T, E: Display>(message: Result<T, E>, say: impl FnOnce(T) -> String) -> String {
    message.map_or_else(|error| format!("nonsense: {error}"), say)
}

fn list(what: &str, who: &dyn Display, items: impl Iterator<Item = impl Display>) -> String {
    let items: Vec<String> = items.map(|item| item.to_string()).collect();
    format!("{what} {who}: {}", items.join(" "))
}
