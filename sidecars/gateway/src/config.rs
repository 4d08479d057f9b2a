//! What an operator may set: flags, each with its environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use daemon::log::LogConfig;
use daemon::secret;
use sidecars_files::Limits;
use wire_protocol::units::Millis;

const AFTER_HELP: &str = "\
Examples:
  Beside an engine on this machine, with its folders and its administrator:
    pool-gateway --data data/engine --certs data/certs --admin-password-file secrets/admin
  On a port that needs no privilege, with files up to 2 GiB on a disk of their own:
    MAXFILESIZE=2147483648 pool-gateway --listen-https 0.0.0.0:8443 --files /srv/files \\
      --admin-password-file secrets/admin
  Then, from anywhere:
    pool --engine pool.example.org:4322 --ca ca.pem --password-file secrets/admin file put data.bin
    curl --cacert ca.pem -u admin -T data.bin https://pool.example.org/api/v1/files/data.bin

Start and stop it whenever you like, also kill -9: files are there as a whole or not at all, and uploads go on where they
were. SIGTERM or SIGINT stops in good order: requests in progress may end, within 8 s. A second signal stops at once.

Engine and gateway share a key, grant.key in the engine's folder, which whoever comes first makes. With it the engine signs
what a worker may read and write; so the gateway belongs on the engine's machine, or gets a copy of that file.

Exit codes:
  0  stopped in good order
  1  failed, or stopped by a second signal
  2  wrong usage
  3  the configuration cannot be used; all problems are printed
  4  an address is taken, or the certificate cannot be used
  5  another process uses the folder of the files, or it cannot be read or written";

/// Serves the files of a pool over HTTPS: uploads that go on where they were cut (tus 1.0), downloads, quotas, retention.
///
/// It needs the administrator's password; everything else has a default. `pool dev` starts one beside an engine for you.
#[derive(Parser, Debug)]
#[command(name = "pool-gateway", version, max_term_width = 110, after_long_help = AFTER_HELP)]
pub struct Options {
    /// The engine's data folder
    #[arg(
        long,
        env = "SCHEDULER_PERSISTING_FOLDER",
        default_value = "data/engine",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// Folder of the certificate, the engine's: server.pem and server.key are used and never overwritten; in an empty folder
    /// a CA and a certificate are made and kept
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
    /// TCP address for HTTPS
    #[arg(
        long,
        env = "POOL_LISTEN_HTTPS",
        default_value = "0.0.0.0:443",
        value_name = "ADDR"
    )]
    listen_https: SocketAddr,
    /// Connections at once; more wait to be accepted (1 to 65 536)
    #[arg(long, env = "POOL_GATEWAY_CONNECTIONS_MAX", default_value_t = 1_024, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    connections_max: u32,

    /// Folder of the files; `files` in the data folder unless given
    #[arg(long, env = "POOL_FILES", value_name = "DIR")]
    files: Option<PathBuf>,
    /// Bytes that one file may have
    #[arg(
        long,
        env = "MAXFILESIZE",
        default_value_t = 524_288_000,
        value_name = "BYTES"
    )]
    file_bytes_max: u64,
    /// Bytes that all files of one account may have together; 0: as many as the disk has
    #[arg(long, env = "POOL_FILES_QUOTA", default_value_t = 0, value_name = "BYTES")]
    files_quota: u64,
    /// Hours for which outputs of works are kept; 0: until somebody removes them
    #[arg(long, env = "POOL_FILES_KEEP_HOURS", default_value_t = 168, value_name = "H")]
    files_keep_hours: u64,
    /// File of the key that the engine signs with; `grant.key` in the data folder unless given. Made if there is none
    #[arg(long, env = "POOL_GRANT_KEY", value_name = "FILE")]
    grant_key: Option<PathBuf>,

    /// Login of the administrator
    #[arg(long, env = "ADMINLOGIN", default_value = "admin", value_name = "NAME")]
    admin_login: String,
    /// Password of the administrator; better in a file
    #[arg(long, env = "ADMINPASSWORD", hide_env_values = true, value_name = "PASSWORD")]
    admin_password: Option<String>,
    /// File with the password of the administrator
    #[arg(long, env = "ADMINPASSWORD_FILE", value_name = "FILE")]
    admin_password_file: Option<PathBuf>,

    /// TCP address for /livez, /readyz, /healthz and /metrics; `none` serves nothing
    #[arg(
        long,
        env = "POOL_GATEWAY_LISTEN_HEALTH",
        default_value = "[::]:4325",
        value_name = "ADDR"
    )]
    listen_health: String,
    /// Written when it serves, with its addresses; removed when it stops
    #[arg(long, env = "POOL_GATEWAY_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    log: LogConfig,
}

/// The configuration, checked.
pub struct Config {
    pub(crate) certs: PathBuf,
    pub(crate) cert_names: Vec<String>,
    pub(crate) listen_https: SocketAddr,
    pub(crate) connections_max: u32,
    pub(crate) files: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) grant_key: PathBuf,
    pub(crate) admin_login: String,
    pub(crate) admin_password: String,
    pub(crate) listen_health: Option<SocketAddr>,
    pub(crate) ready_file: Option<PathBuf>,
    /// How to log.
    pub log: LogConfig,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("files", &self.files)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// Checks everything and reads the secret.
    ///
    /// # Errors
    /// All problems, each naming the variable and the cure.
    pub fn into_config(self) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let password = secret("ADMINPASSWORD", self.admin_password, self.admin_password_file);
        let password = password.map_err(|problem| problems.push(problem));
        if self.admin_login.is_empty() || self.admin_login.contains(':') {
            problems.push(format!(
                "ADMINLOGIN is `{}`; over HTTP a login is not empty and has no colon",
                self.admin_login
            ));
        }
        let listen_health = daemon::http::address("POOL_GATEWAY_LISTEN_HEALTH", &self.listen_health);
        let listen_health = listen_health.map_err(|problem| problems.push(problem));
        if self.file_bytes_max == 0 {
            problems.push(
                "MAXFILESIZE is 0; no file is so short. It is in bytes, as 26214400 for 25 MiB".to_owned(),
            );
        }
        let (Ok(admin_password), Ok(listen_health), true) = (password, listen_health, problems.is_empty())
        else {
            return Err(problems);
        };
        let hours = |hours: u64| Millis::from_secs(hours.saturating_mul(3_600));
        Ok(Config {
            certs: self.certs,
            cert_names: self.cert_names,
            listen_https: self.listen_https,
            connections_max: self.connections_max,
            files: self.files.unwrap_or_else(|| self.data.join("files")),
            limits: Limits {
                file_bytes_max: self.file_bytes_max,
                owner_bytes_max: (self.files_quota > 0).then_some(self.files_quota),
                works_kept: (self.files_keep_hours > 0).then(|| hours(self.files_keep_hours)),
                ..Limits::default()
            },
            grant_key: self
                .grant_key
                .unwrap_or_else(|| self.data.join(wire_grant::KEY_FILE)),
            admin_login: self.admin_login,
            admin_password,
            listen_health,
            ready_file: self.ready_file,
            log: self.log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let options =
            Options::try_parse_from(std::iter::once("pool-gateway").chain(arguments.iter().copied()));
        options.expect("well-formed flags").into_config()
    }

    #[test]
    fn files_and_key_are_in_the_engines_folder_unless_it_is_said_otherwise() {
        let config = parse(&["--data", "/pool", "--admin-password", "x"]).expect("nothing else is needed");
        assert_eq!(config.files, PathBuf::from("/pool/files"));
        assert_eq!(config.grant_key, PathBuf::from("/pool/grant.key"));
        assert_eq!(config.limits, Limits::default());
        let arguments = [
            "--admin-password",
            "x",
            "--files",
            "/f",
            "--grant-key",
            "/k",
            "--files-keep-hours",
            "0",
        ];
        let config =
            parse(&[&arguments[..], &["--files-quota", "5"]].concat()).expect("nothing else is needed");
        assert_eq!((config.files, config.grant_key), ("/f".into(), "/k".into()));
        assert_eq!(
            (config.limits.works_kept, config.limits.owner_bytes_max),
            (None, Some(5))
        );
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let arguments = [
            "--listen-health",
            "4325",
            "--file-bytes-max",
            "0",
            "--admin-login",
            "a:b",
        ];
        let problems = parse(&arguments).expect_err("four problems");
        for (problem, named) in problems.iter().zip([
            "ADMINPASSWORD",
            "ADMINLOGIN is `a:b`",
            "POOL_GATEWAY_LISTEN_HEALTH is `4325`",
            "MAXFILESIZE is 0",
        ]) {
            assert!(problem.starts_with(named), "{problems:?}");
        }
        assert_eq!(problems.len(), 4);
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = parse(&["--admin-password", "sesame"]).expect("nothing else is needed");
        assert!(!format!("{config:?}").contains("sesame"));
    }
}
