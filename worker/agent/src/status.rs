//! What a worker is doing, for whoever sits at its machine: a file in its folder that it writes when something has changed,
//! at most once a second, and the verb that reads it. It talks to nothing, so it also tells when the engine is away, and
//! what was last known of a worker that died.

use std::collections::VecDeque;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use worker_core::{Note, Phase};

use crate::contributing;
use crate::executor::folder;

/// Errors that are remembered.
const ERRORS_MAX: usize = 8;
/// Between two writes.
pub(crate) const WRITE_EVERY: Duration = Duration::from_secs(1);

/// All that is told.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Name and version of this form.
    pub(crate) schema: String,
    pub(crate) pid: u32,
    pub(crate) version: String,
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) engine: String,
    /// waiting, connecting, joining, joined or left.
    pub(crate) phase: String,
    /// The number that the engine knows it by; 0 before it has joined.
    pub(crate) worker: u32,
    pub(crate) slots: u32,
    pub(crate) running: Vec<Work>,
    /// Works that wait for a slot, and results that are not known to be recorded.
    pub(crate) waiting: usize,
    pub(crate) unrecorded: usize,
    /// Why it gets or takes nothing more.
    pub(crate) draining: Option<String>,
    pub(crate) cordoned: Option<String>,
    pub(crate) holding: Option<String>,
    pub(crate) disks: Vec<Disk>,
    /// Images that works have used and that are there.
    pub(crate) images: usize,
    /// The last ones, oldest first.
    pub(crate) errors: Vec<Problem>,
    /// Why it has had nothing to do for a while, as the engine says, and what keeps orders of the chain away.
    pub(crate) idle: Option<String>,
    /// What it does on its chain, if it has one.
    pub(crate) chain: Option<worker_chain::shell::Status>,
}

/// A work that runs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub(crate) struct Work {
    pub(crate) lease: String,
    pub(crate) app: String,
    /// When it began, in milliseconds since 1970.
    pub(crate) since_ms: u64,
}

/// A disk that is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Disk {
    pub(crate) what: String,
    pub(crate) percent: u8,
}

/// Something that went wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    pub(crate) at_ms: u64,
    pub(crate) text: String,
}

/// Where a status is put together and written.
#[derive(Debug)]
pub(crate) struct Board {
    file: PathBuf,
    pub(crate) status: Status,
    errors: VecDeque<Problem>,
    written: Option<Status>,
    writing: Option<JoinHandle<()>>,
}

impl Board {
    pub(crate) fn new(folder: &Path, status: Status) -> Self {
        Self {
            file: file(folder),
            status: Status {
                schema: "workerpool/v1/worker-status".to_owned(),
                pid: std::process::id(),
                ..status
            },
            errors: VecDeque::new(),
            written: None,
            writing: None,
        }
    }

    /// What the core says is what people want to know, too.
    pub(crate) fn note(&mut self, note: &Note) {
        let status = &mut self.status;
        match note {
            Note::Joined { worker, .. } => status.worker = worker.0,
            Note::Cordoned { reason } => status.cordoned = Some(reason.clone()),
            Note::Uncordoned => status.cordoned = None,
            Note::Draining { reason, .. } => status.draining = Some(reason.clone()),
            Note::DrainOver { running } => {
                self.error(format!(
                    "the time for leaving has come with {running} works running"
                ));
            }
            Note::Holding { problem } => status.holding = Some(problem.clone()),
            Note::Welcoming => status.holding = None,
            Note::Reconnecting { reason, .. } => {
                // It is the engine's, and said again with the next connection.
                status.cordoned = None;
                self.error(format!("no link to the engine: {reason}"));
            }
            Note::Stale { token, recorded } => {
                self.error(format!("the report of {token} was superseded: {recorded}"))
            }
            Note::Certified { .. } | Note::EngineShuttingDown | Note::OverAssigned { .. } | Note::Idle(_) => {
            }
        }
    }

    pub(crate) fn error(&mut self, text: String) {
        self.errors.truncate(ERRORS_MAX - 1);
        self.errors.push_front(Problem {
            at_ms: now_ms(),
            text,
        });
    }

    /// Writes what has changed, on another thread and one after the other: the disk may be slow.
    pub(crate) fn write(&mut self) {
        self.status.errors = self.errors.iter().rev().cloned().collect();
        let is_writing = self
            .writing
            .as_ref()
            .is_some_and(|writing| !writing.is_finished());
        if is_writing || self.written.as_ref() == Some(&self.status) {
            return;
        }
        self.written = Some(self.status.clone());
        let text = serde_json::to_vec_pretty(&self.status).expect("text and numbers");
        let file = self.file.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let new = file.with_extension("new");
            // A full disk is told of elsewhere.
            if let Err(error) = fs::write(&new, text).and_then(|()| fs::rename(&new, &file)) {
                tracing::debug!(%error, file = %file.display(), "the status cannot be written");
            }
        }));
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("status.json")
}

pub(crate) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Waiting => "waiting",
        Phase::Connecting => "connecting",
        Phase::Joining => "joining",
        Phase::Joined => "joined",
        Phase::Left => "left",
    }
}

pub(crate) fn now_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}

/// Prints what the worker of this folder is doing. 0: it runs; 1: none runs, or nothing is known of it.
pub(crate) fn print(path: &Path, json: bool) -> ExitCode {
    let text = match fs::read_to_string(file(path)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!(
                "no worker has run in {}: give its folder with --folder, before `status`",
                path.display()
            );
            return ExitCode::FAILURE;
        }
        Err(error) => {
            eprintln!("{} cannot be read: {error}", file(path).display());
            return ExitCode::FAILURE;
        }
    };
    let status: Status = match serde_json::from_str(&text) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("{} is of another version: {error}", file(path).display());
            return ExitCode::FAILURE;
        }
    };
    let runs = folder::is_locked(path);
    if json {
        let mut value = serde_json::to_value(&status).expect("text and numbers");
        value["runs"] = runs.into();
        println!("{value}");
    } else {
        print!("{}", words(&status, runs, now_ms()));
    }
    if runs {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// For people.
fn words(status: &Status, runs: bool, now_ms: u64) -> String {
    let mut text = String::new();
    let mut line = |name: &str, says: String| writeln!(text, "{name:<9} {says}").expect("text grows");
    let ago = |at_ms: u64| Duration::from_secs(now_ms.saturating_sub(at_ms) / 1_000);
    let number = match status.worker {
        0 => String::new(),
        number => format!("k{number} "),
    };
    line(
        "worker",
        format!(
            "{number}{} ({}), version {}",
            status.name, status.uid, status.version
        ),
    );
    if runs {
        line("runs", format!("as process {}", status.pid));
    } else {
        line("runs", "no: this is the last that is known".to_owned());
    }
    line("engine", format!("{}, {}", status.engine, status.phase));
    let closed = [
        ("no work: ", &status.holding),
        ("nothing more, it is draining: ", &status.draining),
        ("no work, it is cordoned: ", &status.cordoned),
    ];
    let closed = closed
        .iter()
        .find_map(|(what, why)| Some(format!("{what}{}", why.as_ref()?)));
    line("takes", closed.unwrap_or_else(|| "work".to_owned()));
    if let Some(why) = &status.idle {
        line("idle", why.clone());
    }
    line(
        "slots",
        format!(
            "{} of {} in use, {} works wait, {} results are not recorded yet",
            status.running.len(),
            status.slots,
            status.waiting,
            status.unrecorded
        ),
    );
    for work in &status.running {
        line(
            "",
            format!("{} {} for {:?}", work.lease, work.app, ago(work.since_ms)),
        );
    }
    for (name, says) in status.chain.iter().flat_map(contributing::lines) {
        line(name, says);
    }
    for disk in &status.disks {
        line("disk", format!("{} is {} % full", disk.what, disk.percent));
    }
    if status.images > 0 {
        line("images", format!("{} that works have used", status.images));
    }
    for error in &status.errors {
        line("error", format!("{:?} ago: {}", ago(error.at_ms), error.text));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_reads_well_and_back() {
        let status = Status {
            pid: 77,
            version: "0.1.0".to_owned(),
            name: "rack-3".to_owned(),
            uid: "6f1c".to_owned(),
            engine: "pool:4321".to_owned(),
            phase: "joined".to_owned(),
            worker: 7,
            slots: 2,
            running: vec![Work {
                lease: "s0/e1/w7/a1".to_owned(),
                app: "docker:alpine".to_owned(),
                since_ms: 1_000,
            }],
            unrecorded: 1,
            holding: Some("the disk is full".to_owned()),
            disks: vec![Disk {
                what: "/w (its folder)".to_owned(),
                percent: 96,
            }],
            images: 3,
            idle: Some("nothing is queued".to_owned()),
            errors: vec![Problem {
                at_ms: 8_000,
                text: "no link".to_owned(),
            }],
            ..Status::default()
        };
        let expected = "\
worker    k7 rack-3 (6f1c), version 0.1.0
runs      as process 77
engine    pool:4321, joined
takes     no work: the disk is full
idle      nothing is queued
slots     1 of 2 in use, 0 works wait, 1 results are not recorded yet
          s0/e1/w7/a1 docker:alpine for 12s
disk      /w (its folder) is 96 % full
images    3 that works have used
error     5s ago: no link
";
        assert_eq!(words(&status, true, 13_000), expected);
        assert!(words(&status, false, 0).contains("no: this is the last that is known"));
        let text = serde_json::to_string(&status).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Status>(&text).expect("the same form"),
            status
        );
    }

    #[test]
    fn only_the_last_errors_are_told() {
        let mut board = Board::new(Path::new("/w"), Status::default());
        for number in 0..20 {
            board.error(number.to_string());
        }
        let kept: Vec<_> = board.errors.iter().map(|error| error.text.as_str()).collect();
        assert_eq!((kept.len(), kept[0]), (ERRORS_MAX, "19"));
    }
}
