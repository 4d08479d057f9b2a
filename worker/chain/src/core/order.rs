//! An order that this worker has a result for, and where it stands.

use std::fmt;

use serde::{Deserialize, Serialize};
use wire_hub::{Answer, BlockRef, Hash, Hasher, Rlc, Ticket, Views};
use wire_protocol::units::Instant;

use super::event::Paid;

/// What of an order outlives the process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) ticket: Ticket,
    /// What is contributed, and revealed.
    pub(super) result: Hash,
    /// The last block that was known when the result was there; 0: none.
    pub(super) from: u64,
    /// Transactions that were mined in vain.
    pub(super) failures: u32,
}

/// An order.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) kept: Kept,
    /// It is durable: something may be done.
    pub(super) is_noted: bool,
    /// What the contracts have of it, at which block.
    pub(super) seen: Option<(BlockRef, Answer<Views>)>,
    pub(super) state: State,
    /// It was told that it stands so.
    pub(super) is_told: bool,
    /// The block since which it was always over.
    pub(super) over_since: Option<BlockRef>,
    /// The last block at which it was seen not to be completed.
    pub(super) open_at: u64,
    /// A node had it once.
    pub(super) was_there: bool,
    /// What it has brought; how often, and at which block last, that was asked.
    pub(super) paid: Option<Paid>,
    pub(super) paid_asked: u32,
    pub(super) paid_asked_at: Option<BlockRef>,
    /// Since when a transaction that nodes may have lost is held back for what it needs.
    pub(super) held_since: Option<Instant>,
    /// The time of the first block at which it was seen to be allowed.
    #[cfg(debug_assertions)]
    pub(super) allowed_at: Option<wire_hub::Timestamp>,
}

impl Order {
    pub(super) fn of(kept: Kept) -> Self {
        Self {
            open_at: kept.from,
            kept,
            is_noted: false,
            seen: None,
            state: State::Unread,
            is_told: true,
            over_since: None,
            was_there: false,
            paid: None,
            paid_asked: 0,
            paid_asked_at: None,
            held_since: None,
            #[cfg(debug_assertions)]
            allowed_at: None,
        }
    }

    /// What it has brought, if anything, is another matter from now on.
    pub(super) fn forget_paid(&mut self) {
        (self.paid, self.paid_asked, self.paid_asked_at) = (None, 0, None);
    }

    /// What the contracts have of it at this block, if that is known.
    pub(super) fn views_at(&self, at: BlockRef) -> Option<&Answer<Views>> {
        let (seen_at, views) = self.seen.as_ref()?;
        (*seen_at == at).then_some(views)
    }
}

/// A name for what a ticket is for: the same order has the same.
pub(super) fn key(ticket: &Ticket) -> Hash {
    Hasher::default()
        .text("order")
        .number(ticket.chain_id)
        .bytes(&ticket.hub.0)
        .bytes(&ticket.pool.0)
        .bytes(&ticket.woid.0)
        .bytes(&ticket.fingerprint.0)
        .finish()
}

/// Where an order stands for this worker.
///
/// ```text
///   Unread ─► Unallowed ─► Contributing ─► Contributed ─► Revealing ─► Revealed ─► Won
///                 │           │    ▲            │             │
///                 │        StakeLow┘            ├─► Outvoted ─┴► Unrevealed ───► Lost
///                 │           │                 └─► Rejected (reopened) ───────► Lost
///                 └───────────┴─► Late (decided without it; it may be reopened)
///   any of them ─► Missing, Replaced (reorganised)   Expired   Claimed
/// ```
///
/// A reorganisation leads anywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum State {
    Unread,
    Unallowed,
    StakeLow { free: Rlc, needs: Rlc },
    Contributing,
    Contributed,
    Revealing,
    Revealed,
    Late,
    NoTime,
    Outvoted { stake: Rlc },
    Unrevealed { stake: Rlc },
    Foreign { stake: Rlc },
    Rejected { stake: Rlc },
    InVain { times: u32 },
    Missing { was_there: bool },
    Replaced,
    Won { reward: Option<Rlc> },
    Lost { seized: Rlc },
    Expired { locked: Option<Rlc> },
    Claimed { freed: Option<Rlc> },
}

impl State {
    /// A word for programs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unread => "unread",
            Self::Unallowed => "unallowed",
            Self::StakeLow { .. } => "stake-low",
            Self::Contributing => "contributing",
            Self::Contributed => "contributed",
            Self::Revealing => "revealing",
            Self::Revealed => "revealed",
            Self::Late => "late",
            Self::NoTime => "no-time",
            Self::Outvoted { .. } => "outvoted",
            Self::Unrevealed { .. } => "unrevealed",
            Self::Foreign { .. } => "foreign",
            Self::Rejected { .. } => "rejected",
            Self::InVain { .. } => "in-vain",
            Self::Missing { .. } => "missing",
            Self::Replaced => "replaced",
            Self::Won { .. } => "won",
            Self::Lost { .. } => "lost",
            Self::Expired { .. } => "expired",
            Self::Claimed { .. } => "claimed",
        }
    }

    /// It costs the worker money, or may.
    #[must_use]
    pub const fn is_bad(&self) -> bool {
        matches!(
            self,
            Self::StakeLow { .. }
                | Self::Outvoted { .. }
                | Self::Unrevealed { .. }
                | Self::Foreign { .. }
                | Self::Rejected { .. }
                | Self::InVain { .. }
                | Self::Lost { .. }
                | Self::Expired { locked: Some(_) }
        )
    }
}

/// What is missing of a stake, and what to do about it.
pub(super) fn stake_low(f: &mut fmt::Formatter<'_>, free: Rlc, needs: Rlc) -> fmt::Result {
    let missing = needs.less(free);
    write!(
        f,
        "stake too low: {free} free and {} needed; deposit {} more at the hub",
        needs.0, missing.0
    )
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => f.write_str("the node has not said anything of it yet"),
            Self::Unallowed => f.write_str("waits for the pool to allow this worker to contribute"),
            Self::StakeLow { free, needs } => stake_low(f, *free, *needs),
            Self::Contributing => f.write_str("contributes its result"),
            Self::Contributed => f.write_str("contributed; waits for the pool to decide"),
            Self::Revealing => f.write_str("its result is the one that the pool believes: reveals it"),
            Self::Revealed => f.write_str("revealed; waits for the pool to finalize the order"),
            Self::Late => f.write_str(
                "too late: the pool decided with others before this contribution was in a block; it costs nothing",
            ),
            Self::NoTime => {
                f.write_str("too late: the order's time is over before a contribution would be in a block; it costs nothing")
            }
            Self::Outvoted { stake } => write!(
                f,
                "lost: the pool believes another result; {stake} of stake will be seized when the order is finalized"
            ),
            Self::Unrevealed { stake } => write!(
                f,
                "not revealed in time; {stake} of stake will be seized if others end the order"
            ),
            Self::Foreign { stake } => write!(
                f,
                "another result than this worker's was contributed with its wallet; it cannot be revealed here, and {stake} \
                 of stake are at risk: give each worker a wallet of its own"
            ),
            Self::Rejected { stake } => write!(
                f,
                "not revealed in time, and the pool lets others try; {stake} of stake are locked until the order ends"
            ),
            Self::InVain { times } => write!(
                f,
                "given up: {times} transactions were mined in vain, and nothing that the contracts show explains it"
            ),
            Self::Missing { was_there: false } => f.write_str("the node knows no such order yet"),
            Self::Missing { was_there: true } => {
                f.write_str("the chain was reorganised, and there is no such order any more; it costs nothing")
            }
            Self::Replaced => {
                f.write_str("the chain was reorganised, and another order has its address; it costs nothing")
            }
            Self::Won { reward: None } => f.write_str("won: the order is finalized and paid"),
            Self::Won { reward: Some(reward) } => write!(f, "won: +{reward}"),
            Self::Lost { seized } => write!(f, "lost: stake {seized} seized"),
            Self::Expired { locked: None } => f.write_str("expired: the pool did not end it in time; it costs nothing"),
            Self::Expired { locked: Some(locked) } => write!(
                f,
                "expired: the pool did not end it in time; {locked} of stake stay locked until the requester claims its money \
                 back"
            ),
            Self::Claimed { freed: None } => {
                f.write_str("failed: the pool did not end it in time and the requester took its money back; it costs nothing")
            }
            Self::Claimed { freed: Some(freed) } => write!(
                f,
                "failed: the pool did not end it in time and the requester took its money back; {freed} of stake are free again"
            ),
        }
    }
}
