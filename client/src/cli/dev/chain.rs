//! `pool dev --chain`: a chain of the pool's own with the real contracts, its money, and a requester that buys an order.
//!
//! Everything on it is play money, and all keys are known to everybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use devnet::{Devnet, DevnetError, Options};
use tokio::sync::mpsc;
use tokio::time::sleep;
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{Address, MarketStatus, NOBODY, OrderStatus, Rlc};
use wire_wallet::keystore;

use crate::cli::exit::{Exit, Failure};

/// The password of the keystores; their keys are no secret.
pub(super) const PASSWORD: &str = "development";

/// A block each so often.
const BLOCK: Duration = Duration::from_secs(1);

/// What everybody has staked, in nRLC.
const STAKE: Rlc = Rlc(1_000_000);

/// Category of the works that the pool offers: its period is long enough to look on.
pub(super) const CATEGORY: u64 = 3;

/// What a work costs, in nRLC.
pub(super) const PRICE: u64 = 1_000;

/// Works of an offer.
pub(super) const VOLUME: u64 = 10;

/// Accounts before those of the workers: who made the marketplace, the pool's owner, the requester.
const PEOPLE: usize = 3;

/// The chain, and who is on it.
pub(super) struct DevChain {
    devnet: Devnet,
    app: Address,
    wallets: PathBuf,
}

impl DevChain {
    /// Starts a chain and makes on it a marketplace, a pool, workers with stake, a requester with money, and an app that
    /// prints what it is told.
    pub(super) async fn start(folder: &Path, workers: u32) -> Result<Self, Failure> {
        let options = Options {
            accounts: PEOPLE + workers as usize,
            chain_id: chain_id(),
            ..Options::default()
        };
        let mut devnet = Devnet::start(options).await.map_err(failed)?;
        let app = prepare(&mut devnet).await.map_err(failed)?;
        let wallets = folder.join("wallets");
        let chain = Self { devnet, app, wallets };
        chain.write_keystores().map_err(|error| {
            let what = format!("cannot keep wallets in {}", chain.wallets.display());
            Failure::caused(Exit::Config, what, &error)
        })?;
        Ok(chain)
    }

    fn write_keystores(&self) -> io::Result<()> {
        fs::create_dir_all(&self.wallets)?;
        let names = std::iter::once((1, "scheduler".to_owned()));
        let workers = (PEOPLE..self.devnet.wallets().len())
            .map(|index| (index, format!("worker-{}", index - PEOPLE + 1)));
        for (index, name) in names.chain(workers) {
            let text = keystore::encrypt(&self.devnet.keys()[index], PASSWORD);
            fs::write(self.keystore(&name), text.expect("keys of the chain are keys"))?;
        }
        Ok(())
    }

    /// The keystore of the scheduler or a worker.
    pub(super) fn keystore(&self, name: &str) -> PathBuf {
        self.wallets.join(format!("{name}.json"))
    }

    /// What a program has to know to find its way on this chain.
    pub(super) fn variables(&self, wallet: &str) -> Vec<(&'static str, String)> {
        let contracts = self.devnet.contracts();
        vec![
            ("ETHNODE", self.devnet.url().to_owned()),
            ("RLCCONTRACT", contracts.rlc.to_string()),
            ("IEXECHUBCONTRACT", contracts.hub.to_string()),
            ("WORKERPOOLADDRESS", contracts.pool.to_string()),
            ("WALLETPATH", self.keystore(wallet).display().to_string()),
            ("WALLETPASSWORD", PASSWORD.to_owned()),
            ("POOL_CHAIN_POLL", "300ms".to_owned()),
        ]
    }

    /// Where its node is.
    pub(super) fn url(&self) -> &str {
        self.devnet.url()
    }

    /// The requester buys a work of the pool's first offer, and what becomes of it is told line by line.
    pub(super) async fn show_an_order(&self, lines: &mpsc::Sender<String>) -> Result<(), Failure> {
        self.try_show(lines).await.map_err(failed)
    }

    async fn try_show(&self, lines: &mpsc::Sender<String>) -> Result<(), DevnetError> {
        let say = async |line: String| drop(lines.send(line).await);
        let offer = self.first_offer().await?;
        say(format!(
            "order      the pool offers works of category {CATEGORY} for {PRICE} nRLC each"
        ))
        .await;
        let before = self.stakes().await?;
        let woid = self
            .devnet
            .buy(offer, self.app, "hello from the chain", NOBODY)
            .await?;
        say(format!(
            "order      the requester has bought one: {woid}, and its {PRICE} nRLC are locked"
        ))
        .await;
        let mut last = None;
        loop {
            let now = self.look(woid).await?;
            if last != Some(now) {
                say(now.to_line()).await;
                last = Some(now);
            }
            match now.status {
                OrderStatus::Completed | OrderStatus::Claimed => break,
                _ => sleep(BLOCK / 4).await,
            }
        }
        for (index, (before, after)) in before.iter().zip(self.stakes().await?).enumerate() {
            if after > *before {
                let who = match index {
                    0 => "the pool".to_owned(),
                    index => format!("worker-{index}"),
                };
                say(format!("order      {who} has earned {}", after.less(*before))).await;
            }
        }
        Ok(())
    }

    /// The pool's first offer that is open; it is waited for.
    async fn first_offer(&self) -> Result<u64, DevnetError> {
        let node = self.devnet.node();
        loop {
            if let Some(Seen::Count(count)) = node.look(View::MarketOrdersCount, At::Latest).await.found()? {
                for id in 1..=count {
                    let offer = node.look(View::MarketOrder { id }, At::Latest).await.found()?;
                    if let Some(Seen::MarketOrder(offer)) = offer
                        && offer.status == MarketStatus::Ask
                        && offer.remaining > 0
                    {
                        return Ok(id);
                    }
                }
            }
            sleep(BLOCK / 4).await;
        }
    }

    /// What the pool's owner and each worker have at the hub, locked or not.
    async fn stakes(&self) -> Result<Vec<Rlc>, DevnetError> {
        let owner = self.devnet.scheduler().address();
        let workers = self.devnet.workers().iter().map(wire_wallet::Wallet::address);
        let who: Vec<Address> = std::iter::once(owner).chain(workers).collect();
        let mut stakes = Vec::new();
        for balance in self.devnet.node().balances(&who, At::Latest).await {
            let balance = balance.found()?.unwrap_or_default();
            stakes.push(balance.stake.plus(balance.locked));
        }
        Ok(stakes)
    }

    async fn look(&self, woid: Address) -> Result<Glance, DevnetError> {
        let node = self.devnet.node();
        let order = node.work_orders(&[woid], At::Latest).await.remove(0).found()?;
        let consensus = node.consensuses(&[woid], At::Latest).await.remove(0).found()?;
        let contributed = match node
            .look(View::ContributorsCount { woid }, At::Latest)
            .await
            .found()?
        {
            Some(Seen::Count(count)) => count,
            _ => 0,
        };
        Ok(Glance {
            status: order.map(|order| order.status).unwrap_or_default(),
            contributed,
            revealed: consensus.map_or(0, |consensus| consensus.reveal_counter),
        })
    }
}

/// An order as the chain has it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Glance {
    status: OrderStatus,
    contributed: u64,
    revealed: u64,
}

impl Glance {
    fn to_line(self) -> String {
        match (self.status, self.contributed, self.revealed) {
            (OrderStatus::Active, 0, _) => {
                "order      active: the pool asks a worker, and lets it contribute".to_owned()
            }
            (OrderStatus::Active, count, _) => {
                format!("order      {count} has contributed its result, hidden until it is revealed")
            }
            (OrderStatus::Revealing, _, 0) => {
                "order      revealing: the pool believes the result, whoever has it shows it".to_owned()
            }
            (OrderStatus::Revealing, _, count) => format!("order      {count} has revealed it"),
            (OrderStatus::Completed, ..) => {
                "order      completed: the result is on chain, everybody is paid".to_owned()
            }
            (OrderStatus::Claimed, ..) => {
                "order      claimed: its time has passed, the requester has its money back".to_owned()
            }
            (OrderStatus::Unset, ..) => "order      not there".to_owned(),
        }
    }
}

/// Another chain at each start: what programs have kept of the last one is not of this one.
fn chain_id() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since_1970.as_secs()
}

async fn prepare(devnet: &mut Devnet) -> Result<Address, DevnetError> {
    devnet.deposit(devnet.scheduler(), STAKE).await?;
    devnet.deposit(devnet.requester(), STAKE).await?;
    devnet.create_pool(Rlc(10), Rlc(10)).await?;
    for worker in devnet.workers() {
        devnet.deposit(worker, STAKE).await?;
        devnet.subscribe(worker).await?;
    }
    let app = devnet.create_app("echo", Rlc(0), r#"{"cmdline":"echo"}"#).await?;
    devnet.set_block_time(BLOCK).await?;
    Ok(app)
}

#[expect(clippy::needless_pass_by_value, reason = "it is for `map_err`")]
fn failed(error: DevnetError) -> Failure {
    Failure::caused(Exit::Failed, "the chain of development fails", &error)
        .cure("it needs npm to fetch anvil and the contracts, once: apt install nodejs npm")
}
