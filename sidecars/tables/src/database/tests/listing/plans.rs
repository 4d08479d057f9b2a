//! No question reads all works: how SQLite goes about each.

use super::*;
use crate::database::listing::{Select, Way, count, select_batches, select_works, way};

/// What each step of it reads, by which way.
async fn plan(reader: &mut Reader, select: &Select) -> Vec<String> {
    let mut arguments = reader.session.arguments();
    select.values.iter().for_each(|value| arguments.value(value));
    let text = session::made(format!("EXPLAIN QUERY PLAN {}", select.text).into());
    let rows = reader.session.values(text, arguments).await.expect("it is valid");
    let text = |row: Vec<session::Value>| match &row[3] {
        session::Value::Text(text) => text.clone(),
        other => panic!("{other}"),
    };
    rows.into_iter().map(text).collect()
}

/// Of an empty database, in a folder that goes with the test.
async fn reader() -> (Reader, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let target = Target::Sqlite(folder.path().join("pool.sqlite"));
    open(&target).await;
    (Reader::open(&target).await.expect("it opens"), folder)
}

fn with(change: impl FnOnce(&mut WorkFilter)) -> WorkFilter {
    let mut filter = WorkFilter::default();
    change(&mut filter);
    filter
}

fn cases() -> Vec<(&'static str, WorkFilter)> {
    let failed = WorkState::Done(Outcome::Failed);
    vec![
        ("nothing", with(|_| {})),
        ("a state", with(|filter| filter.states = vec![failed])),
        (
            "states",
            with(|filter| filter.states = vec![failed, WorkState::Queued]),
        ),
        ("user", with(|filter| filter.user = Some(TenantId(1)))),
        ("worker", with(|filter| filter.worker = Some(WorkerId(1)))),
        ("batch", with(|filter| filter.batch = Some(BagId(1)))),
        ("label", with(|filter| filter.label = Some("a".to_owned()))),
        ("app", with(|filter| filter.app = Some("a".to_owned()))),
        ("time", with(|filter| filter.accepted_from = Some(Instant(1)))),
        (
            "user, state",
            with(|filter| (filter.user, filter.states) = (Some(TenantId(1)), vec![failed])),
        ),
        (
            "worker, user, state",
            with(|filter| {
                (filter.worker, filter.user, filter.states) =
                    (Some(WorkerId(1)), Some(TenantId(1)), vec![failed]);
            }),
        ),
        (
            "all",
            WorkFilter {
                states: vec![failed, WorkState::Queued],
                user: Some(TenantId(1)),
                app: Some("a".to_owned()),
                batch: Some(BagId(1)),
                worker: Some(WorkerId(1)),
                accepted_from: Some(Instant(1)),
                accepted_until: Some(Instant(2)),
                label: Some("a".to_owned()),
            },
        ),
    ]
}

#[test]
fn every_list_goes_by_an_index_and_sorts_nothing() {
    runtime().block_on(async {
        let (mut reader, _folder) = reader().await;
        for (name, filter) in cases() {
            for (order, after) in [
                (Order::NewestFirst, None),
                (Order::NewestFirst, Some(WorkId(9))),
                (Order::OldestFirst, Some(WorkId(9))),
            ] {
                let query = WorkQuery {
                    order,
                    after,
                    ..WorkQuery::new(filter.clone())
                };
                let mut selects = match way(&filter) {
                    Some(way) => select_works(&query, way, 10),
                    None => select_works(&query, Way::Between(1, 100), 10),
                };
                if way(&filter).is_none() {
                    selects.push(select_batches(&query));
                }
                for select in &selects {
                    let plan = plan(&mut reader, select).await;
                    let sorts = plan.iter().any(|step| step.contains("TEMP B-TREE"));
                    // In the order of the primary key, until the page is full.
                    let walks = name == "nothing" || name == "time";
                    let scans = plan.iter().any(|step| step.contains("SCAN")) && !(walks && after.is_none());
                    assert!(!sorts && !scans, "{name}: {plan:#?}\n{}", select.text);
                }
            }
        }
    });
}

#[test]
fn every_count_of_something_goes_by_an_index() {
    runtime().block_on(async {
        let (mut reader, _folder) = reader().await;
        for (name, filter) in cases() {
            let select = count(&filter);
            let plan = plan(&mut reader, &select).await;
            let scans: Vec<_> = plan.iter().filter(|step| step.contains("SCAN")).collect();
            let is_well = match name {
                "nothing" => scans[..] == ["SCAN w USING COVERING INDEX pool_works_by_state"],
                "time" => scans[..] == ["SCAN w USING INDEX pool_works_by_state"],
                _ => scans.is_empty(),
            };
            assert!(is_well, "{name}: {plan:#?}\n{}", select.text);
        }
    });
}
