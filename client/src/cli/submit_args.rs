//! The options of `pool work submit`, and the template that they make.

use std::path::PathBuf;

use clap::Args;
use ring::digest::{SHA256, digest};
use wire_protocol::client_link::IdempotencyKey;
use wire_protocol::joining::Address;
use wire_protocol::limits::ROW_BYTES_MAX;
use wire_protocol::sweep::{Product, Sweep};
use wire_protocol::template::{
    Input, InputFile, Limits, Outputs, Priority, Requirements, Retry, WorkTemplate,
};
use wire_protocol::units::{Bytes, Millis};

use super::exit::{Exit, Failure};
use super::quantity;
use super::rows::{FileFormat, Parameters};

/// Submit works: one, or one per row of parameters.
///
/// `{name}` in the command, its arguments and the values of --env stands for the row's value of the parameter
/// `name`. Works are accepted durably before the command returns; with --wait it stays until all are done.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  pool work submit -- echo hello
  pool work submit --sweep 'tile=0..1023' --wait -- render {tile}
  pool work submit --sweep 'y=0..7' --sweep 'x=0..7' --results out -- render {x} {y}
  pool work submit --sweep 'angle=0..90:15' --sweep 'scene=dawn,dusk' --label nightly -- render {scene} {angle}
  pool work submit --from frames.csv --wall-clock 5m --memory 2GiB --attempts 5 -- convert {source} {target}
  printf 'n\\n1\\n2\\n' | pool work submit --from - --format csv --wait -- factor {n}
  pool work submit --input scene.txt --sweep 'frame=1..24' --env FRAME={frame} -- sh -c 'render --frame $FRAME'
  pool work submit --app null --sweep 'n=1..100000' --wait --quiet
  pool work submit --sweep 'n=1..9' --file scene=scenes/{n}.bin --keep frame.png -- render scene frame.png
  pool work submit --category M --custom licence=1 --from cases.csv -- simulate {case}
  pool work submit --key nightly-2026-11-23 --from frames.jsonl --tag ssd --gpus 1 -- render {scene} {frame}
")]
pub(crate) struct Submit {
    /// What runs the works: an executor, and what it needs to know behind a colon
    #[arg(long, value_name = "APP", default_value = "process")]
    pub(crate) app: String,
    /// A parameter and its values: NAME=0..1023 (both ends included), NAME=0..90:15 (steps), NAME=a,b,c; several
    /// make all combinations, the last changing fastest
    #[arg(long, value_name = "NAME=VALUES", help_heading = "Parameters")]
    pub(crate) sweep: Vec<Sweep>,
    /// File with a row of parameters per work, .csv or .jsonl; `-` is standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "sweep",
        help_heading = "Parameters"
    )]
    pub(crate) from: Option<PathBuf>,
    /// Format of --from [default: by the name of the file]
    #[arg(long, value_enum, requires = "from", help_heading = "Parameters")]
    pub(crate) format: Option<FileFormat>,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
    /// Environment variable of the command
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,
    /// File that every work reads from its standard input, at most 64 KiB
    #[arg(long, value_name = "FILE", conflicts_with_all = ["stdin_row", "stdin_file"])]
    pub(crate) input: Option<PathBuf>,
    /// Every work reads its own row from its standard input
    #[arg(long, conflicts_with = "stdin_file")]
    pub(crate) stdin_row: bool,

    /// File of the pool or the web that every work reads from its standard input; `{name}` stands for the row's value
    #[arg(long, value_name = "SOURCE", help_heading = "Files")]
    pub(crate) stdin_file: Option<String>,
    /// File that every work finds at this path of its folder: a name in the pool's file store (`pool file put`),
    /// sha256:…, or a URL, which may end in #sha256=…; `{name}` stands for the row's value; may be given several times
    #[arg(long, value_name = "PATH=SOURCE", value_parser = pair, help_heading = "Files")]
    pub(crate) file: Vec<(String, String)>,
    /// The same, of a tar archive that is unpacked into this folder; `.` is the work's own
    #[arg(long, value_name = "PATH=SOURCE", value_parser = pair, help_heading = "Files")]
    pub(crate) unpack: Vec<(String, String)>,
    /// Files of its folder that are kept when a work has succeeded, as one archive: a path, or a pattern with `*`, `?`
    /// and `**`; may be given several times
    #[arg(long, value_name = "PATTERN", help_heading = "Files")]
    pub(crate) keep: Vec<String>,
    /// File whose content counts when results of replicas are compared [default: the whole archive]
    #[arg(long, value_name = "PATH", help_heading = "Files")]
    pub(crate) consensus: Option<String>,
    /// What a work's folder may hold
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Files")]
    pub(crate) disk_limit: Option<Bytes>,
    /// What the archive of its outputs may hold
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Files")]
    pub(crate) output_limit: Option<Bytes>,

    /// Operating system (linux)
    #[arg(long, value_name = "NAME", help_heading = "Workers that may run it")]
    pub(crate) os: Option<String>,
    /// Processor architecture (x86_64, aarch64)
    #[arg(long, value_name = "NAME", help_heading = "Workers that may run it")]
    pub(crate) arch: Option<String>,
    /// Processor cores, at least; on workers that pack a work takes them while it runs
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Workers that may run it"
    )]
    pub(crate) cores: u32,
    /// Memory, at least (2GiB); on workers that pack a work takes it while it runs
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Workers that may run it")]
    pub(crate) memory: Option<Bytes>,
    /// Free disk space, at least (20GiB)
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Workers that may run it")]
    pub(crate) disk: Option<Bytes>,
    /// Graphics processors, which a work has to itself while it runs
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        hide_default_value = true,
        help_heading = "Workers that may run it"
    )]
    pub(crate) gpus: u32,
    /// Tag that the worker carries; may be given several times
    #[arg(long, value_name = "TAG", help_heading = "Workers that may run it")]
    pub(crate) tag: Vec<String>,
    /// Group that the worker belongs to
    #[arg(long, value_name = "GROUP", help_heading = "Workers that may run it")]
    pub(crate) group: Option<String>,
    /// Another resource that workers count, of which a work takes this much while it runs; may be given several times
    #[arg(long, value_name = "NAME=N", value_parser = resource, help_heading = "Workers that may run it")]
    pub(crate) custom: Vec<(String, u64)>,
    /// The worker that has proved to hold this Ethereum wallet, and no other (0x…)
    #[arg(long, value_name = "ADDRESS", help_heading = "Workers that may run it")]
    pub(crate) wallet: Option<Address>,

    /// 0 (last) to 9 (first)
    #[arg(long, value_name = "0-9", default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=9), help_heading = "Service")]
    pub(crate) priority: u8,
    /// Free text to find the works by
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true,
        help_heading = "Service"
    )]
    pub(crate) label: String,
    /// Attempts in all before a work fails
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000), help_heading = "Service")]
    pub(crate) attempts: u16,
    /// Wait before the second attempt; each further one waits twice as long
    #[arg(long, value_name = "TIME", default_value = "200ms", value_parser = quantity::millis, help_heading = "Service")]
    pub(crate) backoff: Millis,
    /// How large the works may be, by a name of `pool category list`: its ceilings are the limits that are not given, and
    /// none may be above them
    #[arg(long, value_name = "NAME", help_heading = "Service")]
    pub(crate) category: Option<String>,
    /// Time that an attempt may run, then it is killed [default: 5m, with --category its ceiling]
    #[arg(long, value_name = "TIME", value_parser = quantity::millis, help_heading = "Service")]
    pub(crate) wall_clock: Option<Millis>,
    /// Memory that each process of a work may use
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Service")]
    pub(crate) memory_limit: Option<Bytes>,
    /// Works that are not done after this time expire
    #[arg(long, value_name = "TIME", value_parser = quantity::millis, help_heading = "Service")]
    pub(crate) time_to_live: Option<Millis>,
    /// Name of this submission: repeated with the same key, it is not taken a second time
    #[arg(long, value_name = "TEXT", help_heading = "Service")]
    pub(crate) key: Option<String>,

    /// Wait until all works are done; exit code 0: all succeeded, 1: some did not
    #[arg(long, help_heading = "Results")]
    pub(crate) wait: bool,
    /// Wait, and write what each work prints to a file in this folder, named by its parameters
    #[arg(long, value_name = "DIR", help_heading = "Results")]
    pub(crate) results: Option<PathBuf>,
    /// Print only the bag (with --wait: nothing), and no progress
    #[arg(short, long, help_heading = "Results")]
    pub(crate) quiet: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(format!("`{text}` is no NAME=VALUE")),
    }
}

fn resource(text: &str) -> Result<(String, u64), String> {
    let (name, amount) = pair(text)?;
    let amount = amount
        .parse()
        .map_err(|_| format!("`{amount}` is no whole number; write {name}=1"))?;
    Ok((name, amount))
}

impl Submit {
    /// The rows of parameters.
    pub(crate) fn parameters(&self) -> Result<Parameters, Failure> {
        match &self.from {
            Some(path) => Parameters::from_file(path, self.format),
            None if self.sweep.is_empty() => Ok(Parameters::None),
            None => Product::new(self.sweep.clone())
                .map(Parameters::Sweep)
                .map_err(Failure::usage),
        }
    }

    /// What all works have in common.
    pub(crate) fn template(&self, columns: Vec<String>) -> Result<WorkTemplate, Failure> {
        let retry = Retry::default();
        let template = WorkTemplate {
            app: self.app.clone(),
            command: self.command.clone(),
            env: self.env.clone(),
            input: self.input()?,
            files: self.files(),
            outputs: Outputs {
                collect: self.keep.clone(),
                consensus: self.consensus.clone(),
            },
            columns,
            requirements: Requirements {
                os: self.os.clone(),
                arch: self.arch.clone(),
                cores: self.cores,
                memory: self.memory.unwrap_or_default(),
                disk: self.disk.unwrap_or_default(),
                gpus: self.gpus,
                tags: self.tag.clone(),
                group: self.group.clone(),
                custom: self.custom.clone(),
                wallet: self.wallet,
            },
            priority: Priority(self.priority),
            limits: Limits {
                wall_clock: self.wall_clock.unwrap_or(match self.category {
                    // The engine knows its ceiling.
                    Some(_) => Millis(0),
                    None => Limits::default().wall_clock,
                }),
                memory: self.memory_limit.unwrap_or_default(),
                disk: self.disk_limit.unwrap_or_default(),
                files: self.output_limit.unwrap_or_default(),
                ..Limits::default()
            },
            retry: Retry {
                attempts_max: self.attempts,
                backoff_min: self.backoff,
                backoff_max: retry.backoff_max.max(self.backoff),
            },
            time_to_live: self.time_to_live,
            label: self.label.clone(),
            category: self.category.clone(),
            ticket: Vec::new(),
        };
        template.validate().map_err(|invalid| {
            let failure = Failure::usage(invalid.to_string());
            if invalid.field == "command" && self.command.is_empty() {
                return failure.cure("write the command behind `--`, as in: pool work submit -- echo hello");
            }
            failure
        })?;
        Ok(template)
    }

    fn files(&self) -> Vec<InputFile> {
        let file = |(path, source): &(String, String), unpack| InputFile {
            path: path.clone(),
            source: source.clone(),
            unpack,
        };
        let whole = self.file.iter().map(|given| file(given, false));
        whole
            .chain(self.unpack.iter().map(|given| file(given, true)))
            .collect()
    }

    fn input(&self) -> Result<Input, Failure> {
        if let Some(source) = &self.stdin_file {
            return Ok(Input::File(source.clone()));
        }
        let Some(path) = &self.input else {
            return Ok(if self.stdin_row { Input::Row } else { Input::None });
        };
        let content = std::fs::read(path).map_err(|error| {
            Failure::caused(
                Exit::Config,
                format!("cannot read --input {}", path.display()),
                &error,
            )
        })?;
        if content.len() > ROW_BYTES_MAX {
            let message = format!(
                "--input {} is {} bytes long; at most {ROW_BYTES_MAX} are sent with a work",
                path.display(),
                content.len()
            );
            return Err(Failure::usage(message));
        }
        Ok(Input::Inline(content))
    }

    /// The key by which the engine recognises a repetition.
    pub(crate) fn idempotency_key(&self) -> Option<IdempotencyKey> {
        let key = self.key.as_ref()?;
        let hash = digest(&SHA256, key.as_bytes());
        Some(*hash.as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::args::{Cli, Command, Work};
    use super::*;
    use clap::Parser;

    fn submit(words: &[&str]) -> Submit {
        let words = ["pool", "work", "submit"].iter().chain(words);
        match Cli::try_parse_from(words).unwrap().command {
            Command::Work(Work::Submit(submit)) => *submit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_become_the_fields_of_the_template() {
        let submit = submit(&[
            "--sweep",
            "x=1..3",
            "--env",
            "A=b=c",
            "--os",
            "linux",
            "--cores",
            "4",
            "--memory",
            "2GiB",
            "--disk",
            "1GiB",
            "--gpus",
            "1",
            "--tag",
            "ssd",
            "--tag",
            "fast",
            "--group",
            "g",
            "--custom",
            "fpga=2",
            "--wallet",
            "0x00000000000000000000000000000000000000A7",
            "--priority",
            "7",
            "--category",
            "L",
            "--label",
            "night",
            "--attempts",
            "5",
            "--backoff",
            "2m",
            "--wall-clock",
            "1h",
            "--memory-limit",
            "1GiB",
            "--time-to-live",
            "2h",
            "--stdin-file",
            "in/{x}",
            "--file",
            "scene=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "--unpack",
            ".=https://example.org/assets-{x}.tar",
            "--keep",
            "out/**",
            "--consensus",
            "out/sum",
            "--disk-limit",
            "1GiB",
            "--output-limit",
            "100MiB",
            "--",
            "cmd",
            "{x}",
            "--flag",
        ]);
        let columns = submit.parameters().unwrap().columns();
        insta::assert_debug_snapshot!(submit.template(columns).unwrap());
    }

    #[test]
    fn the_same_key_text_is_the_same_key() {
        let key = |text| submit(&["--key", text, "--", "true"]).idempotency_key().unwrap();
        assert_eq!(key("nightly"), key("nightly"));
        assert_ne!(key("nightly"), key("daily"));
        assert_eq!(submit(&["--", "true"]).idempotency_key(), None);
    }

    #[test]
    fn a_missing_command_says_where_to_write_it() {
        let failure = submit(&[]).template(Vec::new()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains("behind `--`"), "{failure}");
        assert!(
            submit(&["--app", "null"]).template(Vec::new()).is_ok(),
            "null needs none"
        );
    }
}
