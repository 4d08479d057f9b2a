//! What a command prints, kept up to a bound. Beyond it everything is still read and dropped, so that the
//! command neither blocks nor dies of a closed pipe.

use tokio::io::{AsyncRead, AsyncReadExt};
use wire_protocol::outcome::Output;

/// Bytes that are read at once, per stream.
const CHUNK_BYTES: usize = 16 * 1024;

/// Both output streams. They share one bound, first come, first kept.
#[derive(Debug)]
pub(super) struct Capture {
    left: usize,
    stdout: Stream,
    stderr: Stream,
}

#[derive(Default, Debug)]
struct Stream {
    kept: Vec<u8>,
    cut: bool,
}

impl Stream {
    fn take(&mut self, bytes: &[u8], left: &mut usize) {
        let keep = bytes.len().min(*left);
        self.kept.extend_from_slice(&bytes[..keep]);
        self.cut |= keep < bytes.len();
        *left -= keep;
    }
}

impl Capture {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            left: bytes_max,
            stdout: Stream::default(),
            stderr: Stream::default(),
        }
    }

    /// Reads both to their ends. Dropped halfway, what came until then is kept.
    pub(super) async fn read(
        &mut self,
        mut stdout: impl AsyncRead + Unpin,
        mut stderr: impl AsyncRead + Unpin,
    ) {
        let mut chunks = (vec![0; CHUNK_BYTES], vec![0; CHUNK_BYTES]);
        let (mut out_open, mut err_open) = (true, true);
        while out_open || err_open {
            // A pipe that cannot be read is a pipe at its end.
            tokio::select! {
                read = stdout.read(&mut chunks.0), if out_open => {
                    let bytes = read.unwrap_or(0);
                    out_open = bytes > 0;
                    self.take_stdout(&chunks.0[..bytes]);
                }
                read = stderr.read(&mut chunks.1), if err_open => {
                    let bytes = read.unwrap_or(0);
                    err_open = bytes > 0;
                    self.take_stderr(&chunks.1[..bytes]);
                }
            }
        }
    }

    /// Keeps what came on standard output.
    pub(super) fn take_stdout(&mut self, bytes: &[u8]) {
        self.stdout.take(bytes, &mut self.left);
    }

    /// Keeps what came on standard error.
    pub(super) fn take_stderr(&mut self, bytes: &[u8]) {
        self.stderr.take(bytes, &mut self.left);
    }

    /// The result of a command that printed this.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut result = Vec::with_capacity(self.stdout.kept.len() + self.stderr.kept.len() + 8);
        let output = Output {
            stdout: &self.stdout.kept,
            stderr: &self.stderr.kept,
            stdout_cut: self.stdout.cut,
            stderr_cut: self.stderr.cut,
            ..Output::default()
        };
        output.encode(&mut result);
        result
    }
}
