//! The process: <https://getfoundry.sh/anvil/overview>.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER_PERMISSIVE;
use serde::Deserialize;
use tempfile::TempDir;
use wire_wallet::Wallet;

use crate::{DevnetError, Options, Parts};

/// It takes a tenth of a second on a machine with nothing else to do.
const START_WITHIN: Duration = Duration::from_secs(60);

/// A process that is killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Anvil {
    child: Child,
    url: String,
    keys: Vec<[u8; 32]>,
    wallets: Vec<Wallet>,
    /// All that it writes.
    _folder: TempDir,
}

/// What it says of itself in a file.
#[derive(Deserialize)]
struct Said {
    private_keys: Vec<String>,
}

impl Anvil {
    /// Starts it and waits until it listens, which blocks this thread.
    pub(crate) fn start(parts: &Parts, options: &Options) -> Result<Self, DevnetError> {
        let folder = tempfile::tempdir().map_err(DevnetError::file("a folder for a while"))?;
        let (log, config) = (folder.path().join("log"), folder.path().join("config.json"));
        let mut child = spawn(parts, options, folder.path()).map_err(DevnetError::file(&parts.anvil))?;
        let url = match listens_at(&mut child, &log) {
            Ok(url) => url,
            Err(error) => {
                end(&mut child);
                return Err(error);
            }
        };
        let mut anvil = Self {
            child,
            url,
            keys: Vec::new(),
            wallets: Vec::new(),
            _folder: folder,
        };
        let said = fs::read(&config).map_err(DevnetError::file(&config))?;
        let said: Said =
            serde_json::from_slice(&said).map_err(|error| DevnetError::Anvil(error.to_string()))?;
        for key in said.private_keys {
            let bytes = HEXLOWER_PERMISSIVE
                .decode(key.trim_start_matches("0x").as_bytes())
                .ok();
            let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
            let no_key = || DevnetError::Anvil("it names a key that is none".to_owned());
            let key = key.ok_or_else(no_key)?;
            anvil.wallets.push(Wallet::of(&key).map_err(|_| no_key())?);
            anvil.keys.push(key);
        }
        Ok(anvil)
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn keys(&self) -> &[[u8; 32]] {
        &self.keys
    }

    pub(crate) fn wallets(&self) -> &[Wallet] {
        &self.wallets
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    let _ = child.wait();
}

fn spawn(parts: &Parts, options: &Options, folder: &Path) -> io::Result<Child> {
    let log = File::create(folder.join("log"))?;
    // It ends with the thread that started it, also if that is killed.
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(&parts.anvil)
        .args(["--host", "127.0.0.1", "--port", &options.port.to_string()])
        .args(["--accounts", &options.accounts.to_string()])
        .args(["--gas-limit", &options.gas_limit.to_string()])
        .args(["--chain-id", &options.chain_id.to_string()])
        .args(["--slots-in-an-epoch", &options.slots_in_an_epoch.to_string()])
        .arg("--config-out")
        .arg(folder.join("config.json"))
        .arg("--cache-path")
        .arg(folder.join("states"))
        // States of old blocks go there too.
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    if let Some(hardfork) = &options.hardfork {
        command.args(["--hardfork", hardfork]);
    }
    if let Some(states) = options.states {
        command.args(["--prune-history", &states.to_string()]);
    }
    if let Some(time) = options.block_time {
        command.args(["--block-time", &time.as_secs_f64().to_string()]);
    }
    command.spawn()
}

fn listens_at(child: &mut Child, log: &Path) -> Result<String, DevnetError> {
    let deadline = Instant::now() + START_WITHIN;
    loop {
        let text = fs::read_to_string(log).map_err(DevnetError::file(log))?;
        let address = text.lines().find_map(|line| line.strip_prefix("Listening on "));
        // A line that is not ended may not be all of it.
        if let Some(address) = address.filter(|_| text.ends_with('\n')) {
            return Ok(format!("http://{}", address.trim()));
        }
        let ended = child.try_wait().map_err(DevnetError::file("anvil"))?;
        if let Some(status) = ended {
            return Err(DevnetError::Anvil(format!("{status}: {}", text.trim())));
        }
        if Instant::now() > deadline {
            return Err(DevnetError::Anvil(format!("it does not listen: {}", text.trim())));
        }
        thread::sleep(Duration::from_millis(5));
    }
}
