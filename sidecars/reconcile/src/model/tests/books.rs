//! The books, and what an operator asks for while orders are under way.

use wire_hub::request::{Asked, Request};
use wire_hub::row::{OrderState, Place, Row, Totals, TransactionState};
use wire_hub::{Event as Said, Nonce, Wei};

use super::super::Hub;
use super::world::{FINAL_AFTER, Faults, OWNER, World, requester, worker};
use super::{KEEPS, request};
use crate::core::ledger::Account;
use crate::core::order::State;
use crate::core::policy::ConsensusPolicy;
use crate::core::reconciler::Event;

impl World {
    /// The books say what the hub has, as soon as all that was followed was also read.
    pub(crate) fn assert_the_ledger_is_right(&self) {
        let brain = self.brain();
        let is_followed = brain.tip().map(|tip| tip.at) == Some(self.head().at);
        if !is_followed || !brain.ledger().is_complete() || !brain.is_all_read() {
            return;
        }
        let totals = |who| brain.ledger().money(Account::Party(who)).totals();
        let locked = |who| {
            let is_subscribed = self.hub().person(who).affiliation.pool == Hub::POOL;
            if is_subscribed { 10 } else { 0 }
        };
        let workers = (1..=self.agents.len()).map(|number| (worker(number), 1_010, locked(worker(number))));
        let requesters = (0..self.requests.len()).map(|number| (requester(number), 10_000, 0));
        let unsold: u128 = self
            .hub()
            .offers()
            .iter()
            .map(|offer| 300 * u128::from(offer.remaining))
            .sum();
        for (who, deposit, other) in workers.chain(requesters).chain([(OWNER, 10_000, unsold)]) {
            let totals = totals(who);
            let (free, locked) = self.money(who);
            assert_eq!(totals.bound().0 + other, locked, "{who}: {totals:?}");
            assert_eq!(
                free + locked + totals.seized.0,
                deposit + totals.rewarded.0,
                "{who}: {totals:?}"
            );
        }
    }

    /// In the end the books have everything: the gas of all that was mined, and each order's part; and rows say the same.
    pub(crate) fn assert_the_books_are_closed(&self) {
        let ledger = self.brain().ledger();
        assert!(ledger.is_complete(), "{ledger:?}");
        self.assert_the_ledger_is_right();
        let receipts = self.blocks.iter().flat_map(|mined| &mined.receipts);
        let gas: u64 = receipts.map(|receipt| receipt.gas_used.0).sum();
        let totals = |account| ledger.money(account).totals();
        let owner = totals(Account::Party(OWNER));
        if self.is_gas_known {
            assert_eq!(
                (owner.gas.0, owner.burned.0),
                (gas, u128::from(gas) * 10),
                "{ledger:?}"
            );
        }
        let faults: u32 = (1..=self.agents.len())
            .map(|number| totals(Account::Party(worker(number))).faults)
            .sum();
        assert!(
            u64::from(faults) >= self.hub().history().1,
            "who was wrong was counted"
        );
        let rows = self.rows();
        let of_orders = rows.iter().filter_map(|row| match row {
            Row::Order(order) => Some(order.money.totals()),
            _ => None,
        });
        let orders = of_orders.fold(Totals::default(), |sum, totals| sum.plus(&totals));
        let of_parties = rows.iter().filter_map(|row| match row {
            Row::Party(_, money) => Some(money.totals()),
            _ => None,
        });
        let parties = of_parties.fold(Totals::default(), |sum, totals| sum.plus(&totals));
        let of_days = rows.iter().filter_map(|row| match row {
            Row::Day(_, money) => Some(money.totals()),
            _ => None,
        });
        let days = of_days.fold(Totals::default(), |sum, totals| sum.plus(&totals));
        assert_eq!(parties, days);
        assert_eq!(
            (parties.locked, parties.rewarded),
            (orders.locked, orders.rewarded)
        );
        for row in &rows {
            if let Row::Party(party, money) = row {
                assert_eq!(*money, ledger.money(Account::Party(*party)));
            }
        }
    }

    /// The operator wants the chain followed again.
    pub(super) fn replay(&mut self) {
        self.requests_made += 1;
        let request = Request::Replay {
            from: self.rng.u64(..=self.head().at.number),
        };
        let place = self.place();
        self.tell(Event::Requested {
            number: self.requests_made,
            asked: Asked { place, request },
        });
    }

    /// Where the pool is.
    pub(crate) fn place(&self) -> Place {
        Place {
            chain_id: 1,
            hub: Hub::ADDRESS,
            pool: Hub::POOL,
            owner: OWNER,
        }
    }

    /// Rows as anybody reads them.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = self.notes.iter().filter(|(key, _)| Row::is_key(key));
        rows.map(|(key, value)| Row::read(key, value).expect("a row"))
            .collect()
    }
}

fn faults(world: &World, number: usize) -> u32 {
    let money = world.brain().ledger().money(Account::Party(worker(number)));
    money.totals().faults
}

/// The operator asks for something.
fn ask(world: &mut World, number: u64, request: Request) {
    let place = world.place();
    let asked = Asked { place, request };
    world.tell(Event::Requested { number, asked });
}

#[test]
fn who_was_wrong_is_counted_once_and_not_while_that_is_orphaned() {
    for seed in 0..10 {
        let mut world = World::new(seed, "baaaa", &[request(3, KEEPS)]);
        world.until(|event| matches!(event, Said::FinalizeWork { .. }));
        let before = faults(&world, 1);
        world.reorganise(Some(1));
        world.mine();
        world.follow();
        let is_finalized = |world: &World| {
            let last = world.blocks.last().expect("never empty");
            last.logs
                .iter()
                .any(|log| matches!(log.event, Said::FinalizeWork { .. }))
        };
        assert_eq!(
            (before, faults(&world, 1)),
            (1, u32::from(is_finalized(&world))),
            "seed {seed}"
        );
        assert_eq!(world.brain().ledger().faults(worker(1)), 0, "it is not final");
        world.run();
        let all: Vec<u32> = (1..=5).map(|number| faults(&world, number)).collect();
        assert_eq!(all, [1, 0, 0, 0, 0]);
    }
}

#[test]
fn whoever_was_wrong_too_often_is_put_out_once_that_is_final() {
    for (limit, is_out) in [(Some(1), true), (Some(2), false), (None, false)] {
        let mut world = World::new(2, "baaaa", &[request(3, KEEPS)]);
        world.settings.evict_after = limit;
        world.run();
        assert_eq!(world.steps.contains_key("Evict"), is_out, "{limit:?}");
        for number in 1..=5 {
            let is_ours = world.hub().person(worker(number)).affiliation.pool == world.hub().pool;
            assert_eq!(is_ours, !is_out || number > 1, "{limit:?} {number}");
        }
    }
}

/// Who does not reveal is at fault also where nobody does, and others have to.
#[test]
fn who_never_reveals_is_counted() {
    let mut world = World::new(1, "aAA", &[request(5, KEEPS)]);
    world.run();
    assert_eq!([1, 2, 3].map(|number| faults(&world, number)), [0, 1, 1]);
}

#[test]
fn rows_tell_an_order_from_its_purchase_to_its_end() {
    let mut world = World::new(3, "aaa", &[request(5, KEEPS)]);
    world.run();
    let rows = world.rows();
    let orders: Vec<_> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Order(order) => Some(order),
            _ => None,
        })
        .collect();
    let [order] = orders[..] else {
        panic!("one order: {orders:?}")
    };
    assert_eq!((order.state, order.is_over), (OrderState::Final, true));
    let content = order.content.as_ref().expect("it was read");
    assert_eq!(
        (content.requester, content.value.0, content.stake.0),
        (requester(0), 1_000, 300)
    );
    assert_eq!(content.params, "echo 0");
    assert_eq!((order.workers.len(), order.result.is_some()), (3, true));
    assert!(
        order
            .workers
            .iter()
            .all(|worker| worker.asked.is_some() && worker.outcome.is_some())
    );
    let money = order.money.totals();
    assert_eq!(
        (money.locked.0, money.bound().0, money.rewarded.0),
        (2_200, 0, 1_000)
    );
    let said: String = order.reasons.iter().map(|reason| reason.text.as_str()).collect();
    assert!(said.contains("allow") && said.contains("finalize"), "{said}");
    let transactions: Vec<_> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Transaction(row) => Some(row),
            _ => None,
        })
        .collect();
    assert_eq!(transactions.len(), 3);
    for row in transactions {
        assert_eq!(
            (row.state, row.is_final),
            (TransactionState::Mined, true),
            "{row:?}"
        );
        assert_eq!(
            (row.about, row.woid()),
            (Some(order.identity.key()), Some(order.identity.woid))
        );
        assert!(row.mined.is_some() && !row.attempts.is_empty());
    }
    assert!(rows.iter().any(|row| matches!(row, Row::Pool(_))));
}

/// The predecessor of these rows kept none: what was followed is read again.
#[test]
fn a_notebook_without_books_gets_them() {
    for seed in 0..10 {
        let mut world = World::new(seed, "baaa", &[request(3, KEEPS), request(0, KEEPS)]);
        world.until(|event| matches!(event, Said::Contribute { .. }));
        for _ in 0..seed * 2 {
            world.round();
        }
        world
            .notes
            .retain(|key, _| !key.starts_with("row/") && !key.starts_with("open/"));
        world.is_gas_known = false;
        world.start();
        world.run();
        assert_eq!(world.state(), [State::Final; 2]);
    }
}

/// A transaction that was in a block when the pool's process died, and is in another when the next one looks, costs its gas
/// once.
#[test]
fn gas_of_what_was_orphaned_while_nobody_looked_counts_once() {
    for seed in 0..60 {
        let mut world = World::new(seed, "aaa", &[request(5, KEEPS)]);
        world.until(|event| matches!(event, Said::AllowWorkerToContribute { .. }));
        world.reorganise(Some(2));
        for _ in 0..3 * FINAL_AFTER {
            world.mine();
        }
        world.start();
        world.run();
        assert_eq!(world.state(), [State::Final], "seed {seed}");
        world.assert_the_books_are_closed();
    }
}

#[test]
fn a_replay_at_any_time_changes_nothing_that_is_right_and_is_done_once() {
    for seed in 0..30 {
        let mut world = World::new(seed, "baaa", &[request(3, KEEPS), request(0, KEEPS)]);
        for _ in 0..1 + seed {
            world.round();
        }
        let from = world.rng.u64(..=world.head().at.number);
        ask(&mut world, 7, Request::Replay { from });
        assert_eq!(world.brain().handled(), 7);
        let tip = world.brain().tip().copied();
        assert_eq!(
            tip.map(|tip| tip.at),
            Some(world.head().at),
            "all is followed again"
        );
        if seed % 2 == 0 {
            world.start();
        }
        assert_eq!(world.brain().handled(), 7, "the next process knows");
        ask(&mut world, 7, Request::Replay { from: 0 });
        ask(
            &mut world,
            6,
            Request::Unstick {
                nonce: None,
                as_nothing: true,
            },
        );
        world.run();
        assert_eq!(world.state(), [State::Final; 2], "seed {seed}");
        let (all, succeeded) = world.transactions();
        assert_eq!(all, succeeded, "nothing was sent in vain: {:?}", world.failures);
    }
}

#[test]
fn an_order_that_was_missed_is_found_by_a_replay() {
    let mut world = World::new(4, "a", &[request(0, KEEPS)]);
    world.from = 6;
    for _ in 0..6 {
        world.mine();
    }
    for _ in 0..10 {
        world.round();
    }
    assert_eq!(world.brain().book().iter().count(), 0, "it was bought before");
    ask(&mut world, 1, Request::Replay { from: 0 });
    world.run();
    assert_eq!(world.state(), [State::Final]);
    assert_eq!(world.brain().ledger().since(), 0);
}

#[test]
fn a_request_for_another_pool_is_passed_over() {
    let mut world = World::new(4, "a", &[request(0, KEEPS)]);
    world.round();
    let place = wire_hub::row::Place {
        chain_id: 99,
        ..world.place()
    };
    let request = Request::Replay { from: 0 };
    let before = world.brain().tip().copied();
    world.tell(Event::Requested {
        number: 3,
        asked: Asked { place, request },
    });
    assert_eq!(
        (world.brain().handled(), world.brain().tip().copied()),
        (3, before)
    );
}

/// Nodes lose all that is sent, until somebody looks.
fn stuck() -> World {
    let mut world = World::new(5, "a", &[request(0, KEEPS)]);
    world.faults.lost_percent = 100;
    for _ in 0..8 {
        world.round();
    }
    assert_eq!(world.transactions(), (0, 0));
    assert!(world.brain().lane().in_flight() > 0);
    world
}

#[test]
fn what_is_stuck_is_offered_at_the_cap_on_request() {
    let mut world = stuck();
    let at_the_cap = |world: &World| {
        world
            .signed
            .values()
            .filter(|signed| signed.price == Wei(1_000))
            .count()
    };
    assert_eq!(at_the_cap(&world), 0);
    let request = Request::Unstick {
        nonce: Some(Nonce(0)),
        as_nothing: false,
    };
    ask(&mut world, 1, request);
    assert_eq!(at_the_cap(&world), 1);
    world.faults.lost_percent = 0;
    world.run();
    assert_eq!(world.state(), [State::Final]);
    assert_eq!(world.transactions(), (3, 3));
}

#[test]
fn what_is_stuck_gives_its_nonce_away_on_request_and_is_sent_again_under_another() {
    for is_killed in [false, true] {
        let mut world = stuck();
        let request = Request::Unstick {
            nonce: None,
            as_nothing: true,
        };
        ask(&mut world, 1, request);
        if is_killed {
            world.start();
        }
        world.faults.lost_percent = 0;
        world.run();
        assert_eq!(world.state(), [State::Final]);
        let rows = world.rows();
        let first = rows.iter().find_map(|row| match row {
            Row::Transaction(row) if row.nonce == Nonce(0) => Some(row),
            _ => None,
        });
        let first = first.expect("a row");
        assert_eq!(
            (first.state, first.is_final, first.why.as_deref()),
            (TransactionState::Nothing, true, Some("nobody wanted it any more"))
        );
        assert_eq!(world.transactions(), (4, 4), "with what does nothing");
    }
}

#[test]
fn what_a_reorganisation_took_back_for_good_is_forgotten() {
    let mut replaced = 0;
    for seed in 0..40 {
        let mut world = World::new(seed, "aaaa", &[request(0, KEEPS), request(0, KEEPS)]);
        world.until(|event| matches!(event, Said::WorkOrderActive { .. }));
        world.round();
        world.reorganise(Some(3));
        world.run();
        for _ in 0..2 * FINAL_AFTER {
            world.round();
        }
        assert_eq!(
            world.brain().book().iter().count(),
            0,
            "seed {seed}: {:?}",
            world.state()
        );
        let is_replaced = |row: &Row| matches!(row, Row::Order(row) if row.state == OrderState::Replaced);
        replaced += world.rows().iter().filter(|row| is_replaced(row)).count();
    }
    assert!(replaced > 0, "no seed swaps two purchases");
}

/// What was mined in vain has its explanation in its row and among the reasons of its order.
#[test]
fn a_failure_is_explained_as_the_hub_would() {
    let mut explained = 0;
    for seed in 0..40 {
        let mut world = World::new(seed, "abca", &[request(3, true), request(2, true)]);
        world.faults.reorg_percent = 20;
        world.faults.lost_percent = 30;
        world.run();
        let why: Vec<String> = world
            .rows()
            .into_iter()
            .filter_map(|row| match row {
                Row::Transaction(row) if row.state == TransactionState::Failed => Some(row.why),
                _ => None,
            })
            .map(|why| why.expect("it is explained"))
            .collect();
        assert!(
            why.iter().all(|why| world.failures.contains(why)),
            "{why:?} {:?}",
            world.failures
        );
        explained += why.len();
    }
    assert!(explained > 0, "no seed fails");
}

/// A world as random ones are made, which has shown something.
fn found(seed: u64, letters: &str, trusts: &[u128], consensus: ConsensusPolicy, faults: Faults) {
    let requests: Vec<_> = trusts.iter().map(|trust| request(*trust, KEEPS)).collect();
    let mut world = World::new(seed, letters, &requests);
    world.settings.consensus = consensus;
    world.faults = faults;
    for agent in &mut world.agents {
        agent.blocks = 1 + u64::from(seed as u8 % 5);
    }
    world.run();
}

/// An order was forgotten whose money was not in the sums yet, since an earlier one was not read: a process that was killed then
/// could not read it again.
#[test]
fn an_order_is_kept_until_its_money_is_in_the_sums() {
    let faults = Faults {
        lost_percent: 3,
        reorg_percent: 5,
        kill_percent: 4,
        replay_percent: 9,
        away_percent: 19,
        ..Faults::default()
    };
    found(
        2_932_536_859_208_926_275,
        "abaAAA",
        &[5, 0, 0],
        ConsensusPolicy::Poco,
        faults,
    );
}

/// A reorganisation moved two transactions while the chain was followed again: the gas of one was settled as if the other's
/// nonce were still free, and the other's was lost.
#[test]
fn gas_of_what_moves_during_a_replay_is_not_lost() {
    let faults = Faults {
        lost_percent: 12,
        reorg_percent: 4,
        replay_percent: 3,
        away_percent: 9,
        ..Faults::default()
    };
    found(
        3_698_340_828_702_675_287,
        "aA",
        &[5, 5],
        ConsensusPolicy::Sarmenta,
        faults,
    );
}
