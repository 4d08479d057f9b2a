//! The demo's pool: `pool dev` as a child process, and what is done to it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::protocol::ids::WorkId;
use client::{Client, ConnectOptions, Trust};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// Says that the folder is a demo's, so that the next one may empty it.
const MARK: &str = "made-by-pool-demo";

/// How long the tables may take to have what the engine has. They are there at once, or a moment later.
const TABLES_WITHIN: Duration = Duration::from_secs(30);

pub(crate) struct Pool {
    child: Child,
    dev: Dev,
    data: PathBuf,
}

/// What `pool dev -o json` says when it is ready.
#[derive(Deserialize)]
struct Dev {
    clients: std::net::SocketAddr,
    engine_pid: i32,
    worker_pids: Vec<i32>,
    ready_ms: u64,
}

impl Pool {
    pub(crate) fn start(data: &Path, workers: u32, allow: &Path) -> Result<Self> {
        prepare(data)?;
        let mut child = Command::new(sibling("pool")?)
            .arg("--data")
            .arg(data)
            .args([
                "-o",
                "json",
                "dev",
                "--ports",
                "0",
                "--workers",
                &workers.to_string(),
                "--allow",
            ])
            .arg(allow)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start `pool dev`")?;
        let stdout = child.stdout.take().context("its output is piped")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = child.wait()?;
            bail!(
                "`pool dev` ended ({status}) before it was ready; see {}/logs",
                data.display()
            );
        }
        let dev = serde_json::from_str(&line).with_context(|| format!("`pool dev` said {line}"))?;
        Ok(Self {
            child,
            dev,
            data: data.to_owned(),
        })
    }

    pub(crate) fn ready_ms(&self) -> u64 {
        self.dev.ready_ms
    }

    pub(crate) async fn connect(&self) -> Result<Client> {
        let connection: serde_json::Value =
            serde_json::from_slice(&fs::read(self.data.join("connection.json"))?)?;
        let text = |field: &str| {
            connection[field]
                .as_str()
                .with_context(|| format!("connection.json has no {field}"))
        };
        let password = fs::read_to_string(self.data.join(text("password_file")?))?;
        let trust = Trust::Ca(self.data.join(text("ca")?));
        let options = ConnectOptions::new(self.dev.clients, trust, text("login")?, password.trim_end());
        Client::connect(options)
            .await
            .context("cannot connect to the engine")
    }

    /// Kills one worker as a crash would; `pool dev` starts another in its place.
    pub(crate) fn kill_worker(&self) -> Result<i32> {
        let pid = *self.dev.worker_pids.last().context("a pool has workers")?;
        kill(pid)
    }

    /// Kills the engine as a crash would; `pool dev` starts it again.
    pub(crate) fn kill_engine(&self) -> Result<i32> {
        kill(self.dev.engine_pid)
    }

    /// Waits until the tables have all works, and compares them with the journal; how many records they are from.
    pub(crate) fn check_tables(&self, works: u32) -> Result<u64> {
        let deadline = Instant::now() + TABLES_WITHIN;
        loop {
            let counted = self.db(&["works", "--count"])?;
            let succeeded = &counted["states"]["succeeded"];
            if *succeeded == works {
                break;
            }
            if Instant::now() > deadline {
                bail!(
                    "the tables have {succeeded} of {works} works; see logs/persist.log in {}",
                    self.data.display()
                );
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let verified = self.db(&["verify"])?;
        verified["lsn"]
            .as_u64()
            .context("`pool db verify` says up to which record")
    }

    /// What `pool db` says of the pool's tables.
    fn db(&self, verb: &[&str]) -> Result<serde_json::Value> {
        let output = Command::new(sibling("pool")?)
            .arg("--data")
            .arg(&self.data)
            .args(["-o", "json", "db"])
            .args(verb)
            .output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!(
                "`pool db {}` ended with {}: {}",
                verb.join(" "),
                output.status,
                String::from_utf8_lossy(&said)
            );
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Stops everything in good order.
    pub(crate) fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?).context("a child has a pid")?;
        kill_process(pid, Signal::TERM)?;
        let status = self.child.wait()?;
        if !status.success() {
            bail!("`pool dev` ended with {status}");
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // After `stop` there is nobody left, and this does nothing; after an error the pool must not stay behind.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.child.id() as i32)) {
            // Whether it is still there to be told is what waiting finds out.
            let _ = kill_process(pid, Signal::TERM);
            drop(self.child.wait());
        }
    }
}

fn kill(pid: i32) -> Result<i32> {
    let target = Pid::from_raw(pid).context("a process has a pid")?;
    kill_process(target, Signal::KILL).with_context(|| format!("cannot kill process {pid}"))?;
    Ok(pid)
}

/// Makes the folder, or empties it if an earlier demo made it.
fn prepare(data: &Path) -> Result<()> {
    if data.join(MARK).exists() {
        fs::remove_dir_all(data).with_context(|| format!("cannot empty {}", data.display()))?;
    } else if data.exists() {
        bail!(
            "{} exists and was not made by a demo; choose another folder with --data",
            data.display()
        );
    }
    fs::create_dir_all(data)?;
    fs::write(data.join(MARK), "emptied by the next demo\n")?;
    Ok(())
}

/// A program beside this one.
pub(crate) fn sibling(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.exists() {
        bail!("{} is missing; build it with `./dev build`", path.display());
    }
    Ok(path)
}

/// The first work of the bag that a work belongs to.
pub(crate) async fn first_of(client: &Client, work: WorkId) -> Result<WorkId> {
    let detail = client.work(work).await?;
    Ok(WorkId(work.0 - u64::from(detail.work.row)))
}
