//! Several nodes: some behind, dead, or lying. All are the one anvil, seen through something that stands before it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use devnet::Devnet;
use serde_json::{Value, json};
use testkit::node::{FakeNode, Said};
use wire_chain::rpc::{Rpc, RpcOptions};
use wire_chain::{Answer, At, Chain, LogReader, Node, Nodes, NodesOptions, Seen, View, Why};
use wire_hub::{Call, Hash, Rlc};

use crate::support::*;

fn anvil(devnet: &Devnet) -> SocketAddr {
    devnet
        .url()
        .trim_start_matches("http://")
        .parse()
        .expect("an address")
}

fn nodes(devnet: &Devnet, urls: &[&str]) -> Nodes {
    let endpoints = urls.iter().map(|url| url.parse().expect(url)).collect();
    let options = NodesOptions {
        rpc: RpcOptions {
            deadline: Duration::from_secs(2),
            ..RpcOptions::default()
        },
        head_within: Duration::from_millis(500),
        ..NodesOptions::default()
    };
    Nodes::new(endpoints, *devnet.contracts(), options).expect("HTTP")
}

/// Changes the answers to one method, alone or in a batch.
fn change(request: &Value, answer: Value, method: &str, change: impl Fn(&Value, &mut Value) + Copy) -> Value {
    let one = |request: &Value, mut answer: Value| {
        if request["method"] == method {
            change(request, &mut answer["result"]);
        }
        answer
    };
    match (request, answer) {
        (Value::Array(requests), Value::Array(answers)) => {
            let of = |answer: &Value| {
                requests
                    .iter()
                    .find(|request| request["id"] == answer["id"])
                    .expect("asked")
            };
            answers
                .into_iter()
                .map(|answer| one(&of(&answer).clone(), answer))
                .collect()
        }
        (request, answer) => one(request, answer),
    }
}

fn asks_for_head(request: &Value) -> bool {
    request["method"] == "eth_getBlockByNumber" && request["params"][0] == "latest"
}

/// Claims to be 5 blocks ahead.
fn ahead(request: &Value, answer: Value) -> Value {
    change(request, answer, "eth_getBlockByNumber", |request, block| {
        if asks_for_head(request) {
            let number = block["number"]
                .as_str()
                .expect("a number")
                .trim_start_matches("0x");
            let number = u64::from_str_radix(number, 16).expect("digits");
            block["number"] = json!(format!("{:#x}", number + 5));
            block["hash"] = json!(Hash([0xbb; 32]).to_string());
        }
    })
}

/// Has other blocks than everybody from number 3 on.
fn on_a_branch(request: &Value, answer: Value) -> Value {
    change(request, answer, "eth_getBlockByNumber", |_, block| {
        let number = block["number"]
            .as_str()
            .map(|text| text.trim_start_matches("0x").to_owned());
        let number = number.and_then(|digits| u64::from_str_radix(&digits, 16).ok());
        if number.is_some_and(|number| number >= 3) {
            let hash = block["hash"].as_str().expect("a hash").replace("0x", "0xcc");
            block["hash"] = json!(hash[..66]);
        }
    })
}

fn as_it_is(_: &Value, answer: Value) -> Value {
    answer
}

/// A node that has stood still at genesis.
async fn behind(devnet: &Devnet) -> FakeNode {
    let genesis = known(devnet.node().block(0).await);
    let to = anvil(devnet);
    FakeNode::start(move |request| {
        if asks_for_head(request) {
            let block = json!({
                "number": "0x0",
                "hash": genesis.at.hash.to_string(),
                "parentHash": genesis.parent.to_string(),
                "timestamp": "0x0",
            });
            return Said::Json(json!({ "jsonrpc": "2.0", "id": request["id"], "result": block }));
        }
        Said::Forward(to, as_it_is)
    })
    .await
}

#[tokio::test]
async fn a_node_alone_is_believed() {
    let devnet = chain().await;
    let nodes = nodes(&devnet, &[devnet.url()]);
    let head = known(devnet.node().head().await);
    assert_eq!(known(nodes.head().await), head);
    assert_eq!(nodes.report()[0].behind, Some(0));
}

#[tokio::test]
async fn who_claims_more_than_the_others_have_is_not_believed_and_named() {
    let devnet = chain().await;
    let to = anvil(&devnet);
    let liar = FakeNode::start(move |_| Said::Forward(to, ahead)).await;
    let branch = FakeNode::start(move |_| Said::Forward(to, on_a_branch)).await;
    let head = known(devnet.node().head().await);
    // Two are enough against a claim: of the block that both have, the liar has the same.
    let two = nodes(&devnet, &[&liar.url(), devnet.url()]);
    assert_eq!(known(two.head().await), head);
    let disagreeing = |nodes: &Nodes| {
        nodes
            .report()
            .iter()
            .map(|node| node.disagrees)
            .collect::<Vec<_>>()
    };
    assert_eq!(disagreeing(&two), [false, false]);
    // One that has other blocks all the way is outvoted by two, and never asked first again.
    let three = nodes(&devnet, &[&branch.url(), devnet.url(), devnet.url()]);
    assert_eq!(known(three.head().await), head);
    assert_eq!(disagreeing(&three), [true, false, false]);
    let before = branch.heard().len();
    assert_eq!(
        known(three.look(View::CategoriesCount, At::Latest).await),
        Seen::Count(5)
    );
    assert_eq!(branch.heard().len(), before);
    // Of two that disagree, the last block on which they agree is the head.
    let torn = nodes(&devnet, &[&branch.url(), devnet.url()]);
    assert_eq!(known(torn.head().await).at.number, 2);
}

#[tokio::test]
async fn a_dead_node_is_passed_over_and_rests() {
    let devnet = chain().await;
    let silent = FakeNode::start(|_| Said::Nothing).await;
    let nodes = nodes(&devnet, &["http://127.0.0.1:1", &silent.url(), devnet.url()]);
    let head = known(devnet.node().head().await);
    assert_eq!(known(nodes.head().await), head);
    let start = Instant::now();
    assert_eq!(
        known(nodes.look(View::CategoriesCount, At::Block(head.at)).await),
        Seen::Count(5)
    );
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "who rests is not asked: {:?}",
        start.elapsed()
    );
    let failures: Vec<u32> = nodes.report().iter().map(|node| node.failures).collect();
    assert_eq!(failures, [1, 1, 0]);
    let report = nodes.report();
    let problem = report[0].problem.as_deref().expect("a problem");
    assert!(problem.contains("cannot be reached"), "{problem}");
    // If nobody is there, that is no answer.
    let none = self::nodes(&devnet, &["http://127.0.0.1:1", &silent.url()]);
    assert!(matches!(none.head().await, Answer::Unknown(Why::Rpc(_))));
    let asked = none.look(View::CategoriesCount, At::Latest).await;
    assert!(matches!(asked, Answer::Unknown(Why::Rpc(_))), "{asked:?}");
}

#[tokio::test]
async fn a_node_that_is_behind_is_not_asked_about_what_was_seen() {
    let devnet = chain().await;
    let lagging = behind(&devnet).await;
    let head = known(devnet.node().head().await);
    let three = nodes(&devnet, &[&lagging.url(), devnet.url(), devnet.url()]);
    assert_eq!(known(three.head().await), head);
    assert_eq!(three.report()[0].behind, Some(head.at.number));
    let before = lagging.heard().len();
    for answer in three
        .see(&[View::CategoriesCount, View::Wiring], At::Latest)
        .await
    {
        known(answer);
    }
    known(
        three
            .nonce(devnet.owner().address(), wire_chain::Counted::Mined)
            .await,
    );
    // Behind it was asked for its head alone.
    assert!(
        lagging.heard()[before..].iter().all(asks_for_head),
        "{:?}",
        lagging.heard()
    );
    // With nobody else there it is not believed either, until it has what was seen.
    let alone = nodes(&devnet, &[&lagging.url(), "http://127.0.0.1:1"]);
    alone.has_seen(head.at.number);
    let expected = Answer::Unknown(Why::Behind {
        wanted: head.at.number,
        best: Some(0),
    });
    assert_eq!(alone.head().await, expected);
    let asked = alone.look(View::CategoriesCount, At::Latest).await;
    assert!(matches!(asked, Answer::Unknown(_)), "{asked:?}");
}

#[tokio::test]
async fn a_node_that_is_cut_or_late_costs_a_moment() {
    let devnet = chain().await;
    let to = anvil(&devnet);
    let cut = FakeNode::start(move |request| {
        if asks_for_head(request) {
            Said::Forward(to, as_it_is)
        } else {
            Said::Cut
        }
    })
    .await;
    let late = FakeNode::start(move |_| {
        Said::Later(Duration::from_millis(100), Box::new(Said::Forward(to, as_it_is)))
    })
    .await;
    let nodes = nodes(&devnet, &[&cut.url(), &late.url()]);
    let head = known(nodes.head().await);
    assert_eq!(
        known(nodes.look(View::CategoriesCount, At::Block(head.at)).await),
        Seen::Count(5)
    );
    assert_eq!(nodes.report()[0].failures, 1);
}

/// A transaction reaches the chain by whoever takes it.
#[tokio::test]
async fn a_transaction_goes_to_all() {
    let devnet = chain().await;
    let nodes = nodes(&devnet, &["http://127.0.0.1:1", devnet.url()]);
    devnet.set_automine(false).await.expect("waits");
    let signed = devnet
        .post(&Call::Approve { amount: Rlc(1) }, devnet.owner())
        .await
        .expect("taken");
    devnet.drop_transaction(signed.hash).await.expect("dropped");
    assert_eq!(known(nodes.send(&signed).await), wire_chain::Sent::Accepted);
    assert_eq!(known(nodes.transaction(signed.hash).await).block, None);
    assert_eq!(nodes.receipt(signed.hash).await, Answer::Absent);
    devnet.mine(1).await.expect("mined");
    assert!(known(nodes.receipt(signed.hash).await).succeeded);
}

/// A node that gives logs of 50 blocks at most, in words that are its own.
#[tokio::test]
async fn a_reader_finds_out_how_much_a_node_gives_at_once() {
    let (devnet, app) = pool(0).await;
    let mut orders = Vec::new();
    for _ in 0..4 {
        devnet.mine(100).await.expect("mined");
        orders.push(order(&devnet, app).await);
    }
    let to = anvil(&devnet);
    let number =
        |value: &Value| u64::from_str_radix(value.as_str().expect("text").trim_start_matches("0x"), 16);
    let bounded = FakeNode::start(move |request| {
        let filter = &request["params"][0];
        if request["method"] == "eth_getLogs"
            && number(&filter["toBlock"]).expect("digits") - number(&filter["fromBlock"]).expect("digits")
                >= 50
        {
            let error = json!({ "code": -32_602, "message": "exceed maximum block range: 50" });
            return Said::Json(json!({ "jsonrpc": "2.0", "id": request["id"], "error": error }));
        }
        Said::Forward(to, as_it_is)
    })
    .await;
    let rpc = Rpc::new(bounded.url().parse().expect("an address"), RpcOptions::default()).expect("HTTP");
    let node = Node::new(rpc, *devnet.contracts());
    let head = known(node.head().await).at.number;
    let (mut reader, mut found) = (LogReader::from(0), Vec::new());
    while let Some((blocks, logs)) = reader.read(&node, head).await.found().expect("logs") {
        assert!(blocks.end() - blocks.start() < 50);
        found.extend(logs.into_iter().filter_map(|log| log.event.woid()));
    }
    assert_eq!(found, orders);
    assert!(
        bounded.heard().len() < 60,
        "{} questions for {head} blocks",
        bounded.heard().len()
    );
}

/// Nodes that do not take blocks by hash are asked by number, and the hash is compared.
#[tokio::test]
async fn a_node_without_blocks_by_hash_is_asked_by_number() {
    let devnet = chain().await;
    let to = anvil(&devnet);
    let by_number = FakeNode::start(move |request| {
        let by_hash = |request: &Value| request["params"][1].is_object();
        let refused = |request: &Value| {
            let error =
                json!({ "code": -32_602, "message": "invalid argument 1: json: cannot unmarshal object" });
            json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
        };
        match request {
            Value::Array(all) if all.iter().any(by_hash) => Said::Json(all.iter().map(refused).collect()),
            request if by_hash(request) => Said::Json(refused(request)),
            _ => Said::Forward(to, as_it_is),
        }
    })
    .await;
    let rpc = Rpc::new(
        by_number.url().parse().expect("an address"),
        RpcOptions::default(),
    )
    .expect("HTTP");
    let node = Node::new(rpc, *devnet.contracts());
    let head = known(node.head().await);
    let views = [View::CategoriesCount, View::Wiring];
    for answer in node.see(&views, At::Block(head.at)).await {
        known(answer);
    }
    let asked = by_number.heard().len();
    known(node.look(View::CategoriesCount, At::Block(head.at)).await);
    assert_eq!(by_number.heard().len(), asked + 2, "it is not tried again");
    devnet.reorg(1, &[]).await.expect("another branch");
    let gone = node.look(View::CategoriesCount, At::Block(head.at)).await;
    assert!(matches!(gone, Answer::Unknown(Why::Gone(_))), "{gone:?}");
}

/// A node that does not know what was paid lately says what it would pay.
#[tokio::test]
async fn a_node_without_a_history_of_fees_proposes_one() {
    let devnet = chain().await;
    let to = anvil(&devnet);
    let without = FakeNode::start(move |_| {
        Said::Forward(to, |request, answer| {
            let requests = request.as_array().expect("a batch");
            let refuse = |request: &Value| {
                let error =
                    json!({ "code": -32_601, "message": "the method does not exist/is not available" });
                json!({ "jsonrpc": "2.0", "id": request["id"], "error": error })
            };
            let of = |answer: &Value| {
                requests
                    .iter()
                    .find(|request| request["id"] == answer["id"])
                    .expect("asked")
            };
            let one = |answer: &Value| match of(answer) {
                request if request["method"] == "eth_feeHistory" => refuse(request),
                _ => answer.clone(),
            };
            answer.as_array().expect("answers").iter().map(one).collect()
        })
    })
    .await;
    let rpc = Rpc::new(without.url().parse().expect("an address"), RpcOptions::default()).expect("HTTP");
    let node = Node::new(rpc, *devnet.contracts());
    let burned = known(devnet.node().head().await).base_fee.expect("after London");
    let fees = known(node.fees().await);
    assert!(
        matches!(fees, wire_chain::Fees::Market { base_fee, .. } if base_fee == burned),
        "{fees:?}"
    );
}
