//! Of the link of workers.

use super::*;

pub(super) fn worker_to_engine() -> Vec<(&'static str, Message)> {
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

pub(super) fn engine_to_worker() -> Vec<(&'static str, Message)> {
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

pub(super) fn follow_log(wish: LogWish) -> Message {
    let token = token(300, 2);
    Message::FollowLog(FollowLog { token, wish })
}

pub(super) fn idle(cause: IdleCause) -> Message {
    Message::Idle(worker_link::Idle {
        cause,
        explanation: Explanation {
            summary: text("nothing is queued"),
            facts: vec![text("3 works wait for a backoff to pass")],
        },
    })
}
