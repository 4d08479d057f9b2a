//! The options that say which database.

use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use clap::Args;
use daemon::secret;

use crate::database::{MySqlTarget, Target, Tls};

/// Where MySQL and MariaDB listen unless they are told otherwise.
const PORT: u16 = 3306;

/// Which database, as a command line and the environment say it: a file of SQLite, or a server if a host is given.
#[derive(Args, Clone)]
pub struct DatabaseOptions {
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
    /// PEM file of the CA that the server's certificate is under; with verify-ca and verify-full
    #[arg(long, env = "POOL_DB_CA", value_name = "FILE")]
    db_ca: Option<PathBuf>,
}

/// Without the password.
impl std::fmt::Debug for DatabaseOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DatabaseOptions")
            .field("database", &self.database)
            .field("db_host", &self.db_host)
            .field("db_name", &self.db_name)
            .field("db_user", &self.db_user)
            .finish_non_exhaustive()
    }
}

impl DatabaseOptions {
    /// The database that they mean; `data` is the engine's data folder.
    ///
    /// # Errors
    /// All problems, each naming the variable and the cure: `DBHOST` is no host, or the password is not to be had.
    pub fn into_target(self, data: &Path) -> Result<Target, Vec<String>> {
        if self.db_host.is_empty() {
            let file = self.database.unwrap_or_else(|| data.join("pool.sqlite"));
            return Ok(Target::Sqlite(file));
        }
        let at = host_and_port(&self.db_host);
        let ca = given(self.db_ca);
        let unused = unused_ca("POOL_DB_CA", "POOL_DB_TLS", self.db_tls, ca.as_deref());
        let password = secret("MYSQL_USER_PASSWORD", self.db_password, self.db_password_file);
        match (at, password, unused) {
            (Ok((host, port)), Ok(password), None) => Ok(Target::MySql(Box::new(MySqlTarget {
                host,
                port,
                user: self.db_user,
                password,
                database: self.db_name,
                tls: self.db_tls,
                ca,
            }))),
            (at, password, unused) => {
                let problems = [at.err(), password.err(), unused];
                Err(problems.into_iter().flatten().collect())
            }
        }
    }
}

/// Which database of the predecessor, as a command line and the environment say it.
#[derive(Args, Clone)]
pub struct PredecessorOptions {
    /// Its database: mysql://user@host:3306/database, or with ?socket=/path behind it; the password is given apart
    #[arg(long, value_name = "URL")]
    from: String,
    /// Password of that account; only as a variable, because other users see arguments
    #[arg(skip = std::env::var("POOL_IMPORT_PASSWORD").ok())]
    from_password: Option<String>,
    /// File with the password of that account; or POOL_IMPORT_PASSWORD, which is no argument because other users see those
    #[arg(long, env = "POOL_IMPORT_PASSWORD_FILE", value_name = "FILE")]
    from_password_file: Option<PathBuf>,
    /// How the connection to that server is protected
    #[arg(long, default_value = "prefer", value_name = "HOW")]
    from_tls: Tls,
    /// PEM file of the CA that the certificate of that server is under; with verify-ca and verify-full
    #[arg(long, value_name = "FILE")]
    from_ca: Option<PathBuf>,
}

/// Without the password, which may be in the address by mistake.
impl std::fmt::Debug for PredecessorOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PredecessorOptions").finish_non_exhaustive()
    }
}

impl PredecessorOptions {
    /// The database that they mean.
    ///
    /// # Errors
    /// All problems, each naming the option and the cure.
    pub fn into_target(self) -> Result<MySqlTarget, Vec<String>> {
        let password = secret(
            "POOL_IMPORT_PASSWORD",
            self.from_password,
            self.from_password_file,
        );
        let ca = given(self.from_ca);
        let unused = unused_ca("--from-ca", "--from-tls", self.from_tls, ca.as_deref());
        let missing = password.as_ref().err().cloned();
        let password = password.unwrap_or_default();
        let target = MySqlTarget::from_url(&self.from, password, self.from_tls, ca);
        match (target, missing, unused) {
            (Ok(target), None, None) => Ok(target),
            (target, missing, unused) => {
                let wrong = target.err().map(|problem| format!("--from: {problem}"));
                Err([wrong, missing, unused].into_iter().flatten().collect())
            }
        }
    }
}

/// An empty variable says nothing, as compose passes those that are not set.
fn given(file: Option<PathBuf>) -> Option<PathBuf> {
    file.filter(|file| !file.as_os_str().is_empty())
}

/// Whoever gives a CA means that certificates are looked at.
fn unused_ca(option: &str, how: &str, tls: Tls, ca: Option<&Path>) -> Option<String> {
    let ca = ca.filter(|_| !matches!(tls, Tls::VerifyCa | Tls::VerifyFull))?;
    Some(format!(
        "{option} is {}, but no certificate is looked at: set {how} to verify-full or verify-ca, or leave {option} out",
        ca.display()
    ))
}

/// `host`, `host:port`, `::1`, `[::1]`, `[::1]:port` or the path of a socket.
fn host_and_port(text: &str) -> Result<(String, u16), String> {
    if text.starts_with('/') || text.parse::<Ipv6Addr>().is_ok() {
        return Ok((text.to_owned(), PORT));
    }
    let split = match text.strip_prefix('[') {
        // What is in brackets may hold colons.
        Some(text) => text.split_once(']').and_then(|(host, rest)| match rest {
            "" => Some((host, None)),
            rest => Some((host, Some(rest.strip_prefix(':')?))),
        }),
        None => match text.split_once(':') {
            None => Some((text, None)),
            Some((host, port)) => Some((host, Some(port))),
        },
    };
    let at = split.and_then(|(host, port)| Some((host.to_owned(), port.map_or(Some(PORT), a_port)?)));
    at.filter(|(host, _)| !host.is_empty()).ok_or_else(|| {
        format!(
            "DBHOST is `{text}`; it must be a host, a host and a port from 1 to 65535, as db:3306 or [::1]:3306, or the \
             path of a unix socket"
        )
    })
}

fn a_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    /// Of a program that has these options and no others.
    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        options: DatabaseOptions,
    }

    fn parse(arguments: &[&str]) -> DatabaseOptions {
        let program = Program::try_parse_from(std::iter::once("program").chain(arguments.iter().copied()));
        program.expect("well-formed flags").options
    }

    #[test]
    fn a_host_needs_a_password_and_may_have_a_port() {
        let data = Path::new("/pool");
        let problems = parse(&["--db-host", "db"]).into_target(data);
        let problems = problems.expect_err("no password");
        assert!(problems[0].contains("MYSQL_USER_PASSWORD_FILE"), "{problems:?}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("secret");
        std::fs::write(&file, "open sesame\n").expect("a file");
        let file = file.to_str().expect("a name");
        let options = parse(&["--db-host", "db:3307", "--db-password-file", file]);
        let target = options.into_target(data).expect("all is given");
        assert_eq!(target.to_string(), "mysql://db:3307/iexec");
        assert!(
            !format!("{target:?}").contains("sesame"),
            "secrets are not printed"
        );
    }

    #[test]
    fn a_ca_that_nobody_looks_at_is_refused() {
        let given = |tls: &str| {
            let mut options = parse(&["--db-host", "db", "--db-ca", "ca.pem", "--db-tls", tls]);
            options.db_password = Some("open sesame".to_owned());
            options.into_target(Path::new("/pool"))
        };
        for tls in ["off", "prefer", "require"] {
            let problems = given(tls).expect_err(tls);
            assert!(
                problems[0].starts_with("POOL_DB_CA is ca.pem, but no certificate is looked at"),
                "{problems:?}"
            );
        }
        for tls in ["verify-ca", "verify-full"] {
            given(tls).expect(tls);
        }
    }

    #[test]
    fn a_password_from_the_environment_is_not_printed() {
        let mut options = parse(&["--db-host", "db"]);
        options.db_password = Some("open sesame".to_owned());
        assert!(!format!("{options:?}").contains("sesame"), "{options:?}");
    }

    #[test]
    fn hosts_are_names_addresses_or_sockets() {
        for (text, host, port) in [
            ("db", "db", 3306),
            ("db:3307", "db", 3307),
            ("10.0.0.1:1", "10.0.0.1", 1),
            ("::1", "::1", 3306),
            ("[::1]", "::1", 3306),
            ("[::1]:3307", "::1", 3307),
            ("/run/mysqld/mysqld.sock", "/run/mysqld/mysqld.sock", 3306),
        ] {
            assert_eq!(host_and_port(text), Ok((host.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn a_port_that_is_none_is_no_part_of_the_name() {
        for text in [
            "db:33x",
            "db:99999",
            "db:0",
            "db:",
            "db:-1",
            ":3306",
            "a:b:1",
            "[::1",
            "[::1]3306",
            "[]:3306",
        ] {
            let problem = host_and_port(text).expect_err(text);
            assert!(
                problem.starts_with(&format!("DBHOST is `{text}`; it must be a host")),
                "{problem}"
            );
        }
        let problems = parse(&["--db-host", "db:33x"]).into_target(Path::new("/pool"));
        let problems = problems.expect_err("neither port nor password");
        assert_eq!(problems.len(), 2, "all problems are told: {problems:?}");
    }
}
