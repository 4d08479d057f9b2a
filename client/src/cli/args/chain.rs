//! What is said of the marketplace and of orders.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wire_hub::Address;

use crate::cli::refs::WorkRef;

#[derive(Subcommand, Debug)]
pub(crate) enum Chain {
    /// Create a pool on the marketplace, once; pool-reconcile never does so by itself
    #[command(after_help = "\
Without --yes nothing is sent: what would be is printed, with its price.

A pool's owner can never be changed, and its workers belong to the contract: keep the keystore, and
the address that is printed, which is WORKERPOOLADDRESS for pool-reconcile and the workers.

Examples:
  pool chain create-pool --node http://localhost:8545 --rlc 0x0000000000000000000000000000000000000001 --hub 0x0000000000000000000000000000000000000002 --wallet wallet.json --wallet-password-file secrets/wallet --description 'fast and honest' --yes
")]
    CreatePool(Box<CreatePool>),
    /// Prove that a work's result is in the root that its order has on chain
    #[command(after_help = "\
An order that stands for many works has one result on chain: the root over the results of all.
What is printed lets anybody check one of them against it, without the others: docs/chain.md says
how leaf, nodes and root are hashed.

Examples:
  pool chain proof w1024
  pool chain proof w1024 -o json > proof.json
")]
    Proof {
        /// A work of the order: 12, w12 or last
        work: WorkRef,
    },
}

#[derive(Args, Debug)]
pub(crate) struct CreatePool {
    /// Ethereum node
    #[arg(long, env = "ETHNODE", value_name = "URL")]
    pub(crate) node: String,
    /// The token's contract
    #[arg(long, env = "RLCCONTRACT", value_name = "ADDRESS")]
    pub(crate) rlc: Address,
    /// The marketplace's hub
    #[arg(long, env = "IEXECHUBCONTRACT", value_name = "ADDRESS")]
    pub(crate) hub: Address,
    /// Keystore (version 3) of the wallet that will own the pool
    #[arg(long, env = "WALLETPATH", value_name = "FILE")]
    pub(crate) wallet: PathBuf,
    /// Its password; other users of this machine can see command lines, so prefer the variable or a file
    #[arg(long, env = "WALLETPASSWORD", value_name = "TEXT", hide_env_values = true)]
    pub(crate) wallet_password: Option<String>,
    /// File that holds its password
    #[arg(long, env = "WALLETPASSWORD_FILE", value_name = "FILE")]
    pub(crate) wallet_password_file: Option<PathBuf>,
    /// What the pool says of itself on chain
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: String,
    /// Stake that a worker's subscription locks, in nRLC, for good
    #[arg(
        long,
        env = "SUBSCRIPTION_LOCK_STAKE_POLICY",
        value_name = "NRLC",
        default_value_t = 0
    )]
    pub(crate) lock_stake: u64,
    /// Free stake that a worker needs to subscribe, in nRLC
    #[arg(
        long,
        env = "SUBSCRIPTION_MINIMUM_STAKE_POLICY",
        value_name = "NRLC",
        default_value_t = 0
    )]
    pub(crate) minimum_stake: u64,
    /// Score that a worker needs to subscribe
    #[arg(
        long,
        env = "SUBSCRIPTION_MINIMUM_SCORE_POLICY",
        value_name = "N",
        default_value_t = 0
    )]
    pub(crate) minimum_score: u64,
    /// What a unit of gas may cost at most, in gwei
    #[arg(long, env = "POOL_GAS_CAP_GWEI", value_name = "GWEI", default_value_t = 100)]
    pub(crate) gas_cap_gwei: u64,
    /// Also if this wallet owns a pool already
    #[arg(long)]
    pub(crate) another: bool,
    /// Send it
    #[arg(long)]
    pub(crate) yes: bool,
}
