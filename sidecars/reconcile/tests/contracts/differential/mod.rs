//! The model of the contracts against the contracts: the same calls, valid and not, by chance from a seed, at the same times.
//! Each takes effect in both or in neither, says the same, and leaves the same behind.
//!
//! `POOL_TEST_SEED` repeats a run, `POOL_TEST_STEPS` makes it longer.

mod calls;
mod compare;
mod names;
mod reasons;

use devnet::{Callback, Devnet, Options};
use fastrand::Rng;
use sidecars_reconcile::model::{App, Hub};
use wire_chain::Chain;
use wire_hub::{Address, Call, Policy, Rlc};
use wire_wallet::Wallet;

use calls::Cast;
use names::Names;
use reasons::Reasons;

/// RLC that everybody begins with, none of it staked.
const TOKENS: Rlc = Rlc(20_000);

const PRICE: Rlc = Rlc(7);

const LOCK: Rlc = Rlc(10);

/// Half a minute a period.
const PERIODS_S: [u64; 2] = [30, 120];

struct Both {
    devnet: Devnet,
    hub: Hub,
    names: Names,
    cast: Cast,
    reasons: Reasons,
    /// Calls that took effect, and all.
    done: (usize, usize),
}

impl Both {
    async fn new() -> Self {
        let options = Options {
            categories_s: PERIODS_S.to_vec(),
            ..Options::default()
        };
        let mut devnet = Devnet::start(options).await.expect("a chain");
        devnet.create_pool(LOCK, Rlc(20)).await.expect("a pool");
        let app = devnet.create_app("an app", PRICE, "").await.expect("an app");
        let callback = devnet.create_callback(Callback::Takes).await.expect("a contract");
        let cast = Cast {
            owner: devnet.scheduler().address(),
            requesters: [&devnet.wallets()[2], &devnet.wallets()[9]].map(Wallet::address),
            workers: [3, 4, 5, 6].map(|index: usize| devnet.wallets()[index].address()),
            stranger: devnet.wallets()[8].address(),
            app,
            callback,
        };
        let policy = Policy {
            stake_ratio: 30,
            scheduler_reward_ratio: 1,
            subscription_minimum_stake: Rlc(20),
            subscription_minimum_score: 0,
            subscription_lock_stake: LOCK,
        };
        let owner = devnet.owner().address();
        let apps = [(app, App { owner, price: PRICE })];
        let mut hub = Hub::new(cast.owner, policy, &PERIODS_S, &apps);
        for who in cast.people() {
            devnet.fund(who, TOKENS).await.expect("RLC");
            hub.mint(who, TOKENS);
        }
        let names = Names::new(&hub, devnet.contracts());
        Self {
            devnet,
            hub,
            names,
            cast,
            reasons: Reasons::default(),
            done: (0, 0),
        }
    }

    fn wallet(&self, of: Address) -> &Wallet {
        let mut wallets = self.devnet.wallets().iter();
        wallets
            .find(|wallet| wallet.address() == of)
            .expect("one of the cast")
    }

    /// People with stake, and workers of the pool.
    async fn begin(&mut self) {
        let workers = self.cast.workers;
        for who in self.cast.people() {
            let amount = if workers.contains(&who) {
                Rlc(5_000)
            } else {
                Rlc(12_000)
            };
            self.call(who, Call::Approve { amount: TOKENS }).await;
            self.call(who, Call::Deposit { amount }).await;
        }
        for worker in workers {
            self.call(worker, Call::SubscribeToPool).await;
        }
    }

    async fn step(&mut self, rng: &mut Rng) {
        if rng.u8(..100) < 8 {
            let seconds = [1, 5, 20, 31, 61, 301][rng.usize(..6)];
            self.devnet.warp(seconds).await.expect("time");
        }
        let (sender, call) = self.cast.call(&self.hub, rng);
        self.call(sender, call).await;
    }

    /// The same in both.
    async fn call(&mut self, sender: Address, call: Call) {
        let on_chain = self.names.call(&call);
        let receipt = self
            .devnet
            .send(&on_chain, self.wallet(sender))
            .await
            .expect("mined");
        let block = self.devnet.node().block(receipt.block.number).await.found();
        let at = block.expect("an answer").expect("it is there").timestamp;
        let sent = (sender, &call);
        self.reasons
            .check(&self.hub, &self.cast, sent, at, receipt.succeeded);
        let said = self.hub.call(sender, &call, at);
        assert_eq!(
            receipt.succeeded,
            said.is_ok(),
            "{sender}: {call:?}: whether the contract took it, and the model: {said:?}"
        );
        self.done.1 += 1;
        let Ok(said) = said else { return };
        self.done.0 += 1;
        self.names.learn(&said, &receipt);
        let events: Vec<_> = receipt
            .logs
            .iter()
            .map(|log| self.names.event(&log.event))
            .collect();
        assert_eq!(events, said, "{call:?}: what the contracts say, and the model");
        compare::all(&self.devnet, &self.hub, &self.names, &self.cast, &call).await;
        self.hub.sanity_check();
    }
}

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[tokio::test]
async fn the_model_does_what_the_contracts_do() {
    let (seed, steps) = (number("POOL_TEST_SEED", 7), number("POOL_TEST_STEPS", 2_000));
    println!("POOL_TEST_SEED={seed} POOL_TEST_STEPS={steps}");
    let mut rng = Rng::with_seed(seed);
    let mut both = Both::new().await;
    both.begin().await;
    for _ in 0..steps {
        both.step(&mut rng).await;
    }
    compare::everything(&both.devnet, &both.hub, &both.names, &both.cast).await;
    let (done, all) = both.done;
    println!(
        "{done} of {all} calls took effect; {} orders",
        both.hub.orders().count()
    );
    let missing = both.reasons.missing();
    println!("reasons of failures that did not come up: {missing:?}");
    // Times are the machine's, so that no seed has all of them for sure.
    assert!(missing.len() <= 3, "nothing has failed for {missing:?}: try more");
    assert!(
        done > all / 10 && done < all,
        "{done} of {all}: both kinds are wanted"
    );
}
