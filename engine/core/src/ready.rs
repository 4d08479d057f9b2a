//! Works that wait, per (priority, tenant, class).
//!
//! ```text
//!  priority 9 ─► ring of tenants ─► per class: runs of consecutive works   (a bag of a million rows is one run)
//!  …
//!  priority 0
//! ```
//!
//! A higher priority goes first. Between tenants of one priority: deficit round robin (Shreedhar and Varghese,
//! "Efficient Fair Queuing using Deficit Round Robin", 1995), one work costing one; a tenant's weight multiplies
//! its quantum. Within a tenant the oldest work goes first, over all classes that the worker may run.
//!
//! A work that is cancelled while it waits stays in its run and is skipped when the run comes up: what a run
//! says is a hint, the work's phase is the truth. The counts are exact all the same, because whoever takes a
//! work out of the queue in another way says so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use wire_protocol::ids::{TenantId, WorkId};
use wire_protocol::template::Priority;

use crate::state::Phase;
use crate::table::class::{ClassId, ClassSet};
use crate::table::tenant::Tenants;
use crate::table::work::Works;

/// Works that a tenant of weight 1 may take before the next tenant's turn. Large enough that a worker is
/// usually filled from one tenant's works, small enough that a turn takes well under a millisecond.
const QUANTUM: i64 = 64;

/// Which queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct QueueKey {
    pub(crate) priority: Priority,
    pub(crate) tenant: TenantId,
    pub(crate) class: ClassId,
}

/// Consecutive works of one bag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) first: WorkId,
    pub(crate) len: u32,
}

/// Which end of a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// Goes before what waits: it has waited before.
    Front,
    /// Goes after what waits.
    Back,
}

#[derive(Default)]
struct Queue {
    runs: VecDeque<Run>,
    /// Where its first run begins, or began when it was last looked at: under this id the queue is listed.
    head: WorkId,
    /// Works in phase `Queued` that belong here.
    len: u64,
}

#[derive(Default)]
struct TenantQueues {
    queues: BTreeMap<ClassId, Queue>,
    /// Classes with works.
    ready: ClassSet,
    /// The same, oldest first by the heads of their queues.
    heads: BTreeSet<(WorkId, ClassId)>,
    deficit: i64,
    in_ring: bool,
}

#[derive(Default)]
struct Level {
    ring: VecDeque<TenantId>,
    tenants: BTreeMap<TenantId, TenantQueues>,
    len: u64,
}

/// All works that wait for a worker.
#[derive(Default)]
pub(crate) struct Ready {
    levels: [Level; Priority::COUNT],
    len: u64,
    /// Works that wait, by class.
    by_class: Vec<u64>,
}

impl Ready {
    /// Works that wait.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Works of this class wait; of any class, if none is given.
    pub(crate) fn waits(&self, class: Option<ClassId>) -> bool {
        let count = class.map_or(Some(&self.len), |class| self.by_class.get(class.0 as usize));
        count.is_some_and(|count| *count > 0)
    }

    /// Puts a run of queued works in.
    pub(crate) fn push(&mut self, key: QueueKey, run: Run, end: End) {
        let class = key.class.0 as usize;
        if self.by_class.len() <= class {
            self.by_class.resize(class + 1, 0);
        }
        self.by_class[class] += u64::from(run.len);
        let level = &mut self.levels[usize::from(key.priority.0)];
        let tenant = level.tenants.entry(key.tenant).or_default();
        let queue = tenant.queues.entry(key.class).or_default();
        match end {
            End::Front => queue.runs.push_front(run),
            End::Back => queue.runs.push_back(run),
        }
        if queue.len == 0 || end == End::Front {
            tenant.heads.remove(&(queue.head, key.class));
            queue.head = queue.runs[0].first;
            tenant.heads.insert((queue.head, key.class));
        }
        queue.len += u64::from(run.len);
        level.len += u64::from(run.len);
        self.len += u64::from(run.len);
        tenant.ready.insert(key.class);
        if !tenant.in_ring {
            tenant.in_ring = true;
            level.ring.push_back(key.tenant);
        }
    }

    /// `count` works that waited here do not wait any more, for another reason than being taken.
    pub(crate) fn removed(&mut self, key: QueueKey, count: u64) {
        if count == 0 {
            return;
        }
        let level = &mut self.levels[usize::from(key.priority.0)];
        level.len -= count;
        self.len -= count;
        self.by_class[key.class.0 as usize] -= count;
        let tenant = level.tenants.get_mut(&key.tenant).expect("works waited here");
        tenant.shrink(key.class, count);
    }

    /// Takes out the runs that lie within `span`; `count` works that waited go with them.
    pub(crate) fn remove_span(&mut self, key: QueueKey, span: Run, count: u64) {
        let level = &mut self.levels[usize::from(key.priority.0)];
        if let Some(tenant) = level.tenants.get_mut(&key.tenant)
            && let Some(queue) = tenant.queues.get_mut(&key.class)
        {
            let end = span.first.offset(span.len);
            queue
                .runs
                .retain(|run| run.first < span.first || run.first >= end);
            tenant.heads.remove(&(queue.head, key.class));
            queue.head = queue.runs.front().map_or(WorkId(0), |run| run.first);
            tenant.heads.insert((queue.head, key.class));
        }
        self.removed(key, count);
    }

    /// Takes the next works for a worker that may run `eligible` classes: at most `max`, consecutive, of one bag.
    /// Their phases are still `Queued`; the caller leases them all.
    pub(crate) fn take(
        &mut self,
        eligible: &ClassSet,
        max: u32,
        works: &Works,
        tenants: &Tenants,
    ) -> Option<(QueueKey, Run)> {
        for (priority, level) in self.levels.iter_mut().enumerate().rev() {
            if level.len == 0 {
                continue;
            }
            if let Some((tenant, class, run)) = level.take(eligible, max, works, tenants) {
                self.len -= u64::from(run.len);
                self.by_class[class.0 as usize] -= u64::from(run.len);
                let priority = Priority(u8::try_from(priority).expect("few priorities"));
                return Some((
                    QueueKey {
                        priority,
                        tenant,
                        class,
                    },
                    run,
                ));
            }
        }
        None
    }

    /// Every queue that has works, with their number.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (QueueKey, u64)> {
        self.levels
            .iter()
            .enumerate()
            .rev()
            .flat_map(|(priority, level)| {
                level.tenants.iter().flat_map(move |(tenant, queues)| {
                    queues
                        .queues
                        .iter()
                        .filter(|(_, queue)| queue.len > 0)
                        .map(move |(class, queue)| {
                            let priority = Priority(u8::try_from(priority).expect("few priorities"));
                            (
                                QueueKey {
                                    priority,
                                    tenant: *tenant,
                                    class: *class,
                                },
                                queue.len,
                            )
                        })
                })
            })
    }

    /// Works that wait in one queue.
    pub(crate) fn queue_len(&self, key: QueueKey) -> u64 {
        let tenant = self.levels[usize::from(key.priority.0)].tenants.get(&key.tenant);
        tenant
            .and_then(|tenant| tenant.queues.get(&key.class))
            .map_or(0, |queue| queue.len)
    }

    /// Works that wait with a higher priority than this.
    pub(crate) fn len_above(&self, priority: Priority) -> u64 {
        self.levels[usize::from(priority.0) + 1..]
            .iter()
            .map(|level| level.len)
            .sum()
    }

    /// Some work waits that a worker with these classes may run.
    pub(crate) fn has_any(&self, eligible: &ClassSet) -> bool {
        self.levels.iter().filter(|level| level.len > 0).any(|level| {
            level
                .tenants
                .values()
                .any(|tenant| tenant.ready.both(eligible).next().is_some())
        })
    }
}

impl Level {
    fn take(
        &mut self,
        eligible: &ClassSet,
        max: u32,
        works: &Works,
        tenants: &Tenants,
    ) -> Option<(TenantId, ClassId, Run)> {
        // Each round a tenant is either passed over (it has nothing for this worker), paid its quantum, or
        // served; a tenant that was paid is served when its turn comes again.
        let mut passed_over = 0;
        while passed_over < self.ring.len() {
            let id = *self.ring.front()?;
            let tenant = self.tenants.get_mut(&id).expect("the ring holds known tenants");
            if tenant.ready.is_empty() {
                tenant.in_ring = false;
                tenant.deficit = 0;
                self.ring.pop_front();
                continue;
            }
            let Some(class) = tenant.oldest(eligible, works) else {
                self.ring.rotate_left(1);
                passed_over += 1;
                continue;
            };
            if tenant.deficit <= 0 {
                tenant.deficit += i64::from(tenants.get(id).weight) * QUANTUM;
                self.ring.rotate_left(1);
                passed_over = 0;
                continue;
            }
            let max = u64::from(max).min(tenant.deficit.unsigned_abs());
            let run = tenant.take_run(class, u32::try_from(max).expect("bounded by max"), works);
            tenant.deficit -= i64::from(run.len);
            self.len -= u64::from(run.len);
            return Some((id, class, run));
        }
        None
    }
}

impl TenantQueues {
    /// The class, among those that the worker may run, whose first work is the oldest. A queue may be listed
    /// under a work that it has lost meanwhile, but never under a younger one than its first: so the list is
    /// put right on the way.
    fn oldest(&mut self, eligible: &ClassSet, works: &Works) -> Option<ClassId> {
        let Self { queues, heads, .. } = self;
        loop {
            let mut able = heads.iter().filter(|(_, class)| eligible.contains(*class));
            let (listed, class) = *able.next()?;
            let rival = able.next().map(|(listed, _)| *listed);
            let queue = queues.get_mut(&class).expect("listed classes have queues");
            let head = queue.first(works);
            if rival.is_none_or(|rival| head <= rival) {
                return Some(class);
            }
            heads.remove(&(listed, class));
            heads.insert((head, class));
            queue.head = head;
        }
    }

    fn take_run(&mut self, class: ClassId, max: u32, works: &Works) -> Run {
        let queue = self
            .queues
            .get_mut(&class)
            .expect("the class was chosen for its works");
        let run = queue.runs.front_mut().expect("a first work was found");
        let span = works.run(run.first, run.len.min(max));
        let len = span.iter().take_while(|work| work.phase == Phase::Queued).count();
        let len = u32::try_from(len).expect("bounded by max");
        let taken = Run {
            first: run.first,
            len,
        };
        run.first = run.first.offset(len);
        run.len -= len;
        if run.len == 0 {
            queue.runs.pop_front();
        }
        self.shrink(class, u64::from(len));
        taken
    }

    fn shrink(&mut self, class: ClassId, count: u64) {
        let queue = self.queues.get_mut(&class).expect("works waited here");
        queue.len -= count;
        if queue.len == 0 {
            self.heads.remove(&(queue.head, class));
            self.queues.remove(&class);
            self.ready.remove(class);
        }
    }
}

impl Queue {
    /// The first work that really waits. There is one: the queue's length counts only those.
    fn first(&mut self, works: &Works) -> WorkId {
        loop {
            let run = self
                .runs
                .front_mut()
                .expect("a queue that counts works has runs with them");
            let span = works.run(run.first, run.len);
            let stale = span.iter().take_while(|work| work.phase != Phase::Queued).count();
            // An empty span: the works were forgotten, page and all.
            let stale = if span.is_empty() {
                run.len
            } else {
                u32::try_from(stale).expect("a page")
            };
            run.first = run.first.offset(stale);
            run.len -= stale;
            if run.len == 0 {
                self.runs.pop_front();
            } else if stale == 0 {
                return run.first;
            }
        }
    }
}
