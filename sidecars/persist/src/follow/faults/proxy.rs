//! A proxy before a MySQL or MariaDB server that counts messages and cuts a connection at one of them.
//!
//! A message is 3 bytes of length, a number and so many bytes. Where a server wants TLS, each side sends one such message,
//! the server its greeting and the client that it wants TLS too; what then counts as a message is a record of TLS, whose
//! kind, version and length are not encrypted. A statement of a few rows and what is answered to it are a record each, so
//! that cuts are in the same places; only what is in a record the proxy cannot tell. Messages of both directions
//! and all connections are counted together, from 0.
//!
//! See <https://mariadb.com/kb/en/0-packet/> and RFC 8446, section 5.1.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use testkit::sql::SqlServer;

/// Where it cuts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    Never,
    /// This message does not arrive.
    Before(u64),
    /// Half of it does.
    Within(u64),
}

/// A running one; its threads end with its connections.
pub(super) struct Proxy {
    address: SocketAddr,
    counted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Proxy {
    pub(super) fn start(server: &SqlServer, cut: Cut) -> Self {
        let (tls, server) = (server.kind().wants_tls(), server.port());
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (counted, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, stopped) = (Arc::clone(&counted), Arc::clone(&stop));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    break;
                }
                let client = client.expect("a connection");
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().expect("a copy"), to.try_clone().expect("a copy"));
                    to.set_nodelay(true).expect("a socket");
                    let counter = Arc::clone(&counter);
                    std::thread::spawn(move || {
                        // Either side may be gone; then both are.
                        drop(pump(&from, &to, tls, cut, &counter));
                        drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
                    });
                }
            }
        });
        Self {
            address,
            counted,
            stop,
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Messages so far.
    pub(super) fn counted(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // It looks when somebody comes.
        drop(TcpStream::connect(self.address));
    }
}

/// One direction of a connection.
fn pump(from: &TcpStream, mut to: &TcpStream, tls: bool, cut: Cut, counter: &AtomicU64) -> io::Result<()> {
    let mut read = read_packet as fn(&TcpStream) -> io::Result<Vec<u8>>;
    loop {
        let message = read(from)?;
        if tls {
            read = read_record;
        }
        let number = counter.fetch_add(1, Ordering::SeqCst);
        match cut {
            Cut::Before(at) if at == number => return Ok(()),
            Cut::Within(at) if at == number => return to.write_all(&message[..message.len() / 2]),
            _ => to.write_all(&message)?,
        }
    }
}

fn read_packet(from: &TcpStream) -> io::Result<Vec<u8>> {
    read(from, [0; 4], |head| {
        u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize
    })
}

fn read_record(from: &TcpStream) -> io::Result<Vec<u8>> {
    read(from, [0; 5], |head| u16::from_be_bytes([head[3], head[4]]).into())
}

/// A head that says how long the rest is, and the rest.
fn read<const HEAD: usize>(
    mut from: &TcpStream,
    mut head: [u8; HEAD],
    length: impl Fn([u8; HEAD]) -> usize,
) -> io::Result<Vec<u8>> {
    from.read_exact(&mut head)?;
    let mut message = head.to_vec();
    message.resize(HEAD + length(head), 0);
    from.read_exact(&mut message[HEAD..])?;
    Ok(message)
}
