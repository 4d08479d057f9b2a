//! Peers that do not keep to the protocol: each is told why it is closed, nothing changes, nobody else notices.

use client::SubmitOptions;
use client::protocol::client_link::{self, Follow, Open, RowsChunk};
use client::protocol::codec::{put_bytes, read_control};
use client::protocol::frame;
use client::protocol::ids::{Attempt, BagId, Epoch, LeaseToken, Shard, WorkId};
use client::protocol::limits::LEASES_PER_WORKER_MAX;
use client::protocol::outcome::Reason;
use client::protocol::template::{Rows, row};
use client::protocol::worker_link::{self, Notice, Report, Tokens, Welcome, push_control, push_empty};

use crate::kit::{self, ADMIN_PASSWORD, Engine, Heard, History, Peer, WORKER_PASSWORD, null};

/// Close codes as the engine and its links document them.
pub(crate) const FRAME: u64 = 1;
pub(crate) const CREDENTIALS: u64 = 0x100;
const PROTOCOL: u64 = 0x101;
const CORE: u64 = 0x102;

fn raw(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push(&mut out, kind, |out| out.extend_from_slice(payload));
    out
}

/// A header that announces more than comes.
fn announcing(kind: u8, length: u32) -> Vec<u8> {
    let mut out = length.to_le_bytes().to_vec();
    out.push(kind);
    out.extend_from_slice(&[0; 64]);
    out
}

pub(crate) fn garbage(seed: u64) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    // A length over the bound, whatever follows.
    let mut bytes: Vec<u8> = (0..20_000).map(|_| random.u8(..)).collect();
    bytes[3] |= 0x80;
    bytes
}

/// What is said and how it must end.
type Case = (&'static str, Vec<u8>, u64, &'static str);

fn check(what: &str, heard: &Heard, code: u64, reason: &str) {
    assert_eq!(heard.code, code, "{what}: {heard:?}");
    assert!(heard.reason.contains(reason), "{what}: {heard:?}");
}

/// Before a login.
fn strangers_cases(first: u8, others: &[u8], foreign: &[u8]) -> Vec<Case> {
    let mut cases = vec![
        ("garbage", garbage(1), FRAME, "limit"),
        ("an endless frame", announcing(first, u32::MAX), FRAME, "limit"),
        (
            "a greeting over the bound",
            announcing(first, 600 << 10),
            FRAME,
            "limit",
        ),
        ("a malformed greeting", raw(first, &[0xff; 40]), PROTOCOL, ""),
        ("an empty greeting", raw(first, &[]), PROTOCOL, ""),
        ("a kind that nobody has", raw(0x00, b"x"), PROTOCOL, "0x00"),
        ("another that nobody has", raw(0xff, b"x"), PROTOCOL, "0xff"),
    ];
    let out_of_place = |kinds: &[u8]| -> Vec<Case> {
        kinds
            .iter()
            .map(|kind| ("a message before the login", raw(*kind, &[]), PROTOCOL, ""))
            .collect()
    };
    cases.extend(out_of_place(others));
    cases.extend(out_of_place(foreign));
    cases
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn strangers_are_closed_with_a_reason_and_change_nothing() {
    use {client_link::kind as c, worker_link::kind as w};
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let before = client.status().await.expect("an answer").lsn;

    let clients_kinds = [
        c::OPEN,
        c::ROWS,
        c::COMMAND,
        c::QUERY,
        c::FOLLOW,
        c::FOLLOW_LOGS,
        c::STOP_LOGS,
    ];
    let workers_kinds = [
        w::FINISHED,
        w::STARTED,
        w::RETRACTED,
        w::PING,
        w::DRAINING,
        w::HOLDING,
        w::LOG,
        w::LOG_TOLD,
        w::WHY_IDLE,
    ];
    for (what, bytes, code, reason) in
        strangers_cases(c::LOGIN, &clients_kinds, &[w::JOIN, w::PING, c::WELCOME])
    {
        let mut peer = Peer::to_clients(&engine).await;
        peer.say(&bytes).await;
        check(what, &peer.hear_the_end().await, code, reason);
    }
    for (what, bytes, code, reason) in
        strangers_cases(w::JOIN, &workers_kinds, &[c::LOGIN, c::QUERY, w::WELCOME])
    {
        let mut peer = Peer::to_workers(&engine).await;
        peer.say(&bytes).await;
        check(what, &peer.hear_the_end().await, code, reason);
    }
    // A proper greeting at the wrong door.
    let mut peer = Peer::to_clients(&engine).await;
    peer.say(&kit::join("lost", WORKER_PASSWORD, &[])).await;
    check(
        "a worker among clients",
        &peer.hear_the_end().await,
        PROTOCOL,
        "0x41",
    );
    let mut peer = Peer::to_workers(&engine).await;
    peer.say(&kit::login(ADMIN_PASSWORD)).await;
    check(
        "a client among workers",
        &peer.hear_the_end().await,
        PROTOCOL,
        "0x81",
    );
    assert!(
        Peer::connect(&engine, engine.ready().clients, worker_link::ALPN)
            .await
            .is_err()
    );
    assert!(
        Peer::connect(&engine, engine.ready().workers, client_link::ALPN)
            .await
            .is_err()
    );
    assert!(
        Peer::connect(&engine, engine.ready().workers, b"h3")
            .await
            .is_err()
    );
    // The right door, the wrong password.
    let mut peer = Peer::to_workers(&engine).await;
    peer.say(&kit::join("guesser", "guess", &[])).await;
    let heard = peer.hear_the_end().await;
    check("a wrong password", &heard, CREDENTIALS, "wrong login or password");
    let refused: worker_link::Refused = read_control("refused", &heard.frames[0].1).expect("a refusal");
    assert_eq!(
        (heard.frames[0].0, refused.code),
        (w::REFUSED, worker_link::RefusedCode::Credentials)
    );
    // A worker that claims to hold more than anybody may.
    let token = LeaseToken {
        work: WorkId(1),
        epoch: Epoch(1),
        attempt: Attempt(1),
        shard: Shard(0),
    };
    let mut peer = Peer::to_workers(&engine).await;
    let many = vec![token; LEASES_PER_WORKER_MAX + 1];
    peer.say(&kit::join("greedy", WORKER_PASSWORD, &many)).await;
    check("too many leases", &peer.hear_the_end().await, PROTOCOL, "leases");

    let after = client.status().await.expect("others are served as before");
    assert_eq!((after.lsn, after.workers_connected, after.bags), (before, 0, 0));
}

/// Rows of one value each, as they are sent.
fn encoded(rows: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    rows.iter()
        .for_each(|one| put_bytes(&mut out, &row::join(&[one])));
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn clients_that_break_the_rules_are_closed_or_rejected_one_by_one() {
    use client_link::kind as c;
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    client
        .submit(null(), ["a"; 3], SubmitOptions::default())
        .await
        .expect("accepted");
    let before = client.status().await.expect("an answer").lsn;

    let mut cases: Vec<Case> = vec![
        ("a second login", kit::login(ADMIN_PASSWORD), CORE, "once"),
        (
            "an endless frame",
            announcing(c::ROWS, 0x7fff_ffff),
            FRAME,
            "limit",
        ),
        ("garbage", garbage(2), FRAME, "limit"),
        (
            "a worker's frame",
            raw(worker_link::kind::PING, &[]),
            PROTOCOL,
            "0x45",
        ),
        ("an engine's frame", raw(c::WELCOME, &[]), PROTOCOL, "0xc1"),
    ];
    for kind in [c::OPEN, c::ROWS, c::COMMAND, c::QUERY, c::FOLLOW] {
        cases.push(("a frame that ends too early", raw(kind, &[]), PROTOCOL, ""));
        cases.push(("a frame of nonsense", raw(kind, &[0xff; 100]), PROTOCOL, ""));
    }
    let mut follow = Vec::new();
    push_control(
        &mut follow,
        c::FOLLOW,
        &Follow {
            request: 1,
            bag: BagId(1),
        },
    );
    let length = u32::from_le_bytes([follow[0], follow[1], follow[2], follow[3]]) + 1;
    follow[..4].copy_from_slice(&length.to_le_bytes());
    follow.push(0);
    cases.push((
        "a frame that goes on too long",
        follow,
        PROTOCOL,
        "follow the end",
    ));
    let mut lying = Vec::new();
    lying.extend_from_slice(&1_u32.to_le_bytes());
    lying.extend_from_slice(&0_u32.to_le_bytes());
    lying.extend_from_slice(&u32::MAX.to_le_bytes());
    cases.push(("rows that are not there", raw(c::ROWS, &lying), PROTOCOL, "row"));
    for (what, bytes, code, reason) in cases {
        let mut peer = Peer::client(&engine).await;
        peer.say(&bytes).await;
        check(what, &peer.hear_the_end().await, code, reason);
    }

    // What is well-formed and wrong is rejected by its number, and the link goes on.
    let mut peer = Peer::client(&engine).await;
    let rows = encoded(&[b"x"]);
    let mut frames = Vec::new();
    RowsChunk::push(&mut frames, 77, 0, Rows::parse(1, &rows).expect("one row"));
    let open = Open {
        request: 78,
        key: [0; 16],
        rows_total: 0,
        follow: false,
        template: null(),
    };
    push_control(&mut frames, c::OPEN, &open);
    let template = client::protocol::template::WorkTemplate {
        app: String::new(),
        ..null()
    };
    push_control(
        &mut frames,
        c::OPEN,
        &Open {
            request: 79,
            rows_total: 1,
            template,
            ..open
        },
    );
    peer.say(&frames).await;
    for request in [77, 78, 79] {
        let rejected: client_link::Rejected =
            read_control("rejected", &peer.hear(c::REJECTED).await).expect("a rejection");
        assert_eq!(rejected.request, request, "{rejected:?}");
    }
    let after = client.status().await.expect("others are served as before");
    assert_eq!(
        (after.lsn, after.works_queued, after.bags),
        (before, 3, 1),
        "nothing changed"
    );
}

fn finished(first: u64, tokens: &[LeaseToken]) -> Vec<u8> {
    let mut payload = first.to_le_bytes().to_vec();
    for token in tokens {
        let report = Report {
            token: *token,
            reason: Reason::None,
            exit_code: 0,
            elapsed_us: 1,
            result: b"forged",
        };
        report.put(&mut payload);
    }
    raw(worker_link::kind::FINISHED, &payload)
}

fn listed(kind: u8, tokens: &[LeaseToken]) -> Vec<u8> {
    let mut out = Vec::new();
    Tokens::push(&mut out, kind, Reason::NoRoom, tokens.iter().copied());
    out
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_lies_about_its_leases_changes_nothing() {
    use worker_link::kind as w;
    let mut engine = Engine::start(&["--rejoin-window-ms", "0"]);
    let client = engine.client().await;
    let submission = client
        .submit(null(), vec![""; 5_000], SubmitOptions::default())
        .await
        .expect("accepted");
    engine.kill();
    engine.start_again();
    // One that holds two works, and will finish them.
    let mut honest = Peer::worker(&engine, "honest").await;
    let assigned = honest.hear(w::ASSIGN).await;
    let assigned = worker_link::Assignments::parse(&assigned).expect("assignments");
    let held: Vec<LeaseToken> = assigned.iter().map(|assignment| assignment.token).collect();
    assert_eq!((held.len(), held[0].epoch), (2, Epoch(2)));
    // It takes no more, so that the liar stays the only one who could.
    let honest_worker = client.workers(Default::default(), 10).await.expect("an answer")[0].worker;
    client.cordon(honest_worker).await.expect("an answer");

    // A liar that claims thousands of works that wait, as if it had them from the epoch before.
    let claims: Vec<LeaseToken> = (0..LEASES_PER_WORKER_MAX as u32)
        .map(|row| LeaseToken {
            work: submission.first.offset(row),
            epoch: Epoch(1),
            attempt: Attempt(9),
            shard: Shard(0),
        })
        .collect();
    let mut liar = Peer::to_workers(&engine).await;
    liar.say(&kit::join("liar", WORKER_PASSWORD, &claims)).await;
    let welcome: Welcome = read_control("welcome", &liar.hear(w::WELCOME).await).expect("a welcome");
    assert!(
        welcome.adopted.len() <= 2,
        "no more than its slot and its prefill, not {}",
        welcome.adopted.len()
    );
    client.cordon(welcome.worker).await.expect("an answer");
    let mine: Vec<WorkId> = welcome.adopted.iter().map(|token| token.work).collect();

    // Leases of others, of works that wait, of works that never were, of other epochs, attempts and shards.
    let theirs = held[0];
    let waiting = WorkId(submission.first.0 + 4_999);
    let forged = [
        theirs,
        LeaseToken {
            epoch: Epoch(1),
            ..theirs
        },
        LeaseToken {
            epoch: Epoch(u32::MAX),
            ..theirs
        },
        LeaseToken {
            attempt: Attempt(0),
            ..theirs
        },
        LeaseToken {
            attempt: Attempt(u16::MAX),
            ..theirs
        },
        LeaseToken {
            shard: Shard(7),
            ..theirs
        },
        LeaseToken {
            work: waiting,
            ..theirs
        },
        LeaseToken {
            work: waiting,
            epoch: Epoch(1),
            attempt: Attempt(1),
            ..theirs
        },
        LeaseToken {
            work: WorkId(0),
            ..theirs
        },
        LeaseToken {
            work: WorkId(u64::MAX),
            ..theirs
        },
        LeaseToken {
            work: WorkId(1 << 40),
            ..theirs
        },
    ];
    let before = client.status().await.expect("an answer");
    liar.say(&listed(w::STARTED, &forged)).await;
    liar.say(&listed(w::RETRACTED, &forged)).await;
    liar.say(&finished(1, &forged)).await;
    let notice: Notice = read_control("notice", &liar.hear(w::NOTICE).await).expect("a notice");
    let notice = if matches!(notice, Notice::Cordoned { .. }) {
        read_control("notice", &liar.hear(w::NOTICE).await).expect("a notice")
    } else {
        notice
    };
    assert!(
        matches!(notice, Notice::Stale { token, .. } if token == theirs),
        "{notice:?}"
    );
    // All of them are acknowledged, so that a worker that was merely late forgets them.
    assert_eq!(liar.hear(w::RECORDED).await, (forged.len() as u64).to_le_bytes());
    let after = client.status().await.expect("an answer");
    assert_eq!(
        (after.lsn, after.works_done, after.works_leased),
        (before.lsn, 0, before.works_leased)
    );

    // The same bytes again, and a number from the future: reports of a connection count up.
    liar.say(&finished(1, &forged)).await;
    check("a replayed report", &liar.hear_the_end().await, CORE, "count up");
    let mut liar = Peer::worker(&engine, "liar").await;
    liar.say(&finished(1_000_000, &forged)).await;
    check(
        "a report from the future",
        &liar.hear_the_end().await,
        CORE,
        "count up",
    );
    let mut liar = Peer::worker(&engine, "liar").await;
    liar.say(&kit::join("liar", WORKER_PASSWORD, &[])).await;
    check("a second join", &liar.hear_the_end().await, CORE, "once");
    for kind in [
        w::FINISHED,
        w::STARTED,
        w::RETRACTED,
        w::JOIN,
        w::LOG,
        w::LOG_TOLD,
    ] {
        let mut liar = Peer::worker(&engine, "liar").await;
        liar.say(&raw(kind, &[0xff; 33])).await;
        check("a frame of nonsense", &liar.hear_the_end().await, PROTOCOL, "");
    }
    for (kind, payload) in [(w::PING, &[1][..]), (w::WHY_IDLE, &[1]), (w::DRAINING, &[0, 1])] {
        let mut liar = Peer::worker(&engine, "liar").await;
        liar.say(&raw(kind, payload)).await;
        check(
            "a frame with too much in it",
            &liar.hear_the_end().await,
            PROTOCOL,
            "follow the end",
        );
    }
    let mut liar = Peer::worker(&engine, "liar").await;
    liar.say(&raw(client_link::kind::QUERY, &[])).await;
    check("a client's frame", &liar.hear_the_end().await, PROTOCOL, "0x85");

    // The honest worker's results are what counts.
    honest.say(&finished(1, &held)).await;
    assert_eq!(honest.hear(w::RECORDED).await, 2_u64.to_le_bytes());
    let mut ping = Vec::new();
    push_empty(&mut ping, w::PING);
    honest.say(&ping).await;
    honest.hear(w::PONG).await;
    assert_eq!(client.status().await.expect("an answer").works_done, 2);
    engine.stop();
    let history = History::read(&engine.data());
    for (work, life) in &history.works {
        let theirs = held.iter().any(|token| token.work == *work);
        assert_eq!(life.end.is_some(), theirs, "{work} {life:?}");
        assert!(
            theirs || mine.contains(work) || life.leases.iter().all(|(token, _)| token.epoch == Epoch(2)),
            "{life:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_silent_stranger_is_closed_in_time() {
    let engine = Engine::start(&[]);
    let peer = Peer::to_clients(&engine).await;
    let heard = peer.hear_the_end().await;
    assert_eq!(heard.code, 3, "{heard:?}");
}
