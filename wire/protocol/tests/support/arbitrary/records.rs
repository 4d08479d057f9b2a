//! What the journal holds, and what subscribers hear of it.

use super::*;

pub(super) fn from_subscriber() -> BoxedStrategy<Message> {
    prop_oneof![
        (any::<u16>(), text(), lsn())
            .prop_map(|(version, name, after)| {
                Message::Subscribe(feed::Subscribe { version, name, after })
            })
            .boxed(),
        lsn().prop_map(Message::Acknowledge).boxed(),
    ]
    .boxed()
}

pub(super) fn to_subscriber() -> BoxedStrategy<Message> {
    prop_oneof![
        (any::<(u16, u16)>(), lsn())
            .prop_map(|((version, shard), durable)| {
                Message::Feeding(feed::Feeding {
                    version,
                    shard: Shard(shard),
                    durable,
                })
            })
            .boxed(),
        (text(), lsn())
            .prop_map(|(reason, first)| Message::FeedRefused(feed::FeedRefused { reason, first }))
            .boxed(),
        (lsn(), any::<(u32, u64, u8)>(), blob())
            .prop_map(|(lsn, (epoch, wall_us, kind), payload)| Message::FedRecord {
                lsn,
                epoch: Epoch(epoch),
                wall_us,
                kind,
                payload,
            })
            .boxed(),
    ]
    .boxed()
}

pub(super) fn attempts(make: fn(SomeAttempts) -> Message) -> BoxedStrategy<Message> {
    (at(), worker(), reason(), tokens())
        .prop_map(move |(at, worker, reason, tokens)| {
            make(SomeAttempts {
                at,
                worker,
                reason,
                tokens,
            })
        })
        .boxed()
}

pub(super) fn record() -> BoxedStrategy<Message> {
    use WorkerState::{Cordoned, Draining, Gone, Lost, Ready};
    let epoch_started =
        (any::<(u16, u32)>(), at(), text()).prop_map(|((shard, epoch), at, version)| record::EpochStarted {
            shard: Shard(shard),
            epoch: Epoch(epoch),
            at,
            version,
        });
    let tenant = (any::<(u32, u32)>(), text()).prop_map(|((tenant, weight), name)| record::TenantAdded {
        tenant: TenantId(tenant),
        name,
        weight,
    });
    let opened = (bag(), work(), any::<(u32, u32, [u8; 16])>(), at(), template()).prop_map(
        |(bag, first, (rows_total, tenant, key), at, template)| record::BagOpened {
            bag,
            first,
            rows_total,
            tenant: TenantId(tenant),
            key,
            at,
            template,
        },
    );
    let joined = (worker(), text(), text(), text(), offer(), at()).prop_map(
        |(worker, uid, name, version, offer, at)| record::WorkerJoined {
            worker,
            uid,
            name,
            version,
            offer,
            at,
        },
    );
    let changed = (
        worker(),
        select(vec![Ready, Cordoned, Draining, Lost, Gone]),
        reason(),
        at(),
    )
        .prop_map(|(worker, state, reason, at)| record::WorkerChanged {
            worker,
            state,
            reason,
            at,
        });
    let ended = (at(), work(), any::<u32>(), outcome(), reason(), option::of(bag())).prop_map(
        |(at, first, count, outcome, reason, closes)| record::Ended {
            at,
            first,
            count,
            outcome,
            reason,
            closes,
        },
    );
    let settled = (at(), worker()).prop_flat_map(|(at, worker)| {
        vec(an_outcome(worker), 0..12).prop_map(move |items| Message::Settled { at, worker, items })
    });
    prop_oneof![
        epoch_started.prop_map(Message::EpochStarted).boxed(),
        tenant.prop_map(Message::TenantAdded).boxed(),
        opened.prop_map(|it| Message::BagOpened(Box::new(it))).boxed(),
        (at(), bag(), any::<u32>(), rows())
            .prop_map(|(at, bag, first_row, rows)| Message::RowsAdded {
                at,
                bag,
                first_row,
                rows
            })
            .boxed(),
        (bag(), any::<u8>(), at())
            .prop_map(|(bag, priority, at)| {
                Message::BagPrioritised(record::BagPrioritised {
                    bag,
                    priority: Priority(priority),
                    at,
                })
            })
            .boxed(),
        bag().prop_map(Message::BagForgotten).boxed(),
        joined.prop_map(|it| Message::WorkerJoined(Box::new(it))).boxed(),
        changed.prop_map(Message::WorkerChanged).boxed(),
        worker().prop_map(Message::WorkerForgotten).boxed(),
        attempts(Message::LeasedRecord),
        attempts(Message::StartedRecord),
        attempts(Message::ReleasedRecord),
        settled.boxed(),
        ended.prop_map(Message::Ended).boxed(),
        (at(), work(), any::<u32>())
            .prop_map(|(at, first, count)| Message::Revived(record::Revived { at, first, count }))
            .boxed(),
        (bag(), at())
            .prop_map(|(bag, at)| Message::BagSealed(record::BagSealed { bag, at }))
            .boxed(),
        (text(), any::<u64>(), at())
            .prop_map(|(notebook, holder, at)| {
                Message::NotebookTaken(NotebookTaken { notebook, holder, at })
            })
            .boxed(),
        (at(), clients::notes())
            .prop_map(|(at, written)| Message::NotesWritten(Box::new(NotesWritten { at, written })))
            .boxed(),
        (a_token(), any::<([u8; 32], u32)>(), at(), at(), text(), texts())
            .prop_map(|(token, (digest, uses), expires, at, label, groups)| {
                Message::TokenCreated(Box::new(record::TokenCreated {
                    token,
                    digest,
                    expires,
                    uses,
                    label,
                    groups,
                    at,
                }))
            })
            .boxed(),
        (a_token(), at())
            .prop_map(|(token, at)| Message::TokenRevoked(record::TokenRevoked { token, at }))
            .boxed(),
        (
            worker(),
            option::of(a_token()),
            any::<(u64, [u8; 32])>(),
            at(),
            at()
        )
            .prop_map(|(worker, token, (serial, key), not_after, at)| {
                Message::WorkerEnrolled(record::WorkerEnrolled {
                    worker,
                    token,
                    serial,
                    key,
                    not_after,
                    at,
                })
            })
            .boxed(),
        (worker(), approval(), option::of(address()), at())
            .prop_map(|(worker, approval, wallet, at)| {
                Message::WorkerStanding(record::WorkerStanding {
                    worker,
                    approval,
                    wallet,
                    at,
                })
            })
            .boxed(),
    ]
    .boxed()
}
