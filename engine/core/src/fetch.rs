//! Results, and the rows of works that have succeeded, live in the journal, not in memory: the scheduler knows the
//! positions of the records that hold them, and whoever asks is answered from there.
//!
//! The scheduler decides *what* is sent; reading is the shell's part, on a thread where it may block.

use std::collections::BTreeMap;
use std::sync::Arc;

use wire_protocol::client_link::{Answer, OutcomeItem, Outcomes, RequestId, kind};
use wire_protocol::ids::{Attempt, BagId, LinkId, Lsn, WorkId, WorkerId};
use wire_protocol::record::{Record, SettledItem};
use wire_protocol::template::{Invalid, WorkTemplate};
use wire_protocol::view::{Reply, WorkDetail, WorkView};
use wire_protocol::worker_link::push_control;
use wire_protocol::{frame, outcome::Outcome, outcome::Reason};

use crate::parameters;

/// An answer that needs results.
#[derive(Debug)]
pub struct Fetch {
    /// Who asked.
    pub link: LinkId,
    /// What has to be durable before it can be read and told.
    pub after: Lsn,
    pub(crate) request: RequestId,
    pub(crate) what: What,
}

#[derive(Debug)]
pub(crate) enum What {
    /// One work, whose result `lsn` holds, and its row, if it has gone from memory.
    Detail {
        detail: Box<WorkDetail>,
        lsn: Lsn,
        row: Option<Recorded>,
    },
    /// A page of works, some of whose rows have gone from memory.
    Works(Page),
    /// Outcomes of works of a bag.
    Results(Results),
}

/// A page of works.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) works: Vec<WorkView>,
    pub(crate) next: Option<WorkId>,
    /// Rows to read, by their index in `works`.
    pub(crate) recorded: Vec<(usize, Recorded)>,
}

/// A row that the record at `lsn` holds.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) lsn: Lsn,
    pub(crate) row: u32,
    pub(crate) template: Arc<WorkTemplate>,
}

/// Works of a bag that are done, and the positions of the records that say how.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) bag: BagId,
    pub(crate) first: WorkId,
    pub(crate) works: Vec<(WorkId, Lsn)>,
    /// Row behind the last that was looked at.
    pub(crate) next_row: u32,
    /// Works of the bag that are not done.
    pub(crate) open: u32,
}

/// Bytes of results that one answer carries at most; the asker comes again for the rest.
pub(crate) const RESULTS_BYTES_MAX: usize = 512 * 1024;

/// Reads one record of the journal: its kind and payload into the buffer. `None`: it is not there (any more).
pub type ReadRecord<'a> = dyn FnMut(Lsn, &mut Vec<u8>) -> Option<u8> + 'a;

impl Fetch {
    /// Appends the frames that answer the request, with results read by `read`.
    pub fn complete(self, read: &mut ReadRecord<'_>, out: &mut Vec<u8>) {
        match self.what {
            What::Detail { mut detail, lsn, row } => {
                if let Some(row) = row {
                    read_rows(&[row], read, |_, parameters| detail.work.parameters = parameters);
                }
                complete_detail(self.request, *detail, lsn, read, out);
            }
            What::Works(page) => complete_page(self.request, page, read, out),
            What::Results(results) => complete_results(self.request, results, read, out),
        }
    }
}

fn complete_detail(
    request: RequestId,
    mut detail: WorkDetail,
    lsn: Lsn,
    read: &mut ReadRecord<'_>,
    out: &mut Vec<u8>,
) {
    let mut payload = Vec::new();
    let record = read(lsn, &mut payload).and_then(|kind| Record::parse(kind, &payload).ok());
    let work = detail.work.work;
    let reply = match outcomes(record.as_ref(), &[(work, lsn)]).get(&work) {
        Some(item) => {
            detail.exit_code = item.exit_code;
            detail.elapsed_us = item.elapsed_us;
            detail.result = item.result.to_vec();
            Reply::Work(Box::new(detail))
        }
        None => Reply::Conflict(Invalid {
            field: detail.work.work.to_string(),
            problem: format!("its result at {lsn} is no longer in the journal"),
        }),
    };
    push_control(out, kind::REPLY, &Answer { request, reply });
}

fn complete_page(request: RequestId, page: Page, read: &mut ReadRecord<'_>, out: &mut Vec<u8>) {
    let Page {
        mut works,
        next,
        recorded,
    } = page;
    let (places, rows): (Vec<usize>, Vec<Recorded>) = recorded.into_iter().unzip();
    read_rows(&rows, read, |index, parameters| {
        works[places[index]].parameters = parameters
    });
    let reply = Reply::Works { works, next };
    push_control(out, kind::REPLY, &Answer { request, reply });
}

/// Gives the parameters of each row that is still in the journal, with its index. Rows that came together stand
/// together and in order, so a record is read and gone through once for all of them.
fn read_rows(
    rows: &[Recorded],
    read: &mut ReadRecord<'_>,
    mut give: impl FnMut(usize, Vec<(String, String)>),
) {
    let mut payload = Vec::new();
    let mut index = 0;
    for group in rows.chunk_by(|a, b| a.lsn == b.lsn) {
        payload.clear();
        let record = read(group[0].lsn, &mut payload).and_then(|kind| Record::parse(kind, &payload).ok());
        if let Some(Record::RowsAdded(added)) = record {
            let mut numbered = (added.first_row..).zip(added.rows.iter());
            for (offset, wanted) in group.iter().enumerate() {
                if let Some((_, row)) = numbered.find(|(number, _)| *number == wanted.row) {
                    give(index + offset, parameters::shown(&wanted.template, row));
                }
            }
        }
        index += group.len();
    }
}

fn complete_results(request: RequestId, results: Results, read: &mut ReadRecord<'_>, out: &mut Vec<u8>) {
    let Results {
        bag,
        first,
        works,
        mut next_row,
        open,
    } = results;
    let mut payload = Vec::new();
    frame::push(out, kind::OUTCOMES, |out| {
        let started = out.len();
        Outcomes::begin(out, request, bag);
        // Works that were settled together stand together, so a record is read and searched once for all of them.
        for group in works.chunk_by(|(_, a), (_, b)| a == b) {
            payload.clear();
            let record = read(group[0].1, &mut payload).and_then(|kind| Record::parse(kind, &payload).ok());
            let found = outcomes(record.as_ref(), group);
            for (work, _) in group {
                if out.len() - started > RESULTS_BYTES_MAX {
                    // Cut short: the asker goes on at the first work that was left out.
                    next_row = u32::try_from(work.0 - first.0).expect("works of one bag");
                    return;
                }
                if let Some(item) = found.get(work) {
                    item.put(out);
                }
            }
        }
    });
    push_control(
        out,
        kind::REPLY,
        &Answer {
            request,
            reply: Reply::ResultsEnd { next_row, open },
        },
    );
}

/// The outcomes that a record holds of works, given in order of their ids.
fn outcomes<'a>(record: Option<&Record<'a>>, works: &[(WorkId, Lsn)]) -> BTreeMap<WorkId, OutcomeItem<'a>> {
    let (Some((first, _)), Some((last, _))) = (works.first(), works.last()) else {
        return BTreeMap::new();
    };
    let span = *first..=*last;
    match record {
        Some(Record::Settled(settled)) => settled
            .iter()
            .filter(|item| span.contains(&item.work))
            .map(|item| (item.work, settled_item(settled.worker, &item)))
            .collect(),
        Some(Record::Ended(ended)) => works
            .iter()
            .filter(|(work, _)| *work >= ended.first && *work < ended.first.offset(ended.count))
            .map(|(work, _)| (*work, ended_item(*work, ended.outcome, ended.reason)))
            .collect(),
        _ => BTreeMap::new(),
    }
}

fn settled_item<'a>(worker: WorkerId, item: &SettledItem<'a>) -> OutcomeItem<'a> {
    OutcomeItem {
        work: item.work,
        outcome: item.outcome,
        reason: item.reason,
        attempt: item.attempt,
        exit_code: item.exit_code,
        elapsed_us: item.elapsed_us,
        worker,
        result: item.result,
    }
}

/// The outcome of a work that ended without an attempt deciding it.
pub(crate) fn ended_item(work: WorkId, outcome: Outcome, reason: Reason) -> OutcomeItem<'static> {
    OutcomeItem {
        work,
        outcome,
        reason,
        attempt: Attempt(0),
        exit_code: 0,
        elapsed_us: 0,
        worker: WorkerId(0),
        result: &[],
    }
}
