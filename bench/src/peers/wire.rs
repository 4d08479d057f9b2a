//! A connection to a peer: bytes to send are gathered, bytes received are parsed where they lie.
//!
//! All of the bench's clients write many commands with one system call and read as many replies as have come with
//! another. That is how a good user drives these servers, and it keeps the clients' share of the processor small.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Free space for each read; holds hundreds of works.
const READ_BYTES: usize = 128 * 1024;

/// See the module.
pub(super) struct Wire {
    stream: TcpStream,
    input: Vec<u8>,
    parsed: usize,
    /// What the next [`send`](Self::send) sends.
    pub(super) out: Vec<u8>,
}

/// What a parser found at the beginning of the input: a value and its bytes; `None`: it is not all there yet.
pub(super) type Parsed<T> = Result<Option<(T, usize)>>;

impl Wire {
    /// Connects to a port of this machine.
    pub(super) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .with_context(|| format!("cannot connect to port {port}"))?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            input: Vec::with_capacity(READ_BYTES),
            parsed: 0,
            out: Vec::new(),
        })
    }

    /// Sends what was gathered.
    pub(super) async fn send(&mut self) -> Result<()> {
        self.stream
            .write_all(&self.out)
            .await
            .context("the server does not take what is sent")?;
        self.out.clear();
        Ok(())
    }

    /// Waits for more bytes.
    async fn receive(&mut self) -> Result<()> {
        self.input.drain(..self.parsed);
        self.parsed = 0;
        self.input.reserve(READ_BYTES);
        let count = self.stream.read_buf(&mut self.input).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(())
    }

    /// The next value if it has arrived already.
    pub(super) fn ready<T>(&mut self, parse: impl FnOnce(&[u8]) -> Parsed<T>) -> Result<Option<T>> {
        let found = parse(&self.input[self.parsed..])?;
        Ok(found.map(|(value, bytes)| {
            self.parsed += bytes;
            value
        }))
    }

    /// The next value, waited for.
    pub(super) async fn next<T>(&mut self, mut parse: impl FnMut(&[u8]) -> Parsed<T>) -> Result<T> {
        loop {
            if let Some(value) = self.ready(&mut parse)? {
                return Ok(value);
            }
            self.receive().await?;
        }
    }
}

/// The first line of the input without its `\r\n`, and its bytes with it.
pub(super) fn line(input: &[u8]) -> Option<(&[u8], usize)> {
    let end = input.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&input[..end], end + 2))
}

/// A decimal number.
pub(super) fn number<T: std::str::FromStr>(digits: &[u8]) -> Result<T> {
    let parsed = std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok());
    parsed.with_context(|| {
        format!(
            "the server sent {:?} in the place of a number",
            String::from_utf8_lossy(digits)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_where_both_of_its_end_bytes_are_there() {
        assert_eq!(line(b"INSERTED 7\r\nrest"), Some((&b"INSERTED 7"[..], 12)));
        assert_eq!(line(b"INSERTED 7\r"), None);
        assert_eq!(number::<u32>(b"17").expect("a number"), 17);
        assert!(number::<u32>(b"x").is_err());
    }

    #[tokio::test]
    async fn values_that_come_in_pieces_are_put_together() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await.expect("what was sent");
            assert_eq!(&asked, b"ask!");
            for piece in [&b"on"[..], b"e\r", b"\ntwo\r\n"] {
                stream.write_all(piece).await.expect("room");
                tokio::task::yield_now().await;
            }
        };
        let client = async {
            let text = |input: &[u8]| Ok(line(input).map(|(text, bytes)| (text.to_vec(), bytes)));
            let mut wire = Wire::connect(port).await.expect("a connection");
            wire.out.extend_from_slice(b"ask!");
            wire.send().await.expect("sent");
            assert_eq!(wire.next(text).await.expect("a line"), b"one");
            assert_eq!(wire.next(text).await.expect("a line"), b"two");
            let closed = wire.next(text).await.expect_err("no more");
            assert!(closed.to_string().contains("closed"), "{closed}");
        };
        tokio::join!(server, client);
    }
}
