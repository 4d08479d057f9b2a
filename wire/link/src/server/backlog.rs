//! First packets that were let in and wait until there is room for their handshakes.

use super::admission::Admission;
use crate::limits::{BACKLOG_LOOKS_PER_TURN, Limits};
use quinn_proto::Incoming;
use std::collections::VecDeque;
use std::time::Instant;

/// A queue, the longest waiting first. Whose address has its share of the handshakes goes to the end of it.
#[derive(Default)]
pub(crate) struct Backlog {
    waiting: VecDeque<Waiting>,
    /// Something has come since nobody could be served.
    moving: bool,
}

struct Waiting {
    listener: usize,
    incoming: Incoming,
    since: Instant,
}

/// What becomes of one that has waited, and at which listener.
pub(crate) enum Served {
    /// Its handshake begins; admission counts it.
    Begin(usize, Incoming),
    /// It has waited for longer than a handshake may take, or the server is going down; admission has forgotten it.
    Refuse(usize, Incoming),
}

impl Backlog {
    /// Puts a first packet of a listener at the end; admission counts it already.
    pub(crate) fn push(&mut self, listener: usize, incoming: Incoming, now: Instant) {
        self.waiting.push_back(Waiting {
            listener,
            incoming,
            since: now,
        });
        self.moving = true;
    }

    /// There may be somebody to serve without anything else happening first.
    pub(crate) fn is_moving(&self) -> bool {
        self.moving && !self.waiting.is_empty()
    }

    /// The next for whom there is room, or for whom there will be none.
    pub(crate) fn next(
        &mut self,
        admission: &mut Admission,
        limits: &Limits,
        now: Instant,
    ) -> Option<Served> {
        self.moving = true;
        for _ in 0..BACKLOG_LOOKS_PER_TURN.min(self.waiting.len()) {
            let first = self.waiting.front()?;
            let address = first.incoming.remote_address().ip().to_canonical();
            let late = now.duration_since(first.since) > limits.handshake_deadline;
            let refuse = late || admission.closing;
            if !refuse && admission.handshakes() >= limits.handshakes_max {
                break;
            }
            let first = self.waiting.pop_front()?;
            if refuse {
                admission.give_up(address);
                return Some(Served::Refuse(first.listener, first.incoming));
            }
            if admission.may_begin(limits, address) {
                admission.begin(address);
                return Some(Served::Begin(first.listener, first.incoming));
            }
            self.waiting.push_back(first);
        }
        self.moving = false;
        None
    }
}
