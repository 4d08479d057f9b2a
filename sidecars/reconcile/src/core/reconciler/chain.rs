//! What the chain says: blocks and events, taken back where they are orphaned, and the content of orders.

use wire_hub::{Address, Answer, Block, BlockRef, Event as Said, Log, WorkOrder};
use wire_protocol::units::Instant;

use super::brain::{CHAIN, Reconciler, Unread};
use super::event::Effect;
use crate::core::observe;
use crate::core::observe::Finality;
use crate::core::order::Identity;
use wire_lane as lane;

impl Reconciler {
    pub(super) fn follow(&mut self, now: Instant, event: observe::Event, effects: &mut Vec<Effect>) {
        let mut followed = Vec::new();
        self.follower.handle(now, event, &mut followed);
        for effect in followed {
            match effect {
                observe::Effect::Ask { ask, question } => effects.push(Effect::Ask { ask, question }),
                observe::Effect::Append { upto, logs } => self.on_append(now, upto, logs, effects),
                observe::Effect::Undo(block) => self.on_undo(now, block, effects),
                observe::Effect::Safe(_) => {}
                observe::Effect::Final(number) => self.on_final(now, number, effects),
                observe::Effect::TooDeep(too_deep) => {
                    self.alerts.insert(CHAIN, too_deep.to_string());
                    effects.push(Effect::TooDeep(too_deep));
                }
            }
        }
    }

    fn on_append(&mut self, now: Instant, upto: Block, logs: Vec<Log>, effects: &mut Vec<Effect>) {
        effects.push(Effect::Followed {
            upto,
            logs: logs.clone(),
        });
        self.is_followed = true;
        self.times.insert(upto.at.number, upto.timestamp);
        for log in logs {
            let at = log.place.block;
            match log.event.woid() {
                Some(woid) if matches!(log.event, Said::WorkOrderActive { .. }) => {
                    self.ledger.on_log(&log, self.time_of(at.number));
                    effects.push(Effect::SeeBought { woid, at });
                    let unread = Unread {
                        at,
                        asked: at,
                        logs: Vec::new(),
                        ask_again_at: None,
                    };
                    self.unread.insert(woid, unread);
                }
                Some(woid) => {
                    // Of an order that was bought before the books begin nobody would ever read what it needs.
                    let is_known = |identity: &Identity| identity.woid == woid;
                    if self.unread.contains_key(&woid) || self.book.iter().any(|(known, _)| is_known(known)) {
                        self.ledger.on_log(&log, self.time_of(at.number));
                    }
                    match self.unread.get_mut(&woid) {
                        Some(unread) => unread.logs.push(log),
                        None => self.on_log(&log),
                    }
                }
                None => {}
            }
        }
        // Of an older block it would take nonces for free that are used since.
        if self.head.is_none_or(|head| head.at.number <= upto.at.number) {
            self.tell(now, lane::Event::Head(upto), effects);
        }
    }

    /// What was read of an order before this block is not what it is any more.
    pub(super) fn touch(&mut self, woid: Address, number: u64) {
        let last = self.touched.entry(woid).or_default();
        *last = number.max(*last);
    }

    fn on_log(&mut self, log: &Log) {
        self.book.on_log(log);
        let woid = log.event.woid();
        if let Some(woid) = woid {
            self.touch(woid, log.place.block.number);
        }
        let of_order = self.book.iter().map(|(identity, _)| *identity);
        self.changed
            .extend(of_order.filter(|identity| Some(identity.woid) == woid));
    }

    fn on_undo(&mut self, now: Instant, block: BlockRef, effects: &mut Vec<Effect>) {
        effects.push(Effect::Undone(block));
        self.is_followed = true;
        // What was read there never was.
        self.reading
            .take_if(|reading| reading.at().number >= block.number);
        self.times.remove(&block.number);
        self.ledger.undo(block);
        self.explaining
            .retain(|_, explaining| explaining.after.at() != block);
        self.unread.retain(|_, unread| unread.at != block);
        for unread in self.unread.values_mut() {
            unread.logs.retain(|log| log.place.block != block);
        }
        self.changed.extend(self.book.on_undone(block));
        let beyond = block.number.saturating_sub(1);
        self.tell(now, lane::Event::Orphaned { beyond }, effects);
    }

    fn on_final(&mut self, now: Instant, number: u64, effects: &mut Vec<Effect>) {
        effects.push(Effect::Final(number));
        if let Some((number, time)) = self.times.range(..=number).next_back() {
            self.final_ = Some((*number, *time));
            self.times = self.times.split_off(&number.clone());
        }
        self.tell(now, lane::Event::Final(number), effects);
    }

    /// Asks again what orders are. Nodes let go of the state of old blocks; what was bought in a final one does not change
    /// any more, and is read of the last.
    pub(super) fn read_bought(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let tip = self.follower.tip().map(|tip| tip.at);
        for (woid, unread) in &mut self.unread {
            if unread.ask_again_at.is_some_and(|at| at <= now) {
                unread.ask_again_at = None;
                let finality = self.follower.finality(unread.at.number);
                if let (Some(Finality::Final), Some(tip)) = (finality, tip) {
                    unread.asked = tip;
                }
                let (woid, at) = (*woid, unread.asked);
                effects.push(Effect::SeeBought { woid, at });
            }
        }
    }

    /// What an order is that was bought.
    pub(super) fn on_content(&mut self, now: Instant, woid: Address, at: BlockRef, order: Answer<WorkOrder>) {
        let asked = self.unread.get_mut(&woid);
        let Some(unread) = asked.filter(|unread| unread.asked == at) else {
            return;
        };
        let Answer::Known(order) = order else {
            // Also where the node does not know the block: if that was orphaned, the follower takes the order back.
            unread.ask_again_at = Some(now + self.settings.pause);
            return;
        };
        let unread = self.unread.remove(&woid).expect("just seen");
        self.book
            .on_bought(self.settings.chain_id, self.settings.hub, unread.at, &order);
        self.is_due = true;
        for log in &unread.logs {
            self.on_log(log);
        }
        let of_order = self.book.iter().map(|(identity, _)| *identity);
        self.changed
            .extend(of_order.filter(|identity| identity.woid == woid));
    }
}
