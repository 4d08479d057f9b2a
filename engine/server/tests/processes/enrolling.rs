//! Workers that enrol by a token, and then prove by a certificate who they are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client::protocol::ids::WorkerId;
use client::protocol::joining::{Approval, NewToken, TokenState, TokenView};
use client::protocol::units::{Instant, Millis};
use client::protocol::view::{WorkState, WorkerState, WorkerView};
use client::protocol::worker_link::kind;
use client::{Client, SubmitOptions};
use ring::digest::{SHA256, digest};
use wire_wallet::{LABEL, Wallet};

use crate::kit::{Engine, Held, Peer, Worker, all_outcomes, command, join_with_wallet, signal, until};

/// How a worker ends that the engine refuses for good.
const REFUSED: i32 = 4;

async fn token(client: &Client, text: &str, uses: u32) -> TokenView {
    let digest = digest(&SHA256, text.as_bytes());
    let new = NewToken {
        digest: digest.as_ref().try_into().expect("32 bytes"),
        expires_in: Millis::from_secs(3_600),
        uses,
        label: "test".to_owned(),
        groups: vec!["blue".to_owned()],
    };
    client.create_token(new).await.expect("an operator may")
}

async fn workers(client: &Client) -> Vec<WorkerView> {
    client.workers(WorkerId(0), 100).await.expect("an answer")
}

async fn until_ready(client: &Client, count: usize) {
    let ready = |view: &WorkerView| view.state == WorkerState::Ready;
    until("the workers are there", async || {
        workers(client).await.iter().filter(|view| ready(view)).count() == count
    })
    .await;
}

/// Until a second after a certificate has ended.
async fn until_after(not_after: Instant) {
    until("the certificate has ended", async || {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        since_1970 > Duration::from_nanos(not_after.0) + Duration::from_secs(1)
    })
    .await;
}

fn has_certificate(engine: &Engine, name: &str) -> bool {
    let text = fs::read_to_string(engine.folder().join(name).join("identity.pem"));
    text.is_ok_and(|text| text.contains("BEGIN CERTIFICATE"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_enrols_once_and_then_needs_neither_token_nor_password() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    // Between the making of a token and its use the engine may die.
    engine.kill();
    engine.start_again();
    let client = engine.client().await;
    let mut worker = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    until_ready(&client, 1).await;
    until("it has a certificate", async || has_certificate(&engine, "ant")).await;
    let identity = engine.folder().join("ant/identity.pem");
    let mode = fs::metadata(identity).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "its key is its own");
    worker.kill();
    engine.kill();
    engine.start_again();
    let client = engine.client().await;
    let _worker = Worker::without_password(&engine, "ant", None);
    until_ready(&client, 1).await;
    let view = workers(&client).await.remove(0);
    assert_eq!(view.certificate.expect("it has one").serial, 1);
    assert_eq!(
        (view.approval, view.offer.groups),
        (Approval::Approved, vec!["blue".to_owned()])
    );
    let template = command(&["/bin/sh", "-c", "echo {x}"]);
    let (upload, follow) = client
        .submit_followed(template, 1, SubmitOptions::default())
        .expect("a valid template");
    let (_, outcomes) = tokio::join!(upload.send(["7"]), all_outcomes(follow));
    assert_eq!(outcomes[0].stdout(), "7\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn of_two_workers_with_one_token_at_once_exactly_one_enrols() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    let mut both = ["ant", "bee"].map(|name| Worker::without_password(&engine, name, Some("pool-enrol-one")));
    until("one of them is refused", async || {
        both.iter_mut().any(|worker| worker.has_ended().is_some())
    })
    .await;
    until_ready(&client, 1).await;
    let ended: Vec<Option<i32>> = both.iter_mut().map(Worker::has_ended).collect();
    assert!(
        ended == [Some(REFUSED), None] || ended == [None, Some(REFUSED)],
        "{ended:?}"
    );
    let refused = both
        .iter_mut()
        .find_map(|worker| worker.has_ended().map(|_| worker.said()));
    let said = refused.expect("one of them");
    assert!(said.contains("was used before, by another worker"), "{said}");
    assert_eq!(workers(&client).await.len(), 1);
    let tokens = client.tokens(Default::default(), 10).await.expect("an answer");
    assert_eq!((tokens[0].used, tokens[0].state), (1, TokenState::Spent));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_use_that_died_with_the_engine_was_not_spent() {
    let mut engine = Engine::start(&[]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    let held = Held::journal_of(engine.pid());
    let mut worker = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    until("it has joined", async || {
        worker.said().contains("joined the pool")
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!has_certificate(&engine, "ant"), "it waits for the disk");
    worker.kill();
    // The thread that is held dies with the others; until it is let go, the process cannot be waited for.
    signal(engine.pid(), rustix::process::Signal::KILL);
    drop(held);
    engine.kill();
    engine.start_again();
    let client = engine.client().await;
    let tokens = client.tokens(Default::default(), 10).await.expect("an answer");
    assert_eq!(tokens[0].state, TokenState::Open);
    let _other = Worker::without_password(&engine, "bee", Some("pool-enrol-one"));
    until("another has its certificate", async || {
        has_certificate(&engine, "bee")
    })
    .await;
    let mut late = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    assert_eq!(late.wait().code(), Some(REFUSED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_revoked_worker_is_out_and_comes_back_only_approved_and_enrolled_anew() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    let mut worker = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    until("it has a certificate", async || has_certificate(&engine, "ant")).await;
    let id = workers(&client).await[0].worker;
    assert_eq!(client.revoke(id).await.expect("an operator may"), 1);
    assert_eq!(worker.wait().code(), Some(REFUSED));
    let mut again = Worker::without_password(&engine, "ant", None);
    assert_eq!(again.wait().code(), Some(REFUSED));
    let said = again.said();
    assert!(said.contains("pool worker approve k1"), "{said}");
    assert_eq!(client.approve(id).await.expect("an operator may"), 1);
    let mut stale = Worker::without_password(&engine, "ant", None);
    assert_eq!(
        stale.wait().code(),
        Some(REFUSED),
        "its old certificate is not good again"
    );
    token(&client, "pool-enrol-two", 1).await;
    let _back = Worker::without_password(&engine, "ant", Some("pool-enrol-two"));
    until_ready(&client, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_certificate_is_renewed_before_it_ends_and_the_same_worker_comes_back_with_the_new_one() {
    let mut engine = Engine::start(&["--certificate-lifetime", "12s"]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    let mut worker = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    until_ready(&client, 1).await;
    let certificate = async |client: &Client| workers(client).await[0].certificate.expect("it has one");
    let first = certificate(&client).await;
    until("it has another certificate", async || {
        certificate(&client).await.serial > first.serial
    })
    .await;
    until_after(first.not_after).await;
    engine.kill();
    engine.start_again();
    let client = engine.client().await;
    until_ready(&client, 1).await;
    assert!(certificate(&client).await.serial > first.serial);
    assert_eq!(worker.has_ended(), None, "it is the same process");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_that_was_away_for_longer_than_its_certificate_lasts_enrols_anew() {
    let engine = Engine::without_worker_password(&["--certificate-lifetime", "10s"]);
    let client = engine.client().await;
    token(&client, "pool-enrol-one", 1).await;
    let mut worker = Worker::without_password(&engine, "ant", Some("pool-enrol-one"));
    until("it has a certificate", async || has_certificate(&engine, "ant")).await;
    until_ready(&client, 1).await;
    let certificate = workers(&client).await[0].certificate.expect("it has one");
    let found = Worker::doctor(&engine, "ant");
    assert!(
        found.contains("certificate") && !found.contains("expired"),
        "{found}"
    );
    worker.kill();
    until_after(certificate.not_after).await;
    let found = Worker::doctor(&engine, "ant");
    assert!(found.contains("the certificate has expired"), "{found}");
    assert!(found.contains("pool worker token create"), "{found}");
    let mut late = Worker::without_password(&engine, "ant", None);
    assert_eq!(late.wait().code(), Some(3));
    let said = late.said();
    assert!(said.contains("pool worker token create"), "{said}");
    token(&client, "pool-enrol-two", 1).await;
    let _anew = Worker::without_password(&engine, "ant", Some("pool-enrol-two"));
    until("it has another certificate", async || {
        let views = workers(&client).await;
        views[0].state == WorkerState::Ready
            && views[0]
                .certificate
                .is_some_and(|it| it.serial > certificate.serial)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_pool_without_a_password_for_workers_refuses_all_of_them() {
    let engine = Engine::without_worker_password(&[]);
    let mut worker = Worker::start(&engine, "ant", 1, "/bin/sh");
    assert_eq!(worker.wait().code(), Some(REFUSED));
    let said = worker.said();
    assert!(
        said.contains("this pool takes no passwords from workers"),
        "{said}"
    );
}

/// The vector of the format's description: <https://ethereum.org/developers/docs/data-structures-and-encoding/web3-secret-storage>.
const KEYSTORE: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
    "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2",
    "kdfparams":{"c":262144,"dklen":32,"prf":"hmac-sha256",
    "salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
    "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
    "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_worker_shows_the_wallet_of_its_keystore_and_a_restarted_engine_knows_it() {
    let mut engine = Engine::start(&[]);
    let keystore = engine.folder().join("wallet.json");
    fs::write(&keystore, KEYSTORE).expect("own folder");
    let wallet = |password: &str| {
        let variables: [(&str, &OsStr); 2] = [
            ("WALLETPATH", keystore.as_os_str()),
            ("WALLETPASSWORD", password.as_ref()),
        ];
        Worker::start_with(&engine, "ant", 1, "/bin/sh", &variables)
    };
    let mut wrong = wallet("password");
    assert_eq!(wrong.wait().code(), Some(3));
    let said = wrong.said();
    assert!(said.contains("password is wrong"), "{said}");
    let _worker = wallet("testpassword");
    let client = engine.client().await;
    until_ready(&client, 1).await;
    let shown = workers(&client).await[0].wallet.expect("it has one");
    assert_eq!(shown.to_string(), "0x008aeeda4d805471df9b2a5b0f38a0c3bcba786b");
    engine.kill();
    engine.start_again();
    let client = engine.client().await;
    assert_eq!(workers(&client).await[0].wallet, Some(shown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_manual_approval_work_comes_after_the_approval() {
    let engine = Engine::start(&["--approval", "manual"]);
    let client = engine.client().await;
    let _worker = Worker::start(&engine, "ant", 1, "/bin/sh");
    until("it is there", async || !workers(&client).await.is_empty()).await;
    let view = workers(&client).await.remove(0);
    assert_eq!(
        (view.state, view.approval),
        (WorkerState::Cordoned, Approval::Waiting)
    );
    let template = command(&["/bin/sh", "-c", "echo {x}"]);
    let (upload, follow) = client
        .submit_followed(template, 1, SubmitOptions::default())
        .expect("a valid template");
    let work = upload.send(["7"]).await.expect("accepted").first;
    // A worker that may have it would have had it before it was accepted.
    let state = client.work(work).await.expect("known").work.state;
    assert_eq!(state, WorkState::Queued);
    assert_eq!(client.approve(view.worker).await.expect("an operator may"), 1);
    let outcomes = all_outcomes(follow).await;
    assert_eq!(outcomes[0].stdout(), "7\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_old_worker_is_told_both_versions() {
    let engine = Engine::start(&["--worker-version-min", "99.0.0"]);
    let mut worker = Worker::start(&engine, "ant", 1, "/bin/sh");
    assert_eq!(worker.wait().code(), Some(3));
    let said = worker.said();
    let own = env!("CARGO_PKG_VERSION");
    assert!(said.contains(own) && said.contains("99.0.0 or later"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_wallet_is_bound_to_the_connection_on_which_it_is_shown() {
    let engine = Engine::start(&[]);
    let client = engine.client().await;
    let wallet = Wallet::of(&[7; 32]).expect("a key");
    let mut honest = Peer::to_workers(&engine).await;
    let proof = wallet.prove("ant", &honest.channel(LABEL));
    honest.say(&join_with_wallet("ant", proof)).await;
    honest.hear(kind::WELCOME).await;
    assert_eq!(workers(&client).await[0].wallet, Some(wallet.address()));
    // What was signed there says nothing here, whoever passes it on.
    let mut between = Peer::to_workers(&engine).await;
    between.say(&join_with_wallet("ant", proof)).await;
    let heard = between.hear_the_end().await;
    assert!(heard.reason.contains("is not of this connection"), "{heard:?}");
    let mut other = Peer::to_workers(&engine).await;
    let proof = wallet.prove("ant", &other.channel(LABEL));
    other.say(&join_with_wallet("bee", proof)).await;
    let heard = other.hear_the_end().await;
    assert!(heard.reason.contains("and this worker"), "{heard:?}");
    assert_eq!(workers(&client).await.len(), 1);
}
