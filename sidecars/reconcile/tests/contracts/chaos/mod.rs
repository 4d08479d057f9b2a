//! Orders in a storm: reorganisations up to twelve blocks deep that lose transactions and put them back in another order,
//! nodes that are away, lag, deny and lose, gas that gets dear, kills of the pool at anything it does, and of workers. Then
//! it calms down, and every order ends in one of the four ways, with the money that the contracts' arithmetic gives, and no
//! intent mined twice.
//!
//! Kills of the engine are in `tests/processes/orders.rs`, with real processes. `POOL_TEST_SEED` repeats a run,
//! `POOL_TEST_ORDERS` says how many orders.

mod reorganise;
mod storm;

use std::time::Instant;

use devnet::Options;
use fastrand::Rng;
use wire_chain::lane::sign;
use wire_chain::{Chain, Signed};
use wire_hub::{Call, Gas, Hash, NOBODY, Nonce, Rlc, Wei};
use wire_lane::{Fees, Payload};

use crate::kit::{Ending, HONEST, Habits, Pool, Way, liar};
use storm::{Figures, Storm};

const WORKERS: usize = 6;

/// Wallets before those of requesters.
const OTHERS: usize = 3 + WORKERS;

/// Who buys one work, and sends that again as long as it is not in the chain.
struct Purchase {
    /// `None`: not sent yet.
    signed: Option<Signed>,
    /// A reorganisation took it, and it is not wanted any more.
    is_dropped: bool,
}

struct Chaos {
    pool: Pool,
    rng: Rng,
    offers: Vec<u64>,
    purchases: Vec<Purchase>,
}

impl Chaos {
    async fn new(seed: u64, orders: usize) -> Self {
        let slow = Habits { blocks: 4, ..HONEST };
        let mut way = Way::of(WORKERS, &[HONEST, slow, liar(2), HONEST, slow, HONEST]).with(|settings| {
            // Deeper than any reorganisation.
            settings.observe.final_after = Some(16);
            settings.plan.patience_s = Some(20);
            settings.plan.confirmations = 2;
        });
        way.seed = seed;
        way.options = Options {
            accounts: OTHERS + orders,
            gas_limit: 100_000_000,
            ..way.options
        };
        let mut pool = Pool::of(way).await;
        pool.base_fee = Some(Wei(1_000_000_000));
        pool.devnet.set_automine(true).await.expect("anvil");
        for wallet in &pool.devnet.wallets()[OTHERS..] {
            pool.devnet.deposit(wallet, Rlc(1_007)).await.expect("stake");
        }
        pool.devnet.set_automine(false).await.expect("anvil");
        pool.remember_deposits().await;
        let mut offers = Vec::new();
        for trust in [0, 3, 5] {
            offers.push(pool.sell(trust, orders as u64).await);
        }
        // They are never taken back.
        pool.rounds(20).await;
        let purchases = (0..orders).map(|_| Purchase {
            signed: None,
            is_dropped: false,
        });
        Self {
            purchases: purchases.collect(),
            rng: Rng::with_seed(seed),
            offers,
            pool,
        }
    }

    /// Some more is bought.
    async fn buy(&mut self) {
        let next = self
            .purchases
            .iter()
            .position(|purchase| purchase.signed.is_none());
        let (Some(index), true) = (next, self.rng.bool()) else {
            return;
        };
        let offer = self.offers[self.rng.usize(..self.offers.len())];
        let signed = self.purchase(index, offer);
        self.pool
            .devnet
            .node()
            .send(&signed)
            .await
            .found()
            .expect("taken");
        self.purchases[index].signed = Some(signed);
    }

    fn purchase(&self, index: usize, offer: u64) -> Signed {
        let wallet = &self.pool.devnet.wallets()[OTHERS + index];
        let call = Call::BuyForWorkOrder {
            market_order: offer,
            app: self.pool.app,
            dataset: NOBODY,
            params: format!("number {index}"),
            callback: NOBODY,
            beneficiary: wallet.address(),
        };
        let payload = Payload::Call {
            call,
            gas_limit: Gas(2_000_000),
        };
        // Its own market is not what is tried here: this is enough for every block.
        let fees = Fees::Dynamic {
            max_fee: Wei(900_000_000_000),
            tip: Wei(1_000_000_000),
        };
        // Approving and depositing were the first two.
        sign(self.pool.devnet.contracts(), wallet, Nonce(2), &payload, &fees)
    }

    /// What is not in the chain is sent again, or given up if a reorganisation took it.
    async fn buy_again(&mut self, is_storm: bool) {
        let sent: Vec<(usize, Hash)> = self
            .purchases
            .iter()
            .enumerate()
            .filter(|(_, purchase)| !purchase.is_dropped)
            .filter_map(|(index, purchase)| Some((index, purchase.signed.as_ref()?.hash)))
            .collect();
        let hashes: Vec<Hash> = sent.iter().map(|(_, hash)| *hash).collect();
        let receipts = self.pool.devnet.node().receipts(&hashes).await;
        for ((index, _), receipt) in sent.into_iter().zip(receipts) {
            if receipt.found().expect("an answer").is_some() {
                continue;
            }
            let gives_up = is_storm && self.rng.u8(..100) < 10;
            let purchase = &mut self.purchases[index];
            purchase.is_dropped = gives_up;
            if let (false, Some(signed)) = (gives_up, &purchase.signed) {
                // It may wait already.
                drop(self.pool.devnet.node().send(signed).await);
            }
        }
    }

    fn are_all_bought(&self) -> bool {
        self.purchases.iter().all(|purchase| purchase.signed.is_some())
    }

    /// Half of those whose order was not done take their money back.
    async fn claim(&mut self) -> usize {
        let mut claimed = 0;
        let woids: Vec<_> = self.pool.orders.iter().map(|order| order.woid).collect();
        for woid in woids {
            let Some(requester) = self.pool.late_requester(woid).await else {
                continue;
            };
            if self.rng.bool() {
                let mut wallets = self.pool.devnet.wallets().iter();
                let wallet = wallets.find(|wallet| wallet.address() == requester);
                let claim = Call::ClaimFailedConsensus { woid };
                let sent = self.pool.devnet.post(&claim, wallet.expect("one of them")).await;
                sent.expect("taken");
                claimed += 1;
            }
        }
        self.pool.round().await;
        claimed
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn every_order_ends_and_no_coin_is_lost_whatever_happens() {
    let seed = number("POOL_TEST_SEED", 1);
    let orders = number("POOL_TEST_ORDERS", 16);
    println!("POOL_TEST_SEED={seed} POOL_TEST_ORDERS={orders}");
    let began = Instant::now();
    let mut chaos = Chaos::new(seed, usize::try_from(orders).expect("a few")).await;
    let mut storm = Storm::default();
    let mut after = 0;
    while after < 40 {
        chaos.buy().await;
        storm.blow(&mut chaos).await;
        chaos.pool.round().await;
        after += usize::from(chaos.are_all_bought());
    }
    storm.calm(&mut chaos).await;
    for _ in 0..3 {
        chaos.buy_again(false).await;
        chaos.pool.round().await;
    }
    chaos.pool.settle(800).await;
    let claimed = chaos.claim().await;
    let endings = chaos.pool.settle(100).await;
    let count = |ending: Ending| endings.iter().filter(|other| **other == ending).count();
    let Figures {
        reorganisations,
        deepest,
        pool_kills,
        worker_kills,
        spikes,
        outages,
    } = storm.figures;
    println!(
        "{orders} orders in {:?}: {} completed, {} claimed, {} unclaimed, {} taken back",
        began.elapsed(),
        count(Ending::Completed),
        count(Ending::Claimed),
        count(Ending::Unclaimed),
        count(Ending::Cancelled),
    );
    println!(
        "{reorganisations} reorganisations of up to {deepest} blocks, {pool_kills} kills of the pool and {worker_kills} of \
         workers, {spikes} times dear gas, {outages} outages; {} transactions of the pool were sent, {} are in the chain",
        chaos.pool.sent.len(),
        chaos.pool.steps().await.len()
    );
    assert_eq!(count(Ending::Claimed), claimed);
    assert!(
        count(Ending::Completed) * 2 > endings.len(),
        "most are done all the same: {endings:?}"
    );
    let dropped = chaos
        .purchases
        .iter()
        .filter(|purchase| purchase.is_dropped)
        .count();
    assert!(
        endings.len() + dropped >= chaos.purchases.len(),
        "no order is missed"
    );
}
