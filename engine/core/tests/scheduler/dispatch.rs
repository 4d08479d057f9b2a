//! Dispatch: slots, prefill, shares, priorities, requirements, retraction.

use std::collections::BTreeMap;

use engine_core::Config;
use wire_protocol::ids::{LeaseToken, LinkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::Millis;

use crate::kit::{Pool, WorkerHeard, join, null, rows, tokens};

#[test]
fn a_worker_never_holds_more_than_its_slots_and_its_prefill() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    pool.submit(client, null(), 1_000);
    let worker = pool.worker("ant", 3, 5);
    let mut held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 8);
    for _ in 0..50 {
        pool.finish(worker, &held[..2]);
        held.drain(..2);
        held.extend(tokens(&pool.leases(worker)));
        assert!(held.len() <= 8);
        pool.told(client);
    }
}

#[test]
fn works_ahead_of_time_are_at_most_a_workers_share_of_what_waits() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    pool.submit(client, null(), 44);
    let workers: Vec<LinkId> = (0..4)
        .map(|index| {
            let link = pool.join(join(&format!("ant {index}"), 1, 100));
            pool.welcome(link);
            link
        })
        .collect();
    let held: Vec<usize> = workers.iter().map(|worker| pool.leased(*worker).len()).collect();
    // One worker is alone when it joins and gets half of the rest; the last one shares with three others.
    assert_eq!(held[0], 1 + 22);
    assert!(held[3] <= 1 + 44 / 8, "{held:?}");
    assert!(pool.status(client).works_queued >= 10, "{held:?}");
}

#[test]
fn free_slots_are_filled_before_any_work_is_given_ahead_of_time() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let workers: Vec<LinkId> = (0..4)
        .map(|index| pool.worker(&format!("ant {index}"), 4, 16))
        .collect();
    let bag = pool.open_bag(client, null(), 64);
    pool.rows(client, bag.request, 0, &rows(0..16));
    let held: Vec<usize> = workers.iter().map(|worker| pool.leased(*worker).len()).collect();
    assert_eq!(held, [4, 4, 4, 4], "sixteen works for sixteen slots");
    pool.rows(client, bag.request, 16, &rows(16..64));
    let ahead: Vec<usize> = workers.iter().map(|worker| pool.leased(*worker).len()).collect();
    assert!(ahead.iter().all(|ahead| *ahead > 0 && *ahead <= 6), "{ahead:?}");
    pool.ignore(client);
}

#[test]
fn prefill_of_none_waits_for_a_free_slot() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 2, 0);
    pool.submit(client, null(), 10);
    let held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 2);
    pool.finish(worker, &held[..1]);
    assert_eq!(pool.leased(worker).len(), 1);
    pool.told(client);
}

#[test]
fn a_work_goes_only_to_workers_that_meet_its_requirements() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let plain = pool.worker("plain", 10, 10);
    let mut strong = join("strong", 10, 10);
    strong.offer.tags = vec!["gpu".to_owned()];
    let strong = pool.join(strong);
    pool.welcome(strong);
    let mut picky = null();
    picky.requirements.tags = vec!["gpu".to_owned()];
    let picky = pool.submit(client, picky, 5);
    assert_eq!(pool.leased(plain), []);
    assert_eq!(pool.leased(strong).first(), Some(&picky.first));
    let docker = WorkTemplate {
        app: "docker:alpine".to_owned(),
        ..null()
    };
    pool.submit(client, docker, 1);
    assert_eq!((pool.leased(plain), pool.leased(strong)), (vec![], vec![]));
}

#[test]
fn a_work_that_nobody_can_run_does_not_stand_in_the_way() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let mut impossible = null();
    impossible.requirements.cores = 1_000;
    impossible.priority = Priority(9);
    pool.submit(client, impossible, 10);
    let bag = pool.submit(client, null(), 1);
    let worker = pool.worker("ant", 4, 4);
    assert_eq!(pool.leased(worker), [bag.first]);
}

#[test]
fn within_a_tenant_the_oldest_work_goes_first_over_all_classes() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let mut expected = Vec::new();
    for cores in [3, 1, 2, 1, 4, 2] {
        let mut template = null();
        template.requirements.cores = cores;
        expected.push(pool.submit(client, template, 1).first);
    }
    let worker = pool.worker("ant", 10, 0);
    assert_eq!(pool.leased(worker), expected);
}

/// Serves `count` works with one worker and counts them by tenant.
fn served(pool: &mut Pool, worker: LinkId, clients: &[LinkId], count: usize) -> BTreeMap<LinkId, usize> {
    let mut served = BTreeMap::new();
    let mut total = 0;
    while total < count {
        let leases = tokens(&pool.leases(worker));
        assert!(!leases.is_empty());
        total += leases.len();
        pool.finish(worker, &leases);
        for client in clients {
            *served.entry(*client).or_default() += pool.told(*client).len();
        }
    }
    pool.ignore(worker);
    served
}

#[test]
fn tenants_share_by_weight_however_much_each_has_queued() {
    let config = Config {
        weights: [("gold".to_owned(), 3), ("silver".to_owned(), 2)].into(),
        ..Config::default()
    };
    let mut pool = Pool::with(config).unchecked();
    let clients = ["gold", "silver", "iron"].map(|tenant| pool.client(tenant));
    for (client, count) in clients.iter().zip([20_000, 50_000, 100_000]) {
        pool.submit(*client, null(), count);
    }
    let worker = pool.worker("ant", 7, 0);
    let served = served(&mut pool, worker, &clients, 24_000);
    for (client, weight) in clients.iter().zip([3, 2, 1]) {
        let share = served[client] as f64 / 24_000.0;
        let fair = f64::from(weight) / 6.0;
        assert!(
            (share - fair).abs() < fair * 0.1,
            "weight {weight} got {share}, fair is {fair}"
        );
    }
}

#[test]
fn a_tenant_that_was_idle_has_saved_nothing_up() {
    let mut pool = Pool::new().unchecked();
    let clients = ["busy", "idle"].map(|tenant| pool.client(tenant));
    pool.submit(clients[0], null(), 20_000);
    let worker = pool.worker("ant", 10, 0);
    served(&mut pool, worker, &clients, 5_000);
    pool.close(worker);
    pool.submit(clients[1], null(), 5_000);
    let worker = pool.worker("bee", 10, 0);
    let served = served(&mut pool, worker, &clients, 4_000);
    assert!((1_800..=2_200).contains(&served[&clients[1]]), "{served:?}");
}

#[test]
fn priorities_are_strict_over_tenants() {
    let mut pool = Pool::new();
    let clients = ["low", "high"].map(|tenant| pool.client(tenant));
    pool.submit(clients[0], null(), 100);
    pool.submit(
        clients[1],
        WorkTemplate {
            priority: Priority(5),
            ..null()
        },
        100,
    );
    let worker = pool.worker("ant", 10, 0);
    let served = served(&mut pool, worker, &clients, 100);
    assert_eq!((served[&clients[0]], served[&clients[1]]), (0, 100));
}

#[test]
fn works_that_lie_with_a_busy_worker_are_taken_back_for_a_starving_one() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let hoarder = pool.worker("hoarder", 1, 10);
    pool.submit(client, null(), 20);
    let held = tokens(&pool.leases(hoarder));
    assert_eq!(held.len(), 10);
    pool.started(hoarder, &held[..1]);
    let idle = pool.worker("idle", 20, 0);
    assert_eq!(pool.leased(idle).len(), 10, "first of all it gets what waits");
    pool.advance(Millis(30));
    let asked = match &pool.worker_heard(hoarder)[..] {
        [WorkerHeard::Retract(Reason::Retracted, asked)] => asked.clone(),
        other => panic!("expected a retraction, got {other:?}"),
    };
    assert_eq!(asked.len(), 9, "all that it cannot run");
    assert!(!asked.contains(&held[0]), "what runs is not asked for");
    pool.advance(Millis(100));
    assert_eq!(pool.worker_heard(hoarder), [], "it is asked once");
    // Two of them have started meanwhile.
    pool.started(hoarder, &asked[..2]);
    pool.retracted(hoarder, &asked[2..], Reason::Retracted);
    let moved = pool.leases(idle);
    assert_eq!(moved.len(), 7);
    assert!(moved.iter().all(|lease| lease.token.attempt.0 == 2));
    assert_eq!(
        pool.leased(hoarder),
        [],
        "they do not go back where they came from"
    );
}

#[test]
fn nothing_is_taken_back_for_a_worker_that_could_not_run_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let mut strong = join("strong", 1, 10);
    strong.offer.gpus = 1;
    let strong = pool.join(strong);
    pool.welcome(strong);
    let mut template = null();
    template.requirements.gpus = 1;
    pool.submit(client, template, 20);
    pool.leased(strong);
    let _plain = pool.worker("plain", 5, 0);
    pool.advance(Millis(200));
    assert_eq!(pool.worker_heard(strong), []);
}

#[test]
fn a_worker_that_gives_works_back_unasked_may_not_blame_them() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let mut template = null();
    template.retry.attempts_max = 1;
    let bag = pool.submit(client, template, 1);
    let held = tokens(&pool.leases(worker));
    let _other = pool.worker("bee", 1, 0);
    pool.retracted(worker, &held, Reason::ExitCode);
    pool.ignore(worker);
    pool.ignore(_other);
    let view = pool.view(client, bag.first);
    assert_eq!((view.reason, view.attempt.0), (Reason::Retracted, 2));
    // Of what it does not have, nothing is taken.
    let before = pool.snapshot();
    let forged = LeaseToken {
        work: wire_protocol::ids::WorkId(99),
        ..held[0]
    };
    pool.retracted(worker, &[held[0], forged], Reason::Retracted);
    pool.started(worker, &[forged]);
    assert_eq!(pool.snapshot(), before);
    pool.ignore(worker);
}

#[test]
fn templates_are_defined_once_per_link_and_again_when_their_number_was_reused() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    for round in 0..3 {
        for label in 0..100 {
            let template = WorkTemplate {
                label: format!("sweep {label}"),
                ..null()
            };
            pool.submit(client, template.clone(), 1);
            let leases = pool.leases(worker);
            assert_eq!(leases[0].template, template, "round {round}");
            pool.finish(worker, &tokens(&leases));
        }
    }
    assert_eq!(pool.told(client).len(), 300);
    assert_eq!(pool.workers[&worker].templates.len(), 64);
}

#[test]
fn large_rows_are_split_over_frames_within_the_bound() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 64, 0);
    let bag = pool.open_bag(client, null(), 60);
    for chunk in 0..4 {
        let large: Vec<Vec<u8>> = (0..15).map(|row| vec![chunk * 15 + row; 64 * 1024]).collect();
        pool.rows(client, bag.request, u32::from(chunk) * 15, &large);
    }
    pool.accepted(client);
    let leases = pool.leases(worker);
    assert_eq!(leases.len(), 60);
    for (index, lease) in leases.iter().enumerate() {
        assert_eq!(lease.row, vec![index as u8; 64 * 1024]);
    }
}
