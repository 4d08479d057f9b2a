//! A chain as a node tells it that is away, behind, forgetful or wrong.
//!
//! It is wrong only in what a single node may be wrong about and nobody can tell: what it has not yet, or has lost. Who
//! believes a node that makes things up needs several ([`Nodes`]; `devnet/tests` has those that disagree).

use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use wire_chain::{
    Answer, At, Chain, Contracts, Counted, Fees, Nodes, NodesOptions, Seen, Sent, Signed, Simulated,
    Transaction, View, Why,
};
use wire_hub::{Address, Block, BlockRef, Call, Hash, Log, Nonce, Receipt, Wei};

/// How a node is doing.
#[derive(Debug)]
pub(crate) struct Weather {
    /// It answers nothing and takes nothing.
    pub(crate) is_away: bool,
    /// Blocks of the chain that it does not have yet.
    pub(crate) behind: u64,
    /// Transactions that it says it has taken, and has not.
    pub(crate) loses: u32,
    /// Questions without an answer, in percent.
    pub(crate) silent_percent: u8,
    /// Blocks and receipts that it has and denies, in percent.
    pub(crate) denies_percent: u8,
    /// Transactions that it loses, saying that it has taken them or saying nothing, in percent.
    pub(crate) loses_percent: u8,
    rng: Rng,
}

/// Who changes the weather, and who is under it.
#[derive(Clone, Debug)]
pub(crate) struct Sky(Arc<Mutex<Weather>>);

impl Sky {
    /// Fair, with chance from this seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Weather {
            is_away: false,
            behind: 0,
            loses: 0,
            silent_percent: 0,
            denies_percent: 0,
            loses_percent: 0,
            rng: Rng::with_seed(seed),
        })))
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Weather {
    fn is_silent(&mut self) -> bool {
        self.is_away || self.rng.u8(..100) < self.silent_percent
    }

    fn denies(&mut self) -> bool {
        self.rng.u8(..100) < self.denies_percent
    }

    /// Whether it loses a transaction; and if so whether it says that it has it.
    fn loses(&mut self) -> Option<bool> {
        if self.loses > 0 {
            self.loses -= 1;
            return Some(true);
        }
        (self.rng.u8(..100) < self.loses_percent).then(|| self.rng.bool())
    }
}

/// A node under a sky.
#[derive(Debug)]
pub(crate) struct Troubled {
    nodes: Nodes,
    sky: Sky,
}

impl Troubled {
    pub(crate) fn new(url: &str, contracts: Contracts, sky: Sky) -> Self {
        let endpoints = vec![url.parse().expect("an address")];
        let nodes = Nodes::new(endpoints, contracts, NodesOptions::default()).expect("HTTP");
        Self { nodes, sky }
    }

    fn is_silent(&self) -> bool {
        self.sky.weather().is_silent()
    }

    /// The last block that it has.
    async fn last(&self) -> u64 {
        let behind = self.sky.weather().behind;
        if behind == 0 {
            return u64::MAX;
        }
        match self.nodes.head().await {
            Answer::Known(head) => head.at.number.saturating_sub(behind),
            _ => 0,
        }
    }

    async fn lacks(&self, at: At) -> bool {
        match at {
            At::Latest => false,
            At::Block(block) => block.number > self.last().await,
        }
    }
}

fn nobody_knows<T>() -> Answer<T> {
    Answer::Unknown(Why::Gone("by the weather".to_owned()))
}

impl Chain for Troubled {
    fn contracts(&self) -> &Contracts {
        self.nodes.contracts()
    }

    async fn head(&self) -> Answer<Block> {
        if self.is_silent() {
            return nobody_knows();
        }
        match self.last().await {
            u64::MAX => self.nodes.head().await,
            last => self.nodes.block(last).await,
        }
    }

    async fn finalized(&self) -> Answer<Block> {
        if self.is_silent() {
            return nobody_knows();
        }
        self.nodes.finalized().await
    }

    async fn blocks(&self, numbers: &[u64]) -> Vec<Answer<Block>> {
        let last = self.last().await;
        let mut answers = self.nodes.blocks(numbers).await;
        for (number, answer) in numbers.iter().zip(&mut answers) {
            let mut weather = self.sky.weather();
            if weather.is_silent() {
                *answer = nobody_knows();
            } else if *number > last || weather.denies() {
                *answer = Answer::Absent;
            }
        }
        answers
    }

    async fn block_of(&self, hash: Hash) -> Answer<Block> {
        if self.is_silent() {
            return nobody_knows();
        }
        self.nodes.block_of(hash).await
    }

    async fn logs(&self, blocks: RangeInclusive<u64>) -> Answer<Vec<Log>> {
        if self.is_silent() || *blocks.end() > self.last().await {
            return nobody_knows();
        }
        self.nodes.logs(blocks).await
    }

    async fn logs_of(&self, block: BlockRef) -> Answer<Vec<Log>> {
        if self.is_silent() || self.lacks(At::Block(block)).await {
            return nobody_knows();
        }
        self.nodes.logs_of(block).await
    }

    async fn receipts(&self, transactions: &[Hash]) -> Vec<Answer<Receipt>> {
        let last = self.last().await;
        let mut answers = self.nodes.receipts(transactions).await;
        for answer in &mut answers {
            let mut weather = self.sky.weather();
            let is_later = matches!(answer, Answer::Known(receipt) if receipt.block.number > last);
            if weather.is_silent() {
                *answer = nobody_knows();
            } else if is_later || weather.denies() {
                *answer = Answer::Absent;
            }
        }
        answers
    }

    async fn transaction(&self, hash: Hash) -> Answer<Transaction> {
        if self.is_silent() {
            return nobody_knows();
        }
        self.nodes.transaction(hash).await
    }

    async fn nonce(&self, wallet: Address, counted: Counted) -> Answer<Nonce> {
        let is_later = match counted {
            Counted::At(block) => self.lacks(At::Block(block)).await,
            Counted::Mined | Counted::Pending => false,
        };
        if is_later || self.is_silent() {
            return nobody_knows();
        }
        self.nodes.nonce(wallet, counted).await
    }

    async fn fees(&self) -> Answer<Fees> {
        if self.is_silent() {
            return nobody_knows();
        }
        self.nodes.fees().await
    }

    async fn ether(&self, who: Address, at: At) -> Answer<Wei> {
        if self.is_silent() || self.lacks(at).await {
            return nobody_knows();
        }
        self.nodes.ether(who, at).await
    }

    async fn code(&self, of: Address, at: At) -> Answer<Vec<u8>> {
        if self.is_silent() || self.lacks(at).await {
            return nobody_knows();
        }
        self.nodes.code(of, at).await
    }

    async fn see(&self, views: &[View], at: At) -> Vec<Answer<Seen>> {
        if self.is_silent() || self.lacks(at).await {
            return views.iter().map(|_| nobody_knows()).collect();
        }
        self.nodes.see(views, at).await
    }

    async fn send(&self, transaction: &Signed) -> Answer<Sent> {
        let (is_silent, loses) = {
            let mut weather = self.sky.weather();
            (weather.is_silent(), weather.loses())
        };
        match (is_silent, loses) {
            (true, _) | (_, Some(false)) => nobody_knows(),
            (_, Some(true)) => Answer::Known(Sent::Accepted),
            (false, None) => self.nodes.send(transaction).await,
        }
    }

    async fn simulate(&self, call: &Call, from: Address) -> Answer<Simulated> {
        if self.is_silent() {
            return nobody_knows();
        }
        self.nodes.simulate(call, from).await
    }
}
