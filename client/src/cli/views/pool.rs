//! Bags, workers, queues and the pool itself.

use serde::Serialize;
use wire_protocol::category::Category;
use wire_protocol::joining::Approval;
use wire_protocol::resources::Packing;
use wire_protocol::template::Offer;
use wire_protocol::units::Bytes;
use wire_protocol::view::{BagView, QueueView, StatusView, SubscriberView, Tally, WorkerView};

use crate::cli::output::{Show, fields};
use crate::cli::quantity::timestamp;

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

/// What becomes of works for this worker, in a word.
fn state_of(worker: &WorkerView) -> String {
    let holds = if worker.problem.is_some() {
        ", takes no work"
    } else {
        ""
    };
    format!("{}{holds}", worker.state)
}

#[derive(Serialize)]
pub(crate) struct WorkerJson<'a> {
    worker: u32,
    name: &'a str,
    uid: &'a str,
    state: String,
    problem: Option<&'a str>,
    held: u32,
    finished: u64,
    silent_ms: u64,
    version: &'a str,
    approval: String,
    certificate: Option<CertificateJson>,
    wallet: Option<String>,
    offer: &'a Offer,
}

#[derive(Serialize)]
struct CertificateJson {
    serial: u64,
    not_after: String,
}

/// `waiting`, `revoked`, or how the worker proves who it is.
fn standing(view: &WorkerView) -> String {
    match (view.approval, view.certificate) {
        (Approval::Approved, Some(certificate)) => {
            let day = timestamp(certificate.not_after);
            format!("certificate to {}", day.get(..10).unwrap_or(&day))
        }
        (Approval::Approved, None) => "password".to_owned(),
        (other, _) => other.to_string(),
    }
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
        "login",
        "silent",
    ];

    fn json(&self) -> WorkerJson<'_> {
        WorkerJson {
            worker: self.worker.0,
            name: &self.name,
            uid: &self.uid,
            state: self.state.to_string(),
            problem: self.problem.as_deref(),
            held: self.held,
            finished: self.finished,
            silent_ms: self.silent_for.0,
            version: &self.version,
            approval: self.approval.to_string(),
            certificate: self.certificate.map(|certificate| CertificateJson {
                serial: certificate.serial,
                not_after: timestamp(certificate.not_after),
            }),
            wallet: self.wallet.map(|wallet| wallet.to_string()),
            offer: &self.offer,
        }
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.worker.to_string(),
            self.name.clone(),
            state_of(self),
            self.offer.slots.to_string(),
            self.held.to_string(),
            self.finished.to_string(),
            self.offer.cores.to_string(),
            self.offer.memory.to_string(),
            self.offer.executors.join(","),
            standing(self),
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
            packing,
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
                match &self.problem {
                    Some(problem) => format!(
                        "{}, takes no work: {problem}; last heard of {} ago",
                        self.state, self.silent_for
                    ),
                    None => format!("{}, last heard of {} ago", self.state, self.silent_for),
                },
            ),
            (
                "works",
                format!(
                    "{} held, {} finished since the engine started",
                    self.held, self.finished
                ),
            ),
            (
                "slots",
                match packing {
                    Packing::Slots => format!("{slots}, and {prefill} works ahead"),
                    Packing::Resources => {
                        format!(
                            "{slots} at most, packed by cores, memory and disk, and {prefill} works ahead"
                        )
                    }
                },
            ),
            (
                "machine",
                format!("{os} {arch}, {cores} cores, {memory} of memory, {disk} free, {gpus} GPUs"),
            ),
            ("executors", executors.join(", ")),
            ("tags", tags.join(", ")),
            ("groups", groups.join(", ")),
            ("resources", custom.join(", ")),
            ("version", self.version.clone()),
            ("approval", self.approval.to_string()),
            (
                "certificate",
                self.certificate.map_or(String::new(), |certificate| {
                    format!(
                        "number {}, good until {}",
                        certificate.serial,
                        timestamp(certificate.not_after)
                    )
                }),
            ),
            (
                "wallet",
                self.wallet.map_or(String::new(), |wallet| wallet.to_string()),
            ),
        ])
    }
}

#[derive(Serialize)]
pub(crate) struct CategoryJson<'a> {
    name: &'a str,
    wall_clock_ms: u64,
    memory_bytes: u64,
    disk_bytes: u64,
    files_bytes: u64,
}

impl Show for Category {
    const KIND: &'static str = "category";
    type Json<'a> = CategoryJson<'a>;
    const COLUMNS: &'static [&'static str] = &["category", "wall clock", "memory", "disk", "files"];

    fn json(&self) -> CategoryJson<'_> {
        CategoryJson {
            name: &self.name,
            wall_clock_ms: self.wall_clock.0,
            memory_bytes: self.memory.0,
            disk_bytes: self.disk.0,
            files_bytes: self.files.0,
        }
    }

    fn cells(&self) -> Vec<String> {
        let ceiling = |there: bool, text: String| if there { text } else { "-".to_owned() };
        let size = |bytes: Bytes| ceiling(bytes.0 > 0, bytes.to_string());
        vec![
            self.name.clone(),
            ceiling(self.wall_clock.0 > 0, self.wall_clock.to_string()),
            size(self.memory),
            size(self.disk),
            size(self.files),
        ]
    }

    fn text(&self) -> String {
        self.cells().join("  ")
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
    subscribers: Vec<SubscriberJson<'a>>,
}

#[derive(Serialize)]
struct SubscriberJson<'a> {
    name: &'a str,
    connected: bool,
    acknowledged_lsn: u64,
    lag_records: u64,
    lag_bytes: u64,
    lag_ms: u64,
}

impl<'a> From<&'a SubscriberView> for SubscriberJson<'a> {
    fn from(view: &'a SubscriberView) -> Self {
        Self {
            name: &view.name,
            connected: view.connected,
            acknowledged_lsn: view.acknowledged.0,
            lag_records: view.lag_records,
            lag_bytes: view.lag_bytes.0,
            lag_ms: view.lag.0,
        }
    }
}

/// `persist: 12 records, 64.0 KiB and 1.5s behind`.
fn follows(view: &SubscriberView) -> String {
    let away = if view.connected { "" } else { ", away" };
    match view.lag_records {
        0 => format!("{}: has all records{away}", view.name),
        records => format!(
            "{}: {records} records, {} and {} behind{away}",
            view.name, view.lag_bytes, view.lag
        ),
    }
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
            subscribers: self.subscribers.iter().map(SubscriberJson::from).collect(),
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
            (
                "sidecars",
                self.subscribers
                    .iter()
                    .map(follows)
                    .collect::<Vec<_>>()
                    .join("\n"),
            ),
        ])
    }
}
