//! What is wrong is told at start, by the name of the variable; what waiting may cure is waited for.

use std::process::Command;

use devnet::{Devnet, Options};
use testkit::processes::{Engine, until};
use wire_chain::Chain;
use wire_hub::Rlc;

use crate::kit::{Sidecar, keystore};

/// A chain with a pool, and an engine.
async fn place() -> (Devnet, Engine) {
    let mut devnet = Devnet::start(Options::default()).await.expect("a chain");
    devnet.populate(1).await.expect("a pool");
    (devnet, Engine::start(&[]))
}

/// P4: each of these ends with code 3 and a sentence that names the variable, before anything is done.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_lead_to_the_pool_is_refused_by_name() {
    let (devnet, engine) = place().await;
    let contracts = *devnet.contracts();
    let folder = tempfile::tempdir().expect("a folder");
    let other = keystore(folder.path(), &devnet.keys()[2]);
    let nobody = "0x00000000000000000000000000000000000000aa".to_owned();
    let wrong: [(&str, String, &str); 9] = [
        ("POOL_CHAIN_ID", "5".to_owned(), "POOL_CHAIN_ID says 5"),
        (
            "IEXECHUBCONTRACT",
            nobody.clone(),
            "IEXECHUBCONTRACT=0x00000000000000000000000000000000000000aa: there is no contract",
        ),
        (
            "IEXECHUBCONTRACT",
            contracts.rlc.to_string(),
            "this contract is no IexecHub",
        ),
        (
            "RLCCONTRACT",
            contracts.hub.to_string(),
            "is not the token of the hub",
        ),
        ("WORKERPOOLADDRESS", nobody, "WORKERPOOLADDRESS=0x"),
        (
            "WORKERPOOLADDRESS",
            contracts.hub.to_string(),
            "knows no such pool",
        ),
        ("WALLETPATH", other.display().to_string(), "WALLETPATH opens"),
        ("WALLETPASSWORD", "wrong".to_owned(), "the password is wrong"),
        ("ADMINPASSWORD", "wrong".to_owned(), "refuses the login `admin`"),
    ];
    for (variable, value, told) in wrong {
        let mut sidecar = Sidecar::new(&devnet, &engine).with(variable, &value);
        sidecar.start();
        let status = sidecar.wait();
        let log = sidecar.log();
        assert_eq!(status.code(), Some(3), "{variable}={value}: {log}");
        assert!(log.contains(told), "{variable}={value}: {log}");
        assert!(log.contains(variable), "{variable}={value}: {log}");
        assert!(!log.contains("hush"), "a secret is told: {log}");
    }
}

/// The predecessor's files have addresses as `sed` takes them.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_was_written_for_sed_is_taken() {
    let (devnet, engine) = place().await;
    let escaped = devnet.url().replace('/', "\\/");
    let mut sidecar = Sidecar::new(&devnet, &engine).with("ETHNODE", &escaped);
    sidecar.start();
    sidecar.ready();
    until("it follows", || {
        sidecar.metric("pool_chain_followed_block") > Some(0.0)
    });
    assert!(
        sidecar
            .get("/healthz")
            .expect("it listens")
            .contains("\"status\":\"ok\"")
    );
    assert!(sidecar.stop().success(), "{}", sidecar.log());
}

/// Engine and node may come in any order, and go.
#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_the_engine_and_goes_on_when_it_is_back() {
    let (devnet, mut engine) = place().await;
    let mut sidecar = Sidecar::new(&devnet, &engine);
    engine.kill();
    sidecar.start();
    until("it says what it waits for", || {
        let ready = sidecar.get("/readyz");
        ready.is_some_and(|answer| answer.contains(" 503 ") && answer.contains("engine"))
    });
    engine.start_again();
    sidecar.ready();
    engine.kill();
    devnet.mine(5).await.expect("blocks");
    engine.start_again();
    let head = devnet
        .node()
        .head()
        .await
        .found()
        .expect("a head")
        .expect("a head");
    until("it has followed", || {
        sidecar.metric("pool_chain_followed_block") == Some(head.at.number as f64)
    });
    assert!(sidecar.stop().success(), "{}", sidecar.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_the_older_ends_and_says_why() {
    let (devnet, engine) = place().await;
    let mut older = Sidecar::new(&devnet, &engine);
    older.start();
    older.ready();
    let mut newer = Sidecar::new(&devnet, &engine);
    newer.start();
    newer.ready();
    // It notices when it has something to note.
    devnet.mine(1).await.expect("a block");
    assert_eq!(older.wait().code(), Some(5), "{}", older.log());
    assert!(older.log().contains("another pool-reconcile"), "{}", older.log());
    assert!(newer.stop().success(), "{}", newer.log());
}

/// Notes of another pool are another's money: they are let go only on purpose.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_another_pool_is_let_go_only_on_purpose() {
    let (mut devnet, engine) = place().await;
    let mut sidecar = Sidecar::new(&devnet, &engine);
    sidecar.start();
    sidecar.ready();
    let follows = |sidecar: &Sidecar| sidecar.metric("pool_chain_followed_block") > Some(0.0);
    until("it follows", || follows(&sidecar));
    assert!(sidecar.stop().success(), "{}", sidecar.log());
    let first = devnet.contracts().pool;
    devnet.create_pool(Rlc(10), Rlc(10)).await.expect("another pool");
    let mut other = Sidecar::new(&devnet, &engine);
    other.start();
    assert_eq!(other.wait().code(), Some(6), "{}", other.log());
    let told = other.log();
    assert!(
        told.contains(&first.to_string()) && told.contains("--forget"),
        "{told}"
    );
    let mut other = Sidecar::new(&devnet, &engine).with("POOL_CHAIN_FORGET", "true");
    other.start();
    other.ready();
    until("it follows", || follows(&other));
    assert!(other.stop().success(), "{}", other.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn switched_off_it_does_nothing_and_says_so() {
    let (devnet, engine) = place().await;
    let mut sidecar = Sidecar::new(&devnet, &engine)
        .with("BLOCKCHAINETHENABLED", "false")
        .with("ETHNODE", "")
        .with("WALLETPATH", "");
    sidecar.start();
    sidecar.ready();
    assert!(
        sidecar
            .get("/healthz")
            .expect("it listens")
            .contains("\"status\":\"off\"")
    );
    assert!(sidecar.stop().success(), "{}", sidecar.log());
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let ended = Command::new(env!("CARGO_BIN_EXE_pool-reconcile"))
        .env_clear()
        .output()
        .expect("it runs");
    assert_eq!(ended.status.code(), Some(3));
    let told = String::from_utf8_lossy(&ended.stderr).into_owned();
    for variable in ["ETHNODE", "WALLETPATH", "ADMINPASSWORD"] {
        assert!(told.contains(variable), "{told}");
    }
}
