//! Classes: sets of requirements, each kept once; and profiles: sets of offers, each kept once.
//!
//! Which workers may run which works is decided once per (class, profile), when either is first seen, and kept
//! as a bit. Choosing a work for a worker then looks at bits, however many works and workers there are.
//!
//! Workers that count more than slots are of one profile only while they have as much left of what they count: the bits
//! say then what fits now, and a worker that takes or ends a work changes its profile ([`Profile`] has the details).

use std::collections::{BTreeMap, BTreeSet};

use wire_protocol::ids::WorkerId;
use wire_protocol::joining::Address;
use wire_protocol::resources::{Demand, Meter};
use wire_protocol::template::{Offer, Requirements, WorkTemplate};

use super::profile::{Condition, Profile, ProfileId, Terms, TermsId};
use super::worker::WorkerSet;

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

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The classes in it, in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ClassId> {
        self.both(self)
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
    /// What each of them takes, where that is counted.
    pub(crate) demand: Demand,
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
            demand: Demand::of(template),
        }
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
            wallet,
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
        words.extend(wallet.iter().map(|wallet| format!("wallet:{wallet}")));
        let limits = [
            ("memory", self.demand.memory, memory),
            ("disk", self.demand.disk, disk),
        ];
        let limits = limits.iter().filter(|(_, taken, asked)| taken != *asked);
        words.extend(limits.map(|(name, taken, _)| format!("limit:{name}={taken}")));
        let mut text = words.join(" ");
        if text.len() > DESCRIPTION_BYTES_MAX {
            text.truncate(text.floor_char_boundary(DESCRIPTION_BYTES_MAX));
            text.push('…');
        }
        text
    }
}

/// All classes and profiles.
#[derive(Default)]
pub(crate) struct Classes {
    classes: Vec<Entry>,
    by_class: BTreeMap<Class, ClassId>,
    profiles: Vec<Profile>,
    free_profiles: Vec<ProfileId>,
    /// Profiles that some worker has.
    by_condition: BTreeMap<(TermsId, Condition), ProfileId>,
    terms: Vec<Terms>,
    free_terms: Vec<TermsId>,
    /// Terms that some profile has, by their offers as they are written down.
    by_offer: BTreeMap<Vec<u8>, TermsId>,
    /// Wallets that classes in use ask for, with the number of such classes.
    wanted: BTreeMap<Address, u32>,
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

    /// What the profile's workers offer, whatever they have left of it.
    pub(crate) fn terms(&self, profile: ProfileId) -> &Terms {
        &self.terms[self.profile(profile).terms.0 as usize]
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
        // Who has a slot and no room for anything does not starve.
        let profiles = self.starving.iter();
        let able = profiles.filter(|profile| !self.profile(**profile).eligible.is_empty());
        able.flat_map(|profile| self.profile(*profile).starving.iter().copied())
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
            let (id, entry) = (*id, &mut self.classes[id.0 as usize]);
            entry.bags += 1;
            if entry.bags == 1 {
                self.want(class.requirements.wallet);
            }
            return id;
        }
        self.want(class.requirements.wallet);
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
        for terms in &mut self.terms {
            match terms.unmet(&class) {
                None => terms.able.insert(id),
                Some(_) => terms.able.remove(id),
            }
        }
        for index in 0..self.profiles.len() {
            if self.is_eligible(&self.profiles[index], id) {
                self.profiles[index].eligible.insert(id);
            } else {
                self.profiles[index].eligible.remove(id);
            }
        }
        self.by_class.insert(class, id);
        id
    }

    /// One bag less has it.
    pub(crate) fn release(&mut self, class: ClassId) {
        let entry = &mut self.classes[class.0 as usize];
        entry.bags -= 1;
        if entry.bags > 0 {
            return;
        }
        if let Some(wallet) = entry.class.requirements.wallet {
            let wanted = self.wanted.get_mut(&wallet).expect("the class was in use");
            *wanted -= 1;
            if *wanted == 0 {
                self.wanted.remove(&wallet);
            }
        }
    }

    fn want(&mut self, wallet: Option<Address>) {
        if let Some(wallet) = wallet {
            *self.wanted.entry(wallet).or_default() += 1;
        }
    }

    /// Some class in use asks for this wallet.
    pub(crate) fn wants(&self, wallet: Address) -> bool {
        self.wanted.contains_key(&wallet)
    }

    /// Workers of the profile can run works of the class when they have nothing else to do.
    pub(crate) fn suits(&self, profile: ProfileId, class: ClassId) -> bool {
        self.is_suited(self.profile(profile), class)
    }

    fn is_suited(&self, profile: &Profile, class: ClassId) -> bool {
        let wallet = self.get(class).requirements.wallet;
        self.terms[profile.terms.0 as usize].able.contains(class)
            && (wallet.is_none() || wallet == profile.condition.wallet)
    }

    /// Workers of the profile may run works of the class now.
    fn is_eligible(&self, profile: &Profile, class: ClassId) -> bool {
        let demand = |class: ClassId| &self.get(class).demand;
        let Condition { room, reserved, .. } = &profile.condition;
        let meter = self.terms[profile.terms.0 as usize].meter.as_ref();
        self.is_suited(profile, class)
            && meter.is_none_or(|meter| {
                let held_for_others = reserved.is_some_and(|reserved| {
                    reserved != class && meter.compete(demand(reserved), demand(class))
                });
                !held_for_others && meter.fits(room, demand(class))
            })
    }

    /// The profile of a worker with this offer that has nothing to do; one more worker has it.
    pub(crate) fn join_profile(&mut self, offer: &Offer) -> ProfileId {
        let offer = Offer {
            slots: 0,
            prefill: 0,
            ..offer.clone()
        };
        let terms = self.terms_of(offer);
        let meter = self.terms[terms.0 as usize].meter.as_ref();
        let condition = Condition {
            room: meter.map(Meter::all).unwrap_or_default(),
            ..Condition::default()
        };
        self.enter(terms, condition)
    }

    /// The profile of a worker of this one that is in this condition now; the worker has it instead.
    pub(crate) fn change_profile(&mut self, profile: ProfileId, condition: Condition) -> ProfileId {
        let entered = self.enter(self.profile(profile).terms, condition);
        self.leave_profile(profile);
        entered
    }

    fn terms_of(&mut self, offer: Offer) -> TermsId {
        let mut bytes = Vec::new();
        wire_protocol::codec::put_control(&mut bytes, &offer);
        if let Some(id) = self.by_offer.get(&bytes) {
            return *id;
        }
        let mut terms = Terms {
            meter: Meter::of(&offer),
            offer,
            able: ClassSet::default(),
            profiles: 0,
        };
        for (index, entry) in self.classes.iter().enumerate() {
            if terms.unmet(&entry.class).is_none() {
                terms.able.insert(ClassId(index as u32));
            }
        }
        let id = place(&mut self.terms, self.free_terms.pop().map(|id| id.0), terms);
        self.by_offer.insert(bytes, TermsId(id));
        TermsId(id)
    }

    fn enter(&mut self, terms: TermsId, condition: Condition) -> ProfileId {
        let state = (terms, condition);
        if let Some(id) = self.by_condition.get(&state) {
            self.profiles[id.0 as usize].workers += 1;
            return *id;
        }
        let mut profile = Profile {
            terms,
            condition: state.1.clone(),
            eligible: ClassSet::default(),
            starving: WorkerSet::default(),
            roomy: WorkerSet::default(),
            workers: 1,
        };
        let able = &self.terms[terms.0 as usize].able;
        let mut eligible = ClassSet::default();
        for class in able.iter().filter(|class| self.is_eligible(&profile, *class)) {
            eligible.insert(class);
        }
        profile.eligible = eligible;
        self.terms[terms.0 as usize].profiles += 1;
        let free = self.free_profiles.pop().map(|id| id.0);
        let id = ProfileId(place(&mut self.profiles, free, profile));
        self.by_condition.insert(state, id);
        id
    }

    /// One worker less has it.
    pub(crate) fn leave_profile(&mut self, id: ProfileId) {
        let profile = &mut self.profiles[id.0 as usize];
        profile.workers -= 1;
        if profile.workers > 0 {
            return;
        }
        let terms = profile.terms;
        let state = (terms, std::mem::take(&mut profile.condition));
        self.by_condition.remove(&state);
        self.free_profiles.push(id);
        let entry = &mut self.terms[terms.0 as usize];
        entry.profiles -= 1;
        if entry.profiles == 0 {
            let mut bytes = Vec::new();
            wire_protocol::codec::put_control(&mut bytes, &entry.offer);
            self.by_offer.remove(&bytes);
            self.free_terms.push(terms);
        }
    }
}

/// Puts it into the free place, or behind the last, and says where.
fn place<T>(places: &mut Vec<T>, free: Option<u32>, value: T) -> u32 {
    match free {
        Some(index) => {
            places[index as usize] = value;
            index
        }
        None => {
            places.push(value);
            u32::try_from(places.len() - 1).expect("workers are bounded")
        }
    }
}
