//! What a lane is told, and what it asks for.

use std::fmt;

use serde::{Deserialize, Serialize};
use wire_hub::{Answer, Block, BlockRef, Call, Gas, Hash, Nonce, Receipt, Timestamp, Wei};
use wire_protocol::units::Millis;

use super::fees::{FeePolicy, Fees};
use super::slot::Attempt;

/// How a lane behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Transactions without a receipt at once. Nodes keep 16 of a sender for sure and 64 if there is room; 16.
    pub in_flight_max: usize,
    /// Prices.
    pub fees: FeePolicy,
    /// Wei that may be burned in an hour. `None`: no bound.
    pub spend_per_hour_max: Option<Wei>,
    /// The next transaction of the line is sent again if it has no receipt so long after it was sent; 30 s.
    pub resend_after: Millis,
    /// It is offered dearer if it has none so long after it was last signed, and blocks ask for more; 30 s.
    pub replace_after: Millis,
    /// So many seconds of the chain before its deadline a transaction is offered at the cap; 60.
    pub urgent_s: u64,
    /// Questions are put again after so long without a new block; 5 s.
    pub poll: Millis,
}

/// Names an intent: a hash of what it is for. Whoever wants the same again on purpose makes another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IntentId(pub Hash);

/// A transaction that somebody wants mined once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Intent {
    /// Its name.
    pub id: IntentId,
    /// What is called.
    pub call: Call,
    /// Gas that it may take.
    pub gas_limit: Gas,
    /// The last block time at which it makes sense. `None`: at any.
    pub deadline: Option<Timestamp>,
    /// What it is about, for whoever is asked whether it still makes sense: the key of an order.
    pub about: Option<Hash>,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Somebody wants a transaction. A repetition changes nothing, as long as the lane remembers it.
    Intend(Intent),
    /// Nobody wants it any more.
    Withdraw(IntentId),
    /// The chain was followed up to this block.
    Head(Block),
    /// Blocks beyond this number were orphaned.
    Orphaned {
        /// The common ancestor.
        beyond: u64,
    },
    /// The chain is followed again behind this number: what was seen of nonces there may have changed without a word.
    Again {
        /// The last block that stays.
        beyond: u64,
    },
    /// Blocks up to this number are final.
    Final(u64),
    /// What the node asks for gas, on chains whose blocks do not say.
    GasPrice(Wei),
    /// To [`Effect::AskAccount`].
    Account(Account),
    /// To [`Effect::Sign`].
    Signed {
        /// Of which nonce.
        nonce: Nonce,
        /// The transaction's hash.
        hash: Hash,
        /// Its bytes.
        raw: Vec<u8>,
    },
    /// To [`Effect::Note`]: it is durable.
    Noted(u64),
    /// To [`Effect::Send`].
    Sent {
        /// The transaction.
        hash: Hash,
        /// What the node said.
        sending: Sending,
    },
    /// To [`Effect::AskReceipt`].
    Receipt {
        /// Which time.
        round: u64,
        /// Of which transaction.
        hash: Hash,
        /// What there is.
        answer: Answer<Receipt>,
    },
    /// To [`Effect::Check`]: whether it would still take effect.
    Checked {
        /// Which intent.
        intent: IntentId,
        /// Whether.
        holds: Answer<bool>,
    },
    /// The operator wants these offered at the cap, whatever blocks ask for. What is mined, and what is not ours, stays as it is.
    Unstick {
        /// Which; `None`: all that have no receipt.
        nonce: Option<Nonce>,
        /// The nonce is to be taken by a transaction that does nothing; what it was for is given up.
        as_nothing: bool,
    },
    /// A deadline has come.
    Tick,
}

/// What the chain has of the wallet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Account {
    /// At which block; another than the last head is passed over.
    pub at: BlockRef,
    /// How many transactions it has mined: the next nonce.
    pub nonce: Nonce,
    /// What it has.
    pub balance: Wei,
}

/// What a node says of a transaction that it is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Sending {
    /// It has it, perhaps since before.
    Taken,
    /// Its nonce is used.
    NonceUsed,
    /// It is too cheap, for a replacement or at all.
    TooCheap,
    /// The wallet has not enough for it.
    NoFunds,
    /// It will never take it.
    Refused(String),
    /// No answer.
    Unknown,
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask what the chain has of the wallet at this block.
    AskAccount(BlockRef),
    /// Ask what the node asks for gas: the blocks of this chain do not say.
    AskGasPrice,
    /// Ask for a receipt.
    AskReceipt {
        /// Comes back with the answer.
        round: u64,
        /// Of which transaction.
        hash: Hash,
    },
    /// Ask whether an intent would take effect now, from the views of the last block.
    Check(Intent),
    /// Sign.
    Sign {
        /// With this nonce.
        nonce: Nonce,
        /// This.
        payload: Payload,
        /// At these prices.
        fees: Fees,
    },
    /// Keep this for a restart, instead of what was kept of this nonce before. `None`: nothing any more.
    Note {
        /// Comes back when it is durable.
        note: u64,
        /// Whose.
        nonce: Nonce,
        /// What.
        kept: Option<Kept>,
    },
    /// Send.
    Send {
        /// Its nonce.
        nonce: Nonce,
        /// The transaction.
        hash: Hash,
        /// Its bytes.
        raw: Vec<u8>,
    },
    /// A block has a transaction of ours, also one that does nothing or is about something that was given up; for whoever keeps
    /// books. Said of each block that has it, and again after a restart.
    Mined {
        /// Its nonce.
        nonce: Nonce,
        /// What there is of it.
        receipt: Receipt,
    },
    /// What was said in [`Effect::Mined`] of this nonce is not so any more, as far as anybody knows.
    Unmined(Nonce),
    /// Tell whoever intended it, who may have forgotten it in a restart.
    Report {
        /// Which.
        intent: Intent,
        /// How far it is.
        progress: Progress,
    },
    /// Tell the operator. Said once, until it is over.
    Alert(Alert),
}

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A call.
    Call {
        /// Which.
        call: Call,
        /// With so much gas.
        gas_limit: Gas,
    },
    /// Nothing: it takes the nonce and 21000 gas.
    Nothing,
}

/// How far an intent is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// It was sent.
    Sent(Hash),
    /// A block has it.
    Mined(Receipt),
    /// That block was orphaned, or the node does not know it any more.
    Orphaned,
    /// It is in a final block; nothing more is said of it.
    Final {
        /// Whether it took effect.
        succeeded: bool,
    },
    /// It will not be mined; nothing more is said of it.
    Withdrawn(Withdrawal),
    /// Somebody else has used its nonce; it waits for another.
    Displaced,
}

/// Why an intent was given up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Withdrawal {
    /// Nobody wants it any more.
    Unwanted,
    /// It would not take effect any more.
    Pointless,
    /// Its deadline has passed.
    Late,
    /// No node takes it.
    Refused(String),
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwanted => f.write_str("nobody wanted it any more"),
            Self::Pointless => f.write_str("it would not have taken effect any more"),
            Self::Late => f.write_str("its time had passed"),
            Self::Refused(why) => write!(f, "no node took it: {why}"),
        }
    }
}

/// What an operator should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Alert {
    /// Somebody else sends with this wallet: its nonces up to this one are used, and not by us.
    Foreign(Nonce),
    /// It would cost more than the cap; it waits.
    TooDear {
        /// Of which nonce.
        nonce: Nonce,
        /// The cap.
        cap: Wei,
    },
    /// More would be burned in this hour than may be; it waits.
    Spent {
        /// The bound.
        per_hour_max: Wei,
    },
    /// The wallet has not enough for gas.
    NoFunds(Wei),
    /// It is over.
    Over,
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(nonce) => write!(
                f,
                "somebody else sends transactions with this wallet (up to nonce {}): give this program a wallet that \
                 nothing else uses",
                nonce.0
            ),
            Self::TooDear { nonce, cap } => write!(
                f,
                "gas is dearer than {cap} a unit, transaction {} waits: raise the cap, or wait",
                nonce.0
            ),
            Self::Spent { per_hour_max } => {
                write!(
                    f,
                    "{per_hour_max} for gas are spent in this hour: raise the bound, or wait"
                )
            }
            Self::NoFunds(balance) => write!(f, "the wallet has {balance}, too little for gas: send it more"),
            Self::Over => f.write_str("transactions go on"),
        }
    }
}

/// What is kept of a nonce.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// Which.
    pub nonce: Nonce,
    /// For which intent; `None`: only to fill a gap.
    pub intent: Option<Intent>,
    /// Why it was given up, if it was.
    pub withdrawn: Option<Withdrawal>,
    /// All that was ever signed with it, of which one may be mined.
    pub attempts: Vec<Attempt>,
}
