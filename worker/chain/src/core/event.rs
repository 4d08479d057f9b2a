//! What the core is told, and what it asks for.

use std::fmt;

use wire_hub::{Address, Answer, Block, BlockRef, Hash, Person, Policy, Rlc, Ticket, Views, Wei};
use wire_lane::{self as lane, Alert, FeePolicy, Intent, Progress};
use wire_protocol::units::{Instant, Millis};

#[cfg(debug_assertions)]
use crate::faults::Faults;

use super::order::State;

/// The time, as the shell's clocks have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Never goes back: what waits is measured by it.
    pub instant: Instant,
    /// Seconds since 1970, which blocks are compared with.
    pub unix_s: u64,
}

/// How it behaves.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The chain's number. A ticket for another chain, hub or pool is refused.
    pub chain_id: u64,
    /// The marketplace's hub.
    pub hub: Address,
    /// The pool's contract.
    pub pool: Address,
    /// The worker's wallet.
    pub worker: Address,
    /// How transactions are sent.
    pub lane: lane::Settings,
    /// Nothing is sent on the word of a node whose last block is older than this by the worker's clock, in seconds: it may be
    /// cut off, and what it says be over. 0: however old it is, for chains that make blocks only when somebody sends
    /// something. 300.
    pub block_age_s_max: u64,
    /// A block with so many behind it is final, also where the node knows of no final ones. 64: two epochs.
    pub final_after: u64,
    /// Seconds of the chain until a transaction that is sent now is in a block. 15.
    pub inclusion_s: u64,
    /// So long a transaction that is not in a block waits for what it needs and what a reorganisation has taken; then its
    /// number is used up by one that does nothing, so that others go on. 2 min.
    pub patience: Millis,
    /// Subscribes to the pool if it is with none.
    pub subscribes: bool,
    /// Orders under way; a work for another is not taken. 4096.
    pub orders_max: usize,
    /// What had no answer is asked for again after this, if there is no new block before. 3 s.
    pub pause: Millis,
    /// What it does wrong, on purpose.
    #[cfg(debug_assertions)]
    pub faults: Faults,
}

impl Settings {
    /// The usual ones.
    #[must_use]
    pub fn new(chain_id: u64, hub: Address, pool: Address, worker: Address) -> Self {
        Self {
            chain_id,
            hub,
            pool,
            worker,
            lane: lane::Settings {
                in_flight_max: 16,
                fees: FeePolicy {
                    multiplier_percent: 200,
                    tip: Wei(1_000_000_000),
                    cap: Wei(100_000_000_000),
                    bump_percent: 12,
                },
                spend_per_hour_max: None,
                resend_after: Millis::from_secs(30),
                replace_after: Millis::from_secs(30),
                urgent_s: 60,
                poll: Millis::from_secs(5),
            },
            block_age_s_max: 300,
            final_after: 64,
            inclusion_s: 15,
            patience: Millis::from_secs(120),
            subscribes: false,
            orders_max: 4_096,
            pause: Millis::from_secs(3),
            #[cfg(debug_assertions)]
            faults: Faults::default(),
        }
    }

    /// Why a work with this ticket is not for this worker.
    #[must_use]
    pub fn refusal(&self, ticket: &Ticket) -> Option<Refusal> {
        if ticket.chain_id != self.chain_id {
            return Some(Refusal::OtherChain {
                is: ticket.chain_id,
                here: self.chain_id,
            });
        }
        Refusal::of_contracts(ticket, self.hub, self.pool)
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A work with this ticket has succeeded. Answered by [`Effect::Taken`] or [`Effect::Refused`]. Of two results for an order
    /// the first stays.
    Computed {
        /// The ticket.
        ticket: Ticket,
        /// What the work's result is to the contract.
        result: Hash,
    },
    /// A node has this block as its last.
    Head(Block),
    /// Blocks up to this number are final, says the node.
    Finalized(u64),
    /// To [`Effect::See`].
    Seen {
        /// At which block.
        at: BlockRef,
        /// Which order.
        woid: Address,
        /// What the contracts have of it, of contributions this worker's alone.
        views: Box<Answer<Views>>,
    },
    /// To [`Effect::Meet`].
    Met {
        /// At which block.
        at: BlockRef,
        /// What the hub has of this worker.
        person: Answer<Person>,
    },
    /// To [`Effect::AskPolicy`].
    Policy {
        /// At which block.
        at: BlockRef,
        /// What the pool asks of its workers.
        policy: Answer<Policy>,
    },
    /// To [`Effect::AskPaid`].
    Paid {
        /// Which order.
        woid: Address,
        /// The last block that was searched.
        upto: BlockRef,
        /// What this worker got, or lost.
        paid: Answer<Paid>,
    },
    /// To [`Effect::AskPlace`].
    Placed {
        /// Which block.
        block: BlockRef,
        /// Whether the chain still has it.
        is_there: Answer<bool>,
    },
    /// To an effect of the lane.
    Lane(lane::Event),
    /// To [`Effect::Note`]: it is durable.
    Noted(u64),
    /// A deadline has come.
    Tick,
}

/// What an order that was finalized has brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Paid {
    /// The worker's reward, beside its stake, which is free again.
    pub reward: Rlc,
    /// What was taken of its stake.
    pub seized: Rlc,
}

/// What follows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask what the contracts have of an order at this block, of contributions this worker's alone.
    See {
        /// At which block.
        at: BlockRef,
        /// Which order.
        woid: Address,
    },
    /// Ask what the hub has of this worker at this block.
    Meet {
        /// At which block.
        at: BlockRef,
    },
    /// Ask what the pool asks of its workers at this block.
    AskPolicy {
        /// At which block.
        at: BlockRef,
    },
    /// Ask what this worker was paid when the order was finalized.
    AskPaid {
        /// Which order.
        woid: Address,
        /// The first block that may have it.
        from: u64,
        /// The last.
        upto: BlockRef,
    },
    /// Ask whether the chain still has this block.
    AskPlace(BlockRef),
    /// What a lane wants of a chain and a wallet.
    Lane(lane::Effect),
    /// Keep this under this key for a restart; `None`: nothing any more. Then say [`Event::Noted`].
    Note {
        /// Comes back.
        number: u64,
        /// Under which key.
        key: String,
        /// What.
        value: Option<Vec<u8>>,
    },
    /// The result is noted durably: it will be contributed, also after a restart.
    Taken(Ticket),
    /// Nothing is contributed for this ticket.
    Refused {
        /// Which.
        ticket: Ticket,
        /// Why.
        why: Refusal,
    },
    /// An order stands otherwise than before.
    Told {
        /// Which.
        ticket: Ticket,
        /// How.
        state: State,
    },
    /// An order is over for good, so, and is forgotten.
    Over {
        /// Which.
        ticket: Ticket,
        /// How it ended.
        state: State,
    },
    /// How far a transaction is.
    Report {
        /// Which.
        intent: Intent,
        /// How far.
        progress: Progress,
    },
    /// The operator should know.
    Alert(Alert),
}

/// Why nothing is contributed for a ticket.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    OtherChain { is: u64, here: u64 },
    OtherHub { is: Address, here: Address },
    OtherPool { is: Address, here: Address },
    TooMany { orders_max: usize },
}

impl Refusal {
    /// Of a ticket, where the chain is not known yet.
    #[must_use]
    pub fn of_contracts(ticket: &Ticket, hub: Address, pool: Address) -> Option<Self> {
        if ticket.hub != hub {
            let (is, here) = (ticket.hub, hub);
            return Some(Self::OtherHub { is, here });
        }
        let (is, here) = (ticket.pool, pool);
        (is != here).then_some(Self::OtherPool { is, here })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherChain { is, here } => {
                write!(
                    f,
                    "the work is for an order on chain {is}, and this worker's node is of chain {here}"
                )
            }
            Self::OtherHub { is, here } => write!(
                f,
                "the work is for an order of the hub {is}, and this worker's IEXECHUBCONTRACT is {here}"
            ),
            Self::OtherPool { is, here } => write!(
                f,
                "the work is for an order of the pool {is}, and this worker's WORKERPOOLADDRESS is {here}"
            ),
            Self::TooMany { orders_max } => {
                write!(f, "{orders_max} orders are under way, and more are not kept")
            }
        }
    }
}
