//! An engine that the test plays: a real server on loopback that tells the test what workers say, and says what
//! the test wants.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wire_link::{
    Close, Handler, Links, ListenerId, Peer, Server, ServerConfig, ServerIdentity, default_names,
};
use wire_protocol::frame;
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, LinkId, Shard, WorkId, WorkerId};
use wire_protocol::log::{FollowLog, LogStream, LogWish};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{
    ALPN, Assignments, Drain, FromWorker, GrantAnswer, Granted, Join, Refused, RefusedCode, TemplateDefined,
    Welcome,
    kind::{self, PONG},
    push_control, push_empty, push_recorded,
};

/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(40);

/// What a worker said, pings aside.
#[derive(Debug, PartialEq)]
pub(crate) enum Said {
    Join(Box<Join>),
    /// Number of the first report, then each report's work, reason and result.
    Finished(u64, Vec<(u64, Reason, Vec<u8>)>),
    Started(Vec<u64>),
    Retracted(Reason, Vec<u64>),
    Draining(Option<Millis>),
    Holding(Option<String>),
    /// Work, stream, offset, bytes.
    Log(u64, LogStream, u64, Vec<u8>),
    LogTold(Vec<u64>),
    WhyIdle,
    Closed,
}

enum Order {
    Send(Vec<u8>),
    /// Read and answer nothing for so long.
    Pause(Duration),
    Stop,
}

pub(crate) struct Engine {
    pub(crate) address: SocketAddr,
    pub(crate) ca: PathBuf,
    epoch: Epoch,
    said: Receiver<Said>,
    /// Pings so far.
    pings: Arc<AtomicU32>,
    orders: Sender<Order>,
    waker: Arc<dyn Fn() + Send + Sync>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// `folder` keeps the certificate; port 0 lets the system choose.
    pub(crate) fn start(folder: &Path, port: u16, epoch: u32) -> Self {
        let identity = ServerIdentity::load_or_create(folder, &default_names()).expect("a new CA");
        let ca = identity.ca_file().expect("it was made here").to_owned();
        let mut config = ServerConfig::new(identity);
        config.listen(ListenerId(0), ([127, 0, 0, 1], port).into(), &[ALPN]);
        let mut server = Server::bind(config).expect("loopback is there");
        let address = server.local_addr(ListenerId(0));
        let (say, said) = channel();
        let (orders, ordered) = channel();
        let waker = server.waker();
        let pings = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&pings);
        let thread = std::thread::spawn(move || {
            let mut player = Player {
                say,
                link: None,
                pings: counted,
            };
            loop {
                for order in ordered.try_iter() {
                    match order {
                        Order::Send(bytes) => {
                            let link = player.link.expect("a worker has connected");
                            let _ = server.links_mut().send(link, &bytes);
                        }
                        Order::Pause(time) => std::thread::sleep(time),
                        Order::Stop => return,
                    }
                }
                server.turn(None, &mut player).expect("loopback works");
            }
        });
        Self {
            address,
            ca,
            epoch: Epoch(epoch),
            said,
            pings,
            orders,
            waker: Arc::new(move || waker.wake().expect("the poll is alive")),
            thread: Some(thread),
        }
    }

    /// The next thing that is said.
    pub(crate) fn next(&self) -> Said {
        match self.said.recv_timeout(PATIENCE) {
            Ok(said) => said,
            Err(RecvTimeoutError::Timeout) => panic!("nothing is said"),
            Err(RecvTimeoutError::Disconnected) => panic!("the engine is gone"),
        }
    }

    /// The next thing that `take` wants; what is said before is skipped.
    pub(crate) fn wait<T>(&self, mut take: impl FnMut(Said) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(wanted) = take(self.next()) {
                return wanted;
            }
            assert!(Instant::now() < deadline, "something else is said all the time");
        }
    }

    pub(crate) fn pings(&self) -> u32 {
        self.pings.load(Ordering::Relaxed)
    }

    pub(crate) fn join(&self) -> Join {
        self.wait(|said| match said {
            Said::Join(join) => Some(*join),
            _ => None,
        })
    }

    pub(crate) fn finished(&self) -> (u64, Vec<(u64, Reason, Vec<u8>)>) {
        self.wait(|said| match said {
            Said::Finished(first, reports) => Some((first, reports)),
            _ => None,
        })
    }

    /// Answers a join; `adopted` are works of their first attempt in epoch 1.
    pub(crate) fn welcome(&self, adopted: &[u64]) {
        let welcome = Welcome {
            worker: WorkerId(1),
            shard: Shard(0),
            epoch: self.epoch,
            lease_timeout: Millis::from_secs(30),
            heartbeat: Millis(200),
            adopted: adopted.iter().copied().map(token).collect(),
        };
        self.send(|out| push_control(out, kind::WELCOME, &welcome));
    }

    pub(crate) fn refuse(&self, code: RefusedCode, reason: &str) {
        let refused = Refused {
            code,
            reason: reason.to_owned(),
            retry_after: Millis(0),
        };
        self.send(|out| push_control(out, kind::REFUSED, &refused));
    }

    pub(crate) fn define(&self, template: u32, definition: WorkTemplate) {
        let defined = TemplateDefined { template, definition };
        self.send(|out| push_control(out, kind::TEMPLATE, &defined));
    }

    pub(crate) fn assign(&self, template: u32, works: &[u64]) {
        self.send(|out| {
            frame::push(out, kind::ASSIGN, |out| {
                out.extend_from_slice(&template.to_le_bytes());
                for work in works {
                    Assignments::put(out, token(*work), b"");
                }
            });
        });
    }

    /// Asks for a drain with this deadline.
    pub(crate) fn drain(&self, within: Option<Millis>) {
        let reason = "the test wants it".to_owned();
        self.send(|out| push_control(out, kind::DRAIN, &Drain { reason, within }));
    }

    pub(crate) fn follow_log(&self, work: u64, wish: LogWish) {
        let token = token(work);
        self.send(|out| push_control(out, kind::FOLLOW_LOG, &FollowLog { token, wish }));
    }

    /// Reads and answers nothing for so long.
    pub(crate) fn pause(&self, time: Duration) {
        self.order(Order::Pause(time));
    }

    pub(crate) fn recorded(&self, upto: u64) {
        self.send(|out| push_recorded(out, upto));
    }

    fn send(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        write(&mut bytes);
        self.order(Order::Send(bytes));
    }

    fn order(&self, order: Order) {
        self.orders.send(order).expect("the engine runs");
        (self.waker)();
    }

    /// Goes away without a word, like an engine that is killed.
    pub(crate) fn vanish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = self.orders.send(Order::Stop);
            (self.waker)();
            thread.join().expect("no panic in the engine");
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

/// First attempt at this work, in epoch 1.
pub(crate) fn token(work: u64) -> LeaseToken {
    LeaseToken {
        work: WorkId(work),
        epoch: Epoch(1),
        attempt: Attempt(1),
        shard: Shard(0),
    }
}

struct Player {
    say: Sender<Said>,
    /// The link that came last.
    link: Option<LinkId>,
    pings: Arc<AtomicU32>,
}

impl Handler for Player {
    fn on_open(&mut self, links: &mut Links, link: LinkId, _peer: Peer) {
        self.link = Some(link);
        links.authenticated(link);
    }

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        _listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        let works = |tokens: &mut dyn Iterator<Item = LeaseToken>| tokens.map(|token| token.work.0).collect();
        let said = match FromWorker::parse(kind, payload).expect("a worker says what can be read") {
            FromWorker::Join(join) => Said::Join(join),
            FromWorker::Finished(reports) => Said::Finished(
                reports.first(),
                reports
                    .iter()
                    .map(|r| (r.token.work.0, r.reason, r.result.to_vec()))
                    .collect(),
            ),
            FromWorker::Started(tokens) => Said::Started(works(&mut tokens.iter())),
            FromWorker::Retracted(tokens) => Said::Retracted(tokens.reason(), works(&mut tokens.iter())),
            FromWorker::Draining(draining) => Said::Draining(draining.within),
            FromWorker::GrantAsked(tokens) => {
                let answer = GrantAnswer::Refused {
                    reason: "this engine of a test has no files".to_owned(),
                };
                for token in tokens.iter() {
                    let answer = answer.clone();
                    let mut granted = Vec::new();
                    push_control(&mut granted, kind::GRANTED, &Granted { token, answer });
                    let _ = links.send(link, &granted);
                }
                return Ok(());
            }
            FromWorker::Holding(holding) => Said::Holding(holding.problem),
            FromWorker::Renew(_) => unreachable!("this engine gives no certificates"),
            FromWorker::Log(log) => Said::Log(
                log.token.work.0,
                log.chunk.stream,
                log.chunk.offset,
                log.chunk.bytes.to_vec(),
            ),
            FromWorker::LogTold(tokens) => Said::LogTold(works(&mut tokens.iter())),
            FromWorker::WhyIdle => Said::WhyIdle,
            FromWorker::Ping => {
                self.pings.fetch_add(1, Ordering::Relaxed);
                let mut pong = Vec::new();
                push_empty(&mut pong, PONG);
                let _ = links.send(link, &pong);
                return Ok(());
            }
        };
        // The test may have seen enough.
        let _ = self.say.send(said);
        Ok(())
    }

    fn on_close(&mut self, _links: &mut Links, _link: LinkId, _reason: &str) {
        let _ = self.say.send(Said::Closed);
    }
}
