//! Why the worker has nothing to do: it asks the engine, and tells people when the reason is another.

use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{self, kind, push_empty};

use super::{Agent, Effects, Link, Note};
use crate::{ASK_AGAIN_MAX, IDLE_AFTER};

/// An idle time, from its beginning.
#[derive(Default, Debug)]
pub(super) struct Idle {
    /// When it asks next; `None`: it has something to do, or knows itself why not.
    ask_at: Option<Instant>,
    /// The wait after that.
    ask_again: Millis,
    /// What the engine said last.
    told: Option<worker_link::Idle>,
}

impl Idle {
    pub(super) fn asks_at(&self) -> Option<Instant> {
        self.ask_at
    }
}

impl Agent {
    /// Why it has had nothing to do for a while, as the engine said last; `None`: it has something to do, or has not been
    /// told.
    #[must_use]
    pub fn idle(&self) -> Option<&worker_link::Idle> {
        self.idle.told.as_ref()
    }

    /// After each event: whether an idle time begins or ends.
    pub(super) fn see_idle(&mut self) {
        let is_idle = self.held.running() == 0
            && self.held.waiting() == 0
            && matches!(self.link, Link::Joined(_))
            && self.closed_because().is_none();
        match (is_idle, self.idle.ask_at) {
            (true, None) => {
                self.idle = Idle {
                    ask_at: Some(self.now + IDLE_AFTER),
                    ask_again: IDLE_AFTER,
                    told: None,
                }
            }
            (false, Some(_)) => self.idle = Idle::default(),
            _ => {}
        }
    }

    /// Asks, if it is time: the longer the reason stays the same, the more seldom.
    pub(super) fn ask_why_idle(&mut self, effects: &mut Effects) {
        if let Link::Joined(joined) = &mut self.link
            && self.idle.ask_at.is_some_and(|at| at <= self.now)
        {
            joined.said = self.now;
            self.idle.ask_at = Some(self.now + self.idle.ask_again);
            self.idle.ask_again = Millis(self.idle.ask_again.0 * 2).min(ASK_AGAIN_MAX);
            effects.send(|out| push_empty(out, kind::WHY_IDLE));
        }
    }

    /// The engine says why. What it says to a worker that has something to do by now is out of date.
    pub(super) fn on_idle(&mut self, said: worker_link::Idle, effects: &mut Effects) {
        if self.idle.ask_at.is_none() {
            return;
        }
        let is_new = self
            .idle
            .told
            .as_ref()
            .is_none_or(|told| told.cause != said.cause);
        if is_new {
            self.idle.ask_again = IDLE_AFTER;
            effects.note(Note::Idle(said.clone()));
        }
        self.idle.told = Some(said);
    }
}
