//! `pool dev`: an engine, its tables, its files and workers on this machine, from nothing, until Ctrl-C.
//!
//! Everything is in one folder:
//!
//! | in the folder | what |
//! | --- | --- |
//! | `connection.json` | how other commands find the pool |
//! | `secrets/` | the passwords, made once |
//! | `certs/` | the development CA and the engine's certificate |
//! | `engine/`, `worker-N/` | what they keep; `engine/pool.sqlite` are the tables, `engine/files` the files |
//! | `wallets/` | with `--chain`: the keystores of the pool and of its workers |
//! | `logs/` | what they say |

mod chain;
mod programs;

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use client::Client;
use serde::de::DeserializeOwned;
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
use chain::DevChain;
use programs::{ADMIN, Programs};

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
}

/// What a program writes when it is ready, and which process did.
#[derive(Deserialize)]
struct Started<T> {
    pid: u32,
    #[serde(flatten)]
    ready: T,
}

/// What the sidecar of the tables writes when it is ready.
#[derive(Clone, Debug, Deserialize)]
struct PersistReady {
    health: SocketAddr,
}

/// What the gateway writes when it is ready.
#[derive(Clone, Debug, Deserialize)]
struct GatewayReady {
    https: SocketAddr,
    health: SocketAddr,
}

impl GatewayReady {
    /// Its certificate is for this name too.
    fn url(&self) -> String {
        format!("https://localhost:{}", self.https.port())
    }
}

/// What the reconciler writes when it is ready.
#[derive(Clone, Debug, Deserialize)]
struct ReconcileReady {
    health: SocketAddr,
}

/// All that have said that they are ready.
struct AllReady {
    engine: Ready,
    tables: PersistReady,
    files: GatewayReady,
    reconcile: Option<ReconcileReady>,
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
    programs: Programs,
    /// As the user wrote it, for the commands to try.
    folder_arg: PathBuf,
    ready: Option<AllReady>,
    engine: Option<Service>,
    persist: Option<Service>,
    gateway: Option<Service>,
    reconcile: Option<Service>,
    chain: Option<DevChain>,
    workers: Vec<Service>,
    events: mpsc::Sender<Event>,
    told: mpsc::Receiver<Event>,
    _lock: File,
}

impl Pool {
    fn prepare(folder_arg: &Path, args: Dev) -> Result<Self, Failure> {
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
        let (events, told) = mpsc::channel(EVENTS_MAX);
        Ok(Self {
            programs: Programs::find(folder, args)?,
            folder_arg: folder_arg.to_owned(),
            ready: None,
            engine: None,
            persist: None,
            gateway: None,
            reconcile: None,
            chain: None,
            workers: Vec::new(),
            events,
            told,
            _lock: lock,
        })
    }

    async fn start(&mut self, context: &Context) -> Result<(), Failure> {
        // Those that killed programs left behind would be mistaken for those of the new ones.
        for name in ["engine", "persist", "gateway", "reconcile"] {
            drop(fs::remove_file(self.programs.ready_file(name)));
        }
        let [
            workers,
            clients,
            health,
            persist_health,
            https,
            gateway_health,
            reconcile_health,
        ] = self.programs.listen();
        if self.programs.has_chain() {
            let chain = DevChain::start(&self.programs.folder, self.programs.workers()).await?;
            self.chain = Some(chain);
        }
        // Each is this pool's from its start, so that whatever goes wrong it is stopped in good order.
        // The files first: the engine tells workers where they are.
        self.gateway = Some(self.launch(self.programs.gateway([https, gateway_health]))?);
        let files: GatewayReady = self.await_ready("gateway", |pool| pool.gateway.as_ref()).await?;
        if let Some(gateway) = &self.gateway {
            gateway.set_args(self.programs.gateway_args([files.https, files.health]));
        }
        let url = files.url();
        self.engine = Some(self.launch(self.programs.engine([workers, clients, health], &url))?);
        let ready: Ready = self.await_ready("engine", |pool| pool.engine.as_ref()).await?;
        // Started again, it is where its workers and clients know it to be.
        if let Some(engine) = &self.engine {
            let known = [ready.workers, ready.clients, ready.health];
            engine.set_args(self.programs.engine_args(known, &url));
        }
        self.persist = Some(self.launch(self.programs.persist(persist_health))?);
        self.write_connection(&ready, &files)?;
        for number in 1..=self.programs.workers() {
            let program = self.programs.worker(number, ready.workers, self.chain.as_ref());
            self.workers.push(self.launch(program)?);
        }
        let reconcile = self.chain.as_ref();
        let reconcile =
            reconcile.and_then(|chain| self.programs.reconcile(chain, ready.clients, reconcile_health));
        let reconcile = match reconcile {
            None => None,
            Some(program) => {
                self.reconcile = Some(self.launch(program)?);
                Some(
                    self.await_ready("reconcile", |pool| pool.reconcile.as_ref())
                        .await?,
                )
            }
        };
        let tables: PersistReady = self.await_ready("persist", |pool| pool.persist.as_ref()).await?;
        if let Some(persist) = &self.persist {
            persist.set_args(self.programs.persist_args(tables.health));
        }
        self.ready = Some(AllReady {
            engine: ready,
            tables,
            files,
            reconcile,
        });
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

    /// Waits for a program's word that it listens; of the engine also that it has read its journal.
    async fn await_ready<T: DeserializeOwned>(
        &mut self,
        name: &str,
        service: fn(&Self) -> Option<&Service>,
    ) -> Result<T, Failure> {
        let file = self.programs.ready_file(name);
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let started: Option<Started<T>> = fs::read(&file)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok());
            let pid = service(self).and_then(Service::pid);
            if let Some(started) = started.filter(|started| Some(started.pid) == pid) {
                return Ok(started.ready);
            }
            self.all_start()?;
            if Instant::now() > deadline {
                let log = self.programs.log(name);
                let message = format!(
                    "{name} is not ready after {} s; see {}",
                    START_DEADLINE.as_secs(),
                    log.display()
                );
                return Err(Failure::new(Exit::Unavailable, message));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// None of those that were started has ended.
    fn all_start(&mut self) -> Result<(), Failure> {
        let Ok(Event::Ended { name, how, .. }) = self.told.try_recv() else {
            return Ok(());
        };
        let log = self.programs.log(&name);
        let message = format!(
            "{name} does not start ({how}); the end of {}:\n{}",
            log.display(),
            tail(&log)
        );
        Err(Failure::new(Exit::Failed, message)
            .cure("if a port is taken, choose others with --ports, or 0 for any"))
    }

    async fn await_workers(&mut self, client: &Client) -> Result<(), Failure> {
        let deadline = Instant::now() + START_DEADLINE;
        while client.status().await?.workers_connected < self.programs.workers() {
            self.all_start()?;
            if Instant::now() > deadline {
                let message = format!("not all workers have joined after {} s", START_DEADLINE.as_secs());
                return Err(Failure::new(Exit::Unavailable, message)
                    .cure(format!("see {}", self.programs.folder.join("logs").display())));
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    fn write_connection(&self, ready: &Ready, files: &GatewayReady) -> Result<(), Failure> {
        let connection = Connection {
            schema: Connection::SCHEMA.to_owned(),
            engine: ready.clients.to_string(),
            server_name: "localhost".to_owned(),
            ca: "certs/ca.pem".into(),
            login: ADMIN.to_owned(),
            password_file: Path::new("secrets").join(ADMIN),
            workers: ready.workers.to_string(),
            health: ready.health.to_string(),
            files: Some(files.url()),
        };
        let path = self.programs.folder.join(Connection::FILE);
        let text = serde_json::to_vec_pretty(&connection).expect("plain fields");
        let written = path.with_extension("tmp");
        fs::write(&written, text)
            .and_then(|()| fs::rename(&written, &path))
            .map_err(|error| {
                Failure::caused(Exit::Config, format!("cannot write {}", path.display()), &error)
            })
    }

    fn announce(&self, context: &Context, took: Duration) -> io::Result<()> {
        let AllReady {
            engine: ready,
            tables,
            files,
            reconcile,
        } = self.ready.as_ref().expect("announced after the start");
        let folder = &self.programs.folder;
        let took = Millis(took.as_millis() as u64);
        let mut out = io::stdout().lock();
        let pid = |service: &Service| service.pid().unwrap_or_default();
        let [engine_pid, persist_pid, gateway_pid] =
            [&self.engine, &self.persist, &self.gateway].map(|service| service.as_ref().map_or(0, pid));
        if context.output.format != Format::Table {
            let workers: Vec<u32> = self.workers.iter().map(pid).collect();
            let fields = DevJson {
                folder,
                clients: ready.clients,
                workers: ready.workers,
                health: ready.health,
                engine_pid,
                worker_pids: workers,
                persist_pid,
                persist_health: tables.health,
                tables: &self.programs.tables(),
                gateway_pid,
                gateway_health: files.health,
                files: files.url(),
                reconcile_pid: self.reconcile.as_ref().and_then(Service::pid),
                reconcile_health: reconcile.as_ref().map(|ready| ready.health),
                chain: self.chain.as_ref().map(|chain| chain.url().to_owned()),
                ready_ms: took.0,
            };
            return writeln!(out, "{}", json_line("dev", fields));
        }
        writeln!(out, "The pool is ready after {took}, in {}", folder.display())?;
        writeln!(
            out,
            "  engine     pid {:<8} clients {}, workers {}",
            engine_pid, ready.clients, ready.workers
        )?;
        writeln!(out, "             health and metrics http://{}", ready.health)?;
        for (index, worker) in self.workers.iter().enumerate() {
            let name = format!("worker-{}", index + 1);
            writeln!(
                out,
                "  {name:<10} pid {:<8} {} slots",
                pid(worker),
                self.programs.slots()
            )?;
        }
        writeln!(
            out,
            "  persist    pid {:<8} tables {}",
            persist_pid,
            self.programs.tables().display()
        )?;
        writeln!(out, "             health and metrics http://{}", tables.health)?;
        writeln!(out, "  gateway    pid {gateway_pid:<8} files {}", files.url())?;
        writeln!(out, "             health and metrics http://{}", files.health)?;
        if let (Some(chain), Some(reconcile)) = (&self.chain, reconcile) {
            let pid = self.reconcile.as_ref().map_or(0, pid);
            writeln!(out, "  reconcile  pid {pid:<8} chain {}", chain.url())?;
            writeln!(out, "             health and metrics http://{}", reconcile.health)?;
        }
        writeln!(out, "  logs       {}", folder.join("logs").display())?;
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
        writeln!(out, "  pool{data} db works")?;
        writeln!(out, "  pool{data} file put README.md")?;
        writeln!(
            out,
            "\nCtrl-C stops everything; nothing that was accepted is lost."
        )
    }

    /// Tells what happens until a signal comes.
    async fn attend(&mut self, signals: &mut Signals) {
        let (say, mut lines) = mpsc::channel(EVENTS_MAX);
        let chain = self.chain.take();
        {
            let story = async {
                if let Some(chain) = &chain
                    && let Err(failure) = chain.show_an_order(&say).await
                {
                    drop(say.send(format!("order      {failure}")).await);
                }
                std::future::pending().await
            };
            let mut story = std::pin::pin!(story);
            loop {
                let event = tokio::select! {
                    event = self.told.recv() => event,
                    line = lines.recv() => {
                        // Where standard output is closed nobody wants to know.
                        let _ = writeln!(io::stdout(), "{}", line.unwrap_or_default());
                        continue;
                    }
                    () = &mut story => continue,
                    () = signals.next() => break,
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
                            self.programs.log(&name).display()
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
                    None => break,
                };
                // Where standard error is closed nobody wants to know.
                let _ = writeln!(io::stderr(), "{line}");
            }
        }
        self.chain = chain;
    }

    /// Workers first, so that what they finish is still taken, by the files too; then the engine, whose last records the
    /// tables still get; then these. A second signal kills.
    async fn stop(&mut self, signals: &mut Signals) {
        let _ = writeln!(io::stderr(), "stopping; again Ctrl-C does not wait");
        let mut hurried = false;
        let workers = std::mem::take(&mut self.workers);
        let [reconcile, gateway, engine, persist] = [
            self.reconcile.take(),
            self.gateway.take(),
            self.engine.take(),
            self.persist.take(),
        ]
        .map(Vec::from_iter);
        for services in [workers, reconcile, gateway, engine, persist] {
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
    persist_pid: u32,
    persist_health: SocketAddr,
    tables: &'a Path,
    gateway_pid: u32,
    gateway_health: SocketAddr,
    files: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconcile_pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reconcile_health: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chain: Option<String>,
    ready_ms: u64,
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

    #[test]
    fn the_tail_of_a_log_is_its_last_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        assert_eq!(tail(&path), "");
        fs::write(&path, (0..30).map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        assert!(tail(&path).starts_with("    18\n") && tail(&path).ends_with("    29"));
    }
}
