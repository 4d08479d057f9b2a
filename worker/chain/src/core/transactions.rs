//! Between what orders ask for and the lane: what is wanted, what not any more, and whether it would take effect.

use wire_hub::{Answer, Call, Gas, Hash, Hasher, Rlc};
use wire_lane::{self as lane, Intent, IntentId, Progress, Withdrawal};
use wire_protocol::units::Instant;

use super::contributor::Contributor;
use super::event::Effect;
use super::judge::Verdict;
use super::notes;

/// Gas that a call may take: what was measured on the contracts (179 000, 77 000) and a third more. A failed assertion burns
/// nearly all of a limit, so it is no round number.
const fn gas_limit(call: &Call) -> Gas {
    match call {
        Call::Contribute { .. } => Gas(240_000),
        _ => Gas(105_000),
    }
}

const fn kind(call: &Call) -> &'static str {
    match call {
        Call::Contribute { .. } => "contribute",
        Call::Reveal { .. } => "reveal",
        _ => "other",
    }
}

impl Contributor {
    pub(super) fn tell(&mut self, now: Instant, event: lane::Event, effects: &mut Vec<Effect>) {
        let mut said = Vec::new();
        self.lane.handle(now, event, &mut said);
        for effect in said {
            match effect {
                lane::Effect::Check(intent) => self.checks.push(intent),
                lane::Effect::Note { note, nonce, kept } => {
                    let number = self.note(
                        notes::nonce_key(&self.settings, nonce),
                        kept.as_ref().map(notes::nonce),
                        effects,
                    );
                    self.noting_nonces.insert(number, note);
                }
                lane::Effect::Report { intent, progress } => {
                    self.on_report(&intent, &progress, effects);
                    effects.push(Effect::Report { intent, progress });
                }
                lane::Effect::Alert(alert) => effects.push(Effect::Alert(alert)),
                // A worker keeps no books.
                lane::Effect::Mined { .. } | lane::Effect::Unmined(_) => {}
                other => effects.push(Effect::Lane(other)),
            }
        }
    }

    /// A call that was mined in vain, or that no node takes, is another one the next time.
    fn on_report(&mut self, intent: &Intent, progress: &Progress, effects: &mut Vec<Effect>) {
        self.due.extend(intent.about);
        let has_failed = match progress {
            Progress::Mined(receipt) => !receipt.succeeded,
            Progress::Withdrawn(Withdrawal::Refused(_)) => true,
            _ => false,
        };
        if !has_failed {
            return;
        }
        let Some(about) = intent.about else {
            self.member.failures += 1;
            return;
        };
        if let Some(order) = self.orders.get_mut(&about) {
            order.kept.failures += 1;
            let (key, value) = (notes::order_key(&about), notes::order(&order.kept));
            self.note(key, Some(value), effects);
        }
    }

    /// Wants what a block asks for, once.
    pub(super) fn intend(&mut self, now: Instant, key: Hash, verdict: &Verdict, effects: &mut Vec<Effect>) {
        let Some((call, deadline)) = &verdict.wants else {
            return;
        };
        let id = self.id_of(key, call);
        let is_same = |intent: &Intent| intent.about == Some(key) && kind(&intent.call) == kind(call);
        let is_under_way = self.lane.under_way().chain(self.lane.queued()).any(is_same);
        if self.lane.has(id) || is_under_way {
            return;
        }
        let intent = Intent {
            id,
            call: call.clone(),
            gas_limit: gas_limit(call),
            deadline: Some(*deadline),
            about: Some(key),
        };
        self.tell(now, lane::Event::Intend(intent), effects);
    }

    /// The same call of the same order, after as many failures, has the same name.
    fn id_of(&self, key: Hash, call: &Call) -> IntentId {
        let failures = self.orders.get(&key).map_or(0, |order| order.kept.failures);
        let named = Hasher::default().text(kind(call)).bytes(&key.0);
        IntentId(named.number(u64::from(failures)).finish())
    }

    /// What waits for a nonce and is not asked for any more.
    pub(super) fn withdraw(&mut self, now: Instant, key: Hash, verdict: &Verdict, effects: &mut Vec<Effect>) {
        let is_wanted = |intent: &&Intent| {
            let mut wanted = verdict.wants.iter();
            wanted.any(|(call, _)| kind(call) == kind(&intent.call))
        };
        let of_order = self
            .lane
            .queued()
            .iter()
            .filter(|intent| intent.about == Some(key));
        let unwanted: Vec<IntentId> = of_order
            .filter(|intent| !is_wanted(intent))
            .map(|intent| intent.id)
            .collect();
        for id in unwanted {
            self.tell(now, lane::Event::Withdraw(id), effects);
        }
    }

    /// Stake that contributions of other orders will lock, of which no block knows yet.
    pub(super) fn reserved(&self, but_for: Hash) -> Rlc {
        let unmined = self.lane.under_way().chain(self.lane.queued());
        let others = unmined.filter(|intent| matches!(intent.call, Call::Contribute { .. }));
        let others = others
            .filter_map(|intent| intent.about)
            .filter(|key| *key != but_for);
        let stake = |key: Hash| {
            let (_, views) = self.orders.get(&key)?.seen.as_ref()?;
            Some(views.known()?.consensus.stake_amount)
        };
        others.filter_map(stake).fold(Rlc(0), Rlc::plus)
    }

    /// Answers the lane's questions whether calls would take effect, as far as the last block is read.
    pub(super) fn check(&mut self, now: Instant, is_fresh: bool, effects: &mut Vec<Effect>) {
        for intent in std::mem::take(&mut self.checks) {
            let holds = if is_fresh {
                self.holds(now, &intent)
            } else {
                // What an old block says is no reason to send, and none to give up.
                Some(Answer::Unknown)
            };
            let Some(holds) = holds else {
                self.checks.push(intent);
                continue;
            };
            let intent = intent.id;
            self.tell(now, lane::Event::Checked { intent, holds }, effects);
        }
    }

    /// `None`: it is not read yet.
    fn holds(&mut self, now: Instant, intent: &Intent) -> Option<Answer<bool>> {
        let Some(key) = intent.about else {
            return Some(self.may_subscribe());
        };
        if !self.orders.contains_key(&key) {
            return Some(Answer::Known(false));
        }
        let is_superseded =
            intent.id != self.id_of(key, &intent.call) && self.lane.has(self.id_of(key, &intent.call));
        let verdict = match self.verdict(key) {
            Some(verdict) => verdict,
            None if self.is_unanswered(key) => return Some(Answer::Unknown),
            None => return None,
        };
        let patience = self.settings.patience;
        let order = self.orders.get_mut(&key)?;
        let wants_it = verdict
            .wants
            .as_ref()
            .is_some_and(|(call, _)| kind(call) == kind(&intent.call));
        if is_superseded || verdict.is_pointless(&intent.call) {
            return Some(Answer::Known(false));
        }
        if wants_it {
            order.held_since = None;
            return Some(Answer::Known(true));
        }
        let since = *order.held_since.get_or_insert(now);
        Some(match now.since(since) >= patience {
            true => Answer::Known(false),
            false => Answer::Unknown,
        })
    }
}
