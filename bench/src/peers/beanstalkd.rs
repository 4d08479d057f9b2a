//! beanstalkd: a queue of jobs in one thread, with an optional log.
//!
//! Submitters pipeline `put`. A consumer takes a batch with one write: `reserve-with-timeout 1`, which waits for a
//! first job, and many `reserve-with-timeout 0` behind it, which take what else is there. The deletions of the batch
//! before lead the same write; they must not follow, since the server works through a connection in order and would
//! hold them back behind a `reserve` that waits. beanstalkd has no results: a work is done when `DELETED` has come.
//!
//! Protocol: <https://raw.githubusercontent.com/beanstalkd/beanstalkd/master/doc/protocol.txt>.

use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::load::{Load, Tally, work_of};
use super::server::{Server, free_port};
use super::setup::{Durability, Measured, Setup, Variant, until_done};
use super::submit::{Submitting, submit};
use super::wire::{Parsed, Wire, line, number};

pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        name: "no binlog",
        waits_for: "memory only",
        durability: Durability::Memory,
    },
    Variant {
        name: "binlog",
        waits_for: "a write to the binlog; fdatasync every 50 ms",
        durability: Durability::File,
    },
    Variant {
        name: "binlog, fsync each",
        waits_for: "fdatasync of the binlog for every command",
        durability: Durability::Fsync,
    },
];

/// Jobs that a consumer asks for at once at most. It asks for twice as many as came the last time: each `reserve` in
/// vain costs the server a system call, and with it half of its rate where consumers keep up with submitters.
const BATCH_MAX: usize = 64;

pub(super) async fn measure(setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
    let folder = setup.folder()?;
    let port = free_port()?;
    let mut command = Command::new(setup.programs.find("beanstalkd").context("it was found before")?);
    command
        .env("LD_LIBRARY_PATH", setup.programs.libraries())
        .args(["-l", "127.0.0.1", "-p", &port.to_string()])
        .args(["-z", "1000000"]);
    match variant.durability {
        Durability::Memory => {}
        Durability::File => drop(command.arg("-b").arg(folder.path())),
        Durability::Fsync => drop(command.arg("-b").arg(folder.path()).args(["-f", "0"])),
    }
    let mut server = Server::start(command, &folder.path().join("log"))?;
    server.listening(port).await?;
    let version = version(port).await?;
    let runs = setup
        .repeat(server.pid(), std::process::id(), async |load| {
            run(port, load).await
        })
        .await?;
    Ok(Measured {
        system: format!("beanstalkd {version}"),
        runs,
    })
}

async fn run(port: u16, load: Load) -> Result<()> {
    let tally = Arc::new(Tally::new(load.works));
    let mut tasks = JoinSet::new();
    for _ in 0..load.submitters {
        let wire = Wire::connect(port).await?;
        tasks.spawn(submit(wire, Arc::clone(&tally), load, Puts));
    }
    for _ in 0..load.consumers {
        let wire = Wire::connect(port).await?;
        tasks.spawn(consume(wire, Arc::clone(&tally)));
    }
    until_done(&tally, tasks).await
}

struct Puts;

impl Submitting for Puts {
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>) {
        for work in works {
            // Priority, delay, seconds to run, bytes.
            let _ = write!(out, "put 0 0 600 {}\r\n", load.payload_bytes);
            load.payload(out, work);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32> {
        match line(input) {
            None => Ok(None),
            Some((text, bytes)) if text.starts_with(b"INSERTED ") => Ok(Some((1, bytes))),
            Some((text, _)) => bail!("put was answered {}", String::from_utf8_lossy(text)),
        }
    }
}

async fn consume(mut wire: Wire, tally: Arc<Tally>) -> Result<()> {
    let mut taken: Vec<(u64, u32)> = Vec::new();
    loop {
        let batch = (2 * taken.len()).clamp(1, BATCH_MAX);
        for (job, _) in &taken {
            let _ = write!(wire.out, "delete {job}\r\n");
        }
        wire.out.extend_from_slice(b"reserve-with-timeout 1\r\n");
        for _ in 1..batch {
            wire.out.extend_from_slice(b"reserve-with-timeout 0\r\n");
        }
        wire.send().await?;
        for (_, work) in taken.drain(..) {
            wire.next(deleted).await?;
            tally.known(work)?;
            tally.confirmed(1);
        }
        for _ in 0..batch {
            taken.extend(wire.next(reserved).await?);
        }
    }
}

fn deleted(input: &[u8]) -> Parsed<()> {
    match line(input) {
        None => Ok(None),
        Some((b"DELETED", bytes)) => Ok(Some(((), bytes))),
        Some((text, _)) => bail!("delete was answered {}", String::from_utf8_lossy(text)),
    }
}

/// A job and its work, or none in time.
fn reserved(input: &[u8]) -> Parsed<Option<(u64, u32)>> {
    let Some((text, head)) = line(input) else {
        return Ok(None);
    };
    if text == b"TIMED_OUT" {
        return Ok(Some((None, head)));
    }
    let fields: Vec<&[u8]> = text.split(|byte| *byte == b' ').collect();
    let [b"RESERVED", job, length] = fields[..] else {
        bail!("reserve was answered {}", String::from_utf8_lossy(text));
    };
    let (job, length) = (number(job)?, number::<usize>(length)?);
    match input.get(head..head + length + 2) {
        None => Ok(None),
        Some(payload) => Ok(Some((Some((job, work_of(payload)?)), head + length + 2))),
    }
}

/// The version that the server names in its statistics.
async fn version(port: u16) -> Result<String> {
    let mut wire = Wire::connect(port).await?;
    wire.out.extend_from_slice(b"stats\r\n");
    wire.send().await?;
    let statistics = wire
        .next(|input| {
            let Some((text, head)) = line(input) else {
                return Ok(None);
            };
            let length = text.strip_prefix(b"OK ").context("stats was refused")?;
            let end = head + number::<usize>(length)? + 2;
            let body = input.get(head..end);
            Ok(body.map(|body| (String::from_utf8_lossy(body).into_owned(), end)))
        })
        .await?;
    let version = statistics.lines().find_map(|line| line.strip_prefix("version: "));
    Ok(version
        .context("the statistics name no version")?
        .trim_matches('"')
        .to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const LOAD: Load = Load {
        works: 2,
        payload_bytes: 12,
        result_bytes: 10,
        consumers: 1,
        submitters: 1,
    };

    /// Jobs of a server that speaks beanstalkd, as far as this client does.
    #[derive(Default)]
    struct Jobs {
        queued: VecDeque<(u64, Vec<u8>)>,
        put: u64,
        deleted: u64,
        /// Gives each job to two consumers.
        careless: bool,
    }

    async fn serve(listener: TcpListener, jobs: Arc<Mutex<Jobs>>) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, Arc::clone(&jobs)));
        }
    }

    async fn answer(stream: TcpStream, jobs: Arc<Mutex<Jobs>>) -> Result<()> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            let mut payload = Vec::new();
            if let Some(length) = line.trim().strip_prefix("put 0 0 600 ") {
                payload.resize(length.parse::<usize>()? + 2, 0);
                stream.read_exact(&mut payload).await?;
                payload.truncate(payload.len() - 2);
            }
            let answer = answered(&line, payload, &mut jobs.lock().expect("one thread"));
            stream.write_all(&answer).await?;
            line.clear();
            // Others have their turn after each command, as with the real one.
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn answered(line: &str, payload: Vec<u8>, jobs: &mut Jobs) -> Vec<u8> {
        if line.starts_with("put") {
            jobs.put += 1;
            let job = (jobs.put, payload);
            if jobs.careless {
                jobs.queued.push_back(job.clone());
            }
            jobs.queued.push_back(job);
            return format!("INSERTED {}\r\n", jobs.put).into_bytes();
        }
        if line.starts_with("delete") {
            jobs.deleted += 1;
            return b"DELETED\r\n".to_vec();
        }
        match jobs.queued.pop_front() {
            None => b"TIMED_OUT\r\n".to_vec(),
            Some((id, payload)) => {
                let mut answer = format!("RESERVED {id} {}\r\n", payload.len()).into_bytes();
                answer.extend_from_slice(&payload);
                answer.extend_from_slice(b"\r\n");
                answer
            }
        }
    }

    async fn run_on(jobs: &Arc<Mutex<Jobs>>) -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(serve(listener, Arc::clone(jobs)));
        let load = Load {
            works: 1_000,
            consumers: 3,
            submitters: 2,
            ..LOAD
        };
        run(port, load).await
    }

    #[tokio::test]
    async fn a_run_ends_when_each_work_was_put_reserved_and_deleted() {
        let jobs = Arc::new(Mutex::new(Jobs::default()));
        run_on(&jobs).await.expect("it succeeds");
        let jobs = jobs.lock().expect("one thread");
        assert_eq!((jobs.put, jobs.deleted, jobs.queued.len()), (1_000, 1_000, 0));
    }

    #[tokio::test]
    async fn a_server_that_gives_a_work_to_two_consumers_is_found_out() {
        let careless = Jobs {
            careless: true,
            ..Jobs::default()
        };
        let failed = run_on(&Arc::new(Mutex::new(careless))).await.expect_err("twice");
        assert!(failed.to_string().contains("came back twice"), "{failed}");
    }

    #[test]
    fn works_become_pipelined_puts() {
        let mut out = Vec::new();
        Puts.put(&mut out, &LOAD, 0..2);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "put 0 0 600 12\r\n0000000000xx\r\nput 0 0 600 12\r\n0000000001xx\r\n"
        );
    }

    #[test]
    fn a_refused_put_is_an_error_and_half_a_line_is_not() {
        assert_eq!(Puts.confirmed(b"INSERTED 1\r\n").expect("fine"), Some((1, 12)));
        assert_eq!(Puts.confirmed(b"INSERT").expect("fine"), None);
        assert!(Puts.confirmed(b"OUT_OF_MEMORY\r\n").is_err());
    }

    #[test]
    fn a_reserved_job_is_whole_or_waited_for() {
        let whole = b"RESERVED 7 12\r\n0000000001xx\r\nmore";
        assert_eq!(reserved(whole).expect("fine"), Some((Some((7, 1)), 29)));
        assert_eq!(reserved(&whole[..28]).expect("fine"), None);
        assert_eq!(reserved(b"TIMED_OUT\r\n").expect("fine"), Some((None, 11)));
        assert!(reserved(b"DEADLINE_SOON\r\n").is_err());
        assert!(deleted(b"NOT_FOUND\r\n").is_err());
    }
}
