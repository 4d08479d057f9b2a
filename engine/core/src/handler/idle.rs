//! A worker asks why it has nothing to do: it is told what an operator would be.

use wire_protocol::ids::{LinkId, Lsn, WorkerId};
use wire_protocol::units::Millis;
use wire_protocol::worker_link::{Idle, kind, push_control};

use crate::effect::Effects;
use crate::scheduler::Scheduler;

/// Between two answers to one worker; what it asks meanwhile is not answered.
const TOLD_EVERY: Millis = Millis::from_secs(2);

/// Facts of an answer, and bytes of each.
const FACTS_MAX: usize = 4;
const SENTENCE_BYTES_MAX: usize = 512;

impl Scheduler {
    pub(crate) fn on_why_idle(&mut self, link: LinkId, id: WorkerId, effects: &mut Effects) {
        let now = self.now;
        let worker = self.workers.get_mut(id).expect("linked workers are known");
        if worker
            .about
            .told_idle_at
            .is_some_and(|told| told + TOLD_EVERY > now)
        {
            return;
        }
        worker.about.told_idle_at = Some(now);
        let (cause, mut explanation) = self.explain_worker(id).expect("just seen");
        // The first says what the worker knows of itself.
        explanation.facts.remove(0);
        explanation.facts.truncate(FACTS_MAX);
        for text in explanation.facts.iter_mut().chain([&mut explanation.summary]) {
            text.truncate(text.floor_char_boundary(SENTENCE_BYTES_MAX));
        }
        let idle = Idle { cause, explanation };
        effects.send(link, Lsn(0), |out| push_control(out, kind::IDLE, &idle));
    }
}
