//! A link as a client holds it: a sender, a receiver, and what concerns both.

use super::LinkError;
use crate::close::code;
use crate::frames::FrameReader;
use bytes::Bytes;
use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;
use wire_protocol::frame::PAYLOAD_BYTES_MAX;

/// An open link. Its parts may go to different tasks; when all are dropped, the link is closed.
#[derive(Debug)]
pub struct Link {
    /// Frames to the server.
    pub sender: Sender,
    /// Frames from the server.
    pub receiver: Receiver,
    /// The rest.
    pub control: Control,
}

/// How long the receiver waits, after the server has ended the stream, to be told why.
const FAREWELL: Duration = Duration::from_secs(3);
/// Chunks, of a packet each, that are taken per read.
const CHUNKS: usize = 64;

impl Link {
    pub(super) fn new(
        endpoint: Endpoint,
        connection: Connection,
        send: SendStream,
        receive: RecvStream,
    ) -> Self {
        let chunks = vec![Bytes::new(); CHUNKS].into_boxed_slice();
        Self {
            sender: Sender { stream: send },
            receiver: Receiver {
                stream: receive,
                connection: connection.clone(),
                reader: FrameReader::default(),
                chunks,
            },
            control: Control { connection, endpoint },
        }
    }
}

/// What concerns a link as a whole. Clones are handles of the same link.
#[derive(Clone, Debug)]
pub struct Control {
    connection: Connection,
    endpoint: Endpoint,
}

impl Control {
    /// Where the server is.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Closes the link at once; what was not delivered is lost, see [`Sender::finish`]. The reason is for
    /// the server's log.
    pub fn close(&self, code: u32, reason: &str) {
        self.connection.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits for the end of the link.
    pub async fn closed(&self) -> LinkError {
        self.connection.closed().await.into()
    }

    /// The round trip time, as QUIC estimates it.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.connection.rtt()
    }

    /// Moves this link, and all others of its connector in the same address family, to another UDP
    /// socket, as a change of network would. The links go on.
    ///
    /// # Errors
    /// Those of the socket; then nothing has changed.
    pub fn rebind(&self, socket: UdpSocket) -> io::Result<()> {
        self.endpoint.rebind(socket)
    }

    /// Keying material of the TLS session (RFC 8446 §7.5), equal at both ends and known to nobody else:
    /// what a login is bound to.
    ///
    /// # Panics
    /// If `label` is empty or longer than 249 bytes.
    #[must_use]
    pub fn export_keying_material(&self, label: &[u8], context: &[u8]) -> [u8; 32] {
        let mut output = [0; 32];
        self.connection
            .export_keying_material(&mut output, label, context)
            .expect("32 bytes under a proper label");
        output
    }
}

/// The sending half of a link.
#[derive(Debug)]
pub struct Sender {
    stream: SendStream,
}

impl Sender {
    /// Sends whole frames; waits while the server, or the network, takes no more. Many small frames in
    /// one call leave in few packets.
    ///
    /// Cancelled halfway, it may have sent part of a frame, after which only closing is left.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send(&mut self, frames: &[u8]) -> Result<(), LinkError> {
        Ok(self.stream.write_all(frames).await?)
    }

    /// As [`send`](Self::send), of bytes that the link holds on to instead of copying them.
    ///
    /// # Errors
    /// See [`LinkError`].
    pub async fn send_shared(&mut self, frames: &mut [Bytes]) -> Result<(), LinkError> {
        Ok(self.stream.write_all_chunks(frames).await?)
    }

    /// Says that nothing more comes, and waits until the server has received everything.
    ///
    /// # Errors
    /// See [`LinkError`]; then it is unknown what was received.
    pub async fn finish(mut self) -> Result<(), LinkError> {
        self.stream.finish().map_err(|_| LinkError::Done)?;
        match self.stream.stopped().await {
            Ok(_) => Ok(()),
            Err(quinn::StoppedError::ConnectionLost(error)) => match error.into() {
                LinkError::Closed { code: closed, .. } if closed == u64::from(code::DONE) => Ok(()),
                error => Err(error),
            },
            Err(quinn::StoppedError::ZeroRttRejected) => Err(LinkError::Done),
        }
    }
}

/// The receiving half of a link.
#[derive(Debug)]
pub struct Receiver {
    stream: RecvStream,
    connection: Connection,
    reader: FrameReader,
    chunks: Box<[Bytes]>,
}

impl Receiver {
    /// Waits for at least one whole frame and calls `on_frame` with the kind and payload of each that has
    /// come. `false`: the server has ended the link in good order (code 0), nothing more comes.
    ///
    /// Cancelled, it has lost nothing.
    ///
    /// # Errors
    /// [`LinkError`]s, and those of `on_frame`; after either, frames may be missing: close the link.
    pub async fn recv<E: From<LinkError>>(
        &mut self,
        mut on_frame: impl FnMut(u8, &[u8]) -> Result<(), E>,
    ) -> Result<bool, E> {
        loop {
            let count = match self.stream.read_chunks(&mut self.chunks).await {
                Ok(Some(count)) => count,
                Ok(None) => return self.farewell().await.map_err(E::from),
                Err(error) => return orderly(error.into()).map_err(E::from),
            };
            let mut any = false;
            for chunk in &mut self.chunks[..count] {
                let chunk = std::mem::take(chunk);
                let mut input = &chunk[..];
                while let Some((kind, payload)) = self
                    .reader
                    .next(&mut input, PAYLOAD_BYTES_MAX)
                    .map_err(|error| E::from(error.into()))?
                {
                    any = true;
                    on_frame(kind, payload)?;
                }
            }
            if any {
                return Ok(true);
            }
        }
    }

    /// The server has ended its stream; its reason follows with the end of the connection.
    async fn farewell(&self) -> Result<bool, LinkError> {
        match tokio::time::timeout(FAREWELL, self.connection.closed()).await {
            Ok(error) => orderly(error.into()),
            Err(_) => Ok(false),
        }
    }
}

/// An end with code 0 is no error.
fn orderly(error: LinkError) -> Result<bool, LinkError> {
    match error {
        LinkError::Closed { code: closed, .. } if closed == u64::from(code::DONE) => Ok(false),
        error => Err(error),
    }
}
