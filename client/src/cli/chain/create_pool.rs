//! `pool chain create-pool`: a pool's contract, made once, by whoever will own it.

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};
use wire_chain::rpc::{Endpoint, Rpc, RpcOptions};
use wire_chain::start::{self, Setting};
use wire_chain::{Answer, At, Chain, Counted, Fees, Node, Price, Seen, Sent, Simulated, Unsigned, View, Why};
use wire_hub::{Address, Call, Event, Gas, Receipt, Rlc, Wei};
use wire_wallet::{Wallet, keystore};

use crate::cli::Context;
use crate::cli::args::CreatePool;
use crate::cli::exit::{Exit, Failure};
use crate::cli::output::Show;

const GWEI: u128 = 1_000_000_000;

/// After this a transaction is not slow but stuck.
const MINED_WITHIN: Duration = Duration::from_secs(600);

/// Between two looks for its receipt.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is done, or would be.
struct Made {
    owner: Address,
    description: String,
    gas: Gas,
    cost_max: Wei,
    /// The contract; `None`: nothing was sent.
    pool: Option<Address>,
}

#[derive(Serialize)]
struct MadeJson<'a> {
    owner: String,
    description: &'a str,
    gas: u64,
    cost_max_wei: String,
    pool: Option<String>,
}

impl Show for Made {
    const KIND: &'static str = "created-pool";
    type Json<'a> = MadeJson<'a>;

    fn json(&self) -> MadeJson<'_> {
        MadeJson {
            owner: self.owner.to_string(),
            description: &self.description,
            gas: self.gas.0,
            cost_max_wei: self.cost_max.0.to_string(),
            pool: self.pool.map(|pool| pool.to_string()),
        }
    }

    const COLUMNS: &'static [&'static str] = &["OWNER", "POOL", "GAS"];

    fn cells(&self) -> Vec<String> {
        let pool = self.pool.map_or_else(String::new, |pool| pool.to_string());
        vec![self.owner.to_string(), pool, self.gas.0.to_string()]
    }

    fn text(&self) -> String {
        let what = format!(
            "a pool `{}` of the wallet {}: {} gas, at most {} for it",
            self.description, self.owner, self.gas.0, self.cost_max
        );
        match self.pool {
            None => format!("would create {what}\nNothing was sent; --yes sends it."),
            Some(pool) => format!("created {what}\nWORKERPOOLADDRESS={pool}"),
        }
    }
}

pub(super) async fn run(context: &Context, arguments: CreatePool) -> Result<Exit, Failure> {
    let wallet = wallet(&arguments)?;
    let node = node(&arguments).await?;
    let owner = wallet.address();
    let pools = match node
        .look(View::PoolsCount { owner }, At::Latest)
        .await
        .found()
        .map_err(asked)?
    {
        Some(Seen::Count(pools)) => pools,
        _ => 0,
    };
    if pools > 0 && !arguments.another {
        let first = View::PoolOf { owner, index: 1 };
        let first = match node.look(first, At::Latest).await.found().map_err(asked)? {
            Some(Seen::Address(pool)) => format!(", {pool} the first"),
            _ => String::new(),
        };
        let message = format!("the wallet {owner} owns {pools} already{first}");
        let failure = Failure::new(Exit::Conflict, message);
        return Err(failure.cure("use that one, or create another with --another"));
    }
    let nrlc = |amount: u64| Rlc(u128::from(amount));
    let call = Call::CreateWorkerPool {
        description: arguments.description.clone(),
        subscription_lock_stake: nrlc(arguments.lock_stake),
        subscription_minimum_stake: nrlc(arguments.minimum_stake),
        subscription_minimum_score: arguments.minimum_score,
    };
    let gas = match node.simulate(&call, owner).await.found().map_err(asked)? {
        Some(Simulated::Succeeds(gas)) => Gas(gas.0 + gas.0 / 5),
        Some(Simulated::Reverts(why)) => {
            return Err(Failure::new(
                Exit::Failed,
                format!("the hub would not take it: {why}"),
            ));
        }
        None => {
            return Err(Failure::new(
                Exit::Unavailable,
                "the node says nothing of what it would cost",
            ));
        }
    };
    let (price, price_max) = price(&node, arguments.gas_cap_gwei).await?;
    let cost_max = Wei(price_max.0.saturating_mul(u128::from(gas.0)));
    let coins = node
        .ether(owner, At::Latest)
        .await
        .found()
        .map_err(asked)?
        .unwrap_or_default();
    if coins < cost_max {
        let message = format!("the wallet {owner} has {coins}, and it may cost {cost_max}");
        return Err(Failure::new(Exit::Conflict, message).cure("send it more"));
    }
    let mut made = Made {
        owner,
        description: arguments.description.clone(),
        gas,
        cost_max,
        pool: None,
    };
    if arguments.yes {
        made.pool = Some(send(&node, &wallet, &call, gas, price).await?);
    }
    context.output.one(&made)?;
    Ok(Exit::Ok)
}

fn wallet(arguments: &CreatePool) -> Result<Wallet, Failure> {
    let password = password(arguments)?;
    keystore::open(&arguments.wallet, &password).map_err(|error| {
        let what = format!("WALLETPATH {} cannot be used", arguments.wallet.display());
        Failure::caused(Exit::Config, what, &error)
    })
}

fn password(arguments: &CreatePool) -> Result<String, Failure> {
    match (&arguments.wallet_password, &arguments.wallet_password_file) {
        (Some(password), None) => Ok(password.clone()),
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| {
                let what = format!("WALLETPASSWORD_FILE {} cannot be read", file.display());
                Failure::caused(Exit::Config, what, &error)
            })?;
            Ok(text.trim_end_matches(['\r', '\n']).to_owned())
        }
        _ => Err(Failure::config("the wallet's password is needed once")
            .cure("set WALLETPASSWORD, or WALLETPASSWORD_FILE to a file that holds it")),
    }
}

/// A node of the marketplace that is meant.
async fn node(arguments: &CreatePool) -> Result<Node, Failure> {
    let endpoint: Endpoint = arguments
        .node
        .parse()
        .map_err(|error| Failure::caused(Exit::Config, "ETHNODE", &error))?;
    let rpc = Rpc::new(endpoint, RpcOptions::default());
    let rpc = rpc.map_err(|problem| Failure::new(Exit::Failed, format!("cannot ask nodes: {problem}")))?;
    let settings = start::Settings {
        node: "ETHNODE",
        chain_id: None,
        rlc: Setting::new("RLCCONTRACT", arguments.rlc),
        hub: Setting::new("IEXECHUBCONTRACT", arguments.hub),
        pool: None,
        owner: None,
    };
    let contracts = start::check(std::slice::from_ref(&rpc), &settings).await;
    let contracts = contracts.map_err(|error| Failure::caused(Exit::Config, "the marketplace", &error))?;
    Ok(Node::new(rpc, contracts))
}

async fn price(node: &Node, cap_gwei: u64) -> Result<(Price, Wei), Failure> {
    let cap = Wei(u128::from(cap_gwei) * GWEI);
    let (price, max) = match node.fees().await.found().map_err(asked)? {
        Some(Fees::Market {
            base_fee,
            priority_fee,
        }) => {
            let max_fee = Wei(base_fee.0 * 2 + priority_fee.0);
            let price = Price::Market {
                max_fee,
                priority_fee,
            };
            (price, max_fee)
        }
        Some(Fees::Legacy { gas_price }) => (Price::Legacy { gas_price }, gas_price),
        None => {
            return Err(Failure::new(
                Exit::Unavailable,
                "the node says nothing of what gas costs",
            ));
        }
    };
    if max > cap {
        let message = format!("gas costs {max} a unit now, and {cap} is the most that is paid");
        return Err(Failure::new(Exit::Conflict, message).cure("wait, or raise --gas-cap-gwei"));
    }
    Ok((price, max))
}

async fn send(node: &Node, wallet: &Wallet, call: &Call, gas: Gas, price: Price) -> Result<Address, Failure> {
    let nonce = node
        .nonce(wallet.address(), Counted::Pending)
        .await
        .found()
        .map_err(asked)?;
    let nonce =
        nonce.ok_or_else(|| Failure::new(Exit::Unavailable, "the node knows nothing of the wallet"))?;
    let input = node.contracts().encode(call);
    let signed = Unsigned {
        chain_id: node.contracts().chain_id,
        nonce,
        to: Some(input.to),
        value: Wei(0),
        gas,
        price,
        data: input.data,
    }
    .sign(wallet);
    match node.send(&signed).await.found().map_err(asked)? {
        Some(Sent::Accepted | Sent::AlreadyKnown) => {}
        other => {
            let message = format!("the node does not take the transaction: {other:?}");
            return Err(Failure::new(Exit::Failed, message));
        }
    }
    let deadline = Instant::now() + MINED_WITHIN;
    loop {
        if let Answer::Known(receipt) = node.receipt(signed.hash).await {
            return created(&receipt);
        }
        if Instant::now() > deadline {
            let message = format!("transaction {} is in no block yet", signed.hash);
            return Err(Failure::new(Exit::Unavailable, message)
                .cure("look for it before you send another: it may still be mined"));
        }
        sleep(LOOK_EVERY).await;
    }
}

fn created(receipt: &Receipt) -> Result<Address, Failure> {
    let pool = receipt.logs.iter().find_map(|log| match log.event {
        Event::CreateWorkerPool { pool, .. } => Some(pool),
        _ => None,
    });
    pool.filter(|_| receipt.succeeded).ok_or_else(|| {
        let message = format!("transaction {} was mined, and made no pool", receipt.transaction);
        Failure::new(Exit::Failed, message)
    })
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn asked(why: Why) -> Failure {
    Failure::caused(Exit::Unavailable, "the node does not answer", &why)
}
