//! Works, and what they printed.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use wire_protocol::outcome::{Outcome, Output, Reason};
use wire_protocol::template::WorkTemplate;
use wire_protocol::units::Bytes;
use wire_protocol::view::{WorkDetail, WorkState, WorkView};

use crate::cli::output::{Show, fields};
use crate::cli::quantity::{micros, timestamp};

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
pub(crate) fn reason(reason: Reason) -> Option<Reason> {
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
    /// The archive of its outputs in the pool's file store.
    archive: Option<String>,
    archive_bytes: Option<u64>,
    consensus: Option<String>,
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
            archive: output.archive.map(|archive| archive.digest.to_string()),
            archive_bytes: output.archive.map(|archive| archive.bytes),
            consensus: output.consensus.map(|digest| digest.to_string()),
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
            (
                "outputs",
                output
                    .archive
                    .map(|archive| format!("{}, {}", archive.digest, Bytes(archive.bytes)))
                    .unwrap_or_default(),
            ),
            ("stdout", printed(output.stdout, output.stdout_cut)),
            ("stderr", printed(output.stderr, output.stderr_cut)),
        ])
    }
}

/// What a command printed, as far as it is text for a terminal.
pub(super) fn printed(bytes: &[u8], cut: bool) -> String {
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
    needs.extend(asks.wallet.iter().map(|wallet| format!("wallet {wallet}")));
    needs.join(", ")
}
