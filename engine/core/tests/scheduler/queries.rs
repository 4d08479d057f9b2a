//! Queries: pages without gap or repeat, answers within a frame, and why things are as they are.

use engine_core::Event;
use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{BagId, LinkId, WorkId, WorkerId};
use wire_protocol::outcome::Outcome;
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Millis;
use wire_protocol::view::{Filter, Reply, WorkState, WorkView};

use crate::kit::{Pool, join, null, rows, tokens};

/// All pages of a listing, and how many there were.
fn all_works(pool: &mut Pool, client: LinkId, filter: &Filter, limit: u32) -> (Vec<WorkView>, usize) {
    let (mut all, mut after, mut pages) = (Vec::new(), WorkId(0), 0);
    loop {
        let filter = filter.clone();
        let Reply::Works { works, next } = pool.query(client, Query::Works { filter, after, limit }) else {
            panic!("asked for works");
        };
        assert!(works.len() <= limit as usize);
        all.extend(works);
        pages += 1;
        match next {
            None => return (all, pages),
            Some(next) => {
                assert!(next > after, "pages go on: {next} follows {after}");
                after = next;
            }
        }
    }
}

#[test]
fn works_are_listed_in_pages_without_gap_or_repeat() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 5, 0);
    let bags: Vec<_> = (0..5)
        .map(|index| {
            let template = WorkTemplate {
                label: format!("night {}", index % 2),
                ..null()
            };
            pool.submit(client, template, 7)
        })
        .collect();
    let held = tokens(&pool.leases(worker));
    pool.finish(worker, &held[..2]);
    pool.ignore_all();
    let expected: Vec<WorkId> = bags
        .iter()
        .flat_map(|bag| (0..7).map(|row| bag.first.offset(row)))
        .collect();
    for limit in [1, 3, 7, 34, 35, 1_000] {
        let (works, _) = all_works(&mut pool, client, &Filter::default(), limit);
        assert_eq!(
            works.iter().map(|work| work.work).collect::<Vec<_>>(),
            expected,
            "limit {limit}"
        );
    }
    let done = Filter {
        states: vec![WorkState::Done(Outcome::Succeeded)],
        ..Filter::default()
    };
    assert_eq!(all_works(&mut pool, client, &done, 1).0.len(), 2);
    let one_bag = Filter {
        bag: Some(bags[3].bag),
        ..Filter::default()
    };
    let (works, _) = all_works(&mut pool, client, &one_bag, 2);
    assert_eq!(works.len(), 7);
    assert_eq!(works[2].parameters, [("n".to_owned(), "2".to_owned())]);
    let label = Filter {
        label: Some("ght 1".to_owned()),
        ..Filter::default()
    };
    assert_eq!(all_works(&mut pool, client, &label, 5).0.len(), 14);
    let busy = Filter {
        worker: Some(WorkerId(1)),
        ..Filter::default()
    };
    assert_eq!(all_works(&mut pool, client, &busy, 5).0.len(), 7);
}

#[test]
fn a_rare_filter_costs_many_short_pages_and_no_long_one() {
    let mut pool = Pool::new().unchecked();
    let client = pool.client("alice");
    pool.submit(client, null(), 120_000);
    let other = pool.client("bob");
    for _ in 0..100 {
        pool.submit(other, null(), 1);
    }
    let last = pool.submit(
        client,
        WorkTemplate {
            label: "needle".to_owned(),
            ..null()
        },
        1,
    );
    let worker = Filter {
        worker: Some(WorkerId(9)),
        ..Filter::default()
    };
    let (works, pages) = all_works(&mut pool, client, &worker, 10);
    assert!(works.is_empty() && pages >= 3, "{pages} pages");
    let needle = Filter {
        label: Some("needle".to_owned()),
        ..Filter::default()
    };
    let (works, _) = all_works(&mut pool, client, &needle, 10);
    assert_eq!(works[0].work, last.first);
}

#[test]
fn many_bags_that_do_not_pass_do_not_stop_a_listing() {
    let mut pool = Pool::new().unchecked();
    let client = pool.client("alice");
    let other = pool.client("bob");
    for _ in 0..60_000 {
        let bag = pool.open_bag(other, null(), 1);
        pool.rows(other, bag.request, 0, &rows(0..1));
    }
    pool.ignore_all();
    let needle = pool.submit(client, null(), 1);
    let (works, _) = all_works(&mut pool, client, &Filter::default(), 10);
    assert_eq!(
        works.iter().map(|work| work.work).collect::<Vec<_>>(),
        [needle.first]
    );
}

#[test]
fn a_page_of_long_works_still_fits_a_frame() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let template = WorkTemplate {
        columns: (0..200).map(|column| format!("{column:0>200}")).collect(),
        ..null()
    };
    let bag = pool.open_bag(client, template, 100);
    let value = vec![b'v'; 300];
    let row = wire_protocol::template::row::join(&vec![value.as_slice(); 200]);
    for at in 0..100 {
        pool.rows(client, bag.request, at, std::slice::from_ref(&row));
    }
    pool.accepted(client);
    let (works, pages) = all_works(&mut pool, client, &Filter::default(), 1_000);
    assert_eq!(works.len(), 100);
    assert!(pages > 5);
    assert!(works[0].parameters[0].1.ends_with('…'), "long values are cut");
}

#[test]
fn pages_of_workers_and_queues_with_long_names_fit_a_frame() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let tags: Vec<String> = (0..250).map(|tag| format!("{tag:0>250}")).collect();
    for index in 0..60 {
        let mut join = join(&format!("ant {index}"), 1, 0);
        join.offer.tags = tags.clone();
        let worker = pool.join(join);
        pool.ignore(worker);
        let mut template = null();
        template.requirements.tags = tags[index..index + 100].to_vec();
        template.requirements.cores = 99;
        pool.submit(client, template, 1);
    }
    let (mut seen, mut after) = (Vec::new(), WorkerId(0));
    loop {
        let Reply::Workers(page) = pool.query(client, Query::Workers { after, limit: 1_000 }) else {
            panic!("asked for workers");
        };
        let Some(last) = page.last() else { break };
        after = last.worker;
        seen.extend(page.iter().map(|worker| worker.worker.0));
    }
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    match pool.query(client, Query::Queues) {
        Reply::Queues(queues) => assert_eq!(queues.len(), 60),
        other => panic!("{other:?}"),
    }
    pool.explain(client, Query::ExplainWorker(WorkerId(1)));
    pool.explain(client, Query::ExplainWork(WorkId(1)));
}

#[test]
fn bags_are_listed_in_pages() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bags: Vec<BagId> = (0..5).map(|_| pool.submit(client, null(), 1).bag).collect();
    let other = pool.client("bob");
    pool.submit(other, null(), 1);
    let (mut seen, mut after) = (Vec::new(), BagId(0));
    loop {
        let Reply::Bags(page) = pool.query(client, Query::Bags { after, limit: 2 }) else {
            panic!("asked for bags");
        };
        let Some(last) = page.last() else { break };
        after = last.bag;
        seen.extend(page.iter().map(|bag| bag.bag));
    }
    assert_eq!(seen, bags);
    assert!(
        matches!(pool.query(client, Query::Bags { after: BagId(u64::MAX), limit: 0 }), Reply::Bags(bags) if bags.is_empty())
    );
}

#[test]
fn queries_change_nothing() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = pool.worker("ant", 1, 0);
    let bag = pool.submit(operator, null(), 3);
    pool.leased(worker);
    let (before, lsn) = (pool.snapshot(), pool.lsn());
    for query in [
        Query::Status,
        Query::Work(bag.first),
        Query::Work(WorkId(u64::MAX)),
        Query::Works {
            filter: Filter::default(),
            after: WorkId(u64::MAX),
            limit: u32::MAX,
        },
        Query::Bag(BagId(u64::MAX)),
        Query::Results {
            bag: bag.bag,
            from_row: u32::MAX,
        },
        Query::Worker(WorkerId(u32::MAX)),
        Query::Workers {
            after: WorkerId(u32::MAX),
            limit: u32::MAX,
        },
        Query::Queues,
        Query::ExplainWork(WorkId(0)),
        Query::ExplainWorker(WorkerId(0)),
    ] {
        pool.query(operator, query);
    }
    assert_eq!((pool.snapshot(), pool.lsn()), (before, lsn));
}

#[test]
fn every_cause_of_waiting_is_explained() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let mut template = null();
    template.requirements.gpus = 1;
    let bag = pool.submit(operator, template, 3);
    let why = |pool: &mut Pool, client, row| pool.explain(client, Query::ExplainWork(bag.first.offset(row)));
    assert!(why(&mut pool, operator, 0).starts_with("no worker is connected"));
    let _plain = pool.worker("plain", 1, 0);
    let text = why(&mut pool, operator, 0);
    assert!(
        text.starts_with("none of the 1 connected workers meets its requirements"),
        "{text}"
    );
    assert!(
        text.contains("plain cannot run it: gpus: the work asks for 1, the worker has 0"),
        "{text}"
    );
    let mut strong = join("strong", 1, 0);
    strong.offer.gpus = 2;
    let link = pool.join(strong);
    pool.welcome(link);
    let leases = tokens(&pool.leases(link));
    assert!(why(&mut pool, operator, 0).starts_with("strong has it and has not said that it runs"));
    pool.started(link, &leases);
    assert!(why(&mut pool, operator, 0).starts_with("strong runs it"));
    let text = why(&mut pool, operator, 1);
    assert!(
        text.starts_with("all 1 slots of the 1 workers that could run it are taken"),
        "{text}"
    );
    pool.command(operator, Command::Cordon(WorkerId(2)));
    let text = why(&mut pool, operator, 1);
    assert!(
        text.starts_with("all 1 workers that could run it are cordoned, draining or take no work"),
        "{text}"
    );
    pool.finish(link, &leases);
    pool.ignore_all();
    assert!(why(&mut pool, operator, 0).starts_with("it succeeded"));
    pool.restart();
    let operator = pool.operator();
    let text = why(&mut pool, operator, 1);
    assert!(
        text.starts_with("the engine has just started and waits"),
        "{text}"
    );
    pool.silence(Millis::from_secs(5));
    assert!(why(&mut pool, operator, 1).starts_with("no worker is connected"));
}

#[test]
fn every_cause_of_idleness_is_explained() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    let worker = pool.worker("ant", 1, 0);
    let ant = WorkerId(1);
    let why = |pool: &mut Pool| pool.explain(operator, Query::ExplainWorker(ant));
    assert!(why(&mut pool).starts_with("nothing is queued"));
    let mut template = null();
    template.requirements.tags = vec!["gpu".to_owned()];
    pool.submit(operator, template, 2);
    let text = why(&mut pool);
    assert!(
        text.starts_with("2 works are queued, and it meets the requirements of none"),
        "{text}"
    );
    assert!(text.contains("2 works of class null tag:gpu wait: tag"), "{text}");
    pool.submit(operator, null(), 1);
    assert!(why(&mut pool).starts_with("all of its slots are taken"));
    let held = tokens(&pool.leases(worker));
    pool.report(worker, &held, wire_protocol::outcome::Reason::ExitCode);
    pool.recorded(worker);
    assert!(why(&mut pool).starts_with("2 works are queued"));
    pool.command(operator, Command::Cordon(ant));
    assert!(why(&mut pool).starts_with("an operator cordoned it"));
    pool.command(operator, Command::Uncordon(ant));
    pool.advance(Millis(500));
    let held = tokens(&pool.leases(worker));
    assert_eq!(held.len(), 1);
    pool.command(operator, Command::Drain(ant));
    assert!(why(&mut pool).starts_with("it is draining"));
    pool.finish(worker, &held);
    assert!(why(&mut pool).starts_with("it drained and left"));
    pool.close(worker);
    let worker = pool.worker("ant", 1, 0);
    pool.close(worker);
    assert!(why(&mut pool).starts_with("it is not connected"));
    pool.handle(Event::Tick);
    pool.told(operator);
}
