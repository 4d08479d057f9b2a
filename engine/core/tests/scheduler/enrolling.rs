//! Who may join: enrolment tokens, certificates, approval, versions.

use engine_core::{ApprovalPolicy, Config, Event, Limits, Proof};
use wire_protocol::client_link::{Command, Query};
use wire_protocol::ids::{LinkId, Lsn, TokenId, WorkerId};
use wire_protocol::joining::{
    Address, Approval, Certified, Digest, NewToken, TokenState, TokenView, WalletProof,
};
use wire_protocol::units::{Instant, Millis};
use wire_protocol::view::{Reply, WorkerState, WorkerView};
use wire_protocol::worker_link::{Join, Notice, Refused, RefusedCode};

use crate::kit::{Pool, WorkerHeard, join, null, tokens};

const HOUR: Millis = Millis::from_secs(3_600);
const DAY: Millis = Millis::from_secs(86_400);

/// What the text of a token, or a worker's key, stands for here.
fn digest(of: u8) -> Digest {
    [of; 32]
}

fn new_token(of: u8) -> NewToken {
    NewToken {
        digest: digest(of),
        expires_in: HOUR,
        uses: 1,
        label: "rack 3".to_owned(),
        groups: Vec::new(),
    }
}

fn by_token(token: u8, key: u8) -> Proof<'static> {
    Proof::Token {
        digest: digest(token),
        key: digest(key),
        request: b"request",
    }
}

fn by_certificate(uid: &str, key: u8, not_after: Instant) -> Proof<'_> {
    Proof::Certificate {
        uid,
        key: digest(key),
        not_after,
    }
}

fn manual() -> Config {
    Config {
        approval: ApprovalPolicy::Manual,
        ..Config::default()
    }
}

impl Pool {
    fn create_token(&mut self, operator: LinkId, new: NewToken) -> TokenView {
        match self.command(operator, Command::CreateToken(new)) {
            Reply::Token(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn the_tokens(&mut self, operator: LinkId) -> Vec<TokenView> {
        let query = Query::Tokens {
            after: TokenId(0),
            limit: 100,
        };
        match self.query(operator, query) {
            Reply::Tokens(tokens) => tokens,
            other => panic!("{other:?}"),
        }
    }

    fn worker_view(&mut self, operator: LinkId, worker: WorkerId) -> WorkerView {
        match self.query(operator, Query::Worker(worker)) {
            Reply::Worker(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn changed(&mut self, operator: LinkId, command: Command) -> u32 {
        match self.command(operator, command) {
            Reply::Changed(count) => count,
            other => panic!("{other:?}"),
        }
    }

    /// A worker enrols; what it is given.
    fn enrolled(&mut self, uid: &str, token: u8, key: u8) -> (LinkId, WorkerId, Certified) {
        let link = self.prove(&join(uid, 1, 0), by_token(token, key));
        let (worker, _) = self.welcome(link);
        (link, worker, self.certificate(link))
    }

    fn certificate(&mut self, link: LinkId) -> Certified {
        match &self.worker_heard(link)[..] {
            [WorkerHeard::Certificate(certified)] => certified.clone(),
            other => panic!("a certificate was due, and this came: {other:?}"),
        }
    }

    /// A worker that is refused, with the code and the reason.
    fn refusal(&mut self, join: &Join, proof: Proof<'_>) -> (RefusedCode, String) {
        let link = self.prove(join, proof);
        let heard = self.worker_heard(link);
        let [WorkerHeard::Refused(Refused { code, reason, .. })] = &heard[..] else {
            panic!("a refusal was due, and this came: {heard:?}");
        };
        self.was_closed(link, reason);
        (*code, reason.clone())
    }

    fn refused_because(&mut self, uid: &str, proof: Proof<'_>, because: &str) {
        let (code, reason) = self.refusal(&join(uid, 1, 0), proof);
        assert_eq!(code, RefusedCode::Credentials, "{reason}");
        assert!(reason.contains(because), "{reason}");
    }
}

#[test]
fn a_token_enrols_a_worker_which_then_joins_by_its_certificate() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    let view = pool.create_token(admin, new_token(1));
    assert_eq!(
        (view.token, view.state, view.used),
        (TokenId(1), TokenState::Open, 0)
    );
    let (link, worker, certified) = pool.enrolled("ant", 1, 7);
    let lasts = certified.not_after.since(pool.now);
    assert!((90 * DAY.0..=90 * DAY.0 + 1_000).contains(&lasts.0), "{lasts:?}");
    pool.close(link);
    let back = pool.prove(&join("ant", 1, 0), by_certificate("ant", 7, certified.not_after));
    assert_eq!(pool.welcome(back).0, worker);
    let view = pool.worker_view(admin, worker);
    let certificate = view.certificate.expect("it has one");
    assert_eq!(
        (certificate.serial, certificate.not_after),
        (1, certified.not_after)
    );
    assert_eq!(pool.the_tokens(admin)[0].state, TokenState::Spent);
}

#[test]
fn a_token_for_one_worker_enrols_exactly_one() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    pool.enrolled("ant", 1, 7);
    pool.refused_because("bee", by_token(1, 8), "used before, by another worker");
    pool.refused_because("ant", by_token(1, 8), "used before, by another worker");
    let view = pool.the_tokens(admin).remove(0);
    assert_eq!((view.uses, view.used), (1, 1));
}

#[test]
fn a_token_enrols_as_many_workers_as_it_was_made_for() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(
        admin,
        NewToken {
            uses: 2,
            ..new_token(1)
        },
    );
    pool.enrolled("ant", 1, 7);
    pool.enrolled("bee", 1, 8);
    pool.refused_because("cow", by_token(1, 9), "used before");
}

#[test]
fn a_worker_that_did_not_get_its_certificate_asks_again_and_spends_nothing() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    let (link, worker, first) = pool.enrolled("ant", 1, 7);
    pool.close(link);
    pool.silence(Millis::from_secs(7_200));
    let again = pool.prove(&join("ant", 1, 0), by_token(1, 7));
    assert_eq!(pool.welcome(again).0, worker);
    let second = pool.certificate(again);
    assert_eq!(
        (second.certificate, second.not_after),
        (first.certificate, first.not_after)
    );
    assert_eq!(pool.the_tokens(admin)[0].used, 1);
}

#[test]
fn a_use_that_a_crash_forgets_was_not_spent_and_gave_no_certificate() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    let before = pool.lsn();
    pool.hold_durability();
    let link = pool.prove(&join("ant", 1, 0), by_token(1, 7));
    pool.welcome(link);
    assert_eq!(
        pool.worker_heard(link),
        [],
        "the certificate waits for the record"
    );
    pool.crash(before, Millis(100), None);
    // Another worker is faster now: the token was not spent, and then it is.
    pool.enrolled("bee", 1, 8);
    pool.refused_because("ant", by_token(1, 7), "used before");
}

#[test]
fn a_use_that_is_durable_stays_spent_across_a_crash_and_belongs_to_its_worker() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    pool.hold_durability();
    let link = pool.prove(&join("ant", 1, 0), by_token(1, 7));
    pool.welcome(link);
    let snapshot = pool.snapshot();
    let lsn = pool.lsn();
    pool.crash(lsn, Millis(100), Some(&snapshot));
    pool.refused_because("bee", by_token(1, 8), "used before");
    pool.enrolled("ant", 1, 7);
}

#[test]
fn tokens_that_are_not_good_are_refused_with_the_reason() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.refused_because("ant", by_token(1, 7), "none of this pool");
    let token = pool.create_token(admin, new_token(1)).token;
    assert_eq!(pool.changed(admin, Command::RevokeToken(token)), 1);
    assert_eq!(
        pool.changed(admin, Command::RevokeToken(token)),
        0,
        "a repeat changes nothing"
    );
    pool.refused_because("ant", by_token(1, 7), "was revoked");
    pool.create_token(admin, new_token(2));
    pool.silence(HOUR);
    pool.refused_because("ant", by_token(2, 7), "has expired");
    let states: Vec<TokenState> = pool.the_tokens(admin).iter().map(|view| view.state).collect();
    assert_eq!(states, [TokenState::Revoked, TokenState::Expired]);
    let missing = pool.command(admin, Command::RevokeToken(TokenId(9)));
    assert!(matches!(missing, Reply::NotFound { .. }), "{missing:?}");
}

#[test]
fn what_a_token_may_be_is_bounded_and_a_repeat_makes_the_same() {
    let mut pool = Pool::with(Config {
        limits: Limits {
            tokens_max: 2,
            ..Limits::default()
        },
        ..Config::default()
    });
    let admin = pool.operator();
    for wrong in [
        NewToken {
            uses: 0,
            ..new_token(1)
        },
        NewToken {
            expires_in: Millis(999),
            ..new_token(1)
        },
        NewToken {
            expires_in: Millis(u64::MAX),
            ..new_token(1)
        },
        NewToken {
            label: "x".repeat(257),
            ..new_token(1)
        },
        NewToken {
            groups: vec![String::new(); 17],
            ..new_token(1)
        },
    ] {
        let reply = pool.command(admin, Command::CreateToken(wrong));
        assert!(matches!(reply, Reply::Conflict(_)), "{reply:?}");
    }
    let first = pool.create_token(admin, new_token(1));
    assert_eq!(pool.create_token(admin, new_token(1)), first);
    pool.create_token(admin, new_token(2));
    let full = pool.command(admin, Command::CreateToken(new_token(3)));
    assert!(matches!(full, Reply::Conflict(_)), "{full:?}");
    pool.silence(Millis(8 * DAY.0));
    let third = pool.create_token(admin, new_token(3));
    assert_eq!(third.token, TokenId(3), "numbers are not given twice");
    assert_eq!(pool.the_tokens(admin).len(), 1, "the others were forgotten");
    pool.restart();
    let admin = pool.operator();
    assert_eq!(pool.create_token(admin, new_token(4)).token, TokenId(4));
}

#[test]
fn only_operators_say_who_may_join() {
    let mut pool = Pool::new();
    let user = pool.client("alice");
    for command in [
        Command::CreateToken(new_token(1)),
        Command::RevokeToken(TokenId(1)),
        Command::Approve(WorkerId(1)),
        Command::Revoke(WorkerId(1)),
    ] {
        let reply = pool.command(user, command);
        assert!(matches!(reply, Reply::Conflict(_)), "{reply:?}");
    }
    let query = Query::Tokens {
        after: TokenId(0),
        limit: 1,
    };
    let reply = pool.query(user, query);
    assert!(matches!(reply, Reply::Conflict(_)), "{reply:?}");
}

#[test]
fn a_token_puts_its_workers_into_its_groups() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    let groups = vec!["blue".to_owned()];
    pool.create_token(
        admin,
        NewToken {
            groups,
            ..new_token(1)
        },
    );
    let mut mine = join("ant", 1, 0);
    mine.offer.groups = vec!["own".to_owned()];
    let link = pool.prove(&mine, by_token(1, 7));
    let (worker, _) = pool.welcome(link);
    let ends = pool.certificate(link).not_after;
    pool.close(link);
    pool.restart();
    let admin = pool.operator();
    let link = pool.prove(&mine, by_certificate("ant", 7, ends));
    pool.welcome(link);
    assert_eq!(pool.worker_view(admin, worker).offer.groups, ["own", "blue"]);
}

#[test]
fn a_certificate_is_good_for_its_own_uid_key_and_time() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(
        admin,
        NewToken {
            uses: 2,
            ..new_token(1)
        },
    );
    let (link, _, certified) = pool.enrolled("ant", 1, 7);
    pool.close(link);
    let ends = certified.not_after;
    pool.refused_because("bee", by_certificate("ant", 7, ends), "is that of worker \"ant\"");
    pool.refused_because("ant", by_certificate("ant", 8, ends), "does not know");
    pool.refused_because("bee", by_certificate("bee", 7, ends), "does not know");
    // Neither the password nor a token gets at the uid of a worker that has a certificate.
    pool.refused_because("ant", Proof::Password, "joins with it alone");
    pool.refused_because("ant", by_token(1, 8), "under another key");
    pool.silence(Millis(91 * DAY.0));
    pool.refused_because("ant", by_certificate("ant", 7, ends), "pool worker token create");
    let link = pool.prove(&join("ant", 1, 0), Proof::Password);
    pool.welcome(link);
}

#[test]
fn a_worker_with_a_certificate_is_remembered_until_that_ends() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    let (link, worker, certified) = pool.enrolled("ant", 1, 7);
    pool.close(link);
    pool.silence(Millis(89 * DAY.0));
    let ends = certified.not_after;
    let link = pool.prove(&join("ant", 1, 0), by_certificate("ant", 7, ends));
    assert_eq!(pool.welcome(link).0, worker);
    pool.close(link);
    pool.silence(Millis(2 * DAY.0));
    let gone = pool.query(admin, Query::Worker(worker));
    assert!(matches!(gone, Reply::NotFound { .. }), "{gone:?}");
}

#[test]
fn a_certificate_is_renewed_under_its_key_and_the_old_one_is_good_until_it_ends() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(admin, new_token(1));
    let (link, worker, first) = pool.enrolled("ant", 1, 7);
    let renew = |pool: &mut Pool, link, key| {
        pool.handle(Event::WorkerRenews {
            link,
            key: digest(key),
            request: b"request",
        });
    };
    renew(&mut pool, link, 7);
    assert_eq!(
        pool.certificate(link).not_after,
        first.not_after,
        "it is new: the same once more"
    );
    renew(&mut pool, link, 7);
    assert_eq!(pool.worker_heard(link), [], "at most one a second");
    pool.silence(Millis::from_secs(1));
    renew(&mut pool, link, 7);
    pool.certificate(link);
    pool.close(link);
    pool.silence(Millis(61 * DAY.0));
    let link = pool.prove(&join("ant", 1, 0), by_certificate("ant", 7, first.not_after));
    pool.welcome(link);
    renew(&mut pool, link, 7);
    let second = pool.certificate(link);
    assert!(second.not_after > first.not_after, "{second:?}");
    assert_eq!(
        pool.worker_view(admin, worker)
            .certificate
            .expect("it has one")
            .serial,
        2
    );
    pool.close(link);
    let link = pool.prove(&join("ant", 1, 0), by_certificate("ant", 7, first.not_after));
    pool.welcome(link);
    renew(&mut pool, link, 8);
    pool.was_closed(link, "only the certificate that a worker has");
    let stranger = pool.new_link();
    renew(&mut pool, stranger, 7);
    pool.was_closed(stranger, "joins before");
}

#[test]
fn a_revoked_worker_is_out_with_its_leases_until_it_is_approved() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    pool.create_token(
        admin,
        NewToken {
            uses: 2,
            ..new_token(1)
        },
    );
    let (link, worker, certified) = pool.enrolled("ant", 1, 7);
    let bag = pool.submit(admin, null(), 1);
    let held = tokens(&pool.leases(link));
    pool.started(link, &held);
    let other = pool.worker("bee", 1, 0);
    assert_eq!(pool.changed(admin, Command::Revoke(worker)), 1);
    let heard = pool.worker_heard(link);
    assert!(matches!(&heard[..], [WorkerHeard::Refused(_)]), "{heard:?}");
    pool.was_closed(link, "an operator revoked this worker");
    assert_eq!(
        pool.leased(other),
        [bag.first],
        "its work goes to another at once"
    );
    assert_eq!(
        pool.changed(admin, Command::Revoke(worker)),
        0,
        "a repeat changes nothing"
    );
    let ends = certified.not_after;
    let refused_in_all_ways = |pool: &mut Pool| {
        for proof in [by_certificate("ant", 7, ends), by_token(1, 7), Proof::Password] {
            pool.refused_because("ant", proof, "pool worker approve k1");
        }
    };
    refused_in_all_ways(&mut pool);
    pool.close(other);
    pool.silence(Millis(30 * DAY.0));
    refused_in_all_ways(&mut pool);
    pool.restart();
    let admin = pool.operator();
    refused_in_all_ways(&mut pool);
    let view = pool.worker_view(admin, worker);
    assert_eq!((view.approval, view.certificate), (Approval::Revoked, None));
    let why = pool.explain(admin, Query::ExplainWorker(worker));
    assert!(why.contains("revoked"), "{why}");
    // Approved, it is one that may enrol: its old certificate is not good again.
    assert_eq!(pool.changed(admin, Command::Approve(worker)), 1);
    pool.create_token(admin, new_token(2));
    pool.refused_because("ant", by_certificate("ant", 7, ends), "does not know");
    let back = pool.prove(&join("ant", 1, 0), by_token(2, 9));
    pool.welcome(back);
    let heard = pool.worker_heard(back);
    assert!(
        matches!(
            &heard[..],
            [WorkerHeard::Certificate(_), WorkerHeard::Assigned(_)]
        ),
        "{heard:?}"
    );
}

#[test]
fn with_manual_approval_a_worker_waits_cordoned_until_it_is_approved() {
    let mut pool = Pool::with(manual());
    let admin = pool.operator();
    let bag = pool.submit(admin, null(), 1);
    let link = pool.join(join("ant", 1, 0));
    let (worker, _) = pool.welcome(link);
    let waits = "waits for approval: pool worker approve k1".to_owned();
    let notice = WorkerHeard::Notice(Notice::Cordoned { reason: waits });
    assert_eq!(pool.worker_heard(link), std::slice::from_ref(&notice));
    let view = pool.worker_view(admin, worker);
    assert_eq!(
        (view.state, view.approval),
        (WorkerState::Cordoned, Approval::Waiting)
    );
    let why = pool.explain(admin, Query::ExplainWorker(worker));
    assert!(why.contains("waits for approval"), "{why}");
    let uncordon = pool.command(admin, Command::Uncordon(worker));
    assert!(matches!(uncordon, Reply::Conflict(_)), "{uncordon:?}");
    // It comes back, also to another engine, and still waits.
    pool.close(link);
    let link = pool.join(join("ant", 1, 0));
    pool.welcome(link);
    assert_eq!(pool.worker_heard(link), std::slice::from_ref(&notice));
    pool.restart();
    let admin = pool.operator();
    let link = pool.join(join("ant", 1, 0));
    pool.welcome(link);
    assert_eq!(pool.worker_heard(link), [notice]);
    assert_eq!(pool.changed(admin, Command::Approve(worker)), 1);
    assert_eq!(
        pool.changed(admin, Command::Approve(worker)),
        0,
        "a repeat changes nothing"
    );
    let heard = pool.worker_heard(link);
    assert_eq!(heard[0], WorkerHeard::Notice(Notice::Uncordoned));
    assert!(matches!(&heard[1..], [WorkerHeard::Assigned(lease)] if lease.token.work == bag.first));
    // What was approved stays so, however long it is away.
    pool.close(link);
    pool.silence(Millis(30 * DAY.0));
    let link = pool.join(join("ant", 1, 0));
    assert_eq!(pool.welcome(link).0, worker);
    assert_eq!(pool.leased(link), [bag.first]);
}

#[test]
fn a_cordon_outlasts_the_approval() {
    let mut pool = Pool::with(manual());
    let admin = pool.operator();
    let link = pool.join(join("ant", 1, 0));
    let (worker, _) = pool.welcome(link);
    assert_eq!(pool.changed(admin, Command::Cordon(worker)), 1);
    assert_eq!(pool.changed(admin, Command::Approve(worker)), 1);
    assert_eq!(pool.worker_view(admin, worker).state, WorkerState::Cordoned);
    assert_eq!(pool.changed(admin, Command::Uncordon(worker)), 1);
    assert_eq!(pool.worker_view(admin, worker).state, WorkerState::Ready);
    pool.worker_heard(link);
}

#[test]
fn with_manual_approval_who_enrols_waits_also_under_a_uid_that_was_approved() {
    let mut pool = Pool::with(manual());
    let admin = pool.operator();
    let link = pool.join(join("ant", 1, 0));
    let (worker, _) = pool.welcome(link);
    pool.changed(admin, Command::Approve(worker));
    pool.worker_heard(link);
    pool.close(link);
    pool.create_token(admin, new_token(1));
    let link = pool.prove(&join("ant", 1, 0), by_token(1, 7));
    pool.welcome(link);
    assert_eq!(pool.worker_view(admin, worker).approval, Approval::Waiting);
    pool.worker_heard(link);
}

#[test]
fn workers_that_were_there_before_approval_was_asked_for_count_as_approved() {
    let mut pool = Pool::new();
    let link = pool.worker("ant", 1, 0);
    pool.close(link);
    pool.config = manual();
    pool.restart();
    let link = pool.worker("ant", 1, 0);
    let admin = pool.operator();
    pool.submit(admin, null(), 1);
    assert_eq!(pool.leases(link).len(), 1);
}

#[test]
fn the_wallet_that_a_worker_shows_is_recorded_and_changes_with_it() {
    let mut pool = Pool::new();
    let admin = pool.operator();
    let with = |address: Option<u8>| Join {
        wallet: address.map(|byte| WalletProof {
            address: Address([byte; 20]),
            r: [1; 32],
            s: [1; 32],
            parity: 0,
        }),
        ..join("ant", 1, 0)
    };
    for shown in [Some(3), Some(3), Some(4), None] {
        let link = pool.join(with(shown));
        let (worker, _) = pool.welcome(link);
        let wallet = pool.worker_view(admin, worker).wallet;
        assert_eq!(wallet, shown.map(|byte| Address([byte; 20])));
        pool.close(link);
    }
}

#[test]
fn a_worker_of_an_earlier_version_is_told_both_versions_and_the_cure() {
    let mut pool = Pool::with(Config {
        worker_version_min: Some("0.2.0".parse().expect("a version")),
        ..Config::default()
    });
    for old in ["0.1.9", "", "new"] {
        let old = Join {
            version: old.to_owned(),
            ..join("ant", 1, 0)
        };
        let (code, reason) = pool.refusal(&old, Proof::Password);
        assert_eq!(code, RefusedCode::Invalid);
        let said = format!("version {:?} and the pool takes 0.2.0 or later", old.version);
        assert!(reason.contains(&said) && reason.contains("install"), "{reason}");
    }
    let new = Join {
        version: "0.10.0".to_owned(),
        ..join("ant", 1, 0)
    };
    let link = pool.join(new);
    pool.welcome(link);
    assert_eq!(pool.lsn(), Lsn(2), "who is refused leaves no record");
}
