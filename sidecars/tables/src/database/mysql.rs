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
}
