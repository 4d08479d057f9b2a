//! Of the link of clients, with what it shows.

use super::*;

pub(super) fn outcomes() -> Vec<AnOutcome> {
    let one = |work, outcome, reason, result: &[u8]| AnOutcome {
        work: WorkId(work),
        outcome,
        reason,
        attempt: Attempt(2),
        exit_code: -9,
        elapsed_us: 1_500_000,
        worker: WorkerId(7),
        result: blob(result),
    };
    vec![
        one(41, Outcome::Succeeded, Reason::None, b"\0\x05hellobye"),
        one(42, Outcome::Failed, Reason::Signal, b""),
        one(43, Outcome::Cancelled, Reason::ByUser, b""),
        one(44, Outcome::Expired, Reason::TimeToLive, &[b'x'; 130]),
    ]
}

pub(super) fn client_to_engine() -> Vec<(&'static str, Message)> {
    let command = |command| Message::Command(client_link::CommandRequest { request: 5, command });
    let query = |query| Message::Query(client_link::QueryRequest { request: 6, query });
    let login = client_link::Login {
        login: text("admin"),
        password: text("secret"),
        agent: text("pool 0.1.0"),
    };
    let open = client_link::Open {
        request: 4,
        key: KEY,
        rows_total: 1_000_000,
        follow: true,
        template: template(),
    };
    let rows = vec![blob(b"\x011\x012\x0242"), blob(b""), blob(&[b'r'; 128])];
    let works = Query::Works {
        filter: Filter {
            states: every_state(),
            bag: Some(BagId(9)),
            worker: Some(WorkerId(7)),
            label: Some(text("fract")),
        },
        after: WorkId(40),
        limit: 100,
    };
    vec![
        ("login", Message::Login(login)),
        ("open", Message::Open(Box::new(open))),
        (
            "rows",
            Message::Rows {
                request: 4,
                first_row: 1_024,
                rows,
            },
        ),
        (
            "command.cancel-work",
            command(Command::Cancel(Selector::Work(WorkId(300)))),
        ),
        (
            "command.cancel-bag",
            command(Command::Cancel(Selector::Bag(BagId(9)))),
        ),
        ("command.retry", command(Command::Retry(Selector::Bag(BagId(9))))),
        (
            "command.prioritise",
            command(Command::Prioritise(BagId(9), Priority(9))),
        ),
        ("command.cordon", command(Command::Cordon(WorkerId(7)))),
        ("command.uncordon", command(Command::Uncordon(WorkerId(7)))),
        ("command.drain", command(Command::Drain(WorkerId(7)))),
        ("command.snapshot", command(Command::Snapshot)),
        ("command.seal", command(Command::Seal(BagId(9)))),
        (
            "command.create-token",
            command(Command::CreateToken(joining::NewToken {
                digest: [0x33; 32],
                expires_in: Millis::from_secs(3_600),
                uses: 1,
                label: text("rack 3"),
                groups: vec![text("blue")],
            })),
        ),
        ("command.revoke-token", command(Command::RevokeToken(TokenId(4)))),
        ("command.approve", command(Command::Approve(WorkerId(7)))),
        ("command.revoke", command(Command::Revoke(WorkerId(7)))),
        (
            "command.drain-within",
            command(Command::DrainWithin(WorkerId(7), Millis::from_secs(600))),
        ),
        (
            "command.take-notebook",
            command(Command::TakeNotebook(text("chain"))),
        ),
        ("command.write-notes", command(Command::WriteNotes(notes()))),
        ("query.status", query(Query::Status)),
        ("query.work", query(Query::Work(WorkId(300)))),
        ("query.works", query(works)),
        ("query.bag", query(Query::Bag(BagId(9)))),
        (
            "query.bags",
            query(Query::Bags {
                after: BagId(8),
                limit: 10,
            }),
        ),
        (
            "query.results",
            query(Query::Results {
                bag: BagId(9),
                from_row: 512,
            }),
        ),
        ("query.worker", query(Query::Worker(WorkerId(7)))),
        (
            "query.workers",
            query(Query::Workers {
                after: WorkerId(6),
                limit: 10,
            }),
        ),
        ("query.queues", query(Query::Queues)),
        ("query.explain-work", query(Query::ExplainWork(WorkId(300)))),
        ("query.explain-worker", query(Query::ExplainWorker(WorkerId(7)))),
        ("query.categories", query(Query::Categories)),
        (
            "query.notes",
            query(Query::Notes {
                notebook: text("chain"),
                after: text("order/3"),
            }),
        ),
        (
            "query.tokens",
            query(Query::Tokens {
                after: TokenId(3),
                limit: 10,
            }),
        ),
        (
            "follow",
            Message::Follow(client_link::Follow {
                request: 8,
                bag: BagId(9),
            }),
        ),
        (
            "follow-logs",
            Message::FollowLogs(FollowLogs {
                request: 9,
                work: WorkId(300),
                follow: true,
                stdout: true,
                stderr: false,
            }),
        ),
        ("stop-logs", Message::StopLogs(StopLogs { request: 9 })),
    ]
}

pub(super) fn every_state() -> Vec<WorkState> {
    [WorkState::Queued, WorkState::Leased, WorkState::Running]
        .into_iter()
        .chain(Outcome::ALL.map(WorkState::Done))
        .collect()
}

pub(super) fn work_view() -> WorkView {
    WorkView {
        work: WorkId(300),
        bag: BagId(9),
        row: 2,
        state: WorkState::Done(Outcome::Succeeded),
        attempt: Attempt(2),
        worker: Some(WorkerId(7)),
        reason: Reason::None,
        label: text("fractal"),
        app: text("process"),
        parameters: vec![(text("x"), text("1")), (text("y"), text("2"))],
        submitted: AT,
    }
}

pub(super) fn tally() -> Tally {
    Tally {
        queued: 1,
        leased: 2,
        succeeded: 3,
        failed: 4,
        cancelled: 5,
        expired: 6,
    }
}

pub(super) fn bag_view() -> BagView {
    BagView {
        bag: BagId(9),
        first: WorkId(298),
        rows_total: 21,
        tally: tally(),
        priority: Priority(7),
        tenant: text("admin"),
        label: text("fractal"),
        app: text("process"),
        submitted: AT,
    }
}

pub(super) fn worker_view() -> WorkerView {
    WorkerView {
        worker: WorkerId(7),
        uid: text("6f1c"),
        name: text("rack-3"),
        state: WorkerState::Cordoned,
        problem: Some(text("the disk is full")),
        held: 3,
        finished: 12_345,
        offer: offer(),
        silent_for: Millis(250),
        version: text("0.1.0"),
        approval: Approval::Waiting,
        certificate: Some(CertificateView {
            serial: 5,
            not_after: AT,
        }),
        wallet: Some(ADDRESS),
    }
}

pub(super) fn token_view() -> TokenView {
    TokenView {
        token: TokenId(4),
        state: TokenState::Spent,
        uses: 1,
        used: 1,
        created: AT,
        expires: AT + Millis::from_secs(3_600),
        label: text("rack 3"),
        groups: vec![text("blue")],
    }
}

pub(super) fn status_view() -> StatusView {
    StatusView {
        shard: Shard(1),
        epoch: Epoch(3),
        version: text("0.1.0"),
        uptime: Millis(60_000),
        works_queued: 1,
        works_leased: 2,
        works_done: 3,
        finished_total: 4,
        accepted_total: 5,
        bags: 6,
        workers_connected: 7,
        slots: 8,
        lsn: Lsn(9),
        works_max: 10_000_000,
        rows_bytes: Bytes(11),
        rejoin_wait: Millis(12),
        subscribers: vec![SubscriberView {
            name: text("persist"),
            connected: true,
            acknowledged: Lsn(8),
            lag_records: 1,
            lag_bytes: Bytes(65_536),
            lag: Millis(13),
        }],
    }
}

pub(super) fn log_end(state: WorkState, goes_on: bool) -> Message {
    Message::LogEnd(LogEnd {
        request: 9,
        attempt: Attempt(2),
        state,
        goes_on,
    })
}

pub(super) fn engine_to_client() -> Vec<(&'static str, Message)> {
    let reply = |reply| Message::Reply(Box::new(client_link::Answer { request: 6, reply }));
    let invalid = || Invalid {
        field: text("limits.output"),
        problem: text("is 99999999 bytes"),
    };
    let welcome = client_link::Welcome {
        shard: Shard(1),
        epoch: Epoch(3),
        version: text("0.1.0"),
    };
    let accepted = client_link::Accepted {
        request: 4,
        bag: BagId(9),
        first: WorkId(298),
        rows: 1_024,
        rows_total: 1_000_000,
        lsn: Lsn(77),
    };
    let busy = client_link::Busy {
        request: 4,
        limit: text("disk"),
        retry_after: Millis(250),
        rows: 512,
    };
    let detail = WorkDetail {
        work: work_view(),
        template: template(),
        exit_code: -15,
        elapsed_us: 90_000,
        result: b"\0\x03outerr".to_vec(),
    };
    let queue = QueueView {
        tenant: text("admin"),
        priority: Priority(7),
        class: text("process on linux"),
        queued: 5,
        workers_eligible: 2,
    };
    let explanation = Explanation {
        summary: text("no connected worker has the tag fast-disk"),
        facts: vec![text("3 workers are ready"), text("none carries fast-disk")],
    };
    vec![
        ("welcome", Message::ClientWelcome(welcome)),
        (
            "refused",
            Message::ClientRefused(refused(RefusedCode::Credentials)),
        ),
        ("accepted", Message::Accepted(accepted)),
        ("busy", Message::Busy(busy)),
        (
            "rejected",
            Message::Rejected(client_link::Rejected {
                request: 4,
                invalid: invalid(),
            }),
        ),
        (
            "outcomes",
            Message::Outcomes {
                request: 4,
                bag: BagId(9),
                items: outcomes(),
            },
        ),
        ("reply.status", reply(Reply::Status(status_view()))),
        ("reply.work", reply(Reply::Work(Box::new(detail)))),
        (
            "reply.works",
            reply(Reply::Works {
                works: vec![work_view()],
                next: Some(WorkId(300)),
            }),
        ),
        ("reply.bag", reply(Reply::Bag(bag_view()))),
        ("reply.bags", reply(Reply::Bags(vec![bag_view()]))),
        (
            "reply.results-end",
            reply(Reply::ResultsEnd {
                next_row: 21,
                open: 3,
            }),
        ),
        ("reply.worker", reply(Reply::Worker(worker_view()))),
        ("reply.workers", reply(Reply::Workers(vec![worker_view()]))),
        ("reply.queues", reply(Reply::Queues(vec![queue]))),
        ("reply.explanation", reply(Reply::Explanation(explanation))),
        ("reply.changed", reply(Reply::Changed(12))),
        ("reply.following", reply(Reply::Following(tally()))),
        (
            "reply.not-found",
            reply(Reply::NotFound {
                what: text("work w300"),
            }),
        ),
        ("reply.conflict", reply(Reply::Conflict(invalid()))),
        ("reply.token", reply(Reply::Token(token_view()))),
        ("reply.tokens", reply(Reply::Tokens(vec![token_view()]))),
        ("reply.notebook", reply(Reply::Notebook { holder: 3 })),
        (
            "reply.notes",
            reply(Reply::Notes {
                notes: vec![Note {
                    key: text("order/4"),
                    value: b"waits".to_vec(),
                }],
                more: true,
            }),
        ),
        ("reply.categories", reply(Reply::Categories(Category::defaults()))),
        (
            "lagging",
            Message::Lagging(client_link::Lagging {
                request: 4,
                bag: BagId(9),
            }),
        ),
        (
            "log",
            Message::ClientLog {
                request: 9,
                attempt: Attempt(2),
                worker: WorkerId(7),
                chunk: chunk(),
            },
        ),
        ("log-end.goes-on", log_end(WorkState::Queued, true)),
        ("log-end.done", log_end(WorkState::Done(Outcome::Failed), false)),
    ]
}
