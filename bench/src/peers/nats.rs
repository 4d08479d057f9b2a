//! NATS JetStream: a work-queue stream with one pull consumer that all eight share.
//!
//! Submitters publish with a reply subject and count the stream's acknowledgements. A consumer keeps pulls for
//! hundreds of messages open; for each message it sends the result to the submitter's subject and acknowledges with a
//! reply subject of its own, so that the server confirms (`AckSync` of the client libraries, pipelined). The result
//! is a plain NATS message, which is not stored. A work is done when its acknowledgement was confirmed and its result
//! has come.
//!
//! Protocol: <https://docs.nats.io/reference/reference-protocols/nats-protocol>; API of JetStream:
//! <https://docs.nats.io/reference/reference-protocols/nats_api_reference>.

use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::load::{Load, Tally, work_of};
use super::server::{Server, free_port};
use super::setup::{Durability, Measured, Setup, Variant, until_done};
use super::submit::{Submitting, submit};
use super::wire::{Parsed, Wire, line, number};

pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        name: "memory",
        waits_for: "memory only",
        durability: Durability::Memory,
    },
    Variant {
        name: "file",
        waits_for: "a write to the file; fsync every 2 minutes",
        durability: Durability::File,
    },
    Variant {
        name: "file, sync always",
        waits_for: "fsync of the stream's file for every message (sync_interval: always)",
        durability: Durability::Fsync,
    },
];

/// Messages that a consumer has asked for and not received; it asks again when half of them have come.
const PULL: u32 = 512;

/// Subscription numbers: what distinguishes the messages on a connection.
const MESSAGES: u32 = 1;
const CONFIRMATIONS: u32 = 2;

pub(super) async fn measure(setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
    let folder = setup.folder()?;
    let port = free_port()?;
    let config = folder.path().join("nats.conf");
    let sync = match variant.durability {
        Durability::Fsync => "sync_interval: always",
        Durability::Memory | Durability::File => "",
    };
    let store = folder.path().join("store");
    fs::write(
        &config,
        format!(
            "listen: 127.0.0.1:{port}\njetstream {{ store_dir: \"{}\"\n{sync} }}\n",
            store.display()
        ),
    )?;
    let mut command = Command::new(
        setup
            .programs
            .find("nats-server")
            .context("it was found before")?,
    );
    command.arg("--config").arg(&config);
    let mut server = Server::start(command, &folder.path().join("log"))?;
    server.listening(port).await?;
    let storage = match variant.durability {
        Durability::Memory => "memory",
        Durability::File | Durability::Fsync => "file",
    };
    let (mut control, version) = connect(port).await?;
    prepare(&mut control, storage).await?;
    let runs = setup
        .repeat(server.pid(), std::process::id(), async |load| {
            run(port, load).await
        })
        .await?;
    Ok(Measured {
        system: format!("nats-server {version}"),
        runs,
    })
}

/// Connects; returns the server's version too.
async fn connect(port: u16) -> Result<(Wire, String)> {
    let mut wire = Wire::connect(port).await?;
    let info = wire
        .next(|input| Ok(line(input).map(|(text, bytes)| (text.to_vec(), bytes))))
        .await?;
    let info = info
        .strip_prefix(b"INFO ")
        .context("the server does not speak NATS")?;
    let info: serde_json::Value = serde_json::from_slice(info)?;
    let version = info["version"].as_str().context("the server names no version")?;
    wire.out.extend_from_slice(
        b"CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n",
    );
    Ok((wire, version.to_owned()))
}

/// Makes the stream and its consumer.
async fn prepare(wire: &mut Wire, storage: &str) -> Result<()> {
    subscribe(wire, "control", MESSAGES);
    let stream = serde_json::json!({
        "name": "WORKS", "subjects": ["works"], "retention": "workqueue", "storage": storage, "num_replicas": 1,
    });
    call(wire, "$JS.API.STREAM.CREATE.WORKS", &stream).await?;
    let consumer = serde_json::json!({
        "stream_name": "WORKS",
        "config": {
            "durable_name": "pool", "ack_policy": "explicit", "max_ack_pending": 100_000,
            "ack_wait": 600_000_000_000_u64, "max_waiting": 512,
        },
    });
    call(wire, "$JS.API.CONSUMER.DURABLE.CREATE.WORKS.pool", &consumer).await
}

/// Calls the API of JetStream and waits for the answer.
async fn call(wire: &mut Wire, subject: &str, request: &serde_json::Value) -> Result<()> {
    publish(&mut wire.out, subject, "control", request.to_string().as_bytes());
    wire.send().await?;
    loop {
        match wire.next(received).await? {
            Received::Message { payload, .. } => {
                let answer: serde_json::Value = serde_json::from_slice(&payload)?;
                ensure!(
                    answer["error"].is_null(),
                    "{subject} was refused: {}",
                    answer["error"]
                );
                return Ok(());
            }
            Received::Ping => pong(wire).await?,
            Received::Status(_) => bail!("{subject} was not answered: is JetStream on?"),
        }
    }
}

async fn run(port: u16, load: Load) -> Result<()> {
    let tally = Arc::new(Tally::new(load.works));
    let mut tasks = JoinSet::new();
    let (mut collector, _) = connect(port).await?;
    subscribe(&mut collector, "results", MESSAGES);
    settled(&mut collector).await?;
    tasks.spawn(collect(collector, Arc::clone(&tally)));
    for consumer in 0..load.consumers {
        let (wire, _) = connect(port).await?;
        tasks.spawn(consume(wire, Arc::clone(&tally), load, consumer));
    }
    for submitter in 0..load.submitters {
        let (mut wire, _) = connect(port).await?;
        let inbox = format!("submitter.{submitter}");
        subscribe(&mut wire, &inbox, MESSAGES);
        tasks.spawn(submit(wire, Arc::clone(&tally), load, Publishes { inbox }));
    }
    until_done(&tally, tasks).await
}

struct Publishes {
    inbox: String,
}

impl Submitting for Publishes {
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>) {
        for work in works {
            let _ = write!(out, "PUB works {} {}\r\n", self.inbox, load.payload_bytes);
            load.payload(out, work);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32> {
        let Some((received, bytes)) = received(input)? else {
            return Ok(None);
        };
        match received {
            Received::Message { payload, .. } if payload.starts_with(b"{\"stream\":") => Ok(Some((1, bytes))),
            Received::Message { payload, .. } => {
                bail!("a work was refused: {}", String::from_utf8_lossy(&payload))
            }
            Received::Status(text) => bail!("a work was not taken: {text}"),
            // A submitter is never silent long enough for the server to miss the answer.
            Received::Ping => Ok(Some((0, bytes))),
        }
    }
}

async fn consume(mut wire: Wire, tally: Arc<Tally>, load: Load, consumer: u32) -> Result<()> {
    let inbox = format!("consumer.{consumer}");
    let confirmations = format!("confirmed.{consumer}");
    subscribe(&mut wire, &inbox, MESSAGES);
    subscribe(&mut wire, &confirmations, CONFIRMATIONS);
    let mut asked = 0;
    let mut result = Vec::new();
    loop {
        if asked <= PULL / 2 {
            let pull = format!("{{\"batch\":{},\"expires\":30000000000}}", PULL - asked);
            let subject = "$JS.API.CONSUMER.MSG.NEXT.WORKS.pool";
            publish(&mut wire.out, subject, &inbox, pull.as_bytes());
            asked = PULL;
        }
        wire.send().await?;
        let mut confirmed = 0;
        let mut next = Some(wire.next(received).await?);
        while let Some(received_now) = next {
            match received_now {
                Received::Message {
                    number: CONFIRMATIONS,
                    ..
                } => confirmed += 1,
                Received::Message { reply, payload, .. } => {
                    result.clear();
                    load.result(&mut result, work_of(&payload)?);
                    publish(&mut wire.out, "results", "", &result);
                    publish(&mut wire.out, &reply, &confirmations, b"+ACK");
                    asked = asked.saturating_sub(1);
                }
                // The pull has ended: the next turn asks anew.
                Received::Status(_) => asked = 0,
                Received::Ping => wire.out.extend_from_slice(b"PONG\r\n"),
            }
            next = wire.ready(received)?;
        }
        if confirmed > 0 {
            tally.confirmed(confirmed);
        }
    }
}

async fn collect(mut wire: Wire, tally: Arc<Tally>) -> Result<()> {
    loop {
        match wire.next(received).await? {
            Received::Message { payload, .. } => tally.known(work_of(&payload)?)?,
            Received::Ping => pong(&mut wire).await?,
            Received::Status(text) => bail!("a result did not come: {text}"),
        }
    }
}

/// Waits until the server has worked through all that was sent.
async fn settled(wire: &mut Wire) -> Result<()> {
    wire.out.extend_from_slice(b"PING\r\n");
    wire.send().await?;
    wire.next(|input| Ok(line(input).and_then(|(text, bytes)| (text == b"PONG").then_some(((), bytes)))))
        .await
}

async fn pong(wire: &mut Wire) -> Result<()> {
    wire.out.extend_from_slice(b"PONG\r\n");
    wire.send().await
}

fn subscribe(wire: &mut Wire, subject: &str, number: u32) {
    let _ = write!(wire.out, "SUB {subject} {number}\r\n");
}

fn publish(out: &mut Vec<u8>, subject: &str, reply: &str, payload: &[u8]) {
    let _ = write!(out, "PUB {subject} {reply} {}\r\n", payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// What the server sends.
#[derive(Debug, PartialEq, Eq)]
enum Received {
    Message {
        number: u32,
        reply: String,
        payload: Vec<u8>,
    },
    /// A message with headers: a status of JetStream, such as the end of a pull.
    Status(String),
    Ping,
}

fn received(input: &[u8]) -> Parsed<Received> {
    let Some((text, head)) = line(input) else {
        return Ok(None);
    };
    if text == b"PING" {
        return Ok(Some((Received::Ping, head)));
    }
    let text = std::str::from_utf8(text).context("the server sent no text")?;
    let fields: Vec<&str> = text.split(' ').collect();
    let (reply, bytes) = match fields[..] {
        ["MSG", _, _, bytes] | ["HMSG", _, _, _, bytes] | ["HMSG", _, _, _, _, bytes] => ("", bytes),
        ["MSG", _, _, reply, bytes] => (reply, bytes),
        _ => bail!("the server sent {text:?}"),
    };
    let end = head + self::number::<usize>(bytes.as_bytes())?;
    let Some(body) = input.get(head..end + 2) else {
        return Ok(None);
    };
    let body = &body[..body.len() - 2];
    let received = if fields[0] == "HMSG" {
        Received::Status(String::from_utf8_lossy(body).trim().to_owned())
    } else {
        Received::Message {
            number: self::number(fields[2].as_bytes())?,
            reply: reply.to_owned(),
            payload: body.to_vec(),
        }
    };
    Ok(Some((received, end + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_and_without_a_reply_subject_are_parsed() {
        let message = |number, reply: &str, payload: &[u8]| Received::Message {
            number,
            reply: reply.to_owned(),
            payload: payload.to_vec(),
        };
        let plain = b"MSG confirmed.0 2 0\r\n\r\n";
        assert_eq!(
            received(plain).expect("fine"),
            Some((message(2, "", b""), plain.len()))
        );
        let work = b"MSG works 1 $JS.ACK.7 3\r\nabc\r\nMSG";
        assert_eq!(
            received(work).expect("fine"),
            Some((message(1, "$JS.ACK.7", b"abc"), work.len() - 3))
        );
        assert_eq!(received(&work[..27]).expect("fine"), None, "half a message");
    }

    #[test]
    fn the_end_of_a_pull_is_a_status_and_an_error_is_an_error() {
        let status = b"HMSG consumer.0 1 26 26\r\nNATS/1.0 408 Timed Out\r\n\r\n\r\n";
        let (got, bytes) = received(status).expect("fine").expect("whole");
        assert_eq!(got, Received::Status("NATS/1.0 408 Timed Out".to_owned()));
        assert_eq!(bytes, status.len());
        assert!(received(b"-ERR 'Unknown Protocol Operation'\r\n").is_err());
    }

    #[test]
    fn a_refused_work_is_an_error() {
        let mut publishes = Publishes {
            inbox: "submitter.0".to_owned(),
        };
        let taken = b"MSG submitter.0 1 28\r\n{\"stream\":\"WORKS\", \"seq\":1} \r\n";
        assert_eq!(publishes.confirmed(taken).expect("fine"), Some((1, taken.len())));
        let refused = b"MSG submitter.0 1 24\r\n{\"error\":{\"code\":503}}  \r\n";
        assert!(publishes.confirmed(refused).is_err());
    }
}
