//! What the chain has of our nonces.

use wire_hub::{Answer, Hash, Nonce, Receipt};
use wire_protocol::units::Instant;

use super::event::{Account, Alert, Effect, Progress};
use super::slot::{Phase, Slot};
use super::wallet::{Lane, report};

impl Lane {
    /// Asks for the account; what follows is done when it is there.
    pub(super) fn poll(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.poll_at = now + self.settings.poll;
        if let Some(head) = self.head {
            if head.base_fee.is_none() {
                effects.push(Effect::AskGasPrice);
            }
            effects.push(Effect::AskAccount(head.at));
        }
    }

    pub(super) fn on_account(&mut self, now: Instant, account: Account, effects: &mut Vec<Effect>) {
        // A node that lags, or has another chain, says nothing of this one.
        let Some(head) = self.head.filter(|head| head.at == account.at) else {
            return;
        };
        self.account = Some(account);
        self.see_foreign(account.nonce, effects);
        for slot in self.slots.values_mut() {
            if slot.nonce < account.nonce {
                slot.used_since.get_or_insert(head.at.number);
            } else {
                slot.used_since = None;
                if slot.unused_at.is_none() && !slot.is_mined() {
                    // An earlier process may have said otherwise.
                    effects.push(Effect::Unmined(slot.nonce));
                }
                slot.unused_at = Some(head.at.number);
                Self::orphan(slot, effects);
            }
        }
        self.ask_receipts(effects);
        self.work(now, effects);
    }

    /// Whether nonces are used that we have not used.
    fn see_foreign(&mut self, next: Nonce, effects: &mut Vec<Effect>) {
        if self.known_next.is_some_and(|known| known < next) {
            effects.push(Effect::Alert(Alert::Foreign(Nonce(next.0 - 1))));
        }
        let ours = self.slots.last_key_value().map(|(nonce, _)| Nonce(nonce.0 + 1));
        self.known_next = ours.max(Some(next));
    }

    /// Of nonces that are used, and of blocks that have become final.
    fn ask_receipts(&mut self, effects: &mut Vec<Effect>) {
        self.rounds += 1;
        let round = self.rounds;
        for slot in self.slots.values_mut().filter(|slot| slot.used_since.is_some()) {
            let hashes: Vec<Hash> = match slot.phase {
                Phase::Mined { hash, block, .. } if Some(block.number) <= self.final_ => vec![hash],
                Phase::Mined { .. } => continue,
                _ => slot.attempts.iter().map(|attempt| attempt.hash).collect(),
            };
            slot.asked = Some((round, self.final_));
            slot.absent.clear();
            effects.extend(hashes.into_iter().map(|hash| Effect::AskReceipt { round, hash }));
        }
    }

    pub(super) fn on_receipt(
        &mut self,
        now: Instant,
        round: u64,
        hash: Hash,
        answer: Answer<Receipt>,
        effects: &mut Vec<Effect>,
    ) {
        let is_of = |slot: &&Slot| slot.attempts.iter().any(|attempt| attempt.hash == hash);
        let Some(nonce) = self.slots.values().find(is_of).map(|slot| slot.nonce) else {
            return;
        };
        let asked = self.slots[&nonce].asked.filter(|(asked, _)| *asked == round);
        match answer {
            Answer::Known(receipt) => {
                let is_followed = self
                    .head
                    .is_some_and(|head| receipt.block.number <= head.at.number);
                if !is_followed || receipt.transaction != hash {
                    return;
                }
                let number = receipt.block.number;
                self.on_mined(now, nonce, receipt, effects);
                if asked.is_some_and(|(_, final_)| Some(number) <= final_) {
                    self.settle(now, nonce, effects);
                }
            }
            Answer::Absent => {
                if let Some((_, final_)) = asked {
                    self.on_absent(now, nonce, hash, final_, effects);
                }
            }
            Answer::Unknown => {}
        }
    }

    /// The node has no receipt of this attempt.
    fn on_absent(
        &mut self,
        now: Instant,
        nonce: Nonce,
        hash: Hash,
        final_: Option<u64>,
        effects: &mut Vec<Effect>,
    ) {
        let slot = self.slots.get_mut(&nonce).expect("seen above");
        if matches!(slot.phase, Phase::Mined { hash: mined, .. } if mined == hash) {
            return Self::orphan(slot, effects);
        }
        slot.absent.insert(hash);
        let is_nowhere = slot
            .attempts
            .iter()
            .all(|attempt| slot.absent.contains(&attempt.hash));
        let is_used_for_good = slot.used_since.is_some_and(|since| Some(since) <= final_);
        if is_nowhere && is_used_for_good && !slot.is_mined() {
            self.on_displaced(now, nonce, effects);
        }
    }

    /// Somebody else has used the nonce, for good: whatever is still wanted gets another.
    fn on_displaced(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let slot = self.slots.remove(&nonce).expect("seen above");
        effects.push(Effect::Unmined(nonce));
        self.forget(nonce, effects);
        effects.push(Effect::Alert(Alert::Foreign(nonce)));
        let Some(intent) = slot.intent else { return };
        match slot.withdrawn {
            Some(why) if !slot.is_wanted_again => {
                effects.push(report(intent, Progress::Withdrawn(why)));
            }
            _ => {
                effects.push(report(intent.clone(), Progress::Displaced));
                self.enqueue(intent);
                self.begin(now, effects);
            }
        }
    }

    /// Forgets which nonces were used or free in blocks beyond this number.
    pub(super) fn look_again(&mut self, beyond: u64) {
        for slot in self.slots.values_mut() {
            slot.used_since.take_if(|since| *since > beyond);
            slot.unused_at = slot.unused_at.map(|number| number.min(beyond));
        }
    }

    pub(super) fn on_orphaned(&mut self, beyond: u64, effects: &mut Vec<Effect>) {
        self.look_again(beyond);
        for slot in self.slots.values_mut() {
            match slot.phase {
                Phase::Mined { block, .. } if block.number > beyond => Self::orphan(slot, effects),
                Phase::Mined { .. } => {}
                _ => slot.is_doubtful = true,
            }
        }
    }
}
