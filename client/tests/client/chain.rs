//! `pool chain`: what it says of books that are in a notebook, and how it asks for something.

mod rows;

use std::time::Duration;

use wire_chain::Contracts;
use wire_hub::request::{Asked, NOTEBOOK as REQUESTS, Request};
use wire_hub::row::{NOTEBOOK, Row};
use wire_hub::{Call, NOBODY, Nonce};

use crate::cli::{code, pool, stderr, stdout};
use crate::engine::{Engine, Notebook, Script};

/// An engine whose notebook has these, among notes that are no rows.
fn keeping(notes: Vec<(String, Vec<u8>)>) -> Engine {
    let others = ["cursor", "order/0x00", "place"].map(|key| (key.to_owned(), vec![0xff]));
    let book = Notebook {
        holder: 1,
        notes: others.into_iter().chain(notes).collect(),
    };
    Engine::start(Script {
        notebooks: [(NOTEBOOK.to_owned(), book)].into(),
        ..Script::default()
    })
}

fn told(commands: &[&[&str]]) -> String {
    let (engine, folder) = (keeping(rows::notes()), tempfile::tempdir().unwrap());
    let told = commands.iter().map(|words| {
        let output = pool(&engine, folder.path(), &[&["chain"], *words].concat());
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{words:?}");
        format!("$ pool chain {}\n{}", words.join(" "), stdout(&output))
    });
    told.collect::<Vec<_>>().join("\n")
}

const PAID: &str = "0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
const WAITING: &str = "0xb2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2b2";
const STRANDED: &str = "0xc3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3c3";

#[test]
fn people_read_the_whole_story() {
    let commands: [&[&str]; 13] = [
        &["status"],
        &["orders"],
        &["orders", "--state", "stranded,final", "--limit", "1"],
        &["order", PAID],
        &["order", WAITING],
        &["order", "explain", STRANDED],
        &["ledger"],
        &["ledger", "--by", "order"],
        &["ledger", "--by", "day"],
        &["txs"],
        &["txs", "--nonce", "2"],
        &["txs", "--order", WAITING],
        &["claims"],
    ];
    insta::assert_snapshot!(told(&commands));
}

/// Programs read these: fields may be added, nothing else.
#[test]
fn programs_read_the_same() {
    let commands: [&[&str]; 9] = [
        &["status", "-o", "json"],
        &["orders", "-o", "jsonl"],
        &["order", WAITING, "-o", "json"],
        &["ledger", "-o", "jsonl"],
        &["ledger", "--by", "order", "-o", "jsonl"],
        &["ledger", "--by", "day", "-o", "jsonl"],
        &["txs", "-o", "jsonl"],
        &["txs", "--nonce", "3", "-o", "json"],
        &["claims", "-o", "json"],
    ];
    insta::assert_snapshot!(told(&commands));
}

#[test]
fn what_a_requester_is_to_send_is_what_the_contract_is_told() {
    let contracts = Contracts {
        chain_id: rows::PLACE.chain_id,
        hub: rows::PLACE.hub,
        rlc: NOBODY,
        marketplace: NOBODY,
        pools: NOBODY,
        apps: NOBODY,
        datasets: NOBODY,
        pool: rows::PLACE.pool,
    };
    let input = contracts.encode(&Call::ClaimFailedConsensus { woid: rows::STRANDED });
    let data: String = input.data.iter().map(|byte| format!("{byte:02x}")).collect();
    // The function's selector, and the order's address in 32 bytes.
    assert_eq!(data, format!("89869163{:0>64}", &STRANDED[2..]));
    let said = told(&[&["claims", "-o", "jsonl"], &["order", STRANDED]]);
    assert_eq!(said.matches(&format!("0x{data}")).count(), 2, "{said}");
    let claim: serde_json::Value = serde_json::from_str(said.lines().nth(1).unwrap()).unwrap();
    assert_eq!(claim["to"], input.to.to_string());
    assert_eq!(claim["data"], format!("0x{data}"));
}

#[test]
fn what_is_not_there_is_told_with_its_cure() {
    let folder = tempfile::tempdir().unwrap();
    let without = Engine::start(Script::default());
    let without_rows = keeping(Vec::new());
    let full = keeping(rows::notes());
    let missing = "0x00000000000000000000000000000000000000a1";
    let cases: [(&Engine, &[&str], i32, &str); 9] = [
        (
            &without,
            &["status"],
            5,
            "no pool-reconcile has ever worked with this engine",
        ),
        (&without, &["unstick"], 5, "start pool-reconcile"),
        (&without_rows, &["orders"], 5, "has kept no books here yet"),
        (&full, &["order", missing], 5, "`pool chain orders`"),
        (&full, &["order"], 2, "name the order by its address"),
        (&full, &["txs", "--nonce", "9"], 5, "no transaction with nonce 9"),
        (&full, &["unstick", "9"], 5, "no transaction with nonce 9"),
        (&full, &["unstick", "1"], 6, "in block 95"),
        (
            &full,
            &["replay", "--from", "121"],
            6,
            "block 121 was not followed yet; the last one is 120",
        ),
    ];
    for (engine, words, expected, said) in cases {
        let output = pool(engine, folder.path(), &[&["chain"], words].concat());
        assert_eq!(code(&output), expected, "{words:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{words:?}: {}", stderr(&output));
    }
    assert!(
        !full.script().notebooks.contains_key(REQUESTS),
        "nothing was asked for"
    );
}

#[test]
fn a_row_of_a_later_version_is_left_out_and_told() {
    let mut notes = rows::notes();
    let later = notes.iter_mut().find(|(key, _)| key.starts_with("row/order/"));
    later.expect("there are orders").1[0] = 2;
    let (engine, folder) = (keeping(notes), tempfile::tempdir().unwrap());
    let output = pool(&engine, folder.path(), &["chain", "orders", "-o", "jsonl"]);
    assert_eq!((code(&output), stdout(&output).lines().count()), (0, 3));
    assert!(
        stderr(&output).contains("1 row is left out: the row `row/order/"),
        "{}",
        stderr(&output)
    );
}

/// What `pool-reconcile` does with requests: it does those that are beyond what was done, and says so in its row.
fn take_up(engine: &Engine) -> Vec<(u64, Asked)> {
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let mut script = engine.script();
        let requests = script
            .notebooks
            .get(REQUESTS)
            .map(|book| book.notes.clone())
            .unwrap_or_default();
        let asked = requests
            .iter()
            .map(|(key, value)| Asked::read(key, value).expect("its own"));
        let asked: Vec<_> = asked.collect();
        let Some((last, _)) = asked.last() else { continue };
        let book = script.notebooks.get_mut(NOTEBOOK).expect("it keeps books");
        let (key, value) = Row::Pool(rows::pool(*last)).note();
        if book.notes.insert(key, value.clone()).as_ref() != Some(&value) {
            return asked;
        }
    }
}

#[test]
fn a_request_is_numbered_and_waited_for_and_what_was_done_goes() {
    let (engine, folder) = (keeping(rows::notes()), tempfile::tempdir().unwrap());
    let cases: [(&[&str], u64, Request); 3] = [
        (
            &["unstick"],
            1,
            Request::Unstick {
                nonce: None,
                as_nothing: false,
            },
        ),
        (
            &["unstick", "3", "--as-nothing", "-o", "json"],
            2,
            Request::Unstick {
                nonce: Some(Nonce(3)),
                as_nothing: true,
            },
        ),
        (&["replay", "--from", "12"], 3, Request::Replay { from: 12 }),
    ];
    for (words, number, request) in cases {
        let output = std::thread::scope(|scope| {
            let asked = scope.spawn(|| pool(&engine, folder.path(), &[&["chain"], words].concat()));
            let place = rows::PLACE;
            // What was done before is not there any more.
            assert_eq!(take_up(&engine), [(number, Asked { place, request })]);
            asked.join().unwrap()
        });
        assert_eq!((code(&output), stderr(&output).as_str()), (0, ""), "{words:?}");
        assert!(
            stdout(&output).contains(&request.to_string()),
            "{}",
            stdout(&output)
        );
    }
}

#[test]
fn a_request_that_nobody_takes_up_is_kept_and_told() {
    let (engine, folder) = (keeping(rows::notes()), tempfile::tempdir().unwrap());
    for number in 1..3 {
        let output = pool(
            &engine,
            folder.path(),
            &["chain", "unstick", "3", "--timeout", "1s"],
        );
        assert_eq!(code(&output), 7, "{}", stderr(&output));
        let said = format!("error: request {number} (offer transaction 3 at the cap) is kept");
        assert!(stderr(&output).starts_with(&said), "{}", stderr(&output));
    }
    let kept = engine.script().notebooks[REQUESTS].notes.clone();
    let numbers = kept.keys().map(|key| Asked::number(key).unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2]);
}
