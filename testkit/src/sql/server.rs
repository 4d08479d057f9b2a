//! A server of a test's own: a real one, on a free port of loopback, in a folder that goes with it.
//!
//! It keeps what it has promised (`innodb_flush_log_at_trx_commit = 1`), may be killed and started again, and gives each
//! test databases of its own. A machine without the server fails the test and says what to install.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};

use super::{PASSWORD, USER, mariadb, mysql};

/// How long a start may take; it takes a quarter of a second, of MySQL a whole one.
const START_WITHIN: Duration = Duration::from_secs(60);

/// Which program it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SqlKind {
    /// MariaDB, over TCP without TLS.
    MariaDb,
    /// MySQL, over TCP with TLS: its accounts want it.
    MySql,
}

impl SqlKind {
    /// All that tests should know.
    pub const ALL: [Self; 2] = [Self::MariaDb, Self::MySql];

    /// A login over TCP needs TLS. The certificate is one that the server made for itself.
    #[must_use]
    pub fn wants_tls(self) -> bool {
        self == Self::MySql
    }
}

/// A server. Dropped, it is killed.
#[derive(Debug)]
pub struct SqlServer {
    kind: SqlKind,
    options: Vec<String>,
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    databases: AtomicU32,
}

impl SqlServer {
    /// A new one with nothing in it.
    ///
    /// # Panics
    /// It does not start, or is not installed; the message says which, and what to do.
    #[must_use]
    pub fn start(kind: SqlKind) -> Self {
        Self::start_with(kind, &[])
    }

    /// One of each kind, in the order of [`SqlKind::ALL`].
    ///
    /// # Panics
    /// As [`SqlServer::start`].
    #[must_use]
    pub fn start_each() -> [Self; 2] {
        let mut servers = SqlKind::ALL.map(|kind| Self::launch(kind, &[]));
        for server in &mut servers {
            server.wait_until_ready();
        }
        servers
    }

    /// One with options of its own, as `--ssl-ca=…`.
    ///
    /// # Panics
    /// As [`SqlServer::start`].
    #[must_use]
    pub fn start_with(kind: SqlKind, options: &[String]) -> Self {
        let mut server = Self::launch(kind, options);
        server.wait_until_ready();
        server
    }

    fn launch(kind: SqlKind, options: &[String]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        match kind {
            SqlKind::MariaDb => mariadb::bootstrap(folder.path()),
            SqlKind::MySql => mysql::bootstrap(folder.path()),
        }
        let mut server = Self {
            kind,
            options: options.to_vec(),
            folder,
            port: free_port(),
            child: None,
            databases: AtomicU32::new(0),
        };
        server.spawn();
        server
    }

    /// Starts it again, on the port of before.
    ///
    /// # Panics
    /// It does not start within a minute.
    pub fn start_again(&mut self) {
        self.spawn();
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_WITHIN;
        while !self.becomes_ready(deadline) {
            assert!(
                Instant::now() < deadline,
                "the server does not start:\n{}",
                self.log()
            );
            // Somebody took the port before it did; one of before has clients that know it.
            if self.databases.load(Ordering::Relaxed) == 0 {
                self.port = free_port();
            }
            self.spawn();
        }
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file());
        let (program, particular) = match self.kind {
            SqlKind::MariaDb => (mariadb::program(), mariadb::OPTIONS),
            SqlKind::MySql => (mysql::program(), mysql::OPTIONS),
        };
        // It ends with the thread that started it, also if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .arg("--no-defaults")
            .args(folders(self.folder.path()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.folder.path().join("pid").display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--user=root", "--skip-log-bin"])
            .args(["--innodb-buffer-pool-size=128M", "--character-set-server=latin1"])
            .arg("--innodb-flush-log-at-trx-commit=1")
            .args(particular)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.expect("a log file"))
            .spawn();
        self.child = Some(child.expect("setpriv (util-linux) starts the server"));
    }

    fn becomes_ready(&mut self, deadline: Instant) -> bool {
        while Instant::now() < deadline {
            let child = self.child.as_mut().expect("it was started");
            if child.try_wait().expect("our child").is_some() {
                return false;
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Which program it is.
    #[must_use]
    pub fn kind(&self) -> SqlKind {
        self.kind
    }

    /// kill -9.
    ///
    /// # Panics
    /// It does not run.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// Its TCP port, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Makes an empty database in which [`USER`] may do everything; its name.
    ///
    /// # Panics
    /// The server is not there.
    pub async fn database(&self) -> String {
        let name = format!("pool_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let password = PASSWORD.replace('\\', "\\\\").replace('\'', "''");
        self.run(&format!(
            "CREATE DATABASE {name}; \
             CREATE USER IF NOT EXISTS {USER}@'%' IDENTIFIED BY '{password}'; \
             GRANT ALL ON {name}.* TO {USER}@'%'"
        ))
        .await;
        name
    }

    /// Its version, as `8.4.10-0ubuntu0.25.10.1`.
    ///
    /// # Panics
    /// The server is not there.
    pub async fn version(&self) -> String {
        let mut root = self.root().await;
        let version = sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut root).await;
        version.expect("it has one")
    }

    /// Runs statements as root.
    ///
    /// # Panics
    /// One of them fails.
    pub async fn run(&self, statements: &str) {
        let mut root = self.root().await;
        let text = sqlx::AssertSqlSafe(statements.to_owned());
        let done = sqlx::raw_sql(text).execute(&mut root).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error}"));
    }

    /// A connection of root.
    ///
    /// # Panics
    /// The server is not there for a minute.
    pub async fn root(&self) -> MySqlConnection {
        let options = MySqlConnectOptions::new()
            .socket(self.socket())
            .username("root")
            .ssl_mode(MySqlSslMode::Disabled);
        let deadline = Instant::now() + START_WITHIN;
        loop {
            match MySqlConnection::connect_with(&options).await {
                Ok(root) => return root,
                Err(error) => assert!(Instant::now() < deadline, "{error}\n{}", self.log()),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("server.sock")
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }
}

impl Drop for SqlServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of {:?}\n{}", self.kind, self.log());
        }
    }
}

fn free_port() -> u16 {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    free.local_addr().expect("it is bound").port()
}

/// Where it keeps what. Temporary tables too: a server that starts removes those of others from a folder that they share.
pub(super) fn folders(folder: &Path) -> [String; 2] {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    [
        format!("--datadir={}", data.display()),
        format!("--tmpdir={}", folder.display()),
    ]
}
