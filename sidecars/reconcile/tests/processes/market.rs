//! A whole pool on a chain: engine, reconciler and workers with wallets, each a process, and a requester.

use std::time::{Duration, Instant};

use devnet::{Devnet, Options};
use testkit::processes::Engine;
use wire_chain::{At, Chain};
use wire_hub::{Address, Balance, Call, Event, Hash, NOBODY, OrderStatus, Rlc};
use wire_wallet::Wallet;

use crate::kit::{HUSH, Sidecar, keystore};

/// What everybody has staked, nRLC.
pub(crate) const STAKE: u128 = 1_000_000;

/// What an order is sold for, nRLC.
pub(crate) const PRICE: u128 = 1_000;

pub(crate) struct Market {
    pub(crate) devnet: Devnet,
    pub(crate) engine: Engine,
    pub(crate) sidecar: Sidecar,
    pub(crate) app: Address,
    workers: usize,
}

impl Market {
    /// With so many workers, of which each runs so many works at once, and a block a second.
    pub(crate) async fn open(workers: usize, slots: u32, options: Options) -> Self {
        let options = Options {
            accounts: 3 + workers,
            // What the node calls final, after so many blocks.
            slots_in_an_epoch: 4,
            ..options
        };
        let mut devnet = Devnet::start(options).await.expect("a chain");
        devnet.populate(workers).await.expect("a pool");
        let app = devnet
            .create_app("echo", Rlc(0), r#"{"cmdline":"echo"}"#)
            .await
            .expect("an app");
        devnet
            .set_block_time(Duration::from_secs(1))
            .await
            .expect("blocks");
        let engine = Engine::start(&[]);
        let sidecar = Sidecar::new(&devnet, &engine).with("POOL_CHAIN_FINAL_AFTER", "4");
        let mut market = Self {
            devnet,
            engine,
            sidecar,
            app,
            workers,
        };
        for index in 0..workers {
            market.add_worker(index, slots);
        }
        market
    }

    /// Starts the worker with this wallet of the chain.
    pub(crate) fn add_worker(&mut self, index: usize, slots: u32) {
        let contracts = *self.devnet.contracts();
        let wallet = keystore(self.engine.folder(), &self.devnet.keys()[3 + index]);
        let variables = [
            ("ETHNODE", self.devnet.url().to_owned()),
            ("RLCCONTRACT", contracts.rlc.to_string()),
            ("IEXECHUBCONTRACT", contracts.hub.to_string()),
            ("WORKERPOOLADDRESS", contracts.pool.to_string()),
            ("WALLETPATH", wallet.display().to_string()),
            ("WALLETPASSWORD", HUSH.to_owned()),
            ("POOL_CHAIN_POLL", "200ms".to_owned()),
            ("POOL_CHAIN_FINAL_AFTER", "4".to_owned()),
        ];
        self.engine
            .add_worker_with(&format!("worker-{index}"), slots, &variables);
    }

    /// The pool offers so many works of the second category with this trust.
    pub(crate) async fn sell(&self, trust: u128, volume: u64) -> u64 {
        let offer = self.devnet.sell(2, trust, Rlc(PRICE), volume).await;
        offer.expect("an offer")
    }

    /// The requester buys one.
    pub(crate) async fn buy(&self, offer: u64, params: &str) -> Address {
        let order = self.devnet.buy(offer, self.app, params, NOBODY).await;
        order.expect("an order")
    }

    /// The same without waiting for its block; the transaction.
    pub(crate) async fn post(&self, offer: u64, params: &str) -> Hash {
        let buy = Call::BuyForWorkOrder {
            market_order: offer,
            app: self.app,
            dataset: NOBODY,
            params: params.to_owned(),
            callback: NOBODY,
            beneficiary: self.devnet.requester().address(),
        };
        let posted = self.devnet.post(&buy, self.devnet.requester()).await;
        posted.expect("a transaction").hash
    }

    /// The orders that these transactions have bought.
    pub(crate) async fn bought(&self, transactions: Vec<Hash>) -> Vec<Address> {
        let mut orders = Vec::new();
        for transaction in transactions {
            let receipt = self.devnet.mined(transaction).await.expect("a receipt");
            orders.extend(receipt.logs.iter().filter_map(|log| match log.event {
                Event::WorkOrderActive { woid } => Some(woid),
                _ => None,
            }));
        }
        orders
    }

    /// Where an order stands.
    pub(crate) async fn status(&self, woid: Address) -> OrderStatus {
        let order = self
            .devnet
            .node()
            .work_orders(&[woid], At::Latest)
            .await
            .remove(0);
        order.found().expect("an answer").expect("an order").status
    }

    /// Waits until an order has this status.
    pub(crate) async fn until(&self, woid: Address, status: OrderStatus) {
        let deadline = Instant::now() + Duration::from_secs(600);
        while self.status(woid).await != status {
            assert!(
                Instant::now() < deadline,
                "it never is {status:?}\n{}\n{}",
                self.sidecar.log(),
                self.engine.log()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What somebody has at the hub.
    pub(crate) async fn balance(&self, who: &Wallet) -> Balance {
        let found = self
            .devnet
            .node()
            .balances(&[who.address()], At::Latest)
            .await
            .remove(0);
        found.found().expect("an answer").expect("a balance")
    }

    /// What the workers have at the hub, locked or not, together.
    pub(crate) async fn of_workers(&self) -> u128 {
        let mut sum = 0;
        for worker in &self.devnet.workers()[..self.workers] {
            let Balance { stake, locked } = self.balance(worker).await;
            sum += stake.0 + locked.0;
        }
        sum
    }
}
