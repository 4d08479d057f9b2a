//! Works for orders: the program itself, an engine and a pool that the test plays, and the real contracts.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use devnet::Devnet;
use wire_chain::{At, Chain};
use wire_hub::{Address, Call, ContributionStatus, NOBODY, Rlc, Ticket, WorkOrder, keccak, result_hash};
use wire_protocol::outcome::Reason;
use wire_protocol::template::WorkTemplate;

use crate::engine::Engine;
use crate::program::{end, output, program, worker};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Market {
    devnet: Devnet,
    woid: Address,
}

impl Market {
    async fn new() -> Self {
        let mut devnet = Devnet::start(devnet::Options::default()).await.expect("a chain");
        let app = devnet.populate(1).await.expect("a pool");
        let offer = devnet.sell(5, 0, Rlc(1_000), 1).await.expect("an offer");
        let woid = devnet.buy(offer, app, "params", NOBODY).await.expect("an order");
        Self { devnet, woid }
    }

    /// A work of the order, which prints 42.
    async fn work(&self) -> WorkTemplate {
        let contracts = self.devnet.contracts();
        let mut orders = self.devnet.node().work_orders(&[self.woid], At::Latest).await;
        let order: WorkOrder = orders.remove(0).found().expect("an answer").expect("an order");
        let ticket = Ticket {
            chain_id: contracts.chain_id,
            hub: contracts.hub,
            pool: contracts.pool,
            woid: self.woid,
            fingerprint: order.fingerprint(),
            result: None,
        };
        WorkTemplate {
            command: ["sh", "-c", "printf 42"].map(str::to_owned).to_vec(),
            ticket: ticket.encode(),
            ..WorkTemplate::default()
        }
    }

    /// What the worker needs for it, beside what all need.
    fn for_chain(&self, command: &mut Command, folder: &Path) {
        let keystore = folder.join("wallet.json");
        if !keystore.exists() {
            let key = self.devnet.keys()[3];
            let json = wire_wallet::keystore::encrypt(&key, "hush").expect("a key");
            fs::write(&keystore, json).expect("own folder");
            fs::write(folder.join("wallet.secret"), "hush\n").expect("own folder");
        }
        let contracts = self.devnet.contracts();
        command
            .env("ETHNODE", self.devnet.url().replace('/', r"\/"))
            .env("RLCCONTRACT", contracts.rlc.to_string())
            .env("IEXECHUBCONTRACT", contracts.hub.to_string())
            .env("WORKERPOOLADDRESS", contracts.pool.to_string())
            .env("WALLETPATH", keystore)
            .env("WALLETPASSWORD_FILE", folder.join("wallet.secret"))
            // At its finest, and with nobody who reads it before the end, the log would fill its pipe.
            .stderr(fs::File::create(folder.join("log")).expect("own folder"))
            .env("POOL_CHAIN_POLL", "100ms")
            .env("POOL_CHAIN_FINAL_AFTER", "1");
    }

    async fn done(&self, call: Call) {
        let scheduler = self.devnet.scheduler();
        self.devnet.done(&call, scheduler).await.expect("it takes effect");
    }

    async fn allow(&self) {
        let (woid, workers) = (self.woid, vec![self.devnet.workers()[0].address()]);
        self.done(Call::AllowWorkersToContribute { woid, workers }).await;
    }

    /// Waits until the worker's part is so.
    async fn until(&self, status: ContributionStatus) {
        let who = [self.devnet.workers()[0].address()];
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut parts = self
                .devnet
                .node()
                .contributions(self.woid, &who, At::Latest)
                .await;
            let part = parts.remove(0).found().expect("an answer").expect("a part");
            if part.status == status {
                return;
            }
            assert!(Instant::now() < deadline, "it is {part:?}, not {status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_for_an_order_is_contributed_revealed_and_paid() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let market = Market::new().await;
    let mut command = worker(&engine, folder.path());
    market.for_chain(&mut command, folder.path());
    let mut child = command.spawn().expect("the program");
    engine.join();
    engine.welcome(&[]);
    engine.define(1, market.work().await);
    engine.assign(1, &[7]);
    let (first, reports) = engine.finished();
    assert_eq!((reports[0].0, reports[0].1), (7, Reason::None));
    let notes = fs::metadata(folder.path().join("worker/chain-notes")).expect("notes");
    assert!(
        notes.len() > 0,
        "its result is durable before the engine hears of it"
    );
    engine.recorded(first);
    // Whoever is killed now has told the engine, and still contributes.
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    market.allow().await;
    let mut command = worker(&engine, folder.path());
    market.for_chain(&mut command, folder.path());
    let mut child = command.spawn().expect("the program");
    market.until(ContributionStatus::Contributed).await;
    let (woid, consensus) = (market.woid, result_hash(keccak(b"42")));
    market.done(Call::RevealConsensus { woid, consensus }).await;
    market.until(ContributionStatus::Proved).await;
    let (stdout, stderr, uri) = (String::new(), String::new(), "pool://7".to_owned());
    market
        .done(Call::FinalizeWork {
            woid,
            stdout,
            stderr,
            uri,
        })
        .await;
    let deadline = Instant::now() + PATIENCE;
    loop {
        market.devnet.mine(1).await.expect("a block");
        let mut command = program();
        command.args([
            "--folder",
            &folder.path().join("worker").to_string_lossy(),
            "status",
        ]);
        let told = command.output().expect("it starts").stdout;
        let told = String::from_utf8_lossy(&told);
        if told.contains("won: +990 nRLC") && told.contains("1 orders won, 990 nRLC earned") {
            assert!(told.contains("subscribed to the pool"), "{told}");
            break;
        }
        assert!(Instant::now() < deadline, "{told}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let mut command = program();
    market.for_chain(&mut command, folder.path());
    command.args([
        "--folder",
        &folder.path().join("worker").to_string_lossy(),
        "doctor",
    ]);
    let told = command.output().expect("it starts").stdout;
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("chain 31337, last block"), "{told}");
    assert!(told.contains("the wallet is subscribed to it"), "{told}");
    assert!(told.contains("1000980 nRLC free, 10 locked"), "{told}");
    child.kill().expect("our own child");
    child.wait().expect("our own child");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_work_for_an_order_without_a_chain_is_reported_and_said_to_come_to_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let child = worker(&engine, folder.path()).spawn().expect("the program");
    engine.join();
    engine.welcome(&[]);
    let ticket = vec![1];
    engine.define(
        1,
        WorkTemplate {
            command: ["sh", "-c", "printf 42"].map(str::to_owned).to_vec(),
            ticket,
            ..WorkTemplate::default()
        },
    );
    engine.assign(1, &[7]);
    let (_, reports) = engine.finished();
    assert_eq!((reports[0].0, reports[0].1), (7, Reason::None));
    let log = kill(child);
    assert!(
        log.contains("this worker has no chain: set WORKERETHNODEADDRESS"),
        "{log}"
    );
}

/// A wrong address is told by its name, at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_none_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let engine = Engine::start(&folder.path().join("certs"), 0, 1);
    let market = Market::new().await;
    let mut command = worker(&engine, folder.path());
    market.for_chain(&mut command, folder.path());
    command
        .stderr(std::process::Stdio::piped())
        .env("WORKERPOOLADDRESS", Address([9; 20]).to_string());
    let (code, log) = output(command);
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("WORKERPOOLADDRESS=0x0909"), "{log}");
}

fn kill(mut child: std::process::Child) -> String {
    child.kill().expect("our own child");
    end(child).1
}
