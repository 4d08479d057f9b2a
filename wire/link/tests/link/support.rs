//! A server on its own thread, whose owner obeys the frames it gets, and a client to send them.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wire_link::*;
use wire_protocol::frame::push;
use wire_protocol::ids::LinkId;

pub(crate) const ALPN: &[u8] = b"test/1";
pub(crate) const LISTENER: ListenerId = ListenerId(7);
/// Longer than anything takes, short enough for a hanging test to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Kinds of frames that the owner obeys; all others are sent back as they are.
pub(crate) const HELLO: u8 = 0;
pub(crate) const REFUSE_ME: u8 = 1;
pub(crate) const CLOSE_ME: u8 = 2;
pub(crate) const FLOOD_ME: u8 = 3;
pub(crate) const WHERE_AM_I: u8 = 4;
pub(crate) const KEYS: u8 = 5;
pub(crate) const FILL_ONCE: u8 = 6;
pub(crate) const IGNORE: u8 = 7;
pub(crate) const ECHO: u8 = 9;

/// What the owner saw.
#[derive(Debug, PartialEq, Eq, Clone)]
pub(crate) enum Seen {
    Opened(LinkId, Vec<u8>),
    Closed(LinkId, String),
    Full(LinkId),
    Gone(LinkId),
    Eased(LinkId),
}

/// Counts that the owner publishes after every turn.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) live: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_peak: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) buffered: AtomicU64,
    pub(crate) ignored: AtomicU64,
    pub(crate) turns: AtomicU64,
}

pub(crate) type Order = Box<dyn FnOnce(&mut Server) + Send>;

pub(crate) struct TestServer {
    pub(crate) addr: SocketAddr,
    pub(crate) folder: TempDir,
    pub(crate) seen: mpsc::Receiver<Seen>,
    pub(crate) counts: Arc<Counts>,
    orders: mpsc::Sender<Order>,
    waker: Arc<mio::Waker>,
    thread: Option<JoinHandle<()>>,
}

struct Owner {
    seen: mpsc::Sender<Seen>,
    counts: Arc<Counts>,
    frame: Vec<u8>,
}

impl Handler for Owner {
    fn on_open(&mut self, links: &mut Links, link: LinkId, peer: Peer) {
        assert_eq!(links.peer(link), Some(&peer));
        let _ = self.seen.send(Seen::Opened(link, peer.alpn.to_vec()));
    }

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        assert_eq!(links.peer(link).map(|peer| peer.listener), Some(listener));
        self.frame.clear();
        let answer = match kind {
            HELLO => {
                links.authenticated(link);
                payload.to_vec()
            }
            IGNORE => {
                self.counts.ignored.fetch_add(1, SeqCst);
                return Ok(());
            }
            REFUSE_ME => return Err(Close::new(0x123, "you asked for it")),
            CLOSE_ME => {
                push(&mut self.frame, kind, |out| out.resize(out.len() + 300_000, 1));
                let _ = links.send(link, &self.frame);
                links.close(link, 0x124, "as you wish");
                assert_eq!(links.send(link, &self.frame), SendStatus::Gone);
                return Ok(());
            }
            FLOOD_ME | FILL_ONCE => {
                push(&mut self.frame, kind, |out| out.resize(out.len() + 10_000, 1));
                let status = loop {
                    match links.send(link, &self.frame) {
                        SendStatus::Full if kind == FLOOD_ME => {}
                        SendStatus::Taken => {}
                        other => break other,
                    }
                };
                let seen = if status == SendStatus::Full {
                    Seen::Full(link)
                } else {
                    Seen::Gone(link)
                };
                let _ = self.seen.send(seen);
                return Ok(());
            }
            WHERE_AM_I => links
                .peer(link)
                .expect("it just spoke")
                .addr
                .to_string()
                .into_bytes(),
            KEYS => links
                .export_keying_material(link, b"test", payload)
                .expect("it just spoke")
                .to_vec(),
            _ => payload.to_vec(),
        };
        push(&mut self.frame, kind, |out| out.extend_from_slice(&answer));
        let _ = links.send(link, &self.frame);
        Ok(())
    }

    fn on_close(&mut self, links: &mut Links, link: LinkId, reason: &str) {
        assert_eq!(links.peer(link), None);
        let _ = self.seen.send(Seen::Closed(link, reason.to_owned()));
    }

    fn on_received(&mut self, _links: &mut Links, _link: LinkId) {
        self.counts.received.fetch_add(1, SeqCst);
    }

    fn on_eased(&mut self, _links: &mut Links, link: LinkId) {
        let _ = self.seen.send(Seen::Eased(link));
    }
}

impl TestServer {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        Self::at(
            "127.0.0.1:0".parse().unwrap(),
            tempfile::tempdir().unwrap(),
            change,
        )
    }

    pub(crate) fn at(addr: SocketAddr, folder: TempDir, change: impl FnOnce(&mut ServerConfig)) -> Self {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let identity = ServerIdentity::load_or_create(folder.path(), &names).unwrap();
        let mut config = ServerConfig::new(identity);
        config.listen(LISTENER, addr, &[ALPN]);
        change(&mut config);
        let server = Server::bind(config).unwrap();
        let (addr, waker) = (server.local_addr(LISTENER), server.waker());
        let (seen_by_owner, seen) = mpsc::channel();
        let (orders, orders_in) = mpsc::channel();
        let counts = Arc::new(Counts::default());
        let owner = Owner {
            seen: seen_by_owner,
            counts: Arc::clone(&counts),
            frame: Vec::new(),
        };
        let thread = std::thread::spawn(move || serve(server, owner, &orders_in));
        Self {
            addr,
            folder,
            seen,
            counts,
            orders,
            waker,
            thread: Some(thread),
        }
    }

    /// Has the server's thread do something between two turns.
    pub(crate) fn order(&self, order: impl FnOnce(&mut Server) + Send + 'static) {
        self.orders.send(Box::new(order)).unwrap();
        self.waker.wake().unwrap();
    }

    /// Ends the server without a word to its peers.
    pub(crate) fn kill(mut self) -> (SocketAddr, TempDir) {
        self.halt();
        let folder = std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap());
        (self.addr, folder)
    }

    pub(crate) fn connector(&self) -> Connector {
        self.connector_with(|_| {})
    }

    pub(crate) fn connector_with(&self, change: impl FnOnce(&mut ClientConfig)) -> Connector {
        let mut config = ClientConfig::new(Trust::Ca(self.folder.path().join("ca.pem")), ALPN);
        change(&mut config);
        Connector::new(config).unwrap()
    }

    /// A link that has said hello and was answered.
    pub(crate) async fn link(&self) -> Link {
        let mut link = self.connector().connect(self.addr, "localhost").await.unwrap();
        assert_eq!(ask(&mut link, HELLO, b"hi").await, b"hi");
        link
    }

    pub(crate) fn expect_seen(&self) -> Seen {
        self.seen
            .recv_timeout(PATIENCE)
            .expect("the owner sees something")
    }

    pub(crate) fn expect_opened(&self) -> LinkId {
        match self.expect_seen() {
            Seen::Opened(link, _) => link,
            other => panic!("{other:?} instead of Opened"),
        }
    }

    pub(crate) fn expect_closed(&self) -> (LinkId, String) {
        match self.expect_seen() {
            Seen::Closed(link, reason) => (link, reason),
            other => panic!("{other:?} instead of Closed"),
        }
    }

    /// Waits until the counts are so.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(&self.counts) {
            assert!(Instant::now() < deadline, "waited in vain for: {what}");
            self.waker.wake().unwrap();
            std::thread::yield_now();
        }
    }

    fn halt(&mut self) {
        let (gone, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.orders, gone));
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take()
            && let Err(panic) = thread.join()
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.halt();
    }
}

fn serve(mut server: Server, mut owner: Owner, orders: &mpsc::Receiver<Order>) {
    loop {
        match orders.try_recv() {
            Ok(order) => order(&mut server),
            Err(mpsc::TryRecvError::Empty) => {}
            Err(mpsc::TryRecvError::Disconnected) => return,
        }
        let turn = server.turn(None, &mut owner).unwrap();
        let counts = &owner.counts;
        let links = server.links();
        counts.live.store(links.len() as u64, SeqCst);
        counts.connections.store(links.connections() as u64, SeqCst);
        counts
            .connections_peak
            .fetch_max(links.connections() as u64, SeqCst);
        counts.buffered.store(links.buffered() as u64, SeqCst);
        counts.retries.fetch_add(turn.retries, SeqCst);
        counts.refused.fetch_add(turn.refused, SeqCst);
        counts.turns.fetch_add(1, SeqCst);
    }
}

pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    push(&mut frame, kind, |out| out.extend_from_slice(payload));
    frame
}

/// Sends one frame and waits for one.
pub(crate) async fn ask(link: &mut Link, kind: u8, payload: &[u8]) -> Vec<u8> {
    link.sender.send(&frame(kind, payload)).await.unwrap();
    let (answer_kind, answer) = next(link).await.unwrap().expect("an answer");
    assert_eq!(answer_kind, kind);
    answer
}

/// The next frame, of a server that sends one at a time; `None` at the orderly end.
pub(crate) async fn next(link: &mut Link) -> Result<Option<(u8, Vec<u8>)>, LinkError> {
    let mut found = None;
    let receive = link.receiver.recv(|kind, payload| {
        assert!(found.is_none(), "one frame at a time");
        found = Some((kind, payload.to_vec()));
        Ok::<(), LinkError>(())
    });
    let more = tokio::time::timeout(PATIENCE, receive).await.expect("in time")?;
    assert_eq!(more, found.is_some());
    Ok(found)
}

/// Runs a test on a small runtime of its own.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
    runtime.shutdown_background();
}
