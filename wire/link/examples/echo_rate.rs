//! Round trips per second through the link: a server thread that answers every 200-byte frame with a
//! 64-byte one, and tokio clients that keep a number of frames in flight.
//!
//! `cargo run --release -p wire-link --example echo_rate -- [connections] [in flight] [seconds] [mtu]`
//! (defaults 8, 128, 3, 1452)

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wire_link::*;
use wire_protocol::frame::push;
use wire_protocol::ids::LinkId;

const ALPN: &[u8] = b"echo/1";
const REQUEST: [u8; 200] = [1; 200];
const REPLY: [u8; 64] = [2; 64];

struct Answer {
    reply: Vec<u8>,
}

impl Handler for Answer {
    fn on_open(&mut self, links: &mut Links, link: LinkId, _peer: Peer) {
        links.authenticated(link);
    }

    fn on_frame(
        &mut self,
        links: &mut Links,
        link: LinkId,
        _listener: ListenerId,
        _kind: u8,
        payload: &[u8],
    ) -> Result<(), Close> {
        assert_eq!(payload.len(), REQUEST.len());
        let _ = links.send(link, &self.reply);
        Ok(())
    }

    fn on_close(&mut self, _links: &mut Links, _link: LinkId, _reason: &str) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers: Vec<u64> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse())
        .collect::<Result<_, _>>()?;
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (connections, in_flight, seconds) = (number(0, 8), number(1, 128), number(2, 3));
    let mtu_max = u16::try_from(number(3, 1_452))?;
    let folder = tempfile::tempdir()?;
    let identity = ServerIdentity::load_or_create(folder.path(), &["localhost".to_owned()])?;
    let print = identity.fingerprint();
    let mut config = ServerConfig::new(identity);
    config.mtu_max = mtu_max;
    config.listen(ListenerId(0), ([127, 0, 0, 1], 0).into(), &[ALPN]);
    let server = Server::bind(config)?;
    let (addr, waker) = (server.local_addr(ListenerId(0)), server.waker());
    let stop = Arc::new(AtomicBool::new(false));
    let serving = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || serve(server, &stop)
    });
    let done = Arc::new(AtomicU64::new(0));
    let mut client = ClientConfig::new(Trust::Fingerprint(print), ALPN);
    client.mtu_max = mtu_max;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rate = runtime.block_on(async {
        let connector = Connector::new(client)?;
        for _ in 0..connections {
            let link = connector.connect(addr, "localhost").await?;
            tokio::spawn(drive(link, in_flight, Arc::clone(&done)));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (start, before) = (Instant::now(), done.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let trips = done.load(Ordering::Relaxed) - before;
        Ok::<f64, Box<dyn Error>>(trips as f64 / start.elapsed().as_secs_f64())
    })?;
    println!(
        "{connections} connections, {in_flight} in flight each, packets to {mtu_max}: {rate:.0} round trips/s"
    );
    stop.store(true, Ordering::Relaxed);
    waker.wake()?;
    let total = serving.join().expect("the server's thread ends by itself");
    let per = |count: u64| total.frames_in as f64 / count.max(1) as f64;
    println!(
        "server: {:.1} frames per datagram in, {:.1} datagrams and {:.1} frames per syscall",
        per(total.datagrams_in),
        (total.datagrams_in + total.datagrams_out) as f64 / total.syscalls.max(1) as f64,
        per(total.syscalls),
    );
    Ok(())
}

/// Sums up the turns until it is told to stop.
fn serve(mut server: Server, stop: &AtomicBool) -> Turn {
    let mut reply = Vec::new();
    push(&mut reply, 2, |out| out.extend_from_slice(&REPLY));
    let mut handler = Answer { reply };
    let mut total = Turn::default();
    while !stop.load(Ordering::Relaxed) {
        let turn = server.turn(None, &mut handler).expect("loopback works");
        total.frames_in += turn.frames_in;
        total.datagrams_in += turn.datagrams_in;
        total.datagrams_out += turn.datagrams_out;
        total.syscalls += turn.syscalls;
    }
    total
}

/// Keeps `in_flight` requests under way, sending one for each answer, those of one read together.
async fn drive(mut link: Link, in_flight: u64, done: Arc<AtomicU64>) -> Result<(), LinkError> {
    let mut request = Vec::new();
    push(&mut request, 1, |out| out.extend_from_slice(&REQUEST));
    let mut batch = request.repeat(usize::try_from(in_flight).expect("a small number"));
    loop {
        link.sender.send(&batch).await?;
        batch.clear();
        let on_reply = |_: u8, _: &[u8]| {
            batch.extend_from_slice(&request);
            Ok::<(), LinkError>(())
        };
        if !link.receiver.recv(on_reply).await? {
            return Ok(());
        }
        done.fetch_add((batch.len() / request.len()) as u64, Ordering::Relaxed);
    }
}
