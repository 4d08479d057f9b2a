//! What a disk that fills up means to a worker: which images go, and when it takes no work.
//!
//! ```text
//!  percent of the disk in use
//!    0 ────────────── low ────────────── high ────────────── full ── 100
//!                      │  images go until  │  images go        │  so full that the worker holds: a work that
//!                      └─ below low ◄──────┘                   │  writes would fail
//!                          takes work again below high ◄───────┘
//! ```
//!
//! Both have a gap between their beginning and their end, so that a disk that hovers about a mark does not make the worker
//! go to and fro. An image goes by when a work last used it, the one that was used longest ago first. One that runs, is
//! about to run or is kept by the operator's word never goes, and neither does one that no work has used: it is somebody
//! else's.
//!
//! Everything here is a function of what was seen; `watch` looks and acts.

use std::fmt;

/// Where on a disk what begins and ends, in percent of it in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    low: u8,
    high: u8,
    full: u8,
}

impl Default for Marks {
    /// Images go above 85 % until 70 %, and above 95 % the worker holds: Kubernetes' kubelet collects images between 85 %
    /// and 80 %; the wider gap has a pull of a large image not begin it anew at once.
    fn default() -> Self {
        Self {
            low: 70,
            high: 85,
            full: 95,
        }
    }
}

impl Marks {
    /// `None`: they do not rise from `low` (at most as much as `high`) over `high` to `full`, at most 100.
    #[must_use]
    pub fn new(low: u8, high: u8, full: u8) -> Option<Self> {
        (low <= high && high <= full && full <= 100).then_some(Self { low, high, full })
    }
}

/// How much of a disk is in use, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Usage {
    pub(crate) used: u64,
    /// What is in use and what a worker may still use; what the file system reserves for root is not in it.
    pub(crate) total: u64,
}

impl Usage {
    /// In whole percent, rounded down; a disk of no size is full.
    pub(crate) fn percent(self) -> u8 {
        let percent = u128::from(self.used) * 100 / u128::from(self.total.max(1));
        if self.total == 0 {
            100
        } else {
            percent.min(100) as u8
        }
    }

    /// Bytes in use above a mark.
    fn above(self, mark: u8) -> u64 {
        let allowed = u128::from(self.total) * u128::from(mark) / 100;
        u64::try_from(u128::from(self.used).saturating_sub(allowed)).unwrap_or(u64::MAX)
    }
}

/// An image that works have used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Image {
    pub(crate) id: String,
    /// Bytes that it takes by itself, as Docker says; layers that it shares with others are in it.
    pub(crate) size: u64,
    /// When a work last used it, in seconds since 1970.
    pub(crate) used_s: u64,
    /// A container is of it, or a work is about to make one.
    pub(crate) in_use: bool,
    /// The operator wants it kept.
    pub(crate) kept: bool,
}

/// Which of `images` are to go so that the disk is below `mark`, first those that were used longest ago. As many as it
/// takes by their sizes, or all that may go; whoever removes them looks at the disk after each, because layers that images
/// share make their sizes a guess. A use in the future, of a clock that was set back, counts as one of now.
pub(crate) fn to_remove(usage: Usage, mark: u8, images: &[Image], now_s: u64) -> Vec<&Image> {
    let mut free: Vec<&Image> = images
        .iter()
        .filter(|image| !image.in_use && !image.kept)
        .collect();
    free.sort_by_key(|image| (image.used_s.min(now_s), &image.id));
    let mut above = usage.above(mark);
    free.into_iter()
        .take_while(|image| {
            let goes = above > 0;
            above = above.saturating_sub(image.size.max(1));
            goes
        })
        .collect()
}

/// What a worker does about its disks, from one look to the next.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) marks: Marks,
    collecting: bool,
    holding: bool,
}

/// A disk and what is on it, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) what: String,
    pub(crate) usage: Usage,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the disk of {} is {} % full", self.what, self.usage.percent())
    }
}

impl Keeper {
    pub(crate) fn new(marks: Marks) -> Self {
        Self {
            marks,
            collecting: false,
            holding: false,
        }
    }

    /// Down to which mark images are to go, given the disk that they are on.
    pub(crate) fn collects(&mut self, usage: Usage) -> Option<u8> {
        let Marks { low, high, .. } = self.marks;
        self.collecting = usage.above(if self.collecting { low } else { high }) > 0;
        self.collecting.then_some(low)
    }

    /// Why the worker takes no work, given its disks after images have gone. `None`: it takes work.
    pub(crate) fn holds(&mut self, places: &[Place]) -> Option<String> {
        let Marks { high, full, .. } = self.marks;
        let mark = if self.holding { high } else { full };
        let worst = places
            .iter()
            .filter(|place| place.usage.percent() >= mark)
            .max_by_key(|place| place.usage.percent());
        self.holding = worst.is_some();
        worst.map(|place| format!("{place}; free some space there, works come again below {high} %"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn percent(used: u64) -> Usage {
        Usage { used, total: 100 }
    }

    fn place(used: u64) -> Place {
        Place {
            what: "/w (its folder)".to_owned(),
            usage: percent(used),
        }
    }

    fn image() -> impl Strategy<Value = Image> {
        (
            0..40_u32,
            0..200_u64,
            0..50_u64,
            prop::bool::weighted(0.2),
            prop::bool::weighted(0.1),
        )
            .prop_map(|(id, size, used_s, in_use, kept)| Image {
                id: id.to_string(),
                size: size * MIB,
                used_s,
                in_use,
                kept,
            })
    }

    proptest! {
        #[test]
        fn what_goes_is_free_oldest_first_enough_and_not_more(
            images in prop::collection::vec(image(), 0..30),
            used in 0..6_000_u64,
            total in 1..6_000_u64,
            mark in 0..=100_u8,
            now_s in 0..60_u64,
        ) {
            let usage = Usage { used: used * MIB, total: total * MIB };
            let gone = to_remove(usage, mark, &images, now_s);
            prop_assert!(gone.iter().all(|image| !image.in_use && !image.kept));
            let age = |image: &Image| image.used_s.min(now_s);
            prop_assert!(gone.is_sorted_by_key(|image| age(image)));
            let stays = images.iter().filter(|image| !image.in_use && !image.kept && !gone.contains(image));
            let newest_gone = gone.iter().map(|image| age(image)).max();
            let oldest_left = stays.map(age).min();
            if let Some((gone, left)) = newest_gone.zip(oldest_left) {
                prop_assert!(gone <= left, "one of {left} stays and one of {gone} goes");
            }
            // Without the last of them it would not be enough; with all it is, or nothing else may go.
            let sum = |images: &[&Image]| images.iter().map(|image| image.size.max(1)).sum::<u64>();
            if let Some((_, others)) = gone.split_last() {
                prop_assert!(sum(others) < usage.above(mark));
            } else {
                prop_assert!(usage.above(mark) == 0 || oldest_left.is_none());
            }
            prop_assert!(sum(&gone) >= usage.above(mark) || oldest_left.is_none());
        }

        #[test]
        fn a_disk_that_hovers_does_not_make_the_worker_go_to_and_fro(looks in prop::collection::vec(0..=100_u64, 1..50)) {
            let mut keeper = Keeper::new(Marks::default());
            let (mut holds, mut collects) = (false, false);
            for used in looks {
                let now_collects = keeper.collects(percent(used)).is_some();
                prop_assert_eq!(now_collects, used > 85 || collects && used > 70, "at {}", used);
                let now_holds = keeper.holds(&[place(used)]).is_some();
                prop_assert_eq!(now_holds, used >= 95 || holds && used >= 85, "at {}", used);
                (holds, collects) = (now_holds, now_collects);
            }
        }
    }

    #[test]
    fn the_reason_names_the_fullest_disk_how_full_it_is_and_the_cure() {
        let mut keeper = Keeper::new(Marks::default());
        let mut images = place(97);
        images.what = "/var/lib/docker (images)".to_owned();
        let problem = keeper.holds(&[place(95), images]).expect("it is full");
        assert_eq!(
            problem,
            "the disk of /var/lib/docker (images) is 97 % full; free some space there, works come again below 85 %"
        );
        assert_eq!(keeper.holds(&[place(84)]), None);
    }

    #[test]
    fn marks_rise() {
        assert!(Marks::new(70, 85, 95).is_some() && Marks::new(80, 80, 80).is_some());
        for (low, high, full) in [(86, 85, 95), (70, 96, 95), (70, 85, 101)] {
            assert_eq!(Marks::new(low, high, full), None);
        }
    }

    #[test]
    fn percents_are_those_of_df() {
        assert_eq!(Usage { used: 1, total: 3 }.percent(), 33);
        assert_eq!(Usage { used: 0, total: 0 }.percent(), 100);
        assert_eq!(
            Usage {
                used: u64::MAX,
                total: u64::MAX
            }
            .percent(),
            100
        );
    }
}
