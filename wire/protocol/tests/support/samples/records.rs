//! Samples of the journal's records.

use wire_protocol::ids::{BagId, Epoch, Shard, TenantId, TokenId, WorkId, WorkerId};
use wire_protocol::joining::Approval;
use wire_protocol::note::{NotebookTaken, NotesWritten};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::template::Priority;
use wire_protocol::view::WorkerState;

use super::{ADDRESS, AT, KEY, blob, notes, offer, outcomes, template, text, tokens};
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
    let standing = |approval, wallet| {
        Message::WorkerStanding(record::WorkerStanding {
            worker: WorkerId(7),
            approval,
            wallet,
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
            "notebook-taken",
            Message::NotebookTaken(NotebookTaken {
                notebook: text("chain"),
                holder: 3,
                at: AT,
            }),
        ),
        (
            "notes-written",
            Message::NotesWritten(Box::new(NotesWritten {
                at: AT,
                written: notes(),
            })),
        ),
        (
            "token-created",
            Message::TokenCreated(Box::new(record::TokenCreated {
                token: TokenId(4),
                digest: [0x33; 32],
                expires: AT,
                uses: 1,
                label: text("rack 3"),
                groups: vec![text("blue")],
                at: AT,
            })),
        ),
        (
            "token-revoked",
            Message::TokenRevoked(record::TokenRevoked {
                token: TokenId(4),
                at: AT,
            }),
        ),
        (
            "worker-enrolled.by-token",
            Message::WorkerEnrolled(record::WorkerEnrolled {
                worker: WorkerId(7),
                token: Some(TokenId(4)),
                serial: 5,
                key: [0x44; 32],
                not_after: AT,
                at: AT,
            }),
        ),
        (
            "worker-enrolled.renewed",
            Message::WorkerEnrolled(record::WorkerEnrolled {
                worker: WorkerId(7),
                token: None,
                serial: 6,
                key: [0x44; 32],
                not_after: AT,
                at: AT,
            }),
        ),
        ("worker-standing.waiting", standing(Approval::Waiting, None)),
        (
            "worker-standing.approved",
            standing(Approval::Approved, Some(ADDRESS)),
        ),
        ("worker-standing.revoked", standing(Approval::Revoked, None)),
        (
            "bag-sealed",
            Message::BagSealed(record::BagSealed {
                bag: BagId(9),
                at: AT,
            }),
        ),
    ]
}
