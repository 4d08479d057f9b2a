//! What of a worker is counted, and how much of it a work takes.
//!
//! Requirements say which workers *can* run a work; this says how many of its kind fit *at once*. Two things are always
//! counted, because two works cannot have the same one: GPUs, and the custom counters that a worker's operator names. A
//! worker that packs ([`Packing::Resources`]) also counts cores, memory and disk.
//!
//! ```text
//!  Demand ── of a template: what one work takes     Meter ── of an offer: what is counted, and how much there is
//!                          \                       /
//!                           Room: what is left of it
//! ```
//!
//! Engine and worker keep a [`Room`] each, by the same arithmetic: the engine of what it has given, the worker of what runs.
//! Nothing here measures what a work really uses; that is what limits are for.

use core::fmt;
use serde::{Deserialize, Serialize};

use crate::template::{Offer, Unmet, WorkTemplate};
use crate::units::Bytes;

/// What decides how many works run at once on a worker.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Packing {
    /// Its slots: one work each, whatever it asks for.
    #[default]
    Slots,
    /// Its cores, memory and disk, which works share as they ask for them; slots are only the most works at once.
    Resources,
}

/// What one work takes of what a worker counts.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Demand {
    /// Cores; a work that names none takes one.
    pub cores: u32,
    /// Memory; of a work that asks for none, its limit; zero: it takes none.
    pub memory: Bytes,
    /// Disk; of a work that asks for none, its limit; zero: it takes none.
    pub disk: Bytes,
    /// Graphics processors.
    pub gpus: u32,
    /// Custom counters, by name.
    pub custom: Vec<(String, u64)>,
}

impl Demand {
    /// Of each work of this template.
    #[must_use]
    pub fn of(template: &WorkTemplate) -> Self {
        let (asked, limits) = (&template.requirements, &template.limits);
        let or = |asked: Bytes, limit: Bytes| if asked.0 > 0 { asked } else { limit };
        let mut custom = asked.custom.clone();
        custom.retain(|(_, amount)| *amount > 0);
        custom.sort();
        Self {
            cores: asked.cores.max(1),
            memory: or(asked.memory, limits.memory),
            disk: or(asked.disk, limits.disk),
            gpus: asked.gpus,
            custom,
        }
    }
}

/// What a worker counts, and how much it has of each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meter(Vec<(Counter, u64)>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Counter {
    Cores,
    Memory,
    Disk,
    Gpus,
    Custom(String),
}

/// What is left of each, in the order of the [`Meter`] that it belongs to. Below zero where a worker has more works than it
/// offers room for, because it offers less than when it took them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Room(Box<[i128]>);

/// What a work needs more of than there is left.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Short {
    counter: Counter,
    free: i128,
    all: u64,
    needs: u64,
}

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            counter,
            free,
            all,
            needs,
        } = self;
        let free = u64::try_from(*free).unwrap_or(0);
        let [free, all, needs] = [free, *all, *needs].map(|amount| counter.amount(amount));
        write!(f, "free {free} of {all} {}, needs {needs}", counter.name())
    }
}

impl Counter {
    fn name(&self) -> &str {
        match self {
            Self::Cores => "cores",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Gpus => "gpus",
            Self::Custom(name) => name,
        }
    }

    fn amount(&self, amount: u64) -> String {
        match self {
            Self::Memory | Self::Disk => Bytes(amount).to_string(),
            Self::Cores | Self::Gpus | Self::Custom(_) => amount.to_string(),
        }
    }

    fn of(&self, demand: &Demand) -> u64 {
        match self {
            Self::Cores => u64::from(demand.cores),
            Self::Memory => demand.memory.0,
            Self::Disk => demand.disk.0,
            Self::Gpus => u64::from(demand.gpus),
            Self::Custom(name) => demand
                .custom
                .iter()
                .find(|(asked, _)| asked == name)
                .map_or(0, |(_, amount)| *amount),
        }
    }
}

impl Meter {
    /// Of a worker with this offer. `None`: nothing is counted there but slots. Of a counter that is named twice the first
    /// counts; a worker that packs has at least one core.
    #[must_use]
    pub fn of(offer: &Offer) -> Option<Self> {
        let mut counters = Vec::new();
        if offer.packing == Packing::Resources {
            counters.push((Counter::Cores, u64::from(offer.cores.max(1))));
            counters.push((Counter::Memory, offer.memory.0));
            counters.push((Counter::Disk, offer.disk.0));
        }
        if offer.gpus > 0 {
            counters.push((Counter::Gpus, u64::from(offer.gpus)));
        }
        for (index, (name, amount)) in offer.custom.iter().enumerate() {
            if offer.custom[..index].iter().all(|(other, _)| other != name) {
                counters.push((Counter::Custom(name.clone()), *amount));
            }
        }
        (!counters.is_empty()).then_some(Self(counters))
    }

    /// All of it.
    #[must_use]
    pub fn all(&self) -> Room {
        Room(self.0.iter().map(|(_, all)| i128::from(*all)).collect())
    }

    fn amounts(&self, demand: &Demand) -> impl Iterator<Item = i128> {
        self.0.iter().map(|(counter, _)| i128::from(counter.of(demand)))
    }

    /// How many works of this demand fit into the room; `u32::MAX` where they take nothing of what is counted.
    #[must_use]
    pub fn fit(&self, room: &Room, demand: &Demand) -> u32 {
        let counted = room
            .0
            .iter()
            .zip(self.amounts(demand))
            .filter(|(_, amount)| *amount > 0);
        let fit = counted.map(|(free, amount)| (*free).max(0) / amount).min();
        fit.map_or(u32::MAX, |fit| u32::try_from(fit).unwrap_or(u32::MAX))
    }

    /// One more work of this demand fits into the room.
    #[must_use]
    pub fn fits(&self, room: &Room, demand: &Demand) -> bool {
        let mut free = room.0.iter().zip(self.amounts(demand));
        free.all(|(free, amount)| amount == 0 || amount <= *free)
    }

    /// A work takes its part of the room, also where there is less.
    pub fn take(&self, room: &mut Room, demand: &Demand) {
        let free = room.0.iter_mut().zip(self.amounts(demand));
        free.for_each(|(free, amount)| *free -= amount);
    }

    /// A work gives its part back.
    pub fn give_back(&self, room: &mut Room, demand: &Demand) {
        let free = room.0.iter_mut().zip(self.amounts(demand));
        free.for_each(|(free, amount)| *free += amount);
    }

    /// What a work lacks that does not fit into the room. `None`: it fits.
    #[must_use]
    pub fn short(&self, room: &Room, demand: &Demand) -> Option<Short> {
        self.0.iter().zip(&room.0).find_map(|((counter, all), free)| {
            let needs = counter.of(demand);
            (needs > 0 && i128::from(needs) > *free).then(|| Short {
                counter: counter.clone(),
                free: *free,
                all: *all,
                needs,
            })
        })
    }

    /// Whether both take of the same counter.
    #[must_use]
    pub fn compete(&self, one: &Demand, other: &Demand) -> bool {
        let amounts = self.amounts(one).zip(self.amounts(other));
        amounts.into_iter().any(|(one, other)| one > 0 && other > 0)
    }
}

impl Meter {
    /// What is left, for people: `free 1 of 2 licence, 0 of 1 gpus`.
    #[must_use]
    pub fn describe(&self, room: &Room) -> String {
        let left = self.0.iter().zip(&room.0).map(|((counter, all), free)| {
            let free = u64::try_from(*free).unwrap_or(0);
            let (free, all) = (counter.amount(free), counter.amount(*all));
            format!("{free} of {all} {}", counter.name())
        });
        format!("free {}", left.collect::<Vec<_>>().join(", "))
    }

    /// What of this demand is not there even when nothing else is done.
    #[must_use]
    pub fn unmet(&self, demand: &Demand) -> Option<Unmet> {
        let short = self.short(&self.all(), demand)?;
        Some(Unmet {
            what: short.counter.name().to_owned(),
            asked: short.counter.amount(short.needs),
            offered: short.counter.amount(short.all),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::{Limits, Requirements};

    fn template(requirements: Requirements, limits: Limits) -> WorkTemplate {
        WorkTemplate {
            app: "null".to_owned(),
            requirements,
            limits,
            ..WorkTemplate::default()
        }
    }

    fn packing() -> Offer {
        Offer {
            executors: vec!["null".to_owned()],
            cores: 8,
            memory: Bytes::from_mib(1_000),
            disk: Bytes::from_mib(100),
            packing: Packing::Resources,
            ..Offer::default()
        }
    }

    #[test]
    fn a_worker_that_offers_slots_alone_counts_nothing_else() {
        let offer = Offer {
            packing: Packing::Slots,
            ..packing()
        };
        assert_eq!(Meter::of(&offer), None);
    }

    #[test]
    fn what_a_work_does_not_ask_for_is_its_limit_and_a_core() {
        let limits = Limits {
            memory: Bytes::from_mib(300),
            ..Limits::default()
        };
        let demand = Demand::of(&template(Requirements::default(), limits));
        assert_eq!(
            (demand.cores, demand.memory, demand.disk),
            (1, Bytes::from_mib(300), Bytes(0))
        );
        let meter = Meter::of(&packing()).unwrap();
        assert_eq!(meter.fit(&meter.all(), &demand), 3, "memory bounds it");
        let asked = Requirements {
            memory: Bytes::from_mib(500),
            ..Requirements::default()
        };
        let demand = Demand::of(&template(asked, limits));
        assert_eq!(meter.fit(&meter.all(), &demand), 2, "what it asks for goes first");
    }

    #[test]
    fn room_is_taken_and_given_back_and_may_fall_below_zero() {
        let offer = Offer {
            custom: vec![
                ("licence".to_owned(), 2),
                ("seat".to_owned(), 9),
                ("licence".to_owned(), 7),
            ],
            ..Offer::default()
        };
        let meter = Meter::of(&offer).unwrap();
        let demand = Demand {
            custom: vec![("licence".to_owned(), 2)],
            ..Demand::default()
        };
        let mut room = meter.all();
        assert_eq!(meter.short(&room, &demand), None);
        meter.take(&mut room, &demand);
        let short = meter.short(&room, &demand).unwrap();
        assert_eq!(short.to_string(), "free 0 of 2 licence, needs 2");
        meter.take(&mut room, &demand);
        assert_eq!(meter.fit(&room, &demand), 0);
        assert_eq!(meter.fit(&room, &Demand::default()), u32::MAX, "it takes nothing");
        assert_eq!(meter.describe(&room), "free 0 of 2 licence, 9 of 9 seat");
        meter.give_back(&mut room, &demand);
        meter.give_back(&mut room, &demand);
        assert_eq!(room, meter.all());
    }

    #[test]
    fn a_limit_beyond_what_a_packing_worker_has_is_unmet() {
        let limits = Limits {
            memory: Bytes::from_mib(2_000),
            ..Limits::default()
        };
        let demand = Demand::of(&template(Requirements::default(), limits));
        let unmet = Meter::of(&packing()).unwrap().unmet(&demand).unwrap();
        assert_eq!(
            (unmet.what.as_str(), unmet.offered.as_str()),
            ("memory", "1000.0 MiB")
        );
    }
}
