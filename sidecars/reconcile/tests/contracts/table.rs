//! Which test tries what: scenarios of acceptance, rules of the contracts, consequences of reorganisations.

/// Where something is tried.
enum Tried {
    /// By each test of this crate whose name begins so.
    Here(&'static str),
    /// By this test of another.
    By(&'static str, &'static str),
    /// In a later part of the product, of which there is nothing yet.
    Later(&'static str),
}

use Tried::{By, Here, Later};

const HERE: [&str; 12] = [
    include_str!("chaos/mod.rs"),
    include_str!("differential/mod.rs"),
    include_str!("rules.rs"),
    include_str!("scenarios/deciding.rs"),
    include_str!("scenarios/happy.rs"),
    include_str!("scenarios/killed.rs"),
    include_str!("scenarios/late.rs"),
    include_str!("scenarios/nodes.rs"),
    include_str!("scenarios/reorganised.rs"),
    include_str!("scenarios/revealing.rs"),
    include_str!("scenarios/stakes.rs"),
    include_str!("scenarios/workers.rs"),
];

/// A file of tests elsewhere: its name from the root, and what is in it.
macro_rules! files {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!("../../../../", $path)))),+]
    };
}

const ELSEWHERE: &[(&str, &str)] = files![
    "devnet/tests/devnet/endpoints.rs",
    "devnet/tests/devnet/reorganised.rs",
    "sidecars/gateway/tests/processes/files.rs",
    "sidecars/persist/src/follow/faults.rs",
    "sidecars/persist/tests/processes/following.rs",
    "sidecars/persist/tests/processes/importing.rs",
    "sidecars/reconcile/src/core/observe/tests.rs",
    "sidecars/reconcile/tests/processes/orders.rs",
    "sidecars/reconcile/tests/processes/starting.rs",
    "engine/server/tests/processes/crash.rs",
    "worker/agent/tests/agent/chain.rs",
    "worker/chain/tests/contracts/orders.rs",
    "worker/chain/tests/contracts/reorganised.rs",
];

const ORDERS: &str = "sidecars/reconcile/tests/processes/orders.rs";
const STARTING: &str = "sidecars/reconcile/tests/processes/starting.rs";
const ENDPOINTS: &str = "devnet/tests/devnet/endpoints.rs";
const FOLLOWER: &str = "sidecars/reconcile/src/core/observe/tests.rs";
const SQL: &str = "sidecars/persist/tests/processes/following.rs";

type Row = (&'static str, &'static str, &'static [Tried]);

const SCENARIOS: &[Row] = &[
    (
        "H1",
        "one worker, trust 0, value 1000",
        &[
            Here("h1_"),
            By(
                "worker/chain/tests/contracts/orders.rs",
                "a_worker_contributes_reveals_and_is_paid",
            ),
        ],
    ),
    ("H3", "three agree", &[Here("h3_")]),
    ("H5", "five agree", &[Here("h5_")]),
    ("H10", "ten agree", &[Here("h10_")]),
    ("H-V", "three works of one offer in one block", &[Here("h_v_")]),
    ("H-C", "the requester's contract is called back", &[Here("h_c_")]),
    ("H-K", "the kitty", &[Here("h_k_")]),
    ("C1", "two against one", &[Here("c1_")]),
    ("C2", "a tie", &[Here("c2_")]),
    ("C3", "all different until the latest time", &[Here("c3_")]),
    ("R1", "one of the winners reveals", &[Here("r1_")]),
    ("R2", "nobody reveals", &[Here("r2_")]),
    ("R5", "a contribution just behind the decision", &[Here("r5_")]),
    ("R6", "a bad reveal", &[Here("r6_")]),
    ("T1", "expired, and claimed", &[Here("t1_")]),
    ("T2", "expired, and not claimed", &[Here("t2_")]),
    ("T3", "a second before and after the timeout", &[Here("t3_")]),
    ("E3", "who is authorized already", &[Here("e3_")]),
    ("S2", "the pool's stake is too low for an offer", &[Here("s2_")]),
    ("S3", "one worker in parallel orders", &[Here("s3_")]),
    ("X2", "a reorganisation drops allow", &[Here("x2_")]),
    (
        "X3",
        "a reorganisation drops contribute or reveal",
        &[
            Here("x3_"),
            By(
                "worker/chain/tests/contracts/reorganised.rs",
                "a_contribution_that_is_orphaned_is_sent_again_as_it_was",
            ),
        ],
    ),
    ("X4", "a reorganisation drops finalize", &[Here("x4_")]),
    ("K1", "killed: order seen", &[Here("k1_")]),
    ("K2", "killed: allow sent", &[Here("k2_")]),
    ("K3", "killed: computing", &[Here("k3_")]),
    ("K4", "killed: contributed", &[Here("k4_")]),
    ("K5", "killed: decided, not sent", &[Here("k5_")]),
    ("K6", "killed: revealConsensus sent", &[Here("k6_")]),
    ("K7", "killed: revealed", &[Here("k7_")]),
    ("K8", "killed: result on its way", &[Here("k8_")]),
    (
        "K9",
        "killed: finalize sent",
        &[
            Here("k9_"),
            By(ORDERS, "whoever_is_killed_every_order_is_completed_and_paid_once"),
        ],
    ),
    (
        "K11",
        "SQL and its sidecar are killed",
        &[
            By(
                SQL,
                "every_work_is_in_the_tables_once_in_its_last_state_whoever_was_killed",
            ),
            By(SQL, "mysql_may_be_killed_at_any_point"),
        ],
    ),
    (
        "K12",
        "SQL restored from an older backup",
        &[By(
            "sidecars/persist/src/follow/faults.rs",
            "a_database_that_was_restored_from_an_older_copy_is_brought_up_to_date",
        )],
    ),
    ("N1", "transactions are lost, a gap of nonces", &[Here("n1_")]),
    ("N2", "gas gets dear", &[Here("n2_")]),
    ("P1", "the node is away in each phase", &[Here("p1_")]),
    (
        "P3",
        "a node is behind, nodes disagree",
        &[
            Here("p3_"),
            By(
                ENDPOINTS,
                "who_claims_more_than_the_others_have_is_not_believed_and_named",
            ),
        ],
    ),
    (
        "P4",
        "wrong chain, hub, or pool",
        &[By(STARTING, "what_does_not_lead_to_the_pool_is_refused_by_name")],
    ),
    ("V2", "5 000 blocks while down", &[Here("v2_")]),
    (
        "W1",
        "a worker is lost after allow",
        &[
            Here("w1_"),
            By(
                "engine/server/tests/processes/crash.rs",
                "works_of_a_killed_worker_run_again_elsewhere_and_leave_no_process_behind",
            ),
        ],
    ),
    (
        "W2",
        "a worker is lost after contribute",
        &[
            Here("w2_"),
            By(
                "worker/agent/tests/agent/chain.rs",
                "a_work_for_an_order_is_contributed_revealed_and_paid",
            ),
        ],
    ),
    (
        "W4",
        "10 000 workers reconnect at once",
        &[Later("the bench with many workers")],
    ),
    (
        "L1",
        "many orders at once",
        &[By(ORDERS, "many_orders_at_once_are_all_completed")],
    ),
    (
        "L2",
        "a million works while L1 runs",
        &[Later("the bench with a chain")],
    ),
    (
        "M1",
        "settings of the predecessor with compose",
        &[Later("compose")],
    ),
    (
        "M3",
        "a mounted certificate survives a restart",
        &[Later("compose")],
    ),
    (
        "M4",
        "logins of others and wrong tokens",
        &[Later("the gateway's HTTP API")],
    ),
    (
        "M5",
        "one byte more than MAXFILESIZE",
        &[By(
            "sidecars/gateway/tests/processes/files.rs",
            "too_long_a_file_is_refused_and_the_connection_lives",
        )],
    ),
    (
        "M6",
        "accounts of the predecessor are imported",
        &[By(
            "sidecars/persist/tests/processes/importing.rs",
            "a_pool_takes_over_the_predecessors_accounts_and_says_what_it_leaves",
        )],
    ),
];

const RULES: &[Row] = &[
    (
        "1",
        "winners are those at the decision's block",
        &[Here("rule_1_")],
    ),
    (
        "2",
        "what is contributed later is too late, and no fault",
        &[Here("r5_")],
    ),
    (
        "3",
        "rejected for good; others stay valid",
        &[Here("rule_3_"), Here("r2_")],
    ),
    (
        "4",
        "evicted after allow: contributes and is paid",
        &[Here("rule_4_")],
    ),
    (
        "5",
        "a batch is allowed whole or not at all",
        &[Here("rule_5_"), Here("e3_")],
    ),
    ("6", "stake disappears before or after allow", &[Here("rule_6_")]),
    (
        "7",
        "deadlines of the decision and of finalize",
        &[Here("rule_7_"), Here("t3_"), Here("c3_")],
    ),
    ("8", "block time, not the clock", &[Here("rule_8_")]),
    ("9", "stranded money", &[Here("t2_")]),
    ("10", "texts on chain", &[Here("rule_10_")]),
    (
        "11",
        "known findings of audits",
        &[Later("flags for results that repeat, and salts")],
    ),
    ("12", "quorum and batch", &[Here("rule_12_")]),
    (
        "failures",
        "why a transaction failed",
        &[Here("the_model_does_what_the_contracts_do")],
    ),
];

const REORGANISATIONS: &[Row] = &[
    (
        "cursor",
        "back to the common ancestor, undone, read again",
        &[
            Here("x2_"),
            Here("x4_"),
            By(FOLLOWER, "emitted_minus_undone_is_the_canonical_chain"),
        ],
    ),
    (
        "identity",
        "an address that is another order's now",
        &[Here("x5_")],
    ),
    (
        "cancelled",
        "an order that is taken back for good",
        &[Here("x6_")],
    ),
    (
        "same",
        "our transactions come again as they were",
        &[Here("x3_"), Here("n1_")],
    ),
    (
        "no-op",
        "and are replaced where they make no sense any more",
        &[Here("x6_")],
    ),
    (
        "depth",
        "works at once, permissions after confirmations",
        &[Here("depth_")],
    ),
    (
        "kept",
        "results are kept until their end is final",
        &[Here("x4_")],
    ),
    (
        "final",
        "what is final",
        &[
            Here("finality_"),
            By(
                "devnet/tests/devnet/reorganised.rs",
                "blocks_of_old_epochs_are_final",
            ),
        ],
    ),
    (
        "gone",
        "a block that is gone is a sign, not an answer",
        &[By(
            "devnet/tests/devnet/reorganised.rs",
            "a_reorganisation_replaces_blocks_and_takes_back_what_they_did",
        )],
    ),
    (
        "chaos",
        "everything at once",
        &[Here("every_order_ends_and_no_coin_is_lost_whatever_happens")],
    ),
];

/// Names of the tests that begin so.
fn here(prefix: &str) -> Vec<&'static str> {
    let functions = HERE
        .iter()
        .flat_map(|file| file.split("#[tokio::test]\nasync fn ").skip(1));
    let names = functions.filter_map(|text| text.split('(').next());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// What tries it, a line each; the error says what is named and is not there.
fn tests(tried: &Tried) -> Result<Vec<String>, String> {
    match tried {
        Here(prefix) => match here(prefix) {
            names if names.is_empty() => Err(format!("no test begins with `{prefix}`")),
            names => Ok(names.into_iter().map(str::to_owned).collect()),
        },
        By(path, name) => {
            let file = ELSEWHERE.iter().find(|(known, _)| known == path);
            let is_there = file.is_some_and(|(_, text)| text.contains(name));
            let there = || vec![format!("{path}: {name}")];
            is_there
                .then(there)
                .ok_or_else(|| format!("{path} has no `{name}`"))
        }
        Later(part) => Ok(vec![format!("later: {part}")]),
    }
}

#[test]
fn every_scenario_and_every_rule_has_a_test() {
    let mut missing = Vec::new();
    let parts = [
        ("Scenarios of acceptance", SCENARIOS),
        ("Rules of the contracts", RULES),
        ("Reorganisations", REORGANISATIONS),
    ];
    for (title, rows) in parts {
        println!("\n{title}");
        for (id, what, tried) in rows {
            let mut label = format!("  {id:<10} {what:<55}");
            for tests in tried.iter().map(tests) {
                match tests {
                    Ok(tests) => tests.iter().for_each(|test| {
                        println!("{label} {test}");
                        label = " ".repeat(label.len());
                    }),
                    Err(problem) => missing.push(format!("{id}: {problem}")),
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
