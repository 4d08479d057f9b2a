//! Waiting for works: the count, the bar, the files of results.
//!
//! The bar is on standard error and only on a terminal; standard output is for the result alone.

use std::collections::HashSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::{Follow, SubmitEvent};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use wire_protocol::client_link::OutcomeItem;
use wire_protocol::outcome::{Outcome, Output};

use super::exit::{Exit, Failure};
use super::rows::Parameters;
use super::views::Summary;

/// A progress bar, or nothing where nobody looks.
#[derive(Clone)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(works: u32, quiet: bool) -> Self {
        let seen = !quiet && io::stderr().is_terminal();
        let target = if seen {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(u64::from(works)), target);
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // A bar that cannot be drawn is no reason to stop.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        let template = "{spinner} {bar:30} {human_pos}/{human_len} {rate} ETA {eta} {msg}";
        let style =
            ProgressStyle::with_template(template).expect("the template is a constant that tests draw");
        bar.set_style(style.with_key("rate", rate));
        if seen {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self(bar)
    }

    /// Shows what became of a submission.
    pub(crate) fn submit_event(&self, event: &SubmitEvent) {
        match event {
            SubmitEvent::Accepted { rows, rows_total, .. } if rows < rows_total => {
                self.0.set_message(format!("{rows} of {rows_total} accepted"));
            }
            SubmitEvent::Accepted { .. } => self.0.set_message(""),
            SubmitEvent::Busy { limit, retry_after } => {
                self.0
                    .set_message(format!("the engine is busy ({limit}), next try in {retry_after}"));
            }
            SubmitEvent::Interrupted => self.0.set_message("the engine is away, waiting for it"),
        }
    }

    fn show(&self, summary: &Summary) {
        self.0.set_position(u64::from(summary.done()));
        match summary.unsuccessful() {
            0 => {}
            unsuccessful => self.0.set_message(format!("{unsuccessful} not succeeded")),
        }
    }

    pub(crate) fn clear(&self) {
        self.0.finish_and_clear();
    }
}

/// Waits for all works of a bag.
pub(crate) async fn watch(
    mut follow: Follow,
    bar: &Bar,
    mut results: Option<&mut Results<'_>>,
) -> Result<Summary, Failure> {
    let started = Instant::now();
    let (bag, first_work) = follow.opened().await?;
    let mut summary = Summary {
        bag: bag.0,
        works: follow.total(),
        ..Summary::default()
    };
    if let Some(results) = &mut results {
        results.begin(first_work.0);
    }
    loop {
        let mut failed = None;
        let delivered = follow
            .recv(|item| {
                summary.count(item.outcome);
                if let Some(results) = &mut results {
                    failed = failed.take().or_else(|| results.write(item).err());
                }
            })
            .await?;
        if let Some(failure) = failed {
            return Err(failure);
        }
        summary.unknown = follow.missing();
        summary.took = started.elapsed();
        bar.show(&summary);
        if delivered == 0 {
            return Ok(summary);
        }
    }
}

/// A folder with what each work printed, in files named by their parameters.
pub(crate) struct Results<'a> {
    folder: PathBuf,
    parameters: &'a Parameters,
    first_work: Option<u64>,
    taken: HashSet<String>,
}

/// Bytes of a file name that are used; file systems take 255.
const NAME_BYTES_MAX: usize = 150;

impl<'a> Results<'a> {
    pub(crate) fn new(folder: &Path, parameters: &'a Parameters) -> Result<Self, Failure> {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::caused(
                Exit::Config,
                format!("cannot make the folder --results {}", folder.display()),
                &error,
            )
        })?;
        Ok(Self {
            folder: folder.to_owned(),
            parameters,
            first_work: None,
            taken: HashSet::new(),
        })
    }

    /// Says which work has the first row.
    pub(crate) fn begin(&mut self, first_work: u64) {
        self.first_work = Some(first_work);
    }

    fn write(&mut self, item: &OutcomeItem<'_>) -> Result<(), Failure> {
        let name = self.name(item.work.0);
        let output = Output::parse(item.result).unwrap_or(Output {
            stdout: item.result,
            ..Output::default()
        });
        let mut files = vec![(name.clone(), output.stdout)];
        if item.outcome != Outcome::Succeeded && !output.stderr.is_empty() {
            files.push((format!("{name}.stderr"), output.stderr));
        }
        for (name, content) in files {
            let path = self.folder.join(name);
            fs::write(&path, content).map_err(|error| {
                Failure::caused(Exit::Failed, format!("cannot write {}", path.display()), &error)
            })?;
        }
        Ok(())
    }

    /// `3_7` for the parameters 3 and 7; with the work's id where that says nothing or is taken.
    fn name(&mut self, work: u64) -> String {
        let row = self
            .first_work
            .and_then(|first| u32::try_from(work.checked_sub(first)?).ok());
        let values = match row.filter(|row| *row < self.parameters.len()) {
            Some(row) => self.parameters.values(row),
            None => Vec::new(),
        };
        let plain = |c: char| {
            if c.is_alphanumeric() || matches!(c, '.' | '-' | '+') {
                c
            } else {
                '_'
            }
        };
        let mut name: String = values.join("_").chars().map(plain).collect();
        if name.starts_with('.') {
            name.insert(0, '_');
        }
        let usable = !name.is_empty() && name.len() <= NAME_BYTES_MAX;
        if !usable {
            name = format!("w{work}");
        } else if self.taken.contains(&name) {
            name = format!("{name}-w{work}");
        }
        self.taken.insert(name.clone());
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire_protocol::ids::{Attempt, WorkId, WorkerId};
    use wire_protocol::outcome::Reason;
    use wire_protocol::sweep::Product;

    fn item(work: u64, outcome: Outcome, result: &[u8]) -> OutcomeItem<'_> {
        OutcomeItem {
            work: WorkId(work),
            outcome,
            reason: Reason::None,
            attempt: Attempt(1),
            exit_code: 0,
            elapsed_us: 5,
            worker: WorkerId(1),
            result,
        }
    }

    fn sweep(texts: &[&str]) -> Parameters {
        Parameters::Sweep(Product::new(texts.iter().map(|text| text.parse().unwrap()).collect()).unwrap())
    }

    #[test]
    fn files_are_named_by_parameters_and_never_taken_twice() {
        let folder = tempfile::tempdir().unwrap();
        let parameters = sweep(&["scene=a/b,a_b,..", "x=1..2"]);
        let mut results = Results::new(folder.path(), &parameters).unwrap();
        results.begin(10);
        let names: Vec<String> = (10..17).map(|work| results.name(work)).collect();
        assert_eq!(
            names,
            [
                "a_b_1",
                "a_b_2",
                "a_b_1-w12",
                "a_b_2-w13",
                "_.._1",
                "_.._2",
                "w16"
            ]
        );
    }

    #[test]
    fn standard_output_is_written_and_the_error_output_of_failures() {
        let folder = tempfile::tempdir().unwrap();
        let parameters = Parameters::None;
        let mut results = Results::new(folder.path(), &parameters).unwrap();
        let mut printed = Vec::new();
        Output {
            stdout: b"out\xff",
            stderr: b"err",
            ..Output::default()
        }
        .encode(&mut printed);
        results.write(&item(1, Outcome::Succeeded, &printed)).unwrap();
        results.write(&item(2, Outcome::Failed, &printed)).unwrap();
        let read = |name: &str| fs::read(folder.path().join(name)).ok();
        assert_eq!(read("w1").as_deref(), Some(&b"out\xff"[..]));
        assert_eq!(read("w1.stderr"), None);
        assert_eq!(read("w2.stderr").as_deref(), Some(&b"err"[..]));
    }

    #[test]
    fn a_summary_accounts_for_every_outcome() {
        let mut summary = Summary {
            works: 10,
            unknown: 1,
            ..Summary::default()
        };
        let outcomes = [
            Outcome::Succeeded,
            Outcome::Succeeded,
            Outcome::Failed,
            Outcome::Cancelled,
            Outcome::Expired,
        ];
        outcomes.into_iter().for_each(|outcome| summary.count(outcome));
        assert_eq!((summary.done(), summary.unsuccessful()), (6, 3));
        let bar = Bar::new(10, true);
        bar.show(&summary);
        assert_eq!(bar.0.position(), 6);
        assert_eq!(bar.0.message(), "3 not succeeded");
    }
}
