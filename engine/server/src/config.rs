//! What an operator may set: flags, each with its environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use daemon::log::LogConfig;
use daemon::secret;
use engine_core::{ApprovalPolicy, Version};
use wire_protocol::category::Category;
use wire_protocol::limits::{CATEGORIES_MAX, NAME_BYTES_MAX};
use wire_protocol::units::{Bytes, Millis};

const AFTER_HELP: &str = "\
Example:
  A pool on this machine, and a worker for it:
    pool-engine --data data/engine --certs data/certs \\
      --admin-password-file secrets/admin --worker-password-file secrets/worker
    pool-worker --ca data/certs/ca.pem --password-file secrets/worker --allow python3

SIGTERM or SIGINT stops in good order: new work is refused, what was taken is made durable and acknowledged, a
snapshot is written; within 10 s. A second signal stops at once. Neither loses anything that was acknowledged, nor
does kill -9: start the engine again on the same folder and workers go on with what they run.

Exit codes:
  0  stopped in good order
  1  failed, or stopped before it could finish
  2  wrong usage
  3  the configuration cannot be used; all problems are printed
  4  an address is taken, or the certificate cannot be used
  5  the journal is damaged, or the folder is in use or of another pool; nothing was changed
  6  the disk failed; the next start reads back what was acknowledged";

/// The pool's engine: accepts works, gives them to workers over QUIC, keeps what it promised in a journal.
///
/// It needs two passwords, the administrator's and the workers'; everything else has a default. `pool dev` starts
/// an engine with workers for you.
#[derive(Parser, Debug)]
#[command(name = "pool-engine", version, max_term_width = 110, after_long_help = AFTER_HELP)]
pub struct Options {
    /// Folder of the journal, the feed's socket and the engine's own files
    #[arg(
        long,
        env = "SCHEDULER_PERSISTING_FOLDER",
        default_value = "data/engine",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// Folder of the certificate: server.pem and server.key are used and never overwritten; in an empty folder a
    /// CA and a certificate are made and kept
    #[arg(
        long,
        env = "CERTIFICATE_AND_PRIVATE_KEYS_REPO",
        default_value = "data/certs",
        value_name = "DIR"
    )]
    certs: PathBuf,
    /// Names and addresses that a made certificate is for, beside localhost and this host's name
    #[arg(long, env = "POOL_CERT_NAMES", value_delimiter = ',', value_name = "NAME,…")]
    cert_names: Vec<String>,
    /// UDP addresses for workers; several are separated by commas
    #[arg(
        long,
        env = "POOL_LISTEN_WORKERS",
        value_delimiter = ',',
        default_value = "[::]:4321",
        value_name = "ADDR,…"
    )]
    listen_workers: Vec<SocketAddr>,
    /// UDP address for clients
    #[arg(
        long,
        env = "POOL_LISTEN_CLIENTS",
        default_value = "[::]:4322",
        value_name = "ADDR"
    )]
    listen_clients: SocketAddr,
    /// TCP address for /livez, /readyz, /healthz and /metrics
    #[arg(
        long,
        env = "POOL_LISTEN_HEALTH",
        default_value = "[::]:4323",
        value_name = "ADDR"
    )]
    listen_health: SocketAddr,
    /// Written when the engine is ready, with the addresses that it really listens on; removed when it stops
    #[arg(long, env = "POOL_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    /// Login of the administrator
    #[arg(long, env = "ADMINLOGIN", default_value = "admin", value_name = "NAME")]
    admin_login: String,
    /// Password of the administrator; better in a file
    #[arg(long, env = "ADMINPASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    admin_password: Option<String>,
    /// File with the password of the administrator
    #[arg(long, env = "ADMINPASSWORD_FILE", value_name = "FILE")]
    admin_password_file: Option<PathBuf>,
    /// Login of workers
    #[arg(long, env = "WORKERLOGIN", default_value = "vworker", value_name = "NAME")]
    worker_login: String,
    /// Password of workers; better in a file. Without one they come in by enrolment tokens alone (`pool worker token
    /// create`)
    #[arg(long, env = "WORKERPASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    worker_password: Option<String>,
    /// File with the password of workers
    #[arg(long, env = "WORKERPASSWORD_FILE", value_name = "FILE")]
    worker_password_file: Option<PathBuf>,

    /// Where workers find the pool's file store, a URL like `https://pool.example.org`; without it works have no files
    #[arg(long, env = "POOL_FILES_URL", value_name = "URL", value_parser = files_url)]
    files_url: Option<String>,
    /// File with the key that engine and file store share; made where there is none. Default: grant.key in the engine's
    /// folder
    #[arg(long, env = "POOL_GRANT_KEY", value_name = "FILE")]
    grant_key: Option<PathBuf>,
    /// Who approves workers: `auto`, whoever proves who it is; `manual`, an operator (`pool worker approve`), until when a
    /// worker that is new or was just enrolled gets no work
    #[arg(long, env = "POOL_APPROVAL", default_value = "auto", value_name = "WHO")]
    approval: Approval,
    /// Time for which a worker's certificate is good, as in 90d, 12h, 30m or 60s; a worker asks for another when a third of
    /// it is left
    #[arg(long, env = "POOL_CERTIFICATE_LIFETIME", default_value = "90d", value_name = "TIME",
          value_parser = lifetime)]
    certificate_lifetime: Millis,
    /// Refuse workers of an earlier version than this [default: none]
    #[arg(long, env = "POOL_WORKER_VERSION_MIN", value_name = "VERSION")]
    worker_version_min: Option<Version>,

    /// Milliseconds without a sign of life after which a worker loses its leases (500 to 3 600 000)
    #[arg(long, env = "POOL_LEASE_TIMEOUT_MS", default_value_t = 10_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(500..=3_600_000))]
    lease_timeout_ms: u64,
    /// Milliseconds for which a started engine waits for workers that held leases (0 to 600 000)
    #[arg(long, env = "POOL_REJOIN_WINDOW_MS", default_value_t = 3_000, value_name = "MS",
          value_parser = clap::value_parser!(u64).range(0..=600_000))]
    rejoin_window_ms: u64,
    /// Categories that works may name, and their ceilings of time, memory, disk and file size; `-` is none. Several are
    /// separated by semicolons
    #[arg(
        long,
        env = "POOL_CATEGORIES",
        value_delimiter = ';',
        value_name = "NAME=TIME,MEMORY,DISK,FILES;…",
        default_value = CATEGORIES
    )]
    categories: Vec<String>,
    /// Works that may be open at once; more are answered `busy`
    #[arg(
        long,
        env = "POOL_WORKS_OPEN_MAX",
        default_value_t = 20_000_000,
        value_name = "N"
    )]
    works_open_max: u64,
    /// Mebibytes of parameters kept in memory; more are answered `busy`
    #[arg(long, env = "POOL_ROWS_MIB_MAX", default_value_t = 4_096, value_name = "MIB")]
    rows_mib_max: u64,
    /// Hours for which finished works are remembered
    #[arg(long, env = "POOL_RETENTION_HOURS", default_value_t = 24, value_name = "H")]
    retention_hours: u64,
    /// Mebibytes of journal between two snapshots, at least (1 to 65 536); more while the state is large
    #[arg(long, env = "POOL_SNAPSHOT_MIB", default_value_t = 256, value_name = "MIB",
          value_parser = clap::value_parser!(u64).range(1..=65_536))]
    snapshot_mib: u64,
    /// Mebibytes of one journal segment (2 to 1 024); one holds at least the largest record
    #[arg(long, env = "POOL_SEGMENT_MIB", default_value_t = 64, value_name = "MIB",
          value_parser = clap::value_parser!(u64).range(2..=1_024))]
    segment_mib: u64,
    /// Connections from one IP address; workers behind one NAT share it (1 to 16 384)
    #[arg(long, env = "POOL_LINKS_PER_ADDRESS_MAX", default_value_t = 4_096, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=16_384))]
    links_per_address_max: u32,
    /// What an acknowledgement waits for: the disk, or nothing. With `memory` a crash of this machine or of the engine
    /// may lose works and results that were acknowledged within the last moments; everything else stays as it is
    #[arg(long, env = "POOL_DURABILITY", default_value = "disk", value_name = "WHAT")]
    durability: Durability,
    /// Largest UDP payload that is tried; up to 65 527 where the path carries it (loopback, jumbo frames)
    #[arg(long, env = "POOL_MTU_MAX", default_value_t = 1_452, value_name = "BYTES",
          value_parser = clap::value_parser!(u16).range(1_200..=65_527))]
    mtu_max: u16,

    #[command(flatten)]
    log: LogConfig,
}

/// Who approves workers.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Approval {
    /// Whoever proves who it is may work.
    Auto,
    /// New workers wait for an operator.
    Manual,
}

/// `90d`: from ten seconds to ten years.
fn lifetime(text: &str) -> Result<Millis, String> {
    let lasts: Millis = text.parse()?;
    if (Millis::from_secs(10)..=Millis::from_secs(3_650 * 86_400)).contains(&lasts) {
        Ok(lasts)
    } else {
        Err(format!(
            "`{text}` is out of range: a certificate lasts from 10s to 3650d"
        ))
    }
}

/// What an acknowledgement waits for.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// `fdatasync` of what it acknowledges.
    Disk,
    /// Nothing: the journal is written all the same, a moment later.
    Memory,
}

/// The engine's configuration, checked.
#[derive(Debug)]
pub struct Config {
    pub(crate) data: PathBuf,
    pub(crate) certs: PathBuf,
    pub(crate) cert_names: Vec<String>,
    pub(crate) listen_workers: Vec<SocketAddr>,
    pub(crate) listen_clients: SocketAddr,
    pub(crate) listen_health: SocketAddr,
    pub(crate) ready_file: Option<PathBuf>,
    pub(crate) admin: Account,
    /// `None`: workers come in by enrolment tokens alone.
    pub(crate) worker: Option<Account>,
    pub(crate) files_url: Option<String>,
    pub(crate) grant_key: PathBuf,
    pub(crate) scheduler: engine_core::Config,
    pub(crate) segment_bytes: u64,
    pub(crate) links_per_address_max: usize,
    pub(crate) durability: Durability,
    pub(crate) mtu_max: u16,
    /// How to log.
    pub log: LogConfig,
}

/// A login and its password.
pub(crate) struct Account {
    pub(crate) login: String,
    pub(crate) password: String,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("login", &self.login)
            .finish_non_exhaustive()
    }
}

/// Time in which a graceful stop has to be over, then the process ends as it is; the journal has everything that
/// was promised.
pub(crate) const STOP_DEADLINE: Duration = Duration::from_secs(9);

impl Options {
    /// Checks everything and reads the secrets.
    ///
    /// # Errors
    /// All problems, each naming the variable and the cure.
    pub fn into_config(self) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let mut secret = |variable, value, file| {
            let found = secret(variable, value, file);
            found.map_err(|problem| problems.push(problem)).ok()
        };
        let admin = secret("ADMINPASSWORD", self.admin_password, self.admin_password_file);
        let has_worker = self.worker_password.is_some() || self.worker_password_file.is_some();
        let worker =
            has_worker.then(|| secret("WORKERPASSWORD", self.worker_password, self.worker_password_file));
        if self.listen_workers.len() > usize::from(u8::MAX) - 1 {
            problems.push(format!(
                "POOL_LISTEN_WORKERS names {} addresses; at most 254",
                self.listen_workers.len()
            ));
        }
        let categories = categories(&self.categories).unwrap_or_else(|problem| {
            problems.push(problem);
            Vec::new()
        });
        let (Some(admin), true) = (admin, problems.is_empty()) else {
            return Err(problems);
        };
        let lease_timeout = Millis(self.lease_timeout_ms);
        let scheduler = engine_core::Config {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            seed: u64::from(std::process::id()),
            lease_timeout,
            heartbeat: Millis(lease_timeout.0 / 4),
            rejoin_window: Millis(self.rejoin_window_ms),
            categories,
            retention: Millis::from_secs(self.retention_hours.saturating_mul(3600)),
            approval: match self.approval {
                Approval::Auto => ApprovalPolicy::Auto,
                Approval::Manual => ApprovalPolicy::Manual,
            },
            certificate_lifetime: self.certificate_lifetime,
            worker_version_min: self.worker_version_min,
            snapshot_every: Bytes::from_mib(self.snapshot_mib),
            limits: engine_core::Limits {
                works_open_max: self.works_open_max,
                rows_bytes_max: Bytes::from_mib(self.rows_mib_max),
                ..engine_core::Limits::default()
            },
            ..engine_core::Config::default()
        };
        Ok(Config {
            files_url: self.files_url,
            grant_key: self
                .grant_key
                .unwrap_or_else(|| self.data.join(wire_grant::KEY_FILE)),
            data: self.data,
            certs: self.certs,
            cert_names: self.cert_names,
            listen_workers: self.listen_workers,
            listen_clients: self.listen_clients,
            listen_health: self.listen_health,
            ready_file: self.ready_file,
            admin: Account {
                login: self.admin_login,
                password: admin,
            },
            worker: worker.flatten().map(|password| Account {
                login: self.worker_login,
                password,
            }),
            scheduler,
            segment_bytes: self.segment_mib * 1024 * 1024,
            links_per_address_max: self.links_per_address_max as usize,
            durability: self.durability,
            mtu_max: self.mtu_max,
            log: self.log,
        })
    }
}

/// [`Category::defaults`], as an operator would write them.
const CATEGORIES: &str = "XS=5m,1GiB,5GiB,100MiB;S=15m,2GiB,10GiB,200MiB;M=30m,4GiB,20GiB,500MiB;\
L=1h,8GiB,40GiB,1GiB;XL=2h,16GiB,80GiB,2GiB";

fn categories(given: &[String]) -> Result<Vec<Category>, String> {
    let given = given
        .iter()
        .map(|text| text.trim())
        .filter(|text| !text.is_empty());
    let categories = given.map(category).collect::<Result<Vec<_>, _>>()?;
    if categories.len() > CATEGORIES_MAX {
        let there = categories.len();
        return Err(format!(
            "POOL_CATEGORIES names {there} categories; at most {CATEGORIES_MAX}"
        ));
    }
    let twice = categories.iter().enumerate().find(|(index, category)| {
        categories[..*index]
            .iter()
            .any(|other| other.name == category.name)
    });
    match twice {
        Some((_, category)) => Err(format!("POOL_CATEGORIES names {} twice", category.name)),
        None => Ok(categories),
    }
}

fn category(text: &str) -> Result<Category, String> {
    let refuse = |problem: &str| {
        format!(
            "POOL_CATEGORIES: `{text}` {problem}; write it like M=30m,4GiB,20GiB,500MiB, with - for no ceiling"
        )
    };
    let (name, ceilings) = text.split_once('=').ok_or_else(|| refuse("has no `=`"))?;
    let name = name.trim();
    if name.is_empty() || name.len() > NAME_BYTES_MAX {
        return Err(refuse("has no name, or too long a one"));
    }
    let ceilings: Vec<&str> = ceilings.split(',').map(str::trim).collect();
    let [wall_clock, memory, disk, files] = ceilings[..] else {
        return Err(refuse("has other than four ceilings"));
    };
    let size = |text: &str| match text {
        "-" => Ok(Bytes(0)),
        text => text
            .parse()
            .map_err(|problem: String| refuse(&format!("is wrong: {problem}"))),
    };
    let wall_clock = match wall_clock {
        "-" => Millis(0),
        text => text
            .parse()
            .map_err(|problem: String| refuse(&format!("is wrong: {problem}")))?,
    };
    Ok(Category {
        name: name.to_owned(),
        wall_clock,
        memory: size(memory)?,
        disk: size(disk)?,
        files: size(files)?,
    })
}

fn files_url(url: &str) -> Result<String, String> {
    let host = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() && !host.starts_with('/') && url.len() <= 1_024 => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err("it is like https://pool.example.org, at most 1024 bytes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let options =
            Options::try_parse_from(std::iter::once("pool-engine").chain(arguments.iter().copied()));
        options.expect("well-formed flags").into_config()
    }

    #[test]
    fn all_missing_secrets_are_named_at_once() {
        let problems = parse(&[]).expect_err("no secret is given");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("ADMINPASSWORD_FILE"), "{problems:?}");
        let problems = parse(&["--worker-password", ""]).expect_err("an empty one is a mistake");
        assert_eq!(problems.len(), 2);
        assert!(problems[1].contains("WORKERPASSWORD is empty"), "{problems:?}");
    }

    #[test]
    fn workers_need_no_password_where_they_enrol() {
        let config = parse(&["--admin-password", "a"]).expect("that is enough");
        assert!(config.worker.is_none());
    }

    #[test]
    fn a_secret_comes_from_its_file_without_the_line_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\n").expect("a file");
        let file = file.to_str().expect("a name");
        let config =
            parse(&["--admin-password-file", file, "--worker-password", "w"]).expect("both are given");
        assert_eq!(config.admin.password, "open sesame");
        assert!(
            !format!("{config:?}").contains("sesame"),
            "secrets are not printed"
        );
        let both = parse(&[
            "--admin-password-file",
            file,
            "--admin-password",
            "x",
            "--worker-password",
            "w",
        ]);
        assert!(both.expect_err("two sources")[0].contains("keep one"));
    }

    #[test]
    fn a_lifetime_is_a_number_and_a_unit() {
        for (text, seconds) in [("90d", 7_776_000), ("12h", 43_200), ("30m", 1_800), ("10s", 10)] {
            assert_eq!(lifetime(text), Ok(Millis::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "d", "9", "9s", "1w", "-1d", "4000d", "1.5d", "1 d", "9é"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn categories_are_the_usual_ones_unless_the_operator_names_others() {
        let secrets = ["--admin-password", "a", "--worker-password", "w"];
        let categories = |arguments: &[&str]| {
            parse(&[&secrets, arguments].concat()).map(|config| config.scheduler.categories)
        };
        assert_eq!(categories(&[]), Ok(Category::defaults()));
        assert_eq!(categories(&["--categories", ""]), Ok(Vec::new()));
        let named = categories(&["--categories", "day=8h,-,1TiB,- ; spot=90,512MiB,-,-"]);
        let named = named.expect("two categories");
        assert_eq!(
            (named[0].wall_clock, named[0].memory, named[0].disk),
            (Millis::from_secs(8 * 3_600), Bytes(0), Bytes(1 << 40))
        );
        assert_eq!(
            (named[1].name.as_str(), named[1].wall_clock),
            ("spot", Millis::from_secs(90))
        );
        for (wrong, said) in [
            ("M", "has no `=`"),
            ("=1h,-,-,-", "has no name"),
            ("M=1h,1GiB", "four ceilings"),
            ("M=1h,much,-,-", "`much` is no size"),
            ("M=-,-,-,-;M=-,-,-,-", "names M twice"),
        ] {
            let problems = categories(&["--categories", wrong]).expect_err(wrong);
            assert!(problems[0].contains(said), "{problems:?}");
        }
    }

    #[test]
    fn links_of_one_address_are_as_many_as_asked_for_within_their_range() {
        let secrets = ["--admin-password", "a", "--worker-password", "w"];
        let links = |arguments: &[&str]| {
            let config = parse(&[&secrets, arguments].concat()).expect("both secrets are given");
            config.links_per_address_max
        };
        assert_eq!(links(&[]), wire_link::Limits::default().links_per_address_max);
        assert_eq!(links(&["--links-per-address-max", "1"]), 1);
        // All that a server takes in, from one address.
        let most = wire_link::Limits::default().links_max;
        assert_eq!(links(&["--links-per-address-max", &most.to_string()]), most);
        for wrong in ["0", "16385", "-1", "many"] {
            let argument = format!("--links-per-address-max={wrong}");
            let refused = Options::try_parse_from(["pool-engine", &argument]);
            let said = refused.expect_err(wrong).to_string();
            assert!(said.contains("--links-per-address-max"), "{said}");
        }
    }
}
