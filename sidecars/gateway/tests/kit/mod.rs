//! A `pool-gateway` process, which can be killed and started again in the same place, and what speaks to it.

pub(crate) mod pool;

use std::fs::{self, File, OpenOptions};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant, SystemTime};

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use wire_files::{Content, Files, Login};
use wire_grant::Key;
use wire_link::Trust;
use wire_protocol::file::{Claims, Digest, Source};
use wire_protocol::ids::{Attempt, Epoch, LeaseToken, Shard, WorkId};
use wire_protocol::units::{Bytes, Instant as Moment, Millis};

/// How long anything may take before a test gives up; far more than it needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const PASSWORD: &str = "open sesame";

/// The process. Dropped, it is killed.
pub(crate) struct Gateway {
    pub(crate) folder: TempDir,
    options: Vec<String>,
    child: Option<Child>,
    /// Where it listens; the same after a restart.
    https: Option<SocketAddr>,
}

impl Gateway {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(options: &[&str]) -> Self {
        let mut gateway = Self {
            folder: tempfile::tempdir().expect("a folder"),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            child: None,
            https: None,
        };
        gateway.start_again();
        gateway
    }

    pub(crate) fn command(folder: &Path, https: Option<SocketAddr>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pool-gateway"));
        let https = https.map_or("127.0.0.1:0".to_owned(), |https| https.to_string());
        command
            .env_clear()
            .env("ADMINPASSWORD", PASSWORD)
            .arg("--data")
            .arg(folder.join("engine"))
            .arg("--certs")
            .arg(folder.join("certs"))
            .args(["--listen-https", &https, "--listen-health", "127.0.0.1:0"])
            .arg("--ready-file")
            .arg(folder.join("gateway.json"))
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = OpenOptions::new().create(true).append(true).open(self.log_file());
        let child = Self::command(self.folder.path(), self.https)
            .args(&self.options)
            .stderr(log.expect("a log"))
            .spawn();
        self.child = Some(child.expect("it can be started"));
        until("it is ready", || {
            let ended = self
                .child
                .as_mut()
                .expect("it runs")
                .try_wait()
                .expect("our child");
            assert!(ended.is_none(), "it ended: {}", self.log());
            self.ready("https").is_some()
        });
        self.https = self.ready("https");
    }

    fn ready(&self, what: &str) -> Option<SocketAddr> {
        let ready = fs::read(self.folder.path().join("gateway.json")).ok()?;
        let ready: Value = serde_json::from_slice(&ready).ok()?;
        let pid = self.child.as_ref().map(|child| u64::from(child.id()));
        (ready["pid"].as_u64() == pid).then_some(())?;
        ready[what].as_str()?.parse().ok()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().expect("it runs").id() as i32;
        kill_process(Pid::from_raw(pid).expect("a pid"), signal).expect("a process of ours");
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        let mut ended = None;
        until("it ends", || {
            ended = child.try_wait().expect("our child");
            ended.is_some()
        });
        ended.expect("it has ended")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.https.expect("it was started")
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address().port())
    }

    pub(crate) fn trust(&self) -> Trust {
        Trust::Ca(self.folder.path().join("certs/ca.pem"))
    }

    /// A client with a connection of its own, HTTP/1.1.
    pub(crate) fn client(&self) -> Client {
        let tls = wire_link::tls_config(&self.trust(), &[b"http/1.1"]).expect("its CA");
        Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .build()
            .expect("a client")
    }

    /// A request of the administrator.
    pub(crate) fn request(&self, client: &Client, method: Method, path: &str) -> RequestBuilder {
        client
            .request(method, self.url(path))
            .basic_auth("admin", Some(PASSWORD))
    }

    /// The client of the pool.
    pub(crate) fn files(&self) -> Files {
        let files = Files::new(&self.url(""), &self.trust()).expect("a client");
        files.patience(PATIENCE)
    }

    pub(crate) fn key(&self) -> Key {
        Key::read(&self.folder.path().join("engine/grant.key")).expect("it was made")
    }

    /// One of its metrics.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.health("/metrics");
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).expect("a metric")
    }

    /// What it answers where it serves health.
    pub(crate) fn health(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let health = self.ready("health").expect("it serves health");
        let mut stream = std::net::TcpStream::connect(health).expect("it listens");
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("it answers");
        text
    }

    /// The most memory that it has had, in KiB.
    pub(crate) fn memory_peak_kib(&self) -> u64 {
        let pid = self.child.as_ref().expect("it runs").id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kib.and_then(|kib| kib.trim().parse().ok()).expect("a number")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("gateway.log")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- log of the gateway\n{}", self.log());
        }
    }
}

/// Asks again and again until it holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it never came to pass that {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn login() -> Login {
    Login::new("admin", PASSWORD)
}

/// A grant for an attempt at work 17 of the administrator, good for so long.
pub(crate) fn grant(key: &Key, attempt: u16, reads: &[&str], write_max: u64, good_for: Duration) -> String {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock");
    let claims = Claims {
        token: LeaseToken {
            work: WorkId(17),
            epoch: Epoch(1),
            attempt: Attempt(attempt),
            shard: Shard(0),
        },
        owner: "admin".to_owned(),
        reads: reads
            .iter()
            .map(|read| Source::parse(read).expect("a source"))
            .collect(),
        write_max: Bytes(write_max),
        expires: Moment(now.as_nanos() as u64) + Millis(good_for.as_millis() as u64),
    };
    key.sign(&claims)
}

/// Bytes that no two places of a file share.
pub(crate) fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(count + 8);
    while bytes.len() < count {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(count);
    bytes
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    let hash = ring::digest::digest(&ring::digest::SHA256, content);
    Digest(hash.as_ref().try_into().expect("SHA-256 has 32 bytes"))
}

pub(crate) fn content(bytes: &[u8]) -> Content {
    Content {
        digest: digest(bytes),
        bytes: bytes.len() as u64,
    }
}

/// A file of this machine with that content.
pub(crate) fn local(folder: &Path, name: &str, content: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("it can be written");
    path
}

/// A file of so many bytes, made without holding them, and its hash.
pub(crate) fn large(path: &Path, mib: usize) -> Content {
    use std::io::Write;
    let mut hash = ring::digest::Context::new(&ring::digest::SHA256);
    let mut file = File::create(path).expect("it can be made");
    let piece = bytes(1 << 20);
    for at in 0..mib {
        let mut piece = piece.clone();
        piece[..8].copy_from_slice(&at.to_le_bytes());
        hash.update(&piece);
        file.write_all(&piece).expect("it can be written");
    }
    Content {
        digest: Digest(hash.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")),
        bytes: (mib << 20) as u64,
    }
}

/// An error's kind and what it says, which is never nothing.
pub(crate) async fn problem(response: Response, status: StatusCode) -> (String, Value) {
    assert_eq!(response.status(), status, "{response:?}");
    let kind = response.headers()["content-type"]
        .to_str()
        .expect("a text")
        .to_owned();
    assert_eq!(kind, "application/problem+json");
    let problem: Value = serde_json::from_slice(&response.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(problem["status"], status.as_u16());
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "{problem}"
    );
    let kind = problem["type"].as_str().expect("a type");
    let kind = kind
        .strip_prefix("urn:workerpool:problem:")
        .expect("one of ours")
        .to_owned();
    (kind, problem)
}
