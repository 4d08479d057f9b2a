//! What is sent arrives although packets are lost, and soon: recovery takes round trips, not timeout
//! upon timeout.

use crate::support::*;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wire_link::LinkError;
use wire_protocol::frame::{PAYLOAD_BYTES_MAX, push};

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// Which packets a path loses.
#[derive(Clone, Copy, Debug)]
enum Loses {
    None,
    /// Each with this chance.
    Percent(u64),
    /// Of every hundred the last twenty, as a queue that overflows does; see [`BURST`].
    Bursts,
    /// The same in one direction only.
    BurstsOn(Way),
}

/// A burst of losses ends when its sender pauses for a fraction of this. Without that it would hit the
/// probes that are sent, fewer and fewer, to find out whether the path works again: an outage.
const BURST: Duration = Duration::from_millis(5);

/// A path between one client and the server that loses packets.
struct LossyPath {
    addr: SocketAddr,
    lost: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Packets of the handshake, and of a first greeting, that no path loses: these tests are about bulk.
const SPARED: u64 = 12;

impl LossyPath {
    fn to(server: SocketAddr, loses: Loses) -> Self {
        let front = Arc::new(socket());
        let back = Arc::new(socket());
        back.connect(server).unwrap();
        let addr = front.local_addr().unwrap();
        let (lost, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let client = Arc::new(std::sync::OnceLock::new());
        let carry = |way: Way| {
            let (from, to) = match way {
                Way::Up => (Arc::clone(&front), Arc::clone(&back)),
                Way::Down => (Arc::clone(&back), Arc::clone(&front)),
            };
            let (lost, over, client) = (Arc::clone(&lost), Arc::clone(&over), Arc::clone(&client));
            std::thread::spawn(move || {
                let (mut packet, mut number) = (vec![0; 65_536], 0);
                let mut burst = None;
                while !over.load(SeqCst) {
                    let (length, sender) = match from.recv_from(&mut packet) {
                        Ok(received) => received,
                        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock) => continue,
                        Err(error) => panic!("{error}"),
                    };
                    number += 1;
                    if number > SPARED && loses.packet(way, number, &mut burst) {
                        lost.fetch_add(1, SeqCst);
                        continue;
                    }
                    // Whether it is delivered is up to the path; that the other end has gone is, too.
                    let _ = match way {
                        Way::Up => {
                            client.get_or_init(|| sender);
                            to.send(&packet[..length])
                        }
                        Way::Down => {
                            to.send_to(&packet[..length], client.get().expect("the client spoke first"))
                        }
                    };
                }
            })
        };
        let threads = vec![carry(Way::Up), carry(Way::Down)];
        Self {
            addr,
            lost,
            over,
            threads,
        }
    }
}

impl Loses {
    fn packet(self, way: Way, number: u64, burst: &mut Option<Instant>) -> bool {
        let bursts = match self {
            Self::None => return false,
            Self::Percent(percent) => return dice(number ^ (way as u64) << 40) % 100 < percent,
            Self::Bursts => true,
            Self::BurstsOn(only) => way == only,
        };
        if !bursts || number % 100 < 80 {
            *burst = None;
            return false;
        }
        burst.get_or_insert_with(Instant::now).elapsed() < BURST
    }
}

impl Drop for LossyPath {
    fn drop(&mut self) {
        self.over.store(true, SeqCst);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Large buffers, so that packets are lost where the test says.
fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let options = socket2::SockRef::from(&socket);
    let _ = options.set_recv_buffer_size(4 << 20);
    let _ = options.set_send_buffer_size(4 << 20);
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket
}

/// A number that looks random, the same in every run.
fn dice(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

const FRAME_BYTES: usize = 16 << 10;

/// Frames sent, all at once: 3 MiB.
const FRAMES: usize = 192;
/// A deadline that only timeouts upon timeouts miss: without loss it takes about 50 ms, with any of the
/// losses below one or two seconds at most.
const SOON: Duration = Duration::from_secs(10);

/// Sends frames through a path, all at once, and takes them back.
async fn echo(mtu: u16, loses: Loses) {
    let frames = FRAMES;
    let server = TestServer::with(|config| config.mtu_max = mtu);
    let path = LossyPath::to(server.addr, loses);
    let connector = server.connector_with(|config| config.mtu_max = mtu);
    let mut link = connector.connect(path.addr, "localhost").await.unwrap();
    assert_eq!(ask(&mut link, HELLO, b"hi").await, b"hi");
    let begun = Instant::now();
    let (mut sender, mut receiver) = (link.sender, link.receiver);
    let sending = tokio::spawn(async move {
        let mut batch = Vec::new();
        for number in 0..frames {
            batch.clear();
            push(&mut batch, ECHO, |out| {
                out.extend_from_slice(&number.to_le_bytes());
                out.resize(out.len() + FRAME_BYTES, u8::try_from(number % 251).unwrap());
            });
            sender.send(&batch).await.unwrap();
        }
        sender
    });
    let mut expected = 0;
    while expected < frames {
        let more = receiver.recv(|_, got| {
            assert_eq!(got[..8], expected.to_le_bytes());
            assert_eq!(got.len(), 8 + FRAME_BYTES);
            expected += 1;
            Ok::<(), LinkError>(())
        });
        assert!(
            tokio::time::timeout(PATIENCE, more)
                .await
                .expect("in time")
                .unwrap()
        );
    }
    let took = begun.elapsed();
    let lost = path.lost.load(SeqCst);
    link.control.close(0, "done");
    drop(sending.await.unwrap());
    assert_eq!(lost > 0, !matches!(loses, Loses::None));
    assert!(took < SOON, "{took:?} at {mtu} bytes per packet, {lost} lost");
}

fn echo_at_both_sizes(loses: Loses) {
    for mtu in [1_452, 8_192] {
        run(echo(mtu, loses));
    }
}

#[test]
fn bulk_both_ways_arrives_soon() {
    echo_at_both_sizes(Loses::None);
}

#[test]
fn bulk_both_ways_survives_a_loss_of_one_percent() {
    echo_at_both_sizes(Loses::Percent(1));
}

#[test]
fn bulk_both_ways_survives_a_loss_of_ten_percent() {
    echo_at_both_sizes(Loses::Percent(10));
}

#[test]
fn bulk_both_ways_survives_bursts_of_losses() {
    echo_at_both_sizes(Loses::Bursts);
}

#[test]
fn bulk_both_ways_survives_losses_towards_the_server_only() {
    echo_at_both_sizes(Loses::BurstsOn(Way::Up));
}

#[test]
fn bulk_both_ways_survives_losses_towards_the_client_only() {
    echo_at_both_sizes(Loses::BurstsOn(Way::Down));
}

/// The client's kernel drops what does not fit its socket, as it does when a worker is busy.
#[test]
fn bulk_both_ways_survives_a_client_with_a_tiny_receive_buffer() {
    run(async {
        let server = TestServer::with(|config| config.mtu_max = 8_192);
        let connector = server.connector_with(|config| config.mtu_max = 8_192);
        let mut link = connector.connect(server.addr, "localhost").await.unwrap();
        ask(&mut link, HELLO, b"hi").await;
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&socket)
            .set_recv_buffer_size(64 << 10)
            .unwrap();
        link.control.rebind(socket).unwrap();
        let begun = Instant::now();
        for _ in 0..4 {
            let sent = vec![7; PAYLOAD_BYTES_MAX];
            assert!(ask(&mut link, ECHO, &sent).await == sent);
        }
        assert!(begun.elapsed() < SOON);
    });
}

#[test]
fn bulk_that_is_not_answered_gets_room_for_more() {
    run(async {
        let server = TestServer::start();
        let mut link = server.link().await;
        // Larger than the window, so that the server has to give credit for what it has read.
        let unanswered = frame(IGNORE, &vec![7; PAYLOAD_BYTES_MAX]);
        for _ in 0..6 {
            let sending = link.sender.send(&unanswered);
            tokio::time::timeout(PATIENCE, sending)
                .await
                .expect("credit comes")
                .unwrap();
        }
        server.until("all six frames", |counts| counts.ignored.load(SeqCst) == 6);
    });
}
