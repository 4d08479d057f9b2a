//! What is counted: licences, GPUs, and cores and memory of workers that pack.

use wire_protocol::client_link::{Command, Query, Selector};
use wire_protocol::ids::{LinkId, WorkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::resources::Packing;
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::Reply;
use wire_protocol::worker_link::Join;

use crate::kit::{Pool, WorkerHeard, join, null, rows, tokens};

/// Each of its works takes so many licences.
fn taking(licences: u64) -> WorkTemplate {
    let mut template = null();
    template.requirements.custom = vec![("licence".to_owned(), licences)];
    template
}

/// Each of its works takes so many cores.
fn wide(cores: u32) -> WorkTemplate {
    let mut template = null();
    template.requirements.cores = cores;
    template
}

fn licensed(uid: &str, slots: u32, prefill: u32, licences: u64) -> Join {
    let mut join = join(uid, slots, prefill);
    join.offer.custom = vec![("licence".to_owned(), licences)];
    join
}

/// Four cores and 1 GiB, as the kit's workers have them.
fn packing(uid: &str, slots: u32) -> Join {
    let mut join = join(uid, slots, 0);
    join.offer.packing = Packing::Resources;
    join
}

fn joined(pool: &mut Pool, join: Join) -> LinkId {
    let link = pool.join(join);
    pool.welcome(link);
    link
}

#[test]
fn works_that_ask_for_a_counter_run_no_more_at_once_than_there_is_of_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, licensed("ant", 8, 8, 2));
    pool.submit(client, taking(1), 5);
    let mut held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 2, "of eight slots");
    for left in [3, 2, 1, 0, 0] {
        pool.finish(worker, &held[..1]);
        held.remove(0);
        held.extend(tokens(&pool.leases(worker)));
        assert_eq!(pool.status(client).works_queued, left.max(1) - 1);
        assert!(held.len() <= 2);
    }
    pool.told(client);
}

#[test]
fn gpus_are_counted_as_counters_are() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let mut strong = join("strong", 8, 8);
    strong.offer.gpus = 3;
    let worker = joined(&mut pool, strong);
    let mut template = null();
    template.requirements.gpus = 2;
    pool.submit(client, template, 2);
    let first = tokens(&pool.leases(worker));
    assert_eq!(first.len(), 1);
    pool.finish(worker, &first);
    assert_eq!(pool.leased(worker).len(), 1);
    pool.told(client);
}

#[test]
fn works_that_take_nothing_of_what_is_counted_go_on_beside_those_that_wait_for_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, licensed("ant", 4, 2, 1));
    pool.submit(client, taking(1), 3);
    assert_eq!(pool.leased(worker).len(), 1);
    pool.submit(client, null(), 20);
    assert_eq!(pool.leased(worker).len(), 5, "slots and prefill");
    pool.told(client);
}

#[test]
fn every_worker_of_a_kind_is_filled_whoever_of_them_has_no_room() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let workers: Vec<LinkId> = (0..4)
        .map(|index| joined(&mut pool, licensed(&format!("ant {index}"), 8, 0, 2)))
        .collect();
    pool.submit(client, taking(1), 3);
    pool.submit(client, taking(2), 3);
    let held: Vec<usize> = workers.iter().map(|worker| pool.leased(*worker).len()).collect();
    assert_eq!(
        held,
        [2, 1, 1, 1],
        "the second has one licence left and no use for it"
    );
    pool.submit(client, taking(1), 2);
    assert_eq!(pool.leased(workers[1]).len(), 1);
    pool.ignore_all();
}

#[test]
fn a_worker_that_packs_takes_what_its_cores_and_memory_are_enough_for() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, packing("ant", 16));
    pool.submit(client, wide(3), 2);
    assert_eq!(pool.leased(worker).len(), 1, "three of four cores");
    pool.submit(client, null(), 9);
    let one = tokens(&pool.leases(worker));
    assert_eq!(one.len(), 1, "who names no cores takes one");
    let mut large = null();
    large.limits.memory = Bytes::from_mib(600);
    let large = pool.submit(client, large, 2);
    pool.command(
        client,
        Command::Cancel(Selector::Bag(wire_protocol::ids::BagId(1))),
    );
    pool.command(
        client,
        Command::Cancel(Selector::Bag(wire_protocol::ids::BagId(2))),
    );
    assert_eq!(
        pool.leased(worker).last(),
        Some(&large.first),
        "a memory limit counts where no memory is asked for, and 1 GiB is enough for one"
    );
    assert_eq!(pool.status(client).works_queued, 1);
    pool.ignore_all();
}

#[test]
fn a_worker_that_does_not_pack_counts_neither_cores_nor_memory() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 6, 0);
    let mut template = wide(4);
    template.limits.memory = Bytes(1 << 50);
    pool.submit(client, template, 6);
    assert_eq!(pool.leased(worker).len(), 6);
}

#[test]
fn slots_bound_a_worker_that_packs() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, packing("ant", 2));
    pool.submit(client, null(), 4);
    assert_eq!(pool.leased(worker).len(), 2, "of four cores");
}

#[test]
fn a_large_work_gets_a_worker_that_holds_its_room_once_it_has_waited_long() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = joined(&mut pool, packing("ant", 16));
    pool.submit(operator, null(), 500);
    let large = pool.submit(operator, wide(4), 1);
    pool.submit(operator, null(), 500);
    let mut held = tokens(&pool.leases(worker));
    let mut given_at = None;
    // A small work of the four ends each second, and another has come meanwhile.
    for second in 0..60 {
        pool.advance(Millis(1_000));
        if !held.is_empty() {
            pool.finish(worker, &[held.remove(0)]);
        }
        held.extend(tokens(&pool.leases(worker)));
        if held.iter().any(|token| token.work == large.first) {
            given_at.get_or_insert(second);
            break;
        }
        if second == 33 {
            let why = pool.explain(operator, Query::ExplainWorker(WorkerId(1)));
            assert!(
                why.contains("ant holds its room for works of class null cores≥4"),
                "{why}"
            );
        }
    }
    let given_at = given_at.expect("it does not wait for ever");
    assert!((30..40).contains(&given_at), "after {given_at} s");
    pool.finish(worker, &held);
    assert_eq!(pool.leased(worker).len(), 4, "then the small ones go on");
    pool.ignore_all();
}

#[test]
fn nobody_holds_room_against_works_of_a_higher_priority() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, packing("ant", 16));
    let mut urgent = null();
    urgent.priority = Priority(7);
    pool.submit(client, urgent, 200);
    pool.submit(client, wide(4), 1);
    let mut held = tokens(&pool.leases(worker));
    for _ in 0..45 {
        pool.advance(Millis(1_000));
        pool.finish(worker, &[held.remove(0)]);
        held.extend(tokens(&pool.leases(worker)));
        assert_eq!(held.len(), 4);
    }
    pool.told(client);
}

/// A small work of the worker's four ends each second, for so many seconds: when the large one came, if it did.
fn until_given(pool: &mut Pool, worker: LinkId, large: WorkId, seconds: u32) -> Option<u32> {
    let mut held = tokens(&pool.leases(worker));
    for second in 0..seconds {
        pool.advance(Millis(1_000));
        if !held.is_empty() {
            pool.finish(worker, &[held.remove(0)]);
        }
        held.extend(tokens(&pool.leases(worker)));
        if held.iter().any(|token| token.work == large) {
            return Some(second);
        }
    }
    None
}

#[test]
fn room_is_held_also_for_works_that_waited_before_there_was_anybody() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    pool.submit(operator, null(), 200);
    let large = pool.submit(operator, wide(4), 1);
    let worker = joined(&mut pool, packing("ant", 16));
    let given_at = until_given(&mut pool, worker, large.first, 60);
    assert!(
        given_at.is_some_and(|second| (28..40).contains(&second)),
        "{given_at:?}"
    );
    pool.ignore_all();
}

#[test]
fn room_is_held_also_where_the_only_worker_was_away_for_a_while() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = joined(&mut pool, packing("ant", 16));
    pool.submit(operator, null(), 200);
    let large = pool.submit(operator, wide(4), 1);
    pool.ignore(worker);
    pool.close(worker);
    pool.advance(Millis(2_500));
    let back = joined(&mut pool, packing("ant", 16));
    let given_at = until_given(&mut pool, back, large.first, 60);
    assert!(
        given_at.is_some_and(|second| (28..40).contains(&second)),
        "{given_at:?}"
    );
    pool.ignore_all();
}

#[test]
fn classes_that_nobody_can_run_keep_no_other_from_having_room_held() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = joined(&mut pool, packing("ant", 16));
    // More than are looked at in one look, older and more urgent than the work that could be helped.
    for cores in 5..45 {
        let mut hopeless = wide(cores);
        hopeless.priority = Priority(9);
        pool.submit(operator, hopeless, 1);
    }
    pool.submit(operator, null(), 200);
    let large = pool.submit(operator, wide(4), 1);
    let given_at = until_given(&mut pool, worker, large.first, 60);
    assert!(
        given_at.is_some_and(|second| (28..45).contains(&second)),
        "{given_at:?}"
    );
    pool.ignore_all();
}

#[test]
fn many_workers_that_hold_room_are_told_of_by_a_few_examples() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let workers: Vec<LinkId> = (0..20)
        .map(|index| joined(&mut pool, packing(&format!("ant {index}"), 16)))
        .collect();
    let small = pool.submit(operator, null(), 500);
    for memory in 0..20 {
        let mut large = wide(4);
        large.requirements.memory = Bytes::from_mib(1 + memory);
        pool.submit(operator, large, 1);
    }
    pool.advance(Millis(35_000));
    for worker in &workers {
        let held = tokens(&pool.leases(*worker));
        pool.finish(*worker, &held[..1]);
    }
    let last = WorkId(small.first.0 + 499);
    let Reply::Explanation(why) = pool.query(operator, Query::ExplainWork(last)) else {
        panic!("asked why");
    };
    let holding = |fact: &&String| fact.contains("holds its room");
    assert_eq!(why.facts.iter().filter(holding).count(), 5, "{why:?}");
    assert!(
        why.summary.contains("hold it for works that have waited longer"),
        "{why:?}"
    );
    pool.ignore_all();
}

#[test]
fn room_is_held_no_longer_than_somebody_waits_for_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, packing("ant", 16));
    pool.submit(client, null(), 4);
    let large = pool.submit(client, wide(4), 1);
    pool.submit(client, null(), 500);
    let mut held = tokens(&pool.leases(worker));
    pool.advance(Millis(33_000));
    pool.finish(worker, &[held.remove(0)]);
    assert_eq!(pool.leased(worker), [], "a core is held");
    pool.command(client, Command::Cancel(Selector::Bag(large.bag)));
    pool.advance(Millis(1_100));
    assert_eq!(pool.leased(worker).len(), 1);
    pool.ignore_all();
}

#[test]
fn what_is_left_is_counted_anew_after_a_restart_from_the_leases_that_go_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, licensed("ant", 8, 0, 3));
    let bag = pool.open_bag(client, taking(1), 5);
    pool.rows(client, bag.request, 0, &rows(0..5));
    let held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 3);
    pool.restart();
    let client = pool.client("alice");
    // It comes back with two of three.
    let back = pool.join(Join {
        held: held[..2].to_vec(),
        running: held[..2].to_vec(),
        ..licensed("ant", 8, 0, 3)
    });
    assert_eq!(pool.welcome(back).1, held[..2]);
    assert_eq!(pool.leased(back).len(), 1);
    pool.finish(back, &held[..1]);
    assert_eq!(pool.leased(back).len(), 1);
    pool.ignore(client);
}

#[test]
fn a_worker_that_comes_back_with_less_gets_nothing_until_it_has_room() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, licensed("ant", 8, 0, 3));
    pool.submit(client, taking(1), 6);
    let held = tokens(&pool.leases(worker));
    pool.close(worker);
    let back = pool.join(Join {
        held: held.clone(),
        running: held.clone(),
        ..licensed("ant", 8, 0, 1)
    });
    assert_eq!(pool.welcome(back).1.len(), 3, "what runs goes on");
    pool.finish(back, &held[..2]);
    assert_eq!(pool.leased(back), []);
    pool.finish(back, &held[2..]);
    assert_eq!(pool.leased(back).len(), 1);
    pool.told(client);
}

#[test]
fn no_more_is_asked_back_for_a_starving_worker_than_has_room_there() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let hoarder = joined(&mut pool, licensed("hoarder", 1, 20, 50));
    pool.submit(client, taking(1), 60);
    assert!(pool.leased(hoarder).len() > 10);
    let bag = wire_protocol::ids::BagId(1);
    let starving = joined(&mut pool, licensed("starving", 8, 0, 2));
    let taken = tokens(&pool.leases(starving));
    assert_eq!(taken.len(), 2);
    // Nothing waits any more but at the hoarder.
    let waiting = (0..60).map(|row| WorkId(row + 1));
    for work in waiting {
        let view = pool.view(client, work);
        if view.state == wire_protocol::view::WorkState::Queued {
            pool.command(client, Command::Cancel(Selector::Work(work)));
        }
    }
    pool.finish(starving, &taken);
    pool.advance(Millis(100));
    let asked: usize = pool
        .worker_heard(hoarder)
        .iter()
        .map(|heard| match heard {
            WorkerHeard::Retract(_, tokens) => tokens.len(),
            _ => 0,
        })
        .sum();
    assert_eq!(asked, 2);
    pool.command(client, Command::Cancel(Selector::Bag(bag)));
    pool.ignore_all();
}

#[test]
fn waiting_and_idleness_for_want_of_room_are_explained_in_what_is_counted() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = joined(&mut pool, licensed("ant", 8, 0, 2));
    pool.submit(operator, taking(1), 1);
    let large = pool.submit(operator, taking(2), 3);
    let why = pool.explain(operator, Query::ExplainWork(large.first));
    assert!(
        why.starts_with("none of the 1 workers that could run it has room for it now"),
        "{why}"
    );
    assert!(
        why.contains("ant has no room for it now: free 1 of 2 licence, needs 2"),
        "{why}"
    );
    let why = pool.explain(operator, Query::ExplainWorker(WorkerId(1)));
    assert!(
        why.starts_with("works that it could run are queued, and it has no room for them now"),
        "{why}"
    );
    assert!(why.contains("free 1 of 2 licence\n"), "{why}");
    assert!(
        why.contains("3 works of class null licence≥2 wait: free 1 of 2 licence, needs 2"),
        "{why}"
    );
    let mut impossible = null();
    impossible.limits.memory = Bytes::from_mib(2_048);
    let packs = joined(&mut pool, packing("bee", 4));
    pool.command(operator, Command::Cordon(WorkerId(1)));
    let impossible = pool.submit(operator, impossible, 1);
    let why = pool.explain(operator, Query::ExplainWork(impossible.first));
    assert!(
        why.contains("bee cannot run it: memory: the work asks for 2.0 GiB, the worker has 1.0 GiB"),
        "{why}"
    );
    pool.ignore(worker);
    pool.ignore(packs);
}

#[test]
fn a_work_that_is_given_back_gives_back_what_it_took() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = joined(&mut pool, licensed("ant", 8, 0, 2));
    let first = pool.submit(client, taking(2), 1);
    let held = tokens(&pool.leases(worker));
    pool.submit(client, taking(1), 2);
    assert_eq!(pool.leased(worker), []);
    pool.report(worker, &held, Reason::ExitCode);
    pool.recorded(worker);
    let small = tokens(&pool.leases(worker));
    assert_eq!(small.len(), 2, "while the large one waits for its backoff");
    pool.advance(Millis(500));
    assert_eq!(pool.leased(worker), []);
    pool.finish(worker, &small);
    assert_eq!(pool.leased(worker), [first.first]);
    pool.told(client);
}
