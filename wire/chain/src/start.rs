//! Whether the settings lead to the contracts of a pool: looked at once, at start, so that a wrong address is told at once
//! and by the name of its setting, and not by an order that fails.
//!
//! Each question is asked only when what it rests on has been answered well: the node, its chain, the hub, the token, the
//! pool, its owner.

use serde_json::json;
use thiserror::Error;
use wire_hub::{Address, NOBODY};

use crate::rpc::{Endpoint, Rpc};
use crate::{At, Chain, Contracts, Node, Seen, View, Why, json as value};

/// A setting, as the user knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting<T> {
    /// What it is called, `RLCCONTRACT` say.
    pub name: &'static str,
    /// What it says.
    pub value: T,
}

impl<T> Setting<T> {
    /// This.
    pub const fn new(name: &'static str, value: T) -> Self {
        Self { name, value }
    }
}

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// What the nodes' addresses are called; they come beside.
    pub node: &'static str,
    /// The chain's number, if it was given.
    pub chain_id: Option<Setting<u64>>,
    /// The token.
    pub rlc: Setting<Address>,
    /// The hub.
    pub hub: Setting<Address>,
    /// The pool's contract; `None` if it is still to be created.
    pub pool: Option<Setting<Address>>,
    /// The wallet that is to own the pool; `None` for a worker, to which it does not matter whose the pool is.
    pub owner: Option<Setting<Address>>,
}

/// Why a pool cannot work with these settings: which one, what it says, and what helps.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum StartError {
    #[error("{name}={endpoint}: the node does not answer. Start it, or set {name} to the address of another")]
    Node {
        name: &'static str,
        endpoint: Endpoint,
        source: Box<Why>,
    },
    #[error(
        "{name}={endpoint} is a node of chain {found}, and {wanted_by} says {wanted}. Set {name} to a node of that \
         chain, or change {wanted_by}"
    )]
    OtherChain {
        name: &'static str,
        endpoint: Endpoint,
        found: u64,
        wanted: u64,
        wanted_by: String,
    },
    #[error(
        "{name}={address}: there is no contract at this address on chain {chain_id}. Set {name} to the contract's \
         address on that chain, or {node} to a node of the chain that is meant"
    )]
    NoContract {
        name: &'static str,
        address: Address,
        chain_id: u64,
        node: &'static str,
    },
    #[error("{name}={address}: this contract is no IexecHub: {problem}. Set {name} to the hub's address")]
    NoHub {
        name: &'static str,
        address: Address,
        problem: String,
    },
    #[error(
        "{name}={address} is not the token of the hub {hub}, which is {of_hub}. Set {name}={of_hub}, or {hub_name} \
         to the hub of that token"
    )]
    OtherToken {
        name: &'static str,
        address: Address,
        hub_name: &'static str,
        hub: Address,
        of_hub: Address,
    },
    #[error(
        "{name}={address}: the hub {hub} knows no such pool. Set {name} to a pool that was created there, or {hub_name} \
         to the hub of this one"
    )]
    NoPool {
        name: &'static str,
        address: Address,
        hub_name: &'static str,
        hub: Address,
    },
    #[error(
        "{name}={address}: this pool is of the wallet {owner}, and {wallet_name} opens {wallet}. Set {wallet_name} to \
         the owner's keystore, or {name} to a pool of this wallet"
    )]
    OtherOwner {
        name: &'static str,
        address: Address,
        owner: Address,
        wallet_name: &'static str,
        wallet: Address,
    },
}

/// Looks at all of it, and finds the contracts that the hub names. All nodes have to be of one chain; the first is asked
/// about the contracts.
///
/// # Errors
/// The first thing that is wrong.
///
/// # Panics
/// There is no node.
pub async fn check(nodes: &[Rpc], settings: &Settings) -> Result<Contracts, StartError> {
    let mut chain_id = None;
    for rpc in nodes {
        chain_id = Some(check_chain(rpc, settings, chain_id).await?);
    }
    let chain_id = chain_id.expect("a chain has at least one node");
    let unwired = Contracts {
        chain_id,
        rlc: settings.rlc.value,
        hub: settings.hub.value,
        marketplace: NOBODY,
        pools: NOBODY,
        apps: NOBODY,
        datasets: NOBODY,
        pool: settings.pool.map_or(NOBODY, |pool| pool.value),
    };
    let check = Check {
        rpc: &nodes[0],
        settings,
    };
    let contracts = check.hub(unwired).await?;
    check.pool(&contracts).await?;
    Ok(contracts)
}

async fn check_chain(rpc: &Rpc, settings: &Settings, first: Option<u64>) -> Result<u64, StartError> {
    let (name, endpoint) = (settings.node, rpc.endpoint().clone());
    let asked = rpc.ask("eth_chainId", json!([])).await;
    let read = asked
        .map_err(Why::from)
        .and_then(|id| Ok(value::u64_of(&id, "chain id")?));
    let found = match read {
        Ok(found) => found,
        Err(source) => return Err(no_answer(name, endpoint, source)),
    };
    let wanted = match (settings.chain_id, first) {
        (Some(setting), _) if setting.value != found => Some((setting.value, setting.name.to_owned())),
        (_, Some(first)) if first != found => Some((first, format!("the first address in {name}"))),
        _ => None,
    };
    match wanted {
        None => Ok(found),
        Some((wanted, wanted_by)) => Err(StartError::OtherChain {
            name,
            endpoint,
            found,
            wanted,
            wanted_by,
        }),
    }
}

fn no_answer(name: &'static str, endpoint: Endpoint, source: Why) -> StartError {
    StartError::Node {
        name,
        endpoint,
        source: Box::new(source),
    }
}

struct Check<'a> {
    rpc: &'a Rpc,
    settings: &'a Settings,
}

impl Check<'_> {
    /// The hub is one, and the token is its.
    async fn hub(&self, unwired: Contracts) -> Result<Contracts, StartError> {
        let Settings { rlc, hub, .. } = *self.settings;
        self.has_code(&unwired, hub).await?;
        self.has_code(&unwired, rlc).await?;
        let no_hub = |problem: String| StartError::NoHub {
            name: hub.name,
            address: hub.value,
            problem,
        };
        let wiring = match self.look(&unwired, View::Wiring).await? {
            Ok(Some(Seen::Wiring(wiring))) => wiring,
            Ok(_) => return Err(no_hub("it does not answer".to_owned())),
            Err(problem) => return Err(no_hub(problem)),
        };
        match self.look(&unwired, View::CategoriesCount).await? {
            Ok(Some(Seen::Count(1..))) => {}
            Ok(_) => return Err(no_hub("it has no categories".to_owned())),
            Err(problem) => return Err(no_hub(problem)),
        }
        if wiring.marketplace == NOBODY || wiring.pools == NOBODY {
            return Err(no_hub("its other contracts were never attached".to_owned()));
        }
        if wiring.rlc != rlc.value {
            return Err(StartError::OtherToken {
                name: rlc.name,
                address: rlc.value,
                hub_name: hub.name,
                hub: hub.value,
                of_hub: wiring.rlc,
            });
        }
        Ok(Contracts {
            marketplace: wiring.marketplace,
            pools: wiring.pools,
            apps: wiring.apps,
            datasets: wiring.datasets,
            ..unwired
        })
    }

    /// The pool is of the hub, and the wallet's.
    async fn pool(&self, contracts: &Contracts) -> Result<(), StartError> {
        let Settings { hub, owner, .. } = *self.settings;
        let Some(pool) = self.settings.pool else {
            return Ok(());
        };
        self.has_code(contracts, pool).await?;
        let no_pool = StartError::NoPool {
            name: pool.name,
            address: pool.value,
            hub_name: hub.name,
            hub: hub.value,
        };
        let registered = View::PoolRegistered { pool: pool.value };
        if !matches!(self.look(contracts, registered).await?, Ok(Some(Seen::Yes(true)))) {
            return Err(no_pool);
        }
        let Ok(Some(Seen::Address(of))) = self.look(contracts, View::PoolOwner).await? else {
            return Err(no_pool);
        };
        match owner {
            Some(wallet) if wallet.value != of => Err(StartError::OtherOwner {
                name: pool.name,
                address: pool.value,
                owner: of,
                wallet_name: wallet.name,
                wallet: wallet.value,
            }),
            _ => Ok(()),
        }
    }

    async fn has_code(&self, contracts: &Contracts, setting: Setting<Address>) -> Result<(), StartError> {
        let code = value::hex(&setting.value.0);
        let asked = self.rpc.ask("eth_getCode", json!([code, "latest"])).await;
        let read = asked
            .map_err(Why::from)
            .and_then(|code| Ok(value::bytes_of(&code, "code")?));
        match read {
            Ok(code) if code.is_empty() => Err(StartError::NoContract {
                name: setting.name,
                address: setting.value,
                chain_id: contracts.chain_id,
                node: self.settings.node,
            }),
            Ok(_) => Ok(()),
            Err(why) => Err(no_answer(self.settings.node, self.rpc.endpoint().clone(), why)),
        }
    }

    /// What a contract answers; the inner error is that it does not answer like the one that is meant.
    async fn look(
        &self,
        contracts: &Contracts,
        view: View,
    ) -> Result<Result<Option<Seen>, String>, StartError> {
        let node = Node::new(self.rpc.clone(), *contracts);
        match node.look(view, At::Latest).await.found() {
            Ok(found) => Ok(Ok(found)),
            Err(why @ (Why::Reverted(_) | Why::BadData(_))) => Ok(Err(why.to_string())),
            Err(why) => Err(no_answer(self.settings.node, self.rpc.endpoint().clone(), why)),
        }
    }
}
