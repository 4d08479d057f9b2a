//! Between plans and the lane: what is wanted and what not any more, and whether it would take effect.

use std::collections::BTreeSet;

use wire_hub::{Answer, Call, Hasher, Scene, Timestamp, holds};
use wire_protocol::units::Instant;

use super::brain::{Reconciler, TRANSACTIONS};
use super::event::Effect;
use super::notes;
use super::offers::is_about_offers;
use super::reading::Reading;
use crate::core::order::Identity;
use crate::core::plan::{Step, gas_limit};
use wire_lane as lane;
use wire_lane::{Intent, IntentId, Progress};

impl Reconciler {
    pub(super) fn tell(&mut self, now: Instant, event: lane::Event, effects: &mut Vec<Effect>) {
        let mut said = Vec::new();
        self.lane.handle(now, event, &mut said);
        for effect in said {
            self.keep_row(&effect, effects);
            effects.push(match effect {
                lane::Effect::AskAccount(at) => Effect::AskAccount(at),
                lane::Effect::AskGasPrice => Effect::AskGasPrice,
                lane::Effect::AskReceipt { round, hash } => Effect::AskReceipt { round, hash },
                lane::Effect::Check(intent) => {
                    self.checks.push(intent);
                    self.is_due = true;
                    continue;
                }
                lane::Effect::Sign { nonce, payload, fees } => Effect::Sign { nonce, payload, fees },
                lane::Effect::Note { note, nonce, kept } => Effect::Note {
                    number: note,
                    key: notes::nonce_key(nonce),
                    value: kept.as_ref().map(notes::nonce),
                },
                lane::Effect::Send { nonce, hash, raw } => Effect::Send { nonce, hash, raw },
                lane::Effect::Report { intent, progress } => {
                    self.is_due = true;
                    self.on_report(&intent, &progress);
                    Effect::Report { intent, progress }
                }
                lane::Effect::Alert(alert) => Effect::Alert(alert),
                lane::Effect::Mined { .. } | lane::Effect::Unmined(_) => continue,
            });
        }
    }

    /// What the lane does is in the rows of transactions, and their gas in the books.
    fn keep_row(&mut self, effect: &lane::Effect, effects: &mut Vec<Effect>) {
        match effect {
            lane::Effect::Sign { nonce, payload, .. } => self.on_sign(*nonce, payload),
            lane::Effect::Note { nonce, kept, .. } => self.on_kept(*nonce, kept.as_ref()),
            lane::Effect::Send { nonce, .. } => self.on_send(*nonce),
            lane::Effect::Mined { nonce, receipt } => {
                self.on_mined(*nonce, receipt);
                if !receipt.succeeded {
                    self.on_failed(*nonce, receipt, effects);
                }
            }
            lane::Effect::Unmined(nonce) => {
                self.explaining.remove(nonce);
                self.on_unmined(*nonce);
            }
            lane::Effect::Alert(lane::Alert::Over) => drop(self.alerts.remove(TRANSACTIONS)),
            lane::Effect::Alert(alert) => drop(self.alerts.insert(TRANSACTIONS, alert.to_string())),
            _ => {}
        }
    }

    /// A call that was mined in vain is another one the next time. What a requester's contract does not take is counted: it
    /// may refuse for ever.
    fn on_report(&mut self, intent: &Intent, progress: &Progress) {
        let Progress::Mined(receipt) = progress else {
            return;
        };
        if is_about_offers(&intent.call) {
            self.touch_offers(receipt.block.number);
        }
        let order = intent.about.and_then(|key| self.book.by_key(key));
        if let Some(order) = order {
            self.touch(order.woid, receipt.block.number);
        }
        if let (false, Some(order)) = (receipt.succeeded, order)
            && let Some(intended) = self.intended(&order)
        {
            match intent.call {
                Call::WorkOrderCallback { .. } => intended.refusals += 1,
                _ => intended.rounds += 1,
            }
        }
    }

    /// Answers the lane's questions whether calls would take effect.
    pub(super) fn check(&mut self, now: Instant, reading: &Reading, effects: &mut Vec<Effect>) {
        let at = self.follower.tip().unwrap_or(&reading.block).timestamp;
        let people = reading.people();
        for intent in std::mem::take(&mut self.checks) {
            let of_order = |key| {
                self.book
                    .by_key(key)
                    .is_some_and(|order| self.book.is_current(&order))
            };
            let answer = if intent.about.is_none_or(of_order) {
                let views = intent
                    .call
                    .woid()
                    .map_or(Answer::Absent, |woid| reading.views(woid));
                let scene = Scene {
                    sender: self.settings.owner,
                    pool: self.settings.pool,
                    pool_owner: self.settings.owner,
                    views: &views,
                    people: &people,
                    at: Timestamp(at.0.saturating_add(self.settings.plan.inclusion_s)),
                };
                holds(&intent.call, &scene)
            } else {
                Answer::Known(false)
            };
            let checked = lane::Event::Checked {
                intent: intent.id,
                holds: answer,
            };
            self.tell(now, checked, effects);
        }
    }

    /// The operator wants something sent that is about no order. Wanted again while it is under way, it is the same.
    pub(super) fn on_wish(&mut self, now: Instant, call: Call, effects: &mut Vec<Effect>) {
        let id = IntentId(Hasher::default().text("wish").text(&format!("{call:?}")).finish());
        self.wishes.insert(id);
        let gas_limit = gas_limit(&call);
        let intent = Intent {
            id,
            call,
            gas_limit,
            deadline: None,
            about: None,
        };
        if !self.lane.has(id) {
            self.tell(now, lane::Event::Intend(intent), effects);
        }
    }

    /// What waits for a nonce and is not wanted any more.
    pub(super) fn withdraw(
        &mut self,
        now: Instant,
        steps: &[Step],
        offered: &[IntentId],
        stale: &BTreeSet<Identity>,
        effects: &mut Vec<Effect>,
    ) {
        let of_orders = steps.iter().filter_map(Step::intent).map(|intent| intent.id);
        let mut wanted: BTreeSet<IntentId> = of_orders.chain(offered.iter().copied()).collect();
        wanted.extend(&self.wishes);
        let of_stale = |intent: &&Intent| {
            let order = intent.about.and_then(|key| self.book.by_key(key));
            order.is_some_and(|order| stale.contains(&order))
        };
        wanted.extend(self.lane.queued().iter().filter(of_stale).map(|intent| intent.id));
        let queued: Vec<IntentId> = self.lane.queued().iter().map(|intent| intent.id).collect();
        for id in queued.into_iter().filter(|id| !wanted.contains(id)) {
            self.tell(now, lane::Event::Withdraw(id), effects);
        }
    }
}
