//! One sample or more of every message. Change a value only together with its golden file; add freely.

use wire_protocol::category::Category;
use wire_protocol::client_link::{self, Command, Query, Selector};
use wire_protocol::feed;
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Lsn, Shard, TokenId, WorkId, WorkerId};
use wire_protocol::joining::{self, Address, Approval, CertificateView, TokenState, TokenView};
use wire_protocol::log::{FollowLog, FollowLogs, LogEnd, LogStream, LogWish, StopLogs};
use wire_protocol::outcome::{Outcome, Reason};
use wire_protocol::record;
use wire_protocol::resources::Packing;
use wire_protocol::template::{
    Input, InputFile, Invalid, Limits, Offer, Outputs, Priority, Requirements, Retry, WorkTemplate,
};
use wire_protocol::units::{Bytes, Instant, Millis};
use wire_protocol::view::{
    BagView, Explanation, Filter, QueueView, Reply, StatusView, SubscriberView, Tally, WorkDetail, WorkState,
    WorkView, WorkerState, WorkerView,
};
use wire_protocol::worker_link::{self, GrantAnswer, Granted, IdleCause, Notice, RefusedCode};

use crate::support::{AChunk, AReport, AnOutcome, Blob, Link, Message};

#[path = "record_samples.rs"]
mod records;

/// A message, where it is said, and its file: `name` is the kind's constant in small letters, then a dot and
/// what sets this sample apart where there are several.
pub(crate) struct Sample {
    pub(crate) link: Link,
    pub(crate) name: &'static str,
    pub(crate) message: Message,
}

const AT: Instant = Instant(1_790_000_000_123_456_789);
const ADDRESS: Address = Address([0xa5; 20]);
const KEY: [u8; 16] = [0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xaf];

fn text(text: &str) -> String {
    text.to_owned()
}

fn blob(bytes: &[u8]) -> Blob {
    Blob(bytes.to_vec())
}

fn token(work: u64, attempt: u16) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(3),
        attempt: Attempt(attempt),
        shard: Shard(1),
    }
}

fn tokens() -> Vec<LeaseToken> {
    vec![token(0x0102_0304_0506_0708, 1), token(300, 2)]
}

fn offer() -> Offer {
    Offer {
        executors: vec![text("process"), text("null")],
        os: text("linux"),
        arch: text("x86_64"),
        cores: 16,
        memory: Bytes::from_mib(65_536),
        disk: Bytes::from_mib(1_000_000),
        gpus: 1,
        tags: vec![text("fast-disk")],
        groups: vec![text("lab")],
        custom: vec![(text("licence"), 5)],
        slots: 16,
        prefill: 32,
        packing: Packing::Resources,
    }
}

/// Every field differs from its default.
fn template() -> WorkTemplate {
    WorkTemplate {
        app: text("process"),
        command: vec![text("render"), text("--tile={x},{y}")],
        env: vec![(text("SEED"), text("{seed}"))],
        input: Input::Inline(b"scene".to_vec()),
        files: vec![
            InputFile {
                path: text("tile.bin"),
                source: text("tiles/{x}/{y}.bin"),
                unpack: false,
            },
            InputFile {
                path: text("assets"),
                source: text("https://example.org/assets.tar"),
                unpack: true,
            },
        ],
        outputs: Outputs {
            collect: vec![text("out/**")],
            consensus: Some(text("out/digest.txt")),
        },
        columns: vec![text("x"), text("y"), text("seed")],
        requirements: Requirements {
            os: Some(text("linux")),
            arch: Some(text("x86_64")),
            cores: 2,
            memory: Bytes::from_mib(512),
            disk: Bytes::from_mib(100),
            gpus: 1,
            tags: vec![text("fast-disk")],
            group: Some(text("lab")),
            custom: vec![(text("licence"), 1)],
        },
        priority: Priority(7),
        limits: Limits {
            wall_clock: Millis::from_secs(90),
            output: Bytes(4_096),
            memory: Bytes::from_mib(256),
            processes: 8,
            disk: Bytes::from_mib(64),
            files: Bytes::from_mib(16),
        },
        retry: Retry {
            attempts_max: 5,
            backoff_min: Millis(100),
            backoff_max: Millis(30_000),
        },
        time_to_live: Some(Millis::from_secs(3_600)),
        label: text("fractal"),
        category: Some(text("M")),
    }
}

fn template_with(input: Input) -> WorkTemplate {
    WorkTemplate {
        app: text("null"),
        input,
        ..WorkTemplate::default()
    }
}

fn outcomes() -> Vec<AnOutcome> {
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

fn worker_to_engine() -> Vec<(&'static str, Message)> {
    let join = worker_link::Join {
        login: text("worker"),
        password: text("secret"),
        enrol: None,
        wallet: None,
        uid: text("6f1c"),
        name: text("rack-3"),
        version: text("0.1.0"),
        offer: offer(),
        held: tokens(),
        running: vec![token(300, 2)],
        unacknowledged: vec![token(299, 1)],
        warm: vec![300, u64::MAX],
    };
    let enrolling = worker_link::Join {
        login: String::new(),
        password: String::new(),
        enrol: Some(joining::Enrol {
            token: text("pool-enrol-abc"),
            request: vec![0x30, 0x82],
        }),
        wallet: Some(joining::WalletProof {
            address: ADDRESS,
            r: [0x11; 32],
            s: [0x22; 32],
            parity: 1,
        }),
        held: vec![],
        running: vec![],
        unacknowledged: vec![],
        ..join.clone()
    };
    // Every reason has its number here.
    let reports = Reason::ALL
        .iter()
        .zip(1..)
        .map(|(&reason, n)| AReport {
            token: token(n, 1),
            reason,
            exit_code: if reason == Reason::Signal { -9 } else { 0 },
            elapsed_us: 1_000 * n as u32,
            result: if n == 1 { blob(b"\0\x03outerr") } else { blob(b"") },
        })
        .collect();
    vec![
        ("join", Message::Join(Box::new(join))),
        ("join.enrolling", Message::Join(Box::new(enrolling))),
        ("finished", Message::Finished { first: 17, reports }),
        (
            "started",
            Message::Started {
                reason: Reason::None,
                tokens: tokens(),
            },
        ),
        (
            "retracted",
            Message::Retracted {
                reason: Reason::WorkerDraining,
                tokens: tokens(),
            },
        ),
        ("ping", Message::Ping),
        (
            "draining",
            Message::Draining(worker_link::Draining { within: None }),
        ),
        (
            "draining.within",
            Message::Draining(worker_link::Draining {
                within: Some(Millis::from_secs(600)),
            }),
        ),
        (
            "grant-asked",
            Message::GrantAsked {
                reason: Reason::None,
                tokens: tokens(),
            },
        ),
        (
            "holding.problem",
            Message::Holding(worker_link::Holding {
                problem: Some(text("the disk of /var/lib/pool is 96 % full")),
            }),
        ),
        (
            "holding.none",
            Message::Holding(worker_link::Holding { problem: None }),
        ),
        (
            "renew",
            Message::Renew(Box::new(joining::Renew {
                request: vec![0x30, 0x82],
            })),
        ),
        (
            "log",
            Message::Log {
                token: token(300, 2),
                chunk: chunk(),
            },
        ),
        (
            "log-told",
            Message::LogTold {
                reason: Reason::None,
                tokens: tokens(),
            },
        ),
        ("why-idle", Message::WhyIdle),
    ]
}

fn refused(code: RefusedCode) -> worker_link::Refused {
    worker_link::Refused {
        code,
        reason: text("wait a little"),
        retry_after: Millis(1_500),
    }
}

fn engine_to_worker() -> Vec<(&'static str, Message)> {
    let welcome = worker_link::Welcome {
        worker: WorkerId(7),
        shard: Shard(1),
        epoch: Epoch(3),
        lease_timeout: Millis::from_secs(30),
        heartbeat: Millis::from_secs(5),
        adopted: tokens(),
    };
    let defined = |template, definition| {
        Message::Template(Box::new(worker_link::TemplateDefined { template, definition }))
    };
    let works = vec![
        (token(300, 2), blob(b"\x011\x012\x0242")),
        (token(301, 1), blob(b"")),
        (token(302, 1), blob(&[b'r'; 200])),
    ];
    let stale = Notice::Stale {
        token: token(300, 1),
        recorded: text("leased as s1/e3/w300/a2"),
    };
    vec![
        ("welcome", Message::WorkerWelcome(welcome)),
        (
            "refused.credentials",
            Message::WorkerRefused(refused(RefusedCode::Credentials)),
        ),
        ("refused.busy", Message::WorkerRefused(refused(RefusedCode::Busy))),
        (
            "refused.invalid",
            Message::WorkerRefused(refused(RefusedCode::Invalid)),
        ),
        (
            "refused.shutting-down",
            Message::WorkerRefused(refused(RefusedCode::ShuttingDown)),
        ),
        ("template.full", defined(1, template())),
        ("template.no-input", defined(2, template_with(Input::None))),
        ("template.row-input", defined(3, template_with(Input::Row))),
        (
            "template.file-input",
            defined(4, template_with(Input::File(text("models/v2.bin")))),
        ),
        ("assign", Message::Assign { template: 1, works }),
        ("recorded", Message::Recorded { upto: 37 }),
        (
            "retract",
            Message::Retract {
                reason: Reason::Retracted,
                tokens: tokens(),
            },
        ),
        (
            "cancel",
            Message::Cancel {
                reason: Reason::ByUser,
                tokens: tokens(),
            },
        ),
        (
            "notice.cordoned",
            Message::Notice(Notice::Cordoned {
                reason: text("disk swap"),
            }),
        ),
        ("notice.uncordoned", Message::Notice(Notice::Uncordoned)),
        ("notice.stale", Message::Notice(stale)),
        ("notice.shutting-down", Message::Notice(Notice::ShuttingDown)),
        ("pong", Message::Pong),
        (
            "granted",
            Message::Granted(Granted {
                token: tokens()[0],
                answer: GrantAnswer::Granted {
                    url: text("https://pool.example.org"),
                    grant: text("AQID"),
                },
            }),
        ),
        (
            "granted.refused",
            Message::Granted(Granted {
                token: tokens()[0],
                answer: GrantAnswer::Refused {
                    reason: text("the lease was superseded"),
                },
            }),
        ),
        (
            "certificate",
            Message::Certificate(Box::new(joining::Certified {
                certificate: vec![0x30, 0x82],
                not_before: AT,
                not_after: AT + Millis::from_secs(90 * 86_400),
            })),
        ),
        (
            "drain",
            Message::Drain(worker_link::Drain {
                reason: text("upgrade"),
                within: None,
            }),
        ),
        (
            "drain.within",
            Message::Drain(worker_link::Drain {
                reason: text("upgrade"),
                within: Some(Millis::from_secs(600)),
            }),
        ),
        ("follow-log.once", follow_log(LogWish::Once)),
        ("follow-log.follow", follow_log(LogWish::Follow)),
        ("follow-log.stop", follow_log(LogWish::Stop)),
        ("idle.draining", idle(IdleCause::Draining)),
        ("idle.cordoned", idle(IdleCause::Cordoned)),
        ("idle.holding", idle(IdleCause::Holding)),
        ("idle.paused", idle(IdleCause::Paused)),
        ("idle.nothing-queued", idle(IdleCause::NothingQueued)),
        ("idle.backoff", idle(IdleCause::Backoff)),
        ("idle.no-match", idle(IdleCause::NoMatch)),
        ("idle.next", idle(IdleCause::Next)),
    ]
}

fn chunk() -> AChunk {
    AChunk {
        stream: LogStream::Stderr,
        offset: 65_536,
        bytes: blob(b"step 2 of 7\n"),
    }
}

fn follow_log(wish: LogWish) -> Message {
    let token = token(300, 2);
    Message::FollowLog(FollowLog { token, wish })
}

fn idle(cause: IdleCause) -> Message {
    Message::Idle(worker_link::Idle {
        cause,
        explanation: Explanation {
            summary: text("nothing is queued"),
            facts: vec![text("3 works wait for a backoff to pass")],
        },
    })
}

fn client_to_engine() -> Vec<(&'static str, Message)> {
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

fn every_state() -> Vec<WorkState> {
    [WorkState::Queued, WorkState::Leased, WorkState::Running]
        .into_iter()
        .chain(Outcome::ALL.map(WorkState::Done))
        .collect()
}

fn work_view() -> WorkView {
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

fn tally() -> Tally {
    Tally {
        queued: 1,
        leased: 2,
        succeeded: 3,
        failed: 4,
        cancelled: 5,
        expired: 6,
    }
}

fn bag_view() -> BagView {
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

fn worker_view() -> WorkerView {
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

fn token_view() -> TokenView {
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

fn status_view() -> StatusView {
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

fn log_end(state: WorkState, goes_on: bool) -> Message {
    Message::LogEnd(LogEnd {
        request: 9,
        attempt: Attempt(2),
        state,
        goes_on,
    })
}

fn engine_to_client() -> Vec<(&'static str, Message)> {
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

fn subscriber_to_engine() -> Vec<(&'static str, Message)> {
    let subscribe = feed::Subscribe {
        version: feed::VERSION,
        name: text("persist"),
        after: Lsn(41),
    };
    vec![
        ("subscribe", Message::Subscribe(subscribe)),
        ("acknowledge", Message::Acknowledge(Lsn(300))),
    ]
}

fn engine_to_subscriber() -> Vec<(&'static str, Message)> {
    let feeding = feed::Feeding {
        version: feed::VERSION,
        shard: Shard(1),
        durable: Lsn(300),
    };
    let refused = feed::FeedRefused {
        reason: text("removed by retention"),
        first: Lsn(100),
    };
    let fed = Message::FedRecord {
        lsn: Lsn(42),
        epoch: Epoch(3),
        wall_us: 1_790_000_000_123_456,
        kind: record::kind::BAG_FORGOTTEN,
        payload: blob(&[9]),
    };
    vec![
        ("feeding", Message::Feeding(feeding)),
        ("records", fed),
        ("feed-refused", Message::FeedRefused(refused)),
    ]
}

/// All samples, link by link.
pub(crate) fn all() -> Vec<Sample> {
    Link::ALL
        .into_iter()
        .flat_map(|link| {
            let messages = match link {
                Link::WorkerToEngine => worker_to_engine(),
                Link::EngineToWorker => engine_to_worker(),
                Link::ClientToEngine => client_to_engine(),
                Link::EngineToClient => engine_to_client(),
                Link::SubscriberToEngine => subscriber_to_engine(),
                Link::EngineToSubscriber => engine_to_subscriber(),
                Link::Record => records::records(),
            };
            messages
                .into_iter()
                .map(move |(name, message)| Sample { link, name, message })
        })
        .collect()
}
