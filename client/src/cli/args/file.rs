//! What is said of files.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::quantity;
use wire_protocol::units::Bytes;

#[derive(Args, Debug)]
pub(crate) struct File {
    /// Where files are served [default: that of --data, else https://HOST:443 of the engine's host]
    #[arg(
        long,
        global = true,
        env = "POOL_FILES_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) files_url: Option<String>,
    #[command(subcommand)]
    pub(crate) verb: FileVerb,
}

#[derive(Subcommand, Debug)]
pub(crate) enum FileVerb {
    /// Upload a file of this machine
    #[command(after_help = "\
What is cut goes on where it was, by itself until nothing has moved for ten minutes; after that, or
in another process, with --resume. Content that one of your files has already is not sent again.

Examples:
  pool file put model.bin
  pool file put out/model.bin --name models/v2/model.bin
  pool file put model.bin --resume
")]
    Put {
        /// The file
        path: PathBuf,
        /// What it will be called [default: its name here]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Go on with an upload of this file under this name that this program began and did not end
        #[arg(long)]
        resume: bool,
    },
    /// Download a file
    #[command(after_help = "\
It is written beside its place, as PATH.part, and moved there when all of it has come and its hash
is right.

Examples:
  pool file get models/v2/model.bin
  pool file get works/17/1/output.tar --to results.tar
  pool file get sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --to x.bin
  pool file get models/v2/model.bin --resume
")]
    Get {
        /// Its name, or sha256:… of its content
        source: String,
        /// Where to [default: the last part of its name, in this folder]
        #[arg(long, value_name = "PATH")]
        to: Option<PathBuf>,
        /// Go on with what an earlier download has left in PATH.part
        #[arg(long)]
        resume: bool,
        /// Take no more than this
        #[arg(long, value_name = "SIZE", value_parser = quantity::bytes)]
        max: Option<Bytes>,
    },
    /// List files, by name
    #[command(after_help = "\
Examples:
  pool file list
  pool file list works/17/
  pool file list --all -o jsonl
")]
    List {
        /// What names begin with
        #[arg(default_value = "")]
        prefix: String,
        /// Begin behind this name
        #[arg(long, value_name = "NAME")]
        after: Option<String>,
        /// Files in the list
        #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// All of them
        #[arg(long, conflicts_with = "limit")]
        all: bool,
        /// Whose files; an administrator may look at those of others
        #[arg(long, value_name = "LOGIN")]
        owner: Option<String>,
    },
    /// Remove files
    #[command(after_help = "\
Examples:
  pool file remove models/v1/model.bin
  pool file remove a b c
")]
    Remove {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// Whose files; an administrator may remove those of others
        #[arg(long, value_name = "LOGIN")]
        owner: Option<String>,
    },
    /// Hash everything in a file store again and compare; on its machine, beside pool-gateway or without
    #[command(after_help = "\
It changes nothing. Damaged is content whose hash is another one, missing a file whose content is not
there; both are cured by uploading the file again. Unreferenced content is removed by pool-gateway when it
starts next.

Exit code 0: every file is there as it was stored; 1: some are damaged or missing.

Examples:
  pool file verify
  pool file verify /srv/files -o json
")]
    Verify {
        /// The store's folder [default: engine/files in --data]
        folder: Option<PathBuf>,
        /// Problems that are printed; all are counted
        #[arg(long, value_name = "N", default_value_t = 20)]
        show: usize,
    },
}
