//! A pool on a chain of its own: the reconciler and its shell as they are, an engine in a few lines, and workers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use devnet::{Devnet, Options};
use sidecars_reconcile::core::observe;
use sidecars_reconcile::core::order::{Identity, Job, Outcome, State, Texts};
use sidecars_reconcile::core::plan;
use sidecars_reconcile::core::policy::ConsensusPolicy;
use sidecars_reconcile::core::reconciler::{Effect, Event, Reconciler, Restored, Settings, Share, Worker};
use sidecars_reconcile::shell::NodeShell;
use wire_chain::rpc::{Rpc, RpcOptions};
use wire_chain::{At, Chain, Node};
use wire_hub::{Address, Balance, Commitment, ContributionStatus, Hash, NOBODY, OrderStatus, Rlc, Wei};
use wire_lane as lane;
use wire_lane::FeePolicy;
use wire_protocol::units::{Instant, Millis};
use wire_wallet::Wallet;

/// What a worker does.
#[derive(Clone, Copy)]
pub(crate) struct Habits {
    pub(crate) result: Hash,
    pub(crate) reveals: bool,
}

pub(crate) const HONEST: Habits = Habits {
    result: Hash([0x11; 32]),
    reveals: true,
};

pub(crate) struct Pool {
    pub(crate) devnet: Devnet,
    app: Address,
    habits: Vec<Habits>,
    shell: NodeShell<Node>,
    brain: Reconciler,
    settings: Settings,
    notes: BTreeMap<String, Vec<u8>>,
    /// What the engine was asked for.
    works: BTreeSet<(Identity, Address)>,
    /// How orders ended.
    pub(crate) over: Vec<State>,
    /// Transactions of the pool that were mined, and whether they took effect.
    pub(crate) mined: BTreeMap<Hash, bool>,
    /// Transactions of the pool that a node is to lose.
    pub(crate) lose: u32,
    clock: u64,
}

impl Pool {
    /// With so many workers, and these habits, the last for all others.
    pub(crate) async fn new(workers: usize, habits: &[Habits]) -> Self {
        // What the node calls final, after so many blocks, is beyond all that is orphaned here.
        let options = Options {
            slots_in_an_epoch: 32,
            ..Options::default()
        };
        let mut devnet = Devnet::start(options).await.expect("a chain");
        let app = devnet.populate(workers).await.expect("a pool");
        devnet.set_automine(false).await.expect("anvil");
        let contracts = *devnet.contracts();
        let rpc = Rpc::new(devnet.url().parse().expect("its address"), RpcOptions::default());
        let wallet = Wallet::of(&devnet.keys()[1]).expect("a key");
        assert_eq!(wallet.address(), devnet.scheduler().address());
        let shell = NodeShell::new(Node::new(rpc.expect("HTTP"), contracts), wallet);
        let settings = settings(
            contracts.chain_id,
            contracts.hub,
            contracts.pool,
            devnet.scheduler().address(),
        );
        let brain = Reconciler::restore(settings, Restored::default(), 0, Instant(0));
        let mut pool = Self {
            habits: (0..workers)
                .map(|index| *habits.get(index).or(habits.last()).expect("some"))
                .collect(),
            devnet,
            app,
            shell,
            brain,
            settings,
            notes: BTreeMap::new(),
            works: BTreeSet::new(),
            over: Vec::new(),
            mined: BTreeMap::new(),
            lose: 0,
            clock: 0,
        };
        pool.restart().await;
        pool
    }

    /// An order of a value of 1000 nRLC.
    pub(crate) async fn order(&mut self, trust: u128) -> Address {
        self.devnet.set_automine(true).await.expect("anvil");
        let offer = self.devnet.sell(1, trust, Rlc(1_000), 1).await.expect("an offer");
        let woid = self
            .devnet
            .buy(offer, self.app, "--level 3", NOBODY)
            .await
            .expect("an order");
        self.devnet.set_automine(false).await.expect("anvil");
        woid
    }

    /// The process is killed, and another takes up its notes.
    pub(crate) async fn restart(&mut self) {
        let notes = self
            .notes
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(notes).expect("notes of its own");
        self.brain = Reconciler::restore(self.settings, restored, 0, Instant(0) + Millis(self.clock));
        self.works.clear();
        let workers = self.workers().iter().enumerate().map(|(index, wallet)| Worker {
            wallet: wallet.address(),
            owner: format!("owner {index}"),
            is_free: true,
        });
        let workers = workers.collect();
        self.tell(Event::Workers {
            workers,
            load_percent: 0,
        })
        .await;
    }

    fn workers(&self) -> &[Wallet] {
        &self.devnet.workers()[..self.habits.len()]
    }

    /// Blocks, until all orders are over.
    pub(crate) async fn run(&mut self, orders: usize) {
        for _ in 0..120 {
            self.round().await;
            if self.over.len() == orders {
                return;
            }
        }
        panic!("it never ends: {:?} {:?}", self.brain.book(), self.brain.lane());
    }

    /// Blocks, until an order has this status.
    pub(crate) async fn until(&mut self, woid: Address, status: OrderStatus) {
        for _ in 0..60 {
            let order = self
                .devnet
                .node()
                .work_orders(&[woid], At::Latest)
                .await
                .remove(0);
            if order.found().expect("an answer").expect("an order").status == status {
                return;
            }
            self.round().await;
        }
        panic!("it never is {status:?}");
    }

    /// A block, and all that follows from it.
    pub(crate) async fn round(&mut self) {
        self.clock += 2_000;
        self.act().await;
        self.devnet.mine(1).await.expect("a block");
        for event in self.shell.look().await {
            self.tell(event).await;
        }
        self.tell(Event::Tick).await;
    }

    async fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.brain
                .handle(Instant(0) + Millis(self.clock), event, &mut effects);
            for effect in &effects {
                if let Effect::Note { key, value, .. } = effect {
                    match value {
                        Some(value) => drop(self.notes.insert(key.clone(), value.clone())),
                        None => drop(self.notes.remove(key)),
                    }
                }
            }
            for effect in effects {
                events.extend(self.shell.perform(&effect).await);
                match effect {
                    Effect::Note { number, .. } if number > 0 => events.push_back(Event::Noted(number)),
                    Effect::Understand { order, .. } => {
                        let job = Job::Work;
                        events.push_back(Event::Understood { order, job });
                    }
                    Effect::Submit {
                        order,
                        share: Share::Worker { wallet, .. },
                        ..
                    } if self.works.insert((order, wallet)) => {
                        events.push_back(self.done(order, wallet));
                    }
                    Effect::Over { state, .. } => self.over.push(state),
                    Effect::Report {
                        progress: lane::Progress::Mined(receipt),
                        ..
                    } => {
                        self.mined.insert(receipt.transaction, receipt.succeeded);
                    }
                    Effect::Send { hash, .. } if self.lose > 0 => {
                        self.lose -= 1;
                        self.devnet.drop_transaction(hash).await.expect("it was there");
                    }
                    Effect::TooDeep(too_deep) => panic!("{too_deep}"),
                    _ => {}
                }
            }
        }
    }

    /// The engine: a work is done at once.
    fn done(&self, order: Identity, worker: Address) -> Event {
        let index = self
            .workers()
            .iter()
            .position(|wallet| wallet.address() == worker)
            .expect("a worker");
        Event::Ended {
            order,
            worker,
            outcome: Outcome::Done(Some(self.habits[index].result)),
            texts: Some(Texts {
                uri: "pool://result".into(),
                ..Texts::default()
            }),
        }
    }

    /// Workers contribute where they are allowed, and reveal what was believed.
    async fn act(&self) {
        let node = self.devnet.node();
        let orders: BTreeSet<Address> = self
            .brain
            .book()
            .iter()
            .map(|(identity, _)| identity.woid)
            .collect();
        for woid in orders {
            let consensus = node.consensuses(&[woid], At::Latest).await.remove(0).found();
            let status = node.work_orders(&[woid], At::Latest).await.remove(0).found();
            let (Ok(Some(consensus)), Ok(Some(order))) = (consensus, status) else {
                continue;
            };
            for (wallet, habits) in self.workers().iter().zip(&self.habits) {
                let part = node
                    .contributions(woid, &[wallet.address()], At::Latest)
                    .await
                    .remove(0);
                let Ok(Some(part)) = part.found() else { continue };
                let commitment = Commitment::of(habits.result, wallet.address());
                let call = match (order.status, part.status) {
                    (OrderStatus::Active, ContributionStatus::Authorized) => commitment.call(woid),
                    (OrderStatus::Revealing, ContributionStatus::Contributed)
                        if habits.reveals && commitment.hash == consensus.consensus =>
                    {
                        wire_hub::Call::Reveal {
                            woid,
                            result: habits.result,
                        }
                    }
                    _ => continue,
                };
                self.devnet.post(&call, wallet).await.expect("sent");
            }
        }
    }

    pub(crate) async fn balance(&self, who: &Wallet) -> Balance {
        self.balance_of(who.address()).await
    }

    pub(crate) async fn balance_of(&self, who: Address) -> Balance {
        let found = self.devnet.node().balances(&[who], At::Latest).await.remove(0);
        found.found().expect("an answer").expect("a balance")
    }
}

fn settings(chain_id: u64, hub: Address, pool: Address, owner: Address) -> Settings {
    Settings {
        chain_id,
        hub,
        pool,
        owner,
        observe: observe::Settings {
            ring_len: 64,
            confirmations: 1,
            final_after: Some(4),
            range_len: 1_000,
            patience: Millis(10_000),
            pause: Millis(100),
        },
        lane: lane::Settings {
            in_flight_max: 16,
            fees: FeePolicy {
                multiplier_percent: 200,
                tip: Wei(1_000_000_000),
                cap: Wei(1_000_000_000_000),
                bump_percent: 12,
            },
            spend_per_hour_max: None,
            resend_after: Millis(4_000),
            replace_after: Millis(6_000),
            urgent_s: 60,
            poll: Millis(2_000),
        },
        plan: plan::Settings {
            consensus: ConsensusPolicy::Poco,
            best_effort: false,
            confirmations: 1,
            block_s: 1,
            inclusion_s: 1,
            margin_blocks: 3,
            patience_s: None,
            callback_gas_max: None,
            evict_after: None,
        },
        offer: None,
        pause: Millis(100),
    }
}

/// What is asked for is known.
pub(crate) fn has(stake: u128, locked: u128) -> Balance {
    Balance {
        stake: Rlc(stake),
        locked: Rlc(locked),
    }
}
