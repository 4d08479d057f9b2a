//! What an operator may set: flags, each with its environment variable.

mod chain;
mod engine;
mod orders;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgAction, Parser};
use daemon::log::LogConfig;

pub(crate) use chain::{ChainConfig, ChainOptions};
pub(crate) use engine::{EngineConfig, EngineOptions};
pub(crate) use orders::{OrdersConfig, OrdersOptions, PolicyChange};

const AFTER_HELP: &str = "\
Examples:
  Beside an engine on this machine, on a node of one's own:
    ETHNODE=http://localhost:8545 RLCCONTRACT=0x… IEXECHUBCONTRACT=0x… WORKERPOOLADDRESS=0x… \\
    WALLETPATH=wallet.json WALLETPASSWORD_FILE=secrets/wallet POOL_CA=certs/ca.pem \\
    ADMINPASSWORD_FILE=secrets/admin pool-reconcile
  Offer works of category 3 as well, ten at a time:
    CATEGORY=3 PRICE=1000 POOL_OFFER_VOLUME=10 pool-reconcile

Start and stop it whenever you like, also kill -9: what it must not forget is in the engine, and no transaction is mined
twice. While engine or node are away it waits for them; nothing is taken for granted meanwhile. Give its wallet to nothing
else: a transaction that somebody else sends with it takes a number that the pool has signed another one for.

Exit codes:
  0  stopped in good order
  1  failed, or stopped by a second signal
  2  wrong usage
  3  the configuration cannot be used, by itself or on this chain; what is wrong is printed
  4  the address of --listen-health is taken
  5  another pool-reconcile has taken over
  6  the notes that an earlier one has left in the engine are of another pool, or of a later version";

/// Makes works of the orders of a marketplace on Ethereum, and settles them there.
///
/// It follows the pool's contract, asks the engine for works, lets workers contribute and pays them. The engine never
/// waits for it.
#[derive(Parser, Debug)]
#[command(name = "pool-reconcile", version, max_term_width = 110, after_long_help = AFTER_HELP)]
pub struct Options {
    /// `false`: nothing is done; it serves health and waits to be stopped
    #[arg(
        long = "chain",
        env = "BLOCKCHAINETHENABLED",
        default_value_t = true,
        action = ArgAction::Set,
        value_name = "BOOL"
    )]
    is_enabled: bool,
    #[command(flatten)]
    chain: ChainOptions,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    orders: OrdersOptions,

    /// TCP address for /livez, /readyz, /healthz and /metrics; `none` serves nothing
    #[arg(
        long,
        env = "POOL_RECONCILE_LISTEN_HEALTH",
        default_value = "[::]:4326",
        value_name = "ADDR"
    )]
    listen_health: String,
    /// Written when it serves health and metrics, with its address; removed when it stops
    #[arg(long, env = "POOL_RECONCILE_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    log: LogConfig,
}

/// The configuration, checked.
#[derive(Debug)]
pub struct Config {
    /// What to do; `None`: nothing.
    pub(crate) work: Option<WorkConfig>,
    pub(crate) listen_health: Option<SocketAddr>,
    pub(crate) ready_file: Option<PathBuf>,
    /// How to log.
    pub log: LogConfig,
}

/// What is needed to do anything.
#[derive(Debug)]
pub(crate) struct WorkConfig {
    pub(crate) chain: ChainConfig,
    pub(crate) engine: EngineConfig,
    pub(crate) orders: OrdersConfig,
}

impl Options {
    /// Checks everything that can be checked without a node.
    ///
    /// # Errors
    /// All problems, each naming the variable and the cure.
    pub fn into_config(self) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let listen_health = daemon::http::address("POOL_RECONCILE_LISTEN_HEALTH", &self.listen_health);
        let listen_health = listen_health.map_err(|problem| problems.push(problem)).ok();
        let work = if self.is_enabled {
            let chain = self.chain.check(&mut problems);
            let engine = self.engine.check(&mut problems);
            let orders = self.orders.check(&mut problems);
            let checked = chain.zip(engine).zip(orders);
            checked.map(|((chain, engine), orders)| WorkConfig {
                chain,
                engine,
                orders,
            })
        } else {
            None
        };
        match listen_health {
            Some(listen_health) if problems.is_empty() => Ok(Config {
                work,
                listen_health,
                ready_file: self.ready_file,
                log: self.log,
            }),
            _ => Err(problems),
        }
    }
}

/// A value that has to be given; an empty one is as good as none.
fn required(variable: &str, what: &str, value: Option<String>, problems: &mut Vec<String>) -> Option<String> {
    let given = value.filter(|value| !value.trim().is_empty());
    if given.is_none() {
        problems.push(format!("{variable} is not set; set it to {what}"));
    }
    given
}

/// A value as its type reads it.
fn read<T>(variable: &str, text: &str, problems: &mut Vec<String>) -> Option<T>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    match text.trim().parse() {
        Ok(value) => Some(value),
        Err(error) => {
            problems.push(format!("{variable} is `{text}`: {error}"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
