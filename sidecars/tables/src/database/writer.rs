//! A batch as statements.

use wire_protocol::codec;
use wire_protocol::ids::WorkerId;
use wire_protocol::outcome::Outcome;
use wire_protocol::record::BagOpened;
use wire_protocol::units::Instant;
use wire_protocol::view::{WorkState, WorkerState};

use super::session::{Arguments, Session, fixed};
use super::statement::{Rows, Statements};
use super::{DatabaseError, chain, position, sql};
use crate::change::{AttemptChange, Batch, Bookkeeping, Event, RunChange, Step, WorkChange, WorkNow};

/// Writes everything of the batch, in the transaction that is open.
pub(super) async fn write(
    session: &mut Session,
    statements: &mut Statements,
    batch: &Batch,
) -> Result<(), DatabaseError> {
    advance(session, batch).await?;
    for change in &batch.bookkeeping {
        keep_book(session, change).await.map_err(sql("write to"))?;
    }
    for change in &batch.steps {
        match change {
            Step::Rows { works, attempts } => {
                let (new, known): (Vec<_>, Vec<_>) = works.iter().partition(|work| work.new.is_some());
                put(session, statements, Rows::NewWorks, &new).await?;
                put(session, statements, Rows::Works, &known).await?;
                let (new, known): (Vec<_>, Vec<_>) =
                    attempts.iter().partition(|attempt| attempt.leased.is_some());
                put(session, statements, Rows::NewAttempts, &new).await?;
                put(session, statements, Rows::Attempts, &known).await?;
            }
            Step::Run(run) => write_run(session, run).await.map_err(sql("write to"))?,
        }
    }
    let written = chain::write(session, &batch.chain).await;
    written.map_err(sql("write the chain's rows to"))?;
    let runs = runs(&batch.events);
    put(
        session,
        statements,
        Rows::Events,
        &runs.iter().collect::<Vec<_>>(),
    )
    .await
}

/// Works of one row of `pool_events` at most; the view `pool_history` knows it too.
const RUN_MAX: u32 = 1_024;

/// Consecutive works that went the same way in the same record. An array is accepted, leased and settled in such
/// runs, and a row for each change would be more than half of all rows.
#[derive(Debug)]
struct Run {
    first: Event,
    works: u32,
}

fn runs(events: &[Event]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for event in events {
        match runs.last_mut() {
            Some(run) if run.works < RUN_MAX && run.next() == *event => run.works += 1,
            _ => runs.push(Run {
                first: *event,
                works: 1,
            }),
        }
    }
    runs
}

impl Run {
    /// The change that would lengthen it.
    fn next(&self) -> Event {
        Event {
            work: self.first.work.offset(self.works),
            ..self.first
        }
    }
}

/// Moves the position if it is where the batch begins.
async fn advance(session: &mut Session, batch: &Batch) -> Result<(), DatabaseError> {
    let mut arguments = session.arguments();
    arguments.int(int(batch.upto.0));
    arguments.int(int(batch.after.0));
    let text = fixed("UPDATE pool_positions SET lsn = ? WHERE shard = 0 AND lsn = ?");
    let moved = session.execute(text, arguments).await;
    if moved.map_err(sql("move the position of"))? == 1 {
        return Ok(());
    }
    Err(DatabaseError::Elsewhere {
        expected: batch.after,
        found: position(session).await?,
    })
}

/// A row of a table of which many are written at once.
trait Row {
    /// Its key and then its columns, in the order of its [`Rows`].
    fn push(&self, arguments: &mut Arguments);

    /// Bytes of its arguments at most, as MySQL has them: 8 a number, 2 a type, texts and bytes with their length.
    fn bytes(&self) -> usize;

    /// For people.
    fn name(&self) -> String;

    /// How a row that should be there is looked for, if this can be one.
    fn look(&self, arguments: &mut Arguments) -> &'static str;
}

async fn put<R: Row>(
    session: &mut Session,
    statements: &mut Statements,
    rows: Rows,
    mut all: &[&R],
) -> Result<(), DatabaseError> {
    while !all.is_empty() {
        let (now, later) = all.split_at(statements.fitting(all.iter().map(|row| row.bytes())));
        let mut arguments = session.arguments();
        for row in now {
            row.push(&mut arguments);
        }
        let text = statements.get(session, rows, now.len());
        let done = session.execute(text, arguments).await;
        if done.map_err(sql("write rows to"))? != rows.concerned(session, now.len()) {
            check_presence(session, now).await?;
        }
        all = later;
    }
    Ok(())
}

/// Names the first row that is not there.
async fn check_presence<R: Row>(session: &mut Session, rows: &[&R]) -> Result<(), DatabaseError> {
    for row in rows {
        let mut arguments = session.arguments();
        let text = row.look(&mut arguments);
        let found = session.integers(fixed(text), arguments).await;
        if found.map_err(sql("look for rows of"))?.is_empty() {
            return Err(DatabaseError::Missing { what: row.name() });
        }
    }
    Ok(())
}

impl Row for WorkChange {
    fn push(&self, to: &mut Arguments) {
        let WorkChange { work, new, now } = self;
        let decided = now.decided.as_ref();
        to.int(int(work.0));
        to.text(work_state(now.state));
        to.int(now.reason as i64);
        to.int(now.attempt.0.into());
        to.int_or_null(number(now.worker));
        to.int_or_null(decided.map(|decided| decided.exit_code.into()));
        to.int_or_null(decided.map(|decided| decided.elapsed_us.into()));
        to.bytes_or_null(decided.map(|decided| &decided.result[..]));
        to.int(micros(now.changed_at));
        to.int(int(now.lsn.0));
        if let Some(new) = new {
            to.int(int(new.bag.0));
            to.int(new.tenant.0.into());
            to.bytes(&new.parameters);
            to.int(micros(new.accepted_at));
        }
    }

    fn bytes(&self) -> usize {
        let WorkNow { decided, .. } = &self.now;
        160 + self.new.as_ref().map_or(0, |new| new.parameters.len())
            + decided.as_ref().map_or(0, |decided| decided.result.len())
    }

    fn name(&self) -> String {
        self.work.to_string()
    }

    fn look(&self, arguments: &mut Arguments) -> &'static str {
        arguments.int(int(self.work.0));
        "SELECT work_id FROM pool_works WHERE work_id = ? AND batch_id <> 0"
    }
}

impl Row for AttemptChange {
    fn push(&self, to: &mut Arguments) {
        let ended = self.ended;
        to.int(int(self.work.0));
        to.int(self.attempt.0.into());
        to.int_or_null(self.started_at.map(micros));
        to.int_or_null(ended.map(|ended| micros(ended.at)));
        to.text_or_null(ended.and_then(|ended| ended.outcome).map(outcome));
        to.int_or_null(ended.map(|ended| ended.reason as i64));
        if let Some((epoch, leased_at)) = self.leased {
            to.int(self.worker.0.into());
            to.int(epoch.0.into());
            to.int(micros(leased_at));
        }
    }

    fn bytes(&self) -> usize {
        100
    }

    fn name(&self) -> String {
        format!("{} of {}", self.attempt, self.work)
    }

    fn look(&self, arguments: &mut Arguments) -> &'static str {
        arguments.int(int(self.work.0));
        arguments.int(self.attempt.0.into());
        "SELECT work_id FROM pool_attempts WHERE work_id = ? AND attempt = ? AND worker_id <> 0"
    }
}

impl Row for Run {
    fn push(&self, to: &mut Arguments) {
        let Self { first, works } = self;
        to.int(int(first.lsn.0));
        to.int(int(first.work.0));
        to.int((*works).into());
        to.int(micros(first.at));
        to.text(work_state(first.state));
        to.int(first.reason as i64);
        to.int(first.attempt.0.into());
        to.int_or_null(number(first.worker));
    }

    fn bytes(&self) -> usize {
        90
    }

    fn name(&self) -> String {
        format!("the change of {} in record {}", self.first.work, self.first.lsn)
    }

    fn look(&self, arguments: &mut Arguments) -> &'static str {
        arguments.int(int(self.first.lsn.0));
        arguments.int(int(self.first.work.0));
        "SELECT work_id FROM pool_events WHERE lsn = ? AND work_id = ?"
    }
}

/// First the history of those that are concerned, then they themselves: their state says who they are. The conditions
/// are those of [`RunChange::concerns`].
async fn write_run(session: &mut Session, run: &RunChange) -> Result<(), sqlx::Error> {
    let [events, works] = match run.outcome {
        Some(_) => [
            "INSERT INTO pool_events (lsn, at_us, state, reason, work_id, works, attempt, worker_id) \
             SELECT ?, ?, ?, ?, work_id, 1, attempt, NULL FROM pool_works \
             WHERE work_id >= ? AND work_id < ? AND state IN ('queued', 'leased', 'running')",
            "UPDATE pool_works SET lsn = ?, changed_us = ?, state = ?, reason = ?, worker_id = NULL, exit_code = NULL, \
             elapsed_us = NULL, result = NULL \
             WHERE work_id >= ? AND work_id < ? AND state IN ('queued', 'leased', 'running')",
        ],
        None => [
            "INSERT INTO pool_events (lsn, at_us, state, reason, work_id, works, attempt, worker_id) \
             SELECT ?, ?, ?, ?, work_id, 1, attempt, NULL FROM pool_works WHERE work_id >= ? AND work_id < ? \
             AND state IN ('failed', 'cancelled', 'expired') AND attempt < 65535",
            "UPDATE pool_works SET lsn = ?, changed_us = ?, state = ?, reason = ?, worker_id = NULL, exit_code = NULL, \
             elapsed_us = NULL, result = NULL WHERE work_id >= ? AND work_id < ? \
             AND state IN ('failed', 'cancelled', 'expired') AND attempt < 65535",
        ],
    };
    let (from, until) = (int(run.first.0), int(run.first.offset(run.count).0));
    for statement in [events, works] {
        let mut arguments = session.arguments();
        arguments.int(int(run.lsn.0));
        arguments.int(micros(run.at));
        arguments.text(work_state(run.becomes()));
        arguments.int(run.reason as i64);
        arguments.int(from);
        arguments.int(until);
        session.execute(fixed(statement), arguments).await?;
    }
    if run.outcome.is_some() {
        // Whoever was done already has no open attempt.
        let mut arguments = session.arguments();
        arguments.int(micros(run.at));
        arguments.int(run.reason as i64);
        arguments.int(from);
        arguments.int(until);
        let text = "UPDATE pool_attempts SET ended_us = ?, reason = ? \
                    WHERE work_id >= ? AND work_id < ? AND ended_us IS NULL";
        session.execute(fixed(text), arguments).await?;
    }
    Ok(())
}

async fn keep_book(session: &mut Session, change: &Bookkeeping) -> Result<(), sqlx::Error> {
    let mut arguments = session.arguments();
    let to = &mut arguments;
    let text = match change {
        Bookkeeping::Begins(beginning) => {
            to.int(int(beginning.bag.0));
            to.int(int(beginning.work.0));
            "UPDATE pool_positions SET first_batch_id = ?, first_work_id = ? WHERE shard = 0"
        }
        Bookkeeping::EpochStarted(started) => {
            // Links do not outlast an engine, and no record says of each worker that its own is gone.
            let mut at = session.arguments();
            at.int(micros(started.at));
            let text =
                "UPDATE pool_workers SET state = 'lost', changed_us = ? WHERE state NOT IN ('lost', 'gone')";
            session.execute(fixed(text), at).await?;
            to.int(started.epoch.0.into());
            to.int(micros(started.at));
            to.text(&started.version);
            "INSERT INTO pool_epochs (epoch, started_us, version) VALUES (?, ?, ?)"
        }
        Bookkeeping::TenantAdded(added) => {
            to.int(added.tenant.0.into());
            to.text(&added.name);
            to.int(added.weight.into());
            to.int(added.tenant.0.into());
            // Tables that began late know those of a snapshot, which may be younger than the record.
            "INSERT INTO pool_users (user_id, name, weight) SELECT ?, ?, ? FROM pool_positions \
             WHERE shard = 0 AND NOT EXISTS (SELECT 1 FROM pool_users WHERE user_id = ?)"
        }
        Bookkeeping::BagOpened(opened) => {
            know_app(session, opened).await?;
            let mut template = Vec::new();
            codec::put_control(&mut template, &opened.template);
            to.int(int(opened.bag.0));
            to.int(int(opened.first.0));
            to.int(opened.rows_total.into());
            to.int(opened.tenant.0.into());
            to.text(&opened.template.app);
            to.text(&opened.template.label);
            to.int(opened.template.priority.0.into());
            to.bytes(&template);
            to.int(micros(opened.at));
            "INSERT INTO pool_batches (batch_id, first_work_id, works_total, user_id, app, label, priority, template, \
             opened_us) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        }
        Bookkeeping::BagPrioritised { bag, priority } => {
            to.int(priority.0.into());
            to.int(int(bag.0));
            "UPDATE pool_batches SET priority = ? WHERE batch_id = ?"
        }
        Bookkeeping::BagClosed { bag, at } => {
            to.int(micros(*at));
            to.int(int(bag.0));
            "UPDATE pool_batches SET closed_us = COALESCE(closed_us, ?) WHERE batch_id = ?"
        }
        Bookkeeping::BagForgotten(bag) => {
            to.int(int(bag.0));
            "UPDATE pool_batches SET forgotten = 1 WHERE batch_id = ?"
        }
        Bookkeeping::WorkerJoined(joined) => {
            for value in [&joined.uid, &joined.name, &joined.version] {
                to.text(value);
            }
            to.text(&joined.offer.os);
            to.text(&joined.offer.arch);
            to.int(joined.offer.cores.into());
            to.int(joined.offer.memory.0.min(i64::MAX as u64) as i64); // a worker says it; any number may come
            to.int(joined.offer.slots.into());
            to.int(micros(joined.at));
            to.int(micros(joined.at));
            to.int(joined.worker.0.into());
            return join(session, arguments, joined.worker).await;
        }
        // Who is away stays so: a cordon that is put on it waits for it.
        Bookkeeping::WorkerChanged { changed, cordons } => {
            let state = worker_state(changed.state);
            to.text(state);
            to.text(state);
            to.int_or_null(cordons.map(i64::from));
            to.int(changed.reason as i64);
            to.int(micros(changed.at));
            to.int(changed.worker.0.into());
            "UPDATE pool_workers SET state = CASE WHEN ? = 'cordoned' AND state IN ('lost', 'gone') THEN state ELSE ? END, \
             cordoned = COALESCE(?, cordoned), reason = ?, changed_us = ? WHERE worker_id = ?"
        }
        Bookkeeping::WorkerEnrolled(enrolled) => {
            to.int(int(enrolled.serial));
            to.int(micros(enrolled.not_after));
            to.int(enrolled.worker.0.into());
            "UPDATE pool_workers SET certificate_serial = ?, certificate_until_us = ? WHERE worker_id = ?"
        }
        // Whoever waits is cordoned, and whoever is revoked has no certificate any more.
        Bookkeeping::WorkerStanding(said) => {
            let approval = said.approval.to_string();
            let wallet = said.wallet.map(|wallet| wallet.to_string());
            to.text(&approval);
            to.text_or_null(wallet.as_deref());
            for _ in 0..3 {
                to.text(&approval);
            }
            to.int(micros(said.at));
            to.int(said.worker.0.into());
            "UPDATE pool_workers SET approval = ?, wallet = ?, \
             certificate_serial = CASE WHEN ? = 'revoked' THEN NULL ELSE certificate_serial END, \
             certificate_until_us = CASE WHEN ? = 'revoked' THEN NULL ELSE certificate_until_us END, \
             state = CASE WHEN ? = 'waiting' AND state = 'ready' THEN 'cordoned' ELSE state END, changed_us = ? \
             WHERE worker_id = ?"
        }
        Bookkeeping::WorkerForgotten(worker) => {
            to.int(worker.0.into());
            "UPDATE pool_workers SET forgotten = 1 WHERE worker_id = ?"
        }
    };
    session.execute(fixed(text), arguments).await.map(drop)
}

/// An app is known once somebody wants it; what else there is to say of it may have been said before.
async fn know_app(session: &mut Session, opened: &BagOpened) -> Result<(), sqlx::Error> {
    let app = &*opened.template.app;
    let (kind, image) = app
        .split_once(':')
        .map_or((app, None), |(kind, image)| (kind, Some(image)));
    let mut arguments = session.arguments();
    arguments.text(app);
    arguments.text(kind);
    arguments.text_or_null(image);
    arguments.int(micros(opened.at));
    arguments.text(app);
    // What is selected from has one row: MySQL 5.7 takes no condition without a table.
    let text = "INSERT INTO pool_apps (name, kind, image, created_us) SELECT ?, ?, ?, ? FROM pool_positions \
                WHERE shard = 0 AND NOT EXISTS (SELECT 1 FROM pool_apps WHERE name = ?)";
    session.execute(fixed(text), arguments).await.map(drop)
}

/// A worker that joins may be known already. A cordon outlasts the links of its worker, and so does waiting for approval.
async fn join(session: &mut Session, arguments: Arguments, worker: WorkerId) -> Result<(), sqlx::Error> {
    let mut id = session.arguments();
    id.int(worker.0.into());
    let known = session
        .integers(
            fixed("SELECT worker_id FROM pool_workers WHERE worker_id = ?"),
            id,
        )
        .await?;
    let text = if known.is_empty() {
        "INSERT INTO pool_workers (uid, name, version, os, arch, cores, memory_bytes, slots, joined_us, changed_us, \
         worker_id, state, cordoned, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'ready', 0, 0)"
    } else {
        "UPDATE pool_workers SET uid = ?, name = ?, version = ?, os = ?, arch = ?, cores = ?, memory_bytes = ?, slots = ?, \
         joined_us = ?, changed_us = ?, reason = 0, forgotten = 0, \
         state = CASE WHEN cordoned = 1 OR approval = 'waiting' THEN 'cordoned' ELSE 'ready' END WHERE worker_id = ?"
    };
    session.execute(fixed(text), arguments).await.map(drop)
}

/// Ids and sizes as SQL has them.
///
/// # Panics
/// Beyond 2⁶³, which no counter that begins at 1 reaches.
pub(super) fn int(value: u64) -> i64 {
    i64::try_from(value).expect("counters stay below 2^63")
}

pub(super) fn micros(at: Instant) -> i64 {
    int(at.0 / 1_000)
}

pub(super) fn number(worker: Option<WorkerId>) -> Option<i64> {
    worker.map(|worker| worker.0.into())
}

pub(super) fn work_state(state: WorkState) -> &'static str {
    match state {
        WorkState::Queued => "queued",
        WorkState::Leased => "leased",
        WorkState::Running => "running",
        WorkState::Done(done) => outcome(done),
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Failed => "failed",
        Outcome::Cancelled => "cancelled",
        Outcome::Expired => "expired",
    }
}

fn worker_state(state: WorkerState) -> &'static str {
    match state {
        WorkerState::Ready => "ready",
        WorkerState::Cordoned => "cordoned",
        WorkerState::Draining => "draining",
        WorkerState::Lost => "lost",
        WorkerState::Gone => "gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::ids::{Attempt, Lsn, WorkId};
    use wire_protocol::outcome::Reason;

    fn event(lsn: u64, work: u64) -> Event {
        Event {
            lsn: Lsn(lsn),
            work: WorkId(work),
            at: Instant(5),
            state: WorkState::Leased,
            reason: Reason::None,
            attempt: Attempt(1),
            worker: None,
        }
    }

    #[test]
    fn works_that_go_the_same_way_in_one_record_are_one_row() {
        let other_worker = Event {
            worker: Some(WorkerId(2)),
            ..event(1, 5)
        };
        let events = [
            event(1, 3),
            event(1, 4),
            other_worker,
            event(1, 6),
            event(1, 8),
            event(2, 9),
        ];
        let found: Vec<_> = runs(&events)
            .iter()
            .map(|run| (run.first.work.0, run.works))
            .collect();
        assert_eq!(found, [(3, 2), (5, 1), (6, 1), (8, 1), (9, 1)]);
        let many: Vec<_> = (1..=2_500).map(|work| event(1, work)).collect();
        let found: Vec<_> = runs(&many)
            .iter()
            .map(|run| (run.first.work.0, run.works))
            .collect();
        assert_eq!(found, [(1, 1_024), (1_025, 1_024), (2_049, 452)]);
    }

    #[test]
    fn the_view_of_history_knows_how_many_works_a_row_stands_for() {
        let file = include_str!("../../migrations/0001_tables.sql");
        assert!(file.contains(&format!("events.work_id > works.work_id - {RUN_MAX}")));
    }
}
