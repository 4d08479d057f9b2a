//! Submissions: what is let in, in what order, and what a repetition does.

use engine_core::{Config, Event, Limits, Pressure, Proof};
use wire_protocol::client_link::{Command, Open, Query, Selector};
use wire_protocol::template::{Priority, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::view::Reply;

use crate::kit::{ClientHeard, Pool, join, null, rows, tokens};

fn keyed(request: u32, rows_total: u32) -> Open {
    Open {
        request,
        key: [7; 16],
        rows_total,
        follow: false,
        template: null(),
    }
}

fn busy(pool: &mut Pool, client: wire_protocol::ids::LinkId) -> (String, u32) {
    match &pool.client_heard(client)[..] {
        [ClientHeard::Busy(busy)] => {
            assert!(busy.retry_after > Millis(0), "a hint when to come back");
            (busy.limit.clone(), busy.rows)
        }
        other => panic!("expected busy, got {other:?}"),
    }
}

fn rejected(pool: &mut Pool, client: wire_protocol::ids::LinkId) -> (String, String) {
    match &pool.client_heard(client)[..] {
        [ClientHeard::Rejected(rejected)] => {
            (rejected.invalid.field.clone(), rejected.invalid.problem.clone())
        }
        other => panic!("expected a rejection, got {other:?}"),
    }
}

#[test]
fn a_work_goes_from_submission_to_result() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 2, 0);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 1);
    let leases = pool.leases(worker);
    assert_eq!(leases.len(), 1);
    assert_eq!(leases[0].row, b"0");
    assert_eq!(leases[0].template, null());
    assert_eq!(leases[0].token.work, bag.first);
    pool.finish(worker, &tokens(&leases));
    let told = pool.told(client);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (told[0].request, told[0].bag, told[0].work),
        (bag.request, bag.bag, bag.first)
    );
    assert_eq!(told[0].result, bag.first.0.to_le_bytes());
}

#[test]
fn acknowledgements_wait_for_durability_and_assignments_do_not() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let client = pool.client("alice");
    pool.hold_durability();
    let before = pool.lsn();
    pool.open(client, &keyed(1, 1));
    let opened = pool.lsn();
    pool.rows(client, 1, 0, &rows(0..1));
    assert!(pool.client_heard(client).is_empty(), "nothing is durable");
    let leases = pool.leases(worker);
    assert_eq!(leases.len(), 1, "the work runs meanwhile");
    pool.report(worker, &tokens(&leases), wire_protocol::outcome::Reason::None);
    assert_eq!(pool.recorded(worker), None);
    pool.durable(before);
    assert!(pool.client_heard(client).is_empty());
    pool.durable(opened);
    assert_eq!(pool.accepted(client).expect("the opening is durable").rows, 0);
    pool.all_durable();
    assert_eq!(pool.accepted(client).expect("the rows are durable").rows, 1);
    assert_eq!(pool.recorded(worker), Some(1));
}

#[test]
fn a_key_that_is_known_continues_the_submission_on_another_link() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    pool.open(client, &keyed(1, 10));
    pool.rows(client, 1, 0, &rows(0..4));
    let first = pool.accepted(client).expect("accepted");
    pool.close(client);
    let again = pool.client("alice");
    pool.open(again, &keyed(9, 10));
    let continued = pool.accepted(again).expect("the key is known");
    assert_eq!(
        (continued.bag, continued.first, continued.rows, continued.request),
        (first.bag, first.first, 4, 9)
    );
    // It does not know which of its rows arrived and repeats one too many.
    pool.rows(again, 9, 3, &rows(3..10));
    assert_eq!(pool.accepted(again).expect("accepted").rows, 10);
    assert_eq!(pool.status(again).works_queued, 10, "nothing was taken twice");
    // A late repetition of everything finds everything accepted.
    pool.open(again, &keyed(10, 10));
    assert_eq!(pool.accepted(again).expect("accepted").rows, 10);
}

#[test]
fn a_key_is_the_tenants_own_and_survives_a_restart() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    pool.open(alice, &keyed(1, 2));
    let hers = pool.accepted(alice).expect("accepted").bag;
    let bob = pool.client("bob");
    pool.open(bob, &keyed(1, 2));
    let his = pool.accepted(bob).expect("accepted").bag;
    assert_ne!(hers, his);
    let snapshot = pool.snapshot();
    pool.crash(pool.lsn(), Millis(1), Some(&snapshot));
    let alice = pool.client("alice");
    pool.open(alice, &keyed(5, 2));
    assert_eq!(pool.accepted(alice).expect("accepted").bag, hers);
}

#[test]
fn a_key_with_another_template_or_length_is_rejected() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    pool.open(client, &keyed(1, 10));
    pool.accepted(client);
    pool.open(client, &keyed(2, 11));
    assert_eq!(rejected(&mut pool, client).0, "key");
    let template = WorkTemplate {
        label: "other".to_owned(),
        ..null()
    };
    pool.open(
        client,
        &Open {
            template,
            ..keyed(3, 10)
        },
    );
    assert_eq!(rejected(&mut pool, client).0, "key");
}

#[test]
fn rows_after_a_gap_are_busy_and_say_where_to_go_on() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 10);
    pool.rows(client, bag.request, 0, &rows(0..2));
    pool.accepted(client);
    let before = pool.lsn();
    pool.rows(client, bag.request, 3, &rows(3..5));
    assert_eq!(busy(&mut pool, client), ("order".to_owned(), 2));
    assert_eq!(pool.lsn(), before, "nothing was recorded");
}

#[test]
fn rows_beyond_what_was_announced_are_rejected() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 2);
    pool.rows(client, bag.request, 0, &rows(0..3));
    assert_eq!(rejected(&mut pool, client).0, "rows");
    pool.rows(client, bag.request, u32::MAX, &rows(0..1));
    assert_eq!(rejected(&mut pool, client).0, "rows");
    pool.rows(client, 4711, 0, &rows(0..1));
    assert_eq!(rejected(&mut pool, client).0, "request");
}

#[test]
fn a_row_has_exactly_as_many_values_as_there_are_columns() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let template = WorkTemplate {
        columns: vec!["x".to_owned(), "y".to_owned()],
        ..null()
    };
    let bag = pool.open_bag(client, template, 3);
    let good = wire_protocol::template::row::join(&[b"1", b"2"]);
    let short = wire_protocol::template::row::join(&[b"1", b""])[..2].to_vec();
    let long = wire_protocol::template::row::join(&[b"1", b"2", b"3"]);
    pool.rows(client, bag.request, 0, std::slice::from_ref(&good));
    assert_eq!(pool.accepted(client).expect("two values").rows, 1);
    for bad in [short, long] {
        pool.rows(client, bag.request, 1, &[good.clone(), bad]);
        let (field, problem) = rejected(&mut pool, client);
        assert_eq!(field, "rows");
        assert!(problem.starts_with("row 2 "), "{problem}");
    }
    assert_eq!(pool.status(client).works_queued, 1, "all of a chunk or none");
}

#[test]
fn an_invalid_template_is_rejected_with_its_field() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let cases = [
        (
            WorkTemplate {
                priority: Priority(10),
                ..null()
            },
            1,
            "priority",
        ),
        (
            WorkTemplate {
                app: String::new(),
                ..null()
            },
            1,
            "app",
        ),
        (null(), 0, "rows_total"),
        (null(), 1_000_001, "rows_total"),
    ];
    for (template, rows_total, field) in cases {
        pool.open(
            client,
            &Open {
                template,
                ..keyed(1, rows_total)
            },
        );
        assert_eq!(rejected(&mut pool, client).0, field);
    }
    assert_eq!(pool.status(client).bags, 0);
}

fn limited(change: impl FnOnce(&mut Limits)) -> Pool {
    let mut config = Config::default();
    change(&mut config.limits);
    Pool::with(config)
}

#[test]
fn every_limit_answers_busy_with_its_name_and_room_lets_works_in_again() {
    let mut pool = limited(|limits| limits.works_open_max = 10);
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 8);
    pool.open(client, &keyed(1, 3));
    assert_eq!(busy(&mut pool, client), ("works".to_owned(), 0));
    pool.command(client, Command::Cancel(Selector::Bag(bag.bag)));
    pool.told(client);
    pool.open(client, &keyed(1, 3));
    pool.accepted(client).expect("there is room again");

    let mut pool = limited(|limits| limits.bags_max = 1);
    let client = pool.client("alice");
    pool.submit(client, null(), 1);
    pool.open(client, &keyed(1, 1));
    assert_eq!(busy(&mut pool, client).0, "bags");

    let mut pool = limited(|limits| limits.rows_bytes_max = Bytes(100));
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 3);
    pool.rows(client, bag.request, 0, &[vec![0; 40]]);
    pool.accepted(client);
    pool.rows(client, bag.request, 1, &[vec![0; 90]]);
    assert_eq!(busy(&mut pool, client), ("memory".to_owned(), 1));

    let mut pool = limited(|limits| limits.classes_max = 2);
    let client = pool.client("alice");
    for cores in [1, 2] {
        let mut template = null();
        template.requirements.cores = cores;
        pool.submit(client, template, 1);
    }
    let mut template = null();
    template.requirements.cores = 3;
    pool.open(
        client,
        &Open {
            template,
            ..keyed(1, 1)
        },
    );
    assert_eq!(busy(&mut pool, client).0, "classes");
}

#[test]
fn a_bag_that_the_pool_can_never_hold_is_rejected_because_waiting_would_not_help() {
    let mut pool = limited(|limits| limits.works_open_max = 10);
    let client = pool.client("alice");
    pool.open(client, &keyed(1, 11));
    assert_eq!(rejected(&mut pool, client).0, "rows_total");
    pool.open(client, &keyed(2, 10));
    pool.accepted(client).expect("it fits");
}

#[test]
fn submissions_of_one_link_are_bounded_also_when_they_are_reopened() {
    let mut pool = limited(|limits| limits.submissions_per_link_max = 2);
    let client = pool.client("alice");
    pool.open(client, &keyed(1, 5));
    pool.open_bag(client, null(), 5);
    pool.accepted(client);
    let second = Open {
        key: [8; 16],
        ..keyed(3, 5)
    };
    pool.open(client, &second);
    assert_eq!(busy(&mut pool, client).0, "submissions");
    let other = pool.client("alice");
    for _ in 0..2 {
        pool.open_bag(other, null(), 5);
        pool.accepted(other);
    }
    pool.open(other, &keyed(4, 5));
    assert_eq!(busy(&mut pool, other).0, "submissions");
}

#[test]
fn a_submission_that_is_opened_again_on_its_link_goes_on_under_the_new_number() {
    let mut pool = limited(|limits| limits.submissions_per_link_max = 1);
    let client = pool.client("alice");
    for request in 1..10 {
        pool.open(client, &keyed(request, 5));
        pool.accepted(client).expect("it is the same submission");
    }
    pool.rows(client, 1, 0, &[vec![0; 4]]);
    assert_eq!(rejected(&mut pool, client).0, "request");
    pool.rows(client, 9, 0, &[vec![0; 4]]);
    assert_eq!(pool.accepted(client).expect("the new number is the one").rows, 1);
}

#[test]
fn a_journal_under_pressure_takes_no_submissions_and_all_else() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let client = pool.client("alice");
    pool.submit(client, null(), 2);
    let half = pool.open_bag(client, null(), 2);
    for (pressure, name) in [(Pressure::Behind, "journal"), (Pressure::DiskFull, "disk")] {
        pool.handle(Event::JournalPressure(pressure));
        pool.open(client, &keyed(1, 1));
        assert_eq!(busy(&mut pool, client), (name.to_owned(), 0));
        pool.rows(client, half.request, 0, &rows(0..2));
        assert_eq!(busy(&mut pool, client), (name.to_owned(), 0));
        let leases = pool.leases(worker);
        pool.finish(worker, &tokens(&leases));
        assert_eq!(pool.told(client).len(), 1);
    }
    pool.handle(Event::JournalPressure(Pressure::None));
    pool.rows(client, half.request, 0, &rows(0..2));
    assert_eq!(pool.accepted(client).expect("it is over").rows, 2);
    assert_eq!(pool.leased(worker).len(), 1);
}

#[test]
fn a_bag_of_a_million_rows_is_accepted_and_done() {
    let mut pool = Pool::new().unchecked();
    let client = pool.client("alice");
    let bag = pool.open_bag(client, null(), 1_000_000);
    for chunk in 0..100 {
        pool.rows(
            client,
            bag.request,
            chunk * 10_000,
            &rows(chunk * 10_000..(chunk + 1) * 10_000),
        );
    }
    assert_eq!(pool.accepted(client).expect("accepted").rows, 1_000_000);
    let worker = pool.worker("ant", 4_096, 4_096);
    let mut finished = 0;
    loop {
        let leases = pool.leases(worker);
        if leases.is_empty() {
            break;
        }
        for lease in &leases {
            let row = (lease.token.work.0 - bag.first.0).to_string();
            assert_eq!(lease.row, row.as_bytes());
        }
        finished += leases.len();
        pool.finish(worker, &tokens(&leases));
        assert_eq!(pool.told(client).len(), leases.len());
    }
    assert_eq!(finished, 1_000_000);
    pool.scheduler.check();
    match pool.query(client, Query::Bag(bag.bag)) {
        Reply::Bag(view) => assert_eq!(view.tally.succeeded, 1_000_000),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_link_has_one_peer_and_a_second_login_closes_it() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let client = pool.client("alice");
    pool.submit(client, null(), 2);
    let before = pool.leases(worker);
    pool.handle(Event::ClientJoined {
        link: client,
        tenant: "bob",
        operator: true,
    });
    pool.was_closed(client, "once");
    // Twice the same worker on one link, and another worker on it.
    for uid in ["ant", "bee"] {
        let link = pool.worker(&format!("first {uid}"), 1, 0);
        pool.ignore(link);
        let again = join(uid, 1, 0);
        pool.handle(Event::WorkerJoined {
            link,
            join: &again,
            proof: Proof::Password,
        });
        pool.was_closed(link, "once");
    }
    assert_eq!(before.len(), 1);
    pool.finish(worker, &tokens(&before));
}
