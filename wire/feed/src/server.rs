//! The engine's side of the feed.
//!
//! The owner gives it a thread and calls [`FeedServer::turn`] in a loop. A turn waits for something to happen (a
//! socket, or a [`FeedWaker`] that says that more records are durable), does a bounded piece of work for each
//! connection, and returns with what happened. Sockets are watched edge-triggered: a connection remembers that
//! its socket may be read or written until the socket says otherwise, so a turn that stops in the middle goes on
//! in the next without waiting.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use mio::{Events, Interest, Poll, Token, Waker};
use wire_protocol::feed::{FeedRefused, Feeding, FromSubscriber, Subscribe, VERSION};
use wire_protocol::ids::{Lsn, Shard};
use wire_protocol::limits::NAME_BYTES_MAX;

use crate::connection::{Connection, Ended, Stage};
use crate::limits::{ACCEPTS_PER_TURN, CONNECTIONS_MAX, SUBSCRIBERS_MAX};
use crate::positions::{Positions, SubscriberStatus};
use crate::socket::{self, BindError, Socket};
use crate::source::{ReadError, RecordSource};

const LISTENER: Token = Token(usize::MAX);
const WAKER: Token = Token(usize::MAX - 1);

/// Feeds the records of one journal to any number of subscribers.
#[derive(Debug)]
pub struct FeedServer {
    poll: Poll,
    events: Events,
    waking: Arc<Waking>,
    socket: Socket,
    shard: Shard,
    /// Connections by token; a place that is left is taken by the next.
    connections: Vec<Option<Connection>>,
    connections_total: u64,
    /// Somebody may be waiting to be accepted.
    acceptable: bool,
    positions: Positions,
}

/// Ends the wait of [`FeedServer::turn`], from any thread.
#[derive(Clone, Debug)]
pub struct FeedWaker(Arc<Waking>);

#[derive(Debug)]
struct Waking {
    waker: Waker,
    /// Somebody is connected, who may be waiting for records.
    listened_to: AtomicBool,
}

impl FeedWaker {
    /// Says that the owner wants its thread back. Many calls may end one wait.
    ///
    /// # Errors
    /// The operating system refuses, which it does not do while the server lives.
    pub fn wake(&self) -> io::Result<()> {
        self.0.waker.wake()
    }

    /// Says that more records are durable, after [`RecordSource::durable`] says so too. Costs one small system call
    /// and wakes a thread, so say it once a commit, not once a record; with nobody connected it costs nothing.
    ///
    /// # Errors
    /// Those of [`Self::wake`].
    pub fn more_durable(&self) -> io::Result<()> {
        // Either this sees that somebody is connected, or the server, which looks how far records are durable after
        // it has said so, sees these records: the two fences are in one order.
        fence(Ordering::SeqCst);
        if self.0.listened_to.load(Ordering::Relaxed) {
            self.wake()?;
        }
        Ok(())
    }
}

/// What happened in a turn, for the owner's log.
#[derive(Debug)]
pub enum FeedEvent {
    /// A subscriber is fed from here on.
    Subscribed {
        /// Its name.
        name: String,
        /// It has the records up to this one.
        after: Lsn,
    },
    /// A connection ended.
    Closed {
        /// The subscriber, if it had been welcomed.
        name: Option<String>,
        /// Why; it was told, unless it was gone already.
        reason: String,
    },
    /// The journal could not be read for a subscriber, which was closed.
    ReadFailed {
        /// The subscriber.
        name: String,
        /// What the source said.
        error: ReadError,
    },
    /// A connection could not be accepted; it is tried again in the next turn.
    AcceptFailed(io::Error),
}

impl FeedServer {
    /// Listens at `path` with mode 0600, and replaces the socket that a crashed engine left there. `known` are
    /// the positions that the owner persisted, see [`Self::positions`].
    ///
    /// # Errors
    /// The socket cannot be made; each variant names the cure.
    pub fn bind(
        path: &Path,
        shard: Shard,
        known: impl IntoIterator<Item = (String, Lsn)>,
    ) -> Result<Self, BindError> {
        let failed = |step| {
            move |source| BindError::Io {
                step,
                path: path.to_owned(),
                source,
            }
        };
        let mut socket = socket::listen(path)?;
        let poll = Poll::new().map_err(failed("watch"))?;
        poll.registry()
            .register(&mut socket.listener, LISTENER, Interest::READABLE)
            .map_err(failed("watch"))?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(failed("make the waker of"))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(2 * CONNECTIONS_MAX),
            waking: Arc::new(Waking {
                waker,
                listened_to: AtomicBool::new(false),
            }),
            socket,
            shard,
            connections: Vec::new(),
            connections_total: 0,
            acceptable: true,
            positions: Positions::new(known),
        })
    }

    /// A handle that ends the wait of [`Self::turn`].
    #[must_use]
    pub fn waker(&self) -> FeedWaker {
        FeedWaker(Arc::clone(&self.waking))
    }

    /// Waits until something happens, at most `timeout` (`None`: as long as it takes), then does a bounded piece
    /// of work for each connection. What happened is appended to `happened`.
    ///
    /// # Errors
    /// Waiting failed, which leaves the owner nothing but to give up the feed. Whatever goes wrong with one
    /// connection closes that one and is an event.
    ///
    /// # Panics
    /// If `source` breaks its contract: a gap, or a record that is not durable.
    pub fn turn(
        &mut self,
        source: &impl RecordSource,
        timeout: Option<Duration>,
        happened: &mut Vec<FeedEvent>,
    ) -> io::Result<()> {
        let somebody = self.connections.iter().any(Option::is_some);
        self.waking.listened_to.store(somebody, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let durable = source.durable();
        let busy = self
            .connections
            .iter()
            .flatten()
            .any(|it| it.has_more_to_do(durable));
        let timeout = if busy { Some(Duration::ZERO) } else { timeout };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.events.clear(),
            Err(error) => return Err(error),
        }
        for event in &self.events {
            match event.token() {
                LISTENER => self.acceptable = true,
                WAKER => {}
                Token(place) => {
                    // A place that was left in between has no connection, or a newer one that finds nothing.
                    if let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) {
                        connection.on_event(event);
                    }
                }
            }
        }
        if self.acceptable {
            self.accept(source, happened);
        }
        for place in 0..self.connections.len() {
            self.serve(place, source, happened);
        }
        Ok(())
    }

    /// All known subscribers with what they acknowledged, in order of their names. The owner persists them, and
    /// hands them to [`Self::bind`] at the next start; older ones do no harm, they only keep more on disk.
    pub fn positions(&self) -> impl Iterator<Item = (&str, Lsn)> {
        self.positions.iter()
    }

    /// The positions have changed since this was last asked.
    pub fn take_positions_changed(&mut self) -> bool {
        self.positions.take_changed()
    }

    /// The lowest position that a known subscriber has acknowledged, connected or not: records behind it must be
    /// kept. `None`: nobody is known, the feed holds nothing back.
    #[must_use]
    pub fn floor(&self) -> Option<Lsn> {
        self.positions.floor()
    }

    /// How far each known subscriber is, in order of their names.
    pub fn subscribers(&self) -> impl Iterator<Item = SubscriberStatus<'_>> {
        self.positions.iter().map(|(name, acknowledged)| {
            let sent = self.connections.iter().flatten().find_map(|it| match &it.stage {
                Stage::Feeding { name: fed, sent } if fed == name => Some(*sent),
                _ => None,
            });
            SubscriberStatus {
                name,
                acknowledged,
                sent,
            }
        })
    }

    /// Forgets a subscriber that will not come back, so that it no longer holds back retention. One that is
    /// connected is closed, and known again once it reconnects. `false`: nobody has that name.
    pub fn forget(&mut self, name: &str, source: &impl RecordSource) -> bool {
        let known = self.positions.forget(name);
        if let Some(place) = self.place_of(name) {
            self.refuse(
                place,
                "this subscriber was forgotten by an operator",
                source,
                &mut Vec::new(),
            );
        }
        known
    }

    /// Tells every subscriber why the feed ends and closes it. Whoever does not read at this moment finds the
    /// socket closed instead.
    pub fn close(mut self, reason: &str, source: &impl RecordSource) {
        for connection in self.connections.iter_mut().flatten() {
            connection.refuse(&FeedRefused {
                reason: reason.to_owned(),
                first: source.first(),
            });
            // The connection is gone in a moment either way.
            let _ = connection.flush();
        }
    }

    fn place_of(&self, name: &str) -> Option<usize> {
        self.connections
            .iter()
            .position(|it| it.as_ref().is_some_and(|it| it.name() == Some(name)))
    }

    fn accept(&mut self, source: &impl RecordSource, happened: &mut Vec<FeedEvent>) {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.socket.listener.accept() {
                Ok((stream, _)) => self.admit(stream, source, happened),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.acceptable = false;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Mostly a want of file descriptors. It stays acceptable, so the next turn tries again.
                Err(error) => {
                    happened.push(FeedEvent::AcceptFailed(error));
                    return;
                }
            }
        }
    }

    /// Gives a newcomer a place. Where all are taken, whoever has been there longest without being fed makes room.
    fn admit(
        &mut self,
        stream: mio::net::UnixStream,
        source: &impl RecordSource,
        happened: &mut Vec<FeedEvent>,
    ) {
        self.connections_total += 1;
        let mut newcomer = Connection::new(stream, self.connections_total);
        let free = self.connections.iter().position(Option::is_none);
        let Some(place) = free.or_else(|| self.make_room(happened)) else {
            let reason = format!("{CONNECTIONS_MAX} subscribers are connected, which is the limit");
            newcomer.refuse(&FeedRefused {
                reason: reason.clone(),
                first: source.first(),
            });
            // It is closed either way.
            let _ = newcomer.flush();
            happened.push(FeedEvent::Closed { name: None, reason });
            return;
        };
        let interest = Interest::READABLE | Interest::WRITABLE;
        match self
            .poll
            .registry()
            .register(&mut newcomer.stream, Token(place), interest)
        {
            Ok(()) => self.connections[place] = Some(newcomer),
            Err(error) => happened.push(FeedEvent::AcceptFailed(error)),
        }
    }

    fn make_room(&mut self, happened: &mut Vec<FeedEvent>) -> Option<usize> {
        if self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(None);
            return Some(self.connections.len() - 1);
        }
        let (_, place) = self
            .connections
            .iter()
            .enumerate()
            .filter_map(|(place, it)| it.as_ref().map(|it| (it, place)))
            .filter(|(it, _)| it.name().is_none())
            .map(|(it, place)| (it.number, place))
            .min()?;
        self.drop_connection(place, "another needs its place".to_owned(), happened);
        Some(place)
    }

    fn serve(&mut self, place: usize, source: &impl RecordSource, happened: &mut Vec<FeedEvent>) {
        let Some(connection) = self.connections[place].as_mut() else {
            return;
        };
        let mut requests = Vec::new();
        let received = connection.receive(&mut requests);
        // What was said before the end counts.
        for request in requests {
            self.on_request(place, request, source, happened);
        }
        if let Err(ended) = received {
            self.end(place, ended, source, happened);
        }
        self.send(place, source, happened);
    }

    fn send(&mut self, place: usize, source: &impl RecordSource, happened: &mut Vec<FeedEvent>) {
        let Some(connection) = self.connections[place].as_mut() else {
            return;
        };
        match connection.send(source) {
            Ok(false) => {}
            Ok(true) => self.connections[place] = None,
            Err(ended) => self.end(place, ended, source, happened),
        }
    }

    fn end(&mut self, place: usize, ended: Ended, source: &impl RecordSource, happened: &mut Vec<FeedEvent>) {
        match ended {
            Ended::Gone(reason) => self.drop_connection(place, reason, happened),
            Ended::Violation(reason) => self.refuse(place, &reason, source, happened),
            Ended::Read(error) => {
                let name = self.connections[place].as_ref().and_then(Connection::name);
                let name = name.unwrap_or_default().to_owned();
                self.refuse(place, &error.to_string(), source, happened);
                happened.push(FeedEvent::ReadFailed { name, error });
            }
        }
    }

    fn on_request(
        &mut self,
        place: usize,
        request: FromSubscriber,
        source: &impl RecordSource,
        happened: &mut Vec<FeedEvent>,
    ) {
        let Some(connection) = self.connections[place].as_ref() else {
            return;
        };
        match (&connection.stage, request) {
            (Stage::Greeting, FromSubscriber::Subscribe(subscribe)) => {
                self.on_subscribe(place, subscribe, source, happened);
            }
            (Stage::Feeding { name, sent }, FromSubscriber::Acknowledge(upto)) => {
                if upto > *sent {
                    let reason = format!("{upto} is acknowledged, but only {sent} was sent");
                    self.refuse(place, &reason, source, happened);
                } else {
                    self.positions.advance(name, upto);
                }
            }
            (Stage::Greeting, FromSubscriber::Acknowledge(_)) => {
                self.refuse(
                    place,
                    "the first message of a subscriber is its greeting",
                    source,
                    happened,
                );
            }
            (Stage::Feeding { .. }, FromSubscriber::Subscribe(_)) => {
                self.refuse(place, "this connection is subscribed already", source, happened);
            }
            // What it said before it knew.
            (Stage::Closing, _) => {}
        }
    }

    fn on_subscribe(
        &mut self,
        place: usize,
        subscribe: Subscribe,
        source: &impl RecordSource,
        happened: &mut Vec<FeedEvent>,
    ) {
        if let Err(reason) = self.check(&subscribe, source) {
            self.refuse(place, &reason, source, happened);
            return;
        }
        let Subscribe { name, after, .. } = subscribe;
        if let Some(older) = self.place_of(&name) {
            let reason = format!("another connection has subscribed as `{name}`");
            self.refuse(older, &reason, source, happened);
            self.send(older, source, happened);
        }
        self.positions.set(&name, after);
        let feeding = Feeding {
            version: VERSION,
            shard: self.shard,
            durable: source.durable(),
        };
        let connection = self.connections[place].as_mut().expect("it has just spoken");
        connection.feed(name.clone(), after, &feeding);
        happened.push(FeedEvent::Subscribed { name, after });
    }

    /// Why a subscription cannot be served.
    fn check(&self, subscribe: &Subscribe, source: &impl RecordSource) -> Result<(), String> {
        let Subscribe { version, name, after } = subscribe;
        let (first, durable) = (source.first(), source.durable());
        if *version != VERSION {
            return Err(format!(
                "this engine speaks version {VERSION} of the feed, not {version}"
            ));
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!(
                "a subscriber's name is 1 to {NAME_BYTES_MAX} visible ASCII characters"
            ));
        }
        if !self.positions.admits(name) {
            return Err(format!(
                "{SUBSCRIBERS_MAX} subscribers are known, which is the limit; forget one that will not come back"
            ));
        }
        if *after > durable {
            return Err(format!(
                "the journal ends at {durable}, before {after}: it is not the journal that `{name}` followed"
            ));
        }
        if after.next() < first {
            return Err(format!(
                "the records behind {after} are gone, {first} is the first that is kept; start over from a copy"
            ));
        }
        Ok(())
    }

    fn refuse(
        &mut self,
        place: usize,
        reason: &str,
        source: &impl RecordSource,
        happened: &mut Vec<FeedEvent>,
    ) {
        if let Some(connection) = self.connections[place].as_mut() {
            let name = connection.name().map(str::to_owned);
            connection.refuse(&FeedRefused {
                reason: reason.to_owned(),
                first: source.first(),
            });
            happened.push(FeedEvent::Closed {
                name,
                reason: reason.to_owned(),
            });
        }
    }

    fn drop_connection(&mut self, place: usize, reason: String, happened: &mut Vec<FeedEvent>) {
        let Some(connection) = self.connections[place].take() else {
            return;
        };
        // One that is closing was reported when it began to close.
        if !matches!(connection.stage, Stage::Closing) {
            happened.push(FeedEvent::Closed {
                name: connection.name().map(str::to_owned),
                reason,
            });
        }
    }
}
