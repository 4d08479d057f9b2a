//! Sums against entries: taken back, read again, noted in pieces.

use super::*;
use wire_hub::row::DAY_S;
use wire_hub::{
    Category, Consensus, Contribution, ContributionStatus, Event, Gas, MarketOrder, MarketStatus, NOBODY,
    OrderStatus, Place, Rlc, Trust, Wei, WorkOrder,
};

const WOID: Address = Address([0xaa; 20]);
const KEY: Hash = Hash([0xaa; 32]);
const OWNER: Address = Address([0xcc; 20]);
const WORKER: Address = Address([1; 20]);
const OTHER: Address = Address([2; 20]);
const REQUESTER: Address = Address([0xbb; 20]);
const DAY: Account = Account::Day(3);
const ORDER: Account = Account::Order(KEY);
const AT: Timestamp = Timestamp(3 * DAY_S + 5);

/// An order of 1000, with stakes of 300, for whom nobody has done anything yet.
pub(super) fn views() -> Views {
    Views {
        order: WorkOrder {
            woid: WOID,
            market_order: 1,
            workerpool: NOBODY,
            app: NOBODY,
            dataset: NOBODY,
            requester: REQUESTER,
            params: String::new(),
            callback: NOBODY,
            beneficiary: NOBODY,
            emitcost: Rlc(7),
            status: OrderStatus::Active,
        },
        market: MarketOrder {
            id: 1,
            status: MarketStatus::Ask,
            category: 1,
            trust: Trust(0),
            value: Rlc(1_000),
            volume: 1,
            remaining: 0,
            workerpool: NOBODY,
            workerpool_owner: OWNER,
        },
        category: Category {
            id: 1,
            name: String::new(),
            period_s: 300,
        },
        consensus: Consensus {
            pool_reward: Rlc(1_000),
            stake_amount: Rlc(300),
            ..Consensus::default()
        },
        contributions: Vec::new(),
        is_callback_done: false,
    }
}

/// Of a worker that revealed and one that did not.
fn finalized() -> Views {
    let with = |status| Contribution {
        status,
        ..Contribution::default()
    };
    Views {
        contributions: vec![
            (WORKER, with(ContributionStatus::Proved)),
            (OTHER, with(ContributionStatus::Contributed)),
        ],
        ..views()
    }
}

fn block(number: u64, fork: u8) -> BlockRef {
    BlockRef {
        number,
        hash: Hash([fork; 32]),
    }
}

fn log(block: BlockRef, log_index: u32, event: Event) -> Log {
    let transaction = Hash([block.number as u8; 32]);
    let place = Place {
        block,
        log_index,
        transaction,
    };
    Log { place, event }
}

fn contribute(worker: Address) -> Event {
    Event::Contribute {
        woid: WOID,
        worker,
        result_hash: Hash::ZERO,
    }
}

fn finalize() -> Event {
    Event::FinalizeWork {
        woid: WOID,
        stdout: String::new(),
        stderr: String::new(),
        uri: String::new(),
    }
}

/// What the hub pays and takes in that transaction.
fn receipts(at: BlockRef) -> BTreeMap<(BlockRef, Hash), Receipt> {
    let transaction = Hash([at.number as u8; 32]);
    let reward = |user, amount| Event::Reward {
        user,
        amount: Rlc(amount),
    };
    let seize = |user, amount| Event::Seize {
        user,
        amount: Rlc(amount),
    };
    let events = [
        reward(WORKER, 1_287),
        seize(OTHER, 300),
        reward(OWNER, 13),
        seize(REQUESTER, 1_007),
    ];
    let receipt = Receipt {
        transaction,
        block: at,
        index: 0,
        succeeded: true,
        gas_used: Gas(300_000),
        gas_price: Wei(5),
        logs: events.into_iter().map(|event| log(at, 0, event)).collect(),
    };
    BTreeMap::from([((at, transaction), receipt)])
}

fn mined(block: BlockRef) -> MinedRow {
    MinedRow {
        hash: Hash([9; 32]),
        block,
        at: AT,
        gas: Gas(40_000),
        price: Wei(5),
    }
}

/// All that a restart finds: sums, and what is open.
fn restarted(ledger: &Ledger) -> Ledger {
    let mut next = Ledger::new(ledger.since);
    for (account, sum) in &ledger.sums {
        next.restore_sum(*account, *sum);
    }
    for (block, page) in &ledger.pages {
        for number in page.parts() {
            let part = ledger.part(*block, number).expect("it has something");
            let bytes = postcard::to_allocvec(&part).expect("a note");
            next.restore_part(postcard::from_bytes(&bytes).expect("the same note"));
        }
    }
    next.gas = ledger.gas.clone();
    next
}

const ACCOUNTS: [Account; 6] = [
    ORDER,
    DAY,
    Account::Party(OWNER),
    Account::Party(WORKER),
    Account::Party(OTHER),
    Account::Party(REQUESTER),
];

fn all(ledger: &Ledger) -> Vec<Totals> {
    let totals = ACCOUNTS.iter().map(|account| ledger.money(*account).totals());
    totals.collect()
}

/// A whole order: bought in block 5, contributed to in 6, finalized in 8; and gas of two transactions.
fn whole(fork: u8) -> Ledger {
    let mut ledger = Ledger::new(0);
    follow(&mut ledger, fork);
    ledger
}

fn follow(ledger: &mut Ledger, fork: u8) {
    let bought = Event::WorkOrderActive { woid: WOID };
    ledger.on_log(&log(block(5, fork), 3, bought), AT);
    ledger.on_log(&log(block(6, fork), 0, contribute(WORKER)), AT);
    ledger.on_log(&log(block(6, fork), 1, contribute(OTHER)), AT);
    ledger.on_log(&log(block(8, fork), 1, finalize()), AT);
    ledger.price(KEY, &finalized(), 9, &receipts(block(8, fork)), OWNER);
    ledger.burn(Nonce(0), &mined(block(7, fork)), OWNER, Some(KEY));
    ledger.burn(Nonce(1), &mined(block(8, fork)), OWNER, None);
}

#[test]
fn a_whole_order_moves_the_money_of_everybody() {
    let ledger = whole(1);
    let of = |party| ledger.money(Account::Party(party)).totals();
    assert_eq!(
        (of(WORKER).bound(), of(WORKER).rewarded, of(WORKER).faults),
        (Rlc(0), Rlc(1_287), 0)
    );
    assert_eq!(
        (of(OTHER).bound(), of(OTHER).seized, of(OTHER).faults),
        (Rlc(0), Rlc(300), 1)
    );
    assert_eq!(
        (of(REQUESTER).bound(), of(REQUESTER).seized),
        (Rlc(0), Rlc(1_007))
    );
    assert_eq!((of(OWNER).bound(), of(OWNER).rewarded), (Rlc(0), Rlc(13)));
    assert_eq!((of(OWNER).gas, of(OWNER).burned), (Gas(80_000), Wei(400_000)));
    let order = ledger.money(ORDER).totals();
    assert_eq!(
        (order.locked, order.gas, order.faults),
        (Rlc(1_907), Gas(40_000), 1)
    );
    assert_eq!(ledger.money(DAY).totals().gas, Gas(80_000));
}

#[test]
fn what_waits_for_views_or_a_receipt_is_open_and_holds_the_sums_of_later_blocks() {
    let mut ledger = Ledger::new(0);
    ledger.on_log(&log(block(6, 1), 0, contribute(WORKER)), AT);
    ledger.on_log(&log(block(8, 1), 1, finalize()), AT);
    assert_eq!(ledger.unpriced(), BTreeMap::from([(WOID, 8)]));
    assert_eq!(ledger.unseen(), BTreeSet::from([(block(8, 1), Hash([8; 32]))]));
    ledger.price(KEY, &finalized(), 7, &BTreeMap::new(), OWNER);
    assert_eq!(ledger.money(Account::Party(WORKER)).totals().locked, Rlc(300));
    assert!(!ledger.is_complete(), "views of block 7 say nothing of block 8");
    ledger.settle(100, 100);
    let row = ledger.money(Account::Party(WORKER));
    assert_eq!((row.upto, row.settled.locked), (Some(7), Rlc(300)));
    ledger.price(KEY, &finalized(), 9, &BTreeMap::new(), OWNER);
    assert!(!ledger.is_complete(), "its receipt is missing");
    ledger.price(KEY, &finalized(), 9, &receipts(block(8, 1)), OWNER);
    assert!(ledger.is_complete());
    ledger.settle(100, 100);
    let row = ledger.money(Account::Party(WORKER));
    assert_eq!(
        (row.upto, row.settled.unlocked, row.open),
        (Some(100), Rlc(300), Totals::default())
    );
}

#[test]
fn a_reorganisation_takes_back_what_it_orphaned_and_a_repeat_counts_once() {
    let mut ledger = whole(1);
    let before = all(&ledger);
    follow(&mut ledger, 1);
    assert_eq!(all(&ledger), before);
    ledger.undo(block(8, 2));
    assert_eq!(all(&ledger), before, "another block");
    ledger.undo(block(8, 1));
    let other = ledger.money(Account::Party(OTHER)).totals();
    assert_eq!((other.bound(), other.seized, other.faults), (Rlc(300), Rlc(0), 0));
    ledger.on_log(&log(block(8, 2), 1, finalize()), AT);
    ledger.price(KEY, &finalized(), 9, &receipts(block(8, 2)), OWNER);
    assert_eq!(all(&ledger), before);
    ledger.unburn(Nonce(1));
    let gas = |ledger: &Ledger| ledger.money(Account::Party(OWNER)).totals().gas;
    assert_eq!(gas(&ledger), Gas(40_000));
    ledger.burn(Nonce(0), &mined(block(9, 2)), OWNER, Some(KEY));
    assert_eq!(gas(&ledger), Gas(40_000), "the same transaction elsewhere");
}

#[test]
fn sums_are_the_same_before_and_after_blocks_become_final_and_after_every_restart() {
    let expected = all(&whole(1));
    let mut ledger = whole(1);
    for (upto, gas_upto) in [(4, 4), (6, 2), (7, 7), (7, 3), (8, 7), (100, 100)] {
        ledger.settle(upto, gas_upto);
        assert_eq!(all(&ledger), expected, "{upto} {gas_upto}");
        let mut next = restarted(&ledger);
        assert_eq!(all(&next), expected, "{upto} {gas_upto}");
        // What was followed and mined may be said again.
        follow(&mut next, 1);
        assert_eq!(all(&next), expected, "{upto} {gas_upto}");
        next.settle(upto, gas_upto);
        assert_eq!(all(&next), expected, "{upto} {gas_upto}");
    }
    assert!(ledger.pages.is_empty() && ledger.gas.is_empty());
    assert_eq!((ledger.faults(OTHER), ledger.faults(WORKER)), (1, 0));
    ledger.forget(KEY);
    assert_eq!(ledger.money(ORDER).totals(), Totals::default());
}

/// Notes of one change may be written in pieces. Whichever sums have arrived, what is open is still there, and nothing is
/// counted twice.
#[test]
fn nothing_is_counted_twice_where_only_some_sums_were_written() {
    let expected = all(&whole(1));
    for arrived in 0_u32..1 << ACCOUNTS.len() {
        let before = whole(1);
        let mut after = before.clone();
        after.settle(7, 7);
        let mut next = restarted(&before);
        for (index, account) in ACCOUNTS.iter().enumerate() {
            if let (true, Some(sum)) = (arrived >> index & 1 == 1, after.sums.get(account)) {
                next.restore_sum(*account, *sum);
            }
        }
        assert_eq!(all(&next), expected, "{arrived:b}");
        next.settle(100, 100);
        assert_eq!(all(&next), expected, "{arrived:b}");
    }
}

#[test]
fn gas_is_settled_only_when_no_earlier_one_can_come() {
    let mut ledger = Ledger::new(0);
    ledger.burn(Nonce(4), &mined(block(9, 1)), OWNER, None);
    ledger.settle(100, 8);
    let row = ledger.money(Account::Party(OWNER));
    assert_eq!((row.settled.gas, row.open.gas), (Gas(0), Gas(40_000)));
    ledger.burn(Nonce(3), &mined(block(9, 1)), OWNER, None);
    ledger.settle(100, 200);
    let row = ledger.money(Account::Party(OWNER));
    assert_eq!((row.settled.gas, row.open.gas), (Gas(80_000), Gas(0)));
    assert_eq!(row.gas_upto, Some(100));
}

#[test]
fn books_that_are_begun_again_keep_their_gas_and_come_to_the_same() {
    let expected = all(&whole(1));
    for settled in [0, 6, 100] {
        let mut ledger = whole(1);
        ledger.settle(settled, settled);
        assert_eq!(ledger.begin_again(7), 0, "from where they begin");
        let owner = ledger.money(Account::Party(OWNER)).totals();
        assert_eq!((owner.locked, owner.gas), (Rlc(0), Gas(80_000)));
        follow(&mut ledger, 1);
        assert_eq!(all(&ledger), expected, "{settled}");
        ledger.settle(100, 100);
        assert_eq!(all(&ledger), expected, "{settled}");
    }
    assert_eq!(Ledger::new(50).begin_again(7), 7, "from before");
}

#[test]
fn only_what_has_changed_is_to_be_noted() {
    let mut ledger = whole(1);
    let changed = ledger.take_changed();
    assert_eq!(changed.accounts, ACCOUNTS.into_iter().collect());
    let parts: Vec<u64> = changed.parts.iter().map(|(block, _)| block.number).collect();
    assert_eq!(parts, [5, 6, 8]);
    assert_eq!(ledger.take_changed(), Changed::default());
    ledger.settle(5, 5);
    let changed = ledger.take_changed();
    assert!(
        !changed.accounts.contains(&Account::Party(WORKER)),
        "it was not reached"
    );
    assert_eq!(changed.parts, BTreeSet::from([(block(5, 1), 0)]));
    assert_eq!(ledger.part(block(5, 1), 0), None);
    ledger.settle(5, 5);
    assert_eq!(ledger.take_changed(), Changed::default(), "nothing is new");
}
