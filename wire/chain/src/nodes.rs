//! A chain as several nodes tell it, of which some may be slow, dead, behind or wrong.
//!
//! - **The head** is the highest block that a majority of those that answer has. Who claims more is not believed until
//!   others say so too; who is behind or on another branch is reported. It is looked for from the highest block that enough
//!   nodes could have, downwards, by hash.
//! - **Everything else** one node answers: the first, in order of health, that has the block which is asked about. If it
//!   fails, the next is asked, and it rests for a while.
//! - **What was seen stays seen.** A node whose head is below a block that this pool knows is not asked about the newest
//!   state: it would deny what is already there.
//! - **Transactions** go to all.
//!
//! With two nodes of which one stands still, the head stands still too: nobody can say which of them is wrong. Three can
//! lose one.

mod head;

use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use wire_hub::{Address, Block, BlockRef, Call, Hash, Log, Nonce, Receipt, Wei};

use crate::rpc::{Endpoint, Rpc, RpcOptions};
use crate::{
    Answer, At, Chain, Contracts, Counted, Fees, Node, Seen, Sent, Signed, Simulated, Transaction, View, Why,
};

/// How several nodes are used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodesOptions {
    /// How each is asked. With several, the next node is a better second try than the same one: its
    /// [`RpcOptions::patience`] counts only for a node that is alone.
    pub rpc: RpcOptions,
    /// Who has not said its head within this is not counted. Default 5 s.
    pub head_within: Duration,
    /// How long a node that failed rests, at most; it begins with a quarter of a second. Default 30 s.
    pub rest_max: Duration,
    /// Branches longer than this are not followed down to where they part. Default 64 blocks.
    pub depth_max: u64,
}

impl Default for NodesOptions {
    fn default() -> Self {
        Self {
            rpc: RpcOptions::default(),
            head_within: Duration::from_secs(5),
            rest_max: Duration::from_secs(30),
            depth_max: 64,
        }
    }
}

/// Several nodes, or one.
#[derive(Debug)]
pub struct Nodes {
    members: Vec<Member>,
    options: NodesOptions,
    contracts: Contracts,
    /// The highest block that was agreed upon or that a receipt was in.
    seen: AtomicU64,
}

#[derive(Debug)]
struct Member {
    node: Node,
    state: Mutex<State>,
}

#[derive(Clone, Default, Debug)]
struct State {
    head: Option<BlockRef>,
    /// In a row.
    failures: u32,
    rests_until: Option<Instant>,
    disagrees: bool,
    problem: Option<String>,
}

/// How a node is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeReport {
    /// Its address, without credentials.
    pub endpoint: String,
    /// The head that it last said.
    pub head: Option<BlockRef>,
    /// Blocks that it lacks of what was agreed upon.
    pub behind: Option<u64>,
    /// It has another block than the majority, or none where it claims to have one.
    pub disagrees: bool,
    /// Times that it failed in a row.
    pub failures: u32,
    /// What its last failure was; `None` while it works.
    pub problem: Option<String>,
}

impl Nodes {
    /// The nodes at these addresses. Nothing is asked yet.
    ///
    /// # Errors
    /// The text says why this machine cannot speak to any node.
    ///
    /// # Panics
    /// There are none.
    pub fn new(
        endpoints: Vec<Endpoint>,
        contracts: Contracts,
        options: NodesOptions,
    ) -> Result<Self, String> {
        assert!(!endpoints.is_empty(), "a chain has at least one node");
        let mut rpc = options.rpc;
        if endpoints.len() > 1 {
            rpc.patience = Duration::ZERO;
        }
        let member = |endpoint| {
            Ok(Member {
                node: Node::new(Rpc::new(endpoint, rpc)?, contracts),
                state: Mutex::default(),
            })
        };
        Ok(Self {
            members: endpoints.into_iter().map(member).collect::<Result<_, String>>()?,
            options,
            contracts,
            seen: AtomicU64::new(0),
        })
    }

    /// How each is doing, in the order in which they were given.
    #[must_use]
    pub fn report(&self) -> Vec<NodeReport> {
        let seen = self.seen.load(Ordering::Relaxed);
        let report = |member: &Member| {
            let state = member.state().clone();
            NodeReport {
                endpoint: member.node.rpc().endpoint().to_string(),
                behind: state.head.map(|head| seen.saturating_sub(head.number)),
                head: state.head,
                disagrees: state.disagrees,
                failures: state.failures,
                problem: state.problem,
            }
        };
        self.members.iter().map(report).collect()
    }

    /// A block that is there: nodes that do not have it yet are not asked about the newest state.
    pub fn has_seen(&self, number: u64) {
        self.seen.fetch_max(number, Ordering::Relaxed);
    }

    /// Who is asked, the healthiest first. Who rests is asked if all others fail.
    fn order(&self) -> Vec<&Member> {
        let now = Instant::now();
        let mut members: Vec<&Member> = self.members.iter().collect();
        members.sort_by_key(|member| {
            let state = member.state();
            (state.rests(now), state.disagrees, state.failures)
        });
        members
    }

    async fn head_of(&self, member: &Member) -> Answer<Block> {
        let asked = timeout(self.options.head_within, member.node.head()).await;
        let answer = asked.unwrap_or_else(|_| {
            let endpoint = member.node.rpc().endpoint().to_string();
            let within = self.options.head_within;
            Answer::Unknown(Why::Rpc(crate::rpc::RpcError::TimedOut { endpoint, within }))
        });
        match &answer {
            Answer::Known(head) => member.state().head = Some(head.at),
            Answer::Absent => {}
            Answer::Unknown(why) => self.failed(member, why),
        }
        answer
    }

    fn failed(&self, member: &Member, why: &Why) {
        let mut state = member.state();
        state.failures = state.failures.saturating_add(1);
        let rest = Duration::from_millis(125) * 2_u32.saturating_pow(state.failures.min(16));
        state.rests_until = Some(Instant::now() + rest.min(self.options.rest_max));
        state.problem = Some(why.to_string());
        tracing::debug!(endpoint = %member.node.rpc().endpoint(), %why, failures = state.failures, "a node fails");
    }

    /// Whether a node has this block, as far as it said last, or says now.
    async fn reaches(&self, member: &Member, floor: u64) -> Result<(), Why> {
        let known = member.state().head;
        if known.is_some_and(|head| head.number >= floor) {
            return Ok(());
        }
        match self.head_of(member).await {
            Answer::Known(head) if head.at.number >= floor => Ok(()),
            Answer::Known(head) => Err(Why::Behind {
                wanted: floor,
                best: Some(head.at.number),
            }),
            Answer::Absent => Err(Why::Behind {
                wanted: floor,
                best: None,
            }),
            Answer::Unknown(why) => Err(why),
        }
    }

    /// The first node that has the block and answers.
    async fn first<'a, A, F>(&'a self, floor: u64, count: usize, ask: impl Fn(&'a Node) -> F + Send) -> A
    where
        A: Told + Send,
        F: Future<Output = A> + Send,
    {
        let mut last: Option<A> = None;
        for member in self.order() {
            if let Err(why) = self.reaches(member, floor).await {
                last.get_or_insert_with(|| A::unknown(why, count));
                continue;
            }
            let answer = ask(&member.node).await;
            match answer.trouble() {
                Some(why @ (Why::Rpc(_) | Why::BadData(_))) => self.failed(member, why),
                // It may be on another branch than the others.
                Some(Why::Gone(_)) => {}
                _ => {
                    member.state().worked();
                    return answer;
                }
            }
            last = Some(answer);
        }
        last.expect("there is at least one node")
    }

    /// What one of them has, whoever that is.
    async fn any<'a, T, F>(&'a self, ask: impl Fn(&'a Node) -> F + Send) -> Answer<T>
    where
        T: Send,
        F: Future<Output = Answer<T>> + Send,
    {
        let floor = self.seen.load(Ordering::Relaxed);
        let mut last: Option<Answer<T>> = None;
        for member in self.order() {
            let answer = match self.reaches(member, floor).await {
                Ok(()) => ask(&member.node).await,
                Err(why) => Answer::Unknown(why),
            };
            match (&answer, &last) {
                (Answer::Known(_), _) => return answer,
                // That it is not there, from one that has the head, says more than that another does not answer.
                (Answer::Unknown(_), Some(Answer::Absent)) => {}
                _ => last = Some(answer),
            }
        }
        last.expect("there is at least one node")
    }

    fn floor(&self, at: At) -> u64 {
        match at {
            At::Latest => self.seen.load(Ordering::Relaxed),
            At::Block(block) => block.number,
        }
    }
}

impl Member {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }
}

impl State {
    fn rests(&self, now: Instant) -> bool {
        self.rests_until.is_some_and(|until| until > now)
    }

    fn worked(&mut self) {
        self.failures = 0;
        self.rests_until = None;
        self.problem = None;
    }
}

/// An answer, or answers to several questions.
trait Told {
    /// Why one of them is not known.
    fn trouble(&self) -> Option<&Why>;
    fn unknown(why: Why, count: usize) -> Self;
}

impl<T> Told for Answer<T> {
    fn trouble(&self) -> Option<&Why> {
        match self {
            Self::Unknown(why) => Some(why),
            _ => None,
        }
    }

    fn unknown(why: Why, _count: usize) -> Self {
        Self::Unknown(why)
    }
}

impl<T> Told for Vec<Answer<T>> {
    fn trouble(&self) -> Option<&Why> {
        self.iter().find_map(Told::trouble)
    }

    fn unknown(why: Why, count: usize) -> Self {
        std::iter::repeat_with(|| Answer::Unknown(why.clone()))
            .take(count)
            .collect()
    }
}

impl Chain for Nodes {
    fn contracts(&self) -> &Contracts {
        &self.contracts
    }

    async fn head(&self) -> Answer<Block> {
        Answer::of(self.agreed_head().await.map(Some))
    }

    async fn finalized(&self) -> Answer<Block> {
        self.first(self.floor(At::Latest), 1, Node::finalized).await
    }

    async fn blocks(&self, numbers: &[u64]) -> Vec<Answer<Block>> {
        let highest = numbers.iter().copied().max().unwrap_or_default();
        let floor = highest.min(self.floor(At::Latest));
        self.first(floor, numbers.len(), |node| node.blocks(numbers))
            .await
    }

    async fn block_of(&self, hash: Hash) -> Answer<Block> {
        self.any(|node| node.block_of(hash)).await
    }

    async fn logs(&self, blocks: RangeInclusive<u64>) -> Answer<Vec<Log>> {
        self.first(*blocks.end(), 1, |node| node.logs(blocks.clone()))
            .await
    }

    async fn logs_of(&self, block: BlockRef) -> Answer<Vec<Log>> {
        self.first(block.number, 1, |node| node.logs_of(block)).await
    }

    async fn receipts(&self, transactions: &[Hash]) -> Vec<Answer<Receipt>> {
        let floor = self.floor(At::Latest);
        let receipts = self
            .first(floor, transactions.len(), |node| node.receipts(transactions))
            .await;
        for receipt in &receipts {
            if let Answer::Known(receipt) = receipt {
                self.has_seen(receipt.block.number);
            }
        }
        receipts
    }

    async fn transaction(&self, hash: Hash) -> Answer<Transaction> {
        self.any(|node| node.transaction(hash)).await
    }

    async fn nonce(&self, wallet: Address, counted: Counted) -> Answer<Nonce> {
        let at = match counted {
            Counted::At(block) => At::Block(block),
            Counted::Mined | Counted::Pending => At::Latest,
        };
        self.first(self.floor(at), 1, |node| node.nonce(wallet, counted))
            .await
    }

    async fn fees(&self) -> Answer<Fees> {
        self.first(self.floor(At::Latest), 1, Node::fees).await
    }

    async fn ether(&self, who: Address, at: At) -> Answer<Wei> {
        self.first(self.floor(at), 1, |node| node.ether(who, at)).await
    }

    async fn code(&self, of: Address, at: At) -> Answer<Vec<u8>> {
        self.first(self.floor(at), 1, |node| node.code(of, at)).await
    }

    async fn see(&self, views: &[View], at: At) -> Vec<Answer<Seen>> {
        self.first(self.floor(at), views.len(), |node| node.see(views, at))
            .await
    }

    async fn send(&self, transaction: &Signed) -> Answer<Sent> {
        let answers = join_all(self.members.iter().map(|member| member.node.send(transaction))).await;
        // Whoever took it gives it to the others.
        let rank = |answer: &Answer<Sent>| match answer {
            Answer::Known(Sent::Accepted) => 0,
            Answer::Known(Sent::AlreadyKnown) => 1,
            Answer::Known(Sent::NonceTooLow) => 2,
            Answer::Known(_) => 3,
            Answer::Unknown(_) | Answer::Absent => 4,
        };
        answers
            .into_iter()
            .min_by_key(rank)
            .expect("there is at least one node")
    }

    async fn simulate(&self, call: &Call, from: Address) -> Answer<Simulated> {
        self.first(self.floor(At::Latest), 1, |node| node.simulate(call, from))
            .await
    }
}
