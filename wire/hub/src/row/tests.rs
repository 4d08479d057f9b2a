//! Every row comes back from its note, within its bounds, and junk is an error.

use proptest::prelude::*;
use wire_protocol::limits::NOTE_BYTES_MAX;
use wire_protocol::note::check_name;

use super::*;
use crate::{
    Answer, Balance, BlockRef, Call, Category, Consensus, Contribution, ContributionStatus, Gas, Identity,
    MarketOrder, MarketStatus, OrderStatus, Rlc, Timestamp, Trust, Views, Wei, WorkOrder,
};

const WHO: Address = Address([0xff; 20]);
const HASH: Hash = Hash([0xff; 32]);
const TIME: Timestamp = Timestamp(u64::MAX);

fn totals() -> Totals {
    Totals {
        locked: Rlc(u128::MAX),
        unlocked: Rlc(u128::MAX),
        rewarded: Rlc(u128::MAX),
        seized: Rlc(u128::MAX),
        gas: Gas(u64::MAX),
        burned: Wei(u128::MAX),
        faults: u32::MAX,
    }
}

fn money() -> MoneyRow {
    MoneyRow {
        settled: totals(),
        upto: Some(u64::MAX),
        gas_upto: Some(u64::MAX),
        open: totals(),
    }
}

fn identity() -> Identity {
    Identity {
        chain_id: u64::MAX,
        hub: WHO,
        woid: WHO,
        block: HASH,
        fingerprint: HASH,
    }
}

/// Of all that an order may have, more than a row takes.
fn order(long: &str) -> OrderRow {
    let worker = WorkerRow {
        wallet: WHO,
        status: ContributionStatus::Rejected,
        asked: Some(TIME),
        outcome: Some(Outcome::Done(Some(HASH))),
    };
    let reason = Reason {
        at: TIME,
        text: long.to_owned(),
    };
    OrderRow {
        content: Some(Content {
            requester: WHO,
            app: WHO,
            dataset: WHO,
            beneficiary: WHO,
            callback: WHO,
            market_order: u64::MAX,
            category: u64::MAX,
            period_s: u64::MAX,
            trust: Trust(u128::MAX),
            value: Rlc(u128::MAX),
            stake: Rlc(u128::MAX),
            emitcost: Rlc(u128::MAX),
            params: long.to_owned(),
            at: TIME,
        }),
        state: OrderState::Replaced,
        is_over: true,
        bought: Some(u64::MAX),
        ended: Some(u64::MAX),
        reveal_date: TIME,
        consensus_timeout: TIME,
        workers: vec![worker; 1_000],
        reasons: vec![reason; 100],
        result: Some(Texts {
            stdout: long.to_owned(),
            stderr: long.to_owned(),
            uri: long.to_owned(),
        }),
        money: money(),
        stranded: Some(Stranded {
            pool: Rlc(u128::MAX),
            workers: vec![(WHO, Rlc(u128::MAX)); 1_000],
            requester: Rlc(u128::MAX),
        }),
        at: TIME,
        ..OrderRow::new(identity())
    }
}

fn transaction(long: &str) -> TransactionRow {
    let attempt = AttemptRow {
        hash: HASH,
        price_max: Wei(u128::MAX),
        is_nothing: true,
    };
    let call = Call::FinalizeWork {
        woid: WHO,
        stdout: long.to_owned(),
        stderr: long.to_owned(),
        uri: long.to_owned(),
    };
    TransactionRow {
        state: TransactionState::Failed,
        is_final: true,
        attempts: vec![attempt; 100],
        mined: Some(MinedRow {
            hash: HASH,
            block: BlockRef {
                number: u64::MAX,
                hash: HASH,
            },
            at: TIME,
            gas: Gas(u64::MAX),
            price: Wei(u128::MAX),
        }),
        why: Some(long.to_owned()),
        at: TIME,
        ..TransactionRow::new(Nonce(u64::MAX), Some(call), Some(HASH))
    }
}

fn pool(long: &str) -> PoolRow {
    PoolRow {
        place: Place {
            chain_id: u64::MAX,
            hub: WHO,
            pool: WHO,
            owner: WHO,
        },
        head: u64::MAX,
        followed: u64::MAX,
        followed_at: TIME,
        final_: u64::MAX,
        since: u64::MAX,
        balance: Some(Balance {
            stake: Rlc(u128::MAX),
            locked: Rlc(u128::MAX),
        }),
        coins: Some(Wei(u128::MAX)),
        handled: u64::MAX,
        alerts: vec![long.to_owned(); 100],
    }
}

/// One of each kind; texts in them are this one.
fn rows(text: &str) -> Vec<Row> {
    vec![
        Row::Pool(pool(text)),
        Row::Order(Box::new(order(text))),
        Row::Transaction(Box::new(transaction(text))),
        Row::Party(WHO, money()),
        Row::Day(20_000, money()),
    ]
}

#[test]
fn a_row_comes_back_from_its_note() {
    for row in rows("ä fine day") {
        let (key, value) = row.note();
        assert!(Row::is_key(&key), "{key}");
        let read = Row::read(&key, &value).expect("its own");
        assert_eq!(read.note(), (key, value), "a row that was cut stays as it is");
        match (&row, read) {
            (Row::Party(..) | Row::Day(..), read) => assert_eq!(row, read),
            (Row::Pool(row), Row::Pool(read)) => assert_eq!((row.place, row.coins), (read.place, read.coins)),
            (Row::Order(row), Row::Order(read)) => {
                assert_eq!((&row.content, row.money), (&read.content, read.money));
            }
            (Row::Transaction(row), Row::Transaction(read)) => {
                assert_eq!((&row.call, row.mined), (&read.call, read.mined));
            }
            (row, read) => panic!("{row:?} became {read:?}"),
        }
    }
}

/// The beginning of what was done goes, and the end of what was said.
#[test]
fn whatever_is_in_a_row_it_fits_a_note() {
    for text in ["x".repeat(100_000), "€".repeat(100_000)] {
        for row in rows(&text) {
            let (key, value) = row.note();
            check_name("key", &key).expect("a name");
            assert!(value.len() < NOTE_BYTES_MAX, "{key} has {} bytes", value.len());
            let again = Row::read(&key, &value).expect("its own").note();
            assert_eq!(again, (key, value));
        }
    }
}

#[test]
fn a_row_under_the_key_of_another_or_of_another_version_is_refused() {
    for row in rows("text") {
        let (key, mut value) = row.note();
        for other in rows("text").iter().map(Row::key).filter(|other| *other != key) {
            let refused = Row::read(&other, &value).is_err();
            let are_both_money = matches!(row, Row::Party(..) | Row::Day(..))
                && (other.starts_with(PARTY) || other.starts_with(DAY));
            assert!(refused || are_both_money, "{key} was read as {other}");
        }
        assert!(Row::read(&key, &[]).is_err());
        value[0] = VERSION + 1;
        let error = Row::read(&key, &value).expect_err("of another version");
        assert!(error.to_string().contains("version 2"), "{error}");
    }
    assert!(Row::read("row/mood", &[VERSION]).is_err());
    assert!(
        Row::read("row/day/7", &Row::Day(7, money()).note().1).is_err(),
        "ten digits"
    );
}

#[test]
fn reasons_are_the_last_ones() {
    let mut row = OrderRow::new(identity());
    for number in 0..100 {
        row.say(Timestamp(number), &format!("reason {number}"));
    }
    let (first, last) = (row.reasons.first(), row.reasons.last());
    assert_eq!(
        (row.reasons.len(), first.map(|reason| reason.at)),
        (16, Some(Timestamp(84)))
    );
    assert_eq!(last.map(|reason| reason.text.as_str()), Some("reason 99"));
}

#[test]
fn an_order_is_what_the_contracts_have_and_nothing_of_another_at_its_address() {
    let order = WorkOrder {
        woid: WHO,
        market_order: 3,
        workerpool: WHO,
        app: Address([1; 20]),
        dataset: crate::NOBODY,
        requester: Address([2; 20]),
        params: "echo 1".into(),
        callback: crate::NOBODY,
        beneficiary: crate::NOBODY,
        emitcost: Rlc(7),
        status: OrderStatus::Active,
    };
    let fingerprint = order.fingerprint();
    let views = Views {
        order,
        market: MarketOrder {
            id: 3,
            status: MarketStatus::Ask,
            category: 2,
            trust: Trust(5),
            value: Rlc(1_000),
            volume: 1,
            remaining: 0,
            workerpool: WHO,
            workerpool_owner: WHO,
        },
        category: Category {
            id: 2,
            name: "short".into(),
            period_s: 300,
        },
        consensus: Consensus {
            pool_reward: Rlc(1_000),
            stake_amount: Rlc(300),
            consensus_timeout: Timestamp(10_000),
            ..Consensus::default()
        },
        contributions: vec![(WHO, Contribution::default())],
        is_callback_done: false,
    };
    let mut other = OrderRow::new(identity());
    other.see(&Answer::Known(views.clone()));
    assert_eq!((other.content, other.consensus_timeout), (None, Timestamp(0)));
    let mut row = OrderRow::new(Identity {
        fingerprint,
        ..identity()
    });
    row.see(&Answer::Unknown);
    assert_eq!(row.content, None);
    row.see(&Answer::Known(views));
    let content = row.content.expect("it is known");
    assert_eq!(
        (content.at, content.value, content.emitcost),
        (Timestamp(7_000), Rlc(1_000), Rlc(7))
    );
    assert_eq!((content.category, content.trust), (2, Trust(5)));
    assert_eq!(row.consensus_timeout, Timestamp(10_000));
}

#[test]
fn names_of_states_are_each_ones_own() {
    let mut names: Vec<&str> = OrderState::ALL.iter().map(|state| state.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), OrderState::ALL.len());
    let mut names: Vec<&str> = TransactionState::ALL.iter().map(|state| state.name()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), TransactionState::ALL.len());
}

proptest! {
    #[test]
    fn junk_is_an_error_and_never_a_panic(
        kind in 0_usize..6,
        rest in "[0-9a-fx]{0,70}",
        value in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let keys = [POOL, ORDER, TRANSACTION, PARTY, DAY, ""];
        let key = format!("{}{rest}", keys[kind]);
        drop(Row::read(&key, &value));
        for row in rows("text") {
            drop(Row::read(&row.key(), &[&[VERSION], &value[..]].concat()));
        }
    }

    #[test]
    fn a_note_with_flipped_bytes_is_an_error_or_another_row(kind in 0_usize..5, at: usize, with in 1_u8..) {
        let (key, mut value) = rows("text")[kind].note();
        let at = at % value.len();
        value[at] ^= with;
        if let Ok(read) = Row::read(&key, &value) {
            prop_assert_eq!(read.key(), key);
        }
    }
}
