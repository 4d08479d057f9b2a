//! The row of an order.

use serde::{Deserialize, Serialize};

use super::{MoneyRow, OrderState, Outcome, Stranded, Texts, cut};
use crate::{Address, Answer, ContributionStatus, Identity, Rlc, Timestamp, Trust, Views};

/// Bytes of its parameters, and of each text of its result, that a row has.
const TEXT_BYTES_MAX: usize = 1_024;
/// Reasons that a row has: the last ones.
const REASONS_MAX: usize = 16;
const REASON_BYTES_MAX: usize = 512;
/// Workers that a row has; a quorum has at most 60.
const WORKERS_MAX: usize = 256;

/// An order.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OrderRow {
    /// Which.
    pub identity: Identity,
    /// What was bought. `None`: no node has said yet.
    pub content: Option<Content>,
    /// Where it is.
    pub state: OrderState,
    /// It is over, and nothing of it changes any more.
    pub is_over: bool,
    /// The number of the block that bought it, and of the one that finalized or claimed it. `None`: none has, or that one
    /// is orphaned.
    pub bought: Option<u64>,
    /// See `bought`.
    pub ended: Option<u64>,
    /// Until when winners reveal; 0 before that time begins.
    pub reveal_date: Timestamp,
    /// Until when everything has to happen; 0: not known yet.
    pub consensus_timeout: Timestamp,
    /// Who has, or had, a part in it.
    pub workers: Vec<WorkerRow>,
    /// What was done for it, and why: the last ones, the newest last.
    pub reasons: Vec<Reason>,
    /// What a finalized order gave its requester.
    pub result: Option<Texts>,
    /// Its money.
    pub money: MoneyRow,
    /// What stays locked until its requester claims, where it can only do that.
    pub stranded: Option<Stranded>,
    /// The time of the last block when it last changed.
    pub at: Timestamp,
}

/// What a requester has bought. Nothing of it changes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Content {
    /// Who paid.
    pub requester: Address,
    /// The app to run.
    pub app: Address,
    /// A dataset, or [`crate::NOBODY`].
    pub dataset: Address,
    /// Whose the result is.
    pub beneficiary: Address,
    /// Whom to tell, or [`crate::NOBODY`].
    pub callback: Address,
    /// The offer that it was bought of.
    pub market_order: u64,
    /// The offer's category.
    pub category: u64,
    /// The category's period, in seconds.
    pub period_s: u64,
    /// How sure the requester wants to be.
    pub trust: Trust,
    /// What workers and pool share.
    pub value: Rlc,
    /// What each worker stakes.
    pub stake: Rlc,
    /// What was paid for app and dataset beside it.
    pub emitcost: Rlc,
    /// Parameters, their first KiB.
    pub params: String,
    /// When it was bought.
    pub at: Timestamp,
}

/// A worker's part in an order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its wallet.
    pub wallet: Address,
    /// What the contract has of it.
    pub status: ContributionStatus,
    /// When it was chosen; `None`: the pool has not asked it.
    pub asked: Option<Timestamp>,
    /// What came of its work.
    pub outcome: Option<Outcome>,
}

/// Something that was done, or waited for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reason {
    /// The time of the last block then.
    pub at: Timestamp,
    /// What, and why, for people.
    pub text: String,
}

impl Content {
    /// Of what the contracts have.
    #[must_use]
    pub fn of(views: &Views) -> Self {
        let Views {
            order,
            market,
            category,
            consensus,
            ..
        } = views;
        Self {
            requester: order.requester,
            app: order.app,
            dataset: order.dataset,
            beneficiary: order.beneficiary,
            callback: order.callback,
            market_order: order.market_order,
            category: category.id,
            period_s: category.period_s,
            trust: market.trust,
            value: consensus.pool_reward,
            stake: consensus.stake_amount,
            emitcost: order.emitcost,
            params: cut(&order.params, TEXT_BYTES_MAX),
            at: views.after(0),
        }
    }
}

impl OrderRow {
    /// An order of which nothing is known yet.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            content: None,
            state: OrderState::Unread,
            is_over: false,
            bought: None,
            ended: None,
            reveal_date: Timestamp(0),
            consensus_timeout: Timestamp(0),
            workers: Vec::new(),
            reasons: Vec::new(),
            result: None,
            money: MoneyRow::default(),
            stranded: None,
            at: Timestamp(0),
        }
    }

    /// What the contracts have of it. What nobody knows stays as it was.
    pub fn see(&mut self, views: &Answer<Views>) {
        let Some(views) = views.known() else { return };
        if views.order.fingerprint() != self.identity.fingerprint {
            return;
        }
        self.content.get_or_insert_with(|| Content::of(views));
        self.reveal_date = views.consensus.reveal_date;
        self.consensus_timeout = views.consensus.consensus_timeout;
    }

    /// Notes why something is done; of the oldest reasons it lets go.
    pub fn say(&mut self, at: Timestamp, text: &str) {
        let text = cut(text, REASON_BYTES_MAX);
        self.reasons.push(Reason { at, text });
        let surplus = self.reasons.len().saturating_sub(REASONS_MAX);
        self.reasons.drain(..surplus);
    }

    pub(super) fn bounded(&self) -> Self {
        let mut row = self.clone();
        if let Some(content) = &mut row.content {
            content.params = cut(&content.params, TEXT_BYTES_MAX);
        }
        if let Some(Texts { stdout, stderr, uri }) = &mut row.result {
            for text in [stdout, stderr, uri] {
                *text = cut(text, TEXT_BYTES_MAX);
            }
        }
        if let Some(stranded) = &mut row.stranded {
            stranded.workers.truncate(WORKERS_MAX);
        }
        for reason in &mut row.reasons {
            reason.text = cut(&reason.text, REASON_BYTES_MAX);
        }
        let surplus = row.reasons.len().saturating_sub(REASONS_MAX);
        row.reasons.drain(..surplus);
        row.workers.truncate(WORKERS_MAX);
        row
    }
}
