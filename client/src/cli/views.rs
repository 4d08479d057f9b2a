//! How works, bags, workers and the rest look in JSON and in tables.

use std::time::Duration;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use wire_protocol::outcome::{Outcome, Output, Reason};
use wire_protocol::template::{Offer, WorkTemplate};
use wire_protocol::view::{
    BagView, Explanation, QueueView, StatusView, Tally, WorkDetail, WorkState, WorkView, WorkerView,
};

use super::output::{Show, fields};
use super::quantity::{micros, timestamp};

/// Pairs as a JSON object that keeps their order.
pub(crate) struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

fn joined(pairs: &[(String, String)]) -> String {
    let quoted =
        |value: &str| value.is_empty() || value.contains(|c: char| c.is_whitespace() || c.is_control());
    let pair = |(name, value): &(String, String)| match quoted(value) {
        true => format!("{name}={value:?}"),
        false => format!("{name}={value}"),
    };
    pairs.iter().map(pair).collect::<Vec<_>>().join(" ")
}

/// The reason, where there is one.
fn reason(reason: Reason) -> Option<Reason> {
    (reason != Reason::None).then_some(reason)
}

#[derive(Serialize)]
pub(crate) struct WorkJson<'a> {
    work: u64,
    bag: u64,
    row: u32,
    state: String,
    attempt: u16,
    worker: Option<u32>,
    reason: Option<Reason>,
    label: &'a str,
    app: &'a str,
    parameters: Pairs<'a>,
    submitted: String,
}

impl Show for WorkView {
    const KIND: &'static str = "work";
    type Json<'a> = WorkJson<'a>;
    const COLUMNS: &'static [&'static str] = &[
        "work",
        "bag",
        "state",
        "attempt",
        "worker",
        "label",
        "parameters",
        "reason",
    ];

    fn json(&self) -> WorkJson<'_> {
        WorkJson {
            work: self.work.0,
            bag: self.bag.0,
            row: self.row,
            state: self.state.to_string(),
            attempt: self.attempt.0,
            worker: self.worker.map(|worker| worker.0),
            reason: reason(self.reason),
            label: &self.label,
            app: &self.app,
            parameters: Pairs(&self.parameters),
            submitted: timestamp(self.submitted),
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.work.to_string(),
            self.bag.to_string(),
            self.state.to_string(),
            self.attempt.0.to_string(),
            self.worker.map(|worker| worker.to_string()).unwrap_or_default(),
            self.label.clone(),
            joined(&self.parameters),
            reason(self.reason)
                .map(|reason| reason.to_string())
                .unwrap_or_default(),
        ]
    }

    fn text(&self) -> String {
        fields(&[
            ("work", format!("{}, row {} of {}", self.work, self.row, self.bag)),
            ("state", self.state.to_string()),
            (
                "reason",
                reason(self.reason)
                    .map(|reason| reason.to_string())
                    .unwrap_or_default(),
            ),
            ("parameters", joined(&self.parameters)),
            ("label", self.label.clone()),
            ("submitted", timestamp(self.submitted)),
        ])
    }
}

#[derive(Serialize)]
pub(crate) struct DetailJson<'a> {
    #[serde(flatten)]
    work: WorkJson<'a>,
    command: &'a [String],
    priority: u8,
    attempts_max: u16,
    wall_clock_ms: u64,
    exit_code: Option<i32>,
    elapsed_us: Option<u32>,
    result_bytes: usize,
    stdout: Option<String>,
    stdout_cut: bool,
    stderr: Option<String>,
    stderr_cut: bool,
}

/// The result as text. A command's is what it printed; any other stands as it is.
pub(crate) fn output_of(detail: &WorkDetail) -> Output<'_> {
    match (detail.template.executor(), Output::parse(&detail.result)) {
        ("process" | "docker", Ok(output)) => output,
        _ => Output {
            stdout: &detail.result,
            ..Output::default()
        },
    }
}

impl Show for WorkDetail {
    const KIND: &'static str = "work-detail";
    type Json<'a> = DetailJson<'a>;
    const COLUMNS: &'static [&'static str] = WorkView::COLUMNS;

    fn json(&self) -> DetailJson<'_> {
        let output = output_of(self);
        let done = matches!(self.work.state, WorkState::Done(_));
        DetailJson {
            work: self.work.json(),
            command: &self.template.command,
            priority: self.template.priority.0,
            attempts_max: self.template.retry.attempts_max,
            wall_clock_ms: self.template.limits.wall_clock.0,
            exit_code: done.then_some(self.exit_code),
            elapsed_us: done.then_some(self.elapsed_us),
            result_bytes: self.result.len(),
            stdout: done.then(|| String::from_utf8_lossy(output.stdout).into_owned()),
            stdout_cut: output.stdout_cut,
            stderr: done.then(|| String::from_utf8_lossy(output.stderr).into_owned()),
            stderr_cut: output.stderr_cut,
        }
    }

    fn cells(&self) -> Vec<String> {
        self.work.cells()
    }

    fn text(&self) -> String {
        let WorkView {
            work,
            bag,
            row,
            state,
            attempt,
            worker,
            parameters,
            ..
        } = &self.work;
        let on = worker.map(|worker| format!(" on {worker}")).unwrap_or_default();
        let tries = match attempt.0 {
            0 => String::new(),
            attempt => format!(", attempt {attempt} of {}{on}", self.template.retry.attempts_max),
        };
        let ended = match state {
            WorkState::Done(Outcome::Succeeded | Outcome::Failed) => {
                format!(
                    "exit code {}, ran for {}",
                    self.exit_code,
                    micros(self.elapsed_us)
                )
            }
            _ => String::new(),
        };
        let output = output_of(self);
        fields(&[
            ("work", format!("{work}, row {row} of {bag}")),
            ("label", self.work.label.clone()),
            ("state", format!("{state}{tries}")),
            (
                "reason",
                reason(self.work.reason)
                    .map(|reason| reason.to_string())
                    .unwrap_or_default(),
            ),
            ("ended", ended),
            ("app", self.work.app.clone()),
            ("command", self.template.command.join(" ")),
            ("parameters", joined(parameters)),
            ("needs", needs(&self.template)),
            ("submitted", timestamp(self.work.submitted)),
            ("stdout", printed(output.stdout, output.stdout_cut)),
            ("stderr", printed(output.stderr, output.stderr_cut)),
        ])
    }
}

/// What a command printed, as far as it is text for a terminal.
fn printed(bytes: &[u8], cut: bool) -> String {
    const SHOWN_MAX: usize = 4_000;
    let more = if cut {
        " (and more, which was not kept)"
    } else {
        ""
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.len() <= SHOWN_MAX && !text.contains(['\0', '\u{1b}']) => {
            format!("{}{more}", text.trim_end())
        }
        _ => format!("{} bytes{more}; see `pool work logs`", bytes.len()),
    }
}

fn needs(template: &WorkTemplate) -> String {
    let asks = &template.requirements;
    let mut needs = Vec::new();
    needs.extend(asks.os.iter().map(|os| format!("os {os}")));
    needs.extend(asks.arch.iter().map(|arch| format!("arch {arch}")));
    needs.extend((asks.cores > 0).then(|| format!("{} cores", asks.cores)));
    needs.extend((asks.memory.0 > 0).then(|| format!("{} of memory", asks.memory)));
    needs.extend((asks.disk.0 > 0).then(|| format!("{} of disk", asks.disk)));
    needs.extend((asks.gpus > 0).then(|| format!("{} GPUs", asks.gpus)));
    needs.extend(asks.tags.iter().map(|tag| format!("tag {tag}")));
    needs.extend(asks.group.iter().map(|group| format!("group {group}")));
    needs.extend(
        asks.custom
            .iter()
            .map(|(name, amount)| format!("{amount} {name}")),
    );
    needs.join(", ")
}

#[derive(Serialize)]
pub(crate) struct BagJson<'a> {
    bag: u64,
    first_work: u64,
    works: u32,
    #[serde(flatten)]
    tally: Tally,
    done: u32,
    priority: u8,
    tenant: &'a str,
    label: &'a str,
    app: &'a str,
    submitted: String,
}

impl Show for BagView {
    const KIND: &'static str = "bag";
    type Json<'a> = BagJson<'a>;
    const COLUMNS: &'static [&'static str] = &[
        "bag",
        "works",
        "queued",
        "leased",
        "succeeded",
        "failed",
        "cancelled",
        "expired",
        "priority",
        "label",
        "submitted",
    ];

    fn json(&self) -> BagJson<'_> {
        BagJson {
            bag: self.bag.0,
            first_work: self.first.0,
            works: self.rows_total,
            tally: self.tally,
            done: self.tally.done(),
            priority: self.priority.0,
            tenant: &self.tenant,
            label: &self.label,
            app: &self.app,
            submitted: timestamp(self.submitted),
        }
    }

    fn cells(&self) -> Vec<String> {
        let Tally {
            queued,
            leased,
            succeeded,
            failed,
            cancelled,
            expired,
        } = self.tally;
        let counts = [
            self.rows_total,
            queued,
            leased,
            succeeded,
            failed,
            cancelled,
            expired,
        ];
        let mut cells = vec![self.bag.to_string()];
        cells.extend(counts.iter().map(u32::to_string));
        cells.extend([
            self.priority.0.to_string(),
            self.label.clone(),
            timestamp(self.submitted),
        ]);
        cells
    }

    fn text(&self) -> String {
        let Tally {
            queued,
            leased,
            succeeded,
            failed,
            cancelled,
            expired,
        } = self.tally;
        let last = self.first.offset(self.rows_total.saturating_sub(1));
        fields(&[
            ("bag", format!("{} of {}", self.bag, self.tenant)),
            ("label", self.label.clone()),
            ("works", format!("{}: {} to {last}", self.rows_total, self.first)),
            ("waiting", format!("{queued} queued, {leased} with workers")),
            (
                "done",
                format!("{succeeded} succeeded, {failed} failed, {cancelled} cancelled, {expired} expired"),
            ),
            ("app", self.app.clone()),
            ("priority", self.priority.0.to_string()),
            ("submitted", timestamp(self.submitted)),
        ])
    }
}

#[derive(Serialize)]
pub(crate) struct WorkerJson<'a> {
    worker: u32,
    name: &'a str,
    uid: &'a str,
    state: String,
    held: u32,
    finished: u64,
    silent_ms: u64,
    version: &'a str,
    offer: &'a Offer,
}

impl Show for WorkerView {
    const KIND: &'static str = "worker";
    type Json<'a> = WorkerJson<'a>;
    const COLUMNS: &'static [&'static str] = &[
        "worker",
        "name",
        "state",
        "slots",
        "held",
        "finished",
        "cores",
        "memory",
        "executors",
        "silent",
    ];

    fn json(&self) -> WorkerJson<'_> {
        WorkerJson {
            worker: self.worker.0,
            name: &self.name,
            uid: &self.uid,
            state: self.state.to_string(),
            held: self.held,
            finished: self.finished,
            silent_ms: self.silent_for.0,
            version: &self.version,
            offer: &self.offer,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.worker.to_string(),
            self.name.clone(),
            self.state.to_string(),
            self.offer.slots.to_string(),
            self.held.to_string(),
            self.finished.to_string(),
            self.offer.cores.to_string(),
            self.offer.memory.to_string(),
            self.offer.executors.join(","),
            self.silent_for.to_string(),
        ]
    }

    fn text(&self) -> String {
        let Offer {
            executors,
            os,
            arch,
            cores,
            memory,
            disk,
            gpus,
            tags,
            groups,
            custom,
            slots,
            prefill,
        } = &self.offer;
        let custom = custom
            .iter()
            .map(|(name, amount)| format!("{amount} {name}"))
            .collect::<Vec<_>>();
        fields(&[
            ("worker", format!("{} {}", self.worker, self.name)),
            ("uid", self.uid.clone()),
            (
                "state",
                format!("{}, last heard of {} ago", self.state, self.silent_for),
            ),
            (
                "works",
                format!(
                    "{} held, {} finished since the engine started",
                    self.held, self.finished
                ),
            ),
            ("slots", format!("{slots}, and {prefill} works ahead")),
            (
                "machine",
                format!("{os} {arch}, {cores} cores, {memory} of memory, {disk} free, {gpus} GPUs"),
            ),
            ("executors", executors.join(", ")),
            ("tags", tags.join(", ")),
            ("groups", groups.join(", ")),
            ("resources", custom.join(", ")),
            ("version", self.version.clone()),
        ])
    }
}

#[derive(Serialize)]
pub(crate) struct QueueJson<'a> {
    tenant: &'a str,
    priority: u8,
    class: &'a str,
    queued: u64,
    workers_eligible: u32,
}

impl Show for QueueView {
    const KIND: &'static str = "queue";
    type Json<'a> = QueueJson<'a>;
    const COLUMNS: &'static [&'static str] = &["tenant", "priority", "queued", "workers", "class"];

    fn json(&self) -> QueueJson<'_> {
        QueueJson {
            tenant: &self.tenant,
            priority: self.priority.0,
            class: &self.class,
            queued: self.queued,
            workers_eligible: self.workers_eligible,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.tenant.clone(),
            self.priority.0.to_string(),
            self.queued.to_string(),
            self.workers_eligible.to_string(),
            self.class.clone(),
        ]
    }

    fn text(&self) -> String {
        self.cells().join("  ")
    }
}

#[derive(Serialize)]
pub(crate) struct StatusJson<'a> {
    shard: u16,
    epoch: u32,
    version: &'a str,
    uptime_ms: u64,
    works_queued: u64,
    works_leased: u64,
    works_done: u64,
    works_max: u64,
    accepted_total: u64,
    finished_total: u64,
    bags: u64,
    workers_connected: u32,
    slots: u64,
    lsn: u64,
    rows_bytes: u64,
    rejoin_wait_ms: u64,
}

impl Show for StatusView {
    const KIND: &'static str = "status";
    type Json<'a> = StatusJson<'a>;
    const COLUMNS: &'static [&'static str] = &["queued", "leased", "done", "workers", "slots"];

    fn json(&self) -> StatusJson<'_> {
        StatusJson {
            shard: self.shard.0,
            epoch: self.epoch.0,
            version: &self.version,
            uptime_ms: self.uptime.0,
            works_queued: self.works_queued,
            works_leased: self.works_leased,
            works_done: self.works_done,
            works_max: self.works_max,
            accepted_total: self.accepted_total,
            finished_total: self.finished_total,
            bags: self.bags,
            workers_connected: self.workers_connected,
            slots: self.slots,
            lsn: self.lsn.0,
            rows_bytes: self.rows_bytes.0,
            rejoin_wait_ms: self.rejoin_wait.0,
        }
    }

    fn cells(&self) -> Vec<String> {
        [
            self.works_queued,
            self.works_leased,
            self.works_done,
            u64::from(self.workers_connected),
            self.slots,
        ]
        .iter()
        .map(u64::to_string)
        .collect()
    }

    fn text(&self) -> String {
        let rejoin = match self.rejoin_wait.0 {
            0 => String::new(),
            _ => format!("{} more for workers that it knows", self.rejoin_wait),
        };
        fields(&[
            (
                "engine",
                format!("{} shard {} epoch {}", self.version, self.shard.0, self.epoch.0),
            ),
            ("up for", self.uptime.to_string()),
            (
                "workers",
                format!("{} connected, {} slots", self.workers_connected, self.slots),
            ),
            ("waits", rejoin),
            (
                "works",
                format!(
                    "{} queued, {} with workers, {} done",
                    self.works_queued, self.works_leased, self.works_done
                ),
            ),
            (
                "since start",
                format!(
                    "{} accepted, {} finished",
                    self.accepted_total, self.finished_total
                ),
            ),
            ("bags", self.bags.to_string()),
            (
                "rows",
                format!(
                    "{} in memory, room for {} open works",
                    self.rows_bytes, self.works_max
                ),
            ),
            ("journal", format!("at record {}", self.lsn.0)),
        ])
    }
}

/// An explanation with what it is about.
pub(crate) struct Explained {
    pub(crate) subject: String,
    pub(crate) explanation: Explanation,
}

#[derive(Serialize)]
pub(crate) struct ExplainedJson<'a> {
    subject: &'a str,
    summary: &'a str,
    facts: &'a [String],
}

impl Show for Explained {
    const KIND: &'static str = "explanation";
    type Json<'a> = ExplainedJson<'a>;
    const COLUMNS: &'static [&'static str] = &["subject", "summary"];

    fn json(&self) -> ExplainedJson<'_> {
        let Explanation { summary, facts } = &self.explanation;
        ExplainedJson {
            subject: &self.subject,
            summary,
            facts,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![self.subject.clone(), self.explanation.summary.clone()]
    }

    fn text(&self) -> String {
        let facts = self
            .explanation
            .facts
            .iter()
            .map(|fact| format!("  - {fact}\n"))
            .collect::<String>();
        format!("{}: {}\n{facts}", self.subject, self.explanation.summary)
    }
}

/// What a command changed.
pub(crate) struct Changed {
    pub(crate) action: &'static str,
    pub(crate) subject: String,
    pub(crate) changed: u32,
}

#[derive(Serialize)]
pub(crate) struct ChangedJson<'a> {
    action: &'a str,
    subject: &'a str,
    changed: u32,
}

impl Show for Changed {
    const KIND: &'static str = "changed";
    type Json<'a> = ChangedJson<'a>;
    const COLUMNS: &'static [&'static str] = &["action", "subject", "changed"];

    fn json(&self) -> ChangedJson<'_> {
        ChangedJson {
            action: self.action,
            subject: &self.subject,
            changed: self.changed,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.action.to_owned(),
            self.subject.clone(),
            self.changed.to_string(),
        ]
    }

    fn text(&self) -> String {
        let Self {
            action,
            subject,
            changed,
        } = self;
        match changed {
            0 => format!("{subject}: nothing left to {action}"),
            _ => format!("{subject}: {action} done, {changed} changed"),
        }
    }
}

/// A submission that was accepted.
pub(crate) struct Submitted(pub(crate) client::Submission);

#[derive(Serialize)]
pub(crate) struct SubmittedJson {
    bag: u64,
    first_work: u64,
    works: u32,
}

impl Show for Submitted {
    const KIND: &'static str = "submission";
    type Json<'a> = SubmittedJson;
    const COLUMNS: &'static [&'static str] = &["bag", "works", "first", "last"];

    fn json(&self) -> SubmittedJson {
        SubmittedJson {
            bag: self.0.bag.0,
            first_work: self.0.first.0,
            works: self.0.rows,
        }
    }

    fn cells(&self) -> Vec<String> {
        let last = self.0.first.offset(self.0.rows.saturating_sub(1));
        vec![
            self.0.bag.to_string(),
            self.0.rows.to_string(),
            self.0.first.to_string(),
            last.to_string(),
        ]
    }

    fn text(&self) -> String {
        match self.0.rows {
            1 => format!("{}: 1 work, {}", self.0.bag, self.0.first),
            rows => format!(
                "{}: {rows} works, {} to {}",
                self.0.bag,
                self.0.first,
                self.0.first.offset(rows - 1)
            ),
        }
    }
}

/// How the works of a bag ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) bag: u64,
    pub(crate) works: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    pub(crate) cancelled: u32,
    pub(crate) expired: u32,
    /// Done, but its outcome could not be had any more.
    pub(crate) unknown: u32,
    pub(crate) took: Duration,
}

#[derive(Serialize)]
pub(crate) struct SummaryJson {
    bag: u64,
    works: u32,
    succeeded: u32,
    failed: u32,
    cancelled: u32,
    expired: u32,
    unknown: u32,
    seconds: f64,
    works_per_second: f64,
}

impl Summary {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Cancelled => self.cancelled += 1,
            Outcome::Expired => self.expired += 1,
        }
    }

    pub(crate) fn done(&self) -> u32 {
        self.succeeded + self.unsuccessful() + self.unknown
    }

    pub(crate) fn unsuccessful(&self) -> u32 {
        self.failed + self.cancelled + self.expired
    }

    fn rate(&self) -> f64 {
        f64::from(self.done()) / self.took.as_secs_f64().max(1e-3)
    }
}

impl Show for Summary {
    const KIND: &'static str = "summary";
    type Json<'a> = SummaryJson;
    const COLUMNS: &'static [&'static str] = &["bag", "works", "succeeded", "failed"];

    fn json(&self) -> SummaryJson {
        let Self {
            bag,
            works,
            succeeded,
            failed,
            cancelled,
            expired,
            unknown,
            took,
        } = *self;
        let seconds = (took.as_secs_f64() * 1e3).round() / 1e3;
        let works_per_second = (self.rate() * 10.0).round() / 10.0;
        SummaryJson {
            bag,
            works,
            succeeded,
            failed,
            cancelled,
            expired,
            unknown,
            seconds,
            works_per_second,
        }
    }

    fn cells(&self) -> Vec<String> {
        let counts = [self.works, self.succeeded, self.failed];
        std::iter::once(format!("b{}", self.bag))
            .chain(counts.iter().map(u32::to_string))
            .collect()
    }

    fn text(&self) -> String {
        let ways = [
            (self.succeeded, "succeeded"),
            (self.failed, "failed"),
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
            (self.unknown, "with an outcome that is no longer known"),
        ];
        let told = ways
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, way)| format!("{count} {way}"));
        let told = told.collect::<Vec<_>>().join(", ");
        let seconds = self.took.as_secs_f64();
        format!(
            "b{}: {told}; {seconds:.1} s, {:.0} works/s",
            self.bag,
            self.rate()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::output::json_of;
    use super::*;
    use wire_protocol::ids::{Attempt, BagId, Epoch, Lsn, Shard, WorkId, WorkerId};
    use wire_protocol::template::{Priority, Requirements};
    use wire_protocol::units::{Bytes, Instant, Millis};
    use wire_protocol::view::WorkerState;

    const AT: Instant = Instant(1_795_471_200_500_000_000);

    fn work() -> WorkView {
        WorkView {
            work: WorkId(12),
            bag: BagId(3),
            row: 11,
            state: WorkState::Done(Outcome::Failed),
            attempt: Attempt(2),
            worker: Some(WorkerId(1)),
            reason: Reason::ExitCode,
            label: "nightly".into(),
            app: "process".into(),
            parameters: vec![("y".into(), "1".into()), ("x".into(), "é\n".into())],
            submitted: AT,
        }
    }

    fn detail() -> WorkDetail {
        let mut result = Vec::new();
        Output {
            stdout: b"one\ntwo\n",
            stderr: b"\xff",
            stdout_cut: false,
            stderr_cut: true,
        }
        .encode(&mut result);
        let template = WorkTemplate {
            command: ["render", "{x}", "{y}"].map(str::to_owned).to_vec(),
            requirements: Requirements {
                memory: Bytes::from_mib(2048),
                gpus: 1,
                ..Requirements::default()
            },
            ..WorkTemplate::default()
        };
        WorkDetail {
            work: work(),
            template,
            exit_code: 3,
            elapsed_us: 1_500_000,
            result,
        }
    }

    fn bag() -> BagView {
        BagView {
            bag: BagId(3),
            first: WorkId(1),
            rows_total: 21,
            tally: Tally {
                queued: 1,
                leased: 2,
                succeeded: 3,
                failed: 4,
                cancelled: 5,
                expired: 6,
            },
            priority: Priority(4),
            tenant: "admin".into(),
            label: "nightly".into(),
            app: "process".into(),
            submitted: AT,
        }
    }

    fn worker() -> WorkerView {
        WorkerView {
            worker: WorkerId(1),
            uid: "u-1".into(),
            name: "worker-1".into(),
            state: WorkerState::Ready,
            held: 2,
            finished: 30,
            offer: Offer {
                executors: vec!["null".into(), "process".into()],
                os: "linux".into(),
                arch: "x86_64".into(),
                cores: 8,
                memory: Bytes::from_mib(16_384),
                disk: Bytes::from_mib(1_024),
                gpus: 0,
                tags: vec!["ssd".into()],
                groups: Vec::new(),
                custom: vec![("fpga".into(), 1)],
                slots: 4,
                prefill: 8,
            },
            silent_for: Millis(250),
            version: "0.1.0".into(),
        }
    }

    fn queue() -> QueueView {
        QueueView {
            tenant: "admin".into(),
            priority: Priority(4),
            class: "process, 1 gpu".into(),
            queued: 7,
            workers_eligible: 0,
        }
    }

    fn status() -> StatusView {
        StatusView {
            shard: Shard(0),
            epoch: Epoch(3),
            version: "0.1.0".into(),
            uptime: Millis(61_500),
            works_queued: 1,
            works_leased: 2,
            works_done: 3,
            finished_total: 4,
            accepted_total: 5,
            bags: 6,
            workers_connected: 7,
            slots: 8,
            lsn: Lsn(9),
            works_max: 10,
            rows_bytes: Bytes(11),
            rejoin_wait: Millis(12),
        }
    }

    fn explained() -> Explained {
        let facts = vec!["worker-1: memory: the work asks for 2.0 GiB, the worker has 1.0 GiB".to_owned()];
        let summary = "no connected worker can run it".to_owned();
        Explained {
            subject: "w12".into(),
            explanation: Explanation { summary, facts },
        }
    }

    fn summary() -> Summary {
        Summary {
            bag: 3,
            works: 10,
            succeeded: 7,
            failed: 2,
            unknown: 1,
            took: Duration::from_millis(2_500),
            ..Summary::default()
        }
    }

    /// One line a kind. Programs read these: fields may be added, nothing else.
    #[test]
    fn json_keeps_its_form() {
        let submission = client::Submission {
            bag: BagId(3),
            first: WorkId(1),
            rows: 21,
        };
        let lines = [
            json_of(&work()),
            json_of(&detail()),
            json_of(&bag()),
            json_of(&worker()),
            json_of(&queue()),
            json_of(&status()),
            json_of(&explained()),
            json_of(&Changed {
                action: "cancel",
                subject: "b3".into(),
                changed: 5,
            }),
            json_of(&Submitted(submission)),
            json_of(&summary()),
        ];
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn texts_for_people_say_the_same() {
        let submission = client::Submission {
            bag: BagId(3),
            first: WorkId(1),
            rows: 21,
        };
        let texts = [
            work().text(),
            detail().text(),
            bag().text(),
            worker().text(),
            queue().text(),
            status().text(),
            explained().text(),
            Changed {
                action: "cancel",
                subject: "b3".into(),
                changed: 0,
            }
            .text(),
            Submitted(submission).text(),
            summary().text(),
        ];
        insta::assert_snapshot!(texts.join("\n----\n"));
    }

    #[test]
    fn the_result_of_an_executor_that_prints_nothing_is_shown_as_it_is() {
        let mut detail = detail();
        detail.template.app = "null".into();
        detail.result = b"\x01raw".to_vec();
        assert_eq!(output_of(&detail).stdout, b"\x01raw");
    }

    #[test]
    fn output_that_would_upset_a_terminal_is_counted_instead() {
        assert_eq!(printed(b"a\x1b[2J", false), "5 bytes; see `pool work logs`");
        assert_eq!(
            printed(b"\xff", true),
            "1 bytes (and more, which was not kept); see `pool work logs`"
        );
        assert_eq!(printed(b"plain\n", false), "plain");
    }

    #[test]
    fn rows_of_a_table_have_as_many_cells_as_its_head() {
        assert_eq!(work().cells().len(), WorkView::COLUMNS.len());
        assert_eq!(detail().cells().len(), WorkDetail::COLUMNS.len());
        assert_eq!(bag().cells().len(), BagView::COLUMNS.len());
        assert_eq!(worker().cells().len(), WorkerView::COLUMNS.len());
        assert_eq!(queue().cells().len(), QueueView::COLUMNS.len());
        assert_eq!(status().cells().len(), StatusView::COLUMNS.len());
        assert_eq!(explained().cells().len(), Explained::COLUMNS.len());
        assert_eq!(summary().cells().len(), Summary::COLUMNS.len());
    }
}
