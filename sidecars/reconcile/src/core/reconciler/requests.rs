//! What an operator asks for while it runs: see [`wire_hub::request`].

use wire_hub::request::{Asked, Request};
use wire_protocol::units::Instant;

use super::brain::Reconciler;
use super::event::Effect;
use crate::core::observe;
use wire_lane as lane;

impl Reconciler {
    /// A request was read. One that was done is passed over.
    pub(super) fn on_requested(
        &mut self,
        now: Instant,
        number: u64,
        asked: &Asked,
        effects: &mut Vec<Effect>,
    ) {
        if number <= self.handled {
            return;
        }
        self.handled = number;
        let is_for_us = asked.place == self.pool_row().place;
        effects.push(Effect::Requested {
            number,
            request: asked.request,
            is_for_us,
        });
        if !is_for_us {
            return;
        }
        match asked.request {
            Request::Unstick { nonce, as_nothing } => {
                self.tell(now, lane::Event::Unstick { nonce, as_nothing }, effects);
            }
            Request::Replay { from } => self.replay(now, from, effects),
        }
    }

    /// Follows the chain again, and makes the books anew. Nothing is planned or sent until the last block is reached, so what
    /// is under way goes on as it is.
    pub(super) fn replay(&mut self, now: Instant, from: u64, effects: &mut Vec<Effect>) {
        let from = self.ledger.begin_again(from);
        let beyond = from.saturating_sub(1);
        self.tell(now, lane::Event::Again { beyond }, effects);
        self.book.undo_from(from);
        self.unread.clear();
        self.touched.clear();
        self.times.clear();
        self.final_ = None;
        self.reading = None;
        self.alerts.remove(super::brain::CHAIN);
        self.is_followed = true;
        // Where the follower is and that this was done are noted at once: neither without the other.
        self.must_write_pool = true;
        let mut followed = Vec::new();
        self.follower.begin_again(now, from, &mut followed);
        for effect in followed {
            if let observe::Effect::Ask { ask, question } = effect {
                effects.push(Effect::Ask { ask, question });
            }
        }
    }
}
