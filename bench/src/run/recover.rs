//! A crash, and a start with much to read back.

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use client::SubmitOptions;
use client::protocol::template::WorkTemplate;

use super::collect::Collected;
use super::{Scenario, connect};
use crate::load::{self, Progress};
use crate::pool::Pool;
use crate::scenario::RecoverPlan;

/// Works of one array: what is open at the crash comes in as few submissions as a user would make.
const OPEN_ARRAY: u32 = 250_000;

/// Fills a journal, leaves works open, kills the engine, and starts it again, as often as there are runs.
pub(super) async fn run(
    scenario: &Scenario,
    plan: &RecoverPlan,
    data: &Path,
    collected: &mut Collected,
) -> Result<()> {
    let pool = Pool::start(&scenario.pool, scenario.load.classes, data)?;
    pool.workers().start()?;
    pool.all_connected().await?;
    fill(scenario, plan.records, &pool).await?;
    pool.workers().stop();
    leave_open(plan.open_works, &pool).await?;
    for _ in 0..scenario.runs.count {
        pool.engine().kill();
        let took = pool.engine().launch()?;
        let metrics = pool.metrics().unwrap_or_default();
        let (records, seconds) = (
            metrics.get("pool_recovery_records"),
            metrics.get("pool_recovery_seconds"),
        );
        collected.add("engine_ready_s", "s", took.as_secs_f64());
        collected.add("recovered_records", "records", records);
        collected.add("replayed_records_per_second", "records/s", records / seconds);
        eprintln!(
            "  ready after {:.2} s, {records:.0} records in {seconds:.2} s",
            took.as_secs_f64()
        );
    }
    Ok(())
}

/// Runs works until the journal holds as many records.
async fn fill(scenario: &Scenario, records: u64, pool: &Pool) -> Result<()> {
    let clients = connect(pool, scenario.load.clients).await?;
    let progress = Arc::<Progress>::default();
    loop {
        let recorded = pool.metrics().unwrap_or_default().get("pool_journal_lsn") as u64;
        if recorded >= records {
            return Ok(());
        }
        eprintln!("  {recorded} of {records} records");
        load::closed(&clients, &scenario.load, scenario.load.works, &progress).await?;
    }
}

async fn leave_open(works: u32, pool: &Pool) -> Result<()> {
    let client = pool.connect().await?;
    let template = WorkTemplate {
        app: "null".to_owned(),
        columns: vec!["n".to_owned()],
        ..WorkTemplate::default()
    };
    let mut left = works;
    while left > 0 {
        let rows = left.min(OPEN_ARRAY);
        left -= rows;
        let rows = std::iter::repeat_n(b"parameter", rows as usize);
        client
            .submit(template.clone(), rows, SubmitOptions::default())
            .await?;
    }
    Ok(())
}
