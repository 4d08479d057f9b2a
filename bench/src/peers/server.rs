//! Servers and scripts of the bench's own: child processes in process groups of their own, which end with the guard
//! that holds them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// A server must answer within this; RabbitMQ needs ten seconds on two cores.
const READY_WITHIN: Duration = Duration::from_secs(90);

/// A running child; dropping it ends it and all that it has started.
///
/// Its data are temporary, so it is killed and not asked: nothing that it could still write is of use. The group of
/// its own keeps Ctrl-C from reaching it directly, so that it is ended in one way only.
pub(super) struct Server {
    child: Child,
    group: Pid,
    log: PathBuf,
}

impl Server {
    /// Starts a server whose output goes to `log`.
    pub(super) fn start(command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        Self::spawn(command, log, |command| {
            Ok(command
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file))
        })
    }

    fn spawn(
        mut command: Command,
        log: &Path,
        piped: impl FnOnce(&mut Command) -> Result<&mut Command>,
    ) -> Result<Self> {
        let name = command.as_std().get_program().to_string_lossy().into_owned();
        let child = piped(&mut command)?
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let id = child.id().context("the child has just started")?;
        let group = Pid::from_raw(i32::try_from(id)?).context("a process has a number")?;
        Ok(Self {
            child,
            group,
            log: log.to_owned(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.group.as_raw_nonzero().get().unsigned_abs()
    }

    /// Waits until the server accepts connections.
    pub(super) async fn listening(&mut self, port: u16) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        // A server tells of its port in no other way that all of them share, so it is tried.
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!(
                    "the server ended ({status}) before it was ready:\n{}",
                    self.said()
                );
            }
            ensure!(
                Instant::now() < deadline,
                "the server did not listen within {} s:\n{}",
                READY_WITHIN.as_secs(),
                self.said()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// The end of what it has written.
    pub(super) fn said(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, and its group with it; then there is nobody to kill.
        let _ = kill_process_group(self.group, Signal::KILL);
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// A child that is asked by a line and answers by a line.
pub(super) struct Script {
    server: Server,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
}

impl Script {
    /// Starts it; what it writes to its standard error goes to `log`.
    pub(super) fn start(command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        let mut server = Server::spawn(command, log, |command| {
            Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file))
        })?;
        let stdin = server.child.stdin.take().context("standard input is a pipe")?;
        let stdout = server.child.stdout.take().context("standard output is a pipe")?;
        Ok(Self {
            server,
            stdin,
            stdout: BufReader::new(stdout).lines(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The next line that it writes, which must begin with `word`; returns the rest.
    pub(super) async fn expect(&mut self, word: &str) -> Result<String> {
        let Some(line) = self.stdout.next_line().await? else {
            bail!("the script ended:\n{}", self.server.said());
        };
        let rest = line.strip_prefix(word).map(|rest| rest.trim().to_owned());
        rest.with_context(|| format!("the script said {line:?} and not {word}:\n{}", self.server.said()))
    }

    /// Asks, and waits for the answer `done`.
    pub(super) async fn ask(&mut self, line: &str) -> Result<()> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        self.expect("done").await.map(drop)
    }
}

/// A port that nobody listens on. Somebody else may take it before the server does; then the server says so.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_script_answers_and_ends_with_its_guard() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let mut script = Script::start(sh("echo ready 1.2; while read line; do echo done; done"), &log)
            .expect("it starts");
        assert_eq!(script.expect("ready").await.expect("a line"), "1.2");
        script.ask("run 3").await.expect("an answer");
        let folder = format!("/proc/{}", script.pid());
        drop(script);
        assert!(!Path::new(&folder).exists(), "it was ended and waited for");
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_is_an_error_with_its_last_words() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut server = Server::start(sh("echo no such option >&2; exit 3"), &folder.path().join("log"))
            .expect("it starts");
        let port = free_port().expect("a port");
        let failed = server.listening(port).await.expect_err("it ends");
        assert!(failed.to_string().contains("no such option"), "{failed}");
    }

    #[tokio::test]
    async fn a_script_that_says_something_else_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut script = Script::start(sh("echo oops"), &folder.path().join("log")).expect("it starts");
        assert!(script.expect("ready").await.is_err());
        assert!(script.expect("ready").await.is_err(), "it has ended");
    }
}
