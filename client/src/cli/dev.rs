//! `pool dev`: an engine and workers on this machine, from nothing, until Ctrl-C.
//!
//! Everything is in one folder:
//!
//! | in the folder | what |
//! | --- | --- |
//! | `connection.json` | how other commands find the pool |
//! | `secrets/` | the passwords, made once |
//! | `certs/` | the development CA and the engine's certificate |
//! | `engine/`, `worker-N/` | what they keep |
//! | `logs/` | what they say |

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::Client;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep;
use wire_protocol::units::Millis;

use super::Context;
use super::args::{Dev, Format};
use super::connect::{Connection, connect};
use super::exit::{Exit, Failure};
use super::output::json_line;
use super::supervise::{Event, Program, Service};

const ADMIN: &str = "admin";
const WORKER: &str = "vworker";
/// How long a start may take. It takes well under a second.
const START_DEADLINE: Duration = Duration::from_secs(15);
/// Between two looks at whether something is ready.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Events of programs that wait to be told; more are dropped, the programs go on.
const EVENTS_MAX: usize = 64;
/// Lines of a log that are shown when its program cannot start.
const LOG_LINES_SHOWN: usize = 12;

/// What the engine writes when it is ready.
#[derive(Clone, Debug, Deserialize)]
struct Ready {
    workers: SocketAddr,
    clients: SocketAddr,
    health: SocketAddr,
    pid: u32,
}

pub(crate) async fn run(context: &Context, args: Dev) -> Result<Exit, Failure> {
    let started = Instant::now();
    let mut pool = Pool::prepare(&context.global.data, args)?;
    let mut signals = Signals::new()?;
    let ended = tokio::select! {
        up = pool.start(context) => up,
        () = signals.next() => {
            pool.stop(&mut signals).await;
            return Ok(Exit::Ok);
        }
    };
    if let Err(failure) = ended {
        pool.stop(&mut signals).await;
        return Err(failure);
    }
    pool.announce(context, started.elapsed())?;
    pool.attend(&mut signals).await;
    pool.stop(&mut signals).await;
    Ok(Exit::Ok)
}

struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let signal =
            |kind| signal(kind).map_err(|error| Failure::caused(Exit::Failed, "cannot take signals", &error));
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

struct Pool {
    folder: PathBuf,
    /// As the user wrote it, for the commands to try.
    folder_arg: PathBuf,
    args: Dev,
    programs: Programs,
    admin_password: String,
    worker_password: String,
    ready: Option<Ready>,
    engine: Option<Service>,
    workers: Vec<Service>,
    events: mpsc::Sender<Event>,
    told: mpsc::Receiver<Event>,
    _lock: File,
}

struct Programs {
    engine: PathBuf,
    worker: PathBuf,
}

impl Programs {
    /// The programs beside this one.
    fn find() -> Result<Self, Failure> {
        let here = std::env::current_exe()
            .map_err(|error| Failure::caused(Exit::Config, "cannot tell where this program is", &error))?;
        let beside = |name: &str| {
            let path = here.with_file_name(name);
            if path.is_file() {
                return Ok(path);
            }
            Err(Failure::config(format!("there is no {}", path.display())).cure(
                "install pool-engine and pool-worker beside pool, or build them: cargo build --release",
            ))
        };
        Ok(Self {
            engine: beside("pool-engine")?,
            worker: beside("pool-worker")?,
        })
    }
}

impl Pool {
    fn prepare(folder_arg: &Path, args: Dev) -> Result<Self, Failure> {
        let programs = Programs::find()?;
        let cannot = |error: io::Error| {
            Failure::caused(
                Exit::Config,
                format!("cannot use the folder --data {}", folder_arg.display()),
                &error,
            )
        };
        fs::create_dir_all(folder_arg).map_err(cannot)?;
        let folder = folder_arg.canonicalize().map_err(cannot)?;
        let lock = File::create(folder.join("dev.lock")).map_err(cannot)?;
        lock.try_lock().map_err(|_| {
            let message = format!("another `pool dev` runs in {}", folder.display());
            Failure::new(Exit::Conflict, message)
                .cure("use that one, stop it, or give another folder with --data")
        })?;
        let secret = |name: &str| {
            let path = folder.join("secrets").join(name);
            secret(&path).map_err(|error| {
                Failure::caused(
                    Exit::Config,
                    format!("cannot keep a password in {}", path.display()),
                    &error,
                )
            })
        };
        let (admin_password, worker_password) = (secret(ADMIN)?, secret("worker")?);
        let (events, told) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            folder,
            folder_arg: folder_arg.to_owned(),
            args,
            programs,
            admin_password,
            worker_password,
            ready: None,
            engine: None,
            workers: Vec::new(),
            events,
            told,
            _lock: lock,
        })
    }

    async fn start(&mut self, context: &Context) -> Result<(), Failure> {
        let ports = match self.args.ports {
            0 => [0; 3],
            first => [first, first + 1, first + 2],
        };
        let listen = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let ready_file = self.ready_file();
        // One that a killed engine left behind would be mistaken for that of the new one.
        drop(fs::remove_file(&ready_file));
        self.engine = Some(self.launch(self.engine_program(listen))?);
        let ready = self.await_ready(&ready_file).await?;
        // Started again, it is where its workers and clients know it to be.
        if let Some(engine) = &self.engine {
            engine.set_args(self.engine_args([ready.workers, ready.clients, ready.health]));
        }
        self.write_connection(&ready)?;
        for number in 1..=self.args.workers {
            let worker = self.launch(self.worker_program(number, ready.workers))?;
            self.workers.push(worker);
        }
        self.ready = Some(ready);
        let mut global = context.global.clone();
        (global.engine, global.ca, global.login, global.password) = (None, None, None, None);
        (global.server_name, global.password_file) = (None, None);
        let client = connect(&global).await?;
        self.await_workers(&client).await?;
        client.close().await;
        Ok(())
    }

    fn launch(&self, program: Program) -> Result<Service, Failure> {
        let path = program.path.clone();
        Service::start(program, self.events.clone()).map_err(|error| {
            Failure::caused(Exit::Failed, format!("cannot start {}", path.display()), &error)
        })
    }

    fn ready_file(&self) -> PathBuf {
        self.folder.join("engine/ready.json")
    }

    fn engine_program(&self, listen: [SocketAddr; 3]) -> Program {
        Program {
            name: "engine".to_owned(),
            path: self.programs.engine.clone(),
            args: self.engine_args(listen),
            env: vec![
                ("ADMINLOGIN", ADMIN.to_owned()),
                ("ADMINPASSWORD", self.admin_password.clone()),
                ("WORKERLOGIN", WORKER.to_owned()),
                ("WORKERPASSWORD", self.worker_password.clone()),
            ],
            log: self.log("engine"),
        }
    }

    fn engine_args(&self, [workers, clients, health]: [SocketAddr; 3]) -> Vec<OsString> {
        let args: [(&str, OsString); 6] = [
            ("--data", self.folder.join("engine").into()),
            ("--listen-workers", workers.to_string().into()),
            ("--listen-clients", clients.to_string().into()),
            ("--listen-health", health.to_string().into()),
            ("--certs", self.folder.join("certs").into()),
            ("--ready-file", self.ready_file().into()),
        ];
        args.into_iter()
            .flat_map(|(option, value)| [option.into(), value])
            .collect()
    }

    fn worker_program(&self, number: u32, engine: SocketAddr) -> Program {
        let name = format!("worker-{number}");
        let allowed = if self.args.allow.is_empty() {
            &["*".to_owned()][..]
        } else {
            &self.args.allow
        };
        let mut args: Vec<OsString> = [
            ("--engine", engine.to_string().into()),
            ("--server-name", "localhost".into()),
            ("--ca", self.folder.join("certs/ca.pem").into()),
            ("--folder", self.folder.join(&name).into()),
            ("--name", OsString::from(&name)),
            ("--slots", self.slots().to_string().into()),
        ]
        .into_iter()
        .flat_map(|(option, value): (&str, OsString)| [option.into(), value])
        .collect();
        args.extend(
            allowed
                .iter()
                .flat_map(|command| ["--allow".into(), command.into()]),
        );
        let env = vec![
            ("WORKERLOGIN", WORKER.to_owned()),
            ("WORKERPASSWORD", self.worker_password.clone()),
        ];
        Program {
            log: self.log(&name),
            name,
            path: self.programs.worker.clone(),
            args,
            env,
        }
    }

    fn slots(&self) -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32);
        self.args
            .slots
            .unwrap_or((cores / self.args.workers.max(1)).max(1))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.join("logs").join(format!("{name}.log"))
    }

    /// Waits for the engine's word that it listens and has read its journal.
    async fn await_ready(&mut self, file: &Path) -> Result<Ready, Failure> {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let pid = self.engine.as_ref().and_then(Service::pid);
            let ready: Option<Ready> = fs::read(file)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            if let Some(ready) = ready.filter(|ready| Some(ready.pid) == pid) {
                return Ok(ready);
            }
            let log = self.log("engine");
            if let Ok(Event::Ended { how, .. }) = self.told.try_recv() {
                let message = format!(
                    "the engine does not start ({how}); the end of {}:\n{}",
                    log.display(),
                    tail(&log)
                );
                return Err(Failure::new(Exit::Failed, message)
                    .cure("if its ports are taken, choose others with --ports, or 0 for any"));
            }
            if Instant::now() > deadline {
                let message = format!(
                    "the engine is not ready after {} s; see {}",
                    START_DEADLINE.as_secs(),
                    log.display()
                );
                return Err(Failure::new(Exit::Unavailable, message));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn await_workers(&mut self, client: &Client) -> Result<(), Failure> {
        let deadline = Instant::now() + START_DEADLINE;
        while client.status().await?.workers_connected < self.args.workers {
            if let Ok(Event::Ended { name, how, .. }) = self.told.try_recv() {
                let log = self.log(&name);
                let message = format!(
                    "{name} does not start ({how}); the end of {}:\n{}",
                    log.display(),
                    tail(&log)
                );
                return Err(Failure::new(Exit::Failed, message));
            }
            if Instant::now() > deadline {
                let message = format!("not all workers have joined after {} s", START_DEADLINE.as_secs());
                return Err(Failure::new(Exit::Unavailable, message)
                    .cure(format!("see {}", self.folder.join("logs").display())));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn write_connection(&self, ready: &Ready) -> Result<(), Failure> {
        let connection = Connection {
            schema: Connection::SCHEMA.to_owned(),
            engine: ready.clients.to_string(),
            server_name: "localhost".to_owned(),
            ca: "certs/ca.pem".into(),
            login: ADMIN.to_owned(),
            password_file: Path::new("secrets").join(ADMIN),
            workers: ready.workers.to_string(),
            health: ready.health.to_string(),
        };
        let path = self.folder.join(Connection::FILE);
        let text = serde_json::to_vec_pretty(&connection).expect("plain fields");
        let written = path.with_extension("tmp");
        fs::write(&written, text)
            .and_then(|()| fs::rename(&written, &path))
            .map_err(|error| {
                Failure::caused(Exit::Config, format!("cannot write {}", path.display()), &error)
            })
    }

    fn announce(&self, context: &Context, took: Duration) -> io::Result<()> {
        let ready = self.ready.as_ref().expect("announced after the start");
        let took = Millis(took.as_millis() as u64);
        let mut out = io::stdout().lock();
        let pid = |service: &Service| service.pid().unwrap_or_default();
        if context.output.format != Format::Table {
            let workers: Vec<u32> = self.workers.iter().map(pid).collect();
            let fields = DevJson {
                folder: &self.folder,
                clients: ready.clients,
                workers: ready.workers,
                health: ready.health,
                engine_pid: ready.pid,
                worker_pids: workers,
                ready_ms: took.0,
            };
            return writeln!(out, "{}", json_line("dev", fields));
        }
        writeln!(
            out,
            "The pool is ready after {took}, in {}",
            self.folder.display()
        )?;
        writeln!(
            out,
            "  engine     pid {:<8} clients {}, workers {}",
            ready.pid, ready.clients, ready.workers
        )?;
        writeln!(out, "             health and metrics http://{}", ready.health)?;
        for (index, worker) in self.workers.iter().enumerate() {
            let name = format!("worker-{}", index + 1);
            writeln!(out, "  {name:<10} pid {:<8} {} slots", pid(worker), self.slots())?;
        }
        writeln!(out, "  logs       {}", self.folder.join("logs").display())?;
        let data = match self.folder_arg.as_path() {
            default if default == Path::new("./data/pool") => String::new(),
            other => format!(" --data {}", other.display()),
        };
        writeln!(out, "\nTry, in another terminal:")?;
        writeln!(
            out,
            "  pool{data} work submit --sweep 'n=1..100' --wait -- echo work {{n}}"
        )?;
        writeln!(out, "  pool{data} worker list")?;
        writeln!(
            out,
            "\nCtrl-C stops everything; nothing that was accepted is lost."
        )
    }

    /// Tells what happens until a signal comes.
    async fn attend(&mut self, signals: &mut Signals) {
        loop {
            let event = tokio::select! {
                event = self.told.recv() => event,
                () = signals.next() => return,
            };
            let line = match event {
                Some(Event::Ended {
                    name,
                    how,
                    again_in: Some(wait),
                }) => {
                    let wait = Millis(wait.as_millis() as u64);
                    format!(
                        "{name} has ended ({how}); it is started again in {wait}, see {}",
                        self.log(&name).display()
                    )
                }
                Some(Event::Ended {
                    name, again_in: None, ..
                }) => format!("{name} has left in good order"),
                Some(Event::CannotStart {
                    name,
                    error,
                    again_in,
                }) => {
                    format!(
                        "{name} cannot be started ({error}); next try in {}",
                        Millis(again_in.as_millis() as u64)
                    )
                }
                Some(Event::Restarted { name, pid }) => format!("{name} runs again, pid {pid}"),
                None => return,
            };
            // Where standard error is closed nobody wants to know.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// Workers first, so that what they finish is still taken; then the engine. A second signal kills.
    async fn stop(&mut self, signals: &mut Signals) {
        let _ = writeln!(io::stderr(), "stopping; again Ctrl-C does not wait");
        let mut hurried = false;
        let workers = std::mem::take(&mut self.workers);
        for services in [workers, self.engine.take().into_iter().collect()] {
            services
                .iter()
                .for_each(if hurried { Service::kill } else { Service::stop });
            for mut service in services {
                let stopped = !hurried
                    && tokio::select! {
                        () = service.stopped() => true,
                        () = signals.next() => false,
                    };
                if !stopped {
                    hurried = true;
                    service.kill();
                    service.stopped().await;
                }
            }
        }
    }
}

#[derive(Serialize)]
struct DevJson<'a> {
    folder: &'a Path,
    clients: SocketAddr,
    workers: SocketAddr,
    health: SocketAddr,
    engine_pid: u32,
    worker_pids: Vec<u32>,
    ready_ms: u64,
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

/// The end of a log.
fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
    shown
        .iter()
        .map(|line| format!("    {line}"))
        .collect::<Vec<_>>()
        .join("\n")
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

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(tail(&path), "");
        fs::write(&path, (0..30).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        assert!(tail(&path).starts_with("    18\n") && tail(&path).ends_with("    29"));
    }
}
