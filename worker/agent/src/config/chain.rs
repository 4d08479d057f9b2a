//! Which chain, which contracts, and what transactions may cost; the variables are those of the pool's other programs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use wire_hub::{Address, Wei};
use wire_protocol::units::Millis;
use worker_chain::shell::{Config, Endpoint, Setting};

use super::given;
use super::seeds::Seeds;
use crate::Wallet;

/// Wei of a gwei, in which people say what gas costs.
const GWEI: u128 = 1_000_000_000;

/// Options that say it.
#[derive(Args, Debug)]
#[command(next_help_heading = "The chain")]
pub(super) struct ChainArgs {
    /// Whether results are contributed to orders of a chain: true or false [default: true if the node, the three contracts
    /// and the wallet are given]
    #[arg(long, value_name = "BOOL", env = "BLOCKCHAINETHENABLED")]
    chain: Option<String>,

    /// Ethereum nodes: one, or several between commas, of which a majority says what the last block is [default: ETHNODE]
    #[arg(long = "node", value_name = "URL,…", env = "WORKERETHNODEADDRESS")]
    nodes: Option<String>,

    /// The chain's number; nodes of another are refused [default: that of the first node]
    #[arg(long, value_name = "N", env = "POOL_CHAIN_ID")]
    chain_id: Option<String>,

    /// The token's contract
    #[arg(long, value_name = "ADDRESS", env = "RLCCONTRACT")]
    rlc: Option<String>,

    /// The marketplace's hub
    #[arg(long, value_name = "ADDRESS", env = "IEXECHUBCONTRACT")]
    hub: Option<String>,

    /// The pool's contract
    #[arg(long = "pool", value_name = "ADDRESS", env = "WORKERPOOLADDRESS")]
    pool: Option<String>,

    /// Whether this worker subscribes to the pool by itself, once, if it is with none and has the stake: true or false
    /// [default: false]
    #[arg(long, value_name = "BOOL", env = "POOL_CHAIN_SUBSCRIBE")]
    subscribe: Option<String>,

    /// What is offered for gas, in percent of what the last block asks for
    #[arg(long, value_name = "PERCENT", env = "POOL_GAS_PERCENT", default_value_t = 200,
          value_parser = clap::value_parser!(u64).range(100..=1_000))]
    gas_percent: u64,

    /// What whoever makes the block gets for a unit of gas, in gwei
    #[arg(long, value_name = "GWEI", env = "POOL_GAS_TIP_GWEI", default_value_t = 1)]
    gas_tip_gwei: u64,

    /// What a unit of gas may cost at most, in gwei; beyond it transactions wait
    #[arg(long, value_name = "GWEI", env = "POOL_GAS_CAP_GWEI", default_value_t = 100)]
    gas_cap_gwei: u64,

    /// What may be spent for gas in an hour at most, in gwei; 0: no bound
    #[arg(
        long,
        value_name = "GWEI",
        env = "POOL_GAS_PER_HOUR_GWEI",
        default_value_t = 0
    )]
    gas_per_hour_gwei: u64,

    /// A block is final when so many are on top of it, or when the nodes say so
    #[arg(long, value_name = "N", env = "POOL_CHAIN_FINAL_AFTER", default_value_t = 64,
          value_parser = clap::value_parser!(u64).range(1..))]
    final_after: u64,

    /// How often nodes are asked for a new block
    #[arg(long, value_name = "TIME", env = "POOL_CHAIN_POLL", default_value = "2s")]
    chain_poll: Millis,

    /// Nothing is sent on the word of a node whose last block is older than this; 0: however old it is, for chains that make
    /// blocks only when somebody sends something
    #[arg(
        long,
        value_name = "TIME",
        env = "POOL_CHAIN_BLOCK_AGE_MAX",
        default_value = "5m"
    )]
    block_age_max: Millis,
}

impl ChainArgs {
    /// The chain, if this worker has one.
    pub(super) fn config(
        &self,
        wallet: Option<&Arc<Wallet>>,
        folder: &Path,
        seeds: &Seeds,
    ) -> anyhow::Result<Option<Config>> {
        let wanted = truth("BLOCKCHAINETHENABLED", self.chain.as_deref())?;
        if wanted == Some(false) {
            return Ok(None);
        }
        let (node, nodes) = match (given(self.nodes.as_deref()), &seeds.node) {
            (None, Some(seeded)) => ("ETHNODE", Some(seeded.clone())),
            (nodes, _) => ("WORKERETHNODEADDRESS", nodes),
        };
        let [rlc, hub, pool] = [&self.rlc, &self.hub, &self.pool].map(|text| given(text.as_deref()));
        let needed = [
            ("WORKERETHNODEADDRESS (or ETHNODE)", nodes.is_some()),
            ("RLCCONTRACT", rlc.is_some()),
            ("IEXECHUBCONTRACT", hub.is_some()),
            ("WORKERPOOLADDRESS", pool.is_some()),
            ("WALLETPATH", wallet.is_some()),
        ];
        let missing: Vec<&str> = needed
            .iter()
            .filter(|(_, is_given)| !is_given)
            .map(|(name, _)| *name)
            .collect();
        let (Some(nodes), Some(rlc), Some(hub), Some(pool), Some(wallet)) = (nodes, rlc, hub, pool, wallet)
        else {
            let missing = missing.join(", ");
            if wanted == Some(true) {
                bail!(
                    "results are to be contributed to a chain (BLOCKCHAINETHENABLED=true), and there is no {missing}"
                );
            }
            // The wallet alone proves whose a worker is; that is no half of a chain.
            if needed[..4].iter().any(|(_, is_given)| *is_given) {
                tracing::warn!("results are contributed to no chain: there is no {missing}");
            }
            return Ok(None);
        };
        let endpoints = Endpoint::list(&nodes).map_err(|error| anyhow!("{node}: {error}"))?;
        let (rlc, hub, pool) = (
            contract("RLCCONTRACT", &rlc)?,
            contract("IEXECHUBCONTRACT", &hub)?,
            contract("WORKERPOOLADDRESS", &pool)?,
        );
        let mut config = Config::new(endpoints, rlc, hub, pool, Arc::clone(wallet), folder.to_owned());
        config.node = node;
        config.chain_id = given(self.chain_id.as_deref())
            .map(|text| text.parse().context("POOL_CHAIN_ID is no number"))
            .transpose()?
            .map(|id| Setting::new("POOL_CHAIN_ID", id));
        config.subscribes = truth("POOL_CHAIN_SUBSCRIBE", self.subscribe.as_deref())?.unwrap_or(false);
        let gwei = |gwei: u64| Wei(u128::from(gwei) * GWEI);
        let (tip, cap) = (gwei(self.gas_tip_gwei), gwei(self.gas_cap_gwei));
        if cap <= tip {
            bail!("POOL_GAS_CAP_GWEI has to be more than POOL_GAS_TIP_GWEI");
        }
        config.fees.multiplier_percent = self.gas_percent;
        (config.fees.tip, config.fees.cap) = (tip, cap);
        config.spend_per_hour_max = Some(gwei(self.gas_per_hour_gwei)).filter(|wei| wei.0 > 0);
        config.final_after = self.final_after;
        config.poll = self.chain_poll.to_duration().max(Duration::from_millis(100));
        config.block_age_s_max = self.block_age_max.0.div_ceil(1_000);
        #[cfg(debug_assertions)]
        if let Ok(faults) = std::env::var(worker_chain::faults::VARIABLE) {
            config.faults =
                worker_chain::faults::Faults::parse(&faults).map_err(|problem| anyhow!(problem))?;
        }
        Ok(Some(config))
    }
}

fn contract(name: &'static str, text: &str) -> anyhow::Result<Setting<Address>> {
    let address = text.trim().parse();
    let address =
        address.map_err(|_| anyhow!("{name}={text} is no address: it is 0x and 40 hexadecimal digits"))?;
    Ok(Setting::new(name, address))
}

/// `None`: it is not said.
fn truth(name: &str, text: Option<&str>) -> anyhow::Result<Option<bool>> {
    let Some(text) = given(text.map(str::trim)) else {
        return Ok(None);
    };
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(Some(true)),
        "false" | "no" | "off" | "0" => Ok(Some(false)),
        _ => bail!("{name}={text}: write true or false"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        chain: ChainArgs,
    }

    const RLC: &str = "0x607f4c5bb672230e8672085532f7e901544a7375";
    const ALL: [&str; 8] = [
        "--node",
        r"http:\/\/one:8545,http://two:8545",
        "--rlc",
        RLC,
        "--hub",
        RLC,
        "--pool",
        RLC,
    ];

    fn read(words: &[&str], has_wallet: bool) -> anyhow::Result<Option<Config>> {
        let line = Line::try_parse_from(["worker"].iter().chain(words)).expect("well-formed");
        let wallet = Arc::new(Wallet::of(&[7; 32]).expect("a key"));
        let wallet = has_wallet.then_some(&wallet);
        line.chain.config(wallet, Path::new("/w"), &Seeds::read(|_| None))
    }

    #[test]
    fn a_chain_is_on_if_all_is_there_and_off_if_that_is_said() {
        let config = read(&ALL, true).expect("good").expect("a chain");
        let nodes: Vec<String> = config.endpoints.iter().map(ToString::to_string).collect();
        assert_eq!(nodes, ["http://one:8545", "http://two:8545"]);
        assert_eq!((config.subscribes, config.block_age_s_max), (false, 300));
        let off = [&ALL[..], &["--chain", "false"]].concat();
        assert!(read(&off, true).expect("good").is_none());
        assert!(read(&[], true).expect("good").is_none());
        assert!(read(&ALL[..6], true).expect("good").is_none());
        assert!(read(&ALL, false).expect("good").is_none());
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let problem =
            |words: &[&str], has_wallet| format!("{:#}", read(words, has_wallet).expect_err("wrong"));
        let told = problem(&["--chain", "true"], false);
        for name in ["WORKERETHNODEADDRESS", "RLCCONTRACT", "WALLETPATH"] {
            assert!(told.contains(name), "{told}");
        }
        let told = problem(&["--chain", "perhaps"], true);
        assert!(told.contains("BLOCKCHAINETHENABLED=perhaps"), "{told}");
        let mut wrong = ALL;
        wrong[3] = "0x12";
        assert!(problem(&wrong, true).contains("RLCCONTRACT=0x12"));
        let told = problem(&[&ALL[..], &["--gas-cap-gwei", "1"]].concat(), true);
        assert!(told.contains("POOL_GAS_CAP_GWEI"), "{told}");
    }
}
