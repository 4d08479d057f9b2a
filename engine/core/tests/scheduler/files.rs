//! What a worker may do with the files of its works: what they name, as long as it has the lease.

use wire_protocol::client_link::Open;
use wire_protocol::file::{Claims, Digest, Source};
use wire_protocol::ids::{Attempt, LeaseToken, LinkId};
use wire_protocol::outcome::Reason;
use wire_protocol::template::{Input, InputFile, Limits, Outputs, WorkTemplate};
use wire_protocol::units::{Bytes, Millis};
use wire_protocol::worker_link::{GrantAnswer, Granted};

use crate::kit::{Pool, WorkerHeard, join, rows, tokens};

const HEX: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn with_files() -> WorkTemplate {
    let file = |path: &str, source: &str| InputFile {
        path: path.to_owned(),
        source: source.to_owned(),
        unpack: false,
    };
    WorkTemplate {
        app: "process".to_owned(),
        command: vec!["render".to_owned()],
        columns: vec!["n".to_owned()],
        files: vec![
            file("scene", &format!("sha256:{HEX}")),
            file("tile", "tiles/{n}"),
            file("web", "https://example.org/{n}"),
        ],
        input: Input::File("in/{n}.txt".to_owned()),
        outputs: Outputs {
            collect: vec!["out/**".to_owned()],
            consensus: None,
        },
        ..WorkTemplate::default()
    }
}

fn worker(pool: &mut Pool, uid: &str) -> LinkId {
    let mut join = join(uid, 2, 0);
    join.offer.executors = vec!["process".to_owned()];
    let link = pool.join(join);
    pool.welcome(link);
    link
}

/// What a worker heard, which are grants alone.
fn grants(pool: &mut Pool, worker: LinkId) -> Vec<(LeaseToken, Result<String, String>)> {
    let heard = pool.worker_heard(worker);
    let grant = |heard| match heard {
        WorkerHeard::Granted(Granted { token, answer }) => match answer {
            GrantAnswer::Granted { grant, .. } => (token, Ok(grant)),
            GrantAnswer::Refused { reason } => (token, Err(reason)),
        },
        other => panic!("{other:?}"),
    };
    heard.into_iter().map(grant).collect()
}

#[test]
fn a_grant_names_the_files_of_one_row_and_lets_outputs_be_written() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let ant = worker(&mut pool, "ant");
    pool.submit(alice, with_files(), 2);
    let held = tokens(&pool.leases(ant));
    pool.ask_grants(ant, &held[1..]);
    let claims = Claims {
        token: held[1],
        owner: "alice".to_owned(),
        reads: vec![
            Source::Content(Digest::from_hex(HEX).expect("a digest")),
            Source::Name("tiles/1".to_owned()),
            Source::Name("in/1.txt".to_owned()),
        ],
        write_max: Bytes(u64::MAX),
        expires: pool.now + Millis::from_secs(3_600),
    };
    assert_eq!(grants(&mut pool, ant), [(held[1], Ok(format!("{claims:?}")))]);
    pool.told(alice);
}

#[test]
fn what_may_be_written_is_bounded_by_the_work_and_nothing_where_nothing_is_kept() {
    for (keep, limit, most) in [(true, 1 << 20, 1 << 20), (false, 1 << 20, 0), (false, 0, 0)] {
        let mut pool = Pool::new();
        let alice = pool.client("alice");
        let ant = worker(&mut pool, "ant");
        let mut template = with_files();
        if !keep {
            template.outputs = Outputs::default();
        }
        template.limits = Limits {
            files: Bytes(limit),
            ..Limits::default()
        };
        pool.submit(alice, template, 1);
        let held = tokens(&pool.leases(ant));
        pool.ask_grants(ant, &held);
        let granted = grants(&mut pool, ant).remove(0).1.expect("it has the lease");
        assert!(
            granted.contains(&format!("write_max: Bytes({most})")),
            "{granted}"
        );
        pool.told(alice);
    }
}

#[test]
fn who_has_not_the_lease_is_granted_nothing() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let ant = worker(&mut pool, "ant");
    pool.submit(alice, with_files(), 1);
    let held = tokens(&pool.leases(ant));
    let bee = worker(&mut pool, "bee");
    let refused = |pool: &mut Pool, link, token| {
        pool.ask_grants(link, &[token]);
        let (answered, grant) = grants(pool, link).remove(0);
        assert_eq!(answered, token);
        assert_eq!(grant, Err(Reason::Stale.to_string()));
    };
    refused(&mut pool, bee, held[0]);
    let attempt = Attempt(2);
    refused(&mut pool, ant, LeaseToken { attempt, ..held[0] });
    pool.finish(ant, &held);
    refused(&mut pool, ant, held[0]);
    pool.told(alice);
}

#[test]
fn a_grant_waits_until_its_lease_is_durable() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let ant = worker(&mut pool, "ant");
    pool.hold_durability();
    let open = Open {
        request: 1,
        key: [1; 16],
        rows_total: 1,
        follow: false,
        template: with_files(),
    };
    pool.open(alice, &open);
    pool.rows(alice, 1, 0, &rows(0..1));
    let held = tokens(&pool.leases(ant));
    pool.ask_grants(ant, &held);
    assert_eq!(grants(&mut pool, ant), [], "a crash could forget the work");
    pool.all_durable();
    assert_eq!(grants(&mut pool, ant).len(), 1);
    pool.client_heard(alice);
}

#[test]
fn a_row_that_makes_no_source_is_refused_with_the_cause() {
    let mut pool = Pool::new();
    let alice = pool.client("alice");
    let ant = worker(&mut pool, "ant");
    let mut template = with_files();
    template.files[1].source = "{n}://host".to_owned();
    pool.submit(alice, template, 1);
    let held = tokens(&pool.leases(ant));
    pool.ask_grants(ant, &held);
    let refused = grants(&mut pool, ant).remove(0).1.expect_err("0:// is no source");
    assert!(refused.contains("0://host"), "{refused}");
    pool.told(alice);
}
