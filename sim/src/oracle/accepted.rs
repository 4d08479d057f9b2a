//! No accepted work is lost: what a client was told is accepted exists from then on, with the rows that the
//! client sent, in one bag only, whatever crashes; and it was durable before it was told.

use std::collections::BTreeMap;

use wire_protocol::client_link::{Accepted, IdempotencyKey};
use wire_protocol::ids::{BagId, Lsn, WorkId};
use wire_protocol::record::Record;

use super::ledger::{Ledger, State};
use super::{Violation, check};

const NAME: &str = "accepted";

/// Every promise that a client has read.
#[derive(Default)]
pub(super) struct Promises {
    promises: BTreeMap<(String, IdempotencyKey), Promise>,
}

struct Promise {
    bag: BagId,
    first: WorkId,
    rows: Vec<Vec<u8>>,
}

impl Promises {
    pub(super) fn promised(
        &mut self,
        ledger: &Ledger,
        login: &str,
        key: IdempotencyKey,
        accepted: &Accepted,
        rows: &[Vec<u8>],
    ) -> Result<(), Violation> {
        let count = accepted.rows as usize;
        check(NAME, None, count <= rows.len(), || {
            format!(
                "{count} rows of {} were accepted, {} were said",
                accepted.bag,
                rows.len()
            )
        })?;
        let promise = Promise {
            bag: accepted.bag,
            first: accepted.first,
            rows: rows[..count].to_vec(),
        };
        promise.check(ledger)?;
        if let Some(before) = self.promises.get(&(login.to_owned(), key)) {
            let forgotten = ledger.bags.get(&before.bag).is_some_and(|bag| bag.forgotten);
            check(
                NAME,
                before.first,
                before.bag == accepted.bag || forgotten,
                || {
                    format!(
                        "one submission was taken twice, as {} and as {}",
                        before.bag, accepted.bag
                    )
                },
            )?;
            if before.bag == accepted.bag && before.rows.len() > count {
                return Ok(());
            }
        }
        self.promises.insert((login.to_owned(), key), promise);
        Ok(())
    }

    pub(super) fn check_all(&self, ledger: &Ledger) -> Result<(), Violation> {
        self.promises
            .values()
            .try_for_each(|promise| promise.check(ledger))
    }
}

impl Promise {
    fn check(&self, ledger: &Ledger) -> Result<(), Violation> {
        let Some(bag) = ledger.bags.get(&self.bag) else {
            let what = format!("{} was accepted and is gone", self.bag);
            return Err(Violation::new(NAME, Some(self.first), what));
        };
        check(NAME, self.first, bag.first == self.first, || {
            format!(
                "{} begins at {}, was promised at {}",
                self.bag, bag.first, self.first
            )
        })?;
        for (row, bytes) in self.rows.iter().enumerate() {
            let id = self.first.offset(u32::try_from(row).expect("few rows"));
            let work = ledger.works.get(&id);
            check(NAME, id, work.is_some(), || {
                format!("{id}, row {row} of {}, was accepted and is gone", self.bag)
            })?;
            check(NAME, id, work.is_some_and(|work| work.row == *bytes), || {
                format!("{id} was accepted with another row")
            })?;
        }
        Ok(())
    }
}

/// An `Accepted` is about to be sent.
pub(super) fn check_told(ledger: &Ledger, accepted: &Accepted, durable: Lsn) -> Result<(), Violation> {
    check(NAME, accepted.first, accepted.lsn <= durable, || {
        format!(
            "{} is told at {} while only {durable} is durable",
            accepted.bag, accepted.lsn
        )
    })?;
    let bag = ledger.bags.get(&accepted.bag);
    check(
        NAME,
        accepted.first,
        bag.is_some_and(|bag| bag.lsn <= durable),
        || format!("{} is told and not durable", accepted.bag),
    )?;
    for row in 0..accepted.rows {
        let id = accepted.first.offset(row);
        let there = ledger.works.get(&id).is_some_and(|work| work.lsn <= durable);
        check(NAME, id, there, || {
            format!("{id} is told as accepted and not durable")
        })?;
    }
    Ok(())
}

pub(super) fn check_record(ledger: &Ledger, record: &Record<'_>) -> Result<(), Violation> {
    match record {
        Record::BagOpened(opened) => {
            let same = ledger.bags.iter().find(|(_, bag)| {
                bag.key != [0; 16] && bag.key == opened.key && bag.tenant == opened.tenant && !bag.forgotten
            });
            check(NAME, opened.first, same.is_none(), || {
                format!("{} has the key of {:?}", opened.bag, same.map(|(id, _)| id))
            })?;
            let last = ledger.works.last_key_value().map_or(WorkId(0), |(id, _)| *id);
            let new = opened.first > last && !ledger.bags.contains_key(&opened.bag);
            check(NAME, opened.first, new, || format!("{} has used ids", opened.bag))
        }
        Record::RowsAdded(added) => {
            let bag = ledger.bags.get(&added.bag).filter(|bag| {
                !bag.forgotten
                    && !bag.closed
                    && bag.accepted == added.first_row
                    && added.first_row + added.rows.len() <= bag.rows_total
            });
            check(NAME, bag.map(|bag| bag.first), bag.is_some(), || {
                format!("rows from {} on have no place in {}", added.first_row, added.bag)
            })
        }
        Record::BagSealed(sealed) => {
            let bag = ledger
                .bags
                .get(&sealed.bag)
                .filter(|bag| !bag.forgotten && !bag.closed && bag.accepted < bag.rows_total);
            check(NAME, bag.map(|bag| bag.first), bag.is_some(), || {
                format!("{} is sealed and took no rows before", sealed.bag)
            })
        }
        Record::BagForgotten(id) => {
            let Some(bag) = ledger.bags.get(id).filter(|bag| !bag.forgotten) else {
                return Err(Violation::new(
                    NAME,
                    None,
                    format!("{id} is forgotten and unknown"),
                ));
            };
            let open = ledger.works_of(bag).find(|(_, work)| work.state != State::Done);
            check(NAME, open.map(|(id, _)| id), open.is_none(), || {
                format!("{id} is forgotten with open works")
            })
        }
        _ => Ok(()),
    }
}
