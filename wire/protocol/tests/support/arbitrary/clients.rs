//! What clients and the engine say to each other.

use super::*;

pub(super) fn command() -> impl Strategy<Value = Command> {
    let selector = prop_oneof![work().prop_map(Selector::Work), bag().prop_map(Selector::Bag)].boxed();
    prop_oneof![
        selector.clone().prop_map(Command::Cancel),
        selector.prop_map(Command::Retry),
        (bag(), any::<u8>()).prop_map(|(bag, to)| Command::Prioritise(bag, Priority(to))),
        worker().prop_map(Command::Cordon),
        worker().prop_map(Command::Uncordon),
        worker().prop_map(Command::Drain),
        Just(Command::Snapshot),
        bag().prop_map(Command::Seal),
        (any::<([u8; 32], u64, u32)>(), text(), texts()).prop_map(
            |((digest, expires_in, uses), label, groups)| {
                Command::CreateToken(joining::NewToken {
                    digest,
                    expires_in: Millis(expires_in),
                    uses,
                    label,
                    groups,
                })
            }
        ),
        a_token().prop_map(Command::RevokeToken),
        worker().prop_map(Command::Approve),
        worker().prop_map(Command::Revoke),
        (worker(), any::<u64>()).prop_map(|(worker, ms)| Command::DrainWithin(worker, Millis(ms))),
        text().prop_map(Command::TakeNotebook),
        notes().prop_map(Command::WriteNotes),
    ]
}

pub(super) fn notes() -> impl Strategy<Value = WriteNotes> {
    let change = (text(), option::of(blob())).prop_map(|(key, value)| NoteChange {
        key,
        value: value.map(|it| it.0),
    });
    (text(), any::<u64>(), vec(change, 0..3)).prop_map(|(notebook, holder, changes)| WriteNotes {
        notebook,
        holder,
        changes,
    })
}

pub(super) fn states() -> impl Strategy<Value = Vec<WorkState>> {
    use WorkState::{Done, Leased, Queued, Running};
    vec(
        prop_oneof![select(vec![Queued, Leased, Running]), outcome().prop_map(Done)],
        0..4,
    )
}

pub(super) fn query() -> impl Strategy<Value = Query> {
    let filter = (
        states(),
        option::of(bag()),
        option::of(worker()),
        option::of(text()),
    )
        .prop_map(|(states, bag, worker, label)| Filter {
            states,
            bag,
            worker,
            label,
        });
    let limit = || any::<u32>();
    prop_oneof![
        select(vec![Query::Status, Query::Queues, Query::Categories]),
        work().prop_map(Query::Work),
        (filter, work(), limit()).prop_map(|(filter, after, limit)| Query::Works { filter, after, limit }),
        bag().prop_map(Query::Bag),
        (bag(), limit()).prop_map(|(after, limit)| Query::Bags { after, limit }),
        (bag(), limit()).prop_map(|(bag, from_row)| Query::Results { bag, from_row }),
        worker().prop_map(Query::Worker),
        (worker(), limit()).prop_map(|(after, limit)| Query::Workers { after, limit }),
        work().prop_map(Query::ExplainWork),
        worker().prop_map(Query::ExplainWorker),
        (a_token(), limit()).prop_map(|(after, limit)| Query::Tokens { after, limit }),
    ]
}

pub(super) fn from_client() -> BoxedStrategy<Message> {
    let login = (text(), text(), text()).prop_map(|(login, password, agent)| client_link::Login {
        login,
        password,
        agent,
    });
    let open = (any::<(u32, [u8; 16], u32, bool)>(), template()).prop_map(
        |((request, key, rows_total, follow), template)| {
            Message::Open(Box::new(client_link::Open {
                request,
                key,
                rows_total,
                follow,
                template,
            }))
        },
    );
    prop_oneof![
        login.prop_map(Message::Login).boxed(),
        open.boxed(),
        (any::<(u32, u32)>(), rows())
            .prop_map(|((request, first_row), rows)| Message::Rows {
                request,
                first_row,
                rows
            })
            .boxed(),
        (any::<u32>(), command())
            .prop_map(|(request, command)| {
                Message::Command(client_link::CommandRequest { request, command })
            })
            .boxed(),
        (any::<u32>(), query())
            .prop_map(|(request, query)| Message::Query(client_link::QueryRequest { request, query }))
            .boxed(),
        (any::<u32>(), bag())
            .prop_map(|(request, bag)| Message::Follow(client_link::Follow { request, bag }))
            .boxed(),
        any::<(u32, u64, bool, bool, bool)>()
            .prop_map(|(request, work, follow, stdout, stderr)| {
                Message::FollowLogs(log::FollowLogs {
                    request,
                    work: WorkId(work),
                    follow,
                    stdout,
                    stderr,
                })
            })
            .boxed(),
        any::<u32>()
            .prop_map(|request| Message::StopLogs(log::StopLogs { request }))
            .boxed(),
    ]
    .boxed()
}

pub(super) fn reply() -> impl Strategy<Value = Reply> {
    let tally = any::<[u32; 6]>()
        .prop_map(|[queued, leased, succeeded, failed, cancelled, expired]| Tally {
            queued,
            leased,
            succeeded,
            failed,
            cancelled,
            expired,
        })
        .boxed();
    let status = any::<(u64, u64, u64, u32)>().prop_map(|(queued, done, lsn, workers)| {
        Reply::Status(StatusView {
            works_queued: queued,
            works_done: done,
            lsn: Lsn(lsn),
            workers_connected: workers,
            ..StatusView::default()
        })
    });
    prop_oneof![
        status,
        any::<(u32, u32)>().prop_map(|(next_row, open)| Reply::ResultsEnd { next_row, open }),
        (text(), texts()).prop_map(|(summary, facts)| Reply::Explanation(Explanation { summary, facts })),
        any::<u32>().prop_map(Reply::Changed),
        tally.prop_map(Reply::Following),
        text().prop_map(|what| Reply::NotFound { what }),
        invalid().prop_map(Reply::Conflict),
        token_view().prop_map(Reply::Token),
        vec(token_view(), 0..3).prop_map(Reply::Tokens),
        any::<u64>().prop_map(|holder| Reply::Notebook { holder }),
        (vec((text(), blob()), 0..3), any::<bool>()).prop_map(|(notes, more)| {
            let notes = notes.into_iter().map(|(key, value)| Note { key, value: value.0 });
            Reply::Notes {
                notes: notes.collect(),
                more,
            }
        }),
        vec(worker_view(), 0..3).prop_map(Reply::Workers),
    ]
}

pub(super) fn to_client() -> BoxedStrategy<Message> {
    let welcome = (any::<(u16, u32)>(), text()).prop_map(|((shard, epoch), version)| client_link::Welcome {
        shard: Shard(shard),
        epoch: Epoch(epoch),
        version,
    });
    let accepted =
        any::<(u32, u64, u64, u32, u32, u64)>().prop_map(|(request, bag, first, rows, rows_total, lsn)| {
            client_link::Accepted {
                request,
                bag: BagId(bag),
                first: WorkId(first),
                rows,
                rows_total,
                lsn: Lsn(lsn),
            }
        });
    let busy =
        (any::<(u32, u64, u32)>(), text()).prop_map(|((request, ms, rows), limit)| client_link::Busy {
            request,
            limit,
            retry_after: Millis(ms),
            rows,
        });
    prop_oneof![
        welcome.prop_map(Message::ClientWelcome).boxed(),
        refused().prop_map(Message::ClientRefused).boxed(),
        accepted.prop_map(Message::Accepted).boxed(),
        busy.prop_map(Message::Busy).boxed(),
        (any::<u32>(), invalid())
            .prop_map(|(request, invalid)| { Message::Rejected(client_link::Rejected { request, invalid }) })
            .boxed(),
        (
            any::<u32>(),
            bag(),
            vec(worker().prop_flat_map(an_outcome), 0..12)
        )
            .prop_map(|(request, bag, items)| Message::Outcomes { request, bag, items })
            .boxed(),
        (any::<u32>(), reply())
            .prop_map(|(request, reply)| { Message::Reply(Box::new(client_link::Answer { request, reply })) })
            .boxed(),
        (any::<u32>(), bag())
            .prop_map(|(request, bag)| Message::Lagging(client_link::Lagging { request, bag }))
            .boxed(),
        (any::<(u32, u16, u32)>(), chunk())
            .prop_map(|((request, attempt, worker), chunk)| Message::ClientLog {
                request,
                attempt: Attempt(attempt),
                worker: WorkerId(worker),
                chunk
            })
            .boxed(),
        (any::<(u32, u16, bool)>(), outcome())
            .prop_map(|((request, attempt, goes_on), outcome)| {
                Message::LogEnd(log::LogEnd {
                    request,
                    attempt: Attempt(attempt),
                    state: WorkState::Done(outcome),
                    goes_on,
                })
            })
            .boxed(),
    ]
    .boxed()
}
