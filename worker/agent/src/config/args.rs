//! The command line: what an operator may say, and the variable for each.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};
use daemon::log::LogConfig;
use wire_link::Fingerprint;
use wire_protocol::limits::LEASES_PER_WORKER_MAX;
use wire_protocol::resources::Packing;

use super::chain::ChainArgs;
use super::disk::DiskArgs;
use super::docker::DockerArgs;
use crate::executor::SandboxMode;
use crate::files::Fetch;

const AFTER_HELP: &str = "\
Examples:
  A worker on the engine's own machine that may run any installed python3 script:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --allow python3
  A worker elsewhere, by the fingerprint that the engine prints at its start:
    pool-worker --engine pool.example.org --fingerprint sha256:… --password-file worker.secret \\
      --allow /opt/render/bin/render --tags render,fast
  One that enrols for a certificate, by a token of `pool worker token create`:
    pool-worker --ca data/certs/ca.pem --enrol-token-file token --allow python3
  One that shares its cores and memory among works as they ask for them, and has two licences of a program:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --allow simulate --packing resources \
      --custom licence=2
  One that runs containers of two images, and nothing else:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --docker-allow python:3.13,ghcr.io/org/*
  One that contributes its results to the orders of a pool on a chain, and reveals them:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --docker-allow python:3.13 \
      --wallet wallet.json --wallet-password-file secrets/wallet --node http://localhost:8545 \
      --rlc 0x… --hub 0x… --pool 0x…

SIGTERM or SIGINT drains: no further work, finish what runs, wait until the results are recorded, leave. After
--drain-deadline what still runs is stopped and given back.
A second signal stops at once, with its works; the engine gives them to other workers.

Variables of XtremWeb-HEP's workers mean what they meant: SCHEDULER_DOMAIN, SCHEDULER_IP, LOGIN, PASSWORD, LOGGERLEVEL,
WALLETPATH, WALLETPASSWORD, ETHNODE, BLOCKCHAINETHENABLED, and SHAREDAPPS=docker, which allows all images unless
POOL_DOCKER_ALLOW says which.

Exit codes:
  0  drained
  1  failed, stopped by a second signal, or the deadline of the drain passed without an engine to report to
  2  wrong usage
  3  the configuration cannot be used, or the engine does not accept it
  4  the engine refuses the login, the token or the certificate";

/// A path that may be empty, as that of a variable that compose passes and nobody set; clap's own may not.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Runs works for a pool.
#[derive(Parser, Debug)]
#[command(name = "pool-worker", version, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) verb: Option<Verb>,

    /// Where the engine listens for workers: host or host:port (UDP; default port 4321) [default:
    /// SCHEDULER_IP, else SCHEDULER_DOMAIN, else 127.0.0.1]
    #[arg(long, value_name = "HOST[:PORT]", env = "POOL_ENGINE")]
    pub(super) engine: Option<String>,

    /// The name in the engine's certificate [default: the host in --engine]
    #[arg(long, value_name = "NAME", env = "SCHEDULER_DOMAIN")]
    pub(super) server_name: Option<String>,

    /// PEM file of the CA that the engine's certificate is under
    #[arg(long, value_name = "FILE", env = "POOL_CA")]
    pub(super) ca: Option<PathBuf>,

    /// The engine's certificate by its SHA-256, instead of a CA
    #[arg(
        long,
        value_name = "sha256:HEX",
        env = "POOL_FINGERPRINT",
        conflicts_with = "ca"
    )]
    pub(super) fingerprint: Option<Fingerprint>,

    /// Account of the pool for workers [default: LOGIN, else vworker]
    #[arg(long, env = "WORKERLOGIN")]
    pub(super) login: Option<String>,

    /// Its password; a file is safer, because other users see arguments
    #[arg(long, env = "WORKERPASSWORD", hide_env_values = true)]
    pub(super) password: Option<String>,

    /// File with the password, without its last line feed
    #[arg(long, value_name = "FILE", env = "WORKERPASSWORD_FILE", value_parser = path())]
    pub(super) password_file: Option<PathBuf>,

    /// Token of the pool's operator for which this worker gets a certificate, and then needs neither it nor a password;
    /// a file is safer, because other users see arguments
    #[arg(long, value_name = "TOKEN", env = "POOL_ENROL_TOKEN", hide_env_values = true)]
    pub(super) enrol_token: Option<String>,

    /// File with the token; it may be removed once the worker has its certificate
    #[arg(long, value_name = "FILE", env = "POOL_ENROL_TOKEN_FILE", value_parser = path())]
    pub(super) enrol_token_file: Option<PathBuf>,

    /// Keystore (version 3) of the wallet that this worker works for; it proves on every connection that it has the key
    #[arg(long, value_name = "FILE", env = "WALLETPATH", value_parser = path())]
    pub(super) wallet: Option<PathBuf>,

    /// Password of the keystore; a file is safer, because other users see arguments
    #[arg(long, value_name = "PASSWORD", env = "WALLETPASSWORD", hide_env_values = true)]
    pub(super) wallet_password: Option<String>,

    /// File with the password of the keystore, without its last line feed
    #[arg(long, value_name = "FILE", env = "WALLETPASSWORD_FILE", value_parser = path())]
    pub(super) wallet_password_file: Option<PathBuf>,

    /// Identity in the pool, unique there [default: made once and kept in the folder]
    #[arg(long, env = "WORKERUID")]
    pub(super) uid: Option<String>,

    /// Name for people [default: the host's name]
    #[arg(long, env = "POOL_WORKER_NAME")]
    pub(super) name: Option<String>,

    /// What decides how many works run at once: `slots`, one work each whatever it asks for, or `resources`: cores, memory
    /// and disk, which works share as they ask for them (a work that names no cores takes one; one that asks for no memory
    /// or disk takes its limit, if it has one)
    #[arg(long, value_name = "HOW", env = "POOL_PACKING", default_value = "slots")]
    pub(super) packing: PackingArg,

    /// Works that run at once; with --packing resources: at most [default: the processor's cores, with --packing
    /// resources four times as many]
    #[arg(long, env = "POOL_WORKER_SLOTS", value_parser = clap::value_parser!(u32).range(1..=LEASES_PER_WORKER_MAX as i64))]
    pub(super) slots: Option<u32>,

    /// Works that wait here for a free slot, so that none waits for the network; more for very short
    /// works [default: twice the slots, at most 256; with --packing resources 0, as nothing is counted twice]
    #[arg(long, env = "POOL_WORKER_PREFILL", value_parser = clap::value_parser!(u32).range(0..=LEASES_PER_WORKER_MAX as i64))]
    pub(super) prefill: Option<u32>,

    /// GPUs that works may have, by what their driver calls them (`nvidia-smi -L`: number or UUID); each
    /// is one work's at a time. Containers need the NVIDIA Container Toolkit
    #[arg(long, value_name = "GPU,…", env = "POOL_WORKER_GPUS", value_delimiter = ',')]
    pub(super) gpus: Vec<String>,

    /// Other resources that works may ask for, and how much there is of each: no more works run at once than it is enough
    /// for
    #[arg(
        long,
        value_name = "NAME=N,…",
        env = "POOL_WORKER_CUSTOM",
        value_delimiter = ','
    )]
    pub(super) custom: Vec<String>,

    /// Tags that works may ask for
    #[arg(long, value_name = "TAG,…", env = "POOL_WORKER_TAGS", value_delimiter = ',')]
    pub(super) tags: Vec<String>,

    /// Groups that this worker belongs to
    #[arg(
        long,
        value_name = "GROUP,…",
        env = "POOL_WORKER_GROUPS",
        value_delimiter = ','
    )]
    pub(super) groups: Vec<String>,

    /// Commands that works may run: absolute paths, or names as PATH finds them at the start; `*`
    /// allows all. Without it no commands run here
    #[arg(
        long,
        value_name = "COMMAND,…",
        env = "POOL_PROCESS_ALLOW",
        value_delimiter = ','
    )]
    pub(super) allow: Vec<String>,

    /// Whether commands are kept from files that are none of their business, by Landlock: they read the
    /// system's programs and settings and their program's own folder, and write to their work's folder; and from system
    /// calls that attack a machine, and the network, by seccomp
    #[arg(long, value_name = "HOW", env = "POOL_PROCESS_SANDBOX", default_value = "on")]
    pub(super) process_sandbox: SandboxMode,

    /// More files and folders that commands may read
    #[arg(
        long,
        value_name = "PATH,…",
        env = "POOL_PROCESS_READ",
        value_delimiter = ',',
        value_parser = path()
    )]
    pub(super) process_read: Vec<PathBuf>,

    /// More files and folders that commands may read and write
    #[arg(
        long,
        value_name = "PATH,…",
        env = "POOL_PROCESS_WRITE",
        value_delimiter = ',',
        value_parser = path()
    )]
    pub(super) process_write: Vec<PathBuf>,

    /// Those of the allowed commands that have a network, with all that they start; the others have none. `*`: all
    #[arg(
        long,
        value_name = "COMMAND,…",
        env = "POOL_PROCESS_NETWORK",
        value_delimiter = ','
    )]
    pub(super) process_network: Vec<String>,

    /// Folder for the worker's identity and its works' files; one worker per folder
    #[arg(
        long,
        value_name = "FOLDER",
        env = "POOL_WORKER_FOLDER",
        default_value = "./data/worker"
    )]
    pub(super) folder: PathBuf,

    /// Folder below which works run, as `TMPDIR` if that is set; one that is in memory makes short works faster. It
    /// may be shared with other accounts: works run in a folder there that is this account's alone [default: in the
    /// worker's folder]
    #[arg(long, value_name = "FOLDER", env = "POOL_WORKS_FOLDER", value_parser = path())]
    pub(super) works: Option<PathBuf>,

    /// Mebibytes of fetched files that are kept for works to come; also the longest that is fetched
    #[arg(long, value_name = "MIB", env = "POOL_CACHE_MIB", default_value_t = 10_240)]
    pub(super) cache_mib: u64,

    /// Whether works may have files of the web (http and https URLs): none, from hosts that anybody can reach, or also
    /// from this machine's own network
    #[arg(long, value_name = "FROM", env = "POOL_FETCH", default_value = "public")]
    pub(super) fetch: Fetch,

    /// How long a drain (SIGTERM) may take, like 90s, 10m or 1h30m: what still runs then is stopped and given back,
    /// which uses up none of its attempts [default: for as long as it takes]
    #[arg(long, value_name = "TIME", env = "POOL_DRAIN_DEADLINE")]
    pub(super) drain_deadline: Option<String>,

    #[command(flatten)]
    pub(super) docker: DockerArgs,

    #[command(flatten)]
    pub(super) disk: DiskArgs,

    #[command(flatten)]
    pub(super) chain: ChainArgs,

    #[command(flatten)]
    pub(super) log: LogConfig,
}

/// As [`Packing`], on a command line.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PackingArg {
    /// One slot a work.
    Slots,
    /// Cores, memory and disk as works ask for them.
    Resources,
}

impl From<PackingArg> for Packing {
    fn from(packing: PackingArg) -> Self {
        match packing {
            PackingArg::Slots => Self::Slots,
            PackingArg::Resources => Self::Resources,
        }
    }
}

/// What to do instead of running works.
#[derive(Subcommand, Debug)]
pub(super) enum Verb {
    /// Look at what this worker needs (engine, certificate, folder, clock, Docker), and say what is wrong
    /// and the cure. Options go before it. Exit code 0: sound, 1: something is broken
    Doctor {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what the worker of --folder is doing, from a file there: works, disks, why it takes none, last errors.
    /// It talks to nothing. --folder goes before it. Exit code 0: it runs, 1: no worker runs there
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}
