//! Round trips per second through the link: server threads that answer every 200-byte frame with a 64-byte one, and
//! tokio clients that keep a number of frames in flight.
//!
//! `cargo run --release -p wire-link --example echo_rate -- --help`

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use wire_link::*;
use wire_protocol::frame::push;
use wire_protocol::ids::LinkId;

const USAGE: &str = "\
echo_rate [CONNECTIONS] [IN_FLIGHT] [SECONDS] [MTU] [THREADS]

  CONNECTIONS  clients, all in one thread [8]
  IN_FLIGHT    frames that each keeps under way [128]
  SECONDS      how long to measure [3]
  MTU          largest packet, bytes [1452]
  THREADS      servers, each a thread with a socket of its own; they share nothing [1]";

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
    let numbers: Result<Vec<u64>, _> = std::env::args().skip(1).map(|arg| arg.parse()).collect();
    let Ok(numbers) = numbers else {
        println!("{USAGE}");
        return Ok(());
    };
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let (connections, in_flight, seconds) = (number(0, 8), number(1, 128), number(2, 3));
    let (mtu_max, threads) = (u16::try_from(number(3, 1_452))?, number(4, 1));
    let stop = Arc::new(AtomicBool::new(false));
    let folder = tempfile::tempdir()?;
    let identity = ServerIdentity::load_or_create(folder.path(), &["localhost".to_owned()])?;
    let print = identity.fingerprint();
    let (mut addrs, mut wakers, mut serving) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..threads {
        let identity = ServerIdentity::load_or_create(folder.path(), &["localhost".to_owned()])?;
        let mut config = ServerConfig::new(identity);
        config.mtu_max = mtu_max;
        config.listen(ListenerId(0), ([127, 0, 0, 1], 0).into(), &[ALPN]);
        let server = Server::bind(config)?;
        addrs.push(server.local_addr(ListenerId(0)));
        wakers.push(server.waker());
        let stop = Arc::clone(&stop);
        serving.push(std::thread::spawn(move || serve(server, &stop)));
    }
    let done = Arc::new(AtomicU64::new(0));
    let mut client = ClientConfig::new(Trust::Fingerprint(print), ALPN);
    client.mtu_max = mtu_max;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let rate = runtime.block_on(async {
        let connector = Connector::new(client)?;
        for addr in addrs.iter().cycle().take(usize::try_from(connections)?) {
            let link = connector.connect(*addr, "localhost").await?;
            tokio::spawn(drive(link, in_flight, Arc::clone(&done)));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (start, before) = (Instant::now(), done.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let trips = done.load(Ordering::Relaxed) - before;
        Ok::<f64, Box<dyn Error>>(trips as f64 / start.elapsed().as_secs_f64())
    })?;
    println!(
        "{connections} connections, {in_flight} in flight each, packets to {mtu_max}, {threads} server threads: \
         {rate:.0} round trips/s"
    );
    stop.store(true, Ordering::Relaxed);
    for (waker, serving) in wakers.iter().zip(serving) {
        waker.wake()?;
        println!("{}", serving.join().expect("the server's thread ends by itself"));
    }
    Ok(())
}

/// What a server thread did, and what the system says about it.
#[derive(Default)]
struct Served {
    turns: u64,
    total: Turn,
    /// Nanoseconds on a processor, and ready to run but waiting for one.
    ran_ns: u64,
    waited_ns: u64,
    /// Times that it slept, and that another took its processor.
    sleeps: u64,
    preempted: u64,
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = &self.total;
        let frames = total.frames_in.max(1) as f64;
        let per = |count: u64| frames / count.max(1) as f64;
        write!(
            f,
            "server: {:.1} frames per datagram in, {:.1} datagrams and {:.1} frames per syscall, {:.1} frames per turn; \
             of a processor {:.3} us a frame, {:.3} us waited for one; {:.1} sleeps and {:.1} preemptions in a thousand \
             frames",
            per(total.datagrams_in),
            (total.datagrams_in + total.datagrams_out) as f64 / total.syscalls.max(1) as f64,
            per(total.syscalls),
            per(self.turns),
            self.ran_ns as f64 / 1e3 / frames,
            self.waited_ns as f64 / 1e3 / frames,
            self.sleeps as f64 * 1e3 / frames,
            self.preempted as f64 * 1e3 / frames,
        )
    }
}

impl Served {
    /// Asks the system about the thread that calls.
    fn ask(&mut self) {
        let text =
            |name: &str| std::fs::read_to_string(format!("/proc/thread-self/{name}")).unwrap_or_default();
        let times = text("schedstat");
        let mut times = times.split(' ').map(|number| number.parse().unwrap_or(0));
        self.ran_ns = times.next().unwrap_or(0);
        self.waited_ns = times.next().unwrap_or(0);
        let status = text("status");
        let switches = |kind: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(kind));
            line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
        };
        self.sleeps = switches("voluntary_ctxt_switches:");
        self.preempted = switches("nonvoluntary_ctxt_switches:");
    }
}

/// Sums up the turns until it is told to stop.
fn serve(mut server: Server, stop: &AtomicBool) -> Served {
    let mut reply = Vec::new();
    push(&mut reply, 2, |out| out.extend_from_slice(&REPLY));
    let mut handler = Answer { reply };
    let mut served = Served::default();
    let total = &mut served.total;
    while !stop.load(Ordering::Relaxed) {
        let turn = server.turn(None, &mut handler).expect("loopback works");
        served.turns += 1;
        total.frames_in += turn.frames_in;
        total.datagrams_in += turn.datagrams_in;
        total.datagrams_out += turn.datagrams_out;
        total.syscalls += turn.syscalls;
    }
    served.ask();
    served
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
