//! From flags and environment to an [`AgentConfig`], once, at the start.

mod args;
mod chain;
mod disk;
mod docker;
mod offer;
mod seeds;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use wire_link::Trust;
use wire_protocol::limits::LEASES_PER_WORKER_MAX;
use wire_protocol::units::{Bytes, Millis};
use worker_core::{Exit, Settings};

use crate::doctor::{Enrolment, Surroundings};
use crate::executor::{
    Allow, AllowError, Executor, Folder, Gpus, Process, ProcessConfig, Sandbox, SandboxMode, Seccomp, Sleep,
};
use crate::files::{Files, FilesConfig, desk};
use crate::identity::{Identity, is_used, look, token_of};
use crate::wire::chain;
use crate::{AgentConfig, AgentError, Certified, Wallet, resources};
use args::{Cli, Verb};
use seeds::Seeds;

/// Port of the engine for workers.
const PORT: u16 = 4321;

/// What is said before the reason.
const NO_SECCOMP: &str = "no filter of system calls can be had (seccomp; Linux with CONFIG_SECCOMP_FILTER)";

/// What is to be done.
pub(crate) enum Start {
    Worker(Box<AgentConfig>),
    Doctor { around: Box<Surroundings>, json: bool },
    Status { folder: PathBuf, json: bool },
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
            Ok(Exit::Late { unrecorded }) => {
                tracing::warn!(
                    event = "late",
                    unrecorded,
                    "left by the deadline of the drain; results that are not known to be recorded are kept in the folder"
                );
                Self::Failed
            }
            Ok(Exit::CredentialsRefused { reason }) => {
                tracing::error!(
                    event = "refused",
                    reason,
                    "the engine refuses this worker: check WORKERLOGIN and WORKERPASSWORD, or do what the reason says"
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
pub(crate) fn from_environment() -> Result<Start, Problem> {
    let cli = Cli::try_parse().map_err(Problem::Usage)?;
    daemon::log::init(&cli.log);
    let seeds = Seeds::read(|name| env::var(name).ok());
    match cli.verb {
        Some(Verb::Doctor { json }) => {
            let around = Box::new(cli.surroundings(&seeds));
            return Ok(Start::Doctor { around, json });
        }
        Some(Verb::Status { json }) => {
            let folder = cli.folder;
            return Ok(Start::Status { folder, json });
        }
        None => {}
    }
    let shim = env::current_exe().context("this program cannot find its own file");
    shim.and_then(|shim| cli.into_config(shim, seeds))
        .map(|config| Start::Worker(Box::new(config)))
        .map_err(Problem::Config)
}

/// An empty variable is not set.
fn given(text: Option<&str>) -> Option<String> {
    text.filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A secret and the file that it may be in instead. clap would take two empty variables for a contradiction.
fn secret<'a>(
    option: &str,
    text: Option<&str>,
    file: Option<&'a Path>,
) -> anyhow::Result<(Option<String>, Option<&'a Path>)> {
    let (text, file) = (given(text), file.filter(|file| !file.as_os_str().is_empty()));
    if text.is_some() && file.is_some() {
        bail!("{option} and {option}-file, or their variables, are both given: leave one of them out");
    }
    Ok((text, file))
}

impl Cli {
    /// Address of the engine, and the name in its certificate.
    fn engine(&self, seeds: &Seeds) -> anyhow::Result<(String, String)> {
        let engine = given(self.engine.as_deref()).or_else(|| seeds.engine());
        let (engine, host) = with_port(engine.as_deref().unwrap_or("127.0.0.1"))?;
        Ok((engine, given(self.server_name.as_deref()).unwrap_or(host)))
    }

    fn trust(&self) -> anyhow::Result<Trust> {
        Ok(match (&self.ca, &self.fingerprint) {
            (Some(ca), _) => Trust::Ca(ca.clone()),
            (None, Some(fingerprint)) => Trust::Fingerprint(*fingerprint),
            (None, None) => bail!(
                "whom to believe is not said: give the pool's CA with --ca (the engine keeps ca.pem in its \
                 certificate folder) or the fingerprint that the engine prints at its start with --fingerprint"
            ),
        })
    }

    fn password(&self, seeds: &Seeds) -> anyhow::Result<String> {
        let (password, file) = secret(
            "--password",
            self.password.as_deref(),
            self.password_file.as_deref(),
        )?;
        let seeded = seeds.password.as_ref().filter(|_| file.is_none());
        password_of(password.or(seeded.map(|seeded| seeded.0.clone())), file)
    }

    /// The wallet in the keystore, if one is given.
    fn wallet(&self) -> anyhow::Result<Option<Arc<Wallet>>> {
        let Some(path) = self.wallet.as_deref().filter(|path| !path.as_os_str().is_empty()) else {
            return Ok(None);
        };
        let (password, file) = (
            self.wallet_password.as_deref(),
            self.wallet_password_file.as_deref(),
        );
        // An empty password is one, if it is in a file.
        let password = match secret("--wallet-password", password, file)? {
            (None, None) => {
                bail!("WALLETPATH is given and its password is not: WALLETPASSWORD_FILE, or WALLETPASSWORD")
            }
            (password, file) => password_of(password, file)?,
        };
        let wallet = wire_wallet::keystore::open(path, &password)
            .with_context(|| format!("the wallet {} cannot be used", path.display()))?;
        Ok(Some(Arc::new(wallet)))
    }

    fn enrol_token(&self) -> anyhow::Result<Option<String>> {
        let (token, file) = (self.enrol_token.as_deref(), self.enrol_token_file.as_deref());
        let (token, file) = secret("--enrol-token", token, file)?;
        token_of(token, file)
    }

    /// The key and certificate in the folder. One that has ended is no hindrance to a worker that has a password.
    fn identity(
        &self,
        folder: &Path,
        token: Option<String>,
        seeds: &Seeds,
    ) -> anyhow::Result<Option<Identity>> {
        match Identity::open(folder, token) {
            Err(error) if self.password(seeds).is_ok() => {
                tracing::warn!("{error:#}; it logs in with its password");
                Ok(None)
            }
            opened => opened,
        }
    }

    fn allow(&self) -> anyhow::Result<Allow> {
        commands(&self.allow).context("--allow (POOL_PROCESS_ALLOW)")
    }

    /// What commands may call, and which have a network; `None`: everything, and all.
    fn seccomp(&self) -> anyhow::Result<Option<Seccomp>> {
        let network = commands(&self.process_network).context("--process-network (POOL_PROCESS_NETWORK)")?;
        if self.process_sandbox == SandboxMode::Off {
            return Ok(None);
        }
        match Seccomp::new(network) {
            Ok(seccomp) => Ok(Some(seccomp)),
            Err(error) if self.process_sandbox == SandboxMode::On => {
                let why = chain(&error);
                tracing::warn!(
                    "{NO_SECCOMP}: {why}: commands may make all system calls, and all have a network"
                );
                Ok(None)
            }
            Err(error) => bail!(
                "{NO_SECCOMP}: {}, and POOL_PROCESS_SANDBOX is `need`",
                chain(&error)
            ),
        }
    }

    /// What commands may touch; `None`: what this account may.
    fn sandbox(&self) -> anyhow::Result<Option<Sandbox>> {
        const MISSING: &str =
            "this kernel has no Landlock (Linux 5.13 or later, with landlock among its lsm=)";
        match self.process_sandbox {
            SandboxMode::Off => return Ok(None),
            SandboxMode::On | SandboxMode::Need if Sandbox::is_supported() => {}
            SandboxMode::On => {
                tracing::warn!("{MISSING}: commands may read and write whatever this account may");
                return Ok(None);
            }
            SandboxMode::Need => bail!("{MISSING}, and POOL_PROCESS_SANDBOX is `need`"),
        }
        // Commands begin in a folder of their own, from which a relative path leads elsewhere.
        let whole = |paths: &[PathBuf], option: &str| {
            let given = paths.iter().filter(|path| !path.as_os_str().is_empty());
            given
                .map(|path| {
                    let found = path.canonicalize();
                    found.with_context(|| format!("{option}: {} cannot be had", path.display()))
                })
                .collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(Some(Sandbox {
            read: whole(&self.process_read, "--process-read (POOL_PROCESS_READ)")?,
            write: whole(&self.process_write, "--process-write (POOL_PROCESS_WRITE)")?,
        }))
    }

    /// What a worker with these options would meet.
    fn surroundings(self, seeds: &Seeds) -> Surroundings {
        let images = self.docker.allow(seeds.shares_docker());
        let docker = images.as_ref().is_ok_and(|images| !images.is_empty());
        let runs = self.allow().and_then(|commands| {
            let containers = if images?.is_empty() {
                "no containers"
            } else {
                "containers"
            };
            let commands = if commands.is_empty() {
                "no commands"
            } else {
                match (self.sandbox()?.is_some(), self.seccomp()?.is_some()) {
                    (true, true) => "commands in a sandbox",
                    (true, false) => "commands in a sandbox of files alone, not of system calls and network",
                    (false, true) => "commands in a sandbox of system calls and network alone, not of files",
                    (false, false) => "commands without a sandbox",
                }
            };
            Ok(format!("{commands}, {containers}"))
        });
        let wallet = self.wallet();
        let chain = match &wallet {
            Ok(wallet) => self.chain.config(wallet.as_ref(), &self.folder, seeds),
            // That is told of the wallet.
            Err(_) => Ok(None),
        };
        Surroundings {
            chain,
            engine: self.engine(seeds),
            trust: self.trust(),
            password: self.password(seeds).map(drop),
            token: self.enrol_token().map(|token| {
                token.map(|token| match is_used(&self.folder, &token) {
                    true => Enrolment::Used,
                    false => Enrolment::New,
                })
            }),
            wallet: wallet.map(|wallet| wallet.map(|wallet| wallet.address())),
            certificate: look(&self.folder),
            runs,
            docker: docker.then(|| self.docker.engine()),
            folder: self.folder,
        }
    }

    fn into_config(self, shim: PathBuf, seeds: Seeds) -> anyhow::Result<AgentConfig> {
        let all_images = seeds.shares_docker();
        let token = self.enrol_token()?;
        let wallet = self.wallet()?;
        if token.is_none() && matches!(look(&self.folder), Ok(None)) {
            self.password(&seeds)?;
        }
        let trust = self.trust()?;
        let allow = self.allow()?;
        let (mut sandbox, seccomp) = if allow.is_empty() {
            (None, None)
        } else {
            (self.sandbox()?, self.seccomp()?)
        };
        let gpus = gpus(&self.gpus)?;
        let drain_within = given(self.drain_deadline.as_deref())
            .map(|text| text.parse::<Millis>().map_err(|problem| anyhow!(problem)))
            .transpose()
            .context("--drain-deadline (POOL_DRAIN_DEADLINE)")?;
        if let Some(sandbox) = sandbox.as_mut().filter(|_| !gpus.is_empty()) {
            sandbox.write.extend(gpu_files());
        }
        let (engine, server_name) = self.engine(&seeds)?;
        let scratch = self.works.clone().or_else(|| seeds.scratch.clone());
        let folder = Arc::new(Folder::open_with(&self.folder, scratch.as_deref())?);
        let uid = match self.uid.clone().filter(|uid| !uid.is_empty()) {
            Some(uid) => uid,
            None => folder.uid()?,
        };
        let (desk, clerk) = desk();
        let files = Files::new(FilesConfig {
            folder: folder.path().to_owned(),
            trust: trust.clone(),
            cache: Bytes::from_mib(self.cache_mib),
            fetch: self.fetch,
            desk,
        })?;
        let identity = self.identity(folder.path(), token, &seeds)?;
        let chain = self.chain.config(wallet.as_ref(), folder.path(), &seeds)?;
        let certified = identity.map(|identity| Certified {
            identity,
            trust: trust.clone(),
        });
        // Whoever has a certificate needs no password.
        let password = match certified {
            Some(_) => String::new(),
            None => self.password(&seeds)?,
        };
        let warm = files.warm();
        let mut offer = resources::detect(folder.works());
        offer.packing = self.packing.into();
        offer.custom = offer::custom(&self.custom)?;
        let (slots, prefill) = offer::default_slots(&offer, self.slots);
        offer.slots = slots;
        offer.prefill = self.prefill.unwrap_or(prefill);
        if offer.slots as usize + offer.prefill as usize > LEASES_PER_WORKER_MAX {
            bail!("--slots and --prefill together are more than {LEASES_PER_WORKER_MAX}");
        }
        offer.gpus = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
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
                sandbox,
                seccomp,
                gpus: Arc::clone(&gpus),
                shim,
                files: Some(Arc::clone(&files)),
            })));
        }
        let docker = self
            .docker
            .into_executor(&folder, &uid, all_images, &gpus, files)?
            .map(Arc::new);
        if let Some(docker) = &docker {
            executors.push(Arc::clone(docker) as Arc<dyn Executor>);
        }
        if docker.is_none() {
            folder
                .forget_containers()
                .context("what containers of before left cannot be removed")?;
        }
        let disk = Some(self.disk.into_watch(&folder, docker)?);
        Ok(AgentConfig {
            engine,
            server_name,
            connector: crate::connector(trust)?,
            certified,
            wallet,
            chain,
            settings: Settings {
                login: given(self.login.as_deref())
                    .or(seeds.login)
                    .unwrap_or_else(|| "vworker".to_owned()),
                password,
                identity: None,
                uid,
                name: self.name.unwrap_or_else(host_name),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                offer,
                warm,
            },
            executors,
            clerk: Some(clerk),
            folder: Some(folder),
            drain_within,
            disk,
        })
    }
}

/// Commands by their names, as PATH finds them now, or their paths.
fn commands(list: &[String]) -> Result<Allow, AllowError> {
    let path = env::var_os("PATH").unwrap_or_default();
    Allow::new(list.iter().map(String::as_str), &path)
}

fn gpus(given: &[String]) -> anyhow::Result<Arc<Gpus>> {
    let ids = without_empty(given.to_vec());
    let mut distinct = ids.clone();
    distinct.sort();
    distinct.dedup();
    if distinct.len() != ids.len() {
        bail!("--gpus (POOL_WORKER_GPUS) names one twice");
    }
    Ok(Gpus::new(ids))
}

/// What NVIDIA's driver puts into `/dev`, which programs read and write.
fn gpu_files() -> Vec<PathBuf> {
    let devices = fs::read_dir("/dev").into_iter().flatten().flatten();
    let is_gpu = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("nvidia");
    devices.filter(is_gpu).map(|entry| entry.path()).collect()
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
    fn paths_for_commands_are_those_of_the_worker_wherever_commands_begin() {
        let cli = Cli::try_parse_from(["pool-worker", "--process-read", ".", "--process-write", "src,"]);
        let sandbox = cli.expect("well-formed").sandbox().expect("they are there");
        let here = env::current_dir().and_then(fs::canonicalize).expect("a folder");
        let expected = Sandbox {
            write: vec![here.join("src")],
            read: vec![here],
        };
        assert_eq!(sandbox, Some(expected));
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
