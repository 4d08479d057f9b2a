//! RabbitMQ: a classic durable queue and a quorum queue, persistent messages, publisher confirms.
//!
//! Submitters publish and count confirms; consumers are pushed to, with a prefetch of hundreds, and acknowledge what
//! has come with one `basic.ack` for all of it. The server never answers an acknowledgement, so a work counts when its
//! acknowledgement was sent, and the last of each consumer are followed by a question that the server answers behind
//! them. That, and that there is no result, flatters RabbitMQ.

use std::collections::VecDeque;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::amqp::{self, Frame};
use super::load::{Load, Tally, work_of};
use super::programs::Programs;
use super::server::{Server, free_port};
use super::setup::{Durability, Measured, Setup, Variant, until_done};
use super::submit::{Submitting, submit};
use super::wire::{Parsed, Wire};

pub(super) const VARIANTS: &[Variant] = &[
    Variant {
        name: "classic queue, confirms",
        waits_for: "fsync before the confirm of a work, unless it was acknowledged before; acknowledgements of consumers: nothing",
        durability: Durability::Fsync,
    },
    Variant {
        name: "quorum queue of one, confirms",
        waits_for: "fsync of the Raft log before the confirm of a work; acknowledgements of consumers: nothing",
        durability: Durability::Fsync,
    },
];

const QUEUE: &str = "works";

/// Messages that a consumer holds without having acknowledged them.
const PREFETCH: u16 = 500;

pub(super) async fn measure(setup: &Setup<'_>, variant: &Variant) -> Result<Measured> {
    let folder = setup.folder()?;
    let port = free_port()?;
    let names = free_port()?;
    let erlang = erlang(setup.programs, folder.path())?;
    // The node registers with a name server, which it would start as a daemon that stays behind: it gets one of ours.
    let mut epmd = Command::new(&erlang.epmd);
    epmd.args(["-port", &names.to_string(), "-address", "127.0.0.1"]);
    let mut epmd = Server::start(epmd, &folder.path().join("epmd.log"))?;
    epmd.listening(names).await?;
    let mut server = Server::start(
        node(setup.programs, &erlang, folder.path(), port, names)?,
        &folder.path().join("log"),
    )?;
    server.listening(port).await?;
    let kind = if variant.name.starts_with("quorum") {
        "quorum"
    } else {
        "classic"
    };
    let mut control = Wire::connect(port).await?;
    let version = amqp::open(&mut control).await?;
    amqp::declare(&mut control, QUEUE, kind).await?;
    let runs = setup
        .repeat(server.pid(), std::process::id(), async |load| {
            run(port, load, kind).await
        })
        .await?;
    Ok(Measured {
        system: format!("rabbitmq {version}"),
        runs,
    })
}

/// Where the virtual machine is.
struct Erlang {
    epmd: PathBuf,
    /// Folder to lead `PATH`.
    programs: PathBuf,
}

/// An Erlang of our folder has the machine's place written into its start script, so it gets one that does not.
fn erlang(programs: &Programs, folder: &Path) -> Result<Erlang> {
    let Some(epmd) = programs.find_file("usr/lib/erlang/erts-*", "bin/epmd") else {
        let epmd = programs
            .find("epmd")
            .context("no Erlang was found: --install brings it")?;
        let programs = epmd.parent().context("a program lies in a folder")?.to_owned();
        return Ok(Erlang { epmd, programs });
    };
    let bin = epmd.parent().context("a program lies in a folder")?;
    let root = bin
        .ancestors()
        .nth(2)
        .context("erts lies in the folder of Erlang")?;
    let starts = folder.join("bin");
    fs::create_dir_all(&starts)?;
    let script = format!(
        "#!/bin/sh\nexport ROOTDIR='{}' BINDIR='{}' EMU=beam PROGNAME=erl\nexec \"$BINDIR/erlexec\" \"$@\"\n",
        root.display(),
        bin.display()
    );
    let erl = starts.join("erl");
    fs::write(&erl, script)?;
    fs::set_permissions(&erl, fs::Permissions::from_mode(0o755))?;
    Ok(Erlang {
        epmd,
        programs: starts,
    })
}

/// The place of the server's start script, in our folder or in the machine.
pub(super) fn start_script(programs: &Programs) -> Option<PathBuf> {
    programs.find_file("usr/lib/rabbitmq/lib/rabbitmq_server-*", "sbin/rabbitmq-server")
}

fn node(programs: &Programs, erlang: &Erlang, folder: &Path, port: u16, names: u16) -> Result<Command> {
    let mut path = erlang.programs.clone().into_os_string();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    fs::write(folder.join("plugins"), "[].\n")?;
    fs::write(folder.join("rabbitmq.conf"), "")?;
    fs::write(folder.join("environment"), "")?;
    let mut command = Command::new(start_script(programs).context("it was found before")?);
    command
        .current_dir(folder)
        .env("PATH", path)
        .env("HOME", folder)
        // Makes the script become the virtual machine instead of starting it, so that the process is the server.
        .env("RUNNING_UNDER_SYSTEMD", "true")
        .env("ERL_EPMD_PORT", names.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODENAME", format!("bench-{port}@localhost"))
        .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
        .env("RABBITMQ_NODE_PORT", port.to_string())
        .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
        .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
        .env("RABBITMQ_LOG_BASE", folder)
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
        .env("RABBITMQ_CONF_ENV_FILE", folder.join("environment"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("plugins"));
    Ok(command)
}

async fn run(port: u16, load: Load, kind: &'static str) -> Result<()> {
    let tally = Arc::new(Tally::new(load.works));
    let mut tasks = JoinSet::new();
    for _ in 0..load.consumers {
        let mut wire = Wire::connect(port).await?;
        amqp::open(&mut wire).await?;
        amqp::consume(&mut wire, QUEUE, PREFETCH).await?;
        amqp::answer(&mut wire, amqp::BASIC_CONSUME_OK).await?;
        tasks.spawn(consume(wire, Arc::clone(&tally)));
    }
    for _ in 0..load.submitters {
        let mut wire = Wire::connect(port).await?;
        amqp::open(&mut wire).await?;
        amqp::confirm_select(&mut wire).await?;
        tasks.spawn(submit(wire, Arc::clone(&tally), load, Publishes::default()));
    }
    until_done(&tally, tasks).await?;
    let mut wire = Wire::connect(port).await?;
    amqp::open(&mut wire).await?;
    amqp::declare(&mut wire, QUEUE, kind).await
}

/// Publishes and counts confirms, which may come in any order and for many at once.
#[derive(Default)]
struct Publishes {
    /// Tag of the oldest that is not confirmed, less one; the server counts from one.
    settled: u64,
    /// Whether each one after it is confirmed.
    confirmed: VecDeque<bool>,
}

impl Publishes {
    fn confirm(&mut self, tag: u64, and_before: bool) -> Result<u32> {
        let index = tag
            .checked_sub(self.settled + 1)
            .and_then(|index| usize::try_from(index).ok())
            .filter(|index| *index < self.confirmed.len())
            .with_context(|| format!("the server confirmed {tag}, which was not published"))?;
        let first = if and_before { 0 } else { index };
        let mut newly = 0;
        for confirmed in self.confirmed.range_mut(first..=index) {
            newly += u32::from(!std::mem::replace(confirmed, true));
        }
        while self.confirmed.front() == Some(&true) {
            self.confirmed.pop_front();
            self.settled += 1;
        }
        Ok(newly)
    }
}

impl Submitting for Publishes {
    fn put(&mut self, out: &mut Vec<u8>, load: &Load, works: Range<u32>) {
        for work in works {
            amqp::publish(out, QUEUE, load.payload_bytes, |out| load.payload(out, work));
            self.confirmed.push_back(false);
        }
    }

    fn confirmed(&mut self, input: &[u8]) -> Parsed<u32> {
        let Some((frame, bytes)) = amqp::frame(input)? else {
            return Ok(None);
        };
        let newly = match frame {
            Frame::Method(amqp::BASIC_ACK, arguments) => {
                let (tag, and_before) = amqp::acked(&arguments)?;
                self.confirm(tag, and_before)?
            }
            Frame::Method(amqp::BASIC_NACK, _) => bail!("the server did not take a work"),
            Frame::Heartbeat => 0,
            other => bail!("the server sent {other:?} in the place of a confirm"),
        };
        Ok(Some((newly, bytes)))
    }
}

async fn consume(mut wire: Wire, tally: Arc<Tally>) -> Result<()> {
    let mut announced = 0;
    loop {
        let mut works = 0;
        let mut tag = 0;
        let mut next = Some(wire.next(amqp::frame).await?);
        while let Some(frame) = next {
            match frame {
                Frame::Method(method, arguments) => {
                    let delivered = amqp::delivered(method, &arguments);
                    announced =
                        delivered.with_context(|| format!("the server sent {method:?} to a consumer"))?;
                }
                // A work fits a frame (`--payload-bytes` is bounded), so its body is its payload.
                Frame::Body(payload) => {
                    tally.known(work_of(&payload)?)?;
                    works += 1;
                    // Not before its body: what has been announced may still be on its way.
                    tag = announced;
                }
                Frame::Header(_) | Frame::Heartbeat => {}
            }
            next = wire.ready(amqp::frame)?;
        }
        if works > 0 {
            amqp::ack_up_to(&mut wire.out, tag);
            wire.send().await?;
            tally.confirmed(works);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_count_once_in_whatever_order_they_come() {
        let mut publishes = Publishes {
            settled: 0,
            confirmed: VecDeque::from(vec![false; 5]),
        };
        assert_eq!(publishes.confirm(3, false).expect("published"), 1);
        assert_eq!(publishes.confirm(4, true).expect("published"), 3);
        assert_eq!(publishes.settled, 4);
        assert_eq!(publishes.confirm(5, false).expect("published"), 1);
        assert!(publishes.confirm(5, false).is_err(), "it was settled");
        assert!(publishes.confirm(6, false).is_err(), "it was never published");
    }
}
