//! What a command prints, kept up to a bound, and told on to whoever follows while it runs. Beyond the bound everything
//! is still read and dropped, so that the command neither blocks nor dies of a closed pipe.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use wire_protocol::ids::LeaseToken;
use wire_protocol::log::{LogChunk, LogStream};
use wire_protocol::outcome::Output;

/// Bytes that are read at once, per stream.
const CHUNK_BYTES: usize = 16 * 1024;

/// Pieces of one attempt that wait for the shell: of all that may wait, one that prints without end leaves room to others.
const WAITING_MAX: usize = 8;

/// What an attempt has printed so far: its executor writes it down here, and the worker looks in when somebody follows.
/// Both live on one thread; a lock that nobody waits for is what that costs.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Streams>>);

impl fmt::Debug for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Printed").finish_non_exhaustive()
    }
}

/// A piece of what an attempt prints, on its way to the worker's shell.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) token: LeaseToken,
    stream: LogStream,
    offset: u64,
    bytes: Vec<u8>,
    /// Its attempt's, until it has been taken; `None`: it was asked for, and waits nowhere.
    _place: Option<OwnedSemaphorePermit>,
}

impl Piece {
    pub(crate) fn chunk(&self) -> LogChunk<'_> {
        LogChunk {
            stream: self.stream,
            offset: self.offset,
            bytes: &self.bytes,
        }
    }
}

/// Both output streams. They share one bound, first come, first kept.
#[derive(Default)]
struct Streams {
    left: usize,
    stdout: Stream,
    stderr: Stream,
    /// Whoever follows hears what comes; where there is no room it is dropped.
    follower: Option<Follower>,
}

struct Follower {
    token: LeaseToken,
    tell: mpsc::Sender<Piece>,
    places: Arc<Semaphore>,
}

#[derive(Default)]
struct Stream {
    kept: Vec<u8>,
    cut: bool,
    /// Bytes that came.
    seen: u64,
}

impl Streams {
    fn take(&mut self, stream: LogStream, bytes: &[u8]) {
        let into = match stream {
            LogStream::Stdout => &mut self.stdout,
            LogStream::Stderr => &mut self.stderr,
        };
        let keep = bytes.len().min(self.left);
        into.kept.extend_from_slice(&bytes[..keep]);
        into.cut |= keep < bytes.len();
        self.left -= keep;
        // Where there is no room nothing is copied, and whoever follows sees by the next offset that something is missing.
        if let Some(follower) = &self.follower
            && !bytes.is_empty()
            && let Ok(place) = Arc::clone(&follower.places).try_acquire_owned()
            && let Ok(room) = follower.tell.try_reserve()
        {
            room.send(Piece {
                token: follower.token,
                stream,
                offset: into.seen,
                bytes: bytes.to_vec(),
                _place: Some(place),
            });
        }
        into.seen += bytes.len() as u64;
    }

    fn each(&self) -> [(LogStream, &Stream); 2] {
        [
            (LogStream::Stdout, &self.stdout),
            (LogStream::Stderr, &self.stderr),
        ]
    }
}

impl Printed {
    /// From here on what is printed goes to `tell`. Gives what was kept of what was printed before.
    pub(crate) fn follow(&self, token: LeaseToken, tell: mpsc::Sender<Piece>) -> Vec<Piece> {
        let mut streams = self.lock();
        streams.follower = Some(Follower {
            token,
            tell,
            places: Arc::new(Semaphore::new(WAITING_MAX)),
        });
        let kept = streams.each().map(|(stream, printed)| Piece {
            token,
            stream,
            offset: 0,
            bytes: printed.kept.clone(),
            _place: None,
        });
        kept.into_iter().filter(|piece| !piece.bytes.is_empty()).collect()
    }

    pub(crate) fn unfollow(&self) {
        self.lock().follower = None;
    }

    /// Says how long both streams have become; nothing, if nobody follows.
    pub(crate) fn ends(&self) -> Vec<Piece> {
        let streams = self.lock();
        let Some(Follower { token, .. }) = streams.follower else {
            return Vec::new();
        };
        let end = |(stream, printed): (LogStream, &Stream)| Piece {
            token,
            stream,
            offset: printed.seen,
            bytes: Vec::new(),
            _place: None,
        };
        streams.each().map(end).into()
    }

    fn lock(&self) -> MutexGuard<'_, Streams> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an executor writes down what its attempt prints.
#[derive(Debug)]
pub(super) struct Capture(Printed);

impl Capture {
    pub(super) fn new(bytes_max: usize, printed: &Printed) -> Self {
        printed.lock().left = bytes_max;
        Self(printed.clone())
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
        self.0.lock().take(LogStream::Stdout, bytes);
    }

    /// Keeps what came on standard error.
    pub(super) fn take_stderr(&mut self, bytes: &[u8]) {
        self.0.lock().take(LogStream::Stderr, bytes);
    }

    /// The result of a command that printed this.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Streams { stdout, stderr, .. } = &*self.0.lock();
        let mut result = Vec::with_capacity(stdout.kept.len() + stderr.kept.len() + 8);
        let output = Output {
            stdout: &stdout.kept,
            stderr: &stderr.kept,
            stdout_cut: stdout.cut,
            stderr_cut: stderr.cut,
            ..Output::default()
        };
        output.encode(&mut result);
        result
    }
}

#[cfg(test)]
mod tests {
    use wire_protocol::ids::{Attempt, Epoch, Shard, WorkId};

    use super::*;

    #[test]
    fn one_that_prints_without_end_leaves_room_to_others() {
        let (tell, mut told) = mpsc::channel(2 * WAITING_MAX);
        let token = |work| LeaseToken {
            work: WorkId(work),
            epoch: Epoch(1),
            attempt: Attempt(1),
            shard: Shard(0),
        };
        let [(mut flood, _), (mut other, _)] = [1, 2].map(|work| {
            let printed = Printed::default();
            let capture = Capture::new(8, &printed);
            printed.follow(token(work), tell.clone());
            (capture, printed)
        });
        for _ in 0..3 * WAITING_MAX {
            flood.take_stdout(b"x");
        }
        other.take_stdout(b"y");
        assert_eq!(told.len(), WAITING_MAX + 1);
        drop(told.try_recv().expect("one waits"));
        flood.take_stdout(b"x");
        assert_eq!(told.len(), WAITING_MAX + 1, "one that was taken makes room");
    }

    #[test]
    fn a_follower_gets_what_is_kept_then_what_comes_and_at_last_the_lengths() {
        let token = LeaseToken {
            work: WorkId(1),
            epoch: Epoch(1),
            attempt: Attempt(1),
            shard: Shard(0),
        };
        let printed = Printed::default();
        let mut capture = Capture::new(8, &printed);
        capture.take_stdout(b"123456");
        capture.take_stdout(b"789");
        let (tell, mut told) = mpsc::channel(2);
        let pieces = |pieces: Vec<Piece>| -> Vec<(u64, Vec<u8>)> {
            pieces
                .into_iter()
                .map(|piece| (piece.offset, piece.bytes))
                .collect()
        };
        assert!(printed.ends().is_empty(), "nobody follows");
        assert_eq!(pieces(printed.follow(token, tell)), [(0, b"12345678".to_vec())]);
        for bytes in [b"a", b"b", b"c"] {
            capture.take_stdout(bytes);
        }
        let mut come = Vec::new();
        while let Ok(piece) = told.try_recv() {
            come.push(piece);
        }
        let come = pieces(come);
        assert_eq!(
            come,
            [(9, b"a".to_vec()), (10, b"b".to_vec())],
            "no room for the third"
        );
        assert_eq!(pieces(printed.ends()), [(12, vec![]), (0, vec![])]);
        printed.unfollow();
        capture.take_stderr(b"x");
        assert!(told.try_recv().is_err() && printed.ends().is_empty());
    }
}
