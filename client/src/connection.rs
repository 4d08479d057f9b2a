//! A link that comes back by itself.
//!
//! ```text
//!            connect ── fails ──► error to the caller
//!               │
//!               ▼
//!   ┌──────►   Up  ── lost ──► Down ── refused for good ──► Closed
//!   │                           │
//!   └── connected, logged in ◄──┘ (backoff with jitter)
//! ```
//!
//! One task drives it: it connects, reads and writes, and ends when the last [`Client`] is dropped.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use wire_link::{ClientConfig, ConnectError, Connector, Link, LinkError, Receiver, Sender, Trust};
use wire_protocol::client_link::{ALPN, Login, RequestId, ToClient, Welcome, kind};
use wire_protocol::codec::{DecodeError, put_control};
use wire_protocol::frame;
use wire_protocol::view::Reply;
use wire_protocol::worker_link::{Refused, RefusedCode};

use crate::error::ClientError;
use crate::outgoing::{Batch, Frames};
use crate::routes::{AnswerSender, Entry, Route, Routes, Setback};

/// How and as whom to connect.
#[derive(Clone)]
pub struct ConnectOptions {
    /// The engine's client address.
    pub addr: SocketAddr,
    /// Name that the engine's certificate must carry. Default `localhost`.
    pub server_name: String,
    /// Whom to believe to be the engine.
    pub trust: Trust,
    /// Account.
    pub login: String,
    /// Its password.
    pub password: String,
    /// Name and version of the program, for the engine's log. Default: this crate's.
    pub agent: String,
    /// Time for the first connection with its login. Default 5 s.
    pub connect_timeout: Duration,
    /// Time for the answer to a query or a command, a reconnection in the middle included. Default 30 s.
    pub timeout: Duration,
    /// How long a submission or a follower waits for an engine that is away before it gives up. Default 60 s.
    pub patience: Duration,
    /// Largest UDP payload. Default 1452; more on loopback costs less CPU per byte.
    pub mtu_max: u16,
}

impl ConnectOptions {
    /// The defaults.
    #[must_use]
    pub fn new(addr: SocketAddr, trust: Trust, login: &str, password: &str) -> Self {
        Self {
            addr,
            server_name: "localhost".to_owned(),
            trust,
            login: login.to_owned(),
            password: password.to_owned(),
            agent: concat!("client ", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            patience: Duration::from_secs(60),
            mtu_max: 1452,
        }
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("addr", &self.addr)
            .field("server_name", &self.server_name)
            .field("trust", &self.trust)
            .field("login", &self.login)
            .field("password", &"…")
            .finish_non_exhaustive()
    }
}

/// Frames handed to the writer and not yet taken by it; more make their senders wait.
const FRAMES_QUEUED_MAX: usize = 64;
/// Bytes that the writer gives to the link in one piece, unless a single frame is longer.
const WRITE_BYTES: usize = 256 << 10;
/// A sign of life after this long without traffic. A restarted engine answers it with a reset, so a follower that
/// only waits finds out within this time that it must connect again.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// Wait before the first reconnection; each further one waits twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(50);
/// The longest wait.
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// A connection to an engine. Clones share it; it is closed when the last is dropped.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    _driver: Arc<Driver>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("addr", &self.addr())
            .finish_non_exhaustive()
    }
}

struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Shared {
    connector: Arc<Connector>,
    options: ConnectOptions,
    routes: Arc<Routes>,
    state: watch::Sender<State>,
}

#[derive(Clone)]
enum State {
    Up(Connection),
    Down { last: Option<Arc<ClientError>> },
    Closed(ClientError),
}

/// What a request needs of the connection that it is sent on.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    generation: u64,
    frames: mpsc::Sender<Frames>,
    welcome: Arc<Welcome>,
}

impl Connection {
    /// Hands whole frames to the writer. `false`: the connection is gone.
    pub(crate) async fn send(&self, frames: impl Into<Frames>) -> bool {
        self.frames.send(frames.into()).await.is_ok()
    }

    /// The same for what may be left unsaid: if there is room.
    pub(crate) fn try_send(&self, frames: impl Into<Frames>) {
        let _ = self.frames.try_send(frames.into());
    }
}

impl Client {
    /// Connects and logs in; an engine that is starting or busy is tried again until
    /// [`ConnectOptions::connect_timeout`].
    ///
    /// # Errors
    /// [`ClientError::NobodyListens`] at once if the machine says so; otherwise the last reason when the
    /// time is over, or the first one that waiting does not help.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn connect(options: ConnectOptions) -> Result<Self, ClientError> {
        let mut config = ClientConfig::new(options.trust.clone(), ALPN);
        config.connect_timeout = options.connect_timeout;
        config.keep_alive = Some(KEEP_ALIVE);
        config.mtu_max = options.mtu_max;
        let connector = Connector::new(config).map_err(|error| ClientError::Config(Arc::new(error)))?;
        Self::connect_by(Arc::new(connector), options).await
    }

    /// A further connection like this one, on the same UDP socket: for a program that speaks for many and wants a
    /// connection for each, at a fraction of what sockets of their own cost.
    ///
    /// # Errors
    /// Those of [`Client::connect`].
    ///
    /// # Panics
    /// Outside the tokio runtime of this one.
    pub async fn another(&self) -> Result<Self, ClientError> {
        Self::connect_by(Arc::clone(&self.shared.connector), self.shared.options.clone()).await
    }

    async fn connect_by(connector: Arc<Connector>, options: ConnectOptions) -> Result<Self, ClientError> {
        let session = tokio::select! {
            session = first_session(&connector, &options) => session?,
            () = nobody_listens(options.addr) => return Err(ClientError::NobodyListens { addr: options.addr }),
        };
        let (state, _) = watch::channel(State::Down { last: None });
        let shared = Arc::new(Shared {
            connector,
            options,
            routes: Arc::new(Routes::default()),
            state,
        });
        let connection = shared.open(1, &session.welcome);
        let driver = tokio::spawn(drive(Arc::clone(&shared), session, connection));
        Ok(Self {
            shared,
            _driver: Arc::new(Driver(driver)),
        })
    }

    /// What the engine said of itself when the link was last opened. `None` while there is no link.
    #[must_use]
    pub fn engine(&self) -> Option<Welcome> {
        match &*self.shared.state.borrow() {
            State::Up(connection) => Some((*connection.welcome).clone()),
            _ => None,
        }
    }

    /// Where the engine is.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.shared.options.addr
    }

    /// Closes the link now, for all clones, so that the engine need not wait for its idle timeout to notice.
    pub async fn close(self) {
        self.shared.state.send_replace(State::Closed(ClientError::Away {
            addr: self.addr(),
            after: Duration::ZERO,
            last: None,
        }));
        self._driver.0.abort();
        // The close leaves when QUIC's own tasks have run.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// It was closed for good, or is away for longer than `patience`.
    pub(crate) async fn up(&self, patience: Duration) -> Result<Connection, ClientError> {
        let mut state = self.shared.state.subscribe();
        let wait = state.wait_for(|state| !matches!(state, State::Down { .. }));
        if let Ok(Ok(state)) = timeout(patience, wait).await {
            match &*state {
                State::Up(connection) => return Ok(connection.clone()),
                State::Closed(error) => return Err(error.clone()),
                State::Down { .. } => {}
            }
        }
        Err(self.away(patience))
    }

    pub(crate) fn patience(&self) -> Duration {
        self.shared.options.patience
    }

    pub(crate) fn enter(&self, connection: &Connection, route: Route) -> Option<Entry> {
        self.shared.routes.enter(connection.generation, route)
    }

    /// Asks until there is an answer: again after a loss of the link and when the engine is busy. `frame`
    /// appends the request under its number, `route` makes the entry that the answer goes to.
    pub(crate) async fn ask(
        &self,
        what: &'static str,
        frame: impl Fn(RequestId, &mut Vec<u8>),
        route: impl Fn(AnswerSender) -> Route,
    ) -> Result<(Reply, Entry), ClientError> {
        let patience = self.shared.options.timeout;
        let mut busy = None;
        let asking = async {
            loop {
                let connection = self.up(patience).await?;
                let (sender, answer) = oneshot::channel();
                let Some(entry) = self.enter(&connection, route(sender)) else {
                    continue;
                };
                let mut frames = Vec::new();
                frame(entry.request, &mut frames);
                if !connection.send(frames).await {
                    continue;
                }
                match answer.await {
                    Ok(Ok(reply)) => return Ok((reply, entry)),
                    Ok(Err(Setback::Rejected(invalid))) => return Err(ClientError::Rejected(invalid)),
                    Ok(Err(Setback::Busy(said))) => {
                        let wait = said.retry_after.to_duration();
                        busy = Some(said);
                        sleep(wait).await;
                    }
                    Ok(Err(Setback::Lost)) | Err(_) => {}
                }
            }
        };
        match timeout(patience, asking).await {
            Ok(Ok((Reply::NotFound { what }, _))) => Err(ClientError::NotFound { what }),
            Ok(Ok((Reply::Conflict(invalid), _))) => Err(ClientError::Conflict(invalid)),
            Ok(answered) => answered,
            Err(_) => Err(match (busy, &*self.shared.state.borrow()) {
                (_, State::Down { .. }) => self.away(patience),
                (Some(busy), _) => ClientError::Busy {
                    limit: busy.limit,
                    retry_after: busy.retry_after,
                },
                (None, _) => ClientError::Timeout {
                    what,
                    after: patience,
                },
            }),
        }
    }

    /// The error for an answer that does not fit its question.
    pub(crate) fn broken(&self, problem: impl Into<String>) -> ClientError {
        ClientError::Protocol {
            addr: self.addr(),
            problem: problem.into(),
        }
    }

    fn away(&self, after: Duration) -> ClientError {
        let last = match &*self.shared.state.borrow() {
            State::Down { last } => last.clone(),
            _ => None,
        };
        ClientError::Away {
            addr: self.addr(),
            after,
            last,
        }
    }
}

/// A link on which the login was accepted.
struct Session {
    link: Link,
    welcome: Welcome,
}

impl Shared {
    /// Makes the table and the state those of a new connection, and returns what its writer reads.
    fn open(&self, generation: u64, welcome: &Welcome) -> mpsc::Receiver<Frames> {
        let (frames, queued) = mpsc::channel(FRAMES_QUEUED_MAX);
        self.routes.open(generation);
        let welcome = Arc::new(welcome.clone());
        self.state.send_replace(State::Up(Connection {
            generation,
            frames,
            welcome,
        }));
        queued
    }
}

/// Runs the first session, and one after the other until the engine refuses for good.
async fn drive(shared: Arc<Shared>, first: Session, queued: mpsc::Receiver<Frames>) {
    let mut generation = 1;
    let mut session = first;
    let mut queued = queued;
    loop {
        let ended = converse(&shared, session, queued).await;
        if let Err(error) = ended {
            close(&shared, error);
            return;
        }
        shared.state.send_replace(State::Down { last: None });
        shared.routes.lose();
        session = match next_session(&shared).await {
            Ok(session) => session,
            Err(error) => {
                close(&shared, error);
                return;
            }
        };
        generation += 1;
        queued = shared.open(generation, &session.welcome);
    }
}

fn close(shared: &Shared, error: ClientError) {
    shared.state.send_replace(State::Closed(error));
    shared.routes.lose();
}

/// Reads and writes until the link is lost.
///
/// # Errors
/// The engine broke the protocol.
async fn converse(
    shared: &Shared,
    session: Session,
    queued: mpsc::Receiver<Frames>,
) -> Result<(), ClientError> {
    let Link {
        sender,
        receiver,
        control,
    } = session.link;
    let ended = tokio::select! {
        ended = read(&shared.routes, receiver) => ended,
        () = write(sender, queued) => Ok(()),
    };
    control.close(wire_link::code::DONE, "");
    ended.map_err(|problem| ClientError::Protocol {
        addr: shared.options.addr,
        problem: problem.to_string(),
    })
}

/// Why reading ended.
enum ReadEnd {
    Link,
    Malformed(DecodeError),
}

impl From<LinkError> for ReadEnd {
    fn from(_: LinkError) -> Self {
        Self::Link
    }
}

async fn read(routes: &Routes, mut receiver: Receiver) -> Result<(), DecodeError> {
    loop {
        let mut piles_up = false;
        let on_frame = |kind: u8, payload: &[u8]| {
            piles_up |= routes.dispatch(kind, payload).map_err(ReadEnd::Malformed)?;
            Ok(())
        };
        match receiver.recv(on_frame).await {
            Ok(true) => {}
            Ok(false) | Err(ReadEnd::Link) => return Ok(()),
            Err(ReadEnd::Malformed(problem)) => return Err(problem),
        }
        if piles_up {
            tokio::task::yield_now().await;
        }
    }
}

async fn write(mut sender: Sender, mut queued: mpsc::Receiver<Frames>) {
    let mut batch = Batch::default();
    while let Some(frames) = queued.recv().await {
        batch.push(frames);
        while batch.bytes() < WRITE_BYTES {
            let Ok(more) = queued.try_recv() else { break };
            batch.push(more);
        }
        if sender.send_shared(batch.pieces()).await.is_err() {
            return;
        }
        batch.clear();
    }
}

/// The first session: whatever waiting can cure is tried again until the time is over.
async fn first_session(connector: &Connector, options: &ConnectOptions) -> Result<Session, ClientError> {
    let deadline = Instant::now() + options.connect_timeout;
    let mut backoff = BACKOFF_MIN;
    loop {
        let (error, wait) = match establish(connector, options).await {
            Ok(session) => return Ok(session),
            Err(failed) => failed,
        };
        let wait = wait.max(jittered(backoff));
        backoff = (backoff * 2).min(BACKOFF_MAX);
        if !error.is_transient() || Instant::now() + wait >= deadline {
            return Err(error);
        }
        sleep(wait).await;
    }
}

/// The next session; tried for as long as somebody holds the client.
async fn next_session(shared: &Shared) -> Result<Session, ClientError> {
    let mut backoff = BACKOFF_MIN;
    loop {
        sleep(jittered(backoff)).await;
        backoff = (backoff * 2).min(BACKOFF_MAX);
        let attempt = tokio::select! {
            attempt = establish(&shared.connector, &shared.options) => attempt,
            // A restarting engine listens again within moments: QUIC's own repeats come later than ours.
            () = nobody_listens(shared.options.addr) => {
                Err((ClientError::NobodyListens { addr: shared.options.addr }, Duration::ZERO))
            }
        };
        match attempt {
            Ok(session) => return Ok(session),
            Err((error, _)) if !error.is_transient() => return Err(error),
            Err((error, wait)) => {
                shared.state.send_replace(State::Down {
                    last: Some(Arc::new(error)),
                });
                sleep(wait).await;
            }
        }
    }
}

/// Connects and logs in once; a failure says how long the engine wants to be left alone.
async fn establish(
    connector: &Connector,
    options: &ConnectOptions,
) -> Result<Session, (ClientError, Duration)> {
    let addr = options.addr;
    let failed = |source: ConnectError| {
        (
            ClientError::Connect {
                addr,
                source: Arc::new(source),
            },
            Duration::ZERO,
        )
    };
    let mut link = connector
        .connect(addr, &options.server_name)
        .await
        .map_err(failed)?;
    match timeout(options.connect_timeout, log_in(&mut link, options)).await {
        Ok(Ok(Ok(welcome))) => Ok(Session { link, welcome }),
        Ok(Ok(Err(refused))) => Err(refusal(refused, options)),
        Ok(Err(Some(problem))) => Err((
            ClientError::Protocol {
                addr,
                problem: problem.to_string(),
            },
            Duration::ZERO,
        )),
        Ok(Err(None)) | Err(_) => Err(failed(ConnectError::Silent { addr })),
    }
}

/// The engine's answer to a login. `Err(None)`: the link was lost over it.
async fn log_in(
    link: &mut Link,
    options: &ConnectOptions,
) -> Result<Result<Welcome, Refused>, Option<DecodeError>> {
    let login = Login {
        login: options.login.clone(),
        password: options.password.clone(),
        agent: options.agent.clone(),
    };
    let mut frames = Vec::new();
    frame::push(&mut frames, kind::LOGIN, |out| put_control(out, &login));
    link.sender.send(&frames).await.map_err(|_| None)?;
    let mut answer = None;
    let on_frame = |kind: u8, payload: &[u8]| {
        let message = ToClient::parse(kind, payload).map_err(ReadEnd::Malformed)?;
        match message {
            ToClient::Welcome(welcome) => answer = Some(Ok(welcome)),
            ToClient::Refused(refused) => answer = Some(Err(refused)),
            _ => return Err(ReadEnd::Malformed(DecodeError::UnknownKind { kind })),
        }
        Ok(())
    };
    match link.receiver.recv(on_frame).await {
        Err(ReadEnd::Malformed(problem)) => Err(Some(problem)),
        // A refusal counts even if the link ended right behind it.
        _ => answer.ok_or(None),
    }
}

fn refusal(refused: Refused, options: &ConnectOptions) -> (ClientError, Duration) {
    let Refused {
        code,
        reason,
        retry_after,
    } = refused;
    let addr = options.addr;
    let error = match code {
        RefusedCode::Credentials => ClientError::Credentials {
            addr,
            login: options.login.clone(),
            reason,
        },
        RefusedCode::Busy | RefusedCode::ShuttingDown => ClientError::Refused {
            addr,
            reason,
            transient: true,
        },
        RefusedCode::Invalid => ClientError::Refused {
            addr,
            reason,
            transient: false,
        },
    };
    (error, retry_after.to_duration().min(BACKOFF_MAX))
}

/// Returns when the machine says that nobody listens on the port, and otherwise never. QUIC does not listen to
/// such answers, because anybody could forge them; here it only spares a person the wait for a timeout.
async fn nobody_listens(addr: SocketAddr) {
    let refused = async {
        let local: SocketAddr = if addr.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0_u16; 8], 0).into()
        };
        let socket = UdpSocket::bind(local).await?;
        socket.connect(addr).await?;
        // One byte is no QUIC packet: an engine drops it.
        socket.send(&[0]).await?;
        socket.recv(&mut [0; 1]).await
    };
    match refused.await {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {}
        _ => std::future::pending().await,
    }
}

/// Up to half of the wait is taken away, so that many clients do not come back at the same moment.
fn jittered(wait: Duration) -> Duration {
    let mut dice = [0; 2];
    // Without random bytes there is no jitter, which is no reason to stay away.
    let _ = SystemRandom::new().fill(&mut dice);
    wait.mul_f64(1.0 - f64::from(u16::from_le_bytes(dice)) / f64::from(u16::MAX) / 2.0)
}
