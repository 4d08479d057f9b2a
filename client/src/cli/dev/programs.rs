//! The programs of a pool on one machine: where they are, and what they are started with.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

use super::chain::{self, DevChain};
use crate::cli::args::Dev;
use crate::cli::exit::{Exit, Failure};
use crate::cli::supervise::Program;

pub(super) const ADMIN: &str = "admin";
const WORKER: &str = "vworker";

/// A pool's folder, and what is started in it.
pub(super) struct Programs {
    pub(super) folder: PathBuf,
    args: Dev,
    engine: PathBuf,
    worker: PathBuf,
    persist: PathBuf,
    gateway: PathBuf,
    reconcile: Option<PathBuf>,
    admin_password: String,
    worker_password: String,
}

impl Programs {
    /// The programs beside this one, for a pool in this folder, whose passwords are made if there are none.
    pub(super) fn find(folder: PathBuf, args: Dev) -> Result<Self, Failure> {
        let here = std::env::current_exe()
            .map_err(|error| Failure::caused(Exit::Config, "cannot tell where this program is", &error))?;
        let beside = |name: &str| {
            let path = here.with_file_name(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::config(format!("there is no {}", path.display())).cure(
                "install pool-engine, pool-worker, pool-persist, pool-gateway and pool-reconcile beside pool, or build them: cargo build --release",
            ))
        };
        let secret = |name: &str| {
            let path = folder.join("secrets").join(name);
            secret(&path).map_err(|error| {
                let what = format!("cannot keep a password in {}", path.display());
                Failure::caused(Exit::Config, what, &error)
            })
        };
        Ok(Self {
            engine: beside("pool-engine")?,
            worker: beside("pool-worker")?,
            persist: beside("pool-persist")?,
            gateway: beside("pool-gateway")?,
            reconcile: args.chain.then(|| beside("pool-reconcile")).transpose()?,
            admin_password: secret(ADMIN)?,
            worker_password: secret("worker")?,
            folder,
            args,
        })
    }

    pub(super) fn engine(&self, listen: [SocketAddr; 3], files: &str) -> Program {
        Program {
            name: "engine".to_owned(),
            path: self.engine.clone(),
            args: self.engine_args(listen, files),
            env: vec![
                ("ADMINLOGIN", ADMIN.to_owned()),
                ("ADMINPASSWORD", self.admin_password.clone()),
                ("WORKERLOGIN", WORKER.to_owned()),
                ("WORKERPASSWORD", self.worker_password.clone()),
            ],
            log: self.log("engine"),
        }
    }

    pub(super) fn engine_args(
        &self,
        [workers, clients, health]: [SocketAddr; 3],
        files: &str,
    ) -> Vec<OsString> {
        options([
            ("--data", self.data().into()),
            ("--listen-workers", workers.to_string().into()),
            ("--listen-clients", clients.to_string().into()),
            ("--listen-health", health.to_string().into()),
            ("--certs", self.folder.join("certs").into()),
            ("--files-url", files.into()),
            ("--ready-file", self.ready_file("engine").into()),
        ])
    }

    pub(super) fn persist(&self, health: SocketAddr) -> Program {
        Program {
            name: "persist".to_owned(),
            path: self.persist.clone(),
            args: self.persist_args(health),
            env: Vec::new(),
            log: self.log("persist"),
        }
    }

    pub(super) fn persist_args(&self, health: SocketAddr) -> Vec<OsString> {
        options([
            ("--data", self.data().into()),
            ("--database", self.tables().into()),
            ("--listen-health", health.to_string().into()),
            ("--ready-file", self.ready_file("persist").into()),
        ])
    }

    pub(super) fn gateway(&self, listen: [SocketAddr; 2]) -> Program {
        Program {
            name: "gateway".to_owned(),
            path: self.gateway.clone(),
            args: self.gateway_args(listen),
            env: vec![
                ("ADMINLOGIN", ADMIN.to_owned()),
                ("ADMINPASSWORD", self.admin_password.clone()),
            ],
            log: self.log("gateway"),
        }
    }

    pub(super) fn gateway_args(&self, [https, health]: [SocketAddr; 2]) -> Vec<OsString> {
        options([
            ("--data", self.data().into()),
            ("--certs", self.folder.join("certs").into()),
            ("--listen-https", https.to_string().into()),
            ("--listen-health", health.to_string().into()),
            // Whoever tries a pool on their own machine knows how much room it has.
            ("--file-bytes-max", (1_u64 << 40).to_string().into()),
            ("--ready-file", self.ready_file("gateway").into()),
        ])
    }

    /// The reconciler of a chain; `None`: the pool has none.
    pub(super) fn reconcile(
        &self,
        chain: &DevChain,
        clients: SocketAddr,
        health: SocketAddr,
    ) -> Option<Program> {
        let mut env = chain.variables("scheduler");
        env.extend([
            ("ADMINLOGIN", ADMIN.to_owned()),
            ("ADMINPASSWORD", self.admin_password.clone()),
            ("POOL_CHAIN_BLOCK_S", "1".to_owned()),
            ("POOL_CHAIN_CONFIRMATIONS", "1".to_owned()),
            ("CATEGORY", chain::CATEGORY.to_string()),
            ("PRICE", chain::PRICE.to_string()),
            ("POOL_OFFER_VOLUME", chain::VOLUME.to_string()),
        ]);
        let mut args = options([
            ("--engine", clients.to_string().into()),
            ("--server-name", "localhost".into()),
            ("--ca", self.folder.join("certs/ca.pem").into()),
            ("--listen-health", health.to_string().into()),
            ("--ready-file", self.ready_file("reconcile").into()),
        ]);
        // Each start has a chain of its own.
        args.push("--forget".into());
        Some(Program {
            name: "reconcile".to_owned(),
            path: self.reconcile.clone()?,
            args,
            env,
            log: self.log("reconcile"),
        })
    }

    pub(super) fn has_chain(&self) -> bool {
        self.args.chain
    }

    /// Of a chain the worker has a wallet there.
    pub(super) fn worker(&self, number: u32, engine: SocketAddr, chain: Option<&DevChain>) -> Program {
        let name = format!("worker-{number}");
        let allowed = if self.args.allow.is_empty() {
            &["*".to_owned()][..]
        } else {
            &self.args.allow
        };
        let mut args = options([
            ("--engine", engine.to_string().into()),
            ("--server-name", "localhost".into()),
            ("--ca", self.folder.join("certs/ca.pem").into()),
            ("--folder", self.folder.join(&name).into()),
            ("--name", OsString::from(&name)),
            ("--slots", self.slots().to_string().into()),
            // Works are this user's own, and may do what they may.
            ("--process-sandbox", "off".into()),
        ]);
        args.extend(
            allowed
                .iter()
                .flat_map(|command| ["--allow".into(), command.into()]),
        );
        let mut env = vec![
            ("WORKERLOGIN", WORKER.to_owned()),
            ("WORKERPASSWORD", self.worker_password.clone()),
        ];
        env.extend(chain.into_iter().flat_map(|chain| chain.variables(&name)));
        Program {
            log: self.log(&name),
            name,
            path: self.worker.clone(),
            args,
            env,
        }
    }

    pub(super) fn workers(&self) -> u32 {
        self.args.workers
    }

    /// Works that each worker runs at once.
    pub(super) fn slots(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.args
            .slots
            .unwrap_or((cores / self.args.workers.max(1)).max(1))
    }

    /// Where workers, clients, whoever asks for the health of the engine and of the tables, whoever wants files, and whoever asks
    /// for their health and for that of the reconciler find them.
    pub(super) fn listen(&self) -> [SocketAddr; 7] {
        let first = self.args.ports;
        let ports = [0, 1, 2, 3, 4, 5, 6].map(|next| if first == 0 { 0 } else { first + next });
        ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
    }

    fn data(&self) -> PathBuf {
        self.folder.join("engine")
    }

    /// The file of the tables.
    pub(super) fn tables(&self) -> PathBuf {
        self.data().join("pool.sqlite")
    }

    /// What a program writes when it is ready.
    pub(super) fn ready_file(&self, name: &str) -> PathBuf {
        self.data().join(format!("{name}.json"))
    }

    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }
}

fn options<const OPTIONS: usize>(options: [(&str, OsString); OPTIONS]) -> Vec<OsString> {
    options
        .into_iter()
        .flat_map(|(option, value)| [option.into(), value])
        .collect()
}

/// The password in a file that only its owner can read; made if there is none.
fn secret(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) => {
            let password = text.lines().next().unwrap_or_default().to_owned();
            if password.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file is empty; remove it to get a new one",
                ));
            }
            return Ok(password);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    if let Some(folder) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let mut random = [0; 24];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_| io::Error::other("the operating system gives no random bytes"))?;
    let password: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{password}")?;
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_password_is_made_once_and_only_its_owner_can_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets/admin");
        let made = secret(&path).unwrap();
        assert_eq!(made.len(), 48);
        assert_eq!(secret(&path).unwrap(), made);
        assert_ne!(secret(&folder.path().join("secrets/worker")).unwrap(), made);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::write(&path, "").unwrap();
        assert!(secret(&path).unwrap_err().to_string().contains("remove it"));
    }
}
