//! Why a transaction was mined in vain: the contracts give no reasons, so what they have at its block and at the one before
//! is read, and what stood in its way is worked out.

use std::collections::{BTreeMap, BTreeSet};

use wire_hub::{Address, Block, Call, Nonce, Receipt, Scene, explain};

use super::brain::Reconciler;
use super::event::Effect;
use super::planning::named;
use super::reading::Reading;

/// Said where the views of its block cannot be had any more.
const TOO_LATE: &str = "nobody knows: its block is too old to be read";

/// A failure that is looked into.
#[derive(Clone, Debug)]
pub(super) struct Explaining {
    call: Call,
    pub(super) after: Reading,
    pub(super) before: Reading,
}

impl Reconciler {
    /// A call was mined in vain.
    pub(super) fn on_failed(&mut self, nonce: Nonce, receipt: &Receipt, effects: &mut Vec<Effect>) {
        let Some(call) = self.rows.transaction(nonce).and_then(|row| row.call.clone()) else {
            return;
        };
        let block = |number: u64| self.follower.block(number).copied();
        let after = block(receipt.block.number).filter(|block| block.at == receipt.block);
        let before = receipt.block.number.checked_sub(1).and_then(block);
        let (Some(after), Some(before)) = (after, before) else {
            return self.explained(nonce, &call, TOO_LATE, effects);
        };
        let (after, before) = (
            self.look(&call, after, effects),
            self.look(&call, before, effects),
        );
        let explaining = Explaining { call, after, before };
        self.explaining.insert(nonce, explaining);
    }

    fn look(&self, call: &Call, block: Block, effects: &mut Vec<Effect>) -> Reading {
        let mut reading = Reading::of(block);
        let people: BTreeSet<Address> = named(call).into_iter().chain([self.settings.owner]).collect();
        let mut orders = BTreeMap::new();
        if let Some(woid) = call.woid() {
            let entries = self.book.iter().filter(|(identity, _)| identity.woid == woid);
            let asked = entries.flat_map(|(_, entry)| entry.intended.asked.keys().copied());
            orders.insert(woid, asked.chain(named(call)).collect());
        }
        reading.want(orders, people, effects);
        reading
    }

    /// What was read may be enough for some.
    pub(super) fn explain(&mut self, effects: &mut Vec<Effect>) {
        let is_read =
            |explaining: &Explaining| explaining.after.is_complete() && explaining.before.is_complete();
        let read = self
            .explaining
            .iter()
            .filter(|(_, explaining)| is_read(explaining));
        let read: Vec<Nonce> = read.map(|(nonce, _)| *nonce).collect();
        for nonce in read {
            let Explaining { call, after, before } = self.explaining.remove(&nonce).expect("just seen");
            let owner = self.settings.owner;
            let seen = [&after, &before].map(|reading| {
                let views = call.woid().map(|woid| reading.views(woid));
                (views.unwrap_or_default(), reading.people())
            });
            let [of_after, of_before] = seen.each_ref().map(|(views, people)| Scene {
                sender: owner,
                pool: self.settings.pool,
                pool_owner: owner,
                views,
                people,
                at: after.block.timestamp,
            });
            let why = explain(&call, &of_after, &of_before);
            self.explained(nonce, &call, &why, effects);
        }
    }

    fn explained(&mut self, nonce: Nonce, call: &Call, why: &str, effects: &mut Vec<Effect>) {
        let at = self.last_time();
        let is_mined = self
            .rows
            .transaction(nonce)
            .is_some_and(|row| row.mined.is_some());
        if !is_mined {
            return;
        }
        self.rows
            .change_transaction(nonce, at, |row| row.why = Some(why.to_owned()));
        let about = self.rows.transaction(nonce).and_then(|row| row.about);
        if let Some(order) = about.and_then(|key| self.book.by_key(key)) {
            let text = format!("{} was mined in vain: {why}", call.name());
            self.rows.order(order, at, |row| row.say(at, &text));
        }
        effects.push(Effect::Explained {
            nonce,
            call: call.clone(),
            why: why.to_owned(),
        });
    }
}
