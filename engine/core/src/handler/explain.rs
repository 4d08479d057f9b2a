//! Why a work waits and why a worker has nothing to do, by the very predicates that dispatch uses.

use wire_protocol::ids::{BagId, WorkId, WorkerId};
use wire_protocol::joining::Approval;
use wire_protocol::template::Unmet;
use wire_protocol::units::Millis;
use wire_protocol::view::{Explanation, WorkerState};
use wire_protocol::worker_link::IdleCause;

use crate::event::Pressure;
use crate::scheduler::Scheduler;
use crate::state::Phase;
use crate::table::class::ClassId;
use crate::table::work::Work;
use crate::table::worker::Worker;

/// Classes or workers that an explanation names one by one.
const EXAMPLES_MAX: usize = 5;

/// Queues that are looked at for such examples: idle workers ask often, and an answer should not cost more than a work.
const QUEUES_SCANNED_MAX: usize = 64;

impl Scheduler {
    /// Workers whose offer meets the class.
    pub(crate) fn eligible(&self, class: ClassId) -> impl Iterator<Item = &Worker> {
        self.workers
            .iter()
            .filter(move |worker| self.classes.suits(worker.profile, class))
    }

    /// Why the worker can never run works of the class. `None`: it can.
    fn unmet(&self, worker: &Worker, class: ClassId) -> Option<Unmet> {
        let class = self.classes.get(class);
        let unmet = self.classes.terms(worker.profile).unmet(class);
        let wallet = worker.about.standing.wallet;
        unmet.or_else(|| class.requirements.unmet_by_wallet(wallet))
    }

    pub(crate) fn explain_work(&self, id: WorkId, work: &Work, bag: BagId) -> Explanation {
        let bag = self.bags.get(bag).expect("the caller looked it up");
        let template = &self.templates.get(bag.template).definition;
        let mut facts = vec![format!(
            "{id} is row {} of {} (tenant {}, priority {}, class {})",
            bag.row_of(id),
            bag.id,
            self.tenants.get(bag.tenant).name,
            bag.priority.0,
            self.classes.get(bag.class).describe(),
        )];
        if work.attempt.0 > 0 {
            let worker = self
                .workers
                .get(work.worker)
                .map_or("a forgotten worker", |worker| worker.about.name.as_str());
            facts.push(format!(
                "attempt {} was with {worker}; {} of {} attempts count; last reason: {}",
                work.attempt.0, work.spent, template.retry.attempts_max, work.reason,
            ));
        }
        let summary = match work.phase {
            Phase::Void => "its row has not come yet".to_owned(),
            Phase::Queued => self.why_waiting(bag, &mut facts),
            Phase::Delayed => format!(
                "it waits for its backoff to pass before attempt {}",
                work.attempt.0 + 1
            ),
            Phase::Leased => {
                let worker = self
                    .workers
                    .get(work.worker)
                    .expect("whoever holds works is remembered");
                format!(
                    "{} has it and has not said that it runs ({})",
                    worker.about.name, worker.state
                )
            }
            Phase::Running => {
                let worker = self
                    .workers
                    .get(work.worker)
                    .expect("whoever holds works is remembered");
                format!("{} runs it ({})", worker.about.name, worker.state)
            }
            Phase::Succeeded => "it succeeded".to_owned(),
            Phase::Failed | Phase::Cancelled | Phase::Expired => {
                format!(
                    "it {}: {}",
                    work.phase.outcome().expect("a final phase"),
                    work.reason
                )
            }
        };
        Explanation { summary, facts }
    }

    fn why_waiting(&self, bag: &crate::table::bag::Bag, facts: &mut Vec<String>) -> String {
        let key = Self::key_of(bag);
        facts.push(format!(
            "{} works wait in its queue, {} in queues of higher priority",
            self.ready.queue_len(key),
            self.ready.len_above(key.priority),
        ));
        if let Some(pause) = self.pause() {
            return pause.to_string();
        }
        let connected: Vec<&Worker> = self
            .workers
            .iter()
            .filter(|worker| worker.is_connected())
            .collect();
        if connected.is_empty() {
            return "no worker is connected".to_owned();
        }
        let (able, unable): (Vec<&Worker>, Vec<&Worker>) = connected
            .into_iter()
            .partition(|worker| self.classes.suits(worker.profile, bag.class));
        for worker in unable.iter().take(EXAMPLES_MAX) {
            let unmet = self.unmet(worker, bag.class);
            let unmet = unmet.expect("who is not eligible misses something");
            facts.push(format!("{} cannot run it: {unmet}", worker.about.name));
        }
        if able.is_empty() {
            return format!(
                "none of the {} connected workers meets its requirements",
                unable.len()
            );
        }
        let (taking, closed): (Vec<&Worker>, Vec<&Worker>) =
            able.into_iter().partition(|worker| worker.takes_work());
        for worker in closed.iter().take(EXAMPLES_MAX) {
            let because = worker.closed_because().expect("it is given nothing");
            facts.push(format!("{} could run it but {because}", worker.about.name));
        }
        if taking.is_empty() {
            return format!(
                "all {} workers that could run it are cordoned, draining or take no work",
                closed.len()
            );
        }
        facts.extend(
            taking
                .iter()
                .filter_map(|worker| self.describe_warm(worker, bag))
                .take(EXAMPLES_MAX),
        );
        let (short, full): (Vec<&Worker>, Vec<&Worker>) = taking
            .iter()
            .partition(|worker| self.short_for(worker, bag.class).is_some());
        for worker in short.iter().take(EXAMPLES_MAX) {
            let short = self.short_for(worker, bag.class).expect("partitioned by it");
            facts.push(format!("{} has no room for it now: {short}", worker.about.name));
        }
        let holding = taking
            .iter()
            .filter_map(|worker| Some(self.describe_reserved(worker, worker.about.reserved?)));
        facts.extend(holding.take(EXAMPLES_MAX));
        if full.is_empty() {
            return format!(
                "none of the {} workers that could run it has room for it now",
                short.len()
            );
        }
        let holds = |worker: &&&Worker| worker.held_len() < worker.slots;
        let holders = full.iter().filter(holds).count();
        if holders > 0 {
            return format!(
                "{holders} of the {} workers that could run it have room, and hold it for works that have waited longer",
                taking.len()
            );
        }
        let slots: u32 = taking.iter().map(|worker| worker.slots).sum();
        let held: u32 = taking.iter().map(|worker| worker.held_len()).sum();
        format!(
            "all {slots} slots of the {} workers that could run it are taken ({held} works held)",
            taking.len()
        )
    }

    /// Why a worker has nothing to do, or gets nothing more.
    pub(crate) fn explain_worker(&self, id: WorkerId) -> Option<(IdleCause, Explanation)> {
        let worker = self.workers.get(id)?;
        let mut facts = vec![format!(
            "{} ({}) is {}, holds {} works, has {} slots and takes {} ahead of time",
            worker.about.name,
            worker.id,
            worker.state,
            worker.held_len(),
            worker.slots,
            worker.prefill,
        )];
        if let Some(meter) = &self.classes.terms(worker.profile).meter {
            facts.push(meter.describe(&worker.about.room));
        }
        if let Some(class) = worker.about.reserved {
            facts.push(self.describe_reserved(worker, class));
        }
        let (cause, summary) = match worker.state {
            WorkerState::Lost | WorkerState::Gone if worker.about.standing.approval == Approval::Revoked => {
                let summary =
                    format!("an operator revoked it; `pool worker approve {id}` lets it join again");
                (IdleCause::Draining, summary)
            }
            WorkerState::Lost => {
                let ago = self.now.since(worker.last_seen);
                let summary = format!("it is not connected; last heard of {ago} ago");
                (IdleCause::Draining, summary)
            }
            WorkerState::Gone => (IdleCause::Draining, "it drained and left".to_owned()),
            WorkerState::Draining => (IdleCause::Draining, self.explain_drain(worker)),
            WorkerState::Cordoned if worker.about.standing.approval == Approval::Waiting => {
                let summary = format!("it waits for approval: `pool worker approve {id}` gives it work");
                (IdleCause::Cordoned, summary)
            }
            WorkerState::Cordoned => {
                let summary = "an operator cordoned it: it gets nothing more".to_owned();
                (IdleCause::Cordoned, summary)
            }
            WorkerState::Ready if let Some(problem) = &worker.about.problem => {
                let summary = format!("the worker takes no work: {problem}");
                (IdleCause::Holding, summary)
            }
            WorkerState::Ready if worker.held_len() >= worker.slots => {
                (IdleCause::Next, "all of its slots are taken".to_owned())
            }
            WorkerState::Ready => self.why_idle(worker, &mut facts),
        };
        Some((cause, Explanation { summary, facts }))
    }

    fn describe_reserved(&self, worker: &Worker, class: ClassId) -> String {
        let waits = self
            .short_since(class)
            .map_or(Millis(0), |since| self.now.since(since));
        format!(
            "{} holds its room for works of class {}, which have found none for {waits}",
            worker.about.name,
            self.classes.get(class).describe()
        )
    }

    fn why_idle(&self, worker: &Worker, facts: &mut Vec<String>) -> (IdleCause, String) {
        if let Some(pause) = self.pause() {
            return (IdleCause::Paused, pause.to_string());
        }
        let eligible = &self.classes.profile(worker.profile).eligible;
        if self.ready.len() == 0 {
            if self.pressure != Pressure::None {
                facts.push(format!("submissions are refused: {:?}", self.pressure));
            }
            return match self.counters.works_delayed {
                0 => (IdleCause::NothingQueued, "nothing is queued".to_owned()),
                delayed => {
                    let summary =
                        format!("nothing is queued but {delayed} works that wait for a backoff to pass");
                    (IdleCause::Backoff, summary)
                }
            };
        }
        let mut short_of_room = false;
        let mut examples = Vec::new();
        for (key, queued) in self.ready.queues().take(QUEUES_SCANNED_MAX) {
            let class = self.classes.get(key.class);
            let why = match self.unmet(worker, key.class) {
                Some(unmet) => unmet.to_string(),
                None => match self.short_for(worker, key.class) {
                    Some(short) => {
                        short_of_room = true;
                        short.to_string()
                    }
                    None => continue,
                },
            };
            if examples.len() < EXAMPLES_MAX {
                examples.push(format!(
                    "{queued} works of class {} wait: {why}",
                    class.describe()
                ));
            }
        }
        facts.extend(examples);
        if self.ready.has_any(eligible) {
            let summary = "works that it could run are queued; it gets them next".to_owned();
            (IdleCause::Next, summary)
        } else if worker.about.reserved.is_some() {
            let summary = "it holds its room for works that have waited long for it".to_owned();
            (IdleCause::NoRoom, summary)
        } else if short_of_room {
            let summary = "works that it could run are queued, and it has no room for them now".to_owned();
            (IdleCause::NoRoom, summary)
        } else {
            let queued = self.ready.len();
            let summary = format!("{queued} works are queued, and it meets the requirements of none");
            (IdleCause::NoMatch, summary)
        }
    }
}
