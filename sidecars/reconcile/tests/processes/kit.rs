//! A sidecar's process, and all that it is told at start.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use devnet::Devnet;
use testkit::processes::{Engine, PASSWORD, Signal, appended, signal, until, wait_for};

/// The password of every keystore.
pub(crate) const HUSH: &str = "hush";

/// A `pool-reconcile` process, which may be killed and started again. Dropped, it is killed.
pub(crate) struct Sidecar {
    folder: tempfile::TempDir,
    variables: Vec<(String, String)>,
    child: Option<Child>,
}

impl Sidecar {
    /// One for the pool of a chain and an engine; not started yet.
    pub(crate) fn new(devnet: &Devnet, engine: &Engine) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let wallet = keystore(folder.path(), &devnet.keys()[1]);
        let contracts = devnet.contracts();
        let variables = [
            ("ETHNODE", devnet.url().to_owned()),
            ("RLCCONTRACT", contracts.rlc.to_string()),
            ("IEXECHUBCONTRACT", contracts.hub.to_string()),
            ("WORKERPOOLADDRESS", contracts.pool.to_string()),
            ("WALLETPATH", wallet.display().to_string()),
            ("WALLETPASSWORD", HUSH.to_owned()),
            ("POOL_ENGINE_CLIENT", engine.clients().to_string()),
            ("POOL_SERVER_NAME", "localhost".to_owned()),
            ("POOL_CA", engine.ca().display().to_string()),
            ("ADMINPASSWORD", PASSWORD.to_owned()),
            ("POOL_CHAIN_BLOCK_S", "1".to_owned()),
            ("POOL_CHAIN_POLL", "200ms".to_owned()),
            ("POOL_CHAIN_CONFIRMATIONS", "1".to_owned()),
        ];
        Self {
            folder,
            variables: variables.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            child: None,
        }
    }

    /// The same with another value of a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(of, _)| of != name);
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs");
        drop(fs::remove_file(self.ready_file()));
        let child = Command::new(env!("CARGO_BIN_EXE_pool-reconcile"))
            .env_clear()
            .args(["--listen-health", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(self.ready_file())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
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
    }

    /// SIGTERM, and its end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        signal(self.child.as_ref().expect("it runs").id(), Signal::TERM);
        self.wait()
    }

    /// Its end, which it comes to by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait_for(&mut child).expect("it ends")
    }

    /// Waits until it works.
    pub(crate) fn ready(&mut self) {
        until("the sidecar is ready", || {
            let ended = self
                .child
                .as_mut()
                .expect("it runs")
                .try_wait()
                .expect("our child");
            assert!(ended.is_none(), "the sidecar ended:\n{}", self.log());
            self.get("/readyz").is_some_and(|answer| answer.contains(" 200 "))
        });
    }

    /// A number of its metrics.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok())
    }

    /// What it answers over HTTP, with its head; nothing while it does not listen.
    pub(crate) fn get(&self, path: &str) -> Option<String> {
        let ready: serde_json::Value = serde_json::from_slice(&fs::read(self.ready_file()).ok()?).ok()?;
        let address: SocketAddr = ready.get("health")?.as_str()?.parse().ok()?;
        let mut stream = TcpStream::connect(address).ok()?;
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("reconcile.log")
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.path().join("reconcile.json")
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of the sidecar\n{}", self.log());
        }
    }
}

/// A keystore with this key, and its file.
pub(crate) fn keystore(folder: &Path, key: &[u8; 32]) -> PathBuf {
    let address = wire_wallet::Wallet::of(key).expect("a key").address();
    let path = folder.join(format!("{address}.json"));
    let text = wire_wallet::keystore::encrypt(key, HUSH).expect("a key");
    fs::write(&path, text).expect("a file");
    path
}
