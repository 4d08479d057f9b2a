//! The lane itself: who wants what, and where events go.

use std::collections::BTreeMap;

use wire_hub::{Answer, Block, Hash, Nonce, Receipt, Wei};
use wire_protocol::units::Instant;

use super::event::{
    Account, Alert, Effect, Event, Intent, IntentId, Kept, Progress, Sending, Settings, Withdrawal,
};
use super::fees::Fees;
use super::slot::{Attempt, Phase, Purpose, Slot, Step};
use super::spending::Spending;

/// The transactions of one wallet. See the module's documentation.
#[derive(Clone, Debug)]
pub struct Lane {
    pub(super) settings: Settings,
    /// What has no nonce yet, the next deadline first.
    pub(super) queue: Vec<Intent>,
    pub(super) slots: BTreeMap<Nonce, Slot>,
    pub(super) head: Option<Block>,
    /// What the chain had of the wallet at the last head that it was asked of.
    pub(super) account: Option<Account>,
    pub(super) final_: Option<u64>,
    pub(super) gas_price: Option<Wei>,
    /// The nonce after all that are known to be used or are ours.
    pub(super) known_next: Option<Nonce>,
    pub(super) spending: Spending,
    pub(super) notes: u64,
    pub(super) rounds: u64,
    pub(super) poll_at: Instant,
    /// Why something waits, and what was last said of it to the operator.
    pub(super) hold: Option<Alert>,
    pub(super) said: Option<Alert>,
    /// A node said that there are no funds.
    pub(super) lacks_funds: bool,
}

impl Lane {
    /// A lane that remembers nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            queue: Vec::new(),
            slots: BTreeMap::new(),
            head: None,
            account: None,
            final_: None,
            gas_price: None,
            known_next: None,
            spending: Spending::default(),
            notes: 0,
            rounds: 0,
            poll_at: Instant(0),
            hold: None,
            said: None,
            lacks_funds: false,
        }
    }

    /// Takes up what an earlier process has noted, the last of each nonce.
    #[must_use]
    pub fn restore(settings: Settings, kept: impl IntoIterator<Item = Kept>, now: Instant) -> Self {
        let mut lane = Self::new(settings);
        for kept in kept {
            lane.slots.insert(kept.nonce, Slot::restore(kept, now));
        }
        lane
    }

    /// When to say [`Event::Tick`]. `None`: there is nothing to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        (!self.is_idle()).then_some(self.poll_at)
    }

    /// Nothing is wanted and nothing waits to become final.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.slots.is_empty()
    }

    /// Whether it has an intent of this name that is not final.
    #[must_use]
    pub fn has(&self, id: IntentId) -> bool {
        self.intents().any(|intent| intent.id == id)
    }

    /// All that is wanted and not final, also what waits for a nonce.
    pub fn intents(&self) -> impl Iterator<Item = &Intent> {
        let of_slots = self.slots.values().filter_map(|slot| slot.intent.as_ref());
        self.queue.iter().chain(of_slots)
    }

    /// What waits for a nonce. It is signed as it is when there is room, so what no plan asks for any more is to be
    /// withdrawn.
    #[must_use]
    pub fn queued(&self) -> &[Intent] {
        &self.queue
    }

    /// What has a nonce and no receipt: a plan need not ask for it again. What is queued it does ask for again, or it is
    /// withdrawn.
    pub fn under_way(&self) -> impl Iterator<Item = &Intent> {
        let unmined = self.slots.values().filter(|slot| !slot.is_mined());
        unmined.filter_map(|slot| slot.intent.as_ref())
    }

    /// Transactions that are signed and have no receipt.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.slots.values().filter(|slot| !slot.is_mined()).count()
    }

    /// Up to which block all is known that is mined of ours ([`Effect::Mined`]): what a later one has may still be unknown, or
    /// said by a node that was wrong.
    #[must_use]
    pub fn told_upto(&self) -> u64 {
        let free = self.slots.values().map(|slot| slot.unused_at.unwrap_or(0));
        free.min().unwrap_or(u64::MAX)
    }

    /// What there is of a nonce, as it is kept for a restart.
    #[must_use]
    pub fn kept(&self, nonce: Nonce) -> Option<Kept> {
        self.slots.get(&nonce).map(Slot::kept)
    }

    /// What the wallet had for gas when it was last asked.
    #[must_use]
    pub fn balance(&self) -> Option<Wei> {
        self.account.map(|account| account.balance)
    }

    /// Takes an event. What comes twice, late, or of a nonce that it no longer has changes nothing.
    pub fn handle(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Intend(intent) => self.on_intend(now, intent, effects),
            Event::Withdraw(id) => self.on_withdraw(now, id, effects),
            Event::Head(block) => {
                self.head = Some(block);
                self.poll(now, effects);
            }
            Event::Orphaned { beyond } => self.on_orphaned(beyond, effects),
            Event::Again { beyond } => self.look_again(beyond),
            Event::Final(number) => self.final_ = self.final_.max(Some(number)),
            Event::GasPrice(price) => self.gas_price = Some(price),
            Event::Account(account) => self.on_account(now, account, effects),
            Event::Signed { nonce, hash, raw } => self.on_signed(nonce, hash, raw, effects),
            Event::Noted(note) => self.on_noted(now, note, effects),
            Event::Sent { hash, sending } => self.on_sent(&hash, sending),
            Event::Receipt { round, hash, answer } => self.on_receipt(now, round, hash, answer, effects),
            Event::Checked { intent, holds } => self.on_checked(now, intent, &holds, effects),
            Event::Unstick { nonce, as_nothing } => self.on_unstick(now, nonce, as_nothing, effects),
            Event::Tick => {
                if self.poll_at <= now {
                    self.poll(now, effects);
                }
            }
        }
    }

    fn on_intend(&mut self, now: Instant, intent: Intent, effects: &mut Vec<Effect>) {
        if let Some(slot) = self.slots.values_mut().find(|slot| slot.id() == Some(intent.id)) {
            slot.is_wanted_again = slot.withdrawn.is_some();
            return;
        }
        self.enqueue(intent);
        self.begin(now, effects);
    }

    pub(super) fn enqueue(&mut self, intent: Intent) {
        self.queue.retain(|queued| queued.id != intent.id);
        self.queue.push(intent);
        self.queue
            .sort_by_key(|intent| intent.deadline.map_or(u64::MAX, |deadline| deadline.0));
    }

    fn on_withdraw(&mut self, now: Instant, id: IntentId, effects: &mut Vec<Effect>) {
        if let Some(index) = self.queue.iter().position(|intent| intent.id == id) {
            let intent = self.queue.remove(index);
            effects.push(report(intent, Progress::Withdrawn(Withdrawal::Unwanted)));
        }
        let slot = self.slots.values_mut().find(|slot| slot.id() == Some(id));
        let Some(slot) = slot.filter(|slot| !slot.is_mined()) else {
            return;
        };
        slot.is_wanted_again = false;
        slot.withdrawn.get_or_insert(Withdrawal::Unwanted);
        let nonce = slot.nonce;
        self.tend(now, nonce, effects);
    }

    fn on_signed(&mut self, nonce: Nonce, hash: Hash, raw: Vec<u8>, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.get_mut(&nonce) else {
            return;
        };
        let Phase::Signing { purpose, fees } = slot.phase else {
            return;
        };
        let note = self.notes + 1;
        if slot.step(Step::Signed { note }) {
            self.notes = note;
            slot.attempts.push(Attempt {
                hash,
                raw,
                fees,
                purpose,
            });
            slot.noting.push((note, slot.attempts.len()));
            let kept = Some(slot.kept());
            effects.push(Effect::Note { note, nonce, kept });
        }
    }

    fn on_noted(&mut self, now: Instant, note: u64, effects: &mut Vec<Effect>) {
        let is_of = |slot: &&mut Slot| slot.noting.iter().any(|(noting, _)| *noting == note);
        let Some(slot) = self.slots.values_mut().find(is_of) else {
            return;
        };
        slot.on_noted(note);
        let nonce = slot.nonce;
        if slot.step(Step::Noted { note }) {
            self.send(now, nonce, effects);
        }
    }

    /// Sends what was last signed for what the nonce is to be used for; signs it first if there is none.
    pub(super) fn send(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let slot = self
            .slots
            .get_mut(&nonce)
            .expect("asked for by those who have seen it");
        let Some(attempt) = slot.current() else {
            return self.replace(now, nonce, effects);
        };
        let (hash, raw) = (attempt.hash, attempt.raw.clone());
        let intent = slot.intent.clone().filter(|_| attempt.purpose == Purpose::Intent);
        slot.sent_at = now;
        slot.is_doubtful = false;
        effects.push(Effect::Send { nonce, hash, raw });
        effects.extend(intent.map(|intent| report(intent, Progress::Sent(hash))));
    }

    fn on_sent(&mut self, hash: &Hash, sending: Sending) {
        let is_of = |slot: &&mut Slot| slot.attempts.iter().any(|attempt| attempt.hash == *hash);
        let Some(slot) = self.slots.values_mut().find(is_of) else {
            return;
        };
        let is_current = slot.current().is_some_and(|attempt| attempt.hash == *hash);
        match sending {
            Sending::Taken => self.lacks_funds = false,
            Sending::NoFunds => self.lacks_funds = true,
            Sending::TooCheap => slot.is_too_cheap |= is_current,
            Sending::Refused(why) if is_current && slot.purpose() == Purpose::Intent && !slot.is_mined() => {
                slot.withdrawn = Some(Withdrawal::Refused(why));
            }
            Sending::Refused(_) | Sending::NonceUsed | Sending::Unknown => {}
        }
    }

    fn on_checked(&mut self, now: Instant, id: IntentId, holds: &Answer<bool>, effects: &mut Vec<Effect>) {
        let Some(slot) = self.slots.values_mut().find(|slot| slot.id() == Some(id)) else {
            return;
        };
        if !slot.step(Step::Answered) {
            return;
        }
        let nonce = slot.nonce;
        match holds {
            Answer::Known(true) => self.send(now, nonce, effects),
            Answer::Known(false) | Answer::Absent => {
                slot.withdrawn.get_or_insert(Withdrawal::Pointless);
                self.replace(now, nonce, effects);
            }
            Answer::Unknown => slot.is_doubtful = true,
        }
    }

    /// A transaction that was mined is not any more, as far as anybody knows.
    pub(super) fn orphan(slot: &mut Slot, effects: &mut Vec<Effect>) {
        let Phase::Mined { hash, .. } = slot.phase else {
            return;
        };
        slot.step(Step::Orphaned);
        slot.is_doubtful = true;
        effects.push(Effect::Unmined(slot.nonce));
        if slot.is_for_intent(&hash) {
            effects.extend(
                slot.intent
                    .clone()
                    .map(|intent| report(intent, Progress::Orphaned)),
            );
        }
    }

    /// It is decided what the nonce was used for.
    pub(super) fn settle(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let slot = self
            .slots
            .remove(&nonce)
            .expect("asked for by those who have seen it");
        let Phase::Mined { hash, succeeded, .. } = slot.phase else {
            panic!("only what is mined becomes final: {slot:?}")
        };
        let is_intent = slot.is_for_intent(&hash);
        self.forget(nonce, effects);
        let Some(intent) = slot.intent else { return };
        if is_intent {
            effects.push(report(intent, Progress::Final { succeeded }));
        } else if slot.is_wanted_again {
            self.on_intend(now, intent, effects);
        } else {
            let why = slot.withdrawn.expect("a no-op is mined of what was given up");
            effects.push(report(intent, Progress::Withdrawn(why)));
        }
    }

    /// Nothing has to be kept of a nonce any more.
    pub(super) fn forget(&mut self, nonce: Nonce, effects: &mut Vec<Effect>) {
        self.notes += 1;
        effects.push(Effect::Note {
            note: self.notes,
            nonce,
            kept: None,
        });
    }

    pub(super) fn on_mined(
        &mut self,
        now: Instant,
        nonce: Nonce,
        receipt: Receipt,
        effects: &mut Vec<Effect>,
    ) {
        let slot = self
            .slots
            .get_mut(&nonce)
            .expect("asked for by those who have seen it");
        let before = slot.phase;
        slot.step(Step::Mined {
            hash: receipt.transaction,
            block: receipt.block,
            succeeded: receipt.succeeded,
        });
        if slot.phase == before {
            return;
        }
        let cost = receipt.gas_price.0.saturating_mul(u128::from(receipt.gas_used.0));
        let is_for_intent = slot.is_for_intent(&receipt.transaction);
        let intent = slot.intent.clone().filter(|_| is_for_intent);
        self.spending.count(now, nonce, Wei(cost));
        effects.push(Effect::Mined {
            nonce,
            receipt: receipt.clone(),
        });
        effects.extend(intent.map(|intent| report(intent, Progress::Mined(receipt))));
    }

    /// What blocks ask for gas now.
    pub(super) fn quote(&self) -> Option<Fees> {
        let base_fee = self.head.and_then(|head| head.base_fee);
        self.settings.fees.quote(base_fee, self.gas_price)
    }
}

impl Slot {
    fn is_for_intent(&self, hash: &Hash) -> bool {
        let mut attempts = self.attempts.iter();
        attempts.any(|attempt| attempt.hash == *hash && attempt.purpose == Purpose::Intent)
    }
}

pub(super) fn report(intent: Intent, progress: Progress) -> Effect {
    Effect::Report { intent, progress }
}
