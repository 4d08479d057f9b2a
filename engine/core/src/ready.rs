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

struct Queue {
    class: ClassId,
    runs: VecDeque<Run>,
    /// Where its first run begins, or began when it was last looked at: under this id the queue is listed.
    head: WorkId,
    /// Works in phase `Queued` that belong here.
    len: u64,
}

/// A queue as its tenant lists it. Taking works goes from here to the queue by its index, without a search.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    work: WorkId,
    class: ClassId,
    queue: u32,
}

#[derive(Default)]
struct TenantQueues {
    /// Those that `by_class` does not name are empty and wait in `free` for another class.
    queues: Vec<Queue>,
    free: Vec<u32>,
    by_class: BTreeMap<ClassId, u32>,
    /// Classes with works.
    ready: ClassSet,
    /// The same, oldest first by the heads of their queues.
    heads: BTreeSet<Head>,
    deficit: i64,
    in_ring: bool,
}

#[derive(Default)]
struct Level {
    ring: VecDeque<TenantId>,
    /// Index: number of the tenant less one.
    tenants: Vec<Option<Box<TenantQueues>>>,
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
        let tenant = level.tenant_or_new(key.tenant);
        tenant.push(key.class, run, end);
        if !std::mem::replace(&mut tenant.in_ring, true) {
            level.ring.push_back(key.tenant);
        }
        level.len += u64::from(run.len);
        self.len += u64::from(run.len);
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
        let tenant = level.tenant_mut(key.tenant).expect("works waited here");
        tenant.shrink(key.class, count);
    }

    /// Takes out the runs that lie within `span`; `count` works that waited go with them.
    pub(crate) fn remove_span(&mut self, key: QueueKey, span: Run, count: u64) {
        let level = &mut self.levels[usize::from(key.priority.0)];
        if let Some(tenant) = level.tenant_mut(key.tenant) {
            tenant.remove_span(key.class, span);
        }
        self.removed(key, count);
    }

    /// Takes the next works for a worker that may run `eligible` classes: at most `max`, and no more than `fit` of their
    /// class, consecutive, of one bag. Their phases are still `Queued`; the caller leases them all.
    pub(crate) fn take(
        &mut self,
        eligible: &ClassSet,
        max: u32,
        fit: impl Fn(ClassId) -> u32,
        works: &Works,
        tenants: &Tenants,
    ) -> Option<Run> {
        for level in self.levels.iter_mut().rev().filter(|level| level.len > 0) {
            if let Some((class, run)) = level.take(eligible, max, &fit, works, tenants) {
                self.len -= u64::from(run.len);
                self.by_class[class.0 as usize] -= u64::from(run.len);
                return Some(run);
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
                let priority = Priority(u8::try_from(priority).expect("few priorities"));
                level.tenants().flat_map(move |(tenant, queues)| {
                    queues.queues().map(move |queue| {
                        let key = QueueKey {
                            priority,
                            tenant,
                            class: queue.class,
                        };
                        (key, queue.len)
                    })
                })
            })
    }

    /// For each class with works that wait: the highest priority of them, and the oldest work of that priority.
    pub(crate) fn firsts(&mut self, works: &Works) -> BTreeMap<ClassId, (Priority, WorkId)> {
        let mut firsts = BTreeMap::new();
        for (priority, level) in self.levels.iter_mut().enumerate().rev() {
            let priority = Priority(u8::try_from(priority).expect("few priorities"));
            for tenant in level.tenants.iter_mut().flatten() {
                for (class, index) in &tenant.by_class {
                    let work = tenant.queues[*index as usize].first(works);
                    let first = firsts.entry(*class).or_insert((priority, work));
                    if first.0 == priority {
                        first.1 = first.1.min(work);
                    }
                }
            }
        }
        firsts
    }

    /// Works that wait in one queue.
    pub(crate) fn queue_len(&self, key: QueueKey) -> u64 {
        let level = &self.levels[usize::from(key.priority.0)];
        let tenant = level.tenant(key.tenant);
        let queue = tenant.and_then(|tenant| tenant.queue(key.class));
        queue.map_or(0, |queue| queue.len)
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
                .tenants()
                .any(|(_, tenant)| tenant.ready.both(eligible).next().is_some())
        })
    }
}

impl Level {
    fn tenant(&self, id: TenantId) -> Option<&TenantQueues> {
        self.tenants.get(id.index() - 1)?.as_deref()
    }

    fn tenant_mut(&mut self, id: TenantId) -> Option<&mut TenantQueues> {
        self.tenants.get_mut(id.index() - 1)?.as_deref_mut()
    }

    fn tenant_or_new(&mut self, id: TenantId) -> &mut TenantQueues {
        let index = id.index() - 1;
        if self.tenants.len() <= index {
            self.tenants.resize_with(index + 1, || None);
        }
        self.tenants[index].get_or_insert_default()
    }

    fn tenants(&self) -> impl Iterator<Item = (TenantId, &TenantQueues)> {
        let tenants = (1..).map(TenantId).zip(&self.tenants);
        tenants.filter_map(|(id, tenant)| Some((id, tenant.as_deref()?)))
    }

    fn take(
        &mut self,
        eligible: &ClassSet,
        max: u32,
        fit: impl Fn(ClassId) -> u32,
        works: &Works,
        tenants: &Tenants,
    ) -> Option<(ClassId, Run)> {
        // Each round a tenant is either passed over (it has nothing for this worker), paid its quantum, or
        // served; a tenant that was paid is served when its turn comes again.
        let mut passed_over = 0;
        while passed_over < self.ring.len() {
            let id = *self.ring.front()?;
            let tenant = self.tenants[id.index() - 1]
                .as_deref_mut()
                .expect("the ring holds known tenants");
            if tenant.by_class.is_empty() {
                tenant.in_ring = false;
                tenant.deficit = 0;
                self.ring.pop_front();
                continue;
            }
            let Some(oldest) = tenant.oldest(eligible, works) else {
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
            let queue = &mut tenant.queues[oldest];
            let class = queue.class;
            let max = u64::from(max.min(fit(class))).min(tenant.deficit.unsigned_abs());
            let run = queue.take_run(u32::try_from(max).expect("bounded by max"), works);
            tenant.deficit -= i64::from(run.len);
            self.len -= u64::from(run.len);
            if queue.len == 0 {
                tenant.remove(class);
            }
            return Some((class, run));
        }
        None
    }
}

impl TenantQueues {
    fn queue(&self, class: ClassId) -> Option<&Queue> {
        Some(&self.queues[*self.by_class.get(&class)? as usize])
    }

    /// Queues with works, by class.
    fn queues(&self) -> impl Iterator<Item = &Queue> {
        self.by_class.values().map(|index| &self.queues[*index as usize])
    }

    fn push(&mut self, class: ClassId, run: Run, end: End) {
        let index = self.by_class.get(&class).copied();
        let index = index.unwrap_or_else(|| self.add(class));
        let queue = &mut self.queues[index as usize];
        match end {
            End::Front => queue.runs.push_front(run),
            End::Back => queue.runs.push_back(run),
        }
        let emptied = queue.len == 0;
        queue.len += u64::from(run.len);
        if emptied || end == End::Front {
            self.list(index);
        }
    }

    /// A queue for a class that has none.
    fn add(&mut self, class: ClassId) -> u32 {
        let queue = Queue {
            class,
            runs: VecDeque::new(),
            head: WorkId(0),
            len: 0,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.queues[index as usize] = queue;
                index
            }
            None => {
                self.queues.push(queue);
                u32::try_from(self.queues.len() - 1).expect("classes are bounded")
            }
        };
        self.by_class.insert(class, index);
        self.ready.insert(class);
        index
    }

    /// Lists the queue under what is its first run now.
    fn list(&mut self, index: u32) {
        let queue = &mut self.queues[index as usize];
        let listed = |work| Head {
            work,
            class: queue.class,
            queue: index,
        };
        self.heads.remove(&listed(queue.head));
        queue.head = queue.runs.front().map_or(WorkId(0), |run| run.first);
        self.heads.insert(listed(queue.head));
    }

    fn remove_span(&mut self, class: ClassId, span: Run) {
        let Some(index) = self.by_class.get(&class).copied() else {
            return;
        };
        let end = span.first.offset(span.len);
        let outside = |run: &Run| run.first < span.first || run.first >= end;
        self.queues[index as usize].runs.retain(outside);
        self.list(index);
    }

    /// The queue, among those of classes that the worker may run, whose first work is the oldest. A queue may be
    /// listed under a work that it has lost meanwhile, but never under a younger one than its first: so the list is
    /// put right on the way.
    fn oldest(&mut self, eligible: &ClassSet, works: &Works) -> Option<usize> {
        if self.heads.len() == 1 {
            let only = self.heads.first().filter(|head| eligible.contains(head.class))?;
            self.queues[only.queue as usize].first(works);
            return Some(only.queue as usize);
        }
        loop {
            let mut able = self.heads.iter().filter(|head| eligible.contains(head.class));
            let listed = *able.next()?;
            let rival = able.next().map(|head| head.work);
            let queue = &mut self.queues[listed.queue as usize];
            let work = queue.first(works);
            if rival.is_none_or(|rival| work <= rival) {
                return Some(listed.queue as usize);
            }
            queue.head = work;
            self.heads.remove(&listed);
            self.heads.insert(Head { work, ..listed });
        }
    }

    fn shrink(&mut self, class: ClassId, count: u64) {
        let index = *self.by_class.get(&class).expect("works waited here");
        let queue = &mut self.queues[index as usize];
        queue.len -= count;
        if queue.len == 0 {
            self.remove(class);
        }
    }

    /// Nothing waits in the class any more.
    fn remove(&mut self, class: ClassId) {
        let index = self.by_class.remove(&class).expect("works waited here");
        let queue = &mut self.queues[index as usize];
        queue.runs = VecDeque::new();
        self.heads.remove(&Head {
            work: queue.head,
            class,
            queue: index,
        });
        self.ready.remove(class);
        self.free.push(index);
    }
}

impl Queue {
    /// The works that wait at its beginning, at most `max` and of one bag.
    fn take_run(&mut self, max: u32, works: &Works) -> Run {
        let run = self.runs.front_mut().expect("a first work was found");
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
            self.runs.pop_front();
        }
        self.len -= u64::from(len);
        taken
    }

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
