//! The sidecar's process.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use sidecars_tables::Target;

use testkit::processes::{Signal, appended, signal, until, wait_for};

/// A `pool-persist` process, which may be killed and started again. Dropped, it is killed.
pub(crate) struct Sidecar {
    engine: PathBuf,
    folder: PathBuf,
    options: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Sidecar {
    /// What makes a sidecar write to this database.
    pub(crate) fn variables(target: &Target) -> Vec<(&'static str, String)> {
        match target {
            Target::Sqlite(file) => vec![("POOL_DATABASE_FILE", file.display().to_string())],
            Target::MySql(target) => vec![
                ("DBHOST", format!("{}:{}", target.host, target.port)),
                ("MYSQL_DB_NAME", target.database.clone()),
                ("MYSQL_USER_LOGIN", target.user.clone()),
                ("MYSQL_USER_PASSWORD", target.password.clone()),
            ],
        }
    }

    /// One for the engine with this data folder and this database; its own files go to `folder`. Not started yet.
    pub(crate) fn new(engine: &Path, folder: &Path, target: &Target) -> Self {
        Self {
            engine: engine.to_owned(),
            folder: folder.to_owned(),
            options: Self::variables(target),
            child: None,
        }
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let child = Command::new(env!("CARGO_BIN_EXE_pool-persist"))
            .env_clear()
            .arg("--data")
            .arg(&self.engine)
            .args(["--listen-health", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(self.ready_file())
            .envs(self.options.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(appended(&self.log_file()))
            .spawn();
        self.child = Some(child.expect("the sidecar can be started"));
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
        drop(fs::remove_file(self.ready_file()));
    }

    /// SIGTERM, and its end in good order.
    pub(crate) fn stop(&mut self) {
        signal(self.child.as_ref().expect("it runs").id(), Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Waits until it ends by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_for(&mut child).expect("it ends")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Waits until the database has all records up to this one.
    pub(crate) fn wait_for_lsn(&mut self, lsn: u64) {
        until(&format!("the database has record {lsn}"), || {
            let ended = self
                .child
                .as_mut()
                .expect("it runs")
                .try_wait()
                .expect("our child");
            assert!(ended.is_none(), "it ended, {ended:?}:\n{}", self.log());
            self.metric("pool_persist_lsn") >= Some(lsn as f64)
        });
    }

    /// One of its metrics; `None`: it cannot be asked at the moment.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line?.parse().ok()
    }

    /// What it answers over HTTP.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let ready = fs::read(self.ready_file()).ok()?;
        let ready: serde_json::Value = serde_json::from_slice(&ready).ok()?;
        let address: SocketAddr = ready["health"].as_str()?.parse().ok()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }

    /// All that it has logged in all its runs.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.join("persist.log")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("persist.json")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of the sidecar\n{}", self.log());
        }
    }
}
