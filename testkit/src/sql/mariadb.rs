//! A MariaDB server of a test's own: a real one, on a free port of loopback, in a folder that goes with it.
//!
//! It keeps what it has promised (`innodb_flush_log_at_trx_commit = 1`), may be killed and started again, and gives each
//! test databases of its own. A machine without the server fails the test and says what to install.

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use sqlx::Connection;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode};

use super::{PASSWORD, USER};

/// How long a start may take; it takes a quarter of a second.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A server. Dropped, it is killed.
#[derive(Debug)]
pub struct MariaDb {
    folder: tempfile::TempDir,
    port: u16,
    child: Option<Child>,
    databases: AtomicU32,
}

impl MariaDb {
    /// A new one with nothing in it.
    ///
    /// # Panics
    /// It does not start, or is not installed; the message says which, and what to do.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        bootstrap(folder.path());
        let mut server = Self {
            folder,
            port: 0,
            child: None,
            databases: AtomicU32::new(0),
        };
        server.start_again();
        server
    }

    /// Starts it, on the port of before if it had one.
    ///
    /// # Panics
    /// It does not start within a minute.
    pub fn start_again(&mut self) {
        let deadline = Instant::now() + START_WITHIN;
        loop {
            if self.port == 0 {
                // Somebody may take it before the server does; then another one is tried.
                let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
                self.port = free.local_addr().expect("it is bound").port();
            }
            self.spawn();
            if self.becomes_ready(deadline) {
                return;
            }
            self.child = None;
            assert!(
                Instant::now() < deadline,
                "the server does not start:\n{}",
                self.log()
            );
        }
    }

    fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file());
        // It ends with the thread that started it, also if that is killed.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program())
            .arg("--no-defaults")
            .args(folders(self.folder.path()))
            .arg(format!("--socket={}", self.socket().display()))
            .arg(format!("--pid-file={}", self.folder.path().join("pid").display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--user=root", "--skip-log-bin"])
            .args(["--innodb-log-file-size=64M", "--innodb-buffer-pool-size=128M"])
            .args([
                "--innodb-flush-log-at-trx-commit=1",
                "--character-set-server=latin1",
            ])
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

impl Drop for MariaDb {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of MariaDB\n{}", self.log());
        }
    }
}

/// What `mariadb-install-db` does, without the help texts and without the packages that it needs: 0.3 s.
fn bootstrap(folder: &Path) {
    let mut child = Command::new(program())
        .args([
            "--no-defaults",
            "--bootstrap",
            "--user=root",
            "--silent-startup",
            "--log-warnings=0",
        ])
        .arg("--innodb-log-file-size=64M")
        .args(folders(folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the server's program runs");
    let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
    for part in [
        "mysql_system_tables",
        "mysql_performance_tables",
        "mysql_system_tables_data",
    ] {
        let file = format!("/usr/share/mysql/{part}.sql");
        statements += &fs::read_to_string(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let mut input = child.stdin.take().expect("it is piped");
    let written = input.write_all(statements.as_bytes());
    drop(input);
    let done = child.wait_with_output().expect("our child");
    assert!(
        written.is_ok() && done.status.success(),
        "the first tables are not made: {written:?}, {}\n{}",
        done.status,
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Where it keeps what. Temporary tables too: a server that starts removes those of others from a folder that they share.
fn folders(folder: &Path) -> [String; 2] {
    let data = folder.join("data");
    fs::create_dir_all(&data).expect("a folder");
    [
        format!("--datadir={}", data.display()),
        format!("--tmpdir={}", folder.display()),
    ]
}

/// Debian keeps it where only root's PATH leads.
fn program() -> &'static str {
    let known = [
        "/usr/sbin/mariadbd",
        "/usr/bin/mariadbd",
        "/usr/local/bin/mariadbd",
    ];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    found.expect("MariaDB is here: `./dev test` installs it, else `apt-get install mariadb-server-core`")
}
