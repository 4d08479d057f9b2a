//! What a follower is told, asks and says.

use std::fmt;

use wire_hub::{Answer, Block, BlockRef, Log};
use wire_protocol::units::Millis;

/// How a chain is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Blocks that are remembered, and so the deepest reorganisation that is followed, less one. 64 where reorganisations
    /// of more than a dozen blocks are unheard of. At least 2.
    pub ring_len: usize,
    /// Blocks behind the tip from which on one is safe: 2 to 12, by chain.
    pub confirmations: u64,
    /// Blocks behind the tip from which on one is final. `None`: only what the node says is finalized.
    pub final_after: Option<u64>,
    /// Blocks of one range of logs, far behind the head. Nodes refuse too many; 1000 is usual.
    pub range_len: u64,
    /// So long an answer is waited for.
    pub patience: Millis,
    /// So long a question is not put again that had no good answer.
    pub pause: Millis,
}

/// How sure it is that a block, and what it said, stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Finality {
    /// It was followed, and may be orphaned.
    Observed,
    /// It has its confirmations.
    Safe,
    /// It stays.
    Final,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A node has this block as its last.
    Head(Block),
    /// This block is final, says the node, and all before it. It counts once it was followed.
    Finalized(BlockRef),
    /// A question was answered.
    Answered {
        /// Which.
        ask: u64,
        /// How.
        reply: Reply,
    },
    /// A deadline has come.
    Tick,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// To [`Question::Block`].
    Block(Answer<Block>),
    /// To [`Question::LogsOf`], absent where the node knows no such block; and to [`Question::LogsIn`].
    Logs(Answer<Vec<Log>>),
}

/// What the shell is to ask a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// The block with this number.
    Block(u64),
    /// The logs of this very block, by its hash.
    LogsOf(BlockRef),
    /// The logs of these blocks, by number, both included.
    LogsIn {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask a node, and say the answer as [`Event::Answered`].
    Ask {
        /// Comes back with the answer.
        ask: u64,
        /// What.
        question: Question,
    },
    /// These events happened, in this order, and the chain was followed up to this block.
    Append {
        /// The block.
        upto: Block,
        /// The events; far behind the head also those of the blocks before.
        logs: Vec<Log>,
    },
    /// This block, which was the tip, is orphaned: all that was said to have happened in it has not.
    Undo(BlockRef),
    /// Blocks up to this number have their confirmations. It falls when one of them is orphaned.
    Safe(u64),
    /// Blocks up to this number are final.
    Final(u64),
    /// A reorganisation reached beyond all that is remembered; the chain is followed anew from the oldest block.
    TooDeep(TooDeep),
}

/// More was orphaned than is remembered. What older blocks said and was orphaned is not taken back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooDeep {
    /// The oldest block that was remembered, orphaned too.
    pub oldest: BlockRef,
}

impl fmt::Display for TooDeep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the chain was reorganised beyond block {}, the oldest that is remembered, and is read anew from there; what \
             orders before it have done may be wrong: read the chain anew from a block before them, and if the node is \
             right that it was reorganised so far, ask for more confirmations",
            self.oldest.number
        )
    }
}
