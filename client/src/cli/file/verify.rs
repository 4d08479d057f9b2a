//! `pool file verify`: a store's folder, hashed again.

use std::io::{self, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::{Value, json};
use sidecars_files::{Backend, Reference, Report};
use wire_protocol::units::Bytes;

use crate::cli::exit::{Exit, Failure};
use crate::cli::output::{Output, Show, fields};

struct Verified {
    report: Report,
    show: usize,
}

impl Show for Verified {
    const KIND: &'static str = "file-verify";
    type Json<'a> = Value;
    const COLUMNS: &'static [&'static str] = &["files", "contents", "damaged", "missing"];

    fn json(&self) -> Value {
        let report = &self.report;
        let files = |files: &[Reference]| {
            let named = files.iter().take(self.show);
            named
                .map(|file| json!({ "owner": file.owner, "name": file.name }))
                .collect::<Vec<_>>()
        };
        let damaged = report.damaged.iter().take(self.show).map(|damaged| {
            json!({
                "sha256": damaged.digest.hex(),
                "problem": damaged.problem,
                "files": files(&damaged.files),
            })
        });
        json!({
            "sound": report.is_sound(),
            "files": report.files,
            "contents": report.contents,
            "bytes": report.bytes,
            "damaged_count": report.damaged.len(),
            "damaged": damaged.collect::<Vec<_>>(),
            "missing_count": report.missing.len(),
            "missing": files(&report.missing),
            "unreferenced_count": report.unreferenced.len(),
            "unreferenced_bytes": report.unreferenced.iter().map(|(_, bytes)| bytes).sum::<u64>(),
            "strange": report.strange.iter().take(self.show).collect::<Vec<_>>(),
        })
    }

    fn cells(&self) -> Vec<String> {
        let report = &self.report;
        let counts = [
            report.files,
            report.contents,
            report.damaged.len() as u64,
            report.missing.len() as u64,
        ];
        counts.map(|count| count.to_string()).to_vec()
    }

    fn text(&self) -> String {
        let report = &self.report;
        let lines = |count: usize, lines: Vec<String>| match count {
            0 => String::new(),
            count => format!("{count}\n{}", lines.join("\n")),
        };
        let named = |file: &Reference| format!("{} of {}", file.name, file.owner);
        let damaged = report.damaged.iter().take(self.show).map(|damaged| {
            let files: Vec<String> = damaged.files.iter().map(named).collect();
            format!("{}: {}; {}", damaged.digest, damaged.problem, files.join(", "))
        });
        let missing = report.missing.iter().take(self.show).map(named);
        let unreferenced: u64 = report.unreferenced.iter().map(|(_, bytes)| bytes).sum();
        fields(&[
            ("files", report.files.to_string()),
            (
                "contents",
                format!("{}, {}", report.contents, Bytes(report.bytes)),
            ),
            ("damaged", lines(report.damaged.len(), damaged.collect())),
            ("missing", lines(report.missing.len(), missing.collect())),
            (
                "unreferenced",
                match report.unreferenced.len() {
                    0 => String::new(),
                    count => format!(
                        "{count}, {}; pool-gateway removes them when it starts",
                        Bytes(unreferenced)
                    ),
                },
            ),
            (
                "no part of it",
                lines(
                    report.strange.len(),
                    report.strange.iter().take(self.show).cloned().collect(),
                ),
            ),
            ("sound", if report.is_sound() { "yes" } else { "no" }.to_owned()),
        ])
    }
}

pub(super) async fn verify(folder: &Path, show: usize, output: &Output) -> Result<Exit, Failure> {
    if !folder.join("uploads").is_dir() {
        let missing = Failure::new(Exit::NotFound, format!("{} is no file store", folder.display()));
        return Err(missing.cure("give the folder that pool-gateway has (POOL_FILES)"));
    }
    let target = if io::stderr().is_terminal() {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(None, target);
    let mut progress = |progress: sidecars_files::Progress| {
        bar.set_length(progress.bytes_total);
        bar.set_position(progress.bytes);
    };
    let verified = sidecars_files::verify(&Backend::folder(folder), &mut progress).await;
    bar.finish_and_clear();
    let report = verified.map_err(|error| {
        Failure::caused(Exit::Failed, format!("cannot read {}", folder.display()), &error)
    })?;
    let exit = if report.is_sound() { Exit::Ok } else { Exit::Failed };
    output.one(&Verified { report, show })?;
    Ok(exit)
}
