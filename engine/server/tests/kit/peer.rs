//! A peer that says whatever it likes: bytes on a link, and what comes back until the end.

use std::net::SocketAddr;

use client::Trust;
use client::protocol::client_link;
use client::protocol::ids::LeaseToken;
use client::protocol::joining::WalletProof;
use client::protocol::template::Offer;
use client::protocol::worker_link::{self, Join, push_control};
use wire_link::{ClientConfig, ConnectError, Connector, Link, LinkError};

use super::workers::offer;
use super::{ADMIN_PASSWORD, Engine, PATIENCE, WORKER_PASSWORD};

/// An open link and what was heard on it.
pub(crate) struct Peer {
    link: Link,
    heard: Vec<(u8, Vec<u8>)>,
}

/// How a link ended.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) frames: Vec<(u8, Vec<u8>)>,
    pub(crate) code: u64,
    pub(crate) reason: String,
}

/// What makes links for one protocol.
pub(crate) fn connector(engine: &Engine, alpn: &[u8]) -> Connector {
    Connector::new(ClientConfig::new(Trust::Ca(engine.ca()), alpn)).expect("a CA file")
}

impl Peer {
    pub(crate) async fn connect(
        engine: &Engine,
        addr: SocketAddr,
        alpn: &[u8],
    ) -> Result<Self, ConnectError> {
        Self::connect_by(&connector(engine, alpn), addr).await
    }

    pub(crate) async fn connect_by(connector: &Connector, addr: SocketAddr) -> Result<Self, ConnectError> {
        let link = connector.connect(addr, "localhost").await?;
        Ok(Self {
            link,
            heard: Vec::new(),
        })
    }

    /// To the port of clients, nothing said yet.
    pub(crate) async fn to_clients(engine: &Engine) -> Self {
        let peer = Self::connect(engine, engine.ready().clients, client_link::ALPN).await;
        peer.expect("anybody may connect")
    }

    /// To the port of workers, nothing said yet.
    pub(crate) async fn to_workers(engine: &Engine) -> Self {
        let peer = Self::connect(engine, engine.ready().workers, worker_link::ALPN).await;
        peer.expect("anybody may connect")
    }

    /// A client that has logged in.
    pub(crate) async fn client(engine: &Engine) -> Self {
        let mut peer = Self::to_clients(engine).await;
        peer.say(&login(ADMIN_PASSWORD)).await;
        peer.hear(client_link::kind::WELCOME).await;
        peer
    }

    /// A worker that has joined.
    pub(crate) async fn worker(engine: &Engine, uid: &str) -> Self {
        let mut peer = Self::to_workers(engine).await;
        peer.say(&join(uid, WORKER_PASSWORD, &[])).await;
        peer.hear(worker_link::kind::WELCOME).await;
        peer
    }

    /// Keying material of this connection.
    pub(crate) fn channel(&self, label: &[u8]) -> [u8; 32] {
        self.link.control.export_keying_material(label, b"")
    }

    /// Sends bytes, whole frames or not. A link that the engine has closed meanwhile is no failure.
    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        drop(self.link.sender.send(bytes).await);
    }

    /// Waits for a frame of this kind and returns its payload.
    ///
    /// # Panics
    /// If the link ends before.
    pub(crate) async fn hear(&mut self, kind: u8) -> Vec<u8> {
        loop {
            if let Some(at) = self.heard.iter().position(|(heard, _)| *heard == kind) {
                return self.heard.remove(at).1;
            }
            if let Some(end) = self.receive().await {
                panic!("waiting for {kind:#04x}: {end:?}, before: {:?}", self.heard);
            }
        }
    }

    /// Waits until the engine closes the link.
    pub(crate) async fn hear_the_end(mut self) -> Heard {
        let end = loop {
            if let Some(end) = self.receive().await {
                break end;
            }
        };
        let (code, reason) = match end {
            LinkError::Closed { code, reason } => (code, reason),
            LinkError::Done => (0, String::new()),
            other => panic!("not closed with a reason: {other}"),
        };
        Heard {
            frames: self.heard,
            code,
            reason,
        }
    }

    /// Receives something; `Some`: the end.
    async fn receive(&mut self) -> Option<LinkError> {
        let heard = &mut self.heard;
        let receiving = self.link.receiver.recv(|kind, payload| {
            heard.push((kind, payload.to_vec()));
            Ok::<(), LinkError>(())
        });
        match tokio::time::timeout(PATIENCE, receiving).await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(LinkError::Done),
            Ok(Err(end)) => Some(end),
            Err(_) => panic!("the engine neither answers nor closes; heard {:?}", self.heard),
        }
    }
}

/// A login of the administrator.
pub(crate) fn login(password: &str) -> Vec<u8> {
    let login = client_link::Login {
        login: "admin".to_owned(),
        password: password.to_owned(),
        agent: "a test".to_owned(),
    };
    let mut frame = Vec::new();
    push_control(&mut frame, client_link::kind::LOGIN, &login);
    frame
}

/// A join of a worker with one slot that presents these leases.
pub(crate) fn join(uid: &str, password: &str, held: &[LeaseToken]) -> Vec<u8> {
    frame_of(&a_join(uid, password, held))
}

/// One that shows a wallet.
pub(crate) fn join_with_wallet(uid: &str, wallet: WalletProof) -> Vec<u8> {
    frame_of(&Join {
        wallet: Some(wallet),
        ..a_join(uid, WORKER_PASSWORD, &[])
    })
}

fn frame_of(join: &Join) -> Vec<u8> {
    let mut frame = Vec::new();
    push_control(&mut frame, worker_link::kind::JOIN, join);
    frame
}

fn a_join(uid: &str, password: &str, held: &[LeaseToken]) -> Join {
    Join {
        login: "vworker".to_owned(),
        password: password.to_owned(),
        enrol: None,
        wallet: None,
        uid: uid.to_owned(),
        name: uid.to_owned(),
        version: "0".to_owned(),
        offer: Offer {
            prefill: 1,
            ..offer(1)
        },
        held: held.to_vec(),
        running: held.to_vec(),
        unacknowledged: Vec::new(),
        warm: Vec::new(),
    }
}
