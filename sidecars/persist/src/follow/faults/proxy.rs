//! A proxy before a MySQL or MariaDB server that counts messages and cuts a connection at one of them.
//!
//! A message is 3 bytes of length, a number and so many bytes; it does without TLS. Messages of both directions and all
//! connections are counted together, from 0.
//! See <https://mariadb.com/kb/en/0-packet/>.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

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
    pub(super) fn start(server: u16, cut: Cut) -> Self {
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
                        drop(pump(&from, &to, cut, &counter));
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

fn pump(mut from: &TcpStream, mut to: &TcpStream, cut: Cut, counter: &AtomicU64) -> io::Result<()> {
    loop {
        let mut message = vec![0; 4];
        from.read_exact(&mut message)?;
        let length = u32::from_le_bytes([message[0], message[1], message[2], 0]) as usize;
        message.resize(4 + length, 0);
        from.read_exact(&mut message[4..])?;
        let number = counter.fetch_add(1, Ordering::SeqCst);
        match cut {
            Cut::Before(at) if at == number => return Ok(()),
            Cut::Within(at) if at == number => return to.write_all(&message[..message.len() / 2]),
            _ => to.write_all(&message)?,
        }
    }
}
