//! Arbitrary messages, within the bounds that a writer keeps.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use wire_protocol::client_link::{self, Command, Query, Selector};
use wire_protocol::feed;
use wire_protocol::ids::{
    Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TenantId, TokenId, WorkId, WorkerId,
};
use wire_protocol::joining::{self, Address, Approval, CertificateView, TokenState, TokenView, WalletProof};
use wire_protocol::log;
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::resources::Packing;
use wire_protocol::template::{
    Input, InputFile, Invalid, Limits, Offer, Outputs, Priority, Requirements, Retry, WorkTemplate,
};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{
    Explanation, Filter, Reply, StatusView, Tally, WorkState, WorkerState, WorkerView,
};
use wire_protocol::worker_link::{self, GrantAnswer, Notice, RefusedCode};

use crate::support::{AChunk, AReport, AnOutcome, Blob, Link, Message, SomeAttempts};

fn text() -> impl Strategy<Value = String> + Clone {
    "\\PC{0,12}"
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    vec(text(), 0..4)
}

/// Mostly short; now and then around the places where a length needs another byte.
fn blob() -> impl Strategy<Value = Blob> {
    prop_oneof![
        8 => vec(any::<u8>(), 0..40),
        1 => vec(any::<u8>(), 126..130),
        1 => (16_382_usize..16_386).prop_map(|len| vec![0x5a; len]),
    ]
    .prop_map(Blob)
}

fn token() -> impl Strategy<Value = LeaseToken> {
    any::<(u64, u32, u16, u16)>().prop_map(|(work, epoch, attempt, shard)| LeaseToken {
        work: WorkId(work),
        epoch: Epoch(epoch),
        attempt: Attempt(attempt),
        shard: Shard(shard),
    })
}

fn tokens() -> impl Strategy<Value = Vec<LeaseToken>> {
    vec(token(), 0..20)
}

fn reason() -> impl Strategy<Value = Reason> {
    select(Reason::ALL)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    select(&Outcome::ALL[..])
}

fn report() -> impl Strategy<Value = AReport> {
    (token(), reason(), any::<i32>(), any::<u32>(), blob()).prop_map(
        |(token, reason, exit_code, elapsed_us, result)| AReport {
            token,
            reason,
            exit_code,
            elapsed_us,
            result,
        },
    )
}

fn an_outcome(worker: WorkerId) -> impl Strategy<Value = AnOutcome> {
    (any::<(u64, u16, i32, u32)>(), outcome(), reason(), blob()).prop_map(
        move |((work, attempt, exit_code, elapsed_us), outcome, reason, result)| AnOutcome {
            work: WorkId(work),
            outcome,
            reason,
            attempt: Attempt(attempt),
            exit_code,
            elapsed_us,
            worker,
            result,
        },
    )
}

fn amounts() -> impl Strategy<Value = Vec<(String, u64)>> {
    vec((text(), any::<u64>()), 0..3)
}

prop_compose! {
    /// An offer that a join may carry.
    pub(crate) fn offer()(
        executors in texts(), os in text(), arch in text(), tags in texts(), groups in texts(),
        custom in amounts(),
        (cores, gpus, memory, disk) in any::<(u32, u32, u64, u64)>(),
        slots in 1..4_096_u32, prefill in 0..4_096_u32,
        packing in select(vec![Packing::Slots, Packing::Resources]),
    ) -> Offer {
        let (memory, disk) = (Bytes(memory), Bytes(disk));
        Offer { executors, os, arch, cores, memory, disk, gpus, tags, groups, custom, slots, prefill, packing }
    }
}

prop_compose! {
    /// Any requirements.
    pub(crate) fn requirements()(
        os in option::of(text()), arch in option::of(text()), group in option::of(text()),
        tags in texts(), custom in amounts(),
        (cores, gpus, memory, disk) in any::<(u32, u32, u64, u64)>(),
    ) -> Requirements {
        let (memory, disk) = (Bytes(memory), Bytes(disk));
        Requirements { os, arch, cores, memory, disk, gpus, tags, group, custom }
    }
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        Just(Input::None),
        Just(Input::Row),
        blob().prop_map(|it| Input::Inline(it.0)),
        text().prop_map(Input::File),
    ]
}

prop_compose! {
    fn input_file()(path in text(), source in text(), unpack in any::<bool>()) -> InputFile {
        InputFile { path, source, unpack }
    }
}

prop_compose! {
    fn outputs()(collect in texts(), consensus in option::of(text())) -> Outputs {
        Outputs { collect, consensus }
    }
}

prop_compose! {
    fn template()(
        app in text(), command in texts(), env in vec((text(), text()), 0..3), input in input(),
        files in vec(input_file(), 0..3), outputs in outputs(),
        columns in texts(), requirements in requirements(), label in text(),
        (priority, attempts_max, processes) in any::<(u8, u16, u32)>(),
        (wall_clock, output, memory, disk, archive) in any::<(u64, u64, u64, u64, u64)>(),
        (backoff_min, backoff_max) in any::<(u64, u64)>(),
        time_to_live in option::of(any::<u64>()), category in option::of(text()),
    ) -> WorkTemplate {
        WorkTemplate {
            app, command, env, input, files, outputs, columns, requirements, label,
            priority: Priority(priority),
            limits: Limits {
                wall_clock: Millis(wall_clock), output: Bytes(output), memory: Bytes(memory), processes,
                disk: Bytes(disk), files: Bytes(archive),
            },
            retry: Retry {
                attempts_max, backoff_min: Millis(backoff_min), backoff_max: Millis(backoff_max),
            },
            time_to_live: time_to_live.map(Millis),
            category,
        }
    }
}

fn address() -> impl Strategy<Value = Address> {
    any::<[u8; 20]>().prop_map(Address)
}

fn enrol() -> impl Strategy<Value = joining::Enrol> {
    (text(), vec(any::<u8>(), 0..40)).prop_map(|(token, request)| joining::Enrol { token, request })
}

fn wallet() -> impl Strategy<Value = WalletProof> {
    (address(), any::<([u8; 32], [u8; 32], u8)>()).prop_map(|(address, (r, s, parity))| WalletProof {
        address,
        r,
        s,
        parity,
    })
}

fn approval() -> impl Strategy<Value = Approval> {
    select(vec![Approval::Approved, Approval::Waiting, Approval::Revoked])
}

fn a_token() -> impl Strategy<Value = TokenId> {
    any::<u32>().prop_map(TokenId)
}

fn token_view() -> impl Strategy<Value = TokenView> {
    use TokenState::{Expired, Open, Revoked, Spent};
    let state = select(vec![Open, Spent, Expired, Revoked]);
    (a_token(), state, any::<(u32, u32, u64, u64)>(), text(), texts()).prop_map(
        |(token, state, (uses, used, created, expires), label, groups)| TokenView {
            token,
            state,
            uses,
            used,
            created: Instant(created),
            expires: Instant(expires),
            label,
            groups,
        },
    )
}

fn worker_view() -> impl Strategy<Value = WorkerView> {
    (
        worker(),
        text(),
        offer(),
        approval(),
        option::of(any::<(u64, u64)>()),
        option::of(address()),
        option::of(text()),
    )
        .prop_map(
            |(worker, uid, offer, approval, certificate, wallet, problem)| WorkerView {
                worker,
                uid,
                name: String::new(),
                state: WorkerState::Ready,
                problem,
                held: 1,
                finished: 2,
                offer,
                silent_for: Millis(3),
                version: String::new(),
                approval,
                certificate: certificate.map(|(serial, at)| CertificateView {
                    serial,
                    not_after: Instant(at),
                }),
                wallet,
            },
        )
}

prop_compose! {
    fn join()(
        (login, password, name, version) in (text(), text(), text(), text()), uid in "[a-z]{1,8}",
        offer in offer(), held in tokens(), running in tokens(), unacknowledged in tokens(),
        enrol in option::of(enrol()), wallet in option::of(wallet()), warm in vec(any::<u64>(), 0..4),
    ) -> worker_link::Join {
        worker_link::Join {
            login, password, enrol, wallet, uid, name, version, offer, held, running, unacknowledged, warm,
        }
    }
}

fn refused() -> impl Strategy<Value = worker_link::Refused> {
    use RefusedCode::{Busy, Credentials, Invalid, ShuttingDown};
    (
        select(vec![Credentials, Busy, Invalid, ShuttingDown]),
        text(),
        any::<u64>(),
    )
        .prop_map(|(code, reason, ms)| worker_link::Refused {
            code,
            reason,
            retry_after: Millis(ms),
        })
}

fn listed(make: fn(Reason, Vec<LeaseToken>) -> Message) -> impl Strategy<Value = Message> {
    (reason(), tokens()).prop_map(move |(reason, tokens)| make(reason, tokens))
}

fn chunk() -> impl Strategy<Value = AChunk> {
    (select(log::LogStream::ALL.to_vec()), any::<u64>(), blob()).prop_map(|(stream, offset, mut bytes)| {
        bytes.0.truncate(log::LOG_CHUNK_BYTES_MAX);
        AChunk {
            stream,
            offset,
            bytes,
        }
    })
}

fn idle() -> impl Strategy<Value = worker_link::Idle> {
    use worker_link::IdleCause::{Backoff, Draining, Next, NoMatch, NothingQueued};
    (
        select(vec![Backoff, Draining, Next, NoMatch, NothingQueued]),
        text(),
        texts(),
    )
        .prop_map(|(cause, summary, facts)| worker_link::Idle {
            cause,
            explanation: Explanation { summary, facts },
        })
}

fn from_worker() -> BoxedStrategy<Message> {
    prop_oneof![
        join().prop_map(|it| Message::Join(Box::new(it))).boxed(),
        (any::<u64>(), vec(report(), 0..12))
            .prop_map(|(first, reports)| Message::Finished { first, reports })
            .boxed(),
        listed(|reason, tokens| Message::Started { reason, tokens }).boxed(),
        listed(|reason, tokens| Message::Retracted { reason, tokens }).boxed(),
        select(vec![Message::Ping, Message::WhyIdle]).boxed(),
        option::of(any::<u64>())
            .prop_map(|within| Message::Draining(worker_link::Draining {
                within: within.map(Millis)
            }))
            .boxed(),
        listed(|reason, tokens| Message::LogTold { reason, tokens }).boxed(),
        (token(), chunk())
            .prop_map(|(token, chunk)| Message::Log { token, chunk })
            .boxed(),
        listed(|reason, tokens| Message::GrantAsked { reason, tokens }).boxed(),
        option::of(text())
            .prop_map(|problem| Message::Holding(worker_link::Holding { problem }))
            .boxed(),
        vec(any::<u8>(), 0..40)
            .prop_map(|request| Message::Renew(Box::new(joining::Renew { request })))
            .boxed(),
    ]
    .boxed()
}

fn notice() -> impl Strategy<Value = Notice> {
    prop_oneof![
        text().prop_map(|reason| Notice::Cordoned { reason }),
        (token(), text()).prop_map(|(token, recorded)| Notice::Stale { token, recorded }),
        select(vec![Notice::Uncordoned, Notice::ShuttingDown]),
    ]
}

fn grant_answer() -> impl Strategy<Value = GrantAnswer> {
    prop_oneof![
        (text(), text()).prop_map(|(url, grant)| GrantAnswer::Granted { url, grant }),
        text().prop_map(|reason| GrantAnswer::Refused { reason }),
    ]
}

fn to_worker() -> BoxedStrategy<Message> {
    let welcome = (any::<(u32, u16, u32, u64, u64)>(), tokens()).prop_map(
        |((worker, shard, epoch, timeout, heartbeat), adopted)| worker_link::Welcome {
            worker: WorkerId(worker),
            shard: Shard(shard),
            epoch: Epoch(epoch),
            lease_timeout: Millis(timeout),
            heartbeat: Millis(heartbeat),
            adopted,
        },
    );
    let defined = (any::<u32>(), template())
        .prop_map(|(template, definition)| worker_link::TemplateDefined { template, definition });
    prop_oneof![
        welcome.prop_map(Message::WorkerWelcome).boxed(),
        refused().prop_map(Message::WorkerRefused).boxed(),
        defined.prop_map(|it| Message::Template(Box::new(it))).boxed(),
        (any::<u32>(), vec((token(), blob()), 0..12))
            .prop_map(|(template, works)| Message::Assign { template, works })
            .boxed(),
        any::<u64>().prop_map(|upto| Message::Recorded { upto }).boxed(),
        listed(|reason, tokens| Message::Retract { reason, tokens }).boxed(),
        listed(|reason, tokens| Message::Cancel { reason, tokens }).boxed(),
        notice().prop_map(Message::Notice).boxed(),
        Just(Message::Pong).boxed(),
        (token(), grant_answer())
            .prop_map(|(token, answer)| Message::Granted(worker_link::Granted { token, answer }))
            .boxed(),
        (vec(any::<u8>(), 0..40), at(), at())
            .prop_map(|(certificate, not_before, not_after)| {
                Message::Certificate(Box::new(joining::Certified {
                    certificate,
                    not_before,
                    not_after,
                }))
            })
            .boxed(),
        (text(), option::of(any::<u64>()))
            .prop_map(|(reason, within)| Message::Drain(worker_link::Drain {
                reason,
                within: within.map(Millis)
            }))
            .boxed(),
        (
            token(),
            select(vec![log::LogWish::Once, log::LogWish::Follow, log::LogWish::Stop])
        )
            .prop_map(|(token, wish)| Message::FollowLog(log::FollowLog { token, wish }))
            .boxed(),
        idle().prop_map(Message::Idle).boxed(),
    ]
    .boxed()
}

fn work() -> impl Strategy<Value = WorkId> {
    any::<u64>().prop_map(WorkId)
}

fn bag() -> impl Strategy<Value = BagId> {
    any::<u64>().prop_map(BagId)
}

fn worker() -> impl Strategy<Value = WorkerId> {
    any::<u32>().prop_map(WorkerId)
}

fn at() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant)
}

fn rows() -> impl Strategy<Value = Vec<Blob>> {
    vec(blob(), 0..12)
}

fn command() -> impl Strategy<Value = Command> {
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
    ]
}

fn states() -> impl Strategy<Value = Vec<WorkState>> {
    use WorkState::{Done, Leased, Queued, Running};
    vec(
        prop_oneof![select(vec![Queued, Leased, Running]), outcome().prop_map(Done)],
        0..4,
    )
}

fn query() -> impl Strategy<Value = Query> {
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

fn from_client() -> BoxedStrategy<Message> {
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

fn invalid() -> impl Strategy<Value = Invalid> {
    (text(), text()).prop_map(|(field, problem)| Invalid { field, problem })
}

fn reply() -> impl Strategy<Value = Reply> {
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
        vec(worker_view(), 0..3).prop_map(Reply::Workers),
    ]
}

fn to_client() -> BoxedStrategy<Message> {
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

fn lsn() -> impl Strategy<Value = Lsn> {
    any::<u64>().prop_map(Lsn)
}

fn from_subscriber() -> BoxedStrategy<Message> {
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

fn to_subscriber() -> BoxedStrategy<Message> {
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

fn attempts(make: fn(SomeAttempts) -> Message) -> BoxedStrategy<Message> {
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

fn record() -> BoxedStrategy<Message> {
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

/// Any message of any link.
pub(crate) fn message() -> impl Strategy<Value = (Link, Message)> {
    select(&Link::ALL[..]).prop_flat_map(|link| {
        let message = match link {
            Link::WorkerToEngine => from_worker(),
            Link::EngineToWorker => to_worker(),
            Link::ClientToEngine => from_client(),
            Link::EngineToClient => to_client(),
            Link::SubscriberToEngine => from_subscriber(),
            Link::EngineToSubscriber => to_subscriber(),
            Link::Record => record(),
        };
        message.prop_map(move |message| (link, message))
    })
}
