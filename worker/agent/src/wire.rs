//! The link as the shell's loop sees it: closed, being made, or open; one thing to wait for in each case.
//!
//! ```text
//!   the shell's thread                             the links' thread
//!   ───────────────────                            ────────────────────────────────────────────────
//!   Wire::turn ◄── Arrived (bounded channel) ◄──── read: frames of the engine, as they come
//!   Wire::send ──► Outgoing (one buffer) ────────► write: what is queued, and a ping where nothing is
//! ```
//!
//! QUIC lives on a thread of its own ([`Connector`]): what keeps the shell's thread from its loop (an archive, a slow
//! disk, a flood of output) delays neither acknowledgements nor signs of life. So the engine, which counts both, does not
//! take a busy worker for a dead one. When the shell has stood still for [`STUCK_AFTER`] the link is closed: a worker that
//! will never report anything should not keep its leases, and QUIC would keep a link alive on which nobody says anything.

use std::error::Error;
use std::future::pending;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::{JoinHandle, yield_now};
use tokio::time::{Instant, timeout};
use wire_link::{Control, Link, LinkError, Receiver, Sender, code};
use wire_protocol::frame;
use wire_protocol::worker_link::{kind, push_empty};

/// Longest wait for the last frames to arrive when the worker leaves.
const FAREWELL: Duration = Duration::from_secs(2);

/// Capacity of a send buffer that is kept for the next time.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Reads that wait for the shell, of a hundred kilobytes or one frame each. Behind them the engine waits, too; it has
/// no more to say than the worker has credit for.
const ARRIVED_MAX: usize = 32;

/// A shell that has not come around for this long loses its link. Two minutes: a machine that swaps may stand still for
/// one. Tests have less time.
const STUCK_AFTER: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 120 });

/// The code with which a worker closes a link because of what one of the two said, or did not say.
pub(crate) const BROKEN_RULE: u32 = code::OWNER_FIRST;

/// What makes links to an engine, and the thread on which they live. Agents of one process may share one.
pub struct Connector {
    connector: Arc<wire_link::Connector>,
    thread: Arc<Thread>,
}

struct Thread {
    runtime: Handle,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

impl Connector {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system gives no thread, or no runtime.
    pub(crate) fn new(connector: wire_link::Connector) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .thread_name("link lookups")
            .build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || drop(runtime.block_on(ended)))?;
        let thread = Thread {
            runtime: handle,
            _alive: alive,
        };
        Ok(Self {
            connector: Arc::new(connector),
            thread: Arc::new(thread),
        })
    }

    /// One that makes links in another way, on the same thread: those that there are live on.
    pub(crate) fn with(&self, connector: wire_link::Connector) -> Self {
        Self {
            connector: Arc::new(connector),
            thread: Arc::clone(&self.thread),
        }
    }
}

pub(crate) enum Wire {
    Closed,
    Made(Made),
}

/// A link that is being made, or open.
pub(crate) struct Made {
    arrived: mpsc::Receiver<Arrived>,
    outgoing: Arc<Outgoing>,
    task: JoinHandle<()>,
    /// It has been made.
    open: bool,
}

/// What the links' thread tells the shell.
enum Arrived {
    Connected {
        channel: [u8; 32],
    },
    /// Whole frames.
    Frames(Vec<u8>),
    Lost(String),
}

/// What came of waiting.
pub(crate) enum Turn {
    Connected {
        /// Keying material of the link under the label of wallets: what is signed for this link is good for no other.
        channel: [u8; 32],
    },
    /// Frames were handed over.
    Frames,
    /// The link is gone, or could not be made.
    Lost(String),
}

impl Wire {
    /// Begins to connect.
    pub(crate) fn connect(connector: &Connector, engine: String, server_name: String) -> Self {
        let outgoing = Arc::new(Outgoing::default());
        let (say, arrived) = mpsc::channel(ARRIVED_MAX);
        let (links, orders) = (Arc::clone(&connector.connector), Arc::clone(&outgoing));
        let task = connector.thread.runtime.spawn(async move {
            let ended = match connect(&links, &engine, &server_name).await {
                Ok(link) => carry(link, &say, &orders).await,
                Err(problem) => problem,
            };
            // A shell that is gone does not want to know.
            let _ = say.send(Arrived::Lost(ended)).await;
        });
        Self::Made(Made {
            arrived,
            outgoing,
            task,
            open: false,
        })
    }

    /// Waits for the next thing to happen. Dropped halfway, nothing is lost.
    pub(crate) async fn turn(&mut self, on_frame: impl FnMut(u8, &[u8])) -> Turn {
        let Self::Made(made) = self else {
            return pending().await;
        };
        let arrived = made.arrived.recv().await;
        let gone = || Arrived::Lost("the links' thread is gone".to_owned());
        self.take(arrived.unwrap_or_else(gone), on_frame)
    }

    /// The next thing that has happened already; `None`: nothing has.
    pub(crate) fn try_turn(&mut self, on_frame: impl FnMut(u8, &[u8])) -> Option<Turn> {
        let Self::Made(made) = self else { return None };
        let arrived = made.arrived.try_recv().ok()?;
        Some(self.take(arrived, on_frame))
    }

    fn take(&mut self, arrived: Arrived, mut on_frame: impl FnMut(u8, &[u8])) -> Turn {
        match arrived {
            Arrived::Connected { channel } => {
                if let Self::Made(made) = self {
                    made.open = true;
                }
                Turn::Connected { channel }
            }
            Arrived::Frames(bytes) => {
                let mut rest = &bytes[..];
                while let Ok(Some((kind, payload, length))) = frame::split_first(rest) {
                    on_frame(kind, payload);
                    rest = &rest[length..];
                }
                Turn::Frames
            }
            Arrived::Lost(problem) => {
                *self = Self::Closed;
                Turn::Lost(problem)
            }
        }
    }

    /// Queues frames.
    pub(crate) fn send(&mut self, frames: &[u8]) {
        if let Self::Made(made) = self {
            made.outgoing
                .change(|queue| queue.bytes.extend_from_slice(frames));
        }
    }

    /// Bytes that are queued and that the link has not taken yet: it takes as many as the engine has a window for.
    pub(crate) fn backlog(&self) -> usize {
        match self {
            Self::Closed => 0,
            Self::Made(made) => made.outgoing.queue().backlog(),
        }
    }

    /// From now on something is said at least this often, also while the shell is busy.
    pub(crate) fn beat(&mut self, every: Duration) {
        if let Self::Made(made) = self {
            made.outgoing.change(|queue| queue.beat = Some(every));
        }
    }

    /// The shell's loop has come around.
    pub(crate) fn is_turning(&self) {
        if let Self::Made(made) = self {
            made.outgoing.turns.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes at once; what is queued is lost. One that is still being made is given up.
    pub(crate) fn close(&mut self, reason: &str) {
        if let Self::Made(mut made) = std::mem::replace(self, Self::Closed)
            && made.open
        {
            made.outgoing
                .change(|queue| queue.end = Some(End::Now(reason.to_owned())));
            made.arrived.close();
        }
    }

    /// Sends what is queued, waits until the engine has it, and closes.
    pub(crate) async fn finish(mut self) {
        let Self::Made(made) = &mut self else { return };
        if !made.open {
            return;
        }
        made.outgoing.change(|queue| queue.end = Some(End::Finish));
        // What the engine still says has no reader.
        made.arrived.close();
        // An engine that does not take it in time finds out by the lease.
        if timeout(2 * FAREWELL, &mut made.task).await.is_err() {
            made.task.abort();
        }
    }
}

impl Drop for Made {
    /// Whatever was not told to end by itself ends here.
    fn drop(&mut self) {
        if self.outgoing.queue().end.is_none() {
            self.task.abort();
        }
    }
}

/// What the shell wants of its link.
#[derive(Default)]
struct Outgoing {
    queue: Mutex<Queue>,
    changed: Notify,
    /// How often the shell's loop has come around.
    turns: AtomicU64,
}

#[derive(Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Bytes that the links' thread has taken out and not sent yet.
    sending: usize,
    beat: Option<Duration>,
    end: Option<End>,
}

#[derive(Clone)]
enum End {
    Now(String),
    Finish,
}

impl Queue {
    fn backlog(&self) -> usize {
        self.bytes.len() + self.sending
    }

    /// Takes out all that is queued, in exchange for a buffer whose bytes were sent.
    fn exchange(&mut self, sent: &mut Vec<u8>) {
        sent.clear();
        sent.shrink_to(KEPT_BYTES_MAX);
        std::mem::swap(&mut self.bytes, sent);
        self.sending = sent.len();
    }
}

impl Outgoing {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Queue)) {
        change(&mut self.queue());
        self.changed.notify_one();
    }

    /// Waits until the shell wants the link closed, whatever is still to be sent; the reason.
    async fn ended_now(&self) -> String {
        loop {
            if let Some(End::Now(reason)) = &self.queue().end {
                return reason.clone();
            }
            self.changed.notified().await;
        }
    }
}

async fn connect(connector: &wire_link::Connector, engine: &str, server_name: &str) -> Result<Link, String> {
    let addresses = tokio::net::lookup_host(engine)
        .await
        .map_err(|error| format!("{engine} cannot be looked up: {error}"))?;
    let mut problem = format!("{engine} has no address");
    for address in addresses {
        match connector.connect(address, server_name).await {
            Ok(link) => return Ok(link),
            Err(error) => problem = chain(&error),
        }
    }
    Err(problem)
}

/// Carries frames both ways until the link ends; says why it did.
async fn carry(link: Link, say: &mpsc::Sender<Arrived>, outgoing: &Outgoing) -> String {
    let Link {
        sender,
        mut receiver,
        control,
    } = link;
    let connected = Arrived::Connected {
        channel: control.export_keying_material(wire_wallet::LABEL, b""),
    };
    if say.send(connected).await.is_err() && outgoing.queue().end.is_none() {
        return "nobody waits for it".to_owned();
    }
    let writing = write(sender, &control, outgoing);
    tokio::select! {
        // What the engine said before it closed the link counts more than that it is closed.
        biased;
        lost = read(&mut receiver, say) => lost,
        ended = writing => ended,
    }
}

/// Reads until the link ends. Once the shell takes no more, what comes is dropped.
async fn read(receiver: &mut Receiver, say: &mpsc::Sender<Arrived>) -> String {
    loop {
        let mut frames = Vec::new();
        let received = receiver.recv(|kind, payload| {
            frame::push_header(&mut frames, kind, payload.len());
            frames.extend_from_slice(payload);
            Ok::<(), LinkError>(())
        });
        match received.await {
            Ok(true) => {}
            Ok(false) => return "the engine closed the link".to_owned(),
            Err(error) => return chain(&error),
        }
        let _ = say.send(Arrived::Frames(frames)).await;
        // An engine that never stops talking is still answered.
        yield_now().await;
    }
}

/// Writes what is queued, one buffer at a time, until the link breaks or the shell ends it.
async fn write(mut sender: Sender, control: &Control, outgoing: &Outgoing) -> String {
    let mut pulse = Pulse::new();
    let mut bytes = Vec::new();
    loop {
        let (beat, end) = {
            let mut queue = outgoing.queue();
            queue.exchange(&mut bytes);
            (queue.beat, queue.end.clone())
        };
        if let Some(End::Now(reason)) = end {
            control.close(BROKEN_RULE, &reason);
            return reason;
        }
        if !bytes.is_empty() {
            let sent = tokio::select! {
                sent = sender.send(&bytes) => sent,
                reason = outgoing.ended_now() => {
                    control.close(BROKEN_RULE, &reason);
                    return reason;
                }
            };
            if let Err(error) = sent {
                return chain(&error);
            }
            pulse.said = Instant::now();
            continue;
        }
        if end.is_some() {
            let _ = timeout(FAREWELL, sender.finish()).await;
            control.close(code::DONE, "the worker leaves");
            return "the worker leaves".to_owned();
        }
        tokio::select! {
            () = outgoing.changed.notified() => {}
            () = pulse.is_due(beat) => {
                pulse.said = Instant::now();
                if !pulse.may_beat(outgoing.turns.load(Ordering::Relaxed), Instant::now()) {
                    let reason = "the worker stands still";
                    control.close(BROKEN_RULE, reason);
                    return reason.to_owned();
                }
                push_empty(&mut outgoing.queue().bytes, kind::PING);
            }
        }
    }
}

/// When the links' thread speaks for a shell that is busy.
struct Pulse {
    /// When something was last said.
    said: Instant,
    /// The shell's turns when they last changed, and when that was.
    turns: u64,
    turned: Instant,
}

impl Pulse {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            said: now,
            turns: 0,
            turned: now,
        }
    }

    /// A quarter later than the shell would speak for itself: while it does, nothing is said twice.
    async fn is_due(&self, beat: Option<Duration>) {
        match beat {
            Some(beat) => tokio::time::sleep_until(self.said + beat + beat / 4).await,
            None => pending().await,
        }
    }

    fn may_beat(&mut self, turns: u64, now: Instant) -> bool {
        if self.turns != turns {
            (self.turns, self.turned) = (turns, now);
        }
        now - self.turned < STUCK_AFTER
    }
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::mpsc as std_mpsc;

    use wire_link::{
        ClientConfig, Close, Handler, Links, ListenerId, Peer, Server, ServerConfig, ServerIdentity, Trust,
        default_names,
    };
    use wire_protocol::ids::LinkId;
    use wire_protocol::worker_link::ALPN;

    use super::*;

    /// Takes everything, and says why links end.
    struct Listener(std_mpsc::Sender<String>);

    impl Handler for Listener {
        fn on_open(&mut self, links: &mut Links, link: LinkId, _peer: Peer) {
            links.authenticated(link);
        }

        fn on_frame(
            &mut self,
            _links: &mut Links,
            _link: LinkId,
            _listener: ListenerId,
            _kind: u8,
            _payload: &[u8],
        ) -> Result<(), Close> {
            Ok(())
        }

        fn on_close(&mut self, _links: &mut Links, _link: LinkId, reason: &str) {
            let _ = self.0.send(reason.to_owned());
        }
    }

    fn connector(folder: &std::path::Path) -> (Connector, ServerConfig) {
        let identity = ServerIdentity::load_or_create(folder, &default_names()).expect("a new CA");
        let ca = identity.ca_file().expect("it was made here").to_owned();
        let links = wire_link::Connector::new(ClientConfig::new(Trust::Ca(ca), ALPN));
        let connector = Connector::new(links.expect("a CA")).expect("a thread");
        (connector, ServerConfig::new(identity))
    }

    #[test]
    fn a_shell_that_stands_still_for_long_gives_no_more_signs_of_life() {
        let mut pulse = Pulse::new();
        let at = pulse.turned;
        assert!(pulse.may_beat(1, at));
        assert!(pulse.may_beat(1, at + STUCK_AFTER / 2), "it is busy");
        assert!(!pulse.may_beat(1, at + STUCK_AFTER), "it is stuck");
        assert!(pulse.may_beat(2, at + STUCK_AFTER), "it goes on");
    }

    #[tokio::test]
    async fn the_link_of_a_shell_that_stands_still_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (connector, mut config) = connector(folder.path());
        config.listen(ListenerId(0), ([127, 0, 0, 1], 0).into(), &[ALPN]);
        let mut server = Server::bind(config).expect("loopback is there");
        let engine = server.local_addr(ListenerId(0)).to_string();
        let (say, said) = std_mpsc::channel();
        std::thread::spawn(move || {
            let mut listener = Listener(say);
            // Until the test has ended, and with it this process.
            while server.turn(None, &mut listener).is_ok() {}
        });
        let mut wire = Wire::connect(&connector, engine, "localhost".to_owned());
        let connected = wire.turn(|_, _| {}).await;
        assert!(matches!(connected, Turn::Connected { .. }));
        wire.beat(Duration::from_millis(20));
        let Turn::Lost(reason) = wire.turn(|_, _| {}).await else {
            panic!("the engine says nothing");
        };
        assert_eq!(reason, "the worker stands still");
        let heard = said.recv_timeout(Duration::from_secs(20));
        let heard = heard.expect("the engine sees that it is closed");
        assert!(heard.contains(&reason), "{heard}");
    }

    #[tokio::test]
    async fn what_is_closed_while_it_connects_is_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let (connector, _) = connector(folder.path());
        let silent = UdpSocket::bind("127.0.0.1:0").expect("loopback is there");
        let engine = silent.local_addr().expect("it is bound").to_string();
        let mut wire = Wire::connect(&connector, engine, "localhost".to_owned());
        let Wire::Made(made) = &wire else {
            unreachable!("just begun");
        };
        let attempt = made.task.abort_handle();
        wire.close("the test wants it");
        let ended = async {
            while !attempt.is_finished() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        // An attempt takes ten seconds before it fails by itself.
        timeout(Duration::from_secs(5), ended)
            .await
            .expect("it ends at once");
    }

    #[test]
    fn what_waits_counts_until_the_link_has_taken_it() {
        let mut queue = Queue::default();
        let mut buffer = Vec::new();
        queue.bytes.extend_from_slice(&[0; 300]);
        assert_eq!(queue.backlog(), 300);
        queue.exchange(&mut buffer);
        queue.bytes.extend_from_slice(&[0; 20]);
        assert_eq!((queue.backlog(), buffer.len()), (320, 300));
        queue.exchange(&mut buffer);
        assert_eq!((queue.backlog(), buffer.len()), (20, 20));
        queue.exchange(&mut buffer);
        assert_eq!(queue.backlog(), 0);
    }
}
