//! A MariaDB server of the bench's own: on a free port of loopback, in a folder that goes with it. Its commits are
//! durable, its buffer pool is larger than the default.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

/// How long a start may take.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// Name of the database, of the account and of its password.
pub(crate) const NAME: &str = "bench";

/// A server with an empty database. Dropping it kills it; its files go with its folder.
pub(crate) struct MariaDb {
    port: u16,
    child: Child,
}

impl MariaDb {
    /// Starts one in this folder.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let program = program()?;
        let data = folder.join("mariadb");
        fs::create_dir_all(&data)?;
        bootstrap(program, &data)?;
        let first = data.join("first.sql");
        fs::write(
            &first,
            format!(
                "CREATE DATABASE {NAME};\nCREATE USER {NAME}@'%' IDENTIFIED BY '{NAME}';\n\
                 GRANT ALL ON {NAME}.* TO {NAME}@'%';\n"
            ),
        )?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let child = Command::new(program)
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .arg(format!("--tmpdir={}", folder.display()))
            .arg(format!("--socket={}", data.join("server.sock").display()))
            .arg(format!("--pid-file={}", data.join("pid").display()))
            .arg(format!("--init-file={}", first.display()))
            .arg(format!("--port={port}"))
            .args(["--bind-address=127.0.0.1", "--user=root", "--skip-log-bin"])
            .args(["--innodb-log-file-size=1G", "--innodb-buffer-pool-size=1G"])
            .arg("--innodb-flush-log-at-trx-commit=1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(data.join("log"))?)
            .spawn()?;
        let mut server = Self { port, child };
        let deadline = Instant::now() + READY_DEADLINE;
        // It listens after it has run the first file.
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if server.child.try_wait()?.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(data.join("log")).unwrap_or_default();
                bail!("MariaDB does not start:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// It stands still: connections stay, nothing is answered.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// It goes on.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(self.pid() as i32).context("it runs")?;
        kill_process(pid, signal).context("cannot signal MariaDB")
    }
}

impl Drop for MariaDb {
    fn drop(&mut self) {
        // Its files go with it, so there is nothing to save.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The tables of a new server, from its own files.
fn bootstrap(program: &str, data: &Path) -> Result<()> {
    let mut child = Command::new(program)
        .args([
            "--no-defaults",
            "--bootstrap",
            "--user=root",
            "--silent-startup",
            "--log-warnings=0",
        ])
        .arg("--innodb-log-file-size=1G")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--tmpdir={}", data.parent().unwrap_or(data).display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut statements = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n".to_owned();
    for part in [
        "mysql_system_tables",
        "mysql_performance_tables",
        "mysql_system_tables_data",
    ] {
        let file = format!("/usr/share/mysql/{part}.sql");
        statements += &fs::read_to_string(&file).with_context(|| file.clone())?;
    }
    let mut input = child.stdin.take().context("it is piped")?;
    input.write_all(statements.as_bytes())?;
    drop(input);
    ensure!(child.wait()?.success(), "MariaDB's first tables cannot be made");
    Ok(())
}

/// Debian keeps it where only root's PATH leads.
fn program() -> Result<&'static str> {
    let known = [
        "/usr/sbin/mariadbd",
        "/usr/bin/mariadbd",
        "/usr/local/bin/mariadbd",
    ];
    let found = known.into_iter().find(|path| Path::new(path).exists());
    found.context("there is no MariaDB here: apt-get install mariadb-server-core")
}
