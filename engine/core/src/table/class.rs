//! Classes: sets of requirements, each kept once; and profiles: sets of offers, each kept once.
//!
//! Which workers may run which works is decided once per (class, profile), when either is first seen, and kept
//! as a bit. Choosing a work for a worker then looks at bits, however many works and workers there are.

use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::template::{Offer, Requirements, Unmet, WorkTemplate};

use super::worker::WorkerSet;
use wire_protocol::ids::WorkerId;

/// Bytes of the description of a class: a thousand of them fit an answer.
const DESCRIPTION_BYTES_MAX: usize = 400;

/// Number of a class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ClassId(pub(crate) u32);

/// A set of classes.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct ClassSet(Vec<u64>);

impl ClassSet {
    #[inline]
    pub(crate) fn contains(&self, class: ClassId) -> bool {
        self.0
            .get(class.0 as usize / 64)
            .is_some_and(|word| word >> (class.0 % 64) & 1 == 1)
    }

    pub(crate) fn insert(&mut self, class: ClassId) {
        let word = class.0 as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (class.0 % 64);
    }

    pub(crate) fn remove(&mut self, class: ClassId) {
        if let Some(word) = self.0.get_mut(class.0 as usize / 64) {
            *word &= !(1 << (class.0 % 64));
        }
    }

    /// The classes in both sets, in order of their numbers.
    #[inline]
    pub(crate) fn both<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = ClassId> + 'a {
        self.0
            .iter()
            .zip(&other.0)
            .enumerate()
            .flat_map(|(index, (a, b))| {
                let mut word = a & b;
                std::iter::from_fn(move || {
                    if word == 0 {
                        return None;
                    }
                    let bit = word.trailing_zeros();
                    word &= word - 1;
                    Some(ClassId(index as u32 * 64 + bit))
                })
            })
    }
}

/// What works ask of a worker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Class {
    pub(crate) executor: String,
    pub(crate) requirements: Requirements,
}

impl Class {
    pub(crate) fn of(template: &WorkTemplate) -> Self {
        let mut requirements = template.requirements.clone();
        requirements.tags.sort();
        requirements.tags.dedup();
        requirements.custom.sort();
        Self {
            executor: template.executor().to_owned(),
            requirements,
        }
    }

    pub(crate) fn unmet(&self, offer: &Offer) -> Option<Unmet> {
        self.requirements.unmet(&self.executor, offer)
    }

    /// In words, cut where they are too many to read.
    pub(crate) fn describe(&self) -> String {
        let Requirements {
            os,
            arch,
            cores,
            memory,
            disk,
            gpus,
            tags,
            group,
            custom,
        } = &self.requirements;
        let mut words = vec![self.executor.clone()];
        words.extend(os.iter().chain(arch).cloned());
        let counts = [("cores", u64::from(*cores)), ("gpus", u64::from(*gpus))];
        words.extend(
            counts
                .iter()
                .filter(|(_, n)| *n > 0)
                .map(|(name, n)| format!("{name}≥{n}")),
        );
        let sizes = [("memory", memory), ("disk", disk)];
        words.extend(
            sizes
                .iter()
                .filter(|(_, n)| n.0 > 0)
                .map(|(name, n)| format!("{name}≥{n}")),
        );
        words.extend(tags.iter().map(|tag| format!("tag:{tag}")));
        words.extend(group.iter().map(|group| format!("group:{group}")));
        words.extend(custom.iter().map(|(name, n)| format!("{name}≥{n}")));
        let mut text = words.join(" ");
        if text.len() > DESCRIPTION_BYTES_MAX {
            text.truncate(text.floor_char_boundary(DESCRIPTION_BYTES_MAX));
            text.push('…');
        }
        text
    }
}

/// Number of a profile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ProfileId(pub(crate) u32);

/// Workers that offer the same, but for slots.
#[derive(Debug)]
pub(crate) struct Profile {
    /// What they offer; slots and prefill are zero here.
    pub(crate) offer: Offer,
    /// Classes whose works they may run.
    pub(crate) eligible: ClassSet,
    /// Those with a free slot.
    pub(crate) starving: WorkerSet,
    /// Those with room beyond their slots, or a free slot.
    pub(crate) roomy: WorkerSet,
    workers: u32,
}

impl Profile {
    /// The next roomy worker.
    pub(crate) fn roomy_behind(&self, worker: WorkerId) -> Option<WorkerId> {
        self.roomy.range(WorkerId(worker.0 + 1)..).next().copied()
    }
}

/// All classes and profiles.
#[derive(Default)]
pub(crate) struct Classes {
    classes: Vec<Entry>,
    by_class: BTreeMap<Class, ClassId>,
    profiles: Vec<Profile>,
    free_profiles: Vec<ProfileId>,
    /// Offers, as they are written down, of profiles that some worker has.
    by_offer: BTreeMap<Vec<u8>, ProfileId>,
    /// Profiles with starving workers, and with roomy ones.
    starving: BTreeSet<ProfileId>,
    roomy: BTreeSet<ProfileId>,
}

struct Entry {
    class: Class,
    bags: u32,
}

impl Classes {
    pub(crate) fn get(&self, class: ClassId) -> &Class {
        &self.classes[class.0 as usize].class
    }

    pub(crate) fn profile(&self, profile: ProfileId) -> &Profile {
        &self.profiles[profile.0 as usize]
    }

    /// Lists a worker of the profile as starving and as roomy, or no longer.
    pub(crate) fn list(&mut self, id: ProfileId, worker: WorkerId, (starving, roomy): (bool, bool)) {
        let profile = &mut self.profiles[id.0 as usize];
        for (workers, profiles, member) in [
            (&mut profile.starving, &mut self.starving, starving),
            (&mut profile.roomy, &mut self.roomy, roomy),
        ] {
            if member {
                workers.insert(worker);
                profiles.insert(id);
            } else {
                workers.remove(&worker);
                if workers.is_empty() {
                    profiles.remove(&id);
                }
            }
        }
    }

    /// The first profile from this one on that has starving workers who may run works of the class (any class,
    /// if none is given).
    pub(crate) fn starving_from(&self, from: ProfileId, class: Option<ClassId>) -> Option<ProfileId> {
        self.able_from(&self.starving, from, class)
    }

    /// As [`Self::starving_from`], with roomy workers.
    pub(crate) fn roomy_from(&self, from: ProfileId, class: Option<ClassId>) -> Option<ProfileId> {
        self.able_from(&self.roomy, from, class)
    }

    fn able_from(
        &self,
        profiles: &BTreeSet<ProfileId>,
        from: ProfileId,
        class: Option<ClassId>,
    ) -> Option<ProfileId> {
        let able = |id: &&ProfileId| class.is_none_or(|class| self.profile(**id).eligible.contains(class));
        profiles.range(from..).find(able).copied()
    }

    /// All starving workers, by profile.
    pub(crate) fn all_starving(&self) -> impl Iterator<Item = WorkerId> {
        let profiles = self.starving.iter();
        profiles.flat_map(|profile| self.profile(*profile).starving.iter().copied())
    }

    /// The class has a number, or there is room to give it one.
    pub(crate) fn has_room(&self, class: &Class, classes_max: usize) -> bool {
        self.by_class.contains_key(class)
            || self.classes.len() < classes_max
            || self.classes.iter().any(|entry| entry.bags == 0)
    }

    /// The class's number; one more bag has it. Numbers that no bag has are given again.
    pub(crate) fn intern(&mut self, class: Class, classes_max: usize) -> ClassId {
        if let Some(id) = self.by_class.get(&class) {
            self.classes[id.0 as usize].bags += 1;
            return *id;
        }
        let unused = if self.classes.len() < classes_max {
            None
        } else {
            self.classes.iter().position(|entry| entry.bags == 0)
        };
        let entry = Entry {
            class: class.clone(),
            bags: 1,
        };
        let index = match unused {
            Some(index) => {
                self.by_class.remove(&self.classes[index].class);
                self.classes[index] = entry;
                index
            }
            None => {
                self.classes.push(entry);
                self.classes.len() - 1
            }
        };
        let id = ClassId(u32::try_from(index).expect("classes are bounded"));
        for profile in &mut self.profiles {
            match class.unmet(&profile.offer) {
                None => profile.eligible.insert(id),
                Some(_) => profile.eligible.remove(id),
            }
        }
        self.by_class.insert(class, id);
        id
    }

    /// One bag less has it.
    pub(crate) fn release(&mut self, class: ClassId) {
        self.classes[class.0 as usize].bags -= 1;
    }

    /// The profile of a worker with this offer; one more worker has it.
    pub(crate) fn join_profile(&mut self, offer: &Offer) -> ProfileId {
        let offer = Offer {
            slots: 0,
            prefill: 0,
            ..offer.clone()
        };
        let mut bytes = Vec::new();
        wire_protocol::codec::put_control(&mut bytes, &offer);
        if let Some(id) = self.by_offer.get(&bytes) {
            self.profiles[id.0 as usize].workers += 1;
            return *id;
        }
        let mut eligible = ClassSet::default();
        for (index, entry) in self.classes.iter().enumerate() {
            if entry.class.unmet(&offer).is_none() {
                eligible.insert(ClassId(index as u32));
            }
        }
        let profile = Profile {
            offer,
            eligible,
            starving: WorkerSet::default(),
            roomy: WorkerSet::default(),
            workers: 1,
        };
        let id = match self.free_profiles.pop() {
            Some(id) => {
                self.profiles[id.0 as usize] = profile;
                id
            }
            None => {
                self.profiles.push(profile);
                ProfileId(self.profiles.len() as u32 - 1)
            }
        };
        self.by_offer.insert(bytes, id);
        id
    }

    /// One worker less has it.
    pub(crate) fn leave_profile(&mut self, profile: ProfileId) {
        let entry = &mut self.profiles[profile.0 as usize];
        entry.workers -= 1;
        if entry.workers == 0 {
            let mut bytes = Vec::new();
            wire_protocol::codec::put_control(&mut bytes, &entry.offer);
            self.by_offer.remove(&bytes);
            self.free_profiles.push(profile);
        }
    }
}
