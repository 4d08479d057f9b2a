//! The books: what moves money is read of later blocks, and becomes sums as blocks become final.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::row::{MinedRow, Place, PoolRow, Row, Stranded, TransactionRow, TransactionState, WorkerRow};
use wire_hub::{Address, Answer, Block, BlockRef, ContributionStatus, Hash, Nonce, Receipt, Timestamp};
use wire_protocol::units::Instant;

use super::brain::Reconciler;
use super::event::Effect;
use super::notes;
use super::reading::Reading;
use super::rows;
use crate::core::order::{Identity, State, state_of};
use crate::core::plan::Order;
use wire_lane::{Kept, Payload};

/// Receipts that the books need.
#[derive(Clone, Debug, Default)]
pub(super) struct Receipts {
    /// What was asked for; `None`: not answered yet.
    asked: BTreeMap<(BlockRef, Hash), Option<Answer<Receipt>>>,
}

impl Receipts {
    fn want(&mut self, wanted: &BTreeSet<(BlockRef, Hash)>, effects: &mut Vec<Effect>) {
        self.asked.retain(|wanting, _| wanted.contains(wanting));
        for (at, hash) in wanted {
            self.asked.entry((*at, *hash)).or_insert_with(|| {
                effects.push(Effect::SeeReceipt { at: *at, hash: *hash });
                None
            });
        }
    }

    pub(super) fn ask_again(&mut self, effects: &mut Vec<Effect>) {
        for ((at, hash), answer) in &mut self.asked {
            if matches!(answer, Some(Answer::Unknown | Answer::Absent)) {
                *answer = None;
                effects.push(Effect::SeeReceipt { at: *at, hash: *hash });
            }
        }
    }

    /// A receipt of another block is of another fork: it is asked for again, if nothing takes the block back.
    pub(super) fn seen(&mut self, at: BlockRef, hash: Hash, answer: Answer<Receipt>) {
        if let Some(asked) = self.asked.get_mut(&(at, hash)) {
            *asked = Some(match answer {
                Answer::Known(receipt) if receipt.block != at => Answer::Unknown,
                answer => answer,
            });
        }
    }

    fn has_unknown(&self) -> bool {
        let is_unknown = |answer: &Option<Answer<Receipt>>| !matches!(answer, None | Some(Answer::Known(_)));
        self.asked.values().any(is_unknown)
    }

    fn known(&self) -> BTreeMap<(BlockRef, Hash), Receipt> {
        let known = self.asked.iter();
        let known = known.filter_map(|(of, answer)| Some((*of, answer.as_ref()?.known()?.clone())));
        known.collect()
    }
}

impl Reconciler {
    /// The time of the last block that was followed.
    pub(super) fn last_time(&self) -> Timestamp {
        self.follower.tip().map_or(Timestamp(0), |tip| tip.timestamp)
    }

    /// The time of a block that was followed. Of those far behind the head, which are read many at once, it is reckoned from
    /// the blocks around them.
    pub(super) fn time_of(&self, number: u64) -> Timestamp {
        let after = self.times.range(number..).next();
        let before = self.times.range(..=number).next_back();
        match (before, after) {
            (Some((low, from)), Some((high, to))) if high > low => {
                let (blocks, seconds) = (high - low, to.0.saturating_sub(from.0));
                let part = u128::from(seconds) * u128::from(number - low) / u128::from(blocks);
                Timestamp(from.0 + part as u64)
            }
            (Some((_, time)), _) | (None, Some((_, time))) => *time,
            (None, None) => self.last_time(),
        }
    }

    /// What was read of orders goes into the books.
    pub(super) fn price(&mut self, reading: &Reading, effects: &mut Vec<Effect>) {
        self.receipts.want(&self.ledger.unseen(), effects);
        let unpriced = self.ledger.unpriced();
        if unpriced.is_empty() {
            return;
        }
        let receipts = self.receipts.known();
        let entries = self.book.iter().map(|(identity, _)| *identity);
        let current: Vec<Identity> = entries
            .filter(|identity| unpriced.contains_key(&identity.woid) && self.book.is_current(identity))
            .collect();
        for identity in current {
            if let Answer::Known(views) = reading.views(identity.woid)
                && views.order.fingerprint() == identity.fingerprint
            {
                let (read_at, owner) = (reading.at().number, self.settings.owner);
                self.ledger
                    .price(identity.key(), &views, read_at, &receipts, owner);
            }
        }
    }

    /// Whether something of the books is to be asked for again.
    pub(super) fn has_unknown_receipts(&self) -> bool {
        self.receipts.has_unknown()
    }

    /// What a transaction is for that is being signed.
    pub(super) fn on_sign(&mut self, nonce: Nonce, payload: &Payload) {
        let intent = self.lane.kept(nonce).and_then(|kept| kept.intent);
        let at = self.last_time();
        self.rows.change_transaction(nonce, at, |row| {
            // A chain that has forgotten uses its nonces again.
            if row.is_final {
                *row = TransactionRow::new(nonce, None, None);
            }
            if let (Payload::Call { call, .. }, Some(intent)) = (payload, intent) {
                row.call = Some(call.clone());
                row.about = intent.about;
            }
        });
    }

    pub(super) fn on_kept(&mut self, nonce: Nonce, kept: Option<&Kept>) {
        let at = self.last_time();
        self.rows.change_transaction(nonce, at, |row| match kept {
            Some(kept) => rows::keep(row, kept),
            None => {
                row.is_final = true;
                if row.mined.is_none() {
                    row.state = TransactionState::Displaced;
                }
            }
        });
    }

    pub(super) fn on_send(&mut self, nonce: Nonce) {
        let at = self.last_time();
        self.rows.change_transaction(nonce, at, |row| {
            if row.state == TransactionState::Signing {
                row.state = TransactionState::Sent;
            }
        });
    }

    pub(super) fn on_mined(&mut self, nonce: Nonce, receipt: &Receipt) {
        let mined = MinedRow {
            hash: receipt.transaction,
            block: receipt.block,
            at: self.time_of(receipt.block.number),
            gas: receipt.gas_used,
            price: receipt.gas_price,
        };
        let at = self.last_time();
        self.rows
            .change_transaction(nonce, at, |row| rows::mine(row, mined, receipt.succeeded));
        let about = self.rows.transaction(nonce).and_then(|row| row.about);
        self.ledger.burn(nonce, &mined, self.settings.owner, about);
    }

    pub(super) fn on_unmined(&mut self, nonce: Nonce) {
        let at = self.last_time();
        self.rows.change_transaction(nonce, at, |row| {
            if row.mined.take().is_some() {
                row.state = TransactionState::Sent;
                row.why = None;
            }
        });
        self.ledger.unburn(nonce);
    }

    /// Rows of orders that were read.
    pub(super) fn show(&mut self, orders: &[Order]) {
        let at = self.last_time();
        for order in orders {
            let is_current = self.book.is_current(&order.identity);
            let settings = &self.settings.plan;
            let (consensus, patience_s) = (settings.consensus, settings.patience_s);
            let observed = &order.observed;
            let state = state_of(&order.identity, observed, &order.intended, consensus, patience_s);
            self.rows.order(order.identity, at, |row| {
                row.see(&observed.views);
                row.is_over = false;
                if state != State::Unread {
                    row.state = state;
                    row.workers = workers(order);
                    row.stranded = stranded(order, state);
                }
                row.bought = is_current.then_some(observed.bought);
                row.ended = observed.ended;
                row.result.clone_from(&observed.result);
            });
        }
    }

    /// Blocks have become final, and money is known: sums, and all that is to be noted.
    pub(super) fn keep_books(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if let Some((number, _)) = self.final_ {
            self.ledger.settle(number, self.lane.told_upto());
        }
        let at = self.last_time();
        let changed = self.ledger.take_changed();
        let mut notes: Vec<(String, Option<Vec<u8>>)> = Vec::new();
        let of_row = |row: &Row| {
            let (key, value) = row.note();
            (key, Some(value))
        };
        for account in changed.accounts {
            let money = self.ledger.money(account);
            notes.extend(self.rows.money(account, money, at).as_ref().map(of_row));
        }
        for (block, number) in changed.parts {
            let part = self.ledger.part(block, number);
            notes.push((notes::part_key(block, number), part.as_ref().map(notes::part)));
        }
        let ledger = &self.ledger;
        self.rows.let_go(|nonce| ledger.has_open_gas(nonce));
        let (changed, gone) = self.rows.take_changed();
        notes.extend(changed.iter().map(of_row));
        notes.extend(gone.into_iter().map(|key| (key, None)));
        let pool = self.pool_row();
        let must = std::mem::take(&mut self.must_write_pool);
        if self.rows.is_pool_due(&pool, now, must) {
            notes.push(of_row(&self.rows.write_pool(pool, now)));
        }
        effects.extend(notes.into_iter().map(|(key, value)| Effect::Note {
            number: 0,
            key,
            value,
        }));
    }

    pub(super) fn pool_row(&self) -> PoolRow {
        let settings = &self.settings;
        let number = |block: Option<&Block>| block.map_or(0, |block| block.at.number);
        PoolRow {
            place: Place {
                chain_id: settings.chain_id,
                hub: settings.hub,
                pool: settings.pool,
                owner: settings.owner,
            },
            head: number(self.head.as_ref()),
            followed: number(self.follower.tip()),
            followed_at: self.last_time(),
            final_: self.final_.map_or(0, |(number, _)| number),
            since: self.ledger.since(),
            balance: self.balance,
            coins: self.lane.balance(),
            handled: self.handled,
            alerts: self.alerts.values().cloned().collect(),
        }
    }
}

/// Who has, or had, a part in an order.
fn workers(order: &Order) -> Vec<WorkerRow> {
    let Some(views) = order.observed.views.known() else {
        return Vec::new();
    };
    let allowed = views.contributions.iter().map(|(worker, _)| *worker);
    let all: BTreeSet<Address> = allowed.chain(order.intended.asked.keys().copied()).collect();
    let row = |wallet| {
        let asked = order.intended.asked.get(&wallet);
        WorkerRow {
            wallet,
            status: views.status(wallet),
            asked: asked.map(|asked| asked.at),
            outcome: asked.and_then(|asked| asked.outcome),
        }
    };
    let rows = all.into_iter().map(row);
    rows.filter(|row| row.asked.is_some() || row.status != ContributionStatus::Unset)
        .collect()
}

/// What only the requester can set free.
fn stranded(order: &Order, state: State) -> Option<Stranded> {
    let views = order.observed.views.known()?;
    matches!(state, State::Expired | State::Stranded)
        .then(|| Stranded::of(&views.consensus, &views.contributions, views.order.emitcost))
}
