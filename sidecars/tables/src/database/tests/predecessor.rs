//! Queries of the predecessor's dashboards and scripts, over the views with its names.

use wire_protocol::ids::WorkerId;
use wire_protocol::outcome::Outcome;
use wire_protocol::record::{TenantAdded, WorkerJoined};
use wire_protocol::template::Offer;
use wire_protocol::units::Instant;

use super::*;
use crate::change::Bookkeeping;

/// What is asked, and what comes of [`story`]: each row as one text.
const QUERIES: &[(&str, &[&str])] = &[
    // The panels of a pool: works by state, finished by the minute, the hosts and what they did.
    (
        "SELECT CONCAT(status, ' ', works) FROM \
         (SELECT status, COUNT(*) AS works FROM works WHERE isdeleted = 'false' GROUP BY status) AS counts ORDER BY status",
        &["ABORTED 1", "COMPLETED 1", "ERROR 1", "PENDING 2"],
    ),
    (
        "SELECT CONCAT(statusId, ' ', works) FROM \
         (SELECT statusId, COUNT(*) AS works FROM works GROUP BY statusId) AS counts ORDER BY statusId",
        &["3 2", "5 1", "6 1", "7 1"],
    ),
    (
        "SELECT CONCAT(COUNT(*)) FROM works WHERE completedDate >= '1970-01-01 00:00:00' AND arrivalDate IS NOT NULL",
        &["3"],
    ),
    (
        "SELECT CONCAT(hosts.name, ' ', COUNT(*)) FROM tasks JOIN hosts ON tasks.hostUID = hosts.uid \
         WHERE tasks.status = 'COMPLETED' GROUP BY hosts.name ORDER BY hosts.name",
        &["one 1"],
    ),
    (
        "SELECT CONCAT(hosts.name, ' ', nbJobs, ' ', errorJobs, ' ', runningJobs, ' ', active, ' ', available) FROM hosts \
         ORDER BY hosts.name",
        &["one 2 1 0 true true"],
    ),
    (
        "SELECT CONCAT(apps.name, ' ', COUNT(*)) FROM works JOIN apps ON works.appUID = apps.uid GROUP BY apps.name",
        &["process 5"],
    ),
    (
        "SELECT CONCAT(login, ' ', nbJobs, ' ', pendingJobs, ' ', runningJobs, ' ', errorJobs) FROM users",
        &["anna 1 2 0 1"],
    ),
    (
        "SELECT CONCAT(workUID, ' ', trial, ' ', errorMsg) FROM tasks WHERE errorMsg IS NOT NULL",
        &[],
    ),
    (
        "SELECT CONCAT(name, ' ', maxWallClockTime, ' ', maxMemory) FROM categories ORDER BY categoryId",
        &["small 300 512"],
    ),
    (
        "SELECT CONCAT(marketOrderIdx, ' ', status, ' ', price, ' ', remaining, ' ', nbWorkers) FROM marketorders",
        &["9 AVAILABLE 1000 3 1"],
    ),
    (
        "SELECT CONCAT(works.uid, ' ', workOrderId, ' ', marketorderUID, ' ', requester) FROM works \
         WHERE workOrderId IS NOT NULL ORDER BY works.uid LIMIT 1",
        &["100 0xaa 9 0xcc"],
    ),
    (
        "SELECT CONCAT(name, ' ', size, ' ', shasum) FROM datas",
        &["result.zip 17 abc"],
    ),
];

/// Rows that the chain and the gateway write.
const OTHERS: &[&str] = &[
    "INSERT INTO pool_categories VALUES (4, 'small', 'five minutes', 300, 512, NULL, NULL, 1000000)",
    "INSERT INTO pool_market_orders VALUES (9, 'ask', 4, '0', 1000, 4, 3, '0xbb', '0xdd', 1000000, NULL, 1)",
    "INSERT INTO pool_orders (woid, order_idx, batch_id, requester, beneficiary, app, params, state, bought_us, \
     timeout_us, block_number) VALUES ('0xaa', 9, 3, '0xcc', '0xcc', '0xee', '', 'active', 1000000, 2000000, 1)",
    "INSERT INTO pool_contributions (woid, wallet, state, block_number) VALUES ('0xaa', '0xff', 'authorized', 1)",
    "INSERT INTO pool_files (sha256, bytes, name, owner, stored_us) VALUES ('abc', 17, 'result.zip', 'anna', 1000000)",
];

#[test]
fn queries_of_the_predecessor_say_what_the_tables_hold() {
    use Happening::{End, Lease, Rows, Settle, Start};
    let story = [
        Rows(5),
        Lease(0, 1),
        Start(0),
        Settle(0, Outcome::Succeeded),
        Lease(1, 1),
        Settle(1, Outcome::Failed),
        End(2, 1),
    ];
    let (engine, _) = tell(&story);
    for target in &Databases::start().fresh() {
        runtime().block_on(async {
            let mut database = open(target).await;
            let mut coalescer = Coalescer::new(Lsn(0), []);
            for (index, record) in engine.records.iter().enumerate() {
                let taken = coalescer.take(&feed_record(index, record));
                taken.expect("the engine wrote it");
            }
            let mut batch = coalescer.batch();
            batch.bookkeeping.extend(about());
            database.apply(&batch).await.expect("it follows");
            for text in OTHERS {
                database
                    .session
                    .run(fixed(text))
                    .await
                    .expect("the table is there");
            }
            for (query, expected) in QUERIES {
                assert_eq!(texts(&mut database, query).await, *expected, "{target}: {query}");
            }
        });
    }
}

/// The user and the worker of a story.
fn about() -> Vec<Bookkeeping> {
    vec![
        Bookkeeping::TenantAdded(TenantAdded {
            tenant: testkit::story::TENANT,
            name: "anna".to_owned(),
            weight: 1,
        }),
        Bookkeeping::WorkerJoined(Box::new(WorkerJoined {
            worker: WorkerId(1),
            uid: "uid of one".to_owned(),
            name: "one".to_owned(),
            version: "0".to_owned(),
            offer: Offer::default(),
            at: Instant(1_000),
        })),
    ]
}
