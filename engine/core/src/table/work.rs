//! Works: 32 bytes each, in pages that are indexed by id.
//!
//! The rows of a bag have consecutive ids, so a work needs neither its own id nor its row. Pages go when all of
//! their works are forgotten.

use std::collections::VecDeque;

use wire_protocol::ids::{Attempt, Epoch, Lsn, WorkId, WorkerId};
use wire_protocol::outcome::Reason;

use crate::state::{Phase, WorkEvent};

/// What the scheduler knows of one work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    /// Done: the record that says so.
    pub(crate) lsn: Lsn,
    /// The low half of its bag's id, see [`super::bag::Bags`].
    pub(crate) bag: u32,
    /// Held: by whom. Otherwise: by whom last.
    pub(crate) worker: WorkerId,
    /// Held: its place in the worker's list.
    pub(crate) held_at: u32,
    /// The engine's epoch when its last lease was given.
    pub(crate) epoch: Epoch,
    /// The last attempt.
    pub(crate) attempt: Attempt,
    /// Attempts that count against its budget.
    pub(crate) spent: u16,
    pub(crate) phase: Phase,
    /// Why its last attempt ended, or why it did.
    pub(crate) reason: Reason,
    /// Workers that were lost while it ran there.
    pub(crate) kills: u8,
}

const _: () = assert!(size_of::<Work>() <= 32, "a million works are to fit into 32 MB");

impl Work {
    const VOID: Self = Self {
        lsn: Lsn(0),
        bag: 0,
        worker: WorkerId(0),
        held_at: 0,
        epoch: Epoch(0),
        attempt: Attempt(0),
        spent: 0,
        phase: Phase::Void,
        reason: Reason::None,
        kills: 0,
    };

    /// Makes the transition. `false`: the event means nothing to a work in this phase, and nothing changed.
    pub(crate) fn advance(&mut self, event: WorkEvent) -> bool {
        let Some(next) = self.phase.next(event) else {
            return false;
        };
        self.phase = next;
        true
    }
}

const PAGE_LEN: u64 = 4096;

struct Page {
    works: Box<[Work]>,
    /// Works that are not void.
    known: u32,
}

/// All works that the scheduler remembers.
#[derive(Default)]
pub(crate) struct Works {
    pages: VecDeque<Option<Page>>,
    /// Number of the first page.
    base: u64,
    /// Pages that are there.
    live: usize,
    /// Pages that were given up, void all over: a pool that works as fast as works come in touches no new memory. No
    /// more than are live, so that an empty pool keeps none.
    spare: Vec<Box<[Work]>>,
}

/// Pages that wait for the next works: 8 MB, a quarter of a million works.
const SPARE_PAGES_MAX: usize = 64;

impl Works {
    #[inline]
    pub(crate) fn get(&self, id: WorkId) -> Option<&Work> {
        let page = (id.0 / PAGE_LEN).checked_sub(self.base)?;
        let page = self.pages.get(usize::try_from(page).ok()?)?.as_ref()?;
        Some(&page.works[(id.0 % PAGE_LEN) as usize]).filter(|work| work.phase != Phase::Void)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: WorkId) -> Option<&mut Work> {
        let page = (id.0 / PAGE_LEN).checked_sub(self.base)?;
        let page = self.pages.get_mut(usize::try_from(page).ok()?)?.as_mut()?;
        Some(&mut page.works[(id.0 % PAGE_LEN) as usize]).filter(|work| work.phase != Phase::Void)
    }

    /// The works from `first` on that lie on one page, at most `count`; void ones among them.
    #[inline]
    pub(crate) fn run(&self, first: WorkId, count: u32) -> &[Work] {
        let Some(page) = (first.0 / PAGE_LEN).checked_sub(self.base) else {
            return &[];
        };
        let Some(Some(page)) = usize::try_from(page).ok().and_then(|page| self.pages.get(page)) else {
            return &[];
        };
        let start = (first.0 % PAGE_LEN) as usize;
        let end = (start + count as usize).min(page.works.len());
        &page.works[start..end]
    }

    /// As [`Self::run`], to change them.
    #[inline]
    pub(crate) fn run_mut(&mut self, first: WorkId, count: u32) -> &mut [Work] {
        let Some(page) = (first.0 / PAGE_LEN).checked_sub(self.base) else {
            return &mut [];
        };
        let Some(Some(page)) = usize::try_from(page)
            .ok()
            .and_then(|page| self.pages.get_mut(page))
        else {
            return &mut [];
        };
        let start = (first.0 % PAGE_LEN) as usize;
        let end = (start + count as usize).min(page.works.len());
        &mut page.works[start..end]
    }

    /// Makes `count` works from `first` on known, queued, as rows of the bag.
    ///
    /// # Panics
    /// If one of them is known already: the caller accepts each row once.
    pub(crate) fn accept(&mut self, first: WorkId, count: u32, bag: u32) {
        let mut id = first;
        let end = first.offset(count);
        while id < end {
            let number = id.0 / PAGE_LEN;
            if self.pages.is_empty() {
                self.base = number;
            }
            while number < self.base {
                self.pages.push_front(None);
                self.base -= 1;
            }
            let index = usize::try_from(number - self.base).expect("pages in memory");
            while self.pages.len() <= index {
                self.pages.push_back(None);
            }
            let (live, spare) = (&mut self.live, &mut self.spare);
            let page = self.pages[index].get_or_insert_with(|| {
                *live += 1;
                let void = || vec![Work::VOID; PAGE_LEN as usize].into_boxed_slice();
                Page {
                    works: spare.pop().unwrap_or_else(void),
                    known: 0,
                }
            });
            let start = (id.0 % PAGE_LEN) as usize;
            let stop = (end.0 - number * PAGE_LEN).min(PAGE_LEN) as usize;
            for work in &mut page.works[start..stop] {
                work.bag = bag;
                assert!(work.advance(WorkEvent::Accepted), "work {id} is accepted twice");
            }
            page.known += (stop - start) as u32;
            id = WorkId(number * PAGE_LEN + stop as u64);
        }
    }

    /// Forgets `count` works from `first` on.
    pub(crate) fn forget(&mut self, first: WorkId, count: u32) {
        let mut id = first;
        let end = first.offset(count);
        while id < end {
            let number = id.0 / PAGE_LEN;
            let stop = end.min(WorkId((number + 1) * PAGE_LEN));
            let index = number
                .checked_sub(self.base)
                .and_then(|index| usize::try_from(index).ok());
            if let Some(slot) = index.and_then(|index| self.pages.get_mut(index))
                && let Some(page) = slot
            {
                let start = (id.0 % PAGE_LEN) as usize;
                for work in &mut page.works[start..start + (stop.0 - id.0) as usize] {
                    page.known -= u32::from(work.phase != Phase::Void);
                    *work = Work::VOID;
                }
                if page.known == 0
                    && let Some(page) = slot.take()
                {
                    self.live -= 1;
                    self.spare.push(page.works);
                    self.spare.truncate(self.live.min(SPARE_PAGES_MAX));
                }
            }
            id = stop;
        }
        while let Some(None) = self.pages.front() {
            self.pages.pop_front();
            self.base += 1;
        }
    }
}
