//! Which nonce is used for what, at which price, and when it is time to do something about it.

use wire_hub::{Gas, Nonce, Wei};
use wire_protocol::units::Instant;

use super::event::{Alert, Effect, Progress, Withdrawal};
use super::fees::Fees;
use super::slot::{Phase, Purpose, Slot, Step};
use super::wallet::{Lane, report};

/// What a transaction takes that does nothing.
pub(super) const NOTHING_GAS: Gas = Gas(21_000);

/// Attempts at one nonce. Each is 10 % dearer than the one before, so a cap below four times the first price is reached
/// before; and what is kept of a nonce stays small.
pub(super) const ATTEMPTS_MAX: usize = 16;

impl Lane {
    /// Does what time and the chain ask for: of every nonce, of gaps, and of what waits for a nonce.
    pub(super) fn work(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        self.hold = None;
        let nonces: Vec<Nonce> = self.slots.keys().copied().collect();
        for nonce in nonces {
            self.tend(now, nonce, effects);
        }
        self.begin(now, effects);
        self.fill_gaps(now, effects);
        if let (true, Some(account)) = (self.lacks_funds, self.account) {
            self.hold.get_or_insert(Alert::NoFunds(account.balance));
        }
        if self.hold != self.said {
            self.said.clone_from(&self.hold);
            effects.push(Effect::Alert(self.hold.clone().unwrap_or(Alert::Over)));
        }
    }

    /// What is to be done about a nonce now.
    pub(super) fn tend(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let (Some(head), Some(account)) = (self.head, self.account) else {
            return;
        };
        let settings = self.settings;
        let quote = self.quote().map(|quote| quote.price_max());
        let slot = self
            .slots
            .get_mut(&nonce)
            .expect("asked for by those who have seen it");
        if account.nonce > nonce {
            return; // It is used; its receipts are asked for.
        }
        let is_next = account.nonce == nonce;
        let since = |instant: Instant| now.since(instant);
        match slot.phase {
            Phase::Pending | Phase::Checking { .. } if slot.is_pressed => self.replace(now, nonce, effects),
            Phase::Checking { since: asked } if since(asked) >= settings.resend_after => {
                slot.phase = Phase::Checking { since: now };
                effects.extend(slot.intent.clone().map(Effect::Check));
            }
            Phase::Pending => {
                if slot.deadline().is_some_and(|deadline| deadline < head.timestamp) {
                    slot.withdrawn.get_or_insert(Withdrawal::Late);
                }
                let is_urgent = slot.is_urgent(head.timestamp.0 + settings.urgent_s);
                let Some(current) = slot.current() else {
                    return self.replace(now, nonce, effects);
                };
                let price = current.fees.price_max();
                let is_cheap = slot.is_too_cheap || (is_next && (quote > Some(price) || is_urgent));
                if slot.is_doubtful || (is_next && since(slot.sent_at) >= settings.resend_after) {
                    self.doubt(now, nonce, effects);
                } else if is_cheap && since(slot.signed_at) >= settings.replace_after {
                    self.replace(now, nonce, effects);
                }
            }
            _ => {}
        }
    }

    /// The operator wants these mined, or gone.
    pub(super) fn on_unstick(
        &mut self,
        now: Instant,
        only: Option<Nonce>,
        as_nothing: bool,
        effects: &mut Vec<Effect>,
    ) {
        let is_meant = |slot: &&mut Slot| only.is_none_or(|nonce| nonce == slot.nonce) && !slot.is_mined();
        let mut meant = Vec::new();
        for slot in self.slots.values_mut().filter(is_meant) {
            slot.is_pressed = true;
            meant.push(slot.nonce);
            if as_nothing && slot.purpose() == Purpose::Intent {
                slot.withdrawn = Some(Withdrawal::Unwanted);
                slot.is_wanted_again = false;
                // Else another process would send what was given up. What was never signed it does not know of.
                if !slot.attempts.is_empty() {
                    self.notes += 1;
                    let (note, nonce, kept) = (self.notes, slot.nonce, Some(slot.kept()));
                    effects.push(Effect::Note { note, nonce, kept });
                }
            }
        }
        for nonce in meant {
            self.tend(now, nonce, effects);
        }
    }

    /// It may be in no node's pool: the same bytes again, if they are still right.
    fn doubt(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let slot = self
            .slots
            .get_mut(&nonce)
            .expect("asked for by those who have seen it");
        match slot.purpose() {
            Purpose::Nothing => self.send(now, nonce, effects),
            Purpose::Intent => {
                slot.step(Step::Doubted { at: now });
                effects.extend(slot.intent.clone().map(Effect::Check));
            }
        }
    }

    /// Signs again: dearer, or for something else.
    pub(super) fn replace(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let Some(quote) = self.quote() else { return };
        let cap = self.settings.fees.cap;
        let timestamp = self.head.map_or(0, |head| head.timestamp.0);
        let slot = &self.slots[&nonce];
        let purpose = slot.purpose();
        let wanted = if slot.is_pressed || slot.is_urgent(timestamp + self.settings.urgent_s) {
            at_the_cap(quote, cap)
        } else {
            quote
        };
        let fees = match slot.dearest() {
            Some(_) if self.burned(quote) > cap => None,
            Some(old) if slot.attempts.len() < ATTEMPTS_MAX => self.settings.fees.bumped(old, wanted),
            Some(_) => None,
            None => Some(wanted),
        };
        // A no-op that cannot outbid what it replaces is still taken by nodes that have lost that; without it the nonce
        // would stay unused, and all behind it.
        let is_first_no_op = purpose == Purpose::Nothing && slot.current().is_none();
        let fees = fees.or((is_first_no_op && self.burned(quote) <= cap).then(|| at_the_cap(quote, cap)));
        let Some(fees) = fees else {
            self.slots.get_mut(&nonce).expect("seen above").is_pressed = false;
            self.hold.get_or_insert(Alert::TooDear { nonce, cap });
            return self.fall_back(now, nonce, effects);
        };
        let gas = match (purpose, &slot.intent) {
            (Purpose::Intent, Some(intent)) => intent.gas_limit,
            _ => NOTHING_GAS,
        };
        if !self.may_spend(now, nonce, fees, gas) {
            return;
        }
        let slot = self.slots.get_mut(&nonce).expect("seen above");
        if slot.step(Step::Replaced { purpose, fees }) {
            slot.signed_at = now;
            slot.is_too_cheap = false;
            slot.is_pressed = false;
            let payload = slot.payload(purpose);
            effects.push(Effect::Sign { nonce, payload, fees });
        }
    }

    /// Nothing dearer can be signed: what there is is sent again, where that is right.
    fn fall_back(&mut self, now: Instant, nonce: Nonce, effects: &mut Vec<Effect>) {
        let slot = &self.slots[&nonce];
        let is_due = now.since(slot.sent_at) >= self.settings.resend_after;
        if is_due && slot.current().is_some() {
            self.doubt(now, nonce, effects);
        }
    }

    /// Gives nonces to what waits for one.
    pub(super) fn begin(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        // An account of an older block may be short of what the head has mined, or beyond it.
        let Some(head) = self
            .head
            .filter(|head| self.account.is_some_and(|account| account.at == head.at))
        else {
            return;
        };
        while let Some(next) = self.queue.first() {
            let gas_limit = next.gas_limit;
            if next.deadline.is_some_and(|deadline| deadline < head.timestamp) {
                let late = self.queue.remove(0);
                effects.push(report(late, Progress::Withdrawn(Withdrawal::Late)));
                continue;
            }
            if self.in_flight() >= self.settings.in_flight_max {
                return;
            }
            let nonce = self.free_nonce();
            let Some(fees) = self.price(nonce) else { return };
            if !self.may_spend(now, nonce, fees, gas_limit) {
                return;
            }
            let intent = self.queue.remove(0);
            self.open(
                Slot::new(nonce, Some(intent), Purpose::Intent, fees, now),
                fees,
                effects,
            );
        }
    }

    /// Nonces before one of ours that nothing uses: without them ours is never mined.
    fn fill_gaps(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let last = self.slots.values().rev().find(|slot| !slot.is_mined());
        let (Some(last), Some(_)) = (last.map(|slot| slot.nonce), self.account) else {
            return;
        };
        while self.free_nonce() < last {
            let nonce = self.free_nonce();
            let Some(fees) = self.price(nonce) else { return };
            self.open(Slot::new(nonce, None, Purpose::Nothing, fees, now), fees, effects);
        }
    }

    fn open(&mut self, mut slot: Slot, fees: Fees, effects: &mut Vec<Effect>) {
        slot.unused_at = self.account.map(|account| account.at.number);
        let (nonce, payload) = (slot.nonce, slot.payload(slot.purpose()));
        self.slots.insert(nonce, slot);
        self.known_next = self.known_next.max(Some(Nonce(nonce.0 + 1)));
        effects.push(Effect::Sign { nonce, payload, fees });
    }

    /// The lowest nonce that neither the chain nor we have used.
    fn free_nonce(&self) -> Nonce {
        let account = self.account.expect("asked for by those who have it");
        let mut free = account.nonce;
        while self.slots.contains_key(&free) {
            free.0 += 1;
        }
        free
    }

    /// What to offer for a new nonce now.
    fn price(&mut self, nonce: Nonce) -> Option<Fees> {
        let quote = self.quote()?;
        let cap = self.settings.fees.cap;
        let burned = self
            .head
            .and_then(|head| head.base_fee)
            .unwrap_or(quote.price_max());
        let fees = self.settings.fees.under_cap(quote, burned);
        if fees.is_none() {
            self.hold.get_or_insert(Alert::TooDear { nonce, cap });
        }
        fees
    }

    /// Less than this no block takes: what it burns, or what the node asks for. At the cap or above, a dearer attempt would
    /// only be harder to replace later.
    fn burned(&self, quote: Fees) -> Wei {
        let base_fee = self.head.and_then(|head| head.base_fee);
        base_fee.unwrap_or(quote.price_max())
    }

    /// Counts what a signature may cost, if that is in bounds.
    fn may_spend(&mut self, now: Instant, nonce: Nonce, fees: Fees, gas: Gas) -> bool {
        let cost = Wei(fees.price_max().0.saturating_mul(u128::from(gas.0)));
        let sum = self.spending.with(now, nonce, cost);
        if let Some(per_hour_max) = self.settings.spend_per_hour_max.filter(|bound| sum > *bound) {
            self.hold.get_or_insert(Alert::Spent { per_hour_max });
            return false;
        }
        self.spending.count(now, nonce, cost);
        true
    }
}

impl Slot {
    /// Whether it is too late by `soon`, in seconds of the chain.
    fn is_urgent(&self, soon: u64) -> bool {
        self.purpose() == Purpose::Intent && self.deadline().is_some_and(|deadline| deadline.0 <= soon)
    }
}

fn at_the_cap(quote: Fees, cap: Wei) -> Fees {
    match quote {
        Fees::Legacy { .. } => Fees::Legacy { gas_price: cap },
        Fees::Dynamic { tip, .. } => Fees::Dynamic { max_fee: cap, tip },
    }
}
