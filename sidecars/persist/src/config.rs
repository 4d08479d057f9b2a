//! What an operator may set: flags, each with its environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use daemon::log::LogConfig;
use sidecars_tables::{DatabaseOptions, Target};

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
  6  the engine does not have the records that come next; restore a newer copy of the database, or fill an empty one with
     `pool db rebuild`";

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
    #[command(flatten)]
    database: DatabaseOptions,

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
        let listen_health = daemon::http::address("POOL_PERSIST_LISTEN_HEALTH", &self.listen_health);
        let listen_health = listen_health.map_err(|problem| problems.push(problem));
        let target = self.database.into_target(&self.data);
        let target = target.map_err(|found| problems.extend(found));
        let (Ok(target), Ok(listen_health)) = (target, listen_health) else {
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
