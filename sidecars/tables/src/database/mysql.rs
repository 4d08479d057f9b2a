//! A database of a MySQL or MariaDB server.

use std::fmt;
use std::path::PathBuf;

use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};

use super::statement::CACHED_MAX;
use super::{DatabaseError, sql};

/// Where it is, and who asks.
#[derive(Clone)]
pub struct MySqlTarget {
    /// Name or address of the server, or the path of its unix socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Account.
    pub user: String,
    /// Its password; it is printed nowhere.
    pub password: String,
    /// Name of the database.
    pub database: String,
    /// How the connection is protected.
    pub tls: Tls,
    /// PEM file of the CA that the server's certificate is under; `None`: the well-known ones.
    pub ca: Option<PathBuf>,
}

/// How the connection is protected.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// Not at all.
    Off,
    /// By TLS if the server can, whoever it is.
    Prefer,
    /// By TLS, whoever the server is.
    Require,
    /// By TLS, and the server's certificate is under the CA.
    VerifyCa,
    /// The same, and it is for this host.
    VerifyFull,
}

impl MySqlTarget {
    /// The database that an address means: `mysql://user@host[:port]/database[?socket=/path]`, port 3306 unless it says
    /// otherwise; what is special in a name is percent-encoded. Whatever else the address asks for is not done.
    ///
    /// # Errors
    /// What is wrong with it and what to do, without what may be a password.
    pub fn from_url(url: &str, password: String, tls: Tls, ca: Option<PathBuf>) -> Result<Self, String> {
        const FORM: &str = "it must be mysql://user@host:3306/database";
        let rest = url
            .strip_prefix("mysql://")
            .or_else(|| url.strip_prefix("mariadb://"))
            .ok_or_else(|| format!("the address begins with neither mysql:// nor mariadb://; {FORM}"))?;
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let (user, _) = authority
            .rsplit_once('@')
            .filter(|(user, _)| !user.is_empty())
            .ok_or_else(|| format!("the address names no account; {FORM}"))?;
        if user.contains(':') {
            return Err(format!(
                "the address holds a password, which other users of this machine see; {FORM}, and the password given apart"
            ));
        }
        let options: MySqlConnectOptions = url
            .parse()
            .map_err(|error| format!("the address cannot be read: {error}; {FORM}"))?;
        let socket = options.get_socket().map(|path| path.display().to_string());
        let host = options.get_host().trim_matches(['[', ']']).to_owned();
        Ok(Self {
            host: socket.unwrap_or(host),
            port: options.get_port(),
            user: options.get_username().to_owned(),
            password,
            database: options
                .get_database()
                .ok_or_else(|| format!("the address names no database; {FORM}"))?
                .to_owned(),
            tls,
            ca,
        })
    }
}

impl fmt::Display for MySqlTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.starts_with('/') {
            write!(f, "mysql:{}/{}", self.host, self.database)
        } else {
            write!(f, "mysql://{}:{}/{}", self.host, self.port, self.database)
        }
    }
}

impl fmt::Debug for MySqlTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MySqlTarget")
            .field("at", &self.to_string())
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

pub(super) async fn open(target: &MySqlTarget) -> Result<MySqlConnection, DatabaseError> {
    let mode = match target.tls {
        Tls::Off => MySqlSslMode::Disabled,
        Tls::Prefer => MySqlSslMode::Preferred,
        Tls::Require => MySqlSslMode::Required,
        Tls::VerifyCa => MySqlSslMode::VerifyCa,
        Tls::VerifyFull => MySqlSslMode::VerifyIdentity,
    };
    let mut options = MySqlConnectOptions::new()
        .username(&target.user)
        .password(&target.password)
        .database(&target.database)
        .charset("utf8mb4")
        .ssl_mode(mode)
        .statement_cache_capacity(CACHED_MAX);
    options = if target.host.starts_with('/') {
        options.socket(&target.host)
    } else {
        options.host(&target.host).port(target.port)
    };
    if let Some(ca) = &target.ca {
        options = options.ssl_ca(ca);
    }
    let mut connection = MySqlConnection::connect_with(&options)
        .await
        .map_err(sql("connect to"))?;
    // A value that does not fit is an error, not another value; and whoever holds a row of ours is waited for a while.
    let settings = "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
                    SESSION innodb_lock_wait_timeout = 20";
    sqlx::raw_sql(settings)
        .execute(&mut connection)
        .await
        .map_err(sql("connect to"))?;
    Ok(connection)
}

/// The same, and the server refuses whatever would change something.
pub(super) async fn open_read_only(target: &MySqlTarget) -> Result<MySqlConnection, DatabaseError> {
    let mut connection = open(target).await?;
    sqlx::raw_sql("SET SESSION TRANSACTION READ ONLY")
        .execute(&mut connection)
        .await
        .map_err(sql("connect to"))?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_in_nothing_that_is_printed() {
        let target = MySqlTarget {
            host: "db".to_owned(),
            port: 3306,
            user: "pool".to_owned(),
            password: "open sesame".to_owned(),
            database: "iexec".to_owned(),
            tls: Tls::Prefer,
            ca: None,
        };
        assert_eq!(target.to_string(), "mysql://db:3306/iexec");
        assert!(!format!("{target:?}").contains("sesame"), "{target:?}");
    }

    fn from_url(url: &str) -> Result<MySqlTarget, String> {
        MySqlTarget::from_url(url, "open sesame".to_owned(), Tls::Prefer, None)
    }

    #[test]
    fn an_address_says_where_and_who() {
        for (url, at, user) in [
            ("mysql://root@db/xtremweb", "mysql://db:3306/xtremweb", "root"),
            (
                "mariadb://a%40b@10.0.0.1:3307/x",
                "mysql://10.0.0.1:3307/x",
                "a@b",
            ),
            ("mysql://root@[::1]:3307/x", "mysql://::1:3307/x", "root"),
            (
                "mysql://root@localhost/x?socket=/run/mysqld/mysqld.sock",
                "mysql:/run/mysqld/mysqld.sock/x",
                "root",
            ),
        ] {
            let target = from_url(url).expect(url);
            assert_eq!((target.to_string().as_str(), target.user.as_str()), (at, user));
            assert_eq!(target.password, "open sesame");
        }
    }

    #[test]
    fn an_address_that_is_none_is_refused_without_its_password() {
        for (url, says) in [
            ("postgres://root@db/x", "neither mysql:// nor mariadb://"),
            ("mysql://db/x", "no account"),
            ("mysql://@db/x", "no account"),
            ("mysql://root@db", "no database"),
            ("mysql://root@db:99999/x", "cannot be read"),
            ("mysql://root:fish@db/x", "holds a password"),
            ("mysql://root:fi@fish@db/x", "holds a password"),
        ] {
            let refused = from_url(url).expect_err(url);
            assert!(refused.contains(says), "{url}: {refused}");
            assert!(!refused.contains("fish"), "{refused}");
        }
    }
}
