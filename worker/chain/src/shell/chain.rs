//! The handle that an agent has, and how the thread begins.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use wire_chain::rpc::{Endpoint, Rpc, RpcOptions};
use wire_chain::start::{self, Setting, StartError};
use wire_chain::{Contracts, Seen};
use wire_hub::{Address, Balance, Hash, Ticket, Wei};
use wire_lane::FeePolicy;
use wire_wallet::Wallet;

use super::life::Life;
use super::notebook::{Notebook, NotebookError};
use super::status::Status;
use crate::core::{Refusal, Settings};

/// Results that wait for the thread.
const REQUESTS_MAX: usize = 256;

/// A node that has not answered within this is asked again later, and the worker goes on.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What a worker needs for its chain.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its nodes; at least one.
    pub endpoints: Vec<Endpoint>,
    /// What the setting with their addresses is called.
    pub node: &'static str,
    /// The chain's number; `None`: that of the first node. Default `None`.
    pub chain_id: Option<Setting<u64>>,
    /// The token.
    pub rlc: Setting<Address>,
    /// The hub.
    pub hub: Setting<Address>,
    /// The pool's contract.
    pub pool: Setting<Address>,
    /// What signs. Nothing else may send transactions with it.
    pub wallet: Arc<Wallet>,
    /// The worker's folder, for notes.
    pub folder: PathBuf,
    /// Subscribes to the pool if the worker is with none. Default false.
    pub subscribes: bool,
    /// What gas may cost. Default twice what the last block asks for, 100 gwei at most.
    pub fees: FeePolicy,
    /// What may be burned in an hour. `None`: no bound. Default none.
    pub spend_per_hour_max: Option<Wei>,
    /// See [`Settings::final_after`]. Default 64.
    pub final_after: u64,
    /// See [`Settings::block_age_s_max`]. Default 300.
    pub block_age_s_max: u64,
    /// Nodes are asked for a new block so often. Default 2 s.
    pub poll: Duration,
    /// What it does wrong, on purpose.
    #[cfg(debug_assertions)]
    pub faults: crate::faults::Faults,
}

impl Config {
    /// With the defaults.
    #[must_use]
    pub fn new(
        endpoints: Vec<Endpoint>,
        rlc: Setting<Address>,
        hub: Setting<Address>,
        pool: Setting<Address>,
        wallet: Arc<Wallet>,
        folder: PathBuf,
    ) -> Self {
        Self {
            endpoints,
            node: "ETHNODE",
            chain_id: None,
            rlc,
            hub,
            pool,
            wallet,
            folder,
            subscribes: false,
            fees: FeePolicy {
                multiplier_percent: 200,
                tip: Wei(1_000_000_000),
                cap: Wei(100_000_000_000),
                bump_percent: 12,
            },
            spend_per_hour_max: None,
            final_after: 64,
            block_age_s_max: 300,
            poll: Duration::from_secs(2),
            #[cfg(debug_assertions)]
            faults: crate::faults::Faults::default(),
        }
    }

    /// Looks whether the settings lead to the pool, asking each node once.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its setting.
    pub async fn check(&self) -> Result<Contracts, ConfigError> {
        let options = RpcOptions {
            deadline: ANSWER_WITHIN,
            patience: Duration::ZERO,
            ..RpcOptions::default()
        };
        let rpcs = self
            .endpoints
            .iter()
            .map(|endpoint| Rpc::new(endpoint.clone(), options));
        let rpcs: Vec<Rpc> = rpcs.collect::<Result<_, _>>().map_err(ConfigError::Http)?;
        let settings = start::Settings {
            node: self.node,
            chain_id: self.chain_id,
            rlc: self.rlc,
            hub: self.hub,
            pool: Some(self.pool),
            owner: None,
        };
        Ok(start::check(&rpcs, &settings).await?)
    }

    /// What the hub has of the wallet now: for a look, not for decisions.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn look(&self) -> Result<Look, ConfigError> {
        use wire_chain::{At, Chain as _, Node, View};
        let contracts = self.check().await?;
        let rpc = Rpc::new(self.endpoints[0].clone(), RpcOptions::default()).map_err(ConfigError::Http)?;
        let node = Node::new(rpc, contracts);
        let who = self.wallet.address();
        let views = [View::Affiliation { worker: who }, View::Balance { who }];
        let seen = node.see(&views, At::Latest).await;
        let mut look = Look {
            chain_id: contracts.chain_id,
            ..Look::default()
        };
        for seen in seen {
            match seen.found() {
                Ok(Some(Seen::Affiliation(of))) => look.pool = Some(of.pool),
                Ok(Some(Seen::Balance(balance))) => look.balance = Some(balance),
                _ => {}
            }
        }
        look.coins = node.ether(who, At::Latest).await.found().ok().flatten();
        look.block = node
            .head()
            .await
            .found()
            .ok()
            .flatten()
            .map(|head| head.timestamp.0);
        Ok(look)
    }

    pub(super) fn settings(&self, chain_id: u64) -> Settings {
        let mut settings = Settings::new(chain_id, self.hub.value, self.pool.value, self.wallet.address());
        settings.lane.fees = self.fees;
        settings.final_after = self.final_after;
        settings.lane.spend_per_hour_max = self.spend_per_hour_max;
        settings.block_age_s_max = self.block_age_s_max;
        settings.subscribes = self.subscribes;
        #[cfg(debug_assertions)]
        {
            settings.faults = self.faults;
        }
        settings
    }
}

/// What there is of the wallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Look {
    /// The chain's number.
    pub chain_id: u64,
    /// The pool that it is subscribed to, or [`wire_hub::NOBODY`].
    pub pool: Option<Address>,
    /// Its stake.
    pub balance: Option<Balance>,
    /// What it has for gas.
    pub coins: Option<Wei>,
    /// The time of the node's last block, in seconds since 1970.
    pub block: Option<u64>,
}

/// Why a worker's chain cannot be had.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A setting leads nowhere.
    #[error(transparent)]
    Start(#[from] StartError),
    /// This machine cannot ask any node.
    #[error("no node can be asked: {0}")]
    Http(String),
    /// What an earlier worker noted.
    #[error(transparent)]
    Notes(#[from] NotebookError),
    /// The system gives no thread.
    #[error("the chain has no thread")]
    Thread(#[from] io::Error),
}

impl ConfigError {
    /// It is a node that is away, and may come back.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Start(StartError::Node { .. }))
    }
}

/// A result for an order, and where to say that it is durable.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) ticket: Ticket,
    pub(super) result: Hash,
    pub(super) reply: oneshot::Sender<Result<(), Refusal>>,
}

/// A worker's side of the chain, on a thread of its own. Dropped, it ends; what is under way goes on when the worker is
/// started again.
#[derive(Debug)]
pub struct Chain {
    requests: Option<mpsc::Sender<Request>>,
    status: watch::Receiver<Status>,
    thread: Option<JoinHandle<()>>,
}

impl Chain {
    /// Looks at the settings and starts the thread. A node that does not answer is asked again later.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub async fn start(config: Config) -> Result<Self, ConfigError> {
        let notebook = Notebook::open(&config.folder)?;
        #[cfg(debug_assertions)]
        if config.faults != crate::faults::Faults::default() {
            tracing::error!(
                faults = ?config.faults,
                "{} IS SET: THIS WORKER DOES WRONG ON PURPOSE AND LOSES ITS STAKE",
                crate::faults::VARIABLE
            );
        }
        let contracts = match config.check().await {
            Ok(contracts) => Some(contracts),
            Err(error) if error.may_pass() => {
                tracing::warn!("{error}; it is asked again, and results are noted meanwhile");
                None
            }
            Err(error) => return Err(error),
        };
        let (requests, requested) = mpsc::channel(REQUESTS_MAX);
        let (say, status) = watch::channel(Status {
            wallet: config.wallet.address().to_string(),
            ..Status::default()
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let thread = std::thread::Builder::new()
            .name("chain".to_owned())
            .spawn(move || {
                runtime.block_on(Life::new(config, notebook, requested, say).run(contracts));
            })?;
        Ok(Self {
            requests: Some(requests),
            status,
            thread: Some(thread),
        })
    }

    /// Hands over the result of a work with this ticket. Once that is answered it is durable, and will be contributed.
    ///
    /// # Errors
    /// Why it will not be, for people.
    pub fn hand_over(
        &self,
        ticket: &[u8],
        result: Hash,
    ) -> impl Future<Output = Result<(), String>> + Send + 'static + use<> {
        let ticket = Ticket::parse(ticket).map_err(|error| format!("its ticket cannot be read: {error}"));
        let requests = self.requests.clone();
        async move {
            let gone = || "the chain's thread is gone".to_owned();
            let (reply, answer) = oneshot::channel();
            let request = Request {
                ticket: ticket?,
                result,
                reply,
            };
            let requests = requests.ok_or_else(gone)?;
            requests.send(request).await.map_err(|_| gone())?;
            drop(requests);
            answer
                .await
                .map_err(|_| gone())?
                .map_err(|refusal| refusal.to_string())
        }
    }

    /// What is going on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.status.clone()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends at once; a panic in it has been told.
            let _ = thread.join();
        }
    }
}
