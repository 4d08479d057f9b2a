//! A chain of its own, a worker's core and its shell as they are, and steps of the pool.

use std::collections::{BTreeMap, VecDeque};

use devnet::{Devnet, Options};
use wire_chain::rpc::{Rpc, RpcOptions};
use wire_chain::{At, Chain, Node};
use wire_hub::{
    Address, Balance, Call, Commitment, Contribution, Hash, NOBODY, OrderStatus, Receipt, Rlc, Ticket,
    WorkOrder, result_hash,
};
use wire_lane::{self as lane, Progress};
use wire_protocol::units::{Instant, Millis};
use wire_wallet::Wallet;
use worker_chain::core::{Contributor, Effect, Event, Now, Refusal, Restored, Settings, State};
use worker_chain::shell::node;

pub(crate) const RESULT: Hash = Hash([0x11; 32]);
pub(crate) const OTHER: Hash = Hash([0x22; 32]);

pub(crate) struct World {
    pub(crate) devnet: Devnet,
    app: Address,
    node: Node,
    pub(crate) wallet: Wallet,
    pub(crate) settings: Settings,
    pub(crate) core: Contributor,
    pub(crate) notes: BTreeMap<String, Vec<u8>>,
    clock: u64,
    /// What was told of orders, in order.
    pub(crate) told: Vec<State>,
    pub(crate) over: Vec<State>,
    pub(crate) refused: Vec<Refusal>,
    pub(crate) taken: Vec<Address>,
    /// All that was sent, in order.
    pub(crate) sent: Vec<Vec<u8>>,
    /// Receipts of what was mined.
    pub(crate) mined: Vec<Receipt>,
    /// Seconds by which the worker's clock is ahead of the chain.
    pub(crate) ahead_s: u64,
}

impl World {
    /// A pool of so many workers, of which the first is the one that is tested.
    pub(crate) async fn new(workers: usize) -> Self {
        let options = Options {
            slots_in_an_epoch: 32,
            ..Options::default()
        };
        let mut devnet = Devnet::start(options).await.expect("a chain");
        let app = devnet.populate(workers).await.expect("a pool");
        Self::of(devnet, app)
    }

    pub(crate) fn of(devnet: Devnet, app: Address) -> Self {
        let contracts = *devnet.contracts();
        let rpc = Rpc::new(devnet.url().parse().expect("its address"), RpcOptions::default());
        let wallet = Wallet::of(&devnet.keys()[3]).expect("a key");
        let mut settings = Settings::new(
            contracts.chain_id,
            contracts.hub,
            contracts.pool,
            wallet.address(),
        );
        settings.final_after = 4;
        settings.inclusion_s = 1;
        settings.lane.fees.cap = wire_hub::Wei(1_000_000_000_000);
        settings.lane.resend_after = Millis(4_000);
        settings.lane.poll = Millis(2_000);
        settings.pause = Millis(100);
        Self {
            devnet,
            app,
            node: Node::new(rpc.expect("HTTP"), contracts),
            wallet,
            settings,
            core: Contributor::restore(settings, Restored::default(), Instant(0)),
            notes: BTreeMap::new(),
            clock: 0,
            told: Vec::new(),
            over: Vec::new(),
            refused: Vec::new(),
            taken: Vec::new(),
            sent: Vec::new(),
            mined: Vec::new(),
            ahead_s: 0,
        }
    }

    /// The same worker with other settings.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self.restart();
        self
    }

    /// An order of a value of 1000 nRLC, which asks for 300 of stake.
    pub(crate) async fn order(&self) -> Address {
        self.devnet.set_automine(true).await.expect("anvil");
        let offer = self.devnet.sell(1, 0, Rlc(1_000), 1).await.expect("an offer");
        let woid = self.devnet.buy(offer, self.app, "--level 3", NOBODY).await;
        self.devnet.set_automine(false).await.expect("anvil");
        woid.expect("an order")
    }

    pub(crate) async fn ticket(&self, woid: Address) -> Ticket {
        let contracts = self.devnet.contracts();
        Ticket {
            chain_id: contracts.chain_id,
            hub: contracts.hub,
            pool: contracts.pool,
            woid,
            fingerprint: self.work_order(woid).await.fingerprint(),
            result: None,
        }
    }

    pub(crate) async fn work_order(&self, woid: Address) -> WorkOrder {
        let mut orders = self.node.work_orders(&[woid], At::Latest).await;
        let found = orders.remove(0).found();
        found.expect("an answer").expect("an order")
    }

    pub(crate) async fn status(&self, woid: Address) -> OrderStatus {
        self.work_order(woid).await.status
    }

    pub(crate) async fn part(&self, woid: Address) -> Contribution {
        let who = [self.wallet.address()];
        let mut parts = self.node.contributions(woid, &who, At::Latest).await;
        let found = parts.remove(0).found();
        found.expect("an answer").expect("a contribution")
    }

    pub(crate) async fn balance(&self) -> Balance {
        let mut balances = self.node.balances(&[self.wallet.address()], At::Latest).await;
        let found = balances.remove(0).found();
        found.expect("an answer").expect("a balance")
    }

    /// A work of the order has this result.
    pub(crate) async fn computed(&mut self, woid: Address, result: Hash) {
        let ticket = self.ticket(woid).await;
        self.tell(Event::Computed { ticket, result }).await;
    }

    /// The worker is killed, and another takes up its notes.
    pub(crate) fn restart(&mut self) {
        let notes = self.notes.iter();
        let notes = notes.map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(&self.settings, notes).expect("notes of its own");
        self.core = Contributor::restore(self.settings, restored, self.now().instant);
    }

    fn now(&self) -> Now {
        let of_chain = self.core.head().map_or(0, |head| head.timestamp.0);
        Now {
            instant: Instant(0) + Millis(self.clock),
            unix_s: of_chain + self.ahead_s,
        }
    }

    /// A block, and all that follows from it.
    pub(crate) async fn round(&mut self) {
        self.devnet.mine(1).await.expect("a block");
        self.look().await;
    }

    pub(crate) async fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round().await;
        }
    }

    /// The worker sees what there is, and time passes.
    pub(crate) async fn look(&mut self) {
        self.clock += 2_000;
        let (events, problem) = node::look(&self.node).await;
        assert_eq!(problem, None);
        for event in events {
            // Final is here what has so many blocks behind it.
            if !matches!(event, Event::Finalized(_)) {
                self.tell(event).await;
            }
        }
        self.tell(Event::Tick).await;
    }

    /// Blocks, until an order has ended for the worker.
    pub(crate) async fn until_over(&mut self) -> State {
        for _ in 0..60 {
            self.round().await;
            if let Some(state) = self.over.last() {
                return *state;
            }
        }
        panic!("it never ends: {:?} {:?}", self.told, self.core.lane());
    }

    pub(crate) async fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let mut effects = Vec::new();
            self.core.handle(self.now(), event, &mut effects);
            for effect in effects {
                events.extend(node::perform(&self.node, &self.wallet, &effect).await);
                match effect {
                    Effect::Note { number, key, value } => {
                        match value {
                            Some(value) => drop(self.notes.insert(key, value)),
                            None => drop(self.notes.remove(&key)),
                        }
                        events.push_back(Event::Noted(number));
                    }
                    Effect::Told { state, .. } => self.told.push(state),
                    Effect::Over { state, .. } => self.over.push(state),
                    Effect::Refused { why, .. } => self.refused.push(why),
                    Effect::Taken(ticket) => self.taken.push(ticket.woid),
                    Effect::Lane(lane::Effect::Send { raw, .. }) => self.sent.push(raw),
                    Effect::Report {
                        progress: Progress::Mined(receipt),
                        ..
                    } => self.mined.push(receipt),
                    _ => {}
                }
            }
        }
    }

    /// The pool posts a call; the next block has it.
    pub(crate) async fn post(&self, call: &Call) {
        self.devnet
            .post(call, self.devnet.scheduler())
            .await
            .expect("sent");
    }

    pub(crate) async fn allow(&mut self, woid: Address, workers: &[usize]) {
        let workers = workers
            .iter()
            .map(|index| self.devnet.workers()[*index].address());
        let workers = workers.collect();
        self.post(&Call::AllowWorkersToContribute { woid, workers }).await;
        self.round().await;
    }

    pub(crate) async fn reveal_consensus(&mut self, woid: Address, result: Hash) {
        let consensus = result_hash(result);
        self.post(&Call::RevealConsensus { woid, consensus }).await;
        self.round().await;
    }

    pub(crate) async fn finalize(&mut self, woid: Address) {
        let call = Call::FinalizeWork {
            woid,
            stdout: String::new(),
            stderr: String::new(),
            uri: "pool://result".to_owned(),
        };
        self.post(&call).await;
        self.round().await;
    }

    /// The pool posts a call that pays more than others: it comes before them in its block.
    pub(crate) async fn hurry(&self, call: &Call) {
        let scheduler = self.devnet.scheduler();
        let nonce = self
            .node
            .nonce(scheduler.address(), wire_chain::Counted::Pending)
            .await;
        let fees = lane::Fees::Dynamic {
            max_fee: wire_hub::Wei(900_000_000_000),
            tip: wire_hub::Wei(500_000_000_000),
        };
        let payload = lane::Payload::Call {
            call: call.clone(),
            gas_limit: wire_hub::Gas(1_000_000),
        };
        let nonce = nonce.found().expect("an answer").expect("a nonce");
        let signed = wire_chain::lane::sign(self.devnet.contracts(), scheduler, nonce, &payload, &fees);
        self.node.send(&signed).await.found().expect("sent");
    }

    pub(crate) const fn app(&self) -> Address {
        self.app
    }

    /// Another worker contributes.
    pub(crate) async fn contribute(&self, index: usize, woid: Address, result: Hash) {
        let wallet = &self.devnet.workers()[index];
        let call = Commitment::of(result, wallet.address()).call(woid);
        self.devnet.post(&call, wallet).await.expect("sent");
    }

    pub(crate) async fn reveal(&self, index: usize, woid: Address, result: Hash) {
        let call = Call::Reveal { woid, result };
        let wallet = &self.devnet.workers()[index];
        self.devnet.post(&call, wallet).await.expect("sent");
    }
}

pub(crate) fn has(stake: u128, locked: u128) -> Balance {
    Balance {
        stake: Rlc(stake),
        locked: Rlc(locked),
    }
}
