//! Peers that lie: what is well-formed and makes no sense changes nothing.

use engine_core::Event;
use wire_protocol::client_link::{
    Command, CommandRequest, Follow, Login, Query, QueryRequest, Selector, kind,
};
use wire_protocol::ids::{Attempt, BagId, Epoch, LeaseToken, LinkId, Shard, WorkId, WorkerId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::Priority;
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::Filter;
use wire_protocol::worker_link::{FromWorker, Join, Reports, kind as worker_kind, push_control, push_empty};

use crate::kit::{Pool, join, null, tokens};

const NOBODY: LinkId = LinkId(999);

#[test]
fn messages_on_links_that_nobody_joined_close_them_and_change_nothing() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    pool.submit(client, null(), 2);
    let held = tokens(&pool.leases(worker));
    let before = (pool.snapshot(), pool.lsn());
    // A worker's messages where no worker joined, and on a client's link; a client's messages likewise.
    for link in [NOBODY, client] {
        pool.report_from(link, 1, &held, Reason::None);
        assert_eq!(pool.closed.pop().map(|(closed, _)| closed), Some(link));
        pool.worker_says(link, |out| push_empty(out, worker_kind::WHY_IDLE));
        assert_eq!(pool.closed.pop().map(|(closed, _)| closed), Some(link));
    }
    for link in [NOBODY, worker] {
        let cancel = CommandRequest {
            request: 1,
            command: Command::Cancel(Selector::Bag(BagId(1))),
        };
        pool.client_says(link, |out| push_control(out, kind::COMMAND, &cancel));
        assert_eq!(pool.closed.pop().map(|(closed, _)| closed), Some(link));
    }
    for event in [
        Event::LinkAlive { link: NOBODY },
        Event::LinkFull { link: NOBODY },
        Event::LinkFull { link: worker },
        Event::LinkClosed { link: NOBODY },
        Event::SnapshotDone,
    ] {
        pool.handle(event);
    }
    assert_eq!((pool.snapshot(), pool.lsn()), before);
    assert_eq!(pool.status(client).works_leased, 1);
}

#[test]
fn a_second_login_in_a_connection_closes_it() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let login = Login {
        login: "root".to_owned(),
        password: String::new(),
        agent: String::new(),
    };
    pool.client_says(client, |out| push_control(out, kind::LOGIN, &login));
    pool.was_closed(client, "once");
    let worker = pool.worker("ant", 1, 0);
    pool.worker_says(worker, |out| {
        push_control(out, worker_kind::JOIN, &join("bee", 1, 0))
    });
    pool.was_closed(worker, "once");
}

#[test]
fn tokens_of_any_value_change_nothing() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let worker = pool.worker("ant", 1, 0);
    let other = pool.worker("bee", 1, 0);
    pool.submit(client, null(), 2);
    let real = pool.leases(worker)[0].token;
    pool.leases(other);
    let mut forged = Vec::new();
    for work in [
        WorkId(0),
        real.work,
        WorkId(2),
        WorkId(4_095),
        WorkId(4_096),
        WorkId(u64::MAX),
    ] {
        for epoch in [Epoch(0), Epoch(1), Epoch(u32::MAX)] {
            for attempt in [Attempt(0), Attempt(1), Attempt(u16::MAX)] {
                for shard in [Shard(0), Shard(u16::MAX)] {
                    forged.push(LeaseToken {
                        work,
                        epoch,
                        attempt,
                        shard,
                    });
                }
            }
        }
    }
    forged.retain(|token| *token != real);
    let before = (pool.snapshot(), pool.lsn());
    let liar = pool.join(Join {
        held: forged.clone(),
        running: forged.clone(),
        unacknowledged: forged.clone(),
        ..join("liar", 1, 0)
    });
    assert_eq!(pool.welcome(liar).1, []);
    let joined = pool.lsn();
    assert_eq!(joined.0, before.1.0 + 1, "only that it joined was recorded");
    let before = pool.snapshot();
    for link in [worker, liar] {
        pool.started(link, &forged);
        pool.retracted(link, &forged, Reason::Retracted);
        pool.report(link, &forged, Reason::None);
        pool.report(link, &forged, Reason::ExitCode);
        pool.ignore(link);
    }
    assert_eq!(pool.snapshot(), before);
    assert_eq!(pool.lsn(), joined);
    pool.finish(worker, &[real]);
    pool.told(client);
}

#[test]
fn a_worker_that_claims_every_work_after_a_restart_gets_no_more_than_it_may_hold() {
    let mut pool = Pool::new();
    let client = pool.client("alice");
    let bag = pool.submit(client, null(), 100);
    pool.restart();
    let claimed: Vec<LeaseToken> = (0..100)
        .map(|row| LeaseToken {
            work: bag.first.offset(row),
            epoch: Epoch(1),
            attempt: Attempt(1),
            shard: Shard(0),
        })
        .collect();
    let liar = pool.join(Join {
        held: claimed,
        ..join("liar", 2, 3)
    });
    let (_, adopted) = pool.welcome(liar);
    assert_eq!(adopted.len(), 5);
    pool.ignore(liar);
}

#[test]
fn commands_and_queries_for_what_does_not_exist_change_nothing() {
    let mut pool = Pool::new();
    let operator = pool.operator();
    pool.submit(operator, null(), 1);
    let before = (pool.snapshot(), pool.lsn());
    for id in [0, 2, 77, u32::MAX as u64, u64::MAX] {
        let (bag, work, worker) = (BagId(id), WorkId(id), WorkerId(id as u32));
        for command in [
            Command::Cancel(Selector::Bag(bag)),
            Command::Cancel(Selector::Work(work)),
            Command::Retry(Selector::Bag(bag)),
            Command::Retry(Selector::Work(work)),
            Command::Prioritise(bag, Priority(255)),
            Command::Seal(bag),
            Command::Cordon(worker),
            Command::Uncordon(worker),
            Command::Drain(worker),
        ] {
            let command = CommandRequest { request: 0, command };
            pool.client_says(operator, |out| push_control(out, kind::COMMAND, &command));
        }
        let follow = Follow {
            request: u32::MAX,
            bag,
        };
        pool.client_says(operator, |out| push_control(out, kind::FOLLOW, &follow));
        for query in [
            Query::Work(work),
            Query::Works {
                filter: Filter {
                    bag: Some(bag),
                    ..Filter::default()
                },
                after: work,
                limit: u32::MAX,
            },
            Query::Bags {
                after: bag,
                limit: u32::MAX,
            },
            Query::Results {
                bag,
                from_row: u32::MAX,
            },
            Query::Workers {
                after: worker,
                limit: 0,
            },
            Query::ExplainWork(work),
            Query::ExplainWorker(worker),
        ] {
            let query = QueryRequest { request: 0, query };
            pool.client_says(operator, |out| push_control(out, kind::QUERY, &query));
        }
    }
    pool.ignore(operator);
    assert_eq!((pool.snapshot(), pool.lsn()), before);
}

#[test]
fn a_clock_that_goes_back_is_held() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let later = pool.now;
    pool.now = Instant(5);
    pool.worker_says(worker, |out| push_empty(out, worker_kind::PING));
    pool.now = later;
    pool.ignore(worker);
    pool.advance(Millis::from_secs(30));
}

#[test]
fn empty_lists_are_harmless() {
    let mut pool = Pool::new();
    let worker = pool.worker("ant", 1, 0);
    let before = (pool.snapshot(), pool.lsn());
    pool.started(worker, &[]);
    pool.retracted(worker, &[], Reason::None);
    pool.finish(worker, &[]);
    assert_eq!((pool.snapshot(), pool.lsn()), before);
    let payload = 1_u64.to_le_bytes();
    let reports = Reports::parse(&payload).expect("well-formed");
    pool.handle(Event::WorkerSaid {
        link: worker,
        message: FromWorker::Finished(reports),
    });
    pool.ignore(worker);
}
