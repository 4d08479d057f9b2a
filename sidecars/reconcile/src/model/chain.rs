//! A chain of model hubs: each block has one, transactions wait, and reorganisations take blocks back.
//!
//! What is by chance is drawn by whoever drives it, who hands a source of numbers in.

use std::collections::BTreeMap;

use wire_hub::{
    Address, Block, BlockRef, Call, Event, Gas, Hash, Log, Nonce, Place, Receipt, Timestamp, Wei, keccak,
};
use wire_lane::Payload;

use super::hub::Hub;

/// What a unit of gas costs in every block.
const BASE_FEE: Wei = Wei(10);

/// What every transaction takes.
const GAS_USED: Gas = Gas(50_000);

/// Draws a number below this one.
pub type Draw<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Blocks, and transactions that are in none.
#[derive(Clone, Debug)]
pub struct Chain {
    /// From number 0.
    blocks: Vec<Mined>,
    /// A node knows orphans, too.
    orphans: BTreeMap<Hash, Vec<Log>>,
    signed: BTreeMap<Hash, Transaction>,
    waiting: BTreeMap<Hash, Transaction>,
    /// Blocks that were ever made.
    made: u64,
    signatures: u64,
    /// The most blocks that there ever were.
    longest: usize,
}

/// A block, and all that is known after it.
#[derive(Clone, Debug)]
pub struct Mined {
    /// Its header.
    pub block: Block,
    /// The contracts.
    pub hub: Hub,
    /// What the pool's contract has said.
    pub logs: Vec<Log>,
    /// Of all transactions.
    pub receipts: Vec<Receipt>,
    /// The next nonces of those who have sent any.
    nonces: BTreeMap<Address, Nonce>,
}

/// A signed transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// Its hash.
    pub hash: Hash,
    /// Whose.
    pub sender: Address,
    /// The sender's number of it.
    pub nonce: Nonce,
    /// What it does.
    pub payload: Payload,
    /// What it offers for a unit of gas.
    pub price: Wei,
}

impl Chain {
    /// With this hub in its first block, of this time.
    #[must_use]
    pub fn new(hub: Hub, at: Timestamp) -> Self {
        let block = Block {
            at: BlockRef {
                number: 0,
                hash: keccak(b"genesis"),
            },
            parent: Hash::ZERO,
            timestamp: at,
            base_fee: Some(BASE_FEE),
        };
        let genesis = Mined {
            block,
            hub,
            logs: Vec::new(),
            receipts: Vec::new(),
            nonces: BTreeMap::new(),
        };
        Self {
            blocks: vec![genesis],
            orphans: BTreeMap::new(),
            signed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            made: 0,
            signatures: 0,
            longest: 1,
        }
    }

    /// The last block.
    #[must_use]
    pub fn last(&self) -> &Mined {
        self.blocks.last().expect("there is always the first")
    }

    /// The block with this number.
    #[must_use]
    pub fn block(&self, number: u64) -> Option<&Mined> {
        self.blocks.get(usize::try_from(number).ok()?)
    }

    /// This very block, unless it is orphaned.
    #[must_use]
    pub fn at(&self, at: BlockRef) -> Option<&Mined> {
        self.block(at.number).filter(|mined| mined.block.at == at)
    }

    /// All blocks, from the first.
    pub fn blocks(&self) -> impl Iterator<Item = &Mined> {
        self.blocks.iter()
    }

    /// What the pool's contract has said in this block, also if it is orphaned.
    #[must_use]
    pub fn logs(&self, of: BlockRef) -> Option<&[Log]> {
        let orphaned = || self.orphans.get(&of.hash).map(Vec::as_slice);
        self.at(of).map(|mined| mined.logs.as_slice()).or_else(orphaned)
    }

    /// What became of a transaction.
    #[must_use]
    pub fn receipt(&self, transaction: Hash) -> Option<&Receipt> {
        let mut receipts = self.blocks.iter().rev().flat_map(|mined| &mined.receipts);
        receipts.find(|receipt| receipt.transaction == transaction)
    }

    /// What is signed under this hash.
    #[must_use]
    pub fn signed(&self, hash: Hash) -> Option<&Transaction> {
        self.signed.get(&hash)
    }

    /// A wallet signs.
    pub fn sign(&mut self, sender: Address, nonce: Nonce, payload: Payload, price: Wei) -> Hash {
        self.signatures += 1;
        let hash = keccak(&[&b"signed"[..], &self.signatures.to_be_bytes()].concat());
        let signed = Transaction {
            hash,
            sender,
            nonce,
            payload,
            price,
        };
        self.signed.insert(hash, signed);
        hash
    }

    /// A node takes a transaction. `false`: its nonce is used.
    pub fn send(&mut self, hash: Hash) -> bool {
        let Some(signed) = self.signed.get(&hash) else {
            return false;
        };
        let is_new = signed.nonce >= self.last().nonce(signed.sender);
        if is_new {
            self.waiting.insert(hash, signed.clone());
        }
        is_new
    }

    /// Makes a block of this time, of what waits and of these calls of others, in an order that is drawn: nobody decides the
    /// order in a block.
    pub fn mine(&mut self, mut others: Vec<(Address, Call)>, timestamp: Timestamp, draw: Draw<'_>) -> &Mined {
        self.made += 1;
        let before = self.last();
        let parent = before.block.at;
        let hash = keccak(&[&parent.hash.0[..], &self.made.to_be_bytes()].concat());
        let number = parent.number + 1;
        let mut mined = Mined {
            block: Block {
                at: BlockRef { number, hash },
                parent: parent.hash,
                timestamp,
                base_fee: Some(BASE_FEE),
            },
            hub: before.hub.clone(),
            logs: Vec::new(),
            receipts: Vec::new(),
            nonces: before.nonces.clone(),
        };
        loop {
            let next = self.next(&mined);
            match next.len() + others.len() {
                0 => break,
                count => match draw(count).checked_sub(next.len()) {
                    Some(other) => {
                        let (sender, call) = others.swap_remove(other);
                        mined.include(sender, &call, None);
                    }
                    None => {
                        let transaction = self.waiting[&next[draw(next.len())]].clone();
                        mined.take(&transaction);
                    }
                },
            }
        }
        self.waiting
            .retain(|_, waiting| waiting.nonce >= mined.nonce(waiting.sender));
        self.blocks.push(mined);
        self.longest = self.longest.max(self.blocks.len());
        self.last()
    }

    /// Of each sender the transaction that is next, the dearest where there are several.
    fn next(&self, mined: &Mined) -> Vec<Hash> {
        let mut best: BTreeMap<Address, &Transaction> = BTreeMap::new();
        for waiting in self.waiting.values() {
            let is_next = waiting.nonce == mined.nonce(waiting.sender) && waiting.price >= BASE_FEE;
            if is_next
                && best
                    .get(&waiting.sender)
                    .is_none_or(|best| best.price < waiting.price)
            {
                best.insert(waiting.sender, waiting);
            }
        }
        best.into_values().map(|transaction| transaction.hash).collect()
    }

    /// Takes back so many blocks, but none that ever had `deepest` behind it. What was in them waits again, or is lost.
    /// Returns how many were taken back.
    pub fn reorganise(&mut self, depth: usize, deepest: usize, draw: Draw<'_>) -> usize {
        let bound = (self.blocks.len() + deepest).saturating_sub(self.longest);
        let depth = depth.min(bound).min(self.blocks.len() - 1);
        for _ in 0..depth {
            let orphan = self.blocks.pop().expect("the first stays");
            self.orphans.insert(orphan.block.at.hash, orphan.logs);
            for receipt in orphan.receipts {
                if let Some(signed) = self.signed.get(&receipt.transaction)
                    && draw(2) == 0
                {
                    self.waiting.insert(signed.hash, signed.clone());
                }
            }
        }
        depth
    }
}

impl Mined {
    /// How many transactions somebody has had mined: the number of the next.
    #[must_use]
    pub fn nonce(&self, sender: Address) -> Nonce {
        self.nonces.get(&sender).copied().unwrap_or_default()
    }

    fn take(&mut self, transaction: &Transaction) {
        let next = Nonce(transaction.nonce.0 + 1);
        self.nonces.insert(transaction.sender, next);
        match &transaction.payload {
            Payload::Call { call, .. } => self.include(transaction.sender, call, Some(transaction.hash)),
            Payload::Nothing => self.receive(transaction.hash, true, Vec::new()),
        }
    }

    fn include(&mut self, sender: Address, call: &Call, hash: Option<Hash>) {
        let (block, at) = (self.block.at, self.block.timestamp);
        let index = self.receipts.len() as u64;
        let transaction = hash.unwrap_or_else(|| keccak(&[&block.hash.0[..], &index.to_be_bytes()].concat()));
        let done = self.hub.call(sender, call, at);
        let succeeded = done.is_ok();
        let mut logs = Vec::new();
        let said: u32 = self
            .receipts
            .iter()
            .map(|receipt| receipt.logs.len() as u32)
            .sum();
        for (log_index, event) in (said..).zip(done.unwrap_or_default()) {
            let place = Place {
                block,
                log_index,
                transaction,
            };
            logs.push(Log { place, event });
        }
        self.receive(transaction, succeeded, logs);
    }

    fn receive(&mut self, transaction: Hash, succeeded: bool, logs: Vec<Log>) {
        self.logs
            .extend(logs.iter().filter(|log| is_of_the_pool(&log.event)).cloned());
        self.receipts.push(Receipt {
            transaction,
            block: self.block.at,
            index: self.receipts.len() as u32,
            succeeded,
            gas_used: GAS_USED,
            gas_price: BASE_FEE,
            logs,
        });
    }
}

/// What a filter on the address of the pool's contract lets through.
const fn is_of_the_pool(event: &Event) -> bool {
    matches!(
        event,
        Event::WorkOrderActive { .. }
            | Event::WorkOrderClaimed { .. }
            | Event::AllowWorkerToContribute { .. }
            | Event::Contribute { .. }
            | Event::RevealConsensus { .. }
            | Event::Reveal { .. }
            | Event::Reopen { .. }
            | Event::FinalizeWork { .. }
            | Event::WorkerSubscribe { .. }
            | Event::WorkerUnsubscribe { .. }
            | Event::WorkerEviction { .. }
            | Event::WorkerPoolPolicyUpdate
    )
}
