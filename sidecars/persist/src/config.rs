//! What an operator may set: flags, each with its environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use daemon::log::LogConfig;
use daemon::secret;

use crate::database::{MySqlTarget, Target, Tls};

const AFTER_HELP: &str = "\
Examples:
  Beside an engine on this machine, into a file in its folder:
    pool-persist --data data/engine
  Into a MariaDB server:
    DBHOST=db MYSQL_USER_PASSWORD_FILE=secrets/db pool-persist --data data/engine

Start and stop it whenever you like, also kill -9: it goes on where the database is, and nothing is written twice. The
engine keeps its records until they are stored here. While the engine or the database is away it tries again, at
first after 0.1 s, then less often, at most every 10 s. SIGTERM or SIGINT stops in good order, within 9 s; a second signal
at once.

Exit codes:
  0  stopped in good order
  1  failed, or stopped by a second signal
  2  wrong usage
  3  the configuration cannot be used; all problems are printed
  4  the address of --listen-health is taken
  5  the database is of another journal or a newer version, or somebody else writes to it; it was left as it was
  6  the engine does not have the records that come next; start over with an empty database, or restore a newer copy";

/// Writes what the engine's journal says into a database: works, attempts, workers, users and every change of state.
///
/// It follows the engine's feed from where the database is. The engine never waits for it.
#[derive(Parser, Debug)]
#[command(name = "pool-persist", version, max_term_width = 110, after_long_help = AFTER_HELP)]
pub struct Options {
    /// The engine's data folder, with its feed.sock
    #[arg(
        long,
        env = "SCHEDULER_PERSISTING_FOLDER",
        default_value = "data/engine",
        value_name = "DIR"
    )]
    data: PathBuf,
    /// File of the SQLite database [default: pool.sqlite in the data folder]
    #[arg(long, env = "POOL_DATABASE_FILE", value_name = "FILE")]
    database: Option<PathBuf>,
    /// Host of a MySQL or MariaDB server: host, host:port (default port 3306), or the path of its unix socket. Empty: the
    /// SQLite file
    #[arg(long, env = "DBHOST", default_value = "", value_name = "HOST[:PORT]")]
    db_host: String,
    /// Name of the database there
    #[arg(long, env = "MYSQL_DB_NAME", default_value = "iexec", value_name = "NAME")]
    db_name: String,
    /// Account there. It may create tables the first time and after an update; else to select, insert, update and delete
    /// is enough
    #[arg(long, env = "MYSQL_USER_LOGIN", default_value = "pool", value_name = "NAME")]
    db_user: String,
    /// Password of the account; only as a variable, because other users see arguments
    #[arg(skip = std::env::var("MYSQL_USER_PASSWORD").ok())]
    db_password: Option<String>,
    /// File with the password of the account; or MYSQL_USER_PASSWORD, which is no argument because other users see those
    #[arg(long, env = "MYSQL_USER_PASSWORD_FILE", value_name = "FILE")]
    db_password_file: Option<PathBuf>,
    /// How the connection to the server is protected
    #[arg(long, env = "POOL_DB_TLS", default_value = "prefer", value_name = "HOW")]
    db_tls: Tls,
    /// PEM file of the CA that the server's certificate is under
    #[arg(long, env = "POOL_DB_CA", value_name = "FILE")]
    db_ca: Option<PathBuf>,

    /// TCP address for /livez, /readyz, /healthz and /metrics; `none` serves nothing
    #[arg(
        long,
        env = "POOL_PERSIST_LISTEN_HEALTH",
        default_value = "[::]:4324",
        value_name = "ADDR"
    )]
    listen_health: String,
    /// Written when it serves health and metrics, with its address; removed when it stops
    #[arg(long, env = "POOL_PERSIST_READY_FILE", value_name = "FILE")]
    ready_file: Option<PathBuf>,

    #[command(flatten)]
    log: LogConfig,
}

/// The configuration, checked.
#[derive(Debug)]
pub struct Config {
    pub(crate) feed: PathBuf,
    pub(crate) target: Target,
    pub(crate) listen_health: Option<SocketAddr>,
    pub(crate) ready_file: Option<PathBuf>,
    /// How to log.
    pub log: LogConfig,
}

impl Options {
    /// Checks everything.
    ///
    /// # Errors
    /// All problems, each naming the variable and the cure.
    pub fn into_config(self) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let listen_health = match &*self.listen_health {
            "none" => None,
            address => {
                let address = address.parse();
                if address.is_err() {
                    problems.push(format!(
                        "POOL_PERSIST_LISTEN_HEALTH is `{}`; it must be an address and a port, as [::]:4324, or none",
                        self.listen_health
                    ));
                }
                address.ok()
            }
        };
        let target = if self.db_host.is_empty() {
            let file = self.database.unwrap_or_else(|| self.data.join("pool.sqlite"));
            Ok(Target::Sqlite(file))
        } else {
            let (host, port) = host_and_port(&self.db_host);
            secret("MYSQL_USER_PASSWORD", self.db_password, self.db_password_file).map(|password| {
                Target::MySql(Box::new(MySqlTarget {
                    host,
                    port,
                    user: self.db_user,
                    password,
                    database: self.db_name,
                    tls: self.db_tls,
                    ca: self.db_ca,
                }))
            })
        };
        let target = target.map_err(|problem| problems.push(problem));
        let (Ok(target), true) = (target, problems.is_empty()) else {
            return Err(problems);
        };
        Ok(Config {
            feed: self.data.join("feed.sock"),
            target,
            listen_health,
            ready_file: self.ready_file,
            log: self.log,
        })
    }
}

/// `host`, `host:port`, `[::1]:port` or the path of a socket.
fn host_and_port(text: &str) -> (String, u16) {
    const PORT: u16 = 3306;
    let whole = || (text.to_owned(), PORT);
    if text.starts_with('/') || text.parse::<std::net::Ipv6Addr>().is_ok() {
        return whole();
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return whole();
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    port.parse()
        .map_or_else(|_| whole(), |port| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Config, Vec<String>> {
        let options =
            Options::try_parse_from(std::iter::once("pool-persist").chain(arguments.iter().copied()));
        options.expect("well-formed flags").into_config()
    }

    #[test]
    fn without_a_host_it_writes_to_a_file_in_the_engines_folder() {
        let config = parse(&["--data", "/pool", "--db-host", ""]).expect("nothing else is needed");
        assert_eq!(config.target.to_string(), "/pool/pool.sqlite");
        assert_eq!(config.feed, PathBuf::from("/pool/feed.sock"));
        let config = parse(&["--database", "/elsewhere/x.sqlite"]).expect("nothing else is needed");
        assert_eq!(config.target.to_string(), "/elsewhere/x.sqlite");
    }

    #[test]
    fn a_host_needs_a_password_and_may_have_a_port() {
        let problems = parse(&["--db-host", "db"]).expect_err("no password");
        assert!(problems[0].contains("MYSQL_USER_PASSWORD_FILE"), "{problems:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\n").expect("a file");
        let file = file.to_str().expect("a name");
        let config = parse(&["--db-host", "db:3307", "--db-password-file", file]).expect("all is given");
        assert_eq!(config.target.to_string(), "mysql://db:3307/iexec");
        assert!(
            !format!("{config:?}").contains("sesame"),
            "secrets are not printed"
        );
    }

    #[test]
    fn hosts_are_names_addresses_or_sockets() {
        for (text, host, port) in [
            ("db", "db", 3306),
            ("db:3307", "db", 3307),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("::1", "::1", 3306),
            ("[::1]:3307", "::1", 3307),
            ("/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", 3306),
        ] {
            assert_eq!(host_and_port(text), (host.to_owned(), port), "{text}");
        }
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        assert_eq!(
            parse(&["--listen-health", "none"])
                .expect("it may be off")
                .listen_health,
            None
        );
        let problems = parse(&["--listen-health", "4324"]).expect_err("a port alone");
        assert!(
            problems[0].starts_with("POOL_PERSIST_LISTEN_HEALTH is `4324`"),
            "{problems:?}"
        );
    }
}
