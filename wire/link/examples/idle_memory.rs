//! What an idle link costs the server: resident memory before and after many links were opened, said
//! hello, and fell silent. The clients live in a process of their own.
//!
//! `cargo run --release -p wire-link --example idle_memory -- [links]` (default 2000)

use std::error::Error;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use wire_link::*;
use wire_protocol::frame::push;
use wire_protocol::ids::LinkId;

const ALPN: &[u8] = b"idle/1";

struct Greet;

impl Handler for Greet {
    fn on_open(&mut self, _links: &mut Links, _link: LinkId, _peer: Peer) {}

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        _listener: ListenerId,
        kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        links.authenticated(link);
        let mut answer = Vec::new();
        push(&mut answer, kind, |out| out.extend_from_slice(payload));
        let _ = links.send(link, &answer);
        Ok(())
    }

    fn on_close(&mut self, _links: &mut Links, _link: LinkId, _reason: &str) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [role, addr, fingerprint, count] = &args[..] {
        assert_eq!(role, "clients");
        return hold_links(addr, fingerprint, count.parse()?);
    }
    let count: usize = args.first().map_or(Ok(2_000), |arg| arg.parse())?;
    let folder = tempfile::tempdir()?;
    let identity = ServerIdentity::load_or_create(folder.path(), &["localhost".to_owned()])?;
    let print = identity.fingerprint().to_string();
    let mut config = ServerConfig::new(identity);
    config.listen(ListenerId(0), ([127, 0, 0, 1], 0).into(), &[ALPN]);
    let mut server = Server::bind(config)?;
    let addr = server.local_addr(ListenerId(0)).to_string();
    let before = resident_bytes()?;
    let mut clients = Command::new(std::env::current_exe()?)
        .args(["clients", &addr, &print, &count.to_string()])
        .spawn()?;
    let measured = measure(&mut server, &mut clients, count);
    clients.kill()?;
    clients.wait()?;
    let bytes = measured?.saturating_sub(before);
    println!(
        "{count} idle links: {bytes} bytes resident, {:.1} KiB each",
        bytes as f64 / 1024.0 / count as f64
    );
    Ok(())
}

/// Resident memory once all links are open and nothing has happened for a second.
fn measure(server: &mut Server, clients: &mut Child, count: usize) -> Result<usize, Box<dyn Error>> {
    loop {
        let turn = server.turn(Some(Duration::from_secs(1)), &mut Greet)?;
        if server.links().len() >= count && turn.datagrams_in + turn.datagrams_out == 0 {
            return resident_bytes();
        }
        if let Some(status) = clients.try_wait()? {
            return Err(format!("the clients ended with {status}").into());
        }
    }
}

fn hold_links(addr: &str, fingerprint: &str, count: usize) -> Result<(), Box<dyn Error>> {
    let mut config = ClientConfig::new(Trust::Fingerprint(fingerprint.parse()?), ALPN);
    config.keep_alive = None;
    let (connector, addr) = (Arc::new(Connector::new(config)?), addr.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let turnstile = Arc::new(Semaphore::new(50));
        for _ in 0..count {
            let pass = Arc::clone(&turnstile).acquire_owned().await?;
            let connector = Arc::clone(&connector);
            tokio::spawn(async move {
                let mut link = connector
                    .connect(addr, "localhost")
                    .await
                    .expect("the server has room");
                let mut hello = Vec::new();
                push(&mut hello, 1, |out| out.extend_from_slice(b"hello"));
                link.sender.send(&hello).await.expect("the link is new");
                drop(pass);
                let _ = link.receiver.recv(|_, _| Ok::<(), LinkError>(())).await;
                link.control.closed().await
            });
        }
        std::future::pending::<Result<(), Box<dyn Error>>>().await
    })
}

fn resident_bytes() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS in /proc")?;
    let kib: usize = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib * 1024)
}
