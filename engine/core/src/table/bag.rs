//! Bags: what works that were submitted together have in common.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wire_protocol::client_link::{IdempotencyKey, RequestId};
use wire_protocol::ids::{BagId, Epoch, LinkId, Lsn, TenantId, WorkId};
use wire_protocol::outcome::Outcome;
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::Instant;
use wire_protocol::view::Tally;

use super::class::ClassId;
use super::rows::RowStore;
use crate::state::Phase;

/// One submission.
#[derive(Debug)]
pub(crate) struct Bag {
    pub(crate) id: BagId,
    /// The record that opened it: results of its works are not older.
    pub(crate) lsn: Lsn,
    /// The engine's epoch when it was opened: a lease from before cannot be for its works.
    pub(crate) epoch: Epoch,
    pub(crate) first: WorkId,
    pub(crate) rows_total: u32,
    pub(crate) tenant: TenantId,
    pub(crate) key: IdempotencyKey,
    pub(crate) class: ClassId,
    pub(crate) template: TemplateRef,
    pub(crate) priority: Priority,
    pub(crate) opened: Instant,
    pub(crate) expires: Option<Instant>,
    /// It takes no more rows, although fewer than announced came: it was sealed, was cancelled or has expired.
    pub(crate) closed: bool,
    /// Done: when it is forgotten.
    pub(crate) forget_at: Instant,
    pub(crate) tally: Tally,
    /// Keys of the image and the files that all its works need; none for most bags.
    pub(crate) keys: Box<[u64]>,
    pub(crate) rows: RowStore,
    /// Its works as snapshots have them, once all have succeeded.
    pub(crate) image: OnceCell<Box<[u8]>>,
    pub(crate) followers: Vec<Follower>,
}

/// Who wants the outcomes of a bag's works.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Follower {
    pub(crate) link: LinkId,
    pub(crate) request: RequestId,
}

impl Bag {
    /// Rows accepted so far.
    pub(crate) fn accepted(&self) -> u32 {
        self.rows.len()
    }

    /// No row will come and no work is open.
    pub(crate) fn is_done(&self) -> bool {
        self.tally.done() == self.accepted() && (self.closed || self.accepted() == self.rows_total)
    }

    /// It is done and every work of it succeeded: nothing can change that any more.
    pub(crate) fn has_succeeded(&self) -> bool {
        self.is_done() && self.tally.succeeded == self.accepted()
    }

    pub(crate) fn open_works(&self) -> u32 {
        self.accepted() - self.tally.done()
    }

    /// Works that are not done, with those whose rows may still come.
    pub(crate) fn works_to_come(&self) -> u32 {
        self.works_total() - self.tally.done()
    }

    /// Works that it has or may still get.
    pub(crate) fn works_total(&self) -> u32 {
        if self.closed {
            self.accepted()
        } else {
            self.rows_total
        }
    }

    #[inline]
    pub(crate) fn row_of(&self, work: WorkId) -> u32 {
        u32::try_from(work.0 - self.first.0).expect("works of a bag are within its rows")
    }

    /// Moves one work from one column of the tally to another.
    pub(crate) fn count(&mut self, from: Phase, to: Phase) {
        *column(&mut self.tally, from) -= 1;
        *column(&mut self.tally, to) += 1;
    }
}

fn column(tally: &mut Tally, phase: Phase) -> &mut u32 {
    match phase.outcome() {
        Some(Outcome::Succeeded) => &mut tally.succeeded,
        Some(Outcome::Failed) => &mut tally.failed,
        Some(Outcome::Cancelled) => &mut tally.cancelled,
        Some(Outcome::Expired) => &mut tally.expired,
        None if phase.is_held() => &mut tally.leased,
        None => &mut tally.queued,
    }
}

/// All bags that are remembered, indexed by id.
#[derive(Default)]
pub(crate) struct Bags {
    bags: VecDeque<Option<Box<Bag>>>,
    /// Id of the first.
    base: u64,
    len: usize,
    by_key: BTreeMap<(TenantId, IdempotencyKey), BagId>,
}

impl Bags {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self, id: BagId) -> Option<&Bag> {
        self.bags
            .get(usize::try_from(id.0.checked_sub(self.base)?).ok()?)?
            .as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: BagId) -> Option<&mut Bag> {
        self.bags
            .get_mut(usize::try_from(id.0.checked_sub(self.base)?).ok()?)?
            .as_deref_mut()
    }

    /// The id whose low half a work carries: bags that are remembered at the same time span less than 2³² ids.
    #[inline]
    pub(crate) fn id_of(&self, low: u32) -> BagId {
        BagId(self.base + u64::from(low.wrapping_sub(self.base as u32)))
    }

    #[inline]
    pub(crate) fn of_work(&self, low: u32) -> &Bag {
        self.get(self.id_of(low)).expect("a known work has a known bag")
    }

    #[inline]
    pub(crate) fn of_work_mut(&mut self, low: u32) -> &mut Bag {
        let id = self.id_of(low);
        self.get_mut(id).expect("a known work has a known bag")
    }

    pub(crate) fn by_key(&self, tenant: TenantId, key: &IdempotencyKey) -> Option<BagId> {
        self.by_key.get(&(tenant, *key)).copied()
    }

    pub(crate) fn insert(&mut self, bag: Bag) {
        if self.bags.is_empty() {
            self.base = bag.id.0;
        }
        let index = usize::try_from(bag.id.0 - self.base).expect("ids of bags rise");
        while self.bags.len() <= index {
            self.bags.push_back(None);
        }
        if bag.key != [0; 16] {
            self.by_key.insert((bag.tenant, bag.key), bag.id);
        }
        self.bags[index] = Some(Box::new(bag));
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: BagId) -> Option<Box<Bag>> {
        let index = usize::try_from(id.0.checked_sub(self.base)?).ok()?;
        let bag = self.bags.get_mut(index)?.take()?;
        self.len -= 1;
        if self.by_key.get(&(bag.tenant, bag.key)) == Some(&id) {
            self.by_key.remove(&(bag.tenant, bag.key));
        }
        while let Some(None) = self.bags.front() {
            self.bags.pop_front();
            self.base += 1;
        }
        Some(bag)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bag> {
        self.bags.iter().flatten().map(|bag| &**bag)
    }

    pub(crate) fn iter_after(&self, after: BagId) -> impl Iterator<Item = &Bag> {
        self.iter_from(BagId(after.0.saturating_add(1)))
    }

    pub(crate) fn iter_from(&self, from: BagId) -> impl Iterator<Item = &Bag> {
        let skip = usize::try_from(from.0.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.bags
            .range(skip.min(self.bags.len())..)
            .flatten()
            .map(|bag| &**bag)
    }

    /// A bag from which on all have works behind this one; none before it has. Bags have rising works.
    pub(crate) fn reaching_behind(&self, work: WorkId) -> BagId {
        let (mut low, mut high) = (0, self.bags.len());
        while low < high {
            let middle = low.midpoint(high);
            let known = (middle..high).find_map(|index| Some((index, self.bags[index].as_deref()?)));
            match known {
                Some((index, bag)) if bag.first.offset(bag.rows_total).0 <= work.0.saturating_add(1) => {
                    low = index + 1;
                }
                _ => high = middle,
            }
        }
        BagId(self.base + low as u64)
    }
}

/// Number of an interned template.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct TemplateRef(pub(crate) u32);

/// Templates, each kept once however many bags share it.
#[derive(Default)]
pub(crate) struct Templates {
    slots: Vec<Option<Template>>,
    free: Vec<u32>,
    by_bytes: BTreeMap<Arc<[u8]>, TemplateRef>,
}

pub(crate) struct Template {
    pub(crate) definition: Arc<WorkTemplate>,
    bytes: Arc<[u8]>,
    bags: u32,
    /// Tells one user of a slot from the next.
    pub(crate) generation: u32,
}

impl Templates {
    pub(crate) fn get(&self, template: TemplateRef) -> &Template {
        self.slots[template.0 as usize]
            .as_ref()
            .expect("a bag keeps its template")
    }

    /// The template's number; one more bag has it.
    pub(crate) fn intern(&mut self, definition: WorkTemplate, generation: u32) -> TemplateRef {
        let mut bytes = Vec::new();
        wire_protocol::codec::put_control(&mut bytes, &definition);
        if let Some(template) = self.by_bytes.get(bytes.as_slice()) {
            self.slots[template.0 as usize]
                .as_mut()
                .expect("listed templates exist")
                .bags += 1;
            return *template;
        }
        let bytes: Arc<[u8]> = bytes.into();
        let template = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer templates than bags")
        });
        self.slots[template as usize] = Some(Template {
            definition: Arc::new(definition),
            bytes: Arc::clone(&bytes),
            bags: 1,
            generation,
        });
        self.by_bytes.insert(bytes, TemplateRef(template));
        TemplateRef(template)
    }

    /// One bag less has it.
    pub(crate) fn release(&mut self, template: TemplateRef) {
        let slot = &mut self.slots[template.0 as usize];
        let entry = slot.as_mut().expect("a bag keeps its template");
        entry.bags -= 1;
        if entry.bags == 0 {
            self.by_bytes.remove(&entry.bytes);
            *slot = None;
            self.free.push(template.0);
        }
    }
}
