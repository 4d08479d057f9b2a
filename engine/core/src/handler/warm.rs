//! Warm workers: of several that could take a work, one that has its image and its files goes first.
//!
//! Each worker has a short list of keys ([`wire_protocol::warm`]): what it presented when it joined, and what it succeeded
//! with since. The list decides who is asked first when works become ready, and nothing else: works do not wait for a warm
//! worker, and a worker that becomes free takes the oldest work, whatever it has. Works that need neither image nor files
//! know nothing of it.

use wire_protocol::ids::{BagId, WorkerId};
use wire_protocol::limits::WARM_KEYS_MAX;

use crate::effect::Effects;
use crate::scheduler::Scheduler;
use crate::table::bag::Bag;
use crate::table::worker::Worker;

/// Workers that are asked first, at most: a set of equals needs no order among thousands.
const WARM_WORKERS_MAX: usize = 64;

/// Workers that have something of what is needed and are looked at whether they are free, at most.
const WARM_SCANNED_MAX: usize = 1_024;

impl Scheduler {
    /// The worker has these; the first is the one used last.
    pub(crate) fn add_warm(&mut self, id: WorkerId, keys: &[u64]) {
        let worker = self.workers.get_mut(id).expect("a known worker");
        let warm = &mut worker.about.warm;
        for key in keys.iter().rev() {
            if let Some(at) = warm.iter().position(|known| known == key) {
                warm.remove(at);
            } else {
                self.warm.entry(*key).or_default().insert(id);
            }
            warm.push(*key);
        }
        let over: Vec<u64> = warm.drain(..warm.len().saturating_sub(WARM_KEYS_MAX)).collect();
        self.forget_warm(id, &over);
    }

    /// The worker has used what works of the bag, by its number here, need.
    pub(crate) fn used(&mut self, id: WorkerId, bag: u32) {
        let keys = &self.bags.of_work(bag).keys;
        let known = &self.workers.get(id).expect("a known worker").about.warm;
        // Mostly it has used them last.
        if !known.iter().rev().take(keys.len()).eq(keys.iter()) {
            let keys = keys.clone();
            self.add_warm(id, &keys);
        }
    }

    pub(crate) fn forget_warm(&mut self, id: WorkerId, keys: &[u64]) {
        for key in keys {
            if let Some(workers) = self.warm.get_mut(key) {
                workers.remove(&id);
                if workers.is_empty() {
                    self.warm.remove(key);
                }
            }
        }
    }

    /// Those who have what works of the bag need are asked first.
    pub(super) fn dispatch_warm(&mut self, bag: BagId, effects: &mut Effects) {
        let bag = self.bags.get(bag).expect("the caller looked it up");
        if bag.keys.is_empty() || self.pause().is_some() {
            return;
        }
        let mut workers: Vec<(usize, WorkerId)> = bag
            .keys
            .iter()
            .filter_map(|key| self.warm.get(key))
            .flat_map(|workers| {
                let workers = workers.iter().take(WARM_SCANNED_MAX);
                workers
                    .filter_map(|id| self.workers.get(*id))
                    .filter(|worker| worker.listed.0)
                    .filter(|worker| self.classes.profile(worker.profile).eligible.contains(bag.class))
                    .take(WARM_WORKERS_MAX)
            })
            .map(|worker| (has(worker, bag), worker.id))
            .collect();
        workers.sort_unstable_by_key(|(has, id)| (std::cmp::Reverse(*has), *id));
        workers.dedup();
        let class = bag.class;
        for (_, id) in workers.into_iter().take(WARM_WORKERS_MAX) {
            if !self.ready.waits(Some(class)) {
                break;
            }
            self.fill_slots(id, effects);
        }
    }

    /// What the worker has already of what works of the bag need, for people; `None`: nothing.
    pub(crate) fn describe_warm(&self, worker: &Worker, bag: &Bag) -> Option<String> {
        let (has, all) = (has(worker, bag), bag.keys.len());
        if has == 0 {
            return None;
        }
        let template = &self.templates.get(bag.template).definition;
        let name = &worker.about.name;
        let has_image = template
            .app
            .strip_prefix("docker:")
            .map(wire_protocol::warm::image);
        Some(
            match has_image.is_some_and(|image| worker.about.warm.contains(&image)) {
                true if all == 1 => format!("{name} has the image already"),
                true => format!(
                    "{name} has the image and {} of {} files already",
                    has - 1,
                    all - 1
                ),
                false => format!("{name} has {has} of {all} of what it needs already"),
            },
        )
    }
}

/// How many of the things that works of the bag need the worker has.
fn has(worker: &Worker, bag: &Bag) -> usize {
    let has = |key: &&u64| worker.about.warm.contains(key);
    bag.keys.iter().filter(has).count()
}
