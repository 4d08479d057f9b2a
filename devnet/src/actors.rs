//! Who sends what.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use wire_chain::{Answer, Chain, Counted, Fees, Input, Price, Sent, Setup, Signed, Unsigned, View};
use wire_chain::{At, Seen};
use wire_hub::{Address, Call, Event, Gas, Hash, NOBODY, Receipt, Rlc, Trust, Wei};
use wire_wallet::Wallet;

use crate::{Devnet, DevnetError};

/// Gas that a call may take here: twice what the dearest takes, beside those that make contracts.
pub const GAS_FOR_CALLS: Gas = Gas(2_500_000);

/// Gas for what makes contracts; the hub takes 4.7 million under the oldest rules.
pub const GAS_FOR_CONTRACTS: Gas = Gas(6_000_000);

/// After this a transaction is not slow but stuck.
const MINED_WITHIN: Duration = Duration::from_secs(60);

impl Devnet {
    /// Sends a call and waits for its receipt, which may say that it failed.
    ///
    /// # Errors
    /// The chain does not take it, or no block has it in time.
    pub async fn send(&self, call: &Call, from: &Wallet) -> Result<Receipt, DevnetError> {
        let transaction = self.post(call, from).await?;
        self.mined(transaction.hash).await
    }

    /// The same, and it must not fail.
    ///
    /// # Errors
    /// As [`Devnet::send`], and [`DevnetError::Failed`].
    pub async fn done(&self, call: &Call, from: &Wallet) -> Result<Receipt, DevnetError> {
        succeeded(self.send(call, from).await?, format_args!("{call:?}"))
    }

    /// Sends a call and waits for nothing.
    ///
    /// # Errors
    /// The chain does not take it.
    pub async fn post(&self, call: &Call, from: &Wallet) -> Result<Signed, DevnetError> {
        let Input { to, data } = self.contracts().encode(call);
        let gas = match call {
            Call::CreateWorkerPool { .. } => GAS_FOR_CONTRACTS,
            _ => GAS_FOR_CALLS,
        };
        self.post_data(Some(to), data, gas, from).await
    }

    /// Sends what sets a marketplace up, and waits for it.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn set_up(&self, setup: &Setup, from: &Wallet) -> Result<Receipt, DevnetError> {
        let Input { to, data } = setup.encode(self.contracts());
        let transaction = self.post_data(Some(to), data, GAS_FOR_CALLS, from).await?;
        succeeded(self.mined(transaction.hash).await?, format_args!("{setup:?}"))
    }

    /// Makes a contract of this code.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn create_contract(
        &self,
        code: Vec<u8>,
        gas: Gas,
        from: &Wallet,
    ) -> Result<Address, DevnetError> {
        let transaction = self.post_data(None, code, gas, from).await?;
        succeeded(self.mined(transaction.hash).await?, format_args!("a contract"))?;
        let hash = data_encoding::HEXLOWER.encode(&transaction.hash.0);
        let asked = self.node().rpc().ask(
            "eth_getTransactionReceipt",
            serde_json::json!([format!("0x{hash}")]),
        );
        let receipt = asked.await.map_err(|error| DevnetError::Chain(error.into()))?;
        let address = receipt.get("contractAddress").and_then(|value| value.as_str());
        let bytes = address.and_then(|text| {
            let digits = text.trim_start_matches("0x");
            data_encoding::HEXLOWER_PERMISSIVE.decode(digits.as_bytes()).ok()
        });
        let address = bytes.and_then(|bytes| bytes.try_into().ok());
        address.map(Address).ok_or(DevnetError::NoTrace("a contract"))
    }

    /// Signs what is next of this wallet, and sends it.
    ///
    /// # Errors
    /// The chain does not take it.
    pub async fn post_data(
        &self,
        to: Option<Address>,
        data: Vec<u8>,
        gas: Gas,
        from: &Wallet,
    ) -> Result<Signed, DevnetError> {
        let _alone = self.sending.lock().await;
        let nonce = known(
            self.node().nonce(from.address(), Counted::Pending).await,
            "a nonce",
        )?;
        let price = match known(self.node().fees().await, "fees")? {
            Fees::Market {
                base_fee,
                priority_fee,
            } => Price::Market {
                max_fee: Wei(base_fee.0 * 2 + priority_fee.0),
                priority_fee,
            },
            Fees::Legacy { gas_price } => Price::Legacy { gas_price },
        };
        let transaction = Unsigned {
            chain_id: self.contracts().chain_id,
            nonce,
            to,
            value: Wei(0),
            gas,
            price,
            data,
        };
        let signed = transaction.sign(from);
        match known(self.node().send(&signed).await, "a transaction")? {
            Sent::Accepted if self.in_a_hurry => self.mine(1).await.map(|()| signed),
            Sent::Accepted => Ok(signed),
            other => Err(DevnetError::NotTaken(other)),
        }
    }

    /// Waits for a receipt.
    ///
    /// # Errors
    /// No block has it in time.
    pub async fn mined(&self, transaction: Hash) -> Result<Receipt, DevnetError> {
        let deadline = Instant::now() + MINED_WITHIN;
        let mut pause = Duration::from_millis(1);
        loop {
            if let Some(receipt) = self.node().receipt(transaction).await.found()? {
                return Ok(receipt);
            }
            if Instant::now() > deadline {
                let within = MINED_WITHIN;
                return Err(DevnetError::NotMined { transaction, within });
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(100));
        }
    }

    /// Gives RLC to somebody.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn fund(&self, who: Address, amount: Rlc) -> Result<(), DevnetError> {
        let transfer = Setup::Transfer {
            to: who,
            amount: amount.0,
        };
        self.set_up(&transfer, self.owner()).await.map(drop)
    }

    /// Gives somebody RLC, and puts it to the hub as stake.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn deposit(&self, wallet: &Wallet, amount: Rlc) -> Result<(), DevnetError> {
        self.fund(wallet.address(), amount).await?;
        self.done(&Call::Approve { amount }, wallet).await?;
        self.done(&Call::Deposit { amount }, wallet).await.map(drop)
    }

    /// Makes a pool, which is from now on the one of [`Devnet::contracts`].
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn create_pool(&mut self, lock_stake: Rlc, minimum_stake: Rlc) -> Result<Address, DevnetError> {
        let create = Call::CreateWorkerPool {
            description: "a pool".to_owned(),
            subscription_lock_stake: lock_stake,
            subscription_minimum_stake: minimum_stake,
            subscription_minimum_score: 0,
        };
        let receipt = self.done(&create, self.scheduler()).await?;
        let pool = receipt.logs.iter().find_map(|log| match log.event {
            Event::CreateWorkerPool { pool, .. } => Some(pool),
            _ => None,
        });
        let pool = pool.ok_or(DevnetError::NoTrace("createWorkerPool"))?;
        self.know(self.contracts.with_pool(pool));
        Ok(pool)
    }

    /// Makes an app of the owner of the marketplace.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn create_app(&self, name: &str, price: Rlc, params: &str) -> Result<Address, DevnetError> {
        let create = Setup::CreateApp {
            name: name.to_owned(),
            price: price.0,
            params: params.to_owned(),
        };
        self.set_up(&create, self.owner()).await?;
        let owner = self.owner().address();
        let Some(Seen::Count(index)) = self
            .node()
            .look(View::AppsCount { owner }, At::Latest)
            .await
            .found()?
        else {
            return Err(DevnetError::NoTrace("createApp"));
        };
        match self
            .node()
            .look(View::AppOf { owner, index }, At::Latest)
            .await
            .found()?
        {
            Some(Seen::Address(app)) => Ok(app),
            _ => Err(DevnetError::NoTrace("createApp")),
        }
    }

    /// A worker joins the pool.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn subscribe(&self, worker: &Wallet) -> Result<(), DevnetError> {
        self.done(&Call::SubscribeToPool, worker).await.map(drop)
    }

    /// The scheduler offers works; the offer's number.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn sell(
        &self,
        category: u64,
        trust: u128,
        value: Rlc,
        volume: u64,
    ) -> Result<u64, DevnetError> {
        let sell = Call::CreateMarketOrder {
            category,
            trust: Trust(trust),
            value,
            volume,
        };
        let receipt = self.done(&sell, self.scheduler()).await?;
        let created = receipt.logs.iter().find_map(|log| match log.event {
            Event::MarketOrderCreated { market_order } => Some(market_order),
            _ => None,
        });
        created.ok_or(DevnetError::NoTrace("createMarketOrder"))
    }

    /// The requester buys a work for itself; the order's address. `callback`: whom to tell, or [`NOBODY`].
    ///
    /// # Errors
    /// As [`Devnet::done`].
    pub async fn buy(
        &self,
        market_order: u64,
        app: Address,
        params: &str,
        callback: Address,
    ) -> Result<Address, DevnetError> {
        let buy = Call::BuyForWorkOrder {
            market_order,
            app,
            dataset: NOBODY,
            params: params.to_owned(),
            callback,
            beneficiary: self.requester().address(),
        };
        let receipt = self.done(&buy, self.requester()).await?;
        let active = receipt.logs.iter().find_map(|log| match log.event {
            Event::WorkOrderActive { woid } => Some(woid),
            _ => None,
        });
        active.ok_or(DevnetError::NoTrace("buyForWorkOrder"))
    }

    /// A pool with workers, and people with stake: scheduler, requester and so many workers have a million nRLC each; the
    /// pool locks 10 of a worker's and asks for 10 more. The answer is an app, which takes 7 nRLC for a use.
    ///
    /// # Errors
    /// As [`Devnet::done`].
    ///
    /// # Panics
    /// There are not so many wallets.
    pub async fn populate(&mut self, workers: usize) -> Result<Address, DevnetError> {
        let stake = Rlc(1_000_000);
        self.deposit(self.scheduler(), stake).await?;
        self.deposit(self.requester(), stake).await?;
        self.create_pool(Rlc(10), Rlc(10)).await?;
        for worker in &self.workers()[..workers] {
            self.deposit(worker, stake).await?;
            self.subscribe(worker).await?;
        }
        let command = r#"{"type":"DOCKER","envvars":"XWDOCKERIMAGE=busybox"}"#;
        self.create_app("an app", Rlc(7), command).await
    }
}

fn known<T>(answer: Answer<T>, what: &'static str) -> Result<T, DevnetError> {
    answer.found()?.ok_or(DevnetError::NoTrace(what))
}

fn succeeded(receipt: Receipt, what: std::fmt::Arguments<'_>) -> Result<Receipt, DevnetError> {
    if receipt.succeeded {
        return Ok(receipt);
    }
    Err(DevnetError::Failed {
        what: what.to_string(),
        transaction: receipt.transaction,
    })
}
