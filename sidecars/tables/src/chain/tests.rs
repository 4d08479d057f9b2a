//! Rows are taken as they come, and given out once each.

use wire_hub::row::{MoneyRow, OrderRow, OrderState, PoolRow, TransactionRow};
use wire_hub::{Address, Hash, Identity, Nonce, Timestamp};
use wire_protocol::note::NoteChange;

use super::*;

pub(crate) fn pool(owner: u8, head: u64) -> Row {
    Row::Pool(PoolRow {
        place: Place {
            chain_id: 1,
            hub: Address([0xbb; 20]),
            pool: Address([0xcc; 20]),
            owner: Address([owner; 20]),
        },
        head,
        followed: head,
        followed_at: Timestamp(1_000),
        final_: 0,
        since: 1,
        balance: None,
        coins: None,
        handled: 0,
        alerts: vec!["look".to_owned(), "at this".to_owned()],
    })
}

pub(crate) fn order(woid: u8, state: OrderState) -> OrderRow {
    OrderRow {
        state,
        ..OrderRow::new(Identity {
            chain_id: 1,
            hub: Address([0xbb; 20]),
            woid: Address([woid; 20]),
            block: Hash([1; 32]),
            fingerprint: Hash([2; 32]),
        })
    }
}

pub(crate) fn transaction(nonce: u64) -> Row {
    Row::Transaction(Box::new(TransactionRow::new(Nonce(nonce), None, None)))
}

/// What was written, where these rows were.
pub(crate) fn written(rows: &[Row]) -> WriteNotes {
    let changes = rows.iter().map(Row::note).map(|(key, value)| NoteChange {
        key,
        value: Some(value),
    });
    WriteNotes {
        notebook: NOTEBOOK.to_owned(),
        holder: 1,
        changes: changes.collect(),
    }
}

fn seen(woid: u8) -> Row {
    Row::Order(Box::new(order(woid, OrderState::Seen)))
}

#[test]
fn of_each_row_the_last_is_given_once() {
    let mut rows = ChainRows::default();
    let last = Row::Order(Box::new(order(1, OrderState::Final)));
    rows.take(&written(&[seen(1), seen(2), pool(1, 5)]));
    rows.take(&written(&[last.clone(), pool(1, 6)]));
    let change = rows.give();
    let [before, pool_change] = &change.pools[..] else {
        panic!("it was not known before whose rows they are: {change:?}")
    };
    assert_eq!(before.len(), 2);
    assert_eq!(pool_change[&last.key()], last);
    assert_eq!(pool_change["row/pool"], pool(1, 6));
    assert_eq!(rows.give(), ChainChange::default());
}

#[test]
fn rows_of_another_pool_are_kept_apart_and_those_of_the_same_are_not() {
    let mut rows = ChainRows::default();
    rows.take(&written(&[pool(1, 5), transaction(1)]));
    rows.take(&written(&[pool(2, 6), transaction(1)]));
    rows.take(&written(&[pool(2, 7), transaction(2)]));
    let lengths: Vec<_> = rows.give().pools.iter().map(PoolChange::len).collect();
    assert_eq!(lengths, [2, 3]);
    rows.take(&written(&[transaction(3)]));
    rows.take(&written(&[pool(2, 8), Row::Day(7, MoneyRow::default())]));
    let lengths: Vec<_> = rows.give().pools.iter().map(PoolChange::len).collect();
    assert_eq!(lengths, [3]);
}

#[test]
fn what_cannot_be_read_is_counted_and_what_is_no_row_or_gone_is_passed_over() {
    let mut notes = written(&[seen(1), seen(2), pool(1, 5)]);
    notes.changes[0].value = Some(vec![99]);
    notes.changes[1].value = None;
    for key in ["cursor", "row/mood"] {
        notes.changes.push(NoteChange {
            key: key.to_owned(),
            value: Some(b"fine".to_vec()),
        });
    }
    let mut rows = ChainRows::default();
    rows.take(&notes);
    let elsewhere = WriteNotes {
        notebook: "other".to_owned(),
        ..written(&[seen(3)])
    };
    rows.take(&elsewhere);
    let change = rows.give();
    assert_eq!(
        (change.pools.len(), change.pools[0].len(), change.unreadable),
        (1, 1, 2)
    );
    let problem = change.problem.expect("the first").to_string();
    assert!(problem.contains(&seen(1).key()), "{problem}");
}
