//! What is told of variables and flags that are missing, malformed or contradict each other.

use super::*;
use crate::core::market::Price;
use wire_hub::Rlc;

fn problems(arguments: &[&str]) -> Vec<String> {
    let words = std::iter::once("pool-reconcile").chain(arguments.iter().copied());
    let options = Options::try_parse_from(words).expect("well-formed flags");
    options.into_config().expect_err("something is missing")
}

#[test]
fn all_that_is_missing_is_told_at_once() {
    let told = problems(&["--node", "", "--pool", ""]);
    for variable in [
        "ETHNODE",
        "RLCCONTRACT",
        "IEXECHUBCONTRACT",
        "WORKERPOOLADDRESS",
        "WALLETPATH",
        "WALLETPASSWORD",
        "POOL_CA",
        "ADMINPASSWORD",
    ] {
        assert!(
            told.iter().any(|line| line.starts_with(variable)),
            "{variable}: {told:#?}"
        );
    }
}

#[test]
fn what_is_malformed_is_told_with_its_value_and_secrets_are_not() {
    let told = problems(&[
        "--node",
        "ftp://x",
        "--hub",
        "0x12",
        "--engine",
        "nowhere",
        "--chain-id",
        "one",
        "--category",
        "3",
        "--gas-cap-gwei",
        "1",
        "--password",
        "hush",
        "--wallet",
        "/nowhere/wallet",
        "--wallet-password",
        "hush",
    ])
    .join("\n");
    for part in [
        "ETHNODE: ",
        "IEXECHUBCONTRACT is `0x12`",
        "POOL_ENGINE_CLIENT is `nowhere`",
        "POOL_CHAIN_ID is `one`",
        "CATEGORY is 3, so a price is needed",
        "WALLETPATH (/nowhere/wallet)",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("hush"), "{told}");
}

#[test]
fn without_a_chain_nothing_is_needed() {
    let options = Options::try_parse_from(["pool-reconcile", "--chain", "false"]).expect("well-formed");
    assert!(options.into_config().expect("nothing is missing").work.is_none());
}

#[test]
fn offers_take_one_price_or_two() {
    let offer = |arguments: &[&str]| {
        let words = std::iter::once("pool-reconcile").chain(arguments.iter().copied());
        let options = Options::try_parse_from(words).expect("well-formed flags");
        let mut problems = Vec::new();
        let orders = options.orders.check(&mut problems);
        orders.ok_or(problems).map(|orders| orders.offer)
    };
    assert_eq!(offer(&["--category", "", "--price", ""]), Ok(None));
    let fixed = offer(&["--category", "3", "--price", "1000", "--volume", "7"]);
    let fixed = fixed.expect("all is given").expect("an offer");
    assert_eq!((fixed.price, fixed.volume), (Price::Fixed(Rlc(1_000)), 7));
    let by_load = offer(&["--category", "3", "--price-min", "1", "--price-max", "9"]);
    assert!(matches!(
        by_load.expect("all is given").expect("an offer").price,
        Price::ByLoad {
            min: Rlc(1),
            max: Rlc(9),
            ..
        }
    ));
    for wrong in [
        &["--price", "1"][..],
        &["--category", "3"],
        &["--category", "3", "--price", "1", "--price-min", "1"],
        &["--category", "3", "--price-min", "2", "--price-max", "1"],
        &["--category", "x", "--price", "1"],
    ] {
        assert!(offer(wrong).is_err(), "{wrong:?}");
    }
}
