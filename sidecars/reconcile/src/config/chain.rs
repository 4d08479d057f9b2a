//! Which chain, which contracts, which wallet, and what transactions may cost.

use std::path::PathBuf;

use clap::Args;
use wire_chain::rpc::Endpoint;
use wire_chain::start;
use wire_hub::{Address, Wei};
use wire_lane::FeePolicy;
use wire_protocol::units::Millis;
use wire_wallet::Wallet;
use wire_wallet::keystore::{self, KeystoreError};

use super::{read, required};

/// Wei of a gwei, in which people say what gas costs.
const GWEI: u128 = 1_000_000_000;

/// Options that say it.
#[derive(Args, Debug)]
#[command(next_help_heading = "The chain")]
pub(crate) struct ChainOptions {
    /// Ethereum nodes: one, or several between commas, of which a majority says what the last block is
    #[arg(long = "node", env = "ETHNODE", value_name = "URL,…")]
    nodes: Option<String>,
    /// The chain's number; nodes of another are refused [default: that of the first node]
    #[arg(long, env = "POOL_CHAIN_ID", value_name = "N")]
    chain_id: Option<String>,
    /// The token's contract
    #[arg(long, env = "RLCCONTRACT", value_name = "ADDRESS")]
    rlc: Option<String>,
    /// The marketplace's hub
    #[arg(long, env = "IEXECHUBCONTRACT", value_name = "ADDRESS")]
    hub: Option<String>,
    /// The pool's contract, as `pool chain create-pool` has made it
    #[arg(long, env = "WORKERPOOLADDRESS", value_name = "ADDRESS")]
    pool: Option<String>,
    /// Keystore (version 3) of the wallet that owns the pool
    #[arg(long, env = "WALLETPATH", value_name = "FILE")]
    wallet: Option<String>,
    /// Its password; prefer the variable or a file
    #[arg(long, env = "WALLETPASSWORD", hide_env_values = true, value_name = "TEXT")]
    wallet_password: Option<String>,
    /// File that holds its password
    #[arg(long, env = "WALLETPASSWORD_FILE", value_name = "FILE")]
    wallet_password_file: Option<String>,

    /// Blocks on top of the one that bought an order before anything is sent for it; its works begin at once
    #[arg(long, env = "POOL_CHAIN_CONFIRMATIONS", default_value_t = 2, value_name = "N")]
    confirmations: u64,
    /// A block is final when so many are on top of it; 0: when the nodes say so
    #[arg(long, env = "POOL_CHAIN_FINAL_AFTER", default_value_t = 64, value_name = "N")]
    final_after: u64,
    /// Where to begin, if nothing was followed yet [default: the last block]
    #[arg(long, env = "POOL_CHAIN_START_BLOCK", value_name = "N")]
    start_block: Option<u64>,
    /// Lets go of what was kept for another chain, pool or wallet, instead of refusing to start
    #[arg(long = "forget", env = "POOL_CHAIN_FORGET")]
    may_forget: bool,
    /// How often nodes are asked for a new block
    #[arg(long, env = "POOL_CHAIN_POLL", default_value = "1s", value_name = "TIME")]
    poll: Millis,
    /// Seconds between blocks
    #[arg(long, env = "POOL_CHAIN_BLOCK_S", default_value_t = 12, value_name = "S",
          value_parser = clap::value_parser!(u64).range(1..=600))]
    block_s: u64,

    /// What is offered for gas, in percent of what the last block asks for
    #[arg(long, env = "POOL_GAS_PERCENT", default_value_t = 200, value_name = "PERCENT",
          value_parser = clap::value_parser!(u64).range(100..=1_000))]
    gas_percent: u64,
    /// What whoever makes the block gets for a unit of gas, in gwei
    #[arg(long, env = "POOL_GAS_TIP_GWEI", default_value_t = 1, value_name = "GWEI")]
    gas_tip_gwei: u64,
    /// What a unit of gas may cost at most, in gwei; beyond it transactions wait
    #[arg(long, env = "POOL_GAS_CAP_GWEI", default_value_t = 100, value_name = "GWEI")]
    gas_cap_gwei: u64,
    /// What may be spent for gas in an hour at most, in gwei; 0: no bound
    #[arg(
        long,
        env = "POOL_GAS_PER_HOUR_GWEI",
        default_value_t = 0,
        value_name = "GWEI"
    )]
    gas_per_hour_gwei: u64,
}

/// The chain, as it is to be used.
#[derive(Debug)]
pub(crate) struct ChainConfig {
    pub(crate) nodes: Vec<Endpoint>,
    /// What is compared with the chain at start.
    pub(crate) start: start::Settings,
    pub(crate) wallet: Wallet,
    pub(crate) confirmations: u64,
    pub(crate) final_after: Option<u64>,
    pub(crate) start_block: Option<u64>,
    pub(crate) may_forget: bool,
    pub(crate) poll: Millis,
    pub(crate) block_s: u64,
    pub(crate) fees: FeePolicy,
    pub(crate) spend_per_hour_max: Option<Wei>,
}

impl ChainOptions {
    pub(crate) fn check(self, problems: &mut Vec<String>) -> Option<ChainConfig> {
        let nodes = required(
            "ETHNODE",
            "the address of an Ethereum node, as http://localhost:8545",
            self.nodes,
            problems,
        )
        .and_then(|text| {
            let nodes = Endpoint::list(&text);
            nodes
                .map_err(|error| problems.push(format!("ETHNODE: {error}")))
                .ok()
        });
        let chain_id = self.chain_id.filter(|text| !text.is_empty());
        let chain_id = chain_id.map(|text| read::<u64>("POOL_CHAIN_ID", &text, problems));
        let mut contract = |variable, what, given| {
            let text = required(variable, what, given, problems)?;
            let address: Address = read(variable, &text, problems)?;
            Some(start::Setting::new(variable, address))
        };
        let rlc = contract("RLCCONTRACT", "the address of the token's contract", self.rlc);
        let hub = contract(
            "IEXECHUBCONTRACT",
            "the address of the marketplace's hub",
            self.hub,
        );
        let what = "the address of the pool's contract; `pool chain create-pool` makes one";
        let pool = contract("WORKERPOOLADDRESS", what, self.pool);
        let wallet = wallet(
            self.wallet,
            self.wallet_password,
            self.wallet_password_file,
            problems,
        )?;
        let gwei = |gwei: u64| Wei(u128::from(gwei) * GWEI);
        let (tip, cap) = (gwei(self.gas_tip_gwei), gwei(self.gas_cap_gwei));
        if cap <= tip {
            problems.push(format!(
                "POOL_GAS_CAP_GWEI is {} and POOL_GAS_TIP_GWEI {}; the cap has to be more than the tip",
                self.gas_cap_gwei, self.gas_tip_gwei
            ));
        }
        Some(ChainConfig {
            nodes: nodes?,
            start: start::Settings {
                node: "ETHNODE",
                chain_id: match chain_id {
                    None => None,
                    Some(read) => Some(start::Setting::new("POOL_CHAIN_ID", read?)),
                },
                rlc: rlc?,
                hub: hub?,
                pool: Some(pool?),
                owner: Some(start::Setting::new("WALLETPATH", wallet.address())),
            },
            wallet,
            confirmations: self.confirmations,
            final_after: Some(self.final_after).filter(|blocks| *blocks > 0),
            start_block: self.start_block,
            may_forget: self.may_forget,
            poll: self.poll,
            block_s: self.block_s,
            fees: FeePolicy {
                multiplier_percent: self.gas_percent,
                tip,
                cap,
                bump_percent: 12,
            },
            spend_per_hour_max: Some(gwei(self.gas_per_hour_gwei)).filter(|wei| wei.0 > 0),
        })
    }
}

/// The wallet, opened once.
fn wallet(
    path: Option<String>,
    password: Option<String>,
    file: Option<String>,
    problems: &mut Vec<String>,
) -> Option<Wallet> {
    let what = "the keystore of the wallet that owns the pool";
    let path = required("WALLETPATH", what, path, problems);
    let given = |value: Option<String>| value.filter(|value| !value.is_empty());
    let password = daemon::secret("WALLETPASSWORD", given(password), given(file).map(PathBuf::from));
    let password = password.map_err(|problem| problems.push(problem)).ok();
    let path = PathBuf::from(path?);
    match keystore::open(&path, &password?) {
        Ok(wallet) => Some(wallet),
        Err(error) => {
            let variable = match error {
                KeystoreError::Password => "WALLETPASSWORD for WALLETPATH",
                _ => "WALLETPATH",
            };
            problems.push(format!("{variable} ({}): {error}", path.display()));
            None
        }
    }
}
