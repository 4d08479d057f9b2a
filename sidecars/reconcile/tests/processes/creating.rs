//! A pool is created by an explicit command, and by nothing else.

use std::process::Command;

use devnet::{Devnet, Options};
use testkit::processes::{Engine, program};

use crate::kit::{HUSH, Sidecar, keystore};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_created_once_and_then_worked_with() {
    let devnet = Devnet::start(Options::default()).await.expect("a chain");
    let folder = tempfile::tempdir().expect("a folder");
    let wallet = keystore(folder.path(), &devnet.keys()[1]);
    let contracts = *devnet.contracts();
    let create = |more: &[&str]| {
        let ended = Command::new(program("pool"))
            .env_clear()
            .env("ETHNODE", devnet.url())
            .env("RLCCONTRACT", contracts.rlc.to_string())
            .env("IEXECHUBCONTRACT", contracts.hub.to_string())
            .env("WALLETPATH", &wallet)
            .env("WALLETPASSWORD", HUSH)
            .args(["-o", "json", "chain", "create-pool", "--description", "a pool"])
            .args(["--lock-stake", "10"])
            .args(more)
            .output()
            .expect("it runs");
        let said: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap_or_default();
        let told = String::from_utf8_lossy(&ended.stderr).into_owned();
        (ended.status.code(), said, told)
    };
    let (code, said, told) = create(&[]);
    assert_eq!(
        (code, &said["pool"]),
        (Some(0), &serde_json::Value::Null),
        "{told}"
    );
    let (code, said, told) = create(&["--yes"]);
    assert_eq!(code, Some(0), "{told}");
    let pool = said["pool"].as_str().expect("its address").to_owned();
    let (code, _, told) = create(&["--yes"]);
    assert_eq!(code, Some(6), "{told}");
    assert!(told.contains(&pool) && told.contains("--another"), "{told}");
    let engine = Engine::start(&[]);
    let mut sidecar = Sidecar::new(&devnet, &engine).with("WORKERPOOLADDRESS", &pool);
    sidecar.start();
    sidecar.ready();
    assert!(sidecar.stop().success(), "{}", sidecar.log());
}
