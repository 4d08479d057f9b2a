//! A chain on this machine: anvil, the marketplace's real contracts, and people who use them.
//!
//! ```text
//!   parts      anvil's binary and the contracts' bytecode, from npm, once, checked against their hashes
//!   anvil      the process: a port and a folder of its own, killed when it is dropped
//!   deploy     the contracts in their order, categories
//!   actors     who sends what: a scheduler that owns the pool, a requester, workers
//!   requesters contracts that buy works or wait for their results
//!   controls   time, blocks, reorganisations
//! ```
//!
//! It is for tests, for `pool dev --chain` and for the bench: whatever it has, keys included, is public and worth nothing.
//!
//! Deliberately absent: a model of the contracts. What they do is asked of them.

mod actors;
mod anvil;
mod controls;
mod deploy;
mod error;
mod parts;
mod requesters;

pub use actors::{GAS_FOR_CALLS, GAS_FOR_CONTRACTS};
pub use controls::Snapshot;
pub use error::DevnetError;
pub use parts::{FOLDER_VARIABLE, Parts, fetch};
pub use requesters::Callback;

use std::path::PathBuf;
use std::time::Duration;

use wire_chain::rpc::{Rpc, RpcOptions};
use wire_chain::{Contracts, Node};
use wire_wallet::Wallet;

use crate::anvil::Anvil;

/// What chain it is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A block each so often; `None`: one for each transaction, at once. Default `None`.
    pub block_time: Option<Duration>,
    /// Wallets with coins. Default 10: the owner of the marketplace, a scheduler, a requester, and seven workers.
    pub accounts: usize,
    /// Gas of a block. Default 30 million, as on the main network.
    pub gas_limit: u64,
    /// Blocks in an epoch: those before the last two epochs are final. Default 1.
    pub slots_in_an_epoch: u64,
    /// Rules of the chain, as anvil calls them (`byzantium`, `berlin`); `None`: the newest that it knows. Default `None`.
    pub hardfork: Option<String>,
    /// Its number. Default 31337, anvil's own.
    pub chain_id: u64,
    /// The port on loopback. Default 0: a free one.
    pub port: u16,
    /// Periods of the categories, in seconds; their numbers begin at 1. Default those of the contracts' own settings.
    pub categories_s: Vec<u64>,
    /// Blocks whose state is kept, which takes 300 KB each, on disk beyond the first hundreds; `None`: as many as anvil
    /// keeps. Fewer make thousands of blocks in seconds. Default `None`.
    pub states: Option<u64>,
    /// Where anvil and the bytecode are, or come to be; `None`: [`FOLDER_VARIABLE`], or `target/devnet`. Default `None`.
    pub parts: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            block_time: None,
            accounts: 10,
            gas_limit: 30_000_000,
            slots_in_an_epoch: 1,
            hardfork: None,
            chain_id: 31_337,
            port: 0,
            categories_s: vec![30, 120, 900, 1_800, 3_600],
            states: None,
            parts: None,
        }
    }
}

/// A chain with a marketplace on it. Dropped, it is gone.
#[derive(Debug)]
pub struct Devnet {
    anvil: Anvil,
    node: Node,
    contracts: Contracts,
    /// The folder with the contracts' bytecode.
    artifacts: PathBuf,
    /// Nobody sends while somebody else finds out the number of its next transaction.
    sending: tokio::sync::Mutex<()>,
    /// Makes a block of each transaction by itself, whatever the clock of blocks says.
    in_a_hurry: bool,
}

impl Devnet {
    /// Starts a chain and makes the marketplace on it, without any pool. Takes half a second, and once some more for what
    /// is fetched, in which the thread is blocked. The chain ends with this thread, if that ends before it.
    ///
    /// # Errors
    /// Parts cannot be had, anvil does not start, or it does not take the contracts.
    pub async fn start(options: Options) -> Result<Self, DevnetError> {
        let parts = fetch(options.parts.as_deref())?;
        let anvil = Anvil::start(&parts, &options)?;
        let endpoint = anvil.url().parse().expect("the address of a node");
        let rpc_options = RpcOptions {
            // What has no answer by then is not slow but broken.
            patience: Duration::from_secs(2),
            ..RpcOptions::default()
        };
        let rpc = Rpc::new(endpoint, rpc_options).map_err(DevnetError::Http)?;
        rpc.ask("anvil_setLoggingEnabled", serde_json::json!([false]))
            .await
            .map_err(|error| DevnetError::Chain(error.into()))?;
        let contracts = deploy::nothing(options.chain_id);
        let mut devnet = Self {
            node: Node::new(rpc, contracts),
            contracts,
            artifacts: parts.contracts.clone(),
            anvil,
            sending: tokio::sync::Mutex::default(),
            in_a_hurry: options.block_time.is_some(),
        };
        devnet.deploy(&options.categories_s).await?;
        devnet.in_a_hurry = false;
        Ok(devnet)
    }

    /// Where the node is: `http://127.0.0.1:…`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.anvil.url()
    }

    /// The contracts; the pool among them once it was created.
    #[must_use]
    pub const fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    /// The chain, asked directly.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Wallets that have coins: see [`Devnet::scheduler`] and the others.
    #[must_use]
    pub fn wallets(&self) -> &[Wallet] {
        self.anvil.wallets()
    }

    /// The private keys of the wallets, for programs that read keystores. Everybody knows them.
    #[must_use]
    pub fn keys(&self) -> &[[u8; 32]] {
        self.anvil.keys()
    }

    /// Who made the marketplace, and has all RLC at first: the first wallet.
    #[must_use]
    pub fn owner(&self) -> &Wallet {
        &self.wallets()[0]
    }

    /// Who owns the pool: the second.
    #[must_use]
    pub fn scheduler(&self) -> &Wallet {
        &self.wallets()[1]
    }

    /// Who buys works: the third.
    #[must_use]
    pub fn requester(&self) -> &Wallet {
        &self.wallets()[2]
    }

    /// Who does them: the others.
    #[must_use]
    pub fn workers(&self) -> &[Wallet] {
        &self.wallets()[3..]
    }
}
