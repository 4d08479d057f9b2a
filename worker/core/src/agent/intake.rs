//! Whether work is let in: a worker that holds takes none for a while, one that drains takes none any more and leaves.
//!
//! ```text
//!  No ──► Draining { by } ──── nothing runs, everything is recorded ───────────────► Left: drained
//!              │ the deadline comes
//!              ▼
//!         Late { until } ───── stopped and given back, everything is recorded ─────► Left: drained
//!              │ the engine is away, or something does not stop
//!              └───────────────────────────────────────────────────────────────────► Left: late
//! ```
//!
//! A drain outlives connections and engines: it is the worker that remembers its deadline, and says what is left of it
//! after each `Welcome`. What the deadline stops is given back at once, as works that were returned unstarted are: they
//! lose the time that they ran, and no attempt. Without a link nothing can be given back, so they run on for
//! [`LEAVE_TIMEOUT`] in case the engine comes back.

use wire_protocol::limits::PROBLEM_BYTES_MAX;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::worker_link::{Draining, Holding, kind, push_control};

use super::{Agent, Effect, Effects, Exit, Link, Note, Reason, mem};
use crate::LEAVE_TIMEOUT;

/// How far a worker is with leaving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Leaving {
    No,
    /// It finishes what runs; `by`: until then.
    Draining {
        by: Option<Instant>,
    },
    /// The deadline has passed: it waits until everything is given back and recorded, and no longer than this.
    Late {
        until: Instant,
    },
}

impl Leaving {
    pub(super) fn is_draining(self) -> bool {
        self != Self::No
    }

    pub(super) fn due(self) -> Option<Instant> {
        match self {
            Self::No => None,
            Self::Draining { by } => by,
            Self::Late { until } => Some(until),
        }
    }
}

impl Agent {
    /// Takes nothing more and leaves when nothing runs, or by the deadline; a later one counts instead of an earlier.
    pub(super) fn drain(&mut self, reason: &str, within: Option<Millis>, effects: &mut Effects) {
        let by = within.map(|within| self.now + within);
        self.leaving = match self.leaving {
            Leaving::No => Leaving::Draining { by },
            Leaving::Draining { by: before } if by.is_some() && by != before => Leaving::Draining { by },
            Leaving::Draining { .. } | Leaving::Late { .. } => return,
        };
        effects.note(Note::Draining {
            reason: reason.to_owned(),
            within,
        });
        self.say_draining(effects);
    }

    /// Tells an engine that is there to send nothing more, and returns what has not started.
    pub(super) fn say_draining(&mut self, effects: &mut Effects) {
        let Link::Joined(joined) = &mut self.link else {
            return;
        };
        joined.said = self.now;
        let left = |by: Instant| by.since(self.now);
        let within = match self.leaving {
            Leaving::Late { .. } => Some(Millis(0)),
            Leaving::Draining { by } => by.map(left),
            Leaving::No => None,
        };
        effects.send(|out| push_control(out, kind::DRAINING, &Draining { within }));
        self.return_waiting(Reason::WorkerDraining, effects);
        if let Leaving::Late { .. } = self.leaving {
            self.give_back(effects);
        }
    }

    /// The deadline of a drain may have come.
    pub(super) fn look_at_deadline(&mut self, effects: &mut Effects) {
        match self.leaving {
            Leaving::Draining { by: Some(by) } if by <= self.now => {
                let until = self.now + LEAVE_TIMEOUT;
                self.leaving = Leaving::Late { until };
                let running = self.held.running_tokens().count();
                effects.note(Note::DrainOver { running });
                if matches!(self.link, Link::Joined(_)) {
                    self.give_back(effects);
                }
            }
            Leaving::Late { until } if until <= self.now => {
                let unrecorded = self.reports.len();
                self.leave(Exit::Late { unrecorded }, effects);
            }
            _ => {}
        }
    }

    /// Stops what runs and returns it.
    fn give_back(&mut self, effects: &mut Effects) {
        let mut tokens = mem::take(&mut self.tokens);
        tokens.extend(self.held.running_tokens());
        for token in &tokens {
            self.stop(*token, Reason::WorkerDraining, effects);
        }
        self.say_tokens(kind::RETRACTED, Reason::WorkerDraining, &tokens, effects);
        self.put_back(tokens);
    }

    pub(super) fn hold(&mut self, problem: Option<&str>, effects: &mut Effects) {
        let problem = problem.map(|text| text[..text.floor_char_boundary(PROBLEM_BYTES_MAX)].to_owned());
        if self.problem == problem {
            return;
        }
        effects.note(match &problem {
            Some(problem) => Note::Holding {
                problem: problem.clone(),
            },
            None => Note::Welcoming,
        });
        self.problem = problem;
        self.say_holding(effects);
    }

    /// Tells an engine that is there whether to send work, before what has not started goes back: so it does not come
    /// again.
    pub(super) fn say_holding(&mut self, effects: &mut Effects) {
        let Link::Joined(joined) = &mut self.link else {
            return;
        };
        joined.said = self.now;
        let problem = self.problem.clone();
        let holds = problem.is_some();
        effects.send(|out| push_control(out, kind::HOLDING, &Holding { problem }));
        if holds {
            self.return_waiting(Reason::NoRoom, effects);
        }
    }

    fn return_waiting(&mut self, reason: Reason, effects: &mut Effects) {
        let mut tokens = mem::take(&mut self.tokens);
        while let Some(waiting) = self.held.dequeue() {
            tokens.push(waiting.token);
        }
        self.say_tokens(kind::RETRACTED, reason, &tokens, effects);
        self.put_back(tokens);
    }

    /// Why nothing starts here whatever comes, in the words in which it goes back.
    pub(super) fn closed_because(&self) -> Option<Reason> {
        if self.leaving.is_draining() {
            Some(Reason::WorkerDraining)
        } else {
            self.problem.is_some().then_some(Reason::NoRoom)
        }
    }

    pub(super) fn leave_when_drained(&mut self, effects: &mut Effects) {
        // What waits while the engine is away is not worth staying for: the lease tells the engine. But an engine
        // that is about to answer gets it back in good order.
        let returned = self.held.waiting() == 0 || !matches!(self.link, Link::Joining { .. });
        let done = self.leaving.is_draining() && self.held.running() == 0 && self.reports.is_empty();
        if done && returned && !matches!(self.link, Link::Left) {
            self.leave(Exit::Drained, effects);
        }
    }

    pub(super) fn leave(&mut self, exit: Exit, effects: &mut Effects) {
        self.link = Link::Left;
        effects.push(Effect::Exit(exit));
    }
}
