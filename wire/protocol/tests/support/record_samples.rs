//! Samples of the journal's records.

use wire_protocol::ids::{BagId, Epoch, Shard, TenantId, WorkId, WorkerId};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::template::Priority;
use wire_protocol::view::WorkerState;

use super::{AT, KEY, blob, offer, outcomes, template, text, tokens};
use crate::support::{Message, SomeAttempts};

pub(super) fn records() -> Vec<(&'static str, Message)> {
    let attempts = |reason| SomeAttempts {
        at: AT,
        worker: WorkerId(7),
        reason,
        tokens: tokens(),
    };
    let changed = |state, reason| {
        Message::WorkerChanged(record::WorkerChanged {
            worker: WorkerId(7),
            state,
            reason,
            at: AT,
        })
    };
    let epoch_started = record::EpochStarted {
        shard: Shard(1),
        epoch: Epoch(3),
        at: AT,
        version: text("0.1.0"),
    };
    let tenant = record::TenantAdded {
        tenant: TenantId(2),
        name: text("admin"),
        weight: 100,
    };
    let opened = record::BagOpened {
        bag: BagId(9),
        first: WorkId(298),
        rows_total: 21,
        tenant: TenantId(2),
        key: KEY,
        at: AT,
        template: template(),
    };
    let rows_added = Message::RowsAdded {
        at: AT,
        bag: BagId(9),
        first_row: 1_024,
        rows: vec![blob(b"\x011\x012\x0242"), blob(b"")],
    };
    let prioritised = record::BagPrioritised {
        bag: BagId(9),
        priority: Priority(9),
        at: AT,
    };
    let joined = record::WorkerJoined {
        worker: WorkerId(7),
        uid: text("6f1c"),
        name: text("rack-3"),
        version: text("0.1.0"),
        offer: offer(),
        at: AT,
    };
    let ended = record::Ended {
        at: AT,
        first: WorkId(300),
        count: 21,
        outcome: Outcome::Cancelled,
        reason: Reason::ByUser,
        closes: Some(BagId(9)),
    };
    let ended_one = record::Ended {
        count: 1,
        outcome: Outcome::Expired,
        reason: Reason::TimeToLive,
        closes: None,
        ..ended
    };
    let revived = record::Revived {
        at: AT,
        first: WorkId(300),
        count: 21,
    };
    vec![
        ("epoch-started", Message::EpochStarted(epoch_started)),
        ("tenant-added", Message::TenantAdded(tenant)),
        ("bag-opened", Message::BagOpened(Box::new(opened))),
        ("rows-added", rows_added),
        ("bag-prioritised", Message::BagPrioritised(prioritised)),
        ("bag-forgotten", Message::BagForgotten(BagId(9))),
        ("worker-joined", Message::WorkerJoined(Box::new(joined))),
        ("worker-changed.ready", changed(WorkerState::Ready, Reason::None)),
        (
            "worker-changed.cordoned",
            changed(WorkerState::Cordoned, Reason::ByOperator),
        ),
        (
            "worker-changed.draining",
            changed(WorkerState::Draining, Reason::ByOperator),
        ),
        (
            "worker-changed.lost",
            changed(WorkerState::Lost, Reason::WorkerLost),
        ),
        (
            "worker-changed.gone",
            changed(WorkerState::Gone, Reason::WorkerDraining),
        ),
        ("leased", Message::LeasedRecord(attempts(Reason::None))),
        ("started", Message::StartedRecord(attempts(Reason::None))),
        ("released", Message::ReleasedRecord(attempts(Reason::WorkerLost))),
        (
            "settled",
            Message::Settled {
                at: AT,
                worker: WorkerId(7),
                items: outcomes(),
            },
        ),
        ("ended.bag", Message::Ended(ended)),
        ("ended.one", Message::Ended(ended_one)),
        ("revived", Message::Revived(revived)),
        ("worker-forgotten", Message::WorkerForgotten(WorkerId(7))),
        (
            "bag-sealed",
            Message::BagSealed(record::BagSealed {
                bag: BagId(9),
                at: AT,
            }),
        ),
    ]
}
