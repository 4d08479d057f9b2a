//! The feed over real unix sockets: a server on its own thread over a journal in memory, as the engine runs it.

use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wire_feed::{
    BUFFER_BYTES, CONNECTIONS_MAX, FeedEvent, FeedServer, FeedWaker, FrameBuffer, ReadError, RecordSource,
    SUBSCRIBERS_MAX, Subscription, SubscriptionError,
};
use wire_protocol::codec;
use wire_protocol::feed::{FeedRecord, FeedRefused, Subscribe, ToSubscriber, VERSION, kind};
use wire_protocol::frame;
use wire_protocol::ids::{Epoch, Lsn, Shard};

/// Long enough for any machine; only a failing test waits for it.
const DEADLINE: Duration = Duration::from_secs(20);

/// A journal in memory. Record n carries n bytes of payload modulo a thousand.
#[derive(Default)]
struct Journal {
    durable: AtomicU64,
    /// Records up to this one are removed.
    removed: AtomicU64,
    /// Reading behind this one fails, if it is not 0.
    damaged_behind: AtomicU64,
}

fn payload(lsn: Lsn) -> Vec<u8> {
    vec![lsn.0 as u8; (lsn.0 % 1_000) as usize]
}

impl RecordSource for Journal {
    fn read_after(
        &self,
        after: Lsn,
        give: &mut dyn FnMut(FeedRecord<'_>) -> ControlFlow<()>,
    ) -> Result<(), ReadError> {
        let mut lsn = after;
        while lsn < self.durable() {
            if lsn.next() < self.first() {
                return Err(ReadError::Removed { first: self.first() });
            }
            if lsn.0 == self.damaged_behind.load(Ordering::SeqCst) && lsn.0 != 0 {
                return Err(ReadError::Failed("the checksum is wrong".into()));
            }
            lsn = lsn.next();
            let payload = payload(lsn);
            let record = FeedRecord {
                lsn,
                epoch: Epoch(1),
                wall_us: lsn.0 * 10,
                kind: 9,
                payload: &payload,
            };
            if give(record).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::SeqCst))
    }

    fn first(&self) -> Lsn {
        Lsn(self.removed.load(Ordering::SeqCst) + 1)
    }
}

type Job = Box<dyn FnOnce(&mut FeedServer, &Journal) + Send>;

/// An engine as far as the feed is concerned.
struct Engine {
    folder: TempDir,
    journal: Arc<Journal>,
    waker: FeedWaker,
    jobs: mpsc::Sender<Job>,
    stop: Arc<AtomicBool>,
    happened: Arc<Mutex<Vec<FeedEvent>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    fn start(durable: u64) -> Self {
        Self::start_with(durable, 0, &[])
    }

    fn start_with(durable: u64, removed: u64, known: &[(&str, u64)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let known = known.iter().map(|(name, lsn)| ((*name).to_owned(), Lsn(*lsn)));
        let mut server =
            FeedServer::bind(&folder.path().join("feed.sock"), Shard(3), known).expect("a fresh folder");
        let journal = Arc::new(Journal::default());
        journal.durable.store(durable, Ordering::SeqCst);
        journal.removed.store(removed, Ordering::SeqCst);
        let waker = server.waker();
        let stop = Arc::new(AtomicBool::new(false));
        let happened = Arc::new(Mutex::new(Vec::new()));
        let (jobs, todo) = mpsc::channel::<Job>();
        let thread = thread::spawn({
            let (journal, stop, happened) = (journal.clone(), stop.clone(), happened.clone());
            move || {
                while !stop.load(Ordering::SeqCst) {
                    let mut events = Vec::new();
                    server.turn(&*journal, None, &mut events).expect("the poll works");
                    happened.lock().expect("no panic").append(&mut events);
                    todo.try_iter().for_each(|job| job(&mut server, &journal));
                }
                server.close("the engine is shutting down", &*journal);
            }
        });
        Self {
            folder,
            journal,
            waker,
            jobs,
            stop,
            happened,
            thread: Some(thread),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("feed.sock")
    }

    fn commit(&self, durable: u64) {
        self.journal.durable.store(durable, Ordering::SeqCst);
        self.waker.wake().expect("the server lives");
    }

    /// Asks the server on its own thread.
    fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&mut FeedServer, &Journal) -> T + Send + 'static) -> T {
        let (answer, answered) = mpsc::channel();
        let job: Job = Box::new(move |server, journal| {
            answer.send(ask(server, journal)).expect("the test waits");
        });
        self.jobs.send(job).expect("the server lives");
        self.waker.wake().expect("the server lives");
        answered.recv_timeout(DEADLINE).expect("the server answers")
    }

    fn wait_until(&self, what: &str, holds: impl Fn(&FeedServer) -> bool + Send + Copy + 'static) {
        let deadline = Instant::now() + DEADLINE;
        while !self.ask(move |server, _| holds(server)) {
            assert!(Instant::now() < deadline, "in vain: {what}");
            thread::yield_now();
        }
    }

    fn wait_for_floor(&self, floor: u64) {
        self.wait_until("the floor moves", move |server| {
            server.floor() == Some(Lsn(floor))
        });
    }

    fn subscribe(&self, name: &str, after: u64) -> Subscription {
        Subscription::connect(&self.path(), name, Lsn(after)).expect("it is welcome")
    }

    fn refused(&self, name: &str, after: u64) -> FeedRefused {
        match Subscription::connect(&self.path(), name, Lsn(after)) {
            Err(SubscriptionError::Refused(refused)) => refused,
            other => panic!("{other:?} instead of a refusal"),
        }
    }

    /// Reasons for which connections were closed so far.
    fn closed(&self) -> Vec<(Option<String>, String)> {
        // The turn in which it happened is over when the server answers.
        self.ask(|_, _| ());
        let happened = self.happened.lock().expect("no panic");
        let closed = |event: &FeedEvent| match event {
            FeedEvent::Closed { name, reason } => Some((name.clone(), reason.clone())),
            FeedEvent::Subscribed { .. } | FeedEvent::ReadFailed { .. } | FeedEvent::AcceptFailed(_) => None,
        };
        happened.iter().filter_map(closed).collect()
    }

    fn stop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.waker.wake().expect("the server lives");
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the server does not panic");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

fn take(feed: &mut Subscription, from: u64, upto: u64) {
    for lsn in (from..=upto).map(Lsn) {
        let record = feed.next().expect("more records");
        assert_eq!((record.lsn, record.wall_us, record.kind), (lsn, lsn.0 * 10, 9));
        assert_eq!(record.payload, payload(lsn));
    }
    assert_eq!(feed.last(), Lsn(upto));
}

/// Bytes that the records `1 ..= upto` have on the socket.
fn fed_bytes(upto: u64) -> u64 {
    (1..=upto).map(|lsn| lsn % 1_000 + 26).sum()
}

fn acknowledge_frame(upto: u64) -> Vec<u8> {
    let mut out = Vec::new();
    frame::push(&mut out, kind::ACKNOWLEDGE, |out| {
        codec::put_control(out, &Lsn(upto))
    });
    out
}

fn subscribe_frame(version: u16, name: &str, after: u64) -> Vec<u8> {
    let subscribe = Subscribe {
        version,
        name: name.to_owned(),
        after: Lsn(after),
    };
    let mut out = Vec::new();
    frame::push(&mut out, kind::SUBSCRIBE, |out| {
        codec::put_control(out, &subscribe)
    });
    out
}

/// Sends `bytes` as they are and returns the reason for which the connection is closed.
fn reason_for(engine: &Engine, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(engine.path()).expect("the engine listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    stream.write_all(bytes).expect("it is read");
    let mut frames = FrameBuffer::new(1 << 20);
    loop {
        while frames.has_frame().expect("the server keeps the bounds") {
            let (kind, payload) = frames.take_frame().expect("has one");
            if let ToSubscriber::Refused(refused) = ToSubscriber::parse(kind, payload).expect("well formed") {
                // And then nothing more.
                assert!(matches!(stream.read(&mut [0; 1]), Ok(0) | Err(_)));
                return refused.reason;
            }
        }
        let count = frames.read_from(&mut stream).expect("a reason before the end");
        assert_ne!(count, 0, "closed without a reason");
    }
}

#[test]
fn a_subscriber_gets_everything_from_the_beginning_and_then_what_comes() {
    let engine = Engine::start(3_000);
    let mut feed = engine.subscribe("persist", 0);
    assert_eq!(
        (feed.feeding().shard, feed.feeding().durable),
        (Shard(3), Lsn(3_000))
    );
    take(&mut feed, 1, 3_000);
    assert!(feed.next_within(Duration::ZERO).expect("still open").is_none());
    for durable in [3_001, 3_002, 3_500] {
        engine.commit(durable);
        let from = feed.last().0 + 1;
        take(&mut feed, from, durable);
    }
}

#[test]
fn more_durable_records_reach_a_subscriber_of_a_server_that_waits_for_ever() {
    let engine = Engine::start(0);
    let mut feed = engine.subscribe("persist", 0);
    // Many times: now the server already waits, now it is about to.
    for durable in (1..=2_000).map(Lsn) {
        engine.journal.durable.store(durable.0, Ordering::SeqCst);
        engine.waker.more_durable().expect("the server lives");
        let record = feed.next_within(DEADLINE).expect("still open");
        assert_eq!(record.expect("the server is woken").lsn, durable);
    }
}

#[test]
fn more_durable_records_wake_a_server_to_which_somebody_is_connected_and_no_other() {
    const UNWOKEN: Duration = Duration::from_millis(20);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("feed.sock");
    let mut server = FeedServer::bind(&path, Shard(3), []).expect("a fresh folder");
    let (journal, waker) = (Journal::default(), server.waker());
    let mut turn = |timeout: Duration| {
        let began = Instant::now();
        server
            .turn(&journal, Some(timeout), &mut Vec::new())
            .expect("the poll works");
        began.elapsed()
    };
    turn(Duration::ZERO);
    waker.more_durable().expect("the server lives");
    assert!(turn(UNWOKEN) >= UNWOKEN, "nobody listens");

    let somebody = UnixStream::connect(&path).expect("it listens");
    turn(DEADLINE);
    turn(Duration::ZERO);
    assert!(turn(UNWOKEN) >= UNWOKEN, "nothing happens");
    waker.more_durable().expect("the server lives");
    assert!(turn(DEADLINE) < DEADLINE, "somebody may be waiting for records");

    drop(somebody);
    turn(DEADLINE);
    turn(Duration::ZERO);
    waker.more_durable().expect("the server lives");
    assert!(turn(UNWOKEN) >= UNWOKEN, "nobody listens any more");
}

#[test]
fn a_subscriber_goes_on_from_the_middle() {
    let engine = Engine::start(100);
    let mut feed = engine.subscribe("persist", 42);
    take(&mut feed, 43, 100);
    let mut at_the_end = engine.subscribe("reconcile", 100);
    engine.commit(101);
    take(&mut at_the_end, 101, 101);
}

#[test]
fn nothing_leaves_before_it_is_durable() {
    let engine = Engine::start(0);
    let mut feed = engine.subscribe("persist", 0);
    assert!(
        feed.next_within(Duration::from_millis(20))
            .expect("still open")
            .is_none()
    );
    engine.commit(1);
    take(&mut feed, 1, 1);
    assert!(
        feed.next_within(Duration::from_millis(20))
            .expect("still open")
            .is_none()
    );
}

#[test]
fn what_retention_removed_is_refused_with_the_first_that_is_left() {
    let engine = Engine::start_with(100, 50, &[]);
    let refused = engine.refused("persist", 49);
    assert_eq!(refused.first, Lsn(51));
    assert!(refused.reason.contains("#51"), "{}", refused.reason);
    assert_eq!(
        engine.ask(|server, _| server.floor()),
        None,
        "who was refused is not known"
    );
    take(&mut engine.subscribe("persist", 50), 51, 100);
}

#[test]
fn records_that_retention_removes_meanwhile_end_the_subscription_with_a_reason() {
    let engine = Engine::start(100);
    let mut feed = engine.subscribe("persist", 0);
    take(&mut feed, 1, 100);
    engine.journal.removed.store(150, Ordering::SeqCst);
    engine.commit(200);
    match feed.next() {
        Err(SubscriptionError::Refused(refused)) => assert_eq!(refused.first, Lsn(151)),
        other => panic!("{other:?} instead of a refusal"),
    }
}

#[test]
fn a_journal_that_is_behind_its_subscriber_is_refused() {
    let engine = Engine::start(10);
    let refused = engine.refused("persist", 11);
    assert!(refused.reason.contains("ends at #10"), "{}", refused.reason);
}

#[test]
fn a_damaged_journal_gives_what_is_good_and_then_the_reason() {
    let engine = Engine::start(0);
    engine.journal.damaged_behind.store(60, Ordering::SeqCst);
    engine.commit(100);
    let mut feed = engine.subscribe("persist", 0);
    take(&mut feed, 1, 60);
    assert!(matches!(feed.next(), Err(SubscriptionError::Refused(_))));
    engine.ask(|_, _| ());
    let happened = engine.happened.lock().expect("no panic");
    assert!(
        happened
            .iter()
            .any(|event| matches!(event, FeedEvent::ReadFailed { name, .. } if name == "persist"))
    );
}

#[test]
fn a_slow_subscriber_lags_and_the_others_do_not() {
    // Far more than two buffers and two sockets take.
    let durable = 20_000;
    assert!(fed_bytes(durable) > 16 * BUFFER_BYTES as u64);
    let engine = Engine::start(durable);
    let mut slow = engine.subscribe("slow", 0);
    let mut quick = engine.subscribe("quick", 0);
    take(&mut quick, 1, durable);
    quick.acknowledge(Lsn(durable)).expect("connected");
    engine.wait_until("quick is heard", move |server| {
        server
            .subscribers()
            .any(|it| it.name == "quick" && it.acknowledged == Lsn(durable))
    });
    let (sent, lag) = engine.ask(|server, journal| {
        let slow = server.subscribers().find(|it| it.name == "slow").expect("known");
        (slow.sent.expect("connected"), slow.lag(journal.durable()))
    });
    assert!(sent < Lsn(durable), "it does not fit what lies between");
    assert_eq!(lag, durable);
    take(&mut slow, 1, durable);
}

#[test]
fn acknowledgements_move_the_floor_to_the_slowest() {
    let engine = Engine::start(100);
    assert_eq!(engine.ask(|server, _| server.floor()), None);
    let mut persist = engine.subscribe("persist", 0);
    let mut reconcile = engine.subscribe("reconcile", 10);
    take(&mut persist, 1, 100);
    take(&mut reconcile, 11, 100);
    engine.wait_for_floor(0);
    persist.acknowledge(Lsn(60)).expect("connected");
    engine.wait_for_floor(10);
    reconcile.acknowledge(Lsn(99)).expect("connected");
    engine.wait_for_floor(60);
    // Neither a repeat nor a late one moves it back.
    persist.acknowledge(Lsn(60)).expect("connected");
    persist.acknowledge(Lsn(5)).expect("connected");
    persist.acknowledge(Lsn(61)).expect("connected");
    engine.wait_for_floor(61);
    let (positions, changed, again) = engine.ask(|server, _| {
        let positions: Vec<_> = server
            .positions()
            .map(|(name, lsn)| (name.to_owned(), lsn.0))
            .collect();
        (
            positions,
            server.take_positions_changed(),
            server.take_positions_changed(),
        )
    });
    assert_eq!(
        positions,
        [("persist".to_owned(), 61), ("reconcile".to_owned(), 99)]
    );
    assert!(changed && !again);
}

#[test]
fn a_subscriber_that_is_away_holds_the_floor_until_it_is_forgotten() {
    let engine = Engine::start_with(100, 0, &[("persist", 30), ("old", 7)]);
    assert_eq!(engine.ask(|server, _| server.floor()), Some(Lsn(7)));
    assert!(engine.ask(|server, journal| server.forget("old", journal)));
    assert!(!engine.ask(|server, journal| server.forget("old", journal)));
    assert_eq!(engine.ask(|server, _| server.floor()), Some(Lsn(30)));
    let mut persist = engine.subscribe("persist", 30);
    take(&mut persist, 31, 40);
    engine.ask(|server, journal| server.forget("persist", journal));
    let ended = std::iter::repeat_with(|| persist.next().map(|it| it.lsn)).find_map(Result::err);
    assert!(matches!(ended, Some(SubscriptionError::Refused(_))));
}

#[test]
fn a_subscriber_that_reconnects_goes_on_where_it_was() {
    let mut engine = Engine::start(100);
    let mut feed = engine.subscribe("persist", 0);
    take(&mut feed, 1, 70);
    feed.acknowledge(Lsn(70)).expect("connected");
    drop(feed);
    engine.wait_until("it is seen leaving", |server| {
        server.subscribers().all(|it| it.sent.is_none())
    });
    assert_eq!(
        engine.ask(|server, _| server.floor()),
        Some(Lsn(70)),
        "what it said before it left counts"
    );
    let mut feed = engine.subscribe("persist", 70);
    take(&mut feed, 71, 100);

    // The engine restarts with the positions that it persisted.
    engine.stop();
    assert!(
        matches!(feed.next(), Err(SubscriptionError::Refused(refused)) if refused.reason.contains("shutting down"))
    );
    let engine = Engine::start_with(120, 0, &[("persist", 70)]);
    engine.wait_for_floor(70);
    let mut feed = engine.subscribe("persist", 100);
    engine.wait_for_floor(100);
    take(&mut feed, 101, 120);
}

#[test]
fn a_subscriber_that_lost_its_store_takes_the_floor_back() {
    let engine = Engine::start_with(100, 10, &[("persist", 90)]);
    let mut feed = engine.subscribe("persist", 20);
    engine.wait_for_floor(20);
    take(&mut feed, 21, 100);
}

#[test]
fn the_second_connection_of_a_name_ends_the_first() {
    let engine = Engine::start(10);
    let mut first = engine.subscribe("persist", 0);
    take(&mut first, 1, 10);
    let mut second = engine.subscribe("persist", 10);
    match first.next() {
        Err(SubscriptionError::Refused(refused)) => assert!(refused.reason.contains("another connection")),
        other => panic!("{other:?} instead of a refusal"),
    }
    assert!(first.acknowledge(Lsn(3)).is_err());
    engine.commit(11);
    take(&mut second, 11, 11);
    assert_eq!(engine.ask(|server, _| server.floor()), Some(Lsn(10)));
}

#[test]
fn the_first_connection_is_told_even_in_the_middle_of_its_records() {
    let durable = 20_000;
    let engine = Engine::start(durable);
    let mut first = engine.subscribe("persist", 0);
    let _second = engine.subscribe("persist", durable);
    let ended = std::iter::repeat_with(|| first.next().map(|it| it.lsn)).find_map(Result::err);
    assert!(matches!(ended, Some(SubscriptionError::Refused(_))), "{ended:?}");
    assert!(first.last() < Lsn(durable));
}

#[test]
fn whoever_does_not_keep_to_the_protocol_is_closed_with_a_reason_and_nobody_else() {
    let engine = Engine::start(10);
    let mut bystander = engine.subscribe("persist", 0);
    take(&mut bystander, 1, 10);
    let mut too_long = 2_000_u32.to_le_bytes().to_vec();
    too_long.push(kind::SUBSCRIBE);
    let mut twice = subscribe_frame(VERSION, "other", 0);
    twice.extend(subscribe_frame(VERSION, "other", 0));
    let mut ahead = subscribe_frame(VERSION, "other", 10);
    ahead.extend(acknowledge_frame(11));
    let mut garbage_later = subscribe_frame(VERSION, "other", 0);
    garbage_later.extend([0xff; 9]);
    let cases: [(&[u8], &str); 9] = [
        (b"GET / HTTP/1.1\r\n\r\n", "announces"),
        (&too_long, "at most 1024"),
        (&[0, 0, 0, 0, 0x77], "kind 0x77"),
        (&[1, 0, 0, 0, kind::SUBSCRIBE, 1], "malformed subscribe"),
        (&acknowledge_frame(1), "greeting"),
        (
            &subscribe_frame(VERSION + 1, "other", 0),
            "version 1 of the feed, not 2",
        ),
        (&twice, "subscribed already"),
        (&ahead, "#11 is acknowledged"),
        (&garbage_later, "announces"),
    ];
    for (bytes, expected) in cases {
        let reason = reason_for(&engine, bytes);
        assert!(reason.contains(expected), "`{reason}` does not say `{expected}`");
        assert!(
            engine.closed().iter().any(|(_, said)| *said == reason),
            "the owner hears of it"
        );
    }
    engine.commit(11);
    take(&mut bystander, 11, 11);
    assert!(
        engine
            .closed()
            .iter()
            .all(|(name, _)| name.as_deref() != Some("persist"))
    );
}

#[test]
fn names_are_bounded_and_readable() {
    let engine = Engine::start(1);
    for name in ["", "two words", "tab\t", "\u{e9}", &"n".repeat(257)] {
        assert!(engine.refused(name, 0).reason.contains("name"), "{name:?}");
    }
    engine.subscribe(&"n".repeat(256), 0);
}

#[test]
fn subscribers_that_are_remembered_are_bounded() {
    let known: Vec<String> = (0..SUBSCRIBERS_MAX).map(|n| format!("known-{n}")).collect();
    let known: Vec<(&str, u64)> = known.iter().map(|name| (name.as_str(), 0)).collect();
    let engine = Engine::start_with(1, 0, &known);
    assert!(engine.refused("one-more", 0).reason.contains("forget"));
    engine.subscribe("known-0", 0);
    engine.ask(|server, journal| server.forget("known-1", journal));
    engine.subscribe("one-more", 0);
}

#[test]
fn connections_that_say_nothing_make_room_and_those_that_are_fed_do_not() {
    let engine = Engine::start(1);
    let mut silent: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| UnixStream::connect(engine.path()).expect("the engine listens"))
        .collect();
    let mut fed: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|n| engine.subscribe(&format!("fed-{n}"), 0))
        .collect();
    for stream in &mut silent {
        stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
        assert_eq!(stream.read(&mut [0; 1]).expect("closed, not forgotten"), 0);
    }
    match Subscription::connect(&engine.path(), "one-more", Lsn(0)) {
        Err(SubscriptionError::Refused(refused)) => assert!(refused.reason.contains("limit")),
        // The engine may close before the greeting is written.
        Err(SubscriptionError::Io { step: "greet", .. }) => {}
        other => panic!("{other:?} instead of a refusal"),
    }
    for feed in &mut fed {
        take(feed, 1, 1);
    }
}

#[test]
fn a_subscription_that_waits_can_be_stopped() {
    let engine = Engine::start(1);
    let mut feed = engine.subscribe("persist", 1);
    let stopper = feed.stopper().expect("a file descriptor");
    let waiting = thread::spawn(move || feed.next().map(|record| record.lsn));
    stopper.stop();
    assert!(matches!(
        waiting.join().expect("no panic"),
        Err(SubscriptionError::Closed)
    ));
}

#[test]
fn without_an_engine_there_is_an_error_and_no_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let connected = Subscription::connect(&folder.path().join("feed.sock"), "persist", Lsn(0));
    assert!(matches!(
        connected,
        Err(SubscriptionError::Io {
            step: "connect to",
            ..
        })
    ));
}

#[test]
#[should_panic(expected = "was the last to be handed out")]
fn what_was_not_handed_out_is_not_acknowledged() {
    let engine = Engine::start(1);
    let mut feed = engine.subscribe("persist", 0);
    let _ = feed.acknowledge(Lsn(1));
}
