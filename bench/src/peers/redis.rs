//! Redis: lists and streams as queues.
//!
//! **Lists.** Submitters `LPUSH` many works with one command. A consumer moves works to a list of its own, a `BLMOVE`
//! that waits for the first and `LMOVE`s for more; for each it removes the work from its list (`LREM`), and pushes the
//! results. **Streams.** Submitters pipeline `XADD`; consumers take with `XREADGROUP`, `XADD` each result to a second
//! stream and acknowledge with one `XACK` for the batch. Streams are not trimmed; they are deleted between runs.
//!
//! In both, a batch's results and acknowledgements and the next take are one write. A work is done when the server has
//! answered the consumer and the collector, a connection of the submitter's, has its result: `BLMPOP`, `XREAD`.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::load::{Load, Tally, work_of};
use super::resp::{Value, array, ask, bulk, command, value};
use super::server::{Server, free_port};
use super::setup::{Durability, Measured, Setup, Variant, until_done};
use super::submit::{Submitting, submit};
use super::wire::{Parsed, Wire};

pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        name: "streams, memory",
        waits_for: "memory only",
        durability: Durability::Memory,
    },
    Variant {
        name: "streams, fsync always",
        waits_for: "fdatasync of the append-only file before every reply",
        durability: Durability::Fsync,
    },
    Variant {
        name: "lists, memory",
        waits_for: "memory only",
        durability: Durability::Memory,
    },
    Variant {
        name: "lists, fsync always",
        waits_for: "fdatasync of the append-only file before every reply",
        durability: Durability::Fsync,
    },
];

/// Works that a consumer takes at once.
const BATCH: usize = 128;
/// The same, and the most results that the collector takes at once, as words of a command.
const BATCH_WORD: &[u8] = b"128";
const COLLECT_WORD: &[u8] = b"1000";

/// A Redis server of the bench's own.
pub(super) struct Redis {
    pub(super) server: Server,
    pub(super) port: u16,
    pub(super) version: String,
    _folder: tempfile::TempDir,
}

impl Redis {
    pub(super) async fn start(setup: &Setup<'_>, durability: Durability) -> Result<Self> {
        let folder = setup.folder()?;
        let port = free_port()?;
        let mut command = Command::new(
            setup
                .programs
                .find("redis-server")
                .context("it was found before")?,
        );
        command
            .env("LD_LIBRARY_PATH", setup.programs.libraries())
            .args(["--bind", "127.0.0.1", "--port", &port.to_string()])
            .args(["--save", "", "--dir"])
            .arg(folder.path());
        if durability == Durability::Fsync {
            command.args(["--appendonly", "yes", "--appendfsync", "always"]);
        }
        let mut server = Server::start(command, &folder.path().join("log"))?;
        server.listening(port).await?;
        let info = ask(&mut Wire::connect(port).await?, &[b"INFO", b"server"]).await?;
        let info = String::from_utf8_lossy(info.text()?).into_owned();
        let version = info
            .lines()
            .find_map(|line| line.strip_prefix("redis_version:"))
            .context("the server names no version")?;
        Ok(Self {
            server,
            port,
            version: version.to_owned(),
            _folder: folder,
        })
    }
}

pub(super) async fn measure(setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
    let redis = Redis::start(setup, variant.durability).await?;
    let streams = variant.name.starts_with("streams");
    let runs = setup
        .repeat(redis.server.pid(), std::process::id(), async |load| {
            run(redis.port, load, streams).await
        })
        .await?;
    Ok(Measured {
        system: format!("redis {}", redis.version),
        runs,
    })
}

async fn run(port: u16, load: Load, streams: bool) -> Result<()> {
    let tally = Arc::new(Tally::new(load.works));
    let mut tasks = JoinSet::new();
    let mut control = Wire::connect(port).await?;
    ask(&mut control, &[b"FLUSHALL"]).await?;
    if streams {
        ask(
            &mut control,
            &[b"XGROUP", b"CREATE", b"works", b"pool", b"0", b"MKSTREAM"],
        )
        .await?;
    }
    for _ in 0..load.submitters {
        let wire = Wire::connect(port).await?;
        if streams {
            tasks.spawn(submit(wire, Arc::clone(&tally), load, Adds));
        } else {
            tasks.spawn(submit(wire, Arc::clone(&tally), load, Pushes::default()));
        }
    }
    for consumer in 0..load.consumers {
        let wire = Wire::connect(port).await?;
        let name = format!("consumer-{consumer}").into_bytes();
        if streams {
            tasks.spawn(consume_stream(wire, Arc::clone(&tally), load, name));
        } else {
            tasks.spawn(consume_list(wire, Arc::clone(&tally), load, name));
        }
    }
    if streams {
        tasks.spawn(collect_stream(control, Arc::clone(&tally)));
    } else {
        tasks.spawn(collect_list(control, Arc::clone(&tally)));
    }
    until_done(&tally, tasks).await
}

/// `LPUSH works …`, one command a batch.
#[derive(Default)]
struct Pushes {
    /// How many works the commands under way hold: a reply is for a whole command.
    under_way: std::collections::VecDeque<u32>,
}

impl Submitting for Pushes {
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>) {
        self.under_way.push_back(works.end - works.start);
        let mut payload = Vec::with_capacity(load.payload_bytes);
        array(out, 2 + works.len());
        bulk(out, b"LPUSH");
        bulk(out, b"works");
        for work in works {
            payload.clear();
            load.payload(&mut payload, work);
            bulk(out, &payload);
        }
    }

    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32> {
        let Some((_, bytes)) = value(input)? else {
            return Ok(None);
        };
        let works = self.under_way.pop_front().context("a reply to no command")?;
        Ok(Some((works, bytes)))
    }
}

/// `XADD works * w …`, one command a work.
struct Adds;

impl Submitting for Adds {
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>) {
        let mut payload = Vec::with_capacity(load.payload_bytes);
        for work in works {
            payload.clear();
            load.payload(&mut payload, work);
            command(out, &[b"XADD", b"works", b"*", b"w", &payload]);
        }
    }

    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32> {
        Ok(value(input)?.map(|(_, bytes)| (1, bytes)))
    }
}

/// Sends what waits, and hears the server's answers to the `done` works that are settled in it: one to each, and one to
/// what is said of all together. Of none, nothing is said.
async fn settle(wire: &mut Wire, tally: &Tally, done: usize) -> Result<()> {
    wire.send().await?;
    if done == 0 {
        return Ok(());
    }
    for _ in 0..=done {
        wire.next(value).await?;
    }
    tally.confirmed(u32::try_from(done)?);
    Ok(())
}

async fn consume_list(mut wire: Wire, tally: Arc<Tally>, load: Load, own: Vec<u8>) -> Result<()> {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    let mut result = Vec::new();
    loop {
        for payload in &taken {
            // From the tail: the oldest, which is this one, so nothing is searched.
            command(&mut wire.out, &[b"LREM", &own, b"-1", payload]);
        }
        if !taken.is_empty() {
            array(&mut wire.out, 2 + taken.len());
            bulk(&mut wire.out, b"LPUSH");
            bulk(&mut wire.out, b"results");
            for payload in &taken {
                result.clear();
                load.result(&mut result, work_of(payload)?);
                bulk(&mut wire.out, &result);
            }
        }
        command(
            &mut wire.out,
            &[b"BLMOVE", b"works", &own, b"RIGHT", b"LEFT", b"1"],
        );
        for _ in 1..BATCH {
            command(&mut wire.out, &[b"LMOVE", b"works", &own, b"RIGHT", b"LEFT"]);
        }
        settle(&mut wire, &tally, taken.len()).await?;
        taken.clear();
        for _ in 0..BATCH {
            if let Value::Text(payload) = wire.next(value).await? {
                taken.push(payload);
            }
        }
    }
}

async fn collect_list(mut wire: Wire, tally: Arc<Tally>) -> Result<()> {
    loop {
        let words: [&[u8]; 7] = [
            b"BLMPOP",
            b"1",
            b"1",
            b"results",
            b"RIGHT",
            b"COUNT",
            COLLECT_WORD,
        ];
        let popped = ask(&mut wire, &words).await?;
        // The name of the list, and the results.
        let Some(results) = popped.list()?.get(1) else {
            continue;
        };
        for result in results.list()? {
            tally.known(work_of(result.text()?)?)?;
        }
    }
}

async fn consume_stream(mut wire: Wire, tally: Arc<Tally>, load: Load, own: Vec<u8>) -> Result<()> {
    let mut taken: Vec<(Vec<u8>, u32)> = Vec::new();
    let mut result = Vec::new();
    loop {
        for (_, work) in &taken {
            result.clear();
            load.result(&mut result, *work);
            command(&mut wire.out, &[b"XADD", b"results", b"*", b"r", &result]);
        }
        if !taken.is_empty() {
            array(&mut wire.out, 3 + taken.len());
            for word in [&b"XACK"[..], b"works", b"pool"] {
                bulk(&mut wire.out, word);
            }
            for (id, _) in &taken {
                bulk(&mut wire.out, id);
            }
        }
        let words: [&[u8]; 11] = [
            b"XREADGROUP",
            b"GROUP",
            b"pool",
            &own,
            b"COUNT",
            BATCH_WORD,
            b"BLOCK",
            b"1000",
            b"STREAMS",
            b"works",
            b">",
        ];
        command(&mut wire.out, &words);
        settle(&mut wire, &tally, taken.len()).await?;
        taken.clear();
        let read = wire.next(value).await?;
        for (id, payload) in entries(&read)? {
            taken.push((id.to_vec(), work_of(payload)?));
        }
    }
}

async fn collect_stream(mut wire: Wire, tally: Arc<Tally>) -> Result<()> {
    let mut last = b"0".to_vec();
    loop {
        let words: [&[u8]; 8] = [
            b"XREAD",
            b"COUNT",
            COLLECT_WORD,
            b"BLOCK",
            b"1000",
            b"STREAMS",
            b"results",
            &last,
        ];
        let read = ask(&mut wire, &words).await?;
        let results = entries(&read)?;
        if let Some((id, _)) = results.last() {
            last = id.to_vec();
        }
        for (_, result) in results {
            tally.known(work_of(result)?)?;
        }
    }
}

/// Ids and first values of what was read from one stream: `[[name, [[id, [field, value]], …]]]`, or nil.
fn entries(read: &Value) -> Result<Vec<(&[u8], &[u8])>> {
    let Some(stream) = read.list()?.first() else {
        return Ok(Vec::new());
    };
    let entries = stream.list()?.get(1).context("a stream has a name and entries")?;
    let entries = entries.list()?.iter().map(|entry| match entry.list()? {
        [id, fields] => {
            let value = fields.list()?.get(1).context("an entry has a field")?;
            Ok((id.text()?, value.text()?))
        }
        other => anyhow::bail!("the server sent {other:?} in the place of an entry"),
    });
    entries.collect()
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    const LOAD: Load = Load {
        works: 2,
        payload_bytes: 10,
        result_bytes: 10,
        consumers: 1,
        submitters: 1,
    };

    #[test]
    fn one_push_holds_a_batch_and_its_reply_confirms_all_of_it() {
        let mut pushes = Pushes::default();
        let mut out = Vec::new();
        pushes.put(&mut out, &LOAD, 0..2);
        assert!(out.starts_with(b"*4\r\n$5\r\nLPUSH\r\n$5\r\nworks\r\n$10\r\n0000000000\r\n"));
        assert_eq!(pushes.confirmed(b":2\r").expect("fine"), None);
        assert_eq!(pushes.confirmed(b":2\r\n").expect("fine"), Some((2, 4)));
        assert!(pushes.confirmed(b":2\r\n").is_err(), "a reply to no command");
    }

    #[tokio::test]
    async fn works_that_are_settled_have_an_answer_each_and_one_together() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut wire = Wire::connect(port).await.expect("a connection");
        let (mut server, _) = listener.accept().await.expect("a connection");
        let tally = Tally::new(2);
        tally.known(0).expect("the first");
        tally.known(1).expect("the second");

        command(&mut wire.out, &[b"BLMOVE"]);
        settle(&mut wire, &tally, 0)
            .await
            .expect("there is nothing to wait for");
        assert!(wire.out.is_empty(), "it was sent all the same");
        server
            .write_all(b":1\r\n:1\r\n:2\r\n+the next work\r\n")
            .await
            .expect("room");
        settle(&mut wire, &tally, 2).await.expect("three answers");
        tally.complete().await;
        let next = wire.next(value).await.expect("one more");
        assert_eq!(next, Value::Text(b"the next work".to_vec()));
    }

    #[test]
    fn entries_of_a_stream_are_found_in_what_was_read() {
        let read =
            b"*1\r\n*2\r\n$5\r\nworks\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nw\r\n$10\r\n0000000007\r\n";
        let (read, _) = value(read).expect("fine").expect("whole");
        assert_eq!(entries(&read).expect("fine"), [(&b"1-0"[..], &b"0000000007"[..])]);
        assert!(entries(&Value::Nil).expect("none in time").is_empty());
        assert!(entries(&Value::Number(1)).is_err());
    }
}
