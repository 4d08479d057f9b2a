//! Settings that lead nowhere, or elsewhere.

use wire_chain::rpc::{Endpoint, Rpc, RpcOptions};
use wire_chain::start::{Setting, Settings, StartError, check};
use wire_hub::{Address, Rlc};

use crate::support::*;

fn rpc(url: &str) -> Rpc {
    let options = RpcOptions {
        patience: std::time::Duration::ZERO,
        ..RpcOptions::default()
    };
    Rpc::new(url.parse().expect(url), options).expect("HTTP")
}

#[tokio::test]
async fn each_wrong_setting_is_told_by_its_name_with_its_value_and_a_cure() {
    let (mut devnet, app) = pool(0).await;
    let contracts = *devnet.contracts();
    let owner = devnet.scheduler().address();
    let stranger = devnet.requester().address();
    let good = Settings {
        node: "ETHNODE",
        chain_id: Some(Setting::new("CHAINID", 31_337)),
        rlc: Setting::new("RLCCONTRACT", contracts.rlc),
        hub: Setting::new("IEXECHUBCONTRACT", contracts.hub),
        pool: Some(Setting::new("WORKERPOOLADDRESS", contracts.pool)),
        owner: Some(Setting::new("WALLETPATH", owner)),
    };
    let node = [rpc(devnet.url())];
    assert_eq!(check(&node, &good).await.expect("all is well"), contracts);
    let without = Settings {
        chain_id: None,
        pool: None,
        owner: None,
        ..good
    };
    assert_eq!(
        check(&node, &without).await.expect("all is well").marketplace,
        contracts.marketplace
    );
    let nowhere = Address([0xee; 20]);
    let wrong = [
        (
            Settings {
                chain_id: Some(Setting::new("CHAINID", 1)),
                ..good
            },
            "ETHNODE=http://127.0.0.1",
            "CHAINID says 1",
        ),
        (
            Settings {
                rlc: Setting::new("RLCCONTRACT", nowhere),
                ..good
            },
            "RLCCONTRACT=0xeeee",
            "no contract at this address on chain 31337",
        ),
        (
            Settings {
                rlc: Setting::new("RLCCONTRACT", app),
                ..good
            },
            "RLCCONTRACT=",
            "is not the token of the hub",
        ),
        (
            Settings {
                hub: Setting::new("IEXECHUBCONTRACT", nowhere),
                ..good
            },
            "IEXECHUBCONTRACT=0xeeee",
            "no contract",
        ),
        (
            Settings {
                hub: Setting::new("IEXECHUBCONTRACT", contracts.marketplace),
                ..good
            },
            "IEXECHUBCONTRACT=",
            "this contract is no IexecHub",
        ),
        (
            Settings {
                hub: Setting::new("IEXECHUBCONTRACT", contracts.rlc),
                ..good
            },
            "IEXECHUBCONTRACT=",
            "this contract is no IexecHub",
        ),
        (
            Settings {
                pool: Some(Setting::new("WORKERPOOLADDRESS", nowhere)),
                ..good
            },
            "WORKERPOOLADDRESS=0xeeee",
            "no contract",
        ),
        (
            Settings {
                pool: Some(Setting::new("WORKERPOOLADDRESS", app)),
                ..good
            },
            "WORKERPOOLADDRESS=",
            "knows no such pool",
        ),
        (
            Settings {
                owner: Some(Setting::new("WALLETPATH", stranger)),
                ..good
            },
            "WORKERPOOLADDRESS=",
            "WALLETPATH opens",
        ),
    ];
    for (settings, which, what) in wrong {
        let error = check(&node, &settings).await.expect_err(what).to_string();
        assert!(error.starts_with(which) && error.contains(what), "{error}");
        assert!(error.contains("Set "), "a cure: {error}");
    }
    // Another pool of the same wallet is as good as the first.
    let pool = devnet.create_pool(Rlc(0), Rlc(0)).await.expect("a pool");
    assert_ne!(pool, contracts.pool);
    let second = Settings {
        pool: Some(Setting::new("WORKERPOOLADDRESS", pool)),
        ..good
    };
    assert_eq!(
        check(&node, &second).await.expect("all is well"),
        *devnet.contracts()
    );
}

#[tokio::test]
async fn nodes_have_to_answer_and_to_be_of_one_chain() {
    let devnet = chain().await;
    let options = devnet::Options {
        chain_id: 4_242,
        categories_s: vec![],
        ..devnet::Options::default()
    };
    let other = devnet::Devnet::start(options).await.expect("a chain");
    let contracts = *devnet.contracts();
    let settings = Settings {
        node: "ETHNODE",
        chain_id: None,
        rlc: Setting::new("RLCCONTRACT", contracts.rlc),
        hub: Setting::new("IEXECHUBCONTRACT", contracts.hub),
        pool: None,
        owner: None,
    };
    let mixed = check(&[rpc(devnet.url()), rpc(other.url())], &settings).await;
    assert!(
        matches!(
            mixed,
            Err(StartError::OtherChain {
                found: 4_242,
                wanted: 31_337,
                ..
            })
        ),
        "{mixed:?}"
    );
    // The same addresses, and a hub that nobody can sell anything at.
    let empty = check(&[rpc(other.url())], &settings)
        .await
        .expect_err("no categories")
        .to_string();
    assert!(empty.contains("it has no categories"), "{empty}");
    let dead = check(&[rpc("http://127.0.0.1:1")], &settings)
        .await
        .expect_err("nobody is there")
        .to_string();
    assert!(
        dead.starts_with("ETHNODE=http://127.0.0.1:1: the node does not answer"),
        "{dead}"
    );
}

#[tokio::test]
async fn an_address_of_a_node_may_be_written_for_sed() {
    let devnet = chain().await;
    let escaped = devnet.url().replace('/', "\\/");
    assert!(escaped.starts_with("http:\\/\\/"));
    let endpoints = Endpoint::list(&escaped).expect("an address");
    let rpc = Rpc::new(endpoints[0].clone(), RpcOptions::default()).expect("HTTP");
    let chain_id = rpc.ask("eth_chainId", serde_json::json!([])).await;
    assert_eq!(chain_id.expect("an answer"), "0x7a69");
}

#[tokio::test]
async fn a_chain_ends_when_it_is_dropped_and_says_why_it_does_not_start() {
    let devnet = chain().await;
    let url = devnet.url().to_owned();
    drop(devnet);
    let asked = rpc(&url).ask("eth_chainId", serde_json::json!([])).await;
    assert!(asked.is_err(), "{asked:?}");
    let options = devnet::Options {
        hardfork: Some("nonsense".to_owned()),
        ..devnet::Options::default()
    };
    let error = devnet::Devnet::start(options)
        .await
        .expect_err("no such rules")
        .to_string();
    assert!(
        error.contains("anvil does not start") && error.contains("nonsense"),
        "{error}"
    );
}
