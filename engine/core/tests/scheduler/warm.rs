//! Workers that have already what works need are asked first.

use wire_protocol::client_link::Query;
use wire_protocol::ids::LinkId;
use wire_protocol::outcome::Reason;
use wire_protocol::template::{InputFile, WorkTemplate};

use crate::kit::{Pool, join, null, tokens};

fn container(image: &str) -> WorkTemplate {
    WorkTemplate {
        app: format!("docker:{image}"),
        ..null()
    }
}

fn reading(source: &str) -> WorkTemplate {
    WorkTemplate {
        app: "process".to_owned(),
        command: vec!["true".to_owned()],
        files: vec![InputFile {
            path: "scene".to_owned(),
            source: source.to_owned(),
            unpack: false,
        }],
        ..null()
    }
}

fn joined(pool: &mut Pool, uid: &str, warm: &[u64]) -> LinkId {
    let mut join = join(uid, 2, 0);
    join.offer.executors = ["null", "process", "docker"].map(str::to_owned).to_vec();
    join.warm = warm.to_vec();
    let link = pool.join(join);
    pool.welcome(link);
    link
}

#[test]
fn of_several_workers_the_one_that_has_the_image_is_asked_first() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let _cold = joined(&mut pool, "cold", &[]);
    let warm = joined(&mut pool, "warm", &[wire_protocol::warm::image("alpine:3")]);
    let bag = pool.submit(operator, container("alpine:3"), 1);
    assert_eq!(pool.leased(warm), [bag.first]);
    let other = pool.submit(operator, container("alpine:4"), 1);
    assert_eq!(pool.leased(_cold), [other.first], "the first of equals");
}

#[test]
fn works_do_not_wait_for_a_worker_that_has_the_image() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let cold = joined(&mut pool, "cold", &[]);
    let warm = joined(&mut pool, "warm", &[wire_protocol::warm::image("alpine:3")]);
    let bag = pool.submit(operator, container("alpine:3"), 5);
    assert_eq!(pool.leased(warm), [bag.first, bag.first.offset(1)]);
    assert_eq!(pool.leased(cold), [bag.first.offset(2), bag.first.offset(3)]);
    let why = pool.explain(operator, Query::ExplainWork(bag.first.offset(4)));
    assert!(why.contains("warm has the image already"), "{why}");
    assert!(!why.contains("cold has the image"), "{why}");
}

#[test]
fn a_worker_that_succeeded_with_a_file_is_asked_first_for_the_next_work_with_it() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let bob = pool.client("bob");
    let first = joined(&mut pool, "first", &[]);
    pool.submit(alice, null(), 2);
    let busy = tokens(&pool.leases(first));
    let second = joined(&mut pool, "second", &[]);
    pool.submit(alice, reading("scene"), 1);
    let held = tokens(&pool.leases(second));
    pool.finish(first, &busy);
    pool.finish(second, &held);
    pool.submit(alice, reading("scene"), 1);
    assert_eq!(pool.leased(second).len(), 1);
    pool.submit(bob, reading("scene"), 1);
    assert_eq!(pool.leased(first).len(), 1, "another owner's file of that name");
    pool.ignore_all();
}

#[test]
fn a_worker_that_failed_with_an_image_is_not_taken_to_have_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let _first = joined(&mut pool, "first", &[]);
    pool.submit(client, null(), 2);
    let busy = tokens(&pool.leases(_first));
    let second = joined(&mut pool, "second", &[]);
    let mut template = container("broken");
    template.retry.attempts_max = 1;
    pool.submit(client, template.clone(), 1);
    let held = tokens(&pool.leases(second));
    pool.report(second, &held, Reason::CannotStart);
    pool.finish(_first, &busy);
    pool.submit(client, template, 1);
    assert_eq!(pool.leased(_first).len(), 1);
    pool.ignore_all();
}

#[test]
fn of_what_a_worker_has_the_last_sixty_four_things_are_known() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let _cold = joined(&mut pool, "cold", &[]);
    let keys: Vec<u64> = (0..63).collect();
    let warm = joined(
        &mut pool,
        "warm",
        &[&[wire_protocol::warm::image("a")], &keys[..]].concat(),
    );
    for image in ["a", "b", "c"] {
        pool.submit(client, container(image), 3);
        let on_warm = tokens(&pool.leases(warm));
        let on_cold = tokens(&pool.leases(_cold));
        assert_eq!(on_warm.len() + on_cold.len(), 3);
        pool.finish(_cold, &on_cold);
        pool.finish(warm, &on_warm);
        pool.told(client);
    }
    pool.submit(client, container("a"), 1);
    assert_eq!(pool.leased(warm).len() + pool.leased(_cold).len(), 1);
    pool.ignore_all();
}
