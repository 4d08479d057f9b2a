//! Works for the worker that holds one wallet.

use wire_protocol::client_link::Query;
use wire_protocol::ids::{LinkId, WorkId};
use wire_protocol::joining::{Address, WalletProof};
use wire_protocol::template::WorkTemplate;

use crate::kit::{Pool, join, null, tokens};

fn wallet(byte: u8) -> Address {
    Address([byte; 20])
}

fn bound(byte: u8) -> WorkTemplate {
    let mut template = null();
    template.requirements.wallet = Some(wallet(byte));
    template
}

fn holder(pool: &mut Pool, uid: &str, byte: Option<u8>) -> LinkId {
    let mut join = join(uid, 2, 0);
    join.wallet = byte.map(|byte| WalletProof {
        address: wallet(byte),
        r: [1; 32],
        s: [1; 32],
        parity: 0,
    });
    let link = pool.join(join);
    pool.welcome(link);
    link
}

fn why(pool: &mut Pool, work: WorkId) -> String {
    let operator = pool.operator();
    pool.explain(operator, Query::ExplainWork(work))
}

#[test]
fn a_work_for_a_wallet_goes_to_the_worker_that_holds_it_and_to_no_other() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let none = holder(&mut pool, "none", None);
    let other = holder(&mut pool, "other", Some(1));
    let bag = pool.submit(alice, bound(2), 1);
    assert!(pool.leased(none).is_empty() && pool.leased(other).is_empty());
    let said = why(&mut pool, bag.first);
    assert!(said.contains("none of the 2 connected workers"), "{said}");
    assert!(
        said.contains(&format!(
            "wallet: the work asks for {}, the worker has none",
            wallet(2)
        )) && said.contains(&format!("the worker has {}", wallet(1))),
        "{said}"
    );
    let right = holder(&mut pool, "right", Some(2));
    assert_eq!(pool.leased(right), [bag.first]);
}

#[test]
fn works_for_a_wallet_and_works_for_all_stand_in_one_line() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let first = pool.submit(alice, null(), 1);
    let bound = pool.submit(alice, bound(1), 1);
    let last = pool.submit(alice, null(), 1);
    let link = holder(&mut pool, "ant", Some(1));
    assert_eq!(pool.leased(link), [first.first, bound.first]);
    let plain = holder(&mut pool, "bee", None);
    assert_eq!(pool.leased(plain), [last.first]);
}

#[test]
fn a_worker_that_comes_back_with_another_wallet_gets_what_that_asks_for() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let bag = pool.submit(alice, bound(2), 2);
    let before = holder(&mut pool, "ant", Some(1));
    assert!(pool.leased(before).is_empty());
    pool.close(before);
    let after = holder(&mut pool, "ant", Some(2));
    assert_eq!(pool.leased(after), [bag.first, bag.first.offset(1)]);
}

#[test]
fn a_wallet_is_still_asked_for_after_a_restart_and_by_a_later_bag() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let first = pool.submit(alice, bound(1), 1);
    pool.restart();
    let link = holder(&mut pool, "ant", Some(1));
    let held = pool.leases(link);
    assert_eq!(
        held.iter().map(|lease| lease.token.work).collect::<Vec<_>>(),
        [first.first]
    );
    pool.finish(link, &tokens(&held));
    // Nobody asks for it any more, and then somebody does again.
    let retention = pool.config.retention;
    pool.advance(retention);
    let alice = pool.client("alice");
    let second = pool.submit(alice, bound(1), 1);
    let third = pool.submit(alice, bound(3), 1);
    assert_eq!(pool.leased(link), [second.first]);
    let said = why(&mut pool, third.first);
    assert!(said.contains("none of the 1 connected workers"), "{said}");
}
