//! The books of a pool, written down: an order that is paid, one that waits, and one whose requester has to claim.

use wire_hub::row::{
    AttemptRow, Content, MinedRow, MoneyRow, OrderRow, OrderState, Outcome, Place, PoolRow, Reason, Row,
    Stranded, Texts, Totals, TransactionRow, TransactionState, WorkerRow,
};
use wire_hub::{
    Address, Balance, BlockRef, Call, ContributionStatus, Gas, Hash, Identity, NOBODY, Nonce, Rlc, Timestamp,
    Trust, Wei,
};

/// An evening in November 2026.
const EVENING: u64 = 1_795_471_200;

pub(super) const PLACE: Place = Place {
    chain_id: 17,
    hub: Address([0x22; 20]),
    pool: Address([0x77; 20]),
    owner: Address([0x99; 20]),
};

/// Whose requester has to claim.
pub(super) const STRANDED: Address = Address([0xc3; 20]);
/// The one that waits.
pub(super) const WAITING: Address = Address([0xb2; 20]);
const PAID: Address = Address([0xa1; 20]);
const WORKERS: [Address; 2] = [Address([0x01; 20]), Address([0x02; 20])];
const REQUESTER: Address = Address([0x55; 20]);

fn at(seconds: u64) -> Timestamp {
    Timestamp(EVENING + seconds)
}

/// All of them, as notes.
pub(super) fn notes() -> Vec<(String, Vec<u8>)> {
    let orders = [paid(), waiting(), stranded(), replaced()];
    let orders = orders.map(|order| Row::Order(Box::new(order)));
    let transactions = [mined(), failed(), sent()].map(|row| Row::Transaction(Box::new(row)));
    let money = [
        Row::Party(
            PLACE.owner,
            money(Totals {
                locked: Rlc(900),
                unlocked: Rlc(300),
                rewarded: Rlc(10),
                ..burned()
            }),
        ),
        Row::Party(
            WORKERS[0],
            money(Totals {
                locked: Rlc(600),
                unlocked: Rlc(300),
                rewarded: Rlc(990),
                ..Totals::default()
            }),
        ),
        Row::Party(
            WORKERS[1],
            money(Totals {
                locked: Rlc(300),
                seized: Rlc(300),
                faults: 1,
                ..Totals::default()
            }),
        ),
        Row::Party(
            REQUESTER,
            money(Totals {
                locked: Rlc(3_021),
                unlocked: Rlc(1_007),
                ..Totals::default()
            }),
        ),
        Row::Day(
            EVENING / 86_400,
            money(Totals {
                locked: Rlc(4_821),
                rewarded: Rlc(1_000),
                ..burned()
            }),
        ),
        Row::Day(
            EVENING / 86_400 - 1,
            money(Totals {
                locked: Rlc(5),
                ..Totals::default()
            }),
        ),
    ];
    let rows = [Row::Pool(pool(0))].into_iter();
    let rows = rows.chain(orders).chain(transactions).chain(money);
    rows.map(|row| row.note()).collect()
}

pub(super) fn pool(handled: u64) -> PoolRow {
    PoolRow {
        place: PLACE,
        head: 121,
        followed: 120,
        followed_at: at(3_600),
        final_: 100,
        since: 7,
        balance: Some(Balance {
            stake: Rlc(5_000),
            locked: Rlc(600),
        }),
        coins: Some(Wei(2_000_000_000_000_000_000)),
        handled,
        alerts: vec![
            "transactions wait: gas costs 120 gwei a unit, and 100 is the most that is paid".to_owned(),
        ],
    }
}

fn burned() -> Totals {
    Totals {
        gas: Gas(270_000),
        burned: Wei(5_400_000_000_000_000),
        ..Totals::default()
    }
}

fn money(totals: Totals) -> MoneyRow {
    MoneyRow {
        settled: totals,
        upto: Some(100),
        gas_upto: Some(100),
        open: Totals::default(),
    }
}

fn identity(woid: Address, block: u8) -> Identity {
    Identity {
        chain_id: PLACE.chain_id,
        hub: PLACE.hub,
        woid,
        block: Hash([block; 32]),
        fingerprint: Hash([0xf0; 32]),
    }
}

fn order(woid: Address, block: u8, state: OrderState) -> OrderRow {
    OrderRow {
        content: Some(Content {
            requester: REQUESTER,
            app: Address([0x0a; 20]),
            dataset: NOBODY,
            beneficiary: REQUESTER,
            callback: NOBODY,
            market_order: 3,
            category: 5,
            period_s: 300,
            trust: Trust(2),
            value: Rlc(1_000),
            stake: Rlc(300),
            emitcost: Rlc(7),
            params: "{\"cmdline\":\"echo \u{1b}[2J\"}".to_owned(),
            at: at(u64::from(block)),
        }),
        state,
        is_over: false,
        bought: Some(block.into()),
        consensus_timeout: at(u64::from(block) + 3_000),
        at: at(3_600),
        ..OrderRow::new(identity(woid, block))
    }
}

fn worker(wallet: Address, status: ContributionStatus, outcome: Option<Outcome>) -> WorkerRow {
    WorkerRow {
        wallet,
        status,
        asked: Some(at(60)),
        outcome,
    }
}

fn reason(seconds: u64, text: &str) -> Reason {
    Reason {
        at: at(seconds),
        text: text.to_owned(),
    }
}

fn paid() -> OrderRow {
    OrderRow {
        is_over: true,
        ended: Some(30),
        reveal_date: at(900),
        workers: vec![worker(
            WORKERS[0],
            ContributionStatus::Proved,
            Some(Outcome::Done(Some(Hash([0xdd; 32])))),
        )],
        reasons: vec![
            reason(60, "chose a worker: 1 is enough"),
            reason(200, "finalizes: all have revealed"),
        ],
        result: Some(Texts {
            uri: "xw://pool/1".to_owned(),
            ..Texts::default()
        }),
        money: money(Totals {
            locked: Rlc(1_607),
            unlocked: Rlc(1_607),
            rewarded: Rlc(1_000),
            ..burned()
        }),
        ..order(PAID, 10, OrderState::Final)
    }
}

fn waiting() -> OrderRow {
    OrderRow {
        reveal_date: at(4_200),
        workers: vec![
            worker(
                WORKERS[0],
                ContributionStatus::Contributed,
                Some(Outcome::Done(None)),
            ),
            worker(WORKERS[1], ContributionStatus::Rejected, Some(Outcome::Failed)),
        ],
        reasons: vec![reason(90, "allows a worker")],
        money: money(Totals {
            locked: Rlc(1_607),
            ..Totals::default()
        }),
        ..order(WAITING, 90, OrderState::Revealing)
    }
}

fn stranded() -> OrderRow {
    OrderRow {
        workers: vec![worker(WORKERS[1], ContributionStatus::Contributed, None)],
        money: money(Totals {
            locked: Rlc(1_607),
            ..Totals::default()
        }),
        stranded: Some(Stranded {
            pool: Rlc(300),
            workers: vec![(WORKERS[1], Rlc(300))],
            requester: Rlc(1_007),
        }),
        ..order(STRANDED, 20, OrderState::Stranded)
    }
}

/// A reorganisation gave its address to the one that waits.
fn replaced() -> OrderRow {
    OrderRow {
        content: None,
        bought: None,
        ..order(WAITING, 89, OrderState::Replaced)
    }
}

fn transaction(nonce: u64, call: Call, about: Option<Hash>) -> TransactionRow {
    let attempt = |kind: u8, price| AttemptRow {
        hash: Hash([kind + nonce as u8; 32]),
        price_max: Wei(price),
        is_nothing: kind == 0x80,
    };
    TransactionRow {
        attempts: vec![attempt(0x10, 20_000_000_000), attempt(0x20, 25_000_000_000)],
        at: at(3_600),
        ..TransactionRow::new(Nonce(nonce), Some(call), about)
    }
}

fn in_block(number: u64, nonce: u8) -> Option<MinedRow> {
    Some(MinedRow {
        hash: Hash([0x10 + nonce; 32]),
        block: BlockRef {
            number,
            hash: Hash([0xbb; 32]),
        },
        at: at(number),
        gas: Gas(90_000),
        price: Wei(20_000_000_000),
    })
}

fn mined() -> TransactionRow {
    let workers = vec![WORKERS[0]];
    let call = Call::AllowWorkersToContribute {
        woid: WAITING,
        workers,
    };
    TransactionRow {
        state: TransactionState::Mined,
        is_final: true,
        mined: in_block(95, 1),
        ..transaction(1, call, Some(identity(WAITING, 90).key()))
    }
}

fn failed() -> TransactionRow {
    let call = Call::CloseMarketOrder { market_order: 2 };
    TransactionRow {
        state: TransactionState::Failed,
        mined: in_block(110, 2),
        why: Some("the offer was closed already".to_owned()),
        ..transaction(2, call, None)
    }
}

fn sent() -> TransactionRow {
    let call = Call::RevealConsensus {
        woid: WAITING,
        consensus: Hash([0xcc; 32]),
    };
    TransactionRow {
        state: TransactionState::Sent,
        ..transaction(3, call, Some(identity(WAITING, 90).key()))
    }
}
