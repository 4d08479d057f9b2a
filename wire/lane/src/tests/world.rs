//! A wallet's chain, a pool of transactions, and whoever wants some.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire_hub::{Address, Answer, Block, BlockRef, Call, Gas, Hash, Nonce, Receipt, Timestamp, Wei};
use wire_protocol::units::{Instant, Millis};

use super::super::*;

pub(crate) const FINAL_AFTER: u64 = 8;
/// Reorganisations go back at most so far, over all of them together; less than what is final.
pub(crate) const REORG_MAX: u64 = 6;

pub(crate) const SETTINGS: Settings = Settings {
    in_flight_max: 4,
    fees: FeePolicy {
        multiplier_percent: 200,
        tip: Wei(1),
        cap: Wei(1_000),
        bump_percent: 12,
    },
    spend_per_hour_max: None,
    resend_after: Millis(3_000),
    replace_after: Millis(2_000),
    urgent_s: 30,
    poll: Millis(500),
};

#[derive(Clone, Debug)]
pub(crate) struct Transaction {
    pub(crate) nonce: Nonce,
    pub(crate) intent: Option<IntentId>,
    pub(crate) price: Wei,
}

#[derive(Clone, Default)]
pub(crate) struct Chain {
    pub(crate) blocks: Vec<(Block, Vec<Hash>)>,
    pub(crate) pool: BTreeSet<Hash>,
    pub(crate) made: u64,
    pub(crate) base_fee: u128,
}

/// What was asked of the world and is not done yet.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Do(Effect),
    Tell(Event),
}

pub(crate) struct World {
    pub(crate) lane: Lane,
    pub(crate) now: Instant,
    pub(crate) chain: Chain,
    /// The block up to which each number was followed.
    pub(crate) followed: Vec<BlockRef>,
    pub(crate) signed: BTreeMap<Hash, Transaction>,
    pub(crate) wanted: BTreeMap<IntentId, bool>,
    pub(crate) deadline: Option<Timestamp>,
    /// What the disk has.
    pub(crate) notes: BTreeMap<Nonce, Kept>,
    /// The shell's own: signing and the disk, in order.
    pub(crate) local: VecDeque<Effect>,
    pub(crate) tasks: Vec<Task>,
    pub(crate) reports: Vec<(IntentId, Progress)>,
    pub(crate) alerts: Vec<Alert>,
    /// What was said to be mined, and not taken back: each nonce's transaction, and its block.
    pub(crate) mined: BTreeMap<Nonce, (Hash, BlockRef)>,
    /// What the lane has signed.
    pub(crate) ours: BTreeSet<Hash>,
    pub(crate) sends: usize,
}

pub(crate) fn id(number: u8) -> IntentId {
    IntentId(Hash([number; 32]))
}

impl World {
    pub(crate) fn new(settings: Settings, intents: u8) -> Self {
        let mut world = Self {
            lane: Lane::new(settings),
            now: Instant(0),
            chain: Chain {
                base_fee: 10,
                ..Chain::default()
            },
            followed: Vec::new(),
            signed: BTreeMap::new(),
            wanted: (0..intents).map(|number| (id(number), true)).collect(),
            deadline: None,
            notes: BTreeMap::new(),
            local: VecDeque::new(),
            tasks: Vec::new(),
            reports: Vec::new(),
            alerts: Vec::new(),
            mined: BTreeMap::new(),
            ours: BTreeSet::new(),
            sends: 0,
        };
        world.chain.mine(&world.signed.clone());
        world
    }

    pub(crate) fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.lane.handle(self.now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Sign { .. } | Effect::Note { .. } => self.local.push_back(effect),
                Effect::Report { intent, progress } => self.reports.push((intent.id, progress)),
                Effect::Alert(alert) => self.alerts.push(alert),
                Effect::Mined { nonce, receipt } => {
                    self.mined.insert(nonce, (receipt.transaction, receipt.block));
                }
                Effect::Unmined(nonce) => drop(self.mined.remove(&nonce)),
                other => self.tasks.push(Task::Do(other)),
            }
        }
    }

    /// The shell does the next thing that needs no network.
    pub(crate) fn local(&mut self) -> bool {
        match self.local.pop_front() {
            Some(Effect::Sign { nonce, payload, fees }) => {
                let intent = match payload {
                    Payload::Call {
                        call: Call::Reopen { woid },
                        ..
                    } => Some(id(woid.0[0])),
                    Payload::Call { .. } => panic!("nobody intended that"),
                    Payload::Nothing => None,
                };
                let hash = self.sign(Transaction {
                    nonce,
                    intent,
                    price: fees.price_max(),
                });
                self.ours.insert(hash);
                let raw = hash.0.to_vec();
                self.handle(Event::Signed { nonce, hash, raw });
                true
            }
            Some(Effect::Note { note, nonce, kept }) => {
                self.keep(nonce, kept);
                self.handle(Event::Noted(note));
                true
            }
            Some(other) => panic!("{other:?} is not done here"),
            None => false,
        }
    }

    pub(crate) fn keep(&mut self, nonce: Nonce, kept: Option<Kept>) {
        match kept {
            Some(kept) => {
                let bytes = postcard::to_allocvec(&kept).expect("a note");
                self.notes
                    .insert(nonce, postcard::from_bytes(&bytes).expect("the same note"));
            }
            None => drop(self.notes.remove(&nonce)),
        }
    }

    pub(crate) fn sign(&mut self, transaction: Transaction) -> Hash {
        let mut hash = [0xee; 32];
        hash[..8].copy_from_slice(&(self.signed.len() as u64).to_be_bytes());
        self.signed.insert(Hash(hash), transaction);
        Hash(hash)
    }

    /// What the network does with a task: the answer, if there is one.
    pub(crate) fn answer(&mut self, effect: Effect) -> Option<Event> {
        match effect {
            Effect::AskAccount(at) => {
                let upto = self.chain.blocks.iter().position(|(block, _)| block.at == at)?;
                let mined: usize = self.chain.blocks[..=upto]
                    .iter()
                    .map(|(_, hashes)| hashes.len())
                    .sum();
                Some(Event::Account(Account {
                    at,
                    nonce: Nonce(mined as u64),
                    balance: Wei(0),
                }))
            }
            Effect::AskGasPrice => Some(Event::GasPrice(Wei(self.chain.base_fee))),
            Effect::AskReceipt { round, hash } => Some(Event::Receipt {
                round,
                hash,
                answer: self.chain.receipt(hash),
            }),
            Effect::Check(intent) => {
                let holds = self.wanted[&intent.id] && !self.is_visible(intent.id);
                Some(Event::Checked {
                    intent: intent.id,
                    holds: Answer::Known(holds),
                })
            }
            Effect::Send { hash, raw, .. } => {
                assert_eq!(raw, hash.0, "what is sent was signed");
                let kept = self.notes.values().flat_map(|kept| &kept.attempts);
                let is_kept = kept.into_iter().any(|attempt| attempt.hash == hash);
                let is_over = self.chain.nonce() > self.signed[&hash].nonce;
                assert!(is_kept || is_over, "nothing is sent that a restart would forget");
                self.sends += 1;
                let sending = self.chain.take(hash, &self.signed);
                Some(Event::Sent { hash, sending })
            }
            other => panic!("{other:?} is not the network's"),
        }
    }

    /// In the blocks that were followed.
    pub(crate) fn is_visible(&self, id: IntentId) -> bool {
        let followed = self
            .chain
            .blocks
            .iter()
            .filter(|(block, _)| self.followed.contains(&block.at));
        let mut hashes = followed.flat_map(|(_, hashes)| hashes);
        hashes.any(|hash| self.signed[hash].intent == Some(id))
    }

    /// Says what the chain has become, and what is wanted of it.
    pub(crate) fn follow(&mut self) {
        let chain: Vec<BlockRef> = self.chain.blocks.iter().map(|(block, _)| block.at).collect();
        let common = chain
            .iter()
            .zip(&self.followed)
            .take_while(|(a, b)| a == b)
            .count();
        if common < self.followed.len() {
            let beyond = common as u64 - 1;
            self.handle(Event::Orphaned { beyond });
        }
        self.followed = chain;
        let head = self.chain.blocks.last().expect("never empty").0;
        self.handle(Event::Head(head));
        if let Some(number) = head.at.number.checked_sub(FINAL_AFTER) {
            self.handle(Event::Final(number));
        }
        for (id, is_wanted) in self.wanted.clone() {
            if !is_wanted {
                self.handle(Event::Withdraw(id));
            } else if !self.is_visible(id) {
                self.handle(Event::Intend(self.intent(id)));
            }
        }
    }

    pub(crate) fn intent(&self, id: IntentId) -> Intent {
        Intent {
            id,
            call: Call::Reopen {
                woid: Address([id.0.0[0]; 20]),
            },
            gas_limit: Gas(100_000),
            deadline: self.deadline,
            about: None,
        }
    }

    pub(crate) fn mine(&mut self) {
        self.chain.mine(&self.signed);
        self.assert_once();
    }

    /// No intent stands twice in the chain.
    pub(crate) fn assert_once(&self) {
        let hashes = self.chain.blocks.iter().flat_map(|(_, hashes)| hashes);
        let mut seen = BTreeSet::new();
        for id in hashes.filter_map(|hash| self.signed[hash].intent) {
            assert!(seen.insert(id), "{id:?} is mined twice");
        }
    }

    /// All that was asked is done, by a healthy network.
    pub(crate) fn drain(&mut self) {
        loop {
            while self.local() {}
            let Some(task) = self.tasks.pop() else { return };
            let event = match task {
                Task::Do(effect) => self.answer(effect),
                Task::Tell(event) => Some(event),
            };
            if let Some(event) = event {
                self.handle(event);
            }
        }
    }

    /// A block, heard of, and all that follows.
    pub(crate) fn round(&mut self) {
        self.now = self.now + Millis(1_000);
        self.mine();
        self.follow();
        self.drain();
        self.handle(Event::Tick);
        self.drain();
    }

    /// All of ours that the chain has was said, and where; up to the block that the lane answers for.
    pub(crate) fn assert_told(&self) {
        let upto = self.lane.told_upto();
        let mut nonce = 0;
        for (block, hashes) in &self.chain.blocks {
            for hash in hashes {
                let told = self.mined.get(&Nonce(nonce));
                if block.at.number <= upto && self.ours.contains(hash) {
                    assert_eq!(told, Some(&(*hash, block.at)), "transaction {nonce}");
                }
                nonce += 1;
            }
        }
    }

    /// Without faults everything ends.
    pub(crate) fn settle(&mut self) {
        self.chain.base_fee = 10;
        for _ in 0..400 {
            self.round();
            self.assert_told();
            let is_done = self
                .wanted
                .iter()
                .all(|(id, wanted)| !wanted || self.is_visible(*id));
            if is_done && self.lane.is_idle() {
                assert!(self.notes.is_empty(), "{:?}", self.notes);
                return;
            }
        }
        panic!("it never ends: {:#?}", self.lane);
    }

    /// The process is killed and another takes up what the disk has.
    pub(crate) fn kill(&mut self, settings: Settings) {
        self.local.clear();
        let is_sent = |task: &Task| matches!(task, Task::Do(Effect::Send { .. }));
        self.tasks.retain(is_sent);
        self.lane = Lane::restore(settings, self.notes.values().cloned(), self.now);
        self.followed.clear();
        self.followed.push(self.chain.blocks[0].0.at);
        self.follow();
    }
}

impl Chain {
    pub(crate) fn nonce(&self) -> Nonce {
        Nonce(self.blocks.iter().map(|(_, hashes)| hashes.len() as u64).sum())
    }

    pub(crate) fn mine(&mut self, signed: &BTreeMap<Hash, Transaction>) {
        self.made += 1;
        let mut next = self.nonce();
        let mut hashes = Vec::new();
        while hashes.len() < 4 {
            let of_next = self.pool.iter().filter(|hash| signed[*hash].nonce == next);
            let Some(best) = of_next.max_by_key(|hash| signed[*hash].price).copied() else {
                break;
            };
            if signed[&best].price.0 < self.base_fee {
                break;
            }
            hashes.push(best);
            next.0 += 1;
        }
        self.pool.retain(|hash| signed[hash].nonce >= next);
        let mut hash = [0xbb; 32];
        hash[..8].copy_from_slice(&self.made.to_be_bytes());
        let number = self.blocks.len() as u64;
        let at = BlockRef {
            number,
            hash: Hash(hash),
        };
        let block = Block {
            at,
            parent: self.blocks.last().map_or(Hash::ZERO, |(block, _)| block.at.hash),
            timestamp: Timestamp(1_000 + number),
            base_fee: Some(Wei(self.base_fee)),
        };
        self.blocks.push((block, hashes));
    }

    /// Takes off blocks; what was in them may come back into the pool.
    pub(crate) fn roll_back(&mut self, depth: usize, keep: impl Fn(&Hash) -> bool) {
        for _ in 0..depth.min(self.blocks.len() - 1) {
            let (_, hashes) = self.blocks.pop().expect("more than one");
            self.pool.extend(hashes.iter().filter(|hash| keep(hash)));
        }
    }

    pub(crate) fn receipt(&self, hash: Hash) -> Answer<Receipt> {
        let block = self.blocks.iter().find(|(_, hashes)| hashes.contains(&hash));
        block.map_or(Answer::Absent, |(block, _)| {
            Answer::Known(Receipt {
                transaction: hash,
                block: block.at,
                index: 0,
                succeeded: true,
                gas_used: Gas(50_000),
                gas_price: Wei(self.base_fee),
                logs: Vec::new(),
            })
        })
    }

    fn take(&mut self, hash: Hash, signed: &BTreeMap<Hash, Transaction>) -> Sending {
        let transaction = &signed[&hash];
        if transaction.nonce < self.nonce() {
            return Sending::NonceUsed;
        }
        let rival = self
            .pool
            .iter()
            .find(|other| signed[*other].nonce == transaction.nonce)
            .copied();
        match rival {
            Some(rival) if rival == hash => return Sending::Taken,
            Some(rival) if transaction.price.0 * 100 < signed[&rival].price.0 * 110 => {
                return Sending::TooCheap;
            }
            Some(rival) => drop(self.pool.remove(&rival)),
            None => {}
        }
        self.pool.insert(hash);
        Sending::Taken
    }
}
