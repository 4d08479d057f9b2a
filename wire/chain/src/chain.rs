//! What can be asked of a chain, whoever answers: a node, several, or one that a test makes up.

use std::future::Future;
use std::ops::RangeInclusive;

use wire_hub::{
    Address, Affiliation, Balance, Block, BlockRef, Call, Consensus, Contribution, Gas, Hash, Log, Nonce,
    Place, Receipt, Rlc, Wei, WorkOrder,
};

use crate::{BadData, Contracts, Seen, Signed, View, Why};

/// Entries of a contract's list that are read: a pool of the largest network had some thousand workers.
const LISTED_MAX: u64 = 100_000;

/// An answer of a chain. What nobody knows is never taken for what is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// This.
    Known(T),
    /// There is no such thing, in the block that was asked about.
    Absent,
    /// It could not be asked; ask again.
    Unknown(Why),
}

impl<T> Answer<T> {
    /// The same of something else.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Answer<U> {
        match self {
            Self::Known(known) => Answer::Known(change(known)),
            Self::Absent => Answer::Absent,
            Self::Unknown(why) => Answer::Unknown(why),
        }
    }

    /// What there is, if there is something.
    ///
    /// # Errors
    /// It is not known.
    pub fn found(self) -> Result<Option<T>, Why> {
        match self {
            Self::Known(known) => Ok(Some(known)),
            Self::Absent => Ok(None),
            Self::Unknown(why) => Err(why),
        }
    }

    pub(crate) fn of(found: Result<Option<T>, Why>) -> Self {
        match found {
            Ok(Some(known)) => Self::Known(known),
            Ok(None) => Self::Absent,
            Err(why) => Self::Unknown(why),
        }
    }
}

/// Why it is not known is for whoever asked.
impl<T> From<Answer<T>> for wire_hub::Answer<T> {
    fn from(said: Answer<T>) -> Self {
        match said {
            Answer::Known(known) => Self::Known(known),
            Answer::Absent => Self::Absent,
            Answer::Unknown(_) => Self::Unknown,
        }
    }
}

/// In which state of the chain something is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum At {
    /// That of the newest block that whoever answers has.
    Latest,
    /// That after this block, and no other: if it is not of the chain any more, the answer is [`Why::Gone`].
    Block(BlockRef),
}

/// Which of a wallet's transactions count.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Counted {
    /// Those in blocks.
    Mined,
    /// Those in blocks up to this one, and no others: if it is not of the chain any more, the answer is [`Why::Gone`].
    /// Where several nodes stand behind one address, nothing else goes together with the views of a block.
    At(BlockRef),
    /// Also those that the node would put into the next.
    Pending,
}

/// What a unit of gas costs now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fees {
    /// By EIP-1559.
    Market {
        /// What is burned in the next block.
        base_fee: Wei,
        /// What transactions of the last blocks gave on top, the median.
        priority_fee: Wei,
    },
    /// On chains from before London.
    Legacy {
        /// What the node proposes.
        gas_price: Wei,
    },
}

/// A transaction that a node has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Transaction {
    /// What it is known by.
    pub hash: Hash,
    /// The block that has it; `None` if it waits.
    pub block: Option<BlockRef>,
    /// Who sent it.
    pub from: Address,
    /// To whom; `None` for one that makes a contract.
    pub to: Option<Address>,
    /// Its number among its sender's.
    pub nonce: Nonce,
    /// What a unit of gas costs it, at most as long as it waits.
    pub gas_price: Wei,
    /// What the contract is told.
    pub input: Vec<u8>,
}

/// What a node says of a transaction that it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It has it now.
    Accepted,
    /// It had it already.
    AlreadyKnown,
    /// A block has another with this nonce, or this one.
    NonceTooLow,
    /// It has another with this nonce that pays nearly as much or more.
    ReplacementUnderpriced,
    /// It pays too little.
    FeeTooLow,
    /// The wallet has too few coins.
    InsufficientFunds,
    /// There is no room now.
    PoolFull,
    /// Something else, in the node's words.
    Refused(String),
}

/// What a call would do now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Simulated {
    /// It would take effect, and take so much gas.
    Succeeds(Gas),
    /// The contract would not do it. These contracts give no reason.
    Reverts(String),
}

/// A log as a node gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawLog {
    /// Which contract.
    pub address: Address,
    /// The event, and those of its fields that can be searched for.
    pub topics: Vec<Hash>,
    /// Its other fields.
    pub data: Vec<u8>,
    /// Where.
    pub place: Place,
}

/// A chain with the contracts of a pool on it.
///
/// No answer waits for anything that is not there yet. Where several things are asked at once, the answers stand in the
/// order of the questions.
pub trait Chain: Send + Sync {
    /// Which contracts are meant.
    fn contracts(&self) -> &Contracts;

    /// The newest block.
    fn head(&self) -> impl Future<Output = Answer<Block>> + Send;

    /// The newest block that will not be replaced; absent where the chain knows no such thing.
    fn finalized(&self) -> impl Future<Output = Answer<Block>> + Send;

    /// Blocks by their height.
    fn blocks(&self, numbers: &[u64]) -> impl Future<Output = Vec<Answer<Block>>> + Send;

    /// A block by its hash, also one that is not of the chain any more, if somebody still has it.
    fn block_of(&self, hash: Hash) -> impl Future<Output = Answer<Block>> + Send;

    /// Events of the pool's contract in these blocks, in order. Each says which block it is of. Never absent.
    fn logs(&self, blocks: RangeInclusive<u64>) -> impl Future<Output = Answer<Vec<Log>>> + Send;

    /// Events of the pool's contract in one block, and no other of its height.
    fn logs_of(&self, block: BlockRef) -> impl Future<Output = Answer<Vec<Log>>> + Send;

    /// What became of transactions; absent for those that no block has.
    fn receipts(&self, transactions: &[Hash]) -> impl Future<Output = Vec<Answer<Receipt>>> + Send;

    /// A transaction, also one that waits.
    fn transaction(&self, hash: Hash) -> impl Future<Output = Answer<Transaction>> + Send;

    /// The number of a wallet's next transaction.
    fn nonce(&self, wallet: Address, counted: Counted) -> impl Future<Output = Answer<Nonce>> + Send;

    /// What gas costs now.
    fn fees(&self) -> impl Future<Output = Answer<Fees>> + Send;

    /// Coins of somebody.
    fn ether(&self, who: Address, at: At) -> impl Future<Output = Answer<Wei>> + Send;

    /// The code of a contract; absent where there is none.
    fn code(&self, of: Address, at: At) -> impl Future<Output = Answer<Vec<u8>>> + Send;

    /// What the contracts keep.
    fn see(&self, views: &[View], at: At) -> impl Future<Output = Vec<Answer<Seen>>> + Send;

    /// Sends a transaction. It may have been taken also when the answer is unknown.
    fn send(&self, transaction: &Signed) -> impl Future<Output = Answer<Sent>> + Send;

    /// What a call from this sender would do in the newest state, with the gas that it would take.
    fn simulate(&self, call: &Call, from: Address) -> impl Future<Output = Answer<Simulated>> + Send;

    /// A block by its height.
    fn block(&self, number: u64) -> impl Future<Output = Answer<Block>> + Send {
        async move { one(self.blocks(&[number]).await) }
    }

    /// What became of a transaction.
    fn receipt(&self, transaction: Hash) -> impl Future<Output = Answer<Receipt>> + Send {
        async move { one(self.receipts(&[transaction]).await) }
    }

    /// One view.
    fn look(&self, view: View, at: At) -> impl Future<Output = Answer<Seen>> + Send {
        async move { one(self.see(&[view], at).await) }
    }

    /// What a requester has bought.
    fn work_orders(&self, woids: &[Address], at: At) -> impl Future<Output = Vec<Answer<WorkOrder>>> + Send {
        let views = each(woids, |woid| View::WorkOrder { woid });
        async move {
            typed(
                self.see(&views, at).await,
                |seen| take!(seen, Seen::WorkOrder(it) => *it),
            )
        }
    }

    /// What the pool's contract keeps of orders.
    fn consensuses(&self, woids: &[Address], at: At) -> impl Future<Output = Vec<Answer<Consensus>>> + Send {
        let views = each(woids, |woid| View::Consensus { woid });
        async move {
            typed(
                self.see(&views, at).await,
                |seen| take!(seen, Seen::Consensus(it) => it),
            )
        }
    }

    /// How far workers are with an order.
    fn contributions(
        &self,
        woid: Address,
        workers: &[Address],
        at: At,
    ) -> impl Future<Output = Vec<Answer<Contribution>>> + Send {
        let views = each(workers, |worker| View::Contribution { woid, worker });
        async move {
            typed(
                self.see(&views, at).await,
                |seen| take!(seen, Seen::Contribution(it) => it),
            )
        }
    }

    /// Who has contributed to an order, also those that were rejected since, in the order in which they came.
    fn contributors(&self, woid: Address, at: BlockRef) -> impl Future<Output = Answer<Vec<Address>>> + Send {
        listed(self, View::ContributorsCount { woid }, at, move |index| {
            View::Contributor { woid, index }
        })
    }

    /// All workers of the pool.
    fn workers(&self, at: BlockRef) -> impl Future<Output = Answer<Vec<Address>>> + Send {
        listed(self, View::WorkersCount, at, |index| View::Worker { index })
    }

    /// What people have at the hub.
    fn balances(&self, of: &[Address], at: At) -> impl Future<Output = Vec<Answer<Balance>>> + Send {
        let views = each(of, |who| View::Balance { who });
        async move {
            typed(
                self.see(&views, at).await,
                |seen| take!(seen, Seen::Balance(it) => it),
            )
        }
    }

    /// Where workers belong.
    fn affiliations(
        &self,
        workers: &[Address],
        at: At,
    ) -> impl Future<Output = Vec<Answer<Affiliation>>> + Send {
        let views = each(workers, |worker| View::Affiliation { worker });
        async move {
            typed(
                self.see(&views, at).await,
                |seen| take!(seen, Seen::Affiliation(it) => it),
            )
        }
    }

    /// RLC of somebody that is no stake.
    fn rlc(&self, who: Address, at: At) -> impl Future<Output = Answer<Rlc>> + Send {
        async move {
            self.look(View::Rlc { who }, at)
                .await
                .map(|seen| take!(seen, Seen::Amount(it) => it))
        }
    }
}

/// What a view is answered with follows from the view.
macro_rules! take {
    ($seen:expr, $pattern:pat => $taken:expr) => {
        match $seen {
            $pattern => $taken,
            other => unreachable!("{other:?} is the answer to another view"),
        }
    };
}
use take;

fn one<T>(mut answers: Vec<Answer<T>>) -> Answer<T> {
    answers.pop().expect("an answer to each question")
}

fn each(of: &[Address], view: impl Fn(Address) -> View) -> Vec<View> {
    of.iter().copied().map(view).collect()
}

fn typed<T>(answers: Vec<Answer<Seen>>, take: impl Fn(Seen) -> T) -> Vec<Answer<T>> {
    answers.into_iter().map(|answer| answer.map(&take)).collect()
}

/// As many as a contract says, one by one, in the same block. A list has no gaps: if one is not known, it is not.
async fn listed<C: Chain + ?Sized>(
    chain: &C,
    count: View,
    at: BlockRef,
    view: impl Fn(u64) -> View + Send,
) -> Answer<Vec<Address>> {
    let views: Vec<View> = match chain.look(count, At::Block(at)).await {
        Answer::Known(Seen::Count(count)) if count <= LISTED_MAX => (0..count).map(view).collect(),
        Answer::Known(other) => {
            let problem = format!("{other:?}, and at most {LISTED_MAX} are read");
            return Answer::Unknown(BadData::new("a count", problem).into());
        }
        Answer::Absent => return Answer::Absent,
        Answer::Unknown(why) => return Answer::Unknown(why),
    };
    let mut all = Vec::with_capacity(views.len());
    for answer in chain.see(&views, At::Block(at)).await {
        match answer {
            Answer::Known(seen) => all.push(take!(seen, Seen::Address(address) => address)),
            Answer::Absent => return Answer::Absent,
            Answer::Unknown(why) => return Answer::Unknown(why),
        }
    }
    Answer::Known(all)
}
