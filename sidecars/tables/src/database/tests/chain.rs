//! The books of the chain in every database.

use wire_hub::row::{
    AttemptRow, Content, MinedRow, MoneyRow, OrderState, Outcome, Reason, Row, Stranded, Texts, Totals,
    TransactionRow, TransactionState, WorkerRow,
};
use wire_hub::{
    Address, BlockRef, Call, ContributionStatus, Gas, Hash, NOBODY, Nonce, Rlc, Timestamp, Trust, Wei,
};
use wire_protocol::codec::put_control;
use wire_protocol::feed::FeedRecord;
use wire_protocol::ids::Epoch;
use wire_protocol::note::NotesWritten;
use wire_protocol::record::kind;
use wire_protocol::units::Instant;

use super::*;
use crate::chain::tests::{order, pool, transaction, written};

/// What was asked, row by row; `-` is NULL.
const ORDERS: &str = "SELECT CONCAT(woid, ' ', pool_id, ' ', state, ' ', is_over, ' ', COALESCE(requester, '-'), ' ', \
     COALESCE(dataset, '-'), ' ', COALESCE(order_idx, '-'), ' ', COALESCE(value_nrlc, '-'), ' ', \
     COALESCE(bought_us, '-'), ' ', COALESCE(timeout_us, '-'), ' ', COALESCE(reason, '-'), ' ', \
     COALESCE(result_uri, '-'), ' ', locked_nrlc, ' ', burned_wei, ' ', COALESCE(stranded_workers_nrlc, '-'), ' ', \
     seen_us) FROM pool_chain_orders ORDER BY woid";
const WORKERS: &str = "SELECT CONCAT(wallet, ' ', status, ' ', COALESCE(asked_us, '-'), ' ', COALESCE(outcome, '-'), ' ', \
     COALESCE(digest, '-')) FROM pool_chain_workers ORDER BY order_key, wallet";
const TRANSACTIONS: &str = "SELECT CONCAT(pool_id, ' ', nonce, ' ', COALESCE(function_name, '-'), ' ', \
     COALESCE(woid, '-'), ' ', state, ' ', is_final, ' ', COALESCE(tx_hash, '-'), ' ', attempts, ' ', \
     COALESCE(block_number, '-'), ' ', COALESCE(mined_us, '-'), ' ', COALESCE(gas_used, '-'), ' ', \
     COALESCE(gas_price_wei, '-'), ' ', COALESCE(why, '-')) FROM pool_chain_transactions ORDER BY pool_id, nonce";
const MONEY: &str = "SELECT CONCAT(pool_id, ' ', kind, ' ', name, ' ', locked_nrlc, ' ', rewarded_nrlc, ' ', gas, ' ', \
     burned_wei, ' ', faults, ' ', COALESCE(settled_block, '-')) FROM pool_chain_money ORDER BY pool_id, kind, name";
const POOLS: &str = "SELECT CONCAT(pool_id, ' ', owner, ' ', is_current, ' ', followed_block, ' ', followed_us, ' ', \
     COALESCE(stake_nrlc, '-')) FROM pool_chain_pools ORDER BY pool_id";

/// Follows records that write these rows, each list of them in one, and a batch for each list of records.
async fn follow(database: &mut Database, batches: &[&[&[Row]]]) {
    for batch in batches {
        let mut coalescer = database.resume().await.expect("it has a position").coalescer();
        for rows in *batch {
            take(
                &mut coalescer,
                &NotesWritten {
                    at: Instant(1),
                    written: written(rows),
                },
            );
        }
        database.apply(&coalescer.batch()).await.expect("it follows");
    }
}

fn take(coalescer: &mut Coalescer, notes: &NotesWritten) {
    let mut payload = Vec::new();
    put_control(&mut payload, notes);
    let record = FeedRecord {
        lsn: coalescer.upto().next(),
        epoch: Epoch(1),
        kind: kind::NOTES_WRITTEN,
        wall_us: 1,
        payload: &payload,
    };
    coalescer.take(&record).expect("the engine wrote it");
}

fn seen(woid: u8) -> Row {
    Row::Order(Box::new(order(woid, OrderState::Seen)))
}

/// All that may be NULL is there, and numbers are larger than a column.
fn stranded() -> Row {
    let mut row = order(1, OrderState::Stranded);
    row.content = Some(Content {
        requester: Address([5; 20]),
        app: Address([6; 20]),
        dataset: NOBODY,
        beneficiary: NOBODY,
        callback: NOBODY,
        market_order: 3,
        category: 4,
        period_s: 300,
        trust: Trust(u128::MAX),
        value: Rlc(u128::MAX),
        stake: Rlc(300),
        emitcost: Rlc(0),
        params: "echo \u{1f980}".to_owned(),
        at: Timestamp(10),
    });
    row.consensus_timeout = Timestamp(u64::MAX);
    row.reasons = ["one", "two"]
        .map(|text| Reason {
            at: Timestamp(1),
            text: text.to_owned(),
        })
        .to_vec();
    row.result = Some(Texts {
        uri: "xw://1".to_owned(),
        ..Texts::default()
    });
    row.workers = [7, 8].map(worker).to_vec();
    row.stranded = Some(Stranded {
        pool: Rlc(300),
        workers: vec![(Address([7; 20]), Rlc(300)), (Address([8; 20]), Rlc(300))],
        requester: Rlc(1_000),
    });
    row.money = money();
    row.at = Timestamp(20);
    Row::Order(Box::new(row))
}

fn worker(wallet: u8) -> WorkerRow {
    WorkerRow {
        wallet: Address([wallet; 20]),
        status: ContributionStatus::Contributed,
        asked: (wallet == 7).then_some(Timestamp(11)),
        outcome: (wallet == 7).then_some(Outcome::Done(Some(Hash([9; 32])))),
    }
}

fn money() -> MoneyRow {
    let settled = Totals {
        locked: Rlc(1_600),
        rewarded: Rlc(u128::MAX),
        gas: Gas(u64::MAX),
        burned: Wei(u128::MAX),
        faults: 2,
        ..Totals::default()
    };
    MoneyRow {
        settled,
        upto: Some(12),
        gas_upto: None,
        open: Totals::default(),
    }
}

fn mined(nonce: u64) -> Row {
    let attempt = AttemptRow {
        hash: Hash([3; 32]),
        price_max: Wei(1),
        is_nothing: false,
    };
    Row::Transaction(Box::new(TransactionRow {
        state: TransactionState::Failed,
        is_final: true,
        attempts: vec![attempt, attempt],
        mined: Some(MinedRow {
            hash: Hash([4; 32]),
            block: BlockRef {
                number: 50,
                hash: Hash([5; 32]),
            },
            at: Timestamp(60),
            gas: Gas(70),
            price: Wei(80),
        }),
        why: Some("too late".to_owned()),
        ..TransactionRow::new(
            Nonce(nonce),
            Some(Call::Reopen {
                woid: Address([1; 20]),
            }),
            Some(Hash([6; 32])),
        )
    }))
}

fn hex(byte: u8, bytes: usize) -> String {
    format!("0x{}", format!("{byte:02x}").repeat(bytes))
}

/// For each database: after these batches, each query says this.
fn check(batches: &[&[&[Row]]], expected: &[(&'static str, Vec<String>)]) {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            follow(&mut database, batches).await;
            for (query, rows) in expected {
                assert_eq!(texts(&mut database, query).await, *rows, "{target}: {query}");
            }
        });
    }
}

#[test]
fn rows_of_the_books_are_rows_of_tables_and_the_last_of_each_stands() {
    let (party, day) = (
        Row::Party(Address([7; 20]), money()),
        Row::Day(20_784, MoneyRow::default()),
    );
    let first: &[&[Row]] = &[
        &[pool(1, 5), seen(1), seen(2)],
        &[transaction(1), mined(2), party],
    ];
    let second: &[&[Row]] = &[&[stranded(), mined(1), day], &[pool(1, 6)]];
    let most = i64::MAX;
    let orders = vec![
        format!(
            "{} 1 stranded 0 {} - 3 {most} 10000000 {most} two xw://1 1600 {} 600 20000000",
            hex(1, 20),
            hex(5, 20),
            u128::MAX
        ),
        format!("{} 1 seen 0 - - - - - - - - 0 0 - 0", hex(2, 20)),
    ];
    let workers = vec![
        format!("{} contributed 11000000 done {}", hex(7, 20), hex(9, 32)),
        format!("{} contributed - - -", hex(8, 20)),
    ];
    let of = |nonce| {
        let (woid, hash) = (hex(1, 20), hex(4, 32));
        format!("1 {nonce} reopen {woid} failed 1 {hash} 2 50 60000000 70 80 too late")
    };
    let sums = vec![
        "1 day 2026-11-27 0 0 0 0 0 -".to_owned(),
        format!("1 party {} 1600 {most} {most} {} 2 12", hex(7, 20), u128::MAX),
    ];
    let expected = [
        (ORDERS, orders),
        (WORKERS, workers),
        (TRANSACTIONS, vec![of(1), of(2)]),
        (MONEY, sums),
        (POOLS, vec![format!("1 {} 1 6 1000000000 -", hex(1, 20))]),
    ];
    check(&[first, second], &expected);
}

#[test]
fn rows_are_of_the_pool_that_was_named_last_also_after_a_restart() {
    let batches: [&[&[Row]]; 5] = [
        &[&[transaction(1)]],
        &[&[pool(1, 5), transaction(1)], &[pool(2, 1), transaction(1)]],
        &[&[transaction(2)]],
        &[&[pool(1, 6)]],
        &[&[transaction(3)]],
    ];
    let of = |pool: u32, nonce: u32| format!("{pool} {nonce} - - signing 0 - 0 - - - - -");
    let pools = [(1, 1, 6), (2, 0, 1)].map(|(number, is_current, followed)| {
        format!(
            "{number} {} {is_current} {followed} 1000000000 -",
            hex(number, 20)
        )
    });
    let transactions = vec![of(0, 1), of(1, 1), of(1, 3), of(2, 1), of(2, 2)];
    check(&batches, &[(TRANSACTIONS, transactions), (POOLS, pools.to_vec())]);
}

#[test]
fn what_was_removed_stays_who_left_goes_and_what_cannot_be_read_stops_nothing() {
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            follow(&mut database, &[&[&[pool(1, 5), stranded(), seen(2)]]]).await;
            let mut notes = NotesWritten {
                at: Instant(2),
                written: written(&[seen(1), seen(2), seen(3), seen(4)]),
            };
            notes.written.changes[1].value = None;
            notes.written.changes[2].value = Some(b"what is this?".to_vec());
            let mut coalescer = database.resume().await.expect("it has a position").coalescer();
            take(&mut coalescer, &notes);
            let batch = coalescer.batch();
            assert_eq!(batch.chain.unreadable, 1);
            database.apply(&batch).await.expect("it follows");
            let woids = texts(&mut database, "SELECT woid FROM pool_chain_orders ORDER BY woid").await;
            assert_eq!(woids, [1, 2, 4].map(|woid| hex(woid, 20)), "{target}");
            assert_eq!(texts(&mut database, WORKERS).await, [""; 0], "{target}");
        });
    }
}
