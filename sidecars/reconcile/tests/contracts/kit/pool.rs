//! The pool: the reconciler and its shell as they are, and what each of its effects does here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use devnet::{Devnet, Options};
use sidecars_reconcile::core::order::{Identity, Job, State};
use sidecars_reconcile::core::plan::Step;
use sidecars_reconcile::core::reconciler::{Effect, Event, Reconciler, Restored, Settings, Share, Worker};
use sidecars_reconcile::shell::NodeShell;
use wire_chain::Chain;
use wire_hub::{Address, Block, Call, Nonce, Rlc, Ticket, Timestamp, Wei, WorkOrder};
use wire_lane::{Alert, Kept};
use wire_protocol::codec::read_control;
use wire_wallet::Wallet;
use worker_chain::core::Now;

use super::engine::Engine;
use super::fate::{Fate, Moment, marks};
use super::journal::Journal;
use super::member::{Habits, Member};
use super::settings::settings;
use super::troubled::{Sky, Troubled};

/// How a pool is to be.
pub(crate) struct Way {
    pub(crate) workers: usize,
    /// Of the workers, the last for all others.
    pub(crate) habits: Vec<Habits>,
    pub(crate) options: Options,
    pub(crate) change: fn(&mut Settings),
    /// Chance of the nodes.
    pub(crate) seed: u64,
}

impl Way {
    pub(crate) fn of(workers: usize, habits: &[Habits]) -> Self {
        let options = Options {
            // What the node calls final is beyond all that is orphaned here.
            slots_in_an_epoch: 32,
            accounts: 24,
            ..Options::default()
        };
        Self {
            workers,
            habits: habits.to_vec(),
            options,
            change: |_| (),
            seed: 0,
        }
    }

    pub(crate) fn with(mut self, change: fn(&mut Settings)) -> Self {
        self.change = change;
        self
    }
}

pub(crate) struct Pool {
    pub(crate) devnet: Devnet,
    pub(crate) app: Address,
    /// Over the pool's node, and over those of the workers.
    pub(crate) sky: Sky,
    pub(crate) workers_sky: Sky,
    pub(crate) members: Vec<Member>,
    pub(crate) engine: Engine,
    pub(crate) journal: Journal,
    pub(crate) notes: BTreeMap<String, Vec<u8>>,
    /// Orders that were ever understood.
    pub(crate) orders: BTreeSet<Identity>,
    /// How orders ended.
    pub(crate) over: BTreeMap<Identity, State>,
    /// All that was said, in order.
    pub(crate) said: Vec<Step>,
    pub(crate) offers_said: Vec<String>,
    pub(crate) alerts: Vec<Alert>,
    /// Requesters that are contracts.
    pub(crate) requesters: Vec<Address>,
    /// What everybody has put to the hub.
    pub(super) deposits: BTreeMap<Address, Rlc>,
    /// All that was ever sent, as it was.
    pub(crate) sent: Vec<Vec<u8>>,
    /// When the process is killed.
    pub(crate) fate: Fate,
    /// What gas burns in the blocks to come; `None`: what the chain makes of it.
    pub(crate) base_fee: Option<Wei>,
    pub(crate) settings: Settings,
    shell: NodeShell<Troubled>,
    brain: Option<Reconciler>,
    head: Option<Block>,
    clock: u64,
}

impl Pool {
    pub(crate) async fn new(workers: usize, habits: &[Habits]) -> Self {
        Self::of(Way::of(workers, habits)).await
    }

    pub(crate) async fn of(way: Way) -> Self {
        let mut devnet = Devnet::start(way.options).await.expect("a chain");
        let app = devnet.populate(way.workers).await.expect("a pool");
        devnet.set_automine(false).await.expect("anvil");
        let contracts = *devnet.contracts();
        let wallet = Wallet::of(&devnet.keys()[1]).expect("a key");
        let owner = wallet.address();
        let mut settings = settings(&contracts, owner);
        (way.change)(&mut settings);
        let (sky, workers_sky) = (Sky::new(way.seed), Sky::new(way.seed + 1));
        let final_after = settings.observe.final_after.unwrap_or(4);
        let members = (0..way.workers).map(|index| {
            let habits = way.habits.get(index).or(way.habits.last()).expect("some");
            let sky = workers_sky.clone();
            let key = &devnet.keys()[3 + index];
            Member::new(devnet.url(), contracts, key, sky, final_after, *habits)
        });
        let members = members.collect();
        let head = devnet.node().head().await.found().expect("an answer");
        let begun = head.expect("a block").at.number;
        let node = Troubled::new(devnet.url(), contracts, sky.clone());
        let mut pool = Self {
            app,
            sky,
            workers_sky,
            members,
            engine: Engine::default(),
            journal: Journal::new(owner, begun),
            notes: BTreeMap::new(),
            orders: BTreeSet::new(),
            over: BTreeMap::new(),
            said: Vec::new(),
            offers_said: Vec::new(),
            alerts: Vec::new(),
            requesters: Vec::new(),
            deposits: BTreeMap::new(),
            sent: Vec::new(),
            fate: Fate::default(),
            base_fee: None,
            settings,
            shell: NodeShell::new(node, wallet),
            brain: None,
            head,
            clock: 0,
            devnet,
        };
        pool.remember_deposits().await;
        pool.start().await;
        pool.until("followed", async |pool| {
            let followed = pool.brain().tip().map(|tip| tip.at);
            followed.is_some() && followed == pool.head.map(|head| head.at)
        })
        .await;
        pool
    }

    /// What waits is measured by it; a round is two seconds.
    pub(crate) fn now(&self) -> Now {
        let head = self.head.map_or(Timestamp(0), |head| head.timestamp);
        Now {
            instant: super::instant(self.clock),
            unix_s: head.0,
        }
    }

    pub(crate) fn brain(&self) -> &Reconciler {
        self.brain.as_ref().expect("it runs")
    }

    pub(crate) fn is_running(&self) -> bool {
        self.brain.is_some()
    }

    /// The process is killed.
    pub(crate) fn kill(&mut self) {
        self.brain = None;
        self.engine.forget_listener();
    }

    /// A process takes up the notes.
    pub(crate) async fn start(&mut self) {
        self.kill();
        let notes = self.notes.iter();
        let notes = notes.map(|(key, value)| (key.as_str(), value.as_slice()));
        let restored = Restored::read(notes).expect("notes of its own");
        let now = super::instant(self.clock);
        self.brain = Some(Reconciler::restore(self.settings, restored, 0, now));
        self.tell_roster().await;
    }

    /// The engine says which workers there are.
    pub(crate) async fn tell_roster(&mut self) {
        let workers = self.members.iter().enumerate().map(|(index, member)| Worker {
            wallet: member.address(),
            owner: format!("owner {index}"),
            is_free: member.is_here,
        });
        let workers = workers.collect();
        self.tell(Event::Workers {
            workers,
            load_percent: 0,
        })
        .await;
    }

    /// A worker is gone, until it is started again.
    pub(crate) async fn lose_worker(&mut self, index: usize) {
        self.members[index].is_here = false;
        self.tell_roster().await;
    }

    pub(crate) async fn start_worker(&mut self, index: usize) {
        let now = self.now();
        self.members[index].restart(now);
        self.tell_roster().await;
    }

    /// A block, a second after the last, and all that follows from it.
    pub(crate) async fn round(&mut self) {
        if let Some(fee) = self.base_fee {
            self.devnet.set_next_block_base_fee(fee).await.expect("anvil");
        }
        self.warp(1).await;
    }

    pub(crate) async fn rounds(&mut self, count: usize) {
        for _ in 0..count {
            self.round().await;
        }
    }

    /// All see what there is, and time passes.
    pub(crate) async fn look(&mut self) {
        self.clock += 2_000;
        self.head = self.devnet.node().head().await.found().expect("an answer");
        let now = self.now();
        self.journal.read(&self.devnet).await;
        for event in self.engine.work(now, &mut self.members).await {
            self.tell(event).await;
        }
        for member in self.members.iter_mut().filter(|member| member.is_here) {
            member.look(now).await;
        }
        for event in self.shell.look().await {
            self.tell(event).await;
        }
        self.tell(Event::Tick).await;
    }

    /// A block so many seconds later.
    pub(crate) async fn warp(&mut self, seconds: u64) {
        self.devnet.warp(seconds).await.expect("time");
        self.look().await;
    }

    /// A block of this time.
    pub(crate) async fn warp_to(&mut self, time: Timestamp) {
        self.devnet.warp_to(time).await.expect("time");
        self.look().await;
    }

    /// Rounds, until something holds.
    pub(crate) async fn until(&mut self, what: &str, mut holds: impl AsyncFnMut(&Self) -> bool) {
        for _ in 0..120 {
            if holds(self).await {
                return;
            }
            self.round().await;
        }
        panic!("never {what}: {:?} {:?}", self.said.last(), self.brain().lane());
    }

    /// The pool wants this sent, and it is mined.
    pub(crate) async fn wish(&mut self, call: Call) {
        self.tell(Event::Wished(call)).await;
    }

    pub(crate) async fn tell(&mut self, event: Event) {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let now = super::instant(self.clock);
            let Some(brain) = &mut self.brain else { return };
            let mut effects = Vec::new();
            brain.handle(now, event, &mut effects);
            if effects.iter().any(|effect| self.dies(Moment::Decided, effect)) {
                return;
            }
            self.keep(&effects);
            for effect in effects {
                if self.dies(Moment::Noted, &effect) {
                    return;
                }
                self.remember(&effect);
                events.extend(self.shell.perform(&effect).await);
                let marks = self.marks(&effect);
                events.extend(self.perform(effect));
                if self.dies_of(Moment::Done, &marks) {
                    return;
                }
            }
        }
    }

    /// Notes of one event are written in one piece, and are durable before anything else happens.
    fn keep(&mut self, effects: &[Effect]) {
        for effect in effects {
            if let Effect::Note { key, value, .. } = effect {
                match value {
                    Some(value) => drop(self.notes.insert(key.clone(), value.clone())),
                    None => drop(self.notes.remove(key)),
                }
            }
        }
    }

    fn remember(&mut self, effect: &Effect) {
        if let Effect::Send { nonce, hash, raw } = effect {
            let kept = self.kept(*nonce).expect("I4: what is sent is noted before");
            self.journal.on_send(*nonce, *hash, &kept);
            self.sent.push(raw.clone());
        }
    }

    fn kept(&self, nonce: Nonce) -> Option<Kept> {
        let value = self.notes.get(&format!("nonce/{:020}", nonce.0))?;
        Some(read_control("nonce", value).expect("the lane's own"))
    }

    fn dies(&mut self, moment: Moment, effect: &Effect) -> bool {
        let marks = self.marks(effect);
        self.dies_of(moment, &marks)
    }

    fn dies_of(&mut self, moment: Moment, marks: &[String]) -> bool {
        let dies = self.fate.strikes(moment, marks);
        if dies {
            self.kill();
        }
        dies
    }

    fn marks(&self, effect: &Effect) -> Vec<String> {
        marks(effect, |nonce| self.kept(nonce))
    }

    /// What is not for a node.
    fn perform(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::Note { number, .. } => (number > 0).then_some(Event::Noted(number)),
            Effect::Understand { order, .. } => {
                self.orders.insert(order);
                let job = Job::Work;
                Some(Event::Understood { order, job })
            }
            Effect::Submit {
                key,
                order,
                content,
                share: Share::Worker { wallet, result },
                ..
            } => {
                let ticket = Ticket {
                    result,
                    ..self.ticket(&content)
                };
                self.engine.submit(key, order, wallet, ticket);
                None
            }
            Effect::Cancel {
                order,
                share: Share::Worker { wallet, .. },
            } => {
                self.engine.cancel(order, wallet);
                None
            }
            Effect::Over { order, state } => {
                self.over.insert(order, state);
                None
            }
            Effect::Say(step) => {
                self.said.push(step);
                None
            }
            Effect::SayOffer(step) => {
                self.offers_said.push(step.to_string());
                None
            }
            Effect::Alert(alert) => {
                self.alerts.push(alert);
                None
            }
            Effect::TooDeep(too_deep) => panic!("{too_deep}"),
            _ => None,
        }
    }

    fn ticket(&self, content: &WorkOrder) -> Ticket {
        let contracts = self.devnet.contracts();
        Ticket {
            chain_id: contracts.chain_id,
            hub: contracts.hub,
            pool: contracts.pool,
            woid: content.woid,
            fingerprint: content.fingerprint(),
            result: None,
        }
    }

    /// Whether anything like it was said.
    pub(crate) fn has_said(&self, text: &str) -> bool {
        self.said.iter().any(|step| step.to_string().contains(text))
    }
}
