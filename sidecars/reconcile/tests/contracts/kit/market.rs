//! Who offers, buys and claims, and what everybody has.

use sidecars_reconcile::core::order::Texts;
use wire_chain::{At, Chain, Seen, View};
use wire_hub::{
    Address, Balance, Call, Consensus, ContributionStatus, Event, Hash, Log, NOBODY, OrderStatus, Receipt,
    Rlc, Timestamp, Trust,
};
use wire_wallet::Wallet;

use super::pool::Pool;

/// What a work costs, in nRLC, beside 7 for its app: the pool stakes 300 for it, and so does each worker.
const VALUE: u128 = 1_000;

impl Pool {
    /// Offers so many works, by a transaction of the pool; the offer's number.
    pub(crate) async fn sell(&mut self, trust: u128, volume: u64) -> u64 {
        let count = self.offers().await;
        self.wish(Call::CreateMarketOrder {
            category: 1,
            trust: Trust(trust),
            value: Rlc(VALUE),
            volume,
        })
        .await;
        self.until("offered", async |pool| pool.offers().await > count)
            .await;
        count + 1
    }

    async fn offers(&self) -> u64 {
        match self
            .devnet
            .node()
            .look(View::MarketOrdersCount, At::Latest)
            .await
            .found()
        {
            Ok(Some(Seen::Count(count))) => count,
            other => panic!("{other:?}"),
        }
    }

    /// An order of a value of 1000 nRLC, of an offer of its own.
    pub(crate) async fn order(&mut self, trust: u128) -> Address {
        let offer = self.sell(trust, 1).await;
        self.buy(offer, "--level 3").await
    }

    /// The requester buys a work.
    pub(crate) async fn buy(&mut self, offer: u64, params: &str) -> Address {
        self.buy_for(offer, params, NOBODY).await
    }

    /// The same, with somebody to be called back.
    pub(crate) async fn buy_for(&mut self, offer: u64, params: &str, callback: Address) -> Address {
        let posted = self.post_purchase(offer, params, callback).await;
        self.round().await;
        self.bought(posted).await.expect("an order")
    }

    /// The same, in some block to come.
    pub(crate) async fn post_purchase(&self, offer: u64, params: &str, callback: Address) -> Hash {
        let requester = self.devnet.requester();
        let buy = Call::BuyForWorkOrder {
            market_order: offer,
            app: self.app,
            dataset: NOBODY,
            params: params.to_owned(),
            callback,
            beneficiary: requester.address(),
        };
        self.devnet.post(&buy, requester).await.expect("taken").hash
    }

    /// The order that a purchase has made, if it is in a block.
    pub(crate) async fn bought(&self, purchase: Hash) -> Option<Address> {
        let receipt = self.devnet.node().receipt(purchase).await.found();
        let receipt = receipt.expect("an answer")?;
        receipt.logs.iter().find_map(|log| log.event.woid())
    }

    /// All that the pool's contract has said.
    pub(crate) async fn logs(&self) -> Vec<Log> {
        let head = self.devnet.node().head().await.found();
        let last = head.expect("an answer").expect("a block").at.number;
        let logs = self.devnet.node().logs(0..=last).await.found();
        logs.expect("an answer").expect("logs")
    }

    /// The number of the last block in which something like it happened.
    pub(crate) async fn event_in(&self, is_it: impl Fn(&Event) -> bool) -> u64 {
        let logs = self.logs().await;
        let log = logs.iter().rfind(|log| is_it(&log.event));
        log.expect("it happened").place.block.number
    }

    /// The number of the block that bought an order.
    pub(crate) async fn bought_in(&self, woid: Address) -> u64 {
        self.event_in(|event| matches!(event, Event::WorkOrderActive { woid: of } if *of == woid))
            .await
    }

    /// What a completed order has given its requester, as the chain says it.
    pub(crate) async fn texts_of(&self, woid: Address) -> Texts {
        let texts = |log: Log| match log.event {
            Event::FinalizeWork {
                woid: of,
                stdout,
                stderr,
                uri,
            } if of == woid => Some(Texts { stdout, stderr, uri }),
            _ => None,
        };
        let found = self.logs().await.into_iter().find_map(texts);
        found.expect("it is completed")
    }

    /// The requester takes its money back.
    pub(crate) async fn claim(&mut self, woid: Address) -> Receipt {
        let claim = Call::ClaimFailedConsensus { woid };
        let requester = self.devnet.requester();
        let posted = self.devnet.post(&claim, requester).await.expect("taken");
        self.round().await;
        self.devnet.mined(posted.hash).await.expect("mined")
    }

    /// Who may claim an order now.
    pub(crate) async fn late_requester(&self, woid: Address) -> Option<Address> {
        let order = self
            .devnet
            .node()
            .work_orders(&[woid], At::Latest)
            .await
            .remove(0);
        let order = order.found().expect("an answer")?;
        let head = self.devnet.node().head().await.found();
        let now = head.expect("an answer").expect("a block").timestamp;
        let is_open = matches!(order.status, OrderStatus::Active | OrderStatus::Revealing);
        (is_open && now > self.timeout(woid).await).then_some(order.requester)
    }

    pub(crate) async fn status(&self, woid: Address) -> OrderStatus {
        let mut orders = self.devnet.node().work_orders(&[woid], At::Latest).await;
        let order = orders.remove(0).found().expect("an answer");
        order.map_or(OrderStatus::Unset, |order| order.status)
    }

    pub(crate) async fn consensus(&self, woid: Address) -> Consensus {
        let mut all = self.devnet.node().consensuses(&[woid], At::Latest).await;
        all.remove(0).found().expect("an answer").unwrap_or_default()
    }

    pub(crate) async fn timeout(&self, woid: Address) -> Timestamp {
        self.consensus(woid).await.consensus_timeout
    }

    /// How far a worker is with an order.
    pub(crate) async fn part(&self, woid: Address, index: usize) -> ContributionStatus {
        let who = [self.members[index].address()];
        let mut all = self.devnet.node().contributions(woid, &who, At::Latest).await;
        all.remove(0)
            .found()
            .expect("an answer")
            .unwrap_or_default()
            .status
    }

    /// Rounds, until an order has this status.
    pub(crate) async fn until_status(&mut self, woid: Address, status: OrderStatus) {
        let what = format!("{status:?}");
        self.until(&what, async |pool| pool.status(woid).await == status)
            .await;
    }

    /// Rounds, until a worker is so far with an order.
    pub(crate) async fn until_part(&mut self, woid: Address, index: usize, status: ContributionStatus) {
        let what = format!("{status:?}");
        self.until(&what, async |pool| pool.part(woid, index).await == status)
            .await;
    }

    pub(crate) async fn balance_of(&self, who: Address) -> Balance {
        let found = self.devnet.node().balances(&[who], At::Latest).await.remove(0);
        found.found().expect("an answer").expect("a balance")
    }

    pub(crate) async fn balance(&self, who: &Wallet) -> Balance {
        self.balance_of(who.address()).await
    }

    /// What a worker has.
    pub(crate) async fn has(&self, index: usize) -> Balance {
        self.balance_of(self.members[index].address()).await
    }

    /// What the pool has.
    pub(crate) async fn pool_has(&self) -> Balance {
        self.balance(self.devnet.scheduler()).await
    }

    /// What the requester has.
    pub(crate) async fn requester_has(&self) -> Balance {
        self.balance(self.devnet.requester()).await
    }

    /// Contributions of all orders that were right and wrong, as the hub counts them (`m_contributionHistory`).
    pub(crate) async fn history(&self) -> (u64, u64) {
        let hub = self.devnet.contracts().hub.to_string();
        let asked = serde_json::json!([{ "to": hub, "data": "0x10793b50" }, "latest"]);
        let answer = self.devnet.node().rpc().ask("eth_call", asked).await;
        let answer = answer.expect("an answer");
        let digits = answer.as_str().expect("bytes").trim_start_matches("0x");
        let word = |at: usize| u64::from_str_radix(&digits[64 * at + 48..64 * (at + 1)], 16);
        (word(0).expect("digits"), word(1).expect("digits"))
    }

    /// Gas of the pool's last transaction of this name.
    pub(crate) async fn gas(&self, name: &str) -> u64 {
        let transactions = self.journal.mined_now();
        let last = transactions
            .iter()
            .rfind(|hash| self.journal.name(**hash) == name);
        let receipt = self.devnet.node().receipt(*last.expect(name)).await.found();
        receipt.expect("an answer").expect("it is mined").gas_used.0
    }

    /// A worker's score.
    pub(crate) async fn score(&self, index: usize) -> u64 {
        let worker = self.members[index].address();
        let mut all = self.devnet.node().affiliations(&[worker], At::Latest).await;
        all.remove(0).found().expect("an answer").expect("a worker").score
    }
}

/// What is asked for is known.
pub(crate) const fn has(stake: u128, locked: u128) -> Balance {
    Balance {
        stake: Rlc(stake),
        locked: Rlc(locked),
    }
}
