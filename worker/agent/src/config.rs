//! From flags and environment to an [`AgentConfig`], once, at the start.

mod docker;
mod seeds;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Parser;
use daemon::log::LogConfig;
use wire_link::{Fingerprint, Trust};
use wire_protocol::limits::LEASES_PER_WORKER_MAX;
use worker_core::{Exit, Settings};

use crate::executor::{Allow, Executor, Folder, NoFiles, Process, ProcessConfig, Sleep};
use crate::wire::chain;
use crate::{AgentConfig, AgentError, resources};
use docker::DockerArgs;
use seeds::Seeds;

/// Port of the engine for workers.
const PORT: u16 = 4321;

/// Prefilled works by default are twice the slots, but no more than this.
const PREFILL_DEFAULT_MAX: u32 = 256;

const AFTER_HELP: &str = "\
Examples:
  A worker on the engine's own machine that may run any installed python3 script:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --allow python3
  A worker elsewhere, by the fingerprint that the engine prints at its start:
    pool-worker --engine pool.example.org --fingerprint sha256:… --password-file worker.secret \\
      --allow /opt/render/bin/render --tags render,fast
  One that runs containers of two images, and nothing else:
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --docker-allow python:3.13,ghcr.io/org/*

SIGTERM or SIGINT drains: no further work, finish what runs, wait until the results are recorded, leave.
A second signal stops at once, with its works; the engine gives them to other workers.

Variables of XtremWeb-HEP's workers mean what they meant: SCHEDULER_DOMAIN, SCHEDULER_IP, LOGIN, PASSWORD, LOGGERLEVEL,
and SHAREDAPPS=docker, which allows all images unless POOL_DOCKER_ALLOW says which.

Exit codes:
  0  drained
  1  failed, or stopped by a second signal
  2  wrong usage
  3  the configuration cannot be used, or the engine does not accept it
  4  the engine refuses the login";

/// Runs works for a pool.
#[derive(Parser, Debug)]
#[command(name = "pool-worker", version, after_help = AFTER_HELP)]
struct Cli {
    /// Where the engine listens for workers: host or host:port (UDP; default port 4321) [default:
    /// SCHEDULER_IP, else SCHEDULER_DOMAIN, else 127.0.0.1]
    #[arg(long, value_name = "HOST[:PORT]", env = "POOL_ENGINE")]
    engine: Option<String>,

    /// The name in the engine's certificate [default: the host in --engine]
    #[arg(long, value_name = "NAME", env = "SCHEDULER_DOMAIN")]
    server_name: Option<String>,

    /// PEM file of the CA that the engine's certificate is under
    #[arg(long, value_name = "FILE", env = "POOL_CA")]
    ca: Option<PathBuf>,

    /// The engine's certificate by its SHA-256, instead of a CA
    #[arg(
        long,
        value_name = "sha256:HEX",
        env = "POOL_FINGERPRINT",
        conflicts_with = "ca"
    )]
    fingerprint: Option<Fingerprint>,

    /// Account of the pool for workers [default: LOGIN, else vworker]
    #[arg(long, env = "WORKERLOGIN")]
    login: Option<String>,

    /// Its password; a file is safer, because other users see arguments
    #[arg(
        long,
        env = "WORKERPASSWORD",
        hide_env_values = true,
        conflicts_with = "password_file"
    )]
    password: Option<String>,

    /// File with the password, without its last line feed
    #[arg(long, value_name = "FILE", env = "WORKERPASSWORD_FILE")]
    password_file: Option<PathBuf>,

    /// Identity in the pool, unique there [default: made once and kept in the folder]
    #[arg(long, env = "WORKERUID")]
    uid: Option<String>,

    /// Name for people [default: the host's name]
    #[arg(long, env = "POOL_WORKER_NAME")]
    name: Option<String>,

    /// Works that run at once [default: the processor's cores]
    #[arg(long, env = "POOL_WORKER_SLOTS", value_parser = clap::value_parser!(u32).range(1..=LEASES_PER_WORKER_MAX as i64))]
    slots: Option<u32>,

    /// Works that wait here for a free slot, so that none waits for the network; more for very short
    /// works [default: twice the slots, at most 256]
    #[arg(long, env = "POOL_WORKER_PREFILL", value_parser = clap::value_parser!(u32).range(0..=LEASES_PER_WORKER_MAX as i64))]
    prefill: Option<u32>,

    /// Tags that works may ask for
    #[arg(long, value_name = "TAG,…", env = "POOL_WORKER_TAGS", value_delimiter = ',')]
    tags: Vec<String>,

    /// Groups that this worker belongs to
    #[arg(
        long,
        value_name = "GROUP,…",
        env = "POOL_WORKER_GROUPS",
        value_delimiter = ','
    )]
    groups: Vec<String>,

    /// Commands that works may run: absolute paths, or names as PATH finds them at the start; `*`
    /// allows all. Without it no commands run here
    #[arg(
        long,
        value_name = "COMMAND,…",
        env = "POOL_PROCESS_ALLOW",
        value_delimiter = ','
    )]
    allow: Vec<String>,

    /// Folder for the worker's identity and its works' files; one worker per folder
    #[arg(
        long,
        value_name = "FOLDER",
        env = "POOL_WORKER_FOLDER",
        default_value = "./data/worker"
    )]
    folder: PathBuf,

    #[command(flatten)]
    docker: DockerArgs,

    #[command(flatten)]
    log: LogConfig,
}

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Code {
    Drained = 0,
    Failed = 1,
    Config = 3,
    CredentialsRefused = 4,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

impl Code {
    /// Says in the log how it ended.
    pub(crate) fn of(exit: Result<Exit, AgentError>) -> Self {
        match exit {
            Ok(Exit::Drained) => {
                tracing::info!(event = "drained", "everything is done and recorded");
                Self::Drained
            }
            Ok(Exit::CredentialsRefused { reason }) => {
                tracing::error!(
                    event = "refused",
                    reason,
                    "the engine refuses the login: check WORKERLOGIN and WORKERPASSWORD"
                );
                Self::CredentialsRefused
            }
            Ok(Exit::JoinRefused { reason }) => {
                tracing::error!(
                    event = "refused",
                    reason,
                    "the engine does not accept this worker"
                );
                Self::Config
            }
            Err(error) => {
                tracing::error!(error = chain(&error), "this configuration cannot be used");
                Self::Config
            }
        }
    }
}

/// Why there is no configuration.
pub(crate) enum Problem {
    /// Usage, or a request for help.
    Usage(clap::Error),
    Config(anyhow::Error),
}

impl Problem {
    /// Tells the user, and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        match self {
            Self::Usage(error) => {
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
            }
            Self::Config(error) => {
                tracing::error!(error = format!("{error:#}"), "this configuration cannot be used");
                Code::Config.into()
            }
        }
    }
}

/// Reads flags and environment, and sets up the log.
pub(crate) fn from_environment() -> Result<AgentConfig, Problem> {
    let cli = Cli::try_parse().map_err(Problem::Usage)?;
    daemon::log::init(&cli.log);
    let shim = env::current_exe().context("this program cannot find its own file");
    let seeds = Seeds::read(|name| env::var(name).ok());
    shim.and_then(|shim| cli.into_config(shim, seeds))
        .map_err(Problem::Config)
}

impl Cli {
    fn into_config(self, shim: PathBuf, seeds: Seeds) -> anyhow::Result<AgentConfig> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let engine = given(self.engine).or_else(|| seeds.engine());
        let engine = engine.unwrap_or_else(|| "127.0.0.1".to_owned());
        let all_images = seeds.shares_docker();
        let seeded = seeds.password.filter(|_| self.password_file.is_none());
        let password = given(self.password).or(seeded.map(|seeded| seeded.0));
        let password = password_of(password, self.password_file.as_deref())?;
        let trust = match (self.ca, self.fingerprint) {
            (Some(ca), _) => Trust::Ca(ca),
            (None, Some(fingerprint)) => Trust::Fingerprint(fingerprint),
            (None, None) => bail!(
                "whom to believe is not said: give the pool's CA with --ca (the engine keeps ca.pem in its \
                 certificate folder) or the fingerprint that the engine prints at its start with --fingerprint"
            ),
        };
        let allow = Allow::new(
            self.allow.iter().map(String::as_str),
            &env::var_os("PATH").unwrap_or_default(),
        )
        .context("--allow (POOL_PROCESS_ALLOW)")?;
        let (engine, host) = with_port(&engine)?;
        let folder = Arc::new(Folder::open(&self.folder)?);
        let uid = match self.uid.filter(|uid| !uid.is_empty()) {
            Some(uid) => uid,
            None => folder.uid()?,
        };
        let mut offer = resources::detect(folder.path());
        offer.slots = self.slots.unwrap_or(offer.cores);
        offer.prefill = self
            .prefill
            .unwrap_or(offer.slots.saturating_mul(2).min(PREFILL_DEFAULT_MAX));
        if offer.slots as usize + offer.prefill as usize > LEASES_PER_WORKER_MAX {
            bail!("--slots and --prefill together are more than {LEASES_PER_WORKER_MAX}");
        }
        offer.tags = without_empty(self.tags);
        offer.groups = without_empty(self.groups);
        offer.executors = vec!["null".to_owned()];
        let mut executors: Vec<Arc<dyn Executor>> = vec![Arc::new(Sleep)];
        if allow.is_all() {
            tracing::warn!(
                "POOL_PROCESS_ALLOW is `*`: whoever may submit works to this pool can run ANY command as this user"
            );
        }
        if allow.is_empty() {
            tracing::info!("no command is allowed (--allow), so no process works will come");
        } else {
            executors.push(Arc::new(Process::new(ProcessConfig {
                folder: Arc::clone(&folder),
                allow,
                shim,
                files: Arc::new(NoFiles),
            })));
        }
        if let Some(docker) = self.docker.into_executor(&folder, &uid, all_images)? {
            executors.push(Arc::new(docker));
        }
        Ok(AgentConfig {
            engine,
            server_name: self.server_name.filter(|name| !name.is_empty()).unwrap_or(host),
            connector: crate::connector(trust)?,
            settings: Settings {
                login: given(self.login)
                    .or(seeds.login)
                    .unwrap_or_else(|| "vworker".to_owned()),
                password,
                uid,
                name: self.name.unwrap_or_else(host_name),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                offer,
            },
            executors,
        })
    }
}

fn without_empty(list: Vec<String>) -> Vec<String> {
    list.into_iter()
        .map(|item| item.trim().to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn password_of(given: Option<String>, file: Option<&Path>) -> anyhow::Result<String> {
    match (given, file) {
        (Some(password), _) => Ok(password),
        (None, Some(file)) => {
            let text = fs::read_to_string(file)
                .with_context(|| format!("the password file {} cannot be read", file.display()))?;
            let password = text.strip_suffix('\n').unwrap_or(&text);
            Ok(password.strip_suffix('\r').unwrap_or(password).to_owned())
        }
        (None, None) => {
            bail!(
                "no password is given: use --password-file (WORKERPASSWORD_FILE) or WORKERPASSWORD (or PASSWORD)"
            )
        }
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Address with a port, and the host alone.
fn with_port(engine: &str) -> anyhow::Result<(String, String)> {
    let (host, port) = match engine.rsplit_once(':') {
        // `[::1]` and `::1` end in an address, not in a port.
        Some((host, port)) if !port.ends_with(']') && (!host.contains(':') || host.ends_with(']')) => {
            let port: u16 = port
                .parse()
                .with_context(|| format!("`{port}` in --engine {engine} is no port"))?;
            (host, port)
        }
        _ => (engine, PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        bail!("--engine {engine} names no host");
    }
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    Ok((address, host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_given_with_or_without_a_port() {
        for (given, address, host) in [
            ("pool.example.org", "pool.example.org:4321", "pool.example.org"),
            ("pool.example.org:443", "pool.example.org:443", "pool.example.org"),
            ("127.0.0.1:5000", "127.0.0.1:5000", "127.0.0.1"),
            ("[::1]:5000", "[::1]:5000", "::1"),
            ("[::1]", "[::1]:4321", "::1"),
            ("::1", "[::1]:4321", "::1"),
        ] {
            let (a, h) = with_port(given).expect(given);
            assert_eq!((a.as_str(), h.as_str()), (address, host), "{given}");
        }
        for wrong in ["", ":4321", "host:port", "host:", "host:65536"] {
            assert!(with_port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_password_file_ends_where_its_line_ends() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("secret");
        for (text, expected) in [
            ("a b\n", "a b"),
            ("x\r\n", "x"),
            ("plain", "plain"),
            ("two\n\n", "two\n"),
        ] {
            fs::write(&file, text).expect("own folder");
            assert_eq!(password_of(None, Some(&file)).expect("it is there"), expected);
        }
        assert!(password_of(None, None).is_err());
        assert!(password_of(None, Some(&folder.path().join("none"))).is_err());
    }
}
