//! What is said of the marketplace and of orders.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use wire_hub::row::OrderState;
use wire_hub::{Address, Nonce};

use crate::cli::refs::WorkRef;

#[derive(Subcommand, Debug)]
pub(crate) enum Chain {
    /// Print how far the pool is on its chain, its money and its orders, and what to look at
    #[command(after_help = "\
What this and the other commands show is what pool-reconcile keeps in the engine: no node is asked,
and the process may be away. Numbers may be some blocks old.

Examples:
  pool chain status
  pool chain status -o json
")]
    Status,
    /// List orders, those that were bought last first
    #[command(after_help = "\
The pool keeps the last 1000 orders that are over, and all others; the table pool_chain_orders, which
pool-persist writes, has all.

Examples:
  pool chain orders
  pool chain orders --state stranded,expired
  pool chain orders --limit 1000 -o jsonl
")]
    Orders(Orders),
    /// Tell the whole story of an order: what was bought, where it is, what it waits for, its money, what to do
    #[command(
        arg_required_else_help = true,
        args_conflicts_with_subcommands = true,
        after_help = "\
Examples:
  pool chain order 0x00000000000000000000000000000000000000a1
  pool chain order explain 0x00000000000000000000000000000000000000a1 -o json
"
    )]
    Order(Order),
    /// Sum up what was locked, paid, seized and burned, and what is stranded
    #[command(after_help = "\
Locked is what was ever bound as stake or payment, and bound what of it still is. Stranded is what stays
bound until requesters claim: see `pool chain claims`. Burned is what gas has cost.

Examples:
  pool chain ledger
  pool chain ledger --by order
  pool chain ledger --by day -o jsonl
")]
    Ledger {
        /// Whose sums
        #[arg(long, value_enum, default_value_t = By::Party)]
        by: By,
    },
    /// List transactions of the pool's wallet, the last first
    #[command(after_help = "\
With -o json each has all hashes that were sent for it, of which one can be mined.

Examples:
  pool chain txs
  pool chain txs --nonce 17 -o json
  pool chain txs --order 0x00000000000000000000000000000000000000a1
")]
    Txs(Transactions),
    /// List orders whose requesters have to call claimFailedConsensus, with what to send them
    #[command(after_help = "\
Nobody else can: until then the stakes of the pool and of its workers stay locked, and so does what the
requester has paid. A requester sends DATA to TO from the wallet (or contract) that bought the order.

Examples:
  pool chain claims
  pool chain claims -o json > claims.json
")]
    Claims,
    /// Have pool-reconcile offer transactions that are in no block at the cap on gas prices
    #[command(after_help = "\
It waits, as --timeout says, until the process has taken the request up. A request stays: where the
process is away (exit code 7), its next start does it.

With --as-nothing the nonce is taken by a transaction that does nothing, and what it was for is sent again
under another one, if it is still wanted.

Exit code 5: there is no such transaction, or nothing that waits; 6: it is in a block already.

Examples:
  pool chain unstick
  pool chain unstick 17
  pool chain unstick 17 --as-nothing
")]
    Unstick(Unstick),
    /// Have pool-reconcile follow the chain again from a block on
    #[command(after_help = "\
Orders that were missed are found, and the books are made anew, but for gas. Nothing is sent before the last
block is reached again. It waits, as --timeout says, until the process has taken the request up. A request
stays: where the process is away (exit code 7), its next start does it.

Exit code 6: the block is beyond what was followed.

Examples:
  pool chain replay --from 4200000
")]
    Replay {
        /// The block's number; if the books begin earlier, it is from there on
        #[arg(long, value_name = "BLOCK")]
        from: u64,
    },
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
pub(crate) struct Orders {
    /// Only orders in these states
    #[arg(long, value_delimiter = ',', value_name = "STATE", value_parser = state)]
    pub(crate) state: Vec<OrderState>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Order {
    #[command(subcommand)]
    pub(crate) verb: Option<OrderVerb>,
    /// The order's address
    pub(crate) woid: Option<Address>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum OrderVerb {
    /// The same
    #[command(after_help = "\
Examples:
  pool chain order explain 0x00000000000000000000000000000000000000a1
")]
    Explain {
        /// The order's address
        woid: Address,
    },
}

/// Whose sums.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum By {
    /// Of each order that is kept
    Order,
    /// Of the pool, each worker and each requester
    Party,
    /// Of each day, in UTC
    Day,
}

#[derive(Args, Debug)]
pub(crate) struct Transactions {
    /// Only the one with this nonce
    #[arg(long, value_name = "N", value_parser = nonce, conflicts_with = "order")]
    pub(crate) nonce: Option<Nonce>,
    /// Only those about this order
    #[arg(long, value_name = "WOID")]
    pub(crate) order: Option<Address>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: u32,
}

#[derive(Args, Debug)]
pub(crate) struct Unstick {
    /// Which [default: all that are in no block]
    #[arg(value_parser = nonce)]
    pub(crate) nonce: Option<Nonce>,
    /// Take the nonce, and do nothing with it
    #[arg(long)]
    pub(crate) as_nothing: bool,
}

fn nonce(text: &str) -> Result<Nonce, std::num::ParseIntError> {
    text.parse().map(Nonce)
}

fn state(text: &str) -> Result<OrderState, String> {
    let found = OrderState::ALL.into_iter().find(|state| state.name() == text);
    found.ok_or_else(|| {
        let names = OrderState::ALL.map(OrderState::name);
        format!("no such state; there are {}", names.join(", "))
    })
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
