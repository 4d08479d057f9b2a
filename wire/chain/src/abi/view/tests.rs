//! Answers that cannot be right, and those for what is not there. Right ones come from real contracts, in `devnet`.

use proptest::prelude::*;
use wire_hub::{NOBODY, Trust};

use super::*;

const WOID: Address = Address([8; 20]);
const WORKER: Address = Address([9; 20]);

const VIEWS: [View; 27] = [
    View::Wiring,
    View::CategoriesCount,
    View::Category { id: 1 },
    View::Balance { who: WORKER },
    View::Affiliation { worker: WORKER },
    View::OrderRegistered { woid: WOID },
    View::PoolRegistered { pool: WOID },
    View::PoolsCount { owner: WORKER },
    View::PoolOf {
        owner: WORKER,
        index: 1,
    },
    View::AppsCount { owner: WORKER },
    View::AppOf {
        owner: WORKER,
        index: 1,
    },
    View::App { app: WOID },
    View::Rlc { who: WORKER },
    View::Allowance { who: WORKER },
    View::MarketOrdersCount,
    View::MarketOrder { id: 1 },
    View::CallbackDone { woid: WOID },
    View::PoolOwner,
    View::Policy,
    View::WorkersCount,
    View::Worker { index: 0 },
    View::Consensus { woid: WOID },
    View::Contribution {
        woid: WOID,
        worker: WORKER,
    },
    View::ContributorsCount { woid: WOID },
    View::Contributor { woid: WOID, index: 0 },
    View::WorkOrder { woid: WOID },
    View::OrderStatus { woid: WOID },
];

/// `poco-v2`, section 2.3.
#[test]
fn questions_have_the_selectors_of_the_deployed_contracts() {
    for (view, to, selector) in [
        (View::Balance { who: WORKER }, 2, 0x5f51_5226_u32),
        (View::Affiliation { worker: WORKER }, 2, 0xf69f_190c),
        (View::CategoriesCount, 2, 0xa0ef_e255),
        (View::OrderRegistered { woid: WOID }, 2, 0x32ca_5587),
        (View::Consensus { woid: WOID }, 7, 0x1f1e_7406),
        (View::ContributorsCount { woid: WOID }, 7, 0x3ec6_a4c4),
        (View::Contributor { woid: WOID, index: 0 }, 7, 0xbb7f_b08b),
        (
            View::Contribution {
                woid: WOID,
                worker: WORKER,
            },
            7,
            0x7bd2_20bb,
        ),
        (View::WorkersCount, 7, 0xc6ce_d32b),
        (View::MarketOrder { id: 1 }, 3, 0x3ab6_7956),
        (View::MarketOrdersCount, 3, 0x69c7_c180),
        (View::CallbackDone { woid: WOID }, 3, 0x97e6_45f3),
        (View::OrderStatus { woid: WOID }, 8, 0xe329_c478),
    ] {
        let questions = questions(&Contracts::numbered(), &view);
        assert_eq!(questions.len(), 1, "{view:?}");
        assert_eq!(questions[0].to, Address([to; 20]), "{view:?}");
        assert_eq!(questions[0].data[..4], selector.to_be_bytes(), "{view:?}");
    }
    let order = questions(&Contracts::numbered(), &View::WorkOrder { woid: WOID });
    let selectors: Vec<u32> = order
        .iter()
        .map(|question| u32::from_be_bytes(question.data[..4].try_into().expect("4 bytes")))
        .collect();
    let known = [
        0xe329_c478,
        0xecc4_0f64,
        0x6946_f692,
        0x71a5_99ca,
        0x5f44_910c,
        0x1529_8c77,
        0xda1f_ea28,
        0xf6a5_b13e,
    ];
    assert!(
        known.iter().all(|selector| selectors.contains(selector)),
        "{selectors:x?}"
    );
}

#[test]
fn an_address_without_a_contract_has_nothing() {
    for view in VIEWS {
        let empty: Vec<Vec<u8>> = questions(&Contracts::numbered(), &view)
            .iter()
            .map(|_| Vec::new())
            .collect();
        assert_eq!(answer(&view, &empty), Ok(None), "{view:?}");
    }
}

/// A struct of a mapping in which nothing was written.
#[test]
fn what_was_never_written_is_absent_where_it_would_lie_otherwise() {
    let words = |count: usize| vec![vec![0; 32 * count]];
    assert_eq!(answer(&View::MarketOrder { id: 9 }, &words(8)), Ok(None));
    assert_eq!(answer(&View::Consensus { woid: WOID }, &words(9)), Ok(None));
    assert_eq!(
        answer(
            &View::PoolOf {
                owner: WORKER,
                index: 2
            },
            &words(1)
        ),
        Ok(None)
    );
    let unset = Contribution::default();
    let view = View::Contribution {
        woid: WOID,
        worker: WORKER,
    };
    assert_eq!(answer(&view, &words(6)), Ok(Some(Seen::Contribution(unset))));
    let nowhere = Affiliation {
        pool: NOBODY,
        score: 0,
    };
    let view = View::Affiliation { worker: WORKER };
    assert_eq!(answer(&view, &words(2)), Ok(Some(Seen::Affiliation(nowhere))));
}

#[test]
fn values_that_cannot_be_right_are_named_with_their_view() {
    let word = |value: U256| value.encode();
    let many = U256::from(u128::MAX) + 1;
    let contribution = (
        U256::from(5),
        U256::zero(),
        U256::zero(),
        U256::zero(),
        U256::zero(),
        U256::zero(),
    );
    let order = |direction: u64, value: U256| {
        let zero = U256::zero;
        (direction, 1_u64, U256::MAX, value, 1_u64, 1_u64, zero(), zero()).encode()
    };
    let balance = View::Balance { who: WORKER };
    for (view, bytes, what) in [
        (balance, (many, U256::zero()).encode(), "stake"),
        (balance, (U256::zero(), many).encode(), "locked"),
        (balance, vec![0; 63], "checkBalance"),
        (View::Rlc { who: WORKER }, word(many), "the amount"),
        (View::OrderStatus { woid: WOID }, word(5.into()), "m_status"),
        (View::OrderStatus { woid: WOID }, word(many), "m_status"),
        (View::WorkersCount, word(many), "the count"),
        (
            View::CallbackDone { woid: WOID },
            word(2.into()),
            "the truth value",
        ),
        (
            View::Contribution {
                woid: WOID,
                worker: WORKER,
            },
            contribution.encode(),
            "status",
        ),
        (View::MarketOrder { id: 1 }, order(1, U256::one()), "direction"),
        (View::MarketOrder { id: 1 }, order(2, many), "value"),
    ] {
        let error = answer(&view, &[bytes]).expect_err(what).to_string();
        let named = format!("{view:?}");
        assert!(error.contains(what) && error.contains(&named), "{error}");
    }
    // Trust is what a requester wants, and more than all of it is all of it.
    let Ok(Some(Seen::MarketOrder(of))) = answer(&View::MarketOrder { id: 1 }, &[order(2, U256::one())])
    else {
        panic!("an offer");
    };
    assert_eq!(of.trust, Trust(u128::MAX));
}

/// Whoever buys a work or makes an app writes what they like. It is text, or becomes some.
#[test]
fn parameters_that_are_no_text_are_read_all_the_same() {
    let nobody = || U256::zero().encode();
    let mut broken = "abc".to_owned().encode();
    let at = broken.iter().position(|byte| *byte == b'b').expect("it is there");
    broken[at] = 0xff;
    let mut answers: Vec<Vec<u8>> = (0..10).map(|_| nobody()).collect();
    answers[6] = broken;
    let Ok(Some(Seen::WorkOrder(order))) = answer(&View::WorkOrder { woid: WOID }, &answers) else {
        panic!("an order");
    };
    assert_eq!(order.params, "a\u{fffd}c");
}

proptest! {
    /// Whatever a node answers, somebody lives to tell.
    #[test]
    fn no_answer_panics(at in 0..VIEWS.len(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let view = VIEWS[at];
        let answers: Vec<Vec<u8>> = questions(&Contracts::numbered(), &view).iter().map(|_| bytes.clone()).collect();
        drop(answer(&view, &answers));
    }
}
